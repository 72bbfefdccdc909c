/* See reference_driver.h; reference_driver_double.c reads this file again for double. */
#include "reference_driver.h"

#include <stdlib.h>
#include <string.h>

#include "../runtime/driver.h"

#ifdef SPM_DOUBLE
#define REFERENCE(name) name##_d
#else
#define REFERENCE(name) name##_f
#endif

enum { GUARD = 64 }; /* reals after each buffer that nobody may touch */

static real *buffer(long count) {
  real *memory = malloc(sizeof(real) * (size_t)(count + GUARD));
  memset(memory, 0xff, sizeof(real) * (size_t)(count + GUARD)); /* NaN: reading what was not written shows */
  return memory;
}

static void check_guard(const real *memory, long count, const char *what) {
  for (const unsigned char *at = (const unsigned char *)(memory + count);
       at < (const unsigned char *)(memory + count + GUARD); at++)
    if (*at != 0xff) {
      fprintf(stderr, "%s: written past its end (%ld reals)\n", what, count);
      abort();
    }
}

static real *converted(const double *from, long count) {
  real *memory = buffer(count);
  for (long i = 0; i < count; i++) memory[i] = (real)from[i];
  return memory;
}

static real *place(const struct spm_call *call, int where, long offset) {
  if (where == SPM_VALUES) return call->values + offset;
  if (where == SPM_GRADIENT) return call->gradient + offset;
  if (where == SPM_STATE_NEXT) return call->state_next + offset;
  return call->kept + call->capacity * offset;
}

static void combine(const struct spm_call *call, const struct spm_statistic *s, long width, long tiles) {
  for (long stride = 1; stride < tiles; stride *= 2)
    for (long t = 0; t + stride < tiles; t += 2 * stride)
      for (long i = 0; i < s->size; i++) {
        real *into = call->partials + t * width + s->partial + i, from = into[stride * width];
        *into = s->combine == SPM_SUM ? *into + from : from > *into || from != from ? from : *into;
      }
  memcpy(place(call, s->place, s->offset), call->partials + s->partial, sizeof(real) * (size_t)s->size);
}

static void run_ranges(const struct spm_call *call, const struct spm_phase *phase, real *scratch, bool fused) {
  for (int r = 0; r < phase->range_count; r++) {
    const struct spm_range *range = &phase->ranges[r];
    for (long u = range->units - 1; u >= 0; u--) {
      long left = range->size - u * range->chunk, count = left < range->chunk ? left : range->chunk;
      real *target = place(call, range->place, range->offset) + u * range->chunk, *own = buffer(count);
      range->run(call, scratch, u, fused ? own : target);
      if (fused) memcpy(target, own, sizeof(real) * (size_t)count);
      if (fused) check_guard(own, count, "range");
      free(own);
    }
  }
}

/* Rows of members are found by the driver's own functions, once their weights are there. */
static const struct spm_call *call_of(struct spm_run *run, const struct spm_phase *phase) {
  if (phase->domain == 0) return &run->call;
  if (run->domains[phase->domain].rows < 0) spm_find_members(run, phase->domain);
  return &run->domains[phase->domain];
}

static void run_phases(struct spm_run *run, long scratch_size, bool fused) {
  for (int p = 0; p < run->program->phase_count; p++) {
    const struct spm_phase *phase = &run->program->phases[p];
    const struct spm_call *call = call_of(run, phase);
    long tiles = (call->rows + call->tile - 1) / call->tile;
    if (tiles == 0 && phase->domain > 0) tiles = 1;
    long units = phase->kind == SPM_STEP_PHASE ? 1 : phase->kind == SPM_ROW_PHASE ? tiles : 0;
    for (long u = units - 1; u >= 0; u--) {
      real *scratch = buffer(scratch_size);
      phase->run(call, scratch, u);
      check_guard(scratch, scratch_size, "scratch");
      free(scratch);
    }
    for (int i = 0; i < phase->statistic_count; i++)
      combine(call, &phase->statistics[i], run->program->partial_size, tiles);
    real *scratch = buffer(scratch_size);
    run_ranges(call, phase, scratch, fused);
    free(scratch);
  }
}

static Outputs read_outputs(const struct spm_program *program, const struct spm_call *call) {
  Outputs outputs = {.count = program->output_count};
  outputs.values = calloc((size_t)outputs.count + 1, sizeof *outputs.values);
  outputs.sizes = calloc((size_t)outputs.count + 1, sizeof *outputs.sizes);
  for (int i = 0; i < outputs.count; i++) {
    const struct spm_output *o = &program->outputs[i];
    outputs.sizes[i] = o->size * (o->place == SPM_KEPT ? call->rows : 1);
    outputs.values[i] = malloc(sizeof(double) * (size_t)(outputs.sizes[i] + 1));
    const real *from = place(call, o->place, o->offset);
    for (long k = 0; k < outputs.sizes[i]; k++) outputs.values[i][k] = (double)from[k];
  }
  return outputs;
}

static const struct spm_program *find_program(const struct spm_model *model, const char *name) {
  for (int i = 0; i < model->program_count; i++)
    if (strcmp(model->programs[i].name, name) == 0) return &model->programs[i];
  abort();
}

Outputs REFERENCE(reference_run)(const struct spm_model *model, const char *name, const Signature *signature,
                                 const Bindings *b, long tile, bool fused) {
  const struct spm_program *program = find_program(model, name);
  real *parameters = buffer(model->parameter_size), *state = buffer(model->state_size),
       *next = buffer(model->state_size);
  real *gradient = buffer(model->parameter_size), **data = calloc((size_t)model->data_count + 1, sizeof *data);
  for (int i = 0; i < model->parameter_count; i++)
    for (long k = 0; k < model->parameters[i].size; k++)
      parameters[model->parameters[i].offset + k] = (real)b->parameters[i][k];
  for (int i = 0; i < model->state_count; i++)
    for (long k = 0; k < model->states[i].size; k++) state[model->states[i].offset + k] = (real)b->states[i][k];
  for (int i = 0; i < model->data_count; i++)
    data[i] = converted(b->data[i], b->rows * shape_size(&signature->data[i].shape));
  real **row_states = calloc((size_t)model->row_state_count + 1, sizeof *row_states);
  for (int i = 0; i < model->row_state_count; i++)
    row_states[i] = converted(b->row_states[i], b->rows * shape_size(&signature->row_states[i].shape));
  real **givens = calloc((size_t)model->given_count + 1, sizeof *givens);
  for (int i = 0; b->givens && i < model->given_count; i++) givens[i] = converted(b->givens[i], model->givens[i].size);
  long capacity = b->rows + 3, tiles = (b->rows + tile - 1) / tile;
  long scratch_size = program->scratch_fixed + tile * program->scratch_row;
  struct spm_call call = {.parameters = parameters,
                          .data = (const real *const *)data,
                          .state = state,
                          .row_state = (const real *const *)row_states,
                          .given = (const real *const *)givens,
                          .state_next = next,
                          .values = buffer(program->value_size),
                          .kept = buffer(capacity * program->kept_row),
                          .partials = buffer(tiles * program->partial_size),
                          .gradient = gradient,
                          .rows = b->rows,
                          .capacity = capacity,
                          .tile = tile,
                          .first_row = b->first_row,
                          .seed = b->seed,
                          .step = b->step};
  for (int i = 0; i < SETTING_COUNT; i++) call.settings[i] = (real)b->settings[i];
  struct spm_run run = {.model = model, .program = program, .call = call};
  spm_place_domains(&run);
  for (int d = 1; d < program->domain_count; d++)
    if (program->domains[d].tile * program->scratch_row + program->scratch_fixed > scratch_size)
      scratch_size = program->domains[d].tile * program->scratch_row + program->scratch_fixed;
  run_phases(&run, scratch_size, fused);
  call = run.call;
  check_guard(call.values, program->value_size, "values");
  check_guard(call.kept, capacity * program->kept_row, "kept");
  check_guard(call.partials, tiles * program->partial_size, "partials");
  check_guard(gradient, model->parameter_size, "gradient");
  Outputs outputs = read_outputs(program, &call);
  for (int i = 0; i < model->data_count; i++) free(data[i]);
  for (int i = 0; i < model->row_state_count; i++) free(row_states[i]);
  for (int i = 0; i < model->given_count; i++) free(givens[i]);
  free(row_states), free(givens);
  free(parameters), free(state), free(next), free(gradient), free(data);
  free(call.values), free(call.kept), free(call.partials);
  return outputs;
}

#ifndef SPM_DOUBLE
void outputs_free(Outputs *outputs) {
  for (int i = 0; i < outputs->count; i++) free(outputs->values[i]);
  free(outputs->values);
  free(outputs->sizes);
}
#endif
