/* Checkpoints of an emitted trainer: safetensors files, of a layout that is known beforehand. */
#include "trainer.h"

static const char before_note[] = "{\"__metadata__\":{\"run\":\"";
enum { NOTE = 200, NOTE_AT = 8 + sizeof before_note - 1 }; /* behind the header's length */

struct entry { /* a tensor of the file */
  const char *kind;
  const struct spm_tensor *tensor;
  real *values;
  size_t count;
#ifndef SPM_NO_ROW_STATES
  long rows; /* so many of the tensor, one after the other; 0: it is one itself */
#endif
};

/* The index-th of all: parameters, their moments, states, what rows own, the best of these. 0 after the last. */
static int entry_at(const struct run *run, int index, struct entry *e) {
  const struct spm_instance *i = &run->instance;
#ifndef SPM_NO_ROW_STATES
  static const struct spm_tensor updates = {.name = "row_updates", .dims = "", .size = 1};
  const struct spm_row_memory *m = &i->owned;
#endif
  const struct {
    const char *kind;
    const struct spm_tensor *tensors;
    int count;
    real *values;
#ifndef SPM_NO_ROW_STATES
    long rows;
#endif
  } groups[] = {
      {.kind = "", MODEL->parameters, MODEL->parameter_count, i->parameters},
      {.kind = "optimizer.first.", MODEL->parameters, MODEL->parameter_count, i->optimizer.first},
      {.kind = "optimizer.second.", MODEL->parameters, MODEL->parameter_count, i->optimizer.second},
#ifndef SPM_NO_STATES
      {.kind = "state.", MODEL->states, MODEL->state_count, i->state},
#endif
#ifndef SPM_NO_ROW_STATES
      {.kind = "", MODEL->row_states, MODEL->row_state_count, m->values, m->rows},
      {.kind = "optimizer.first.", MODEL->row_states, MODEL->row_state_count, m->first, m->rows},
      {.kind = "optimizer.second.", MODEL->row_states, MODEL->row_state_count, m->second, m->rows},
      {.kind = "optimizer.", &updates, 1, m->updates, m->rows},
#endif
#ifndef SPM_NO_BEST
      {.kind = "best.", MODEL->parameters, MODEL->parameter_count, run->best},
      {.kind = "best.state.", MODEL->states, MODEL->state_count, run->best + MODEL->parameter_size},
#ifndef SPM_NO_ROW_STATES
      {.kind = "best.",
       MODEL->row_states,
       MODEL->row_state_count,
       run->best + MODEL->parameter_size + MODEL->state_size,
       m->rows},
#endif
#endif
  };
  for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
    if (groups[g].values && index < groups[g].count) {
      const struct spm_tensor *tensor = e->tensor = &groups[g].tensors[index];
      e->kind = !groups[g].kind[0] && tensor->constrained ? "raw." : groups[g].kind;
      e->values = groups[g].values + tensor->offset;
      e->count = (size_t)tensor->size;
#ifndef SPM_NO_ROW_STATES
      e->rows = groups[g].rows;
      if (e->rows > 0) e->values = groups[g].values + e->rows * tensor->offset;
      if (e->rows > 0) e->count *= (size_t)e->rows;
#endif
      return 1;
    }
    if (groups[g].values) index -= groups[g].count;
  }
  return 0;
}

/* The header: its length, where the run stands, in fixed width, and the list of tensors. */
static char *checkpoint_header(const struct run *run, const struct options *o, size_t *length) {
  const struct spm_instance *instance = &run->instance;
  struct entry e;
  size_t room = NOTE_AT + NOTE + 64, offset = 0;
  char note[NOTE + 128];
  for (int i = 0; entry_at(run, i, &e); i++) room += strlen(e.tensor->name) + 400;
  char *text = memory_of(room), *at = text + 8;
  sprintf(note, "%ld %ld %ld %ld %ld %ld", o->seed, instance->epoch, instance->step, instance->optimizer.updates,
          run->batch_rows, o->data.count);
#ifndef SPM_NO_UNCHANGED
  sprintf(note + strlen(note), " %d", run->unchanged);
#endif
#ifndef SPM_NO_STAGES
  sprintf(note + strlen(note), " %d %ld %ld", instance->stage, run->earlier_epochs,
          instance->noise_step - instance->step);
#endif
#ifndef SPM_NO_BEST
  sprintf(note + strlen(note), " %d %.17g %ld %ld", run->has_best, run->best_value, run->best_epoch, run->best_step);
#endif
  at += sprintf(at, "%s%*.*s\"}", before_note, (int)NOTE, (int)NOTE, note);
  for (int i = 0; entry_at(run, i, &e); i++) {
    at += sprintf(at, ",\"%s%s\":{\"dtype\":\"F%d\",\"shape\":[", e.kind, e.tensor->name, (int)sizeof(real) * 8);
#ifndef SPM_NO_ROW_STATES
    if (e.rows > 0) at += sprintf(at, "%ld%s", e.rows, e.tensor->rank > 0 ? "," : "");
#endif
    for (int d = 0; d < e.tensor->rank; d++) at += sprintf(at, "%s%ld", d ? "," : "", e.tensor->shape[d]);
    at += sprintf(at, "],\"data_offsets\":[%lu,%lu]}", (unsigned long)offset,
                  (unsigned long)(offset + e.count * sizeof(real)));
    offset += e.count * sizeof(real);
  }
#ifndef SPM_NO_UNCHANGED
  at += sprintf(at, ",\"recent\":{\"dtype\":\"F64\",\"shape\":[%d],\"data_offsets\":[%lu,%lu]}", TRAIN_UNCHANGED_MOST,
                (unsigned long)offset, (unsigned long)(offset + sizeof run->recent));
#endif
  *at++ = '}';
  while ((at - text) % 8 != 0) *at++ = ' ';
  *length = (size_t)(at - text);
  for (int i = 0; i < 8; i++) text[i] = (char)(unsigned char)((uint64_t)(*length - 8) >> 8 * i);
  return text;
}

static void move_tensors(struct run *run, FILE *stream, const char *path, int writing) {
  struct entry e;
  size_t moved = 1;
  for (int i = 0; moved && entry_at(run, i, &e); i++)
    moved = e.count == 0 || (writing ? fwrite(e.values, sizeof(real) * e.count, 1, stream)
                                     : fread(e.values, sizeof(real) * e.count, 1, stream));
#ifndef SPM_NO_UNCHANGED
  moved = moved && (writing ? fwrite(run->recent, sizeof run->recent, 1, stream)
                            : fread(run->recent, sizeof run->recent, 1, stream));
#endif
  if (!moved) fail("%s: cannot be %s", path, writing ? "written" : "read");
}

void try_checkpoint(struct options *o) {
  FILE *stream = fopen(o->save, "rb");
  if (stream && fgetc(stream) == EOF && ferror(stream)) fail("%s: is no file that can be written", o->save);
  if (stream) fclose(stream);
  if (snprintf(o->beside, sizeof o->beside, "%s.new", o->save) >= (int)sizeof o->beside)
    fail("%s: is too long a name", o->save);
  if (!(stream = fopen(o->beside, "wb"))) fail("%s: cannot be written", o->beside);
  fclose(stream);
  remove(o->beside);
}

void write_checkpoint(struct run *run, const struct options *o) {
  size_t length;
  char *header = checkpoint_header(run, o, &length);
  FILE *stream = fopen(o->beside, "wb");
  if (!stream || !fwrite(header, length, 1, stream)) fail("%s: cannot be written", o->beside);
  move_tensors(run, stream, o->beside, 1);
  if (fclose(stream) != 0 || rename(o->beside, o->save) != 0) fail("%s: cannot be written", o->save);
  free(header);
}

long read_checkpoint(struct run *run, struct options *o) {
  struct spm_instance *instance = &run->instance;
  size_t length;
  long batch = 0, total = 0;
  int read = 0;
  char *header = checkpoint_header(run, o, &length), *found = memory_of(length + 1), *note = found + NOTE_AT;
  FILE *stream = fopen(o->resume, "rb");
  if (!stream) fail("%s: cannot be opened", o->resume);
  if (!fread(found, length, 1, stream) || memcmp(found, header, NOTE_AT) != 0 ||
      memcmp(note + NOTE, header + NOTE_AT + NOTE, length - NOTE_AT - NOTE) != 0 ||
      sscanf(note, "%ld %ld %ld %ld %ld %ld%n", &o->seed, &instance->epoch, &instance->step,
             &instance->optimizer.updates, &batch, &total, &read) != 6)
    fail("%s: is no checkpoint of this model", o->resume);
  note += read;
  instance->noise_step = instance->step;
#ifndef SPM_NO_UNCHANGED
  run->unchanged = (int)strtol(note, &note, 10);
#endif
#ifndef SPM_NO_STAGES
  spm_instance_set_stage(instance, (int)strtol(note, &note, 10));
  run->earlier_epochs = strtol(note, &note, 10);
  instance->noise_step += strtol(note, &note, 10);
#endif
#ifndef SPM_NO_BEST
  run->has_best = (int)strtol(note, &note, 10);
  run->best_value = strtod(note, &note);
  run->best_epoch = strtol(note, &note, 10);
  run->best_step = strtol(note, &note, 10);
#endif
  if (total != o->data.count) fail("%s: was made with %ld rows of data", o->resume, total);
  instance->call.seed = (unsigned long long)o->seed;
  move_tensors(run, stream, o->resume, 0);
  fclose(stream);
  free(header);
  free(found);
  return batch;
}
