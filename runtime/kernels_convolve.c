/* Convolution and its transposes through matrix products: what lies under the window at each place becomes a column, a
 * strip of places at a time, and a product with the filters does the rest. See kernels.h and convolve.h; the products
 * are blas.h's gemm.
 *
 * A strip's columns are [channels, window, places]; of several images their features stand in the strip's own order
 * [filters, image, place]. Which strips there are depends on the shape alone. */
#include "kernels.h"
#include "blas.h"
#include "convolve.h"

#include <string.h>

struct convolve_strip {
  const long *sizes;
  long at, images;   /* the first of its images, and how many */
  long line, lines;  /* its lines of places */
  long places;       /* of all its images */
  long image, place; /* reals from one image to the next, in columns and in features */
  long feature;      /* where its features begin */
  long leading;      /* reals from one filter's features to the next's */
};

static long convolve_smaller(long a, long b) { return a < b ? a : b; }

/* The strip after this one; one without images is before the first. Returns 0 at the end. */
static int convolve_next(struct convolve_strip *strip, long images) {
  const long *s = strip->sizes, whole = s[SPM_DOWN] * s[SPM_ACROSS];
  strip->line += strip->lines;
  if (strip->line >= s[SPM_DOWN]) {
    strip->at += strip->images;
    strip->line = 0;
  }
  if (strip->at >= images) return 0;
  strip->images = convolve_smaller(s[SPM_GROUP], images - strip->at);
  strip->lines = convolve_smaller(s[SPM_LINES], s[SPM_DOWN] - strip->line);
  strip->place = strip->lines * s[SPM_ACROSS];
  strip->places = strip->images * strip->place;
  strip->image = s[SPM_CHANNELS] * s[SPM_HEIGHT] * s[SPM_WIDTH];
  strip->feature = strip->at * s[SPM_FILTERS] * whole + strip->line * s[SPM_ACROSS];
  strip->leading = strip->images > 1 ? strip->places : whole;
  return 1;
}

/* --- images with their padding --- */

/* One line of an image between its own order and that of phases. */
static void convolve_pad_line(const long *s, real *padded, const real *line) {
  long stride = s[SPM_STRIDE], phases = spm_convolve_phases(s), length = spm_convolve_phase(s);
  for (long phase = 0; phase < phases; phase++, padded += length) {
    long first = s[SPM_PADDING] > phase ? (s[SPM_PADDING] - phase + stride - 1) / stride : 0;
    long x = first * stride + phase - s[SPM_PADDING];
    memset(padded, 0, (size_t)length * sizeof *padded);
    for (long q = first; q < length && x < s[SPM_WIDTH]; q++, x += stride) padded[q] = line[x];
  }
}

static void convolve_unpad_line(const long *s, real *line, const real *padded) {
  long stride = s[SPM_STRIDE], phases = spm_convolve_phases(s), length = spm_convolve_phase(s);
  if (phases < stride) memset(line, 0, (size_t)s[SPM_WIDTH] * sizeof *line); /* the window skips pixels */
  for (long phase = 0; phase < phases; phase++, padded += length) {
    long first = s[SPM_PADDING] > phase ? (s[SPM_PADDING] - phase + stride - 1) / stride : 0;
    long x = first * stride + phase - s[SPM_PADDING];
    for (long q = first; q < length && x < s[SPM_WIDTH]; q++, x += stride) line[x] = padded[q];
  }
}

static void convolve_pad(const long *s, real *padded, const real *image) {
  long line = spm_convolve_phases(s) * spm_convolve_phase(s), margin = s[SPM_PADDING] * line;
  for (long c = 0; c < s[SPM_CHANNELS]; c++) {
    memset(padded, 0, (size_t)margin * sizeof *padded);
    padded += margin;
    for (long y = 0; y < s[SPM_HEIGHT]; y++, padded += line, image += s[SPM_WIDTH]) convolve_pad_line(s, padded, image);
    memset(padded, 0, (size_t)margin * sizeof *padded);
    padded += margin;
  }
}

static void convolve_unpad(const long *s, real *image, const real *padded) {
  long line = spm_convolve_phases(s) * spm_convolve_phase(s), margin = s[SPM_PADDING] * line;
  for (long c = 0; c < s[SPM_CHANNELS]; c++, padded += margin) {
    padded += margin;
    for (long y = 0; y < s[SPM_HEIGHT]; y++, padded += line, image += s[SPM_WIDTH])
      convolve_unpad_line(s, image, padded);
  }
}

/* --- columns --- */

/* In whole chunks: what is written past the end of a run belongs to a run that is written after it. */
static void convolve_gather_runs(long lines, long across, real *columns, const real *padded, long step) {
  for (; lines > 0; lines--, columns += across, padded += step)
    for (long q = 0; q < across; q += SPM_CONVOLVE_CHUNK)
      memcpy(columns + q, padded + q, SPM_CONVOLVE_CHUNK * sizeof *columns);
}

static void convolve_scatter_runs(long lines, long across, real *restrict padded, const real *restrict columns,
                                  long step) {
  for (; lines > 0; lines--, columns += across, padded += step)
    for (long q = 0; q < across; q++) padded[q] = padded[q] + columns[q];
}

/* Every run of the strip, between columns and padded images: those of one row of the columns one after the other. */
static void convolve_runs(const struct convolve_strip *strip, real *columns, real *padded, int gathers) {
  const long *s = strip->sizes, stride = s[SPM_STRIDE], length = spm_convolve_phase(s);
  long line = spm_convolve_phases(s) * length, size = spm_convolve_padded(s);
  for (long c = 0; c < s[SPM_CHANNELS]; c++)
    for (long i = 0; i < s[SPM_WINDOW_HEIGHT]; i++)
      for (long j = 0; j < s[SPM_WINDOW_WIDTH]; j++) {
        long y = c * (s[SPM_HEIGHT] + 2 * s[SPM_PADDING]) + strip->line * stride + i;
        real *run = padded + y * line + j % stride * length + j / stride;
        for (long g = 0; g < strip->images; g++, run += size, columns += strip->place) {
          if (gathers)
            convolve_gather_runs(strip->lines, s[SPM_ACROSS], columns, run, stride * line);
          else
            convolve_scatter_runs(strip->lines, s[SPM_ACROSS], run, columns, stride * line);
        }
      }
}

/* Where a strip's memory is. */
struct convolve_work {
  real *padded, *columns, *features;
};

static struct convolve_work convolve_share(const struct convolve_strip *strip, real *work) {
  const long *s = strip->sizes;
  struct convolve_work w = {.padded = work};
  w.columns = w.padded + strip->images * spm_convolve_padded(s) + SPM_CONVOLVE_CHUNK;
  w.features = w.columns + spm_convolve_depth(s) * strip->places + SPM_CONVOLVE_CHUNK;
  return w;
}

static void convolve_gather(const struct convolve_strip *strip, const struct convolve_work *w, const real *x) {
  long size = spm_convolve_padded(strip->sizes);
  for (long g = 0; g < strip->images && strip->line == 0; g++)
    convolve_pad(strip->sizes, w->padded + g * size, x + (strip->at + g) * strip->image);
  convolve_runs(strip, w->columns, w->padded, 1);
}

static void convolve_scatter(const struct convolve_strip *strip, const struct convolve_work *w, real *x) {
  const long *s = strip->sizes, size = spm_convolve_padded(s);
  if (strip->line == 0) memset(w->padded, 0, (size_t)(strip->images * size) * sizeof *w->padded);
  convolve_runs(strip, w->columns, w->padded, 0);
  for (long g = 0; g < strip->images && strip->line + strip->lines == s[SPM_DOWN]; g++)
    convolve_unpad(s, x + (strip->at + g) * strip->image, w->padded + g * size);
}

/* --- features of several images --- */

/* Into the strip's order; those of one image stay where they are. */
static const real *convolve_take(const struct convolve_strip *strip, const struct convolve_work *w, const real *y) {
  const long *s = strip->sizes, place = strip->place;
  y += strip->feature;
  if (strip->images == 1) return y;
  for (long g = 0; g < strip->images; g++)
    for (long f = 0; f < s[SPM_FILTERS]; f++, y += place)
      memcpy(w->features + (f * strip->images + g) * place, y, (size_t)place * sizeof *y);
  return w->features;
}

static void convolve_give(const struct convolve_strip *strip, const struct convolve_work *w, real *y) {
  const long *s = strip->sizes, place = strip->place;
  for (long g = 0; g < strip->images; g++)
    for (long f = 0; f < s[SPM_FILTERS]; f++, y += place)
      memcpy(y, w->features + (f * strip->images + g) * place, (size_t)place * sizeof *y);
}

/* --- the kernels --- */

void SPM_K(convolve)(const long *sizes, long images, real *y, const real *x, const real *filters, real *work) {
  long depth = spm_convolve_depth(sizes);
  struct convolve_strip strip = {.sizes = sizes, .line = sizes[SPM_DOWN]};
  while (convolve_next(&strip, images)) {
    struct convolve_work w = convolve_share(&strip, work);
    real *own = y + strip.feature;
    convolve_gather(&strip, &w, x);
    SPM_K(gemm)
    (0, 0, sizes[SPM_FILTERS], strip.places, depth, 1, filters, depth, w.columns, strip.places, 0,
     strip.images > 1 ? w.features : own, strip.leading);
    if (strip.images > 1) convolve_give(&strip, &w, own);
  }
}

void SPM_K(convolve_transpose)(const long *sizes, long images, real *x, const real *y, const real *filters,
                               real *work) {
  long depth = spm_convolve_depth(sizes);
  struct convolve_strip strip = {.sizes = sizes, .line = sizes[SPM_DOWN]};
  while (convolve_next(&strip, images)) {
    struct convolve_work w = convolve_share(&strip, work);
    const real *features = convolve_take(&strip, &w, y);
    SPM_K(gemm)
    (1, 0, depth, strip.places, sizes[SPM_FILTERS], 1, filters, depth, features, strip.leading, 0, w.columns,
     strip.places);
    convolve_scatter(&strip, &w, x);
  }
}

void SPM_K(convolve_filters)(const long *sizes, long images, real *filters, const real *x, const real *y, real *work) {
  long depth = spm_convolve_depth(sizes);
  struct convolve_strip strip = {.sizes = sizes, .line = sizes[SPM_DOWN]};
  while (convolve_next(&strip, images)) {
    struct convolve_work w = convolve_share(&strip, work);
    const real *features = convolve_take(&strip, &w, y);
    convolve_gather(&strip, &w, x);
    SPM_K(gemm)
    (0, 1, sizes[SPM_FILTERS], depth, strip.places, 1, features, strip.leading, w.columns, strip.places, 1, filters,
     depth);
  }
}
