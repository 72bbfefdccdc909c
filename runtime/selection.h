/* Which rows a stage of training takes, and in what order: program "select" on all rows -> row numbers, an epoch's
 * order. `rows` leaves rows out; `balance` parts them in two, of which each batch has equal shares. */
#ifndef SPM_SELECTION_H
#define SPM_SELECTION_H

#include "driver.h"

#include <stdbool.h>
#include <stddef.h>

struct spm_selection {
  long *numbers; /* of the rows taken, in increasing order; of a balanced stage those of the one part, then the other */
  long count;
  bool balanced;
  long parts[2];   /* rows in each */
  long batch;      /* rows of a training batch */
  long epoch_rows; /* in the batches of an epoch */
  real weights[2]; /* of a row of either part, less 1: with them a batch's mean has the expectation that it has
                      unbalanced */
};

/* Of a stage that neither selects nor balances: all of so many rows. */
void spm_selection_all(struct spm_selection *selection, const struct spm_training *stage, long rows);

/* Output "rows" or "balance" of the stage, or NULL. */
const struct spm_output *spm_selection_output(const struct spm_program *program, const struct spm_training *stage,
                                              const char *what);
/* Is it nonzero? An answer for each row of the batch that the program was run on. */
void spm_selection_answer(const struct spm_run *run, const struct spm_output *output, char *answer);

/* Of the rows first, first + 1, ..., those with `taken`; `part`: of a balanced stage, else NULL. `numbers` has room for
 * all of them, and stays the caller's. */
void spm_selection_take(struct spm_selection *selection, const struct spm_training *stage, long *numbers, long first,
                        long rows, const char *taken, const char *part);
/* What makes it useless, in words; 0: nothing does. `kind`: "training" or "validation". */
int spm_selection_flaw(const struct spm_selection *selection, const struct spm_training *stage, long rows,
                       const char *kind, char *text, size_t size);

/* Rows of a batch that a stage may ask for, of so many. */
long spm_most_batch_rows(const struct spm_training *stage, long rows);

/* An epoch's row numbers, epoch_rows of them (and room for as many again), after a permutation that depends on seed,
 * epoch and counts alone. The rows of the smaller part come again, permuted anew, until those of the larger one have
 * all been there. */
void spm_selection_order(const struct spm_selection *selection, bool shuffle, unsigned long long seed, long epoch,
                         long *order);

#endif
