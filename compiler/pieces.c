/* Runtime sources -> the declarations that a generated file needs. See pieces.h.
 *
 * A cut is exact for C as this project writes it: directives on lines of their own, no K&R definitions, no macro that
 * opens a brace which it does not close. Conditions around a piece come along with it; include guards do not. */
#include "pieces.h"

#include <ctype.h>
#include <string.h>

enum { MAX_DEPTH = 8 };

typedef struct Condition { /* #if ... #else ... #endif */
  const char *lines[8];    /* of its branches */
  int count;
} Condition;

typedef struct Piece {
  const char *comment; /* directly above, or NULL */
  const char *text;
  Name *defines, *mentions;
  int define_count, mention_count;
  int depth;
  int conditions[MAX_DEPTH], branches[MAX_DEPTH];
  int file;
  bool function, prototype;
  bool local; /* to its file: anything in a .c file but a function that is not static */
  bool wanted, queued;
} Piece;

struct Pieces {
  Compilation *compilation;
  Condition *conditions;
  Piece *pieces;
  int condition_count, piece_count, file_count;
  const char **includes;
  int *include_files;
  int include_count;
};

Pieces *pieces_create(Compilation *c) {
  Pieces *p = arena_new(c, Pieces);
  p->compilation = c;
  return p;
}

/* --- reading C ------------------------------------------------------------------------------------------------- */

static const char *range(Compilation *c, const char *from, const char *to) {
  while (to > from && isspace((unsigned char)to[-1])) to--;
  return arena_printf(c, "%.*s", (int)(to - from), from);
}

static bool is_word(char letter) { return isalnum((unsigned char)letter) || letter == '_'; }

/* Past a comment, a string or a character at `at`; `at` itself if there is none. */
static const char *skip_quoted(const char *at) {
  if (at[0] == '/' && at[1] == '*') {
    const char *end = strstr(at + 2, "*/");
    return end ? end + 2 : at + strlen(at);
  }
  if (*at != '"' && *at != '\'') return at;
  const char quote = *at++;
  while (*at && *at != quote) at += at[0] == '\\' && at[1] ? 2 : 1;
  return *at ? at + 1 : at;
}

/* The next identifier at or after `at`, outside comments and strings; its length, or 0 at the end. */
static int next_word(const char **at) {
  while (**at) {
    const char *after = skip_quoted(*at);
    if (after != *at) {
      *at = after;
      continue;
    }
    if (is_word(**at)) {
      int length = 0;
      while (is_word((*at)[length])) length++;
      if (!isdigit((unsigned char)**at)) return length;
      *at += length;
      continue;
    }
    ++*at;
  }
  return 0;
}

static void list_mentions(Compilation *c, const char *text, Name **names, int *count) {
  for (int length; (length = next_word(&text)) > 0; text += length) {
    Name name = intern_range(c, text, (size_t)length);
    bool seen = false;
    for (int i = 0; i < *count && !seen; i++) seen = (*names)[i] == name;
    if (seen) continue;
    *names = arena_grow(c, *names, *count, sizeof **names);
    (*names)[(*count)++] = name;
  }
}

/* --- what a piece defines ---------------------------------------------------------------------------------------- */

static void define(Compilation *c, Piece *piece, const char *word, int length) {
  piece->defines = arena_grow(c, piece->defines, piece->define_count, sizeof *piece->defines);
  piece->defines[piece->define_count++] = intern_range(c, word, (size_t)length);
}

/* The last word before `end`. */
static void define_before(Compilation *c, Piece *piece, const char *end) {
  const char *at = piece->text, *word = NULL;
  int length, kept = 0;
  while ((length = next_word(&at)) > 0 && at < end) {
    word = at;
    kept = length;
    at += length;
  }
  if (word) define(c, piece, word, kept);
}

/* The first of these letters outside comments and strings. */
static const char *find_letter(const char *text, const char *letters) {
  while (*text) {
    const char *after = skip_quoted(text);
    if (after != text) {
      text = after;
      continue;
    }
    if (strchr(letters, *text)) return text;
    text++;
  }
  return NULL;
}

/* A word behind `=` is another one's, of which the value is made. */
static void define_enumerators(Compilation *c, Piece *piece, const char *brace) {
  bool value = false;
  for (const char *at = brace; *at; at++) {
    const char *after = skip_quoted(at);
    int length = 0;
    while (after == at && is_word(at[length])) length++;
    if (*at == '=' || *at == ',') value = *at == '=';
    if (length > 0 && !value && !isdigit((unsigned char)*at)) define(c, piece, at, length);
    at = length > 0 ? at + length - 1 : after > at ? after - 1 : at;
  }
}

static bool begins(const char *text, const char *word) {
  size_t length = strlen(word);
  return strncmp(text, word, length) == 0 && !is_word(text[length]);
}

static void find_definitions(Compilation *c, Piece *piece) {
  const char *text = piece->text, *brace = find_letter(text, "{"), *stop;
  if (text[0] == '#') {
    const char *at = text + strlen("#define");
    int length = next_word(&at);
    define(c, piece, at, length);
  } else if (begins(text, "typedef")) {
    const char *pointer = strstr(text, "(*"), *attribute = strstr(text, "__attribute__");
    if (pointer)
      define_before(c, piece, strchr(pointer, ')'));
    else
      define_before(c, piece, attribute ? attribute : strrchr(text, ';'));
  } else if (begins(text, "enum") && brace) {
    define_enumerators(c, piece, brace);
  } else if ((begins(text, "struct") || begins(text, "union")) && brace && !memchr(text, '(', (size_t)(brace - text)) &&
             !memchr(text, '=', (size_t)(brace - text))) {
    define_before(c, piece, brace);
  } else if ((stop = find_letter(text, "([=;")) != NULL) {
    define_before(c, piece, stop);
    bool call = *stop == '(';
    piece->function = call && brace != NULL;
    piece->prototype = call && brace == NULL;
  }
}

/* --- cutting ------------------------------------------------------------------------------------------------------ */

typedef struct Cutter {
  Pieces *p;
  int conditions[MAX_DEPTH], branches[MAX_DEPTH], depth;
  int guard;   /* depth of the include guard, which is not counted; -1: none */
  int nesting; /* counting it */
  const char *guard_name;
  bool whole, header;
} Cutter;

static const char *end_of_line(const char *at) {
  while (*at && *at != '\n') at += at[0] == '\\' && at[1] == '\n' ? 2 : 1;
  return at;
}

static void add_piece(Cutter *cut, const char *comment, const char *from, const char *to) {
  Pieces *p = cut->p;
  p->pieces = arena_grow(p->compilation, p->pieces, p->piece_count, sizeof *p->pieces);
  Piece *piece = &p->pieces[p->piece_count++];
  *piece = (Piece){.comment = comment, .text = range(p->compilation, from, to), .depth = cut->depth};
  piece->file = p->file_count;
  piece->wanted = cut->whole;
  memcpy(piece->conditions, cut->conditions, sizeof cut->conditions);
  memcpy(piece->branches, cut->branches, sizeof cut->branches);
  find_definitions(p->compilation, piece);
  piece->local = !cut->header && (!piece->function || begins(piece->text, "static"));
  list_mentions(p->compilation, piece->text, &piece->mentions, &piece->mention_count);
}

static void open_condition(Cutter *cut, const char *line) {
  Pieces *p = cut->p;
  size_t length = strlen(line);
  cut->nesting++;
  if (cut->guard < 0 && strncmp(line, "#ifndef SPM_", 12) == 0 && strcmp(line + length - 2, "_H") == 0) {
    cut->guard = cut->nesting;
    cut->guard_name = line + strlen("#ifndef ");
    return;
  }
  p->conditions = arena_grow(p->compilation, p->conditions, p->condition_count, sizeof *p->conditions);
  p->conditions[p->condition_count] = (Condition){{line}, 1};
  cut->conditions[cut->depth] = p->condition_count++;
  cut->branches[cut->depth++] = 0;
}

static void directive(Cutter *cut, const char *comment, const char *from, const char *to) {
  Pieces *p = cut->p;
  Compilation *c = p->compilation;
  const char *line = range(c, from, to);
  if (strncmp(line, "#if", 3) == 0) {
    open_condition(cut, line);
  } else if (strncmp(line, "#el", 3) == 0) {
    Condition *condition = &p->conditions[cut->conditions[cut->depth - 1]];
    cut->branches[cut->depth - 1] = condition->count;
    condition->lines[condition->count++] = line;
  } else if (strncmp(line, "#endif", 6) == 0) {
    if (cut->nesting-- != cut->guard) cut->depth--;
  } else if (strncmp(line, "#include <", 10) == 0) {
    p->includes = arena_grow(c, p->includes, p->include_count, sizeof *p->includes);
    p->include_files = arena_grow(c, p->include_files, p->include_count, sizeof *p->include_files);
    p->include_files[p->include_count] = p->file_count;
    p->includes[p->include_count++] = line;
  } else if (strncmp(line, "#define ", 8) == 0) {
    const char *name = line + 8, *space = strchr(name, ' ');
    /* An include guard; or a second name for a double build beside a float one, of which a file of its own has one. */
    bool guard = cut->guard_name && strcmp(name, cut->guard_name) == 0;
    bool alias = space && strcmp(space + 1, arena_printf(c, "%.*s_d", (int)(space - name), name)) == 0;
    if (!guard && !alias) add_piece(cut, comment, from, to);
  }
}

/* The end of the declaration that begins at `at`: after its `;` or, of a function, its `}`. */
static const char *end_of_declaration(const char *at) {
  int depth = 0;
  bool function = false;
  char last = 0;
  while (*at) {
    const char *after = skip_quoted(at);
    if (after != at) {
      at = after;
      continue;
    }
    if (*at == '{' && depth == 0) function = last == ')';
    if (*at == '{' || *at == '(') depth++;
    if (*at == '}' || *at == ')') depth--;
    if (depth == 0 && (*at == ';' || (*at == '}' && function))) return end_of_line(at);
    if (!isspace((unsigned char)*at)) last = *at;
    at++;
  }
  return at;
}

void pieces_add(Pieces *p, const char *path, const char *text, bool whole) {
  Cutter cut = {.p = p, .guard = -1, .whole = whole, .header = path[strlen(path) - 1] == 'h'};
  const char *comment = NULL;
  for (const char *at = text; *at;) {
    if (*at == '\n') {
      if (at > text && at[-1] == '\n') comment = NULL; /* not directly above anything */
      at++;
    } else if (isspace((unsigned char)*at)) {
      at++;
    } else if (at[0] == '/' && at[1] == '*') {
      const char *end = skip_quoted(at);
      comment = range(p->compilation, at, end);
      at = end;
    } else {
      const char *end = *at == '#' ? end_of_line(at) : end_of_declaration(at);
      if (*at == '#')
        directive(&cut, comment, at, end);
      else
        add_piece(&cut, comment, at, end);
      comment = NULL;
      at = end;
    }
  }
  p->file_count++;
}

/* --- what is needed --------------------------------------------------------------------------------------------- */

static bool defines(const Piece *piece, Name name) {
  for (int i = 0; i < piece->define_count; i++)
    if (piece->defines[i] == name) return true;
  return false;
}

/* file: of the piece that mentions the name, -1: of none */
static void want(Pieces *p, Name name, int file) {
  for (int i = 0; i < p->piece_count; i++) {
    Piece *piece = &p->pieces[i];
    if (!piece->wanted && (!piece->local || piece->file == file) && defines(piece, name)) piece->wanted = true;
  }
}

static void close_over(Pieces *p) {
  for (bool changed = true; changed;) {
    changed = false;
    for (int i = 0; i < p->piece_count; i++) {
      Piece *piece = &p->pieces[i];
      if (!piece->wanted || piece->queued) continue;
      piece->queued = changed = true;
      for (int m = 0; m < piece->mention_count; m++) want(p, piece->mentions[m], piece->file);
    }
  }
}

void pieces_need(Pieces *p, const char *text) {
  Name *mentions = NULL;
  int count = 0;
  list_mentions(p->compilation, text, &mentions, &count);
  for (int i = 0; i < count; i++) want(p, mentions[i], -1);
  close_over(p);
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

void pieces_includes(Pieces *p, Text *out) {
  bool *wanted = arena_array(p->compilation, bool, p->file_count);
  for (int i = 0; i < p->piece_count; i++) wanted[p->pieces[i].file] |= p->pieces[i].wanted;
  for (int i = 0; i < p->include_count; i++)
    if (wanted[p->include_files[i]] && (out->length == 0 || !strstr(out->bytes, p->includes[i])))
      text_append(out, "%s\n", p->includes[i]);
}

/* A directive that ends a branch: no empty line before it. */
static void end_branch(Text *out, const char *line) {
  if (out->length > 1 && strcmp(out->bytes + out->length - 2, "\n\n") == 0) out->bytes[--out->length] = '\0';
  text_append(out, "%s\n", line);
}

/* Closes and opens conditions between what `depth` says is open and what the piece stands in. */
static void move_to(const Pieces *p, Text *out, int *conditions, int *branches, int *depth, const Piece *piece) {
  int same = 0;
  while (piece && same < *depth && same < piece->depth && conditions[same] == piece->conditions[same] &&
         branches[same] == piece->branches[same])
    same++;
  bool onward = piece && same < *depth && same < piece->depth && conditions[same] == piece->conditions[same];
  while (*depth > same + onward) {
    end_branch(out, "#endif");
    --*depth;
  }
  for (int d = same; piece && d < piece->depth; d++) {
    const Condition *condition = &p->conditions[piece->conditions[d]];
    int from = onward && d == same ? branches[d] + 1 : 0;
    for (int b = from; b <= piece->branches[d]; b++)
      b > 0 ? end_branch(out, condition->lines[b]) : text_append(out, "%s\n", condition->lines[b]);
    conditions[d] = piece->conditions[d];
    branches[d] = piece->branches[d];
    *depth = d + 1;
  }
}

static const Piece *definition_of(const Pieces *p, const Piece *prototype) {
  for (int i = 0; i < p->piece_count; i++)
    if (p->pieces[i].function && p->pieces[i].wanted && defines(&p->pieces[i], prototype->defines[0]))
      return &p->pieces[i];
  return NULL;
}

static const char *comment_of(const Pieces *p, const Piece *piece) {
  if (piece->comment || !piece->function) return piece->comment;
  for (int i = 0; i < p->piece_count; i++)
    if (p->pieces[i].prototype && p->pieces[i].comment && defines(&p->pieces[i], piece->defines[0]))
      return p->pieces[i].comment;
  return NULL;
}

void pieces_paste(Pieces *p, Text *out) {
  int conditions[MAX_DEPTH], branches[MAX_DEPTH], depth = 0;
  bool spaced = true;
  for (int i = 0; i < p->piece_count; i++) {
    const Piece *piece = &p->pieces[i];
    if (!piece->wanted || (piece->prototype && definition_of(p, piece))) continue;
    const char *comment = comment_of(p, piece);
    bool block = comment || strchr(piece->text, '\n');
    const int before = depth;
    if (!spaced && block) text_append(out, "\n");
    move_to(p, out, conditions, branches, &depth, piece);
    if (depth < before) text_append(out, "\n");
    if (comment) text_append(out, "%s\n", comment);
    bool global = piece->function && !begins(piece->text, "static") && !begins(piece->text, "VM_FUNCTION") &&
                  !begins(piece->text, "extern") && !begins(piece->text, "int main");
    text_append(out, "%s%s\n", global ? "static " : "", piece->text);
    spaced = block && piece->text[0] != '#';
    if (spaced) text_append(out, "\n");
  }
  move_to(p, out, conditions, branches, &depth, NULL);
}

/* --- conditions that are decided already ------------------------------------------------------------------------ */

/* The name that the condition is about, if it is a decided one. */
static const Decided *condition_on(const char *line, const Decided *names, int count) {
  const char *name = strncmp(line, "#ifdef ", 7) == 0 ? line + 7 : strncmp(line, "#ifndef ", 8) == 0 ? line + 8 : "";
  for (int i = 0; i < count; i++)
    if (begins(name, names[i].name)) return &names[i];
  return NULL;
}

const char *pieces_decide(Compilation *c, const char *text, const Decided *names, int count) {
  Text out = {.compilation = c};
  struct {
    bool decided, dropped;
  } open[2 * MAX_DEPTH] = {{false, false}};
  int depth = 0, dropping = 0;
  for (const char *at = text, *end; *at; at = *end ? end + 1 : end) {
    end = end_of_line(at);
    bool kept = true;
    if (strncmp(at, "#if", 3) == 0 && depth < 2 * MAX_DEPTH) {
      const Decided *name = condition_on(at, names, count);
      open[depth].decided = name != NULL;
      open[depth].dropped = name && name->defined == (at[3] == 'n');
      kept = !open[depth].decided;
      dropping += open[depth++].dropped;
    } else if (strncmp(at, "#else", 5) == 0 && depth > 0 && open[depth - 1].decided) {
      dropping += open[depth - 1].dropped ? -1 : 1;
      open[depth - 1].dropped = !open[depth - 1].dropped;
      kept = false;
    } else if (strncmp(at, "#endif", 6) == 0 && depth > 0) {
      dropping -= open[--depth].dropped;
      kept = !open[depth].decided;
    }
    if (kept && dropping == 0) text_append(&out, "%.*s\n", (int)(end - at), at);
  }
  return out.bytes ? out.bytes : "";
}

const char *plain_kernel_names(Compilation *c, const char *text) {
  Text out = {.compilation = c};
  for (const char *found; (found = strstr(text, "SPM_K(")) != NULL; text = strchr(found, ')') + 1) {
    const char *name = found + 6;
    text_append(&out, "%.*sspm_%.*s", (int)(found - text), text, (int)strcspn(name, ")"), name);
  }
  text_append(&out, "%s", text);
  return out.bytes;
}
