/* Loops: a fused loop -> one plain loop nest in a function of its own, which writes through `restrict` parameters:
 * gcc and clang vectorise it. What is summed along the innermost dim goes through a block of terms and the sum kernel,
 * so that its 16 lanes are the same in both renderings. Requires a finished loop; leaves the function before the
 * phase's, and a call.
 */
#include <ctype.h>
#include <string.h>

#include "emit_internal.h"

#define X(name, arity, expression) [IR_##name] = #expression,
static const char *const expressions[OP_COUNT] = {
#include "../runtime/elementwise.def"
};
#undef X

typedef struct Nest {
  Emitter *e;
  Text *out;
  const Loop *loop;
  const char **names;        /* of each instruction's value, or its text where it has only one use */
  int *uses;                 /* of each instruction */
  int *reads_written;        /* does its text, put into a store, read what a store before it may have changed? */
  const Tensor **parameters; /* distinct places */
  bool *written;
  bool *by_value; /* parameters: a number, not where it is */
  int parameter_count;
  int indent, outer;
  const char *at; /* the innermost index, "" if there is no loop */
  bool blocks;    /* the innermost loop goes by blocks, because of sums, */
  bool one_block; /* ... of which there is one */
} Nest;

/* --- parameters --- */

static bool same_place(const Tensor *a, const Tensor *b) {
  return a == b || (a->storage == b->storage && a->offset == b->offset && a->index == b->index && a->rows == b->rows);
}

/* Two tensors in one place are one parameter, named after the one that is written. */
static int parameter_of(Nest *nest, const Tensor *tensor, bool written) {
  for (int i = 0; i < nest->parameter_count; i++)
    if (same_place(nest->parameters[i], tensor)) {
      if (written) nest->parameters[i] = tensor;
      nest->written[i] = nest->written[i] || written;
      return i;
    }
  nest->parameters[nest->parameter_count] = tensor;
  nest->written[nest->parameter_count] = written;
  return nest->parameter_count++;
}

static void find_parameters(Nest *nest) {
  const Loop *loop = nest->loop;
  int most = loop->instruction_count + loop->store_count;
  nest->parameters = (const Tensor **)arena_array(nest->e->compilation, Tensor *, most);
  nest->written = arena_array(nest->e->compilation, bool, most);
  for (int i = 0; i < loop->instruction_count; i++)
    if (loop->instructions[i].op == OP_COUNT && loop->instructions[i].load.tensor != NULL)
      parameter_of(nest, loop->instructions[i].load.tensor, false);
  for (int i = 0; i < loop->store_count; i++) parameter_of(nest, loop->stores[i].to.tensor, true);
  nest->by_value = arena_array(nest->e->compilation, bool, most);
  for (int i = 0; loop->dim_count > 0 && i < nest->parameter_count; i++)
    nest->by_value[i] = !nest->written[i] && !nest->parameters[i]->rows && nest->parameters[i]->size == 1;
}

/* --- expressions --- */

static long inner_stride(const Nest *nest, const Access *access) {
  return nest->outer < nest->loop->dim_count ? access->strides[nest->outer] : 0;
}

/* "x[i0 * 784 + i]" */
static const char *element(Nest *nest, const Access *access) {
  Text text = {.compilation = nest->e->compilation};
  const char *between = "";
  const int parameter = parameter_of(nest, access->tensor, false);
  if (nest->by_value[parameter]) return nest->parameters[parameter]->name;
  text_append(&text, "%s[", nest->parameters[parameter]->name);
  if (access->offset != 0) text_append(&text, "%ld", access->offset), between = " + ";
  for (int d = 0; d < nest->loop->dim_count; d++) {
    if (access->strides[d] == 0) continue;
    const char *index = d < nest->outer ? arena_printf(nest->e->compilation, "i%d", d) : nest->at;
    if (access->strides[d] == 1)
      text_append(&text, "%s%s", between, index);
    else
      text_append(&text, "%s%s * %ld", between, index, access->strides[d]);
    between = " + ";
  }
  text_append(&text, "%s]", between[0] == '\0' ? "0" : "");
  return text.bytes;
}

/* A whole argument of a call needs no parentheses of its own. */
static void put_operand(Text *text, const char *operand, char after) {
  size_t length = strlen(operand);
  const char *end = text->bytes + text->length;
  bool argument =
      text->length > 1 && (after == ')' || after == ',') && (end[-1] == '(' || (end[-1] == ' ' && end[-2] == ','));
  if (argument && operand[0] == '(' && strncmp(operand, "(real)", 6) != 0)
    text_append(text, "%.*s", (int)length - 2, operand + 1);
  else
    text_append(text, "%s", operand);
}

/* The table's expression with operands in place of a, b, c. */
static const char *expression(Nest *nest, const Instruction *instruction) {
  Text text = {.compilation = nest->e->compilation};
  const char *at = expressions[instruction->op];
  while (*at != '\0') {
    size_t word = 0;
    while (isalnum((unsigned char)at[word]) || at[word] == '_') word++;
    if (word == 0) {
      text_append(&text, "%c", *at++);
      continue;
    }
    if (word == 1 && *at >= 'a' && *at <= 'c')
      put_operand(&text, nest->names[instruction->operands[*at - 'a']], at[1]);
    else
      text_append(&text, "%.*s", (int)word, at);
    if (strncmp(at, "vm_", 3) == 0 || strncmp(at, "sp_", 3) == 0) nest->e->vmath_used = true;
    if (strncmp(at, "sp_", 3) == 0) nest->e->special_used = true;
    at += word;
  }
  return text.bytes;
}

static const char *value_name(Nest *nest, int number) {
  const Instruction *instruction = &nest->loop->instructions[number];
  const char *role = instruction->op == OP_COUNT ? instruction->load.tensor->name : op_table[instruction->op].name;
  if (instruction->op != OP_COUNT && instruction->node != NULL && instruction->node->name != NULL)
    role = instruction->node->name;
  char *name = arena_printf(nest->e->compilation, "%s_%d_", role, number);
  for (char *at = name; *at != '\0'; at++)
    if (!isalnum((unsigned char)*at)) *at = '_';
  if (!isalpha((unsigned char)name[0])) name = arena_printf(nest->e->compilation, "v%s", name);
  return name;
}

static void count_uses(Nest *nest) {
  const Loop *loop = nest->loop;
  nest->uses = arena_array(nest->e->compilation, int, loop->instruction_count);
  nest->reads_written = arena_array(nest->e->compilation, int, loop->instruction_count);
  for (int i = 0; i < loop->instruction_count; i++)
    for (int k = 0; loop->instructions[i].op != OP_COUNT && k < op_table[loop->instructions[i].op].operands; k++) {
      const int operand = loop->instructions[i].operands[k];
      /* Twice: what is the same all along is not to be computed all along. */
      nest->uses[operand] += loop->instructions[operand].invariant == loop->instructions[i].invariant ? 1 : 2;
    }
  for (int i = 0; i < loop->store_count; i++) nest->uses[loop->stores[i].value]++;
}

/* The store of this value, or -1. */
static int store_of(const Nest *nest, int number) {
  for (int i = 0; i < nest->loop->store_count; i++)
    if (nest->loop->stores[i].value == number) return i;
  return -1;
}

/* May the value's text stand where it is used, without a name? Named values of the spec keep their names. */
static bool goes_inline(const Nest *nest, int number, const char *text) {
  const Instruction *instruction = &nest->loop->instructions[number];
  bool named = instruction->op != OP_COUNT && instruction->node != NULL && instruction->node->name != NULL;
  const int store = store_of(nest, number);
  if (nest->uses[number] != 1 || strlen(text) > (store >= 0 ? 100 : 84)) return false;
  if (store >= 0) return store == 0 || !nest->reads_written[number]; /* nothing is written before the first store */
  return !named;
}

static void emit_value(Nest *nest, int number) {
  Emitter *e = nest->e;
  const Instruction *instruction = &nest->loop->instructions[number];
  const bool load = instruction->op == OP_COUNT;
  if (load && instruction->load.tensor == NULL) {
    const char *digits = number_text(e, instruction->load.number);
    nest->names[number] = arena_printf(e->compilation, digits[0] == '(' ? "(%s)" : "(real)%s", digits);
    return;
  }
  if (load)
    nest->reads_written[number] = nest->written[parameter_of(nest, instruction->load.tensor, false)];
  else
    for (int k = 0; k < op_table[instruction->op].operands; k++)
      if (nest->reads_written[instruction->operands[k]] == 1) nest->reads_written[number] = 1;
  const char *text = load ? element(nest, &instruction->load) : expression(nest, instruction);
  if (load && nest->by_value[parameter_of(nest, instruction->load.tensor, false)]) {
    nest->names[number] = text;
    return;
  }
  if (goes_inline(nest, number, text)) {
    bool whole = load || strncmp(expressions[instruction->op], "vm_", 3) == 0 || store_of(nest, number) >= 0;
    nest->names[number] = whole ? text : arena_printf(e->compilation, "(%s)", text);
    return;
  }
  nest->reads_written[number] = 0; /* read before any store */
  nest->names[number] = value_name(nest, number);
  put_line(nest->out, nest->indent, "const real %s = %s;", nest->names[number], text);
}

/* --- stores --- */

static bool goes_by_blocks(const Nest *nest, const Store *store) {
  return nest->blocks && store->kind != STORE_SET && inner_stride(nest, &store->to) == 0;
}

/* Is the one block all there is to the sum, so that it need not begin with anything? */
static bool is_whole(const Nest *nest, const Store *store) {
  if (!nest->one_block || !goes_by_blocks(nest, store)) return false;
  for (int d = 0; d < nest->outer; d++)
    if (store->to.strides[d] == 0) return false;
  return true;
}

static void emit_store(Nest *nest, int number) {
  Emitter *e = nest->e;
  const Store *store = &nest->loop->stores[number];
  const char *value = nest->names[store->value];
  if (goes_by_blocks(nest, store)) {
    put_line(nest->out, nest->indent, "term_%d[%s] = %s;", number, nest->one_block ? "i" : "i - block", value);
    return;
  }
  const char *to = element(nest, &store->to);
  switch (store->kind) {
  case STORE_SET: put_line(nest->out, nest->indent, "%s = %s;", to, value); return;
  case STORE_ADD: put_line(nest->out, nest->indent, "%s += %s;", to, value); return;
  case STORE_MAX:
    e->vmath_used = true;
    put_line(nest->out, nest->indent, "%s = vm_max(%s, %s);", to, to, value);
    return;
  }
}

static void emit_block_end(Nest *nest, int number) {
  Emitter *e = nest->e;
  const Store *store = &nest->loop->stores[number];
  if (!goes_by_blocks(nest, store)) return;
  const char *to = element(nest, &store->to), *kernel = kernel_name(e, store->kind == STORE_ADD ? "sum" : "maximum");
  const char *length = nest->one_block ? extent_text(e, nest->loop->extents[nest->outer]) : "end - block";
  if (is_whole(nest, store)) {
    put_line(nest->out, nest->indent, "%s = %s(%s, term_%d);", to, kernel, length, number);
    return;
  }
  if (store->kind == STORE_ADD) {
    put_line(nest->out, nest->indent, "%s += %s(%s, term_%d);", to, kernel, length, number);
  } else {
    e->vmath_used = true;
    put_line(nest->out, nest->indent, "%s = vm_max(%s, %s(%s, term_%d));", to, to, kernel, length, number);
  }
}

/* Those that are alike share a loop. */
static void emit_fills(Nest *nest) {
  Emitter *e = nest->e;
  const Loop *loop = nest->loop;
  bool *done = arena_array(e->compilation, bool, loop->store_count);
  for (int i = 0; i < loop->store_count; i++) {
    const Store *store = &loop->stores[i];
    if (store->kind == STORE_SET || done[i] || is_whole(nest, store)) continue;
    const char *extent = extent_text(e, store->fill);
    Text line = {.compilation = e->compilation};
    for (int k = i; k < loop->store_count; k++) {
      const Store *other = &loop->stores[k];
      if (done[k] || is_whole(nest, other) || other->kind != store->kind ||
          strcmp(extent_text(e, other->fill), extent) != 0)
        continue;
      if (line.length > 0 && line.length + strlen(other->to.tensor->name) > 60) continue;
      text_append(&line, "%s[i] = ", other->to.tensor->name);
      done[k] = true;
    }
    put_line(nest->out, 1, "for (long i = 0; i < %s; i++) %s%s;", extent, line.bytes,
             store->kind == STORE_ADD ? "0" : "(real)(-1.0 / 0.0)");
  }
}

/* --- the nest --- */

static void emit_body(Nest *nest, bool invariant) {
  for (int i = 0; i < nest->loop->instruction_count; i++)
    if (nest->loop->instructions[i].invariant == invariant) emit_value(nest, i);
}

/* "for (...) {" and what is in it; without braces where that is one line. */
static void put_loop(Text *out, int indent, const char *heading, const char *inside) {
  const char *end = strchr(inside, '\n');
  bool braces = end && end[1] != '\0' && strncmp(inside + strspn(inside, " "), "for (", 5) != 0;
  put_line(out, indent, "%s%s", heading, braces ? " {" : "");
  text_append(out, "%s", inside);
  if (braces) put_line(out, indent, "}");
}

/* The innermost loop's statements, at this indent. */
static const char *inner_text(Nest *nest, int indent) {
  Text *out = nest->out, text = {.compilation = nest->e->compilation};
  nest->out = &text;
  nest->indent = indent;
  emit_body(nest, false);
  for (int i = 0; i < nest->loop->store_count; i++) emit_store(nest, i);
  nest->out = out;
  return text.bytes;
}

static void emit_innermost(Nest *nest, int indent) {
  Emitter *e = nest->e;
  const Loop *loop = nest->loop;
  const char *length = extent_text(e, loop->extents[nest->outer]);
  nest->at = "i";
  if (!nest->blocks) {
    put_loop(nest->out, indent, arena_printf(e->compilation, "for (long i = 0; i < %s; i++)", length),
             inner_text(nest, indent + 1));
    return;
  }
  const long room = nest->one_block ? loop->extents[nest->outer].count : STRIP;
  const int within = indent + !nest->one_block;
  if (!nest->one_block) {
    put_line(nest->out, indent, "for (long block = 0; block < %s; block += %d) {", length, STRIP);
    put_line(nest->out, within, "const long end = %s - block < %d ? %s : block + %d;", length, STRIP, length, STRIP);
  }
  for (int i = 0; i < loop->store_count; i++)
    if (goes_by_blocks(nest, &loop->stores[i])) put_line(nest->out, within, "real term_%d[%ld];", i, room);
  put_loop(nest->out, within,
           nest->one_block ? arena_printf(e->compilation, "for (long i = 0; i < %s; i++)", length)
                           : "for (long i = block; i < end; i++)",
           inner_text(nest, within + 1));
  nest->indent = within;
  for (int i = 0; i < loop->store_count; i++) emit_block_end(nest, i);
  if (!nest->one_block) put_line(nest->out, indent, "}");
}

/* How the innermost loop goes. */
static void find_blocks(Nest *nest) {
  const Loop *loop = nest->loop;
  nest->outer = loop->dim_count > 0 ? loop->dim_count - 1 : 0;
  for (int i = 0; i < loop->store_count; i++)
    nest->blocks = nest->blocks || (loop->dim_count > 0 && loop->stores[i].kind != STORE_SET &&
                                    inner_stride(nest, &loop->stores[i].to) == 0);
  if (loop->dim_count > 0) {
    const Extent inner = loop->extents[nest->outer];
    nest->one_block = nest->blocks && inner.kind == EXTENT_FIXED && inner.count <= STRIP;
  }
}

/* What is the same all along the innermost dim is taken out of its loop: stores might alias it for all a compiler
 * knows where the parameter is written, too. */
static void emit_nest(Nest *nest) {
  Emitter *e = nest->e;
  const Loop *loop = nest->loop;
  Text *out = nest->out, before = {.compilation = e->compilation};
  nest->at = "";
  nest->indent = nest->outer + 1;
  nest->out = &before;
  emit_body(nest, true);
  nest->out = out;
  bool braces = (before.length > 0 || nest->one_block) && nest->outer > 0;
  for (int d = 0; d < nest->outer; d++)
    put_line(out, d + 1, "for (long i%d = 0; i%d < %s; i%d++)%s", d, d, extent_text(e, loop->extents[d]), d,
             braces && d == nest->outer - 1 ? " {" : "");
  if (before.length > 0) text_append(out, "%s", before.bytes);
  if (loop->dim_count > 0)
    emit_innermost(nest, nest->outer + 1);
  else
    text_append(out, "%s", inner_text(nest, 1));
  if (braces) put_line(out, nest->outer, "}");
}

static bool mentions(const Loop *loop, ExtentKind kind) {
  for (int d = 0; d < loop->dim_count; d++)
    if (loop->extents[d].kind == kind) return true;
  for (int i = 0; i < loop->store_count; i++)
    if (loop->stores[i].kind != STORE_SET && loop->stores[i].fill.kind == kind) return true;
  return false;
}

enum { LINE = 118 };

/* One more item of a list that goes on in the next line where it gets too long; `before` stands on its first. */
static void add_item(Text *list, size_t *line, size_t before, const char *item) {
  const bool fits = list->length == 0 || before + list->length + strlen(item) + 2 <= *line + LINE;
  if (list->length > 0) text_append(list, fits ? ", " : ",\n    ");
  if (!fits) *line = before + list->length - 4;
  text_append(list, "%s", item);
}

/* A call of the function with this text, which is written unless one like it is there. */
static void put_call(Emitter *e, Text *text, const char *function, const char *arguments, const Node *node) {
  const char *name, *shared, *fresh = arena_printf(e->compilation, "%s_loop_%d", e->function, e->loop_number + 1);
  if (e->noting) loop_forms_note(e->compilation, e->forms, function);
  const char *more = loop_forms_call(e, function, &name, &shared, fresh);
  if (shared) {
    e->loop_number++;
    const char *said = e->last_comment;
    e->last_comment = NULL;
    put_comment(e, &e->functions, 0, node);
    e->last_comment = said;
    text_append(&e->functions, "static void %s(%s}\n\n", name, shared);
  }
  put_line(text, 1, "%s(%s%s);", name, more, arguments);
}

/* A few numbers of the step: no loop, and no function of its own. */
static void emit_block(Emitter *e, Text *text, Nest *nest, const Node *node) {
  put_comment(e, text, 1, node);
  Text block = {.compilation = e->compilation};
  nest->out = &block;
  emit_fills(nest);
  emit_nest(nest);
  bool names = strstr(block.bytes, "const real ") != NULL;
  e->block_count += names;
  text_append(text, "%s%s%s", names ? "  {\n" : "", block.bytes, names ? "  }\n" : "");
}

void emit_loop_plain(Emitter *e, Text *text, const Step *step) {
  Text function = {.compilation = e->compilation}, heading = function, call = function;
  Nest nest = {.e = e, .out = &function, .loop = &step->loop};
  nest.names = (const char **)arena_array(e->compilation, char *, step->loop.instruction_count);
  find_parameters(&nest);
  find_blocks(&nest);
  count_uses(&nest);
  if (step->loop.dim_count == 0) {
    emit_block(e, text, &nest, step->node);
    return;
  }
  const char *name = arena_printf(e->compilation, "%s_loop_%d", e->function, e->loop_number + 1);
  const size_t before = strlen("static void (") + strlen(name), before_call = before - strlen("static void");
  size_t heading_line = 0, call_line = 0;
  if (mentions(&step->loop, EXTENT_ROWS)) {
    add_item(&heading, &heading_line, before, "long rows");
    add_item(&call, &call_line, before_call, "rows");
  }
  for (int i = 0; i < nest.parameter_count; i++) {
    const char *parameter = nest.parameters[i]->name;
    const char *type = nest.by_value[i] ? "real " : nest.written[i] ? "real *restrict " : "const real *";
    add_item(&heading, &heading_line, before, arena_printf(e->compilation, "%s%s", type, parameter));
    add_item(&call, &call_line, before_call,
             nest.by_value[i] ? arena_printf(e->compilation, "%s[0]", parameter) : parameter);
  }
  text_append(&function, "%s) {\n", heading.bytes);
  emit_fills(&nest);
  emit_nest(&nest);
  put_call(e, text, function.bytes, call.bytes, step->node);
}
