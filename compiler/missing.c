/* missing: data declared `missing_ok` -> values that no arithmetic meets before it is known that they are there.
 * A missing entry is NaN. `observed(y)` is 1 where there is one that is not. Where y has no posterior, the entries of
 * its likelihood that are missing drop; where it has one, y is a latent whose value is known on some rows: there its
 * posterior is the point at the value. In a metric the name of such data is the data's own value, and the metric is the
 * mean over the rows that have one (LANGUAGE rule 36). Everything else that would meet a NaN is an error. */
#include "builtins.h"

#include <math.h>
#include <string.h>

bool may_be_missing(const Item *item) {
  return item->kind == ITEM_DATA && type_attribute(item->type, "missing_ok") != NULL;
}

bool is_partly_latent(const Model *m, const Item *item) {
  return may_be_missing(item) && model_find(m, ITEM_POSTERIOR, item->name) != NULL;
}

bool is_latent(const Model *m, const Item *item) { return item->kind == ITEM_LATENT || is_partly_latent(m, item); }

/* ---- masks ----------------------------------------------------------------------------------------------------- */

static bool is_hidden(const Elaborator *e, const Item *item) {
  if ((e->program != PROGRAM_EVALUATE && e->program != PROGRAM_MEASURE) || e->measuring) return false;
  for (int i = 0; i < e->model->hidden_count; i++)
    if (e->model->hidden[i] == item->name) return true;
  return false;
}

/* Values of a category or a subset are there or missing together: one for all of the last dim. */
static bool is_line(const Support *support) {
  return support->special == SPECIAL_CATEGORY || support->special == SPECIAL_SUBSET;
}

static bool read_type(Elaborator *e, const Item *item, Support *support, Shape *shape) {
  Frame frame = enter_callee(e, NULL, true, e->path);
  bool ok = read_support(e, item->type, support) && read_shape(e, item->type, shape);
  leave_callee(e, frame);
  return ok;
}

static Node *mask_of(Elaborator *e, Node *raw, bool line) {
  Shape shape = raw->shape;
  if (line) {
    raw = build_slice(e->graph, raw, --shape.rank, 0, dim_number(1));
    raw = build_reshape(e->graph, raw, &shape);
  }
  return build_map2(e->graph, IR_equal, raw, raw);
}

Value observed_mask(Elaborator *e, const Item *item, Span span) {
  Support support;
  Shape shape;
  int index = data_index(e, item);
  if (index < 0 || !read_type(e, item, &support, &shape)) return value_error();
  place(e, span);
  bool line = is_line(&support);
  shape.rank -= line;
  Node *mask = is_hidden(e, item) ? build_filled(e->graph, 0, &shape) : mask_of(e, build_data(e->graph, index), line);
  return value_tensor(mask, 0, span);
}

/* The mask for a value of this shape, which may have a dim more: categories of a number, a line. */
static Node *mask_like(Elaborator *e, Value mask, const Shape *shape) {
  int map[MAX_RANK];
  for (int d = 0; d < MAX_RANK; d++) map[d] = d;
  return mask.node->shape.rank == shape->rank ? mask.node : build_expand(e->graph, mask.node, shape, map);
}

/* Some value of the support, away from its ends, where densities may be infinite. */
static double some_value(const Facts *f) {
  if (f->integer) return f->low > 0 ? f->low : f->high < 0 ? f->high : 0;
  if (f->low > -INFINITY && f->high < INFINITY) return (f->low + f->high) / 2;
  if (f->low > -INFINITY) return f->low + 1;
  return f->high < INFINITY ? f->high - 1 : 0;
}

/* What stands for a missing entry until it is dropped: some value, the first category, the empty subset. */
static Node *filler(Elaborator *e, const Support *support, const Shape *shape) {
  if (support->special != SPECIAL_CATEGORY)
    return build_filled(e->graph, support->special == SPECIAL_SUBSET ? 0 : some_value(&support->facts), shape);
  Shape line = {.rank = 1, .dims = {shape->dims[shape->rank - 1]}}, one = {.rank = 1, .dims = {dim_number(1)}};
  int map[1] = {shape->rank - 1};
  Node *first = build_pad(e->graph, build_filled(e->graph, 1, &one), 0, 0, line.dims[0]);
  return build_expand(e->graph, first, shape, map);
}

Value filled_data(Elaborator *e, const Item *item, Span span) {
  Support support;
  Shape shape;
  Value mask = observed_mask(e, item, span);
  if (mask.kind != VALUE_TENSOR || !read_type(e, item, &support, &shape)) return value_error();
  Node *raw = build_data(e->graph, data_index(e, item));
  Node *value = build_map3(e->graph, IR_select, mask_like(e, mask, &raw->shape), raw, filler(e, &support, &raw->shape));
  if (strcmp(support.name, "integer") == 0) note_number(e, value, NULL, &support);
  return value_tensor(value, 0, span);
}

/* ---- a latent that is known on some rows ----------------------------------------------------------------------- */

/* The data's value in the form that its distribution wants, filled where missing. */
static Value known_value(Elaborator *e, const Item *item, const Value *d, Span span) {
  Support support;
  Shape shape;
  Value value = filled_data(e, item, span);
  if (value.kind == VALUE_ERROR || !read_type(e, item, &support, &shape)) return value_error();
  return hold_as_vector(e, d, &support, &shape) ? vector_of_number(e, value, span) : value;
}

Value known_where_observed(Elaborator *e, const Item *item, const Value *d, Value z, Span span) {
  Value known = known_value(e, item, d, span), mask = observed_mask(e, item, span);
  if (known.kind != VALUE_TENSOR || mask.kind != VALUE_TENSOR || z.kind != VALUE_TENSOR) return value_error();
  place(e, span);
  Node *node = build_map3(e->graph, IR_select, mask_like(e, mask, &z.node->shape), known.node, z.node);
  for (int i = 0, count = e->soft_count; i < count && node != z.node; i++) {
    if (e->soft[i].node != z.node) continue;
    SoftNode soft = e->soft[i];
    soft.node = node;
    e->soft = arena_grow(e->c, e->soft, e->soft_count, sizeof *e->soft);
    e->soft[e->soft_count++] = soft;
  }
  return value_tensor(node, z.mapped, span);
}

Value where_observed(Elaborator *e, const Item *item, Value there, Value elsewhere, Span span) {
  Value mask = observed_mask(e, item, span);
  if (mask.kind == VALUE_ERROR) return mask;
  return apply3(e, IR_select, mask, there, elsewhere, span);
}

/* The family whose one parameter is the probability of each value. */
static Item *family_of_probabilities(Elaborator *e, const char *name) {
  const Table *library = &e->model->library;
  for (int i = 0; i < library->count; i++) {
    Item *item = library->items[i];
    if (item->kind == ITEM_DISTRIBUTION && strcmp(item->name, name) == 0 && item->extra.count == 1 &&
        strcmp(item->extra.items[0].name, "prob") == 0)
      return item;
  }
  return NULL;
}

bool posterior_where_missing(Elaborator *e, const Item *item, const Value *d, Value *both) {
  Support own, extended, support;
  Shape shape;
  *both = *d;
  if (!distribution_support(e, d, &own, &extended) || !read_type(e, item, &support, &shape)) return false;
  hold_as_vector(e, d, &support, &shape);
  bool category = own.special == SPECIAL_CATEGORY;
  bool coin = event_rank(d) == 0 && own.special == SPECIAL_NONE && own.facts.integer && own.facts.low == 0 &&
              own.facts.high == 1;
  Item *family = category ? family_of_probabilities(e, "categorical")
                 : coin   ? family_of_probabilities(e, "bernoulli")
                          : NULL;
  bool missing = true;
  Value mean = family ? distribution_field(e, d, "mean", NULL, &shape, d->span, &missing) : value_error();
  if (missing || mean.kind == VALUE_ERROR) return false;
  mean = expand_to(e, mean, &shape, d->span);
  Value prob = known_where_observed(e, item, d, mean, d->span);
  if (prob.kind == VALUE_ERROR) return false;
  *both = (Value){.kind = VALUE_DISTRIBUTION, .family = family, .count = 1, .span = d->span};
  both->elements = arena_array(e->c, Value, 1);
  both->elements[0] = prob;
  return true;
}

/* ---- is everything said that must be? -------------------------------------------------------------------------- */

bool check_missing_ok(Elaborator *e, const Item *item) {
  const Model *m = e->model;
  const Item *prior = model_find(m, ITEM_PRIOR, item->name), *posterior = model_find(m, ITEM_POSTERIOR, item->name);
  const Item *likelihood = model_find(m, ITEM_LIKELIHOOD, item->name);
  if (posterior && likelihood) {
    Diagnostic *d =
        error_at(e->c, "statement", likelihood->span,
                 "`%s` has a posterior, by which it is found where it is missing, and a likelihood", item->name);
    note_at(d, posterior->span, "its posterior stands here");
    help_with(d, "with a posterior its density is its prior: write `prior %s ~ ...;`", item->name);
    return false;
  }
  if (prior && !posterior) {
    Diagnostic *d = error_at(
        e->c, "missing-statement", prior->span,
        "the data `%s` have a prior and no posterior, by which to find them where they are missing", item->name);
    help_with(d, "add `posterior %s ~ ...;`, or say `likelihood %s ~ ...;` to leave out what is missing", item->name,
              item->name);
    return false;
  }
  return true;
}

bool check_entries_drop(Elaborator *e, const Item *variable, const Value *d, const Support *support) {
  if (!may_be_missing(variable) || event_rank(d) == 0 || is_line(support)) return true;
  Diagnostic *x =
      error_at(e->c, "missing", d->span, "%s is one event of all of `%s`, whose entries may be missing one by one",
               distribution_name(d), variable->name);
  note_at(x, variable->name_span, "`%s` is declared missing_ok here", variable->name);
  help_with(x, "take a distribution over single numbers, or leave rows with missing entries out");
  return false;
}

/* ---- where a NaN could go -------------------------------------------------------------------------------------- */

static bool any_may_be_missing(const Model *m) {
  for (int i = 0; i < m->items.count; i++)
    if (may_be_missing(m->items.items[i])) return true;
  return false;
}

/* The first arithmetic that a NaN meets on its way to `value`. */
static const Node *first_use(Elaborator *e, const Node *value, const MissingReads *all) {
  const Node *found = value;
  bool *needed = arena_array(e->c, bool, value->id + 1);
  needed[value->id] = true;
  for (int id = value->id; id >= 0; id--) {
    const Node *n = e->graph->nodes[id];
    if (!needed[id] || !all[id].data) continue;
    if (op_table[n->op].kind != KIND_VIEW && op_table[n->op].kind != KIND_LEAF && n->op != IR_select) found = n;
    for (int k = 0; k < n->operand_count; k++) needed[n->operands[k]->id] = true;
  }
  return found;
}

static Name name_of(const Elaborator *e, uint64_t bits) {
  return e->graph->signature->data[__builtin_ctzll(bits)].name;
}

bool check_missing_asked(Elaborator *e, const Node *value) {
  if (!any_may_be_missing(e->model)) return true;
  const MissingReads *all = find_missing_reads(e);
  uint64_t in = all[value->id].data;
  if (!in) return true;
  Name name = name_of(e, in);
  Diagnostic *d = error_at(e->c, "missing", first_use(e, value, all)->span,
                           "values of `%s` may be missing, and are used here without asking", name);
  help_with(d, "write `observed(%s) ? %s : 0` for it, of the same entries; a network may take observed(%s) as well",
            name, name, name);
  return false;
}

/* 1 for rows that have all of it */
static Value whole_rows(Elaborator *e, const Item *item, Span span) {
  Value mask = observed_mask(e, item, span);
  if (mask.kind != VALUE_TENSOR || mask.node->shape.rank == 0) return mask;
  double size = (double)shape_size(&mask.node->shape);
  return apply2(e, IR_equal, sum_all(e, mask, span), value_number(size), span);
}

bool rows_of_metric(Elaborator *e, Value *v, Value *rows, Span span) {
  *rows = value_number(1);
  if (v->kind != VALUE_TENSOR || !any_may_be_missing(e->model)) return true;
  const MissingReads *all = find_missing_reads(e);
  uint64_t in = all[v->node->id].data;
  uint64_t other = v->node->axes & AXIS_DATUM ? all[v->node->id].other_rows : in;
  if (other) {
    error_at(e->c, "missing", span, "this runs over the batch, where values of `%s` may be missing", name_of(e, other));
    return false;
  }
  for (; in; in &= in - 1) {
    const Item *item = model_find_declaration(e->model, name_of(e, in));
    Value there = whole_rows(e, item, span);
    *rows = rows->kind == VALUE_NUMBER ? there : apply2(e, IR_and, *rows, there, span);
    if (rows->kind == VALUE_ERROR) return false;
  }
  if (rows->kind == VALUE_NUMBER) return true;
  *v = apply3(e, IR_select, *rows, average_samples(e, *v), value_number(0), span);
  return v->kind == VALUE_TENSOR;
}

/* ---- names in a metric ----------------------------------------------------------------------------------------- */

/* Does its text, or that of a let in it, name data that are partly latent? */
static bool names_partly_latent(const Elaborator *e, const Expr *x, int depth) {
  if (!x || depth > 60) return false;
  if (x->kind == EXPR_NAME) {
    const Item *item = model_find_declaration(e->model, x->name);
    if (!item) return false;
    return item->kind == ITEM_LET ? names_partly_latent(e, item->expr, depth + 1) : is_partly_latent(e->model, item);
  }
  for (int i = 0; i < x->argument_count; i++)
    if (names_partly_latent(e, x->arguments[i].value, depth + 1)) return true;
  for (int i = 0; i < x->element_count; i++)
    if (names_partly_latent(e, x->elements[i], depth + 1)) return true;
  return names_partly_latent(e, x->a, depth + 1) || names_partly_latent(e, x->b, depth + 1) ||
         names_partly_latent(e, x->c, depth + 1);
}

bool is_measured(const Elaborator *e, const Item *item) {
  if (!e->measuring) return false;
  return item->kind == ITEM_LET ? names_partly_latent(e, item->expr, 0) : is_partly_latent(e->model, item);
}

/* ---- observed(y) ----------------------------------------------------------------------------------------------- */

/* The data that a value is: by name, or inside a network by what its formal stands for. */
static const Item *data_of(Elaborator *e, const Expr *x) {
  if (x->kind != EXPR_NAME) return NULL;
  Binding *bound = scope_find(e->scope, x->name);
  if (!bound) return e->model_visible ? model_find_declaration(e->model, x->name) : NULL;
  Value v = binding_value(e, bound);
  if (v.kind != VALUE_TENSOR) return NULL;
  if (v.node->op == IR_data) return model_find_declaration(e->model, e->graph->signature->data[v.node->index].name);
  for (int i = 0; i < e->memo_count; i++) {
    const Item *item = model_find_declaration(e->model, e->memos[i].name);
    if (e->memos[i].value.kind == VALUE_TENSOR && e->memos[i].value.node == v.node && item &&
        is_partly_latent(e->model, item) && e->memos[i].kind == ITEM_DATA)
      return item;
  }
  return NULL;
}

static Value call_observed(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)a, (void)count;
  const Expr *x = call->arguments[0].value;
  const Item *item = data_of(e, x);
  if (item && may_be_missing(item)) return observed_mask(e, item, call->span);
  if (!item && x->kind == EXPR_NAME && elaborate(e, x).kind == VALUE_ERROR) return value_error();
  Diagnostic *d = error_at(e->c, "observed", x->span, "observed(...) takes the name of data that may be missing");
  if (item) note_at(d, item->name_span, "`%s` is declared here", item->name);
  if (item && item->kind == ITEM_DATA)
    help_with(d, "declare it `data %s : %s missing_ok;`", item->name, span_text(e->c, item->type->span));
  return value_error();
}

const BuiltinRow missing_functions[] = {{"observed", call_observed, 1, 1, "", TAKES_DIMS}, {0}};
