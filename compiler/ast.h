/* The syntax tree: what the parser makes of one file. Every node keeps its span. Printed by ast_print,
 * whose output parses to an equal tree. Holds no meaning: names are not resolved here. */
#ifndef SPM_AST_H
#define SPM_AST_H

#include "base.h"

typedef enum ExprKind {
  EXPR_ERROR, /* left by error recovery; silences later messages */
  EXPR_NUMBER,
  EXPR_STRING,
  EXPR_NAME,
  EXPR_CALL,        /* name(arguments) */
  EXPR_LIST,        /* [a, b] */
  EXPR_UNARY,       /* operator: OP_NEGATE, OP_NOT; operand in a */
  EXPR_BINARY,      /* a operator b */
  EXPR_CONDITIONAL, /* a ? b : c */
  EXPR_TRANSPOSE,   /* a' */
  EXPR_FIELD,       /* a.name */
  EXPR_INDEX        /* a[indices] */
} ExprKind;

typedef enum Operator {
  OP_NONE,
  OP_NEGATE,
  OP_NOT,
  OP_AND,
  OP_OR,
  OP_LESS,
  OP_GREATER,
  OP_LESS_EQUAL,
  OP_GREATER_EQUAL,
  OP_EQUAL,
  OP_NOT_EQUAL,
  OP_ADD,
  OP_SUBTRACT,
  OP_MULTIPLY,
  OP_DIVIDE,
  OP_REMAINDER,
  OP_MATMUL,
  OP_POWER
} Operator;
const char *operator_text(Operator);

typedef struct Expr Expr;

typedef struct Argument { /* value | name = value | weight : value */
  Name name;              /* NULL if positional */
  Span name_span;
  Expr *weight; /* NULL unless `weight : value` */
  Expr *value;
} Argument;

typedef struct Index { /* e or first .. last */
  Expr *first, *last;  /* last is NULL for a single index */
} Index;

struct Expr {
  ExprKind kind;
  Span span;
  Operator operation;
  Name name; /* NAME, CALL, FIELD; STRING: the characters between the quotes */
  Span name_span;
  double number;
  Expr *a, *b, *c;
  Argument *arguments; /* CALL */
  int argument_count;
  Expr **elements; /* LIST */
  int element_count;
  Index *indices; /* INDEX */
  int index_count;
  int height; /* 1 for a leaf; never above 200, so that every later stage may recurse */
};

typedef struct Attribute { /* unit_norm(over = D), projected, untied, ... */
  Name name;
  Span span;
  Argument *arguments;
  int argument_count;
} Attribute;

typedef struct TypeExpr { /* real(args)[dims] attributes */
  Name name;
  Span span;
  Argument *arguments;
  int argument_count;
  Expr **dims;
  int dim_count;
  Attribute *attributes;
  int attribute_count;
} TypeExpr;

typedef struct Formal { /* name : type = default, or name : dim */
  Name name;
  Span span;
  TypeExpr *type; /* NULL if untyped or a dim */
  bool is_dim;
  Expr *initial; /* default value or NULL */
} Formal;

typedef struct Formals {
  Formal *items;
  int count;
} Formals;

typedef enum StmtKind { STMT_ERROR, STMT_SET, STMT_PARAM, STMT_REPEAT, STMT_RETURN } StmtKind;

typedef struct Stmt Stmt;
typedef struct Block {
  Stmt **items;
  int count;
} Block;

struct Stmt {
  StmtKind kind;
  Span span;
  Name name; /* SET, PARAM */
  Span name_span;
  bool is_local;         /* PARAM declared with `local` */
  TypeExpr *type;        /* PARAM */
  Expr *expr;            /* SET, RETURN: value; PARAM: init or NULL; REPEAT: count */
  Attribute *attributes; /* REPEAT */
  int attribute_count;
  Block body; /* REPEAT */
};

typedef struct Field { /* a field of a distribution: name(formals; formals) = e; also `r = ...;` helper values */
  Name name;
  Span span, name_span;
  bool has_head;
  Formals head, extra; /* before and after the ';' */
  Expr *value;
} Field;

typedef enum ItemKind {
  ITEM_ERROR,
  ITEM_MODEL,
  ITEM_USE,
  ITEM_ALLOW,
  ITEM_DIM,
  ITEM_DATA,
  ITEM_LATENT,
  ITEM_PARAM,
  ITEM_LOCAL,
  ITEM_DRAW,
  ITEM_LET,
  ITEM_SCHEDULE,
  ITEM_METRIC,
  ITEM_PRIOR,
  ITEM_LIKELIHOOD,
  ITEM_POSTERIOR,
  ITEM_INFER,
  ITEM_OBJECTIVE,
  ITEM_MINIMIZE,
  ITEM_ENCODER,
  ITEM_DECODER,
  ITEM_NETWORK,
  ITEM_LAYER,
  ITEM_FUNCTION,
  ITEM_DISTRIBUTION,
  ITEM_RULE,
  ITEM_TRAIN,
  ITEM_EVALUATE
} ItemKind;
const char *item_keyword(ItemKind); /* "posterior" */

typedef struct Setting { /* name = value; of train and evaluate */
  Name name;
  Span span, name_span;
  Expr *value;
} Setting;

typedef struct Item {
  ItemKind kind;
  Span span;
  Name name; /* the first of INFER; NULL for an unnamed train/evaluate, objective, allow, rule, use */
  Span name_span;
  Name from_path; /* MODEL ... from "path", USE "path" */
  Span path_span;
  Name *names; /* ALLOW, INFER */
  Span *name_spans;
  int name_count;
  TypeExpr *type;         /* DATA LATENT PARAM LOCAL DRAW LET SCHEDULE METRIC */
  Expr *expr;             /* value, distribution, init (PARAM/LOCAL/DIM may be NULL), objective, by of INFER;
                             RULE: the right-hand side */
  Expr *pattern;          /* RULE: the call on the left */
  bool is_point;          /* POSTERIOR name = e */
  Expr *by;               /* POSTERIOR ... by METHOD, or NULL */
  Formals formals, extra; /* networks, layers, functions: formals; DISTRIBUTION: before and after ';' */
  bool has_block;         /* FUNCTION and DISTRIBUTION: a block rather than `= e` */
  Block block;            /* networks, layers, block functions */
  Field *fields;          /* DISTRIBUTION */
  int field_count;
  Setting *settings; /* TRAIN, EVALUATE */
  int setting_count;
} Item;

typedef struct File {
  int source;
  Item **items;
  int count;
} File;

/* Requires a source; leaves a tree, and diagnostics for whatever did not parse (several in one run; the tree then
 * holds ERROR nodes). Never NULL. Nesting deeper than 200 is an error, never a crash. */
File *parse(Compilation *, int source);

/* Reports what the grammar lets through and a tree alone can tell: attributes out of place, `return`, weights outside
 * mixture(...), and whatever one file may say only once. */
void syntax_check(Compilation *, const File *);

/* Prints in the canonical layout: what it prints parses to an equal tree. */
void ast_print(Text *, const File *);
void ast_print_expr(Text *, const Expr *);
void ast_print_type(Text *, const TypeExpr *);

#endif
