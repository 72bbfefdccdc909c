/* Parser: turns tokens into the syntax tree, one constructor call an action. A push parser: parse.c feeds it, and after
 * an error sends RESUME where reading goes on; the message itself is made in syntax_error.c. */
%code requires {
#include "syntax.h"
}

%define api.pure full
%define api.push-pull push
%define api.prefix {spm_}
%define api.token.prefix {TOKEN_}
%define api.value.type union
%define api.location.type {Span}
%define parse.error custom
%define parse.lac full
%locations
%param {Parser *p}

%code {
#include "base.h"

#define YYINITDEPTH 512
#define YYMAXDEPTH 8192

/* A rule's span runs from its first symbol to its last; an empty rule stands behind what was before it. */
#define YYLLOC_DEFAULT(Current, Rhs, N)                                                                                \
  do {                                                                                                                 \
    if (N) (Current) = span_join(YYRHSLOC(Rhs, 1), YYRHSLOC(Rhs, N));                                                  \
    else (Current) = (Span){p->source, YYRHSLOC(Rhs, 0).end, YYRHSLOC(Rhs, 0).end};                                    \
  } while (0)

#define C (p->compilation)
static const Located nameless = {NULL, {0, 0, 0}};
static void yyerror(const Span *, Parser *, const char *);

/* Every expression passes here: whoever walks the tree later may recurse. */
static Expr *bounded(Parser *p, Expr *e) {
  if (e->height > NESTING_LIMIT) nesting_error(p, e->span);
  return e;
}

static Expr *operation(Parser *p, Span span, ExprKind kind, Operator operator, Expr *a, Expr *b, Expr *c) {
  return bounded(p, expr_operation(C, span, kind, operator, a, b, c));
}

static Expr *binary(Parser *p, Span span, Operator operator, Expr *a, Expr *b) {
  return operation(p, span, EXPR_BINARY, operator, a, b, NULL);
}

static Expr *unary(Parser *p, Span span, Operator operator, Expr *a) {
  return operation(p, span, EXPR_UNARY, operator, a, NULL, NULL);
}

/* A parenthesised expression is underlined with its parentheses. */
static Expr *respanned(Expr *e, Span span) {
  e->span = span;
  return e;
}

static void item_done(Parser *p, Item *item) {
  p->items = arena_grow(C, p->items, p->item_count, sizeof *p->items);
  p->items[p->item_count++] = item;
}
}

%token MODEL "model" FROM "from" USE "use" ALLOW "allow" DIM "dim" DATA "data" LATENT "latent" PARAM "param"
       LOCAL "local" INIT "init" DRAW "draw" LET "let" SCHEDULE "schedule" METRIC "metric" PRIOR "prior"
       LIKELIHOOD "likelihood" POSTERIOR "posterior" BY "by" INFER "infer" OBJECTIVE "objective" MINIMIZE "minimize"
       ENCODER "encoder" DECODER "decoder" NETWORK "network" LAYER "layer" FUNCTION "function"
       DISTRIBUTION "distribution" RULE "rule" TRAIN "train" EVALUATE "evaluate" REPEAT "repeat" RETURN "return"
       AND "and" OR "or" NOT "not"
%token SEMICOLON ";" COMMA "," COLON ":" ASSIGN "=" TILDE "~" QUESTION "?" OPEN "(" CLOSE ")" OPEN_SQUARE "["
       CLOSE_SQUARE "]" OPEN_BRACE "{" CLOSE_BRACE "}" PLUS "+" MINUS "-" TIMES "*" DIVIDE "/" REMAINDER "%"
       MATMUL "@" POWER "^" TRANSPOSE "'" DOT "." RANGE ".." LESS "<" GREATER ">" LESS_EQUAL "<=" GREATER_EQUAL ">="
       EQUAL "==" NOT_EQUAL "!="
%token RESUME "the next statement"
%token <Located> NAME "a name" STRING "a string"
%token <double> NUMBER "a number"

%nterm <Item *> item
%nterm <ItemKind> declaration definition association goal network settings_kind
%nterm <Stmt *> stmt param
%nterm <bool> is_local
%nterm <Expr *> expr or and not compare sum term unary power postfix primary call value
%nterm <Operator> comparison addition multiplication
%nterm <Argument> arg
%nterm <ArgumentList> args args_some arguments
%nterm <Index> index
%nterm <IndexList> indices
%nterm <ExprList> exprs dims
%nterm <NameList> names
%nterm <Attribute> attr
%nterm <AttributeList> attrs
%nterm <TypeExpr *> type typing
%nterm <Formal> formal
%nterm <Formals> formals formals_some
%nterm <Head> head
%nterm <Field> field
%nterm <FieldList> fields
%nterm <Setting> setting
%nterm <SettingList> settings
%nterm <Block> block stmts
%nterm <Located> opt_name

%%

file: items;

items: %empty
     | items item                                       { item_done(p, $item); };

item: "model" NAME ";"                                  { $$ = item_file(C, ITEM_MODEL, @$, $NAME, nameless); }
    | "model" NAME "from" STRING ";"                    { $$ = item_file(C, ITEM_MODEL, @$, $NAME, $STRING); }
    | "use" STRING ";"                                  { $$ = item_file(C, ITEM_USE, @$, nameless, $STRING); }
    | "allow" names ";"                                 { $$ = item_names(C, ITEM_ALLOW, @$, $names, NULL); }
    | "dim" NAME value ";"                              { $$ = item_value(C, ITEM_DIM, @$, $NAME, NULL, $value); }
    | declaration NAME ":" type ";"                     { $$ = item_value(C, $1, @$, $NAME, $type, NULL); }
    | param                                             { $$ = item_param(C, $param); }
    | "draw" NAME ":" type "~" expr ";"                 { $$ = item_value(C, ITEM_DRAW, @$, $NAME, $type, $expr); }
    | definition NAME typing "=" expr ";"               { $$ = item_value(C, $1, @$, $NAME, $typing, $expr); }
    | association NAME "~" expr ";"                     { $$ = item_value(C, $1, @$, $NAME, NULL, $expr); }
    | "posterior" NAME "~" expr ";"                     { $$ = item_posterior(C, @$, $NAME, false, $expr, NULL); }
    | "posterior" NAME "~" expr[e] "by" expr[how] ";"   { $$ = item_posterior(C, @$, $NAME, false, $e, $how); }
    | "posterior" NAME "=" expr ";"                     { $$ = item_posterior(C, @$, $NAME, true, $expr, NULL); }
    | "infer" names "by" expr ";"                       { $$ = item_names(C, ITEM_INFER, @$, $names, $expr); }
    | goal expr ";"                                     { $$ = item_value(C, $goal, @$, nameless, NULL, $expr); }
    | network NAME "(" formals ")" block                { $$ = item_block(C, $1, @$, $NAME, $formals, $block); }
    | "function" NAME "(" formals ")" "=" expr ";"      { $$ = item_function(C, @$, $NAME, $formals, $expr); }
    | "function" NAME "(" formals ")" block             { $$ = item_block(C, ITEM_FUNCTION, @$, $NAME, $formals, $block); }
    | "distribution" NAME head "=" expr ";"             { $$ = item_distribution(C, @$, $NAME, $head, $expr, false, (FieldList){0}); }
    | "distribution" NAME head "{" fields "}"           { $$ = item_distribution(C, @$, $NAME, $head, NULL, true, $fields); }
    | "rule" call "=" expr ";"                          { $$ = item_rule(C, @$, $call, $expr); }
    | settings_kind opt_name "{" settings "}"           { $$ = item_settings(C, $1, @$, $opt_name, $settings); }
    | error RESUME                                      { yyerrok; $$ = item_new(C, ITEM_ERROR, @$, nameless); };

declaration: "data"          { $$ = ITEM_DATA; }
           | "latent"        { $$ = ITEM_LATENT; };
definition: "let"            { $$ = ITEM_LET; }
          | "schedule"       { $$ = ITEM_SCHEDULE; }
          | "metric"         { $$ = ITEM_METRIC; };
association: "prior"         { $$ = ITEM_PRIOR; }
           | "likelihood"    { $$ = ITEM_LIKELIHOOD; };
goal: "objective"            { $$ = ITEM_OBJECTIVE; }
    | "minimize"             { $$ = ITEM_MINIMIZE; };
network: "encoder"           { $$ = ITEM_ENCODER; }
       | "decoder"           { $$ = ITEM_DECODER; }
       | "network"           { $$ = ITEM_NETWORK; }
       | "layer"             { $$ = ITEM_LAYER; };
settings_kind: "train"       { $$ = ITEM_TRAIN; }
             | "evaluate"    { $$ = ITEM_EVALUATE; };
is_local: "param"            { $$ = false; }
        | "local"            { $$ = true; };

value: %empty                { $$ = NULL; }
     | "=" expr              { $$ = $expr; };
typing: %empty               { $$ = NULL; }
      | ":" type             { $$ = $type; };
opt_name: %empty             { $$ = nameless; }
        | NAME;

param: is_local NAME ":" type ";"              { $$ = stmt_param(C, @$, $1, $NAME, $type, NULL); }
     | is_local NAME ":" type "init" expr ";"  { $$ = stmt_param(C, @$, $1, $NAME, $type, $expr); };

settings: %empty                               { $$ = (SettingList){0}; }
        | settings setting                     { $$ = settings_add(C, $1, $2); };
setting: NAME "=" expr ";"                     { $$ = (Setting){$NAME.name, @$, @NAME, $expr}; }
       | error RESUME                          { yyerrok; $$ = (Setting){NULL, @$, @$, NULL}; };

fields: %empty                                 { $$ = (FieldList){0}; }
      | fields field                           { $$ = fields_add(C, $1, $2); };
field: NAME "=" expr ";"                       { $$ = field_new(@$, $NAME, false, (Head){0}, $expr); }
     | NAME head "=" expr ";"                  { $$ = field_new(@$, $NAME, true, $head, $expr); }
     | error RESUME                            { yyerrok; $$ = field_new(@$, nameless, false, (Head){0}, NULL); };
head: "(" formals ")"                          { $$ = (Head){$formals, {0}}; }
    | "(" formals ";" formals ")"              { $$ = (Head){$2, $4}; };

block: "{" stmts "}"                           { $$ = $stmts; };
stmts: %empty                                  { $$ = (Block){0}; }
     | stmts stmt                              { $$ = block_add(C, $1, $2); };
stmt: NAME "=" expr ";"                        { $$ = stmt_new(C, STMT_SET, @$, $NAME, $expr); }
    | param
    | "repeat" expr attrs block                { $$ = stmt_repeat(C, @$, $expr, $attrs, $block); }
    | "return" expr ";"                        { $$ = stmt_new(C, STMT_RETURN, @$, nameless, $expr); }
    | error RESUME                             { yyerrok; $$ = stmt_new(C, STMT_ERROR, @$, nameless, NULL); };

formals: %empty                                { $$ = (Formals){0}; }
       | formals_some;
formals_some: formal                           { $$ = formals_add(C, (Formals){0}, $1); }
            | formals_some "," formal          { $$ = formals_add(C, $1, $3); };
formal: NAME value                             { $$ = (Formal){$NAME.name, @NAME, NULL, false, $value}; }
      | NAME ":" type value                    { $$ = (Formal){$NAME.name, @NAME, $type, false, $value}; }
      | NAME ":" "dim" value                   { $$ = (Formal){$NAME.name, @NAME, NULL, true, $value}; };

type: NAME arguments dims attrs                { $$ = type_new(C, @$, $NAME, $arguments, $dims, $attrs); };
arguments: %empty                              { $$ = (ArgumentList){0}; }
         | "(" args ")"                        { $$ = $args; };
dims: %empty                                   { $$ = (ExprList){0}; }
    | "[" exprs "]"                            { $$ = $exprs; };
attrs: %empty                                  { $$ = (AttributeList){0}; }
     | attrs attr                              { $$ = attributes_add(C, $1, $2); };
attr: NAME arguments                           { $$ = (Attribute){$NAME.name, @$, $2.items, $2.count}; };

names: NAME                                    { $$ = names_add(C, (NameList){0}, $1); }
     | names "," NAME                          { $$ = names_add(C, $1, $3); };
exprs: expr                                    { $$ = exprs_add(C, (ExprList){0}, $1); }
     | exprs "," expr                          { $$ = exprs_add(C, $1, $3); };
args: %empty                                   { $$ = (ArgumentList){0}; }
    | args_some;
args_some: arg                                 { $$ = arguments_add(C, (ArgumentList){0}, $1); }
         | args_some "," arg                   { $$ = arguments_add(C, $1, $3); };
arg: expr                                      { $$ = (Argument){NULL, @$, NULL, $expr}; }
   | NAME "=" expr                             { $$ = (Argument){$NAME.name, @NAME, NULL, $expr}; }
   | expr[weight] ":" expr[what]               { $$ = (Argument){NULL, @weight, $weight, $what}; };

expr: or
    | or "?" expr[then] ":" expr[else]         { $$ = operation(p, @$, EXPR_CONDITIONAL, OP_NONE, $or, $then, $else); };
or: and
  | or "or" and                                { $$ = binary(p, @$, OP_OR, $1, $3); };
and: not
   | and "and" not                             { $$ = binary(p, @$, OP_AND, $1, $3); };
not: compare
   | "not" not                                 { $$ = unary(p, @$, OP_NOT, $2); };
compare: sum
       | sum comparison sum                    { $$ = binary(p, @$, $2, $1, $3); };
sum: term
   | sum addition term                         { $$ = binary(p, @$, $2, $1, $3); };
term: unary
    | term multiplication unary                { $$ = binary(p, @$, $2, $1, $3); };
unary: power
     | "-" unary                               { $$ = unary(p, @$, OP_NEGATE, $2); };
power: postfix
     | postfix "^" unary                       { $$ = binary(p, @$, OP_POWER, $1, $3); };
postfix: primary
       | postfix "." NAME                      { $$ = bounded(p, expr_field(C, @$, $1, $3)); }
       | postfix "[" indices "]"               { $$ = bounded(p, expr_index(C, @$, $1, $3)); }
       | postfix "'"                           { $$ = operation(p, @$, EXPR_TRANSPOSE, OP_NONE, $1, NULL, NULL); };
primary: NUMBER                                { $$ = expr_number(C, @$, $1); }
       | STRING                                { $$ = expr_string(C, $1); }
       | NAME                                  { $$ = expr_name(C, $1); }
       | call
       | "(" expr ")"                          { $$ = respanned($expr, @$); }
       | "[" exprs "]"                         { $$ = bounded(p, expr_list(C, @$, $exprs)); };
call: NAME "(" args ")"                        { $$ = bounded(p, expr_call(C, @$, $NAME, $args)); };
indices: index                                 { $$ = indices_add(C, (IndexList){0}, $1); }
       | indices "," index                     { $$ = indices_add(C, $1, $3); };
index: expr                                    { $$ = (Index){$expr, NULL}; }
     | expr[first] ".." expr[last]             { $$ = (Index){$first, $last}; };

comparison: "<"  { $$ = OP_LESS; }
          | ">"  { $$ = OP_GREATER; }
          | "<=" { $$ = OP_LESS_EQUAL; }
          | ">=" { $$ = OP_GREATER_EQUAL; }
          | "==" { $$ = OP_EQUAL; }
          | "!=" { $$ = OP_NOT_EQUAL; };
addition: "+"    { $$ = OP_ADD; }
        | "-"    { $$ = OP_SUBTRACT; };
multiplication: "*" { $$ = OP_MULTIPLY; }
              | "/" { $$ = OP_DIVIDE; }
              | "%" { $$ = OP_REMAINDER; }
              | "@" { $$ = OP_MATMUL; };

%%

static void set_expected(Expected *expected, const yysymbol_kind_t *symbols, int count) {
  *expected = (Expected){{false}};
  for (int i = 0; i < count; i++) expected->symbols[symbols[i]] = true;
}

_Static_assert(YYNTOKENS <= sizeof(Expected), "every token has its place in Expected");

static int yyreport_syntax_error(const yypcontext_t *context, Parser *p) {
  yysymbol_kind_t symbols[YYNTOKENS];
  int count = yypcontext_expected_tokens(context, symbols, YYNTOKENS);
  Expected expected;
  set_expected(&expected, symbols, count);
  syntax_error(p, &expected);
  return 0;
}

/* What could be pushed next. */
void parser_expected(void *state, Parser *p, Expected *expected) {
  (void)p;
  yysymbol_kind_t symbols[YYNTOKENS];
  int count = yypstate_expected_tokens(state, symbols, YYNTOKENS);
  set_expected(expected, symbols, count);
}

bool expects(const Expected *expected, int token) { return expected->symbols[YYTRANSLATE(token)]; }

const char *token_text(int token) { return yysymbol_name(YYTRANSLATE(token)); }

/* Syntax errors go through yyreport_syntax_error; all that is left is a stack that has become too deep. */
static void yyerror(const Span *span, Parser *p, const char *message) {
  (void)message;
  nesting_error(p, *span);
}
