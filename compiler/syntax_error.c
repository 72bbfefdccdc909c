/* Syntax errors: turns a token that cannot stand where it stands, and the tokens that could, into one message in the
 * author's own words, with a hint for the slips that people make. */
#include "syntax.h"

#include "parser.h"

#include <string.h>

/* ---- Words ----------------------------------------------------------------------------------------------------- */

/* How each declaration is written. */
static const struct {
  int kind;
  const char *usage;
} usages[] = {
    {TOKEN_MODEL, "model NAME;` or `model NAME from \"FILE.spm\";"},
    {TOKEN_USE, "use \"FILE.spm\";"},
    {TOKEN_ALLOW, "allow WARNING;"},
    {TOKEN_DIM, "dim NAME = NUMBER;` or `dim NAME;"},
    {TOKEN_DATA, "data NAME : TYPE;"},
    {TOKEN_LATENT, "latent NAME : TYPE;"},
    {TOKEN_PARAM, "param NAME : TYPE;` or `param NAME : TYPE init VALUE;"},
    {TOKEN_LOCAL, "local NAME : TYPE init VALUE;"},
    {TOKEN_DRAW, "draw NAME : TYPE ~ DISTRIBUTION;"},
    {TOKEN_LET, "let NAME = VALUE;"},
    {TOKEN_SCHEDULE, "schedule NAME = VALUE;"},
    {TOKEN_METRIC, "metric NAME = VALUE;"},
    {TOKEN_PRIOR, "prior NAME ~ DISTRIBUTION;"},
    {TOKEN_LIKELIHOOD, "likelihood NAME ~ DISTRIBUTION;"},
    {TOKEN_POSTERIOR,
     "posterior NAME ~ DISTRIBUTION;`, `posterior NAME ~ DISTRIBUTION by METHOD;` or `posterior NAME = VALUE;"},
    {TOKEN_INFER, "infer NAME by METHOD;"},
    {TOKEN_OBJECTIVE, "objective VALUE;"},
    {TOKEN_MINIMIZE, "minimize VALUE;"},
    {TOKEN_ENCODER, "encoder NAME(INPUTS) { NAME = VALUE; ... }"},
    {TOKEN_DECODER, "decoder NAME(INPUTS) { NAME = VALUE; ... }"},
    {TOKEN_NETWORK, "network NAME(INPUTS) { NAME = VALUE; ... }"},
    {TOKEN_LAYER, "layer NAME(INPUTS) { ... return VALUE; }"},
    {TOKEN_FUNCTION, "function NAME(INPUTS) = VALUE;` or `function NAME(INPUTS) { ... return VALUE; }"},
    {TOKEN_DISTRIBUTION, "distribution NAME(VALUE : TYPE; PARAMETERS) { log_pdf = ...; }"},
    {TOKEN_RULE, "rule NAME(PATTERNS) = VALUE;"},
    {TOKEN_TRAIN, "train { NAME = VALUE; ... }` or `train NAME { NAME = VALUE; ... }"},
    {TOKEN_EVALUATE, "evaluate { NAME = VALUE; ... }"},
    {TOKEN_REPEAT, "repeat NUMBER { ... }` or `repeat NUMBER untied { ... }"},
};

static const char *usage(int kind) {
  for (size_t i = 0; i < sizeof usages / sizeof *usages; i++)
    if (usages[i].kind == kind) return usages[i].usage;
  return NULL;
}

bool is_declaration_word(int token) { return token != TOKEN_REPEAT && usage(token) != NULL; }

/* parser.y declares the reserved words first and without gaps. */
static bool is_word(int token) { return token >= TOKEN_MODEL && token <= TOKEN_NOT; }

/* Words that other languages put first in a statement. */
static const char *foreign_word(Name name) {
  static const char *const words[][2] = {
      {"if", "a choice between values is written `condition ? a : b`"},
      {"else", "a choice between values is written `condition ? a : b`"},
      {"for", "`repeat N { ... }` repeats a block; arithmetic already works on whole tensors"},
      {"while", "`repeat N { ... }` repeats a block a fixed number of times"},
      {"def", "a function is written `function NAME(INPUTS) = VALUE;`"},
      {"fn", "a function is written `function NAME(INPUTS) = VALUE;`"},
      {"func", "a function is written `function NAME(INPUTS) = VALUE;`"},
      {"var", "a value is named by `let NAME = VALUE;`, inside a block by `NAME = VALUE;`"},
      {"const", "a value is named by `let NAME = VALUE;`, inside a block by `NAME = VALUE;`"},
      {"parameter", "a trained value is declared by `param NAME : TYPE;`"},
      {"parameters", "a trained value is declared by `param NAME : TYPE;`"},
      {"import", "the declarations of a file are brought in by `use \"FILE.spm\";`"},
      {"include", "the declarations of a file are brought in by `use \"FILE.spm\";`"},
      {"maximize", "`objective VALUE;` is maximised, `minimize VALUE;` is minimised"},
      {"loss", "`objective VALUE;` is maximised, `minimize VALUE;` is minimised"},
      {"hidden", "a random value of each datum is declared by `latent NAME : TYPE;`"},
      {"observed", "data are declared by `data NAME : TYPE;`"},
      {"test", "what is done with held-out data is written `evaluate { NAME = VALUE; ... }`"},
  };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcmp(words[i][0], name) == 0) return words[i][1];
  return NULL;
}

/* ---- The place ------------------------------------------------------------------------------------------------- */

typedef struct Place {
  Parser *parser;
  const Expected *expected;
  const Token *before, *found, *after; /* before: NULL at the start of the file */
  int open;                            /* the innermost bracket, 0 if none */
  const Token *open_token;
} Place;

static Place place_at(Parser *p, const Expected *expected) {
  const Token *tokens = p->tokens.items;
  int i = p->position;
  Place place = {p, expected, i > 0 ? &tokens[i - 1] : NULL, &tokens[i], &tokens[i], 0, NULL};
  if (i + 1 < p->tokens.count) place.after = &tokens[i + 1];
  if (p->open_count > 0) {
    place.open_token = &tokens[p->open[p->open_count - 1]];
    place.open = place.open_token->kind;
  }
  return place;
}

static bool could_be(const Place *place, int token) { return expects(place->expected, token); }
static bool was(const Place *place, int token) { return place->before && place->before->kind == token; }

static const char *found_text(const Place *place) {
  Compilation *c = place->parser->compilation;
  if (place->found->kind == TOKEN_YYEOF) return "the end of the file";
  const char *text = span_text(c, place->found->span);
  if (strlen(text) <= 40) return arena_printf(c, "`%s`", text);
  int cut = 36;
  while (cut > 0 && ((unsigned char)text[cut] & 0xC0) == 0x80) cut--; /* not within a character */
  return arena_printf(c, "`%.*s...`", cut, text);
}

/* ---- What was expected ----------------------------------------------------------------------------------------- */

typedef struct Choices {
  Compilation *compilation;
  const char *items[24];
  int count;
} Choices;

static void choose(Choices *choices, const char *text) {
  if (choices->count < (int)(sizeof choices->items / sizeof *choices->items)) choices->items[choices->count++] = text;
}

static void choose_token(Choices *choices, const Place *place, int token) {
  if (could_be(place, token)) choose(choices, arena_printf(choices->compilation, "`%s`", token_text(token)));
}

/* A name can stand for a type, an attribute, ...: what came before tells. After a value it starts an attribute, which
 * is so seldom what was forgotten that it is not worth naming. */
static void choose_name(Choices *choices, const Place *place) {
  int before = place->before ? place->before->kind : 0;
  bool after_value = before == TOKEN_NAME || before == TOKEN_NUMBER || before == TOKEN_CLOSE ||
                     before == TOKEN_CLOSE_SQUARE || before == TOKEN_TRANSPOSE;
  if (before == TOKEN_COLON)
    choose(choices, "a type");
  else if (!after_value)
    choose(choices, "a name");
}

static void choose_punctuation(Choices *choices, const Place *place) {
  bool in_expression = could_be(place, TOKEN_PLUS), closes = could_be(place, TOKEN_CLOSE);
  bool names_type = could_be(place, TOKEN_NAME);
  if (!in_expression && !names_type && !could_be(place, TOKEN_NUMBER)) choose_token(choices, place, TOKEN_OPEN);
  choose_token(choices, place, TOKEN_OPEN_BRACE);
  choose_token(choices, place, TOKEN_TILDE);
  if (!closes) choose_token(choices, place, TOKEN_ASSIGN); /* within arguments `=` and `:` are seldom what was meant */
  if (!closes || !in_expression) choose_token(choices, place, TOKEN_COLON);
  choose_token(choices, place, TOKEN_COMMA);
  choose_token(choices, place, TOKEN_CLOSE);
  choose_token(choices, place, TOKEN_CLOSE_SQUARE);
  choose_token(choices, place, TOKEN_SEMICOLON);
  choose_token(choices, place, TOKEN_CLOSE_BRACE);
}

static const char *expected_text(const Place *place) {
  Compilation *c = place->parser->compilation;
  Choices choices = {.compilation = c};
  if (could_be(place, TOKEN_MODEL))
    choose(&choices, "a declaration");
  else if (could_be(place, TOKEN_RETURN))
    choose(&choices, "a statement");
  else if (could_be(place, TOKEN_NUMBER))
    choose(&choices, "an expression");
  else if (could_be(place, TOKEN_NAME))
    choose_name(&choices, place);
  if (!could_be(place, TOKEN_NUMBER) && could_be(place, TOKEN_STRING)) choose(&choices, "a file name in quotes");
  if (!could_be(place, TOKEN_MODEL)) choose_token(&choices, place, TOKEN_DIM);
  choose_token(&choices, place, TOKEN_FROM);
  choose_token(&choices, place, TOKEN_INIT);
  choose_token(&choices, place, TOKEN_BY);
  choose_punctuation(&choices, place);
  if (choices.count == 0) choose(&choices, "something else");
  Text text = {.compilation = c};
  for (int i = 0; i < choices.count; i++)
    text_append(&text, "%s%s", i == 0 ? "" : i + 1 == choices.count ? " or " : ", ", choices.items[i]);
  return text.bytes;
}

/* ---- Hints ----------------------------------------------------------------------------------------------------- */

static const char *spelling_hint(const Place *place, const Token *token) {
  Compilation *c = place->parser->compilation;
  if (token->kind != TOKEN_NAME) return NULL;
  const char *foreign = foreign_word(token->text);
  if (foreign) return foreign;
  Suggestion suggestion = {.name = token->text};
  bool outside = place->open != TOKEN_OPEN_BRACE;
  for (int i = 0; reserved_word(i); i++) {
    int kind = TOKEN_MODEL + i;
    bool fits = outside ? is_declaration_word(kind)
                        : kind == TOKEN_RETURN || kind == TOKEN_REPEAT || kind == TOKEN_PARAM || kind == TOKEN_LOCAL;
    if (fits) suggestion_consider(&suggestion, token_text(kind));
  }
  return suggestion.best ? arena_printf(c, "did you mean `%s`?", suggestion.best) : NULL;
}

/* Is the innermost `(` one that groups, rather than a call's? */
static bool is_group(const Place *place) {
  if (place->open != TOKEN_OPEN) return false;
  int position = place->parser->open[place->parser->open_count - 1];
  return position == 0 || place->parser->tokens.items[position - 1].kind != TOKEN_NAME;
}

static bool is_comparison(int kind) {
  return kind == TOKEN_LESS || kind == TOKEN_GREATER || kind == TOKEN_LESS_EQUAL || kind == TOKEN_GREATER_EQUAL ||
         kind == TOKEN_EQUAL || kind == TOKEN_NOT_EQUAL;
}

static bool is_sign(int kind) {
  return kind == TOKEN_PLUS || kind == TOKEN_MINUS || kind == TOKEN_TIMES || kind == TOKEN_DIVIDE;
}

/* The word that the declaration around this place begins with. */
static int declaration_around(const Place *place) {
  const Parser *p = place->parser;
  for (int i = p->position - 1; i >= 0; i--)
    if (is_declaration_word(p->tokens.items[i].kind)) return p->tokens.items[i].kind;
  return 0;
}

/* `if (v > 0) ...` where a name may be followed by arguments; `torch.exp(x)`, `x.sum()`: a call behind a dot. */
static const char *call_hint(const Place *place) {
  const Parser *p = place->parser;
  int called = place->open == TOKEN_OPEN ? p->open[p->open_count - 1] - 1 : -1;
  if (called == p->statement && p->tokens.items[called].kind == TOKEN_NAME) {
    const char *foreign = foreign_word(p->tokens.items[called].text);
    if (foreign) return foreign;
  }
  if (place->found->kind != TOKEN_OPEN || p->position < 2 || !was(place, TOKEN_NAME)) return NULL;
  if (p->tokens.items[p->position - 2].kind != TOKEN_DOT) return NULL;
  return arena_printf(p->compilation, "there are no modules and no methods: write `%s(...)`", place->before->text);
}

/* Slips that show in the token itself. */
static const char *token_hint(const Place *place) {
  Compilation *c = place->parser->compilation;
  int found = place->found->kind, before = place->before ? place->before->kind : 0;
  bool touching = place->before && place->before->span.end == place->found->span.start;
  bool wants_value = could_be(place, TOKEN_NUMBER), after_value = could_be(place, TOKEN_PLUS);
  if (found == TOKEN_ASSIGN && touching && is_sign(before))
    return arena_printf(c, "there is no `%s=`; a name is set once", token_text(before));
  if (found == TOKEN_ASSIGN && (was(place, TOKEN_LESS) || was(place, TOKEN_GREATER)))
    return arena_printf(c, "the operator is `%s=`, without a space", token_text(before));
  if (found == TOKEN_ASSIGN && after_value) return "to compare, write `==`";
  if (found == TOKEN_EQUAL && could_be(place, TOKEN_ASSIGN)) return "`==` compares; a value is set by `=`";
  if (is_comparison(found) && after_value) return "comparisons do not chain: write `a < b and b < c`";
  if (found == TOKEN_COLON && place->open == TOKEN_OPEN_SQUARE) return "a range is written `x[a .. b]`";
  if (found == TOKEN_RANGE) return "a range `a..b` stands only as an index: `x[a..b]`";
  if (found == TOKEN_COMMA && is_group(place) && after_value) return "there are no tuples; a list is written `[a, b]`";
  if ((found == TOKEN_CLOSE || found == TOKEN_CLOSE_SQUARE) && before == TOKEN_COMMA)
    return "remove the comma before it";
  if (found == TOKEN_CLOSE_SQUARE && before == TOKEN_OPEN_SQUARE) return "a list and an index hold at least one value";
  if (found == TOKEN_OPEN_BRACE && wants_value) return "a list is written `[a, b]`";
  if (found == TOKEN_TRANSPOSE && wants_value) return "a string stands in double quotes";
  if (found == TOKEN_NAME && before == TOKEN_NUMBER && touching)
    return arena_printf(c, "a product is written `%s * %s`", span_text(c, place->before->span), place->found->text);
  if (found == TOKEN_NUMBER && before == TOKEN_DOT) return "a number has digits on both sides of its dot";
  if (found == TOKEN_COMMA && could_be(place, TOKEN_SEMICOLON)) return "statements end in `;`";
  return NULL;
}

/* How the statement at hand is written; only while it is still its outline that is wrong. */
static const char *usage_hint(const Place *place) {
  Parser *p = place->parser;
  Compilation *c = p->compilation;
  const Token *first = &p->tokens.items[p->statement];
  if (could_be(place, TOKEN_NUMBER) || could_be(place, TOKEN_PLUS) || first == place->found) return NULL;
  const char *text = usage(first->kind);
  if (text) return arena_printf(c, "it is written `%s`", text);
  if (place->open == TOKEN_OPEN_BRACE && could_be(place, TOKEN_ASSIGN))
    return "a statement in a block is written `NAME = VALUE;`";
  return NULL;
}

static const char *hint(const Place *place) {
  Parser *p = place->parser;
  const char *help = call_hint(place);
  if (!help) help = token_hint(place);
  if (!help && p->position == p->statement) help = spelling_hint(place, place->found);
  if (!help) help = usage_hint(place);
  return help;
}

/* ---- Messages -------------------------------------------------------------------------------------------------- */

/* Counts the error; after too many the rest of the file is not read. */
static Diagnostic *counted(Parser *p, Diagnostic *d) {
  p->failed = true;
  if (++p->error_count < SYNTAX_ERROR_LIMIT) return d;
  note_at(d, (Span){0, 0, 0}, "these are %d syntax errors; the rest of the file is not read", SYNTAX_ERROR_LIMIT);
  p->stop = true;
  return d;
}

void nesting_error(Parser *p, Span span) {
  if (p->stop) return;
  Diagnostic *d = error_at(p->compilation, "nesting", span, "nested more than %d levels deep", NESTING_LIMIT);
  help_with(d, "name parts of it, with `let` or inside a block");
  p->failed = true;
  p->stop = true;
}

void missing_semicolon(Parser *p) {
  Span span = p->tokens.items[p->position - 1].span;
  span.start = span.end;
  counted(p, error_at(p->compilation, "missing-semicolon", span, "missing `;` at the end of this statement"));
}

/* best(objective */
static bool follows_best(const Place *place) {
  const Parser *p = place->parser;
  if (p->position < 2) return false;
  const Token *last = &p->tokens.items[p->position - 1];
  return last[0].kind == TOKEN_OPEN && last[-1].kind == TOKEN_NAME && strcmp(last[-1].text, "best") == 0;
}

/* A reserved word where a name belongs, unless a new statement starts with it. */
static bool report_reserved(const Place *place) {
  Parser *p = place->parser;
  Compilation *c = p->compilation;
  const Token *word = place->found;
  bool set = word->kind == TOKEN_ASSIGN && place->before && is_word(place->before->kind) &&
             p->position == p->statement + 1; /* return = 3 */
  if (set) word = place->before;
  int after = set ? TOKEN_ASSIGN : place->after->kind;
  bool starts = after == TOKEN_NAME || after == TOKEN_STRING || after == TOKEN_OPEN_BRACE;
  if (!is_word(word->kind) || (!set && (starts || !could_be(place, TOKEN_NAME)))) return false;
  if (word->kind == TOKEN_AND || word->kind == TOKEN_OR || word->kind == TOKEN_NOT) return false;
  const char *text = token_text(word->kind);
  Diagnostic *d = error_at(c, "reserved-word", word->span, "`%s` is a reserved word and cannot be a name", text);
  if (word->kind == TOKEN_RETURN && declaration_around(place) == TOKEN_DISTRIBUTION)
    help_with(d, "the fields of a distribution have names: `log_pdf = VALUE;`");
  else if (word->kind == TOKEN_DIM && was(place, TOKEN_COMMA) && place->open == TOKEN_OPEN)
    help_with(d, "the dims that a function reduces are written `over = K`");
  else if (word->kind == TOKEN_OBJECTIVE && follows_best(place))
    help_with(d, "`keep = best` alone is of the objective; best(NAME) is of a term or a metric");
  else
    help_with(d, "choose another, for instance `%s_value`", text);
  counted(p, d);
  return true;
}

static const char *closing_text(int open) { return open == TOKEN_OPEN ? ")" : open == TOKEN_OPEN_SQUARE ? "]" : "}"; }

/* Brackets that do not match, or are not closed where the statement, the block or the file ends. */
static bool report_unbalanced(const Place *place) {
  Parser *p = place->parser;
  Compilation *c = p->compilation;
  int found = place->found->kind;
  bool closer = found == TOKEN_CLOSE || found == TOKEN_CLOSE_SQUARE || found == TOKEN_CLOSE_BRACE;
  bool ends = closer || found == TOKEN_SEMICOLON || found == TOKEN_OPEN_BRACE || found == TOKEN_YYEOF ||
              starts_statement(p, p->position);
  bool extra =
      found == TOKEN_CLOSE_BRACE ? place->open == 0 : closer && (place->open == 0 || place->open == TOKEN_OPEN_BRACE);
  Diagnostic *d = NULL;
  if (extra) {
    d = error_at(c, "unbalanced", place->found->span, "this `%s` closes nothing", token_text(found));
  } else if (place->open == TOKEN_OPEN_BRACE && found == TOKEN_YYEOF) {
    d = error_at(c, "unbalanced", place->found->span, "the file ends inside a block: expected `}`");
    note_at(d, place->open_token->span, "the block starts here");
  } else if (place->open == TOKEN_OPEN_BRACE && ends && could_be(place, TOKEN_CLOSE_BRACE) && !closer &&
             found != TOKEN_SEMICOLON && found != TOKEN_OPEN_BRACE) {
    d = error_at(c, "unbalanced", place->found->span, "expected `}` before %s", found_text(place));
    note_at(d, place->open_token->span, "this block is not closed");
  } else if (place->open && place->open != TOKEN_OPEN_BRACE && ends &&
             could_be(place, place->open == TOKEN_OPEN ? TOKEN_CLOSE : TOKEN_CLOSE_SQUARE)) {
    d = error_at(c, "unbalanced", place->found->span, "expected `%s`, found %s", closing_text(place->open),
                 found_text(place));
    note_at(d, place->open_token->span, "this `%s` is not closed", token_text(place->open));
  }
  if (d) counted(p, d);
  return d != NULL;
}

static bool report_empty_statement(const Place *place) {
  Parser *p = place->parser;
  if (place->found->kind != TOKEN_SEMICOLON || p->position != p->statement) return false;
  Diagnostic *d = error_at(p->compilation, "syntax", place->found->span, "%s",
                           was(place, TOKEN_CLOSE_BRACE) ? "no `;` stands behind the `}` of a block"
                                                         : "there is no statement before this `;`");
  help_with(d, "remove it");
  counted(p, d);
  return true;
}

/* `retrun x;`, `for i in ...`: the word before the one that was found is the mistake. */
static bool report_wrong_word(const Place *place) {
  Parser *p = place->parser;
  bool second = p->position == p->statement + 1;
  if (!second || !could_be(place, TOKEN_ASSIGN) || place->found->kind == TOKEN_ASSIGN) return false;
  const char *help = spelling_hint(place, place->before);
  if (!help) return false;
  Diagnostic *d =
      error_at(p->compilation, "syntax", place->before->span, "expected a statement, found `%s`", place->before->text);
  help_with(d, "%s", help);
  counted(p, d);
  return true;
}

void syntax_error(Parser *p, const Expected *expected) {
  Place place = place_at(p, expected);
  if (report_reserved(&place) || report_unbalanced(&place) || report_empty_statement(&place) ||
      report_wrong_word(&place))
    return;
  Diagnostic *d = error_at(p->compilation, "syntax", place.found->span, "expected %s, found %s", expected_text(&place),
                           found_text(&place));
  const char *help = hint(&place);
  if (help) help_with(d, "%s", help);
  counted(p, d);
}
