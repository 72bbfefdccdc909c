/* Types: a TypeExpr -> the support it promises (an interval with its openness, LANGUAGE construct 5) and a shape in
 * named dims. One table names every type there is. */
#include "statements.h"

#include <math.h>
#include <string.h>

typedef struct TypeRow {
  const char *name;
  double low, high;
  bool above_low, integer;
  int arguments; /* how many it takes */
  Special special;
} TypeRow;

static const TypeRow type_rows[] = {
    {"real", -INFINITY, INFINITY, false, false, 0, SPECIAL_NONE},
    {"positive", 0, INFINITY, true, false, 0, SPECIAL_NONE},
    {"nonnegative", 0, INFINITY, false, false, 0, SPECIAL_NONE},
    {"unit", 0, 1, false, false, 0, SPECIAL_NONE},
    {"binary", 0, 1, false, true, 0, SPECIAL_NONE},
    {"count", 0, INFINITY, false, true, 0, SPECIAL_NONE},
    {"integer", 0, 0, false, true, 2, SPECIAL_NONE},
    {"interval", 0, 0, false, false, 2, SPECIAL_NONE},
    {"simplex", 0, 1, false, false, 1, SPECIAL_SIMPLEX},
    {"lower_triangular", -INFINITY, INFINITY, false, false, 0, SPECIAL_LOWER_TRIANGULAR},
    {"uniform", 0, 1, true, false, 0, SPECIAL_NOISE_UNIFORM},
    {"standard_normal", -INFINITY, INFINITY, false, false, 0, SPECIAL_NOISE_NORMAL},
    {"category", 0, 1, false, true, 1, SPECIAL_CATEGORY},
    {"subset", 0, 1, false, true, 1, SPECIAL_SUBSET},
};

static const TypeRow *find_type(Elaborator *e, const TypeExpr *type) {
  Suggestion near = {.name = type->name};
  for (size_t i = 0; i < sizeof type_rows / sizeof *type_rows; i++) {
    if (strcmp(type_rows[i].name, type->name) == 0) return &type_rows[i];
    suggestion_consider(&near, type_rows[i].name);
  }
  Span name = {type->span.source, type->span.start, type->span.start + (int)strlen(type->name)};
  Diagnostic *d = error_at(e->c, "unknown-type", name, "there is no type `%s`", type->name);
  if (near.best)
    help_with(d, "did you mean `%s`?", near.best);
  else
    help_with(d, "types are real, positive, nonnegative, unit, binary, count, integer(a, b), category(n), simplex(n), "
                 "subset(L)[K], lower_triangular");
  return NULL;
}

/* interval(a, b) of values that training changes holds at least [highest a, lowest b], which may be nothing. */
static bool read_interval(Elaborator *e, const TypeExpr *type, Facts *facts) {
  const Node *ends[2];
  for (int i = 0; i < 2; i++) {
    Value v = elaborate(e, type->arguments[i].value);
    if (!(ends[i] = value_node(e, &v))) return false;
  }
  facts->low = ends[0]->facts.high;
  facts->high = ends[1]->facts.low;
  return true;
}

/* subset(n) has at most n members: a number, or the most that a computed size can be (count 0: nothing is known). */
static bool read_subset(Elaborator *e, const TypeExpr *type, Dim *count) {
  Value v = elaborate(e, type->arguments[0].value);
  Node *node = value_node(e, &v);
  if (!node) return false;
  *count = v.kind == VALUE_NUMBER ? v.dim : largest_number(e, node);
  if (v.kind != VALUE_NUMBER || is_dim_size(v.dim.size)) return true;
  error_at(e->c, "type-arguments", type->span, "a subset has a whole number of members, at least 1, and not %s",
           shortest_number(e->c, v.dim.size));
  return false;
}

bool read_support(Elaborator *e, const TypeExpr *type, Support *s) {
  const TypeRow *row = find_type(e, type);
  *s = (Support){.name = type->name};
  if (!row) return false;
  bool optional = row->special == SPECIAL_SIMPLEX && type->argument_count == 0; /* simplex[C] is simplex(C) */
  if (type->argument_count != row->arguments && !optional) {
    error_at(e->c, "type-arguments", type->span, "the type `%s` takes %d number%s in parentheses, not %d", type->name,
             row->arguments, row->arguments == 1 ? "" : "s", type->argument_count);
    return false;
  }
  s->special = row->special;
  s->facts = (Facts){.low = row->low,
                     .high = row->high,
                     .above_low = row->above_low,
                     .below_high = row->special == SPECIAL_NOISE_UNIFORM,
                     .integer = row->integer,
                     .finite = true};
  if (strcmp(row->name, "interval") == 0 && !read_interval(e, type, &s->facts)) return false;
  if (row->special == SPECIAL_SUBSET && !read_subset(e, type, &s->count)) return false;
  if (strcmp(row->name, "integer") == 0) {
    Dim low, high;
    Value a = elaborate(e, type->arguments[0].value), b = elaborate(e, type->arguments[1].value);
    if (a.kind != VALUE_NUMBER || b.kind != VALUE_NUMBER) {
      error_at(e->c, "type-arguments", type->span, "integer(a, b) takes two numbers known before training");
      return false;
    }
    low = a.dim;
    high = b.dim;
    if (low.size > high.size) {
      error_at(e->c, "type-arguments", type->span, "integer(%s, %s) holds no number", dim_text(e->c, low),
               dim_text(e->c, high));
      return false;
    }
    s->count = dim_add(e->c, dim_subtract(e->c, high, low), dim_number(1));
    s->facts.low = low.size;
    s->facts.high = high.size;
  }
  return true;
}

bool is_dim_size(double value) { return value >= 1 && value <= 1073741824.0 && value == floor(value); }

bool size_is_possible(Elaborator *e, const Shape *shape, Span span) {
  double size = 1;
  for (int i = 0; i < shape->rank; i++) size *= shape->dims[i].size;
  if (size <= 68719476736.0) return true;
  Diagnostic *d =
      error_at(e->c, "size", span, "shape %s holds %s numbers", shape_text(e->c, shape), shortest_number(e->c, size));
  help_with(d, "a value may hold at most 2^36");
  return false;
}

/* The first dim of the model in it that data will give, and that is a small number for now; or NULL. */
static Name invented_dim(const Model *m, const Expr *x) {
  for (int i = 0; x && x->kind == EXPR_NAME && i < m->dim_count; i++)
    if (m->dims[i].name == x->name) return m->dims[i].invented ? x->name : NULL;
  Name left = x ? invented_dim(m, x->a) : NULL;
  return left || !x ? left : invented_dim(m, x->b);
}

bool elaborate_dim(Elaborator *e, const Expr *expr, Dim *out) {
  Value v = elaborate(e, expr);
  if (v.kind == VALUE_ERROR) return false;
  if (v.kind == VALUE_NUMBER && is_dim_size(v.dim.size)) {
    *out = v.dim;
    return true;
  }
  if (v.kind == VALUE_NUMBER) {
    Diagnostic *d = error_at(e->c, "dim-value", expr->span, "a dim must be a whole number from 1 to 2^30; %s is %s",
                             span_text(e->c, expr->span), shortest_number(e->c, v.dim.size));
    Name invented = invented_dim(e->model, expr);
    if (invented)
      help_with(d, "a small number stands for %s, which has no value: set it (%s=64), or give the data", invented,
                invented);
  } else {
    error_at(e->c, "dim-value", expr->span, "a dim must be known before training; this is %s", value_text(e->c, &v));
  }
  return false;
}

/* simplex(n) and category(n) are vectors: their length is the last dim. */
static bool length_in_parentheses(const TypeExpr *type) {
  return (strcmp(type->name, "simplex") == 0 || strcmp(type->name, "category") == 0) && type->argument_count == 1;
}

int type_rank(const TypeExpr *type) { return type->dim_count + length_in_parentheses(type); }

const Expr *type_dim(const TypeExpr *type, int i) {
  return i < type->dim_count ? type->dims[i] : type->arguments[0].value;
}

/* subset(L)[K] needs L <= K. */
static bool check_subset(Elaborator *e, const TypeExpr *type, const Shape *shape) {
  Support support;
  if (!read_support(e, type, &support)) return false;
  if (shape->rank > 0 && (support.count.size <= shape->dims[shape->rank - 1].size ||
                          invented_dim(e->model, type_dim(type, shape->rank - 1))))
    return true;
  Diagnostic *d = error_at(e->c, "shape", type->span, "a subset of at most %s members needs that many to choose from",
                           dim_text(e->c, support.count));
  help_with(d, "subset(L)[K] is at most L of K");
  return false;
}

bool read_shape(Elaborator *e, const TypeExpr *type, Shape *shape) {
  *shape = (Shape){0};
  bool ok = true;
  if (type_rank(type) > MAX_RANK) {
    error_at(e->c, "rank", type->span, "at most %d dims", MAX_RANK);
    return false;
  }
  for (int i = 0; i < type_rank(type); i++)
    if (elaborate_dim(e, type_dim(type, i), &shape->dims[shape->rank]))
      shape->rank++;
    else
      ok = false;
  if (ok && strcmp(type->name, "simplex") == 0 && shape->rank == 0) {
    error_at(e->c, "shape", type->span, "a simplex needs its length: simplex(n) or simplex[n]");
    return false;
  }
  if (ok && strcmp(type->name, "lower_triangular") == 0 &&
      (shape->rank < 2 || !dim_agree(shape->dims[shape->rank - 1], shape->dims[shape->rank - 2]))) {
    error_at(e->c, "shape", type->span, "lower_triangular is a square matrix: lower_triangular[K, K]");
    return false;
  }
  if (ok && strcmp(type->name, "subset") == 0 && !check_subset(e, type, shape)) return false;
  return ok && size_is_possible(e, shape, type->span);
}

bool facts_within(const Facts *inner, const Facts *outer) {
  if (inner->low < outer->low || inner->high > outer->high) return false;
  if (outer->above_low && inner->low == outer->low && !inner->above_low && isfinite(outer->low)) return false;
  if (outer->below_high && inner->high == outer->high && !inner->below_high && isfinite(outer->high)) return false;
  return inner->integer || !outer->integer;
}

bool facts_disjoint(const Facts *a, const Facts *b) {
  if (a->low > a->high || b->low > b->high) return false; /* an interval that varies: read_interval */
  if (a->high < b->low || b->high < a->low) return true;
  if (a->high == b->low && (a->below_high || b->above_low)) return true;
  return b->high == a->low && (b->below_high || a->above_low);
}

const char *facts_text(Compilation *c, const Facts *f) {
  const char *low = isfinite(f->low) ? shortest_number(c, f->low) : "-inf";
  const char *high = isfinite(f->high) ? shortest_number(c, f->high) : "inf";
  return arena_printf(c, "%s%c%s, %s%c", f->integer ? "whole numbers in " : "in ",
                      f->above_low || !isfinite(f->low) ? '(' : '[', low, high,
                      f->below_high || !isfinite(f->high) ? ')' : ']');
}

const char *lies_text(Compilation *c, const Facts *f) {
  return f->low == f->high ? arena_printf(c, "is %s", shortest_number(c, f->low))
                           : arena_printf(c, "%s %s", f->integer ? "is one of the" : "lies", facts_text(c, f));
}
