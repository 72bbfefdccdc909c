/* Philox4x32-10, counter -> four words, and how seeds become its keys. What rng.c and kernels_noise.c share: see rng.h.
 */
#ifndef SPM_PHILOX_H
#define SPM_PHILOX_H

#include <stdint.h>

/* What keys are made for: noise and word streams of the same seed and number have nothing in common. */
enum { KEY_OF_NOISE = 1, KEY_OF_WORDS = 2 };

static inline void philox_round(uint32_t c[4], uint32_t k0, uint32_t k1) {
  uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
  uint32_t c1 = c[1], c3 = c[3];
  c[0] = (uint32_t)(b >> 32) ^ c1 ^ k0;
  c[1] = (uint32_t)b;
  c[2] = (uint32_t)(a >> 32) ^ c3 ^ k1;
  c[3] = (uint32_t)a;
}

static inline void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
  for (uint32_t round = 0; round < 10; round++) philox_round(c, k0 + round * 0x9E3779B9u, k1 + round * 0xBB67AE85u);
}

/* Seed, stream and purpose are more than a key holds: a block of their own mixes them into one. */
static inline void make_key(uint64_t seed, uint64_t stream, uint32_t purpose, uint32_t key[2]) {
  uint32_t c[4] = {(uint32_t)stream, (uint32_t)(stream >> 32), 0, purpose};
  philox(c, (uint32_t)seed, (uint32_t)(seed >> 32));
  key[0] = c[0], key[1] = c[1];
}

#endif
