/* A model in memory of the caller's: what it needs, how the memory is laid out, and one step of training in it. Pasted
 * into generated files; allocates nothing, and has no memory of its own. */
#ifndef SPM_INSTANCE_H
#define SPM_INSTANCE_H

#include "../driver.h"
#include "../fit.h"
#include "../row_state.h"

struct spm_instance {
  struct spm_run run; /* of all programs; the last one's outputs can be read; its call has the seed and the data */
  long rows;          /* room for batches of that many */
  long total_rows;    /* of the training data: what terms of the parameters alone are divided by */
  long epoch, step;   /* of this stage of training */
  long earlier_steps; /* of the stages before: none draws what another has drawn */
#ifndef SPM_NO_STAGES
  int stage;
#endif
#ifndef SPM_NO_BALANCE
  real weights[2]; /* of rows of a training batch, less 1: settings of programs */
#endif
#ifndef SPM_TRAINER
  int training; /* with gradients and moments */
#endif
  struct spm_optimizer optimizer;
#ifndef SPM_NO_STATES
  real *state;
#endif
#ifndef SPM_NO_PROJECTIONS
  const struct spm_program *project; /* NULL: none is needed */
  real *project_values;
#endif
#ifndef SPM_NO_ROW_STATES
  real **row_batch;             /* what a batch's rows own, by row state */
  struct spm_row_memory owned;  /* what all rows of the training data own; set by spm_instance_own */
  struct spm_row_numbers which; /* of those, the batch's */
#endif
#ifndef SPM_NO_FITTER
  struct spm_fitter fitter;
#endif
};

/* Says where everything of an instance lies in the memory, and how many reals that are; with NULL only the latter. What
 * the caller has set: run.model, rows, training, the call's seed and what initial values need; all else is zero. */
size_t spm_instance_place(struct spm_instance *instance, real *memory);
#ifndef SPM_NO_PROJECTIONS
/* The program that sets parameters back onto their constraints after a step, or NULL where none has any. */
const struct spm_program *spm_instance_project(const struct spm_model *model);
#endif
/* Takes over that many zeroed reals; sets parameters and state to the start of a run with this seed. */
void spm_instance_open(struct spm_instance *instance, real *memory);
#ifndef SPM_NO_ROW_STATES
/* Reals for what `rows` rows of the training data own; training: with their moments. */
size_t spm_instance_owned_reals(const struct spm_model *model, long rows, int training);
void spm_instance_own(struct spm_instance *instance, real *memory, long rows, int training);
/* Puts a batch's row states in place. _begin: those of rows [first, first + rows) of the training data as a run has
 * them at its start, and remembers them. _fresh: of rows that are not training data, fitted where the model says so.
 * Both give -1, or the row state whose initial value is not finite. _visit: of rows order[0], order[1], ... of the
 * training data, or first, first + 1, ... where order is 0; a step that follows takes them on. */
int spm_instance_begin(struct spm_instance *instance, long first, long rows);
int spm_instance_fresh(struct spm_instance *instance, long first, long rows);
void spm_instance_visit(struct spm_instance *instance, const long *order, long first, long rows);
#endif
/* The instance's run becomes one of this program on a batch: rows first, first + 1, ..., which the data are of. */
struct spm_run *spm_instance_run(struct spm_instance *instance, const struct spm_program *program, long first,
                                 long rows);
#ifndef SPM_NO_STAGES
/* The next stage of training: from the parameters as they are, with no moments, at epoch 0 and step 0. */
void spm_instance_next_stage(struct spm_instance *instance);
/* The optimiser becomes that of the stage, as a resumed run wants it. */
void spm_instance_set_stage(struct spm_instance *instance, int stage);
#endif
/* One step of training. */
int spm_instance_step(struct spm_instance *instance, long rows);

#endif
