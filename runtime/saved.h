/* A trained or half-trained model <-> a safetensors file. Under its own name each parameter has the constrained value,
 * which is what other programs want; where that differs from what is optimised, `raw.NAME` has the latter. */
#ifndef SPM_SAVED_H
#define SPM_SAVED_H

#include "train.h"

struct saved_run { /* how it was made; what has to agree when a run goes on */
  unsigned long long seed;
  long batch, rows;                    /* of a training batch, of the training data */
  long epoch, step;                    /* only read: written are those of the host */
  long stage;                          /* that it stands in */
  char blas[64];                       /* only read: the name of where products came from (blas.h) */
  const struct spm_rows *data, *valid; /* only written: what identifies the files of each declaration; NULL: none */
};

/* Parameters and states; with `state`, also the optimiser's moments and where training stands. */
int saved_write(const char *path, struct spm_host *host, const struct saved_run *run, const struct train_state *state,
                struct spm_error *error);
/* Puts parameters and states (and, with `state`, the rest) back. `run` is filled from the file. */
int saved_read(const char *path, struct spm_host *host, struct saved_run *run, struct train_state *state,
               struct spm_error *error);
/* The note alone, before a host exists: how the run was made. */
int saved_read_run(const char *path, struct saved_run *run, struct spm_error *error);
/* An error if the rows lie in other files than those of the run, whatever their names. `role` is "data" or "valid". A
 * file of a version that did not note it passes. */
int saved_check_data(const char *path, const struct spm_model *model, const char *role, const struct spm_rows *rows,
                     struct spm_error *error);

#endif
