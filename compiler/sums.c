/* sums: numbers that must make 1 together, the elements of a simplex or the weights of a mixture -> whether it is
 * proved that they do, by what they are made of; where it is not, they are guarded: not numbers wherever they do not
 * (LANGUAGE rule 35). A sum is followed as a constant and multiples of values nothing is known of, so that w and 1 - w
 * make 1. */
#include "statements.h"

#include <math.h>
#include <string.h>

enum { MOST_TERMS = 8, MOST_DEPTH = 40 };

static const double slack = 1e-3; /* of numbers in single precision, or written with few digits */

typedef struct Sum {
  bool known;
  double constant;
  const Node *terms[MOST_TERMS];
  double factors[MOST_TERMS];
  int count;
} Sum;

static Sum constant_sum(double value) { return (Sum){.known = true, .constant = value}; }

static void add_term(Sum *sum, const Node *term, double factor) {
  for (int i = 0; i < sum->count; i++)
    if (sum->terms[i] == term) {
      sum->factors[i] += factor;
      return;
    }
  sum->known = sum->known && sum->count < MOST_TERMS;
  if (!sum->known) return;
  sum->terms[sum->count] = term;
  sum->factors[sum->count++] = factor;
}

static Sum plus(Sum a, Sum b, double times) {
  a.known = a.known && b.known;
  a.constant += times * b.constant;
  for (int i = 0; a.known && i < b.count; i++) add_term(&a, b.terms[i], times * b.factors[i]);
  return a;
}

static bool is_constant(const Sum *sum) {
  for (int i = 0; i < sum->count; i++)
    if (fabs(sum->factors[i]) > slack) return false;
  return sum->known;
}

static bool is_one(Sum sum) { return is_constant(&sum) && fabs(sum.constant - 1) <= slack; }

/* ---- values ---------------------------------------------------------------------------------------------------- */

static bool is_view_of_all(Op op) { return op == IR_expand || op == IR_spread || op == IR_reshape || op == IR_stop; }

static const Node *under_views(const Node *n) {
  while (is_view_of_all(n->op)) n = n->operands[0];
  return n;
}

/* The same number in all places of the last dim. */
static bool is_level(const Node *n) {
  double value;
  int last = n->shape.rank - 1;
  if (node_filled(n, &value) || last < 0) return true;
  if (n->op == IR_spread || n->op == IR_stop) return is_level(n->operands[0]);
  if (n->op == IR_expand) {
    const Node *x = n->operands[0];
    int from = x->shape.rank - 1;
    return from < 0 || n->map[from] != last || is_level(x);
  }
  if (op_table[n->op].kind != KIND_MAP) return false;
  for (int k = 0; k < n->operand_count; k++)
    if (!is_level(n->operands[k])) return false;
  return true;
}

static Sum scaled(Sum sum, double factor) { return plus(constant_sum(0), sum, factor); }

/* A value itself, as a sum. */
static Sum number_of(const Node *n, int depth) {
  double value;
  if (node_filled(n, &value)) return constant_sum(value);
  if (n->op == IR_expand || n->op == IR_spread) return number_of(n->operands[0], depth);
  if (depth < MOST_DEPTH && (n->op == IR_add || n->op == IR_sub))
    return plus(number_of(n->operands[0], depth + 1), number_of(n->operands[1], depth + 1), n->op == IR_add ? 1 : -1);
  if (depth < MOST_DEPTH && n->op == IR_div && node_filled(n->operands[1], &value))
    return scaled(number_of(n->operands[0], depth + 1), 1 / value);
  for (int k = 0; k < 2 && depth < MOST_DEPTH && n->op == IR_mul; k++)
    if (node_filled(n->operands[k], &value)) return scaled(number_of(n->operands[1 - k], depth + 1), value);
  Sum sum = constant_sum(0);
  add_term(&sum, n, 1);
  return sum;
}

/* ---- along the last dim ------------------------------------------------------------------------------------------ */

static bool sums_last(const Node *n) { return n->dims_mask == 1u << (n->operands[0]->shape.rank - 1); }

/* x - log(sum(exp(x))) */
static bool is_log_softmax(const Node *n) {
  if (n->op != IR_sub) return false;
  const Node *log_sum = under_views(n->operands[1]);
  if (log_sum->op != IR_log || !is_level(n->operands[1])) return false;
  const Node *sum = under_views(log_sum->operands[0]);
  return sum->op == IR_sum && sums_last(sum) && sum->operands[0]->op == IR_exp &&
         sum->operands[0]->operands[0] == n->operands[0];
}

static Sum line_sum(const Model *, const Signature *, const Node *, int depth);

static Sum product_sum(const Model *m, const Signature *g, const Node *n, int depth) {
  for (int k = 0; k < 2; k++) {
    if (!is_level(n->operands[k])) continue;
    Sum line = line_sum(m, g, n->operands[1 - k], depth);
    if (is_constant(&line)) return scaled(number_of(n->operands[k], depth), line.constant);
  }
  return (Sum){0};
}

/* A vector over its own sum, or over a constant. */
static Sum quotient_sum(const Model *m, const Signature *g, const Node *n, int depth) {
  const Node *by = n->operands[1], *sum = under_views(by);
  double value;
  if (!is_level(by)) return (Sum){0};
  if (sum->op == IR_sum && sums_last(sum) && sum->operands[0] == n->operands[0]) return constant_sum(1);
  return node_filled(by, &value) ? scaled(line_sum(m, g, n->operands[0], depth), 1 / value) : (Sum){0};
}

static Sum view_sum(const Model *m, const Signature *g, const Node *n, int depth) {
  const Node *x = n->operands[0];
  int last = n->shape.rank - 1, from = x->shape.rank - 1;
  if (n->op == IR_expand && (from < 0 || n->map[from] != last))
    return scaled(number_of(x, depth), n->shape.dims[last].size);
  bool same = n->op == IR_expand || n->op == IR_spread || n->op == IR_stop || (n->op == IR_slice && n->dim != last) ||
              (n->op == IR_permute && n->map[last] == from) ||
              (n->op == IR_reshape && from >= 0 && x->shape.dims[from].size == n->shape.dims[last].size);
  return same ? line_sum(m, g, x, depth) : (Sum){0};
}

/* Vectors end to end, or side by side. */
static Sum concat_sum(const Model *m, const Signature *g, const Node *n, int depth) {
  Sum sum = line_sum(m, g, n->operands[0], depth);
  for (int k = 1; k < n->operand_count; k++) {
    Sum next = line_sum(m, g, n->operands[k], depth);
    if (n->dim == n->shape.rank - 1)
      sum = plus(sum, next, 1);
    else if (!is_constant(&sum) || !is_constant(&next) || sum.constant != next.constant)
      return (Sum){0};
  }
  return sum;
}

/* A mean of vectors, by weights that sum to 1: y @ V. */
static Sum mean_sum(const Model *m, const Signature *g, const Node *n, int depth) {
  const Node *a = n->operands[0], *b = n->operands[1];
  int gone = a->shape.rank - 1, last = b->shape.rank - 1;
  if (gone < 0 || last < 1 || n->axes_attribute || n->labels_out[n->shape.rank - 1] != n->labels_b[last])
    return (Sum){0};
  for (int d = 0; d < n->shape.rank; d++)
    if (n->labels_out[d] == n->labels_a[gone]) return (Sum){0};
  bool alone = true; /* nothing else is summed */
  for (int d = 0; d <= last; d++) {
    bool kept = n->labels_b[d] == n->labels_a[gone];
    for (int i = 0; i < n->shape.rank; i++) kept |= n->labels_out[i] == n->labels_b[d];
    alone = alone && kept;
  }
  return alone && is_one(line_sum(m, g, a, depth)) && is_one(line_sum(m, g, b, depth)) ? constant_sum(1) : (Sum){0};
}

static Sum table_sum(const Node *n) {
  long size = shape_size(&n->shape), length = (long)n->shape.dims[n->shape.rank - 1].size;
  double first = 0;
  for (long line = 0; line < size / length; line++) {
    double sum = 0;
    for (long i = 0; i < length; i++) sum += n->table[line * length + i];
    if (line > 0 && sum != first) return (Sum){0};
    first = sum;
  }
  return constant_sum(first);
}

/* One that is held as it is, declared a simplex. */
static bool is_held(const Model *m, const Signature *g, const Node *n) {
  const ParameterSource *source = n->op == IR_parameter ? &m->sources[n->index] : &m->row_sources[n->index];
  bool raw = n->op == IR_parameter ? !g->parameters[n->index].constrained : !g->row_states[n->index].constrained;
  return raw && source->type && strcmp(source->type->name, "simplex") == 0;
}

/* As where_one makes it, below: nobody else writes what is not a number. */
static bool is_guarded(const Node *n) {
  double value;
  return n->op == IR_select && node_filled(n->operands[2], &value) && isnan(value);
}

static Sum line_sum(const Model *m, const Signature *g, const Node *n, int depth) {
  double value;
  if (n->shape.rank == 0 || ++depth > MOST_DEPTH) return (Sum){0};
  if (node_filled(n, &value)) return constant_sum(value * n->shape.dims[n->shape.rank - 1].size);
  if (op_table[n->op].kind == KIND_VIEW && n->op != IR_concat)
    return n->op == IR_pad ? (Sum){0} : view_sum(m, g, n, depth);
  if (n->op == IR_concat) return concat_sum(m, g, n, depth);
  if (n->op == IR_table) return table_sum(n);
  if (n->op == IR_data) return g->data[n->index].categories > 0 ? constant_sum(1) : (Sum){0};
  if (n->op == IR_parameter || n->op == IR_row_state) return is_held(m, g, n) ? constant_sum(1) : (Sum){0};
  if (n->op == IR_sparsemax || n->op == IR_entmax) return constant_sum(1);
  if (n->op == IR_first_max_mask && sums_last(n)) return constant_sum(1);
  if (n->op == IR_exp && is_log_softmax(n->operands[0])) return constant_sum(1);
  if (n->op == IR_add || n->op == IR_sub)
    return plus(line_sum(m, g, n->operands[0], depth), line_sum(m, g, n->operands[1], depth), n->op == IR_add ? 1 : -1);
  if (n->op == IR_mul) return product_sum(m, g, n, depth);
  if (n->op == IR_div) return quotient_sum(m, g, n, depth);
  if (n->op == IR_contract) return mean_sum(m, g, n, depth);
  if (is_guarded(n)) return constant_sum(1);
  if (n->op == IR_select) {
    Sum a = line_sum(m, g, n->operands[1], depth), b = line_sum(m, g, n->operands[2], depth);
    return is_level(n->operands[0]) && is_one(a) && is_one(b) ? constant_sum(1) : (Sum){0};
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

/* The value where `total` is 1, and not a number elsewhere; total's shape is the value's first dims. */
static Value where_one(Elaborator *e, Value v, Value total, Span span) {
  int map[MAX_RANK];
  for (int d = 0; d < MAX_RANK; d++) map[d] = d;
  Value gap = apply1(e, IR_abs, apply2(e, IR_sub, total, value_number(1), span), span);
  Value sound = apply2(e, IR_less_equal, gap, value_number(slack), span);
  if (sound.kind != VALUE_TENSOR) return value_error();
  if (sound.node->shape.rank < v.node->shape.rank) sound.node = build_expand(e->graph, sound.node, &v.node->shape, map);
  return apply3(e, IR_select, sound, v, value_number((double)NAN), span);
}

bool guard_simplex(Elaborator *e, Value *v, Span span) {
  if (e->generic || v->kind != VALUE_TENSOR || v->node->shape.rank == 0) return true;
  if (is_one(line_sum(e->model, e->graph->signature, v->node, 0))) return true;
  place(e, span);
  unsigned last = 1u << (v->node->shape.rank - 1);
  *v = where_one(e, *v, value_tensor(build_sum(e->graph, v->node, last), v->mapped, span), span);
  return false;
}

bool guard_weights(Elaborator *e, Value *weights, int count, Span span) {
  Sum sum = constant_sum(0);
  Value total = value_number(0);
  for (int i = 0; i < count; i++) {
    Node *w = value_node(e, &weights[i]);
    if (!w || is_guarded(w)) return true;
    sum = plus(sum, number_of(w, 0), 1);
    total = apply2(e, IR_add, total, weights[i], span);
  }
  if (e->generic || is_one(sum) || total.kind != VALUE_TENSOR) return true;
  /* one is enough: a mixture has all of its weights in it */
  weights[0] = where_one(e, weights[0], total, span);
  return false;
}
