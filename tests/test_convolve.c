/* Convolution: the kernels against their definition, for every kind of strip; what convolve and the layers on it mean
 * in a spec; that layers of an author's own are not refused for dims that are only names. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "random_graph.h"
#include "runtime/convolve.h"
#include "spec.h"

void spm_convolve_d(const long *, long, double *, const double *, const double *, double *);
void spm_convolve_transpose_d(const long *, long, double *, const double *, const double *, double *);
void spm_convolve_filters_d(const long *, long, double *, const double *, const double *, double *);

enum { SHAPES = 400, IMAGES = 5 };

typedef struct Arrays {
  double *x, *y, *w, *work, *expected;
  long x_size, y_size, w_size;
} Arrays;

static double *random_array(Random *random, long count) {
  double *values = malloc(sizeof(double) * (size_t)count);
  for (long i = 0; i < count; i++) values[i] = random_between(random, -1, 1);
  return values;
}

/* Adds every product of the definition to whichever of the three is `out`. */
static void define(const long *s, const double *x, const double *y, const double *w, double *out, char which) {
  for (long n = 0; n < IMAGES; n++)
    for (long f = 0; f < s[SPM_FILTERS]; f++)
      for (long p = 0; p < s[SPM_DOWN]; p++)
        for (long q = 0; q < s[SPM_ACROSS]; q++)
          for (long c = 0; c < s[SPM_CHANNELS]; c++)
            for (long i = 0; i < s[SPM_WINDOW_HEIGHT]; i++)
              for (long j = 0; j < s[SPM_WINDOW_WIDTH]; j++) {
                long row = p * s[SPM_STRIDE] + i - s[SPM_PADDING], column = q * s[SPM_STRIDE] + j - s[SPM_PADDING];
                if (row < 0 || row >= s[SPM_HEIGHT] || column < 0 || column >= s[SPM_WIDTH]) continue;
                long at_x = ((n * s[SPM_CHANNELS] + c) * s[SPM_HEIGHT] + row) * s[SPM_WIDTH] + column;
                long at_y = ((n * s[SPM_FILTERS] + f) * s[SPM_DOWN] + p) * s[SPM_ACROSS] + q;
                long at_w = ((f * s[SPM_CHANNELS] + c) * s[SPM_WINDOW_HEIGHT] + i) * s[SPM_WINDOW_WIDTH] + j;
                if (which == 'y') out[at_y] += x[at_x] * w[at_w];
                if (which == 'x') out[at_x] += y[at_y] * w[at_w];
                if (which == 'w') out[at_w] += x[at_x] * y[at_y];
              }
}

static void random_sizes(Random *random, long *s) {
  do {
    s[SPM_CHANNELS] = 1 + random_below(random, 3), s[SPM_FILTERS] = 1 + random_below(random, 4);
    s[SPM_WINDOW_HEIGHT] = 1 + random_below(random, 5), s[SPM_WINDOW_WIDTH] = 1 + random_below(random, 5);
    s[SPM_DOWN] = 1 + random_below(random, 6), s[SPM_ACROSS] = 1 + random_below(random, 19);
    s[SPM_STRIDE] = 1 + random_below(random, 4), s[SPM_PADDING] = random_below(random, 4);
    s[SPM_HEIGHT] = (s[SPM_DOWN] - 1) * s[SPM_STRIDE] + s[SPM_WINDOW_HEIGHT] - 2 * s[SPM_PADDING];
    s[SPM_WIDTH] = (s[SPM_ACROSS] - 1) * s[SPM_STRIDE] + s[SPM_WINDOW_WIDTH] - 2 * s[SPM_PADDING];
  } while (s[SPM_HEIGHT] < 1 || s[SPM_WIDTH] < 1);
  s[SPM_GROUP] = 1 + random_below(random, IMAGES + 2);
  s[SPM_LINES] = s[SPM_GROUP] > 1 ? s[SPM_DOWN] : 1 + random_below(random, (int)s[SPM_DOWN]);
}

static void compare(const char *what, int shape, const double *found, const double *expected, long count) {
  for (long i = 0; i < count; i++)
    cr_assert(fabs(found[i] - expected[i]) <= 1e-12, "%s, shape %d: [%ld] is %.17g, not %.17g", what, shape, i,
              found[i], expected[i]);
}

/* Memory is filled with NaN first, so that nothing may be read that was not written; what lies behind `work` stays. */
static void check_kernels(int shape) {
  Random random = {(uint64_t)shape};
  long s[SPM_CONVOLVE_SIZES];
  random_sizes(&random, s);
  long x_size = IMAGES * s[SPM_CHANNELS] * s[SPM_HEIGHT] * s[SPM_WIDTH];
  long y_size = IMAGES * s[SPM_FILTERS] * s[SPM_DOWN] * s[SPM_ACROSS];
  long w_size = s[SPM_FILTERS] * spm_convolve_depth(s), work_size = spm_convolve_work(s);
  double *x = random_array(&random, x_size), *y = random_array(&random, y_size), *w = random_array(&random, w_size);
  double *work = random_array(&random, work_size + 1), *found = random_array(&random, x_size + y_size + w_size);
  double *expected = calloc((size_t)(x_size + y_size + w_size), sizeof(double));
  void (*const kernels[])(const long *, long, double *, const double *, const double *,
                          double *) = {spm_convolve_d, spm_convolve_transpose_d, spm_convolve_filters_d};
  for (int k = 0; k < 3; k++) {
    long size = k == 0 ? y_size : k == 1 ? x_size : w_size;
    for (long i = 0; i < work_size; i++) work[i] = NAN;
    work[work_size] = 7;
    for (long i = 0; i < size; i++) found[i] = k == 2 ? i : NAN, expected[i] = k == 2 ? i : 0;
    define(s, x, y, w, expected, "yxw"[k]);
    kernels[k](s, IMAGES, found, k == 1 ? y : x, k == 2 ? y : w, work);
    compare((const char *[]){"convolve", "convolve_transpose", "convolve_filters"}[k], shape, found, expected, size);
    cr_assert(work[work_size] == 7);
  }
  free(x), free(y), free(w), free(work), free(found), free(expected);
}

Test(convolve, kernels_follow_the_definition) {
  for (int shape = 0; shape < SHAPES; shape++) check_kernels(shape);
}

/* --- in a spec --- */

Test(convolve, values_and_names_of_dims) {
  Spec s = spec_right("model m; dim H = 4; data x : real[1, H, H]; data y : real[2, H / 2, H / 2];\n"
                      "param W : real[2, 1, 2, 2] fixed init 1;  param b : real[2] fixed init 3;\n"
                      "let z = convolve(x, W, stride = 2, bias = b);\n"
                      "let back = convolve_transpose(z, W, stride = 2);\n"
                      "minimize sum((z - y)^2) + sum((back - x)^2);\n"
                      "metric first = z[1, 0, 1];  metric last = back[0, 3, 3];\n");
  double x[16], y[8] = {0};
  for (int i = 0; i < 16; i++) x[i] = i;
  Run run = {.rows = 1, .inputs = {{"x", x}, {"y", y}}};
  cr_assert(spec_metric(&s, "first", &run) == 2 + 3 + 6 + 7 + 3);
  cr_assert(spec_metric(&s, "last", &run) == 2 * (10 + 11 + 14 + 15 + 3));
  spec_close(&s);
}

/* 32 channels of 32 x 32 pixels: the bias knows its dim. Leading dims are mapped over, and a layer within a layer. */
Test(convolve, layers_map_and_are_not_ambiguous) {
  Spec s = spec_right(
      "model m; dim G = 2; data x : real[G, 3, 8, 8];\n"
      "layer down(v : real[c, h, w], m : dim) { return relu(conv2d(v, m, kernel = 4, stride = 2, padding = 1)); }\n"
      "layer up(v : real[c, h, w], m : dim) { return conv2d_transpose(v, m); }\n"
      "network f(x) { h = down(x, 4);  back = up(h, 3); }\n"
      "minimize sum((f.back - x)^2) + sum(conv2d(x, 8, padding = 1)^2);\n");
  cr_assert(spec_parameter(&s, "f.h.down.conv2d.W") >= 0);
  cr_assert(spec_parameter(&s, "f.back.up.conv2d_transpose.b") >= 0);
  spec_close(&s);
}
