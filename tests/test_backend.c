/* The back end against the interpreter: the same program as strips through libtcc and as loops through gcc and clang,
 * in double to 1e-12 and in float to rounding, whole batches and tiles, ragged last tiles and batches of one. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../compiler/jit.h"
#include "../compiler/plan.h"
#include "../runtime/blas.h"
#include "hand_graphs.h"
#include "random_graph.h"
#include "reference_driver.h"

static const char strict[] = "-std=c99 -pedantic -Wall -Wextra -Wshadow -Werror";

static void setup(void) {
  char message[512];
  if (spm_blas_open(SPM_OPENBLAS, message, sizeof message) != 0) fprintf(stderr, "%s\n", message);
}

TestSuite(backend, .init = setup);

static Compilation *open_compilation(void) {
  Compilation *c = compilation_create();
  cr_assert(c != NULL);
  return c;
}
#define GUARD(c)                                                                                                       \
  if (setjmp((c)->failure)) cr_assert(0, "out of memory");                                                             \
  (c)->failure_set = true

/* Largest difference, relative to the largest magnitude. */
static double difference(const double *a, const double *b, long count) {
  double scale = 1, worst = 0;
  for (long i = 0; i < count; i++)
    if (isfinite(a[i]) && fabs(a[i]) > scale) scale = fabs(a[i]);
  for (long i = 0; i < count; i++) {
    if (a[i] == b[i] || (isnan(a[i]) && isnan(b[i]))) continue;
    double here = fabs(a[i] - b[i]) / scale;
    if (isnan(here)) return INFINITY;
    if (here > worst) worst = here;
  }
  return worst;
}

static char *compile_text(Compilation *c, Graph *graph, Rendering rendering) {
  Plan *plan = schedule(graph);
  const char *problem = plan_verify(plan);
  cr_assert(problem == NULL, "%s", problem);
  Text text = {.compilation = c};
  emit(&text, c, "test", graph->signature, &plan, 1, NULL, 0, rendering);
  return text.bytes;
}

/* Numbers that a float holds exactly, so that float and double programs start from the same. */
static RandomInputs *inputs_for(Compilation *c, const Graph *graph, uint64_t seed, long rows, double scale) {
  const Signature *s = graph->signature;
  RandomInputs *in = random_inputs(c, s, seed, rows);
  for (int p = 0; p < s->parameter_count; p++)
    for (long i = 0; i < shape_size(&s->parameters[p].shape); i++)
      in->parameters[p][i] = (float)(in->parameters[p][i] * scale);
  for (int d = 0; d < s->data_count; d++)
    for (long i = 0; i < rows * shape_size(&s->data[d].shape); i++) in->data[d][i] = (float)in->data[d][i];
  for (int t = 0; t < s->state_count; t++)
    for (long i = 0; i < shape_size(&s->states[t].shape); i++) in->states[t][i] = (float)in->states[t][i];
  for (int r = 0; r < s->row_state_count; r++)
    for (long i = 0; i < rows * shape_size(&s->row_states[r].shape); i++)
      in->row_states[r][i] = (float)in->row_states[r][i];
  return in;
}

static Outputs run(const Jit *jit, const Graph *graph, const Bindings *bindings, long tile, bool use_double,
                   bool fused) {
  return (use_double ? reference_run_d : reference_run_f)(jit_model(jit), graph->name, graph->signature, bindings, tile,
                                                          fused);
}

/* Worst difference of any output from the interpreter's, over tiles. */
static double worst_difference(const Jit *jit, const Graph *graph, const RandomInputs *in, bool use_double) {
  Evaluation *meaning = interpret(graph, &in->bindings);
  cr_assert(meaning->problem == NULL);
  long rows = in->bindings.rows, tiles[] = {rows, 4, 1};
  double worst = 0;
  for (int t = 0; t < 3; t++) {
    Outputs outputs = run(jit, graph, &in->bindings, tiles[t], use_double, false);
    for (int i = 0; i < graph->output_count; i++) {
      double here = difference(meaning->values[graph->outputs[i].value->id], outputs.values[i], outputs.sizes[i]);
      if (here > worst) worst = here;
    }
    outputs_free(&outputs);
  }
  evaluation_free(meaning, graph);
  return worst;
}

static Jit *compiled(const char *text, const char *compiler, const char *flags, bool use_double) {
  char message[512] = "", all[256];
  snprintf(all, sizeof all, "%s %s", strict, flags);
  Jit *jit = compiler == NULL ? jit_compile(text, "test", use_double, message, sizeof message)
                              : jit_compile_with(compiler, all, text, "test", use_double, message, sizeof message);
  cr_assert(jit != NULL, "%s", message);
  return jit;
}

/* --- programs built by hand --- */

static const long batches[] = {1, 6, 37};

static void check_hand(const char *compiler, Rendering rendering, HandGraph which, int samples, int pixels) {
  Compilation *c = open_compilation();
  GUARD(c);
  Graph *graph = hand_graph(c, which, pixels, 40, 14, samples);
  char *text = compile_text(c, graph, rendering);
  for (int use_double = 0; use_double < 2; use_double++) {
    Jit *jit = compiled(text, compiler, "-O2", use_double);
    for (int b = 0; b < 3; b++) {
      RandomInputs *in = inputs_for(c, graph, 11, batches[b], 0.15);
      double worst = worst_difference(jit, graph, in, use_double);
      /* normalising a batch of one divides rounding errors by a root of epsilon */
      double bound = use_double ? 1e-12 : which == HAND_BATCH_NORM ? 2e-3 : 1e-4;
      cr_assert(worst < bound, "%s, %d samples, %ld rows, %s: %g", hand_graph_names[which], samples, batches[b],
                use_double ? "double" : "float", worst);
    }
    jit_destroy(jit);
  }
  compilation_destroy(c);
}

Test(backend, hand_built_programs_as_strips) {
  for (int which = 0; which < HAND_COUNT; which++)
    for (int samples = 1; samples <= 3; samples += 2) {
      check_hand(NULL, RENDER_STRIPS, (HandGraph)which, samples, 30);
      check_hand(NULL, RENDER_STRIPS, (HandGraph)which, samples, 330); /* several strips, and ranges of several units */
    }
}

Test(backend, hand_built_programs_as_loops_gcc) {
  for (int which = 0; which < HAND_COUNT; which++)
    check_hand("gcc", RENDER_LOOPS, (HandGraph)which, which % 2 ? 3 : 1, 330);
}

Test(backend, hand_built_programs_as_loops_clang) {
  for (int which = 0; which < HAND_COUNT; which++)
    check_hand("clang", RENDER_LOOPS, (HandGraph)which, which % 2 ? 1 : 3, 330);
}

/* A range made in memory of its own, for an update right after it, has the bytes of one made in place. */
Test(backend, fused_and_unfused_gradients_are_the_same_bytes) {
  Compilation *c = open_compilation();
  GUARD(c);
  for (int which = 0; which < HAND_COUNT; which++) {
    Graph *graph = hand_graph(c, (HandGraph)which, 330, 40, 14, 1);
    Jit *jit = compiled(compile_text(c, graph, RENDER_STRIPS), NULL, "", false);
    RandomInputs *in = inputs_for(c, graph, 5, 37, 0.15);
    Outputs apart = run(jit, graph, &in->bindings, 8, false, false),
            fused = run(jit, graph, &in->bindings, 8, false, true);
    for (int i = 0; i < apart.count; i++)
      cr_assert(memcmp(apart.values[i], fused.values[i], sizeof(double) * (size_t)apart.sizes[i]) == 0);
    outputs_free(&apart);
    outputs_free(&fused);
    jit_destroy(jit);
  }
  compilation_destroy(c);
}

/* --- random programs --- */

/* Does the program itself jump when its inputs move by what a float may lose? Then floats say nothing about it. */
static bool is_touchy(Compilation *c, const Graph *graph, uint64_t seed, long rows) {
  RandomInputs *in = inputs_for(c, graph, seed, rows, 1);
  Evaluation *base = interpret(graph, &in->bindings);
  bool touchy = false;
  for (int way = -1; way <= 1; way += 2) {
    const Signature *s = graph->signature;
    RandomInputs *moved = inputs_for(c, graph, seed, rows, 1);
    for (int p = 0; p < s->parameter_count; p++)
      for (long i = 0; i < shape_size(&s->parameters[p].shape); i++) moved->parameters[p][i] *= 1 + way * 1e-5;
    for (int d = 0; d < s->data_count; d++)
      for (long i = 0; i < rows * shape_size(&s->data[d].shape); i++) moved->data[d][i] *= 1 - way * 1e-5;
    Evaluation *other = interpret(graph, &moved->bindings);
    if (other->branches != base->branches) touchy = true;
    evaluation_free(other, graph);
  }
  evaluation_free(base, graph);
  return touchy;
}

static int float_misses(Compilation *c, const Jit *jit, const Graph *graph, uint64_t seed) {
  int misses = 0;
  for (int b = 0; b < 3; b++) {
    RandomInputs *in = inputs_for(c, graph, seed, batches[b], 1);
    misses += worst_difference(jit, graph, in, false) > 2e-3 && !is_touchy(c, graph, seed, batches[b]);
  }
  return misses;
}

static int check_random(uint64_t seed, const char *compiler, Rendering rendering) {
  Compilation *c = open_compilation();
  GUARD(c);
  Graph *graph = random_graph(c, seed);
  if (seed % 4 != 0) graph = simplify(graph); /* unsimplified ones have shapes that simplified ones lack */
  char *text = compile_text(c, graph, rendering);
  Jit *jit = compiled(text, compiler, "-O2", true);
  for (int b = 0; b < 3; b++) {
    double worst = worst_difference(jit, graph, inputs_for(c, graph, seed, batches[b], 1), true);
    cr_assert(worst < 1e-11, "seed %lu, %ld rows, double: %g", (unsigned long)seed, batches[b], worst);
  }
  jit_destroy(jit);
  jit = compiled(text, compiler, "-O2", false);
  int misses = float_misses(c, jit, graph, seed);
  jit_destroy(jit);
  compilation_destroy(c);
  return misses;
}

enum { RANDOM_PROGRAMS = 300, COMPILED_PROGRAMS = 8 };

/* A comparison of two values that are equal but for rounding may go either way in float, rarely. */
Test(backend, random_programs_as_strips) {
  int misses = 0;
  for (uint64_t seed = 1; seed <= RANDOM_PROGRAMS; seed++) misses += check_random(seed, NULL, RENDER_STRIPS);
  cr_assert(misses <= RANDOM_PROGRAMS * 3 / 100, "%d", misses);
}

Test(backend, random_programs_as_loops) {
  int misses = 0;
  for (uint64_t seed = 1001; seed <= 1000 + COMPILED_PROGRAMS; seed++) {
    misses += check_random(seed, "gcc", RENDER_LOOPS);
    misses += check_random(seed, "clang", RENDER_LOOPS);
  }
  cr_assert(misses <= 1, "%d", misses);
}

/* --- texts --- */

/* In memory of its own, so that nothing of one compilation can help the other. */
static char *text_of_vae(Rendering rendering) {
  Compilation *c = open_compilation();
  GUARD(c);
  char *text = strdup(compile_text(c, hand_graph(c, HAND_VAE, 30, 40, 14, 1), rendering));
  compilation_destroy(c);
  return text;
}

Test(backend, the_same_program_gives_the_same_bytes) {
  for (int rendering = RENDER_STRIPS; rendering <= RENDER_LOOPS; rendering++) {
    char *first = text_of_vae((Rendering)rendering), *second = text_of_vae((Rendering)rendering);
    cr_assert(strcmp(first, second) == 0);
    free(first);
    free(second);
  }
}

Test(backend, strips_compile_with_gcc_too) { check_hand("gcc", RENDER_STRIPS, HAND_BATCH_NORM, 1, 30); }

Test(backend, what_libtcc_says_is_an_error) {
  char message[512] = "";
  cr_assert(jit_compile("int spm_model_test = ;", "test", false, message, sizeof message) == NULL);
  cr_assert(strstr(message, "error") != NULL);
  message[0] = '\0';
  cr_assert(jit_compile("int spm_model_test; int f(void) { return undeclared(1); }", "test", false, message,
                        sizeof message) == NULL);
  cr_assert(strstr(message, "undeclared") != NULL, "%s", message);
  message[0] = '\0';
  cr_assert(jit_compile_with("no-such-compiler-here", "", "int x;", "test", false, message, sizeof message) == NULL);
  cr_assert(message[0] != '\0');
}

/* Gradients that nothing else reads can be updated as they are made: all matrices of an autoencoder are. */
Test(backend, matrices_of_an_autoencoder_are_updated_in_ranges) {
  Compilation *c = open_compilation();
  GUARD(c);
  Plan *plan = schedule(hand_graph(c, HAND_VAE, 330, 40, 14, 1));
  Text text = {.compilation = c};
  plan_print(&text, plan);
  int found = 0;
  for (const char *at = text.bytes; (at = strstr(at, "(update may follow)")) != NULL; at++) found++;
  cr_assert(found == 5, "%s", text.bytes);
  compilation_destroy(c);
}
