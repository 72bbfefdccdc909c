/* What the files of the IR core share among themselves; of the back end lines.c reads the table of LINE ops here. */
#ifndef SPM_IR_PARTS_H
#define SPM_IR_PARTS_H

#include "ir.h"

/* A draft is a node not yet in the graph: attributes that its op does not have are zero. */
Node draft_node(Op, Node **operands, int operand_count);
/* The equal node of the graph, or the draft appended with its axes, facts and span. draft->shape must be set. */
Node *node_intern(Graph *, Node *draft);
/* Union of the operands' axes, less those summed away, plus those spread; a leaf's own. */
unsigned node_axes(const Graph *, const Node *);

extern const Shape scalar_shape;
/* The same extents, whatever they are called. */
bool shapes_match(const Shape *, const Shape *);
bool shapes_same(const Shape *, const Shape *);
/* Dims of `shape` that are not in the mask. */
Shape shape_without(const Shape *, unsigned dims_mask);

/* The carried, round or captured leaf with this one's shape, axes, index and facts. */
Node *build_placeholder(Graph *, const Node *like);
/* The same loop on other operands; a carried value after its last round. */
Node *build_same_repeat(Graph *, const Node *repeat, Node **operands);
Node *build_repeat_result(Graph *, Node *repeat, int index);
/* The leaf of a body, or NULL if nothing in it uses that value. */
const Node *body_leaf(const Graph *body, Op, int index);

bool node_is(const Node *, double value);
/* A constant with the shape and axes of `like`. */
Node *build_filled_like(Graph *, double, const Node *like);
/* `node` with at least these axes. */
Node *build_with_axes(Graph *, Node *, unsigned axes);
/* x multiplied by how many rows and samples the axes hold */
Node *build_repeated(Graph *, Node *x, unsigned axes);
/* spread over some axes, and not a variable */
bool node_is_spread(const Node *);
/* The number v of the support axis that pick adds or place takes away. */
int support_axis(const Node *);
/* a scalar repeated over all dims */
bool node_is_scalar_expand(const Node *);

/* The same value in a form that keeps its digits, or NULL; for the elementwise builders. */
Node *stable_form(Graph *, Op, Node **operands);

/* The value of an elementwise op at one point, from its definition. */
double elementwise_value(Op, const double *operands);
double special_digamma(double x);
double special_polygamma(int order, double x);
/* The ops whose meaning is their definition in runtime/special.h. */
double special_function(Op, const double *operands);

/* What a LINE op is made of: how many dims of its own each operand has, and of the result; the rest are in front. */
enum { LINE_OPERANDS = 5 };
typedef struct LineOp {
  Op op;
  int own_dims[LINE_OPERANDS], result_own_dims;
  int few; /* the operand whose last dim is m; -1: m is an attribute */
} LineOp;
const LineOp *line_op(Op);
/* The result's shape, from operands whose shapes agree (asserted). */
Shape line_shape(Op, Node *const *operands, long most);
long line_few(Op, Node *const *operands, long most); /* m */
/* Do they? */
bool line_operands_agree(Op, Node *const *operands);
/* 1 for the `count` (rounded) largest of n numbers, of equal ones the first, else 0. */
void mark_largest(long n, const double *x, double count, double *mask);
/* Values of one line from its definition. */
void line_values(const Node *, const double *const *operands, double *out);

/* The values of a contract from those of its operands, all laid out as the interpreter's. */
void contract_values(const Graph *, const Node *contract, long rows, const double *a, const double *b, double *out);

/* Places along axes, rows outermost: where a node's values of one begin, and the next; false after the last. */
long offset_of_place(const Graph *, const Node *, const long *place);
bool next_place_along(const Graph *, unsigned axes, long rows, long *place);

bool low_rank_operands_agree(Op, Node *const *operands);
void low_rank_values(const Graph *, const Node *, long rows, double *const *values, double *out);

/* The values of a convolution or a transpose, likewise laid out as the interpreter's: straight from the definition. */
void convolution_values(const Graph *, const Node *, long rows, const double *a, const double *b, double *out);

/* Groups of ops for switches that treat them alike: `case OPS_LEAF:`. */
/* clang-format off */
#define OPS_LEAF \
  IR_constant: case IR_table: case IR_parameter: case IR_data: case IR_noise: case IR_setting: case IR_state: \
  case IR_row_state: case IR_given: case IR_carried: case IR_round: case IR_captured
#define OPS_UNARY \
  IR_neg: case IR_abs: case IR_sign: case IR_sqrt: case IR_exp: case IR_expm1: case IR_log: case IR_log1p: case IR_sin: \
  case IR_cos: case IR_tan: case IR_tanh: case IR_sigmoid: case IR_softplus: case IR_relu: case IR_erf: case IR_floor: \
  case IR_lgamma: case IR_digamma: case IR_not
#define OPS_COMPARISON \
  IR_less: case IR_less_equal: case IR_equal: case IR_not_equal: case IR_and: case IR_or
#define OPS_BINARY \
  IR_add: case IR_sub: case IR_mul: case IR_div: case IR_pow: case IR_max: case IR_min: case IR_mod: \
  case OPS_COMPARISON: case IR_adjoint_times: case IR_polygamma: case IR_stirling: case IR_exponential_integral: \
  case IR_gamma_quantile: case IR_gamma_quantile_slope
#define OPS_TERNARY \
  IR_select: case IR_beta_quantile: case IR_beta_quantile_slope_a: case IR_beta_quantile_slope_b
#define OPS_LOW_RANK IR_low_rank_fit: case IR_low_rank_weights
#define OPS_CONVOLUTION IR_convolve: case IR_convolve_transpose: case IR_convolve_filters
#define OPS_LINE \
  IR_top_mask: case IR_sparsemax: case IR_entmax: case IR_cholesky: case IR_subset_moments: \
  case IR_subset_moments_slope: case IR_subset_inclusion: case IR_subset_draw: case IR_relaxed_subset: \
  case IR_relaxed_subset_slope: case IR_picks_kl: case IR_picks_kl_slope: case IR_top_k_members: case IR_sparsemap_members: case IR_sparsemap_slope
#define OPS_NOT_ELEMENTWISE \
  OPS_LEAF: case IR_expand: case IR_reshape: case IR_permute: case IR_slice: case IR_pad: case IR_concat: \
  case IR_spread: case IR_stop: case IR_sum: case IR_max_of: case IR_first_max_mask: case IR_cumsum: case IR_sum_over: \
  case IR_max_over: case IR_first_max_mask_over: case IR_top_mask_over: case IR_pick: case IR_place: case OPS_LINE: \
  case IR_contract: case IR_diagonal: case IR_embed_diagonal: case IR_lower_part: case OPS_CONVOLUTION: case OPS_LOW_RANK: case IR_solve_triangular: \
  case IR_inner_noise: case IR_repeat: case IR_repeat_result: case OP_COUNT
/* clang-format on */

#endif
