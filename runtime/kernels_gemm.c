/* Matrix products in plain loops: what runs where there is no BLAS. In blocks that stay in cache, and with the columns
 * of c innermost, which compilers vectorise. Right, and several times slower than a BLAS. See blas.h. */
#include "blas.h"
#include "real.h"

enum { GEMM_DEPTH = 64, GEMM_COLUMNS = 256 };

/* `depth` columns of op(a) times as many rows of op(b) are added to `columns` columns of one row of c. */
static void gemm_row(long depth, long columns, real *restrict c, const real *a, long a_step, const real *restrict b,
                     long ldb) {
  long p = 0;
  for (; p + 4 <= depth; p += 4, b += 4 * ldb) {
    const real a0 = a[p * a_step], a1 = a[(p + 1) * a_step], a2 = a[(p + 2) * a_step], a3 = a[(p + 3) * a_step];
    for (long j = 0; j < columns; j++)
      c[j] = c[j] + ((a0 * b[j] + a1 * b[ldb + j]) + (a2 * b[2 * ldb + j] + a3 * b[3 * ldb + j]));
  }
  for (; p < depth; p++, b += ldb)
    for (long j = 0; j < columns; j++) c[j] = c[j] + a[p * a_step] * b[j];
}

void SPM_K(gemm_plain)(int ta, int tb, long m, long n, long k, real alpha, const real *a, long lda, const real *b,
                       long ldb, real beta, real *c, long ldc) {
  real block[GEMM_DEPTH * GEMM_COLUMNS]; /* of alpha op(b), stored row by row */
  for (long i = 0; i < m; i++)
    for (long j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
  for (long from = 0; from < n; from += GEMM_COLUMNS) {
    const long columns = n - from < GEMM_COLUMNS ? n - from : GEMM_COLUMNS;
    for (long top = 0; top < k; top += GEMM_DEPTH) {
      const long depth = k - top < GEMM_DEPTH ? k - top : GEMM_DEPTH;
      for (long p = 0; p < depth; p++)
        for (long j = 0; j < columns; j++)
          block[p * columns + j] = alpha * (tb ? b[(from + j) * ldb + top + p] : b[(top + p) * ldb + from + j]);
      for (long i = 0; i < m; i++)
        gemm_row(depth, columns, c + i * ldc + from, ta ? a + top * lda + i : a + i * lda + top, ta ? lda : 1, block,
                 columns);
    }
  }
}
