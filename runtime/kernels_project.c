/* Projections onto the simplex along a vector: sparsemax (Martins and Astudillo 2016) and entmax (Peters, Niculae and
 * Martins 2019). No sorting and no memory: the threshold rises to its place in a few passes, each of which vectorises,
 * with sums in double in fixed lanes. NaN where a score is NaN or +inf, or all are -inf. See kernels.h. */
#include "kernels.h"

#include <math.h>

enum { PROJECT_LANES = 16, PROJECT_PASSES = 200 };

/* In a fixed tree. */
static double project_total(double *lanes) {
  for (int half = PROJECT_LANES / 2; half > 0; half /= 2)
    for (int j = 0; j < half; j++) lanes[j] = lanes[j] + lanes[j + half];
  return lanes[0];
}

/* How many lie above the threshold, and their sum; all measured from the largest. */
static double project_above(long n, const real *in, double top, double threshold, double *count) {
  double sums[PROJECT_LANES] = {0}, counts[PROJECT_LANES] = {0};
  long i = 0;
  for (; i + PROJECT_LANES <= n; i += PROJECT_LANES)
    for (int j = 0; j < PROJECT_LANES; j++) {
      const double x = (double)in[i + j] - top;
      sums[j] = sums[j] + (x > threshold ? x : 0.0);
      counts[j] = counts[j] + (x > threshold ? 1.0 : 0.0);
    }
  for (int j = 0; i < n; i++, j++) {
    const double x = (double)in[i] - top;
    sums[j] = sums[j] + (x > threshold ? x : 0.0);
    counts[j] = counts[j] + (x > threshold ? 1.0 : 0.0);
  }
  *count = project_total(counts);
  return project_total(sums);
}

static void project_nothing(long n, real *out) {
  for (long i = 0; i < n; i++) out[i] = (real)NAN;
}

/* What lies at least 1 below the largest is not in the support; leaving out what lies below the threshold of the rest
 * raises it, until nothing is left out any more (Michelot 1986). */
void SPM_K(sparsemax)(long n, real *out, const real *in) {
  const double top = (double)SPM_K(maximum)(n, in);
  double threshold = -1.0, count = 0.0, before;
  do {
    before = count;
    const double sum = project_above(n, in, top, threshold, &count);
    threshold = count > 0.0 ? (sum - 1.0) / count : 0.0;
  } while (count > 0.0 && count != before);
  if (count == 0.0) {
    project_nothing(n, out);
    return;
  }
  for (long i = 0; i < n; i++) {
    const double x = (double)in[i] - top - threshold;
    out[i] = (real)(x > 0.0 ? x : 0.0);
  }
}

/* sum max(factor (x - top) - threshold, 0)^power, and minus its slope in the threshold. */
static double project_powers(long n, const real *in, double top, double factor, double power, double threshold,
                             double *slope) {
  double sums[PROJECT_LANES] = {0}, slopes[PROJECT_LANES] = {0};
  for (long i = 0; i < n; i++) {
    const double x = factor * ((double)in[i] - top) - threshold;
    const int j = (int)(i % PROJECT_LANES);
    if (!(x > 0.0)) continue;
    const double less = pow(x, power - 1.0);
    sums[j] = sums[j] + less * x;
    slopes[j] = slopes[j] + power * less;
  }
  *slope = project_total(slopes);
  return project_total(sums);
}

/* The same for power 2, without pow. */
static double project_squares(long n, const real *in, double top, double factor, double threshold, double *slope) {
  double sums[PROJECT_LANES] = {0}, slopes[PROJECT_LANES] = {0};
  long i = 0;
  for (; i + PROJECT_LANES <= n; i += PROJECT_LANES)
    for (int j = 0; j < PROJECT_LANES; j++) {
      const double x = factor * ((double)in[i + j] - top) - threshold, above = x > 0.0 ? x : 0.0;
      sums[j] = sums[j] + above * above;
      slopes[j] = slopes[j] + above;
    }
  for (int j = 0; i < n; i++, j++) {
    const double x = factor * ((double)in[i] - top) - threshold, above = x > 0.0 ? x : 0.0;
    sums[j] = sums[j] + above * above;
    slopes[j] = slopes[j] + above;
  }
  *slope = 2.0 * project_total(slopes);
  return project_total(sums);
}

/* Newton's steps from below, where the sum is at least 1, kept in an interval that shrinks around the threshold. */
static double project_threshold(long n, const real *in, double top, double factor, double power) {
  double low = -1.0, high = 0.0, threshold = -1.0;
  for (int pass = 0; pass < PROJECT_PASSES; pass++) {
    double slope;
    const double sum = power == 2.0 ? project_squares(n, in, top, factor, threshold, &slope)
                                    : project_powers(n, in, top, factor, power, threshold, &slope);
    if (sum >= 1.0)
      low = threshold;
    else
      high = threshold;
    double next = threshold + (sum - 1.0) / slope;
    if (!(next > low && next < high)) next = sum == 1.0 || next == threshold ? threshold : 0.5 * (low + high);
    if (next == threshold || high - low < 2e-16) break;
    threshold = next;
  }
  return threshold;
}

/* max((alpha - 1) x - threshold, 0)^(1 / (alpha - 1)) with sum 1, alpha > 1. */
void SPM_K(entmax)(long n, real *out, const real *in, const real *alpha) {
  const double top = (double)SPM_K(maximum)(n, in), factor = (double)*alpha - 1.0, power = 1.0 / factor;
  if (!(top - top == 0.0) || !(factor > 0.0)) {
    project_nothing(n, out);
    return;
  }
  const double threshold = project_threshold(n, in, top, factor, power);
  for (long i = 0; i < n; i++) {
    const double x = factor * ((double)in[i] - top) - threshold;
    out[i] = (real)(!(x > 0.0) ? 0.0 : power == 2.0 ? x * x : pow(x, power));
  }
}
