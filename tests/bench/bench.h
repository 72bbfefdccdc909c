/* What the benchmarks share: a clock, and medians of what it measured. */
#ifndef SPM_BENCH_H
#define SPM_BENCH_H

#include <stdlib.h>
#include <time.h>

static inline double bench_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static inline int bench_compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Sorts; `part` in [0, 1]: 0.5 is the median, 0 the smallest. */
static inline double bench_quantile(double *values, int count, double part) {
  qsort(values, (size_t)count, sizeof *values, bench_compare);
  return count > 0 ? values[(int)(part * (double)(count - 1) + 0.5)] : 0;
}

#endif
