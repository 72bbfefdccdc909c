/* Base: what every stage of the compiler stands on — one arena per compilation, interned names,
 * byte-offset spans, and diagnostics that are collected and shown with carets.
 * Depends on nothing else in the project. Never calls exit(); never prints by itself. */
#ifndef SPM_BASE_H
#define SPM_BASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* An interned string: two names are equal exactly when the pointers are. */
typedef const char *Name;

/* A range of bytes of one source; source 0 means "nowhere" (made by the compiler). */
typedef struct Span {
  int source;
  int start, end;
} Span;

typedef struct Source {
  const char *path; /* as the user wrote it */
  const char *text; /* NUL-terminated copy */
  int length;
  bool library; /* shipped with the compiler */
} Source;

typedef enum Severity { SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTE } Severity;

/* One message with its place, further places and a hint. Built by report() and friends. */
typedef struct Diagnostic {
  struct Diagnostic *next;
  struct Diagnostic *notes; /* SEVERITY_NOTE, in order */
  Severity severity;
  const char *code; /* stable identifier: "unknown-name", "shape", ...; warnings are silenced by it */
  Span span;
  const char *message;
  const char *help; /* NULL or what to do about it */
  struct Compilation *owner;
} Diagnostic;

/* Everything one compilation owns. Reentrant: no globals anywhere in the compiler. */
typedef struct Compilation {
  struct ArenaBlock *arena;
  struct NameTable *names;
  struct PolynomialTable *polynomials; /* dims.c */
  struct Literals *literals;           /* invent.c */
  Source *sources;                     /* sources[0] is the empty "nowhere" */
  int source_count;
  Diagnostic *first_diagnostic, **last_diagnostic;
  int error_count;
  int kept_count; /* diagnostics in the list; after 200 they are only counted */
  Name *allowed;  /* warning codes silenced by `allow id;` */
  int allowed_count;
  jmp_buf failure; /* where allocation failure and lexer panic go; set by compilation_guard users */
  bool failure_set;
} Compilation;

Compilation *compilation_create(void); /* NULL only when memory is out */
void compilation_destroy(Compilation *);

/* Zeroed memory, 16-byte aligned, that lives as long as the compilation. On exhaustion longjmps to c->failure. */
void *arena_allocate(Compilation *, size_t bytes);
char *arena_printf(Compilation *, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(Compilation *, const char *format, va_list);
/* Growable arrays in the arena: array = arena_grow(c, array, count, sizeof *array) gives room for element [count]. */
void *arena_grow(Compilation *, void *array, int count, size_t element_size);
#define arena_new(c, type) ((type *)arena_allocate((c), sizeof(type)))
#define arena_array(c, type, count) ((type *)arena_allocate((c), sizeof(type) * (size_t)((count) > 0 ? (count) : 1)))

Name intern(Compilation *, const char *text);
Name intern_range(Compilation *, const char *text, size_t length);

/* Copies text; returns the new source's number. */
int source_add(Compilation *, const char *path, const char *text, size_t length, bool library);
/* The same after looking at the text as source_read does; -1 and a diagnostic if it is no text. */
int source_text(Compilation *, const char *path, const char *text, Span from);
/* Reads a file; -1 and a diagnostic at `from` if it cannot be read (missing, a directory, too large, NUL bytes). */
int source_read(Compilation *, const char *path, Span from);

Span span_join(Span first, Span last);
/* 1-based line and column (columns count characters, tabs as one) of a byte offset. */
void source_position(const Source *, int offset, int *line, int *column);
const char *span_text(Compilation *, Span); /* the author's own text */

/* How many bytes the well-formed UTF-8 character at text has, 0 if there is none; length > 0. */
int utf8_length(const char *text, size_t length);

/* The returned diagnostic may be given notes and a hint. Warnings that are allowed are dropped (a dummy is returned).
 */
Diagnostic *error_at(Compilation *, const char *code, Span, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
Diagnostic *warning_at(Compilation *, const char *code, Span, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A note of its own, neither wrong nor doubtful. */
void note_report(Compilation *, const char *code, Span, const char *format, ...) __attribute__((format(printf, 4, 5)));
void note_at(Diagnostic *, Span, const char *format, ...) __attribute__((format(printf, 3, 4)));
void help_with(Diagnostic *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "did you mean": the candidate nearest to `name` in edit distance, or NULL if none is near. */
typedef struct Suggestion {
  Name name, best;
  int distance;
} Suggestion;
void suggestion_consider(Suggestion *, const char *candidate);

/* file:line:col: error[code]: message, two lines of context, the whole span underlined, notes, help. Tabs are aligned.
 */
void diagnostics_print(Compilation *, FILE *, bool color);
void diagnostics_print_json(
    Compilation *, FILE *); /* an array of {code,severity,file,line,column,end_line,end_column,message,help,notes} */

/* A growable text, for printers and the emitter. */
typedef struct Text {
  Compilation *compilation;
  char *bytes;
  size_t length, capacity;
} Text;
/* The lines of `block`, moved to the right. */
void text_indent(Text *, const char *block, int spaces);
void text_append(Text *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vappend(Text *, const char *format, va_list);
/* The shortest decimal that reads back as the same double ("0.1", "1e-05", "inf"). */
const char *shortest_number(Compilation *, double value);
/* Reads "0.1" whatever the host's locale says; inf on overflow. */
double read_number(const char *text);
/* For qsort of doubles. */
int numbers_ascending(const void *a, const void *b);

#endif
