/* blocks: the statements of a network, layer or function -> values bound in its scope, and the names of the parameters
 * made on the way: block.field.layer, with the round of an untied `repeat` as an index behind the field (LANGUAGE rule
 * 15). A `repeat` is walked once a round; what stood before it is rebound, everything else belongs to one round. */
#include "statements.h"

#include <math.h>
#include <string.h>

/* The number of this layer among those of its name at this path: "" for the first, "2", "3" ... */
const char *layer_path(Elaborator *e, Name layer) {
  const char *path = *e->path ? arena_printf(e->c, "%s.%s", e->path, layer) : layer;
  for (int i = 0; i < e->layer_count; i++)
    if (strcmp(e->layers[i].path, path) == 0) return arena_printf(e->c, "%s%d", path, ++e->layers[i].count);
  e->layers = arena_grow(e->c, e->layers, e->layer_count, sizeof *e->layers);
  e->layers[e->layer_count++] = (LayerCount){.path = path, .count = 1};
  return path;
}

/* A network called again shares its parameters: its layers are counted from the start again. */
void restart_layer_counts(Elaborator *e, const char *network) {
  size_t n = strlen(network);
  int kept = 0;
  for (int i = 0; i < e->layer_count; i++)
    if (strncmp(e->layers[i].path, network, n) != 0 || e->layers[i].path[n] != '.') e->layers[kept++] = e->layers[i];
  e->layer_count = kept;
}

/* Where a block is being walked. */
typedef struct Place {
  const char *path;  /* of the callee */
  const char *round; /* "[2]" in an untied repeat, else "" */
  Scope *before;     /* in a repeat: names set here and further out are rebound; else NULL */
} Place;

static void report_set_twice(Elaborator *e, const Stmt *s) {
  for (int k = 0; k < e->scope->count; k++)
    if (e->scope->items[k].name == s->name) {
      Diagnostic *d = error_at(e->c, "set-twice", s->name_span, "`%s` is set twice", s->name);
      note_at(d, e->scope->items[k].span, "it is set here first");
      return;
    }
}

static void walk_param(Elaborator *e, const Stmt *s, const Place *at) {
  report_set_twice(e, s);
  Pending *p = arena_new(e->c, Pending);
  *p = (Pending){.stmt = s,
                 .scope = e->scope,
                 .full_name = arena_printf(e->c, "%s.%s%s", at->path, s->name, at->round),
                 .model_visible = e->model_visible};
  scope_bind(e, e->scope, s->name, value_error(), s->name_span);
  e->scope->items[e->scope->count - 1].pending = p;
}

/* A name from before the repeat gets its value for what follows; the shape stays (rule 18). */
static void rebind(Elaborator *e, Binding *b, const Stmt *s, Value v) {
  if (b->pending) {
    Diagnostic *d = error_at(e->c, "set-twice", s->name_span, "`%s` is a param and cannot be set", s->name);
    note_at(d, b->span, "it is declared here");
    return;
  }
  if (v.kind != VALUE_ERROR && b->value.kind != VALUE_ERROR) {
    Shape before = visible_shape(&b->value), after = visible_shape(&v);
    bool same = value_is_numeric(&v) && value_is_numeric(&b->value) && before.rank == after.rank;
    for (int i = 0; same && i < before.rank; i++) same = dim_agree(before.dims[i], after.dims[i]);
    if (!same) {
      Diagnostic *d = error_at(e->c, "shape", s->expr->span, "`%s` is %s before the repeat and %s after a round",
                               s->name, value_text(e->c, &b->value), value_text(e->c, &v));
      note_at(d, b->span, "it is set here first");
      v = value_error();
    }
  }
  b->value = v;
}

static void walk_set(Elaborator *e, const Stmt *s, const Place *at) {
  e->path = arena_printf(e->c, "%s.%s%s", at->path, s->name, at->round);
  Binding *before = at->before ? scope_find(at->before, s->name) : NULL;
  if (!before) report_set_twice(e, s);
  Value v = elaborate(e, s->expr);
  if (v.kind == VALUE_TENSOR && !v.node->name) v.node->name = e->path;
  if (before)
    rebind(e, scope_find(at->before, s->name), s, v); /* elaboration may have moved the scope's bindings */
  else
    scope_bind(e, e->scope, s->name, v, s->name_span);
}

static Value walk(Elaborator *, const Block *, const Place *);

enum { MOST_ROUNDS = 1000 }; /* they are written out in the generated code */

static bool read_rounds(Elaborator *e, const Expr *x, int *rounds) {
  Value v = elaborate(e, x);
  if (v.kind == VALUE_ERROR) return false;
  double n = v.kind == VALUE_NUMBER ? v.dim.size : 0;
  if (n >= 1 && n <= MOST_ROUNDS && n == floor(n)) {
    *rounds = (int)n;
    return true;
  }
  error_at(e->c, "repeat", x->span, "`repeat` needs a whole number from 1 to %d known before training; this is %s",
           MOST_ROUNDS, v.kind == VALUE_NUMBER ? shortest_number(e->c, n) : value_text(e->c, &v));
  return false;
}

static LayerCount *copy_layers(Elaborator *e, const LayerCount *layers, int count) {
  LayerCount *copy = NULL;
  for (int i = 0; i < count; i++) { /* as arena_grow would have it */
    copy = arena_grow(e->c, copy, i, sizeof *copy);
    copy[i] = layers[i];
  }
  return copy;
}

/* Rounds share their parameters, or have one set each. */
static void walk_repeat(Elaborator *e, const Stmt *s, const Place *at) {
  int rounds;
  if (!read_rounds(e, s->expr, &rounds)) return;
  bool untied = s->attribute_count > 0;
  int layer_count = e->layer_count, errors = e->c->error_count;
  LayerCount *layers = copy_layers(e, e->layers, layer_count);
  Scope *before = e->scope;
  for (int k = 0; k < rounds && e->c->error_count == errors; k++) {
    Place inside = {
        .path = at->path, .round = untied ? arena_printf(e->c, "%s[%d]", at->round, k) : at->round, .before = before};
    if (!untied && k > 0) {
      e->layers = copy_layers(e, layers, layer_count);
      e->layer_count = layer_count;
    }
    e->scope = scope_new(e, before);
    walk(e, &s->body, &inside);
    e->scope = before;
  }
}

static Value walk(Elaborator *e, const Block *block, const Place *at) {
  Value result = value_error();
  for (int i = 0; i < block->count; i++) {
    const Stmt *s = block->items[i];
    e->path = at->path;
    switch (s->kind) {
    case STMT_ERROR: break;
    case STMT_PARAM: walk_param(e, s, at); break;
    case STMT_SET: walk_set(e, s, at); break;
    case STMT_REPEAT: walk_repeat(e, s, at); break;
    case STMT_RETURN: result = elaborate(e, s->expr); break;
    }
  }
  e->path = at->path;
  return result;
}

Value run_block(Elaborator *e, const Block *block) {
  Place at = {.path = e->path, .round = ""};
  return walk(e, block, &at);
}
