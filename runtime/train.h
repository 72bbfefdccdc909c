/* Training on the host: a model, its data and settings -> trained parameters, checkpoints on the way.
 * Nothing here prints: what happens is told through callbacks. */
#ifndef SPM_TRAIN_H
#define SPM_TRAIN_H

#include "host.h"
#include "selection.h"
#include "stage.h"

#include <signal.h>

/* Where training stands: with parameters, moments and states, all that a checkpoint has to hold. */
struct train_state {
  long stage;
  long epoch;                         /* completed ones of this stage */
  long batch;                         /* completed in this epoch */
  long step;                          /* completed in this stage, skipped ones included */
  long updates;                       /* steps that changed the parameters */
  long skipped;                       /* steps left out because something was not finite, in all stages */
  long in_a_row;                      /* of those, directly before this point */
  long earlier_epochs, earlier_steps; /* of the stages before */
  int has_best;                       /* the host keeps what there was at the best value so far, which was: */
  double best;
  long best_epoch, best_step;
  double rows;  /* behind `sums` */
  double *sums; /* by column: over this epoch's rows so far; for plain values (a learning rate) the last one */
  int count;    /* columns */
  double recent[TRAIN_UNCHANGED_MOST]; /* objectives of the last epochs, the latest first */
  int unchanged;                       /* nonzero: training ended because the objective no longer changed */
};

struct train_events { /* each may be NULL */
  void *context;
  /* values: this step's outputs, by column of the program "train" */
  void (*step)(void *context, const struct train_state *state, const double *values);
  /* means: over the epoch, by column of "train"; valid: by column of "evaluate", NULL without validation data. -1 ends
   * training with that error. */
  int (*epoch)(void *context, const struct train_state *state, const double *means, const double *valid,
               struct spm_error *error);
  void (*skipped)(void *context, const struct train_state *state, const char *culprit);
};

struct train_options {
  struct spm_training training;          /* the stage; what the command line changed is in it */
  struct spm_rows data, valid;           /* valid.count 0: none; those that `rows` takes judge */
  const struct spm_selection *selection; /* of `data`; NULL: all rows, unbalanced */
  const char *checkpoint;                /* file to keep up to date; NULL: none */
  const struct spm_columns *train_columns, *valid_columns;
  const volatile sig_atomic_t *stop; /* nonzero: finish the step, write the checkpoint, return; may be NULL */
  double checkpoint_interval;        /* at most one checkpoint in this many seconds, but one at the end in any case */
  int unfused;                       /* update after all gradients are made (the same bytes; for tests) */
};

enum { TRAIN_FAILED = -1, TRAIN_FINISHED = 0, TRAIN_INTERRUPTED = 1 };

/* Trains one stage from `state` on: a fresh one (train_state_create) on initialised parameters, or one that was
 * resumed. Where the stage keeps the best, that is what the host holds when it is finished. */
int train_run(struct spm_host *host, const struct train_options *options, struct train_state *state,
              const struct train_events *events, struct spm_error *error);

/* The next stage begins: from the parameters as they are, with no moments, at epoch 0 and step 0. */
void train_next_stage(struct spm_host *host, struct train_state *state);

int train_state_create(struct train_state *state, int columns, struct spm_error *error);
void train_state_free(struct train_state *state);

#endif
