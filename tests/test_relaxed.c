/* Relaxed posteriors: what a latent's name is in training and elsewhere, that hard and relaxed draws follow the
 * probabilities and share their noise, that kl and entropy are those of the discrete distribution, the relaxation gap,
 * integers as numbers and as one-hot vectors, and gradients that stay finite at the ends. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/diagnose.h"
#include "compiler/spm.h"
#include "spec.h"

enum { ROWS = 20000 };

static double train_metric(Spec *s, const char *name, const Run *run) {
  return *spec_output(s, PROGRAM_TRAIN, OUTPUT_METRIC, name, run);
}

/* ---- frequencies ----------------------------------------------------------------------------------------------- */

static const double scores[5] = {1.2, -0.4, 0.3, -2.5, 0.9};

static double chi_square(const double *found, const double *expected, int count) {
  double sum = 0;
  for (int k = 0; k < count; k++) sum += ROWS * (found[k] - expected[k]) * (found[k] - expected[k]) / expected[k];
  return sum;
}

/* Which element is largest is exactly as likely as its probability, at any temperature; 4 degrees of freedom, level
 * 1e-5. The posterior is also met in its other parameterisation. */
static void argmax_frequencies(const char *distribution, double temperature) {
  char text[1000], name[8];
  snprintf(text, sizeof text,
           "model m; data x : real[2]; latent z : category(5); param a : real[5] init 0; prior z ~ categorical(prob = "
           "1 / 5); posterior z ~ %s by relaxed(temperature = %g); likelihood x ~ normal(dense(z, 2), 1);"
           "let hot = hardmax(z); metric f0 = hot[0]; metric f1 = hot[1]; metric f2 = hot[2]; metric f3 = hot[3];"
           "metric f4 = hot[4];",
           distribution, temperature);
  Spec s = spec_right(text);
  Run run = {.rows = ROWS, .inputs = {{"a", scores}}};
  double total = 0, expected[5], soft[5], hard[5];
  for (int k = 0; k < 5; k++) total += exp(scores[k]);
  for (int k = 0; k < 5; k++) {
    snprintf(name, sizeof name, "f%d", k);
    expected[k] = exp(scores[k]) / total;
    soft[k] = train_metric(&s, name, &run);
    hard[k] = spec_metric(&s, name, &run);
    cr_expect(soft[k] == hard[k], "the same noise: %g and %g", soft[k], hard[k]);
  }
  double found = chi_square(soft, expected, 5);
  cr_expect(found < 28.5, "%s at %g: chi-square %g", distribution, temperature, found);
  spec_close(&s);
}

Test(relaxed, argmax_frequencies_are_the_probabilities) {
  argmax_frequencies("categorical(logits = a)", 0.05);
  argmax_frequencies("categorical(logits = a)", 1);
  argmax_frequencies("categorical(prob = softmax(a))", 5);
}

/* A coin's relaxed draw is above one half as often as the coin shows heads; a spike's is open as often as its weight.
 */
static void halves(const char *type, const char *prior, const char *posterior, const char *soft_side, double expected) {
  char text[1000];
  snprintf(text, sizeof text,
           "model m; data x : real[2]; latent z : %s; param a : real init 0.7; prior z ~ %s; posterior z ~ %s; "
           "likelihood x ~ normal(z * ones(2), 1); metric side = %s; metric hard = z != 0;",
           type, prior, posterior, soft_side);
  Spec s = spec_right(text);
  Run run = {.rows = ROWS};
  double soft = train_metric(&s, "side", &run), hard = spec_metric(&s, "hard", &run);
  double error = sqrt(expected * (1 - expected) / ROWS);
  cr_expect(fabs(soft - expected) < 4.5 * error, "%s: %g, not %g", posterior, soft, expected);
  cr_expect(fabs(soft - hard) < 1e-12, "%s: relaxed %g, hard %g", posterior, soft, hard);
  spec_close(&s);
}

Test(relaxed, relaxed_draws_cross_over_where_the_hard_ones_do) {
  double p = 1 / (1 + exp(-0.7));
  const char *coin = "bernoulli(prob = 0.5)", *spike = "spike_slab(0.2, 0, 1)";
  halves("binary", coin, "bernoulli(logits = a) by relaxed(temperature = 0.05)", "z > 0.5", p);
  halves("binary", coin, "bernoulli(logits = a) by relaxed(temperature = 3)", "z > 0.5", p);
  halves("binary", coin, "bernoulli(prob = sigmoid(a)) by relaxed(temperature = 0.5)", "z > 0.5", p);
  /* a slab of mean 1 and nearly no spread: z is the gate itself */
  halves("real", spike, "spike_slab(sigmoid(a), 1, 1e-9) by relaxed(temperature = 0.5)", "z > 0.5", p);
  halves("real", spike, "spike_slab(sigmoid(a), 1, 1e-9) by relaxed(steepness = 50)", "z > 0.5", p);
}

/* ---- training and elsewhere ------------------------------------------------------------------------------------ */

static const char bits[] =
    "model m; dim K = 6; data x : unit[4]; latent z : binary[K]; prior z ~ bernoulli(prob = 0.3);\n"
    "encoder q(x) { a = dense(x, K); } schedule tau = max(0.5, exp(-step / 100));\n"
    "posterior z ~ bernoulli(logits = q.a) by relaxed(temperature = tau, straight_through = %s);\n"
    "likelihood x ~ bernoulli(logits = dense(z, 4));\n"
    "metric whole = sum(z == 0 or z == 1); metric number = sum(z); metric uncertain = entropy(z);\n"
    "metric gap = sum(softplus(q.a) - q.a * sigmoid(q.a));\n"
    "metric charge = sum(sigmoid(q.a) * (q.a - log(0.3) + log(0.7)) - softplus(q.a) - log(0.7));\n";

static Spec bits_spec(const char *through) {
  char text[1500];
  snprintf(text, sizeof text, bits, through);
  return spec_right(text);
}

static double unit_data[4 * 300];

static Run bits_run(void) {
  for (int i = 0; i < 4 * 300; i++) unit_data[i] = fmod(i * 0.381966, 1);
  return (Run){.rows = 300, .inputs = {{"x", unit_data}}, .step = 20, .epoch = 1};
}

Test(relaxed, soft_in_training_and_hard_elsewhere) {
  Run run = bits_run();
  Spec soft = bits_spec("false"), hard = bits_spec("true");
  cr_expect(train_metric(&soft, "whole", &run) < 0.1);
  cr_expect(spec_metric(&soft, "whole", &run) == 6);
  cr_expect(train_metric(&hard, "whole", &run) == 6, "straight_through is hard forward");
  cr_expect(train_metric(&hard, "number", &run) == spec_metric(&hard, "number", &run));
  const double *code = spec_output(&soft, PROGRAM_ENCODE, OUTPUT_ROWS, "z", &run);
  for (int i = 0; i < 300 * 6; i++) cr_assert(code[i] == 0 || code[i] == 1);
  spec_close(&soft);
  spec_close(&hard);
}

Test(relaxed, kl_and_entropy_are_those_of_the_discrete_distribution) {
  Run run = bits_run();
  Spec s = bits_spec("false");
  cr_expect_float_eq(train_metric(&s, "uncertain", &run), train_metric(&s, "gap", &run), 1e-12);
  cr_expect_float_eq(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "kl(z)", &run), train_metric(&s, "charge", &run),
                     1e-12);
  spec_close(&s);
}

Test(relaxed, the_gap_is_relaxed_less_hard) {
  Run run = bits_run();
  Spec s = bits_spec("false");
  double soft = train_metric(&s, "elbo", &run), hard = spec_metric(&s, "elbo", &run);
  cr_expect(fabs(soft - hard) > 1e-3);
  cr_expect_float_eq(spec_metric(&s, "relaxation_gap", &run), soft - hard, 1e-12);
  cr_expect(spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_METRIC, "relaxation_gap") == NULL);
  spec_close(&s);
  Spec through = bits_spec("true");
  cr_expect_float_eq(spec_metric(&through, "relaxation_gap", &run), 0, 1e-12);
  spec_close(&through);
}

/* Of an objective that is linear in z, straight through or not makes no difference to the gradient. */
Test(relaxed, straight_through_has_the_soft_gradient) {
  static const char text[] =
      "model m; dim K = 6; data x : unit[4]; latent z : binary[K]; prior z ~ bernoulli(prob = 0.3);\n"
      "encoder q(x) { a = dense(x, K); }\n"
      "posterior z ~ bernoulli(logits = q.a) by relaxed(temperature = 0.7, straight_through = %s);\n"
      "objective sum(z * cumsum(ones(K)));\n";
  Run run = bits_run();
  double gradient[2][24];
  for (int through = 0; through < 2; through++) {
    char whole[1000];
    snprintf(whole, sizeof whole, text, through ? "true" : "false");
    Spec s = spec_right(whole);
    memcpy(gradient[through], spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "q.a.dense.W", &run),
           sizeof gradient[through]);
    spec_close(&s);
  }
  for (int i = 0; i < 24; i++) {
    cr_expect(fabs(gradient[0][i]) > 1e-6);
    cr_expect_float_eq(gradient[0][i], gradient[1][i], 1e-12);
  }
}

Test(relaxed, a_temperature_can_be_overridden) {
  Override cold = {"tau", 0.01};
  CompileOptions options = {.overrides = &cold, .override_count = 1};
  char text[1500];
  snprintf(text, sizeof text, bits, "false");
  Spec s = spec_text(text, &options), usual = bits_spec("false");
  Run run = bits_run();
  cr_assert(s.errors == 0);
  double gap = spec_metric(&s, "relaxation_gap", &run), warm = spec_metric(&usual, "relaxation_gap", &run);
  cr_expect(fabs(gap) < 0.1 * fabs(warm), "%g at 0.01, %g at 0.8", gap, warm);
  spec_close(&s);
  spec_close(&usual);
}

/* Of categories there is the exact sum where no rule is declared: a mixture as the prior, a family of one's own. */
Test(relaxed, sums_over_categories) {
  Spec s = spec_right(
      "model m; dim N = 2; data x : unit[4]; latent z : category(3)[N]; param a : real[N, 3] init 0;\n"
      "prior z ~ mixture(0.25: categorical(prob = 1 / 3), 0.75: categorical(logits = a));\n"
      "encoder q(x) { s = reshape(dense(x, N * 3), [N, 3]); }\n"
      "posterior z ~ choice(q.s) by relaxed(temperature = 0.5); likelihood x ~ normal(dense(flatten(z), 4), 1);\n"
      "distribution choice(z : category(n); scores : real[n]) {\n  log_pdf = dot(z, log_softmax(scores));\n"
      "  sample(u : uniform[n]) = hardmax(scores - log(-log(u)));\n"
      "  relaxed(u : uniform[n]; temperature : positive) = softmax((scores - log(-log(u))) / temperature);\n}\n"
      "let p = softmax(q.s); let other = 0.25 / 3 + 0.75 * softmax(a);\n"
      "metric expected = sum(p * (log(p) - log(other))); metric spread = -sum(p * log(p)); metric found = "
      "entropy(z);\n");
  static const double a[6] = {0.3, -1, 2, 0.5, 0.1, -0.2};
  Run run = bits_run();
  run.inputs[1] = (Input){"a", a};
  cr_expect_float_eq(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "kl(z)", &run), train_metric(&s, "expected", &run),
                     1e-12);
  cr_expect_float_eq(train_metric(&s, "found", &run), train_metric(&s, "spread", &run), 1e-12);
  spec_close(&s);
}

/* ---- a spike and a slab ---------------------------------------------------------------------------------------- */

static const char spikes[] =
    "model m; dim K = 5; data x : unit[4]; latent z : real[K]; param alpha : unit init 0.2;\n"
    "prior z ~ spike_slab(alpha, 0, 1);\n"
    "encoder q(x) { w = clip(sigmoid(dense(x, K)), 1e-6, 1 - 1e-6); m = dense(x, K); s = exp(dense(x, K)); }\n"
    "posterior z ~ spike_slab(q.w, q.m, q.s) by relaxed(%s);\n"
    "likelihood x ~ normal(dense(z, 4), 1); objective elbo(kl = closed);\n"
    "metric zeros = mean(z == 0); metric closed = mean(1 - q.w);\n"
    "metric charge = sum(q.w * (-log(q.s) + 0.5 * (q.s^2 + q.m^2 - 1) + log(q.w / alpha))\n"
    "                    + (1 - q.w) * log((1 - q.w) / (1 - alpha)));\n";

static void spike_is_exact(const char *options) {
  char text[1500];
  snprintf(text, sizeof text, spikes, options);
  Spec s = spec_right(text);
  Run run = bits_run();
  cr_expect(train_metric(&s, "zeros", &run) == 0);
  double zeros = spec_metric(&s, "zeros", &run), expected = spec_metric(&s, "closed", &run);
  cr_expect(fabs(zeros - expected) < 4.5 * 0.5 / sqrt(300 * 5), "%g zeros, %g expected", zeros, expected);
  cr_expect_float_eq(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "kl(z)", &run), train_metric(&s, "charge", &run),
                     1e-10);
  /* the weight of the prior's slab is learned */
  cr_expect(fabs(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "alpha", &run)) > 1e-3);
  spec_close(&s);
}

Test(relaxed, spike_and_slab) {
  spike_is_exact("steepness = 50 + 0.1 * epoch");
  spike_is_exact("temperature = 0.5");
  spike_is_exact("temperature = 0.5, straight_through = false");
}

/* ---- integers -------------------------------------------------------------------------------------------------- */

Test(relaxed, an_integer_is_a_number_and_a_one_hot_vector) {
  Spec s = spec_right(
      "model m; dim L = 4; data x : real[2]; latent n : integer(2, L + 1); param a : real[L] init 0.1;\n"
      "prior n ~ categorical(prob = 1 / L); posterior n ~ categorical(logits = a) by relaxed(temperature = 0.5);\n"
      "likelihood x ~ normal(n * ones(2) + dense(one_hot(n), 2), 1);\n"
      "metric apart = abs(n - dot(one_hot(n), 1 + cumsum(ones(L))));\n"
      "metric whole = n == floor(n) and n >= 2 and n <= 5; metric total = abs(sum(one_hot(n)) - 1);\n"
      "metric size = n; metric number = index(one_hot(n));\n");
  Run run = {.rows = 4000};
  cr_expect(train_metric(&s, "apart", &run) < 1e-12 && train_metric(&s, "total", &run) < 1e-12);
  cr_expect(train_metric(&s, "whole", &run) < 0.5);
  cr_expect(spec_metric(&s, "whole", &run) == 1);
  cr_expect_float_eq(spec_metric(&s, "size", &run), 3.5, 5 * sqrt(1.25 / 4000));
  cr_expect_float_eq(spec_metric(&s, "number", &run), spec_metric(&s, "size", &run) - 2, 1e-9);
  const double *code = spec_output(&s, PROGRAM_ENCODE, OUTPUT_ROWS, "n", &run);
  for (int i = 0; i < 100; i++) cr_expect(code[i] >= 2 && code[i] <= 5 && code[i] == floor(code[i]));
  spec_close(&s);
}

Test(relaxed, categorical_likelihood_of_integers) {
  Spec s = spec_right("model m; dim D = 3; data x : integer(0, 2)[D]; param a : real[D, 3] init 0;\n"
                      "likelihood x ~ categorical(logits = a); metric hot = sum(one_hot(x) * a);\n"
                      "metric whole = log_lik(x); draw n : integer(4, 6) ~ categorical(prob = 1 / 3);\n"
                      "metric drawn = abs(n - 4 - index(one_hot(n))) + (n < 4) + (n > 6); metric four = n == 4;\n");
  static const double a[9] = {0.3, -1, 2, 0.5, 0.1, -0.2, 1.5, 0, -3}, x[6] = {2, 0, 1, 0, 1, 2};
  Run run = {.rows = 2, .inputs = {{"a", a}, {"x", x}}};
  double hot = 0, log_lik = 0;
  for (int i = 0; i < 6; i++) {
    const double *row = a + 3 * (i % 3), chosen = row[(int)x[i]];
    hot += chosen / 2;
    log_lik += (chosen - log(exp(row[0]) + exp(row[1]) + exp(row[2]))) / 2;
  }
  cr_expect_float_eq(spec_metric(&s, "hot", &run), hot, 1e-12);
  cr_expect_float_eq(spec_metric(&s, "whole", &run), log_lik, 1e-12);
  cr_expect(spec_metric(&s, "drawn", &run) == 0);
  Run many = {.rows = ROWS, .inputs = {{"a", a}}};
  cr_expect_float_eq(spec_metric(&s, "four", &many), 1.0 / 3, 4.5 * sqrt(2.0 / 9 / ROWS));
  spec_close(&s);
}

/* ---- the ends -------------------------------------------------------------------------------------------------- */

/* Compiled in float, as training runs: logits from -50 to 50 at temperature 0.05. */
static void gradients_are_finite(const char *type, const char *prior, const char *posterior) {
  char text[1500], error[1000];
  bool has_entropy = strncmp(posterior, "hard", 4) != 0 && strncmp(posterior, "gumbel", 6) != 0;
  snprintf(text, sizeof text,
           "model m; dim D = 4; dim K = 21; data x : unit[D]; latent z : %s; prior z ~ %s; param scale : real init 5;"
           "let a = scale * (cumsum(ones(K)) - 11) + 0 * dense(x, K); posterior z ~ %s;"
           "likelihood x ~ bernoulli(logits = dense(z, D)); objective elbo %s;",
           type, prior, posterior, has_entropy ? "+ 0.1 * entropy(z)" : "");
  spm_compiled *c = spm_compile(text, "ends.spm", NULL, 0, error, sizeof error);
  cr_assert(c != NULL, "%s", error);
  float x[4 * 64];
  const float *const data[] = {x};
  for (int i = 0; i < 4 * 64; i++) x[i] = (float)(i % 7) / 7;
  spm_session *session = spm_session_create(c, 64, 1, 1, error, sizeof error);
  for (unsigned step = 0; step < 20; step++) {
    double objective;
    cr_assert(spm_session_gradient(session, data, 64, step, &objective, error, sizeof error) == 0, "%s", error);
    cr_expect(isfinite(objective), "%s: the objective is %g", posterior, objective);
    for (int p = 0; p < spm_tensor_count(c, SPM_PARAMETER_TENSORS); p++) {
      spm_tensor_info info;
      spm_tensor_at(c, SPM_PARAMETER_TENSORS, p, &info);
      long size = 0;
      const float *g = spm_session_gradient_of(session, info.name, &size);
      for (long i = 0; g && i < size; i++)
        cr_expect(isfinite(g[i]), "%s: gradient of %s is %g", posterior, info.name, (double)g[i]);
    }
  }
  spm_session_free(session);
  spm_compiled_free(c);
}

Test(relaxed, gradients_stay_finite_at_the_ends) {
  const char *coin = "bernoulli(prob = 0.5)", *spike = "spike_slab(0.01, 0, 1)", *choice = "categorical(prob = 1 / K)";
  gradients_are_finite("binary[K]", coin, "bernoulli(logits = a) by relaxed(temperature = 0.05)");
  gradients_are_finite("binary[K]", coin,
                       "bernoulli(logits = a) by relaxed(temperature = 0.05, straight_through = true)");
  gradients_are_finite("binary[K]", coin, "bernoulli(prob = sigmoid(a)) by relaxed(temperature = 0.05)");
  gradients_are_finite("category(K)", choice, "categorical(logits = a) by relaxed(temperature = 0.05)");
  gradients_are_finite("category(K)", choice, "categorical(prob = softmax(a)) by relaxed(temperature = 0.05)");
  gradients_are_finite("subset(4)[K]", "gumbel_top_k(logits = 0, size = 4)",
                       "gumbel_top_k(logits = a, size = 4) by relaxed(temperature = 0.05)");
  gradients_are_finite("subset(4)[K]", "gumbel_top_k(logits = 0, size = 4)",
                       "gumbel_top_k(logits = a, size = 4) by relaxed(temperature = 0.05, straight_through = true)");
  gradients_are_finite("subset(4)[K]", "conditional_bernoulli(logits = 0, size = 4)",
                       "conditional_bernoulli(logits = a, size = 4) by relaxed");
  gradients_are_finite("unit[K]", "hard_concrete(logits = -2)", "hard_concrete(logits = a) by relaxed");
  gradients_are_finite("real[K]", spike, "spike_slab(sigmoid(a), a, 1) by relaxed(temperature = 0.05)");
  gradients_are_finite("real[K]", spike, "spike_slab(sigmoid(a), a, 1) by relaxed(steepness = 200)");
}

/* A family of one's own over counts, whose KL is a rule. */
Test(relaxed, counts) {
  Spec s = spec_right(
      "model m; data x : count[2]; latent n : count[3]; prior n ~ geometric(0.3); encoder q(x) { a = dense(x, 3); }\n"
      "posterior n ~ geometric(q.a) by relaxed(temperature = 0.1); likelihood x ~ poisson(softplus(dense(n, 2)));\n"
      "distribution geometric(z : count; logits) {\n  log_pdf = -softplus(-logits) - z * softplus(logits);\n"
      "  sample(u : uniform) = floor(-log(u) / softplus(logits));\n"
      "  relaxed(u : uniform; temperature : positive) = stairs(-log(u) / softplus(logits), temperature);\n}\n"
      "function stairs(v, t) = floor(v + 0.5) - 0.5 + 0.5 * tanh((v - floor(v + 0.5)) / t);\n"
      "rule kl(geometric(a), geometric(b)) = softplus(-b) - softplus(-a) + exp(-a) * (softplus(b) - softplus(a));\n"
      "metric whole = mean(n == floor(n)); metric size = mean(n - exp(-q.a)); metric level = n[0] > 0.5;\n");
  static double x[2 * 2000];
  for (int i = 0; i < 2 * 2000; i++) x[i] = i % 3;
  Run run = {.rows = 2000, .inputs = {{"x", x}}};
  cr_expect(spec_metric(&s, "whole", &run) == 1 && train_metric(&s, "whole", &run) < 0.5);
  cr_expect_float_eq(spec_metric(&s, "size", &run), 0, 0.2);
  cr_expect_float_eq(spec_metric(&s, "level", &run), train_metric(&s, "level", &run), 1e-12);
  spec_close(&s);
}

/* Several samples share nothing but the encoder; the spike is warmed up by a schedule in its weight. */
Test(relaxed, samples_and_a_warm_up) {
  Spec s = spec_right("model m; dim K = 5; data x : unit[4]; latent z : real[K]; prior z ~ spike_slab(0.2, 0, 1);\n"
                      "encoder q(x) { w = sigmoid(dense(x, K)); m = dense(x, K); }\n"
                      "schedule warm = min(1, epoch / 10);\n"
                      "posterior z ~ spike_slab(1 - warm * (1 - q.w), q.m, 0.5) by relaxed(temperature = 0.5);\n"
                      "likelihood x ~ normal(dense(z, 4), 1); objective elbo(samples = 3);\n"
                      "metric zeros = mean(z == 0); metric expected = warm * mean(1 - q.w);\n");
  Run run = bits_run();
  run.epoch = 0;
  cr_expect(spec_metric(&s, "zeros", &run) == 0);
  const double *slope = spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "q.m.dense.W", &run);
  for (int i = 0; i < 20; i++) cr_expect(isfinite(slope[i]) && slope[i] != 0);
  run.epoch = 7;
  cr_expect_float_eq(spec_metric(&s, "zeros", &run), spec_metric(&s, "expected", &run), 4.5 * 0.5 / sqrt(4500));
  cr_expect(fabs(spec_metric(&s, "relaxation_gap", &run)) > 1e-6);
  spec_close(&s);
}

/* ---- hard-concrete gates --------------------------------------------------------------------------------------- */

/* Straight from the density: two atoms, and Simpson's rule in between. */
static double log_sigmoid(double x) { return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x)); }

static double log_gate(double z, double logits) {
  double t = 2.0 / 3, inner = (z + 0.1) / 1.2, tilt = t * log(inner / (1 - inner)) - logits;
  return log(t) + log_sigmoid(tilt) + log_sigmoid(-tilt) - log(inner) - log(1 - inner) - log(1.2);
}

static double gate_kl(double a, double b) {
  enum { N = 20000 };
  double ends = 2.0 / 3 * log(11), sum = 0;
  double kl = exp(log_sigmoid(-a - ends)) * (log_sigmoid(-a - ends) - log_sigmoid(-b - ends));
  kl += exp(log_sigmoid(a - ends)) * (log_sigmoid(a - ends) - log_sigmoid(b - ends));
  for (int i = 0; i <= N; i++) {
    double z = (double)i / N, q = log_gate(z, a);
    sum += (i == 0 || i == N ? 1 : i % 2 ? 4 : 2) * exp(q) * (q - log_gate(z, b));
  }
  return kl + sum / (3 * N);
}

Test(relaxed, kl_of_gates_is_the_integral) {
  static const double pairs[][2] = {{0.4, -1},  {-1, 0.4}, {2, 2},   {0.3, 0.31}, {-3, 1.9}, {-0.2, 0.7},
                                    {1.5, 0.5}, {6, -6},   {-9, 14}, {30, -20},   {0, 1e-4}, {-25, -24.5}};
  Spec s = spec_right("model m; data x : real[1]; param a : real init 0; param b : real init 0;\n"
                      "objective kl(hard_concrete(logits = a), hard_concrete(logits "
                      "= b)) + sum(x);\nmetric k = kl(hard_concrete(logits = a), hard_concrete(logits = b));\n");
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    const double *pair = pairs[i];
    Run run = {.rows = 1, .inputs = {{"a", &pair[0]}, {"b", &pair[1]}}};
    double expected = gate_kl(pair[0], pair[1]), found = spec_metric(&s, "k", &run);
    cr_expect(fabs(found - expected) < 1e-8 * (1 + fabs(expected)), "kl(%g, %g): %.12g, not %.12g", pair[0], pair[1],
              found, expected);
    double step = 1e-4, above = gate_kl(pair[0] + step, pair[1]), below = gate_kl(pair[0] - step, pair[1]);
    double slope = -*spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "a", &run);
    cr_expect(fabs(slope - (above - below) / (2 * step)) < 1e-6 * (1 + fabs(slope)),
              "slope at (%g, %g): %.9g, not %.9g", pair[0], pair[1], slope, (above - below) / (2 * step));
  }
  spec_close(&s);
}

Test(relaxed, gates_have_their_expected_norm) {
  Spec s = spec_right("model m; data x : real[2]; param a : real init -0.8; latent z : unit; prior z ~ "
                      "hard_concrete(logits = 0); posterior z ~ hard_concrete(logits = a) by relaxed;\n"
                      "likelihood x ~ normal(z * ones(2), 1); metric used = z != 0; metric whole = z == 1;\n"
                      "metric norm = hard_concrete_open(a); metric still = hard_concrete_gate(a);\n"
                      "draw g : unit ~ hard_concrete(logits = a); metric drawn = g != 0;\n");
  Run run = {.rows = ROWS};
  double norm = spec_metric(&s, "norm", &run), error = 4.5 * sqrt(norm * (1 - norm) / ROWS);
  cr_expect_float_eq(spec_metric(&s, "used", &run), norm, error);
  cr_expect_float_eq(spec_metric(&s, "drawn", &run), norm, error);
  cr_expect(train_metric(&s, "used", &run) == spec_metric(&s, "used", &run));
  double whole = 1 / (1 + exp(0.8 + 2.0 / 3 * log(11)));
  cr_expect_float_eq(spec_metric(&s, "whole", &run), whole, 4.5 * sqrt(whole / ROWS));
  cr_expect_float_eq(spec_metric(&s, "still", &run), 1.2 / (1 + exp(0.8)) - 0.1, 1e-12);
  cr_expect_float_eq(spec_metric(&s, "relaxation_gap", &run), 0, 1e-12);
  spec_close(&s);
}

/* V[y] of a relaxed category mixes the elements of V: it is the one-hot vector times V. */
Test(relaxed, a_relaxed_category_names_a_mixture) {
#define PICKED(what)                                                                                                   \
  "model m;\ndim D = 5;\ndim C = 4;\ndata x : real[D];\nparam V : real[C, D] init normal(0, 1);\n"                     \
  "latent y : category(C);\nprior y ~ categorical(prob = 1 / C);\n"                                                    \
  "posterior y ~ categorical(logits = dense(x, C)) by relaxed(temperature = 0.7);\nlikelihood x ~ normal(" what        \
  ", 0.5);\n"
  spec_expect_sound(PICKED("V[y]"), 6);
  Spec named = spec_right(PICKED("V[y]")), times = spec_right(PICKED("y @ V"));
  static const double x[5] = {1, -0.5, 0.3, 2, -1};
  const Run run = {.rows = 1, .inputs = {{"x", x}}};
  cr_expect(*spec_output(&named, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run) ==
            *spec_output(&times, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run));
  spec_close(&named);
  spec_close(&times);
}
