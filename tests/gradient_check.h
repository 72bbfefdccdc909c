/* Gradients against central differences, in the interpreter. */
#ifndef SPM_GRADIENT_CHECK_H
#define SPM_GRADIENT_CHECK_H

#include "compiler/ir.h"
#include "random_graph.h"

typedef struct GradientCheck {
  int compared, skipped; /* skipped: a branch was taken differently on the two sides */
  double worst;          /* |difference - gradient| / (1 + |difference| + |gradient|) */
} GradientCheck;

/* Differentiates the per-step scalar `of` (in its graph, which grows) with respect to the raw parameters whose indices
 * are given, and compares every element with (f(x + h) - f(x - h)) / 2h, stopped values held. */
GradientCheck gradient_check(Graph *, Node *of, const int *parameters, int count, RandomInputs *);

/* The value of a node; freed with the compilation. */
const double *value_of(const Graph *, const Node *, const RandomInputs *);

#endif
