/* See stage.h. */
#include "stage.h"

#include <string.h>

long train_batch_rows(long batch, long rows) { return batch <= 0 || batch > rows ? rows : batch; }

int train_unchanged(double *recent, int n, long epoch, double objective) {
  if (n < 1 || n > TRAIN_UNCHANGED_MOST) return 0;
  int same = epoch >= n && (float)recent[n - 1] == (float)objective;
  memmove(recent + 1, recent, sizeof(double) * (TRAIN_UNCHANGED_MOST - 1));
  recent[0] = objective;
  return same;
}

int train_stalled(long n, long epoch, long best_epoch) { return n > 0 && epoch - best_epoch >= n; }
