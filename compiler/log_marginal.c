/* log_marginal(samples = S): an estimate of log p(x) for evaluation -> IR (LANGUAGE rule 32). Where latents are drawn,
 * the log mean of importance weights. Where they are summed out, the sum over their supports, exact, and what lies off
 * them by draws from the prior, those that fall on the supports counting nothing: together without bias. Where a model
 * has latents of both kinds, each member of the supports is walked in turn, with importance draws of its own. Draws are
 * made one after the other in a loop, so that memory does not grow with their number. */
#include "statements.h"

#include <math.h>
#include <string.h>

static const double NOTHING = -1e30; /* the log of 0 */

typedef struct Marginal {
  Elaborator *e;
  Span span;
  int summed, drawn; /* latents */
  long members;      /* of latents of both kinds: how often the supports are walked for one draw of each */
} Marginal;

bool is_measured_only(const Expr *x) {
  static const char word[] = "log_marginal";
  if (!x) return false;
  if ((x->kind == EXPR_NAME || x->kind == EXPR_CALL) && strcmp(x->name, word) == 0) return true;
  for (int i = 0; i < x->argument_count; i++)
    if (is_measured_only(x->arguments[i].value)) return true;
  for (int i = 0; i < x->element_count; i++)
    if (is_measured_only(x->elements[i])) return true;
  return is_measured_only(x->a) || is_measured_only(x->b) || is_measured_only(x->c);
}

bool has_measured_only(const Model *m) {
  for (int i = 0; i < m->items.count; i++)
    if (m->items.items[i]->kind == ITEM_METRIC && is_measured_only(m->items.items[i]->expr)) return true;
  return false;
}

/* ---- is the model one of those? -------------------------------------------------------------------------------- */

static bool refused(Marginal *m, const Item *item) {
  Elaborator *e = m->e;
  if (item->kind == ITEM_PARAM && model_find(e->model, ITEM_POSTERIOR, item->name)) {
    error_at(e->c, "not-supported", m->span, "log_marginal with a posterior on the param `%s` is not supported yet",
             item->name);
    return true;
  }
  if (item->kind == ITEM_DATA && is_partly_latent(e->model, item)) {
    error_at(e->c, "not-supported", m->span, "log_marginal where `%s` is latent on some rows is not supported yet",
             item->name);
    return true;
  }
  if (item->kind != ITEM_LATENT) return false;
  if (is_point(e->model, item->name)) {
    Diagnostic *d =
        error_at(e->c, "point-posterior", m->span, "log_marginal: the posterior of `%s` is a point", item->name);
    help_with(d, "it has neither draws to weigh nor a support to sum over");
    return true;
  }
  *(is_summed_out(e->model, item->name) ? &m->summed : &m->drawn) += 1;
  return false;
}

static bool check_latents(Marginal *m) {
  const Model *model = m->e->model;
  for (int i = 0; i < model->items.count; i++)
    if (refused(m, model->items.items[i])) return false;
  return true;
}

static bool read_rounds(Marginal *m, const Expr *call, long *rounds) {
  Elaborator *e = m->e;
  bool one =
      call && call->argument_count == 1 && call->arguments[0].name && strcmp(call->arguments[0].name, "samples") == 0;
  Value v = one ? elaborate(e, call->arguments[0].value) : value_error();
  if (v.kind == VALUE_NUMBER && v.dim.size >= 1 && v.dim.size <= MOST_INNER_STEPS && v.dim.size == floor(v.dim.size)) {
    *rounds = ((long)v.dim.size + e->graph->samples - 1) / e->graph->samples;
    return true;
  }
  if (one && v.kind == VALUE_ERROR) return false;
  Diagnostic *d = error_at(e->c, "argument", m->span, "log_marginal takes `samples`, a whole number from 1 to %d",
                           MOST_INNER_STEPS);
  help_with(d, "for example log_marginal(samples = 1024)");
  return false;
}

/* ---- small sums of logarithms ---------------------------------------------------------------------------------- */

static Node *number_like(Elaborator *e, double value, const Node *like) {
  return build_filled(e->graph, value, &like->shape);
}

/* log(exp(a) + exp(b)) */
static Node *log_add(Elaborator *e, Node *a, Node *b) {
  Graph *g = e->graph;
  Node *apart = build_map1(g, IR_neg, build_map1(g, IR_abs, build_map2(g, IR_sub, a, b)));
  return build_map2(g, IR_add, build_map2(g, IR_max, a, b), build_map1(g, IR_log1p, build_map1(g, IR_exp, apart)));
}

/* log of the sum of exp(x) along the only dim. */
static Node *log_sum(Elaborator *e, Node *x) {
  Graph *g = e->graph;
  Node *top = build_max_of(g, x, 1u);
  Node *below = build_map2(g, IR_sub, x, build_expand(g, top, &x->shape, (int[]){0}));
  return build_map2(g, IR_add, top, build_map1(g, IR_log, build_sum(g, build_map1(g, IR_exp, below), 1u)));
}

/* ---- the supports ---------------------------------------------------------------------------------------------- */

/* [members]: 1 for those that have a weight; NULL: all have. */
static Node *on_support(Elaborator *e, const Summed *s) {
  Node *weights = e->graph->supports[s->axis].weights;
  return weights ? build_map2(e->graph, IR_not_equal, weights, number_like(e, 0, weights)) : NULL;
}

typedef enum Which { SUMMED = 1, DRAWN = 2 } Which;

/* The log densities of latents: a prior of a param is no part of log p(x). */
static Value densities(Marginal *m, ItemKind kind, unsigned which) {
  Elaborator *e = m->e;
  Value sum = value_number(0);
  for (int i = 0; i < e->model->items.count; i++) {
    const Item *item = e->model->items.items[i];
    if (item->kind != ITEM_LATENT || !(which & (is_summed_out(e->model, item->name) ? SUMMED : DRAWN))) continue;
    sum = apply2(e, IR_add, sum, log_density_of(e, kind, item->name, m->span), m->span);
  }
  return sum;
}

/* log p(x, z), or of what is given: of latents that are drawn it is taken off by what. */
static Value log_joint(Marginal *m, unsigned priors) {
  Elaborator *e = m->e;
  Value sum = apply2(e, IR_add, sum_densities(e, ITEM_LIKELIHOOD, m->span), densities(m, ITEM_PRIOR, priors), m->span);
  return apply2(e, IR_sub, sum, densities(m, ITEM_POSTERIOR, DRAWN), m->span);
}

/* The log of the sum over all supports of p(x, z); NULL after reporting. */
static Node *over_supports(Marginal *m) {
  Elaborator *e = m->e;
  Value joint = log_joint(m, SUMMED);
  Node *sum = joint.kind == VALUE_ERROR ? NULL : value_node(e, &joint);
  place(e, m->span);
  for (int i = e->summed_count - 1; sum && i >= 0; i--) {
    const Summed *s = &e->summed[i];
    if (s->axis < 0 || !(sum->axes & (unsigned)AXIS_SUPPORT << s->axis)) continue;
    Node *lines = build_place(e->graph, sum, s->axis), *on = on_support(e, s);
    if (on) lines = build_map3(e->graph, IR_select, on, lines, number_like(e, NOTHING, lines));
    sum = log_sum(e, lines);
  }
  return sum;
}

/* 1 where the value z is one of the members that have a weight. */
static Node *falls_on(Elaborator *e, const Summed *s, Node *z) {
  Graph *g = e->graph;
  int map[MAX_RANK];
  for (int d = 0; d < z->shape.rank; d++) map[d] = d + 1;
  Node *wide = build_expand(g, z, &s->table->shape, map);
  Node *differ = build_sum(g, build_map2(g, IR_not_equal, wide, s->table), (1u << s->table->shape.rank) - 2);
  Node *same = build_map2(g, IR_equal, differ, number_like(e, 0, differ)), *on = on_support(e, s);
  return build_sum(g, on ? build_map2(g, IR_mul, same, on) : same, 1u);
}

/* A number is held as its one-hot vector. */
static bool set_value(Marginal *m, const Item *latent, Node *z) {
  Elaborator *e = m->e;
  Support support;
  Shape shape;
  if (!read_support(e, latent->type, &support) || !read_shape(e, latent->type, &shape)) return false;
  Value v = value_tensor(z, 0, m->span);
  if (z->shape.rank > shape.rank) v = number_of_vector(e, v, &support, m->span);
  if (v.kind != VALUE_TENSOR) return false;
  world_set(e, latent, v.node, m->span);
  return true;
}

/* ---- draws from the prior -------------------------------------------------------------------------------------- */

/* A latent's draw from its prior becomes its value; *on is 1 where it falls on the support. */
static bool draw_from_prior(Marginal *m, const Item *latent, const Summed *s, Node **on) {
  Elaborator *e = m->e;
  if (!s->table) {
    error_at(e->c, "not-supported", m->span, "log_marginal where `%s` is summed out in part is not supported yet",
             latent->name);
    return false;
  }
  unsigned axes = AXIS_DATUM | (e->graph->samples > 1 ? (unsigned)AXIS_SAMPLE : 0u);
  Value z = prior_draw(e, latent, intern(e->c, arena_printf(e->c, "%s.prior", latent->name)), axes, m->span);
  if (z.kind != VALUE_TENSOR) return false;
  if (z.node->axes & AXES_SUPPORT) {
    error_at(e->c, "not-supported", m->span,
             "log_marginal where the prior of `%s` mentions a latent that is summed out is not supported yet",
             latent->name);
    return false;
  }
  Node *here = falls_on(e, s, z.node);
  *on = *on ? build_map2(e->graph, IR_mul, *on, here) : here;
  return set_value(m, latent, z.node);
}

/* One draw's log weight off the supports, in a world of its own. */
static Node *weight_off_supports(Marginal *m) {
  Elaborator *e = m->e;
  World outer = world_enter(e);
  Node *on = NULL, *weight = NULL;
  bool fine = true;
  int summed = e->summed_count;
  for (int i = 0; fine && i < summed; i++) {
    Summed s = e->summed[i];
    if (s.axis >= 0) fine = draw_from_prior(m, model_find_declaration(e->model, s.latent), &s, &on);
  }
  if (fine) {
    Value v = log_joint(m, DRAWN);
    weight = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
  }
  world_leave(e, outer);
  place(e, m->span);
  return weight && on ? build_map3(e->graph, IR_select, on, number_like(e, NOTHING, weight), weight) : weight;
}

/* ---- the supports, member by member ---------------------------------------------------------------------------- */

/* All values, the same for every datum. */
static bool lists_all_values(const Summed *s) { return s->table->axes == 0; }

/* [members]: 1 for the one whose turn it is, `stride` rounds each. */
static Node *turn(Marginal *m, long members, long stride) {
  Graph *g = m->e->graph;
  Shape line = {.rank = 1, .dims = {dim_number((double)members)}};
  double *numbers = arena_array(m->e->c, double, members);
  for (long i = 0; i < members; i++) numbers[i] = (double)i;
  Node *at = build_map2(g, IR_div, m->e->round, build_constant(g, (double)stride));
  at = build_map2(g, IR_mod, build_map1(g, IR_floor, at), build_constant(g, (double)members));
  Node *all = members > 1 ? build_table(g, numbers, &line) : build_filled(g, 0, &line);
  return build_map2(g, IR_equal, build_expand(g, at, &line, NULL), all);
}

/* The member whose turn it is becomes the latent's value; *on is 1 where it has a weight. */
static bool take_turn(Marginal *m, const Summed *s, long stride, Node **on) {
  Graph *g = m->e->graph;
  Node *one = turn(m, (long)s->table->shape.dims[0].size, stride), *there = on_support(m->e, s);
  int left[1] = {0}, labels[MAX_RANK], out[MAX_RANK];
  for (int d = 0; d < s->table->shape.rank; d++) labels[d] = d;
  for (int d = 1; d < s->table->shape.rank; d++) out[d - 1] = d;
  Shape shape = {.rank = s->table->shape.rank - 1};
  for (int d = 0; d < shape.rank; d++) shape.dims[d] = s->table->shape.dims[d + 1];
  Node *z = build_contract(g, one, left, s->table, labels, shape.rank, out, 0);
  if (there && !lists_all_values(s)) {
    there = build_sum(g, build_map2(g, IR_mul, one, there), 1u);
    *on = *on ? build_map2(g, IR_mul, *on, there) : there;
  }
  return set_value(m, model_find_declaration(m->e->model, s->latent), z);
}

/* The log weight of the members whose turn it is, with draws of all other latents, in a world of their own. */
static Node *weight_on_supports(Marginal *m) {
  Elaborator *e = m->e;
  World outer = world_enter(e);
  Node *on = NULL, *weight = NULL;
  bool fine = true;
  long stride = 1;
  int summed = e->summed_count;
  for (int i = 0; fine && i < summed; i++) {
    Summed s = e->summed[i];
    if (s.axis < 0) continue;
    fine = take_turn(m, &s, stride, &on);
    stride *= (long)s.table->shape.dims[0].size;
  }
  if (fine) {
    Value v = log_joint(m, SUMMED | DRAWN);
    weight = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
  }
  world_leave(e, outer);
  place(e, m->span);
  return weight && on ? build_map3(e->graph, IR_select, on, weight, number_like(e, NOTHING, weight)) : weight;
}

/* Draws the summed-out latents, so that there are supports to walk, and counts their members together. */
static bool count_members(Marginal *m) {
  Elaborator *e = m->e;
  for (int i = 0; i < e->model->items.count; i++) {
    const Item *item = e->model->items.items[i];
    if (item->kind == ITEM_LATENT && is_summed_out(e->model, item->name) &&
        model_value(e, model_find_declaration(e->model, item->name), m->span).kind == VALUE_ERROR)
      return false;
  }
  m->members = 1;
  for (int i = 0; i < e->summed_count; i++) {
    const Summed *s = &e->summed[i];
    if (s->axis < 0) continue;
    bool apart = s->table && !lists_all_values(s) &&
                 (!e->graph->supports[s->axis].weights || s->table->axes & ~(unsigned)AXIS_DATUM);
    if (!s->table || apart) {
      error_at(e->c, "not-supported", m->span, "log_marginal where `%s` is summed out %s is not supported yet",
               s->latent, apart ? "over members that depend on other latents" : "in part");
      return false;
    }
    m->members *= (long)s->table->shape.dims[0].size;
  }
  return true;
}

static bool all_are_listed(const Elaborator *e) {
  for (int i = 0; i < e->summed_count; i++)
    if (e->summed[i].axis >= 0 && !lists_all_values(&e->summed[i])) return false;
  return true;
}

/* ---- all rounds ------------------------------------------------------------------------------------------------ */

/* Of latents of both kinds the mean over rounds is taken over draws alone, not over members. */
static Node *round_weight(Marginal *m) {
  Elaborator *e = m->e;
  if (!m->summed || !m->drawn) return weight_off_supports(m);
  Node *on = weight_on_supports(m);
  if (!on || all_are_listed(e)) return on;
  Node *off = weight_off_supports(m);
  if (!off) return NULL;
  place(e, m->span);
  unsigned axes = on->axes | off->axes;
  on = build_spread(e->graph, on, axes & ~on->axes);
  off = build_map2(e->graph, IR_sub, off, number_like(e, log((double)m->members), off));
  return log_add(e, on, build_spread(e->graph, off, axes & ~off->axes));
}

/* The log mean of so many rounds' weights; NULL after reporting. */
static Node *over_rounds(Marginal *m, long rounds) {
  Elaborator *e = m->e;
  Graph *g = e->graph;
  Shape scalar = {0};
  unsigned axes = AXIS_DATUM | (g->samples > 1 ? (unsigned)AXIS_SAMPLE : 0u);
  Node *so_far = build_carried(g, &scalar, axes, NULL), *round = build_round(g);
  Node *initial = build_spread(g, build_constant(g, NOTHING), axes), *result;
  e->round = round;
  Node *weight = round_weight(m);
  e->round = NULL;
  if (!weight) return NULL;
  Node *next = log_add(e, so_far, build_spread(g, weight, axes & ~weight->axes));
  Repeat loop = {.rounds = rounds * m->members,
                 .round = round,
                 .count = 1,
                 .carried = &so_far,
                 .initial = &initial,
                 .next = &next};
  const char *problem = repeat_problem(g, &loop);
  if (problem) {
    error_at(e->c, "not-supported", m->span, "log_marginal of this model is not supported: %s", problem);
    return NULL;
  }
  build_repeat(g, &loop, &result);
  return build_map2(g, IR_sub, result, build_constant(g, log((double)rounds)));
}

static bool check_rounds(Marginal *m, long rounds) {
  if (rounds <= MOST_INNER_STEPS / m->members) return true;
  Diagnostic *d = error_at(m->e->c, "argument", m->span,
                           "each sample is drawn for %ld values of what is summed out, %ld draws together, and at most "
                           "%d are made",
                           m->members, rounds * m->members, MOST_INNER_STEPS);
  help_with(d,
            m->members <= MOST_INNER_STEPS ? "take fewer samples, at most %ld"
                                           : "take a posterior that sums over fewer of them",
            MOST_INNER_STEPS / m->members * m->e->graph->samples);
  return false;
}

static bool all_are_summed(Elaborator *e) {
  for (int i = 0; i < e->summed_count; i++)
    if (e->summed[i].axis >= 0 && e->graph->supports[e->summed[i].axis].weights) return false;
  return true;
}

Value log_marginal(Elaborator *e, const Expr *call, Span span) {
  Marginal m = {.e = e, .span = span, .members = 1};
  long rounds;
  if (e->program != PROGRAM_MEASURE || !e->measuring) {
    Diagnostic *d =
        error_at(e->c, "log-marginal", span, "log_marginal is an estimate for evaluation, and stands in metrics");
    help_with(d, "the bounds that are trained by are `elbo` and `iwae(samples = S)`");
    return value_error();
  }
  if (!read_rounds(&m, call, &rounds) || !check_latents(&m)) return value_error();
  warn_of_no_density(e, "log_marginal", span);
  bool both = m.summed && m.drawn;
  if (both && (!count_members(&m) || !check_rounds(&m, rounds))) return value_error();
  Node *exact = m.summed && !both ? over_supports(&m) : NULL;
  if (m.summed && !both && !exact) return value_error();
  if (exact && all_are_summed(e)) return value_tensor(exact, 0, span);
  Node *drawn = over_rounds(&m, rounds);
  if (!drawn) return value_error();
  Value v = log_mean_over_samples(e, value_tensor(drawn, 0, span));
  if (v.kind != VALUE_TENSOR || !exact) return v;
  place(e, span);
  return value_tensor(log_add(e, exact, build_spread(e->graph, v.node, exact->axes & ~v.node->axes)), 0, span);
}
