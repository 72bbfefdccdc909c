/* Noise for whole blocks of rows, from Philox: the same numbers in float and, widened, in double. See rng.h. */
#include "philox.h"
#include "real.h"
#include "rng.h"

#include <math.h>

enum { LANES = 64 }; /* blocks made at once: whole vectors for the compiler, and little enough to stay in cache */

/* The blocks of all rows in order: which row and which block of it each lane works on. */
struct block_list {
  uint32_t row[LANES], block[LANES];
  int count;
};

/* Words 0..3 of each lane's block, as words[word][lane]. */
static void make_words(const struct block_list *list, uint32_t k0, uint32_t k1, uint32_t step, uint32_t last,
                       uint32_t words[4][LANES]) {
  uint32_t *w0 = words[0], *w1 = words[1], *w2 = words[2], *w3 = words[3];
  for (int i = 0; i < LANES; i++) {
    uint32_t c[4] = {list->block[i], list->row[i], step, last};
    philox(c, k0, k1);
    w0[i] = c[0];
    w1[i] = c[1];
    w2[i] = c[2];
    w3[i] = c[3];
  }
}

static inline float uniform_of(uint32_t word) { return ((float)(int32_t)(word >> 9) + 0.5f) * 1.1920929e-7f; }

union float_bits {
  float value;
  uint32_t bits;
};

/* log x for normal positive x within 2e-7 + 1 ulp (the method of vmath.h, which cannot be used here: it is in double
 * where a trainer is). */
static inline float log_of(float x) {
  union float_bits m;
  m.value = x;
  uint32_t bits = m.bits - 0x3F3504F3u;
  float n = (float)((int32_t)((bits + 0x80000000u) >> 23) - 256), f, p;
  m.bits = (bits & 0x7FFFFFu) + 0x3F3504F3u;
  f = m.value - 1.0f;
  p = -7.634506e-2f;
  p = p * f + 0.12761582f;
  p = p * f + -0.13160181f;
  p = p * f + 0.14201757f;
  p = p * f + -0.16623357f;
  p = p * f + 0.20001227f;
  p = p * f + -0.2500082f;
  p = p * f + 0.3333333f;
  return n * 0.693359375f + (f + ((p * (f * (f * f)) + n * -2.12194440e-4f) - 0.5f * (f * f)));
}

/* The inverse of the normal distribution function at (1 + x) / 2, where x = (word + 1/2) / 2^31 with word read as
 * signed: x times a polynomial in w = -log(1 - x^2), one for w < 5 and one in sqrt(w) for the tails (the form is M.
 * Giles', 2010; the coefficients are minimax fits of our own). Relative error below 6e-7. */
static inline float normal_of(uint32_t word) {
  uint32_t sign = (uint32_t)0 - (word >> 31), size = word ^ sign; /* |x| = (size + 1/2) / 2^31 */
  float x = ((float)(int32_t)size + 0.5f) * 4.656612873077393e-10f;
  float rest = ((float)(int32_t)(0x7FFFFFFFu - size) + 0.5f) * 4.656612873077393e-10f; /* 1 - |x|, exact in the tails */
  float w = -log_of(rest * (2.0f - rest)), u = w - 2.5f, v = sqrtf(w < 0.0f ? 0.0f : w) - 3.0f;
  float p = 4.4636928e-7f, q = -2.3946498e-4f;
  union float_bits central, tail;
  p = p * u + -4.5055176e-6f;
  p = p * u + -5.7900356e-6f;
  p = p * u + 3.0735956e-4f;
  p = p * u + -1.7743169e-3f;
  p = p * u + -5.906122e-3f;
  p = p * u + 0.34880364f;
  p = p * u + 2.1233132f;
  q = q * v + 1.6367685e-3f;
  q = q * v + -4.7497596e-3f;
  q = q * v + 8.195757e-3f;
  q = q * v + -1.0935127e-2f;
  q = q * v + 1.3338324e-2f;
  q = q * v + 1.4165951f;
  q = q * v + 4.006435f;
  uint32_t in_tail = (uint32_t)0 - (uint32_t)(w >= 5.0f);
  central.value = p * x;
  tail.value = q * x;
  central.bits = (tail.bits & in_tail) | (central.bits & ~in_tail) | (sign & 0x80000000u);
  return central.value;
}

/* Element e of a row is word e mod 4 of block e / 4: numbers[4 * lane + word]. */
static void make_uniform(uint32_t words[4][LANES], float *numbers) {
  for (int i = 0; i < LANES; i++)
    for (int w = 0; w < 4; w++) numbers[4 * i + w] = uniform_of(words[w][i]);
}

static void make_normal(uint32_t words[4][LANES], float *numbers) {
  float made[4][LANES];
  for (int w = 0; w < 4; w++)
    for (int i = 0; i < LANES; i++) made[w][i] = normal_of(words[w][i]);
  for (int i = 0; i < LANES; i++)
    for (int w = 0; w < 4; w++) numbers[4 * i + w] = made[w][i];
}

struct noise {
  uint32_t key[2], step, last; /* last: word of the counter with sample and inner step */
  void (*make)(uint32_t words[4][LANES], float *numbers);
  long first_row, rows, n, row_stride;
};

static void list_blocks(const struct noise *noise, long *row, long *block, struct block_list *list) {
  long blocks = (noise->n + 3) / 4;
  int i;
  for (i = 0; i < LANES && *row < noise->rows; i++) {
    list->row[i] = (uint32_t)(noise->first_row + *row);
    list->block[i] = (uint32_t)*block;
    if (++*block == blocks) {
      *block = 0;
      ++*row;
    }
  }
  list->count = i;
  for (; i < LANES; i++) list->row[i] = list->block[i] = 0;
}

/* Rows lie row_stride apart; elements of one row side by side. */
static void make_noise(const struct noise *noise, real *out) {
  struct block_list list;
  uint32_t words[4][LANES];
  float numbers[4 * LANES];
  long row = 0, block = 0;
  while (row < noise->rows && noise->n > 0) {
    long at_row = row, element = 4 * block;
    list_blocks(noise, &row, &block, &list);
    make_words(&list, noise->key[0], noise->key[1], noise->step, noise->last, words);
    noise->make(words, numbers);
    for (long i = 0; i < list.count; at_row++, element = 0) { /* what of this lot belongs to one row */
      long left = noise->n - element, room = 4 * (list.count - i), count = left < room ? left : room;
      real *to = out + at_row * noise->row_stride + element;
      const float *from = numbers + 4 * i;
      for (long e = 0; e < count; e++) to[e] = (real)from[e];
      i += (count + 3) / 4;
    }
  }
}

static struct noise noise_of(unsigned long long seed, unsigned stream, unsigned step, long first_row, long rows,
                             unsigned sample, unsigned inner, long n, long row_stride) {
  struct noise noise = {{0, 0}, step, (sample << 16) | (inner & 0xFFFFu), 0, first_row, rows, n, row_stride};
  make_key(seed, stream, KEY_OF_NOISE, noise.key);
  return noise;
}

void SPM_K(noise_uniform)(unsigned long long seed, unsigned stream, unsigned step, long first_row, long rows,
                          unsigned sample, unsigned inner, long n, real *out, long row_stride) {
  struct noise noise = noise_of(seed, stream, step, first_row, rows, sample, inner, n, row_stride);
  noise.make = make_uniform;
  make_noise(&noise, out);
}

void SPM_K(noise_normal)(unsigned long long seed, unsigned stream, unsigned step, long first_row, long rows,
                         unsigned sample, unsigned inner, long n, real *out, long row_stride) {
  struct noise noise = noise_of(seed, stream, step, first_row, rows, sample, inner, n, row_stride);
  noise.make = make_normal;
  make_noise(&noise, out);
}
