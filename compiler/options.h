/* What a compilation is told and what it is about: options from the command line, programs of a model, settings of its
 * train block. Depends on base alone; shared by the front end, the plan and the library's public header. */
#ifndef SPM_OPTIONS_H
#define SPM_OPTIONS_H

#include "base.h"

typedef struct Model Model;

typedef struct Override { /* NAME=VALUE on the command line */
  const char *name;
  double value;
} Override;

typedef struct DataShape { /* shape of one row of the file given for a data declaration: values for `dim D;` */
  const char *name;
  int rank;
  long dims[8];
} DataShape;

typedef struct CompileOptions {
  const Override *overrides;
  int override_count;
  const DataShape *data;
  int data_count;
  const char *search_path; /* directories for `use`, separated by ':', after the using file's own; NULL: none */
  const char *text;        /* the spec's own text, where the path only names it; NULL: it is read from the path */
  const char *also;        /* `let NAME = VALUE;`, ...: values that the program "encode" gives, too; NULL: none */
  bool sampling;           /* the program "sample" is wanted, too */
  bool invent_dims;        /* dims without a value become small numbers (check, diagnose: LANGUAGE rule 33) */
} CompileOptions;

/* Programs of a model, in the order they are emitted. */
typedef enum ProgramKind {
  PROGRAM_INITIALISE,
  PROGRAM_TRAIN,
  PROGRAM_EVALUATE,
  PROGRAM_ENCODE,
  PROGRAM_RECONSTRUCT,
  PROGRAM_EXPORT,
  PROGRAM_PROJECT,
  PROGRAM_INITIALISE_ROWS, /* of row states */
  PROGRAM_EXPORT_ROWS,
  PROGRAM_FIT,     /* of the batch's locals before a step of training: the objective and its gradient in them */
  PROGRAM_FIT_NEW, /* of rows that were not trained on */
  PROGRAM_SOLVE,   /* the solved params of a batch */
  PROGRAM_MEASURE, /* evaluate, and what only `spmc eval` takes the time for */
  PROGRAM_SELECT,  /* which rows stages train on, and by what they balance them */
  PROGRAM_SAMPLE,  /* latents drawn from their priors, and what the model makes of them; for `spmc sample` alone */
  PROGRAM_COUNT
} ProgramKind;
extern const char *const program_names[PROGRAM_COUNT];

/* Iterations of L-BFGS: lbfgs(steps, history, restart). */
typedef struct InnerFit {
  long steps, history; /* steps 0: none */
  bool restart;
} InnerFit;

/* Settings of a train block, as read by the front end: of one stage. */
typedef struct Training {
  Name name, optimizer; /* name: "" of the unnamed block */
  double lr, beta1, beta2, epsilon, momentum, weight_decay;
  double clip; /* of the gradient's norm, all params together; the same in all stages; 0: not */
  long batch, epochs, steps;
  bool shuffle;
  InnerFit fit;   /* of the optimizer lbfgs */
  long unchanged; /* stop = unchanged(n); 0: not */
  Name rate;      /* the output that is its learning rate where that is a schedule, or NULL */
  long valid;     /* rows held back from the end of the data */
  Name keep;      /* the output of which the best is kept, or NULL */
  bool smallest;  /* ... and the best is the smallest */
  long patience;  /* stop = patience(n) epochs without a new best; 0: not */
  const struct Expr *lr_schedule, *rows, *balance; /* NULL: not given */
  Span keep_span, patience_span;
  InnerFit inner, fit_new; /* of the row states of a batch; of rows that were not trained on */
  Span span;
} Training;

#endif
