/* Lines: LINE ops -> a kernel call for each datum, sample and leading index; and the k largest of a batch. Requires
 * every operand to have its access; leaves steps in a list. */
#include <string.h>

#include "../runtime/sparse.h"
#include "ir_parts.h"
#include "plan_internal.h"

static long last_extent(const Node *node) {
  return node->shape.rank > 0 ? (long)node->shape.dims[node->shape.rank - 1].size : 1;
}

/* Memory that a kernel works in. */
static long line_room(Op op, long n, long m) {
  if (op == IR_top_k_members) return spm_members_room(n, m, spm_top_k_room(n, m));
  if (op == IR_sparsemap_members) return spm_members_room(n, n + 1, spm_sparsemap_room(n));
  if (op == IR_sparsemap_slope) return spm_members_room(n - 1, m, spm_sparsemap_room(n - 1));
  if (op == IR_relaxed_subset) return 2 * n;
  if (op == IR_relaxed_subset_slope) return (3 * m + 3) * n + 4 * m;
  if (op == IR_picks_kl) return 4 * n;
  if (op == IR_picks_kl_slope) return (4 * m + 2) * n + 4 * m;
  if (op == IR_subset_moments) return 5 * m;
  if (op == IR_subset_moments_slope) return (2 * n + 7) * m + 4;
  if (op == IR_subset_inclusion) return (n + 3) * m + 2;
  return op == IR_subset_draw ? (n + 2) * m : 0;
}

double line_operations(const Line *line) {
  double n = (double)line->n, size = n * (double)line->m;
  if (line->op == IR_cholesky) return n * n * n / 3;
  if (line->op == IR_sparsemap_members || line->op == IR_sparsemap_slope) return 4 * n * n * n;
  if (line->m == 0) return 32 * n;
  bool picks = line->op == IR_relaxed_subset || line->op == IR_picks_kl;
  if (picks || line->op == IR_relaxed_subset_slope || line->op == IR_picks_kl_slope) return (picks ? 32 : 80) * size;
  return (line->op == IR_subset_moments_slope ? 24 : 8) * size;
}

void line_steps(Scheduler *s, const Node *node, StepList *list) {
  Line line = {.op = node->op, .operand_count = node->operand_count, .n = last_extent(node->operands[0])};
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, node, extents) - line_op(node->op)->result_own_dims;
  Access *accesses[1 + sizeof line.operands / sizeof *line.operands] = {&line.to};
  line.m = line_few(node->op, node->operands, node->start);
  line.to = result_access(s, node);
  for (int k = 0; k < node->operand_count; k++) {
    line.operands[k] = whole_operand(s, node->operands[k], list);
    accesses[k + 1] = &line.operands[k];
  }
  long room = line_room(node->op, line.n, line.m);
  if (room > 0) line.room.tensor = tensor_create(s, node, STORE_FIXED, -1, false, room, "room");
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
