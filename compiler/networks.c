/* networks: calls of what is written in the language itself — encoders, decoders, layers, functions. A callee is
 * walked anew at each call (blocks.c); leading dims it does not name are mapped over by carrying them in the context.
 */
#include "statements.h"

#include <math.h>
#include <string.h>

const Argument *find_argument(const Expr *call, const char *name) {
  for (int i = 0; i < call->argument_count; i++)
    if (call->arguments[i].name && strcmp(call->arguments[i].name, name) == 0) return &call->arguments[i];
  return NULL;
}

static bool is_option(const char *options, const char *name) {
  size_t n = strlen(name);
  for (const char *at = options; (at = strstr(at, name)); at += n)
    if ((at == options || at[-1] == ' ') && (at[n] == ',' || at[n] == 0)) return true;
  return false;
}

static void suggest_option(Elaborator *e, Diagnostic *d, const char *name, const char *options) {
  Suggestion near = {.name = name};
  for (const char *at = options; *at; at += strspn(at, ", ")) {
    size_t n = strcspn(at, ",");
    suggestion_consider(&near, intern(e->c, arena_printf(e->c, "%.*s", (int)n, at)));
    at += n;
  }
  if (near.best)
    help_with(d, "did you mean `%s`?", near.best);
  else if (*options)
    help_with(d, strchr(options, ',') ? "its options are %s" : "its option is %s", options);
}

bool check_options(Elaborator *e, const Expr *call, const char *options, bool by_place) {
  bool fine = true;
  for (int i = 0; call && i < call->argument_count; i++) {
    const Argument *a = &call->arguments[i];
    if (a->name ? is_option(options, a->name) : by_place) continue;
    const char *name = a->name ? a->name : span_text(e->c, a->value->span);
    Diagnostic *d =
        error_at(e->c, "argument", a->name ? a->name_span : a->value->span, "%s has no option `%s`", call->name, name);
    suggest_option(e, d, name, options);
    fine = false;
  }
  return fine;
}

int positional_count(const Expr *call) {
  int n = 0;
  for (int i = 0; i < call->argument_count; i++) n += call->arguments[i].name == NULL;
  return n;
}

/* ---- arguments -------------------------------------------------------------------------------------------------- */

static int formal_index(const Formals *formals, Name name) {
  for (int i = 0; i < formals->count; i++)
    if (formals->items[i].name == name) return i;
  return -1;
}

static bool bind_one(Elaborator *e, const Argument *a, const Formal *formal, Value *out, const Item *callee) {
  if (out->kind != VALUE_ERROR) {
    error_at(e->c, "argument", a->name ? a->name_span : a->value->span, "%s gets its argument `%s` twice", callee->name,
             formal->name);
    return false;
  }
  if (formal->is_dim) {
    Dim dim;
    if (!elaborate_dim(e, a->value, &dim)) return false;
    *out = value_dim(dim);
  } else
    *out = elaborate(e, a->value);
  out->span = a->value->span;
  return out->kind != VALUE_ERROR;
}

static const char *signature_text(Elaborator *e, const Item *callee, const Formals *formals) {
  Text t = {.compilation = e->c};
  text_append(&t, "%s(", callee->name);
  for (int i = 0; i < formals->count; i++) {
    const Formal *f = &formals->items[i];
    text_append(&t, "%s%s", i ? ", " : "", f->name);
    if (f->is_dim) text_append(&t, " : dim");
    if (f->type) {
      text_append(&t, " : ");
      ast_print_type(&t, f->type);
    }
    if (f->initial) {
      text_append(&t, " = ");
      ast_print_expr(&t, f->initial);
    }
  }
  text_append(&t, ")");
  return t.bytes;
}

static void report_argument(Elaborator *e, Span span, const char *message, const Item *callee, const Formals *formals) {
  Diagnostic *d = error_at(e->c, "argument", span, "%s", message);
  help_with(d, "it is called as %s", signature_text(e, callee, formals));
}

bool bind_arguments(Elaborator *e, const Expr *call, const Formals *formals, const Item *callee, Value *values) {
  bool ok = true;
  int next = 0;
  for (int i = 0; i < formals->count; i++) values[i] = value_error();
  for (int i = 0; i < call->argument_count; i++) {
    const Argument *a = &call->arguments[i];
    int at = a->name ? formal_index(formals, a->name) : next++;
    if (at < 0 || at >= formals->count) {
      const char *what = a->name ? arena_printf(e->c, "%s has no argument `%s`", callee->name, a->name)
                                 : arena_printf(e->c, "%s takes %d argument%s, not %d", callee->name, formals->count,
                                                formals->count == 1 ? "" : "s", call->argument_count);
      report_argument(e, a->name ? a->name_span : a->value->span, what, callee, formals);
      return false;
    }
    if (!bind_one(e, a, &formals->items[at], &values[at], callee)) ok = false;
  }
  for (int i = 0; ok && i < formals->count; i++) {
    if (values[i].kind != VALUE_ERROR) continue;
    if (formals->items[i].initial) {
      values[i] = elaborate(e, formals->items[i].initial);
      continue;
    }
    report_argument(e, call->span,
                    arena_printf(e->c, "%s lacks its argument `%s`", callee->name, formals->items[i].name), callee,
                    formals);
    ok = false;
  }
  return ok;
}

static int formal_rank(const Formal *f, const Value *v, bool untyped_is_scalar) {
  if (f->type) return type_rank(f->type);
  return untyped_is_scalar ? 0 : visible_shape(v).rank;
}

static bool match_dims(Elaborator *e, const Formal *f, const Value *v, Scope *callee, Span span) {
  Shape shape = visible_shape(v);
  for (int i = 0; f->type && i < type_rank(f->type); i++) {
    const Expr *dim = type_dim(f->type, i);
    Dim actual = shape.dims[shape.rank - type_rank(f->type) + i];
    if (dim->kind == EXPR_NAME && !scope_find(callee, dim->name)) {
      scope_bind(e, callee, dim->name, value_dim(actual), dim->span);
      continue;
    }
    Dim wanted;
    Frame frame = enter_callee(e, callee, false, e->path);
    bool known = elaborate_dim(e, dim, &wanted);
    leave_callee(e, frame);
    if (!known) return false;
    if (dim_agree(actual, wanted)) continue;
    Diagnostic *d =
        error_at(e->c, "shape", v->span.source ? v->span : span, "`%s` has shape %s; its dim %s must be %s here",
                 f->name, shape_text(e->c, &shape), dim_text(e->c, actual), dim_text(e->c, wanted));
    note_at(d, f->span, "`%s` is declared here", f->name);
    return false;
  }
  return true;
}

/* What stands in shipped text is no matter of the author's. */
void accept_support(Elaborator *e, Span span, const Formal *f, Name formal, Name support) {
  bool extended = false;
  Model *m = e->model;
  if (!e->describe) return;
  if (span.source <= 0 || e->c->sources[span.source].library) return;
  for (int i = 0; i < m->accepted_count; i++)
    if (m->accepted[i].span.source == span.source && m->accepted[i].span.start == span.start &&
        m->accepted[i].formal == formal)
      return;
  for (int i = 0; f && f->type && i < f->type->attribute_count; i++)
    extended |= strcmp(f->type->attributes[i].name, "extended") == 0;
  m->accepted = arena_grow(e->c, m->accepted, m->accepted_count, sizeof *m->accepted);
  m->accepted[m->accepted_count++] = (struct Acceptance){span, formal, support, extended};
}

/* n numbers of which it is known that they do not make 1 together are no simplex. */
static bool check_sum(Elaborator *e, const Formal *f, const Node *node, const Value *v, Span span) {
  if (node->shape.rank == 0 || e->generic) return true;
  const double n = node->shape.dims[node->shape.rank - 1].size;
  const char *sum;
  if (bounds_hold_one(e->c, n * node->facts.low, n * node->facts.high, &sum)) return true;
  Diagnostic *d =
      error_at(e->c, "support", v->span.source ? v->span : span,
               "`%s` must be simplex; %s numbers in these bounds sum to %s", f->name, shortest_number(e->c, n), sum);
  note_at(d, f->span, "`%s` is declared here", f->name);
  help_with(d, "one constant for all of them is 1 / %s", shortest_number(e->c, n));
  return false;
}

static bool is_of_simplex(const Formal *f) { return f->type && strcmp(f->type->name, "simplex") == 0; }

void guard_argument(Elaborator *e, const Formal *f, Value *v, Span span) {
  Span own = v->span.source ? v->span : span;
  if (is_of_simplex(f) && value_is_numeric(v) && !guard_simplex(e, v, visible_shape(v).rank - 1, own)) {
    v->span = own;
    accept_support(e, own, f, f->name, f->type->name);
  }
}

bool check_support(Elaborator *e, const Formal *f, const Value *v, Scope *callee, Span span) {
  Support support;
  Frame frame = enter_callee(e, callee, false, e->path);
  bool known = read_support(e, f->type, &support);
  leave_callee(e, frame);
  if (!known) return false;
  Node *node = value_node(e, v);
  if (!node) return false;
  if (!facts_disjoint(&node->facts, &support.facts)) {
    if (support.special == SPECIAL_SIMPLEX && !check_sum(e, f, node, v, span)) return false;
    if (support.special == SPECIAL_SIMPLEX) support.facts.high = INFINITY; /* no element is above their sum */
    if (!facts_within(&node->facts, &support.facts))
      accept_support(e, v->span.source ? v->span : span, f, f->name, support.name);
    return true;
  }
  Diagnostic *d = error_at(e->c, "support", v->span.source ? v->span : span, "`%s` must be %s; this %s", f->name,
                           support.name, lies_text(e->c, &node->facts));
  note_at(d, f->span, "`%s` is declared here", f->name);
  return false;
}

static Shape leading_dims(const Value *v, int count) {
  Shape s = visible_shape(v);
  s.rank = count;
  return s;
}

static bool place_in_context(Elaborator *e, const Formal *f, Value *v, int extra, int base, Span span) {
  if (v->kind != VALUE_TENSOR || extra == 0) return true;
  int map[MAX_RANK], at = 0;
  Shape own = leading_dims(v, extra);
  for (int i = 0; i < own.rank; i++, at++) {
    while (at < e->context_count - base && !dim_agree(own.dims[i], e->context[base + at])) at++;
    if (at == e->context_count - base) {
      Shape whole = {.rank = e->context_count - base};
      memcpy(whole.dims, e->context + base, sizeof(Dim) * (size_t)whole.rank);
      Shape shown = visible_shape(v);
      error_at(e->c, "shape", v->span.source ? v->span : span,
               "`%s` has shape %s, which does not fit the shape %s of the others", f->name, shape_text(e->c, &shown),
               shape_text(e->c, &whole));
      return false;
    }
    map[i] = at;
  }
  for (int i = 0; i < extra; i++) v->mapped |= 1u << (base + map[i]);
  return true;
}

/* A single constant may stand for a vector parameter: categorical(prob = 1 / C). */
static bool is_shared_constant(const Value *v, int has, int wants) {
  return has == 0 && wants > 0 && (v->kind == VALUE_NUMBER || (v->kind == VALUE_TENSOR && v->node->axes == 0));
}

static bool expand_constant(Elaborator *e, const Formal *f, Value *v, bool untyped_is_scalar, Scope *callee,
                            Span span) {
  if (!value_is_numeric(v) || f->is_dim || !f->type) return true;
  Shape shape = visible_shape(v);
  if (!is_shared_constant(v, shape.rank, formal_rank(f, v, untyped_is_scalar))) return true;
  if (!check_support(e, f, v, callee, span)) return false;
  Frame frame = enter_callee(e, callee, false, e->path);
  bool known = read_shape(e, f->type, &shape);
  leave_callee(e, frame);
  if (known) *v = expand_to(e, *v, &shape, span);
  if (!known || v->kind == VALUE_ERROR) return false;
  if (!is_of_simplex(f)) return true;
  bool sound = check_sum(e, f, v->node, v, span);
  guard_argument(e, f, v, span);
  return sound;
}

bool map_arguments(Elaborator *e, const Formal *const *formals, Value *values, int count, bool untyped_is_scalar,
                   Scope *callee, Span span) {
  int base = e->context_count, widest = -1;
  int *extra = arena_array(e->c, int, count);
  for (int i = 0; i < count; i++) {
    if (!value_is_numeric(&values[i]) || formals[i]->is_dim) continue;
    Shape shape = visible_shape(&values[i]);
    int rank = formal_rank(formals[i], &values[i], untyped_is_scalar);
    if (is_shared_constant(&values[i], shape.rank, rank)) continue;
    if (shape.rank < rank) {
      Diagnostic *d =
          error_at(e->c, "shape", values[i].span.source ? values[i].span : span, "`%s` needs %d dim%s; this is %s",
                   formals[i]->name, rank, rank == 1 ? "" : "s", value_text(e->c, &values[i]));
      note_at(d, formals[i]->span, "`%s` is declared here", formals[i]->name);
      return false;
    }
    extra[i] = shape.rank - rank;
    if (extra[i] > 0 && (widest < 0 || extra[i] > extra[widest])) widest = i;
    if (!match_dims(e, formals[i], &values[i], callee, span)) return false;
    if (formals[i]->type && !check_support(e, formals[i], &values[i], callee, span)) return false;
    guard_argument(e, formals[i], &values[i], span);
  }
  for (int i = 0; i < count; i++)
    if (!expand_constant(e, formals[i], &values[i], untyped_is_scalar, callee, span)) return false;
  if (widest >= 0) {
    Shape shape = leading_dims(&values[widest], extra[widest]);
    if (base + shape.rank > MAX_RANK) {
      error_at(e->c, "rank", span, "calls mapped over more than %d dims", MAX_RANK);
      return false;
    }
    memcpy(e->context + base, shape.dims, sizeof(Dim) * (size_t)shape.rank);
    e->context_count = base + shape.rank;
  }
  for (int i = 0; i < count; i++) {
    if (!place_in_context(e, formals[i], &values[i], extra[i], base, span)) return false;
    scope_bind(e, callee, formals[i]->name, values[i], formals[i]->span);
  }
  return true;
}

Value unmap(Elaborator *e, Value v, int context_count) {
  (void)e;
  if (v.kind == VALUE_TENSOR) v.mapped &= (1u << context_count) - 1;
  return v;
}

void enter_site(Elaborator *e, Span call) {
  if (!e->c->sources[call.source].library) e->site = call;
}

/* ---- calls ------------------------------------------------------------------------------------------------------- */

void blame(Elaborator *e, Diagnostic *const *mark, Span call, Name callee) {
  const Source *sources = e->c->sources;
  for (Diagnostic *d = *mark; d; d = d->next) {
    if (sources[call.source].library || d->span.source == 0) continue;
    if (sources[d->span.source].library) {
      note_at(d, d->span, "inside %s", callee);
      d->span = call;
    } else if (d->span.source != call.source || d->span.start < call.start || d->span.end > call.end)
      note_at(d, call, "in this call of %s", callee);
  }
}

static bool calls_itself(Elaborator *e, const Item *item, Span call) {
  for (const Callee *c = e->callees; c; c = c->caller)
    if (c->item == item) {
      Diagnostic *d = error_at(e->c, "recursion", call, "%s calls itself", item->name);
      note_at(d, item->name_span, "it is declared here");
      return true;
    }
  return false;
}

Value call_library(Elaborator *e, Item *item, const Expr *call) {
  if (calls_itself(e, item, call->span)) return value_error();
  Value *values = arena_array(e->c, Value, item->formals.count);
  if (!bind_arguments(e, call, &item->formals, item, values)) return value_error();
  const Formal **formals = arena_array(e->c, const Formal *, item->formals.count);
  for (int i = 0; i < item->formals.count; i++) formals[i] = &item->formals.items[i];
  Scope *scope = scope_new(e, NULL);
  for (int i = 0; i < item->formals.count; i++)
    if (item->formals.items[i].is_dim)
      scope_bind(e, scope, item->formals.items[i].name, values[i], item->formals.items[i].span);
  int context = e->context_count;
  const char *path = item->kind == ITEM_LAYER ? layer_path(e, item->name) : e->path;
  bool mapped = map_arguments(e, formals, values, item->formals.count, false, scope, call->span);
  Frame frame = enter_callee(e, scope, false, path);
  enter_site(e, call->span);
  Callee callee = {.item = item, .caller = e->callees};
  Diagnostic **mark = e->c->last_diagnostic;
  e->callees = &callee;
  Value result = value_error();
  if (mapped)
    result = item->has_block || item->kind == ITEM_LAYER ? run_block(e, &item->block) : elaborate(e, item->expr);
  e->callees = callee.caller;
  blame(e, mark, call->span, item->name);
  leave_callee(e, frame);
  e->context_count = context;
  result = unmap(e, result, context);
  result.span = call->span;
  return result;
}

static bool same_value(const Value *a, const Value *b) {
  if (a->kind != b->kind) return false;
  if (a->kind == VALUE_TENSOR) return a->node == b->node && a->mapped == b->mapped;
  return a->kind == VALUE_NUMBER && dim_same(a->dim, b->dim);
}

static Scope *unmap_record(Elaborator *e, Scope *scope, const Scope *arguments, int context) {
  Scope *record = scope_new(e, NULL);
  for (int i = arguments->count; i < scope->count; i++) {
    scope_bind(e, record, scope->items[i].name, unmap(e, scope->items[i].value, context), scope->items[i].span);
    record->items[record->count - 1].pending = scope->items[i].pending;
  }
  return record;
}

static Value call_network(Elaborator *e, Item *item, Value *arguments, int count, Span span) {
  for (int i = 0; i < e->call_count; i++) {
    bool same = e->calls[i].network == item;
    for (int k = 0; same && k < count; k++) same = same_value(&e->calls[i].arguments[k], &arguments[k]);
    if (same) return e->calls[i].result;
  }
  if (calls_itself(e, item, span)) return value_error();
  restart_layer_counts(e, item->name);
  const Formal **formals = arena_array(e->c, const Formal *, count);
  Value *values = arena_array(e->c, Value, count);
  for (int i = 0; i < count; i++) {
    formals[i] = &item->formals.items[i];
    values[i] = arguments[i];
    if (values[i].kind == VALUE_ERROR) return value_error();
  }
  Scope *scope = scope_new(e, NULL);
  int context = e->context_count;
  bool mapped = map_arguments(e, formals, values, count, false, scope, span);
  Scope bound = *scope;
  Frame frame = enter_callee(e, scope, true, item->name);
  bool measuring = e->measuring;
  Callee callee = {.item = item, .caller = e->callees};
  e->callees = &callee;
  e->measuring = false; /* a network is inference's */
  if (mapped) run_block(e, &item->block);
  e->measuring = measuring;
  e->callees = callee.caller;
  leave_callee(e, frame);
  e->context_count = context;
  Value result = {.kind = mapped ? VALUE_RECORD : VALUE_ERROR,
                  .span = span,
                  .record = mapped ? unmap_record(e, scope, &bound, context) : NULL};
  e->calls = arena_grow(e->c, e->calls, e->call_count, sizeof *e->calls);
  e->calls[e->call_count++] = (NetworkCall){.network = item, .arguments = arguments, .count = count, .result = result};
  return result;
}

Value call_network_by_name(Elaborator *e, Item *item, const Expr *call) {
  int count = item->formals.count;
  Value *arguments = arena_array(e->c, Value, count);
  if (!bind_arguments(e, call, &item->formals, item, arguments)) return value_error();
  for (int i = 0; i < count; i++)
    if (!value_is_numeric(&arguments[i])) {
      value_node(e, &arguments[i]);
      return value_error();
    }
  return call_network(e, item, arguments, count, call->span);
}

Value network_of_names(Elaborator *e, Item *item, Span span) {
  Value *arguments = arena_array(e->c, Value, item->formals.count);
  Frame frame = enter_callee(e, NULL, true, item->name);
  bool measuring = e->measuring;
  e->measuring = false;
  for (int i = 0; i < item->formals.count; i++) {
    arguments[i] = lookup(e, item->formals.items[i].name, item->formals.items[i].span);
    if (arguments[i].kind != VALUE_ERROR && !value_is_numeric(&arguments[i])) value_node(e, &arguments[i]);
  }
  leave_callee(e, frame);
  e->measuring = measuring;
  for (int i = 0; i < item->formals.count; i++)
    if (!value_is_numeric(&arguments[i])) return value_error();
  int context = e->context_count;
  e->context_count = 0;
  Value result = call_network(e, item, arguments, item->formals.count, span);
  e->context_count = context;
  return result;
}
