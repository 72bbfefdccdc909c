/* L-BFGS on functions whose minima are known: it arrives, every accepted step meets both strong Wolfe conditions, and
 * what cannot be minimised is said. Compiled for double. */
#define SPM_DOUBLE
#include "runtime/lbfgs.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct spm_lbfgs_options spm_lbfgs_defaults(long steps, int history);

typedef double (*Function)(const double *x, double *g, long n);

static double rosenbrock(const double *x, double *g, long n) {
  double f = 0;
  memset(g, 0, sizeof *g * (size_t)n);
  for (long i = 0; i + 1 < n; i++) {
    double a = x[i + 1] - x[i] * x[i], b = 1 - x[i];
    f += 100 * a * a + b * b;
    g[i] -= 400 * a * x[i] + 2 * b;
    g[i + 1] += 200 * a;
  }
  return f;
}

/* Condition number 1000. */
static double bowl(const double *x, double *g, long n) {
  double f = 0;
  for (long i = 0; i < n; i++) {
    double scale = pow(10, 3.0 * (double)i / (double)(n - 1)), d = x[i] - 1;
    f += 0.5 * scale * d * d;
    g[i] = scale * d;
  }
  return f;
}

/* Beale's, minimum 0 at (3, 1/2). */
static double beale(const double *x, double *g, long n) {
  const double c[3] = {1.5, 2.25, 2.625};
  double f = 0, power = 1;
  (void)n;
  g[0] = g[1] = 0;
  for (int i = 0; i < 3; i++) {
    double slope = (i + 1) * power;
    power *= x[1];
    double r = c[i] - x[0] * (1 - power);
    f += r * r;
    g[0] -= 2 * r * (1 - power);
    g[1] += 2 * r * x[0] * slope;
  }
  return f;
}

/* Not defined at x <= 0, minimum at 1: steps that leave its domain are taken back. */
static double barrier(const double *x, double *g, long n) {
  double f = 0;
  for (long i = 0; i < n; i++) {
    f += x[i] - log(x[i]);
    g[i] = 1 - 1 / x[i];
  }
  return f;
}

static double slope_downwards(const double *x, double *g, long n) {
  (void)n;
  g[0] = -1;
  return -x[0];
}

typedef struct Course {
  int status;
  long steps, evaluations, wolfe;
  double value;
} Course;

/* Runs to the end and holds every accepted trial to the Wolfe conditions. */
static Course descend(Function f, double *x, long n, int history, long steps) {
  struct spm_lbfgs p;
  struct spm_lbfgs_options options = spm_lbfgs_defaults(steps, history);
  double *reals = calloc(spm_lbfgs_reals(n, history), sizeof *reals), *g = calloc((size_t)n, sizeof *g),
         *numbers = calloc(spm_lbfgs_numbers(history), sizeof *numbers), *direction = calloc((size_t)n, sizeof *g);
  Course course = {0};
  options.gradient_tolerance = 1e-9;
  options.change_tolerance = 1e-15;
  spm_lbfgs_begin(&p, n, &options, reals, numbers);
  for (;;) {
    double value = f(x, g, n), start = p.value, slope = p.slope, step = p.trial.step, now = 0;
    long before = p.steps;
    memcpy(direction, p.direction, sizeof *g * (size_t)n);
    for (long i = 0; i < n; i++) now += g[i] * direction[i];
    course.status = spm_lbfgs_advance(&p, x, value, g);
    if (p.steps > before && p.value == value && p.tries < 24) { /* a step was accepted at this trial */
      double rounding = 8e-16 * fabs(start);
      cr_expect(value <= start + 1e-4 * step * slope + rounding, "step %ld: %.17g from %.17g", p.steps, value, start);
      cr_expect(fabs(now) <= 0.9 * fabs(slope), "step %ld: slope %g from %g", p.steps, now, slope);
      course.wolfe++;
    }
    if (course.status != SPM_LBFGS_EVALUATE) break;
  }
  course.steps = p.steps;
  course.evaluations = p.evaluations;
  course.value = p.value;
  cr_expect(f(x, g, n) == p.value || course.status == SPM_LBFGS_BROKEN, "the point left behind has another value");
  free(reals);
  free(g);
  free(numbers);
  free(direction);
  return course;
}

Test(lbfgs, minimises_known_functions) {
  double banana[2] = {-1.2, 1}, long_banana[20], b[2] = {1, 1}, q[30], inside[3] = {1e-3, 5, 40};
  for (int i = 0; i < 20; i++) long_banana[i] = i % 2 ? 1 : -1.2;
  for (int i = 0; i < 30; i++) q[i] = -3;
  Course c = descend(rosenbrock, banana, 2, 10, 200);
  cr_expect(c.status == SPM_LBFGS_CONVERGED && fabs(banana[0] - 1) < 1e-7 && fabs(banana[1] - 1) < 1e-7);
  cr_expect(c.evaluations < 60 && c.wolfe >= c.steps - 2, "%ld evaluations, %ld of %ld", c.evaluations, c.wolfe,
            c.steps);
  c = descend(rosenbrock, long_banana, 20, 7, 1000);
  cr_expect(c.status == SPM_LBFGS_CONVERGED && c.value < 1e-14, "%d %g", c.status, c.value);
  c = descend(beale, b, 2, 5, 200);
  cr_expect(c.status == SPM_LBFGS_CONVERGED && fabs(b[0] - 3) < 1e-6 && fabs(b[1] - 0.5) < 1e-6);
  c = descend(bowl, q, 30, 30, 1000);
  cr_expect(c.status == SPM_LBFGS_CONVERGED && c.value < 1e-14, "%d %g", c.status, c.value);
  c = descend(barrier, inside, 3, 5, 200);
  cr_expect(c.status == SPM_LBFGS_CONVERGED, "%d", c.status);
  for (int i = 0; i < 3; i++) cr_expect(fabs(inside[i] - 1) < 1e-7, "%g", inside[i]);
}

/* The numbers of steps are about those of other implementations (131 with 12 pairs, 380 with 2). */
Test(lbfgs, history_is_used) {
  double few[12], many[12];
  for (int i = 0; i < 12; i++) few[i] = many[i] = 2 + i;
  Course a = descend(bowl, few, 12, 2, 3000), b = descend(bowl, many, 12, 12, 3000);
  cr_expect(b.steps < 200 && 2 * b.steps < a.steps, "%ld steps with 2 pairs, %ld with 12", a.steps, b.steps);
}

Test(lbfgs, stops_where_it_must) {
  double at_minimum[2] = {1, 1}, endless[1] = {0}, broken[1] = {-1}, short_run[2] = {-1.2, 1};
  cr_expect(descend(rosenbrock, at_minimum, 2, 5, 100).status == SPM_LBFGS_CONVERGED);
  Course c = descend(slope_downwards, endless, 1, 5, 20);
  cr_expect(c.status == SPM_LBFGS_LIMIT && c.value < 0, "%d", c.status);
  cr_expect(descend(barrier, broken, 1, 5, 20).status == SPM_LBFGS_BROKEN && broken[0] == -1, "left where it was");
  c = descend(rosenbrock, short_run, 2, 5, 3);
  cr_expect(c.status == SPM_LBFGS_LIMIT && c.steps <= 3);
}
