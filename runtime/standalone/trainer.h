/* What the files of an emitted trainer share: rows of data, and a run. */
#ifndef SPM_TRAINER_H
#define SPM_TRAINER_H

#include "../given.h"
#include "../rng.h"
#include "../selection.h"
#include "../stage.h"
#include "instance.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MODEL (&spm_model_SPM_MODEL_NAME)

enum { MAX_DATA = 32, EVALUATION_ROWS = 512 };

struct rows { /* files of one data set, read whole; by data declaration of the model */
  const char *paths[MAX_DATA];
  real *values[MAX_DATA];
#ifndef SPM_NO_SELECTIONS
  const long *chosen; /* numbers of the rows that a stage takes; NULL: they are the first ones */
#endif
  long count, all; /* rows, of a stage and in the files */
};

struct run { /* the command line, and a model in training */
  struct rows data, valid, test;
  const char *save, *resume;
  char beside[4096]; /* where a checkpoint is written before it takes the place of the last */
  long seed, epochs, batch, steps;
  struct spm_instance instance;
  struct spm_training stage;       /* that is trained, and what the command line makes of it */
  long batch_rows, earlier_epochs; /* epochs: of the stages before */
  int skipped;                     /* steps, one after the other */
  real *rows[MAX_DATA];            /* of the batch */
#ifndef SPM_NO_GATHERED
  unsigned draw; /* of gathered data: 0, or by which step */
#endif
  long *order; /* room for the numbers of an epoch's rows */
#ifndef SPM_NO_UNCHANGED
  double recent[TRAIN_UNCHANGED_MOST]; /* objectives of the last epochs, the latest first */
  int unchanged;                       /* the objective no longer changes, and the stage ends */
#endif
#ifndef SPM_NO_SELECTIONS
  struct spm_selection selection; /* of the data */
  long *taken_numbers, *valid_numbers;
#endif
#ifndef SPM_NO_BEST
  real *best; /* parameters, state and what rows own at the best evaluation of this stage */
  int has_best;
  double best_value;
  long best_epoch, best_step;
#endif
};

/* Ends the program. A macro, so that compilers compare the format with what follows it. */
#define fail(...)                                                                                                      \
  (fprintf(stderr, "%s: error: ", MODEL->name), fprintf(stderr, __VA_ARGS__), fprintf(stderr, "\n"), exit(1))
/* Zeroed. */
void *memory_of(long count, size_t each);

uint64_t read_integer(const unsigned char *bytes, int width, int big);
/* The files of a data set, read whole; training: as much as must be there. */
void read_rows(struct rows *rows, int needed);
#ifndef SPM_NO_GIVENS
/* What initial values need, by given. */
const real *const *make_givens(const struct run *run);
#endif

void write_checkpoint(struct run *run);
/* Ends the program unless a checkpoint can be written. */
void try_checkpoint(struct run *run);
#ifndef SPM_NO_STAGES
/* Sets all of the run but what its stage says; the rows in a batch are those that it had. */
#else
/* Sets all of the run. */
#endif
void read_checkpoint(struct run *run);

#endif
