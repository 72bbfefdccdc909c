/* Loops of rounds: a repeat -> a loop whose body has its own steps. The body is scheduled like a program, by a
 * scheduler of its own that writes the same plan: its carried leaves are tensors that live through the loop, its
 * captured leaves are the accesses of what they stand for. Requires the steps of the operands to stand before; leaves
 * the carried tensors with the values of the last round. */
#include <string.h>

#include "plan_internal.h"

static Tensor *scratch_tensor(Scheduler *s, const Node *node, const char *role) {
  bool rows = (node->axes & AXIS_DATUM) != 0;
  return tensor_create(s, node, rows ? STORE_TILE : STORE_FIXED, -1, rows, value_size(s, node), role);
}

void place_repeat(Scheduler *s, Info *info) {
  const Graph *body = info->node->body;
  info->carried = arena_array(s->compilation, Tensor *, body->output_count);
  for (int i = 0; i < body->output_count; i++) info->carried[i] = scratch_tensor(s, body->outputs[i].value, "carried");
}

void place_loop_leaf(Scheduler *s, Info *info) {
  const Node *node = info->node;
  info->treatment = TREAT_LEAF;
  if (node->op == IR_captured) {
    info->view = operand_access(s->outer, s->loop->operands[s->graph->output_count + node->index]);
    if (info->view.tensor == NULL) info->treatment = TREAT_NUMBER;
    return;
  }
  if (node->op == IR_round && s->round_number == NULL) s->round_number = scratch_tensor(s, node, "number");
  info->tensor = node->op == IR_round ? s->round_number : s->outer->infos[s->loop->id].carried[node->index];
  info->view = access_whole(s, node, info->tensor);
}

static void copy_value(Scheduler *s, const Node *node, Access from, Tensor *to, StepList *list) {
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, node, extents);
  copy_step(s, node, from, access_whole(s, node, to), extents, dims, list);
}

/* --- next values --- */

/* How the next value of each carried one gets to its place. */
typedef enum NextKind {
  NEXT_SAME,   /* it is the value itself */
  NEXT_PLACED, /* it is computed in place */
  NEXT_COPIED, /* at the end of a round */
  NEXT_SAVED   /* what it is copied from is itself about to change: it is copied twice */
} NextKind;

typedef struct Next {
  NextKind kind;
  const Node *node;
  Access from;
} Next;

static bool reads(Scheduler *s, Step *step, const Tensor *tensor, bool writes) {
  Use *uses;
  int count = step_uses(s->compilation, step, &uses);
  for (int u = 0; u < count; u++)
    if (uses[u].access->tensor == tensor && uses[u].writes == writes) return true;
  return false;
}

static bool loop_allows(const Step *step, const Tensor *next, const Tensor *carried) {
  if (step->kind != PLAN_LOOP) return false;
  for (int i = 0; i < step->loop.store_count; i++) {
    const Store *store = &step->loop.stores[i];
    if (store->to.tensor == next && (store->kind != STORE_SET || !may_replace(&step->loop, store, carried)))
      return false;
  }
  return true;
}

/* May the next value be written over the old one? Only if nothing reads the old one any more. */
static bool may_be_placed(Scheduler *s, const StepList *body, const Tensor *next, const Tensor *carried) {
  bool written = false;
  for (int i = 0; i < body->count; i++) {
    Step *step = &body->steps[i];
    bool writes = reads(s, step, next, true), reads_old = reads(s, step, carried, false);
    if (reads_old && (written || (writes && !loop_allows(step, next, carried)))) return false;
    written = written || writes;
  }
  return written;
}

static void put_in_place(Scheduler *s, const StepList *body, const Tensor *from, Tensor *to) {
  for (int i = 0; i < body->count; i++) {
    Use *uses;
    int count = step_uses(s->compilation, &body->steps[i], &uses);
    for (int u = 0; u < count; u++)
      if (uses[u].access->tensor == from) uses[u].access->tensor = to;
  }
}

static bool is_carried(Tensor *const *carried, int count, const Tensor *tensor) {
  for (int i = 0; i < count; i++)
    if (carried[i] == tensor) return true;
  return false;
}

/* What the next values are before any is moved; the old values that some of them are made of stay to the end. */
static Next *find_next(Scheduler *s, Tensor *const *carried, bool *needed_at_end) {
  int count = s->output_count;
  Next *next = arena_array(s->compilation, Next, count);
  for (int i = 0; i < count; i++) {
    const Node *node = s->outputs[i].value;
    next[i] = (Next){.kind = NEXT_COPIED, .node = node, .from = operand_access(s, node)};
    bool same = next[i].from.tensor == carried[i] && access_is_whole(s, node, &next[i].from);
    if (same)
      next[i].kind = NEXT_SAME;
    else if (is_carried(carried, count, next[i].from.tensor))
      next[i].kind = NEXT_SAVED;
    for (int j = 0; next[i].kind == NEXT_SAVED && j < count; j++)
      needed_at_end[j] = needed_at_end[j] || next[i].from.tensor == carried[j];
  }
  return next;
}

static void place_next(Scheduler *s, Tensor *const *carried) {
  int count = s->output_count;
  bool *needed_at_end = arena_array(s->compilation, bool, count);
  Next *next = find_next(s, carried, needed_at_end);
  for (int i = 0; i < count; i++) {
    Tensor *own = next[i].kind == NEXT_COPIED ? tensor_of_own(s, next[i].node) : NULL;
    if (own == NULL || needed_at_end[i] || own->rows != carried[i]->rows || is_carried(carried, count, own)) continue;
    if (!may_be_placed(s, s->list, own, carried[i])) continue;
    put_in_place(s, s->list, own, carried[i]);
    for (int j = 0; j < count; j++)
      if (next[j].from.tensor == own) next[j].from.tensor = carried[i];
    next[i].kind = NEXT_PLACED;
  }
  for (int i = 0; i < count; i++) {
    if (next[i].kind != NEXT_SAVED) continue;
    Tensor *saved = scratch_tensor(s, next[i].node, "next");
    copy_value(s, next[i].node, next[i].from, saved, s->list);
    next[i].from = access_whole(s, next[i].node, saved);
  }
  for (int i = 0; i < count; i++)
    if (next[i].kind == NEXT_COPIED || next[i].kind == NEXT_SAVED)
      copy_value(s, next[i].node, next[i].from, carried[i], s->list);
}

/* --- the loop --- */

void repeat_steps(Scheduler *s, const Node *node, StepList *list) {
  Tensor *const *carried = s->infos[node->id].carried;
  Scheduler *inner = arena_new(s->compilation, Scheduler);
  *inner = (Scheduler){.compilation = s->compilation, .graph = node->body, .plan = s->plan, .stages = 1};
  inner->parameter_offset = s->parameter_offset;
  inner->state_offset = s->state_offset;
  inner->outer = s;
  inner->loop = node;
  inner->list = arena_new(s->compilation, StepList);
  inner->outer_list = list;
  for (int i = 0; i < node->body->output_count; i++)
    copy_value(s, node->operands[i], operand_access(s, node->operands[i]), carried[i], list);
  schedule_body(inner);
  place_next(inner, carried);
  Step *step = step_append(s->compilation, list, PLAN_ROUNDS, node);
  step->rounds = (Rounds){.count = node->rounds, .body = inner->list};
  step->rounds.number.tensor = inner->round_number;
}
