/* Emit: plans -> the C text of one model. Strips (for libtcc) and loops (for gcc and clang) differ only in fused loops;
 * everything else is written here once. Requires placed plans of one signature; leaves C99 with the same bytes for the
 * same plans. The descriptor stands in emit_descriptor.c. */
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "emit_internal.h"

extern const char embedded_model_h[], embedded_vmath_h[], embedded_special_h[];

#define X(result, name, arguments) {#name, #result, #arguments},
const KernelText kernel_table[] = {
#include "../runtime/kernels.def"
    {NULL, NULL, NULL}};
#undef X

/* --- small pieces --- */

void put_line(Text *text, int indent, const char *format, ...) {
  static const char spaces[] = "                ";
  text_append(text, "%.*s", 2 * indent < (int)sizeof spaces ? 2 * indent : (int)sizeof spaces - 1, spaces);
  va_list arguments;
  va_start(arguments, format);
  text_vappend(text, format, arguments);
  va_end(arguments);
  text_append(text, "\n");
}

const char *kernel_name(Emitter *e, const char *name) {
  for (int i = 0; kernel_table[i].name != NULL; i++)
    if (strcmp(kernel_table[i].name, name) == 0) {
      e->kernels_used[i] = true;
      return arena_printf(e->compilation, "SPM_K(%s)", name);
    }
  return arena_printf(e->compilation, "no_kernel_%s", name); /* does not link: an internal error */
}

const char *number_text(Emitter *e, double value) {
  if (isnan(value)) return "(real)(0.0 / 0.0)";
  if (isinf(value)) return value > 0 ? "(real)(1.0 / 0.0)" : "(real)(-1.0 / 0.0)";
  const char *digits = shortest_number(e->compilation, value);
  bool whole = strspn(digits, "0123456789") == strlen(digits) && strlen(digits) < 10;
  if (whole) return digits;
  if (value < 0) return arena_printf(e->compilation, "(real)(%s)", digits);
  return arena_printf(e->compilation, "(real)%s", digits);
}

const char *number_address(Emitter *e, double value) {
  int found = -1;
  for (int i = 0; i < e->number_count && found < 0; i++)
    if (memcmp(&e->numbers[i], &value, sizeof value) == 0) found = i;
  if (found < 0) {
    e->numbers = arena_grow(e->compilation, e->numbers, e->number_count, sizeof *e->numbers);
    found = e->number_count++;
    e->numbers[found] = value;
  }
  return arena_printf(e->compilation, "&number_%d", found);
}

const char *extent_text(Emitter *e, Extent extent) {
  if (extent.kind == EXTENT_FIXED) return arena_printf(e->compilation, "%ld", extent.count);
  const char *variable = extent.kind != EXTENT_ROWS ? "count"
                         : e->rows_of > 0           ? arena_printf(e->compilation, "rows_%d", e->rows_of)
                                                    : "rows";
  return extent.count == 1 ? variable : arena_printf(e->compilation, "%s * %ld", variable, extent.count);
}

const char *address_text(Emitter *e, const Access *access, int loops, const char *moved) {
  Text text = {.compilation = e->compilation};
  text_append(&text, "%s", access->tensor->name);
  if (access->offset != 0) text_append(&text, " + %ld", access->offset);
  for (int d = 0; d < loops; d++) {
    if (access->strides[d] == 1) text_append(&text, " + i%d", d);
    if (access->strides[d] > 1) text_append(&text, " + i%d * %ld", d, access->strides[d]);
  }
  if (moved[0] != '\0') text_append(&text, " + %s", moved);
  return text.bytes;
}

const char *spec_line(Emitter *e, const Node *node) {
  Compilation *c = e->compilation;
  if (node->span.source <= 0 || node->span.source >= c->source_count) return NULL;
  const Source *source = &c->sources[node->span.source];
  int number, column;
  source_position(source, node->span.start, &number, &column);
  const char *slash = strrchr(source->path, '/'), *file = slash != NULL ? slash + 1 : source->path;
  int from = node->span.start;
  while (from > 0 && source->text[from - 1] != '\n') from--;
  while (source->text[from] == ' ' || source->text[from] == '\t') from++;
  int length = (int)strcspn(source->text + from, "\n#");
  if (length > 100) length = 100;
  char *text = arena_printf(c, "%s:%d: %.*s", file, number, length, source->text + from);
  for (size_t last = strlen(text); last > 0 && text[last - 1] == ' ';) text[--last] = '\0';
  for (char *at = text; *at != '\0'; at++)
    if ((at[0] == '*' && at[1] == '/') || (at[0] == '/' && at[1] == '*') || (unsigned char)*at < ' ') *at = ' ';
  char *end = text; /* the author's columns are no use here */
  for (const char *at = text; *at != '\0'; at++)
    if (at[0] != ' ' || at[1] != ' ') *end++ = *at;
  *end = '\0';
  return text;
}

void put_comment(Emitter *e, Text *text, int indent, const Node *node) {
  const char *words = spec_line(e, node);
  if (words == NULL || (e->last_comment != NULL && strcmp(words, e->last_comment) == 0)) return;
  put_line(text, indent, "/* %s */", words);
  e->last_comment = words;
}

/* --- steps that both renderings write alike --- */

static void open_loops(Emitter *e, Text *text, int *indent, const Extent *loops, int count) {
  for (int l = 0; l < count; l++)
    put_line(text, (*indent)++, "for (long i%d = 0; i%d < %s; i%d++)", l, l, extent_text(e, loops[l]), l);
}

static const char *part_moved(Emitter *e, long stride) {
  if (e->range == NULL || e->range->units == 1 || stride == 0) return "";
  return stride == 1 ? "from" : arena_printf(e->compilation, "from * %ld", stride);
}

static void emit_gemm(Emitter *e, Text *text, const Gemm *g) {
  int indent = 1;
  if (g->zeroes && !g->adds) {
    Extent size = g->c_size;
    if (e->range != NULL) size = (Extent){.count = size.count / e->range->leading, .kind = EXTENT_PART};
    put_line(text, 1, "%s(%s, %s, %s);", kernel_name(e, "fill"), extent_text(e, size), g->c.tensor->name,
             number_address(e, 0));
  }
  open_loops(e, text, &indent, g->loops, g->loop_count);
  put_line(text, indent, "%s(%d, %d, %s, %s, %s, 1, %s, %ld, %s, %ld, %d, %s, %ld);", kernel_name(e, "gemm"),
           g->transpose_a, g->transpose_b, extent_text(e, g->m), extent_text(e, g->n), extent_text(e, g->k),
           address_text(e, &g->a, g->loop_count, part_moved(e, g->part_a)), g->lda,
           address_text(e, &g->b, g->loop_count, part_moved(e, g->part_b)), g->ldb, g->adds || g->zeroes,
           address_text(e, &g->c, g->loop_count, ""), g->ldc);
}

static void emit_along(Emitter *e, Text *text, const Along *a) {
  const char *outer = extent_text(e, a->outer), *extent = extent_text(e, a->extent);
  const char *to = a->to.tensor->name, *from = a->from.tensor->name;
  if (a->op == IR_lower_part) {
    long n = a->extent.count;
    put_line(text, 1, "for (long i0 = 0; i0 < %s; i0++)", outer);
    put_line(text, 2, "for (long i1 = 0; i1 < %ld; i1++) {", n);
    put_line(text, 3, "%s(i1 + 1, %s + (i0 * %ld + i1) * %ld, %s + (i0 * %ld + i1) * %ld);", kernel_name(e, "copy"), to,
             n, n, from, n, n);
    put_line(text, 3, "%s(%ld - i1, %s + (i0 * %ld + i1) * %ld + i1 + 1, %s);", kernel_name(e, "fill"), n - 1, to, n, n,
             number_address(e, 0));
    put_line(text, 2, "}");
    return;
  }
  if (a->op == IR_cumsum) {
    put_line(text, 1, "%s(%s, %s, %ld, %d, %d, %s, %s);", kernel_name(e, "cumsum"), outer, extent, a->inner, a->reverse,
             a->exclusive, to, from);
    return;
  }
  if (a->op == IR_sum && a->inner == 1 && extent_is_one(a->outer)) {
    put_line(text, 1, "%s[0] = %s(%s, %s);", to, kernel_name(e, "sum"), extent, from);
    return;
  }
  const char *name = a->op == IR_sum ? "reduce_sum" : a->op == IR_max_of ? "reduce_max" : "first_max_mask";
  put_line(text, 1, "%s(%s, %s, %ld, %s, %s);", kernel_name(e, name), outer, extent, a->inner, to, from);
}

static void emit_solve(Emitter *e, Text *text, const Solve *s) {
  int indent = 1;
  open_loops(e, text, &indent, s->loops, s->loop_count);
  put_line(text, indent, "%s(%ld, 1, %d, %s, %s, %s);", kernel_name(e, "solve_triangular"), s->n, s->transposed,
           address_text(e, &s->to, s->loop_count, ""), address_text(e, &s->l, s->loop_count, ""),
           address_text(e, &s->b, s->loop_count, ""));
}

static void emit_convolve(Emitter *e, Text *text, const Convolve *v) {
  int indent = 2;
  Text sizes = {.compilation = e->compilation};
  for (int i = 0; i < SPM_CONVOLVE_SIZES; i++) text_append(&sizes, i == 0 ? "%ld" : ", %ld", v->sizes[i]);
  put_line(text, 1, "{");
  put_line(text, 2, "static const long sizes[] = {%s};", sizes.bytes);
  open_loops(e, text, &indent, v->loops, v->loop_count);
  put_line(text, indent, "%s(sizes, %s, %s, %s, %s, %s);", kernel_name(e, op_table[v->op].name),
           extent_text(e, v->images), address_text(e, &v->to, v->loop_count, ""),
           address_text(e, &v->a, v->loop_count, ""), address_text(e, &v->b, v->loop_count, ""), v->work.tensor->name);
  put_line(text, 1, "}");
}

static void emit_low_rank(Emitter *e, Text *text, const LowRankStep *v) {
  int indent = 1;
  Text operands = {.compilation = e->compilation};
  open_loops(e, text, &indent, v->loops, v->loop_count);
  for (int k = 0; k < v->operand_count; k++)
    text_append(&operands, ", %s", address_text(e, &v->operands[k], v->loop_count, ""));
  put_line(text, indent, "%s(%s, %ld, %ld, %ld, %s, %s%s);", kernel_name(e, op_table[v->op].name),
           extent_text(e, v->lines), v->of.rank, v->of.length, v->of.first, address_text(e, &v->to, v->loop_count, ""),
           v->work.tensor->name, operands.bytes);
}

static void emit_line(Emitter *e, Text *text, const Line *l) {
  int indent = 1;
  open_loops(e, text, &indent, l->loops, l->loop_count);
  Text operands = {.compilation = e->compilation};
  for (int k = 0; k < l->operand_count; k++)
    text_append(&operands, ", %s", address_text(e, &l->operands[k], l->loop_count, ""));
  const char *lengths = arena_printf(e->compilation, "%ld", l->n), *room = "";
  if (l->room.tensor != NULL) {
    lengths = arena_printf(e->compilation, "%ld, %ld", l->n, l->m);
    room = arena_printf(e->compilation, ", %s", l->room.tensor->name);
  }
  put_line(text, indent, "%s(%s, %s%s%s);", kernel_name(e, op_table[l->op].name), lengths,
           address_text(e, &l->to, l->loop_count, ""), room, operands.bytes);
}

static void emit_top(Emitter *e, Text *text, const Top *t) {
  const char *kernel = kernel_name(e, t->search ? "last_taken" : "mark_taken");
  put_line(text, 1, "%s(%s, %ld, %ld, %s, %s, %s);", kernel, t->search ? "call->rows" : "rows, first", t->groups, t->n,
           t->to.tensor->name, t->x.tensor->name, t->other.tensor->name);
}

/* Row by row: that of the datum, with members drawing as further samples do. */
static void emit_draw_of_members(Emitter *e, Text *text, const Draw *draw, const Noise *noise, const char *kernel,
                                 const char *inner) {
  int samples = noise->axes & AXIS_SAMPLE ? e->plan->samples : 1, place = 0;
  long size = shape_size(&noise->shape);
  Text member = {.compilation = e->compilation};
  text_append(&member, "i1");
  for (int v = 0; v < MAX_SUPPORTS; v++)
    if (noise->axes & (unsigned)AXIS_SUPPORT << v) {
      const char *before = arena_printf(e->compilation, "%s", member.bytes);
      member = (Text){.compilation = e->compilation};
      text_append(&member, "(%s) * %ld + call->members[%d * call->capacity + first + i0]", before,
                  e->plan->support_extents[v], place++);
    }
  put_line(text, 1, "for (long i0 = 0; i0 < rows; i0++)");
  put_line(text, 2, "for (long i1 = 0; i1 < %d; i1++)", samples);
  put_line(text, 3,
           "%s, call->seed, %u, call->step, call->first_row + call->datum[first + i0], 1, (unsigned)(%s), %s, "
           "%ld, %s + (i0 * %d + i1) * %ld, %ld);",
           kernel, noise->stream, member.bytes, inner, size, draw->to.tensor->name, samples, size, size);
}

/* The row of another domain that belongs to row `row` of `call`'s. */
static const char *link_text(Emitter *e, const char *call, int domain, const char *row) {
  if (domain == 0) return arena_printf(e->compilation, "%s->datum[%s]", call, row);
  return arena_printf(e->compilation, "%s->links[%d * %s->capacity + %s]", call, domain, call, row);
}

/* " + call->members[...] * 12": where the members of a row lie on the other side. */
static const char *members_text(Emitter *e, const Members *m, const char *call, const char *row) {
  Text text = {.compilation = e->compilation};
  text_append(&text, "%s", "");
  for (int i = 0; i < m->member_count; i++)
    text_append(&text, " + %s->members[%d * %s->capacity + %s] * %ld", call, m->member[i].place, call, row,
                m->member[i].stride);
  return text.bytes ? text.bytes : "";
}

static void emit_gather(Emitter *e, Text *text, const Members *m) {
  const char *from = m->from.tensor->name, *row = "", *members = members_text(e, m, "call", "(first + i0)");
  if (m->domain >= 0)
    row = arena_printf(e->compilation, " + (long)%s * %ld", link_text(e, "call", m->domain, "first + i0"), m->row);
  put_line(text, 1, "for (long i0 = 0; i0 < rows; i0++)");
  if (m->repeats > 1) put_line(text, 2, "for (long i1 = 0; i1 < %ld; i1++)", m->repeats);
  const char *repeat_to = m->repeats > 1 ? arena_printf(e->compilation, " + i1 * %ld", m->to_repeat) : "";
  const char *repeat_from = m->repeats > 1 ? arena_printf(e->compilation, " + i1 * %ld", m->from_repeat) : "";
  put_line(text, 2, "%s(%ld, %s + i0 * %ld%s, %s%s%s%s);", kernel_name(e, "copy"), m->size, m->to.tensor->name,
           m->size * m->repeats, repeat_to, from, row, members, repeat_from);
}

/* Adds the rows of a larger domain up in the rows of this phase, or the rows of this tile in its partial. */
static void emit_collect(Emitter *e, Text *text, const Members *m, int domain) {
  bool partial = m->domain < 0;
  const char *call = partial ? "call" : "larger", *row = partial ? "(first + i0)" : "i0", *to_row = "";
  const char *to = m->to.tensor->name, *from = m->from.tensor->name;
  put_line(text, 1, "%s(%s, %s, %s);", kernel_name(e, "fill"),
           partial ? arena_printf(e->compilation, "%ld", m->row) : arena_printf(e->compilation, "rows * %ld", m->row),
           to, number_address(e, 0));
  if (partial) {
    put_line(text, 1, "for (long i0 = 0; i0 < rows; i0++) {");
  } else {
    const char *begin = domain == 0 ? "first" : "call->datum[first]";
    const char *end = domain == 0 ? "first + rows" : "call->datum[first + rows - 1] + 1";
    put_line(text, 1, "const struct spm_call *larger = call->domains + %d;", m->domain);
    put_line(text, 1, "for (long i0 = larger->first[%s], end = larger->first[%s]; i0 < end; i0++) {", begin, end);
    put_line(text, 2, "const long to = %s - first;", link_text(e, "larger", domain, "i0"));
    if (domain != 0) put_line(text, 2, "if (to < 0 || to >= rows) continue;");
    to_row = arena_printf(e->compilation, " + to * %ld", m->row);
  }
  const char *members = members_text(e, m, call, row);
  for (long r = 0; r < m->repeats; r++) {
    const char *at = arena_printf(e->compilation, "%s%s%s + %ld", to, to_row, members, r * m->to_repeat);
    put_line(text, 2, "%s(%ld, %s, %s + i0 * %ld + %ld);", kernel_name(e, "accumulate_v"), m->size, at, from,
             m->size * m->repeats, r * m->from_repeat);
  }
  put_line(text, 1, "}");
}

static void emit_draw(Emitter *e, Text *text, const Draw *draw) {
  const Tensor *to = draw->to.tensor;
  if (draw->noise < 0) {
    put_line(text, 1, "for (long i0 = 0; i0 < rows; i0++) %s[i0] = (real)(first + i0);", to->name);
    return;
  }
  const Noise *noise = &e->plan->signature->noises[draw->noise];
  const char *name = arena_printf(e->compilation, "%s(%s", kernel_name(e, "noise"),
                                  noise->kind == NOISE_NORMAL ? "SPM_NORMAL" : "SPM_UNIFORM");
  bool rows = (noise->axes & AXIS_DATUM) != 0;
  int samples = noise->axes & AXIS_SAMPLE ? e->plan->samples : 1;
  long size = shape_size(&noise->shape);
  const char *where = rows ? "call->first_row + first, rows" : "0, 1";
  const char *inner = draw->inner.tensor == NULL
                          ? arena_printf(e->compilation, "%d", (int)draw->inner.number)
                          : arena_printf(e->compilation, "(unsigned)(int)*(%s)", address_text(e, &draw->inner, 0, ""));
  if (noise->axes & AXES_SUPPORT) {
    emit_draw_of_members(e, text, draw, noise, name, inner);
    return;
  }
  if (samples == 1) {
    put_line(text, 1, "%s, call->seed, %u, call->step, %s, 0, %s, %ld, %s, %ld);", name, noise->stream, where, inner,
             size, to->name, size);
    return;
  }
  put_line(text, 1, "for (int i0 = 0; i0 < %d; i0++)", samples);
  put_line(text, 2, "%s, call->seed, %u, call->step, %s, (unsigned)i0, %s, %ld, %s + i0 * %ld, %ld);", name,
           noise->stream, where, inner, size, to->name, size, samples * size);
}

/* Products, draws and the like are the same in both renderings. */
static void emit_other(Emitter *e, Text *text, const Step *step) {
  switch (step->kind) {
  case PLAN_GEMM: emit_gemm(e, text, &step->gemm); return;
  case PLAN_ALONG: emit_along(e, text, &step->along); return;
  case PLAN_SOLVE: emit_solve(e, text, &step->solve); return;
  case PLAN_CONVOLVE: emit_convolve(e, text, &step->convolve); return;
  case PLAN_LOW_RANK: emit_low_rank(e, text, &step->low_rank); return;
  case PLAN_LINE: emit_line(e, text, &step->line); return;
  case PLAN_TOP: emit_top(e, text, &step->top); return;
  case PLAN_DRAW: emit_draw(e, text, &step->draw); return;
  case PLAN_CLEAR:
    put_line(text, 1, "%s(%s, %s, %s);", kernel_name(e, "fill"), extent_text(e, step->clear.size),
             step->clear.to.tensor->name, number_address(e, 0));
    return;
  case PLAN_GATHER: emit_gather(e, text, &step->members); return;
  case PLAN_COLLECT: {
    Text inside = {.compilation = e->compilation};
    emit_collect(e, &inside, &step->members, e->phase->domain);
    put_line(text, 1, "{");
    text_indent(text, inside.bytes, 2);
    put_line(text, 1, "}");
    return;
  }
  case PLAN_ROUNDS:
  case PLAN_LOOP: return; /* not here */
  }
}

/* --- functions --- */

const char *table_name(Emitter *e, const Node *node) {
  long size = shape_size(&node->shape);
  size_t bytes = sizeof(double) * (size_t)size;
  for (int i = 0; i < e->table_count; i++)
    if (shape_size(&e->tables[i]->shape) == size && memcmp(e->tables[i]->table, node->table, bytes) == 0)
      return arena_printf(e->compilation, "table_values_%d", i);
  e->tables = arena_grow(e->compilation, e->tables, e->table_count, sizeof *e->tables);
  e->tables[e->table_count] = node;
  return arena_printf(e->compilation, "table_values_%d", e->table_count++);
}

static void emit_tables(Emitter *e, Text *text) {
  for (int i = 0; i < e->table_count; i++) {
    long size = shape_size(&e->tables[i]->shape);
    put_line(text, 0, "\nstatic const real table_values_%d[%ld] = {", i, size);
    for (long k = 0; k < size; k += 6) {
      Text line = {.compilation = e->compilation};
      for (long j = k; j < size && j < k + 6; j++)
        text_append(&line, "%s%s,", j > k ? " " : "", number_text(e, e->tables[i]->table[j]));
      put_line(text, 1, "%s", line.bytes);
    }
    put_line(text, 0, "};");
  }
}

/* Loops within loops have variables of their own. */
static void emit_rounds(Emitter *e, Text *text, const Rounds *rounds) {
  const char *variable = arena_printf(e->compilation, "round%d", e->round_depth++);
  Text inside = {.compilation = e->compilation};
  put_line(text, 1, "for (int %s = 0; %s < %ld; %s++) {", variable, variable, rounds->count, variable);
  if (rounds->number.tensor != NULL) put_line(&inside, 1, "*%s = (real)%s;", rounds->number.tensor->name, variable);
  emit_steps(e, &inside, rounds->body);
  text_indent(text, inside.bytes, 2);
  put_line(text, 1, "}");
  e->round_depth--;
}

void emit_steps(Emitter *e, Text *text, const StepList *list) {
  for (int i = 0; i < list->count; i++) {
    const Step *step = &list->steps[i];
    e->rows_of = e->range != NULL ? step->domain : 0;
    bool in_function = step->kind == PLAN_LOOP && e->rendering == RENDER_LOOPS; /* which has the comment */
    if (!in_function) put_comment(e, text, 1, step->node);
    if (step->kind == PLAN_ROUNDS)
      emit_rounds(e, text, &step->rounds);
    else if (step->kind != PLAN_LOOP)
      emit_other(e, text, step);
    else if (e->rendering == RENDER_STRIPS)
      emit_loop_strips(e, text, step);
    else
      emit_loop_plain(e, text, step);
  }
}

static void emit_plan(Emitter *e, const Plan *plan) {
  e->plan = plan;
  text_append(&e->body, "\n/* ---- program %s ---- */\n", plan->name);
  for (int p = 0; p < plan->phase_count; p++) emit_phase(e, p);
}

/* --- the whole text --- */

static void emit_kernels(Emitter *e, Text *text) {
  text_append(text,
              "\n#ifndef SPM_K /* the name of a kernel for this precision */\n#ifdef SPM_DOUBLE\n"
              "#define SPM_K(name) spm_##name##_d\n#else\n#define SPM_K(name) spm_##name##_f\n#endif\n#endif\n\n");
  for (int i = 0; kernel_table[i].name != NULL; i++)
    if (e->kernels_used[i])
      text_append(text, "%s SPM_K(%s)%s;\n", kernel_table[i].result, kernel_table[i].name, kernel_table[i].arguments);
}

/* Everything is rendered once to see which loops are alike. */
static struct LoopForms *note_loops(const Emitter *e, Plan *const *plans, int plan_count) {
  Emitter first = *e;
  first.forms = loop_forms_create(e->compilation);
  first.noting = true;
  for (int p = 0; p < plan_count; p++) emit_plan(&first, plans[p]);
  return first.forms;
}

bool has_maxima(Plan *const *plans, int count) {
  for (int p = 0; p < count; p++)
    for (int i = 0; i < plans[p]->phase_count; i++)
      for (int k = 0; k < plans[p]->phases[i].statistic_count; k++)
        if (plans[p]->phases[i].statistics[k].maximum) return true;
  return false;
}

/* A value that another one takes the place of is called like that one, so that a place has one name; unless the spec
 * has named it. */
static void name_places(const Plan *plan) {
  for (int i = plan->tensor_count - 1; i >= 0; i--) {
    Tensor *before = plan->tensors[i]->in_place_of;
    if (!before || (before->node && before->node->name)) continue;
    before->name = plan->tensors[i]->name;
    before->called_like = plan->tensors[i];
  }
}

static void emit_all(Emitter *e, const Signature *signature, Plan *const *plans, int plan_count,
                     const Training *trainings, int training_count) {
  e->body = (Text){.compilation = e->compilation};
  e->maxima = e->exported || has_maxima(plans, plan_count);
  e->kernels_used = arena_array(e->compilation, bool, (int)(sizeof kernel_table / sizeof *kernel_table));
  for (int p = 0; p < plan_count && e->rendering == RENDER_LOOPS; p++) name_places(plans[p]);
  e->forms = e->rendering == RENDER_LOOPS ? note_loops(e, plans, plan_count) : NULL;
  for (int p = 0; p < plan_count; p++) emit_plan(e, plans[p]);
  emit_signature(e, signature);
  for (int p = 0; p < plan_count; p++) emit_program(e, plans[p]);
  emit_model(e, signature, plans, plan_count, trainings, training_count);
}

void emit(Text *text, Compilation *c, const char *model_name, const Signature *signature, Plan *const *plans,
          int plan_count, const Training *trainings, int training_count, Rendering rendering) {
  Emitter all = {.compilation = c, .model = model_name, .exported = true, .rendering = rendering}, *e = &all;
  emit_all(e, signature, plans, plan_count, trainings, training_count);
  text_append(text,
              "/* Model %s, written by a compiler. What follows is the contract with whatever runs it, %s,\n"
              " * a function for each phase of each program, and at the end the model's description. */\n",
              model_name, rendering == RENDER_STRIPS ? "the kernels it calls" : "mathematics, the kernels it calls");
  text_append(text, "%s", embedded_model_h);
  if (e->vmath_used) text_append(text, "\n%s", embedded_vmath_h);
  if (e->special_used) text_append(text, "\n%s", embedded_special_h);
  emit_kernels(e, text);
  emit_tables(e, text);
  text_append(text, "%s", e->body.bytes);
}

void emit_model_body(Text *text, Compilation *c, const char *model_name, bool exported, bool products,
                     const Signature *signature, Plan *const *plans, int plan_count, const Training *trainings,
                     int training_count) {
  Emitter e = {
      .compilation = c, .model = model_name, .exported = exported, .products = products, .rendering = RENDER_LOOPS};
  emit_all(&e, signature, plans, plan_count, trainings, training_count);
  emit_tables(&e, text);
  text_append(text, "%s", e.body.bytes);
}
