/* See row_state.h. */
#include "row_state.h"
#include "optim.h"

#include <string.h>

static long row_number(const struct spm_row_numbers *rows, long i) {
  return rows->order ? rows->order[i] : rows->first + i;
}

static long place_of(const struct spm_row_memory *memory, const struct spm_tensor *state, long row) {
  return memory->rows * state->offset + row * state->size;
}

int spm_rows_have_gradients(const struct spm_model *model) {
  const struct spm_program *train = spm_find_program(model, "train");
  return train && spm_find_output(train, SPM_ROW_GRADIENT_OF, NULL);
}

void spm_rows_gather(const struct spm_model *model, const struct spm_row_memory *memory,
                     const struct spm_row_numbers *rows, real *const *batch) {
  for (int s = 0; s < model->row_state_count; s++) {
    const struct spm_tensor *state = &model->row_states[s];
    for (long i = 0; i < rows->count; i++)
      memcpy(batch[s] + i * state->size, memory->values + place_of(memory, state, row_number(rows, i)),
             sizeof(real) * (size_t)state->size);
  }
}

void spm_rows_scatter(const struct spm_model *model, const struct spm_row_memory *memory,
                      const struct spm_row_numbers *rows, const real *const *batch) {
  for (int s = 0; s < model->row_state_count; s++) {
    const struct spm_tensor *state = &model->row_states[s];
    for (long i = 0; i < rows->count; i++)
      memcpy(memory->values + place_of(memory, state, row_number(rows, i)), batch[s] + i * state->size,
             sizeof(real) * (size_t)state->size);
  }
}

int spm_rows_begin(struct spm_run *run, real *const *batch) {
  spm_run_program(run);
  for (int i = 0; i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
    if (output->role != SPM_ROW_INITIAL_OF) continue;
    const real *values = spm_output_values(run, output);
    const long count = run->call.rows * output->size;
    if (!spm_all_finite(values, count)) return output->index;
    memcpy(batch[output->index], values, sizeof(real) * (size_t)count);
  }
  return -1;
}

/* One row of one row state; 0 if its gradient is not finite. */
static int update_row(const struct spm_row_memory *memory, long at, const real *gradient, long size, real updates,
                      const struct spm_optimizer *o, double lr) {
  const struct spm_training *s = o->stage;
  if (!spm_all_finite(gradient, size)) return 0;
  (void)updates; /* of Adam's */
#ifndef SPM_NO_ADAM
  if (strcmp(s->optimizer, "adam") == 0)
    spm_adam_update(memory->values + at, memory->first + at, memory->second + at, gradient, size, (long)updates + 1, lr,
                    s->beta1, s->beta2, s->epsilon, s->weight_decay);
#endif
#ifndef SPM_NO_SGD
  if (strcmp(s->optimizer, "sgd") == 0)
    spm_sgd_update(memory->values + at, s->momentum != 0 ? memory->first + at : NULL, gradient, size, lr, s->momentum,
                   s->weight_decay);
#endif
  return 1;
}

int spm_rows_update(const struct spm_run *run, const struct spm_row_memory *memory, const struct spm_row_numbers *rows,
                    long from, long count, const struct spm_optimizer *optimizer, double lr) {
  int broken = -1;
  for (int i = 0; i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
    if (output->role != SPM_ROW_GRADIENT_OF && output->role != SPM_ROW_NEXT_OF) continue;
    const struct spm_tensor *state = &run->model->row_states[output->index];
    const real *values = spm_output_values(run, output);
    for (long r = from; r < from + count; r++) {
      long row = row_number(rows, r), at = place_of(memory, state, row);
      const real *own = values + r * state->size;
      if (output->role == SPM_ROW_NEXT_OF)
        memcpy(memory->values + at, own, sizeof(real) * (size_t)state->size);
      else if (!update_row(memory, at, own, state->size, memory->updates[row], optimizer, lr) && broken < 0)
        broken = output->index;
    }
  }
  for (long r = from; r < from + count && memory->updates; r++) memory->updates[row_number(rows, r)] += 1;
  return broken;
}
