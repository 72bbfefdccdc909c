/* Latents that are summed out: the exact expectation against the sum written out by hand, nested draws, several latents
 * at once, and compiled member rows against the interpreter. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/spm.h"
#include "spec.h"

static const double pixels[] = {1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 1, 0};

/* The same value by two specs, whose params have the same names and, from one seed, the same values. */
static void expect_same(const char *left, const char *right, const char *metric, const char *by_hand) {
  Spec a = spec_right(left), b = spec_right(right);
  Run run = {.rows = 4, .inputs = {{"x", pixels}}};
  double x = spec_metric(&a, metric, &run), y = spec_metric(&b, by_hand, &run);
  cr_expect(fabs(x - y) < 1e-12 * (1 + fabs(y)), "%s: %.15g by exact, %.15g by hand", metric, x, y);
  spec_close(&a);
  spec_close(&b);
}

Test(exact, a_category_is_the_sum_over_its_classes) {
  expect_same("model a; data x : binary[6]; latent y : category(3); param r : real[3] init normal(0, 1);"
              "param s : real[3, 6] init normal(0, 1); param w : real[6, 3] init normal(0, 1);"
              "prior y ~ categorical(logits = r); posterior y ~ categorical(logits = s @ x) by exact;"
              "likelihood x ~ bernoulli(logits = w @ y);",
              "model b; data x : binary[6]; param r : real[3] init normal(0, 1);"
              "param s : real[3, 6] init normal(0, 1); param w : real[6, 3] init normal(0, 1);"
              "let l = w' @ x - sum(softplus(w'), over = 6); let q = softmax(s @ x);"
              "metric by_hand = dot(q, l - log_softmax(s @ x) + log_softmax(r)); minimize sum(x);",
              "elbo", "by_hand");
}

static const char two_latents[] =
    "model two; dim D = 6; dim C = 3; dim M = 2; dim B = 2; data x : binary[D]; latent y : category(C);"
    "latent b : binary[B]; latent h : real[M]; prior y ~ categorical(prob = 1 / C); prior b ~ bernoulli(prob = 0.3);"
    "decoder ph(y, b) { mu = dense(concat(y, b), M); } prior h ~ normal(ph.mu, 1);"
    "network class(x) { scores = dense(x, C); bits = dense(x, B); }"
    "encoder q(x, y, b) { t = tanh(dense(concat(concat(x, y), b), 5)); mu = dense(t, M); log_sd = dense(t, M); }"
    "posterior y ~ categorical(logits = class.scores) by exact;"
    "posterior b ~ bernoulli(logits = class.bits) by exact; posterior h ~ normal(q.mu, exp(q.log_sd));"
    "decoder p(h, y) { logits = dense(tanh(dense(concat(h, y), 5)), D); } likelihood x ~ bernoulli(logits = p.logits);"
    "objective elbo; metric which = index(y) + sum(b);";

/* Gradients against differences, and compiled code against the interpreter, in double. */
static void expect_sound(const char *text) { spec_expect_sound(text, 12); }

Test(exact, several_latents_and_one_nested_under_them) { expect_sound(two_latents); }

Test(exact, samples_of_what_is_nested) {
  expect_sound("model s; dim D = 4; dim C = 3; data x : binary[D]; latent y : category(C); latent h : real[2];"
               "prior y ~ categorical(prob = 1 / C); prior h ~ laplace(0, 1);"
               "encoder q(x, y) { t = tanh(dense(concat(x, y), 5)); mu = dense(t, 2); }"
               "posterior y ~ categorical(logits = dense(x, C)) by exact; posterior h ~ normal(q.mu, 0.5);"
               "likelihood x ~ bernoulli(logits = dense(concat(h, y), D)); objective elbo(samples = 3);");
}

Test(exact, an_integer_is_summed_over_its_values) {
  expect_sound("model i; dim D = 4; data x : binary[D]; latent n : integer(1, 4); prior n ~ categorical(prob = 1 / 4);"
               "posterior n ~ categorical(logits = dense(x, 4)) by exact; param w : real[D] init normal(0, 1);"
               "likelihood x ~ bernoulli(logits = n * w - 1); objective elbo;");
}

/* Rows of members in several tiles, on one thread and on three: the same bytes. */
Test(exact, threads_do_not_change_a_byte) {
  enum { ROWS = 300 };
  static float x[ROWS * 6];
  const float *const data[] = {x};
  char error[1000];
  double objective[2];
  static float kept[1000];
  for (int i = 0; i < ROWS * 6; i++) x[i] = (float)(i * 7919 % 13 < 5);
  for (int threads = 1; threads <= 3; threads += 2) {
    spm_compiled *c = spm_compile(two_latents, "two.spm", NULL, 0, error, sizeof error);
    cr_assert(c != NULL, "%s", error);
    spm_session *session = spm_session_create(c, ROWS, threads, 1, error, sizeof error);
    cr_assert(spm_session_gradient(session, data, ROWS, 0, &objective[threads / 2], error, sizeof error) == 0, "%s",
              error);
    long size = 0;
    const float *g = spm_session_gradient_of(session, "p.logits.dense.W", &size);
    cr_assert(g != NULL && size == 25);
    if (threads == 1) memcpy(kept, g, sizeof *g * (size_t)size);
    cr_expect(memcmp(kept, g, sizeof *g * (size_t)size) == 0, "the gradient depends on threads");
    spm_session_free(session);
    spm_compiled_free(c);
  }
  cr_expect(objective[0] == objective[1], "%.17g and %.17g", objective[0], objective[1]);
}

/* Scores that put all but two classes off the support: the expectation is over those two alone, and so are the rows. */
Test(exact, sparsemax_sums_over_its_support) {
  Spec s = spec_right("model m; data x : real[2]; latent y : category(5); param a : real[5] init 0;"
                      "prior y ~ categorical(prob = 1 / 5); posterior y ~ sparsemax(a); param w : real[2, 5] init 0;"
                      "likelihood x ~ normal(w @ y, 1); objective elbo; metric size = support_size(y);"
                      "metric first = y[0]; metric third = y[2];");
  const double scores[] = {0.9, -2, 0.5, -1, -0.3}, x[] = {0, 0, 0, 0};
  Run run = {.rows = 2, .inputs = {{"a", scores}, {"x", x}}};
  cr_expect(spec_metric(&s, "size", &run) == 2, "%g", spec_metric(&s, "size", &run));
  cr_expect(fabs(spec_metric(&s, "first", &run) - 0.7) < 1e-12 && fabs(spec_metric(&s, "third", &run) - 0.3) < 1e-12);
  double kl = 0.7 * log(0.7 * 5) + 0.3 * log(0.3 * 5), log_lik = -log(2 * 3.14159265358979323846);
  cr_expect(fabs(spec_metric(&s, "elbo", &run) - (log_lik - kl)) < 1e-12);
  spec_close(&s);
}

Test(exact, sparse_maps_as_posteriors) {
  const char *maps[] = {"sparsemax(3 * class.s)", "entmax(2 * class.s, alpha = 1.5)", "softmax(class.s)"};
  for (int i = 0; i < 3; i++) {
    char text[1500];
    snprintf(text, sizeof text,
             "model m; dim D = 6; dim C = 4; dim M = 2; data x : binary[D]; latent y : category(C); latent h : real[M];"
             "prior y ~ categorical(prob = 1 / C); prior h ~ normal(0, 1); network class(x) { s = dense(x, C); }"
             "encoder q(x, y) { t = tanh(dense(concat(x, y), 5)); mu = dense(t, M); sd = exp(dense(t, M)); }"
             "posterior y ~ %s; posterior h ~ normal(q.mu, q.sd);"
             "likelihood x ~ bernoulli(logits = dense(tanh(dense(concat(h, y), 5)), D)); objective elbo;",
             maps[i]);
    expect_sound(text);
  }
}

/* Products on member rows: axes of the datum and of a support. */
static int products_of_members(const char *text) {
  Spec s = spec_right(text);
  const Graph *g = model_graph(s.model, PROGRAM_TRAIN);
  int count = 0;
  for (int i = 0; i < g->count; i++) {
    const Node *n = g->nodes[i];
    bool member = (n->axes & AXIS_DATUM) && (n->axes & (unsigned)AXIS_SUPPORT);
    count += n->op == IR_contract && member && n->operands[0]->shape.rank + n->operands[1]->shape.rank > 2;
  }
  spec_close(&s);
  return count;
}

/* What is known of the datum times what is known of the member: for all members at once where hardly any has no
 * probability, and on the rows of those that have one otherwise. */
Test(exact, a_datum_times_a_member) {
  const char *model = "model m; dim P = 2; dim K = 3; dim C = 4; data x : binary[P, K]; latent y : category(C);"
                      "param s : real[C, P * K] init normal(0, 1); param e : real[K, C] init normal(0, 1);"
                      "param r : real[K, K] init normal(0, 1); let t = x @ r @ (e @ y);";
  const char *maps[] = {"softmax", "sparsemax"};
  for (int i = 0; i < 2; i++) {
    char text[900], hand[900];
    snprintf(text, sizeof text,
             "%s posterior y ~ %s(s @ flatten(x)); objective entropy(y) - sum(t^2);"
             "metric direct = sum(t^2) + sum(t);",
             model, maps[i]);
    snprintf(hand, sizeof hand,
             "model m; dim P = 2; dim K = 3; dim C = 4; data x : binary[P, K];"
             "param s : real[C, P * K] init normal(0, 1); param e : real[K, C] init normal(0, 1);"
             "param r : real[K, K] init normal(0, 1); let t = x @ r @ e; let q = %s(s @ flatten(x));"
             "metric by_hand = sum(t^2 @ q) + sum(t @ q); minimize sum(x);",
             maps[i]);
    expect_same(text, hand, "direct", "by_hand");
    expect_sound(text);
    cr_expect((products_of_members(text) > 0) == (i == 1), "%s: %d products on member rows", maps[i],
              products_of_members(text));
  }
}
