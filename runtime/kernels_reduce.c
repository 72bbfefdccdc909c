/* Sums, maxima and running sums. Written with vectors of 8 doubles and 16 reals where the order of additions is part of
 * the result (see kernels.h): the compiler may split such a vector, but never reorder it. A compiler without vectors
 * gets plain loops with the same 16 lanes, and so the same bytes. */
#include "kernels.h"
#include "vmath.h"

#include <string.h>

enum { BLOCK = 256 }; /* columns whose sums are held at once */

/* 16 lanes -> one number, in a fixed tree. */
static real combine(double *lane) {
  for (int width = 8; width > 0; width /= 2)
    for (int j = 0; j < width; j++) lane[j] += lane[j + width];
  return (real)lane[0];
}

real SPM_K(sum)(long n, const real *a) { /* whose plain lanes compilers make vectors of by themselves */
  double lane[16] = {0};
  long i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; j++) lane[j] += (double)a[i + j];
  for (long j = 0; j < n - i; j++) lane[j] += (double)a[i + j];
  return combine(lane);
}

/* The larger, NaN once seen: comparing with NaN is false, so it is asked for by name. */
static inline real larger_or_nan(real most, real x) { return ((x > most) | (x != x)) ? x : most; }

#if defined __GNUC__ && !defined __TINYC__

/* Vectors wider than the machine's are legal; the ABI warning is about passing them to functions, which is not done. */
typedef double eight __attribute__((vector_size(64)));
typedef real wide __attribute__((vector_size(8 * sizeof(real)), aligned(sizeof(real)), may_alias));
#ifdef SPM_DOUBLE
typedef long long masks __attribute__((vector_size(64)));
#else
typedef int masks __attribute__((vector_size(32)));
#endif

static inline const wide *at(const real *a) { return (const wide *)(const void *)a; }

real SPM_K(dot)(long n, const real *a, const real *b) {
  eight low = {0}, high = {0};
  double lane[16];
  long i = 0;
  for (; i + 16 <= n; i += 16) {
    low += __builtin_convertvector(*at(a + i), eight) * __builtin_convertvector(*at(b + i), eight);
    high += __builtin_convertvector(*at(a + i + 8), eight) * __builtin_convertvector(*at(b + i + 8), eight);
  }
  memcpy(lane, &low, sizeof low);
  memcpy(lane + 8, &high, sizeof high);
  for (long j = 0; j < n - i; j++) lane[j] += (double)a[i + j] * (double)b[i + j];
  return combine(lane);
}

real SPM_K(maximum)(long n, const real *a) {
  const real least = -vm_real(VM_INFINITY);
  wide lane[4];
  real most = least;
  long i = 0;
  for (int j = 0; j < 4; j++) lane[j] = (wide){least, least, least, least, least, least, least, least};
  for (; i + 32 <= n; i += 32)
    for (int j = 0; j < 4; j++) { /* the same for each lane: comparing vectors gives masks */
      wide x = *at(a + i + 8 * j);
      masks taken = (masks)((x > lane[j]) | (x != x));
      lane[j] = (wide)((taken & (masks)x) | (~taken & (masks)lane[j]));
    }
  for (int j = 0; j < 4; j++)
    for (int k = 0; k < 8; k++) most = larger_or_nan(most, lane[j][k]);
  for (; i < n; i++) most = larger_or_nan(most, a[i]);
  return most;
}

#else /* no vectors */

real SPM_K(dot)(long n, const real *a, const real *b) {
  double lane[16] = {0};
  long i = 0;
  for (; i + 16 <= n; i += 16)
    for (long j = 0; j < 16; j++) lane[j] += (double)a[i + j] * (double)b[i + j];
  for (long j = 0; j < n - i; j++) lane[j] += (double)a[i + j] * (double)b[i + j];
  return combine(lane);
}

real SPM_K(maximum)(long n, const real *a) {
  real most = -vm_real(VM_INFINITY);
  for (long i = 0; i < n; i++) most = larger_or_nan(most, a[i]);
  return most;
}

#endif

void SPM_K(reduce_sum)(long outer, long n, long inner, real *out, const real *in) {
  double total[BLOCK];
  if (inner == 1) {
    for (long o = 0; o < outer; o++) out[o] = SPM_K(sum)(n, in + o * n);
    return;
  }
  for (long o = 0; o < outer; o++)
    for (long from = 0; from < inner; from += BLOCK) {
      long count = inner - from < BLOCK ? inner - from : BLOCK;
      const real *row = in + o * n * inner + from;
      for (long i = 0; i < count; i++) total[i] = 0.0;
      for (long k = 0; k < n; k++, row += inner)
        for (long i = 0; i < count; i++) total[i] += (double)row[i];
      for (long i = 0; i < count; i++) out[o * inner + from + i] = (real)total[i];
    }
}

void SPM_K(reduce_max)(long outer, long n, long inner, real *out, const real *in) {
  real most[BLOCK];
  if (inner == 1) {
    for (long o = 0; o < outer; o++) out[o] = SPM_K(maximum)(n, in + o * n);
    return;
  }
  for (long o = 0; o < outer; o++)
    for (long from = 0; from < inner; from += BLOCK) {
      long count = inner - from < BLOCK ? inner - from : BLOCK;
      const real *row = in + o * n * inner + from;
      for (long i = 0; i < count; i++) most[i] = -vm_real(VM_INFINITY);
      for (long k = 0; k < n; k++, row += inner)
        for (long i = 0; i < count; i++) most[i] = larger_or_nan(most[i], row[i]);
      for (long i = 0; i < count; i++) out[o * inner + from + i] = most[i];
    }
}

void SPM_K(first_max_mask)(long outer, long n, long inner, real *out, const real *in) {
  if (n <= 0) return;
  memset(out, 0, (size_t)(outer * n * inner) * sizeof *out);
  for (long o = 0; o < outer; o++)
    for (long i = 0; i < inner; i++) {
      const real *column = in + o * n * inner + i;
      long best = 0;
      for (long k = 1; k < n && column[best * inner] == column[best * inner]; k++)
        if (!(column[k * inner] <= column[best * inner])) best = k; /* larger, or NaN */
      out[o * n * inner + best * inner + i] = 1;
    }
}

/* One block of columns. Each element is read before it is overwritten, so it may be in place. */
static void cumsum_block(long n, long inner, long count, int reverse, int exclusive, real *out, const real *in) {
  double total[BLOCK];
  for (long i = 0; i < count; i++) total[i] = 0.0;
  for (long step = 0; step < n; step++) {
    long k = reverse ? n - 1 - step : step;
    for (long i = 0; i < count; i++) {
      double before = total[i];
      total[i] = before + (double)in[k * inner + i];
      out[k * inner + i] = (real)(exclusive ? before : total[i]);
    }
  }
}

static void cumsum_line(long n, int reverse, int exclusive, real *out, const real *in) {
  double total = 0.0;
  for (long step = 0; step < n; step++) {
    long k = reverse ? n - 1 - step : step;
    double before = total;
    total = before + (double)in[k];
    out[k] = (real)(exclusive ? before : total);
  }
}

void SPM_K(cumsum)(long outer, long n, long inner, int reverse, int exclusive, real *out, const real *in) {
  for (long o = 0; inner == 1 && o < outer; o++) cumsum_line(n, reverse, exclusive, out + o * n, in + o * n);
  for (long o = 0; inner > 1 && o < outer; o++)
    for (long from = 0; from < inner; from += BLOCK) {
      long start = o * n * inner + from, count = inner - from < BLOCK ? inner - from : BLOCK;
      cumsum_block(n, inner, count, reverse, exclusive, out + start, in + start);
    }
}
