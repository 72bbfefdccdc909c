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

/* All combinations of values that the parameters may take, as parameters of distributions over a graph of its own: rules
 * are tried on it with the interpreter. A parameter that is a constant keeps its value. */
typedef struct Trial {
  Elaborator *e;
  KlPair pair;
  Value q, p;
  int count;
} Trial;
bool make_trial(Elaborator *, const KlPair *, Trial *);
/* Values for each combination, one after the other; NULL where there are none. */
double *evaluate_trial(Trial *, Value *values, int parts);
/* Where p may have a kink: -1 for 0, and each of its parameters that may be any real number; at most 3. */
int split_points(const KlPair *, int *splits);
/* p's parameters, then q's (which may be NULL); NaN where one is not a constant. */
const double *constants_of(Elaborator *, const Value *p, const Value *q);

/* n nodes in (0, 1) and their weights. */
void legendre_rule(int n, double *nodes, double *weights);

#endif
