/* sums: numbers that must make 1 together, the elements of a simplex or the weights of a mixture -> whether it is
 * proved that they do, by what they are made of; where it is not, they are guarded: not numbers wherever they do not
 * (LANGUAGE rule 35). A sum is followed as a constant and multiples of values nothing is known of, so that w and 1 - w
 * make 1. */
#include "statements.h"

#include <math.h>
#include <string.h>

enum { MOST_PARTS = 8, MOST_DEPTH = 40 };

static const double slack = 1e-3; /* of numbers in single precision, or written with few digits */

/* A value that nothing is known of, as it stands in the one asked about: `under` expands it, or is NULL. */
typedef struct Part {
  const Node *node, *under;
  double factor;
} Part;

typedef struct Sum {
  bool known;
  double constant;
  Part parts[MOST_PARTS];
  int count;
} Sum;

typedef struct Asked {
  const Model *model;
  const Signature *signature;
} Asked;

static Sum constant_sum(double value) { return (Sum){.known = true, .constant = value}; }

static bool expand_alike(const Node *a, const Node *b) {
  if (a == NULL || b == NULL) return a == b;
  int rank = a->operands[0]->shape.rank;
  return a->shape.rank == b->shape.rank && rank == b->operands[0]->shape.rank &&
         memcmp(a->map, b->map, sizeof *a->map * (size_t)rank) == 0;
}

static void add_part(Sum *sum, Part part) {
  for (int i = 0; i < sum->count; i++)
    if (sum->parts[i].node == part.node && expand_alike(sum->parts[i].under, part.under)) {
      sum->parts[i].factor += part.factor;
      return;
    }
  sum->known = sum->known && sum->count < MOST_PARTS;
  if (sum->known) sum->parts[sum->count++] = part;
}

static Sum plus(Sum a, Sum b, double times) {
  a.known = a.known && b.known;
  a.constant += times * b.constant;
  for (int i = 0; a.known && i < b.count; i++)
    add_part(&a, (Part){b.parts[i].node, b.parts[i].under, times * b.parts[i].factor});
  return a;
}

static Sum scaled(Sum sum, double factor) { return plus(constant_sum(0), sum, factor); }

static bool is_constant(const Sum *sum) {
  for (int i = 0; i < sum->count; i++)
    if (fabs(sum->parts[i].factor) > slack) return false;
  return sum->known;
}

static bool is_one(Sum sum) { return is_constant(&sum) && fabs(sum.constant - 1) <= slack; }

/* ---- values ---------------------------------------------------------------------------------------------------- */

/* The operand's dim that is this one of a view, or -1. */
static int dim_below(const Node *view, int dim) {
  int rank = view->operands[0]->shape.rank;
  for (int d = 0; view->op == IR_expand && d < rank; d++)
    if (view->map[d] == dim) return d;
  return view->op == IR_expand ? -1 : view->op == IR_permute ? view->map[dim] : dim;
}

/* The same number in all places of the dim. */
static bool is_level(const Node *n, int dim) {
  double value;
  if (node_filled(n, &value)) return true;
  if (n->op == IR_spread || n->op == IR_stop || n->op == IR_expand) {
    int below = dim_below(n, dim);
    return below < 0 || is_level(n->operands[0], below);
  }
  if (op_table[n->op].kind != KIND_MAP) return false;
  for (int k = 0; k < n->operand_count; k++)
    if (!is_level(n->operands[k], dim)) return false;
  return true;
}

/* A value itself, as a sum. */
static Sum number_of(const Node *n, const Node *under, int depth) {
  double value;
  if (node_filled(n, &value)) return constant_sum(value);
  if (n->op == IR_spread || (n->op == IR_expand && n->operands[0]->shape.rank == 0))
    return number_of(n->operands[0], n->op == IR_spread ? under : NULL, depth);
  if (n->op == IR_expand && under == NULL) return number_of(n->operands[0], n, depth);
  if (depth < MOST_DEPTH && (n->op == IR_add || n->op == IR_sub))
    return plus(number_of(n->operands[0], under, depth + 1), number_of(n->operands[1], under, depth + 1),
                n->op == IR_add ? 1 : -1);
  if (depth < MOST_DEPTH && n->op == IR_div && node_filled(n->operands[1], &value))
    return scaled(number_of(n->operands[0], under, depth + 1), 1 / value);
  for (int k = 0; k < 2 && depth < MOST_DEPTH && n->op == IR_mul; k++)
    if (node_filled(n->operands[k], &value)) return scaled(number_of(n->operands[1 - k], under, depth + 1), value);
  Sum sum = constant_sum(0);
  add_part(&sum, (Part){n, under, 1});
  return sum;
}

/* ---- along a dim ------------------------------------------------------------------------------------------------- */

/* Is it the sum of x along the dim, put back in all of its places? `op` stands between: IR_log, or none. */
static bool is_sum_of(const Node *n, Op op, const Node *x, int dim) {
  if (n->op != IR_expand || n->operands[0]->shape.rank != x->shape.rank - 1) return false;
  for (int d = 0; d < x->shape.rank - 1; d++)
    if (n->map[d] != d + (d >= dim)) return false;
  const Node *sum = n->operands[0];
  if (op != IR_sum) sum = sum->op == op ? sum->operands[0] : n;
  return sum->op == IR_sum && sum->dims_mask == 1u << dim && sum->operands[0] == x;
}

/* exp(x - log(sum(exp(x)))) */
static bool is_softmax(const Node *n, int dim) {
  const Node *gap = n->operands[0];
  if (n->op != IR_exp || gap->op != IR_sub) return false;
  const Node *log_sum = gap->operands[1]->op == IR_expand ? gap->operands[1]->operands[0] : gap;
  const Node *sum = log_sum->op == IR_log ? log_sum->operands[0] : gap;
  const Node *exps = sum->op == IR_sum ? sum->operands[0] : gap;
  return exps->op == IR_exp && exps->operands[0] == gap->operands[0] && is_sum_of(gap->operands[1], IR_log, exps, dim);
}

static Sum line_sum(const Asked *, const Node *, int dim, int depth);

static Sum product_sum(const Asked *a, const Node *n, int dim, int depth) {
  for (int k = 0; k < 2; k++) {
    if (!is_level(n->operands[k], dim)) continue;
    Sum line = line_sum(a, n->operands[1 - k], dim, depth);
    if (is_constant(&line)) return scaled(number_of(n->operands[k], NULL, depth), line.constant);
  }
  return (Sum){0};
}

/* A vector over its own sum, or over a constant. */
static Sum quotient_sum(const Asked *a, const Node *n, int dim, int depth) {
  double value;
  if (is_sum_of(n->operands[1], IR_sum, n->operands[0], dim)) return constant_sum(1);
  return node_filled(n->operands[1], &value) ? scaled(line_sum(a, n->operands[0], dim, depth), 1 / value) : (Sum){0};
}

/* A reshape keeps lines along the last dim if it keeps that dim. */
static Sum view_sum(const Asked *a, const Node *n, int dim, int depth) {
  const Node *x = n->operands[0];
  int below = dim_below(n, dim), last = n->shape.rank - 1, from = x->shape.rank - 1;
  if (n->op == IR_expand && below < 0) return scaled(number_of(n, NULL, depth), n->shape.dims[dim].size);
  if (n->op == IR_pad || (n->op == IR_slice && n->dim == dim)) return (Sum){0};
  if (n->op == IR_reshape && (dim != last || from < 0 || x->shape.dims[from].size != n->shape.dims[last].size))
    return (Sum){0};
  return line_sum(a, x, n->op == IR_reshape ? from : below, depth);
}

/* Vectors end to end, or side by side. */
static Sum concat_sum(const Asked *a, const Node *n, int dim, int depth) {
  Sum sum = line_sum(a, n->operands[0], dim, depth);
  for (int k = 1; k < n->operand_count; k++) {
    Sum next = line_sum(a, n->operands[k], dim, depth);
    if (n->dim == dim)
      sum = plus(sum, next, 1);
    else if (!is_constant(&sum) || !is_constant(&next) || sum.constant != next.constant)
      return (Sum){0};
  }
  return sum;
}

/* A mean of vectors, by weights that sum to 1: y @ V. */
static Sum mean_sum(const Asked *asked, const Node *n, int dim, int depth) {
  const Node *a = n->operands[0], *b = n->operands[1];
  int gone = a->shape.rank - 1, last = b->shape.rank - 1;
  if (gone < 0 || last < 1 || n->axes_attribute || n->labels_out[dim] != n->labels_b[last]) return (Sum){0};
  for (int d = 0; d < n->shape.rank; d++)
    if (n->labels_out[d] == n->labels_a[gone]) return (Sum){0};
  for (int d = 0; d <= last; d++) { /* nothing else is summed */
    bool kept = n->labels_b[d] == n->labels_a[gone];
    for (int i = 0; i < n->shape.rank; i++) kept |= n->labels_out[i] == n->labels_b[d];
    if (!kept) return (Sum){0};
  }
  bool mean = is_one(line_sum(asked, a, gone, depth)) && is_one(line_sum(asked, b, last, depth));
  return mean ? constant_sum(1) : (Sum){0};
}

static Sum table_sum(const Node *n, int dim) {
  long length = (long)n->shape.dims[dim].size, step = 1, size = shape_size(&n->shape);
  double first = 0;
  for (int d = n->shape.rank - 1; d > dim; d--) step *= (long)n->shape.dims[d].size;
  for (long line = 0; line < size / length; line++) {
    const double *at = n->table + line / step * step * length + line % step;
    double sum = 0;
    for (long i = 0; i < length; i++) sum += at[i * step];
    if (line > 0 && sum != first) return (Sum){0};
    first = sum;
  }
  return constant_sum(first);
}

/* One that is held as it is, declared a simplex. */
static bool is_held(const Asked *a, const Node *n) {
  const Model *m = a->model;
  const Signature *s = a->signature;
  const ParameterSource *source = n->op == IR_parameter ? &m->sources[n->index] : &m->row_sources[n->index];
  bool raw = n->op == IR_parameter ? !s->parameters[n->index].constrained : !s->row_states[n->index].constrained;
  return raw && source->type && strcmp(source->type->name, "simplex") == 0;
}

/* As where_one makes it, below: nobody else writes what is not a number. */
static bool is_guarded(const Node *n) {
  double value;
  return n->op == IR_select && node_filled(n->operands[2], &value) && isnan(value);
}

/* Vectors along the last dim alone. */
static bool is_simplex(const Asked *a, const Node *n) {
  if (n->op == IR_data) return a->signature->data[n->index].categories > 0;
  if (n->op == IR_parameter || n->op == IR_row_state) return is_held(a, n);
  return n->op == IR_sparsemax || n->op == IR_entmax;
}

static Sum line_sum(const Asked *a, const Node *n, int dim, int depth) {
  double value;
  if (++depth > MOST_DEPTH) return (Sum){0};
  if (node_filled(n, &value)) return constant_sum(value * n->shape.dims[dim].size);
  if (is_guarded(n) || (dim == n->shape.rank - 1 && is_simplex(a, n))) return constant_sum(1);
  if (n->op == IR_concat) return concat_sum(a, n, dim, depth);
  if (op_table[n->op].kind == KIND_VIEW) return view_sum(a, n, dim, depth);
  if (n->op == IR_table) return table_sum(n, dim);
  if (n->op == IR_first_max_mask && n->dims_mask == 1u << dim) return constant_sum(1);
  if (n->op == IR_exp && is_softmax(n, dim)) return constant_sum(1);
  if (n->op == IR_add || n->op == IR_sub)
    return plus(line_sum(a, n->operands[0], dim, depth), line_sum(a, n->operands[1], dim, depth),
                n->op == IR_add ? 1 : -1);
  if (n->op == IR_mul) return product_sum(a, n, dim, depth);
  if (n->op == IR_div) return quotient_sum(a, n, dim, depth);
  if (n->op == IR_contract) return mean_sum(a, n, dim, depth);
  if (n->op == IR_select) {
    bool both = is_one(line_sum(a, n->operands[1], dim, depth)) && is_one(line_sum(a, n->operands[2], dim, depth));
    return is_level(n->operands[0], dim) && both ? constant_sum(1) : (Sum){0};
  }
  return (Sum){0};
}

/* ---- guards ------------------------------------------------------------------------------------------------------ */

bool bounds_hold_one(Compilation *c, double low, double high, const char **sum) {
  *sum = arena_printf(c, "%s%s",
                      low == high ? ""
                      : low > 1   ? "at least "
                                  : "at most ",
                      shortest_number(c, low > 1 ? low : high));
  return low <= 1 + slack && high >= 1 - slack;
}

/* The value where `total`, of the value's shape without the dim (-1: of its shape, or less), is 1, and not a number
 * elsewhere. */
static Value where_one(Elaborator *e, Value v, Value total, int dim, Span span) {
  int map[MAX_RANK];
  for (int d = 0; d < MAX_RANK; d++) map[d] = d + (dim >= 0 && d >= dim);
  Value gap = apply1(e, IR_abs, apply2(e, IR_sub, total, value_number(1), span), span);
  Value sound = apply2(e, IR_less_equal, gap, value_number(slack), span);
  if (sound.kind != VALUE_TENSOR) return value_error();
  if (dim >= 0) sound.node = build_expand(e->graph, sound.node, &v.node->shape, map);
  return apply3(e, IR_select, sound, v, value_number((double)NAN), span);
}

bool guard_simplex(Elaborator *e, Value *v, int dim, Span span) {
  if (e->generic || v->kind != VALUE_TENSOR || dim < 0) return true;
  const Asked asked = {e->model, e->graph->signature};
  dim += v->node->shape.rank - visible_shape(v).rank; /* the node's own */
  if (is_one(line_sum(&asked, v->node, dim, 0))) return true;
  place(e, span);
  Value total = value_tensor(build_sum(e->graph, v->node, 1u << dim), v->mapped, span);
  *v = where_one(e, *v, total, dim, span);
  return false;
}

bool guard_weights(Elaborator *e, Value *weights, int count, Span span) {
  Sum sum = constant_sum(0);
  Value total = value_number(0);
  for (int i = 0; i < count; i++) {
    Node *w = value_node(e, &weights[i]);
    if (!w || is_guarded(w)) return true;
    sum = plus(sum, number_of(w, NULL, 0), 1);
    total = apply2(e, IR_add, total, weights[i], span);
  }
  if (e->generic || is_one(sum) || total.kind != VALUE_TENSOR) return true;
  /* one is enough: a mixture has all of its weights in it */
  weights[0] = where_one(e, weights[0], total, -1, span);
  return false;
}
