/* objective: the words an objective is made of (log_lik, kl, entropy, elbo, ...) -> IR. Each expectation is one draw
 * from the posterior or a closed form; one value a datum, samples averaged (LANGUAGE rule 27). */
#include "statements.h"

#include <string.h>

/* Of one variable, or of the whole model. */
typedef enum Word {
  WORD_LOG_LIK,
  WORD_KL,
  WORD_KL_EACH,
  WORD_ENTROPY,
  WORD_LOG_PRIOR,
  WORD_LOG_POST,
  WORD_LOG_JOINT,
  WORD_LOG_WEIGHT,
  WORD_ELBO,
  WORD_ENTROPY_ELBO,
  WORD_IWAE,
  WORD_EXPECT,
  WORD_LOG_MARGINAL,
  WORD_COUNT
} Word;

typedef Value OfModel(Elaborator *, const Expr *call, Span); /* call: NULL for a bare name */
static OfModel log_joint, log_weight, elbo_value, entropy_elbo_value, importance_weighted;

static const struct {
  const char *name;
  OfModel *of_model; /* NULL: the word wants the name of a variable */
} words[WORD_COUNT] = {
    [WORD_LOG_LIK] = {"log_lik", NULL},
    [WORD_KL] = {"kl", NULL},
    [WORD_KL_EACH] = {"kl_each", NULL},
    [WORD_ENTROPY] = {"entropy", NULL},
    [WORD_LOG_PRIOR] = {"log_prior", NULL},
    [WORD_LOG_POST] = {"log_post", NULL},
    [WORD_LOG_JOINT] = {"log_joint", log_joint},
    [WORD_LOG_WEIGHT] = {"log_weight", log_weight},
    [WORD_ELBO] = {"elbo", elbo_value},
    [WORD_ENTROPY_ELBO] = {"entropy_elbo", entropy_elbo_value},
    [WORD_IWAE] = {"iwae", importance_weighted},
    [WORD_EXPECT] = {"expect", call_expect},
    [WORD_LOG_MARGINAL] = {"log_marginal", log_marginal},
};

static int find_word(Name name) {
  for (int i = 0; i < WORD_COUNT; i++)
    if (strcmp(words[i].name, name) == 0) return i;
  return -1;
}

bool is_objective_word(Name name) { return find_word(name) >= 0; }

/* ---- statements ------------------------------------------------------------------------------------------------ */

static Item *declared_variable(Elaborator *e, const Item *statement) {
  Item *variable = model_find_declaration(e->model, statement->name);
  const char *keyword = item_keyword(statement->kind);
  if (!variable) {
    Diagnostic *d = error_at(e->c, "unknown-name", statement->name_span, "%s of `%s`, which is not declared", keyword,
                             statement->name);
    Suggestion near = {.name = statement->name};
    for (int i = 0; i < e->model->items.count; i++) {
      ItemKind kind = e->model->items.items[i]->kind;
      if (kind == ITEM_LATENT || kind == ITEM_DATA) suggestion_consider(&near, e->model->items.items[i]->name);
    }
    if (near.best) help_with(d, "did you mean `%s`?", near.best);
    return NULL;
  }
  bool latent =
      variable->kind == ITEM_LATENT || variable->kind == ITEM_PARAM; /* a param with a posterior is a global latent */
  if (may_be_missing(variable)) return variable;
  bool fits = (statement->kind == ITEM_LIKELIHOOD) != latent;
  if (fits) return variable;
  Diagnostic *d = error_at(e->c, "statement", statement->name_span, "a %s is of %s, and `%s` is declared with `%s`",
                           keyword, statement->kind == ITEM_LIKELIHOOD ? "data" : "a latent or a param",
                           statement->name, item_keyword(variable->kind));
  note_at(d, variable->name_span, "`%s` is declared here", statement->name);
  return NULL;
}

static bool variable_type(Elaborator *e, const Item *variable, Support *support, Shape *shape) {
  if (variable->type) return read_support(e, variable->type, support) && read_shape(e, variable->type, shape);
  Value v = model_value(e, (Item *)variable, variable->name_span); /* a let without a type */
  Node *node = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
  if (!node) return false;
  *support = (Support){.facts = node->facts, .name = "a derived value"};
  *shape = visible_shape(&v);
  return true;
}

static bool latent_type_built(Elaborator *e, const Item *latent, const Support *support) {
  if (support->special != SPECIAL_LOWER_TRIANGULAR) return true;
  error_at(e->c, "not-supported", latent->type->span, "a latent of the type `%s` is not supported yet", support->name);
  return false;
}

/* What is said of a param is said once for all data. */
static bool check_global(Elaborator *e, const Value *d, const Item *variable, const Item *statement) {
  const Value **parameters = NULL;
  int count = distribution_parameters(e, d, &parameters, 0);
  for (int i = 0; i < count; i++) {
    if (parameters[i]->kind != VALUE_TENSOR || !(parameters[i]->node->axes & AXIS_DATUM)) continue;
    Diagnostic *x = error_at(e->c, "global", parameters[i]->span,
                             "the %s of param `%s` depends on the datum, and a param is one for all data",
                             item_keyword(statement->kind), variable->name);
    note_at(x, variable->name_span, "`%s` is declared here", variable->name);
    help_with(x, "declare it as a latent, or give the %s parameters that are params", item_keyword(statement->kind));
    return false;
  }
  return true;
}

/* Terms of a param count 1 / rows a datum (rule 9). */
static Value datum_share(Elaborator *e, const Item *variable, Value v, Span span) {
  if (variable->kind != ITEM_PARAM) return v;
  return apply2(e, IR_div, v, value_tensor(build_setting(e->graph, SETTING_TOTAL_ROWS), 0, span), span);
}

Value statement_value(Elaborator *e, Item *statement) {
  Item *variable = declared_variable(e, statement);
  if (!variable) return value_error();
  Support support;
  Shape shape;
  if (!variable_type(e, variable, &support, &shape)) return value_error();
  if (variable->kind == ITEM_LATENT && !latent_type_built(e, variable, &support)) return value_error();
  /* A latent's prior and posterior may both call layers. */
  e->path = statement->kind == ITEM_POSTERIOR
                ? variable->name
                : arena_printf(e->c, "%s.%s", variable->name, item_keyword(statement->kind));
  Value d = elaborate(e, posterior_expression(e, statement));
  if (d.kind == VALUE_ERROR) return d;
  if (statement->kind == ITEM_POSTERIOR && statement->is_point) return expand_to(e, d, &shape, statement->expr->span);
  if (d.kind != VALUE_DISTRIBUTION) {
    error_at(e->c, "not-a-distribution", statement->expr->span, "`%s %s ~` needs a distribution; this is %s",
             item_keyword(statement->kind), statement->name, value_text(e->c, &d));
    return value_error();
  }
  hold_as_vector(e, &d, &support, &shape);
  bool fits = check_distribution_for(e, &d, variable, &support, &shape, item_keyword(statement->kind)) &&
              check_entries_drop(e, variable, &d, &support);
  if (fits && statement->kind == ITEM_POSTERIOR) fits = check_method(e, statement, &d);
  if (fits && variable->kind == ITEM_PARAM) fits = check_global(e, &d, variable, statement);
  return fits ? d : value_error();
}

/* A statement of this kind names no declaration: reported there, and most likely the one that is missing here. */
static bool is_misdirected(const Model *m, ItemKind kind) {
  for (int i = 0; i < m->items.count; i++) {
    const Item *item = m->items.items[i];
    bool candidate = item->kind == kind || (kind == ITEM_POSTERIOR && item->kind == ITEM_INFER);
    if (candidate && !model_find_declaration(m, item->name)) return true;
  }
  return false;
}

Value statement_of(Elaborator *e, ItemKind kind, Name name, Span span) {
  Item *item = model_find(e->model, kind, name);
  if (item) return model_value(e, item, span);
  Item *variable = model_find_declaration(e->model, name);
  if (!variable) {
    error_at(e->c, "unknown-name", span, "nothing here is called `%s`", name);
    return value_error();
  }
  if (kind == ITEM_POSTERIOR && model_inference(e->model, name))
    return inferred_latent(e, variable, span); /* a point */
  if (is_misdirected(e->model, kind)) return value_error();
  Diagnostic *d = error_at(e->c, "missing-statement", variable->name_span, "%s %s has no %s",
                           item_keyword(variable->kind), name, item_keyword(kind));
  bool elsewhere = span.start != variable->name_span.start && span.start != e->model->span.start;
  if (elsewhere) note_at(d, span, "it is needed here");
  help_with(d, "add `%s %s ~ ...;`", item_keyword(kind), name);
  return value_error();
}

bool is_point(const Model *m, Name latent) {
  const Item *posterior = model_find(m, ITEM_POSTERIOR, latent);
  return (posterior && posterior->is_point) || model_inference(m, latent);
}

Value prior_draw(Elaborator *e, const Item *latent, Name noise, unsigned axes, Span span) {
  Support support;
  Shape shape;
  if (!read_support(e, latent->type, &support) || !read_shape(e, latent->type, &shape)) return value_error();
  Value d = statement_of(e, ITEM_PRIOR, latent->name, span);
  if (d.kind != VALUE_DISTRIBUTION) return value_error();
  hold_as_vector(e, &d, &support, &shape);
  Value z = distribution_sample(e, &d, noise, &shape, axes, span);
  return z.kind == VALUE_TENSOR && latent->kind == ITEM_DATA ? known_where_observed(e, latent, &d, z, span) : z;
}

/* What the program "sample" is about. */
static Value draw_of_model(Elaborator *e, const Item *latent, Span span) {
  Support support;
  Shape shape;
  Value z = prior_draw(e, latent, latent->name, AXIS_DATUM, span);
  if (z.kind != VALUE_TENSOR || !read_support(e, latent->type, &support) || !read_shape(e, latent->type, &shape))
    return value_error();
  return z.node->shape.rank > shape.rank ? number_of_vector(e, z, &support, span) : z;
}

Value latent_draw(Elaborator *e, Item *latent, Span span) {
  if (e->program == PROGRAM_SAMPLE && latent->kind != ITEM_PARAM) return draw_of_model(e, latent, span);
  if (model_inference(e->model, latent->name)) return inferred_latent(e, latent, span);
  Support support;
  Shape shape;
  if (!read_support(e, latent->type, &support) || !read_shape(e, latent->type, &shape)) return value_error();
  if (!latent_type_built(e, latent, &support)) return value_error();
  Value d = statement_of(e, ITEM_POSTERIOR, latent->name, span);
  bool partly = latent->kind == ITEM_DATA, known = is_point_where_known(e->model, latent->name);
  if (partly && d.kind == VALUE_TENSOR) return known_where_observed(e, latent, &d, d, span);
  if (d.kind != VALUE_DISTRIBUTION) return d;
  if (partly && known && !posterior_where_missing(e, latent, &d, &d)) {
    const char *what = is_summed_out(e->model, latent->name) ? "summing %s out" : "the score of %s";
    error_at(e->c, "not-supported", d.span, "`%s` is not always missing, and %s is then not supported yet",
             latent->name, arena_printf(e->c, what, distribution_name(&d)));
    return value_error();
  }
  unsigned axes = (latent->kind != ITEM_PARAM ? AXIS_DATUM : 0u) | (e->graph->samples > 1 ? (unsigned)AXIS_SAMPLE : 0u);
  const Value **parameters = NULL;
  int count = distribution_parameters(e, &d, &parameters, 0);
  for (int i = 0; i < count; i++) /* one draw for each member of what it is nested under (rule 6) */
    if (parameters[i]->kind == VALUE_TENSOR) axes |= parameters[i]->node->axes & AXES_SUPPORT;
  Support number = support;
  bool held = hold_as_vector(e, &d, &support, &shape);
  Value z = posterior_draw(e, model_find(e->model, ITEM_POSTERIOR, latent->name), latent, &d, &shape, axes, d.span);
  if (partly && !known && z.kind == VALUE_TENSOR) z = known_where_observed(e, latent, &d, z, span);
  if (!held) return z;
  z = number_of_vector(e, z, &number, span);
  for (int i = 0; i < e->number_count; i++)
    if (z.kind == VALUE_TENSOR && e->numbers[i].number == z.node) e->numbers[i].latent = latent->name;
  return z;
}

/* ---- one expectation each -------------------------------------------------------------------------------------- */

static Item *find_latent(Elaborator *e, Name name, Span span) {
  Item *latent = model_find_declaration(e->model, name);
  bool global = latent && latent->kind == ITEM_PARAM && model_find(e->model, ITEM_POSTERIOR, name);
  if (latent && (is_latent(e->model, latent) || global)) return latent;
  error_at(e->c, "not-a-latent", span, "`%s` is not a latent", name);
  return NULL;
}

/* The shape of a latent as its distribution d sees it. */
static bool latent_shape(Elaborator *e, Name name, const Value *d, Shape *shape) {
  const Item *latent = model_find_declaration(e->model, name);
  Support support;
  if (!read_support(e, latent->type, &support) || !read_shape(e, latent->type, shape)) return false;
  hold_as_vector(e, d, &support, shape);
  return true;
}

Value posterior_mean(Elaborator *e, Name latent, Span span) {
  Item *posterior = model_find(e->model, ITEM_POSTERIOR, latent);
  Value d = posterior ? model_value(e, posterior, span) : value_error();
  Shape shape;
  bool missing = true;
  Frame frame = enter_callee(e, NULL, true, e->path);
  bool known = d.kind == VALUE_DISTRIBUTION && latent_shape(e, latent, &d, &shape);
  leave_callee(e, frame);
  if (!known) return value_error();
  Value mean = distribution_field(e, &d, "mean", NULL, &shape, span, &missing);
  return missing ? value_error() : mean;
}

/* The value of a variable as d sees it. */
static Value value_for(Elaborator *e, Item *variable, const Value *d, Span span) {
  Support support;
  Shape shape;
  bool gaps = may_be_missing(variable) && !is_partly_latent(e->model, variable);
  Value z = gaps ? filled_data(e, variable, span) : model_value(e, variable, span);
  if (z.kind == VALUE_ERROR || !variable->type) return z;
  if (!read_support(e, variable->type, &support) || !read_shape(e, variable->type, &shape)) return value_error();
  return hold_as_vector(e, d, &support, &shape) ? vector_of_number(e, z, span) : z;
}

void report_no_density(Elaborator *e, const Value *d) {
  Diagnostic *x = error_at(e->c, "no-log-pdf", d->span, "%s declares no log_pdf", distribution_name(d));
  if (!d->family) return;
  note_at(x, d->family->name_span, "it is declared here");
  if (!e->c->sources[d->family->name_span.source].library)
    help_with(x, "add `log_pdf = ...;` to its declaration%s",
              has_atoms(d) ? ": the log of an atom's mass at the atom, elsewhere the log density" : "");
}

/* log density of a statement's distribution at its variable, one value an event; per sample. What is missing has none.
 */
static Value log_density_each(Elaborator *e, ItemKind kind, Name name, Span span) {
  Value d = statement_of(e, kind, name, span);
  Item *variable = model_find_declaration(e->model, name);
  if (d.kind == VALUE_ERROR || !variable) return value_error();
  if (d.kind != VALUE_DISTRIBUTION) {
    Diagnostic *x = error_at(e->c, "point-posterior", span,
                             "the posterior of `%s` is a point: it has no density and no entropy", name);
    help_with(x, "`elbo` has log_prior(%s) in place of kl(%s)", name, name);
    return value_error();
  }
  if (kind != ITEM_LIKELIHOOD && has_atoms(&d) && is_relaxed(e->model, name)) {
    Diagnostic *x =
        error_at(e->c, "relaxed-density", span, "`%s` is relaxed, and between the atoms of %s its density says nothing",
                 name, distribution_name(&d));
    help_with(x, "kl(%s) is that of the distribution itself", name);
    return value_error();
  }
  Value z = value_for(e, variable, &d, span);
  if (z.kind == VALUE_ERROR) return z;
  Shape shape = visible_shape(&z);
  bool missing = false, member = false;
  Value v = kind == ITEM_POSTERIOR ? log_density_of_member(e, name, &d, &member) : value_error();
  if (!member) v = distribution_field(e, &d, "log_pdf", &z, &shape, d.span, &missing);
  if (missing) report_no_density(e, &d);
  if (kind == ITEM_LIKELIHOOD && may_be_missing(variable)) v = where_observed(e, variable, v, value_number(0), span);
  return datum_share(e, variable, v, span);
}

Value log_density_of(Elaborator *e, ItemKind kind, Name name, Span span) {
  return sum_all(e, log_density_each(e, kind, name, span), span);
}

/* KL of a latent, one value an event, samples averaged: of a value that is known, minus its log prior. */
static Value kl_each(Elaborator *e, Name name, KlMethod method, Span span) {
  Shape shape;
  Item *latent = find_latent(e, name, span);
  if (!latent) return value_error();
  Value q = statement_of(e, ITEM_POSTERIOR, name, span), p = statement_of(e, ITEM_PRIOR, name, span);
  if (q.kind == VALUE_ERROR || p.kind == VALUE_ERROR) return value_error();
  if (q.kind != VALUE_DISTRIBUTION) {
    Diagnostic *d = error_at(e->c, "point-posterior", span, "kl(%s): the posterior of `%s` is a point", name, name);
    help_with(d, "log_prior(%s) stands in its place", name);
    return value_error();
  }
  if (!latent_shape(e, name, &q, &shape)) return value_error();
  bool partly = latent->kind == ITEM_DATA, whole = !partly || posterior_where_missing(e, latent, &q, &q);
  Value kl = resolve_kl(e, name, &q, &p, &shape, method, span);
  if (whole || kl.kind == VALUE_ERROR) return kl;
  Value known = apply1(e, IR_neg, average_samples(e, log_density_each(e, ITEM_PRIOR, name, span)), span);
  return where_observed(e, latent, known, kl, span);
}

static Value entropy_of(Elaborator *e, Name name, Span span) {
  Shape shape;
  Item *latent = find_latent(e, name, span);
  if (!latent) return value_error();
  Value q = statement_of(e, ITEM_POSTERIOR, name, span);
  if (q.kind == VALUE_ERROR || !latent_shape(e, name, &q, &shape)) return value_error();
  bool missing = true, partly = latent->kind == ITEM_DATA && q.kind == VALUE_DISTRIBUTION;
  bool gaps = partly && !posterior_where_missing(e, latent, &q, &q); /* those that are known have none */
  Value v = value_error();
  if (q.kind == VALUE_DISTRIBUTION) v = distribution_field(e, &q, "entropy", NULL, &shape, span, &missing);
  if (missing && is_relaxed(e->model, name)) {
    v = entropy_by_sum(e, &q, &shape, span, &missing);
    if (missing) {
      error_at(e->c, "kl-rule", span, "there is no closed form of entropy(%s), whose draws are relaxed", name);
      return value_error();
    }
  }
  if (q.kind != VALUE_DISTRIBUTION || missing) {
    /* No closed form: minus the log density at the draw. */
    v = apply1(e, IR_neg, log_density_each(e, ITEM_POSTERIOR, name, span), span);
    if (partly) v = where_observed(e, latent, value_number(0), v, span);
    return average_samples(e, sum_all(e, v, span));
  }
  if (gaps) v = where_observed(e, latent, value_number(0), v, span);
  return datum_share(e, model_find_declaration(e->model, name), average_samples(e, sum_all(e, v, span)), span);
}

/* ---- the sums -------------------------------------------------------------------------------------------------- */

static void add_term(Elaborator *e, Terms *terms, Name name, Value value, Value weight, double sign) {
  terms->items = arena_grow(e->c, terms->items, terms->count, sizeof *terms->items);
  terms->items[terms->count++] = (Term){.name = name, .value = value, .weight = weight, .sign = sign};
}

ElboOptions elbo_defaults(const Model *m) {
  return (ElboOptions){.kl = KL_BEST, .kl_weight = value_number(1), .closed_log_lik = log_lik_is_closed(m)};
}

bool joint_by_default(const Model *m) {
  for (int i = 0; i < m->items.count; i++)
    if (is_latent(m, m->items.items[i]) && is_point(m, m->items.items[i]->name)) return true;
  return false;
}

static Value log_lik_term(Elaborator *e, Name variable, bool closed, Span span) {
  if (closed) return closed_log_lik(e, model_find(e->model, ITEM_LIKELIHOOD, variable), span);
  return average_samples(e, log_density_of(e, ITEM_LIKELIHOOD, variable, span));
}

void elbo_terms(Elaborator *e, const ElboOptions *options, Span span, Terms *terms) {
  const Model *m = e->model;
  int likelihoods = 0;
  for (int i = 0; i < m->items.count; i++) {
    const Item *item = m->items.items[i];
    if (item->kind != ITEM_LIKELIHOOD) continue;
    Name name = intern(e->c, arena_printf(e->c, "log_lik(%s)", item->name));
    add_term(e, terms, name, log_lik_term(e, item->name, options->closed_log_lik, span), value_number(1), 1);
    likelihoods++;
  }
  for (int i = 0; i < m->items.count; i++) {
    const Item *item = m->items.items[i];
    bool map = item->kind == ITEM_PARAM && !model_find(m, ITEM_POSTERIOR, item->name);
    if (!is_latent(m, item) && (item->kind != ITEM_PARAM || !model_find(m, ITEM_PRIOR, item->name))) continue;
    if (map || options->joint || is_point(m, item->name)) {
      Name name = intern(e->c, arena_printf(e->c, "log_prior(%s)", item->name));
      add_term(e, terms, name, average_samples(e, log_density_of(e, ITEM_PRIOR, item->name, span)), value_number(1), 1);
    } else {
      Name name = intern(e->c, arena_printf(e->c, "kl(%s)", item->name));
      Value kl = sum_all(e, kl_each(e, item->name, options->kl, span), span);
      add_term(e, terms, name, datum_share(e, item, kl, span), options->kl_weight, -1);
    }
  }
  if (!likelihoods) {
    Diagnostic *d = error_at(e->c, "no-likelihood", span, "the model has no likelihood, so there is no ELBO");
    help_with(d, "add `likelihood NAME ~ ...;` for the data");
  }
}

static Value total(Elaborator *e, const Terms *terms, Span span) {
  Value sum = value_number(0);
  for (int i = 0; i < terms->count; i++) {
    Value v = apply2(e, IR_mul, terms->items[i].weight, terms->items[i].value, span);
    sum = apply2(e, terms->items[i].sign < 0 ? IR_sub : IR_add, sum, v, span);
  }
  return sum;
}

Value sum_densities(Elaborator *e, ItemKind kind, Span span) {
  Value sum = value_number(0);
  for (int i = 0; i < e->model->items.count; i++) {
    const Item *item = e->model->items.items[i];
    if (item->kind != kind) continue;
    const Item *variable = model_find_declaration(e->model, item->name);
    Value v = log_density_each(e, kind, item->name, span);
    if (kind == ITEM_POSTERIOR && variable && variable->kind == ITEM_DATA) /* a known value was not drawn */
      v = where_observed(e, variable, value_number(0), v, span);
    sum = apply2(e, IR_add, sum, sum_all(e, v, span), span);
  }
  return sum;
}

void warn_of_no_density(Elaborator *e, const char *word, Span span) {
  if ((!e->describe && e->program != PROGRAM_MEASURE) || e->model->checked) return;
  for (int i = 0; i < e->model->items.count; i++) {
    Item *item = e->model->items.items[i];
    Item *variable = item->kind == ITEM_LIKELIHOOD ? model_find(e->model, ITEM_DATA, item->name) : NULL;
    Value d = variable ? statement_value(e, item) : value_error();
    Support declared, own, extended;
    if (d.kind != VALUE_DISTRIBUTION || !read_support(e, variable->type, &declared) ||
        !distribution_support(e, &d, &own, &extended) || facts_within(&extended.facts, &own.facts) ||
        facts_within(&declared.facts, &own.facts))
      continue;
    Diagnostic *x = warning_at(e->c, "no_density", span,
                               "%s takes densities, and %s is none at `%s` between its values: there it is an expected "
                               "log-probability",
                               word, distribution_name(&d), item->name);
    note_at(x, variable->type->span, "`%s` is declared %s here", item->name, declared.name);
    help_with(x, "take %s values (`draw b : %s ~ ...;`), or `allow no_density;`", own.name, own.name);
  }
}

static Value log_weight(Elaborator *e, const Expr *call, Span span) {
  if (!check_options(e, call, "", false)) return value_error();
  for (int i = 0; i < e->model->items.count; i++) {
    const Item *item = e->model->items.items[i];
    bool latent = is_latent(e->model, item);
    if (latent && is_point(e->model, item->name)) {
      error_at(e->c, "point-posterior", span, "log_weight: the posterior of `%s` is a point", item->name);
      return value_error();
    }
    if (latent && is_summed_out(e->model, item->name)) {
      Diagnostic *d =
          error_at(e->c, "exact-weight", span, "log_weight: `%s` is summed out, and has no draws to weigh", item->name);
      help_with(d, "its exact expectation is in `elbo`");
      return value_error();
    }
    if (latent && is_relaxed(e->model, item->name)) {
      Diagnostic *d =
          error_at(e->c, "relaxed-weight", span,
                   "log_weight: `%s` is relaxed in training, where its draws are none of its posterior", item->name);
      help_with(d, "an ELBO of relaxed draws is `elbo`, whose kl is that of the distribution itself");
      return value_error();
    }
    if (item->kind == ITEM_PARAM && model_find(e->model, ITEM_POSTERIOR, item->name)) {
      error_at(e->c, "not-supported", span, "log_weight with a posterior on the param `%s` is not supported yet",
               item->name);
      return value_error();
    }
  }
  warn_of_no_density(e, "log_weight", span);
  Value joint = apply2(e, IR_add, sum_densities(e, ITEM_LIKELIHOOD, span), sum_densities(e, ITEM_PRIOR, span), span);
  return apply2(e, IR_sub, joint, sum_densities(e, ITEM_POSTERIOR, span), span);
}

/* The log of the samples' mean weight (Burda et al. 2016); count_samples has read how many. */
static Value importance_weighted(Elaborator *e, const Expr *call, Span span) {
  if (!check_options(e, call, "samples", false)) return value_error();
  return log_mean_over_samples(e, log_weight(e, NULL, span));
}

/* closed or monte_carlo */
static bool read_log_lik(Elaborator *e, const Argument *a, bool *closed) {
  *closed = a->value->kind == EXPR_NAME && strcmp(a->value->name, "closed") == 0;
  if (*closed || (a->value->kind == EXPR_NAME && strcmp(a->value->name, "monte_carlo") == 0)) return true;
  error_at(e->c, "argument", a->value->span, "%s is closed or monte_carlo", a->name);
  return false;
}

static bool elbo_options(Elaborator *e, const Expr *call, ElboOptions *options) {
  *options = elbo_defaults(e->model);
  options->closed_log_lik = false;
  if (!check_options(e, call, "kl_weight, kl, log_lik, samples", false)) return false;
  for (int i = 0; call && i < call->argument_count; i++) {
    const Argument *a = &call->arguments[i];
    if (strcmp(a->name, "kl_weight") == 0) {
      options->kl_weight = elaborate(e, a->value);
      if (options->kl_weight.kind == VALUE_ERROR) return false;
    }
    if (strcmp(a->name, "kl") == 0 && !read_kl_method(e, a, &options->kl)) return false;
    if (strcmp(a->name, "log_lik") == 0 && !read_log_lik(e, a, &options->closed_log_lik)) return false;
    /* samples: count_samples has read it */
  }
  return true;
}

static Name variable_name(Elaborator *e, const Expr *call) {
  if (call->argument_count > 0 && !call->arguments[0].name && call->arguments[0].value->kind == EXPR_NAME) {
    Name name = call->arguments[0].value->name;
    const Item *item = e->model_visible && !scope_find(e->scope, name) ? model_find_declaration(e->model, name) : NULL;
    bool derived = item && (item->kind == ITEM_LET || item->kind == ITEM_SCHEDULE); /* may be a distribution */
    if (item && (!derived || model_find(e->model, ITEM_LIKELIHOOD, name))) return name;
  }
  return NULL;
}

/* A Cholesky factor has a dim more than the event. */
static int dims_beyond_event(const Value *d, int parameter) {
  const TypeExpr *type = d->family ? d->family->extra.items[parameter].type : NULL;
  int more = type ? type_rank(type) - event_rank(d) : 0;
  return more > 0 ? more : 0;
}

/* kl(d, e) and entropy(d) of distributions. */
static Value of_distributions(Elaborator *e, Word word, const Expr *call) {
  Value d[2] = {value_error(), value_error()};
  int wanted = word == WORD_KL ? 2 : 1;
  if (call->argument_count == 1 && !call->arguments[0].name && call->arguments[0].value->kind == EXPR_NAME &&
      word != WORD_ENTROPY) {
    Value v =
        lookup(e, call->arguments[0].value->name, call->arguments[0].value->span); /* no variable: mostly unknown */
    if (v.kind == VALUE_ERROR) return v;
  }
  if ((word != WORD_KL && word != WORD_ENTROPY) || call->argument_count != wanted) {
    Diagnostic *x = error_at(e->c, "argument", call->span, "%s takes the name of a variable%s", call->name,
                             word == WORD_KL        ? " or two distributions"
                             : word == WORD_ENTROPY ? " or a distribution"
                                                    : "");
    help_with(x, "for example %s(z)", call->name);
    return value_error();
  }
  Shape shape = {0};
  for (int i = 0; i < wanted; i++) {
    d[i] = elaborate(e, call->arguments[i].value);
    if (d[i].kind == VALUE_ERROR) return value_error();
    if (d[i].kind != VALUE_DISTRIBUTION) {
      error_at(e->c, "not-a-distribution", call->arguments[i].value->span,
               "%s needs a distribution or a variable; this is %s", call->name, value_text(e->c, &d[i]));
      return value_error();
    }
    for (int k = 0; k < d[i].count; k++) {
      if (d[i].elements[k].kind != VALUE_TENSOR) continue;
      Shape own = visible_shape(&d[i].elements[k]);
      own.rank -= dims_beyond_event(&d[i], k);
      if (own.rank > shape.rank) shape = own;
    }
  }
  for (int i = 0; i < wanted; i++)
    if (event_rank(&d[i]) > shape.rank) {
      error_at(e->c, "shape", call->arguments[i].value->span,
               "%s is a distribution over events whose size cannot be told from its parameters", d[i].family->name);
      return value_error();
    }
  if (word == WORD_KL) return resolve_kl(e, NULL, &d[0], &d[1], &shape, KL_BEST, call->span);
  bool missing;
  Value v = distribution_field(e, &d[0], "entropy", NULL, &shape, call->span, &missing);
  if (missing)
    error_at(e->c, "kl-rule", call->span, "there is no closed form of entropy(%s)", distribution_name(&d[0]));
  return v;
}

static Value log_joint(Elaborator *e, const Expr *call, Span span) {
  if (!check_options(e, call, "", false)) return value_error();
  Value joint = apply2(e, IR_add, sum_densities(e, ITEM_LIKELIHOOD, span), sum_densities(e, ITEM_PRIOR, span), span);
  return average_samples(e, joint);
}

static Value elbo_value(Elaborator *e, const Expr *call, Span span) {
  ElboOptions options;
  Terms terms = {0};
  if (!elbo_options(e, call, &options)) return value_error();
  elbo_terms(e, &options, span, &terms);
  return total(e, &terms, span);
}

static Value entropy_elbo_value(Elaborator *e, const Expr *call, Span span) {
  Terms terms = {0};
  return entropy_terms(e, call, span, &terms) ? total(e, &terms, span) : value_error();
}

Value call_objective_word(Elaborator *e, Name name, const Expr *call, Span span) {
  Word word = (Word)find_word(name);
  if (words[word].of_model) return words[word].of_model(e, call, span);
  if (!call) {
    Diagnostic *d = error_at(e->c, "argument", span, "%s needs the name of a variable", name);
    help_with(d, "for example %s(%s)", name, word == WORD_LOG_LIK ? "x" : "z");
    return value_error();
  }
  Name variable = variable_name(e, call);
  if (!variable) return of_distributions(e, word, call);
  const Argument *how = find_argument(call, "method");
  KlMethod method = KL_BEST;
  if (word == WORD_LOG_LIK) {
    bool closed = false;
    if (how && !read_log_lik(e, how, &closed)) return value_error();
    return log_lik_term(e, variable, closed, span);
  }
  if (how && !read_kl_method(e, how, &method)) return value_error();
  if (word == WORD_LOG_PRIOR) return average_samples(e, log_density_of(e, ITEM_PRIOR, variable, span));
  if (word == WORD_LOG_POST) return average_samples(e, log_density_of(e, ITEM_POSTERIOR, variable, span));
  if (word == WORD_ENTROPY) return entropy_of(e, variable, span);
  Value each = datum_share(e, model_find_declaration(e->model, variable), kl_each(e, variable, method, span), span);
  each.span = span;
  return word == WORD_KL ? sum_all(e, each, span) : each;
}

void objective_terms(Elaborator *e, const Expr *x, double sign, Terms *terms) {
  if (x->kind == EXPR_BINARY && (x->operation == OP_ADD || x->operation == OP_SUBTRACT)) {
    objective_terms(e, x->a, sign, terms);
    objective_terms(e, x->b, x->operation == OP_ADD ? sign : -sign, terms);
    return;
  }
  if (x->kind == EXPR_UNARY && x->operation == OP_NEGATE) {
    objective_terms(e, x->a, -sign, terms);
    return;
  }
  bool word = (x->kind == EXPR_NAME || x->kind == EXPR_CALL) && !model_find_declaration(e->model, x->name);
  bool elbo = word && strcmp(x->name, "elbo") == 0, entropy = word && strcmp(x->name, "entropy_elbo") == 0;
  if (elbo || entropy) {
    const Expr *call = x->kind == EXPR_CALL ? x : NULL;
    ElboOptions options;
    int before = terms->count;
    if (entropy && !entropy_terms(e, call, x->span, terms)) return;
    if (elbo && !elbo_options(e, call, &options)) return;
    if (elbo) elbo_terms(e, &options, x->span, terms);
    for (int i = before; i < terms->count; i++) terms->items[i].sign *= sign;
    return;
  }
  Value v = elaborate(e, x);
  v.span = x->span;
  add_term(e, terms, intern(e->c, span_text(e->c, x->span)), v, value_number(1), sign);
}
