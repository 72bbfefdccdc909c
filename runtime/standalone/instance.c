/* See instance.h. */
#include "instance.h"

#include <string.h>

static long most(long a, long b) { return a > b ? a : b; }

static size_t padded(long count) { return ((size_t)count + 15) / 16 * 16; }

#ifndef SPM_NO_PROJECTIONS
const struct spm_program *spm_instance_project(const struct spm_model *model) {
  for (int p = 0; p < model->parameter_count; p++)
    if (model->parameters[p].projected && !model->parameters[p].fixed) return spm_find_program(model, "project");
  return NULL;
}
#endif

static size_t reals_in(size_t bytes) { return padded((long)((bytes + sizeof(real) - 1) / sizeof(real))); }

#ifndef SPM_NO_ROW_STATES
static size_t row_batch_reals(const struct spm_model *model, long rows) {
  size_t reals = reals_in((size_t)model->row_state_count * sizeof(real *));
  for (int s = 0; s < model->row_state_count; s++) reals += padded(rows * model->row_states[s].size);
  return reals;
}
#endif

size_t spm_instance_reals(const struct spm_model *model, long rows, int training, struct spm_sizes *sizes) {
  struct spm_sizes one;
  size_t more = 0;
#ifndef SPM_NO_PROJECTIONS
  const struct spm_program *project = training ? spm_instance_project(model) : NULL;
  more = padded(project ? project->value_size : 0);
#endif
  memset(sizes, 0, sizeof *sizes);
  for (int p = 0; p < model->program_count; p++) {
    const struct spm_program *program = &model->programs[p];
    if (!training && spm_find_output(program, SPM_GRADIENT_OF, NULL)) continue;
    spm_program_sizes(model, program, program->uses_rows ? rows : 0, &one);
    sizes->values = most(sizes->values, one.values);
    sizes->kept = most(sizes->kept, one.kept);
    sizes->partials = most(sizes->partials, one.partials);
    sizes->scratch = most(sizes->scratch, one.scratch);
  }
#ifndef SPM_NO_ROW_STATES
  more += row_batch_reals(model, rows);
#endif
#ifndef SPM_NO_FITTER
  struct spm_fitter_sizes fit;
  spm_fitter_need(model, rows, rows, training ? model->training_count : 0, &fit);
  more += reals_in(fit.problems * sizeof(struct spm_lbfgs)) + reals_in(fit.numbers * sizeof(double)) +
          2 * padded((long)fit.points) + padded((long)fit.reals);
#endif
  sizes->gradient = training ? model->parameter_size : 0;
  sizes->state = model->state_size;
  return padded(model->parameter_size) + 2 * padded(sizes->state) + 3 * padded(sizes->gradient) +
         padded(sizes->values) + padded(sizes->kept) + padded(sizes->partials) + padded(sizes->scratch) + more;
}

static real *take(real **memory, long count) {
  real *taken = *memory;
  *memory += padded(count);
  return taken;
}

#ifndef SPM_NO_FITTER
static void set_fitter(struct spm_instance *instance, int training, real **memory) {
  struct spm_fitter *f = &instance->fitter;
  struct spm_fitter_sizes fit;
  spm_fitter_need(instance->model, instance->rows, instance->rows, training ? instance->model->training_count : 0,
                  &fit);
  f->problems = (void *)*memory;
  *memory += reals_in(fit.problems * sizeof *f->problems);
  f->numbers = (void *)*memory;
  *memory += reals_in(fit.numbers * sizeof *f->numbers);
  f->points = take(memory, (long)fit.points);
  f->gradients = take(memory, (long)fit.points);
  f->reals = take(memory, (long)fit.reals);
}
#endif

static const struct spm_training *stage_of(const struct spm_instance *instance) {
#ifndef SPM_NO_STAGES
  return &instance->model->trainings[instance->stage];
#else
  return instance->model->trainings;
#endif
}

static void set_optimizer(struct spm_instance *instance, real *first, real *second) {
  const struct spm_training *t = stage_of(instance);
  struct spm_optimizer *o = &instance->optimizer;
  *o = (struct spm_optimizer){.lr = t->lr, .beta1 = t->beta1, .beta2 = t->beta2, .epsilon = t->epsilon};
  o->kind = strcmp(t->optimizer, "adam") == 0 ? SPM_ADAM : strcmp(t->optimizer, "sgd") == 0 ? SPM_SGD : SPM_LBFGS;
  o->rate = t->rate;
  o->momentum = t->momentum;
  o->weight_decay = t->weight_decay;
  o->first = first;
  o->second = second;
}

unsigned spm_instance_noise_step(const struct spm_instance *instance) {
#ifndef SPM_NO_STAGES
  return (unsigned)(instance->earlier_steps + instance->step);
#else
  return (unsigned)instance->step;
#endif
}

struct spm_run spm_instance_run(struct spm_instance *instance, const struct spm_program *program,
                                const real *const *data, long rows) {
  struct spm_run run;
  memset(&run, 0, sizeof run);
  run.model = instance->model;
  run.program = program;
  run.call.parameters = instance->parameters;
  run.call.data = data;
  run.call.state = instance->state;
  run.call.state_next = instance->state_next;
#ifndef SPM_NO_ROW_STATES
  run.call.row_state = (const real *const *)instance->row_batch;
#endif
  run.call.values = instance->values;
  run.call.kept = instance->kept;
  run.call.partials = instance->partials;
  run.call.gradient = instance->gradient;
  run.call.rows = run.call.capacity = rows;
  run.call.seed = instance->seed;
  run.call.settings[0] = (real)instance->epoch;
  run.call.settings[1] = (real)instance->step;
  run.call.settings[2] = (real)rows;
  run.call.settings[3] = (real)instance->total_rows;
#ifndef SPM_NO_BALANCE
  run.call.settings[4] = instance->weights[0];
  run.call.settings[5] = instance->weights[1];
#endif
  run.scratch = instance->scratch;
  run.scratch_size = instance->sizes.scratch;
  return run;
}

static void set_start(struct spm_instance *instance, const real *const *given) {
  const struct spm_model *model = instance->model;
  const struct spm_program *program = spm_find_program(model, "initialise");
  if (program) {
    struct spm_run run = spm_instance_run(instance, program, NULL, 0);
    run.call.given = given;
    spm_run_program(&run);
    for (int i = 0; i < program->output_count; i++) {
      const struct spm_output *output = &program->outputs[i];
      if (output->role == SPM_INITIAL_OF)
        memcpy(instance->parameters + model->parameters[output->index].offset, spm_output_values(&run, output),
               sizeof(real) * (size_t)output->size);
    }
  }
#ifndef SPM_NO_STATES
  for (int s = 0; s < model->state_count; s++)
    for (long i = 0; i < model->states[s].size; i++)
      instance->state[model->states[s].offset + i] = (real)model->states[s].low;
#endif
}

void spm_instance_open(struct spm_instance *instance, const struct spm_model *model, real *memory, long rows,
                       int training, unsigned long long seed, const real *const *given) {
  memset(instance, 0, sizeof *instance);
  instance->model = model;
  instance->rows = instance->total_rows = rows;
  instance->seed = seed;
  spm_instance_reals(model, rows, training, &instance->sizes);
  instance->parameters = take(&memory, model->parameter_size);
  instance->state = take(&memory, instance->sizes.state);
  instance->state_next = take(&memory, instance->sizes.state);
  instance->values = take(&memory, instance->sizes.values);
  instance->kept = take(&memory, instance->sizes.kept);
  instance->partials = take(&memory, instance->sizes.partials);
  instance->scratch = take(&memory, instance->sizes.scratch);
  instance->gradient = take(&memory, instance->sizes.gradient);
#ifndef SPM_NO_ROW_STATES
  instance->row_batch = (void *)memory;
  memory += reals_in((size_t)model->row_state_count * sizeof(real *));
  for (int s = 0; s < model->row_state_count; s++)
    instance->row_batch[s] = take(&memory, rows * model->row_states[s].size);
#endif
#ifndef SPM_NO_FITTER
  set_fitter(instance, training, &memory);
#endif
  if (training && model->training_count > 0) {
    real *first = take(&memory, instance->sizes.gradient);
    set_optimizer(instance, first, take(&memory, instance->sizes.gradient));
    instance->train = spm_find_program(model, "train");
#ifndef SPM_NO_PROJECTIONS
    instance->project = spm_instance_project(model);
    if (instance->project) instance->project_values = take(&memory, instance->project->value_size);
#endif
  }
  set_start(instance, given);
}

#ifndef SPM_NO_ROW_STATES
size_t spm_instance_owned_reals(const struct spm_model *model, long rows, int training) {
  size_t count = (size_t)rows * (size_t)model->row_state_size;
  return training && spm_rows_have_gradients(model) ? 3 * count + (size_t)rows : count;
}

void spm_instance_own(struct spm_instance *instance, real *memory, long rows, int training) {
  long count = rows * instance->model->row_state_size;
  instance->owned.rows = rows;
  instance->owned.values = memory;
  if (!training || !spm_rows_have_gradients(instance->model)) return;
  instance->owned.first = memory + count;
  instance->owned.second = memory + 2 * count;
  instance->owned.updates = memory + 3 * count;
}

static int begin_rows(struct spm_instance *instance, const real *const *data, long first, long rows, unsigned step) {
  struct spm_run run = spm_instance_run(instance, spm_find_program(instance->model, "initialise_rows"), data, rows);
  run.call.first_row = first;
  run.call.step = step;
  return spm_rows_begin(&run, instance->row_batch);
}

static void remember_rows(struct spm_instance *instance) {
  spm_rows_scatter(instance->model, &instance->owned, &instance->which, (const real *const *)instance->row_batch);
}

int spm_instance_begin(struct spm_instance *instance, const real *const *data, long first, long rows) {
  int broken = begin_rows(instance, data, first, rows, 0);
  instance->which.order = NULL;
  instance->which.first = first;
  instance->which.count = rows;
  remember_rows(instance);
  return broken;
}

int spm_instance_fresh(struct spm_instance *instance, const real *const *data, long first, long rows) {
  int broken = begin_rows(instance, data, first, rows, 0);
#ifndef SPM_NO_FITS
  const struct spm_program *program = spm_find_program(instance->model, "fit_new");
  if (program && broken < 0) {
    struct spm_run run = spm_instance_run(instance, program, data, rows);
    run.call.first_row = first;
    spm_fit_rows(&instance->fitter, &run, &instance->model->fit_new, instance->row_batch);
  }
#endif
  return broken;
}

void spm_instance_visit(struct spm_instance *instance, const long *order, long first, long rows) {
  instance->which.order = order;
  instance->which.first = first;
  instance->which.count = rows;
  spm_rows_gather(instance->model, &instance->owned, &instance->which, instance->row_batch);
}
#endif

#ifndef SPM_NO_FITS
/* What is moved before a step, with the parameters held. */
static void fit_batch(struct spm_instance *instance, const real *const *data, long rows) {
  const struct spm_fit *fit = &instance->model->fit;
  const struct spm_program *program = spm_find_program(instance->model, "fit");
  if (fit->steps <= 0 || !program) return;
  if (fit->restart) begin_rows(instance, data, 0, rows, spm_instance_noise_step(instance));
  struct spm_run run = spm_instance_run(instance, program, data, rows);
  run.call.step = spm_instance_noise_step(instance);
  spm_fit_rows(&instance->fitter, &run, fit, instance->row_batch);
  remember_rows(instance);
}
#endif

static struct spm_outcome move_batch(struct spm_instance *instance, struct spm_run *run) {
  struct spm_outcome outcome = {SPM_STEP_SKIPPED, -1, 0};
#ifndef SPM_NO_LBFGS
  real *const *batch = NULL;
#ifndef SPM_NO_ROW_STATES
  batch = instance->row_batch;
#endif
  if (instance->optimizer.kind == SPM_LBFGS)
    outcome = spm_fit_step(&instance->fitter, run, &stage_of(instance)->fit, instance->parameters, batch);
#ifndef SPM_NO_ROW_STATES
  if (instance->optimizer.kind == SPM_LBFGS) remember_rows(instance);
#endif
#endif
#ifndef SPM_NO_UPDATES
  if (instance->optimizer.kind == SPM_LBFGS) return outcome;
  instance->optimizer.updates = instance->updates;
  outcome = spm_run_step(run, instance->parameters, &instance->optimizer, 1);
#ifndef SPM_NO_ROW_STATES
  if (outcome.status != SPM_STEP_SKIPPED && spm_rows_update(run, &instance->owned, &instance->which, 0, run->call.rows,
                                                            &instance->optimizer, outcome.lr) >= 0)
    outcome.status = SPM_STEP_PARTLY;
#endif
#endif
  return outcome;
}

struct spm_outcome spm_instance_step(struct spm_instance *instance, const real *const *data, long rows,
                                     struct spm_run *run) {
#ifndef SPM_NO_FITS
  fit_batch(instance, data, rows);
#endif
  *run = spm_instance_run(instance, instance->train, data, rows);
  run->call.step = spm_instance_noise_step(instance);
  struct spm_outcome outcome = move_batch(instance, run);
  instance->step++;
  if (outcome.status == SPM_STEP_SKIPPED) return outcome;
#ifndef SPM_NO_STATES
  real *before = instance->state;
  instance->state = instance->state_next;
  instance->state_next = before;
#endif
  instance->updates++;
#ifndef SPM_NO_PROJECTIONS
  if (instance->project) { /* in values of its own: those of the step are still to be read */
    struct spm_run project = spm_instance_run(instance, instance->project, NULL, 0);
    project.call.values = instance->project_values;
    spm_run_project(&project, instance->parameters);
  }
#endif
  return outcome;
}

#ifndef SPM_NO_STAGES
void spm_instance_set_stage(struct spm_instance *instance, int stage) {
  instance->stage = stage;
  set_optimizer(instance, instance->optimizer.first, instance->optimizer.second);
}

void spm_instance_next_stage(struct spm_instance *instance) {
  struct spm_optimizer *o = &instance->optimizer;
  instance->earlier_steps += instance->step;
  instance->epoch = instance->step = instance->updates = 0;
  memset(o->first, 0, sizeof(real) * (size_t)instance->sizes.gradient);
  memset(o->second, 0, sizeof(real) * (size_t)instance->sizes.gradient);
#ifndef SPM_NO_ROW_STATES
  struct spm_row_memory *m = &instance->owned;
  size_t owned = sizeof(real) * (size_t)(m->rows * instance->model->row_state_size);
  if (m->first) memset(m->first, 0, owned);
  if (m->second) memset(m->second, 0, owned);
  if (m->updates) memset(m->updates, 0, sizeof(real) * (size_t)m->rows);
#endif
  spm_instance_set_stage(instance, instance->stage + 1);
}
#endif
