/* The descriptor: constant tables after the functions of a model, ending in the one exported symbol spm_model_NAME.
 * Field order is that of runtime/model.h. Requires the functions to be written. */
#include <math.h>
#include <string.h>

#include "emit_internal.h"

const char *quoted_text(Emitter *e, const char *text) {
  Text out = {.compilation = e->compilation};
  text_append(&out, "\"");
  for (const char *at = text != NULL ? text : ""; *at != '\0'; at++) {
    if (*at == '"' || *at == '\\')
      text_append(&out, "\\%c", *at);
    else if ((unsigned char)*at < ' ' || *at == '?')
      text_append(&out, "\\%03o", (unsigned)(unsigned char)*at);
    else
      text_append(&out, "%c", *at);
  }
  text_append(&out, "\"");
  return out.bytes;
}

static const char *double_text(Emitter *e, double value) {
  if (isinf(value)) return value > 0 ? "1.0 / 0.0" : "-1.0 / 0.0";
  return shortest_number(e->compilation, value);
}

static const char *dims_text(Emitter *e, const Shape *shape) {
  if (shape->rank == 0) return "\"\"";
  Text text = {.compilation = e->compilation};
  for (int d = 0; d < shape->rank; d++)
    text_append(&text, "%s%s", d > 0 ? ", " : "[", dim_text(e->compilation, shape->dims[d]));
  text_append(&text, "]");
  return quoted_text(e, text.bytes);
}

static const char *lengths_text(Emitter *e, const Shape *shape) {
  Text text = {.compilation = e->compilation};
  for (int d = 0; d < MAX_RANK; d++)
    text_append(&text, "%s%ld", d > 0 ? ", " : "", d < shape->rank ? (long)shape->dims[d].size : 0L);
  return text.bytes;
}

static void emit_tensor(Emitter *e, Name name, const Shape *shape, long offset, const char *rest) {
  put_line(&e->body, 1, "{%s, %s, %d, {%s}, %ld, %ld, %s},", quoted_text(e, name), dims_text(e, shape), shape->rank,
           lengths_text(e, shape), shape_size(shape), offset, rest);
}

static void emit_givens(Emitter *e, const Signature *s) {
  static const char *const kinds[] = {"SPM_GIVEN_ROWS", "SPM_GIVEN_MEAN", "SPM_GIVEN_MEDIAN", "SPM_GIVEN_FILE"};
  if (s->given_count == 0) return;
  put_line(&e->body, 0, "\nstatic const struct spm_given model_givens[] = {");
  for (int i = 0; i < s->given_count; i++) {
    const Given *g = &s->givens[i];
    put_line(&e->body, 1, "{%s, %s, %d, %s, %d, {%s}, %ld},", quoted_text(e, g->name), kinds[g->kind], g->data,
             g->path != NULL ? quoted_text(e, g->path) : "0", g->shape.rank, lengths_text(e, &g->shape),
             shape_size(&g->shape));
  }
  put_line(&e->body, 0, "};");
}

void emit_signature(Emitter *e, const Signature *s) {
  Text *out = &e->body;
  const long *parameters = parameter_offsets(e->compilation, s), *states = state_offsets(e->compilation, s);
  text_append(out, "\n/* ---- the model's description ---- */\n");
  if (s->parameter_count > 0) put_line(out, 0, "\nstatic const struct spm_tensor model_parameters[] = {");
  for (int i = 0; i < s->parameter_count; i++) {
    const Parameter *p = &s->parameters[i];
    emit_tensor(
        e, p->name, &p->shape, parameters[i],
        arena_printf(e->compilation, "%d, %d, %d, 0, 0, 0, 0, 0, 0, 0", p->fixed, p->projected, p->constrained));
  }
  if (s->parameter_count > 0) put_line(out, 0, "};");
  if (s->data_count > 0) put_line(out, 0, "\nstatic const struct spm_tensor model_data[] = {");
  for (int i = 0; i < s->data_count; i++) {
    const DataInput *d = &s->data[i];
    bool unit = d->facts.low == 0 && d->facts.high == 1 && !d->facts.integer;
    emit_tensor(e, d->name, &d->shape, 0,
                arena_printf(e->compilation, "0, 0, 0, %s, %s, %d, %d, %d, %ld, %ld", double_text(e, d->facts.low),
                             double_text(e, d->facts.high), d->facts.integer, unit, d->missing_ok, d->categories,
                             d->gathered));
  }
  if (s->data_count > 0) put_line(out, 0, "};");
  if (s->state_count > 0) put_line(out, 0, "\nstatic const struct spm_tensor model_states[] = {");
  for (int i = 0; i < s->state_count; i++)
    emit_tensor(e, s->states[i].name, &s->states[i].shape, states[i],
                arena_printf(e->compilation, "0, 0, 0, %s, 0, 0, 0, 0, 0, 0", double_text(e, s->states[i].start)));
  if (s->state_count > 0) put_line(out, 0, "};");
  if (s->row_state_count > 0) put_line(out, 0, "\nstatic const struct spm_tensor model_row_states[] = {");
  long row = 0;
  for (int i = 0; i < s->row_state_count; row += shape_size(&s->row_states[i].shape), i++)
    emit_tensor(e, s->row_states[i].name, &s->row_states[i].shape, row,
                arena_printf(e->compilation, "0, 0, %d, 0, 0, 0, 0, 0, 0, 0", s->row_states[i].constrained));
  if (s->row_state_count > 0) put_line(out, 0, "};");
  emit_givens(e, s);
}

/* --- programs --- */

static const char *place_text(const Tensor *tensor) {
  if (tensor->storage == STORE_GRADIENT) return "SPM_GRADIENT";
  if (tensor->storage == STORE_STATE_NEXT) return "SPM_STATE_NEXT";
  return tensor->storage == STORE_KEPT ? "SPM_KEPT" : "SPM_VALUES";
}

static void emit_phase_tables(Emitter *e, const Plan *plan, int number) {
  const Phase *phase = &plan->phases[number];
  Text *out = &e->body;
  if (phase->statistic_count > 0) {
    put_line(out, 0, "static const struct spm_statistic %s_statistics_%d[] = {", plan->name, number);
    for (int i = 0; i < phase->statistic_count; i++) {
      const Statistic *s = &phase->statistics[i];
      put_line(out, 1, "{%ld, %ld, %s, %s, %ld}, /* %s */", s->partial->offset, s->result->size,
               s->maximum ? "SPM_MAX" : "SPM_SUM", place_text(s->result), s->result->offset, s->result->name);
    }
    put_line(out, 0, "};");
  }
  if (phase->range_count > 0) {
    put_line(out, 0, "static const struct spm_range %s_ranges_%d[] = {", plan->name, number);
    for (int r = 0; r < phase->range_count; r++) {
      const Range *range = &phase->ranges[r];
      put_line(out, 1, "{%s, %ld, %ld, %ld, %d, %s, %ld},", range_function(e, plan, number, r), range->units,
               range->chunk, range->result->size, range->parameter, place_text(range->result), range->result->offset);
    }
    put_line(out, 0, "};");
  }
}

static void emit_outputs(Emitter *e, const Plan *plan) {
  static const char *const roles[OUTPUT_ROLE_COUNT] = {
      "SPM_OBJECTIVE",      "SPM_TERM",       "SPM_METRIC",    "SPM_VALUE", "SPM_GRADIENT_OF",     "SPM_STATE_OF",
      "SPM_INITIAL_OF",     "SPM_EXPORT_OF",  "SPM_SOLVED_OF", "SPM_ROWS",  "SPM_ROW_GRADIENT_OF", "SPM_ROW_NEXT_OF",
      "SPM_ROW_INITIAL_OF", "SPM_SUPPORT_OF", "SPM_SHARE_OF",  ""};
  if (plan->output_count == 0) return;
  put_line(&e->body, 0, "static const struct spm_output %s_outputs[] = {", plan->name);
  for (int i = 0; i < plan->output_count; i++) {
    const PlanOutput *o = &plan->outputs[i];
    bool indexed = o->role == OUTPUT_GRADIENT || o->role == OUTPUT_STATE || o->role == OUTPUT_INITIAL ||
                   o->role == OUTPUT_EXPORT || o->role == OUTPUT_SOLVED || o->role > OUTPUT_ROWS;
    put_line(&e->body, 1, "{%s, %s, %d, %s, %ld, %ld},", quoted_text(e, o->name), roles[o->role],
             indexed ? o->index : -1, place_text(o->tensor), o->tensor->offset, o->tensor->size);
  }
  put_line(&e->body, 0, "};");
}

static void emit_domains(Emitter *e, const Plan *plan) {
  if (plan->domain_count == 1) return;
  put_line(&e->body, 0, "static const struct spm_domain %s_domains[] = {", plan->name);
  for (int d = 0; d < plan->domain_count; d++) {
    const Domain *domain = &plan->domains[d];
    Text supports = {.compilation = e->compilation};
    int count = 0;
    for (int v = 0; v < MAX_SUPPORTS; v++)
      if (domain->axes & (unsigned)AXIS_SUPPORT << v) text_append(&supports, "%s%d", count++ > 0 ? ", " : "", v);
    put_line(&e->body, 1, "{%d, {%s}, %ld, %ld, %ld, %ld},", count, count > 0 ? supports.bytes : "0", domain->members,
             domain->tile, domain->kept, domain->kept_row);
  }
  put_line(&e->body, 0, "};");
}

static const char *extents_text(Emitter *e, const Plan *plan) {
  Text text = {.compilation = e->compilation};
  for (int v = 0; v < MAX_SUPPORTS; v++) text_append(&text, "%s%ld", v > 0 ? ", " : "", plan->support_extents[v]);
  return text.bytes;
}

void emit_program(Emitter *e, const Plan *plan) {
  Text *out = &e->body;
  text_append(out, "\n");
  for (int p = 0; p < plan->phase_count; p++) emit_phase_tables(e, plan, p);
  if (plan->phase_count > 0) put_line(out, 0, "static const struct spm_phase %s_phases[] = {", plan->name);
  for (int p = 0; p < plan->phase_count; p++) {
    const Phase *phase = &plan->phases[p];
    const char *kind = phase->kind == PHASE_STEP   ? "SPM_STEP_PHASE"
                       : phase->kind == PHASE_ROWS ? "SPM_ROW_PHASE"
                                                   : "SPM_GRADIENT_PHASE";
    const char *run = phase->kind == PHASE_GRADIENT ? "0" : phase_function(e, plan, p);
    const char *statistics =
        phase->statistic_count > 0 ? arena_printf(e->compilation, "%s_statistics_%d", plan->name, p) : "0";
    const char *ranges = phase->range_count > 0 ? arena_printf(e->compilation, "%s_ranges_%d", plan->name, p) : "0";
    put_line(out, 1, "{%s, %d, %s, %d, %s, %d, %s},", kind, phase->domain, run, phase->statistic_count, statistics,
             phase->range_count, ranges);
  }
  if (plan->phase_count > 0) put_line(out, 0, "};");
  emit_domains(e, plan);
  emit_outputs(e, plan);
}

static bool plan_uses_rows(const Plan *plan) {
  for (int p = 0; p < plan->phase_count; p++)
    if (plan->phases[p].kind != PHASE_STEP) return true;
  return false;
}

static const char *fit_text(Emitter *e, const InnerFit *fit) {
  return arena_printf(e->compilation, "{%ld, %ld, %d}", fit->steps, fit->history, fit->restart);
}

static void emit_trainings(Emitter *e, const Training *trainings, int count) {
  Text *out = &e->body;
  if (count == 0) return;
  put_line(out, 0, "\nstatic const struct spm_training model_trainings[] = {");
  for (int i = 0; i < count; i++) {
    const Training *t = &trainings[i];
    put_line(out, 1, "{%s, %s, %s, %s, %s, %s, %s, %s, %ld, %ld, %ld, %d, %s, %ld, %s, %ld, %s, %d, %d, %d},",
             quoted_text(e, t->name), quoted_text(e, t->optimizer), double_text(e, t->lr), double_text(e, t->beta1),
             double_text(e, t->beta2), double_text(e, t->epsilon), double_text(e, t->momentum),
             double_text(e, t->weight_decay), t->batch, t->epochs, t->steps, t->shuffle, fit_text(e, &t->fit),
             t->unchanged, t->rate ? quoted_text(e, t->rate) : "0", t->valid, t->keep ? quoted_text(e, t->keep) : "0",
             t->smallest, t->rows != NULL, t->balance != NULL);
  }
  put_line(out, 0, "};");
}

void emit_model(Emitter *e, const Signature *s, Plan *const *plans, int plan_count, const Training *trainings,
                int training_count) {
  Text *out = &e->body;
  put_line(out, 0, "\nstatic const struct spm_program model_programs[] = {");
  for (int i = 0; i < plan_count; i++) {
    const Plan *p = plans[i];
    const char *phases = p->phase_count > 0 ? arena_printf(e->compilation, "%s_phases", p->name) : "0";
    const char *outputs = p->output_count > 0 ? arena_printf(e->compilation, "%s_outputs", p->name) : "0";
    const char *domains = p->domain_count > 1 ? arena_printf(e->compilation, "%s_domains", p->name) : "0";
    put_line(out, 1, "{%s, %d, %s, %d, %s, %ld, %ld, %ld, %ld, %ld, %d, %d, %s, {%s}},", quoted_text(e, p->name),
             p->phase_count, phases, p->output_count, outputs, p->value_size, p->kept_row, p->partial_size,
             p->scratch_fixed, p->scratch_row, plan_uses_rows(p), p->domain_count, domains, extents_text(e, p));
  }
  put_line(out, 0, "};");
  emit_trainings(e, trainings, training_count);
  put_line(out, 0, "\nextern const struct spm_model spm_model_%s;", e->model);
  put_line(out, 0, "const struct spm_model spm_model_%s = {", e->model);
  put_line(out, 1, "SPM_ABI, (int)sizeof(real), %s,", quoted_text(e, e->model));
  put_line(out, 1, "%d, %d, %d, %d, %d, %d,", s->parameter_count, s->data_count, s->state_count, s->row_state_count,
           plan_count, training_count);
  put_line(out, 1, "%s, %s, %s, %s,", s->parameter_count > 0 ? "model_parameters" : "0",
           s->data_count > 0 ? "model_data" : "0", s->state_count > 0 ? "model_states" : "0",
           s->row_state_count > 0 ? "model_row_states" : "0");
  put_line(out, 1, "model_programs, %s,", training_count > 0 ? "model_trainings" : "0");
  long row = 0;
  for (int i = 0; i < s->row_state_count; i++) row += shape_size(&s->row_states[i].shape);
  const Training none = {0}, *t = training_count > 0 ? trainings : &none;
  put_line(out, 1, "%ld, %ld, %ld, %s, %s,", parameter_offsets(e->compilation, s)[s->parameter_count],
           state_offsets(e->compilation, s)[s->state_count], row, fit_text(e, &t->inner), fit_text(e, &t->fit_new));
  put_line(out, 1, "%d, %s};", s->given_count, s->given_count > 0 ? "model_givens" : "0");
}
