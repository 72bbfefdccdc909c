/* The gradient check finds what is wrong, where it is, and tells kinks from mistakes. */
#include "compiler/compiler.h"
#include "compiler/diagnose.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TestSuite(diagnose, .init = scratch_make, .fini = scratch_remove);

static const char model[] = "model small;\n"
                            "data x : real[4];\n"
                            "param W : real[4, 3] init normal(0, 1);\n"
                            "param b : real[3] init 0;\n"
                            "param unused : real init 1;\n"
                            "minimize sum(relu(x @ W + b)^2) + 0 * unused;\n"
                            "train { optimizer = adam(lr = 0.01); batch = 8; epochs = 1; }\n";

static Compilation *c;
static Graph *train, *initialise;

static void compile(const char *text) {
  const char *path = scratch_write("model.spm", text, strlen(text));
  CompileOptions options = {.invent_dims = true};
  c = compilation_create();
  Model *m = compile_check(c, path, &options);
  if (c->error_count) diagnostics_print(c, stderr, false);
  cr_assert(c->error_count == 0);
  train = model_graph(m, PROGRAM_TRAIN);
  initialise = model_graph(m, PROGRAM_INITIALISE);
  if (c->error_count) diagnostics_print(c, stderr, false);
  cr_assert(train && initialise);
}

static Output *gradient_of(const char *name) {
  for (int i = 0; i < train->output_count; i++)
    if (train->outputs[i].role == OUTPUT_GRADIENT &&
        strcmp(train->signature->parameters[train->outputs[i].index].name, name) == 0)
      return &train->outputs[i];
  return NULL;
}

static TensorReport *report_of(Diagnosis *d, const char *name) {
  for (int i = 0; i < d->count; i++)
    if (strcmp(d->tensors[i].parameter->name, name) == 0) return &d->tensors[i];
  return NULL;
}

Test(diagnose, a_sound_gradient_passes) {
  compile(model);
  for (uint64_t seed = 0; seed < 10; seed++) {
    Diagnosis *d = diagnose(c, train, initialise, NULL, NULL, seed, 12);
    cr_assert(d->problem == NULL);
    for (int i = 0; i < d->count; i++)
      cr_assert(d->tensors[i].worst < 1e-7, "%s: %g", d->tensors[i].parameter->name, d->tensors[i].worst);
    cr_assert(report_of(d, "W")->tested == 12 && report_of(d, "W")->kinks == 0 && report_of(d, "b")->tested == 3);
  }
  compilation_destroy(c);
}

Test(diagnose, a_small_mistake_is_found_in_its_tensor) {
  compile(model);
  Output *output = gradient_of("b");
  Node *factor = build_scalar_expand(train, build_constant(train, 1.0001), &output->value->shape);
  output->value = build_map2(train, IR_mul, output->value, factor);
  Diagnosis *d = diagnose(c, train, initialise, NULL, NULL, 1, 12);
  cr_assert(report_of(d, "b")->worst > 5e-5 && report_of(d, "b")->worst < 2e-4, "%g", report_of(d, "b")->worst);
  cr_assert(report_of(d, "W")->worst < 1e-7);
  cr_assert(fabs(report_of(d, "b")->found / report_of(d, "b")->expected - 1.0001) < 1e-6);
  compilation_destroy(c);
}

Test(diagnose, a_mistake_in_one_element_is_named) {
  compile(model);
  Output *output = gradient_of("W");
  const int at = 7;
  Shape one = {.rank = 1, .dims = {dim_number(1)}};
  Node *bump = build_reshape(train, build_pad(train, build_filled(train, 0.5, &one), 0, at, dim_number(12)),
                             &output->value->shape);
  output->value = build_map2(train, IR_add, output->value, bump);
  Diagnosis *d = diagnose(c, train, initialise, NULL, NULL, 1, 12);
  cr_assert(report_of(d, "W")->worst_element == at && report_of(d, "W")->worst > 1e-3);
  compilation_destroy(c);
}

Test(diagnose, kinks_are_counted_and_are_no_mistakes) {
  compile("model jagged;\n"
          "data x : real[4];\n"
          "param w : real[4] init normal(0, 1);\n"
          "minimize sum(floor(w * 1e12) * 1e-30 + w * x);\n"
          "train { optimizer = adam(lr = 0.01); batch = 8; epochs = 1; }\n");
  Diagnosis *d = diagnose(c, train, initialise, NULL, NULL, 1, 12);
  cr_assert(d->problem == NULL && report_of(d, "w")->kinks == 4 && report_of(d, "w")->worst == 0);
  compilation_destroy(c);
}

Test(diagnose, an_objective_that_is_not_finite_is_told) {
  compile("model broken;\n"
          "data x : real[4];\n"
          "param w : real[4] init normal(0, 1);\n"
          "minimize sum(w * x) + log(0 - 1 - sum(w^2));\n"
          "train { optimizer = adam(lr = 0.01); batch = 8; epochs = 1; }\n");
  Diagnosis *d = diagnose(c, train, initialise, NULL, NULL, 1, 12);
  cr_assert(d->problem && strstr(d->problem, "not finite"));
  compilation_destroy(c);
}
