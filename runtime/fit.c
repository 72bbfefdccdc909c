/* See fit.h. */
#include "fit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct spm_fitter {
  struct spm_lbfgs_options step; /* of a training step; steps 0: it is another optimiser's */
  long variables;                /* of a training step */
  long capacity;                 /* problems there is room for */
  struct spm_lbfgs *problems;
  real *points, *gradients, *reals;
  double *numbers;
};

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

static struct spm_lbfgs_options options_of(const struct spm_fit *fit) {
  return spm_lbfgs_defaults(fit->steps, fit->history);
}

/* Reals and numbers for the fit of a batch by this program. */
static void size_fit(const struct spm_model *model, const char *name, const struct spm_fit *fit, long rows,
                     size_t *points, size_t *reals, size_t *numbers) {
  const struct spm_program *program = spm_find_program(model, name);
  size_t size = (size_t)row_variables(model, program), all = size * (size_t)rows;
  if (size == 0 || fit->steps == 0) return;
  size_t problems = spm_find_output(program, SPM_ROWS, "objective") ? (size_t)rows : 1;
  size_t need = spm_lbfgs_reals((long)all, fit->history), more = problems * spm_lbfgs_numbers(fit->history);
  *points = all > *points ? all : *points;
  *reals = need > *reals ? need : *reals;
  *numbers = more > *numbers ? more : *numbers;
}

int spm_fitter_create(struct spm_host *host, long batch, const struct spm_training *trainings, int count,
                      struct spm_error *error) {
  const struct spm_model *model = host->model;
  size_t points = 0, reals = 0, numbers = 0;
  long variables = 0;
  size_fit(model, "fit", &model->fit, batch, &points, &reals, &numbers);
  size_fit(model, "fit_new", &model->fit_new, SPM_EVALUATION_ROWS, &points, &reals, &numbers);
  for (int i = 0; i < count; i++) {
    const struct spm_training *training = &trainings[i];
    const struct spm_program *train = spm_find_program(model, "train");
    if (strcmp(training->optimizer, "lbfgs") != 0) continue;
    variables = parameter_variables(train) + batch * row_variables(model, train);
    size_t need = spm_lbfgs_reals(variables, training->fit.history), more = spm_lbfgs_numbers(training->fit.history);
    points = (size_t)variables > points ? (size_t)variables : points;
    reals = need > reals ? need : reals;
    numbers = more > numbers ? more : numbers;
  }
  if (points == 0) return 0;
  struct spm_fitter *f = host->fitter = calloc(1, sizeof *f);
  if (f) {
    f->capacity = batch > SPM_EVALUATION_ROWS ? batch : SPM_EVALUATION_ROWS;
    f->variables = variables;
    f->problems = calloc((size_t)f->capacity, sizeof *f->problems);
    f->points = calloc(points, sizeof(real));
    f->gradients = calloc(points, sizeof(real));
    f->reals = calloc(reals, sizeof(real));
    f->numbers = calloc(numbers, sizeof(double));
    if (f->problems && f->points && f->gradients && f->reals && f->numbers) return 0;
  }
  return spm_fail(error, "%s: not enough memory for L-BFGS (about %.0f MB; a shorter history needs less)", model->name,
                  (double)(sizeof(real) * (reals + 2 * points)) / 1e6);
}

void spm_fitter_free(struct spm_fitter *f) {
  if (!f) return;
  free(f->problems);
  free(f->points);
  free(f->gradients);
  free(f->reals);
  free(f->numbers);
  free(f);
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

/* The batch as one problem. */
static void fit_batch(struct spm_host *host, struct spm_run *run, const struct spm_lbfgs_options *options, long size) {
  struct spm_fitter *f = host->fitter;
  long rows = run->call.rows;
  const struct spm_output *objective = spm_find_output(run->program, SPM_OBJECTIVE, NULL);
  int status = SPM_LBFGS_EVALUATE;
  spm_lbfgs_begin(f->problems, rows * size, options, f->reals, f->numbers);
  move_rows(run, host->row_batch, 0, rows, f->points, TO_POINT);
  while (status == SPM_LBFGS_EVALUATE) {
    spm_run_program(run);
    move_rows(run, host->row_batch, 0, rows, f->gradients, GRADIENT_TO_POINT);
    status = spm_lbfgs_advance(f->problems, f->points, -(double)*spm_output_values(run, objective), f->gradients);
    move_rows(run, host->row_batch, 0, rows, f->points, FROM_POINT);
  }
}

struct advance_context {
  struct spm_host *host;
  struct spm_run *run;
  const struct spm_output *objective;
  long size;
};

enum { ADVANCE_ROWS = 32 };

static void advance_unit(void *context, long unit, int thread) {
  struct advance_context *c = context;
  struct spm_fitter *f = c->host->fitter;
  long from = unit * ADVANCE_ROWS, rows = c->run->call.rows,
       end = rows - from < ADVANCE_ROWS ? rows : from + ADVANCE_ROWS;
  const real *values = spm_output_values(c->run, c->objective);
  (void)thread;
  for (long r = from; r < end; r++) {
    real *point = f->points + r * c->size, *gradient = f->gradients + r * c->size;
    if (f->problems[r].status != SPM_LBFGS_EVALUATE) continue;
    move_rows(c->run, c->host->row_batch, r, 1, gradient, GRADIENT_TO_POINT);
    spm_lbfgs_advance(&f->problems[r], point, -(double)values[r], gradient);
    move_rows(c->run, c->host->row_batch, r, 1, point, FROM_POINT);
  }
}

/* Each row by itself: all that still move are evaluated together; one that has arrived stands still. */
static void fit_each(struct spm_host *host, struct spm_run *run, const struct spm_lbfgs_options *options, long size,
                     const struct spm_output *objective) {
  struct spm_fitter *f = host->fitter;
  struct advance_context context = {host, run, objective, size};
  size_t reals = spm_lbfgs_reals(size, options->history), numbers = spm_lbfgs_numbers(options->history);
  long rows = run->call.rows, moving = rows;
  for (long r = 0; r < rows; r++) {
    spm_lbfgs_begin(&f->problems[r], size, options, f->reals + (size_t)r * reals, f->numbers + (size_t)r * numbers);
    move_rows(run, host->row_batch, r, 1, f->points + r * size, TO_POINT);
  }
  while (moving > 0) {
    spm_run_program(run);
    spm_host_spread(host, (rows + ADVANCE_ROWS - 1) / ADVANCE_ROWS, advance_unit, &context);
    moving = 0;
    for (long r = 0; r < rows; r++) moving += f->problems[r].status == SPM_LBFGS_EVALUATE;
  }
}

void spm_fit_rows(struct spm_host *host, const struct spm_program *program, const struct spm_fit *fit, long rows,
                  long first_row, unsigned step) {
  long size = row_variables(host->model, program);
  if (size == 0 || fit->steps == 0) return;
  struct spm_lbfgs_options options = options_of(fit);
  struct spm_run run = spm_host_run(host, program, rows);
  run.call.first_row = first_row;
  run.call.step = step;
  const struct spm_output *each = spm_find_output(program, SPM_ROWS, "objective");
  if (each)
    fit_each(host, &run, &options, size, each);
  else
    fit_batch(host, &run, &options, size);
}

void spm_fit_steps(struct spm_host *host, const struct spm_fit *fit) { host->fitter->step = options_of(fit); }

/* ---- training ------------------------------------------------------------------------------------------------- */

static void move_all(struct spm_host *host, const struct spm_run *run, real *point, enum direction direction) {
  move_parameters(run, host->parameters, point, direction);
  move_rows(run, host->row_batch, 0, run->call.rows, point + parameter_variables(run->program), direction);
}

struct spm_outcome spm_fit_step(struct spm_host *host, struct spm_run *run) {
  struct spm_fitter *f = host->fitter;
  struct spm_outcome outcome = {SPM_STEP_UPDATED, -1, 0};
  const struct spm_output *objective = spm_find_output(run->program, SPM_OBJECTIVE, NULL);
  long n = parameter_variables(run->program) + run->call.rows * row_variables(host->model, run->program);
  int status = SPM_LBFGS_EVALUATE;
  spm_lbfgs_begin(f->problems, n, &f->step, f->reals, f->numbers);
  move_all(host, run, f->points, TO_POINT);
  while (status == SPM_LBFGS_EVALUATE) {
    spm_run_program(run);
    move_all(host, run, f->gradients, GRADIENT_TO_POINT);
    status = spm_lbfgs_advance(f->problems, f->points, -(double)*spm_output_values(run, objective), f->gradients);
    move_all(host, run, f->points, FROM_POINT);
  }
  if (status == SPM_LBFGS_BROKEN)
    outcome.status = SPM_STEP_SKIPPED; /* nothing was moved */
  else
    spm_run_program(run);
  return outcome;
}
