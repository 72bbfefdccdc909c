/* Matrix products from OpenBLAS, loaded while the program runs.
 *
 * By dlopen and not by linking, because OpenBLAS chooses its kernels when it is loaded, from the environment: Debian's
 * 0.3.21 takes CPUs with AVX-512 that it does not know for a Haswell, at half the speed, unless OPENBLAS_CORETYPE says
 * otherwise before. And its own threads, beside ours, would cost several times what they bring. */
#ifndef SPM_BLAS_H
#define SPM_BLAS_H

#include <stddef.h>

/* Loads the library; 0, or -1 and a sentence in `error`. Call it once, before any thread runs (it sets environment
 * variables); further calls do nothing. Without it, or if it fails, gemm works, in plain loops of our own: right, and
 * ten to a hundred times slower. */
int spm_blas_open(char *error, size_t error_size);
/* "SkylakeX", "Haswell", ...; "none" before spm_blas_open has succeeded. */
const char *spm_blas_corename(void);

/* c [m, n] = alpha * op(a) op(b) + beta * c, row-major; ta: a is stored [k, m], tb: b is stored [n, k]. lda, ldb, ldc
 * are the distances of stored rows. With beta = 0 what was in c does not count, NaN included. */
void spm_gemm_f(int ta, int tb, long m, long n, long k, float alpha, const float *a, long lda, const float *b, long ldb,
                float beta, float *c, long ldc);
void spm_gemm_d(int ta, int tb, long m, long n, long k, double alpha, const double *a, long lda, const double *b,
                long ldb, double beta, double *c, long ldc);
/* The same in plain loops (kernels_gemm.c). */
void spm_gemm_plain_f(int ta, int tb, long m, long n, long k, float alpha, const float *a, long lda, const float *b,
                      long ldb, float beta, float *c, long ldc);
void spm_gemm_plain_d(int ta, int tb, long m, long n, long k, double alpha, const double *a, long lda, const double *b,
                      long ldb, double beta, double *c, long ldc);

#endif
