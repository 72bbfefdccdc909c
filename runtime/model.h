/* The contract between a generated model and whatever runs it. Stands at the top of every generated file; a trainer's
 * own, which is all there is to it, has no more of it than its model needs.
 *
 * A model is a set of programs; a program is a fixed list of phases, run in order by a driver (runtime/driver.c):
 *   step phase      no rows: values of parameters, schedules, state and statistics alone; one call, unit 0.
 *   row phase       one call a tile of rows; leaves kept row values, and one partial of each statistic a tile, which
 *                   the driver combines in a fixed binary tree and puts where the statistic says.
 *   gradient phase  one call a range of one step value's adjoint, over the whole batch.
 * Calls of one phase are independent of each other: a driver may spread them over threads. All memory is the caller's.
 * Tile sizes and ranges depend on shapes and the batch alone, so any number of threads gives the same bytes.
 * Lengths are counted in reals; matrices are row-major; nats a datum unless said otherwise. */
#ifndef SPM_MODEL_H
#define SPM_MODEL_H

#ifdef SPM_DOUBLE
typedef double real;
#else
typedef float real;
#endif

enum { SPM_ABI = 4 };
enum { SPM_MAX_RANK = 8, SPM_MAX_SUPPORTS = 4, SPM_MAX_DOMAINS = 8, SPM_MAX_GATHERED = 4096 };
enum { SPM_UNIFORM, SPM_NORMAL }; /* kinds of noise */
enum { SPM_STEP_PHASE, SPM_ROW_PHASE, SPM_GRADIENT_PHASE };
#ifndef SPM_NO_MAXIMA
enum { SPM_SUM, SPM_MAX }; /* combiner of a statistic over tiles */
#endif
enum {                     /* where a value lives */
       SPM_VALUES,         /* step values: call->values + offset */
       SPM_GRADIENT,       /* gradients of raw parameters: call->gradient + offset (the parameter's own offset) */
       SPM_STATE_NEXT,     /* next state: call->state_next + offset */
       SPM_KEPT            /* row values: call->kept + capacity * offset, then rows x size */
};
/* What a program's output is; the order is that of OutputRole in the compiler. */
enum { SPM_OBJECTIVE, SPM_TERM, SPM_METRIC, SPM_VALUE, SPM_GRADIENT_OF, SPM_STATE_OF, SPM_INITIAL_OF, SPM_EXPORT_OF };
/* SOLVED_OF: raw value of a solved parameter, of which the mean over all batches is the one for the data. ROW_..._OF: of
 * a row state, rows x size. */
enum { SPM_SOLVED_OF = SPM_EXPORT_OF + 1, SPM_ROWS, SPM_ROW_GRADIENT_OF, SPM_ROW_NEXT_OF, SPM_ROW_INITIAL_OF };
/* SUPPORT_OF: the weights of a summed-out latent's members, for each row.
 * SHARE_OF: the share of rows that the metric of this name is a mean of; it is 0 on the others. */
enum { SPM_SUPPORT_OF = SPM_ROW_INITIAL_OF + 1, SPM_SHARE_OF };

/* What one call of a phase sees. Filled by the driver. */
struct spm_call {
  const real *parameters;       /* raw parameters */
  const real *const *data;      /* by data declaration: rows x size */
#ifndef SPM_NO_STATES
  const real *state;            /* before this step */
#endif
#ifndef SPM_NO_GIVENS
  const real *const *given;     /* by given: what initial values need of the data; for "initialise" alone */
#endif
#ifndef SPM_NO_ROW_STATES
  const real *const *row_state; /* by row state: what each row of the batch owns, rows x size, before this step */
#endif
#ifndef SPM_NO_STATES
  real *state_next;             /* written by step phases of programs that advance state */
#endif
  real *values;                 /* step values */
  real *kept;                   /* row values alive between phases: capacity x kept_row */
  real *partials;               /* partials of statistics: tiles x partial_size */
  real *gradient;               /* same layout as parameters; for programs with gradients */
  long rows;                    /* rows in this batch */
  long capacity;                /* rows the kept buffer has room for */
  long tile;                    /* rows in a tile (the last may be shorter) */
  long first_row;               /* number of the batch's first row, for noise */
  unsigned long long seed;
  unsigned step;    /* counter of noise */
#ifdef SPM_NO_BALANCE
  real settings[6]; /* epoch, step, rows in batch, total rows */
#else
  real settings[6]; /* epoch, step, rows in batch, total rows; what a row counts for beyond 1, in a stage that balances:
                       where that is true, where it is false */
#endif
#ifndef SPM_NO_DOMAINS
  /* Member rows. A latent that is summed out over its support makes of each datum one row for each member whose weight
   * is not 0; several such latents, one for each combination. Rows of the same latents are a domain, and its phases are
   * called with a call of its own, whose rows, capacity, tile, kept and partials are the domain's. */
  const struct spm_call *domains; /* by domain; the first is the batch's */
  const int *datum;               /* by row of the domain: the row of the batch */
  const int *first;               /* by row of the batch, and one more: its first row in the domain */
  const int *members;             /* [latent of the domain][capacity] */
  const int *links;               /* [domain][capacity]: the row there that belongs to this one */
#endif
};

typedef void (*spm_phase_function)(const struct spm_call *call, real *scratch, long unit);
#ifndef SPM_PRODUCTS
typedef void (*spm_range_function)(const struct spm_call *call, real *scratch, long unit, real *out);
#endif

struct spm_statistic {
  long partial; /* offset in a tile's partials */
  long size;
#ifndef SPM_NO_MAXIMA
  int combine; /* SPM_SUM, SPM_MAX */
#endif
  int place;   /* SPM_VALUES, SPM_GRADIENT */
  long offset;
};

#ifdef SPM_PRODUCTS
/* The gradient of a parameter, made in parts: the transpose of one row value times another. Where these lie (kept, or
 * -1 - the number of a data declaration), how many numbers a row of them has, and how many elements a part. */
struct spm_range {
  long left, left_size, right, right_size, chunk;
  int parameter;
};
#else
/* An adjoint made in ranges, in a gradient phase: unit u writes elements [u * chunk, min(size, (u + 1) * chunk)). */
struct spm_range {
  spm_range_function run; /* `out` points at the range's first element; overwritten, not added to */
  long units, chunk, size;
  int parameter; /* >= 0: the gradient of this raw parameter, final: its update may follow at once; -1: another value */
  int place;     /* SPM_GRADIENT (parameter's), SPM_VALUES */
  long offset;
};
#endif

struct spm_phase {
  int kind;
#ifndef SPM_NO_DOMAINS
  int domain;             /* row phases: whose rows */
#endif
  spm_phase_function run; /* step and row phases */
  int statistic_count;
  const struct spm_statistic *statistics; /* row phases */
  int range_count;
  const struct spm_range *ranges; /* gradient phases */
};

struct spm_output {
  const char *name; /* "elbo", "kl(z)", "q.mu.dense.W" */
  int role;
  int index; /* of the parameter, state or row state, else -1 */
  int place;
  long offset, size;
};

struct spm_domain {
  int support_count, supports[SPM_MAX_SUPPORTS]; /* latents, by number; none: the batch itself */
  long members;                                  /* rows that a datum may have */
  long tile;
  long kept; /* offset of all that it keeps in call->kept, for each row of capacity: its kept rows, datum, members and
                links of each, first, and its partials */
  long kept_row; /* kept values of one of its rows */
};

struct spm_program {
  const char *name; /* "initialise", "train", "evaluate", "encode", "decode", "export", "project", ... */
  int phase_count;
  const struct spm_phase *phases;
  int output_count;
  const struct spm_output *outputs;
#ifndef SPM_TRAINER
  long value_size;                 /* of call->values */
  long kept_row;                   /* of call->kept, a row of capacity */
#endif
  long partial_size;               /* of call->partials, a tile */
#ifndef SPM_TRAINER
  long scratch_fixed, scratch_row; /* a thread's scratch: fixed + tile x row */
  int uses_rows;                   /* 0: no row phases, needs no data */
#endif
#ifndef SPM_NO_DOMAINS
  int domain_count;
  const struct spm_domain *domains; /* NULL if there is but the batch */
  long supports[SPM_MAX_SUPPORTS];  /* by latent that is summed out: how many members */
#endif
};

struct spm_tensor { /* a parameter, a state, a row state or a data declaration */
  const char *name;
  const char *dims; /* "[K, H]" in the author's names, "" for a scalar */
  int rank;
  long shape[SPM_MAX_RANK];
  long size;
  long offset;                       /* in parameters or state; of row states: before it in a row; 0 for data */
  int fixed, projected, constrained; /* parameters; row states: constrained */
  double low, high;                  /* data: declared bounds; state: low is the start value */
  int integer, unit, missing_ok;     /* data; unit: a file of bytes is read as byte / 255 */
#ifndef SPM_NO_LABELS
  long categories; /* data: 0, or files hold labels 0 .. categories - 1, each read as a one-hot vector (the last dim) */
#endif
#ifndef SPM_NO_GATHERED
  long gathered;   /* data: 0, or each datum has so many distinct rows of the file, drawn afresh (the first dim) */
#endif
};

struct spm_fit { /* inner iterations of L-BFGS */
  long steps;    /* at most; 0: there are none */
  int history;   /* pairs that are kept */
  int restart;   /* rows begin anew each time they are visited */
};

struct spm_training {    /* a stage; numbers not in the spec hold the defaults */
  const char *name;      /* or "" where there is but one */
  const char *optimizer; /* "adam", "sgd", "lbfgs" */
  double lr, beta1, beta2, epsilon, momentum, weight_decay;
  long batch, epochs, steps; /* steps > 0 ends training early; batch 0: all rows */
  int shuffle;
#ifndef SPM_NO_FITTER
  struct spm_fit fit;    /* lbfgs: iterations of one step */
#endif
#ifndef SPM_NO_UNCHANGED
  int unchanged;         /* > 0: training ends when an epoch's objective equals that of so many epochs before */
#endif
#ifndef SPM_NO_RATES
  const char *rate;      /* the SPM_VALUE output of "train" that is the learning rate in the place of lr, or NULL */
#endif
#ifndef SPM_NO_HELD
  long valid;            /* rows held back from the end of the data for validation; the same in all stages */
#endif
#ifndef SPM_NO_BEST
  const char *keep;      /* the output of "evaluate" of which the best on validation rows stays, or NULL */
  int smallest;          /* the best is the smallest */
#endif
#ifndef SPM_NO_PATIENCE
  long patience;         /* > 0: training ends when the best is that many epochs old */
#endif
#ifndef SPM_NO_SELECTIONS
  int selects, balances; /* program "select" has the outputs "rows", "balance" for each row, with "NAME." before them */
#endif
};

enum { SPM_GIVEN_ROWS, SPM_GIVEN_MEAN, SPM_GIVEN_MEDIAN, SPM_GIVEN_FILE };
/* What initial values need of the training data or of a file, worked out before "initialise" runs. ROWS: rows chosen at
 * random, along the first dim; MEAN, MEDIAN: over all rows, element by element. */
struct spm_given {
  const char *name; /* "rows(x)" */
  int kind, data;   /* data: -1 for a file */
  const char *path; /* of a file, seen from where the spec is */
  int rank;
  long shape[SPM_MAX_RANK];
  long size;
};

struct spm_model {
#ifndef SPM_TRAINER
  int abi, real_size;
#endif
  const char *name;
  int parameter_count, data_count, state_count, row_state_count, program_count, training_count;
  const struct spm_tensor *parameters, *data, *states, *row_states;
  const struct spm_program *programs;
  const struct spm_training *trainings;
  long parameter_size, state_size; /* of the raw parameters and the state, padding included */
  long row_state_size;             /* of all row states, a row */
#ifdef SPM_TRAINER
  /* What the largest programs need: values; kept, a row; partials, a tile; scratch, in all and a row; for a range. */
  long value_size, kept_row, partial_size, scratch_fixed, scratch_row, range_size;
#endif
#ifndef SPM_NO_FITTER
  struct spm_fit fit;              /* by "fit", of a batch's row states before each step of training */
  struct spm_fit fit_new;          /* by "fit_new", of rows that were not trained on */
#endif
#ifndef SPM_NO_GIVENS
  int given_count;
  const struct spm_given *givens;
#endif
};

#endif
