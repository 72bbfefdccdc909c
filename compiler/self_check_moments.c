/* entropy, mean and variance of a declared distribution against sums over its mass; derivatives of its log_pdf against
 * differences; prox against direct minimisation. */
#include "self_check_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- moments --------------------------------------------------------------------------------------------------- */

/* One row of a field without arguments: one value an event, or the event's shape. */
static bool field_numbers(const Subject *s, const char *name, const Point *setting, double *out, long size) {
  Builder b = builder_open(s->model);
  Value d;
  bool missing;
  Column columns[MAX_INPUTS];
  double *found = NULL;
  if (!builder_distribution(&b, s, &d)) return false;
  Value v = distribution_field(b.e, &d, name, NULL, &s->event, s->item->name_span, &missing);
  if (v.kind != VALUE_TENSOR || shape_size(&v.node->shape) != size) return false;
  Program *p = builder_close(&b, &v.node, 1);
  point_columns(s, setting, columns);
  if (!p || !program_run(p, columns, 1, &found)) return false;
  memcpy(out, found, sizeof(double) * (size_t)size);
  free(found);
  return true;
}

static void report_moment(const Subject *s, const Point *setting, const char *name, double declared, double measured) {
  const Field *field = distribution_find_field(s->item, name);
  Diagnostic *d = error_at(s->c, "self-check", field->span, "`%s` of `%s`%s%s is %.9g; its log_pdf gives %.9g", name,
                           s->item->name, s->slot_count ? " at " : "", point_text(s, setting), declared, measured);
  if (s->density) note_at(d, s->density->span, "the density is declared here");
  help_with(d, "one of the two is wrong; `%s` may also be left out", name);
}

/* wish: its place among what was integrated. */
static void compare_moment(Testing *t, Aspect aspect, const Subject *s, const Point *setting, const Mass *m, int wish,
                           double declared, double measured) {
  const char *name = aspect_names[aspect];
  double tolerance = (m->kind == MASS_PLANE ? 1e-4 + 10 * m->uncertainty : 1e-6) * (1 + fabs(measured));
  if (m->kind == MASS_LINE) {
    if (!(m->wish_size[wish] < 1e9)) {
      tally_skip(t, aspect, arena_printf(s->c, "at %s its integral does not converge", point_text(s, setting)));
      return;
    }
    tolerance += 2 * m->wish_error[wish] / m->total;
  }
  if (m->kind == MASS_LINE && tolerance > 1e-3 * (1 + m->wish_size[wish])) {
    tally_skip(t, aspect,
               arena_printf(s->c, "at %s its integral is only known to %.1g", point_text(s, setting), tolerance));
    return;
  }
  if (tally(t, aspect, fabs(declared - measured) / (1 + fabs(measured)), tolerance / (1 + fabs(measured))))
    report_moment(s, setting, name, declared, measured);
}

static double moment_of(const Mass *m, long coordinate, double about, int power) {
  double *g = malloc(sizeof(double) * (size_t)m->count), sum = NAN;
  for (long i = 0; g && i < m->count; i++) g[i] = pow(m->z[i * m->size + coordinate] - about, power);
  if (g) sum = mass_expect(m, g);
  free(g);
  return sum;
}

static double entropy_of(const Mass *m) {
  double *g = malloc(sizeof(double) * (size_t)m->count), sum = NAN;
  for (long i = 0; g && i < m->count; i++) g[i] = log(m->total) - m->log_f[i];
  if (g) sum = mass_expect(m, g);
  free(g);
  return sum;
}

void test_moments(Testing *t, const Subject *s, const Point *setting, const Mass *m) {
  static const Aspect aspects[3] = {ASPECT_ENTROPY, ASPECT_MEAN, ASPECT_VARIANCE};
  int wish = 0;
  double declared[64];
  for (int k = 0; k < 3; k++) {
    Aspect aspect = aspects[k];
    if (!distribution_find_field(s->item, aspect_names[aspect])) continue;
    int place = wish++;
    long size = aspect == ASPECT_ENTROPY ? 1 : s->event_size;
    if (m->kind == MASS_UNTESTED || size > 64 || (aspect == ASPECT_ENTROPY && s->atom_count && !isfinite(m->total))) {
      tally_skip(t, aspect, m->kind == MASS_UNTESTED ? m->reason : "the event is too large");
      continue;
    }
    if (!field_numbers(s, aspect_names[aspect], setting, declared, size)) {
      tally_skip(t, aspect, "it has another shape than its event, or cannot be evaluated by itself");
      continue;
    }
    for (long i = 0; i < size; i++) {
      double mean = aspect == ASPECT_ENTROPY ? 0 : moment_of(m, i, 0, 1);
      double measured = aspect == ASPECT_ENTROPY ? entropy_of(m)
                        : aspect == ASPECT_MEAN  ? mean
                                                 : moment_of(m, i, mean, 2);
      compare_moment(t, aspect, s, setting, m, place, declared[i], measured);
    }
  }
}

/* ---- derivatives ----------------------------------------------------------------------------------------------- */

typedef struct Slopes { /* log_pdf and its derivative in each input, event first */
  Program *program;
  int inputs;
  int slot[MAX_INPUTS]; /* of each input; -1: the event */
  bool differentiable[MAX_INPUTS];
  long size[MAX_INPUTS];
} Slopes;

static bool slopes_build(const Subject *s, Slopes *g) {
  Builder b = builder_open(s->model);
  Value d, z = builder_event(&b, s);
  bool missing;
  if (!builder_distribution(&b, s, &d)) return false;
  Value v =
      distribution_field(b.e, &d, s->is_kernel ? "log_kernel" : "log_pdf", &z, &s->event, s->item->name_span, &missing);
  if (v.kind != VALUE_TENSOR || v.node->axes != AXIS_DATUM) return false;
  Node *inputs[MAX_INPUTS], *outputs[MAX_INPUTS + 1];
  *g = (Slopes){.inputs = b.signature->data_count};
  int slot = 0;
  for (int i = 0; i < g->inputs; i++) {
    inputs[i] = build_data(b.e->graph, i);
    g->size[i] = shape_size(&inputs[i]->shape);
    g->slot[i] = i ? slot : -1;
    while (i && s->slots[slot].is_number) g->slot[i] = ++slot;
    slot += i > 0;
    const Support *support = i ? &s->slots[g->slot[i]].support : &s->support;
    g->differentiable[i] = !support->facts.integer && support->special != SPECIAL_SIMPLEX;
  }
  outputs[0] = v.node;
  differentiate(b.e->graph, build_sum_over(b.e->graph, v.node, AXIS_DATUM), inputs, g->inputs, outputs + 1);
  g->program = builder_close(&b, outputs, g->inputs + 1);
  return g->program != NULL;
}

enum { POINTS = 24, STENCIL = 5 }; /* at 0, -h, +h, -2h, +2h */

/* Points that the density favours: by its mass in equal shares, so that tails and both sides of a kink are met. */
static long pick_points(const Mass *m, long *picked) {
  double sum = 0, step = 1.0 / POINTS, next = 0.5 * step;
  long count = 0;
  for (long i = 0; i < m->count && count < POINTS; i++) {
    double share = exp(m->log_f[i]) * m->weight[i] / m->total;
    if (!isfinite(share) || share <= 0) continue;
    sum += share;
    if (sum < next) continue;
    picked[count++] = i;
    while (next <= sum) next += step;
  }
  return count;
}

typedef struct Stencil {
  const Subject *subject;
  const Point *setting;
  const Slopes *slopes;
  const double *z; /* count x event */
  long count;
} Stencil;

/* Points lie at all sizes, so a step in the event is a share of each point's own size. */
static double step_at(const Stencil *at, int input, long element, long point) {
  double value =
      input ? at->setting->values[at->slopes->slot[input]][element] : at->z[point * at->slopes->size[0] + element];
  return 1e-4 * (input ? fmax(0.05, fabs(value)) : fmin(10, fabs(value) + 1e-12));
}

/* log_pdf at all points with element `element` of input `input` moved by each of the stencil's steps. */
static bool stencil_run(const Stencil *at, int input, long element, double **outputs) {
  static const double steps[STENCIL] = {0, -1, 1, -2, 2};
  const Slopes *g = at->slopes;
  Column columns[MAX_INPUTS];
  double *owned[MAX_INPUTS] = {0};
  long rows = at->count * STENCIL;
  bool ok = true;
  for (int i = 0; ok && i < g->inputs; i++) {
    long size = g->size[i];
    owned[i] = malloc(sizeof(double) * (size_t)(rows * size));
    ok = owned[i] != NULL;
    for (long r = 0; ok && r < rows; r++) {
      const double *from = i ? at->setting->values[g->slot[i]] : at->z + r / STENCIL * size;
      memcpy(owned[i] + r * size, from, sizeof(double) * (size_t)size);
      if (i == input) owned[i][r * size + element] += step_at(at, input, element, r / STENCIL) * steps[r % STENCIL];
    }
    columns[i] = (Column){owned[i], false};
  }
  ok = ok && program_run(g->program, columns, rows, outputs);
  for (int i = 0; i < g->inputs; i++) free(owned[i]);
  return ok;
}

static void report_derivative(const Stencil *at, int input, double z, double found, double expected) {
  const Subject *s = at->subject;
  const char *with = input ? s->slots[at->slopes->slot[input]].formal->name : s->item->formals.items[0].name;
  Diagnostic *d = error_at(s->c, "self-check", s->density ? s->density->span : s->item->name_span,
                           "the derivative of `%s` of `%s` in %s at %s = %.6g%s%s is %.9g; differences give %.9g",
                           s->is_kernel ? "log_kernel" : "log_pdf", s->item->name, with, s->item->formals.items[0].name,
                           z, s->slot_count ? ", " : "", point_text(s, at->setting), found, expected);
  help_with(d, "look for `stop(...)`, a rounding function, or a constant that stands for something that varies");
}

/* Fourth-order differences; where the two halves of the stencil disagree there is a kink, and the point says nothing.
 */
static void compare_slopes(Testing *t, const Stencil *at, int input, long element) {
  const Slopes *g = at->slopes;
  double *out[MAX_INPUTS + 1] = {0};
  if (!stencil_run(at, input, element, out)) return;
  for (long i = 0; i < at->count; i++) {
    const double *f = out[0] + i * STENCIL, step = step_at(at, input, element, i);
    double near = (f[2] - f[1]) / (2 * step), far = (f[4] - f[3]) / (4 * step), expected = (4 * near - far) / 3;
    double left = (f[0] - f[1]) / step, right = (f[2] - f[0]) / step;
    double rounding = 1e-15 * (1 + fabs(f[0])) / step;
    double curvature = fabs(right - left) + fabs(near - far),
           found = out[input + 1][i * STENCIL * g->size[input] + element];
    if (!isfinite(expected) || curvature > 1e-2 * (1 + fabs(expected)) || rounding > 1e-4 * (1 + fabs(expected)))
      continue;
    double error = fabs(found - expected) / (1 + fabs(expected)),
           tolerance = 1e-6 + (20 * rounding + 0.05 * fabs(near - far)) / (1 + fabs(expected));
    if (tally(t, ASPECT_DERIVATIVES, isfinite(found) ? error : INFINITY, tolerance))
      report_derivative(at, input, at->z[i * g->size[0]], found, expected);
  }
  for (int k = 0; k <= g->inputs; k++) free(out[k]);
}

void test_derivatives(Testing *t, const Subject *s, const Point *setting, const Mass *m) {
  Slopes g;
  long picked[POINTS];
  if (m->kind == MASS_UNTESTED) {
    tally_skip(t, ASPECT_DERIVATIVES, m->reason);
    return;
  }
  if (!slopes_build(s, &g)) {
    tally_skip(t, ASPECT_DERIVATIVES, "its log_pdf does not depend on its event");
    return;
  }
  long count = pick_points(m, picked);
  double *z = arena_array(s->c, double, count * m->size);
  for (long i = 0; i < count; i++)
    memcpy(z + i * m->size, m->z + picked[i] * m->size, sizeof(double) * (size_t)m->size);
  Stencil at = {s, setting, &g, z, count};
  for (int i = 0; i < g.inputs; i++)
    for (long k = 0; g.differentiable[i] && k < g.size[i] && k < 4; k++) {
      bool triangle = i && s->slots[g.slot[i]].support.special == SPECIAL_LOWER_TRIANGULAR;
      if (triangle && g.size[i] > 1 && k == 1) continue; /* above the diagonal: no parameter */
      compare_slopes(t, &at, i, k);
    }
}

/* ---- prox ------------------------------------------------------------------------------------------------------ */

typedef struct ProxCase {
  double v[2], t;
} ProxCase;

enum { GRID = 241, ZOOMS = 7, PLANE_GRID = 25 };

/* t (-log_pdf(z)) + |z - v|^2 / 2 at many z. */
static double *prox_costs(const Subject *s, const Program *density, const Point *setting, const ProxCase *p,
                          const double *z, long rows) {
  double *cost = mass_log_pdf(s, density, setting, NULL, z, rows);
  for (long i = 0; cost && i < rows; i++) {
    double square = 0;
    for (long k = 0; k < s->event_size; k++)
      square += (z[i * s->event_size + k] - p->v[k]) * (z[i * s->event_size + k] - p->v[k]);
    cost[i] = -p->t * cost[i] + 0.5 * square;
    if (isnan(cost[i])) cost[i] = INFINITY;
  }
  return cost;
}

/* Grids around the best point so far, each finer than the last. */
static double minimise(const Subject *s, const Program *density, const Point *setting, const ProxCase *p,
                       double *best) {
  long size = s->event_size, side = size == 1 ? GRID : PLANE_GRID, rows = size == 1 ? side : side * side;
  double radius = 8 + 2 * fabs(p->v[0]) + (size > 1 ? 2 * fabs(p->v[1]) : 0), least = INFINITY,
         centre[2] = {p->v[0], p->v[1]};
  double *z = malloc(sizeof(double) * (size_t)(rows * size));
  for (int zoom = 0; z && zoom < 2 * ZOOMS; zoom++) {
    for (long i = 0; i < rows; i++)
      for (long k = 0; k < size; k++) {
        long at = k ? i % side : i / (size == 1 ? 1 : side);
        double x = centre[k] + radius * (2.0 * (double)at / (double)(side - 1) - 1);
        z[i * size + k] = fmin(fmax(x, s->support.facts.low), s->support.facts.high);
      }
    if (zoom == 0) memset(z, 0, sizeof(double) * (size_t)size); /* the usual kink */
    double *cost = prox_costs(s, density, setting, p, z, rows);
    for (long i = 0; cost && i < rows; i++)
      if (cost[i] < least) {
        least = cost[i];
        memcpy(best, z + i * size, sizeof(double) * (size_t)size);
      }
    free(cost);
    memcpy(centre, best, sizeof(double) * (size_t)size);
    radius *= 4.0 / (double)(side - 1) * (zoom < 1 ? 1 : 1.5);
    if (radius < 1e-9) break;
  }
  free(z);
  return least;
}

static double *prox_points(const Subject *s, const Point *setting, const ProxCase *cases, int count) {
  Builder b = builder_open(s->model);
  Value d, arguments[MAX_SLOTS];
  Column columns[MAX_INPUTS];
  if (!builder_distribution(&b, s, &d)) return NULL;
  const Field *field = distribution_find_field(d.family, "prox");
  if (field->head.count != 2 || field->extra.count) return NULL;
  int at = point_columns(s, setting, columns);
  for (int i = 0; i < 2; i++) {
    Support support;
    Shape shape;
    if (!distribution_argument_shape(b.e, &d, &field->head.items[i], &s->event, &support, &shape)) return NULL;
    long size = shape_size(&shape);
    if (size != (i ? 1 : s->event_size)) return NULL;
    double *values = arena_array(s->c, double, size *count);
    for (int r = 0; r < count; r++)
      for (long k = 0; k < size; k++) values[r * size + k] = i ? cases[r].t : cases[r].v[k];
    arguments[i] = builder_input(&b, field->head.items[i].name, &shape, &support.facts, field->head.items[i].span);
    columns[at++] = (Column){values, false};
  }
  Value v = distribution_field_at(b.e, &d, field, arguments, &s->event, field->span);
  double *out = NULL;
  if (v.kind != VALUE_TENSOR) return NULL;
  Program *p = builder_close(&b, &v.node, 1);
  return p && program_run(p, columns, count, &out) ? out : NULL;
}

static void report_prox(const Subject *s, const Point *setting, const ProxCase *p, double found, double found_cost,
                        double best, double best_cost) {
  const Field *field = distribution_find_field(s->item, "prox");
  Diagnostic *d = error_at(s->c, "self-check", field->span,
                           "`prox` of `%s`%s%s at v = %.5g, t = %.5g is %.9g; the minimum lies at %.9g", s->item->name,
                           s->slot_count ? " at " : "", point_text(s, setting), p->v[0], p->t, found, best);
  if (s->density) note_at(d, s->density->span, "the density is declared here");
  help_with(d, "prox(v, t) minimises -t * log_pdf(z) + (z - v)^2 / 2, which is %.9g at %.6g and %.9g at %.6g",
            found_cost, found, best_cost, best);
}

void test_prox(Testing *t, const Subject *s, const Program *density, const Point *setting, const Mass *m) {
  static const double vs[] = {-3.1, -1.2, -0.21, 0.34, 1.43, 4.2}, ts[] = {0.1, 0.7, 2};
  ProxCase cases[18];
  if (!distribution_find_field(s->item, "prox")) return;
  if (m->kind == MASS_SUM || s->atom_count || s->event_size > 2) {
    tally_skip(t, ASPECT_PROX,
               s->atom_count ? "atoms are no points that a grid could find" : "only real events of one or two dims");
    return;
  }
  for (int i = 0; i < 18; i++) cases[i] = (ProxCase){{vs[i / 3], 0.6 - vs[(i / 3 + 2) % 6]}, ts[i % 3]};
  double *found = prox_points(s, setting, cases, 18);
  if (!found) {
    tally_skip(t, ASPECT_PROX, "it is not a function prox(v, t) of an event and a number");
    return;
  }
  for (int i = 0; i < 18; i++) {
    double best[2] = {0}, least = minimise(s, density, setting, &cases[i], best);
    double *cost = prox_costs(s, density, setting, &cases[i], found + i * s->event_size, 1);
    double error = cost ? (*cost - least) / (1 + fabs(least)) : 0, own = cost ? *cost : 0;
    free(cost);
    if (!isfinite(least))
      tally_skip(t, ASPECT_PROX, "what it minimises has no minimum");
    else if (tally(t, ASPECT_PROX, fmax(error, 0), 1e-8))
      report_prox(s, setting, &cases[i], found[i * s->event_size], own, best[0], least);
  }
  free(found);
}
