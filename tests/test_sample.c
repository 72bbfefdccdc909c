/* The program "sample": latents are drawn from their priors, in the order in which those mention each other, whatever
 * finds them in training; what the model makes of them follows from the same draws. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "spec.h"

enum { ROWS = 20000 };

static Spec sampled(const char *text) {
  const CompileOptions options = {.invent_dims = true, .sampling = true};
  Spec s = spec_text(text, &options);
  char *said = spec_messages(&s);
  cr_assert(s.errors == 0, "%s\n%s", text, said);
  free(said);
  return s;
}

static const double *rows_of(Spec *s, const char *name, const Run *run) {
  return spec_output(s, PROGRAM_SAMPLE, OUTPUT_ROWS, name, run);
}

static double moment(const double *v, int power) {
  double sum = 0;
  for (int i = 0; i < ROWS; i++) sum += pow(v[i], power) / ROWS;
  return sum;
}

/* Fractions within 5 standard errors of half a percent or less. */
static void expect_near(double found, double wanted, const char *what) {
  cr_expect(fabs(found - wanted) < 0.03 * (1 + fabs(wanted)), "%s: %g and not %g", what, found, wanted);
}

/* The posterior of b stands on a and the prior of a on b; posteriors lie far away. */
Test(sample, priors_are_drawn_in_their_own_order) {
  static const double none[ROWS] = {0};
  Spec s = sampled("model m; allow kl_monte_carlo; data x : real; latent a : real; latent b : real;"
                   "prior b ~ laplace(1, 0.5); prior a ~ normal(2 * b, 0.5); posterior a ~ normal(x + 50, 0.1);"
                   "posterior b ~ normal(a + 90, 0.1); likelihood x ~ normal(3 * a - 1, 0.3);");
  const Run run = {.rows = ROWS, .inputs = {{"x", none}}};
  const double *a = rows_of(&s, "a", &run), *b = rows_of(&s, "b", &run), *x = rows_of(&s, "x", &run);
  expect_near(moment(b, 1), 1, "the mean of b");
  expect_near(moment(b, 2), 1 + 0.5, "its square");
  expect_near(moment(a, 1), 2, "the mean of a");
  expect_near(moment(a, 2), 4 * 1.5 + 0.25, "its square");
  for (int i = 0; i < ROWS; i++) cr_assert(fabs(x[i] - (3 * a[i] - 1)) < 1e-12 * (1 + fabs(x[i])));
  spec_close(&s);
}

/* Summed out, relaxed, a point, inferred: in training. */
Test(sample, any_inference_will_do) {
  static const double none[ROWS] = {0};
  Spec s = sampled(
      "model m; data x : real; latent y : category(2); latent n : integer(1, 3); latent g : binary;"
      "latent h : real; latent p : nonnegative; prior y ~ categorical(prob = concat(0.2 * ones(1), 0.8 * ones(1)));"
      "prior n ~ categorical(prob = 1 / 3); prior g ~ bernoulli(prob = 0.3); prior h ~ normal(5 * y[1], 1);"
      "prior p ~ exponential(rate = 2); posterior y ~ sparsemax(dense(expand(x, 1), 2)); posterior p = x^2;"
      "posterior n ~ categorical(logits = dense(expand(x, 1), 3)) by exact;"
      "posterior g ~ bernoulli(logits = x) by relaxed(temperature = 1); posterior h ~ normal(x, 1);"
      "likelihood x ~ normal(h + g + n + p, 1); objective log_lik(x);");
  const Run run = {.rows = ROWS, .inputs = {{"x", none}}};
  expect_near(moment(rows_of(&s, "h", &run), 1), 4, "the mean of h");
  expect_near(moment(rows_of(&s, "h", &run), 2), 0.8 * 25 + 1, "its square");
  expect_near(moment(rows_of(&s, "n", &run), 1), 2, "the mean of n");
  expect_near(moment(rows_of(&s, "n", &run), 2), 14.0 / 3, "its square");
  expect_near(moment(rows_of(&s, "g", &run), 1), 0.3, "the mean of g");
  expect_near(moment(rows_of(&s, "p", &run), 2), 0.5, "the square of p");
  expect_near(moment(rows_of(&s, "x", &run), 1), 4 + 0.3 + 2 + 0.5, "the mean of x");
  spec_close(&s);
  s = sampled("model m; data x : real; latent h : real; prior h ~ normal(2, 1); infer h by langevin(steps = 2);"
              "likelihood x ~ normal(h, 1);");
  expect_near(moment(rows_of(&s, "h", &run), 2), 5, "the square of an inferred one");
  spec_close(&s);
}

/* What is known of data that are latent on some rows stays; a likelihood without a mean is drawn from. */
Test(sample, known_values_and_draws_of_data) {
  static double y[ROWS], x[ROWS];
  for (int i = 0; i < ROWS; i++) y[i] = i % 2 ? 7 : (double)NAN;
  Spec s = sampled("model m; data x : real; data y : real missing_ok; prior y ~ normal(0, 1);"
                   "posterior y ~ normal(x, 1); likelihood x ~ drawn(y);"
                   "distribution drawn(v : real; m) { log_pdf = -0.5 * (v - m)^2 - 0.5 * log(2 * pi);"
                   "  sample(e : standard_normal) = m + e; }");
  const Run run = {.rows = ROWS, .inputs = {{"x", x}, {"y", y}}};
  const double *latent = rows_of(&s, "y", &run), *made = rows_of(&s, "x", &run);
  double off = 0;
  for (int i = 1; i < ROWS; i += 2) cr_assert(latent[i] == 7);
  for (int i = 0; i < ROWS; i++) off += pow(made[i] - latent[i], 2) / ROWS;
  expect_near(off, 1, "the noise of x");
  expect_near(moment(latent, 2), (49 + 1) / 2.0, "the square of y");
  spec_close(&s);
}

/* One component for the whole vector, or one for each element. */
Test(sample, mixtures_along_a_dim) {
  static const double none[ROWS] = {0};
  const char *components[] = {"joint(normal(m, 0.1), over = K)", "normal(m, 0.1)"};
  for (int i = 0; i < 2; i++) {
    char text[600];
    snprintf(text, sizeof text,
             "model m; allow kl_monte_carlo; dim K = 2; dim C = 3; data x : real; latent z : real[K];"
             "param w : simplex(C) fixed init concat(concat(0.2 * ones(1), 0.5 * ones(1)), 0.3 * ones(1));"
             "param m : real[C, K] fixed init 0; prior z ~ mixture(w: %s, over = C);"
             "posterior z ~ normal(expand(x, K), 1); likelihood x ~ normal(sum(z), 1);",
             components[i]);
    Spec s = sampled(text);
    static const double centres[6] = {-4, 1, 0, 2, 5, 3};
    const Run run = {.rows = ROWS, .inputs = {{"x", none}, {"m", centres}}};
    const double *z = rows_of(&s, "z", &run);
    double shares[3][3] = {{0}};
    for (int row = 0; row < ROWS; row++) {
      int which[2] = {-1, -1};
      for (int k = 0; k < 2; k++)
        for (int c = 0; c < 3; c++)
          if (fabs(z[2 * row + k] - centres[2 * c + k]) < 0.5) which[k] = c;
      cr_assert(which[0] >= 0 && which[1] >= 0, "%g, %g", z[2 * row], z[2 * row + 1]);
      shares[which[0]][which[1]] += 1.0 / ROWS;
    }
    const double weights[3] = {0.2, 0.5, 0.3};
    for (int a = 0; a < 3; a++)
      for (int b = 0; b < 3; b++)
        expect_near(shares[a][b], i == 0 ? (a == b ? weights[a] : 0) : weights[a] * weights[b], components[i]);
    spec_close(&s);
  }
}

/* Nobody else pays for it. */
Test(sample, is_made_on_demand) {
  Spec s = spec_right("model m; data x : real; latent a : real; prior a ~ normal(0, 1); posterior a ~ normal(x, 1);"
                      "likelihood x ~ normal(a, 1);");
  cr_expect(model_graph(s.model, PROGRAM_SAMPLE) == NULL);
  spec_close(&s);
}
