/* Quadrature of posteriors that are not normal, and of a normal one against a steep prior: values against brute force
 * over the densities written out here, derivatives against its differences, at parameters that no rule was chosen on.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/diagnose.h"
#include "spec.h"

/* Of a posterior with parameters m, s: log density, and where it has a kink or an end. */
typedef struct Family {
  const char *call;
  double (*log_pdf)(double z, double m, double s);
  double low, high;        /* in s from m, where nothing is left; or, of a fixed support, its ends */
  bool fixed, exponential; /* tails that fall no faster */
} Family;

static double log_laplace(double z, double m, double s) { return -fabs(z - m) / s - log(2 * s); }
static double log_logistic(double z, double m, double s) {
  double t = fabs(z - m) / s;
  return -t - 2 * log1p(exp(-t)) - log(s);
}
static double log_gumbel(double z, double m, double s) {
  double t = (z - m) / s;
  return -t - exp(-t) - log(s);
}
static double log_student4(double z, double m, double s) {
  double t = (z - m) / s;
  return log(0.375) - log(s) - 2.5 * log1p(t * t / 4);
}
static double log_two_sided(double z, double m, double s) { /* left s, right 2 s */
  return (z < m ? (z - m) / s : (m - z) / (2 * s)) - log(3 * s);
}
static double log_power(double z, double m, double s) {
  return log(1.5) - log(2 * s) - lgamma(1 / 1.5) - pow(fabs(z - m) / s, 1.5);
}
static double log_flat(double z, double m, double s) { return fabs(z - m) <= s ? -log(2 * s) : -INFINITY; }
static double log_normal_density(double z, double m, double s) {
  return -0.5 * (z - m) * (z - m) / (s * s) - log(s) - 0.5 * log(2 * M_PI);
}
static double log_log_normal(double z, double m, double s) { return log_normal_density(log(z), m, s) - log(z); }
static double log_kumaraswamy(double z, double m, double s) { /* a = 1.2 + s, b = 1.5 + m^2 */
  double a = 1.2 + s, b = 1.5 + m * m;
  return log(a * b) + (a - 1) * log(z) + (b - 1) * log1p(-pow(z, a));
}

static const Family families[] = {
    {"laplace(m, s)", log_laplace, -40, 40, false, true},
    {"logistic(m, s)", log_logistic, -40, 40, false, true},
    {"gumbel(m, s)", log_gumbel, -5, 45, false, false},
    {"student_t(4, m, s)", log_student4, -1e5, 1e5, false, true},
    {"two_sided(m, s, 2 * s)", log_two_sided, -40, 80, false, true},
    {"generalized_normal(m, s, 1.5)", log_power, -14, 14, false, false},
    {"uniform(m - s, m + s)", log_flat, -1, 1, false, false},
    {"normal(m, s)", log_normal_density, -14, 14, false, false},
    {"log_normal(m, s)", log_log_normal, 0, 1e5, true, true},
    {"kumaraswamy(1.2 + s, 1.5 + m^2)", log_kumaraswamy, 0, 1, true, false},
};

static double log_horseshoe(double z) { return log(log1p(2 * pow(0.1 / z, 2))) - log(2 * sqrt(2) * M_PI * 0.1); }
static double log_narrow(double z) { return log_laplace(z, 0, 0.5); }
static double log_wide(double z) { return log_laplace(z, 0.7, 2); }
static double log_bell(double z) { return log_normal_density(z, 0, 1); }
static double log_tails(double z) { return -log(M_PI) - log1p(z * z); }
static double log_steep(double z) { return log_gumbel(z, 0, 1.5); }
static double log_half_cauchy(double z) { return log(2 / M_PI) - log1p(z * z); }
static double log_gamma2(double z) { return log(z) - z; }
static double log_beta23(double z) { return log(12) + log(z) + 2 * log1p(-z); }

typedef struct Prior {
  const char *call;
  double (*log_pdf)(double z);
  double kink;
} Prior;

static const Prior priors[] = {
    {"horseshoe_like(0.1)", log_horseshoe, 0},
    {"laplace(0, 0.5)", log_narrow, 0},
    {"laplace(0.7, 2)", log_wide, 0.7},
    {"normal(0, 1)", log_bell, 0},
    {"cauchy(0, 1)", log_tails, 0},
    {"gumbel(0, 1.5)", log_steep, 0},
    {"half_cauchy(1)", log_half_cauchy, 0},
    {"gamma(2, rate = 1)", log_gamma2, 0},
    {"beta(2, 3)", log_beta23, 0},
};

/* ---- brute force ----------------------------------------------------------------------------------------------- */

static double integrand(const Family *q, const Prior *p, double m, double s, double z) {
  double log_q = q->log_pdf(z, m, s), term = exp(log_q) * (log_q - p->log_pdf(z));
  return isfinite(term) ? term : 0; /* a pole, or nothing there */
}

/* Boole's rule on panels that halve toward `from`. */
static double from_an_end(const Family *q, const Prior *p, double m, double s, double from, double to) {
  static const double weights[5] = {7, 32, 12, 32, 7};
  double sum = 0, length = to - from;
  for (int level = 0; level < 60; level++) {
    double low = from + length * (level == 59 ? 0 : ldexp(1, -level - 1)), high = from + length * ldexp(1, -level);
    int panels = level < 12 ? 60 : 12;
    double h = (high - low) / (4 * panels);
    for (int i = 0; i < panels; i++)
      for (int k = 0; k < 5; k++) sum += 4 * h * weights[k] / 90 * integrand(q, p, m, s, low + (4 * i + k) * h);
  }
  return sum;
}

static double between(const Family *q, const Prior *p, double m, double s, double a, double b) {
  double middle = 0.5 * (a + b);
  return b > a ? from_an_end(q, p, m, s, a, middle) - from_an_end(q, p, m, s, b, middle) : 0;
}

static double held(double x, double low, double high) { return x < low ? low : x > high ? high : x; }

static double brute_force(const Family *q, const Prior *p, double m, double s) {
  double low = q->fixed ? q->low : m + q->low * s, high = q->fixed ? q->high : m + q->high * s;
  double centre = q->fixed ? exp(m) : m;
  double a = held(fmin(centre, p->kink), low, high), b = held(fmax(centre, p->kink), low, high);
  return between(q, p, m, s, low, a) + between(q, p, m, s, a, b) + between(q, p, m, s, b, high);
}

/* ---- pairs ----------------------------------------------------------------------------------------------------- */

static Spec model_of(const Family *q, const Prior *p) {
  const char *type = !q->fixed ? "real" : q->high == 1 ? "unit" : "positive";
  char text[3000];
  snprintf(text, sizeof text,
           "model tested;\n"
           "distribution horseshoe_like(z : real; tau : positive) {\n"
           "  log_pdf = log(log1p(2 * (tau / z)^2)) - log(2 * sqrt(2) * pi * tau);\n}\n"
           "distribution two_sided(z : real; mode, left : positive, right : positive) {\n"
           "  log_pdf = (z < mode ? (z - mode) / left : (mode - z) / right) - log(left + right);\n"
           "  sample(u : uniform) = u * (left + right) < left ? mode + left * log(u * (left + right) / left)\n"
           "                        : mode - right * log((1 - u) * (left + right) / right);\n"
           "  entropy = 1 + log(left + right);\n}\n"
           "latent z : %s;\nparam m : real init 0;\nparam r : real init 0;\nlet s = exp(r);\ndata x : real;\n"
           "prior z ~ %s;\nposterior z ~ %s;\nlikelihood x ~ normal(z, 1);\nobjective -kl(z, method = quadrature);\n",
           type, p->call, q->call);
  return spec_right(text);
}

static double worst_value, worst_slope;

static void compare(Spec *spec, const Family *q, const Prior *p, double m, double s) {
  double r = log(s), h = 1e-3;
  Run run = {.rows = 1, .inputs = {{"m", &m}, {"r", &r}}};
  double found = -*spec_output(spec, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run),
         wanted = brute_force(q, p, m, s);
  double allowed = fmax(1e-5, 1e-7 * fabs(wanted)), error = fabs(found - wanted);
  if (!(error <= worst_value)) worst_value = error;
  cr_expect(error <= allowed, "%s || %s at m = %g, s = %g: %.10g for %.10g", q->call, p->call, m, s, found, wanted);
  for (int of_r = 0; of_r < 2; of_r++) {
    double unit = of_r ? 1 : s;
    double slope = *spec_output(spec, PROGRAM_TRAIN, OUTPUT_GRADIENT, of_r ? "r" : "m", &run) * unit;
    double up = of_r ? brute_force(q, p, m, s * exp(h)) : brute_force(q, p, m + h * s, s),
           down = of_r ? brute_force(q, p, m, s * exp(-h)) : brute_force(q, p, m - h * s, s);
    error = fabs(slope - (up - down) / (2 * h));
    if (!(error <= worst_slope)) worst_slope = error;
    cr_expect(error <= 2e-4 * (1 + fabs(slope)), "%s || %s at m = %g, s = %g: derivative in %s is %.9g, not %.9g",
              q->call, p->call, m, s, of_r ? "log s" : "m", slope, (up - down) / (2 * h));
  }
}

static void compare_family(const char *name) {
  static const double means[] = {0, 0.03, -0.4, 0.71, -1.7}, sizes[] = {0.02, 0.13, 0.9};
  worst_value = worst_slope = 0;
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
    const Family *q = &families[i];
    if (strncmp(q->call, name, strlen(name)) != 0) continue;
    bool unit = q->fixed && q->high == 1;
    for (size_t k = 0; k < sizeof priors / sizeof *priors; k++) {
      bool of_unit = strncmp(priors[k].call, "beta", 4) == 0, of_positive = k == 6 || k == 7;
      if (of_unit != unit || of_positive != (q->fixed && !unit)) continue;
      if (q->exponential && strncmp(priors[k].call, "gumbel", 6) == 0) continue; /* infinite from s = 1.5 on */
      Spec spec = model_of(q, &priors[k]);
      for (int a = 0; a < 5; a++)
        for (int b = 0; b < 3; b++) compare(&spec, q, &priors[k], means[a] + 1e-4, sizes[b]);
      spec_close(&spec);
    }
  }
  cr_log_info("%s: largest error %.2g nats, of a derivative %.2g", name, worst_value, worst_slope);
}

Test(kl_pairs, laplace) { compare_family("laplace"); }
Test(kl_pairs, logistic) { compare_family("logistic"); }
Test(kl_pairs, gumbel) { compare_family("gumbel"); }
Test(kl_pairs, student_t) { compare_family("student_t"); }
Test(kl_pairs, two_sided) { compare_family("two_sided"); }
Test(kl_pairs, generalized_normal) { compare_family("generalized"); }
Test(kl_pairs, uniform) { compare_family("uniform"); }
Test(kl_pairs, normal) { compare_family("normal"); }
Test(kl_pairs, log_normal) { compare_family("log_normal"); }
Test(kl_pairs, kumaraswamy) { compare_family("kumaraswamy"); }

/* ---- compiled, and what is said -------------------------------------------------------------------------------- */

static Spec spec_of(const char *latent, const char *prior, const char *posterior, const char *objective) {
  char text[2000];
  snprintf(text, sizeof text,
           "model tested;\n%s\ndim D = 6;\ndata x : unit[D];\nprior z ~ %s;\n"
           "encoder q(x) { a = dense(x, K);  b = dense(x, K); }\nposterior z ~ %s;\n"
           "likelihood x ~ bernoulli(logits = dense(z, D));\nobjective %s;\n",
           latent, prior, posterior, objective);
  return spec_text(text, NULL);
}

Test(kl_pairs, compiled_code_agrees_with_the_interpreter) {
  static const char *const posteriors[] = {"laplace(q.a, exp(q.b))", "student_t(4, q.a, exp(q.b))",
                                           "uniform(q.a - exp(q.b), q.a + exp(q.b))"};
  for (int i = 0; i < 3; i++) {
    Spec s = spec_of(i == 1 ? "latent z : real[K];\ndim K = 3;" : "latent z : real[K];\ndim K = 20;", "horseshoe(0.5)",
                     posteriors[i], "elbo(kl = quadrature)");
    char message[512] = "", *messages = spec_messages(&s);
    cr_assert(s.errors == 0, "%s", messages);
    free(messages);
    Jit *jit = compile_jit(s.model, true, message, sizeof message);
    cr_assert(jit != NULL, "%s", message);
    Diagnosis *d = diagnose(s.c, model_graph(s.model, PROGRAM_TRAIN), model_graph(s.model, PROGRAM_INITIALISE), NULL,
                            jit_model(jit), 5, 8);
    cr_assert(d->problem == NULL && d->compiled, "%s", d->problem ? d->problem : "not compiled");
    cr_expect(fabs(d->compiled_objective - d->objective) < 1e-9);
    for (int k = 0; k < d->count; k++)
      cr_expect(d->tensors[k].compiled < 1e-8, "%s: %s %g", posteriors[i], d->tensors[k].parameter->name,
                d->tensors[k].compiled);
    jit_destroy(jit);
    spec_close(&s);
  }
}

/* Shapes near 0 put more than a float can tell next to an end: said, with where; bounded away from there it is not. */
Test(kl_pairs, a_coarse_rule_is_a_warning) {
  Spec s =
      spec_of("latent z : unit[K];\ndim K = 3;", "beta(2, 3)", "kumaraswamy(0.5 + exp(q.a), 0.5 + exp(q.b))", "elbo");
  char *messages = spec_messages(&s);
  cr_expect(s.errors == 0 && spec_says(&s, "kl_coarse"), "%s", messages);
  cr_expect(strstr(messages, "b = 0.55") != NULL, "%s", messages);
  free(messages);
  spec_close(&s);
  s = spec_of("latent z : unit[K];\ndim K = 3;", "beta(2, 3)", "kumaraswamy(1 + exp(q.a), 1 + exp(q.b))", "elbo");
  messages = spec_messages(&s);
  cr_expect(s.errors == 0 && !spec_says(&s, "kl_"), "%s", messages);
  free(messages);
  spec_close(&s);
}

Test(kl_pairs, what_is_infinite_is_drawn) {
  Spec s = spec_of("latent z : real[K];\ndim K = 3;", "normal(0, 1)", "cauchy(q.a, exp(q.b))", "elbo");
  char *messages = spec_messages(&s);
  cr_expect(s.errors == 0 && spec_says(&s, "kl_monte_carlo") && strstr(messages, "the finest rules differ by"), "%s",
            messages);
  free(messages);
  spec_close(&s);
}

/* ---- second derivatives ---------------------------------------------------------------------------------------- */

static Spec twice_of(const char *posterior, const char *prior, const char *method) {
  char text[2000];
  snprintf(text, sizeof text,
           "model tested;\nlatent z : real;\nparam a : real init 0;\nparam b : real init 0;\nparam m : real init 0;\n"
           "param r : real init 0;\ndata x : real;\nprior z ~ %s;\nposterior z ~ %s;\nlikelihood x ~ normal(z, 1);\n"
           "objective -kl(z, method = %s);\n",
           prior, posterior, method);
  return spec_right(text);
}

static const char *const twice_names[4] = {"a", "b", "m", "r"};

/* Of the gradient in one parameter in all four. */
static void second_derivatives(Spec *s, int row, const Run *run, double *out) {
  Graph *g = (Graph *)model_graph(s->model, PROGRAM_TRAIN);
  const Output *first = spec_find_output(s, PROGRAM_TRAIN, OUTPUT_GRADIENT, twice_names[row]);
  Node *leaves[4], *adjoints[4];
  const Signature *signature = model_signature(s->model);
  for (int i = 0; i < 4; i++)
    for (int p = 0; p < signature->parameter_count; p++)
      if (strcmp(signature->parameters[p].name, twice_names[i]) == 0) leaves[i] = build_parameter(g, p);
  differentiate(g, first->value, leaves, 4, adjoints);
  for (int i = 0; i < 4; i++) out[i] = *spec_values(s, g, adjoints[i], run);
}

Test(kl_pairs, second_derivatives_of_a_normal_posterior) {
  static const char *const priors_of[] = {"normal(a, exp(b))", "laplace(a, exp(b))"};
  for (int k = 0; k < 2; k++) {
    Spec closed = twice_of("normal(m, exp(r))", priors_of[k], "closed"),
         by_nodes = twice_of("normal(m, exp(r))", priors_of[k], "quadrature");
    for (int i = 0; i < 3; i++) {
      double a = 0.2 - 0.3 * i, b = -0.4 + 0.2 * i, m = 0.1, r = -0.7 + 0.5 * i, wanted[4], found[4];
      Run run = {.rows = 1, .inputs = {{"a", &a}, {"b", &b}, {"m", &m}, {"r", &r}}};
      for (int row = 0; row < 4; row++) {
        second_derivatives(&closed, row, &run, wanted);
        second_derivatives(&by_nodes, row, &run, found);
        for (int c = 0; c < 4; c++)
          cr_expect(fabs(found[c] - wanted[c]) < 1e-3 * (1 + fabs(wanted[c])), "%s: in %s and %s %g, not %g",
                    priors_of[k], twice_names[row], twice_names[c], found[c], wanted[c]);
      }
    }
    spec_close(&closed);
    spec_close(&by_nodes);
  }
}

Test(kl_pairs, a_second_derivative_of_parts_is_refused) {
  Spec s = spec_right("model tested;\nparam m : real init 0;\ndata x : real;\nlikelihood x ~ normal(m, 1);\n"
                      "objective log_lik(x);\nmetric gap = kl(logistic(m, 0.5), laplace(0, 1));\n");
  Elaborator *e = elaborator_create(s.model, PROGRAM_EVALUATE, 1);
  Value v = elaborate(e, model_find(s.model, ITEM_METRIC, intern(s.c, "gap"))->expr);
  cr_assert(v.kind == VALUE_TENSOR);
  Node *m = build_parameter(e->graph, 0), *slope, *second;
  differentiate(e->graph, v.node, &m, 1, &slope);
  cr_expect(s.c->error_count == 0);
  differentiate(e->graph, slope, &m, 1, &second);
  char *messages = spec_messages(&s);
  cr_expect(strstr(messages, "which can be differentiated once") != NULL, "%s", messages);
  free(messages);
  spec_close(&s);
}
