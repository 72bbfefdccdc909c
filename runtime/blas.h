/* Matrix products from OpenBLAS or, if asked, oneDNN, loaded while the program runs.
 *
 * By dlopen and not by linking, because OpenBLAS chooses its kernels when it is loaded, from the environment: Debian's
 * 0.3.21 takes CPUs with AVX-512 that it does not know for a Haswell, at half the speed, unless OPENBLAS_CORETYPE says
 * otherwise before. And their own threads, beside ours, would cost several times what they bring. */
#ifndef SPM_BLAS_H
#define SPM_BLAS_H

#include <stddef.h>

enum spm_blas { SPM_OPENBLAS, SPM_ONEDNN, SPM_BLAS_COUNT };

/* Loads the library that products of floats shall come from; those of doubles come from OpenBLAS, which is loaded in
 * any case. 0, or -1 and a sentence in `error`. Call it before any thread runs (it sets environment variables); further
 * calls change the library, and do nothing else. Without it, or if it fails, gemm works, in plain loops of our own (or
 * with what was loaded before): right, and ten to a hundred times slower.
 *
 * oneDNN's products are about a tenth faster than OpenBLAS's, its loading and first product take some 50 ms, and its
 * last bits are others: a choice of the user, and never made by what happens to be installed. */
int spm_blas_open(enum spm_blas library, char *error, size_t error_size);
/* Where products of floats come from: "openblas SkylakeX", "onednn 2.6.0"; "none" before the first success. */
const char *spm_blas_name(void);
/* The library of a name, or of its first word alone; -1: of none. */
int spm_blas_of_name(const char *name);

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
