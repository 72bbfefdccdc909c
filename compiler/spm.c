/* The host's view of the compiler and the runtime. See spm.h. */
#include "spm.h"
#include "compiler.h"

#include "runtime/blas.h"
#include "runtime/saved.h"
#include "runtime/train.h"

#include <stdlib.h>
#include <string.h>

struct spm_compiled {
  Compilation *compilation;
  Jit *jit;
  const struct spm_model *model;
};

struct spm_session {
  const struct spm_model *model;
  struct spm_host host;
  struct spm_columns train_columns, evaluate_columns;
  struct train_state state;
  struct spm_run run; /* the last gradient */
  long rows;
};

int spm_abi_version(void) { return SPM_HOST_ABI; }

static int say(char *error, size_t size, const char *message) {
  if (error && size > 0) snprintf(error, size, "%s", message);
  return -1;
}

int spm_use_blas(char *error, size_t error_size) {
  char message[512];
  return spm_blas_open(SPM_OPENBLAS, message, sizeof message) == 0 ? 0 : say(error, error_size, message);
}

/* ---- specs ----------------------------------------------------------------------------------------------------- */

static void say_diagnostics(Compilation *c, char *error, size_t size) {
  char *text = NULL;
  size_t length = 0;
  FILE *stream = open_memstream(&text, &length);
  if (stream) {
    diagnostics_print(c, stream, false);
    fclose(stream);
  }
  say(error, size, text && length > 0 ? text : "out of memory");
  free(text);
}

static Jit *compile_text(Compilation *c, const char *text, const char *name, const spm_value *values, int count,
                         char *message, size_t size) {
  Override *overrides = arena_array(c, Override, count);
  CompileOptions options = {.overrides = overrides, .override_count = count, .text = text};
  for (int i = 0; i < count; i++) overrides[i] = (Override){intern(c, values[i].name), values[i].value};
  Model *model = compile_check(c, name, &options);
  if (c->error_count > 0 || !model) return NULL;
  if (model_is_library(model)) {
    snprintf(message, size, "%s: holds no `model`", name);
    return NULL;
  }
  if (setjmp(c->failure)) return NULL;
  c->failure_set = true;
  Jit *jit = compile_jit(model, false, message, size);
  c->failure_set = false;
  return jit;
}

spm_compiled *spm_compile(const char *text, const char *name, const spm_value *values, int value_count, char *error,
                          size_t error_size) {
  char message[1024] = "";
  spm_compiled *compiled = calloc(1, sizeof *compiled);
  if (compiled) compiled->compilation = compilation_create();
  if (!compiled || !compiled->compilation) {
    free(compiled);
    say(error, error_size, "out of memory");
    return NULL;
  }
  Compilation *c = compiled->compilation;
  compiled->jit = compile_text(c, text, name ? name : "spec", values, value_count, message, sizeof message);
  if (compiled->jit && c->error_count == 0) {
    compiled->model = jit_model(compiled->jit);
    return compiled;
  }
  if (c->error_count > 0 || !message[0])
    say_diagnostics(c, error, error_size);
  else
    say(error, error_size, message);
  spm_compiled_free(compiled);
  return NULL;
}

void spm_compiled_free(spm_compiled *compiled) {
  if (!compiled) return;
  jit_destroy(compiled->jit);
  compilation_destroy(compiled->compilation);
  free(compiled);
}

static const struct spm_tensor *tensors_of(const spm_compiled *compiled, int kind, int *count) {
  const struct spm_model *m = compiled->model;
  *count = kind == SPM_DATA_TENSORS        ? m->data_count
           : kind == SPM_PARAMETER_TENSORS ? m->parameter_count
           : kind == SPM_STATE_TENSORS     ? m->state_count
                                           : 0;
  return kind == SPM_DATA_TENSORS ? m->data : kind == SPM_PARAMETER_TENSORS ? m->parameters : m->states;
}

int spm_tensor_count(const spm_compiled *compiled, int kind) {
  int count;
  tensors_of(compiled, kind, &count);
  return count;
}

int spm_tensor_at(const spm_compiled *compiled, int kind, int index, spm_tensor_info *info) {
  int count;
  const struct spm_tensor *tensors = tensors_of(compiled, kind, &count);
  if (index < 0 || index >= count) return -1;
  const struct spm_tensor *t = &tensors[index];
  *info = (spm_tensor_info){.name = t->name, .dims = t->dims, .rank = t->rank, .size = t->size};
  memcpy(info->shape, t->shape, sizeof info->shape);
  return 0;
}

/* ---- sessions -------------------------------------------------------------------------------------------------- */

static int create_parts(spm_session *s, int threads, unsigned long long seed, struct spm_error *e) {
  const struct spm_program *train = spm_find_program(s->model, "train"),
                           *evaluate = spm_find_program(s->model, "evaluate");
  if (!train || !evaluate) return spm_fail(e, "%s: cannot be trained", s->model->name);
  if (spm_host_create(&s->host, s->model, s->rows, threads, seed, e) != 0 ||
      (s->model->given_count == 0 && spm_host_initialise(&s->host, e) != 0) ||
      spm_columns_create(&s->train_columns, train, e) != 0 ||
      spm_columns_create(&s->evaluate_columns, evaluate, e) != 0)
    return -1;
  s->host.total_rows = s->rows;
  return train_state_create(&s->state, s->train_columns.count, e);
}

spm_session *spm_session_create(const spm_compiled *compiled, long rows, int threads, unsigned long long seed,
                                char *error, size_t error_size) {
  struct spm_error e = {"out of memory"};
  spm_session *s = rows > 0 ? calloc(1, sizeof *s) : NULL;
  if (s) {
    s->model = compiled->model;
    s->rows = rows;
    if (create_parts(s, threads, seed, &e) == 0) return s;
  }
  say(error, error_size, rows > 0 ? e.message : "a session needs room for at least one row");
  spm_session_free(s);
  return NULL;
}

void spm_session_free(spm_session *s) {
  if (!s) return;
  if (s->host.model) spm_host_free(&s->host);
  spm_columns_free(&s->train_columns);
  spm_columns_free(&s->evaluate_columns);
  train_state_free(&s->state);
  free(s);
}

static int parameter_named(const struct spm_model *model, const char *name) {
  for (int p = 0; p < model->parameter_count; p++)
    if (strcmp(model->parameters[p].name, name) == 0) return p;
  return -1;
}

float *spm_session_parameter(spm_session *s, const char *name, long *size) {
  int p = parameter_named(s->model, name);
  if (p < 0) return NULL;
  if (size) *size = s->model->parameters[p].size;
  return s->host.parameters + s->model->parameters[p].offset;
}

/* Rows in the caller's memory as tables that the runtime reads. */
typedef struct Rows {
  struct spm_table *tables;
  const struct spm_table **list;
  struct spm_rows rows;
} Rows;

static int rows_open(const spm_session *s, const float *const *data, long count, Rows *r, struct spm_error *e) {
  const int n = s->model->data_count;
  r->tables = calloc((size_t)n + 1, sizeof *r->tables);
  r->list = calloc((size_t)n + 1, sizeof *r->list);
  if (!r->tables || !r->list) return spm_fail(e, "out of memory");
  if (count < 1) return spm_fail(e, "%s: there are no rows", s->model->name);
  for (int d = 0; d < n; d++) {
    const struct spm_tensor *t = &s->model->data[d];
    const long size = spm_file_row(t);
    if (!data || !data[d]) return spm_fail(e, "%s: no data for %s", s->model->name, t->name);
    r->tables[d] = (struct spm_table){.path = (char *)t->name, .format = "memory", .element = SPM_F32, .rank = 2};
    r->tables[d].shape[0] = r->tables[d].rows = count;
    r->tables[d].shape[1] = r->tables[d].row_size = size;
    r->tables[d].bytes = (void *)data[d];
    r->tables[d].byte_count = sizeof(float) * (size_t)count * (size_t)size;
    r->list[d] = &r->tables[d];
  }
  r->rows = (struct spm_rows){.tables = r->list, .count = count};
  return 0;
}

static void rows_close(Rows *r) {
  free(r->tables);
  free(r->list);
}

/* Initial values that need data are made from the first rows that the session trains on, or takes a gradient of. */
static int start_from_data(spm_session *s, const Rows *r, struct spm_error *e) {
  if (s->model->given_count == 0 || s->host.is_given) return 0;
  if (spm_host_give(&s->host, &r->rows, "", e) != 0) return -1;
  return spm_host_initialise(&s->host, e);
}

static int has_started(const spm_session *s, struct spm_error *e) {
  if (s->model->given_count == 0 || s->host.is_given) return 0;
  return spm_fail(e, "%s: initial values need %s, and nothing has been trained yet", s->model->name,
                  s->model->givens[0].name);
}

static double objective_in(const struct spm_columns *columns, const double *values) {
  for (int i = 0; i < columns->count; i++)
    if (columns->roles[i] == SPM_OBJECTIVE) return values[i];
  return 0;
}

int spm_session_gradient(spm_session *s, const float *const *data, long rows, unsigned step, double *objective,
                         char *error, size_t error_size) {
  struct spm_error e;
  Rows r = {0};
  if (rows > s->rows) return say(error, error_size, "more rows than the session has room for");
  int status = rows_open(s, data, rows, &r, &e);
  if (status == 0) status = start_from_data(s, &r, &e);
  if (status == 0) status = spm_host_gather(&s->host, &r.rows, NULL, 0, rows, &e);
  rows_close(&r);
  if (status != 0) return say(error, error_size, e.message);
  s->run = spm_host_run(&s->host, s->train_columns.program, rows);
  s->run.call.step = step;
  spm_run_program(&s->run);
  const struct spm_output *output = spm_find_output(s->run.program, SPM_OBJECTIVE, NULL);
  if (objective && output) *objective = (double)*spm_output_values(&s->run, output);
  return 0;
}

const float *spm_session_gradient_of(const spm_session *s, const char *name, long *size) {
  if (!s->run.program) return NULL;
  const struct spm_output *output = spm_find_output(s->run.program, SPM_GRADIENT_OF, name);
  if (!output) return NULL;
  if (size) *size = output->size;
  return spm_output_values(&s->run, output);
}

struct progress {
  spm_progress told;
  void *context;
  const struct spm_columns *columns;
  volatile sig_atomic_t stop;
};

static int after_epoch(void *context, const struct train_state *state, const double *means, const double *valid,
                       struct spm_error *error) {
  struct progress *p = context;
  (void)valid;
  (void)error;
  if (p->told && p->told(p->context, state->epoch, state->step, objective_in(p->columns, means)) != 0) p->stop = 1;
  return 0;
}

/* What rows own begins with the first training, and belongs to these rows from then on. */
static int own_rows(spm_session *s, Rows *r, struct spm_error *e) {
  r->rows.owned = s->model->row_state_count > 0;
  if (!r->rows.owned || s->host.rows.rows == r->rows.count) return 0;
  if (s->host.rows.rows > 0)
    return spm_fail(e, "%s: %s has values for %ld rows, and these are %ld", s->model->name,
                    s->model->row_states[0].name, s->host.rows.rows, r->rows.count);
  if (spm_host_open_rows(&s->host, r->rows.count, e) != 0) return -1;
  return spm_host_initialise_rows(&s->host, &r->rows, e);
}

/* valid = N: the last rows judge what `keep` keeps, and are not trained on. */
static int hold_back(const spm_session *s, Rows *r, struct spm_rows *valid, struct spm_error *e) {
  const long held = s->model->trainings[0].valid;
  *valid = (struct spm_rows){.tables = r->list, .first = r->rows.count - held, .count = held};
  if (held >= r->rows.count)
    return spm_fail(e, "%s: `valid = %ld` holds all of the %ld rows back: none is left to train on", s->model->name,
                    held, r->rows.count);
  r->rows.count -= held;
  return 0;
}

static int train_stage(spm_session *s, const struct spm_rows *valid, long epochs, struct train_options *options,
                       const struct train_events *events, struct spm_error *e) {
  const struct spm_training *stage = &s->model->trainings[s->state.stage];
  options->training = *stage;
  options->training.batch = s->rows;
  options->training.epochs = s->state.epoch + (epochs > 0 ? epochs : stage->epochs);
  options->valid = stage->keep ? *valid : (struct spm_rows){0};
  return train_run(&s->host, options, &s->state, events, e);
}

int spm_session_train(spm_session *s, const float *const *data, long rows, long epochs, spm_progress told,
                      void *context, char *error, size_t error_size) {
  struct spm_error e;
  struct spm_rows valid;
  Rows r = {0};
  struct progress progress = {told, context, &s->train_columns, 0};
  struct train_options options = {
      .train_columns = &s->train_columns, .valid_columns = &s->evaluate_columns, .stop = &progress.stop};
  const struct train_events events = {.context = &progress, .epoch = after_epoch};
  s->run.program = NULL;
  int status = rows_open(s, data, rows, &r, &e);
  if (status == 0) status = hold_back(s, &r, &valid, &e);
  s->host.total_rows = r.rows.count;
  if (status == 0) status = start_from_data(s, &r, &e);
  if (status == 0) status = own_rows(s, &r, &e);
  options.data = r.rows;
  if (status == 0) status = train_stage(s, &valid, epochs, &options, &events, &e);
  while (status == TRAIN_FINISHED && epochs <= 0 && s->state.stage + 1 < s->model->training_count) {
    train_next_stage(&s->host, &s->state);
    status = train_stage(s, &valid, 0, &options, &events, &e);
  }
  rows_close(&r);
  return status == TRAIN_FAILED ? say(error, error_size, e.message) : 0;
}

int spm_session_next_stage(spm_session *s) {
  if (s->state.stage + 1 >= s->model->training_count) return -1;
  train_next_stage(&s->host, &s->state);
  return 0;
}

const char *spm_session_stage(const spm_session *s) { return s->model->trainings[s->state.stage].name; }

int spm_session_evaluate(spm_session *s, const float *const *data, long rows, double *objective, char *error,
                         size_t error_size) {
  struct spm_error e;
  Rows r = {0};
  double *means = calloc((size_t)s->evaluate_columns.count + 1, sizeof *means);
  int status = means ? rows_open(s, data, rows, &r, &e) : spm_fail(&e, "out of memory");
  s->run.program = NULL;
  if (status == 0) status = has_started(s, &e);
  if (status == 0) status = spm_host_evaluate(&s->host, &r.rows, &s->evaluate_columns, means, &e);
  if (status == 0 && objective) *objective = objective_in(&s->evaluate_columns, means);
  rows_close(&r);
  free(means);
  return status == 0 ? 0 : say(error, error_size, e.message);
}

static int collect_rows(spm_session *s, const struct spm_program *program, const struct spm_output *output,
                        const struct spm_rows *rows, float *out, struct spm_error *e) {
  for (long first = 0; first < rows->count; first += SPM_EVALUATION_ROWS) {
    long count = rows->count - first < SPM_EVALUATION_ROWS ? rows->count - first : SPM_EVALUATION_ROWS;
    if (spm_host_gather(&s->host, rows, NULL, first, count, e) != 0) return -1;
    struct spm_run run = spm_host_run(&s->host, program, count);
    run.call.first_row = first;
    spm_run_program(&run);
    memcpy(out + first * output->size, spm_output_values(&run, output), sizeof(float) * (size_t)(count * output->size));
  }
  return 0;
}

int spm_session_rows(spm_session *s, const char *program, const char *output, const float *const *data, long rows,
                     float *out, char *error, size_t error_size) {
  struct spm_error e;
  Rows r = {0};
  const struct spm_program *p = spm_find_program(s->model, program);
  const struct spm_output *o = p ? spm_find_output(p, SPM_ROWS, output) : NULL;
  int status =
      o ? rows_open(s, data, rows, &r, &e)
        : spm_fail(&e, "%s: has no program `%s` with an output `%s` for each row", s->model->name, program, output);
  s->run.program = NULL;
  if (status == 0) status = has_started(s, &e);
  if (status == 0) status = collect_rows(s, p, o, &r.rows, out, &e);
  rows_close(&r);
  return status == 0 ? 0 : say(error, error_size, e.message);
}

int spm_session_load(spm_session *s, const char *path, char *error, size_t error_size) {
  struct spm_error e;
  struct saved_run saved;
  s->run.program = NULL;
  if (saved_read(path, &s->host, &saved, NULL, &e) != 0) return say(error, error_size, e.message);
  s->host.total_rows = saved.rows;
  s->host.is_given = true;
  return 0;
}

int spm_session_save(spm_session *s, const char *path, char *error, size_t error_size) {
  struct spm_error e;
  const struct saved_run saved = {.seed = s->host.seed, .batch = s->rows, .rows = s->host.total_rows};
  if (has_started(s, &e) != 0 || saved_write(path, &s->host, &saved, NULL, &e) != 0)
    return say(error, error_size, e.message);
  return 0;
}
