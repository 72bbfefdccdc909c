/* The matrix products of one training step of specs/laplace_vae.spm and nothing else: 784-400-{64,64}-400-784, five
 * forward, four for gradients of inputs (the data need none) and five for gradients of weights. What no step can do
 * without, and so the measure of what a step costs beside it. */
#ifndef SPM_BENCH_PRODUCTS_H
#define SPM_BENCH_PRODUCTS_H

#include "runtime/blas.h"

#include <stdlib.h>

enum { PRODUCT_LAYERS = 5, PRODUCT_ACTIVATIONS = 6 };

/* Activations: data, hidden, mean, log scale, hidden, logits. The sample stands where the mean does. */
static const int activation_sizes[PRODUCT_ACTIVATIONS] = {784, 400, 64, 64, 400, 784};
static const struct {
  int from, to;
} product_layers[PRODUCT_LAYERS] = {{0, 1}, {1, 2}, {1, 3}, {2, 4}, {4, 5}};

struct products {
  long rows;
  float *weights[PRODUCT_LAYERS], *gradients[PRODUCT_LAYERS]; /* [to, from] */
  float *values[PRODUCT_ACTIVATIONS], *adjoints[PRODUCT_ACTIVATIONS];
};

/* Uniform in [-scale, scale], or [0, scale] with `positive`. */
static inline void products_fill(float *values, long count, float scale, int positive) {
  unsigned state = 12345;
  for (long i = 0; i < count; i++) {
    state = state * 1664525u + 1013904223u;
    float uniform = (float)(state >> 8) / 16777216.0f;
    values[i] = scale * (positive ? uniform : 2 * uniform - 1);
  }
}

static inline float *products_reals(long count) {
  float *memory = aligned_alloc(64, ((size_t)count * sizeof(float) + 63) / 64 * 64);
  if (!memory) abort();
  products_fill(memory, count, 0.05f, 0);
  return memory;
}

static inline void products_create(struct products *p, long rows) {
  p->rows = rows;
  for (int l = 0; l < PRODUCT_LAYERS; l++) {
    long size = (long)activation_sizes[product_layers[l].from] * activation_sizes[product_layers[l].to];
    p->weights[l] = products_reals(size);
    p->gradients[l] = products_reals(size);
  }
  for (int a = 0; a < PRODUCT_ACTIVATIONS; a++) {
    p->values[a] = products_reals(rows * activation_sizes[a]);
    p->adjoints[a] = products_reals(rows * activation_sizes[a]);
  }
  products_fill(p->values[0], rows * activation_sizes[0], 1, 1);
}

static inline void products_free(struct products *p) {
  for (int l = 0; l < PRODUCT_LAYERS; l++) free(p->weights[l]), free(p->gradients[l]);
  for (int a = 0; a < PRODUCT_ACTIVATIONS; a++) free(p->values[a]), free(p->adjoints[a]);
}

/* Forward and input gradients of rows first to first + count - 1. */
static inline void products_rows(const struct products *p, long first, long count) {
  for (int l = 0; l < PRODUCT_LAYERS; l++) {
    int from = product_layers[l].from, to = product_layers[l].to, n = activation_sizes[from], m = activation_sizes[to];
    spm_gemm_f(0, 1, count, m, n, 1, p->values[from] + first * n, n, p->weights[l], n, 0, p->values[to] + first * m, m);
  }
  for (int l = PRODUCT_LAYERS - 1; l > 0; l--) {
    int from = product_layers[l].from, to = product_layers[l].to, n = activation_sizes[from], m = activation_sizes[to];
    float beta = l == 1 ? 1 : 0; /* the hidden layer has two users */
    spm_gemm_f(0, 0, count, n, m, 1, p->adjoints[to] + first * m, m, p->weights[l], n, beta,
               p->adjoints[from] + first * n, n);
  }
}

/* Gradients of the weights, `block` of their rows at a time (0: whole). */
static inline void products_weights(const struct products *p, long block) {
  for (int l = 0; l < PRODUCT_LAYERS; l++) {
    int from = product_layers[l].from, to = product_layers[l].to, n = activation_sizes[from], m = activation_sizes[to];
    long step = block > 0 ? block : m;
    for (long first = 0; first < m; first += step)
      spm_gemm_f(1, 0, first + step < m ? step : m - first, n, p->rows, 1, p->adjoints[to] + first, m, p->values[from],
                 n, 0, p->gradients[l] + first * n, n);
  }
}

#endif
