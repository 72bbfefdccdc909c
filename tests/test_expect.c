/* rule expect: closed forms of expect(...) and of KL terms against quadrature, draws and each other; what has no rule;
 * what depends on the draw behind the text's back; the self-check of right and of wrong rules. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/self_check.h"
#include "spec.h"

static const char folded[] = "rule expect(abs(normal(m, s) - c)) = folded_mean(m - c, s);\n";
static const char steep[] = "rule expect(exp(-((normal(m, s) - a) / b))) = exp((a - m) / b + 0.5 * (s / b)^2);\n";

static Spec open_model(const char *declarations, const char *prior, const char *objective) {
  char text[3000];
  snprintf(
      text, sizeof text,
      "model tested;\n%slatent z : real;\nparam m : real init 0;\nparam r : real init 0;\nparam b : real init 0;\n"
      "data x : real;\nprior z ~ %s;\nposterior z ~ normal(m, exp(r));\nlikelihood x ~ normal(z, 1);\nobjective %s;\n",
      declarations, prior, objective);
  return spec_text(text, NULL);
}

static void expect_message(Spec *s, const char *words) {
  char *messages = spec_messages(s);
  cr_expect(s->errors == 1 && strstr(messages, words) != NULL, "wanted: %s\ngot: %s", words, messages);
  free(messages);
  spec_close(s);
}

static const char *described(Spec *s) {
  Text text = {.compilation = s->c};
  model_describe(&text, s->model);
  return text.length ? text.bytes : "";
}

/* By rules and by quadrature: values and derivatives. */
static void compare(const char *declarations, const char *prior, const char *rule) {
  Spec closed = open_model(declarations, prior, "-kl(z)"),
       by_nodes = open_model(declarations, prior, "-kl(z, method = quadrature)");
  char *messages = spec_messages(&closed);
  cr_assert(closed.errors == 0 && by_nodes.errors == 0, "%s", messages);
  free(messages);
  cr_expect(strstr(described(&closed), rule) && strstr(described(&closed), "term by term"), "%s", described(&closed));
  for (double m = -1.3; m < 2; m += 1.1)
    for (double r = -1.5; r < 0.4; r += 0.8) {
      double b = 0.2;
      Run run = {.rows = 1, .inputs = {{"m", &m}, {"r", &r}, {"b", &b}}};
      static const char *const names[] = {"m", "r", "b"};
      double found = *spec_output(&closed, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run),
             wanted = *spec_output(&by_nodes, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run);
      cr_expect(fabs(found - wanted) < 1e-5 * (1 + fabs(wanted)), "%s at m = %g, r = %g: %.9g, not %.9g", prior, m, r,
                found, wanted);
      for (int i = 0; i < 3; i++) {
        const Output *o = spec_find_output(&closed, PROGRAM_TRAIN, OUTPUT_GRADIENT, names[i]);
        if (!o) continue;
        found = *spec_output(&closed, PROGRAM_TRAIN, OUTPUT_GRADIENT, names[i], &run);
        wanted = *spec_output(&by_nodes, PROGRAM_TRAIN, OUTPUT_GRADIENT, names[i], &run);
        cr_expect(fabs(found - wanted) < 2e-4 * (1 + fabs(wanted)), "%s: in %s %.9g, not %.9g", prior, names[i], found,
                  wanted);
      }
    }
  spec_close(&closed);
  spec_close(&by_nodes);
}

Test(expect, a_kl_is_closed_by_rules_of_its_terms) {
  char text[1000];
  snprintf(
      text, sizeof text,
      "%sdistribution own(z : real; at, scale : positive) {\n  log_pdf = -abs(z - at) / scale - log(2 * scale);\n}\n",
      folded);
  compare(text, "own(0.3, exp(b))", "rule expect(abs(normal(m, s) - c))");
  compare(steep, "gumbel(0.1, 1.5 * exp(b))", "rule expect(exp(-((normal(m, s) - a) / b)))");
  compare("distribution bell(z : real; at, sd : positive) {\n  t = (z - at) / sd;\n"
          "  log_pdf = -0.5 * t^2 - log(sd) - 0.5 * log(2 * pi);\n}\n",
          "bell(0.4, exp(b))", "the posterior's moments");
}

Test(expect, expectations_in_an_objective) {
  Spec s = open_model(
      folded, "normal(0, 1)",
      "expect(3 * abs(z - 0.2) / 2 - (1 - 2 * z)^2 + exp(z) + exp(-z) * exp(b)) + expect(log(gamma(2, rate = 3)))");
  cr_assert(s.errors == 0);
  double m = 0.7, r = -0.3, b = 0.4, sd = exp(r), t = m - 0.2, v = sd * sd;
  double folded_mean = sd * sqrt(2 / M_PI) * exp(-0.5 * t * t / v) + t * erf(t / (sd * sqrt(2)));
  double wanted = 1.5 * folded_mean - ((1 - 2 * m) * (1 - 2 * m) + 4 * v) + exp(m + v / 2) + exp(b - m + v / 2) +
                  0.42278433509846714 - log(3);
  double found = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective",
                              &(Run){.rows = 1, .inputs = {{"m", &m}, {"r", &r}, {"b", &b}}});
  cr_expect(fabs(found - wanted) < 1e-12, "%.15g, not %.15g", found, wanted);
  spec_close(&s);
}

Test(expect, what_has_no_rule_is_an_error) {
  Spec s = open_model("", "normal(0, 1)", "elbo + expect(log1p(z^2))");
  expect_message(&s, "there is no rule for the expectation of `log1p(z^2)` under normal");
  s = open_model("", "normal(0, 1)", "elbo + expect(3)");
  expect_message(&s, "expect takes an expression of one latent or one distribution");
  s = open_model("", "laplace(0, 1)", "elbo + expect(z * abs(z))");
  expect_message(&s, "there is no rule for the expectation of `z * abs(z)`");
  s = open_model("rule expect(1 + m) = m;\n", "normal(0, 1)", "elbo");
  expect_message(&s, "holds one distribution, this 0");
}

/* The text does not say that the factor varies with z; the value does. */
Test(expect, a_factor_that_depends_on_the_draw_is_refused) {
  Spec s = open_model("network f(z) { out = 2 * z; }\n", "normal(0, 1)", "elbo + expect(f.out * z)");
  expect_message(&s, "there is no rule for the expectation of `f.out`");
}

static char *check_messages(const char *rules, int *errors) {
  char text[2000];
  snprintf(text, sizeof text, "%s", rules);
  Spec s = spec_text(text, NULL);
  cr_assert(s.errors == 0);
  SelfCheckReport report;
  self_check(s.model, &(SelfCheckOptions){.seed = 1}, &report);
  *errors = s.c->error_count;
  Text out = {.compilation = s.c};
  for (int i = 0; i < report.count; i++) text_append(&out, "%s\n", report.lines[i].text);
  char *messages = spec_messages(&s), *all = malloc(strlen(messages) + (size_t)out.length + 2);
  sprintf(all, "%s%s", messages, out.length ? out.bytes : "");
  free(messages);
  spec_close(&s);
  return all;
}

Test(expect, rules_are_tested_by_check) {
  int errors;
  char text[1000];
  snprintf(text, sizeof text, "%s%s", folded, steep);
  char *messages = check_messages(text, &errors);
  cr_expect(errors == 0 && strstr(messages, "expect(abs(normal(m, s) - c)): 6 settings, worst error"), "%s", messages);
  free(messages);
  messages = check_messages("rule expect(exp(normal(m, s) * c)) = exp(m * c + (s * c)^2);\n", &errors);
  cr_expect(errors == 1 && strstr(messages, "the density of `normal` gives"), "%s", messages);
  free(messages);
}
