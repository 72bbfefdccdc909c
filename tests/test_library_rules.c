/* The shipped library against itself by other routes: closed-form KL rules against quadrature of the log densities
 * (which tests/test_library.c holds to SciPy), split at kinks, with an atom counted as a point; samplers against their
 * densities by the statistic of Kolmogorov and Smirnov at a fixed seed. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec.h"

enum { NODES = 301, MOST_NODES = 4 * NODES };

typedef struct Grid {
  int count;
  double z[MOST_NODES], w[MOST_NODES];
} Grid;

/* Double-exponential nodes on (a, b); either end may be infinite. */
static void add_piece(Grid *g, double a, double b) {
  for (int i = 0; i < NODES; i++) {
    double h = 8.0 / (NODES - 1), t = -4 + h * i, s = 1.5707963267948966 * sinh(t), ds = 1.5707963267948966 * cosh(t),
           z, w;
    if (isfinite(a) && isfinite(b)) {
      double y = 1 / (1 + exp(-2 * s));
      z = y < 0.5 ? a + (b - a) * y : b - (b - a) / (1 + exp(2 * s));
      w = (b - a) * 2 * ds / ((1 + exp(-2 * s)) * (1 + exp(2 * s)));
    } else {
      w = exp(s) * ds;
      z = isfinite(a) ? a + exp(s) : b - exp(s);
    }
    if (!(z > a && z < b) || w <= 0 || !isfinite(w)) continue;
    g->z[g->count] = z;
    g->w[g->count++] = w * h;
  }
}

typedef struct Rule {
  const char *q, *p;
  double pieces[4]; /* ends of the pieces, until NAN */
  bool atom;        /* q has a mass at 0; without pieces: the counts, in the place of a coin */
} Rule;

static Grid grid_of(const Rule *r) {
  Grid g = {0};
  if (isnan(r->pieces[0])) {
    for (g.count = 0; g.count < (r->atom ? NODES : 2); g.count++) g.z[g.count] = g.count, g.w[g.count] = 1;
    return g;
  }
  for (int i = 0; i < 3 && !isnan(r->pieces[i + 1]); i++) add_piece(&g, r->pieces[i], r->pieces[i + 1]);
  if (r->atom) {
    g.z[g.count] = 0;
    g.w[g.count++] = 1;
  }
  return g;
}

static void check_rule(const Rule *r) {
  static char text[3000];
  Grid g = grid_of(r);
  snprintf(text, sizeof text,
           "model rule_test;\ndim N = %d;\ndata x : real[1];\nparam z : real[N] init 0;\nparam w : real[N] init "
           "0;\nobjective sum(z * w) + sum(x);\n"
           "let lq = log_pdf(%s, z);\nlet lp = log_pdf(%s, z);\nmetric closed = kl(%s, %s);\nmetric summed = sum(lq > "
           "-700 ? w * exp(lq) * (lq - lp) : 0);\n",
           g.count, r->q, r->p, r->q, r->p);
  Spec s = spec_right(text);
  const double x[1] = {0};
  Run run = {.rows = 1, .inputs = {{"z", g.z}, {"w", g.w}, {"x", x}}};
  double closed = spec_metric(&s, "closed", &run), summed = spec_metric(&s, "summed", &run);
  cr_expect(fabs(closed - summed) <= 1e-9 * (1 + fabs(summed)), "kl(%s, %s) is %.15g by its rule, %.15g by quadrature",
            r->q, r->p, closed, summed);
  spec_close(&s);
}

#define LINE {-INFINITY, 0, INFINITY, NAN}, false
#define LINE_AND_ATOM {-INFINITY, 0, INFINITY, NAN}, true
#define SPLIT(a, b) {-INFINITY, a, b, INFINITY}, false
#define POSITIVE {0, 1, INFINITY, NAN}, false
#define UNIT {0, 1, NAN}, false
#define COIN {NAN}, false
#define COUNTS {NAN}, true

Test(library_rules, kl_rules_agree_with_quadrature) {
  const Rule rules[] = {
      {"normal(0.3, 0.5)", "normal(0, 1)", LINE},
      {"normal(-2, 1.5)", "normal(1, 0.4)", LINE},
      {"normal(0.3, 0.05)", "laplace(0, 1)", SPLIT(0, 0.3)},
      {"normal(1, 2)", "laplace(-1, 0.3)", SPLIT(-1, 1)},
      {"laplace(0.2, 0.4)", "laplace(0, 1)", SPLIT(0, 0.2)},
      {"laplace(-1, 3)", "laplace(1, 0.5)", SPLIT(-1, 1)},
      {"laplace(0.5, 0.7)", "normal(0, 1)", SPLIT(0, 0.5)},
      {"laplace(2, 0.1)", "normal(1, 3)", SPLIT(1, 2)},
      {"normal(0.4, variance = 2)", "laplace(0, 1)", SPLIT(0, 0.4)},
      {"spike_slab(0.3, 0.5, 0.2)", "spike_slab(0.1, 0, 1)", LINE_AND_ATOM},
      {"spike_slab(0.999, -1, 0.5)", "spike_slab(0.5, 0, 2)", LINE_AND_ATOM},
      {"exponential(rate = 2)", "exponential(rate = 0.5)", POSITIVE},
      {"exponential(scale = 3)", "exponential(rate = 4)", POSITIVE},
      {"gamma(2, rate = 3)", "gamma(1.5, rate = 0.7)", POSITIVE},
      {"gamma(0.6, scale = 3)", "gamma(4, rate = 0.2)", POSITIVE},
      {"gamma(30, rate = 30)", "gamma(25, rate = 20)", POSITIVE},
      {"exponential(rate = 2)", "gamma(1.7, rate = 3)", POSITIVE},
      {"exponential(scale = 0.3)", "gamma(0.8, scale = 2)", POSITIVE},
      {"gamma(2.5, rate = 3)", "exponential(rate = 0.5)", POSITIVE},
      {"gamma(0.7, scale = 3)", "exponential(scale = 2)", POSITIVE},
      {"log_normal(0.2, 0.5)", "gamma(0.3, rate = 0.3)", POSITIVE},
      {"log_normal(-1, 0.8)", "gamma(12, rate = 5)", POSITIVE},
      {"log_normal(0.2, 0.5)", "log_normal(0, 1)", POSITIVE},
      {"kumaraswamy(2, 3)", "beta(0.5, 1)", UNIT},
      {"kumaraswamy(0.7, 1.6)", "beta(4, 1)", UNIT},
      {"beta(2, 3)", "uniform(0, 1)", UNIT},
      {"kumaraswamy(2, 1.3)", "uniform(0, 1)", UNIT},
      {"beta(2, 3)", "uniform(-1, 4)", UNIT},
      {"bernoulli(logits = 2)", "bernoulli(logits = -1)", COIN},
      {"bernoulli(prob = 0.3)", "bernoulli(prob = 0.6)", COIN},
      {"bernoulli(prob = 0.9)", "bernoulli(logits = 0.4)", COIN},
      {"bernoulli(logits = -30)", "bernoulli(prob = 0.01)", COIN},
      {"poisson(3)", "poisson(0.4)", COUNTS},
      {"poisson(0.01)", "poisson(5)", COUNTS},
      {"poisson(21)", "poisson(20)", COUNTS},
  };
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) check_rule(&rules[i]);
}

/* A rule for anything against a uniform holds only where the support lies inside. */
Test(library_rules, no_rule_beyond_a_uniforms_support) {
  Spec s =
      spec_text("model m;\ndata x : real[1];\nobjective sum(x);\nmetric k = kl(normal(0, 1), uniform(0, 1));\n", NULL);
  cr_assert(spec_says(&s, "kl-rule"));
  spec_close(&s);
}

Test(library_rules, atoms_need_a_method_as_a_posterior) {
  Spec s = spec_text("model m;\ndim K = 2;\ndata x : real[K];\nlatent z : real[K];\nprior z ~ spike_slab(0.1, 0, "
                     "1);\nencoder q(x) { m = dense(x, K); }\n"
                     "posterior z ~ spike_slab(0.2, q.m, 1);\ndecoder p(z) { m = dense(z, K); }\nlikelihood x ~ "
                     "normal(p.m, 1);\nobjective elbo;\n",
                     NULL);
  cr_assert(s.errors == 1 && spec_says(&s, "method"));
  spec_close(&s);
}

/* A Cholesky factor: minus the entropy, and for each element what its marginal makes of the prior. */
Test(library_rules, normal_with_a_cholesky_factor) {
  Spec s = spec_right("model m;\ndim K = 3;\ndata x : real[1];\nparam a : real[K] init 0;\nparam L : real[K, K] init "
                      "0;\nparam b : real[K] init 1;\nobjective sum(a) + sum(L) + sum(b) + sum(x);\n"
                      "let s = sqrt(L^2 @ ones(K));\nlet marginal = sum(log(s)) - sum(log(abs(diag(L))));\n"
                      "metric to_normal = kl(normal(a, cholesky = L), normal(0.5, b)) - sum(log(b / s) + (s^2 + (a - "
                      "0.5)^2) / (2 * b^2) - 0.5) - marginal;\n"
                      "metric to_laplace = kl(normal(a, cholesky = L), laplace(b, 2)) - sum(log(4) + folded_mean(a - "
                      "b, s) / 2 - log(s) - 0.5 * log(2 * pi) - 0.5) - marginal;\n"
                      "metric size = kl(normal(a, cholesky = L), normal(0.5, b));\n");
  const double x[1] = {0}, a[] = {0.3, -1, 2}, L[] = {1, 0, 0, 0.4, 0.5, 0, -0.2, 0.7, 1.5}, b[] = {1, 0.5, 2};
  Run run = {.rows = 1, .inputs = {{"a", a}, {"L", L}, {"b", b}, {"x", x}}};
  cr_assert(fabs(spec_metric(&s, "to_normal", &run)) < 1e-12 && fabs(spec_metric(&s, "to_laplace", &run)) < 1e-12);
  cr_assert(spec_metric(&s, "size", &run) > 1);
  spec_close(&s);
}

Test(library_rules, categorical) {
  Spec s = spec_right("model m;\ndim K = 3;\ndata x : real[1];\nparam a : real[K] init 0;\nparam b : real[K] init "
                      "0;\nobjective sum(a) + sum(b) + sum(x);\n"
                      "metric k0 = kl(categorical(logits = a), categorical(logits = b));\nmetric k1 = "
                      "kl(categorical(prob = softmax(a)), categorical(logits = b));\n"
                      "metric k2 = kl(categorical(logits = a), categorical(prob = softmax(b)));\nmetric k3 = "
                      "kl(categorical(prob = softmax(a)), categorical(prob = softmax(b)));\n");
  const double x[1] = {0}, a[] = {0.3, -1, 2}, b[] = {1, 0.5, -2};
  double ta = 0, tb = 0, wanted = 0;
  for (int i = 0; i < 3; i++) ta += exp(a[i]), tb += exp(b[i]);
  for (int i = 0; i < 3; i++) wanted += exp(a[i]) / ta * (a[i] - log(ta) - b[i] + log(tb));
  Run run = {.rows = 1, .inputs = {{"a", a}, {"b", b}, {"x", x}}};
  for (char name[] = "k0"; name[1] < '4'; name[1]++)
    cr_expect(fabs(spec_metric(&s, name, &run) - wanted) < 1e-13, "%s", name);
  spec_close(&s);
}

/* ---- samplers -------------------------------------------------------------------------------------------------- */

enum { DRAWS = 4000, INSIDE = 5 };

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Log densities of `call` at given points. */
static void densities(const char *call, const double *z, int count, double *out) {
  static char text[600];
  snprintf(text, sizeof text,
           "model d;\ndistribution log_abs_horseshoe(t : positive; scale : positive) { log_pdf = log(2) + "
           "log_pdf(horseshoe(scale), expm1(t)) + t; }\ndim N = %d;\ndata x : real[1];\nparam z : real[N] init "
           "0;\nparam w : real[N] init 1;\nobjective sum(w * log_pdf(%s, z)) + sum(x);\n",
           count, call);
  Spec s = spec_right(text);
  const double x[1] = {0};
  Run run = {.rows = 1, .inputs = {{"z", z}, {"x", x}}};
  const Output *o = spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "w");
  const double *minus = spec_values(&s, model_graph(s.model, PROGRAM_TRAIN), o->value, &run);
  for (int i = 0; i < count; i++) out[i] = -minus[i];
  spec_close(&s);
}

/* The largest distance between the draws' distribution function and the integral of the density, taken between one draw
 * and the next by Gauss and Legendre's rule; what lies beyond the outermost draws is shared out. */
static double distance(const char *density, double *draws) {
  static const double node[INSIDE] = {0.046910077030668, 0.2307653449471585, 0.5, 0.7692346550528415,
                                      0.953089922969332};
  static const double weight[INSIDE] = {0.1184634425280945, 0.2393143352496832, 0.2844444444444444, 0.2393143352496832,
                                        0.1184634425280945};
  static double z[(DRAWS - 1) * INSIDE], values[(DRAWS - 1) * INSIDE], below[DRAWS];
  qsort(draws, DRAWS, sizeof *draws, by_size);
  for (int i = 0; i < DRAWS - 1; i++)
    for (int k = 0; k < INSIDE; k++) z[i * INSIDE + k] = draws[i] + (draws[i + 1] - draws[i]) * node[k];
  densities(density, z, (DRAWS - 1) * INSIDE, values);
  below[0] = 0;
  for (int i = 0; i < DRAWS - 1; i++) {
    below[i + 1] = below[i];
    for (int k = 0; k < INSIDE; k++)
      below[i + 1] += (draws[i + 1] - draws[i]) * weight[k] * exp(values[i * INSIDE + k]);
  }
  double outside = 1 - below[DRAWS - 1], worst = 0;
  cr_expect(fabs(outside) < 0.01, "%s: %g of it beyond the outermost draws", density, outside);
  for (int i = 0; i < DRAWS; i++) worst = fmax(worst, fabs(below[i] + outside / 2 - (i + 0.5) / DRAWS));
  return worst;
}

/* `of` makes one number of a draw z; its density is `density`. */
static void check_sampler(const char *type, const char *call, const char *of, const char *density) {
  static char text[800];
  static double draws[DRAWS];
  snprintf(text, sizeof text,
           "model sampler;\ndim M = 3;\ndata x : real[1];\ndraw z : %s ~ %s;\nparam s : real init 1;\nobjective s * "
           "sum(x);\nlet each = %s;\nmetric all = sum(each, over = batch);\n",
           type, call, of);
  Spec s = spec_right(text);
  const Item *each = model_find(s.model, ITEM_LET, intern(s.c, "each"));
  Elaborator *e = elaborator_create(s.model, PROGRAM_TRAIN, 1);
  Value v = model_value(e, (Item *)each, each->span);
  static const double x[DRAWS];
  Run run = {.rows = DRAWS, .inputs = {{"x", x}}};
  memcpy(draws, spec_values(&s, e->graph, v.node, &run), sizeof draws);
  double found = distance(density, draws);
  cr_expect(found < 1.95 / sqrt(DRAWS), "%s: draws are %.4f from the density", call,
            found); /* exceeded once in 1000 seeds */
  spec_close(&s);
}

Test(library_rules, samplers_agree_with_densities) {
  static const char *const calls[][2] = {
      {"real", "normal(0.3, 2)"},
      {"real", "laplace(-1, 0.5)"},
      {"real", "student_t(3, 1, 0.5)"},
      {"real", "student_t(30)"},
      {"real", "spike_slab(0.3, 1, 2, 0.5)"},
      {"real", "logistic(1, 2)"},
      {"real", "gumbel(0.5, 2)"},
      {"real", "generalized_normal(0, 1, 0.7)"},
      {"real", "generalized_normal(1, 2, 3)"},
      {"unit", "uniform(0, 1)"},
      {"nonnegative", "exponential(rate = 3)"},
      {"positive", "gamma(2.5, rate = 3)"},
      {"positive", "gamma(40, scale = 0.1)"},
      {"positive", "inverse_gamma(5, scale = 2)"},
      {"nonnegative", "half_normal(0.7)"},
      {"positive", "log_normal(0.1, 0.6)"},
      {"unit", "beta(2, 3)"},
      {"unit", "beta(30, 1.5)"},
      {"unit", "kumaraswamy(2, 3)"},
      {"unit", "logistic_normal(0.5, 1)"},
  };
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) check_sampler(calls[i][0], calls[i][1], "z", calls[i][1]);
  check_sampler("simplex[M]", "dirichlet(ones(M) * 1.5)", "z[0]", "beta(1.5, 3)");
  check_sampler("real[M]", "group_laplace(0.5)", "norm(z)", "gamma(3, scale = 0.5)");
  /* heavy tails and poles, by what makes them plain */
  check_sampler("real", "cauchy(0, 2)", "1 / (1 + (z / 2)^2)", "beta(0.5, 0.5)");
  check_sampler("positive", "half_cauchy(3)", "1 / (1 + (z / 3)^2)", "beta(0.5, 0.5)");
  check_sampler("real", "horseshoe(0.5)", "log(1 + abs(z))", "log_abs_horseshoe(0.5)");
}

/* The implicit derivatives of quantiles in their shapes against differences of the quantiles themselves. */
Test(library_rules, quantile_derivatives) {
  static const double u[] = {1e-6, 0.01, 0.2, 0.5, 0.8, 0.99, 0.999999}, shapes[] = {0.2, 0.9, 3, 25, 400};
  Spec s = spec_right("model m;\ndim N = 7;\ndata x : real[1];\nparam u : real[N] init 0.5;\nparam a : real[N] init "
                      "1;\nparam b : real[N] init 1;\nparam w : real[N] init 1;\nparam v : real[N] init 1;\n"
                      "objective sum(w * gamma_quantile(u, a)) + sum(v * beta_quantile(u, a, b)) + sum(x);\n");
  const Graph *g = model_graph(s.model, PROGRAM_TRAIN);
  const double x[1] = {0}, ones[] = {1, 1, 1, 1, 1, 1, 1}, none[] = {0, 0, 0, 0, 0, 0, 0};
  for (int of_beta = 0; of_beta < 2; of_beta++)
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
      double a[7], b[7], h = 1e-4 * shapes[i];
      const double *value[5];
      for (int step = -2; step <= 2; step++) {
        for (int k = 0; k < 7; k++) a[k] = shapes[i] + step * h, b[k] = 1.7;
        Run run = {
            .rows = 1,
            .inputs = {
                {"u", u}, {"a", a}, {"b", b}, {"w", of_beta ? none : ones}, {"v", of_beta ? ones : none}, {"x", x}}};
        value[step + 2] =
            spec_values(&s, g, spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, of_beta ? "v" : "w")->value, &run);
      }
      for (int k = 0; k < 7; k++) a[k] = shapes[i];
      Run run = {
          .rows = 1,
          .inputs = {
              {"u", u}, {"a", a}, {"b", b}, {"w", of_beta ? none : ones}, {"v", of_beta ? ones : none}, {"x", x}}};
      const double *found = spec_values(&s, g, spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "a")->value, &run);
      for (int k = 0; k < 7; k++) {
        double wanted = (8 * (value[3][k] - value[1][k]) - (value[4][k] - value[0][k])) / (12 * h);
        if (-value[2][k] < 1e-30) continue; /* held at the smallest float */
        cr_expect(fabs(found[k] - wanted) <= 1e-6 * fabs(wanted) + 1e-9 * fabs(value[2][k]),
                  "%s, shape %g, u = %g: %.12g, not %.12g", of_beta ? "beta" : "gamma", shapes[i], u[k], -found[k],
                  -wanted);
      }
    }
  spec_close(&s);
}
