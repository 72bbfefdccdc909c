/* Stable forms: elementwise expressions that lose digits or overflow on the way, recognised as they are built, before
 * anything is differentiated: log(1 + exp(x)) is softplus(x), log(sigmoid(x)) is -softplus(-x), log(exp(x)) is x.
 * Requires the operands of an elementwise op about to be built; leaves the better node, or NULL. */
#include "ir_parts.h"

static Node *negated(Graph *graph, Node *x) { return build_map1(graph, IR_neg, x); }

/* x = y + 1 */
static bool is_plus_one(const Node *x, Node **y) {
  if (x->op != IR_add || !node_is(x->operands[1], 1)) return false;
  *y = x->operands[0];
  return true;
}

static bool is_one_minus(const Node *x, Node **y) {
  if (x->op != IR_sub || !node_is(x->operands[0], 1)) return false;
  *y = x->operands[1];
  return true;
}

static Node *form_of_log(Graph *graph, Node *x) {
  Node *y;
  if (x->op == IR_exp) return x->operands[0];
  if (x->op == IR_sigmoid) return negated(graph, build_map1(graph, IR_softplus, negated(graph, x->operands[0])));
  if (is_plus_one(x, &y)) return build_map1(graph, IR_log1p, y);
  if (is_one_minus(x, &y)) return build_map1(graph, IR_log1p, negated(graph, y));
  return NULL;
}

static Node *form_of_log1p(Graph *graph, Node *x) {
  if (x->op == IR_exp) return build_map1(graph, IR_softplus, x->operands[0]);
  if (x->op == IR_expm1) return x->operands[0];
  if (x->op == IR_neg && x->operands[0]->op == IR_sigmoid)
    return negated(graph, build_map1(graph, IR_softplus, x->operands[0]->operands[0]));
  return NULL;
}

static Node *form_of_exp(Graph *graph, Node *x) {
  if (x->op == IR_log && x->operands[0]->facts.low >= 0) return x->operands[0];
  if (x->op == IR_log1p && x->operands[0]->facts.low >= -1)
    return build_map2(graph, IR_add, x->operands[0], build_filled_like(graph, 1, x));
  if (x->op == IR_neg && x->operands[0]->op == IR_softplus)
    return build_map1(graph, IR_sigmoid, negated(graph, x->operands[0]->operands[0]));
  return NULL;
}

/* 1 / (1 + exp(-x)) and exp(x) / (1 + exp(x)) */
static Node *form_of_div(Graph *graph, Node *a, Node *b) {
  Node *exponential;
  if (!is_plus_one(b, &exponential) || exponential->op != IR_exp) return NULL;
  Node *x = exponential->operands[0];
  if (node_is(a, 1)) return build_map1(graph, IR_sigmoid, negated(graph, x));
  if (a == exponential) return build_map1(graph, IR_sigmoid, x);
  return NULL;
}

Node *stable_form(Graph *graph, Op op, Node **x) {
  if (op == IR_log) return form_of_log(graph, x[0]);
  if (op == IR_log1p) return form_of_log1p(graph, x[0]);
  if (op == IR_exp) return form_of_exp(graph, x[0]);
  if (op == IR_div) return form_of_div(graph, x[0], x[1]);
  if (op == IR_sqrt && x[0]->op == IR_mul && x[0]->operands[0] == x[0]->operands[1])
    return build_map1(graph, IR_abs, x[0]->operands[0]);
  /* 1 - exp(x), of which nothing would be left at a small x */
  bool one_less = op == IR_sub && node_is(x[0], 1) && x[1]->op == IR_exp;
  if (one_less) return negated(graph, build_map1(graph, IR_expm1, x[1]->operands[0]));
  bool less_one = (op == IR_sub && node_is(x[1], 1)) || (op == IR_add && node_is(x[1], -1));
  if (less_one && x[0]->op == IR_exp) return build_map1(graph, IR_expm1, x[0]->operands[0]);
  return NULL;
}
