/* See lbfgs.h. The two-loop recursion and the line search of Nocedal and Wright, "Numerical Optimization" (2006),
 * algorithms 7.4, 3.5 and 3.6, with cubic interpolation. Near the optimum a value's rounding hides its decrease; there
 * the slope decides (Hager and Zhang 2005, the approximate Wolfe conditions). */
#include "lbfgs.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { BRACKET, ZOOM, FIRST, MOST_TRIES = 25, SMALL_STEPS = 4 };

#ifdef SPM_DOUBLE
#define SPM_NOISE (4 * DBL_EPSILON)
#else
#define SPM_NOISE (32 * FLT_EPSILON)
#endif

struct spm_lbfgs_options spm_lbfgs_defaults(long steps, int history) {
  struct spm_lbfgs_options options = {steps, 0, history, 1e-7, 1e-9, 1e-4, 0.9};
  return options;
}

size_t spm_lbfgs_reals(long n, int history) { return (size_t)n * (size_t)(4 + 2 * history); }
size_t spm_lbfgs_numbers(int history) { return 2 * (size_t)history; }

/* ---- vectors -------------------------------------------------------------------------------------------------- */

/* In eight lanes, so that it is a vector loop. */
static double dot(const real *a, const real *b, long n) {
  double lanes[8] = {0}, sum = 0;
  long i = 0;
  for (; i + 8 <= n; i += 8)
    for (int lane = 0; lane < 8; lane++) lanes[lane] += (double)a[i + lane] * (double)b[i + lane];
  for (; i < n; i++) lanes[0] += (double)a[i] * (double)b[i];
  for (int lane = 0; lane < 8; lane++) sum += lanes[lane];
  return sum;
}

static void add(real *a, double factor, const real *b, long n) {
  real f = (real)factor;
  for (long i = 0; i < n; i++) a[i] += f * b[i];
}

static double largest_of(const real *a, long n) {
  real largest = 0;
  for (long i = 0; i < n; i++) {
    real size = a[i] < 0 ? -a[i] : a[i];
    if (!(size <= largest)) largest = size; /* NaN stays */
  }
  return (double)largest;
}

static double sum_of_sizes(const real *a, long n) {
  double sum = 0;
  for (long i = 0; i < n; i++) sum += fabs((double)a[i]);
  return sum;
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */

static int finish(struct spm_lbfgs *p, int status, real *point) {
  memcpy(point, p->base, sizeof(real) * (size_t)p->n);
  return p->status = status;
}

static int try_step(struct spm_lbfgs *p, double step, real *point) {
  p->trial.step = step;
  memcpy(point, p->base, sizeof(real) * (size_t)p->n);
  add(point, step, p->direction, p->n);
  return p->status = SPM_LBFGS_EVALUATE;
}

/* -H g by the pairs of the last steps; their latest curvature is the scale. */
static void find_direction(struct spm_lbfgs *p) {
  long n = p->n;
  int history = p->options.history;
  for (long i = 0; i < n; i++) p->direction[i] = -p->gradient[i];
  for (int k = 0; k < p->pairs; k++) {
    int i = (p->newest - k + history) % history;
    p->alpha[i] = p->rho[i] * dot(p->s + i * n, p->direction, n);
    add(p->direction, -p->alpha[i], p->y + i * n, n);
  }
  if (p->pairs > 0) {
    const real *y = p->y + p->newest * n;
    real scale = (real)(1 / (p->rho[p->newest] * dot(y, y, n)));
    for (long i = 0; i < n; i++) p->direction[i] *= scale;
  }
  for (int k = p->pairs - 1; k >= 0; k--) {
    int i = (p->newest - k + history) % history;
    double beta = p->rho[i] * dot(p->y + i * n, p->direction, n);
    add(p->direction, p->alpha[i] - beta, p->s + i * n, n);
  }
}

/* From the accepted point along a new direction; without a sound one the history is forgotten. */
static int begin_line(struct spm_lbfgs *p, real *point) {
  find_direction(p);
  p->slope = dot(p->gradient, p->direction, p->n);
  if (!(p->slope < 0) && p->pairs > 0) {
    p->pairs = 0;
    return begin_line(p, point);
  }
  p->largest = largest_of(p->direction, p->n);
  if (!(p->slope < 0) || !isfinite(p->slope) || !isfinite(p->largest)) return finish(p, SPM_LBFGS_STALLED, point);
  p->phase = BRACKET;
  p->tries = 0;
  p->before = p->low = (struct spm_lbfgs_trial){0, p->value, p->slope};
  memcpy(p->low_gradient, p->gradient, sizeof(real) * (size_t)p->n);
  double size = p->pairs > 0 ? 1 : sum_of_sizes(p->gradient, p->n);
  return try_step(p, p->pairs > 0 || size < 1 ? 1 : 1 / size, point);
}

static void remember_pair(struct spm_lbfgs *p, double step, const real *gradient) {
  long n = p->n;
  int next = (p->newest + 1) % p->options.history;
  real *s = p->s + next * n, *y = p->y + next * n;
  for (long i = 0; i < n; i++) {
    s[i] = (real)step * p->direction[i];
    y[i] = gradient[i] - p->gradient[i];
  }
  double product = dot(s, y, n);
  if (!(product > 1e-8 * sqrt(dot(s, s, n)) * sqrt(dot(y, y, n)))) return; /* no curvature to speak of */
  p->rho[next] = 1 / product;
  p->newest = next;
  if (p->pairs < p->options.history) p->pairs++;
}

/* What rounding may do to a value: an objective is a sum of larger terms, and they of many rows. */
static double noise_of(const struct spm_lbfgs *p) { return SPM_NOISE * fmax(1, fabs(p->value)); }

/* Goes to base + step * direction, where the gradient is this. */
static int accept(struct spm_lbfgs *p, struct spm_lbfgs_trial at, const real *gradient, real *point) {
  double change = fabs(at.value - p->value), moved = fabs(at.step) * p->largest;
  if (change <= noise_of(p)) change = 0.5 * fabs(at.step * p->slope); /* what rounding hides, by the slope */
  remember_pair(p, at.step, gradient);
  add(p->base, at.step, p->direction, p->n);
  memmove(p->gradient, gradient, sizeof(real) * (size_t)p->n);
  p->value = at.value;
  p->steps++;
  if (largest_of(p->gradient, p->n) <= p->options.gradient_tolerance) return finish(p, SPM_LBFGS_CONVERGED, point);
  /* One may be chance: the first step after a restart is a timid one. */
  int small = change <= p->options.change_tolerance || moved <= p->options.change_tolerance;
  p->small = small ? p->small + 1 : 0;
  if (p->small >= SMALL_STEPS) return finish(p, SPM_LBFGS_CONVERGED, point);
  if (p->steps >= p->options.steps || p->evaluations >= p->options.evaluations)
    return finish(p, SPM_LBFGS_LIMIT, point);
  return begin_line(p, point);
}

/* The line search found nothing better than `low`. */
static int give_up(struct spm_lbfgs *p, int status, real *point) {
  if (p->low.step > 0) return accept(p, p->low, p->low_gradient, point);
  if (p->pairs > 0 && status == SPM_LBFGS_STALLED) {
    p->pairs = 0;
    return begin_line(p, point);
  }
  return finish(p, status, point);
}

/* ---- the line search ------------------------------------------------------------------------------------------ */

/* The minimiser of the cubic through both points with both slopes, within [from, to]; their middle if there is none. */
static double cubic(struct spm_lbfgs_trial a, struct spm_lbfgs_trial b, double from, double to) {
  double middle = 0.5 * (from + to);
  if (!isfinite(a.value + b.value + a.slope + b.slope) || a.step == b.step) return middle;
  if (a.step > b.step) {
    struct spm_lbfgs_trial swap = a;
    a = b;
    b = swap;
  }
  double d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step), square = d1 * d1 - a.slope * b.slope;
  if (!(square >= 0)) return middle;
  double d2 = sqrt(square);
  double step = b.step - (b.step - a.step) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2));
  if (!isfinite(step)) return middle;
  return step < from ? from : step > to ? to : step;
}

static int decreases(const struct spm_lbfgs *p, struct spm_lbfgs_trial at) {
  double c1 = p->options.decrease, noise = noise_of(p);
  if (at.value <= p->value + c1 * at.step * p->slope) return 1;
  return at.value <= p->value + noise && at.slope <= (2 * c1 - 1) * p->slope && -c1 * at.step * p->slope <= noise;
}

static int zoom(struct spm_lbfgs *p, real *point) {
  double from = fmin(p->low.step, p->high.step), to = fmax(p->low.step, p->high.step), width = to - from;
  p->phase = ZOOM;
  if (!(width * p->largest > p->options.change_tolerance) || width <= 1e-15 * to)
    return give_up(p, SPM_LBFGS_STALLED, point);
  return try_step(p, cubic(p->low, p->high, from + 0.1 * width, to - 0.1 * width), point);
}

static void set_low(struct spm_lbfgs *p, const real *gradient) {
  p->low = p->trial;
  memcpy(p->low_gradient, gradient, sizeof(real) * (size_t)p->n);
}

static int search(struct spm_lbfgs *p, real *point, const real *gradient) {
  struct spm_lbfgs_trial at = p->trial;
  int finite = isfinite(at.value) && isfinite(at.slope);
  int lower = finite && decreases(p, at);
  if (lower && fabs(at.slope) <= -p->options.curvature * p->slope) return accept(p, at, gradient, point);
  if (++p->tries >= MOST_TRIES || p->evaluations >= p->options.evaluations) {
    if (lower && at.value < p->low.value) set_low(p, gradient);
    return give_up(p, p->evaluations >= p->options.evaluations ? SPM_LBFGS_LIMIT : SPM_LBFGS_STALLED, point);
  }
  if (p->phase == BRACKET) {
    if (!lower || (p->tries > 1 && at.value > p->before.value + noise_of(p))) {
      p->high = at;
      return zoom(p, point);
    }
    set_low(p, gradient);
    if (at.slope >= 0) {
      p->high = p->before;
      return zoom(p, point);
    }
    struct spm_lbfgs_trial before = p->before;
    p->before = at;
    return try_step(p, cubic(before, at, at.step + 0.01 * (at.step - before.step), 10 * at.step), point);
  }
  if (!lower || at.value > p->low.value + noise_of(p))
    p->high = at;
  else {
    if (at.slope * (p->high.step - p->low.step) >= 0) p->high = p->low;
    set_low(p, gradient);
  }
  return zoom(p, point);
}

/* ---- the interface -------------------------------------------------------------------------------------------- */

void spm_lbfgs_begin(struct spm_lbfgs *problem, long n, const struct spm_lbfgs_options *options, real *reals,
                     double *numbers) {
  memset(problem, 0, sizeof *problem);
  problem->options = *options;
  if (options->evaluations <= 0) problem->options.evaluations = options->steps + options->steps / 4 + 1;
  problem->n = n;
  problem->phase = FIRST;
  problem->newest = options->history - 1;
  problem->status = SPM_LBFGS_EVALUATE;
  problem->base = reals;
  problem->gradient = reals + n;
  problem->direction = reals + 2 * n;
  problem->low_gradient = reals + 3 * n;
  problem->s = reals + 4 * n;
  problem->y = problem->s + n * options->history;
  problem->rho = numbers;
  problem->alpha = numbers + options->history;
}

int spm_lbfgs_advance(struct spm_lbfgs *problem, real *point, double value, const real *gradient) {
  struct spm_lbfgs *p = problem;
  p->evaluations++;
  if (p->phase != FIRST) {
    p->trial.value = value;
    p->trial.slope = dot(gradient, p->direction, p->n);
    return search(p, point, gradient);
  }
  memcpy(p->base, point, sizeof(real) * (size_t)p->n);
  memcpy(p->gradient, gradient, sizeof(real) * (size_t)p->n);
  p->value = value;
  double largest = largest_of(gradient, p->n);
  if (!isfinite(value) || !isfinite(largest)) return finish(p, SPM_LBFGS_BROKEN, point);
  if (largest <= p->options.gradient_tolerance) return finish(p, SPM_LBFGS_CONVERGED, point);
  return begin_line(p, point);
}
