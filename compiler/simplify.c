/* simplify: a new graph with the same outputs. Requires a verified graph; leaves one without dead nodes, in which
 * the builders have folded and shared all they can and each op has been rewritten by its rules here: factors that are
 * the same everywhere moved out of large values, smaller sums first, products without a free dim made elementwise;
 * loops hold nothing that could stand before them and carry nothing that nobody asks for. No rule changes a value
 * beyond rounding (where both sides are finite).
 *
 * A rule sees a node of the new graph, just built, and returns a better one with the same shape and axes, or NULL. */
#include <string.h>

#include "ir_parts.h"

static const double safely_positive = 1e-30;

typedef struct Pass {
  const Graph *from;
  Graph *graph;
  int *users;      /* of the old graph's nodes, by id, outputs included */
  Node **images;   /* the old nodes' counterparts, by id */
  Node ***results; /* those of a repeat, by id and index */
} Pass;

/* --- short names for the rules --- */

static Node *unary(Pass *pass, Op op, Node *a) { return build_map1(pass->graph, op, a); }

static Node *binary(Pass *pass, Op op, Node *a, Node *b) { return build_map2(pass->graph, op, a, b); }

static Node *negated(Pass *pass, Node *a) { return build_map1(pass->graph, IR_neg, a); }

static Node *filled(Pass *pass, double value, const Node *like) {
  return build_filled(pass->graph, value, &like->shape);
}

/* One number a step for all elements: a constant, or computed from parameters, settings and the like. */
static bool is_uniform(const Node *x) { return x->axes == 0 && (x->shape.rank == 0 || node_is_scalar_expand(x)); }

/* x = varying * uniform, either way round. */
static bool split_product(const Node *x, Node **varying, Node **uniform) {
  if (x->op != IR_mul || is_uniform(x)) return false;
  for (int k = 0; k < 2; k++)
    if (is_uniform(x->operands[k])) {
      *uniform = x->operands[k];
      *varying = x->operands[1 - k];
      return true;
    }
  return false;
}

static Node *uniform_scalar(Node *uniform) { return uniform->shape.rank == 0 ? uniform : uniform->operands[0]; }

/* 1 if s = t, -1 if s = -t, else 0 */
static int same_up_to_sign(Node *s, Node *t) {
  double number, other;
  s = uniform_scalar(s);
  t = uniform_scalar(t);
  if (s == t) return 1;
  if ((s->op == IR_neg && s->operands[0] == t) || (t->op == IR_neg && t->operands[0] == s)) return -1;
  return node_filled(s, &number) && node_filled(t, &other) && number == -other ? -1 : 0;
}

/* --- sums and products --- */

/* x * s + y * s = (x + y) * s; s and -s count as the same */
static Node *gather_factor(Pass *pass, Node *node) {
  Node *x, *y, *s, *t;
  if (!split_product(node->operands[0], &x, &s) || !split_product(node->operands[1], &y, &t)) return NULL;
  int sign = same_up_to_sign(s, t);
  if (sign == 0) return NULL;
  bool adds = (node->op == IR_add) == (sign == 1);
  return binary(pass, IR_mul, binary(pass, adds ? IR_add : IR_sub, x, y), s);
}

/* The sum of values that are 0 but for parts that meet, such as the adjoints of a value's two halves: one part after
 * the other. */
static Node *gather_pads(Pass *pass, Node *a, Node *b) {
  if (a->op != IR_pad || b->op != IR_pad || a->dim != b->dim || a->axes != b->axes) return NULL;
  if (a->start > b->start) return gather_pads(pass, b, a);
  Node *parts[] = {a->operands[0], b->operands[0]};
  Dim extent = a->shape.dims[a->dim], both = extent;
  double length = parts[0]->shape.dims[a->dim].size, sum = length + parts[1]->shape.dims[a->dim].size;
  if ((double)a->start + length != (double)b->start) return NULL;
  if (sum != extent.size) both = dim_number(sum);
  return build_pad(pass->graph, build_concat(pass->graph, parts, 2, a->dim, both), a->dim, a->start, extent);
}

static Node *rewrite_add(Pass *pass, Node *node) {
  Node *a = node->operands[0], *b = node->operands[1], *whole = gather_pads(pass, a, b);
  double number;
  if (whole != NULL) return whole;
  if (a->op == IR_add && node_filled(b, &number) && node_filled(a->operands[1], &number))
    return binary(pass, IR_add, a->operands[0], binary(pass, IR_add, a->operands[1], b));
  return gather_factor(pass, node);
}

/* 1 - sigmoid(x) keeps its digits as sigmoid(-x), which is only worth another sigmoid if the first one goes. */
static Node *rewrite_sub(Pass *pass, const Node *old, Node *node) {
  Node *a = node->operands[0], *b = node->operands[1];
  if (node_is(a, 1) && b->op == IR_sigmoid && old->op == IR_sub && pass->users[old->operands[1]->id] == 1)
    return unary(pass, IR_sigmoid, negated(pass, b->operands[0]));
  return gather_factor(pass, node);
}

/* Uniform factors gather: (x * s) * t = x * (s * t). */
static Node *rewrite_mul(Pass *pass, Node *node) {
  Node *x, *s, *y, *t;
  if (split_product(node, &x, &t)) {
    if (split_product(x, &y, &s)) return binary(pass, IR_mul, y, binary(pass, IR_mul, s, t));
    if (x->op == IR_neg) return binary(pass, IR_mul, x->operands[0], negated(pass, t));
    return NULL;
  }
  Node *a = node->operands[0], *b = node->operands[1];
  double number;
  if (a->op == IR_mul && node_filled(b, &number) && node_filled(a->operands[1], &number))
    return binary(pass, IR_mul, a->operands[0], binary(pass, IR_mul, a->operands[1], b));
  if (a->op == IR_neg && b->op == IR_neg) return binary(pass, IR_mul, a->operands[0], b->operands[0]);
  return NULL;
}

/* Division by what is the same everywhere is one reciprocal and a multiplication. */
static Node *rewrite_div(Pass *pass, Node *node) {
  Node *a = node->operands[0], *b = node->operands[1];
  Facts f = b->facts;
  if (is_uniform(b) && !is_uniform(a) && f.finite && (f.low >= safely_positive || f.high <= -safely_positive))
    return binary(pass, IR_mul, a, binary(pass, IR_div, filled(pass, 1, b), b));
  return NULL;
}

static Node *rewrite_neg(Pass *pass, Node *node) {
  Node *x, *s;
  if (split_product(node->operands[0], &x, &s)) return binary(pass, IR_mul, x, negated(pass, s));
  return NULL;
}

/* --- reductions: what does not vary moves out, and the smaller sum comes first --- */

static Node *rewrite_sum(Pass *pass, const Node *old, Node *node) {
  Node *x = node->operands[0], *varying, *uniform;
  Graph *graph = pass->graph;
  if (split_product(x, &varying, &uniform)) {
    Node *sum = build_sum(graph, varying, node->dims_mask);
    return binary(pass, IR_mul, sum, build_scalar_expand(graph, uniform_scalar(uniform), &sum->shape));
  }
  if (x->op == IR_neg) return negated(pass, build_sum(graph, x->operands[0], node->dims_mask));
  bool all = node->shape.rank == 0, single = old->op == IR_sum && pass->users[old->operands[0]->id] == 1;
  if (all && (x->op == IR_permute || x->op == IR_reshape)) {
    Node *inner = x->operands[0];
    return build_sum(graph, inner, (1u << inner->shape.rank) - 1);
  }
  if (x->op == IR_sum_over && single)
    return build_sum_over(graph, build_sum(graph, x->operands[0], node->dims_mask), x->axes_attribute);
  return NULL;
}

static Node *rewrite_sum_over(Pass *pass, Node *node) {
  Node *x = node->operands[0];
  unsigned axes = node->axes_attribute;
  if (x->op == IR_neg) return negated(pass, build_sum_over(pass->graph, x->operands[0], axes));
  if (x->op != IR_mul) return NULL;
  for (int k = 0; k < 2; k++) {
    Node *constant = x->operands[k], *varying = x->operands[1 - k];
    if ((constant->axes & axes) == 0) return binary(pass, IR_mul, build_sum_over(pass->graph, varying, axes), constant);
  }
  return NULL;
}

/* --- contract --- */

typedef struct Labels {
  int list[2 * MAX_RANK]; /* of the result, then those summed away */
  Shape shape;            /* their extents */
  int kept, count;
  /* is there a label or an axis of a alone, of b alone, of both and kept, of both and summed? */
  bool free_a, free_b, batch, contracted;
} Labels;

static int place_of(const int *labels, int rank, int label) {
  for (int d = 0; d < rank; d++)
    if (labels[d] == label) return d;
  return -1;
}

static Labels sort_labels(const Node *node) {
  const Node *a = node->operands[0], *b = node->operands[1];
  unsigned kept_axes = ~node->axes_attribute, both = a->axes & b->axes;
  Labels labels = {.kept = node->shape.rank, .count = node->shape.rank, .shape = node->shape};
  labels.free_a = (a->axes & ~b->axes & kept_axes) != 0;
  labels.free_b = (b->axes & ~a->axes & kept_axes) != 0;
  labels.batch = (both & kept_axes) != 0;
  labels.contracted = node->axes_attribute != 0;
  for (int d = 0; d < node->shape.rank; d++) {
    int label = labels.list[d] = node->labels_out[d];
    bool in_a = place_of(node->labels_a, a->shape.rank, label) >= 0;
    bool in_b = place_of(node->labels_b, b->shape.rank, label) >= 0;
    labels.free_a |= in_a && !in_b;
    labels.free_b |= in_b && !in_a;
    labels.batch |= in_a && in_b;
  }
  for (int d = 0; d < a->shape.rank; d++) {
    if (place_of(node->labels_out, node->shape.rank, node->labels_a[d]) >= 0) continue;
    labels.contracted = true;
    if (labels.count < MAX_RANK) labels.shape.dims[labels.count] = a->shape.dims[d];
    labels.list[labels.count++] = node->labels_a[d];
  }
  labels.shape.rank = labels.count;
  return labels;
}

/* The operand over all labels, in their order. */
static Node *over_all_labels(Pass *pass, Node *x, const int *labels_x, const Labels *labels) {
  int order[MAX_RANK] = {0}, map[MAX_RANK] = {0}, found = 0;
  for (int i = 0; i < labels->count; i++) {
    int d = place_of(labels_x, x->shape.rank, labels->list[i]);
    if (d < 0) continue;
    order[found] = d;
    map[found++] = i;
  }
  return build_expand(pass->graph, build_permute(pass->graph, x, order), &labels->shape, map);
}

/* A product is a matter for gemm only if each operand has something of its own and something is summed; what is a dot
 * product, an outer product or a matrix for each row times a vector is read once and done elementwise. */
static Node *rewrite_contract(Pass *pass, Node *node) {
  Labels labels = sort_labels(node);
  bool one_sided = !labels.free_a || !labels.free_b;
  bool elementwise = !labels.contracted || (labels.batch && one_sided) || (!labels.free_a && !labels.free_b);
  if (!elementwise || labels.count > MAX_RANK) return NULL;
  Node *a = over_all_labels(pass, node->operands[0], node->labels_a, &labels);
  Node *b = over_all_labels(pass, node->operands[1], node->labels_b, &labels);
  unsigned summed_dims = (1u << labels.count) - (1u << labels.kept);
  Node *sum = build_sum(pass->graph, binary(pass, IR_mul, a, b), summed_dims);
  return build_sum_over(pass->graph, sum, node->axes_attribute);
}

/* --- the pass --- */

/* clang-format off */
#define OPS_LEFT_ALONE \
  OPS_LEAF: case IR_abs: case IR_sign: case IR_sqrt: case IR_exp: case IR_expm1: case IR_log: case IR_log1p: \
  case IR_sin: case IR_cos: case IR_tan: case IR_tanh: case IR_sigmoid: case IR_softplus: case IR_relu: case IR_erf: \
  case IR_floor: case IR_lgamma: case IR_digamma: case IR_not: case IR_pow: case IR_max: case IR_min: case IR_mod: \
  case OPS_COMPARISON: case IR_adjoint_times: case IR_polygamma: \
  case IR_stirling: case IR_exponential_integral: case IR_gamma_quantile: case IR_gamma_quantile_slope: \
  case OPS_TERNARY: case IR_expand: case IR_reshape: \
  case IR_permute: case IR_slice: case IR_pad: case IR_concat: case IR_spread: case IR_stop: case IR_max_of: \
  case IR_first_max_mask: case IR_cumsum: case IR_max_over: case IR_first_max_mask_over: case IR_top_mask_over: \
  case IR_pick: case IR_place: case OPS_LINE: case IR_diagonal: case IR_embed_diagonal: case IR_lower_part: case OPS_CONVOLUTION: case OPS_LOW_RANK: \
  case IR_solve_triangular: case IR_inner_noise: case IR_repeat: case IR_repeat_result: case OP_COUNT
/* clang-format on */

/* One rewriting of a node just built in the new graph from `old`. */
static Node *rewrite(Pass *pass, const Node *old, Node *node) {
  switch (node->op) {
  case IR_neg: return rewrite_neg(pass, node);
  case IR_add: return rewrite_add(pass, node);
  case IR_sub: return rewrite_sub(pass, old, node);
  case IR_mul: return rewrite_mul(pass, node);
  case IR_div: return rewrite_div(pass, node);
  case IR_sum: return rewrite_sum(pass, old, node);
  case IR_sum_over: return rewrite_sum_over(pass, node);
  case IR_contract: return rewrite_contract(pass, node);
  case OPS_LEFT_ALONE: break;
  }
  return NULL;
}

static void count_users_below(Pass *pass) {
  for (int id = pass->from->count - 1; id >= 0; id--)
    for (int k = 0; pass->users[id] > 0 && k < pass->from->nodes[id]->operand_count; k++)
      pass->users[pass->from->nodes[id]->operands[k]->id]++;
}

/* Users of every node that an output needs; 0 for dead ones. */
static void count_users(Pass *pass) {
  const Graph *from = pass->from;
  for (int i = 0; i < from->output_count; i++) pass->users[from->outputs[i].value->id]++;
  for (int v = 0; v < from->support_count; v++)
    if (from->supports[v].weights != NULL) pass->users[from->supports[v].weights->id]++;
  count_users_below(pass);
}

static void rewrite_node(Pass *, const Node *);

/* Users in a loop's body, of what the carried values that anybody asks for need: the others are left out. */
static void count_body_users(Pass *inner, const Pass *pass, const Node *repeat, bool *wanted) {
  const Graph *body = inner->from;
  for (int i = repeat->id + 1; i < pass->from->count; i++) {
    const Node *node = pass->from->nodes[i];
    if (node->op == IR_repeat_result && node->operands[0] == repeat) wanted[node->index] |= pass->users[i] > 0;
  }
  for (bool more = true; more;) {
    more = false;
    memset(inner->users, 0, sizeof(int) * (size_t)body->count);
    for (int i = 0; i < body->output_count; i++) inner->users[body->outputs[i].value->id] += wanted[i];
    count_users_below(inner);
    for (int id = 0; id < body->count; id++) {
      const Node *node = body->nodes[id];
      if (node->op != IR_carried || inner->users[id] == 0 || wanted[node->index]) continue;
      wanted[node->index] = more = true;
    }
  }
}

/* The loop that the wanted carried values make, on new placeholders; those by index. */
static Repeat reopened(Pass *pass, const Node *old, const bool *wanted, Node **placeholders) {
  Compilation *c = pass->graph->compilation;
  const Graph *body = old->body;
  Repeat loop = {.rounds = old->rounds, .round = build_round(pass->graph)};
  loop.carried = arena_array(c, Node *, body->output_count);
  loop.initial = arena_array(c, Node *, body->output_count);
  loop.next = arena_array(c, Node *, body->output_count);
  for (int i = 0; i < body->output_count; i++) {
    if (!wanted[i]) continue;
    const Node *leaf = body_leaf(body, IR_carried, i), *next = body->outputs[i].value;
    placeholders[i] = build_carried(pass->graph, &next->shape, next->axes, leaf != NULL ? &leaf->facts : NULL);
    loop.carried[loop.count] = placeholders[i];
    loop.initial[loop.count++] = pass->images[old->operands[i]->id];
  }
  return loop;
}

static void rewrite_body(Pass *inner, const Pass *pass, const Node *old, const Repeat *loop, Node **placeholders) {
  const Graph *body = old->body;
  for (int id = 0; id < body->count; id++) {
    const Node *node = body->nodes[id];
    if (inner->users[id] == 0) continue;
    if (node->op == IR_carried)
      inner->images[id] = placeholders[node->index];
    else if (node->op == IR_captured)
      inner->images[id] = pass->images[old->operands[body->output_count + node->index]->id];
    else if (node->op == IR_round)
      inner->images[id] = loop->round;
    else
      rewrite_node(inner, node);
  }
}

/* A body is rewritten among the nodes around it, so that what no longer depends on the round leaves it, and then
 * becomes a body again. */
static void rewrite_repeat(Pass *pass, const Node *old) {
  Compilation *c = pass->graph->compilation;
  const Graph *body = old->body;
  int count = body->output_count;
  Pass inner = {.from = body,
                .graph = pass->graph,
                .users = arena_array(c, int, body->count),
                .images = arena_array(c, Node *, body->count),
                .results = arena_array(c, Node **, body->count)};
  bool *wanted = arena_array(c, bool, count);
  Node **placeholders = arena_array(c, Node *, count), **results = arena_array(c, Node *, count);
  count_body_users(&inner, pass, old, wanted);
  Repeat loop = reopened(pass, old, wanted, placeholders);
  rewrite_body(&inner, pass, old, &loop, placeholders);
  for (int i = 0, place = 0; i < count; i++)
    if (wanted[i]) loop.next[place++] = inner.images[body->outputs[i].value->id];
  build_repeat(pass->graph, &loop, results);
  pass->results[old->id] = arena_array(c, Node *, count);
  for (int i = 0, place = 0; i < count; i++)
    if (wanted[i]) pass->results[old->id][i] = results[place++];
}

static Node *image_of(Pass *pass, const Node *old) {
  enum { MOST_REWRITINGS = 8 };
  if (old->op == IR_repeat_result) return pass->results[old->operands[0]->id][old->index];
  Node **operands = arena_array(pass->graph->compilation, Node *, old->operand_count);
  for (int k = 0; k < old->operand_count; k++) operands[k] = pass->images[old->operands[k]->id];
  Node *image = build_like(pass->graph, old, operands);
  for (int i = 0; i < MOST_REWRITINGS; i++) {
    Node *spread = node_is_spread(image) ? image->operands[0] : image;
    Node *better = rewrite(pass, old, spread);
    if (better == NULL) break;
    image = build_with_axes(pass->graph, better, image->axes);
  }
  return image;
}

static void rewrite_node(Pass *pass, const Node *old) {
  build_at(pass->graph, old->span);
  if (old->op == IR_repeat) {
    rewrite_repeat(pass, old);
    return;
  }
  Node *image = pass->images[old->id] = image_of(pass, old);
  bool same_value = shapes_match(&image->shape, &old->shape) && image->axes == old->axes;
  if (image->name == NULL && same_value) image->name = old->name;
}

/* A pass from one graph to an empty one. */
static Pass begin(const Graph *from) {
  Compilation *c = from->compilation;
  Pass pass = {.from = from,
               .graph = graph_create_like(from),
               .users = arena_array(c, int, from->count),
               .images = arena_array(c, Node *, from->count),
               .results = arena_array(c, Node **, from->count)};
  count_users(&pass);
  return pass;
}

static Graph *finish(Pass *pass) {
  for (int v = 0; v < pass->from->support_count; v++) {
    const Node *weights = pass->from->supports[v].weights;
    Node *image = weights != NULL ? pass->images[weights->id] : NULL;
    if (image != NULL) /* the same for all rows, it may have turned out */
      graph_support_weights(pass->graph, v, build_spread(pass->graph, image, AXIS_DATUM & ~image->axes));
  }
  for (int i = 0; i < pass->from->output_count; i++) {
    const Output *output = &pass->from->outputs[i];
    graph_output(pass->graph, output->role, output->name, output->index, pass->images[output->value->id]);
  }
  return pass->graph;
}

static Graph *rewrite_all(const Graph *from) {
  Pass pass = begin(from);
  for (int id = 0; id < from->count; id++)
    if (pass.users[id] > 0) rewrite_node(&pass, from->nodes[id]);
  return finish(&pass);
}

/* The live nodes as they are. */
static Graph *without_dead_nodes(const Graph *from) {
  Pass pass = begin(from);
  for (int id = 0; id < from->count; id++) {
    if (pass.users[id] == 0) continue;
    Node draft = *from->nodes[id];
    draft.operands = arena_array(from->compilation, Node *, draft.operand_count);
    for (int k = 0; k < draft.operand_count; k++) draft.operands[k] = pass.images[from->nodes[id]->operands[k]->id];
    build_at(pass.graph, draft.span);
    pass.images[id] = node_intern(pass.graph, &draft);
  }
  return finish(&pass);
}

/* The same ops on the same operands and the same numbers: a further pass would change nothing. */
static bool is_settled(const Graph *before, const Graph *after) {
  if (before->count != after->count) return false;
  for (int i = 0; i < after->count; i++) {
    const Node *a = before->nodes[i], *b = after->nodes[i];
    if (a->op != b->op || a->operand_count != b->operand_count || a->index != b->index) return false;
    if (memcmp(&a->number, &b->number, sizeof a->number) != 0) return false;
    for (int k = 0; k < a->operand_count; k++)
      if (a->operands[k]->id != b->operands[k]->id) return false;
    if (a->op == IR_repeat && !is_settled(a->body, b->body)) return false;
  }
  return true;
}

Graph *simplify(const Graph *graph) {
  enum { MOST_ROUNDS = 6 };
  Graph *result = without_dead_nodes(rewrite_all(graph));
  bool settled = false;
  for (int round = 1; round < MOST_ROUNDS && !settled; round++) {
    Graph *next = without_dead_nodes(rewrite_all(result));
    settled = is_settled(result, next);
    result = next;
  }
  return result;
}
