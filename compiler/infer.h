/* What the inference methods share: infer.c, one file a method, and whoever adds a method to the table. */
#ifndef SPM_INFER_H
#define SPM_INFER_H

#include "statements.h"

enum { MAX_INFERRED = 8 }; /* latents of one `infer` */
/* Of a method's steps: a loop's, and those that are unrolled into the program, each with its adjoint. */
enum { MOST_STEPS = 100000, MOST_UNROLLED_STEPS = 2000 };

/* One `infer NAMES by METHOD(...)` being turned into values. */
typedef struct Inference {
  Elaborator *e;
  const Item *statement;
  const Expr *method; /* the call, or the bare name */
  Span span;
  int count;
  Item *latents[MAX_INFERRED];
  Support supports[MAX_INFERRED];
  Shape shapes[MAX_INFERRED];
  unsigned axes;   /* of the latents: a chain each */
  bool persistent; /* each row goes on from where it stood when it was last seen */
} Inference;

typedef struct InferenceMethod {
  const char *name;
  const char *options; /* their names, ", " between them */
  bool one_latent;     /* of several it does not speak */
  /* The latents' values, one for each, without what the author may not differentiate through; false after reporting. */
  bool (*infer)(Inference *, Value *values);
} InferenceMethod;

/* Options of the method's call. */
const Expr *option_of(const Inference *, const char *name);
bool count_option(const Inference *, const char *name, int initial, int most, int *);
/* A number, a step value or one value for each row (a scalar); NULL after reporting. */
Node *scalar_option(const Inference *, const char *name, double initial);
/* Is it the word? An option's own words are no names (LANGUAGE rule 21). */
bool option_is_word(const Inference *, const char *name, const char *word);
bool flag_option(const Inference *, const char *name, bool *);
/* The nearest value of the latent's support. */
Node *inside_support(const Inference *, int latent, Node *z);
/* Off the edges that a density may be 0 at, as far inside as it went outside; then inside_support. */
Node *reflected(const Inference *, int latent, Node *z);
/* Where each latent starts: `start`, or where a param of its type would. Inside its support, with its axes. */
bool start_values(const Inference *, Node **z);
/* In training, the row's chain stands there from now on. */
void keep_chain(const Inference *, int latent, Node *z);

/* The sums of log densities with the latents at z. Any of the kinds may be left out. One value for each row and
 * sample; NULL after reporting. `z` must be variables (build_variable). */
typedef enum Density { LIKELIHOODS = 1, PRIORS = 2, JOINT = 3 } Density;
Node *density_at(const Inference *, Density, Node **z);
/* Its gradient in each latent, row by row, and in nothing else; refuses a statistic of the batch (rule 37). */
bool density_gradient(const Inference *, Density, Node **z, Node **gradients);
/* A latent's prior with the latents at z; VALUE_ERROR after reporting. */
Value prior_at(const Inference *, int latent, Node **z);

/* One over the largest eigenvalue of the Hessian of -log_lik, which must be the same for every row and every z; where
 * it is not, the step `otherwise`, or an error where that is 0. NULL after reporting. */
Node *lipschitz_step(const Inference *, Node **z, double otherwise);

bool infer_by_gradient(Inference *, Value *values);                  /* langevin, map */
bool infer_by_prox(Inference *, Value *values);                      /* ista, fista */
bool infer_by_fit(Inference *, Value *values);                       /* map(optimizer = lbfgs(...)) */
bool check_climbable_prior(const Inference *, int latent, Node **z); /* a density without atoms */

#endif
