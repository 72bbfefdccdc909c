/* See run_double.h. The one file of the compiler that speaks the contract in double. */
#define SPM_DOUBLE
#include "run_double.h"

#include "runtime/driver.h"

#include <stdlib.h>
#include <string.h>

typedef struct Memory {
  real *parameters, *state, *state_next, *values, *kept, *partials, *gradient, *scratch;
} Memory;

/* Kernels may want their vectors aligned. */
static real *reals(long count) {
  size_t bytes = ((size_t)count * sizeof(real) + 64) / 64 * 64;
  real *memory = aligned_alloc(64, bytes);
  if (memory) memset(memory, 0, bytes);
  return memory;
}

static bool allocate(Memory *m, const struct spm_model *model, const struct spm_sizes *sizes) {
  return (m->parameters = reals(model->parameter_size)) && (m->state = reals(model->state_size)) &&
         (m->state_next = reals(model->state_size)) && (m->values = reals(sizes->values)) &&
         (m->kept = reals(sizes->kept)) && (m->partials = reals(sizes->partials)) &&
         (m->gradient = reals(model->parameter_size)) && (m->scratch = reals(sizes->scratch));
}

static void release(Memory *m) {
  free(m->parameters);
  free(m->state);
  free(m->state_next);
  free(m->values);
  free(m->kept);
  free(m->partials);
  free(m->gradient);
  free(m->scratch);
}

static void fill(Memory *m, const struct spm_model *model, const Bindings *b) {
  for (int p = 0; p < model->parameter_count; p++)
    memcpy(m->parameters + model->parameters[p].offset, b->parameters[p],
           sizeof(real) * (size_t)model->parameters[p].size);
  for (int s = 0; s < model->state_count; s++)
    memcpy(m->state + model->states[s].offset, b->states[s], sizeof(real) * (size_t)model->states[s].size);
}

bool run_double(const struct spm_model *model, const Bindings *b, double *objective, double *const *gradients) {
  const struct spm_program *program = spm_find_program(model, "train");
  Memory m = {0};
  if (!program || model->real_size != (int)sizeof(real)) return false;
  struct spm_sizes sizes = {0};
  spm_program_sizes(program, b->rows, &sizes);
  if (!allocate(&m, model, &sizes)) {
    release(&m);
    return false;
  }
  fill(&m, model, b);
  struct spm_run run = {.model = model, .program = program, .scratch = m.scratch, .scratch_size = sizes.scratch};
  run.workers.threads = 1;
  run.call = (struct spm_call){.parameters = m.parameters,
                               .data = b->data,
                               .state = m.state,
                               .row_state = b->row_states,
                               .state_next = m.state_next,
                               .values = m.values,
                               .kept = m.kept,
                               .partials = m.partials,
                               .gradient = m.gradient,
                               .rows = b->rows,
                               .capacity = b->rows,
                               .first_row = b->first_row,
                               .seed = b->seed,
                               .step = b->step};
  for (int s = 0; s < SETTING_COUNT; s++) run.call.settings[s] = b->settings[s];
  spm_run_program(&run);
  for (int i = 0; i < program->output_count; i++) {
    const struct spm_output *output = &program->outputs[i];
    const real *values = spm_output_values(&run, output);
    if (output->role == SPM_OBJECTIVE) *objective = *values;
    if (output->role == SPM_GRADIENT_OF && gradients[output->index])
      memcpy(gradients[output->index], values, sizeof(real) * (size_t)output->size);
    int row_state = model->parameter_count + output->index;
    if (output->role == SPM_ROW_GRADIENT_OF && gradients[row_state])
      memcpy(gradients[row_state], values, sizeof(real) * (size_t)(output->size * b->rows));
  }
  release(&m);
  return true;
}
