/* The descriptor: constant tables after the functions of a model, ending in the one exported symbol spm_model_NAME.
 * Fields are those of runtime/model.h; what is zero is not written. Requires the functions to be written. */
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
  for (int d = 0; d < shape->rank; d++) text_append(&text, "%s%ld", d > 0 ? ", " : "", (long)shape->dims[d].size);
  return text.bytes;
}

/* --- tables of structures --- */

enum { LINE = 118 };

typedef struct Entry {
  Text text;
  size_t line; /* where its last line starts */
} Entry;

static Entry start_entry(Emitter *e) { return (Entry){.text = {.compilation = e->compilation}}; }

/* One more field. */
static void field(Entry *entry, const char *name, const char *value) {
  Text *text = &entry->text;
  const bool fits = text->length - entry->line + strlen(name) + strlen(value) + 6 < LINE;
  if (text->length > 0) text_append(text, fits ? ", " : ",\n   ");
  if (!fits) entry->line = text->length - 3;
  text_append(text, ".%s = %s", name, value);
}

static void number_field(Entry *entry, const char *name, long value) {
  if (value != 0) field(entry, name, arena_printf(entry->text.compilation, "%ld", value));
}

static void real_field(Emitter *e, Entry *entry, const char *name, double value) {
  if (value != 0) field(entry, name, double_text(e, value));
}

static void text_field(Emitter *e, Entry *entry, const char *name, const char *value) {
  if (value != NULL) field(entry, name, quoted_text(e, value));
}

static void shape_fields(Emitter *e, Entry *entry, const Shape *shape) {
  number_field(entry, "rank", shape->rank);
  if (shape->rank > 0) field(entry, "shape", arena_printf(e->compilation, "{%s}", lengths_text(e, shape)));
  number_field(entry, "size", shape_size(shape));
}

/* Rows share lines as long as they hold them; those of a short table stand behind its name. */
typedef struct Table {
  Emitter *e;
  const char *heading;
  const char **rows;
  int count;
  size_t length;
} Table;

static Table open_table(Emitter *e, const char *type, const char *name) {
  const char *heading = arena_printf(e->compilation, "static const struct %s %s[] = {", type, name);
  return (Table){.e = e, .heading = heading, .length = strlen(heading)};
}

static void add_row(Table *table, const char *row) {
  table->rows = arena_grow(table->e->compilation, table->rows, table->count, sizeof *table->rows);
  table->rows[table->count++] = row;
  table->length += strlen(row) + 2;
}

static void end_entry(Table *table, const Entry *entry) {
  add_row(table, arena_printf(table->e->compilation, "{%s}", entry->text.bytes));
}

static void close_table(const Table *table) {
  Text *out = &table->e->body;
  size_t line = 0;
  if (table->count == 0) return;
  bool one = table->length <= LINE;
  text_append(out, "%s", table->heading);
  for (int i = 0; i < table->count; i++) {
    const char *last = strrchr(table->rows[i], '\n');
    bool fits = i > 0 && !last && line + strlen(table->rows[i]) + 2 <= LINE;
    text_append(out, "%s%s", i == 0 ? "" : ",", one ? (i == 0 ? "" : " ") : fits ? " " : "\n  ");
    text_append(out, "%s", table->rows[i]);
    line = (fits ? line : 0) + strlen(table->rows[i]) + 2;
    if (last) line = LINE;
  }
  text_append(out, "};\n");
}

static Entry tensor_entry(Emitter *e, Name name, const Shape *shape, long offset) {
  Entry entry = start_entry(e);
  text_field(e, &entry, "name", name);
  field(&entry, "dims", dims_text(e, shape));
  shape_fields(e, &entry, shape);
  number_field(&entry, "offset", offset);
  return entry;
}

static void emit_givens(Emitter *e, const Signature *s) {
  static const char *const kinds[] = {"SPM_GIVEN_ROWS", "SPM_GIVEN_MEAN", "SPM_GIVEN_MEDIAN", "SPM_GIVEN_FILE"};
  if (s->given_count == 0) return;
  Table table = open_table(e, "spm_given", "model_givens");
  for (int i = 0; i < s->given_count; i++) {
    const Given *g = &s->givens[i];
    Entry entry = start_entry(e);
    text_field(e, &entry, "name", g->name);
    field(&entry, "kind", kinds[g->kind]);
    number_field(&entry, "data", g->data);
    text_field(e, &entry, "path", g->path);
    shape_fields(e, &entry, &g->shape);
    end_entry(&table, &entry);
  }
  close_table(&table);
}

static void emit_data(Emitter *e, Table *table, const DataInput *d) {
  Entry entry = tensor_entry(e, d->name, &d->shape, 0);
  real_field(e, &entry, "low", d->facts.low);
  real_field(e, &entry, "high", d->facts.high);
  number_field(&entry, "integer", d->facts.integer);
  number_field(&entry, "unit", d->facts.low == 0 && d->facts.high == 1 && !d->facts.integer);
  number_field(&entry, "missing_ok", d->missing_ok);
  number_field(&entry, "categories", d->categories);
  number_field(&entry, "gathered", d->gathered);
  end_entry(table, &entry);
}

void emit_signature(Emitter *e, const Signature *s) {
  Text *out = &e->body;
  const long *parameters = parameter_offsets(e->compilation, s), *states = state_offsets(e->compilation, s);
  text_append(out, "\n/* ---- the model's description ---- */\n\n");
  Table table = open_table(e, "spm_tensor", "model_parameters");
  for (int i = 0; i < s->parameter_count; i++) {
    const Parameter *p = &s->parameters[i];
    Entry entry = tensor_entry(e, p->name, &p->shape, parameters[i]);
    number_field(&entry, "fixed", p->fixed);
    number_field(&entry, "projected", p->projected);
    number_field(&entry, "constrained", p->constrained);
    end_entry(&table, &entry);
  }
  close_table(&table);
  table = open_table(e, "spm_tensor", "model_data");
  for (int i = 0; i < s->data_count; i++) emit_data(e, &table, &s->data[i]);
  close_table(&table);
  table = open_table(e, "spm_tensor", "model_states");
  for (int i = 0; i < s->state_count; i++) {
    Entry entry = tensor_entry(e, s->states[i].name, &s->states[i].shape, states[i]);
    real_field(e, &entry, "low", s->states[i].start);
    end_entry(&table, &entry);
  }
  close_table(&table);
  table = open_table(e, "spm_tensor", "model_row_states");
  long row = 0;
  for (int i = 0; i < s->row_state_count; row += shape_size(&s->row_states[i].shape), i++) {
    Entry entry = tensor_entry(e, s->row_states[i].name, &s->row_states[i].shape, row);
    number_field(&entry, "constrained", s->row_states[i].constrained);
    end_entry(&table, &entry);
  }
  close_table(&table);
  emit_givens(e, s);
}

/* --- programs --- */

static const char *place_text(const Tensor *tensor) {
  if (tensor->storage == STORE_GRADIENT) return "SPM_GRADIENT";
  if (tensor->storage == STORE_STATE_NEXT) return "SPM_STATE_NEXT";
  return tensor->storage == STORE_KEPT ? "SPM_KEPT" : "SPM_VALUES";
}

/* Where a row value lies, as a range has it. */
static long row_place(const Tensor *t) { return t->storage == STORE_DATA ? -1 - t->index : t->offset; }

static const char *range_text(Emitter *e, const Plan *plan, int number, int r) {
  const Range *range = &plan->phases[number].ranges[r];
  const Step *step = &range->body.steps[0];
  const Gemm *g = &step->gemm;
  Compilation *c = e->compilation;
  if (!e->products)
    return arena_printf(c, "{%s, %ld, %ld, %ld, %d, %s, %ld}", range_function(e, plan, number, r), range->units,
                        range->chunk, range->result->size, range->parameter, place_text(range->result),
                        range->result->offset);
  const char *line = spec_line(e, step->node), *at = line ? strchr(line, ':') : NULL;
  const char *from = at ? arena_printf(c, "%.*s: ", (int)(at - line) + 1 + (int)strcspn(at + 1, ":"), line) : "";
  return arena_printf(c, "{%ld, %ld, %ld, %ld, %ld, %d /* %s%s, %s */}", row_place(g->a.tensor), g->lda,
                      row_place(g->b.tensor), g->ldb, range->chunk, range->parameter, from, g->a.tensor->name,
                      g->b.tensor->name);
}

static void emit_phase_tables(Emitter *e, const Plan *plan, int number) {
  const Phase *phase = &plan->phases[number];
  Compilation *c = e->compilation;
  Table statistics = open_table(e, "spm_statistic", arena_printf(c, "%s_statistics_%d", plan->name, number));
  for (int i = 0; i < phase->statistic_count; i++) {
    const Statistic *s = &phase->statistics[i];
    const char *combine = !e->maxima ? "" : s->maximum ? "SPM_MAX, " : "SPM_SUM, ";
    add_row(&statistics, arena_printf(c, "{%ld, %ld, %s%s, %ld /* %s */}", s->partial->offset, s->result->size, combine,
                                      place_text(s->result), s->result->offset, s->result->name));
  }
  close_table(&statistics);
  Table ranges = open_table(e, "spm_range", arena_printf(c, "%s_ranges_%d", plan->name, number));
  for (int r = 0; r < phase->range_count; r++) add_row(&ranges, range_text(e, plan, number, r));
  close_table(&ranges);
}

static void emit_outputs(Emitter *e, const Plan *plan) {
  static const char *const roles[OUTPUT_ROLE_COUNT] = {
      "SPM_OBJECTIVE",      "SPM_TERM",       "SPM_METRIC",    "SPM_VALUE", "SPM_GRADIENT_OF",     "SPM_STATE_OF",
      "SPM_INITIAL_OF",     "SPM_EXPORT_OF",  "SPM_SOLVED_OF", "SPM_ROWS",  "SPM_ROW_GRADIENT_OF", "SPM_ROW_NEXT_OF",
      "SPM_ROW_INITIAL_OF", "SPM_SUPPORT_OF", "SPM_SHARE_OF",  ""};
  Table table = open_table(e, "spm_output", arena_printf(e->compilation, "%s_outputs", plan->name));
  for (int i = 0; i < plan->output_count; i++) {
    const PlanOutput *o = &plan->outputs[i];
    bool indexed = o->role == OUTPUT_GRADIENT || o->role == OUTPUT_STATE || o->role == OUTPUT_INITIAL ||
                   o->role == OUTPUT_EXPORT || o->role == OUTPUT_SOLVED || o->role > OUTPUT_ROWS;
    add_row(&table, arena_printf(e->compilation, "{%s, %s, %d, %s, %ld, %ld}", quoted_text(e, o->name), roles[o->role],
                                 indexed ? o->index : -1, place_text(o->tensor), o->tensor->offset, o->tensor->size));
  }
  close_table(&table);
}

static void emit_domains(Emitter *e, const Plan *plan) {
  if (plan->domain_count == 1) return;
  Table table = open_table(e, "spm_domain", arena_printf(e->compilation, "%s_domains", plan->name));
  for (int d = 0; d < plan->domain_count; d++) {
    const Domain *domain = &plan->domains[d];
    Text supports = {.compilation = e->compilation};
    int count = 0;
    for (int v = 0; v < MAX_SUPPORTS; v++)
      if (domain->axes & (unsigned)AXIS_SUPPORT << v) text_append(&supports, "%s%d", count++ > 0 ? ", " : "", v);
    add_row(&table,
            arena_printf(e->compilation, "{%d, {%s}, %ld, %ld, %ld, %ld}", count, count > 0 ? supports.bytes : "0",
                         domain->members, domain->tile, domain->kept, domain->kept_row));
  }
  close_table(&table);
}

static const char *extents_text(Emitter *e, const Plan *plan) {
  Text text = {.compilation = e->compilation};
  for (int v = 0; v < MAX_SUPPORTS; v++) text_append(&text, "%s%ld", v > 0 ? ", " : "", plan->support_extents[v]);
  return text.bytes;
}

static void add_phase(Table *table, const Plan *plan, int number) {
  static const char *const kinds[] = {
      [PHASE_STEP] = "SPM_STEP_PHASE", [PHASE_ROWS] = "SPM_ROW_PHASE", [PHASE_GRADIENT] = "SPM_GRADIENT_PHASE"};
  const Phase *phase = &plan->phases[number];
  Emitter *e = table->e;
  Compilation *c = e->compilation;
  Entry entry = start_entry(e);
  field(&entry, "kind", kinds[phase->kind]);
  number_field(&entry, "domain", phase->domain);
  if (phase->kind != PHASE_GRADIENT) field(&entry, "run", phase_function(e, plan, number));
  number_field(&entry, "statistic_count", phase->statistic_count);
  if (phase->statistic_count > 0) field(&entry, "statistics", arena_printf(c, "%s_statistics_%d", plan->name, number));
  number_field(&entry, "range_count", phase->range_count);
  if (phase->range_count > 0) field(&entry, "ranges", arena_printf(c, "%s_ranges_%d", plan->name, number));
  end_entry(table, &entry);
}

void emit_program(Emitter *e, const Plan *plan) {
  text_append(&e->body, "\n");
  for (int p = 0; p < plan->phase_count; p++) emit_phase_tables(e, plan, p);
  Table phases = open_table(e, "spm_phase", arena_printf(e->compilation, "%s_phases", plan->name));
  for (int p = 0; p < plan->phase_count; p++) add_phase(&phases, plan, p);
  close_table(&phases);
  emit_domains(e, plan);
  emit_outputs(e, plan);
}

static bool plan_uses_rows(const Plan *plan) {
  for (int p = 0; p < plan->phase_count; p++)
    if (plan->phases[p].kind != PHASE_STEP) return true;
  return false;
}

static const char *fit_text(Emitter *e, const InnerFit *fit) {
  Entry entry = start_entry(e);
  number_field(&entry, "steps", fit->steps);
  number_field(&entry, "history", (long)fit->history);
  number_field(&entry, "restart", fit->restart);
  return arena_printf(e->compilation, "{%s}", entry.text.length > 0 ? entry.text.bytes : "0");
}

static void add_training(Table *table, const Training *t) {
  Emitter *e = table->e;
  Entry entry = start_entry(e);
  field(&entry, "name", quoted_text(e, t->name));
  field(&entry, "optimizer", quoted_text(e, t->optimizer));
  real_field(e, &entry, "lr", t->lr);
  real_field(e, &entry, "beta1", t->beta1);
  real_field(e, &entry, "beta2", t->beta2);
  real_field(e, &entry, "epsilon", t->epsilon);
  real_field(e, &entry, "momentum", t->momentum);
  real_field(e, &entry, "weight_decay", t->weight_decay);
  number_field(&entry, "batch", t->batch);
  number_field(&entry, "epochs", t->epochs);
  number_field(&entry, "steps", t->steps);
  number_field(&entry, "shuffle", t->shuffle);
  if (strcmp(t->optimizer, "lbfgs") == 0) field(&entry, "fit", fit_text(e, &t->fit));
  number_field(&entry, "unchanged", t->unchanged);
  text_field(e, &entry, "rate", t->rate);
  number_field(&entry, "valid", t->valid);
  text_field(e, &entry, "keep", t->keep);
  number_field(&entry, "smallest", t->smallest);
  number_field(&entry, "patience", t->patience);
  number_field(&entry, "selects", t->rows != NULL);
  number_field(&entry, "balances", t->balance != NULL);
  end_entry(table, &entry);
}

static void add_program(Table *table, const Plan *p) {
  Emitter *e = table->e;
  Compilation *c = e->compilation;
  Entry entry = start_entry(e);
  text_field(e, &entry, "name", p->name);
  number_field(&entry, "phase_count", p->phase_count);
  if (p->phase_count > 0) field(&entry, "phases", arena_printf(c, "%s_phases", p->name));
  number_field(&entry, "output_count", p->output_count);
  if (p->output_count > 0) field(&entry, "outputs", arena_printf(c, "%s_outputs", p->name));
  if (e->exported) {
    number_field(&entry, "value_size", p->value_size);
    number_field(&entry, "kept_row", p->kept_row);
    number_field(&entry, "scratch_fixed", p->scratch_fixed);
    number_field(&entry, "scratch_row", p->scratch_row);
    number_field(&entry, "uses_rows", plan_uses_rows(p));
  }
  number_field(&entry, "partial_size", p->partial_size);
  if (p->domain_count > 1) {
    number_field(&entry, "domain_count", p->domain_count);
    field(&entry, "domains", arena_printf(c, "%s_domains", p->name));
    field(&entry, "supports", arena_printf(c, "{%s}", extents_text(e, p)));
  }
  end_entry(table, &entry);
}

static bool has_program(Plan *const *plans, int count, ProgramKind program) {
  for (int p = 0; p < count; p++)
    if (strcmp(plans[p]->name, program_names[program]) == 0) return true;
  return false;
}

static long larger(long a, long b) { return a > b ? a : b; }

/* A trainer has memory for the largest programs, and no need to know of each. */
static void add_largest(Entry *entry, Plan *const *plans, int count) {
  Plan most = {0};
  long range = 0;
  for (int p = 0; p < count; p++) {
    most.value_size = larger(most.value_size, plans[p]->value_size);
    most.kept_row = larger(most.kept_row, plans[p]->kept_row);
    most.partial_size = larger(most.partial_size, plans[p]->partial_size);
    most.scratch_fixed = larger(most.scratch_fixed, plans[p]->scratch_fixed);
    most.scratch_row = larger(most.scratch_row, plans[p]->scratch_row);
    for (int i = 0; i < plans[p]->phase_count; i++)
      for (int r = 0; r < plans[p]->phases[i].range_count; r++)
        range = larger(range, plans[p]->phases[i].ranges[r].chunk);
  }
  number_field(entry, "value_size", most.value_size);
  number_field(entry, "kept_row", most.kept_row);
  number_field(entry, "partial_size", most.partial_size);
  number_field(entry, "scratch_fixed", most.scratch_fixed);
  number_field(entry, "scratch_row", most.scratch_row);
  number_field(entry, "range_size", range);
}

static void emit_descriptor(Emitter *e, const Signature *s, Plan *const *plans, int plan_count, const Training *t,
                            int training_count) {
  Entry entry = start_entry(e);
  if (e->exported) field(&entry, "abi", "SPM_ABI");
  if (e->exported) field(&entry, "real_size", "(int)sizeof(real)");
  text_field(e, &entry, "name", e->model);
  number_field(&entry, "parameter_count", s->parameter_count);
  if (s->parameter_count > 0) field(&entry, "parameters", "model_parameters");
  number_field(&entry, "data_count", s->data_count);
  if (s->data_count > 0) field(&entry, "data", "model_data");
  number_field(&entry, "state_count", s->state_count);
  if (s->state_count > 0) field(&entry, "states", "model_states");
  number_field(&entry, "row_state_count", s->row_state_count);
  if (s->row_state_count > 0) field(&entry, "row_states", "model_row_states");
  number_field(&entry, "program_count", plan_count);
  field(&entry, "programs", "model_programs");
  number_field(&entry, "training_count", training_count);
  if (training_count > 0) field(&entry, "trainings", "model_trainings");
  number_field(&entry, "parameter_size", parameter_offsets(e->compilation, s)[s->parameter_count]);
  number_field(&entry, "state_size", state_offsets(e->compilation, s)[s->state_count]);
  long row = 0;
  for (int i = 0; i < s->row_state_count; i++) row += shape_size(&s->row_states[i].shape);
  number_field(&entry, "row_state_size", row);
  if (!e->exported) add_largest(&entry, plans, plan_count);
  if (t != NULL && has_program(plans, plan_count, PROGRAM_FIT)) field(&entry, "fit", fit_text(e, &t->inner));
  if (t != NULL && has_program(plans, plan_count, PROGRAM_FIT_NEW)) field(&entry, "fit_new", fit_text(e, &t->fit_new));
  number_field(&entry, "given_count", s->given_count);
  if (s->given_count > 0) field(&entry, "givens", "model_givens");
  if (e->exported) put_line(&e->body, 0, "\nextern const struct spm_model spm_model_%s;", e->model);
  put_line(&e->body, 0, "%sconst struct spm_model spm_model_%s = {\n   %s};", e->exported ? "" : "static ", e->model,
           entry.text.bytes);
}

void emit_model(Emitter *e, const Signature *s, Plan *const *plans, int plan_count, const Training *trainings,
                int training_count) {
  text_append(&e->body, "\n");
  Table programs = open_table(e, "spm_program", "model_programs");
  for (int i = 0; i < plan_count; i++) add_program(&programs, plans[i]);
  close_table(&programs);
  Table stages = open_table(e, "spm_training", "model_trainings");
  for (int i = 0; i < training_count; i++) add_training(&stages, &trainings[i]);
  close_table(&stages);
  emit_descriptor(e, s, plans, plan_count, training_count > 0 ? trainings : NULL, training_count);
}
