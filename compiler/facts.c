/* Facts: what is provable of every element of a node, one rule an op, by interval arithmetic on its operands' facts.
 * The bounds are those of real arithmetic. `finite` must hold of floats as well, so it asks for operands that stay
 * clear of a pole by a margin, where above_low alone (exp(x) > 0) would do for mathematics but not after underflow. */
#include <math.h>

#include "ir_parts.h"

static const double safely_positive = 1e-30; /* its reciprocal and its logarithm are far from overflow in float */
static const double safe_exponent = 80;      /* exp of it is far from overflow in float */
static const double most_rows = 1e15;        /* and steps; so that one over it is provably not 0 */
static const double largest_float = 3.4028234663852886e38;

static Facts between(double low, double high, bool finite) {
  return (Facts){.low = low, .high = high, .finite = finite};
}

static Facts anything(bool finite) { return between(-INFINITY, INFINITY, finite); }

static const Facts boolean = {.low = 0, .high = 1, .integer = true, .finite = true};

static bool away_from_zero(Facts f) { return f.low >= safely_positive || f.high <= -safely_positive; }

static bool positive(Facts f) { return f.low > 0 || (f.low == 0 && f.above_low); }

/* --- arithmetic of intervals --- */

static Facts negated(Facts f) {
  return (Facts){.low = -f.high,
                 .high = -f.low,
                 .above_low = f.below_high,
                 .below_high = f.above_low,
                 .integer = f.integer,
                 .finite = f.finite};
}

static Facts sum_of(Facts a, Facts b) {
  double low = a.low + b.low, high = a.high + b.high;
  return (Facts){.low = isnan(low) ? -INFINITY : low, /* infinite constants */
                 .high = isnan(high) ? INFINITY : high,
                 .above_low = a.above_low || b.above_low,
                 .below_high = a.below_high || b.below_high,
                 .integer = a.integer && b.integer,
                 .finite = a.finite && b.finite};
}

static double bound_product(double a, double b) {
  return a == 0 || b == 0 ? 0 : a * b; /* an infinite bound is never attained */
}

static Facts product_of(Facts a, Facts b) {
  double corners[] = {bound_product(a.low, b.low), bound_product(a.low, b.high), bound_product(a.high, b.low),
                      bound_product(a.high, b.high)};
  Facts f = between(corners[0], corners[0], a.finite && b.finite);
  for (int i = 1; i < 4; i++) {
    f.low = fmin(f.low, corners[i]);
    f.high = fmax(f.high, corners[i]);
  }
  f.integer = a.integer && b.integer;
  if (a.low >= 0 && b.low >= 0) { /* the signs for which strictness matters: products of positive things */
    f.above_low = f.low == 0 ? positive(a) && positive(b) : a.above_low || b.above_low;
    f.below_high = isfinite(f.high) && a.high > 0 && b.high > 0 && (a.below_high || b.below_high);
  }
  return f;
}

static Facts square_of(Facts a) {
  double largest = fmax(fabs(a.low), fabs(a.high));
  double smallest = a.low > 0 ? a.low : a.high < 0 ? -a.high : 0;
  Facts f = between(smallest * smallest, largest * largest, a.finite);
  f.above_low = smallest == 0 && (positive(a) || positive(negated(a)));
  f.integer = a.integer;
  return f;
}

static Facts quotient_of(Facts a, Facts b) {
  if (positive(negated(b))) {
    a = negated(a);
    b = negated(b);
  }
  bool finite = a.finite && b.finite && away_from_zero(b);
  if (!positive(b)) return anything(finite);
  Facts inverse = between(1 / b.high, b.low > 0 ? 1 / b.low : INFINITY, finite);
  inverse.above_low = b.below_high || isinf(b.high);
  inverse.below_high = b.above_low;
  Facts f = product_of(a, inverse);
  f.finite = finite;
  f.integer = false;
  return f;
}

static Facts hull(Facts a, Facts b) {
  Facts f = between(fmin(a.low, b.low), fmax(a.high, b.high), a.finite && b.finite);
  f.above_low = (a.low > f.low || a.above_low) && (b.low > f.low || b.above_low);
  f.below_high = (a.high < f.high || a.below_high) && (b.high < f.high || b.below_high);
  f.integer = a.integer && b.integer;
  return f;
}

static Facts larger_of(Facts a, Facts b) {
  Facts f = hull(a, b);
  const Facts *lower = a.low > b.low || (a.low == b.low && a.above_low) ? &a : &b;
  f.low = lower->low;
  f.above_low = lower->above_low;
  return f;
}

static Facts smaller_of(Facts a, Facts b) { return negated(larger_of(negated(a), negated(b))); }

/* An increasing function with the given values at the ends of the line. */
static Facts increasing(double (*function)(double), Facts a, double at_minus_infinity, double at_infinity,
                        bool finite) {
  double low = isinf(a.low) && a.low < 0 ? at_minus_infinity : function(a.low);
  double high = isinf(a.high) && a.high > 0 ? at_infinity : function(a.high);
  Facts f = between(low, high, finite);
  f.above_low = a.above_low || (isinf(a.low) && isfinite(low));
  f.below_high = a.below_high || (isinf(a.high) && isfinite(high));
  return f;
}

static double sigmoid_of(double x) { return elementwise_value(IR_sigmoid, (double[]){x, 0, 0}); }

static double softplus_of(double x) { return elementwise_value(IR_softplus, (double[]){x, 0, 0}); }

/* --- one rule an op --- */

static bool is_placeholder(Op op) { return op == IR_carried || op == IR_round || op == IR_captured; }

static Facts facts_of_leaf(const Graph *graph, const Node *node) {
  const Signature *s = graph->signature;
  if (node->op == IR_constant) {
    Facts f = between(node->number, node->number, isfinite(node->number));
    f.integer = node->number == floor(node->number);
    return isnan(node->number) ? anything(false) : f;
  }
  if (node->op == IR_table) {
    Facts f = between(node->table[0], node->table[0], true);
    f.integer = true;
    for (long i = 0; i < shape_size(&node->shape); i++) {
      double value = node->table[i];
      if (isnan(value)) return anything(false);
      f.low = fmin(f.low, value);
      f.high = fmax(f.high, value);
      f.integer = f.integer && value == floor(value);
      f.finite = f.finite && isfinite(value);
    }
    return f;
  }
  if (node->op == IR_parameter && s->parameters[node->index].held) return *s->parameters[node->index].held;
  if (node->op == IR_given) return s->givens[node->index].facts;
  if (node->op == IR_data) {
    Facts f = s->data[node->index].facts;
    f.finite = !s->data[node->index].missing_ok; /* missing entries are NaN */
    return f;
  }
  bool noise = node->op == IR_noise || node->op == IR_inner_noise;
  if (noise && s->noises[node->index].kind == NOISE_UNIFORM)
    return between(0x1p-24, 1 - 0x1p-24, true); /* its smallest and its largest value */
  if (is_placeholder(node->op)) return node->facts;
  if (node->op == IR_setting) {
    if (node->index == SETTING_MORE_WHERE || node->index == SETTING_MORE_ELSE) return between(-1, 1, true);
    bool counts_rows = node->index == SETTING_ROWS_IN_BATCH || node->index == SETTING_TOTAL_ROWS;
    Facts f = between(counts_rows ? 1 : 0, most_rows, true);
    f.integer = true;
    return f;
  }
  return anything(true); /* parameters, states, normal noise */
}

static Facts facts_of_abs(Facts a) {
  Facts f = a;
  if (a.low < 0) f = a.high <= 0 ? negated(a) : between(0, fmax(-a.low, a.high), a.finite);
  f.integer = a.integer;
  return f;
}

static Facts facts_of_relu(Facts a) {
  if (a.low > 0 || positive(a)) return a;
  Facts f = between(0, fmax(a.high, 0), a.finite);
  f.below_high = a.below_high && a.high > 0;
  f.integer = a.integer;
  return f;
}

static Facts facts_of_sign(Facts a) {
  Facts f = between(a.low >= 0 ? 0 : -1, a.high <= 0 ? 0 : 1, a.finite);
  f.integer = true;
  return f;
}

static Facts facts_of_logarithm(Op op, Facts a) {
  double offset = op == IR_log1p ? 1 : 0;
  Facts shifted = sum_of(a, between(offset, offset, true));
  if (shifted.low < 0) return anything(false);
  bool finite = a.finite && shifted.low >= (op == IR_log1p ? 5e-8 : safely_positive);
  Facts f = between(shifted.low == 0 ? -INFINITY : log(shifted.low), log(shifted.high), finite);
  f.above_low = a.above_low && isfinite(f.low);
  f.below_high = a.below_high && isfinite(f.high);
  return f;
}

static Facts facts_of_unary(Op op, Facts a) {
  bool finite = a.finite, moderate = a.finite && a.high <= safe_exponent, pole_free = a.finite && a.low >= 1e-6;
  switch (op) {
  case IR_neg: return negated(a);
  case IR_abs: return facts_of_abs(a);
  case IR_sign: return facts_of_sign(a);
  case IR_sqrt: return a.low >= 0 ? increasing(sqrt, a, 0, INFINITY, finite) : between(0, INFINITY, false);
  case IR_exp: return increasing(exp, a, 0, INFINITY, moderate);
  case IR_expm1: return increasing(expm1, a, -1, INFINITY, moderate);
  case IR_log: return facts_of_logarithm(op, a);
  case IR_log1p: return facts_of_logarithm(op, a);
  case IR_sin: return between(-1, 1, finite);
  case IR_cos: return between(-1, 1, finite);
  case IR_tan: return anything(false);
  case IR_tanh: return increasing(tanh, a, -1, 1, finite);
  case IR_sigmoid: return increasing(sigmoid_of, a, 0, 1, finite);
  case IR_softplus: return increasing(softplus_of, a, 0, INFINITY, finite);
  case IR_relu: return facts_of_relu(a);
  case IR_erf: return increasing(erf, a, -1, 1, finite);
  case IR_floor: {
    Facts f = between(floor(a.low), floor(a.high), finite);
    f.integer = true;
    return f;
  }
  case IR_lgamma: return anything(pole_free);
  case IR_digamma: return anything(pole_free);
  case IR_not: return boolean;
  case OPS_BINARY:
  case OPS_TERNARY:
  case OPS_NOT_ELEMENTWISE: break;
  }
  return anything(false);
}

static Facts facts_of_pow(Facts base, Facts exponent) {
  bool constant = exponent.low == exponent.high;
  bool whole = constant && exponent.integer;
  bool finite = base.finite && exponent.finite;
  if (whole && exponent.low >= 0) {
    bool even = fmod(exponent.low, 2) == 0;
    return even || base.low >= 0 ? between(0, INFINITY, finite) : anything(finite);
  }
  if (base.low < 0) return anything(false);
  bool sound = (exponent.low >= 0 && isfinite(exponent.high)) || (away_from_zero(base) && isfinite(exponent.low));
  Facts f = between(0, base.high <= 1 && exponent.low >= 0 ? 1 : INFINITY, finite && sound);
  f.above_low = positive(base);
  return f;
}

static Facts facts_of_mod(Facts a, Facts b) {
  Facts f = anything(a.finite && b.finite && away_from_zero(b));
  if (positive(b)) {
    f.low = 0;
    f.high = b.high;
    f.below_high = isfinite(b.high);
  }
  f.integer = a.integer && b.integer;
  return f;
}

/* Draws of a gamma or a beta distribution are held strictly inside their supports (runtime/special.h). */
static Facts quantile_facts(Facts u, Facts a, Facts b, double high) {
  bool sound = u.finite && a.finite && b.finite && (u.low > 0 || positive(u)) && (u.high < 1 || u.below_high);
  Facts f = between(1e-38, high, sound && positive(a) && positive(b));
  f.below_high = true;
  return f;
}

static Facts facts_of_binary(const Node *node, Facts a, Facts b) {
  bool same = node->operands[0] == node->operands[1];
  switch (node->op) {
  case IR_add: return sum_of(a, b);
  case IR_sub: return sum_of(a, negated(b));
  case IR_mul: return same ? square_of(a) : product_of(a, b);
  case IR_adjoint_times: {
    Facts f = product_of(a, b);
    return f.finite ? f : hull(f, between(0, 0, false));
  }
  case IR_div: return quotient_of(a, b);
  case IR_pow: return facts_of_pow(a, b);
  case IR_max: return larger_of(a, b);
  case IR_min: return smaller_of(a, b);
  case IR_mod: return facts_of_mod(a, b);
  case IR_polygamma: return anything(b.finite && b.low >= 1e-6 && a.high <= 4);
  case IR_stirling: return anything(b.finite && b.low >= 1e-6 && a.high <= 4);
  case IR_exponential_integral: return between(0, INFINITY, b.finite && b.low >= safely_positive);
  case IR_gamma_quantile: return quantile_facts(a, b, b, INFINITY);
  case IR_gamma_quantile_slope: return anything(false);
  case OPS_COMPARISON: return boolean;
  case OPS_UNARY:
  case OPS_TERNARY:
  case OPS_NOT_ELEMENTWISE: break;
  }
  return anything(false);
}

/* abs(x) <= largest float ? x : y guards against every value of x that is not finite. */
static bool guards_finiteness(const Node *node) {
  const Node *condition = node->operands[0];
  double limit;
  return condition->op == IR_less_equal && condition->operands[0]->op == IR_abs &&
         condition->operands[0]->operands[0] == node->operands[1] && node_filled(condition->operands[1], &limit) &&
         limit <= largest_float;
}

static Facts facts_of_select(const Node *node, Facts a, Facts b) {
  Facts f = hull(a, b);
  if (guards_finiteness(node)) f.finite = b.finite;
  return f;
}

static Facts facts_of_ternary(const Node *node) {
  Facts a = node->operands[0]->facts, b = node->operands[1]->facts, c = node->operands[2]->facts;
  if (node->op == IR_select) return facts_of_select(node, b, c);
  return node->op == IR_beta_quantile ? quantile_facts(a, b, c, 1) : anything(false);
}

static Facts facts_of_map(const Node *node) {
  if (node->operand_count == 1) return facts_of_unary(node->op, node->operands[0]->facts);
  if (node->operand_count == 2) return facts_of_binary(node, node->operands[0]->facts, node->operands[1]->facts);
  return facts_of_ternary(node);
}

/* The sum of exactly `count` such values; of an unknown positive number of them if count is infinite. */
static Facts repeated_sum(Facts a, double count) {
  Facts f = a;
  if (isinf(count)) {
    if (a.low < 0) f.low = -INFINITY;
    if (a.high > 0) f.high = INFINITY;
    return f;
  }
  f.low = bound_product(a.low, count);
  f.high = bound_product(a.high, count);
  return f;
}

/* How many elements the axes have; infinite where that is known only at run time. */
static double elements_along(const Graph *graph, unsigned axes) {
  if (axes & ~(unsigned)AXIS_SAMPLE) return INFINITY;
  return axes & AXIS_SAMPLE ? graph->samples : 1;
}

static Facts facts_of_sum_over(const Graph *graph, const Node *node) {
  return repeated_sum(node->operands[0]->facts, elements_along(graph, node->axes_attribute));
}

static Facts facts_of_contract(const Graph *graph, const Node *node) {
  const Node *a = node->operands[0], *b = node->operands[1];
  bool same = a == b;
  double count = 1;
  for (int d = 0; d < a->shape.rank; d++) {
    bool kept = false;
    for (int i = 0; i < node->shape.rank; i++) kept |= node->labels_out[i] == node->labels_a[d];
    if (!kept) count *= a->shape.dims[d].size;
    same = same && node->labels_a[d] == node->labels_b[d];
  }
  count *= elements_along(graph, node->axes_attribute);
  return repeated_sum(same ? square_of(a->facts) : product_of(a->facts, b->facts), count);
}

/* Where zeros come in between, as in pad. */
static Facts with_zeros(Facts a) { return hull(a, (Facts){.integer = true, .finite = true}); }

static Facts facts_of_concat(const Node *node) {
  Facts f = node->operands[0]->facts;
  for (int i = 1; i < node->operand_count; i++) f = hull(f, node->operands[i]->facts);
  return f;
}

/* At most so many products; at an edge there are fewer. */
static Facts facts_of_convolution(const Graph *graph, const Node *node) {
  Convolution v = convolution_of(node);
  double count = (double)(v.rows * v.columns) * (double)(node->op == IR_convolve ? v.channels : v.count);
  if (node->op == IR_convolve_filters) {
    count = (double)v.leading * (double)(v.down * v.across) * elements_along(graph, node->axes_attribute);
  }
  return repeated_sum(with_zeros(product_of(node->operands[0]->facts, node->operands[1]->facts)), count);
}

/* The bits of members, without their weights. */
static Facts facts_of_slice(const Node *node) {
  const Node *x = node->operands[0];
  bool members = x->op == IR_top_k_members || x->op == IR_sparsemap_members;
  bool bits = members && node->dim == x->shape.rank - 1 &&
              node->start + (long)node->shape.dims[node->dim].size < (long)x->shape.dims[node->dim].size;
  return bits ? boolean : x->facts;
}

static Facts facts_of_cumsum(const Node *node) {
  Facts a = node->operands[0]->facts;
  Facts f = hull(repeated_sum(a, INFINITY), node->exclusive ? with_zeros(a) : a);
  f.finite = a.finite;
  return f;
}

static bool all_finite(const Node *node) {
  bool finite = true;
  for (int k = 0; k < node->operand_count; k++) finite = finite && node->operands[k]->facts.finite;
  return finite;
}

/* Of finite factors, weights and biases, and of the adjoint. */
static Facts facts_of_low_rank(const Node *node) {
  bool finite = node->op == IR_low_rank_fit || node->operands[5]->facts.finite;
  for (int k = 0; k < 3; k++) finite = finite && node->operands[k]->facts.finite;
  return anything(finite);
}

/* Those of the table that have not a function of their own. */
static Facts facts_of_line(const Node *node) {
  Facts a = node->operands[0]->facts;
  if (node->op == IR_subset_draw || node->op == IR_top_mask) return boolean;
  if (node->op == IR_sparsemax || node->op == IR_entmax || node->op == IR_top_k_members ||
      node->op == IR_sparsemap_members)
    return between(0, 1, a.finite);
  if (node->op == IR_subset_inclusion) { /* a sum over the weights of all sizes */
    Facts f = repeated_sum(hull(node->operands[1]->facts, between(0, 0, true)), INFINITY);
    f.finite = all_finite(node);
    return f;
  }
  if (node->op == IR_relaxed_subset) {
    Facts gates = node->operands[1]->facts;
    return gates.low >= 0 && gates.high <= 1 ? between(0, 1, all_finite(node)) : anything(all_finite(node));
  }
  return anything(node->op != IR_cholesky && all_finite(node)); /* a diagonal may hold zeros */
}

static Facts facts_but_poles(const Graph *graph, const Node *node) {
  if (op_table[node->op].kind == KIND_MAP) return facts_of_map(node);
  Facts a = node->operand_count > 0 ? node->operands[0]->facts : anything(false);
  switch (node->op) {
  case IR_inner_noise:
  case OPS_LEAF: return facts_of_leaf(graph, node);
  case OPS_LINE: return facts_of_line(node);
  case IR_expand:
  case IR_reshape:
  case IR_permute:
  case IR_slice: return facts_of_slice(node);
  case IR_spread:
  case IR_stop:
  case IR_max_of:
  case IR_max_over:
  case IR_pick:
  case IR_diagonal: return a;
  case IR_pad:
  case IR_place:
  case IR_embed_diagonal:
  case IR_lower_part: return with_zeros(a);
  case IR_concat: return facts_of_concat(node);
  case IR_sum: return repeated_sum(a, (double)(shape_size(&node->operands[0]->shape) / shape_size(&node->shape)));
  case IR_cumsum: return facts_of_cumsum(node);
  case IR_sum_over: return facts_of_sum_over(graph, node);
  case IR_first_max_mask:
  case IR_first_max_mask_over:
  case IR_top_mask_over: return boolean;
  case IR_contract: return facts_of_contract(graph, node);
  case OPS_LOW_RANK: return facts_of_low_rank(node);
  case OPS_CONVOLUTION: return facts_of_convolution(graph, node);
  case IR_repeat_result: return node->operands[0]->body->outputs[node->index].value->facts;
  case IR_repeat:
  case IR_solve_triangular: return anything(false);
  case OPS_UNARY:
  case OPS_BINARY:
  case OPS_TERNARY:
  case OP_COUNT: break;
  }
  return anything(false);
}

/* clang-format off */
#define OPS_WITH_POLES \
  IR_sqrt: case IR_log: case IR_log1p: case IR_tan: case IR_lgamma: case IR_digamma: case IR_div: case IR_pow: \
  case IR_mod: case IR_polygamma: case IR_stirling: case IR_exponential_integral: case IR_gamma_quantile: \
  case IR_gamma_quantile_slope: case IR_beta_quantile: case IR_beta_quantile_slope_a: case IR_beta_quantile_slope_b: \
  case IR_solve_triangular: case IR_repeat: case IR_repeat_result
#define OPS_WITHOUT_POLES \
  IR_neg: case IR_abs: case IR_sign: case IR_exp: case IR_expm1: case IR_sin: case IR_cos: case IR_tanh: \
  case IR_sigmoid: case IR_softplus: case IR_relu: case IR_erf: case IR_floor: case IR_not: case IR_add: case IR_sub: \
  case IR_mul: case IR_max: case IR_min: case OPS_COMPARISON: case IR_adjoint_times: case IR_select: case IR_expand: \
  case IR_reshape: case IR_permute: case IR_slice: case IR_pad: case IR_concat: case IR_spread: case IR_stop: \
  case IR_sum: case IR_max_of: case IR_first_max_mask: case IR_cumsum: case IR_sum_over: case IR_max_over: \
  case IR_first_max_mask_over: case IR_top_mask_over: case IR_pick: case IR_place: case OPS_LINE: case IR_contract: \
  case IR_diagonal: case IR_embed_diagonal: case IR_lower_part: case OPS_CONVOLUTION: case OPS_LOW_RANK: case IR_inner_noise
/* clang-format on */

/* Is the op defined and finite wherever its operands are, but for overflow? */
static bool has_no_pole(Op op) {
  switch (op) {
  case OPS_WITH_POLES:
  case OPS_LEAF:
  case OP_COUNT: return false;
  case OPS_WITHOUT_POLES: return true;
  }
  return false;
}

Facts facts_of(const Graph *graph, const Node *node) {
  Facts facts = facts_but_poles(graph, node);
  if (is_placeholder(node->op) || node->op == IR_repeat_result) { /* as it was said or found elsewhere */
    facts.pole_free = facts.pole_free || facts.finite;
    return facts;
  }
  facts.pole_free = has_no_pole(node->op);
  for (int k = node->op == IR_select ? 1 : 0; k < node->operand_count; k++)
    facts.pole_free = facts.pole_free && node->operands[k]->facts.pole_free;
  facts.pole_free = facts.pole_free || facts.finite;
  return facts;
}
