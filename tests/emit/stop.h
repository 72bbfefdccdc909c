/* Put before an emitted trainer: it ends, as if killed, when it has written its STOP-th checkpoint. */
#include <stdio.h>
#include <stdlib.h>

static int stop_after(int renamed) {
  static int checkpoints;
  if (++checkpoints == STOP) exit(0);
  return renamed;
}
#define rename(from, to) stop_after(rename(from, to))
