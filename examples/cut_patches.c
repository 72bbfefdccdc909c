/* cut_patches IMAGES.npy PATCHES.npy COUNT SIDE SEED: square patches from random places of images, one a row.
 * IMAGES.npy holds float32 [images, height, width]; the result is float32 [COUNT, SIDE * SIDE], each patch less its mean,
 * all of them divided by one number so that their elements have variance 1. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t next(uint64_t *state) { /* splitmix64 */
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static int fail(const char *path, const char *what) {
  fprintf(stderr, "cut_patches: %s: %s\n", path, what);
  return 1;
}

/* The shape in the header of a version 1 file of little-endian floats in row-major order; 0 if it is no such file. */
static int read_header(FILE *file, long shape[3]) {
  unsigned char start[10];
  char header[1024];
  if (fread(start, 1, 10, file) != 10 || memcmp(start, "\x93NUMPY\x01", 7) != 0) return 0;
  size_t length = start[8] + 256u * start[9];
  if (length >= sizeof header || fread(header, 1, length, file) != length) return 0;
  header[length] = 0;
  const char *at = strstr(header, "'shape': (");
  return strstr(header, "'<f4'") && strstr(header, "False") && at &&
         sscanf(at, "'shape': (%ld, %ld, %ld)", &shape[0], &shape[1], &shape[2]) == 3;
}

static void write_header(FILE *file, long rows, long columns) {
  char header[119];
  snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%ld, %ld), }", rows, columns);
  fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, file);
  fprintf(file, "%-117s\n", header);
}

static void cut(const float *images, const long shape[3], long side, uint64_t *state, float *patch) {
  long image = (long)(next(state) % (uint64_t)shape[0]);
  long top = (long)(next(state) % (uint64_t)(shape[1] - side + 1));
  long left = (long)(next(state) % (uint64_t)(shape[2] - side + 1));
  double mean = 0;
  for (long i = 0; i < side * side; i++) {
    patch[i] = images[(image * shape[1] + top + i / side) * shape[2] + left + i % side];
    mean += patch[i] / (double)(side * side);
  }
  for (long i = 0; i < side * side; i++) patch[i] -= (float)mean;
}

int main(int argc, char **argv) {
  long shape[3];
  if (argc != 6) {
    fprintf(stderr, "usage: cut_patches IMAGES.npy PATCHES.npy COUNT SIDE SEED\n");
    return 2;
  }
  long count = strtol(argv[3], NULL, 10), side = strtol(argv[4], NULL, 10);
  uint64_t state = strtoull(argv[5], NULL, 10);
  FILE *in = fopen(argv[1], "rb");
  if (!in || !read_header(in, shape)) return fail(argv[1], "no file of float32 [images, height, width]");
  if (count < 1 || side < 1 || side > shape[1] || side > shape[2]) return fail(argv[1], "no such patches in it");
  size_t pixels = (size_t)(shape[0] * shape[1] * shape[2]), size = (size_t)(side * side);
  float *images = malloc(pixels * sizeof *images), *patches = malloc((size_t)count * size * sizeof *patches);
  if (!images || !patches || fread(images, sizeof *images, pixels, in) != pixels) return fail(argv[1], "cannot be read");
  fclose(in);
  double square = 0;
  for (long i = 0; i < count; i++) cut(images, shape, side, &state, patches + (size_t)i * size);
  for (size_t i = 0; i < (size_t)count * size; i++) square += (double)patches[i] * patches[i];
  float scale = (float)(1 / sqrt(square / ((double)count * (double)size)));
  for (size_t i = 0; i < (size_t)count * size; i++) patches[i] *= scale;
  FILE *out = fopen(argv[2], "wb");
  if (!out) return fail(argv[2], "cannot be written");
  write_header(out, count, (long)size);
  fwrite(patches, sizeof *patches, (size_t)count * size, out);
  if (fclose(out) != 0) return fail(argv[2], "cannot be written");
  free(images);
  free(patches);
  return 0;
}
