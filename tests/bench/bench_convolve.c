/* What convolutions cost beside the bare matrix products in them, forward, to images and to filters: the layers of
 * specs/images/conv_vae.spm and some of other kinds, 64 images, one thread. */
#include <stdio.h>
#include <stdlib.h>

#include "../../compiler/plan_internal.h"
#include "../../runtime/blas.h"
#include "../../runtime/kernels.h"
#include "bench.h"

enum { IMAGES = 64, REPEATS = 15, FORMS = 3 };

static const int layers[][6] = {/* channels, height = width, filters, kernel, stride, padding */
                                {1, 28, 32, 4, 2, 1},  {32, 14, 64, 4, 2, 1}, {16, 28, 32, 3, 1, 1},
                                {64, 14, 64, 3, 1, 1}, {64, 7, 128, 3, 1, 1}, {3, 64, 32, 4, 4, 0}};
enum { LAYERS = sizeof layers / sizeof *layers };

typedef struct Arrays {
  long sizes[SPM_CONVOLVE_SIZES];
  float *images, *features, *filters, *work;
} Arrays;

static float *numbers(long count) {
  float *memory = malloc(sizeof(float) * (size_t)count);
  for (long i = 0; i < count; i++) memory[i] = (float)(i * 7919 % 101) / 101 - 0.5f;
  return memory;
}

static void convolve(Arrays *a, int form) {
  if (form == 0) spm_convolve_f(a->sizes, IMAGES, a->features, a->images, a->filters, a->work);
  if (form == 1) spm_convolve_transpose_f(a->sizes, IMAGES, a->images, a->features, a->filters, a->work);
  if (form == 2) spm_convolve_filters_f(a->sizes, IMAGES, a->filters, a->images, a->features, a->work);
}

/* The same products on columns that are there. */
static void multiply(Arrays *a, int form) {
  long depth = spm_convolve_depth(a->sizes), filters = a->sizes[SPM_FILTERS];
  long places = a->sizes[SPM_GROUP] * a->sizes[SPM_LINES] * a->sizes[SPM_ACROSS];
  long strips = IMAGES * a->sizes[SPM_DOWN] * a->sizes[SPM_ACROSS] / places;
  for (long i = 0; i < strips; i++) {
    float *y = a->features, *columns = a->work, *w = a->filters;
    if (form == 0) spm_gemm_f(0, 0, filters, places, depth, 1, w, depth, columns, places, 0, y, places);
    if (form == 1) spm_gemm_f(1, 0, depth, places, filters, 1, w, depth, y, places, 0, columns, places);
    if (form == 2) spm_gemm_f(0, 1, filters, depth, places, 1, y, places, columns, places, 1, w, depth);
  }
}

static double best_of(void (*run)(Arrays *, int), Arrays *a, int form) {
  double times[REPEATS];
  for (int i = 0; i < REPEATS; i++) {
    double start = bench_milliseconds();
    run(a, form);
    times[i] = bench_milliseconds() - start;
  }
  return bench_quantile(times, REPEATS, 0); /* the least disturbed one */
}

int main(void) {
  static const char *const forms[FORMS] = {"convolve", "transpose", "filters"};
  char message[512];
  if (spm_blas_open(SPM_OPENBLAS, message, sizeof message) != 0) printf("%s\n", message);
  for (int l = 0; l < LAYERS; l++) {
    const int *n = layers[l];
    long across = (n[1] + 2 * n[5] - n[3]) / n[4] + 1;
    Arrays a = {.sizes = {n[0], n[1], n[1], n[2], n[3], n[3], across, across, n[4], n[5]}};
    choose_strip(a.sizes);
    a.images = numbers(IMAGES * n[0] * n[1] * n[1]), a.features = numbers(IMAGES * n[2] * across * across);
    a.filters = numbers(n[2] * spm_convolve_depth(a.sizes)), a.work = numbers(spm_convolve_work(a.sizes));
    printf("%d channels of %d x %d, %d filters of %d x %d, stride %d:", n[0], n[1], n[1], n[2], n[3], n[3], n[4]);
    for (int form = 0; form < FORMS; form++) {
      double bare = best_of(multiply, &a, form), whole = best_of(convolve, &a, form);
      printf("  %s %.2f ms, %.2f times the products", forms[form], whole, whole / bare);
    }
    printf("\n");
    free(a.images), free(a.features), free(a.filters), free(a.work);
  }
  return 0;
}
