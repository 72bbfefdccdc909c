/* Strips: a fused loop -> calls of precompiled vector kernels on strips of its innermost dim, for libtcc, whose own
 * loops are slow. A value that is stored is computed where it is stored, the others in strip temporaries on the stack;
 * what is the same all along the innermost dim is computed once, before the strips. Requires a finished loop. */
#include <string.h>

#include "emit_internal.h"

/* Where an instruction's value is while the strip is worked on. */
typedef struct Place {
  char letter; /* v: a vector; s: one value; both behind a pointer; 0: not yet */
  const char *pointer;
  int temporary; /* -1: none */
  int last_use;  /* instruction, or instruction_count + store */
  int uses;
  bool skipped; /* a product that only a sum reads: dot does both */
} Place;

typedef struct Strip {
  Emitter *e;
  Text *text;
  const Loop *loop;
  Place *places;
  int indent;
  int outer;      /* loops around the innermost dim */
  const char *n;  /* length of a strip */
  const char *at; /* its start, or "" */
  bool *busy;     /* temporaries; as many as there are instructions */
  int temporaries, scalars;
} Strip;

static void find_uses(Strip *strip) {
  const Loop *loop = strip->loop;
  for (int i = 0; i < loop->instruction_count; i++) {
    const Instruction *instruction = &loop->instructions[i];
    strip->places[i].temporary = -1;
    strip->places[i].last_use = i;
    for (int k = 0; instruction->op != OP_COUNT && k < op_table[instruction->op].operands; k++) {
      strip->places[instruction->operands[k]].last_use = i;
      strip->places[instruction->operands[k]].uses++;
    }
  }
  for (int i = 0; i < loop->store_count; i++) {
    Place *place = &strip->places[loop->stores[i].value];
    place->uses++;
    if (place->last_use < loop->stores[i].value) place->last_use = loop->stores[i].value;
  }
}

static long inner_stride(const Strip *strip, const Access *access) {
  return strip->outer < strip->loop->dim_count ? access->strides[strip->outer] : 0;
}

static const char *strip_address(Strip *strip, const Access *access) {
  long stride = inner_stride(strip, access);
  const char *moved = stride == 0 || strip->at[0] == '\0' ? "" : strip->at;
  if (moved[0] != '\0' && stride != 1) moved = arena_printf(strip->e->compilation, "%s * %ld", strip->at, stride);
  return address_text(strip->e, access, strip->outer, moved);
}

static const char *temporary(Strip *strip, int instruction) {
  int slot = 0;
  while (strip->busy[slot]) slot++;
  strip->busy[slot] = true;
  if (slot >= strip->temporaries) strip->temporaries = slot + 1;
  strip->places[instruction].temporary = slot;
  return arena_printf(strip->e->compilation, "strip_%d", slot);
}

static void free_operands(Strip *strip, int instruction) {
  const Instruction *at = &strip->loop->instructions[instruction];
  for (int k = 0; at->op != OP_COUNT && k < op_table[at->op].operands; k++) {
    Place *place = &strip->places[at->operands[k]];
    if (place->temporary >= 0 && place->last_use == instruction) strip->busy[place->temporary] = false;
  }
}

/* The store that may hold the value itself. */
static const Store *direct_store(const Strip *strip, int instruction) {
  for (int i = 0; i < strip->loop->store_count; i++) {
    const Store *store = &strip->loop->stores[i];
    if (store->value == instruction && store->kind == STORE_SET && inner_stride(strip, &store->to) == 1) return store;
  }
  return NULL;
}

/* --- instructions --- */

static void emit_load(Strip *strip, int number) {
  Emitter *e = strip->e;
  const Access *load = &strip->loop->instructions[number].load;
  Place *place = &strip->places[number];
  if (load->tensor == NULL) {
    *place = (Place){'s', number_address(e, load->number), -1, place->last_use, place->uses, false};
    return;
  }
  long stride = inner_stride(strip, load);
  place->letter = stride == 0 ? 's' : 'v';
  place->pointer = strip_address(strip, load);
  if (stride == 0 || stride == 1) return;
  const Store *direct = direct_store(strip, number);
  const char *to = direct != NULL ? strip_address(strip, &direct->to) : temporary(strip, number);
  put_line(strip->text, strip->indent, "gather_n = %s, gather_stride = %ld;", strip->n, stride);
  put_line(strip->text, strip->indent, "%s(1, &gather_n, %s, %s, &gather_stride);", kernel_name(e, "copy_strided"), to,
           place->pointer);
  place->pointer = to;
}

static const char *operands_text(Strip *strip, const Instruction *instruction, char *letters) {
  Text text = {.compilation = strip->e->compilation};
  int count = op_table[instruction->op].operands;
  for (int k = 0; k < count; k++) {
    const Place *operand = &strip->places[instruction->operands[k]];
    letters[k] = operand->letter;
    text_append(&text, ", %s", operand->pointer);
  }
  letters[count] = '\0';
  return text.bytes;
}

/* The same all along: one value, before the strips. */
static void emit_invariant(Strip *strip, int number) {
  Emitter *e = strip->e;
  const Instruction *instruction = &strip->loop->instructions[number];
  char letters[4];
  const char *operands = operands_text(strip, instruction, letters);
  memset(letters, 'v', strlen(letters));
  Place *place = &strip->places[number];
  place->letter = 's';
  place->pointer = arena_printf(e->compilation, "&scalar_%d", strip->scalars);
  put_line(strip->text, strip->indent, "real scalar_%d;", strip->scalars++);
  const char *name = arena_printf(e->compilation, "%s_%s", op_table[instruction->op].name, letters);
  put_line(strip->text, strip->indent, "%s(1, %s%s);", kernel_name(e, name), place->pointer, operands);
}

/* The sigmoid further on of what this softplus is of, or the other way round; -1: none. */
static int sibling(const Strip *strip, int number) {
  const Instruction *one = &strip->loop->instructions[number];
  if (one->op != IR_softplus && one->op != IR_sigmoid) return -1;
  for (int i = number + 1; i < strip->loop->instruction_count; i++) {
    const Instruction *other = &strip->loop->instructions[i];
    bool sought = other->op == (one->op == IR_softplus ? IR_sigmoid : IR_softplus);
    if (sought && !other->invariant && other->operands[0] == one->operands[0] && strip->places[i].letter == '\0')
      return i;
  }
  return -1;
}

/* Both at once. The later one waits in a temporary, since what it is to be stored over may yet be read. */
static bool emit_siblings(Strip *strip, int number) {
  int later = sibling(strip, number);
  if (later < 0) return false;
  const Instruction *instruction = &strip->loop->instructions[number];
  const Store *direct = direct_store(strip, number);
  const char *operand = strip->places[instruction->operands[0]].pointer;
  Place *place = &strip->places[number], *other = &strip->places[later];
  place->letter = other->letter = 'v';
  place->pointer = direct != NULL ? strip_address(strip, &direct->to) : temporary(strip, number);
  other->pointer = temporary(strip, later);
  bool softplus_first = instruction->op == IR_softplus;
  put_line(strip->text, strip->indent, "%s(%s, %s, %s, %s);", kernel_name(strip->e, "softplus_and_sigmoid"), strip->n,
           softplus_first ? place->pointer : other->pointer, softplus_first ? other->pointer : place->pointer, operand);
  return true;
}

static void emit_instruction(Strip *strip, int number) {
  Emitter *e = strip->e;
  const Instruction *instruction = &strip->loop->instructions[number];
  Place *place = &strip->places[number];
  if (place->skipped || emit_siblings(strip, number)) return;
  if (place->letter != '\0') { /* already made beside another */
    free_operands(strip, number);
    return;
  }
  char letters[4];
  const char *operands = operands_text(strip, instruction, letters);
  const Store *direct = direct_store(strip, number);
  free_operands(strip, number);
  place->letter = 'v';
  place->pointer = direct != NULL ? strip_address(strip, &direct->to) : temporary(strip, number);
  const char *name = arena_printf(e->compilation, "%s_%s", op_table[instruction->op].name, letters);
  put_line(strip->text, strip->indent, "%s(%s, %s%s);", kernel_name(e, name), strip->n, place->pointer, operands);
}

/* --- stores --- */

static void store_set(Strip *strip, const Store *store, const char *to) {
  Emitter *e = strip->e;
  const Place *value = &strip->places[store->value];
  long stride = inner_stride(strip, &store->to);
  if (strcmp(value->pointer, to) == 0) return;
  if (stride == 1 || strcmp(strip->n, "1") == 0)
    put_line(strip->text, strip->indent, "%s(%s, %s, %s);", kernel_name(e, value->letter == 's' ? "fill" : "copy"),
             strip->n, to, value->pointer);
  else
    put_line(strip->text, strip->indent, "for (long j = 0; j < %s; j++) (%s)[j * %ld] = (%s)[%s];", strip->n, to,
             stride, value->pointer, value->letter == 's' ? "0" : "j");
}

static void store_add(Strip *strip, const Store *store, const char *to) {
  Emitter *e = strip->e;
  const Place *value = &strip->places[store->value];
  long stride = inner_stride(strip, &store->to);
  if (stride > 1) {
    put_line(strip->text, strip->indent, "for (long j = 0; j < %s; j++) (%s)[j * %ld] += (%s)[%s];", strip->n, to,
             stride, value->pointer, value->letter == 's' ? "0" : "j");
  } else if (value->skipped) {
    const Instruction *product = &strip->loop->instructions[store->value];
    const Place *a = &strip->places[product->operands[0]], *b = &strip->places[product->operands[1]];
    if (stride == 0)
      put_line(strip->text, strip->indent, "*(%s) += %s(%s, %s, %s);", to, kernel_name(e, "dot"), strip->n, a->pointer,
               b->pointer);
    else
      put_line(strip->text, strip->indent, "%s(%s, %s, %s, %s);", kernel_name(e, "accumulate_mul_vv"), strip->n, to,
               a->pointer, b->pointer);
  } else if (stride == 1) {
    put_line(strip->text, strip->indent, "%s(%s, %s, %s);",
             kernel_name(e, value->letter == 's' ? "accumulate_s" : "accumulate_v"), strip->n, to, value->pointer);
  } else if (value->letter == 's') {
    put_line(strip->text, strip->indent, "*(%s) += (real)(%s) * *(%s);", to, strip->n, value->pointer);
  } else {
    put_line(strip->text, strip->indent, "*(%s) += %s(%s, %s);", to, kernel_name(e, "sum"), strip->n, value->pointer);
  }
}

static void store_max(Strip *strip, const Store *store, const char *to) {
  Emitter *e = strip->e;
  const Place *value = &strip->places[store->value];
  long stride = inner_stride(strip, &store->to);
  if (stride == 1) {
    put_line(strip->text, strip->indent, "%s(%s, %s, %s, %s);",
             kernel_name(e, value->letter == 's' ? "max_vs" : "max_vv"), strip->n, to, to, value->pointer);
  } else if (stride == 0) {
    put_line(strip->text, strip->indent, "{");
    put_line(strip->text, strip->indent + 1, "const real top = %s(%s, %s);", kernel_name(e, "maximum"),
             value->letter == 's' ? "1" : strip->n, value->pointer);
    put_line(strip->text, strip->indent + 1, "%s(1, %s, %s, &top);", kernel_name(e, "max_vv"), to, to);
    put_line(strip->text, strip->indent, "}");
  } else {
    put_line(strip->text, strip->indent, "for (long j = 0; j < %s; j++) %s(1, %s + j * %ld, %s + j * %ld, %s%s);",
             strip->n, kernel_name(e, "max_vv"), to, stride, to, stride, value->pointer,
             value->letter == 's' ? "" : " + j");
  }
}

static void emit_stores(Strip *strip, int number) {
  for (int i = 0; i < strip->loop->store_count; i++) {
    const Store *store = &strip->loop->stores[i];
    if (store->value != number) continue;
    const char *to = strip_address(strip, &store->to);
    switch (store->kind) {
    case STORE_SET: store_set(strip, store, to); break;
    case STORE_ADD: store_add(strip, store, to); break;
    case STORE_MAX: store_max(strip, store, to); break;
    }
  }
  Place *place = &strip->places[number];
  if (place->temporary >= 0 && place->last_use == number) strip->busy[place->temporary] = false;
}

/* A product of two vectors that only one sum reads. */
static void find_dots(Strip *strip) {
  const Loop *loop = strip->loop;
  for (int i = 0; i < loop->store_count; i++) {
    const Store *store = &loop->stores[i];
    const Instruction *value = &loop->instructions[store->value];
    if (store->kind != STORE_ADD || inner_stride(strip, &store->to) > 1 || value->op != IR_mul) continue;
    if (strip->places[store->value].uses != 1) continue;
    bool vectors =
        !loop->instructions[value->operands[0]].invariant && !loop->instructions[value->operands[1]].invariant;
    strip->places[store->value].skipped = vectors;
  }
}

/* --- whole loops --- */

static void emit_fills(Emitter *e, Text *text, const Loop *loop) {
  for (int i = 0; i < loop->store_count; i++) {
    const Store *store = &loop->stores[i];
    if (store->kind != STORE_SET)
      put_line(text, 1, "%s(%s, %s, %s);", kernel_name(e, "fill"), extent_text(e, store->fill), store->to.tensor->name,
               number_address(e, store->kind == STORE_ADD ? 0 : -1.0 / 0.0));
  }
}

/* One load stored in row-major order without gaps: the kernel that permutes does it all. */
static bool emit_whole_copy(Emitter *e, Text *text, const Loop *loop) {
  const Instruction *load = &loop->instructions[0];
  if (loop->instruction_count != 1 || loop->store_count != 1 || load->load.tensor == NULL || loop->dim_count < 2)
    return false;
  const Store *store = &loop->stores[0];
  long size = 1;
  for (int d = loop->dim_count - 1; d >= 0; d--) {
    if (store->to.strides[d] != size || loop->dim_count > 12) return false;
    size *= loop->extents[d].count;
  }
  if (store->kind != STORE_SET ||
      (load->load.strides[loop->dim_count - 1] == 1 && loop->extents[loop->dim_count - 1].count >= 8))
    return false;
  Text sizes = {.compilation = e->compilation}, strides = {.compilation = e->compilation};
  for (int d = 0; d < loop->dim_count; d++) {
    text_append(&sizes, "%s%s", d > 0 ? ", " : "", extent_text(e, loop->extents[d]));
    text_append(&strides, "%s%ld", d > 0 ? ", " : "", load->load.strides[d]);
  }
  put_line(text, 1, "{");
  put_line(text, 2, "const long sizes[%d] = {%s}, strides[%d] = {%s};", loop->dim_count, sizes.bytes, loop->dim_count,
           strides.bytes);
  put_line(text, 2, "%s(%d, sizes, %s, %s, strides);", kernel_name(e, "copy_strided"), loop->dim_count,
           address_text(e, &store->to, 0, ""), address_text(e, &load->load, 0, ""));
  put_line(text, 1, "}");
  return true;
}

/* Loops around the strips, then the strips themselves. */
static void open_strips(Strip *strip, Text *inside) {
  Emitter *e = strip->e;
  const Loop *loop = strip->loop;
  for (int d = 0; d < strip->outer; d++) {
    put_line(inside, strip->indent, "for (long i%d = 0; i%d < %s; i%d++) {", d, d, extent_text(e, loop->extents[d]), d);
    strip->indent++;
  }
  strip->text = inside;
  strip->n = "1";
  strip->at = "";
  for (int i = 0; i < loop->instruction_count; i++) {
    if (!loop->instructions[i].invariant) continue;
    if (loop->instructions[i].op == OP_COUNT)
      emit_load(strip, i);
    else
      emit_invariant(strip, i);
  }
  if (loop->dim_count == 0) return;
  Extent run = loop->extents[loop->dim_count - 1];
  const char *length = extent_text(e, run);
  strip->n = length;
  if (run.kind == EXTENT_FIXED && run.count <= STRIP) return;
  put_line(inside, strip->indent++, "for (long i = 0; i < %s; i += %d) {", length, STRIP);
  put_line(inside, strip->indent, "const long n = %s - i < %d ? %s - i : %d;", length, STRIP, length, STRIP);
  strip->n = "n";
  strip->at = "i";
}

void emit_loop_strips(Emitter *e, Text *text, const Step *step) {
  const Loop *loop = &step->loop;
  if (emit_whole_copy(e, text, loop)) return;
  Strip strip = {.e = e, .text = text, .loop = loop, .indent = 2};
  strip.places = arena_array(e->compilation, Place, loop->instruction_count);
  strip.busy = arena_array(e->compilation, bool, loop->instruction_count + 1);
  strip.outer = loop->dim_count > 0 ? loop->dim_count - 1 : 0;
  find_uses(&strip);
  find_dots(&strip);
  emit_fills(e, text, loop);
  Text inside = {.compilation = e->compilation};
  open_strips(&strip, &inside);
  bool gathers = false;
  for (int i = 0; i < loop->instruction_count; i++) {
    const Instruction *instruction = &loop->instructions[i];
    if (!instruction->invariant) {
      gathers = gathers || (instruction->op == OP_COUNT && inner_stride(&strip, &instruction->load) > 1);
      if (instruction->op == OP_COUNT)
        emit_load(&strip, i);
      else
        emit_instruction(&strip, i);
    }
    emit_stores(&strip, i);
  }
  while (--strip.indent >= 2) put_line(&inside, strip.indent, "}");
  put_line(text, 1, "{");
  for (int t = 0; t < strip.temporaries; t++) put_line(text, 2, "real strip_%d[%d];", t, STRIP);
  if (gathers) put_line(text, 2, "long gather_n, gather_stride;");
  text_append(text, "%s", inside.bytes);
  put_line(text, 1, "}");
}
