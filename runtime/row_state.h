/* What each row of the training data owns and keeps from one visit to the next (row states of model.h): the memory of
 * all rows <-> that of a batch's rows, and the optimiser's step on them. Rows are named by their numbers in the data,
 * shuffled or not. C99, the caller's memory; nothing is allocated here.
 *
 * How a program uses row states: it reads `row_state` leaves, which the host has gathered for the batch. After a step
 * of training, each SPM_ROW_GRADIENT_OF output of "train" moves its rows by the optimiser, with moments and a count of
 * updates of each row's own; each SPM_ROW_NEXT_OF output (a persistent chain's position) is stored as the rows' next
 * value. A row state with neither is only moved by a fit. The first values come from program "initialise_rows". */
#ifndef SPM_ROW_STATE_H
#define SPM_ROW_STATE_H

#include "driver.h"

/* Row state s of row r stands at rows * offset(s) + r * size(s) in each of the first three. */
struct spm_row_memory {
  long rows;                      /* 0: there is none */
  real *values;                   /* rows x model->row_state_size */
  real *first, *second, *updates; /* NULL where no optimiser moves them; the last: one count a row */
};

/* Which rows a batch has: order[0], order[1], ..., or first, first + 1, ... where order is NULL. */
struct spm_row_numbers {
  const long *order;
  long first, count;
};

/* Does an optimiser move any? Then moments are needed. */
int spm_rows_have_gradients(const struct spm_model *model);
void spm_rows_gather(const struct spm_model *model, const struct spm_row_memory *memory,
                     const struct spm_row_numbers *rows, real *const *batch);
void spm_rows_scatter(const struct spm_model *model, const struct spm_row_memory *memory,
                      const struct spm_row_numbers *rows, const real *const *batch);
/* The batch's row states as program "initialise_rows" has them: runs it, and puts its outputs in `batch`. Returns -1,
 * or the row state whose initial value is not finite. */
int spm_rows_begin(struct spm_run *run, real *const *batch);
/* After a step that was not skipped: rows [from, from + count) of the batch. Returns -1, or the first row state of
 * which a row's gradient was not finite: such a row is left as it was. */
int spm_rows_update(const struct spm_run *run, const struct spm_row_memory *memory, const struct spm_row_numbers *rows,
                    long from, long count, const struct spm_optimizer *optimizer, double lr);

#endif
