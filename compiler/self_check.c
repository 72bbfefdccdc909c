/* self_check: every distribution and KL rule of a file is tested against itself in small programs that the interpreter
 * runs in double. One mistake gives one error: an aspect that fails at several settings is reported at the first, and
 * where the density is wrong nothing is compared with it. */
#include "self_check_internal.h"

#include <math.h>
#include <string.h>

const char *const aspect_names[ASPECT_COUNT] = {"density", "sample",   "relaxed",     "entropy",
                                                "mean",    "variance", "derivatives", "prox"};

bool tally(Testing *t, Aspect aspect, double error, double tolerance) {
  Tally *a = &t->tallies[aspect];
  a->tested++;
  if (error > a->worst || isnan(error)) a->worst = error;
  if (error <= tolerance) return false;
  return a->failed++ == 0;
}

void tally_skip(Testing *t, Aspect aspect, const char *why) {
  if (!t->tallies[aspect].skipped) t->tallies[aspect].skipped = why;
}

/* ---- what a report says ---------------------------------------------------------------------------------------- */

static bool is_declared(const Testing *t, Aspect aspect) {
  if (aspect == ASPECT_DENSITY || aspect == ASPECT_DERIVATIVES) return true;
  return t->item->has_block && distribution_find_field(t->item, aspect_names[aspect]) != NULL;
}

/* Why an aspect was not tested, everywhere or at some settings; NULL if it was. */
static const char *why_untested(const Testing *t, int aspect) {
  const Tally *a = &t->tallies[aspect];
  if (a->skipped) return a->skipped;
  if (a->tested || !is_declared(t, (Aspect)aspect)) return NULL;
  return aspect == ASPECT_DERIVATIVES        ? "nothing in it varies smoothly"
         : t->tallies[ASPECT_DENSITY].failed ? "the density is wrong"
                                             : "no setting gave a density";
}

/* All aspects with the same reason at once, at the first of them. */
static void name_untested(const Testing *t, int aspect, Text *text) {
  const char *why = why_untested(t, aspect);
  bool partly = t->tallies[aspect].tested > 0;
  for (int k = 0; why && k < aspect; k++) {
    const char *other = why_untested(t, k);
    if (other && strcmp(other, why) == 0 && partly == (t->tallies[k].tested > 0)) return;
  }
  if (!why) return;
  text_append(text, "; not tested%s:", partly ? " everywhere" : "");
  for (int k = aspect, count = 0; k < ASPECT_COUNT; k++) {
    const char *other = why_untested(t, k);
    if (other && strcmp(other, why) == 0 && partly == (t->tallies[k].tested > 0))
      text_append(text, "%s %s", count++ ? "," : "", aspect_names[k]);
  }
  text_append(text, " (%s)", why);
}

static const char *summary(const Testing *t) {
  Text text = {.compilation = t->c};
  text_append(&text, "%s(", t->item->name);
  for (int i = 0; i < t->item->extra.count; i++)
    text_append(&text, "%s%s", i ? ", " : "", t->item->extra.items[i].name);
  text_append(&text, "): %d setting%s", t->settings, t->settings == 1 ? "" : "s");
  for (int k = 0; k < ASPECT_COUNT; k++) {
    const Tally *a = &t->tallies[k];
    if (a->tested == 0) continue;
    text_append(&text, "; %s ", aspect_names[k]);
    if (a->failed)
      text_append(&text, "WRONG");
    else if (k == ASPECT_DENSITY && t->kernel)
      text_append(&text, "unnormalised as declared (`log_kernel`), its integral finite");
    else if (a->number)
      text_append(&text, "%.2g %s", k == ASPECT_RELAXED ? 1 - a->worst : a->worst, a->number);
    else
      text_append(&text, "%.1e", a->worst);
  }
  if (t->meaningless) text_append(&text, "; no density at %d more", t->meaningless);
  if (t->untyped)
    text_append(&text, ", some with %s below 0: if it is to be positive, write `%s : positive`", t->untyped,
                t->untyped);
  for (int k = 0; k < ASPECT_COUNT; k++) name_untested(t, k, &text);
  return text.bytes;
}

static void add_line(Compilation *c, SelfCheckReport *report, Span span, const char *text) {
  report->lines = arena_grow(c, report->lines, report->count, sizeof *report->lines);
  report->lines[report->count++] = (SelfCheckLine){span, text};
}

/* ---- one declaration ------------------------------------------------------------------------------------------- */

static MassWish wish_of(const Subject *s) {
  const Item *item = s->item;
  if (!item->has_block) return (MassWish){0};
  return (MassWish){distribution_find_field(item, "entropy") != NULL, distribution_find_field(item, "mean") != NULL,
                    distribution_find_field(item, "variance") != NULL};
}

static void test_setting(Testing *t, const Subject *s, const Program *density, int number) {
  Point setting;
  Mass mass;
  point_make(s, number, t->seed, &setting);
  mass_make(s, density, &setting, wish_of(s), &mass);
  if (mass.kind != MASS_UNTESTED && mass.no_setting) {
    t->meaningless++;
    if (!t->untyped) t->untyped = point_untyped_negative(s, &setting);
  } else {
    t->settings++;
    int wrong = t->tallies[ASPECT_DENSITY].failed;
    test_density(t, s, density, &setting, &mass);
    bool usable = t->tallies[ASPECT_DENSITY].failed == wrong;
    if (usable) test_sampler(t, s, &setting, &mass, number);
    if (usable && s->item->has_block) {
      test_moments(t, s, &setting, &mass);
      test_prox(t, s, density, &setting, &mass);
    }
    if (usable) test_derivatives(t, s, &setting, &mass);
  }
  mass_free(&mass);
}

static const char *test_distribution(Model *m, const Item *item, uint64_t seed) {
  Testing t = {.model = m, .c = m->compilation, .item = item, .seed = seed};
  t.kernel =
      item->has_block && !distribution_find_field(item, "log_pdf") && distribution_find_field(item, "log_kernel");
  const char *problem = NULL;
  int errors = t.c->error_count;
  for (int variant = 0; variant < 4; variant++) {
    Subject s;
    if (!subject_open(&s, m, item, variant, NULL)) {
      if (variant == 0) problem = s.problem ? s.problem : "its types cannot be read by themselves";
      break;
    }
    if ((problem = s.problem)) break;
    const Program *density = density_program(&s);
    for (int i = 0; i<SETTINGS; i += s.event_size> 1 ? 2 : 1) { /* every integral in the plane takes long */
      test_setting(&t, &s, density, i);
      if (s.slot_count == 0 && i == 0) break;
    }
  }
  if (problem) return arena_printf(t.c, "%s: not tested: %s", item->name, problem);
  if (t.settings == 0 && t.c->error_count == errors) {
    Diagnostic *d = error_at(t.c, "self-check", item->name_span,
                             "the density of `%s` is not a number at any of %d settings of its parameters", item->name,
                             t.meaningless);
    help_with(d, "declare what its parameters may be: `scale : positive`, `weight : unit`");
  }
  return summary(&t);
}

void self_check(Model *m, const SelfCheckOptions *options, SelfCheckReport *report) {
  *report = (SelfCheckReport){0};
  for (int i = 0; i < m->library.count; i++) {
    const Item *item = m->library.items[i];
    if (m->compilation->sources[item->span.source].library && !options->shipped) continue;
    if (item->kind == ITEM_DISTRIBUTION)
      add_line(m->compilation, report, item->name_span, test_distribution(m, item, options->seed));
    if (item->kind == ITEM_RULE) add_line(m->compilation, report, item->span, test_rule(m, item, options->seed));
  }
}
