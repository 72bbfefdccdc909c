/* Put before an emitted trainer: it ends, as if killed, when it has written as many checkpoints as STOP in the
 * environment says; 0: it does not. */
#include <stdio.h>
#include <stdlib.h>

static int stop_after(int renamed) {
  static int checkpoints;
  if (++checkpoints == atoi(getenv("STOP"))) exit(0);
  return renamed;
}
#define rename(from, to) stop_after(rename(from, to))
