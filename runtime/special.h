/* Special functions of the distribution library: Stirling errors, exponential integrals, and the quantile functions of
 * the gamma and the beta distribution with their derivatives in the shapes. Needs `real` and vmath.h before it.
 * All are computed in double, scalar, and rounded once to `real`.
 *
 * Tails are held as logarithms and the unknown of a quantile is log x or log(x / (1 - x)), where both log cumulative
 * functions are concave: a bracketed Newton iteration neither underflows nor overshoots. A derivative in a shape is the
 * implicit one, -(dF/dshape) / (dF/dx), with dF/dshape by a central difference of fourth order over a thousandth of the
 * scale on which log F changes: good to about 1e-9. */
#ifndef SPM_SPECIAL_H
#define SPM_SPECIAL_H

#define SP_SMALLEST 1.17549435e-38 /* draws are kept inside what float can tell from 0 ... */
#define SP_BELOW_ONE 0.99999994    /* ... and from 1 */
#define SP_LARGEST 3.4028234e38
#define SP_LARGE_SHAPE 1e6

/* The n-th derivative of s(x) = lgamma(x) - (x - 1/2) log x + x - log(2 pi) / 2, for x > 0. */
VM_FUNCTION double sp_stirling_wide(double n, double x) {
  static const double series[8] = {1.0 / 12,   -1.0 / 360,      1.0 / 1260, -1.0 / 1680,
                                   1.0 / 1188, -691.0 / 360360, 1.0 / 156,  -3617.0 / 122400};
  double sum = 0.0, sign = n - 2.0 * floor(0.5 * n) == 1.0 ? -1.0 : 1.0, term, factorial = 1.0, k;
  int i;
  if (!(n >= 0.0) || n != floor(n) || n > 20.0 || !(x > 0.0)) return (x - x) / (x - x);
  if (x >= 10.0 + 2.0 * n) {
    double square = 1.0 / (x * x), power = 1.0 / x;
    for (k = 0.0; k < n; k += 1.0) power /= x;
    for (i = 0; i < 8; i++, power *= square) {
      term = series[i] * power;
      for (k = 0.0; k < n; k += 1.0) term *= 2 * i + 1 + k;
      sum += term;
    }
    return sign * sum;
  }
  if (n == 0.0) return lgamma(x) - (x - 0.5) * log(x) + (x - 0.9189385332046727);
  if (n == 1.0) return vm_digamma_wide(x) - log(x) + 0.5 / x;
  for (k = 2.0; k < n - 1.0; k += 1.0) factorial *= k; /* (n - 2)! */
  term = factorial;
  for (k = 0.0; k < n - 1.0; k += 1.0) term /= x;
  return vm_polygamma_wide(n - 1.0, x) - sign * term - sign * 0.5 * (n - 1.0) * term / x;
}

/* exp(x) times the exponential integral E_n(x), for whole n >= 1 and x >= 0. */
VM_FUNCTION double sp_exponential_integral_wide(double n, double x) {
  if (!(n >= 1.0) || n != floor(n) || n > 100.0 || !(x >= 0.0)) return (x - x) / (x - x);
  if (x == 0.0) return n == 1.0 ? 1.0 / x : 1.0 / (n - 1.0);
  if (x > 1e17) return 1.0 / x;
  if (x <= 1.0) {
    double value = -0.5772156649015329 - log(x), term = 1.0, k;
    for (k = 1.0; k < 30.0; k += 1.0) {
      term *= -x / k;
      value -= term / k;
    }
    value *= exp(x);
    for (k = 1.0; k < n; k += 1.0) value = (1.0 - x * value) / k;
    return value;
  } else { /* the continued fraction, by Lentz's method */
    double b = x + n, c = 1e300, d = 1.0 / b, value = d, i;
    for (i = 1.0; i < 500.0; i += 1.0) {
      double a = -i * (n - 1.0 + i), factor;
      b += 2.0;
      d = 1.0 / (a * d + b);
      c = b + a / c;
      factor = c * d;
      value *= factor;
      if (fabs(factor - 1.0) < 2e-16) break;
    }
    return value;
  }
}

/* A logarithm of one tail -> that of the other. */
VM_FUNCTION double sp_other_tail(double log_tail) {
  if (log_tail >= 0.0) return -1e308;
  return log_tail > -0.6931471805599453 ? log(-expm1(log_tail)) : log1p(-exp(log_tail));
}

/* log(1 + t) - t */
VM_FUNCTION double sp_log1p_minus(double t) {
  double r, square, power, sum = 0.0, k;
  if (t < -0.4 || t > 0.4) return log1p(t) - t;
  r = t / (2.0 + t);
  square = r * r;
  power = 2.0 * r * square;
  for (k = 3.0; k < 40.0; k += 2.0, power *= square) sum += power / k;
  return sum - r * t; /* 2 r - t = -r t */
}

/* Gamma(shape a): log density in t = log x, log P(X <= e^t) and log P(X > e^t). */
VM_FUNCTION double sp_gamma_tails(double a, double t, double *log_lower, double *log_upper) {
  double x = exp(t), density, k;
  if (a < 10.0)
    density = a * t - x - lgamma(a);
  else
    density = a * sp_log1p_minus(x / a - 1.0) + 0.5 * log(a / 6.283185307179586) - sp_stirling_wide(0.0, a);
  if (a >= 10.0 && x == 0.0) density = a * t - x - lgamma(a);
  if (x < a + 1.0) {
    double term = 1.0 / a, sum = term;
    for (k = 1.0; k < 20000.0; k += 1.0) {
      term *= x / (a + k);
      sum += term;
      if (term < sum * 1e-17) break;
    }
    *log_lower = density + log(sum);
    *log_upper = sp_other_tail(*log_lower);
  } else {
    double b = x + 1.0 - a, c = 1e300, d = 1.0 / b, value = d;
    for (k = 1.0; k < 20000.0; k += 1.0) {
      double factor, numerator = -k * (k - a);
      b += 2.0;
      d = numerator * d + b;
      if (fabs(d) < 1e-300) d = 1e-300;
      c = b + numerator / c;
      if (fabs(c) < 1e-300) c = 1e-300;
      d = 1.0 / d;
      factor = d * c;
      value *= factor;
      if (fabs(factor - 1.0) < 2e-16) break;
    }
    *log_upper = density + log(value);
    *log_lower = sp_other_tail(*log_upper);
  }
  return density;
}

/* The continued fraction of the incomplete beta function, for x < (a + 1) / (a + b + 2). */
VM_FUNCTION double sp_beta_fraction(double a, double b, double x) {
  double c = 1.0, d = 1.0 - (a + b) * x / (a + 1.0), value, m;
  if (fabs(d) < 1e-300) d = 1e-300;
  d = 1.0 / d;
  value = d;
  for (m = 1.0; m < 20000.0; m += 1.0) {
    double even = m * (b - m) * x / ((a - 1.0 + 2.0 * m) * (a + 2.0 * m));
    double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 1.0 + 2.0 * m)), factor;
    d = 1.0 + even * d;
    if (fabs(d) < 1e-300) d = 1e-300;
    c = 1.0 + even / c;
    if (fabs(c) < 1e-300) c = 1e-300;
    d = 1.0 / d;
    value *= d * c;
    d = 1.0 + odd * d;
    if (fabs(d) < 1e-300) d = 1e-300;
    c = 1.0 + odd / c;
    if (fabs(c) < 1e-300) c = 1e-300;
    d = 1.0 / d;
    factor = d * c;
    value *= factor;
    if (fabs(factor - 1.0) < 2e-16) break;
  }
  return value;
}

/* log(1 + e^t) */
VM_FUNCTION double sp_log_one_plus_exp(double t) { return t > 0.0 ? t + log1p(exp(-t)) : log1p(exp(t)); }

/* Beta(a, b): log density in t = log(x / (1 - x)), and both log tails. */
VM_FUNCTION double sp_beta_tails(double a, double b, double t, double *log_lower, double *log_upper) {
  double log_x = -sp_log_one_plus_exp(-t), log_y = -sp_log_one_plus_exp(t), x = exp(log_x), y = exp(log_y), n = a + b;
  double density = a * log_x + b * log_y + lgamma(n) - lgamma(a) - lgamma(b);
  if (a > 10.0 && b > 10.0) { /* without the cancellation of large terms */
    double near = a * sp_log1p_minus(n * x / a - 1.0) + b * sp_log1p_minus(n * y / b - 1.0);
    if (x > 0.0 && y > 0.0)
      density = near + 0.5 * log(a * b / (n * 6.283185307179586)) + sp_stirling_wide(0.0, n) -
                sp_stirling_wide(0.0, a) - sp_stirling_wide(0.0, b);
  }
  if (x < (a + 1.0) / (n + 2.0)) {
    *log_lower = density + log(sp_beta_fraction(a, b, x) / a);
    *log_upper = sp_other_tail(*log_lower);
  } else {
    *log_upper = density + log(sp_beta_fraction(b, a, y) / b);
    *log_lower = sp_other_tail(*log_upper);
  }
  return density;
}

/* b > 0: Beta(a, b), else Gamma(a) */
VM_FUNCTION double sp_tails(double a, double b, double t, double *log_lower, double *log_upper) {
  return b > 0.0 ? sp_beta_tails(a, b, t, log_lower, log_upper) : sp_gamma_tails(a, t, log_lower, log_upper);
}

/* The t at which the lower tail is u, from a start, in a bracket [low, high]. */
VM_FUNCTION double sp_solve_tail(double u, double a, double b, double t, double low, double high) {
  double target = u <= 0.5 ? log(u) : log1p(-u), log_lower, log_upper;
  int round;
  if (!(t > low && t < high)) t = 0.5 * (low + high);
  for (round = 0; round < 200; round++) {
    double density = sp_tails(a, b, t, &log_lower, &log_upper), tail = u <= 0.5 ? log_lower : log_upper, next;
    double error = tail - target, slope = exp(density - tail) * (u <= 0.5 ? 1.0 : -1.0);
    if ((error < 0.0) == (u <= 0.5))
      low = t;
    else
      high = t;
    next = t - error / slope;
    if (!(next > low && next < high)) next = 0.5 * (low + high);
    if (fabs(next - t) <= 4e-16 * (1.0 + fabs(t))) return next;
    t = next;
  }
  return t;
}

/* The standard normal quantile within 5e-4 (Abramowitz and Stegun 26.2.23): a start. */
VM_FUNCTION double sp_normal_start(double u) {
  double tail = u < 0.5 ? u : 1.0 - u, t = sqrt(-2.0 * log(tail));
  double z = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
  return u < 0.5 ? -z : z;
}

/* Wilson and Hilferty's cube: x / a at quantile u. */
VM_FUNCTION double sp_cube_root(double u, double a) {
  double z = sp_normal_start(u);
  int round;
  for (round = 0; round < 3; round++) {
    double density = exp(-0.5 * z * z) * 0.3989422804014327;
    double error = u < 0.5 ? 0.5 * erfc(-z * 0.7071067811865476) - u : (1.0 - u) - 0.5 * erfc(z * 0.7071067811865476);
    z -= error / density;
  }
  return 1.0 - 1.0 / (9.0 * a) + z / (3.0 * sqrt(a));
}

VM_FUNCTION int sp_quantile_fails(double u, double a, double b) {
  return !(u > 0.0 && u < 1.0 && a > 0.0 && b > 0.0 && a <= SP_LARGEST && b <= SP_LARGEST);
}

/* log of the gamma quantile, for shapes up to SP_LARGE_SHAPE */
VM_FUNCTION double sp_gamma_log_quantile(double u, double a) {
  double low = (log(u) + lgamma(a + 1.0)) / a, high = log(a + 40.0 + 10.0 * sqrt(a)); /* P(a, x) < x^a / Gamma(a + 1) */
  double root = sp_cube_root(u, a), start = a >= 0.3 && root > 0.0 ? log(a) + 3.0 * log(root) : low;
  if (low < -60.0) return low; /* there the bound is exact */
  return sp_solve_tail(u, a, 0.0, start, low - 1e-12 * (1.0 + fabs(low)), high);
}

VM_FUNCTION double sp_bounded(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

VM_FUNCTION double sp_gamma_quantile_wide(double u, double a) {
  if (sp_quantile_fails(u, a, 1.0)) return (u - u) / (u - u);
  if (a > SP_LARGE_SHAPE) {
    double root = sp_cube_root(u, a);
    return sp_bounded(a * root * root * root, SP_SMALLEST, SP_LARGEST);
  }
  return sp_bounded(exp(sp_gamma_log_quantile(u, a)), SP_SMALLEST, SP_LARGEST);
}

/* The smaller log tail at t for a shape moved by `shift`. */
VM_FUNCTION double sp_shifted_tail(double a, double b, double t, int of_second, double shift, int lower) {
  double log_lower, log_upper;
  if (of_second)
    sp_tails(a, b + shift, t, &log_lower, &log_upper);
  else
    sp_tails(a + shift, b, t, &log_lower, &log_upper);
  return lower ? log_lower : log_upper;
}

/* dt / dshape at fixed u */
VM_FUNCTION double sp_implicit_slope(double u, double a, double b, double t, int of_second) {
  double shape = of_second ? b : a, step = 1e-3 * (shape < 1.0 ? shape : sqrt(shape)), log_lower, log_upper;
  int lower = u <= 0.5;
  double density = sp_tails(a, b, t, &log_lower, &log_upper), tail = lower ? log_lower : log_upper;
  double near = sp_shifted_tail(a, b, t, of_second, step, lower) - sp_shifted_tail(a, b, t, of_second, -step, lower);
  double far =
      sp_shifted_tail(a, b, t, of_second, 2 * step, lower) - sp_shifted_tail(a, b, t, of_second, -2 * step, lower);
  double change = (8.0 * near - far) / (12.0 * step);
  return (lower ? -change : change) * exp(tail - density);
}

VM_FUNCTION double sp_gamma_quantile_slope_wide(double u, double a) {
  double t, x;
  if (sp_quantile_fails(u, a, 1.0)) return (u - u) / (u - u);
  if (a > SP_LARGE_SHAPE) {
    double root = sp_cube_root(u, a), z = (root - 1.0 + 1.0 / (9.0 * a)) * 3.0 * sqrt(a);
    return root * root * (root + 1.0 / (3.0 * a) - z / (2.0 * sqrt(a)));
  }
  t = sp_gamma_log_quantile(u, a);
  x = exp(t);
  if (x < SP_SMALLEST) return 0.0;
  return x * (t < -60.0 ? (vm_digamma_wide(a + 1.0) - t) / a : sp_implicit_slope(u, a, 0.0, t, 0));
}

/* Shapes beyond SP_LARGE_SHAPE are scaled down together: the mean stays, the spread is below a thousandth of it. */
VM_FUNCTION double sp_beta_scale(double a, double b) {
  double largest = a > b ? a : b;
  return largest > SP_LARGE_SHAPE ? SP_LARGE_SHAPE / largest : 1.0;
}

/* log(x / (1 - x)) of the beta quantile */
VM_FUNCTION double sp_beta_logit_quantile(double u, double a, double b) {
  double start = log(a / b), low = start - 1.0, high = start + 1.0, log_lower, log_upper, width = 1.0, wanted = log(u);
  for (; width < 1e300; width *= 2.0, low -= width) {
    sp_beta_tails(a, b, low, &log_lower, &log_upper);
    if (log_lower < wanted) break;
  }
  wanted = log1p(-u);
  for (width = 1.0; width < 1e300; width *= 2.0, high += width) {
    sp_beta_tails(a, b, high, &log_lower, &log_upper);
    if (log_upper < wanted) break;
  }
  return sp_solve_tail(u, a, b, start, low, high);
}

VM_FUNCTION double sp_beta_quantile_wide(double u, double a, double b) {
  double scale, t;
  if (sp_quantile_fails(u, a, b)) return (u - u) / (u - u);
  scale = sp_beta_scale(a, b);
  t = sp_beta_logit_quantile(u, sp_bounded(a * scale, 1e-30, SP_LARGEST), sp_bounded(b * scale, 1e-30, SP_LARGEST));
  return sp_bounded(exp(-sp_log_one_plus_exp(-t)), SP_SMALLEST, SP_BELOW_ONE);
}

VM_FUNCTION double sp_beta_quantile_slope_wide(double u, double a, double b, int of_second) {
  double scale, t, x, y;
  if (sp_quantile_fails(u, a, b)) return (u - u) / (u - u);
  scale = sp_beta_scale(a, b);
  a = sp_bounded(a * scale, 1e-30, SP_LARGEST);
  b = sp_bounded(b * scale, 1e-30, SP_LARGEST);
  t = sp_beta_logit_quantile(u, a, b);
  x = exp(-sp_log_one_plus_exp(-t));
  y = exp(-sp_log_one_plus_exp(t));
  if (x < SP_SMALLEST || x > SP_BELOW_ONE) return 0.0;
  return scale * x * y * sp_implicit_slope(u, a, b, t, of_second);
}

VM_FUNCTION real sp_stirling(real n, real x) { return (real)sp_stirling_wide((double)n, (double)x); }

VM_FUNCTION real sp_exponential_integral(real n, real x) {
  return (real)sp_exponential_integral_wide((double)n, (double)x);
}

VM_FUNCTION real sp_gamma_quantile(real u, real a) { return (real)sp_gamma_quantile_wide((double)u, (double)a); }

VM_FUNCTION real sp_gamma_quantile_slope(real u, real a) {
  return (real)sp_gamma_quantile_slope_wide((double)u, (double)a);
}

VM_FUNCTION real sp_beta_quantile(real u, real a, real b) {
  return (real)sp_beta_quantile_wide((double)u, (double)a, (double)b);
}

VM_FUNCTION real sp_beta_quantile_slope_a(real u, real a, real b) {
  return (real)sp_beta_quantile_slope_wide((double)u, (double)a, (double)b, 0);
}

VM_FUNCTION real sp_beta_quantile_slope_b(real u, real a, real b) {
  return (real)sp_beta_quantile_slope_wide((double)u, (double)a, (double)b, 1);
}

#endif
