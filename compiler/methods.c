/* methods: `posterior z ~ d by METHOD` -> what z means. A posterior that draws through its own sampler's formula needs
 * no method; one that jumps (discrete, or with atoms) says how the gradient gets past the jump. Each method is a row.
 */
#include "statements.h"

#include <string.h>

typedef struct Method {
  const char *name;
  Value (*draw)(Elaborator *, const PosteriorDraw *);
  bool sums;  /* over members along an axis of their own */
  bool knows; /* of data that are latent on some rows: where the value is known it draws that alone */
} Method;

static Value draw_relaxed(Elaborator *, const PosteriorDraw *);

enum { METHOD_RELAXED, METHOD_EXACT, METHOD_SCORE_FUNCTION, METHOD_SUM_AND_SAMPLE, METHOD_COUNT };

static const Method methods[METHOD_COUNT] = {
    [METHOD_RELAXED] = {"relaxed", draw_relaxed, false, false},
    [METHOD_EXACT] = {"exact", draw_exact, true, true},
    [METHOD_SCORE_FUNCTION] = {"score_function", draw_score_function, false, true},
    [METHOD_SUM_AND_SAMPLE] = {"sum_and_sample", draw_sum_and_sample, true, true},
};

static const Method *find_method(const Expr *by) {
  for (int i = 0; (by->kind == EXPR_NAME || by->kind == EXPR_CALL) && i < METHOD_COUNT; i++)
    if (strcmp(by->name, methods[i].name) == 0) return &methods[i];
  return NULL;
}

/* Maps from scores to probabilities, many of them 0: as posteriors they are summed over their support. */
static bool is_support_map(const Item *posterior) {
  static const char *const maps[] = {"sparsemax", "entmax", "softmax"};
  const Expr *x = posterior->expr;
  for (size_t i = 0; !posterior->is_point && x->kind == EXPR_CALL && i < sizeof maps / sizeof *maps; i++)
    if (strcmp(x->name, maps[i]) == 0) return true;
  return false;
}

/* As written: a family is told by the name of the call. */
static bool lists_members(const Model *m, const Item *posterior) {
  const Expr *x = posterior->expr;
  const Item *family =
      !posterior->is_point && x->kind == EXPR_CALL ? library_find(m, ITEM_DISTRIBUTION, x->name) : NULL;
  return family && distribution_find_field(family, "members");
}

static const Method *method_of(const Model *m, const Item *posterior) {
  if (posterior->by) return find_method(posterior->by);
  return is_support_map(posterior) || lists_members(m, posterior) ? &methods[METHOD_EXACT] : NULL;
}

const Expr *posterior_expression(Elaborator *e, const Item *posterior) {
  if (posterior->kind != ITEM_POSTERIOR || !is_support_map(posterior)) return posterior->expr;
  Argument *prob = arena_new(e->c, Argument);
  Expr *call = arena_new(e->c, Expr);
  *call = *posterior->expr;
  *prob = (Argument){.name = intern(e->c, "prob"), .value = posterior->expr};
  call->name = intern(e->c, "categorical");
  call->arguments = prob;
  call->argument_count = 1;
  return call;
}

/* NULL: it needs none, or says none. */
static const Method *method_of_latent(const Model *m, Name latent) {
  const Item *posterior = model_find(m, ITEM_POSTERIOR, latent);
  return posterior ? method_of(m, posterior) : NULL;
}

bool is_relaxed(const Model *m, Name latent) {
  const Method *method = method_of_latent(m, latent);
  return method == &methods[METHOD_RELAXED];
}

bool is_summed_out(const Model *m, Name latent) {
  const Method *method = method_of_latent(m, latent);
  return method && method->sums;
}

bool is_point_where_known(const Model *m, Name latent) {
  const Method *method = method_of_latent(m, latent);
  return method && method->knows;
}

bool has_relaxed(const Model *m) {
  for (int i = 0; i < m->items.count; i++)
    if (m->items.items[i]->kind == ITEM_POSTERIOR && is_relaxed(m, m->items.items[i]->name)) return true;
  return false;
}

bool is_relaxed_option(const Model *m, Name latent, Name option, const Expr **value) {
  const Item *posterior = model_find(m, ITEM_POSTERIOR, latent);
  const Argument *a = posterior && posterior->by ? find_argument(posterior->by, option) : NULL;
  *value = a ? a->value : NULL;
  return a != NULL;
}

/* ---- is the statement as it must be? --------------------------------------------------------------------------- */

static bool is_discrete(Elaborator *e, const Value *d) {
  Support support, extended;
  return distribution_support(e, d, &support, &extended) &&
         (support.facts.integer || support.special == SPECIAL_CATEGORY);
}

/* A draw jumps from one component to another. */
static bool is_mixed(const Value *d) {
  while (d->combinator == COMBINE_JOINT) d = &d->elements[0];
  return d->combinator == COMBINE_MIXTURE;
}

static const char *option_example(Elaborator *e, const Field *field) {
  if (field->extra.count == 0) return "relaxed";
  const Formal *option = &field->extra.items[0];
  return arena_printf(e->c, "relaxed(%s = %s)", option->name, strcmp(option->name, "steepness") == 0 ? "50" : "0.5");
}

static void suggest_method(Elaborator *e, Diagnostic *x, const Item *posterior, const Value *d) {
  const Field *field = d->combinator == COMBINE_NONE ? next_relaxed(d->family, NULL) : NULL;
  bool drawn = has_density(d) && (is_mixed(d) || distribution_find_field(d->family, "sample"));
  const char *method = field ? option_example(e, field) : drawn ? "score_function(baseline = running_mean)" : NULL;
  if (method)
    help_with(x, "write `posterior %s ~ %s by %s;`", posterior->name, span_text(e->c, posterior->expr->span), method);
  else
    help_with(x,
              "%s has no sampler and declares no `relaxed`, so it cannot be said of it either: take another posterior",
              distribution_name(d));
}

static bool check_named(Elaborator *e, const Expr *by) {
  if (find_method(by)) return true;
  Diagnostic *x =
      error_at(e->c, "method", by->span, "`%s` is no way to take a posterior's expectation", span_text(e->c, by->span));
  Suggestion near = {.name = by->name};
  for (int i = 0; by->name && i < METHOD_COUNT; i++) suggestion_consider(&near, methods[i].name);
  if (near.best)
    help_with(x, "did you mean `%s`?", near.best);
  else
    help_with(x, "it is one of relaxed, exact, score_function and sum_and_sample: for example `by score_function`");
  return false;
}

bool check_method(Elaborator *e, const Item *posterior, const Value *d) {
  if (posterior->by) return check_named(e, posterior->by);
  if (is_support_map(posterior) || lists_members(e->model, posterior)) return true;
  bool discrete = is_discrete(e, d), mixed = is_mixed(d);
  if (!discrete && !mixed && !has_atoms(d)) return true;
  Diagnostic *x =
      error_at(e->c, "method", posterior->span,
               "the posterior of `%s` %s, and does not say by what its draws are differentiated", posterior->name,
               discrete ? "is discrete"
               : mixed  ? "is a mixture"
                        : "has atoms");
  suggest_method(e, x, posterior, d);
  return false;
}

/* ---- relaxed --------------------------------------------------------------------------------------------------- */

static bool is_option(const Field *field, const Argument *a) {
  for (int i = 0; i < field->extra.count; i++)
    if (field->extra.items[i].name == a->name) return true;
  return strcmp(a->name, "straight_through") == 0;
}

/* The relaxation whose options are those given: a family may have several. NULL after reporting. */
static const Field *choose_relaxed(Elaborator *e, const PosteriorDraw *p) {
  const Expr *by = p->posterior->by;
  if (p->d->combinator != COMBINE_NONE || !next_relaxed(p->d->family, NULL)) {
    Diagnostic *x =
        error_at(e->c, "method", by->span, "%s cannot be relaxed: it declares no `relaxed`", distribution_name(p->d));
    if (!is_discrete(e, p->d) && !has_atoms(p->d))
      help_with(x, "it is continuous and is drawn by its own sampler: leave `by` out");
    else if (p->d->combinator == COMBINE_NONE)
      help_with(x, "add `relaxed(u : uniform; temperature) = ...;` to its declaration");
    return NULL;
  }
  Text all = {.compilation = e->c};
  for (const Field *f = NULL; (f = next_relaxed(p->d->family, f));) {
    bool fits = true;
    for (int i = 0; i < by->argument_count; i++) fits &= by->arguments[i].name && is_option(f, &by->arguments[i]);
    if (fits) return f;
    for (int i = 0; i < f->extra.count; i++) text_append(&all, "%s%s", all.length ? ", " : "", f->extra.items[i].name);
  }
  Diagnostic *x = error_at(e->c, "argument", by->span, "%s has no relaxation with these options", p->d->family->name);
  help_with(x, "its options are named, and are %s%sstraight_through", all.length ? all.bytes : "",
            all.length ? ", " : "");
  return NULL;
}

/* Relaxed and hard draws come from one noise, so that they can be compared, and the hard one stand in for the other. */
static const Field *common_noise(Elaborator *e, const PosteriorDraw *p, const Field *relaxed) {
  const Field *sample = distribution_find_field(p->d->family, "sample");
  bool same = sample && sample->head.count == relaxed->head.count;
  for (int i = 0; same && i < sample->head.count; i++) {
    const TypeExpr *a = sample->head.items[i].type, *b = relaxed->head.items[i].type;
    same = a && b && a->name == b->name && type_rank(a) == type_rank(b);
  }
  if (same) return sample;
  Diagnostic *x = error_at(e->c, "noise", p->d->span, "`relaxed` and `sample` of %s do not take the same noise",
                           p->d->family->name);
  note_at(x, relaxed->name_span, "`relaxed` is declared here");
  if (sample) note_at(x, sample->name_span, "`sample` is declared here");
  help_with(x, "both are functions of one noise, in the same order");
  return NULL;
}

/* The values of temperature and the like, as written or by default. */
static bool relaxed_options(Elaborator *e, const PosteriorDraw *p, const Field *field, Value *values, bool *through) {
  const Expr *by = p->posterior->by;
  *through = false;
  const Argument *hard = find_argument(by, "straight_through");
  if (hard) {
    Value v = elaborate(e, hard->value);
    if (v.kind == VALUE_NUMBER && (v.dim.size == 0 || v.dim.size == 1))
      *through = v.dim.size == 1;
    else if (v.kind != VALUE_ERROR)
      error_at(e->c, "argument", hard->value->span, "straight_through is true or false");
    if (v.kind != VALUE_NUMBER) return false;
  }
  for (int i = 0; i < field->extra.count; i++) {
    const Formal *option = &field->extra.items[i];
    const Argument *a = find_argument(by, option->name);
    if (!a && !option->initial) {
      Diagnostic *x =
          error_at(e->c, "argument", by->span, "`relaxed` of %s needs its %s", p->d->family->name, option->name);
      help_with(x, "write by %s; a `schedule` may lower it in training", option_example(e, field));
      return false;
    }
    values[i] = elaborate(e, a ? a->value : option->initial);
    values[i].span = a ? a->value->span : by->span;
    if (!value_is_numeric(&values[i])) {
      value_node(e, &values[i]); /* says so, unless it is an error already */
      return false;
    }
    if (values[i].kind == VALUE_TENSOR && values[i].node->axes) {
      error_at(e->c, "argument", values[i].span, "the %s is one for all data", option->name);
      return false;
    }
  }
  return true;
}

/* The hard draw's value with the soft one's gradient. */
static Value straight_through(Elaborator *e, Value hard, Value soft, Span span) {
  if (hard.kind != VALUE_TENSOR || soft.kind != VALUE_TENSOR) return value_error();
  Value held = value_tensor(build_stop(e->graph, soft.node), soft.mapped, span);
  hard.node = build_stop(e->graph, hard.node);
  return apply2(e, IR_add, hard, apply2(e, IR_sub, soft, held, span), span);
}

static Value draw_relaxed(Elaborator *e, const PosteriorDraw *p) {
  Span span = p->d->span;
  const Field *field = choose_relaxed(e, p), *sample = field ? common_noise(e, p, field) : NULL;
  if (!sample) return value_error();
  int noises = sample->head.count;
  bool through;
  Value *values = arena_array(e->c, Value, noises + field->extra.count);
  if (!relaxed_options(e, p, field, values + noises, &through)) return value_error();
  if (!distribution_noise(e, p->d, sample, p->latent->name, p->shape, p->axes, values)) return value_error();
  Value *noise = arena_array(e->c, Value, noises); /* mapped by each of the two fields anew */
  memcpy(noise, values, sizeof *noise * (size_t)noises);
  if (!e->relaxing) return distribution_transform(e, p->d, noise, p->shape, span);
  Value z = distribution_field_at(e, p->d, field, values, p->shape, span);
  if (e->describe)
    note_estimator(e, p->latent->name,
                   through ? "hard draws, with the derivative of relaxed ones"
                           : "relaxed draws in training, hard ones everywhere else");
  if (through) z = straight_through(e, distribution_transform(e, p->d, noise, p->shape, span), z, span);
  if (z.kind != VALUE_TENSOR) return value_error();
  e->soft = arena_grow(e->c, e->soft, e->soft_count, sizeof *e->soft);
  e->soft[e->soft_count++] = (SoftNode){.node = z.node, .latent = p->latent->name, .span = span};
  return z;
}

bool node_depends_on(const Node *node, const Node *on, bool *seen) {
  if (node == on) return true;
  if (seen[node->id]) return false;
  seen[node->id] = true;
  for (int i = 0; i < node->operand_count; i++)
    if (node_depends_on(node->operands[i], on, seen)) return true;
  return false;
}

bool check_soft_indices(Elaborator *e, const Node *objective) {
  for (int i = 0; i < e->soft_count; i++) {
    if (!e->soft[i].is_index || !node_depends_on(objective, e->soft[i].node, arena_array(e->c, bool, e->graph->count)))
      continue;
    Diagnostic *x = error_at(e->c, "relaxed-index", e->soft[i].span,
                             "the objective depends on the index of `%s`, which is relaxed in training: no gradient "
                             "passes through an index",
                             e->soft[i].latent);
    help_with(x, "use the one-hot vector `%s` itself; index(%s) may stand in metrics", e->soft[i].latent,
              e->soft[i].latent);
    return false;
  }
  return true;
}

/* ---- for explain ----------------------------------------------------------------------------------------------- */

void note_estimator(Elaborator *e, Name latent, const char *text) {
  Model *m = e->model;
  m->estimators = arena_grow(e->c, m->estimators, m->estimator_count, sizeof *m->estimators);
  m->estimators[m->estimator_count++] = (struct Estimator){latent, text};
  text_append(&m->notes, "%s: %s\n", latent, text);
}

/* ---- the seam -------------------------------------------------------------------------------------------------- */

Value posterior_draw(Elaborator *e, const Item *posterior, const Item *latent, const Value *d, const Shape *shape,
                     unsigned axes, Span span) {
  const Method *method = method_of(e->model, posterior);
  if (!method) return distribution_sample(e, d, latent->name, shape, axes, span);
  PosteriorDraw draw = {posterior, latent, d, shape, axes};
  return method->draw(e, &draw);
}
