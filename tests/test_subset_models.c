/* Models with latent subsets against enumeration of ordered draws: inclusion probabilities, KL, the bound, hard codes.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "spec.h"

enum { K = 6, L = 3, ROWS = 4000 };

static const double logits[K] = {3, 2, 1, 0, 0, -1}, sizes[L] = {0.5, -0.3, 0.8};
static const double effects[2][K] = {{1, -0.5, 0.3, 2, 0, -1}, {0.2, 0.7, -1.1, 0.4, 0.9, 0}}, point[2] = {0.8, 0.1};

/* Sums over all orders of `size` picks from what softmax(logits) leaves: f(set, probability of the order, its KL). */
typedef struct Orders {
  double included[K], kl[L + 1], fit[L + 1]; /* kl[l]: of the l-th pick; fit: E log p(x | set) */
} Orders;

static double log_likelihood(unsigned set) {
  double total = 0;
  for (int d = 0; d < 2; d++) {
    double mean = 0;
    for (int k = 0; k < K; k++)
      if (set >> k & 1) mean += effects[d][k];
    total += -0.5 * (point[d] - mean) * (point[d] - mean) - 0.5 * log(2 * acos(-1));
  }
  return total;
}

static void walk(Orders *o, int size, int depth, unsigned set, double probability) {
  if (depth == size) {
    for (int k = 0; k < K; k++)
      if (set >> k & 1) o->included[k] += probability;
    o->fit[size] += probability * log_likelihood(set);
    return;
  }
  double total = 0;
  for (int k = 0; k < K; k++)
    if (!(set >> k & 1)) total += exp(logits[k]);
  for (int k = 0; k < K; k++) {
    double pick = exp(logits[k]) / total;
    if (set >> k & 1) continue;
    if (size == L) o->kl[depth + 1] += probability * pick * log(pick * (K - depth));
    walk(o, size, depth + 1, set | 1u << k, probability * pick);
  }
}

static double log_evidence(void) {
  double total = 0;
  for (unsigned set = 1; set < 1 << K; set++) {
    int size = __builtin_popcount(set);
    double choices = size == 1 ? 6 : size == 2 ? 15 : 20;
    if (size <= L) total += exp(log_likelihood(set)) / choices / L;
  }
  return log(total);
}

#define MODEL                                                                                                          \
  "model subsets;\ndim D = 2; dim K = 6; dim L = 3;\ndata x : real[D];\n"                                              \
  "latent size : integer(1, L);\nlatent active : subset(L)[K];\nparam W : real[D, K] fixed init 0;\n"                  \
  "param a : real[K] init 0;\nparam s : real[L] init 0;\n"                                                             \
  "prior size ~ categorical(prob = 1 / L);\nprior active ~ gumbel_top_k(logits = 0, size = size);\n"                   \
  "posterior size ~ categorical(logits = s + 0 * x[0]) by relaxed(temperature = tau);\n"                               \
  "posterior active ~ gumbel_top_k(logits = a + 0 * x[0], size = size) by relaxed(temperature = tau);\n"               \
  "likelihood x ~ normal(W @ active, 1);\n"

static Run run_of_many(double *x) {
  for (int r = 0; r < 2 * ROWS; r++) x[r] = point[r % 2];
  return (Run){.rows = ROWS, .inputs = {{"x", x}, {"W", &effects[0][0]}, {"a", logits}, {"s", sizes}}};
}

Test(subset_models, bound_is_that_of_the_ordered_draws) {
  static double x[2 * ROWS];
  Run run = run_of_many(x);
  Spec spec =
      spec_right(MODEL "let tau = 0.5;\nobjective elbo;\nmetric kl_of = kl(active);\nmetric kl_size = kl(size);\n"
                       "metric other = sum(active) != size;\nmetric most = max(sum(active), over = batch);\n"
                       "metric first = active[0];\nmetric soft = sum(active > 0 and active < 1);\n");
  Orders o;
  memset(&o, 0, sizeof o);
  double chance[L + 1] = {0}, total = 0, kl = 0, kl_size = 0, fit = 0, reached = 0, first = 0;
  for (int l = 1; l <= L; l++) total += exp(sizes[l - 1]);
  for (int l = 1; l <= L; l++) {
    chance[l] = exp(sizes[l - 1]) / total;
    memset(o.included, 0, sizeof o.included); /* of this size */
    walk(&o, l, 0, 0, 1);
    first += chance[l] * o.included[0];
    fit += chance[l] * o.fit[l];
    kl_size += chance[l] * log(chance[l] * L);
  }
  for (int l = L; l >= 1; l--) {
    reached += chance[l];
    kl += reached * o.kl[l];
  }
  double bound = fit - kl - kl_size, found_kl = spec_metric(&spec, "kl_of", &run);
  cr_expect(fabs(found_kl - kl) < 0.02, "KL of the ordered draws %g, by enumeration %g", found_kl, kl);
  cr_expect(fabs(spec_metric(&spec, "kl_size", &run) - kl_size) < 1e-9);
  double elbo = spec_metric(&spec, "elbo", &run);
  cr_expect(fabs(elbo - bound) < 0.06, "elbo %g, by enumeration %g", elbo, bound);
  cr_expect(bound < log_evidence() && elbo < log_evidence(), "elbo %g, log p(x) %g", elbo, log_evidence());
  cr_expect(spec_metric(&spec, "other", &run) == 0, "a code has exactly as many members as its size says");
  cr_expect(spec_metric(&spec, "most", &run) == L);
  cr_expect(spec_metric(&spec, "soft", &run) == 0);
  cr_expect(fabs(spec_metric(&spec, "first", &run) - first) < 0.02);
  spec_close(&spec);
}

/* Logits 2, 0, 0 and two of three: the first is in with probability 0.975, of a conditional Bernoulli with 0.937. */
#define PAIR                                                                                                           \
  "model pair;\ndata x : real[3];\nlatent z : subset(2)[3];\nparam a : real[3] init 0;\nminimize sum(x) + z[0];\n"

static double objective_of(const char *text) {
  static const double a[] = {2, 0, 0};
  static double zeros[3 * ROWS];
  Spec spec = spec_right(text);
  Run run = {.rows = ROWS, .inputs = {{"a", a}, {"x", zeros}}};
  double value = -*spec_output(&spec, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run);
  spec_close(&spec);
  return value;
}

Test(subset_models, relaxed_subsets_follow_plackett_and_luce_as_the_temperature_falls) {
  double e = exp(2), wanted = e / (e + 2) + 2 / (e + 2) * e / (e + 1), last = 1;
  static const char *const temperatures[] = {"1", "0.2", "0.02"};
  cr_assert(fabs(wanted - 0.975) < 5e-4);
  double hard = objective_of(PAIR "posterior z ~ gumbel_top_k(logits = a + 0 * x[0], size = 2)\n"
                                  "  by relaxed(temperature = 0.5, straight_through = true);\n");
  cr_expect(fabs(hard - wanted) < 0.01, "%g of hard draws, by enumeration %g", hard, wanted); /* 4 standard errors */
  for (int i = 0; i < 3; i++) {                                                               /* on the same noise */
    char text[800];
    snprintf(text, sizeof text,
             PAIR "posterior z ~ gumbel_top_k(logits = a + 0 * x[0], size = 2) by relaxed(temperature = %s);\n",
             temperatures[i]);
    double found = objective_of(text), gap = fabs(found - hard);
    cr_expect(gap < last, "at temperature %s: %g, hard %g", temperatures[i], found, hard);
    last = gap;
  }
  cr_expect(last < 0.004, "off by %g", last);
}

/* The library's picks and the same ones written out in the language, one after the other: value, KL, gradients in keys,
 * gates and temperature. As many picks as members, too, in dims of one name. */
#define PICKS                                                                                                          \
  "model picks;\ndim K = 7;\ndim L = %d;\ndata x : real[2];\nparam a : real[K] init 0;\nparam g : real[%s] init 0;\n"  \
  "param t : real init 0.4;\nlet b = cumsum(ones(K)) / 3;\nlet u = 0.5 + 0.4 * sin(x[0] + 3 * cumsum(ones(K)));\n"     \
  "let keys = a + gumbel_noise(u);\nlet gates = sigmoid(g);\n"                                                         \
  "minimize dot(b, %srelaxed_subset(keys, gates, t)) + %skl_along_picks(keys, t, gates, a, b)\n"                       \
  "  + 0.3 * %skl_along_picks(keys, 0, gates, a, b);\n"                                                                \
  "function rest(s : real[k]) {\n  first = hardmax(s);\n"                                                              \
  "  return first > 0 ? logsumexp(first > 0 ? -1e30 : s) - logsumexp(s) : log1p(-softmax(s));\n}\n"                    \
  "function slow_relaxed_subset(keys : real[k], gates : real[l], temperature) {\n"                                     \
  "  left = zeros(k);  out = ones(k);  n = 0;\n  repeat l {\n    s = (keys + left) / temperature;\n"                   \
  "    out = out * (1 - gates[n] * softmax(s));\n    left = left + rest(s);\n    n = n + 1;\n  }\n"                    \
  "  return 1 - out;\n}\n"                                                                                             \
  "function one_kl(a : real[k], b : real[k], left : real[k]) = dot(log_softmax(a + left) - log_softmax(b + left),\n"   \
  "  softmax(a + left));\n"                                                                                            \
  "function slow_kl_along_picks(keys : real[k], temperature, gates : real[l], a : real[k], b : real[k]) {\n"           \
  "  left = zeros(k);  total = 0 * gates[0];  n = 0;\n  repeat l {\n"                                                  \
  "    total = total + gates[n] * one_kl(a, b, left);\n"                                                               \
  "    left = left + (temperature > 0 ? rest((keys + left) / max(temperature, 0.1)) : -1e30 * hardmax(keys + "         \
  "left));\n"                                                                                                          \
  "    n = n + 1;\n  }\n  return total;\n}\n"

static void expect_same_picks(int count) {
  static const double a[] = {1.5, -0.3, 0.2, 2.5, -1, 0.4, 0}, x[] = {0.1, 0, 1.7, 0, -0.8, 0};
  static const double g[] = {2, -1, 0.5, 0.3, 1, -0.4, 0.2};
  static const struct {
    const char *name;
    int size;
  } outputs[] = {{"a", 7}, {"g", 0}, {"t", 1}};
  const char *prefix[] = {"", "slow_"};
  Spec specs[2];
  Run run = {.rows = 3, .inputs = {{"a", a}, {"g", g}, {"x", x}}};
  double value[2];
  for (int i = 0; i < 2; i++) {
    char text[4000];
    snprintf(text, sizeof text, PICKS, count, count == 7 ? "K" : "L", prefix[i], prefix[i], prefix[i]);
    specs[i] = spec_right(text);
    value[i] = *spec_output(&specs[i], PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run);
  }
  cr_expect(fabs(value[0] - value[1]) < 1e-12 * fabs(value[1]), "%.15g, one after the other %.15g", value[0], value[1]);
  for (int o = 0; o < 3; o++) {
    const double *fast = spec_output(&specs[0], PROGRAM_TRAIN, OUTPUT_GRADIENT, outputs[o].name, &run);
    const double *slow = spec_output(&specs[1], PROGRAM_TRAIN, OUTPUT_GRADIENT, outputs[o].name, &run);
    for (int k = 0; k < (outputs[o].size ? outputs[o].size : count); k++) {
      cr_expect(fabs(slow[k]) > 1e-6);
      cr_expect(fabs(fast[k] - slow[k]) < 1e-10 * (1 + fabs(slow[k])),
                "%d picks, %s[%d]: %.15g, one after the other %.15g", count, outputs[o].name, k, fast[k], slow[k]);
    }
  }
  for (int i = 0; i < 2; i++) spec_close(&specs[i]);
}

Test(subset_models, picks_are_those_written_out) {
  expect_same_picks(1);
  expect_same_picks(4);
  expect_same_picks(7);
}

Test(subset_models, picks_are_sound) {
  char text[4000];
  snprintf(text, sizeof text, PICKS, 5, "L", "", "", "");
  spec_expect_sound(text, 12);
}

/* ---- the closed forms of a latent count -------------------------------------------------------------------------- */

/* Chances of at least 1, 2, ... members, with the softmax of `sizes`. */
static void tails(double *tail) {
  double total = 0;
  for (int l = 0; l < L; l++) total += exp(sizes[l]);
  tail[L] = 0;
  for (int l = L - 1; l >= 0; l--) tail[l] = tail[l + 1] + exp(sizes[l]) / total;
}

/* Gates of a drawn count average to the tail sums of its probabilities, whose soft ones fall and begin with 1; every
 * relaxed member lies in [0, 1]; hard ones are as many as the count. */
Test(subset_models, gates_of_a_count) {
  static double x[2 * ROWS];
  Run run = run_of_many(x);
  double tail[L + 1];
  tails(tail);
  Spec spec =
      spec_right(MODEL "let tau = 0.6;\nobjective elbo;\nmetric second = at_least(size)[1];\n"
                       "metric third = at_least(size)[2];\n"
                       "metric apart = abs(at_least(size)[0] - 1) > 1e-12 or at_least(size)[1] < at_least(size)[2]\n"
                       "  or at_least(size)[2] < 0;\nmetric outside = sum(active < 0 or active > 1);\n"
                       "metric whole = sum(active == 0 or active == 1);\nmetric off = sum(active) != size;\n"
                       "metric expected = dot(expected_at_least(size) - at_least(size), ones(L));\n");
  double error = 4.5 * 0.5 / sqrt(ROWS);
  cr_expect_float_eq(spec_metric(&spec, "second", &run), tail[1], error);
  cr_expect_float_eq(spec_metric(&spec, "third", &run), tail[2], error);
  cr_expect_float_eq(spec_metric(&spec, "expected", &run), 0, 3 * error);
  cr_expect(spec_metric(&spec, "whole", &run) == K && spec_metric(&spec, "off", &run) == 0);
  cr_expect(*spec_output(&spec, PROGRAM_TRAIN, OUTPUT_METRIC, "apart", &run) == 0);
  cr_expect(*spec_output(&spec, PROGRAM_TRAIN, OUTPUT_METRIC, "outside", &run) == 0);
  cr_expect(*spec_output(&spec, PROGRAM_TRAIN, OUTPUT_METRIC, "whole", &run) < 1, "soft in training");
  spec_close(&spec);
}

/* With replacement: E[distinct members] is the sum over counts l of P(l) sum_k (1 - (1 - q_k)^l), and the KL of the
 * picks E[count] times that of one. */
Test(subset_models, picks_with_replacement) {
  static double x[2 * ROWS];
  Run run = run_of_many(x);
  double tail[L + 1], total = 0, distinct = 0, one = 0, count = 0;
  tails(tail);
  for (int k = 0; k < K; k++) total += exp(logits[k]);
  for (int k = 0; k < K; k++) {
    double q = exp(logits[k]) / total;
    one += q * log(K * q);
    for (int l = 1; l <= L; l++) distinct += (tail[l - 1] - tail[l]) * (1 - pow(1 - q, l));
  }
  for (int l = 0; l < L; l++) count += tail[l];
  Spec spec =
      spec_right("model again;\ndim D = 2; dim K = 6; dim L = 3;\ndata x : real[D];\nlatent size : integer(1, L);\n"
                 "latent pick : category(K)[L];\nparam W : real[D, K] fixed init 0;\nparam a : real[K] init 0;\n"
                 "param s : real[L] init 0;\nlet used = tail_sum(one_hot(size));\n"
                 "let active = 1 - prod(1 - used * pick, over = L);\nprior size ~ categorical(prob = 1 / L);\n"
                 "prior pick ~ categorical(prob = 1 / K);\n"
                 "posterior size ~ categorical(logits = s + 0 * x[0]) by relaxed(temperature = 0.5);\n"
                 "posterior pick ~ categorical(logits = expand(a + 0 * x[0], L)) by relaxed(temperature = 0.5);\n"
                 "likelihood x ~ normal(W @ active, 1);\n"
                 "objective log_lik(x) - kl(size) - sum(used * kl_each(pick));\nmetric distinct = sum(active);\n"
                 "metric cost = sum(used * kl_each(pick));\nmetric many = sum(active) > size;\n");
  cr_expect_float_eq(spec_metric(&spec, "distinct", &run), distinct, 4.5 * 0.7 / sqrt(ROWS));
  cr_expect_float_eq(spec_metric(&spec, "cost", &run), count * one, 4.5 * one / sqrt(ROWS));
  cr_expect(spec_metric(&spec, "many", &run) == 0);
  spec_close(&spec);
}

/* The set's own KL to a uniform one, by enumeration; that of the ordered draws is no less, and the common surrogate,
 * count times the KL of one pick, may be less: with it the ELBO would be no bound. */
static double set_kl(const double *a, double *ordered, double *surrogate) {
  double chances[1 << K] = {0}, total = 0, kl = 0;
  *ordered = *surrogate = 0;
  for (int k = 0; k < K; k++) total += exp(a[k]);
  for (int k = 0; k < K; k++) *surrogate += L * exp(a[k]) / total * log(K * exp(a[k]) / total);
  for (int i = 0; i < K * K * K; i++) {
    int one = i / (K * K), two = i / K % K, three = i % K;
    if (one == two || one == three || two == three) continue;
    double p =
        exp(a[one]) / total * exp(a[two]) / (total - exp(a[one])) * exp(a[three]) / (total - exp(a[one]) - exp(a[two]));
    chances[1 << one | 1 << two | 1 << three] += p;
    *ordered += p * log(p * K * (K - 1) * (K - 2));
  }
  for (int set = 0; set < 1 << K; set++)
    if (chances[set] > 0) kl += chances[set] * log(chances[set] * 20);
  return kl;
}

Test(subset_models, kl_is_no_less_than_that_of_the_set) {
  static const double cases[][K] = {{3, 3, 3, 0, 0, 0}, {3, 2, 1, 0, 0, -1}, {0, 1, 2, 3, 4, 5}, {7, 7, 7, 7, 7, 7}};
  static double x[2 * ROWS];
  Run run = run_of_many(x);
  static const double all[L] = {-60, -60, 60};
  run.inputs[3].values = all;
  Spec spec = spec_right(MODEL "let tau = 0.5;\nobjective elbo;\nmetric found = kl(active);\n");
  for (int c = 0; c < 4; c++) {
    double ordered, surrogate, set = set_kl(cases[c], &ordered, &surrogate);
    run.inputs[2].values = cases[c];
    double found = spec_metric(&spec, "found", &run);
    cr_expect(ordered >= set - 1e-12 && found > set - 1e-9, "case %d: %g, that of the set %g", c, found, set);
    cr_expect(fabs(found - ordered) < 0.02, "case %d: %g, by enumeration %g", c, found, ordered);
    if (c == 0) cr_expect(surrogate < set - 0.1 && set < ordered, "%g, %g, %g", surrogate, set, ordered);
    if (c == 3) cr_expect(fabs(found) < 1e-12 && fabs(ordered) < 1e-12, "zero at the prior, not %g", found);
  }
  spec_close(&spec);
}

Test(subset_models, conditional_bernoulli_is_another) {
  double e = exp(2), wanted = 2 * e / (2 * e + 1);
  double soft = objective_of(PAIR "posterior z ~ conditional_bernoulli(logits = a + 0 * x[0], size = 2) by relaxed;\n");
  cr_expect(fabs(soft - wanted) < 1e-12 && fabs(wanted - 0.937) < 5e-4);
  double hard = objective_of(PAIR "posterior z ~ conditional_bernoulli(logits = a + 0 * x[0], size = 2)\n"
                                  "  by relaxed(straight_through = true);\n");
  cr_expect(fabs(hard - wanted) < 0.015);
}

Test(subset_models, conditional_bernoulli_by_enumeration) {
  static const double row[] = {1, 0, 1, 0, 1, 0};
  static const char text[] =
      "model sums;\ndim K = 6;\ndata t : subset(3)[K];\nparam a : real[K] init 0;\nparam b : real[K] init 0;\n"
      "minimize -log_pdf(conditional_bernoulli(logits = a, size = n), t);\nlet n : integer(0, 3) = sum(t);\n"
      "metric lp = log_pdf(conditional_bernoulli(logits = a, size = 3), t);\nmetric by_let = "
      "log_pdf(conditional_bernoulli(logits = a, "
      "size = n), t);\nmetric gap = kl(conditional_bernoulli(logits = a, size = 3), conditional_bernoulli(logits = b, "
      "size = 3));\nmetric h = entropy(conditional_bernoulli(logits = a, size = 3));\n";
  static const double b[K] = {-1, 0.5, 0, 2, 0.3, 1};
  double total[2] = {0}, entropy = 0, gap = 0;
  for (int pass = 0; pass < 2; pass++)
    for (unsigned set = 0; set < 1 << K; set++) {
      double of[2] = {0};
      if (__builtin_popcount(set) != 3) continue;
      for (int k = 0; k < K; k++)
        if (set >> k & 1) of[0] += logits[k], of[1] += b[k];
      for (int i = 0; i < 2 && pass == 0; i++) total[i] += exp(of[i]);
      if (pass == 0) continue;
      double p = exp(of[0]) / total[0], q = exp(of[1]) / total[1];
      entropy -= p * log(p);
      gap += p * log(p / q);
    }
  Spec spec = spec_right(text);
  Run run = {.rows = 1, .inputs = {{"t", row}, {"a", logits}, {"b", b}}};
  double lp = logits[0] + logits[2] + logits[4] - log(total[0]);
  cr_expect(fabs(spec_metric(&spec, "lp", &run) - lp) < 1e-12);
  cr_expect(fabs(spec_metric(&spec, "by_let", &run) - lp) < 1e-12);
  cr_expect(fabs(spec_metric(&spec, "h", &run) - entropy) < 1e-12);
  cr_expect(fabs(spec_metric(&spec, "gap", &run) - gap) < 1e-12, "%g", gap);
  spec_close(&spec);
}
