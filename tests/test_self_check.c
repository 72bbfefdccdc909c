/* Declared distributions against themselves: right ones pass under many seeds; each kind of mistake is caught, once, by
 * an error that names the declaration and the field. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "self_check.h"
#include "spec.h"

static SelfCheckReport check_with(Spec *s, const char *text, uint64_t seed, bool shipped) {
  SelfCheckReport report;
  *s = spec_right(text);
  self_check(s->model, &(SelfCheckOptions){.seed = seed, .shipped = shipped}, &report);
  s->errors = s->c->error_count;
  return report;
}

#define NORMAL_DENSITY "  log_pdf = -0.5 * ((z - mean) / sd)^2 - log(sd) - 0.5 * log(2 * pi);\n"
#define NORMAL(FIELDS) "distribution mine(z : real; mean, sd : positive) {\n" NORMAL_DENSITY FIELDS "}\n"

static const char right[] =
    "distribution horseshoe_like(z : real; tau : positive) {\n"
    "  log_pdf = log(log1p(2 * (tau / z)^2)) - log(2 * sqrt(2) * pi * tau);\n}\n"
    "distribution power(z : real; scale : positive, shape : positive) { log_kernel = -(abs(z) / scale)^shape; }\n"
    "distribution two_sided(z : real; mode, left : positive, right : positive) {\n"
    "  log_pdf = (z < mode ? (z - mode) / left : (mode - z) / right) - log(left + right);\n"
    "  sample(u : uniform) = u * (left + right) < left ? mode + left * log(u * (left + right) / left)\n"
    "                                                  : mode - right * log((1 - u) * (left + right) / right);\n"
    "  entropy = 1 + log(left + right);\n}\n"
    "distribution spiked(z : real atoms(0); weight : unit, mean, sd : positive) {\n"
    "  log_pdf = z == 0 ? log1p(-weight) : log(weight) + log_pdf(normal(mean, sd), z);\n"
    "  sample(u : uniform, e : standard_normal) = (u > 1 - weight) * (mean + sd * e);\n"
    "  relaxed(u : uniform, e : standard_normal; steepness = 50) = sigmoid(steepness * (u - 1 + weight)) * (mean + sd "
    "* e);\n"
    "  mean = weight * mean;\n  variance = weight * (sd^2 + mean^2) - (weight * mean)^2;\n}\n"
    "distribution shrunk(z : real; mean, scale : positive) {\n"
    "  log_pdf = -abs(z - mean) / scale - log(2 * scale);\n"
    "  prox(v, t) = mean + soft_threshold(v - mean, t / scale);\n}\n"
    "distribution grouped(z : real[m]; scale : positive) {\n"
    "  log_pdf = -norm(z) / scale - m * log(scale) - log(2) - 0.5 * m * log(pi) - lgamma(m) + lgamma(m / 2);\n"
    "  prox(v : real[m], t) = group_threshold(v, t / scale);\n}\n"
    "distribution secant(z : real; scale : positive) {\n"
    "  log_pdf = -abs(z) / scale - log1p(exp(-2 * abs(z) / scale)) - log(0.5 * pi * scale);\n"
    "  sample(u : uniform) = scale * log(tan(0.5 * pi * u));\n  mean = 0;\n  variance = (0.5 * pi * scale)^2;\n}\n"
    "distribution plain(z : unit) { log_pdf = 0;  sample(u : uniform) = u;  entropy = 0;  mean = 0.5; }\n"
    "distribution patchy(z : real; slab : unit) = mixture(slab: normal(0, 1), 1 - slab: normal(0, 0.1));\n"
    "distribution chosen(z : category(n); logits : real[n]) { log_pdf = dot(z, logits) - logsumexp(logits);  mean = "
    "softmax(logits); }\n"
    "distribution shares(z : simplex[n]; a : positive[n]) {\n"
    "  log_pdf = sum((a - 1) * log(z)) + lgamma(sum(a)) - sum(lgamma(a));\n  mean = a / sum(a);\n}\n"
    "distribution pareto(z : positive; shape : positive, scale : positive = 1) {\n"
    "  log_pdf = log(shape / scale) - (shape + 1) * log1p(z / scale);\n  mean = shape > 1 ? scale / (shape - 1) : "
    "1e300;\n}\n"
    "distribution counted(z : count; rate : positive) {\n"
    "  log_pdf = z * log(rate) - rate - lgamma(z + 1);\n  mean = rate;\n  variance = rate;\n}\n"
    "distribution pair(z : real[m]; mean : real[m], sd : positive[m]) {\n"
    "  log_pdf = sum(-0.5 * ((z - mean) / sd)^2 - log(sd) - 0.5 * log(2 * pi));\n"
    "  sample(e : standard_normal[m]) = mean + sd * e;\n  entropy = sum(log(sd) + 0.5 + 0.5 * log(2 * pi));\n  mean = "
    "mean;\n}\n"
    "distribution thresholded(z : real atoms(0); mean, sd : positive, limit : positive) {\n"
    "  inside = (erf((limit - mean) / (sqrt(2) * sd)) - erf((-limit - mean) / (sqrt(2) * sd))) / 2;\n"
    "  log_pdf = z == 0 ? log(inside) : abs(z) <= limit ? log(0) : log_pdf(normal(mean, sd), z);\n"
    "  sample(e : standard_normal) = abs(mean + sd * e) > limit ? mean + sd * e : 0;\n}\n"
    "distribution weighed(z : real; a : positive, b : positive) {\n"
    "  first = a / (a + b);\n"
    "  log_pdf = log_pdf(mixture(first: normal(0, 1), 1 - first: normal(0, 0.1)), z);\n}\n"
    "rule kl(two_sided(m, l, r), laplace(0, b)) = log(2 * b) - 1 - log(l + r)\n"
    "  + (m > 0 ? (r * (m + r) + l * (m - l + 2 * l * exp(-m / l))) : (l * (l - m) + r * (2 * r * exp(m / r) - r - "
    "m))) / ((l + r) * b);\n"
    "rule kl(pair(m, s), pair(a, b)) = sum(log(b / s) + (s^2 + (m - a)^2) / (2 * b^2) - 0.5);\n";

static const char *line_of(const SelfCheckReport *report, const char *name) {
  for (int i = 0; i < report->count; i++)
    if (strncmp(report->lines[i].text, name, strlen(name)) == 0) return report->lines[i].text;
  return "";
}

static void passes(const char *text, uint64_t seed, bool shipped) {
  Spec s;
  check_with(&s, text, seed, shipped);
  char *messages = spec_messages(&s);
  cr_assert(s.errors == 0, "seed %llu: %s", (unsigned long long)seed, messages);
  free(messages);
  spec_close(&s);
}

Test(self_check, right_declarations_pass_whatever_the_seed) {
  for (uint64_t seed = 1; seed <= 6; seed++) passes(right, seed, false);
}

Test(self_check, shipped_library_passes) { passes("function f(x : real) = x;\n", 1, true); }

Test(self_check, report_says_what_was_tested_and_what_was_not) {
  Spec s;
  SelfCheckReport report = check_with(&s, right, 1, false);
  cr_expect(report.count == 18);
  cr_expect(strstr(line_of(&report, "two_sided"), "density") && strstr(line_of(&report, "two_sided"), "sample") &&
            strstr(line_of(&report, "two_sided"), "entropy"));
  cr_expect(strstr(line_of(&report, "power"), "unnormalised as declared"), "%s", line_of(&report, "power"));
  cr_expect(strstr(line_of(&report, "spiked"), "relaxed"));
  cr_expect(strstr(line_of(&report, "grouped"), "prox"));
  cr_expect(strstr(line_of(&report, "pareto"), "not tested everywhere: mean"), "%s",
            line_of(&report, "pareto")); /* shape <= 1 */
  cr_expect(strstr(line_of(&report, "kl(two_sided"), "by quadrature"), "%s", line_of(&report, "kl(two_sided"));
  cr_expect(strstr(line_of(&report, "kl(pair"), "by Monte Carlo"), "%s", line_of(&report, "kl(pair"));
  spec_close(&s);
  report = check_with(
      &s, "distribution d(z : real[9]; scale : positive) { log_pdf = sum(-abs(z) / scale) - 9 * log(2 * scale); }\n", 1,
      false);
  cr_expect(strstr(report.lines[0].text, "not tested: density"), "%s", report.lines[0].text);
  spec_close(&s);
}

typedef struct Wrong {
  const char *text, *at, *says[3];
} Wrong;

static const Wrong wrong[] = {
    {"distribution mine(z : real; mean, sd : positive) {\n  log_pdf = -0.5 * ((z - mean) / sd)^2 - log(sd);\n  entropy "
     "= 0.5 + log(sd);\n  mean = mean + 1;\n}\n",
     "log_pdf = ",
     {"`mine`", "integrates to 2.50662", "mean = "}},
    {"distribution mine(z : count; rate : positive) {\n  log_pdf = z * log(rate) - lgamma(z + 1);\n}\n",
     "log_pdf = ",
     {"`mine`", "sums to", "rate = "}},
    {"distribution mine(z : real atoms(0); weight : unit) {\n  log_pdf = z == 0 ? log1p(-weight) : log_pdf(normal(0, "
     "1), z);\n}\n",
     "log_pdf = ",
     {"`mine`", "integrates to 1.5", "atoms(0)"}},
    {NORMAL("  sample(e : standard_normal) = mean + 1.1 * sd * e;\n"),
     "sample(",
     {"`sample` of `mine`", "does not follow its log_pdf", "Kolmogorov-Smirnov"}},
    {"distribution mine(z : binary; prob : unit) {\n  log_pdf = z * log(prob) + (1 - z) * log1p(-prob);\n  sample(u : "
     "uniform) = u > prob;\n}\n",
     "sample(",
     {"`sample` of `mine`", "chi-square", "P(z = "}},
    {"distribution mine(z : positive; rate : positive) {\n  log_pdf = log(rate) - rate * z;\n  sample(u : uniform) = "
     "log(u) / rate;\n}\n",
     "sample(",
     {"`sample` of `mine`", "outside its support `positive`", NULL}},
    {"distribution mine(z : real[m]; mean : real[m], sd : positive) {\n  log_pdf = sum(log_pdf(normal(mean, sd), "
     "z));\n  sample(e : standard_normal[m]) = mean + (m > 1 ? 1.2 : 1) * sd * e;\n}\n",
     "sample(",
     {"`sample` of `mine`", "moment", NULL}},
    {"distribution mine(z : real atoms(0); weight : unit) {\n  log_pdf = z == 0 ? log1p(-weight) : log(weight) + "
     "log_pdf(normal(0, 1), z);\n  sample(u : uniform, e : standard_normal) = (u > 1 - weight) * e;\n"
     "  relaxed(u : uniform, e : standard_normal; steepness = 50) = sigmoid(steepness * (u - weight)) * e;\n}\n",
     "relaxed(",
     {"`relaxed` of `mine`", "same noise", NULL}},
    {NORMAL("  entropy = 0.5 * log(2 * pi) + log(sd);\n"),
     "entropy = ",
     {"`entropy` of `mine`", "its log_pdf gives", NULL}},
    {NORMAL("  mean = mean + 0.01;\n"), "mean = mean", {"`mean` of `mine`", "its log_pdf gives", NULL}},
    {NORMAL("  variance = sd;\n"), "variance = ", {"`variance` of `mine`", "its log_pdf gives", NULL}},
    {NORMAL("  prox(v, t) = (v + 2 * t * mean / sd^2) / (1 + 2 * t / sd^2);\n"),
     "prox(",
     {"`prox` of `mine`", "the minimum lies at", "v = "}},
    {"distribution mine(z : real; mean, sd : positive) {\n  log_pdf = -0.5 * ((z - mean) / stop(sd))^2 - log(sd) - 0.5 "
     "* log(2 * pi);\n}\n",
     "log_pdf = ",
     {"derivative", "`mine` in sd", "differences give"}},
    {"distribution mine(z : real; rate : positive) {\n  log_pdf = log(rate) - rate * z;\n}\n",
     "log_pdf = ",
     {"`mine`", "integrates to", "`real`"}},
    {"distribution mine(z : real; left, right : positive) {\n  log_pdf = (z < 0 ? z / left : -z / right) - log(left + "
     "right);\n}\n",
     "log_pdf = ",
     {"`mine`", "`left` has no type", "write `left : positive`"}},
    {"distribution mine(z : real; shape : positive) {\n  log_pdf = (shape - 1) * log(z) - z - lgamma(shape);\n}\n",
     "log_pdf = ",
     {"`mine`", "is not a number at z = -", "too wide"}},
    {"distribution mine(z : real; sd : positive) {\n  log_pdf = -0.5 * (z / sd)^2 - log(sd) + 0.5 * log(2 / pi);\n}\n",
     "log_pdf = ",
     {"`mine`", "integrates to 2", "declare `z : positive`"}},
    {"rule kl(laplace(m, s), normal(a, b)) = 0.5 - log(b / s) - (s^2 + (m - a)^2) / (2 * b^2);\n",
     "rule kl(",
     {"laplace(m, s)", "quadrature", "at laplace(mean = "}},
    {"distribution mine(z : real; mean, sd : positive) {\n" NORMAL_DENSITY
     "}\nrule kl(mine(m, s), mine(a, b)) = 0.5 - log(b / s) - (s^2 + (m - a)^2) / (2 * b^2);\n",
     "rule kl(",
     {"its sign is flipped", "quadrature", "mine(m, s)"}},
    {"distribution mine(z : subset(size)[k]; logits : real[k], size : nonnegative) {\n"
     "  log_pdf = dot(z, logits) - logsumexp(logits);\n}\n",
     "log_pdf = ",
     {"`mine`", "sums to", "`subset(size)[k]` with k = 5"}},
    {"distribution mine(z : subset(size)[k]; logits : real[k], size : nonnegative) {\n"
     "  sample(u : uniform[k]) = top_mask(logits + u, 1);\n}\n",
     "sample(",
     {"`sample` of `mine`", "draws 1 members, not 2", "size = 2"}},
    {"distribution mine(z : subset(size)[k]; logits : real[k], size : nonnegative) {\n"
     "  log_pdf = log_pdf(conditional_bernoulli(logits, size), z);\n"
     "  sample(u : uniform[k]) = top_mask(logits - log(-log(u)), size);\n}\n",
     "sample(",
     {"`sample` of `mine`", "chi-square", NULL}},
};

/* One error, at the field, that says what it should. */
static void catches(const Wrong *w) {
  Spec s;
  check_with(&s, w->text, 1, false);
  char *messages = spec_messages(&s);
  cr_assert(s.errors == 1, "%d errors for\n%s%s", s.errors, w->text, messages);
  cr_expect(spec_says(&s, "self-check"));
  Span span = s.c->first_diagnostic->span;
  cr_expect(strncmp(s.c->sources[span.source].text + span.start, w->at, strlen(w->at)) == 0, "not at %s\n%s", w->at,
            messages);
  for (int i = 0; i < 3; i++)
    if (w->says[i]) cr_expect(strstr(messages, w->says[i]) != NULL, "`%s` is not said:\n%s", w->says[i], messages);
  free(messages);
  spec_close(&s);
}

Test(self_check, each_kind_of_mistake_is_caught_once) {
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) catches(&wrong[i]);
}

/* Over three dims by shifted quasirandom points: a right density passes, one that is off by a fifth does not. */
Test(self_check, a_density_over_three_dims) {
  static const char text[] =
      "distribution ball(v : real[3]; middle : real[3], scale : positive) {\n"
      "  log_pdf = -0.5 * sum((v - middle)^2) / scale^2 - 3 * log(scale) - 1.5 * log(2 * pi)%s;\n}\n"
      "distribution rates(v : positive[4]; rate : positive) { log_pdf = 4 * log(rate) - rate * sum(v); }\n";
  char right_one[600], wrong_one[600];
  snprintf(right_one, sizeof right_one, text, "");
  snprintf(wrong_one, sizeof wrong_one, text, " + 0.2");
  passes(right_one, 1, false);
  Spec s;
  check_with(&s, wrong_one, 1, false);
  char *messages = spec_messages(&s);
  cr_expect(s.errors == 1 && strstr(messages, "give or take") && strstr(messages, "`ball`"), "%s", messages);
  free(messages);
  spec_close(&s);
}
