/* Reverse mode against central differences, first and second order, for every op of the table that claims to be
 * closed; what is not selected contributes nothing; random graphs of all ops. */
#include <criterion/criterion.h>
#include <math.h>

#include "gradient_check.h"

enum { OPERANDS = 3, ROWS = 3, VARIANTS = 14, CONTRACT_VARIANTS = 150 };

/* One random instance of an op: parameters 0..2 are its operands, 3..5 the directions of second derivatives; operands
 * with axes get data and noise added. */
typedef struct Instance {
  Compilation *c;
  Random random;
  Signature signature;
  Parameter parameters[2 * OPERANDS];
  DataInput data[OPERANDS + 1]; /* the last one weighs the elements of the result */
  Noise noises[OPERANDS];
  unsigned axes[OPERANDS];
  Graph *graph;
} Instance;

static const Facts any_number = {.low = -INFINITY, .high = INFINITY, .finite = true};

static Shape shape_of(int rank, const int *sizes) {
  Shape shape = {.rank = rank};
  for (int d = 0; d < rank; d++) shape.dims[d] = dim_number(sizes[d]);
  return shape;
}

static Shape random_shape(Instance *t, int least_rank) {
  int sizes[3], rank = least_rank + random_below(&t->random, 4 - least_rank);
  for (int d = 0; d < rank; d++) sizes[d] = 1 + random_below(&t->random, 4);
  return shape_of(rank, sizes);
}

static void start(Instance *t, uint64_t seed) {
  *t = (Instance){.c = compilation_create(), .random = {seed}};
  t->signature = (Signature){.parameters = t->parameters,
                             .parameter_count = 2 * OPERANDS,
                             .data = t->data,
                             .data_count = OPERANDS + 1,
                             .noises = t->noises,
                             .noise_count = OPERANDS};
  t->graph = graph_create(t->c, &t->signature, "test", 1 + random_below(&t->random, 3));
  for (int k = 0; k <= OPERANDS; k++) t->data[k] = (DataInput){.name = "x", .facts = any_number};
  for (int k = 0; k < OPERANDS; k++) {
    const unsigned choices[] = {0, AXIS_DATUM, AXIS_DATUM | AXIS_SAMPLE, AXIS_SAMPLE};
    t->axes[k] = choices[random_below(&t->random, 4)];
  }
}

/* The operand: its parameter, plus a little that depends on its axes. */
static Node *operand(Instance *t, int k, Shape shape) {
  Graph *graph = t->graph;
  t->parameters[k] = t->parameters[OPERANDS + k] = (Parameter){.name = "w", .shape = shape};
  t->data[k].shape = t->noises[k].shape = shape;
  t->noises[k] = (Noise){.name = "e", .kind = NOISE_UNIFORM, .stream = (unsigned)k, .shape = shape, .axes = t->axes[k]};
  Node *x = build_parameter(graph, k), *some = build_filled(graph, 0.3, &shape);
  if (t->axes[k] != 0) x = build_map2(graph, IR_add, x, build_map2(graph, IR_mul, build_noise(graph, k), some));
  if (t->axes[k] & AXIS_DATUM) x = build_map2(graph, IR_add, x, build_map2(graph, IR_mul, build_data(graph, k), some));
  return x;
}

static Node *number(Instance *t, double value, const Node *like) { return build_filled(t->graph, value, &like->shape); }

/* --- an instance of every op --- */

static Node *instance_binary(Instance *t, Op op) {
  Shape shape = random_shape(t, 0);
  Node *a = operand(t, 0, shape), *b = operand(t, 1, shape);
  const double exponents[] = {2, 3, 0.5, -1.5, 1, 0, -1};
  if (op == IR_pow && random_below(&t->random, 2)) b = number(t, exponents[random_below(&t->random, 7)], a);
  if (op == IR_polygamma || op == IR_stirling) a = number(t, random_below(&t->random, 4), b);
  if (op == IR_exponential_integral) a = number(t, 1 + random_below(&t->random, 3), b);
  /* exp is not provably finite, so that adjoint_times stays one */
  if (op == IR_adjoint_times) b = build_map1(t->graph, IR_exp, b);
  return build_map2(t->graph, op, a, b);
}

static Node *instance_expand(Instance *t) {
  Node *x = operand(t, 0, random_shape(t, 0));
  Shape shape = {.rank = x->shape.rank + 2};
  int map[MAX_RANK], place = 0, skip = random_below(&t->random, x->shape.rank + 1);
  for (int d = 0; d < shape.rank; d++) shape.dims[d] = dim_number(2);
  for (int d = 0; d < x->shape.rank; d++) {
    place += d == skip;
    map[d] = place;
    shape.dims[place++] = x->shape.dims[d];
  }
  return build_expand(t->graph, x, &shape, map);
}

static Node *instance_concat(Instance *t) {
  Shape shape = random_shape(t, 1), other = shape;
  int dim = random_below(&t->random, shape.rank);
  other.dims[dim] = dim_number(2);
  Node *parts[] = {operand(t, 0, shape), operand(t, 1, other), operand(t, 2, shape)};
  return build_concat(t->graph, parts, 3, dim, dim_number(2 * shape.dims[dim].size + 2));
}

static Node *instance_view(Instance *t, Op op) {
  Graph *graph = t->graph;
  if (op == IR_expand) return instance_expand(t);
  if (op == IR_concat) return instance_concat(t);
  if (op == IR_spread) return build_spread(graph, operand(t, 0, random_shape(t, 0)), AXIS_DATUM | AXIS_SAMPLE);
  if (op == IR_reshape) {
    Node *x = operand(t, 0, shape_of(3, (int[]){2, 3, 2}));
    Shape shape = shape_of(2, (int[]){4, 3});
    return build_reshape(graph, x, &shape);
  }
  if (op == IR_permute) {
    Node *x = operand(t, 0, shape_of(3, (int[]){2, 3, 4}));
    const int maps[][3] = {{1, 2, 0}, {2, 1, 0}, {0, 2, 1}, {2, 0, 1}};
    return build_permute(graph, x, maps[random_below(&t->random, 4)]);
  }
  Node *x = operand(t, 0, shape_of(2, (int[]){3, 4}));
  int dim = random_below(&t->random, 2);
  if (op == IR_slice) return build_slice(graph, x, dim, random_below(&t->random, 2), dim_number(2));
  return build_pad(graph, x, dim, random_below(&t->random, 3), dim_number(6));
}

/* place: of a product, since place of a pick is what was picked */
static Node *instance_members(Instance *t, Op op) {
  const int sizes[] = {3, 2};
  int v = graph_support(t->graph, intern(t->c, "v"), dim_number(3));
  Node *first = build_pick(t->graph, operand(t, 0, shape_of(2, sizes)), v);
  if (op == IR_pick) return first;
  Node *second = build_pick(t->graph, operand(t, 1, shape_of(2, sizes)), v);
  return build_place(t->graph, build_map2(t->graph, IR_mul, first, second), v);
}

static Node *instance_reduction(Instance *t, Op op) {
  Graph *graph = t->graph;
  if (op == IR_pick || op == IR_place) return instance_members(t, op);
  if (op_table[op].kind == KIND_OVER) {
    const unsigned one_axis[] = {AXIS_DATUM, AXIS_SAMPLE};
    unsigned over = one_axis[random_below(&t->random, 2)];
    t->axes[0] |= over;
    Node *x = operand(t, 0, random_shape(t, 0));
    return op == IR_sum_over ? build_sum_over(graph, x, over) : build_max_over(graph, x, over);
  }
  Node *x = operand(t, 0, random_shape(t, 1));
  unsigned mask = 1 + (unsigned)random_below(&t->random, (1 << x->shape.rank) - 1);
  if (op == IR_sum) return build_sum(graph, x, mask);
  if (op == IR_max_of) return build_max_of(graph, x, mask);
  bool reverse = random_below(&t->random, 2), exclusive = random_below(&t->random, 2);
  return build_cumsum(graph, x, random_below(&t->random, x->shape.rank), reverse, exclusive);
}

/* Labels 0..4 with extents of their own: each is in a, in b, or in both; if in both it may be summed. */
static Node *instance_contract(Instance *t) {
  const int extents[] = {2, 3, 1, 4, 2};
  int labels[3][5], ranks[3] = {0}, sizes[2][5];
  for (int label = 0; label < 5; label++) {
    int where = random_below(&t->random, 6); /* a, b, both and kept, both and summed, in neither */
    bool in[3] = {where == 0 || where == 2 || where == 3, where >= 1 && where <= 3, where <= 2};
    for (int list = 0; list < 3; list++) {
      if (!in[list]) continue;
      int place = random_below(&t->random, ranks[list] + 1); /* labels in any order */
      for (int d = ranks[list]; d > place; d--) labels[list][d] = labels[list][d - 1];
      labels[list][place] = label;
      ranks[list]++;
    }
  }
  for (int list = 0; list < 2; list++)
    for (int d = 0; d < ranks[list]; d++) sizes[list][d] = extents[labels[list][d]];
  Node *a = operand(t, 0, shape_of(ranks[0], sizes[0])), *b = operand(t, 1, shape_of(ranks[1], sizes[1]));
  unsigned axes = a->axes | b->axes, summed = axes & (unsigned)random_below(&t->random, 4);
  return build_contract(t->graph, a, labels[0], b, labels[1], ranks[2], labels[2], summed);
}

/* With and without a leading dim, filters wider than high, strides that skip pixels, padding wider than a filter. */
static Node *instance_convolution(Instance *t, Op op) {
  static const int rows[][8] = {/* c, h, w, m, k, l, p, q */
                                {2, 3, 4, 3, 2, 3, 2, 2},
                                {1, 4, 5, 2, 2, 1, 2, 3},
                                {2, 3, 3, 1, 3, 3, 3, 3},
                                {1, 2, 2, 2, 1, 1, 6, 6}};
  static const int strides[] = {1, 2, 1, 1}, paddings[] = {0, 0, 1, 2};
  int which = random_below(&t->random, 4), leading = random_below(&t->random, 2);
  const int *n = rows[which];
  Shape images = shape_of(4, (int[]){2, n[0], n[1], n[2]}), features = shape_of(4, (int[]){2, n[3], n[6], n[7]});
  Shape filters = shape_of(4, (int[]){n[3], n[0], n[4], n[5]});
  if (!leading) images = shape_of(3, n), features = shape_of(3, (int[]){n[3], n[6], n[7]});
  Node *a = operand(t, 0, op == IR_convolve_transpose ? features : images);
  Node *b = operand(t, 1, op == IR_convolve_filters ? features : filters);
  long stride = strides[which], padding = paddings[which];
  if (op == IR_convolve) return build_convolve(t->graph, a, b, stride, padding);
  if (op == IR_convolve_transpose) return build_convolve_transpose(t->graph, a, b, stride, padding);
  unsigned axes = a->axes | b->axes, summed = axes & (unsigned)random_below(&t->random, 4);
  return build_convolve_filters(t->graph, a, b, &filters, stride, padding, summed);
}

static Node *instance_matrix(Instance *t, Op op) {
  if (op == IR_convolve || op == IR_convolve_transpose || op == IR_convolve_filters) return instance_convolution(t, op);
  const int sizes[] = {2, 3, 3};
  Node *x = operand(t, 0, shape_of(3, sizes));
  if (op == IR_diagonal) return build_diagonal(t->graph, x);
  if (op == IR_solve_triangular) { /* a diagonal away from 0 */
    Node *b = operand(t, 1, shape_of(2, sizes)), *diagonal = build_embed_diagonal(t->graph, number(t, 4, b));
    Node *l = build_map2(t->graph, IR_add, build_map2(t->graph, IR_mul, x, number(t, 0.5, x)), diagonal);
    return build_solve_triangular(t->graph, l, b, random_below(&t->random, 2));
  }
  return op == IR_embed_diagonal ? build_embed_diagonal(t->graph, x) : build_lower_part(t->graph, x);
}

/* Of b b' + 3, which is positive definite. */
static Node *instance_cholesky(Instance *t) {
  const int sizes[] = {2, 3, 3};
  Node *b = operand(t, 0, shape_of(3, sizes));
  Node *square = build_contract(t->graph, b, (int[]){0, 1, 3}, b, (int[]){0, 2, 3}, 3, (int[]){0, 1, 2}, 0);
  Node *diagonal = build_embed_diagonal(t->graph, number(t, 3, operand(t, 1, shape_of(2, sizes))));
  return build_line(t->graph, IR_cholesky, (Node *[]){build_map2(t->graph, IR_add, square, diagonal)}, 0);
}

static Node *instance_line(Instance *t, Op op) {
  const double alphas[] = {1.5, 1.25, 1.75};
  Node *x = operand(t, 0, random_shape(t, 1));
  Shape lead = x->shape;
  lead.rank--;
  if (op == IR_sparsemax) return build_line(t->graph, op, &x, 0);
  if (op == IR_top_k_members) return x->shape.rank < MAX_RANK ? build_line(t->graph, op, &x, 3) : NULL;
  if (op != IR_entmax) return NULL;
  Node *alpha = build_filled(t->graph, alphas[random_below(&t->random, 3)], &lead);
  return build_line(t->graph, op, (Node *[]){x, alpha}, 0);
}

/* NULL for an op that nobody has thought of. */
static Node *instance(Instance *t, Op op) {
  if (op == IR_select) {
    Shape shape = random_shape(t, 0);
    Node *c = operand(t, 0, shape), *a = operand(t, 1, shape), *b = operand(t, 2, shape);
    return build_map3(t->graph, op, build_map2(t->graph, IR_less, number(t, 0.7, c), c), a, b);
  }
  switch (op_table[op].kind) {
  case KIND_LOOP:
  case KIND_LEAF: return NULL;
  case KIND_MAP:
    if (op_table[op].operands == 1) return build_map1(t->graph, op, operand(t, 0, random_shape(t, 0)));
    return instance_binary(t, op);
  case KIND_VIEW: return instance_view(t, op);
  case KIND_REDUCE:
  case KIND_OVER: return instance_reduction(t, op);
  case KIND_PRODUCT: return instance_contract(t);
  case KIND_LINE: return op == IR_cholesky ? instance_cholesky(t) : instance_line(t, op);
  case KIND_OTHER: return instance_matrix(t, op);
  }
  return NULL;
}

/* --- the check of one instance --- */

static bool wants_positive(Op op) {
  return op == IR_sqrt || op == IR_log || op == IR_log1p || op == IR_lgamma || op == IR_digamma || op == IR_div ||
         op == IR_pow || op == IR_mod || op == IR_polygamma || op == IR_stirling || op == IR_exponential_integral;
}

/* sum over everything of weight * y * y / 2 + weight * y: curved, so that every op has second derivatives */
static Node *weighed_sum(Instance *t, Node *y) {
  Graph *graph = t->graph;
  t->data[OPERANDS].shape = y->shape;
  Node *square = build_map2(graph, IR_mul, build_map2(graph, IR_mul, y, y), number(t, 0.5, y));
  Node *weighed = build_map2(graph, IR_mul, build_map2(graph, IR_add, square, y), build_data(graph, OPERANDS));
  Node *sum = build_sum(graph, weighed, (1u << y->shape.rank) - 1);
  return build_sum_over(graph, sum, sum->axes);
}

/* The first derivative along the directions: its gradient is a Hessian-vector product. */
static Node *derivative_along(Instance *t, Node *of, int operands) {
  Node *leaves[OPERANDS], *adjoints[OPERANDS], *total = build_constant(t->graph, 0);
  for (int k = 0; k < operands; k++) leaves[k] = build_parameter(t->graph, k);
  differentiate(t->graph, of, leaves, operands, adjoints);
  for (int k = 0; k < operands; k++) {
    Node *product = build_map2(t->graph, IR_mul, adjoints[k], build_parameter(t->graph, OPERANDS + k));
    total = build_map2(t->graph, IR_add, total, build_sum(t->graph, product, (1u << product->shape.rank) - 1));
  }
  return total;
}

static void check_instance(Op op, uint64_t seed, GradientCheck total[2]) {
  const char *name = op_table[op].name;
  const int all[OPERANDS] = {0, 1, 2};
  Instance t;
  start(&t, seed);
  Node *y = instance(&t, op);
  cr_assert(y != NULL, "no instance of %s in this test", name);
  Node *of = weighed_sum(&t, y);
  RandomInputs *inputs = random_inputs(t.c, &t.signature, seed + 1, ROWS);
  for (int k = 0; k < OPERANDS; k++)
    for (long i = 0; i < shape_size(&t.parameters[k].shape); i++) {
      double *x = &inputs->parameters[k][i];
      *x = wants_positive(op) ? 1.6 + 0.5 * *x : op == IR_tan ? 0.3 * *x : *x;
    }
  for (int order = 0; order < 2; order++) {
    GradientCheck check = gradient_check(t.graph, of, all, OPERANDS, inputs);
    cr_assert(check.worst < 1e-6, "%s, seed %d: order %d is off by %g", name, (int)seed, order + 1, check.worst);
    total[order].compared += check.compared;
    total[order].skipped += check.skipped;
    of = derivative_along(&t, of, OPERANDS);
  }
  const char *problem = ir_verify(t.graph);
  cr_assert(problem == NULL, "%s, seed %d: %s", name, (int)seed, problem);
  compilation_destroy(t.c);
}

Test(differentiate, every_closed_op_twice) {
  for (int op = 0; op < OP_COUNT; op++) {
    if (op_table[op].derivative != DERIVATIVE_CLOSED) continue;
    GradientCheck total[2] = {{0}};
    int variants = op == IR_contract ? CONTRACT_VARIANTS : VARIANTS;
    for (int v = 0; v < variants; v++) check_instance((Op)op, (uint64_t)(1000 * op + v), total);
    for (int order = 0; order < 2; order++)
      cr_assert(total[order].compared > 5 * total[order].skipped && total[order].compared >= 30,
                "%s: too little compared at order %d: %d (%d skipped)", op_table[op].name, order + 1,
                total[order].compared, total[order].skipped);
  }
}

/* --- what is not selected, and points where a derivative does not exist --- */

typedef struct Point {
  Compilation *c;
  Parameter parameter[1];
  Signature signature;
  Graph *graph;
  Node *u;
} Point;

static void start_at(Point *p, int size) {
  *p = (Point){.c = compilation_create()};
  p->parameter[0] = (Parameter){.name = "u", .shape = shape_of(1, &size)};
  p->signature = (Signature){.parameters = p->parameter, .parameter_count = 1};
  p->graph = graph_create(p->c, &p->signature, "test", 1);
  p->u = build_parameter(p->graph, 0);
}

/* The gradient of the sum of y at u (order 1), or of the sum of that gradient (order 2). */
static const double *gradient_at(Point *p, Node *y, const double *u, int order) {
  Node *adjoint = y;
  for (int i = 0; i < order; i++) differentiate(p->graph, build_sum(p->graph, adjoint, 1), &p->u, 1, &adjoint);
  RandomInputs *inputs = random_inputs(p->c, &p->signature, 1, 1);
  for (long i = 0; i < shape_size(&p->u->shape); i++) inputs->parameters[0][i] = u[i];
  return value_of(p->graph, adjoint, inputs);
}

static void expect(Point *p, Node *y, const double *u, const double *wanted, const char *what) {
  for (int order = 1; order <= 2; order++) {
    const double *found = gradient_at(p, y, u, order);
    for (long i = 0; i < shape_size(&p->u->shape); i++) {
      double want = order == 1 ? wanted[i] : 0;
      if (order == 1)
        cr_assert(found[i] == want, "%s: [%ld] is %g, not %g", what, i, found[i], want);
      else
        cr_assert(isfinite(found[i]), "%s: second derivative [%ld] is %g", what, i, found[i]);
    }
  }
}

static Node *norm(Point *p) {
  Node *square = build_map2(p->graph, IR_mul, p->u, p->u);
  return build_map1(p->graph, IR_sqrt, build_sum(p->graph, square, 1));
}

static Node *filled(Point *p, double value) { return build_filled(p->graph, value, &p->u->shape); }

Test(differentiate, shrinkage_of_a_zero_group_is_zero) {
  Point p;
  start_at(&p, 3);
  Node *one = build_constant(p.graph, 1), *t = build_constant(p.graph, 0.5);
  Node *factor = build_map2(p.graph, IR_sub, one, build_map2(p.graph, IR_div, t, norm(&p)));
  Node *kept = build_scalar_expand(p.graph, build_map1(p.graph, IR_relu, factor), &p.u->shape);
  Node *y = build_map2(p.graph, IR_mul, kept, p.u);
  expect(&p, y, (double[]){0, 0, 0}, (double[]){0, 0, 0}, "relu(1 - t / norm(u)) * u at 0");
  compilation_destroy(p.c);
}

Test(differentiate, unselected_branches_contribute_nothing) {
  Point p;
  start_at(&p, 3);
  Graph *graph = p.graph;
  const double u[] = {-1, 0, 2};
  Node *positive = build_map2(graph, IR_less, filled(&p, 0), p.u);
  Node *logarithm = build_map1(graph, IR_log, p.u);
  Node *inverse = build_map2(graph, IR_div, filled(&p, 1), p.u);
  expect(&p, build_map3(graph, IR_select, positive, logarithm, p.u), u, (double[]){1, 1, 0.5}, "u > 0 ? log(u) : u");
  expect(&p, build_map3(graph, IR_select, positive, inverse, p.u), u, (double[]){1, 1, -0.25}, "u > 0 ? 1 / u : u");
  Node *far = build_map2(graph, IR_mul, p.u, filled(&p, 400));
  Node *risky = build_map1(graph, IR_exp, build_map1(graph, IR_exp, far));
  Node *small = build_map2(graph, IR_less, p.u, filled(&p, 1));
  expect(&p, build_map3(graph, IR_select, small, p.u, risky), (double[]){0.5, 0, -1}, (double[]){1, 1, 1}, "overflow");
  Node *minus_infinity = build_map1(graph, IR_log, filled(&p, 0));
  expect(&p, build_map2(graph, IR_max, build_map2(graph, IR_mul, minus_infinity, positive), p.u), (double[]){2, 1, 3},
         (double[]){1, 1, 1}, "max(-inf, u)");
  compilation_destroy(p.c);
}

Test(differentiate, poison_does_not_pass_a_product) {
  Point p;
  start_at(&p, 2);
  Graph *graph = p.graph;
  Node *inverse = build_map2(graph, IR_div, filled(&p, 1), p.u);
  Node *product = build_contract(graph, inverse, (int[]){0}, inverse, (int[]){1}, 2, (int[]){0, 1}, 0);
  Node *safe = build_slice(graph, build_slice(graph, product, 0, 1, dim_number(1)), 1, 1, dim_number(1));
  Node *y = build_scalar_expand(graph, build_sum(graph, safe, 3), &p.u->shape);
  expect(&p, build_map2(graph, IR_mul, y, filled(&p, 0.5)), (double[]){0, 2}, (double[]){0, -0.25}, "1 / 0 beside");
  compilation_destroy(p.c);
}

Test(differentiate, an_infinite_adjoint_does_not_pass_what_was_zero) {
  Point p;
  start_at(&p, 1);
  Node *factor = build_map1(p.graph, IR_exp, p.u), *none = build_map1(p.graph, IR_relu, p.u);
  Node *y = build_map2(p.graph, IR_div, filled(&p, 1), build_map2(p.graph, IR_adjoint_times, none, factor));
  cr_assert(*gradient_at(&p, y, (double[]){0}, 1) == 0);
  compilation_destroy(p.c);
}

Test(differentiate, kinks) {
  Point p;
  start_at(&p, 3);
  Graph *graph = p.graph;
  const double u[] = {-2, 0, 3}, zeros[] = {0, 0, 0};
  expect(&p, build_map1(graph, IR_abs, p.u), u, (double[]){-1, 0, 1}, "abs");
  expect(&p, build_map1(graph, IR_sign, p.u), u, zeros, "sign");
  expect(&p, build_map1(graph, IR_relu, p.u), u, (double[]){0, 0, 1}, "relu");
  Node *group = build_scalar_expand(graph, norm(&p), &p.u->shape);
  expect(&p, build_map2(graph, IR_mul, group, filled(&p, 1.0 / 3)), zeros, zeros, "norm");
  Node *twice = build_map2(graph, IR_mul, p.u, filled(&p, 2));
  expect(&p, build_map2(graph, IR_max, p.u, twice), u, (double[]){1, 1, 2}, "max: the first at a tie");
  expect(&p, build_map2(graph, IR_max, twice, p.u), u, (double[]){1, 2, 2}, "max: the first at a tie");
  expect(&p, build_map2(graph, IR_min, p.u, twice), u, (double[]){2, 1, 1}, "min: the first at a tie");
  Node *largest = build_scalar_expand(graph, build_max_of(graph, p.u, 1), &p.u->shape);
  Node *third = build_map2(graph, IR_mul, largest, filled(&p, 1.0 / 3));
  expect(&p, third, (double[]){1, 1, 0}, (double[]){1, 0, 0}, "the first of equal maxima");
  compilation_destroy(p.c);
}

Test(differentiate, powers_at_zero_and_below) {
  Point p;
  start_at(&p, 3);
  Graph *graph = p.graph;
  const double u[] = {-2, 0, 3};
  expect(&p, build_map2(graph, IR_pow, p.u, filled(&p, 2)), u, (double[]){-4, 0, 6}, "u^2");
  expect(&p, build_map2(graph, IR_pow, p.u, filled(&p, 3)), u, (double[]){12, 0, 27}, "u^3");
  expect(&p, build_map2(graph, IR_pow, p.u, filled(&p, 0.5)), (double[]){4, 0, 1}, (double[]){0.25, 0, 0.5}, "u^0.5");
  double slope = 0.25 * pow(2, -0.75);
  expect(&p, build_map2(graph, IR_pow, p.u, filled(&p, 0.25)), (double[]){2, 0, 1}, (double[]){slope, 0, 0.25},
         "u^0.25");
  Node *varying = build_map2(graph, IR_pow, filled(&p, 0), build_map1(graph, IR_exp, p.u));
  expect(&p, varying, u, (double[]){0, 0, 0}, "0^exp(u)");
  compilation_destroy(p.c);
}

Test(differentiate, inner_values_and_stops) {
  Point p;
  start_at(&p, 1);
  Graph *graph = p.graph;
  Node *z = build_variable(graph, build_map2(graph, IR_mul, p.u, filled(&p, 3)));
  Node *stopped = build_stop(graph, z), *wrt[] = {z, p.u, build_filled(graph, 7, &p.u->shape)}, *adjoints[3];
  Node *y = build_map2(graph, IR_mul, build_map1(graph, IR_neg, z), stopped); /* -z stop(z) */
  differentiate(graph, build_sum(graph, y, 1), wrt, 3, adjoints);
  RandomInputs *inputs = random_inputs(p.c, &p.signature, 1, 1);
  inputs->parameters[0][0] = 2;
  cr_assert(value_of(graph, adjoints[0], inputs)[0] == -6);
  cr_assert(value_of(graph, adjoints[1], inputs)[0] == -18);
  cr_assert(value_of(graph, adjoints[2], inputs)[0] == 0);
  compilation_destroy(p.c);
}

/* --- random graphs --- */

Test(differentiate, random_graphs) {
  int compared = 0, skipped = 0;
  for (uint64_t seed = 0; seed < 250; seed++) {
    Compilation *c = compilation_create();
    Graph *graph = random_forward_graph(c, seed);
    RandomInputs *inputs = random_inputs(c, graph->signature, seed, ROWS);
    int parameters[] = {0, 1, 2, 3, 4};
    GradientCheck check =
        gradient_check(graph, graph->outputs[0].value, parameters, graph->signature->parameter_count, inputs);
    cr_assert(check.worst < 1e-6, "seed %d is off by %g", (int)seed, check.worst);
    compared += check.compared;
    skipped += check.skipped;
    compilation_destroy(c);
  }
  cr_assert(compared > 1000 && skipped < compared / 10, "%d compared, %d skipped", compared, skipped);
}
