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

static void set_optimizer(struct spm_instance *instance, real **memory) {
  const struct spm_training *t = instance->model->trainings;
  struct spm_optimizer *o = &instance->optimizer;
  o->kind = strcmp(t->optimizer, "adam") == 0 ? SPM_ADAM : SPM_SGD;
  o->lr = t->lr;
  o->rate = t->rate;
  o->beta1 = t->beta1;
  o->beta2 = t->beta2;
  o->epsilon = t->epsilon;
  o->momentum = t->momentum;
  o->weight_decay = t->weight_decay;
  o->first = take(memory, instance->sizes.gradient);
  o->second = take(memory, instance->sizes.gradient);
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
  if (training && model->training_count > 0) {
    set_optimizer(instance, &memory);
    instance->train = spm_find_program(model, "train");
#ifndef SPM_NO_PROJECTIONS
    instance->project = spm_instance_project(model);
    if (instance->project) instance->project_values = take(&memory, instance->project->value_size);
#endif
  }
  set_start(instance, given);
}

struct spm_outcome spm_instance_step(struct spm_instance *instance, const real *const *data, long rows,
                                     struct spm_run *run) {
  *run = spm_instance_run(instance, instance->train, data, rows);
  run->call.step = (unsigned)instance->step;
  instance->optimizer.updates = instance->updates;
  struct spm_outcome outcome = spm_run_step(run, instance->parameters, &instance->optimizer, 1);
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
