/* Filling, copying and adding vectors. Plain loops: a compiler that cannot tell whether `out` overlaps an operand asks
 * once, before the loop. See kernels.h. */
#include "kernels.h"

#include <string.h>

void SPM_K(fill)(long n, real *out, const real *value_at) {
  const real value = *value_at;
  for (long i = 0; i < n; i++) out[i] = value;
}

void SPM_K(copy)(long n, real *out, const real *in) {
  if (n > 0) memcpy(out, in, (size_t)n * sizeof *out);
}

void SPM_K(accumulate_v)(long n, real *out, const real *a) {
  for (long i = 0; i < n; i++) out[i] = out[i] + a[i];
}

void SPM_K(accumulate_s)(long n, real *out, const real *a_at) {
  const real a = *a_at;
  for (long i = 0; i < n; i++) out[i] = out[i] + a;
}

void SPM_K(accumulate_mul_vv)(long n, real *out, const real *a, const real *b) {
  for (long i = 0; i < n; i++) out[i] = out[i] + a[i] * b[i];
}

void SPM_K(accumulate_mul_vs)(long n, real *out, const real *a, const real *b_at) {
  const real b = *b_at;
  for (long i = 0; i < n; i++) out[i] = out[i] + a[i] * b;
}
