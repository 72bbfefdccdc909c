/* Closed expectations under Gaussian posteriors: the entropy ELBO is the standard one at its optimal noise and scales,
 * closed forms agree with draws, the built-in word with what it stands for, and any number of tiles gives the same. */
#include "reference_driver.h"
#include "spec.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 7, D = 4, K = 3 };

static double random_number(unsigned *state) { /* between -1 and 1 */
  *state = *state * 1664525u + 1013904223u;
  return (double)(*state >> 8) / (1 << 23) - 1;
}

typedef struct Values {
  double x[ROWS * D], w[D * K], nu[ROWS * K], tau[ROWS * K], t[ROWS * K * K];
} Values;

/* tau and t are raw: any number. */
static Values *make_values(unsigned seed) {
  Values *v = calloc(1, sizeof *v);
  for (int i = 0; i < ROWS * D; i++) v->x[i] = random_number(&seed);
  for (int i = 0; i < D * K; i++) v->w[i] = random_number(&seed);
  for (int i = 0; i < ROWS * K; i++) v->nu[i] = random_number(&seed);
  for (int i = 0; i < ROWS * K; i++) v->tau[i] = random_number(&seed);
  for (int i = 0; i < ROWS * K * K; i++) v->t[i] = 0.3 * random_number(&seed) + (i / K % K == i % K);
  return v;
}

static const char head[] = "model m;  dim D = 4;  dim K = 3;  allow kl_monte_carlo;\n"
                           "data x : real[D];  latent z : real[K];\n"
                           "param W : real[D, K] init normal(0, 1);\n";
static const char solved[] = "param noise : positive solved;  param scale : positive[K] solved;\n";
static const char diagonal[] = "local nu : real[K] init 0;  local tau : positive[K] init 1;\n"
                               "posterior z ~ normal(nu, tau);\n";
static const char low_rank[] =
    "local nu : real[K] init 0;  local f : real[K, 2] init 0.1;  local tau : positive[K] init 1;\n"
    "posterior z ~ normal(nu, factor = f, diagonal = tau);\n";
static const char full[] = "local nu : real[K] init 0;  local t : lower_triangular[K, K] init identity(K);\n"
                           "posterior z ~ normal(nu, cholesky = t);\n";

static Spec spec_of(const char *a, const char *b, const char *c, const char *rest) {
  char text[4096];
  snprintf(text, sizeof text, "%s%s%s%s", a, b, c, rest);
  return spec_right(text);
}

static Run run_of(const Values *v) {
  return (Run){.rows = ROWS,
               .inputs = {{"x", v->x}, {"W", v->w}, {"nu", v->nu}, {"tau", v->tau}, {"t", v->t}, {"f", v->t}}};
}

static double objective(Spec *s, ProgramKind program, const Run *run) {
  return spec_output(s, program, OUTPUT_OBJECTIVE, "objective", run)[0];
}

static int objective_output(Spec *s, ProgramKind program) {
  return (int)(spec_find_output(s, program, OUTPUT_OBJECTIVE, "objective") - model_graph(s->model, program)->outputs);
}

/* The same inputs with solved params where "solve" finds them. */
static Run solved_run(Spec *s, const Run *run) {
  Run at = *run;
  int used = 0;
  while (at.inputs[used].name) used++;
  const Signature *signature = model_signature(s->model);
  for (int p = 0; p < signature->parameter_count; p++)
    if (signature->parameters[p].solved)
      at.inputs[used++] = (Input){signature->parameters[p].name,
                                  spec_output(s, PROGRAM_SOLVE, OUTPUT_SOLVED, signature->parameters[p].name, run)};
  return at;
}

static void expect_close(double a, double b, double tolerance, const char *what) {
  cr_expect(fabs(a - b) <= tolerance * (1 + fabs(b)), "%s: %.17g, not %.17g", what, a, b);
}

/* In training the sum of entropies; at evaluation, with the optimum over the same rows, the standard ELBO. */
static void expect_envelope(Spec *s, const Values *v, const char *what) {
  Run run = run_of(v), at = solved_run(s, &run);
  double entropies = objective(s, PROGRAM_TRAIN, &run);
  expect_close(objective(s, PROGRAM_EVALUATE, &at), entropies, 1e-12, what);
  expect_close(spec_output(s, PROGRAM_TRAIN, OUTPUT_METRIC, "elbo", &run)[0], entropies, 1e-12, what);
  /* Any other noise and scales are worse. */
  for (int i = 0; at.inputs[i].name; i++) {
    if (strcmp(at.inputs[i].name, "noise") != 0 && strcmp(at.inputs[i].name, "scale") != 0) continue;
    const double *optimum = at.inputs[i].values;
    for (double factor = 0.9; factor < 1.2; factor += 0.2) {
      double other[K] = {optimum[0] * factor, optimum[strcmp(at.inputs[i].name, "scale") ? 0 : 1]};
      if (strcmp(at.inputs[i].name, "scale") == 0) other[2] = optimum[2];
      at.inputs[i].values = other;
      cr_expect(objective(s, PROGRAM_EVALUATE, &at) < entropies - 1e-6, "%s: %s times %g", what, at.inputs[i].name,
                factor);
    }
    at.inputs[i].values = optimum;
  }
}

Test(entropy, entropy_elbo_is_the_elbo_at_its_optimum) {
  static const struct {
    const char *what, *posterior, *rest;
  } cases[] = {
      {"diagonal", diagonal, "prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z, noise);"},
      {"low rank", low_rank, "prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z, noise);"},
      {"full", full, "prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z, noise);"},
      {"normal prior", diagonal, "prior z ~ normal(0, scale);  likelihood x ~ normal(W @ z, noise);"},
      {"normal prior, full", full, "prior z ~ normal(0, scale);  likelihood x ~ normal(W @ z, noise);"},
      {"bias", full,
       "param b : real[D] init 0.3;  prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z + b, noise);"},
      {"affine network", diagonal,
       "decoder p(z) { h = dense(2 * z - 1, 5);  y = dense(h, D); }\n"
       "prior z ~ laplace(0, scale);  likelihood x ~ normal(p.y + W @ (z / 3), noise);"},
      {"gain of the datum", diagonal,
       "prior z ~ laplace(0, scale);\n"
       "likelihood x ~ normal(exp(x) * (W @ z) + cumsum(reshape(concat(-z, 2 * z[0 .. 1]), [D])), noise);"},
  };
  Values *v = make_values(3);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char rest[1024];
    snprintf(rest, sizeof rest, "%s objective entropy_elbo;", cases[i].rest);
    Spec s = spec_of(head, solved, cases[i].posterior, rest);
    expect_envelope(&s, v, cases[i].what);
    spec_close(&s);
  }
  free(v);
}

/* Compiled for float, where each program sums in an order of its own. */
Test(entropy, the_envelope_in_float) {
  static const char *const posteriors[] = {diagonal, full};
  char message[1024];
  Values *v = make_values(29);
  for (int i = 0; i < 2; i++) {
    Spec s = spec_of(head, solved, posteriors[i],
                     "prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z, noise);  objective entropy_elbo;");
    Jit *jit = compile_jit(s.model, false, message, sizeof message);
    cr_assert(jit != NULL, "%s", message);
    const Signature *signature = model_signature(s.model);
    const Graph *solve = model_graph(s.model, PROGRAM_SOLVE);
    const double *parameters[4] = {0}, *data[1] = {v->x}, *rows[2] = {v->nu, i == 0 ? v->tau : v->t},
                 ones[K] = {1, 1, 1};
    for (int p = 0; p < signature->parameter_count; p++)
      parameters[p] = strcmp(signature->parameters[p].name, "W") == 0 ? v->w : ones;
    Bindings b = {
        .rows = ROWS, .parameters = parameters, .data = data, .row_states = rows, .settings = {0, 0, ROWS, ROWS}};
    Outputs entropies = reference_run_f(jit_model(jit), "train", signature, &b, ROWS, false),
            optimum = reference_run_f(jit_model(jit), "solve", signature, &b, ROWS, false);
    for (int o = 0; o < solve->output_count; o++)
      if (solve->outputs[o].role == OUTPUT_SOLVED) parameters[solve->outputs[o].index] = optimum.values[o];
    Outputs elbo = reference_run_f(jit_model(jit), "evaluate", signature, &b, ROWS, false);
    double sum = entropies.values[objective_output(&s, PROGRAM_TRAIN)][0];
    expect_close(elbo.values[objective_output(&s, PROGRAM_EVALUATE)][0], sum, 1e-5, "float");
    Run run = run_of(v);
    expect_close(sum, objective(&s, PROGRAM_TRAIN, &run), 1e-5, "float beside double");
    outputs_free(&elbo);
    outputs_free(&optimum);
    outputs_free(&entropies);
    jit_destroy(jit);
    spec_close(&s);
  }
  free(v);
}

/* By hand from the definitions (a Laplace prior, full covariance). */
Test(entropy, the_sum_of_entropies_by_hand) {
  Values *v = make_values(5);
  Spec s = spec_of(head, solved, full,
                   "prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z, noise);  objective entropy_elbo;");
  double residual = 0, scale[K] = {0}, entropy = 0;
  for (int n = 0; n < ROWS; n++) {
    for (int d = 0; d < D; d++) {
      double f = 0;
      for (int k = 0; k < K; k++) f += v->w[d * K + k] * v->nu[n * K + k];
      residual += pow(v->x[n * D + d] - f, 2);
      for (int j = 0; j < K; j++) { /* (W t)[d, j]^2 */
        double wt = 0;
        for (int k = j; k < K; k++) wt += v->w[d * K + k] * v->t[n * K * K + k * K + j];
        residual += wt * wt;
      }
    }
    for (int k = 0; k < K; k++) {
      double variance = 0, m = v->nu[n * K + k];
      for (int j = 0; j <= k; j++) variance += pow(v->t[n * K * K + k * K + j], 2);
      double sd = sqrt(variance);
      scale[k] += (sqrt(2 / M_PI) * sd * exp(-m * m / (2 * variance)) + m * erf(m / (sqrt(2) * sd))) / ROWS;
      entropy += (0.5 * log(2 * M_PI * M_E) + log(fabs(v->t[n * K * K + k * K + k]))) / ROWS;
    }
  }
  double expected = entropy - 0.5 * D * log(2 * M_PI * M_E * residual / (ROWS * D));
  for (int k = 0; k < K; k++) expected -= log(2 * M_E * scale[k]);
  Run run = run_of(v);
  expect_close(objective(&s, PROGRAM_TRAIN, &run), expected, 1e-12, "by hand");
  spec_close(&s);
  free(v);
}

Test(entropy, mean_of_the_folded_normal) {
  Spec s = spec_right("model m;  data x : real;  minimize x^2;\n"
                      "metric a = folded_mean(0, 1);  metric b = folded_mean(0.3, 0.5);\n"
                      "metric c = folded_mean(-2, 0.7);  metric d = folded_mean(5, 0.1);");
  const double expected[] = {0.79788456080, 0.46867273224, 2.00087827134, 5};
  for (int i = 0; i < 4; i++) {
    char name[2] = {(char)('a' + i), 0};
    cr_expect(fabs(spec_metric(&s, name, NULL) - expected[i]) < 1e-10);
  }
  spec_close(&s);
}

/* Two latents and a shared scale; the closed log-likelihood against many draws. */
Test(entropy, closed_log_lik_agrees_with_draws) {
  static const char model[] = "model m;  dim D = 4;  dim K = 3;  dim G = 2;  allow kl_monte_carlo;\n"
                              "data x : real[D];  latent z : real[K];  latent u : real[G];\n"
                              "param W : real[D, K] init normal(0, 1);  param V : real[D, G] init normal(0, 1);  param "
                              "s : positive[D] init 0.7;\n"
                              "local nu : real[K] init 0;  local t : lower_triangular[K, K] init identity(K);\n"
                              "posterior z ~ normal(nu, cholesky = t);  posterior u ~ normal(V' @ x, 0.4);\n"
                              "prior z ~ laplace(0, 1);  prior u ~ normal(0, 1);\n"
                              "likelihood x ~ normal(W @ z + (V @ u) / 2 + 1, s);\n";
  Values *v = make_values(9);
  Run run = run_of(v);
  Spec closed = spec_of(model, "objective elbo(log_lik = closed);", "", "");
  Spec drawn = spec_of(model, "train { samples = 4000; }  objective log_lik(x);",
                       "let centred = log_lik(x) - mean(log_lik(x), over = batch);", "");
  double exact = spec_output(&closed, PROGRAM_TRAIN, OUTPUT_TERM, "log_lik(x)", &run)[0];
  double estimate = objective(&drawn, PROGRAM_EVALUATE, &run);
  cr_expect(fabs(exact - estimate) < 0.15, "closed %g, by draws %g", exact, estimate);
  cr_expect(fabs(exact) > 3, "a difference would show");
  spec_close(&closed);
  spec_close(&drawn);
  free(v);
}

/* One entropy objective with two latents: the sum, and each latent's own scales. */
Test(entropy, two_latents) {
  Spec s =
      spec_right("model m;  dim D = 4;  dim K = 3;  data x : real[D];\n"
                 "latent z : real[K];  latent u : real[K];\n"
                 "param W : real[D, K] init normal(0, 1);\n"
                 "param noise : positive solved;  param scale : positive[K] solved;  param wide : positive solved;\n"
                 "local nu : real[K] init 0;  local tau : positive[K] init 1;\n"
                 "local t : lower_triangular[K, K] init identity(K);\n"
                 "posterior z ~ normal(nu, tau);  posterior u ~ normal(2 * nu, cholesky = t);\n"
                 "prior z ~ laplace(0, scale);  prior u ~ normal(0, wide);\n"
                 "likelihood x ~ normal(W @ (z + 2 * u), noise);  objective entropy_elbo;");
  Values *v = make_values(11);
  Run run = run_of(v), at = solved_run(&s, &run);
  expect_close(objective(&s, PROGRAM_EVALUATE, &at), objective(&s, PROGRAM_TRAIN, &run), 1e-12, "two latents");
  spec_close(&s);
  free(v);
}

/* Weights act on each entropy, and are schedules. */
/* The prior of a param is a penalty in this objective as in any other. */
Test(entropy, penalties_of_params) {
  static const char *const rests[] = {
      "prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z, noise);  objective entropy_elbo;",
      "prior W ~ laplace(0, 1);  prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z, noise);\n"
      "objective entropy_elbo;",
      "prior W ~ laplace(0, 1);  prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z, noise);\n"
      "objective entropy_elbo - log_prior(W);"};
  Values *v = make_values(11);
  double found[3];
  for (int i = 0; i < 3; i++) {
    Spec s = spec_of(head, solved, diagonal, rests[i]);
    Run run = run_of(v);
    found[i] = objective(&s, PROGRAM_TRAIN, &run);
    spec_close(&s);
  }
  expect_close(found[2], found[0], 1e-12, "without the penalty");
  cr_expect(found[1] < found[0] - 1e-3, "%g with the penalty, %g without", found[1], found[0]);
  free(v);
}

Test(entropy, weights) {
  Spec s = spec_of(head, solved, diagonal,
                   "prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z, noise);\n"
                   "schedule a = 10 - epoch;  objective entropy_elbo(prior_weight = a, likelihood_weight = 0.5, "
                   "posterior_weight = 2);");
  Values *v = make_values(13);
  Run run = run_of(v);
  run.epoch = 4;
  double expected = 0.5 * spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "log_lik(x)", &run)[0] +
                    6 * spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "log_prior(z)", &run)[0] +
                    2 * spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "entropy(z)", &run)[0];
  expect_close(objective(&s, PROGRAM_TRAIN, &run), expected, 1e-13, "weights");
  spec_close(&s);
  free(v);
}

/* specs/entropy_by_hand.spm gives the numbers of the word, and its gradients. */
Test(entropy, by_hand_gives_the_same_numbers) {
  const Override overrides[] = {{"D", D}, {"K", K}};
  CompileOptions options = {.overrides = overrides, .override_count = 2};
  Spec word = spec_open("specs/entropy_patches.spm", &options), hand = spec_open("specs/entropy_by_hand.spm", &options);
  cr_assert(word.errors == 0 && hand.errors == 0);
  Values *v = make_values(17);
  Run run = run_of(v);
  for (run.epoch = 0; run.epoch < 8; run.epoch += 3) {
    expect_close(objective(&hand, PROGRAM_TRAIN, &run), objective(&word, PROGRAM_TRAIN, &run), 1e-13, "objective");
    expect_close(objective(&hand, PROGRAM_FIT, &run), objective(&word, PROGRAM_FIT, &run), 1e-13, "fit");
    const double *a = spec_output(&hand, PROGRAM_TRAIN, OUTPUT_GRADIENT, "W", &run),
                 *b = spec_output(&word, PROGRAM_TRAIN, OUTPUT_GRADIENT, "W", &run);
    for (int i = 0; i < D * K; i++) cr_expect(fabs(a[i] - b[i]) < 1e-12, "W: %.17g, %.17g", a[i], b[i]);
    for (int local = 0; local < 2; local++) {
      const char *name = local ? "tau" : "nu";
      a = spec_output(&hand, PROGRAM_FIT, OUTPUT_ROW_GRADIENT, name, &run);
      b = spec_output(&word, PROGRAM_FIT, OUTPUT_ROW_GRADIENT, name, &run);
      for (int i = 0; i < ROWS * K; i++) cr_expect(fabs(a[i] - b[i]) < 1e-12, "%s: %.17g, %.17g", name, a[i], b[i]);
    }
  }
  spec_close(&word);
  spec_close(&hand);
  free(v);
}

/* Batch statistics are combined over tiles: a tile of any size gives the same, gradients too. */
Test(entropy, whole_and_in_tiles) {
  char message[1024];
  Spec s = spec_of(head, solved, full,
                   "prior z ~ laplace(0, scale);  likelihood x ~ normal(W @ z, noise);  objective entropy_elbo;");
  Jit *jit = compile_jit(s.model, true, message, sizeof message);
  cr_assert(jit != NULL, "%s", message);
  Values *v = make_values(19);
  const Signature *signature = model_signature(s.model);
  const double *parameters[4] = {0}, *data[1] = {v->x}, *rows[2] = {v->nu, v->t}, one[K] = {1, 1, 1};
  for (int p = 0; p < signature->parameter_count; p++)
    parameters[p] = strcmp(signature->parameters[p].name, "W") == 0 ? v->w : one;
  Bindings b = {
      .rows = ROWS, .parameters = parameters, .data = data, .row_states = rows, .settings = {0, 0, ROWS, ROWS}};
  static const char *const programs[] = {"train", "fit_new", "solve"};
  for (int program = 0; program < 3; program++) {
    Outputs whole = reference_run_d(jit_model(jit), programs[program], signature, &b, ROWS, false);
    for (long tile = 1; tile < ROWS; tile += 2) {
      Outputs cut = reference_run_d(jit_model(jit), programs[program], signature, &b, tile, false);
      for (int i = 0; i < whole.count; i++)
        for (long k = 0; k < whole.sizes[i]; k++)
          expect_close(cut.values[i][k], whole.values[i][k], 1e-12, programs[program]);
      outputs_free(&cut);
    }
    outputs_free(&whole);
  }
  jit_destroy(jit);
  spec_close(&s);
  free(v);
}

/* A low rank and a diagonal are the full covariance that they make: density, entropy, KL, and the entropy objective. */
Test(entropy, low_rank_is_the_full_covariance) {
  Spec s = spec_right(
      "model m;  dim D = 4;  dim K = 3;  data x : real[D];  minimize sum(x^2);\n"
      "param F : real[K, 2] init normal(0, 1);  param d : positive[K] init 0.4;  param m : real[K] init normal(0, 1);\n"
      "let L = cholesky(F @ F' + diag(d^2));\n"
      "metric a = log_pdf(normal(m, factor = F, diagonal = d), x[0 .. 3]) - log_pdf(normal(m, cholesky = L), x[0 .. "
      "3]);\n"
      "metric b = entropy(normal(m, factor = F, diagonal = d)) - entropy(normal(m, cholesky = L));\n"
      "metric c = kl(normal(m, factor = F, diagonal = d), laplace(0.3, 2)) - kl(normal(m, cholesky = L), laplace(0.3, "
      "2));\n"
      "metric e = kl(normal(m, factor = F, diagonal = d), normal(0.3, 2)) - kl(normal(m, cholesky = L), normal(0.3, "
      "2));\n"
      "metric size = entropy(normal(m, cholesky = L));");
  Values *v = make_values(23);
  Run run = run_of(v);
  for (int i = 0; i < 4; i++) {
    char name[2] = {"abce"[i], 0};
    cr_expect(fabs(spec_metric(&s, name, &run)) < 1e-11, "%s: %g", name, spec_metric(&s, name, &run));
  }
  cr_expect(fabs(spec_metric(&s, "size", &run)) > 0.1);
  spec_close(&s);
  free(v);
}
