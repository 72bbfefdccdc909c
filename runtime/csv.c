/* CSV: lines of numbers between commas, semicolons or tabs -> a table of doubles. A cell that is empty, NA or NaN is
 * missing. A first line in which something is no number has the names of the columns, and is left out. */
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
  char separator; /* 0: one column */
  double *values;
  size_t count, room;
  long columns; /* of the first line; 0: not known yet */
};

bool spm_csv_begins(const unsigned char magic[4]) {
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

/* The first of tab, semicolon, comma that the line has. */
static char find_separator(const char *line, const char *end) {
  for (const char *one = "\t;,"; *one; one++)
    if (memchr(line, *one, (size_t)(end - line))) return *one;
  return 0;
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

/* One line; 1: it has names. */
static int read_line(struct csv *csv, const char *line, const char *end, long number) {
  long cells = 0;
  size_t before = csv->count;
  for (const char *cell = line, *stop;; cell = stop + 1) {
    stop = csv->separator ? memchr(cell, csv->separator, (size_t)(end - cell)) : NULL;
    if (!stop) stop = end;
    double value;
    cells++;
    if (!read_cell(cell, stop, &value)) {
      if (csv->columns == 0) {
        csv->count = before;
        return 1;
      }
      int length = stop - cell > 30 ? 30 : (int)(stop - cell);
      return spm_fail(csv->error, "%s: line %ld, column %ld: `%.*s` is not a number", csv->path, number, cells, length,
                      cell);
    }
    if (keep(csv, value) != 0) return -1;
    if (stop == end) break;
  }
  if (csv->columns == 0) csv->columns = cells;
  if (cells == csv->columns) return 0;
  return spm_fail(csv->error, "%s: line %ld has %s, and the first one has %s", csv->path, number, spm_count(cells).text,
                  spm_count(csv->columns).text);
}

static int read_lines(struct csv *csv) {
  const char *at = csv->text, *end = csv->text + csv->length;
  const char *first = memchr(at, '\n', csv->length);
  csv->separator = find_separator(at, first ? first : end);
  drop_ends(csv);
  end = csv->text + csv->length;
  for (long number = 1; at <= end; number++) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    if (!stop) stop = end;
    int status = read_line(csv, at, stop, number);
    if (status < 0) return -1;
    if (status == 1 && number > 1) return spm_fail(csv->error, "%s: line %ld is no line of numbers", csv->path, number);
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
