/* A phase or a range -> its function: where its tensors lie, its sizes, and the steps that emit.c writes. Requires
 * placed plans; leaves the functions in the emitter's body, and a name for each phase. */
#include <ctype.h>
#include <string.h>

#include "emit_internal.h"

/* "call->kept + call->capacity * 40 + first * 14": terms that are 0 are left out. */
static const char *sum_text(Emitter *e, const char *base, long fixed, const char *variable, long times,
                            long first_times) {
  Text text = {.compilation = e->compilation};
  text_append(&text, "%s", base);
  if (fixed != 0) text_append(&text, " + %ld", fixed);
  if (times == 1) text_append(&text, " + %s", variable);
  if (times > 1) text_append(&text, " + %s * %ld", variable, times);
  if (first_times == 1) text_append(&text, " + first");
  if (first_times > 1) text_append(&text, " + first * %ld", first_times);
  return text.bytes;
}

static bool uses_rows(const Emitter *e) { return e->phase->kind == PHASE_ROWS; }

/* The name that stands for "call->kept" and the like. */
static const char *base_name(const Emitter *e, Storage storage, const char *name, const char *text) {
  return e->shortened[storage] ? name : text;
}

/* The call that a domain's kept rows are reached by: this phase's, or another one's. */
static const char *call_of(Emitter *e, const Tensor *t) {
  bool own = e->phase->kind == PHASE_ROWS ? t->domain == e->phase->domain : t->domain == 0;
  return own ? "call" : arena_printf(e->compilation, "call->domains[%d]", t->domain);
}

static const char *base_of_tensor(Emitter *e, const Tensor *t) {
  bool here = e->phase->kind == PHASE_ROWS && t->domain == e->phase->domain;
  long row = t->rows && here && t->storage != STORE_TILE ? t->size : 0;
  switch (t->storage) {
  case STORE_PARAMETER:
    return sum_text(e, base_name(e, STORE_PARAMETER, "parameters", "call->parameters"), t->offset, "", 0, 0);
  case STORE_DATA: return sum_text(e, arena_printf(e->compilation, "call->data[%d]", t->index), 0, "", 0, row);
  case STORE_STATE: return sum_text(e, "call->state", t->offset, "", 0, 0);
  case STORE_GIVEN: return sum_text(e, arena_printf(e->compilation, "call->given[%d]", t->index), 0, "", 0, 0);
  case STORE_ROW_STATE:
    return sum_text(e, arena_printf(e->compilation, "call->row_state[%d]", t->index), 0, "", 0, row);
  case STORE_SETTING: return sum_text(e, "call->settings", t->index, "", 0, 0);
  case STORE_TABLE: return table_name(e, t->node);
  case STORE_VALUES: return sum_text(e, base_name(e, STORE_VALUES, "values", "call->values"), t->offset, "", 0, 0);
  case STORE_FIXED: return sum_text(e, "scratch", t->offset, "", 0, 0);
  case STORE_TILE: {
    long before = t->domain == 0 ? e->plan->scratch_fixed : e->plan->scratch_step;
    return sum_text(e, "scratch", before, base_name(e, STORE_TILE, "tile", "call->tile"), t->offset, 0);
  }
  case STORE_KEPT: {
    const char *call = call_of(e, t), *dot = strcmp(call, "call") == 0 ? "->" : ".";
    if (e->shortened[STORE_KEPT] && dot[0] == '-') return sum_text(e, "kept", 0, "capacity", t->offset, row);
    return sum_text(e, arena_printf(e->compilation, "%s%skept", call, dot), 0,
                    arena_printf(e->compilation, "%s%scapacity", call, dot), t->offset, row);
  }
  case STORE_PARTIAL:
    if (e->shortened[STORE_PARTIAL]) return sum_text(e, "partials", t->offset, "", 0, 0);
    return sum_text(e, "call->partials", t->offset, "unit", e->plan->partial_size, 0);
  case STORE_GRADIENT: return sum_text(e, "call->gradient", t->offset, "", 0, 0);
  case STORE_STATE_NEXT: return sum_text(e, "call->state_next", t->offset, "", 0, 0);
  case STORE_RANGE: return "out";
  case STORE_COUNT: break;
  }
  return "0";
}

static bool is_read_only(const Tensor *t) {
  return t->storage == STORE_PARAMETER || t->storage == STORE_DATA || t->storage == STORE_STATE ||
         t->storage == STORE_ROW_STATE || t->storage == STORE_GIVEN || t->storage == STORE_SETTING ||
         t->storage == STORE_TABLE;
}

/* "[rows, 2 samples, D, H]" */
static const char *shape_comment(Emitter *e, const Tensor *t) {
  Text text = {.compilation = e->compilation};
  const char *between = "";
  text_append(&text, "[");
  if (t->rows) text_append(&text, "rows"), between = ", ";
  if (t->size == shape_size(&t->node->shape))
    for (int d = 0; d < t->node->shape.rank; d++, between = ", ")
      text_append(&text, "%s%s", between, dim_text(e->compilation, t->node->shape.dims[d]));
  else
    text_append(&text, "%s%ld", between, t->size);
  text_append(&text, "]");
  return text.bytes;
}

static bool is_letter(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* Of "->name" or ".name", in a text before the name. */
static bool is_member(const char *at) { return at[-1] == '>' || at[-1] == '.'; }

/* Does the text mention the word, outside comments? */
static bool says(const Text *text, const char *word) {
  const size_t length = strlen(word);
  const char *start = text->length > 0 ? text->bytes : "", *comment;
  for (const char *at = start; *at != '\0'; at++) {
    if (at[0] == '/' && at[1] == '*' && (comment = strstr(at, "*/")) != NULL) at = comment + 1;
    const bool begins = at == start || (!is_letter(at[-1]) && !is_member(at));
    if (begins && strncmp(at, word, length) == 0 && !is_letter(at[length])) return true;
  }
  return false;
}

enum { DECLARATION_COLUMNS = 118, SHORTENED_FROM = 6 };

typedef struct Declared { /* tensors in the order of their use */
  const Tensor **tensors;
  bool *done;
  int count;
} Declared;

static Declared find_tensors(Emitter *e, const StepList *list) {
  bool *seen = arena_array(e->compilation, bool, e->plan->tensor_count);
  Declared found = {(const Tensor **)arena_array(e->compilation, Tensor *, e->plan->tensor_count),
                    arena_array(e->compilation, bool, e->plan->tensor_count), 0};
  for (int i = 0; i < list->count; i++) {
    Use *uses;
    int count = step_uses(e->compilation, &list->steps[i], &uses);
    for (int u = 0; u < count; u++) {
      const Tensor *t = uses[u].access->tensor, *last = t;
      while (last->called_like) last = last->called_like;
      if (!seen[last->id] && t->storage != STORE_RANGE) found.tensors[found.count++] = t;
      seen[last->id] = true;
    }
  }
  return found;
}

/* Of a number nothing is to be said. */
static bool has_shape(const Tensor *t) { return t->rows || t->size > 1; }

/* Tensors of one kind share a statement as long as a line holds them, with their shapes behind: each line takes the
 * first that fit. */
static void declare_some(Emitter *e, Text *text, const Declared *all, bool constant, bool shaped) {
  const char **bases = arena_array(e->compilation, const char *, all->count);
  const char **comments = arena_array(e->compilation, const char *, all->count);
  for (int first = 0;;) {
    Text names = {.compilation = e->compilation}, shapes = names;
    while (first < all->count && all->done[first]) first++;
    for (int i = first; i < all->count; i++) {
      const Tensor *t = all->tensors[i];
      if (all->done[i] || is_read_only(t) != constant || has_shape(t) != shaped) continue;
      if (bases[i] == NULL) bases[i] = base_of_tensor(e, t), comments[i] = shaped ? shape_comment(e, t) : "";
      const char *base = bases[i], *shape = comments[i];
      const size_t length =
          names.length + shapes.length + strlen(t->name) + strlen(base) + strlen(shape) + (shaped ? 18 : 9);
      if (names.length > 0 && length > DECLARATION_COLUMNS) continue;
      const char *start = names.length > 0 ? ", " : constant ? "const real " : "real ";
      text_append(&names, "%s*%s = %s", start, t->name, base);
      text_append(&shapes, "%s%s", shapes.length > 0 ? ", " : "", shape);
      all->done[i] = true;
    }
    if (names.length == 0) return;
    if (shaped)
      put_line(text, 1, "%s; /* %s */", names.bytes, shapes.bytes);
    else
      put_line(text, 1, "%s;", names.bytes);
  }
}

/* Places that are named often get a short name. */
static void shorten_bases(Emitter *e, const Declared *all) {
  int counts[STORE_COUNT] = {0};
  for (int i = 0; i < all->count; i++) {
    const Tensor *t = all->tensors[i];
    counts[t->storage] += t->storage != STORE_KEPT || strcmp(call_of(e, t), "call") == 0;
  }
  for (int s = 0; s < STORE_COUNT; s++) e->shortened[s] = counts[s] >= SHORTENED_FROM;
  e->shortened[STORE_TILE] = uses_rows(e); /* which begins with it */
}

static void declare_bases(Emitter *e, Text *text, const Text *tensors) {
  const struct {
    Storage storage;
    const char *type, *name, *value;
  } bases[] = {{STORE_KEPT, "const long ", "capacity", "call->capacity"},
               {STORE_PARAMETER, "const real *", "parameters", "call->parameters"},
               {STORE_VALUES, "real *", "values", "call->values"},
               {STORE_KEPT, "real *", "kept", "call->kept"},
               {STORE_PARTIAL, "real *", "partials",
                arena_printf(e->compilation, "call->partials + unit * %ld", e->plan->partial_size)}};
  const char *open = "";
  for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
    if (!e->shortened[bases[i].storage] || !says(tensors, bases[i].name)) continue;
    const bool same = strcmp(open, bases[i].type) == 0;
    if (!same) text_append(text, "%s  %s", open[0] ? ";\n" : "", bases[i].type);
    text_append(text, "%s%s = %s",
                !same                                             ? ""
                : bases[i].type[strlen(bases[i].type) - 1] == '*' ? ", *"
                                                                  : ", ",
                bases[i].name, bases[i].value);
    open = bases[i].type;
  }
  if (open[0]) text_append(text, ";\n");
}

/* "call->values[16]" for "sum_7[0]": a number without a name of the spec's needs no pointer. */
static void put_number(Emitter *e, Text *out, const Tensor *t) {
  const char *base = base_of_tensor(e, t), *sum = strstr(base, " + ");
  text_append(out, "%.*s[%s]", sum ? (int)(sum - base) : (int)strlen(base), base, sum ? sum + 3 : "0");
}

/* Past a comment, or the members of a table's struct; NULL: there is none. */
static const char *past_other_names(const char *at) {
  const char *end = NULL;
  if (strncmp(at, "/*", 2) == 0) end = strstr(at, "*/");
  if (strncmp(at, "struct {", 8) == 0) end = strstr(at, "} ");
  return end ? end + 2 : NULL;
}

/* Numbers get their place in the steps, and of the tensors those are declared that are mentioned then. */
static void put_numbers(Emitter *e, Text *steps, const Declared *all) {
  Name *names = arena_array(e->compilation, Name, all->count);
  for (int i = 0; i < all->count; i++) names[i] = all->tensors[i]->name;
  const NameTable table = name_table(e->compilation, names, all->count);
  Text out = {.compilation = e->compilation};
  for (int i = 0; i < all->count; i++) all->done[i] = true;
  for (const char *at = steps->length > 0 ? steps->bytes : ""; *at != '\0';) {
    const char *past = past_other_names(at);
    size_t length = past ? (size_t)(past - at) : 0;
    while (!past && is_letter(at[length])) length++;
    const bool member = at > steps->bytes && is_member(at);
    const int index = past || member || length == 0 ? -1 : name_index(&table, intern_range(e->compilation, at, length));
    const Tensor *t = index < 0 ? NULL : all->tensors[index];
    const bool named = t && t->node && t->node->name && t->storage != STORE_SETTING;
    if (t && !has_shape(t) && !named && strncmp(at + length, "[0]", 3) == 0) {
      put_number(e, &out, t);
      length += 3;
    } else {
      if (t) all->done[index] = false;
      if (length == 0) length = 1;
      text_append(&out, "%.*s", (int)length, at);
    }
    at += length;
  }
  *steps = out;
}

static void declare_tensors(Emitter *e, Text *text, const StepList *list, Text *steps) {
  const Declared all = find_tensors(e, list);
  Text tensors = {.compilation = e->compilation};
  shorten_bases(e, &all);
  if (e->rendering == RENDER_LOOPS) put_numbers(e, steps, &all);
  Text said = {.compilation = e->compilation};
  for (int kind = 0; kind < 4; kind++) declare_some(e, &tensors, &all, kind < 2, kind % 2 == 0);
  text_append(&said, "%s%s", tensors.length > 0 ? tensors.bytes : "", steps->length > 0 ? steps->bytes : "");
  declare_bases(e, text, &said);
  if (tensors.length > 0) text_append(text, "%s", tensors.bytes);
}

/* What has a place of its own in a buffer that is the same for all rows can stand in a table. */
static void put_repeats(Emitter *e, Text *steps, const StepList *list) {
  const Declared all = find_tensors(e, list);
  Spot *places = arena_array(e->compilation, Spot, all.count);
  int count = 0;
  for (int i = 0; i < all.count; i++) {
    const Tensor *t = all.tensors[i];
    const char *base = t->storage == STORE_PARAMETER ? "call->parameters"
                       : t->storage == STORE_VALUES  ? "call->values"
                       : t->storage == STORE_FIXED   ? "scratch"
                                                     : NULL;
    if (base) places[count++] = (Spot){t->name, base, shape_comment(e, t), t->offset};
  }
  emit_repeats(e, steps, places, count);
}

/* Of the one block of numbers in a body. */
static void drop_braces(Text *body) {
  char *open = strstr(body->bytes, "\n  {\n  const real "), *close = open ? strstr(open + 1, "\n  }\n") : NULL;
  if (close == NULL) return;
  memmove(close, close + 4, strlen(close + 4) + 1);
  memmove(open, open + 4, strlen(open + 4) + 1);
  body->length -= 8;
}

/* Sizes that a range's text mentions. */
static void put_range_sizes(Emitter *e, Text *head, const Text *body) {
  const Range *range = e->range;
  const bool whole = range->units == 1, counted = says(body, "count");
  Text sizes = {.compilation = e->compilation};
  if (says(body, "rows")) text_append(&sizes, ", rows = call->rows");
  for (int d = 1; d < e->plan->domain_count; d++)
    if (says(body, arena_printf(e->compilation, "rows_%d", d)))
      text_append(&sizes, ", rows_%d = call->domains[%d].rows", d, d);
  if (!whole && (counted || says(body, "from"))) text_append(&sizes, ", from = unit * %ld", range->part);
  if (counted && whole) text_append(&sizes, ", count = %ld", range->leading);
  if (counted && !whole)
    text_append(&sizes, ", count = %ld - from < %ld ? %ld - from : %ld", range->leading, range->part, range->leading,
                range->part);
  if (sizes.length > 0) put_line(head, 1, "const long %s;", sizes.bytes + 2);
}

/* From the opening brace on: what the text mentions is defined, and what it does not mention of the function's
 * parameters is said. */
static Text function_text(Emitter *e, const Text *declarations, const Text *steps) {
  Text body = {.compilation = e->compilation}, head = body;
  for (int i = 0; i < e->number_count; i++)
    put_line(&body, 1, "const real number_%d = %s;", i, number_text(e, e->numbers[i]));
  text_append(&body, "%s", declarations->length > 0 ? declarations->bytes : "");
  text_append(&body, "%s", steps->length > 0 ? steps->bytes : "");
  text_append(&head, " {\n");
  if (uses_rows(e) && says(&body, "rows"))
    put_line(&head, 1,
             "const long tile = call->tile, first = unit * tile, left = call->rows - first, "
             "rows = left < tile ? left : tile;");
  else if (uses_rows(e) && says(&body, "first"))
    put_line(&head, 1, "const long tile = call->tile, first = unit * tile;");
  else if (uses_rows(e) && says(&body, "tile"))
    put_line(&head, 1, "const long tile = call->tile;");
  if (e->range != NULL) put_range_sizes(e, &head, &body);
  if (e->block_count == 1) drop_braces(&body);
  const char *between = "  (void)";
  Text unused = {.compilation = e->compilation};
  for (int i = 0; i < 3; i++) {
    const char *name = ((const char *const[]){"call", "scratch", "unit"})[i];
    if (says(&body, name) || says(&head, name)) continue;
    text_append(&unused, "%s%s", between, name);
    between = ", (void)";
  }
  text_append(&head, "%s%s%s}\n", unused.length > 0 ? unused.bytes : "", unused.length > 0 ? ";\n" : "", body.bytes);
  return head;
}

/* --- phases that are alike ------------------------------------------------------------------------------------------
 * A phase of numbers that stands in one program may stand in another: it is the same function if only the names of its
 * values differ. */

/* The text with numbers in the place of names that are this function's own. */
static const char *form_of(Emitter *e, const Text *text, const Declared *own) {
  Text form = {.compilation = e->compilation};
  const char **names = NULL;
  int count = 0;
  for (const char *at = text->bytes; *at != '\0';) {
    size_t length = 0;
    while (is_letter(at[length])) length++;
    if (length == 0) {
      text_append(&form, "%c", *at++);
      continue;
    }
    const char *word = intern_range(e->compilation, at, length);
    bool local = at[length - 1] == '_';
    for (int i = 0; i < own->count && !local; i++) local = own->tensors[i]->name == word;
    int k = 0;
    while (local && k < count && names[k] != word) k++;
    if (local && k == count) {
      names = arena_grow(e->compilation, names, count, sizeof *names);
      names[count++] = word;
    }
    local ? text_append(&form, "@%d", k) : text_append(&form, "%s", word);
    at += length;
  }
  return form.bytes;
}

/* The name of a function with this text, or NULL; then it is one from now on. */
static const char *function_like(Emitter *e, const char *form) {
  for (int i = 0; i < e->written_count; i++)
    if (strcmp(e->written[i].form, form) == 0) return e->written[i].name;
  e->written = arena_grow(e->compilation, e->written, e->written_count, sizeof *e->written);
  e->written[e->written_count++] = (Written){form, e->function};
  return NULL;
}

const char *phase_function(Emitter *e, const Plan *plan, int phase) {
  for (int i = 0; i < e->reused_count; i++)
    if (e->reused[i].phase == &plan->phases[phase]) return e->reused[i].name;
  return arena_printf(e->compilation, "%s_%s_%d", plan->name, plan->phases[phase].kind == PHASE_ROWS ? "rows" : "step",
                      phase);
}

static void reuse_function(Emitter *e, const Phase *phase, const char *name) {
  e->reused = arena_grow(e->compilation, e->reused, e->reused_count, sizeof *e->reused);
  e->reused[e->reused_count++] = (Reused){phase, name};
}

const char *range_function(Emitter *e, const Plan *plan, int phase, int range) {
  return arena_printf(e->compilation, "%s_range_%d_%s", plan->name, phase,
                      plan->phases[phase].ranges[range].result->name);
}

static void start_function(Emitter *e, const char *name) {
  e->function = name;
  e->last_comment = NULL;
  e->number_count = e->loop_number = e->block_count = 0;
  e->functions = (Text){.compilation = e->compilation};
}

/* A function with these steps, unless it is a phase's and there is one like it. */
static void emit_function(Emitter *e, const char *name, const StepList *list, const char *more_parameters) {
  Text declarations = {.compilation = e->compilation}, steps = {.compilation = e->compilation};
  start_function(e, name);
  emit_steps(e, &steps, list);
  if (e->rendering == RENDER_LOOPS) put_repeats(e, &steps, list);
  declare_tensors(e, &declarations, list, &steps);
  const Text text = function_text(e, &declarations, &steps);
  const bool alone = e->functions.length == 0 && e->range == NULL && e->rendering == RENDER_LOOPS;
  const Declared own = find_tensors(e, list);
  const char *like = alone ? function_like(e, form_of(e, &text, &own)) : NULL;
  if (like != NULL) {
    reuse_function(e, e->phase, like);
    return;
  }
  text_append(&e->body, "\n%sstatic void %s(const struct spm_call *call, real *scratch, long unit%s)%s",
              e->functions.length > 0 ? e->functions.bytes : "", name, more_parameters, text.bytes);
}

static bool is_row_value(const Access *a) {
  const Tensor *t = a->tensor;
  return t->rows && t->domain == 0 && a->offset == 0 && (t->storage == STORE_KEPT || t->storage == STORE_DATA);
}

bool range_is_product(const Range *range) {
  const Step *step = &range->body.steps[0];
  const Gemm *g = &step->gemm;
  if (range->body.count != 1 || step->kind != PLAN_GEMM || g->loop_count > 0 || g->adds || g->zeroes) return false;
  return g->transpose_a && !g->transpose_b && g->part_a == 1 && g->part_b == 0 && g->k.kind == EXTENT_ROWS &&
         g->k.count == 1 && g->n.kind == EXTENT_FIXED && g->lda == range->leading && g->ldb == g->n.count &&
         g->ldc == g->n.count && is_row_value(&g->a) && is_row_value(&g->b);
}

void emit_phase(Emitter *e, int number) {
  const Plan *plan = e->plan;
  const Phase *phase = e->phase = &plan->phases[number];
  for (int r = 0; r < phase->range_count && !e->products; r++) {
    e->range = &phase->ranges[r];
    emit_function(e, range_function(e, plan, number, r), &e->range->body, ", real *out");
  }
  e->range = NULL;
  if (phase->body.count > 0) emit_function(e, phase_function(e, plan, number), &phase->body, "");
}
