/* Builders of reductions along axes, of contract, and of the matrix ops. A spread that is not summed away moves
 * outwards, one that is becomes a multiplication by how often, and permuted operands of contract become labels.
 * Requires labels and axes as ir.h says (asserted). */
#include <assert.h>
#include <string.h>

#include "ir_parts.h"

/* --- along axes --- */

/* x multiplied by how many rows, samples and members the axes hold. */
Node *build_repeated(Graph *graph, Node *x, unsigned axes) {
  double members = 1;
  for (int axis = 0; axis < AXIS_COUNT; axis++)
    if (axes & ~(unsigned)AXIS_DATUM & 1u << axis) members *= (double)axis_extent(graph, axis, 0);
  Node *count = build_constant(graph, members);
  if (axes & AXIS_DATUM) count = build_map2(graph, IR_mul, count, build_setting(graph, SETTING_ROWS_IN_BATCH));
  return build_map2(graph, IR_mul, x, build_scalar_expand(graph, count, &x->shape));
}

Node *build_sum_over(Graph *graph, Node *x, unsigned axes) {
  assert((axes & ~x->axes) == 0);
  if (axes == 0) return x;
  if (node_is_spread(x)) {
    unsigned spread = x->axes_attribute;
    Node *inner = build_sum_over(graph, x->operands[0], axes & ~spread);
    if (axes & spread) inner = build_repeated(graph, inner, axes & spread);
    return build_spread(graph, inner, spread & ~axes);
  }
  if (x->op == IR_sum_over) return build_sum_over(graph, x->operands[0], axes | x->axes_attribute);
  Node draft = draft_node(IR_sum_over, &x, 1);
  draft.shape = x->shape;
  draft.axes_attribute = axes;
  return node_intern(graph, &draft);
}

static bool is_one_axis(unsigned axes) { return axes != 0 && (axes & (axes - 1)) == 0; }

Node *build_max_over(Graph *graph, Node *x, unsigned axis) {
  assert(is_one_axis(axis) && (axis & ~x->axes) == 0);
  if (node_is_spread(x)) {
    Node *inner = x->operands[0];
    if (!(x->axes_attribute & axis)) inner = build_max_over(graph, inner, axis);
    return build_spread(graph, inner, x->axes_attribute & ~axis);
  }
  Node draft = draft_node(IR_max_over, &x, 1);
  draft.shape = x->shape;
  draft.axes_attribute = axis;
  return node_intern(graph, &draft);
}

Node *build_first_max_mask_over(Graph *graph, Node *x, unsigned axis) {
  assert(is_one_axis(axis) && (axis & ~x->axes) == 0);
  Node draft = draft_node(IR_first_max_mask_over, &x, 1);
  draft.shape = x->shape;
  draft.axes_attribute = axis;
  return node_intern(graph, &draft);
}

Node *build_pick(Graph *graph, Node *x, int v) {
  unsigned axis = (unsigned)AXIS_SUPPORT << v;
  assert(v < graph->support_count && !(x->axes & axis));
  assert(x->shape.rank >= 1 && x->shape.dims[0].size == graph->supports[v].extent.size);
  if (node_is_spread(x)) return build_spread(graph, build_pick(graph, x->operands[0], v), x->axes_attribute);
  Node draft = draft_node(IR_pick, &x, 1);
  draft.shape = shape_without(&x->shape, 1);
  draft.axes_attribute = axis;
  if (node_is_scalar_expand(x))
    return build_spread(graph, build_scalar_expand(graph, x->operands[0], &draft.shape), axis);
  return node_intern(graph, &draft);
}

Node *build_place(Graph *graph, Node *x, int v) {
  unsigned axis = (unsigned)AXIS_SUPPORT << v;
  assert(v < graph->support_count && x->axes & axis && x->shape.rank < MAX_RANK);
  Node draft = draft_node(IR_place, &x, 1);
  draft.shape = (Shape){.rank = 1, .dims = {graph->supports[v].extent}};
  for (int d = 0; d < x->shape.rank; d++) draft.shape.dims[draft.shape.rank++] = x->shape.dims[d];
  draft.axes_attribute = axis;
  return node_intern(graph, &draft);
}

Node *build_top_mask_over(Graph *graph, Node *x, Node *k, unsigned dims_mask) {
  Shape rest = shape_without(&x->shape, dims_mask);
  assert((x->axes & AXIS_DATUM) && !(k->axes & AXIS_DATUM) && shapes_match(&rest, &k->shape));
  (void)rest;
  x = build_with_axes(graph, x, k->axes);
  k = build_with_axes(graph, k, x->axes & ~(unsigned)AXIS_DATUM);
  Node draft = draft_node(IR_top_mask_over, (Node *[]){x, k}, 2);
  draft.shape = x->shape;
  draft.dims_mask = dims_mask;
  draft.axes_attribute = AXIS_DATUM;
  return node_intern(graph, &draft);
}

/* --- contract --- */

enum { MAX_LABEL = 256 };

/* Numbers labels by their first appearance in the result, a, b: equal products get equal labels. */
static void number_labels(Node *draft) {
  int names[MAX_LABEL], count = 0;
  for (int i = 0; i < MAX_LABEL; i++) names[i] = -1;
  int *lists[] = {draft->labels_out, draft->labels_a, draft->labels_b};
  int ranks[] = {draft->shape.rank, draft->operands[0]->shape.rank, draft->operands[1]->shape.rank};
  for (int l = 0; l < 3; l++)
    for (int d = 0; d < ranks[l]; d++) {
      int label = lists[l][d];
      assert(label >= 0 && label < MAX_LABEL);
      if (names[label] < 0) names[label] = count++;
      lists[l][d] = names[label];
    }
}

static int label_place(const int *labels, int rank, int label) {
  for (int d = 0; d < rank; d++)
    if (labels[d] == label) return d;
  return -1;
}

/* The result's dims, from the operands that carry their labels. */
static Shape contract_shape(const Node *a, const int *labels_a, const Node *b, const int *labels_b, int out_rank,
                            const int *labels_out) {
  assert(out_rank <= MAX_RANK);
  Shape shape = {.rank = out_rank};
  for (int d = 0; d < out_rank; d++) {
    int in_a = label_place(labels_a, a->shape.rank, labels_out[d]);
    int in_b = label_place(labels_b, b->shape.rank, labels_out[d]);
    assert(in_a >= 0 || in_b >= 0);
    if (in_a >= 0) shape.dims[d] = a->shape.dims[in_a];
    if (in_b >= 0 && shape.dims[d].symbol == NULL) shape.dims[d] = b->shape.dims[in_b];
  }
  return shape;
}

static void check_labels(const Node *x, const int *labels, const Node *other, const int *labels_other, int out_rank,
                         const int *labels_out) {
  for (int d = 0; d < x->shape.rank; d++) {
    int in_other = label_place(labels_other, other->shape.rank, labels[d]);
    assert(label_place(labels, d, labels[d]) < 0); /* no label twice */
    assert(in_other >= 0 || label_place(labels_out, out_rank, labels[d]) >= 0);
    assert(in_other < 0 || other->shape.dims[in_other].size == x->shape.dims[d].size);
    (void)in_other;
  }
  (void)labels_out, (void)out_rank;
}

/* Takes permutations off the operand by permuting its labels. */
static Node *unpermute(Node *x, int *labels) {
  while (x->op == IR_permute) {
    int inner[MAX_RANK] = {0};
    for (int d = 0; d < x->shape.rank; d++) inner[x->map[d]] = labels[d];
    memcpy(labels, inner, sizeof inner);
    x = x->operands[0];
  }
  return x;
}

/* The one-hot vectors of a category's members, one for each. */
static bool is_one_hot_of_member(const Node *x) {
  return x->op == IR_pick && x->operands[0]->op == IR_embed_diagonal && node_is(x->operands[0]->operands[0], 1);
}

/* Summed with a member's one-hot vector, x is its element of that member: picked, not multiplied. NULL if it is not
 * that. */
static Node *contract_one_hot(Graph *graph, Node *hot, const int *labels_hot, Node *x, const int *labels_x,
                              int out_rank, const int *labels_out) {
  if (!is_one_hot_of_member(hot) || (x->axes & hot->axes) || x->shape.rank != out_rank + 1) return NULL;
  int map[MAX_RANK] = {label_place(labels_x, x->shape.rank, labels_hot[0])};
  if (map[0] < 0 || label_place(labels_out, out_rank, labels_hot[0]) >= 0) return NULL;
  for (int d = 0; d < out_rank; d++) map[d + 1] = label_place(labels_x, x->shape.rank, labels_out[d]);
  return build_pick(graph, build_permute(graph, x, map), support_axis(hot));
}

/* Where hardly any member is off the support, what depends on the member alone is multiplied for all of them at once, a
 * row of the batch at a time, and picked from the product: not once more for each member's row. NULL if it is not that.
 */
static Node *contract_of_all(Graph *graph, Node *picked, const int *labels_picked, Node *x, const int *labels_x,
                             int out_rank, const int *labels_out) {
  if (picked->op != IR_pick || (picked->operands[0]->axes & AXIS_DATUM) || !(x->axes & AXIS_DATUM)) return NULL;
  int v = support_axis(picked), labels_all[MAX_RANK] = {MAX_LABEL - 1}, labels[MAX_RANK], map[MAX_RANK] = {out_rank};
  if (graph->supports[v].sparse || (x->axes & picked->axes) || out_rank == MAX_RANK) return NULL;
  for (int d = 0; d < picked->shape.rank; d++) labels_all[d + 1] = labels_picked[d];
  for (int d = 0; d < out_rank; d++) {
    labels[d] = labels_out[d];
    map[d + 1] = d;
  }
  labels[out_rank] = MAX_LABEL - 1;
  Node *all = build_contract(graph, x, labels_x, picked->operands[0], labels_all, out_rank + 1, labels, 0);
  return build_pick(graph, build_permute(graph, all, map), v);
}

Node *build_contract(Graph *graph, Node *a, const int *labels_a, Node *b, const int *labels_b, int out_rank,
                     const int *labels_out, unsigned summed_axes) {
  unsigned axes = (a->axes | b->axes) & ~summed_axes;
  assert((summed_axes & ~(a->axes | b->axes)) == 0);
  check_labels(a, labels_a, b, labels_b, out_rank, labels_out);
  check_labels(b, labels_b, a, labels_a, out_rank, labels_out);
  Node draft = draft_node(IR_contract, (Node *[]){a, b}, 2);
  draft.shape = contract_shape(a, labels_a, b, labels_b, out_rank, labels_out);
  for (int d = 0; d < a->shape.rank; d++) draft.labels_a[d] = labels_a[d];
  for (int d = 0; d < b->shape.rank; d++) draft.labels_b[d] = labels_b[d];
  for (int d = 0; d < out_rank; d++) draft.labels_out[d] = labels_out[d];
  bool zero = (node_is(a, 0) && b->facts.finite) || (node_is(b, 0) && a->facts.finite);
  if (zero) return build_with_axes(graph, build_filled(graph, 0, &draft.shape), axes);
  if (node_is_spread(a)) a = a->operands[0];
  if (node_is_spread(b)) b = b->operands[0];
  Node *picked = NULL;
  if (summed_axes == 0) picked = contract_one_hot(graph, a, labels_a, b, labels_b, out_rank, labels_out);
  if (summed_axes == 0 && picked == NULL)
    picked = contract_one_hot(graph, b, labels_b, a, labels_a, out_rank, labels_out);
  if (summed_axes == 0 && picked == NULL)
    picked = contract_of_all(graph, a, labels_a, b, labels_b, out_rank, labels_out);
  if (summed_axes == 0 && picked == NULL)
    picked = contract_of_all(graph, b, labels_b, a, labels_a, out_rank, labels_out);
  if (picked != NULL) return build_with_axes(graph, picked, axes);
  unsigned of_none = summed_axes & ~(a->axes | b->axes); /* spread in both */
  unsigned of_a = summed_axes & a->axes & ~b->axes, of_b = summed_axes & b->axes & ~a->axes;
  a = build_sum_over(graph, a, of_a); /* axes of one operand alone are summed before the product */
  b = build_sum_over(graph, b, of_b);
  draft.axes_attribute = summed_axes & a->axes & b->axes;
  Node *operands[] = {unpermute(a, draft.labels_a), unpermute(b, draft.labels_b)};
  draft.operands = operands;
  number_labels(&draft);
  Node *product = node_intern(graph, &draft);
  if (of_none != 0) product = build_repeated(graph, product, of_none);
  return build_with_axes(graph, product, axes);
}

/* --- matrices --- */

static bool is_square(const Node *x) {
  int rank = x->shape.rank;
  return rank >= 2 && x->shape.dims[rank - 1].size == x->shape.dims[rank - 2].size;
}

Node *build_diagonal(Graph *graph, Node *x) {
  assert(is_square(x));
  if (node_is_spread(x)) return build_spread(graph, build_diagonal(graph, x->operands[0]), x->axes_attribute);
  if (x->op == IR_embed_diagonal) return x->operands[0];
  Node draft = draft_node(IR_diagonal, &x, 1);
  draft.shape = shape_without(&x->shape, 1u << (x->shape.rank - 1));
  if (node_is_scalar_expand(x)) return build_scalar_expand(graph, x->operands[0], &draft.shape);
  return node_intern(graph, &draft);
}

Node *build_embed_diagonal(Graph *graph, Node *x) {
  assert(x->shape.rank >= 1 && x->shape.rank < MAX_RANK);
  if (node_is_spread(x)) return build_spread(graph, build_embed_diagonal(graph, x->operands[0]), x->axes_attribute);
  Node draft = draft_node(IR_embed_diagonal, &x, 1);
  draft.shape = x->shape;
  draft.shape.dims[draft.shape.rank++] = x->shape.dims[x->shape.rank - 1];
  return node_intern(graph, &draft);
}

Node *build_lower_part(Graph *graph, Node *x) {
  assert(is_square(x));
  if (node_is_spread(x)) return build_spread(graph, build_lower_part(graph, x->operands[0]), x->axes_attribute);
  if (x->op == IR_lower_part) return x;
  Node draft = draft_node(IR_lower_part, &x, 1);
  draft.shape = x->shape;
  return node_intern(graph, &draft);
}

Node *build_solve_triangular(Graph *graph, Node *l, Node *b, bool transposed) {
  Shape line = shape_without(&l->shape, 1u << (l->shape.rank - 1));
  assert(is_square(l) && shapes_match(&line, &b->shape));
  unsigned axes = l->axes | b->axes;
  if (node_is_spread(l)) l = l->operands[0];
  if (node_is_spread(b)) b = b->operands[0];
  if (l->op == IR_lower_part) l = l->operands[0]; /* what is above the diagonal is not read */
  Node draft = draft_node(IR_solve_triangular, (Node *[]){l, b}, 2);
  draft.shape = b->shape;
  draft.reverse = transposed;
  return build_with_axes(graph, node_intern(graph, &draft), axes);
}
