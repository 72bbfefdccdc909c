/* Elementwise: the value of each elementwise op at one point, in double, from its definition with libm. The meaning
 * that the interpreter gives and that constant folding uses. Requires an elementwise op and its operands' values. */
#include <math.h>

#include "ir_parts.h"

static const double pi = 3.14159265358979323846;

/* The asymptotic series in 1 / x^2 with Bernoulli numbers B2, B4, ... is good to 1e-16 from LARGE on. */
static const double bernoulli[] = {1.0 / 6,       -1.0 / 30, 1.0 / 42,      -1.0 / 30,     5.0 / 66,
                                   -691.0 / 2730, 7.0 / 6,   -3617.0 / 510, 43867.0 / 798, -174611.0 / 330};
enum { BERNOULLI_COUNT = sizeof bernoulli / sizeof *bernoulli, LARGE = 20 };

double special_digamma(double x) {
  if (x <= 0 && x == floor(x)) return NAN;
  if (x < -LARGE) return special_digamma(1 - x) - pi / tan(pi * x);
  double shift = 0;
  for (; x < LARGE; x++) shift -= 1 / x;
  double series = 0, power = 1;
  for (int k = 1; k <= BERNOULLI_COUNT; k++) {
    power /= x * x;
    series -= bernoulli[k - 1] / (2 * k) * power;
  }
  return shift + log(x) - 0.5 / x + series;
}

/* The order-th derivative of digamma. */
double special_polygamma(int order, double x) {
  if (order == 0) return special_digamma(x);
  if (order < 0 || (x <= 0 && x == floor(x)) || x < -1e5) return NAN;
  double factorial = tgamma(order + 1.0);
  double shift = 0;
  for (; x < LARGE + order; x++) shift += factorial / pow(x, order + 1);
  double series = factorial / order / pow(x, order) + factorial / (2 * pow(x, order + 1));
  for (int k = 1; k <= BERNOULLI_COUNT; k++)
    series += bernoulli[k - 1] * tgamma(2.0 * k + order) / tgamma(2.0 * k + 1) / pow(x, 2 * k + order);
  return (order % 2 == 1 ? 1 : -1) * (series + shift);
}

static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

/* a - b * floor(a / b), without its rounding */
static double modulo(double a, double b) {
  double rest = fmod(a, b);
  return (rest < 0 && b > 0) || (rest > 0 && b < 0) ? rest + b : rest;
}

double elementwise_value(Op op, const double *operands) {
  double a = operands[0], b = operands[1], c = operands[2];
  switch (op) {
  case IR_neg: return -a;
  case IR_abs: return fabs(a);
  case IR_sign: return isnan(a) ? a : (a > 0) - (a < 0);
  case IR_sqrt: return sqrt(a);
  case IR_exp: return exp(a);
  case IR_expm1: return expm1(a);
  case IR_log: return log(a);
  case IR_log1p: return log1p(a);
  case IR_sin: return sin(a);
  case IR_cos: return cos(a);
  case IR_tan: return tan(a);
  case IR_tanh: return tanh(a);
  case IR_sigmoid: return a >= 0 ? 1 / (1 + exp(-a)) : exp(a) / (1 + exp(a));
  case IR_softplus: return softplus(a);
  case IR_relu: return a <= 0 ? 0 : a;
  case IR_erf: return erf(a);
  case IR_floor: return floor(a);
  case IR_lgamma: return lgamma(a);
  case IR_digamma: return special_digamma(a);
  case IR_not: return a == 0;
  case IR_add: return a + b;
  case IR_sub: return a - b;
  case IR_mul: return a * b;
  case IR_div: return a / b;
  case IR_pow: return pow(a, b);
  case IR_max: return a > b || isnan(a) ? a : b;
  case IR_min: return a < b || isnan(a) ? a : b;
  case IR_mod: return modulo(a, b);
  case IR_less: return a < b;
  case IR_less_equal: return a <= b;
  case IR_equal: return a == b;
  case IR_not_equal: return a != b;
  case IR_and: return a != 0 && b != 0;
  case IR_or: return a != 0 || b != 0;
  case IR_adjoint_times: return a == 0 ? 0 : a * b;
  case IR_polygamma: return special_polygamma((int)a, b);
  case IR_stirling:
  case IR_exponential_integral:
  case IR_gamma_quantile:
  case IR_gamma_quantile_slope:
  case IR_beta_quantile:
  case IR_beta_quantile_slope_a:
  case IR_beta_quantile_slope_b: return special_function(op, operands);
  case IR_select: return a != 0 ? b : c;
  case OPS_NOT_ELEMENTWISE: break;
  }
  return NAN;
}
