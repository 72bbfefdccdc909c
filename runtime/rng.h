/* Random numbers as a pure function of where they are used. C99, needs libm's sqrt alone: pasted into emitted trainers.
 *
 * Noise is made by Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) from a key, which
 * is a mix of seed and stream, and a counter, which holds step, row, sample, inner step and element. So any split of
 * rows into calls, tiles, threads or ranks draws the same numbers, and so do float, double and the interpreter: all
 * numbers are made in float and widened. The bits are the same from every compiler as long as contraction and
 * -ffast-math are off. */
#ifndef SPM_RNG_H
#define SPM_RNG_H

#include <stdint.h>

/* One block: counter -> four words. */
void spm_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Fill out[r * row_stride + e] for r < rows, e < n with the noise of row first_row + r, element e. Rows count modulo
 * 2^32; sample and inner (the class or inner step within a row's sample) lie below 2^16, and n below 2^34.
 * kind SPM_UNIFORM: (k + 1/2) / 2^23 with 0 <= k < 2^23, so never 0 or 1. SPM_NORMAL: mean 0, variance 1, tails to 6.3, by the
 * inverse distribution function, so each comes from one word and is symmetric to the bit. */
void spm_noise_f(int kind, unsigned long long seed, unsigned stream, unsigned step, long first_row, long rows,
                 unsigned sample, unsigned inner, long n, float *out, long row_stride);
void spm_noise_d(int kind, unsigned long long seed, unsigned stream, unsigned step, long first_row, long rows,
                 unsigned sample, unsigned inner, long n, double *out, long row_stride);

/* A stream of words, for what is drawn one after the other. */
struct spm_random {
  uint32_t key[2];
  uint64_t position; /* words drawn so far */
};
void spm_random_start(struct spm_random *random, uint64_t seed, uint64_t stream);
uint64_t spm_random_word(struct spm_random *random);
uint64_t spm_random_below(struct spm_random *random,
                          uint64_t bound); /* 0 to bound - 1, all equally likely; bound > 0 */
/* An epoch's order: a permutation of 0 to count - 1 that depends on seed, epoch and count alone. */
void spm_shuffle(long *order, long count, uint64_t seed, long epoch);
/* What one datum gathers: `wanted` distinct numbers below `count`, which is no smaller, each list of them equally
 * likely. draw: 0 in evaluation, 1 + the step in training. */
void spm_draw_distinct(long *drawn, long wanted, long count, uint64_t seed, unsigned draw, long datum);

#endif
