/* fit: the objective as inner iterations see it -> programs "fit" (the locals that an `infer` names, before each step
 * of training) and "fit_new" (all locals, of rows that were not trained on). An inner problem is one a row, unless the
 * objective holds a statistic of the batch that depends on the locals: then it is one a batch (LANGUAGE rule 37). */
#include "statements.h"

#include <string.h>

Item *local_inference(const Model *m) {
  for (int i = 0; i < m->items.count; i++) {
    Item *item = m->items.items[i];
    if (item->kind == ITEM_INFER && item->name_count > 0 && model_find(m, ITEM_LOCAL, item->names[0])) return item;
  }
  return NULL;
}

Item *latent_fit(const Model *m) {
  for (int i = 0; i < m->items.count; i++) {
    Item *item = m->items.items[i];
    const Expr *x = item->kind == ITEM_INFER ? item->expr : NULL;
    if (x && x->kind == EXPR_CALL && strcmp(x->name, "map") == 0 && find_argument(x, "optimizer")) return item;
  }
  return NULL;
}

/* One statement, by lbfgs, about locals alone. */
bool check_local_inference(Elaborator *e, const Item *infer) {
  const Model *m = e->model;
  const Expr *x = infer->expr;
  bool named = x->kind == EXPR_CALL || x->kind == EXPR_NAME, fine = true;
  if (!named || strcmp(x->name, "lbfgs") != 0) {
    Diagnostic *d = error_at(e->c, "inference", x->span, "the local `%s` cannot be inferred by `%s`", infer->names[0],
                             named ? x->name : span_text(e->c, x->span));
    help_with(
        d,
        "`infer %s by lbfgs(steps = 100, history = 20);` fits a local; without `infer` the optimiser of `train` does",
        infer->names[0]);
    return false;
  }
  for (int i = 0; i < infer->name_count; i++)
    if (!model_find(m, ITEM_LOCAL, infer->names[i])) {
      Diagnostic *d = error_at(e->c, "inference", infer->name_spans[i], "`%s` is no local, and `%s` is",
                               infer->names[i], infer->names[0]);
      help_with(d, "infer it by a statement of its own");
      fine = false;
    }
  for (int i = 0; i < m->items.count; i++) {
    const Item *other = m->items.items[i];
    if (other->kind != ITEM_INFER || other == infer || !model_find(m, ITEM_LOCAL, other->names[0])) continue;
    Diagnostic *d = error_at(e->c, "inference", other->span, "the locals are inferred by two statements");
    note_at(d, infer->span, "the other is here");
    help_with(d, "infer them together: `infer %s, %s by lbfgs(...);`", infer->names[0], other->names[0]);
    fine = false;
  }
  return fine;
}

bool is_inferred_local(const Model *m, Name name) {
  const Item *infer = local_inference(m);
  for (int i = 0; infer && i < infer->name_count; i++)
    if (infer->names[i] == name) return true;
  return false;
}

bool has_fit(Elaborator *e) {
  if (e->program == PROGRAM_FIT) return local_inference(e->model) != NULL;
  for (int i = 0; i < e->model->items.count; i++)
    if (e->model->items.items[i]->kind == ITEM_LOCAL) return true;
  return false;
}

static bool is_fitted(const Elaborator *e, int row_state) {
  Name name = e->graph->signature->row_states[row_state].name;
  if (!model_find(e->model, ITEM_LOCAL, name)) return false;
  return e->program == PROGRAM_FIT_NEW || is_inferred_local(e->model, name);
}

/* Does a reduction over the batch stand between a fitted local and this value? */
static bool has_batch_statistic(const Elaborator *e, const Node *value) {
  const Graph *g = e->graph;
  bool *depends = arena_array(e->c, bool, g->count), *needed = arena_array(e->c, bool, g->count);
  needed[value->id] = true;
  for (int id = value->id; id >= 0; id--)
    for (int k = 0; needed[id] && k < g->nodes[id]->operand_count; k++) needed[g->nodes[id]->operands[k]->id] = true;
  for (int id = 0; id <= value->id; id++) {
    const Node *n = g->nodes[id];
    depends[id] = n->op == IR_row_state && is_fitted(e, n->index);
    for (int k = 0; k < n->operand_count; k++) depends[id] |= depends[n->operands[k]->id];
    bool reduces = op_table[n->op].kind == KIND_OVER || n->op == IR_contract;
    if (needed[id] && depends[id] && reduces && n->axes_attribute & AXIS_DATUM) return true;
  }
  return false;
}

/* Sum of sign x weight x value, samples averaged: one value a datum. NULL after an error. */
static Node *row_objective(Elaborator *e, const Terms *terms, Span span) {
  Value sum = value_number(0);
  for (int i = 0; i < terms->count; i++) {
    const Term *t = &terms->items[i];
    Value v = apply2(e, IR_mul, t->weight, average_samples(e, t->value), span);
    sum = apply2(e, t->sign < 0 ? IR_sub : IR_add, sum, v, span);
  }
  Node *node = sum.kind == VALUE_ERROR ? NULL : value_node(e, &sum);
  return node && node->shape.rank == 0 ? node : NULL; /* another shape is reported by the train program */
}

static void output_gradients(Elaborator *e, Node *objective) {
  Graph *g = e->graph;
  const Signature *s = g->signature;
  Node **leaves = arena_array(e->c, Node *, s->row_state_count),
       **adjoints = arena_array(e->c, Node *, s->row_state_count);
  int *index = arena_array(e->c, int, s->row_state_count), count = 0;
  for (int i = 0; i < s->row_state_count; i++)
    if (is_fitted(e, i)) {
      leaves[count] = build_row_state(g, i);
      index[count++] = i;
    }
  differentiate(g, build_map1(g, IR_neg, objective), leaves, count, adjoints);
  for (int i = 0; i < count; i++)
    graph_output(g, OUTPUT_ROW_GRADIENT, s->row_states[index[i]].name, index[i], adjoints[i]);
}

void derive_fit(Elaborator *e, const Terms *terms, Span span) {
  Graph *g = e->graph;
  Node *node = row_objective(e, terms, span);
  if (!node || e->c->error_count) return;
  place(e, span);
  Name name = intern(e->c, "objective");
  if (has_batch_statistic(e, node)) {
    Value mean = mean_over_batch(e, value_tensor(node, 0, span), span);
    Node *objective = value_node(e, &mean);
    graph_output(g, OUTPUT_OBJECTIVE, name, -1, objective);
    output_gradients(e, objective);
  } else {
    if (!(node->axes & AXIS_DATUM)) node = build_spread(g, node, AXIS_DATUM);
    graph_output(g, OUTPUT_ROWS, name, -1, node);
    output_gradients(e, build_sum_over(g, node, AXIS_DATUM));
  }
}
