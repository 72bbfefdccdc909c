/* Sums over subsets of a given size, against enumeration: values, gradients, draws, and logits of +-50. */
#include "compiler/ir_parts.h"
#include "gradient_check.h"
#include "runtime/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define real double /* the kernels' other build */
#define X(result, name, arguments) result spm_##name##_d arguments;
#include "runtime/kernels.def"
#undef X
#undef real

enum { N = 6, SIZES = N + 1 };

static const double logits[N] = {2, 0, -1, 0.5, 3, 0}, worth[N] = {1, -2, 0.3, 4, 0, 1.5};

/* By enumeration: log of the sum over subsets of size j, mean worth, inclusion probabilities. */
static void enumerate(const double *a, const double *c, double *sums, double *means, double included[N][SIZES]) {
  double totals[SIZES] = {0}, worths[SIZES] = {0}, top = a[0];
  for (int k = 0; k < N; k++) top = fmax(top, a[k]);
  memset(included, 0, sizeof(double) * N * SIZES);
  for (int set = 0; set < 1 << N; set++) {
    double exponent = 0, value = 0;
    int size = __builtin_popcount((unsigned)set);
    for (int k = 0; k < N; k++)
      if (set >> k & 1) exponent += a[k] - top, value += c[k];
    totals[size] += exp(exponent);
    worths[size] += exp(exponent) * value;
    for (int k = 0; k < N; k++)
      if (set >> k & 1) included[k][size] += exp(exponent);
  }
  for (int j = 0; j < SIZES; j++) {
    sums[j] = log(totals[j]) + j * top;
    means[j] = worths[j] / totals[j];
    for (int k = 0; k < N; k++) included[k][j] /= totals[j];
  }
}

static bool close_to(double found, double wanted, double tolerance) {
  return fabs(found - wanted) <= tolerance * (1 + fabs(wanted));
}

Test(subset, kernels_are_the_enumerated_sums) {
  double sums[SIZES], means[SIZES], included[N][SIZES], out[2 * SIZES], room[200], inclusion[N];
  enumerate(logits, worth, sums, means, included);
  spm_subset_moments_d(N, SIZES, out, room, logits, worth);
  for (int j = 0; j < SIZES; j++) {
    cr_expect(close_to(out[j], sums[j], 1e-13), "log e_%d: %.15g, not %.15g", j, out[j], sums[j]);
    cr_expect(close_to(out[SIZES + j], means[j], 1e-13));
    double one[SIZES] = {0};
    one[j] = 1;
    spm_subset_inclusion_d(N, SIZES, inclusion, room, logits, one);
    for (int k = 0; k < N; k++) cr_expect(close_to(inclusion[k], included[k][j], 1e-13));
  }
}

Test(subset, two_distributions_differ) { /* logits 2, 0, 0 and size 2: 0.937, where Plackett and Luce have 0.975 */
  const double a[] = {2, 0, 0}, two[] = {0, 0, 1};
  double out[3], room[40];
  spm_subset_inclusion_d(3, 3, out, room, a, two);
  double e = exp(2), wanted = 2 * e / (2 * e + 1);
  cr_expect(close_to(out[0], wanted, 1e-14) && fabs(wanted - 0.937) < 5e-4);
}

Test(subset, logits_of_fifty) {
  enum { MANY = 400, FEW = 33 };
  static float a[MANY], c[MANY], out[2 * FEW], room[2 * MANY * FEW + 7 * FEW + 4], slope[2 * MANY], g[2 * FEW];
  for (int k = 0; k < MANY; k++) a[k] = k % 3 == 0 ? 50 : k % 3 == 1 ? -50 : (float)(k % 7), c[k] = a[k];
  for (int j = 0; j < 2 * FEW; j++) g[j] = 1;
  spm_subset_moments_f(MANY, FEW, out, room, a, c);
  spm_subset_moments_slope_f(MANY, FEW, slope, room, a, c, g);
  for (int j = 0; j < 2 * FEW; j++) cr_assert(isfinite(out[j]));
  for (int k = 0; k < 2 * MANY; k++) cr_assert(isfinite(slope[k]));
  double wanted = 32 * 50 + lgamma(135) - lgamma(33) - lgamma(103); /* 32 of the 134 largest */
  cr_expect(close_to(out[32], wanted, 1e-6), "%g, not %g", (double)out[32], wanted);
  cr_expect(close_to(out[FEW + 32], 1600, 1e-6));
}

Test(subset, draws_follow_the_probabilities) {
  enum { DRAWS = 40000, SIZE = 3 };
  double sums[SIZES], means[SIZES], included[N][SIZES], out[N], u[N], room[100], size = SIZE, found[1 << N] = {0},
                                                                                 chi = 0;
  int cells = 0;
  uint64_t state = 7;
  enumerate(logits, worth, sums, means, included);
  for (int i = 0; i < DRAWS; i++) {
    unsigned set = 0;
    for (int k = 0; k < N; k++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      u[k] = ((double)(state >> 33) + 0.5) / 0x1p31;
    }
    spm_subset_draw_d(N, SIZE + 1, out, room, logits, u, &size);
    for (int k = 0; k < N; k++) set |= out[k] != 0 ? 1u << k : 0;
    cr_assert(__builtin_popcount(set) == SIZE);
    found[set]++;
  }
  for (int set = 0; set < 1 << N; set++) {
    double exponent = 0;
    if (__builtin_popcount((unsigned)set) != SIZE) continue;
    for (int k = 0; k < N; k++)
      if (set >> k & 1) exponent += logits[k];
    double wanted = DRAWS * exp(exponent - sums[SIZE]);
    chi += (found[set] - wanted) * (found[set] - wanted) / wanted;
    cells++;
  }
  cr_expect(cells == 20 && chi < 57, "chi-square %g of 19 degrees of freedom", chi); /* level 1e-5 */
}

/* An instance on two lines: of operands with dims of their own as the op's table has them. */
static Node *instance(Graph *graph, Signature *signature, Parameter *parameters, Op op, int m) {
  Node *operands[LINE_OPERANDS];
  signature->parameter_count = op_table[op].operands;
  for (int k = 0; k < op_table[op].operands; k++) {
    bool few = line_op(op)->few == k;
    Shape shape = {.rank = 1 + line_op(op)->own_dims[k], .dims = {dim_number(2), dim_number(few ? m : N)}};
    parameters[k] = (Parameter){.name = "p", .shape = shape};
    operands[k] = build_parameter(graph, k);
    if (line_op(op)->own_dims[k] == 0) /* a temperature */
      operands[k] =
          build_map2(graph, IR_add, build_map1(graph, IR_sigmoid, operands[k]), build_filled(graph, 0.2, &shape));
  }
  return build_line(graph, op, operands, m);
}

/* The gradient of a weighted sum of squares of what a node computes, against differences. */
static void check_gradient(Op op, int m) {
  Compilation *c = compilation_create();
  Parameter parameters[LINE_OPERANDS];
  Signature signature = {.parameters = parameters};
  Graph *graph = graph_create(c, &signature, "test", 1);
  Node *y = instance(graph, &signature, parameters, op, m), *square = build_map2(graph, IR_mul, y, y);
  Node *of = build_sum(graph, build_map2(graph, IR_add, square, y), (1u << y->shape.rank) - 1);
  RandomInputs *inputs = random_inputs(c, &signature, 5, 1);
  GradientCheck check = gradient_check(graph, of, (int[]){0, 1, 2, 3}, signature.parameter_count, inputs);
  cr_expect(check.compared >= 10 && check.worst < 1e-7, "%s, m = %d: %d compared, off by %g", op_table[op].name, m,
            check.compared, check.worst);
  compilation_destroy(c);
}

Test(subset, gradients) {
  for (int m = 2; m <= SIZES; m++) {
    check_gradient(IR_subset_moments, m);
    check_gradient(IR_subset_inclusion, m);
    check_gradient(IR_relaxed_subset, m);
    check_gradient(IR_picks_kl, m);
  }
}

/* ---- picks without replacement ---------------------------------------------------------------------------------- */

/* From the definitions: softmax after softmax, and log(1 - softmax) added to the keys. */
Test(subset, picks_leave_what_softmax_does_not_take) {
  enum { M = 4 };
  const double temperature = 0.6, gates[M] = {1, 0.9, 0.3, 0.05}, b[N] = {0.3, 0, 1, -1, 0.2, 0};
  double subset[N], kl[M], room[4 * N], left[N] = {0}, missed[N] = {1, 1, 1, 1, 1, 1};
  spm_relaxed_subset_d(N, M, subset, room, logits, gates, &temperature);
  spm_picks_kl_d(N, M, kl, room, logits, worth, b, &temperature);
  for (int l = 0; l < M; l++) {
    double p[N], total = 0, of_a = 0, of_b = 0, wanted = 0;
    for (int k = 0; k < N; k++) {
      total += p[k] = exp((logits[k] + left[k]) / temperature);
      of_a += exp(worth[k] + left[k]);
      of_b += exp(b[k] + left[k]);
    }
    for (int k = 0; k < N; k++) wanted += exp(worth[k] + left[k]) / of_a * (worth[k] - b[k] - log(of_a / of_b));
    cr_expect(close_to(kl[l], wanted, 1e-12), "pick %d: %.15g, not %.15g", l, kl[l], wanted);
    for (int k = 0; k < N; k++) {
      missed[k] *= 1 - gates[l] * p[k] / total;
      left[k] += log(1 - p[k] / total);
    }
  }
  for (int k = 0; k < N; k++) cr_expect(close_to(subset[k], 1 - missed[k], 1e-12));
}

/* Hard picks take the largest that are left: those of Plackett and Luce. */
Test(subset, hard_picks) {
  enum { M = 3 };
  const double zero = 0, uniform[N] = {0}, gates[M] = {1, 1, 1};
  const int order[M] = {4, 0, 3};
  double subset[N], kl[M], room[4 * N], slope[3 * N + 1], more_room[(4 * M + 2) * N + 4 * M], total = 0;
  spm_relaxed_subset_d(N, M, subset, room, logits, gates, &zero);
  spm_picks_kl_d(N, M, kl, room, logits, worth, uniform, &zero);
  for (int k = 0; k < N; k++) total += exp(worth[k]);
  bool in[N] = {0};
  for (int l = 0; l < M; l++) {
    double wanted = 0;
    for (int k = 0; k < N; k++)
      if (!in[k]) wanted += exp(worth[k]) / total * log((N - l) * exp(worth[k]) / total);
    cr_expect(close_to(kl[l], wanted, 1e-12), "pick %d: %.15g, not %.15g", l, kl[l], wanted);
    total -= exp(worth[order[l]]);
    in[order[l]] = true;
  }
  for (int k = 0; k < N; k++) cr_expect(subset[k] == in[k]);
  spm_picks_kl_slope_d(N, M, slope, more_room, logits, worth, uniform, &zero, gates);
  for (int k = 0; k < N; k++) cr_expect(slope[k] == 0 && slope[N + k] != 0);
  cr_expect(slope[3 * N] == 0);
}

/* Sure picks in float, where 1 - softmax is 0 and its log is not: keys that are 100 apart, at a temperature of 0.05,
 * many alike, picked till the weights are gone and set anew; against double. And a line of one. */
Test(subset, picks_that_are_sure) {
  enum { MANY = 203, M = 12 };
  static float f[MANY], a[MANY], b[MANY], gates[M], subset[MANY], kl[M], slope[3 * MANY + 1],
      room[(4 * M + 3) * MANY + 4 * M];
  static double fd[MANY], ad[MANY], bd[MANY], gd[M], subset_d[MANY], kl_d[M], slope_d[3 * MANY + 1],
      room_d[(4 * M + 3) * MANY + 4 * M];
  const float t = 0.05f, g = 1;
  const double td = (double)t;
  for (int k = 0; k < MANY; k++) {
    fd[k] = f[k] = k < 8 ? 50 - (float)k : -50, ad[k] = a[k] = f[k], bd[k] = b[k] = (float)(k % 5) / 4;
    if (k < M) gd[k] = gates[k] = k < 6 ? 1 : 0.5f;
  }
  spm_relaxed_subset_f(MANY, M, subset, room, f, gates, &t);
  spm_relaxed_subset_d(MANY, M, subset_d, room_d, fd, gd, &td);
  spm_picks_kl_f(MANY, M, kl, room, f, a, b, &t);
  spm_picks_kl_d(MANY, M, kl_d, room_d, fd, ad, bd, &td);
  for (int k = 0; k < MANY; k++) cr_expect(close_to(subset[k], subset_d[k], 1e-5));
  for (int l = 0; l < M; l++) cr_expect(close_to(kl[l], kl_d[l], 2e-5), "pick %d: %g, in double %g", l, kl[l], kl_d[l]);
  spm_relaxed_subset_slope_f(MANY, M, slope, room, f, gates, &t, a);
  spm_relaxed_subset_slope_d(MANY, M, slope_d, room_d, fd, gd, &td, ad);
  for (int i = 0; i < MANY + M + 1; i++) cr_assert(isfinite(slope[i]) && isfinite(slope_d[i]));
  for (int l = 0; l < M; l++) cr_expect(close_to(slope[MANY + l], slope_d[MANY + l], 1e-4));
  spm_picks_kl_slope_f(MANY, M, slope, room, f, a, b, &t, gates);
  spm_picks_kl_slope_d(MANY, M, slope_d, room_d, fd, ad, bd, &td, gd);
  for (int i = 0; i < 3 * MANY + 1; i++) cr_assert(isfinite(slope[i]) && isfinite(slope_d[i]));
  for (int i = MANY; i < 3 * MANY; i++) cr_expect(close_to(slope[i], slope_d[i], 1e-4));
  spm_relaxed_subset_f(1, 1, subset, room, f, &g, &t);
  spm_picks_kl_f(1, 1, kl, room, f, a, b, &t);
  cr_expect(subset[0] == 1 && kl[0] == 0);
}
