/* The log probability of a category under a softmax of few factors, logits = w f + b, and its slopes, a few lines at a
 * time: the logits of all categories are never in memory but for the lines at hand. See kernels.h.
 *
 * Categories go by in 16 lanes. Where the compiler knows vectors they are one, with an exp of their own; elsewhere, and
 * in double, an array. The numbers of the two differ by roundings, and so do those where AVX-512 fuses products and
 * sums: all that runs on one processor calls the kernel of one build. */
#include "kernels.h"
#include "vmath.h"

#include <string.h>

enum { LOW_LANES = 16, LOW_LINES = 4, LOW_PAIR = 2, LOW_MOST_RANK = 32, LOW_BEFORE_ADDING = 1024 };

/* --- lanes --- */

#if defined __GNUC__ && !defined __TINYC__ && !defined SPM_DOUBLE
#define LOW_VECTORS
#define LOW_INLINE inline __attribute__((always_inline))
typedef float low_lanes __attribute__((vector_size(64)));
typedef float low_half __attribute__((vector_size(32)));
typedef float low_quarter __attribute__((vector_size(16)));
typedef int low_ints __attribute__((vector_size(64)));
typedef float low_memory __attribute__((vector_size(64), aligned(4), may_alias));

#define LOW_EACH(value) ((low_lanes){0} + (value))
#if defined __AVX512F__ && !defined __clang__ /* one instruction each: fused it is 1.6 times as fast */
#define LOW_FUSED(a, b, c) __builtin_ia32_vfmaddps512_mask((a), (b), (c), (short)-1, 4)
#define LOW_LARGER(a, b) __builtin_ia32_maxps512_mask((a), (b), LOW_EACH(0.0f), (short)-1, 4)
#else
#define LOW_FUSED(a, b, c) ((a) * (b) + (c))
#define LOW_LARGER(a, b)                                                                                               \
  ((low_lanes)(((low_ints)(a) & (low_ints)((a) > (b))) | ((low_ints)(b) & ~(low_ints)((a) > (b)))))
#endif

static LOW_INLINE void low_load(low_lanes *x, const real *from) { *x = *(const low_memory *)(const void *)from; }
static LOW_INLINE void low_store(real *to, const low_lanes *x) { *(low_memory *)(void *)to = *x; }
static LOW_INLINE void low_splat(low_lanes *x, real value) { *x = LOW_EACH(value); }
/* x += a b */
static LOW_INLINE void low_add(low_lanes *x, const low_lanes *a, real b) { *x = LOW_FUSED(*a, LOW_EACH(b), *x); }
static LOW_INLINE void low_add_product(low_lanes *x, const low_lanes *a, const low_lanes *b) {
  *x = LOW_FUSED(*a, *b, *x);
}
static LOW_INLINE void low_sum(low_lanes *x, const low_lanes *a) { *x = *x + *a; }
static LOW_INLINE void low_largest(low_lanes *x, const low_lanes *a) { *x = LOW_LARGER(*a, *x); }
/* exp(x - shift), which is at most about 1; nearly 0 where it would be below 1e-38, and NaN where it is none */
static LOW_INLINE void low_exp(low_lanes *x, real shift) {
  low_lanes low = LOW_LARGER(LOW_EACH(-87.0f), *x - shift), shifted, whole, r, p;
  shifted = LOW_FUSED(low, LOW_EACH(1.44269504f), LOW_EACH(VM_ROUNDER));
  whole = shifted - VM_ROUNDER;
  r = LOW_FUSED(whole, LOW_EACH(-0.693359375f), low);
  r = LOW_FUSED(whole, LOW_EACH(2.12194440e-4f), r);
  p = LOW_FUSED(r, LOW_EACH(1.9845879e-4f), LOW_EACH(1.3940668e-3f));
  p = LOW_FUSED(p, r, LOW_EACH(8.33339e-3f));
  p = LOW_FUSED(p, r, LOW_EACH(4.166636e-2f));
  p = LOW_FUSED(p, r, LOW_EACH(0.16666666f));
  p = LOW_FUSED(p, r, LOW_EACH(0.5f));
  p = LOW_FUSED(p, r * r, r) + 1.0f;
  *x = p * (low_lanes)(((low_ints)shifted - 0x4B400000 + 127) << 23);
}
#else
#define LOW_INLINE inline
typedef struct low_lanes {
  real at[LOW_LANES];
} low_lanes;

static LOW_INLINE void low_load(low_lanes *x, const real *from) { memcpy(x->at, from, sizeof x->at); }
static LOW_INLINE void low_store(real *to, const low_lanes *x) { memcpy(to, x->at, sizeof x->at); }
static LOW_INLINE void low_splat(low_lanes *x, real value) {
  for (int j = 0; j < LOW_LANES; j++) x->at[j] = value;
}
static LOW_INLINE void low_add(low_lanes *x, const low_lanes *a, real b) {
  for (int j = 0; j < LOW_LANES; j++) x->at[j] = x->at[j] + a->at[j] * b;
}
static LOW_INLINE void low_add_product(low_lanes *x, const low_lanes *a, const low_lanes *b) {
  for (int j = 0; j < LOW_LANES; j++) x->at[j] = x->at[j] + a->at[j] * b->at[j];
}
static LOW_INLINE void low_sum(low_lanes *x, const low_lanes *a) {
  for (int j = 0; j < LOW_LANES; j++) x->at[j] = x->at[j] + a->at[j];
}
static LOW_INLINE void low_largest(low_lanes *x, const low_lanes *a) {
  for (int j = 0; j < LOW_LANES; j++) x->at[j] = a->at[j] > x->at[j] ? a->at[j] : x->at[j];
}
static LOW_INLINE void low_exp(low_lanes *x, real shift) {
  for (int j = 0; j < LOW_LANES; j++) x->at[j] = vm_exp(x->at[j] - shift);
}
#endif

/* In a fixed tree: halves, quarters, ... */
static LOW_INLINE real low_total(const low_lanes *x) {
#ifdef LOW_VECTORS
  low_half a, b;
  low_quarter c, d;
  memcpy(&a, x, sizeof a), memcpy(&b, (const char *)x + sizeof a, sizeof b);
  a = a + b;
  memcpy(&c, &a, sizeof c), memcpy(&d, (const char *)&a + sizeof c, sizeof d);
  c = c + d;
  return (c[0] + c[2]) + (c[1] + c[3]);
#else
  real at[LOW_LANES];
  low_store(at, x);
  for (int half = LOW_LANES / 2; half > 0; half /= 2)
    for (int j = 0; j < half; j++) at[j] = at[j] + at[j + half];
  return at[0];
#endif
}

static LOW_INLINE real low_top(const low_lanes *x) {
  real at[LOW_LANES], top;
  low_store(at, x);
  top = at[0];
  for (int j = 1; j < LOW_LANES; j++) top = at[j] > top ? at[j] : top;
  return top;
}

/* --- tables --- */

static long low_padded(long length) { return (length + LOW_LANES - 1) / LOW_LANES * LOW_LANES; }

/* [rank + 1][padded]: the columns of w, then b; categories that only fill lanes up are as good as impossible. */
static void low_table(long rank, long length, real *table, const real *w, const real *b) {
  const long padded = low_padded(length);
  for (long r = 0; r <= rank; r++)
    for (long l = 0; l < padded; l++)
      table[r * padded + l] = l >= length ? (real)(r == rank ? -1e30 : 0.0) : r == rank ? b[l] : w[l * rank + r];
}

/* Which category; -1: none. */
static long low_category(real x, long first, long length) {
  const real place = x - (real)first;
  return place >= 0 && place < (real)length ? (long)place : -1;
}

static real low_logit(long rank, long padded, const real *table, const real *f, long category) {
  real logit = table[rank * padded + category];
  for (long r = 0; r < rank; r++) logit = logit + table[r * padded + category] * f[r];
  return logit;
}

/* logits of 16 categories; `rank` is a number where this is expanded */
static LOW_INLINE void low_logits(low_lanes *x, const long rank, long padded, const real *table, const real *f,
                                  long l) {
  low_load(x, table + rank * padded + l);
  for (long r = 0; r < rank; r++) {
    low_lanes column;
    low_load(&column, table + r * padded + l);
    low_add(x, &column, f[r]);
  }
}

/* --- the log probability and its slopes in the factors --- */

/* Of `count` lines: sums over categories of exp(logit - top) and of w times that, [count][1 + rank]. */
static LOW_INLINE void low_sums(const long rank, const long count, long padded, const real *table, const real *f,
                                const real *tops, real *sums) {
  low_lanes x, column, total[LOW_LINES], mean[LOW_LINES][LOW_MOST_RANK];
  for (long q = 0; q < count; q++) {
    low_splat(&total[q], 0);
    for (long r = 0; r < rank; r++) low_splat(&mean[q][r], 0);
  }
  for (long l = 0; l < padded; l += LOW_LANES)
    for (long q = 0; q < count; q++) {
      low_logits(&x, rank, padded, table, f + q * rank, l);
      low_exp(&x, tops[q]);
      low_sum(&total[q], &x);
      for (long r = 0; r < rank; r++) {
        low_load(&column, table + r * padded + l);
        low_add_product(&mean[q][r], &x, &column);
      }
    }
  for (long q = 0; q < count; q++) {
    sums[q * (rank + 1)] = low_total(&total[q]);
    for (long r = 0; r < rank; r++) sums[q * (rank + 1) + 1 + r] = low_total(&mean[q][r]);
  }
}

/* The largest logit of a line. */
static real low_exact_top(long rank, long padded, const real *table, const real *f) {
  low_lanes x, top;
  low_splat(&top, (real)-1e30);
  for (long l = 0; l < padded; l += LOW_LANES) {
    low_logits(&x, rank, padded, table, f, l);
    low_largest(&top, &x);
  }
  return low_top(&top);
}

/* No logit is larger: ends [2][rank + 1] are the smallest and largest of each column. */
static LOW_INLINE real low_bound(const long rank, const real *ends, const real *f) {
  real bound = ends[2 * rank + 1];
  for (long r = 0; r < rank; r++) {
    const real a = ends[r] * f[r], b = ends[rank + 1 + r] * f[r];
    bound = bound + (a > b ? a : b);
  }
  return bound;
}

/* Shifted by a bound of the logits, which is as good as the largest unless it is far above it. */
static LOW_INLINE void low_fit_lines(const long rank, const long count, long length, long first, real *out,
                                     const real *ends, const real *table, const real *f, const real *x) {
  const long padded = low_padded(length);
  real tops[LOW_LINES] = {0}, sums[LOW_LINES * (LOW_MOST_RANK + 1)];
  for (long q = 0; q < count; q++) tops[q] = low_bound(rank, ends, f + q * rank);
  low_sums(rank, count, padded, table, f, tops, sums);
  for (long q = 0; q < count; q++) {
    const long category = low_category(x[q], first, length);
    real *sum = sums + q * (rank + 1), *to = out + q * (rank + 1);
    if (category < 0) {
      for (long r = 0; r <= rank; r++) to[r] = 0;
      continue;
    }
    if (!(sum[0] > (real)1e-12)) {
      tops[q] = low_exact_top(rank, padded, table, f + q * rank);
      low_sums(rank, 1, padded, table, f + q * rank, tops + q, sum);
    }
    const real share = (real)1.0 / sum[0];
    to[0] = (low_logit(rank, padded, table, f + q * rank, category) - tops[q]) - vm_log(sum[0]);
    for (long r = 0; r < rank; r++) to[1 + r] = table[r * padded + category] - sum[1 + r] * share;
  }
}

static LOW_INLINE void low_fit_all(const long rank, long n, long length, long first, real *out, const real *ends,
                                   const real *table, const real *f, const real *x) {
  long i = 0;
  for (; i + LOW_PAIR <= n; i += LOW_PAIR)
    low_fit_lines(rank, LOW_PAIR, length, first, out + i * (rank + 1), ends, table, f + i * rank, x + i);
  for (; i < n; i++) low_fit_lines(rank, 1, length, first, out + i * (rank + 1), ends, table, f + i * rank, x + i);
}

void SPM_K(low_rank_fit)(long n, long rank, long length, long first, real *out, real *work, const real *f,
                         const real *w, const real *b, const real *x) {
  real *table = work, *ends = work + (rank + 1) * low_padded(length);
  low_table(rank, length, table, w, b);
  for (long r = 0; r <= rank; r++) {
    const real *column = table + r * low_padded(length);
    ends[r] = ends[rank + 1 + r] = column[0];
    for (long l = 1; l < length; l++) {
      ends[r] = column[l] < ends[r] ? column[l] : ends[r];
      ends[rank + 1 + r] = column[l] > ends[rank + 1 + r] ? column[l] : ends[rank + 1 + r];
    }
  }
  if (rank == 5) /* a number that the compiler knows keeps the factors in registers */
    low_fit_all(5, n, length, first, out, ends, table, f, x);
  else
    low_fit_all(rank, n, length, first, out, ends, table, f, x);
}

/* --- the slopes in w and b --- */

/* sums [rank + 1][padded] -= (g f, g) times the probabilities, for `count` lines. */
static LOW_INLINE void low_take(const long rank, const long count, long padded, const real *table, const real *f,
                                const real *g, const real *tops, real *sums) {
  real u[LOW_LINES][LOW_MOST_RANK + 1];
  for (long q = 0; q < count; q++) {
    for (long r = 0; r < rank; r++) u[q][r] = -(g[q] * f[q * rank + r]);
    u[q][rank] = -g[q];
  }
  for (long l = 0; l < padded; l += LOW_LANES) {
    low_lanes x[LOW_LINES], sum;
    for (long q = 0; q < count; q++) {
      low_logits(&x[q], rank, padded, table, f + q * rank, l);
      low_exp(&x[q], tops[q]);
    }
    for (long r = 0; r <= rank; r++) {
      low_load(&sum, sums + r * padded + l);
      for (long q = 0; q < count; q++) low_add(&sum, &x[q], u[q][r]);
      low_store(sums + r * padded + l, &sum);
    }
  }
}

/* Adds (g f, g) to the line of the category; the log of the softmax's sum follows from its log probability. */
static LOW_INLINE int low_give(const long rank, long length, long first, real *out, const real *table, const real *f,
                               real x, real fit, real g, real *top) {
  const long category = low_category(x, first, length);
  if (category < 0 || g == 0) return 0;
  *top = low_logit(rank, low_padded(length), table, f, category) - fit;
  for (long r = 0; r < rank; r++) out[category * (rank + 1) + r] += g * f[r];
  out[category * (rank + 1) + rank] += g;
  return 1;
}

static void low_add_up(long rank, long length, real *out, real *sums) {
  const long padded = low_padded(length);
  for (long r = 0; r <= rank; r++)
    for (long l = 0; l < length; l++) out[l * (rank + 1) + r] += sums[r * padded + l];
  memset(sums, 0, (size_t)((rank + 1) * padded) * sizeof *sums);
}

static LOW_INLINE void low_weights_all(const long rank, long n, long length, long first, real *out, real *sums,
                                       const real *table, const real *f, const real *x, const real *fit,
                                       const real *g) {
  const long padded = low_padded(length);
  real kept_f[LOW_LINES * LOW_MOST_RANK], kept_g[LOW_LINES], tops[LOW_LINES];
  long count = 0, before = 0;
  for (long i = 0; i < n; i++) {
    if (!low_give(rank, length, first, out, table, f + i * rank, x[i], fit[i * (rank + 1)], g[i], &tops[count]))
      continue;
    for (long r = 0; r < rank; r++) kept_f[count * rank + r] = f[i * rank + r];
    kept_g[count++] = g[i];
    if (count < LOW_LINES) continue;
    low_take(rank, LOW_LINES, padded, table, kept_f, kept_g, tops, sums);
    count = 0;
    before += LOW_LINES;
    if (before < LOW_BEFORE_ADDING) continue; /* sums of a few are added to those of all: less is rounded away */
    low_add_up(rank, length, out, sums);
    before = 0;
  }
  for (long q = 0; q < count; q++) low_take(rank, 1, padded, table, kept_f + q * rank, kept_g + q, tops + q, sums);
  low_add_up(rank, length, out, sums);
}

void SPM_K(low_rank_weights)(long n, long rank, long length, long first, real *out, real *work, const real *f,
                             const real *w, const real *b, const real *x, const real *fit, const real *g) {
  const long size = (rank + 1) * low_padded(length);
  real *table = work, *sums = work + size;
  low_table(rank, length, table, w, b);
  memset(sums, 0, (size_t)size * sizeof *sums);
  if (rank == 5)
    low_weights_all(5, n, length, first, out, sums, table, f, x, fit, g);
  else
    low_weights_all(rank, n, length, first, out, sums, table, f, x, fit, g);
}
