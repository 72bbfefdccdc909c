/* spmc diagnose: a spec -> a table of its tensors with how far each gradient is from differences, and a verdict. */
#include "command.h"
#include "diagnose.h"

#include "runtime/files.h"
#include "runtime/words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_ELEMENTS = 12 };

/* "q.mu.dense.W[3, 17]" */
static const char *element_name(Compilation *c, const Parameter *parameter, long element) {
  long index[MAX_RANK], rest = element;
  const Shape *shape = &parameter->shape;
  if (shape->rank == 0) return parameter->name;
  for (int d = shape->rank - 1; d >= 0; d--) {
    index[d] = rest % (long)shape->dims[d].size;
    rest /= (long)shape->dims[d].size;
  }
  const char *text = arena_printf(c, "%s[%ld", parameter->name, index[0]);
  for (int d = 1; d < shape->rank; d++) text = arena_printf(c, "%s, %ld", text, index[d]);
  return arena_printf(c, "%s]", text);
}

static const char *shape_words(Compilation *c, const Shape *shape) {
  const char *text = "";
  for (int d = 0; d < shape->rank; d++) text = arena_printf(c, "%s%s%.0f", text, d ? " x " : "", shape->dims[d].size);
  return shape->rank ? text : "scalar";
}

static bool tensor_fails(const Diagnosis *d, const TensorReport *t) {
  return t->worst > diagnose_tolerance || (d->compiled && t->compiled > diagnose_compiled_tolerance);
}

static void print_row(Compilation *c, const Diagnosis *d, const TensorReport *t, int width) {
  printf("%-*s  %-12s", width, t->parameter->name, shape_words(c, &t->parameter->shape));
  if (!t->has_gradient) {
    printf("  %s\n", t->parameter->solved  ? "solved"
                     : t->parameter->fixed ? "fixed"
                                           : "held by the step, or not reached by the objective");
    return;
  }
  printf(" %6ld %6ld", t->tested, t->kinks);
  if (t->worst_element >= 0)
    printf("  %9.1e", t->worst);
  else
    printf("  %9s", "-");
  if (d->compiled) printf("  %9.1e", t->compiled);
  printf("  %s", t->worst_element >= 0 ? element_name(c, t->parameter, t->worst_element) : "-");
  if (t->largest == 0) printf("  (the gradient is zero everywhere)");
  printf("%s\n", tensor_fails(d, t) ? "  FAILS" : "");
}

static void print_table(const Arguments *a, Compilation *c, const Diagnosis *d) {
  int width = 6;
  for (int i = 0; i < d->count; i++)
    if ((int)strlen(d->tensors[i].parameter->name) > width) width = (int)strlen(d->tensors[i].parameter->name);
  printf("%-*s  %-12s %6s %6s  %9s%s  worst element\n", width, "tensor", "shape", "tested", "kinks", "error",
         d->compiled ? "   compiled" : "");
  for (int i = 0; i < d->count; i++)
    if (!a->quiet || tensor_fails(d, &d->tensors[i])) print_row(c, d, &d->tensors[i], width);
}

static bool objective_agrees(const Diagnosis *d) {
  return !d->compiled ||
         fabs(d->compiled_objective - d->objective) <= diagnose_compiled_tolerance * (1 + fabs(d->objective));
}

static int verdict(Compilation *c, const Diagnosis *d) {
  int failed = 0;
  double worst = 0, compiled = 0;
  long kinks = 0, tested = 0;
  for (int i = 0; i < d->count; i++) {
    const TensorReport *t = &d->tensors[i];
    worst = fmax(worst, t->worst);
    compiled = fmax(compiled, t->compiled);
    kinks += t->kinks;
    tested += t->tested;
    if (!tensor_fails(d, t)) continue;
    failed++;
    if (t->worst > diagnose_tolerance)
      printf("%s: the gradient is %.9g, differences of the objective give %.9g\n",
             element_name(c, t->parameter, t->worst_element), t->found, t->expected);
    if (d->compiled && t->compiled > diagnose_compiled_tolerance)
      printf("%s: compiled code and the interpreter are %.1e apart, in units of the gradient's size\n",
             t->parameter->name, t->compiled);
  }
  if (!objective_agrees(d))
    printf("the objective is %.17g by the interpreter and %.17g by compiled code\n", d->objective,
           d->compiled_objective);
  if (kinks > 0)
    printf("%s of %s elements lie on a kink and could not be tested\n", spm_count(kinks).text, spm_count(tested).text);
  if (failed > 0 || !objective_agrees(d)) {
    printf("gradients are wrong: %d of %d tensors\n", failed, d->count);
    return EXIT_USER;
  }
  printf("no problems found: %d tensors, worst error %.1e", d->count, worst);
  if (d->compiled) printf("; compiled code within %.1e of the interpreter", compiled);
  printf("\n");
  return EXIT_FINE;
}

static int print_json(Compilation *c, const Diagnosis *d, unsigned long long seed) {
  bool fine = objective_agrees(d);
  printf("{\"seed\": %llu, \"objective\": %s, \"tensors\": [", seed, spm_number(d->objective).text);
  for (int i = 0; i < d->count; i++) {
    const TensorReport *t = &d->tensors[i];
    fine = fine && !tensor_fails(d, t);
    printf("%s\n  {\"name\": ", i ? "," : "");
    spm_json_string(stdout, t->parameter->name);
    printf(", \"size\": %ld, \"tested\": %ld, \"kinks\": %ld, \"error\": ", t->size, t->tested, t->kinks);
    if (t->worst_element >= 0 && isfinite(t->worst))
      printf("%s, \"worst_element\": ", spm_number(t->worst).text);
    else
      printf("null, \"worst_element\": ");
    if (t->worst_element >= 0)
      spm_json_string(stdout, element_name(c, t->parameter, t->worst_element));
    else
      printf("null");
    if (d->compiled && isfinite(t->compiled))
      printf(", \"compiled\": %s}", spm_number(t->compiled).text);
    else
      printf(", \"compiled\": null}");
  }
  printf("],\n \"fine\": %s}\n", fine ? "true" : "false");
  return fine ? EXIT_FINE : EXIT_USER;
}

static int run(const Arguments *a, Loaded *l) {
  Compilation *c = l->compilation;
  unsigned long long seed = a->seed_given ? a->seed : 1;
  model_unclip(l->model);
  int code = loaded_compile(a, l, true);
  if (code >= 0) return code;
  if (setjmp(c->failure)) return fail_user(a, "%s: out of memory", a->target);
  c->failure_set = true;
  Graph *train = model_graph(l->model, PROGRAM_TRAIN), *initialise = model_graph(l->model, PROGRAM_INITIALISE);
  Graph *initialise_rows = model_graph(l->model, PROGRAM_INITIALISE_ROWS);
  if (c->error_count > 0) return fail_diagnostics(a, c);
  if (!train) return fail_internal(a, "the model has no program to train");
  const Diagnosis *d = diagnose(c, train, initialise, initialise_rows, l->descriptor, seed,
                                a->elements > 0 ? (int)a->elements : DEFAULT_ELEMENTS);
  if (d->problem) {
    code = fail_user(a, "%s: %s", a->target, d->problem);
    loaded_suggest_supports(l);
    return code;
  }
  if (a->json) {
    code = print_json(c, d, seed);
  } else {
    if (!a->quiet)
      printf("%s: gradients against differences, %ld invented rows, seed %llu%s\n", a->target, d->rows, seed,
             a->seed_given ? "" : " (default)");
    print_table(a, c, d);
    code = verdict(c, d);
  }
  c->failure_set = false;
  return code;
}

int command_diagnose(const Arguments *a) {
  CompileOptions options = {.overrides = a->overrides, .override_count = a->override_count, .invent_dims = true};
  Loaded loaded = {0};
  int code = open_blas(a, NULL);
  if (code < 0) code = loaded_check(a, a->target, &options, &loaded);
  if (code < 0 && model_is_library(loaded.model))
    code = fail_user(a, "%s: holds no `model`: there is nothing to run", a->target);
  if (code < 0 && a->dump_count > 0) code = (code = loaded_dump(a, &loaded)) >= 0 ? code : EXIT_FINE;
  if (code < 0) code = run(a, &loaded);
  loaded_free(&loaded);
  return code;
}
