/* Dims, builders, facts, printer, verifier and interpreter, each by its definition and on random graphs. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "broken_graph.h"
#include "gradient_check.h"

/* --- dims --- */

static void expect_text(Compilation *c, Dim dim, double size, const char *text) {
  cr_assert(strcmp(dim_text(c, dim), text) == 0, "\"%s\" should be \"%s\"", dim_text(c, dim), text);
  cr_assert(dim.size == size, "%s is %g, not %g", text, dim.size, size);
}

Test(dims, print_as_an_author_writes) {
  Compilation *c = compilation_create();
  Dim D = dim_name(c, intern(c, "D"), 784), K = dim_name(c, intern(c, "K"), 64), one = dim_number(1);
  Dim H = dim_name(c, intern(c, "H"), 8), W = dim_name(c, intern(c, "W"), 4);
  expect_text(c, D, 784, "D");
  expect_text(c, dim_number(16), 16, "16");
  expect_text(c, dim_multiply(c, dim_number(2), D), 1568, "2 * D");
  expect_text(c, dim_divide(c, D, dim_number(2)), 392, "D / 2");
  expect_text(c, dim_add(c, one, K), 65, "K + 1");
  expect_text(c, dim_subtract(c, K, one), 63, "K - 1");
  expect_text(c, dim_subtract(c, one, K), -63, "1 - K");
  expect_text(c, dim_subtract(c, dim_number(0), K), -64, "-K");
  expect_text(c, dim_multiply(c, D, D), 784 * 784, "D^2");
  Dim pixels = dim_multiply(c, dim_multiply(c, dim_number(64), H), W);
  expect_text(c, dim_divide(c, pixels, dim_number(16)), 128, "4 * H * W");
  expect_text(c, dim_divide(c, pixels, dim_number(3)), 2048.0 / 3, "64 * H * W / 3");
  expect_text(c, dim_multiply(c, dim_number(0.1), D), 0.1 * 784, "D / 10");
  expect_text(c, dim_multiply(c, dim_add(c, D, one), dim_subtract(c, D, one)), 784.0 * 784 - 1, "D^2 - 1");
  compilation_destroy(c);
}

Test(dims, agree_as_polynomials) {
  Compilation *c = compilation_create();
  Dim D = dim_name(c, intern(c, "D"), 64), K = dim_name(c, intern(c, "K"), 64), two = dim_number(2);
  cr_assert(!dim_agree(D, K) && !dim_same(D, K), "two names of one value");
  cr_assert(dim_agree(D, dim_number(64)) && !dim_same(D, dim_number(64)));
  cr_assert(!dim_agree(D, dim_number(65)) && dim_agree(two, dim_number(2)) && dim_same(two, dim_number(2)));
  cr_assert(dim_same(dim_add(c, D, K), dim_add(c, K, D)));
  cr_assert(dim_same(dim_add(c, D, D), dim_multiply(c, two, D)));
  cr_assert(dim_same(dim_divide(c, dim_multiply(c, D, two), two), D));
  Dim left = dim_multiply(c, dim_add(c, D, K), dim_subtract(c, D, K));
  cr_assert(dim_same(left, dim_subtract(c, dim_multiply(c, D, D), dim_multiply(c, K, K))));
  Dim nothing = dim_subtract(c, D, D);
  cr_assert(nothing.symbol == NULL && nothing.size == 0, "no name is left");
  cr_assert(dim_divide(c, D, K).symbol == NULL && dim_divide(c, D, K).size == 1);
  Dim huge = D;
  for (int i = 0; i < 12; i++) huge = dim_multiply(c, huge, dim_number(1e6));
  cr_assert(huge.symbol == NULL && huge.size > 1e70, "an overflow leaves a bare number");
  compilation_destroy(c);
}

/* --- tables --- */

Test(ir, tables_are_shared_by_content) {
  Compilation *c = compilation_create();
  Graph *g = graph_create(c, arena_new(c, Signature), "test", 1);
  double a[] = {0.5, -2, 7}, b[] = {0.5, -2, 8}, zero[] = {0.0, -0.0, 1};
  Shape line = {.rank = 1, .dims = {dim_number(3)}}, named = {.rank = 1, .dims = {dim_name(c, intern(c, "N"), 3)}};
  Node *first = build_table(g, a, &line);
  a[2] = 8; /* the graph has a copy */
  cr_assert(first->table[2] == 7 && build_table(g, b, &line) != first &&
            build_table(g, a, &line) == build_table(g, b, &line));
  cr_assert(build_table(g, b, &named) != build_table(g, b, &line));
  cr_assert(first->facts.low == -2 && first->facts.high == 7 && first->facts.finite && !first->facts.integer);
  cr_assert(build_table(g, zero, &line)->facts.integer);
  cr_assert(!signbit(build_table(g, zero, &line)->table[1]));
  graph_output(g, OUTPUT_VALUE, intern(c, "sum"), -1, build_sum(g, build_map2(g, IR_mul, first, first), 1));
  cr_assert(ir_verify(g) == NULL, "%s", ir_verify(g));
  Graph *simple = simplify(g);
  Evaluation *e = interpret(simple, &(Bindings){.rows = 1});
  cr_assert(e->values[simple->outputs[0].value->id][0] == 0.25 + 4 + 49);
  evaluation_free(e, simple);
  Text text = {.compilation = c};
  ir_print(&text, g);
  cr_assert(strstr(text.bytes, "table(0.5, -2, 7)") != NULL, "%s", text.bytes);
  compilation_destroy(c);
}

/* --- a small signature --- */

typedef struct Bench {
  Compilation *c;
  Signature signature;
  Parameter parameters[3]; /* w [A, B], v [A], s */
  DataInput data[2];       /* x [B] real, y [A] with missing entries */
  Noise noises[2];         /* uniform [A] {datum, sample}, normal {} */
  State states[1];
  RowState row_states[1];
  Graph *graph;
  Dim A, B;
} Bench;

static const Facts any_number = {.low = -INFINITY, .high = INFINITY, .finite = true};

static void set_up(Bench *t) {
  *t = (Bench){.c = compilation_create()};
  t->A = dim_name(t->c, intern(t->c, "A"), 3);
  t->B = dim_name(t->c, intern(t->c, "B"), 4);
  Shape a = {.rank = 1, .dims = {t->A}}, b = {.rank = 1, .dims = {t->B}}, ab = {.rank = 2, .dims = {t->A, t->B}};
  t->parameters[0] = (Parameter){.name = "w", .shape = ab};
  t->parameters[1] = (Parameter){.name = "v", .shape = a};
  t->parameters[2] = (Parameter){.name = "s"};
  t->data[0] = (DataInput){.name = "x", .shape = b, .facts = any_number};
  t->data[1] = (DataInput){.name = "y", .shape = a, .facts = any_number, .missing_ok = true};
  t->noises[0] = (Noise){.name = "e", .kind = NOISE_UNIFORM, .stream = 1, .shape = a, .axes = AXIS_DATUM | AXIS_SAMPLE};
  t->noises[1] = (Noise){.name = "f", .kind = NOISE_NORMAL, .stream = 2};
  t->states[0] = (State){.name = "mean", .shape = a};
  t->row_states[0] = (RowState){.name = "own", .shape = b};
  t->signature = (Signature){t->parameters, 3, t->data, 2, t->noises, 2, t->states, 1, t->row_states, 1, NULL, 0};
  t->graph = graph_create(t->c, &t->signature, "test", 2);
}

static Node *map2(Bench *t, Op op, Node *a, Node *b) { return build_map2(t->graph, op, a, b); }

/* --- builders --- */

Test(builders, fold_and_share) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *v = build_parameter(g, 1), *x = build_data(g, 0);
  Node *zero = build_filled(g, 0, &v->shape), *one = build_filled(g, 1, &v->shape),
       *two = build_filled(g, 2, &v->shape);
  cr_assert(build_parameter(g, 1) == v && build_constant(g, 2) == build_constant(g, 2));
  cr_assert(map2(&t, IR_add, one, one) == two && map2(&t, IR_mul, two, one) == two);
  cr_assert(map2(&t, IR_add, v, zero) == v && map2(&t, IR_sub, v, zero) == v && map2(&t, IR_mul, one, v) == v);
  cr_assert(map2(&t, IR_div, v, one) == v && map2(&t, IR_mul, v, zero) == zero);
  cr_assert(map2(&t, IR_sub, zero, v)->op == IR_neg && map2(&t, IR_sub, v, v) == zero);
  cr_assert(map2(&t, IR_pow, v, two) == map2(&t, IR_mul, v, v));
  cr_assert(map2(&t, IR_pow, v, build_filled(g, 0.5, &v->shape))->op == IR_sqrt);
  cr_assert(map2(&t, IR_add, v, two) == map2(&t, IR_add, two, v));
  cr_assert(build_map1(g, IR_neg, build_map1(g, IR_neg, v)) == v);
  cr_assert(build_map3(g, IR_select, one, v, two) == v && build_map3(g, IR_select, zero, v, two) == two);
  cr_assert(build_map3(g, IR_select, v, two, two) == two);
  Node *missing = build_data(g, 1);
  cr_assert(map2(&t, IR_mul, missing, zero) != zero, "NaN * 0 is not 0");
  cr_assert(map2(&t, IR_sub, missing, missing)->op == IR_sub);
  Node *spread_zero = map2(&t, IR_mul, x, build_filled(g, 0, &x->shape));
  cr_assert(spread_zero->axes == AXIS_DATUM && spread_zero->op == IR_spread, "an identity keeps the axes");
  cr_assert(build_map1(g, IR_log, zero)->operands[0]->op == IR_log, "infinite constants are not folded");
  compilation_destroy(t.c);
}

/* Only select chooses between its operands: a quantile at a constant is not its first shape. */
Test(builders, choose_for_select_alone) {
  Compilation *c = compilation_create();
  Parameter parameters[] = {{.name = "b", .shape = {0}}};
  Signature signature = {.parameters = parameters, .parameter_count = 1};
  Graph *g = graph_create(c, &signature, "test", 1);
  Node *half = build_constant(g, 0.5), *a = build_constant(g, 1.3), *b = build_parameter(g, 0);
  Node *quantile = build_map3(g, IR_beta_quantile, half, a, b);
  cr_assert(quantile->op == IR_beta_quantile, "a constant probability made it %s", op_table[quantile->op].name);
  cr_assert(build_map3(g, IR_select, half, a, b) == a);
  compilation_destroy(c);
}

Test(builders, merge_views_and_compute_once) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *w = build_parameter(g, 0), *v = build_parameter(g, 1), *s = build_parameter(g, 2), *x = build_data(g, 0);
  cr_assert(build_permute(g, build_permute(g, w, (int[]){1, 0}), (int[]){1, 0}) == w);
  Shape flat = {.rank = 1, .dims = {dim_number(12)}};
  cr_assert(build_reshape(g, build_reshape(g, w, &flat), &w->shape) == w);
  cr_assert(build_slice(g, build_pad(g, v, 0, 2, dim_number(9)), 0, 2, t.A) == v);
  Node *parts[] = {v, build_map1(g, IR_exp, v)};
  cr_assert(build_slice(g, build_concat(g, parts, 2, 0, dim_number(6)), 0, 3, t.A) == parts[1]);
  Node *rows = build_expand(g, v, &w->shape, (int[]){0});
  Node *exponential = build_map1(g, IR_exp, rows);
  cr_assert(exponential->op == IR_expand && exponential->operands[0]->op == IR_exp, "exp before the repetition");
  Node *sum = build_sum(g, rows, 2);
  cr_assert(sum->op == IR_mul && sum->operands[0] == v, "a sum of repetitions multiplies");
  Node *spread = build_spread(g, v, AXIS_DATUM), *doubled = map2(&t, IR_add, spread, spread);
  cr_assert(doubled->op == IR_spread && doubled->operands[0]->axes == 0, "computed once a step, not once a row");
  cr_assert(build_sum_over(g, spread, AXIS_DATUM)->axes == 0);
  Node *product = build_contract(g, build_permute(g, w, (int[]){1, 0}), (int[]){0, 1}, x, (int[]){0}, 1, (int[]){1}, 0);
  cr_assert(product->op == IR_contract && product->operands[0] == w, "a permuted operand becomes labels");
  Node *variable = build_variable(g, spread);
  cr_assert(variable != spread && build_variable(g, spread) != variable);
  cr_assert(map2(&t, IR_mul, variable, variable)->operands[0] == variable, "nothing looks through a variable");
  cr_assert(build_stop(g, build_stop(g, s)) == build_stop(g, s));
  compilation_destroy(t.c);
}

/* --- facts: what is claimed holds of every value --- */

static void check_facts(const Graph *graph, const Node *node, const double *values, long extent, uint64_t seed) {
  const Facts *f = &node->facts;
  for (long i = 0; i < extent; i++) {
    double x = values[i], slack = 1e-9 * (1 + fabs(x));
    const char *op = op_table[node->op].name;
    if (f->finite) cr_assert(isfinite(x), "seed %d, %%%d (%s) is %g", (int)seed, node->id, op, x);
    if (isnan(x)) continue;
    cr_assert(x >= f->low - slack && x <= f->high + slack, "seed %d, %%%d (%s): %g is not in [%g, %g]", (int)seed,
              node->id, op, x, f->low, f->high);
    if (f->integer && isfinite(x))
      cr_assert(x == floor(x), "seed %d, %%%d (%s): %g is not whole", (int)seed, node->id, op, x);
    if (f->above_low && isfinite(f->low) && fabs(f->low) < 1) cr_assert(x > f->low, "%s: %g at its bound", op, x);
  }
  (void)graph;
}

Test(facts, hold_on_random_graphs) {
  for (uint64_t seed = 0; seed < 300; seed++) {
    Compilation *c = compilation_create();
    Graph *graph = random_graph(c, seed);
    RandomInputs *inputs = random_inputs(c, graph->signature, seed, 3);
    Evaluation *evaluation = interpret(graph, &inputs->bindings);
    for (int i = 0; i < graph->count; i++)
      check_facts(graph, graph->nodes[i], evaluation->values[i], node_extent(graph, graph->nodes[i], 3), seed);
    evaluation_free(evaluation, graph);
    compilation_destroy(c);
  }
}

Test(facts, prove_what_rules_need) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *v = build_parameter(g, 1), *e = build_noise(g, 0), *one = build_filled(g, 1, &v->shape);
  Node *exponential = build_map1(g, IR_exp, v), *square = map2(&t, IR_mul, v, v);
  cr_assert(v->facts.finite && !exponential->facts.finite && exponential->facts.low == 0 &&
            exponential->facts.above_low);
  cr_assert(exponential->facts.pole_free && !build_map1(g, IR_log, map2(&t, IR_add, v, exponential))->facts.pole_free);
  cr_assert(square->facts.low == 0 && square->facts.finite);
  cr_assert(map2(&t, IR_div, one, map2(&t, IR_add, square, one))->facts.finite);
  cr_assert(!map2(&t, IR_div, one, square)->facts.finite && !map2(&t, IR_div, one, square)->facts.pole_free);
  cr_assert(build_map1(g, IR_log, e)->facts.finite && build_map1(g, IR_log1p, build_map1(g, IR_neg, e))->facts.finite);
  cr_assert(build_map1(g, IR_sigmoid, v)->facts.high == 1 && build_map1(g, IR_sigmoid, v)->facts.below_high);
  cr_assert(build_map1(g, IR_exp, build_map1(g, IR_tanh, v))->facts.finite);
  cr_assert(!build_data(g, 1)->facts.finite, "missing entries are NaN");
  cr_assert(map2(&t, IR_less, v, one)->facts.integer && build_setting(g, SETTING_EPOCH)->facts.integer);
  compilation_destroy(t.c);
}

/* --- printer and verifier --- */

Test(printer, prints_a_line_a_node) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *w = build_parameter(g, 0), *x = build_data(g, 0);
  Node *h = build_contract(g, w, (int[]){0, 1}, x, (int[]){1}, 1, (int[]){0}, 0);
  h->name = "q.h";
  Node *sum = build_sum_over(g, build_sum(g, build_map1(g, IR_relu, h), 1), AXIS_DATUM);
  graph_output(g, OUTPUT_OBJECTIVE, "elbo", -1, sum);
  Text text = {.compilation = t.c};
  ir_print(&text, g);
  const char *wanted = "program test, 2 samples\n"
                       "%0 [A, B] = parameter w\n"
                       "%1 [B] {datum} = data x\n"
                       "%2 q.h [A] {datum} = contract(%0 \"ab\", %1 \"b\" -> \"a\")\n"
                       "%3 [A] {datum} = relu(%2)\n"
                       "%4 {datum} = sum(%3, dims 0)\n"
                       "%5 = sum_over(%4, {datum})\n"
                       "objective elbo = %5\n";
  cr_assert(strcmp(text.bytes, wanted) == 0, "%s", text.bytes);
  cr_assert(ir_verify(g) == NULL);
  compilation_destroy(t.c);
}

Test(verifier, accepts_random_graphs_and_they_are_deterministic) {
  for (uint64_t seed = 0; seed < 300; seed++) {
    Compilation *c = compilation_create(), *d = compilation_create();
    Text first = {.compilation = c}, second = {.compilation = d};
    Graph *graph = random_graph(c, seed);
    const char *problem = ir_verify(graph);
    cr_assert(problem == NULL, "seed %d: %s", (int)seed, problem);
    ir_print(&first, graph);
    ir_print(&second, random_graph(d, seed));
    cr_assert(strcmp(first.bytes, second.bytes) == 0, "seed %d prints differently the second time", (int)seed);
    compilation_destroy(c);
    compilation_destroy(d);
  }
}

Test(verifier, finds_violations) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *w = build_parameter(g, 0), *v = build_parameter(g, 1), *x = build_data(g, 0);
  Node *h = build_contract(g, w, (int[]){0, 1}, x, (int[]){1}, 1, (int[]){0}, 0);
  Node *a = build_map1(g, IR_exp, h), *over = build_sum_over(g, a, AXIS_DATUM), *p = build_permute(g, w, (int[]){1, 0});
  Node *slice = build_slice(g, v, 0, 1, dim_number(2)), *m = build_max_of(g, v, 1);
  Node *q = build_map1(g, IR_exp, v);
  cr_assert(ir_verify(g) == NULL);
  BREAK(h->axes, 0, "axes are not the union");
  BREAK(h->labels_b[0], 7, "label of one operand alone");
  BREAK(h->labels_a[1], 0, "label twice");
  BREAK(a->operands[0], over, "before its user");
  BREAK(a->operands[0], w, "axes are not the union");
  BREAK(q->operands[0], w, "another shape");
  BREAK(a->id, 0, "id");
  BREAK(over->axes_attribute, AXIS_SAMPLE, "axes are not the union");
  BREAK(p->map[1], 5, "no permutation");
  BREAK(slice->start, 2, "slice out of range");
  BREAK(m->dims_mask, 0, "reduced dims");
  BREAK(v->index, 9, "out of range");
  BREAK(v->facts.low, (double)NAN, "not a number");
  BREAK(a->operand_count, 2, "number of operands");
  graph_output(g, OUTPUT_OBJECTIVE, "o", -1, h);
  expect_problem(g, "output objective");
  compilation_destroy(t.c);
}

/* --- interpreter --- */

Test(interpreter, special_functions) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *s = build_parameter(g, 2), *digamma = build_map1(g, IR_digamma, s), *higher[4];
  for (int n = 1; n <= 3; n++) higher[n] = map2(&t, IR_polygamma, build_constant(g, n), s);
  RandomInputs *inputs = random_inputs(t.c, &t.signature, 1, 1);
  const double points[] = {1, 0.5, -0.5}, euler = 0.57721566490153286, pi2 = 9.8696044010893586;
  const double psi[] = {-euler, -euler - 2 * log(2), 0.03648997397857652};
  const double psi1[] = {pi2 / 6, pi2 / 2, pi2 / 2 + 4}, zeta3 = 1.2020569031595943;
  for (int i = 0; i < 3; i++) {
    inputs->parameters[2][0] = points[i];
    cr_assert(fabs(*value_of(g, digamma, inputs) - psi[i]) < 1e-13);
    cr_assert(fabs(*value_of(g, higher[1], inputs) - psi1[i]) < 1e-12);
  }
  inputs->parameters[2][0] = 1;
  cr_assert(fabs(*value_of(g, higher[2], inputs) + 2 * zeta3) < 1e-12);
  cr_assert(fabs(*value_of(g, higher[3], inputs) - pi2 * pi2 / 15) < 1e-12);
  compilation_destroy(t.c);
}

Test(interpreter, conventions) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *s = build_parameter(g, 2), *n = build_map1(g, IR_log, s), *inverse = map2(&t, IR_div, build_constant(g, 1), s);
  Node *zero = map2(&t, IR_mul, s, s);
  Node *nodes[] = {map2(&t, IR_adjoint_times, zero, inverse), build_map1(g, IR_relu, n), map2(&t, IR_max, n, s),
                   map2(&t, IR_less, n, s), map2(&t, IR_mod, build_constant(g, -7), build_map1(g, IR_exp, s))};
  RandomInputs *inputs = random_inputs(t.c, &t.signature, 1, 1);
  inputs->parameters[2][0] = 0;
  cr_assert(*value_of(g, nodes[0], inputs) == 0, "0 * infinity in an adjoint");
  inputs->parameters[2][0] = -1;
  cr_assert(isnan(*value_of(g, nodes[1], inputs)) && isnan(*value_of(g, nodes[2], inputs)), "NaN passes");
  cr_assert(*value_of(g, nodes[3], inputs) == 0, "NaN is not less");
  inputs->parameters[2][0] = log(4);
  cr_assert(fabs(*value_of(g, nodes[4], inputs) - 1) < 1e-12, "mod has the sign of its divisor");
  compilation_destroy(t.c);
}

/* Every contract of random graphs again, by brute force over all labels and axes. */
static double contracted(const Graph *g, const Node *node, const double *a, const double *b, long place) {
  const Node *left = node->operands[0], *right = node->operands[1];
  long rows = 3, size[26], index[26] = {0};
  for (int l = 0; l < 26; l++) size[l] = 1;
  for (int d = 0; d < left->shape.rank; d++) size[node->labels_a[d]] = (long)left->shape.dims[d].size;
  for (int d = 0; d < right->shape.rank; d++) size[node->labels_b[d]] = (long)right->shape.dims[d].size;
  unsigned axes = left->axes | right->axes;
  size[24] = axes & AXIS_DATUM ? rows : 1;
  size[25] = axes & AXIS_SAMPLE ? g->samples : 1;
  double sum = 0;
  for (bool more = true; more;) {
    const Node *all[] = {node, left, right};
    const int *labels[] = {node->labels_out, node->labels_a, node->labels_b};
    long at[3];
    for (int k = 0; k < 3; k++) {
      at[k] = all[k]->axes & AXIS_DATUM ? index[24] : 0;
      if (all[k]->axes & AXIS_SAMPLE) at[k] = at[k] * g->samples + index[25];
      for (int d = 0; d < all[k]->shape.rank; d++)
        at[k] = at[k] * (long)all[k]->shape.dims[d].size + index[labels[k][d]];
    }
    if (at[0] == place) sum += a[at[1]] * b[at[2]];
    more = false;
    for (int l = 0; l < 26 && !more; l++) {
      more = ++index[l] < size[l];
      if (!more) index[l] = 0;
    }
  }
  return sum;
}

Test(interpreter, contract_by_brute_force) {
  int seen = 0;
  for (uint64_t seed = 0; seed < 120; seed++) {
    Compilation *c = compilation_create();
    Graph *g = random_forward_graph(c, seed);
    RandomInputs *inputs = random_inputs(c, g->signature, seed, 3);
    Evaluation *e = interpret(g, &inputs->bindings);
    for (int i = 0; i < g->count; i++) {
      const Node *n = g->nodes[i];
      if (n->op != IR_contract) continue;
      for (long k = 0; k < node_extent(g, n, 3); k++, seen++) {
        double want = contracted(g, n, e->values[n->operands[0]->id], e->values[n->operands[1]->id], k);
        cr_assert(fabs(e->values[i][k] - want) < 1e-10 * (1 + fabs(want)), "seed %d, %%%d[%ld]", (int)seed, i, k);
      }
    }
    evaluation_free(e, g);
    compilation_destroy(c);
  }
  cr_assert(seen > 1000, "%d", seen);
}

Test(interpreter, noise_belongs_to_rows) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *e = build_noise(g, 0), *f = build_noise(g, 1);
  RandomInputs *inputs = random_inputs(t.c, &t.signature, 9, 4);
  const double *whole = value_of(g, e, inputs), *step = value_of(g, f, inputs);
  inputs->bindings.first_row += 2;
  inputs->bindings.rows = 2;
  const double *half = value_of(g, e, inputs);
  long row = 2 * 3; /* samples x size */
  for (long i = 0; i < 2 * row; i++) cr_assert(half[i] == whole[2 * row + i] && half[i] > 0 && half[i] < 1);
  cr_assert(half[0] != half[3] && half[0] != half[row], "samples and rows differ");
  cr_assert(*value_of(g, f, inputs) == *step, "noise of a step does not depend on rows");
  inputs->bindings.step++;
  cr_assert(value_of(g, e, inputs)[0] != half[0] && *value_of(g, f, inputs) != *step);
  compilation_destroy(t.c);
}

Test(interpreter, branches_and_held_values) {
  Bench t;
  set_up(&t);
  Graph *g = t.graph;
  Node *s = build_parameter(g, 2), *stopped = build_stop(g, map2(&t, IR_mul, s, s));
  graph_output(g, OUTPUT_VALUE, "sum", -1, map2(&t, IR_add, build_map1(g, IR_relu, s), stopped));
  RandomInputs *inputs = random_inputs(t.c, &t.signature, 1, 1);
  uint64_t hashes[3];
  const double points[] = {1, 2, -1};
  for (int i = 0; i < 3; i++) {
    inputs->parameters[2][0] = points[i];
    Evaluation *e = interpret(g, &inputs->bindings);
    hashes[i] = e->branches;
    evaluation_free(e, g);
  }
  cr_assert(hashes[0] == hashes[1] && hashes[0] != hashes[2]);
  double **held = calloc((size_t)g->count, sizeof *held);
  inputs->bindings.held = held;
  inputs->parameters[2][0] = 3;
  cr_assert(*value_of(g, stopped, inputs) == 9);
  inputs->bindings.replay = true;
  inputs->parameters[2][0] = 5;
  cr_assert(*value_of(g, stopped, inputs) == 9 && *value_of(g, g->outputs[0].value, inputs) == 14);
  for (int i = 0; i < g->count; i++) free(held[i]);
  free(held);
  compilation_destroy(t.c);
}

Test(interpreter, rebuilt_graphs_mean_the_same) {
  for (uint64_t seed = 0; seed < 100; seed++) {
    Compilation *c = compilation_create();
    Graph *g = random_graph(c, seed), *copy = graph_create(c, g->signature, "copy", g->samples);
    Node **images = arena_array(c, Node *, g->count);
    for (int i = 0; i < g->count; i++) {
      Node **operands = arena_array(c, Node *, g->nodes[i]->operand_count);
      for (int k = 0; k < g->nodes[i]->operand_count; k++) operands[k] = images[g->nodes[i]->operands[k]->id];
      images[i] = build_like(copy, g->nodes[i], operands);
    }
    RandomInputs *inputs = random_inputs(c, g->signature, seed, 3);
    for (int o = 0; o < g->output_count; o++) {
      const Node *a = g->outputs[o].value, *b = images[a->id];
      const double *x = value_of(g, a, inputs), *y = value_of(copy, b, inputs);
      cr_assert(a->axes == b->axes);
      for (long i = 0; i < node_extent(g, a, 3); i++) cr_assert(fabs(x[i] - y[i]) <= 1e-9 * (1 + fabs(x[i])));
    }
    compilation_destroy(c);
  }
}
