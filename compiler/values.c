/* Values of elaboration: numbers and tensors with named dims; broadcasting by rule 1, matrix products, reductions over
 * axes. Requires operands of one graph; leaves IR nodes, or a report and VALUE_ERROR. */
#include "statements.h"

#include <math.h>
#include <string.h>

void place(Elaborator *e, Span span) {
  bool shipped = e->c->sources[span.source].library && e->site.source;
  build_at(e->graph, shipped ? e->site : span);
}

Value value_error(void) { return (Value){.kind = VALUE_ERROR}; }
Value value_dim(Dim d) { return (Value){.kind = VALUE_NUMBER, .dim = d}; }
Value value_number(double x) { return value_dim(dim_number(x)); }

Value value_tensor(Node *node, unsigned mapped, Span span) {
  return (Value){.kind = VALUE_TENSOR, .node = node, .mapped = mapped, .span = span};
}

bool value_is_numeric(const Value *v) { return v->kind == VALUE_NUMBER || v->kind == VALUE_TENSOR; }

static int mapped_rank(const Value *v) { return v->kind == VALUE_TENSOR ? __builtin_popcount(v->mapped) : 0; }

Shape visible_shape(const Value *v) {
  Shape s = {0};
  if (v->kind != VALUE_TENSOR) return s;
  int skip = mapped_rank(v);
  s.rank = v->node->shape.rank - skip;
  for (int i = 0; i < s.rank; i++) s.dims[i] = v->node->shape.dims[skip + i];
  return s;
}

const char *shape_text(Compilation *c, const Shape *s) {
  if (s->rank == 0) return "a single number";
  Text t = {.compilation = c};
  text_append(&t, "[");
  for (int i = 0; i < s->rank; i++) text_append(&t, "%s%s", i ? ", " : "", dim_text(c, s->dims[i]));
  text_append(&t, "]");
  return t.bytes;
}

const char *value_text(Compilation *c, const Value *v) {
  Shape s = visible_shape(v);
  switch (v->kind) {
  case VALUE_ERROR: return "an error";
  case VALUE_NUMBER: return arena_printf(c, "the number %s", dim_text(c, v->dim));
  case VALUE_TENSOR: return s.rank ? arena_printf(c, "a value of shape %s", shape_text(c, &s)) : "a single number";
  case VALUE_STRING: return "a string";
  case VALUE_LIST: return "a list";
  case VALUE_RECORD: return "a network's result (name one of its fields)";
  case VALUE_DISTRIBUTION: return arena_printf(c, "the distribution %s", distribution_name(v));
  case VALUE_WORD: return arena_printf(c, "the word `%s`", v->name);
  }
  return "?";
}

Node *value_node(Elaborator *e, const Value *v) {
  if (v->kind == VALUE_TENSOR) return v->node;
  if (v->kind == VALUE_NUMBER) return build_constant(e->graph, v->dim.size);
  if (v->kind != VALUE_ERROR)
    error_at(e->c, "not-a-number", v->span, "a number or tensor is needed here; this is %s", value_text(e->c, v));
  return NULL;
}

/* How many ways `small`'s dims are `big`'s with some left out; the first way in map. */
static int embeddings(const Shape *small, const Shape *big, int at_small, int at_big, int *map, int *found) {
  if (at_small == small->rank) return 1;
  int ways = 0;
  for (int i = at_big; i < big->rank && ways < 2; i++) {
    if (!dim_agree(small->dims[at_small], big->dims[i])) continue;
    int trial[MAX_RANK];
    memcpy(trial, map, sizeof trial);
    trial[at_small] = i;
    int below = embeddings(small, big, at_small + 1, i + 1, trial, found);
    if (below && !*found && at_small + 1 == small->rank) *found = 1;
    if (below && ways == 0) memcpy(map, trial, sizeof trial);
    ways += below;
  }
  return ways;
}

static int embed(const Shape *small, const Shape *big, int *map) {
  int found = 0;
  if (small->rank > big->rank) return 0;
  /* Equal ranks leave nothing out: a fit in one way at most. */
  return embeddings(small, big, 0, 0, map, &found);
}

int ways_to_fit(const Shape *small, const Shape *big) {
  int map[MAX_RANK] = {0};
  return embed(small, big, map);
}

static void note_shape(Diagnostic *d, Elaborator *e, const Value *v) {
  Shape s = visible_shape(v);
  bool elsewhere = v->span.source != d->span.source || v->span.start != d->span.start || v->span.end != d->span.end;
  if (v->span.source && elsewhere) note_at(d, v->span, "this is %s", s.rank ? shape_text(e->c, &s) : "a single number");
}

/* Dims that have one size today under two names. */
static bool same_sizes(const Shape *a, const Shape *b) {
  bool same = a->rank == b->rank;
  for (int i = 0; same && i < a->rank; i++) same = a->dims[i].size == b->dims[i].size;
  return same;
}

/* `first` and `second` in the author's order. */
static void report_misfit(Elaborator *e, const Value *first, const Value *second, int ways, Span span,
                          const char *what) {
  Shape a = visible_shape(first), b = visible_shape(second);
  Diagnostic *d;
  if (ways == 0) {
    d = error_at(e->c, "shape", span, "shapes %s and %s do not fit %s", shape_text(e->c, &a), shape_text(e->c, &b),
                 what);
    if (same_sizes(&a, &b))
      help_with(d, "dims agree by name: two names may be the same number today and another tomorrow");
    else
      help_with(d, "the dims of one must be those of the other with some left out, and dims agree by name");
  } else {
    Shape small = a.rank < b.rank ? a : b, big = a.rank < b.rank ? b : a;
    d = error_at(e->c, "shape-ambiguous", span, "shape %s fits %s in two ways", shape_text(e->c, &small),
                 shape_text(e->c, &big));
    help_with(d, "repeat it along the dim it lacks: expand(v, %s) gives v a new first dim",
              dim_text(e->c, big.dims[0]));
  }
  note_shape(d, e, first);
  note_shape(d, e, second);
}

Node *named_as(Elaborator *e, Node *node, const Shape *shape) {
  bool same = true;
  for (int i = 0; i < shape->rank; i++) same &= dim_same(node->shape.dims[i], shape->dims[i]);
  if (same) return node;
  Node *renamed = build_variable(e->graph, node);
  renamed->shape = *shape;
  return renamed;
}

Value expand_value(Elaborator *e, Value v, unsigned mapped, const Shape *visible, const int *map) {
  Shape shape = {0};
  int full_map[MAX_RANK], from = 0;
  for (int bit = 0; bit < e->context_count; bit++) {
    if (!(mapped >> bit & 1)) continue;
    if (v.kind == VALUE_TENSOR && v.mapped >> bit & 1) full_map[from++] = shape.rank;
    shape.dims[shape.rank++] = e->context[bit];
  }
  int hidden = shape.rank;
  for (int i = 0; i < visible->rank; i++) shape.dims[shape.rank++] = visible->dims[i];
  Node *node = value_node(e, &v);
  for (int i = 0; from < node->shape.rank; i++) full_map[from++] = hidden + map[i];
  return value_tensor(named_as(e, build_expand(e->graph, node, &shape, full_map), &shape), mapped, v.span);
}

bool broadcast(Elaborator *e, Value *values, int count, Span span, const char *what) {
  int widest = 0;
  unsigned mapped = 0;
  for (int i = 0; i < count; i++) {
    if (!value_is_numeric(&values[i])) {
      if (values[i].kind != VALUE_ERROR) value_node(e, &values[i]);
      return false;
    }
    if (values[i].kind == VALUE_TENSOR) mapped |= values[i].mapped;
    if (visible_shape(&values[i]).rank > visible_shape(&values[widest]).rank) widest = i;
  }
  Shape target = visible_shape(&values[widest]);
  if (__builtin_popcount(mapped) + target.rank > MAX_RANK) {
    error_at(e->c, "rank", span, "more than %d dims at once", MAX_RANK);
    return false;
  }
  if (!size_is_possible(e, &target, span)) return false;
  for (int i = 0; i < count; i++) {
    int map[MAX_RANK] = {0};
    Shape s = visible_shape(&values[i]);
    int ways = embed(&s, &target, map);
    if (ways != 1) {
      report_misfit(e, &values[i < widest ? i : widest], &values[i < widest ? widest : i], ways, span, what);
      return false;
    }
    values[i] = expand_value(e, values[i], mapped, &target, map);
  }
  return true;
}

Value expand_to(Elaborator *e, Value v, const Shape *visible, Span span) {
  if (v.kind == VALUE_ERROR) return v;
  Shape s = visible_shape(&v);
  int map[MAX_RANK] = {0};
  int ways = embed(&s, visible, map);
  if (ways != 1) {
    Diagnostic *d = error_at(e->c, "shape", span, "shape %s %s %s", shape_text(e->c, &s),
                             ways ? "fits in two ways into" : "does not fit", shape_text(e->c, visible));
    note_shape(d, e, &v);
    return value_error();
  }
  return expand_value(e, v, v.kind == VALUE_TENSOR ? v.mapped : 0, visible, map);
}

/* ---- arithmetic ------------------------------------------------------------------------------------------------- */

static bool fold_numbers(Elaborator *e, Op op, Dim a, Dim b, Value *out) {
  double x = a.size, y = b.size;
  switch ((int)op) {
  case IR_add: *out = value_dim(dim_add(e->c, a, b)); return true;
  case IR_sub: *out = value_dim(dim_subtract(e->c, a, b)); return true;
  case IR_mul: *out = value_dim(dim_multiply(e->c, a, b)); return true;
  case IR_div: *out = value_dim(dim_divide(e->c, a, b)); return true;
  case IR_pow: *out = value_number(pow(x, y)); return true;
  case IR_max: *out = value_number(x >= y ? x : y); return true;
  case IR_min: *out = value_number(x <= y ? x : y); return true;
  case IR_mod: *out = value_number(x - y * floor(x / y)); return true;
  case IR_less: *out = value_number(x < y); return true;
  case IR_less_equal: *out = value_number(x <= y); return true;
  case IR_equal: *out = value_number(x == y); return true;
  case IR_not_equal: *out = value_number(x != y); return true;
  case IR_and: *out = value_number(x != 0 && y != 0); return true;
  case IR_or: *out = value_number(x != 0 || y != 0); return true;
  }
  return false;
}

Value apply1(Elaborator *e, Op op, Value a, Span span) {
  if (a.kind == VALUE_ERROR) return a;
  if (a.kind == VALUE_NUMBER && op == IR_neg) return value_dim(dim_subtract(e->c, dim_number(0), a.dim));
  Node *node = value_node(e, &a);
  if (!node) return value_error();
  place(e, span);
  Node *result = build_map1(e->graph, op, node);
  if (a.kind == VALUE_NUMBER && result->op == IR_constant) return value_number(result->number);
  return value_tensor(result, a.kind == VALUE_TENSOR ? a.mapped : 0, span);
}

Value apply2(Elaborator *e, Op op, Value a, Value b, Span span) {
  if (a.kind == VALUE_ERROR || b.kind == VALUE_ERROR) return value_error();
  Value folded;
  if (a.kind == VALUE_NUMBER && b.kind == VALUE_NUMBER && fold_numbers(e, op, a.dim, b.dim, &folded)) {
    folded.span = span;
    return folded;
  }
  Value both[2] = {a, b};
  if (!broadcast(e, both, 2, span, "together")) return value_error();
  place(e, span);
  return value_tensor(build_map2(e->graph, op, both[0].node, both[1].node), both[0].mapped, span);
}

Value apply3(Elaborator *e, Op op, Value a, Value b, Value c, Span span) {
  if (a.kind == VALUE_ERROR || b.kind == VALUE_ERROR || c.kind == VALUE_ERROR) return value_error();
  Value all[3] = {a, b, c};
  if (!broadcast(e, all, 3, span, "together")) return value_error();
  place(e, span);
  return value_tensor(build_map3(e->graph, op, all[0].node, all[1].node, all[2].node), all[0].mapped, span);
}

/* Labels of v's dims: context dims have the labels 0.., visible ones as given. */
static void label_dims(const Elaborator *e, const Value *v, const int *visible, int *labels) {
  int n = 0;
  for (int bit = 0; bit < e->context_count; bit++)
    if (v->mapped >> bit & 1) labels[n++] = bit;
  for (int i = 0; n < v->node->shape.rank; i++) labels[n++] = visible[i];
}

Value matmul(Elaborator *e, Value a, Value b, Span span) {
  if (a.kind == VALUE_ERROR || b.kind == VALUE_ERROR) return value_error();
  Shape sa = visible_shape(&a), sb = visible_shape(&b);
  if (sa.rank == 0 || sb.rank == 0 || !dim_agree(sa.dims[sa.rank - 1], sb.dims[0])) {
    Diagnostic *d =
        error_at(e->c, "shape", span,
                 "`@` multiplies the last dim of the left with the first of the right: %s and %s do not fit",
                 shape_text(e->c, &sa), shape_text(e->c, &sb));
    note_shape(d, e, &a);
    note_shape(d, e, &b);
    if (sa.rank == 0 || sb.rank == 0)
      help_with(d, "`*` multiplies by a single number");
    else if (sa.rank == 2 && dim_agree(sa.dims[0], sb.dims[0]))
      help_with(d, "the left one transposed would fit: write ' behind it");
    return value_error();
  }
  int visible_a[MAX_RANK], visible_b[MAX_RANK], la[MAX_RANK], lb[MAX_RANK], lo[MAX_RANK], n = 0, next = MAX_RANK;
  unsigned mapped = a.mapped | b.mapped;
  if (__builtin_popcount(mapped) + sa.rank + sb.rank - 2 > MAX_RANK) {
    error_at(e->c, "rank", span, "the product has more than %d dims", MAX_RANK);
    return value_error();
  }
  for (int bit = 0; bit < e->context_count; bit++)
    if (mapped >> bit & 1) lo[n++] = bit;
  for (int i = 0; i < sa.rank - 1; i++) lo[n++] = visible_a[i] = next++;
  visible_a[sa.rank - 1] = visible_b[0] = next++;
  for (int i = 1; i < sb.rank; i++) lo[n++] = visible_b[i] = next++;
  label_dims(e, &a, visible_a, la);
  label_dims(e, &b, visible_b, lb);
  place(e, span);
  return value_tensor(build_contract(e->graph, a.node, la, b.node, lb, n, lo, 0), mapped, span);
}

Value transpose(Elaborator *e, Value v, Span span) {
  if (v.kind == VALUE_ERROR) return v;
  Shape s = visible_shape(&v);
  if (s.rank != 2) {
    error_at(e->c, "shape", span, "' transposes a matrix; this is %s", value_text(e->c, &v));
    return value_error();
  }
  int map[MAX_RANK], rank = v.node->shape.rank;
  for (int i = 0; i < rank; i++) map[i] = i;
  map[rank - 2] = rank - 1;
  map[rank - 1] = rank - 2;
  place(e, span);
  return value_tensor(build_permute(e->graph, v.node, map), v.mapped, span);
}

Value average_samples(Elaborator *e, Value v) {
  const Node *taken = v.node;
  v = expect_latents(e, v);
  if (v.kind == VALUE_TENSOR && v.node->axes & AXIS_SAMPLE) {
    Value sum = value_tensor(build_sum_over(e->graph, v.node, AXIS_SAMPLE), v.mapped, v.span);
    v = apply2(e, IR_div, sum, value_number(e->graph->samples), v.span);
  }
  if (v.kind == VALUE_TENSOR && v.node != taken) settle(e, v.node);
  return v;
}

Value sum_all(Elaborator *e, Value v, Span span) {
  if (v.kind != VALUE_TENSOR) return v;
  int hidden = mapped_rank(&v), rank = v.node->shape.rank;
  unsigned mask = 0;
  for (int i = hidden; i < rank; i++) mask |= 1u << i;
  if (!mask) return v;
  place(e, span);
  return value_tensor(build_sum(e->graph, v.node, mask), v.mapped, span);
}

Value mean_over_batch(Elaborator *e, Value v, Span span) {
  v = average_samples(e, v);
  if (v.kind != VALUE_TENSOR || !(v.node->axes & AXIS_DATUM)) return v;
  place(e, span);
  Value sum = value_tensor(build_sum_over(e->graph, v.node, AXIS_DATUM), v.mapped, span);
  Value rows = value_tensor(build_setting(e->graph, SETTING_ROWS_IN_BATCH), 0, span);
  return apply2(e, IR_div, sum, rows, span);
}
