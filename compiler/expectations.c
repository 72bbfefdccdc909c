/* expectations: E[f(z)] in closed form -> IR, by the `rule expect(...)` of the spec and the library and the moments
 * that z's distribution declares. An expression is taken apart as far as expectations are linear; what is left of it
 * must be z itself, the square of something affine in z, or what a rule's pattern says. Used by expect(...) in an
 * objective, and for the KL of a pair without a rule of its own, whose log_pdf is taken apart. */
#include "kl.h"

#include <string.h>

typedef struct Expectation {
  Elaborator *e;
  Name z; /* what the variable is called where the expression stands; NULL: it is `leaf`, a distribution */
  const Expr *leaf;
  const Value *d;      /* its distribution */
  const Item *family;  /* names stand for its helper fields; NULL: for the model's lets */
  const Field *before; /* the field that is taken apart: helpers stand before it */
  Name latent;         /* whose draw nothing else may depend on, or NULL */
  Shape shape;         /* of the variable, as seen */
  Span span;
  const Expr *stuck; /* what has no expectation */
  Text rules;        /* those that were used */
} Expectation;

static Value expected(Expectation *p, const Expr *x);

/* ---- what is random -------------------------------------------------------------------------------------------- */

/* What a name stands for: a helper field or a let; NULL for anything else. */
static const Expr *definition(const Expectation *p, Name name) {
  for (const Field *f = p->family ? p->family->fields : NULL; f && f < p->before; f++)
    if (f->name == name && !f->has_head) return f->value;
  if (p->family || scope_find(p->e->scope, name)) return NULL;
  const Item *let = model_find_declaration(p->e->model, name);
  return let && let->kind == ITEM_LET ? let->expr : NULL;
}

static bool is_random(const Expectation *p, const Expr *x, int depth) {
  if (!x || depth > 60) return false;
  if (x == p->leaf || (x->kind == EXPR_NAME && p->z && x->name == p->z)) return true;
  if (x->kind == EXPR_NAME) return is_random(p, definition(p, x->name), depth + 1);
  for (int i = 0; i < x->argument_count; i++)
    if (is_random(p, x->arguments[i].value, depth + 1)) return true;
  for (int i = 0; i < x->element_count; i++)
    if (is_random(p, x->elements[i], depth + 1)) return true;
  return is_random(p, x->a, depth + 1) || is_random(p, x->b, depth + 1) || is_random(p, x->c, depth + 1);
}

static bool varies(const Expectation *p, const Expr *x) { return is_random(p, x, 0); }

static Value stuck_at(Expectation *p, const Expr *x) {
  if (!p->stuck) p->stuck = x;
  return value_error();
}

/* What does not vary; it may not depend on the draw in a way that its text does not show. */
static Value constant_part(Expectation *p, const Expr *x) {
  Value v = elaborate(p->e, x);
  if (v.kind == VALUE_TENSOR && p->latent && depends_on_draw(p->e, v.node, p->latent)) return stuck_at(p, x);
  return v;
}

/* ---- rules ----------------------------------------------------------------------------------------------------- */

typedef struct Match { /* names of the pattern and what they stand for */
  Formal formals[24];
  Value values[24];
  int count;
} Match;
enum { MOST_MATCHED = 24 };

static bool matches(Expectation *p, const Expr *pattern, const Expr *x, Match *m);

static bool matches_binary(Expectation *p, const Expr *pattern, const Expr *x, Match *m) {
  int before = m->count;
  if (pattern->operation != x->operation) return false;
  if (matches(p, pattern->a, x->a, m) && matches(p, pattern->b, x->b, m)) return true;
  m->count = before;
  bool either = x->operation == OP_ADD || x->operation == OP_MULTIPLY;
  return either && matches(p, pattern->a, x->b, m) && matches(p, pattern->b, x->a, m);
}

static bool matches_name(Expectation *p, const Expr *pattern, const Expr *x, Match *m) {
  if (varies(p, x) || m->count == MOST_MATCHED) return false;
  Value v = constant_part(p, x);
  if (v.kind == VALUE_ERROR) return false;
  m->formals[m->count] = (Formal){.name = pattern->name, .span = pattern->span};
  m->values[m->count++] = v;
  return true;
}

static bool matches(Expectation *p, const Expr *pattern, const Expr *x, Match *m) {
  if (pattern->kind == EXPR_NAME) return matches_name(p, pattern, x, m);
  bool is_variable = x == p->leaf || (x->kind == EXPR_NAME && p->z && x->name == p->z);
  if (pattern->kind == EXPR_CALL && is_family(p->e->model, pattern->name))
    return is_variable && m->count + p->d->count <= MOST_MATCHED &&
           match_distribution(p->e, pattern, p->d, m->formals, m->values, &m->count);
  if (x->kind == EXPR_NAME && !is_variable && definition(p, x->name))
    return matches(p, pattern, definition(p, x->name), m);
  if (pattern->kind != x->kind) return false;
  if (pattern->kind == EXPR_NUMBER) return pattern->number == x->number;
  if (pattern->kind == EXPR_UNARY) return pattern->operation == x->operation && matches(p, pattern->a, x->a, m);
  if (pattern->kind == EXPR_BINARY) return matches_binary(p, pattern, x, m);
  if (pattern->kind == EXPR_CONDITIONAL)
    return matches(p, pattern->a, x->a, m) && matches(p, pattern->b, x->b, m) && matches(p, pattern->c, x->c, m);
  if (pattern->kind != EXPR_CALL || pattern->name != x->name || pattern->argument_count != x->argument_count)
    return false;
  for (int i = 0; i < x->argument_count; i++)
    if (pattern->arguments[i].name != x->arguments[i].name ||
        !matches(p, pattern->arguments[i].value, x->arguments[i].value, m))
      return false;
  return true;
}

Value apply_rule(Elaborator *e, const Item *rule, const Formal *formals, Value *values, int count, Span span) {
  const Formal **pointers = arena_array(e->c, const Formal *, count);
  for (int i = 0; i < count; i++) pointers[i] = &formals[i];
  Scope *scope = scope_new(e, NULL);
  int context = e->context_count;
  Value result = value_error();
  if (map_arguments(e, pointers, values, count, true, scope, span)) {
    Frame frame = enter_callee(e, scope, false, e->path);
    enter_site(e, span);
    result = elaborate(e, rule->expr);
    leave_callee(e, frame);
  }
  e->context_count = context;
  return unmap(e, result, context);
}

static bool is_expect_rule(const Item *rule) {
  return rule->kind == ITEM_RULE && strcmp(rule->pattern->name, "expect") == 0 && rule->pattern->argument_count == 1;
}

static void remember(Expectation *p, const Item *rule) {
  Model *m = p->e->model;
  const char *pattern = span_text(p->e->c, rule->pattern->span);
  if (!p->rules.length || !strstr(p->rules.bytes, pattern))
    text_append(&p->rules, "%srule %s", p->rules.length ? ", " : "", pattern);
  for (int i = 0; i < m->used_rule_count; i++)
    if (m->used_rules[i] == rule) return;
  m->used_rules = arena_grow(p->e->c, m->used_rules, m->used_rule_count, sizeof *m->used_rules);
  m->used_rules[m->used_rule_count++] = rule;
}

static bool by_rule(Expectation *p, const Expr *x, Value *result) {
  const Model *m = p->e->model;
  for (int i = 0; i < m->library.count; i++) {
    const Item *rule = m->library.items[i];
    Match match = {.count = 0};
    if (!is_expect_rule(rule) || !matches(p, rule->pattern->arguments[0].value, x, &match)) continue;
    remember(p, rule);
    *result = apply_rule(p->e, rule, match.formals, match.values, match.count, p->span);
    return true;
  }
  return false;
}

/* ---- moments --------------------------------------------------------------------------------------------------- */

static Value moment(Expectation *p, const char *field, const Expr *x) {
  bool missing;
  Value v = distribution_field(p->e, p->d, field, NULL, &p->shape, p->span, &missing);
  return missing ? stuck_at(p, x) : v;
}

/* The slope of something affine in z; false if it is not. */
static bool affine(Expectation *p, const Expr *x, Value *slope) {
  Elaborator *e = p->e;
  Value a, b;
  *slope = value_number(0);
  if (!varies(p, x)) return true;
  if (x == p->leaf || (x->kind == EXPR_NAME && p->z && x->name == p->z)) {
    *slope = value_number(1);
    return true;
  }
  if (x->kind == EXPR_NAME) return affine(p, definition(p, x->name), slope);
  if (x->kind == EXPR_UNARY && x->operation == OP_NEGATE && affine(p, x->a, &a)) {
    *slope = apply1(e, IR_neg, a, p->span);
    return true;
  }
  if (x->kind != EXPR_BINARY || !affine(p, x->a, &a) || !affine(p, x->b, &b)) return false;
  bool left = varies(p, x->a), right = varies(p, x->b);
  if (x->operation == OP_ADD || x->operation == OP_SUBTRACT) {
    *slope = apply2(e, x->operation == OP_ADD ? IR_add : IR_sub, a, b, p->span);
    return true;
  }
  if (x->operation == OP_MULTIPLY && left != right) {
    *slope = apply2(e, IR_mul, left ? a : b, constant_part(p, left ? x->b : x->a), p->span);
    return slope->kind != VALUE_ERROR;
  }
  if (x->operation != OP_DIVIDE || right) return false;
  *slope = apply2(e, IR_div, a, constant_part(p, x->b), p->span);
  return slope->kind != VALUE_ERROR;
}

static bool is_square(const Expr *x) {
  return x->kind == EXPR_BINARY && x->operation == OP_POWER && x->b->kind == EXPR_NUMBER && x->b->number == 2;
}

/* E[y^2] = E[y]^2 + slope^2 variance */
static Value expected_square(Expectation *p, const Expr *x) {
  Value slope;
  if (!affine(p, x->a, &slope)) return stuck_at(p, x);
  Value mean = expected(p, x->a), variance = moment(p, "variance", x);
  if (mean.kind == VALUE_ERROR || variance.kind == VALUE_ERROR) return value_error();
  Value spread = apply2(p->e, IR_mul, apply2(p->e, IR_mul, slope, slope, p->span), variance, p->span);
  return apply2(p->e, IR_add, apply2(p->e, IR_mul, mean, mean, p->span), spread, p->span);
}

/* ---- what is linear -------------------------------------------------------------------------------------------- */

static Value expected_binary(Expectation *p, const Expr *x) {
  bool left = varies(p, x->a), right = varies(p, x->b);
  bool sum = x->operation == OP_ADD || x->operation == OP_SUBTRACT;
  bool scaled = (x->operation == OP_MULTIPLY && left != right) || (x->operation == OP_DIVIDE && !right);
  if (is_square(x)) return expected_square(p, x);
  if (!sum && !scaled) return stuck_at(p, x);
  Value a = left ? expected(p, x->a) : constant_part(p, x->a), b = p->stuck ? value_error()
                                                                   : right  ? expected(p, x->b)
                                                                            : constant_part(p, x->b);
  if (a.kind == VALUE_ERROR || b.kind == VALUE_ERROR) return value_error();
  Op op = x->operation == OP_ADD        ? IR_add
          : x->operation == OP_SUBTRACT ? IR_sub
          : x->operation == OP_MULTIPLY ? IR_mul
                                        : IR_div;
  return apply2(p->e, op, a, b, p->span);
}

static Value expected(Expectation *p, const Expr *x) {
  Value result;
  if (!varies(p, x)) return constant_part(p, x);
  if (by_rule(p, x, &result)) return result;
  if (x == p->leaf || (x->kind == EXPR_NAME && p->z && x->name == p->z)) return moment(p, "mean", x);
  if (x->kind == EXPR_NAME) return expected(p, definition(p, x->name));
  if (x->kind == EXPR_UNARY && x->operation == OP_NEGATE) {
    result = expected(p, x->a);
    return result.kind == VALUE_ERROR ? result : apply1(p->e, IR_neg, result, p->span);
  }
  if (x->kind == EXPR_CONDITIONAL && !varies(p, x->a)) {
    Value condition = constant_part(p, x->a), a = expected(p, x->b), b = p->stuck ? value_error() : expected(p, x->c);
    if (condition.kind == VALUE_ERROR || a.kind == VALUE_ERROR || b.kind == VALUE_ERROR) return value_error();
    return apply3(p->e, IR_select, condition, a, b, p->span);
  }
  return x->kind == EXPR_BINARY ? expected_binary(p, x) : stuck_at(p, x);
}

/* ---- the KL of a pair without a rule --------------------------------------------------------------------------- */

/* q's parameters beside p's, under names that nobody can write. */
static Name hidden(Elaborator *e, Name name) { return intern(e->c, arena_printf(e->c, "the posterior's %s", name)); }

static Value mapped_distribution(Elaborator *e, const Value *q, Scope *scope) {
  Value mapped = *q;
  mapped.elements = arena_array(e->c, Value, q->count);
  for (int i = 0; i < q->count; i++)
    mapped.elements[i] = scope_find(scope, hidden(e, q->family->extra.items[i].name))->value;
  return mapped;
}

/* Helper fields that do not vary are values like any other. */
static bool bind_constant_helpers(Expectation *p, Scope *scope) {
  for (const Field *f = p->family->fields; f < p->before; f++) {
    if (f->has_head || scope_find(scope, f->name) || !expr_mentions(p->before->value, f->name) || varies(p, f->value))
      continue;
    Value v = elaborate(p->e, f->value);
    if (v.kind == VALUE_ERROR) return false;
    scope_bind(p->e, scope, f->name, v, f->name_span);
  }
  return true;
}

static bool in_scope(Elaborator *e, KlPair *pair, Scope *scope, Value *result) {
  const Item *family = pair->p->family;
  const Field *field = distribution_find_field(family, "log_pdf");
  Value q = mapped_distribution(e, pair->q, scope);
  bool missing;
  Expectation p = {.e = e,
                   .z = family->formals.items[0].name,
                   .d = &q,
                   .family = family,
                   .before = field,
                   .span = pair->span,
                   .rules = {.compilation = e->c}};
  if (!bind_constant_helpers(&p, scope)) return false;
  Value cross = expected(&p, field->value);
  Value entropy = distribution_field(e, &q, "entropy", NULL, &p.shape, pair->span, &missing);
  if (cross.kind == VALUE_ERROR || missing || entropy.kind == VALUE_ERROR) return false;
  *result = apply1(e, IR_neg, apply2(e, IR_add, entropy, cross, pair->span), pair->span);
  pair->rule = field->span;
  pair->how = p.rules.length ? p.rules.bytes : "the posterior's moments";
  return result->kind != VALUE_ERROR;
}

bool kl_by_expectations(Elaborator *e, KlPair *pair, Value *result) {
  const Value *q = pair->q, *p = pair->p;
  Support inner, outer, extended;
  if (q->combinator != COMBINE_NONE || p->combinator != COMBINE_NONE || event_rank(q) > 0 || event_rank(p) > 0)
    return false;
  if (has_atoms(q) || has_atoms(p)) return false;
  if (!distribution_find_field(p->family, "log_pdf") || !distribution_find_field(q->family, "entropy")) return false;
  if (!distribution_support(e, q, &inner, &extended) || !distribution_support(e, p, &outer, &extended) ||
      !facts_within(&inner.facts, &outer.facts))
    return false;
  int count = q->count + p->count, context = e->context_count;
  Formal *formals = arena_array(e->c, Formal, count);
  const Formal **pointers = arena_array(e->c, const Formal *, count);
  Value *values = arena_array(e->c, Value, count);
  for (int i = 0; i < count; i++) {
    const Value *d = i < q->count ? q : p;
    int at = i < q->count ? i : i - q->count;
    formals[i] = d->family->extra.items[at];
    if (d == q) formals[i].name = hidden(e, formals[i].name);
    pointers[i] = &formals[i];
    values[i] = d->elements[at];
  }
  Scope *scope = scope_new(e, NULL);
  bool done = false;
  if (map_arguments(e, pointers, values, count, true, scope, pair->span)) {
    Frame frame = enter_callee(e, scope, false, e->path);
    enter_site(e, pair->span);
    done = in_scope(e, pair, scope, result);
    leave_callee(e, frame);
  }
  e->context_count = context;
  if (done) *result = expand_to(e, unmap(e, *result, context), &pair->shape, pair->span);
  return done && result->kind != VALUE_ERROR;
}

/* ---- expect(e) ------------------------------------------------------------------------------------------------- */

/* The one latent, or else the one distribution, that an expression mentions. */
static bool find_variable(Expectation *p, const Expr *x, int depth) {
  Elaborator *e = p->e;
  if (!x || depth > 60) return true;
  if (x->kind == EXPR_NAME && !scope_find(e->scope, x->name)) {
    const Item *item = model_find_declaration(e->model, x->name);
    const Item *posterior = item ? model_find(e->model, ITEM_POSTERIOR, x->name) : NULL;
    if (item && item->kind == ITEM_LET) return find_variable(p, item->expr, depth + 1);
    if (!posterior) return true;
    if (p->leaf || (p->z && p->z != x->name)) return false;
    p->z = x->name;
    return true;
  }
  if (x->kind == EXPR_CALL && is_family(e->model, x->name)) {
    if (p->z || p->leaf) return false;
    p->leaf = x;
    return true;
  }
  for (int i = 0; i < x->argument_count; i++)
    if (!find_variable(p, x->arguments[i].value, depth + 1)) return false;
  return find_variable(p, x->a, depth + 1) && find_variable(p, x->b, depth + 1) && find_variable(p, x->c, depth + 1);
}

static bool read_variable(Expectation *p, const Expr *x, Value *d) {
  Elaborator *e = p->e;
  if (!find_variable(p, x, 0) || (!p->z && !p->leaf)) {
    Diagnostic *w = error_at(e->c, "argument", p->span, "expect takes an expression of one latent or one distribution");
    help_with(w, "for example expect(abs(z)) or expect(exp(normal(m, s)))");
    return false;
  }
  if (p->leaf) {
    *d = elaborate(e, p->leaf);
    for (int i = 0; d->kind == VALUE_DISTRIBUTION && i < d->count; i++) {
      Shape own = d->elements[i].kind == VALUE_TENSOR ? visible_shape(&d->elements[i]) : (Shape){0};
      if (own.rank > p->shape.rank) p->shape = own;
    }
    return d->kind == VALUE_DISTRIBUTION;
  }
  Item *latent = model_find_declaration(e->model, p->z);
  p->latent = p->z;
  if (!read_shape(e, latent->type, &p->shape)) return false;
  *d = statement_value(e, model_find(e->model, ITEM_POSTERIOR, p->z));
  return d->kind != VALUE_ERROR;
}

static void record(const Expectation *p) {
  Model *m = p->e->model;
  for (int i = 0; i < m->expectation_count; i++)
    if (m->expectations[i].span.source == p->span.source && m->expectations[i].span.start == p->span.start) return;
  const char *rules = p->rules.length ? p->rules.bytes : "its moments";
  m->expectations = arena_grow(p->e->c, m->expectations, m->expectation_count, sizeof *m->expectations);
  m->expectations[m->expectation_count++] = (struct ExpectRecord){p->span, rules};
  text_append(&m->notes, "%s: closed form, by %s\n", span_text(p->e->c, p->span), rules);
}

Value call_expect(Elaborator *e, const Expr *call, Span span) {
  Expectation p = {.e = e, .span = span, .rules = {.compilation = e->c}};
  Value d;
  if (!call || call->argument_count != 1 || call->arguments[0].name) {
    error_at(e->c, "argument", span, "expect takes one expression");
    return value_error();
  }
  const Expr *x = call->arguments[0].value;
  if (!read_variable(&p, x, &d)) return value_error();
  if (d.kind != VALUE_DISTRIBUTION) return elaborate(e, x); /* a point */
  p.d = &d;
  Value v = d.combinator == COMBINE_NONE && event_rank(&d) == 0 ? expected(&p, x) : stuck_at(&p, x);
  if (p.stuck) {
    Diagnostic *w =
        error_at(e->c, "expect-rule", p.stuck->span, "there is no rule for the expectation of `%s` under %s",
                 span_text(e->c, p.stuck->span), distribution_name(&d));
    help_with(w, "declare one, `rule expect(...) = ...;`, or leave `expect` out: then it is taken at the draw");
    return value_error();
  }
  if (v.kind == VALUE_ERROR) return v;
  if (e->describe) record(&p);
  return average_samples(e, expand_to(e, v, &p.shape, span));
}
