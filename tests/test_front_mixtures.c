/* What mixtures, joints, categories, priors on params and `use` mean: small specs through the front end and the
 * interpreter against formulas written out here. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "spec.h"

static double log_normal_density(double z, double mean, double sd) {
  return -0.5 * (z - mean) * (z - mean) / (sd * sd) - log(sd) - 0.5 * log(2 * acos(-1));
}

/* A term of the objective, or a metric beside it. */
static double reported(Spec *s, const char *name, const Run *run) {
  bool term = spec_find_output(s, PROGRAM_EVALUATE, OUTPUT_TERM, name) != NULL;
  return spec_output(s, PROGRAM_EVALUATE, term ? OUTPUT_TERM : OUTPUT_METRIC, name, run)[0];
}

static void near(double found, double wanted, const char *what) {
  cr_expect(fabs(found - wanted) <= 1e-12 * (1 + fabs(wanted)), "%s: %.17g, not %.17g", what, found, wanted);
}

Test(mixtures, list_of_components) {
  Spec s = spec_right("model m; dim D = 3; data x : real[D]; param w : unit init 0.3;\n"
                      "likelihood x ~ mixture(w: normal(0, 1), 1 - w: normal(2, 0.1));\nobjective log_lik(x);");
  const double x[] = {0.5, 1.9, -3}, raw[] = {log(0.3 / 0.7)};
  const Run run = {.rows = 1, .inputs = {{"x", x}, {"w", raw}}};
  double wanted = 0;
  for (int i = 0; i < 3; i++)
    wanted += log(0.3 * exp(log_normal_density(x[i], 0, 1)) + 0.7 * exp(log_normal_density(x[i], 2, 0.1)));
  near(reported(&s, "log_lik(x)", &run), wanted, "log density");
  spec_close(&s);
}

/* Rule 13: a component of weight exactly 0 contributes nothing and has gradient 0, whatever its density is. */
Test(mixtures, weight_of_zero) {
  Spec s = spec_right("model m; data x : real; param a : real init 0; param b : real init 0; let off = 0;\n"
                      "likelihood x ~ mixture(1 - off: normal(a, 1), off: normal(b, 1e-30));\nobjective log_lik(x);");
  const double x[] = {0.5}, zero[] = {0};
  const Run run = {.rows = 1, .inputs = {{"x", x}, {"a", zero}, {"b", zero}}};
  near(reported(&s, "log_lik(x)", &run), log_normal_density(0.5, 0, 1), "log density");
  near(spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "a", &run)[0], -0.5, "gradient of the other");
  const Output *b = spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "b");
  if (b) near(spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "b", &run)[0], 0, "its gradient");
  spec_close(&s);
}

Test(mixtures, joint_components_over_a_dim) {
  Spec s = spec_right(
      "model m; dim D = 2; dim C = 3; data x : real[D]; param w : real[C] init 0; param u : real[C, D] init 0;\n"
      "likelihood x ~ mixture(softmax(w): joint(normal(u, 0.5), over = D), over = C);\nobjective log_lik(x);");
  const double x[] = {0.5, -1}, w[] = {0, 1, 2}, u[] = {0, 0, 1, -1, 0.3, 0.7};
  const Run run = {.rows = 1, .inputs = {{"x", x}, {"w", w}, {"u", u}}};
  double total = 1 + exp(1) + exp(2), density = 0;
  for (int c = 0; c < 3; c++)
    density +=
        exp(w[c]) / total * exp(log_normal_density(x[0], u[2 * c], 0.5) + log_normal_density(x[1], u[2 * c + 1], 0.5));
  near(reported(&s, "log_lik(x)", &run), log(density), "log density");
  spec_close(&s);
}

/* Without joint the components are chosen element by element. */
Test(mixtures, scalar_components_over_a_dim) {
  Spec s = spec_right("model m; dim D = 2; dim C = 3; data x : real[D]; param u : real[C] init 0;\n"
                      "likelihood x ~ mixture(1 / C: normal(expand_last(u), 0.5), over = C);\n"
                      "function expand_last(v : real[n]) = v;\nobjective log_lik(x);");
  const double x[] = {0.5, -1}, u[] = {0, 1, 0.3};
  const Run run = {.rows = 1, .inputs = {{"x", x}, {"u", u}}};
  double wanted = 0;
  for (int i = 0; i < 2; i++) {
    double density = 0;
    for (int c = 0; c < 3; c++) density += exp(log_normal_density(x[i], u[c], 0.5)) / 3;
    wanted += log(density);
  }
  near(reported(&s, "log_lik(x)", &run), wanted, "log density");
  spec_close(&s);
}

Test(mixtures, draws_come_from_all_components) {
  Spec s = spec_right(
      "model m; data x : real; draw u : real ~ mixture(0.25: normal(-5, 0.1), 0.75: normal(5, 0.1));\n"
      "likelihood x ~ normal(0, 1);\nobjective log_lik(x);\nmetric upper = u > 0;\nmetric size = abs(abs(u) - 5) < 1;");
  const Run run = {.rows = 20000};
  double share = reported(&s, "upper", &run);
  cr_expect(fabs(share - 0.75) < 4 * sqrt(0.75 * 0.25 / 20000), "%g of the draws are from the second component", share);
  near(reported(&s, "size", &run), 1, "draws near a mean");
  spec_close(&s);
}

Test(categories, log_density_and_words) {
  Spec s = spec_right("model m; dim C = 3; data y : category(C); param l : real[C] init 0;\n"
                      "likelihood y ~ categorical(logits = l);\nobjective log_lik(y);\nmetric number = "
                      "index(y);\nmetric best = argmax(l);");
  const double y[] = {0, 0, 1, 1, 0, 0}, l[] = {1, 2, 0.5};
  const Run run = {.rows = 2, .inputs = {{"y", y}, {"l", l}}};
  double total = log(exp(1) + exp(2) + exp(0.5));
  near(reported(&s, "log_lik(y)", &run), (0.5 - total + 1 - total) / 2, "log probability");
  near(reported(&s, "number", &run), 1, "mean of the labels 2 and 0");
  near(reported(&s, "best", &run), 1, "argmax");
  spec_close(&s);
}

Test(categories, one_constant_for_all_probabilities) {
  Spec s = spec_right("model m; dim C = 4; data y : category(C); param a : real; likelihood y ~ categorical(prob = 1 / "
                      "C);\nobjective log_lik(y) + a;");
  const double y[] = {0, 0, 1, 0};
  const Run run = {.rows = 1, .inputs = {{"y", y}}};
  near(reported(&s, "log_lik(y)", &run), -log(4), "log probability");
  spec_close(&s);
}

/* Rule 9: what is said of a param counts 1 / rows a datum. */
Test(priors, of_a_param) {
  Spec s = spec_right("model m; dim D = 2; data x : real; param a : real[D] init 0; prior a ~ laplace(0, 0.5);\n"
                      "likelihood x ~ normal(sum(a), 1);\nobjective elbo;");
  const double x[] = {1, 2}, a[] = {0.25, -1};
  const Run run = {.rows = 2, .inputs = {{"x", x}, {"a", a}}};
  double rows =
      reported(&s, "log_prior(a)", &run) == 0 ? 0 : (-(1.25) / 0.5 - 2 * log(1.0)) / reported(&s, "log_prior(a)", &run);
  cr_assert(rows >= 1 && rows == floor(rows), "log_prior(a) is not the log density over a number of rows: %g", rows);
  double lik = (log_normal_density(1, -0.75, 1) + log_normal_density(2, -0.75, 1)) / 2;
  near(reported(&s, "elbo", &run), lik - 2.5 / rows, "elbo");
  spec_close(&s);
}

Test(priors, global_latent) {
  Spec s = spec_right("model m; data x : real; param a : real; param m : real init 0.5; param t : positive init 2;\n"
                      "prior a ~ normal(0, 1); posterior a ~ normal(m, t);\nlikelihood x ~ normal(a, 1);\nobjective "
                      "elbo;\nmetric draw_of_a = a;");
  const Run one = {.rows = 1}, many = {.rows = 7};
  near(reported(&s, "draw_of_a", &one), reported(&s, "draw_of_a", &many), "the draw is one for all rows");
  double kl = reported(&s, "kl(a)", &one), whole = -log(2) + (4 + 0.25) / 2 - 0.5;
  cr_assert(whole / kl >= 1 && fabs(whole / kl - round(whole / kl)) < 1e-9, "kl(a) %g is not %g over a number of rows",
            kl, whole);
  spec_close(&s);
}

Test(priors, depend_on_no_datum) {
  Spec s =
      spec_text("model m; data x : real; param a : real; prior a ~ normal(x, 1); likelihood x ~ normal(a, 1);", NULL);
  cr_assert(spec_says(&s, "global"));
  cr_assert(s.errors == 1);
  spec_close(&s);
}

static Spec using(const char *library, const char *model) {
  scratch_make();
  scratch_write("library.spm", library, strlen(library));
  CompileOptions options = {.invent_dims = true};
  Spec s = spec_open(scratch_write("model.spm", model, strlen(model)), &options);
  scratch_remove();
  return s;
}

Test(use, brings_declarations) {
  Spec s = using("function half(t) = t / 2;\n", "model m; use \"library.spm\"; data x : real; likelihood x ~ "
                                                "normal(half(4), 1); param a : real; objective log_lik(x) + a;");
  const double x[] = {2};
  const Run run = {.rows = 1, .inputs = {{"x", x}}};
  cr_assert(s.errors == 0);
  near(reported(&s, "log_lik(x)", &run), log_normal_density(2, 2, 1), "log density");
  spec_close(&s);
}

Test(use, ones_own_declaration_comes_first) {
  Spec s = using("function half(t) = t / 3;\n",
                 "model m; use \"library.spm\"; function half(t) = t / 2; data x : real; likelihood x ~ "
                 "normal(half(4), 1); param a : real; objective log_lik(x) + a;");
  const double x[] = {2};
  const Run run = {.rows = 1, .inputs = {{"x", x}}};
  near(reported(&s, "log_lik(x)", &run), log_normal_density(2, 2, 1), "log density");
  spec_close(&s);
}

Test(use, refuses_cycles_and_models) {
  Spec s = using("use \"library.spm\"; function half(t) = t / 3;\n", "model m; use \"library.spm\"; data x : real;");
  cr_assert(spec_says(&s, "use-cycle"));
  spec_close(&s);
  s = using("model other; data y : real;\n", "model m; use \"library.spm\"; data x : real;");
  cr_assert(spec_says(&s, "use-model"));
  spec_close(&s);
}

/* A posterior of single elements under a prior of whole codes: the prior's density counts once, not once an element. */
Test(mixtures, kl_of_elements_under_a_joint_prior) {
  Spec s = spec_right(
      "model m;\ndim K = 5;\ndata x : real[K];\nlatent z : real[K];\n"
      "prior z ~ mixture(0.3: joint(normal(0, 1), over = K), 0.7: joint(normal(0, 1), over = K));\n"
      "posterior z ~ normal(0 * x, 1);\nlikelihood x ~ normal(z, 1);\nobjective elbo;\nmetric divergence = kl(z);\n");
  cr_expect(fabs(spec_metric(&s, "divergence", &(Run){.rows = 3})) < 1e-9, "%g",
            spec_metric(&s, "divergence", &(Run){.rows = 3}));
  spec_close(&s);
}
