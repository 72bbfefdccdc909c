/* Two models and two instances of one, each trained in a thread of its own at the same time; then one of them alone.
 * The same numbers must come out. Built with ThreadSanitizer by test_emit.sh, which emits the two libraries. */
#include "first.h"
#include "second.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 96, DIMS = 16, STEPS = 8 };

static void fill(float *data, unsigned seed) {
  for (int i = 0; i < ROWS * DIMS; i++) {
    seed = seed * 1664525u + 1013904223u;
    data[i] = (float)(seed >> 8) / 16777216.0f;
  }
}

static void *train_first(void *result) {
  float data[ROWS * DIMS];
  const float *const rows[] = {data};
  size_t size = first_size(ROWS, 1);
  void *memory = malloc(size);
  first *m = first_open(memory, size, ROWS, 1, 7);
  long count;
  fill(data, 1);
  for (int step = 0; step < STEPS; step++)
    if (first_step(m, rows, ROWS) != 0) exit(1);
  *(float *)result = *first_output(m, "objective", &count);
  free(memory);
  return NULL;
}

static void *train_second(void *result) {
  float data[ROWS * DIMS];
  const float *const rows[] = {data};
  size_t size = second_size(ROWS, 1);
  void *memory = malloc(size);
  second *m = second_open(memory, size, ROWS, 1, 7);
  long count;
  fill(data, 1);
  for (int step = 0; step < STEPS; step++)
    if (second_step(m, rows, ROWS) != 0) exit(1);
  *(float *)result = *second_output(m, "objective", &count);
  free(memory);
  return NULL;
}

int main(void) {
  float results[3], alone;
  pthread_t threads[3];
  pthread_create(&threads[0], NULL, train_first, &results[0]);
  pthread_create(&threads[1], NULL, train_first, &results[1]);
  pthread_create(&threads[2], NULL, train_second, &results[2]);
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  train_first(&alone);
  if (memcmp(&alone, &results[0], sizeof alone) != 0 || memcmp(&alone, &results[1], sizeof alone) != 0) return 1;
  printf("%g %g\n", (double)results[0], (double)results[2]);
  return 0;
}
