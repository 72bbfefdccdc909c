/* L-BFGS over a model's programs: a training step over all parameters and what all rows own (optimizer = lbfgs), and
 * the fit of a batch's row states with the parameters held (infer ... by lbfgs, and rows that were not trained on). The
 * problems share one work space. C99, the caller's memory; nothing is allocated here. */
#ifndef SPM_FIT_H
#define SPM_FIT_H

#include "driver.h"
#include "lbfgs.h"

struct spm_fitter { /* the work space, all zeros at first */
  struct spm_lbfgs *problems;
  real *points, *gradients, *reals;
  double *numbers;
};

/* How many of each: points stands for gradients, too. */
struct spm_fitter_sizes {
  size_t problems, points, reals, numbers;
};

/* What `stages` stages of training with batches of up to `batch` rows and the fit of up to `fresh` rows that were not
 * trained on need; all 0 where nothing is fitted. */
void spm_fitter_need(const struct spm_model *model, long batch, long fresh, int stages, struct spm_fitter_sizes *sizes);

/* Moves the batch's row states, from where they are, to a maximum of the objective of the run's program: one problem a
 * row if the program has an objective of each row, else one of the whole batch. Draws stand still throughout. `batch`:
 * what the run reads as its row states. */
void spm_fit_rows(struct spm_fitter *fitter, struct spm_run *run, const struct spm_fit *fit, real *const *batch);

/* One step of training: the batch's row states and the parameters are moved by up to fit->steps iterations, and the
 * outputs of the run are those at the end. */
int spm_fit_step(struct spm_fitter *fitter, struct spm_run *run, const struct spm_fit *fit, real *parameters,
                 real *const *batch);

#endif
