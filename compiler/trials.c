/* trials: parameters of distributions -> a graph of its own on which rules are tried for every combination of the
 * values they may take: a constant keeps its value, the others range over a few that training may meet. Leaves the
 * values that the interpreter finds. */
#include "kl.h"

#include <math.h>
#include <string.h>

enum { MOST_SLOTS = 24, MOST_TRIED = 16, MOST_OF_PRIOR = 6, MOST_OF_POSTERIOR = 128 };

/* A parameter, or a weight of a mixture (formal NULL). */
typedef struct Slot {
  Value *value;
  const Formal *formal;
  const Item *family;
} Slot;

static int find_slots(Value *d, Slot *slots, int count) {
  for (int i = 0; i < d->count; i++) {
    if (d->combinator != COMBINE_NONE) count = find_slots(&d->elements[i], slots, count);
    if (d->combinator == COMBINE_JOINT || count >= MOST_SLOTS) continue;
    bool weight = d->combinator == COMBINE_MIXTURE;
    slots[count++] =
        (Slot){weight ? &d->weights[i] : &d->elements[i], weight ? NULL : &d->family->extra.items[i], d->family};
  }
  return count;
}

/* Its parameters may be replaced without a change to the original. */
static Value copy_of(Compilation *c, const Value *d) {
  Value copy = *d;
  copy.elements = arena_array(c, Value, d->count);
  for (int i = 0; i < d->count; i++)
    copy.elements[i] = d->combinator != COMBINE_NONE ? copy_of(c, &d->elements[i]) : d->elements[i];
  if (d->weights) {
    copy.weights = arena_array(c, Value, d->count);
    memcpy(copy.weights, d->weights, sizeof(Value) * (size_t)d->count);
  }
  return copy;
}

static bool constant_of(const Value *v, double *number) {
  if (v->kind == VALUE_NUMBER) *number = v->dim.size;
  if (v->kind == VALUE_NUMBER) return true;
  const Node *node = v->kind == VALUE_TENSOR ? v->node : NULL;
  while (node && node->op == IR_expand) node = node->operands[0];
  if (node && node->op == IR_constant) *number = node->number;
  return node && node->op == IR_constant;
}

bool is_mapped(const Value *d) {
  Slot slots[MOST_SLOTS];
  int count = find_slots((Value *)d, slots, 0);
  for (int i = 0; i < count; i++)
    if (slots[i].value->kind == VALUE_TENSOR && slots[i].value->mapped) return true;
  return false;
}

bool is_over_dim(const Value *d) {
  bool over = d->combinator == COMBINE_JOINT || d->over_count > 0;
  for (int i = 0; d->combinator != COMBINE_NONE && i < d->count; i++) over = over || is_over_dim(&d->elements[i]);
  return over;
}

static void append_key(Text *text, const Value *d) {
  text_append(text, "%d %p", (int)d->combinator, (void *)d->family);
  for (int i = 0; d->combinator != COMBINE_NONE && i < d->count; i++) append_key(text, &d->elements[i]);
  Slot slots[MOST_SLOTS];
  int count = find_slots((Value *)d, slots, 0);
  for (int i = 0; i < count; i++) {
    double number = NAN;
    const Node *node = slots[i].value->kind == VALUE_TENSOR ? slots[i].value->node : NULL;
    if (constant_of(slots[i].value, &number) || !node)
      text_append(text, " %a", number);
    else
      text_append(text, " %a..%a", node->facts.low, node->facts.high);
  }
  text_append(text, ";");
}

Name trial_key(Elaborator *e, const KlPair *pair) {
  Text text = {.compilation = e->c};
  append_key(&text, pair->q);
  append_key(&text, pair->p);
  return intern(e->c, text.bytes);
}

/* ---- split points ---------------------------------------------------------------------------------------------- */

static bool is_free(const Slot *slot, bool positive) {
  const TypeExpr *type = slot->formal ? slot->formal->type : NULL;
  double number;
  if (!slot->formal || (constant_of(slot->value, &number) && (positive || number == 0))) return false;
  const char *name = positive ? "positive" : "real";
  return (!type && !positive) || (type && type->dim_count == 0 && strcmp(type->name, name) == 0);
}

int free_slots(const Value *d, bool positive, int *out, int most) {
  Slot slots[MOST_SLOTS];
  int count = 0, slot_count = find_slots((Value *)d, slots, 0);
  for (int i = 0; i < slot_count && count < most; i++)
    if (is_free(&slots[i], positive)) out[count++] = i;
  return count;
}

int split_points(const KlPair *pair, int *splits) {
  splits[0] = -1;
  return 1 + free_slots(pair->p, false, splits + 1, MOST_SPLITS - 1);
}

static Slot slot_at(const Value *d, int number) {
  Slot slots[MOST_SLOTS];
  find_slots((Value *)d, slots, 0);
  return slots[number];
}

const Value *split_value(const Value *d, int split) { return slot_at(d, split).value; }
const char *split_name(const Value *d, int split) { return slot_at(d, split).formal->name; }

/* ---- values tried ---------------------------------------------------------------------------------------------- */

static const double normal_means[] = {-5, -2, -0.5, -0.1, -0.02, 0, 0.005, 0.05, 0.3, 1, 1.5, 3, 5};
static const double normal_sds[] = {0.001, 0.01, 0.05, 0.2, 1, 2, 5};
static const double any_values[] = {-1.3, 0, 0.4},
                    spread_values[] = {-2.3, -0.61, -0.17, 0, 0.23, 0.9}; /* where kinks may fall */
static const double positive_values[] = {0.1, 1}, wide_values[] = {0.05, 0.4, 3}, unit_values[] = {0.15, 0.7};
#define TAKE(values) (memcpy(out, values, sizeof values), (int)(sizeof values / sizeof *values))

static int values_of_any(Elaborator *e, const Slot *slot, bool of_posterior, double *out) {
  Support support = {.facts = {.low = -INFINITY, .high = INFINITY}};
  if (!slot->formal) return constant_of(slot->value, out) ? 1 : TAKE(unit_values);
  bool normal = of_posterior && strcmp(slot->family->name, "normal") == 0;
  if (normal && slot->formal == &slot->family->extra.items[0]) return TAKE(normal_means);
  if (normal) return TAKE(normal_sds);
  if (constant_of(slot->value, out)) return 1;
  const TypeExpr *type = slot->formal->type;
  if (type && (type->dim_count > 0 || !read_support(e, type, &support) || support.special != SPECIAL_NONE)) return 0;
  Facts *f = &support.facts;
  const Node *node = slot->value->kind == VALUE_TENSOR ? slot->value->node : NULL;
  if (node && isinf(f->low) && node->facts.low >= 0) { /* declared without a type, and given what is positive */
    f->low = 0;
    f->high = node->facts.low == 0 && node->facts.high == 1 ? 1 : INFINITY;
  }
  if (f->low == 0 && f->high == 1) return TAKE(unit_values);
  if (f->low == 0) return of_posterior ? TAKE(wide_values) : TAKE(positive_values);
  if (!isinf(f->low)) return 0;
  return of_posterior ? TAKE(spread_values) : TAKE(any_values);
}

/* Inside of what is provable of it. */
static int values_of(Elaborator *e, const Slot *slot, bool of_posterior, double *out) {
  int count = values_of_any(e, slot, of_posterior, out);
  const Node *node = slot->value->kind == VALUE_TENSOR ? slot->value->node : NULL;
  for (int i = 0; node && i < count; i++) {
    if (out[i] <= node->facts.low) out[i] += node->facts.low;
    if (out[i] > node->facts.high) out[i] = node->facts.high;
    if (out[i] < node->facts.low) out[i] = node->facts.low;
  }
  return count;
}

/* What is provable of a parameter that varies: no more than where the rule will be used. */
static Facts facts_of_slot(Elaborator *e, const Slot *slot) {
  Support support = {.facts = {.low = -INFINITY, .high = INFINITY}};
  if (!slot->formal) support.facts = (Facts){.low = 0, .high = 1};
  if (slot->formal && slot->formal->type) read_support(e, slot->formal->type, &support);
  support.facts.finite = support.facts.pole_free = true;
  return support.facts;
}

typedef struct Side {
  Slot slots[MOST_SLOTS];
  double values[MOST_SLOTS][MOST_TRIED];
  bool positive[MOST_SLOTS];
  int counts[MOST_SLOTS], slot_count, most;
  long combinations;
} Side;

static bool side_values(Elaborator *e, Value *d, bool of_posterior, Side *side) {
  side->slot_count = find_slots(d, side->slots, 0);
  side->combinations = 1;
  side->most = of_posterior ? MOST_OF_POSTERIOR : MOST_OF_PRIOR;
  for (int i = 0; i < side->slot_count; i++) {
    side->counts[i] = values_of(e, &side->slots[i], of_posterior, side->values[i]);
    if (side->counts[i] == 0) return false;
    side->positive[i] = true;
    for (int k = 0; k < side->counts[i]; k++) side->positive[i] = side->positive[i] && side->values[i][k] > 0;
    side->combinations *= side->counts[i];
  }
  return true;
}

/* All combinations, or if there are too many, some, spread over all of them. */
static double value_in(const Side *side, int slot, long combination) {
  if (side->combinations > side->most) combination = combination * 7919 % side->combinations;
  for (int i = 0; i < slot; i++) combination /= side->counts[i];
  return side->values[slot][combination % side->counts[slot]];
}

bool make_trial(Elaborator *e, const KlPair *pair, Trial *trial) {
  Elaborator *scratch = arena_new(e->c, Elaborator);
  *scratch = *e;
  scratch->graph = graph_create(e->c, arena_new(e->c, Signature), "trial", 1);
  scratch->describe = false;
  *trial = (Trial){.e = scratch, .q = copy_of(e->c, pair->q), .p = copy_of(e->c, pair->p), .pair = *pair, .count = 1};
  trial->pair.q = &trial->q;
  trial->pair.p = &trial->p;
  Side *sides = arena_array(e->c, Side, 2);
  int counts[2];
  for (int i = 0; i < 2; i++) {
    if (!side_values(scratch, i == 0 ? &trial->q : &trial->p, i == 0, &sides[i])) return false;
    counts[i] = sides[i].combinations > sides[i].most ? sides[i].most : (int)sides[i].combinations;
    trial->count *= counts[i];
  }
  Shape line = {.rank = 1, .dims = {dim_name(e->c, intern(e->c, "parameters tried"), trial->count)}};
  trial->pair.shape = line;
  for (int i = 0; i < 2; i++)
    for (int k = 0; k < sides[i].slot_count; k++) {
      double *column = arena_array(e->c, double, trial->count);
      for (int t = 0; t < trial->count; t++) column[t] = value_in(&sides[i], k, i == 0 ? t % counts[0] : t / counts[0]);
      bool constant = sides[i].counts[k] == 1;
      Node *node = constant ? NULL : build_variable(scratch->graph, build_table(scratch->graph, column, &line));
      *sides[i].slots[k].value = constant ? value_number(column[0]) : value_tensor(node, 0, pair->span);
      if (!constant) node->facts = facts_of_slot(scratch, &sides[i].slots[k]);
      if (constant || trial->varied_count == MOST_VARIED) continue;
      const Formal *formal = sides[i].slots[k].formal;
      trial->positive[trial->varied_count] = sides[i].positive[k];
      trial->values[trial->varied_count] = column;
      trial->names[trial->varied_count] =
          arena_printf(e->c, "%s%s", i ? "the prior's " : "", formal ? formal->name : "weight");
      trial->varied[trial->varied_count++] = node;
    }
  return true;
}

const char *trial_text(const Trial *trial, int combination) {
  Text text = {.compilation = trial->e->c};
  for (int i = 0; i < trial->varied_count; i++)
    text_append(&text, "%s%s = %.3g", i ? ", " : "", trial->names[i], trial->values[i][combination]);
  return text.length ? text.bytes : "";
}

double *evaluate_trial(Trial *trial, Value *parts, int count) {
  Elaborator *e = trial->e;
  Node **nodes = arena_array(e->c, Node *, count);
  for (int i = 0; i < count; i++) {
    Value v = parts[i].kind == VALUE_ERROR ? parts[i] : expand_to(e, parts[i], &trial->pair.shape, trial->pair.span);
    if (v.kind == VALUE_ERROR) return NULL;
    nodes[i] = value_node(e, &v);
  }
  Bindings bindings = {.rows = 1};
  Evaluation *values = interpret(e->graph, &bindings);
  double *out = arena_array(e->c, double, count * trial->count);
  for (int i = 0; i < count && !values->problem; i++)
    memcpy(out + i * trial->count, values->values[nodes[i]->id], sizeof *out * (size_t)trial->count);
  bool fine = !values->problem;
  evaluation_free(values, e->graph);
  return fine ? out : NULL;
}
