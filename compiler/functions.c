/* functions: a call -> a Value. Who is called is looked up among networks, declarations of the language's own text
 * (functions, layers), distributions, objective words and the built-ins of the tables (builtins.h). */
#include "builtins.h"

#include <math.h>
#include <string.h>

typedef struct OpName {
  const char *name;
  Op op;
} OpName;

static const OpName unary_functions[] = {
    {"exp", IR_exp},           {"log", IR_log},   {"log1p", IR_log1p}, {"expm1", IR_expm1},   {"sqrt", IR_sqrt},
    {"abs", IR_abs},           {"sign", IR_sign}, {"floor", IR_floor}, {"tanh", IR_tanh},     {"sigmoid", IR_sigmoid},
    {"softplus", IR_softplus}, {"relu", IR_relu}, {"erf", IR_erf},     {"lgamma", IR_lgamma}, {"digamma", IR_digamma},
    {"sin", IR_sin},           {"cos", IR_cos},   {"tan", IR_tan},
};

/* ---- over = ---------------------------------------------------------------------------------------------------- */

static bool over_name(Elaborator *e, const Expr *x, const Shape *shape, Over *over) {
  if (x->kind == EXPR_NAME && strcmp(x->name, "batch") == 0 && !scope_find(e->scope, x->name)) {
    over->axes |= AXIS_DATUM;
    return true;
  }
  if (x->kind == EXPR_NAME && strcmp(x->name, "sample") == 0 && !scope_find(e->scope, x->name)) {
    over->axes |= AXIS_SAMPLE;
    return true;
  }
  Dim dim;
  if (!elaborate_dim(e, x, &dim)) return false;
  unsigned found = 0;
  for (int i = 0; i < shape->rank; i++)
    if (dim_same(shape->dims[i], dim)) found |= 1u << i;
  for (int i = 0; !found && i < shape->rank; i++)
    if (dim_agree(shape->dims[i], dim)) found |= 1u << i;
  if (!found) {
    Diagnostic *d =
        error_at(e->c, "over", x->span, "there is no dim %s in %s", span_text(e->c, x->span), shape_text(e->c, shape));
    help_with(d, "`over` names dims of the value, `batch` or `sample`");
    return false;
  }
  over->dims |= found;
  return true;
}

static bool read_over(Elaborator *e, const Expr *x, const Shape *shape, Over *over) {
  *over = (Over){0};
  if (x->kind != EXPR_LIST) return over_name(e, x, shape, over);
  bool ok = true;
  for (int i = 0; i < x->element_count; i++) ok = over_name(e, x->elements[i], shape, over) && ok;
  return ok;
}

bool over_of(Elaborator *e, const Expr *call, const Value *v, bool all_by_default, Over *over) {
  Shape shape = visible_shape(v);
  const Argument *a = find_argument(call, "over");
  if (a) return read_over(e, a->value, &shape, over);
  *over = (Over){0};
  if (all_by_default)
    over->dims = (1u << shape.rank) - 1;
  else if (shape.rank > 0)
    over->dims = 1u << (shape.rank - 1);
  return true;
}

unsigned node_mask(const Value *v, unsigned visible) { return visible << __builtin_popcount(v->mapped); }

/* ---- reductions -------------------------------------------------------------------------------------------------- */

Value as_tensor(Elaborator *e, Value v) {
  if (v.kind != VALUE_NUMBER) return v;
  return value_tensor(build_constant(e->graph, v.dim.size), 0, v.span);
}

/* A value that mentions a latent is averaged over samples before it meets the batch (rule 27). */
static Value ready_for(Elaborator *e, Value v, Over over) {
  if ((over.axes & AXIS_DATUM) && !(over.axes & AXIS_SAMPLE)) return average_samples(e, v);
  return v;
}

static Value reduce_sum(Elaborator *e, Value v, Over over) {
  Node *n = v.node;
  if (over.dims) n = build_sum(e->graph, n, node_mask(&v, over.dims));
  unsigned axes = over.axes & n->axes;
  if (axes) n = build_sum_over(e->graph, n, axes);
  Value sum = value_tensor(n, v.mapped, v.span);
  /* Summing a value that lacks an axis counts it once for every row or sample there is. */
  if (over.axes & AXIS_DATUM & ~v.node->axes)
    sum = apply2(e, IR_mul, sum, value_tensor(build_setting(e->graph, SETTING_ROWS_IN_BATCH), 0, v.span), v.span);
  if (over.axes & AXIS_SAMPLE & ~v.node->axes) sum = apply2(e, IR_mul, sum, value_number(e->graph->samples), v.span);
  return sum;
}

static Value count_over(Elaborator *e, const Value *v, Over over) {
  Shape shape = visible_shape(v);
  Value count = value_number(1);
  for (int i = 0; i < shape.rank; i++)
    if (over.dims >> i & 1) count.dim.size *= shape.dims[i].size;
  if (over.axes & AXIS_SAMPLE) count.dim.size *= e->graph->samples;
  if (over.axes & AXIS_DATUM)
    return apply2(e, IR_mul, count, value_tensor(build_setting(e->graph, SETTING_ROWS_IN_BATCH), 0, v->span), v->span);
  return count;
}

static Value reduce_mean(Elaborator *e, Value v, Over over) {
  Value count = count_over(e, &v, over);
  return apply2(e, IR_div, reduce_sum(e, v, over), count, v.span);
}

static Value reduce_max(Elaborator *e, Value v, Over over) {
  Node *n = v.node;
  if (over.dims) n = build_max_of(e->graph, n, node_mask(&v, over.dims));
  if (over.axes & n->axes & AXIS_SAMPLE) n = build_max_over(e->graph, n, AXIS_SAMPLE);
  if (over.axes & n->axes & AXIS_DATUM) n = build_max_over(e->graph, n, AXIS_DATUM);
  return value_tensor(n, v.mapped, v.span);
}

/* Puts a reduced value back beside the original: its dims where they were. */
static Value put_back(Elaborator *e, Value reduced, const Value *original, Over over) {
  int hidden = __builtin_popcount(original->mapped), map[MAX_RANK], n = 0;
  for (int i = 0; i < original->node->shape.rank; i++)
    if (i < hidden || !(over.dims >> (i - hidden) & 1)) map[n++] = i;
  return value_tensor(build_expand(e->graph, reduced.node, &original->node->shape, map), original->mapped,
                      original->span);
}

static Value reduce_logsumexp(Elaborator *e, Value v, Over over) {
  Value top = apply2(e, IR_max, reduce_max(e, v, over), value_number(-1e30), v.span); /* all -inf: log(0) without NaN */
  top = value_tensor(build_stop(e->graph, top.node), top.mapped, v.span);
  Value shifted = apply2(e, IR_sub, v, put_back(e, top, &v, over), v.span);
  Value total = reduce_sum(e, apply1(e, IR_exp, shifted, v.span), over);
  return apply2(e, IR_add, top, apply1(e, IR_log, total, v.span), v.span);
}

static Value reduce_norm(Elaborator *e, Value v, Over over) {
  return apply1(e, IR_sqrt, reduce_sum(e, apply2(e, IR_mul, v, v, v.span), over), v.span);
}

static Value reduce(Elaborator *e, const char *name, Value v, Over over) {
  if (v.kind == VALUE_ERROR) return v;
  v = as_tensor(e, ready_for(e, v, over));
  if (strcmp(name, "sum") == 0) return reduce_sum(e, v, over);
  if (strcmp(name, "mean") == 0) return reduce_mean(e, v, over);
  if (strcmp(name, "max") == 0) return reduce_max(e, v, over);
  if (strcmp(name, "min") == 0) return apply1(e, IR_neg, reduce_max(e, apply1(e, IR_neg, v, v.span), over), v.span);
  if (strcmp(name, "norm") == 0) return reduce_norm(e, v, over);
  Value lse = reduce_logsumexp(e, v, over);
  if (strcmp(name, "logsumexp") == 0) return lse;
  return apply2(e, IR_sub, lse, apply1(e, IR_log, as_tensor(e, count_over(e, &v, over)), v.span),
                v.span); /* logmeanexp */
}

Value log_mean_over_samples(Elaborator *e, Value v) { return reduce(e, "logmeanexp", v, (Over){.axes = AXIS_SAMPLE}); }

static Value call_reduction(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Over over;
  if (!over_of(e, call, &a[0], true, &over)) return value_error();
  return reduce(e, call->name, a[0], over);
}

static Value call_max_min(Elaborator *e, const Expr *call, Value *a, int count) {
  if (count == 2) return apply2(e, strcmp(call->name, "max") == 0 ? IR_max : IR_min, a[0], a[1], call->span);
  return call_reduction(e, call, a, count);
}

static Value call_softmax(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Over over;
  Value v = as_tensor(e, a[0]);
  if (!over_of(e, call, &v, false, &over)) return value_error();
  Value top = apply2(e, IR_max, reduce_max(e, v, over), value_number(-1e30), v.span);
  top = value_tensor(build_stop(e->graph, top.node), top.mapped, v.span);
  Value shifted = apply2(e, IR_sub, v, put_back(e, top, &v, over), call->span); /* exact around the largest */
  Value lse = apply1(e, IR_log, reduce_sum(e, apply1(e, IR_exp, shifted, v.span), over), v.span);
  Value log_softmax = apply2(e, IR_sub, shifted, put_back(e, lse, &v, over), call->span);
  return strcmp(call->name, "softmax") == 0 ? apply1(e, IR_exp, log_softmax, call->span) : log_softmax;
}

static Value call_normalize(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Over over;
  Value v = as_tensor(e, a[0]);
  if (!over_of(e, call, &v, true, &over)) return value_error();
  return apply2(e, IR_div, v, put_back(e, reduce_norm(e, v, over), &v, over), call->span);
}

/* clip_norm(v, r, over): v where its norm is at most r, else scaled down to r. */
static Value call_clip_norm(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Over over;
  Value v = as_tensor(e, a[0]);
  if (!over_of(e, call, &v, true, &over)) return value_error();
  Value norm = reduce_norm(e, v, over);
  Value inside = apply2(e, IR_less_equal, norm, a[1], call->span);
  Value scale = apply3(e, IR_select, inside, value_number(1), apply2(e, IR_div, a[1], norm, call->span), call->span);
  return apply2(e, IR_mul, v, put_back(e, as_tensor(e, scale), &v, over), call->span);
}

static Value call_cumsum(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Over over;
  Value v = as_tensor(e, a[0]);
  if (!over_of(e, call, &v, false, &over)) return value_error();
  if (over.axes || __builtin_popcount(over.dims) != 1) {
    error_at(e->c, "over", call->span, "%s runs along exactly one dim", call->name);
    return value_error();
  }
  int dim = __builtin_ctz(node_mask(&v, over.dims));
  return value_tensor(build_cumsum(e->graph, v.node, dim, strcmp(call->name, "tail_sum") == 0, false), v.mapped,
                      call->span);
}

/* ---- shapes ------------------------------------------------------------------------------------------------------ */

static Value reshaped(Elaborator *e, const Expr *call, Value v, const Shape *visible) {
  v = as_tensor(e, v);
  Shape old = visible_shape(&v), shape = mapped_shape(&v);
  if (shape_size(&old) != shape_size(visible)) {
    error_at(e->c, "shape", call->span, "%s holds %ld numbers, and %s has place for %ld", shape_text(e->c, &old),
             shape_size(&old), shape_text(e->c, visible), shape_size(visible));
    return value_error();
  }
  for (int i = 0; i < visible->rank; i++) shape.dims[shape.rank++] = visible->dims[i];
  return value_tensor(named_as(e, build_reshape(e->graph, v.node, &shape), &shape), v.mapped, call->span);
}

Shape mapped_shape(const Value *v) {
  Shape s = {0};
  if (v->kind != VALUE_TENSOR) return s;
  s.rank = __builtin_popcount(v->mapped);
  for (int i = 0; i < s.rank; i++) s.dims[i] = v->node->shape.dims[i];
  return s;
}

static Value call_flatten(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Shape old = visible_shape(&a[0]), flat = {.rank = 1, .dims = {dim_number(1)}};
  for (int i = 0; i < old.rank; i++) flat.dims[0] = i ? dim_multiply(e->c, flat.dims[0], old.dims[i]) : old.dims[0];
  return reshaped(e, call, a[0], &flat);
}

static bool dims_of_list(Elaborator *e, const Expr *list, Shape *shape) {
  *shape = (Shape){0};
  int n = list->kind == EXPR_LIST ? list->element_count : 1;
  if (n > MAX_RANK) {
    error_at(e->c, "rank", list->span, "at most %d dims", MAX_RANK);
    return false;
  }
  for (int i = 0; i < n; i++)
    if (!elaborate_dim(e, list->kind == EXPR_LIST ? list->elements[i] : list, &shape->dims[shape->rank++]))
      return false;
  return true;
}

static Value call_reshape(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Shape shape;
  if (!dims_of_list(e, call->arguments[1].value, &shape)) return value_error();
  return reshaped(e, call, a[0], &shape);
}

/* expand(v, L, ...): new leading dims, the value repeated along them. */
static Value call_expand(Elaborator *e, const Expr *call, Value *a, int count) {
  Value v = as_tensor(e, a[0]);
  Shape old = visible_shape(&v), shape = mapped_shape(&v);
  int hidden = shape.rank, map[MAX_RANK];
  if (v.node->shape.rank + count - 1 > MAX_RANK) {
    error_at(e->c, "rank", call->span, "at most %d dims", MAX_RANK);
    return value_error();
  }
  for (int i = 1; i < count; i++)
    if (!elaborate_dim(e, call->arguments[i].value, &shape.dims[shape.rank++])) return value_error();
  for (int i = 0; i < old.rank; i++) shape.dims[shape.rank++] = old.dims[i];
  for (int i = 0; i < v.node->shape.rank; i++) map[i] = i < hidden ? i : i + count - 1;
  return value_tensor(build_expand(e->graph, v.node, &shape, map), v.mapped, call->span);
}

static Value call_filled(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)a;
  Shape shape = {0};
  for (int i = 0; i < count && i < MAX_RANK; i++)
    if (!elaborate_dim(e, call->arguments[i].value, &shape.dims[shape.rank++])) return value_error();
  return value_tensor(build_filled(e->graph, strcmp(call->name, "ones") == 0, &shape), 0, call->span);
}

static Value call_identity(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)a;
  (void)count;
  Shape shape = {.rank = 1};
  if (!elaborate_dim(e, call->arguments[0].value, &shape.dims[0])) return value_error();
  return value_tensor(build_embed_diagonal(e->graph, build_filled(e->graph, 1, &shape)), 0, call->span);
}

static Value call_concat(Elaborator *e, const Expr *call, Value *a, int count) {
  unsigned mapped = 0;
  Dim extent = dim_number(0);
  Shape first = visible_shape(&a[0]);
  for (int i = 0; i < count; i++) {
    a[i] = as_tensor(e, a[i]);
    Shape s = visible_shape(&a[i]);
    bool fits = s.rank == first.rank && s.rank > 0;
    for (int k = 0; fits && k < s.rank - 1; k++) fits = dim_agree(s.dims[k], first.dims[k]);
    if (!fits) {
      error_at(e->c, "shape", call->arguments[i].value->span, "concat joins along the last dim: %s and %s do not fit",
               shape_text(e->c, &first), shape_text(e->c, &s));
      return value_error();
    }
    mapped |= a[i].mapped;
    extent = i ? dim_add(e->c, extent, s.dims[s.rank - 1]) : s.dims[s.rank - 1];
  }
  Node **nodes = arena_array(e->c, Node *, count);
  for (int i = 0; i < count; i++) {
    if (a[i].mapped != mapped) {
      error_at(e->c, "not-supported", call->span, "concat of values mapped over different dims is not supported yet");
      return value_error();
    }
    nodes[i] = a[i].node;
  }
  return value_tensor(build_concat(e->graph, nodes, count, nodes[0]->shape.rank - 1, extent), mapped, call->span);
}

static Value call_diag(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Shape s = visible_shape(&a[0]);
  if (a[0].kind == VALUE_TENSOR && s.rank == 1)
    return value_tensor(build_embed_diagonal(e->graph, a[0].node), a[0].mapped, call->span);
  if (a[0].kind == VALUE_TENSOR && s.rank == 2 && dim_agree(s.dims[0], s.dims[1]))
    return value_tensor(build_diagonal(e->graph, a[0].node), a[0].mapped, call->span);
  error_at(e->c, "shape", call->span, "diag takes a square matrix or a vector, not %s", value_text(e->c, &a[0]));
  return value_error();
}

static Value call_lower(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Shape s = visible_shape(&a[0]);
  if (a[0].kind == VALUE_TENSOR && s.rank == 2 && dim_agree(s.dims[0], s.dims[1]))
    return value_tensor(build_lower_part(e->graph, a[0].node), a[0].mapped, call->span);
  error_at(e->c, "shape", call->span, "lower_part takes a square matrix, not %s", value_text(e->c, &a[0]));
  return value_error();
}

/* cholesky(A): the lower-triangular L of L L' = A; what stands above A's diagonal is not read. */
static Value call_cholesky(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Shape s = visible_shape(&a[0]);
  if (a[0].kind == VALUE_TENSOR && s.rank == 2 && dim_agree(s.dims[0], s.dims[1]))
    return value_tensor(build_line(e->graph, IR_cholesky, &a[0].node, 0), a[0].mapped, call->span);
  error_at(e->c, "shape", call->span, "cholesky takes a square matrix, not %s", value_text(e->c, &a[0]));
  return value_error();
}

/* solve(L, v): the x of L x = v, L lower-triangular (what stands above its diagonal is not read). */
static Value call_solve(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  static const int same[] = {0, 1};
  Shape matrix = visible_shape(&a[0]), line = visible_shape(&a[1]);
  bool square = a[0].kind == VALUE_TENSOR && matrix.rank == 2 && dim_agree(matrix.dims[0], matrix.dims[1]);
  if (!square || a[1].kind != VALUE_TENSOR || line.rank != 1 || !dim_agree(matrix.dims[0], line.dims[0])) {
    const Expr *culprit = call->arguments[square].value;
    error_at(e->c, "shape", culprit->span,
             "`solve` takes a lower-triangular matrix [n, n] and a vector [n], not %s and %s", value_text(e->c, &a[0]),
             value_text(e->c, &a[1]));
    return value_error();
  }
  unsigned mapped = a[0].mapped | a[1].mapped;
  if (__builtin_popcount(mapped) + 2 > MAX_RANK) {
    error_at(e->c, "not-supported", call->span, "solve in more than %d dims is not supported", MAX_RANK);
    return value_error();
  }
  Value l = expand_value(e, a[0], mapped, &matrix, same), b = expand_value(e, a[1], mapped, &line, same);
  return value_tensor(build_solve_triangular(e->graph, l.node, b.node, false), mapped, call->span);
}

/* ---- the rest -------------------------------------------------------------------------------------------------- */

static Value call_stop(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  if (a[0].kind == VALUE_NUMBER) return a[0];
  return value_tensor(build_stop(e->graph, a[0].node), a[0].mapped, call->span);
}

static Value call_clip(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  return apply2(e, IR_min, apply2(e, IR_max, a[0], a[1], call->span), a[2], call->span);
}

static Value call_dot(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  return sum_all(e, apply2(e, IR_mul, a[0], a[1], call->span), call->span);
}

static Value call_outer(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Shape s[2] = {visible_shape(&a[0]), visible_shape(&a[1])};
  if (s[0].rank != 1 || s[1].rank != 1) {
    error_at(e->c, "shape", call->span, "outer takes two vectors");
    return value_error();
  }
  Value both[2] = {a[0], a[1]};
  for (int i = 0; i < 2; i++) { /* [m] -> [m, 1], [n] -> [1, n]: then a matrix product */
    Shape shape = mapped_shape(&both[i]);
    if (i == 1) shape.dims[shape.rank++] = dim_number(1);
    shape.dims[shape.rank++] = s[i].dims[0];
    if (i == 0) shape.dims[shape.rank++] = dim_number(1);
    both[i] = value_tensor(build_reshape(e->graph, both[i].node, &shape), both[i].mapped, call->span);
  }
  return matmul(e, both[0], both[1], call->span);
}

/* Elementwise functions of two and three arguments. */
static const OpName several_functions[] = {
    {"polygamma", IR_polygamma},
    {"stirling", IR_stirling},
    {"exponential_integral", IR_exponential_integral},
    {"gamma_quantile", IR_gamma_quantile},
    {"beta_quantile", IR_beta_quantile},
};

/* polygamma(n, x) and its like: which of a family of functions n is, must be known before training. */
static bool order_is_known(Elaborator *e, const Expr *call, Op op, const Value *order) {
  bool ordered = op == IR_polygamma || op == IR_stirling || op == IR_exponential_integral;
  if (!ordered || (order->kind == VALUE_NUMBER && order->dim.size >= 0)) return true;
  error_at(e->c, "argument", call->arguments[0].value->span,
           "the first argument of %s must be a number known before training", call->name);
  return false;
}

static Value call_several(Elaborator *e, const Expr *call, Value *a, int count) {
  Op op = OP_COUNT;
  for (size_t i = 0; i < sizeof several_functions / sizeof *several_functions; i++)
    if (strcmp(several_functions[i].name, call->name) == 0) op = several_functions[i].op;
  if (!order_is_known(e, call, op, &a[0])) return value_error();
  return count == 2 ? apply2(e, op, a[0], a[1], call->span) : apply3(e, op, a[0], a[1], a[2], call->span);
}

static Value call_log_pdf(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  if (a[0].kind != VALUE_DISTRIBUTION) {
    error_at(e->c, "not-a-distribution", call->arguments[0].value->span,
             "log_pdf(d, v) needs a distribution first; this is %s", value_text(e->c, &a[0]));
    return value_error();
  }
  bool missing = false;
  a[1] = as_tensor(e, a[1]);
  Shape shape = visible_shape(&a[1]);
  Value v = distribution_field(e, &a[0], "log_pdf", &a[1], &shape, call->span, &missing);
  if (missing) report_no_density(e, &a[0]);
  return v;
}

int state_index(Elaborator *e, const char *name, const Shape *shape, double start) {
  Signature *s = e->graph->signature;
  for (int i = 0; i < s->state_count; i++)
    if (strcmp(s->states[i].name, name) == 0) return i;
  s->states = arena_grow(e->c, s->states, s->state_count, sizeof *s->states);
  s->states[s->state_count] = (State){.name = intern(e->c, name), .shape = *shape, .start = start};
  return s->state_count++;
}

void update_state(Elaborator *e, int index, Node *next) {
  e->updates = arena_grow(e->c, e->updates, e->update_count, sizeof *e->updates);
  e->updates[e->update_count++] = (StateUpdate){.index = index, .next = build_stop(e->graph, next)};
}

static double number_option(Elaborator *e, const Expr *call, const char *name, double initial) {
  const Argument *a = find_argument(call, name);
  if (!a) return initial;
  Value v = elaborate(e, a->value);
  if (v.kind == VALUE_NUMBER) return v.dim.size;
  if (v.kind != VALUE_ERROR)
    error_at(e->c, "argument", a->value->span, "%s must be a number known before training", name);
  return initial;
}

/* The value before this step's update; the update itself is an output of the train program (rule 19). */
static Value call_running_mean(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Value v = as_tensor(e, a[0]);
  if (v.node->axes & ~(unsigned)AXIS_SAMPLE) {
    Diagnostic *d = error_at(e->c, "running-mean", call->span,
                             "running_mean follows one value a step, and this has one for each datum");
    help_with(d, "take a mean or maximum `over = batch` first");
    return value_error();
  }
  double decay = number_option(e, call, "decay", 0.99), start = number_option(e, call, "start", 0);
  if (!(decay >= 0 && decay < 1)) {
    error_at(e->c, "argument", find_argument(call, "decay")->value->span, "decay must lie in [0, 1); this is %s",
             shortest_number(e->c, decay));
    return value_error();
  }
  int number = 1;
  const char *base = arena_printf(e->c, "%s.running_mean", e->path), *name = base;
  for (int i = 0; i < e->update_count; i++)
    if (strcmp(e->graph->signature->states[e->updates[i].index].name, name) == 0)
      name = arena_printf(e->c, "%s%d", base, ++number);
  int index = state_index(e, name, &v.node->shape, start);
  Value state = value_tensor(build_state(e->graph, index), v.mapped, call->span);
  Value next = apply2(e, IR_add, apply2(e, IR_mul, value_number(decay), state, call->span),
                      apply2(e, IR_mul, value_number(1 - decay), v, call->span), call->span);
  update_state(e, index, next.node);
  return state;
}

static const BuiltinRow general_functions[] = {
    {"sum", call_reduction, 1, 1, "over", TAKES_VALUES},
    {"mean", call_reduction, 1, 1, "over", TAKES_VALUES},
    {"max", call_max_min, 1, 2, "over", TAKES_VALUES},
    {"min", call_max_min, 1, 2, "over", TAKES_VALUES},
    {"norm", call_reduction, 1, 1, "over", TAKES_VALUES},
    {"logsumexp", call_reduction, 1, 1, "over", TAKES_VALUES},
    {"logmeanexp", call_reduction, 1, 1, "over", TAKES_VALUES},
    {"softmax", call_softmax, 1, 1, "over", TAKES_VALUES},
    {"log_softmax", call_softmax, 1, 1, "over", TAKES_VALUES},
    {"normalize", call_normalize, 1, 1, "over", TAKES_VALUES},
    {"clip_norm", call_clip_norm, 2, 2, "over", TAKES_VALUES},
    {"cumsum", call_cumsum, 1, 1, "over", TAKES_VALUES},
    {"tail_sum", call_cumsum, 1, 1, "over", TAKES_VALUES},
    {"flatten", call_flatten, 1, 1, "", TAKES_VALUES},
    {"reshape", call_reshape, 2, 2, "", TAKES_VALUE_AND_LIST},
    {"expand", call_expand, 2, MAX_RANK, "", TAKES_VALUES},
    {"zeros", call_filled, 0, MAX_RANK, "", TAKES_DIMS},
    {"ones", call_filled, 0, MAX_RANK, "", TAKES_DIMS},
    {"identity", call_identity, 1, 1, "", TAKES_DIMS},
    {"concat", call_concat, 1, 16, "", TAKES_VALUES},
    {"diag", call_diag, 1, 1, "", TAKES_VALUES},
    {"lower_part", call_lower, 1, 1, "", TAKES_VALUES},
    {"solve", call_solve, 2, 2, "", TAKES_VALUES},
    {"cholesky", call_cholesky, 1, 1, "", TAKES_VALUES},
    {"stop", call_stop, 1, 1, "", TAKES_VALUES},
    {"clip", call_clip, 3, 3, "", TAKES_VALUES},
    {"dot", call_dot, 2, 2, "", TAKES_VALUES},
    {"outer", call_outer, 2, 2, "", TAKES_VALUES},
    {"polygamma", call_several, 2, 2, "", TAKES_VALUES},
    {"stirling", call_several, 2, 2, "", TAKES_VALUES},
    {"exponential_integral", call_several, 2, 2, "", TAKES_VALUES},
    {"gamma_quantile", call_several, 2, 2, "", TAKES_VALUES},
    {"beta_quantile", call_several, 3, 3, "", TAKES_VALUES},
    {"log_pdf", call_log_pdf, 2, 2, "", TAKES_DISTRIBUTION_FIRST},
    {"running_mean", call_running_mean, 1, 1, "decay, start", TAKES_VALUES},
    {0},
};

static const BuiltinRow *const builtin_tables[] = {general_functions, category_functions, selection_functions,
                                                   image_functions,   start_functions,    projection_functions,
                                                   subset_functions,  support_functions,  sparse_support_functions,
                                                   missing_functions, proximal_functions};
enum { BUILTIN_TABLES = sizeof builtin_tables / sizeof *builtin_tables };

static const BuiltinRow *find_builtin(const char *name) {
  for (int t = 0; t < BUILTIN_TABLES; t++)
    for (const BuiltinRow *row = builtin_tables[t]; row->name; row++)
      if (strcmp(row->name, name) == 0) return row;
  return NULL;
}

static bool check_arguments(Elaborator *e, const BuiltinRow *row, const Expr *call) {
  int count = positional_count(call);
  if (!check_options(e, call, row->options, true)) return false;
  if (count >= row->least && count <= row->most) return true;
  error_at(e->c, "argument", call->span, "%s takes %s%d argument%s, not %d", row->name,
           row->most > row->least ? "at least " : "", row->least, row->least == 1 ? "" : "s", count);
  return false;
}

static Value run_builtin(Elaborator *e, const BuiltinRow *row, const Expr *call) {
  if (!check_arguments(e, row, call)) return value_error();
  int count = 0;
  Value *arguments = arena_array(e->c, Value, call->argument_count);
  for (int i = 0; i < call->argument_count; i++) {
    if (call->arguments[i].name) continue;
    if (row->takes != TAKES_DIMS) {
      Value v = elaborate(e, call->arguments[i].value);
      bool any = (row->takes == TAKES_VALUE_AND_LIST && count == 1) ||
                 (row->takes == TAKES_DISTRIBUTION_FIRST && count == 0); /* the function looks at it itself */
      if (v.kind == VALUE_ERROR) return v;
      if (!any && !value_is_numeric(&v)) {
        value_node(e, &v);
        return value_error();
      }
      arguments[count] = v;
    }
    count++;
  }
  place(e, call->span);
  return row->function(e, call, arguments, count);
}

static Value call_builtin(Elaborator *e, const Expr *call, bool *found) {
  *found = true;
  if (is_start_statistic(e, call)) return start_statistic(e, call);
  for (size_t i = 0; i < sizeof unary_functions / sizeof *unary_functions; i++) {
    if (strcmp(unary_functions[i].name, call->name) != 0) continue;
    if (call->argument_count != 1 || call->arguments[0].name) {
      error_at(e->c, "argument", call->span, "%s takes 1 argument, not %d", call->name, call->argument_count);
      return value_error();
    }
    return apply1(e, unary_functions[i].op, elaborate(e, call->arguments[0].value), call->span);
  }
  const BuiltinRow *row = find_builtin(call->name);
  *found = row != NULL;
  return row ? run_builtin(e, row, call) : value_error();
}

static Value report_unknown_call(Elaborator *e, const Expr *call) {
  Diagnostic *d = error_at(e->c, "unknown-name", call->name_span,
                           "there is no function, network, layer or distribution called `%s`", call->name);
  Suggestion near = {.name = call->name};
  for (size_t i = 0; i < sizeof unary_functions / sizeof *unary_functions; i++)
    suggestion_consider(&near, unary_functions[i].name);
  for (int t = 0; t < BUILTIN_TABLES; t++)
    for (const BuiltinRow *row = builtin_tables[t]; row->name; row++) suggestion_consider(&near, row->name);
  for (int i = 0; i < e->model->library.count; i++)
    if (e->model->library.items[i]->name) suggestion_consider(&near, e->model->library.items[i]->name);
  for (int i = 0; i < e->model->items.count; i++)
    if (is_network(e->model->items.items[i]->kind)) suggestion_consider(&near, e->model->items.items[i]->name);
  const char *here = name_here(call->name);
  if (here)
    help_with(d, "it is written `%s` here", here);
  else if (near.best)
    help_with(d, "did you mean `%s`?", near.best);
  else
    help_with(d,
              "a file declares its own: `function %s(x) = ...;`, `distribution %s(z : real; ...) { log_pdf = ...; }`",
              call->name, call->name);
  return value_error();
}

Value elaborate_call(Elaborator *e, const Expr *call) {
  const Model *m = e->model;
  for (int i = 0; e->model_visible && i < m->items.count; i++) {
    Item *item = m->items.items[i];
    if (is_network(item->kind) && item->name == call->name) return call_network_by_name(e, item, call);
  }
  Item *item = library_find(m, ITEM_FUNCTION, call->name);
  if (!item) item = library_find(m, ITEM_LAYER, call->name);
  if (item) return call_library(e, item, call);
  if (is_combinator(call->name)) return make_combinator(e, call);
  if (is_family(m, call->name)) return make_distribution(e, call);
  if (is_objective_word(call->name)) return call_objective_word(e, call->name, call, call->span);
  bool found;
  Value v = call_builtin(e, call, &found);
  return found ? v : report_unknown_call(e, call);
}
