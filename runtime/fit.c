/* See fit.h. */
#include "fit.h"

#include <string.h>

/* ---- variables ------------------------------------------------------------------------------------------------ */

/* How much of a fit's variables one row has. */
static long row_variables(const struct spm_model *model, const struct spm_program *program) {
  long size = 0;
  for (int i = 0; program && i < program->output_count; i++)
    if (program->outputs[i].role == SPM_ROW_GRADIENT_OF) size += model->row_states[program->outputs[i].index].size;
  return size;
}

static long parameter_variables(const struct spm_program *program) {
  long size = 0;
  for (int i = 0; i < program->output_count; i++)
    if (program->outputs[i].role == SPM_GRADIENT_OF) size += program->outputs[i].size;
  return size;
}

/* Values and gradients of rows [from, from + count), one row state after the other -> a point's vectors, or back. */
enum direction { TO_POINT, FROM_POINT, GRADIENT_TO_POINT };

static void move_rows(const struct spm_run *run, real *const *batch, long from, long count, real *point,
                      enum direction direction) {
  for (int i = 0; i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
    if (output->role != SPM_ROW_GRADIENT_OF) continue;
    size_t at = (size_t)(from * output->size), size = sizeof(real) * (size_t)(count * output->size);
    real *values = batch[output->index] + at;
    if (direction == FROM_POINT)
      memcpy(values, point, size);
    else
      memcpy(point, direction == TO_POINT ? values : spm_output_values(run, output) + at, size);
    point += count * output->size;
  }
}

static void move_parameters(const struct spm_run *run, real *parameters, real *point, enum direction direction) {
  for (int i = 0; i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
    if (output->role != SPM_GRADIENT_OF) continue;
    real *values = parameters + run->model->parameters[output->index].offset;
    size_t size = sizeof(real) * (size_t)output->size;
    if (direction == FROM_POINT)
      memcpy(values, point, size);
    else
      memcpy(point, direction == TO_POINT ? values : spm_output_values(run, output), size);
    point += output->size;
  }
}

/* ---- memory --------------------------------------------------------------------------------------------------- */

static size_t most_of(size_t a, size_t b) { return a > b ? a : b; }

static void add_need(struct spm_fitter_sizes *sizes, size_t problems, size_t variables, int history) {
  sizes->problems = most_of(sizes->problems, problems);
  sizes->points = most_of(sizes->points, variables);
  sizes->reals = most_of(sizes->reals, spm_lbfgs_reals((long)variables, history));
  sizes->numbers = most_of(sizes->numbers, problems * spm_lbfgs_numbers(history));
}

/* The fit of a batch by this program. */
static void add_fit(const struct spm_model *model, const char *name, const struct spm_fit *fit, long rows,
                    struct spm_fitter_sizes *sizes) {
  const struct spm_program *program = spm_find_program(model, name);
  size_t size = (size_t)row_variables(model, program);
  if (size == 0 || fit->steps == 0) return;
  size_t problems = spm_find_output(program, SPM_ROWS, "objective") ? (size_t)rows : 1;
  add_need(sizes, problems, size * (size_t)rows, fit->history);
}

void spm_fitter_need(const struct spm_model *model, long batch, long fresh, int stages,
                     struct spm_fitter_sizes *sizes) {
  memset(sizes, 0, sizeof *sizes);
  add_fit(model, "fit", &model->fit, batch, sizes);
  add_fit(model, "fit_new", &model->fit_new, fresh, sizes);
  const struct spm_program *train = spm_find_program(model, "train");
  for (int i = 0; i < stages; i++)
    if (strcmp(model->trainings[i].optimizer, "lbfgs") == 0)
      add_need(sizes, 1, (size_t)(parameter_variables(train) + batch * row_variables(model, train)),
               model->trainings[i].fit.history);
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

/* The batch as one problem. */
static void fit_together(struct spm_fitter *f, struct spm_run *run, const struct spm_lbfgs_options *options, long size,
                         real *const *batch) {
  long rows = run->call.rows;
  const struct spm_output *objective = spm_find_output(run->program, SPM_OBJECTIVE, NULL);
  int status = SPM_LBFGS_EVALUATE;
  spm_lbfgs_begin(f->problems, rows * size, options, f->reals, f->numbers);
  move_rows(run, batch, 0, rows, f->points, TO_POINT);
  while (status == SPM_LBFGS_EVALUATE) {
    spm_run_program(run);
    move_rows(run, batch, 0, rows, f->gradients, GRADIENT_TO_POINT);
    status = spm_lbfgs_advance(f->problems, f->points, -(double)*spm_output_values(run, objective), f->gradients);
    move_rows(run, batch, 0, rows, f->points, FROM_POINT);
  }
}

struct advance_context {
  struct spm_fitter *fitter;
  const struct spm_run *run;
  const struct spm_output *objective;
  real *const *batch;
  long size;
};

enum { ADVANCE_ROWS = 32 };

static void advance_unit(void *context, long unit, int thread) {
  struct advance_context *c = context;
  struct spm_fitter *f = c->fitter;
  long from = unit * ADVANCE_ROWS, rows = c->run->call.rows,
       end = rows - from < ADVANCE_ROWS ? rows : from + ADVANCE_ROWS;
  const real *values = spm_output_values(c->run, c->objective);
  (void)thread;
  for (long r = from; r < end; r++) {
    real *point = f->points + r * c->size, *gradient = f->gradients + r * c->size;
    if (f->problems[r].status != SPM_LBFGS_EVALUATE) continue;
    move_rows(c->run, c->batch, r, 1, gradient, GRADIENT_TO_POINT);
    spm_lbfgs_advance(&f->problems[r], point, -(double)values[r], gradient);
    move_rows(c->run, c->batch, r, 1, point, FROM_POINT);
  }
}

/* Each row by itself: all that still move are evaluated together; one that has arrived stands still. */
static void fit_each(struct spm_fitter *f, struct spm_run *run, const struct spm_lbfgs_options *options, long size,
                     real *const *batch, const struct spm_output *objective) {
  struct advance_context context = {f, run, objective, batch, size};
  size_t reals = spm_lbfgs_reals(size, options->history), numbers = spm_lbfgs_numbers(options->history);
  long rows = run->call.rows, moving = rows;
  for (long r = 0; r < rows; r++) {
    spm_lbfgs_begin(&f->problems[r], size, options, f->reals + (size_t)r * reals, f->numbers + (size_t)r * numbers);
    move_rows(run, batch, r, 1, f->points + r * size, TO_POINT);
  }
  while (moving > 0) {
    spm_run_program(run);
    spm_spread(run, (rows + ADVANCE_ROWS - 1) / ADVANCE_ROWS, advance_unit, &context);
    moving = 0;
    for (long r = 0; r < rows; r++) moving += f->problems[r].status == SPM_LBFGS_EVALUATE;
  }
}

void spm_fit_rows(struct spm_fitter *fitter, struct spm_run *run, const struct spm_fit *fit, real *const *batch) {
  long size = row_variables(run->model, run->program);
  if (size == 0 || fit->steps == 0) return;
  struct spm_lbfgs_options options = spm_lbfgs_defaults(fit->steps, fit->history);
  const struct spm_output *each = spm_find_output(run->program, SPM_ROWS, "objective");
  if (each)
    fit_each(fitter, run, &options, size, batch, each);
  else
    fit_together(fitter, run, &options, size, batch);
}

/* ---- training ------------------------------------------------------------------------------------------------- */

static void move_all(const struct spm_run *run, real *parameters, real *const *batch, real *point,
                     enum direction direction) {
  move_parameters(run, parameters, point, direction);
  move_rows(run, batch, 0, run->call.rows, point + parameter_variables(run->program), direction);
}

int spm_fit_step(struct spm_fitter *fitter, struct spm_run *run, const struct spm_fit *fit, real *parameters,
                 real *const *batch) {
  struct spm_fitter *f = fitter;
  struct spm_lbfgs_options options = spm_lbfgs_defaults(fit->steps, fit->history);
  const struct spm_output *objective = spm_find_output(run->program, SPM_OBJECTIVE, NULL);
  long n = parameter_variables(run->program) + run->call.rows * row_variables(run->model, run->program);
  int status = SPM_LBFGS_EVALUATE;
  spm_lbfgs_begin(f->problems, n, &options, f->reals, f->numbers);
  move_all(run, parameters, batch, f->points, TO_POINT);
  while (status == SPM_LBFGS_EVALUATE) {
    spm_run_program(run);
    move_all(run, parameters, batch, f->gradients, GRADIENT_TO_POINT);
    status = spm_lbfgs_advance(f->problems, f->points, -(double)*spm_output_values(run, objective), f->gradients);
    move_all(run, parameters, batch, f->points, FROM_POINT);
  }
  run->lr = 0;
  run->broken = -1;
  if (status == SPM_LBFGS_BROKEN) return SPM_STEP_SKIPPED; /* nothing was moved */
  spm_run_program(run);
  return SPM_STEP_UPDATED;
}
