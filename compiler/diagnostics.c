/* Diagnostics: collects messages and turns them into text with carets, or into JSON. */
#include "base.h"
#include "runtime/files.h"

#include <stdlib.h>
#include <string.h>

/* ---- Collecting ----------------------------------------------------------------------------------------------- */

static Diagnostic *diagnostic_new(Compilation *c, Severity severity, const char *code, Span span, const char *format,
                                  va_list arguments) {
  Diagnostic *d = arena_new(c, Diagnostic);
  d->severity = severity;
  d->code = code;
  d->span = span;
  d->message = arena_vprintf(c, format, arguments);
  d->owner = c;
  return d;
}

enum { KEPT = 200 };

/* Nobody reads more, and a broken file could make millions. */
static void collect(Compilation *c, Diagnostic *d) {
  if (!c->first_diagnostic) c->kept_count = 0; /* whoever shows diagnostics may start a new list */
  if (c->kept_count == KEPT) return;
  c->kept_count++;
  *c->last_diagnostic = d;
  c->last_diagnostic = &d->next;
}

Diagnostic *error_at(Compilation *c, const char *code, Span span, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Diagnostic *d = diagnostic_new(c, SEVERITY_ERROR, code, span, format, arguments);
  va_end(arguments);
  collect(c, d);
  c->error_count++;
  return d;
}

Diagnostic *warning_at(Compilation *c, const char *code, Span span, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Diagnostic *d = diagnostic_new(c, SEVERITY_WARNING, code, span, format, arguments);
  va_end(arguments);
  for (int i = 0; i < c->allowed_count; i++)
    if (strcmp(c->allowed[i], code) == 0) return d; /* a dummy: whoever adds notes to it needs no check */
  collect(c, d);
  return d;
}

void note_report(Compilation *c, const char *code, Span span, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  collect(c, diagnostic_new(c, SEVERITY_NOTE, code, span, format, arguments));
  va_end(arguments);
}

void note_at(Diagnostic *d, Span span, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  Diagnostic *note = diagnostic_new(d->owner, SEVERITY_NOTE, d->code, span, format, arguments);
  va_end(arguments);
  Diagnostic **last = &d->notes;
  while (*last) last = &(*last)->next;
  *last = note;
}

void help_with(Diagnostic *d, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  d->help = arena_vprintf(d->owner, format, arguments);
  va_end(arguments);
}

/* ---- Showing one line of a source ------------------------------------------------------------------------------ */

enum { TAB_WIDTH = 4, WINDOW = 120, LEFT_OF_SPAN = 40, CONTEXT_LINES = 2, WHOLE_SPAN_LINES = 6 };

/* One line as a terminal shows it: where it lies in the source and which columns of it are printed. */
typedef struct Line {
  const Source *source;
  int number, start, end; /* end: before the line break */
  int first_column;       /* long lines are shown from here on */
} Line;

typedef struct Style {
  const char *bold, *red, *yellow, *blue, *reset;
} Style;
static const Style plain = {"", "", "", "", ""};
static const Style colored = {"\033[1m", "\033[1;31m", "\033[1;33m", "\033[1;34m", "\033[0m"};

static unsigned code_point(const char *text, int bytes) {
  const unsigned char *at = (const unsigned char *)text;
  if (bytes <= 1) return *at;
  unsigned point = at[0] & (0xFFu >> (bytes + 1));
  for (int i = 1; i < bytes; i++) point = point << 6 | (at[i] & 0x3Fu);
  return point;
}

/* Columns of one character: East Asian wide forms and emoji take two, combining marks none. */
static int character_width(const char *text, int length, int column, int *bytes) {
  *bytes = utf8_length(text, (size_t)length);
  if (*text == '\t') return TAB_WIDTH - column % TAB_WIDTH;
  if (*bytes <= 1) {
    *bytes = 1;
    return 1;
  }
  unsigned point = code_point(text, *bytes);
  if ((point >= 0x300 && point <= 0x36F) || (point >= 0x200B && point <= 0x200F) || point == 0xFEFF) return 0;
  bool wide = (point >= 0x1100 && point <= 0x115F) || (point >= 0x2E80 && point <= 0xA4CF) ||
              (point >= 0xAC00 && point <= 0xD7A3) || (point >= 0xF900 && point <= 0xFAFF) ||
              (point >= 0xFE30 && point <= 0xFE6F) || (point >= 0xFF00 && point <= 0xFF60) ||
              (point >= 0x1F300 && point <= 0x1FAFF) || (point >= 0x20000 && point <= 0x3FFFD);
  return wide ? 2 : 1;
}

static int column_of(Line line, int offset) {
  int column = 0, bytes = 1;
  for (int i = line.start; i < offset && i < line.end; i += bytes)
    column += character_width(line.source->text + i, line.end - i, column, &bytes);
  return column;
}

static Line line_at(const Source *source, int offset) {
  Line line = {source, 1, 0, 0, 0};
  if (offset > source->length) offset = source->length;
  for (int i = 0; i < offset; i++)
    if (source->text[i] == '\n') {
      line.number++;
      line.start = i + 1;
    }
  line.end = line.start;
  while (line.end < source->length && source->text[line.end] != '\n') line.end++;
  if (line.end > line.start && source->text[line.end - 1] == '\r') line.end--;
  return line;
}

static Line line_before(Line line) {
  int first_column = line.first_column;
  line = line_at(line.source, line.start - 1);
  line.first_column = first_column;
  return line;
}

static void spaces(FILE *out, int count) { fprintf(out, "%*s", count > 0 ? count : 0, ""); }

/* The text of a line: tabs widened, anything a terminal would obey or not understand made visible. */
static void print_line_text(FILE *out, Line line, Style style, int digits) {
  fprintf(out, " %s%*d |%s", style.blue, digits, line.number, style.reset);
  int column = 0, bytes = 1, last = line.first_column + WINDOW;
  if (line.end > line.start) fputc(' ', out);
  if (line.first_column > 0) fputs("...", out);
  for (int i = line.start; i < line.end && column < last; i += bytes) {
    const char *at = line.source->text + i;
    int width = character_width(at, line.end - i, column, &bytes);
    unsigned char byte = (unsigned char)*at;
    bool strange = (byte < 0x20 && byte != '\t') || byte == 0x7F || (byte >= 0x80 && bytes == 1);
    if (column >= line.first_column) {
      if (byte == '\t')
        spaces(out, width);
      else if (strange)
        fputs("\xEF\xBF\xBD", out); /* U+FFFD */
      else
        fwrite(at, 1, (size_t)bytes, out);
    }
    column += width;
  }
  bool cut = column >= last && column < column_of(line, line.end);
  fputs(cut ? "...\n" : "\n", out);
}

/* Carets under the bytes [start, end) of a line; one caret where the range is empty. */
static void print_underline(FILE *out, Line line, int start, int end, const char *color, Style style, int digits) {
  int first = column_of(line, start), last = column_of(line, end), limit = line.first_column + WINDOW;
  if (last <= first) last = first + 1;
  if (first < line.first_column) first = line.first_column;
  if (last > limit) last = limit;
  fprintf(out, " %s%*s |%s ", style.blue, digits, "", style.reset);
  spaces(out, (line.first_column > 0 ? 3 : 0) + first - line.first_column);
  fputs(color, out);
  do fputc('^', out);
  while (++first < last);
  fprintf(out, "%s\n", style.reset);
}

static int decimal_digits(int number) {
  int digits = 1;
  while (number >= 10) {
    number /= 10;
    digits++;
  }
  return digits;
}

/* Every line of the span underlined from its first character to its last; the middle of a long span is left out. */
static void print_span_lines(FILE *out, Line first, Span span, const char *color, Style style, int digits) {
  int count = 1, number = 0;
  for (int i = span.start; i < span.end - 1; i++) count += first.source->text[i] == '\n';
  for (Line line = first;; line = line_at(first.source, line.end + (first.source->text[line.end] == '\r') + 1)) {
    line.first_column = first.first_column;
    number++;
    int start = line.start > span.start ? line.start : span.start;
    int end = line.end < span.end ? line.end : span.end;
    if (number > 1)
      while (start < end && (first.source->text[start] == ' ' || first.source->text[start] == '\t')) start++;
    bool shown = count <= WHOLE_SPAN_LINES || number <= 3 || number == count;
    if (shown) print_line_text(out, line, style, digits);
    if (shown && (start < end || number == 1)) print_underline(out, line, start, end, color, style, digits);
    if (!shown && number == 4) fprintf(out, " %s%*s |%s ...\n", style.blue, digits, "", style.reset);
    if (number >= count) break;
  }
}

static void print_place(Compilation *c, FILE *out, Span span, int context, const char *color, Style style) {
  const Source *source = &c->sources[span.source];
  if (span.end > source->length) span.end = source->length;
  if (span.start > span.end) span.start = span.end;
  Line first = line_at(source, span.start);
  int digits = decimal_digits(line_at(source, span.end > span.start ? span.end - 1 : span.end).number);
  if (column_of(first, first.end) > WINDOW) {
    int column = column_of(first, span.start) - LEFT_OF_SPAN;
    first.first_column = column > 0 ? column : 0;
  }
  Line before[CONTEXT_LINES];
  int count = 0;
  for (Line line = first; count < context && line.number > 1; count++) before[count] = line = line_before(line);
  while (count > 0) print_line_text(out, before[--count], style, digits);
  print_span_lines(out, first, span, color, style, digits);
}

/* ---- Showing diagnostics --------------------------------------------------------------------------------------- */

static const char *severity_text(Severity severity) {
  switch (severity) {
  case SEVERITY_ERROR: return "error";
  case SEVERITY_WARNING: return "warning";
  case SEVERITY_NOTE: return "note";
  }
  return "error";
}

static const char *severity_color(Severity severity, Style style) {
  switch (severity) {
  case SEVERITY_ERROR: return style.red;
  case SEVERITY_WARNING: return style.yellow;
  case SEVERITY_NOTE: return style.blue;
  }
  return style.red;
}

static bool has_place(const Compilation *c, Span span) { return span.source > 0 && span.source < c->source_count; }

static void print_one(Compilation *c, FILE *out, const Diagnostic *d, Style style) {
  const char *color = severity_color(d->severity, style);
  bool placed = has_place(c, d->span), note = d->severity == SEVERITY_NOTE;
  if (placed) {
    int line, column;
    source_position(&c->sources[d->span.source], d->span.start, &line, &column);
    fprintf(out, "%s%s:%d:%d:%s ", style.bold, c->sources[d->span.source].path, line, column, style.reset);
  }
  fprintf(out, "%s%s", color, severity_text(d->severity));
  if (!note && d->code) fprintf(out, "[%s]", d->code);
  fprintf(out, ":%s %s\n", style.reset, d->message);
  if (placed) print_place(c, out, d->span, note ? 0 : CONTEXT_LINES, color, style);
  for (const Diagnostic *n = d->notes; n; n = n->next) print_one(c, out, n, style);
  if (!d->help) return;
  fprintf(out, "  %shelp:%s ", style.bold, style.reset);
  for (const char *at = d->help; *at; at++) {
    fputc(*at, out);
    if (*at == '\n') spaces(out, 8); /* further lines stand under the first */
  }
  fputc('\n', out);
}

void diagnostics_print(Compilation *c, FILE *out, bool color) {
  int shown = 0;
  for (const Diagnostic *d = c->first_diagnostic; d; d = d->next) {
    print_one(c, out, d, color ? colored : plain);
    shown += d->severity == SEVERITY_ERROR;
  }
  if (c->error_count > shown) fprintf(out, "... and %d more errors\n", c->error_count - shown);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

static void json_string(FILE *out, const char *text) {
  if (text)
    spm_json_string(out, text);
  else
    fputs("null", out);
}

/* The members that say where: null and zeros for a message without a place. */
static void json_place(Compilation *c, FILE *out, Span span) {
  int line = 0, column = 0, end_line = 0, end_column = 0;
  const char *path = NULL;
  if (has_place(c, span)) {
    const Source *source = &c->sources[span.source];
    path = source->path;
    source_position(source, span.start, &line, &column);
    source_position(source, span.end, &end_line, &end_column);
  }
  fputs("\"file\": ", out);
  json_string(out, path);
  fprintf(out, ", \"line\": %d, \"column\": %d, \"end_line\": %d, \"end_column\": %d, ", line, column, end_line,
          end_column);
}

static void json_one(Compilation *c, FILE *out, const Diagnostic *d) {
  fputc('{', out);
  if (d->severity != SEVERITY_NOTE) {
    fputs("\"code\": ", out);
    json_string(out, d->code);
    fprintf(out, ", \"severity\": \"%s\", ", severity_text(d->severity));
  }
  json_place(c, out, d->span);
  fputs("\"message\": ", out);
  json_string(out, d->message);
  if (d->severity != SEVERITY_NOTE) {
    fputs(", \"help\": ", out);
    json_string(out, d->help);
    fputs(", \"notes\": [", out);
    for (const Diagnostic *note = d->notes; note; note = note->next) {
      json_one(c, out, note);
      if (note->next) fputs(", ", out);
    }
    fputc(']', out);
  }
  fputc('}', out);
}

void diagnostics_print_json(Compilation *c, FILE *out) {
  fputc('[', out);
  for (const Diagnostic *d = c->first_diagnostic; d; d = d->next) {
    fputs(d == c->first_diagnostic ? "\n  " : ",\n  ", out);
    json_one(c, out, d);
  }
  fputs(c->first_diagnostic ? "\n]\n" : "]\n", out);
}
