/* Runs a program's phases (model.h) over one batch, with the caller's memory. C99, and pasted into emitted trainers, so
 * it knows neither files nor threads: work is spread by a callback, or done in order without one.
 *
 * Results depend on shapes, the batch and the numbers alone, never on how units are spread: tiles have fixed sizes,
 * what is summed over tiles is summed in a fixed binary tree, and every other unit writes memory of its own. Nothing is
 * allocated here. */
#ifndef SPM_DRIVER_H
#define SPM_DRIVER_H

#include "model.h"

#ifdef SPM_DOUBLE /* the same file is compiled for both types into one program */
#define spm_run_program spm_run_program_d
#define spm_run_step spm_run_step_d
#define spm_run_project spm_run_project_d
#define spm_store spm_store_d
#define spm_spread spm_spread_d
#define spm_program_sizes spm_program_sizes_d
#define spm_tile_rows spm_tile_rows_d
#define spm_find_program spm_find_program_d
#define spm_find_output spm_find_output_d
#define spm_output_values spm_output_values_d
#define spm_all_finite spm_all_finite_d
#define spm_is_rate spm_is_rate_d
#define spm_place_domains spm_place_domains_d
#define spm_find_members spm_find_members_d
#endif

#ifndef SPM_ONE_THREAD
enum { SPM_MAX_THREADS = 64 };
#endif

/* How units of work are spread: calls run(context, unit, thread) once for each unit, in any order and on any of
 * `threads` threads (thread < threads, no two calls at once with the same one), and returns when all are done. */
typedef void (*spm_unit_function)(void *context, long unit, int thread);
#ifndef SPM_ONE_THREAD
struct spm_workers {
  int threads;
  void (*spread)(void *pool, long units, spm_unit_function run, void *context); /* NULL: one after the other */
  void *pool;
};
#endif

struct spm_sizes { /* lengths in reals; scratch: of each thread, one block of threads x scratch */
  long values, kept, partials, scratch;
};

struct spm_optimizer {
  const struct spm_training *stage; /* which says what it is: "adam" or "sgd"; others are not the driver's (fit.h) */
  real *first, *second; /* moments, laid out like the parameters; sgd has no second, and a first only with momentum */
  long updates;         /* made so far */
#ifndef SPM_ONE_THREAD
  int unfused; /* updates after all gradients are made, not each range's right after it, while it is in cache; the bytes
                  are the same */
#endif
};

/* How a training step went. SKIPPED: the objective or a gradient was not finite, or the rate was none to step by, and
 * nothing was changed; PARTLY: only a gradient computed range by range was found not to be finite, and those ranges
 * were left as they were. */
enum { SPM_STEP_UPDATED, SPM_STEP_SKIPPED, SPM_STEP_PARTLY };

struct spm_run {
  const struct spm_model *model;
  const struct spm_program *program;
  struct spm_call call; /* the caller sets all but `tile` and what is said of domains; `state_next` may be NULL where
                           the program has no states */
  real *scratch;        /* of all threads, one after the other */
#ifdef SPM_ONE_THREAD
  real *part; /* for a part of a range, which is updated while it is in cache */
#else
  long scratch_size;
#endif
  double lr;        /* of a step: the learning rate that was used; negative or not finite: skipped */
  int broken;       /* ... and the parameter whose gradient was not finite, or -1 */
  real *parameters; /* which call.parameters points to as well, where a step updates them */
  const struct spm_optimizer *optimizer; /* the driver's own: of a step, else NULL */
#ifndef SPM_ONE_THREAD
  const struct spm_phase *phase;     /* that runs, */
  const struct spm_call *phase_call; /* ... and its call */
  int at_once;                       /* of its ranges those are made that are updated at once, else the others */
  int found[SPM_MAX_THREADS];        /* by thread: what becomes `broken` */
  struct spm_workers workers;
#endif
#ifndef SPM_NO_DOMAINS
  struct spm_call domains[SPM_MAX_DOMAINS]; /* made by the driver: what is called for rows of members */
#endif
};

static inline long spm_larger(long a, long b) { return a > b ? a : b; }
/* Rows in a tile: depends on the batch alone. */
long spm_tile_rows(long rows);
/* Raises sizes to what a program needs for batches of up to `capacity` rows. */
void spm_program_sizes(const struct spm_program *program, long capacity, struct spm_sizes *sizes);
const struct spm_program *spm_find_program(const struct spm_model *model, const char *name);             /* or NULL */
const struct spm_output *spm_find_output(const struct spm_program *program, int role, const char *name); /* or NULL */
/* Gives a run's domains their memory, all but the lists of who their rows are; and makes those lists for one of them,
 * once the weights are known. Whoever calls phases himself does the same. */
void spm_place_domains(struct spm_run *run);
void spm_find_members(struct spm_run *run, int domain);
/* Where an output's values are after a run. Those of SPM_KEPT have `size` values for each row. */
const real *spm_output_values(const struct spm_run *run, const struct spm_output *output);
int spm_all_finite(const real *values, long count);
int spm_is_rate(double lr); /* one to step by: neither negative nor infinite nor NaN */
/* Work on the run's threads, or in order. */
void spm_spread(const struct spm_run *run, long units, spm_unit_function run_unit, void *context);

/* All phases in order; the next state, if the program has one, is in call.state_next. */
void spm_run_program(struct spm_run *run);
/* The same for a program with gradients, and updates the parameters. The caller adds one to `updates` unless the step
 * was skipped. */
int spm_run_step(struct spm_run *run, const struct spm_optimizer *optimizer);
/* A run's outputs of this role become the parameters that they are of. */
void spm_store(const struct spm_run *run, int role, real *parameters);
/* Runs "project" and stores its outputs in the parameters: sets projected ones back onto their constraints. */
void spm_run_project(struct spm_run *run, real *parameters);

#endif
