/* Subsets of a given size whose log probability is the sum of their members' logits, up to a constant: sums over all of
 * them by the recursion over members (Ahmed et al. 2023, "SIMPLE"), in O(n m). Not e_j, the sum over subsets of size j,
 * is carried along but its ratio e_j / e_(j-1): it needs no logarithms, neither cancels nor overflows, and gives the
 * probability that the next member is in, r / (ratio + r) with r = exp(logit). And subsets by picks without
 * replacement, one after the other, each by softmax among what those before it left (Xie and Ermon 2019). Requires and
 * leaves what kernels.h says. */
#include "kernels.h"
#include "vmath.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

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

/* A pick by softmax(scale (keys + left)), or of the largest where scale is 0, with the largest apart: what is left of
 * that keeps its digits however sure the pick is. */
typedef struct Pick {
  long first;         /* the largest */
  real ahead;         /* its exponent, less the log of the others' sum of exponentials */
  real taken, others; /* its probability, and that of all others */
  real among, share;  /* e sums to the one and, times the other, holds their probabilities */
} Pick;

static real scale_of(real temperature) { return temperature > 0 ? 1 / temperature : 0; }

/* Picks there are: no more than members. */
static long picks_of(long n, long m) { return m < n ? m : n; }

/* e is 0 for the largest. */
static Pick weigh(long n, real *e, const real *keys, const real *left, real scale) {
  Pick pick = {.taken = 1, .among = 1};
  for (long i = 0; i < n; i++) e[i] = keys[i] + left[i];
  const real top = SPM_K(maximum)(n, e);
  while (pick.first < n - 1 && e[pick.first] != top) pick.first++;
  if (scale == 0) {
    clear(n, e);
    return pick;
  }
  e[pick.first] = -INFINITY;
  real next = SPM_K(maximum)(n, e);
  next = next < -FLT_MAX ? (real)-1e30 : next; /* there is no other */
  for (long i = 0; i < n; i++) e[i] = vm_exp(scale * (e[i] - next));
  pick.among = SPM_K(sum)(n, e);
  pick.among = pick.among == 0 ? 1 : pick.among;
  pick.ahead = scale * (top - next) - vm_log(pick.among);
  pick.taken = vm_sigmoid(pick.ahead);
  pick.others = vm_sigmoid(-pick.ahead);
  pick.share = pick.others / pick.among;
  return pick;
}

/* What the pick leaves; `next` may be `left`. */
static void left_after(long n, real *next, const real *left, const real *e, const Pick *pick, real scale) {
  const real of_first = left[pick->first] - (scale == 0 ? (real)1e30 : vm_softplus(pick->ahead));
  for (long i = 0; i < n; i++) next[i] = left[i] + vm_log1p(-pick->share * e[i]);
  next[pick->first] = of_first;
}

/* Multiplies by what the pick does not take, as far as its gate is open. */
static void missed_by(long n, real *out, const real *product, const real *e, const Pick *pick, real gate) {
  const real of_first = product[pick->first] * (1 - gate * pick->taken);
  for (long i = 0; i < n; i++) out[i] = product[i] * (1 - gate * (pick->share * e[i]));
  out[pick->first] = of_first;
}

void SPM_K(relaxed_subset)(long n, long m, real *out, real *room, const real *keys, const real *gates,
                           const real *temperature) {
  real *left = room, *e = room + n;
  const real scale = scale_of(*temperature);
  clear(n, left);
  for (long i = 0; i < n; i++) out[i] = 1;
  m = picks_of(n, m);
  for (long l = 0; l < m; l++) {
    const Pick pick = weigh(n, e, keys, left, scale);
    missed_by(n, out, out, e, &pick, gates[l]);
    if (l < m - 1) left_after(n, left, left, e, &pick, scale);
  }
  for (long i = 0; i < n; i++) out[i] = 1 - out[i];
}

/* The adjoint c of what a pick leaves becomes that of what it found, and those of keys and scale are added to; h: that
 * of its probabilities, or NULL. Of log(1 - p_i) in s_j it is p_j p_i / (1 - p_i), less p_i / (1 - p_i) for i = j; for
 * the largest, by the others' odds among themselves. */
static void turn_back(long n, real *c, real *of_keys, real *of_scale, real *part, const real *e, const real *h,
                      const Pick *pick, const real *keys, const real *left, real scale) {
  const real c_first = c[pick->first], h_first = h != NULL ? h[pick->first] : 0, share = pick->share;
  for (long i = 0; i < n; i++) part[i] = c[i] * (e[i] * share / (1 - e[i] * share));
  if (h != NULL)
    for (long i = 0; i < n; i++) part[i] -= h[i] * (e[i] * share);
  const real all = SPM_K(sum)(n, part), taken = pick->taken;
  const real each = share * (all - h_first * taken) + c_first * taken / pick->among;
  for (long i = 0; i < n; i++) part[i] = e[i] * each - part[i];
  part[pick->first] = taken * (all - c_first + h_first * pick->others);
  for (long i = 0; i < n; i++) {
    of_keys[i] += scale * part[i];
    c[i] += scale * part[i];
    part[i] = part[i] != 0 ? part[i] * (keys[i] + left[i]) : 0;
  }
  *of_scale += SPM_K(sum)(n, part);
}

/* In memory, for the way back. */
static void keep_pick(real *kept, const Pick *pick) {
  kept[0] = (real)pick->first, kept[1] = pick->taken, kept[2] = pick->others, kept[3] = pick->among;
}

static Pick kept_pick(const real *kept) {
  return (Pick){
      .first = (long)kept[0], .taken = kept[1], .others = kept[2], .among = kept[3], .share = kept[2] / kept[3]};
}

void SPM_K(relaxed_subset_slope)(long n, long m, real *out, real *room, const real *keys, const real *gates,
                                 const real *temperature, const real *g) {
  real *left = room, *e = left + m * n, *before = e + m * n; /* the product over the picks before, and after */
  real *of_scale = out + n + m;
  real *after = before + m * n, *c = after + n, *part = c + n, *kept = part + n;
  const real scale = scale_of(*temperature);
  clear(n, left);
  clear(n, c);
  clear(n + m + 1, out);
  m = picks_of(n, m);
  for (long i = 0; i < n; i++) before[i] = after[i] = 1;
  for (long l = 0; l < m; l++) {
    const Pick pick = weigh(n, e + l * n, keys, left + l * n, scale);
    keep_pick(kept + 4 * l, &pick);
    if (l == m - 1) break;
    missed_by(n, before + (l + 1) * n, before + l * n, e + l * n, &pick, gates[l]);
    left_after(n, left + (l + 1) * n, left + l * n, e + l * n, &pick, scale);
  }
  for (long l = m - 1; l >= 0; l--) {
    const Pick pick = kept_pick(kept + 4 * l);
    real *h = before + l * n, *p = e + l * n;
    for (long i = 0; i < n; i++) h[i] = g[i] * h[i] * after[i];
    for (long i = 0; i < n; i++) part[i] = h[i] * (pick.share * p[i]);
    part[pick.first] = h[pick.first] * pick.taken;
    out[n + l] = SPM_K(sum)(n, part);
    for (long i = 0; i < n; i++) h[i] = h[i] * gates[l];
    missed_by(n, after, after, p, &pick, gates[l]);
    turn_back(n, c, out, of_scale, part, p, h, &pick, keys, left + l * n, scale);
  }
  *of_scale *= -scale * scale;
}

/* exp(a + left) in proportion: times exp(from). */
typedef struct Weights {
  real *x, from, sum;
} Weights;

static void weights_afresh(long n, Weights *w, const real *a, const real *left) {
  for (long i = 0; i < n; i++) w->x[i] = a[i] + left[i];
  w->from = SPM_K(maximum)(n, w->x);
  w->from = w->from < -FLT_MAX ? (real)-1e30 : w->from; /* minus infinity, all of them */
  for (long i = 0; i < n; i++) w->x[i] = vm_exp(w->x[i] - w->from);
  w->sum = SPM_K(sum)(n, w->x);
}

/* What is left after a pick, written to `to`: without exponentials, unless most of the weight is gone. */
static void weights_after(long n, Weights *w, real *to, const real *a, const real *left, const real *e,
                          const Pick *pick) {
  const real of_first = w->x[pick->first] * pick->others;
  for (long i = 0; i < n; i++) to[i] = w->x[i] * (1 - pick->share * e[i]);
  to[pick->first] = of_first;
  w->x = to;
  w->sum = SPM_K(sum)(n, to);
  if (!(w->sum > (real)0.01)) weights_afresh(n, w, a, left);
}

void SPM_K(picks_kl)(long n, long m, real *out, real *room, const real *keys, const real *a, const real *b,
                     const real *temperature) {
  real *left = room, *e = left + n;
  Weights q = {.x = e + n}, r = {.x = e + 2 * n};
  const real scale = scale_of(*temperature);
  clear(n, left);
  clear(m, out);
  m = picks_of(n, m);
  weights_afresh(n, &q, a, left);
  weights_afresh(n, &r, b, left);
  for (long l = 0; l < m; l++) {
    const real gap = q.from - r.from + (vm_log(q.sum) - vm_log(r.sum));
    for (long i = 0; i < n; i++) e[i] = q.x[i] * (a[i] - b[i] - gap);
    out[l] = SPM_K(sum)(n, e) / q.sum;
    if (l == m - 1) break;
    const Pick pick = weigh(n, e, keys, left, scale);
    left_after(n, left, left, e, &pick, scale);
    weights_after(n, &q, q.x, a, left, e, &pick);
    weights_after(n, &r, r.x, b, left, e, &pick);
  }
}

/* Of a pick's KL with q = softmax(a + left) and r = softmax(b + left): q (a - b - their mean) in a, r - q in b, and
 * both of these in what is left. */
void SPM_K(picks_kl_slope)(long n, long m, real *out, real *room, const real *keys, const real *a, const real *b,
                           const real *temperature, const real *g) {
  real *left = room, *e = left + m * n, *qs = e + m * n, *rs = qs + m * n, *c = rs + m * n, *part = c + n;
  real *kept = part + n;
  Weights q = {.x = qs}, r = {.x = rs};
  const real scale = scale_of(*temperature);
  clear(n, left);
  clear(n, c);
  clear(3 * n + 1, out);
  m = picks_of(n, m);
  weights_afresh(n, &q, a, left);
  weights_afresh(n, &r, b, left);
  for (long l = 0; l < m - 1; l++) {
    const Pick pick = weigh(n, e + l * n, keys, left + l * n, scale);
    keep_pick(kept + 4 * l, &pick);
    left_after(n, left + (l + 1) * n, left + l * n, e + l * n, &pick, scale);
    weights_after(n, &q, qs + (l + 1) * n, a, left + (l + 1) * n, e + l * n, &pick);
    weights_after(n, &r, rs + (l + 1) * n, b, left + (l + 1) * n, e + l * n, &pick);
  }
  for (long l = m - 1; l >= 0; l--) {
    const real *of_a = qs + l * n, *of_b = rs + l * n;
    if (l < m - 1 && scale > 0) {
      const Pick pick = kept_pick(kept + 4 * l);
      turn_back(n, c, out, out + 3 * n, part, e + l * n, NULL, &pick, keys, left + l * n, scale);
    }
    const real sum = SPM_K(sum)(n, of_a), in_q = g[l] / sum, in_r = g[l] / SPM_K(sum)(n, of_b);
    for (long i = 0; i < n; i++) part[i] = of_a[i] * (a[i] - b[i]);
    const real mean = SPM_K(sum)(n, part) / sum;
    for (long i = 0; i < n; i++) {
      const real in_a = in_q * of_a[i] * (a[i] - b[i] - mean), in_b = in_r * of_b[i] - in_q * of_a[i];
      out[n + i] += in_a;
      out[2 * n + i] += in_b;
      c[i] += in_a + in_b;
    }
  }
  out[3 * n] *= -scale * scale;
}
