/* A `rule kl(q, p)` against the densities of q and p: by quadrature or a sum where q's events are single numbers or
 * discrete, by Monte Carlo elsewhere. */
#include "self_check_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MONTE_CARLO_DRAWS = 20000 };

typedef struct Pair { /* the two sides of a rule, in one variant, at one setting each */
  Model *model;
  const Item *rule;
  Subject q, p;
  Program *q_density, *p_density, *closed;
  Point q_setting, p_setting;
  Mass q_mass, p_mass;
} Pair;

/* ---- programs -------------------------------------------------------------------------------------------------- */

bool read_pattern(Model *m, const Expr *pattern, const Item **family, double *fixed) {
  int slots[MAX_SLOTS];
  if (pattern->argument_count > MAX_SLOTS) return false;
  *family = pattern_family(m, pattern, slots);
  if (!*family || !(*family)->has_block || (*family)->extra.count > MAX_SLOTS) return false;
  for (int i = 0; i < MAX_SLOTS; i++) fixed[i] = NAN;
  Builder b = builder_open(m);
  Frame frame = enter_callee(b.e, NULL, false, "");
  for (int i = 0; i < pattern->argument_count; i++) {
    if (pattern->arguments[i].value->kind == EXPR_NAME) continue;
    Value v = elaborate(b.e, pattern->arguments[i].value);
    if (v.kind == VALUE_NUMBER) fixed[slots[i]] = v.dim.size;
  }
  leave_callee(b.e, frame);
  return true;
}

/* The rule's own value, one an event of q's shape; NULL if another rule comes first or it cannot be evaluated. */
static Program *closed_program(Pair *pair, const char **why) {
  Builder b = builder_open(pair->model);
  Value q, p;
  bool missing;
  Span from;
  *why = "it cannot be evaluated by itself";
  if (!builder_distribution(&b, &pair->q, &q) || !builder_distribution(&b, &pair->p, &p)) return NULL;
  Value v = closed_kl(b.e, &q, &p, &pair->q.event, pair->rule->span, &missing, &from);
  if (missing || v.kind == VALUE_ERROR) return NULL;
  *why = "a rule for the same pair comes before it";
  if (from.start != pair->rule->span.start || from.source != pair->rule->span.source) return NULL;
  v = sum_all(b.e, v, pair->rule->span);
  return v.kind == VALUE_TENSOR ? builder_close(&b, &v.node, 1) : NULL;
}

/* log p at an event of q, which may be several of p's. */
static Program *across_program(const Pair *pair) {
  Builder b = builder_open(pair->model);
  Value d, z = builder_input(&b, pair->q.item->formals.items[0].name, &pair->q.event, &pair->q.support.facts,
                             pair->rule->span);
  bool missing;
  if (!builder_distribution(&b, &pair->p, &d)) return NULL;
  Value v = distribution_field(b.e, &d, pair->p.is_kernel ? "log_kernel" : "log_pdf", &z, &pair->q.event,
                               pair->rule->span, &missing);
  if (v.kind == VALUE_TENSOR) v = sum_all(b.e, v, pair->rule->span);
  return v.kind == VALUE_TENSOR ? builder_close(&b, &v.node, 1) : NULL;
}

/* log q - log p, both normalised. */
static double *log_ratios(const Pair *pair, const double *z, long rows, double **log_q) {
  double *q = mass_log_pdf(&pair->q, pair->q_density, &pair->q_setting, &pair->q_mass, z, rows);
  double *p = mass_log_pdf(&pair->p, pair->p_density, &pair->p_setting, &pair->p_mass, z, rows);
  for (long i = 0; q && p && i < rows; i++) p[i] = q[i] - p[i];
  if (log_q)
    *log_q = q;
  else
    free(q);
  return p;
}

/* ---- the true value -------------------------------------------------------------------------------------------- */

static bool evaluate_pair(void *context, const double *z, long count, double *values) {
  const Pair *pair = context;
  double *log_q = NULL, *ratio = log_ratios(pair, z, count, &log_q);
  for (long i = 0; ratio && log_q && i < count; i++) {
    double f = isfinite(log_q[i]) ? exp(log_q[i]) : 0;
    values[2 * i] = f;
    values[2 * i + 1] = f == 0 || isnan(ratio[i]) ? 0 : f * ratio[i];
  }
  free(log_q);
  free(ratio);
  return log_q && ratio;
}

typedef struct Truth {
  double value, tolerance;
  const char *method;
} Truth;

static bool by_line(Pair *pair, Truth *truth) {
  Line line = {.components = 2, .evaluate = evaluate_pair, .context = pair};
  line_anchors(&line, &pair->p, &pair->p_setting);
  line_anchors(&line, &pair->q, &pair->q_setting);
  bool ok = line_integrate(&line);
  *truth = (Truth){line.total[1], 1e-7 * (1 + line.absolute[1]) + line.error[1], "quadrature"};
  line_free(&line);
  return ok;
}

static bool by_sum(Pair *pair, Truth *truth) {
  double *ratio = log_ratios(pair, pair->q_mass.z, pair->q_mass.count, NULL);
  for (long i = 0; ratio && i < pair->q_mass.count; i++)
    if (isnan(ratio[i]) || !isfinite(ratio[i])) ratio[i] = exp(pair->q_mass.log_f[i]) > 0 ? ratio[i] : 0;
  if (!ratio) return false;
  *truth = (Truth){mass_expect(&pair->q_mass, ratio), 1e-7 + pair->q_mass.uncertainty, "a sum over the support"};
  truth->tolerance *= 1 + fabs(truth->value);
  free(ratio);
  return true;
}

static bool by_draws(Pair *pair, uint64_t seed, long draws, Truth *truth) {
  double *z = draw_rows(&pair->q, NULL, &pair->q_setting, seed, 1, draws), sum = 0, squares = 0;
  double *ratio = z ? log_ratios(pair, z, draws, NULL) : NULL;
  for (long i = 0; ratio && i < draws; i++) {
    sum += ratio[i];
    squares += ratio[i] * ratio[i];
  }
  double mean = sum / (double)draws;
  *truth = (Truth){mean, 4 * sqrt(fmax(0, squares / (double)draws - mean * mean) / (double)draws) + 1e-9,
                   "Monte Carlo within 4 standard errors"};
  free(z);
  free(ratio);
  return ratio != NULL;
}

/* ---- one setting ----------------------------------------------------------------------------------------------- */

typedef struct Found {
  int tested, infinite;
  double worst;
  const char *method, *skipped;
  bool failed;
} Found;

static const char *sides_text(const Pair *pair) {
  Compilation *c = pair->q.c;
  return arena_printf(c, "%s(%s) and %s(%s)", pair->q.item->name, point_text(&pair->q, &pair->q_setting),
                      pair->p.item->name, point_text(&pair->p, &pair->p_setting));
}

static void report(const Pair *pair, double declared, const Truth *truth) {
  Diagnostic *d = error_at(
      pair->q.c, "self-check", pair->rule->span, "the rule %s gives %.9g at %s; %s of the densities gives %.9g",
      span_text(pair->q.c, pair->rule->pattern->span), declared, sides_text(pair), truth->method, truth->value);
  help_with(d, fabs(declared + truth->value) < 1e-3 * (1 + fabs(declared))
                   ? "its sign is flipped: KL(q, p) is E_q[log q - log p], never negative"
                   : "KL(q, p) is E_q[log q - log p]");
}

static bool find_truth(Pair *pair, uint64_t seed, double declared, Truth *truth) {
  switch (pair->q_mass.kind) {
  case MASS_LINE:
    if (pair->q.event_size == 1 && !pair->q.atom_count) return by_line(pair, truth);
    break;
  case MASS_SUM: return by_sum(pair, truth);
  case MASS_PLANE:
  case MASS_UNTESTED: break;
  }
  bool ok = by_draws(pair, seed, MONTE_CARLO_DRAWS, truth);
  if (ok && !(fabs(declared - truth->value) <= truth->tolerance))
    ok = by_draws(pair, seed + 1, 4 * MONTE_CARLO_DRAWS, truth);
  return ok;
}

/* The normaliser, so that a density that is off by a factor, which is reported as such, makes no rule wrong as well.
 * Where it would be an integral in the plane it is taken to be one. */
static void weigh(const Subject *s, const Point *setting, Mass *mass) {
  *mass = (Mass){0};
  if (s->event_size == 1 || s->support.facts.integer) mass_make(s, density_program(s), setting, (MassWish){0}, mass);
  if (!(mass->total > 0)) mass->total = 1;
}

static void compare(Pair *pair, uint64_t seed, Found *found) {
  Column columns[MAX_INPUTS];
  int count = point_columns(&pair->q, &pair->q_setting, columns);
  point_columns(&pair->p, &pair->p_setting, columns + count);
  double *declared = NULL;
  Truth truth = {0};
  weigh(&pair->q, &pair->q_setting, &pair->q_mass);
  weigh(&pair->p, &pair->p_setting, &pair->p_mass);
  if (pair->p.event.rank != pair->q.event.rank) pair->p_mass.total = 1; /* several events of p, each normalised */
  if (pair->q_mass.no_setting || pair->p_mass.no_setting)
    found->skipped = "no setting means anything to both sides";
  else if (!program_run(pair->closed, columns, 1, &declared) || !find_truth(pair, seed, *declared, &truth))
    found->skipped = "its first side can be neither integrated nor drawn";
  else if (!(fabs(truth.value) < 1e20))
    found->infinite++;
  else {
    double error = fabs(*declared - truth.value);
    found->tested++;
    found->method = truth.method;
    found->worst = fmax(found->worst, error);
    if (!(error <= truth.tolerance) && !found->failed) {
      report(pair, *declared, &truth);
      found->failed = true;
    }
  }
  free(declared);
  mass_free(&pair->q_mass);
  mass_free(&pair->p_mass);
}

static const char *summary(Compilation *c, const Item *rule, const Found *found) {
  Text t = {.compilation = c};
  text_append(&t, "%s: ", span_text(c, rule->pattern->span));
  if (found->tested) text_append(&t, "%d settings, worst error %.1e by %s", found->tested, found->worst, found->method);
  if (found->infinite) text_append(&t, "%sinfinite at %d settings", found->tested ? "; " : "", found->infinite);
  if (found->skipped || (!found->tested && !found->infinite))
    text_append(&t, "%snot tested%s: %s", found->tested || found->infinite ? "; " : "",
                found->tested ? " everywhere" : "", found->skipped ? found->skipped : "no setting applies");
  return t.bytes;
}

const char *test_rule(Model *m, const Item *rule, uint64_t seed) {
  Pair pair = {.model = m, .rule = rule};
  const Item *q, *p;
  double q_fixed[MAX_SLOTS], p_fixed[MAX_SLOTS];
  Found found = {0};
  Compilation *c = m->compilation;
  if (strcmp(rule->pattern->name, "expect") == 0 && rule->pattern->argument_count == 1)
    return test_expect_rule(m, rule, seed);
  if (!read_pattern(m, rule->pattern->arguments[0].value, &q, q_fixed) ||
      !read_pattern(m, rule->pattern->arguments[1].value, &p, p_fixed))
    found.skipped = "its sides are no two densities declared by themselves";
  for (int variant = 0; !found.skipped && !found.failed; variant++) {
    bool has_q = subject_open(&pair.q, m, q, variant, q_fixed), has_p = subject_open(&pair.p, m, p, variant, p_fixed);
    if (variant > 0 && !has_q && !has_p) break;
    if (pair.q.problem || pair.p.problem || (variant > 0 && pair.q.event_size == 1 && pair.q.slot_count && !has_q))
      break;
    pair.closed = closed_program(&pair, &found.skipped);
    if (!pair.closed) break;
    found.skipped = NULL;
    pair.q_density = density_program(&pair.q);
    pair.p_density = across_program(&pair);
    if (!pair.q_density || !pair.p_density) found.skipped = "a side has no density";
    for (int i = 0; !found.skipped && !found.failed && i<SETTINGS; i += pair.q.event_size> 1 ? 2 : 1) {
      point_make(&pair.q, i, seed, &pair.q_setting);
      point_make(&pair.p, (i + 2) % SETTINGS, seed + 1, &pair.p_setting);
      compare(&pair, seed * 31 + (uint64_t)i * 2, &found);
    }
  }
  return summary(c, rule, &found);
}
