/* Noise for whole blocks of rows, from Philox: the same numbers in float and, widened, in double. See rng.h. */
#include "model.h"
#include "philox.h"
#include "real.h"
#include "rng.h"

#include <math.h>

enum { LANES = 64 }; /* blocks made at once: whole vectors for the compiler, and little enough to stay in cache */

static inline float uniform_of(uint32_t word) { return ((float)(int32_t)(word >> 9) + 0.5f) * 1.1920929e-7f; }

union float_bits {
  float value;
  uint32_t bits;
};

static inline uint32_t bits_of(float x) { return ((union float_bits){.value = x}).bits; }
static inline float float_of(uint32_t bits) { return ((union float_bits){.bits = bits}).value; }

/* log x for normal positive x within 2e-7 + 1 ulp (the method of vmath.h, which cannot be used here: it is in double
 * where a trainer is). */
static inline float log_of(float x) {
  uint32_t bits = bits_of(x) - 0x3F3504F3u;
  float n = (float)((int32_t)((bits + 0x80000000u) >> 23) - 256), p = -7.634506e-2f;
  float f = float_of((bits & 0x7FFFFFu) + 0x3F3504F3u) - 1.0f;
  p = (((p * f + 0.12761582f) * f + -0.13160181f) * f + 0.14201757f) * f + -0.16623357f;
  p = ((p * f + 0.20001227f) * f + -0.2500082f) * f + 0.3333333f;
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
  p = (((p * u + -4.5055176e-6f) * u + -5.7900356e-6f) * u + 3.0735956e-4f) * u + -1.7743169e-3f;
  p = ((p * u + -5.906122e-3f) * u + 0.34880364f) * u + 2.1233132f;
  q = (((q * v + 1.6367685e-3f) * v + -4.7497596e-3f) * v + 8.195757e-3f) * v + -1.0935127e-2f;
  q = ((q * v + 1.3338324e-2f) * v + 1.4165951f) * v + 4.006435f;
  uint32_t in_tail = (uint32_t)0 - (uint32_t)(w >= 5.0f);
  return float_of((bits_of(q * x) & in_tail) | (bits_of(p * x) & ~in_tail) | (sign & 0x80000000u));
}

/* Element e of a row is word e mod 4 of block e / 4; rows lie row_stride apart. */
void SPM_K(noise)(int kind, unsigned long long seed, unsigned stream, unsigned step, long first_row, long rows,
                  unsigned sample, unsigned inner, long n, real *out, long row_stride) {
  const long blocks = (n + 3) / 4;
  uint32_t key[2], words[4][LANES];
  float numbers[4][LANES];
  long row[LANES], block[LANES], next_row = 0, next_block = 0;
  make_key(seed, stream, KEY_OF_NOISE, key);
  for (long left = rows * blocks; left > 0; left -= LANES) {
    for (int i = 0; i < LANES; i++) { /* those beyond the last block are made and not used */
      row[i] = next_row;
      block[i] = next_block;
      if (++next_block == blocks) next_block = 0, next_row++;
    }
    for (int i = 0; i < LANES; i++) {
      uint32_t c[4] = {(uint32_t)block[i], (uint32_t)(first_row + row[i]), step, (sample << 16) | (inner & 0xFFFFu)};
      philox(c, key[0], key[1]);
      words[0][i] = c[0], words[1][i] = c[1], words[2][i] = c[2], words[3][i] = c[3];
    }
    for (int w = 0; w < 4 && kind == SPM_UNIFORM; w++)
      for (int i = 0; i < LANES; i++) numbers[w][i] = uniform_of(words[w][i]);
    for (int w = 0; w < 4 && kind == SPM_NORMAL; w++)
      for (int i = 0; i < LANES; i++) numbers[w][i] = normal_of(words[w][i]);
    for (int i = 0; i < LANES && i < left; i++)
      for (long w = 0; w < 4 && 4 * block[i] + w < n; w++)
        out[row[i] * row_stride + 4 * block[i] + w] = (real)numbers[w][i];
  }
}
