/* What kl.c, quadrature.c and normaliser.c share: one KL(q || p) to be taken, and how it came to be. */
#ifndef SPM_KL_H
#define SPM_KL_H

#include "statements.h"

typedef struct KlPair {
  Name latent; /* NULL: kl(d, e) of two distributions, which are not drawn */
  const Value *q, *p;
  Shape shape; /* of the variable */
  Span span;
  KlMethod method;
  /* left by the rule that was taken, or by one that could not be: */
  Span rule;          /* where a closed form stands */
  int nodes;          /* evaluations of the log density for each element */
  double error;       /* estimated, in nats; negative: not estimated */
  const char *how;    /* "split at 0, z = b u^2" */
  const char *coarse; /* NULL, or the parameters at which `error` is more than what is promised */
  const char *why;    /* why the rule cannot be taken */
  bool along_draw;    /* a closed form at each step of a draw, of which the KL is the mean */
} KlPair;

/* Subsets of different sizes are reported. */
bool subset_sizes_agree(Elaborator *, const KlPair *);
/* Each appends IR for the KL, one value an event, or says in pair->why why it cannot and returns false. */
bool kl_along_draw(Elaborator *, KlPair *, Value *result);
bool kl_by_quadrature(Elaborator *, KlPair *, Value *result);
/* expectations.c: q's entropy and the expectation of p's log_pdf, term by term. */
bool kl_by_expectations(Elaborator *, KlPair *, Value *result);
/* Does the value depend on the draw of this latent? */
bool depends_on_draw(Elaborator *, const Node *, Name latent);
/* The same, nodes seen (by id) apart. */
bool search_noise_of(Elaborator *, const Node *, Name latent, bool *seen);

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
enum { MOST_VARIED = 24 };
typedef struct Trial {
  Elaborator *e;
  KlPair pair;
  Value q, p;
  int count;
  Node *varied[MOST_VARIED];         /* the parameters that are no constants, to be differentiated with respect to */
  const double *values[MOST_VARIED]; /* what was given to each, by combination */
  const char *names[MOST_VARIED];    /* "scale", "the prior's mean" */
  bool positive[MOST_VARIED];
  int varied_count;
} Trial;
const char *trial_text(const Trial *, int combination); /* "mode = 0.4, left = 3" */
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

/* Which parameters are no constants and may be any real number, or any positive one: their numbers. */
int free_slots(const Value *d, bool positive, int *slots, int most);

Value stopped(Elaborator *, Value); /* no gradient passes */

/* ---- quadrature_normal.c: E over a normal q ---------------------------------------------------------------------- */

int normal_rule_count(void);
bool normal_kl(Elaborator *, const KlPair *, int rule, int split, int nodes, Value *kl);
int normal_nodes(int rule);
const char *normal_text(Elaborator *, const KlPair *, int rule, int split, int nodes);

/* ---- quadrature_pieces.c: over the line itself ----------------------------------------------------------------- */

typedef enum CentreKind { CENTRE_ITSELF, CENTRE_OF_Q, CENTRE_OF_P, CENTRE_ZERO } CentreKind;
typedef struct Location { /* how q is found on the line */
  CentreKind centre;      /* ITSELF: q's middle by its sampler, or its mean */
  int centre_slot;        /* OF_Q, OF_P: which parameter */
  bool by_sampler, by_moments;
  int scale_slot;      /* neither: which parameter is its size; -1: none */
  bool sampled_end[2]; /* the sampler ends there, at its first or last noise */
  double end[2];       /* of the support */
} Location;
enum { MOST_LOCATIONS = 10 };
int find_locations(Elaborator *, const KlPair *, const bool *sampled_end, Location *);
/* The sampler at one value of its uniform noises and one of its normal ones. */
Value sample_at(Elaborator *, const KlPair *, double uniform, double normal);
/* How long q is, by its sampler. */
Value sampled_size(Elaborator *, const KlPair *);
int piece_rule_count(void);
int piece_nodes(const Location *, int rule);
/* nodes: 0, or how many in all. mass: what q integrates to, by the same nodes. */
bool pieces_kl(Elaborator *, const KlPair *, const Location *, int rule, int split, int nodes, Value *kl, Value *mass);
const char *pieces_text(Elaborator *, const KlPair *, const Location *, int split);

/* ---- atoms.c ---------------------------------------------------------------------------------------------------- */

/* Why the KL of two distributions with atoms cannot be taken by quadrature; NULL: it can. */
const char *atoms_misfit(Elaborator *, const KlPair *);
/* The same where q has an atom that p has not: it cannot be taken at all. */
const char *kl_is_infinite(Elaborator *, const KlPair *);
/* Adds what q's atoms weigh, and their share of E[log q - log p] (of E[-log p] where the entropy is known). */
bool add_atoms(Elaborator *, const KlPair *, bool closed_entropy, Value *mass, Value *sum);

/* n nodes in (0, 1) and their weights. */
void legendre_rule(int n, double *nodes, double *weights);

#endif
