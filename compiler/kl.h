/* What kl.c, quadrature.c and normaliser.c share: one KL(q || p) to be taken, and how it came to be. */
#ifndef SPM_KL_H
#define SPM_KL_H

#include "front.h"

typedef struct KlPair {
  Name latent; /* NULL: kl(d, e) of two distributions, which are not drawn */
  const Value *q, *p;
  Shape shape; /* of the variable */
  Span span;
  KlMethod method;
  /* left by the rule that was taken, or by one that could not be: */
  Span rule;       /* where a closed form stands */
  int nodes;       /* evaluations of the log density for each element */
  double error;    /* estimated, in nats; negative: not estimated */
  const char *how; /* "split at 0, z = b u^2" */
  const char *why; /* why the rule cannot be taken */
} KlPair;

/* Each appends IR for the KL, one value an event, or says in pair->why why it cannot and returns false. */
bool kl_by_sum(Elaborator *, KlPair *, Value *result);
/* Subsets of different sizes are reported. */
bool subset_sizes_agree(Elaborator *, const KlPair *);
bool kl_along_draw(Elaborator *, KlPair *, Value *result);
bool kl_by_quadrature(Elaborator *, KlPair *, Value *result);

/* The variable's shape with one more dim of constants: in front where the last dim is long enough to be run along. */
typedef struct NodeDim {
  Dim dim;
  int at;
  Shape shape;
} NodeDim;
bool node_dim(Elaborator *, const Shape *, int count, NodeDim *);
/* Constants along that dim, repeated over the others. */
Value node_table(Elaborator *, const NodeDim *, const double *values, Span);
Value sum_nodes(Elaborator *, const NodeDim *, Value, Span);

/* All combinations of values that the parameters may take, as parameters of distributions over a graph of its own:
 * rules are tried on it with the interpreter. A parameter that is a constant keeps its value. */
typedef struct Trial {
  Elaborator *e;
  KlPair pair;
  Value q, p;
  int count;
} Trial;
bool make_trial(Elaborator *, const KlPair *, Trial *);
/* trials.c. Values for each combination, one after the other; NULL where there are none. */
double *evaluate_trial(Trial *, Value *values, int parts);
/* Where p may have a kink: -1 for 0, and its parameters that may be any real number, by their numbers. */
enum { MOST_SPLITS = 3 };
int split_points(const KlPair *, int *splits);
const Value *split_value(const Value *d, int split);
const char *split_name(const Value *d, int split);
/* The same for pairs of which the same rule holds: their families and constant parameters. */
Name trial_key(Elaborator *, const KlPair *);
bool is_mapped(const Value *d);   /* inside a call mapped over more dims */
bool is_over_dim(const Value *d); /* a mixture or joint along a dim */

/* n nodes in (0, 1) and their weights. */
void legendre_rule(int n, double *nodes, double *weights);

#endif
