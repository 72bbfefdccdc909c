/* Checkpoints of an emitted trainer: safetensors files, of a layout that is known beforehand. */
#include "trainer.h"

static const char before_note[] = "{\"__metadata__\":{\"run\":\"";
enum { NOTE = 200, NOTE_AT = 8 + sizeof before_note - 1 }; /* behind the header's length */

/* Goes through all tensors: parameters, their moments, states, what rows own, the best of these. With a stream they are
 * written to it or read from it; without one, `text` gets what the header says of them. Returns the text's end, or NULL
 * where a tensor could not be moved. */
static char *each_tensor(struct run *run, char *text, FILE *stream, int writing) {
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
    long rows; /* so many of each, one after the other; 0: it is one itself */
#endif
  } groups[] = {
      {.kind = "", MODEL->parameters, MODEL->parameter_count, i->run.parameters},
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
  size_t offset = 0;
  for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
    for (int k = 0; groups[g].values && k < groups[g].count; k++) {
      const struct spm_tensor *tensor = &groups[g].tensors[k];
#ifndef SPM_NO_ROW_STATES
      const long rows = groups[g].rows, many = rows > 0 ? rows : 1;
      real *values = groups[g].values + many * tensor->offset;
      const size_t bytes = sizeof(real) * (size_t)(many * tensor->size);
#else
      real *values = groups[g].values + tensor->offset;
      const size_t bytes = sizeof(real) * (size_t)tensor->size;
#endif
      if (stream && bytes > 0 && !(writing ? fwrite(values, bytes, 1, stream) : fread(values, bytes, 1, stream)))
        return NULL;
      if (stream) continue;
      const char *kind = !groups[g].kind[0] && tensor->constrained ? "raw." : groups[g].kind;
      text += sprintf(text, ",\"%s%.400s\":{\"dtype\":\"F%d\",\"shape\":[", kind, tensor->name, (int)sizeof(real) * 8);
#ifndef SPM_NO_ROW_STATES
      if (rows > 0) text += sprintf(text, "%ld%s", rows, tensor->rank > 0 ? "," : "");
#endif
      for (int d = 0; d < tensor->rank; d++) text += sprintf(text, "%s%ld", d ? "," : "", tensor->shape[d]);
      text += sprintf(text, "],\"data_offsets\":[%lu,%lu]}", (unsigned long)offset, (unsigned long)(offset + bytes));
      offset += bytes;
    }
#ifndef SPM_NO_UNCHANGED
  const size_t recent = sizeof run->recent;
  if (stream && !(writing ? fwrite(run->recent, recent, 1, stream) : fread(run->recent, recent, 1, stream)))
    return NULL;
  if (!stream)
    text += sprintf(text, ",\"recent\":{\"dtype\":\"F64\",\"shape\":[%d],\"data_offsets\":[%lu,%lu]}",
                    TRAIN_UNCHANGED_MOST, (unsigned long)offset, (unsigned long)(offset + recent));
#endif
  return text;
}

/* The header: its length, where the run stands, in fixed width, and the list of tensors. */
static char *checkpoint_header(struct run *run, size_t *length) {
  const struct spm_instance *instance = &run->instance;
  const int tensors = MODEL->parameter_count + MODEL->state_count + MODEL->row_state_count;
  char note[NOTE + 128] = "", *text = memory_of(2 * NOTE + 1000 * (1 + 4 * tensors), 1), *at = text + 8;
#ifndef SPM_NO_UNCHANGED
  sprintf(note + strlen(note), "%d ", run->unchanged);
#endif
#ifndef SPM_NO_STAGES
  sprintf(note + strlen(note), "%d %ld %ld ", instance->stage, run->earlier_epochs, instance->earlier_steps);
#endif
#ifndef SPM_NO_BEST
  sprintf(note + strlen(note), "%d %.17g %ld %ld ", run->has_best, run->best_value, run->best_epoch, run->best_step);
#endif
  sprintf(note + strlen(note), "%ld %ld %ld %ld %ld %ld", run->seed, instance->epoch, instance->step,
          instance->optimizer.updates, run->batch_rows, run->data.all);
  at = each_tensor(run, at + sprintf(at, "%s%*.*s\"}", before_note, (int)NOTE, (int)NOTE, note), NULL, 0);
  *at++ = '}';
  while ((at - text) % 8 != 0) *at++ = ' ';
  *length = (size_t)(at - text);
  for (int i = 0; i < 8; i++) text[i] = (char)(unsigned char)((uint64_t)(*length - 8) >> 8 * i);
  return text;
}

void try_checkpoint(struct run *run) {
  FILE *stream = fopen(run->save, "rb");
  if (stream && (!fread(run->beside, NOTE_AT, 1, stream) || memcmp(run->beside + 8, before_note, NOTE_AT - 8) != 0))
    fail("%s: is there, and is no checkpoint", run->save);
  if (stream) fclose(stream);
  if (snprintf(run->beside, sizeof run->beside, "%s.new", run->save) >= (int)sizeof run->beside)
    fail("%s: is too long a name", run->save);
  if (!(stream = fopen(run->beside, "wb"))) fail("%s: cannot be written", run->beside);
  fclose(stream), remove(run->beside);
}

void write_checkpoint(struct run *run) {
  size_t length;
  char *header = checkpoint_header(run, &length);
  FILE *stream = fopen(run->beside, "wb");
  if (!stream || !fwrite(header, length, 1, stream) || !each_tensor(run, header, stream, 1) || fclose(stream) != 0 ||
      rename(run->beside, run->save) != 0)
    fail("%s: cannot be written", run->beside);
  free(header);
}

void read_checkpoint(struct run *run) {
  struct spm_instance *instance = &run->instance;
  size_t length;
  long batch = run->batch_rows, total = run->data.all;
  char *header = checkpoint_header(run, &length), *found = memory_of((long)length + 1, 1), *note = found + NOTE_AT;
  FILE *stream = fopen(run->resume, "rb");
  if (!stream) fail("%s: cannot be opened", run->resume);
  if (!fread(found, length, 1, stream) || memcmp(found, header, NOTE_AT) != 0 ||
      memcmp(note + NOTE, header + NOTE_AT + NOTE, length - NOTE_AT - NOTE) != 0)
    fail("%s: is no checkpoint of this model", run->resume);
#ifndef SPM_NO_UNCHANGED
  run->unchanged = (int)strtol(note, &note, 10);
#endif
#ifndef SPM_NO_STAGES
  const long stage = strtol(note, &note, 10);
  if (stage < 0 || stage >= MODEL->training_count) fail("%s: has no stage %ld", run->resume, stage);
  spm_instance_set_stage(instance, (int)stage);
  run->earlier_epochs = strtol(note, &note, 10);
  instance->earlier_steps = strtol(note, &note, 10);
#endif
#ifndef SPM_NO_BEST
  run->has_best = (int)strtol(note, &note, 10);
  run->best_value = strtod(note, &note);
  run->best_epoch = strtol(note, &note, 10);
  run->best_step = strtol(note, &note, 10);
#endif
  sscanf(note, "%ld %ld %ld %ld %ld %ld", &run->seed, &instance->epoch, &instance->step, &instance->optimizer.updates,
         &run->batch_rows, &run->data.all);
  free(header), header = checkpoint_header(run, &length); /* the same again, if all was read that was written */
  if (memcmp(found, header, length) != 0) fail("%s: is damaged where it says how far the run was", run->resume);
#ifndef SPM_NO_STAGES
  batch = run->batch_rows; /* which open_run compares, when it knows the stage's */
#endif
  if (total != run->data.all || batch != run->batch_rows)
    fail("%s: was made with %ld rows of data, in batches of %ld", run->resume, run->data.all, run->batch_rows);
  instance->run.call.seed = (unsigned long long)run->seed;
  if (!each_tensor(run, header, stream, 0)) fail("%s: cannot be read", run->resume);
  fclose(stream);
  free(header), free(found);
}
