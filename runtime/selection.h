/* Which rows a stage of training takes, and in what order: program "select" on all rows -> row numbers, an epoch's
 * order. `rows` leaves rows out; `balance` parts them in two, of which each batch has equal shares. */
#ifndef SPM_SELECTION_H
#define SPM_SELECTION_H

#include "host.h"

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

/* Of a stage that neither selects nor balances: all rows. `train`: they are to be trained on, in batches of the
 * stage's; rows to validate are never balanced. */
int spm_select(struct spm_host *host, const struct spm_training *stage, const struct spm_rows *rows, bool train,
               struct spm_selection *selection, struct spm_error *error);
void spm_selection_free(struct spm_selection *selection);

/* Rows of a batch that a stage may ask for, of so many. */
long spm_most_batch_rows(const struct spm_training *stage, long rows);

/* An epoch's row numbers, epoch_rows of them (and room for as many again), after a permutation that depends on seed,
 * epoch and counts alone. The rows of the smaller part come again, permuted anew, until those of the larger one have
 * all been there. */
void spm_selection_order(const struct spm_selection *selection, bool shuffle, unsigned long long seed, long epoch,
                         long *order);

#endif
