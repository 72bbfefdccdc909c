/* differentiate: reverse mode, tensor IR to tensor IR, one rule an op. Requires a scalar step value and the nodes with
 * respect to which it is differentiated (inner ones wrapped in build_variable before they were used); appends their
 * adjoints, made of ops that can be differentiated again.
 *
 * An adjoint has the shape and the axes of its primal: where an operand lacks an axis of the result, its adjoint is
 * summed over it; where a rule's result lacks an axis of the operand, every row gets it. A product of an adjoint and a
 * factor is 0 where the adjoint is 0, whatever the factor is (adjoint_times; a mul where the factor is provably
 * finite), so that what was not selected never poisons a gradient. */
#include <assert.h>

#include "ir_parts.h"

static const double largest_float = 3.4028234663852886e38;
static const double two_over_root_pi = 1.1283791670955126;

typedef struct Pass {
  Graph *graph;
  Node **adjoints; /* by id, of the nodes there were at the start; NULL: none yet */
  bool *active;    /* by id: lies on a path from with_respect_to */
} Pass;

/* Adds to the adjoint of `node`, if anybody asks for it. */
static void contribute(Pass *pass, Node *node, Node *value) {
  if (!pass->active[node->id]) return;
  assert(shapes_match(&value->shape, &node->shape));
  value = build_sum_over(pass->graph, value, value->axes & ~node->axes);
  value = build_with_axes(pass->graph, value, node->axes);
  Node *before = pass->adjoints[node->id];
  pass->adjoints[node->id] = before == NULL ? value : build_map2(pass->graph, IR_add, before, value);
}

/* --- short names for the rules --- */

static Node *unary(Pass *pass, Op op, Node *a) { return build_map1(pass->graph, op, a); }

static Node *binary(Pass *pass, Op op, Node *a, Node *b) { return build_map2(pass->graph, op, a, b); }

static Node *number(Pass *pass, double value, const Node *like) {
  return build_filled(pass->graph, value, &like->shape);
}

static Node *scaled(Pass *pass, double factor, Node *a) { return binary(pass, IR_mul, a, number(pass, factor, a)); }

/* adjoint * factor, 0 where the adjoint is 0 */
static Node *times(Pass *pass, Node *adjoint, Node *factor) { return binary(pass, IR_adjoint_times, adjoint, factor); }

/* adjoint / divisor, 0 where the adjoint is 0 */
static Node *over(Pass *pass, Node *adjoint, Node *divisor) {
  Node *inverse = binary(pass, IR_div, number(pass, 1, divisor), divisor);
  if (inverse->facts.finite) return binary(pass, IR_div, adjoint, divisor);
  return times(pass, adjoint, inverse);
}

static Node *where(Pass *pass, Node *condition, Node *value) {
  return build_map3(pass->graph, IR_select, condition, value, number(pass, 0, value));
}

static Node *where_not(Pass *pass, Node *condition, Node *value) {
  return build_map3(pass->graph, IR_select, condition, number(pass, 0, value), value);
}

static Node *is_positive(Pass *pass, Node *x) { return binary(pass, IR_less, number(pass, 0, x), x); }

/* x, with 0 for what is not finite. */
static Node *finite_part(Pass *pass, Node *x) {
  if (x->facts.finite) return x;
  Node *limit = number(pass, largest_float, x);
  return where(pass, binary(pass, IR_less_equal, unary(pass, IR_abs, x), limit), x);
}

/* --- elementwise ops of one operand: what the adjoint is multiplied by --- */

static Node *one_minus_square(Pass *pass, Node *y) {
  return binary(pass, IR_sub, number(pass, 1, y), binary(pass, IR_mul, y, y));
}

/* 1 / (2 sqrt(x)), but 0 at 0: so norm has gradient 0 there. */
static Node *sqrt_factor(Pass *pass, Node *x, Node *y) {
  return where(pass, is_positive(pass, x), binary(pass, IR_div, number(pass, 0.5, y), y));
}

static Node *erf_factor(Pass *pass, Node *x) {
  Node *square = binary(pass, IR_mul, x, x);
  return scaled(pass, two_over_root_pi, unary(pass, IR_exp, unary(pass, IR_neg, square)));
}

static void pull_unary(Pass *pass, Node *y, Node *g) {
  Node *x = y->operands[0], *value = NULL;
  switch (y->op) {
  case IR_neg: value = unary(pass, IR_neg, g); break;
  case IR_abs: value = times(pass, g, unary(pass, IR_sign, x)); break;
  case IR_sqrt: value = times(pass, g, sqrt_factor(pass, x, y)); break;
  case IR_exp: value = times(pass, g, y); break;
  case IR_expm1: value = times(pass, g, unary(pass, IR_exp, x)); break;
  case IR_log: value = over(pass, g, x); break;
  case IR_log1p: value = over(pass, g, binary(pass, IR_add, x, number(pass, 1, x))); break;
  case IR_sin: value = times(pass, g, unary(pass, IR_cos, x)); break;
  case IR_cos: value = unary(pass, IR_neg, times(pass, g, unary(pass, IR_sin, x))); break;
  case IR_tan: value = times(pass, g, binary(pass, IR_add, binary(pass, IR_mul, y, y), number(pass, 1, y))); break;
  case IR_tanh: value = times(pass, g, one_minus_square(pass, y)); break;
  case IR_sigmoid: value = times(pass, g, binary(pass, IR_mul, y, binary(pass, IR_sub, number(pass, 1, y), y))); break;
  case IR_softplus: value = times(pass, g, unary(pass, IR_sigmoid, x)); break;
  case IR_relu: value = where(pass, is_positive(pass, x), g); break;
  case IR_erf: value = times(pass, g, erf_factor(pass, x)); break;
  case IR_lgamma: value = times(pass, g, unary(pass, IR_digamma, x)); break;
  case IR_digamma: value = times(pass, g, binary(pass, IR_polygamma, number(pass, 1, x), x)); break;
  case IR_sign:
  case IR_floor:
  case IR_not: return;
  case OPS_BINARY:
  case OPS_TERNARY:
  case OPS_NOT_ELEMENTWISE: assert(false); return;
  }
  contribute(pass, x, value);
}

/* --- elementwise ops of two and three operands --- */

static void pull_div(Pass *pass, Node *y, Node *g) {
  Node *a = y->operands[0], *b = y->operands[1];
  if (pass->active[a->id]) contribute(pass, a, over(pass, g, b));
  if (pass->active[b->id]) contribute(pass, b, unary(pass, IR_neg, times(pass, g, binary(pass, IR_div, y, b))));
}

/* b * a^(b - 1) for a, and y * log(a) for an exponent that varies. At a = 0 a root's slope is infinite and, like that
 * of sqrt, counts as 0. */
static void pull_pow(Pass *pass, Node *y, Node *g) {
  Node *a = y->operands[0], *b = y->operands[1];
  if (pass->active[a->id]) {
    Node *less = binary(pass, IR_sub, b, number(pass, 1, b));
    Node *factor = binary(pass, IR_mul, b, binary(pass, IR_pow, a, less));
    Node *sound = binary(pass, IR_or, binary(pass, IR_not_equal, a, number(pass, 0, a)),
                         binary(pass, IR_less_equal, number(pass, 1, b), b));
    contribute(pass, a, times(pass, g, where(pass, sound, factor)));
  }
  if (pass->active[b->id]) {
    Node *factor = where(pass, is_positive(pass, a), binary(pass, IR_mul, y, unary(pass, IR_log, a)));
    contribute(pass, b, times(pass, g, factor));
  }
}

/* Ties go to the first operand. */
static void pull_choice(Pass *pass, Node *y, Node *g) {
  Node *a = y->operands[0], *b = y->operands[1];
  Node *first = y->op == IR_max ? binary(pass, IR_less_equal, b, a) : binary(pass, IR_less_equal, a, b);
  contribute(pass, a, where(pass, first, g));
  contribute(pass, b, where_not(pass, first, g));
}

static void pull_mod(Pass *pass, Node *y, Node *g) {
  Node *a = y->operands[0], *b = y->operands[1];
  contribute(pass, a, g);
  if (!pass->active[b->id]) return;
  Node *whole = unary(pass, IR_floor, binary(pass, IR_div, a, b));
  contribute(pass, b, unary(pass, IR_neg, times(pass, g, whole)));
}

/* y = a * b, 0 where a is 0. There b may be infinite: then the slope in a counts as 0, or it would poison sums further
 * up; and the adjoint of b must not meet an infinite g. */
static void pull_adjoint_times(Pass *pass, Node *y, Node *g) {
  Node *a = y->operands[0], *b = y->operands[1];
  if (pass->active[a->id]) contribute(pass, a, times(pass, g, finite_part(pass, b)));
  if (pass->active[b->id]) contribute(pass, b, times(pass, a, g));
}

static void pull_mul(Pass *pass, Node *y, Node *g) {
  Node *a = y->operands[0], *b = y->operands[1];
  if (pass->active[a->id]) contribute(pass, a, times(pass, g, b));
  if (pass->active[b->id]) contribute(pass, b, times(pass, g, a));
}

static void pull_polygamma(Pass *pass, Node *y, Node *g) {
  Node *order = y->operands[0], *x = y->operands[1];
  assert(!pass->active[order->id]);
  Node *next = binary(pass, IR_add, order, number(pass, 1, order));
  contribute(pass, x, times(pass, g, binary(pass, IR_polygamma, next, x)));
}

/* The order of a special function is a constant. */
static Node *of_order(Pass *pass, Op op, double change, Node *order, Node *x) {
  return binary(pass, op, binary(pass, IR_add, order, number(pass, change, order)), x);
}

static void pull_stirling(Pass *pass, Node *y, Node *g) {
  Node *order = y->operands[0], *x = y->operands[1];
  assert(!pass->active[order->id]);
  contribute(pass, x, times(pass, g, of_order(pass, IR_stirling, 1, order, x)));
}

/* y = e^x E_n(x): y' = ((n - 1) y - n e^x E_(n+1)(x)) / x, which cancels nothing at n = 1, where y' is negative. */
static void pull_exponential_integral(Pass *pass, Node *y, Node *g) {
  Node *order = y->operands[0], *x = y->operands[1];
  assert(!pass->active[order->id]);
  Node *less = binary(pass, IR_mul, binary(pass, IR_sub, order, number(pass, 1, order)), y);
  Node *more = binary(pass, IR_mul, order, of_order(pass, IR_exponential_integral, 1, order, x));
  contribute(pass, x, times(pass, g, binary(pass, IR_div, binary(pass, IR_sub, less, more), x)));
}

/* In u: one over the density at the quantile. In a shape: by an op of its own. */
static void pull_gamma_quantile(Pass *pass, Node *y, Node *g) {
  Node *u = y->operands[0], *shape = y->operands[1];
  if (pass->active[u->id]) { /* exp(y + lgamma(shape) - (shape - 1) log y) */
    Node *power = binary(pass, IR_mul, binary(pass, IR_sub, shape, number(pass, 1, shape)), unary(pass, IR_log, y));
    Node *whole = binary(pass, IR_sub, binary(pass, IR_add, y, unary(pass, IR_lgamma, shape)), power);
    contribute(pass, u, times(pass, g, unary(pass, IR_exp, whole)));
  }
  if (pass->active[shape->id]) contribute(pass, shape, times(pass, g, binary(pass, IR_gamma_quantile_slope, u, shape)));
}

static Node *less_one_times_log(Pass *pass, Node *shape, Node *logarithm) {
  return binary(pass, IR_mul, binary(pass, IR_sub, shape, number(pass, 1, shape)), logarithm);
}

static void pull_beta_quantile(Pass *pass, Node *y, Node *g) {
  Node *u = y->operands[0], *a = y->operands[1], *b = y->operands[2];
  if (pass->active[u->id]) {
    Node *log_beta = binary(pass, IR_sub, binary(pass, IR_add, unary(pass, IR_lgamma, a), unary(pass, IR_lgamma, b)),
                            unary(pass, IR_lgamma, binary(pass, IR_add, a, b)));
    Node *of_y = less_one_times_log(pass, a, unary(pass, IR_log, y));
    Node *of_rest = less_one_times_log(pass, b, unary(pass, IR_log1p, unary(pass, IR_neg, y)));
    Node *whole = binary(pass, IR_sub, log_beta, binary(pass, IR_add, of_y, of_rest));
    contribute(pass, u, times(pass, g, unary(pass, IR_exp, whole)));
  }
  if (pass->active[a->id])
    contribute(pass, a, times(pass, g, build_map3(pass->graph, IR_beta_quantile_slope_a, u, a, b)));
  if (pass->active[b->id])
    contribute(pass, b, times(pass, g, build_map3(pass->graph, IR_beta_quantile_slope_b, u, a, b)));
}

/* An op that can be differentiated once, and has been. */
static void refuse(Pass *pass, const Node *y) {
  const char *what = y->op == IR_gamma_quantile_slope   ? "`gamma_quantile` in its shapes"
                     : y->op == IR_subset_moments_slope ? "sums over subsets of a given size"
                     : y->op == IR_relaxed_subset_slope || y->op == IR_picks_kl_slope
                         ? "relaxed picks without replacement"
                     : y->op == IR_sparsemap_slope  ? "`sparsemap`"
                     : y->op == IR_low_rank_weights ? "the log probability of a category, a softmax of few factors,"
                                                    : "`beta_quantile` in its shapes";
  error_at(pass->graph->compilation, "not-supported", y->span, "the derivative of %s cannot be differentiated again",
           what);
}

static void pull_spread(Pass *pass, Node *y, Node *g) {
  if (!y->exclusive) { /* summed over the new axes there */
    contribute(pass, y->operands[0], y->reverse ? build_underivable(pass->graph, g) : g);
    return;
  }
  Diagnostic *d =
      error_at(pass->graph->compilation, "second-derivative", y->span,
               "this is taken by quadrature, which can be differentiated once; a second derivative is asked for");
  help_with(d, "declare a closed form, `rule kl(...) = ...;`, or take it by monte_carlo");
}

static void pull_several(Pass *pass, Node *y, Node *g) {
  Node *a = y->operands[0], *b = y->operands[1];
  switch (y->op) {
  case IR_add:
    contribute(pass, a, g);
    contribute(pass, b, g);
    return;
  case IR_sub:
    contribute(pass, a, g);
    contribute(pass, b, unary(pass, IR_neg, g));
    return;
  case IR_mul: pull_mul(pass, y, g); return;
  case IR_div: pull_div(pass, y, g); return;
  case IR_pow: pull_pow(pass, y, g); return;
  case IR_max:
  case IR_min: pull_choice(pass, y, g); return;
  case IR_mod: pull_mod(pass, y, g); return;
  case IR_adjoint_times: pull_adjoint_times(pass, y, g); return;
  case IR_polygamma: pull_polygamma(pass, y, g); return;
  case IR_stirling: pull_stirling(pass, y, g); return;
  case IR_exponential_integral: pull_exponential_integral(pass, y, g); return;
  case IR_gamma_quantile: pull_gamma_quantile(pass, y, g); return;
  case IR_beta_quantile: pull_beta_quantile(pass, y, g); return;
  case IR_gamma_quantile_slope:
  case IR_beta_quantile_slope_a:
  case IR_beta_quantile_slope_b: refuse(pass, y); return;
  case IR_select:
    contribute(pass, b, where(pass, a, g));
    contribute(pass, y->operands[2], where_not(pass, a, g));
    return;
  case OPS_COMPARISON: return;
  case OPS_UNARY:
  case OPS_NOT_ELEMENTWISE: assert(false); return;
  }
}

/* --- views --- */

static unsigned new_dims(const Node *expand) {
  unsigned mask = (1u << expand->shape.rank) - 1;
  for (int d = 0; d < expand->operands[0]->shape.rank; d++) mask &= ~(1u << expand->map[d]);
  return mask;
}

static Node *unpermuted(Pass *pass, const Node *permute, Node *g) {
  int inverse[MAX_RANK] = {0};
  for (int d = 0; d < permute->shape.rank; d++) inverse[permute->map[d]] = d;
  return build_permute(pass->graph, g, inverse);
}

static void pull_concat(Pass *pass, Node *y, Node *g) {
  long start = 0;
  for (int i = 0; i < y->operand_count; i++) {
    Dim extent = y->operands[i]->shape.dims[y->dim];
    if (pass->active[y->operands[i]->id])
      contribute(pass, y->operands[i], build_slice(pass->graph, g, y->dim, start, extent));
    start += (long)extent.size;
  }
}

/* --- reductions --- */

/* g with the dims back that were reduced away. */
static Node *unreduced(Pass *pass, const Node *y, Node *g) {
  int map[MAX_RANK] = {0}, kept = 0;
  for (int d = 0; d < y->operands[0]->shape.rank; d++)
    if (!(y->dims_mask >> d & 1)) map[kept++] = d;
  return build_expand(pass->graph, g, &y->operands[0]->shape, map);
}

/* Among equal maxima the first. */
static void pull_max_of(Pass *pass, Node *y, Node *g) {
  Node *x = y->operands[0], *mask = build_first_max_mask(pass->graph, x, y->dims_mask);
  contribute(pass, x, where(pass, mask, unreduced(pass, y, g)));
}

static void pull_max_over(Pass *pass, Node *y, Node *g) {
  Node *x = y->operands[0], *mask = build_first_max_mask_over(pass->graph, x, y->axes_attribute);
  contribute(pass, x, where(pass, mask, g));
}

/* --- products --- */

/* The adjoint of one operand of a contract is the contract of g with the other operand; the axes that this operand
 * lacks are summed in the same product. Axes that were summed away and that neither has are spread by contribute. In a
 * sum of products no single adjoint can rule out an infinite factor, so poles are taken out of the other operand; not
 * what only an overflow could make infinite, since that would cost every product a copy of its operand. */
static void pull_contract_operand(Pass *pass, Node *y, Node *g, int which) {
  Node *x = y->operands[which];
  if (!pass->active[x->id]) return;
  Node *other = y->operands[1 - which];
  if (!other->facts.pole_free) other = finite_part(pass, other);
  const int *labels_x = which == 0 ? y->labels_a : y->labels_b, *labels_other = which == 0 ? y->labels_b : y->labels_a;
  unsigned summed = (g->axes | other->axes) & ~x->axes;
  contribute(pass, x,
             build_contract(pass->graph, g, y->labels_out, other, labels_other, x->shape.rank, labels_x, summed));
}

static void pull_contract(Pass *pass, Node *y, Node *g) {
  pull_contract_operand(pass, y, g, 0);
  pull_contract_operand(pass, y, g, 1);
}

/* l x = b: the adjoint of b solves the transposed, l' c = g, and that of l is the lower part of -c x'. */
static void pull_solve(Pass *pass, Node *y, Node *g) {
  Graph *graph = pass->graph;
  Node *l = y->operands[0], *c = build_solve_triangular(graph, l, g, !y->reverse);
  contribute(pass, y->operands[1], c);
  if (!pass->active[l->id]) return;
  int rank = y->shape.rank, rows[MAX_RANK], columns[MAX_RANK], both[MAX_RANK];
  for (int d = 0; d < rank; d++) rows[d] = columns[d] = both[d] = d;
  columns[rank - 1] = both[rank] = rank;
  Node *left = y->reverse ? y : c, *right = y->reverse ? c : y;
  unsigned summed = (left->axes | right->axes) & ~l->axes;
  Node *outer = build_contract(graph, left, rows, right, columns, rank + 1, both, summed);
  contribute(pass, l, build_lower_part(graph, unary(pass, IR_neg, outer)));
}

/* One of the two lines of a result [.., 2, n]. */
static Node *one_line(Pass *pass, Node *both, int which) {
  Graph *graph = pass->graph;
  int rank = both->shape.rank;
  Shape shape = shape_without(&both->shape, 1u << (rank - 2));
  return build_reshape(graph, build_slice(graph, both, rank - 2, which, dim_number(1)), &shape);
}

/* Members are lines of bits and a weight: one of the two parts. */
static Node *part_of_members(Pass *pass, Node *lines, bool weights) {
  Graph *graph = pass->graph;
  int last = lines->shape.rank - 1;
  Dim line = lines->shape.dims[last];
  if (!weights) return build_stop(graph, build_slice(graph, lines, last, 0, dim_number(line.size - 1)));
  Shape shape = shape_without(&lines->shape, 1u << last);
  return build_reshape(graph, build_slice(graph, lines, last, (long)line.size - 1, dim_number(1)), &shape);
}

/* On the support the weights are scores less their mean, and a score is the sum of the member's bits'. */
static void pull_top_k_members(Pass *pass, Node *y, Node *g) {
  Graph *graph = pass->graph;
  Node *bits = part_of_members(pass, y, false), *weights = part_of_members(pass, y, true);
  Node *zero = build_filled_like(graph, 0, weights), *on = build_map2(graph, IR_less, zero, weights);
  int last = weights->shape.rank - 1, both[MAX_RANK], line[MAX_RANK], out[MAX_RANK];
  Node *slope = build_map3(graph, IR_select, on, part_of_members(pass, g, true), zero);
  Node *mean = build_map2(graph, IR_div, build_sum(graph, slope, 1u << last), build_sum(graph, on, 1u << last));
  for (int d = 0; d <= last; d++) both[d] = line[d] = out[d] = d;
  both[last + 1] = out[last] = last + 1;
  mean = build_expand(graph, mean, &weights->shape, line);
  slope = build_map3(graph, IR_select, on, build_map2(graph, IR_sub, slope, mean), zero);
  unsigned summed = (bits->axes | slope->axes) & ~y->operands[0]->axes;
  contribute(pass, y->operands[0], build_contract(graph, bits, both, slope, line, last + 1, out, summed));
}

static void pull_sparsemap_members(Pass *pass, Node *y, Node *g) {
  Node *operands[] = {build_stop(pass->graph, y), part_of_members(pass, g, true)};
  contribute(pass, y->operands[0], build_line(pass->graph, IR_sparsemap_slope, operands, 0));
}

static void pull_subset_moments(Pass *pass, Node *y, Node *g) {
  Node *operands[] = {y->operands[0], y->operands[1], g};
  Node *slope = build_line(pass->graph, IR_subset_moments_slope, operands, 0);
  for (int k = 0; k < 2; k++) contribute(pass, y->operands[k], one_line(pass, slope, k));
}

/* An inclusion probability is the slope of a mean in what its member is worth: with the adjoint as worths, the sum of
 * adjoint times inclusion is a mean, weighted over sizes. */
static void pull_subset_inclusion(Pass *pass, Node *y, Node *g) {
  Graph *graph = pass->graph;
  Node *a = y->operands[0], *weight = y->operands[1];
  int rank = weight->shape.rank;
  Shape line = weight->shape;
  long few = (long)line.dims[rank - 1].size;
  if (pass->active[weight->id])
    contribute(pass, weight,
               build_reshape(graph, one_line(pass, build_line(graph, IR_subset_moments, (Node *[]){a, g}, few), 1),
                             &weight->shape));
  if (!pass->active[a->id]) return;
  line.dims[rank] = line.dims[rank - 1];
  line.dims[rank - 1] = dim_number(1);
  line.rank = rank + 1;
  Node *of_means = build_pad(graph, build_reshape(graph, weight, &line), rank - 1, 1, dim_number(2));
  Node *slope = build_line(graph, IR_subset_moments_slope, (Node *[]){a, g, of_means}, 0);
  contribute(pass, a, one_line(pass, slope, 0));
}

/* The slope holds the adjoints of all operands end to end. */
static void pull_picks(Pass *pass, Node *y, Node *g) {
  Graph *graph = pass->graph;
  Op op = y->op == IR_picks_kl ? IR_picks_kl_slope : IR_relaxed_subset_slope;
  Node *operands[LINE_OPERANDS];
  for (int k = 0; k < y->operand_count; k++) operands[k] = y->operands[k];
  operands[y->operand_count] = g;
  Node *slope = build_line(graph, op, operands, 0);
  long start = 0;
  for (int k = 0; k < y->operand_count; k++) {
    Node *x = y->operands[k];
    Dim length = line_op(op)->own_dims[k] > 0 ? x->shape.dims[x->shape.rank - 1] : dim_number(1);
    if (pass->active[x->id]) {
      Node *part = build_slice(graph, slope, slope->shape.rank - 1, start, length);
      contribute(pass, x, build_reshape(graph, part, &x->shape));
    }
    start += (long)length.size;
  }
}

/* sparsemax and entmax: with w = y^(2 - alpha) on the support, else 0, the adjoint is w (g - <w, g> / <w, 1>). */
static void pull_projection(Pass *pass, Node *y, Node *g) {
  Graph *graph = pass->graph;
  Node *on = is_positive(pass, y), *w = on;
  int last = y->shape.rank - 1, map[MAX_RANK];
  for (int d = 0; d < last; d++) map[d] = d;
  if (y->op == IR_entmax) {
    Node *power =
        build_expand(graph, binary(pass, IR_sub, number(pass, 2, y->operands[1]), y->operands[1]), &y->shape, map);
    w = where(pass, on, binary(pass, IR_pow, where(pass, on, y), power));
  }
  Node *product = build_sum(graph, times(pass, g, w), 1u << last), *total = build_sum(graph, w, 1u << last);
  Node *mean = build_expand(graph, binary(pass, IR_div, product, total), &y->shape, map);
  contribute(pass, y->operands[0], where(pass, on, binary(pass, IR_mul, w, binary(pass, IR_sub, g, mean))));
}

/* The slopes in the factors came along; adjoints are of the log probability alone. */
static void pull_low_rank_fit(Pass *pass, Node *y, Node *g) {
  Graph *graph = pass->graph;
  Node *f = y->operands[0], *w = y->operands[1], *b = y->operands[2], *x = y->operands[3];
  int last = f->shape.rank - 1, map[MAX_RANK];
  Dim rank = w->shape.dims[1];
  for (int d = 0; d < last; d++) map[d] = d;
  Node *of_fit = build_reshape(graph, build_slice(graph, g, last, 0, dim_number(1)), &x->shape);
  Node *slopes = build_underivable(graph, build_slice(graph, y, last, 1, rank));
  contribute(pass, f, times(pass, build_expand(graph, of_fit, &slopes->shape, map), slopes));
  if (!pass->active[w->id] && !pass->active[b->id]) return;
  Node *both = build_low_rank_weights(graph, f, w, b, x, build_stop(graph, y), of_fit, y->start);
  contribute(pass, w, build_slice(graph, both, 1, 0, rank));
  contribute(pass, b, build_reshape(graph, build_slice(graph, both, 1, (long)rank.size, dim_number(1)), &b->shape));
}

/* convolve, its transpose in the images and its transpose in the filters: the adjoints of each are the other two. Poles
 * are taken out of the other operand, as in contract. */
static void pull_convolution(Pass *pass, Node *y, Node *g) {
  Graph *graph = pass->graph;
  for (int which = 0; which < 2; which++) {
    Node *x = y->operands[which], *other = y->operands[1 - which], *adjoint;
    if (!pass->active[x->id]) continue;
    if (!other->facts.pole_free) other = finite_part(pass, other);
    unsigned summed = (g->axes | other->axes) & ~x->axes;
    bool filters = which == 1 && y->op != IR_convolve_filters;
    if (filters) /* the features are g of a convolve, and the operand of its transpose */
      adjoint = build_convolve_filters(graph, y->op == IR_convolve ? other : g, y->op == IR_convolve ? g : other,
                                       &x->shape, y->stride, y->padding, summed);
    else if (y->op == IR_convolve_transpose)
      adjoint = build_convolve(graph, g, other, y->stride, y->padding);
    else if (y->op == IR_convolve)
      adjoint = build_convolve_transpose(graph, g, other, y->stride, y->padding);
    else if (which == 0)
      adjoint = build_convolve_transpose(graph, other, g, y->stride, y->padding);
    else
      adjoint = build_convolve(graph, other, g, y->stride, y->padding);
    contribute(pass, x, adjoint);
  }
}

/* [.., n, m] -> [.., m, n] */
static Node *transposed(Graph *graph, Node *x) {
  int map[MAX_RANK], rank = x->shape.rank;
  for (int d = 0; d < rank; d++) map[d] = d;
  map[rank - 2] = rank - 1;
  map[rank - 1] = rank - 2;
  return build_permute(graph, x, map);
}

/* Each row of b is the right side of l' x = row. */
static Node *solve_rows(Graph *graph, Node *l, Node *b) {
  int map[MAX_RANK], rank = l->shape.rank;
  Shape shape = b->shape;
  shape.dims[shape.rank++] = l->shape.dims[rank - 1];
  for (int d = 0; d < rank; d++) map[d] = d < rank - 2 ? d : d + 1;
  return build_solve_triangular(graph, build_expand(graph, l, &shape, map), b, true);
}

static Node *without_diagonal(Pass *pass, Node *x, double part) {
  Node *diagonal = build_embed_diagonal(pass->graph, build_diagonal(pass->graph, x));
  return binary(pass, IR_sub, x, scaled(pass, part, diagonal));
}

/* l l' = a: with p the lower part of l' g and half its diagonal, s = l^-T p l^-1, the adjoint is that of s + s', of
 * which only the lower part was read (Murray 2016, "Differentiation of the Cholesky decomposition"). */
static void pull_cholesky(Pass *pass, Node *y, Node *g) {
  Graph *graph = pass->graph;
  int rank = y->shape.rank, left[MAX_RANK], right[MAX_RANK], out[MAX_RANK];
  for (int d = 0; d < rank; d++) left[d] = right[d] = out[d] = d;
  left[rank - 2] = right[rank - 2] = rank; /* summed: the rows of l and of g */
  left[rank - 1] = rank - 2;
  Node *product = build_contract(graph, y, left, g, right, rank, out, 0);
  Node *p = build_lower_part(graph, without_diagonal(pass, product, 0.5));
  Node *q = transposed(graph, solve_rows(graph, y, transposed(graph, p)));
  Node *s = solve_rows(graph, y, q);
  Node *both = build_lower_part(graph, binary(pass, IR_add, s, transposed(graph, s)));
  contribute(pass, y->operands[0], without_diagonal(pass, both, 0.5));
}

/* --- the table: every op and how its adjoint reaches its operands --- */

static void pull(Pass *pass, Node *y, Node *g) {
  Graph *graph = pass->graph;
  Node *x = y->operand_count > 0 ? y->operands[0] : NULL;
  switch (y->op) {
  case OPS_LEAF: return;
  case OPS_UNARY: pull_unary(pass, y, g); return;
  case OPS_BINARY:
  case OPS_TERNARY: pull_several(pass, y, g); return;

  case IR_expand: contribute(pass, x, build_sum(graph, g, new_dims(y))); return;
  case IR_reshape: contribute(pass, x, build_reshape(graph, g, &x->shape)); return;
  case IR_permute: contribute(pass, x, unpermuted(pass, y, g)); return;
  case IR_slice: contribute(pass, x, build_pad(graph, g, y->dim, y->start, x->shape.dims[y->dim])); return;
  case IR_pad: contribute(pass, x, build_slice(graph, g, y->dim, y->start, x->shape.dims[y->dim])); return;
  case IR_concat: pull_concat(pass, y, g); return;
  case IR_spread: pull_spread(pass, y, g); return;
  case IR_stop: return;

  case IR_sum: contribute(pass, x, unreduced(pass, y, g)); return;
  case IR_max_of: pull_max_of(pass, y, g); return;
  case IR_first_max_mask: return;
  case IR_cumsum: contribute(pass, x, build_cumsum(graph, g, y->dim, !y->reverse, y->exclusive)); return;

  case IR_sum_over: contribute(pass, x, g); return; /* spread over the summed axes there */
  case IR_max_over: pull_max_over(pass, y, g); return;
  case IR_first_max_mask_over:
  case IR_top_mask_over: return;
  case IR_pick: contribute(pass, x, build_place(graph, g, support_axis(y))); return;
  case IR_place: contribute(pass, x, build_pick(graph, g, support_axis(y))); return;

  case IR_top_mask:
  case IR_subset_draw: return;
  case IR_subset_moments: pull_subset_moments(pass, y, g); return;
  case IR_subset_inclusion: pull_subset_inclusion(pass, y, g); return;
  case IR_relaxed_subset:
  case IR_picks_kl: pull_picks(pass, y, g); return;
  case IR_relaxed_subset_slope:
  case IR_picks_kl_slope:
  case IR_subset_moments_slope:
  case IR_sparsemap_slope: refuse(pass, y); return;
  case IR_top_k_members: pull_top_k_members(pass, y, g); return;
  case IR_sparsemap_members: pull_sparsemap_members(pass, y, g); return;
  case IR_cholesky: pull_cholesky(pass, y, g); return;
  case IR_sparsemax:
  case IR_entmax: pull_projection(pass, y, g); return;

  case IR_contract: pull_contract(pass, y, g); return;

  case IR_diagonal: contribute(pass, x, build_embed_diagonal(graph, g)); return;
  case IR_embed_diagonal: contribute(pass, x, build_diagonal(graph, g)); return;
  case IR_lower_part: contribute(pass, x, build_lower_part(graph, g)); return;
  case IR_low_rank_fit: pull_low_rank_fit(pass, y, g); return;
  case IR_low_rank_weights: refuse(pass, y); return;
  case OPS_CONVOLUTION: pull_convolution(pass, y, g); return;
  case IR_solve_triangular: pull_solve(pass, y, g); return;
  case IR_inner_noise:
  case IR_repeat:
  case IR_repeat_result: return;
  case OP_COUNT: break;
  }
  assert(false);
}

/* --- the pass --- */

static void mark_active(Pass *pass, int count, Node **with_respect_to, int wanted) {
  for (int i = 0; i < wanted; i++)
    if (with_respect_to[i]->id < count) pass->active[with_respect_to[i]->id] = true;
  for (int i = 0; i < count; i++) {
    const Node *node = pass->graph->nodes[i];
    OpDerivative kind = op_table[node->op].derivative;
    bool passes = kind == DERIVATIVE_CLOSED || kind == DERIVATIVE_ONCE || kind == DERIVATIVE_NEVER;
    for (int k = 0; k < node->operand_count && passes; k++) pass->active[i] |= pass->active[node->operands[k]->id];
  }
}

void differentiate(Graph *graph, Node *of, Node **with_respect_to, int count, Node **adjoints) {
  assert(of->axes == 0 && of->shape.rank == 0);
  int nodes = of->id + 1; /* later ones cannot matter */
  Pass pass = {.graph = graph,
               .adjoints = arena_array(graph->compilation, Node *, nodes),
               .active = arena_array(graph->compilation, bool, nodes)};
  mark_active(&pass, nodes, with_respect_to, count);
  if (pass.active[of->id]) pass.adjoints[of->id] = build_constant(graph, 1);
  Span here = graph->current;
  for (int id = of->id; id >= 0; id--) {
    Node *node = graph->nodes[id];
    if (pass.adjoints[id] == NULL) continue;
    build_at(graph, node->span);
    pull(&pass, node, pass.adjoints[id]);
  }
  build_at(graph, here);
  for (int i = 0; i < count; i++) {
    Node *x = with_respect_to[i], *adjoint = x->id < nodes ? pass.adjoints[x->id] : NULL;
    adjoints[i] = adjoint != NULL ? adjoint : build_filled_like(graph, 0, x);
  }
}
