/* The shipped library against itself and against quadrature: densities integrate to one, entropies, means, variances
 * and closed KLs are what their densities say, samplers draw from them. Distributions declared in a spec count too. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "compiler/statements.h"
#include "spec.h"

enum { NODES = 40001, DRAWS = 100000 };

/* Rows y over [low, high]: metrics of densities at y are integrals divided by the length. */
static double *grid(Spec *s, double low, double high) {
  double *y = arena_array(s->c, double, NODES);
  for (int i = 0; i < NODES; i++) y[i] = low + (high - low) * (i + 0.5) / NODES;
  return y;
}

/* A field of a distribution at no particular value: entropy, mean, variance. */
static double field_of(Spec *s, const char *distribution, const char *field) {
  Elaborator *e = elaborator_create(s->model, PROGRAM_EVALUATE, 1);
  Item *let = model_find_declaration(s->model, intern(s->c, distribution));
  cr_assert(let != NULL);
  Value d = model_value(e, let, let->name_span);
  cr_assert(d.kind == VALUE_DISTRIBUTION);
  Shape scalar = {0};
  bool missing;
  Value v = distribution_field(e, &d, field, NULL, &scalar, let->name_span, &missing);
  cr_assert(!missing, "%s has no %s", distribution, field);
  return *spec_values(s, e->graph, value_node(e, &v), NULL);
}

typedef struct Family {
  const char *expression;
  double low, high;
  const char *declaration; /* of its own, or NULL */
} Family;

static void close_to(double found, double expected, double tolerance, const char *what, const char *of) {
  cr_expect(fabs(found - expected) <= tolerance * (1 + fabs(expected)), "%s of %s: %.12g, not %.12g", what, of, found,
            expected);
}

#define TWO_SIDED                                                                                                      \
  "distribution two_sided(z : real; mode, left : positive, right : positive) {\n"                                      \
  "  log_pdf = (z < mode ? (z - mode) / left : (mode - z) / right) - log(left + right);\n"                             \
  "  sample(u : uniform) = u * (left + right) < left ? mode + left * log(u * (left + right) / left)\n"                 \
  "                                                  : mode - right * log((1 - u) * (left + right) / right);\n"        \
  "  entropy = 1 + log(left + right);\n  mean = mode + right - left;\n  variance = left^2 + right^2;\n}\n"
#define SKEWED                                                                                                         \
  "distribution logistic(z : real; middle, width : positive) {\n  t = (z - middle) / width;\n"                         \
  "  log_pdf = -t - 2 * softplus(-t) - log(width);\n  sample(u : uniform) = middle + width * (log(u) - log1p(-u));\n"  \
  "  entropy = 2 + log(width);\n  mean = middle;\n  variance = (pi * width)^2 / 3;\n}\n"

static const Family continuous[] = {
    {"normal(0.3, 1.2)", -12, 12.6, ""},
    {"normal(mean = -1, variance = 0.25)", -6, 4, ""},
    {"laplace(0.3, 0.7)", -25.7, 26.3, ""},
    {"uniform(-1, 3)", -1, 3, ""},
    {"two_sided(0.2, 0.5, 1.5)", -15, 45, TWO_SIDED},
    {"logistic(-0.5, 0.4)", -16.5, 15.5, SKEWED},
};
enum { CONTINUOUS = sizeof continuous / sizeof *continuous };

static Spec with_family(const Family *f) {
  char text[4000];
  snprintf(
      text, sizeof text,
      "model m;\n%sdata y : real;\nlet d = %s;\ndraw t : real ~ d;\nlet pdf = exp(log_pdf(d, y));\nobjective t * y;\n"
      "metric one = pdf;\nmetric first = y * pdf;\nmetric second = y^2 * pdf;\nmetric surprise = -pdf * log_pdf(d, "
      "y);\n"
      "metric said = entropy(d);\nmetric draws = t;\nmetric squares = t^2;\nmetric below = t < %s;\n",
      f->declaration, f->expression, "0.4");
  return spec_right(text);
}

Test(library, densities_entropies_means_and_variances) {
  for (int i = 0; i < CONTINUOUS; i++) {
    const Family *f = &continuous[i];
    Spec s = with_family(f);
    Run run = {.rows = NODES, .inputs = {{"y", grid(&s, f->low, f->high)}}};
    double length = f->high - f->low, mean = length * spec_metric(&s, "first", &run),
           second = length * spec_metric(&s, "second", &run);
    close_to(length * spec_metric(&s, "one", &run), 1, 1e-5, "integral", f->expression);
    close_to(spec_metric(&s, "said", &run), length * spec_metric(&s, "surprise", &run), 1e-4, "entropy", f->expression);
    close_to(field_of(&s, "d", "entropy"), length * spec_metric(&s, "surprise", &run), 1e-4, "entropy", f->expression);
    close_to(field_of(&s, "d", "mean"), mean, 1e-4, "mean", f->expression);
    close_to(field_of(&s, "d", "variance"), second - mean * mean, 1e-4, "variance", f->expression);
    spec_close(&s);
  }
}

Test(library, samplers_draw_from_their_densities) {
  for (int i = 0; i < CONTINUOUS; i++) {
    const Family *f = &continuous[i];
    Spec s = with_family(f);
    Run run = {.rows = DRAWS};
    double mean = field_of(&s, "d", "mean"), variance = field_of(&s, "d", "variance");
    double found = spec_metric(&s, "draws", &run), second = spec_metric(&s, "squares", &run);
    cr_expect(fabs(found - mean) < 5 * sqrt(variance / DRAWS), "%s: mean %g, not %g", f->expression, found, mean);
    cr_expect(fabs(second - mean * mean - variance) < 0.04 * variance, "%s: variance %g, not %g", f->expression,
              second - mean * mean, variance);
    double share = spec_metric(&s, "below", &run), to = 0.4;
    double *y = arena_array(s.c, double, NODES);
    for (int k = 0; k < NODES; k++) y[k] = f->low + (to - f->low) * (k + 0.5) / NODES;
    Run part = {.rows = NODES, .inputs = {{"y", y}}};
    double below = (to - f->low) * spec_metric(&s, "one", &part);
    cr_expect(fabs(share - below) < 0.008, "%s: %g lie below, not %g", f->expression, share, below);
    spec_close(&s);
  }
}

typedef struct Pair {
  const char *q, *p;
  double low, high;
} Pair;

static const Pair pairs[] = {
    {"normal(0.3, 1.2)", "laplace(0, 1)", -12, 12.6},        {"normal(2, 0.1)", "laplace(0.5, 0.3)", 1, 3},
    {"normal(0.3, 1.2)", "normal(-0.5, 2)", -12, 12.6},      {"normal(mean = 1, sd = 0.2)", "normal(0, 1)", -1, 3},
    {"laplace(0.3, 0.7)", "laplace(0, 1)", -25.7, 26.3},     {"laplace(1, 0.2)", "laplace(-1, 3)", -9, 11},
    {"laplace(0.3, 0.7)", "normal(-0.2, 1.5)", -25.7, 26.3}, {"laplace(0, 2)", "normal(0, 1)", -70, 70},
};

Test(library, closed_kl_is_quadrature) {
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    char text[1000], what[100];
    snprintf(what, sizeof what, "%s || %s", pairs[i].q, pairs[i].p);
    snprintf(text, sizeof text,
             "model m;\ndata y : real;\nlet q = %s;\nlet p = %s;\nobjective y;\nmetric closed = kl(q, p);\n"
             "metric integrand = exp(log_pdf(q, y)) * (log_pdf(q, y) - log_pdf(p, y));\n",
             pairs[i].q, pairs[i].p);
    Spec s = spec_right(text);
    Run run = {.rows = NODES, .inputs = {{"y", grid(&s, pairs[i].low, pairs[i].high)}}};
    close_to(spec_metric(&s, "closed", &run), (pairs[i].high - pairs[i].low) * spec_metric(&s, "integrand", &run), 2e-5,
             "KL", what);
    spec_close(&s);
  }
}

/* The closed form that a model takes equals the Monte Carlo estimate it takes when asked. */
Test(library, closed_kl_is_monte_carlo) {
  static const char *const priors[] = {"normal(-0.5, 2)", "laplace(0.2, 0.8)"}, *const posteriors[] = {
                                                                                    "normal(0.3, 1.2)",
                                                                                    "laplace(0.3, 0.7)"};
  for (int i = 0; i < 4; i++) {
    char text[1000];
    snprintf(
        text, sizeof text,
        "model m;\ndata x : real;\nlatent z : real;\nprior z ~ %s;\nposterior z ~ %s;\nlikelihood x ~ normal(z, 1);\n"
        "objective elbo(kl = closed);\nmetric closed = kl(z, method = closed);\nmetric drawn = kl(z, method = "
        "monte_carlo);\n"
        "metric spread = (log_post(z) - log_prior(z))^2;\n",
        priors[i % 2], posteriors[i / 2]);
    Spec s = spec_right(text);
    Run run = {.rows = DRAWS};
    double closed = spec_metric(&s, "closed", &run), drawn = spec_metric(&s, "drawn", &run),
           spread = spec_metric(&s, "spread", &run);
    cr_expect(fabs(closed - drawn) < 5 * sqrt(spread / DRAWS), "%s: %g by rule, %g by %d draws", text, closed, drawn,
              DRAWS);
    spec_close(&s);
  }
}

Test(library, bernoulli) {
  Spec s = spec_right("model m;\ndata y : unit;\nlet q = bernoulli(logits = 0.4);\nlet p = bernoulli(logits = "
                      "-1.3);\nlet r = bernoulli(prob = 0.2);\nlet never = bernoulli(prob = 0);\n"
                      "draw t : binary ~ q;\ndraw u : binary ~ r;\nobjective y;\nmetric qy = log_pdf(q, y);\nmetric py "
                      "= log_pdf(p, y);\nmetric ry = log_pdf(r, y);\n"
                      "metric closed = kl(q, p);\nmetric hq = entropy(q);\nmetric hr = entropy(r);\nmetric hn = "
                      "entropy(never);\nmetric ny = log_pdf(never, 0);\n"
                      "metric st = t;\nmetric su = u;\n");
  double log_q[2], log_p[2], log_r[2], y[3] = {0, 1, 0.3};
  for (int i = 0; i < 2; i++) {
    Run run = {.rows = 1, .inputs = {{"y", &y[i]}}};
    log_q[i] = spec_metric(&s, "qy", &run);
    log_p[i] = spec_metric(&s, "py", &run);
    log_r[i] = spec_metric(&s, "ry", &run);
  }
  close_to(exp(log_q[0]) + exp(log_q[1]), 1, 1e-12, "sum", "bernoulli(logits)");
  close_to(exp(log_r[0]) + exp(log_r[1]), 1, 1e-12, "sum", "bernoulli(prob)");
  close_to(exp(log_r[1]), 0.2, 1e-12, "probability", "bernoulli(prob)");
  double kl = 0, hq = 0, hr = 0;
  for (int i = 0; i < 2; i++) {
    kl += exp(log_q[i]) * (log_q[i] - log_p[i]);
    hq -= exp(log_q[i]) * log_q[i];
    hr -= exp(log_r[i]) * log_r[i];
  }
  close_to(spec_metric(&s, "closed", NULL), kl, 1e-12, "KL", "bernoulli");
  close_to(spec_metric(&s, "hq", NULL), hq, 1e-12, "entropy", "bernoulli(logits)");
  close_to(spec_metric(&s, "hr", NULL), hr, 1e-12, "entropy", "bernoulli(prob)");
  cr_expect(spec_metric(&s, "hn", NULL) == 0 && spec_metric(&s, "ny", NULL) == 0);
  Run between = {.rows = 1, .inputs = {{"y", &y[2]}}}; /* rule 14 */
  close_to(spec_metric(&s, "ry", &between), 0.3 * log(0.2) + 0.7 * log(0.8), 1e-12, "log_pdf at 0.3",
           "bernoulli(prob)");
  close_to(field_of(&s, "q", "mean"), exp(log_q[1]), 1e-12, "mean", "bernoulli(logits)");
  close_to(field_of(&s, "r", "variance"), 0.16, 1e-12, "variance", "bernoulli(prob)");
  Run run = {.rows = DRAWS};
  cr_expect(fabs(spec_metric(&s, "st", &run) - exp(log_q[1])) < 0.008 &&
            fabs(spec_metric(&s, "su", &run) - 0.2) < 0.007);
  spec_close(&s);
}

/* A family declared in the spec, as a posterior and as a prior: its KL has no rule, so the draws decide. */
Test(library, a_family_of_ones_own) {
  Spec s = spec_right(
      "model own;\ndata x : real;\nlatent z : real;\nlatent u : real;\nprior z ~ normal(0, 1);\nposterior z ~ "
      "two_sided(x, 0.5, 1.5);\n"
      "prior u ~ two_sided(0, 1, 1);\nposterior u ~ normal(0.3, 0.8);\nlikelihood x ~ normal(z + u, 1);\n" TWO_SIDED
      "objective elbo(kl = monte_carlo);\n");
  Text notes = {.compilation = s.c};
  model_describe(&notes, s.model);
  cr_expect(strstr(notes.bytes, "kl(z): two_sided || normal, Monte Carlo, as asked"), "%s", notes.bytes);
  Run run = {.rows = DRAWS};
  /* E[log q] = -1 - log 2 and E[z^2] = variance + mean^2 = 2.5 + 1 at x = 0. */
  double kl_z = -1 - log(2) + 0.5 * 3.5 + 0.5 * log(2 * acos(-1));
  /* two_sided(0, 1, 1) is laplace(0, 1). */
  double folded = 0.8 * sqrt(2 / acos(-1)) * exp(-0.5 * 0.3 * 0.3 / 0.64) + 0.3 * erf(0.3 / (0.8 * sqrt(2)));
  double kl_u = log(2) + folded - (0.5 + 0.5 * log(2 * acos(-1)) + log(0.8));
  cr_expect(fabs(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "kl(z)", &run) - kl_z) < 0.06);
  cr_expect(fabs(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "kl(u)", &run) - kl_u) < 0.02);
  spec_close(&s);
}

/* A rule declared in the spec is taken before any estimate, with its parameters where they belong. */
Test(library, a_rule_of_ones_own) {
  Spec s = spec_right(
      "model own;\ndata x : real;\nlatent z : real;\nprior z ~ two_sided(0, 1, 1);\nposterior z ~ laplace(x, "
      "0.5);\nlikelihood x ~ normal(z, 1);\n" TWO_SIDED
      "rule kl(laplace(m, s), two_sided(0, l, r)) = 100 * s + 10 * l + r + 0 * m;\nobjective elbo(kl = closed);\n");
  cr_expect(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "kl(z)", NULL) == 61);
  spec_close(&s);
}

/* Rule 5: in a bottom-up hierarchy the closed form averaged over z2 is wrong (+2.826 for -1.173). */
Test(library, unsound_closed_forms_are_not_taken) {
  Spec s = spec_right("model deep;\ndata x : real;\nlatent z1 : real;\nlatent z2 : real;\nprior z2 ~ normal(0, "
                      "1);\nprior z1 ~ normal(z2, 0.5);\n"
                      "posterior z1 ~ normal(0, 1);\nposterior z2 ~ normal(z1, 0.1);\nlikelihood x ~ normal(z1, 1);\n");
  Run run = {.rows = DRAWS};
  double kl = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "kl(z1)", &run);
  cr_expect(fabs(kl + 1.173) < 0.03, "%g", kl);
  Text notes = {.compilation = s.c};
  model_describe(&notes, s.model);
  cr_expect(strstr(notes.bytes, "kl(z1): normal || normal, Monte Carlo") &&
                strstr(notes.bytes, "kl(z2): normal || normal, closed form"),
            "%s", notes.bytes);
  spec_close(&s);
}

/* Events of several numbers: one density an event. */
Test(library, vector_events) {
  Spec s = spec_right(
      "model vectors;\ndim G = 3;\ndim M = 2;\ndata x : real[G, M];\nlatent z : real[G, M];\n"
      "distribution ball(v : real[m]; scale : positive) {\n  log_pdf = -0.5 * sum(v^2) / scale^2 - m * log(scale) - "
      "0.5 * m * log(2 * pi);\n"
      "  sample(e : standard_normal[m]) = scale * e;\n  entropy = m * (0.5 + 0.5 * log(2 * pi) + log(scale));\n}\n"
      "prior z ~ ball(2);\nposterior z ~ normal(x, 0.5);\nlikelihood x ~ normal(z, 1);\n"
      "objective log_lik(x) + log_prior(z) + entropy(z);\nmetric each = sum(log_pdf(ball(2), x));\nmetric third = "
      "log_pdf(ball(0.5), x)[2];\n");
  const double x[] = {1, 2, 3, 4, 5, 6};
  Run run = {.rows = 1, .inputs = {{"x", x}}};
  double constant = 2 * log(2) + log(2 * acos(-1));
  close_to(spec_metric(&s, "each", &run), -0.5 * 91 / 4 - 3 * constant, 1e-12, "log_pdf", "ball");
  close_to(spec_metric(&s, "third", &run), -0.5 * 61 / 0.25 + 2 * log(2) - log(2 * acos(-1)), 1e-12, "log_pdf", "ball");
  spec_close(&s);
}

Test(library, mixtures) {
  static const Family mixed[] = {{"mixture(0.3: normal(-1, 0.5), 0.7: laplace(2, 0.4))", -16, 18, ""},
                                 {"mixture(0: normal(-1, 0.5), 1: normal(2, 0.4))", -4, 8, ""}};
  static const double means[] = {-0.3 + 1.4, 2}, squares[] = {0.3 * 1.25 + 0.7 * (4 + 0.32), 4.16};
  for (int i = 0; i < 2; i++) {
    const Family *f = &mixed[i];
    char text[2000];
    snprintf(text, sizeof text,
             "model m;\ndata y : real;\nlet d = %s;\ndraw t : real ~ d;\nlet pdf = exp(log_pdf(d, y));\nobjective t * "
             "y;\nmetric one = pdf;\n"
             "metric first = y * pdf;\nmetric draws = t;\nmetric second = t^2;\n",
             f->expression);
    Spec s = spec_right(text);
    Run run = {.rows = NODES, .inputs = {{"y", grid(&s, f->low, f->high)}}}, many = {.rows = DRAWS};
    double length = f->high - f->low;
    close_to(length * spec_metric(&s, "one", &run), 1, 1e-5, "integral", f->expression);
    close_to(length * spec_metric(&s, "first", &run), means[i], 1e-4, "mean", f->expression);
    close_to(field_of(&s, "d", "mean"), means[i], 1e-12, "mean", f->expression);
    cr_expect(fabs(spec_metric(&s, "draws", &many) - means[i]) < 0.03 &&
                  fabs(spec_metric(&s, "second", &many) - squares[i]) < 0.08,
              "%s", f->expression);
    spec_close(&s);
  }
}

static double normal_log_pdf(double z, double m, double s) {
  return -0.5 * (z - m) * (z - m) / (s * s) - log(s) - 0.5 * log(2 * acos(-1));
}

/* A mixture of joints has one weight a vector, a plain one a weight an element. */
Test(library, mixtures_over_a_dim_and_joints) {
  Spec s = spec_right(
      "model m;\ndim C = 2;\ndim K = 2;\ndata x : real[K];\nparam w : simplex[C] init 1 / C;\nparam m : real[C, K] "
      "init 1;\nparam s : positive[C, K] fixed init 1;\n"
      "objective sum(x);\nmetric vectors = log_pdf(mixture(w: joint(normal(m, 2), over = K), over = C), x);\n"
      "metric elements = sum(log_pdf(mixture(w: normal(m, 2), over = C), x));\nmetric whole = log_pdf(joint(normal(0, "
      "1), over = K), x);\n");
  const double m[] = {0, 1, 2, -1}, x[] = {0.5, -0.3}, w[] = {0.4, -0.2};
  Run run = {.rows = 1, .inputs = {{"m", m}, {"x", x}, {"w", w}}};
  double share[2], part[2][2], vectors = 0, elements = 0,
                               whole = normal_log_pdf(x[0], 0, 1) + normal_log_pdf(x[1], 0, 1);
  for (int c = 0; c < 2; c++) {
    share[c] = exp(w[c]) / (exp(w[0]) + exp(w[1]));
    for (int k = 0; k < 2; k++) part[c][k] = normal_log_pdf(x[k], m[2 * c + k], 2);
    vectors += share[c] * exp(part[c][0] + part[c][1]);
  }
  for (int k = 0; k < 2; k++) elements += log(share[0] * exp(part[0][k]) + share[1] * exp(part[1][k]));
  close_to(spec_metric(&s, "vectors", &run), log(vectors), 1e-12, "log_pdf", "a mixture of joints");
  close_to(spec_metric(&s, "elements", &run), elements, 1e-12, "log_pdf", "a mixture over C");
  close_to(spec_metric(&s, "whole", &run), whole, 1e-12, "log_pdf", "a joint");
  spec_close(&s);
}

Test(library, categorical) {
  Spec s = spec_right("model m;\ndim N = 3;\ndata y : category(N);\nparam l : real[N] init 0;\nlet q = "
                      "categorical(logits = l);\nlet p = categorical(prob = softmax(2 * l));\n"
                      "likelihood y ~ categorical(logits = l);\ndraw t : category(N) ~ q;\nobjective "
                      "log_lik(y);\nmetric a = log_pdf(q, y);\nmetric b = log_pdf(p, y);\n"
                      "metric number = index(y);\nmetric h = entropy(q);\nmetric kl = kl(q, categorical(logits = 2 * "
                      "l));\nmetric first = t[0];\nmetric sums = sum(t);\n");
  const double l[] = {0.3, -1, 0.8}, y[] = {0, 0, 1};
  double z1 = 0, z2 = 0, h = 0, kl = 0;
  for (int i = 0; i < 3; i++) {
    z1 += exp(l[i]);
    z2 += exp(2 * l[i]);
  }
  for (int i = 0; i < 3; i++) {
    double q = l[i] - log(z1), p = 2 * l[i] - log(z2);
    h -= exp(q) * q;
    kl += exp(q) * (q - p);
  }
  Run run = {.rows = 1, .inputs = {{"y", y}, {"l", l}}}, many = {.rows = DRAWS, .inputs = {{"l", l}}};
  close_to(spec_metric(&s, "a", &run), 0.8 - log(z1), 1e-12, "log_pdf", "categorical(logits)");
  close_to(spec_metric(&s, "b", &run), 1.6 - log(z2), 1e-12, "log_pdf", "categorical(prob)");
  close_to(spec_metric(&s, "number", &run), 2, 1e-12, "index", "a category");
  close_to(spec_metric(&s, "h", &run), h, 1e-12, "entropy", "categorical");
  close_to(spec_metric(&s, "kl", &run), kl, 1e-12, "KL", "categorical");
  close_to(spec_metric(&s, "sums", &many), 1, 1e-12, "sum", "a draw");
  cr_expect(fabs(spec_metric(&s, "first", &many) - exp(0.3) / z1) < 0.008);
  spec_close(&s);
}
