/* Random programs for property tests: a seed makes a graph of all ops over a signature with parameters, data, noise, a
 * state and a row state; its outputs are the objective, one term, every gradient, a row value and the next state. */
#ifndef SPM_RANDOM_GRAPH_H
#define SPM_RANDOM_GRAPH_H

#include "compiler/ir.h"

typedef struct Random {
  uint64_t state;
} Random;
uint64_t random_bits(Random *);
int random_below(Random *, int count); /* 0 .. count - 1 */
double random_between(Random *, double low, double high);

/* With gradients; deterministic in the seed. */
Graph *random_graph(Compilation *, uint64_t seed);
/* The same without outputs of gradients: objective (output 0), term, rows, state. */
Graph *random_forward_graph(Compilation *, uint64_t seed);

/* Inputs for any signature: parameters, states and givens in [-1.5, 1.5], data within their facts; all in the arena. */
typedef struct RandomInputs {
  Bindings bindings;
  double **parameters, **data, **states, **row_states, **givens; /* what the bindings point to; may be changed */
} RandomInputs;
RandomInputs *random_inputs(Compilation *, const Signature *, uint64_t seed, long rows);

#endif
