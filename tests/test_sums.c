/* Numbers that must sum to 1: those of which it is proved are let alone, all others are guarded, and what does not sum
 * to 1 is no number (LANGUAGE rule 35). */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "spec.h"

#define MODEL                                                                                                          \
  "model m; dim C = 3; dim D = 3; data x : real[C]; data y : category(C); data soft : unit[C];"                        \
  "data g : category(C) missing_ok; param w : unit init 0.3; param W : unit[D] init 0.2; param v : unit[C] init 0.2;"  \
  "param s : simplex(C); param f : simplex(C) fixed; param p : simplex(C) projected; local l : simplex(C);"            \
  "param A : real[D, C] init normal(0, 1); let a = softmax(x);"

/* How often explain says that something is accepted without a proof. */
static int accepted(const char *term) {
  char text[1200];
  snprintf(text, sizeof text, MODEL "objective %s;", term);
  Spec s = spec_right(text);
  model_graph(s.model, PROGRAM_TRAIN);
  int count = s.model->accepted_count;
  spec_close(&s);
  return count;
}

/* Each of them, put in the place of %s; NULL ends them. */
static void expect_accepted(const char *around, const char *const *expressions, int count) {
  for (; *expressions != NULL; expressions++) {
    char term[300];
    snprintf(term, sizeof term, around, *expressions);
    cr_expect(accepted(term) == count, "%s", *expressions);
  }
}

Test(sums, what_is_proved) {
  static const char *const proved[] = {"1 / C",
                                       "a",
                                       "softmax((x + 1) / 0.3)",
                                       "sparsemax(x)",
                                       "entmax(x)",
                                       "hardmax(x)",
                                       "y",
                                       "s",
                                       "f",
                                       "p",
                                       "l",
                                       "stop(s)",
                                       "observed(g) ? s : a",
                                       "exp(x) / sum(exp(x))",
                                       "v / sum(v)",
                                       "(a + s + f) / 3",
                                       "0.25 * a + 0.75 * s",
                                       "w * a + (1 - w) * s",
                                       "(1 - w / 2) * a + w / 2 / C",
                                       "concat(0.2 * ones(1), 0.8 / 2 * ones(2))",
                                       "sparsemax(A @ x) @ softmax(A)",
                                       "hardmax(A @ y) @ softmax(A)",
                                       "softmax(A)[1]",
                                       "0.3333",
                                       NULL};
  static const char *const not_proved[] = {"sigmoid(x)",
                                           "v",
                                           "w",
                                           "soft",
                                           "softmax(A)' @ softmax(A @ x)",
                                           "clip(2 * a, 0, 1)",
                                           "w * a + w * s",
                                           "a * s",
                                           "softmax(A, over = D)[1]",
                                           "exp(x) / sum(x^2)",
                                           "w > 0.5 ? a : v",
                                           NULL};
  expect_accepted("log_pdf(categorical(prob = %s), y)", proved, 0);
  expect_accepted("log_pdf(categorical(prob = %s), y)", not_proved, 1);
  cr_expect(accepted("log_pdf(categorical(prob = x), y)") == 1); /* may be negative as well: said once */
}

#define ALONG(weights) "mixture(" weights ": normal(A', 1), over = C), zeros(D)"

Test(sums, weights_of_mixtures) {
  static const char *const proved[] = {
      "mixture(w: normal(0, 1), 1 - w: normal(0, 2)), w",
      "mixture(w / 2: normal(0, 1), 1 - w: normal(1, 1), 0.5 * w: normal(0, 2)), w",
      "mixture(0.3333: normal(0, 1), 0.3333: normal(1, 1), 0.3333: normal(0, 2)), w",
      "mixture(W: normal(0, 1), 1 - W: normal(0, 2)), zeros(D)",
      "mixture(w: normal(0, 1), 1 - w: mixture(w^2: normal(0, 1), 1 - w^2: normal(1, 1))), w",
      "mixture(s: normal(x, 1), over = C), w",
      ALONG("softmax(A', over = C)"),
      ALONG("expand(s, D)'"),
      ALONG("exp(A') / sum(exp(A'), over = C)"),
      ALONG("expand(w, D) * softmax(A', over = C) + expand(1 - w, D) / C"),
      NULL};
  static const char *const not_proved[] = {"mixture(w: normal(0, 1), w: normal(0, 2)), w",
                                           "mixture(w: normal(0, 1), 1 - w^2: normal(0, 2)), w",
                                           "mixture(v: normal(x, 1), over = C), w",
                                           ALONG("softmax(A', over = D)"),
                                           ALONG("softmax(A')"),
                                           ALONG("expand(v, D)'"),
                                           NULL};
  expect_accepted("sum(log_pdf(%s))", proved, 0);
  expect_accepted("sum(log_pdf(%s))", not_proved, 1);
}

/* `let p : TYPE = e;` promises likewise. */
Test(sums, what_a_let_is_declared) {
  static const char *const proved[] = {"simplex(C) = softmax(x)", "simplex(C) = 1 / C", "positive[C] = exp(x)", NULL};
  static const char *const not_proved[] = {"simplex(C) = sigmoid(x)", "positive[C] = x", "integer(0, 9)[C] = x", NULL};
  expect_accepted("sum(given * x); let given : %s", proved, 0);
  expect_accepted("sum(given * x); let given : %s", not_proved, 1);
}

/* Rows of soft labels that sum to 1, but for the last. */
Test(sums, what_does_not_sum_to_one_is_no_number) {
  static const double soft[] = {0.2, 0.3, 0.5, 0.9, 0.1, 0, 0.5, 0.1, 0.1}, y[] = {0, 0, 1, 1, 0, 0, 0, 0, 1};
  static const double wanted[] = {0.5, 0.9, NAN};
  Spec s = spec_right("model m; dim C = 3; data soft : unit[C]; data y : category(C); param w : real;"
                      "let each = log_pdf(categorical(prob = soft), y);"
                      "let mixed = log_pdf(mixture(soft: normal(0, 1), over = C), 0); objective w * (each + mixed);");
  static const char *const names[] = {"each", "mixed"};
  Elaborator *e = elaborator_create(s.model, PROGRAM_TRAIN, 1);
  Run run = {.rows = 3, .inputs = {{"soft", soft}, {"y", y}}};
  for (int n = 0; n < 2; n++) {
    const Item *let = model_find(s.model, ITEM_LET, intern(s.c, names[n]));
    Value v = model_value(e, (Item *)let, let->span);
    const double *found = spec_values(&s, e->graph, v.node, &run);
    for (int i = 0; i < 3; i++) {
      double right = n == 0 ? log(wanted[i]) : isnan(wanted[i]) ? NAN : -0.5 * log(2 * acos(-1));
      cr_expect(isnan(right) ? isnan(found[i]) : fabs(found[i] - right) < 1e-12, "%s of row %d: %g", names[n], i,
                found[i]);
    }
  }
  spec_close(&s);
}
