/* elaborate: an expression in its environment -> a Value. Names are looked up innermost first: block, then model
 * (where the callee may see it); model-level names are evaluated once a program, on first use, so declarations may
 * stand in any order. Calls go to functions.c. */
#include "statements.h"
#include "runtime/model.h"

#include <math.h>
#include <string.h>

enum { MAX_DEPTH = 400 };

Elaborator *elaborator_create(Model *m, ProgramKind program, int samples) {
  Elaborator *e = arena_new(m->compilation, Elaborator);
  e->model = m;
  e->c = m->compilation;
  e->graph = graph_create(m->compilation, &m->signature, program_names[program], samples);
  e->program = program;
  e->training = e->relaxing = program == PROGRAM_TRAIN || program == PROGRAM_FIT;
  e->initialising = program == PROGRAM_INITIALISE;
  e->model_visible = true;
  e->path = "";
  return e;
}

/* ---- scopes ----------------------------------------------------------------------------------------------------- */

Scope *scope_new(Elaborator *e, Scope *parent) {
  Scope *s = arena_new(e->c, Scope);
  s->parent = parent;
  return s;
}

void scope_bind(Elaborator *e, Scope *s, Name name, Value value, Span span) {
  s->items = arena_grow(e->c, s->items, s->count, sizeof *s->items);
  s->items[s->count++] = (Binding){.name = name, .value = value, .span = span};
}

Binding *scope_find(Scope *s, Name name) {
  for (; s; s = s->parent)
    for (int i = s->count - 1; i >= 0; i--)
      if (s->items[i].name == name) return &s->items[i];
  return NULL;
}

Frame enter_callee(Elaborator *e, Scope *scope, bool model_visible, const char *path) {
  Frame frame = {.scope = e->scope,
                 .site = e->site,
                 .model_visible = e->model_visible,
                 .path = e->path,
                 .context_count = e->context_count};
  e->scope = scope;
  e->model_visible = model_visible;
  e->path = path;
  return frame;
}

void leave_callee(Elaborator *e, Frame frame) {
  e->scope = frame.scope;
  e->site = frame.site;
  e->model_visible = frame.model_visible;
  e->path = frame.path;
  e->context_count = frame.context_count;
}

static Value let_value(Elaborator *, const Item *);

/* ---- names ------------------------------------------------------------------------------------------------------ */

static bool word_value(Elaborator *e, Name name, Span span, Value *out) {
  if (strcmp(name, "pi") == 0)
    *out = value_number(3.14159265358979323846);
  else if (strcmp(name, "true") == 0)
    *out = value_number(1);
  else if (strcmp(name, "false") == 0)
    *out = value_number(0);
  else if (strcmp(name, "training") == 0)
    *out = value_number(e->training);
  else if (strcmp(name, "epoch") == 0)
    *out = value_tensor(build_setting(e->graph, SETTING_EPOCH), 0, span);
  else if (strcmp(name, "step") == 0)
    *out = value_tensor(build_setting(e->graph, SETTING_STEP), 0, span);
  else if (strcmp(name, "rows_in_batch") == 0)
    *out = value_tensor(build_setting(e->graph, SETTING_ROWS_IN_BATCH), 0, span);
  else
    return false;
  return true;
}

static void suggest_names(Elaborator *e, Suggestion *near) {
  for (Scope *s = e->scope; s; s = s->parent)
    for (int i = 0; i < s->count; i++) suggestion_consider(near, s->items[i].name);
  const Model *m = e->model;
  for (int i = 0; e->model_visible && i < m->items.count; i++)
    if (m->items.items[i]->name) suggestion_consider(near, m->items.items[i]->name);
  static const char *const words[] = {"pi", "training", "epoch", "step", "rows_in_batch"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) suggestion_consider(near, words[i]);
}

static Value report_unknown(Elaborator *e, Name name, Span span) {
  Diagnostic *d = error_at(e->c, "unknown-name", span, "nothing here is called `%s`", name);
  Suggestion near = {.name = name};
  suggest_names(e, &near);
  if (name == intern(e->c, "batch") || name == intern(e->c, "sample"))
    help_with(d, "`%s` is a dim of `over = %s` alone; rows_in_batch is the number of rows", name, name);
  else if (near.best)
    help_with(d, "did you mean `%s`?", near.best);
  else if (!e->model_visible)
    help_with(d, "a layer, function or distribution sees its own formals alone: pass `%s` to it", name);
  return value_error();
}

static Value data_value(Elaborator *e, const Item *item) {
  Support support;
  int index = data_index(e, item);
  if (index < 0 || !read_support(e, item->type, &support)) return value_error();
  Node *node = build_data(e->graph, index);
  if (strcmp(support.name, "integer") == 0) note_number(e, node, NULL, &support);
  return value_tensor(node, 0, item->name_span);
}

/* What is_measured: data as they are, a let walked anew with them. */
static Value measured_value(Elaborator *e, const Item *item) {
  if (item->kind == ITEM_DATA) return data_value(e, item);
  restart_layer_counts(e, item->name);
  Frame frame = enter_callee(e, NULL, true, item->name);
  Value v = let_value(e, item);
  leave_callee(e, frame);
  return v;
}

Value lookup(Elaborator *e, Name name, Span span) {
  Binding *b = scope_find(e->scope, name);
  if (b) {
    Value v = binding_value(e, b);
    v.span = span;
    return v;
  }
  Value v;
  if (e->model_visible) {
    for (int i = 0; i < e->model->dim_count; i++)
      if (e->model->dims[i].name == name) {
        v = value_dim(e->model->dims[i].dim);
        v.span = span;
        return v;
      }
    Item *item = model_find_declaration(e->model, name);
    if (item) {
      v = is_measured(e, item) ? measured_value(e, item) : model_value(e, item, span);
      v.span = span;
      return v;
    }
    if (is_objective_word(name)) return call_objective_word(e, name, NULL, span);
  }
  if (word_value(e, name, span, &v)) {
    v.span = span;
    return v;
  }
  for (int i = 0; e->model_visible && i < e->model->items.count; i++) {
    const Item *item = e->model->items.items[i];
    if (item->name != name) continue;
    if (is_network(item->kind)) {
      Diagnostic *d = error_at(e->c, "network-value", span, "`%s` is a network; one of its fields is a value", name);
      Text fields = {.compilation = e->c};
      for (int k = 0; k < item->block.count; k++)
        if (item->block.items[k]->kind == STMT_SET)
          text_append(&fields, "%s%s.%s", fields.length ? ", " : "", name, item->block.items[k]->name);
      if (fields.length) help_with(d, "its fields are %s", fields.bytes);
      return value_error();
    }
    if (item->kind == ITEM_DIM) {
      bind_dim(e->model, item);
      return lookup(e, name, span);
    }
  }
  return report_unknown(e, name, span);
}

static Memo *memo_find(Elaborator *e, const Item *item) {
  for (int i = 0; i < e->memo_count; i++)
    if (e->memos[i].name == item->name && e->memos[i].kind == item->kind) return &e->memos[i];
  return NULL;
}

/* data V : unit[N, F] gathered; */
static bool read_gathered(Elaborator *e, const Item *item, DataInput *input) {
  const Attribute *attribute = type_attribute(item->type, "gathered");
  if (!attribute) return true;
  int own = input->shape.rank - (input->categories > 0);
  if (own > 0 && input->shape.dims[0].size <= SPM_MAX_GATHERED) {
    input->gathered = (long)input->shape.dims[0].size;
    return true;
  }
  Diagnostic *d =
      own > 0 ? error_at(e->c, "gathered", attribute->span, "at most %d rows are drawn for a datum; this is %s",
                         SPM_MAX_GATHERED, shape_text(e->c, &input->shape))
              : error_at(e->c, "gathered", attribute->span, "`%s` has no dim for the rows that are drawn", item->name);
  help_with(d, "the first dim says how many rows of the file a datum has: `data V : unit[16, 784] gathered;`");
  return false;
}

/* The index of a data declaration in the signature, which it enters on first use. */
int data_index(Elaborator *e, const Item *item) {
  Signature *s = e->graph->signature;
  for (int i = 0; i < s->data_count; i++)
    if (s->data[i].name == item->name) return i;
  Support support;
  DataInput input = {.name = item->name, .span = item->name_span};
  if (!read_support(e, item->type, &support) || !read_shape(e, item->type, &input.shape)) return -1;
  if (support.special == SPECIAL_CATEGORY)
    input.categories = (long)input.shape.dims[input.shape.rank - 1].size;
  else if (support.special == SPECIAL_SUBSET)
    input.most = (long)support.count.size;
  else if (support.special != SPECIAL_NONE) {
    error_at(e->c, "not-supported", item->type->span, "data of the type `%s` is not supported yet", support.name);
    return -1;
  }
  input.facts = support.facts;
  input.missing_ok = may_be_missing(item);
  if (!read_gathered(e, item, &input)) return -1;
  s->data = arena_grow(e->c, s->data, s->data_count, sizeof *s->data);
  s->data[s->data_count] = input;
  return s->data_count++;
}

static Value declared_range(Elaborator *e, const Item *item, Value v) {
  if (!item->type || v.kind == VALUE_ERROR) return v;
  Support support;
  Shape shape;
  if (!read_support(e, item->type, &support) || !read_shape(e, item->type, &shape)) return value_error();
  Node *node = value_node(e, &v);
  if (!node) return value_error();
  if (facts_disjoint(&node->facts, &support.facts)) {
    error_at(e->c, "support", item->expr->span, "%s is declared %s, but its value %s", item->name, support.name,
             lies_text(e->c, &node->facts));
    return value_error();
  }
  const bool simplex = support.special == SPECIAL_SIMPLEX;
  if (shape.rank) v = expand_to(e, v, &shape, item->expr->span);
  if (simplex) support.facts.high = INFINITY; /* no element is above their sum */
  bool proved = facts_within(&node->facts, &support.facts);
  if (simplex && !guard_simplex(e, &v, shape.rank - 1, item->expr->span)) proved = false;
  if (!proved) accept_support(e, item->expr->span, NULL, item->name, support.name);
  if (strcmp(support.name, "integer") == 0 && v.kind == VALUE_TENSOR) note_number(e, v.node, NULL, &support);
  return v;
}

static Value let_value(Elaborator *e, const Item *item) {
  const Override *override = find_override(e->model, item->name);
  Value v = override ? value_number(override->value) : elaborate(e, item->expr);
  return declared_range(e, item, v);
}

static Value draw_value(Elaborator *e, const Item *item) {
  Support support;
  Shape shape;
  if (!read_support(e, item->type, &support) || !read_shape(e, item->type, &shape)) return value_error();
  Value d = elaborate(e, item->expr);
  if (d.kind == VALUE_ERROR) return d;
  if (d.kind != VALUE_DISTRIBUTION) {
    error_at(e->c, "not-a-distribution", item->expr->span, "`draw %s ~` needs a distribution; this is %s", item->name,
             value_text(e->c, &d));
    return value_error();
  }
  Support number = support;
  bool held = hold_as_vector(e, &d, &support, &shape);
  if (!check_distribution_for(e, &d, item, &support, &shape, "draw")) return value_error();
  Value v = distribution_sample(e, &d, item->name, &shape, AXIS_DATUM, item->span);
  return held ? number_of_vector(e, v, &number, item->span) : v;
}

static Value evaluate_item(Elaborator *e, Item *item, Span use) {
  switch ((int)item->kind) {
  case ITEM_DATA:
    if (e->initialising) {
      Diagnostic *d = error_at(e->c, "init", use, "an initial value is one for all data, and there is one `%s` a datum",
                               item->name);
      help_with(d, "rows(%s), mean(%s, over = batch) and median(%s, over = batch) are for all", item->name, item->name,
                item->name);
      return value_error();
    }
    return is_partly_latent(e->model, item) ? latent_draw(e, item, use) : data_value(e, item);
  case ITEM_LOCAL:
    if (!e->initialising) return make_local(e, item, item->expr);
    error_at(e->c, "init", use, "the initial value of a param cannot depend on the local `%s`: there is one a datum",
             item->name);
    return value_error();
  case ITEM_LATENT: return latent_draw(e, item, use);
  case ITEM_PARAM:
    if (model_find(e->model, ITEM_POSTERIOR, item->name)) return latent_draw(e, item, use); /* a global latent */
    return make_parameter(e, item->name, item->name, item->type, item->expr, item->name_span);
  case ITEM_DRAW: return draw_value(e, item);
  case ITEM_INFER: return infer_latents(e, item);
  case ITEM_LET:
  case ITEM_SCHEDULE: return let_value(e, item);
  case ITEM_PRIOR:
  case ITEM_POSTERIOR:
  case ITEM_LIKELIHOOD: return statement_value(e, item);
  }
  error_at(e->c, "not-supported", use, "`%s` is not supported yet", item_keyword(item->kind));
  return value_error();
}

Value model_value(Elaborator *e, Item *item, Span use) {
  Memo *memo = memo_find(e, item);
  if (memo && memo->busy) {
    Diagnostic *d = error_at(e->c, "cycle", use, "`%s` depends on itself", item->name);
    note_at(d, item->name_span, "it is declared here");
    for (const Memo *between = memo + 1; between < e->memos + e->memo_count; between++)
      if (between->busy && between->name != item->name && between->name != between[-1].name)
        note_at(d, between->span, "it mentions `%s` here", between->name);
    return value_error();
  }
  if (memo) return memo->value;
  int at = e->memo_count;
  e->memos = arena_grow(e->c, e->memos, e->memo_count, sizeof *e->memos);
  e->memos[e->memo_count++] = (Memo){.name = item->name, .kind = item->kind, .span = use, .busy = true};
  int context = e->context_count;
  bool measuring = e->measuring;
  e->context_count = 0; /* a model-level value is never inside a mapped call */
  e->measuring = false;
  Frame frame = enter_callee(e, NULL, true, item->name);
  Value v = evaluate_item(e, item, use);
  leave_callee(e, frame);
  e->context_count = context;
  e->measuring = measuring;
  if (v.kind == VALUE_TENSOR && !v.node->name) v.node->name = item->name;
  e->memos[at].busy = false;
  e->memos[at].value = v;
  return v;
}

/* ---- worlds of their own --------------------------------------------------------------------------------------- */

World world_enter(Elaborator *e) {
  World outer = {e->memos, e->memo_count, e->calls, e->call_count, e->layers, e->layer_count};
  e->memos = NULL;
  e->calls = NULL;
  e->layers = NULL;
  e->memo_count = e->call_count = e->layer_count = 0;
  return outer;
}

void world_set(Elaborator *e, const Item *latent, Node *value, Span use) {
  e->memos = arena_grow(e->c, e->memos, e->memo_count, sizeof *e->memos);
  e->memos[e->memo_count++] = (Memo){
      .name = latent->name, .kind = latent->kind, .span = use, .value = value_tensor(value, 0, latent->name_span)};
}

void world_leave(Elaborator *e, World outer) {
  e->memos = outer.memos;
  e->memo_count = outer.memo_count;
  e->calls = outer.calls;
  e->call_count = outer.call_count;
  e->layers = outer.layers;
  e->layer_count = outer.layer_count;
}

/* ---- expressions ----------------------------------------------------------------------------------------------- */

static Value elaborate_unary(Elaborator *e, const Expr *x) {
  Value a = elaborate(e, x->a);
  if (x->operation == OP_NEGATE) return apply1(e, IR_neg, a, x->span);
  if (a.kind == VALUE_NUMBER) return value_number(a.dim.size == 0);
  return apply1(e, IR_not, a, x->span);
}

static Value elaborate_binary(Elaborator *e, const Expr *x) {
  Value a = elaborate(e, x->a), b = elaborate(e, x->b);
  switch (x->operation) {
  case OP_AND: return apply2(e, IR_and, a, b, x->span);
  case OP_OR: return apply2(e, IR_or, a, b, x->span);
  case OP_LESS: return apply2(e, IR_less, a, b, x->span);
  case OP_GREATER: return apply2(e, IR_less, b, a, x->span);
  case OP_LESS_EQUAL: return apply2(e, IR_less_equal, a, b, x->span);
  case OP_GREATER_EQUAL: return apply2(e, IR_less_equal, b, a, x->span);
  case OP_EQUAL: return apply2(e, IR_equal, a, b, x->span);
  case OP_NOT_EQUAL: return apply2(e, IR_not_equal, a, b, x->span);
  case OP_ADD: return apply2(e, IR_add, a, b, x->span);
  case OP_SUBTRACT: return apply2(e, IR_sub, a, b, x->span);
  case OP_MULTIPLY: return apply2(e, IR_mul, a, b, x->span);
  case OP_DIVIDE: return apply2(e, IR_div, a, b, x->span);
  case OP_REMAINDER: return apply2(e, IR_mod, a, b, x->span);
  case OP_MATMUL: return matmul(e, a, b, x->span);
  case OP_POWER: return apply2(e, IR_pow, a, b, x->span);
  case OP_NONE:
  case OP_NEGATE:
  case OP_NOT: break;
  }
  return value_error();
}

/* A condition known before training selects at once: the other branch makes no parameters. Under `training` both
 * are walked, in the order of the text: a running_mean in the other is updated though nobody reads it, and layers have
 * the same names in every program. */
static Value elaborate_conditional(Elaborator *e, const Expr *x) {
  Value condition = elaborate(e, x->a);
  if (condition.kind == VALUE_ERROR) return condition;
  if (condition.kind == VALUE_NUMBER) {
    bool first = condition.dim.size != 0;
    if (!expr_mentions(x->a, intern(e->c, "training"))) return elaborate(e, first ? x->b : x->c);
    Value b = elaborate(e, x->b), c = elaborate(e, x->c);
    if (b.kind == VALUE_ERROR || c.kind == VALUE_ERROR) return value_error();
    return first ? b : c;
  }
  Value b = elaborate(e, x->b), c = elaborate(e, x->c);
  return apply3(e, IR_select, condition, b, c, x->span);
}

static Value elaborate_field(Elaborator *e, const Expr *x) {
  Value record;
  Item *network = NULL;
  if (x->a->kind == EXPR_NAME && !scope_find(e->scope, x->a->name) && e->model_visible)
    for (int i = 0; i < e->model->items.count && !network; i++)
      if (is_network(e->model->items.items[i]->kind) && e->model->items.items[i]->name == x->a->name)
        network = e->model->items.items[i];
  record = network ? network_of_names(e, network, x->a->span) : elaborate(e, x->a);
  if (record.kind == VALUE_ERROR) return record;
  if (record.kind != VALUE_RECORD) {
    error_at(e->c, "no-fields", x->span, "only a network has fields; this is %s", value_text(e->c, &record));
    return value_error();
  }
  for (int i = record.record->count - 1; i >= 0; i--)
    if (record.record->items[i].name == x->name) {
      Value v = binding_value(e, &record.record->items[i]);
      v.span = x->span;
      return v;
    }
  Diagnostic *d =
      error_at(e->c, "unknown-field", x->name_span, "%s sets no field `%s`", span_text(e->c, x->a->span), x->name);
  Suggestion near = {.name = x->name};
  Text fields = {.compilation = e->c};
  for (int i = 0; i < record.record->count; i++) {
    suggestion_consider(&near, record.record->items[i].name);
    text_append(&fields, "%s%s", i ? ", " : "", record.record->items[i].name);
  }
  if (near.best)
    help_with(d, "did you mean `%s`?", near.best);
  else if (fields.length)
    help_with(d, "it sets %s", fields.bytes);
  return value_error();
}

static void report_index(Elaborator *e, const Index *index, Dim dim) {
  Span span = index->last ? span_join(index->first->span, index->last->span) : index->first->span;
  const char *size = dim.symbol ? arena_printf(e->c, "%s = %s", dim_text(e->c, dim), shortest_number(e->c, dim.size))
                                : dim_text(e->c, dim);
  Diagnostic *d =
      error_at(e->c, "index", span,
               index->last ? "the range %s does not lie in a dim of %s" : "the index %s lies outside a dim of %s",
               span_text(e->c, span), size);
  help_with(d, index->last ? "a range is first .. last, counted from 0, and its last is not in it"
                           : "indices count from 0");
}

static bool names_category(const Elaborator *e, const Expr *x) {
  const Item *item = x->kind == EXPR_NAME ? model_find_declaration(e->model, x->name) : NULL;
  return item && item->type && strcmp(item->type->name, "category") == 0;
}

/* V[y], y a category: the element of the first dim that y names, which is its one-hot vector times V; so a relaxed y
 * gives the mixture, and a summed-out one each element in turn. */
static Value index_by_category(Elaborator *e, const Expr *x, Value v, Value y) {
  Shape shape = visible_shape(&v), hot = visible_shape(&y);
  const Facts *facts = &y.node->facts;
  bool category =
      hot.rank == 1 && facts->low >= 0 && (facts->high <= 1 || names_category(e, x->indices[0].first)); /* relaxed */
  if (category && x->index_count == 1 && dim_agree(hot.dims[0], shape.dims[0])) return matmul(e, y, v, x->span);
  Diagnostic *d =
      category && x->index_count == 1
          ? error_at(e->c, "index", x->span, "the index is one of %s, and the first dim of %s is %s",
                     dim_text(e->c, hot.dims[0]), value_text(e->c, &v), dim_text(e->c, shape.dims[0]))
          : error_at(e->c, "index", x->span, "an index is a number known before training, or one category; this is %s",
                     value_text(e->c, &y));
  help_with(d, "V[y] with a `category(n)` y takes the element of V's first dim, of length n, that y names");
  return value_error();
}

/* a[i], a[i .. j] with numbers; 0-based, the end of a range is not in it. */
static Value elaborate_index(Elaborator *e, const Expr *x) {
  Value v = elaborate(e, x->a);
  if (v.kind == VALUE_ERROR) return v;
  Shape shape = visible_shape(&v);
  if (v.kind != VALUE_TENSOR || x->index_count > shape.rank) {
    error_at(e->c, "index", x->span, "%d ind%s for %s", x->index_count, x->index_count == 1 ? "ex" : "ices",
             value_text(e->c, &v));
    return value_error();
  }
  int hidden = v.node->shape.rank - shape.rank;
  Shape kept = {.rank = hidden};
  for (int i = 0; i < hidden; i++) kept.dims[i] = v.node->shape.dims[i];
  Node *node = v.node;
  place(e, x->span);
  for (int i = 0; i < shape.rank; i++) {
    if (i >= x->index_count) {
      kept.dims[kept.rank++] = shape.dims[i];
      continue;
    }
    Value first = elaborate(e, x->indices[i].first);
    Value last = x->indices[i].last ? elaborate(e, x->indices[i].last) : first;
    if (first.kind == VALUE_ERROR || last.kind == VALUE_ERROR) return value_error();
    if (first.kind == VALUE_TENSOR && !x->indices[i].last) return index_by_category(e, x, v, first);
    if (first.kind != VALUE_NUMBER || last.kind != VALUE_NUMBER) {
      error_at(e->c, "index", x->span, "the ends of a range are numbers known before training");
      return value_error();
    }
    Dim extent = x->indices[i].last ? dim_subtract(e->c, last.dim, first.dim) : dim_number(1);
    double size = shape.dims[i].size, start = first.dim.size;
    if (start < 0 || start != floor(start) || extent.size < 1 || start + extent.size > size) {
      report_index(e, &x->indices[i], shape.dims[i]);
      return value_error();
    }
    node = build_slice(e->graph, node, hidden + i, (long)start, extent);
    if (x->indices[i].last) kept.dims[kept.rank++] = extent;
  }
  return value_tensor(build_reshape(e->graph, node, &kept), v.mapped, x->span);
}

static Value elaborate_list(Elaborator *e, const Expr *x) {
  Value v = {.kind = VALUE_LIST, .span = x->span, .count = x->element_count};
  v.elements = arena_array(e->c, Value, x->element_count);
  for (int i = 0; i < x->element_count; i++) {
    v.elements[i] = elaborate(e, x->elements[i]);
    if (v.elements[i].kind == VALUE_ERROR) return value_error();
  }
  return v;
}

static Value elaborate_kind(Elaborator *e, const Expr *x) {
  switch (x->kind) {
  case EXPR_ERROR: return value_error();
  case EXPR_NUMBER: return value_number(x->number);
  case EXPR_STRING: return (Value){.kind = VALUE_STRING, .name = x->name};
  case EXPR_NAME: return lookup(e, x->name, x->span);
  case EXPR_CALL: return elaborate_call(e, x);
  case EXPR_LIST: return elaborate_list(e, x);
  case EXPR_UNARY: return elaborate_unary(e, x);
  case EXPR_BINARY: return elaborate_binary(e, x);
  case EXPR_CONDITIONAL: return elaborate_conditional(e, x);
  case EXPR_TRANSPOSE: return transpose(e, elaborate(e, x->a), x->span);
  case EXPR_FIELD: return elaborate_field(e, x);
  case EXPR_INDEX: return elaborate_index(e, x);
  }
  return value_error();
}

Value elaborate(Elaborator *e, const Expr *x) {
  if (e->depth >= MAX_DEPTH) {
    error_at(e->c, "too-deep", x->span, "calls and expressions are nested more than %d deep", MAX_DEPTH);
    return value_error();
  }
  e->depth++;
  Value v = elaborate_kind(e, x);
  e->depth--;
  if (!v.span.source) v.span = x->span;
  return v;
}
