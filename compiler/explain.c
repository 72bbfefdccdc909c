/* explain: a checked model -> what will be computed and at what cost, in words for people or as JSON: each term of the
 * objective with the rule it is taken by, latents, shapes, parameters, programs, and the work and memory of a step. */
#include "explain.h"

#include <math.h>
#include <string.h>

#include "statements.h"
#include "plan_internal.h"
#include "runtime/driver.h"

/* ---- the cost of a plan ------------------------------------------------------------------------------------------ */

/* Of one datum, or of a step whatever its rows. */
typedef struct Work {
  double products, elementwise; /* floating-point operations */
  double bytes;                 /* read and written in float, caches left out of account */
} Work;

/* How many for one row; a range as a whole. */
static double extent_length(Extent extent, const Range *range) {
  double part = range ? (double)range->leading : 1;
  return (double)extent.count * (extent.kind == EXTENT_PART ? part : 1);
}

static double step_operations(const Step *step, const Range *range) {
  double count = 1;
  switch (step->kind) {
  case PLAN_LOOP: {
    double operations = 0;
    for (int d = 0; d < step->loop.dim_count; d++) count *= extent_length(step->loop.extents[d], range);
    for (int i = 0; i < step->loop.instruction_count; i++) operations += step->loop.instructions[i].op != OP_COUNT;
    for (int i = 0; i < step->loop.store_count; i++) operations += step->loop.stores[i].kind != STORE_SET;
    return count * operations;
  }
  case PLAN_GEMM:
    for (int l = 0; l < step->gemm.loop_count; l++) count *= extent_length(step->gemm.loops[l], range);
    return 2 * count * extent_length(step->gemm.m, range) * extent_length(step->gemm.n, range) *
           extent_length(step->gemm.k, range);
  case PLAN_ALONG:
    return extent_length(step->along.outer, range) * extent_length(step->along.extent, range) *
           (double)step->along.inner;
  case PLAN_SOLVE:
    for (int l = 0; l < step->solve.loop_count; l++) count *= extent_length(step->solve.loops[l], range);
    return count * (double)step->solve.n * (double)step->solve.n;
  case PLAN_LOW_RANK:
    for (int l = 0; l < step->low_rank.loop_count; l++) count *= extent_length(step->low_rank.loops[l], range);
    count *= extent_length(step->low_rank.lines, range) * (double)step->low_rank.of.length;
    return count * (double)(4 * step->low_rank.of.rank + 20);
  case PLAN_CONVOLVE: {
    const long *of = step->convolve.sizes;
    for (int l = 0; l < step->convolve.loop_count; l++) count *= extent_length(step->convolve.loops[l], range);
    count *= extent_length(step->convolve.images, range) * (double)spm_convolve_depth(of);
    return 2 * count * (double)(of[SPM_FILTERS] * of[SPM_DOWN] * of[SPM_ACROSS]);
  }
  case PLAN_LINE:
    for (int l = 0; l < step->line.loop_count; l++) count *= extent_length(step->line.loops[l], range);
    return count * line_operations(&step->line);
  case PLAN_TOP: return (double)step->top.x.tensor->size * (step->top.search ? 32 : 1);
  case PLAN_DRAW: return (double)step->draw.to.tensor->size;
  case PLAN_GATHER: return 0;
  case PLAN_COLLECT: return (double)step->members.size * (double)step->members.repeats;
  case PLAN_CLEAR:
  case PLAN_ROUNDS: return 0; /* its steps are counted one by one */
  }
  return 0;
}

static double step_bytes(Compilation *c, Step *step, bool of_rows) {
  Use *uses;
  int count = step_uses(c, step, &uses);
  double bytes = 0;
  for (int i = 0; i < count; i++)
    if (uses[i].access->tensor->rows == of_rows) bytes += (double)sizeof(float) * (double)uses[i].access->tensor->size;
  return bytes;
}

static void add_steps(Compilation *c, const StepList *list, const Range *range, bool of_rows, Work *work) {
  for (int i = 0; i < list->count; i++) {
    Step *step = &list->steps[i];
    if (step->kind == PLAN_ROUNDS) {
      Work round = {0};
      add_steps(c, step->rounds.body, range, of_rows, &round);
      work->products += (double)step->rounds.count * round.products;
      work->elementwise += (double)step->rounds.count * round.elementwise;
      work->bytes += (double)step->rounds.count * round.bytes;
      continue;
    }
    bool product = step->kind == PLAN_GEMM || step->kind == PLAN_CONVOLVE;
    *(product ? &work->products : &work->elementwise) += step_operations(step, range);
    work->bytes += step_bytes(c, step, of_rows);
  }
}

/* Rows of members as if every member were on the support: the most it may be. */
static void plan_work(const Plan *plan, Work *datum, Work *step) {
  for (int p = 0; p < plan->phase_count; p++) {
    const Phase *phase = &plan->phases[p];
    Work rows = {0};
    double times = phase->domain > 0 ? (double)plan->domains[phase->domain].members : 1;
    add_steps(plan->compilation, &phase->body, NULL, phase->kind == PHASE_ROWS,
              phase->kind == PHASE_ROWS ? &rows : step);
    datum->products += times * rows.products;
    datum->elementwise += times * rows.elementwise;
    datum->bytes += times * rows.bytes;
    for (int r = 0; r < phase->range_count; r++)
      add_steps(plan->compilation, &phase->ranges[r].body, &phase->ranges[r], true, datum);
  }
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

typedef struct Memory { /* bytes */
  double parameters, gradient, optimiser, data, kept, statistics, scratch, total;
} Memory;

static Memory memory_of(const Model *m, const Plan *plan, long batch) {
  const Signature *s = &m->signature;
  double number = sizeof(float), parameters = (double)parameter_offsets(m->compilation, s)[s->parameter_count], row = 0;
  bool adam = strcmp(m->trainings[0].optimizer, "adam") == 0;
  long tile = spm_tile_rows(batch), tiles = (batch + tile - 1) / tile;
  for (int i = 0; i < s->data_count; i++) row += (double)shape_size(&s->data[i].shape);
  Memory memory = {
      .parameters = number * parameters, .gradient = number * parameters, .data = number * row * (double)batch};
  memory.optimiser = number * parameters * (adam ? 2 : m->trainings[0].momentum != 0);
  memory.kept = number * (double)batch * (double)plan->kept_row;
  memory.statistics = number * (double)(plan->value_size + tiles * plan->partial_size);
  memory.scratch = number * (double)(plan->scratch_fixed + tile * plan->scratch_row);
  memory.total = memory.parameters + memory.gradient + memory.optimiser + memory.data + memory.kept +
                 memory.statistics + memory.scratch;
  return memory;
}

/* ---- words ----------------------------------------------------------------------------------------------------- */

/* "313,600" */
static const char *grouped(Compilation *c, double number) {
  char digits[32];
  Text text = {.compilation = c};
  int length = snprintf(digits, sizeof digits, "%.0f", number);
  for (int i = 0; i < length; i++) text_append(&text, "%s%c", i > 0 && (length - i) % 3 == 0 ? "," : "", digits[i]);
  return text.bytes;
}

static const char *byte_text(Compilation *c, double bytes) {
  static const char *const units[] = {"B", "kB", "MB", "GB"};
  int unit = 0;
  for (; bytes >= 1000 && unit < 3; unit++) bytes /= 1000;
  return arena_printf(c, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static const char *dims_of(Compilation *c, const Shape *shape) {
  Text text = {.compilation = c};
  for (int d = 0; d < shape->rank; d++) text_append(&text, "%s%s", d ? ", " : "[", dim_text(c, shape->dims[d]));
  text_append(&text, shape->rank ? "]" : "scalar");
  return text.bytes;
}

static const char *place_text(Compilation *c, Span span) {
  if (span.source <= 0 || span.source >= c->source_count) return "";
  int line, column;
  const Source *source = &c->sources[span.source];
  source_position(source, span.start, &line, &column);
  const char *slash = strrchr(source->path, '/');
  return arena_printf(c, "%s:%d", slash ? slash + 1 : source->path, line);
}

/* Spans over several lines on one. */
static const char *one_line(Compilation *c, Span span) {
  char *text = arena_printf(c, "%s", span_text(c, span)), *to = text;
  for (const char *from = text; *from; from++) {
    bool space = *from == ' ' || *from == '\n' || *from == '\t';
    if (!space || (to > text && to[-1] != ' ')) *to++ = space ? ' ' : *from;
  }
  *to = '\0';
  return text;
}

static const KlRecord *record_of(const Model *m, const char *term) {
  for (int i = 0; i < m->kl_record_count; i++) {
    const char *latent = m->kl_records[i].latent;
    if (!latent || strncmp(term, "kl(", 3) != 0) continue;
    size_t n = strlen(latent);
    if (strncmp(term + 3, latent, n) == 0 && (term[3 + n] == ')' || term[3 + n] == ',')) return &m->kl_records[i];
  }
  return NULL;
}

static const char *rule_place(Compilation *c, Span span) {
  return c->sources[span.source].library ? "of the library" : arena_printf(c, "at %s", place_text(c, span));
}

static const char *record_text(Compilation *c, const KlRecord *r) {
  Text text = {.compilation = c};
  text_append(&text, "%s", kl_rule_name(r->rule));
  const char *rule = r->rule == KL_RULE_CLOSED ? one_line(c, r->rule_span) : "", *pattern = strstr(rule, ") = ");
  if (r->rule == KL_RULE_CLOSED && r->how)
    text_append(&text, " term by term, by %s", r->how);
  else if (r->rule == KL_RULE_CLOSED)
    text_append(&text, ", %.*s %s", (int)(pattern ? pattern - rule + 1 : (long)strlen(rule)), rule,
                rule_place(c, r->rule_span));
  if (r->along_draw) text_append(&text, ", along the draw");
  if (r->rule == KL_RULE_SUM) text_append(&text, " over %d values", r->nodes);
  if (r->rule == KL_RULE_QUADRATURE) text_append(&text, ", %d nodes, %s", r->nodes, r->how);
  if (r->rule == KL_RULE_QUADRATURE && r->error >= 0) text_append(&text, ", error about %.0e nats", r->error);
  if (r->why) text_append(&text, r->forced ? ", %s" : ": %s", r->why);
  return text.bytes;
}

static bool all_are_points(const Model *m) {
  bool points = true;
  for (int i = 0; i < m->items.count; i++)
    if (is_latent(m, m->items.items[i])) points &= is_point(m, m->items.items[i]->name);
  return points;
}

static const char *draws_text(const Model *m, Compilation *c) {
  bool latents = false;
  for (int i = 0; i < m->items.count; i++) latents |= is_latent(m, m->items.items[i]);
  if (!latents) return "exact";
  if (all_are_points(m)) return "at one value of the latents a row";
  const char *methods = m->estimator_count > 0 ? ", by the methods below" : "";
  return m->samples == 1 ? arena_printf(c, "one draw of the latents a row%s", methods)
                         : arena_printf(c, "mean of %d draws of the latents a row%s", m->samples, methods);
}

/* Not terms that stand for themselves, such as an author's own sums. */
static const char *term_text(const Model *m, Compilation *c, const char *name) {
  const KlRecord *record = record_of(m, name);
  if (record) return record_text(c, record);
  if (strstr(name, "expect(")) return "with expectations in closed form, as listed below";
  return draws_text(m, c);
}

/* ---- for people ------------------------------------------------------------------------------------------------ */

typedef struct Row {
  const char *cells[4];
} Row;

/* Columns as wide as they must be; `right` marks those that stand on the right. */
static void print_rows(Text *out, const Row *rows, int count, unsigned right) {
  int widths[4] = {0};
  for (int i = 0; i < count; i++)
    for (int k = 0; k < 4 && rows[i].cells[k]; k++)
      if ((int)strlen(rows[i].cells[k]) > widths[k]) widths[k] = (int)strlen(rows[i].cells[k]);
  for (int i = 0; i < count; i++) {
    for (int k = 0; k < 4 && rows[i].cells[k]; k++) {
      bool last = k == 3 || !rows[i].cells[k + 1];
      text_append(out, "  %*s", right >> k & 1 ? widths[k] : last ? 0 : -widths[k], rows[i].cells[k]);
    }
    text_append(out, "\n");
  }
}

typedef struct Rows {
  Row *rows;
  int count;
} Rows;

static void add_row(Compilation *c, Rows *table, const char *a, const char *b, const char *d, const char *e) {
  table->rows = arena_grow(c, table->rows, table->count, sizeof *table->rows);
  table->rows[table->count++] = (Row){{a, b, d, e}};
}

static void print_objective(Text *out, const Model *m, const Graph *train) {
  Compilation *c = m->compilation;
  Rows table = {0};
  for (int i = 0; i < train->output_count; i++)
    if (train->outputs[i].role == OUTPUT_TERM)
      add_row(c, &table, train->outputs[i].name, term_text(m, c, train->outputs[i].name), NULL, NULL);
  const char *word = has_objective(m) ? "" : joint_by_default(m) ? " log_joint (default)" : " elbo (default)";
  text_append(out, "\nobjective%s, maximised, nats a datum\n", word);
  print_rows(out, table.rows, table.count, 0);
  Rows closed = {0};
  for (int i = 0; i < m->expectation_count; i++)
    add_row(c, &closed, one_line(c, m->expectations[i].span), arena_printf(c, "by %s", m->expectations[i].rules), NULL,
            NULL);
  if (closed.count) text_append(out, "\nexpectations in closed form\n");
  print_rows(out, closed.rows, closed.count, 0);
}

static const char *statement_text(const Model *m, ItemKind kind, Name name) {
  const Item *item = model_find(m, kind, name), *inference = model_inference(m, name);
  const char *word = kind == ITEM_PRIOR ? "prior" : "posterior";
  if (kind == ITEM_POSTERIOR && inference)
    return arena_printf(m->compilation, "infer by %s", one_line(m->compilation, inference->expr->span));
  if (!item || !item->expr) return arena_printf(m->compilation, "no %s", word);
  const char *by = item->by ? arena_printf(m->compilation, " by %s", one_line(m->compilation, item->by->span)) : "";
  return arena_printf(m->compilation, "%s %s %s%s", word, item->is_point ? "=" : "~",
                      one_line(m->compilation, item->expr->span), by);
}

static void print_variables(Text *out, const Model *m) {
  Compilation *c = m->compilation;
  Rows latents = {0}, data = {0}, methods = {0};
  for (int i = 0; i < m->items.count; i++) {
    const Item *item = m->items.items[i];
    if (!is_latent(m, item)) continue;
    const char *type = arena_printf(c, "%s : %s", item->name, one_line(c, item->type->span));
    add_row(c, &latents, type, statement_text(m, ITEM_PRIOR, item->name), statement_text(m, ITEM_POSTERIOR, item->name),
            NULL);
  }
  for (int i = 0; i < m->signature.data_count; i++)
    add_row(c, &data, m->signature.data[i].name, dims_of(c, &m->signature.data[i].shape),
            facts_text(c, &m->signature.data[i].facts), m->signature.data[i].missing_ok ? "may be missing" : NULL);
  if (latents.count) text_append(out, "\nlatents\n");
  print_rows(out, latents.rows, latents.count, 0);
  for (int i = 0; i < m->estimator_count; i++)
    add_row(c, &methods, m->estimators[i].latent, m->estimators[i].text, NULL, NULL);
  if (methods.count) text_append(out, "\nhow the gradient of an expectation is taken\n");
  print_rows(out, methods.rows, methods.count, 0);
  if (data.count) text_append(out, "\ndata, shape of a datum\n");
  print_rows(out, data.rows, data.count, 0);
  if (m->accepted_count) text_append(out, "\nsupports accepted but not proved\n");
  for (int i = 0; i < m->accepted_count; i++) {
    const struct Acceptance *a = &m->accepted[i];
    text_append(
        out,
        a->extended
            ? "  %s: the distribution's `%s` is %s, and `%s` may lie between: an expected log-probability, no density\n"
            : "  %s: `%s` must be %s; `%s` may be outside\n",
        place_text(c, a->span), a->formal, a->support, one_line(c, a->span));
  }
  for (int i = 0; i < m->library.count; i++) {
    const Item *rule = m->library.items[i];
    bool used = false;
    for (int k = 0; k < m->used_rule_count; k++) used = used || m->used_rules[k] == rule;
    if (!used && rule->kind == ITEM_RULE && !c->sources[rule->span.source].library &&
        strcmp(rule->pattern->name, "expect") == 0)
      text_append(out, "\nnot used: %s (%s)\n", one_line(c, rule->span), place_text(c, rule->span));
  }
}

static void print_parameters(Text *out, const Model *m) {
  Compilation *c = m->compilation;
  const Signature *s = &m->signature;
  Rows table = {0};
  double total = 0;
  for (int i = 0; i < s->parameter_count; i++) {
    const Parameter *p = &s->parameters[i];
    double size = (double)shape_size(&p->shape);
    total += size;
    const char *what = p->fixed ? "fixed" : p->projected ? "projected" : p->constrained ? "constrained" : NULL;
    add_row(c, &table, p->name, dims_of(c, &p->shape), grouped(c, size), what);
  }
  add_row(c, &table, "total", "", grouped(c, total), NULL);
  text_append(out, "\nparameters\n");
  print_rows(out, table.rows, table.count, 4);
}

static const char *phases_text(Compilation *c, const Plan *plan) {
  static const char *const names[] = {"step", "rows", "gradient"};
  Text text = {.compilation = c};
  for (int p = 0; p < plan->phase_count; p++) {
    text_append(&text, "%s%s", p ? ", " : "", names[plan->phases[p].kind]);
    if (plan->phases[p].range_count) text_append(&text, " (%d)", plan->phases[p].range_count);
  }
  return text.length ? text.bytes : "copies alone";
}

static void print_programs(Text *out, Model *m) {
  Rows table = {0};
  for (int program = 0; program < PROGRAM_COUNT; program++) {
    Plan *plan = model_plan(m, (ProgramKind)program);
    if (plan) add_row(m->compilation, &table, program_names[program], phases_text(m->compilation, plan), NULL, NULL);
  }
  text_append(out, "\nprograms and their phases\n");
  print_rows(out, table.rows, table.count, 0);
}

/* Values of which all rows must be there at once: the k largest of the batch. */
static void print_gathered(Text *out, const Model *m, const Plan *plan) {
  Compilation *c = m->compilation;
  Rows table = {0};
  for (int p = 0; p < plan->phase_count; p++)
    for (int i = 0; i < plan->phases[p].body.count; i++) {
      const Step *step = &plan->phases[p].body.steps[i];
      if (step->kind != PLAN_TOP || !step->top.search) continue;
      double bytes = (double)sizeof(float) * (double)step->top.x.tensor->size;
      add_row(c, &table, one_line(c, step->node->span), byte_text(c, bytes), "a datum", NULL);
    }
  if (table.count > 0)
    text_append(out, "\ngathered over the batch in training, before any row is told what is taken\n");
  print_rows(out, table.rows, table.count, 2);
}

static void print_cost(Text *out, const Model *m, const Plan *plan, long batch) {
  Compilation *c = m->compilation;
  Work datum = {0}, step = {0};
  plan_work(plan, &datum, &step);
  Memory memory = memory_of(m, plan, batch);
  Rows work = {0}, bytes = {0};
  add_row(c, &work, "matrix products", grouped(c, datum.products), "FLOP", NULL);
  add_row(c, &work, "elementwise", grouped(c, datum.elementwise), "FLOP", NULL);
  add_row(c, &work, "row values read and written", grouped(c, datum.bytes), "bytes", NULL);
  if (step.elementwise + step.products > 0)
    add_row(c, &work, "once a step besides", grouped(c, step.elementwise + step.products), "FLOP", NULL);
  print_gathered(out, m, plan);
  text_append(out, "\nwork of training, forward and backward, a datum\n");
  print_rows(out, work.rows, work.count, 2);
  const struct {
    const char *name;
    double size;
  } parts[] = {{"parameters", memory.parameters},         {"gradient", memory.gradient},
               {"optimiser", memory.optimiser},           {"data of a batch", memory.data},
               {"kept for the gradient", memory.kept},    {"statistics", memory.statistics},
               {"scratch of one thread", memory.scratch}, {"total", memory.total}};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    add_row(c, &bytes, parts[i].name, byte_text(c, parts[i].size), NULL, NULL);
  text_append(out, "\npeak memory of training, batch %ld, one thread\n", batch);
  print_rows(out, bytes.rows, bytes.count, 2);
}

static long batch_of(const Model *m, long wanted) {
  return wanted > 0 ? wanted : m->trainings[0].batch > 0 ? m->trainings[0].batch : 128;
}

bool explain(Text *out, Model *m, long batch) {
  Graph *train = model_graph(m, PROGRAM_TRAIN);
  Plan *plan = train ? model_plan(m, PROGRAM_TRAIN) : NULL;
  if (!plan) return false;
  text_append(out, "model %s\n", m->name);
  print_objective(out, m, train);
  print_variables(out, m);
  print_parameters(out, m);
  print_programs(out, m);
  print_cost(out, m, plan, batch_of(m, batch));
  return m->compilation->error_count == 0;
}

/* ---- for programs ---------------------------------------------------------------------------------------------- */

static void put_string(Text *out, const char *text) {
  text_append(out, "\"");
  for (const char *at = text ? text : ""; *at; at++) {
    if (*at == '"' || *at == '\\')
      text_append(out, "\\%c", *at);
    else if ((unsigned char)*at < ' ')
      text_append(out, "\\u%04x", (unsigned)*at);
    else
      text_append(out, "%c", *at);
  }
  text_append(out, "\"");
}

static void put_field(Text *out, const char *name, const char *value) {
  text_append(out, "\"%s\": ", name);
  put_string(out, value);
}

static void put_terms(Text *out, const Model *m, const Graph *train) {
  const char *between = "";
  text_append(out, "\"terms\": [");
  for (int i = 0; i < train->output_count; i++) {
    if (train->outputs[i].role != OUTPUT_TERM) continue;
    const KlRecord *r = record_of(m, train->outputs[i].name);
    text_append(out, "%s\n    {", between);
    put_field(out, "name", train->outputs[i].name);
    text_append(out, ", ");
    put_field(out, "rule", r ? kl_rule_name(r->rule) : "draws");
    text_append(out, ", ");
    put_field(out, "how", term_text(m, m->compilation, train->outputs[i].name));
    if (r && r->nodes) text_append(out, ", \"nodes\": %d", r->nodes);
    if (r && r->error >= 0 && isfinite(r->error)) text_append(out, ", \"error\": %.3g", r->error);
    text_append(out, "}");
    between = ",";
  }
  text_append(out, "],\n");
}

static void put_estimators(Text *out, const Model *m) {
  text_append(out, "  \"estimators\": [");
  for (int i = 0; i < m->estimator_count; i++) {
    text_append(out, "%s\n    {", i ? "," : "");
    put_field(out, "latent", m->estimators[i].latent);
    text_append(out, ", ");
    put_field(out, "how", m->estimators[i].text);
    text_append(out, "}");
  }
  text_append(out, "],\n");
}

bool explain_json(Text *out, Model *m, long batch) {
  Graph *train = model_graph(m, PROGRAM_TRAIN);
  Plan *plan = train ? model_plan(m, PROGRAM_TRAIN) : NULL;
  if (!plan) return false;
  const Signature *s = &m->signature;
  batch = batch_of(m, batch);
  Work datum = {0}, step = {0};
  plan_work(plan, &datum, &step);
  Memory memory = memory_of(m, plan, batch);
  double total = 0;
  text_append(out, "{");
  put_field(out, "model", m->name);
  text_append(out, ",\n  ");
  put_terms(out, m, train);
  put_estimators(out, m);
  text_append(out, "  \"parameters\": [");
  for (int i = 0; i < s->parameter_count; i++) {
    text_append(out, "%s\n    {", i ? "," : "");
    put_field(out, "name", s->parameters[i].name);
    text_append(out, ", ");
    put_field(out, "shape", dims_of(m->compilation, &s->parameters[i].shape));
    text_append(out, ", \"count\": %ld}", shape_size(&s->parameters[i].shape));
    total += (double)shape_size(&s->parameters[i].shape);
  }
  text_append(out, "],\n  \"parameter_count\": %.0f,\n  \"programs\": {", total);
  const char *between = "";
  for (int program = 0; program < PROGRAM_COUNT; program++) {
    Plan *one = model_plan(m, (ProgramKind)program);
    if (!one) continue;
    text_append(out, "%s", between);
    put_field(out, program_names[program], phases_text(m->compilation, one));
    between = ", ";
  }
  text_append(out, "},\n  \"datum\": {\"product_flop\": %.0f, \"elementwise_flop\": %.0f, \"bytes\": %.0f},\n",
              datum.products, datum.elementwise, datum.bytes);
  text_append(out,
              "  \"batch\": %ld,\n  \"memory\": {\"parameters\": %.0f, \"gradient\": %.0f, \"optimiser\": %.0f, "
              "\"data\": %.0f, \"kept\": %.0f, "
              "\"statistics\": %.0f, \"scratch\": %.0f, \"total\": %.0f}}\n",
              batch, memory.parameters, memory.gradient, memory.optimiser, memory.data, memory.kept, memory.statistics,
              memory.scratch, memory.total);
  return m->compilation->error_count == 0;
}
