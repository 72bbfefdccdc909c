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
    {IR_relaxed_subset, {1, 1, 0}, 1, 1},
    {IR_relaxed_subset_slope, {1, 1, 0, 1}, 1, 1},
    {IR_picks_kl, {1, 1, 1, 0}, 1, -1},
    {IR_picks_kl_slope, {1, 1, 1, 0, 1}, 1, 4},
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
  if (op_table[op].operands < 2 || line->own_dims[1] == 0 || op == IR_subset_inclusion || op == IR_relaxed_subset)
    return true;
  if (op == IR_sparsemap_slope)
    return operands[0]->shape.dims[lead].size == last_extent(operands[1]) && last_extent(operands[0]) > 1;
  if (op == IR_relaxed_subset_slope) return same_last(operands[0], operands[3]);
  if ((op == IR_picks_kl || op == IR_picks_kl_slope) && !same_last(operands[0], operands[2])) return false;
  return same_last(operands[0], operands[1]) &&
         (op != IR_subset_moments_slope || operands[2]->shape.dims[lead].size == 2);
}

long line_few(Op op, Node *const *operands, long most) {
  int few = line_op(op)->few;
  return few < 0 ? most : (long)last_extent(operands[few]);
}

/* Of the adjoints of all operands but the last, end to end. */
static Dim adjoints_length(Op op, Node *const *operands) {
  double length = 0;
  for (int k = 0; k < op_table[op].operands - 1; k++)
    length += line_op(op)->own_dims[k] > 0 ? last_extent(operands[k]) : 1;
  return dim_number(length);
}

Shape line_shape(Op op, Node *const *operands, long most) {
  assert(line_operands_agree(op, operands));
  Shape shape = operands[0]->shape;
  if (op == IR_sparsemap_slope) {
    shape.dims[--shape.rank - 1] = dim_number(last_extent(operands[0]) - 1);
    return shape;
  }
  Dim *own = &shape.dims[shape.rank - 1];
  if (op == IR_picks_kl) *own = dim_number((double)most);
  if (op == IR_relaxed_subset_slope || op == IR_picks_kl_slope) *own = adjoints_length(op, operands);
  if (line_op(op)->result_own_dims == line_op(op)->own_dims[0]) return shape;
  assert(shape.rank < MAX_RANK);
  if (op == IR_top_k_members || op == IR_sparsemap_members) {
    Dim line = dim_number(last_extent(operands[0]) + 1);
    shape.dims[shape.rank - 1] = op == IR_top_k_members ? dim_number((double)most) : line;
    shape.dims[shape.rank++] = line;
    return shape;
  }
  Dim last = op == IR_subset_moments ? dim_number((double)most) : *own;
  *own = dim_number(2);
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
