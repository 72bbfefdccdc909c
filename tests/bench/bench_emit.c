/* bench_emit [ROWS]: a training step of specs/laplace_vae.spm on one thread, three ways in one process with one BLAS:
 * the emitted file (cc -O3 -march=native), what `spmc train` runs, and hand_laplace_vae.c, the step written by hand.
 * They take turns, a few steps each; processor time, so that what else the machine does counts less. Medians of the
 * turns. Begins with the time that emitting and compiling took. */
#include "bench.h"
#include "products.h"

#include "compiler/compiler.h"
#include "runtime/host.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BURST = 4, TURNS = 60, DATA_SIZE = 784 };
enum { EMITTED, RUNTIME, HAND, WAYS };
static const char *const names[WAYS] = {"emitted file", "spmc train", "by hand"};
static char directory[] = "/tmp/spm-bench-XXXXXX";

static void fail(const char *message) {
  fprintf(stderr, "bench_emit: %s\n", message);
  exit(1);
}

static double processor_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static void *compiled(const char *source, const char *name) {
  char command[1024], path[256];
  snprintf(path, sizeof path, "%s/%s.so", directory, name);
  snprintf(command, sizeof command,
           "cc -O3 -march=native -ffp-contract=off -shared -fPIC -I. -Iruntime '%s' -o '%s' -lopenblas -lm", source,
           path);
  if (system(command) != 0) fail("cc failed");
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) fail(dlerror());
  return library;
}

static void *function(void *library, const char *name) {
  void *found = dlsym(library, name);
  if (!found) fail(dlerror());
  return found;
}

static double objective[WAYS];
static const float *pixels;
static long rows;

/* ---- the three ----------------------------------------------------------------------------------------------- */

static struct emitted {
  void *instance;
  int (*step)(void *, const float *const *, long);
  const float *(*output)(const void *, const char *, long *);
} emitted;

static void step_emitted(void) {
  long size;
  if (emitted.step(emitted.instance, &pixels, rows) != 0) fail("the emitted step was skipped");
  objective[EMITTED] = (double)*emitted.output(emitted.instance, "objective", &size);
}

static void open_emitted(Model *model, Compilation *c) {
  char path[256];
  Text text = {.compilation = c};
  double start = bench_milliseconds();
  if (!compile_standalone(model, &(Standalone){.library = true}, &text)) fail("the spec cannot be emitted");
  snprintf(path, sizeof path, "%s/model.c", directory);
  FILE *out = fopen(path, "w");
  if (!out || fputs(text.bytes, out) < 0 || fclose(out) != 0) fail("the emitted file cannot be written");
  void *library = compiled(path, "model");
  printf("emitted and compiled in %.2f s\n", 1e-3 * (bench_milliseconds() - start));
  size_t (*size)(long, int);
  void *(*create)(void *, size_t, long, int, unsigned long long);
  *(void **)&size = function(library, "laplace_vae_size");
  *(void **)&create = function(library, "laplace_vae_open");
  *(void **)&emitted.step = function(library, "laplace_vae_step");
  *(void **)&emitted.output = function(library, "laplace_vae_output");
  size_t bytes = size(rows, 1);
  emitted.instance = create(aligned_alloc(64, (bytes + 63) / 64 * 64), bytes, rows, 1, 1);
  if (!emitted.instance) fail("the emitted model cannot be opened");
}

static struct spm_host host;
static const struct spm_training stage = {
    .optimizer = "adam", .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
static struct spm_optimizer optimizer = {.stage = &stage};

static void step_runtime(void) {
  const struct spm_program *program = spm_find_program(host.model, "train");
  host.step = optimizer.updates;
  struct spm_run run = spm_host_run(&host, program, rows);
  run.call.step = (unsigned)optimizer.updates;
  if (spm_run_step(&run, &optimizer) != SPM_STEP_UPDATED) fail("a step was skipped");
  optimizer.updates++;
  objective[RUNTIME] = (double)*spm_output_values(&run, spm_find_output(program, SPM_OBJECTIVE, NULL));
}

static void open_runtime(Model *model) {
  struct spm_error error;
  char message[1024];
  Jit *jit = compile_jit(model, false, message, sizeof message);
  if (!jit) fail(message);
  if (spm_host_create(&host, jit_model(jit), rows, 1, 1, &error) != 0) fail(error.message);
  host.total_rows = rows;
  if (spm_host_initialise(&host, &error) != 0) fail(error.message);
  memcpy(host.batch[0], pixels, sizeof(float) * (size_t)(rows * DATA_SIZE));
  optimizer.first = host.first;
  optimizer.second = host.second;
}

static double (*hand)(const float *, long);
static void step_hand(void) { objective[HAND] = hand(pixels, rows); }

/* The parameters of the others, whose blocks are padded. */
static void open_hand(void) {
  void *library = compiled("tests/bench/hand_laplace_vae.c", "hand");
  float *(*parameters)(void);
  *(void **)&hand = function(library, "hand_step");
  *(void **)&parameters = function(library, "hand_parameters");
  float *to = parameters();
  for (int p = 0; p < host.model->parameter_count; p++) {
    memcpy(to, host.parameters + host.model->parameters[p].offset,
           sizeof(float) * (size_t)host.model->parameters[p].size);
    to += host.model->parameters[p].size;
  }
}

/* ---- turns --------------------------------------------------------------------------------------------------- */

static void take_turns(void) {
  static void (*const steps[WAYS])(void) = {step_emitted, step_runtime, step_hand};
  static double times[WAYS][BURST * TURNS], ratios[WAYS][TURNS];
  for (int turn = -2; turn < TURNS; turn++) {
    double spent[WAYS];
    for (int way = 0; way < WAYS; way++) {
      steps[way]();
      double best = INFINITY;
      for (int k = 0; k < BURST; k++) {
        double start = processor_milliseconds();
        steps[way]();
        double time = processor_milliseconds() - start;
        best = fmin(best, time);
        if (turn >= 0) times[way][turn * BURST + k] = time;
      }
      spent[way] = best;
    }
    for (int way = 0; turn >= 0 && way < WAYS; way++) ratios[way][turn] = spent[EMITTED] / spent[way];
  }
  printf("%ld rows, ms a step of processor time%10s%10s%28s%14s\n", rows, "median", "fastest",
         "emitted takes, times this", "objective");
  for (int way = 0; way < WAYS; way++)
    printf("  %-34s%10.3f%10.3f%28.3f%14.4f\n", names[way], bench_quantile(times[way], BURST * TURNS, 0.5),
           bench_quantile(times[way], BURST * TURNS, 0), bench_quantile(ratios[way], TURNS, 0.5), objective[way]);
}

int main(int count, char **words) {
  static const CompileOptions options;
  char problem[512] = "", command[64];
  rows = count > 1 ? atol(words[1]) : 128;
  float *filled = products_reals(rows * DATA_SIZE);
  products_fill(filled, rows * DATA_SIZE, 1, 1);
  pixels = filled;
  if (!mkdtemp(directory)) fail("there is no room for a directory in /tmp");
  if (spm_blas_open(SPM_OPENBLAS, problem, sizeof problem) != 0) fail(problem);
  Compilation *c = compilation_create();
  Model *model = compile_check(c, "specs/laplace_vae.spm", &options);
  if (!model || c->error_count) fail("specs/laplace_vae.spm cannot be compiled");
  open_emitted(model, c);
  open_runtime(model);
  open_hand();
  take_turns();
  printf("  (wanted: at most 1 times spmc train, and 1.05 times by hand)\n");
  snprintf(command, sizeof command, "rm -r '%s'", directory);
  return system(command);
}
