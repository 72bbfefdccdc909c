/* Langevin steps on a decoder of 100 latents, 784-400: 30 rounds of a loop beside 30 rounds written out and beside the
 * forward pass with its gradient in the latents, each a program of its own; batch 128, one thread, time of the
 * processor, strips by libtcc and loops by gcc. How long each takes to become code, and how much code it is. */
#include <stdio.h>
#include <string.h>

#include "../../compiler/jit.h"
#include "../../compiler/plan.h"
#include "../../runtime/blas.h"
#include "../../runtime/driver.h"
#include "bench.h"

enum { D = 784, H = 400, K = 100, ROWS = 128, ROUNDS = 30, LONG = 90, REPEATS = 12 };

typedef enum Kind { PASS, LOOP, LONG_LOOP, WRITTEN_OUT, KINDS } Kind;
static const char *const names[KINDS] = {"forward and input gradient", "loop of 30 rounds", "loop of 90 rounds",
                                         "30 rounds written out"};

typedef struct Builder {
  Compilation *c;
  Signature signature;
  Graph *graph;
  Node *weights[4];
} Builder;

static Node *layer(Builder *b, Node *x, int w) {
  int labels_x[] = {0}, labels_w[] = {0, 1}, labels_out[] = {1};
  Node *product = build_contract(b->graph, x, labels_x, b->weights[w], labels_w, 1, labels_out, 0);
  return build_map2(b->graph, IR_add, product, b->weights[w + 1]);
}

static Node *by_number(Builder *b, Op op, Node *x, double number) {
  return build_map2(b->graph, op, x, build_filled(b->graph, number, &x->shape));
}

/* The gradient in z of -|x - sigmoid(logits)|^2 / (2 0.3^2) - |z|^2 / 2. */
static Node *gradient_in(Builder *b, Node *z) {
  Graph *g = b->graph;
  Node *logits = layer(b, build_map1(g, IR_relu, layer(b, z, 0)), 2), *gradient;
  Node *error = build_map2(g, IR_sub, build_data(g, 0), build_map1(g, IR_sigmoid, logits));
  Node *fit = by_number(b, IR_mul, build_sum(g, build_map2(g, IR_mul, error, error), 1), -0.5 / 0.09);
  Node *joint = build_map2(g, IR_sub, fit, by_number(b, IR_mul, build_sum(g, build_map2(g, IR_mul, z, z), 1), 0.5));
  differentiate(g, build_sum_over(g, joint, AXIS_DATUM), &z, 1, &gradient);
  return gradient;
}

static void declare(Builder *b) {
  static const int sizes[4][2] = {{K, H}, {H, 0}, {H, D}, {D, 0}};
  Signature *s = &b->signature;
  s->parameters = arena_array(b->c, Parameter, 4);
  s->data = arena_array(b->c, DataInput, 1);
  s->noises = arena_array(b->c, Noise, 1);
  s->data_count = s->noise_count = 1;
  Shape pixels = {.rank = 1, .dims = {dim_number(D)}}, code = {.rank = 1, .dims = {dim_number(K)}};
  s->data[0] = (DataInput){.name = intern(b->c, "x"), .shape = pixels, .facts = {.low = 0, .high = 1, .finite = true}};
  s->noises[0] =
      (Noise){.name = intern(b->c, "e"), .kind = NOISE_NORMAL, .stream = 1, .shape = code, .axes = AXIS_DATUM};
  b->graph = graph_create(b->c, s, "langevin", 1);
  for (int i = 0; i < 4; i++) {
    Shape shape = {.rank = sizes[i][1] > 0 ? 2 : 1, .dims = {dim_number(sizes[i][0]), dim_number(sizes[i][1])}};
    s->parameters[s->parameter_count++] =
        (Parameter){.name = intern(b->c, arena_printf(b->c, "w%d", i)), .shape = shape};
    b->weights[i] = build_parameter(b->graph, i);
  }
}

static Graph *program(Compilation *c, Kind kind) {
  Builder *b = arena_new(c, Builder);
  b->c = c;
  declare(b);
  Graph *g = b->graph;
  Node *start = build_noise(g, 0), *result = NULL;
  Node *z = build_carried(g, &start->shape, AXIS_DATUM, NULL), *round = build_round(g);
  Node *next = build_map2(g, IR_add, z, by_number(b, IR_mul, gradient_in(b, z), 0.05 * 0.05 / 2));
  next = build_map2(g, IR_add, next, by_number(b, IR_mul, build_inner_noise(g, 0, round), 0.05));
  Repeat loop = {kind == LONG_LOOP ? LONG : ROUNDS, round, 1, &z, &start, &next};
  if (kind == PASS) result = gradient_in(b, start);
  if (kind == LOOP || kind == LONG_LOOP) build_repeat(g, &loop, &result);
  if (kind == WRITTEN_OUT) build_unrolled(g, &loop, &result);
  graph_output(g, OUTPUT_ROWS, intern(c, "z"), -1, result);
  return g;
}

static float *numbers(long count) {
  float *memory = malloc(sizeof(float) * (size_t)count + 64);
  for (long i = 0; i < count; i++) memory[i] = (float)(i * 7919 % 101) / 101 * 0.1f - 0.05f;
  return memory;
}

/* A program compiled in one of two ways, and the shortest time that it took. */
typedef struct Contender {
  Jit *jit;
  struct spm_run run;
  double best;
} Contender;

static void prepare(Contender *contender, Jit *jit) {
  static const float *data[1];
  const struct spm_model *model = jit_model(jit);
  struct spm_sizes sizes = {0};
  spm_program_sizes(&model->programs[0], ROWS, &sizes);
  if (data[0] == NULL) data[0] = numbers(ROWS * D);
  *contender = (Contender){.jit = jit, .best = 1e9};
  contender->run = (struct spm_run){.model = model,
                                    .program = &model->programs[0],
                                    .scratch = numbers(sizes.scratch),
                                    .scratch_size = sizes.scratch,
                                    .workers = {1, NULL, NULL}};
  contender->run.call = (struct spm_call){.parameters = numbers(model->parameter_size),
                                          .data = data,
                                          .values = numbers(sizes.values),
                                          .kept = numbers(sizes.kept),
                                          .partials = numbers(sizes.partials),
                                          .rows = ROWS,
                                          .capacity = ROWS,
                                          .settings = {0, 0, ROWS, ROWS}};
}

/* Of this thread alone: a loop is long enough for others to be let in between. */
static double cpu_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

/* A pass is timed as the mean of as many as a loop has rounds. */
static void time_once(Contender *contender, int times) {
  double start = cpu_milliseconds();
  for (int i = 0; i < times; i++) spm_run_program(&contender->run);
  double time = (cpu_milliseconds() - start) / times;
  if (time < contender->best) contender->best = time;
}

/* As strips by libtcc and as loops by gcc. */
static bool compile_both(Compilation *c, Kind kind, Contender both[2]) {
  char message[512];
  double start = bench_milliseconds();
  Graph *graph = simplify(program(c, kind));
  Plan *plan = schedule(graph);
  Text strips = {.compilation = c}, loops = strips;
  emit(&strips, c, "bench", graph->signature, &plan, 1, NULL, 0, RENDER_STRIPS);
  Jit *tcc = jit_compile(strips.bytes, "bench", false, message, sizeof message);
  double compiled = bench_milliseconds() - start;
  emit(&loops, c, "bench", graph->signature, &plan, 1, NULL, 0, RENDER_LOOPS);
  Jit *gcc = jit_compile_with("gcc", "-std=c99 -O3 -march=native -fno-math-errno", loops.bytes, "bench", false, message,
                              sizeof message);
  if (tcc == NULL || gcc == NULL) return printf("%s\n", message), false;
  printf("%s: built and compiled by libtcc in %.1f ms, %zu bytes of C\n", names[kind], compiled, strips.length);
  prepare(&both[0], tcc);
  prepare(&both[1], gcc);
  return true;
}

int main(void) {
  char message[512];
  Contender contenders[KINDS][2];
  if (spm_blas_open(SPM_OPENBLAS, message, sizeof message) != 0) printf("%s\n", message);
  for (int kind = 0; kind < KINDS; kind++) {
    Compilation *c = compilation_create();
    if (c == NULL || setjmp(c->failure)) return 1;
    c->failure_set = true;
    if (!compile_both(c, (Kind)kind, contenders[kind])) return 1;
    compilation_destroy(c);
  }
  for (int i = 0; i < REPEATS; i++) /* in turns, so that what else the machine does falls on all alike */
    for (int kind = 0; kind < KINDS; kind++)
      for (int way = 0; way < 2; way++) time_once(&contenders[kind][way], kind == PASS ? ROUNDS : 1);
  for (int kind = 0; kind < KINDS; kind++) {
    const Contender *strips = &contenders[kind][0], *loops = &contenders[kind][1], *pass = contenders[PASS];
    printf("%s: libtcc %.2f ms, %.1f passes; gcc %.2f ms, %.1f passes\n", names[kind], strips->best,
           strips->best / pass[0].best, loops->best, loops->best / pass[1].best);
    jit_destroy(strips->jit);
    jit_destroy(loops->jit);
  }
  return 0;
}
