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

void spm_shuffle(uint64_t seed, uint64_t epoch, long n, long *order) {
  struct spm_random random;
  spm_random_start(&random, seed, epoch);
  for (long i = 0; i < n; i++) { /* Fisher and Yates, from the inside out */
    long j = (long)spm_random_below(&random, (uint64_t)i + 1);
    order[i] = order[j];
    order[j] = i;
  }
}
