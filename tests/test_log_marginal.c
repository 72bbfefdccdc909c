/* log_marginal: against the closed form of a Gaussian model, against all values written out, and compiled code against
 * the interpreter, draw for draw. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/host.h"
#include "spec.h"

enum { ROWS = 40 };

static double measured(Spec *s, const char *metric, const Run *run) {
  return *spec_output(s, PROGRAM_MEASURE, OUTPUT_METRIC, metric, run);
}

static const char *gaussian(const char *posterior, const char *options) {
  static char text[1000];
  snprintf(text, sizeof text,
           "model g; data x : real[2]; latent z : real[2]; prior z ~ normal(0, 1); posterior z ~ %s;"
           "likelihood x ~ normal(z, 1); objective elbo%s; metric estimate = log_marginal(samples = 600);"
           "metric exact = sum(log_pdf(normal(0, sqrt(2)), x));",
           posterior, options);
  return text;
}

static void numbers(double *x, int count) {
  for (int i = 0; i < count; i++) x[i] = sin(12.9898 * i) * 1.7;
}

/* With the posterior itself every weight is the marginal; with another one the mean weight comes near it. */
Test(log_marginal, of_a_gaussian_model) {
  double x[2 * ROWS];
  numbers(x, 2 * ROWS);
  const Run run = {.rows = ROWS, .inputs = {{"x", x}}};
  const char *posteriors[] = {"normal(x / 2, sqrt(0.5))", "normal(0.3 * x, 0.9)", "normal(0.3 * x, 0.9)"};
  const char *options[] = {"", "", "(samples = 3)"};
  const double most[] = {1e-12, 0.02, 0.02};
  for (int i = 0; i < 3; i++) {
    Spec s = spec_right(gaussian(posteriors[i], options[i]));
    double estimate = measured(&s, "estimate", &run), exact = measured(&s, "exact", &run);
    cr_expect(fabs(estimate - exact) < most[i], "%d: %.12g and %.12g", i, estimate, exact);
    cr_expect(measured(&s, "elbo", &run) < exact + (i == 0 ? 0.3 : 0), "the bound %g is above",
              measured(&s, "elbo", &run));
    cr_expect(spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_METRIC, "estimate") == NULL);
    cr_expect(spec_find_output(&s, PROGRAM_EVALUATE, OUTPUT_METRIC, "estimate") == NULL);
    spec_close(&s);
  }
}

static const char *bits(const char *posterior, int samples) {
  static char text[1500];
  snprintf(text, sizeof text,
           "model b; data x : binary[3]; latent z : binary[4]; param t : real[4, 3] init normal(0, 1);"
           "param w : real[3, 4] init normal(0, 2); prior z ~ bernoulli(prob = 0.3); posterior z ~ %s;"
           "likelihood x ~ bernoulli(logits = w @ z - 0.5); objective elbo;"
           "metric estimate = log_marginal(samples = %d);",
           posterior, samples);
  return text;
}

/* log of the sum over all 16 vectors, the mean over rows. */
static double enumerated(const double *w, const double *x) {
  double mean = 0;
  for (int row = 0; row < ROWS; row++) {
    double total = 0;
    for (int m = 0; m < 16; m++) {
      double log_p = 0;
      for (int i = 0; i < 4; i++) log_p += log(m >> i & 1 ? 0.3 : 0.7);
      for (int d = 0; d < 3; d++) {
        double logit = -0.5;
        for (int i = 0; i < 4; i++) logit += w[d * 4 + i] * (m >> i & 1);
        log_p -= log1p(exp(x[row * 3 + d] > 0 ? -logit : logit));
      }
      total += exp(log_p);
    }
    mean += log(total) / ROWS;
  }
  return mean;
}

Test(log_marginal, of_bits_that_are_summed_out) {
  double x[3 * ROWS], w[12], t[12];
  numbers(w, 12);
  for (int i = 0; i < 12; i++) t[i] = cos(7.1 * i);
  for (int i = 0; i < 3 * ROWS; i++) x[i] = i * 7919 % 13 < 5;
  const Run run = {.rows = ROWS, .inputs = {{"x", x}, {"w", w}, {"t", t}}};
  const char *posteriors[] = {"bernoulli(logits = t @ x) by exact", "top_k_sparsemax(t @ x, k = 3)", "sparsemap(t @ x)",
                              "bernoulli(logits = t @ x) by relaxed(temperature = 1)"};
  double exact = enumerated(w, x);
  for (int i = 0; i < 4; i++) {
    Spec s = spec_right(bits(posteriors[i], i == 0 ? 1 : 4000));
    double estimate = measured(&s, "estimate", &run);
    cr_expect(fabs(estimate - exact) < (i == 0 ? 1e-12 : 0.01), "%s: %.12g and %.12g", posteriors[i], estimate, exact);
    spec_close(&s);
  }
}

/* A category of which sparsemax leaves a part, and one that is summed out whole beside it. */
Test(log_marginal, of_categories) {
  const double x[4] = {0.3, -0.2, 1, 0.1};
  double value[2];
  const Run run = {.rows = 2, .inputs = {{"x", x}}};
  const char *maps[] = {"softmax(s)", "sparsemax(3 * s)"};
  for (int i = 0; i < 2; i++) {
    char text[1000];
    snprintf(text, sizeof text,
             "model c; data x : real[2]; latent y : category(5); latent n : integer(1, 3); param s : real[5] init "
             "normal(0, 1); param w : real[2, 5] init normal(0, 1); prior y ~ categorical(prob = 1 / 5);"
             "prior n ~ categorical(prob = 1 / 3); posterior y ~ %s; posterior n ~ categorical(prob = 1 / 3) by exact;"
             "likelihood x ~ normal(w @ y * n, 1); objective elbo; metric estimate = log_marginal(samples = 4000);",
             maps[i]);
    Spec s = spec_right(text);
    value[i] = measured(&s, "estimate", &run);
    spec_close(&s);
  }
  cr_expect(fabs(value[0] - value[1]) < 0.02, "%.12g whole, %.12g in part", value[0], value[1]);
}

/* ---- latents of both kinds -------------------------------------------------------------------------------------- */

/* x = w z + v h + noise, h normal: given z it is a normal again, and z is one of `count` rows of a table. */
static const char *with_both(const char *latents, const char *vectors, int count, const char *priors, int samples) {
  static char text[4000];
  char exact[2000] = "";
  for (int i = 0; i < count; i++)
    snprintf(exact + strlen(exact), sizeof exact - strlen(exact),
             "%s exp(log_pdf(normal(mean = w @ t[%d], cholesky = L), x)) * %s", i ? " +" : "", i, priors);
  snprintf(text, sizeof text,
           "model b; data x : real[3]; latent h : real[2]; param w : real[3, 3] init normal(0, 1);"
           "param v : real[3, 2] init normal(0, 1); param s : real[3, 3] init normal(0, 1); let t = %s;"
           "let L = cholesky(v @ v' + identity(3)); prior h ~ normal(0, 1); %s objective elbo;"
           "metric exact = log(%s); metric estimate = log_marginal(samples = %d);",
           vectors, latents, exact, samples);
  return text;
}

#define CLASSES "latent z : category(3); prior z ~ categorical(prob = 1 / 3); likelihood x ~ normal(w @ z + v @ h, 1);"
#define BITS "latent z : binary[3]; prior z ~ bernoulli(prob = 0.5); likelihood x ~ normal(w @ z + v @ h, 1);"
static const char *const both_kinds[] = {
    CLASSES "posterior z ~ categorical(logits = s @ x) by exact; posterior h ~ normal(0.2 * dense(x - w @ z, 2), 0.8);",
    CLASSES "posterior z ~ sparsemax(3 * s @ x); posterior h ~ normal(0.2 * dense(x - w @ z, 2), 0.8);",
    CLASSES
    "posterior h ~ normal(0.2 * dense(x, 2), 1); posterior z ~ categorical(logits = s @ x - dense(h, 3)) by exact;",
    BITS "posterior z ~ top_k_sparsemax(s @ x, k = 3); posterior h ~ normal(0.2 * dense(x - w @ z, 2), 0.8);",
    BITS "posterior z ~ sparsemap(2 * s @ x, budget = 2); posterior h ~ normal(0.2 * dense(x, 2), 1);",
};
enum { BOTH_KINDS = sizeof both_kinds / sizeof *both_kinds };

static const char *both_kinds_spec(int i, int samples) {
  if (i < 3) return with_both(both_kinds[i], "identity(3)", 3, "(1 / 3)", samples);
  return with_both(both_kinds[i],
                   "concat(concat(expand(floor(n / 4) % 2, 1)', expand(floor(n / 2) % 2, 1)'), expand(n % 2, 1)');"
                   "let n = cumsum(ones(8)) - 1",
                   8, "0.125", samples);
}

Test(log_marginal, of_latents_of_both_kinds) {
  double x[3 * ROWS];
  numbers(x, 3 * ROWS);
  const Run run = {.rows = ROWS, .inputs = {{"x", x}}};
  for (int i = 0; i < BOTH_KINDS; i++) {
    Spec s = spec_right(both_kinds_spec(i, i < 3 ? 800 : 300));
    double estimate = measured(&s, "estimate", &run), exact = measured(&s, "exact", &run);
    cr_expect(fabs(estimate - exact) < 0.02, "%s: %.12g and %.12g", both_kinds[i], estimate, exact);
    spec_close(&s);
  }
}

/* The posterior itself: one draw will do, and every class is walked. What a param is penalised by is no part of it. */
Test(log_marginal, of_both_kinds_at_the_posterior) {
  double x[3 * ROWS];
  numbers(x, 3 * ROWS);
  const Run run = {.rows = ROWS, .inputs = {{"x", x}}};
  Spec s = spec_right(
      "model b; data x : real[3]; latent h : real; latent z : category(3); param w : real[3, 3] init normal(0, 1);"
      "param v : real[3] init normal(0, 1); prior w ~ normal(0, 1); prior z ~ categorical(prob = 1 / 3); prior h ~ "
      "normal(0, 1);"
      "let p = 1 + sum(v^2); posterior z ~ softmax(dense(x, 3)); posterior h ~ normal(dot(v, x - w @ z) / p, 1 / "
      "sqrt(p));"
      "likelihood x ~ normal(w @ z + v * h, 1); let L = cholesky(outer(v, v) + identity(3));"
      "objective elbo; metric estimate = log_marginal(samples = 1);"
      "metric exact = log(exp(log_pdf(normal(mean = w @ identity(3)[0], cholesky = L), x)) / 3"
      " + exp(log_pdf(normal(mean = w @ identity(3)[1], cholesky = L), x)) / 3"
      " + exp(log_pdf(normal(mean = w @ identity(3)[2], cholesky = L), x)) / 3);");
  double estimate = measured(&s, "estimate", &run), exact = measured(&s, "exact", &run);
  cr_expect(fabs(estimate - exact) < 1e-12, "%.15g and %.15g", estimate, exact);
  spec_close(&s);
}

Test(log_marginal, compiled_code_draws_the_same) {
  double x[3 * ROWS];
  float single[3 * ROWS];
  for (int i = 0; i < 3 * ROWS; i++) single[i] = (float)(x[i] = i * 7919 % 13 < 5);
  struct spm_table table = {.path = "x", .format = "memory", .element = SPM_F32, .rank = 2, .shape = {ROWS, 3}};
  table.rows = ROWS, table.row_size = 3, table.bytes = single, table.byte_count = sizeof single;
  const struct spm_table *tables[] = {&table};
  const struct spm_rows rows = {.tables = tables, .count = ROWS};
  for (int i = 0; i <= BOTH_KINDS; i++) {
    const char *text =
        i < BOTH_KINDS ? both_kinds_spec(i, 7) : bits("bernoulli(logits = t @ x) by relaxed(temperature = 1)", 7);
    Spec s = spec_right(text);
    char message[500];
    struct spm_error error;
    struct spm_host host;
    struct spm_columns columns;
    double means[20];
    Jit *jit = compile_jit(s.model, false, message, sizeof message);
    cr_assert(jit != NULL, "%s", message);
    const struct spm_model *m = jit_model(jit);
    cr_assert(spm_host_create(&host, m, 0, 1, 7, &error) == 0 && spm_host_initialise(&host, &error) == 0 &&
                  spm_columns_create(&columns, spm_find_program(m, "measure"), &error) == 0,
              "%s", error.message);
    host.total_rows = ROWS;
    Run run = {.rows = ROWS, .inputs = {{"x", x}}};
    for (int p = 0; p < m->parameter_count; p++) { /* in double: those that the host has */
      double *values = calloc((size_t)m->parameters[p].size, sizeof *values);
      for (long k = 0; k < m->parameters[p].size; k++) values[k] = (double)host.parameters[m->parameters[p].offset + k];
      run.inputs[p + 1] = (Input){m->parameters[p].name, values};
    }
    cr_assert(spm_host_evaluate(&host, &rows, &columns, means, &error) == 0, "%s", error.message);
    for (int c = 0; c < columns.count; c++) {
      if (strcmp(columns.names[c], "estimate") != 0) continue;
      double right = measured(&s, "estimate", &run);
      cr_expect(fabs(means[c] - right) < 2e-5 * (1 + fabs(right)), "%s: %.9g and %.9g", text, means[c], right);
    }
    for (int p = 0; p < m->parameter_count; p++) free((void *)run.inputs[p + 1].values);
    spm_columns_free(&columns);
    spm_host_free(&host);
    jit_destroy(jit);
    spec_close(&s);
  }
}

/* A bernoulli at data between 0 and 1 is an expected log-probability (LANGUAGE rule 14). */
Test(log_marginal, words_that_take_densities_warn_where_there_is_none) {
  static const char *const data[] = {"unit", "binary"};
  static const char *const asked[] = {"objective log_weight;", "objective iwae(samples = 3);",
                                      "metric m = log_marginal(samples = 2);", "objective elbo;",
                                      "objective log_weight; allow no_density;"};
  for (int i = 0; i < 2; i++)
    for (int k = 0; k < 5; k++) {
      char text[400];
      snprintf(text, sizeof text,
               "model w; dim D = 3; data x : %s[D]; latent z : real[2]; prior z ~ normal(0, 1);"
               "posterior z ~ normal(dense(x, 2), 1); likelihood x ~ bernoulli(logits = dense(z, D)); %s",
               data[i], asked[k]);
      Spec s = spec_text(text, NULL);
      cr_expect(!s.errors && spec_says(&s, "no_density") == (i == 0 && k < 3), "%s", text);
      spec_close(&s);
    }
}
