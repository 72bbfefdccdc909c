/* A model written by hand against runtime/model.h, for tests of what runs models: h = x W + b, objective the mean of
 * -|h - x[0..K)|^2 / 2. It has all kinds of phases, statistics in both places, a ragged range, a state, a projected, a
 * constrained and a fixed parameter. */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include "runtime/model.h"

enum { TINY_D = 5, TINY_K = 3 };

extern const struct spm_model tiny_model;

#endif
