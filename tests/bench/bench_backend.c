/* How long the back end takes to compile a variational autoencoder's training step (784-400-64-400-784), and how its
 * step compares with the bare matrix products in it: batch 128 in tiles of 64, one thread, no updates. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../compiler/jit.h"
#include "../../compiler/plan.h"
#include "../../runtime/blas.h"
#include "../../runtime/driver.h"
#include "../hand_graphs.h"

enum { D = 784, H = 400, K = 64, ROWS = 128, TILE = 64, REPEATS = 150 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return 1e3 * (double)time.tv_sec + 1e-6 * (double)time.tv_nsec;
}

static float *numbers(long count) {
  float *memory = malloc(sizeof(float) * (size_t)count + 64);
  for (long i = 0; i < count; i++) memory[i] = (float)(i * 7919 % 101) / 101 * 0.1f;
  return memory;
}

/* Forward, backward to inputs, and to weights, as the plan does them. */
static void bare_products(const float *in_rows, float *weights, float *out_rows, float *back) {
  static const int layers[][2] = {{D, H}, {H, K}, {H, K}, {K, H}, {H, D}};
  for (int tile = 0; tile < ROWS; tile += TILE)
    for (int l = 0; l < 5; l++) {
      int in = layers[l][0], out = layers[l][1];
      spm_gemm_f(0, 0, TILE, out, in, 1, in_rows, in, weights, out, 0, out_rows, out);
      if (l > 0) spm_gemm_f(0, 1, TILE, in, out, 1, out_rows, out, weights, out, 0, back, in);
    }
  for (int l = 0; l < 5; l++) {
    int in = layers[l][0], out = layers[l][1];
    for (int from = 0; from < in; from += 112)
      spm_gemm_f(1, 0, in - from < 112 ? in - from : 112, out, ROWS, 1, in_rows + from, in, out_rows, out, 0, back,
                 out);
  }
}

/* One thing to time: a compiled model's step, or the bare products. */
typedef struct Contender {
  const char *name;
  struct spm_run run;
  double best;
} Contender;

static float *x, *w, *h, *g;

static void prepare(Contender *contender, const char *name, const Jit *jit) {
  contender->name = name;
  contender->best = 1e9;
  if (jit == NULL) return;
  const struct spm_model *model = jit_model(jit);
  struct spm_sizes sizes = {0};
  spm_program_sizes(&model->programs[0], ROWS, &sizes);
  const float **data = calloc(1, sizeof *data);
  data[0] = x;
  contender->run = (struct spm_run){.model = model,
                                    .program = &model->programs[0],
                                    .scratch = numbers(sizes.scratch),
                                    .scratch_size = sizes.scratch,
                                    .workers = {1, NULL, NULL}};
  contender->run.call = (struct spm_call){.parameters = numbers(model->parameter_size),
                                          .data = data,
                                          .state = numbers(64),
                                          .state_next = numbers(64),
                                          .values = numbers(sizes.values),
                                          .kept = numbers(sizes.kept),
                                          .partials = numbers(sizes.partials),
                                          .gradient = numbers(model->parameter_size),
                                          .rows = ROWS,
                                          .capacity = ROWS,
                                          .settings = {0, 0, ROWS, ROWS}};
}

static void time_once(Contender *contender) {
  double start = now();
  if (contender->run.model != NULL)
    spm_run_program(&contender->run);
  else
    bare_products(x, w, h, g);
  double time = now() - start;
  if (time < contender->best) contender->best = time;
}

static void bench_compiling(Compilation *c, const Graph *graph, Text *strips) {
  char message[512];
  for (int i = 0; i < 3; i++) {
    double start = now();
    Plan *plan = schedule(graph);
    double scheduled = now();
    *strips = (Text){.compilation = c};
    emit(strips, c, "bench", graph->signature, &plan, 1, NULL, 0, RENDER_STRIPS);
    double emitted = now();
    Jit *jit = jit_compile(strips->bytes, "bench", false, message, sizeof message);
    double compiled = now();
    if (jit == NULL) printf("%s\n", message);
    jit_destroy(jit);
    printf("%d nodes: schedule %.2f ms, emit %.2f ms (%zu bytes), libtcc %.2f ms\n", graph->count, scheduled - start,
           emitted - scheduled, strips->length, compiled - emitted);
  }
}

int main(void) {
  char message[512];
  if (spm_blas_open(SPM_OPENBLAS, message, sizeof message) != 0) printf("%s\n", message);
  Compilation *c = compilation_create();
  if (c == NULL || setjmp(c->failure)) return 1;
  c->failure_set = true;
  Graph *graph = hand_graph(c, HAND_VAE, D, H, K, 1);
  Text strips, loops = {.compilation = c};
  bench_compiling(c, graph, &strips);
  Plan *plan = schedule(graph);
  emit(&loops, c, "bench", graph->signature, &plan, 1, NULL, 0, RENDER_LOOPS);
  Jit *tcc = jit_compile(strips.bytes, "bench", false, message, sizeof message);
  Jit *gcc = jit_compile_with("gcc", "-std=c99 -O3 -march=native -fno-math-errno", loops.bytes, "bench", false, message,
                              sizeof message);
  x = numbers(ROWS * D), w = numbers(D * H), h = numbers(ROWS * D), g = numbers(D * H);
  Contender contenders[3];
  memset(contenders, 0, sizeof contenders);
  prepare(&contenders[0], "bare products", NULL);
  prepare(&contenders[1], "strips (libtcc)", tcc);
  prepare(&contenders[2], "loops (gcc -O3)", gcc);
  for (int i = 0; i < REPEATS; i++) /* in turns, so that what else the machine does falls on all alike */
    for (int k = 0; k < 3; k++) time_once(&contenders[k]);
  for (int k = 0; k < 3; k++)
    printf("%s: %s %.3f ms, %.2f times the products\n", spm_blas_name(), contenders[k].name, contenders[k].best,
           contenders[k].best / contenders[0].best);
  jit_destroy(tcc);
  jit_destroy(gcc);
  compilation_destroy(c);
  return 0;
}
