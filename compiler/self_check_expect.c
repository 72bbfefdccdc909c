/* A `rule expect(...)` against the density of its distribution: the pattern, with the distribution in it replaced by
 * its variable, is integrated (or summed) at several settings of the parameters and of the pattern's other names. */
#include "self_check_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NAMES = 8 };

typedef struct Expected {
  Model *model;
  const Item *rule;
  Subject q;
  Point setting;
  Mass mass;
  const Expr *slot; /* the distribution in the pattern */
  Name names[MOST_NAMES];
  int name_count;
  double values[MOST_NAMES];
  Program *density, *inner, *declared;
} Expected;

static void read_names(Expected *x, const Expr *e) {
  if (!e) return;
  if (e->kind == EXPR_CALL && is_family(x->model, e->name)) {
    x->slot = e;
    return;
  }
  bool known = e->kind != EXPR_NAME || x->name_count == MOST_NAMES;
  for (int i = 0; i < x->name_count; i++) known = known || x->names[i] == e->name;
  if (!known) x->names[x->name_count++] = e->name;
  for (int i = 0; i < e->argument_count; i++) read_names(x, e->arguments[i].value);
  read_names(x, e->a);
  read_names(x, e->b);
  read_names(x, e->c);
}

/* The pattern with its distribution replaced by a name. */
static Expr *replaced(Compilation *c, const Expr *e, const Expr *slot, Name z) {
  if (!e) return NULL;
  Expr *copy = arena_new(c, Expr);
  *copy = *e;
  if (e == slot) {
    *copy = (Expr){.kind = EXPR_NAME, .span = e->span, .name = z, .height = 1};
    return copy;
  }
  copy->arguments = arena_array(c, Argument, e->argument_count);
  for (int i = 0; i < e->argument_count; i++) {
    copy->arguments[i] = e->arguments[i];
    copy->arguments[i].value = replaced(c, e->arguments[i].value, slot, z);
  }
  copy->a = replaced(c, e->a, slot, z);
  copy->b = replaced(c, e->b, slot, z);
  copy->c = replaced(c, e->c, slot, z);
  return copy;
}

static void add_names(Expected *x, Builder *b, Formal *formals, Value *values, int *count) {
  static const Facts any = {.low = -INFINITY, .high = INFINITY, .finite = true};
  Shape scalar = {0};
  for (int i = 0; i < x->name_count; i++) {
    formals[*count] = (Formal){.name = x->names[i], .span = x->rule->span};
    values[(*count)++] = builder_input(b, x->names[i], &scalar, &any, x->rule->span);
  }
}

/* f(z) at inputs z, then the pattern's other names. */
static Program *inner_program(Expected *x) {
  Builder b = builder_open(x->model);
  Formal formals[MOST_NAMES];
  Value values[MOST_NAMES], z = builder_event(&b, &x->q);
  Name name = intern(x->q.c, "the variable");
  int count = 0;
  add_names(x, &b, formals, values, &count);
  Scope *scope = scope_new(b.e, NULL);
  scope_bind(b.e, scope, name, z, x->rule->span);
  for (int i = 0; i < count; i++) scope_bind(b.e, scope, formals[i].name, values[i], x->rule->span);
  Frame frame = enter_callee(b.e, scope, false, "");
  Value v = elaborate(b.e, replaced(x->q.c, x->rule->pattern->arguments[0].value, x->slot, name));
  leave_callee(b.e, frame);
  return v.kind == VALUE_TENSOR ? builder_close(&b, &v.node, 1) : NULL;
}

/* What the rule says at inputs q's parameters, then the names. */
static Program *declared_program(Expected *x) {
  Builder b = builder_open(x->model);
  Formal formals[MAX_SLOTS + MOST_NAMES];
  Value values[MAX_SLOTS + MOST_NAMES], d;
  int count = 0;
  if (!builder_distribution(&b, &x->q, &d) || !match_distribution(b.e, x->slot, &d, formals, values, &count))
    return NULL;
  add_names(x, &b, formals, values, &count);
  Value v = apply_rule(b.e, x->rule, formals, values, count, x->rule->span);
  return v.kind == VALUE_TENSOR ? builder_close(&b, &v.node, 1) : NULL;
}

/* ---- the true value -------------------------------------------------------------------------------------------- */

static double *inner_values(const Expected *x, const double *z, long rows) {
  Column columns[MAX_INPUTS];
  double *out = NULL;
  columns[0] = (Column){z, false};
  for (int i = 0; i < x->name_count; i++) columns[1 + i] = (Column){&x->values[i], true};
  return program_run(x->inner, columns, rows, &out) ? out : NULL;
}

static bool evaluate_product(void *context, const double *z, long count, double *values) {
  const Expected *x = context;
  double *f = inner_values(x, z, count),
         *log_q = f ? mass_log_pdf(&x->q, x->density, &x->setting, &x->mass, z, count) : NULL;
  for (long i = 0; log_q && i < count; i++) {
    double q = isfinite(log_q[i]) ? exp(log_q[i]) : 0;
    values[2 * i] = q;
    values[2 * i + 1] = q == 0 ? 0 : q * f[i];
  }
  free(f);
  free(log_q);
  return log_q != NULL;
}

static bool find_truth(Expected *x, double *value, double *tolerance) {
  if (x->mass.kind == MASS_SUM) {
    double *f = inner_values(x, x->mass.z, x->mass.count);
    if (!f) return false;
    *value = mass_expect(&x->mass, f);
    *tolerance = (1e-7 + x->mass.uncertainty) * (1 + fabs(*value));
    free(f);
    return true;
  }
  if (x->mass.kind != MASS_LINE || x->q.event_size != 1 || x->q.atom_count) return false;
  Line line = {.components = 2, .evaluate = evaluate_product, .context = x};
  line_anchors(&line, &x->q, &x->setting);
  for (int i = 0; i < x->name_count && line.anchor_count < 32; i++) line.anchors[line.anchor_count++] = x->values[i];
  bool ok = line_integrate(&line);
  /* What lies nearer to an end than numbers do is missing from the mass as well. */
  double missed = x->q.is_kernel ? 0 : fabs(x->mass.total - 1);
  *value = line.total[1];
  *tolerance = (1e-7 + (missed < 1e-4 ? 10 * missed : 0)) * (1 + line.absolute[1]) + line.error[1];
  line_free(&line);
  return ok;
}

/* ---- settings -------------------------------------------------------------------------------------------------- */

typedef struct Found {
  int tested, infinite;
  double worst;
  bool failed;
  const char *skipped;
} Found;

static const char *names_text(const Expected *x) {
  Text t = {.compilation = x->q.c};
  text_append(&t, "%s", point_text(&x->q, &x->setting));
  for (int i = 0; i < x->name_count; i++) text_append(&t, "%s%s = %g", t.length ? ", " : "", x->names[i], x->values[i]);
  return t.bytes;
}

static void compare(Expected *x, Found *found) {
  Column columns[MAX_INPUTS];
  double *declared = NULL, value, tolerance;
  int count = point_columns(&x->q, &x->setting, columns);
  for (int i = 0; i < x->name_count; i++) columns[count++] = (Column){&x->values[i], true};
  mass_make(&x->q, x->density, &x->setting, (MassWish){0}, &x->mass);
  if (x->mass.no_setting || !program_run(x->declared, columns, 1, &declared) || !find_truth(x, &value, &tolerance))
    found->skipped = "its distribution can be neither integrated nor summed";
  else if (!(fabs(value) < 1e20) || isnan(*declared))
    found->infinite++;
  else {
    double error = fabs(*declared - value);
    found->tested++;
    found->worst = fmax(found->worst, error);
    if (!(error <= tolerance)) {
      found->failed = true;
      Diagnostic *d =
          error_at(x->q.c, "self-check", x->rule->span, "the rule %s gives %.9g at %s; the density of `%s` gives %.9g",
                   span_text(x->q.c, x->rule->pattern->span), *declared, names_text(x), x->q.item->name, value);
      help_with(d, "expect(f(q)) is the mean of f(z), z drawn from q");
    }
  }
  free(declared);
  mass_free(&x->mass);
}

static const char *summary(const Expected *x, const Found *found) {
  Compilation *c = x->model->compilation;
  Text t = {.compilation = c};
  text_append(&t, "%s: ", span_text(c, x->rule->pattern->span));
  if (found->tested)
    text_append(&t, "%d settings, worst error %.1e by quadrature or a sum", found->tested, found->worst);
  if (found->infinite)
    text_append(&t, "%sinfinite or no number at %d settings", found->tested ? "; " : "", found->infinite);
  if (found->skipped) text_append(&t, "%snot tested: %s", found->tested || found->infinite ? "; " : "", found->skipped);
  return t.bytes;
}

const char *test_expect_rule(Model *m, const Item *rule, uint64_t seed) {
  static const double values[SETTINGS] = {0.7, 1.3, 0.4, 2.1, 0.9, 1.6};
  Expected x = {.model = m, .rule = rule, .q = {.c = m->compilation}};
  Found found = {.skipped = "it cannot be evaluated by itself"};
  const Item *family;
  double fixed[MAX_SLOTS];
  read_names(&x, rule->pattern->arguments[0].value);
  if (x.slot && read_pattern(m, x.slot, &family, fixed) && subject_open(&x.q, m, family, 0, fixed) && !x.q.problem) {
    x.density = density_program(&x.q);
    x.inner = inner_program(&x);
    x.declared = declared_program(&x);
    if (x.density && x.inner && x.declared) found.skipped = NULL;
  }
  for (int i = 0; !found.skipped && !found.failed && i < SETTINGS; i++) {
    point_make(&x.q, i, seed, &x.setting);
    for (int k = 0; k < x.name_count; k++) x.values[k] = values[(i + k) % SETTINGS] * (i == 4 && k == 0 ? -1 : 1);
    compare(&x, &found);
  }
  return summary(&x, &found);
}
