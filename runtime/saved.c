/* Parameters, states, moments and counters <-> one safetensors file. Everything a resumed run needs to give the same
 * bytes as one that was never interrupted. See saved.h. */
#include "saved.h"
#include "blas.h"
#include "checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const enum spm_element real_element = sizeof(real) == sizeof(float) ? SPM_F32 : SPM_F64;
static const char *const format_note = "spmc model 1";
enum { NOTE_SIZE = 64, FIXED_NOTES = 9, COUNTERS = 15, PROGRESS = COUNTERS + TRAIN_UNCHANGED_MOST };

/* ---- what is in a file: one list for writing and reading ------------------------------------------------------- */

struct listing {
  struct checkpoint_tensor *tensors;
  real **places; /* where each is read to; NULL: derived, only written */
  int count, capacity;
  real **made; /* values that only the list holds */
  int made_count;
  bool failed;
};

static void list(struct listing *l, const char *prefix, const struct spm_tensor *tensor, const real *values,
                 real *place) {
  size_t size = strlen(prefix) + strlen(tensor->name) + 1;
  char *name = malloc(size);
  if (!name || l->count == l->capacity) {
    l->failed = true;
    free(name);
    return;
  }
  snprintf(name, size, "%s%s", prefix, tensor->name);
  struct checkpoint_tensor *t = &l->tensors[l->count];
  *t = (struct checkpoint_tensor){.name = name, .element = real_element, .rank = tensor->rank, .values = values};
  for (int d = 0; d < tensor->rank; d++) t->shape[d] = tensor->shape[d];
  l->places[l->count++] = place;
}

static void listing_free(struct listing *l) {
  for (int i = 0; i < l->count; i++) free((char *)l->tensors[i].name);
  for (int i = 0; i < l->made_count; i++) free(l->made[i]);
  free(l->made);
  free(l->tensors);
  free(l->places);
}

/* The constrained value, if program "export" was run to make it. */
static const real *exported(const struct spm_run *run, int parameter) {
  for (int i = 0; run->program && i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
    if (output->role == SPM_EXPORT_OF && output->index == parameter) return spm_output_values(run, output);
  }
  return NULL;
}

static bool has_moments(const struct spm_host *host, int parameter) {
  return host->first && !host->model->parameters[parameter].fixed;
}

/* A row state as one tensor of all rows. */
static void list_rows(struct listing *l, const char *prefix, const struct spm_host *host, int state, const real *values,
                      real *place) {
  struct spm_tensor all = host->model->row_states[state];
  memmove(all.shape + 1, all.shape, sizeof(long) * (size_t)all.rank);
  all.shape[0] = host->rows.rows;
  all.rank++;
  list(l, prefix, &all, values, place);
}

/* Constrained values are made for writing alone, in memory of their own. */
static int list_row_states(struct listing *l, struct spm_host *host, bool writing, bool training,
                           struct spm_error *error) {
  const struct spm_model *model = host->model;
  for (int s = 0; s < model->row_state_count && host->rows.rows > 0 && !l->failed; s++) {
    const struct spm_tensor *state = &model->row_states[s];
    size_t at = (size_t)host->rows.rows * (size_t)state->offset;
    real *raw = host->rows.values + at;
    if (state->constrained && writing) {
      real *value = malloc(sizeof(real) * (size_t)(host->rows.rows * state->size));
      l->made[l->made_count++] = value;
      if (!value) return spm_fail_system(error, model->name, "save", ENOMEM);
      if (spm_host_export_rows(host, s, value, error) != 0) return -1;
      list_rows(l, "", host, s, value, NULL);
    }
    list_rows(l, state->constrained ? "raw." : "", host, s, raw, raw);
    if (!training || !host->rows.first) continue;
    list_rows(l, "optimizer.first.", host, s, host->rows.first + at, host->rows.first + at);
    list_rows(l, "optimizer.second.", host, s, host->rows.second + at, host->rows.second + at);
  }
  static const struct spm_tensor updates = {.name = "row_updates", .rank = 1, .size = 1};
  struct spm_tensor all = updates;
  all.shape[0] = host->rows.rows;
  if (training && host->rows.updates && !l->failed) list(l, "optimizer.", &all, host->rows.updates, host->rows.updates);
  return 0;
}

/* What was put aside (spm_host_keep_best), in the order it lies there. */
static void list_best(struct listing *l, const struct spm_host *host) {
  const struct spm_model *model = host->model;
  real *at = host->best;
  for (int p = 0; p < model->parameter_count && !l->failed; p++)
    list(l, "best.", &model->parameters[p], at + model->parameters[p].offset, at + model->parameters[p].offset);
  at += model->parameter_size;
  for (int s = 0; s < model->state_count && !l->failed; s++)
    list(l, "best.state.", &model->states[s], at + model->states[s].offset, at + model->states[s].offset);
  at += model->state_size;
  for (int s = 0; s < model->row_state_count && host->rows.rows > 0 && !l->failed; s++) {
    real *rows = at + host->rows.rows * model->row_states[s].offset;
    list_rows(l, "best.", host, s, rows, rows);
  }
}

/* For writing, constrained values stand beside raw ones; those of rows are made first, since all programs share their
 * work space and what "export" left is read when the file is written. */
static int listing_create(struct listing *l, struct spm_host *host, bool writing, bool training,
                          struct spm_error *error) {
  const struct spm_model *model = host->model;
  *l = (struct listing){.capacity = 5 * (model->parameter_count + model->row_state_count) + 2 * model->state_count + 3};
  l->tensors = calloc((size_t)l->capacity, sizeof *l->tensors);
  l->places = calloc((size_t)l->capacity, sizeof *l->places);
  l->made = calloc((size_t)model->row_state_count + 1, sizeof *l->made);
  l->failed = !l->tensors || !l->places || !l->made;
  int status = l->failed ? 0 : list_row_states(l, host, writing, training, error);
  const struct spm_program *program = writing && status == 0 ? spm_find_program(model, "export") : NULL;
  struct spm_run export = spm_host_run(host, program, 0);
  if (program) spm_run_program(&export);
  for (int p = 0; p < model->parameter_count && !l->failed; p++) {
    const struct spm_tensor *parameter = &model->parameters[p];
    real *raw = host->parameters + parameter->offset;
    const real *value = exported(&export, p);
    if (value && parameter->constrained) list(l, "", parameter, value, NULL);
    list(l, parameter->constrained ? "raw." : "", parameter, raw, raw);
  }
  for (int s = 0; s < model->state_count && !l->failed; s++)
    list(l, "state.", &model->states[s], host->state + model->states[s].offset, host->state + model->states[s].offset);
  for (int p = 0; p < model->parameter_count && training && !l->failed; p++) {
    const struct spm_tensor *parameter = &model->parameters[p];
    if (!has_moments(host, p)) continue;
    list(l, "optimizer.first.", parameter, host->first + parameter->offset, host->first + parameter->offset);
    list(l, "optimizer.second.", parameter, host->second + parameter->offset, host->second + parameter->offset);
  }
  if (training && host->best && !l->failed) list_best(l, host);
  if (!l->failed && status == 0) return 0;
  listing_free(l);
  return status == 0 ? spm_fail_system(error, model->name, "save", ENOMEM) : -1;
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

struct notes {
  struct checkpoint_note *items;
  struct note_text {
    char key[2 * NOTE_SIZE], text[NOTE_SIZE];
  } * texts;
  int count;
};

static int notes_create(struct notes *notes, const struct spm_model *model, struct spm_error *error) {
  const size_t most = FIXED_NOTES + 2 * (size_t)model->data_count;
  *notes = (struct notes){calloc(most, sizeof *notes->items), calloc(most, sizeof *notes->texts), 0};
  if (notes->items && notes->texts) return 0;
  free(notes->items);
  free(notes->texts);
  return spm_fail_system(error, model->name, "save", ENOMEM);
}

static void notes_free(struct notes *notes) {
  free(notes->items);
  free(notes->texts);
}

static void note_text(struct notes *notes, const char *key, const char *text) {
  notes->items[notes->count++] = (struct checkpoint_note){key, text};
}

static void note(struct notes *notes, const char *key, unsigned long long value) {
  char *text = notes->texts[notes->count].text;
  snprintf(text, NOTE_SIZE, "%llu", value);
  note_text(notes, key, text);
}

/* "data x", "valid x" */
static void data_key(char *key, const char *role, const struct spm_tensor *data) {
  snprintf(key, 2 * NOTE_SIZE, "%s %.100s", role, data->name);
}

static void note_data(struct notes *notes, const struct spm_model *model, const char *role,
                      const struct spm_rows *rows) {
  for (int d = 0; rows && rows->tables && d < model->data_count; d++) {
    struct note_text *at = &notes->texts[notes->count];
    data_key(at->key, role, &model->data[d]);
    snprintf(at->text, NOTE_SIZE, "%s", spm_table_identity(rows->tables[d]).text);
    note_text(notes, at->key, at->text);
  }
}

/* Where training stands, as one tensor: counters are exact in double up to 2^53. */
static void pack_progress(const struct train_state *state, double *progress) {
  const double head[COUNTERS] = {(double)state->epoch,
                                 (double)state->batch,
                                 (double)state->step,
                                 (double)state->updates,
                                 (double)state->skipped,
                                 (double)state->in_a_row,
                                 state->rows,
                                 (double)state->unchanged,
                                 (double)state->stage,
                                 (double)state->earlier_epochs,
                                 (double)state->earlier_steps,
                                 (double)state->has_best,
                                 state->best,
                                 (double)state->best_epoch,
                                 (double)state->best_step};
  memcpy(progress, head, sizeof head);
  memcpy(progress + COUNTERS, state->recent, sizeof state->recent);
  memcpy(progress + PROGRESS, state->sums, sizeof(double) * (size_t)state->count);
}

static void unpack_progress(struct train_state *state, const double *progress) {
  state->epoch = (long)progress[0];
  state->batch = (long)progress[1];
  state->step = (long)progress[2];
  state->updates = (long)progress[3];
  state->skipped = (long)progress[4];
  state->in_a_row = (long)progress[5];
  state->rows = progress[6];
  state->unchanged = (int)progress[7];
  state->stage = (long)progress[8];
  state->earlier_epochs = (long)progress[9];
  state->earlier_steps = (long)progress[10];
  state->has_best = (int)progress[11];
  state->best = progress[12];
  state->best_epoch = (long)progress[13];
  state->best_step = (long)progress[14];
  memcpy(state->recent, progress + COUNTERS, sizeof state->recent);
  memcpy(state->sums, progress + PROGRESS, sizeof(double) * (size_t)state->count);
}

int saved_write(const char *path, struct spm_host *host, const struct saved_run *run, const struct train_state *state,
                struct spm_error *error) {
  struct listing l;
  if (listing_create(&l, host, true, state != NULL, error) != 0) return -1;
  double *progress = NULL;
  if (state) {
    progress = calloc((size_t)(PROGRESS + state->count), sizeof *progress);
    if (!progress) {
      listing_free(&l);
      return spm_fail_system(error, path, "write", ENOMEM);
    }
    pack_progress(state, progress);
    l.tensors[l.count] = (struct checkpoint_tensor){.name = strdup("training.progress"),
                                                    .element = SPM_F64,
                                                    .rank = 1,
                                                    .shape = {PROGRESS + state->count},
                                                    .values = progress};
    if (l.tensors[l.count].name) l.count++;
  }
  struct notes notes;
  int status = notes_create(&notes, host->model, error);
  if (status == 0) {
    note_text(&notes, "format", format_note);
    note_text(&notes, "model", host->model->name);
    note(&notes, "seed", run->seed);
    note(&notes, "batch", (unsigned long long)run->batch);
    note(&notes, "rows", (unsigned long long)run->rows);
    if (host->model->training_count > 1) note(&notes, "stage", (unsigned long long)run->stage);
    note(&notes, "epoch", (unsigned long long)host->epoch);
    note(&notes, "step", (unsigned long long)host->step);
    note_text(&notes, "blas", spm_blas_name());
    note_data(&notes, host->model, "data", run->data);
    note_data(&notes, host->model, "valid", run->valid);
    status = checkpoint_write(path, l.tensors, l.count, notes.items, notes.count, error);
    notes_free(&notes);
  }
  listing_free(&l);
  free(progress);
  return status;
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

static int read_number(const struct checkpoint *file, const char *path, const char *key, unsigned long long *value,
                       struct spm_error *error) {
  const char *text = checkpoint_note(file, key);
  char *end;
  errno = 0;
  if (text && text[0] >= '0' && text[0] <= '9') {
    *value = strtoull(text, &end, 10);
    if (!*end && errno == 0) return 0;
  }
  return spm_fail(error, "%s: is not a model that spmc saved (its note \"%s\" is %s)", path, key,
                  text ? "not a number" : "missing");
}

static int read_notes(const struct checkpoint *file, const char *path, struct saved_run *run, struct spm_error *error) {
  const char *format = checkpoint_note(file, "format");
  unsigned long long seed = 0, batch = 0, rows = 0, epoch = 0, step = 0, stage = 0;
  if (!format || strcmp(format, format_note) != 0)
    return spm_fail(error, "%s: is not a model that spmc saved (its note \"format\" is %s)", path,
                    format ? format : "missing");
  if (read_number(file, path, "seed", &seed, error) != 0 || read_number(file, path, "batch", &batch, error) != 0 ||
      read_number(file, path, "rows", &rows, error) != 0 || read_number(file, path, "epoch", &epoch, error) != 0 ||
      read_number(file, path, "step", &step, error) != 0 ||
      (checkpoint_note(file, "stage") && read_number(file, path, "stage", &stage, error) != 0))
    return -1;
  const char *blas = checkpoint_note(file, "blas");
  *run = (struct saved_run){.seed = seed,
                            .batch = (long)batch,
                            .rows = (long)rows,
                            .epoch = (long)epoch,
                            .step = (long)step,
                            .stage = (long)stage};
  snprintf(run->blas, sizeof run->blas, "%s", blas ? blas : "none");
  return 0;
}

int saved_read_run(const char *path, struct saved_run *run, struct spm_error *error) {
  struct checkpoint file;
  if (checkpoint_read(&file, path, error) != 0) return -1;
  int status = read_notes(&file, path, run, error);
  checkpoint_free(&file);
  return status;
}

/* Without the hash, for people. */
static int shape_length(const char *identity) {
  const char *comma = strrchr(identity, ',');
  return comma ? (int)(comma - identity) : (int)strlen(identity);
}

int saved_check_data(const char *path, const struct spm_model *model, const char *role, const struct spm_rows *rows,
                     struct spm_error *error) {
  struct checkpoint file;
  if (checkpoint_read(&file, path, error) != 0) return -1;
  int status = 0;
  for (int d = 0; d < model->data_count && status == 0; d++) {
    char key[2 * NOTE_SIZE];
    data_key(key, role, &model->data[d]);
    const char *was = checkpoint_note(&file, key);
    const struct spm_table *table = rows->tables ? rows->tables[d] : NULL;
    const struct spm_words is = spm_table_identity(table);
    if (!was || strcmp(was, is.text) == 0) continue;
    const int length = shape_length(was);
    const bool alike = length == shape_length(is.text) && strncmp(was, is.text, (size_t)length) == 0;
    status = spm_fail(error,
                      "the run was made with other %s for `%s`: then %.*s, and %s is %.*s%s; go on with the run's own, "
                      "or begin anew in another directory",
                      strcmp(role, "data") == 0 ? "data" : "validation data", model->data[d].name, length, was,
                      table ? table->path : "now", shape_length(is.text), is.text, alike ? " of other values" : "");
  }
  checkpoint_free(&file);
  return status;
}

/* All or nothing. */
static int read_tensors(const struct checkpoint *file, const char *path, const struct listing *l,
                        struct spm_error *error) {
  for (int copying = 0; copying < 2; copying++)
    for (int i = 0; i < l->count; i++) {
      const struct checkpoint_tensor *wanted = &l->tensors[i];
      const struct checkpoint_tensor *found =
          checkpoint_expect(file, path, wanted->name, wanted->element, wanted->rank, wanted->shape, error);
      if (!found) return -1;
      if (copying) memcpy(l->places[i], found->values, sizeof(real) * checkpoint_tensor_count(found));
    }
  return 0;
}

static int read_progress(const struct checkpoint *file, const char *path, struct train_state *state,
                         struct spm_error *error) {
  const long shape[1] = {PROGRESS + state->count};
  const struct checkpoint_tensor *progress =
      checkpoint_expect(file, path, "training.progress", SPM_F64, 1, shape, error);
  if (!progress) return -1;
  unpack_progress(state, progress->values);
  return 0;
}

int saved_read(const char *path, struct spm_host *host, struct saved_run *run, struct train_state *state,
               struct spm_error *error) {
  struct checkpoint file;
  struct listing l;
  if (checkpoint_read(&file, path, error) != 0) return -1;
  int status = read_notes(&file, path, run, error);
  if (status == 0) status = listing_create(&l, host, false, state != NULL, error);
  if (status == 0) {
    status = read_tensors(&file, path, &l, error);
    listing_free(&l);
  }
  host->epoch = status == 0 ? run->epoch : 0;
  host->step = status == 0 ? run->step : 0;
  if (status == 0 && state) status = read_progress(&file, path, state, error);
  checkpoint_free(&file);
  return status;
}
