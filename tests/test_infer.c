/* infer: what langevin, map, ista and fista find, against closed forms, optimality conditions and the same written out
 * by hand; the spike-and-slab score against 60-digit values; repeat; what is refused stands in tests/bad. */
#include <criterion/criterion.h>
#include <math.h>
#include <time.h>
#include <stdio.h>
#include <string.h>

#include "compiler/compiler.h"
#include "compiler/diagnose.h"
#include "compiler/spm.h"
#include "reference_driver.h"
#include "spec.h"

#define EXPECT_CLOSE(a, b, tolerance)                                                                                  \
  cr_expect(fabs((a) - (b)) <= (tolerance) * (1 + fabs(b)), "%s is %.12g, not %.12g", #a, (double)(a), (double)(b))

static const double *codes(Spec *s, const char *latent, const Run *run) {
  return spec_output(s, PROGRAM_ENCODE, OUTPUT_ROWS, latent, run);
}

/* ---- the score of a spike and slab (a N(0, 1) + (1 - a) N(0, 0.1^2)) ------------------------------------------- */

typedef struct Score {
  double weight;
  int count;
  double z[10], score[10];
} Score;

/* d/dz log p by 60-digit differentiation */
static const Score scores[] = {
    {1,
     10,
     {-0.04, 0.05, 0.2, 0.35, 0.4, 0.5, 1.1, 3, 7.1, 15},
     {0.04, -0.05, -0.2, -0.35, -0.4, -0.5, -1.1, -3, -7.1, -15}},
    {0.5,
     10,
     {-0.04, 0.05, 0.2, 0.35, 0.4, 0.5, 1.1, 3, 7.1, 15},
     {3.613227, -4.496747, -11.683092, -1.137527, -0.543386, -0.502090, -1.1, -3, -7.1, -15}},
    {0.1,
     7,
     {-0.04, 0.05, 0.2, 0.35, 0.4, 0.5, 1.1},
     {3.952939, -4.938528, -18.525275, -6.347290, -1.654147, -0.518806, -1.1}},
    {0.01,
     7,
     {-0.04, 0.05, 0.2, 0.35, 0.4, 0.5, 1.1},
     {3.995675, -4.994348, -19.856197, -24.507652, -10.877391, -0.706079, -1.1}},
    {0.001,
     6,
     {-0.04, 0.05, 0.2, 0.35, 0.4, 0.5},
     {3.999571, -4.999439, -19.985655, -33.570154, -31.447803, -2.503693}},
};

/* One step of size sqrt(2) from x where nothing but the prior speaks: x + score. */
#define SCORE_SPEC                                                                                                     \
  "model score;\ndim K = 10;\nlet a = %g;\ndata x : real[K];\nlatent z : real[K];\n"                                   \
  "prior z ~ mixture(a: normal(0, 1), 1 - a: normal(0, 0.1));\nlikelihood x ~ normal(0, 1);\n"                         \
  "infer z by langevin(steps = 1, step_size = sqrt(2), noise = 0, start = x);\n"

static void score_by(Spec *s, bool in_float, const double *x, double *score) {
  char message[512];
  Graph *graph = model_graph(s->model, PROGRAM_ENCODE);
  if (!in_float) {
    Run run = {.rows = 1, .inputs = {{"x", x}}};
    for (int i = 0; i < 10; i++) score[i] = codes(s, "z", &run)[i] - x[i];
    return;
  }
  Jit *jit = compile_jit(s->model, false, message, sizeof message);
  cr_assert(jit != NULL, "%s", message);
  const double *data[] = {x};
  Bindings b = {.rows = 1, .data = data, .settings[SETTING_ROWS_IN_BATCH] = 1};
  Outputs out = reference_run_f(jit_model(jit), graph->name, graph->signature, &b, 1, false);
  for (int i = 0; i < 10; i++) score[i] = out.values[0][i] - (double)(float)x[i];
  outputs_free(&out);
  jit_destroy(jit);
}

Test(infer, score_of_spike_and_slab) {
  for (size_t t = 0; t < sizeof scores / sizeof *scores; t++)
    for (int in_float = 0; in_float < 2; in_float++) {
      char text[1000];
      double found[10];
      snprintf(text, sizeof text, SCORE_SPEC, scores[t].weight);
      Spec s = spec_right(text);
      score_by(&s, in_float, scores[t].z, found);
      for (int i = 0; i < scores[t].count; i++)
        cr_expect(fabs(found[i] - scores[t].score[i]) <= 1e-5 * fabs(scores[t].score[i]) + 5e-7,
                  "weight %g, z = %g%s: %.9g, not %.9g", scores[t].weight, scores[t].z[i], in_float ? " in float" : "",
                  found[i], scores[t].score[i]);
      spec_close(&s);
    }
}

Test(infer, score_far_out) {
  static const double far[10] = {1e4, -1e4, 15, -15, 0, 1e-30, -1e-4, 100, 1.34, -1e3};
  char text[1000];
  double found[10];
  snprintf(text, sizeof text, SCORE_SPEC, 0.01);
  Spec s = spec_right(text);
  for (int in_float = 0; in_float < 2; in_float++) {
    score_by(&s, in_float, far, found);
    for (int i = 0; i < 10; i++) {
      double expected = fabs(far[i]) > 1.2 ? -far[i] : -99.9 * far[i];
      cr_expect(fabs(found[i] - expected) <= 2e-3 * fabs(far[i]) + 1e-7, "z = %g: %.9g", far[i], found[i]);
    }
  }
  spec_close(&s);
}

/* ---- langevin and map ------------------------------------------------------------------------------------------ */

#define LINEAR                                                                                                         \
  "model linear;\ndim D = 4;\ndim K = 3;\ndata x : real[D];\nlatent z : real[K];\nparam A : real[D, K] init 1;\n"      \
  "likelihood x ~ normal(A @ z, 0.5);\n"

static const double A[12] = {0.9, -0.3, 0.2, 0.1, 0.8, -0.5, -0.4, 0.3, 0.7, 0.2, 0.1, 0.6},
                    x[8] = {1, -0.5, 0.3, 2, -1, 0.7, 0.2, -0.1};
static const Run linear = {.rows = 2, .inputs = {{"A", A}, {"x", x}}};

/* A' (x - A z) of a row */
static void pull_of_data(const double *row, const double *z, double *g) {
  for (int k = 0; k < 3; k++) g[k] = 0;
  for (int d = 0; d < 4; d++) {
    double rest = row[d];
    for (int k = 0; k < 3; k++) rest -= A[3 * d + k] * z[k];
    for (int k = 0; k < 3; k++) g[k] += A[3 * d + k] * rest;
  }
}

Test(infer, langevin_is_its_recursion) {
  Spec s = spec_right(LINEAR "prior z ~ laplace(0, 2);\n"
                             "infer z by langevin(steps = 7, step_size = 0.3, noise = 0, start = 0.1);\n");
  const double *found = codes(&s, "z", &linear);
  for (int row = 0; row < 2; row++) {
    double z[3] = {0.1, 0.1, 0.1}, g[3];
    for (int step = 0; step < 7; step++) {
      pull_of_data(x + 4 * row, z, g);
      for (int k = 0; k < 3; k++) z[k] += 0.045 * (4 * g[k] - (z[k] > 0 ? 0.5 : -0.5));
    }
    for (int k = 0; k < 3; k++) EXPECT_CLOSE(found[3 * row + k], z[k], 1e-12);
  }
  cr_expect(spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "log_prior(z)") != NULL, "the objective is the log joint");
  spec_close(&s);
}

/* Where the density is flat the chain is a random walk: the noise of each step is its own. */
Test(infer, langevin_noise) {
  enum { ROWS = 4000 };
  Spec s = spec_right("model walk;\ndata x : real;\nlatent z : real[2];\nprior z ~ normal(0, 1e6);\n"
                      "likelihood x ~ normal(0, 1);\ninfer z by langevin(steps = 9, step_size = 0.5, noise = 2);\n");
  Run run = {.rows = ROWS};
  const double *z = codes(&s, "z", &run);
  double mean = 0, square = 0, cross = 0;
  for (int i = 0; i < ROWS; i++) {
    mean += (z[2 * i] + z[2 * i + 1]) / (2 * ROWS);
    square += (z[2 * i] * z[2 * i] + z[2 * i + 1] * z[2 * i + 1]) / (2 * ROWS);
    cross += z[2 * i] * z[2 * i + 1] / ROWS;
  }
  cr_expect(fabs(mean) < 5 * 3 / sqrt(2 * ROWS), "mean %g", mean);
  cr_expect(fabs(square - 9) < 5 * 9 * sqrt(1.0 / ROWS), "variance %g, not 9", square);
  cr_expect(fabs(cross) < 5 * 9 / sqrt(ROWS), "covariance %g", cross);
  spec_close(&s);
}

/* The stationary distribution of a long noisy chain is the posterior: here z | x ~ N(x / 2, 1 / 2). */
Test(infer, langevin_samples_the_posterior) {
  enum { ROWS = 3000 };
  Spec s = spec_right("model chain;\ndata x : real;\nlatent z : real;\nprior z ~ normal(0, 1);\n"
                      "likelihood x ~ normal(z, 1);\ninfer z by langevin(steps = 60, step_size = 0.3);\n");
  static double ones[ROWS];
  double mean = 0, square = 0;
  for (int i = 0; i < ROWS; i++) ones[i] = 1;
  Run run = {.rows = ROWS, .inputs = {{"x", ones}}};
  const double *z = codes(&s, "z", &run);
  for (int i = 0; i < ROWS; i++) mean += z[i] / ROWS, square += z[i] * z[i] / ROWS;
  double exact = 0.5 / (1 - 0.09 / 4); /* of the discretised chain: z' = (1 - d^2) z + d e at rate 2, d = 0.3 */
  cr_expect(fabs(mean - 0.5) < 0.065, "mean %g", mean);
  cr_expect(fabs(square - mean * mean - exact) < 0.065, "variance %g, not %g", square - mean * mean, exact);
  spec_close(&s);
}

Test(infer, map_solves_a_ridge) {
  Spec s = spec_right(LINEAR "prior z ~ normal(0, 1);\ninfer z by map(steps = 400, step_size = 0.05);\n");
  const double *z = codes(&s, "z", &linear);
  for (int row = 0; row < 2; row++) {
    double g[3];
    pull_of_data(x + 4 * row, z + 3 * row, g);
    for (int k = 0; k < 3; k++) EXPECT_CLOSE(4 * g[k] - z[3 * row + k], 0.0, 1e-6);
  }
  spec_close(&s);
}

/* Latents of one statement move together, and those of a bounded type stay inside it. */
Test(infer, two_latents_and_a_bound) {
  Spec s = spec_right("model two;\ndata x : real[2];\nlatent a : real[2];\nlatent b : nonnegative[2];\n"
                      "prior a ~ normal(0, 1);\nprior b ~ exponential(rate = 0.5);\nlikelihood x ~ normal(a + b, 1);\n"
                      "infer a, b by map(steps = 1000, step_size = 0.1);\n");
  static const double two[2] = {3, -2};
  Run run = {.rows = 1, .inputs = {{"x", two}}};
  const double *a = codes(&s, "a", &run), *b = codes(&s, "b", &run);
  /* x = 3: a = x - a - b and x - a - b = 0.5; x = -2: b = 0, a = x / 2 */
  EXPECT_CLOSE(a[0], 0.5, 1e-6);
  EXPECT_CLOSE(b[0], 2.0, 1e-6);
  EXPECT_CLOSE(a[1], -1.0, 1e-6);
  EXPECT_CLOSE(b[1], 0.0, 0.0);
  spec_close(&s);
}

/* No gradient passes through what langevin found, and its loop computes no gradient of weights. */
Test(infer, nothing_flows_through_langevin) {
  Spec s = spec_right(LINEAR "param size : positive init 0.1;\nprior z ~ normal(0, 1);\n"
                             "infer z by langevin(steps = 3, step_size = size, noise = 0);\n");
  cr_expect(spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "size") == NULL);
  const double *z = codes(&s, "z", &linear);
  const double *gradient = spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "A", &linear);
  for (int d = 0; d < 4; d++)
    for (int k = 0; k < 3; k++) {
      double expected = 0;
      for (int row = 0; row < 2; row++) {
        double rest = x[4 * row + d];
        for (int j = 0; j < 3; j++) rest -= A[3 * d + j] * z[3 * row + j];
        expected -= 4 * rest * z[3 * row + k] / 2;
      }
      EXPECT_CLOSE(gradient[3 * d + k], expected, 1e-12);
    }
  spec_close(&s);
}

/* ---- ista and fista -------------------------------------------------------------------------------------------- */

/* Each finds the minimum of |x - A z|^2 / (2 sd^2) - log prior: its optimality conditions. sd = 0.5. */
static void expect_lasso(const double *z, double weight, bool one_sided) {
  double g[3];
  for (int row = 0; row < 2; row++) {
    pull_of_data(x + 4 * row, z + 3 * row, g);
    for (int k = 0; k < 3; k++) {
      double v = z[3 * row + k], force = 4 * g[k];
      if (v != 0)
        EXPECT_CLOSE(force, v > 0 ? weight : -weight, 1e-5);
      else
        cr_expect(force <= weight + 1e-6 && (one_sided || force >= -weight - 1e-6), "force %g at 0", force);
      cr_expect(!one_sided || v >= 0);
    }
  }
}

Test(infer, ista_solves_the_lasso) {
  static const char *const methods[] = {"ista(steps = 300, step_size = 0.1)",
                                        "fista(steps = 150, step_size = lipschitz)",
                                        "ista(steps = 300, step_size = 0.1, threshold = 0.15)"};
  for (int i = 0; i < 3; i++) {
    char text[1000];
    snprintf(text, sizeof text, LINEAR "prior z ~ laplace(0, 1 / 1.5);\ninfer z by %s;\n", methods[i]);
    Spec s = spec_right(text);
    expect_lasso(codes(&s, "z", &linear), 1.5, false);
    spec_close(&s);
  }
}

/* Where the curvature is one for all the step follows from it; elsewhere, and where there is none, it is 0.1. */
Test(infer, default_step) {
  static const char *const texts[][2] = {
      {"likelihood x ~ normal(A @ z, 0.5);", "lipschitz"},
      {"likelihood x ~ normal(tanh(A @ z), 0.5);", "0.1"},
      {"likelihood x ~ laplace(A @ z, 0.5);", "0.1"},
  };
  for (int i = 0; i < 3; i++) {
    const double *z[2];
    Spec s[2];
    for (int given = 0; given < 2; given++) {
      char text[1000];
      snprintf(text, sizeof text,
               "model m;\ndim D = 4;\ndim K = 3;\ndata x : real[D];\nlatent z : real[K];\n"
               "param A : real[D, K] init 1;\nprior z ~ laplace(0, 1);\n%s\ninfer z by fista(steps = 5%s%s);\n",
               texts[i][0], given ? ", step_size = " : "", given ? texts[i][1] : "");
      s[given] = spec_right(text);
      z[given] = codes(&s[given], "z", &linear);
    }
    for (int k = 0; k < 6; k++) EXPECT_CLOSE(z[0][k], z[1][k], 0.0);
    cr_expect(z[0][0] != 0);
    spec_close(&s[0]);
    spec_close(&s[1]);
  }
}

/* Of one number each step is the factor r = (1 - t w^2 / s^2) / (1 + t) of the last, the prior being normal. */
Test(infer, steps_that_grow_are_seen) {
  static const double w[1] = {2}, points[2] = {1, -3};
  const Run run = {.rows = 2, .inputs = {{"w", w}, {"x", points}}};
  for (int i = 0; i < 3; i++) {
    const double t = (const double[]){0.1, 0.5, 2}[i], r = (1 - 4 * t) / (1 + t);
    char text[1000];
    snprintf(text, sizeof text,
             "model m;\ndata x : real;\nlatent z : real;\nparam w : real init 2;\nprior z ~ normal(0, 1);\n"
             "likelihood x ~ normal(w * z, 1);\ninfer z by ista(steps = 12, step_size = %g);\n",
             t);
    Spec s = spec_right(text);
    const double *growth = spec_output(&s, PROGRAM_TRAIN, OUTPUT_METRIC, "step_growth(z)", &run);
    EXPECT_CLOSE(growth[0], pow(fabs(r), 11) / 12, 1e-9);
    spec_close(&s);
  }
}

Test(infer, exponential_is_one_sided) {
  char text[1000] = LINEAR;
  strcat(text, "prior z ~ exponential(rate = 0.7);\ninfer z by fista(steps = 200, step_size = lipschitz);\n");
  memcpy(strstr(text, "z : real[K]"), "z : unit[K]", 11);
  Spec wrong = spec_text(text, NULL);
  cr_expect(spec_says(&wrong, "support"), "an exponential is no prior of a unit latent");
  spec_close(&wrong);
  char *at = strstr(text, "latent z : unit[K];");
  memmove(at + 26, at + 19, strlen(at + 19) + 1);
  memcpy(at, "latent z : nonnegative[K];", 26);
  Spec s = spec_right(text);
  expect_lasso(codes(&s, "z", &linear), 0.7, true);
  spec_close(&s);
}

Test(infer, groups_are_on_or_off) {
  Spec s =
      spec_right("model groups;\ndim D = 4;\ndim G = 2;\ndim M = 2;\ndata x : real[D];\nlatent z : real[G, M];\n"
                 "param A : real[D, G * M] init normal(0, 0.5);\nprior z ~ group_laplace(0.5, over = M);\n"
                 "likelihood x ~ normal(A @ flatten(z), 1);\ninfer z by ista(steps = 250, step_size = lipschitz);\n");
  const double *a = spec_initial(&s, "A");
  Run run = {.rows = 2, .inputs = {{"x", x}, {"A", a}}};
  const double *z = codes(&s, "z", &run);
  int on = 0, off = 0;
  for (int row = 0; row < 2; row++)
    for (int g = 0; g < 2; g++) {
      const double *own = z + 4 * row + 2 * g;
      double force[2] = {0, 0}, size = hypot(own[0], own[1]);
      for (int d = 0; d < 4; d++) {
        double rest = x[4 * row + d];
        for (int k = 0; k < 4; k++) rest -= a[4 * d + k] * z[4 * row + k];
        for (int m = 0; m < 2; m++) force[m] += a[4 * d + 2 * g + m] * rest;
      }
      if (size > 0) {
        for (int m = 0; m < 2; m++) EXPECT_CLOSE(force[m], 2 * own[m] / size, 1e-6);
        on++;
      } else {
        cr_expect(hypot(force[0], force[1]) <= 2 + 1e-9 && own[0] == 0 && own[1] == 0);
        off++;
      }
    }
  cr_expect(off > 0 && on + off == 4, "%d on, %d off", on, off);
  spec_close(&s);
}

/* The unrolled steps are differentiated through, their size too where it is a param. */
Test(infer, a_step_size_may_be_learned) {
  static const char *const priors[] = {
      "latent z : real[G, M];  prior z ~ laplace(0, 1 / 0.3);",
      "latent z : nonnegative[G, M];  prior z ~ exponential(rate = 0.3);",
      "latent z : real[G, M];  prior z ~ group_laplace(1 / 0.3, over = M);",
      "latent z : nonnegative[G, M];  prior z ~ group_exponential(1 / 0.3, over = M);",
  };
  for (int i = 0; i < 8; i++) {
    char text[1000];
    snprintf(text, sizeof text,
             "model learned;\ndim D = 6;\ndim G = 3;\ndim M = 2;\ndata x : real[D];\n%s\n"
             "param A : real[D, G * M] init normal(0, 0.5);\nparam size : positive init 0.2;\n"
             "likelihood x ~ normal(A @ flatten(z), 1);\ninfer z by %s(steps = 4, step_size = size);\n"
             "objective log_lik(x);\n",
             priors[i / 2], i % 2 ? "fista" : "ista");
    Spec s = spec_right(text);
    Run run = {.rows = 2, .inputs = {{"x", (const double[12]){1, -0.5, 0.3, 2, -1, 0.7, 0.2, -0.1, 1.3, 0.4, 2, -2}}}};
    cr_expect(fabs(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "size", &run)) > 1e-3, "%s", text);
    spec_close(&s);
    spec_expect_sound(text, 6);
  }
}

Test(infer, lipschitz_is_the_largest_eigenvalue) {
  Spec s = spec_right("model l;\ndim D = 4;\ndim K = 3;\ndata x : real[D];\nparam A : real[D, K] init 1;\n"
                      "minimize sum(A^2) * sum(x);\nmetric top = lipschitz(A);\n");
  static const double B[12] = {3, 0, 0, 0, 1, 0, 0, 0, 0.5, 0, 0, 0}, zero[12] = {0};
  Run run = {.rows = 1, .inputs = {{"A", B}}}, none = {.rows = 1, .inputs = {{"A", zero}}};
  EXPECT_CLOSE(spec_metric(&s, "top", &run), 9.0, 1e-12);
  EXPECT_CLOSE(spec_metric(&s, "top", &none), 0.0, 0.0);
  spec_close(&s);
}

/* ---- the same by hand ------------------------------------------------------------------------------------------ */

#define GROUP_SPARSE                                                                                                   \
  "dim D = 12;\ndim G = 3;\ndim M = 2;\nlet lambda = 0.2;\ndata x : unit[D];\nlatent z : real[G, M];\n"                \
  "param A : real[D, G * M] unit_norm(over = D) projected init normal(0, 1);\n"                                        \
  "prior z ~ group_laplace(1 / lambda, over = M);\nlikelihood x ~ normal(A @ flatten(z), 1);\nobjective log_lik(x);\n"
#define BY_HAND                                                                                                        \
  "encoder f(x) {\n  delta = 1 / lipschitz(A);\n  z = zeros(G, M);\n  y = z;\n  t = 1;\n  repeat 15 {\n"               \
  "    u = y + delta * reshape(A' @ (x - A @ flatten(y)), [G, M]);\n    n = norm(u, over = M);\n"                      \
  "    w = (n > delta * lambda ? 1 - delta * lambda / n : 0) * u;\n    s = (1 + sqrt(1 + 4 * t^2)) / 2;\n"             \
  "    y = w + (t - 1) / s * (w - z);\n    z = w;\n    t = s;\n  }\n}\nposterior z = f.z;\n"

Test(infer, fista_is_what_stands_by_hand) {
  Spec word = spec_right("model word;\n" GROUP_SPARSE "infer z by fista(steps = 15, step_size = lipschitz);\n");
  Spec hand = spec_right("model hand;\n" GROUP_SPARSE BY_HAND);
  const double *a = spec_initial(&word, "A");
  double pixels[60];
  for (int i = 0; i < 60; i++) pixels[i] = 0.5 + 0.5 * sin(3 * i * i);
  Run run = {.rows = 5, .inputs = {{"x", pixels}, {"A", a}}};
  const double *first = codes(&word, "z", &run), *second = codes(&hand, "z", &run);
  for (int i = 0; i < 30; i++) EXPECT_CLOSE(first[i], second[i], 1e-12);
  first = spec_output(&word, PROGRAM_TRAIN, OUTPUT_GRADIENT, "A", &run);
  second = spec_output(&hand, PROGRAM_TRAIN, OUTPUT_GRADIENT, "A", &run);
  double size = 0;
  for (int i = 0; i < 72; i++) {
    EXPECT_CLOSE(first[i], second[i], 1e-11);
    size += fabs(first[i]);
  }
  cr_expect(size > 0.1);
  spec_close(&word);
  spec_close(&hand);
}

/* ---- one application of the encoder finds the support (Theodosis et al. 2021, Lemma 1) ------------------------- */

enum { D = 64, G = 16, M = 2 };

/* Orthonormal groups, so that block coherence is all that separates them; no noise, the true dictionary. */
Test(infer, one_step_recovers_the_support) {
  static double dictionary[D][G * M], rows[20 * D];
  bool active[20][G] = {{0}};
  uint64_t state = 12345;
#define UNIFORM() ((state = state * 6364136223846793005u + 1442695040888963407u) >> 11) * 0x1p-53
  for (int j = 0; j < G * M; j++) { /* Gram-Schmidt within a group alone */
    for (int d = 0; d < D; d++) dictionary[d][j] = UNIFORM() - 0.5;
    for (int pass = 0; pass < 1 + j % M; pass++) {
      double dot = 0, square = 0;
      for (int d = 0; d < D && j % M; d++) dot += dictionary[d][j] * dictionary[d][j - 1];
      for (int d = 0; d < D; d++) {
        if (j % M) dictionary[d][j] -= dot * dictionary[d][j - 1];
        square += dictionary[d][j] * dictionary[d][j];
      }
      for (int d = 0; d < D; d++) dictionary[d][j] /= sqrt(square);
    }
  }
  double cross = 0, low = 4, high = 5; /* ||A_g' A_h|| <= its Frobenius norm */
  for (int g = 0; g < G; g++)
    for (int h = 0; h < G; h++) {
      double square = 0;
      for (int m = 0; m < M * M && g != h; m++) {
        double dot = 0;
        for (int d = 0; d < D; d++) dot += dictionary[d][M * g + m / M] * dictionary[d][M * h + m % M];
        square += dot * dot;
      }
      cross = fmax(cross, sqrt(square));
    }
  int on = 1; /* active groups a row: with one, the others hear it by `cross` alone */
  double least = on * high * cross, most = low - (on - 1) * high * cross;
  cr_assert(least < most, "the interval [%g, %g] is empty", least, most);
  for (int i = 0; i < 20; i++) {
    int g = (int)(UNIFORM() * G);
    double angle = 6.28 * UNIFORM(), size = low + (high - low) * UNIFORM();
    active[i][g] = true;
    for (int d = 0; d < D; d++)
      rows[D * i + d] = size * (cos(angle) * dictionary[d][M * g] + sin(angle) * dictionary[d][M * g + 1]);
  }
  Spec s = spec_right("model lemma;\ndim D = 64;\ndim G = 16;\ndim M = 2;\ndata x : real[D];\ndata lambda : positive;\n"
                      "latent z : real[G, M];\nparam A : real[D, G * M] init 1;\n"
                      "prior z ~ group_laplace(1, over = M);\nlikelihood x ~ normal(A @ flatten(z), 1);\n"
                      "infer z by ista(steps = 1, step_size = 1, threshold = lambda);\n");
  for (int t = 0; t <= 4; t++) {
    double lambda[20];
    for (int i = 0; i < 20; i++) lambda[i] = least + (most - least) * (0.001 + 0.998 * t / 4);
    Run run = {.rows = 20, .inputs = {{"A", dictionary[0]}, {"x", rows}, {"lambda", lambda}}};
    const double *z = codes(&s, "z", &run);
    for (int i = 0; i < 20; i++)
      for (int g = 0; g < G; g++) {
        bool found = z[G * M * i + M * g] != 0 || z[G * M * i + M * g + 1] != 0;
        cr_expect(found == active[i][g], "lambda %g, row %d, group %d", lambda[i], i, g);
      }
  }
  spec_close(&s);
}

/* ---- repeat ---------------------------------------------------------------------------------------------------- */

Test(infer, rounds_share_parameters_unless_untied) {
  Spec tied = spec_right("model tied;\ndim D = 3;\ndata x : real[D];\n"
                         "network f(x) { h = x; repeat 3 { param s : real init 2; h = s * h; } g = dense(h, D);\n"
                         "repeat 2 { g = dense(g, D); } }\nminimize sum(f.g);\nmetric h = sum(f.h);\n");
  Run run = {.rows = 1, .inputs = {{"x", x}}};
  EXPECT_CLOSE(spec_metric(&tied, "h", &run), 8 * (x[0] + x[1] + x[2]), 1e-12);
  cr_expect(tied.model->signature.parameter_count == 5, "s, and W and b twice");
  cr_expect(spec_parameter(&tied, "f.s") >= 0 && spec_parameter(&tied, "f.g.dense2.W") >= 0);
  spec_close(&tied);
  Spec untied = spec_right("model untied;\ndim D = 3;\ndata x : real[D];\n"
                           "network f(x) { h = x; n = 1; repeat 3 untied { param s : real init 2; h = s * dense(h, D); "
                           "n = 2 * n; } }\nminimize sum(f.h);\nmetric n = f.n;\n");
  EXPECT_CLOSE(spec_metric(&untied, "n", &run), 8.0, 0.0);
  cr_expect(untied.model->signature.parameter_count == 9);
  cr_expect(spec_parameter(&untied, "f.s[2]") >= 0 && spec_parameter(&untied, "f.h[1].dense.W") >= 0);
  spec_close(&untied);
}

/* Each step is a part of the program: the time to compile it must not grow with the square of their number. */
Test(infer, many_unrolled_steps_compile) {
  Spec s = spec_right(LINEAR "prior z ~ laplace(0, 1);\ninfer z by ista(steps = 400);\n");
  char message[500];
  const clock_t start = clock();
  Jit *jit = compile_jit(s.model, false, message, sizeof message);
  cr_assert(jit != NULL, "%s", message);
  const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
  cr_expect(seconds < 5, "%g s", seconds);
  jit_destroy(jit);
  spec_close(&s);
}

/* ---- persistent chains ----------------------------------------------------------------------------------------- */

/* Each row goes on from where it stood, and the train program says where it stands from now on. */
Test(infer, chains_go_on) {
  Spec s = spec_right(LINEAR "prior z ~ normal(0, 1);\n"
                             "infer z by langevin(steps = 2, step_size = 0.3, noise = 0, start = 0.2 * x[0], "
                             "persistent = true);\n");
  static const double stood[6] = {0.5, -1, 0, 2, 0.1, -0.3};
  Run run = linear;
  const double *start = spec_output(&s, PROGRAM_INITIALISE_ROWS, OUTPUT_ROW_INITIAL, "z.chain", &run);
  for (int i = 0; i < 6; i++) EXPECT_CLOSE(start[i], 0.2 * x[i < 3 ? 0 : 4], 1e-15);
  run.inputs[2] = (Input){"z.chain", stood};
  const double *next = spec_output(&s, PROGRAM_TRAIN, OUTPUT_ROW_NEXT, "z.chain", &run);
  const double *found = codes(&s, "z", &run);
  for (int row = 0; row < 2; row++) {
    double z[3], g[3];
    memcpy(z, stood + 3 * row, sizeof z);
    for (int step = 0; step < 2; step++) {
      pull_of_data(x + 4 * row, z, g);
      for (int k = 0; k < 3; k++) z[k] += 0.045 * (4 * g[k] - z[k]);
    }
    for (int k = 0; k < 3; k++) {
      EXPECT_CLOSE(next[3 * row + k], z[k], 1e-12);
      EXPECT_CLOSE(found[3 * row + k], z[k], 1e-12);
    }
  }
  cr_expect(spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_ROW_GRADIENT, "z.chain") == NULL);
  spec_close(&s);
}

/* What a type does not allow is brought to its edge, where a chain stood as where one starts. */
Test(infer, chains_stay_in_their_type) {
  Spec s = spec_right("model m; dim D = 4; dim K = 3; data x : real[D]; latent z : nonnegative[K];\n"
                      "param W : real[D, K] init 1; likelihood x ~ normal(W @ z, 1); prior z ~ exponential(rate = 1);\n"
                      "infer z by langevin(steps = 1, step_size = 0.1, noise = 0, persistent = true);\n");
  static const double stood[6] = {0.5, -1, 0, 2, 0.1, -0.3}, ones[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  Run run = {.rows = 2, .inputs = {{"x", x}, {"W", ones}, {"z.chain", stood}}};
  const double *next = spec_output(&s, PROGRAM_TRAIN, OUTPUT_ROW_NEXT, "z.chain", &run);
  for (int row = 0; row < 2; row++) {
    double sum = 0;
    for (int k = 0; k < 3; k++) sum += fmax(stood[3 * row + k], 0);
    double slope = -1;
    for (int d = 0; d < 4; d++) slope += x[4 * row + d] - sum;
    for (int k = 0; k < 3; k++)
      EXPECT_CLOSE(next[3 * row + k], fmax(fmax(stood[3 * row + k], 0) + 0.005 * slope, 0), 1e-12);
  }
  spec_close(&s);
}

/* Draws by noisy steps alone: a density that is 0 at the edges of its type is neither stuck there nor leaps away. */
Test(infer, noisy_steps_are_reflected_where_a_density_may_be_0) {
  static const struct {
    const char *latent;
    double mean, variance, step;
  } cases[] = {{"latent z : unit[4]; prior z ~ beta(2, 2);", 0.5, 0.05, 0.1},
               {"latent z : unit[4]; prior z ~ uniform(0, 1);", 0.5, 1 / 12.0, 0.1},
               {"latent z : positive[4]; prior z ~ log_normal(0, 0.5);", 1.133, 0.3647, 0.05}};
  enum { MANY = 1000 };
  static float nothing[MANY], z[MANY * 4];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[500], error[1000];
    const float *const data[] = {nothing};
    snprintf(text, sizeof text,
             "model m; data x : real; param w : real init 0; %s likelihood x ~ normal(0 * sum(z) + w, 1);"
             "infer z by langevin(steps = 2000, step_size = %g);",
             cases[i].latent, cases[i].step);
    spm_compiled *compiled = spm_compile(text, "m.spm", NULL, 0, error, sizeof error);
    cr_assert(compiled != NULL, "%s", error);
    spm_session *session = spm_session_create(compiled, MANY, 1, 5, error, sizeof error);
    cr_assert(session && spm_session_rows(session, "encode", "z", data, MANY, z, error, sizeof error) == 0, "%s",
              error);
    double sum = 0, squares = 0;
    for (int k = 0; k < MANY * 4; k++) sum += (double)z[k], squares += (double)z[k] * (double)z[k];
    double mean = sum / (MANY * 4), variance = squares / (MANY * 4) - mean * mean;
    cr_expect(fabs(mean - cases[i].mean) < 0.04, "%s mean %g", cases[i].latent, mean);
    cr_expect(fabs(variance / cases[i].variance - 1) < 0.12, "%s variance %g", cases[i].latent, variance);
    spm_session_free(session);
    spm_compiled_free(compiled);
  }
}

/* ---- the default objective ------------------------------------------------------------------------------------- */

#define MIXED                                                                                                          \
  LINEAR "latent w : real[K];\nprior z ~ laplace(0, 1);\nprior w ~ normal(0, 2);\nposterior w ~ normal(1, 0.1);\n"     \
         "infer z by map(steps = 3, step_size = 0.1);\n"

/* Where one latent is a point the other's posterior is not charged; in the ELBO it is. */
Test(infer, default_is_the_log_joint_where_a_latent_is_a_point) {
  Spec silent = spec_right(MIXED "allow default_objective;\n"), joint = spec_right(MIXED "objective log_joint;\n"),
       elbo = spec_right(MIXED "objective elbo;\n");
  double unsaid = *spec_output(&silent, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &linear);
  double said = *spec_output(&joint, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &linear);
  double charged = *spec_output(&elbo, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &linear);
  EXPECT_CLOSE(unsaid, said, 1e-13);
  cr_expect(charged > said + 1 || charged < said - 1, "the ELBO is %g, the log joint %g", charged, said);
  Spec warned = spec_text(MIXED, NULL);
  cr_expect(!warned.errors && spec_says(&warned, "default_objective") && !spec_says(&joint, "default_objective"));
  spec_close(&silent);
  spec_close(&joint);
  spec_close(&elbo);
  spec_close(&warned);
}
