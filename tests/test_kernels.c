/* Every kernel of runtime/kernels.def against a naive twin written here: odd sizes, in place, NaN and infinities.
 * test_kernels_double.c compiles this file again for double. */
#include <criterion/criterion.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "kernels.h"
#include "vmath.h"
#include "special.h"

#ifdef SPM_DOUBLE
#define SUITE kernels_double
#define SUFFIX "_d"
#define TOLERANCE 1e-12
#else
#define SUITE kernels_float
#define SUFFIX "_f"
#define TOLERANCE 2e-5
#endif
#define KERNEL_TEST_OF(suite, name) Test(suite, name)
#define KERNEL_TEST_IN(suite, name) KERNEL_TEST_OF(suite, name)
#define KERNEL_TEST(name) KERNEL_TEST_IN(SUITE, name)

enum { LONGEST = 1100 };
static const long lengths[] = {0, 1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 100, 255, 256, 257, 1023};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

static uint32_t seed = 1;
static real number(void) { /* between -2 and 2 */
  seed = seed * 1664525u + 1013904223u;
  return (real)((double)(seed >> 8) / (1 << 22) - 2);
}

/* Numbers with all that is special among them. */
static void fill_wild(long n, real *out) {
  const real wild[] = {0, (real)-0.0, INFINITY, -INFINITY, NAN, 1, -1, (real)1e-42};
  for (long i = 0; i < n; i++) out[i] = i % 5 == 3 ? wild[(i * 7 + 3) % 8] : number();
}
static void fill_tame(long n, real *out) {
  for (long i = 0; i < n; i++) out[i] = number();
}

static int same(real a, real b) { return memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b); }
static int near(double got, double wanted, double scale) {
  return got == wanted || (isnan(got) && isnan(wanted)) || fabs(got - wanted) <= TOLERANCE * (fabs(wanted) + scale);
}

/* ---- elementwise: every op, every combination, in place on every operand ---------------------------------------- */

typedef void unary(long, real *, const real *);
typedef void binary(long, real *, const real *, const real *);
typedef void ternary(long, real *, const real *, const real *, const real *);
union kernel {
  unary *one;
  binary *two;
  ternary *three;
};

#define X(name, arity, expression)                                                                                     \
  static real twin_##name(real a, real b, real c) {                                                                    \
    (void)a, (void)b, (void)c;                                                                                         \
    return expression;                                                                                                 \
  }
#include "elementwise.def"
#undef X

struct elementwise {
  const char *name;
  int arity;
  const char *suffix;
  real (*twin)(real a, real b, real c);
};
#define SUFFIXES_1(name) {#name, 1, "v", twin_##name},
#define SUFFIXES_2(name) {#name, 2, "vv", twin_##name}, {#name, 2, "vs", twin_##name}, {#name, 2, "sv", twin_##name},
#define SUFFIXES_3(name)                                                                                               \
  {#name, 3, "vvv", twin_##name}, {#name, 3, "vvs", twin_##name}, {#name, 3, "vsv", twin_##name},                      \
      {#name, 3, "vss", twin_##name}, {#name, 3, "svv", twin_##name}, {#name, 3, "svs", twin_##name},                  \
      {#name, 3, "ssv", twin_##name},
static const struct elementwise elementwise[] = {
#define X(name, arity, expression) SUFFIXES_##arity(name)
#include "elementwise.def"
#undef X
};
enum { ELEMENTWISE = sizeof elementwise / sizeof *elementwise };

static union kernel look_up(const struct elementwise *e) {
  char wanted[64];
  union kernel kernel = {0};
  snprintf(wanted, sizeof wanted, "spm_%s_%s" SUFFIX, e->name, e->suffix);
  for (const struct spm_kernel_symbol *s = SPM_K(kernel_symbols); s->name; s++)
    if (strcmp(s->name, wanted) == 0) memcpy(&kernel, &s->address, sizeof s->address);
  cr_assert(kernel.one != NULL, "%s is not in the table", wanted);
  return kernel;
}

static void call(const struct elementwise *e, long n, real *out, real *const *operands) {
  union kernel kernel = look_up(e);
  if (e->arity == 1) kernel.one(n, out, operands[0]);
  if (e->arity == 2) kernel.two(n, out, operands[0], operands[1]);
  if (e->arity == 3) kernel.three(n, out, operands[0], operands[1], operands[2]);
}

static real operand(const struct elementwise *e, real *const *operands, int which, long i) {
  return which >= e->arity ? 0 : operands[which][e->suffix[which] == 'v' ? i : 0];
}

/* in_place: the operand that is the result as well, or -1. */
static void check_elementwise(const struct elementwise *e, long n, int in_place) {
  static real space[3][LONGEST], separate[LONGEST], wanted[LONGEST];
  real *operands[3] = {space[0] + n % 3, space[1] + 1, space[2]}; /* not all aligned alike */
  for (int k = 0; k < 3; k++) fill_wild(n + 1, operands[k]);
  bool ordered = strcmp(e->name, "polygamma") == 0 || strcmp(e->name, "stirling") == 0 ||
                 strcmp(e->name, "exponential_integral") == 0;
  if (ordered) /* whole numbers */
    for (long i = 0; i <= n; i++) operands[0][i] = (real)(i % 4);
  for (long i = 0; i < n; i++)
    wanted[i] = e->twin(operand(e, operands, 0, i), operand(e, operands, 1, i), operand(e, operands, 2, i));
  real *out = in_place < 0 ? separate : operands[in_place], guard = out[n];
  call(e, n, out, operands);
  for (long i = 0; i < n; i++)
    cr_assert(same(out[i], wanted[i]), "%s_%s, n = %ld, in place %d: element %ld is %g, not %g", e->name, e->suffix, n,
              in_place, i, (double)out[i], (double)wanted[i]);
  cr_assert(same(out[n], guard), "%s_%s wrote beyond its end", e->name, e->suffix);
}

KERNEL_TEST(elementwise) {
  for (int k = 0; k < ELEMENTWISE; k++)
    for (int l = 0; l < LENGTHS; l++)
      for (int in_place = -1; in_place < elementwise[k].arity; in_place++) {
        long n = lengths[l];
        if (in_place >= 0 && elementwise[k].suffix[in_place] == 's') n = 1;
        check_elementwise(&elementwise[k], n, in_place);
      }
}

KERNEL_TEST(softplus_and_sigmoid_are_those_of_the_kernels_apart) {
  static real a[LONGEST], both[2][LONGEST], apart[2][LONGEST];
  for (int l = 0; l < LENGTHS; l++)
    for (int in_place = -1; in_place < 2; in_place++) {
      long n = lengths[l];
      fill_wild(n, a);
      SPM_K(softplus_v)(n, apart[0], a);
      SPM_K(sigmoid_v)(n, apart[1], a);
      real *in = in_place < 0 ? a : both[in_place];
      SPM_K(copy)(n, both[0], a);
      SPM_K(copy)(n, both[1], a);
      SPM_K(softplus_and_sigmoid)(n, both[0], both[1], in);
      for (long i = 0; i < n; i++) cr_assert(same(both[0][i], apart[0][i]) && same(both[1][i], apart[1][i]));
    }
}

KERNEL_TEST(table_is_complete_and_has_no_duplicates) {
  int count = 0;
  for (const struct spm_kernel_symbol *s = SPM_K(kernel_symbols); s->name; s++, count++) {
    cr_assert(s->address != NULL);
    for (const struct spm_kernel_symbol *t = s + 1; t->name; t++)
      cr_assert(strcmp(s->name, t->name) != 0, "%s", s->name);
  }
  cr_assert(count >= ELEMENTWISE + 20);
}

KERNEL_TEST(fill_copy_accumulate) {
  real a[LONGEST], b[LONGEST], out[LONGEST], before[LONGEST], value = (real)1.5;
  for (int l = 0; l < LENGTHS; l++) {
    long n = lengths[l];
    fill_wild(n, a), fill_wild(n, b), fill_tame(n, before);
    SPM_K(fill)(n, out, &value);
    for (long i = 0; i < n; i++) cr_assert(out[i] == value);
    SPM_K(copy)(n, out, before);
    SPM_K(accumulate_v)(n, out, a);
    for (long i = 0; i < n; i++) cr_assert(same(out[i], before[i] + a[i]));
    SPM_K(copy)(n, out, before);
    SPM_K(accumulate_s)(n, out, &value);
    for (long i = 0; i < n; i++) cr_assert(same(out[i], before[i] + value));
    SPM_K(copy)(n, out, before);
    SPM_K(accumulate_mul_vv)(n, out, a, b);
    for (long i = 0; i < n; i++) cr_assert(same(out[i], before[i] + a[i] * b[i]));
    SPM_K(copy)(n, out, before);
    SPM_K(accumulate_mul_vs)(n, out, a, &value);
    for (long i = 0; i < n; i++) cr_assert(same(out[i], before[i] + a[i] * value));
  }
}

/* ---- reductions -------------------------------------------------------------------------------------------------- */

/* The order of additions that kernels.h promises. */
static real lane_sum(long n, const real *a, const real *b) {
  double lane[16] = {0};
  for (long i = 0; i < n; i++) lane[i % 16] += b ? (double)a[i] * (double)b[i] : (double)a[i];
  for (int width = 8; width > 0; width /= 2)
    for (int j = 0; j < width; j++) lane[j] += lane[j + width];
  return (real)lane[0];
}

KERNEL_TEST(sum_dot_maximum) {
  static real a[LONGEST + 3], b[LONGEST + 3];
  for (int l = 0; l < LENGTHS; l++)
    for (int shift = 0; shift < 3; shift++) {
      long n = lengths[l];
      fill_tame(n, a + shift), fill_tame(n, b);
      cr_assert(same(SPM_K(sum)(n, a + shift), lane_sum(n, a + shift, NULL)));
      cr_assert(same(SPM_K(dot)(n, a + shift, b), lane_sum(n, a + shift, b)));
      real most = -INFINITY;
      for (long i = 0; i < n; i++) most = a[shift + i] > most ? a[shift + i] : most;
      cr_assert(SPM_K(maximum)(n, a + shift) == most);
      for (long i = 0; i < n; i += 5) {
        real was = b[i];
        b[i] = NAN;
        cr_assert(isnan(SPM_K(maximum)(n, b)) && isnan(SPM_K(sum)(n, b)), "n = %ld, i = %ld", n, i);
        b[i] = was;
      }
    }
}

static const long middles[][3] = {{1, 1, 1},   {3, 5, 1},   {2, 7, 3},   {4, 1, 5},
                                  {1, 33, 17}, {2, 2, 300}, {1, 3, 257}, {5, 16, 1}};
enum { MIDDLES = sizeof middles / sizeof *middles, MIDDLE_SPACE = 2000 };

static void check_middle(long outer, long n, long inner, int wild) {
  static real in[MIDDLE_SPACE], sums[MIDDLE_SPACE], maxima[MIDDLE_SPACE], mask[MIDDLE_SPACE];
  fill_tame(outer * n * inner, in);
  for (long i = 0; i < outer * n * inner; i++) { /* ties, and some NaN */
    in[i] = (real)(int)(2 * in[i]);
    if (wild && i % 11 == 4) in[i] = NAN;
  }
  SPM_K(reduce_sum)(outer, n, inner, sums, in);
  SPM_K(reduce_max)(outer, n, inner, maxima, in);
  SPM_K(first_max_mask)(outer, n, inner, mask, in);
  for (long o = 0; o < outer; o++)
    for (long i = 0; i < inner; i++) {
      double sum = 0;
      long best = 0;
      for (long k = 0; k < n; k++) {
        double x = in[(o * n + k) * inner + i], most = in[(o * n + best) * inner + i];
        sum += x;
        if (!isnan(most) && (isnan(x) || x > most)) best = k;
      }
      cr_assert(near(sums[o * inner + i], sum, 1));
      cr_assert(same(maxima[o * inner + i], in[(o * n + best) * inner + i]));
      for (long k = 0; k < n; k++) cr_assert(mask[(o * n + k) * inner + i] == (k == best));
    }
}

KERNEL_TEST(reduce_along_the_middle) {
  for (int m = 0; m < MIDDLES; m++)
    for (int wild = 0; wild < 2; wild++) check_middle(middles[m][0], middles[m][1], middles[m][2], wild);
  real out[2] = {5, 5}, *none = out;
  SPM_K(reduce_sum)(1, 0, 2, out, none);
  cr_assert(out[0] == 0 && out[1] == 0);
}

KERNEL_TEST(cumsum) {
  static real in[MIDDLE_SPACE], out[MIDDLE_SPACE];
  for (int m = 0; m < MIDDLES; m++)
    for (int kind = 0; kind < 8; kind++) {
      long outer = middles[m][0], n = middles[m][1], inner = middles[m][2];
      int reverse = kind & 1, exclusive = kind >> 1 & 1, in_place = kind >> 2;
      fill_tame(outer * n * inner, in);
      memcpy(out, in, sizeof out);
      SPM_K(cumsum)(outer, n, inner, reverse, exclusive, out, in_place ? out : in);
      for (long o = 0; o < outer; o++)
        for (long k = 0; k < n; k++)
          for (long i = 0; i < inner; i++) {
            double wanted = 0;
            for (long j = 0; j < n; j++)
              if (j == k ? !exclusive : reverse ? j > k : j < k) wanted += in[(o * n + j) * inner + i];
            cr_assert(near(out[(o * n + k) * inner + i], wanted, 1));
          }
    }
}

/* ---- strides ----------------------------------------------------------------------------------------------------- */

enum { STRIDE_SPACE = 40000 };

/* Random sizes, and strides that permute, broadcast, or leave gaps. Returns the number of indices. */
static long random_strides(int rank, long *sizes, long *strides) {
  int order[12];
  long count = 1, stride = 1;
  for (int d = 0; d < rank; d++) {
    sizes[d] = 1 + (long)(fabs((double)number()) * (rank > 6 ? 0.9 : rank > 3 ? 2 : 9));
    count *= sizes[d];
    order[d] = d;
  }
  for (int d = rank - 1; d > 0; d--) {
    int other = (int)(fabs((double)number()) * 0.499 * (d + 1)), kept = order[d];
    order[d] = order[other];
    order[other] = kept;
  }
  for (int d = 0; d < rank; d++) {
    int broadcast = number() > 1.2;
    strides[order[d]] = broadcast ? 0 : stride;
    if (!broadcast) stride *= sizes[order[d]] + (number() > 1.5);
  }
  return stride < STRIDE_SPACE ? count : 0;
}

static long place_of(int rank, const long *sizes, const long *strides, long index) {
  long place = 0;
  for (int d = rank - 1; d >= 0; d--) {
    place += index % sizes[d] * strides[d];
    index /= sizes[d];
  }
  return place;
}

KERNEL_TEST(copy_and_accumulate_strided) {
  static real in[STRIDE_SPACE], out[STRIDE_SPACE], wanted[STRIDE_SPACE];
  for (int round = 0; round < 3000; round++) {
    long sizes[12], strides[12], count;
    int rank = round % 13;
    count = random_strides(rank, sizes, strides);
    if (count == 0 || count > STRIDE_SPACE) continue;
    fill_tame(STRIDE_SPACE / 8, in), memcpy(in + STRIDE_SPACE / 2, in, STRIDE_SPACE / 8 * sizeof *in);
    SPM_K(copy_strided)(rank, sizes, out, in, strides);
    for (long i = 0; i < count; i++) cr_assert(same(out[i], in[place_of(rank, sizes, strides, i)]), "rank %d", rank);
    memset(out, 0, sizeof out), memset(wanted, 0, sizeof wanted);
    SPM_K(accumulate_strided)(rank, sizes, out, strides, in);
    for (long i = 0; i < count; i++) wanted[place_of(rank, sizes, strides, i)] += in[i];
    for (long i = 0; i < STRIDE_SPACE; i++) cr_assert(near(out[i], wanted[i], 10), "rank %d", rank);
  }
}

KERNEL_TEST(contract) {
  static real a[STRIDE_SPACE], b[STRIDE_SPACE], out[STRIDE_SPACE];
  static double wanted[STRIDE_SPACE];
  fill_tame(STRIDE_SPACE, a), fill_tame(STRIDE_SPACE, b);
  for (int round = 0; round < 1000; round++) {
    long sizes[12], as[12], bs[12], os[12], count = 1;
    int rank = round % 6;
    if (random_strides(rank, sizes, as) == 0) continue;
    for (int d = 0; d < rank; d++) sizes[d] = 1 + sizes[d] % 5, count *= sizes[d];
    for (int d = 0, stride = 1; d < rank; stride *= (int)sizes[d++]) {
      bs[d] = number() > 1 ? 0 : stride;
      os[d] = number() > 0 ? 0 : stride;
    }
    fill_tame(STRIDE_SPACE, out);
    for (long i = 0; i < STRIDE_SPACE; i++) wanted[i] = out[i];
    for (long i = 0; i < count; i++)
      wanted[place_of(rank, sizes, os, i)] +=
          (double)a[place_of(rank, sizes, as, i)] * (double)b[place_of(rank, sizes, bs, i)];
    SPM_K(contract_naive)(rank, sizes, out, os, a, as, b, bs);
    for (long i = 0; i < STRIDE_SPACE; i++) cr_assert(near(out[i], wanted[i], 100));
  }
}

/* ---- matrices ---------------------------------------------------------------------------------------------------- */

enum { ORDER = 9, COLUMNS = 4 };

static void random_positive(real *a) { /* m m' + 1 */
  real m[ORDER * ORDER];
  fill_tame(ORDER * ORDER, m);
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) {
      a[i * ORDER + j] = i == j;
      for (int k = 0; k < ORDER; k++) a[i * ORDER + j] += m[i * ORDER + k] * m[j * ORDER + k];
    }
}

KERNEL_TEST(cholesky) {
  real a[ORDER * ORDER], l[ORDER * ORDER];
  random_positive(a);
  SPM_K(cholesky)(ORDER, l, a);
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) {
      double product = 0;
      for (int k = 0; k < ORDER; k++) product += (double)l[i * ORDER + k] * (double)l[j * ORDER + k];
      cr_assert(near(product, a[i * ORDER + j], 10));
      if (j > i) cr_assert(l[i * ORDER + j] == 0);
    }
  SPM_K(cholesky)(ORDER, a, a);
  cr_assert(memcmp(a, l, sizeof a) == 0, "in place");
  real singular[4] = {1, 1, 1, 1};
  SPM_K(cholesky)(2, l, singular);
  cr_assert(l[0] == 1 && isnan(l[3]));
}

KERNEL_TEST(solve_triangular) {
  real a[ORDER * ORDER], l[ORDER * ORDER], b[ORDER * COLUMNS], x[ORDER * COLUMNS];
  random_positive(a);
  SPM_K(cholesky)(ORDER, l, a);
  for (int i = 0; i < ORDER; i++)
    for (int j = i + 1; j < ORDER; j++) l[i * ORDER + j] = NAN; /* must not be read */
  for (int transpose = 0; transpose < 2; transpose++) {
    fill_tame(ORDER * COLUMNS, b);
    SPM_K(solve_triangular)(ORDER, COLUMNS, transpose, x, l, b);
    for (int i = 0; i < ORDER; i++)
      for (int c = 0; c < COLUMNS; c++) {
        double product = 0;
        for (int k = transpose ? i : 0; k < (transpose ? ORDER : i + 1); k++)
          product += (double)(transpose ? l[k * ORDER + i] : l[i * ORDER + k]) * (double)x[k * COLUMNS + c];
        cr_assert(near(product, b[i * COLUMNS + c], 10));
      }
    SPM_K(solve_triangular)(ORDER, COLUMNS, transpose, b, l, b);
    cr_assert(memcmp(b, x, sizeof x) == 0, "in place");
  }
}

static bool comes_before(real y, long at_y, real x, long at_x) { return y > x || (y == x && at_y < at_x); }

/* Few different values, so that there are ties, some of them zeros of both signs. */
static void fill_tied(long n, real *x) {
  fill_tame(n, x);
  for (long i = 0; i < n; i++) x[i] = (real)(int)(2 * x[i]) * (i % 3 ? 1 : -1);
}

KERNEL_TEST(top_mask) {
  real in[70], out[70];
  for (long n = 1; n <= 65; n += 4)
    for (long k = 0; k <= n + 1; k++) {
      const real count = (real)k + (real)0.25;
      fill_tied(n, in);
      SPM_K(top_mask)(n, out, in, &count);
      for (long i = 0; i < n; i++) {
        long rank = 0;
        for (long j = 0; j < n; j++) rank += comes_before(in[j], j, in[i], i);
        cr_assert(out[i] == (rank < k), "n = %ld, k = %ld, i = %ld", n, k, i);
      }
    }
  const real two = 2, wild[4] = {1, NAN, -INFINITY, INFINITY};
  SPM_K(top_mask)(4, out, wild, &two);
  cr_assert(out[0] == 0 && out[1] == 1 && out[2] == 0 && out[3] == 1);
}

KERNEL_TEST(the_largest_of_a_batch) {
  enum { ROWS = 7, GROUPS = 3, N = 5, ROW = GROUPS * N };
  real in[ROWS * ROW], out[ROWS * ROW], last[GROUPS * 3], counts[GROUPS];
  for (int trial = 0; trial < 100; trial++) {
    fill_tied(ROWS * ROW, in);
    for (int g = 0; g < GROUPS; g++) counts[g] = (real)((trial + 11 * g) % (ROWS * N + 2));
    SPM_K(last_taken)(ROWS, GROUPS, N, last, in, counts);
    for (long tile = 0; tile < ROWS; tile += 2) /* each tile by itself */
      SPM_K(mark_taken)(tile + 2 < ROWS ? 2 : ROWS - tile, tile, GROUPS, N, out + tile * ROW, in + tile * ROW, last);
    for (long e = 0; e < ROWS * ROW; e++) {
      long group = e % ROW / N, rank = 0;
      for (long r = 0; r < ROWS; r++)
        for (long o = r * ROW + group * N; o < r * ROW + (group + 1) * N; o++) rank += comes_before(in[o], o, in[e], e);
      cr_assert(out[e] == (rank < (long)counts[group]), "trial %d, element %ld", trial, e);
    }
  }
}

static void check_gemm(int ta, int tb, long m, long n, long k, real alpha, real beta) {
  static real a[5000], b[5000], c[5000];
  static double wanted[5000];
  long lda = (ta ? m : k) + 2, ldb = (tb ? k : n) + 1, ldc = n + 3;
  fill_tame(5000, a), fill_tame(5000, b), fill_tame(5000, c);
  if (beta == 0)
    for (long i = 0; i < 5000; i++) c[i] = NAN;
  for (long i = 0; i < m * ldc; i++) wanted[i] = c[i];
  for (long i = 0; i < m; i++)
    for (long j = 0; j < n; j++) {
      double sum = 0;
      for (long p = 0; p < k; p++)
        sum += (double)(ta ? a[p * lda + i] : a[i * lda + p]) * (double)(tb ? b[j * ldb + p] : b[p * ldb + j]);
      wanted[i * ldc + j] = alpha * sum + (beta == 0 ? 0 : beta * (double)c[i * ldc + j]);
    }
  SPM_K(gemm)(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  for (long i = 0; i < m * ldc; i++) cr_assert(near(c[i], wanted[i], (double)k + 1), "%ld x %ld x %ld", m, n, k);
}

static void check_gemms(void) {
  const long shapes[][3] = {{1, 1, 1},   {3, 5, 7},   {17, 33, 20}, {64, 48, 31},
                            {1, 40, 40}, {40, 1, 40}, {4, 4, 0},    {0, 3, 3}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (int kind = 0; kind < 8; kind++)
      check_gemm(kind & 1, kind >> 1 & 1, shapes[s][0], shapes[s][1], shapes[s][2], kind & 4 ? (real)0.5 : 1,
                 kind & 4 ? (real)-1.5 : kind & 1);
}

KERNEL_TEST(gemm_without_a_library) { check_gemms(); }

KERNEL_TEST(gemm_from_openblas) {
  char error[256] = "";
  cr_assert(spm_blas_open(SPM_OPENBLAS, error, sizeof error) == 0, "%s", error);
  cr_assert(spm_blas_open(SPM_OPENBLAS, error, sizeof error) == 0, "twice");
  cr_assert(spm_blas_of_name(spm_blas_name()) == SPM_OPENBLAS);
  check_gemms();
}

/* Every alignment of what is multiplied and made, as tiles, ranges and scratch have them, gives the same bytes. */
enum { ROWS = 19, WIDTH = 50, DEPTH = 300, FACTORS = (ROWS + WIDTH) * DEPTH };
struct everywhere {
  const real *factors;
  real product[ROWS * WIDTH];
  int differ;
};

static void *multiply_everywhere(void *argument) {
  struct everywhere *e = argument;
  real *memory = calloc(FACTORS + ROWS * WIDTH + 64, sizeof *memory);
  for (int shift = 0; shift < 16; shift++) {
    real *a = memory + shift, *b = a + ROWS * DEPTH, *c = memory + FACTORS + 16 + shift / 2;
    memcpy(a, e->factors, FACTORS * sizeof *a);
    SPM_K(gemm)(0, 1, ROWS, WIDTH, DEPTH, 1, a, DEPTH, b, DEPTH, 0, c, WIDTH);
    if (shift == 0) memcpy(e->product, c, sizeof e->product);
    e->differ |= memcmp(e->product, c, sizeof e->product) != 0;
  }
  free(memory);
  return NULL;
}

static void check_bytes(void) {
  static real factors[FACTORS];
  static struct everywhere here = {.factors = factors}, there = {.factors = factors};
  pthread_t thread;
  fill_tame(FACTORS, factors);
  cr_assert(pthread_create(&thread, NULL, multiply_everywhere, &there) == 0);
  multiply_everywhere(&here);
  pthread_join(thread, NULL);
  cr_assert(!here.differ && !there.differ, "the bytes depend on alignment");
  cr_assert(memcmp(here.product, there.product, sizeof here.product) == 0, "the bytes depend on the thread");
}

KERNEL_TEST(gemm_from_openblas_gives_the_same_bytes_everywhere) {
  char error[256] = "";
  cr_assert(spm_blas_open(SPM_OPENBLAS, error, sizeof error) == 0, "%s", error);
  check_bytes();
}

KERNEL_TEST(gemm_from_onednn) {
  char error[256] = "";
  cr_assert(spm_blas_of_name("onednn") == SPM_ONEDNN && spm_blas_of_name("one") < 0 && spm_blas_of_name("") < 0);
  if (spm_blas_open(SPM_ONEDNN, error, sizeof error) != 0) {
    cr_assert(strstr(error, "libdnnl"), "%s", error);
    cr_skip_test("%s", error);
  }
  cr_assert(spm_blas_of_name(spm_blas_name()) == SPM_ONEDNN);
  check_gemms();
  check_bytes();
  cr_assert(spm_blas_open(SPM_OPENBLAS, error, sizeof error) == 0, "and back");
  cr_assert(spm_blas_of_name(spm_blas_name()) == SPM_OPENBLAS);
}
