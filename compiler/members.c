/* Member rows: what a summed-out latent makes of rows. A value with the axis datum and support axes has one row for
 * each datum and each combination of members on its support; such rows are a domain, with phases and memory of its own,
 * in which everything is scheduled as rows of a batch are. What crosses from one domain to another is moved row by row:
 * gathered into the larger one, or collected (added up) into the smaller one. Requires nodes as lower leaves them, one
 * by one; leaves no node whose operands have rows of another domain than its own, but for those that cross. */
#include <string.h>

#include "plan_internal.h"

unsigned row_axes(const Node *node) {
  return node->axes & AXIS_DATUM ? node->axes & ((unsigned)AXIS_DATUM | AXES_SUPPORT) : 0;
}

int domain_of(const Plan *plan, const Node *node) {
  unsigned axes = row_axes(node);
  for (int d = 0; d < plan->domain_count; d++)
    if (plan->domains[d].axes == axes) return d;
  return 0; /* no rows */
}

static void add_domain(Scheduler *s, const Node *node) {
  Plan *plan = s->plan;
  unsigned axes = row_axes(node);
  if (axes == 0 || plan->domains[domain_of(plan, node)].axes == axes) return;
  plan->domains = arena_grow(s->compilation, plan->domains, plan->domain_count, sizeof *plan->domains);
  plan->domains[plan->domain_count++] = (Domain){.axes = axes};
}

/* Place of support v among those of a domain. */
static int place_in(unsigned axes, int v) {
  return __builtin_popcount((axes & AXES_SUPPORT) & (((unsigned)AXIS_SUPPORT << v) - 1));
}

/* --- lowering: what crosses is a node of its own --- */

static bool has_members(const Node *node) { return (node->axes & ((unsigned)AXIS_DATUM | AXES_SUPPORT)) != 0; }

bool crosses(const Node *node) {
  const Node *x = node->operand_count > 0 ? node->operands[0] : NULL;
  if (node->op == IR_spread) return row_axes(node) != 0 && has_members(x) && row_axes(node) != row_axes(x);
  if (node->op == IR_pick) return row_axes(node) != 0;
  if (node->op == IR_place) return row_axes(x) != 0;
  if (node->op != IR_sum_over || (row_axes(x) & AXES_SUPPORT) == 0) return false;
  unsigned taken = node->axes_attribute & row_axes(x);
  return taken != 0 && taken != row_axes(x);
}

static Node *append_one(Scheduler *s, Node draft, Node *operand) {
  draft.operand_count = 1;
  draft.operands = arena_array(s->compilation, Node *, 1);
  draft.operands[0] = operand;
  Node *node = lower_append(s, &draft);
  add_domain(s, node);
  return node;
}

/* The operand with the rows of a user. */
static Node *gathered(Scheduler *s, Node *operand, unsigned rows) {
  for (int i = operand->id + 1; i < s->count; i++)
    if (s->nodes[i]->op == IR_spread && s->nodes[i]->operands[0] == operand && row_axes(s->nodes[i]) == rows)
      return s->nodes[i];
  Node spread = {.op = IR_spread, .shape = operand->shape, .axes = operand->axes | rows, .span = operand->span};
  spread.axes_attribute = rows & ~operand->axes;
  return append_one(s, spread, operand);
}

/* Whatever else a node does with axes is done apart from what crosses: samples are summed before it, added after it. */
static Node *lower_crossing(Scheduler *s, const Node *draft) {
  Node *x = draft->operands[0];
  Node alone = *draft;
  unsigned samples = draft->axes_attribute & AXIS_SAMPLE;
  if (draft->op == IR_spread)
    return samples ? append_one(s, alone, gathered(s, x, row_axes(draft))) : append_one(s, alone, x);
  if (samples) {
    Node sum = *draft;
    sum.axes_attribute = AXIS_SAMPLE;
    sum.axes = x->axes & ~samples;
    x = append_one(s, sum, x);
    alone.axes_attribute &= ~samples;
  }
  return append_one(s, alone, x);
}

/* A product that is summed over some of its row axes: the product first. */
static Node *lower_product(Scheduler *s, Node *draft, unsigned rows) {
  unsigned taken = draft->axes_attribute & rows;
  Node *product = NULL;
  if (taken == 0 || taken == rows) {
    product = lower_append(s, draft);
    add_domain(s, product);
    return product;
  }
  Node sum = {.op = IR_sum_over,
              .shape = draft->shape,
              .axes = draft->axes,
              .axes_attribute = taken,
              .span = draft->span,
              .name = draft->name};
  draft->axes_attribute &= ~taken;
  draft->axes |= taken;
  product = lower_append(s, draft);
  add_domain(s, product);
  return append_one(s, sum, product);
}

Node *lower_members(Scheduler *s, Node *draft) {
  unsigned rows = row_axes(draft);
  bool members = false;
  for (int k = 0; k < draft->operand_count; k++) rows |= row_axes(draft->operands[k]);
  for (int k = 0; k < draft->operand_count; k++) members |= (draft->operands[k]->axes & AXES_SUPPORT) != 0;
  members = rows != 0 && (members || (rows & AXES_SUPPORT) != 0);
  if (!members) return lower_append(s, draft);
  if (op_table[draft->op].kind == KIND_LOOP)
    error_at(s->compilation, "not-supported", draft->span,
             "a latent that is summed out inside the steps by which another one is inferred is not supported yet");
  if (crosses(draft)) return lower_crossing(s, draft);
  for (int k = 0; k < draft->operand_count; k++) {
    unsigned axes = draft->operands[k]->axes & AXES_SUPPORT; /* of a class too are rows */
    rows |= axes;
  }
  for (int k = 0; k < draft->operand_count; k++)
    if (has_members(draft->operands[k]) && row_axes(draft->operands[k]) != rows)
      draft->operands[k] = gathered(s, draft->operands[k], rows);
  if (draft->op == IR_contract) return lower_product(s, draft, rows);
  Node *node = lower_append(s, draft);
  add_domain(s, node);
  return node;
}

/* --- steps --- */

static void add_member(Members *m, unsigned larger, int v, long stride) {
  m->member[m->member_count].place = place_in(larger, v);
  m->member[m->member_count++].stride = stride;
}

/* What moves between `smaller`, which is at rows of its own or at members alone, and the rows of `larger`. With
 * pick and place members stand as a dim between samples and the rest. */
static Members describe(Scheduler *s, const Node *node, const Node *smaller, const Node *larger) {
  bool as_dim = node->op == IR_pick || node->op == IR_place, samples = (larger->axes & AXIS_SAMPLE) != 0;
  Members m = {.size = value_size(s, larger), .repeats = 1, .row = value_size(s, smaller)};
  m.domain =
      row_axes(smaller) != 0 ? domain_of(s->plan, node->op == IR_spread || node->op == IR_pick ? smaller : larger) : -1;
  if (as_dim) {
    long within = shape_size(&smaller->shape), *of_smaller = node->op == IR_pick ? &m.from_repeat : &m.to_repeat;
    m.size = shape_size(&larger->shape);
    m.repeats = samples ? s->graph->samples : 1;
    m.from_repeat = m.to_repeat = m.size;
    *of_smaller = within;
    add_member(&m, row_axes(larger), __builtin_ctz(node->axes_attribute) - DIM_MEMBER, m.size);
  }
  Access whole = access_whole(s, smaller, NULL);
  for (int v = 0; m.domain < 0 && v < MAX_SUPPORTS; v++)
    if (smaller->axes & (unsigned)AXIS_SUPPORT << v) add_member(&m, row_axes(larger), v, whole.strides[DIM_MEMBER + v]);
  return m;
}

void member_steps(Scheduler *s, const Node *node, StepList *list) {
  const Node *x = node->operands[0];
  bool gathers = node->op == IR_spread || node->op == IR_pick;
  Members m = gathers ? describe(s, node, x, node) : describe(s, node, node, x);
  m.from = whole_operand(s, x, row_axes(x) != 0 ? row_list(s, x) : list);
  m.to = result_access(s, node);
  step_append(s->compilation, list, gathers ? PLAN_GATHER : PLAN_COLLECT, node)->members = m;
}
