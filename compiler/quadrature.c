/* quadrature: KL(q || p) of a univariate factor -> IR over constant nodes. A normal q is integrated over two pieces
 * that meet at a point where p may have a kink; any other q with a sampler of one noise over that noise. The rule is
 * the first of a ladder that agrees with the next finer one on a grid of parameters, tried with the interpreter on a
 * graph of its own. */
#include "kl.h"

#include <math.h>
#include <string.h>

/* Estimated errors allowed, in nats: half of what is promised; and of the gradients, in nats for each sd. */
static const double tolerance = 5e-6, gradient_tolerance = 5e-5;

void legendre_rule(int n, double *nodes, double *weights) {
  for (int i = 0; i < n; i++) {
    double t = cos(M_PI * (i + 0.75) / (n + 0.5)), slope = 1;
    for (int round = 0; round < 100; round++) {
      double now = 1, before = 0;
      for (int j = 0; j < n; j++) {
        double last = before;
        before = now;
        now = ((2 * j + 1) * t * before - j * last) / (j + 1);
      }
      slope = n * (t * now - before) / (t * t - 1);
      t -= now / slope;
      if (fabs(now / slope) < 1e-16) break;
    }
    nodes[i] = (1 + t) / 2;
    weights[i] = 1 / ((1 - t * t) * slope * slope);
  }
}

/* ---- E of f(z), z ~ normal(m, s)
 * ---------------------------------------------------------------------------------------- */

/* Two pieces that meet at the split point and end cutoff sds from m; if the split point lies outside, one is empty.
 * Each is split + b u^power at Legendre's u: a power of 2 crowds the nodes around a kink or pole. The piece that holds
 * m has `wide` nodes, the other one `narrow`. */
typedef struct NormalRule {
  int wide, narrow, power;
  double cutoff;
} NormalRule;

static const NormalRule normal_ladder[] = {{17, 10, 1, 5.5}, {20, 12, 1, 6},    {26, 18, 2, 6}, {32, 20, 2, 7},
                                           {40, 26, 2, 7},   {48, 32, 2, 7},    {64, 40, 2, 7}, {96, 64, 2, 7},
                                           {128, 96, 2, 7},  {160, 128, 2, 7.5}};
enum { NORMAL_RULES = sizeof normal_ladder / sizeof *normal_ladder, MOST_NODES = 512 };

/* E[f], and E[f t], E[f t^2] with t = (z - m) / s: what the derivatives in m and s are made of. */
typedef struct Moments {
  Value of[3];
} Moments;

static Value stopped(Elaborator *e, Value v) {
  Node *node = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
  return node ? value_tensor(build_stop(e->graph, node), v.kind == VALUE_TENSOR ? v.mapped : 0, v.span) : v;
}

typedef struct Piece {
  int count, power;
  Value start, from; /* the split point, and the same in sds from m */
  Value length;      /* signed, in sds */
  Value width;       /* its size */
  Value sd;
} Piece;

/* Nodes and weights are constants to the gradient: the density's own parameters are differentiated through f, m and s
 * through the moments (score_gradient). */
static bool piece_moments(Elaborator *e, const KlPair *pair, const Piece *piece, Moments *out) {
  Span span = pair->span;
  NodeDim nodes;
  double u[MOST_NODES], weights[MOST_NODES];
  if (!node_dim(e, &pair->shape, piece->count, &nodes)) return false;
  legendre_rule(piece->count, u, weights);
  for (int i = 0; i < piece->count; i++) {
    weights[i] *= piece->power * pow(u[i], piece->power - 1) / sqrt(2 * M_PI);
    u[i] = pow(u[i], piece->power);
  }
  Value part = node_table(e, &nodes, u, span);
  Value t = apply2(e, IR_add, apply2(e, IR_mul, part, piece->length, span), piece->from, span);
  Value z = apply2(e, IR_add, apply2(e, IR_mul, part, apply2(e, IR_mul, piece->sd, piece->length, span), span),
                   piece->start, span);
  Value bell = apply1(e, IR_exp, apply2(e, IR_mul, apply2(e, IR_mul, t, t, span), value_number(-0.5), span), span);
  Value weight = apply2(e, IR_mul, node_table(e, &nodes, weights, span), bell, span);
  bool missing;
  Value f = distribution_field(e, pair->p, "log_pdf", &z, &nodes.shape, span, &missing);
  if (missing || f.kind == VALUE_ERROR) return false;
  Value term = apply2(e, IR_mul, weight, f, span);
  Value first = apply2(e, IR_mul, stopped(e, term), t, span), second = apply2(e, IR_mul, first, t, span);
  Value terms[3] = {term, first, second};
  for (int i = 0; i < 3; i++) out->of[i] = apply2(e, IR_mul, sum_nodes(e, &nodes, terms[i], span), piece->width, span);
  return true;
}

static bool normal_moments(Elaborator *e, const KlPair *pair, const NormalRule *rule, int split, Moments *out) {
  Span span = pair->span;
  Value m = expand_to(e, stopped(e, pair->q->elements[0]), &pair->shape, span),
        s = expand_to(e, stopped(e, pair->q->elements[1]), &pair->shape, span);
  Value kink = split < 0 ? value_number(0) : stopped(e, *split_value(pair->p, split)),
        cutoff = value_number(rule->cutoff);
  /* The split point, held a little inside the cutoff; where it was held, `moved` is how far it had to move and the
   * piece behind it is empty, elsewhere it is exactly 0 and neither piece is: no node ever stands on a pole. */
  Value d = apply2(e, IR_sub, m, kink, span),
        reach = apply2(e, IR_mul, value_number(rule->cutoff * (1 - 0x1p-10)), s, span);
  Value above = apply1(e, IR_relu, apply2(e, IR_sub, d, reach, span), span);
  Value below = apply1(e, IR_relu, apply1(e, IR_neg, apply2(e, IR_add, d, reach, span), span), span);
  Value moved = apply2(e, IR_sub, above, below, span);
  Value from = apply2(e, IR_div, apply2(e, IR_sub, moved, d, span), s, span);
  Value toward = apply3(e, IR_select, apply2(e, IR_less, value_number(0), from, span), cutoff,
                        apply1(e, IR_neg, cutoff, span), span);
  Value held = apply2(e, IR_not_equal, moved, value_number(0), span);
  Value distance = apply1(e, IR_abs, from, span), start = apply2(e, IR_add, kink, moved, span);
  Moments parts[2];
  for (int side = 0; side < 2; side++) {
    bool wide = side == 0;
    Value length = apply2(e, IR_sub, wide ? apply1(e, IR_neg, toward, span) : toward, from, span);
    Value width = apply2(e, wide ? IR_add : IR_sub, cutoff, distance, span);
    if (!wide) {
      length = apply3(e, IR_select, held, value_number(0), length, span);
      width = apply3(e, IR_select, held, value_number(0), width, span);
    }
    Piece piece = {.count = wide ? rule->wide : rule->narrow,
                   .power = rule->power,
                   .start = start,
                   .from = from,
                   .sd = s,
                   .length = length,
                   .width = width};
    if (!piece_moments(e, pair, &piece, &parts[side])) return false;
  }
  for (int i = 0; i < 3; i++) out->of[i] = apply2(e, IR_add, parts[0].of[i], parts[1].of[i], span);
  return true;
}

/* I with dI/dm = E[f t] / s and dI/ds = E[f (t^2 - 1)] / s: exact at kinks of f, and half the work of differentiating
 * through the nodes. Written as I plus two terms that are 0. */
static Value score_gradient(Elaborator *e, const KlPair *pair, const Moments *moments) {
  Span span = pair->span;
  Value sum = moments->of[0];
  Value slopes[2] = {moments->of[1], apply2(e, IR_sub, moments->of[2], stopped(e, moments->of[0]), span)};
  Value s = stopped(e, pair->q->elements[1]);
  for (int i = 0; i < 2; i++) {
    Value x = pair->q->elements[i];
    if (x.kind == VALUE_NUMBER) continue;
    Value slope = stopped(e, apply2(e, IR_div, slopes[i], s, span));
    Value moved = apply2(e, IR_sub, x, stopped(e, x), span);
    sum = apply2(e, IR_add, sum, apply2(e, IR_mul, slope, moved, span), span);
  }
  return sum;
}

/* ---- E over the noise of a sampler
 * ------------------------------------------------------------------------------------------ */

/* uniform: tanh-sinh on each half of (0, 1), for poles at the ends and a kink in the middle; standard_normal: equal
 * steps, which converge as fast as any rule does. */
static const int noise_ladder[] = {32, 48, 64, 96, 128, 192, 256};
enum { NOISE_RULES = sizeof noise_ladder / sizeof *noise_ladder };

static void noise_nodes(NoiseKind kind, int count, double *at, double *weights) {
  double total = 0;
  for (int i = 0; i < count; i++) {
    if (kind == NOISE_NORMAL) {
      at[i] = -7 + 14 * (i + 0.5) / count;
      weights[i] = exp(-0.5 * at[i] * at[i]);
    } else {
      int half = count / 2, k = i % half;
      double tau = 2.3 * (2 * (k + 0.5) / half - 1), part = 1 / (1 + exp(-M_PI * sinh(tau)));
      at[i] = i < half ? part / 2 : 1 - part / 2;
      weights[i] = cosh(tau) * part * (1 - part);
    }
    total += weights[i];
  }
  for (int i = 0; i < count; i++) weights[i] /= total;
}

static bool noise_kl(Elaborator *e, const KlPair *pair, NoiseKind kind, int count, Value *result) {
  Span span = pair->span;
  NodeDim nodes;
  double at[MOST_NODES], weights[MOST_NODES];
  if (!node_dim(e, &pair->shape, count, &nodes)) return false;
  noise_nodes(kind, count, at, weights);
  Value noise = node_table(e, &nodes, at, span);
  Value z = distribution_transform(e, pair->q, &noise, &nodes.shape, span);
  bool missing_q, missing_p, no_entropy;
  Value log_p = distribution_field(e, pair->p, "log_pdf", &z, &nodes.shape, span, &missing_p);
  Value entropy = distribution_field(e, pair->q, "entropy", NULL, &pair->shape, span, &no_entropy);
  Value log_q = value_number(0);
  missing_q = false;
  if (no_entropy) log_q = distribution_field(e, pair->q, "log_pdf", &z, &nodes.shape, span, &missing_q);
  if (missing_p || missing_q) return false;
  Value term = apply2(e, IR_mul, node_table(e, &nodes, weights, span), apply2(e, IR_sub, log_q, log_p, span), span);
  *result = sum_nodes(e, &nodes, term, span);
  if (!no_entropy) *result = apply2(e, IR_sub, *result, entropy, span);
  return true;
}

/* ---- choosing a rule
 * --------------------------------------------------------------------------------------------------------- */

typedef struct QuadratureChoice {
  Name key;
  int rule, split; /* rule < 0: none converges */
  double error;
} QuadratureChoice;

typedef enum Scheme { SCHEME_NONE, SCHEME_NORMAL, SCHEME_NOISE } Scheme;

/* What a rule gives, on a fresh graph, since all of a graph is evaluated: three moments, or a KL, of each combination.
 */
static const double *try_rule(Elaborator *e, const KlPair *pair, Scheme scheme, NoiseKind kind, int rule, int split,
                              int *count) {
  Trial trial;
  Moments moments;
  int parts = scheme == SCHEME_NORMAL ? 3 : 1;
  if (!make_trial(e, pair, &trial)) return NULL;
  if (scheme == SCHEME_NORMAL && !normal_moments(trial.e, &trial.pair, &normal_ladder[rule], split, &moments))
    return NULL;
  if (scheme == SCHEME_NOISE && !noise_kl(trial.e, &trial.pair, kind, noise_ladder[rule], &moments.of[0])) return NULL;
  *count = parts * trial.count;
  return evaluate_trial(&trial, moments.of, parts);
}

static double difference(const double *a, const double *b, int count) {
  double most = 0;
  for (int i = 0; i < count; i++) {
    double d = fabs(a[i] - b[i]);
    if (!(d <= most)) most = isnan(d) ? INFINITY : d;
  }
  return most;
}

/* How far it is from the finest rule of its ladder; INFINITY where that does not settle it. */
static double estimate(const double *values, const double *finest, Scheme scheme, int count) {
  if (!values || !finest) return INFINITY;
  int tries = scheme == SCHEME_NORMAL ? count / 3 : count;
  double error = difference(values, finest, tries),
         gradient = difference(values + tries, finest + tries, count - tries);
  return gradient > gradient_tolerance ? fmax(error, gradient) : error;
}

static const QuadratureChoice *choose(Elaborator *e, const KlPair *pair, Scheme scheme, NoiseKind kind) {
  Model *m = e->model;
  int rules = scheme == SCHEME_NORMAL ? NORMAL_RULES : NOISE_RULES;
  QuadratureChoice choice = {.key = trial_key(e, pair), .rule = -1, .split = -1, .error = INFINITY};
  for (int i = 0; i < m->choice_count; i++)
    if (m->choices[i].key == choice.key) return &m->choices[i];
  int splits[MOST_SPLITS] = {-1}, split_count = scheme == SCHEME_NORMAL ? split_points(pair, splits) : 1;
  const double *finest[MOST_SPLITS];
  int values = 0;
  for (int k = 0; k < split_count; k++) finest[k] = try_rule(e, pair, scheme, kind, rules - 1, splits[k], &values);
  for (int rule = 0; rule + 1 < rules && choice.rule < 0; rule++)
    for (int k = 0; k < split_count && choice.rule < 0; k++) {
      double error =
          finest[k] ? estimate(try_rule(e, pair, scheme, kind, rule, splits[k], &values), finest[k], scheme, values)
                    : INFINITY;
      if (error < choice.error) choice.error = error, choice.split = splits[k];
      if (error <= tolerance) choice.rule = rule;
    }
  m->choices = arena_grow(e->c, m->choices, m->choice_count, sizeof *m->choices);
  m->choices[m->choice_count++] = choice;
  return &m->choices[m->choice_count - 1];
}

/* ---- the rule
 * ----------------------------------------------------------------------------------------------------------------- */

static Scheme find_scheme(Elaborator *e, KlPair *pair, NoiseKind *kind) {
  const Item *q = pair->q->family; /* NULL: a mixture */
  Support support, extended;
  pair->why = "the distributions are not univariate";
  if (event_rank(pair->q) != 0 || event_rank(pair->p) != 0) return SCHEME_NONE;
  pair->why = "it is inside a call mapped over more dims";
  if (is_mapped(pair->q) || is_mapped(pair->p)) return SCHEME_NONE;
  pair->why = "a mixture's components stand along a dim";
  if (is_over_dim(pair->q) || is_over_dim(pair->p)) return SCHEME_NONE;
  pair->why = arena_printf(e->c, "%s declares no log_pdf", distribution_name(pair->p));
  if (!has_density(pair->p)) return SCHEME_NONE;
  pair->why = arena_printf(e->c, "%s is not a continuous distribution", distribution_name(pair->q));
  if (!distribution_support(e, pair->q, &support, &extended) || support.facts.integer ||
      support.special != SPECIAL_NONE)
    return SCHEME_NONE;
  if (has_atoms(pair->q) || has_atoms(pair->p)) {
    pair->why = "it has an atom";
    return SCHEME_NONE;
  }
  if (q && e->c->sources[q->span.source].library && strcmp(q->name, "normal") == 0 && pair->q->count == 2)
    return SCHEME_NORMAL;
  pair->why =
      arena_printf(e->c, "%s has no sampler of one uniform or standard_normal noise", distribution_name(pair->q));
  return q && one_noise(q, kind) ? SCHEME_NOISE : SCHEME_NONE;
}

static const char *split_text(Elaborator *e, const KlPair *pair, const NormalRule *rule, int split) {
  const char *at = split < 0 ? "0" : arena_printf(e->c, "the prior's %s", split_name(pair->p, split));
  return arena_printf(e->c, "Gauss-Legendre split at %s%s, cut off at %s sd", at,
                      rule->power > 1 ? " and crowded around it" : "", shortest_number(e->c, rule->cutoff));
}

static bool normal_kl(Elaborator *e, KlPair *pair, const QuadratureChoice *choice, Value *result) {
  NormalRule rule = normal_ladder[choice->rule < 0 ? NORMAL_RULES - 1 : choice->rule];
  int wanted = pair->method.nodes;
  if (wanted) rule = (NormalRule){wanted - wanted * 2 / 5, wanted * 2 / 5, 2, wanted < 48 ? 6 : 7};
  Moments moments;
  bool none;
  if (!normal_moments(e, pair, &rule, choice->split, &moments)) return false;
  Value entropy = distribution_field(e, pair->q, "entropy", NULL, &pair->shape, pair->span, &none);
  *result = apply1(e, IR_neg, apply2(e, IR_add, entropy, score_gradient(e, pair, &moments), pair->span), pair->span);
  pair->nodes = rule.wide + rule.narrow;
  pair->how = split_text(e, pair, &rule, choice->split);
  return true;
}

bool kl_by_quadrature(Elaborator *e, KlPair *pair, Value *result) {
  NoiseKind kind = NOISE_NORMAL;
  Scheme scheme = find_scheme(e, pair, &kind);
  if (scheme == SCHEME_NONE) return false;
  const QuadratureChoice *choice = choose(e, pair, scheme, kind);
  pair->error = pair->method.nodes ? -1 : choice->error;
  /* Over a sampler's noise nothing is split at the prior's kinks: what does not converge has no sound gradient either.
   */
  if (choice->rule < 0 && (scheme == SCHEME_NOISE || !pair->method.nodes)) {
    pair->why = isfinite(choice->error)
                    ? arena_printf(e->c, "it does not converge: the finest rules differ by %.1g nats", choice->error)
                    : "it does not converge on the parameters tried";
    return false;
  }
  if (scheme == SCHEME_NORMAL) return normal_kl(e, pair, choice, result);
  pair->nodes = pair->method.nodes ? 2 * ((pair->method.nodes + 1) / 2) : noise_ladder[choice->rule];
  pair->how = kind == NOISE_NORMAL ? "equal steps over the sampler's noise" : "tanh-sinh over the sampler's noise";
  return noise_kl(e, pair, kind, pair->nodes, result);
}
