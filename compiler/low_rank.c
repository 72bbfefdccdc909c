/* Softmaxes of few factors: low_rank_fit or low_rank_weights -> one step that calls its kernel on lines that run on in
 * memory. Requires operands with their accesses; leaves a step in a list. */
#include <string.h>

#include "plan_internal.h"

enum { LANES = 16 };

/* Axes and dims of lines; an access that does not move along one has stride 0 there. */
static Access along_lines(Access whole, int leading) {
  Access access = {.tensor = whole.tensor};
  for (int d = 0; d < DIM_SHAPE + leading; d++) access.strides[d] = whole.strides[d];
  return access;
}

/* The innermost loop becomes a number of lines if all operands run on along it. */
static void take_lines(LowRankStep *v) {
  long own[] = {v->of.rank, 0, 0, 1, v->of.rank + 1, 1}, to = v->op == IR_low_rank_fit ? v->of.rank + 1 : 0;
  v->lines = extent_fixed(1);
  if (v->loop_count == 0) return;
  int last = v->loop_count - 1;
  bool run_on = v->to.strides[last] == to;
  for (int k = 0; k < v->operand_count; k++) run_on = run_on && v->operands[k].strides[last] == own[k];
  if (!run_on) return;
  v->lines = v->loops[last];
  v->loop_count = last;
}

void low_rank_steps(Scheduler *s, const Node *node, StepList *list) {
  bool sums = node->op == IR_low_rank_weights;
  LowRankStep v = {.op = node->op, .of = low_rank_of(node), .operand_count = node->operand_count};
  int leading = node->operands[3]->shape.rank;
  Access *accesses[1 + LOW_RANK_OPERANDS] = {&v.to};
  Extent extents[PLAN_DIMS];
  for (int k = 0; k < node->operand_count; k++) {
    int dims = space_of(s, node->operands[k], extents);
    for (int d = 0; d < DIM_SHAPE; d++)
      if (k == 0 || extent_is_one(v.loops[d])) v.loops[d] = extents[d];
    for (int d = DIM_SHAPE; k == 3 && d < dims; d++) v.loops[d] = extents[d];
    bool of_lines = k != 1 && k != 2;
    v.operands[k] = along_lines(whole_operand(s, node->operands[k], list), of_lines ? leading : 0);
    accesses[1 + k] = &v.operands[k];
  }
  v.to = along_lines(result_access(s, node), sums ? 0 : leading);
  v.loop_count = merge_dims(v.loops, DIM_SHAPE + leading, accesses, 1 + node->operand_count);
  take_lines(&v);
  long padded = (v.of.length + LANES - 1) / LANES * LANES, table = (v.of.rank + 1) * padded;
  v.work = (Access){.tensor = tensor_create(s, node, STORE_FIXED, -1, false, 2 * table, "table")};
  if (sums) clear_step(s, node, list);
  step_append(s->compilation, list, PLAN_LOW_RANK, node)->low_rank = v;
}
