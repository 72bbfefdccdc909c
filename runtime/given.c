/* See given.h. A mean is summed in double in the order of the rows; a median takes columns in blocks, each block from
 * one pass over the data, and is the mean of the two middle values where there are two. */
#include "given.h"

#include <stdlib.h>
#include <string.h>

enum { GIVEN_BLOCK = 1 << 22 }; /* reals that a median holds at once */

static long given_least(long a, long b) { return a < b ? a : b; }

static double given_uniform(unsigned long long *state) { /* splitmix64 */
  unsigned long long z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

/* `count` of all rows, each set of them equally likely, in increasing order. */
static void given_choose(long count, long rows, unsigned long long seed, long *chosen) {
  long taken = 0;
  for (long row = 0; row < rows && taken < count; row++)
    if (given_uniform(&seed) * (double)(rows - row) < (double)(count - taken)) chosen[taken++] = row;
}

static int given_rows(const struct spm_given *given, const struct spm_given_source *source, unsigned long long seed,
                      real *out) {
  const long count = given->shape[0], size = given->size / count;
  int status = SPM_GIVEN_MADE;
  if (count > source->rows) return SPM_GIVEN_TOO_FEW_ROWS;
  long *chosen = malloc(sizeof *chosen * (size_t)count);
  if (!chosen) return SPM_GIVEN_NO_MEMORY;
  given_choose(count, source->rows, seed, chosen);
  for (long row = 0; row < count && status == SPM_GIVEN_MADE; row++) {
    const real *values = source->read(source->context, given->data, chosen + row, 0, 1);
    if (values)
      memcpy(out + row * size, values, sizeof *out * (size_t)size);
    else
      status = SPM_GIVEN_UNREADABLE;
  }
  free(chosen);
  return status;
}

static int given_mean(const struct spm_given *given, const struct spm_given_source *source, real *out) {
  const size_t size = (size_t)given->size;
  int status = SPM_GIVEN_MADE;
  double *sums = calloc(2 * size, sizeof *sums), *counts = sums + size;
  if (!sums) return SPM_GIVEN_NO_MEMORY;
  for (long first = 0; first < source->rows && status == SPM_GIVEN_MADE; first += source->most) {
    const long rows = given_least(source->most, source->rows - first);
    const real *values = source->read(source->context, given->data, 0, first, rows);
    if (!values) status = SPM_GIVEN_UNREADABLE;
    for (long row = 0; values && row < rows; row++, values += size)
      for (size_t i = 0; i < size; i++)
        if (values[i] == values[i]) {
          sums[i] += (double)values[i];
          counts[i] += 1;
        }
  }
  for (size_t i = 0; i < size; i++) out[i] = (real)(sums[i] / counts[i]);
  free(sums);
  return status;
}

static int given_order(const void *a, const void *b) {
  const real x = *(const real *)a, y = *(const real *)b;
  return (x > y) - (x < y);
}

static real given_middle(real *values, long count) {
  long kept = 0;
  for (long i = 0; i < count; i++)
    if (values[i] == values[i]) values[kept++] = values[i];
  qsort(values, (size_t)kept, sizeof *values, given_order);
  if (kept == 0) return (real)(0.0 / 0.0);
  return kept % 2 ? values[kept / 2] : (values[kept / 2 - 1] + values[kept / 2]) / 2;
}

static int given_median(const struct spm_given *given, const struct spm_given_source *source, real *out) {
  const long size = given->size, at_once = given_least(size, GIVEN_BLOCK / source->rows + 1);
  real *columns = malloc(sizeof *columns * (size_t)at_once * (size_t)source->rows);
  if (!columns) return SPM_GIVEN_NO_MEMORY;
  for (long from = 0; from < size; from += at_once) {
    const long width = given_least(at_once, size - from);
    for (long first = 0; first < source->rows; first += source->most) {
      const long rows = given_least(source->most, source->rows - first);
      const real *values = source->read(source->context, given->data, 0, first, rows);
      if (!values) {
        free(columns);
        return SPM_GIVEN_UNREADABLE;
      }
      for (long row = 0; row < rows; row++)
        for (long i = 0; i < width; i++) columns[i * source->rows + first + row] = values[row * size + from + i];
    }
    for (long i = 0; i < width; i++) out[from + i] = given_middle(columns + i * source->rows, source->rows);
  }
  free(columns);
  return SPM_GIVEN_MADE;
}

int spm_given_make(const struct spm_model *model, int index, const struct spm_given_source *source,
                   unsigned long long seed, real *out) {
  const struct spm_given *given = &model->givens[index];
  if (given->kind == SPM_GIVEN_ROWS) return given_rows(given, source, seed * 0x100000001b3u + (unsigned)index, out);
  return given->kind == SPM_GIVEN_MEAN ? given_mean(given, source, out) : given_median(given, source, out);
}
