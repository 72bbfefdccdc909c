/* See instance.h. */
#include "instance.h"

#include <string.h>

/* `used` reals of the memory are taken; without memory they are only counted. */
static real *take(real *memory, size_t *used, long count) {
  real *taken = memory ? memory + *used : NULL;
  *used += ((size_t)count + 15) / 16 * 16;
  return taken;
}

#ifndef SPM_NO_PROJECTIONS
const struct spm_program *spm_instance_project(const struct spm_model *model) {
  for (int p = 0; p < model->parameter_count; p++)
    if (model->parameters[p].projected && !model->parameters[p].fixed) return spm_find_program(model, "project");
  return NULL;
}
#endif

static void *take_bytes(real *memory, size_t *used, size_t bytes) {
  return take(memory, used, (long)((bytes + sizeof(real) - 1) / sizeof(real)));
}

#ifndef SPM_NO_FITTER
static void place_fitter(struct spm_instance *instance, real *memory, size_t *used) {
  struct spm_fitter *f = &instance->fitter;
  struct spm_fitter_sizes fit;
  int stages = instance->run.model->training_count;
#ifndef SPM_TRAINER
  if (!instance->training) stages = 0;
#endif
  spm_fitter_need(instance->run.model, instance->rows, instance->rows, stages, &fit);
  f->problems = take_bytes(memory, used, fit.problems * sizeof *f->problems);
  f->numbers = take_bytes(memory, used, fit.numbers * sizeof *f->numbers);
  f->points = take(memory, used, (long)fit.points);
  f->gradients = take(memory, used, (long)fit.points);
  f->reals = take(memory, used, (long)fit.reals);
}
#endif

#ifndef SPM_NO_ROW_STATES
static void place_rows(struct spm_instance *instance, real *memory, size_t *used) {
  const struct spm_model *model = instance->run.model;
  instance->row_batch = take_bytes(memory, used, (size_t)model->row_state_count * sizeof(real *));
  for (int s = 0; s < model->row_state_count; s++) {
    real *batch = take(memory, used, instance->rows * model->row_states[s].size);
    if (memory) instance->row_batch[s] = batch;
  }
}
#endif

#ifndef SPM_TRAINER
/* Of all programs that the instance may run. */
static struct spm_sizes largest_sizes(const struct spm_instance *instance) {
  const struct spm_model *model = instance->run.model;
  struct spm_sizes sizes = {0, 0, 0, 0};
  for (int p = 0; p < model->program_count; p++) {
    const struct spm_program *program = &model->programs[p];
    if (!instance->training && spm_find_output(program, SPM_GRADIENT_OF, NULL)) continue;
    spm_program_sizes(program, program->uses_rows ? instance->rows : 0, &sizes);
  }
  return sizes;
}
#endif

size_t spm_instance_place(struct spm_instance *instance, real *memory) {
  const struct spm_model *model = instance->run.model;
  struct spm_call *call = &instance->run.call;
  size_t used = 0;
#ifdef SPM_TRAINER
  const long tile = spm_tile_rows(instance->rows), trained = model->parameter_size;
#else
  const long trained = instance->training ? model->parameter_size : 0;
  const struct spm_sizes sizes = largest_sizes(instance);
#endif
  call->parameters = instance->run.parameters = take(memory, &used, model->parameter_size);
  call->gradient = take(memory, &used, trained);
  instance->optimizer.first = take(memory, &used, trained);
  instance->optimizer.second = take(memory, &used, trained);
#ifdef SPM_TRAINER
  call->values = take(memory, &used, model->value_size);
  call->kept = take(memory, &used, instance->rows * model->kept_row);
  call->partials = take(memory, &used, (instance->rows + tile - 1) / tile * model->partial_size);
  instance->run.scratch = take(memory, &used, model->scratch_fixed + tile * model->scratch_row);
  instance->run.part = take(memory, &used, model->range_size);
#else
  call->values = take(memory, &used, sizes.values);
  call->kept = take(memory, &used, sizes.kept);
  call->partials = take(memory, &used, sizes.partials);
  instance->run.scratch = take(memory, &used, sizes.scratch);
#endif
#ifndef SPM_NO_STATES
  instance->state = take(memory, &used, model->state_size);
  call->state_next = take(memory, &used, model->state_size);
#endif
#ifndef SPM_NO_ROW_STATES
  place_rows(instance, memory, &used);
#endif
#ifndef SPM_NO_FITTER
  place_fitter(instance, memory, &used);
#endif
#ifndef SPM_NO_PROJECTIONS
  instance->project = trained ? spm_instance_project(model) : NULL;
#ifdef SPM_TRAINER
  instance->project_values = take(memory, &used, model->value_size);
#else
  instance->project_values = take(memory, &used, instance->project ? instance->project->value_size : 0);
#endif
#endif
  return used;
}

struct spm_run *spm_instance_run(struct spm_instance *instance, const struct spm_program *program, long first,
                                 long rows) {
  struct spm_run *run = &instance->run;
  run->program = program;
  run->call.step = 0;
  run->call.first_row = first;
  run->call.rows = run->call.capacity = rows;
  run->call.settings[0] = (real)instance->epoch;
  run->call.settings[1] = (real)instance->step;
  run->call.settings[2] = (real)rows;
  run->call.settings[3] = (real)instance->total_rows;
#ifndef SPM_NO_STATES
  run->call.state = instance->state;
#endif
#ifndef SPM_NO_ROW_STATES
  run->call.row_state = (const real *const *)instance->row_batch;
#endif
#ifndef SPM_NO_BALANCE
  run->call.settings[4] = instance->weights[0];
  run->call.settings[5] = instance->weights[1];
#endif
  return run;
}

void spm_instance_open(struct spm_instance *instance, real *memory) {
  const struct spm_model *model = instance->run.model;
  spm_instance_place(instance, memory);
#ifndef SPM_TRAINER
  instance->total_rows = instance->rows;
#endif
  instance->optimizer.stage = model->trainings;
#ifndef SPM_NO_STATES
  for (int s = 0; s < model->state_count; s++)
    for (long i = 0; i < model->states[s].size; i++)
      instance->state[model->states[s].offset + i] = (real)model->states[s].low;
#endif
#ifdef SPM_INITIAL_IN_PLACE
  spm_run_program(spm_instance_run(instance, spm_find_program(model, "initialise"), 0, 0));
  /* Its values lie as the parameters do. */
  memcpy(instance->run.parameters, instance->run.call.values, sizeof(real) * (size_t)model->parameter_size);
#else
  const struct spm_program *program = spm_find_program(model, "initialise");
  if (!program) return;
  spm_run_program(spm_instance_run(instance, program, 0, 0));
  spm_store(&instance->run, SPM_INITIAL_OF, instance->run.parameters);
#endif
}

#ifndef SPM_NO_ROW_STATES
size_t spm_instance_owned_reals(const struct spm_model *model, long rows, int training) {
  size_t count = (size_t)rows * (size_t)model->row_state_size;
  return training && spm_rows_have_gradients(model) ? 3 * count + (size_t)rows : count;
}

void spm_instance_own(struct spm_instance *instance, real *memory, long rows, int training) {
  long count = rows * instance->run.model->row_state_size;
  instance->owned.rows = rows;
  instance->owned.values = memory;
  if (!training || !spm_rows_have_gradients(instance->run.model)) return;
  instance->owned.first = memory + count;
  instance->owned.second = memory + 2 * count;
  instance->owned.updates = memory + 3 * count;
}

static int begin_rows(struct spm_instance *instance, long first, long rows, unsigned step) {
  struct spm_run *run =
      spm_instance_run(instance, spm_find_program(instance->run.model, "initialise_rows"), first, rows);
  run->call.step = step;
  return spm_rows_begin(run, instance->row_batch);
}

static void remember_rows(struct spm_instance *instance) {
  spm_rows_scatter(instance->run.model, &instance->owned, &instance->which, (const real *const *)instance->row_batch);
}

int spm_instance_begin(struct spm_instance *instance, long first, long rows) {
  int broken = begin_rows(instance, first, rows, 0);
  instance->which.order = NULL;
  instance->which.first = first;
  instance->which.count = rows;
  remember_rows(instance);
  return broken;
}

int spm_instance_fresh(struct spm_instance *instance, long first, long rows) {
  int broken = begin_rows(instance, first, rows, 0);
#ifndef SPM_NO_FITS
  const struct spm_program *program = spm_find_program(instance->run.model, "fit_new");
  if (program && broken < 0)
    spm_fit_rows(&instance->fitter, spm_instance_run(instance, program, first, rows), &instance->run.model->fit_new,
                 instance->row_batch);
#endif
  return broken;
}

void spm_instance_visit(struct spm_instance *instance, const long *order, long first, long rows) {
  instance->which.order = order;
  instance->which.first = first;
  instance->which.count = rows;
  spm_rows_gather(instance->run.model, &instance->owned, &instance->which, instance->row_batch);
}
#endif

#ifndef SPM_NO_FITS
/* What is moved before a step, with the parameters held. */
static void fit_batch(struct spm_instance *instance, long rows) {
  const struct spm_fit *fit = &instance->run.model->fit;
  const struct spm_program *program = spm_find_program(instance->run.model, "fit");
  if (fit->steps <= 0 || !program) return;
  const unsigned step = (unsigned)(instance->earlier_steps + instance->step);
  if (fit->restart) begin_rows(instance, 0, rows, step);
  struct spm_run *run = spm_instance_run(instance, program, 0, rows);
  run->call.step = step;
  spm_fit_rows(&instance->fitter, run, fit, instance->row_batch);
  remember_rows(instance);
}
#endif

#ifndef SPM_NO_PROJECTIONS
/* Sets parameters back onto their constraints; in a run and values of its own: those of the step are still to be read.
 */
static void project(const struct spm_instance *instance) {
  struct spm_run run = instance->run;
  run.program = instance->project;
  run.call.rows = run.call.capacity = 0;
  run.call.step = 0;
  run.call.settings[2] = 0;
  run.call.values = instance->project_values;
  spm_run_project(&run, instance->run.parameters);
}
#endif

#ifndef SPM_PLAIN_STEPS
static int move_batch(struct spm_instance *instance, struct spm_run *run) {
#ifndef SPM_NO_LBFGS
  real *const *batch = NULL;
#ifndef SPM_NO_ROW_STATES
  batch = instance->row_batch;
#endif
  if (strcmp(instance->optimizer.stage->optimizer, "lbfgs") == 0) {
    const int fitted =
        spm_fit_step(&instance->fitter, run, &instance->optimizer.stage->fit, instance->run.parameters, batch);
#ifndef SPM_NO_ROW_STATES
    remember_rows(instance);
#endif
    return fitted;
  }
#endif
#ifdef SPM_NO_UPDATES
  return SPM_STEP_SKIPPED;
#else
  int status = spm_run_step(run, &instance->optimizer);
#ifndef SPM_NO_ROW_STATES
  if (status != SPM_STEP_SKIPPED &&
      spm_rows_update(run, &instance->owned, &instance->which, 0, run->call.rows, &instance->optimizer, run->lr) >= 0)
    status = SPM_STEP_PARTLY;
#endif
  return status;
#endif
}
#endif

int spm_instance_step(struct spm_instance *instance, long rows) {
#ifndef SPM_NO_FITS
  fit_batch(instance, rows);
#endif
  struct spm_run *run = spm_instance_run(instance, spm_find_program(instance->run.model, "train"), 0, rows);
  run->call.step = (unsigned)(instance->earlier_steps + instance->step);
#ifdef SPM_PLAIN_STEPS
  const int status = spm_run_step(run, &instance->optimizer);
#else
  const int status = move_batch(instance, run);
#endif
  instance->step++;
  instance->optimizer.updates += status != SPM_STEP_SKIPPED;
#ifndef SPM_NO_STATES
  if (status == SPM_STEP_SKIPPED) return status;
  real *before = instance->state;
  instance->state = run->call.state_next;
  run->call.state = instance->state;
  run->call.state_next = before;
#endif
#ifndef SPM_NO_PROJECTIONS
  if (instance->project && status != SPM_STEP_SKIPPED) project(instance);
#endif
  return status;
}

#ifndef SPM_NO_STAGES
void spm_instance_set_stage(struct spm_instance *instance, int stage) {
  instance->stage = stage;
  instance->optimizer.stage = &instance->run.model->trainings[stage];
}

void spm_instance_next_stage(struct spm_instance *instance) {
  struct spm_optimizer *o = &instance->optimizer;
  instance->earlier_steps += instance->step;
  instance->epoch = instance->step = o->updates = 0;
  memset(o->first, 0, sizeof(real) * (size_t)instance->run.model->parameter_size);
  memset(o->second, 0, sizeof(real) * (size_t)instance->run.model->parameter_size);
#ifndef SPM_NO_ROW_STATES
  struct spm_row_memory *m = &instance->owned;
  size_t owned = sizeof(real) * (size_t)(m->rows * instance->run.model->row_state_size);
  if (m->first) memset(m->first, 0, owned);
  if (m->second) memset(m->second, 0, owned);
  if (m->updates) memset(m->updates, 0, sizeof(real) * (size_t)m->rows);
#endif
  spm_instance_set_stage(instance, instance->stage + 1);
}
#endif
