/* Pasted into generated files: matrix products by CBLAS; with -DSPM_NO_BLAS the plain loops of kernels_gemm.c stand in
 * its place, by the same name. */
/* As in <cblas.h>, which not every compiler reads; 101: row-major, 111: as stored, 112: transposed. */
#ifdef SPM_DOUBLE
#define cblas_sgemm cblas_dgemm
#endif
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, real alpha, const real *a, int lda, const real *b,
                 int ldb, real beta, real *c, int ldc);

void SPM_K(gemm)(int ta, int tb, long m, long n, long k, real alpha, const real *a, long lda, const real *b, long ldb,
                 real beta, real *c, long ldc) {
  if (m > 0 && n > 0)
    cblas_sgemm(101, ta ? 112 : 111, tb ? 112 : 111, (int)m, (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb, beta, c,
                (int)ldc);
}
