/* normaliser: a family that declares log_kernel, an unnormalised log density -> the logarithm of its integral (or sum)
 * over the support, as IR in its parameters: with it the family has a log_pdf like any other. Univariate families only.
 * Real and positive supports are integrated in equal steps of log|z - split|, which suits any scale; unit ones by
 * tanh-sinh. */
#include "kl.h"

#include <math.h>
#include <string.h>

static const double tolerance = 1e-6;

typedef struct Grid {
  double step, low, high; /* of log|z - split| */
  int unit_nodes;
} Grid;

static const Grid grids[] = {
    {0.5, -18, 13, 32}, {0.25, -18, 14, 48}, {0.125, -20, 14, 64}, {0.0625, -20, 14, 128}, {0.03125, -22, 18, 256}};
enum { GRIDS = sizeof grids / sizeof *grids, MOST_VALUES = 256 };

typedef enum Domain { DOMAIN_REAL, DOMAIN_POSITIVE, DOMAIN_UNIT, DOMAIN_FINITE, DOMAIN_OTHER } Domain;

static Domain domain_of(const Support *support) {
  const Facts *f = &support->facts;
  if (support->special != SPECIAL_NONE) return DOMAIN_OTHER;
  if (f->integer) return f->high - f->low < MOST_VALUES ? DOMAIN_FINITE : DOMAIN_OTHER;
  if (f->low == 0 && f->high == 1) return DOMAIN_UNIT;
  if (isinf(f->high) && f->low == 0) return DOMAIN_POSITIVE;
  return isinf(f->high) && isinf(f->low) ? DOMAIN_REAL : DOMAIN_OTHER;
}

/* Points of the support (seen from the split point) and the logarithms of their weights. */
typedef struct Points {
  int count;
  double *at, *log_weight;
} Points;

static void add_point(Points *points, double at, double log_weight) {
  points->at[points->count] = at;
  points->log_weight[points->count++] = log_weight;
}

static Points points_of(Compilation *c, Domain domain, const Facts *f, const Grid *grid) {
  int sides = domain == DOMAIN_REAL ? 2 : 1, steps = (int)((grid->high - grid->low) / grid->step) + 1;
  int most = domain == DOMAIN_FINITE ? MOST_VALUES : domain == DOMAIN_UNIT ? grid->unit_nodes : sides * steps;
  Points points = {.at = arena_array(c, double, most), .log_weight = arena_array(c, double, most)};
  if (domain == DOMAIN_FINITE)
    for (double value = f->low; value <= f->high; value++) add_point(&points, value, 0);
  else if (domain == DOMAIN_UNIT)
    for (int i = 0; i < grid->unit_nodes; i++) {
      double width = 4.6 / grid->unit_nodes, tau = -2.3 + (i + 0.5) * width, z = 1 / (1 + exp(-M_PI * sinh(tau)));
      add_point(&points, z, log(width * M_PI * cosh(tau) * z * (1 - z)));
    }
  else
    for (int i = 0; i < sides * steps; i++) {
      double v = grid->low + (i / sides) * grid->step;
      double width = i < sides ? 1 + grid->step / 2 : grid->step; /* the first stands for all that is nearer, too */
      add_point(&points, (sides == 2 && i % 2 ? -1 : 1) * exp(v), v + log(width));
    }
  return points;
}

/* log of the sum of exp(kernel + log weight), one value for each element of `shape`. */
static Value log_integral(Elaborator *e, const Value *d, Domain domain, const Facts *f, const Grid *grid, int split,
                          const Shape *shape, Span span) {
  Points points = points_of(e->c, domain, f, grid);
  NodeDim nodes;
  bool missing;
  if (!node_dim(e, shape, points.count, &nodes)) return value_error();
  Value z = node_table(e, &nodes, points.at, span);
  if (split >= 0) z = apply2(e, IR_add, z, *split_value(d, split), span);
  Value kernel = distribution_field(e, d, "log_kernel", &z, &nodes.shape, span, &missing);
  Value log_term = apply2(e, IR_add, kernel, node_table(e, &nodes, points.log_weight, span), span);
  Node *term = log_term.kind == VALUE_ERROR ? NULL : value_node(e, &log_term);
  if (!term) return value_error();
  place(e, span);
  Value top = value_tensor(build_stop(e->graph, build_max_of(e->graph, term, 1u << nodes.at)), 0, span);
  Value sum = sum_nodes(e, &nodes, apply1(e, IR_exp, apply2(e, IR_sub, log_term, top, span), span), span);
  return apply2(e, IR_add, apply1(e, IR_log, sum, span), top, span);
}

static double *tried(Elaborator *e, const Value *d, Domain domain, const Facts *f, const Grid *grid, int split,
                     Span span, int *count) {
  Value none = {.kind = VALUE_DISTRIBUTION, .family = d->family};
  KlPair pair = {.q = &none, .p = d, .span = span};
  Trial trial;
  if (!make_trial(e, &pair, &trial)) return NULL;
  Value v = log_integral(trial.e, &trial.p, domain, f, grid, split, &trial.pair.shape, span);
  *count = trial.count;
  return evaluate_trial(&trial, &v, 1);
}

typedef struct NormaliserChoice {
  Name key;
  int grid, split;
  double error;
} NormaliserChoice;

/* The first grid that agrees with the finest one, at the split point that serves best. */
static void choose(Elaborator *e, const Value *d, Domain domain, const Facts *f, Span span, NormaliserChoice *choice) {
  int splits[MOST_SPLITS] = {-1}, split_count = 1, count = 0;
  KlPair pair = {.p = d, .q = d};
  if (domain == DOMAIN_REAL) split_count = split_points(&pair, splits);
  double *finest[MOST_SPLITS];
  for (int k = 0; k < split_count; k++) finest[k] = tried(e, d, domain, f, &grids[GRIDS - 1], splits[k], span, &count);
  for (int g = 0; g + 1 < GRIDS; g++)
    for (int k = 0; k < split_count; k++) {
      double *values = finest[k] ? tried(e, d, domain, f, &grids[g], splits[k], span, &count) : NULL;
      double error = 0;
      for (int i = 0; values && i < count; i++)
        error = fabs(values[i] - finest[k][i]) <= error ? error : fabs(values[i] - finest[k][i]);
      if (!values || isnan(error)) continue;
      if (error < choice->error) choice->error = error, choice->split = splits[k];
      if (error > tolerance) continue;
      choice->grid = g;
      return;
    }
}

static const NormaliserChoice *chosen(Elaborator *e, const Value *d, Domain domain, const Facts *f, Span span) {
  Model *m = e->model;
  Value none = {.kind = VALUE_DISTRIBUTION, .family = d->family};
  NormaliserChoice choice = {
      .key = trial_key(e, &(KlPair){.q = &none, .p = d}), .grid = -1, .split = -1, .error = INFINITY};
  for (int i = 0; i < m->normaliser_count; i++)
    if (m->normalisers[i].key == choice.key) return &m->normalisers[i];
  choose(e, d, domain, f, span, &choice);
  m->normalisers = arena_grow(e->c, m->normalisers, m->normaliser_count, sizeof *m->normalisers);
  m->normalisers[m->normaliser_count++] = choice;
  return &m->normalisers[m->normaliser_count - 1];
}

static Value refused(Elaborator *e, const Value *d, const char *why) {
  Diagnostic *x =
      error_at(e->c, "log-kernel", d->span, "the normaliser of %s cannot be computed: %s", d->family->name, why);
  note_at(x, d->family->name_span, "it declares log_kernel alone");
  help_with(x, "declare log_pdf, normalised");
  return value_error();
}

/* The parameters' own shape if one of them holds all others: the normaliser is no matter of the variable. */
static Shape shape_of_parameters(const Value *d, const Shape *otherwise) {
  Shape widest = {0};
  for (int i = 0; i < d->count; i++)
    if (d->elements[i].kind == VALUE_TENSOR && visible_shape(&d->elements[i]).rank > widest.rank)
      widest = visible_shape(&d->elements[i]);
  for (int i = 0; i < d->count; i++) {
    Shape s = d->elements[i].kind == VALUE_TENSOR ? visible_shape(&d->elements[i]) : (Shape){0};
    if (s.rank > 0 && ways_to_fit(&s, &widest) != 1) return *otherwise;
  }
  return widest;
}

Value log_normaliser(Elaborator *e, const Value *d, const Shape *shape, Span span) {
  Support support, extended;
  if (event_rank(d) != 0) return refused(e, d, "it is not univariate");
  if (!distribution_support(e, d, &support, &extended)) return value_error();
  Domain domain = domain_of(&support);
  if (domain == DOMAIN_OTHER)
    return refused(e, d,
                   arena_printf(e->c, "its support, %s, is neither real, positive, unit nor finite", support.name));
  Shape own = shape_of_parameters(d, shape);
  Grid all = {0};
  if (domain == DOMAIN_FINITE) return log_integral(e, d, domain, &support.facts, &all, -1, &own, span);
  const NormaliserChoice *choice = chosen(e, d, domain, &support.facts, span);
  if (choice->grid < 0) return refused(e, d, "its integral does not converge");
  return log_integral(e, d, domain, &support.facts, &grids[choice->grid], choice->split, &own, span);
}
