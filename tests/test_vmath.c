/* The elementwise mathematics of runtime/vmath.h: errors against double, special values, and the same bits from the
 * strip kernels (vectorised) as from the functions compiled here (one by one, at another level). */
#include <criterion/criterion.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "vmath.h"

enum { EVERY = 4093, DENSE = 400000, STRIP = 4096 };

void spm_digamma_v_d(long n, double *out, const double *a);
void spm_polygamma_sv_d(long n, double *out, const double *a, const double *b);
void spm_softplus_v_d(long n, double *out, const double *a);
void spm_mod_vv_d(long n, double *out, const double *a, const double *b);

static const float specials[] = {0.0f,        -0.0f,        INFINITY, -INFINITY, NAN,     1.0f,     -1.0f,
                                 0.5f,        -0.5f,        2.0f,     -2.0f,     3.0f,    -3.0f,    1e-45f,
                                 -1e-45f,     1e-40f,       -1e-40f,  FLT_MIN,   FLT_MAX, -FLT_MAX, 8388607.5f,
                                 16777215.0f, -16777215.0f, 2.5f,     100.0f,    -100.0f};
enum { SPECIALS = sizeof specials / sizeof *specials };

/* The distance in units of the last place of the exact result; 0 for two NaNs, huge for one. */
static double ulps(float got, double exact) {
  if (isnan(exact) || isnan(got)) return isnan(exact) && isnan(got) ? 0 : HUGE_VAL;
  if (isinf(got) || isinf((float)exact)) return (float)exact == got || fabs(exact) > 0.9999999 * FLT_MAX ? 0 : HUGE_VAL;
  if (got == 0 && (float)exact == 0 && signbit(got) != signbit((float)exact)) return HUGE_VAL;
  int exponent;
  frexp(exact, &exponent);
  double unit = ldexp(1, exponent - 24);
  return fabs(got - exact) / (unit < 0x1p-149 ? 0x1p-149 : unit);
}

static double exact_sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double exact_softplus(double x) { return isnan(x) ? x : (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static double exact_sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
static double exact_relu(double x) { return x <= 0 ? 0 : x; }

/* name, what is exact, the largest error in ulp, fewer points for the slow ones */
#define FUNCTIONS(F)                                                                                                   \
  F(exp, exp, 0.96, 1)                                                                                                 \
  F(expm1, expm1, 1.2, 1)                                                                                              \
  F(log, log, 0.83, 1)                                                                                                 \
  F(log1p, log1p, 1.4, 1)                                                                                              \
  F(sigmoid, exact_sigmoid, 2.4, 1)                                                                                    \
  F(softplus, exact_softplus, 1.7, 1)                                                                                  \
  F(tanh, tanh, 1.31, 1)                                                                                               \
  F(erf, erf, 1.2, 1)                                                                                                  \
  F(sin, sin, 1.6, 1)                                                                                                  \
  F(cos, cos, 1.6, 1)                                                                                                  \
  F(tan, tan, 3.4, 1)                                                                                                  \
  F(floor, floor, 0, 1)                                                                                                \
  F(sqrt, sqrt, 0.5, 1)                                                                                                \
  F(abs, fabs, 0, 1)                                                                                                   \
  F(sign, exact_sign, 0, 1)                                                                                            \
  F(relu, exact_relu, 0, 1)                                                                                            \
  F(lgamma, lgamma, 1, 16)

struct function {
  const char *name;
  float (*value)(float);
  double (*exact)(double);
  void (*kernel)(long, float *, const float *);
  double bound;
  unsigned fewer;
};

static const struct function functions[] = {
#define F(name, exact, bound, fewer) {#name, vm_##name, exact, spm_##name##_v_f, bound, fewer},
    FUNCTIONS(F)
#undef F
};

static void check_point(const struct function *f, float x) {
  float got = f->value(x);
  cr_assert(ulps(got, f->exact(x)) <= f->bound, "%s(%a) = %a, exactly %a: %g ulp", f->name, x, got, f->exact(x),
            ulps(got, f->exact(x)));
}

Test(vmath, errors_are_as_stated) {
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    const struct function *f = &functions[i];
    for (uint64_t bits = 0; bits <= UINT32_MAX; bits += EVERY * f->fewer) check_point(f, vm_real((uint32_t)bits));
    for (unsigned k = 0; k < DENSE; k += f->fewer) check_point(f, -8 + 16 * (float)k / DENSE);
    for (int k = 0; k < SPECIALS; k++) check_point(f, specials[k]);
  }
}

/* Near the edges: overflow, underflow, the switch between two polynomials, multiples of pi/2. */
Test(vmath, errors_at_edges) {
  const float edges[] = {88.72283f,  -87.33655f,  -103.97208f, 89.5f,        0.625f,      0.921875f,
                         4.0f,       0.70710677f, 1.4142135f,  -0.29289323f, 0.41421357f, 1.5707964f,
                         3.1415927f, 4.712389f,   1048576.0f,  6.283185f,    -17.5f};
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    for (size_t e = 0; e < sizeof edges / sizeof *edges; e++)
      for (int32_t step = -200; step <= 200; step++)
        check_point(&functions[i], vm_real((uint32_t)((int32_t)vm_bits(edges[e]) + step)));
}

static int same_bits(float a, float b) { return vm_bits(a) == vm_bits(b) || (a != a && b != b); }

/* Any hash will do: scattered floats of every size and sign. */
static float scattered(uint32_t k) {
  k = (k ^ 61u) * 2654435761u;
  return vm_real(k ^ (k >> 15));
}

Test(vmath, strips_give_the_same_bits) {
  static float x[STRIP], got[STRIP];
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
    for (uint32_t round = 0; round < 20; round++) {
      for (uint32_t k = 0; k < STRIP; k++)
        x[k] = round % 2 ? scattered(round * STRIP + k) : ((float)k - STRIP / 2) * 0.005f * (float)round;
      functions[i].kernel(STRIP, got, x);
      for (uint32_t k = 0; k < STRIP; k++)
        cr_assert(same_bits(got[k], functions[i].value(x[k])), "%s(%a)", functions[i].name, x[k]);
    }
}

static void check_pow(float x, float y) {
  float got = vm_pow(x, y);
  cr_assert(ulps(got, pow(x, y)) <= 0.51, "pow(%a, %a) = %a, exactly %a", x, y, got, pow(x, y));
}

Test(vmath, pow) {
  static float x[STRIP], y[STRIP], got[STRIP];
  for (int i = 0; i < SPECIALS; i++)
    for (int k = 0; k < SPECIALS; k++) check_pow(specials[i], specials[k]);
  for (uint32_t k = 0; k < 300000; k++) {
    float s = scattered(k), t = scattered(k + 1000000);
    check_pow(s, t);
    check_pow(s, (float)(int)(k % 41) - 20);
    check_pow(1 + (float)k * 1e-7f, ((float)k - 150000) * 10);
    check_pow((float)k * 1e-3f, (float)(k % 1000) * 0.01f - 5);
  }
  for (uint32_t k = 0; k < STRIP; k++) {
    x[k] = scattered(k);
    y[k] = (float)(k % 97) * 0.5f - 20;
  }
  spm_pow_vv_f(STRIP, got, x, y);
  for (uint32_t k = 0; k < STRIP; k++) cr_assert(same_bits(got[k], vm_pow(x[k], y[k])));
}

static void check_mod(float a, float b) {
  double rest = fmod(a, b);
  if ((rest < 0 && b > 0) || (rest > 0 && b < 0)) rest += b;
  float got = vm_mod(a, b);
  if (isnan(rest)) {
    cr_assert(isnan(got), "mod(%g, %g) = %g", a, b, got);
  } else if (isinf(b) || fabs(a) < 1e8 * fabs(b)) { /* beyond, quotients are inexact */
    cr_assert((float)rest == got, "mod(%g, %g) = %g, not %g", a, b, got, rest);
  }
}

Test(vmath, mod_has_the_sign_of_the_divisor) {
  cr_assert(vm_mod(7, 3) == 1 && vm_mod(-7, 3) == 2 && vm_mod(7, -3) == -2 && vm_mod(-7, -3) == -1);
  cr_assert(vm_mod(5.5f, 1) == 0.5f && vm_mod(-0.25f, 1) == 0.75f && isnan(vm_mod(1, 0)) && isnan(vm_mod(INFINITY, 2)));
  for (uint32_t k = 0; k < 300000; k++) {
    check_mod(((float)k - 150000) * 0.37f, (float)(k % 19) - 9);
    check_mod(scattered(k), scattered(k + 7));
  }
  double a[] = {-7, 7, -7, 5.5}, b[] = {3, -3, -3, 1}, out[4];
  spm_mod_vv_d(4, out, a, b);
  cr_assert(out[0] == 2 && out[1] == -2 && out[2] == -1 && out[3] == 0.5);
}

Test(vmath, selections) {
  cr_assert(isnan(vm_max(NAN, 1)) && isnan(vm_max(1, NAN)) && isnan(vm_min(NAN, 1)) && isnan(vm_min(1, NAN)));
  cr_assert(vm_max(-INFINITY, 2) == 2 && vm_min(-INFINITY, 2) == -INFINITY && vm_max(3, 2) == 3 && vm_min(3, 2) == 2);
  cr_assert(vm_adjoint_times(0, INFINITY) == 0 && vm_adjoint_times(-0.0f, NAN) == 0 && isnan(vm_adjoint_times(1, NAN)));
  cr_assert(vm_adjoint_times(2, 3) == 6 && isnan(vm_adjoint_times(NAN, 0)));
  cr_assert(vm_select(1, 2, NAN) == 2 && vm_select(0, NAN, 3) == 3 && vm_select(-0.0f, 1, 3) == 3 &&
            vm_select(NAN, 1, 2) == 1);
  cr_assert(isnan(vm_relu(NAN)) && isnan(vm_sign(NAN)) && vm_sign(0) == 0 && vm_sign(-1e-45f) == -1);
}

/* ---- digamma and its derivatives ------------------------------------------------------------------------------- */

static double digamma(double x) {
  double out;
  spm_digamma_v_d(1, &out, &x);
  return out;
}

static double polygamma(double n, double x) {
  double out;
  spm_polygamma_sv_d(1, &out, &n, &x);
  return out;
}

static void close_to(double got, double wanted, const char *what) {
  cr_assert(fabs(got - wanted) <= 1e-13 * fmax(1, fabs(wanted)), "%s: %.17g, not %.17g", what, got, wanted);
}

Test(vmath, polygamma_where_it_is_known) {
  const double euler = 0.57721566490153286, pi = 3.14159265358979324, apery = 1.2020569031595943;
  close_to(digamma(1), -euler, "psi(1)");
  close_to(digamma(0.5), -euler - 2 * log(2), "psi(1/2)");
  close_to(digamma(0.25), -euler - pi / 2 - 3 * log(2), "psi(1/4)");
  close_to(digamma(-0.5), 2 - euler - 2 * log(2), "psi(-1/2)");
  close_to(digamma(1e10), log(1e10) - 0.5e-10, "psi(1e10)");
  close_to(polygamma(0, 1), -euler, "psi_0(1)");
  close_to(polygamma(1, 1), pi * pi / 6, "psi_1(1)");
  close_to(polygamma(1, 0.5), pi * pi / 2, "psi_1(1/2)");
  close_to(polygamma(1, -0.5), pi * pi / 2 + 4, "psi_1(-1/2)");
  close_to(polygamma(2, 1), -2 * apery, "psi_2(1)");
  close_to(polygamma(3, 0.5), pow(pi, 4), "psi_3(1/2)");
  close_to(polygamma(5, 1), 8 * pow(pi, 6) / 63, "psi_5(1)");
  cr_assert(isnan(digamma(-3)) && digamma(0.0) == -INFINITY && digamma(INFINITY) == INFINITY && isnan(digamma(NAN)));
  cr_assert(isnan(polygamma(1.5, 1)) && isnan(polygamma(-1, 1)) && isnan(polygamma(1, NAN)) &&
            isnan(digamma(-INFINITY)));
  cr_assert(polygamma(1, INFINITY) == 0 && polygamma(1, 0) == INFINITY && polygamma(1, -2) == INFINITY);
}

Test(vmath, polygamma_recurrence) {
  for (int n = 0; n <= 6; n++)
    for (double x = -6.3; x < 30; x += 0.0617) {
      double step = (n % 2 ? -1 : 1) * tgamma(n + 1.0) / pow(x, n + 1), here = polygamma(n, x),
             next = polygamma(n, x + 1);
      cr_assert(fabs(next - here - step) <= 2e-13 * (fabs(step) + fabs(here) + fabs(next) + 1), "n = %d, x = %g", n, x);
    }
}

Test(vmath, float_polygamma_rounds_the_double_one) {
  for (float x = 0.01f; x < 50; x += 0.013f) {
    double wide = x, exact;
    spm_digamma_v_d(1, &exact, &wide);
    cr_assert((float)exact == vm_digamma(x));
    cr_assert((float)polygamma(1, x) == vm_polygamma(1, x));
  }
}

Test(vmath, double_softplus_neither_overflows_nor_vanishes) {
  double x[] = {1000, -700, 0, NAN}, out[4];
  spm_softplus_v_d(4, out, x);
  cr_assert(out[0] == 1000 && out[1] == exp(-700) && out[2] == log(2) && isnan(out[3]));
}
