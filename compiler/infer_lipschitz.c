/* infer: step_size = lipschitz -> one over the largest eigenvalue of the Hessian of -log_lik in the latent, by power
 * iterations on products of the Hessian with a vector, from a fixed start. The Hessian must be one for all: free of the
 * latent and of the datum (LANGUAGE rule 31), so it is taken once a step. No gradient passes. */
#include "infer.h"

#include <math.h>

/* ---- the same value without rows ------------------------------------------------------------------------------- */

typedef struct Strip {
  Graph *graph;
  Node **done; /* by id */
  int count;
} Strip;

/* A node that is the same for all rows, rebuilt from parts without axes; NULL if it needs one that has them. */
static Node *strip(Strip *s, Node *n) {
  if (!n->axes) return n;
  if (n->id < s->count && s->done[n->id]) return s->done[n->id];
  Node *result = NULL;
  OpKind kind = op_table[n->op].kind;
  if (n->op == IR_spread)
    result = strip(s, n->operands[0]);
  else if (kind != KIND_LEAF && !n->axes_attribute && n->operand_count <= 16) {
    Node *operands[16];
    bool all = true;
    for (int k = 0; k < n->operand_count && all; k++) all = (operands[k] = strip(s, n->operands[k])) != NULL;
    if (all) result = build_like(s->graph, n, operands);
  }
  if (n->id < s->count) s->done[n->id] = result;
  return result;
}

/* ---- power iterations ------------------------------------------------------------------------------------------ */

enum { ITERATIONS = 20 };

static Node *length(Graph *g, Node *v) {
  Node *sum = build_sum(g, build_map2(g, IR_mul, v, v), (1u << v->shape.rank) - 1);
  return build_map1(g, IR_sqrt, sum);
}

/* cos of multiples of the golden angle: no symmetry that a Hessian's eigenvector could be orthogonal to by chance. */
static Node *first_vector(Graph *g, const Shape *shape) {
  Shape line = {.rank = 1, .dims = {dim_number((double)shape_size(shape))}};
  Node *numbers = build_cumsum(g, build_filled(g, 1, &line), 0, false, false);
  Node *v = build_map1(g, IR_cos, build_map2(g, IR_mul, numbers, build_filled(g, 2.39996322972865332, &line)));
  return build_reshape(g, v, shape);
}

static Node *normalized(Graph *g, Node *v) {
  Node *size = build_map2(g, IR_max, length(g, v), build_constant(g, 1e-30));
  return build_map2(g, IR_div, v, build_scalar_expand(g, size, &v->shape));
}

/* Minus the Hessian times v; NULL where it is not one for all rows. */
static Node *hessian_times(Graph *g, Node *z, Node *gradient, Node *v) {
  Node *rows = build_spread(g, v, z->axes);
  Node *along = build_sum(g, build_map2(g, IR_mul, gradient, rows), (1u << v->shape.rank) - 1);
  Node *product;
  differentiate(g, build_map1(g, IR_neg, build_sum_over(g, along, along->axes)), &z, 1, &product);
  Strip s = {.graph = g, .count = g->count};
  s.done = arena_array(g->compilation, Node *, g->count);
  return strip(&s, product);
}

/* Does a likelihood with this product of its Hessian bend at all? One of absolute differences does not. */
static bool bends(const Node *product) {
  while (product->op == IR_expand || product->op == IR_reshape || product->op == IR_spread)
    product = product->operands[0];
  return !(product->op == IR_constant && product->number == 0);
}

Node *lipschitz_step(const Inference *in, Node **z, double otherwise) {
  Elaborator *e = in->e;
  Graph *g = e->graph;
  Node *gradient;
  if (!density_gradient(in, LIKELIHOODS, z, &gradient)) return NULL;
  build_at(g, in->span);
  Node *start = first_vector(g, &z[0]->shape), *v = build_carried(g, &start->shape, 0, NULL), *found;
  Node *product = hessian_times(g, z[0], gradient, normalized(g, v));
  bool known = product && bends(product);
  if (!known && otherwise > 0) return build_constant(g, otherwise);
  if (!known) {
    Diagnostic *d = error_at(e->c, "lipschitz", option_of(in, "step_size")->span,
                             "`lipschitz` needs a likelihood whose curvature in `%s` is the same for every row and "
                             "every `%s`: a normal with a mean linear in it and a fixed sd",
                             in->latents[0]->name, in->latents[0]->name);
    help_with(d, "give step_size a number, or a param to learn it");
    return NULL;
  }
  build_repeat(g, &(Repeat){.rounds = ITERATIONS, .count = 1, .carried = &v, .initial = &start, .next = &product},
               &found);
  Node *largest = build_map2(g, IR_max, length(g, found), build_constant(g, 1e-30));
  return build_map2(g, IR_div, build_constant(g, 1), largest);
}
