/* LINE ops: a kernel of its own on each vector along the last dim, or each matrix of the last two. This is their table,
 * shapes and builder; what they compute stands in line_values.c. Operands have the same dims in front of their own;
 * axes broadcast. */
#include <assert.h>

#include "ir_parts.h"

static const LineOp line_ops[] = {
    {IR_top_mask, {1, 0}, 1, -1},
    {IR_subset_moments, {1, 1}, 2, -1},
    {IR_subset_moments_slope, {1, 1, 2}, 2, 2},
    {IR_subset_inclusion, {1, 1}, 1, 1},
    {IR_subset_draw, {1, 1, 0}, 1, -1},
    {IR_picks_left, {1, 0}, 2, -1},
    {IR_picks_left_slope, {1, 2, 2, 0}, 1, -1},
    {IR_sparsemax, {1}, 1, -1},
    {IR_entmax, {1, 0}, 1, -1},
    {IR_cholesky, {2}, 2, -1},
    {IR_top_k_members, {1}, 2, -1},
    {IR_sparsemap_members, {1, 1}, 2, -1},
    {IR_sparsemap_slope, {2, 1}, 1, 1},
};

const LineOp *line_op(Op op) {
  for (size_t i = 0; i < sizeof line_ops / sizeof *line_ops; i++)
    if (line_ops[i].op == op) return &line_ops[i];
  return NULL;
}

static double last_extent(const Node *node) { return node->shape.dims[node->shape.rank - 1].size; }

static bool same_last(const Node *a, const Node *b) { return last_extent(a) == last_extent(b); }

bool line_operands_agree(Op op, Node *const *operands) {
  const LineOp *line = line_op(op);
  int lead = operands[0]->shape.rank - line->own_dims[0];
  for (int k = 0; k < op_table[op].operands; k++) {
    if (operands[k]->shape.rank != lead + line->own_dims[k] || lead < 0) return false;
    for (int d = 0; d < lead; d++)
      if (operands[k]->shape.dims[d].size != operands[0]->shape.dims[d].size) return false;
  }
  if (op_table[op].operands < 2 || line->own_dims[1] == 0 || op == IR_subset_inclusion) return true;
  if (op == IR_sparsemap_slope)
    return operands[0]->shape.dims[lead].size == last_extent(operands[1]) && last_extent(operands[0]) > 1;
  if (op == IR_picks_left_slope && (!same_last(operands[1], operands[2]) ||
                                    operands[1]->shape.dims[lead].size != operands[2]->shape.dims[lead].size))
    return false;
  return same_last(operands[0], operands[1]) &&
         (op != IR_subset_moments_slope || operands[2]->shape.dims[lead].size == 2);
}

long line_few(Op op, Node *const *operands, long most) {
  int few = line_op(op)->few;
  return few < 0 ? most : (long)last_extent(operands[few]);
}

Shape line_shape(Op op, Node *const *operands, long most) {
  assert(line_operands_agree(op, operands));
  Shape shape = operands[0]->shape;
  if (op == IR_sparsemap_slope) {
    shape.dims[--shape.rank - 1] = dim_number(last_extent(operands[0]) - 1);
    return shape;
  }
  if (op == IR_picks_left_slope) shape.dims[shape.rank - 1] = dim_number(last_extent(operands[0]) + 1);
  if (line_op(op)->result_own_dims == line_op(op)->own_dims[0]) return shape;
  assert(shape.rank < MAX_RANK);
  if (op == IR_top_k_members || op == IR_sparsemap_members) {
    Dim line = dim_number(last_extent(operands[0]) + 1);
    shape.dims[shape.rank - 1] = op == IR_top_k_members ? dim_number((double)most) : line;
    shape.dims[shape.rank++] = line;
    return shape;
  }
  Dim last = op == IR_subset_moments ? dim_number((double)most) : shape.dims[shape.rank - 1];
  shape.dims[shape.rank - 1] = dim_number(op == IR_picks_left ? (double)most : 2);
  shape.dims[shape.rank++] = last;
  return shape;
}

Node *build_line(Graph *graph, Op op, Node **operands, long most) {
  int count = op_table[op].operands;
  unsigned axes = 0;
  Node *bare[LINE_OPERANDS];
  for (int k = 0; k < count; k++) {
    axes |= operands[k]->axes;
    bare[k] = node_is_spread(operands[k]) ? operands[k]->operands[0] : operands[k];
  }
  Node draft = draft_node(op, bare, count);
  draft.start = line_op(op)->few < 0 ? most : 0;
  draft.shape = line_shape(op, operands, most);
  return build_with_axes(graph, node_intern(graph, &draft), axes);
}
