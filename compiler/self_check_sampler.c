/* A sampler against its density: Kolmogorov-Smirnov on the line, chi-square on a discrete support, moments in the
 * plane; its draws against the declared support; a relaxed sampler against the hard one under the same noise.
 *
 * Kolmogorov-Smirnov and chi-square are held to level 1e-6, moments to 4 standard errors; what exceeds that is drawn
 * anew with four times as many draws and fails only if it exceeds the level again, so a right sampler is refused with
 * probability below 1e-8. */
#include "self_check_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DRAWS = 10000 };

/* Two-sided: 2 exp(-2 x^2) = 1e-6 at x = 2.694. */
static double kolmogorov_limit(long draws) { return 2.694 / sqrt((double)draws); }

/* Wilson and Hilferty 1931, at the normal quantile of 1 - 1e-6. */
static double chi_square_limit(long freedom) {
  double k = (double)freedom, c = 2 / (9 * k);
  return k * pow(1 - c + 4.7534 * sqrt(c), 3);
}

typedef struct Verdict {
  double statistic, limit;
  double where, expected, found; /* the largest difference: P(z <= where), P(z = where), or the moment of this order */
  const char *test, *relation;   /* "<=", "=", or NULL for moments */
} Verdict;

static Verdict kolmogorov(const Mass *m, const double *draws, long count, long size) {
  double *sorted = malloc(sizeof(double) * (size_t)count);
  Verdict v = {.limit = kolmogorov_limit(count), .test = "Kolmogorov-Smirnov", .relation = "<="};
  if (!sorted) return v;
  for (long i = 0; i < count; i++) sorted[i] = draws[i * size];
  qsort(sorted, (size_t)count, sizeof *sorted, numbers_ascending);
  long at = 0;
  for (long i = 0; i < m->edge_count; i++) {
    while (at < count && sorted[at] <= m->edge[i]) at++;
    double share = (double)at / (double)count, distance = fabs(share - m->below[i]);
    if (distance > v.statistic || isnan(distance))
      v = (Verdict){distance, v.limit, m->edge[i], m->below[i], share, v.test, v.relation};
  }
  free(sorted);
  return v;
}

static long member_of(const Mass *m, const double *draw) {
  for (long i = 0; i < m->count; i++)
    if (memcmp(m->z + i * m->size, draw, sizeof(double) * (size_t)m->size) == 0) return i;
  return -1;
}

/* Members of expected count below 10 are put together. */
static Verdict chi_square(const Mass *m, const double *draws, long count) {
  long *counts = calloc((size_t)m->count, sizeof *counts), cells = 0, rest_found = 0, outside = 0;
  double sum = 0, rest = 0, worst = 0;
  Verdict v = {.test = "chi-square", .relation = "="};
  if (!counts) return v;
  for (long i = 0; i < count; i++) {
    /* a scalar support lists its members in order */
    double first = m->size == 1 && m->count > 0 ? draws[i] - m->z[0] : -1;
    long at = m->size == 1 ? (first >= 0 && first < (double)m->count && first == floor(first) ? (long)first : -1)
                           : member_of(m, draws + i * m->size);
    if (at < 0)
      outside++;
    else
      counts[at]++;
  }
  for (long i = 0; i < m->count; i++) {
    double expected = (double)count * exp(m->log_f[i]) / m->total, gap = (double)counts[i] - expected;
    if (expected < 10) {
      rest += expected;
      rest_found += counts[i];
      continue;
    }
    cells++;
    sum += gap * gap / expected;
    if (gap * gap / expected <= worst) continue;
    worst = gap * gap / expected;
    v.where = m->z[i * m->size];
    v.expected = expected / (double)count;
    v.found = (double)counts[i] / (double)count;
  }
  double gap = (double)(rest_found + outside) - rest;
  if (rest >= 10) {
    cells++;
    sum += gap * gap / rest;
  } else if (gap > 60)
    sum += gap * gap / 10; /* almost impossible members are drawn */
  v.statistic = sum;
  v.limit = chi_square_limit(cells > 1 ? cells - 1 : 1);
  free(counts);
  return v;
}

/* The first two moments of each coordinate and their product, in standard errors. */
static Verdict plane_moments(const Mass *m, const double *draws, long count) {
  static const int powers[5][2] = {{1, 0}, {0, 1}, {2, 0}, {0, 2}, {1, 1}};
  Verdict v = {.limit = 4, .test = "moments in standard errors"};
  double *g = malloc(sizeof(double) * (size_t)m->count);
  for (int k = 0; g && k < 5; k++) {
    double sum = 0, squares = 0;
    for (long i = 0; i < m->count; i++) g[i] = pow(m->z[2 * i], powers[k][0]) * pow(m->z[2 * i + 1], powers[k][1]);
    for (long i = 0; i < count; i++) {
      double x = pow(draws[2 * i], powers[k][0]) * pow(draws[2 * i + 1], powers[k][1]);
      sum += x;
      squares += x * x;
    }
    double mean = sum / (double)count, expected = mass_expect(m, g);
    double error = sqrt(fmax(1e-300, squares / (double)count - mean * mean) / (double)count);
    double distance = fabs(mean - expected) / error;
    if (distance > v.statistic || isnan(distance))
      v = (Verdict){distance, v.limit, powers[k][0] + powers[k][1], expected, mean, v.test, v.relation};
  }
  free(g);
  return v;
}

static Verdict judge(const Mass *m, const double *draws, long count) {
  switch (m->kind) {
  case MASS_LINE: return kolmogorov(m, draws, count, m->size);
  case MASS_SUM: return chi_square(m, draws, count);
  case MASS_PLANE: return plane_moments(m, draws, count);
  case MASS_UNTESTED: break;
  }
  return (Verdict){.test = "nothing"};
}

/* ---- support --------------------------------------------------------------------------------------------------- */

static bool inside(const Subject *s, double z) {
  const Facts *f = &s->support.facts;
  if (isnan(z) || z < f->low || z > f->high || (f->integer && z != floor(z))) return false;
  return !(f->above_low && z == f->low && isfinite(f->low)) && !(f->below_high && z == f->high && isfinite(f->high));
}

static Span sample_span(const Subject *s) {
  const Field *field = s->item->has_block ? distribution_find_field(s->item, "sample") : NULL;
  return field ? field->span : s->item->name_span;
}

static bool report_wrong_size(Testing *t, const Subject *s, const Point *setting, const double *draws, long rows) {
  for (long row = 0; row < rows; row++) {
    double sum = 0;
    for (long k = 0; k < s->event_size; k++) sum += draws[row * s->event_size + k];
    if (sum == s->support.count.size) continue;
    if (tally(t, ASPECT_SAMPLE, INFINITY, 0))
      error_at(s->c, "self-check", sample_span(s), "`sample` of `%s` at %s draws %.9g members, not %.9g", s->item->name,
               point_text(s, setting), sum, s->support.count.size);
    return true;
  }
  return false;
}

static bool report_outside(Testing *t, const Subject *s, const Point *setting, const double *draws, long rows) {
  for (long i = 0; i < rows * s->event_size; i++) {
    if (inside(s, draws[i])) continue;
    if (!tally(t, ASPECT_SAMPLE, INFINITY, 0)) return true;
    Diagnostic *d =
        error_at(s->c, "self-check", sample_span(s),
                 "`sample` of `%s` at %s draws %.9g, which lies outside its support `%s`, %s", s->item->name,
                 point_text(s, setting), draws[i], s->support.name, facts_text(s->c, &s->support.facts));
    const TypeExpr *type = s->item->formals.items[0].type;
    if (type) note_at(d, type->span, "the support is declared here");
    help_with(d, "widen the support or correct the sampler");
    return true;
  }
  return s->support.special == SPECIAL_SUBSET && report_wrong_size(t, s, setting, draws, rows);
}

/* ---- relaxed --------------------------------------------------------------------------------------------------- */

/* At its sharpest, a relaxed draw is the hard one under the same noise, but for noise close to a threshold. */
static double agreement(const Subject *s, const Field *relaxed, const Point *setting, const double *hard, uint64_t seed,
                        double sharpness, long rows) {
  double *soft = draw_rows(s, relaxed, setting, seed, sharpness, rows);
  long near = 0;
  if (!soft) return NAN;
  for (long r = 0; r < rows; r++) {
    double gap = 0, scale = 1;
    for (long i = 0; i < s->event_size; i++) {
      gap = fmax(gap, fabs(soft[r * s->event_size + i] - hard[r * s->event_size + i]));
      scale = fmax(scale, fabs(hard[r * s->event_size + i]));
    }
    near += gap < 0.01 * scale;
  }
  free(soft);
  return (double)near / (double)rows;
}

static void test_relaxed(Testing *t, const Subject *s, const Field *field, const Point *setting, const double *hard,
                         uint64_t seed, long rows) {
  if (field->extra.count == 0) {
    tally_skip(t, ASPECT_RELAXED, "it has no temperature or steepness to make it sharp by");
    return;
  }
  double cold = agreement(s, field, setting, hard, seed, 1e-4, rows),
         steep = agreement(s, field, setting, hard, seed, 1e4, rows);
  double best = fmax(cold, steep);
  t->tallies[ASPECT_RELAXED].number = "share of draws that agree";
  if (!tally(t, ASPECT_RELAXED, 1 - best, 0.02)) return;
  Diagnostic *d = error_at(s->c, "self-check", field->span,
                           "`relaxed` of `%s` at %s, made 10000 times sharper, agrees with `sample` under the same "
                           "noise in %.1f%% of %ld draws, not in 98%%",
                           s->item->name, point_text(s, setting), 100 * best, rows);
  const Field *sample = distribution_find_field(s->item, "sample");
  if (sample) note_at(d, sample->span, "the hard sampler is declared here");
  help_with(d, "name the noise in the same order in both, and let the relaxed draw cross over where the hard one does");
}

/* ---- samplers -------------------------------------------------------------------------------------------------- */

static void report(const Subject *s, const Point *setting, const Verdict *v, long rows) {
  Diagnostic *d =
      error_at(s->c, "self-check", sample_span(s),
               "`sample` of `%s`%s%s does not follow its log_pdf: %s %.4g, allowed %.4g, %ld draws", s->item->name,
               s->slot_count ? " at " : "", point_text(s, setting), v->test, v->statistic, v->limit, rows);
  const char *z = s->item->formals.items[0].name;
  if (s->density) note_at(d, s->density->span, "the density is declared here");
  Text t = {.compilation = s->c};
  if (!v->relation)
    text_append(&t, "the moment of order %.0f is %.5g by the density, %.5g of the draws", v->where, v->expected,
                v->found);
  else
    text_append(&t, "P(%s %s %.5g) is %.5g by the density, %.5g of the draws", z, v->relation, v->where, v->expected,
                v->found);
  help_with(d, "%s: one of the two is wrong", t.bytes);
}

void test_sampler(Testing *t, const Subject *s, const Point *setting, const Mass *m, int number) {
  const Field *field = s->item->has_block ? distribution_find_field(s->item, "sample") : NULL;
  uint64_t seed = t->seed * 7919u + (uint64_t)number * 2u + 1u;
  if (!field && s->item->has_block) return;
  double *draws = draw_rows(s, NULL, setting, seed, 1, DRAWS);
  if (!draws) {
    if (field) tally_skip(t, ASPECT_SAMPLE, "it cannot be evaluated by itself");
    return;
  }
  if (report_outside(t, s, setting, draws, DRAWS)) {
    free(draws);
    return;
  }
  if (m->kind == MASS_UNTESTED)
    tally_skip(t, ASPECT_SAMPLE, arena_printf(s->c, "only its support: %s", m->reason));
  else {
    Verdict v = judge(m, draws, DRAWS);
    long rows = DRAWS;
    if (!(v.statistic <= v.limit)) {
      rows = 4 * DRAWS;
      double *more = draw_rows(s, NULL, setting, seed + 1, 1, rows);
      if (more) v = judge(m, more, rows);
      free(more);
    }
    t->tallies[ASPECT_SAMPLE].number = "of what is allowed";
    if (tally(t, ASPECT_SAMPLE, v.statistic / v.limit, 1)) report(s, setting, &v, rows);
  }
  for (const Field *f = NULL; field && (f = next_relaxed(s->item, f));)
    test_relaxed(t, s, f, setting, draws, seed, 2000);
  free(draws);
}
