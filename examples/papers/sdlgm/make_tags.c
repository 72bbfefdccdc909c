/* make_tags FEATURES.npy TAGS.npy ROWS TAGS FEATURES SEED DRAWS: rows of a tagging problem whose answer is known. Every
 * tag has a direction of its own (a Gaussian vector, the same for the same SEED), some tags are common and most are rare
 * (Zipf), a row holds 1 to 32 of them, and its features are the sum of their directions plus a little noise. DRAWS seeds
 * the rows. Features are float32 [rows, features], tags are bytes [rows, tags]. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 32 };

static uint64_t next(uint64_t *state) { /* splitmix64 */
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static double uniform(uint64_t *state) { return ((double)(next(state) >> 11) + 0.5) / 9007199254740992.0; }

static double normal(uint64_t *state) {
  return sqrt(-2 * log(uniform(state))) * cos(6.283185307179586 * uniform(state));
}

static void write_header(FILE *file, const char *kind, long rows, long columns) {
  char header[119];
  snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (%ld, %ld), }", kind, rows, columns);
  fwrite("\x93NUMPY\x01\x00\x76\x00", 1, 10, file);
  fprintf(file, "%-117s\n", header);
}

/* The tag whose share of the popularity this falls into. */
static long choose(const double *cumulative, long tags, double at) {
  long low = 0, high = tags - 1;
  while (low < high) {
    long middle = (low + high) / 2;
    if (cumulative[middle] * 1.0 < at * cumulative[tags - 1])
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void draw_row(const double *cumulative, const float *directions, long tags, long features, uint64_t *state,
                     float *row, unsigned char *chosen) {
  long size = 1;
  memset(chosen, 0, (size_t)tags);
  while (size < MOST && uniform(state) < 0.85) size++;
  for (long f = 0; f < features; f++) row[f] = (float)(0.1 * normal(state));
  for (long i = 0; i < size; i++) {
    long tag = choose(cumulative, tags, uniform(state));
    if (chosen[tag]) continue;
    chosen[tag] = 1;
    for (long f = 0; f < features; f++) row[f] += directions[tag * features + f];
  }
}

int main(int argc, char **argv) {
  if (argc != 8) {
    fprintf(stderr, "usage: make_tags FEATURES.npy TAGS.npy ROWS TAGS FEATURES SEED DRAWS\n");
    return 2;
  }
  long rows = strtol(argv[3], NULL, 10), tags = strtol(argv[4], NULL, 10), features = strtol(argv[5], NULL, 10);
  uint64_t seed = strtoull(argv[6], NULL, 10), state = strtoull(argv[7], NULL, 10) + 1000003;
  float *directions = malloc((size_t)(tags * features) * sizeof *directions), *row = malloc((size_t)features * sizeof *row);
  double *cumulative = malloc((size_t)tags * sizeof *cumulative);
  unsigned char *chosen = malloc((size_t)tags);
  FILE *to_features = fopen(argv[1], "wb"), *to_tags = fopen(argv[2], "wb");
  if (!directions || !row || !cumulative || !chosen || !to_features || !to_tags) {
    fprintf(stderr, "make_tags: cannot write %s or %s, or out of memory\n", argv[1], argv[2]);
    return 1;
  }
  for (long i = 0; i < tags * features; i++) directions[i] = (float)(normal(&seed) / sqrt((double)features));
  for (long t = 0; t < tags; t++) cumulative[t] = (t > 0 ? cumulative[t - 1] : 0) + 1 / (20.0 + (double)t);
  write_header(to_features, "<f4", rows, features);
  write_header(to_tags, "|u1", rows, tags);
  for (long r = 0; r < rows; r++) {
    draw_row(cumulative, directions, tags, features, &state, row, chosen);
    fwrite(row, sizeof *row, (size_t)features, to_features);
    fwrite(chosen, 1, (size_t)tags, to_tags);
  }
  int failed = fclose(to_features) != 0 || fclose(to_tags) != 0;
  free(directions), free(row), free(cumulative), free(chosen);
  return failed;
}
