/* A density at one setting -> weighted points: nodes of a quadrature on the line or in the plane, or the members of a
 * discrete support. Expectations under the density are sums over them. Then: does it integrate to one? */
#include "self_check_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TERMS = 20000, MOST_MEMBERS = 4096 };

typedef struct Evaluator { /* of the density and what is integrated with it */
  const Subject *subject;
  const Program *density;
  Column columns[MAX_INPUTS];
  MassWish wish;
  Mass *mass;
} Evaluator;

static bool is_simplex(const Subject *s) { return s->support.special == SPECIAL_SIMPLEX; }

/* A coordinate of the line to an event. */
static void lift(const Subject *s, double coordinate, double *event) {
  event[0] = coordinate;
  if (is_simplex(s)) event[1] = 1 - coordinate;
}

static double *log_density(const Evaluator *v, const double *z, long rows) {
  Column columns[MAX_INPUTS];
  double *out = NULL;
  columns[0] = (Column){z, false};
  memcpy(columns + 1, v->columns, sizeof *columns * (MAX_INPUTS - 1));
  return program_run(v->density, columns, rows, &out) ? out : NULL;
}

/* Where a training run's floats lie and no end of the support is near. */
static bool is_ordinary(const Subject *s, double z) {
  const Facts *f = &s->support.facts;
  if (fabs(z) < 1e-4 || fabs(z) > 1e4) return false;
  return (!isfinite(f->low) || z - f->low > 1e-6) && (!isfinite(f->high) || f->high - z > 1e-6);
}

static void note_bad(Mass *m, const Subject *s, double z, double value) {
  if (!is_ordinary(s, z) || (m->has_bad && fabs(log(fabs(z))) >= fabs(log(fabs(m->bad_z))))) return;
  m->has_bad = true;
  m->bad_z = z;
  m->bad_value = value;
}

static bool is_bad(double log_f) { return isnan(log_f) || log_f == INFINITY; }

/* ---- the line -------------------------------------------------------------------------------------------------- */

static bool evaluate_line(void *context, const double *z, long count, double *values) {
  Evaluator *v = context;
  long size = v->subject->event_size;
  int components = 1 + v->wish.entropy + v->wish.mean + v->wish.variance;
  double *events = calloc((size_t)(count * size) + 1, sizeof(double));
  if (!events) return false;
  for (long i = 0; i < count; i++) lift(v->subject, z[i], events + i * size);
  double *log_f = log_density(v, events, count);
  free(events);
  for (long i = 0; log_f && i < count; i++) {
    if (is_bad(log_f[i])) note_bad(v->mass, v->subject, z[i], log_f[i]);
    double f = is_bad(log_f[i]) ? 0 : exp(log_f[i]);
    int k = 0;
    values[i * components + k++] = f;
    if (v->wish.entropy) values[i * components + k++] = f == 0 ? 0 : f * log_f[i];
    if (v->wish.mean) values[i * components + k++] = f == 0 ? 0 : f * z[i];
    if (v->wish.variance) values[i * components + k++] = f == 0 ? 0 : f * z[i] * z[i];
  }
  free(log_f);
  return log_f != NULL;
}

/* A first integral finds where the density is largest; that place becomes an anchor. */
static bool add_peak(Evaluator *v, Line *line) {
  Line scan = *line;
  double best = -INFINITY, at = 0;
  scan.components = 1;
  MassWish wish = v->wish;
  v->wish = (MassWish){0};
  bool ok = line_integrate(&scan);
  v->wish = wish;
  double *events = calloc((size_t)(scan.count * v->subject->event_size) + 1, sizeof(double));
  for (long i = 0; ok && events && i < scan.count; i++)
    lift(v->subject, scan.z[i], events + i * v->subject->event_size);
  double *log_f = ok && events ? log_density(v, events, scan.count) : NULL;
  for (long i = 0; log_f && i < scan.count; i++)
    if (log_f[i] > best && !is_bad(log_f[i]) && fabs(scan.z[i]) > 1e-6 && fabs(scan.z[i]) < 1e9) {
      best = log_f[i];
      at = scan.z[i];
    }
  bool near = false;
  for (int i = 0; i < line->anchor_count; i++) near |= fabs(line->anchors[i] - at) < 1e-3 * (1 + fabs(at));
  if (best > -INFINITY && !near && line->anchor_count < 32) line->anchors[line->anchor_count++] = at;
  free(events);
  free(log_f);
  line_free(&scan);
  return ok;
}

static bool mass_reserve(Mass *m, long count, long size) {
  m->size = size;
  m->count = count;
  m->z = calloc((size_t)(count * size) + 1, sizeof(double));
  m->weight = calloc((size_t)count + 1, sizeof(double));
  return m->z && m->weight;
}

static bool is_zero_outside(const Evaluator *v, const Mass *m) {
  for (long i = 0; i < m->count; i++)
    if (!isnan(m->log_f[i])) return false;
  return v != NULL;
}

static void edges_of(const Subject *s, Mass *m, const Line *l) {
  double sum = 0;
  int next = 0;
  m->edge = malloc(sizeof(double) * (size_t)(l->panel_count + 1));
  m->below = malloc(sizeof(double) * (size_t)(l->panel_count + 1));
  for (long i = 0; m->edge && m->below && i < l->panel_count; i++) {
    sum += l->panel_mass[i];
    if (l->panel_high[i] <= 0) m->below_zero = sum / m->total;
    double masses = 0; /* of the atoms at or below the edge: they are the last points */
    for (next = 0; next < s->atom_count; next++)
      if (s->atoms[next] <= l->panel_high[i]) masses += exp(m->log_f[m->count - s->atom_count + next]);
    m->edge[i] = l->panel_high[i];
    m->below[i] = (sum + masses) / m->total;
  }
  m->edge_count = m->edge && m->below ? l->panel_count : 0;
}

static void make_line(Evaluator *v, const Point *setting, Mass *m) {
  const Subject *s = v->subject;
  Line line = {
      .components = 1 + v->wish.entropy + v->wish.mean + v->wish.variance, .evaluate = evaluate_line, .context = v};
  line_anchors(&line, s, setting);
  if (!add_peak(v, &line) || !line_integrate(&line) || !mass_reserve(m, line.count + s->atom_count, s->event_size)) {
    m->reason = "out of memory";
    line_free(&line);
    return;
  }
  for (long i = 0; i < line.count; i++) lift(s, line.z[i], m->z + i * m->size);
  memcpy(m->weight, line.weight, sizeof(double) * (size_t)line.count);
  for (int i = 0; i < s->atom_count; i++) {
    m->z[line.count + i] = s->atoms[i];
    m->weight[line.count + i] = 1;
  }
  m->log_f = log_density(v, m->z, m->count);
  m->kind = m->log_f ? MASS_LINE : MASS_UNTESTED;
  m->total = line.total[0];
  m->uncertainty = line.error[0];
  memcpy(m->wish_error, line.error + 1, sizeof(double) * (MAX_COMPONENTS - 1));
  memcpy(m->wish_size, line.absolute + 1, sizeof(double) * (MAX_COMPONENTS - 1));
  for (int i = 0; m->log_f && i < s->atom_count; i++) m->total += exp(m->log_f[line.count + i]);
  if (m->log_f) {
    m->no_setting = is_zero_outside(v, m);
    edges_of(s, m, &line);
  }
  line_free(&line);
}

/* ---- sums ------------------------------------------------------------------------------------------------------ */

/* Members of a discrete support: one-hot vectors, or all vectors of whole numbers. */
static long list_members(const Subject *s, double **members) {
  const Facts *f = &s->support.facts;
  long size = s->event_size, count = 1;
  bool one_hot = strcmp(s->support.name, "category") == 0, endless = !isfinite(f->high) || !isfinite(f->low);
  long choices = endless ? MOST_TERMS : (long)(f->high - f->low) + 1;
  if (endless && size > 1) return 0;
  for (long i = 0; i < size && count <= MOST_MEMBERS; i++) count = one_hot ? size : count * choices;
  if (count > (endless ? MOST_TERMS : MOST_MEMBERS)) return 0;
  *members = calloc((size_t)(count * size), sizeof(double));
  for (long i = 0; *members && i < count; i++) {
    long rest = i;
    for (long k = 0; k < size; k++) {
      (*members)[i * size + k] = one_hot ? i == k : (isfinite(f->low) ? f->low : 0) + (double)(rest % choices);
      rest /= choices;
    }
  }
  return *members ? count : 0;
}

/* Of all vectors of zeros and ones, those with as many ones as the subset has members. */
static long keep_subsets(const Subject *s, double *members, long count) {
  long size = s->event_size, kept = 0;
  for (long i = 0; i < count; i++) {
    double sum = 0;
    for (long k = 0; k < size; k++) sum += members[i * size + k];
    if (sum == s->support.count.size)
      memmove(members + kept++ * size, members + i * size, sizeof *members * (size_t)size);
  }
  return kept;
}

static void make_sum(Evaluator *v, Mass *m) {
  const Subject *s = v->subject;
  double *members = NULL;
  long count = list_members(s, &members);
  if (s->support.special == SPECIAL_SUBSET) count = keep_subsets(s, members, count);
  m->reason = "the support has too many members to be summed";
  if (count == 0 || !mass_reserve(m, count, s->event_size)) {
    free(members);
    return;
  }
  memcpy(m->z, members, sizeof(double) * (size_t)(count * m->size));
  free(members);
  m->log_f = log_density(v, m->z, count);
  for (long i = 0; i < count; i++) m->weight[i] = 1;
  for (long i = 0; m->log_f && i < count; i++)
    if (is_bad(m->log_f[i])) {
      m->has_bad = true;
      m->bad_z = m->z[i * m->size];
      m->bad_value = m->log_f[i];
    } else
      m->total += exp(m->log_f[i]);
  if (!m->log_f) return;
  if (!isfinite(s->support.facts.high)) m->uncertainty = 20 * (double)count * exp(m->log_f[count - 1]);
  m->no_setting = is_zero_outside(v, m);
  m->kind = MASS_SUM;
}

/* ---- the plane ------------------------------------------------------------------------------------------------- */

/* Trapezoidal rule in (s, t), z = centre +- (exp(s), exp(t)); twice the step tells how far to trust it. */
enum { HALF = 84 };
static const double plane_low = -15, plane_step = 0.25;

static void centre_of(const Subject *s, const Point *setting, double *centre) {
  centre[0] = centre[1] = 0;
  for (int i = 0; i < s->slot_count; i++)
    if (s->slots[i].size == 2 && s->slots[i].shape.rank == 1 && !isfinite(s->slots[i].support.facts.low)) {
      memcpy(centre, setting->values[i], 2 * sizeof *centre);
      return;
    }
}

static void make_plane(Evaluator *v, const Point *setting, Mass *m) {
  const Subject *s = v->subject;
  double centre[2], coarse = 0;
  bool both = !isfinite(s->support.facts.low);
  long half = HALF, side = both ? 2 * half : half, count = side * side;
  centre_of(s, setting, centre);
  if (!both) centre[0] = centre[1] = s->support.facts.low;
  m->reason = "out of memory";
  if (!mass_reserve(m, count, 2)) return;
  for (long i = 0; i < count; i++)
    for (int k = 0; k < 2; k++) {
      long at = k ? i % side : i / side;
      double z = exp(plane_low + plane_step * (double)(at % half));
      m->z[2 * i + k] = centre[k] + (at < half ? z : -z);
      m->weight[i] = (k ? m->weight[i] : 1) * plane_step * z;
    }
  m->log_f = log_density(v, m->z, count);
  for (long i = 0; m->log_f && i < count; i++) {
    bool even = i / side % half % 2 == 0 && i % side % half % 2 == 0;
    double part = is_bad(m->log_f[i]) ? 0 : m->weight[i] * exp(m->log_f[i]);
    if (is_bad(m->log_f[i])) note_bad(m, s, m->z[2 * i], m->log_f[i]);
    m->total += part;
    if (even) coarse += 4 * part;
  }
  m->uncertainty = fabs(coarse - m->total);
  m->no_setting = m->log_f && is_zero_outside(v, m);
  m->reason = "its integral over two dims does not settle";
  if (m->log_f && isfinite(m->total) && m->uncertainty < 1e-3 * m->total) m->kind = MASS_PLANE;
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

void mass_make(const Subject *s, const Program *density, const Point *setting, MassWish wish, Mass *m) {
  *m = (Mass){0};
  Evaluator v = {.subject = s, .density = density, .wish = wish, .mass = m};
  if (!density) {
    m->reason = "it has no log_pdf that could be evaluated by itself";
    return;
  }
  if (1 + s->slot_count >= MAX_INPUTS) return;
  point_columns(s, setting, v.columns);
  const Facts *f = &s->support.facts;
  bool bounded_above_only = !isfinite(f->low) && isfinite(f->high);
  if (f->integer)
    make_sum(&v, m);
  else if (s->event_size == 1 || (is_simplex(s) && s->event_size == 2))
    make_line(&v, setting, m);
  else if (s->event_size == 2 && !isfinite(f->high) && !bounded_above_only && !is_simplex(s) &&
           s->support.special == SPECIAL_NONE)
    make_plane(&v, setting, m);
  else
    m->reason = "events of more than two dims are not laid out on a grid";
}

void mass_free(Mass *m) {
  free(m->z);
  free(m->weight);
  free(m->log_f);
  free(m->edge);
  free(m->below);
  *m = (Mass){0};
}

double mass_expect(const Mass *m, const double *g) {
  double sum = 0;
  for (long i = 0; i < m->count; i++) {
    double f = is_bad(m->log_f[i]) ? 0 : exp(m->log_f[i]) * m->weight[i];
    if (f != 0) sum += f * g[i];
  }
  return sum / m->total;
}

double *mass_log_pdf(const Subject *s, const Program *density, const Point *setting, const Mass *m, const double *z,
                     long rows) {
  Evaluator v = {.subject = s, .density = density};
  point_columns(s, setting, v.columns);
  double *log_f = log_density(&v, z, rows), shift = m && m->total > 0 ? log(m->total) : 0;
  for (long i = 0; log_f && i < rows; i++) log_f[i] -= shift;
  return log_f;
}

/* ---- does it integrate to one? --------------------------------------------------------------------------------- */

static const char *support_words(const Subject *s) {
  Text t = {.compilation = s->c};
  const TypeExpr *type = s->item->formals.items[0].type;
  text_append(&t, "`%s`", type ? span_text(s->c, type->span) : s->support.name);
  for (int i = 0; i < s->event.rank; i++)
    text_append(&t, "%s%s = %.0f", i ? ", " : " with ", dim_text(s->c, s->event.dims[i]), s->event.dims[i].size);
  return t.bytes;
}

/* What a setting is wrong about for want of a type. */
static bool help_type(Diagnostic *d, const Subject *s, const Point *setting) {
  Name untyped = point_untyped_negative(s, setting);
  if (untyped)
    help_with(d, "`%s` has no type, so that it may be any number: if it is to be positive, write `%s : positive`",
              untyped, untyped);
  return untyped != NULL;
}

static void help_density(Diagnostic *d, const Subject *s, const Point *setting, const Mass *m) {
  bool symmetric = !isfinite(s->support.facts.low) && m->kind == MASS_LINE;
  if (symmetric && fabs(m->total * (1 - m->below_zero) - 1) < 1e-6)
    help_with(d,
              "subtract %.6g from it, its log; or, if it is meant for numbers above 0, where it does integrate to 1, "
              "declare `%s : positive`",
              log(m->total), s->item->formals.items[0].name);
  else if (isfinite(m->total) && m->total > 0)
    help_with(d, "subtract %.6g from it, its log; or call it `log_kernel`, and the compiler normalises it",
              log(m->total));
  else if (!help_type(d, s, setting))
    help_with(d, "a density that cannot be normalised is no distribution: bound its support or let its tails fall");
}

static Span field_span(const Subject *s) { return s->density ? s->density->span : s->item->name_span; }

static const char *at_setting(const Subject *s, const Point *setting) {
  return s->slot_count ? arena_printf(s->c, " at %s", point_text(s, setting)) : "";
}

static void report_bad(const Subject *s, const Point *setting, const Mass *m) {
  Diagnostic *d = error_at(
      s->c, "self-check", field_span(s), "`%s` of `%s`%s is %s at %s = %.6g, inside its support %s",
      s->is_kernel ? "log_kernel" : "log_pdf", s->item->name, at_setting(s, setting),
      isnan(m->bad_value) ? "not a number" : "infinite", s->item->formals.items[0].name, m->bad_z, support_words(s));
  const TypeExpr *type = s->item->formals.items[0].type;
  if (type) note_at(d, type->span, "the support is declared here");
  if (!help_type(d, s, setting))
    help_with(d,
              m->bad_z < 0 && !isfinite(s->support.facts.low)
                  ? "the support is too wide: declare `%s : positive`, or give a density below 0"
                  : "the support of `%s` is too wide, or the density is wrong there",
              s->item->formals.items[0].name);
}

/* Events of more than two dims: within six standard errors of twelve shifts. */
static bool test_many(Testing *t, const Subject *s, const Program *density, const Point *setting) {
  const Facts *f = &s->support.facts;
  double total, error;
  bool open = !isfinite(f->high) && s->support.special == SPECIAL_NONE && !f->integer;
  if (!density || s->is_kernel || !open || s->event_size < 3 || s->event_size > 8) return false;
  if (!integrate_many(s, density, setting, t->seed, &total, &error) || !(error < 0.02)) return false;
  if (!tally(t, ASPECT_DENSITY, fabs(total - 1), 6 * error + 1e-4)) return true;
  Diagnostic *d = error_at(s->c, "self-check", field_span(s),
                           "the density of `%s`%s integrates to %.4g over %s, give or take %.2g, not to 1",
                           s->item->name, at_setting(s, setting), total, support_words(s), error);
  help_with(d, "subtract about %.4g from it, its log", log(total));
  return true;
}

void test_density(Testing *t, const Subject *s, const Program *density, const Point *setting, const Mass *m) {
  if (m->kind == MASS_UNTESTED && test_many(t, s, density, setting)) return;
  if (m->kind == MASS_UNTESTED) {
    tally_skip(t, ASPECT_DENSITY, m->reason);
    return;
  }
  if (m->has_bad) {
    if (tally(t, ASPECT_DENSITY, INFINITY, 0)) report_bad(s, setting, m);
    return;
  }
  bool proper = isfinite(m->total) && m->total > 0;
  if (s->is_kernel) { /* unnormalised, as the spec says: only that it can be normalised */
    if (!tally(t, ASPECT_DENSITY, proper ? 0 : INFINITY, 1)) return;
  } else if (!tally(t, ASPECT_DENSITY, fabs(m->total - 1), (m->kind == MASS_PLANE ? 1e-5 : 1e-7) + m->uncertainty))
    return;
  const char *verb = m->kind == MASS_SUM ? "sums" : "integrates";
  Diagnostic *d =
      error_at(s->c, "self-check", field_span(s), "the density of `%s`%s %s to %.9g over %s, not to %s", s->item->name,
               at_setting(s, setting), verb, m->total, support_words(s), s->is_kernel ? "a positive number" : "1");
  const TypeExpr *type = s->item->formals.items[0].type;
  if (type) note_at(d, type->span, "the support is declared here");
  help_density(d, s, setting, m);
}
