/* The instance in static memory has the size that the macro says, and trains like one in memory of the heap. */
#include "first.h"

#include <stdlib.h>

first *first_static(unsigned long long seed);

enum { ROWS = 32, DIMS = 16 };

int main(void) {
  static float data[ROWS * DIMS];
  const float *const rows[] = {data};
  size_t size = first_size(ROWS, 1);
  long count;
  first *here = first_static(3), *there = first_open(malloc(size), size, ROWS, 1, 3);
  for (int i = 0; i < ROWS * DIMS; i++) data[i] = (float)(i * 37 % 101) / 101;
  if (!here || !there) return 1;
  for (int step = 0; step < 5; step++)
    if (first_step(here, rows, ROWS) != 0 || first_step(there, rows, ROWS) != 0) return 2;
  if (first_step(here, rows, ROWS + 1) != -1 || first_run(here, "no such", rows, ROWS) != -1) return 3;
  if (*first_output(here, "objective", &count) != *first_output(there, "objective", &count) || count != 1) return 4;
  if (first_output(here, "objective", NULL) != first_output(here, "objective", &count)) return 5;
  if (!first_parameter(here, "q.h.dense.W", NULL) || first_parameter(here, "no such", NULL)) return 6;
  free(there);
  return 0;
}
