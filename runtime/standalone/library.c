/* Pasted behind a model: functions for a host program, which owns all memory. Several models, or several instances of
 * one, may run at once in different threads: nothing is shared between them and nothing is global. */
#include "instance.h"

struct SPM_MODEL_NAME {
  struct spm_instance instance;
#ifndef SPM_NO_ROW_STATES
  const long *order; /* of rows of the training data, or NULL: which steps are of */
  long first;
#endif
};

/* The instance stands first in its memory, the reals behind it on a multiple of 64 bytes. */
enum { HEAD = (sizeof(struct SPM_MODEL_NAME) + 63) / 64 * 64 };

extern size_t SPM_MODEL_NAME_size(long rows, int training) {
  struct spm_instance counted = {.run = {.model = &spm_model_SPM_MODEL_NAME}, .rows = rows, .training = training};
  return HEAD + sizeof(real) * spm_instance_place(&counted, NULL);
}

extern struct SPM_MODEL_NAME *SPM_MODEL_NAME_open(void *memory, size_t size, long rows, int training,
                                                  unsigned long long seed) {
  struct SPM_MODEL_NAME *m = memory;
  if (!memory || rows < 1 || size < SPM_MODEL_NAME_size(rows, training) || (size_t)memory % sizeof(double) != 0)
    return NULL;
  memset(memory, 0, size);
  m->instance = (struct spm_instance){.rows = rows, .training = training};
  m->instance.run.model = &spm_model_SPM_MODEL_NAME;
  m->instance.run.call.seed = seed;
  spm_instance_open(&m->instance, (real *)(void *)((char *)memory + HEAD));
  return m;
}

extern void SPM_MODEL_NAME_schedule(struct SPM_MODEL_NAME *m, long epoch, long total_rows) {
  m->instance.epoch = epoch;
  m->instance.total_rows = total_rows;
}

#ifndef SPM_NO_ROW_STATES
extern size_t SPM_MODEL_NAME_rows_size(long rows, int training) {
  return sizeof(real) * spm_instance_owned_reals(&spm_model_SPM_MODEL_NAME, rows, training);
}

extern void SPM_MODEL_NAME_rows(struct SPM_MODEL_NAME *m, void *memory, long rows) {
  memset(memory, 0, SPM_MODEL_NAME_rows_size(rows, m->instance.training));
  spm_instance_own(&m->instance, memory, rows, m->instance.training);
}

extern int SPM_MODEL_NAME_begin(struct SPM_MODEL_NAME *m, const real *const *data, long first, long rows) {
  if (rows < 1 || rows > m->instance.rows || first < 0 || first + rows > m->instance.owned.rows) return -1;
  m->instance.run.call.data = data;
  return spm_instance_begin(&m->instance, first, rows) < 0 ? 0 : -1;
}

extern void SPM_MODEL_NAME_visit(struct SPM_MODEL_NAME *m, const long *order, long first) {
  m->order = order;
  m->first = first;
}

extern real *SPM_MODEL_NAME_owned(struct SPM_MODEL_NAME *m, const char *name, long *size) {
  const struct spm_model *model = &spm_model_SPM_MODEL_NAME;
  for (int s = 0; s < model->row_state_count && m->instance.owned.values; s++) {
    if (strcmp(model->row_states[s].name, name) != 0) continue;
    if (size) *size = model->row_states[s].size;
    return m->instance.owned.values + m->instance.owned.rows * model->row_states[s].offset;
  }
  return NULL;
}

static int visit_rows(struct SPM_MODEL_NAME *m, long rows) {
  for (long i = 0; i < rows; i++) {
    long row = m->order ? m->order[i] : m->first + i;
    if (row < 0 || row >= m->instance.owned.rows) return -1;
  }
  spm_instance_visit(&m->instance, m->order, m->first, rows);
  return 0;
}
#endif

extern int SPM_MODEL_NAME_step(struct SPM_MODEL_NAME *m, const real *const *data, long rows) {
  if (!m->instance.training || !spm_find_program(&spm_model_SPM_MODEL_NAME, "train") || rows < 1 ||
      rows > m->instance.rows)
    return -1;
#ifndef SPM_NO_ROW_STATES
  if (visit_rows(m, rows) != 0) return -1;
#endif
  m->instance.run.call.data = data;
  return spm_instance_step(&m->instance, rows);
}

#ifndef SPM_NO_STAGES
extern int SPM_MODEL_NAME_next_stage(struct SPM_MODEL_NAME *m) {
  if (!m->instance.training || m->instance.stage + 1 >= spm_model_SPM_MODEL_NAME.training_count) return -1;
  spm_instance_next_stage(&m->instance);
  return 0;
}
#endif

extern int SPM_MODEL_NAME_run(struct SPM_MODEL_NAME *m, const char *program, const real *const *data, long rows) {
  const struct spm_program *p = spm_find_program(&spm_model_SPM_MODEL_NAME, program);
  if (!p || rows < 0 || rows > m->instance.rows || (!m->instance.training && spm_find_output(p, SPM_GRADIENT_OF, NULL)))
    return -1;
  m->instance.run.call.data = data;
#ifndef SPM_NO_ROW_STATES
  if (p->uses_rows && strcmp(program, "initialise_rows") != 0 && spm_instance_fresh(&m->instance, 0, rows) >= 0)
    return -1;
#endif
  spm_run_program(spm_instance_run(&m->instance, p, 0, rows));
  return 0;
}

extern const real *SPM_MODEL_NAME_output(const struct SPM_MODEL_NAME *m, const char *name, long *size) {
  const struct spm_program *p = m->instance.run.program;
  for (int i = 0; p && i < p->output_count; i++) {
    if (strcmp(p->outputs[i].name, name) != 0) continue;
    if (size) *size = p->outputs[i].size;
    return spm_output_values(&m->instance.run, &p->outputs[i]);
  }
  return NULL;
}

extern real *SPM_MODEL_NAME_parameter(struct SPM_MODEL_NAME *m, const char *name, long *size) {
  const struct spm_model *model = &spm_model_SPM_MODEL_NAME;
  for (int p = 0; p < model->parameter_count; p++) {
    if (strcmp(model->parameters[p].name, name) != 0) continue;
    if (size) *size = model->parameters[p].size;
    return m->instance.run.parameters + model->parameters[p].offset;
  }
  return NULL;
}

#ifdef SPM_STATIC /* one instance in memory of its own, for targets without a heap */
#ifndef SPM_BATCH_ROWS
#define SPM_BATCH_ROWS SPM_MODEL_BATCH /* of the largest batch */
#endif
#ifndef SPM_TRAINING
#define SPM_TRAINING 1 /* 0: no gradients, no moments */
#endif
static union {
  double aligned;
  unsigned char bytes[HEAD + sizeof(real) * SPM_MODEL_REALS(SPM_BATCH_ROWS, SPM_TRAINING)];
} spm_static_memory;

extern struct SPM_MODEL_NAME *SPM_MODEL_NAME_static(unsigned long long seed) {
  return SPM_MODEL_NAME_open(&spm_static_memory, sizeof spm_static_memory, SPM_BATCH_ROWS, SPM_TRAINING, seed);
}
#endif
