/* distributions: families declared in the language -> log densities, draws, entropies and closed-form KLs as IR.
 * A distribution value is its declaration with one value for each parameter. Scalar families act elementwise on a
 * variable of any shape; vector families on its trailing dims. */
#include "distributions.h"

#include <string.h>

bool is_family(const Model *m, Name name) { return library_find(m, ITEM_DISTRIBUTION, name) != NULL; }

const Formal *event_formal(const Item *family) { return &family->formals.items[0]; }

int family_event_rank(const Item *family) {
  const TypeExpr *type = event_formal(family)->type;
  return type ? type_rank(type) : 0;
}

/* ---- which parameterisation ------------------------------------------------------------------------------------ */

static bool takes(const Item *family, const Expr *call) {
  int positional = positional_count(call), named = call->argument_count - positional;
  if (positional + named > family->extra.count) return false;
  for (int i = 0; i < call->argument_count; i++) {
    if (!call->arguments[i].name) continue;
    int at = -1;
    for (int k = 0; k < family->extra.count; k++)
      if (family->extra.items[k].name == call->arguments[i].name) at = k;
    if (at < positional) return false;
  }
  for (int k = positional; k < family->extra.count; k++) {
    bool given = family->extra.items[k].initial != NULL;
    for (int i = 0; i < call->argument_count; i++) given |= call->arguments[i].name == family->extra.items[k].name;
    if (!given) return false;
  }
  return true;
}

/* Two ways of equal standing to read the positional arguments: the family has no natural first one (rule 12). */
static const Item *rival(const Model *m, const Item *chosen, const Expr *call) {
  int positional = positional_count(call);
  for (int i = 0; i < m->library.count; i++) {
    const Item *other = m->library.items[i];
    if (other == chosen || other->kind != ITEM_DISTRIBUTION || other->name != chosen->name || !other->has_block ||
        !takes(other, call))
      continue;
    if (m->compilation->sources[other->span.source].library != m->compilation->sources[chosen->span.source].library)
      continue; /* the author's own comes first */
    if (family_event_rank(other) != family_event_rank(chosen)) continue;
    for (int k = 0; k < positional; k++)
      if (other->extra.items[k].name != chosen->extra.items[k].name) return other;
  }
  return NULL;
}

static const char *family_text(Compilation *c, const Item *family) {
  Text t = {.compilation = c};
  text_append(&t, "%s(", family->name);
  for (int i = 0; i < family->extra.count; i++) text_append(&t, "%s%s", i ? ", " : "", family->extra.items[i].name);
  text_append(&t, ")");
  return t.bytes;
}

/* A call with the names of its first parameters: gamma(shape = ..., rate = ...). */
static const char *named_call(Compilation *c, const Item *family, int count) {
  Text t = {.compilation = c};
  text_append(&t, "%s(", family->name);
  for (int i = 0; i < count; i++) text_append(&t, "%s%s = ...", i ? ", " : "", family->extra.items[i].name);
  text_append(&t, ")");
  return t.bytes;
}

static void report_no_parameterisation(Elaborator *e, const Expr *call) {
  Diagnostic *d =
      error_at(e->c, "parameterisation", call->span, "no declaration of %s takes these parameters", call->name);
  Text all = {.compilation = e->c};
  for (int i = 0; i < e->model->library.count; i++) {
    const Item *item = e->model->library.items[i];
    if (item->kind != ITEM_DISTRIBUTION || item->name != call->name) continue;
    text_append(&all, "%s%s", all.length ? " or " : "", family_text(e->c, item));
    if (!e->c->sources[item->span.source].library) note_at(d, item->name_span, "it is declared here");
  }
  help_with(d, "it is called as %s", all.bytes);
}

static Item *choose_family(Elaborator *e, const Expr *call) {
  const Model *m = e->model;
  for (int i = 0; i < m->library.count; i++) {
    Item *item = m->library.items[i];
    if (item->kind != ITEM_DISTRIBUTION || item->name != call->name || !takes(item, call)) continue;
    const Item *other = rival(m, item, call);
    if (!other) return item;
    Diagnostic *d = error_at(e->c, "parameterisation", call->span,
                             "%s has no natural first parameterisation: name the parameter", call->name);
    help_with(d, "write %s or %s", named_call(e->c, item, positional_count(call)),
              named_call(e->c, other, positional_count(call)));
    return NULL;
  }
  report_no_parameterisation(e, call);
  return NULL;
}

/* Here rather than where a density or a draw is made: the mistake stands in this call. */
static bool check_parameter_supports(Elaborator *e, const Formals *formals, Value *values) {
  Scope *scope = scope_new(e, NULL);
  bool ok = true;
  for (int i = 0; i < formals->count; i++) {
    if (!formals->items[i].type || strcmp(formals->items[i].type->name, "integer") == 0) continue;
    ok = check_support(e, &formals->items[i], &values[i], scope, values[i].span) && ok;
    guard_argument(e, &formals->items[i], &values[i], values[i].span);
  }
  return ok;
}

const Item *family_of_pattern(Elaborator *e, const Expr *pattern) { return choose_family(e, pattern); }

/* Which parameter of the family an argument of the pattern is, by its name or its place. */
static int pattern_slot(const Item *family, const Expr *pattern, int argument) {
  const Argument *a = &pattern->arguments[argument];
  int at = -1;
  for (int i = 0; i <= argument; i++) at += pattern->arguments[i].name == NULL;
  for (int k = 0; a->name && k < family->extra.count; k++)
    if (family->extra.items[k].name == a->name) at = k;
  return at;
}

const Formal *formal_of_pattern(const Item *family, const Expr *pattern, int argument) {
  return &family->extra.items[pattern_slot(family, pattern, argument)];
}

/* group_laplace(s, over = M): the call without its `over`, which says what an event's dim is called. */
static Expr without_over(Elaborator *e, const Expr *call, const Expr **over) {
  Expr plain = *call;
  plain.arguments = arena_array(e->c, Argument, call->argument_count);
  plain.argument_count = 0;
  *over = NULL;
  for (int i = 0; i < call->argument_count; i++)
    if (call->arguments[i].name && strcmp(call->arguments[i].name, "over") == 0)
      *over = call->arguments[i].value;
    else
      plain.arguments[plain.argument_count++] = call->arguments[i];
  return plain;
}

static Value distribution_of(Elaborator *, const Expr *call);

Value make_distribution(Elaborator *e, const Expr *call) {
  const Expr *over;
  Expr plain = without_over(e, call, &over);
  Value d = distribution_of(e, over ? &plain : call);
  if (!over || d.kind == VALUE_ERROR) return d;
  if (event_rank(&d) != 1) {
    error_at(e->c, "over", over->span, "%s is no distribution over vectors, so it has no `over`", call->name);
    return value_error();
  }
  d.over_count = 1;
  return elaborate_dim(e, over, &d.over) ? d : value_error();
}

static Value distribution_of(Elaborator *e, const Expr *call) {
  Item *family = choose_family(e, call);
  if (!family) return value_error();
  Value *values = arena_array(e->c, Value, family->extra.count);
  if (!bind_arguments(e, call, &family->extra, family, values)) return value_error();
  for (int i = 0; i < family->extra.count; i++)
    if (!value_is_numeric(&values[i])) {
      value_node(e, &values[i]);
      return value_error();
    }
  if (!check_parameter_supports(e, &family->extra, values)) return value_error();
  if (family->has_block)
    return (Value){.kind = VALUE_DISTRIBUTION,
                   .family = family,
                   .elements = values,
                   .count = family->extra.count,
                   .span = call->span};
  Scope *scope = scope_new(e, NULL); /* = other(...): a derived parameterisation */
  for (int i = 0; i < family->extra.count; i++)
    scope_bind(e, scope, family->extra.items[i].name, values[i], values[i].span);
  Frame frame = enter_callee(e, scope, false, e->path);
  Value v = elaborate(e, family->fields ? family->fields[0].value : family->expr);
  leave_callee(e, frame);
  v.span = call->span;
  return v;
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */

static const Field *find_field(const Item *family, const char *name) {
  for (int i = 0; i < family->field_count; i++)
    if (strcmp(family->fields[i].name, name) == 0) return &family->fields[i];
  return NULL;
}

bool expr_mentions(const Expr *x, Name name) {
  if (!x) return false;
  if (x->kind == EXPR_NAME && x->name == name) return true;
  for (int i = 0; i < x->argument_count; i++)
    if (expr_mentions(x->arguments[i].value, name) || expr_mentions(x->arguments[i].weight, name)) return true;
  for (int i = 0; i < x->element_count; i++)
    if (expr_mentions(x->elements[i], name)) return true;
  for (int i = 0; i < x->index_count; i++)
    if (expr_mentions(x->indices[i].first, name) || expr_mentions(x->indices[i].last, name)) return true;
  return expr_mentions(x->a, name) || expr_mentions(x->b, name) || expr_mentions(x->c, name);
}

/* Evaluates a field in a scope that holds formals; helper fields it mentions (r = solve(...)) are evaluated first. */
static Value field_value(Elaborator *e, const Item *family, const Field *field) {
  for (const Field *f = family->fields; f < field; f++)
    if (!f->has_head && !scope_find(e->scope, f->name) && expr_mentions(field->value, f->name)) {
      Value v = field_value(e, family, f);
      if (v.kind == VALUE_ERROR) return v;
      scope_bind(e, e->scope, f->name, v, f->name_span);
    }
  return elaborate(e, field->value);
}

Shape leading_shape(const Item *family, const Shape *shape) {
  Shape lead = *shape;
  lead.rank -= family_event_rank(family);
  if (lead.rank < 0) lead.rank = 0;
  return lead;
}

/* Dim names of the event's type, bound to the variable's trailing dims. */
static void bind_event_dims(Elaborator *e, const Item *family, const Shape *shape, Scope *scope) {
  const TypeExpr *type = event_formal(family)->type;
  int rank = family_event_rank(family);
  for (int i = 0; i < rank && shape->rank >= rank; i++)
    if (type_dim(type, i)->kind == EXPR_NAME && !scope_find(scope, type_dim(type, i)->name))
      scope_bind(e, scope, type_dim(type, i)->name, value_dim(shape->dims[shape->rank - rank + i]),
                 type_dim(type, i)->span);
}

bool enter_family(Elaborator *e, const Value *d, const Value *z, const Formals *noise, Value *noise_values,
                  const Shape *shape, Scope *scope, Span span) {
  const Item *family = d->family;
  int count = 0, total = d->count + 1 + (noise ? noise->count : 0);
  const Formal **formals = arena_array(e->c, const Formal *, total);
  Value *values = arena_array(e->c, Value, total);
  if (z) {
    formals[count] = event_formal(family);
    values[count++] = *z;
  }
  for (int i = 0; i < d->count; i++) {
    formals[count] = &family->extra.items[i];
    values[count++] = d->elements[i];
  }
  for (int i = 0; noise && i < noise->count; i++) {
    formals[count] = &noise->items[i];
    values[count++] = noise_values[i];
  }
  bind_event_dims(e, family, shape, scope);
  for (int i = 0; i < d->count; i++) /* uniform(z : interval(low, high); low, high); once mapped they are bound again */
    scope_bind(e, scope, family->extra.items[i].name, d->elements[i], span);
  return map_arguments(e, formals, values, count, true, scope, span);
}

static Value expand_event(Elaborator *e, Value v, const Shape *shape, Span span) {
  if (v.kind == VALUE_NUMBER && shape->rank == 0) return value_tensor(build_constant(e->graph, v.dim.size), 0, span);
  if (v.kind == VALUE_ERROR) return v;
  return expand_to(e, v, shape, span);
}

/* Fields that are a whole event; the others are one number an event. */
static bool is_event(const Field *field) {
  static const char *const events[] = {"mean", "variance", "sample", "relaxed", "prox"};
  for (size_t i = 0; i < sizeof events / sizeof *events; i++)
    if (strcmp(field->name, events[i]) == 0) return true;
  return false;
}

/* A field at the event z (NULL where it has none) or at values of the formals of its own. */
static Value field_at(Elaborator *e, const Value *d, const Field *field, const Value *z, const Formals *own,
                      Value *values, const Shape *shape, Span span) {
  Scope *scope = scope_new(e, NULL);
  int context = e->context_count;
  Value result = value_error();
  bool entered = enter_family(e, d, z, own, values, shape, scope, span);
  Frame frame = enter_callee(e, scope, false, e->path);
  enter_site(e, span);
  if (entered) result = field_value(e, d->family, field);
  leave_callee(e, frame);
  e->context_count = context;
  result = unmap(e, result, context);
  if (strcmp(field->name, "members") == 0) return result; /* of a shape of its own */
  Shape lead = leading_shape(d->family, shape);
  return expand_event(e, result, is_event(field) ? shape : &lead, span);
}

Value distribution_field(Elaborator *e, const Value *d, const char *name, const Value *z, const Shape *shape, Span span,
                         bool *missing) {
  if (d->combinator != COMBINE_NONE) return combinator_field(e, d, name, z, shape, span, missing);
  const Field *field = find_field(d->family, name);
  *missing = field == NULL;
  if (!field && strcmp(name, "log_pdf") == 0 && find_field(d->family, "log_kernel")) {
    Value kernel = distribution_field(e, d, "log_kernel", z, shape, span, missing);
    return kernel.kind == VALUE_ERROR ? kernel : apply2(e, IR_sub, kernel, log_normaliser(e, d, shape, span), span);
  }
  return field ? field_at(e, d, field, z, NULL, NULL, shape, span) : value_error();
}

Item *pattern_family(const Model *m, const Expr *pattern, int *slots) {
  if (pattern->kind != EXPR_CALL) return NULL;
  for (int i = 0; i < m->library.count; i++) {
    Item *item = m->library.items[i];
    if (item->kind != ITEM_DISTRIBUTION || item->name != pattern->name || !takes(item, pattern)) continue;
    for (int k = 0; slots && k < pattern->argument_count; k++) slots[k] = pattern_slot(item, pattern, k);
    return item;
  }
  return NULL;
}

/* ---- fields that take arguments -------------------------------------------------------------------------------- */

const Field *distribution_find_field(const Item *family, const char *name) { return find_field(family, name); }

const Field *next_relaxed(const Item *family, const Field *after) {
  for (int i = 0; i < family->field_count; i++)
    if (strcmp(family->fields[i].name, "relaxed") == 0 && (!after || &family->fields[i] > after))
      return &family->fields[i];
  return NULL;
}

bool distribution_argument_shape(Elaborator *e, const Value *d, const Formal *argument, const Shape *shape,
                                 Support *support, Shape *own) {
  static const Support any = {.facts = {.low = -__builtin_inf(), .high = __builtin_inf(), .finite = true}};
  Scope *scope = scope_new(e, NULL);
  int context = e->context_count;
  bool ok = enter_family(e, d, NULL, NULL, NULL, shape, scope, argument->span);
  e->context_count = context;
  *support = any;
  *own = (Shape){0};
  if (!ok || !argument->type) return ok;
  Frame frame = enter_callee(e, scope, false, e->path);
  ok = read_support(e, argument->type, support) && read_shape(e, argument->type, own);
  leave_callee(e, frame);
  return ok;
}

Value distribution_field_at(Elaborator *e, const Value *d, const Field *field, Value *arguments, const Shape *shape,
                            Span span) {
  Formals all = {.items = arena_array(e->c, Formal, field->head.count + field->extra.count)};
  for (int i = 0; i < field->head.count; i++) all.items[all.count++] = field->head.items[i];
  for (int i = 0; i < field->extra.count; i++) all.items[all.count++] = field->extra.items[i];
  return field_at(e, d, field, NULL, &all, arguments, shape, span);
}

/* ---- draws ----------------------------------------------------------------------------------------------------- */

static unsigned stream_of(const char *name) { /* FNV-1a: the same draw has the same stream in every program */
  unsigned h = 2166136261u;
  for (; *name; name++) h = (h ^ (unsigned char)*name) * 16777619u;
  return h;
}

int noise_index(Elaborator *e, const char *name, NoiseKind kind, const Shape *shape, unsigned axes) {
  Signature *s = e->graph->signature;
  for (int i = 0; i < s->noise_count; i++)
    if (strcmp(s->noises[i].name, name) == 0 && s->noises[i].axes == axes) return i;
  s->noises = arena_grow(e->c, s->noises, s->noise_count, sizeof *s->noises);
  s->noises[s->noise_count] =
      (Noise){.name = intern(e->c, name), .kind = kind, .stream = stream_of(name), .shape = *shape, .axes = axes};
  return s->noise_count++;
}

Node *noise_node(Elaborator *e, int index) {
  return e->round ? build_inner_noise(e->graph, index, e->round) : build_noise(e->graph, index);
}

bool distribution_noise(Elaborator *e, const Value *d, const Field *field, Name variable, const Shape *shape,
                        unsigned axes, Value *out) {
  Scope *scope = scope_new(e, NULL);
  int context = e->context_count;
  bool ok = enter_family(e, d, NULL, NULL, NULL, shape, scope, field->span);
  e->context_count = context;
  Frame frame = enter_callee(e, scope, false, e->path);
  for (int i = 0; ok && i < field->head.count; i++) {
    const Formal *f = &field->head.items[i];
    Support support;
    Shape own, full = leading_shape(d->family, shape);
    ok = f->type && read_support(e, f->type, &support) && read_shape(e, f->type, &own);
    if (ok && support.special != SPECIAL_NOISE_UNIFORM && support.special != SPECIAL_NOISE_NORMAL) ok = false;
    if (!ok) {
      error_at(e->c, "noise", f->span,
               "a sampler is a function of `uniform` and `standard_normal` noise: `%s` must be one of them", f->name);
      break;
    }
    for (int k = 0; k < own.rank && full.rank < MAX_RANK; k++) full.dims[full.rank++] = own.dims[k];
    NoiseKind kind = support.special == SPECIAL_NOISE_UNIFORM ? NOISE_UNIFORM : NOISE_NORMAL;
    const char *name = arena_printf(e->c, "%s.%s", variable, f->name);
    out[i] = value_tensor(noise_node(e, noise_index(e, name, kind, &full, axes)), 0, f->span);
  }
  leave_callee(e, frame);
  return ok;
}

bool one_noise(const Item *family, NoiseKind *kind) {
  const Field *field = find_field(family, "sample");
  if (!field || field->head.count != 1) return false;
  const TypeExpr *type = field->head.items[0].type;
  if (!type || type->dim_count > 0) return false;
  bool uniform = strcmp(type->name, "uniform") == 0;
  *kind = uniform ? NOISE_UNIFORM : NOISE_NORMAL;
  return uniform || strcmp(type->name, "standard_normal") == 0;
}

bool has_density(const Value *d) {
  bool all = true;
  for (int i = 0; d->combinator != COMBINE_NONE && i < d->count; i++) all = all && has_density(&d->elements[i]);
  return d->combinator != COMBINE_NONE
             ? all
             : find_field(d->family, "log_pdf") != NULL || find_field(d->family, "log_kernel") != NULL;
}

bool has_atoms(const Value *d) {
  for (int i = 0; d->combinator != COMBINE_NONE && i < d->count; i++)
    if (has_atoms(&d->elements[i])) return true;
  if (d->combinator != COMBINE_NONE) return false;
  const TypeExpr *type = event_formal(d->family)->type;
  for (int i = 0; type && i < type->attribute_count; i++)
    if (strcmp(type->attributes[i].name, "atoms") == 0) return true;
  return false;
}

Value distribution_transform(Elaborator *e, const Value *d, Value *noise, const Shape *shape, Span span) {
  const Field *field = find_field(d->family, "sample");
  return field_at(e, d, field, NULL, &field->head, noise, shape, span);
}

bool can_be_drawn(const Value *d) { return d->combinator != COMBINE_NONE || find_field(d->family, "sample"); }

Value distribution_sample(Elaborator *e, const Value *d, Name variable, const Shape *shape, unsigned axes, Span span) {
  if (d->combinator != COMBINE_NONE) return combinator_sample(e, d, variable, shape, axes, span);
  const Field *field = find_field(d->family, "sample");
  if (!field) {
    Diagnostic *x = error_at(e->c, "no-sampler", d->span, "%s has no `sample`, so %s cannot be drawn from it",
                             d->family->name, variable);
    if (!e->c->sources[d->family->span.source].library) note_at(x, d->family->name_span, "it is declared here");
    help_with(x, "add `sample(u : uniform) = ...;` to its declaration");
    return value_error();
  }
  Value *noise = arena_array(e->c, Value, field->head.count);
  if (!distribution_noise(e, d, field, variable, shape, axes, noise)) return value_error();
  return distribution_transform(e, d, noise, shape, span);
}

Value log_ratio(Elaborator *e, const Value *q, Value log_q, const Value *p, Value log_p, Span span) {
  int finer = event_rank(p) - event_rank(q); /* by how many dims one density's events are smaller than the other's */
  Value *fine = finer > 0 ? &log_q : &log_p;
  if (finer != 0 && fine->kind == VALUE_TENSOR) {
    int rank = fine->node->shape.rank, count = finer > 0 ? finer : -finer;
    place(e, span);
    *fine = value_tensor(build_sum(e->graph, fine->node, ((1u << count) - 1) << (rank - count)), fine->mapped, span);
  }
  return apply2(e, IR_sub, log_q, log_p, span);
}

/* ---- closed-form KL -------------------------------------------------------------------------------------------- */

/* Does `pattern`, as in normal(m, s), match d? Its names and d's parameters are appended as formals and values. */
static bool match_pattern(Elaborator *e, const Expr *pattern, const Value *d, Formal *formals, Value *values,
                          int *count) {
  if (pattern->kind != EXPR_CALL || pattern->name != d->family->name || !takes(d->family, pattern)) return false;
  for (int i = 0; i < pattern->argument_count; i++) {
    const Argument *a = &pattern->arguments[i];
    int at = pattern_slot(d->family, pattern, i);
    const Value *actual = &d->elements[at];
    if (a->value->kind == EXPR_NAME) {
      formals[*count] = d->family->extra.items[at];
      formals[*count].name = a->value->name;
      values[(*count)++] = *actual;
      continue;
    }
    Value wanted = elaborate(e, a->value);
    bool number = actual->kind == VALUE_NUMBER || (actual->kind == VALUE_TENSOR && actual->node->op == IR_constant);
    if (wanted.kind != VALUE_NUMBER || !number) return false;
    if (wanted.dim.size != (actual->kind == VALUE_NUMBER ? actual->dim.size : actual->node->number)) return false;
  }
  return true;
}

/* A bare name matches any distribution within the other's support: rule kl(d, uniform(low, high)). */
static bool within_support(Elaborator *e, const Value *q, const Value *p) {
  Support inner, outer, extended;
  return distribution_support(e, q, &inner, &extended) && distribution_support(e, p, &outer, &extended) &&
         facts_within(&inner.facts, &outer.facts);
}

/* Appends d's parameters under names nobody can write ("d.mean"), to be mapped with those of the other side. */
static void match_any(Elaborator *e, Name name, const Value *d, Formal *formals, Value *values, int *count) {
  for (int i = 0; i < d->count; i++) {
    formals[*count] = d->family->extra.items[i];
    formals[*count].name = intern(e->c, arena_printf(e->c, "%s.%s", name, d->family->extra.items[i].name));
    values[(*count)++] = d->elements[i];
  }
}

static void bind_any(Elaborator *e, Name name, const Value *d, Scope *scope, Span span) {
  Value mapped = *d;
  mapped.elements = arena_array(e->c, Value, d->count);
  for (int i = 0; i < d->count; i++)
    mapped.elements[i] =
        scope_find(scope, intern(e->c, arena_printf(e->c, "%s.%s", name, d->family->extra.items[i].name)))->value;
  scope_bind(e, scope, name, mapped, span);
}

/* Where one event of q holds k elements of p, parameters of p with that dim are seen whole: real[k]. */
static void see_whole_events(const Value *q, const Value *p, Formal *formals, const Value *values, int first,
                             int count) {
  if (family_event_rank(p->family) > 0 || family_event_rank(q->family) == 0) return;
  for (int i = first; i < count; i++)
    if (values[i].kind == VALUE_TENSOR && visible_shape(&values[i]).rank > 0)
      formals[i].type = event_formal(q->family)->type;
}

static bool has_entropy(const Value *d) { return find_field(d->family, "entropy") != NULL; }

/* A positional pattern means the parameterisation declared first, so bernoulli(logits = a) does not match (prob = p).
 */
static bool pattern_fits(const Model *m, const Expr *pattern, const Value *d) {
  if (pattern->kind == EXPR_NAME) return has_entropy(d);
  const Item *family = pattern_family(m, pattern, NULL);
  return family && family == d->family;
}

bool match_distribution(Elaborator *e, const Expr *pattern, const Value *d, Formal *formals, Value *values,
                        int *count) {
  return pattern->kind == EXPR_CALL && pattern_fits(e->model, pattern, d) &&
         match_pattern(e, pattern, d, formals, values, count);
}

Value closed_kl(Elaborator *e, const Value *q, const Value *p, const Shape *shape, Span span, bool *missing,
                Span *rule_span) {
  const Model *m = e->model;
  *missing = true;
  if (q->combinator != COMBINE_NONE || p->combinator != COMBINE_NONE) return value_error();
  Frame outer = enter_callee(e, NULL, false, e->path);
  for (int i = 0; i < m->library.count; i++) {
    const Item *rule = m->library.items[i];
    if (rule->kind != ITEM_RULE || strcmp(rule->pattern->name, "kl") != 0 || rule->pattern->argument_count != 2)
      continue;
    const Expr *left = rule->pattern->arguments[0].value, *right = rule->pattern->arguments[1].value;
    Formal *formals = arena_array(e->c, Formal, q->count + p->count);
    Value *values = arena_array(e->c, Value, q->count + p->count);
    int count = 0;
    if (!pattern_fits(m, left, q) || !pattern_fits(m, right, p)) continue;
    bool any = left->kind == EXPR_NAME;
    if (any && !within_support(e, q, p)) continue;
    if (any)
      match_any(e, left->name, q, formals, values, &count);
    else if (!match_pattern(e, left, q, formals, values, &count))
      continue;
    int first = count; /* of p's */
    if (!match_pattern(e, right, p, formals, values, &count)) continue;
    see_whole_events(q, p, formals, values, first, count);
    const Formal **pointers = arena_array(e->c, const Formal *, count);
    for (int k = 0; k < count; k++) pointers[k] = &formals[k];
    Scope *scope = scope_new(e, NULL);
    int context = e->context_count;
    Value result = value_error();
    bind_event_dims(e, q->family, shape, scope);
    if (map_arguments(e, pointers, values, count, true, scope, span)) {
      if (any) bind_any(e, left->name, q, scope, span);
      Frame frame = enter_callee(e, scope, false, e->path);
      enter_site(e, span);
      result = elaborate(e, rule->expr);
      leave_callee(e, frame);
    }
    e->context_count = context;
    leave_callee(e, outer);
    *missing = false;
    *rule_span = rule->span;
    Shape lead = leading_shape(q->family, shape);
    return expand_event(e, unmap(e, result, context), &lead, span);
  }
  leave_callee(e, outer);
  *missing = true;
  return value_error();
}
