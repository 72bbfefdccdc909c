/* The driver and the training loop on a model written by hand: tiles, trees, fusion, threads, what is not finite, and
 * runs that are interrupted and resumed. Promises of bytes are checked as bytes. */
#include "tiny_model.h"

#include "runtime/driver.h"
#include "runtime/host.h"
#include "runtime/saved.h"
#include "runtime/train.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { D = TINY_D, K = TINY_K };

/* Values of very different size, so that another order of summing gives other bits. */
static struct spm_table make_table(long rows) {
  float *values = malloc(sizeof *values * (size_t)(rows * D));
  const float scales[] = {1, 0.13f, 7, 0.021f, 2.3f};
  for (long i = 0; i < rows * D; i++) values[i] = sinf((float)(i * 37 % 1009)) * scales[i / D / 64 % 5];
  return (struct spm_table){.path = NULL,
                            .format = "memory",
                            .element = SPM_F32,
                            .rank = 2,
                            .shape = {rows, D},
                            .rows = rows,
                            .row_size = D,
                            .bytes = values,
                            .byte_count = sizeof *values * (size_t)(rows * D)};
}

static void start(struct spm_host *host, long capacity, int threads, unsigned long long seed) {
  struct spm_error error;
  cr_assert(spm_host_create(host, &tiny_model, capacity, threads, seed, &error) == 0, "%s", error.message);
  host->total_rows = capacity;
  cr_assert(spm_host_initialise(host, &error) == 0, "%s", error.message);
}

static void gather(struct spm_host *host, const struct spm_table *table, long rows) {
  struct spm_error error;
  const struct spm_table *tables[] = {table};
  struct spm_rows all = {.tables = tables, .count = table->rows};
  cr_assert(spm_host_gather(host, &all, NULL, 0, rows, &error) == 0);
}

static struct spm_optimizer adam(struct spm_host *host, int fused) {
  static const struct spm_training stage = {
      .optimizer = "adam", .lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .rate = "lr"};
  return (struct spm_optimizer){.stage = &stage, .first = host->first, .second = host->second, .unfused = !fused};
}

Test(driver, tiles_depend_on_the_batch_alone) {
  cr_assert(spm_tile_rows(1) == 1 && spm_tile_rows(64) == 64 && spm_tile_rows(511) == 64 && spm_tile_rows(512) == 128 &&
            spm_tile_rows(100000) == 128);
}

Test(driver, a_smaller_batch_may_need_more_partials) {
  const struct spm_program *train = spm_find_program(&tiny_model, "train");
  struct spm_sizes at_511 = {0}, at_512 = {0};
  spm_program_sizes(train, 511, &at_511);
  spm_program_sizes(train, 512, &at_512);
  cr_assert(at_511.partials == 8 * train->partial_size && at_512.partials >= at_511.partials);
}

/* Pairs at distance 1, then 2, 4, ...: written down again, in another way. */
static float tree(const float *values, long count) {
  if (count == 1) return values[0];
  long half = 1;
  while (half * 2 < count) half *= 2;
  return tree(values, half) + tree(values + half, count - half);
}

Test(driver, statistics_are_summed_in_a_binary_tree) {
  int telling = 0;                               /* batches on which summing in order gives another result */
  for (long rows = 1; rows <= 1600; rows += 7) { /* 64 and 512 among them */
    long tile = spm_tile_rows(rows), tiles = (rows + tile - 1) / tile;
    struct spm_host host;
    struct spm_table table = make_table(rows);
    start(&host, rows, 1, 1);
    gather(&host, &table, rows);
    struct spm_run run = spm_host_run(&host, spm_find_program(&tiny_model, "train"), rows);
    spm_run_program(&run);
    float partial[16] = {0}, largest = 0;
    double exact = 0;
    for (long row = 0; row < rows; row++)
      for (int k = 0; k < K; k++) {
        float error = host.kept[row * K + k], h = fabsf(error + host.batch[0][row * D + k]);
        partial[row / tile] += error * error;
        exact += (double)error * error;
        largest = h > largest ? h : largest;
      }
    const struct spm_output *squares = spm_find_output(run.program, SPM_TERM, "squares");
    cr_assert(*spm_output_values(&run, squares) == tree(partial, tiles), "%ld rows", rows);
    float in_order = 0;
    for (long t = 0; t < tiles; t++) in_order += partial[t];
    telling += in_order != tree(partial, tiles);
    cr_assert(fabs(*spm_output_values(&run, squares) - exact) < 1e-4 * exact);
    float found = *spm_output_values(&run, spm_find_output(run.program, SPM_METRIC, "largest"));
    cr_assert(fabsf(found - largest) < 1e-5f * largest);
    free(table.bytes);
    spm_host_free(&host);
  }
  cr_assert(telling > 3, "the test could tell another order on %d batches", telling);
}

/* Some steps on batches of several sizes; what is left of them. */
static void some_steps(int threads, int fused, float *parameters, float *state) {
  const long batches[] = {700, 1, 150, 512, 65, 700};
  struct spm_host host;
  struct spm_table table = make_table(700);
  start(&host, 700, threads, 3);
  struct spm_optimizer optimizer = adam(&host, fused);
  for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
    gather(&host, &table, batches[b]);
    struct spm_run run = spm_host_run(&host, spm_find_program(&tiny_model, "train"), batches[b]);
    int status = spm_run_step(&run, &optimizer);
    cr_assert(status == SPM_STEP_UPDATED && fabs(run.lr - 0.05) < 1e-6);
    optimizer.updates++;
    memcpy(host.state, host.state_next, sizeof(real));
  }
  memcpy(parameters, host.parameters, sizeof(float) * (size_t)tiny_model.parameter_size);
  *state = host.state[0];
  free(table.bytes);
  spm_host_free(&host);
}

Test(driver, threads_and_fusion_do_not_change_a_byte) {
  float expected[64], found[64], expected_state, found_state;
  some_steps(1, 1, expected, &expected_state);
  for (int threads = 1; threads <= 5; threads++)
    for (int fused = 0; fused < 2; fused++) {
      some_steps(threads, fused, found, &found_state);
      cr_assert(memcmp(expected, found, sizeof found) == 0, "%d threads, fused %d", threads, fused);
      cr_assert(expected_state == found_state);
    }
  cr_assert(expected_state != 2, "the state moves");
}

Test(driver, fixed_parameters_stay_and_others_move) {
  float parameters[64], state;
  some_steps(1, 1, parameters, &state);
  const struct spm_tensor *p = tiny_model.parameters;
  cr_assert(parameters[p[3].offset] == 3 && parameters[p[2].offset] == -0.5f, "without a gradient nothing is updated");
  cr_assert(parameters[p[0].offset + 14] != 0.1f * (float)((14 * 7 + 3) % 11 - 5), "the last row, of the ragged unit");
}

Test(driver, the_gradient_is_that_of_the_objective) {
  struct spm_host host;
  struct spm_table table = make_table(200);
  start(&host, 200, 2, 3);
  gather(&host, &table, 200);
  struct spm_run run = spm_host_run(&host, spm_find_program(&tiny_model, "train"), 200);
  spm_run_program(&run);
  float gradient[64];
  memcpy(gradient, host.gradient, sizeof gradient);
  for (int i = 0; i < D * K; i++) {
    double sides[2];
    for (int side = 0; side < 2; side++) {
      float kept = host.parameters[i];
      host.parameters[i] += side ? 0.01f : -0.01f;
      run = spm_host_run(&host, spm_find_program(&tiny_model, "train"), 200);
      spm_run_program(&run);
      sides[side] = -*spm_output_values(&run, spm_find_output(run.program, SPM_OBJECTIVE, NULL));
      host.parameters[i] = kept;
    }
    cr_assert(fabs((sides[1] - sides[0]) / 0.02 - gradient[i]) < 1e-3, "element %d", i);
  }
  free(table.bytes);
  spm_host_free(&host);
}

Test(driver, a_step_that_is_not_finite_changes_nothing) {
  for (int fused = 0; fused < 2; fused++) {
    struct spm_host host;
    struct spm_table table = make_table(100);
    start(&host, 100, 2, 3);
    ((float *)table.bytes)[77] = NAN;
    gather(&host, &table, 100);
    float before[64];
    memcpy(before, host.parameters, sizeof before);
    struct spm_optimizer optimizer = adam(&host, fused);
    struct spm_run run = spm_host_run(&host, spm_find_program(&tiny_model, "train"), 100);
    int status = spm_run_step(&run, &optimizer);
    cr_assert(status == SPM_STEP_SKIPPED);
    cr_assert(memcmp(before, host.parameters, sizeof before) == 0 && host.state_next[0] == 2);
    for (int i = 0; i < 64; i++) cr_assert(host.first[i] == 0 && host.second[i] == 0);
    free(table.bytes);
    spm_host_free(&host);
  }
}

Test(driver, a_range_that_is_not_finite_is_left_as_it_was) {
  float after[2][64];
  for (int fused = 0; fused < 2; fused++) {
    struct spm_host host;
    struct spm_table table = make_table(100);
    start(&host, 100, 2, 3);
    gather(&host, &table, 100);
    float before[64];
    memcpy(before, host.parameters, sizeof before);
    struct spm_optimizer optimizer = adam(&host, fused);
    struct spm_run run = spm_host_run(&host, spm_find_program(&tiny_model, "train"), 100);
    run.call.settings[0] = -0.5f;
    int status = spm_run_step(&run, &optimizer);
    cr_assert(status == SPM_STEP_PARTLY && run.broken == 0);
    cr_assert(memcmp(before + 2 * K, host.parameters + 2 * K, sizeof(float) * 2 * K) == 0 &&
              before[0] != host.parameters[0]);
    memcpy(after[fused], host.parameters, sizeof before);
    free(table.bytes);
    spm_host_free(&host);
  }
  cr_assert(memcmp(after[0], after[1], sizeof after[0]) == 0);
}

Test(driver, finite) {
  float values[40] = {0};
  cr_assert(spm_all_finite(values, 40) && spm_all_finite(values, 0));
  for (int i = 0; i < 40; i++) {
    for (int kind = 0; kind < 3; kind++) {
      values[i] = kind == 0 ? NAN : kind == 1 ? INFINITY : -INFINITY;
      cr_assert(!spm_all_finite(values, 40));
    }
    values[i] = 3.4e38f;
  }
  cr_assert(spm_all_finite(values, 40));
}

TestSuite(train, .init = scratch_make, .fini = scratch_remove);

/* ---- training ---------------------------------------------------------------------------------------------------- */

struct watch {
  long epochs, steps, stop_at, skipped;
  sig_atomic_t stop;
  double last_mean, last_valid;
  char culprit[128];
};

static void on_step(void *context, const struct train_state *state, const double *values) {
  struct watch *watch = context;
  (void)values;
  watch->steps++;
  if (state->step == watch->stop_at) watch->stop = 1;
}

static int on_epoch(void *context, const struct train_state *state, const double *means, const double *valid,
                    struct spm_error *error) {
  struct watch *watch = context;
  (void)error;
  watch->epochs = state->epoch;
  watch->last_mean = means[0];
  watch->last_valid = valid ? valid[0] : 0;
  return 0;
}

static void on_skipped(void *context, const struct train_state *state, const char *culprit) {
  struct watch *watch = context;
  (void)state;
  watch->skipped++;
  snprintf(watch->culprit, sizeof watch->culprit, "%s", culprit);
}

/* Trains for three epochs of 3 steps (250 rows, 100 a batch: the last has 50), or goes on where `checkpoint` stands. */
static int train(const struct spm_table *table, int threads, const char *checkpoint, bool resume, struct watch *watch,
                 float *parameters, struct spm_error *error) {
  struct spm_host host;
  const struct spm_table *tables[] = {table};
  struct spm_columns columns, valid_columns;
  struct train_state state;
  struct saved_run saved;
  start(&host, 100, threads, 9);
  host.total_rows = table->rows;
  cr_assert(spm_columns_create(&columns, spm_find_program(&tiny_model, "train"), error) == 0);
  cr_assert(spm_columns_create(&valid_columns, spm_find_program(&tiny_model, "evaluate"), error) == 0);
  cr_assert(train_state_create(&state, columns.count, error) == 0);
  if (resume) cr_assert(saved_read(checkpoint, &host, &saved, &state, error) == 0, "%s", error->message);
  if (resume) cr_assert(saved.seed == 9 && saved.batch == 100 && saved.rows == table->rows);
  struct train_options options = {.training = tiny_model.trainings[0],
                                  .data = {tables, table->rows},
                                  .valid = {tables, table->rows},
                                  .checkpoint = checkpoint,
                                  .train_columns = &columns,
                                  .valid_columns = &valid_columns,
                                  .stop = &watch->stop};
  struct train_events events = {watch, on_step, on_epoch, on_skipped};
  int status = train_run(&host, &options, &state, &events, error);
  memcpy(parameters, host.parameters, sizeof(float) * (size_t)tiny_model.parameter_size);
  train_state_free(&state);
  spm_columns_free(&columns);
  spm_columns_free(&valid_columns);
  spm_host_free(&host);
  return status;
}

Test(train, whole_run) {
  struct spm_table table = make_table(250);
  struct watch watch = {.stop_at = -1};
  struct spm_error error;
  float parameters[64];
  cr_assert(train(&table, 2, NULL, false, &watch, parameters, &error) == TRAIN_FINISHED, "%s", error.message);
  cr_assert(watch.epochs == 3 && watch.steps == 9 && watch.last_mean < 0 && watch.last_valid < 0);
  for (int k = 0; k < K; k++) cr_assert(fabsf(parameters[tiny_model.parameters[1].offset + k]) <= 1);
  free(table.bytes);
}

Test(train, resumed_equals_uninterrupted) {
  struct spm_table table = make_table(250);
  struct spm_error error;
  const char *checkpoint = scratch_path("last.safetensors"), *other = scratch_path("other.safetensors");
  struct watch whole = {.stop_at = -1};
  float expected[64], found[64];
  cr_assert(train(&table, 1, other, false, &whole, expected, &error) == TRAIN_FINISHED);
  for (long stop = 1; stop < 9; stop++) {
    struct watch first = {.stop_at = stop}, second = {.stop_at = -1};
    cr_assert(train(&table, 2, checkpoint, false, &first, found, &error) == TRAIN_INTERRUPTED);
    cr_assert(first.steps == stop && memcmp(expected, found, sizeof found) != 0);
    cr_assert(train(&table, 1, checkpoint, true, &second, found, &error) == TRAIN_FINISHED);
    cr_assert(second.steps == 9 - stop && second.epochs == 3);
    cr_assert(memcmp(expected, found, sizeof found) == 0, "stopped at %ld", stop);
    cr_assert(whole.last_mean == second.last_mean && whole.last_valid == second.last_valid);
    char command[1024];
    snprintf(command, sizeof command, "cmp -s '%s' '%s'", checkpoint, other);
    cr_assert(system(command) == 0, "the last checkpoints have the same bytes");
  }
  free(table.bytes);
}

/* No moments are left: Adam's first step moves each parameter that has a gradient by the learning rate. */
Test(train, the_next_stage_has_a_fresh_optimiser) {
  struct spm_table table = make_table(100);
  const struct spm_table *tables[] = {&table};
  struct spm_host host;
  struct spm_columns columns;
  struct train_state state;
  struct spm_error error;
  start(&host, 100, 1, 9);
  host.total_rows = table.rows;
  cr_assert(spm_columns_create(&columns, spm_find_program(&tiny_model, "train"), &error) == 0);
  cr_assert(train_state_create(&state, columns.count, &error) == 0);
  struct train_options options = {
      .training = tiny_model.trainings[0], .data = {tables, table.rows}, .train_columns = &columns};
  struct train_events events = {0};
  cr_assert(train_run(&host, &options, &state, &events, &error) == TRAIN_FINISHED, "%s", error.message);
  cr_assert(state.stage == 0 && state.epoch == 3 && state.step == 3);
  train_next_stage(&host, &state);
  cr_assert(state.stage == 1 && state.epoch == 0 && state.step == 0 && state.updates == 0);
  cr_assert(state.earlier_epochs == 3 && state.earlier_steps == 3);
  const struct spm_tensor *first = &tiny_model.parameters[0]; /* not projected */
  float before[64];
  memcpy(before, host.parameters, sizeof(float) * (size_t)tiny_model.parameter_size);
  options.training.steps = 1;
  options.training.rate = NULL;
  cr_assert(train_run(&host, &options, &state, &events, &error) == TRAIN_FINISHED, "%s", error.message);
  for (long k = first->offset; k < first->offset + first->size; k++)
    cr_assert(fabs(fabs((double)host.parameters[k] - (double)before[k]) - options.training.lr) <
                  1e-4 * options.training.lr + 1e-7,
              "moved by %g", (double)host.parameters[k] - (double)before[k]);
  train_state_free(&state);
  spm_columns_free(&columns);
  spm_host_free(&host);
  free(table.bytes);
}

Test(train, gives_up_after_five_steps_that_are_not_finite) {
  struct spm_table table = make_table(250);
  struct watch watch = {.stop_at = -1};
  struct spm_error error;
  float parameters[64];
  for (long row = 0; row < 250; row++) ((float *)table.bytes)[row * D] = INFINITY;
  cr_assert(train(&table, 1, NULL, false, &watch, parameters, &error) == TRAIN_FAILED);
  cr_assert(watch.skipped == 5 && strstr(watch.culprit, "squares") && strstr(error.message, "step 5"), "%s",
            error.message);
  cr_assert(strstr(error.message, "squares"));
  free(table.bytes);
}

Test(train, evaluation_weighs_rows) {
  struct spm_host host;
  struct spm_table table = make_table(1300); /* 512 + 512 + 276 */
  const struct spm_table *tables[] = {&table};
  struct spm_rows rows = {.tables = tables, .count = 1300};
  struct spm_columns columns;
  struct spm_error error;
  double mean, exact = 0;
  start(&host, 0, 2, 1);
  cr_assert(spm_columns_create(&columns, spm_find_program(&tiny_model, "evaluate"), &error) == 0 && columns.count == 1);
  cr_assert(spm_host_evaluate(&host, &rows, &columns, &mean, &error) == 0);
  for (long row = 0; row < 1300; row++)
    for (int k = 0; k < K; k++) {
      const float *x = (const float *)table.bytes + row * D;
      double h = host.parameters[16 + k];
      for (int d = 0; d < D; d++) h += (double)x[d] * host.parameters[d * K + k];
      exact -= (h - x[k]) * (h - x[k]) / 2 / 1300;
    }
  cr_assert(fabs(mean - exact) < 1e-5 * fabs(exact), "%.9g %.9g", mean, exact);
  free(table.bytes);
  spm_columns_free(&columns);
  spm_host_free(&host);
}
