/* Moving, adding and multiplying over arbitrary strides, and small dense linear algebra. See kernels.h. */
#include "kernels.h"

#include <math.h>
#include <string.h>

enum { RANK = SPM_KERNEL_MAX_RANK, OPERANDS = 3, TILE = 16 };

/* An index space with a stride for each operand in each dim. */
struct walk {
  int rank, operands;
  long sizes[RANK + 1], strides[OPERANDS][RANK + 1];
  long index[RANK + 1], offset[OPERANDS];
};

/* Takes over the dims, leaves out those of size 1 and joins neighbours that are one dim for every operand: inner loops
 * get long. Returns 0 if the space is empty. At least one dim is left. */
static int walk_start(struct walk *w, int rank, const long *sizes, int operands, const long *const *strides) {
  memset(w, 0, sizeof *w);
  w->operands = operands;
  for (int d = 0; d < rank; d++) {
    if (sizes[d] <= 0) return 0;
    if (sizes[d] == 1) continue;
    int last = w->rank - 1, joined = last >= 0;
    for (int p = 0; joined && p < operands; p++) joined = w->strides[p][last] == strides[p][d] * sizes[d];
    if (!joined) w->sizes[last = w->rank++] = 1;
    w->sizes[last] *= sizes[d];
    for (int p = 0; p < operands; p++) w->strides[p][last] = strides[p][d];
  }
  if (w->rank == 0) w->sizes[w->rank++] = 1;
  return 1;
}

/* To the next index of the dims before `inner` last ones, which the caller loops over. Returns 0 at the end. */
static int walk_next(struct walk *w, int inner) {
  for (int d = w->rank - inner - 1; d >= 0; d--) {
    for (int p = 0; p < w->operands; p++) w->offset[p] += w->strides[p][d];
    if (++w->index[d] < w->sizes[d]) return 1;
    for (int p = 0; p < w->operands; p++) w->offset[p] -= w->strides[p][d] * w->sizes[d];
    w->index[d] = 0;
  }
  return 0;
}

static void row_major(int rank, const long *sizes, long *strides) {
  long stride = 1;
  for (int d = rank - 1; d >= 0; d--) {
    strides[d] = stride;
    stride *= sizes[d];
  }
}

static void copy_row(long n, real *out, const real *in, long stride) {
  if (stride == 1) {
    memcpy(out, in, (size_t)n * sizeof *out);
  } else if (stride == 0) {
    SPM_K(fill)(n, out, in);
  } else {
    for (long i = 0; i < n; i++) out[i] = in[i * stride];
  }
}

/* out [m, n] with rows out_stride apart = in read down its columns: in small squares, so that both stay in cache. */
static void copy_transposed(long m, long n, real *out, long out_stride, const real *in, long row, long column) {
  for (long i = 0; i < m; i += TILE)
    for (long j = 0; j < n; j += TILE) {
      long rows = m - i < TILE ? m - i : TILE, columns = n - j < TILE ? n - j : TILE;
      for (long r = i; r < i + rows; r++)
        for (long c = j; c < j + columns; c++) out[r * out_stride + c] = in[r * row + c * column];
    }
}

void SPM_K(copy_strided)(int rank, const long *sizes, real *out, const real *in, const long *in_strides) {
  long out_strides[RANK + 1];
  struct walk w;
  row_major(rank, sizes, out_strides);
  if (!walk_start(&w, rank, sizes, 2, (const long *const[]){out_strides, in_strides})) return;
  int last = w.rank - 1;
  if (last > 0 && w.strides[1][last] > 1 && w.strides[1][last - 1] == 1) {
    do
      copy_transposed(w.sizes[last - 1], w.sizes[last], out + w.offset[0], w.strides[0][last - 1], in + w.offset[1], 1,
                      w.strides[1][last]);
    while (walk_next(&w, 2));
    return;
  }
  do copy_row(w.sizes[last], out + w.offset[0], in + w.offset[1], w.strides[1][last]);
  while (walk_next(&w, 1));
}

void SPM_K(accumulate_strided)(int rank, const long *sizes, real *out, const long *out_strides, const real *in) {
  long in_strides[RANK + 1];
  struct walk w;
  row_major(rank, sizes, in_strides);
  if (!walk_start(&w, rank, sizes, 2, (const long *const[]){out_strides, in_strides})) return;
  int last = w.rank - 1;
  long n = w.sizes[last], stride = w.strides[0][last];
  do {
    real *to = out + w.offset[0];
    const real *from = in + w.offset[1]; /* contiguous: the last dim's stride is 1, unless it has one element */
    if (stride == 1) {
      SPM_K(accumulate_v)(n, to, from);
    } else if (stride == 0) {
      *to = *to + SPM_K(sum)(n, from);
    } else {
      for (long i = 0; i < n; i++) to[i * stride] += from[i];
    }
  } while (walk_next(&w, 1));
}

static void contract_row(long n, real *out, long so, const real *a, long sa, const real *b, long sb) {
  if (so == 0) {
    double total = 0.0;
    if (sa == 1 && sb == 1) {
      *out = *out + SPM_K(dot)(n, a, b);
      return;
    }
    for (long i = 0; i < n; i++) total += (double)a[i * sa] * (double)b[i * sb];
    *out = *out + (real)total;
  } else if (so == 1 && sa == 0 && sb == 1) {
    SPM_K(accumulate_mul_vs)(n, out, b, a);
  } else if (so == 1 && sa == 1 && sb == 0) {
    SPM_K(accumulate_mul_vs)(n, out, a, b);
  } else {
    for (long i = 0; i < n; i++) out[i * so] += a[i * sa] * b[i * sb];
  }
}

void SPM_K(contract_naive)(int rank, const long *sizes, real *out, const long *out_strides, const real *a,
                           const long *a_strides, const real *b, const long *b_strides) {
  struct walk w;
  if (!walk_start(&w, rank, sizes, 3, (const long *const[]){out_strides, a_strides, b_strides})) return;
  int last = w.rank - 1;
  do
    contract_row(w.sizes[last], out + w.offset[0], w.strides[0][last], a + w.offset[1], w.strides[1][last],
                 b + w.offset[2], w.strides[2][last]);
  while (walk_next(&w, 1));
}

void SPM_K(cholesky)(long n, real *out, const real *a) {
  for (long i = 0; i < n; i++) {
    for (long j = 0; j <= i; j++) {
      double rest = (double)a[i * n + j];
      for (long k = 0; k < j; k++) rest -= (double)out[i * n + k] * (double)out[j * n + k];
      if (i != j)
        out[i * n + j] = (real)(rest / (double)out[j * n + j]);
      else /* a square root of 0 would give infinities that look like results */
        out[i * n + i] = rest > 0.0 ? (real)sqrt(rest) : (real)NAN;
    }
    for (long j = i + 1; j < n; j++) out[i * n + j] = 0;
  }
}

/* Row i of out needs the rows solved before it: those above, or for l' those below. */
void SPM_K(solve_triangular)(long n, long m, int transpose, real *out, const real *l, const real *b) {
  if (n > 0 && m > 0 && out != b) memcpy(out, b, (size_t)(n * m) * sizeof *out);
  for (long step = 0; step < n; step++) {
    long i = transpose ? n - 1 - step : step;
    real *row = out + i * m, diagonal = l[i * n + i];
    for (long before = 0; before < step; before++) {
      long k = transpose ? n - 1 - before : before;
      real factor = -(transpose ? l[k * n + i] : l[i * n + k]);
      SPM_K(accumulate_mul_vs)(m, row, out + k * m, &factor);
    }
    for (long j = 0; j < m; j++) row[j] = row[j] / diagonal;
  }
}
