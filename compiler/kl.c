/* kl: a posterior and a prior -> their Kullback-Leibler divergence as IR, by the best sound rule: a closed form, an
 * exact sum over a finite support, quadrature, Monte Carlo. The rule that was taken stands in the model's records,
 * which `explain` prints; nothing weaker than what a spec demands is ever taken. */
#include "kl.h"

#include <math.h>
#include <string.h>

/* ---- which rules are sound ------------------------------------------------------------------------------------- */

static bool is_noise_of(Elaborator *e, const Node *node, Name latent) {
  if (node->op != IR_noise && node->op != IR_inner_noise) return false;
  const char *name = e->graph->signature->noises[node->index].name;
  size_t n = strlen(latent);
  return strncmp(name, latent, n) == 0 && name[n] == '.';
}

bool search_noise_of(Elaborator *e, const Node *node, Name latent, bool *seen) {
  if (seen[node->id]) return false;
  seen[node->id] = true;
  if (is_noise_of(e, node, latent)) return true;
  for (int i = 0; node->op == IR_repeat && i < node->body->count; i++)
    if (is_noise_of(e, node->body->nodes[i], latent)) return true;
  for (int i = 0; i < node->operand_count; i++)
    if (search_noise_of(e, node->operands[i], latent, seen)) return true;
  return false;
}

bool depends_on_draw(Elaborator *e, const Node *node, Name latent) {
  return search_noise_of(e, node, latent, arena_array(e->c, bool, e->graph->count));
}

/* Rule 5: only Monte Carlo is sound where the prior mentions a latent whose posterior depends on this one. */
static bool prior_depends_on(Elaborator *e, const Value *prior, Name latent) {
  bool *seen = arena_array(e->c, bool, e->graph->count);
  const Value **parameters = NULL;
  int count = distribution_parameters(e, prior, &parameters, 0);
  const Summed *summed = find_summed(e, latent);
  unsigned members = summed ? (unsigned)AXIS_SUPPORT << summed->axis : 0;
  for (int i = 0; i < count; i++) {
    if (parameters[i]->kind != VALUE_TENSOR) continue;
    if (parameters[i]->node->axes & members || search_noise_of(e, parameters[i]->node, latent, seen)) return true;
  }
  return false;
}

/* ---- nodes along a dim of their own ---------------------------------------------------------------------------- */

enum { LONG_RUN = 16 };

bool node_dim(Elaborator *e, const Shape *shape, int count, NodeDim *nodes) {
  if (shape->rank == MAX_RANK) return false;
  bool in_front = shape->rank > 0 && shape->dims[shape->rank - 1].size >= LONG_RUN;
  nodes->dim = dim_name(e->c, intern(e->c, arena_printf(e->c, "%d nodes", count)), count); /* no name of an author's */
  nodes->at = in_front ? 0 : shape->rank;
  nodes->shape = (Shape){.rank = shape->rank + 1};
  for (int d = 0, from = 0; d < nodes->shape.rank; d++)
    nodes->shape.dims[d] = d == nodes->at ? nodes->dim : shape->dims[from++];
  return true;
}

Value node_table(Elaborator *e, const NodeDim *nodes, const double *values, Span span) {
  Shape line = {.rank = 1, .dims = {nodes->dim}};
  int map[MAX_RANK] = {nodes->at};
  place(e, span);
  return value_tensor(build_expand(e->graph, build_table(e->graph, values, &line), &nodes->shape, map), 0, span);
}

Value sum_nodes(Elaborator *e, const NodeDim *nodes, Value v, Span span) {
  if (v.kind == VALUE_ERROR) return v;
  Node *node = value_node(e, &v);
  place(e, span);
  return value_tensor(build_sum(e->graph, node, 1u << nodes->at), 0, span);
}

/* ---- one rule each --------------------------------------------------------------------------------------------- */

static bool kl_by_rule(Elaborator *e, KlPair *pair, Value *result) {
  bool missing;
  *result = value_error();
  if (!subset_sizes_agree(e, pair)) return true;
  Value v = closed_kl(e, pair->q, pair->p, &pair->shape, pair->span, &missing, &pair->rule);
  if (missing && kl_by_expectations(e, pair, result)) return true;
  pair->why = arena_printf(e->c, "no `rule kl(%s(...), %s(...))` is declared", distribution_name(pair->q),
                           distribution_name(pair->p));
  if (!missing) *result = v;
  return !missing || kl_along_draw(e, pair, result);
}

enum { MOST_VALUES = 256 };

/* All members of a finite support, along a dim of their own: whole numbers, or the one-hot vectors of categories. */
typedef struct Members {
  NodeDim nodes;
  Value z;
  Shape shape; /* of z */
} Members;

static bool list_numbers(Elaborator *e, const Facts *f, const Shape *shape, Span span, Members *m) {
  double values[MOST_VALUES], count = f->high - f->low + 1;
  if (!f->integer || !(count <= MOST_VALUES) || !node_dim(e, shape, (int)count, &m->nodes)) return false;
  for (int i = 0; i < (int)count; i++) values[i] = f->low + i;
  m->z = node_table(e, &m->nodes, values, span);
  m->shape = m->nodes.shape;
  return true;
}

static bool list_categories(Elaborator *e, const Shape *shape, Span span, Members *m) {
  Shape lead = {.rank = shape->rank - 1};
  Dim classes = shape->dims[lead.rank];
  for (int i = 0; i < lead.rank; i++) lead.dims[i] = shape->dims[i];
  if (!(classes.size <= MOST_VALUES) || !node_dim(e, &lead, (int)classes.size, &m->nodes) ||
      m->nodes.shape.rank == MAX_RANK)
    return false;
  m->shape = m->nodes.shape;
  m->shape.dims[m->shape.rank++] = classes;
  place(e, span);
  Shape line = {.rank = 1, .dims = {classes}};
  Node *identity = build_embed_diagonal(e->graph, build_filled(e->graph, 1, &line));
  int map[2] = {m->nodes.at, m->shape.rank - 1};
  m->z = value_tensor(named_as(e, build_expand(e->graph, identity, &m->shape, map), &m->shape), 0, span);
  return true;
}

static bool list_support(Elaborator *e, const Value *d, const Shape *shape, Span span, Members *m) {
  Support support, extended;
  if (!distribution_support(e, d, &support, &extended)) return false;
  if (event_rank(d) == 1 && support.special == SPECIAL_CATEGORY) return list_categories(e, shape, span, m);
  return event_rank(d) == 0 && support.special == SPECIAL_NONE && list_numbers(e, &support.facts, shape, span, m);
}

/* sum over z of exp(log_q) v, a value of probability 0 contributing nothing. */
static Value sum_weighted(Elaborator *e, const NodeDim *nodes, Value log_q, Value v, Span span) {
  Value probability = apply1(e, IR_exp, log_q, span);
  Value possible = apply2(e, IR_less, value_number(0), probability, span);
  Value term = apply3(e, IR_select, possible, apply2(e, IR_mul, probability, v, span), value_number(0), span);
  return sum_nodes(e, nodes, term, span);
}

static bool kl_by_draw(Elaborator *, KlPair *, Value *);

/* sum over z of q(z) (log q(z) - log p(z)). Where the latent is summed out its draws are all there are. */
static bool kl_by_sum(Elaborator *e, KlPair *pair, Value *result) {
  const Summed *summed = pair->latent ? find_summed(e, pair->latent) : NULL;
  if (summed) {
    pair->nodes = (int)e->graph->supports[summed->axis].extent.size;
    return kl_by_draw(e, pair, result);
  }
  Members m;
  Span span = pair->span;
  pair->why = "the support is not finite, or large";
  if (event_rank(pair->p) != event_rank(pair->q) || !list_support(e, pair->q, &pair->shape, span, &m)) return false;
  bool missing_q, missing_p;
  Value log_q = distribution_field(e, pair->q, "log_pdf", &m.z, &m.shape, span, &missing_q);
  Value log_p = distribution_field(e, pair->p, "log_pdf", &m.z, &m.shape, span, &missing_p);
  pair->why = arena_printf(e->c, "%s declares no log_pdf", distribution_name(missing_q ? pair->q : pair->p));
  if (missing_q || missing_p) return false;
  *result = sum_weighted(e, &m.nodes, log_q, apply2(e, IR_sub, log_q, log_p, span), span);
  pair->nodes = (int)m.nodes.dim.size;
  return true;
}

Value entropy_by_sum(Elaborator *e, const Value *q, const Shape *shape, Span span, bool *missing) {
  Members m;
  *missing = !list_support(e, q, shape, span, &m);
  if (*missing) return value_error();
  Value log_q = distribution_field(e, q, "log_pdf", &m.z, &m.shape, span, missing);
  return *missing ? value_error() : apply1(e, IR_neg, sum_weighted(e, &m.nodes, log_q, log_q, span), span);
}

static bool kl_by_draw(Elaborator *e, KlPair *pair, Value *result) {
  pair->why = "two distributions are not drawn here";
  if (!pair->latent) return false;
  pair->why = "its draw is relaxed, and the KL is that of the distribution itself";
  if (is_relaxed(e->model, pair->latent)) return false;
  *result = value_error();
  Value z = model_value(e, model_find_declaration(e->model, pair->latent), pair->span);
  if (z.kind == VALUE_ERROR) return true;
  bool missing[2];
  const Value *pair_of[2] = {pair->q, pair->p};
  Value log_density[2];
  for (int i = 0; i < 2; i++) {
    bool member = false;
    if (i == 0) log_density[i] = log_density_of_member(e, pair->latent, pair->q, &member);
    missing[i] = false;
    if (!member)
      log_density[i] = distribution_field(e, pair_of[i], "log_pdf", &z, &pair->shape, pair_of[i]->span, &missing[i]);
    if (missing[i]) {
      report_no_density(e, pair_of[i]);
      return true;
    }
  }
  *result = log_ratio(e, pair->q, log_density[0], pair->p, log_density[1], pair->span);
  return true;
}

typedef struct RuleText {
  KlRule rule;
  const char *option, *name;
  bool (*take)(Elaborator *, KlPair *, Value *);
} RuleText;

/* Best first. */
static const RuleText rules[] = {
    {KL_RULE_CLOSED, "closed", "closed form", kl_by_rule},
    {KL_RULE_SUM, "sum", "exact sum", kl_by_sum},
    {KL_RULE_QUADRATURE, "quadrature", "quadrature", kl_by_quadrature},
    {KL_RULE_MONTE_CARLO, "monte_carlo", "Monte Carlo", kl_by_draw},
};
enum { RULE_COUNT = sizeof rules / sizeof *rules };

const char *kl_rule_name(KlRule rule) {
  for (int i = 0; i < RULE_COUNT; i++)
    if (rules[i].rule == rule) return rules[i].name;
  return "best";
}

bool read_kl_method(Elaborator *e, const Argument *a, KlMethod *method) {
  const Expr *x = a->value;
  *method = KL_BEST;
  bool named = x->kind == EXPR_NAME || (x->kind == EXPR_CALL && strcmp(x->name, "quadrature") == 0);
  for (int i = 0; named && i < RULE_COUNT; i++)
    if (strcmp(x->name, rules[i].option) == 0) method->rule = rules[i].rule;
  if (method->rule == KL_RULE_BEST) {
    Diagnostic *d = error_at(e->c, "argument", x->span, "`%s` is no way to take a KL", span_text(e->c, x->span));
    help_with(d, "the ways are closed, sum, quadrature, quadrature(NODES) and monte_carlo");
    return false;
  }
  if (x->kind != EXPR_CALL) return true;
  Value v = x->argument_count == 1 && !x->arguments[0].name ? elaborate(e, x->arguments[0].value) : value_error();
  if (v.kind == VALUE_NUMBER && v.dim.size >= 4 && v.dim.size <= 512 && v.dim.size == floor(v.dim.size)) {
    method->nodes = (int)v.dim.size;
    return true;
  }
  error_at(e->c, "argument", x->span, "quadrature(NODES) takes one whole number from 4 to 512");
  return false;
}

/* ---- records and messages -------------------------------------------------------------------------------------- */

static void record(Elaborator *e, const KlPair *pair, KlRule rule, const char *reason) {
  Model *m = e->model;
  if (!e->describe || (!pair->latent && e->c->sources[pair->span.source].library)) return;
  for (int i = 0; i < m->kl_record_count; i++)
    if (m->kl_records[i].latent == pair->latent && m->kl_records[i].span.start == pair->span.start &&
        m->kl_records[i].rule == rule)
      return;
  m->kl_records = arena_grow(e->c, m->kl_records, m->kl_record_count, sizeof *m->kl_records);
  m->kl_records[m->kl_record_count++] = (KlRecord){.latent = pair->latent,
                                                   .posterior = distribution_name(pair->q),
                                                   .prior = distribution_name(pair->p),
                                                   .rule = rule,
                                                   .forced = pair->method.rule != KL_RULE_BEST,
                                                   .span = pair->span,
                                                   .rule_span = pair->rule,
                                                   .nodes = pair->nodes,
                                                   .error = pair->error,
                                                   .how = pair->how,
                                                   .along_draw = pair->along_draw,
                                                   .why = reason};
  if (pair->latent)
    text_append(&m->notes, "kl(%s): %s || %s, %s", pair->latent, distribution_name(pair->q), distribution_name(pair->p),
                kl_rule_name(rule));
  else
    text_append(&m->notes, "kl(%s || %s): %s", distribution_name(pair->q), distribution_name(pair->p),
                kl_rule_name(rule));
  if (rule == KL_RULE_QUADRATURE) {
    text_append(&m->notes, ", %d nodes, %s", pair->nodes, pair->how);
    if (pair->error >= 0) text_append(&m->notes, ", error about %.1g nats", pair->error);
  }
  if (rule == KL_RULE_CLOSED && pair->how) text_append(&m->notes, ", term by term: %s", pair->how);
  if (pair->along_draw) text_append(&m->notes, " along the draw");
  if (rule == KL_RULE_SUM) text_append(&m->notes, " over %d values", pair->nodes);
  if (reason) text_append(&m->notes, pair->method.rule == KL_RULE_BEST ? ": %s" : ", %s", reason);
  text_append(&m->notes, "\n");
}

static const char *pair_text(Elaborator *e, const KlPair *pair) {
  return arena_printf(e->c, "KL(%s || %s)", distribution_name(pair->q), distribution_name(pair->p));
}

/* A spec demands a rule that cannot be had. */
static Value report_refused(Elaborator *e, const KlPair *pair, KlRule rule, bool sound) {
  Diagnostic *d;
  if (!sound) {
    d = error_at(e->c, "kl-rule", pair->span, "%s of %s would be unsound here",
                 rule == KL_RULE_CLOSED ? "a closed form" : kl_rule_name(rule), pair_text(e, pair));
    help_with(d, "the prior of %s mentions a latent whose posterior depends on %s: write kl = monte_carlo",
              pair->latent, pair->latent);
    return value_error();
  }
  if (rule == KL_RULE_CLOSED)
    d = error_at(e->c, "kl-rule", pair->span, "there is no closed form of %s", pair_text(e, pair));
  else
    d = error_at(e->c, rule == KL_RULE_QUADRATURE ? "not-supported" : "kl-rule", pair->span,
                 "%s cannot be taken by %s: %s", pair_text(e, pair), kl_rule_name(rule), pair->why);
  if (rule == KL_RULE_CLOSED)
    help_with(d, "declare one (`rule kl(%s(...), %s(...)) = ...;`) or leave the way to the compiler",
              distribution_name(pair->q), distribution_name(pair->p));
  else if (rule != KL_RULE_MONTE_CARLO)
    help_with(d, "write kl = monte_carlo, or leave the way to the compiler");
  return value_error();
}

static void warn_of_draws(Elaborator *e, const KlPair *pair, const char *reason) {
  if (!e->describe || e->model->checked || !pair->latent) return;
  Diagnostic *d =
      warning_at(e->c, "kl_monte_carlo", pair->span, "kl(%s) is taken by Monte Carlo: %s", pair->latent, reason);
  help_with(d, "if that is meant, write kl = monte_carlo or `allow kl_monte_carlo;`");
}

static void warn_of_coarse(Elaborator *e, const KlPair *pair) {
  if (!e->describe || e->model->checked || !pair->coarse) return;
  Diagnostic *d = warning_at(e->c, "kl_coarse", pair->span, "%s by quadrature is only within %.1g nats%s%s",
                             pair_text(e, pair), pair->error, *pair->coarse ? ", at " : "", pair->coarse);
  help_with(d, "bound the posterior's parameters away from there (softplus(...) + 0.5), or `allow kl_coarse;`");
}

Value resolve_kl(Elaborator *e, Name latent, const Value *q, const Value *p, const Shape *shape, KlMethod method,
                 Span span) {
  KlPair pair = {.latent = latent, .q = q, .p = p, .shape = *shape, .span = span, .method = method, .error = -1};
  bool sound = !latent || !prior_depends_on(e, p, latent);
  const char *reason =
      sound ? NULL : "a closed form would be unsound: the prior mentions a latent whose posterior depends on this one";
  Value result = value_error();
  for (int i = 0; i < RULE_COUNT; i++) {
    const RuleText *rule = &rules[i];
    bool drawn = rule->rule == KL_RULE_MONTE_CARLO, forced = method.rule == rule->rule;
    bool of_draws = drawn || (rule->rule == KL_RULE_SUM && latent && find_summed(e, latent));
    if (method.rule != KL_RULE_BEST && !forced) continue;
    if (drawn && kl_is_infinite(e, &pair)) continue;
    if (!of_draws && !sound) {
      if (forced) return report_refused(e, &pair, rule->rule, false);
      continue;
    }
    if (rule->take(e, &pair, &result)) {
      if (result.kind == VALUE_ERROR) return result;
      if (drawn && !forced) warn_of_draws(e, &pair, reason);
      if (rule->rule == KL_RULE_QUADRATURE) warn_of_coarse(e, &pair);
      record(e, &pair, rule->rule, forced ? "as asked" : drawn ? reason : NULL);
      return average_samples(e, result);
    }
    if (forced) return report_refused(e, &pair, rule->rule, true);
    reason =
        rule->rule == KL_RULE_CLOSED ? pair.why : arena_printf(e->c, "%s; no %s: %s", reason, rule->name, pair.why);
  }
  const char *text = latent ? arena_printf(e->c, "kl(%s), %s", latent, pair_text(e, &pair)) : pair_text(e, &pair);
  Diagnostic *d = error_at(e->c, "kl-rule", span, "there is no rule for %s", text);
  const char *infinite = kl_is_infinite(e, &pair);
  if (infinite)
    help_with(d, "%s: give the prior that atom, too, or take a posterior without it", infinite);
  else if (sound)
    help_with(d, "%s: declare `rule kl(%s(...), %s(...)) = VALUE;`", reason, distribution_name(q),
              distribution_name(p));
  else
    help_with(d, "%s", reason);
  return value_error();
}
