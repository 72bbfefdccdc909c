/* bench_step [--phases] [--serve ROWS] [--threads N] [--blas LIBRARY] [SPEC]: what a training step of
 * specs/laplace_vae.spm costs.
 *
 * The spec is compiled through the library, each stage timed. Steps (gradients, fused Adam updates) on random pixels in
 * memory are then timed in turns with the step's bare matrix products (products.h), in one process, with one BLAS:
 * turns of a few runs each, so that whatever else the machine does falls on all alike. Medians, and the fastest.
 * --phases shows where a step's time goes. --serve ROWS answers lines "COUNT" with the times of so many steps on one
 * thread (or --threads), for comparisons with other programs (peers.py). */
#include "bench.h"
#include "products.h"

#include "compiler/compiler.h"
#include "runtime/host.h"
#include "runtime/optim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BURST = 5, TURNS = 50, TIMINGS = (BURST - 1) * TURNS }; /* the first run of a burst warms caches, untimed */
enum { COMPILATIONS = 30, DATA_SIZE = 784 };

static void fail(const char *message) {
  fprintf(stderr, "bench_step: %s\n", message);
  exit(1);
}

/* ---- compiling ----------------------------------------------------------------------------------------------- */

enum { STAGE_CHECK, STAGE_DERIVE, STAGE_EMIT, STAGE_JIT, STAGE_ALL, STAGE_COUNT };
static const char *const stage_names[STAGE_COUNT] = {"parse and check", "derive and simplify", "schedule and emit",
                                                     "libtcc", "all"};

/* One whole compilation; `times` are of its stages. */
static Jit *compile(const char *path, double *times) {
  static const CompileOptions options;
  Compilation *c = compilation_create();
  if (!c) fail("out of memory");
  double clock[STAGE_COUNT] = {bench_milliseconds()};
  Model *model = compile_check(c, path, &options);
  if (model && c->error_count == 0 && !setjmp(c->failure)) {
    c->failure_set = true;
    clock[STAGE_DERIVE] = bench_milliseconds();
    for (int program = 0; program < PROGRAM_COUNT; program++) model_graph(model, (ProgramKind)program);
    clock[STAGE_EMIT] = bench_milliseconds();
    Text text = {.compilation = c};
    bool emitted = compile_emit(model, RENDER_STRIPS, &text);
    clock[STAGE_JIT] = bench_milliseconds();
    char message[1024] = "";
    Jit *jit = emitted ? jit_compile(text.bytes, model_name(model), false, message, sizeof message) : NULL;
    clock[STAGE_ALL] = bench_milliseconds();
    if (message[0]) fprintf(stderr, "%s\n", message);
    if (jit) {
      for (int s = 0; s < STAGE_ALL; s++) times[s] = clock[s + 1] - clock[s];
      times[STAGE_ALL] = clock[STAGE_ALL] - clock[0];
      compilation_destroy(c);
      return jit;
    }
  }
  diagnostics_print(c, stderr, false);
  fail("the spec could not be compiled");
  return NULL;
}

static Jit *compile_timed(const char *path) {
  static double times[STAGE_COUNT][COMPILATIONS];
  double one[STAGE_COUNT], first[STAGE_COUNT];
  Jit *jit = compile(path, first);
  for (int i = 0; i < COMPILATIONS; i++) {
    jit_destroy(compile(path, one));
    for (int s = 0; s < STAGE_COUNT; s++) times[s][i] = one[s];
  }
  printf("compiling %s, ms\n  %-22s%10s%10s\n", path, "stage", "first", "median");
  for (int s = 0; s < STAGE_COUNT; s++)
    printf("  %-22s%10.2f%10.2f\n", stage_names[s], first[s], bench_quantile(times[s], COMPILATIONS, 0.5));
  printf("  (wanted: all below 15)\n\n");
  return jit;
}

/* ---- steps --------------------------------------------------------------------------------------------------- */

struct trainer {
  struct spm_host host;
  struct spm_optimizer optimizer;
  const struct spm_program *program;
  long rows;
  double first_objective, objective; /* of the first step and the last */
};

static void trainer_create(struct trainer *t, const struct spm_model *model, long rows, int threads) {
  struct spm_error error;
  *t = (struct trainer){.rows = rows, .program = spm_find_program(model, "train")};
  if (!t->program || model->data_count != 1 || model->data[0].size != DATA_SIZE)
    fail("the spec has to train on one data declaration of 784 values");
  if (spm_host_create(&t->host, model, rows, threads, 1, &error) != 0) fail(error.message);
  t->host.total_rows = rows;
  if (spm_host_initialise(&t->host, &error) != 0) fail(error.message);
  products_fill(t->host.batch[0], rows * DATA_SIZE, 1, 1);
  static const struct spm_training stage = {
      .optimizer = "adam", .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
  t->optimizer = (struct spm_optimizer){.stage = &stage, .first = t->host.first, .second = t->host.second};
}

static struct spm_run trainer_run(struct trainer *t) {
  t->host.step = t->optimizer.updates;
  struct spm_run run = spm_host_run(&t->host, t->program, t->rows);
  run.call.step = (unsigned)t->optimizer.updates;
  return run;
}

static void trainer_step(void *trainer) {
  struct trainer *t = trainer;
  struct spm_run run = trainer_run(t);
  if (spm_run_step(&run, &t->optimizer) != SPM_STEP_UPDATED) fail("a step was skipped");
  const struct spm_output *objective = spm_find_output(t->program, SPM_OBJECTIVE, NULL);
  if (objective) t->objective = (double)*spm_output_values(&run, objective);
  if (t->optimizer.updates++ == 0) t->first_objective = t->objective;
}

static void run_products(void *products) {
  const struct products *p = products;
  products_rows(p, 0, p->rows);
  products_weights(p, 0);
}

/* ---- taking turns -------------------------------------------------------------------------------------------- */

struct contender {
  void (*run)(void *argument);
  void *argument;
  double times[TIMINGS];
  double median, fastest, spread; /* spread: between the quartiles, as a part of the median */
};

static void take_turns(struct contender *const *contenders, int count) {
  for (int turn = 0; turn < TURNS; turn++)
    for (int i = 0; i < count; i++)
      for (int k = -1; k < BURST - 1; k++) {
        double start = bench_milliseconds();
        contenders[i]->run(contenders[i]->argument);
        if (k >= 0) contenders[i]->times[turn * (BURST - 1) + k] = bench_milliseconds() - start;
      }
  for (int i = 0; i < count; i++) {
    struct contender *c = contenders[i];
    c->median = bench_quantile(c->times, TIMINGS, 0.5);
    c->fastest = bench_quantile(c->times, TIMINGS, 0);
    c->spread = (bench_quantile(c->times, TIMINGS, 0.75) - bench_quantile(c->times, TIMINGS, 0.25)) / c->median;
  }
}

static void bench_batch(const struct spm_model *model, long rows) {
  static struct products products;
  static struct trainer one, two;
  static struct contender bare = {.run = run_products, .argument = &products},
                          single = {.run = trainer_step, .argument = &one},
                          threaded = {.run = trainer_step, .argument = &two};
  products_create(&products, rows);
  trainer_create(&one, model, rows, 1);
  trainer_create(&two, model, rows, 2);
  take_turns((struct contender *const[]){&bare, &single, &threaded}, 3);
  printf("%6ld%8.3f%8.3f%8.2f%8.3f%8.2f  |%8.3f%8.3f%8.2f%8.3f%8.2f  |%5.0f%5.0f%5.0f\n", rows, bare.median,
         single.median, single.median / bare.median, threaded.median, single.median / threaded.median, bare.fastest,
         single.fastest, single.fastest / bare.fastest, threaded.fastest, single.fastest / threaded.fastest,
         100 * bare.spread, 100 * single.spread, 100 * threaded.spread);
  if (one.objective != two.objective)
    printf("       one thread and two differ: objective %.9g, %.9g\n", one.objective, two.objective);
  if (!(one.objective > one.first_objective))
    printf("       the objective fell from %g to %g\n", one.first_objective, one.objective);
  products_free(&products);
  spm_host_free(&one.host);
  spm_host_free(&two.host);
}

/* ---- where the time goes ------------------------------------------------------------------------------------- */

/* Phase functions know no context of their own, so each slot has a function that times what was put into it. */
enum { SLOTS = 16 };
static spm_phase_function timed_phases[SLOTS];
static spm_range_function timed_ranges[SLOTS];
static double phase_spent[SLOTS], range_spent[SLOTS];

#define FOR_EACH_SLOT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define DEFINE_SLOT(i)                                                                                                 \
  static void phase_slot_##i(const struct spm_call *call, real *scratch, long unit) {                                  \
    double start = bench_milliseconds();                                                                               \
    timed_phases[i](call, scratch, unit);                                                                              \
    phase_spent[i] += bench_milliseconds() - start;                                                                    \
  }                                                                                                                    \
  static void range_slot_##i(const struct spm_call *call, real *scratch, long unit, real *out) {                       \
    double start = bench_milliseconds();                                                                               \
    timed_ranges[i](call, scratch, unit, out);                                                                         \
    range_spent[i] += bench_milliseconds() - start;                                                                    \
  }
FOR_EACH_SLOT(DEFINE_SLOT)
#define PHASE_SLOT(i) phase_slot_##i,
#define RANGE_SLOT(i) range_slot_##i,
static const spm_phase_function phase_slots[SLOTS] = {FOR_EACH_SLOT(PHASE_SLOT)};
static const spm_range_function range_slots[SLOTS] = {FOR_EACH_SLOT(RANGE_SLOT)};

/* A copy of the program whose phases and ranges are timed. */
struct timed_program {
  struct spm_program program;
  struct spm_phase phases[SLOTS];
  struct spm_range ranges[SLOTS];
};

static void time_program(struct timed_program *timed, const struct spm_program *program) {
  int ranges = 0;
  timed->program = *program;
  timed->program.phases = timed->phases;
  if (program->phase_count > SLOTS) fail("the program has too many phases");
  for (int p = 0; p < program->phase_count; p++) {
    struct spm_phase *phase = &timed->phases[p];
    *phase = program->phases[p];
    timed_phases[p] = phase->run;
    if (phase->run) phase->run = phase_slots[p];
    if (ranges + phase->range_count > SLOTS) fail("the program has too many ranges");
    for (int r = 0; r < phase->range_count; r++) {
      timed->ranges[ranges + r] = phase->ranges[r];
      timed_ranges[ranges + r] = phase->ranges[r].run;
      timed->ranges[ranges + r].run = range_slots[ranges + r];
    }
    if (phase->range_count > 0) phase->ranges = timed->ranges + ranges;
    ranges += phase->range_count;
  }
}

static double median_of(void (*run)(void *), void *argument) {
  static double times[TIMINGS];
  for (int i = -BURST; i < TIMINGS; i++) {
    double start = bench_milliseconds();
    run(argument);
    if (i >= 0) times[i] = bench_milliseconds() - start;
  }
  return bench_quantile(times, TIMINGS, 0.5);
}

static void run_rows(void *products) { products_rows(products, 0, ((struct products *)products)->rows); }
static void run_weights(void *products) { products_weights(products, 0); }
static void run_tiles(void *products) {
  const struct products *p = products;
  long tile = spm_tile_rows(p->rows);
  for (long first = 0; first < p->rows; first += tile)
    products_rows(p, first, p->rows - first < tile ? p->rows - first : tile);
}

/* Unlike in a step, what it needs is in cache. */
static void run_adam(void *trainer) {
  struct trainer *t = trainer;
  spm_adam_update(t->host.parameters, t->host.first, t->host.second, t->host.gradient, t->host.model->parameter_size,
                  100, 1e-3, 0.9, 0.999, 1e-8, 0);
}

static const char *range_name(const struct spm_model *model, const struct spm_range *range) {
  return range->parameter >= 0 ? model->parameters[range->parameter].name : "a step value";
}

static void print_phases(const struct spm_program *program, const struct spm_model *model, const double *best_phases,
                         const double *best_ranges) {
  static const char *const kinds[] = {"step phase", "row phase", "gradient phase"};
  for (int p = 0, slot = 0; p < program->phase_count; p++) {
    const struct spm_phase *phase = &program->phases[p];
    if (phase->kind != SPM_GRADIENT_PHASE) printf("  %-44s%9.3f\n", kinds[phase->kind], best_phases[p]);
    for (int r = 0; r < phase->range_count; r++, slot++) {
      char text[128];
      snprintf(text, sizeof text, "gradient of %s, %ld x %ld", range_name(model, &phase->ranges[r]),
               phase->ranges[r].units, phase->ranges[r].chunk);
      printf("  %-44s%9.3f\n", text, best_ranges[slot]);
    }
  }
}

/* Medians of each part over many steps; what is left is the driver's: sums over tiles, updates, looking for what is not
 * finite. */
static void bench_phases(const struct spm_model *model, long rows) {
  static struct trainer trainer;
  static struct products products;
  static struct timed_program timed;
  static double phases[SLOTS][TIMINGS], ranges[SLOTS][TIMINGS], wholes[TIMINGS], rests[TIMINGS];
  trainer_create(&trainer, model, rows, 1);
  products_create(&products, rows);
  time_program(&timed, trainer.program);
  const struct spm_program *plain = trainer.program;
  trainer.program = &timed.program;
  for (int i = -BURST; i < TIMINGS; i++) {
    memset(phase_spent, 0, sizeof phase_spent);
    memset(range_spent, 0, sizeof range_spent);
    double start = bench_milliseconds();
    trainer_step(&trainer);
    if (i < 0) continue;
    wholes[i] = rests[i] = bench_milliseconds() - start;
    for (int s = 0; s < SLOTS; s++) {
      phases[s][i] = phase_spent[s];
      ranges[s][i] = range_spent[s];
      rests[i] -= phase_spent[s] + range_spent[s];
    }
  }
  double phase_medians[SLOTS], range_medians[SLOTS];
  for (int s = 0; s < SLOTS; s++) {
    phase_medians[s] = bench_quantile(phases[s], TIMINGS, 0.5);
    range_medians[s] = bench_quantile(ranges[s], TIMINGS, 0.5);
  }
  printf("batch %ld, one thread, ms (medians)\n", rows);
  print_phases(plain, model, phase_medians, range_medians);
  printf("  %-44s%9.3f\n", "rest: updates, sums over tiles", bench_quantile(rests, TIMINGS, 0.5));
  printf("  %-44s%9.3f\n", "step", bench_quantile(wholes, TIMINGS, 0.5));
  printf(
      "  for comparison: products of rows whole %.3f, in tiles of %ld %.3f; of weights %.3f; one pass of Adam %.3f\n",
      median_of(run_rows, &products), spm_tile_rows(rows), median_of(run_tiles, &products),
      median_of(run_weights, &products), median_of(run_adam, &trainer));
  products_free(&products);
  spm_host_free(&trainer.host);
}

/* ---- for other programs -------------------------------------------------------------------------------------- */

/* "COUNT" on a line -> the times of COUNT steps on a line, until the input ends. */
static void serve(const struct spm_model *model, long rows, int threads) {
  static struct trainer trainer;
  char line[64];
  trainer_create(&trainer, model, rows, threads);
  while (fgets(line, sizeof line, stdin)) {
    for (int i = 0, count = atoi(line); i < count; i++) {
      double start = bench_milliseconds();
      trainer_step(&trainer);
      printf("%.6f%c", bench_milliseconds() - start, i + 1 < count ? ' ' : '\n');
    }
    fflush(stdout);
  }
  spm_host_free(&trainer.host);
}

static void bench_all(const struct spm_model *model, bool with_phases) {
  static const long batches[] = {1, 16, 128, 512};
  enum { COUNT = sizeof batches / sizeof *batches };
  double load = 0;
  printf("training step, ms; product: its matrix products alone, one thread, %s; spread: between the quartiles, in "
         "%%\n%33s%43s%20s\n%6s%8s%8s%8s%8s%8s  |%8s%8s%8s%8s%8s  |%5s%5s%5s\n",
         spm_blas_name(), "medians of 200", "fastest of 200", "spread", "batch", "product", "1 thr", "ratio", "2 thr",
         "gain", "product", "1 thr", "ratio", "2 thr", "gain", "prod", "1", "2");
  for (int b = 0; b < COUNT; b++) bench_batch(model, batches[b]);
  if (getloadavg(&load, 1) < 1) load = 0;
  printf("  (wanted at batch 128: ratio at most 1.35; gain at least 1.6 on an idle machine; load %.1f on %ld "
         "processors)\n\n",
         load, sysconf(_SC_NPROCESSORS_ONLN));
  for (int b = 0; with_phases && b < COUNT; b++) bench_phases(model, batches[b]);
}

int main(int argc, char **argv) {
  const char *spec = "specs/laplace_vae.spm";
  bool with_phases = false;
  long served = 0;
  int threads = 1, blas = SPM_OPENBLAS;
  char problem[512] = "there is no such BLAS";
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--phases") == 0)
      with_phases = true;
    else if (strcmp(argv[i], "--serve") == 0 && i + 1 < argc)
      served = atol(argv[++i]);
    else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
      threads = atoi(argv[++i]);
    else if (strcmp(argv[i], "--blas") == 0 && i + 1 < argc)
      blas = spm_blas_of_name(argv[++i]);
    else
      spec = argv[i];
  }
  if (blas < 0 || spm_blas_open((enum spm_blas)blas, problem, sizeof problem) != 0) fail(problem);
  double times[STAGE_COUNT];
  Jit *jit = served > 0 ? compile(spec, times) : compile_timed(spec);
  if (served > 0)
    serve(jit_model(jit), served, threads);
  else
    bench_all(jit_model(jit), with_phases);
  jit_destroy(jit);
  return 0;
}
