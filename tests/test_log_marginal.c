/* log_marginal: against the closed form of a Gaussian model, against all values written out, and compiled code against
 * the interpreter, draw for draw. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "reference_driver.h"
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

Test(log_marginal, compiled_code_draws_the_same) {
  const char *posteriors[] = {"bernoulli(logits = t @ x) by relaxed(temperature = 1)"};
  double x[3 * ROWS];
  for (int i = 0; i < 3 * ROWS; i++) x[i] = i * 7919 % 13 < 5;
  for (int i = 0; i < 1; i++) {
    Spec s = spec_right(bits(posteriors[i], 7));
    char message[500];
    Jit *jit = compile_jit(s.model, true, message, sizeof message);
    cr_assert(jit != NULL, "%s", message);
    const double *parameters[] = {spec_initial(&s, "t"), spec_initial(&s, "w")}, *data[] = {x};
    const Signature *signature = model_signature(s.model);
    if (strcmp(signature->parameters[0].name, "t") != 0)
      parameters[0] = spec_initial(&s, "w"), parameters[1] = spec_initial(&s, "t");
    Bindings b = {.rows = ROWS, .parameters = parameters, .data = data, .seed = 1};
    b.settings[SETTING_ROWS_IN_BATCH] = b.settings[SETTING_TOTAL_ROWS] = ROWS;
    const Graph *g = model_graph(s.model, PROGRAM_MEASURE);
    Evaluation *e = interpret(g, &b);
    Outputs found = reference_run_d(jit_model(jit), "measure", signature, &b, 7, false);
    cr_assert(found.count > 0 && e->problem == NULL);
    for (int o = 0; o < found.count; o++) {
      double right = e->values[g->outputs[o].value->id][0];
      cr_expect(fabs(found.values[o][0] - right) < 1e-11 * (1 + fabs(right)), "%s, %s: %.15g and %.15g", posteriors[i],
                g->outputs[o].name, found.values[o][0], right);
    }
    outputs_free(&found);
    evaluation_free(e, g);
    jit_destroy(jit);
    spec_close(&s);
  }
}
