/* Sums over subsets of a given size, against enumeration: values, gradients, draws, and logits of +-50. */
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

static Shape second_shape(Op op, int m) {
  Shape shape = {.rank = op == IR_picks_left ? 1 : 2, .dims = {dim_number(2), dim_number(N)}};
  if (op == IR_subset_inclusion) shape.dims[1] = dim_number(m);
  return shape;
}

/* The gradient of a weighted sum of squares of what a node computes, against differences. */
static void check_gradient(Op op, int m) {
  Compilation *c = compilation_create();
  Shape line = {.rank = 2, .dims = {dim_number(2), dim_number(N)}};
  Parameter parameters[2] = {{.name = "a", .shape = line}, {.name = "b", .shape = second_shape(op, m)}};
  Signature signature = {.parameters = parameters, .parameter_count = 2};
  Graph *graph = graph_create(c, &signature, "test", 1);
  Node *operands[] = {build_parameter(graph, 0), build_parameter(graph, 1)};
  Node *y = build_line(graph, op, operands, m), *square = build_map2(graph, IR_mul, y, y);
  Node *of = build_sum(graph, build_map2(graph, IR_add, square, y), (1u << y->shape.rank) - 1);
  RandomInputs *inputs = random_inputs(c, &signature, 5, 1);
  GradientCheck check = gradient_check(graph, of, (int[]){0, 1}, 2, inputs);
  cr_expect(check.compared >= 10 && check.worst < 1e-7, "%s, m = %d: %d compared, off by %g", op_table[op].name, m,
            check.compared, check.worst);
  compilation_destroy(c);
}

Test(subset, gradients) {
  for (int m = 2; m <= SIZES; m++) {
    check_gradient(IR_subset_moments, m);
    check_gradient(IR_subset_inclusion, m);
    check_gradient(IR_picks_left, m);
  }
}

/* ---- picks without replacement ---------------------------------------------------------------------------------- */

/* What is left after l picks, from the definition: the sum of log(1 - softmax) over them. */
Test(subset, picks_leave_what_softmax_does_not_take) {
  enum { M = 4 };
  const double scale = 1.7;
  double out[M * N], room[N], left[N] = {0};
  spm_picks_left_d(N, M, out, room, logits, &scale);
  for (int l = 0; l < M; l++) {
    double p[N], total = 0;
    for (int k = 0; k < N; k++) cr_expect(close_to(out[l * N + k], left[k], 1e-13));
    for (int k = 0; k < N; k++) total += p[k] = exp(scale * (logits[k] + left[k]));
    for (int k = 0; k < N; k++) left[k] += log(1 - p[k] / total);
  }
}

/* A sure pick: 1 - softmax is 0 in float and its log is not; keys that are 100 apart, at a temperature of 0.05, many
 * alike, and a line of one. What is left falls without end, and never beyond what a float holds. */
Test(subset, picks_that_are_sure) {
  enum { MANY = 203, M = 8 };
  static float keys[MANY], out[M * MANY], slope[MANY + 1], g[M * MANY], room[3 * MANY];
  const float scale = 20;
  for (int k = 0; k < MANY; k++) keys[k] = k < M ? 50 - (float)k : -50;
  for (int i = 0; i < M * MANY; i++) g[i] = 1;
  spm_picks_left_f(MANY, M, out, room, keys, &scale);
  spm_picks_left_slope_f(MANY, M, slope, room, keys, out, g, &scale);
  for (int i = 0; i < M * MANY; i++) cr_assert(isfinite(out[i]));
  for (int k = 0; k <= MANY; k++) cr_assert(isfinite(slope[k]));
  for (int l = 0; l < M; l++) /* members in order, each 20 below the one before on the softmax's scale */
    for (int k = 0; k < M; k++) cr_expect(l > k ? out[l * MANY + k] < -19 : fabs(out[l * MANY + k]) < 1e-8);
  cr_expect(close_to(out[MANY], -20, 1e-6), "%g", (double)out[MANY]);
  spm_picks_left_f(1, 2, out, room, keys, &scale);
  cr_expect(out[0] == 0 && out[1] < -1e29f && isfinite(out[1]));
}
