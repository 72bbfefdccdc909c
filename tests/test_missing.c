/* Data that may be missing: the semi-supervised objective against sums written out by hand, all observed and all
 * missing against the models that say so, entries that drop against a marginal in closed form, and gradients that no
 * NaN reaches. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "spec.h"

static const double pixels[] = {1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 1, 0};
static const double labels[] = {0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 0};
static const double second_and_last[] = {0, 1, 0, 1}; /* rows that have labels */

/* The labels of some rows. */
static const double *labels_where(const double *seen) {
  static double out[12];
  for (int i = 0; i < 12; i++) out[i] = !seen || seen[i / 3] == 0 ? (double)NAN : labels[i];
  return out;
}

#define WEIGHTS                                                                                                        \
  "param r : real[3] init normal(0, 1); param s : real[3, 6] init normal(0, 1); param w : real[6, 3] init normal(0, "  \
  "1);"
#define PARTLY(posterior)                                                                                              \
  "model p; data x : binary[6]; data y : category(3) missing_ok;" WEIGHTS "prior y ~ categorical(logits = r);"         \
  "posterior y ~ " posterior "; likelihood x ~ bernoulli(logits = w @ y);"

static double metric_of(const char *text, const char *metric, const double *y, const double *seen) {
  Spec s = spec_right(text);
  Run run = {.rows = 4, .inputs = {{"x", pixels}, {"y", y}, {"seen", seen}}};
  double value = spec_metric(&s, metric, &run);
  spec_close(&s);
  return value;
}

static void expect_equal(double found, double wanted, const char *what) {
  cr_expect(fabs(found - wanted) < 1e-12 * (1 + fabs(wanted)), "%s: %.17g, not %.17g", what, found, wanted);
}

static const char *const posteriors[] = {PARTLY("categorical(logits = s @ x) by exact"), PARTLY("softmax(s @ x)"),
                                         PARTLY("sparsemax(s @ x)")};
static const char *const without[] = {
    "model u; data x : binary[6]; latent y : category(3);" WEIGHTS "prior y ~ categorical(logits = r);"
    "posterior y ~ categorical(logits = s @ x) by exact; likelihood x ~ bernoulli(logits = w @ y);",
    "model u; data x : binary[6]; latent y : category(3);" WEIGHTS "prior y ~ categorical(logits = r);"
    "posterior y ~ softmax(s @ x); likelihood x ~ bernoulli(logits = w @ y);",
    "model u; data x : binary[6]; latent y : category(3);" WEIGHTS "prior y ~ categorical(logits = r);"
    "posterior y ~ sparsemax(s @ x); likelihood x ~ bernoulli(logits = w @ y);"};

Test(missing, all_missing_is_the_model_with_a_latent) {
  for (int i = 0; i < 3; i++)
    expect_equal(metric_of(posteriors[i], "elbo", labels_where(NULL), NULL), metric_of(without[i], "elbo", NULL, NULL),
                 posteriors[i]);
}

Test(missing, all_observed_is_the_supervised_model) {
  static const char supervised[] =
      "model v; data x : binary[6]; data y : category(3); param r : real[3] init normal(0, 1);"
      "param w : real[6, 3] init normal(0, 1);"
      "likelihood y ~ categorical(logits = r); likelihood x ~ bernoulli(logits = w @ y); objective elbo;";
  for (int i = 0; i < 3; i++)
    expect_equal(metric_of(posteriors[i], "elbo", labels, NULL), metric_of(supervised, "elbo", labels, NULL),
                 posteriors[i]);
}

/* q is the posterior of the rows without a label; l has log p(x | y) of each y. */
#define BY_HAND(posterior)                                                                                             \
  "model h; data x : binary[6]; data y : category(3); data seen : binary;" WEIGHTS                                     \
  "let l = w' @ x - sum(softplus(w'), over = 6); let q = " posterior ";"                                               \
  "let charge = q > 0 ? q * (log(q) - log_softmax(r)) : 0;"                                                            \
  "metric by_hand = seen ? dot(y, l + log_softmax(r)) : sum(q * l - charge); minimize sum(x);"

Test(missing, some_rows_are_labelled) {
  static const char *const by_hand[] = {BY_HAND("softmax(s @ x)"), BY_HAND("softmax(s @ x)"),
                                        BY_HAND("sparsemax(s @ x)")};
  for (int i = 0; i < 3; i++)
    expect_equal(metric_of(posteriors[i], "elbo", labels_where(second_and_last), NULL),
                 metric_of(by_hand[i], "by_hand", labels, second_and_last), posteriors[i]);
}

/* Where the value is known: kl is -log p, the entropy 0, log_post that of the declared posterior. */
Test(missing, words_of_an_observed_row) {
  static const char words[] = PARTLY("softmax(s @ x)") "objective elbo + (observed(y) ? log_post(y) : 0);"
                                                       "metric charge = kl(y) + log_prior(y); metric spread = "
                                                       "entropy(y); metric declared = log_post(y);"
                                                       "metric same = dot(y, log_softmax(s @ x)); metric size = "
                                                       "support_size(y); metric share = observed(y);";
  expect_equal(metric_of(words, "charge", labels, NULL), 0, "kl(y) + log_prior(y)");
  expect_equal(metric_of(words, "spread", labels, NULL), 0, "entropy(y)");
  expect_equal(metric_of(words, "size", labels, NULL), 1, "support_size(y)");
  expect_equal(metric_of(words, "size", labels_where(second_and_last), NULL), 2, "support_size(y)");
  expect_equal(metric_of(words, "share", labels_where(second_and_last), NULL), 0.5, "observed(y)");
  expect_equal(metric_of(words, "declared", labels, NULL), metric_of(words, "same", labels, NULL), "log_post(y)");
}

/* A metric is over the rows that have what it mentions, directly or by a let, hidden from inference or not. */
Test(missing, metrics_skip_rows_without_a_value) {
#define METRICS                                                                                                        \
  PARTLY("softmax(s @ x)")                                                                                             \
  "objective elbo; let right = argmax(s @ x) == index(y); metric accuracy = argmax(s @ x) == index(y);"                \
  "metric by_let = right; metric size = support_size(y);"
  static const char *const specs[] = {METRICS, METRICS "evaluate { hide = y; }"};
  static const char plain[] = "model h; data x : binary[6]; data y : category(3); data seen : binary;" WEIGHTS
                              "metric accuracy = seen ? argmax(s @ x) == index(y) : 0; minimize sum(x);";
  double wanted = metric_of(plain, "accuracy", labels, second_and_last);
  for (int i = 0; i < 2; i++) {
    Spec s = spec_right(specs[i]);
    Run run = {.rows = 4, .inputs = {{"x", pixels}, {"y", labels_where(second_and_last)}}};
    expect_equal(spec_metric(&s, "accuracy", &run), wanted, "the part of the accuracy");
    expect_equal(spec_metric(&s, "by_let", &run), wanted, "the part by a let");
    expect_equal(*spec_output(&s, PROGRAM_EVALUATE, OUTPUT_SHARE, "accuracy", &run), 0.5, "the share of rows");
    cr_expect(spec_find_output(&s, PROGRAM_EVALUATE, OUTPUT_SHARE, "size") == NULL);
    expect_equal(spec_metric(&s, "size", &run), i == 0 ? 2 : 3, "the support");
    spec_close(&s);
  }
}

Test(missing, hidden_values_are_inferred) {
  static const char spec[] = PARTLY("softmax(s @ x)") "evaluate { hide = y; }";
  expect_equal(metric_of(spec, "elbo", labels, NULL), metric_of(posteriors[1], "elbo", labels_where(NULL), NULL),
               "the ELBO");
}

/* log p(x_observed) of x = w z + noise, z normal: log_weight is it at every draw, the posterior being exact. */
Test(missing, entries_drop_from_a_likelihood) {
  static const char spec[] =
      "model g; dim D = 6; data x : real[D] missing_ok; latent z : real; param w : real[D] init normal(0, 1);"
      "let seen = observed(x) ? x : 0; let used = w * observed(x); let precision = 1 + sum(used^2) / 0.25;"
      "prior z ~ normal(0, 1); posterior z ~ normal(dot(used, seen) / 0.25 / precision, 1 / sqrt(precision));"
      "likelihood x ~ normal(w * z, 0.5); objective elbo; metric exact = log_weight;";
  double x[12];
  for (int i = 0; i < 12; i++) x[i] = i % 5 == 1 || i == 2 ? (double)NAN : sin(3 * i);
  Spec s = spec_right(spec);
  Run run = {.rows = 2, .inputs = {{"x", x}}};
  const double *w = spec_initial(&s, "w");
  double wanted = 0, pi = acos(-1);
  for (int r = 0; r < 2; r++) { /* covariance w w' + I / 4 by Sherman and Morrison */
    double ww = 0, wx = 0, xx = 0;
    int n = 0;
    for (int d = 0; d < 6; d++) {
      double v = x[6 * r + d];
      if (isnan(v)) continue;
      n++, ww += w[d] * w[d], wx += w[d] * v, xx += v * v;
    }
    double square = 4 * xx - 16 * wx * wx / (1 + 4 * ww), determinant = n * log(0.25) + log(1 + 4 * ww);
    wanted -= (n * log(2 * pi) + determinant + square) / 2 / 2;
  }
  expect_equal(spec_metric(&s, "exact", &run), wanted, "log p(x)");
  spec_close(&s);
}

/* Gradients against differences, and compiled code against the interpreter; every third value is missing. */
static void expect_sound(const char *text) { spec_expect_sound(text, 12); }

Test(missing, gradients_of_a_latent_nested_under_labels) {
  expect_sound("model n; dim D = 6; dim C = 3; data x : binary[D]; data y : category(C) missing_ok; latent h : real[2];"
               "prior y ~ categorical(prob = 1 / C); prior h ~ normal(0, 1); network class(x) { s = dense(x, C); }"
               "encoder q(x, y) { t = tanh(dense(concat(x, y), 5)); mu = dense(t, 2); }"
               "posterior y ~ sparsemax(class.s); posterior h ~ normal(q.mu, 0.5);"
               "decoder p(h, y) { logits = dense(tanh(dense(concat(h, y), 5)), D); }"
               "likelihood x ~ bernoulli(logits = p.logits);"
               "objective elbo - (observed(y) ? sparsemax_loss(class.s, y) : 0);");
}

/* One type after the other, element by element, found by every method there is. */
Test(missing, gradients_of_every_type) {
  expect_sound(
      "model k; dim D = 4; data x : real[D]; data a : category(3)[2] missing_ok; data b : binary[3] missing_ok;"
      "data c : integer(2, 5) missing_ok; data r : real[2] missing_ok; data g : category(4) missing_ok;"
      "data f : positive[2] missing_ok; data n : count[2] missing_ok;"
      "prior a ~ categorical(prob = 1 / 3); prior b ~ bernoulli(prob = 0.3); prior c ~ categorical(prob = 1 / 4);"
      "prior r ~ laplace(0, 1); prior g ~ categorical(prob = 1 / 4);"
      "encoder q(x) { t = tanh(dense(x, 6)); a = reshape(dense(t, 6), [2, 3]); b = dense(t, 3); c = dense(t, 4);"
      "  r = dense(t, 2); g = dense(t, 4); }"
      "posterior a ~ categorical(logits = q.a) by exact; posterior b ~ bernoulli(logits = q.b) by relaxed(temperature "
      "= 0.7);"
      "posterior c ~ categorical(logits = q.c) by exact; posterior r ~ normal(q.r, 0.7);"
      "posterior g ~ categorical(logits = q.g) by relaxed(temperature = 0.5);"
      "decoder p(a, b, c, r, g) { mu = dense(tanh(dense(concat(flatten(a), b, r, g, one_hot(c)), 8)), D);"
      "  f = dense(r, 2); }"
      "likelihood x ~ normal(p.mu, 1); likelihood f ~ gamma(shape = 2, rate = exp(p.f));"
      "likelihood n ~ poisson(exp(p.f));"
      "objective elbo + sum(entropy(b)) + 0.1 * entropy(r) + (observed(g) ? entmax_loss(q.g, g) : 0);"
      "metric which = index(g); metric number = c; metric sum_of_r = sum(r);");
}

/* sparsemax of 1.2, 0.9, -3 is 0.65, 0.35, 0; both losses are 0 where the right score leads by enough. */
Test(missing, sparse_losses) {
  static const char spec[] =
      "model l; data x : binary[6]; param s : real[3] fixed init concat(concat(1.2 * ones(1), 0.9 * ones(1)), -3 * "
      "ones(1)); minimize sum(x);"
      "let second = concat(concat(zeros(1), ones(1)), zeros(1)); let first = one(0, 3);"
      "metric loss = sparsemax_loss(s, second); metric none = sparsemax_loss(2 * first, first);"
      "metric soft = entmax_loss(4 * first, first); metric more = entmax_loss(s, second);"
      "function one(i, n : dim) = concat(ones(1), zeros(n - 1));";
  expect_equal(metric_of(spec, "loss", NULL, NULL), (1 - 0.65 * 0.65 - 0.35 * 0.35) / 2 + 0.65 * 1.2 + (0.35 - 1) * 0.9,
               "the loss");
  expect_equal(metric_of(spec, "none", NULL, NULL), 0, "no loss");
  expect_equal(metric_of(spec, "soft", NULL, NULL), 0, "no loss of entmax");
  cr_expect(metric_of(spec, "more", NULL, NULL) > 0);
}

/* Where all values are known nothing is drawn or summed: whatever finds them otherwise has no gradient, and the ELBO is
 * that of the supervised model. */
Test(missing, nothing_is_inferred_where_all_is_known) {
  static const char *const methods[] = {
      PARTLY("categorical(logits = s @ x) by exact"),
      PARTLY("sparsemax(s @ x / 10)"),
      PARTLY("categorical(logits = s @ x) by relaxed(temperature = 0.5)"),
      PARTLY("categorical(logits = s @ x) by score_function(baseline = running_mean)"),
      PARTLY("categorical(logits = s @ x) by score_function(baseline = self_critic)"),
      PARTLY("categorical(logits = s @ x) by sum_and_sample(k = 1)"),
  };
  double wanted = metric_of(posteriors[0], "elbo", labels, NULL);
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    Spec s = spec_right(methods[i]);
    Run run = {.rows = 4, .inputs = {{"x", pixels}, {"y", labels}}};
    expect_equal(spec_metric(&s, "elbo", &run), wanted, methods[i]);
    const double *gradient = spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "s", &run);
    for (int k = 0; k < 18; k++) cr_expect(gradient[k] == 0, "%s: %g", methods[i], gradient[k]);
    run.inputs[1].values = labels_where(second_and_last);
    gradient = spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "s", &run);
    double size = 0;
    for (int k = 0; k < 18; k++) size += fabs(gradient[k]);
    cr_expect(isfinite(size) && size > 0, "%s: %g", methods[i], size);
    spec_close(&s);
  }
}

/* A condition speaks of the entries that it has asked for, in the branch that it has chosen. */
Test(missing, conditions_speak_of_the_same_entries) {
  static const char *const right[] = {"sum(observed(x) ? x : 0)",
                                      "sum(not observed(x) ? 0 : x)",
                                      "observed(x)[1] ? x[1]^2 : 0",
                                      "sum(observed(x)[1 .. 3] ? x[1 .. 3] : 0)",
                                      "sum(reshape(observed(x), [2, 2])' ? reshape(x, [2, 2])' : 0)",
                                      "sum(reshape(observed(x), [2, 2])[1] ? x[2 .. 4] : 0)",
                                      "sum(observed(x) and observed(y) ? x * index(y) : 0)",
                                      "sum(observed(y) ? w @ y' : 0)",
                                      "observed(y)[2] ? w @ y[2] : 0",
                                      "sum(observed(x)) == D ? sum(x) : 0",
                                      "sum(observed(c) ? w * c : 0)",
                                      "observed(c) ? log_softmax(w) @ c : 0",
                                      "sum(observed(x) > 0 ? x : 0)",
                                      "sum(observed(x) == 0 ? 0 : x)",
                                      "sum(1 - observed(x) ? 0 : x)",
                                      "sum(observed(x) != 0 and w[0] > 0 ? x : 0)",
                                      "sum(observed(x) + observed(y) == 2 ? x * index(y) : 0)",
                                      "sum((observed(x) ? w[0] : 0) ? x : 0)",
                                      "sum(observed(x)) < D ? 0 : sum(x)",
                                      "sum(observed(x)) == D ? x[1]^2 : 0",
                                      "min(observed(x)) ? max(x) : 0",
                                      "dot(observed(x), ones(D)) > D - 1 ? dot(x, ones(D)) : 0",
                                      "sum(min(g, over = D) ? sum(v, over = D) : 0)"};
  static const char *const wrong[] = {"observed(x)[0] ? x[1]^2 : 0",
                                      "sum(observed(x)[0 .. 2] ? x[2 .. 4] : 0)",
                                      "sum(observed(x) ? 0 : x)",
                                      "sum(reshape(observed(x), [2, 2]) ? reshape(x, [2, 2])' : 0)",
                                      "sum(observed(x) or observed(y) ? x : 0)",
                                      "sum(observed(y) ? x : 0)",
                                      "sum(observed(y)[0 .. 2] ? w @ y[1 .. 3]' : 0)",
                                      "observed(x)[0] ? sum(x) : 0",
                                      "sum(observed(x) ? x - mean(x, over = batch) : 0)",
                                      "sum(observed(x)) == D ? sum(mean(x, over = batch)) : 0",
                                      "sum(observed(x) ? cumsum(x) : 0)",
                                      "sum(expand(observed(x)[0], D) ? x : 0)",
                                      "sum(observed(x) == 0 ? x : 0)",
                                      "sum(1 - observed(x) ? x : 0)",
                                      "sum(observed(x) < 1 ? x : 0)",
                                      "sum(observed(x) >= 0 ? x : 0)",
                                      "sum(observed(x) + w[0] ? x : 0)",
                                      "sum(observed(x) + observed(y) > 0 ? x : 0)",
                                      "sum((observed(x) ? 0 : w[0]) ? x : 0)",
                                      "sum(observed(x)) > 0 ? sum(x) : 0",
                                      "sum(observed(x)) == 0 ? x[1]^2 : 0",
                                      "sum(observed(x)[0 .. 2]) == 2 ? sum(x) : 0",
                                      "max(observed(x)) ? max(x) : 0",
                                      "sum(min(g, over = D)[0 .. 2] ? sum(v, over = D)[1 .. 3] : 0)"};
  enum { RIGHT = sizeof right / sizeof *right, WRONG = sizeof wrong / sizeof *wrong };
  for (int i = 0; i < RIGHT + WRONG; i++) {
    char text[600];
    const char *e = i < RIGHT ? right[i] : wrong[i - RIGHT];
    snprintf(text, sizeof text,
             "model c; dim D = 4; data x : real[D] missing_ok; data y : category(3)[D] missing_ok;"
             "dim C = 4; data c : category(3) missing_ok; data v : real[C, D] missing_ok; let g = observed(v);"
             "param w : real[3] init 1; minimize sum(w) + (%s);",
             e);
    Spec s = spec_text(text, NULL);
    char *said = spec_messages(&s);
    cr_expect(i < RIGHT ? s.errors == 0 : s.errors == 1 && spec_says(&s, "missing"), "%s\n%s", e, said);
    free(said);
    spec_close(&s);
  }
}
