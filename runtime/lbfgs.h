/* L-BFGS with a strong-Wolfe line search, turned inside out: the caller evaluates the function where it is asked to and
 * comes back, so that one problem over all parameters and many small ones side by side (one a row) are driven by the
 * same code. Minimises; C99, the caller's memory, nothing is allocated. Sums are in double and in order: the same bytes
 * whatever the number of threads. */
#ifndef SPM_LBFGS_H
#define SPM_LBFGS_H

#include "model.h"

#include <stddef.h>

#ifdef SPM_DOUBLE /* the same file is compiled for both types into one program */
#define spm_lbfgs_defaults spm_lbfgs_defaults_d
#define spm_lbfgs_reals spm_lbfgs_reals_d
#define spm_lbfgs_numbers spm_lbfgs_numbers_d
#define spm_lbfgs_begin spm_lbfgs_begin_d
#define spm_lbfgs_advance spm_lbfgs_advance_d
#endif

struct spm_lbfgs_options {
  long steps, evaluations;    /* at most; evaluations 0: a quarter more than steps */
  int history;                /* pairs that are kept */
  double gradient_tolerance;  /* stops when no element of the gradient is larger, */
  double change_tolerance;    /* ... or in some steps in a row the value or every element changed by no more */
  double decrease, curvature; /* the Wolfe conditions' constants, 1e-4 and 0.9 */
};
/* The usual tolerances: 1e-7, 1e-9. */
struct spm_lbfgs_options spm_lbfgs_defaults(long steps, int history);

enum {
  SPM_LBFGS_EVALUATE,  /* wants value and gradient at the point */
  SPM_LBFGS_CONVERGED, /* by one of the tolerances */
  SPM_LBFGS_LIMIT,     /* as many steps or evaluations as allowed */
  SPM_LBFGS_STALLED,   /* no point with a lower value was found along a descent direction */
  SPM_LBFGS_BROKEN     /* the value or the gradient at the start is not finite */
};

struct spm_lbfgs_trial { /* a point along the direction: step, value, slope */
  double step, value, slope;
};

struct spm_lbfgs {
  struct spm_lbfgs_options options;
  long n;
  long steps, evaluations;
  int status, pairs, newest, small; /* small: steps in a row that changed next to nothing */
  double value;                     /* at the last accepted point */
  /* line search */
  int phase, tries;
  double slope, largest; /* along the direction, where it begins; largest |element| of the direction */
  struct spm_lbfgs_trial trial, before, low, high;
  real *base, *gradient, *direction, *low_gradient, *s, *y;
  double *rho, *alpha;
};

/* Memory of one problem of n elements: reals, and doubles. */
size_t spm_lbfgs_reals(long n, int history);
size_t spm_lbfgs_numbers(int history);
/* Asks for the value and the gradient where `point` is now. */
void spm_lbfgs_begin(struct spm_lbfgs *problem, long n, const struct spm_lbfgs_options *options, real *reals,
                     double *numbers);
/* Takes value and gradient at `point` and moves it: to the next place to evaluate at, or, when the status returned is
 * another than SPM_LBFGS_EVALUATE, to the best point found, whose value is problem->value. */
int spm_lbfgs_advance(struct spm_lbfgs *problem, real *point, double value, const real *gradient);

#endif
