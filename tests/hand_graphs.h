/* Programs built by hand, each with what a back end gets wrong most easily: a variational autoencoder (products over
 * the batch, fused updates), batch normalisation twice (nested reductions over the batch), free bits (a batch statistic
 * in the objective), weights with unit columns (gradients that a later step phase finishes), tied weights (a gradient
 * that is a sum of products in both orientations), a maximum along the batch, a loop of Langevin steps in each row, one
 * of power iterations in each step, and a loop in a loop in a later phase. All with gradients of every parameter. */
#ifndef SPM_HAND_GRAPHS_H
#define SPM_HAND_GRAPHS_H

#include "../compiler/ir.h"

typedef enum HandGraph {
  HAND_VAE,
  HAND_BATCH_NORM,
  HAND_FREE_BITS,
  HAND_UNIT_NORM,
  HAND_TIED,
  HAND_MAX,
  HAND_LANGEVIN,
  HAND_POWER,
  HAND_NESTED,
  HAND_CONVOLUTION,
  HAND_COUNT
} HandGraph;
extern const char *const hand_graph_names[HAND_COUNT];

/* Simplified. D pixels, H hidden units, K latents. */
Graph *hand_graph(Compilation *, HandGraph, int D, int H, int K, int samples);

#endif
