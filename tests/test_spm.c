/* The host interface (spm.h): what a program of somebody else's does with it. */
#include "spm.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "scratch.h"

static const char spec[] = "model tiny;\n"
                           "dim D = 4;  dim K = 2;\n"
                           "data x : real[D];\n"
                           "latent z : real[K];\n"
                           "prior z ~ laplace(0, 1);\n"
                           "encoder q(x) { mu = dense(x, K);  sd = exp(dense(x, K)); }\n"
                           "posterior z ~ normal(q.mu, q.sd);\n"
                           "decoder p(z) { mean = dense(z, D); }\n"
                           "likelihood x ~ normal(p.mean, 0.5);\n"
                           "objective elbo;\n"
                           "train { optimizer = adam(lr = 1e-2);  batch = 32;  epochs = 3; }\n";
enum { ROWS = 96, D = 4, K = 2 };

static const float *const *make_data(void) {
  static float x[ROWS * D];
  static const float *const data[] = {x};
  for (int i = 0; i < ROWS * D; i++) x[i] = (float)(i * i % 97) / 97;
  return data;
}

static spm_compiled *compiled_spec(const spm_value *values, int count) {
  char error[2000];
  spm_compiled *c = spm_compile(spec, "tiny.spm", values, count, error, sizeof error);
  cr_assert(c != NULL, "%s", error);
  return c;
}

Test(spm, lists_tensors_with_names_and_shapes) {
  spm_compiled *c = compiled_spec(&(spm_value){"K", 3}, 1);
  spm_tensor_info info;
  cr_assert(spm_abi_version() == SPM_HOST_ABI);
  cr_assert(spm_tensor_count(c, SPM_DATA_TENSORS) == 1 && spm_tensor_count(c, SPM_PARAMETER_TENSORS) == 6);
  cr_assert(spm_tensor_count(c, SPM_STATE_TENSORS) == 0);
  cr_assert(spm_tensor_at(c, SPM_DATA_TENSORS, 0, &info) == 0);
  cr_assert(strcmp(info.name, "x") == 0 && strcmp(info.dims, "[D]") == 0 && info.size == 4);
  cr_assert(spm_tensor_at(c, SPM_PARAMETER_TENSORS, 0, &info) == 0);
  cr_assert(strcmp(info.name, "q.mu.dense.W") == 0 && info.rank == 2 && info.shape[0] == 3 && info.shape[1] == 4);
  cr_assert(spm_tensor_at(c, SPM_PARAMETER_TENSORS, 6, &info) == -1);
  spm_compiled_free(c);
}

Test(spm, mistakes_come_back_in_the_buffer) {
  char error[2000], small[12];
  cr_assert(spm_compile("model m; objective nothing;", "bad.spm", NULL, 0, error, sizeof error) == NULL);
  cr_assert(strstr(error, "bad.spm:1:") != NULL && strstr(error, "nothing") != NULL, "%s", error);
  cr_assert(spm_compile("model m; objective nothing;", "bad.spm", NULL, 0, small, sizeof small) == NULL);
  cr_assert(strlen(small) < sizeof small);
  cr_assert(spm_compile("model", "bad.spm", NULL, 0, NULL, 0) == NULL);
  cr_assert(spm_compile("layer twice(x : real[n]) { return 2 * x; }", "lib.spm", NULL, 0, error, sizeof error) == NULL);
  cr_assert(strstr(error, "no `model`") != NULL, "%s", error);
  spm_compiled *c = compiled_spec(NULL, 0);
  spm_session *s = spm_session_create(c, 8, 1, 1, error, sizeof error);
  cr_assert(spm_session_gradient(s, make_data(), 9, 0, NULL, error, sizeof error) == -1);
  cr_assert(spm_session_train(s, (const float *const[]){NULL}, 8, 1, NULL, NULL, error, sizeof error) == -1);
  cr_assert(strstr(error, "x") != NULL);
  cr_assert(spm_session_rows(s, "encode", "nobody", make_data(), 8, NULL, error, sizeof error) == -1);
  cr_assert(spm_session_parameter(s, "nobody", NULL) == NULL);
  cr_assert(spm_session_create(c, 0, 1, 1, error, sizeof error) == NULL);
  spm_session_free(s);
  spm_compiled_free(c);
}

/* Central differences of the objective, with the same noise. */
Test(spm, gradients_are_those_of_the_negative_objective) {
  spm_compiled *c = compiled_spec(NULL, 0);
  char error[1000];
  spm_session *s = spm_session_create(c, ROWS, 1, 3, error, sizeof error);
  for (int p = 0; p < spm_tensor_count(c, SPM_PARAMETER_TENSORS); p++) {
    spm_tensor_info info;
    spm_tensor_at(c, SPM_PARAMETER_TENSORS, p, &info);
    long size;
    float *value = spm_session_parameter(s, info.name, &size), old = value[1];
    double above, below, at;
    cr_assert(size == info.size);
    cr_assert(spm_session_gradient(s, make_data(), ROWS, 7, &at, error, sizeof error) == 0);
    double gradient = (double)spm_session_gradient_of(s, info.name, &size)[1];
    value[1] = old + 0.01f;
    spm_session_gradient(s, make_data(), ROWS, 7, &above, error, sizeof error);
    value[1] = old - 0.01f;
    spm_session_gradient(s, make_data(), ROWS, 7, &below, error, sizeof error);
    value[1] = old;
    double slope = -(above - below) / 0.02;
    cr_assert(fabs(slope - gradient) < 2e-3 * (1 + fabs(slope)), "%s: %g, by differences %g", info.name, gradient,
              slope);
  }
  spm_session_free(s);
  spm_compiled_free(c);
}

static int stop_after_two(void *context, long epoch, long step, double objective) {
  (void)step;
  cr_assert(isfinite(objective));
  ++*(int *)context;
  return epoch == 2;
}

/* What begins with the data begins with the first of them. */
Test(spm, initial_values_from_data) {
  char error[1000];
  double objective;
  long size;
  spm_compiled *c = spm_compile("model m; dim D = 4; data x : real[D];\n"
                                "param m : real[D] init mean(x, over = batch);\n"
                                "minimize sum((x - m)^2); train { optimizer = sgd(lr = 1e-9); }\n",
                                "m.spm", NULL, 0, error, sizeof error);
  cr_assert(c != NULL, "%s", error);
  spm_session *s = spm_session_create(c, ROWS, 1, 3, error, sizeof error);
  cr_assert(s != NULL, "%s", error);
  cr_assert(spm_session_evaluate(s, make_data(), ROWS, &objective, error, sizeof error) == -1);
  cr_assert(strstr(error, "mean(x, over = batch)") != NULL, "%s", error);
  cr_assert(spm_session_gradient(s, make_data(), ROWS, 0, &objective, error, sizeof error) == 0, "%s", error);
  double mean = 0;
  for (int row = 0; row < ROWS; row++) mean += (double)make_data()[0][row * D + 1] / ROWS;
  cr_assert(fabs((double)spm_session_parameter(s, "m", &size)[1] - mean) < 1e-6);
  cr_assert(spm_session_evaluate(s, make_data(), ROWS, &objective, error, sizeof error) == 0, "%s", error);
  spm_session_free(s);
  spm_compiled_free(c);
}

Test(spm, trains_encodes_and_stops_when_told) {
  spm_compiled *c = compiled_spec(NULL, 0);
  char error[1000];
  float codes[ROWS * K], again[ROWS * K];
  double before, after;
  int epochs = 0;
  spm_session *s = spm_session_create(c, 32, 1, 3, error, sizeof error);
  cr_assert(spm_session_evaluate(s, make_data(), ROWS, &before, error, sizeof error) == 0);
  cr_assert(spm_session_train(s, make_data(), ROWS, 30, NULL, NULL, error, sizeof error) == 0, "%s", error);
  cr_assert(spm_session_evaluate(s, make_data(), ROWS, &after, error, sizeof error) == 0);
  cr_assert(after > before);
  cr_assert(spm_session_rows(s, "encode", "z", make_data(), ROWS, codes, error, sizeof error) == 0, "%s", error);
  cr_assert(spm_session_rows(s, "encode", "z", make_data(), ROWS, again, error, sizeof error) == 0);
  cr_assert(memcmp(codes, again, sizeof codes) == 0 && codes[0] != codes[K]);
  spm_session_free(s);
  s = spm_session_create(c, 32, 1, 3, error, sizeof error);
  cr_assert(spm_session_train(s, make_data(), ROWS, 9, stop_after_two, &epochs, error, sizeof error) == 0);
  cr_assert(epochs == 2);
  spm_session_free(s);
  spm_compiled_free(c);
}

/* A file of another model is refused, and changes nothing. */
Test(spm, saves_and_loads, .init = scratch_make, .fini = scratch_remove) {
  spm_compiled *c = compiled_spec(NULL, 0), *wide = compiled_spec(&(spm_value){"K", 3}, 1);
  char error[1000];
  double trained, fresh, loaded;
  const char *path = scratch_path("model.safetensors"), *other = scratch_path("wide.safetensors");
  spm_session *s = spm_session_create(c, 32, 1, 3, error, sizeof error);
  cr_assert(spm_session_train(s, make_data(), ROWS, 9, NULL, NULL, error, sizeof error) == 0, "%s", error);
  cr_assert(spm_session_evaluate(s, make_data(), ROWS, &trained, error, sizeof error) == 0);
  cr_assert(spm_session_save(s, path, error, sizeof error) == 0, "%s", error);
  spm_session_free(s);
  s = spm_session_create(wide, 32, 1, 3, error, sizeof error);
  cr_assert(spm_session_save(s, other, error, sizeof error) == 0, "%s", error);
  spm_session_free(s);
  s = spm_session_create(c, 32, 1, 3, error, sizeof error);
  cr_assert(spm_session_load(s, other, error, sizeof error) == -1 && strstr(error, "wide.safetensors"), "%s", error);
  cr_assert(spm_session_load(s, scratch_path("none"), error, sizeof error) == -1);
  cr_assert(spm_session_evaluate(s, make_data(), ROWS, &fresh, error, sizeof error) == 0);
  cr_assert(fresh != trained);
  cr_assert(spm_session_load(s, path, error, sizeof error) == 0, "%s", error);
  cr_assert(spm_session_evaluate(s, make_data(), ROWS, &loaded, error, sizeof error) == 0);
  cr_assert(loaded == trained);
  spm_session_free(s);
  spm_compiled_free(wide);
  spm_compiled_free(c);
}

/* ---- stages ----------------------------------------------------------------------------------------------------- */

typedef struct Told {
  const spm_session *session;
  char stages[200]; /* the first letters, one an epoch */
  double last;
} Told;

static int note_stage(void *context, long epoch, long step, double objective) {
  (void)epoch, (void)step;
  Told *told = context;
  char *end = told->stages + strlen(told->stages);
  end[0] = spm_session_stage(told->session)[0];
  told->last = objective;
  return 0;
}

/* The same start and the same batch: what the step of sgd takes off c and d is their gradient, scaled to the norm. */
static double clipped_step(const char *clip, double moved[5]) {
  char error[1000], text[400];
  float x[ROWS * 4];
  const float *const data[] = {x};
  snprintf(text, sizeof text,
           "model m; data x : real[4]; param c : real[4] init 1; param d : real init -2;\n"
           "minimize sum((x - c)^2) + d^2 / 2; train { optimizer = sgd(lr = 0.25%s); batch = all; epochs = 1; }",
           clip);
  for (int i = 0; i < ROWS * 4; i++) x[i] = (float)(i % 4);
  spm_compiled *c = spm_compile(text, "m.spm", NULL, 0, error, sizeof error);
  cr_assert(c != NULL, "%s", error);
  spm_session *s = spm_session_create(c, ROWS, 1, 3, error, sizeof error);
  cr_assert(s && spm_session_train(s, data, ROWS, 0, NULL, NULL, error, sizeof error) == 0, "%s", error);
  double square = 0;
  for (int i = 0; i < 5; i++) {
    moved[i] = i < 4 ? 1 - (double)spm_session_parameter(s, "c", NULL)[i]
                     : -2 - (double)spm_session_parameter(s, "d", NULL)[0];
    square += moved[i] * moved[i];
  }
  spm_session_free(s);
  spm_compiled_free(c);
  return sqrt(square);
}

Test(spm, clips_gradients_by_the_norm_of_all) {
  double plain[5], clipped[5], loose[5];
  double norm = clipped_step("", plain); /* a quarter of (2, 0, -2, -4) and -2 */
  cr_expect(fabs(norm - sqrt(28) / 4) < 1e-6, "%g", norm);
  double less = clipped_step(", clip = 0.6", clipped);
  cr_expect(fabs(less - 0.6 / 4) < 1e-6, "%g", less);
  for (int i = 0; i < 5; i++) cr_expect(fabs(clipped[i] * norm - plain[i] * less) < 1e-6, "%d: %g", i, clipped[i]);
  clipped_step(", clip = 5.3", loose); /* not that much */
  for (int i = 0; i < 5; i++) cr_expect(loose[i] == plain[i]);
}

/* x is 0 on rows that are trained on, and 1 on the last 32, which judge: far steps of sgd pass by the centre that is
 * the best for them. */
static const char staged[] = "model m; data x : real[4]; data odd : binary; param c : real[4] init 3;\n"
                             "minimize sum((x - c)^2); metric off = sum((x - c)^2);\n"
                             "train wide { optimizer = sgd(lr = 0.05); epochs = 9; valid = 32;"
                             "  keep = best(off, smallest = true); }\n"
                             "train none { optimizer = sgd(lr = 0); epochs = 2; rows = odd; }\n";

static const float *const *staged_data(void) {
  static float x[ROWS * 4], odd[ROWS];
  static const float *const data[] = {x, odd};
  for (int i = 0; i < ROWS * 4; i++) x[i] = i >= (ROWS - 32) * 4;
  for (int i = 0; i < ROWS; i++) odd[i] = (float)(i % 2);
  return data;
}

Test(spm, trains_in_stages_and_keeps_the_best) {
  char error[1000];
  spm_compiled *c = spm_compile(staged, "m.spm", NULL, 0, error, sizeof error);
  cr_assert(c != NULL, "%s", error);
  spm_session *s = spm_session_create(c, 32, 1, 3, error, sizeof error);
  cr_assert(s != NULL, "%s", error);
  cr_assert_str_eq(spm_session_stage(s), "wide");
  Told told = {.session = s};
  cr_assert(spm_session_train(s, staged_data(), ROWS, 0, note_stage, &told, error, sizeof error) == 0, "%s", error);
  cr_expect_str_eq(told.stages, "wwwwwwwwwnn");
  /* c = 3 * 0.9^(2 steps an epoch): after 5 epochs 1.046, nearest to 1 of all, and the second stage leaves it. */
  double c_now = (double)spm_session_parameter(s, "c", NULL)[0];
  cr_expect(fabs(c_now - 3 * pow(0.9, 10)) < 1e-5, "%g", c_now);
  cr_expect(spm_session_next_stage(s) == -1);
  cr_expect(spm_session_train(s, staged_data(), 32, 0, NULL, NULL, error, sizeof error) == -1);
  cr_expect(strstr(error, "valid = 32") != NULL, "%s", error);
  spm_session_free(s);
  s = spm_session_create(c, 32, 1, 3, error, sizeof error);
  told = (Told){.session = s};
  cr_assert(spm_session_train(s, staged_data(), ROWS, 2, note_stage, &told, error, sizeof error) == 0, "%s", error);
  cr_assert(spm_session_next_stage(s) == 0);
  cr_assert(spm_session_train(s, staged_data(), ROWS, 1, note_stage, &told, error, sizeof error) == 0, "%s", error);
  cr_expect_str_eq(told.stages, "wwn");
  spm_session_free(s);
  spm_compiled_free(c);
}

/* The best is that of epoch 5: two epochs later the first stage ends. */
Test(spm, trains_until_patience_ends) {
  char error[1000], text[sizeof staged + 40];
  const char *at = strstr(staged, "smallest = true); }") + strlen("smallest = true);");
  snprintf(text, sizeof text, "%.*s stop = patience(2);%s", (int)(at - staged), staged, at);
  spm_compiled *c = spm_compile(text, "m.spm", NULL, 0, error, sizeof error);
  cr_assert(c != NULL, "%s", error);
  spm_session *s = spm_session_create(c, 32, 1, 3, error, sizeof error);
  Told told = {.session = s};
  cr_assert(spm_session_train(s, staged_data(), ROWS, 0, note_stage, &told, error, sizeof error) == 0, "%s", error);
  cr_expect_str_eq(told.stages, "wwwwwwwnn");
  double c_now = (double)spm_session_parameter(s, "c", NULL)[0];
  cr_expect(fabs(c_now - 3 * pow(0.9, 10)) < 1e-5, "%g", c_now);
  spm_session_free(s);
  spm_compiled_free(c);
}

static void *compile_and_train(void *result) {
  char error[1000];
  spm_compiled *c = spm_compile(spec, "tiny.spm", NULL, 0, error, sizeof error);
  spm_session *s = c ? spm_session_create(c, 32, 1, 3, error, sizeof error) : NULL;
  if (s && spm_session_train(s, make_data(), ROWS, 3, NULL, NULL, error, sizeof error) == 0)
    spm_session_evaluate(s, make_data(), ROWS, result, error, sizeof error);
  spm_session_free(s);
  spm_compiled_free(c);
  return NULL;
}

Test(spm, threads_do_not_disturb_each_other) {
  pthread_t threads[4];
  double results[4] = {0};
  make_data();
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, compile_and_train, &results[i]);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 4; i++) cr_assert(results[i] == results[0] && results[0] != 0);
}
