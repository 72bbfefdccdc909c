/* Subsets of a given size whose log probability is the sum of their members' logits, up to a constant: sums over all of
 * them by the recursion over members (Ahmed et al. 2023, "SIMPLE"), in O(n m). Not e_j, the sum over subsets of size j,
 * is carried along but its ratio e_j / e_(j-1): it needs no logarithms, neither cancels nor overflows, and gives the
 * probability that the next member is in, r / (ratio + r) with r = exp(logit). Requires and leaves what kernels.h says.
 */
#include "kernels.h"
#include "vmath.h"

#include <float.h>
#include <math.h>

#ifdef SPM_DOUBLE
#define FARTHEST 650 /* a logit from the middle of all of them; beyond that it makes no difference in a real */
#else
#define FARTHEST 75
#endif

static real middle_of(long n, const real *a) {
  real low = a[0], high = a[0];
  for (long k = 1; k < n; k++) {
    low = a[k] < low ? a[k] : low;
    high = a[k] > high ? a[k] : high;
  }
  return low / 2 + high / 2;
}

static real odds(real logit, real centre) {
  real distance = logit - centre;
  distance = distance > FARTHEST ? FARTHEST : distance < -FARTHEST ? -FARTHEST : distance;
  return vm_exp(distance);
}

/* One member more: the ratios of sizes 1 .. m - 1. leave[j]: that it is out, given that j of all so far are in. */
static void step_ratios(long m, real *after, real *leave, const real *before, real r) {
  leave[0] = 1;
  for (long j = 1; j < m; j++) leave[j] = before[j] / (before[j] + r);
  for (long j = 1; j < m; j++) after[j] = (before[j] + r) * leave[j - 1];
}

/* The mean of what the members are worth, given that j are in. */
static void step_means(long m, real *after, const real *leave, const real *before, real worth) {
  for (long j = 1; j < m; j++) after[j] = leave[j] * before[j] + (1 - leave[j]) * (before[j - 1] + worth);
}

static void clear(long n, real *a) {
  for (long i = 0; i < n; i++) a[i] = 0;
}

/* All ratios, [n + 1, m]: line k holds those of the first k members. */
static void all_ratios(long n, long m, real *ratios, real *leave, const real *a, real centre) {
  clear(m, ratios);
  ratios[0] = 0;
  for (long k = 0; k < n; k++) {
    ratios[(k + 1) * m] = 0;
    step_ratios(m, ratios + (k + 1) * m, leave, ratios + k * m, odds(a[k], centre));
  }
}

void SPM_K(subset_moments)(long n, long m, real *out, real *room, const real *a, const real *c) {
  real *ratios[2] = {room, room + m}, *means[2] = {room + 2 * m, room + 3 * m}, *leave = room + 4 * m;
  const real centre = middle_of(n, a);
  clear(4 * m, room);
  for (long k = 0; k < n; k++) {
    step_ratios(m, ratios[(k + 1) & 1], leave, ratios[k & 1], odds(a[k], centre));
    step_means(m, means[(k + 1) & 1], leave, means[k & 1], c[k]);
  }
  double total = 0;
  for (long j = 0; j < m; j++) {
    if (j > 0 && j <= n) total += (double)vm_log(ratios[n & 1][j]) + (double)centre;
    out[j] = j <= n ? (real)total : (real)-1e30;
    out[m + j] = j <= n ? means[n & 1][j] : 0;
  }
}

/* Back through the members: of_sum[j] and of_mean[j] are the adjoints of log e_j and of the mean, given j of those up
 * to this one, and become those of the ones before. */
void SPM_K(subset_moments_slope)(long n, long m, real *out, real *room, const real *a, const real *c, const real *g) {
  real *ratios = room, *means = ratios + (n + 1) * m, *of_sum = means + (n + 1) * m, *of_mean = of_sum + m + 1;
  real *leave = of_mean + m + 1, *moved = leave + m, *moved_mean = moved + m + 1;
  const real centre = middle_of(n, a);
  clear((n + 1) * m, means);
  all_ratios(n, m, ratios, leave, a, centre);
  for (long j = 0; j <= m; j++) {
    of_sum[j] = j < m && j <= n ? g[j] : 0;
    of_mean[j] = j < m && j <= n ? g[m + j] : 0;
    moved[j] = moved_mean[j] = 0;
  }
  for (long k = 0; k < n; k++) {
    const real r = odds(a[k], centre);
    leave[0] = 1;
    for (long j = 1; j < m; j++) leave[j] = ratios[k * m + j] / (ratios[k * m + j] + r);
    step_means(m, means + (k + 1) * m, leave, means + k * m, c[k]);
  }
  for (long k = n - 1; k >= 0; k--) {
    const real r = odds(a[k], centre), *ratio = ratios + k * m, *mean = means + k * m;
    for (long j = 1; j < m; j++) { /* what moves from size j to size j - 1 */
      const real enter = r / (ratio[j] + r), stay = ratio[j] / (ratio[j] + r);
      const real turned = of_mean[j] * enter * stay * (mean[j - 1] + c[k] - mean[j]);
      leave[j] = turned;
      moved[j] = of_sum[j] * enter + turned;
      moved_mean[j] = of_mean[j] * enter;
      of_sum[j] = of_sum[j] * stay;
      of_mean[j] = of_mean[j] * stay;
    }
    out[k] = SPM_K(sum)(m - 1, moved + 1);
    out[n + k] = SPM_K(sum)(m - 1, moved_mean + 1);
    of_sum[0] += moved[1];
    of_mean[0] += moved_mean[1];
    for (long j = 1; j < m; j++) {
      of_sum[j] += moved[j + 1] - leave[j];
      of_mean[j] += moved_mean[j + 1];
    }
  }
}

void SPM_K(subset_inclusion)(long n, long m, real *out, real *room, const real *a, const real *weight) {
  real *ratios = room, *left = ratios + (n + 1) * m, *moved = left + m + 1;
  const real centre = middle_of(n, a);
  all_ratios(n, m, ratios, moved, a, centre);
  for (long j = 0; j <= m; j++) {
    left[j] = j < m && j <= n ? weight[j] : 0;
    moved[j] = 0;
  }
  for (long k = n - 1; k >= 0; k--) {
    const real r = odds(a[k], centre), *ratio = ratios + k * m;
    for (long j = 1; j < m; j++) {
      moved[j] = left[j] * (r / (ratio[j] + r));
      left[j] = left[j] * (ratio[j] / (ratio[j] + r));
    }
    out[k] = SPM_K(sum)(m - 1, moved + 1);
    left[0] += moved[1];
    for (long j = 1; j < m; j++) left[j] += moved[j + 1];
  }
}

void SPM_K(subset_draw)(long n, long m, real *out, real *room, const real *a, const real *u, const real *size) {
  const real centre = middle_of(n, a);
  long most = m - 1 < n ? m - 1 : n, left = *size >= (real)most ? most : *size > 0 ? (long)(*size + (real)0.5) : 0;
  all_ratios(n, m, room, room + (n + 1) * m, a, centre);
  for (long k = n - 1; k >= 0; k--) {
    const real r = odds(a[k], centre);
    const int in = left > 0 && u[k] < r / (room[k * m + left] + r);
    out[k] = (real)in;
    left -= in;
  }
}

/* A pick by softmax(s), s = scale (keys + left): of a line with its largest element apart, so that what is left of that
 * keeps its digits however sure the pick is. */
typedef struct Pick {
  long first;        /* the largest */
  real ahead;        /* s of it, less the log of the others' sum of exp(s) */
  real share, among; /* the others' probabilities are e * share; e sums to this */
} Pick;

/* e: exp(s) in proportion, and 0 for the largest. */
static Pick weigh(long n, real *e, const real *keys, const real *left, real scale) {
  Pick pick = {0};
  for (long i = 0; i < n; i++) e[i] = scale * (keys[i] + left[i]);
  const real top = SPM_K(maximum)(n, e);
  while (pick.first < n - 1 && e[pick.first] != top) pick.first++;
  e[pick.first] = -INFINITY;
  real next = SPM_K(maximum)(n, e);
  next = next < -FLT_MAX ? (real)-1e30 : next; /* there is no other */
  for (long i = 0; i < n; i++) e[i] = vm_exp(e[i] - next);
  pick.among = SPM_K(sum)(n, e);
  pick.among = pick.among == 0 ? 1 : pick.among;
  pick.ahead = top - next - vm_log(pick.among);
  pick.share = vm_sigmoid(-pick.ahead) / pick.among;
  return pick;
}

void SPM_K(picks_left)(long n, long m, real *out, real *room, const real *keys, const real *scale) {
  clear(n, out);
  for (long l = 0; l < m - 1; l++) {
    const real *left = out + l * n;
    real *next = out + (l + 1) * n;
    const Pick pick = weigh(n, room, keys, left, *scale);
    for (long i = 0; i < n; i++) next[i] = left[i] + vm_log1p(-pick.share * room[i]);
    next[pick.first] = left[pick.first] - vm_softplus(pick.ahead);
  }
}

/* Back through the picks; c: the adjoint of what the pick leaves. Of log(1 - p_i) in s_j it is p_j p_i / (1 - p_i),
 * less p_i / (1 - p_i) for i = j; that of the largest by its odds among the others. */
void SPM_K(picks_left_slope)(long n, long m, real *out, real *room, const real *keys, const real *left, const real *g,
                             const real *scale) {
  real *e = room, *c = room + n, *part = room + 2 * n;
  clear(n + 1, out);
  for (long i = 0; i < n; i++) c[i] = g[(m - 1) * n + i];
  for (long l = m - 2; l >= 0; l--) {
    const Pick pick = weigh(n, e, keys, left + l * n, *scale);
    const real taken = vm_sigmoid(pick.ahead), of_first = c[pick.first];
    for (long i = 0; i < n; i++) part[i] = c[i] * (e[i] * pick.share / (1 - e[i] * pick.share));
    const real all = SPM_K(sum)(n, part), each = all * pick.share + of_first * taken / pick.among;
    for (long i = 0; i < n; i++) part[i] = e[i] * each - part[i]; /* the adjoint of s */
    part[pick.first] = taken * (all - of_first);
    for (long i = 0; i < n; i++) {
      out[i] += *scale * part[i];
      c[i] += *scale * part[i] + g[l * n + i];
      part[i] = part[i] != 0 ? part[i] * (keys[i] + left[l * n + i]) : 0;
    }
    out[n] += SPM_K(sum)(n, part);
  }
}
