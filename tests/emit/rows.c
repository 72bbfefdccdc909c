/* A library whose rows own values, trained as a host program would, from a .npy file of 256 x 16 floats: NAME_rows,
 * NAME_begin, NAME_visit. In static memory and in memory of the heap, which must agree. Prints what spmc train has in
 * metrics.csv. MODEL is the model's name, BATCH the rows of a batch. */
#include HEADER

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOIN(a, b) a##b
#define JOINED(a, b) JOIN(a, b)
#define CALL(name) JOINED(MODEL, name)

enum { ROWS = 256, DIMS = 16, EPOCHS = 3, HEADER_BYTES = 128 };

static double epoch(MODEL *m, const float *data) {
  double sum = 0;
  long count;
  for (long first = 0; first < ROWS; first += BATCH) {
    const float *const batch[] = {data + first * DIMS};
    CALL(_visit)(m, NULL, first);
    if (CALL(_step)(m, batch, BATCH) != 0) exit(2);
    sum += (double)*CALL(_output)(m, "objective", &count) * BATCH / ROWS;
  }
  return sum;
}

static void begin(MODEL *m, void *memory, const float *data) {
  const float *const rows[] = {data};
  if (CALL(_step)(m, rows, BATCH) != -1) exit(3); /* whose rows? */
  CALL(_rows)(m, memory, ROWS);
  CALL(_schedule)(m, 0, ROWS);
  for (long first = 0; first < ROWS; first += BATCH) {
    const float *const batch[] = {data + first * DIMS};
    if (CALL(_begin)(m, batch, first, BATCH) != 0) exit(4);
  }
  if (CALL(_begin)(m, rows, ROWS, 1) != -1) exit(5);
}

int main(int count, char **words) {
  static float data[ROWS * DIMS];
  const float *const rows[] = {data};
  FILE *file = fopen(words[count - 1], "rb");
  if (!file || fseek(file, HEADER_BYTES, SEEK_SET) != 0 || fread(data, sizeof data, 1, file) != 1) return 1;
  fclose(file);
  size_t size = CALL(_size)(BATCH, 1), owned = CALL(_rows_size)(ROWS, 1);
  void *memory[] = {malloc(size), malloc(owned), malloc(owned)};
  MODEL *here = CALL(_static)(5), *there = CALL(_open)(memory[0], size, BATCH, 1, 5);
  long length;
  if (!here || !there) return 6;
  begin(here, memory[1], data);
  begin(there, memory[2], data);
  for (long e = 0; e < EPOCHS; e++) {
    CALL(_schedule)(here, e, ROWS);
    CALL(_schedule)(there, e, ROWS);
    double value = epoch(here, data);
    if (value != epoch(there, data)) return 7;
    printf("epoch %ld  objective %.9g\n", e + 1, value);
  }
  if (memcmp(CALL(_owned)(here, "mean", &length), CALL(_owned)(there, "mean", &length), sizeof(float) * 5) != 0 ||
      length != 5)
    return 8;
  /* Rows that are not training data are fitted, and leave these as they are. */
  if (CALL(_run)(here, "evaluate", rows, BATCH) != 0) return 9;
  printf("valid  objective %.9g\n", (double)*CALL(_output)(here, "objective", &length));
  for (int i = 0; i < 3; i++) free(memory[i]);
  return 0;
}
