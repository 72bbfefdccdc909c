/* quadrature: KL(q || p) of a univariate factor -> IR over constant nodes, by the first scheme and rule that is as good
 * as the finest one of its ladder on a grid of parameters: values and derivatives, tried with the interpreter on a
 * graph of its own. A normal q has a scheme of its own (quadrature_normal.c); any other is integrated over the noise of
 * its sampler where nothing has to be split, else over the line (quadrature_pieces.c). */
#include "kl.h"

#include <math.h>
#include <string.h>

/* Estimated errors allowed, in nats: half of what is promised; of the gradients, in nats for each size of q or factor
 * e; and of what q integrates to. Beyond 100 nats it is what float can hold; beyond 1e6 no training goes on. */
static const double tolerance = 5e-6, gradient_tolerance = 5e-5, mass_tolerance = 1e-5, float_share = 5e-8,
                    out_of_account = 1e6, coarse = 100;

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

/* ---- E over the noise of a sampler ----------------------------------------------------------------------------- */

/* uniform: tanh-sinh on each half of (0, 1), for poles at the ends (which floats hold off 1) and a kink in the middle;
 * standard_normal: equal steps, which converge as fast as any rule does. */
typedef struct NoiseRule {
  int count;
  double cutoff; /* of normal noise */
  double near;   /* of uniform noise: how near to 1, in the variable of tanh-sinh; floats end at 2.3 */
} NoiseRule;
static const NoiseRule noise_ladder[] = {{32, 7, 2.3},  {48, 7, 2.3},   {64, 7, 2.3},   {48, 10, 2.3}, {64, 10, 2.3},
                                         {96, 10, 2.3}, {128, 10, 2.3}, {192, 10, 2.3}, {256, 12, 2.9}};
enum { NOISE_RULES = sizeof noise_ladder / sizeof *noise_ladder, MOST_NODES = 512 };

static void noise_nodes(NoiseKind kind, const NoiseRule *rule, double *at, double *weights) {
  double total = 0;
  int count = rule->count;
  for (int i = 0; i < count; i++) {
    if (kind == NOISE_NORMAL) {
      at[i] = rule->cutoff * (2 * (i + 0.5) / count - 1);
      weights[i] = exp(-0.5 * at[i] * at[i]);
    } else {
      int half = count / 2, k = i % half;
      double least = i < half ? -2.9 : -rule->near, tau = least + (2.3 - least) * (k + 0.5) / half,
             part = 1 / (1 + exp(-M_PI * sinh(tau)));
      at[i] = i < half ? part / 2 : 1 - part / 2;
      weights[i] = (2.3 - least) * cosh(tau) * part * (1 - part);
    }
    total += weights[i];
  }
  for (int i = 0; i < count; i++) weights[i] /= total;
}

static bool noise_kl(Elaborator *e, const KlPair *pair, NoiseKind kind, const NoiseRule *rule, Value *result) {
  Span span = pair->span;
  NodeDim nodes;
  double at[MOST_NODES], weights[MOST_NODES];
  if (!node_dim(e, &pair->shape, rule->count, &nodes)) return false;
  noise_nodes(kind, rule, at, weights);
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

/* ---- one rule of one scheme ------------------------------------------------------------------------------------ */

typedef enum Scheme { SCHEME_NONE, SCHEME_NORMAL, SCHEME_NOISE, SCHEME_PIECES } Scheme;

typedef struct Candidate {
  Scheme scheme;
  int rule, split;
  NoiseKind noise;
  Location location; /* PIECES */
} Candidate;

typedef struct QuadratureChoice {
  Name key;
  Candidate best;
  bool settled;      /* otherwise best is the one that came nearest */
  double error;      /* in what is allowed */
  const char *worst; /* the parameters where it is largest */
} QuadratureChoice;

static int rule_count(Scheme scheme) {
  switch (scheme) {
  case SCHEME_NORMAL: return normal_rule_count();
  case SCHEME_NOISE: return NOISE_RULES;
  case SCHEME_PIECES: return piece_rule_count();
  case SCHEME_NONE: break;
  }
  return 0;
}

/* nodes: 0, or how many are asked for. mass: VALUE_ERROR where it is 1 by construction. */
static bool take(Elaborator *e, const KlPair *pair, const Candidate *c, int nodes, Value *kl, Value *mass) {
  *mass = value_error();
  switch (c->scheme) {
  case SCHEME_NORMAL: return normal_kl(e, pair, c->rule, c->split, nodes, kl);
  case SCHEME_NOISE: {
    NoiseRule rule = noise_ladder[c->rule];
    if (nodes) rule.count = 2 * ((nodes + 1) / 2);
    return noise_kl(e, pair, c->noise, &rule, kl);
  }
  case SCHEME_PIECES: return pieces_kl(e, pair, &c->location, c->rule, c->split, nodes, kl, mass);
  case SCHEME_NONE: break;
  }
  return false;
}

static int nodes_of(const Candidate *c) {
  switch (c->scheme) {
  case SCHEME_NORMAL: return normal_nodes(c->rule);
  case SCHEME_NOISE: return noise_ladder[c->rule].count;
  case SCHEME_PIECES: return piece_nodes(&c->location, c->rule);
  case SCHEME_NONE: break;
  }
  return 0;
}

static const char *how_text(Elaborator *e, const KlPair *pair, const Candidate *c) {
  switch (c->scheme) {
  case SCHEME_NORMAL: return normal_text(e, pair, c->rule, c->split, pair->method.nodes);
  case SCHEME_NOISE:
    return c->noise == NOISE_NORMAL ? "equal steps over the sampler's noise" : "tanh-sinh over the sampler's noise";
  case SCHEME_PIECES: return pieces_text(e, pair, &c->location, c->split);
  case SCHEME_NONE: break;
  }
  return "";
}

/* ---- choosing a rule ------------------------------------------------------------------------------------------- */

/* What a rule gives for each combination of parameters: KL, mass, log density of q in its middle, and each derivative
 * in its natural unit. */
typedef struct Tried {
  Trial trial;
  int count, derivatives;
  double *kl, *mass, *middle, *slopes;
} Tried;
enum { PARTS = 3 };

/* Where q has no density in its own middle, the parameters mean nothing: the ends of an interval in the wrong order. */
static Value middle_of(Elaborator *e, const KlPair *pair) {
  bool missing = true;
  if (!pair->q->family || !distribution_find_field(pair->q->family, "sample")) return value_number(0);
  Value z = sample_at(e, pair, 0.5, 0);
  Value v = distribution_field(e, pair->q, "log_pdf", &z, &pair->shape, pair->span, &missing);
  return missing ? value_number(0) : v;
}

/* A length that q is long. */
static Value length_of(Elaborator *e, const KlPair *pair, Scheme scheme) {
  if (scheme == SCHEME_NORMAL) return pair->q->elements[1];
  if (!pair->q->family || !distribution_find_field(pair->q->family, "sample") || has_atoms(pair->q))
    return value_number(1);
  return sampled_size(e, pair);
}

/* On a fresh graph, since all of a graph is evaluated. */
static bool try_rule(Elaborator *e, const KlPair *pair, const Candidate *c, Tried *out) {
  Value parts[MOST_VARIED + PARTS], mass;
  Node *slopes[MOST_VARIED];
  *out = (Tried){0};
  if (!make_trial(e, pair, &out->trial)) return false;
  Trial trial = out->trial;
  Elaborator *own = trial.e;
  if (!take(own, &trial.pair, c, 0, &parts[0], &mass)) return false;
  parts[0] = expand_to(own, parts[0], &trial.pair.shape, pair->span);
  Node *kl = parts[0].kind == VALUE_ERROR ? NULL : value_node(own, &parts[0]);
  if (!kl) return false;
  parts[1] = mass.kind == VALUE_ERROR ? value_number(1) : mass;
  parts[2] = middle_of(own, &trial.pair);
  Value length = length_of(own, &trial.pair, c->scheme);
  differentiate(own->graph, build_sum(own->graph, kl, 1), trial.varied, trial.varied_count, slopes);
  for (int i = 0; i < trial.varied_count; i++) {
    Value x = value_tensor(trial.varied[i], 0, pair->span), unit = trial.positive[i] ? x : length;
    parts[PARTS + i] = apply2(own, IR_mul, value_tensor(slopes[i], 0, pair->span), unit, pair->span);
  }
  double *values = evaluate_trial(&trial, parts, PARTS + trial.varied_count);
  out->count = trial.count;
  out->derivatives = trial.varied_count;
  out->kl = values;
  out->mass = values + trial.count;
  out->middle = values + 2 * (size_t)trial.count;
  out->slopes = values + PARTS * (size_t)trial.count;
  return values != NULL;
}

static double gap(double a, double b, double allowed) {
  double d = fabs(a - b), own = fmax(allowed, float_share * (allowed / tolerance) * fabs(b));
  return isnan(d) ? INFINITY : d / own;
}

static bool is_judged(const Tried *finest, int i) {
  bool means_nothing = !(fabs(finest->middle[i]) < 1e20);
  return !means_nothing && !(finest->kl[i] > out_of_account);
}

/* How far it is from the finest rule of its ladder, in what is allowed, and for which combination; INFINITY where that
 * does not settle it. */
static double compare(const Tried *rule, const Tried *finest, int *where) {
  double most = -1;
  for (int i = 0; i < finest->count; i++) {
    if (!is_judged(finest, i)) continue;
    double worst = fmax(gap(rule->kl[i], finest->kl[i], tolerance), gap(rule->mass[i], 1, mass_tolerance));
    for (int k = 0; k < finest->derivatives; k++) {
      int at = k * finest->count + i;
      worst = fmax(worst, gap(rule->slopes[at], finest->slopes[at], gradient_tolerance));
    }
    if (worst > most) most = worst, *where = i;
  }
  return most < 0 ? INFINITY : most;
}

static void consider(QuadratureChoice *choice, const Candidate *c, double error, const Tried *tried, int where) {
  if (choice->best.scheme != SCHEME_NONE && !(error < choice->error) && !(error <= 1)) return;
  choice->best = *c;
  choice->error = error;
  choice->settled = error <= 1;
  choice->worst = isfinite(error) && where >= 0 ? trial_text(&tried->trial, where) : NULL;
}

/* A ladder whose finest rules do not agree has none that could be trusted. */
static bool climb(Elaborator *e, const KlPair *pair, Candidate c, QuadratureChoice *choice) {
  Tried finest, tried;
  int rules = rule_count(c.scheme);
  c.rule = rules - 1;
  if (!try_rule(e, pair, &c, &finest)) return false;
  for (int rule = -1; rule + 1 < rules && !choice->settled; rule++) {
    int where = -1;
    c.rule = rule < 0 ? rules - 2 : rule;
    double error = try_rule(e, pair, &c, &tried) ? compare(&tried, &finest, &where) : INFINITY;
    if (rule >= 0 || error > 1) consider(choice, &c, error, &tried, where);
    if (rule < 0 && error > 1) return false;
  }
  return choice->settled;
}

/* Does the sampler of one uniform noise come to an end on either side? */
static void sampled_ends(Elaborator *e, const KlPair *pair, NoiseKind kind, bool *ends) {
  Trial trial;
  ends[0] = ends[1] = false;
  if (kind != NOISE_UNIFORM || !pair->q->family || !one_noise(pair->q->family, &kind) || kind != NOISE_UNIFORM) return;
  if (!make_trial(e, pair, &trial)) return;
  Value at[5];
  static const double uniforms[] = {1e-9, 1 - 1e-9, 1e-6, 1 - 1e-6, 0.5};
  for (int i = 0; i < 5; i++) at[i] = sample_at(trial.e, &trial.pair, uniforms[i], 0);
  const double *values = evaluate_trial(&trial, at, 5);
  for (int side = 0; values && side < 2; side++) {
    ends[side] = true;
    for (int i = 0; i < trial.count; i++) {
      double far = values[side * trial.count + i], near = values[(2 + side) * trial.count + i];
      ends[side] = ends[side] && fabs(far - near) <= 1e-3 * fabs(near - values[4 * trial.count + i]);
    }
  }
}

static void search(Elaborator *e, const KlPair *pair, Scheme scheme, NoiseKind kind, QuadratureChoice *choice) {
  int splits[MOST_SPLITS] = {-1}, split_count = split_points(pair, splits);
  Location locations[MOST_LOCATIONS];
  bool ends[2];
  if (scheme == SCHEME_NOISE) {
    if (climb(e, pair, (Candidate){.scheme = scheme, .split = -1, .noise = kind}, choice)) return;
  }
  for (int k = 0; scheme == SCHEME_NORMAL && k < split_count; k++)
    if (climb(e, pair, (Candidate){.scheme = scheme, .split = splits[k]}, choice)) return;
  sampled_ends(e, pair, NOISE_UNIFORM, ends);
  int count = find_locations(e, pair, ends, locations);
  for (int i = 0; i < count; i++)
    for (int k = 0; k < split_count; k++)
      if (climb(e, pair, (Candidate){.scheme = SCHEME_PIECES, .split = splits[k], .location = locations[i]}, choice))
        return;
}

static const QuadratureChoice *choose(Elaborator *e, const KlPair *pair, Scheme scheme, NoiseKind kind) {
  Model *m = e->model;
  QuadratureChoice choice = {.key = trial_key(e, pair), .error = INFINITY};
  for (int i = 0; i < m->choice_count; i++)
    if (m->choices[i].key == choice.key) return &m->choices[i];
  search(e, pair, scheme, kind, &choice);
  m->choices = arena_grow(e->c, m->choices, m->choice_count, sizeof *m->choices);
  m->choices[m->choice_count++] = choice;
  return &m->choices[m->choice_count - 1];
}

/* ---- the rule -------------------------------------------------------------------------------------------------- */

/* The scheme that is tried first. */
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
  pair->why = atoms_misfit(e, pair);
  if (pair->why) return SCHEME_NONE;
  if (q && e->c->sources[q->span.source].library && strcmp(q->name, "normal") == 0 && pair->q->count == 2)
    return SCHEME_NORMAL;
  if (q && one_noise(q, kind) && !has_atoms(pair->q)) return SCHEME_NOISE;
  pair->why = arena_printf(e->c, "%s declares no log_pdf", distribution_name(pair->q));
  return has_density(pair->q) ? SCHEME_PIECES : SCHEME_NONE;
}

bool kl_by_quadrature(Elaborator *e, KlPair *pair, Value *result) {
  NoiseKind kind = NOISE_NORMAL;
  Scheme scheme = find_scheme(e, pair, &kind);
  Value mass;
  if (scheme == SCHEME_NONE) return false;
  const QuadratureChoice *choice = choose(e, pair, scheme, kind);
  const Candidate *best = &choice->best;
  int nodes = pair->method.nodes;
  double error = choice->error * tolerance;
  pair->error = nodes ? -1 : error;
  /* Only a normal q's own scheme is known to be sound, whatever the nodes. */
  if (choice->error > coarse && (!nodes || best->scheme != SCHEME_NORMAL)) {
    pair->why = choice->worst ? arena_printf(e->c, "it does not converge: the finest rules differ by %.1g nats%s%s",
                                             error, *choice->worst ? " at " : "", choice->worst)
                              : "it does not converge on the parameters tried";
    return false;
  }
  if (!choice->settled && !nodes) pair->coarse = choice->worst;
  pair->nodes = nodes ? nodes : nodes_of(best);
  pair->how = how_text(e, pair, best);
  return take(e, pair, best, nodes, result, &mass);
}
