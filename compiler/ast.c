/* Syntax tree: turns what the parser's actions hold into nodes. */
#include "dims.h"
#include "syntax.h"

#include <string.h>

/* ---- Words ----------------------------------------------------------------------------------------------------- */

const char *operator_text(Operator operation) {
  switch (operation) {
  case OP_NONE: return "";
  case OP_NEGATE: return "-";
  case OP_NOT: return "not";
  case OP_AND: return "and";
  case OP_OR: return "or";
  case OP_LESS: return "<";
  case OP_GREATER: return ">";
  case OP_LESS_EQUAL: return "<=";
  case OP_GREATER_EQUAL: return ">=";
  case OP_EQUAL: return "==";
  case OP_NOT_EQUAL: return "!=";
  case OP_ADD: return "+";
  case OP_SUBTRACT: return "-";
  case OP_MULTIPLY: return "*";
  case OP_DIVIDE: return "/";
  case OP_REMAINDER: return "%";
  case OP_MATMUL: return "@";
  case OP_POWER: return "^";
  }
  return "";
}

const char *item_keyword(ItemKind kind) {
  switch (kind) {
  case ITEM_ERROR: return "error";
  case ITEM_MODEL: return "model";
  case ITEM_USE: return "use";
  case ITEM_ALLOW: return "allow";
  case ITEM_DIM: return "dim";
  case ITEM_DATA: return "data";
  case ITEM_LATENT: return "latent";
  case ITEM_PARAM: return "param";
  case ITEM_LOCAL: return "local";
  case ITEM_DRAW: return "draw";
  case ITEM_LET: return "let";
  case ITEM_SCHEDULE: return "schedule";
  case ITEM_METRIC: return "metric";
  case ITEM_PRIOR: return "prior";
  case ITEM_LIKELIHOOD: return "likelihood";
  case ITEM_POSTERIOR: return "posterior";
  case ITEM_INFER: return "infer";
  case ITEM_OBJECTIVE: return "objective";
  case ITEM_MINIMIZE: return "minimize";
  case ITEM_ENCODER: return "encoder";
  case ITEM_DECODER: return "decoder";
  case ITEM_NETWORK: return "network";
  case ITEM_LAYER: return "layer";
  case ITEM_FUNCTION: return "function";
  case ITEM_DISTRIBUTION: return "distribution";
  case ITEM_RULE: return "rule";
  case ITEM_TRAIN: return "train";
  case ITEM_EVALUATE: return "evaluate";
  }
  return "";
}

/* ---- Expressions ----------------------------------------------------------------------------------------------- */

static Expr *expr_new(Compilation *c, ExprKind kind, Span span) {
  Expr *e = arena_new(c, Expr);
  e->kind = kind;
  e->span = span;
  e->height = 1;
  return e;
}

static void stand_on(Expr *e, const Expr *child) {
  if (child && child->height >= e->height) e->height = child->height + 1;
}

Expr *expr_number(Compilation *c, Span span, double number) {
  Expr *e = expr_new(c, EXPR_NUMBER, span);
  e->number = number;
  if (!c->sources[span.source].library) note_literal(c, number);
  return e;
}

static Expr *expr_named(Compilation *c, ExprKind kind, Span span, Located name) {
  Expr *e = expr_new(c, kind, span);
  e->name = name.name;
  e->name_span = name.span;
  return e;
}

Expr *expr_string(Compilation *c, Located string) { return expr_named(c, EXPR_STRING, string.span, string); }
Expr *expr_name(Compilation *c, Located name) { return expr_named(c, EXPR_NAME, name.span, name); }

Expr *expr_call(Compilation *c, Span span, Located name, ArgumentList arguments) {
  Expr *e = expr_named(c, EXPR_CALL, span, name);
  e->arguments = arguments.items;
  e->argument_count = arguments.count;
  for (int i = 0; i < arguments.count; i++) {
    stand_on(e, arguments.items[i].weight);
    stand_on(e, arguments.items[i].value);
  }
  return e;
}

Expr *expr_list(Compilation *c, Span span, ExprList elements) {
  Expr *e = expr_new(c, EXPR_LIST, span);
  e->elements = elements.items;
  e->element_count = elements.count;
  for (int i = 0; i < elements.count; i++) stand_on(e, elements.items[i]);
  return e;
}

Expr *expr_operation(Compilation *c, Span span, ExprKind kind, Operator operation, Expr *a, Expr *b, Expr *third) {
  Expr *e = expr_new(c, kind, span);
  e->operation = operation;
  e->a = a;
  e->b = b;
  e->c = third;
  stand_on(e, a);
  stand_on(e, b);
  stand_on(e, third);
  if (operation == OP_DIVIDE && a->kind == EXPR_NAME && b->kind == EXPR_NUMBER) note_division(c, a->name, b->number);
  return e;
}

Expr *expr_field(Compilation *c, Span span, Expr *base, Located name) {
  Expr *e = expr_named(c, EXPR_FIELD, span, name);
  e->a = base;
  stand_on(e, base);
  return e;
}

Expr *expr_index(Compilation *c, Span span, Expr *base, IndexList indices) {
  Expr *e = expr_new(c, EXPR_INDEX, span);
  e->a = base;
  e->indices = indices.items;
  e->index_count = indices.count;
  stand_on(e, base);
  for (int i = 0; i < indices.count; i++) {
    stand_on(e, indices.items[i].first);
    stand_on(e, indices.items[i].last);
  }
  return e;
}

/* ---- Lists ----------------------------------------------------------------------------------------------------- */

/* NAME_add(c, list, x): the list with x at its end. */
#define LIST_ADD(function, List, Element)                                                                              \
  List function(Compilation *c, List list, Element element) {                                                          \
    list.items = arena_grow(c, list.items, list.count, sizeof *list.items);                                            \
    list.items[list.count++] = element;                                                                                \
    return list;                                                                                                       \
  }

LIST_ADD(arguments_add, ArgumentList, Argument)
LIST_ADD(exprs_add, ExprList, Expr *)
LIST_ADD(indices_add, IndexList, Index)
LIST_ADD(attributes_add, AttributeList, Attribute)
LIST_ADD(formals_add, Formals, Formal)
LIST_ADD(block_add, Block, Stmt *)

NameList names_add(Compilation *c, NameList list, Located name) {
  list.names = arena_grow(c, list.names, list.count, sizeof *list.names);
  list.spans = arena_grow(c, list.spans, list.count, sizeof *list.spans);
  list.names[list.count] = name.name;
  list.spans[list.count++] = name.span;
  return list;
}

/* Fields and settings that did not parse have no name and are left out: an error has been counted. */
FieldList fields_add(Compilation *c, FieldList list, Field field) {
  if (!field.name) return list;
  list.items = arena_grow(c, list.items, list.count, sizeof *list.items);
  list.items[list.count++] = field;
  return list;
}

SettingList settings_add(Compilation *c, SettingList list, Setting setting) {
  if (!setting.name) return list;
  list.items = arena_grow(c, list.items, list.count, sizeof *list.items);
  list.items[list.count++] = setting;
  return list;
}

/* ---- Types, statements, items ---------------------------------------------------------------------------------- */

TypeExpr *type_new(Compilation *c, Span span, Located name, ArgumentList arguments, ExprList dims,
                   AttributeList attributes) {
  TypeExpr *type = arena_new(c, TypeExpr);
  *type = (TypeExpr){name.name,  span,       arguments.items,  arguments.count,
                     dims.items, dims.count, attributes.items, attributes.count};
  return type;
}

Stmt *stmt_new(Compilation *c, StmtKind kind, Span span, Located name, Expr *expr) {
  Stmt *s = arena_new(c, Stmt);
  s->kind = kind;
  s->span = span;
  s->name = name.name;
  s->name_span = name.span;
  s->expr = expr;
  return s;
}

Stmt *stmt_param(Compilation *c, Span span, bool is_local, Located name, TypeExpr *type, Expr *init) {
  Stmt *s = stmt_new(c, STMT_PARAM, span, name, init);
  s->is_local = is_local;
  s->type = type;
  return s;
}

Stmt *stmt_repeat(Compilation *c, Span span, Expr *count, AttributeList attributes, Block body) {
  Stmt *s = stmt_new(c, STMT_REPEAT, span, (Located){NULL, {0, 0, 0}}, count);
  s->attributes = attributes.items;
  s->attribute_count = attributes.count;
  s->body = body;
  return s;
}

Field field_new(Span span, Located name, bool has_head, Head head, Expr *value) {
  return (Field){name.name, span, name.span, has_head, head.formals, head.extra, value};
}

Item *item_new(Compilation *c, ItemKind kind, Span span, Located name) {
  Item *item = arena_new(c, Item);
  item->kind = kind;
  item->span = span;
  item->name = name.name;
  item->name_span = name.span;
  return item;
}

Item *item_value(Compilation *c, ItemKind kind, Span span, Located name, TypeExpr *type, Expr *expr) {
  Item *item = item_new(c, kind, span, name);
  item->type = type;
  item->expr = expr;
  return item;
}

Item *item_param(Compilation *c, const Stmt *s) {
  ItemKind kind = s->is_local ? ITEM_LOCAL : ITEM_PARAM;
  return item_value(c, kind, s->span, (Located){s->name, s->name_span}, s->type, s->expr);
}

Item *item_file(Compilation *c, ItemKind kind, Span span, Located name, Located path) {
  Item *item = item_new(c, kind, span, name);
  item->from_path = path.name;
  item->path_span = path.span;
  return item;
}

Item *item_names(Compilation *c, ItemKind kind, Span span, NameList names, Expr *by) {
  Item *item = item_new(c, kind, span, (Located){NULL, {0, 0, 0}});
  item->names = names.names;
  item->name_spans = names.spans;
  item->name_count = names.count;
  item->expr = by;
  if (kind == ITEM_INFER && names.count > 0) {
    item->name = names.names[0];
    item->name_span = names.spans[0];
  }
  return item;
}

Item *item_posterior(Compilation *c, Span span, Located name, bool is_point, Expr *expr, Expr *by) {
  Item *item = item_value(c, ITEM_POSTERIOR, span, name, NULL, expr);
  item->is_point = is_point;
  item->by = by;
  return item;
}

Item *item_block(Compilation *c, ItemKind kind, Span span, Located name, Formals formals, Block block) {
  Item *item = item_new(c, kind, span, name);
  item->formals = formals;
  item->has_block = true;
  item->block = block;
  return item;
}

Item *item_function(Compilation *c, Span span, Located name, Formals formals, Expr *expr) {
  Item *item = item_value(c, ITEM_FUNCTION, span, name, NULL, expr);
  item->formals = formals;
  return item;
}

Item *item_distribution(Compilation *c, Span span, Located name, Head head, Expr *expr, bool has_block,
                        FieldList fields) {
  Item *item = item_value(c, ITEM_DISTRIBUTION, span, name, NULL, expr);
  item->formals = head.formals;
  item->extra = head.extra;
  item->has_block = has_block;
  item->fields = fields.items;
  item->field_count = fields.count;
  return item;
}

Item *item_rule(Compilation *c, Span span, Expr *pattern, Expr *expr) {
  Item *item = item_value(c, ITEM_RULE, span, (Located){NULL, {0, 0, 0}}, NULL, expr);
  item->pattern = pattern;
  return item;
}

Item *item_settings(Compilation *c, ItemKind kind, Span span, Located name, SettingList settings) {
  Item *item = item_new(c, kind, span, name);
  item->settings = settings.items;
  item->setting_count = settings.count;
  return item;
}
