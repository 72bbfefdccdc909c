/* check_generic: layers, functions and distributions of the user's own text are walked once with their dim names as
 * names and a stand-in of the declared type for every formal, whether or not anybody calls them. Formals of a function
 * without types may be anything, so such a function is checked where it is called. Leaves diagnostics alone. */
#include "statements.h"

#include <string.h>

static void invent_dim(Elaborator *e, Name name, Span span, Scope *scope) {
  int count = 0;
  for (const Scope *s = scope; s; s = s->parent) count += s->count;
  double *taken = arena_array(e->c, double, count);
  count = 0;
  for (const Scope *s = scope; s; s = s->parent)
    for (int i = 0; i < s->count; i++)
      if (s->items[i].value.kind == VALUE_NUMBER) taken[count++] = s->items[i].value.dim.size;
  scope_bind(e, scope, name, value_dim(dim_name(e->c, name, dim_invent(e->c, name, taken, count))), span);
}

/* Dim names first met in a formal's type become dims of their own, with small different numbers behind them. */
static void invent_dims(Elaborator *e, const Formals *formals, Scope *scope) {
  for (int i = 0; i < formals->count; i++) {
    const Formal *f = &formals->items[i];
    if (f->is_dim) invent_dim(e, f->name, f->span, scope);
    for (int k = 0; f->type && k < type_rank(f->type); k++) {
      const Expr *dim = type_dim(f->type, k);
      if (dim->kind == EXPR_NAME && !scope_find(scope, dim->name)) invent_dim(e, dim->name, dim->span, scope);
    }
  }
}

/* A value of the formal's type of which nothing else is known: it must not fold, so it is an input. */
static bool stand_in(Elaborator *e, const Formal *f, Scope *scope) {
  Support support = {.facts = {.low = -__builtin_inf(), .high = __builtin_inf(), .finite = true}};
  Shape shape = {0};
  if (f->is_dim || scope_find(scope, f->name)) return true;
  if (f->type && (!read_support(e, f->type, &support) || !read_shape(e, f->type, &shape))) return false;
  Signature *s = e->graph->signature;
  s->data = arena_grow(e->c, s->data, s->data_count, sizeof *s->data);
  s->data[s->data_count] = (DataInput){.name = f->name, .shape = shape, .span = f->span, .facts = support.facts};
  Value v = value_tensor(build_data(e->graph, s->data_count++), 0, f->span);
  scope_bind(e, scope, f->name, v, f->span);
  return true;
}

static bool stand_ins(Elaborator *e, const Formals *formals, Scope *scope) {
  for (int i = 0; i < formals->count; i++)
    if (!stand_in(e, &formals->items[i], scope)) return false;
  return true;
}

/* How many members a subset has is known by its largest number at least: here a number. */
static bool is_subset_size(const Item *family, Name formal) {
  const TypeExpr *type =
      family->kind == ITEM_DISTRIBUTION && family->formals.count ? family->formals.items[0].type : NULL;
  if (!type || strcmp(type->name, "subset") != 0 || type->argument_count != 1) return false;
  const Expr *size = type->arguments[0].value;
  return size->kind == EXPR_NAME && size->name == formal;
}

static bool all_typed(const Formals *formals) {
  for (int i = 0; i < formals->count; i++)
    if (!formals->items[i].type && !formals->items[i].is_dim) return false;
  return true;
}

static void check_fields(Elaborator *e, const Item *item, Scope *scope) {
  for (int i = 0; i < item->field_count; i++) {
    const Field *f = &item->fields[i];
    Scope *own = scope_new(e, scope);
    invent_dims(e, &f->head, own);
    invent_dims(e, &f->extra, own);
    Frame frame = enter_callee(e, own, false, item->name);
    Value v = value_error();
    if (stand_ins(e, &f->head, own) && stand_ins(e, &f->extra, own)) v = elaborate(e, f->value);
    leave_callee(e, frame);
    if (v.kind == VALUE_ERROR) return;
    if (!f->has_head) scope_bind(e, scope, f->name, v, f->name_span); /* later fields may mention it */
  }
}

/* What a field of a distribution may be called to mean something; any other name is a helper of later fields. */
static const char *const field_names[] = {"log_pdf",  "log_kernel", "sample",   "relaxed", "entropy",
                                          "mean",     "variance",   "prox",     "pull",    "members",
                                          "drawn_kl", "relaxed_kl", "quadratic"};
enum { FIELD_NAMES = sizeof field_names / sizeof *field_names };

static bool is_field_name(Name name) {
  for (int i = 0; i < FIELD_NAMES; i++)
    if (strcmp(name, field_names[i]) == 0) return true;
  return false;
}

/* What others call a log density. */
static const char *intended_field(Name name) {
  static const char *const densities[] = {"pdf", "logpdf", "log_prob", "logp", "lpdf", "density", "log_density"};
  for (size_t i = 0; i < sizeof densities / sizeof *densities; i++)
    if (strcmp(name, densities[i]) == 0) return "log_pdf";
  Suggestion near = {.name = name};
  for (int i = 0; i < FIELD_NAMES; i++) suggestion_consider(&near, field_names[i]);
  return near.best;
}

/* A misspelt field would be a helper that helps nobody. */
static void check_field_names(Compilation *c, const Item *item) {
  bool says_something = false;
  for (int i = 0; i < item->field_count; i++) {
    const Field *f = &item->fields[i];
    bool used = is_field_name(f->name);
    says_something |= used;
    for (int k = i + 1; k < item->field_count && !used; k++) used = expr_mentions(item->fields[k].value, f->name);
    if (used) continue;
    Diagnostic *d = warning_at(c, "unused_field", f->name_span,
                               "`%s` is no field of a distribution, and no field uses it", f->name);
    const char *intended = intended_field(f->name);
    if (intended)
      help_with(d, "did you mean `%s`?", intended);
    else
      help_with(d, "remove it, or `allow unused_field;`");
  }
  if (says_something) return;
  Diagnostic *d = error_at(c, "distribution", item->name_span, "`%s` has neither a density nor a sampler", item->name);
  help_with(d, "write `log_pdf = VALUE;` between its braces, or `log_kernel = VALUE;` without its normaliser");
}

static void check_one(Elaborator *e, const Item *item) {
  bool distribution = item->kind == ITEM_DISTRIBUTION;
  if (distribution && item->has_block) check_field_names(e->c, item);
  if (!distribution && !all_typed(&item->formals)) return;
  Scope *scope = scope_new(e, NULL);
  invent_dims(e, &item->formals, scope);
  invent_dims(e, &item->extra, scope);
  Frame frame = enter_callee(e, scope, false, item->name);
  /* The type of the event may mention parameters. */
  for (int i = 0; i < item->extra.count; i++) {
    const Formal *f = &item->extra.items[i];
    if (is_subset_size(item, f->name)) scope_bind(e, scope, f->name, value_number(1), f->span);
  }
  if (stand_ins(e, &item->extra, scope) && stand_ins(e, &item->formals, scope)) {
    if (distribution && item->has_block)
      check_fields(e, item, scope);
    else if (item->has_block || item->kind == ITEM_LAYER)
      run_block(e, &item->block);
    else if (item->expr)
      elaborate(e, item->expr);
  }
  leave_callee(e, frame);
}

/* Names in the patterns of a rule stand for parameters of the families they are written in. */
static bool bind_patterns(Elaborator *e, const Expr *x, Scope *scope) {
  bool family = x && x->kind == EXPR_CALL && is_family(e->model, x->name);
  const Item *item = family ? family_of_pattern(e, x) : NULL;
  if (family && !item) return false;
  if (item) {
    invent_dims(e, &item->formals, scope);
    invent_dims(e, &item->extra, scope);
  }
  if (!x) return true;
  if (x->kind == EXPR_NAME && !scope_find(scope, x->name)) { /* beside a distribution: anything that does not vary */
    Formal named = {.name = x->name, .span = x->span};
    return stand_in(e, &named, scope);
  }
  if (!item && (!bind_patterns(e, x->a, scope) || !bind_patterns(e, x->b, scope) || !bind_patterns(e, x->c, scope)))
    return false;
  for (int i = 0; i < x->argument_count; i++) {
    const Expr *argument = x->arguments[i].value;
    if (!item && !bind_patterns(e, argument, scope)) return false;
    if (!item || argument->kind != EXPR_NAME || scope_find(scope, argument->name)) continue;
    Formal named = *formal_of_pattern(item, x, i);
    named.name = argument->name;
    named.span = argument->span;
    if (is_subset_size(item, formal_of_pattern(item, x, i)->name))
      scope_bind(e, scope, named.name, value_number(1), named.span);
    if (!stand_in(e, &named, scope)) return false;
  }
  return true;
}

static int count_families(const Model *m, const Expr *x) {
  if (!x) return 0;
  if (x->kind == EXPR_CALL && is_family(m, x->name)) return 1;
  int count = count_families(m, x->a) + count_families(m, x->b) + count_families(m, x->c);
  for (int i = 0; i < x->argument_count; i++) count += count_families(m, x->arguments[i].value);
  return count;
}

static void check_rule(Elaborator *e, const Item *rule) {
  Scope *scope = scope_new(e, NULL);
  const Expr *pattern = rule->pattern;
  bool kl = strcmp(pattern->name, "kl") == 0, expectation = strcmp(pattern->name, "expect") == 0;
  int wanted = kl ? 2 : 1;
  if (!kl && !expectation) {
    Diagnostic *d = error_at(e->c, "rule", pattern->name_span, "there are no rules for `%s`", pattern->name);
    help_with(d, "rules are kl(q, p) and expect(f(q))");
    return;
  }
  if (pattern->argument_count != wanted) {
    error_at(e->c, "rule", pattern->span, "`%s` takes %s", pattern->name,
             kl ? "two distributions" : "one expression of a distribution");
    return;
  }
  if (expectation && count_families(e->model, pattern->arguments[0].value) != 1) {
    Diagnostic *d =
        error_at(e->c, "rule", pattern->span, "the pattern of an expectation holds one distribution, this %d",
                 count_families(e->model, pattern->arguments[0].value));
    help_with(d, "for example rule expect(abs(normal(m, s))) = ...;");
    return;
  }
  Frame frame = enter_callee(e, scope, false, pattern->name);
  if (bind_patterns(e, pattern, scope)) elaborate(e, rule->expr);
  leave_callee(e, frame);
}

void check_generic(Model *m) {
  Model scratch = *m; /* its own signature: stand-ins and parameters made here are nobody's */
  scratch.signature = (Signature){0};
  scratch.sources = NULL;
  for (int i = 0; i < m->library.count; i++) {
    const Item *item = m->library.items[i];
    if (m->compilation->sources[item->span.source].library) continue;
    Elaborator *e = elaborator_create(&scratch, PROGRAM_TRAIN, 1);
    e->generic = true;
    if (item->kind == ITEM_RULE)
      check_rule(e, item);
    else
      check_one(e, item);
  }
}
