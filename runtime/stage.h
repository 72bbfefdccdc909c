/* What a stage of training says, worked out: its batches, and when it ends. C99, and pasted into emitted trainers. */
#ifndef SPM_STAGE_H
#define SPM_STAGE_H

#include "model.h"

enum { TRAIN_UNCHANGED_MOST = 16 }; /* of stop = unchanged(n) */
enum { TRAIN_SKIPS_ALLOWED = 5 };   /* one after the other, before training stops */

/* Rows in a batch of a stage that takes all of so many rows alike; batch: what it says. */
long train_batch_rows(long batch, long rows);

/* stop = unchanged(n): is the objective of this epoch, after so many, again what it was n epochs ago? `recent` holds
 * those of the last TRAIN_UNCHANGED_MOST epochs, the latest first. */
int train_unchanged(double *recent, int n, long epoch, double objective);

/* stop = patience(n): is the best so far that of an epoch, or (0) of none, n or more before this one? n = 0: never. */
int train_stalled(long n, long epoch, long best_epoch);

#endif
