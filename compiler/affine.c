/* affine: a value, and the variables it is made of -> the proof on the IR that it is affine in all of them together,
 * and its Jacobian with respect to each. The walk goes from the variables to the value through linear ops alone; each
 * op that depends on a variable is carried along as its derivative in every direction of the variable, which stand as
 * leading dims: the variable's shape before the value's own. What the coefficients do not depend on, the Jacobian does
 * not: with weights alone in them it is one a step. */
#include "affine.h"

#include <string.h>

typedef struct Walk {
  Graph *graph;
  const bool *depends; /* on any of the variables; by node id, as far as the value's */
  Node **tangents;     /* with respect to `variable`; NULL: zero */
  const Node *variable;
  int rank; /* of the variable */
} Walk;

/* ---- the proof ------------------------------------------------------------------------------------------------- */

static int dependent_operands(const Node *n, const bool *depends) {
  int count = 0;
  for (int k = 0; k < n->operand_count; k++) count += depends[n->operands[k]->id];
  return count;
}

/* An op that is affine in its operands that depend on a variable, and within one row. */
static bool is_affine_op(const Node *n, const bool *depends) {
  int dependent = dependent_operands(n, depends);
  switch ((int)n->op) {
  case IR_neg:
  case IR_add:
  case IR_sub:
  case IR_expand:
  case IR_reshape:
  case IR_permute:
  case IR_slice:
  case IR_pad:
  case IR_concat:
  case IR_spread:
  case IR_sum:
  case IR_cumsum: return true;
  case IR_mul: return dependent == 1;
  case IR_div: return !depends[n->operands[1]->id];
  case IR_select: return !depends[n->operands[0]->id];
  case IR_contract: return dependent == 1 && n->axes_attribute == 0;
  }
  return false;
}

/* ---- the derivative -------------------------------------------------------------------------------------------- */

/* [the variable's dims, the node's]. */
static Shape wide_shape(const Walk *w, const Shape *own) {
  Shape shape = w->variable->shape;
  for (int d = 0; d < own->rank; d++) shape.dims[shape.rank++] = own->dims[d];
  return shape;
}

/* A coefficient, the same in every direction. */
static Node *widened(const Walk *w, Node *coefficient) {
  Shape shape = wide_shape(w, &coefficient->shape);
  int map[MAX_RANK] = {0};
  for (int d = 0; d < coefficient->shape.rank; d++) map[d] = w->rank + d;
  return build_expand(w->graph, coefficient, &shape, map);
}

static Node *zeros(const Walk *w, const Shape *own) {
  Shape shape = wide_shape(w, own);
  return build_filled(w->graph, 0, &shape);
}

static Node *product_tangent(const Walk *w, const Node *n) {
  int side = w->tangents[n->operands[1]->id] != NULL;
  int labels[MAX_RANK] = {0}, out[MAX_RANK] = {0}, used = 0;
  const int *own = side ? n->labels_b : n->labels_a, *other = side ? n->labels_a : n->labels_b;
  Node *x = n->operands[side], *coefficient = n->operands[1 - side], *t = w->tangents[x->id];
  for (int d = 0; d < x->shape.rank; d++) used = own[d] >= used ? own[d] + 1 : used;
  for (int d = 0; d < coefficient->shape.rank; d++) used = other[d] >= used ? other[d] + 1 : used;
  for (int d = 0; d < w->rank; d++) labels[d] = out[d] = used + d;
  for (int d = 0; d < x->shape.rank; d++) labels[w->rank + d] = own[d];
  for (int d = 0; d < n->shape.rank; d++) out[w->rank + d] = n->labels_out[d];
  return build_contract(w->graph, t, labels, coefficient, other, w->rank + n->shape.rank, out, 0);
}

static Node *map_tangent(const Walk *w, const Node *n) {
  Graph *g = w->graph;
  Node *a = n->operands[0], *b = n->operand_count > 1 ? n->operands[1] : NULL;
  Node *ta = w->tangents[a->id], *tb = b ? w->tangents[b->id] : NULL;
  if (n->op == IR_neg) return build_map1(g, IR_neg, ta);
  if (n->op == IR_add) return ta && tb ? build_map2(g, IR_add, ta, tb) : ta ? ta : tb;
  if (n->op == IR_sub) return ta && tb ? build_map2(g, IR_sub, ta, tb) : ta ? ta : build_map1(g, IR_neg, tb);
  if (n->op == IR_mul) return ta ? build_map2(g, IR_mul, ta, widened(w, b)) : build_map2(g, IR_mul, tb, widened(w, a));
  if (n->op == IR_div) return build_map2(g, IR_div, ta, widened(w, b));
  Node *tc = w->tangents[n->operands[2]->id]; /* select */
  return build_map3(g, IR_select, widened(w, a), tb ? tb : zeros(w, &n->shape), tc ? tc : zeros(w, &n->shape));
}

static Node *layout_tangent(const Walk *w, const Node *n) {
  Graph *g = w->graph;
  Node *t = w->tangents[n->operands[0]->id];
  Shape shape = wide_shape(w, &n->shape);
  int map[MAX_RANK] = {0};
  for (int d = 0; d < w->rank; d++) map[d] = d;
  for (int d = 0; d < n->operands[0]->shape.rank; d++) map[w->rank + d] = w->rank + n->map[d];
  if (n->op == IR_expand) return build_expand(g, t, &shape, map);
  if (n->op == IR_permute) return build_permute(g, t, map);
  if (n->op == IR_reshape) return build_reshape(g, t, &shape);
  if (n->op == IR_slice) return build_slice(g, t, w->rank + n->dim, n->start, n->shape.dims[n->dim]);
  if (n->op == IR_pad) return build_pad(g, t, w->rank + n->dim, n->start, n->shape.dims[n->dim]);
  if (n->op == IR_sum) return build_sum(g, t, n->dims_mask << w->rank);
  if (n->op == IR_cumsum) return build_cumsum(g, t, w->rank + n->dim, n->reverse, n->exclusive);
  return t; /* spread: axes that the derivative does not need */
}

static Node *tangent(const Walk *w, const Node *n) {
  if (n == w->variable) { /* the unit vector of each direction */
    long size = shape_size(&n->shape);
    double *identity = arena_array(w->graph->compilation, double, size *size);
    for (long i = 0; i < size; i++) identity[i * size + i] = 1;
    Shape shape = wide_shape(w, &n->shape);
    return shape.rank == 0 ? build_constant(w->graph, 1) : build_table(w->graph, identity, &shape);
  }
  bool any = false;
  for (int k = 0; k < n->operand_count; k++) any |= w->tangents[n->operands[k]->id] != NULL;
  if (!any) return NULL;
  if (n->op == IR_contract) return product_tangent(w, n);
  if (n->op == IR_concat) {
    Node **parts = arena_array(w->graph->compilation, Node *, n->operand_count);
    for (int k = 0; k < n->operand_count; k++) {
      Node *t = w->tangents[n->operands[k]->id];
      parts[k] = t ? t : zeros(w, &n->operands[k]->shape);
    }
    return build_concat(w->graph, parts, n->operand_count, w->rank + n->dim, n->shape.dims[n->dim]);
  }
  return op_table[n->op].kind == KIND_MAP ? map_tangent(w, n) : layout_tangent(w, n);
}

/* ---- both ------------------------------------------------------------------------------------------------------ */

static void mark_dependent(const Graph *g, const Node *value, Node *const *variables, int count, bool *depends,
                           bool *needed) {
  needed[value->id] = true;
  for (int id = value->id; id >= 0; id--)
    for (int k = 0; needed[id] && k < g->nodes[id]->operand_count; k++) needed[g->nodes[id]->operands[k]->id] = true;
  for (int id = 0; id <= value->id; id++) {
    for (int v = 0; v < count; v++) depends[id] |= g->nodes[id] == variables[v];
    for (int k = 0; needed[id] && k < g->nodes[id]->operand_count; k++)
      depends[id] |= depends[g->nodes[id]->operands[k]->id];
  }
}

const Node *affine_jacobians(Graph *g, Node *value, Node *const *variables, int count, Node **jacobians) {
  int last = value->id + 1;
  bool *depends = arena_array(g->compilation, bool, last), *needed = arena_array(g->compilation, bool, last);
  mark_dependent(g, value, variables, count, depends, needed);
  for (int id = 0; id < last; id++) {
    bool variable = false;
    for (int v = 0; v < count; v++) variable |= g->nodes[id] == variables[v];
    if (needed[id] && depends[id] && !variable && !is_affine_op(g->nodes[id], depends)) return g->nodes[id];
    if (needed[id] && depends[id] && g->nodes[id]->shape.rank + value->shape.rank > MAX_RANK) return g->nodes[id];
  }
  for (int v = 0; v < count; v++) {
    Walk w = {.graph = g, .depends = depends, .variable = variables[v], .rank = variables[v]->shape.rank};
    w.tangents = arena_array(g->compilation, Node *, last);
    for (int id = 0; id < last; id++) {
      const Node *n = g->nodes[id];
      if (needed[id] && depends[id] && n->shape.rank + w.rank > MAX_RANK) return n;
      if (needed[id] && depends[id]) w.tangents[id] = tangent(&w, n);
    }
    jacobians[v] = w.tangents[value->id] ? w.tangents[value->id] : zeros(&w, &value->shape);
  }
  return NULL;
}
