/* Elementwise builders: constants are folded, identities vanish, and what is the same for all rows or along new dims
 * is computed once (spread and expand move outwards). Requires operands of one shape; leaves a node with the union of
 * their axes, whatever was simplified on the way. */
#include <assert.h>
#include <math.h>

#include "ir_parts.h"

enum { MAX_OPERANDS = 3 };

static bool commutes(Op op) {
  return op == IR_add || op == IR_mul || op == IR_equal || op == IR_not_equal || op == IR_and || op == IR_or;
}

/* Constants last, otherwise the older operand first: a + b and b + a become one node. */
static void order_operands(Op op, Node **x) {
  if (!commutes(op)) return;
  double number;
  bool first = node_filled(x[0], &number), second = node_filled(x[1], &number);
  if (first != second ? first : x[0]->id > x[1]->id) {
    Node *other = x[0];
    x[0] = x[1];
    x[1] = other;
  }
}

/* Constants whose value is not finite are left to run time, so that no text has to spell them. */
static Node *fold_constants(Graph *graph, Op op, Node **x, int count) {
  double values[MAX_OPERANDS] = {0};
  for (int i = 0; i < count; i++)
    if (!node_filled(x[i], &values[i])) return NULL;
  double result = elementwise_value(op, values);
  return isfinite(result) ? build_filled(graph, result, &x[0]->shape) : NULL;
}

/* --- identities: the simpler node, or NULL; the caller restores the axes --- */

static bool is_boolean(const Node *x) {
  return x->facts.integer && x->facts.finite && x->facts.low >= 0 && x->facts.high <= 1;
}

static Node *identity_unary(Graph *graph, Op op, Node *x) {
  double number;
  if (op == IR_neg) {
    if (x->op == IR_neg) return x->operands[0];
    if (x->op == IR_sub) return build_map2(graph, IR_sub, x->operands[1], x->operands[0]);
    if (x->op == IR_div && node_filled(x->operands[0], &number))
      return build_map2(graph, IR_div, build_filled_like(graph, -number, x->operands[0]), x->operands[1]);
    if (x->op == IR_mul && node_filled(x->operands[1], &number))
      return build_map2(graph, IR_mul, x->operands[0], build_filled_like(graph, -number, x->operands[1]));
  }
  if (op == IR_abs && x->facts.low >= 0) return x;
  if (op == IR_abs && x->op == IR_neg) return build_map1(graph, IR_abs, x->operands[0]);
  if (op == IR_relu && x->facts.low >= 0) return x;
  if (op == IR_relu && x->facts.high <= 0 && x->facts.finite) return build_filled(graph, 0, &x->shape);
  if (op == IR_floor && x->facts.integer && x->facts.finite) return x;
  return NULL;
}

static Node *identity_add(Graph *graph, Node *a, Node *b) {
  if (node_is(b, 0)) return a;
  if (a == b) return build_map2(graph, IR_mul, a, build_filled_like(graph, 2, a));
  if (b->op == IR_neg) return build_map2(graph, IR_sub, a, b->operands[0]);
  if (a->op == IR_neg) return build_map2(graph, IR_sub, b, a->operands[0]);
  return NULL;
}

static Node *identity_sub(Graph *graph, Node *a, Node *b) {
  if (node_is(b, 0)) return a;
  if (node_is(a, 0)) return build_map1(graph, IR_neg, b);
  if (a == b && a->facts.finite) return build_filled(graph, 0, &a->shape);
  if (b->op == IR_neg) return build_map2(graph, IR_add, a, b->operands[0]);
  return NULL;
}

static Node *identity_mul(Graph *graph, Node *a, Node *b) {
  if (node_is(b, 1)) return a;
  if (node_is(b, -1)) return build_map1(graph, IR_neg, a);
  if (node_is(b, 0) && a->facts.finite) return build_filled(graph, 0, &a->shape);
  return NULL;
}

static Node *identity_div(Graph *graph, Node *a, Node *b) {
  double divisor;
  if (!node_filled(b, &divisor) || divisor == 0) return NULL;
  int exponent;
  if (frexp(fabs(divisor), &exponent) != 0.5 || !isfinite(1 / divisor)) return NULL;
  return build_map2(graph, IR_mul, a, build_filled_like(graph, 1 / divisor, b)); /* exact: a power of two */
}

static Node *identity_pow(Graph *graph, Node *a, Node *b) {
  if (node_is(b, 1)) return a;
  if (node_is(b, 2)) return build_map2(graph, IR_mul, a, a);
  if (node_is(b, 0.5)) return build_map1(graph, IR_sqrt, a);
  if (node_is(b, -1)) return build_map2(graph, IR_div, build_filled(graph, 1, &a->shape), a);
  if (node_is(b, 0)) return build_filled(graph, 1, &a->shape);
  return NULL;
}

/* Comparisons and choices that the facts decide, for operands that cannot be NaN. */
static Node *decided_by_facts(Graph *graph, Op op, Node *a, Node *b) {
  if (!a->facts.finite || !b->facts.finite) return NULL;
  bool below = a->facts.high < b->facts.low, not_above = a->facts.high <= b->facts.low;
  bool above = a->facts.low > b->facts.high, not_below = a->facts.low >= b->facts.high;
  if (op == IR_max) return not_below ? a : below ? b : NULL;
  if (op == IR_min) return not_above ? a : above ? b : NULL;
  int truth = -1;
  if (op == IR_less) truth = below ? 1 : not_below || a == b ? 0 : -1;
  if (op == IR_less_equal) truth = not_above || a == b ? 1 : above ? 0 : -1;
  if (op == IR_equal) truth = a == b ? 1 : below || above ? 0 : -1;
  if (op == IR_not_equal) truth = a == b ? 0 : below || above ? 1 : -1;
  return truth < 0 ? NULL : build_filled(graph, truth, &a->shape);
}

static Node *identity_logic(Graph *graph, Op op, Node *a, Node *b) {
  double number;
  if (!node_filled(b, &number)) return NULL;
  if (op == IR_and && number == 0) return build_filled(graph, 0, &a->shape);
  if (op == IR_or && number != 0) return build_filled(graph, 1, &a->shape);
  return is_boolean(a) ? a : NULL;
}

static Node *identity_adjoint_times(Graph *graph, Node *adjoint, Node *factor) {
  double number;
  if (node_is(adjoint, 0)) return build_filled(graph, 0, &adjoint->shape);
  bool never_zero = adjoint->facts.low > 0 || adjoint->facts.high < 0 || node_filled(adjoint, &number);
  if (factor->facts.finite || never_zero) return build_map2(graph, IR_mul, adjoint, factor);
  return NULL;
}

static Node *identity_binary(Graph *graph, Op op, Node *a, Node *b) {
  if (op == IR_add) return identity_add(graph, a, b);
  if (op == IR_sub) return identity_sub(graph, a, b);
  if (op == IR_mul) return identity_mul(graph, a, b);
  if (op == IR_div) return identity_div(graph, a, b);
  if (op == IR_pow) return identity_pow(graph, a, b);
  if ((op == IR_max || op == IR_min) && a == b) return a;
  if (op == IR_and || op == IR_or) return identity_logic(graph, op, a, b);
  if (op == IR_adjoint_times) return identity_adjoint_times(graph, a, b);
  if (op == IR_polygamma && node_is(a, 0)) return build_map1(graph, IR_digamma, b);
  return decided_by_facts(graph, op, a, b);
}

static const double largest_float = 3.4028234663852886e38;

/* abs(a) <= largest float: a guard that what is finite anyway does not need. */
static bool asks_if_finite(const Node *condition, const Node *a) {
  double limit;
  return condition->op == IR_less_equal && condition->operands[0]->op == IR_abs &&
         condition->operands[0]->operands[0] == a && node_filled(condition->operands[1], &limit) &&
         limit >= largest_float;
}

static Node *identity_select(Graph *graph, Node *condition, Node *a, Node *b) {
  double number;
  if (a->facts.finite && asks_if_finite(condition, a)) return a;
  if (node_filled(condition, &number)) return number != 0 ? a : b;
  if (a == b) return a;
  if (condition->op == IR_not) return build_map3(graph, IR_select, condition->operands[0], b, a);
  if (node_is(a, 1) && node_is(b, 0) && is_boolean(condition)) return condition;
  return NULL;
}

static Node *identity(Graph *graph, Op op, Node **x, int count) {
  if (count == 1) return identity_unary(graph, op, x[0]);
  if (count == 2) return identity_binary(graph, op, x[0], x[1]);
  return op == IR_select ? identity_select(graph, x[0], x[1], x[2]) : NULL;
}

/* --- moving spread and expand outwards --- */

static Node *build_map(Graph *, Op, Node **, int count);

static Node *lift_spreads(Graph *graph, Op op, Node **x, int count) {
  bool any = false;
  for (int i = 0; i < count; i++)
    if (node_is_spread(x[i])) {
      x[i] = x[i]->operands[0];
      any = true;
    }
  return any ? build_map(graph, op, x, count) : NULL;
}

static bool same_expansion(const Node *a, const Node *b) {
  if (a->operands[0]->shape.rank != b->operands[0]->shape.rank) return false;
  for (int d = 0; d < a->operands[0]->shape.rank; d++)
    if (a->map[d] != b->map[d]) return false;
  return true;
}

/* If all operands repeat along the same new dims, the op is done before the repetition. */
static Node *lift_expands(Graph *graph, Op op, Node **x, int count) {
  Node *lead = NULL;
  for (int i = 0; i < count; i++) {
    if (x[i]->op != IR_expand) return NULL;
    if (lead == NULL || x[i]->operands[0]->shape.rank > lead->operands[0]->shape.rank) lead = x[i];
  }
  const Shape *inner_shape = &lead->operands[0]->shape;
  Node *inner[MAX_OPERANDS];
  for (int i = 0; i < count; i++) {
    if (same_expansion(lead, x[i]))
      inner[i] = x[i]->operands[0];
    else if (node_is_scalar_expand(x[i]))
      inner[i] = build_scalar_expand(graph, x[i]->operands[0], inner_shape);
    else
      return NULL;
  }
  Node *result = build_map(graph, op, inner, count);
  return build_expand(graph, result, &lead->shape, lead->map);
}

/* --- the builder --- */

/* Named dims win over bare numbers of the same value. */
static Shape united_shape(Node **x, int count) {
  Shape shape = x[0]->shape;
  for (int i = 1; i < count; i++) {
    assert(shapes_match(&shape, &x[i]->shape));
    for (int d = 0; d < shape.rank; d++)
      if (shape.dims[d].symbol == NULL) shape.dims[d] = x[i]->shape.dims[d];
  }
  return shape;
}

static Node *build_map(Graph *graph, Op op, Node **operands, int count) {
  assert(op_table[op].kind == KIND_MAP && op_table[op].operands == count);
  Node *x[MAX_OPERANDS] = {0};
  unsigned axes = 0;
  for (int i = 0; i < count; i++) {
    x[i] = operands[i];
    axes |= x[i]->axes;
  }
  Node draft = draft_node(op, x, count);
  draft.shape = united_shape(x, count);
  order_operands(op, x);
  Node *result = fold_constants(graph, op, x, count);
  if (result == NULL) result = identity(graph, op, x, count);
  if (result == NULL) result = stable_form(graph, op, x);
  if (result == NULL) result = lift_spreads(graph, op, x, count);
  if (result == NULL) result = lift_expands(graph, op, x, count);
  if (result == NULL) result = node_intern(graph, &draft);
  return build_with_axes(graph, result, axes);
}

Node *build_map1(Graph *graph, Op op, Node *a) { return build_map(graph, op, &a, 1); }

Node *build_map2(Graph *graph, Op op, Node *a, Node *b) { return build_map(graph, op, (Node *[]){a, b}, 2); }

Node *build_map3(Graph *graph, Op op, Node *a, Node *b, Node *c) {
  return build_map(graph, op, (Node *[]){a, b, c}, 3);
}
