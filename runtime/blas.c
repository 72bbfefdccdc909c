/* OpenBLAS and oneDNN by dlopen, and gemm for both number types. See blas.h. */
#include "blas.h"

#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CBLAS as its reference defines it; no header, since the library is not linked. Its integers are 32 bits wide in the
 * package that is loaded. */
enum { ROW_MAJOR = 101, AS_STORED = 111, TRANSPOSED = 112 };
typedef void sgemm_function(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda,
                            const float *b, int ldb, float beta, float *c, int ldc);
typedef void dgemm_function(int order, int ta, int tb, int m, int n, int k, double alpha, const double *a, int lda,
                            const double *b, int ldb, double beta, double *c, int ldc);

/* oneDNN's, version 2: rows first as well; its integers are 64 bits wide, and it answers with 0 or a status. */
typedef int onednn_sgemm_function(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a,
                                  int64_t lda, const float *b, int64_t ldb, float beta, float *c, int64_t ldc);
struct onednn_version {
  int major, minor, patch;
  /* and more */
};

static const char openblas_file[] = "libopenblas.so.0", onednn_file[] = "libdnnl.so.2";
static const char *const words[SPM_BLAS_COUNT] = {"openblas", "onednn"};

/* Written by spm_blas_open, before any thread runs. */
static sgemm_function *sgemm;
static dgemm_function *dgemm;
static onednn_sgemm_function *onednn_sgemm; /* once loaded, used or not */
static bool use_onednn;
static char openblas_name[64] = "none", onednn_name[64];

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
static int find(void *library, const char *file, const char *name, void *function, char *error, size_t error_size) {
  *(void **)function = dlsym(library, name);
  if (*(void **)function) return 0;
  snprintf(error, error_size, "%s: has no function %s", file, name);
  return -1;
}

static void *load(const char *file, const char *title, const char *package, char *error, size_t error_size) {
  void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  const char *why = library ? NULL : dlerror();
  if (!library)
    snprintf(error, error_size, "%s: cannot load %s (Debian: apt-get install %s): %s", file, title, package,
             why ? why : "no reason given");
  return library;
}

static int open_openblas(char *error, size_t error_size) {
  sgemm_function *found_sgemm;
  dgemm_function *found_dgemm;
  void (*set_threads)(int);
  char *(*get_corename)(void);
  if (sgemm) return 0;
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  if (has_avx512()) setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
  void *library = load(openblas_file, "OpenBLAS", "libopenblas0-pthread", error, error_size);
  if (!library) return -1;
  if (find(library, openblas_file, "cblas_sgemm", &found_sgemm, error, error_size) != 0 ||
      find(library, openblas_file, "cblas_dgemm", &found_dgemm, error, error_size) != 0 ||
      find(library, openblas_file, "openblas_set_num_threads", &set_threads, error, error_size) != 0 ||
      find(library, openblas_file, "openblas_get_corename", &get_corename, error, error_size) != 0) {
    dlclose(library);
    return -1;
  }
  set_threads(1);
  snprintf(openblas_name, sizeof openblas_name, "openblas %s", get_corename());
  dgemm = found_dgemm;
  sgemm = found_sgemm;
  return 0;
}

/* How many threads its products would use is a setting of each thread that calls; a new one takes it from what OpenMP
 * read in the environment when it was loaded, so this is set before and looked at after. */
static int open_onednn(char *error, size_t error_size) {
  onednn_sgemm_function *found;
  const struct onednn_version *(*get_version)(void);
  int (*get_threads)(void);
  if (onednn_sgemm) return 0;
  setenv("OMP_NUM_THREADS", "1", 1);
  void *library = load(onednn_file, "oneDNN", "libdnnl2", error, error_size);
  if (!library) return -1;
  int status = find(library, onednn_file, "dnnl_sgemm", &found, error, error_size) != 0 ||
                       find(library, onednn_file, "dnnl_version", &get_version, error, error_size) != 0 ||
                       find(library, onednn_file, "omp_get_max_threads", &get_threads, error, error_size) != 0
                   ? -1
                   : 0;
  if (status == 0 && get_threads() != 1) {
    snprintf(error, error_size, "%s: cannot be kept to one thread a product (OpenMP was loaded before)", onednn_file);
    status = -1;
  }
  if (status == 0) {
    const struct onednn_version *version = get_version();
    snprintf(onednn_name, sizeof onednn_name, "onednn %d.%d.%d", version->major, version->minor, version->patch);
    onednn_sgemm = found;
  } else {
    dlclose(library);
  }
  return status;
}

int spm_blas_open(enum spm_blas library, char *error, size_t error_size) {
  if (open_openblas(error, error_size) != 0 || (library == SPM_ONEDNN && open_onednn(error, error_size) != 0))
    return -1;
  use_onednn = library == SPM_ONEDNN;
  return 0;
}

const char *spm_blas_name(void) { return use_onednn ? onednn_name : openblas_name; }

int spm_blas_of_name(const char *name) {
  size_t length = strcspn(name, " ");
  for (int library = 0; library < SPM_BLAS_COUNT; library++)
    if (strlen(words[library]) == length && memcmp(name, words[library], length) == 0) return library;
  return -1;
}

static int transposition(int transposed) { return transposed ? TRANSPOSED : AS_STORED; }

void spm_gemm_f(int ta, int tb, long m, long n, long k, float alpha, const float *a, long lda, const float *b, long ldb,
                float beta, float *c, long ldc) {
  if (m <= 0 || n <= 0) return;
  if (use_onednn && k > 0) {
    int status = onednn_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    /* Another library's bits in the middle of a run would go unseen; what is not finite does not. */
    for (long i = 0; status != 0 && i < m; i++)
      for (long j = 0; j < n; j++) c[i * ldc + j] = NAN;
    return;
  }
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
