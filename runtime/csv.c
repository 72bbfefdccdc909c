/* CSV: lines of numbers between commas, semicolons, tabs or blanks -> a table of doubles. A cell that is empty, NA or
 * NaN is missing. Lines that begin with # are comments. A first line in which something is no number has the names of
 * the columns, and is left out. */
#include "formats.h"
#include "words.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct csv {
  struct spm_table *table;
  const char *path;
  struct spm_error *error;
  char *text; /* all of the file, NUL-terminated */
  size_t length;
  char separator; /* 0: one column; ' ': any number of blanks */
  bool named;     /* a line of names was seen */
  double *values;
  size_t count, room;
  long columns; /* of the first line; 0: not known yet */
};

static const unsigned char byte_order_mark[] = {0xEF, 0xBB, 0xBF}; /* some programs begin UTF-8 with it */

bool spm_csv_begins(const unsigned char magic[4]) {
  if (memcmp(magic, byte_order_mark, sizeof byte_order_mark) == 0) return true;
  for (int i = 0; i < 4; i++)
    if ((magic[i] < 0x20 && magic[i] != '\n' && magic[i] != '\r' && magic[i] != '\t') || magic[i] > 0x7E) return false;
  return true;
}

static int read_all(struct csv *csv, struct spm_stream *stream, const unsigned char magic[4]) {
  size_t room = 1 << 16;
  if (stream->total_known && stream->total >= room) room = (size_t)stream->total + 1;
  csv->text = malloc(room);
  if (!csv->text) return spm_fail_system(csv->error, csv->path, "read", ENOMEM);
  memcpy(csv->text, magic, csv->length = 4);
  for (;;) {
    if (csv->length + 1 >= room) {
      char *more = realloc(csv->text, room *= 2);
      if (!more) return spm_fail_system(csv->error, csv->path, "read", ENOMEM);
      csv->text = more;
    }
    long got = spm_stream_some(stream, csv->text + csv->length, room - csv->length - 1, csv->error);
    if (got < 0) return -1;
    if (got == 0) break;
    csv->length += (size_t)got;
  }
  csv->text[csv->length] = 0;
  if (strlen(csv->text) != csv->length)
    return spm_fail(csv->error, "%s: looks like text, but has bytes 0 in it", csv->path);
  size_t mark = sizeof byte_order_mark;
  if (memcmp(csv->text, byte_order_mark, mark) == 0) memmove(csv->text, csv->text + mark, (csv->length -= mark) + 1);
  return 0;
}

static bool drop_last(struct csv *csv, char c) {
  bool there = csv->length > 0 && csv->text[csv->length - 1] == c;
  if (there) csv->text[--csv->length] = 0;
  return there;
}

/* The last line's end; and empty lines behind it where these are no cells. */
static void drop_ends(struct csv *csv) {
  while (drop_last(csv, '\n')) {
    drop_last(csv, '\r');
    if (!csv->separator) break;
  }
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static bool is_missing(const char *cell, size_t length) {
  static const char *const words[] = {"", "NA", "NaN", "nan", "NAN"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strlen(words[i]) == length && memcmp(words[i], cell, length) == 0) return true;
  return false;
}

/* A cell without the blanks and quotes around it. False: no number. */
static bool read_cell(const char *cell, const char *end, double *value) {
  while (cell < end && is_blank(*cell)) cell++;
  while (end > cell && is_blank(end[-1])) end--;
  if (end - cell >= 2 && *cell == '"' && end[-1] == '"') cell++, end--;
  *value = (double)NAN;
  if (is_missing(cell, (size_t)(end - cell))) return true;
  if (!strchr("+-.0123456789iI", *cell)) return false;
  char *after;
  *value = strtod(cell, &after);
  return after == end && !isnan(*value);
}

static int keep(struct csv *csv, double value) {
  if (csv->count == csv->room) {
    size_t room = csv->room ? 2 * csv->room : 1024;
    double *more = realloc(csv->values, room * sizeof *more);
    if (!more) return spm_fail_system(csv->error, csv->path, "read", ENOMEM);
    csv->values = more;
    csv->room = room;
  }
  csv->values[csv->count++] = value;
  return 0;
}

/* A comment; where there are several columns, a line with nothing in it. */
static bool is_skipped(const struct csv *csv, const char *line, const char *end) {
  if (line < end && *line == '#') return true;
  while (line < end && is_blank(*line)) line++;
  return line == end && csv->separator;
}

/* Where the cell that begins at `cell` ends, and in `next` where the one after it begins; NULL: it is the last. */
static const char *cell_end(const struct csv *csv, const char *cell, const char *end, const char **next) {
  const char *stop = csv->separator ? memchr(cell, csv->separator, (size_t)(end - cell)) : NULL;
  *next = stop ? stop + 1 : NULL;
  while (csv->separator == ' ' && *next && *next < end && is_blank(**next)) ++*next;
  if (csv->separator == ' ' && *next == end) *next = NULL;
  return stop ? stop : end;
}

static const char *line_end(const char *line, const char *end) {
  const char *stop = memchr(line, '\n', (size_t)(end - line));
  return stop ? stop : end;
}

/* Two numbers or more between blanks. */
static bool is_blank_separated(const char *line, const char *end) {
  struct csv blanks = {.separator = ' '};
  int cells = 0;
  for (const char *cell = line + strspn(line, " "), *next; cell && cell < end; cell = next, cells++) {
    double value;
    if (!read_cell(cell, cell_end(&blanks, cell, end, &next), &value)) return false;
  }
  return cells > 1;
}

/* The first of tab, semicolon, comma that the first line has; blanks, if it has none and the second line, or the only
 * one, is of numbers between blanks. */
static char find_separator(const char *at, const char *end) {
  const char *first = NULL, *stop = NULL;
  for (int lines = 0; at < end && lines < 2; at = stop + 1) {
    stop = line_end(at, end);
    const char *word = at + strspn(at, " \r");
    if (word >= stop || *at == '#') continue;
    for (const char *one = "\t;,"; *one && lines == 0; one++)
      if (memchr(at, *one, (size_t)(stop - at))) return *one;
    first = at;
    lines++;
  }
  return first && is_blank_separated(first, line_end(first, end)) ? ' ' : 0;
}

static int no_number(const struct csv *csv, const char *cell, const char *stop, long number, long column) {
  int length = stop - cell > 30 ? 30 : (int)(stop - cell);
  bool name = column == 1 && csv->separator && csv->columns == 0 && (*cell < '0' || *cell > '9');
  return spm_fail(csv->error, "%s: line %ld, column %ld: `%.*s` is not a number%s", csv->path, number, column, length,
                  cell, name ? "; rows have no names: leave that column out (pandas: index=False)" : "");
}

/* One line: its numbers, or the names of the columns. */
static int read_line(struct csv *csv, const char *line, const char *end, long number) {
  long cells = 0;
  size_t before = csv->count;
  const char *next = NULL;
  if (csv->separator == ' ')
    while (line < end && is_blank(*line)) line++;
  for (const char *cell = line; cell; cell = next) {
    const char *stop = cell_end(csv, cell, end, &next);
    double value;
    cells++;
    if (!read_cell(cell, stop, &value)) {
      if (csv->columns > 0 || csv->named) return no_number(csv, cell, stop, number, cells);
      csv->count = before;
      csv->named = true;
      if (csv->separator && csv->separator != ' ' && read_cell(line, cell_end(csv, line, end, &next), &value) &&
          isnan(value))
        return spm_fail(csv->error,
                        "%s: the first column has no name, as if it numbered the rows: leave it out (pandas: "
                        "index=False), or give it a name",
                        csv->path);
      return 0;
    }
    if (keep(csv, value) != 0) return -1;
  }
  if (csv->columns == 0) csv->columns = cells;
  if (cells == csv->columns) return 0;
  return spm_fail(csv->error, "%s: line %ld has %s, and the first one has %s", csv->path, number, spm_count(cells).text,
                  spm_count(csv->columns).text);
}

static int read_lines(struct csv *csv) {
  const char *at = csv->text, *end = csv->text + csv->length;
  csv->separator = find_separator(at, end);
  drop_ends(csv);
  end = csv->text + csv->length;
  for (long number = 1; at <= end; number++) {
    const char *stop = line_end(at, end);
    if (!is_skipped(csv, at, stop) && read_line(csv, at, stop, number) != 0) return -1;
    at = stop + 1;
  }
  if (csv->count == 0) return spm_fail(csv->error, "%s: holds no numbers", csv->path);
  return 0;
}

int spm_csv_read(struct spm_table *table, struct spm_stream *stream, const unsigned char magic[4],
                 struct spm_error *error) {
  struct csv csv = {.table = table, .path = stream->path, .error = error};
  int status = read_all(&csv, stream, magic);
  if (status == 0) status = read_lines(&csv);
  free(csv.text);
  if (status != 0) {
    free(csv.values);
    return -1;
  }
  table->format = "CSV";
  table->element = SPM_F64;
  table->rank = csv.columns > 1 ? 2 : 1;
  table->rows = table->shape[0] = (long)csv.count / csv.columns;
  table->row_size = table->shape[1] = csv.columns;
  table->bytes = csv.values;
  table->byte_count = csv.count * sizeof *csv.values;
  return 0;
}
