/* Checkpoints of an emitted trainer: safetensors files, of a layout that is known beforehand. */
#include "trainer.h"

enum { RUN_NOTE = 200 };

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
          run->batch_rows, o->data.count, run->unchanged);
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

void write_checkpoint(struct run *run, const struct options *o) {
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

void read_checkpoint(struct run *run, struct options *o) {
  struct spm_instance *instance = &run->instance;
  size_t length;
  long total = 0;
  int read = 0;
  char *header = checkpoint_header(run, o, &length), *found = memory_of(length + 1);
  unsigned char bytes[8];
  const size_t note = strlen("{\"__metadata__\":{\"run\":\"");
  FILE *stream = fopen(o->resume, "rb");
  if (!stream) fail("%s: cannot be opened", o->resume);
  if (fread(bytes, 1, 8, stream) != 8 || read_integer(bytes, 8, 0) != length ||
      fread(found, 1, length, stream) != length ||
      memcmp(header + note + RUN_NOTE, found + note + RUN_NOTE, length - note - RUN_NOTE) != 0 ||
      sscanf(found + note, "%ld %ld %ld %ld %ld %ld%n", &o->seed, &instance->epoch, &instance->step, &instance->updates,
             &run->batch_rows, &total, &read) != 6)
    fail("%s: is no checkpoint of this model", o->resume);
  char *more = found + note + read;
  run->unchanged = (int)strtol(more, &more, 10);
#ifndef SPM_NO_STAGES
  const int stage = (int)strtol(more, &more, 10);
  run->earlier_epochs = strtol(more, &more, 10);
  instance->earlier_steps = strtol(more, &more, 10);
  spm_instance_set_stage(instance, stage);
#endif
#ifndef SPM_NO_BEST
  run->has_best = (int)strtol(more, &more, 10);
  run->best_value = strtod(more, &more);
  run->best_epoch = strtol(more, &more, 10);
  run->best_step = strtol(more, &more, 10);
#endif
  if (total != o->data.count) fail("%s: was made with %ld rows of data", o->resume, total);
  instance->seed = (unsigned long long)o->seed;
  move_tensors(run, stream, o->resume, 0);
  fclose(stream);
  free(header);
  free(found);
}
