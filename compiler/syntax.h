/* Private to the syntax stage: what lexer.l, parser.y, parse.c, syntax_error.c and ast.c say to each other.
 *
 *   text --lexer.l--> tokens --parse.c--> parser.y --ast.c--> tree
 *
 * parse.c feeds the tokens one by one to a push parser, so that it decides where parsing goes on after an error. */
#ifndef SPM_SYNTAX_H
#define SPM_SYNTAX_H

#include "ast.h"

enum { NESTING_LIMIT = 200, SYNTAX_ERROR_LIMIT = 20 };

typedef struct Token {
  int kind; /* a TOKEN_ of parser.h */
  bool first_on_line;
  Span span;
  Name text; /* NAME; STRING: between the quotes */
  double number;
} Token;

typedef struct Tokens {
  Token *items; /* the last is the end of the file: an empty span behind the last token */
  int count;
} Tokens;

/* Reports what is no token and replaces it by what was meant, or by TOKEN_SPM_error, which the parser passes over. */
Tokens lex(Compilation *, int source);
/* The reserved words, in the order of the grammar; NULL behind the last. */
const char *reserved_word(int i);

typedef struct Parser {
  Compilation *compilation;
  int source;
  Tokens tokens;
  int position;                /* of the token being pushed */
  int statement;               /* position of the first token of the statement it is in */
  int open[NESTING_LIMIT + 1]; /* positions of the brackets that are open */
  int open_count;
  Item **items;
  int item_count;
  int error_count;
  bool failed; /* the token pushed last was an error */
  bool stop;
} Parser;

/* The tokens that could have stood in place of the one that was found. */
typedef struct Expected {
  bool symbols[128];
} Expected;
bool expects(const Expected *, int token);
const char *token_text(int token); /* "model", ";" */
/* What could be pushed next; the state is the push parser's. */
void parser_expected(void *state, Parser *, Expected *);

/* The one message for the token at parser->position, which cannot stand there. */
void syntax_error(Parser *, const Expected *);
void missing_semicolon(Parser *);
void nesting_error(Parser *, Span);
bool starts_statement(const Parser *, int position);
bool is_declaration_word(int token); /* may stand first in a file */

/* ---- constructors (ast.c): everything the grammar's actions call ------------------------------------------------ */

typedef struct ArgumentList {
  Argument *items;
  int count;
} ArgumentList;
typedef struct ExprList {
  Expr **items;
  int count;
} ExprList;
typedef struct IndexList {
  Index *items;
  int count;
} IndexList;
typedef struct NameList {
  Name *names;
  Span *spans;
  int count;
} NameList;
typedef struct AttributeList {
  Attribute *items;
  int count;
} AttributeList;
typedef struct FieldList {
  Field *items;
  int count;
} FieldList;
typedef struct SettingList {
  Setting *items;
  int count;
} SettingList;
typedef struct Head {
  Formals formals, extra;
} Head;
typedef struct Located {
  Name name;
  Span span;
} Located; /* a name or a string with its place */

Expr *expr_number(Compilation *, Span, double);
Expr *expr_string(Compilation *, Located);
Expr *expr_name(Compilation *, Located);
Expr *expr_call(Compilation *, Span, Located name, ArgumentList);
Expr *expr_list(Compilation *, Span, ExprList);
Expr *expr_operation(Compilation *, Span, ExprKind, Operator, Expr *a, Expr *b, Expr *third);
Expr *expr_field(Compilation *, Span, Expr *base, Located name);
Expr *expr_index(Compilation *, Span, Expr *base, IndexList);

ArgumentList arguments_add(Compilation *, ArgumentList, Argument);
ExprList exprs_add(Compilation *, ExprList, Expr *);
IndexList indices_add(Compilation *, IndexList, Index);
NameList names_add(Compilation *, NameList, Located);
AttributeList attributes_add(Compilation *, AttributeList, Attribute);
Formals formals_add(Compilation *, Formals, Formal);
Block block_add(Compilation *, Block, Stmt *);
FieldList fields_add(Compilation *, FieldList, Field);
SettingList settings_add(Compilation *, SettingList, Setting);

TypeExpr *type_new(Compilation *, Span, Located name, ArgumentList, ExprList dims, AttributeList);
Stmt *stmt_new(Compilation *, StmtKind, Span, Located name, Expr *);
Stmt *stmt_param(Compilation *, Span, bool is_local, Located name, TypeExpr *, Expr *init);
Stmt *stmt_repeat(Compilation *, Span, Expr *count, AttributeList, Block);
Field field_new(Span, Located name, bool has_head, Head, Expr *value);

Item *item_new(Compilation *, ItemKind, Span, Located name);
Item *item_value(Compilation *, ItemKind, Span, Located name, TypeExpr *, Expr *);
Item *item_param(Compilation *, const Stmt *);
Item *item_file(Compilation *, ItemKind, Span, Located name, Located path);
Item *item_names(Compilation *, ItemKind, Span, NameList, Expr *by);
Item *item_posterior(Compilation *, Span, Located name, bool is_point, Expr *, Expr *by);
Item *item_block(Compilation *, ItemKind, Span, Located name, Formals, Block);
Item *item_function(Compilation *, Span, Located name, Formals, Expr *);
Item *item_distribution(Compilation *, Span, Located name, Head, Expr *, bool has_block, FieldList);
Item *item_rule(Compilation *, Span, Expr *pattern, Expr *);
Item *item_settings(Compilation *, ItemKind, Span, Located name, SettingList);

#endif
