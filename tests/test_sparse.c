/* Projections onto the simplex and onto marginals of bit vectors, on 10,000 random problems each: ties, scores of
 * +-10,000, 1 to 512 bits, budgets from 0. Against sorting, against all bit vectors, against the closed form of the
 * marginals and the conditions of optimality, and their adjoints against differences. */
#define SPM_DOUBLE
#include "runtime/sparse.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random_graph.h"

void spm_sparsemax_d(long n, double *out, const double *in);
void spm_sparsemax_f(long n, float *out, const float *in);
void spm_entmax_d(long n, double *out, const double *in, const double *alpha);
long spm_top_k_sparsemax_f(long, long, const float *, spm_word *, float *, struct spm_sparse_report *, void *);
long spm_sparsemap_f(long, long, const float *, const float *, spm_word *, float *, struct spm_sparse_report *, void *);

enum { PROBLEMS = 10000, MOST = 512, MOST_K = 40, MOST_WORDS = MOST / SPM_WORD_BITS };

/* Mostly small. */
static long random_size(Random *random) {
  if (random_below(random, 200) == 0) return 1 + random_below(random, MOST);
  if (random_below(random, 10) == 0) return 1 + random_below(random, 64);
  return 1 + random_below(random, 12);
}

static double random_normal(Random *random) {
  return sqrt(-2 * log(random_between(random, 1e-12, 1))) * cos(6.283185307179586 * random_between(random, 0, 1));
}

/* Normal at several scales, with ties, all alike, huge. */
static void random_scores(Random *random, long d, double *t) {
  const double scales[] = {0.05, 0.5, 1, 3};
  int kind = random_below(random, 8);
  double same = random_normal(random);
  for (long i = 0; i < d; i++) {
    t[i] = scales[random_below(random, 4) * (kind == 0)] * random_normal(random);
    if (kind == 1) t[i] = scales[2] * random_normal(random);
    if (kind == 2) t[i] = 0.25 * (random_below(random, 9) - 4);
    if (kind == 3) t[i] = same;
    if (kind == 4) t[i] = random_below(random, 2) ? 1e4 : -1e4;
    if (kind == 5) t[i] = 1e4 + random_normal(random);
    if (kind == 6) t[i] = random_below(random, 3) ? 0 : 1e4 * random_normal(random);
    if (kind == 7) t[i] = 0.01 * random_normal(random);
  }
}

static int descending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

/* By sorting, measured from the largest. */
static double sorted_threshold(long n, const double *x) {
  double *sorted = malloc(sizeof *sorted * (size_t)n), sum = 0, threshold = 0;
  memcpy(sorted, x, sizeof *sorted * (size_t)n);
  qsort(sorted, (size_t)n, sizeof *sorted, descending);
  for (long i = 0; i < n; i++) {
    sum += sorted[i] - sorted[0];
    double next = (sum - 1) / (double)(i + 1);
    if (sorted[i] - sorted[0] <= next) break;
    threshold = next;
  }
  threshold += sorted[0];
  free(sorted);
  return threshold;
}

/* --- along a vector --- */

Test(sparse, sparsemax_is_the_projection) {
  Random random = {1};
  double x[MOST], p[MOST];
  float x_f[MOST], p_f[MOST];
  for (int problem = 0; problem < PROBLEMS; problem++) {
    long n = random_size(&random);
    random_scores(&random, n, x);
    for (long i = 0; i < n; i++) x[i] = x_f[i] = (float)x[i];
    double threshold = sorted_threshold(n, x), sum = 0;
    spm_sparsemax_d(n, p, x);
    spm_sparsemax_f(n, p_f, x_f);
    for (long i = 0; i < n; i++) {
      double expected = fmax(x[i] - threshold, 0);
      sum += p[i];
      cr_assert(fabs(p[i] - expected) < 1e-11, "problem %d: [%ld] is %.17g, not %.17g", problem, i, p[i], expected);
      cr_assert(fabs((double)p_f[i] - p[i]) <= FLT_EPSILON);
    }
    cr_assert(fabs(sum - 1) < 1e-12, "problem %d: sum %.17g", problem, sum);
  }
}

Test(sparse, entmax_has_its_form_and_sums_to_one) {
  Random random = {2};
  const double alphas[] = {1.5, 1.1, 1.25, 2, 3};
  double x[MOST], p[MOST], half[MOST];
  for (int problem = 0; problem < PROBLEMS / 4; problem++) {
    long n = random_size(&random), top = 0;
    double alpha = alphas[problem % 5], sum = 0;
    random_scores(&random, n, x);
    spm_entmax_d(n, p, x, &alpha);
    for (long i = 0; i < n; i++) top = x[i] > x[top] ? i : top;
    double threshold = (alpha - 1) * x[top] - pow(p[top], alpha - 1);
    for (long i = 0; i < n; i++) {
      double expected = pow(fmax((alpha - 1) * (x[i] - x[top]) + pow(p[top], alpha - 1), 0), 1 / (alpha - 1));
      sum += p[i];
      cr_assert(fabs(p[i] - expected) < 1e-9, "problem %d, alpha %g: [%ld] is %.17g, not %.17g (threshold %g)", problem,
                alpha, i, p[i], expected, threshold);
    }
    cr_assert(fabs(sum - 1) < 1e-9, "problem %d, alpha %g: sum %.17g", problem, alpha, sum);
    if (alpha != 2) continue;
    spm_sparsemax_d(n, half, x);
    for (long i = 0; i < n; i++) cr_assert(fabs(half[i] - p[i]) < 1e-9);
  }
}

Test(sparse, what_is_not_a_number_shows) {
  double x[] = {1, NAN, 0}, p[3], alpha = 1.5, masked[] = {-INFINITY, 0.5, -INFINITY};
  spm_sparsemax_d(3, p, x);
  cr_assert(isnan(p[0]) && isnan(p[1]) && isnan(p[2]));
  spm_entmax_d(3, p, x, &alpha);
  cr_assert(isnan(p[0]) && isnan(p[1]) && isnan(p[2]));
  spm_sparsemax_d(3, p, masked);
  cr_assert(p[0] == 0 && p[1] == 1 && p[2] == 0);
  spm_entmax_d(3, p, masked, &alpha);
  cr_assert(p[0] == 0 && p[1] == 1 && p[2] == 0);
}

/* --- bit vectors --- */

typedef struct Support {
  long d, count;
  spm_word *members;
  double *weights;
  struct spm_sparse_report report;
  void *work;
} Support;

static Support support_room(long most) {
  size_t room = spm_sparsemap_room(MOST), other = spm_top_k_room(MOST, MOST_K);
  return (Support){.members = malloc(sizeof(spm_word) * (size_t)most * MOST_WORDS),
                   .weights = malloc(sizeof(double) * (size_t)most),
                   .work = malloc(room > other ? room : other)};
}

static void support_free(Support *s) { free(s->members), free(s->weights), free(s->work); }

static const spm_word *member_of(const Support *s, long j) { return s->members + j * spm_sparse_words(s->d); }

static double score_of(const Support *s, long j, const double *t) {
  double sum = 0;
  for (long i = 0; i < s->d; i++) sum += spm_sparse_bit(member_of(s, j), i) ? t[i] : 0;
  return sum;
}

/* Weights are positive and sum to 1, members differ and have at most `budget` bits. */
static void check_support(const Support *s, long budget, int problem) {
  size_t bytes = sizeof(spm_word) * (size_t)spm_sparse_words(s->d);
  double sum = 0;
  for (long j = 0; j < s->count; j++) {
    long bits = 0;
    for (long i = 0; i < s->d; i++) bits += spm_sparse_bit(member_of(s, j), i);
    sum += s->weights[j];
    cr_assert(s->weights[j] > 0 && bits <= budget, "problem %d: member %ld has %ld bits", problem, j, bits);
    for (long k = 0; k < j; k++) cr_assert(memcmp(member_of(s, j), member_of(s, k), bytes) != 0, "problem %d", problem);
  }
  cr_assert(fabs(sum - 1) < 1e-10, "problem %d: sum %.17g", problem, sum);
}

/* Scores of all 2^d bit vectors. */
static double *all_scores(long d, const double *t) {
  double *scores = malloc(sizeof *scores << d);
  for (long a = 0; a < 1l << d; a++) {
    scores[a] = 0;
    for (long i = 0; i < d; i++) scores[a] += a >> i & 1 ? t[i] : 0;
  }
  return scores;
}

static void check_top_k(const Support *s, long k, const double *t, int problem) {
  double *scores = all_scores(s->d, t);
  long all = 1l << s->d, kept = k < all ? k : all;
  double everything = sorted_threshold(all, scores);
  qsort(scores, (size_t)all, sizeof *scores, descending);
  double threshold = sorted_threshold(kept, scores);
  for (long j = 0; j < s->count; j++) {
    double expected = scores[j] - threshold; /* the best ones, in order */
    cr_assert(fabs(s->weights[j] - expected) < 1e-9 && fabs(score_of(s, j, t) - scores[j]) < 1e-8,
              "problem %d: weight %ld is %.17g, not %.17g", problem, j, s->weights[j], expected);
  }
  cr_assert(s->count == kept || scores[s->count] - threshold < 1e-9, "problem %d", problem);
  if (s->report.exact) cr_assert(fabs(threshold - everything) < 1e-8, "problem %d: not exact", problem);
  cr_assert(s->report.exact == (s->count < k || k >= all));
  free(scores);
}

/* Differences in each score, where the support stays as it is. Returns how many were compared. */
static int check_adjoint(Support *s, const double *t, const double *weight_adjoints, const double *found,
                         long (*run)(Support *, const double *), int problem) {
  const double step = 1e-6;
  int compared = 0;
  size_t bytes = sizeof(spm_word) * (size_t)(s->count * spm_sparse_words(s->d));
  spm_word *members = malloc(bytes);
  double moved[MOST];
  long count = s->count;
  memcpy(members, s->members, bytes);
  for (long i = 0; i < s->d; i++) {
    double sums[2] = {0};
    bool same = true;
    for (int side = 0; side < 2; side++) {
      memcpy(moved, t, sizeof *moved * (size_t)s->d);
      moved[i] += side ? step : -step;
      same = run(s, moved) == count && memcmp(members, s->members, bytes) == 0 && same;
      for (long j = 0; j < count && same; j++) sums[side] += weight_adjoints[j] * s->weights[j];
    }
    if (!same) continue;
    double expected = (sums[1] - sums[0]) / (2 * step);
    cr_assert(fabs(found[i] - expected) < 1e-6, "problem %d: adjoint [%ld] is %.12g, not %.12g", problem, i, found[i],
              expected);
    compared++;
  }
  free(members);
  return compared;
}

static long current_k, current_budget;

static long run_top_k(Support *s, const double *t) {
  return s->count = spm_top_k_sparsemax_d(s->d, current_k, t, s->members, s->weights, &s->report, s->work);
}

static long run_sparsemap(Support *s, const double *t) {
  return s->count = spm_sparsemap_d(s->d, current_budget, t, t, s->members, s->weights, &s->report, s->work);
}

static void random_adjoints(Random *random, long count, double *adjoints) {
  for (long j = 0; j < count; j++) adjoints[j] = random_normal(random);
}

Test(sparse, top_k_sparsemax_against_all_bit_vectors) {
  Random random = {3};
  Support s = support_room(MOST_K);
  double t[MOST], adjoints[MOST_K], found[MOST];
  int compared = 0;
  for (int problem = 0; problem < PROBLEMS; problem++) {
    s.d = random_size(&random);
    current_k = 1 + random_below(&random, MOST_K);
    random_scores(&random, s.d, t);
    long count = run_top_k(&s, t);
    cr_assert(count >= 1 && count <= current_k, "problem %d: %ld", problem, count);
    check_support(&s, s.d, problem);
    if (s.d <= 9) check_top_k(&s, current_k, t, problem);
    if (problem % 20 != 0 || s.d > 64) continue;
    random_adjoints(&random, count, adjoints);
    spm_top_k_sparsemax_back_d(s.d, count, s.members, adjoints, found);
    compared += check_adjoint(&s, t, adjoints, found, run_top_k, problem);
  }
  cr_assert(compared > 1000, "%d", compared);
  support_free(&s);
}

/* clip((t + 1) / 2 - lambda, 0, 1), lambda >= 0 the smallest whose sum fits the budget: by halving, from the scores
 * less the largest one. */
static void closed_marginals(long d, long budget, const double *t, double *mu) {
  double top = t[0], low, high, lambda = 0;
  for (long i = 0; i < d; i++) top = fmax(top, t[i]);
  double free_sum = 0;
  for (long i = 0; i < d; i++) free_sum += fmin(fmax((t[i] + 1) / 2, 0), 1);
  low = -(top + 1) / 2 - 2, high = 0; /* of lambda less (top + 1) / 2 */
  if (free_sum > (double)budget) {
    for (int halving = 0; halving < 200; halving++) {
      double sum = 0;
      lambda = 0.5 * (low + high);
      for (long i = 0; i < d; i++) sum += fmin(fmax((t[i] - top) / 2 - lambda, 0), 1);
      *(sum > (double)budget ? &low : &high) = lambda;
    }
    for (long i = 0; i < d; i++) mu[i] = fmin(fmax((t[i] - top) / 2 - lambda, 0), 1);
    return;
  }
  for (long i = 0; i < d; i++) mu[i] = fmin(fmax((t[i] + 1) / 2, 0), 1);
}

static void marginals_of(const Support *s, double *mu) {
  for (long i = 0; i < s->d; i++) {
    mu[i] = 0;
    for (long j = 0; j < s->count; j++) mu[i] += spm_sparse_bit(member_of(s, j), i) ? s->weights[j] : 0;
  }
}

/* The largest <a - active, t + 1 - 2 mu> over all bit vectors a in the budget, and over the active ones. */
static double residual_over_all(const Support *s, long budget, const double *t, const double *mu) {
  double worst = 0;
  for (long j = 0; j < s->count; j++)
    for (long a = 0; a < 1l << s->d; a++) {
      double above = 0;
      if (__builtin_popcountl((unsigned long)a) > budget) continue;
      for (long i = 0; i < s->d; i++)
        above += (double)((int)(a >> i & 1) - spm_sparse_bit(member_of(s, j), i)) * (t[i] + 1 - 2 * mu[i]);
      worst = fmax(worst, above);
    }
  return worst;
}

Test(sparse, sparsemap_against_closed_forms_and_all_bit_vectors) {
  Random random = {4};
  Support s = support_room(MOST + 1);
  double t[MOST], mu[MOST], expected[MOST], adjoints[MOST + 1], found[MOST], worst = 0, worst_residual = 0;
  int compared = 0;
  for (int problem = 0; problem < PROBLEMS; problem++) {
    s.d = random_size(&random);
    current_budget = random_below(&random, 2) ? s.d : random_below(&random, (int)s.d + 1);
    random_scores(&random, s.d, t);
    long count = run_sparsemap(&s, t);
    cr_assert(count >= 1 && count <= s.d + 1, "problem %d, %ld bits: %ld, residual %g", problem, s.d, count,
              s.report.residual);
    check_support(&s, current_budget, problem);
    marginals_of(&s, mu);
    closed_marginals(s.d, current_budget, t, expected);
    for (long i = 0; i < s.d; i++) {
      worst = fmax(worst, fabs(mu[i] - expected[i]));
      cr_assert(fabs(mu[i] - expected[i]) < 1e-9, "problem %d, %ld bits, budget %ld: marginal %ld is %.12g, not %.12g",
                problem, s.d, current_budget, i, mu[i], expected[i]);
    }
    worst_residual = fmax(worst_residual, s.report.residual);
    cr_assert(s.report.residual < 1e-8, "problem %d, %ld bits: residual %g", problem, s.d, s.report.residual);
    if (s.d <= 8) cr_assert(residual_over_all(&s, current_budget, t, mu) < 1e-8, "problem %d", problem);
    if (problem % 20 != 0 || s.d > 32) continue;
    random_adjoints(&random, count, adjoints);
    cr_assert(spm_sparsemap_back_d(s.d, count, s.members, adjoints, found, s.work) == 0);
    compared += check_adjoint(&s, t, adjoints, found, run_sparsemap, problem);
  }
  cr_log_info("marginals within %g, residual at most %g, %d differences", worst, worst_residual, compared);
  cr_assert(compared > 1000, "%d", compared);
  support_free(&s);
}

Test(sparse, what_cannot_be_is_refused) {
  Support s = support_room(MOST + 1);
  double t[] = {0.2, NAN, 0.1}, fine[] = {0.2, 0.3, 0.1, 0.4, -0.3, 0.2};
  long counts[2];
  cr_assert(spm_sparsemap_d(3, 3, t, t, s.members, s.weights, NULL, s.work) == SPM_SPARSE_NOT_FINITE);
  cr_assert(spm_top_k_sparsemax_d(3, 3, t, s.members, s.weights, NULL, s.work) == SPM_SPARSE_NOT_FINITE);
  t[1] = INFINITY;
  cr_assert(spm_sparsemap_d(3, 3, t, t, s.members, s.weights, NULL, s.work) == SPM_SPARSE_NOT_FINITE);
  cr_assert(spm_sparsemap_d(0, 3, fine, fine, s.members, s.weights, NULL, s.work) == SPM_SPARSE_BAD_SIZE);
  cr_assert(spm_sparsemap_d(3, -1, fine, fine, s.members, s.weights, NULL, s.work) == SPM_SPARSE_BAD_SIZE);
  cr_assert(spm_top_k_sparsemax_d(3, 0, fine, s.members, s.weights, NULL, s.work) == SPM_SPARSE_BAD_SIZE);
  cr_assert(spm_sparsemap_rows_d(2, 3, 2, fine, s.members, s.weights, counts, NULL, s.work) == -1);
  cr_assert(counts[0] >= 1 && counts[1] >= 1);
  fine[4] = NAN;
  cr_assert(spm_top_k_sparsemax_rows_d(2, 3, 4, fine, s.members, s.weights, counts, NULL, s.work) == 1);
  cr_assert(counts[0] >= 1 && counts[1] == SPM_SPARSE_NOT_FINITE);
  support_free(&s);
}

/* The same members from scores that floats hold exactly. */
Test(sparse, floats_find_the_same) {
  Random random = {5};
  Support s = support_room(MOST + 1), other = support_room(MOST + 1);
  float t_f[MOST], weights[MOST + 1];
  double t[MOST];
  for (int problem = 0; problem < 300; problem++) {
    s.d = other.d = random_size(&random);
    current_budget = random_below(&random, (int)s.d + 1), current_k = 1 + random_below(&random, MOST_K);
    random_scores(&random, s.d, t);
    for (long i = 0; i < s.d; i++) t[i] = t_f[i] = (float)t[i];
    for (int which = 0; which < 2; which++) {
      long count = which ? run_sparsemap(&s, t) : run_top_k(&s, t);
      long count_f = which ? spm_sparsemap_f(s.d, current_budget, t_f, t_f, other.members, weights, NULL, other.work)
                           : spm_top_k_sparsemax_f(s.d, current_k, t_f, other.members, weights, NULL, other.work);
      cr_assert(count == count_f, "problem %d: %ld and %ld", problem, count, count_f);
      cr_assert(memcmp(s.members, other.members, sizeof(spm_word) * (size_t)(count * spm_sparse_words(s.d))) == 0);
      for (long j = 0; j < count; j++) cr_assert(fabs((double)weights[j] - s.weights[j]) <= FLT_EPSILON);
    }
  }
  support_free(&s), support_free(&other);
}
