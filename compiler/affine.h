/* Affine values: affine.c. */
#ifndef SPM_AFFINE_H
#define SPM_AFFINE_H

#include "ir.h"

/* jacobians[v]: [variables[v]'s shape, value's shape]. NULL, or the first op on the way that is not affine. */
const Node *affine_jacobians(Graph *, Node *value, Node *const *variables, int count, Node **jacobians);

#endif
