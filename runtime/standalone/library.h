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
#ifndef SPM_NO_ROW_STATES
/* What rows of the training data own, which their steps take from one visit to the next: bytes for so many rows, and
 * the memory, aligned like a double. Before a step, _begin is called with each row once, in batches of `rows` rows from
 * `first` on: it sets what they own as a run has it at its start. 0, or -1 if that is not finite or there is no room.
 */
size_t SPM_MODEL_NAME_rows_size(long rows, int training);
void SPM_MODEL_NAME_rows(SPM_MODEL_NAME *, void *memory, long rows);
int SPM_MODEL_NAME_begin(SPM_MODEL_NAME *, const SPM_MODEL_NAME_real *const *data, long first, long rows);
/* Which rows of the training data the next steps are of: order[0], order[1], ...; or, with NULL, first, first + 1, ...
 */
void SPM_MODEL_NAME_visit(SPM_MODEL_NAME *, const long *order, long first);
/* What all rows own, by name: row after row; `size`, unless it is NULL, gets the numbers of each. NULL: there is none
 * of that name. */
SPM_MODEL_NAME_real *SPM_MODEL_NAME_owned(SPM_MODEL_NAME *, const char *name, long *size);
#endif
/* One step of training on rows x size numbers for each data declaration. 0: updated; 1: skipped, something was not
 * finite and nothing was changed; 2: only a part was updated; -1: not opened for that. */
int SPM_MODEL_NAME_step(SPM_MODEL_NAME *, const SPM_MODEL_NAME_real *const *data, long rows);
#ifndef SPM_NO_STAGES
/* The next stage of training begins, with no moments and its own optimiser, at epoch 0. 0, or -1 after the last. */
int SPM_MODEL_NAME_next_stage(SPM_MODEL_NAME *);
#endif
/* Another program: "evaluate", "encode", ..., of rows that are not training data. 0, or -1 if there is none of that
 * name or no room for the rows. */
int SPM_MODEL_NAME_run(SPM_MODEL_NAME *, const char *program, const SPM_MODEL_NAME_real *const *data, long rows);
/* An output of the last step or run by name, of those listed above; `size`, unless it is NULL, gets how many numbers it
 * has (for each row, where it has rows). NULL: there is none. Valid until the next step or run. */
const SPM_MODEL_NAME_real *SPM_MODEL_NAME_output(const SPM_MODEL_NAME *, const char *name, long *size);
/* A parameter's raw values, to read or to set; `size`, unless it is NULL, gets how many. NULL: there is none of that
 * name. */
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
