/* Top-k sparsemax and SparseMAP over bit vectors. See sparse.h; as kernels on tables of reals, kernels.h. */
#include "kernels.h"
#include "sparse.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static int sparse_finite(long d, const real *scores) {
  for (long i = 0; i < d; i++)
    if (!(scores[i] - scores[i] == 0)) return 0;
  return 1;
}

static void sparse_put(spm_word *member, long i, int bit) {
  const spm_word mask = (spm_word)1 << i % SPM_WORD_BITS;
  member[i / SPM_WORD_BITS] = bit ? member[i / SPM_WORD_BITS] | mask : member[i / SPM_WORD_BITS] & ~mask;
}

void SPM_K(sparse_bits)(long d, const spm_word *member, real *out) {
  for (long i = 0; i < d; i++) out[i] = (real)spm_sparse_bit(member, i);
}

/* --- top-k sparsemax ---------------------------------------------------------------------------------------------
 *
 * Scores are measured from that of the best vector: turning bits of it costs the sum of their |t|, small numbers
 * however large the scores are. A member of the support costs less than 1, so a bit of |t| >= 1 is never turned. The
 * cheapest sets of turned bits, bit by bit: the list so far merged with itself plus the next bit. */

/* A list of the cheapest: costs, and the turned bits. */
struct sparse_list {
  double *costs;
  spm_word *turned;
  long count;
};

static struct sparse_list sparse_list_at(char **memory, long k, long words) {
  struct sparse_list list = {.costs = (double *)(void *)*memory};
  *memory += (size_t)k * sizeof(double);
  list.turned = (spm_word *)(void *)*memory;
  *memory += (size_t)(k * words) * sizeof(spm_word);
  return list;
}

/* Equal costs: those that do not turn the bit come first. */
static void sparse_merge(const struct sparse_list *from, struct sparse_list *to, long k, long words, long bit,
                         double cost) {
  long without = 0, with = 0;
  for (to->count = 0; to->count < k; to->count++) {
    const double plain = without < from->count ? from->costs[without] : INFINITY;
    const double more = with < from->count ? from->costs[with] + cost : INFINITY;
    const int turns = more < plain;
    const long source = turns ? with++ : without++;
    if (!((turns ? more : plain) < 1.0)) return;
    spm_word *turned = to->turned + to->count * words;
    to->costs[to->count] = turns ? more : plain;
    memcpy(turned, from->turned + source * words, (size_t)words * sizeof *turned);
    if (turns) sparse_put(turned, bit, 1);
  }
}

static struct sparse_list sparse_cheapest(long d, long k, const real *scores, char *memory) {
  const long words = spm_sparse_words(d);
  struct sparse_list list = sparse_list_at(&memory, k, words), other = sparse_list_at(&memory, k, words);
  list.costs[0] = 0.0;
  memset(list.turned, 0, (size_t)words * sizeof *list.turned);
  list.count = 1;
  for (long i = 0; i < d; i++) {
    const double cost = fabs((double)scores[i]);
    if (cost >= 1.0) continue;
    sparse_merge(&list, &other, k, words, i, cost);
    const struct sparse_list merged = other;
    other = list;
    list = merged;
  }
  return list;
}

long SPM_K(top_k_sparsemax)(long d, long k, const real *scores, spm_word *members, real *weights,
                            struct spm_sparse_report *report, void *work) {
  const long words = spm_sparse_words(d);
  if (d < 1 || k < 1) return SPM_SPARSE_BAD_SIZE;
  if (!sparse_finite(d, scores)) return SPM_SPARSE_NOT_FINITE;
  const struct sparse_list list = sparse_cheapest(d, k, scores, work);
  double sum = 0.0, threshold = 0.0;
  long count = 0;
  for (; count < list.count; count++) { /* costs rise: the support is the first few */
    const double next = (sum + list.costs[count] + 1.0) / (double)(count + 1);
    if (!(list.costs[count] < next)) break;
    sum += list.costs[count];
    threshold = next;
  }
  for (long j = 0; j < count; j++) {
    spm_word *member = members + j * words;
    memset(member, 0, (size_t)words * sizeof *member);
    for (long i = 0; i < d; i++)
      if ((scores[i] > 0) != spm_sparse_bit(list.turned + j * words, i)) sparse_put(member, i, 1);
    weights[j] = (real)(threshold - list.costs[j]);
  }
  if (report) *report = (struct spm_sparse_report){0.0, 1, count, count < k || (d < 62 && (1ll << d) <= k)};
  return count;
}

void SPM_K(top_k_sparsemax_back)(long d, long count, const spm_word *members, const real *weight_adjoints,
                                 real *score_adjoints) {
  const long words = spm_sparse_words(d);
  double mean = 0.0;
  for (long j = 0; j < count; j++) mean += (double)weight_adjoints[j];
  mean /= (double)count;
  for (long i = 0; i < d; i++) {
    double sum = 0.0;
    for (long j = 0; j < count; j++)
      if (spm_sparse_bit(members + j * words, i)) sum += (double)weight_adjoints[j] - mean;
    score_adjoints[i] = (real)sum;
  }
}

/* --- SparseMAP -----------------------------------------------------------------------------------------------------
 *
 * The active set is kept with the Cholesky factor of its Gram matrix, <m_i, m_j> = bits that agree, which grows by a
 * row when a member comes and is turned back into a triangle when one goes. Gradients are differences to the first
 * member's, of scores from which what a binding budget takes away is taken beforehand: so their size does not matter.
 */

enum { SPARSE_ROUNDS = 20 }; /* a bit */
static const double sparse_tolerance = 1e-10, sparse_singular = 1e-9;

struct sparse_set {
  long d, budget, words, count;
  double shift;          /* what the scores were lowered by; a member's score falls by it for each bit it has */
  double *t, *h, *mu;    /* d: lowered scores, gradients in the bits, marginals */
  double *factor;        /* lower triangle, row after row */
  double *p, *r, *u, *z; /* count: weights; gradients; two solutions */
  double *sorted;        /* d */
  long *sizes;           /* count: bits that are set */
  unsigned char *bits;   /* count x d */
  unsigned char *best;   /* d */
};

static struct sparse_set sparse_set_at(long d, long budget, void *work) {
  struct sparse_set s = {.d = d, .budget = budget < d ? budget : d, .words = spm_sparse_words(d)};
  const size_t n = (size_t)d, most = n + 2;
  double *memory = work;
  s.t = memory, s.h = s.t + n, s.mu = s.h + n, s.sorted = s.mu + n;
  s.factor = s.sorted + n;
  s.p = s.factor + most * (most + 1) / 2;
  s.r = s.p + most, s.u = s.r + most, s.z = s.u + most;
  s.sizes = (long *)(void *)(s.z + most);
  s.bits = (unsigned char *)(s.sizes + most);
  s.best = s.bits + most * n;
  return s;
}

static double *sparse_row(const struct sparse_set *s, long i) { return s->factor + i * (i + 1) / 2; }

static unsigned char *sparse_member(const struct sparse_set *s, long j) { return s->bits + j * s->d; }

/* x = the factor^-1 x, then its transpose^-1: of the Gram matrix. */
static void sparse_solve(const struct sparse_set *s, double *x, long count) {
  for (long i = 0; i < count; i++) {
    const double *row = sparse_row(s, i);
    double rest = x[i];
    for (long c = 0; c < i; c++) rest -= row[c] * x[c];
    x[i] = rest / row[i];
  }
  for (long i = count - 1; i >= 0; i--) {
    const double *row = sparse_row(s, i);
    x[i] /= row[i];
    for (long c = 0; c < i; c++) x[c] -= row[c] * x[i];
  }
}

/* The member that stands behind the last one. Returns 0 if it depends on the others. */
static int sparse_grow(struct sparse_set *s) {
  const unsigned char *member = sparse_member(s, s->count);
  double *row = sparse_row(s, s->count), rest = (double)s->d;
  long size = 0;
  for (long j = 0; j < s->count; j++) {
    const unsigned char *other = sparse_member(s, j);
    const double *before = sparse_row(s, j);
    long differ = 0;
    for (long i = 0; i < s->d; i++) differ += member[i] ^ other[i];
    double value = (double)(s->d - differ);
    for (long c = 0; c < j; c++) value -= before[c] * row[c];
    row[j] = value / before[j];
    rest -= row[j] * row[j];
  }
  if (!(rest > sparse_singular)) return 0;
  row[s->count] = sqrt(rest);
  for (long i = 0; i < s->d; i++) size += member[i];
  s->sizes[s->count] = size;
  s->p[s->count++] = 0.0;
  return 1;
}

/* Takes member j away: its column stays behind and is worked into the rows below by rotations. */
static void sparse_shrink(struct sparse_set *s, long j) {
  for (long i = j + 1; i < s->count; i++) { /* row i becomes row i - 1, one entry too long */
    double *row = sparse_row(s, i);
    s->z[i] = row[j]; /* the column that is left over */
    double *to = sparse_row(s, i - 1);
    for (long c = 0; c < j; c++) to[c] = row[c];
    for (long c = j + 1; c <= i; c++) to[c - 1] = row[c];
    memcpy(sparse_member(s, i - 1), sparse_member(s, i), (size_t)s->d);
    s->p[i - 1] = s->p[i];
    s->sizes[i - 1] = s->sizes[i];
  }
  s->count--;
  for (long k = j; k < s->count; k++) { /* L L' + x x' */
    double *row = sparse_row(s, k);
    const double x = s->z[k + 1], length = hypot(row[k], x), cosine = row[k] / length, sine = x / length;
    row[k] = length;
    for (long i = k + 1; i < s->count; i++) {
      double *below = sparse_row(s, i);
      const double a = below[k], b = s->z[i + 1];
      below[k] = cosine * a + sine * b;
      s->z[i + 1] = cosine * b - sine * a;
    }
  }
}

/* Marginals and what an added bit is worth there. */
static void sparse_gradient(struct sparse_set *s) {
  for (long i = 0; i < s->d; i++) s->mu[i] = 0.0;
  for (long j = 0; j < s->count; j++) {
    const unsigned char *member = sparse_member(s, j);
    const double p = s->p[j];
    for (long i = 0; i < s->d; i++) s->mu[i] += p * (double)member[i];
  }
  for (long i = 0; i < s->d; i++) s->h[i] = s->t[i] + 1.0 - 2.0 * s->mu[i];
}

/* Puts the k-th largest of x where k says, larger ones before it. */
static double sparse_select(double *x, long n, long k) {
  long low = 0, high = n - 1;
  while (low < high) {
    const double pivot = x[low + (high - low) / 2];
    long i = low, j = high;
    while (i <= j) {
      while (x[i] > pivot) i++;
      while (x[j] < pivot) j--;
      if (i <= j) {
        const double other = x[i];
        x[i++] = x[j];
        x[j--] = other;
      }
    }
    if (k <= j)
      high = j;
    else if (k >= i)
      low = i;
    else
      break;
  }
  return x[k];
}

/* Bits whose worths rounding alone tells apart count as equal: at the optimum all that are not settled are. */
static const double sparse_equal = 1e-12;

/* The best bit vector for worths h (+ shift a bit): `best`, how many bits it has, and what the budget's last bit is
 * worth above the shift, or minus the shift where the budget does not bind. */
static long sparse_oracle(struct sparse_set *s, const double *h, double *price) {
  long positive = 0, taken = 0;
  for (long i = 0; i < s->d; i++) positive += h[i] + s->shift > sparse_equal;
  *price = -s->shift;
  if (positive > s->budget) {
    memcpy(s->sorted, h, (size_t)s->d * sizeof *h);
    *price = s->budget > 0 ? sparse_select(s->sorted, s->d, s->budget - 1) : INFINITY;
  }
  for (long i = 0; i < s->d; i++) taken += s->best[i] = h[i] > *price + sparse_equal;
  if (positive > s->budget) /* among equals the first */
    for (long i = 0; i < s->d && taken < s->budget; i++)
      if (!s->best[i] && h[i] >= *price - sparse_equal) taken += s->best[i] = 1;
  if (s->budget == 0) *price = 0.0;
  return taken;
}

/* One step to the optimum on the active set, or until a weight becomes 0, whose member leaves. The direction solves
 * S z = r - tau with sum z = 0. Returns whether all are left; STUCK if the newest has to leave at once, which only
 * rounding can bring about: then nothing is to be gained any more. */
enum { SPARSE_LEFT, SPARSE_WHOLE, SPARSE_STUCK };
static int sparse_step(struct sparse_set *s) {
  const unsigned char *first = sparse_member(s, 0);
  double sum_r = 0.0, sum_one = 0.0, step = 1.0;
  long blocking = -1;
  sparse_gradient(s);
  for (long j = 0; j < s->count; j++) {
    const unsigned char *member = sparse_member(s, j);
    double value = s->shift * (double)(s->sizes[j] - s->sizes[0]);
    for (long i = 0; i < s->d; i++) value += (double)((int)member[i] - (int)first[i]) * s->h[i];
    s->r[j] = value;
    s->u[j] = 1.0;
  }
  sparse_solve(s, s->r, s->count);
  sparse_solve(s, s->u, s->count);
  for (long j = 0; j < s->count; j++) sum_r += s->r[j], sum_one += s->u[j];
  for (long j = 0; j < s->count; j++) {
    s->z[j] = s->r[j] - sum_r / sum_one * s->u[j];
    if (s->p[j] + s->z[j] >= 0.0 || !(s->z[j] < 0.0)) continue;
    const double until = s->p[j] / -s->z[j];
    if (until < step) {
      step = until;
      blocking = j;
    }
  }
  for (long j = 0; j < s->count; j++) s->p[j] += step * s->z[j];
  if (blocking < 0) return SPARSE_WHOLE;
  const int stuck = step == 0.0 && blocking == s->count - 1;
  s->p[blocking] = 0.0;
  sparse_shrink(s, blocking);
  return stuck ? SPARSE_STUCK : SPARSE_LEFT;
}

/* How far the best bit vector is above the mean of the active ones (*gap), or an active one from that mean. Only bits
 * in which a member differs from the best count: so the size of the others' worths does not matter. `r` is overwritten.
 */
static double sparse_residual(struct sparse_set *s, double *gap) {
  double price, worst = 0.0;
  const long taken = sparse_oracle(s, s->h, &price);
  *gap = 0.0;
  for (long j = 0; j < s->count; j++) {
    const unsigned char *member = sparse_member(s, j);
    double below = (price + s->shift) * (double)(taken - s->sizes[j]);
    for (long i = 0; i < s->d; i++) below += (double)((int)s->best[i] - (int)member[i]) * (s->h[i] - price);
    s->r[j] = below;
    *gap += s->p[j] * below;
  }
  for (long j = 0; j < s->count; j++)
    if (fabs(s->r[j] - *gap) > worst) worst = fabs(s->r[j] - *gap);
  return worst > *gap ? worst : *gap;
}

/* The first member is the best by `start`. What a binding budget takes away from every score is taken from them
 * beforehand. */
static void sparse_start(struct sparse_set *s, const real *scores, const real *start) {
  double price;
  s->shift = 0.0;
  for (long i = 0; i < s->d; i++) s->h[i] = (double)start[i];
  sparse_oracle(s, s->h, &price);
  memcpy(sparse_member(s, 0), s->best, (size_t)s->d);
  for (long i = 0; i < s->d; i++) s->t[i] = (double)scores[i];
  sparse_oracle(s, s->t, &price);
  if (price > 0.0) {
    for (long i = 0; i < s->d; i++) s->t[i] -= price;
    s->shift = price;
  }
  s->count = 0;
  sparse_grow(s);
  s->p[0] = 1.0;
}

static int sparse_is_active(const struct sparse_set *s) {
  for (long j = 0; j < s->count; j++)
    if (memcmp(sparse_member(s, j), s->best, (size_t)s->d) == 0) return 1;
  return 0;
}

static long sparse_run(struct sparse_set *s, double *residual, int *found) {
  const long most = SPARSE_ROUNDS * (s->d + 1);
  long round = 1;
  *found = 0;
  for (; round <= most; round++) {
    double gap;
    const int step = sparse_step(s);
    if (step == SPARSE_LEFT) continue;
    sparse_gradient(s);
    *residual = sparse_residual(s, &gap);
    *found = step == SPARSE_STUCK || gap <= sparse_tolerance || sparse_is_active(s);
    if (*found) break;
    memcpy(sparse_member(s, s->count), s->best, (size_t)s->d);
    *found = s->count > s->d || !sparse_grow(s);
    if (*found) break;
  }
  return round;
}

static long sparse_give(const struct sparse_set *s, spm_word *members, real *weights) {
  long kept = 0;
  for (long j = 0; j < s->count; j++) {
    if (!(s->p[j] > 0.0)) continue;
    spm_word *member = members + kept * s->words;
    memset(member, 0, (size_t)s->words * sizeof *member);
    for (long i = 0; i < s->d; i++)
      if (sparse_member(s, j)[i]) sparse_put(member, i, 1);
    weights[kept++] = (real)s->p[j];
  }
  return kept;
}

long SPM_K(sparsemap)(long d, long budget, const real *scores, const real *start, spm_word *members, real *weights,
                      struct spm_sparse_report *report, void *work) {
  double residual = 0.0;
  int found;
  if (d < 1 || budget < 0) return SPM_SPARSE_BAD_SIZE;
  if (!sparse_finite(d, scores) || !sparse_finite(d, start)) return SPM_SPARSE_NOT_FINITE;
  struct sparse_set s = sparse_set_at(d, budget, work);
  sparse_start(&s, scores, start);
  const long rounds = sparse_run(&s, &residual, &found);
  const long count = sparse_give(&s, members, weights);
  if (report) *report = (struct spm_sparse_report){residual, rounds, count, found};
  return found ? count : SPM_SPARSE_NOT_FOUND;
}

/* v = S^-1 g - (1' S^-1 g) / (1' S^-1 1) S^-1 1, and from it the sum over members that have the bit. */
int SPM_K(sparsemap_back)(long d, long count, const spm_word *members, const real *weight_adjoints,
                          real *score_adjoints, void *work) {
  struct sparse_set s = sparse_set_at(d, d, work);
  double sum_g = 0.0, sum_one = 0.0;
  for (long j = 0; j < count; j++) {
    for (long i = 0; i < d; i++) sparse_member(&s, j)[i] = (unsigned char)spm_sparse_bit(members + j * s.words, i);
    if (j > d || !sparse_grow(&s)) return SPM_SPARSE_NOT_FOUND;
  }
  for (long j = 0; j < count; j++) s.r[j] = (double)weight_adjoints[j], s.u[j] = 1.0;
  sparse_solve(&s, s.r, count);
  sparse_solve(&s, s.u, count);
  for (long j = 0; j < count; j++) sum_g += s.r[j], sum_one += s.u[j];
  for (long i = 0; i < d; i++) s.h[i] = 0.0;
  for (long j = 0; j < count; j++) {
    const double v = s.r[j] - sum_g / sum_one * s.u[j];
    for (long i = 0; i < d; i++) s.h[i] += v * (double)sparse_member(&s, j)[i];
  }
  for (long i = 0; i < d; i++) score_adjoints[i] = (real)s.h[i];
  return 0;
}

/* --- rows --- */

long SPM_K(top_k_sparsemax_rows)(long rows, long d, long k, const real *scores, spm_word *members, real *weights,
                                 long *counts, struct spm_sparse_report *reports, void *work) {
  const long size = k * spm_sparse_words(d);
  for (long row = 0; row < rows; row++) {
    counts[row] = SPM_K(top_k_sparsemax)(d, k, scores + row * d, members + row * size, weights + row * k,
                                         reports ? reports + row : 0, work);
    if (counts[row] < 0) return row;
  }
  return -1;
}

long SPM_K(sparsemap_rows)(long rows, long d, long budget, const real *scores, spm_word *members, real *weights,
                           long *counts, struct spm_sparse_report *reports, void *work) {
  const long most = d + 1, size = most * spm_sparse_words(d);
  for (long row = 0; row < rows; row++) {
    counts[row] = SPM_K(sparsemap)(d, budget, scores + row * d, scores + row * d, members + row * size,
                                   weights + row * most, reports ? reports + row : 0, work);
    if (counts[row] < 0) return row;
  }
  return -1;
}

/* --- tables of reals: a line a member, its bits and then its weight --- */

static void *sparse_aligned(void *memory) {
  const uintptr_t size = sizeof(double);
  return (void *)(((uintptr_t)memory + size - 1) / size * size);
}

/* `count` members, and lines of 0 up to `most`; without a result, weights that are NaN. */
static void sparse_table(long d, long most, long count, const spm_word *members, const real *weights, real *out) {
  for (long j = 0; j < most; j++, out += d + 1) {
    for (long i = 0; i < d; i++) out[i] = (real)(j < count && spm_sparse_bit(members + j * spm_sparse_words(d), i));
    out[d] = count < 0 ? (real)NAN : j < count ? weights[j] : (real)0.0;
  }
}

void SPM_K(top_k_members)(long n, long m, real *out, real *room, const real *scores) {
  char *memory = sparse_aligned(room);
  void *work = memory + (size_t)(m * spm_sparse_words(n)) * sizeof(spm_word);
  spm_word *members = (spm_word *)(void *)memory;
  real *weights = (real *)(void *)((char *)work + spm_top_k_room(n, m));
  const long count = SPM_K(top_k_sparsemax)(n, m, scores, members, weights, 0, work);
  sparse_table(n, m, count, members, weights, out);
}

void SPM_K(sparsemap_members)(long n, long m, real *out, real *room, const real *scores, const real *start) {
  char *memory = sparse_aligned(room);
  void *work = memory + (size_t)((n + 1) * spm_sparse_words(n)) * sizeof(spm_word);
  spm_word *members = (spm_word *)(void *)memory;
  real *weights = (real *)(void *)((char *)work + spm_sparsemap_room(n));
  struct spm_sparse_report report;
  long count = SPM_K(sparsemap)(n, m, scores, start, members, weights, &report, work);
  if (count == SPM_SPARSE_NOT_FOUND) count = report.kept; /* feasible, and as good as it could be made */
  sparse_table(n, n + 1, count, members, weights, out);
}

void SPM_K(sparsemap_slope)(long n, long m, real *out, real *room, const real *table, const real *adjoints) {
  const long d = n - 1, words = spm_sparse_words(d);
  char *memory = sparse_aligned(room);
  void *work = memory + (size_t)(m * words) * sizeof(spm_word);
  spm_word *members = (spm_word *)(void *)memory;
  real *kept = (real *)(void *)((char *)work + spm_sparsemap_room(d));
  long count = 0;
  for (long j = 0; j < m; j++) {
    const real *line = table + j * n;
    if (line[d] == 0) continue;
    for (long i = 0; i < d; i++) sparse_put(members + count * words, i, line[i] != 0);
    kept[count++] = adjoints[j];
  }
  if (SPM_K(sparsemap_back)(d, count, members, kept, out, work) == 0) return;
  for (long i = 0; i < d; i++) out[i] = (real)NAN;
}
