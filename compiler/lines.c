/* Lines: LINE ops -> a kernel call for each datum, sample and leading index; and the k largest of a batch. Requires
 * every operand to have its access; leaves steps in a list. */
#include <string.h>

#include "ir_parts.h"
#include "plan_internal.h"

static long last_extent(const Node *node) {
  return node->shape.rank > 0 ? (long)node->shape.dims[node->shape.rank - 1].size : 1;
}

double line_operations(const Line *line) {
  double n = (double)line->n;
  return line->op == IR_cholesky ? n * n * n / 3 : 32 * n;
}

void line_steps(Scheduler *s, const Node *node, StepList *list) {
  Line line = {.op = node->op, .operand_count = node->operand_count, .n = last_extent(node->operands[0])};
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, node, extents) - line_op(node->op)->result_own_dims;
  Access *accesses[1 + sizeof line.operands / sizeof *line.operands] = {&line.to};
  line.to = result_access(s, node);
  for (int k = 0; k < node->operand_count; k++) {
    line.operands[k] = whole_operand(s, node->operands[k], list);
    accesses[k + 1] = &line.operands[k];
  }
  memcpy(line.loops, extents, sizeof(Extent) * (size_t)dims);
  line.loop_count = merge_dims(line.loops, dims, accesses, node->operand_count + 1);
  step_append(s->compilation, list, PLAN_LINE, node)->line = line;
}

/* The search runs once all rows are there; a copy of them, where one is needed, is made row by row. */
void top_steps(Scheduler *s, const Node *node, StepList *list) {
  const Node *x = node->operands[0];
  Top top = {.search = node->exclusive, .n = 1};
  top.x = whole_operand(s, x, top.search ? row_list(s, x) : list);
  top.other = whole_operand(s, node->operands[1], list);
  top.to = result_access(s, node);
  for (int d = 0; d < x->shape.rank; d++)
    if (node->dims_mask >> d & 1) top.n *= (long)x->shape.dims[d].size;
  top.groups = value_size(s, x) / top.n;
  step_append(s->compilation, list, PLAN_TOP, node)->top = top;
}
