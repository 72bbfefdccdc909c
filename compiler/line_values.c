/* What LINE ops compute, from their definitions, in double: one line at a time. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SPM_DOUBLE
#include "../runtime/kernels.h"
#include "../runtime/sparse.h"
#include "ir_parts.h"

/* --- the largest --- */

typedef struct Ranked {
  double value;
  long place;
} Ranked;

/* By size, then by place; NaN comes first. */
static int compare_ranked(const void *a, const void *b) {
  const Ranked *x = a, *y = b;
  bool x_first = isnan(x->value) ? !isnan(y->value) : x->value > y->value;
  bool y_first = isnan(y->value) ? !isnan(x->value) : y->value > x->value;
  if (x_first != y_first) return x_first ? -1 : 1;
  return x->place < y->place ? -1 : 1;
}

void mark_largest(long n, const double *x, double count, double *mask) {
  Ranked *ranked = malloc(sizeof *ranked * (size_t)n);
  for (long i = 0; i < n && ranked; i++) ranked[i] = (Ranked){x[i], i};
  if (ranked) qsort(ranked, (size_t)n, sizeof *ranked, compare_ranked);
  for (long i = 0; i < n; i++) mask[ranked ? ranked[i].place : i] = ranked ? (double)i + 0.5 <= count : NAN;
  free(ranked);
}

/* --- projections onto the simplex --- */

static int compare_descending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

/* Sorted, the support is the longest start that stays above its own threshold. */
static double sparsemax_threshold(long n, const double *x) {
  double *sorted = malloc(sizeof *sorted * (size_t)n), sum = 0, threshold = NAN;
  for (long i = 0; i < n && sorted; i++) sorted[i] = x[i];
  if (sorted) qsort(sorted, (size_t)n, sizeof *sorted, compare_descending);
  for (long i = 0; i < n && sorted; i++) {
    sum += sorted[i] - sorted[0];
    double next = sorted[0] + (sum - 1) / (double)(i + 1);
    if (i > 0 && sorted[i] <= next) break;
    threshold = next;
  }
  free(sorted);
  return threshold;
}

/* By halving an interval that holds the threshold, whose sum falls from at least 1 to 0. */
static double entmax_threshold(long n, const double *x, double alpha) {
  double top = x[0], power = 1 / (alpha - 1);
  for (long i = 1; i < n; i++) top = fmax(top, x[i]);
  double low = (alpha - 1) * top - 1, high = low + 1;
  for (int halving = 0; halving < 100; halving++) {
    double middle = 0.5 * (low + high), sum = 0;
    for (long i = 0; i < n; i++) sum += pow(fmax((alpha - 1) * x[i] - middle, 0), power);
    *(sum >= 1 ? &low : &high) = middle;
  }
  return low;
}

static void projection_values(Op op, long n, const double *x, double alpha, double *out) {
  double sum = 0;
  for (long i = 0; i < n; i++) sum += x[i];
  double threshold = op == IR_sparsemax ? sparsemax_threshold(n, x) : entmax_threshold(n, x, alpha);
  for (long i = 0; i < n; i++)
    out[i] = isnan(sum) ? NAN : pow(fmax((alpha - 1) * x[i] - threshold, 0), 1 / (alpha - 1));
}

/* --- sparse distributions over bit vectors --- */

/* Sets of turned bits of the best vector, the cheapest first: those without the next bit and those with it, the m
 * cheapest of them. A set costs the sum of its |score|; turned: [2 m][n]. */
static long cheapest_sets(long n, long m, const double *t, double *costs, bool *turned) {
  long count = 1;
  costs[0] = 0;
  memset(turned, 0, sizeof *turned * (size_t)n);
  for (long i = 0; i < n; i++) {
    for (long j = 0; j < count; j++) {
      memcpy(turned + (count + j) * n, turned + j * n, sizeof *turned * (size_t)n);
      turned[(count + j) * n + i] = true;
      costs[count + j] = costs[j] + fabs(t[i]);
    }
    count *= 2;
    for (long j = 1; j < count; j++) /* by insertion: equals stay in order */
      for (long k = j; k > 0 && costs[k] < costs[k - 1]; k--) {
        double cost = costs[k];
        costs[k] = costs[k - 1];
        costs[k - 1] = cost;
        for (long b = 0; b < n; b++) {
          bool bit = turned[k * n + b];
          turned[k * n + b] = turned[(k - 1) * n + b];
          turned[(k - 1) * n + b] = bit;
        }
      }
    if (count > m) count = m;
  }
  return count;
}

/* The sparsemax of the scores of the m best vectors, which are minus their costs. */
static void top_k_values(long n, long m, const double *t, double *out) {
  double *costs = malloc(sizeof *costs * (size_t)(2 * m));
  bool *turned = malloc(sizeof *turned * (size_t)(2 * m * n));
  double sum = 0;
  for (long i = 0; i < n; i++) sum += t[i];
  for (long i = 0; i < m * (n + 1); i++) out[i] = i % (n + 1) < n && costs && turned && isfinite(sum) ? 0 : NAN;
  long count = costs && turned && isfinite(sum) ? cheapest_sets(n, m, t, costs, turned) : 0;
  for (long j = 0; j < count; j++) costs[j] = -costs[j];
  double threshold = count > 0 ? sparsemax_threshold(count, costs) : 0;
  for (long j = 0; j < m && count > 0; j++) {
    double *line = out + j * (n + 1);
    line[n] = j < count ? fmax(costs[j] - threshold, 0) : 0;
    for (long i = 0; i < n && line[n] > 0; i++) line[i] = (t[i] > 0) != turned[j * n + i];
  }
  free(costs);
  free(turned);
}

/* Which members an active set ends with depends on its path, so there is one text of it: the kernel's, in double.
 * tests/test_sparse.c holds it to closed forms. */
static void sparsemap_values(const Node *node, long n, long m, const double *const *operands, double *out) {
  bool slope = node->op == IR_sparsemap_slope;
  long d = slope ? n - 1 : n;
  double *room = malloc(sizeof *room * (size_t)spm_members_room(d, d + 1, spm_sparsemap_room(d)));
  for (long i = 0; room == NULL && i < (slope ? d : (d + 1) * (d + 1)); i++) out[i] = NAN;
  if (room != NULL && slope) spm_sparsemap_slope_d(n, m, out, room, operands[0], operands[1]);
  if (room != NULL && !slope) spm_sparsemap_members_d(n, m, out, room, operands[0], operands[1]);
  free(room);
}

/* --- subsets --- */

/* log e_j of the members from `from` up to `to`, one of them left out (or none: -1), and the mean of what a subset of j
 * of them is worth: the recursion over members, with logarithms. sums, means: [m]; c NULL: no means. */
static void subset_sums(const double *a, const double *c, long to, long without, long m, double *sums, double *means) {
  for (long j = 0; j < m; j++) sums[j] = j == 0 ? 0 : -INFINITY, means[j] = 0;
  for (long k = 0; k < to; k++)
    for (long j = k == without ? 0 : m - 1; j > 0; j--) {
      double out = sums[j], in = sums[j - 1] + a[k], top = fmax(out, in);
      if (isinf(top)) continue;
      sums[j] = top + log(exp(out - top) + exp(in - top));
      double share = exp(in - sums[j]);
      means[j] = (1 - share) * means[j] + share * (means[j - 1] + (c != NULL ? c[k] : 0));
    }
}

/* The line's lengths, and memory: the sums of all members and of all but one. */
typedef struct Subsets {
  long n, m;
  const double *a, *c;
  double *sums, *means, *other_sums, *other_means;
} Subsets;

static void moments(const Subsets *s, double *out) {
  for (long j = 0; j < s->m; j++) {
    out[j] = isinf(s->sums[j]) ? -1e30 : s->sums[j];
    out[s->m + j] = s->means[j];
  }
}

/* P(k in S | size j) from the sums without k. */
static double inclusion(const Subsets *s, long k, long j) {
  if (j == 0 || isinf(s->sums[j])) return 0;
  return exp(s->a[k] + s->other_sums[j - 1] - s->sums[j]);
}

/* d E[worth | j] / d a_k = P(k in S | j) (E[worth | k in S, j] - E[worth | j]) */
static void slopes(const Subsets *s, const double *g, double *out) {
  for (long k = 0; k < s->n; k++) {
    subset_sums(s->a, s->c, s->n, k, s->m, s->other_sums, s->other_means);
    out[k] = out[s->n + k] = 0;
    for (long j = 1; j < s->m; j++) {
      double in = inclusion(s, k, j), of_mean = g[s->m + j];
      out[k] += in * (g[j] + of_mean * (s->other_means[j - 1] + s->c[k] - s->means[j]));
      out[s->n + k] += in * of_mean;
    }
  }
}

static void inclusions(const Subsets *s, const double *weight, double *out) {
  for (long k = 0; k < s->n; k++) {
    subset_sums(s->a, NULL, s->n, k, s->m, s->other_sums, s->other_means);
    out[k] = 0;
    for (long j = 1; j < s->m; j++) out[k] += weight[j] * inclusion(s, k, j);
  }
}

/* Members from the last to the first, each with its probability given how many are still to come. */
static void draw(const Subsets *s, const double *u, double size, double *out) {
  long left = (long)floor(fmax(0, fmin(size + 0.5, (double)(s->m - 1 < s->n ? s->m - 1 : s->n))));
  for (long k = s->n - 1; k >= 0; k--) {
    subset_sums(s->a, NULL, k + 1, -1, s->m, s->sums, s->means);
    subset_sums(s->a, NULL, k, -1, s->m, s->other_sums, s->other_means);
    out[k] = left > 0 && u[k] < exp(s->a[k] + s->other_sums[left - 1] - s->sums[left]);
    left -= out[k] != 0;
  }
}

static void subset_values(const Node *node, const double *const *operands, double *out) {
  Subsets s = {.n = (long)node->operands[0]->shape.dims[node->operands[0]->shape.rank - 1].size,
               .m = line_few(node->op, node->operands, node->start),
               .a = operands[0]};
  double *room = malloc(sizeof(double) * (size_t)(4 * s.m));
  long size = node->op == IR_subset_moments ? 2 * s.m : node->op == IR_subset_moments_slope ? 2 * s.n : s.n;
  if (room == NULL) {
    for (long i = 0; i < size; i++) out[i] = NAN;
    return;
  }
  s.sums = room, s.means = room + s.m, s.other_sums = room + 2 * s.m, s.other_means = room + 3 * s.m;
  if (node->op == IR_subset_moments || node->op == IR_subset_moments_slope) s.c = operands[1];
  subset_sums(s.a, s.c, s.n, -1, s.m, s.sums, s.means);
  if (node->op == IR_subset_moments) moments(&s, out);
  if (node->op == IR_subset_moments_slope) slopes(&s, operands[2], out);
  if (node->op == IR_subset_inclusion) inclusions(&s, operands[1], out);
  if (node->op == IR_subset_draw) draw(&s, operands[1], operands[2][0], out);
  free(room);
}

/* --- picks without replacement --- */

/* log of the sum of exp(s) over all but one; -1e30 where there is no other. */
static double log_sum_without(long n, const double *s, long without) {
  double top = -INFINITY, sum = 0;
  for (long i = 0; i < n; i++)
    if (i != without) top = fmax(top, s[i]);
  if (isinf(top)) top = -1e30;
  for (long i = 0; i < n; i++)
    if (i != without) sum += exp(s[i] - top);
  return sum > 0 ? top + log(sum) : top;
}

/* A pick's probabilities, and what it leaves: log(1 - softmax), of the largest as the sum over the others in place of
 * that over all. */
static void pick(long n, const double *keys, double temperature, double *left, double *p) {
  long first = 0;
  for (long i = 0; i < n; i++) p[i] = (keys[i] + left[i]) / (temperature > 0 ? temperature : 1);
  for (long i = 1; i < n; i++) first = p[i] > p[first] ? i : first;
  double all = log_sum_without(n, p, -1), rest = log_sum_without(n, p, first) - all;
  for (long i = 0; i < n; i++) {
    p[i] = temperature > 0 ? exp(p[i] - all) : i == first;
    left[i] += i != first ? log1p(-p[i]) : temperature > 0 ? rest : -1e30;
  }
}

static void relaxed_subset_values(long n, long m, const double *const *operands, double *room, double *out) {
  double *left = room, *p = room + n;
  for (long i = 0; i < n; i++) left[i] = 0, out[i] = 1;
  for (long l = 0; l < m && l < n; l++) {
    pick(n, operands[0], *operands[2], left, p);
    for (long i = 0; i < n; i++) out[i] *= 1 - operands[1][l] * p[i];
  }
  for (long i = 0; i < n; i++) out[i] = 1 - out[i];
}

static void picks_kl_values(long n, long m, const double *const *operands, double *room, double *out) {
  double *left = room, *p = room + n, *q = room + 2 * n, *r = room + 3 * n;
  for (long i = 0; i < n; i++) left[i] = 0;
  for (long l = 0; l < m; l++) {
    for (long i = 0; i < n; i++) q[i] = operands[1][i] + left[i], r[i] = operands[2][i] + left[i];
    double of_a = log_sum_without(n, q, -1), of_b = log_sum_without(n, r, -1);
    out[l] = 0;
    for (long i = 0; i < n && l < n; i++)
      out[l] += exp(q[i] - of_a) * (operands[1][i] - of_a - (operands[2][i] - of_b));
    pick(n, operands[0], *operands[3], left, p);
  }
}

/* Slopes are the kernels', in double; tests/test_subset.c holds them to differences of the values. */
static void picks_values(const Node *node, const double *const *x, double *out) {
  long n = (long)node->operands[0]->shape.dims[node->operands[0]->shape.rank - 1].size;
  long m = line_few(node->op, node->operands, node->start);
  long size = (long)node->shape.dims[node->shape.rank - 1].size;
  double *room = calloc((size_t)((4 * m + 4) * n + 4 * m), sizeof *room);
  for (long i = 0; i < size && room == NULL; i++) out[i] = NAN;
  if (room == NULL) return;
  if (node->op == IR_relaxed_subset) relaxed_subset_values(n, m, x, room, out);
  if (node->op == IR_picks_kl) picks_kl_values(n, m, x, room, out);
  if (node->op == IR_relaxed_subset_slope) spm_relaxed_subset_slope_d(n, m, out, room, x[0], x[1], x[2], x[3]);
  if (node->op == IR_picks_kl_slope) spm_picks_kl_slope_d(n, m, out, room, x[0], x[1], x[2], x[3], x[4]);
  free(room);
}

static void cholesky_values(long n, const double *a, double *l) {
  memset(l, 0, sizeof *l * (size_t)(n * n));
  for (long i = 0; i < n; i++)
    for (long j = 0; j <= i; j++) {
      double rest = a[i * n + j];
      for (long k = 0; k < j; k++) rest -= l[i * n + k] * l[j * n + k];
      l[i * n + j] = i != j ? rest / l[j * n + j] : rest > 0 ? sqrt(rest) : NAN;
    }
}

void line_values(const Node *node, const double *const *operands, double *out) {
  const Shape *shape = &node->operands[0]->shape;
  long n = (long)shape->dims[shape->rank - 1].size;
  if (node->op == IR_top_mask)
    mark_largest(n, operands[0], operands[1][0], out);
  else if (node->op == IR_sparsemax)
    projection_values(node->op, n, operands[0], 2, out);
  else if (node->op == IR_entmax)
    projection_values(node->op, n, operands[0], operands[1][0], out);
  else if (node->op == IR_top_k_members)
    top_k_values(n, node->start, operands[0], out);
  else if (node->op == IR_sparsemap_members || node->op == IR_sparsemap_slope)
    sparsemap_values(node, n, line_few(node->op, node->operands, node->start), operands, out);
  else if (node->op == IR_relaxed_subset || node->op == IR_relaxed_subset_slope || node->op == IR_picks_kl ||
           node->op == IR_picks_kl_slope)
    picks_values(node, operands, out);
  else if (node->op == IR_cholesky)
    cholesky_values(n, operands[0], out);
  else
    subset_values(node, operands, out);
}
