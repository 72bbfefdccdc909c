/* make_bars FILE COUNT SEED: pictures of 28 x 28 with a few bright horizontal and vertical bars, as an IDX file of
 * bytes. The sparse causes are known (14 + 14 bars, each lit with probability 0.1), which makes it a handy first test.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 28, BAR = 2, BARS = SIDE / BAR };

static uint64_t next(uint64_t *state) { /* splitmix64 */
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static void put_big_endian(FILE *file, uint32_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) putc((int)(number >> shift & 255), file);
}

static void draw_picture(unsigned char *picture, uint64_t *state) {
  memset(picture, 0, SIDE * SIDE);
  for (int bar = 0; bar < 2 * BARS; bar++) {
    if (next(state) % 10 != 0) continue;
    int brightness = 128 + (int)(next(state) % 128);
    for (int i = 0; i < BAR * SIDE; i++) {
      int across = bar % BARS * BAR + i / SIDE, along = i % SIDE;
      unsigned char *pixel = picture + (bar < BARS ? across * SIDE + along : along * SIDE + across);
      if (*pixel < brightness) *pixel = (unsigned char)brightness;
    }
  }
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: make_bars FILE COUNT SEED\n");
    return 2;
  }
  FILE *file = fopen(argv[1], "wb");
  if (!file) {
    perror(argv[1]);
    return 1;
  }
  long count = strtol(argv[2], NULL, 10);
  uint64_t state = strtoull(argv[3], NULL, 10);
  put_big_endian(file, 0x00000803); /* bytes, three dimensions */
  put_big_endian(file, (uint32_t)count);
  put_big_endian(file, SIDE);
  put_big_endian(file, SIDE);
  for (long i = 0; i < count; i++) {
    unsigned char picture[SIDE * SIDE];
    draw_picture(picture, &state);
    fwrite(picture, 1, sizeof picture, file);
  }
  if (fclose(file) != 0) {
    perror(argv[1]);
    return 1;
  }
  return 0;
}
