/* Specs in tests: see spec.h. */
#include "spec.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/diagnose.h"
#include "scratch.h"

Spec spec_open(const char *path, const CompileOptions *options) {
  CompileOptions invented = {.invent_dims = true};
  Spec s = {.c = compilation_create()};
  s.model = compile_check(s.c, path, options ? options : &invented);
  s.errors = s.c->error_count;
  return s;
}

Spec spec_text(const char *text, const CompileOptions *options) {
  scratch_make();
  Spec s = spec_open(scratch_write("spec.spm", text, strlen(text)), options);
  scratch_remove();
  return s;
}

Spec spec_right(const char *text) {
  Spec s = spec_text(text, NULL);
  char *messages = spec_messages(&s);
  cr_assert(s.errors == 0, "%s", messages);
  free(messages);
  return s;
}

void spec_close(Spec *s) {
  compilation_destroy(s->c);
  *s = (Spec){0};
}

char *spec_messages(const Spec *s) {
  char *bytes = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&bytes, &size);
  diagnostics_print(s->c, out, false);
  fclose(out);
  return bytes;
}

bool spec_says(const Spec *s, const char *code) {
  for (const Diagnostic *d = s->c->first_diagnostic; d; d = d->next)
    if (d->code && strcmp(d->code, code) == 0) return true;
  return false;
}

void spec_expect_sound(const char *text, int elements) {
  Spec s = spec_right(text);
  char message[500];
  model_unclip(s.model);
  Jit *jit = compile_jit(s.model, true, message, sizeof message);
  cr_assert(jit != NULL, "%s", message);
  Diagnosis *d = diagnose(s.c, model_graph(s.model, PROGRAM_TRAIN), model_graph(s.model, PROGRAM_INITIALISE), NULL,
                          jit_model(jit), 1, elements);
  cr_assert(d->problem == NULL, "%s", d->problem);
  cr_expect(isfinite(d->objective));
  cr_expect(fabs(d->objective - d->compiled_objective) < 1e-12 * (1 + fabs(d->objective)), "%.17g and %.17g",
            d->objective, d->compiled_objective);
  for (int i = 0; i < d->count; i++) {
    const TensorReport *t = &d->tensors[i];
    cr_expect(t->worst <= diagnose_tolerance, "%s: differences %g off", t->parameter->name, t->worst);
    cr_expect(t->compiled <= diagnose_compiled_tolerance, "%s: compiled %g off", t->parameter->name, t->compiled);
  }
  jit_destroy(jit);
  spec_close(&s);
}

char *read_text(const char *path) {
  size_t size;
  return (char *)scratch_read(path, &size);
}

int spec_parameter(const Spec *s, const char *name) {
  const Signature *signature = model_signature(s->model);
  for (int i = 0; i < signature->parameter_count; i++)
    if (strcmp(signature->parameters[i].name, name) == 0) return i;
  return -1;
}

static const double *given(const Run *run, const char *name) {
  for (size_t i = 0; run && i < sizeof run->inputs / sizeof *run->inputs; i++)
    if (run->inputs[i].name && strcmp(run->inputs[i].name, name) == 0) return run->inputs[i].values;
  return NULL;
}

static const double *evaluate(Spec *s, const Graph *g, const Node *node, const Bindings *b) {
  Evaluation *e = interpret(g, b);
  cr_assert(e->problem == NULL, "%s", e->problem);
  long count = node_extent(g, node, b->rows);
  double *values = arena_array(s->c, double, count);
  memcpy(values, e->values[node->id], sizeof *values * (size_t)count);
  evaluation_free(e, g);
  return values;
}

const Output *spec_find_output(Spec *s, ProgramKind program, OutputRole role, const char *name) {
  const Graph *g = model_graph(s->model, program);
  for (int i = 0; g && i < g->output_count; i++)
    if (g->outputs[i].role == role && strcmp(g->outputs[i].name, name) == 0) return &g->outputs[i];
  return NULL;
}

const double *spec_initial(Spec *s, const char *name) {
  Bindings b = {.rows = 1, .seed = 7};
  const Output *o = spec_find_output(s, PROGRAM_INITIALISE, OUTPUT_INITIAL, name);
  cr_assert(o != NULL, "no initial value of %s", name);
  return evaluate(s, model_graph(s->model, PROGRAM_INITIALISE), o->value, &b);
}

/* Raw initial values of a local, for rows of these data. */
static const double *initial_rows(Spec *s, const char *name, const Bindings *b) {
  const Output *o = spec_find_output(s, PROGRAM_INITIALISE_ROWS, OUTPUT_ROW_INITIAL, name);
  cr_assert(o != NULL, "no initial value of %s", name);
  return evaluate(s, model_graph(s->model, PROGRAM_INITIALISE_ROWS), o->value, b);
}

const double *spec_values(Spec *s, const Graph *g, const Node *node, const Run *run) {
  const Signature *signature = g->signature;
  const double **parameters = arena_array(s->c, const double *, signature->parameter_count);
  const double **data = arena_array(s->c, const double *, signature->data_count);
  const double **states = arena_array(s->c, const double *, signature->state_count);
  long rows = run ? run->rows : 1;
  for (int i = 0; i < signature->parameter_count; i++) {
    parameters[i] = given(run, signature->parameters[i].name);
    if (!parameters[i]) parameters[i] = spec_initial(s, signature->parameters[i].name);
  }
  for (int i = 0; i < signature->data_count; i++) {
    data[i] = given(run, signature->data[i].name);
    if (!data[i]) data[i] = arena_array(s->c, double, rows *shape_size(&signature->data[i].shape));
  }
  for (int i = 0; i < signature->state_count; i++) {
    states[i] = given(run, signature->states[i].name);
    if (states[i]) continue;
    long size = shape_size(&signature->states[i].shape);
    double *start = arena_array(s->c, double, size);
    for (long k = 0; k < size; k++) start[k] = signature->states[i].start;
    states[i] = start;
  }
  Bindings b = {.rows = rows, .parameters = parameters, .data = data, .states = states, .seed = 7};
  b.settings[SETTING_EPOCH] = run ? run->epoch : 0;
  b.settings[SETTING_STEP] = run ? run->step : 0;
  b.settings[SETTING_ROWS_IN_BATCH] = (double)rows;
  b.settings[SETTING_TOTAL_ROWS] = (double)rows;
  const double **row_states = arena_array(s->c, const double *, signature->row_state_count);
  for (int i = 0; i < signature->row_state_count; i++) {
    row_states[i] = given(run, signature->row_states[i].name);
    if (!row_states[i]) row_states[i] = initial_rows(s, signature->row_states[i].name, &b);
  }
  b.row_states = row_states;
  return evaluate(s, g, node, &b);
}

const double *spec_output(Spec *s, ProgramKind program, OutputRole role, const char *name, const Run *run) {
  const Output *o = spec_find_output(s, program, role, name);
  cr_assert(o != NULL, "the program %s has no output %s", program_names[program], name);
  return spec_values(s, model_graph(s->model, program), o->value, run);
}

double spec_metric(Spec *s, const char *name, const Run *run) {
  return *spec_output(s, PROGRAM_EVALUATE, OUTPUT_METRIC, name, run);
}
