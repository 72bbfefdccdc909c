/* Base: turns bytes and strings into what every stage stands on — the arena, interned names, sources and spans,
 * growable text, shortest numbers. Diagnostics are in diagnostics.c. */
#include "base.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Arena ---------------------------------------------------------------------------------------------------- */

enum { ARENA_ALIGNMENT = 16, ARENA_BLOCK = 1 << 16 };

typedef struct ArenaBlock {
  struct ArenaBlock *next;
  size_t used, capacity;
  _Alignas(ARENA_ALIGNMENT) unsigned char bytes[];
} ArenaBlock;

/* The one way out when memory is exhausted. Without a guard there is nowhere to go, and going on would be worse. */
static _Noreturn void out_of_memory(Compilation *c) {
  if (c->failure_set) longjmp(c->failure, 1);
  abort();
}

static ArenaBlock *arena_block(Compilation *c, size_t capacity) {
  ArenaBlock *block = calloc(1, sizeof *block + capacity);
  if (!block) out_of_memory(c);
  block->capacity = capacity;
  return block;
}

void *arena_allocate(Compilation *c, size_t bytes) {
  if (bytes > SIZE_MAX / 2) out_of_memory(c);
  size_t size = (bytes + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
  if (size == 0) size = ARENA_ALIGNMENT;
  ArenaBlock *first = c->arena;
  if (first && first->capacity - first->used >= size) {
    void *memory = first->bytes + first->used;
    first->used += size;
    return memory;
  }
  if (size > ARENA_BLOCK / 4 && first) { /* a large piece gets its own block behind the one being filled */
    ArenaBlock *own = arena_block(c, size);
    own->used = size;
    own->next = first->next;
    first->next = own;
    return own->bytes;
  }
  ArenaBlock *block = arena_block(c, size > ARENA_BLOCK ? size : ARENA_BLOCK);
  block->next = first;
  block->used = size;
  c->arena = block;
  return block->bytes;
}

char *arena_vprintf(Compilation *c, const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (length < 0) length = 0;
  char *text = arena_allocate(c, (size_t)length + 1);
  vsnprintf(text, (size_t)length + 1, format, arguments);
  return text;
}

char *arena_printf(Compilation *c, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char *text = arena_vprintf(c, format, arguments);
  va_end(arguments);
  return text;
}

/* The capacity is a function of the count alone (4, 8, 16, ...), so callers keep no capacity. */
void *arena_grow(Compilation *c, void *array, int count, size_t element_size) {
  bool full = count == 0 || (count >= 4 && (count & (count - 1)) == 0);
  if (!full) return array;
  size_t capacity = count == 0 ? 4 : 2 * (size_t)count;
  if (count > INT32_MAX / 2 || capacity > SIZE_MAX / 2 / element_size) out_of_memory(c);
  void *grown = arena_allocate(c, capacity * element_size);
  if (count > 0) memcpy(grown, array, (size_t)count * element_size);
  return grown;
}

/* ---- Names ---------------------------------------------------------------------------------------------------- */

typedef struct NameTable {
  Name *slots; /* open addressing; capacity is a power of two */
  size_t capacity, count;
} NameTable;

static uint64_t name_hash(const char *text, size_t length) {
  uint64_t hash = UINT64_C(14695981039346656037);
  for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
  return hash ^ (hash >> 29);
}

static Name *name_slot(const NameTable *table, const char *text, size_t length) {
  size_t i = (size_t)name_hash(text, length) & (table->capacity - 1);
  while (table->slots[i] && (strncmp(table->slots[i], text, length) != 0 || table->slots[i][length] != '\0'))
    i = (i + 1) & (table->capacity - 1);
  return &table->slots[i];
}

static void names_grow(Compilation *c, NameTable *table) {
  NameTable old = *table;
  table->capacity = old.capacity ? 2 * old.capacity : 256;
  table->slots = arena_array(c, Name, table->capacity);
  for (size_t i = 0; i < old.capacity; i++)
    if (old.slots[i]) *name_slot(table, old.slots[i], strlen(old.slots[i])) = old.slots[i];
}

Name intern_range(Compilation *c, const char *text, size_t length) {
  const char *zero = memchr(text, '\0', length); /* a name ends at a NUL, wherever it came from */
  if (zero) length = (size_t)(zero - text);
  NameTable *table = c->names;
  if (2 * (table->count + 1) > table->capacity) names_grow(c, table);
  Name *slot = name_slot(table, text, length);
  if (!*slot) {
    char *copy = arena_allocate(c, length + 1);
    memcpy(copy, text, length);
    *slot = copy;
    table->count++;
  }
  return *slot;
}

Name intern(Compilation *c, const char *text) { return intern_range(c, text, strlen(text)); }

/* ---- The compilation ------------------------------------------------------------------------------------------ */

void compilation_destroy(Compilation *c) {
  if (!c) return;
  ArenaBlock *block = c->arena;
  while (block) {
    ArenaBlock *next = block->next;
    free(block);
    block = next;
  }
  free(c);
}

Compilation *compilation_create(void) {
  Compilation *volatile c = calloc(1, sizeof *c);
  if (!c) return NULL;
  if (setjmp(c->failure)) {
    compilation_destroy(c);
    return NULL;
  }
  c->failure_set = true;
  c->last_diagnostic = &c->first_diagnostic;
  c->names = arena_new(c, NameTable);
  names_grow(c, c->names);
  source_add(c, "", "", 0, true); /* sources[0]: nowhere */
  c->failure_set = false;
  return c;
}

/* ---- Sources and spans ---------------------------------------------------------------------------------------- */

enum { SOURCE_LIMIT = 16 << 20 };

int source_add(Compilation *c, const char *path, const char *text, size_t length, bool library) {
  if (length > INT32_MAX / 2) out_of_memory(c);
  char *copy = arena_allocate(c, length + 1);
  if (length > 0) memcpy(copy, text, length);
  c->sources = arena_grow(c, c->sources, c->source_count, sizeof *c->sources);
  c->sources[c->source_count] = (Source){arena_printf(c, "%s", path), copy, (int)length, library};
  return c->source_count++;
}

int utf8_length(const char *bytes, size_t length) {
  const unsigned char *text = (const unsigned char *)bytes;
  if (text[0] < 0x80) return 1;
  int count = text[0] >= 0xF0 ? 4 : text[0] >= 0xE0 ? 3 : 2;
  if (text[0] < 0xC2 || text[0] > 0xF4 || (size_t)count > length) return 0;
  for (int i = 1; i < count; i++)
    if ((text[i] & 0xC0) != 0x80) return 0;
  bool overlong = (text[0] == 0xE0 && text[1] < 0xA0) || (text[0] == 0xF0 && text[1] < 0x90);
  bool beyond = (text[0] == 0xED && text[1] >= 0xA0) || (text[0] == 0xF4 && text[1] >= 0x90);
  return overlong || beyond ? 0 : count;
}

/* Reports the first byte that no text file holds. */
static bool text_is_clean(Compilation *c, const char *path, const char *text, size_t length, Span from) {
  int line = 1;
  for (size_t i = 0; i < length;) {
    int bytes = utf8_length(text + i, length - i);
    if (text[i] == '\0') {
      help_with(error_at(c, "file", from, "`%s` is not a text file: it has a NUL byte in line %d", path, line),
                "a spec is a UTF-8 text file, usually called NAME.spm");
      return false;
    }
    if (bytes == 0) {
      help_with(error_at(c, "file", from, "`%s` is not UTF-8: line %d has the byte 0x%02X", path, line,
                         (unsigned)(unsigned char)text[i]),
                "save it as UTF-8, or see `iconv`");
      return false;
    }
    if (text[i] == '\n') line++;
    i += (size_t)bytes;
  }
  return true;
}

/* The bytes of an open file, at most one more than the limit. */
static char *read_all(Compilation *c, FILE *file, size_t *length) {
  size_t capacity = ARENA_BLOCK, count = 0;
  char *bytes = arena_allocate(c, capacity);
  while (count <= SOURCE_LIMIT) {
    size_t got = fread(bytes + count, 1, capacity - count, file);
    if (got == 0) break;
    count += got;
    if (count == capacity) {
      char *grown = arena_allocate(c, 2 * capacity);
      memcpy(grown, bytes, count);
      bytes = grown;
      capacity *= 2;
    }
  }
  *length = count;
  return bytes;
}

int source_text(Compilation *c, const char *path, const char *text, Span from) {
  size_t length = strlen(text);
  if (length > SOURCE_LIMIT) {
    error_at(c, "file", from, "`%s` is too large for a spec: more than %d MiB", path, SOURCE_LIMIT >> 20);
    return -1;
  }
  return text_is_clean(c, path, text, length, from) ? source_add(c, path, text, length, false) : -1;
}

int source_read(Compilation *c, const char *path, Span from) {
  struct stat status;
  if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
    Diagnostic *d = error_at(c, "file", from, "`%s` is a directory, not a file", path);
    const char *spec = arena_printf(c, "%s%smodel.spm", path, path[strlen(path) - 1] == '/' ? "" : "/");
    if (stat(spec, &status) == 0) help_with(d, "the spec of this run is `%s`", spec);
    return -1;
  }
  FILE *file = fopen(path, "rb");
  if (!file) {
    if (errno == ENOENT)
      error_at(c, "file", from, "there is no file `%s`", path);
    else
      error_at(c, "file", from, "cannot read `%s`: %s", path, strerror(errno));
    return -1;
  }
  size_t length = 0;
  char *bytes = read_all(c, file, &length);
  bool failed = ferror(file) != 0;
  fclose(file);
  if (failed) {
    error_at(c, "file", from, "cannot read `%s`: reading stopped after %zu bytes", path, length);
    return -1;
  }
  if (length > SOURCE_LIMIT) {
    error_at(c, "file", from, "`%s` is too large for a spec: more than %d MiB", path, SOURCE_LIMIT >> 20);
    return -1;
  }
  if (!text_is_clean(c, path, bytes, length, from)) return -1;
  return source_add(c, path, bytes, length, false);
}

Span span_join(Span first, Span last) {
  if (first.source == 0) return last;
  if (last.source != first.source) return first;
  Span joined = first;
  if (last.start < joined.start) joined.start = last.start;
  if (last.end > joined.end) joined.end = last.end;
  return joined;
}

void source_position(const Source *source, int offset, int *line, int *column) {
  if (offset > source->length) offset = source->length;
  *line = 1;
  *column = 1;
  for (int i = 0; i < offset; i++) {
    unsigned char byte = (unsigned char)source->text[i];
    if (byte == '\n') {
      ++*line;
      *column = 1;
    } else if ((byte & 0xC0) != 0x80) { /* a character is counted at its first byte */
      ++*column;
    }
  }
}

const char *span_text(Compilation *c, Span span) {
  if (span.source <= 0 || span.source >= c->source_count) return "";
  const Source *source = &c->sources[span.source];
  int end = span.end < source->length ? span.end : source->length;
  if (span.start < 0 || span.start >= end) return "";
  char *text = arena_allocate(c, (size_t)(end - span.start) + 1);
  memcpy(text, source->text + span.start, (size_t)(end - span.start));
  return text;
}

/* ---- Suggestions ---------------------------------------------------------------------------------------------- */

enum { LONGEST_SUGGESTION = 64 };

/* Edit distance with swaps of neighbours (optimal string alignment). */
static int edit_distance(const char *a, int n, const char *b, int m) {
  int rows[3][LONGEST_SUGGESTION + 1]; /* the row being filled and the two before it */
  for (int j = 0; j <= m; j++) rows[0][j] = j;
  for (int i = 1; i <= n; i++) {
    int *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
    row[0] = i;
    for (int j = 1; j <= m; j++) {
      int best = above[j - 1] + (a[i - 1] != b[j - 1]);
      if (above[j] + 1 < best) best = above[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped && two_above[j - 2] + 1 < best) best = two_above[j - 2] + 1;
      row[j] = best;
    }
  }
  return rows[n % 3][m];
}

void suggestion_consider(Suggestion *suggestion, const char *candidate) {
  if (!suggestion->name || !candidate) return;
  size_t n = strlen(suggestion->name), m = strlen(candidate);
  if (n > LONGEST_SUGGESTION || m > LONGEST_SUGGESTION) return;
  int distance = edit_distance(suggestion->name, (int)n, candidate, (int)m);
  int limit = ((int)n + 1) / 3; /* a name of one letter is near to nothing */
  if (distance == 0 || distance > limit || distance >= (int)m) return;
  if (suggestion->best && distance >= suggestion->distance) return;
  suggestion->best = candidate;
  suggestion->distance = distance;
}

/* ---- Text and numbers ----------------------------------------------------------------------------------------- */

void text_vappend(Text *text, const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, again);
  va_end(again);
  if (length < 0) return;
  size_t needed = text->length + (size_t)length + 1;
  if (needed > text->capacity) {
    size_t capacity = text->capacity ? 2 * text->capacity : 256;
    if (capacity < needed) capacity = needed;
    char *grown = arena_allocate(text->compilation, capacity);
    if (text->length > 0) memcpy(grown, text->bytes, text->length);
    text->bytes = grown;
    text->capacity = capacity;
  }
  vsnprintf(text->bytes + text->length, (size_t)length + 1, format, arguments);
  text->length += (size_t)length;
}

void text_append(Text *text, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  text_vappend(text, format, arguments);
  va_end(arguments);
}

void text_indent(Text *text, const char *block, int spaces) {
  while (block != NULL && *block != '\0') {
    int length = (int)strcspn(block, "\n");
    text_append(text, "%*s%.*s\n", length > 0 ? spaces : 0, "", length, block);
    block += length + (block[length] == '\n');
  }
}

/* The host may have set a locale that writes 0,1; specs and generated code never do. */
static void undo_locale(char *text) {
  const char *point = localeconv()->decimal_point;
  size_t length = strlen(point);
  char *found = length > 0 && strcmp(point, ".") != 0 ? strstr(text, point) : NULL;
  if (!found) return;
  *found = '.';
  memmove(found + 1, found + length, strlen(found + length) + 1);
}

const char *shortest_number(Compilation *c, double value) {
  if (isnan(value)) return "nan";
  if (isinf(value)) return value < 0 ? "-inf" : "inf";
  if (value > -1e15 && value < 1e15 && value == (double)(long)value && !(value == 0 && signbit(value)))
    return arena_printf(c, "%ld", (long)value);
  char text[64];
  for (int precision = 1; precision <= 17; precision++) {
    snprintf(text, sizeof text, "%.*g", precision, value);
    double read = strtod(text, NULL);
    if (memcmp(&read, &value, sizeof read) == 0) break; /* the same bits: -0 is not 0 */
  }
  undo_locale(text);
  return arena_printf(c, "%s", text);
}

double read_number(const char *text) {
  const char *point = localeconv()->decimal_point;
  const char *dot = strchr(text, '.');
  if (!dot || strcmp(point, ".") == 0) return strtod(text, NULL);
  char local[512];
  if (strlen(text) + strlen(point) >= sizeof local) return strtod(text, NULL);
  snprintf(local, sizeof local, "%.*s%s%s", (int)(dot - text), text, point, dot + 1);
  return strtod(local, NULL);
}

int numbers_ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
