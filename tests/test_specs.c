/* Every spec in the tree that the compiler takes: gradients against differences in double, and the interpreter against
 * libtcc, and for the shipped specs gcc -O2 and clang -O2, in value and gradient. */
#include "compiler/compiler.h"
#include "compiler/diagnose.h"
#include "compiler/front.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

/* The dims of a spec that are as large as its pictures are so many here, and a dim L, how often a `repeat` is written
 * out in the subset models, a few: what a spec is made of is the same, and gcc alone needs ten seconds for 32 rounds.
 * SparseMAP over 32 bits of scores near 0 has members of probability 1e-9, the logarithms of which are right to 1e-7 by
 * any compiler: a few bits have none. */
enum { LARGE = 96, ROUNDS = 3, BITS = 6, MOST_DIMS = 16 };
static char names[MOST_DIMS][64]; /* of the dims that are smaller */

static int smaller_dims(const char *path, Override *overrides) {
  Compilation *c = compilation_create();
  const CompileOptions options = {.invent_dims = true};
  Model *m = compile_check(c, path, &options);
  int count = 0;
  for (int i = 0; m && c->error_count == 0 && i < m->items.count; i++) {
    const Item *item = m->items.items[i];
    if (item->kind != ITEM_DIM || !item->expr || item->expr->kind != EXPR_NUMBER || count == MOST_DIMS) continue;
    bool rounds = strcmp(item->name, "L") == 0 && item->expr->number <= LARGE;
    bool bits = strcmp(item->name, "K") == 0 && strstr(path, "sparsemap");
    if (!rounds && !bits && item->expr->number <= LARGE) continue;
    snprintf(names[count], sizeof names[count], "%s", item->name);
    overrides[count] = (Override){.name = names[count], .value = rounds ? ROUNDS : bits ? BITS : LARGE};
    count++;
  }
  compilation_destroy(c);
  return count;
}

/* The compiler takes it, or refuses no more than what it does not support. */
static bool opens(Compilation *c, const char *path, Model **m) {
  Override smaller[MOST_DIMS];
  CompileOptions options = {.invent_dims = true, .overrides = smaller, .override_count = smaller_dims(path, smaller)};
  *m = compile_check(c, path, &options);
  if (c->error_count == 0) return *m && !model_is_library(*m);
  for (const Diagnostic *d = c->first_diagnostic; d; d = d->next)
    cr_expect(d->severity != SEVERITY_ERROR || strcmp(d->code, "not-supported") == 0, "%s: %s", path, d->message);
  return false;
}

enum { ROWS = 3, MOST_NUMBERS = 4000000 };

/* Elements of each tensor to take differences at: none where one evaluation alone is long. What such a spec is made of
 * is differentiated at smaller sizes in tests of its own. */
static int elements_of(Model *m) {
  const Graph *graph = model_graph(m, PROGRAM_TRAIN);
  long numbers = 0;
  for (int i = 0; i < graph->count; i++) numbers += node_extent(graph, graph->nodes[i], ROWS);
  return numbers > MOST_NUMBERS ? 0 : 2;
}

static void check_spec(const char *path, bool all_compilers) {
  Compilation *c = compilation_create();
  Model *m;
  char message[2048];
  if (opens(c, path, &m)) {
    compare(c, m, path, "libtcc", compile_jit(m, true, message, sizeof message), message, elements_of(m));
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

/* A spec of the corpus that is shipped, too, is tested there. */
static bool is_tested_elsewhere(const char *path) {
  char shipped[200];
  snprintf(shipped, sizeof shipped, "specs/%s", strrchr(path, '/') + 1);
  return strcmp(path, shipped) != 0 && access(shipped, R_OK) == 0;
}

static void check_specs(const char *pattern, bool all_compilers, size_t least) {
  glob_t found;
  cr_assert(glob(pattern, 0, NULL, &found) == 0);
  cr_assert(found.gl_pathc >= least);
  for (size_t i = 0; i < found.gl_pathc; i++)
    if (!is_tested_elsewhere(found.gl_pathv[i])) check_spec(found.gl_pathv[i], all_compilers);
  globfree(&found);
}

Test(specs, shipped) { check_specs("specs/*.spm", true, 3); }
Test(specs, of_images) { check_specs("specs/images/*.spm", true, 1); }
Test(specs, corpus) { check_specs("tests/corpus/*.spm", false, 53); }
