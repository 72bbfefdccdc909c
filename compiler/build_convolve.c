/* Builders of convolve and of its transposes in the images and in the filters. Each is linear in both operands: a
 * spread moves outwards, or where convolve_filters sums it away becomes a factor. Requires shapes that ir.h allows
 * (asserted).
 */
#include <assert.h>

#include "ir_parts.h"

static long size_of(const Shape *shape, int from_end) { return (long)shape->dims[shape->rank - from_end].size; }

Convolution convolution_of(const Node *node) {
  const Node *a = node->operands[0], *b = node->operands[1];
  Convolution v = {.images = a, .filters = b, .features = node};
  if (node->op == IR_convolve_transpose) v.images = node, v.features = a;
  if (node->op == IR_convolve_filters) v.filters = node, v.features = b;
  const Shape *images = &v.images->shape, *filters = &v.filters->shape, *features = &v.features->shape;
  v.channels = size_of(images, 3), v.height = size_of(images, 2), v.width = size_of(images, 1);
  v.count = size_of(filters, 4), v.rows = size_of(filters, 2), v.columns = size_of(filters, 1);
  v.down = size_of(features, 2), v.across = size_of(features, 1);
  v.leading = shape_size(images) / (v.channels * v.height * v.width);
  return v;
}

/* (length + 2 padding - window) / stride + 1 */
static Dim covered(Compilation *c, Dim length, Dim window, long stride, long padding) {
  Dim free = dim_subtract(c, dim_add(c, length, dim_number(2.0 * (double)padding)), window);
  return dim_add(c, dim_divide(c, free, dim_number((double)stride)), dim_number(1));
}

/* (count - 1) stride + window - 2 padding */
static Dim covering(Compilation *c, Dim count, Dim window, long stride, long padding) {
  Dim steps = dim_multiply(c, dim_subtract(c, count, dim_number(1)), dim_number((double)stride));
  return dim_subtract(c, dim_add(c, steps, window), dim_number(2.0 * (double)padding));
}

/* The node of operands without spreads, or zeros; with the axes of both. */
static Node *finish(Graph *graph, Node *draft, unsigned axes) {
  Node *a = draft->operands[0], *b = draft->operands[1];
  bool zero = (node_is(a, 0) && b->facts.finite) || (node_is(b, 0) && a->facts.finite);
  if (zero) return build_with_axes(graph, build_filled(graph, 0, &draft->shape), axes);
  return build_with_axes(graph, node_intern(graph, draft), axes);
}

static Node *without_spread(Node *x) { return node_is_spread(x) ? x->operands[0] : x; }

static Node *build_either(Graph *graph, Op op, Node *x, Node *filters, long stride, long padding) {
  Compilation *c = graph->compilation;
  unsigned axes = x->axes | filters->axes;
  assert(x->shape.rank >= 3 && filters->shape.rank == 4);
  Node *operands[] = {without_spread(x), without_spread(filters)};
  Node draft = draft_node(op, operands, 2);
  draft.shape = x->shape;
  draft.stride = stride;
  draft.padding = padding;
  Dim *sizes = draft.shape.dims + draft.shape.rank - 3;
  const Dim *of = filters->shape.dims;
  bool forward = op == IR_convolve;
  assert(sizes[0].size == of[forward ? 1 : 0].size);
  sizes[0] = of[forward ? 0 : 1];
  for (int d = 1; d < 3; d++) sizes[d] = (forward ? covered : covering)(c, sizes[d], of[d + 1], stride, padding);
  return finish(graph, &draft, axes);
}

Node *build_convolve(Graph *graph, Node *images, Node *filters, long stride, long padding) {
  return build_either(graph, IR_convolve, images, filters, stride, padding);
}

Node *build_convolve_transpose(Graph *graph, Node *features, Node *filters, long stride, long padding) {
  return build_either(graph, IR_convolve_transpose, features, filters, stride, padding);
}

/* An axis that one operand alone has, or neither, is summed before. */
Node *build_convolve_filters(Graph *graph, Node *images, Node *features, const Shape *shape, long stride, long padding,
                             unsigned summed_axes) {
  unsigned axes = (images->axes | features->axes) & ~summed_axes;
  assert((summed_axes & ~(images->axes | features->axes)) == 0 && shape->rank == 4);
  Node *a = without_spread(images), *b = without_spread(features);
  unsigned of_none = summed_axes & ~(a->axes | b->axes);
  unsigned of_a = summed_axes & a->axes & ~b->axes, of_b = summed_axes & b->axes & ~a->axes;
  a = build_sum_over(graph, a, of_a);
  b = build_sum_over(graph, b, of_b);
  Node draft = draft_node(IR_convolve_filters, (Node *[]){a, b}, 2);
  draft.shape = *shape;
  draft.stride = stride;
  draft.padding = padding;
  draft.axes_attribute = summed_axes & a->axes & b->axes;
  Node *result = finish(graph, &draft, axes & (a->axes | b->axes));
  if (of_none != 0) result = build_repeated(graph, result, of_none);
  return build_with_axes(graph, result, axes);
}
