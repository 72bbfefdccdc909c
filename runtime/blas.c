/* OpenBLAS by dlopen, and gemm for both number types. See blas.h. */
#include "blas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* CBLAS as its reference defines it; no header, since the library is not linked. Its integers are 32 bits wide in the
 * package that is loaded. */
enum { ROW_MAJOR = 101, AS_STORED = 111, TRANSPOSED = 112 };
typedef void sgemm_function(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                            const float *b, int ldb, float beta, float *c, int ldc);
typedef void dgemm_function(int order, int ta, int tb, int m, int n, int k, double alpha, const double *a, int lda,
                            const double *b, int ldb, double beta, double *c, int ldc);

static const char library_name[] = "libopenblas.so.0";

/* Written once, by spm_blas_open, before any thread runs. */
static sgemm_function *sgemm;
static dgemm_function *dgemm;
static const char *corename = "none";

static int has_avx512(void) {
#if defined __x86_64__ && defined __GNUC__
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
#else
  return 0;
#endif
}

/* A function's address out of a data pointer, as POSIX promises and ISO C does not. */
static int find(void *library, const char *name, void *function, char *error, size_t error_size) {
  *(void **)function = dlsym(library, name);
  if (*(void **)function) return 0;
  snprintf(error, error_size, "%s: has no function %s; is it OpenBLAS?", library_name, name);
  return -1;
}

int spm_blas_open(char *error, size_t error_size) {
  sgemm_function *found_sgemm;
  dgemm_function *found_dgemm;
  void (*set_threads)(int);
  char *(*get_corename)(void);
  if (sgemm) return 0;
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  if (has_avx512()) setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
  void *library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *why = dlerror();
    snprintf(error, error_size, "%s: cannot load OpenBLAS (Debian: apt-get install libopenblas0-pthread): %s",
             library_name, why ? why : "no reason given");
    return -1;
  }
  if (find(library, "cblas_sgemm", &found_sgemm, error, error_size) != 0 ||
      find(library, "cblas_dgemm", &found_dgemm, error, error_size) != 0 ||
      find(library, "openblas_set_num_threads", &set_threads, error, error_size) != 0 ||
      find(library, "openblas_get_corename", &get_corename, error, error_size) != 0) {
    dlclose(library);
    return -1;
  }
  set_threads(1);
  corename = get_corename();
  dgemm = found_dgemm;
  sgemm = found_sgemm;
  return 0;
}

const char *spm_blas_corename(void) { return corename; }

static int transposition(int transposed) { return transposed ? TRANSPOSED : AS_STORED; }

void spm_gemm_f(int ta, int tb, long m, long n, long k, float alpha, const float *a, long lda, const float *b, long ldb,
                float beta, float *c, long ldc) {
  if (m <= 0 || n <= 0) return;
  if (sgemm && k > 0) {
    sgemm(ROW_MAJOR, transposition(ta), transposition(tb), (int)m, (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb,
          beta, c, (int)ldc);
    return;
  }
  spm_gemm_plain_f(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void spm_gemm_d(int ta, int tb, long m, long n, long k, double alpha, const double *a, long lda, const double *b,
                long ldb, double beta, double *c, long ldc) {
  if (m <= 0 || n <= 0) return;
  if (dgemm && k > 0) {
    dgemm(ROW_MAJOR, transposition(ta), transposition(tb), (int)m, (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb,
          beta, c, (int)ldc);
    return;
  }
  spm_gemm_plain_d(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
