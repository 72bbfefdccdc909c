/* derive: a checked Model -> the IR graph of one program: the objective with its terms and gradients (train), the
 * metrics (evaluate), codes, reconstructions, initial values. check walks the same way once, for the diagnostics alone.
 */
#include "statements.h"

#include <string.h>

const char *const program_names[PROGRAM_COUNT] = {
    "initialise",  "train", "evaluate", "encode", "reconstruct", "export", "project", "initialise_rows",
    "export_rows", "fit",   "fit_new",  "solve",  "measure",     "select", "sample"};

/* ---- outputs shared by train and evaluate ---------------------------------------------------------------------- */

static const Item *objective_item(const Model *m) {
  for (int i = 0; i < m->items.count; i++)
    if (m->items.items[i]->kind == ITEM_OBJECTIVE || m->items.items[i]->kind == ITEM_MINIMIZE) return m->items.items[i];
  return NULL;
}

bool has_objective(const Model *m) { return objective_item(m) != NULL; }

/* There is an ELBO to report: a likelihood, and a prior for each latent. */
static bool has_elbo(const Model *m) {
  bool likelihood = false, priors = true;
  for (int i = 0; i < m->items.count; i++) {
    const Item *item = m->items.items[i];
    likelihood |= item->kind == ITEM_LIKELIHOOD;
    if (is_latent(m, item)) priors &= model_find(m, ITEM_PRIOR, item->name) != NULL;
  }
  return likelihood && priors;
}

static bool has_output(const Graph *g, Name name) {
  for (int i = 0; i < g->output_count; i++)
    if (g->outputs[i].name == name) return true;
  return false;
}

/* `balance` of a stage: rows of the two parts come in equal shares, and count for what their parts are of the data. */
Value balanced(Elaborator *e, Value v, Span span) {
  const Training *t = NULL;
  for (int i = 0; i < e->model->training_count && !t; i++)
    if (e->model->trainings[i].balance) t = &e->model->trainings[i];
  if (!t || e->program != PROGRAM_TRAIN || !(v.node->axes & AXIS_DATUM)) return v;
  Value part = elaborate(e, t->balance);
  if (part.kind == VALUE_ERROR) return part;
  const Node *node = value_node(e, &part);
  if (!node) return value_error();
  if (node->shape.rank > 0) return v; /* derive_select says so */
  Value where = value_tensor(build_setting(e->graph, SETTING_MORE_WHERE), 0, span);
  Value other = value_tensor(build_setting(e->graph, SETTING_MORE_ELSE), 0, span);
  Value more = apply3(e, IR_select, part, where, other, span);
  return apply2(e, IR_mul, v, apply2(e, IR_add, more, value_number(1), span), span);
}

/* The batch's mean as a scalar step value; NULL after reporting. */
static Node *batch_mean(Elaborator *e, Value v, Name name, Span span) {
  if (v.kind == VALUE_ERROR) return NULL;
  Node *node = value_node(e, &v);
  if (!node) return NULL;
  if (node->shape.rank > 0) {
    Diagnostic *d =
        error_at(e->c, "shape", span, "%s must be one number a datum; it is %s", name, value_text(e->c, &v));
    help_with(d, "write sum(...) or mean(...) around it");
    return NULL;
  }
  v = mean_over_batch(e, balanced(e, value_tensor(node, 0, span), span), span);
  return value_node(e, &v);
}

/* Terms are reported by their own value; the objective is the sum of sign x weight x value. */
static Node *sum_terms(Elaborator *e, const Terms *terms, Span span, bool report) {
  Value objective = value_number(0);
  bool ok = true;
  for (int i = 0; i < terms->count; i++) {
    const Term *t = &terms->items[i];
    Node *mean = batch_mean(e, t->value, t->name, t->value.span.source ? t->value.span : span);
    Node *weight = value_node(e, &t->weight);
    if (!mean || !weight) {
      ok = false;
      continue;
    }
    if (weight->axes || weight->shape.rank) {
      error_at(e->c, "shape", span, "the weight of %s must be one number a step", t->name);
      ok = false;
      continue;
    }
    if (report && !has_output(e->graph, t->name)) graph_output(e->graph, OUTPUT_TERM, t->name, -1, mean);
    Value v = apply2(e, IR_mul, t->weight, value_tensor(mean, 0, span), span);
    objective = apply2(e, t->sign < 0 ? IR_sub : IR_add, objective, v, span);
  }
  return ok ? value_node(e, &objective) : NULL;
}

/* Without its KL a posterior soon has no width. */
static void warn_of_joint(Elaborator *e, Span span) {
  const Item *drawn = NULL, *point = NULL;
  for (int i = 0; i < e->model->items.count; i++) {
    const Item *item = e->model->items.items[i];
    if (is_latent(e->model, item)) *(is_point(e->model, item->name) ? &point : &drawn) = item;
  }
  if (!drawn || !e->describe || e->model->checked) return;
  Diagnostic *d = warning_at(e->c, "default_objective", span,
                             "there is no `objective`, and `%s` is a point, so it is log_joint, which takes nothing "
                             "off for the posterior of `%s`",
                             point->name, drawn->name);
  help_with(d, "`objective elbo;` charges kl(%s); `objective log_joint;` says that this is meant", drawn->name);
}

/* The terms of the objective; where they are written. */
static Span model_terms(Elaborator *e, Terms *terms) {
  ElboOptions options = elbo_defaults(e->model);
  const Item *item = objective_item(e->model);
  Span span = item ? item->expr->span : e->model->span;
  if (!item) {
    options.joint = joint_by_default(e->model);
    if (options.joint) warn_of_joint(e, span);
    elbo_terms(e, &options, span, terms);
  } else {
    e->path = "objective";
    objective_terms(e, item->expr, item->kind == ITEM_MINIMIZE ? -1 : 1, terms);
  }
  e->path = "";
  return span;
}

static Node *walk_objective(Elaborator *e, bool report) {
  Terms terms = {0};
  e->scoring = e->program == PROGRAM_TRAIN;
  e->describe = report && e->scoring;
  Span span = model_terms(e, &terms);
  e->describe = false;
  Node *objective = sum_terms(e, &terms, span, report);
  e->scoring = false;
  return objective;
}

Node *objective_value(Elaborator *e) { return walk_objective(e, false); }

static Node *derive_objective(Elaborator *e) {
  Node *objective = walk_objective(e, true);
  if (!objective || !check_soft_indices(e, objective) || !check_missing_asked(e, objective)) return NULL;
  if (e->summed_count > 0) objective = add_baselines(e, objective);
  if (!objective) return NULL;
  graph_output(e->graph, OUTPUT_OBJECTIVE, intern(e->c, "objective"), -1, objective);
  return objective;
}

/* Unweighted, whatever the objective's weights are (rule 10); NULL if there is none. Its terms are reported too. */
static Node *elbo_of(Elaborator *e, bool report) {
  if (!has_elbo(e->model) || e->c->error_count) return NULL;
  Terms terms = {0};
  ElboOptions options = elbo_defaults(e->model);
  elbo_terms(e, &options, e->model->span, &terms);
  Value sum = value_number(0);
  for (int i = 0; i < terms.count; i++) {
    Node *mean = batch_mean(e, terms.items[i].value, terms.items[i].name, e->model->span);
    if (!mean) return NULL;
    if (report && !has_output(e->graph, terms.items[i].name))
      graph_output(e->graph, OUTPUT_METRIC, terms.items[i].name, -1, mean);
    sum = apply2(e, terms.items[i].sign < 0 ? IR_sub : IR_add, sum, value_tensor(mean, 0, e->model->span),
                 e->model->span);
  }
  return value_node(e, &sum);
}

static Node *output_elbo(Elaborator *e) {
  Node *elbo = elbo_of(e, true);
  if (elbo) graph_output(e->graph, OUTPUT_METRIC, intern(e->c, "elbo"), -1, elbo);
  return elbo;
}

/* The ELBO of relaxed draws less that of the hard ones, which `elbo` is here: the same noise behind both. */
static void output_relaxation_gap(Elaborator *e, Node *hard) {
  Name name = intern(e->c, "relaxation_gap");
  if (!hard || !has_relaxed(e->model) || model_find(e->model, ITEM_METRIC, name)) return;
  Elaborator *other = elaborator_create(e->model, e->program, e->graph->samples);
  other->graph = e->graph;
  other->relaxing = true;
  Node *soft = elbo_of(other, false);
  if (soft) graph_output(e->graph, OUTPUT_METRIC, name, -1, build_map2(e->graph, IR_sub, soft, hard));
}

static void output_metrics(Elaborator *e) {
  const Model *m = e->model;
  for (int i = 0; i < m->items.count; i++) {
    Item *item = m->items.items[i];
    if (item->kind != ITEM_METRIC || (is_measured_only(item->expr) && e->program != PROGRAM_MEASURE)) continue;
    e->path = item->name;
    e->measuring = true;
    Value v = elaborate(e, item->expr), rows;
    Node *mean = rows_of_metric(e, &v, &rows, item->expr->span) ? batch_mean(e, v, item->name, item->expr->span) : NULL;
    e->path = "";
    e->measuring = false;
    if (!mean) continue;
    graph_output(e->graph, OUTPUT_METRIC, item->name, -1, mean);
    Node *share = rows.kind == VALUE_TENSOR ? batch_mean(e, rows, item->name, item->expr->span) : NULL;
    if (share) graph_output(e->graph, OUTPUT_SHARE, item->name, -1, share);
  }
}

static void output_schedules(Elaborator *e) {
  const Model *m = e->model;
  for (int i = 0; i < m->items.count; i++) {
    Item *item = m->items.items[i];
    if (item->kind != ITEM_SCHEDULE) continue;
    Value v = model_value(e, item, item->name_span);
    Node *node = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
    if (node && node->axes == 0 && node->shape.rank == 0)
      graph_output(e->graph, OUTPUT_VALUE, item->name, -1, node);
    else if (node)
      error_at(e->c, "schedule", item->expr->span, "a schedule is one number a step, made of epoch, step and numbers");
  }
  for (int i = 0; i < m->training_count && e->program == PROGRAM_TRAIN; i++) {
    const Training *t = &m->trainings[i];
    Value v = t->rate ? elaborate(e, t->lr_schedule) : value_error();
    if (v.kind == VALUE_TENSOR) graph_output(e->graph, OUTPUT_VALUE, t->rate, -1, v.node);
  }
}

/* ---- programs -------------------------------------------------------------------------------------------------- */

static bool depends_on_anything(const Node *n) {
  while (n->op == IR_expand || n->op == IR_reshape || n->op == IR_spread) n = n->operands[0];
  return !(n->op == IR_constant && n->number == 0);
}

/* By the optimiser of `train`. */
static bool is_trained_local(const Model *m, Name name) {
  return model_find(m, ITEM_LOCAL, name) && !is_inferred_local(m, name);
}

/* clip = c: all gradients times c / max(c, their norm). */
static void clip_gradients(const Model *m, Graph *g) {
  Node *squares = NULL;
  if (m->trainings[0].clip <= 0) return;
  for (int i = 0; i < g->output_count; i++) {
    if (g->outputs[i].role != OUTPUT_GRADIENT) continue;
    Node *v = g->outputs[i].value, *sum = build_sum(g, build_map2(g, IR_mul, v, v), (1u << v->shape.rank) - 1);
    squares = squares ? build_map2(g, IR_add, squares, sum) : sum;
  }
  if (!squares) return;
  Node *most = build_constant(g, m->trainings[0].clip);
  Node *factor = build_map2(g, IR_div, most, build_map2(g, IR_max, most, build_map1(g, IR_sqrt, squares)));
  for (int i = 0; i < g->output_count; i++) {
    Node **v = &g->outputs[i].value;
    if (g->outputs[i].role == OUTPUT_GRADIENT)
      *v = build_map2(g, IR_mul, *v, build_scalar_expand(g, factor, &(*v)->shape));
  }
}

void add_gradients(const Model *m, Graph *g) {
  Compilation *c = g->compilation;
  Node *objective = NULL;
  for (int i = 0; i < g->output_count; i++)
    if (g->outputs[i].role == OUTPUT_OBJECTIVE) objective = g->outputs[i].value;
  int count = g->signature->parameter_count, rows = g->signature->row_state_count;
  Node **leaves = arena_array(c, Node *, count + rows), **adjoints = arena_array(c, Node *, count + rows);
  build_at(g, m->span);
  for (int i = 0; i < count; i++) leaves[i] = build_parameter(g, i);
  for (int i = 0; i < rows; i++) leaves[count + i] = build_row_state(g, i);
  differentiate(g, build_map1(g, IR_neg, objective), leaves, count + rows, adjoints);
  for (int i = 0; i < count; i++) {
    const Parameter *p = &g->signature->parameters[i];
    if (!p->fixed && depends_on_anything(adjoints[i])) graph_output(g, OUTPUT_GRADIENT, p->name, i, adjoints[i]);
  }
  for (int i = 0; i < rows; i++)
    if (depends_on_anything(adjoints[count + i]) && is_trained_local(m, g->signature->row_states[i].name))
      graph_output(g, OUTPUT_ROW_GRADIENT, g->signature->row_states[i].name, i, adjoints[count + i]);
  clip_gradients(m, g);
}

static void output_growths(Elaborator *e) {
  for (int i = 0; i < e->growth_count; i++)
    if (!has_output(e->graph, e->growths[i].name))
      graph_output(e->graph, OUTPUT_METRIC, e->growths[i].name, -1, e->growths[i].value);
}

static void derive_train(Elaborator *e) {
  Node *objective = derive_objective(e);
  output_elbo(e);
  output_metrics(e);
  output_growths(e);
  output_schedules(e);
  if (!objective && !e->c->error_count)
    error_at(e->c, "internal", e->model->span, "internal error: the objective came to nothing without a message");
  if (!objective || e->c->error_count) return;
  for (int i = 0; i < e->update_count; i++)
    graph_output(e->graph, OUTPUT_STATE, e->graph->signature->states[e->updates[i].index].name, e->updates[i].index,
                 e->updates[i].next);
  for (int i = 0; i < e->row_update_count; i++)
    graph_output(e->graph, OUTPUT_ROW_NEXT, e->graph->signature->row_states[e->row_updates[i].index].name,
                 e->row_updates[i].index, e->row_updates[i].next);
}

static void derive_evaluate(Elaborator *e) {
  derive_objective(e);
  output_relaxation_gap(e, output_elbo(e));
  output_metrics(e);
}

/* The mean of a statement's distribution where it declares one, else `otherwise`. */
static Value mean_of(Elaborator *e, Item *statement, const Item *variable, Value otherwise) {
  Value d = model_value(e, statement, statement->span);
  if (d.kind != VALUE_DISTRIBUTION) return d;
  if (statement->kind == ITEM_POSTERIOR && is_relaxed(e->model, variable->name)) return otherwise; /* the hard draw */
  Support support = {0};
  Shape shape;
  bool missing;
  if (!variable->type)
    shape = visible_shape(&otherwise);
  else if (!read_support(e, variable->type, &support) || !read_shape(e, variable->type, &shape))
    return value_error();
  Support number = support;
  bool held = variable->type && hold_as_vector(e, &d, &support, &shape);
  Value mean = distribution_field(e, &d, "mean", NULL, &shape, d.span, &missing);
  if (missing) return otherwise;
  return held ? number_of_vector(e, mean, &number, d.span) : mean;
}

static void output_rows(Elaborator *e, Name name, Value v) {
  v = average_samples(e, v);
  Node *node = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
  if (!node) return;
  if (!(node->axes & AXIS_DATUM)) node = build_spread(e->graph, node, AXIS_DATUM);
  graph_output(e->graph, OUTPUT_ROWS, name, -1, node);
}

/* Of data that are missing on some rows: their value on the others. */
static Value known_code(Elaborator *e, Item *item, Value z) {
  Value none = value_error();
  return known_where_observed(e, item, &none, average_samples(e, z), item->name_span);
}

/* Values that were asked for beside the latents. */
static void output_also(Elaborator *e) {
  const File *also = e->model->also;
  for (int i = 0; also && i < also->count; i++) {
    const Item *item = also->items[i];
    e->path = item->name;
    Value v = elaborate(e, item->expr);
    e->path = "";
    if (v.kind == VALUE_TENSOR || v.kind == VALUE_NUMBER)
      output_rows(e, item->name, v);
    else if (v.kind != VALUE_ERROR)
      error_at(e->c, "also", item->expr->span, "`%s` is no number and no array of numbers", item->name);
  }
}

static void derive_encode(Elaborator *e) {
  const Model *m = e->model;
  for (int i = 0; i < m->items.count; i++) {
    Item *latent = m->items.items[i];
    if (!is_latent(m, latent)) continue;
    Item *posterior = model_find(m, ITEM_POSTERIOR, latent->name);
    if (!posterior && !model_inference(m, latent->name)) continue;
    Value draw = model_value(e, latent, latent->name_span);
    if (posterior) draw = mean_of(e, posterior, latent, draw);
    output_rows(e, latent->name, latent->kind == ITEM_DATA ? known_code(e, latent, draw) : draw);
  }
  output_also(e);
}

static void derive_reconstruct(Elaborator *e) {
  const Model *m = e->model;
  for (int i = 0; i < m->items.count; i++) {
    Item *likelihood = m->items.items[i];
    if (likelihood->kind != ITEM_LIKELIHOOD) continue;
    Item *variable = model_find_declaration(m, likelihood->name);
    if (!variable || (variable->kind != ITEM_DATA && variable->kind != ITEM_DRAW)) continue;
    Value d = model_value(e, likelihood, likelihood->span);
    Value none = value_error();
    none.kind = VALUE_WORD;
    if (d.kind == VALUE_DISTRIBUTION) {
      Value mean = mean_of(e, likelihood, variable, none);
      if (mean.kind != VALUE_WORD) output_rows(e, variable->name, mean);
    }
  }
}

/* The draws that latents' names are here (LANGUAGE rule 4), and for data the mean of their likelihood, or a draw where
 * it declares none. */
static void derive_sample(Elaborator *e) {
  const Model *m = e->model;
  for (int i = 0; i < m->items.count; i++) {
    Item *latent = m->items.items[i];
    if (is_latent(m, latent)) output_rows(e, latent->name, model_value(e, latent, latent->name_span));
  }
  for (int i = 0; i < m->items.count; i++) {
    Item *likelihood = m->items.items[i];
    Item *variable = likelihood->kind == ITEM_LIKELIHOOD ? model_find_declaration(m, likelihood->name) : NULL;
    Support support;
    Shape shape;
    if (!variable || variable->kind != ITEM_DATA) continue;
    Value d = model_value(e, likelihood, likelihood->span), none = {.kind = VALUE_WORD};
    if (d.kind != VALUE_DISTRIBUTION) continue;
    Value made = mean_of(e, likelihood, variable, none);
    bool drawn = made.kind == VALUE_WORD && can_be_drawn(&d) && read_support(e, variable->type, &support) &&
                 read_shape(e, variable->type, &shape);
    if (drawn) made = distribution_sample(e, &d, variable->name, &shape, AXIS_DATUM, d.span);
    if (made.kind != VALUE_WORD) output_rows(e, variable->name, made);
  }
}

static void derive_parameters(Elaborator *e, OutputRole role, bool (*wanted)(const Parameter *),
                              Value (*value)(Elaborator *, int)) {
  for (int i = 0; i < e->graph->signature->parameter_count; i++) {
    const Parameter *p = &e->graph->signature->parameters[i];
    if (!wanted(p)) continue;
    Value v = value(e, i);
    Node *node = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
    if (node) graph_output(e->graph, role, e->graph->signature->parameters[i].name, i, node);
  }
}

static void derive_rows(Elaborator *e, OutputRole role, Value (*value)(Elaborator *, int)) {
  const Signature *s = e->graph->signature;
  for (int i = 0; i < s->row_state_count; i++) {
    if (role == OUTPUT_ROWS && !s->row_states[i].constrained) continue;
    Value v = value(e, i);
    Node *node = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
    if (!node) continue;
    if (!(node->axes & AXIS_DATUM)) node = build_spread(e->graph, node, AXIS_DATUM);
    graph_output(e->graph, role, s->row_states[i].name, i, node);
  }
}

static void derive_solve(Elaborator *e) {
  const Signature *s = e->graph->signature;
  for (int i = 0; i < s->parameter_count; i++) {
    if (!s->parameters[i].solved) continue;
    Node *statistic = solved_statistic(e, s->parameters[i].name, &s->parameters[i].shape, s->parameters[i].span);
    if (statistic) graph_output(e->graph, OUTPUT_SOLVED, s->parameters[i].name, i, statistic);
  }
}

/* Is it made of what a row of the data always has, and of nothing else? Operands stand before what is made of them. */
static bool is_of_row(Compilation *c, const Graph *g, const Node *value) {
  bool *reached = arena_array(c, bool, g->count);
  reached[value->id] = true;
  for (int i = value->id; i >= 0; i--) {
    const Node *n = g->nodes[i];
    if (!reached[i]) continue;
    if (n->op == IR_parameter || n->op == IR_noise || n->op == IR_setting || n->op == IR_state || n->op == IR_row_state)
      return false;
    if (n->op == IR_data && g->signature->data[n->index].gathered > 0) return false;
    for (int k = 0; k < n->operand_count; k++) reached[n->operands[k]->id] = true;
  }
  return true;
}

/* rows = e, balance = e: nonzero for the rows that are meant. */
static const Node *output_selection(Elaborator *e, const Training *t, const char *what, const Expr *x) {
  e->measuring = true; /* of the row's data, not of what inference makes of it */
  Value v = elaborate(e, x);
  e->measuring = false;
  const Node *node = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
  if (node && !check_missing_asked(e, node)) return NULL;
  if (v.kind == VALUE_ERROR || e->c->error_count > 0) return NULL;
  if (!node || node->shape.rank > 0 || node->axes != AXIS_DATUM || !is_of_row(e->c, e->graph, node)) {
    Diagnostic *d = error_at(e->c, "setting", x->span,
                             "`%s` is true or false of each row, by its data alone: one number a row", what);
    help_with(d, "for example %s = index(y) == 3, or sum(x) > 10", what);
    return NULL;
  }
  const char *name = t->name[0] ? arena_printf(e->c, "%s.%s", t->name, what) : what;
  graph_output(e->graph, OUTPUT_ROWS, intern(e->c, name), -1, (Node *)node);
  return node;
}

static void derive_select(Elaborator *e) {
  const Model *m = e->model;
  const Node *first = NULL;
  for (int i = 0; i < m->training_count; i++) {
    const Training *t = &m->trainings[i];
    if (t->rows) output_selection(e, t, "rows", t->rows);
    const Node *part = t->balance ? output_selection(e, t, "balance", t->balance) : NULL;
    if (part && first && part != first)
      error_at(e->c, "setting", t->balance->span, "stages that balance their batches all do so by the same expression");
    if (part && m->signature.row_state_count > 0)
      error_at(e->c, "setting", t->balance->span,
               "`balance` may take a row twice in a batch, which cannot be where each row owns a `local` or a chain");
    if (part) first = part;
  }
}

static bool every(const Parameter *p) { return p != NULL; }
static bool constrained(const Parameter *p) { return p->constrained; }
static bool projected(const Parameter *p) { return p->projected && !p->fixed; }

static Graph *derive_with(Elaborator *e) {
  switch (e->program) {
  case PROGRAM_INITIALISE: derive_parameters(e, OUTPUT_INITIAL, every, raw_initial_value); break;
  case PROGRAM_TRAIN: derive_train(e); break;
  case PROGRAM_EVALUATE: derive_evaluate(e); break;
  case PROGRAM_MEASURE:
    if (has_measured_only(e->model)) derive_evaluate(e);
    break;
  case PROGRAM_ENCODE: derive_encode(e); break;
  case PROGRAM_RECONSTRUCT: derive_reconstruct(e); break;
  case PROGRAM_EXPORT: derive_parameters(e, OUTPUT_EXPORT, constrained, exported_value); break;
  case PROGRAM_PROJECT: derive_parameters(e, OUTPUT_EXPORT, projected, projected_value); break;
  case PROGRAM_INITIALISE_ROWS: derive_rows(e, OUTPUT_ROW_INITIAL, raw_initial_row); break;
  case PROGRAM_EXPORT_ROWS: derive_rows(e, OUTPUT_ROWS, exported_row); break;
  case PROGRAM_SOLVE: derive_solve(e); break;
  case PROGRAM_SELECT: derive_select(e); break;
  case PROGRAM_SAMPLE:
    if (e->model->options.sampling) derive_sample(e);
    break;
  case PROGRAM_FIT:
  case PROGRAM_FIT_NEW:
    if (latent_fit(e->model))
      model_value(e, latent_fit(e->model), e->model->span); /* its programs are the fit itself: infer_fit.c */
    else if (has_fit(e)) {
      Terms terms = {0};
      Span span = model_terms(e, &terms);
      derive_fit(e, &terms, span);
    }
    break;
  case PROGRAM_COUNT: break;
  }
  return e->graph;
}

static bool has_samples(ProgramKind program) {
  return program == PROGRAM_TRAIN || program == PROGRAM_EVALUATE || program == PROGRAM_MEASURE ||
         program == PROGRAM_FIT || program == PROGRAM_FIT_NEW;
}

Graph *derive(Model *m, ProgramKind program) {
  if (program == PROGRAM_TRAIN) m->notes.length = m->kl_record_count = m->accepted_count = m->estimator_count = 0;
  Elaborator *e = elaborator_create(m, program, has_samples(program) ? m->samples : 1);
  Graph *g = derive_with(e);
  return g->output_count ? g : NULL;
}

/* ---- check ----------------------------------------------------------------------------------------------------- */

static void check_network(Elaborator *e, Item *item) {
  for (int i = 0; i < item->formals.count; i++) {
    Name formal = item->formals.items[i].name;
    if (item->formals.items[i].type || !model_find_declaration(e->model, formal))
      return; /* checked where it is called */
  }
  network_of_names(e, item, item->name_span);
}

/* One that a variant of the model no longer mentions. */
static bool is_unused_solved(const Model *m, const Item *item) {
  return item->kind == ITEM_PARAM && type_attribute(item->type, "solved") && !solved_has_role(m, item->name);
}

static void check_item(Elaborator *e, Item *item) {
  if (may_be_missing(item) && !check_missing_ok(e, item)) return;
  if (is_unused_solved(e->model, item)) return;
  if (is_network(item->kind))
    check_network(e, item);
  else if (item->kind == ITEM_LATENT || item->kind == ITEM_DATA || item->kind == ITEM_PARAM ||
           item->kind == ITEM_LOCAL || item->kind == ITEM_DRAW || item->kind == ITEM_LET ||
           item->kind == ITEM_SCHEDULE || item->kind == ITEM_PRIOR || item->kind == ITEM_POSTERIOR ||
           item->kind == ITEM_LIKELIHOOD || (item->kind == ITEM_INFER && !model_find(e->model, ITEM_LOCAL, item->name)))
    model_value(e, item, item->name ? item->name_span : item->span);
}

/* Every declaration, read or not; on a copy, so that a param nobody reads is not made (rule 15). */
static void check_declarations(const Model *m) {
  Model copy = *m;
  copy.signature = (Signature){0};
  copy.sources = copy.row_sources = NULL;
  Elaborator *e = elaborator_create(&copy, PROGRAM_TRAIN, m->samples);
  for (int i = 0; i < m->items.count; i++) check_item(e, m->items.items[i]);
  derive_with(e);
  if (m->compilation->error_count == 0) derive_with(elaborator_create(&copy, PROGRAM_INITIALISE, 1));
}

/* Data that are declared are asked for, whether or not they are read. */
static void declare_data(Model *m) {
  Elaborator *e = elaborator_create(m, PROGRAM_TRAIN, m->samples);
  for (int i = 0; i < m->items.count; i++)
    if (m->items.items[i]->kind == ITEM_DATA) model_value(e, m->items.items[i], m->items.items[i]->name_span);
}

/* Training mentions nearly everything and initial values the rest, which would only repeat what is wrong so far; other
 * programs hold no further mistakes of the author's, and are walked so that they hold none of ours. */
void check(Model *m) {
  m->samples = count_samples(m);
  read_training(m);
  check_declarations(m);
  if (m->compilation->error_count == 0) declare_data(m);
  for (int program = PROGRAM_TRAIN; program < PROGRAM_COUNT && m->compilation->error_count == 0; program++) {
    Graph *g = derive_with(elaborator_create(m, (ProgramKind)program, m->samples));
    if (program == PROGRAM_TRAIN && m->compilation->error_count == 0) add_gradients(m, g);
    if (program == PROGRAM_EVALUATE && m->compilation->error_count == 0) check_kept(m, g);
  }
  if (m->compilation->error_count == 0) derive_with(elaborator_create(m, PROGRAM_INITIALISE, 1));
  m->checked = m->compilation->error_count == 0;
}
