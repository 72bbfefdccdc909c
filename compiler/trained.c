/* The parameters of a trained run -> constants behind an emitted library, and NAME_trained, which puts an instance
 * where the run stands: parameters, states such as the running means of batch_norm, and what schedules see. */
#include "compiler.h"
#include "front.h"

#include "runtime/checkpoint.h"

#include <stdlib.h>
#include <string.h>

typedef struct Writer {
  Compilation *c;
  const struct checkpoint *file;
  const char *path, *model;
  Text *out, calls; /* calls: what NAME_trained does */
  int count;
  struct spm_error *error;
} Writer;

/* One array; `place` is where it goes. Hexadecimal numbers are the floats themselves, in either precision. */
static bool write_array(Writer *w, const char *saved, const Shape *shape, const char *place) {
  long dims[MAX_RANK];
  for (int d = 0; d < shape->rank; d++) dims[d] = (long)shape->dims[d].size;
  const struct checkpoint_tensor *t = checkpoint_expect(w->file, w->path, saved, SPM_F32, shape->rank, dims, w->error);
  if (!t) return false;
  size_t size = checkpoint_tensor_count(t);
  const float *values = t->values;
  text_append(w->out, "static const real spm_trained_%d[%zu] = { /* %s */", w->count, size, saved);
  for (size_t i = 0; i < size; i++) text_append(w->out, "%s%a", i % 8 ? ", " : i ? ",\n  " : "\n  ", (double)values[i]);
  text_append(w->out, "\n};\n");
  text_append(&w->calls, "  memcpy(%s, spm_trained_%d, sizeof spm_trained_%d);\n", place, w->count, w->count);
  w->count++;
  return true;
}

static bool write_arrays(Writer *w, const Signature *s) {
  for (int i = 0; i < s->parameter_count; i++) {
    const Parameter *p = &s->parameters[i];
    const char *saved = p->constrained ? arena_printf(w->c, "raw.%s", p->name) : p->name;
    const char *place = arena_printf(w->c, "%s_parameter(m, \"%s\", &size)", w->model, p->name);
    if (!write_array(w, saved, &p->shape, place)) return false;
  }
  for (int i = 0; i < s->state_count; i++) {
    const char *place = arena_printf(w->c, "m->instance.state + spm_model_%s.states[%d].offset", w->model, i);
    if (!write_array(w, arena_printf(w->c, "state.%s", s->states[i].name), &s->states[i].shape, place)) return false;
  }
  return true;
}

static long run_note(const struct checkpoint *file, const char *key) {
  const char *text = checkpoint_note(file, key);
  return text ? strtol(text, NULL, 10) : 0;
}

/* The declaration stands before the end of what the header opens. */
static void declare(Compilation *c, const char *model, long epoch, bool bare, Text *header) {
  const char *end = header->length ? strstr(header->bytes, "/* ---- end") : NULL;
  if (!end) return;
  Text text = {.compilation = c};
  text_append(&text,
              "%.*s/* Puts an instance where the run stands that this was written from, after %ld epochs: its "
              "parameters, and\n * what schedules see.%s */\nvoid %s_trained(%s *);\n\n%s",
              (int)(end - header->bytes), header->bytes, epoch,
              bare ? " Without it parameters are 0: their initial values would take data." : "", model, model, end);
  *header = text;
}

bool compile_trained(Model *m, const char *path, Text *out, Text *header, struct spm_error *error) {
  struct checkpoint file;
  if (checkpoint_read(&file, path, error) != 0) return false;
  Compilation *c = m->compilation;
  Writer w = {.c = c,
              .file = &file,
              .path = path,
              .model = model_name(m),
              .out = out,
              .calls = {.compilation = c},
              .error = error};
  long epoch = run_note(&file, "epoch");
  text_append(out, "\n/* ---- the parameters of a run, after %ld epochs ---- */\n\n", epoch);
  bool done = write_arrays(&w, model_signature(m));
  text_append(out,
              "\nextern void %s_trained(struct %s *m);\nextern void %s_trained(struct %s *m) {\n%s%s"
              "  m->instance.epoch = %ld;\n  m->instance.step = %ld;\n  m->instance.total_rows = %ld;\n}\n",
              w.model, w.model, w.model, w.model, model_signature(m)->parameter_count > 0 ? "  long size;\n" : "",
              w.calls.length ? w.calls.bytes : "", epoch, run_note(&file, "step"), run_note(&file, "rows"));
  if (done) declare(c, w.model, epoch, model_signature(m)->given_count > 0, header);
  checkpoint_free(&file);
  return done;
}
