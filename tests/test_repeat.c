/* Loops of the IR: a loop is its rounds one after the other, whatever becomes of it on the way to a program; what its
 * noise is; which gradients pass; which bodies are refused. The back end's side stands in test_backend.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "compiler/ir.h"
#include "gradient_check.h"
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
    spm_noise_normal_d(b->seed, 4, b->step, b->first_row, ROWS, 0, round, SIZE, noise, SIZE);
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
