/* parameters: a declared param or local -> its raw storage in the signature (a parameter, a row state) and the
 * constrained value made from it. Types and norms are transforms that are differentiated through; `projected` ones are
 * stored constrained and set back after each step (LANGUAGE rule 28). The transforms are library text: constrain_TYPE
 * and its inverse unconstrain_TYPE. */
#include "statements.h"

#include <string.h>

static int find_parameter(const Signature *s, const char *name) {
  for (int i = 0; i < s->parameter_count; i++)
    if (strcmp(s->parameters[i].name, name) == 0) return i;
  return -1;
}

const Attribute *type_attribute(const TypeExpr *type, const char *name) {
  for (int i = 0; i < type->attribute_count; i++)
    if (strcmp(type->attributes[i].name, name) == 0) return &type->attributes[i];
  return NULL;
}

/* Calls the library function PREFIX_NAME on v where there is one; v itself otherwise. */
static Value transform(Elaborator *e, const char *prefix, Name name, Value v, Span span) {
  Item *function = library_find(e->model, ITEM_FUNCTION, intern(e->c, arena_printf(e->c, "%s_%s", prefix, name)));
  if (!function || v.kind == VALUE_ERROR) return v;
  Scope *scope = scope_new(e, NULL);
  const Formal *formal = &function->formals.items[0];
  int context = e->context_count;
  if (!map_arguments(e, &formal, &v, 1, false, scope, span)) return value_error();
  Frame frame = enter_callee(e, scope, false, e->path);
  enter_site(e, span);
  Value result = elaborate(e, function->expr);
  leave_callee(e, frame);
  e->context_count = context;
  return unmap(e, result, context);
}

/* v / norm(v, over) or the same only where the norm exceeds a radius. */
static Value apply_norm(Elaborator *e, const Attribute *a, Value v) {
  bool unit = strcmp(a->name, "unit_norm") == 0;
  Expr *over = NULL, *radius = NULL;
  for (int i = 0; i < a->argument_count; i++)
    if (a->arguments[i].name && strcmp(a->arguments[i].name, "over") == 0)
      over = a->arguments[i].value;
    else
      radius = a->arguments[i].value;
  if (!over || (!unit && !radius) || (unit && radius)) {
    Diagnostic *d = error_at(e->c, "attribute", a->span, "%s takes %sover = the dims of one vector", a->name,
                             unit ? "" : "a radius and ");
    help_with(d, unit ? "for example unit_norm(over = D)" : "for example max_norm(1, over = D)");
    return value_error();
  }
  Scope *scope = scope_new(e, e->scope);
  Name self = intern(e->c, "value of the parameter"), limit = intern(e->c, "its largest norm");
  scope_bind(e, scope, self, v, a->span);
  Value r = unit ? value_number(1) : elaborate(e, radius);
  scope_bind(e, scope, limit, r, a->span);
  Expr value = {.kind = EXPR_NAME, .span = a->span, .name = self};
  Expr largest = {.kind = EXPR_NAME, .span = a->span, .name = limit};
  Argument arguments[3] = {{.value = &value}, {.name = intern(e->c, "over"), .value = over}, {.value = &largest}};
  Expr call = {.kind = EXPR_CALL,
               .span = a->span,
               .name = intern(e->c, unit ? "normalize" : "clip_norm"),
               .arguments = arguments,
               .argument_count = unit ? 2 : 3};
  Frame frame = enter_callee(e, scope, e->model_visible, e->path);
  Value result = elaborate(e, &call);
  leave_callee(e, frame);
  return result;
}

/* Onto the constraint: raw -> value for ordinary params; what a projection does for projected ones. */
static Value constrain(Elaborator *e, const TypeExpr *type, Value v, const char *prefix) {
  v = transform(e, prefix, type->name, v, type->span);
  for (int i = 0; i < type->attribute_count; i++) {
    const char *name = type->attributes[i].name;
    if (strcmp(name, "unit_norm") == 0 || strcmp(name, "max_norm") == 0) v = apply_norm(e, &type->attributes[i], v);
  }
  return v;
}

/* An initial value with tensors of this program removed: what a layer's `init` may use are numbers alone. */
static Scope *numbers_of(Elaborator *e, const Scope *scope) {
  Scope *copy = scope_new(e, NULL);
  for (; scope; scope = scope->parent)
    for (int i = 0; i < scope->count; i++)
      if (scope->items[i].value.kind == VALUE_NUMBER)
        scope_bind(e, copy, scope->items[i].name, scope->items[i].value, scope->items[i].span);
  return copy;
}

static bool is_transformed(Elaborator *e, const TypeExpr *type) {
  Name constrain = intern(e->c, arena_printf(e->c, "constrain_%s", type->name));
  return library_find(e->model, ITEM_FUNCTION, constrain) != NULL || type_attribute(type, "unit_norm") ||
         type_attribute(type, "max_norm");
}

static const Facts *held_facts(Elaborator *e, const Support *support) {
  Facts *held = arena_new(e->c, Facts);
  *held = support->facts;
  held->finite = true;
  return held;
}

static int add_parameter(Elaborator *e, const char *full_name, const TypeExpr *type, const Support *support,
                         const Shape *shape, const Expr *init, Span span) {
  Signature *s = e->graph->signature;
  Parameter p = {.name = intern(e->c, full_name), .shape = *shape, .span = span};
  p.solved = type_attribute(type, "solved") != NULL;
  p.fixed = p.solved || type_attribute(type, "fixed") != NULL;
  p.projected = type_attribute(type, "projected") != NULL;
  p.constrained = p.solved || (is_transformed(e, type) && !p.projected && !p.fixed);
  if (!p.constrained) p.held = held_facts(e, support);
  s->parameters = arena_grow(e->c, s->parameters, s->parameter_count, sizeof *s->parameters);
  s->parameters[s->parameter_count] = p;
  Model *m = e->model;
  m->sources = arena_grow(e->c, m->sources, s->parameter_count, sizeof *m->sources);
  m->sources[s->parameter_count] = (ParameterSource){
      .type = type, .init = init, .scope = numbers_of(e, e->scope), .model_visible = e->model_visible};
  return s->parameter_count++;
}

/* Near 0 a softplus has no slope to leave by. */
static void warn_of_flat_start(Elaborator *e, const ParameterSource *source, Name name, const Value *v, bool local) {
  if (!source->init || v->kind == VALUE_ERROR || strcmp(source->type->name, "nonnegative") != 0) return;
  if (value_node(e, v)->facts.high > 1e-3) return;
  Diagnostic *d = warning_at(e->c, "flat_start", source->init->span,
                             "%s starts where training hardly moves it: it is the softplus of a free value, which is "
                             "flat near 0",
                             name);
  help_with(d, local ? "start at 0.1, say; `allow flat_start;` silences this"
                     : "start at 0.1, say, or declare it `projected`; `allow flat_start;` silences this");
}

/* The starting value, put onto the constraint; a draw has the given axes. */
static Value initial_value_at(Elaborator *e, const ParameterSource *source, Name name, const Shape *shape,
                              unsigned axes, Span declared, bool transformed) {
  Scope *scope = scope_new(e, source->scope);
  Frame frame = enter_callee(e, scope, source->model_visible, arena_printf(e->c, "init.%s", name));
  Value v = value_number(0);
  bool positive =
      strcmp(source->type->name, "positive") == 0 || (transformed && strcmp(source->type->name, "nonnegative") == 0);
  const ParameterSource *outer = e->starting;
  const Shape *outer_shape = e->starting_shape;
  e->starting = axes ? NULL : source;
  e->starting_shape = shape;
  if (source->init)
    v = elaborate(e, source->init);
  else if (positive)
    v = value_number(1);
  else if (strcmp(source->type->name, "unit") == 0)
    v = value_number(0.5);
  else if (strcmp(source->type->name, "simplex") == 0)
    v = value_number(1 / shape->dims[shape->rank - 1].size);
  e->starting = outer;
  e->starting_shape = outer_shape;
  if (v.kind == VALUE_DISTRIBUTION) v = distribution_sample(e, &v, e->path, shape, axes, source->init->span);
  Span span = source->init ? source->init->span : declared;
  if (v.kind == VALUE_ERROR) {
  } else if (!value_is_numeric(&v)) {
    error_at(e->c, "init", span, "a %s starts at a value, a distribution or another param; this is %s",
             axes ? "local" : "param", value_text(e->c, &v));
    v = value_error();
  } else {
    Support support;
    Node *node = value_node(e, &v);
    bool normed = type_attribute(source->type, "unit_norm") || type_attribute(source->type, "max_norm");
    if (read_support(e, source->type, &support) && facts_disjoint(&node->facts, &support.facts) && !normed) {
      error_at(e->c, "support", span, "%s is %s, but its initial value %s", name, support.name,
               lies_text(e->c, &node->facts));
      v = value_error();
    } else
      v = expand_to(e, v, shape, span);
    if (transformed) warn_of_flat_start(e, source, name, &v, axes != 0);
  }
  if (type_attribute(source->type, "unit_norm") || type_attribute(source->type, "max_norm") ||
      strcmp(source->type->name, "lower_triangular") == 0)
    v = constrain(e, source->type, v, "project");
  leave_callee(e, frame);
  return v;
}

static Value initial_value(Elaborator *e, int index) {
  const Parameter *p = &e->graph->signature->parameters[index];
  return initial_value_at(e, &e->model->sources[index], p->name, &p->shape, 0, p->span, p->constrained);
}

/* In training the batch's optimum, elsewhere what the whole training data had. */
static Value solved_value(Elaborator *e, const Parameter *p, Node *raw, Span span) {
  if (!check_solved(e, p->name, p->span)) return value_error();
  Node *statistic = e->training && !e->solving ? solved_statistic(e, p->name, &p->shape, span) : raw;
  if (!statistic) return value_error();
  Value v = solved_from_statistic(e, p->name, statistic, span);
  return v;
}

Value make_parameter(Elaborator *e, Name name, const char *full_name, const TypeExpr *type, const Expr *init,
                     Span span) {
  (void)name;
  int index = find_parameter(e->graph->signature, full_name);
  if (index < 0) {
    Support support;
    Shape shape;
    if (!read_support(e, type, &support) || !read_shape(e, type, &shape)) return value_error();
    index = add_parameter(e, full_name, type, &support, &shape, init, span);
  }
  if (e->initialising) return initial_value(e, index);
  const Parameter *p = &e->graph->signature->parameters[index];
  place(e, span);
  Value raw = value_tensor(build_parameter(e->graph, index), 0, span);
  if (p->solved) return solved_value(e, p, raw.node, span);
  if (!p->constrained) return raw;
  return constrain(e, type, raw, "constrain");
}

Value binding_value(Elaborator *e, const Binding *b) {
  Pending *p = b->pending;
  if (!p) return b->value;
  if (p->busy)
    error_at(e->c, "cycle", p->stmt->name_span, "param %s depends on itself", p->stmt->name);
  else if (!p->made) {
    Frame frame = enter_callee(e, p->scope, p->model_visible, e->path);
    p->busy = true;
    p->value = make_parameter(e, p->stmt->name, p->full_name, p->stmt->type, p->stmt->expr, p->stmt->name_span);
    leave_callee(e, frame);
    p->busy = false;
    p->made = true;
  }
  return p->value;
}

/* Raw starting value: the inverse of the transform at the constrained one. */
Value raw_initial_value(Elaborator *e, int index) {
  const Parameter *p = &e->graph->signature->parameters[index];
  const TypeExpr *type = e->model->sources[index].type;
  Value v = initial_value(e, index);
  if (p->solved) return v.kind == VALUE_ERROR ? v : statistic_from_solved(e, p->name, v, p->span);
  return p->constrained ? transform(e, "unconstrain", type->name, v, p->span) : v;
}

/* What the raw value of a projected param becomes after a step. */
Value projected_value(Elaborator *e, int index) {
  const Parameter *p = &e->graph->signature->parameters[index];
  const ParameterSource *source = &e->model->sources[index];
  Value raw = value_tensor(build_parameter(e->graph, index), 0, p->span);
  Frame frame = enter_callee(e, source->scope, source->model_visible, p->name);
  Value v = constrain(e, source->type, raw, "project");
  leave_callee(e, frame);
  return v;
}

/* The constrained value, as saved. */
Value exported_value(Elaborator *e, int index) {
  const Parameter *p = &e->graph->signature->parameters[index];
  const ParameterSource *source = &e->model->sources[index];
  Value raw = value_tensor(build_parameter(e->graph, index), 0, p->span);
  if (!p->constrained) return raw;
  if (p->solved) return solved_from_statistic(e, p->name, raw.node, p->span);
  Frame frame = enter_callee(e, source->scope, source->model_visible, p->name);
  Value v = constrain(e, source->type, raw, "constrain");
  leave_callee(e, frame);
  return v;
}

/* ---- locals ---------------------------------------------------------------------------------------------------- */

static int find_row_state(const Signature *s, Name name) {
  for (int i = 0; i < s->row_state_count; i++)
    if (s->row_states[i].name == name) return i;
  return -1;
}

static int add_row_state(Elaborator *e, const RowState *state, const TypeExpr *type, const Expr *init) {
  Signature *s = e->graph->signature;
  s->row_states = arena_grow(e->c, s->row_states, s->row_state_count, sizeof *s->row_states);
  s->row_states[s->row_state_count] = *state;
  Model *m = e->model;
  m->row_sources = arena_grow(e->c, m->row_sources, s->row_state_count, sizeof *m->row_sources);
  m->row_sources[s->row_state_count] = (ParameterSource){.type = type, .init = init, .model_visible = true};
  return s->row_state_count++;
}

static int local_index(Elaborator *e, const Item *item, const Expr *init) {
  int index = find_row_state(e->graph->signature, item->name);
  if (index >= 0) return index;
  Support support;
  RowState local = {.name = item->name, .span = item->name_span};
  if (!read_support(e, item->type, &support) || !read_shape(e, item->type, &local.shape)) return -1;
  const Attribute *projected = type_attribute(item->type, "projected");
  if (projected) {
    Diagnostic *d = error_at(e->c, "attribute", projected->span, "a `local` cannot be projected");
    help_with(d, "without `projected` its constraint is a transform, which inner steps see as well");
    return -1;
  }
  local.constrained = is_transformed(e, item->type);
  return add_row_state(e, &local, item->type, init);
}

int chain_index(Elaborator *e, const Item *latent, const Shape *shape, const Expr *start) {
  Name name = intern(e->c, arena_printf(e->c, "%s.chain", latent->name));
  int index = find_row_state(e->graph->signature, name);
  RowState chain = {.name = name, .shape = *shape, .span = latent->name_span};
  return index >= 0 ? index : add_row_state(e, &chain, latent->type, start);
}

Value make_local(Elaborator *e, const Item *item, const Expr *init) {
  int index = local_index(e, item, init);
  if (index < 0) return value_error();
  place(e, item->name_span);
  Value raw = value_tensor(build_row_state(e->graph, index), 0, item->name_span);
  return e->graph->signature->row_states[index].constrained ? constrain(e, item->type, raw, "constrain") : raw;
}

/* What L-BFGS moves may begin at any value, and near an edge a softplus or a sigmoid has no slope to leave by. */
static Value steep_start(Elaborator *e, const ParameterSource *source, Value v, Span span) {
  const Value margin = value_number(0.01);
  const char *type = source->type->name;
  const bool unit = strcmp(type, "unit") == 0;
  if (!unit && strcmp(type, "positive") != 0 && strcmp(type, "nonnegative") != 0) return v;
  v = apply2(e, IR_max, v, margin, span);
  return unit ? apply2(e, IR_min, v, value_number(0.99), span) : v;
}

Value raw_initial_row(Elaborator *e, int index) {
  const RowState *local = &e->graph->signature->row_states[index];
  const ParameterSource *source = &e->model->row_sources[index];
  const Item *inferred = model_inference(e->model, local->name);
  Value v =
      initial_value_at(e, source, local->name, &local->shape, AXIS_DATUM, local->span, local->constrained && !inferred);
  if (!local->constrained) return v;
  if (inferred) v = steep_start(e, source, v, local->span);
  return transform(e, "unconstrain", source->type->name, v, local->span);
}

Value exported_row(Elaborator *e, int index) {
  const RowState *local = &e->graph->signature->row_states[index];
  Value raw = value_tensor(build_row_state(e->graph, index), 0, local->span);
  return constrain(e, e->model->row_sources[index].type, raw, "constrain");
}
