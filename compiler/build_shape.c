/* Builders of views and of reductions within a datum. Views of views merge, what repeats is not gathered, and a spread
 * moves outwards past all of them. Requires maps, dims and extents that fit (asserted). */
#include <assert.h>

#include "ir_parts.h"

Node *build_spread(Graph *graph, Node *x, unsigned axes) {
  axes &= ~x->axes;
  if (axes == 0) return x;
  if (node_is_spread(x)) {
    axes |= x->axes_attribute;
    x = x->operands[0];
  }
  Node draft = draft_node(IR_spread, &x, 1);
  draft.shape = x->shape;
  draft.axes_attribute = axes;
  return node_intern(graph, &draft);
}

Node *build_with_axes(Graph *graph, Node *x, unsigned axes) { return build_spread(graph, x, axes); }

Node *build_variable(Graph *graph, Node *x) {
  Node draft = draft_node(IR_spread, &x, 1);
  draft.shape = x->shape;
  draft.index = graph->count + 1; /* equal to no other */
  return node_intern(graph, &draft);
}

static Node *marked_spread(Graph *graph, Node *x, bool once, bool refused) {
  Node draft = draft_node(IR_spread, &x, 1);
  draft.shape = x->shape;
  draft.reverse = once;
  draft.exclusive = refused;
  return node_intern(graph, &draft);
}

Node *build_once(Graph *graph, Node *x) { return marked_spread(graph, x, true, false); }

Node *build_underivable(Graph *graph, Node *x) { return marked_spread(graph, x, false, true); }

Node *build_stop(Graph *graph, Node *x) {
  if (node_is_spread(x)) return build_spread(graph, build_stop(graph, x->operands[0]), x->axes_attribute);
  bool nothing_to_stop = x->op == IR_noise || x->op == IR_setting;
  double number;
  if (x->op == IR_stop || nothing_to_stop || node_filled(x, &number)) return x;
  Node draft = draft_node(IR_stop, &x, 1);
  draft.shape = x->shape;
  return node_intern(graph, &draft);
}

Node *build_scalar_expand(Graph *graph, Node *scalar, const Shape *shape) {
  assert(scalar->shape.rank == 0);
  int nowhere[MAX_RANK] = {0};
  return build_expand(graph, scalar, shape, nowhere);
}

Node *build_expand(Graph *graph, Node *x, const Shape *shape, const int *map) {
  if (shape->rank == x->shape.rank) return x;
  assert(shape->rank > x->shape.rank && shape->rank <= MAX_RANK);
  if (node_is_spread(x)) {
    Node *inner = build_expand(graph, x->operands[0], shape, map);
    return build_spread(graph, inner, x->axes_attribute);
  }
  Node draft = draft_node(IR_expand, &x, 1);
  draft.shape = *shape;
  Node *source = x->op == IR_expand ? x->operands[0] : x;
  for (int d = 0; d < x->shape.rank; d++) {
    assert(map[d] >= 0 && map[d] < shape->rank && (d == 0 || map[d] > map[d - 1]));
    assert(shape->dims[map[d]].size == x->shape.dims[d].size);
  }
  for (int d = 0; d < source->shape.rank; d++) draft.map[d] = x == source ? map[d] : map[x->map[d]];
  draft.operands = &source;
  return node_intern(graph, &draft);
}

Node *build_reshape(Graph *graph, Node *x, const Shape *shape) {
  assert(shape_size(shape) == shape_size(&x->shape));
  if (shapes_match(shape, &x->shape)) return x;
  if (node_is_spread(x)) {
    Node *inner = build_reshape(graph, x->operands[0], shape);
    return build_spread(graph, inner, x->axes_attribute);
  }
  if (x->op == IR_reshape) return build_reshape(graph, x->operands[0], shape);
  if (node_is_scalar_expand(x)) return build_scalar_expand(graph, x->operands[0], shape);
  if (x->shape.rank == 0) return build_scalar_expand(graph, x, shape);
  Node draft = draft_node(IR_reshape, &x, 1);
  draft.shape = *shape;
  return node_intern(graph, &draft);
}

Node *build_permute(Graph *graph, Node *x, const int *map) {
  bool moves = false;
  unsigned seen = 0;
  Node draft = draft_node(IR_permute, &x, 1);
  draft.shape.rank = x->shape.rank;
  for (int d = 0; d < x->shape.rank; d++) {
    assert(map[d] >= 0 && map[d] < x->shape.rank && !(seen >> map[d] & 1));
    seen |= 1u << map[d];
    moves |= map[d] != d;
    draft.shape.dims[d] = x->shape.dims[map[d]];
    draft.map[d] = map[d];
  }
  if (!moves) return x;
  if (node_is_spread(x)) {
    Node *inner = build_permute(graph, x->operands[0], map);
    return build_spread(graph, inner, x->axes_attribute);
  }
  if (node_is_scalar_expand(x)) return build_scalar_expand(graph, x->operands[0], &draft.shape);
  if (x->op == IR_permute) {
    for (int d = 0; d < x->shape.rank; d++) draft.map[d] = x->map[map[d]];
    return build_permute(graph, x->operands[0], draft.map);
  }
  return node_intern(graph, &draft);
}

/* The part of a concat that holds all of [start, start + extent), or NULL. */
static Node *part_with(const Node *concat, int dim, long *start, long extent) {
  if (concat->op != IR_concat || concat->dim != dim) return NULL;
  for (int i = 0; i < concat->operand_count; i++) {
    long length = (long)concat->operands[i]->shape.dims[dim].size;
    if (*start < length) return *start + extent <= length ? concat->operands[i] : NULL;
    *start -= length;
  }
  return NULL;
}

Node *build_slice(Graph *graph, Node *x, int dim, long start, Dim extent) {
  assert(dim >= 0 && dim < x->shape.rank && start >= 0 && start + (long)extent.size <= (long)x->shape.dims[dim].size);
  if (extent.size == x->shape.dims[dim].size) return x;
  unsigned axes = x->axes;
  if (node_is_spread(x)) return build_spread(graph, build_slice(graph, x->operands[0], dim, start, extent), axes);
  Node draft = draft_node(IR_slice, &x, 1);
  draft.shape = x->shape;
  draft.shape.dims[dim] = extent;
  draft.dim = dim;
  draft.start = start;
  if (node_is_scalar_expand(x)) return build_scalar_expand(graph, x->operands[0], &draft.shape);
  if (x->op == IR_slice && x->dim == dim) return build_slice(graph, x->operands[0], dim, x->start + start, extent);
  if (x->op == IR_pad && x->dim == dim && x->start == start && extent.size == x->operands[0]->shape.dims[dim].size)
    return x->operands[0];
  long within = start;
  Node *part = part_with(x, dim, &within, (long)extent.size);
  if (part != NULL) return build_with_axes(graph, build_slice(graph, part, dim, within, extent), axes);
  return node_intern(graph, &draft);
}

Node *build_pad(Graph *graph, Node *x, int dim, long start, Dim extent) {
  assert(dim >= 0 && dim < x->shape.rank && start >= 0 && start + (long)x->shape.dims[dim].size <= (long)extent.size);
  if (extent.size == x->shape.dims[dim].size) return x;
  if (node_is_spread(x))
    return build_spread(graph, build_pad(graph, x->operands[0], dim, start, extent), x->axes_attribute);
  Node draft = draft_node(IR_pad, &x, 1);
  draft.shape = x->shape;
  draft.shape.dims[dim] = extent;
  draft.dim = dim;
  draft.start = start;
  if (node_is(x, 0)) return build_filled(graph, 0, &draft.shape);
  return node_intern(graph, &draft);
}

Node *build_concat(Graph *graph, Node **operands, int count, int dim, Dim extent) {
  assert(count > 0 && dim >= 0 && dim < operands[0]->shape.rank);
  if (count == 1) return operands[0];
  Node draft = draft_node(IR_concat, operands, count);
  draft.shape = operands[0]->shape;
  draft.shape.dims[dim] = extent;
  draft.dim = dim;
  long total = 0;
  for (int i = 0; i < count; i++) {
    assert(shape_size(&operands[i]->shape) / (long)operands[i]->shape.dims[dim].size ==
           shape_size(&draft.shape) / (long)extent.size);
    total += (long)operands[i]->shape.dims[dim].size;
  }
  assert(total == (long)extent.size);
  (void)total;
  return node_intern(graph, &draft);
}

/* --- reductions within a datum --- */

/* sum over dims along which x only repeats: a multiplication by how often. */
static Node *sum_of_expand(Graph *graph, Node *x, unsigned dims_mask) {
  Node *source = x->operands[0];
  unsigned old_dims = 0, source_mask = 0;
  for (int d = 0; d < source->shape.rank; d++) {
    old_dims |= 1u << x->map[d];
    if (dims_mask >> x->map[d] & 1) source_mask |= 1u << d;
  }
  if ((dims_mask & ~old_dims) == 0) return NULL;
  double times = 1;
  for (int d = 0; d < x->shape.rank; d++)
    if ((dims_mask & ~old_dims) >> d & 1) times *= x->shape.dims[d].size;
  Node *inner = build_sum(graph, source, source_mask);
  Shape shape = shape_without(&x->shape, dims_mask);
  int map[MAX_RANK] = {0}, kept = 0, place = 0;
  for (int d = 0; d < x->shape.rank; d++) {
    if (dims_mask >> d & 1) continue;
    if (old_dims >> d & 1) map[kept++] = place;
    place++;
  }
  inner = build_map2(graph, IR_mul, inner, build_filled(graph, times, &inner->shape));
  return build_expand(graph, inner, &shape, map);
}

/* The mask of both sums in the dims of the inner operand. */
static unsigned merged_mask(const Node *inner_sum, unsigned outer_mask) {
  unsigned mask = inner_sum->dims_mask;
  for (int d = 0, kept = 0; d < inner_sum->operands[0]->shape.rank; d++)
    if (!(inner_sum->dims_mask >> d & 1)) mask |= (outer_mask >> kept++ & 1u) << d;
  return mask;
}

Node *build_sum(Graph *graph, Node *x, unsigned dims_mask) {
  assert(dims_mask >> x->shape.rank == 0);
  if (dims_mask == 0) return x;
  if (node_is_spread(x)) return build_spread(graph, build_sum(graph, x->operands[0], dims_mask), x->axes_attribute);
  if (x->op == IR_sum) return build_sum(graph, x->operands[0], merged_mask(x, dims_mask));
  if (x->op == IR_expand) {
    Node *result = sum_of_expand(graph, x, dims_mask);
    if (result != NULL) return result;
  }
  Node draft = draft_node(IR_sum, &x, 1);
  draft.shape = shape_without(&x->shape, dims_mask);
  draft.dims_mask = dims_mask;
  if (shape_size(&draft.shape) == shape_size(&x->shape)) return build_reshape(graph, x, &draft.shape);
  return node_intern(graph, &draft);
}

static bool mask_is_trailing(const Node *x, unsigned dims_mask) {
  unsigned all = (1u << x->shape.rank) - 1, kept = all & ~dims_mask;
  return (kept & (kept + 1)) == 0;
}

Node *build_max_of(Graph *graph, Node *x, unsigned dims_mask) {
  assert(dims_mask >> x->shape.rank == 0);
  if (dims_mask == 0) return x;
  if (node_is_spread(x)) return build_spread(graph, build_max_of(graph, x->operands[0], dims_mask), x->axes_attribute);
  if (!mask_is_trailing(x, dims_mask)) {
    int map[MAX_RANK] = {0}, place = 0;
    for (int d = 0; d < x->shape.rank; d++)
      if (!(dims_mask >> d & 1)) map[place++] = d;
    unsigned trailing = (1u << x->shape.rank) - (1u << place);
    for (int d = 0; d < x->shape.rank; d++)
      if (dims_mask >> d & 1) map[place++] = d;
    return build_max_of(graph, build_permute(graph, x, map), trailing);
  }
  Node draft = draft_node(IR_max_of, &x, 1);
  draft.shape = shape_without(&x->shape, dims_mask);
  draft.dims_mask = dims_mask;
  if (node_is_scalar_expand(x)) return build_scalar_expand(graph, x->operands[0], &draft.shape);
  return node_intern(graph, &draft);
}

Node *build_first_max_mask(Graph *graph, Node *x, unsigned dims_mask) {
  assert(dims_mask != 0 && mask_is_trailing(x, dims_mask) && dims_mask >> x->shape.rank == 0);
  if (node_is_spread(x))
    return build_spread(graph, build_first_max_mask(graph, x->operands[0], dims_mask), x->axes_attribute);
  Node draft = draft_node(IR_first_max_mask, &x, 1);
  draft.shape = x->shape;
  draft.dims_mask = dims_mask;
  return node_intern(graph, &draft);
}

Node *build_cumsum(Graph *graph, Node *x, int dim, bool reverse, bool exclusive) {
  assert(dim >= 0 && dim < x->shape.rank);
  if (node_is_spread(x))
    return build_spread(graph, build_cumsum(graph, x->operands[0], dim, reverse, exclusive), x->axes_attribute);
  Node draft = draft_node(IR_cumsum, &x, 1);
  draft.shape = x->shape;
  draft.dim = dim;
  draft.reverse = reverse;
  draft.exclusive = exclusive;
  return node_intern(graph, &draft);
}
