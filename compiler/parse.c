/* Parsing: feeds the tokens of a source to the push parser and makes a File of what comes out. After an error it
 * decides where reading goes on: behind the statement, at the end of its block, or at the next line that starts a
 * declaration. A missing `;` is reported and put in. */
#include "syntax.h"

#include "parser.h"

#include <stdlib.h>
#include <string.h>

static const Token *token_at(const Parser *p, int position) {
  int last = p->tokens.count - 1;
  return &p->tokens.items[position < 0 ? 0 : position > last ? last : position];
}

static int kind_at(const Parser *p, int position) { return token_at(p, position)->kind; }

static int push_token(Parser *p, spm_pstate *state, const Token *token) {
  SPM_STYPE value;
  memset(&value, 0, sizeof value);
  if (token->kind == TOKEN_NAME) value.TOKEN_NAME = (Located){token->text, token->span};
  if (token->kind == TOKEN_STRING) value.TOKEN_STRING = (Located){token->text, token->span};
  if (token->kind == TOKEN_NUMBER) value.TOKEN_NUMBER = token->number;
  Span span = token->span;
  p->failed = false;
  return spm_push_parse(state, token->kind, &value, &span, p);
}

/* A token that is not in the text; it stands, empty, behind the last one. */
static void push_made(Parser *p, spm_pstate *state, int kind) {
  Token made = *token_at(p, p->position > 0 ? p->position - 1 : 0);
  made.kind = kind;
  made.span.start = made.span.end;
  push_token(p, state, &made);
}

/* ---- Brackets -------------------------------------------------------------------------------------------------- */

static int innermost(const Parser *p) { return p->open_count > 0 ? kind_at(p, p->open[p->open_count - 1]) : 0; }

/* Follows a token that the parser has accepted. */
static void track(Parser *p, int kind) {
  bool opens = kind == TOKEN_OPEN || kind == TOKEN_OPEN_SQUARE || kind == TOKEN_OPEN_BRACE;
  bool closes = kind == TOKEN_CLOSE || kind == TOKEN_CLOSE_SQUARE || kind == TOKEN_CLOSE_BRACE;
  bool ends =
      (kind == TOKEN_SEMICOLON && innermost(p) != TOKEN_OPEN) || kind == TOKEN_CLOSE_BRACE || kind == TOKEN_OPEN_BRACE;
  if (opens) p->open[p->open_count++] = p->position;
  if (closes && p->open_count > 0) p->open_count--;
  p->position++;
  if (ends) p->statement = p->position;
}

static bool too_deep(Parser *p, const Token *token) {
  bool opens = token->kind == TOKEN_OPEN || token->kind == TOKEN_OPEN_SQUARE || token->kind == TOKEN_OPEN_BRACE;
  if (!opens || p->open_count < NESTING_LIMIT) return false;
  nesting_error(p, token->span);
  return true;
}

/* ---- Where statements start ------------------------------------------------------------------------------------ */

static bool is_param_word(int kind) { return kind == TOKEN_PARAM || kind == TOKEN_LOCAL; }

/* A line that starts like a declaration is one, whatever was left open above it. */
bool starts_statement(const Parser *p, int position) {
  const Token *token = token_at(p, position);
  if (!token->first_on_line || !is_declaration_word(token->kind)) return false;
  int next = kind_at(p, position + 1);
  if (token->kind == TOKEN_OBJECTIVE || token->kind == TOKEN_MINIMIZE)
    return next != TOKEN_ASSIGN && next != TOKEN_COMMA && next != TOKEN_CLOSE && next != TOKEN_SEMICOLON;
  return next == TOKEN_NAME || next == TOKEN_STRING || next == TOKEN_OPEN_BRACE;
}

static bool starts_line_of_block(const Parser *p, int position) {
  const Token *token = token_at(p, position);
  int next = kind_at(p, position + 1);
  if (!token->first_on_line) return false;
  if (token->kind == TOKEN_REPEAT || token->kind == TOKEN_RETURN) return next != TOKEN_ASSIGN;
  return token->kind == TOKEN_NAME && next == TOKEN_ASSIGN && kind_at(p, position - 1) != TOKEN_COMMA;
}

/* ---- Going on after an error ----------------------------------------------------------------------------------- */

/* Does the `;` stand inside the head of a distribution, `(z : real; mean) {`? */
static bool is_in_head(const Parser *p, int position) {
  int depth = 1;
  for (int i = position + 1;; i++) {
    int kind = kind_at(p, i);
    bool ends = kind == TOKEN_SEMICOLON || kind == TOKEN_OPEN_BRACE || kind == TOKEN_CLOSE_BRACE ||
                kind == TOKEN_YYEOF || starts_statement(p, i);
    if (ends) return false;
    if (kind == TOKEN_OPEN) depth++;
    if (kind == TOKEN_CLOSE && --depth == 0) {
      int next = kind_at(p, i + 1);
      return next == TOKEN_OPEN_BRACE || next == TOKEN_ASSIGN;
    }
  }
}

/* Outside blocks, what is plainly the rest of a broken block: `NAME = ...;` and `}`. */
static int behind_remains(const Parser *p, int position) {
  for (;;) {
    int kind = kind_at(p, position);
    if (kind == TOKEN_CLOSE_BRACE) {
      position++;
    } else if (kind == TOKEN_NAME && kind_at(p, position + 1) == TOKEN_ASSIGN) {
      while (kind_at(p, position) != TOKEN_SEMICOLON && kind_at(p, position) != TOKEN_YYEOF &&
             kind_at(p, position) != TOKEN_CLOSE_BRACE && !starts_statement(p, position))
        position++;
      if (kind_at(p, position) == TOKEN_SEMICOLON) position++;
    } else {
      return position;
    }
  }
}

/* From the token that was wrong to where the next statement may start; `parentheses` are open there. */
static int resume_position(const Parser *p, int parentheses) {
  bool in_block = p->open_count > 0;
  int braces = 0;
  for (int i = p->position;; i++) {
    int kind = kind_at(p, i);
    bool later = i > p->position;
    if (kind == TOKEN_YYEOF) return i;
    if (starts_statement(p, i) && (later || !in_block || !is_param_word(kind))) return i;
    if (in_block && later && braces == 0 && parentheses == 0 && starts_line_of_block(p, i)) return i;
    if (kind == TOKEN_OPEN) parentheses++;
    if (kind == TOKEN_CLOSE && parentheses > 0) parentheses--;
    if (kind == TOKEN_OPEN_BRACE) braces++;
    if (kind == TOKEN_CLOSE_BRACE && braces == 0) return in_block ? i : behind_remains(p, i + 1);
    if (kind == TOKEN_CLOSE_BRACE && --braces == 0) return kind_at(p, i + 1) == TOKEN_SEMICOLON ? i + 2 : i + 1;
    if (kind == TOKEN_SEMICOLON && braces == 0 && !(parentheses > 0 && is_in_head(p, i)))
      return in_block ? i + 1 : behind_remains(p, i + 1);
  }
}

static void recover(Parser *p, spm_pstate *state) {
  int parentheses = 0;
  for (; p->open_count > 0 && innermost(p) != TOKEN_OPEN_BRACE; p->open_count--) parentheses++;
  bool empty_statement = kind_at(p, p->position) == TOKEN_SEMICOLON;
  p->position = resume_position(p, parentheses);
  while (empty_statement && kind_at(p, p->position) == TOKEN_SEMICOLON) p->position++; /* one message for `;;;` */
  push_made(p, state, TOKEN_RESUME);
  int kind = kind_at(p, p->position); /* blocks that are still open here were not closed by the same mistake */
  if (kind == TOKEN_YYEOF || (starts_statement(p, p->position) && !is_param_word(kind)))
    for (; p->open_count > 0; p->open_count--) push_made(p, state, TOKEN_CLOSE_BRACE);
  p->statement = p->position;
}

/* Is the statement before this token complete but for its `;`? Asks the parser only where the answer may be yes. */
static bool lacks_semicolon(Parser *p, spm_pstate *state) {
  const Token *token = token_at(p, p->position);
  if (p->position == 0 || innermost(p) == TOKEN_OPEN) return false;
  int before = kind_at(p, p->position - 1), kind = token->kind;
  bool after_value = before == TOKEN_NAME || before == TOKEN_NUMBER || before == TOKEN_STRING ||
                     before == TOKEN_CLOSE || before == TOKEN_CLOSE_SQUARE || before == TOKEN_TRANSPOSE;
  if (!after_value) return false;
  bool begins = kind == TOKEN_CLOSE_BRACE || kind == TOKEN_YYEOF || is_declaration_word(kind) || kind == TOKEN_REPEAT ||
                kind == TOKEN_RETURN ||
                (kind == TOKEN_NAME && (token->first_on_line || kind_at(p, p->position + 1) == TOKEN_ASSIGN));
  if (!begins) return false;
  Expected expected;
  parser_expected(state, p, &expected);
  return expects(&expected, TOKEN_SEMICOLON) && !expects(&expected, kind);
}

/* ---- The loop -------------------------------------------------------------------------------------------------- */

static void add_error_item(Parser *p, const Token *token) {
  p->items = arena_grow(p->compilation, p->items, p->item_count, sizeof *p->items);
  p->items[p->item_count++] = item_new(p->compilation, ITEM_ERROR, token->span, (Located){NULL, {0, 0, 0}});
}

static void feed(Parser *p, spm_pstate *state) {
  while (!p->stop) {
    const Token *token = token_at(p, p->position);
    if (lacks_semicolon(p, state)) {
      missing_semicolon(p);
      if (p->stop) return;
      push_made(p, state, TOKEN_SEMICOLON);
      p->statement = p->position;
    }
    if (too_deep(p, token)) return;
    int status = push_token(p, state, token);
    if (status == 1) add_error_item(p, token); /* the end of the file was the error */
    if (status != YYPUSH_MORE || p->stop) return;
    if (p->failed || token->kind == TOKEN_SPM_error)
      recover(p, state);
    else
      track(p, token->kind);
  }
}

/* The push parser's own memory is not the arena's: it is freed also when memory runs out within an action. */
static void run(Parser *p) {
  Compilation *c = p->compilation;
  jmp_buf outer;
  bool outer_set = c->failure_set;
  memcpy(&outer, &c->failure, sizeof outer);
  spm_pstate *state = spm_pstate_new();
  volatile bool failed = state == NULL;
  if (state) {
    if (setjmp(c->failure)) {
      failed = true;
    } else {
      c->failure_set = true;
      feed(p, state);
    }
    spm_pstate_delete(state);
  }
  memcpy(&c->failure, &outer, sizeof outer);
  c->failure_set = outer_set;
  if (!failed) return;
  if (outer_set) longjmp(c->failure, 1);
  abort();
}

/* Lexer and parser each report in order; together they should, too. */
static void sort_diagnostics(Compilation *c, Diagnostic **first) {
  Diagnostic *unsorted = *first;
  *first = NULL;
  c->last_diagnostic = first;
  while (unsorted) {
    Diagnostic *d = unsorted, **at = first;
    unsorted = d->next;
    while (*at && (*at)->span.start <= d->span.start) at = &(*at)->next;
    d->next = *at;
    *at = d;
    if (!d->next) c->last_diagnostic = &d->next;
  }
}

File *parse(Compilation *c, int source) {
  Diagnostic **first = c->last_diagnostic;
  Parser *p = arena_new(c, Parser);
  p->compilation = c;
  p->source = source;
  p->tokens = lex(c, source);
  run(p);
  sort_diagnostics(c, first);
  File *file = arena_new(c, File);
  *file = (File){source, p->items, p->item_count};
  return file;
}
