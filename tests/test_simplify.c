/* simplify keeps every value to rounding, leaves nothing dead and nothing to do, and knows its rules. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "gradient_check.h"

static void expect_equal(const Graph *a, const Graph *b, const RandomInputs *inputs, uint64_t seed) {
  Evaluation *left = interpret(a, &inputs->bindings), *right = interpret(b, &inputs->bindings);
  cr_assert(a->output_count == b->output_count);
  for (int o = 0; o < a->output_count; o++) {
    const Node *x = a->outputs[o].value, *y = b->outputs[o].value;
    cr_assert(x->axes == y->axes && shape_size(&x->shape) == shape_size(&y->shape) && x->shape.rank == y->shape.rank);
    for (long i = 0; i < node_extent(a, x, inputs->bindings.rows); i++) {
      double want = left->values[x->id][i], found = right->values[y->id][i];
      cr_assert(fabs(want - found) <= 1e-9 * (1 + fabs(want)), "seed %d, output %d[%ld]: %.17g became %.17g", (int)seed,
                o, i, want, found);
    }
  }
  evaluation_free(left, a);
  evaluation_free(right, b);
}

static void expect_no_dead_nodes(const Graph *g) {
  bool *used = arena_array(g->compilation, bool, g->count);
  for (int o = 0; o < g->output_count; o++) used[g->outputs[o].value->id] = true;
  for (int id = g->count - 1; id >= 0; id--) {
    cr_assert(used[id], "%%%d (%s) is dead", id, op_table[g->nodes[id]->op].name);
    for (int k = 0; k < g->nodes[id]->operand_count; k++) used[g->nodes[id]->operands[k]->id] = true;
  }
}

Test(simplify, keeps_random_graphs) {
  long before = 0, after = 0;
  for (uint64_t seed = 0; seed < 400; seed++) {
    Compilation *c = compilation_create();
    Graph *graph = random_graph(c, seed), *simple = simplify(graph);
    const char *problem = ir_verify(simple);
    cr_assert(problem == NULL, "seed %d: %s", (int)seed, problem);
    expect_no_dead_nodes(simple);
    expect_equal(graph, simple, random_inputs(c, graph->signature, seed, 3), seed);
    before += graph->count;
    after += simple->count;
    compilation_destroy(c);
  }
  cr_assert(after < before);
}

Test(simplify, is_deterministic_and_settles) {
  for (uint64_t seed = 0; seed < 100; seed++) {
    Compilation *c = compilation_create(), *d = compilation_create();
    Text once = {.compilation = c}, again = {.compilation = d}, twice = {.compilation = c};
    Graph *simple = simplify(random_graph(c, seed));
    ir_print(&once, simple);
    ir_print(&again, simplify(random_graph(d, seed)));
    ir_print(&twice, simplify(simple));
    cr_assert(strcmp(once.bytes, again.bytes) == 0, "seed %d prints differently the second time", (int)seed);
    cr_assert(strcmp(once.bytes, twice.bytes) == 0, "seed %d: not settled\n%s%s", (int)seed, once.bytes, twice.bytes);
    compilation_destroy(c);
    compilation_destroy(d);
  }
}

/* --- the rules, one by one --- */

enum { A = 3, B = 4 };

typedef struct Bench {
  Compilation *c;
  Signature signature;
  Parameter parameters[3]; /* w [A, B], v [A], s */
  DataInput data[2];       /* x [A], m [A, B] */
  Graph *graph;
  Node *w, *v, *s, *x, *m;
} Bench;

static void set_up(Bench *t) {
  const Facts real = {.low = -INFINITY, .high = INFINITY, .finite = true};
  *t = (Bench){.c = compilation_create()};
  Shape a = {.rank = 1, .dims = {dim_number(A)}}, ab = {.rank = 2, .dims = {dim_number(A), dim_number(B)}};
  t->parameters[0] = (Parameter){.name = "w", .shape = ab};
  t->parameters[1] = (Parameter){.name = "v", .shape = a};
  t->parameters[2] = (Parameter){.name = "s"};
  t->data[0] = (DataInput){.name = "x", .shape = a, .facts = real};
  t->data[1] = (DataInput){.name = "m", .shape = ab, .facts = real};
  t->signature = (Signature){.parameters = t->parameters, .parameter_count = 3, .data = t->data, .data_count = 2};
  t->graph = graph_create(t->c, &t->signature, "test", 1);
  t->w = build_parameter(t->graph, 0);
  t->v = build_parameter(t->graph, 1);
  t->s = build_parameter(t->graph, 2);
  t->x = build_data(t->graph, 0);
  t->m = build_data(t->graph, 1);
}

static Node *map1(Bench *t, Op op, Node *a) { return build_map1(t->graph, op, a); }

static Node *map2(Bench *t, Op op, Node *a, Node *b) { return build_map2(t->graph, op, a, b); }

static Node *filled(Bench *t, double value, const Node *like) { return build_filled(t->graph, value, &like->shape); }

static Node *expanded(Bench *t, Node *scalar, const Node *like) {
  return build_scalar_expand(t->graph, scalar, &like->shape);
}

static int count_of(const Graph *graph, Op op) {
  int count = 0;
  for (int i = 0; i < graph->count; i++) count += graph->nodes[i]->op == op;
  return count;
}

/* The simplified value as a graph of its own, whose root must be `root`. */
static Graph *expect_root(Bench *t, Node *value, Op root, const char *what) {
  t->graph->output_count = 0;
  graph_output(t->graph, value->axes & AXIS_DATUM ? OUTPUT_ROWS : OUTPUT_METRIC, "y", -1, value);
  Graph *simple = simplify(t->graph);
  Text text = {.compilation = t->c};
  ir_print(&text, simple);
  cr_assert(simple->outputs[0].value->op == root, "%s:\n%s", what, text.bytes);
  expect_equal(t->graph, simple, random_inputs(t->c, &t->signature, 3, 5), 0);
  return simple;
}

Test(simplify, stable_forms) {
  Bench t;
  set_up(&t);
  Node *x = t.x, *one = filled(&t, 1, x), *e = map1(&t, IR_exp, x), *sigmoid = map1(&t, IR_sigmoid, x);
  expect_root(&t, map1(&t, IR_log, map2(&t, IR_add, one, e)), IR_softplus, "log(1 + exp(x))");
  expect_root(&t, map1(&t, IR_log1p, e), IR_softplus, "log1p(exp(x))");
  Graph *g = expect_root(&t, map1(&t, IR_log, sigmoid), IR_neg, "log(sigmoid(x))");
  cr_assert(count_of(g, IR_softplus) == 1);
  g = expect_root(&t, map1(&t, IR_log, map2(&t, IR_sub, one, sigmoid)), IR_neg, "log(1 - sigmoid(x))");
  cr_assert(count_of(g, IR_softplus) == 1 && count_of(g, IR_neg) == 1);
  expect_root(&t, map2(&t, IR_sub, one, sigmoid), IR_sigmoid, "1 - sigmoid(x)");
  expect_root(&t, map1(&t, IR_log, e), IR_data, "log(exp(x))");
  Node *square = map2(&t, IR_mul, x, x);
  expect_root(&t, map1(&t, IR_exp, map1(&t, IR_log, map2(&t, IR_add, square, one))), IR_add, "exp(log(x^2 + 1))");
  expect_root(&t, map2(&t, IR_sub, e, one), IR_expm1, "exp(x) - 1");
  g = expect_root(&t, map2(&t, IR_sub, one, e), IR_neg, "1 - exp(x)");
  cr_assert(count_of(g, IR_expm1) == 1);
  expect_root(&t, map1(&t, IR_log, map2(&t, IR_add, one, square)), IR_log1p, "log(1 + x^2)");
  expect_root(&t, map2(&t, IR_div, one, map2(&t, IR_add, one, map1(&t, IR_exp, map1(&t, IR_neg, x)))), IR_sigmoid,
              "1 / (1 + exp(-x))");
  expect_root(&t, map1(&t, IR_sqrt, square), IR_abs, "sqrt(x^2)");
  cr_assert(map1(&t, IR_exp, map1(&t, IR_log, x))->op == IR_exp, "exp(log(x)) is NaN below 0");
  compilation_destroy(t.c);
}

Test(simplify, stable_forms_do_not_overflow) {
  Bench t;
  set_up(&t);
  Node *s = t.s, *one = build_constant(t.graph, 1), *tiny = build_constant(t.graph, -1e-30), *e = map1(&t, IR_exp, s),
       *sigmoid = map1(&t, IR_sigmoid, s);
  Node *nodes[] = {map1(&t, IR_log, map2(&t, IR_add, one, e)), map1(&t, IR_log, map2(&t, IR_sub, one, sigmoid)),
                   map1(&t, IR_log, e), map2(&t, IR_div, e, map2(&t, IR_add, one, e)),
                   map1(&t, IR_log, map2(&t, IR_sub, one, map1(&t, IR_exp, map2(&t, IR_mul, s, tiny))))};
  const double wanted[] = {1000, -1000, 1000, 1, log(1e-27)};
  RandomInputs *inputs = random_inputs(t.c, &t.signature, 1, 1);
  inputs->parameters[2][0] = 1000;
  for (int i = 0; i < 5; i++) cr_assert(*value_of(t.graph, nodes[i], inputs) == wanted[i], "form %d", i);
  compilation_destroy(t.c);
}

Test(simplify, factors_gather_and_leave) {
  Bench t;
  set_up(&t);
  Node *x = t.x, *s = expanded(&t, t.s, x), *u = expanded(&t, map1(&t, IR_exp, t.s), x);
  Graph *g = expect_root(&t, map2(&t, IR_mul, map2(&t, IR_mul, x, s), u), IR_mul, "(x s) u");
  cr_assert(count_of(g, IR_mul) == 2 && count_of(g, IR_expand) == 1, "one multiplication of the vector");
  g = expect_root(&t, map2(&t, IR_mul, map2(&t, IR_mul, x, filled(&t, 3, x)), filled(&t, 5, x)), IR_mul, "(x 3) 5");
  cr_assert(count_of(g, IR_mul) == 1);
  g = expect_root(&t, map1(&t, IR_neg, map2(&t, IR_mul, x, filled(&t, 3, x))), IR_mul, "-(x 3)");
  cr_assert(count_of(g, IR_neg) == 0);
  Node *sum = map2(&t, IR_add, map2(&t, IR_mul, x, s), map2(&t, IR_mul, t.v, map1(&t, IR_neg, s)));
  g = expect_root(&t, map2(&t, IR_add, map2(&t, IR_mul, map1(&t, IR_exp, x), s), map2(&t, IR_mul, x, s)), IR_mul,
                  "factor");
  cr_assert(count_of(g, IR_mul) == 1);
  g = expect_root(&t, sum, IR_mul, "x s - v s");
  cr_assert(count_of(g, IR_mul) == 1);
  g = expect_root(&t, build_sum(t.graph, map2(&t, IR_mul, x, s), 1), IR_mul, "sum(x s)");
  cr_assert(count_of(g, IR_expand) == 0);
  Node *mean = map2(&t, IR_div, x, expanded(&t, build_setting(t.graph, SETTING_TOTAL_ROWS), x));
  g = expect_root(&t, build_sum_over(t.graph, mean, AXIS_DATUM), IR_mul, "sum over rows of x / rows");
  g = expect_root(&t, build_sum_over(t.graph, map2(&t, IR_mul, x, t.v), AXIS_DATUM), IR_mul, "sum over rows of x v");
  cr_assert(g->outputs[0].value->axes == 0 && count_of(g, IR_sum_over) == 1);
  compilation_destroy(t.c);
}

Test(simplify, sums_merge) {
  Bench t;
  set_up(&t);
  Node *e = map1(&t, IR_exp, t.m);
  Graph *g = expect_root(&t, build_sum(t.graph, build_sum(t.graph, e, 1), 1), IR_sum, "sum of sum");
  cr_assert(count_of(g, IR_sum) == 1);
  Node *rows = build_sum_over(t.graph, e, AXIS_DATUM);
  g = expect_root(&t, build_sum(t.graph, rows, 3), IR_sum_over, "the sum within a datum first");
  cr_assert(g->outputs[0].value->operands[0]->op == IR_sum);
  g = expect_root(&t, build_sum(t.graph, build_permute(t.graph, e, (int[]){1, 0}), 3), IR_sum, "sum of permute");
  cr_assert(count_of(g, IR_permute) == 0);
  Node *repeated = build_expand(t.graph, t.x, &t.w->shape, (int[]){0});
  g = expect_root(&t, build_sum(t.graph, repeated, 2), IR_mul, "sum of expand");
  cr_assert(count_of(g, IR_sum) == 0);
  Node *spread = build_spread(t.graph, t.v, AXIS_DATUM);
  g = expect_root(&t, build_sum_over(t.graph, spread, AXIS_DATUM), IR_mul, "sum over a spread axis");
  cr_assert(count_of(g, IR_sum_over) == 0 && count_of(g, IR_setting) == 1);
  compilation_destroy(t.c);
}

Test(simplify, products_without_a_free_dim) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  const int a[] = {0}, ab[] = {0, 1}, b[] = {1};
  Node *dot = build_contract(g, t.x, a, t.v, a, 0, NULL, 0);
  expect_root(&t, dot, IR_contract, "the datum is a free axis of x: a matrix times a vector");
  Node *rowwise = build_contract(g, t.x, a, map1(&t, IR_exp, t.x), a, 0, NULL, 0);
  expect_root(&t, rowwise, IR_sum, "a dot product in each row");
  Node *matrix = build_contract(g, t.m, ab, t.x, a, 1, b, 0);
  expect_root(&t, matrix, IR_sum, "a matrix of each row times a vector of each row");
  Node *outer = build_contract(g, t.x, a, t.x, b, 2, (int[]){1, 0}, 0);
  expect_root(&t, outer, IR_mul, "an outer product");
  Node *scale = build_contract(g, t.x, a, map1(&t, IR_exp, t.x), a, 1, a, AXIS_DATUM);
  expect_root(&t, scale, IR_sum_over, "the gradient of a scale");
  Node *weights = build_contract(g, t.x, a, t.x, b, 2, ab, AXIS_DATUM);
  expect_root(&t, weights, IR_contract, "the gradient of weights stays a product");
  Node *lone = build_contract(g, t.x, a, t.w, ab, 1, b, AXIS_DATUM);
  Graph *simple = expect_root(&t, lone, IR_contract, "an axis of one operand is summed first");
  cr_assert(simple->outputs[0].value->operands[0]->op == IR_sum_over && simple->outputs[0].value->axes_attribute == 0);
  compilation_destroy(t.c);
}

Test(simplify, parts_that_meet) { /* the adjoints of a value's parts, in any order; not of parts that leave a gap */
  Bench t;
  set_up(&t);
  Node *parts[3], *pads[3];
  for (int i = 0; i < 3; i++) {
    parts[i] = map1(&t, IR_sin, build_slice(t.graph, t.m, 0, i, dim_number(1)));
    pads[i] = build_pad(t.graph, parts[i], 0, i, t.m->shape.dims[0]);
  }
  Graph *two = expect_root(&t, map2(&t, IR_add, pads[1], pads[0]), IR_pad, "two of three parts");
  cr_expect(count_of(two, IR_concat) == 1 && count_of(two, IR_add) == 0);
  Graph *all = expect_root(&t, map2(&t, IR_add, map2(&t, IR_add, pads[2], pads[1]), pads[0]), IR_concat, "all parts");
  cr_expect(count_of(all, IR_pad) == 0 && count_of(all, IR_add) == 0);
  expect_root(&t, map2(&t, IR_add, pads[0], pads[2]), IR_add, "parts with a gap");
  compilation_destroy(t.c);
}
