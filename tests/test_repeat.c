/* Loops of the IR: a loop is its rounds one after the other, whatever becomes of it on the way to a program; what its
 * noise is; which gradients pass; which bodies are refused; what simplify makes of it; what is known of carried values.
 * Its compiled code is compared with the interpreter in test_backend.c, by hand-made and by random programs. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "broken_graph.h"
#include "compiler/jit.h"
#include "compiler/plan.h"
#include "gradient_check.h"
#include "hand_graphs.h"
#include "runtime/driver.h"
#include "runtime/pool.h"
#include "runtime/rng.h"

typedef struct Bench {
  Compilation *c;
  Parameter parameters[2]; /* w [A], s */
  DataInput data[1];       /* x [A] */
  Noise noises[1];         /* normal [A] {datum} */
  Signature signature;
  Graph *graph;
  Shape line;
} Bench;

static void set_up(Bench *t) {
  *t = (Bench){.c = compilation_create()};
  t->line = (Shape){.rank = 1, .dims = {dim_name(t->c, intern(t->c, "A"), 3)}};
  t->parameters[0] = (Parameter){.name = "w", .shape = t->line};
  t->parameters[1] = (Parameter){.name = "s"};
  t->data[0] =
      (DataInput){.name = "x", .shape = t->line, .facts = {.low = -INFINITY, .high = INFINITY, .finite = true}};
  t->noises[0] = (Noise){.name = "e", .kind = NOISE_NORMAL, .stream = 4, .shape = t->line, .axes = AXIS_DATUM};
  t->signature = (Signature){.parameters = t->parameters,
                             .parameter_count = 2,
                             .data = t->data,
                             .data_count = 1,
                             .noises = t->noises,
                             .noise_count = 1};
  t->graph = graph_create(t->c, &t->signature, "test", 1);
}

static Node *map2(Bench *t, Op op, Node *a, Node *b) { return build_map2(t->graph, op, a, b); }

static Node *by(Bench *t, Op op, Node *a, double b) { return map2(t, op, a, build_filled(t->graph, b, &a->shape)); }

enum { ROUNDS = 5, ROWS = 4, SIZE = 3 };

/* z' = z - 0.1 (z - w x)^3 - 0.05 z + 0.3 noise: a Langevin step on a quartic, whose gradient differentiate takes. */
static Repeat quartic(Bench *t, Node **z, Node **initial, Node **next) {
  Graph *g = t->graph;
  Node *x = build_data(g, 0), *w = build_parameter(g, 0), *round = build_round(g), *gradient;
  *z = build_carried(g, &t->line, AXIS_DATUM, NULL);
  Node *error = map2(t, IR_sub, *z, map2(t, IR_mul, w, x));
  Node *energy =
      map2(t, IR_add, by(t, IR_mul, by(t, IR_pow, error, 4), 0.025), by(t, IR_mul, map2(t, IR_mul, *z, *z), 0.025));
  differentiate(g, build_sum_over(g, build_sum(g, energy, 1), AXIS_DATUM), z, 1, &gradient);
  *next = map2(t, IR_add, map2(t, IR_sub, *z, gradient), by(t, IR_mul, build_inner_noise(g, 0, round), 0.3));
  *initial = x;
  return (Repeat){.rounds = ROUNDS, .round = round, .count = 1, .carried = z, .initial = initial, .next = next};
}

static void quartic_by_hand(const RandomInputs *in, double *z) {
  const Bindings *b = &in->bindings;
  memcpy(z, in->data[0], sizeof(double) * ROWS * SIZE);
  for (unsigned round = 0; round < ROUNDS; round++) {
    double noise[ROWS * SIZE];
    spm_noise_d(SPM_NORMAL, b->seed, 4, b->step, b->first_row, ROWS, 0, round, SIZE, noise, SIZE);
    for (int i = 0; i < ROWS * SIZE; i++) {
      double error = z[i] - in->parameters[0][i % SIZE] * in->data[0][i];
      z[i] = z[i] - 0.1 * error * error * error - 0.05 * z[i] + 0.3 * noise[i];
    }
  }
}

Test(repeat, is_its_rounds_one_after_the_other) {
  Bench t;
  set_up(&t);
  Node *z, *initial, *next, *loop, *unrolled;
  Repeat repeat = quartic(&t, &z, &initial, &next);
  cr_assert(repeat_problem(t.graph, &repeat) == NULL);
  build_repeat(t.graph, &repeat, &loop);
  build_unrolled(t.graph, &repeat, &unrolled);
  RandomInputs *in = random_inputs(t.c, &t.signature, 3, ROWS);
  double wanted[ROWS * SIZE];
  quartic_by_hand(in, wanted);
  graph_output(t.graph, OUTPUT_ROWS, "loop", -1, loop);
  graph_output(t.graph, OUTPUT_ROWS, "unrolled", -1, unrolled);
  cr_assert(ir_verify(t.graph) == NULL, "%s", ir_verify(t.graph));
  Graph *simple = simplify(t.graph);
  cr_assert(ir_verify(simple) == NULL, "%s", ir_verify(simple));
  const Graph *graphs[] = {t.graph, simple};
  for (int g = 0; g < 2; g++)
    for (int o = 0; o < 2; o++) {
      const double *found = value_of(graphs[g], graphs[g]->outputs[o].value, in);
      for (int i = 0; i < ROWS * SIZE; i++)
        cr_assert(fabs(found[i] - wanted[i]) < 1e-12, "%s: %g, not %g", graphs[g]->outputs[o].name, found[i],
                  wanted[i]);
    }
  compilation_destroy(t.c);
}

Test(repeat, no_rounds_are_the_initial_values) {
  Bench t;
  set_up(&t);
  Node *z, *initial, *next, *loop;
  Repeat repeat = quartic(&t, &z, &initial, &next);
  repeat.rounds = 0;
  build_repeat(t.graph, &repeat, &loop);
  RandomInputs *in = random_inputs(t.c, &t.signature, 3, ROWS);
  const double *found = value_of(t.graph, loop, in);
  for (int i = 0; i < ROWS * SIZE; i++) cr_assert(found[i] == in->data[0][i]);
  compilation_destroy(t.c);
}

/* Gradients go through rounds that are written out, and not into a loop. */
Test(repeat, gradients_pass_only_what_is_unrolled) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *z, *initial, *next, *results[2];
  Repeat repeat = quartic(&t, &z, &initial, &next);
  build_repeat(g, &repeat, &results[0]);
  build_unrolled(g, &repeat, &results[1]);
  RandomInputs *in = random_inputs(t.c, &t.signature, 3, ROWS);
  for (int which = 0; which < 2; which++) {
    Node *of = map2(&t, IR_mul, results[which], results[which]), *w = build_parameter(g, 0), *adjoint;
    of = build_sum_over(g, build_sum(g, of, 1), AXIS_DATUM);
    differentiate(g, of, &w, 1, &adjoint);
    const double *gradient = value_of(g, adjoint, in);
    for (int i = 0; i < SIZE; i++) cr_assert((gradient[i] != 0) == (which == 1), "%d: %g", which, gradient[i]);
    GradientCheck check = gradient_check(g, of, (int[]){0, 1}, 2, in); /* stopped values held */
    cr_assert(check.worst < 1e-6 && check.compared == SIZE + 1, "%d: %g", which, check.worst);
  }
  compilation_destroy(t.c);
}

Test(repeat, refuses_a_sum_over_the_batch) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *z, *initial, *next, *loop;
  Repeat repeat = quartic(&t, &z, &initial, &next);
  next = map2(&t, IR_add, next, build_sum_over(g, z, AXIS_DATUM));
  const char *problem = repeat_problem(g, &repeat);
  cr_assert(problem != NULL && strstr(problem, "over the batch") != NULL);
  build_unrolled(g, &repeat, &loop); /* which may */
  cr_assert(loop->axes == AXIS_DATUM);
  compilation_destroy(t.c);
}

/* --- the graph of a body --- */

static const Node *first_of(const Graph *g, Op op) {
  for (int i = 0; i < g->count; i++)
    if (g->nodes[i]->op == op) return g->nodes[i];
  return NULL;
}

static int count_of(const Graph *g, Op op) {
  int count = 0;
  for (int i = 0; i < g->count; i++) count += g->nodes[i]->op == op;
  return count;
}

/* x' = x + ((x s) exp(w) + y), y' = y + round, z' = x: nobody asks for z, and s exp(w) is the same in every round. */
Test(repeat, a_body_holds_what_changes_and_is_asked_for) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *x = build_carried(g, &t.line, 0, NULL), *y = build_carried(g, &t.line, 0, NULL);
  Node *z = build_carried(g, &t.line, 0, NULL), *round = build_round(g), *results[3];
  Node *s = build_scalar_expand(g, build_parameter(g, 1), &t.line), *ws = build_map1(g, IR_exp, build_parameter(g, 0));
  Node *next[] = {map2(&t, IR_add, x, map2(&t, IR_add, map2(&t, IR_mul, map2(&t, IR_mul, x, s), ws), y)),
                  map2(&t, IR_add, y, build_scalar_expand(g, round, &t.line)), x};
  Node *initial[] = {build_filled(g, 1, &t.line), build_filled(g, 2, &t.line), build_filled(g, 3, &t.line)};
  build_repeat(g, &(Repeat){7, round, 3, (Node *[]){x, y, z}, initial, next}, results);
  graph_output(g, OUTPUT_METRIC, "x", -1, results[0]);
  const Node *loop = first_of(g, IR_repeat);
  cr_assert(loop->body->output_count == 3 && first_of(loop->body, IR_exp) == NULL, "exp(w) does not change");
  Graph *simple = simplify(g);
  cr_assert(ir_verify(simple) == NULL, "%s", ir_verify(simple));
  const Node *rest = first_of(simple, IR_repeat);
  cr_assert(rest->body->output_count == 2, "z is dropped: %d are carried", rest->body->output_count);
  RandomInputs *in = random_inputs(t.c, &t.signature, 3, 1);
  for (int i = 0; i < SIZE; i++) {
    double a = 1, b = 2, factor = in->parameters[1][0] * exp(in->parameters[0][i]);
    for (int k = 0; k < 7; k++) a += a * factor + b, b += k;
    double found = value_of(simple, simple->outputs[0].value, in)[i];
    cr_assert(fabs(found - a) < 1e-9 * fabs(a), "%g, not %g", found, a);
  }
  compilation_destroy(t.c);
}

/* What is carried for a step has a loop of its own beside that of the rows. */
Test(repeat, step_values_are_not_computed_by_rows) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *z = build_carried(g, &t.line, AXIS_DATUM, NULL), *size = build_carried(g, &(Shape){0}, 0, NULL), *results[2];
  Node *initial[] = {build_data(g, 0), build_constant(g, 1)};
  Node *next[] = {map2(&t, IR_mul, z, build_scalar_expand(g, size, &t.line)), by(&t, IR_mul, size, 0.5)};
  build_repeat(g, &(Repeat){3, NULL, 2, (Node *[]){z, size}, initial, next}, results);
  cr_assert(results[0]->axes == AXIS_DATUM && results[1]->axes == 0 && results[1]->operands[0]->axes == 0);
  RandomInputs *in = random_inputs(t.c, &t.signature, 3, ROWS);
  cr_assert(*value_of(g, results[1], in) == 0.125 && value_of(g, results[0], in)[4] == in->data[0][4] * 0.125);
  cr_assert(count_of(g, IR_repeat) == 2);
  compilation_destroy(t.c);
}

static const Facts *facts_after(Bench *t, Op op, double start) {
  Node *x = build_carried(t->graph, &(Shape){0}, 0, NULL), *initial = build_constant(t->graph, start), *result;
  Node *next = op == IR_div ? map2(t, op, build_constant(t->graph, 1), x) : build_map1(t->graph, op, x);
  build_repeat(t->graph, &(Repeat){3, NULL, 1, &x, &initial, &next}, &result);
  return &result->facts;
}

Test(repeat, what_is_known_of_carried_values_is_found_by_induction) {
  Bench t;
  set_up(&t);
  const Facts *f = facts_after(&t, IR_sigmoid, 2);
  cr_assert(f->finite && f->low == 0 && f->high == 1);
  f = facts_after(&t, IR_floor, 2);
  cr_assert(f->finite && f->low == 2 && f->high == 2, "floor(2) is 2 for ever");
  f = facts_after(&t, IR_exp, 0.5);
  cr_assert(!f->finite && f->pole_free && f->low == 0);
  cr_assert(!facts_after(&t, IR_div, 2)->pole_free && !facts_after(&t, IR_log, 0.5)->pole_free);
  compilation_destroy(t.c);
}

Test(repeat, what_is_said_of_a_carried_value_must_hold) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Facts unit = {.low = 0, .high = 1, .finite = true};
  Node *x = build_carried(g, &t.line, 0, &unit), *initial = build_filled(g, 0.5, &t.line);
  Node *next[] = {by(&t, IR_mul, x, 0.5), by(&t, IR_add, x, 0.5)};
  cr_assert(repeat_problem(g, &(Repeat){3, NULL, 1, &x, &initial, &next[0]}) == NULL);
  cr_assert(repeat_problem(g, &(Repeat){3, NULL, 1, &x, &initial, &next[1]}) != NULL);
  compilation_destroy(t.c);
}

Test(repeat, is_printed_with_its_body) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *x = build_carried(g, &t.line, AXIS_DATUM, NULL), *round = build_round(g), *result;
  Node *next = map2(&t, IR_add, map2(&t, IR_mul, x, build_parameter(g, 0)), build_inner_noise(g, 0, round));
  Node *initial = build_data(g, 0);
  build_repeat(g, &(Repeat){9, round, 1, &x, &initial, &next}, &result);
  graph_output(g, OUTPUT_ROWS, "x", -1, result);
  Text text = {.compilation = t.c};
  ir_print(&text, simplify(g));
  const char *wanted = "program test\n"
                       "%0 [A] = parameter w\n"
                       "%1 [A] {datum} = data x\n"
                       "%2 [3] {datum} = repeat(%1, %0, rounds 9)\n"
                       "    %0 [A] {datum} = carried 0\n"
                       "    %1 = round 0\n"
                       "    %2 [A] {datum} = inner_noise(%1, noise e)\n"
                       "    %3 [A] = captured 0\n"
                       "    %4 [A] {datum} = mul(%0, %3)\n"
                       "    %5 [A] {datum} = add(%2, %4)\n"
                       "    next 0 = %5\n"
                       "%3 [A] {datum} = repeat_result(%2, carried 0)\n"
                       "rows x = %3\n";
  cr_assert(strcmp(text.bytes, wanted) == 0, "%s", text.bytes);
  compilation_destroy(t.c);
}

Test(repeat, verifier_finds_violations) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *z, *initial, *next, *result;
  Repeat repeat = quartic(&t, &z, &initial, &next);
  build_repeat(g, &repeat, &result);
  Node *loop = result->operands[0], *carried = (Node *)first_of(loop->body, IR_carried);
  Node *captured = (Node *)first_of(loop->body, IR_captured), *noise = (Node *)first_of(loop->body, IR_inner_noise);
  cr_assert(ir_verify(g) == NULL, "%s", ir_verify(g));
  BREAK(loop->rounds, 0, "without body or rounds");
  BREAK(loop->operands[0], build_parameter(g, 0), "not like what becomes of it");
  BREAK(carried->index, 1, "does not carry");
  BREAK(captured->index, 9, "nothing is captured there");
  BREAK(noise->index, 5, "no such noise");
  BREAK(result->index, 1, "no result of a loop");
  BREAK(loop->body->outputs[0].role, OUTPUT_VALUE, "another output");
  graph_output(g, OUTPUT_ROWS, "open", -1, next);
  expect_problem(g, "depends on a placeholder");
  compilation_destroy(t.c);
}

/* --- compiled --- */

static char *text_of(Compilation *c, long rounds) {
  Bench *t = arena_new(c, Bench);
  set_up(t);
  Node *z, *initial, *next, *result;
  Repeat repeat = quartic(t, &z, &initial, &next);
  repeat.rounds = rounds;
  build_repeat(t->graph, &repeat, &result);
  graph_output(t->graph, OUTPUT_ROWS, "z", -1, result);
  Plan *plan = schedule(simplify(t->graph));
  cr_assert(plan_verify(plan) == NULL, "%s", plan_verify(plan));
  Text text = {.compilation = c};
  emit(&text, t->c, "test", &t->signature, &plan, 1, NULL, 0, RENDER_STRIPS);
  compilation_destroy(t->c);
  return text.bytes;
}

Test(repeat, code_does_not_grow_with_the_rounds) {
  Compilation *c = compilation_create();
  cr_assert(strlen(text_of(c, 1000)) == strlen(text_of(c, 10)) + 2, "but for the two digits of the number");
  compilation_destroy(c);
}

static void spread(void *pool, long units, spm_unit_function run, void *context) {
  pool_run(pool, units, run, context);
}

static float *floats(long count, float scale) {
  float *memory = malloc(sizeof(float) * (size_t)count + 64);
  for (long i = 0; i < count; i++) memory[i] = scale * sinf((float)(i * 37 % 1009));
  return memory;
}

/* All outputs of the hand-made Langevin program over a batch of several tiles, one after the other. */
static float *langevin_outputs(const Jit *jit, int threads, long rows, long *count) {
  const struct spm_model *model = jit_model(jit);
  const struct spm_program *program = &model->programs[0];
  struct spm_sizes sizes = {0};
  spm_program_sizes(program, rows, &sizes);
  const float *data[] = {floats(rows * model->data[0].size, 0.9f)};
  struct pool *pool = pool_create(threads);
  struct spm_run run = {.model = model, .program = program, .scratch_size = sizes.scratch};
  run.scratch = floats(threads * sizes.scratch, 0);
  run.workers = (struct spm_workers){threads, spread, pool};
  run.call = (struct spm_call){.parameters = floats(model->parameter_size, 0.2f),
                               .data = data,
                               .state = floats(model->state_size, 1),
                               .state_next = floats(model->state_size, 0),
                               .values = floats(sizes.values, 0),
                               .kept = floats(sizes.kept, 0),
                               .partials = floats(sizes.partials, 0),
                               .gradient = floats(model->parameter_size, 0),
                               .rows = rows,
                               .capacity = rows,
                               .seed = 8,
                               .settings = {0, 0, (float)rows, (float)rows}};
  spm_run_program(&run);
  float *all = floats(program->output_count * rows * 1000, 0);
  *count = 0;
  for (int i = 0; i < program->output_count; i++) {
    const struct spm_output *output = &program->outputs[i];
    long size = output->size * (output->place == SPM_KEPT ? rows : 1);
    memcpy(all + *count, spm_output_values(&run, output), sizeof(float) * (size_t)size);
    *count += size;
  }
  pool_destroy(pool);
  return all;
}

Test(repeat, any_number_of_threads_gives_the_same_bytes) {
  Compilation *c = compilation_create();
  Graph *graph = hand_graph(c, HAND_LANGEVIN, 30, 20, 7, 1);
  Plan *plan = schedule(graph);
  Text text = {.compilation = c};
  char message[256] = "";
  emit(&text, c, "test", graph->signature, &plan, 1, NULL, 0, RENDER_STRIPS);
  Jit *jit = jit_compile(text.bytes, "test", false, message, sizeof message);
  cr_assert(jit != NULL, "%s", message);
  long count, again;
  float *one = langevin_outputs(jit, 1, 300, &count);
  for (int threads = 2; threads <= 5; threads++) {
    float *several = langevin_outputs(jit, threads, 300, &again);
    cr_assert(again == count && memcmp(one, several, sizeof(float) * (size_t)count) == 0, "%d threads", threads);
  }
  jit_destroy(jit);
  compilation_destroy(c);
}
