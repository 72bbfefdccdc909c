/* Loops: groups of elementwise nodes, copies, reductions and changes of layout -> loop nests over strided accesses.
 * Requires every operand to have its access (a tensor, placed later, or a number); leaves steps in a list. */
#include <math.h>
#include <string.h>

#include "plan_internal.h"

/* --- building one loop --- */

static int instruction_append(Scheduler *s, Loop *loop, Instruction instruction) {
  loop->instructions =
      arena_grow(s->compilation, loop->instructions, loop->instruction_count, sizeof *loop->instructions);
  loop->instructions[loop->instruction_count] = instruction;
  return loop->instruction_count++;
}

static bool accesses_equal(const Access *a, const Access *b) {
  if (a->tensor != b->tensor) return false;
  if (a->tensor == NULL) return memcmp(&a->number, &b->number, sizeof a->number) == 0;
  return a->offset == b->offset && memcmp(a->strides, b->strides, sizeof a->strides) == 0;
}

static int load_append(Scheduler *s, Loop *loop, const Node *node, Access access) {
  for (int i = 0; i < loop->instruction_count; i++)
    if (loop->instructions[i].op == OP_COUNT && accesses_equal(&loop->instructions[i].load, &access)) return i;
  return instruction_append(s, loop, (Instruction){.op = OP_COUNT, .load = access, .node = node});
}

static void store_append(Scheduler *s, Loop *loop, int value, StoreKind kind, Access to) {
  loop->stores = arena_grow(s->compilation, loop->stores, loop->store_count, sizeof *loop->stores);
  loop->stores[loop->store_count++] = (Store){.value = value, .kind = kind, .to = to, .fill = result_extent(to.tensor)};
}

/* Merges dims and says which instructions are the same all along the innermost one. */
static void loop_finish(Scheduler *s, Loop *loop) {
  int count = 0;
  Access **accesses = arena_array(s->compilation, Access *, loop->instruction_count + loop->store_count);
  for (int i = 0; i < loop->instruction_count; i++)
    if (loop->instructions[i].op == OP_COUNT && loop->instructions[i].load.tensor != NULL)
      accesses[count++] = &loop->instructions[i].load;
  for (int i = 0; i < loop->store_count; i++) accesses[count++] = &loop->stores[i].to;
  loop->dim_count = merge_dims(loop->extents, loop->dim_count, accesses, count);
  int last = loop->dim_count - 1;
  for (int i = 0; i < loop->instruction_count; i++) {
    Instruction *instruction = &loop->instructions[i];
    instruction->invariant = true;
    if (instruction->op == OP_COUNT)
      instruction->invariant = instruction->load.tensor == NULL || last < 0 || instruction->load.strides[last] == 0;
    else
      for (int k = 0; k < op_table[instruction->op].operands; k++)
        instruction->invariant = instruction->invariant && loop->instructions[instruction->operands[k]].invariant;
  }
}

Extent result_extent(const Tensor *tensor) {
  return (Extent){.count = tensor->size, .kind = tensor->rows ? EXTENT_ROWS : EXTENT_FIXED};
}

Access result_access(Scheduler *s, const Node *node) {
  Info *info = &s->infos[node->id];
  return access_whole(s, node, info->partial != NULL ? info->partial : info->tensor);
}

/* The result's access over the space of what is reduced: stride 0 along the dims that vanish. */
static Access reduced_access(Scheduler *s, const Node *node) {
  Access result = result_access(s, node), access = {.tensor = result.tensor};
  unsigned reduced = reduced_dims(node);
  const Node *x = node->operands[0];
  for (int d = 0; d < DIM_SHAPE; d++) access.strides[d] = reduced >> d & 1 ? 0 : result.strides[d];
  for (int d = DIM_SHAPE, kept = DIM_SHAPE; d < DIM_SHAPE + x->shape.rank; d++)
    if (!(reduced >> d & 1)) access.strides[d] = result.strides[kept++];
  return access;
}

static StoreKind reduction_kind(const Node *node) {
  return node->op == IR_max_of || node->op == IR_max_over ? STORE_MAX : STORE_ADD;
}

/* --- groups --- */

void group_steps(Scheduler *s, const Group *group, StepList *list) {
  Step *step = step_append(s->compilation, list, PLAN_LOOP, s->nodes[group->members[0]]);
  Loop *loop = &step->loop;
  loop->dim_count = space_of(s, step->node, loop->extents);
  int *values = arena_array(s->compilation, int, group->count); /* instruction of each member */
  for (int i = 0; i < group->count; i++) {
    const Node *node = s->nodes[group->members[i]];
    const Info *info = &s->infos[node->id];
    Instruction instruction = {.op = node->op, .node = node};
    for (int k = 0; k < node->operand_count; k++) {
      const Node *operand = node->operands[k];
      int member = -1;
      for (int j = 0; j < i && group_of(&s->infos[operand->id]) == group && member < 0; j++)
        if (group->members[j] == operand->id) member = j;
      instruction.operands[k] =
          member >= 0 ? values[member] : load_append(s, loop, operand, operand_access(s, operand));
    }
    if (reduced_dims(node) != 0) {
      store_append(s, loop, instruction.operands[0], reduction_kind(node), reduced_access(s, node));
      continue;
    }
    values[i] = instruction_append(s, loop, instruction);
    if (info->wanted_in_memory) store_append(s, loop, values[i], STORE_SET, access_whole(s, node, info->tensor));
    if (step->node->name == NULL && node->name != NULL) step->node = node;
  }
  loop_finish(s, loop);
}

/* --- copies --- */

void copy_step(Scheduler *s, const Node *node, Access from, Access to, const Extent *extents, int dim_count,
               StepList *list) {
  Loop *loop = &step_append(s->compilation, list, PLAN_LOOP, node)->loop;
  memcpy(loop->extents, extents, sizeof(Extent) * (size_t)dim_count);
  loop->dim_count = dim_count;
  store_append(s, loop, load_append(s, loop, node, from), STORE_SET, to);
  loop_finish(s, loop);
}

void product_loop(Scheduler *s, const Node *node, Access a, Access b, Access to, bool sums, const Extent *extents,
                  int dim_count, StepList *list) {
  Loop *loop = &step_append(s->compilation, list, PLAN_LOOP, node)->loop;
  memcpy(loop->extents, extents, sizeof(Extent) * (size_t)dim_count);
  loop->dim_count = dim_count;
  Instruction product = {.op = IR_mul, .node = node};
  product.operands[0] = load_append(s, loop, node->operands[0], a);
  product.operands[1] = load_append(s, loop, node->operands[1], b);
  store_append(s, loop, instruction_append(s, loop, product), sums ? STORE_ADD : STORE_SET, to);
  loop_finish(s, loop);
}

Access whole_operand(Scheduler *s, const Node *operand, StepList *list) {
  Access access = operand_access(s, operand);
  if (access_is_whole(s, operand, &access)) return access;
  bool rows = (operand->axes & AXIS_DATUM) != 0;
  Tensor *tensor = tensor_create(s, operand, rows ? STORE_TILE : STORE_FIXED, -1, rows, value_size(s, operand), "copy");
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, operand, extents);
  Access whole = access_whole(s, operand, tensor);
  copy_step(s, operand, access, whole, extents, dims, copy_list(s, operand, list));
  return whole;
}

void clear_step(Scheduler *s, const Node *node, StepList *list) {
  Clear *clear = &step_append(s->compilation, list, PLAN_CLEAR, node)->clear;
  clear->to = result_access(s, node);
  clear->size = result_extent(clear->to.tensor);
}

/* Writes an operand into the part of the result that begins at `start` along `dim`. */
static void copy_part(Scheduler *s, const Node *node, const Node *operand, int dim, long start, StepList *list) {
  Access to = result_access(s, node);
  to.offset += start * to.strides[DIM_SHAPE + dim];
  Extent extents[PLAN_DIMS], all[PLAN_DIMS];
  int dims = space_of(s, operand, extents);
  space_of(s, node, all);
  for (int d = 0; d < DIM_SHAPE; d++) extents[d] = all[d]; /* an operand may lack axes that another one has */
  copy_step(s, node, operand_access(s, operand), to, extents, dims, list);
}

void layout_steps(Scheduler *s, const Node *node, StepList *list) {
  const Node *x = node->operands[0];
  if (node->op == IR_concat) {
    long start = 0;
    for (int i = 0; i < node->operand_count; i++) {
      copy_part(s, node, node->operands[i], node->dim, start, list);
      start += (long)node->operands[i]->shape.dims[node->dim].size;
    }
    return;
  }
  if (node->op == IR_pad) {
    clear_step(s, node, list);
    copy_part(s, node, x, node->dim, node->start, list);
    return;
  }
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, x, extents);
  if (node->op == IR_embed_diagonal) {
    clear_step(s, node, list);
    Access to = result_access(s, node);
    to.strides[dims - 1] +=
        to.strides[dims]; /* a step down the diagonal; operand dims are the result's without the last */
    to.strides[dims] = 0;
    copy_step(s, node, operand_access(s, x), to, extents, dims, list);
    return;
  }
  /* A view that strides cannot say: a reshape of what does not run on. */
  copy_step(s, node, operand_access(s, x), access_whole(s, x, s->infos[node->id].tensor), extents, dims, list);
}

/* --- reductions and what runs along one dim --- */

/* [outer][extent][inner] around the dims in the mask; false if they do not stand side by side. */
static bool split_space(const Extent *extents, int dims, unsigned mask, Along *along) {
  along->outer = along->extent = extent_fixed(1);
  along->inner = 1;
  int part = 0; /* before, at, after the dims */
  for (int d = 0; d < dims; d++) {
    if (extent_is_one(extents[d])) continue;
    bool here = mask >> d & 1;
    if (part == 0 && here) part = 1;
    if (part == 1 && !here) part = 2;
    if (part == 2 && here) return false;
    if (part == 0) along->outer = extent_times(along->outer, extents[d]);
    if (part == 1) along->extent = extent_times(along->extent, extents[d]);
    if (part == 2) along->inner *= extents[d].count;
  }
  return true;
}

static void reduction_loop(Scheduler *s, const Node *node, StepList *list) {
  Loop *loop = &step_append(s->compilation, list, PLAN_LOOP, node)->loop;
  const Node *x = node->operands[0];
  loop->dim_count = space_of(s, x, loop->extents);
  int value = load_append(s, loop, x, operand_access(s, x));
  store_append(s, loop, value, reduction_kind(node), reduced_access(s, node));
  loop_finish(s, loop);
}

void reduction_steps(Scheduler *s, const Node *node, StepList *list) {
  const Node *x = node->operands[0];
  Access from = operand_access(s, x);
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, x, extents);
  Along along = {.op = reduction_kind(node) == STORE_MAX ? IR_max_of : IR_sum};
  if (!access_is_whole(s, x, &from) || !split_space(extents, dims, reduced_dims(node), &along)) {
    reduction_loop(s, node, list);
    return;
  }
  along.from = from;
  along.to = result_access(s, node);
  step_append(s->compilation, list, PLAN_ALONG, node)->along = along;
}

void along_steps(Scheduler *s, const Node *node, StepList *list) {
  const Node *x = node->operands[0];
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, x, extents);
  unsigned mask = 0;
  Along along = {.op = node->op, .reverse = node->reverse, .exclusive = node->exclusive};
  if (node->op == IR_cumsum) mask = 1u << (DIM_SHAPE + node->dim);
  if (node->op == IR_first_max_mask) mask = node->dims_mask << DIM_SHAPE;
  if (node->op == IR_lower_part) mask = 3u << (dims - 2);
  if (node->op == IR_first_max_mask_over) {
    along.op = IR_first_max_mask;
    mask = 1u << DIM_SAMPLE;
  }
  split_space(extents, dims, mask, &along);
  if (node->op == IR_lower_part) along.extent = extents[dims - 1];
  along.from = whole_operand(s, x, list);
  along.to = result_access(s, node);
  step_append(s->compilation, list, PLAN_ALONG, node)->along = along;
}

/* One solve for each datum, sample and leading index; an operand that lacks an axis stays where it is. */
void solve_steps(Scheduler *s, const Node *node, StepList *list) {
  Solve solve = {.transposed = node->reverse};
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, node, extents) - 1;
  solve.n = extents[dims].count;
  Access operands[2] = {whole_operand(s, node->operands[0], list), whole_operand(s, node->operands[1], list)};
  Access to = result_access(s, node);
  solve.l = operands[0], solve.b = operands[1], solve.to = to;
  Access *accesses[] = {&solve.l, &solve.b, &solve.to};
  solve.loop_count = merge_dims(memcpy(solve.loops, extents, sizeof(Extent) * (size_t)dims), dims, accesses, 3);
  step_append(s->compilation, list, PLAN_SOLVE, node)->solve = solve;
}
