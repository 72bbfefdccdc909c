/* Pasted behind a model: a program that trains it. --data x=FILE --epochs N and so on: see usage(). */
#include "instance.h"
#include "../given.h"
#include "../rng.h"
#include "../train.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MODEL (&spm_model_SPM_MODEL_NAME)

enum { MAX_DATA = 32, EVALUATION_ROWS = 512, SKIPS_ALLOWED = 5, RUN_NOTE = 200 };

struct rows { /* files of one data set, read whole; by data declaration of the model */
  const char *paths[MAX_DATA];
  real *values[MAX_DATA];
  long first, count; /* they are the files' rows first, first + 1, ... */
};

struct options {
  struct rows data, valid, test;
  const char *save, *resume;
  long seed, epochs, batch, steps;
};

struct run { /* a model in training */
  struct spm_instance instance;
  real *batch[MAX_DATA];
  long *order; /* of the epoch's rows; NULL: as they stand */
#ifndef SPM_NO_UNCHANGED
  double recent[TRAIN_UNCHANGED_MOST]; /* objectives of the last epochs, the latest first */
#endif
  int unchanged;                       /* the objective no longer changes, and the stage ends */
  const struct spm_training *training; /* the stage, and what the command line makes of it: */
  long epochs, batch_rows, steps;
#ifndef SPM_NO_STAGES
  long earlier_epochs;
#endif
#ifndef SPM_NO_BEST
  real *best; /* parameters, state and what rows own at the best evaluation of this stage */
  int has_best;
  double best_value;
  long best_epoch, best_step;
#endif
};

static void fail(const char *format, ...) {
  va_list list;
  va_start(list, format);
  fprintf(stderr, "%s: error: ", MODEL->name);
  vfprintf(stderr, format, list);
  fprintf(stderr, "\n");
  va_end(list);
  exit(1);
}

static void *memory_of(size_t bytes) {
  void *memory = calloc(bytes > 0 ? bytes : 1, 1);
  if (!memory) fail("not enough memory: %.0f MB are needed", (double)bytes / 1e6);
  return memory;
}

/* ---- data ------------------------------------------------------------------------------------------------------ */

struct file { /* an IDX or .npy file after its header */
  FILE *stream;
  const char *path;
  char kind;        /* 'u', 'i', 'f' */
  int width;        /* bytes an element */
  int big;          /* the most significant byte first */
  long count, size; /* rows, and numbers in each */
};

static uint64_t read_integer(const unsigned char *bytes, int width, int big) {
  uint64_t value = 0;
  for (int i = 0; i < width; i++) value = value << 8 | bytes[big ? i : width - 1 - i];
  return value;
}

static real element_of(const struct file *file, const unsigned char *bytes, int unit) {
  uint64_t bits = read_integer(bytes, file->width, file->big);
  uint32_t half = (uint32_t)bits;
  float single;
  double value;
  if (file->kind == 'u') return unit && file->width == 1 ? (real)bits / (real)255 : (real)bits;
  if (file->kind == 'i') {
    uint64_t sign = (uint64_t)1 << (8 * file->width - 1);
    return bits & sign ? -(real)((~bits & (sign - 1)) + 1) : (real)bits;
  }
  if (file->width == 4) {
    memcpy(&single, &half, sizeof single);
    return (real)single;
  }
  memcpy(&value, &bits, sizeof value);
  return (real)value;
}

static void read_idx(struct file *file, const unsigned char *magic) {
  static const struct {
    int code;
    char kind;
    int width;
  } types[] = {{8, 'u', 1}, {9, 'i', 1}, {11, 'i', 2}, {12, 'i', 4}, {13, 'f', 4}, {14, 'f', 8}};
  unsigned char bytes[4];
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (types[i].code == magic[2]) {
      file->kind = types[i].kind;
      file->width = types[i].width;
    }
  file->big = 1;
  file->size = 1;
  for (int d = 0; d < magic[3]; d++) {
    if (fread(bytes, 1, 4, file->stream) != 4) fail("%s: ends within its header", file->path);
    long length = (long)read_integer(bytes, 4, 1);
    if (d == 0)
      file->count = length;
    else
      file->size *= length;
  }
}

static void read_npy(struct file *file) {
  unsigned char lengths[8];
  char header[4096], *at;
  size_t width, length;
  if (fread(lengths, 1, 4, file->stream) != 4) fail("%s: ends within its header", file->path); /* "PY", version */
  width = lengths[2] == 1 ? 2 : 4;
  if (fread(lengths, 1, width, file->stream) != width) fail("%s: ends within its header", file->path);
  length = (size_t)read_integer(lengths, (int)width, 0);
  if (length >= sizeof header || fread(header, 1, length, file->stream) != length)
    fail("%s: its header cannot be read", file->path);
  header[length] = '\0';
  if (strstr(header, "'fortran_order': True")) fail("%s: is in Fortran's order; save it in C's", file->path);
  at = strstr(header, "'descr': '");
  if (at) {
    file->big = at[10] == '>';
    file->kind = at[11] == 'b' ? 'u' : at[11];
    file->width = at[12] - '0';
  }
  at = strstr(header, "'shape': (");
  if (!at) fail("%s: has no shape", file->path);
  file->count = strtol(at + 10, &at, 10);
  for (file->size = 1; *at == ',' && strspn(at + 1, " 0123456789") > 1;) file->size *= strtol(at + 1, &at, 10);
}

static struct file open_file(const char *path) {
  struct file file = {NULL, path, 0, 0, 0, 0, 0};
  unsigned char magic[4];
  if (!(file.stream = fopen(file.path, "rb"))) fail("%s: cannot be opened", file.path);
  if (fread(magic, 1, 4, file.stream) != 4) fail("%s: is too short for an IDX or .npy file", file.path);
  if (magic[0] == 0x1f && magic[1] == 0x8b) fail("%s: is compressed; run gunzip first", file.path);
  if (magic[0] == 0 && magic[1] == 0)
    read_idx(&file, magic);
  else if (memcmp(magic, "\x93NUM", 4) == 0)
    read_npy(&file);
  int sound = file.kind == 'f'
                  ? file.width == 4 || file.width == 8
                  : (file.kind == 'u' || file.kind == 'i') && strchr("\1\2\4\10", file.width) && file.width;
  if (!sound) fail("%s: neither IDX nor .npy, or of numbers that cannot be read", file.path);
  return file;
}

static void read_file(struct rows *rows, int index) {
  const struct spm_tensor *data = &MODEL->data[index];
  struct file file = open_file(rows->paths[index]);
  unsigned char *row;
  const long categories = data->categories > 0 ? data->categories : 1;
  const long size = data->size / categories / (data->gathered > 0 ? data->gathered : 1);
  if (file.size != size)
    fail("%s: has rows of %ld numbers, and %s%s wants %ld", file.path, file.size, data->name, data->dims, size);
  if (file.count < 1) fail("%s: has no rows", file.path);
  if (rows->count && rows->count != file.count)
    fail("%s: has %ld rows, and the data before it %ld", file.path, file.count, rows->count);
  rows->count = file.count;
  real *to = rows->values[index] = memory_of((size_t)(file.count * size * categories) * sizeof(real));
  row = memory_of((size_t)file.size * (size_t)file.width);
  for (long r = 0; r < file.count; r++) {
    if (fread(row, (size_t)file.width, (size_t)file.size, file.stream) != (size_t)file.size)
      fail("%s: ends within row %ld of %ld", file.path, r, file.count);
    for (long i = 0; i < file.size; i++, to += categories) {
      *to = element_of(&file, row + i * file.width, data->unit);
#ifndef SPM_NO_GAPS
      if (data->missing_ok && file.kind != 'f' && *to == -1) *to = (real)NAN;
      if (data->missing_ok && *to != *to) { /* all of a label's vector */
        for (long k = 1; k < categories; k++) to[k] = *to;
        continue;
      }
#endif
#ifndef SPM_NO_LABELS
      if (data->categories > 0) { /* a label becomes a one-hot vector */
        long label = (long)*to;
        if ((real)label != *to || label < 0 || label >= categories)
          fail("%s: row %ld holds %g, which is no label of %s", file.path, r, (double)*to, data->name);
        *to = 0;
        to[label] = 1;
        continue;
      }
#endif
      if ((double)*to >= data->low && (double)*to <= data->high) continue;
      fail("%s: row %ld holds %g, and %s lies between %g and %g", file.path, r, (double)*to, data->name, data->low,
           data->high);
    }
  }
  free(row);
  fclose(file.stream);
}

static void read_rows(struct rows *rows, int needed) {
  for (int d = 0; d < MODEL->data_count; d++) {
    if (rows->paths[d])
      read_file(rows, d);
    else if (needed && !MODEL->data[d].missing_ok)
      fail("--data %s=FILE is missing", MODEL->data[d].name);
  }
  if (needed && MODEL->data_count == 0) rows->count = 1;
}

#ifndef SPM_NO_GIVENS
/* ---- what initial values need -------------------------------------------------------------------------------- */

static const real *rows_of(void *context, int data, const long *order, long first, long count) {
  const struct rows *rows = context;
  (void)count; /* an order is of one row */
  return rows->values[data] + (order ? order[0] : first) * MODEL->data[data].size;
}

static void read_given(const struct spm_given *given, real *out) {
  struct file file = open_file(given->path);
  const long count = given->rank > 0 ? given->shape[0] : 1;
  unsigned char bytes[8];
  if (file.count != count || file.size * count != given->size)
    fail("%s: holds %ld x %ld numbers, and the initial value wants %ld x %ld", file.path, file.count, file.size, count,
         given->size / count);
  for (long i = 0; i < given->size; i++) {
    if (fread(bytes, 1, (size_t)file.width, file.stream) != (size_t)file.width)
      fail("%s: ends within its numbers", file.path);
    out[i] = element_of(&file, bytes, 0);
  }
  fclose(file.stream);
}

/* By given; to be freed, the first one last. */
static real **make_givens(const struct options *o) {
  struct spm_given_source source;
  real **givens = memory_of(sizeof *givens * (size_t)(MODEL->given_count + 1));
  source.context = (void *)&o->data;
  source.rows = source.most = o->data.count;
  source.read = rows_of;
  for (int g = 0; g < MODEL->given_count; g++) {
    const struct spm_given *given = &MODEL->givens[g];
    givens[g] = memory_of(sizeof(real) * (size_t)given->size);
    if (given->kind == SPM_GIVEN_FILE)
      read_given(given, givens[g]);
    else if (spm_given_make(MODEL, g, &source, (unsigned long long)o->seed, givens[g]) != SPM_GIVEN_MADE)
      fail("%s wants %ld rows to start from, and the data have %ld", given->name, given->shape[0], o->data.count);
  }
  return givens;
}
#endif

static int is_number(const struct spm_output *output) { return output->place == SPM_VALUES && output->size == 1; }

static int is_shown(const struct spm_output *output) {
  return is_number(output) && (output->role == SPM_OBJECTIVE || output->role == SPM_TERM);
}

/* ---- stages of training --------------------------------------------------------------------------------------- */

static long batch_of(const struct spm_training *training, const struct options *o) {
  const long batch = o->batch >= 0 ? o->batch : training->batch;
  return batch <= 0 || batch > o->data.count ? o->data.count : batch;
}

/* What the stage says, and the command line in its place. */
static void set_stage(struct run *run, const struct options *o) {
  const struct spm_training *t = MODEL->trainings;
#ifndef SPM_NO_STAGES
  t += run->instance.stage;
#endif
  run->training = t;
  run->epochs = o->epochs >= 0 ? o->epochs : t->epochs;
  run->steps = o->steps > 0 ? o->steps : t->steps;
  run->batch_rows = batch_of(t, o);
#ifndef SPM_NO_LBFGS
  if (strcmp(t->optimizer, "lbfgs") == 0 && run->batch_rows < o->data.count)
    fail("lbfgs takes all %ld rows in each step: --batch 0", o->data.count);
#endif
}

#ifndef SPM_NO_BEST
/* Puts aside all that training changes, or takes it back. */
static void move_best(struct run *run, int back) {
  const struct spm_instance *i = &run->instance;
  real *best = run->best, *const places[] = {
                              i->parameters,
                              i->state,
#ifndef SPM_NO_ROW_STATES
                              i->owned.values,
#endif
                          };
  const long sizes[] = {
      MODEL->parameter_size,
      MODEL->state_size,
#ifndef SPM_NO_ROW_STATES
      i->owned.rows * MODEL->row_state_size,
#endif
  };
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; best += sizes[k++])
    memcpy(back ? places[k] : best, back ? best : places[k], sizeof(real) * (size_t)sizes[k]);
}

/* keep = best(...): a value that is not a number is never the best. */
static void note_best(struct run *run, double value) {
  if (run->training->smallest) value = -value;
  if (!run->training->keep || value != value || (run->has_best && value <= run->best_value)) return;
  move_best(run, 0);
  run->has_best = 1;
  run->best_value = value;
  run->best_epoch = run->instance.epoch;
  run->best_step = run->instance.step;
}

/* The mean of the output that the stage keeps the best of; of a metric over some of the rows, the mean over those. */
static double kept_value(const struct run *run, const struct spm_program *program, const double *sums, double rows) {
  double value = (double)NAN, share = 1;
  for (int i = 0; run->training->keep && i < program->output_count; i++) {
    const struct spm_output *output = &program->outputs[i];
    if (!is_number(output) || strcmp(output->name, run->training->keep) != 0) continue;
    *(output->role == SPM_SHARE_OF ? &share : &value) = sums[i] / rows;
  }
  return share > 0 ? value / share : (double)NAN;
}
#endif

/* ---- checkpoints: safetensors files, of a layout that is known beforehand -------------------------------------- */

struct entry { /* a tensor of the file */
  const char *kind;
  const struct spm_tensor *tensor;
  real *values;
  long rows; /* so many in it, one after the other; 0: it is one itself */
};

/* The index-th of all: parameters, their moments, states, what rows own, the best of these. 0 after the last. */
static int entry_at(const struct run *run, int index, struct entry *e) {
  const struct spm_instance *i = &run->instance;
#ifndef SPM_NO_ROW_STATES
  static const struct spm_tensor updates = {"row_updates", "", 0, {0}, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  const struct spm_row_memory *m = &i->owned;
#endif
  const struct {
    const char *kind;
    const struct spm_tensor *tensors;
    int count;
    real *values;
    long rows;
  } groups[] = {
      {"", MODEL->parameters, MODEL->parameter_count, i->parameters, 0},
      {"optimizer.first.", MODEL->parameters, MODEL->parameter_count, i->optimizer.first, 0},
      {"optimizer.second.", MODEL->parameters, MODEL->parameter_count, i->optimizer.second, 0},
#ifndef SPM_NO_STATES
      {"state.", MODEL->states, MODEL->state_count, i->state, 0},
#endif
#ifndef SPM_NO_ROW_STATES
      {"", MODEL->row_states, MODEL->row_state_count, m->values, m->rows},
      {"optimizer.first.", MODEL->row_states, MODEL->row_state_count, m->first, m->rows},
      {"optimizer.second.", MODEL->row_states, MODEL->row_state_count, m->second, m->rows},
      {"optimizer.", &updates, 1, m->updates, m->rows},
#endif
#ifndef SPM_NO_BEST
      {"best.", MODEL->parameters, MODEL->parameter_count, run->best, 0},
      {"best.state.", MODEL->states, MODEL->state_count, run->best + MODEL->parameter_size, 0},
#ifndef SPM_NO_ROW_STATES
      {"best.", MODEL->row_states, MODEL->row_state_count, run->best + MODEL->parameter_size + MODEL->state_size,
       m->rows},
#endif
#endif
  };
  for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
    if (groups[g].values && index < groups[g].count) {
      e->tensor = &groups[g].tensors[index];
      e->kind = !groups[g].kind[0] && e->tensor->constrained ? "raw." : groups[g].kind;
      e->rows = groups[g].rows;
      e->values = groups[g].values + (e->rows > 0 ? e->rows : 1) * e->tensor->offset;
      return 1;
    }
    if (groups[g].values) index -= groups[g].count;
  }
  return 0;
}

static size_t numbers_in(const struct entry *e) {
  return (size_t)(e->rows > 0 ? e->rows : 1) * (size_t)e->tensor->size;
}

/* The header: where the run stands, in fixed width, and the list of tensors. */
static char *checkpoint_header(const struct run *run, const struct options *o, size_t *length) {
  const struct spm_instance *instance = &run->instance;
  struct entry e;
  size_t room = RUN_NOTE + 64, offset = 0;
  char note[RUN_NOTE + 128];
  for (int i = 0; entry_at(run, i, &e); i++) room += strlen(e.tensor->name) + 128 + 24 * (size_t)(e.tensor->rank + 1);
  char *text = memory_of(room), *at = text;
  sprintf(note, "%ld %ld %ld %ld %ld %ld %d", o->seed, instance->epoch, instance->step, instance->updates,
          run->batch_rows, instance->total_rows, run->unchanged);
#ifndef SPM_NO_STAGES
  sprintf(note + strlen(note), " %d %ld %ld", instance->stage, run->earlier_epochs, instance->earlier_steps);
#endif
#ifndef SPM_NO_BEST
  sprintf(note + strlen(note), " %d %.17g %ld %ld", run->has_best, run->best_value, run->best_epoch, run->best_step);
#endif
  at += sprintf(at, "{\"__metadata__\":{\"run\":\"%*.*s\"}", (int)RUN_NOTE, (int)RUN_NOTE, note);
  for (int i = 0; entry_at(run, i, &e); i++) {
    at += sprintf(at, ",\"%s%s\":{\"dtype\":\"F%d\",\"shape\":[", e.kind, e.tensor->name, (int)sizeof(real) * 8);
    if (e.rows > 0) at += sprintf(at, "%ld%s", e.rows, e.tensor->rank > 0 ? "," : "");
    for (int d = 0; d < e.tensor->rank; d++) at += sprintf(at, "%s%ld", d ? "," : "", e.tensor->shape[d]);
    at += sprintf(at, "],\"data_offsets\":[%lu,", (unsigned long)offset);
    offset += numbers_in(&e) * sizeof(real);
    at += sprintf(at, "%lu]}", (unsigned long)offset);
  }
#ifndef SPM_NO_UNCHANGED
  at += sprintf(at, ",\"recent\":{\"dtype\":\"F64\",\"shape\":[%d],\"data_offsets\":[%lu,%lu]}", TRAIN_UNCHANGED_MOST,
                (unsigned long)offset, (unsigned long)(offset + sizeof run->recent));
#endif
  *at++ = '}';
  while ((at - text) % 8 != 0) *at++ = ' ';
  *length = (size_t)(at - text);
  return text;
}

static void move_bytes(void *bytes, size_t count, FILE *stream, const char *path, int writing) {
  if ((writing ? fwrite(bytes, 1, count, stream) : fread(bytes, 1, count, stream)) != count)
    fail("%s: cannot be %s", path, writing ? "written" : "read");
}

static void move_tensors(struct run *run, FILE *stream, const char *path, int writing) {
  struct entry e;
  for (int i = 0; entry_at(run, i, &e); i++) move_bytes(e.values, numbers_in(&e) * sizeof(real), stream, path, writing);
#ifndef SPM_NO_UNCHANGED
  move_bytes(run->recent, sizeof run->recent, stream, path, writing);
#endif
}

static void write_checkpoint(struct run *run, const struct options *o) {
  size_t length;
  char name[4096], *header = checkpoint_header(run, o, &length);
  unsigned char bytes[8];
  if (snprintf(name, sizeof name, "%s.new", o->save) >= (int)sizeof name) fail("%s: is too long a name", o->save);
  FILE *stream = fopen(name, "wb");
  if (!stream) fail("%s: cannot be written", name);
  for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)length >> 8 * i);
  move_bytes(bytes, 8, stream, name, 1);
  move_bytes(header, length, stream, name, 1);
  move_tensors(run, stream, name, 1);
  if (fclose(stream) != 0 || rename(name, o->save) != 0) fail("%s: cannot be written", o->save);
  free(header);
}

static void read_checkpoint(struct run *run, struct options *o) {
  struct spm_instance *instance = &run->instance;
  size_t length;
  long rows = 0, total = 0;
  int read = 0;
  char *header = checkpoint_header(run, o, &length), *found = memory_of(length + 1);
  unsigned char bytes[8];
  const size_t note = strlen("{\"__metadata__\":{\"run\":\"");
  FILE *stream = fopen(o->resume, "rb");
  if (!stream) fail("%s: cannot be opened", o->resume);
  if (fread(bytes, 1, 8, stream) != 8 || read_integer(bytes, 8, 0) != length ||
      fread(found, 1, length, stream) != length ||
      memcmp(header + note + RUN_NOTE, found + note + RUN_NOTE, length - note - RUN_NOTE) != 0 ||
      sscanf(found + note, "%ld %ld %ld %ld %ld %ld %d%n", &o->seed, &instance->epoch, &instance->step,
             &instance->updates, &rows, &total, &run->unchanged, &read) != 7)
    fail("%s: is no checkpoint of this model", o->resume);
  const char *more = found + note + read;
  (void)more;
#ifndef SPM_NO_STAGES
  sscanf(more, "%d %ld %ld%n", &instance->stage, &run->earlier_epochs, &instance->earlier_steps, &read);
  more += read;
  spm_instance_set_stage(instance, instance->stage);
#endif
#ifndef SPM_NO_BEST
  sscanf(more, "%d %lg %ld %ld", &run->has_best, &run->best_value, &run->best_epoch, &run->best_step);
#endif
  set_stage(run, o);
  if (rows != run->batch_rows || total != instance->total_rows)
    fail("%s: was made with batches of %ld rows of %ld", o->resume, rows, total);
  instance->seed = (unsigned long long)o->seed;
  move_tensors(run, stream, o->resume, 0);
  fclose(stream);
  free(header);
  free(found);
}

/* ---- training -------------------------------------------------------------------------------------------------- */

static void add_outputs(const struct spm_run *run, double weight, double *sums) {
  for (int i = 0; i < run->program->output_count; i++)
    if (is_number(&run->program->outputs[i]))
      sums[i] += weight * (double)*spm_output_values(run, &run->program->outputs[i]);
}

static void print_outputs(const struct spm_program *program, const double *sums, double rows) {
  for (int i = 0; i < program->output_count; i++)
    if (is_shown(&program->outputs[i])) printf("  %s %.*g", program->outputs[i].name, 9, sums[i] / rows);
  printf("\n");
  fflush(stdout);
}

#ifndef SPM_NO_GATHERED
/* Gathered data: distinct rows of the set, drawn for the datum of this number; `draw`: 0 in evaluation, else the step's
 * number and 1. */
static void draw_rows(const struct rows *rows, const struct spm_tensor *data, unsigned long long seed, unsigned draw,
                      long number, long *drawn) {
  struct spm_random random;
  if (data->gathered > rows->count)
    fail("%s has %ld rows for each datum, and the file %ld", data->name, data->gathered, rows->count);
  spm_random_start(&random, seed, (uint64_t)1 << 63 | (uint64_t)draw << 31 | (uint64_t)number);
  for (long n = 0; n < data->gathered;) {
    long row = rows->first + (long)spm_random_below(&random, (uint64_t)rows->count), other = 0;
    while (other < n && drawn[other] != row) other++;
    if (other == n) drawn[n++] = row;
  }
}
#endif

static void gather(struct run *run, const struct rows *rows, const long *order, unsigned draw, long first, long count) {
  (void)draw; /* of gathered data */
  for (int d = 0; d < MODEL->data_count; d++) {
    const struct spm_tensor *data = &MODEL->data[d];
    real *to = run->batch[d];
#ifndef SPM_NO_GATHERED
    const long size = data->size / (data->gathered > 0 ? data->gathered : 1);
    long *drawn = memory_of(sizeof(long) * (size_t)data->gathered);
    for (long r = 0; data->gathered > 0 && r < count; r++) {
      draw_rows(rows, data, run->instance.seed, draw, first + r, drawn);
      for (long n = 0; n < data->gathered; n++, to += size)
        memcpy(to, rows->values[d] + drawn[n] * size, sizeof(real) * (size_t)size);
    }
    free(drawn);
    if (data->gathered > 0) continue;
#endif
    for (long r = 0; r < count; r++, to += data->size) {
      const long row = order ? order[first + r] : rows->first + first + r;
      if (rows->values[d]) memcpy(to, rows->values[d] + row * data->size, sizeof(real) * (size_t)data->size);
#ifndef SPM_NO_GAPS
      for (long i = 0; !rows->values[d] && i < data->size; i++) to[i] = (real)NAN;
#endif
    }
  }
}

#ifndef SPM_NO_ROW_STATES
static void stop_unless_finite(int row_state) {
  if (row_state >= 0) fail("the initial value of %s is not finite", MODEL->row_states[row_state].name);
}

/* What the training data's rows own at the start of a run. */
static void begin_rows_of(struct run *run, const struct options *o, real *memory) {
  const real *const *batch = (const real *const *)run->batch;
  spm_instance_own(&run->instance, memory, o->data.count, 1);
  for (long first = 0; first < o->data.count; first += EVALUATION_ROWS) {
    long count = o->data.count - first < EVALUATION_ROWS ? o->data.count - first : EVALUATION_ROWS;
    gather(run, &o->data, NULL, 0, first, count);
    stop_unless_finite(spm_instance_begin(&run->instance, batch, first, count));
  }
}
#endif

#ifndef SPM_NO_SOLVED
/* Parameters that are known in closed form, of all the training data: what an evaluation and a checkpoint see. */
static void solve(struct run *run, const struct options *o) {
  struct spm_instance *instance = &run->instance;
  const struct spm_program *program = spm_find_program(MODEL, "solve");
  double *sums = memory_of(sizeof(double) * (size_t)MODEL->parameter_size);
  for (long first = 0; first < o->data.count; first += EVALUATION_ROWS) {
    long count = o->data.count - first < EVALUATION_ROWS ? o->data.count - first : EVALUATION_ROWS;
    gather(run, &o->data, NULL, 0, first, count);
#ifndef SPM_NO_ROW_STATES
    spm_instance_visit(instance, NULL, first, count);
#endif
    struct spm_run solving = spm_instance_run(instance, program, (const real *const *)run->batch, count);
    solving.call.first_row = first;
    spm_run_program(&solving);
    spm_solved_add(&solving, sums);
  }
  int broken = spm_solved_set(MODEL, program, sums, o->data.count, instance->parameters);
  if (broken >= 0) fail("the optimum of %s is not finite", MODEL->parameters[broken].name);
  free(sums);
}
#endif

static void evaluate(struct run *run, const struct options *o, const struct rows *rows, const char *name) {
  const struct spm_program *program = spm_find_program(MODEL, "evaluate");
  double *sums = memory_of(sizeof(double) * (size_t)program->output_count);
  (void)o;
  for (long first = 0; first < rows->count; first += EVALUATION_ROWS) {
    long count = rows->count - first < EVALUATION_ROWS ? rows->count - first : EVALUATION_ROWS;
    gather(run, rows, NULL, 0, first, count);
#ifndef SPM_NO_ROW_STATES
    stop_unless_finite(spm_instance_fresh(&run->instance, (const real *const *)run->batch, first, count));
#endif
    struct spm_run seen = spm_instance_run(&run->instance, program, (const real *const *)run->batch, count);
    seen.call.first_row = first;
    spm_run_program(&seen);
    add_outputs(&seen, (double)count, sums);
  }
  printf("%s", name);
  print_outputs(program, sums, (double)rows->count);
#ifndef SPM_NO_BEST
  if (rows == &o->valid) note_best(run, kept_value(run, program, sums, (double)rows->count));
#endif
  free(sums);
}

#ifndef SPM_NO_UNCHANGED
static double objective_of(const struct spm_program *program, const double *sums) {
  int objective = 0;
  while (program->outputs[objective].role != SPM_OBJECTIVE) objective++;
  return sums[objective];
}
#endif

static void train_epoch(struct run *run, const struct options *o) {
  struct spm_instance *instance = &run->instance;
  double *sums = memory_of(sizeof(double) * (size_t)instance->train->output_count), seen = 0;
  const long batch = run->batch_rows, steps = (o->data.count + batch - 1) / batch, *order = NULL;
  long skipped = 0, done = 0, epoch = instance->epoch;
  clock_t start = clock(), shown = start;
#ifndef SPM_NO_STAGES
  epoch += run->earlier_epochs;
#endif
  if (run->training->shuffle) {
    train_shuffle(run->order, o->data.count, instance->seed, epoch);
    order = run->order;
  }
  for (; done < steps && (run->steps <= 0 || instance->step < run->steps); done++) {
    struct spm_run step;
    long first = done * batch, count = o->data.count - first < batch ? o->data.count - first : batch;
    gather(run, &o->data, order, spm_instance_noise_step(instance) + 1, first, count);
#ifndef SPM_NO_ROW_STATES
    spm_instance_visit(instance, order ? order + first : NULL, first, count);
#endif
    struct spm_outcome outcome = spm_instance_step(instance, (const real *const *)run->batch, count, &step);
    if (outcome.status == SPM_STEP_UPDATED) {
      add_outputs(&step, (double)count, sums);
      seen += (double)count;
    }
    skipped = outcome.status == SPM_STEP_UPDATED ? 0 : skipped + 1;
    if (skipped == SKIPS_ALLOWED)
      fail("%ld steps one after the other were not finite; a lower learning rate may help", skipped);
    if (clock() - shown > CLOCKS_PER_SEC) {
      fprintf(stderr, "epoch %ld: %ld of %ld steps\r", instance->epoch + 1, done + 1, steps);
      shown = clock();
    }
  }
#ifndef SPM_NO_UNCHANGED
  run->unchanged = train_unchanged(run->recent, run->training->unchanged, instance->epoch,
                                   objective_of(instance->train, sums) / seen);
#endif
  instance->epoch++;
  printf("epoch %ld  %.3f ms a step", instance->epoch,
         1e3 * (double)(clock() - start) / CLOCKS_PER_SEC / (double)(done > 0 ? done : 1));
  print_outputs(instance->train, sums, seen);
  free(sums);
}

/* A run at its start, or where its checkpoint left it; returns the memory that it lies in. */
static real *open_run(struct run *run, struct options *o) {
  struct spm_sizes sizes;
  long room = EVALUATION_ROWS;
  for (int t = 0; t < MODEL->training_count; t++)
    if (batch_of(&MODEL->trainings[t], o) > room) room = batch_of(&MODEL->trainings[t], o);
  size_t reals = spm_instance_reals(MODEL, room, 1, &sizes), owned = 0;
  const real *const *given = NULL;
  run->order = memory_of(sizeof(long) * (size_t)o->data.count);
  for (int d = 0; d < MODEL->data_count; d++)
    run->batch[d] = memory_of(sizeof(real) * (size_t)room * (size_t)MODEL->data[d].size);
#ifndef SPM_NO_ROW_STATES
  owned = spm_instance_owned_reals(MODEL, o->data.count, 1);
#endif
  size_t best = 0;
#ifndef SPM_NO_BEST
  best = (size_t)(MODEL->parameter_size + MODEL->state_size + o->data.count * MODEL->row_state_size);
#endif
  real *memory = memory_of(sizeof(real) * (reals + owned + best));
#ifndef SPM_NO_GIVENS
  real **givens = make_givens(o);
  given = (const real *const *)givens;
#endif
  spm_instance_open(&run->instance, MODEL, memory, room, 1, (unsigned long long)o->seed, given);
#ifndef SPM_NO_GIVENS
  for (int g = 0; g < MODEL->given_count; g++) free(givens[g]);
  free(givens);
#endif
  run->instance.total_rows = o->data.count;
#ifndef SPM_NO_ROW_STATES
  begin_rows_of(run, o, memory + reals);
#endif
#ifndef SPM_NO_BEST
  run->best = memory + reals + owned;
#endif
  set_stage(run, o);
  if (o->resume) read_checkpoint(run, o);
  return memory;
}

static void train_stage(struct run *run, const struct options *o) {
  const struct spm_instance *instance = &run->instance;
  while (instance->epoch < run->epochs && (run->steps <= 0 || instance->step < run->steps) && !run->unchanged) {
    train_epoch(run, o);
#ifndef SPM_NO_SOLVED
    if (o->valid.count > 0 || o->save) solve(run, o);
#endif
    if (o->valid.count > 0) evaluate(run, o, &o->valid, "valid");
    if (o->save) write_checkpoint(run, o);
  }
#ifndef SPM_NO_BEST
  if (run->has_best) move_best(run, 1);
#endif
}

static void train(struct options *o) {
  static struct run run;
  real *memory = open_run(&run, o);
  printf("%s: %ld rows, batches of %ld, %ld epochs, seed %ld\n", MODEL->name, o->data.count, run.batch_rows, run.epochs,
         o->seed);
  train_stage(&run, o);
#ifndef SPM_NO_STAGES
  while (run.instance.stage + 1 < MODEL->training_count) {
    run.earlier_epochs += run.instance.epoch;
    run.unchanged = 0;
#ifndef SPM_NO_BEST
    run.has_best = 0;
#endif
    spm_instance_next_stage(&run.instance);
    set_stage(&run, o);
    printf("stage %s: batches of %ld, %ld epochs\n", run.training->name, run.batch_rows, run.epochs);
    train_stage(&run, o);
  }
#endif
#ifndef SPM_NO_BEST
  if (run.has_best) {
    run.instance.epoch = run.best_epoch;
    run.instance.step = run.best_step;
    printf("kept epoch %ld\n", run.best_epoch);
  }
#endif
#ifndef SPM_NO_SOLVED
  if (o->test.count > 0) solve(&run, o);
#endif
  if (o->test.count > 0) evaluate(&run, o, &o->test, "test");
  for (int d = 0; d < MODEL->data_count; d++) free(run.batch[d]);
  free(memory);
  free(run.order);
}

/* ---- the command line ------------------------------------------------------------------------------------------ */

static void usage(void) {
  printf("usage: %s --data NAME=FILE [OPTION...]\nData:", MODEL->name);
  for (int d = 0; d < MODEL->data_count; d++) printf(" %s%s", MODEL->data[d].name, MODEL->data[d].dims);
  printf("; files: IDX or .npy, not compressed.\n"
         "  --data, --valid, --test NAME=FILE   rows to train on, to evaluate on after each epoch, and at the end\n"
         "  --epochs N  --batch N (0: all)  --steps N (at most)  --seed N (default 1)\n"
         "  --save FILE   keep a checkpoint there (safetensors)   --resume FILE   go on from one\n");
  exit(0);
}

static void name_file(struct rows *rows, const char *text) {
  const char *equals = strchr(text, '=');
  for (int d = 0; d < MODEL->data_count; d++) {
    const char *name = MODEL->data[d].name;
    size_t length = strlen(name);
    if (equals && (size_t)(equals - text) == length && strncmp(text, name, length) == 0) {
      rows->paths[d] = equals + 1;
      return;
    }
  }
  if (MODEL->data_count != 1 || equals) fail("%s: NAME=FILE is wanted, with a name that the model has", text);
  rows->paths[0] = text;
}

static long whole_number(const char *option, const char *text) {
  char *end;
  long value = strtol(text, &end, 10);
  if (end == text || *end || value < 0) fail("%s takes a whole number, not '%s'", option, text);
  return value;
}

#ifndef SPM_NO_HELD
/* valid = N: the last rows of the data, unless validation rows have files of their own. */
static void hold_back(struct options *o) {
  const long held = MODEL->trainings->valid;
  if (held > 0 && o->valid.count == 0) {
    if (held >= o->data.count) fail("%ld of the %ld rows of the data are held back: none is left", held, o->data.count);
    o->data.count -= held;
    o->valid = o->data;
    o->valid.first = o->data.count;
    o->valid.count = held;
  }
  for (int t = 0; t < MODEL->training_count; t++)
    if (MODEL->trainings[t].keep && o->valid.count == 0)
      fail("to keep the best %s there must be validation rows: --valid", MODEL->trainings[t].keep);
}
#endif

int main(int count, char **words) {
  static struct options o;
  static const struct {
    const char *name;
    struct rows *rows;
    long *number;
    const char **text;
  } known[] = {
      {"--data", &o.data, NULL, NULL},     {"--valid", &o.valid, NULL, NULL}, {"--test", &o.test, NULL, NULL},
      {"--epochs", NULL, &o.epochs, NULL}, {"--batch", NULL, &o.batch, NULL}, {"--steps", NULL, &o.steps, NULL},
      {"--seed", NULL, &o.seed, NULL},     {"--save", NULL, NULL, &o.save},   {"--resume", NULL, NULL, &o.resume}};
  size_t k;
  o.epochs = o.batch = o.steps = -1;
  o.seed = 1;
  for (int i = 1; i < count; i += 2) {
    const char *word = words[i], *text = i + 1 < count ? words[i + 1] : NULL;
    if (strcmp(word, "--help") == 0) usage();
    for (k = 0; k < sizeof known / sizeof *known && strcmp(known[k].name, word) != 0;) k++;
    if (k == sizeof known / sizeof *known) fail("there is no option %s; --help lists them", word);
    if (!text) fail("%s is not complete; --help lists the options", word);
    if (known[k].rows) name_file(known[k].rows, text);
    if (known[k].number) *known[k].number = whole_number(word, text);
    if (known[k].text) *known[k].text = text;
  }
  read_rows(&o.data, 1);
  read_rows(&o.valid, 0);
  read_rows(&o.test, 0);
#ifndef SPM_NO_HELD
  hold_back(&o);
#endif
  train(&o);
  return 0;
}
