/* The graph: nodes in order, equal ones shared, leaves, and the rebuilding of a node on other operands.
 * Requires a signature; leaves nodes whose axes and facts are known. Elementwise builders stand in build_map.c, the
 * others in build_shape.c and build_product.c. */
#include "ir.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "ir_parts.h"

const OpInfo op_table[OP_COUNT] = {
#define OP(name, operands, kind, derivative) {#name, operands, KIND_##kind, DERIVATIVE_##derivative},
#include "ops.def"
#undef OP
};

const char *const setting_names[SETTING_COUNT] = {"epoch",      "step",       "rows_in_batch",
                                                  "total_rows", "more_where", "more_else"};

const char *const output_role_names[OUTPUT_ROLE_COUNT] = {
    "objective", "term", "metric",       "value",    "gradient",    "state",   "initial", "export",
    "solved",    "rows", "row_gradient", "row_next", "row_initial", "support", "next"};

const Shape scalar_shape = {0};

Graph *graph_create(Compilation *c, Signature *signature, const char *name, int samples) {
  assert(samples >= 1);
  Graph *graph = arena_new(c, Graph);
  graph->compilation = c;
  graph->signature = signature;
  graph->name = intern(c, name);
  graph->samples = samples;
  return graph;
}

int graph_support(Graph *graph, Name name, Dim extent) {
  assert(graph->support_count < MAX_SUPPORTS);
  graph->supports[graph->support_count] = (SupportAxis){.name = name, .extent = extent};
  return graph->support_count++;
}

void graph_support_weights(Graph *graph, int v, Node *weights) {
  assert(weights->axes == AXIS_DATUM && weights->shape.rank == 1);
  assert(weights->shape.dims[0].size == graph->supports[v].extent.size);
  graph->supports[v].weights = weights;
  while (weights->op == IR_spread || weights->op == IR_reshape || weights->op == IR_slice)
    weights = weights->operands[0];
  graph->supports[v].sparse = weights->op == IR_sparsemax || weights->op == IR_entmax ||
                              weights->op == IR_top_k_members || weights->op == IR_sparsemap_members;
}

long axis_extent(const Graph *graph, int axis, long rows) {
  if (1 << axis == AXIS_DATUM) return rows;
  return 1 << axis == AXIS_SAMPLE ? graph->samples : (long)graph->supports[axis - 2].extent.size;
}

Graph *graph_create_like(const Graph *from) {
  Graph *graph = graph_create(from->compilation, from->signature, from->name, from->samples);
  for (int v = 0; v < from->support_count; v++) {
    graph_support(graph, from->supports[v].name, from->supports[v].extent);
    graph->supports[v].sparse = from->supports[v].sparse;
  }
  return graph;
}

void graph_output(Graph *graph, OutputRole role, Name name, int index, Node *value) {
  graph->outputs = arena_grow(graph->compilation, graph->outputs, graph->output_count, sizeof *graph->outputs);
  graph->outputs[graph->output_count++] = (Output){.role = role, .name = name, .index = index, .value = value};
}

void build_at(Graph *graph, Span span) { graph->current = span; }

/* --- shapes --- */

long shape_size(const Shape *shape) {
  double size = 1; /* saturates: sizes the front end would refuse must not overflow on the way there */
  for (int d = 0; d < shape->rank; d++) size *= shape->dims[d].size;
  return size < 1e18 ? (long)size : 1000000000000000000L;
}

bool shapes_match(const Shape *a, const Shape *b) {
  if (a->rank != b->rank) return false;
  for (int d = 0; d < a->rank; d++)
    if (a->dims[d].size != b->dims[d].size) return false;
  return true;
}

bool shapes_same(const Shape *a, const Shape *b) {
  if (a->rank != b->rank) return false;
  for (int d = 0; d < a->rank; d++)
    if (!dim_same(a->dims[d], b->dims[d])) return false;
  return true;
}

Shape shape_without(const Shape *shape, unsigned dims_mask) {
  Shape rest = {0};
  for (int d = 0; d < shape->rank; d++)
    if (!(dims_mask >> d & 1)) rest.dims[rest.rank++] = shape->dims[d];
  return rest;
}

/* --- sharing of equal nodes --- */

typedef struct NodeTable {
  Node **slots;
  int capacity; /* a power of two */
} NodeTable;

Node draft_node(Op op, Node **operands, int operand_count) {
  return (Node){.op = op, .operands = operands, .operand_count = operand_count};
}

static uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

static uint64_t number_bits(double number) {
  uint64_t bits;
  memcpy(&bits, &number, sizeof bits);
  return bits;
}

static uint64_t node_hash(const Node *node) {
  uint64_t hash = mix(0, (uint64_t)node->op);
  for (int i = 0; i < node->operand_count; i++) hash = mix(hash, (uint64_t)node->operands[i]->id);
  for (int d = 0; d < node->shape.rank; d++) hash = mix(hash, number_bits(node->shape.dims[d].size));
  hash = mix(hash, number_bits(node->number));
  for (long i = 0; node->table != NULL && i < shape_size(&node->shape); i++)
    hash = mix(hash, number_bits(node->table[i]));
  hash = mix(hash, (uint64_t)node->index << 32 | (uint64_t)node->dim);
  hash = mix(hash, (uint64_t)node->start << 2 | (uint64_t)node->reverse << 1 | (uint64_t)node->exclusive);
  hash = mix(hash, (uint64_t)node->dims_mask << 32 | node->axes_attribute);
  hash = mix(hash, (uint64_t)node->stride << 32 | (uint64_t)node->padding);
  hash = mix(hash, (uint64_t)node->rounds);
  for (int d = 0; d < MAX_RANK; d++)
    hash = mix(hash, (uint64_t)(node->map[d] | node->labels_a[d] << 8 | node->labels_b[d] << 16) |
                         (uint64_t)node->labels_out[d] << 32);
  return hash;
}

static bool nodes_equal(const Node *a, const Node *b) {
  if (a->op != b->op || a->operand_count != b->operand_count || a->index != b->index || a->dim != b->dim ||
      a->start != b->start || a->reverse != b->reverse || a->exclusive != b->exclusive ||
      a->dims_mask != b->dims_mask || a->axes_attribute != b->axes_attribute || a->rounds != b->rounds ||
      a->stride != b->stride || a->padding != b->padding || a->body != b->body ||
      number_bits(a->number) != number_bits(b->number) || !shapes_same(&a->shape, &b->shape))
    return false;
  for (int i = 0; i < a->operand_count; i++)
    if (a->operands[i] != b->operands[i]) return false;
  if (a->table != NULL && memcmp(a->table, b->table, sizeof(double) * (size_t)shape_size(&a->shape)) != 0) return false;
  return memcmp(a->map, b->map, sizeof a->map) == 0 && memcmp(a->labels_a, b->labels_a, sizeof a->labels_a) == 0 &&
         memcmp(a->labels_b, b->labels_b, sizeof a->labels_b) == 0 &&
         memcmp(a->labels_out, b->labels_out, sizeof a->labels_out) == 0;
}

static Node **table_slot(NodeTable *table, const Node *node) {
  unsigned slot = (unsigned)node_hash(node) & (unsigned)(table->capacity - 1);
  while (table->slots[slot] != NULL && !nodes_equal(table->slots[slot], node))
    slot = (slot + 1) & (unsigned)(table->capacity - 1);
  return &table->slots[slot];
}

static void table_make_room(Graph *graph) {
  if (graph->table == NULL) graph->table = arena_new(graph->compilation, NodeTable);
  NodeTable *table = graph->table;
  if (2 * graph->count < table->capacity) return;
  table->capacity = table->capacity == 0 ? 256 : 2 * table->capacity;
  table->slots = arena_array(graph->compilation, Node *, table->capacity);
  for (int i = 0; i < graph->count; i++) *table_slot(table, graph->nodes[i]) = graph->nodes[i];
}

unsigned node_axes(const Graph *graph, const Node *node) {
  if (node->op == IR_data || node->op == IR_row_state) return AXIS_DATUM;
  if (node->op == IR_noise || node->op == IR_inner_noise) return graph->signature->noises[node->index].axes;
  if (node->op == IR_carried || node->op == IR_captured) return node->axes_attribute;
  if (node->op == IR_repeat_result) return node->operands[0]->body->outputs[node->index].value->axes;
  unsigned axes = 0;
  if (node->op == IR_repeat) {
    for (int i = 0; i < node->body->output_count; i++) axes |= node->body->outputs[i].value->axes;
    return axes;
  }
  for (int i = 0; i < node->operand_count; i++) axes |= node->operands[i]->axes;
  if (node->op == IR_spread || node->op == IR_pick) return axes | node->axes_attribute;
  if (node->op == IR_sum_over || node->op == IR_max_over || node->op == IR_contract || node->op == IR_place ||
      node->op == IR_convolve_filters || node->op == IR_low_rank_weights)
    return axes & ~node->axes_attribute;
  return axes;
}

Node *node_intern(Graph *graph, Node *draft) {
  table_make_room(graph);
  Node **slot = table_slot(graph->table, draft);
  if (*slot != NULL) return *slot;
  Node *node = arena_new(graph->compilation, Node);
  *node = *draft;
  node->operands = arena_array(graph->compilation, Node *, draft->operand_count);
  for (int i = 0; i < draft->operand_count; i++) {
    assert(draft->operands[i]->id < graph->count && graph->nodes[draft->operands[i]->id] == draft->operands[i]);
    node->operands[i] = draft->operands[i];
  }
  node->id = graph->count;
  node->span = graph->current;
  node->axes = node_axes(graph, node);
  node->facts = facts_of(graph, node);
  graph->nodes = arena_grow(graph->compilation, graph->nodes, graph->count, sizeof(Node *));
  graph->nodes[graph->count++] = node;
  *slot = node;
  return node;
}

/* --- leaves --- */

Node *build_constant(Graph *graph, double number) {
  Node draft = draft_node(IR_constant, NULL, 0);
  draft.number = number == 0 ? 0 : number; /* one zero */
  return node_intern(graph, &draft);
}

Node *build_filled(Graph *graph, double number, const Shape *shape) {
  return build_scalar_expand(graph, build_constant(graph, number), shape);
}

Node *build_filled_like(Graph *graph, double number, const Node *like) {
  return build_with_axes(graph, build_filled(graph, number, &like->shape), like->axes);
}

Node *build_table(Graph *graph, const double *values, const Shape *shape) {
  long size = shape_size(shape);
  double *copy = arena_array(graph->compilation, double, size);
  for (long i = 0; i < size; i++) copy[i] = values[i] == 0 ? 0 : values[i]; /* one zero */
  Node draft = draft_node(IR_table, NULL, 0);
  draft.table = copy;
  draft.shape = *shape;
  return node_intern(graph, &draft);
}

static Node *build_leaf(Graph *graph, Op op, int index, int count, const Shape *shape) {
  assert(index >= 0 && index < count);
  (void)count;
  Node draft = draft_node(op, NULL, 0);
  draft.index = index;
  draft.shape = *shape;
  return node_intern(graph, &draft);
}

Node *build_parameter(Graph *graph, int index) {
  Signature *s = graph->signature;
  return build_leaf(graph, IR_parameter, index, s->parameter_count, &s->parameters[index].shape);
}

Node *build_data(Graph *graph, int index) {
  Signature *s = graph->signature;
  return build_leaf(graph, IR_data, index, s->data_count, &s->data[index].shape);
}

Node *build_noise(Graph *graph, int index) {
  Signature *s = graph->signature;
  return build_leaf(graph, IR_noise, index, s->noise_count, &s->noises[index].shape);
}

Node *build_setting(Graph *graph, SettingKind setting) {
  return build_leaf(graph, IR_setting, (int)setting, SETTING_COUNT, &scalar_shape);
}

Node *build_state(Graph *graph, int index) {
  Signature *s = graph->signature;
  return build_leaf(graph, IR_state, index, s->state_count, &s->states[index].shape);
}

Node *build_given(Graph *graph, int index) {
  Signature *s = graph->signature;
  return build_leaf(graph, IR_given, index, s->given_count, &s->givens[index].shape);
}

Node *build_row_state(Graph *graph, int index) {
  Signature *s = graph->signature;
  return build_leaf(graph, IR_row_state, index, s->row_state_count, &s->row_states[index].shape);
}

/* --- what a node is --- */

bool node_is_spread(const Node *node) { return node->op == IR_spread && node->axes_attribute != 0; }

bool node_is_scalar_expand(const Node *node) { return node->op == IR_expand && node->operands[0]->shape.rank == 0; }

bool node_filled(const Node *node, double *value) {
  while (node_is_spread(node) || node->op == IR_expand) node = node->operands[0];
  if (node->op != IR_constant) return false;
  *value = node->number;
  return true;
}

bool node_is(const Node *node, double value) {
  double number;
  return node_filled(node, &number) && number == value;
}

int support_axis(const Node *node) { return __builtin_ctz(node->axes_attribute / AXIS_SUPPORT); }

/* --- rebuilding --- */

static Node *build_like_view(Graph *graph, const Node *node, Node **operands) {
  Node *x = operands[0];
  const Shape *shape = &node->shape;
  if (node->op == IR_expand) return build_expand(graph, x, shape, node->map);
  if (node->op == IR_reshape) return build_reshape(graph, x, shape);
  if (node->op == IR_permute) return build_permute(graph, x, node->map);
  if (node->op == IR_slice) return build_slice(graph, x, node->dim, node->start, shape->dims[node->dim]);
  if (node->op == IR_pad) return build_pad(graph, x, node->dim, node->start, shape->dims[node->dim]);
  if (node->op == IR_concat)
    return build_concat(graph, operands, node->operand_count, node->dim, shape->dims[node->dim]);
  if (node->op == IR_spread) return build_with_axes(graph, x, node->axes_attribute);
  assert(node->op == IR_stop);
  return build_stop(graph, x);
}

static Node *build_like_leaf(Graph *graph, const Node *node) {
  if (node->op == IR_constant) return build_constant(graph, node->number);
  if (node->op == IR_table) return build_table(graph, node->table, &node->shape);
  if (node->op == IR_parameter) return build_parameter(graph, node->index);
  if (node->op == IR_data) return build_data(graph, node->index);
  if (node->op == IR_noise) return build_noise(graph, node->index);
  if (node->op == IR_setting) return build_setting(graph, (SettingKind)node->index);
  if (node->op == IR_state) return build_state(graph, node->index);
  if (node->op == IR_row_state) return build_row_state(graph, node->index);
  if (node->op == IR_given) return build_given(graph, node->index);
  assert(node->op == IR_carried || node->op == IR_round || node->op == IR_captured);
  return build_placeholder(graph, node);
}

static Node *build_like_reduction(Graph *graph, const Node *node, Node **operands) {
  Node *x = operands[0];
  if (node->op == IR_pick) return build_pick(graph, x, support_axis(node));
  if (node->op == IR_place) return build_place(graph, x, support_axis(node));
  if (node->op == IR_sum) return build_sum(graph, x, node->dims_mask);
  if (node->op == IR_max_of) return build_max_of(graph, x, node->dims_mask);
  if (node->op == IR_first_max_mask) return build_first_max_mask(graph, x, node->dims_mask);
  if (node->op == IR_cumsum) return build_cumsum(graph, x, node->dim, node->reverse, node->exclusive);
  if (node->op == IR_sum_over) return build_sum_over(graph, x, node->axes_attribute);
  if (node->op == IR_max_over) return build_max_over(graph, x, node->axes_attribute);
  if (node->op == IR_top_mask_over) return build_top_mask_over(graph, x, operands[1], node->dims_mask);
  assert(node->op == IR_first_max_mask_over);
  return build_first_max_mask_over(graph, x, node->axes_attribute);
}

Node *build_like(Graph *graph, const Node *node, Node **operands) {
  switch (op_table[node->op].kind) {
  case KIND_LEAF: return build_like_leaf(graph, node);
  case KIND_MAP:
    if (node->operand_count == 1) return build_map1(graph, node->op, operands[0]);
    if (node->operand_count == 2) return build_map2(graph, node->op, operands[0], operands[1]);
    return build_map3(graph, node->op, operands[0], operands[1], operands[2]);
  case KIND_VIEW: return build_like_view(graph, node, operands);
  case KIND_REDUCE:
  case KIND_OVER: return build_like_reduction(graph, node, operands);
  case KIND_PRODUCT:
    return build_contract(graph, operands[0], node->labels_a, operands[1], node->labels_b, node->shape.rank,
                          node->labels_out, node->axes_attribute);
  case KIND_LOOP:
    if (node->op == IR_repeat) return build_same_repeat(graph, node, operands);
    return build_repeat_result(graph, operands[0], node->index);
  case KIND_LINE: return build_line(graph, node->op, operands, node->start);
  case KIND_OTHER: break;
  }
  if (node->op == IR_inner_noise) return build_inner_noise(graph, node->index, operands[0]);
  if (node->op == IR_diagonal) return build_diagonal(graph, operands[0]);
  if (node->op == IR_embed_diagonal) return build_embed_diagonal(graph, operands[0]);
  if (node->op == IR_solve_triangular) return build_solve_triangular(graph, operands[0], operands[1], node->reverse);
  if (node->op == IR_convolve) return build_convolve(graph, operands[0], operands[1], node->stride, node->padding);
  if (node->op == IR_convolve_transpose)
    return build_convolve_transpose(graph, operands[0], operands[1], node->stride, node->padding);
  if (node->op == IR_convolve_filters)
    return build_convolve_filters(graph, operands[0], operands[1], &node->shape, node->stride, node->padding,
                                  node->axes_attribute);
  if (node->op == IR_low_rank_fit)
    return build_low_rank_fit(graph, operands[0], operands[1], operands[2], operands[3], node->start);
  if (node->op == IR_low_rank_weights)
    return build_low_rank_weights(graph, operands[0], operands[1], operands[2], operands[3], operands[4], operands[5],
                                  node->start);
  assert(node->op == IR_lower_part);
  return build_lower_part(graph, operands[0]);
}
