/* Sparse distributions over bit vectors from a score for each bit: top-k sparsemax and SparseMAP. One row a call:
 * scores in; the members of the support with their weights out. All memory is the caller's, nothing is kept between
 * calls, and threads may call at once. What is computed is double inside, for float and for double (SPM_K).
 *
 * A member is d bits packed into spm_sparse_words(d) words, bit i being bit i % 64 of word i / 64; members stand one
 * after the other. Weights are positive and sum to 1, the largest parts first in top-k sparsemax, in no order in
 * SparseMAP.
 *
 * Sources: Correia, Niculae, Aziz and Martins 2020 (the two as layers); Kyrillidis et al. 2013 (projection onto sparse
 * points of the simplex); Niculae et al. 2018 (SparseMAP by an active set). */
#ifndef SPM_SPARSE_H
#define SPM_SPARSE_H

#include "real.h"

#include <stddef.h>

typedef unsigned long long spm_word;
enum { SPM_WORD_BITS = 64 };

/* Instead of the number of members. */
enum { SPM_SPARSE_NOT_FINITE = -1, SPM_SPARSE_BAD_SIZE = -2, SPM_SPARSE_NOT_FOUND = -3 };

struct spm_sparse_report {
  double residual; /* of the optimality conditions: 0 for top-k sparsemax */
  long rounds;     /* of the active set */
  long kept;       /* members, also where too many rounds were not enough */
  int exact;       /* the weights are those over all bit vectors: top-k sparsemax proves it where it can */
};

static inline long spm_sparse_words(long d) { return (d + SPM_WORD_BITS - 1) / SPM_WORD_BITS; }
static inline int spm_sparse_bit(const spm_word *member, long i) {
  return (int)(member[i / SPM_WORD_BITS] >> (i % SPM_WORD_BITS) & 1);
}
/* A member as d reals, 0 or 1. */
void SPM_K(sparse_bits)(long d, const spm_word *member, real *out);

/* The sparsemax of the scores <a, t> of the k best of all 2^d bit vectors a: argmin ||p - scores||^2 over the simplex,
 * with at most k entries that are not 0. O(k d). members: k, weights: k. `work`: spm_top_k_room(d, k) bytes, aligned
 * for doubles. d >= 1, k >= 1. Returns how many members there are, at least 1, or NOT_FINITE, BAD_SIZE. */
static inline size_t spm_top_k_room(long d, long k) {
  return 2 * (size_t)k * (sizeof(double) + (size_t)spm_sparse_words(d) * sizeof(spm_word));
}
long SPM_K(top_k_sparsemax)(long d, long k, const real *scores, spm_word *members, real *weights,
                            struct spm_sparse_report *report, void *work);
/* The adjoint of the scores, [d], from those of the weights, [count]: set, not added to. */
void SPM_K(top_k_sparsemax_back)(long d, long count, const spm_word *members, const real *weight_adjoints,
                                 real *score_adjoints);

/* SparseMAP: p over bit vectors with at most `budget` bits set, argmax <t, mu> - 1/2 ||M p||^2 where M p are the
 * marginals mu of the bits and 1 - mu of their opposites; mu is unique, clip((t + 1) / 2 - lambda, 0, 1). p, which
 * is not, is found by an active set from the best bit vector of the scores `start` on: at most d + 1 members. members:
 * d + 1, weights: d + 1. `work`: spm_sparsemap_room(d) bytes, aligned for doubles. d >= 1, 0 <= budget; d or more is no
 * budget. Returns how many members there are, or NOT_FINITE, BAD_SIZE, or NOT_FOUND where too many rounds were not
 * enough (the weights are feasible then and report->residual says how far off). The report may be NULL. */
static inline size_t spm_sparsemap_room(long d) {
  const size_t n = (size_t)d, most = n + 2;
  return (4 * n + most * (most + 1) / 2 + 4 * most) * sizeof(double) + most * sizeof(long) + (most + 1) * n;
}
long SPM_K(sparsemap)(long d, long budget, const real *scores, const real *start, spm_word *members, real *weights,
                      struct spm_sparse_report *report, void *work);
/* The adjoint of the scores, [d], with the support held. Returns 0, or NOT_FOUND where the members are not affinely
 * independent (those of spm_sparsemap are). `work` as above. */
int SPM_K(sparsemap_back)(long d, long count, const spm_word *members, const real *weight_adjoints,
                          real *score_adjoints, void *work);

/* Reals of memory that the kernels of kernels.h work in. */
static inline long spm_members_room(long d, long members, size_t work) {
  const size_t count = (size_t)members, words = (size_t)spm_sparse_words(d);
  return (long)((count * words * sizeof(spm_word) + work) / sizeof(float) + count + 4);
}

/* The same for `rows` rows of scores [rows, d], the active set's start at the best: members [rows, most, words],
 * weights [rows, most], counts [rows], with most = k, or d + 1. reports: [rows], or NULL. One work area. Returns -1, or
 * the first row without a result (whose count says why; the rows before it are done). */
long SPM_K(top_k_sparsemax_rows)(long rows, long d, long k, const real *scores, spm_word *members, real *weights,
                                 long *counts, struct spm_sparse_report *reports, void *work);
long SPM_K(sparsemap_rows)(long rows, long d, long budget, const real *scores, spm_word *members, real *weights,
                           long *counts, struct spm_sparse_report *reports, void *work);

#endif
