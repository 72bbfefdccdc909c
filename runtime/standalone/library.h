#ifndef SPM_HEADER_SPM_MODEL_NAME
#define SPM_HEADER_SPM_MODEL_NAME

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The model's description: struct spm_model, as the C file defines it. */
struct spm_model;
extern const struct spm_model spm_model_SPM_MODEL_NAME;

/* ---- library ---- */
#ifdef SPM_REAL /* as the C file was compiled */
typedef SPM_REAL SPM_MODEL_NAME_real;
#else
typedef float SPM_MODEL_NAME_real;
#endif
/* A model with its memory. Nothing is shared between two of them, and nothing is global: each may run in a thread of
 * its own. No function allocates, prints or ends the program. */
typedef struct SPM_MODEL_NAME SPM_MODEL_NAME;

/* Bytes that an instance needs for batches of up to so many rows; training: 1 with gradients and moments, or 0. */
size_t SPM_MODEL_NAME_size(long rows, int training);
/* An instance in that memory, aligned like a double, with parameters as a run with this seed has them at its start.
 * NULL if the memory is too small. It is the caller's, and the instance ends with it. */
SPM_MODEL_NAME *SPM_MODEL_NAME_open(void *memory, size_t size, long rows, int training, unsigned long long seed);
/* What schedules and terms of the parameters alone see; before: epoch 0 and as many rows as a batch has room for. */
void SPM_MODEL_NAME_schedule(SPM_MODEL_NAME *, long epoch, long total_rows);
/* One step of training on rows x size numbers for each data declaration. 0: updated; 1: skipped, something was not
 * finite and nothing was changed; 2: only a part was updated; -1: not opened for that. */
int SPM_MODEL_NAME_step(SPM_MODEL_NAME *, const SPM_MODEL_NAME_real *const *data, long rows);
/* Another program: "evaluate", "encode", ... 0, or -1 if there is none of that name or no room for the rows. */
int SPM_MODEL_NAME_run(SPM_MODEL_NAME *, const char *program, const SPM_MODEL_NAME_real *const *data, long rows);
/* An output of the last step or run by name ("objective", "kl(z)", "z"), with `size` numbers (for each row, where it
 * has rows); NULL: there is none. Valid until the next step or run. */
const SPM_MODEL_NAME_real *SPM_MODEL_NAME_output(const SPM_MODEL_NAME *, const char *name, long *size);
/* A parameter's raw values, to read or to set; NULL: there is none of that name. */
SPM_MODEL_NAME_real *SPM_MODEL_NAME_parameter(SPM_MODEL_NAME *, const char *name, long *size);
#ifdef SPM_STATIC
/* The instance in static memory, opened anew; of SPM_BATCH_ROWS rows, for training unless SPM_TRAINING is 0. */
SPM_MODEL_NAME *SPM_MODEL_NAME_static(unsigned long long seed);
#endif

/* ---- end ---- */
#ifdef __cplusplus
}
#endif

#endif
