/* L-BFGS over a model's programs: a training step over all parameters and what all rows own (optimizer = lbfgs), and
 * the fit of a batch's row states with the parameters held (infer ... by lbfgs, and rows that were not trained on). The
 * problems share one work space, which is made once. */
#ifndef SPM_FIT_H
#define SPM_FIT_H

#include "host.h"
#include "lbfgs.h"

struct spm_fitter;

/* Work space for what the model and these stages of training need; host->fitter stays NULL if that is nothing. */
int spm_fitter_create(struct spm_host *host, long batch, const struct spm_training *trainings, int count,
                      struct spm_error *error);
void spm_fitter_free(struct spm_fitter *fitter);

/* Moves the batch's row states, from where they are, to a maximum of the objective of `program`: one problem a row if
 * the program has an objective of each row, else one of the whole batch. `step` and `first_row` are for draws, which
 * stand still throughout. */
void spm_fit_rows(struct spm_host *host, const struct spm_program *program, const struct spm_fit *fit, long rows,
                  long first_row, unsigned step);

/* What the steps of a stage are from now on. */
void spm_fit_steps(struct spm_host *host, const struct spm_fit *fit);
/* One step of training: the gathered batch's row states and the parameters are moved by up to `steps` iterations, and
 * the outputs of the run are those at the end. */
struct spm_outcome spm_fit_step(struct spm_host *host, struct spm_run *run);

#endif
