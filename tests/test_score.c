/* Estimators of the gradient past a draw that jumps: each against the exact sum, over 100,000 estimates; baselines,
 * what they are trained by and what they may not move; compiled code against the interpreter. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/spm.h"
#include "spec.h"

enum { ROWS = 1000, BATCHES = 100, FEWER = 20, MOST = 400, LENGTH = 2000 };

/* Means of a gradient's elements over batches of the same datum, which are means over rows of independent estimates,
 * and their standard errors. */
typedef struct Estimate {
  double mean[MOST], error[MOST], variance; /* the sum of all elements' variances */
  double objective;
  int count;
} Estimate;

static spm_compiled *compile(const char *text) {
  char error[2000];
  spm_compiled *c = spm_compile(text, "estimator.spm", NULL, 0, error, sizeof error);
  cr_assert(c != NULL, "%s\n%s", text, error);
  return c;
}

/* Gradients in the parameters of `which`, which `text` has, too. */
static Estimate estimate(const spm_compiled *which, const char *text, int batches) {
  static float x[ROWS * 6], y[ROWS * 4];
  static const float datum[6] = {1, 0, 1, 1, 0, 0};
  char error[2000];
  Estimate r = {0};
  const float *const data[] = {x, y};
  spm_compiled *c = compile(text);
  spm_session *session = spm_session_create(c, ROWS, 1, 3, error, sizeof error);
  cr_assert(session != NULL, "%s", error);
  for (int i = 0; i < ROWS * 6; i++) x[i] = datum[i % 6];
  for (int i = 0; i < ROWS * 4; i++) y[i] = i / 4 % 2 ? NAN : i % 4 == 2; /* a class that is known on half the rows */
  for (int b = 0; b < batches; b++) {
    double objective;
    cr_assert(spm_session_gradient(session, data, ROWS, (unsigned)b, &objective, error, sizeof error) == 0, "%s",
              error);
    r.objective += objective / batches;
    r.count = 0;
    spm_tensor_info info;
    for (int p = 0; spm_tensor_at(which, SPM_PARAMETER_TENSORS, p, &info) == 0; p++) {
      long size = 0;
      const float *g = spm_session_gradient_of(session, info.name, &size);
      cr_assert(g != NULL && r.count + size <= MOST, "%s", info.name);
      for (long i = 0; i < size; i++, r.count++) {
        r.mean[r.count] += (double)g[i] / batches;
        r.error[r.count] += (double)g[i] * (double)g[i];
      }
    }
  }
  for (int i = 0; i < r.count && batches > 1; i++) {
    double variance = fmax(0, r.error[i] / batches - r.mean[i] * r.mean[i]) / (batches - 1);
    r.error[i] = sqrt(variance);
    r.variance += variance;
  }
  spm_session_free(session);
  spm_compiled_free(c);
  return r;
}

/* `format` has a %s for each latent's method. */
static const char *with_methods(char *text, const char *format, const char *first, const char *second) {
  snprintf(text, LENGTH, format, first, second);
  return text;
}

/* The estimator's mean is the reference's gradient, exact or, where that has draws, too, its mean: 4 standard errors,
 * with what single precision leaves. */
static Estimate expect_mean(const char *format, const char *reference, const char *first, const char *second,
                            bool drawn) {
  char text[LENGTH], exact_text[LENGTH];
  int batches = drawn ? FEWER : BATCHES;
  with_methods(exact_text, format, reference, reference);
  spm_compiled *which = compile(exact_text);
  Estimate exact = estimate(which, exact_text, drawn ? FEWER : 1);
  Estimate r = estimate(which, with_methods(text, format, first, second), batches);
  double worst = 0;
  for (int i = 0; i < r.count; i++) {
    double error = hypot(r.error[i], drawn ? exact.error[i] : 0) + 1e-6, off = fabs(r.mean[i] - exact.mean[i]) / error;
    if (off > worst) worst = off;
  }
  cr_expect(worst <= 4, "%s, %s: %.2f standard errors off", first, second, worst);
  cr_expect(fabs(r.objective - exact.objective) < 0.05 * (1 + fabs(exact.objective)), "%g and %g", r.objective,
            exact.objective);
  spm_compiled_free(which);
  return r;
}

static Estimate expect_unbiased(const char *format, const char *first, const char *second, bool drawn) {
  return expect_mean(format, "by exact", first, second, drawn);
}

static const char one_category[] =
    "model m; dim D = 6; dim C = 4; data x : binary[D]; latent y : category(C); prior y ~ categorical(prob = 1 / C);"
    "network class(x) { scores = dense(x, C); } network b(x) { value = dense(tanh(dense(x, 5)), 1); }"
    "posterior y ~ categorical(logits = class.scores) %s; decoder p(y) { logits = 2 * dense(tanh(dense(y, 4)), D); }"
    "likelihood x ~ bernoulli(logits = p.logits); objective elbo;%.0s";

static const char bits[] =
    "model m; dim D = 6; dim K = 3; data x : binary[D]; latent z : binary[K]; prior z ~ bernoulli(prob = 0.3);"
    "network b(x) { value = dense(tanh(dense(x, 5)), 1); } encoder q(x) { scores = dense(x, K); }"
    "posterior z ~ bernoulli(logits = q.scores) %s; decoder p(z) { logits = 2 * dense(tanh(dense(z, 4)), D); }"
    "likelihood x ~ bernoulli(logits = p.logits); objective elbo(kl_weight = 0.5);%.0s";

/* One under the other, and a prior that mentions them. */
static const char nested[] =
    "model m; dim D = 6; dim C = 3; dim K = 2; data x : binary[D]; latent y : category(C); latent z : binary[K];"
    "prior y ~ categorical(prob = 1 / C); prior z ~ bernoulli(logits = dense(y, K));"
    "network class(x) { scores = dense(x, C); } network b(x) { value = dense(tanh(dense(x, 3)), 1); }"
    "network deep(x, y) { value = dense(concat(x, y), 1); } encoder bits(x, y) { scores = dense(concat(x, y), K); }"
    "posterior y ~ categorical(logits = class.scores) %s; posterior z ~ bernoulli(logits = bits.scores) %s;"
    "decoder p(y, z) { logits = dense(concat(y, z), D); } likelihood x ~ bernoulli(logits = p.logits); objective elbo;";

/* A continuous one under a discrete one: the exact sum has draws, too. */
static const char continuous[] =
    "model m; dim D = 6; dim C = 3; data x : binary[D]; latent y : category(C); latent h : real[2];"
    "prior y ~ categorical(prob = 1 / C); prior h ~ normal(dense(y, 2), 1); network class(x) { scores = dense(x, C); }"
    "encoder q(x, y) { t = tanh(dense(concat(x, y), 3)); mu = dense(t, 2); sd = exp(dense(t, 2) / 4); }"
    "posterior y ~ categorical(logits = class.scores) %s; posterior h ~ normal(q.mu, q.sd);"
    "decoder p(h, y) { logits = dense(concat(h, y), D); } likelihood x ~ bernoulli(logits = p.logits); objective elbo;"
    "%.0s";

static const char *const baselines[] = {"none", "running_mean", "self_critic", "b.value", "-4"};
enum { BASELINES = sizeof baselines / sizeof *baselines };

static void every_baseline(const char *format) {
  for (int i = 0; i < BASELINES; i++) {
    char by[100], summed[100];
    snprintf(by, sizeof by, "by score_function(baseline = %s)", baselines[i]);
    snprintf(summed, sizeof summed, "by sum_and_sample(k = 1, baseline = %s)", baselines[i]);
    Estimate score = expect_unbiased(format, by, "", false), sum = expect_unbiased(format, summed, "", false);
    cr_expect(sum.variance < score.variance, "%s: %g against %g", baselines[i], sum.variance, score.variance);
  }
}

Test(score, a_category) { every_baseline(one_category); }

Test(score, factorised_bits) { every_baseline(bits); }

Test(score, several_latents_at_once) {
  static const char *const pairs[][2] = {
      {"by score_function(baseline = -4)", "by score_function(baseline = -3)"},
      {"by score_function(baseline = self_critic)", "by score_function(baseline = self_critic)"},
      {"by score_function(baseline = b.value)", "by score_function(baseline = deep.value)"},
      {"by exact", "by score_function(baseline = deep.value)"},
      {"by exact", "by score_function(baseline = self_critic)"},
      {"by score_function(baseline = self_critic)", "by exact"},
      {"by sum_and_sample(k = 1)", "by score_function(baseline = -4)"},
      {"by sum_and_sample(k = 1)", "by score_function(baseline = self_critic)"},
      {"by sum_and_sample(k = 1, baseline = self_critic)", "by score_function(baseline = self_critic)"},
      {"by score_function", "by sum_and_sample(k = 2, baseline = -4)"},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) expect_unbiased(nested, pairs[i][0], pairs[i][1], false);
}

/* The second draw of w moves what y is summed over, and z is nested under. */
Test(score, a_critic_under_what_another_moves) {
  static const char format[] =
      "model m; dim D = 6; dim C = 3; dim K = 2; data x : binary[D]; latent w : category(2); latent y : category(C);"
      "latent z : binary[K]; prior w ~ categorical(prob = 1 / 2); prior y ~ categorical(prob = 1 / C);"
      "prior z ~ bernoulli(logits = dense(y, K)); network class(x, w) { scores = dense(concat(x, w), C); }"
      "encoder bits(x, y) { scores = dense(concat(x, y), K); } posterior w ~ categorical(logits = dense(x, 2)) %s;"
      "posterior y ~ categorical(logits = class.scores) by exact; posterior z ~ bernoulli(logits = bits.scores) %s;"
      "decoder p(y, z) { logits = dense(concat(y, z), D); } likelihood x ~ bernoulli(logits = p.logits);";
  static const char *const above[] = {"by score_function(baseline = self_critic)",
                                      "by sum_and_sample(k = 1, baseline = self_critic)"};
  Estimate plain = expect_unbiased(format, above[0], "by score_function(baseline = none)", false);
  for (int i = 0; i < 2; i++) {
    Estimate r = expect_unbiased(format, above[i], "by score_function(baseline = self_critic)", false);
    cr_expect(r.variance < plain.variance, "%g against %g", r.variance, plain.variance);
  }
}

Test(score, a_continuous_latent_under_one) {
  expect_unbiased(continuous, "by score_function(baseline = -5)", "", true);
  expect_unbiased(continuous, "by score_function(baseline = self_critic)", "", true);
  expect_unbiased(continuous, "by sum_and_sample(k = 1, baseline = -5)", "", true);
}

/* A latent that is known on half the rows: of those it has no score. */
Test(score, a_class_that_is_known_on_some_rows) {
  static const char format[] =
      "model m; dim D = 6; dim C = 4; data x : binary[D]; data y : category(C) missing_ok;"
      "prior y ~ categorical(prob = 1 / C); network class(x) { scores = dense(x, C); }"
      "network b(x) { value = dense(tanh(dense(x, 5)), 1); } posterior y ~ categorical(logits = class.scores) %s;"
      "decoder p(y) { logits = 2 * dense(tanh(dense(y, 4)), D); } likelihood x ~ bernoulli(logits = p.logits);"
      "objective elbo + (observed(y) ? log_post(y) : 0);%.0s";
  every_baseline(format);
}

/* A method for any posterior with a density: the reparameterised gradient is the reference. */
Test(score, a_normal_posterior) {
  static const char format[] =
      "model m; dim D = 6; data x : binary[D]; latent h : real[2]; prior h ~ normal(0, 1);"
      "posterior h ~ normal(dense(x, 2), 0.5 + exp(dense(x, 2))) %s; likelihood x ~ bernoulli(logits = dense(h, D));"
      "objective elbo;%.0s";
  expect_mean(format, "", "by score_function(baseline = -5)", "", true);
}

/* The log joint that `infer` climbs meets the same draw again, which is scored once all the same: what an inferred
 * latent says of other numbers changes no gradient of the draw's. */
Test(score, beside_an_inferred_latent) {
#define BESIDE                                                                                                         \
  "model m; dim D = 6; dim C = 4; data x : binary[D]; latent y : category(C); prior y ~ categorical(prob = 1 / C);"    \
  "network class(x) { scores = dense(x, C); } decoder p(y) { logits = 2 * dense(y, D); }"                              \
  "likelihood x ~ bernoulli(logits = p.logits); posterior y ~ categorical(logits = class.scores) by score_function"
  static const char *const with =
      "let twice : real[D] = 2 * x; latent z : real; prior z ~ normal(0, 1);"
      "likelihood twice ~ normal(expand(z, D), 1); infer z by map(steps = 3); objective elbo;";
  static const char *const options[] = {"(baseline = none);", ";"};
  for (int i = 0; i < 2; i++) {
    char alone[LENGTH], beside[LENGTH];
    snprintf(alone, LENGTH, BESIDE "%s objective elbo;", options[i]);
    snprintf(beside, LENGTH, BESIDE "%s %s", options[i], with);
    spm_compiled *which = compile(alone);
    Estimate a = estimate(which, alone, 1), b = estimate(which, beside, 1);
    for (int k = 0; k < a.count; k++)
      cr_expect(fabs(a.mean[k] - b.mean[k]) < 1e-5, "%d: %g and %g", k, a.mean[k], b.mean[k]);
    spm_compiled_free(which);
  }
}

/* A baseline made of the model's own features takes them as they are. */
Test(score, a_baseline_does_not_move_the_model) {
  static const char format[] =
      "model m; dim D = 6; dim C = 4; data x : binary[D]; latent y : category(C); prior y ~ categorical(prob = 1 / C);"
      "network class(x) { h = tanh(dense(x, 4)); scores = dense(h, C); }"
      "posterior y ~ categorical(logits = class.scores) %s; decoder p(y) { logits = 2 * dense(tanh(dense(y, 4)), D); }"
      "likelihood x ~ bernoulli(logits = p.logits); objective elbo;%.0s";
  expect_unbiased(format, "by score_function(baseline = 5 * dense(class.h, 1))", "", false);
  expect_unbiased(format, "by score_function(baseline = sum(class.scores) - 4)", "", false);
}

/* What all samples together are rewarded by: log of the mean of two weights, whose expectation is a sum over pairs. */
Test(score, samples_inside_a_logarithm) {
  static const char common[] = "model m; dim D = 6; data x : binary[D]; param a : real[D] init normal(0, 1);"
                               "param b : real[D] init normal(0, 1); param s : real[2, D] init normal(0, 0.3);";
  char drawn[LENGTH], exact[LENGTH];
  snprintf(drawn, sizeof drawn,
           "%s latent y : category(2); prior y ~ categorical(prob = 1 / 2);"
           "posterior y ~ categorical(logits = s @ x) by score_function(baseline = -5);"
           "likelihood x ~ bernoulli(logits = a * y[0] + b * y[1]); objective logmeanexp(log_weight, over = sample);"
           "train { samples = 2; }",
           common);
  snprintf(
      exact, sizeof exact,
      "%s let q = softmax(s @ x); let r = log_softmax(s @ x);"
      "let u = sum(x * a - softplus(a)) - log(2) - r[0]; let v = sum(x * b - softplus(b)) - log(2) - r[1];"
      "objective q[0]^2 * u + q[1]^2 * v + 2 * q[0] * q[1] * (logsumexp(concat(expand(u, 1), expand(v, 1))) - log(2));",
      common);
  spm_compiled *which = compile(exact);
  Estimate by_hand = estimate(which, exact, 1), r = estimate(which, drawn, BATCHES);
  for (int i = 0; i < r.count; i++)
    cr_expect(fabs(r.mean[i] - by_hand.mean[i]) <= 4 * r.error[i] + 1e-6, "%d: %g +- %g, and not %g", i, r.mean[i],
              r.error[i], by_hand.mean[i]);
  cr_expect(fabs(r.objective - by_hand.objective) < 0.05);
  spm_compiled_free(which);
}

/* The word for it. */
Test(score, iwae_is_the_log_of_the_mean_weight) {
  static const char format[] =
      "model m; dim D = 6; data x : binary[D]; latent h : real[2]; prior h ~ normal(0, 1);"
      "posterior h ~ normal(dense(x, 2), 0.5); %s likelihood x ~ bernoulli(logits = dense(h, D)); objective %s;";
  static const double rows[] = {1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0};
  char text[LENGTH];
  Run run = {.rows = 2, .inputs = {{"x", rows}}};
  double values[2];
  for (int i = 0; i < 2; i++) {
    Spec s = spec_right(with_methods(text, format, i ? "train { samples = 3; }" : "",
                                     i ? "logmeanexp(log_weight, over = sample)" : "iwae(samples = 3)"));
    values[i] = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run);
    spec_close(&s);
  }
  cr_expect(values[0] == values[1], "%.17g and %.17g", values[0], values[1]);
}

/* A mixture is one of its components with its weight: the sum over them by hand, each with its reparameterised draw. */
Test(score, a_mixture_posterior) {
  static const char common[] = "model m; dim D = 6; data x : binary[D]; param a : real[D] init normal(0, 1);"
                               "param s : real[3, D] init normal(0, 0.3); let t = s @ x; let r = sigmoid(t[0]);";
  char drawn[LENGTH], by_hand[LENGTH];
  snprintf(drawn, sizeof drawn,
           "%s allow kl_monte_carlo; latent h : real; prior h ~ normal(0, 1);"
           "posterior h ~ mixture(r: normal(t[1], 0.5), 1 - r: normal(t[2], 1)) by score_function(baseline = -5);"
           "likelihood x ~ bernoulli(logits = a * h); objective elbo(kl = monte_carlo);",
           common);
  snprintf(by_hand, sizeof by_hand,
           "%s latent u : real; latent v : real; posterior u ~ normal(t[1], 0.5); posterior v ~ normal(t[2], 1);"
           "let q = log_pdf(mixture(r: normal(t[1], 0.5), 1 - r: normal(t[2], 1)), u);"
           "let p = log_pdf(mixture(r: normal(t[1], 0.5), 1 - r: normal(t[2], 1)), v);"
           "objective r * (sum(x * a * u - softplus(a * u)) + log_pdf(normal(0, 1), u) - q)"
           " + (1 - r) * (sum(x * a * v - softplus(a * v)) + log_pdf(normal(0, 1), v) - p);",
           common);
  spm_compiled *which = compile(by_hand);
  Estimate other = estimate(which, by_hand, FEWER), r = estimate(which, drawn, FEWER);
  for (int i = 0; i < r.count; i++)
    cr_expect(fabs(r.mean[i] - other.mean[i]) <= 4 * hypot(r.error[i], other.error[i]) + 1e-6, "%d: %g, and not %g", i,
              r.mean[i], other.mean[i]);
  spm_compiled_free(which);
}

/* ---- baselines ------------------------------------------------------------------------------------------------- */

static const double pixels[] = {1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 1, 0};

static const char rewarded[] =
    "model m; dim D = 6; data x : binary[D]; latent y : category(4); posterior y ~ categorical(logits = dense(x, 4)) "
    "%s;"
    "param c : real init 0.7; likelihood x ~ bernoulli(logits = dense(y, D)); objective log_lik(x);%.0s";

/* The mean over the batch of log_lik is the mean reward. */
Test(score, a_running_mean_follows_the_reward) {
  static const struct {
    const char *by;
    double step, before, rate;
  } cases[] = {{"by score_function", 0, 0, 1},
               {"by score_function(baseline = running_mean)", 3, -2, 0.25},
               {"by score_function(baseline = running_mean(decay = 0.9))", 99, -2, 0.1},
               {"by sum_and_sample(k = 2)", 4, -1, 0.2}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[LENGTH];
    Spec s = spec_right(with_methods(text, rewarded, cases[i].by, ""));
    Run run = {.rows = 4, .step = cases[i].step, .inputs = {{"x", pixels}, {"y.baseline", &cases[i].before}}};
    double objective = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run);
    double next = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_STATE, "y.baseline", &run);
    double expected = cases[i].before + cases[i].rate * (objective - cases[i].before);
    cr_expect(fabs(next - expected) < 1e-12, "%s: %.15g and not %.15g", cases[i].by, next, expected);
    spec_close(&s);
  }
}

Test(score, a_running_mean_passes_over_known_rows) {
  static const double labels[] = {NAN, NAN, 0, 1, NAN, NAN, 1, 0};
  for (int i = 0; i < 2; i++) {
    char text[LENGTH];
    Spec s = spec_right(with_methods(
        text,
        "model m; dim D = 6; data x : binary[D]; data y : category(2) missing_ok; prior y ~ categorical(prob = 1 / 2);"
        "posterior y ~ categorical(logits = dense(x, 2)) %s; likelihood x ~ bernoulli(logits = dense(y, D));"
        "objective observed(y) ? 0 : log_lik(x);%.0s",
        i ? "by sum_and_sample" : "by score_function", ""));
    Run run = {.rows = 4, .inputs = {{"x", pixels}, {"y", labels}}};
    double objective = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run);
    double next = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_STATE, "y.baseline", &run);
    cr_expect(fabs(next - 2 * objective) < 1e-12, "%.15g and not %.15g", next, 2 * objective);
    spec_close(&s);
  }
}

Test(score, a_learned_baseline_approaches_the_reward) {
  char text[LENGTH];
  Spec s = spec_right(with_methods(text, rewarded, "by score_function(baseline = c)", ""));
  Run run = {.rows = 4, .inputs = {{"x", pixels}}};
  double objective = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run);
  double gradient = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "c", &run);
  cr_expect(fabs(gradient - 2 * (0.7 - objective)) < 1e-12, "%.15g and not %.15g", gradient, 2 * (0.7 - objective));
  spec_close(&s);
}

Test(score, baselines_do_not_change_the_objective) {
  char text[LENGTH];
  double values[BASELINES];
  Run run = {.rows = 4, .inputs = {{"x", pixels}}};
  for (int i = 0; i < BASELINES; i++) {
    char by[100];
    snprintf(by, sizeof by, "by score_function(baseline = %s)", baselines[i]);
    Spec s = spec_right(with_methods(text, bits, by, ""));
    values[i] = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run);
    cr_expect(values[i] == values[0], "%s: %.17g and not %.17g", baselines[i], values[i], values[0]);
    spec_close(&s);
  }
}

/* ---- as compiled ----------------------------------------------------------------------------------------------- */

static void expect_sound(const char *format, const char *first, const char *second) {
  char text[LENGTH];
  spec_expect_sound(with_methods(text, format, first, second), 8);
}

Test(score, compiled_as_interpreted) {
  expect_sound(nested, "by score_function(baseline = self_critic)", "by score_function(baseline = deep.value)");
  expect_sound(nested, "by exact", "by score_function(baseline = self_critic)");
  expect_sound(nested, "by sum_and_sample(k = 1)", "by sum_and_sample(k = 2)");
  expect_sound(continuous, "by score_function(baseline = dense(x, 1))", "");
  expect_sound("model s; dim D = 6; dim K = 5; data x : binary[D]; latent z : subset(3)[K]; latent n : integer(1, 3);"
               "prior z ~ conditional_bernoulli(logits = 0, size = n); prior n ~ categorical(prob = 1 / 3);"
               "posterior n ~ categorical(logits = dense(x, 3)) %s;"
               "posterior z ~ conditional_bernoulli(logits = dense(x, K), size = n) %s;"
               "likelihood x ~ bernoulli(logits = dense(z, D)); objective elbo(samples = 2);",
               "by score_function(baseline = dense(x, 1))", "by score_function(baseline = self_critic)");
  expect_sound("model s; dim D = 6; data x : binary[D]; latent z : real[3]; prior z ~ spike_slab(0.5, 0, 1);"
               "posterior z ~ spike_slab(sigmoid(dense(x, 3)), dense(x, 3), 1) %s;"
               "likelihood x ~ bernoulli(logits = dense(z, D)); objective elbo;%.0s",
               "by score_function", "");
}

/* Its own KL in closed form is no reward; that of what stands below it is. */
Test(score, explain_says_what_rewards) {
  char text[LENGTH];
  Spec s = spec_right(with_methods(text, nested, "by score_function", "by sum_and_sample(k = 2, baseline = b.value)"));
  cr_assert(model_graph(s.model, PROGRAM_TRAIN) && s.model->estimator_count == 2);
  cr_expect_str_eq(s.model->estimators[0].text, "score function of one draw; rewarded by log_lik(x), kl(z); baseline: "
                                                "the mean reward of all steps before");
  cr_expect_str_eq(s.model->estimators[1].text,
                   "sum over the 2 likeliest values, and one draw of the rest; rewarded by "
                   "log_lik(x); baseline: b.value, trained by its squared distance from "
                   "the reward");
  spec_close(&s);
}
