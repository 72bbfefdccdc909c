/* Every spec in the tree that the compiler takes: gradients against differences in double, and the interpreter against
 * libtcc, and for the shipped specs gcc -O2 and clang -O2, in value and gradient. */
#include "compiler/compiler.h"
#include "compiler/diagnose.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void compare(Compilation *c, Model *m, const char *path, const char *how, Jit *jit, const char *message,
                    int elements) {
  cr_assert(jit != NULL, "%s by %s: %s", path, how, message);
  Diagnosis *d = diagnose(c, model_graph(m, PROGRAM_TRAIN), model_graph(m, PROGRAM_INITIALISE),
                          model_graph(m, PROGRAM_INITIALISE_ROWS), jit_model(jit), 7, elements);
  cr_assert(d->problem == NULL, "%s: %s", path, d->problem);
  cr_expect(d->compiled && fabs(d->compiled_objective - d->objective) <= 1e-11 * (1 + fabs(d->objective)),
            "%s by %s: objective %.17g, interpreted %.17g", path, how, d->compiled_objective, d->objective);
  for (int i = 0; i < d->count; i++) {
    const TensorReport *t = &d->tensors[i];
    if (!t->has_gradient) continue;
    cr_expect(t->compiled <= diagnose_compiled_tolerance, "%s by %s: %s is %g apart", path, how, t->parameter->name,
              t->compiled);
    cr_expect(elements == 0 || t->worst <= 1e-6, "%s: gradient of %s is off by %g: %.17g, differences %.17g", path,
              t->parameter->name, t->worst, t->found, t->expected);
  }
  jit_destroy(jit);
}

/* The compiler takes it, or refuses no more than what it does not support. */
static bool opens(Compilation *c, const char *path, Model **m) {
  CompileOptions options = {.invent_dims = true};
  *m = compile_check(c, path, &options);
  if (c->error_count == 0) return *m && !model_is_library(*m);
  for (const Diagnostic *d = c->first_diagnostic; d; d = d->next)
    cr_expect(d->severity != SEVERITY_ERROR || strcmp(d->code, "not-supported") == 0, "%s: %s", path, d->message);
  return false;
}

static void check_spec(const char *path, bool all_compilers) {
  Compilation *c = compilation_create();
  Model *m;
  char message[2048];
  if (opens(c, path, &m)) {
    compare(c, m, path, "libtcc", compile_jit(m, true, message, sizeof message), message, 2);
    Text loops = {.compilation = c};
    cr_assert(compile_emit(m, RENDER_LOOPS, &loops));
    static const char *const compilers[] = {"gcc", "clang"};
    for (int i = 0; all_compilers && i < 2; i++)
      compare(c, m, path, compilers[i],
              jit_compile_with(compilers[i], "-std=c99 -O2 -pedantic -Wall -Wextra -Werror -ffp-contract=off",
                               loops.bytes, model_name(m), true, message, sizeof message),
              message, 0);
  } else
    cr_expect(!all_compilers, "%s is shipped and is not taken", path);
  compilation_destroy(c);
}

static void check_specs(const char *pattern, bool all_compilers, size_t least) {
  glob_t found;
  cr_assert(glob(pattern, 0, NULL, &found) == 0);
  cr_assert(found.gl_pathc >= least);
  for (size_t i = 0; i < found.gl_pathc; i++) check_spec(found.gl_pathv[i], all_compilers);
  globfree(&found);
}

Test(specs, shipped) { check_specs("specs/*.spm", true, 3); }
Test(specs, of_images) { check_specs("specs/images/*.spm", true, 1); }
Test(specs, corpus) { check_specs("tests/corpus/*.spm", false, 53); }
