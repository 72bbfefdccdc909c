/* Statements that are alike -> one loop over a table: what differs between its rounds are numbers, and where in a
 * buffer tensors lie. Many parameters begin alike, and a list of them is easier to read than as many calls. Requires
 * the text of a function's steps; leaves it as it was where nothing is repeated often enough. */
#include <string.h>

#include "emit_internal.h"

enum { LEAST_ROUNDS = 4, LONGEST_ROUND = 4 };

typedef enum ColumnKind { COLUMN_STREAM, COLUMN_NUMBER, COLUMN_OFFSET, COLUMN_REAL } ColumnKind;

typedef struct Value { /* a number of a statement, or where a tensor lies */
  ColumnKind kind;
  const char *text;
  const Spot *place; /* or NULL */
} Value;

typedef struct Statement {
  const char *comment; /* above it, or NULL */
  const char *text, *key;
  Value *values;
  int value_count;
} Statement;

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void add_value(Compilation *c, Statement *s, Value value) {
  s->values = arena_grow(c, s->values, s->value_count, sizeof *s->values);
  s->values[s->value_count++] = value;
}

/* What stands in the place of values in the key. */
static const char *const marks[] = {"#u", "#", "#p", "#r"};

static void read_statement(Compilation *c, Statement *s, const Spot *places, const NameTable *table) {
  Text key = {.compilation = c};
  for (const char *at = s->text; *at != '\0';) {
    size_t length = text_number_length(at);
    if (length > 0) {
      bool stream = at - s->text > 12 && strncmp(at - 12, "call->seed, ", 12) == 0;
      ColumnKind kind = *at == '(' ? COLUMN_REAL : stream ? COLUMN_STREAM : COLUMN_NUMBER;
      add_value(c, s, (Value){kind, arena_printf(c, "%.*s", (int)length, at), NULL});
      text_append(&key, "%s", marks[kind]);
    } else if ((length = text_word_length(at)) > 0) {
      const int index = name_index(table, intern_range(c, at, length));
      const Spot *place = index < 0 || at[length] == '[' ? NULL : &places[index]; /* an element is no place */
      if (place) {
        add_value(c, s, (Value){COLUMN_OFFSET, arena_printf(c, "%ld", place->offset), place});
        text_append(&key, "%s%s", place->base, marks[COLUMN_OFFSET]);
      } else {
        text_append(&key, "%.*s", (int)length, at);
      }
    } else {
      text_append(&key, "%c", *at);
      length = 1;
    }
    at += length;
  }
  s->key = key.bytes;
}

/* A call that stands by itself, "  name(...);". */
static bool is_call(const char *line, size_t length) {
  return length > 4 && strncmp(line, "  ", 2) == 0 && line[2] != ' ' && strncmp(line + length - 2, ");", 2) == 0 &&
         strcspn(line + 2, "(") == text_word_length(line + 2);
}

static int read_statements(Compilation *c, const char *text, const Spot *places, const NameTable *table,
                           Statement **found) {
  Statement *statements = NULL;
  const char *comment = NULL;
  int count = 0;
  for (const char *at = text; *at != '\0';) {
    const size_t length = strcspn(at, "\n");
    const char *line = arena_printf(c, "%.*s", (int)length, at);
    at += length + (at[length] == '\n');
    if (strncmp(line, "  /* ", 5) == 0) {
      comment = line;
      continue;
    }
    statements = arena_grow(c, statements, count, sizeof *statements);
    Statement *s = &statements[count++];
    *s = (Statement){.comment = comment, .text = line};
    if (is_call(line, length)) read_statement(c, s, places, table);
    comment = NULL;
  }
  *found = statements;
  return count;
}

/* --- rounds ------------------------------------------------------------------------------------------------------- */

/* How often the `length` statements from `first` on are there, one round after the other. */
static int count_rounds(const Statement *statements, int count, int first, int length) {
  int rounds = 1;
  for (int i = 0; i < length; i++)
    if (first + i >= count || !statements[first + i].key) return 0;
  for (;; rounds++)
    for (int i = 0; i < length; i++) {
      const int at = first + rounds * length + i;
      if (at >= count || !statements[at].key || strcmp(statements[at].key, statements[first + i].key) != 0)
        return rounds;
    }
}

typedef struct Column { /* of the table: a value that is not the same in all rounds */
  ColumnKind kind;
  const char *name;
  const Value **values; /* by round */
} Column;

typedef struct Series {
  Emitter *e;
  const Statement *statements; /* of all rounds */
  int length, rounds;
  Column *columns;
  int column_count;
} Series;

static bool differs(const Series *r, int statement, int value) {
  for (int round = 1; round < r->rounds; round++)
    if (strcmp(r->statements[round * r->length + statement].values[value].text,
               r->statements[statement].values[value].text) != 0)
      return true;
  return false;
}

/* The column of these values: one that is there already if it is of the same ones. */
static const Column *column_of(Series *r, int statement, int value) {
  static const char *const names[] = {"stream", "n", "at", "c"};
  Compilation *c = r->e->compilation;
  Column column = {.kind = r->statements[statement].values[value].kind};
  column.values = (const Value **)arena_array(c, Value *, r->rounds);
  int like = 0;
  for (int round = 0; round < r->rounds; round++)
    column.values[round] = &r->statements[round * r->length + statement].values[value];
  for (int i = 0; i < r->column_count; i++) {
    bool same = r->columns[i].kind == column.kind;
    like += same;
    for (int round = 0; round < r->rounds && same; round++)
      same = strcmp(r->columns[i].values[round]->text, column.values[round]->text) == 0;
    if (same) return &r->columns[i];
  }
  column.name = like ? arena_printf(c, "%s%d", names[column.kind], like + 1) : names[column.kind];
  r->columns = arena_grow(c, r->columns, r->column_count, sizeof *r->columns);
  r->columns[r->column_count] = column;
  return &r->columns[r->column_count++];
}

/* The statement with columns in the place of what differs. */
static const char *round_text(Series *r, int statement) {
  const Statement *s = &r->statements[statement];
  Compilation *c = r->e->compilation;
  Text out = {.compilation = c};
  const char *at = s->key;
  for (int v = 0; v < s->value_count; v++) {
    const char *mark = strchr(at, '#');
    const Value *value = &s->values[v];
    const bool place = value->kind == COLUMN_OFFSET;
    text_append(&out, "%.*s", (int)(mark - at), at);
    if (differs(r, statement, v))
      text_append(&out, "%seach[round].%s", place ? " + " : "", column_of(r, statement, v)->name);
    else if (!place)
      text_append(&out, "%s", value->text);
    else if (value->place->offset != 0)
      text_append(&out, " + %s", value->text);
    at = mark + strlen(marks[value->kind]);
  }
  text_append(&out, "%s", at);
  return out.bytes;
}

/* The table's fields in order: those of one type are declared together. */
static const struct {
  const char *type;
  ColumnKind kinds[2];
} fields[] = {{"unsigned", {COLUMN_STREAM, COLUMN_STREAM}},
              {"long", {COLUMN_NUMBER, COLUMN_OFFSET}},
              {"real", {COLUMN_REAL, COLUMN_REAL}}};
enum { FIELDS = sizeof fields / sizeof *fields };

/* Of the columns that make these fields, their names (round -1) or their values in a round. */
static void add_columns(const Series *r, int field, int round, Text *out) {
  for (int i = 0; i < r->column_count; i++) {
    const Column *column = &r->columns[i];
    if (column->kind != fields[field].kinds[0] && column->kind != fields[field].kinds[1]) continue;
    text_append(out, "%s%s", out->length ? ", " : "", round < 0 ? column->name : column->values[round]->text);
  }
}

static void put_fields(const Series *r, Text *out) {
  put_line(out, 1, "static const struct {");
  for (int f = 0; f < FIELDS; f++) {
    Text line = {.compilation = r->e->compilation};
    add_columns(r, f, -1, &line);
    if (line.length) put_line(out, 2, "%s %s;", fields[f].type, line.bytes);
  }
  put_line(out, 1, "} each[] = {");
}

/* The values of one round, and what they are of. */
static void put_row(const Series *r, int round, Text *out) {
  Text row = {.compilation = r->e->compilation};
  for (int f = 0; f < FIELDS; f++) add_columns(r, f, round, &row);
  const Spot *place = NULL;
  for (int s = 0; s < r->length; s++)
    for (int v = 0; v < r->statements[s].value_count && !place; v++)
      place = r->statements[round * r->length + s].values[v].place;
  if (place)
    put_line(out, 2, "{%s}%s /* %s %s */", row.bytes, round + 1 < r->rounds ? "," : "};", place->name, place->shape);
  else
    put_line(out, 2, "{%s}%s", row.bytes, round + 1 < r->rounds ? "," : "};");
}

/* The comments of all rounds, each once. */
static void put_comments(const Series *r, int statement, Text *out) {
  for (int round = 0; round < r->rounds; round++) {
    const char *comment = r->statements[round * r->length + statement].comment;
    bool said = false;
    for (int i = 0; i < round && comment && !said; i++) {
      const char *before = r->statements[i * r->length + statement].comment;
      said = before && strcmp(before, comment) == 0;
    }
    if (comment && !said) put_line(out, 1, "%s", comment);
  }
}

static void put_repeat(Series *r, Text *out) {
  Text body = {.compilation = r->e->compilation};
  for (int s = 0; s < r->length; s++) {
    put_comments(r, s, &body);
    put_line(&body, 1, "%s", round_text(r, s));
  }
  put_fields(r, out);
  for (int round = 0; round < r->rounds; round++) put_row(r, round, out);
  put_line(out, 1, "for (int round = 0; round < %d; round++) {", r->rounds);
  text_append(out, "%s", body.bytes);
  put_line(out, 1, "}");
}

void emit_repeats(Emitter *e, Text *steps, const Spot *places, int place_count) {
  Compilation *c = e->compilation;
  Statement *statements;
  Text out = {.compilation = c};
  bool found = false;
  if (steps->length == 0) return;
  Name *names = arena_array(c, Name, place_count);
  for (int i = 0; i < place_count; i++) names[i] = places[i].name;
  const NameTable table = name_table(c, names, place_count);
  const int count = read_statements(c, steps->bytes, places, &table, &statements);
  for (int i = 0; i < count;) {
    Series r = {.e = e, .statements = &statements[i]};
    for (int length = 1; length <= LONGEST_ROUND && !found && r.rounds < LEAST_ROUNDS; length++) {
      r.length = length;
      r.rounds = count_rounds(statements, count, i, length);
    }
    if (r.rounds >= LEAST_ROUNDS) {
      found = true; /* one a function, so that its names are its own */
      put_repeat(&r, &out);
      i += r.rounds * r.length;
      continue;
    }
    if (statements[i].comment) text_append(&out, "%s\n", statements[i].comment);
    text_append(&out, "%s\n", statements[i++].text);
  }
  if (found) *steps = out;
}
