/* What random specs are written with: names in scope and the text so far, and an expression of any shape and range.
 * random_expression.c holds the templates that expressions are made from, random_spec.c what stands around them. */
#ifndef SPM_GENERATOR_H
#define SPM_GENERATOR_H

#include "../random_graph.h"

enum { DIMS = 5, RANKS = 3, MAX_VARIABLES = 64, DEEPEST = 5 };

typedef enum Range { REAL, POSITIVE, UNIT, BINARY } Range;

typedef struct Shape_ {
  int rank, dims[RANKS];
} Dims;

typedef struct Variable {
  char name[24];
  Dims dims;
  Range range;
} Variable;

typedef struct Text_ {
  char *bytes;
  size_t length, room;
} Writing;

typedef struct Generator {
  Random random;
  Writing text;     /* statements so far */
  Writing declared; /* params declared on demand */
  int lengths[DIMS];
  Variable variables[MAX_VARIABLES];
  int variable_count;
  bool lower[DIMS];    /* the lower-triangular param over this dim is declared */
  bool filters;        /* and the filters */
  bool twice;          /* what stands here is differentiated twice */
  bool parameters;     /* may layers stand here? */
  bool constant;       /* nothing but params and numbers may stand here */
  int samples, fields; /* numbers of names */
} Generator;

extern const char *const dim_names[DIMS];

void write_text(Writing *, const char *format, ...) __attribute__((format(printf, 2, 3)));
int below(Generator *, int count);
bool chance(Generator *, int percent);

/* A dim that is neither among these nor `avoid`. */
int other_dim(Generator *, const Dims *, int avoid);
void put_template(Generator *, Writing *, const char *text, const Dims *, int depth);
void put_expression(Generator *, Writing *, Range, Dims, int depth);

#endif
