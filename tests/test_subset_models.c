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
