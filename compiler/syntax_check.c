/* Checks on the tree alone: attributes out of place, `return`, weights outside mixture(...), and whatever one file may
 * say only once. Turns nothing into anything: it only reports. */
#include "ast.h"

#include <string.h>

static bool is(Name name, const char *word) { return name && strcmp(name, word) == 0; }

/* ---- What may be said only once --------------------------------------------------------------------------------- */

typedef struct Statement {
  ItemKind subject; /* in a list of arguments, settings, ... ITEM_ERROR: there the name is everything */
  Name name;        /* NULL: of the file */
  Span span;
  bool used;
} Statement;

/* A hash table, for a list in a file may be as long as the file. */
typedef struct Said {
  Statement *slots;
  int capacity, count;
  bool reported; /* one message a list */
} Said;

static Statement *said_slot(const Said *said, ItemKind subject, Name name) {
  unsigned mask = (unsigned)said->capacity - 1;
  unsigned at = ((unsigned)((uintptr_t)name >> 4) + (unsigned)subject) * 2654435769u >> 7;
  for (at &= mask; said->slots[at].used; at = (at + 1) & mask)
    if (said->slots[at].subject == subject && said->slots[at].name == name) break;
  return &said->slots[at];
}

/* The earlier statement on the same subject; NULL if this is the first, which is remembered. */
static const Statement *say(Compilation *c, Said *said, ItemKind subject, Name name, Span span) {
  if (2 * said->count >= said->capacity) {
    Said grown = {NULL, said->capacity ? 2 * said->capacity : 8, said->count, said->reported};
    grown.slots = arena_array(c, Statement, grown.capacity);
    for (int i = 0; i < said->capacity; i++)
      if (said->slots[i].used) *said_slot(&grown, said->slots[i].subject, said->slots[i].name) = said->slots[i];
    *said = grown;
  }
  Statement *slot = said_slot(said, subject, name);
  if (slot->used) return slot;
  *slot = (Statement){subject, name, span, true};
  said->count++;
  return NULL;
}

/* `what`: "the setting". */
static void say_once(Compilation *c, Said *said, Name name, Span span, const char *what) {
  const Statement *earlier = name && !said->reported ? say(c, said, ITEM_ERROR, name, span) : NULL;
  if (!earlier) return;
  note_at(error_at(c, "twice", span, "%s `%s` is given twice", what, name), earlier->span, "the first is here");
  said->reported = true;
}

/* ---- Expressions: weights and arguments ------------------------------------------------------------------------- */

static void check_expr(Compilation *c, const Expr *e);

/* `where`: the callee, the type or the attribute they belong to. */
static void check_arguments(Compilation *c, const char *where, bool mixture, const Argument *arguments, int count) {
  Said said = {0};
  for (int i = 0; i < count; i++) {
    const Argument *argument = &arguments[i];
    if (argument->weight && !mixture) {
      Diagnostic *d = error_at(c, "weight", span_join(argument->weight->span, argument->value->span),
                               "`weight : value` stands only inside mixture(...), not in `%s`", where);
      help_with(d, "a named argument is written `name = value`");
    }
    if (mixture && !argument->weight && !argument->name && argument->value->kind != EXPR_ERROR) {
      Diagnostic *d = error_at(c, "weight", argument->value->span, "this component of a mixture has no weight");
      help_with(d, "it is written `mixture(w: normal(0, 1), 1 - w: normal(0, 0.1))`");
    }
    say_once(c, &said, argument->name, argument->name_span, "the argument");
    if (argument->weight) check_expr(c, argument->weight);
    check_expr(c, argument->value);
  }
}

static void check_expr(Compilation *c, const Expr *e) {
  if (!e) return;
  check_expr(c, e->a);
  check_expr(c, e->b);
  check_expr(c, e->c);
  check_arguments(c, e->name ? e->name : "", is(e->name, "mixture"), e->arguments, e->argument_count);
  for (int i = 0; i < e->element_count; i++) check_expr(c, e->elements[i]);
  for (int i = 0; i < e->index_count; i++) {
    check_expr(c, e->indices[i].first);
    check_expr(c, e->indices[i].last);
  }
}

/* ---- Attributes ------------------------------------------------------------------------------------------------- */

/* Where a type stands. */
enum { ON_PARAM = 1, ON_LOCAL = 2, ON_DATA = 4, ON_SUPPORT = 8, ON_REPEAT = 16, ON_OTHER = 32 };

static const struct {
  const char *name;
  int places;
  bool has_arguments, may_lack_arguments;
  const char *belongs; /* to what */
} attributes[] = {
    {"unit_norm", ON_PARAM | ON_LOCAL, true, true, "a `param` or a `local`"},
    {"max_norm", ON_PARAM | ON_LOCAL, true, false, "a `param` or a `local`"},
    {"projected", ON_PARAM | ON_LOCAL, false, true, "a `param` or a `local`"},
    {"fixed", ON_PARAM, false, true, "a `param`"},
    {"solved", ON_PARAM, false, true, "a `param`"},
    {"missing_ok", ON_DATA, false, true, "`data`"},
    {"gathered", ON_DATA, false, true, "`data`"},
    {"extended", ON_SUPPORT, true, false, "the first argument of a `distribution`"},
    {"atoms", ON_SUPPORT, true, false, "the first argument of a `distribution`"},
    {"untied", ON_REPEAT, false, true, "`repeat`"},
};
enum { ATTRIBUTES = sizeof attributes / sizeof *attributes };

static int attribute_find(Name name) {
  for (int i = 0; i < ATTRIBUTES; i++)
    if (is(name, attributes[i].name)) return i;
  return -1;
}

static void report_unknown_attribute(Compilation *c, const Attribute *attribute, int place) {
  Diagnostic *d = error_at(c, "attribute", attribute->span, "there is no attribute `%s`", attribute->name);
  Suggestion suggestion = {.name = attribute->name};
  Text fitting = {.compilation = c};
  for (int i = 0; i < ATTRIBUTES; i++) {
    suggestion_consider(&suggestion, attributes[i].name);
    if (attributes[i].places & place) text_append(&fitting, "%s%s", fitting.length ? ", " : "", attributes[i].name);
  }
  if (suggestion.best)
    help_with(d, "did you mean `%s`?", suggestion.best);
  else if (fitting.length)
    help_with(d, "possible here: %s", fitting.bytes);
}

static void check_attribute(Compilation *c, const Attribute *attribute, int place, const char *bearer) {
  int i = attribute_find(attribute->name);
  if (i < 0) {
    report_unknown_attribute(c, attribute, place);
  } else if (!(attributes[i].places & place)) {
    error_at(c, "attribute", attribute->span, "`%s` is an attribute of %s, not of %s", attribute->name,
             attributes[i].belongs, bearer);
  } else if (!attributes[i].has_arguments && attribute->argument_count > 0) {
    error_at(c, "attribute", attribute->span, "`%s` takes no arguments", attribute->name);
  } else if (!attributes[i].may_lack_arguments && attribute->argument_count == 0) {
    Diagnostic *d = error_at(c, "attribute", attribute->span, "`%s` needs an argument", attribute->name);
    help_with(d, "%s",
              is(attribute->name, "max_norm")   ? "it is written `max_norm(1, over = D)`"
              : is(attribute->name, "extended") ? "it is written `binary extended(unit)`"
                                                : "it is written `real atoms(0)`");
  }
}

static void check_attributes(Compilation *c, const Attribute *list, int count, int place, const char *bearer) {
  Said said = {0};
  for (int i = 0; i < count; i++) {
    check_attribute(c, &list[i], place, bearer);
    check_arguments(c, list[i].name, false, list[i].arguments, list[i].argument_count);
    say_once(c, &said, list[i].name, list[i].span, "the attribute");
  }
}

static const Attribute *attribute_of(const TypeExpr *type, const char *name) {
  for (int i = 0; i < type->attribute_count; i++)
    if (is(type->attributes[i].name, name)) return &type->attributes[i];
  return NULL;
}

static void check_pair(Compilation *c, const TypeExpr *type, const char *first, const char *second, const char *why) {
  const Attribute *a = attribute_of(type, first), *b = attribute_of(type, second);
  if (!a || !b) return;
  Diagnostic *d = error_at(c, "attribute", b->span, "`%s` and `%s` exclude each other: %s", first, second, why);
  note_at(d, a->span, "`%s` is here", first);
}

static void check_type(Compilation *c, const TypeExpr *type, int place, const char *bearer) {
  if (!type) return;
  check_arguments(c, type->name, false, type->arguments, type->argument_count);
  for (int i = 0; i < type->dim_count; i++) check_expr(c, type->dims[i]);
  check_attributes(c, type->attributes, type->attribute_count, place, bearer);
  check_pair(c, type, "fixed", "solved", "a fixed value is never changed");
  check_pair(c, type, "fixed", "projected", "a fixed value is never changed");
  check_pair(c, type, "unit_norm", "max_norm", "a norm of 1 leaves nothing to bound");
  const Attribute *projected = attribute_of(type, "projected");
  bool constrained = !is(type->name, "real") || attribute_of(type, "unit_norm") || attribute_of(type, "max_norm");
  if (projected && !constrained && (place & (ON_PARAM | ON_LOCAL))) {
    Diagnostic *d = error_at(c, "attribute", projected->span, "there is no constraint to project onto");
    help_with(d, "`projected` goes with `unit_norm`, `max_norm` or a type such as `positive`");
  }
}

static void check_formals(Compilation *c, Formals formals, Formals more, bool support) {
  Formals lists[] = {formals, more};
  Said said = {0};
  for (int l = 0; l < 2; l++)
    for (int i = 0; i < lists[l].count; i++) {
      const Formal *formal = &lists[l].items[i];
      check_type(c, formal->type, support && l == 0 && i == 0 ? ON_SUPPORT : ON_OTHER, "this argument");
      check_expr(c, formal->initial);
      say_once(c, &said, formal->name, formal->span, "the argument");
    }
}

/* ---- Blocks ----------------------------------------------------------------------------------------------------- */

static void check_block(Compilation *c, const Block *block, const Item *item, int depth);

static void check_repeat(Compilation *c, const Stmt *s, const Item *item, int depth) {
  check_expr(c, s->expr);
  check_attributes(c, s->attributes, s->attribute_count, ON_REPEAT, "`repeat`");
  check_block(c, &s->body, item, depth + 1);
}

static bool returns_value(ItemKind kind) { return kind == ITEM_LAYER || kind == ITEM_FUNCTION; }

static void check_return(Compilation *c, const Stmt *s, const Item *item, int depth, bool last) {
  const char *keyword = item_keyword(item->kind);
  const char *article = item->kind == ITEM_ENCODER ? "an" : "a";
  if (!returns_value(item->kind)) {
    Diagnostic *d = error_at(c, "return", s->span, "%s `%s` has no `return`", article, keyword);
    help_with(d, "its names are read from outside, as `%s.NAME`; only a `layer` or a `function` returns a value",
              item->name ? item->name : "q");
  } else if (depth > 0) {
    Diagnostic *d = error_at(c, "return", s->span, "`return` cannot stand inside `repeat`");
    help_with(d, "it is the last statement of the whole %s", keyword);
  } else if (!last) {
    error_at(c, "return", s->span, "`return` is the last statement of a `%s`: nothing follows it", keyword);
  }
  check_expr(c, s->expr);
}

static void check_block(Compilation *c, const Block *block, const Item *item, int depth) {
  for (int i = 0; i < block->count; i++) {
    const Stmt *s = block->items[i];
    switch (s->kind) {
    case STMT_ERROR: break;
    case STMT_SET: check_expr(c, s->expr); break;
    case STMT_PARAM:
      check_type(c, s->type, s->is_local ? ON_LOCAL : ON_PARAM, s->is_local ? "a `local`" : "a `param`");
      check_expr(c, s->expr);
      break;
    case STMT_REPEAT: check_repeat(c, s, item, depth); break;
    case STMT_RETURN: check_return(c, s, item, depth, i + 1 == block->count); break;
    }
  }
}

/* One that is there but out of place has been reported already. */
static bool mentions_return(const Block *block) {
  for (int i = 0; i < block->count; i++) {
    StmtKind kind = block->items[i]->kind;
    if (kind == STMT_RETURN || kind == STMT_ERROR) return true;
    if (kind == STMT_REPEAT && mentions_return(&block->items[i]->body)) return true;
  }
  return false;
}

static void check_network(Compilation *c, const Item *item) {
  check_formals(c, item->formals, item->extra, false);
  check_expr(c, item->expr);
  if (!item->has_block) return;
  check_block(c, &item->block, item, 0);
  if (!returns_value(item->kind) || mentions_return(&item->block)) return;
  Diagnostic *d =
      error_at(c, "return", item->name_span, "the %s `%s` returns nothing", item_keyword(item->kind), item->name);
  help_with(d, "its last statement is `return VALUE;`");
}

static const char *formal_text(Compilation *c, const Formal *f) {
  return f->type ? arena_printf(c, "%s : %s", f->name, span_text(c, f->type->span)) : f->name;
}

static void check_distribution(Compilation *c, const Item *item) {
  check_formals(c, item->formals, item->extra, true);
  check_expr(c, item->expr);
  if (item->formals.count > 1) {
    const Formal *first = &item->formals.items[0], *second = &item->formals.items[1];
    Diagnostic *d =
        error_at(c, "distribution", second->span, "a distribution is of one value, and `%s` is a second", second->name);
    help_with(d, "parameters stand behind a `;`: `%s(%s; %s)`", item->name, formal_text(c, first),
              formal_text(c, second));
  }
  if (!item->has_block && item->expr && item->expr->kind != EXPR_CALL && item->expr->kind != EXPR_ERROR) {
    Diagnostic *d = error_at(c, "distribution", item->expr->span, "behind the `=` of a distribution stands another");
    help_with(d, "a density is written `{ log_pdf = %s; }`", span_text(c, item->expr->span));
  }
  Said said = {0};
  for (int i = 0; i < item->field_count; i++) {
    const Field *field = &item->fields[i];
    check_formals(c, field->head, field->extra, false);
    check_expr(c, field->value);
    bool relaxed = strcmp(field->name, "relaxed") == 0; /* several, told apart by their options */
    const char *options = relaxed && field->extra.count ? field->extra.items[0].name : "";
    say_once(c, &said, relaxed ? intern(c, arena_printf(c, "relaxed(%s)", options)) : field->name, field->name_span,
             "the field");
  }
}

static void check_settings(Compilation *c, const Item *item) {
  Said said = {0};
  for (int i = 0; i < item->setting_count; i++) {
    const Setting *setting = &item->settings[i];
    check_expr(c, setting->value);
    say_once(c, &said, setting->name, setting->name_span, "the setting");
  }
}

/* ---- Items ------------------------------------------------------------------------------------------------------ */

static void check_item(Compilation *c, const Item *item) {
  const char *bearer = arena_printf(c, "a `%s`", item_keyword(item->kind));
  switch (item->kind) {
  case ITEM_ERROR:
  case ITEM_MODEL:
  case ITEM_USE:
  case ITEM_ALLOW: return;
  case ITEM_DATA: check_type(c, item->type, ON_DATA, "`data`"); return;
  case ITEM_PARAM: check_type(c, item->type, ON_PARAM, bearer); break;
  case ITEM_LOCAL: check_type(c, item->type, ON_LOCAL, bearer); break;
  case ITEM_DIM:
  case ITEM_LATENT:
  case ITEM_DRAW:
  case ITEM_LET:
  case ITEM_SCHEDULE:
  case ITEM_METRIC:
  case ITEM_PRIOR:
  case ITEM_LIKELIHOOD:
  case ITEM_POSTERIOR:
  case ITEM_INFER:
  case ITEM_OBJECTIVE:
  case ITEM_MINIMIZE: check_type(c, item->type, ON_OTHER, bearer); break;
  case ITEM_ENCODER:
  case ITEM_DECODER:
  case ITEM_NETWORK:
  case ITEM_LAYER:
  case ITEM_FUNCTION: check_network(c, item); return;
  case ITEM_DISTRIBUTION: check_distribution(c, item); return;
  case ITEM_RULE: check_expr(c, item->pattern); break;
  case ITEM_TRAIN:
  case ITEM_EVALUATE: check_settings(c, item); return;
  }
  check_expr(c, item->expr);
  check_expr(c, item->by);
}

static void once(Compilation *c, Said *said, ItemKind subject, Name name, Span span, const char *message) {
  const Statement *earlier = say(c, said, subject, name, span);
  if (earlier) note_at(error_at(c, "twice", span, "%s", message), earlier->span, "the first is here");
}

#define INFERRED "`%s` is inferred twice: it has one `posterior` or one `infer`"

/* What one file may say only once; another file may replace it. */
static void check_once(Compilation *c, const Item *item, Said *said) {
  if (item->kind == ITEM_OBJECTIVE || item->kind == ITEM_MINIMIZE)
    once(c, said, ITEM_OBJECTIVE, NULL, item->span, "a file has one objective: `objective` or `minimize`, once");
  if (item->kind == ITEM_MODEL) once(c, said, ITEM_MODEL, NULL, item->span, "a file holds one `model`");
  if (item->kind == ITEM_PRIOR || item->kind == ITEM_LIKELIHOOD)
    once(c, said, item->kind, item->name, item->span,
         arena_printf(c, "`%s` has a %s already", item->name, item_keyword(item->kind)));
  if (item->kind == ITEM_POSTERIOR)
    once(c, said, ITEM_POSTERIOR, item->name, item->span, arena_printf(c, INFERRED, item->name));
  for (int i = 0; item->kind == ITEM_INFER && i < item->name_count; i++)
    once(c, said, ITEM_POSTERIOR, item->names[i], item->name_spans[i], arena_printf(c, INFERRED, item->names[i]));
}

void syntax_check(Compilation *c, const File *file) {
  Said said = {0};
  for (int i = 0; i < file->count; i++) {
    check_item(c, file->items[i]);
    check_once(c, file->items[i], &said);
  }
}
