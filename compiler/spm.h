/* spm.h: specs compiled, evaluated and trained inside a program of yours:
 *
 *   cc -Icompiler program.c build/libspm.a $(pkg-config --libs libpng zlib jansson) -ltcc -ldl -lm -lpthread -rdynamic
 *
 * (-rdynamic, because what is compiled at run time finds the kernels by name; OpenBLAS is loaded by spm_use_blas.)
 *
 * Handles are opaque. Nothing here prints or ends the process. A call that fails returns NULL or -1 and leaves words in
 * the caller's buffer (cut to its size, always ended; it may be NULL). Functions may be called from any thread, and
 * different sessions used in different threads at once; one session by one thread at a time. A compiled spec does not
 * change, so that any number of sessions may share it; it has to outlive them. All numbers are floats, matrices
 * row-major; data are rows x size numbers for each data declaration, in the order of the spec.
 *
 *   #include <spm.h>
 *   #include <stdio.h>
 *
 *   static const char spec[] =
 *       "model tiny; dim D = 4; dim K = 2;\n"
 *       "data x : real[D]; latent z : real[K]; prior z ~ laplace(0, 1);\n"
 *       "encoder q(x) { mu = dense(x, K); sd = exp(dense(x, K)); }\n"
 *       "posterior z ~ normal(q.mu, q.sd);\n"
 *       "decoder p(z) { mean = dense(z, D); }\n"
 *       "likelihood x ~ normal(p.mean, 0.5);\n"
 *       "objective elbo;\n"
 *       "train { optimizer = adam(lr = 1e-2); batch = 32; epochs = 20; }\n";
 *
 *   static int show(void *context, long epoch, long step, double objective) {
 *     (void)context;
 *     printf("epoch %ld, step %ld: %g\n", epoch, step, objective);
 *     return 0;
 *   }
 *
 *   int main(void) {
 *     static float x[256 * 4], codes[256 * 2];
 *     const float *const data[] = {x};
 *     char error[1000];
 *     for (int i = 0; i < 256 * 4; i++) x[i] = (float)(i * i % 97) / 97;
 *     spm_compiled *compiled = spm_compile(spec, "tiny.spm", NULL, 0, error, sizeof error);
 *     spm_session *session = compiled ? spm_session_create(compiled, 32, 1, 1, error, sizeof error) : NULL;
 *     if (!session || spm_session_train(session, data, 256, 0, show, NULL, error, sizeof error) != 0 ||
 *         spm_session_rows(session, "encode", "z", data, 256, codes, error, sizeof error) != 0) {
 *       fprintf(stderr, "%s\n", error);
 *       return 1;
 *     }
 *     printf("the first row's codes: %g %g\n", (double)codes[0], (double)codes[1]);
 *     spm_session_free(session);
 *     spm_compiled_free(compiled);
 *     return 0;
 *   }
 */
#ifndef SPM_H
#define SPM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header. A program built with another version than spm_abi_version() returns must not go on. */
#define SPM_HOST_ABI 1
int spm_abi_version(void);

/* Loads OpenBLAS for the whole process. Call it once, before there are threads (it sets environment variables). -1
 * if it cannot be had: matrix products then run in plain loops, several times slower. */
int spm_use_blas(char *error, size_t error_size);

/* ---- specs ----------------------------------------------------------------------------------------------------- */

typedef struct spm_compiled spm_compiled;

typedef struct spm_value { /* a dim, let or schedule that is a number, replaced */
  const char *name;
  double value;
} spm_value;

/* Compiles a spec's text. `name` is what messages call it, and where files that it uses are looked for. On failure the
 * buffer holds every problem found, as `spmc check` would print them. */
spm_compiled *spm_compile(const char *text, const char *name, const spm_value *values, int value_count, char *error,
                          size_t error_size);
void spm_compiled_free(spm_compiled *);

enum { SPM_DATA_TENSORS, SPM_PARAMETER_TENSORS, SPM_STATE_TENSORS };
typedef struct spm_tensor_info {
  const char *name; /* of the compiled spec's life */
  const char *dims; /* "[K, D]" in the author's names */
  int rank;
  long shape[8];
  long size; /* numbers; of a row for data */
} spm_tensor_info;
int spm_tensor_count(const spm_compiled *, int kind);
/* 0, or -1 if there is no such tensor. */
int spm_tensor_at(const spm_compiled *, int kind, int index, spm_tensor_info *);

/* ---- sessions: a compiled spec with parameters ------------------------------------------------------------------ */

typedef struct spm_session spm_session;

/* Parameters as a run with this seed has them at its start; room for batches of `rows` rows; 0 threads: one. Where
 * initial values need data (init rows(x), or a file, looked for in the current directory), they are made from the first
 * rows that are trained on or that a gradient is taken of, and what evaluates before is refused. */
spm_session *spm_session_create(const spm_compiled *, long rows, int threads, unsigned long long seed, char *error,
                                size_t error_size);
void spm_session_free(spm_session *);

/* A parameter's raw values, to read or to set. NULL: there is none of that name. */
float *spm_session_parameter(spm_session *, const char *name, long *size);

/* The objective on up to as many rows as there is room for, and the gradients of what is minimised (its negative, for
 * an objective that is maximised); `step` numbers the noise: the same step, the same noise. */
int spm_session_gradient(spm_session *, const float *const *data, long rows, unsigned step, double *objective,
                         char *error, size_t error_size);
/* Of a parameter, after spm_session_gradient and until the next call of the session. */
const float *spm_session_gradient_of(const spm_session *, const char *name, long *size);

/* Called after each epoch with its mean objective; anything but 0 ends training. */
typedef int (*spm_progress)(void *context, long epoch, long step, double objective);
/* Trains on rows in memory for `epochs` more epochs of the stage that the session stands in (0: as many as the spec
 * says, and then those of all later stages), in batches of the session's rows. The last rows are held back where the
 * spec says `valid = N`, and `keep` keeps the best on them. */
int spm_session_train(spm_session *, const float *const *data, long rows, long epochs, spm_progress, void *context,
                      char *error, size_t error_size);
/* Its name, "" of an unnamed `train`. It begins in the first; the next one begins with the parameters as they are,
 * fresh moments, and epoch and step at 0; -1: there is none. */
const char *spm_session_stage(const spm_session *);
int spm_session_next_stage(spm_session *);

/* Means over all rows of the objective by the program "evaluate". */
int spm_session_evaluate(spm_session *, const float *const *data, long rows, double *objective, char *error,
                         size_t error_size);
/* An output with rows ("z" of "encode", "x" of "reconstruct") for any number of rows: out has rows x its size. */
int spm_session_rows(spm_session *, const char *program, const char *output, const float *const *data, long rows,
                     float *out, char *error, size_t error_size);

/* A trained model from the file `model.safetensors` that `spmc train` leaves, of the same spec; or written as one, with
 * the parameters as they are. What fails leaves the session as it was. */
int spm_session_load(spm_session *, const char *path, char *error, size_t error_size);
int spm_session_save(spm_session *, const char *path, char *error, size_t error_size);

#ifdef __cplusplus
}
#endif

#endif
