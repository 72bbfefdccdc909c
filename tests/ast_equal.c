/* Two syntax trees -> whether they are equal, spans aside. */
#include "ast_equal.h"

#include <string.h>

/* The trees may stem from two compilations, so names are compared by their letters. */
static bool name_equal(Name a, Name b) { return a == b || (a && b && strcmp(a, b) == 0); }

static bool expr_equal(const Expr *a, const Expr *b);

static bool arguments_equal(const Argument *a, int a_count, const Argument *b, int b_count) {
  if (a_count != b_count) return false;
  for (int i = 0; i < a_count; i++)
    if (!name_equal(a[i].name, b[i].name) || !expr_equal(a[i].weight, b[i].weight) ||
        !expr_equal(a[i].value, b[i].value))
      return false;
  return true;
}

static bool expr_equal(const Expr *a, const Expr *b) {
  if (!a || !b) return a == b;
  if (a->kind != b->kind || a->operation != b->operation || !name_equal(a->name, b->name)) return false;
  if (memcmp(&a->number, &b->number, sizeof a->number) != 0) return false;
  if (!expr_equal(a->a, b->a) || !expr_equal(a->b, b->b) || !expr_equal(a->c, b->c)) return false;
  if (!arguments_equal(a->arguments, a->argument_count, b->arguments, b->argument_count)) return false;
  if (a->element_count != b->element_count || a->index_count != b->index_count) return false;
  for (int i = 0; i < a->element_count; i++)
    if (!expr_equal(a->elements[i], b->elements[i])) return false;
  for (int i = 0; i < a->index_count; i++)
    if (!expr_equal(a->indices[i].first, b->indices[i].first) || !expr_equal(a->indices[i].last, b->indices[i].last))
      return false;
  return true;
}

static bool attributes_equal(const Attribute *a, int a_count, const Attribute *b, int b_count) {
  if (a_count != b_count) return false;
  for (int i = 0; i < a_count; i++)
    if (!name_equal(a[i].name, b[i].name) ||
        !arguments_equal(a[i].arguments, a[i].argument_count, b[i].arguments, b[i].argument_count))
      return false;
  return true;
}

static bool type_equal(const TypeExpr *a, const TypeExpr *b) {
  if (!a || !b) return a == b;
  if (!name_equal(a->name, b->name) || a->dim_count != b->dim_count) return false;
  for (int i = 0; i < a->dim_count; i++)
    if (!expr_equal(a->dims[i], b->dims[i])) return false;
  return arguments_equal(a->arguments, a->argument_count, b->arguments, b->argument_count) &&
         attributes_equal(a->attributes, a->attribute_count, b->attributes, b->attribute_count);
}

static bool formals_equal(Formals a, Formals b) {
  if (a.count != b.count) return false;
  for (int i = 0; i < a.count; i++)
    if (!name_equal(a.items[i].name, b.items[i].name) || a.items[i].is_dim != b.items[i].is_dim ||
        !type_equal(a.items[i].type, b.items[i].type) || !expr_equal(a.items[i].initial, b.items[i].initial))
      return false;
  return true;
}

static bool block_equal(Block a, Block b);

static bool stmt_equal(const Stmt *a, const Stmt *b) {
  return a->kind == b->kind && name_equal(a->name, b->name) && a->is_local == b->is_local &&
         type_equal(a->type, b->type) && expr_equal(a->expr, b->expr) &&
         attributes_equal(a->attributes, a->attribute_count, b->attributes, b->attribute_count) &&
         block_equal(a->body, b->body);
}

static bool block_equal(Block a, Block b) {
  if (a.count != b.count) return false;
  for (int i = 0; i < a.count; i++)
    if (!stmt_equal(a.items[i], b.items[i])) return false;
  return true;
}

static bool field_equal(const Field *a, const Field *b) {
  return name_equal(a->name, b->name) && a->has_head == b->has_head && formals_equal(a->head, b->head) &&
         formals_equal(a->extra, b->extra) && expr_equal(a->value, b->value);
}

static bool item_equal(const Item *a, const Item *b) {
  if (a->kind != b->kind || !name_equal(a->name, b->name) || !name_equal(a->from_path, b->from_path)) return false;
  if (a->name_count != b->name_count || a->field_count != b->field_count || a->setting_count != b->setting_count)
    return false;
  for (int i = 0; i < a->name_count; i++)
    if (!name_equal(a->names[i], b->names[i])) return false;
  for (int i = 0; i < a->field_count; i++)
    if (!field_equal(&a->fields[i], &b->fields[i])) return false;
  for (int i = 0; i < a->setting_count; i++)
    if (!name_equal(a->settings[i].name, b->settings[i].name) ||
        !expr_equal(a->settings[i].value, b->settings[i].value))
      return false;
  return type_equal(a->type, b->type) && expr_equal(a->expr, b->expr) && expr_equal(a->pattern, b->pattern) &&
         a->is_point == b->is_point && expr_equal(a->by, b->by) && formals_equal(a->formals, b->formals) &&
         formals_equal(a->extra, b->extra) && a->has_block == b->has_block && block_equal(a->block, b->block);
}

bool ast_equal(const File *a, const File *b) {
  if (a->count != b->count) return false;
  for (int i = 0; i < a->count; i++)
    if (!item_equal(a->items[i], b->items[i])) return false;
  return true;
}
