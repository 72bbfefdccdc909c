/* See solved.h. */
#include "solved.h"

void spm_solved_add(const struct spm_run *run, double *sums) {
  for (int i = 0; i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
    const real *values = spm_output_values(run, output);
    double *sum = sums + run->model->parameters[output->index].offset;
    for (long k = 0; k < output->size; k++) sum[k] += (double)values[k] * (double)run->call.rows;
  }
}

int spm_solved_set(const struct spm_model *model, const struct spm_program *solve, const double *sums, long rows,
                   real *parameters) {
  int broken = -1;
  for (int i = 0; i < solve->output_count; i++) {
    const struct spm_output *output = &solve->outputs[i];
    long offset = model->parameters[output->index].offset;
    for (long k = 0; k < output->size; k++) parameters[offset + k] = (real)(sums[offset + k] / (double)rows);
    if (!spm_all_finite(parameters + offset, output->size) && broken < 0) broken = output->index;
  }
  return broken;
}
