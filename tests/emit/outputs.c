/* A library has each output that its header lists, of that size. test_emit.sh makes asks.h of the header: a line
 * ASK(program, output, size) each; of every program the instance knows nothing but the name. */
#include "first.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 8, DIMS = 16 };

int main(void) {
  static float data[ROWS * DIMS];
  const float *const rows[] = {data};
  size_t size = first_size(ROWS, 1);
  void *memory = malloc(size);
  first *m = first_open(memory, size, ROWS, 1, 3);
  int asked = 0;
#define ASK(program, output, numbers)                                                                                  \
  do {                                                                                                                 \
    long found = -1;                                                                                                   \
    int status = strcmp(program, "train") == 0 ? first_step(m, rows, ROWS) : first_run(m, program, rows, ROWS);        \
    if (status != 0 || !first_output(m, output, &found) || found != numbers) {                                         \
      printf("%s of %s: %ld numbers\n", output, program, found);                                                       \
      return 1;                                                                                                        \
    }                                                                                                                  \
    asked++;                                                                                                           \
  } while (0);
#include "asks.h"
  free(memory);
  return asked == 0;
}
