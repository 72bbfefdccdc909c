/* Builders of low_rank_fit and low_rank_weights: the log probability of a category under a softmax of few factors, and
 * its slopes. Requires shapes that ir.h allows (asserted). */
#include <assert.h>

#include "ir_parts.h"

static Node *without_spread(Node *x) { return node_is_spread(x) ? x->operands[0] : x; }

LowRank low_rank_of(const Node *node) {
  Node *const *operands = node->operands;
  const Shape *w = &operands[1]->shape;
  return (LowRank){.lines = shape_size(&operands[3]->shape),
                   .rank = (long)w->dims[1].size,
                   .length = (long)w->dims[0].size,
                   .first = node->start};
}

bool low_rank_operands_agree(Op op, Node *const *operands) {
  const Shape *f = &operands[0]->shape, *w = &operands[1]->shape, *b = &operands[2]->shape, *x = &operands[3]->shape;
  if (f->rank != x->rank + 1 || w->rank != 2 || b->rank != 1 || operands[1]->axes || operands[2]->axes) return false;
  bool agree = f->dims[x->rank].size == w->dims[1].size && b->dims[0].size == w->dims[0].size &&
               w->dims[1].size <= LOW_RANK_MOST;
  for (int k = 4; op == IR_low_rank_weights && k < 6; k++) {
    const Shape *own = &operands[k]->shape;
    agree = agree && own->rank == (k == 4 ? f->rank : x->rank) &&
            (k == 5 || own->dims[x->rank].size == w->dims[1].size + 1);
    for (int d = 0; agree && d < x->rank; d++) agree = own->dims[d].size == x->dims[d].size;
  }
  for (int d = 0; agree && d < x->rank; d++) agree = f->dims[d].size == x->dims[d].size;
  return agree;
}

Node *build_low_rank_fit(Graph *graph, Node *f, Node *w, Node *b, Node *x, long first) {
  Node *operands[] = {without_spread(f), w, b, without_spread(x)};
  assert(low_rank_operands_agree(IR_low_rank_fit, operands));
  Node draft = draft_node(IR_low_rank_fit, operands, 4);
  draft.shape = f->shape;
  draft.shape.dims[f->shape.rank - 1] = dim_number(w->shape.dims[1].size + 1);
  draft.start = first;
  return build_with_axes(graph, node_intern(graph, &draft), f->axes | x->axes);
}

Node *build_low_rank_weights(Graph *graph, Node *f, Node *w, Node *b, Node *x, Node *fit, Node *g, long first) {
  unsigned axes = f->axes | x->axes | fit->axes | g->axes, there = 0;
  Node *operands[] = {without_spread(f), w, b, without_spread(x), without_spread(fit), without_spread(g)};
  for (int k = 0; k < 6; k++) there |= operands[k]->axes;
  assert(low_rank_operands_agree(IR_low_rank_weights, operands));
  Node draft = draft_node(IR_low_rank_weights, operands, 6);
  draft.shape = (Shape){.rank = 2, .dims = {w->shape.dims[0], dim_number(w->shape.dims[1].size + 1)}};
  draft.axes_attribute = there;
  draft.start = first;
  Node *result = node_is(g, 0) ? build_filled(graph, 0, &draft.shape) : node_intern(graph, &draft);
  return axes & ~there ? build_repeated(graph, result, axes & ~there) : result;
}
