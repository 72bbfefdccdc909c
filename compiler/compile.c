/* The whole line on one screen: text -> syntax tree -> model -> IR with adjoints -> simplified -> plan -> C ->
 * callable. One call a stage; --dump=STAGE prints what leaves it; a verifier runs after each stage that makes IR or
 * plans. */
#include "compiler.h"
#include "front.h"

#include <string.h>

const char *const dump_stages[] = {"ast", "check",  "derive", "differentiate", "simplify", "schedule",
                                   "c",   "strips", NULL};

/* A name that is unknown is reported where it first stands. */
static bool same_message(const Diagnostic *a, const Diagnostic *b) {
  bool same_name = strcmp(a->code, "unknown-name") == 0 && strcmp(b->code, "unknown-name") == 0;
  if (same_name && strcmp(a->message, b->message) == 0) return true;
  return a->severity == b->severity && a->span.source == b->span.source && a->span.start == b->span.start &&
         a->span.end == b->span.end && strcmp(a->message, b->message) == 0;
}

static bool stands_before(const Diagnostic *a, const Diagnostic *b) {
  return a->span.source != b->span.source ? a->span.source < b->span.source : a->span.start < b->span.start;
}

/* Messages in the order of the text, each once: what several programs mention is elaborated several times. */
static void sort_diagnostics(Compilation *c) {
  Diagnostic *sorted = NULL;
  for (Diagnostic *d = c->first_diagnostic, *next; d; d = next) {
    next = d->next;
    Diagnostic **place = &sorted;
    bool repeated = false;
    for (; *place && !stands_before(d, *place); place = &(*place)->next) repeated |= same_message(d, *place);
    if (repeated) {
      c->error_count -= d->severity == SEVERITY_ERROR;
      continue;
    }
    d->next = *place;
    *place = d;
  }
  c->first_diagnostic = sorted;
  c->last_diagnostic = &c->first_diagnostic;
  while (*c->last_diagnostic) c->last_diagnostic = &(*c->last_diagnostic)->next;
}

Model *compile_check(Compilation *c, const char *path, const CompileOptions *options) {
  if (setjmp(c->failure)) return NULL; /* out of memory, or the lexer gave up: already a diagnostic */
  c->failure_set = true;
  Model *m = resolve(c, path, options);
  if (c->error_count == 0) check_generic(m);
  if (c->error_count == 0 && m->name) check(m);
  sort_diagnostics(c);
  c->failure_set = false;
  return m;
}

bool model_is_library(const Model *m) { return m->name == NULL; }
const char *model_name(const Model *m) { return m->name; }
const Signature *model_signature(const Model *m) { return &m->signature; }
const Training *model_training(const Model *m) { return m->trainings; }

void model_unclip(Model *m) {
  for (int i = 0; i < m->training_count; i++) m->trainings[i].clip = 0;
}

static bool verified(Model *m, const Graph *g, const char *stage) {
  const char *violation = ir_verify(g);
  if (violation)
    error_at(m->compilation, "internal", m->span, "internal error after %s of %s: %s", stage, g->name, violation);
  return violation == NULL;
}

Graph *model_graph(Model *m, ProgramKind program) {
  if (!m->checked) return NULL;
  if (m->graphs[program]) return m->graphs[program];
  Graph *g = derive(m, program);
  if (!g || m->compilation->error_count || !verified(m, g, "derive")) return NULL;
  if (program == PROGRAM_TRAIN) add_gradients(m, g);
  if (m->compilation->error_count || !verified(m, g, "differentiate")) return NULL;
  g = simplify(g);
  if (!verified(m, g, "simplify")) return NULL;
  return m->graphs[program] = g;
}

void model_describe(Text *out, Model *m) {
  if (model_graph(m, PROGRAM_TRAIN) && m->notes.length) text_append(out, "%s", m->notes.bytes);
}

Plan *model_plan(Model *m, ProgramKind program) {
  Graph *g = model_graph(m, program);
  if (!g || m->compilation->error_count) return NULL;
  Plan *plan = schedule(g);
  const char *violation = plan_verify(plan);
  if (!violation) return plan;
  error_at(m->compilation, "internal", m->span, "internal error after schedule of %s: %s", g->name, violation);
  return NULL;
}

enum { ALL_PROGRAMS = (1 << PROGRAM_COUNT) - 1 };

int compile_plans(Model *m, unsigned programs, Plan **plans) {
  int count = 0;
  for (int program = 0; program < PROGRAM_COUNT; program++) {
    if (!(programs & 1u << program)) continue;
    Plan *plan = model_plan(m, (ProgramKind)program);
    if (m->compilation->error_count) return -1;
    if (plan) plans[count++] = plan;
  }
  return count;
}

bool compile_emit(Model *m, Rendering rendering, Text *out) {
  Plan *plans[PROGRAM_COUNT];
  int count = compile_plans(m, ALL_PROGRAMS, plans);
  if (count < 0) return false;
  emit(out, m->compilation, m->name, &m->signature, plans, count, m->trainings, m->training_count, rendering);
  return true;
}

Jit *compile_jit(Model *m, bool use_double, char *message, size_t message_size) {
  Text text = {.compilation = m->compilation};
  if (!compile_emit(m, RENDER_STRIPS, &text)) {
    snprintf(message, message_size, "the model could not be compiled");
    return NULL;
  }
  return jit_compile(text.bytes, m->name, use_double, message, message_size);
}

static void dump_graphs(Model *m, const char *stage, Text *out) {
  for (int program = 0; program < PROGRAM_COUNT; program++) {
    Graph *g = strcmp(stage, "simplify") == 0 ? model_graph(m, (ProgramKind)program) : derive(m, (ProgramKind)program);
    if (g && program == PROGRAM_TRAIN && strcmp(stage, "differentiate") == 0) add_gradients(m, g);
    if (g) ir_print(out, g);
  }
}

static void dump_check(Model *m, Text *out) {
  const Signature *s = &m->signature;
  text_append(out, "model %s\n", m->name);
  for (int i = 0; i < s->data_count; i++)
    text_append(out, "data %s : %s, %s\n", s->data[i].name, shape_text(m->compilation, &s->data[i].shape),
                facts_text(m->compilation, &s->data[i].facts));
  for (int i = 0; i < s->parameter_count; i++)
    text_append(out, "param %s : %s%s%s%s\n", s->parameters[i].name,
                shape_text(m->compilation, &s->parameters[i].shape), s->parameters[i].constrained ? " constrained" : "",
                s->parameters[i].projected ? " projected" : "", s->parameters[i].fixed ? " fixed" : "");
  for (int i = 0; i < s->noise_count; i++)
    text_append(out, "noise %s : %s %s\n", s->noises[i].name,
                s->noises[i].kind == NOISE_UNIFORM ? "uniform" : "standard_normal",
                shape_text(m->compilation, &s->noises[i].shape));
  for (int i = 0; i < s->state_count; i++)
    text_append(out, "state %s : %s\n", s->states[i].name, shape_text(m->compilation, &s->states[i].shape));
}

bool compile_dump(Model *m, const char *stage, Text *out) {
  Plan *plans[PROGRAM_COUNT];
  if (strcmp(stage, "ast") == 0)
    ast_print(out, m->files[0]);
  else if (strcmp(stage, "check") == 0)
    dump_check(m, out);
  else if (strcmp(stage, "derive") == 0 || strcmp(stage, "differentiate") == 0 || strcmp(stage, "simplify") == 0)
    dump_graphs(m, stage, out);
  else if (strcmp(stage, "schedule") == 0) {
    int count = compile_plans(m, ALL_PROGRAMS, plans);
    for (int i = 0; i < count; i++) plan_print(out, plans[i]);
  } else if (strcmp(stage, "c") == 0 || strcmp(stage, "strips") == 0)
    compile_emit(m, *stage == 'c' ? RENDER_LOOPS : RENDER_STRIPS, out);
  else
    return false;
  return true;
}
