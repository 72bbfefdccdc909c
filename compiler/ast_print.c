/* Printer: turns a syntax tree into text in the canonical layout, one statement a line, with the fewest parentheses. */
#include "ast.h"

/* How tightly an expression binds, in the grammar's order from `expr` to `primary`. */
typedef enum Level {
  LEVEL_EXPR,
  LEVEL_OR,
  LEVEL_AND,
  LEVEL_NOT,
  LEVEL_COMPARE,
  LEVEL_SUM,
  LEVEL_TERM,
  LEVEL_UNARY,
  LEVEL_POWER,
  LEVEL_POSTFIX,
  LEVEL_PRIMARY
} Level;

static Level operator_level(Operator operation) {
  switch (operation) {
  case OP_NONE: return LEVEL_PRIMARY;
  case OP_OR: return LEVEL_OR;
  case OP_AND: return LEVEL_AND;
  case OP_NOT: return LEVEL_NOT;
  case OP_LESS:
  case OP_GREATER:
  case OP_LESS_EQUAL:
  case OP_GREATER_EQUAL:
  case OP_EQUAL:
  case OP_NOT_EQUAL: return LEVEL_COMPARE;
  case OP_ADD:
  case OP_SUBTRACT: return LEVEL_SUM;
  case OP_MULTIPLY:
  case OP_DIVIDE:
  case OP_REMAINDER:
  case OP_MATMUL: return LEVEL_TERM;
  case OP_NEGATE: return LEVEL_UNARY;
  case OP_POWER: return LEVEL_POWER;
  }
  return LEVEL_PRIMARY;
}

static Level expr_level(const Expr *e) {
  switch (e->kind) {
  case EXPR_CONDITIONAL: return LEVEL_EXPR;
  case EXPR_UNARY:
  case EXPR_BINARY: return operator_level(e->operation);
  case EXPR_TRANSPOSE:
  case EXPR_FIELD:
  case EXPR_INDEX: return LEVEL_POSTFIX;
  case EXPR_ERROR:
  case EXPR_NUMBER:
  case EXPR_STRING:
  case EXPR_NAME:
  case EXPR_CALL:
  case EXPR_LIST: return LEVEL_PRIMARY;
  }
  return LEVEL_PRIMARY;
}

static void print_expr(Text *out, const Expr *e, Level at_least);

static void print_arguments(Text *out, const Argument *arguments, int count) {
  text_append(out, "(");
  for (int i = 0; i < count; i++) {
    if (i > 0) text_append(out, ", ");
    if (arguments[i].name) text_append(out, "%s = ", arguments[i].name);
    if (arguments[i].weight) {
      print_expr(out, arguments[i].weight, LEVEL_EXPR);
      text_append(out, ": ");
    }
    print_expr(out, arguments[i].value, LEVEL_EXPR);
  }
  text_append(out, ")");
}

static void print_list(Text *out, Expr *const *elements, int count) {
  text_append(out, "[");
  for (int i = 0; i < count; i++) {
    if (i > 0) text_append(out, ", ");
    print_expr(out, elements[i], LEVEL_EXPR);
  }
  text_append(out, "]");
}

static void print_indices(Text *out, const Index *indices, int count) {
  text_append(out, "[");
  for (int i = 0; i < count; i++) {
    if (i > 0) text_append(out, ", ");
    print_expr(out, indices[i].first, LEVEL_EXPR);
    if (!indices[i].last) continue;
    text_append(out, "..");
    print_expr(out, indices[i].last, LEVEL_EXPR);
  }
  text_append(out, "]");
}

/* Left-associative operators want their right operand one level tighter, `^` its left one; comparisons do not chain. */
static void print_binary(Text *out, const Expr *e) {
  Level level = operator_level(e->operation);
  bool power = e->operation == OP_POWER, comparison = level == LEVEL_COMPARE;
  print_expr(out, e->a, power ? LEVEL_POSTFIX : comparison ? LEVEL_SUM : level);
  text_append(out, power ? "%s" : " %s ", operator_text(e->operation));
  print_expr(out, e->b, power ? LEVEL_UNARY : (Level)(level + 1));
}

static void print_unary(Text *out, const Expr *e) {
  text_append(out, e->operation == OP_NOT ? "not " : "-");
  print_expr(out, e->a, operator_level(e->operation));
}

/* `1.x` would be read as a number without digits behind its dot. */
static void print_base(Text *out, const Expr *base) {
  bool number = base->kind == EXPR_NUMBER;
  if (number) text_append(out, "(");
  print_expr(out, base, LEVEL_POSTFIX);
  if (number) text_append(out, ")");
}

static void print_bare(Text *out, const Expr *e) {
  switch (e->kind) {
  case EXPR_ERROR: text_append(out, "<error>"); return;
  case EXPR_NUMBER: text_append(out, "%s", shortest_number(out->compilation, e->number)); return;
  case EXPR_STRING: text_append(out, "\"%s\"", e->name); return;
  case EXPR_NAME: text_append(out, "%s", e->name); return;
  case EXPR_CALL:
    text_append(out, "%s", e->name);
    print_arguments(out, e->arguments, e->argument_count);
    return;
  case EXPR_LIST: print_list(out, e->elements, e->element_count); return;
  case EXPR_UNARY: print_unary(out, e); return;
  case EXPR_BINARY: print_binary(out, e); return;
  case EXPR_CONDITIONAL:
    print_expr(out, e->a, LEVEL_OR);
    text_append(out, " ? ");
    print_expr(out, e->b, LEVEL_EXPR);
    text_append(out, " : ");
    print_expr(out, e->c, LEVEL_EXPR);
    return;
  case EXPR_TRANSPOSE:
    print_expr(out, e->a, LEVEL_POSTFIX);
    text_append(out, "'");
    return;
  case EXPR_FIELD:
    print_base(out, e->a);
    text_append(out, ".%s", e->name);
    return;
  case EXPR_INDEX:
    print_expr(out, e->a, LEVEL_POSTFIX);
    print_indices(out, e->indices, e->index_count);
    return;
  }
}

static void print_expr(Text *out, const Expr *e, Level at_least) {
  bool parentheses = expr_level(e) < at_least;
  if (parentheses) text_append(out, "(");
  print_bare(out, e);
  if (parentheses) text_append(out, ")");
}

void ast_print_expr(Text *out, const Expr *e) { print_expr(out, e, LEVEL_EXPR); }

/* ---- Types and formals ----------------------------------------------------------------------------------------- */

static void print_attributes(Text *out, const Attribute *attributes, int count) {
  for (int i = 0; i < count; i++) {
    text_append(out, " %s", attributes[i].name);
    if (attributes[i].argument_count > 0) print_arguments(out, attributes[i].arguments, attributes[i].argument_count);
  }
}

void ast_print_type(Text *out, const TypeExpr *type) {
  text_append(out, "%s", type->name);
  if (type->argument_count > 0) print_arguments(out, type->arguments, type->argument_count);
  if (type->dim_count > 0) print_list(out, type->dims, type->dim_count);
  print_attributes(out, type->attributes, type->attribute_count);
}

static void print_formals(Text *out, Formals formals) {
  for (int i = 0; i < formals.count; i++) {
    const Formal *formal = &formals.items[i];
    text_append(out, "%s%s", i > 0 ? ", " : "", formal->name);
    if (formal->is_dim) text_append(out, " : dim");
    if (formal->type) {
      text_append(out, " : ");
      ast_print_type(out, formal->type);
    }
    if (formal->initial) {
      text_append(out, " = ");
      ast_print_expr(out, formal->initial);
    }
  }
}

static void print_head(Text *out, Formals formals, Formals extra) {
  text_append(out, "(");
  print_formals(out, formals);
  if (extra.count > 0) text_append(out, "; ");
  print_formals(out, extra);
  text_append(out, ")");
}

/* ---- Statements ------------------------------------------------------------------------------------------------ */

static void indent(Text *out, int depth) { text_append(out, "%*s", 2 * depth, ""); }

static void print_block(Text *out, Block block, int depth);

/* " = e", " ~ e", " by e", " e": nothing where there is no e. */
static void print_tail(Text *out, const char *word, const Expr *e) {
  if (!e) return;
  text_append(out, word[0] ? " %s " : " ", word);
  ast_print_expr(out, e);
}

static void print_typing(Text *out, const TypeExpr *type) {
  if (!type) return;
  text_append(out, " : ");
  ast_print_type(out, type);
}

static void print_stmt(Text *out, const Stmt *s, int depth) {
  indent(out, depth);
  switch (s->kind) {
  case STMT_ERROR: text_append(out, "<error>;\n"); return;
  case STMT_SET:
    text_append(out, "%s", s->name);
    print_tail(out, "=", s->expr);
    break;
  case STMT_PARAM:
    text_append(out, "%s %s", s->is_local ? "local" : "param", s->name);
    print_typing(out, s->type);
    print_tail(out, "init", s->expr);
    break;
  case STMT_RETURN:
    text_append(out, "return ");
    ast_print_expr(out, s->expr);
    break;
  case STMT_REPEAT:
    text_append(out, "repeat ");
    ast_print_expr(out, s->expr);
    print_attributes(out, s->attributes, s->attribute_count);
    text_append(out, " ");
    print_block(out, s->body, depth);
    return;
  }
  text_append(out, ";\n");
}

static void print_block(Text *out, Block block, int depth) {
  text_append(out, "{\n");
  for (int i = 0; i < block.count; i++) print_stmt(out, block.items[i], depth + 1);
  indent(out, depth);
  text_append(out, "}\n");
}

/* ---- Items ----------------------------------------------------------------------------------------------------- */

static void print_names(Text *out, const Item *item) {
  for (int i = 0; i < item->name_count; i++) text_append(out, "%s%s", i > 0 ? ", " : " ", item->names[i]);
}

static void print_fields(Text *out, const Item *item) {
  text_append(out, " {\n");
  for (int i = 0; i < item->field_count; i++) {
    const Field *field = &item->fields[i];
    text_append(out, "  %s", field->name);
    if (field->has_head) print_head(out, field->head, field->extra);
    print_tail(out, "=", field->value);
    text_append(out, ";\n");
  }
  text_append(out, "}\n");
}

static void print_settings(Text *out, const Item *item) {
  text_append(out, " {\n");
  for (int i = 0; i < item->setting_count; i++) {
    text_append(out, "  %s", item->settings[i].name);
    print_tail(out, "=", item->settings[i].value);
    text_append(out, ";\n");
  }
  text_append(out, "}\n");
}

/* True: a block has ended it. */
static bool print_callable(Text *out, const Item *item) {
  print_head(out, item->formals, item->extra);
  print_tail(out, "=", item->expr);
  if (item->has_block && item->kind == ITEM_DISTRIBUTION) {
    print_fields(out, item);
  } else if (item->has_block) {
    text_append(out, " ");
    print_block(out, item->block, 0);
  }
  return item->has_block;
}

/* What stands between the keyword with its name and the end of the statement. True: a block has ended it. */
static bool print_rest(Text *out, const Item *item) {
  switch (item->kind) {
  case ITEM_ERROR: break;
  case ITEM_MODEL:
    if (item->from_path) text_append(out, " from \"%s\"", item->from_path);
    break;
  case ITEM_USE: text_append(out, " \"%s\"", item->from_path); break;
  case ITEM_ALLOW:
  case ITEM_INFER:
    print_names(out, item);
    print_tail(out, "by", item->expr);
    break;
  case ITEM_PARAM:
  case ITEM_LOCAL:
  case ITEM_DRAW:
  case ITEM_DIM:
  case ITEM_DATA:
  case ITEM_LATENT:
  case ITEM_LET:
  case ITEM_SCHEDULE:
  case ITEM_METRIC:
    print_typing(out, item->type);
    print_tail(out,
               item->kind == ITEM_DRAW                                ? "~"
               : item->kind == ITEM_PARAM || item->kind == ITEM_LOCAL ? "init"
                                                                      : "=",
               item->expr);
    break;
  case ITEM_PRIOR:
  case ITEM_LIKELIHOOD:
  case ITEM_POSTERIOR:
    print_tail(out, item->is_point ? "=" : "~", item->expr);
    print_tail(out, "by", item->by);
    break;
  case ITEM_OBJECTIVE:
  case ITEM_MINIMIZE: print_tail(out, "", item->expr); break;
  case ITEM_RULE:
    print_tail(out, "", item->pattern);
    print_tail(out, "=", item->expr);
    break;
  case ITEM_ENCODER:
  case ITEM_DECODER:
  case ITEM_NETWORK:
  case ITEM_LAYER:
  case ITEM_FUNCTION:
  case ITEM_DISTRIBUTION: return print_callable(out, item);
  case ITEM_TRAIN:
  case ITEM_EVALUATE: print_settings(out, item); return true;
  }
  return false;
}

void ast_print(Text *out, const File *file) {
  for (int i = 0; i < file->count; i++) {
    const Item *item = file->items[i];
    text_append(out, "%s", item->kind == ITEM_ERROR ? "<error>" : item_keyword(item->kind));
    if (item->name && item->kind != ITEM_INFER) text_append(out, " %s", item->name);
    if (!print_rest(out, item)) text_append(out, ";\n");
  }
}
