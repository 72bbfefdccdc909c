/* Philox as a function, streams of words and shuffles. See rng.h. */
#include "rng.h"
#include "philox.h"

void spm_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
  philox(c, key[0], key[1]);
  for (int i = 0; i < 4; i++) out[i] = c[i];
}

void spm_random_start(struct spm_random *random, uint64_t seed, uint64_t stream) {
  make_key(seed, stream, KEY_OF_WORDS, random->key);
  random->position = 0;
}

uint64_t spm_random_word(struct spm_random *random) {
  uint64_t block = random->position >> 1;
  uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, 0};
  int half = (int)(random->position++ & 1) * 2;
  philox(c, random->key[0], random->key[1]);
  return ((uint64_t)c[half + 1] << 32) | c[half];
}

uint64_t spm_random_below(struct spm_random *random, uint64_t bound) {
  uint64_t word, excess = (UINT64_MAX % bound + 1) % bound; /* words beyond the last whole multiple of bound */
  do word = spm_random_word(random);
  while (word > UINT64_MAX - excess);
  return word % bound;
}

static uint64_t mixed(uint64_t z) { /* splitmix64's */
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* Fisher and Yates; the product's upper half is uniform on [0, i] but for a part in 2^32 of the rows' number. */
void spm_shuffle(long *order, long count, uint64_t seed, long epoch) {
  uint64_t state = mixed(seed) ^ mixed((uint64_t)epoch + 0x9e3779b97f4a7c15u);
  for (long i = 0; i < count; i++) order[i] = i;
  for (long i = count - 1; i > 0; i--) {
    uint64_t bits = mixed(state += 0x9e3779b97f4a7c15u) >> 32;
    long other = (long)((bits * (uint64_t)(i + 1)) >> 32);
    long kept = order[i];
    order[i] = order[other];
    order[other] = kept;
  }
}

void spm_draw_distinct(long *drawn, long wanted, long count, uint64_t seed, unsigned draw, long datum) {
  struct spm_random random;
  spm_random_start(&random, seed, (uint64_t)1 << 63 | (uint64_t)draw << 31 | (uint64_t)datum);
  for (long n = 0; n < wanted;) {
    long number = (long)spm_random_below(&random, (uint64_t)count), other = 0;
    while (other < n && drawn[other] != number) other++;
    if (other == n) drawn[n++] = number;
  }
}
