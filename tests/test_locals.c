/* `local` parameters: what each row owns is gathered, moved and stored by the row's number, a run that is resumed gives
 * the same bytes, and any number of threads does. */
#include "compiler/compiler.h"
#include "runtime/checkpoint.h"
#include "runtime/rng.h"
#include "runtime/saved.h"
#include "scratch.h"
#include "spec.h"

#include <criterion/criterion.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

TestSuite(locals, .init = scratch_make, .fini = scratch_remove);

enum { N = 150, D = 4, K = 2 };

static const char sparse_coding[] = "model small;\n"
                                    "dim D = 4;  dim K = 2;\n"
                                    "data x : real[D];\n"
                                    "latent z : real[K];\n"
                                    "param W : real[D, K] init normal(0, 1);\n"
                                    "local nu : real[K] init normal(0, 0.1);\n"
                                    "local tau : positive[K] init 0.5;\n"
                                    "prior z ~ laplace(0, 1);\n"
                                    "likelihood x ~ normal(W @ z, 0.5);\n"
                                    "posterior z ~ normal(nu, tau);\n"
                                    "train { optimizer = adam(lr = 0.02); batch = 32; epochs = 5; }\n";

/* A model with its data and its memory. */
typedef struct Bench {
  Spec spec;
  Jit *jit;
  float x[N * D];
  struct spm_table table;
  const struct spm_table *tables[1];
  struct spm_host host;
  struct spm_columns columns;
  struct train_options options;
  struct train_state state;
} Bench;

static void bench_open(Bench *b, const char *text, int threads) {
  char message[1024];
  struct spm_error error;
  *b = (Bench){.spec = spec_right(text)};
  b->jit = compile_jit(b->spec.model, false, message, sizeof message);
  cr_assert(b->jit != NULL, "%s", message);
  for (int i = 0; i < N * D; i++) b->x[i] = (float)sin(0.7 * i + 0.01 * i * i);
  b->table = (struct spm_table){.path = "x", .format = "memory", .element = SPM_F32, .rank = 2, .shape = {N, D}};
  b->table.rows = N;
  b->table.row_size = D;
  b->table.bytes = b->x;
  b->table.byte_count = sizeof b->x;
  b->tables[0] = &b->table;
  const struct spm_model *model = jit_model(b->jit);
  b->options.training = model->trainings[0];
  b->options.data = (struct spm_rows){.tables = b->tables, .count = N, .owned = true};
  long batch = train_batch_rows(b->options.training.batch, N);
  cr_assert(spm_host_create(&b->host, model, batch, threads, 3, &error) == 0, "%s", error.message);
  b->host.total_rows = N;
  cr_assert(spm_host_open_rows(&b->host, N, &error) == 0, "%s", error.message);
  cr_assert(spm_host_initialise(&b->host, &error) == 0, "%s", error.message);
  cr_assert(spm_host_initialise_rows(&b->host, &b->options.data, &error) == 0, "%s", error.message);
  cr_assert(spm_columns_create(&b->columns, spm_find_program(model, "train"), &error) == 0);
  cr_assert(train_state_create(&b->state, b->columns.count, &error) == 0);
  b->options.train_columns = &b->columns;
}

static void bench_train(Bench *b, long epochs) {
  struct spm_error error;
  const struct train_events events = {.context = NULL};
  b->options.training.epochs = epochs;
  cr_assert(train_run(&b->host, &b->options, &b->state, &events, &error) == TRAIN_FINISHED, "%s", error.message);
}

static void bench_close(Bench *b) {
  spm_host_free(&b->host);
  spm_columns_free(&b->columns);
  train_state_free(&b->state);
  jit_destroy(b->jit);
  spec_close(&b->spec);
}

static void expect_same(const Bench *a, const Bench *b, const char *what) {
  const struct spm_model *model = a->host.model;
  size_t rows = sizeof(real) * (size_t)(N * model->row_state_size);
  cr_expect(memcmp(a->host.parameters, b->host.parameters, sizeof(real) * (size_t)model->parameter_size) == 0,
            "%s: the parameters", what);
  cr_expect(memcmp(a->host.rows.values, b->host.rows.values, rows) == 0, "%s: the rows", what);
  cr_expect(memcmp(a->host.rows.second, b->host.rows.second, rows) == 0, "%s: the rows' moments", what);
}

Test(locals, each_row_is_moved_by_its_own_gradient) {
  Bench b;
  bench_open(&b,
             "model m;  dim K = 2;  data x : real[4];  param w : real[K] init 1;\n"
             "local v : real[K] init 0.5;  minimize sum((v * w - x[0 .. 2])^2);\n"
             "train { optimizer = sgd(lr = 3); batch = 40; epochs = 1; }",
             1);
  bench_train(&b, 1);
  const float *values = b.host.rows.values;
  float w[2] = {1, 1};
  long order[N];
  spm_shuffle(order, N, 3, 0);
  for (long first = 0; first < N; first += 40) { /* the same by hand, in the order of the shuffled batches */
    long rows = N - first < 40 ? N - first : 40;
    double g[2] = {0, 0};
    for (long i = first; i < first + rows; i++)
      for (int k = 0; k < 2; k++) {
        double error = 0.5 * (double)w[k] - (double)b.x[order[i] * D + k];
        double expected = 0.5 - 3 * 2 * error * (double)w[k] / (double)rows;
        cr_expect(fabs(expected - (double)values[order[i] * 2 + k]) < 1e-5, "row %ld: %g, not %g", order[i],
                  (double)values[order[i] * 2 + k], expected);
        g[k] += 2 * error * 0.5 / (double)rows;
      }
    for (int k = 0; k < 2; k++) w[k] -= (float)(3 * g[k]);
  }
  bench_close(&b);
}

Test(locals, threads_give_the_same_bytes) {
  Bench one, three;
  bench_open(&one, sparse_coding, 1);
  bench_open(&three, sparse_coding, 3);
  bench_train(&one, 4);
  bench_train(&three, 4);
  expect_same(&one, &three, "3 threads");
  bench_close(&one);
  bench_close(&three);
}

Test(locals, a_resumed_run_gives_the_same_bytes) {
  Bench whole, half, rest;
  struct spm_error error;
  struct saved_run run;
  bench_open(&whole, sparse_coding, 2);
  bench_train(&whole, 5);
  bench_open(&half, sparse_coding, 2);
  half.options.checkpoint = scratch_path("half.safetensors");
  bench_train(&half, 3);
  bench_open(&rest, sparse_coding, 2);
  cr_assert(saved_read(half.options.checkpoint, &rest.host, &run, &rest.state, &error) == 0, "%s", error.message);
  bench_train(&rest, 5);
  expect_same(&whole, &rest, "resumed");
  bench_close(&whole);
  bench_close(&half);
  bench_close(&rest);
}

/* Files hold constrained values under the local's own name, of all rows in the order of the data. */
/* More than a gigabyte lies in a file; where the disk has no room for it, in memory. */
Test(locals, what_rows_own_may_be_larger_than_the_disk) {
  enum { MANY = 25000000 };
  Bench b;
  struct spm_host host;
  struct spm_error error;
  const char *disk = scratch_path("disk");
  cr_assert(mkdir(disk, 0777) == 0);
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
      mount("none", disk, "tmpfs", 0, "size=64k") != 0)
    cr_skip_test("a small disk needs the right to mount one");
  setenv("TMPDIR", disk, 1);
  bench_open(&b, sparse_coding, 1);
  cr_assert(spm_host_create(&host, b.host.model, 32, 1, 3, &error) == 0, "%s", error.message);
  cr_assert(spm_host_open_rows(&host, MANY, &error) == 0, "%s", error.message);
  for (long i = 0; i < 100; i++)
    host.rows.values[i * MANY / 100] = 1; /* more pages than the disk has: the program's end */
  spm_host_free(&host);
  bench_close(&b);
  umount(disk);
}

Test(locals, files_hold_constrained_values_of_all_rows) {
  Bench b;
  struct spm_error error;
  struct checkpoint file;
  const long shape[2] = {N, K};
  bench_open(&b, sparse_coding, 1);
  bench_train(&b, 2);
  struct saved_run run = {.seed = 3, .batch = 32, .rows = N};
  const char *path = scratch_path("model.safetensors");
  cr_assert(saved_write(path, &b.host, &run, NULL, &error) == 0, "%s", error.message);
  cr_assert(checkpoint_read(&file, path, &error) == 0, "%s", error.message);
  const struct checkpoint_tensor *nu = checkpoint_expect(&file, path, "nu", SPM_F32, 2, shape, &error);
  const struct checkpoint_tensor *tau = checkpoint_expect(&file, path, "tau", SPM_F32, 2, shape, &error);
  const struct checkpoint_tensor *raw = checkpoint_expect(&file, path, "raw.tau", SPM_F32, 2, shape, &error);
  cr_assert(nu && tau && raw, "%s", error.message);
  cr_expect(memcmp(nu->values, b.host.rows.values, sizeof(float) * N * K) == 0);
  for (int i = 0; i < N * K; i++) {
    double expected = log1p(exp((double)((const float *)raw->values)[i]));
    cr_expect(fabs((double)((const float *)tau->values)[i] - expected) < 1e-6);
  }
  cr_expect(!checkpoint_tensor(&file, "optimizer.first.nu"), "a finished model has no moments");
  checkpoint_free(&file);
  bench_close(&b);
}

/* Each row begins at its own draw, whatever the rows beside it. */
Test(locals, initial_values_may_be_drawn_and_may_read_the_data) {
  Bench b;
  bench_open(&b,
             "model m;  data x : real[4];  local v : real[4] init 2 * x;  local u : real[4] init normal(0, 1);\n"
             "minimize sum((v - x)^2) + sum(u^2);\n"
             "train { optimizer = sgd(lr = 0.1); batch = 40; epochs = 1; }",
             1);
  double mean = 0, square = 0;
  for (int i = 0; i < N * D; i++) {
    cr_expect(b.host.rows.values[i] == 2 * b.x[i]);
    mean += (double)b.host.rows.values[N * D + i] / (N * D);
    square += pow((double)b.host.rows.values[N * D + i], 2) / (N * D);
  }
  cr_expect(fabs(mean) < 0.15 && fabs(square - 1) < 0.2, "mean %g, square %g", mean, square);
  bench_close(&b);
}

/* ---- fits ---------------------------------------------------------------------------------------------------- */

static const char fitted[] =
    "model small;\n"
    "dim D = 4;  dim K = 2;\n"
    "data x : real[D];\n"
    "param W : real[D, K] init normal(0, 1);\n"
    "local nu : real[K] init 0;\n"
    "local tau : positive[K] init 0.5;\n"
    "objective -sum((x - W @ nu)^2) - sum(tau^2 * (1 + nu^2)) + sum(log(tau)) - 0.01 * sum(W^2);\n";

static double objective_of(Bench *b, bool owned) {
  struct spm_error error;
  struct spm_columns columns;
  double means[8] = {0};
  struct spm_rows rows = b->options.data;
  rows.owned = owned;
  cr_assert(spm_columns_create(&columns, spm_find_program(b->host.model, "evaluate"), &error) == 0);
  cr_assert(spm_host_evaluate(&b->host, &rows, &columns, means, &error) == 0, "%s", error.message);
  double objective = NAN;
  for (int i = 0; i < columns.count; i++)
    if (columns.roles[i] == SPM_OBJECTIVE) objective = means[i];
  spm_columns_free(&columns);
  return objective;
}

/* All at once by one problem over parameters and rows; then each row anew by a problem of its own. */
Test(locals, one_problem_and_one_a_row_find_the_same_optimum) {
  Bench b;
  char text[2048];
  snprintf(text, sizeof text,
           "%s train { optimizer = lbfgs(steps = 300, history = 20); batch = all; epochs = 40; "
           "stop = unchanged(2); }",
           fitted);
  bench_open(&b, text, 2);
  bench_train(&b, 40);
  cr_expect(b.state.unchanged && b.state.epoch < 40, "%ld epochs", b.state.epoch);
  double stored = objective_of(&b, true), anew = objective_of(&b, false);
  cr_expect(fabs(stored - anew) < 1e-5 * fabs(stored), "stored %.8g, anew %.8g", stored, anew);
  cr_expect(spm_find_output(spm_find_program(b.host.model, "fit_new"), SPM_ROWS, "objective") != NULL);
  bench_close(&b);
}

/* What alternates: rows are fitted before each step, so that afterwards each is at its own optimum. */
Test(locals, inferred_rows_stand_at_their_optimum) {
  Bench b;
  char text[2048];
  snprintf(text, sizeof text,
           "%s infer nu, tau by lbfgs(steps = 60, history = 10, restart = true);\n"
           "train { optimizer = sgd(lr = 0.001); batch = 64; epochs = 2; }",
           fitted);
  bench_open(&b, text, 2);
  cr_expect(!spm_find_output(spm_find_program(b.host.model, "train"), SPM_ROW_GRADIENT_OF, NULL), "rows are held");
  bench_train(&b, 2);
  double stored = objective_of(&b, true), anew = objective_of(&b, false);
  cr_expect(fabs(stored - anew) < 2e-2 * fabs(stored), "the parameters have moved by less: %.8g, %.8g", stored, anew);
  Bench rest;
  struct spm_error error;
  struct saved_run run;
  const char *path = scratch_path("em.safetensors");
  bench_open(&rest, text, 2);
  rest.options.checkpoint = path;
  bench_train(&rest, 1);
  cr_assert(saved_read(path, &rest.host, &run, &rest.state, &error) == 0, "%s", error.message);
  bench_train(&rest, 2);
  cr_expect(memcmp(b.host.rows.values, rest.host.rows.values,
                   sizeof(real) * (size_t)(N * b.host.model->row_state_size)) == 0);
  bench_close(&b);
  bench_close(&rest);
}

/* A statistic of the batch that depends on a local makes one problem of the batch; one of the data alone does not. */
Test(locals, a_batch_statistic_makes_one_problem_of_the_batch) {
  Bench together, apart;
  bench_open(&together,
             "model m;  data x : real[4];  local v : real[4] init 0.1;\n"
             "let spread = mean((v - x)^2, over = batch);  objective -sum(log(spread + 0.1)) - sum(v^2);\n"
             "train { optimizer = adam; batch = 64; epochs = 1; }",
             1);
  bench_open(&apart,
             "model m;  data x : real[4];  local v : real[4] init 0.1;\n"
             "let spread = mean(x^2, over = batch);  objective -sum((v - x)^2 / spread) - sum(v^2);\n"
             "train { optimizer = adam; batch = 64; epochs = 1; }",
             1);
  const struct spm_program *one = spm_find_program(together.host.model, "fit_new"),
                           *each = spm_find_program(apart.host.model, "fit_new");
  cr_assert(one && each);
  cr_expect(spm_find_output(one, SPM_OBJECTIVE, NULL) && !spm_find_output(one, SPM_ROWS, "objective"));
  cr_expect(!spm_find_output(each, SPM_OBJECTIVE, NULL) && spm_find_output(each, SPM_ROWS, "objective"));
  double before = objective_of(&together, true), after = objective_of(&together, false);
  cr_expect(after > before + 0.01, "the fit of the batch: %g, %g", before, after);
  bench_close(&together);
  bench_close(&apart);
}

/* After training, solved params are those of all rows: evaluating the rows where they are gives the objective that
 * training had, though training inserted the optimum and evaluation reads it. */
Test(locals, solved_params_are_those_of_all_rows) {
  Bench b;
  bench_open(&b,
             "model m;  dim D = 4;  dim K = 2;  data x : real[D];  latent z : real[K];\n"
             "param W : real[D, K] unit_norm(over = D) init normal(0, 1);\n"
             "param noise : positive solved;  param scale : positive[K] solved;\n"
             "local nu : real[K] init 0;  local t : lower_triangular[K, K] init identity(K);\n"
             "prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z, noise);\n"
             "posterior z ~ normal(nu, cholesky = t);  objective entropy_elbo;\n"
             "train { optimizer = lbfgs(steps = 40, history = 10); batch = all; epochs = 3; stop = unchanged(1); }",
             2);
  bench_train(&b, 3);
  double stored = objective_of(&b, true);
  cr_expect(fabs(stored - b.state.recent[0]) < 1e-5 * (1 + fabs(stored)), "%.9g, in training %.9g", stored,
            b.state.recent[0]);
  bench_close(&b);
}

/* infer z by map(optimizer = lbfgs(...)): every row stands where the gradient of its log joint is zero, in training
 * and on new rows. */
Test(locals, latents_by_lbfgs_are_the_mode_of_each_row) {
  Bench b;
  struct spm_error error;
  bench_open(&b,
             "model m;  dim D = 4;  dim K = 2;  data x : real[D];  latent z : real[K];\n"
             "param W : real[D, K] init normal(0, 1);\n"
             "prior z ~ normal(0, 1);  likelihood x ~ normal(W @ z, 0.5);\n"
             "infer z by map(steps = 100, optimizer = lbfgs(history = 5), start = 0.5);\n"
             "train { optimizer = sgd(lr = 1e-6); batch = 50; epochs = 1; }",
             2);
  cr_expect(!spm_find_output(spm_find_program(b.host.model, "train"), SPM_ROW_GRADIENT_OF, NULL));
  bench_train(&b, 1);
  struct spm_rows fresh = b.options.data;
  fresh.owned = false;
  cr_assert(spm_host_gather(&b.host, &fresh, NULL, 0, N, &error) == 0, "%s", error.message);
  const float *w = b.host.parameters;
  for (int stored = 0; stored < 2; stored++) {
    const float *z = stored ? b.host.rows.values : b.host.row_batch[0];
    for (int n = 0; n < N; n++)
      for (int k = 0; k < K; k++) {
        double slope = -(double)z[n * K + k];
        for (int d = 0; d < D; d++) {
          double f = (double)w[d * K] * (double)z[n * K] + (double)w[d * K + 1] * (double)z[n * K + 1];
          slope += (double)w[d * K + k] * ((double)b.x[n * D + d] - f) / 0.25;
        }
        cr_expect(fabs(slope) < 2e-3, "%s row %d: slope %g", stored ? "stored" : "new", n, slope);
      }
  }
  bench_close(&b);
}

/* At 0 a softplus has no slope: the fit of what cannot be negative does not begin there. Where z is at its edge the
 * slope of the log joint points over it, elsewhere there is none. */
Test(locals, what_cannot_be_negative_leaves_its_edge) {
  Bench b;
  bench_open(&b,
             "model m;  dim D = 4;  dim K = 2;  data x : real[D];  latent z : nonnegative[K];\n"
             "param W : real[D, K] init normal(0, 1);\n"
             "prior z ~ exponential(rate = 0.5);  likelihood x ~ normal(W @ z, 0.5);\n"
             "infer z by map(steps = 200, optimizer = lbfgs(history = 5));\n"
             "train { optimizer = sgd(lr = 1e-6); batch = 50; epochs = 1; }",
             2);
  bench_train(&b, 1);
  const float *w = b.host.parameters;
  int inside = 0;
  for (int n = 0; n < N; n++) {
    double z[K];
    for (int k = 0; k < K; k++) z[k] = log1p(exp((double)b.host.rows.values[n * K + k]));
    for (int k = 0; k < K; k++) {
      double slope = -0.5;
      for (int d = 0; d < D; d++)
        slope += (double)w[d * K + k] *
                 ((double)b.x[n * D + d] - (double)w[d * K] * z[0] - (double)w[d * K + 1] * z[1]) / 0.25;
      cr_expect(z[k] > 1e-3 ? fabs(slope) < 0.02 : slope < 0.02, "row %d: z = %g, slope %g", n, z[k], slope);
      inside += z[k] > 1e-3;
    }
  }
  cr_expect(inside > N / 4, "%d values are inside", inside);
  bench_close(&b);
}
