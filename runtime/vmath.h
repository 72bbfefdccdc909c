/* Elementwise mathematics for `real` (which must be defined before: real.h, or model.h in a generated file).
 *
 * In float every function down to vm_mod is our own and branch-free: polynomials, no libm (sqrt apart, which IEEE 754
 * fixes to the bit), no tables, no fused multiply-add, and integer masks for every selection. So a plain loop around
 * any of them vectorises at `-std=c99 -O3 -march=native -ffp-contract=off` (sqrt wants -fno-math-errno too), and gives
 * the same bits from every compiler at every level as long as contraction is off and -ffast-math is not on. Subnormals,
 * both zeros, infinities and NaN are treated as C99 Annex F does; only a NaN's payload and sign are unspecified.
 *
 * Largest errors in ulp of the exact result, over every 61st float and dense sweeps of [-8, 8] (tests/test_vmath.c
 * holds them to these): exp 0.96  expm1 1.2  log 0.83  log1p 1.4  sigmoid 2.4  softplus 1.7  tanh 1.31  erf 1.2 sin 1.6
 * cos 1.6 tan 3.4 (these three for arguments of any size)  pow 0.51  sqrt 0.5  floor 0  lgamma, digamma, polygamma 1
 * (at negative x near their zeros the error is 1 ulp of the terms that cancel).
 *
 * In double they are libm's, which is within 1 ulp for nearly all of them, and our own digamma and polygamma.
 * vm_lgamma, vm_digamma and vm_polygamma are scalar code with loops in both precisions. */
#ifndef SPM_VMATH_H
#define SPM_VMATH_H

#include <math.h>
#include <stdint.h>

#ifndef SPM_PASTED /* where all are used that there are */
#if defined __GNUC__ || defined __clang__ || defined __TINYC__
#define VM_FUNCTION static inline __attribute__((unused)) /* a generated file may use only some of them */
#else
#define VM_FUNCTION static inline
#endif
#endif

/* Bits, masks and selection. A mask is all ones or all zeros. */

#ifdef SPM_DOUBLE
typedef uint64_t vm_word;
#else
typedef uint32_t vm_word;
#endif
#define VM_SIGN ((vm_word)1 << (8 * sizeof(vm_word) - 1))
#define VM_SMALLEST ((vm_word)1 << (sizeof(vm_word) == 8 ? 52 : 23)) /* of the normal numbers */
#define VM_INFINITY (VM_SIGN - VM_SMALLEST)

union vm_both {
  real value;
  vm_word bits;
};

VM_FUNCTION vm_word vm_bits(real x) { return ((union vm_both){.value = x}).bits; }
VM_FUNCTION real vm_real(vm_word bits) { return ((union vm_both){.bits = bits}).value; }

VM_FUNCTION vm_word vm_mask(int condition) { return (vm_word)0 - (vm_word)condition; }

VM_FUNCTION vm_word vm_choose_bits(vm_word mask, vm_word yes, vm_word no) { return (yes & mask) | (no & ~mask); }

VM_FUNCTION real vm_choose(vm_word mask, real yes, real no) {
  return vm_real((vm_bits(yes) & mask) | (vm_bits(no) & ~mask));
}

/* 1 or 0 */
VM_FUNCTION real vm_truth(int condition) { return vm_real(vm_mask(condition) & vm_bits(1)); }

VM_FUNCTION real vm_abs(real x) { return vm_real(vm_bits(x) & ~VM_SIGN); }

/* -1, 1; x itself where x is 0 or NaN */
VM_FUNCTION real vm_sign(real x) {
  return vm_choose(vm_mask((x < 0) | (x > 0)), vm_real((vm_bits(x) & VM_SIGN) | vm_bits(1)), x);
}

/* NaN if either is NaN. Of two zeros, the second. */
VM_FUNCTION real vm_max(real a, real b) { return vm_choose(vm_mask((a > b) | (a != a)), a, b); }
VM_FUNCTION real vm_min(real a, real b) { return vm_choose(vm_mask((a < b) | (a != a)), a, b); }

/* 0 where x <= 0; NaN stays NaN. */
VM_FUNCTION real vm_relu(real x) { return vm_real(vm_bits(x) & ~vm_mask(x <= 0)); }

VM_FUNCTION real vm_select(real condition, real yes, real no) { return vm_choose(vm_mask(condition != 0), yes, no); }

/* 0 where the adjoint is 0, even if the factor is infinite or NaN; else the product. */
VM_FUNCTION real vm_adjoint_times(real adjoint, real factor) {
  return vm_real(vm_bits(adjoint * factor) & vm_mask(adjoint != 0));
}

#ifndef SPM_DOUBLE

VM_FUNCTION float vm_sqrt(float x) { return sqrtf(x); }

/* Rounds to the nearest whole number where |x| < 2^22: adding 1.5 * 2^23 leaves no bits for a fraction. */
#define VM_ROUNDER 12582912.0f

VM_FUNCTION float vm_floor(float x) {
  vm_word small = vm_mask(vm_abs(x) < 8388608.0f); /* from 2^23 on every float is whole */
  float whole = (float)(int32_t)vm_choose(small, x, 0.0f);
  whole = whole - vm_truth(whole > x);
  return vm_real(vm_bits(vm_choose(small, whole, x)) | (vm_bits(x) & VM_SIGN)); /* floor(-0) = -0 */
}

/* 2^n for -126 <= n <= 127 */
VM_FUNCTION float vm_power_of_two(int32_t n) { return vm_real((uint32_t)(n + 127) << 23); }

/* x = n ln 2 + r, |r| <= 0.347, for |x| < 1000. The first part of ln 2 has 9 bits, so its products are exact. */
VM_FUNCTION float vm_exp_reduce(float x, int32_t *n) {
  float shifted = x * 1.44269504f + VM_ROUNDER;
  float rounded = shifted - VM_ROUNDER;
  *n = (int32_t)(vm_bits(shifted) - 0x4B400000u);
  return (x - rounded * 0.693359375f) - rounded * -2.12194440e-4f;
}

/* exp(r) - 1 - r, relative to exp(r) - 1 within 2^-28 */
VM_FUNCTION float vm_exp_tail(float r) {
  float p = 1.9845879e-4f;
  p = (((p * r + 1.3940668e-3f) * r + 8.33339e-3f) * r + 4.166636e-2f) * r + 0.16666666f;
  p = p * r + 0.5f;
  return p * (r * r);
}

VM_FUNCTION float vm_exp(float x) {
  int32_t n, half;
  float r, bounded = vm_choose(vm_mask(x > 89.5f), 89.5f, x);
  bounded = vm_choose(vm_mask(bounded < -104.5f), -104.5f, bounded);
  r = vm_exp_reduce(bounded, &n);
  /* 2^n in two factors, each a normal number: the first product is exact, so a subnormal result is rounded once.
   * The shift is made of unsigned numbers and the mask keeps NaN's meaningless n in range. */
  half = (int32_t)((((uint32_t)n + 256u) >> 1) & 0xFFu) - 128;
  n = (int32_t)(((uint32_t)n + 256u) & 0x1FFu) - 256 - half;
  return (1.0f + (r + vm_exp_tail(r))) * vm_power_of_two(half) * vm_power_of_two(n);
}

VM_FUNCTION float vm_expm1(float x) {
  int32_t n;
  float r, scale, high, low, result, bounded = vm_choose(vm_mask(x > 88.8f), 88.8f, x);
  bounded = vm_choose(vm_mask(bounded < -17.5f), -17.5f, bounded);
  r = vm_exp_reduce(bounded, &n);
  /* 2^n (1 + r + tail) - 1, twice its half since 2^128 is no float. scale - 1/2 is 0 or larger than scale * r in
   * magnitude, so that `low` is the exact error of `high`. */
  scale = vm_power_of_two((int32_t)((((uint32_t)n + 127u) & 0xFFu)) - 128);
  high = (scale - 0.5f) + scale * r;
  low = ((scale - 0.5f) - high) + scale * r;
  result = 2.0f * (high + (low + scale * vm_exp_tail(r)));
  /* where the halves would be subnormal, or only the sign is left (-0) */
  result = vm_choose(vm_mask(vm_abs(x) < 1e-30f), x, result);
  return result;
}

/* x (positive, normal) = 2^n m, m from sqrt(1/2) to sqrt(2) */
VM_FUNCTION float vm_log_reduce(float x, int32_t *n) {
  uint32_t bits = vm_bits(x) - 0x3F3504F3u; /* bits of sqrt(1/2) */
  /* n = bits >> 23 with its sign, written with unsigned numbers */
  *n = (int32_t)((bits + 0x80000000u) >> 23) - 256;
  return vm_real((bits & 0x7FFFFFu) + 0x3F3504F3u);
}

/* log(2^n (1 + f)) */
VM_FUNCTION float vm_log_finish(float f, float n) {
  float square = f * f, high, low, p = 6.746639e-2f;
  p = (((p * f + -0.1167565f) * f + 0.11888162f) * f + -0.12405589f) * f + 0.14219552f;
  p = (((p * f + -0.16667996f) * f + 0.20002119f) * f + -0.2500001f) * f + 0.33333313f;
  p = p * (f * square);
  high = n * 0.693359375f + f; /* the product is exact, and 0 or larger than f: `low` is the error of `high` */
  low = (n * 0.693359375f - high) + f;
  return high + (low + ((p + n * -2.12194440e-4f) - 0.5f * square));
}

VM_FUNCTION float vm_log(float x) {
  vm_word subnormal = vm_mask(x < 1.17549435e-38f);
  int32_t n;
  float m = vm_log_reduce(vm_choose(subnormal, x * 8388608.0f, x), &n);
  float result = vm_log_finish(m - 1.0f, (float)(n - (int32_t)(subnormal & 23u)));
  result = vm_choose(vm_mask(x < vm_real(VM_INFINITY)), result, x); /* inf, NaN */
  result = vm_choose(vm_mask(x == 0.0f), vm_real(VM_SIGN | VM_INFINITY), result);
  return vm_choose(vm_mask(x < 0.0f), vm_real(0x7FC00000u), result);
}

/* log(1 + x) for -1 < x < inf, but +0 for -0 */
VM_FUNCTION float vm_log1p_inside(float x) {
  float sum = 1.0f + x, part = sum - 1.0f;
  float rest = (1.0f - (sum - part)) + (x - part); /* sum + rest is 1 + x exactly */
  int32_t n;
  float m = vm_log_reduce(sum, &n);
  /* times 2^-n, in two steps since 2^-128 is no normal number */
  return vm_log_finish((m - 1.0f) + rest * vm_real((uint32_t)(129 - n) << 23) * 0.25f, (float)n);
}

VM_FUNCTION float vm_log1p(float x) {
  float result = vm_log1p_inside(x);
  result = vm_real(vm_bits(result) | (vm_bits(x) & VM_SIGN)); /* -0 */
  result = vm_choose(vm_mask(x < vm_real(VM_INFINITY)), result, x);
  result = vm_choose(vm_mask(x == -1.0f), vm_real(VM_SIGN | VM_INFINITY), result);
  return vm_choose(vm_mask(x < -1.0f), vm_real(0x7FC00000u), result);
}

VM_FUNCTION float vm_tanh(float x) {
  float size = vm_abs(x), square = x * x, p = -5.704987e-3f, large;
  p = ((p * square + 2.0639086e-2f) * square + -5.3739715e-2f) * square + 0.13331442f;
  p = p * square + -0.3333328f;
  p = p * square * x + x;
  large = 1.0f - 2.0f / (vm_exp(size + size) + 1.0f);
  large = vm_choose(vm_mask(size >= 0.625f), large, p);
  return vm_real((vm_bits(large) & ~VM_SIGN) | (vm_bits(x) & VM_SIGN));
}

VM_FUNCTION float vm_erf(float x) {
  float size = vm_abs(x), t = vm_choose(vm_mask(size > 4.0f), 4.0f, size), square = x * x;
  float p = 8.3738596e-5f, q = -4.938247e-6f; /* p: erf(x) / x - 1 below 0.92; q: log(1 - erf(t)) / t above */
  p = ((p * square + -8.1437506e-4f) * square + 5.2011446e-3f) * square + -2.6859457e-2f;
  p = ((p * square + 0.11283697f) * square + -0.37612635f) * square + 0.12837917f;
  p = p * x + x;
  q = (((q * t + 4.5581593e-5f) * t + 4.958465e-5f) * t + -2.9301518e-3f) * t + 2.2674128e-2f;
  q = (q * t + -0.10526269f) * t + -0.6356253f;
  q = q * t + -0.1285517f; /* -1.1285517 in two steps: its rounding would cost half an ulp of the result */
  q = 1.0f - vm_exp(q * t - t);
  q = vm_real((vm_bits(q) & ~VM_SIGN) | (vm_bits(x) & VM_SIGN));
  return vm_choose(vm_mask(size > 0.921875f), q, p);
}

/* 64-bit selection and bits, for the functions that work in double inside */
VM_FUNCTION double vm_wide(uint64_t bits) {
  union {
    double value;
    uint64_t bits;
  } both;
  both.bits = bits;
  return both.value;
}

VM_FUNCTION uint64_t vm_wide_bits(double x) {
  union {
    double value;
    uint64_t bits;
  } both;
  both.value = x;
  return both.bits;
}

VM_FUNCTION double vm_wide_choose(int condition, double yes, double no) {
  uint64_t mask = (uint64_t)0 - (uint64_t)condition;
  return vm_wide((vm_wide_bits(yes) & mask) | (vm_wide_bits(no) & ~mask));
}

#define VM_WIDE_ROUNDER 6755399441055744.0 /* 1.5 * 2^52 */

/* 64 bits of `high` and `low` side by side, from bit `shift` of `high` on */
VM_FUNCTION uint64_t vm_window(uint64_t high, uint64_t low, uint64_t shift) {
  return (high << shift) | ((low >> 1) >> (63 - shift));
}

/* |x| >= 2^20 modulo pi/2, exactly: the 24 bits of x times that window of the bits of 2/pi which gives the fraction
 * and the last two bits of the quotient (Payne and Hanek). The first word of 2/pi here begins at weight 2^4. */
VM_FUNCTION double vm_circle_large(uint32_t bits, uint32_t *quadrant) {
  const uint64_t w0 = 0x0517CC1B727220A9u, w1 = 0x4FE13ABE8FA9A6EEu, w2 = 0x06DB14ACC9E21C82u, w3 = 0x0FF28B1D5EF5DE2Bu;
  uint64_t mantissa = (bits & 0x7FFFFFu) | 0x800000u;
  uint32_t offset = (((bits >> 23) & 0xFFu) - 147u) & 0x7Fu; /* 0 to 107; without meaning, but in range, for other x */
  uint64_t second = (uint64_t)0 - (uint64_t)(offset >> 6), shift = offset & 63u;
  uint64_t a = (w0 & ~second) | (w1 & second), b = (w1 & ~second) | (w2 & second), c = (w2 & ~second) | (w3 & second);
  uint64_t turns = mantissa * vm_window(a, b, shift) + ((mantissa * (vm_window(b, c, shift) >> 32)) >> 32);
  uint64_t fraction = turns << 2; /* of a quarter turn; read as signed it lies between -1/2 and 1/2 */
  *quadrant = (uint32_t)((turns + 0x2000000000000000u) >> 62);
  return ((double)(int32_t)(uint32_t)(fraction >> 32) +
          (double)(int32_t)((uint32_t)fraction >> 1) * 4.656612873077393e-10) *
         3.657295198167899e-10; /* 2^-31; pi/2 * 2^-32 */
}

/* x = quadrant * pi/2 + result, |result| <= pi/4. NaN for inf and NaN. */
VM_FUNCTION float vm_circle(float x, uint32_t *quadrant) {
  uint32_t bits = vm_bits(x) & 0x7FFFFFFFu, small = vm_mask(bits < 0x49800000u), large_quadrant; /* |x| < 2^20 */
  double size = (double)vm_real(bits), shifted = size * 0.6366197723675814 + VM_WIDE_ROUNDER;
  double rounded = shifted - VM_WIDE_ROUNDER;
  double near = (size - rounded * 1.5707963267341256) - rounded * 6.077100506506192e-11; /* 33 bits of pi/2, the rest */
  double far = vm_circle_large(bits, &large_quadrant);
  *quadrant = vm_choose_bits(small, (uint32_t)vm_wide_bits(shifted), large_quadrant);
  return vm_choose(small, (float)near, (float)far) + (x - x);
}

VM_FUNCTION float vm_sin_near(float r) {
  float square = r * r, p = 2.718084e-6f;
  p = ((p * square + -1.9839309e-4f) * square + 8.333329e-3f) * square + -0.16666667f;
  return p * square * r + r;
}

VM_FUNCTION float vm_cos_near(float r) {
  float square = r * r, p = 2.4432786e-5f;
  p = (p * square + -1.3887313e-3f) * square + 4.1666646e-2f;
  return 1.0f - (0.5f * square - p * (square * square));
}

VM_FUNCTION float vm_sin(float x) {
  uint32_t quadrant;
  float r = vm_circle(x, &quadrant);
  float result = vm_choose(vm_mask(quadrant & 1u), vm_cos_near(r), vm_sin_near(r));
  return vm_real(vm_bits(result) ^ ((quadrant & 2u) << 30) ^ (vm_bits(x) & VM_SIGN));
}

VM_FUNCTION float vm_cos(float x) {
  uint32_t quadrant;
  float r = vm_circle(x, &quadrant);
  float result = vm_choose(vm_mask(quadrant & 1u), vm_sin_near(r), vm_cos_near(r));
  return vm_real(vm_bits(result) ^ (((quadrant + 1u) & 2u) << 30));
}

VM_FUNCTION float vm_tan(float x) {
  uint32_t quadrant, odd;
  float r = vm_circle(x, &quadrant), sine = vm_sin_near(r), cosine = vm_cos_near(r);
  odd = vm_mask(quadrant & 1u);
  sine = vm_choose(odd, cosine, sine) / vm_choose(odd, sine, cosine);
  return vm_real(vm_bits(sine) ^ (odd & VM_SIGN) ^ (vm_bits(x) & VM_SIGN));
}

/* log2 of a float >= 0 within 2^-38 of itself, in double */
VM_FUNCTION double vm_log2_wide(float x) {
  vm_word subnormal = vm_mask(x < 1.17549435e-38f);
  int32_t n;
  double f = (double)vm_log_reduce(vm_choose(subnormal, x * 8388608.0f, x), &n) - 1.0;
  double s = f / (f + 2.0), square = s * s, p = 0.22195308321368667; /* the series of artanh, times 2 / ln 2 */
  p = (p * square + 0.2623081892525388) * square + 0.3205988979752525;
  p = (p * square + 0.4121985831111324) * square + 0.5770780163555853;
  p = (p * square + 0.9617966939259756) * square + 2.8853900817779268;
  p = p * s + (double)(n - (int32_t)(subnormal & 23u));
  p = vm_wide_choose(x < vm_real(VM_INFINITY), p, (double)x);
  return vm_wide_choose(x == 0.0f, -(double)vm_real(VM_INFINITY), p);
}

/* 2^x within 2^-36 of itself; 0 and inf beyond the range of float */
VM_FUNCTION double vm_exp2_wide(double x) {
  double shifted, r, p = 7.054911620801123e-9;
  x = vm_wide_choose(x > 300.0, 300.0, x);
  x = vm_wide_choose(x < -300.0, -300.0, x);
  shifted = x + VM_WIDE_ROUNDER;
  r = x - (shifted - VM_WIDE_ROUNDER);
  p = ((p * r + 1.01780860092397e-7) * r + 1.321548679014431e-6) * r + 1.5252733804059841e-5;
  p = ((p * r + 1.540353039338161e-4) * r + 1.3333558146428443e-3) * r + 9.618129107628477e-3;
  p = ((p * r + 5.550410866482158e-2) * r + 0.24022650695910072) * r + 0.6931471805599453;
  p = p * r + 1.0;
  return p * vm_wide(((vm_wide_bits(shifted) + 1023u) & 0x7FFu) << 52);
}

/* In double inside: y times the error of a float logarithm would be hundreds of ulp. */
VM_FUNCTION float vm_pow(float x, float y) {
  float size = vm_abs(x), half = 0.5f * y, result;
  double logarithm = vm_log2_wide(size);
  double product = vm_wide_choose((logarithm == 0.0) & (y == y), 0.0, (double)y * logarithm); /* (-1)^inf = 1 */
  vm_word whole = vm_mask(vm_floor(y) == y), odd = whole & vm_mask(vm_floor(half) != half);
  result = (float)vm_exp2_wide(product);
  result = vm_real(vm_bits(result) | (vm_bits(x) & odd & VM_SIGN));
  result = vm_choose(vm_mask((x < 0.0f) & (size < vm_real(VM_INFINITY))) & ~whole, vm_real(0x7FC00000u), result);
  result = vm_choose(vm_mask((x != x) | (y != y)), x + y, result);
  return vm_choose(vm_mask((y == 0.0f) | (x == 1.0f)), 1.0f, result);
}

/* a - b floor(a / b), with the sign of b; in double, where it is exact for quotients below 2^29 */
VM_FUNCTION float vm_mod(float a, float b) {
  double quotient = (double)a / (double)b, whole = (quotient + VM_WIDE_ROUNDER) - VM_WIDE_ROUNDER, rest;
  int finite = vm_abs(a) < vm_real(VM_INFINITY), infinite = vm_abs(b) == vm_real(VM_INFINITY);
  whole = whole - vm_wide_choose(whole > quotient, 1.0, 0.0);
  rest = (double)a - (double)b * whole;
  /* a multiple of an infinite b would be NaN */
  rest = vm_wide_choose(finite & infinite, vm_wide_choose(quotient < 0.0, (double)b, (double)a), rest);
  return (float)rest;
}

#else /* SPM_DOUBLE */

VM_FUNCTION double vm_exp(double x) { return exp(x); }
VM_FUNCTION double vm_expm1(double x) { return expm1(x); }
VM_FUNCTION double vm_log(double x) { return log(x); }
VM_FUNCTION double vm_log1p(double x) { return log1p(x); }
VM_FUNCTION double vm_log1p_inside(double x) { return log1p(x); }
VM_FUNCTION double vm_tanh(double x) { return tanh(x); }
VM_FUNCTION double vm_erf(double x) { return erf(x); }
VM_FUNCTION double vm_sin(double x) { return sin(x); }
VM_FUNCTION double vm_cos(double x) { return cos(x); }
VM_FUNCTION double vm_tan(double x) { return tan(x); }
VM_FUNCTION double vm_pow(double x, double y) { return pow(x, y); }
VM_FUNCTION double vm_sqrt(double x) { return sqrt(x); }
VM_FUNCTION double vm_floor(double x) { return floor(x); }

VM_FUNCTION double vm_mod(double a, double b) {
  double rest = fmod(a, b);
  return (rest < 0.0 && b > 0.0) || (rest > 0.0 && b < 0.0) ? rest + b : rest;
}

#endif

/* exp of minus the magnitude never overflows; a small result is exp(x) / (1 + exp(x)), not 1 - something. */
VM_FUNCTION real vm_sigmoid(real x) {
  real e = vm_exp(-vm_abs(x));
  return vm_choose(vm_mask(x < 0), e, 1) / (1 + e);
}

VM_FUNCTION real vm_softplus(real x) { return vm_relu(x) + vm_log1p_inside(vm_exp(-vm_abs(x))); }

/* The gamma function's logarithm and its derivatives: scalar double in both builds, with libm's log and tan. */

VM_FUNCTION real vm_lgamma(real x) { return (real)lgamma((double)x); }

/* d/dx lgamma. Poles at 0, -1, -2, ...: NaN there, infinite at 0 with the sign of the one-sided limit. */
VM_FUNCTION double vm_digamma_wide(double x) {
  double sum = 0.0, z;
  if (x == 0.0) return -1.0 / x;
  if (x < 0.0) {
    double fraction = x - floor(x);
    if (!(fraction > 0.0)) return x - x == 0.0 ? (x - x) / (x - x) : x - x; /* a pole or -inf: NaN */
    sum = -3.141592653589793 / tan(3.141592653589793 * (fraction > 0.5 ? fraction - 1.0 : fraction));
    x = 1.0 - x;
  }
  for (; x < 10.0; x += 1.0) sum -= 1.0 / x;
  z = 1.0 / (x * x); /* B(2k) / 2k x^2k */
  z *= 1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12)))));
  return sum + (log(x) - 0.5 / x - z);
}

/* x^-n for whole n >= 0 */
VM_FUNCTION double vm_inverse_power(double x, int n) {
  double power = 1.0;
  for (; n > 0; n >>= 1, x *= x)
    if (n & 1) power *= x;
  return 1.0 / power;
}

/* The Hurwitz zeta function sum over k >= 0 of (x + k)^-s, for whole s >= 2 and x > 0, by Euler and Maclaurin. */
VM_FUNCTION double vm_hurwitz(int s, double x) {
  static const double bernoulli[10] = {/* B(2k) / (2k)! */
                                       8.333333333333333e-2,   -1.388888888888889e-3,   3.306878306878307e-5,
                                       -8.267195767195768e-7,  2.08767569878681e-8,     -5.284190138687493e-10,
                                       1.3382536530684679e-11, -3.3896802963225827e-13, 8.586062056277845e-15,
                                       -2.174868698558062e-16};
  double sum = 0.0, power, factor;
  int k;
  for (; x < 10.0 + s; x += 1.0) sum += vm_inverse_power(x, s);
  power = vm_inverse_power(x, s);
  sum += x * power / (s - 1) + 0.5 * power;
  factor = s * power / x;
  for (k = 0; k < 10; k++) {
    sum += bernoulli[k] * factor;
    factor *= (double)((s + 2 * k + 1) * (s + 2 * k + 2)) / (x * x);
  }
  return sum;
}

/* The n-th derivative of pi cot(pi x), 1 <= n <= 30: a polynomial in c = cot(pi x), since c' = -pi (1 + c^2). */
VM_FUNCTION double vm_cotangent_derivative(int n, double x) {
  double p[34] = {0.0, 1.0}, next[34], c, value = 0.0;
  int i, round;
  for (round = 0; round < n; round++) {
    for (i = 0; i < 33; i++) next[i] = -((i + 1) * p[i + 1] + (i > 0 ? (i - 1) * p[i - 1] : 0.0));
    for (i = 0; i < 33; i++) p[i] = next[i] * 3.141592653589793;
  }
  x -= floor(x);
  c = 1.0 / tan(3.141592653589793 * (x > 0.5 ? x - 1.0 : x));
  for (i = n + 1; i >= 0; i--) value = value * c + p[i];
  return value * 3.141592653589793;
}

/* The n-th derivative of digamma; n whole, 0 to 30 where x is negative. At a pole: the limit if it has one, else NaN.
 */
VM_FUNCTION double vm_polygamma_wide(double n, double x) {
  double factorial = 1.0, sign, k, zeta;
  if (n == 0.0) return vm_digamma_wide(x);
  if (!(n > 0.0) || n != floor(n) || n > 150.0 || x != x) return (x - x) / (x - x);
  sign = n - 2.0 * floor(0.5 * n) == 1.0 ? 1.0 : -1.0; /* (-1)^(n+1) */
  for (k = 2.0; k <= n; k += 1.0) factorial *= k;
  if (x > 1e300) return 0.0;
  if (x > 0.0) return sign * factorial * vm_hurwitz((int)n + 1, x);
  if (x == floor(x)) return sign > 0.0 ? 1.0 / (x - x) : (x - x) / (x - x);
  if (n > 30.0) return (x - x) / (x - x);
  zeta = factorial * vm_hurwitz((int)n + 1, 1.0 - x);
  /* psi_n(1 - x) + (-1)^(n+1) psi_n(x) = (-1)^n d^n/dx^n pi cot(pi x) */
  return -vm_cotangent_derivative((int)n, x) - zeta;
}

VM_FUNCTION real vm_digamma(real x) { return (real)vm_digamma_wide((double)x); }
VM_FUNCTION real vm_polygamma(real n, real x) { return (real)vm_polygamma_wide((double)n, (double)x); }

#endif
