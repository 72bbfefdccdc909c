/* Checks a graph against everything ir.h says of it; what every stage that takes a graph may rely on.
 * Requires only that the memory is readable; leaves NULL or a description of the first violation. */
#include <math.h>

#include "ir_parts.h"

#define REQUIRE(condition, text)                                                                                       \
  if (!(condition)) return text

static const char *verify_shape(const Shape *shape) {
  REQUIRE(shape->rank >= 0 && shape->rank <= MAX_RANK, "rank out of range");
  for (int d = 0; d < shape->rank; d++) {
    double size = shape->dims[d].size;
    REQUIRE(size >= 1 && size == floor(size) && size < 2147483648.0, "a dim is not a whole positive number");
  }
  return NULL;
}

static const char *verify_leaf(const Graph *graph, const Node *node) {
  if (node->op == IR_table) {
    REQUIRE(node->table != NULL && node->shape.rank > 0, "a table without values");
    return NULL;
  }
  if (node->op == IR_carried || node->op == IR_captured) return NULL; /* any shape and axes; see verify_body */
  if (node->op == IR_round) {
    REQUIRE(node->shape.rank == 0, "a round's number is not a scalar");
    return NULL;
  }
  const Signature *s = graph->signature;
  const Shape *declared = &scalar_shape;
  int count = 1;
  if (node->op == IR_parameter) count = s->parameter_count;
  if (node->op == IR_data) count = s->data_count;
  if (node->op == IR_noise) count = s->noise_count;
  if (node->op == IR_setting) count = SETTING_COUNT;
  if (node->op == IR_state) count = s->state_count;
  if (node->op == IR_row_state) count = s->row_state_count;
  if (node->op == IR_given) count = s->given_count;
  REQUIRE(node->index >= 0 && node->index < count, "index of a leaf out of range");
  if (node->op == IR_parameter) declared = &s->parameters[node->index].shape;
  if (node->op == IR_data) declared = &s->data[node->index].shape;
  if (node->op == IR_noise) declared = &s->noises[node->index].shape;
  if (node->op == IR_state) declared = &s->states[node->index].shape;
  if (node->op == IR_row_state) declared = &s->row_states[node->index].shape;
  if (node->op == IR_given) declared = &s->givens[node->index].shape;
  REQUIRE(shapes_same(&node->shape, declared), "a leaf's shape is not the declared one");
  return NULL;
}

static const char *verify_map(const Node *node) {
  for (int i = 0; i < node->operand_count; i++)
    REQUIRE(shapes_match(&node->operands[i]->shape, &node->shape), "an elementwise operand has another shape");
  double number;
  if (node->op == IR_polygamma || node->op == IR_stirling || node->op == IR_exponential_integral)
    REQUIRE(node_filled(node->operands[0], &number) && number >= 0,
            "the order of a special function is not a constant");
  return NULL;
}

static const char *verify_expand(const Node *node) {
  const Shape *x = &node->operands[0]->shape;
  REQUIRE(x->rank < node->shape.rank, "expand adds no dim");
  for (int d = 0; d < x->rank; d++) {
    REQUIRE(node->map[d] >= 0 && node->map[d] < node->shape.rank, "map of expand out of range");
    REQUIRE(d == 0 || node->map[d] > node->map[d - 1], "map of expand does not increase");
    REQUIRE(node->shape.dims[node->map[d]].size == x->dims[d].size, "expand changes a dim");
  }
  return NULL;
}

static const char *verify_permute(const Node *node) {
  const Shape *x = &node->operands[0]->shape;
  unsigned seen = 0;
  REQUIRE(x->rank == node->shape.rank, "permute changes the rank");
  for (int d = 0; d < x->rank; d++) {
    REQUIRE(node->map[d] >= 0 && node->map[d] < x->rank && !(seen >> node->map[d] & 1), "permute is no permutation");
    seen |= 1u << node->map[d];
    REQUIRE(node->shape.dims[d].size == x->dims[node->map[d]].size, "permute changes a dim");
  }
  return NULL;
}

/* The shapes of slice, pad and concat differ from their operands' in node->dim alone. */
static const char *verify_other_dims(const Node *node, const Shape *x) {
  REQUIRE(x->rank == node->shape.rank && node->dim >= 0 && node->dim < x->rank, "dim out of range");
  for (int d = 0; d < x->rank; d++)
    REQUIRE(d == node->dim || x->dims[d].size == node->shape.dims[d].size, "another dim than the stated one changes");
  return NULL;
}

static const char *verify_along_dim(const Node *node) {
  double total = 0, extent = node->shape.dims[node->dim].size;
  for (int i = 0; i < node->operand_count; i++) {
    const char *problem = verify_other_dims(node, &node->operands[i]->shape);
    if (problem != NULL) return problem;
    total += node->operands[i]->shape.dims[node->dim].size;
  }
  if (node->op == IR_concat) REQUIRE(total == extent, "concat does not fill its dim");
  if (node->op == IR_slice) REQUIRE(node->start >= 0 && (double)node->start + extent <= total, "slice out of range");
  if (node->op == IR_pad) REQUIRE(node->start >= 0 && (double)node->start + total <= extent, "pad out of range");
  if (node->op == IR_cumsum) REQUIRE(total == extent, "cumsum changes its dim");
  return NULL;
}

static const char *verify_view(const Node *node) {
  const Node *x = node->operands[0];
  if (node->op == IR_expand) return verify_expand(node);
  if (node->op == IR_permute) return verify_permute(node);
  if (node->op == IR_slice || node->op == IR_pad || node->op == IR_concat) return verify_along_dim(node);
  if (node->op == IR_reshape) {
    REQUIRE(shape_size(&x->shape) == shape_size(&node->shape), "reshape changes the number of elements");
    return NULL;
  }
  REQUIRE(shapes_match(&x->shape, &node->shape), "spread or stop changes the shape");
  if (node_is_spread(node)) REQUIRE((node->axes_attribute & x->axes) == 0, "spread over an axis already there");
  return NULL;
}

static const char *verify_reduce(const Node *node) {
  const Shape *x = &node->operands[0]->shape;
  if (node->op == IR_cumsum) return verify_along_dim(node);
  REQUIRE(node->dims_mask != 0 && node->dims_mask >> x->rank == 0, "reduced dims out of range");
  Shape rest = shape_without(x, node->dims_mask);
  if (node->op != IR_sum)
    for (int d = 0; d < x->rank; d++)
      REQUIRE((node->dims_mask >> d & 1) == (d >= rest.rank), "dims of a maximum are not trailing");
  if (node->op == IR_first_max_mask) rest = *x;
  REQUIRE(shapes_match(&rest, &node->shape), "a reduction's shape is not what is left");
  return NULL;
}

/* x has the members as its first dim, and y as an axis. */
static const char *verify_members(const Graph *graph, const Node *node, const Node *x, const Node *y) {
  unsigned axis = node->axes_attribute;
  REQUIRE((axis & AXES_SUPPORT) == axis && axis != 0 && (axis & (axis - 1)) == 0, "members along no one support axis");
  REQUIRE(x->shape.rank >= 1 && (y->axes & axis) && !(x->axes & axis),
          "members that are an axis on both sides, or none");
  REQUIRE(x->shape.dims[0].size == graph->supports[support_axis(node)].extent.size, "another number of members");
  Shape rest = shape_without(&x->shape, 1);
  REQUIRE(shapes_match(&rest, &y->shape), "pick or place changes what a member sees");
  return NULL;
}

static const char *verify_top_mask_over(const Node *node) {
  const Node *x = node->operands[0], *k = node->operands[1];
  Shape rest = shape_without(&x->shape, node->dims_mask);
  REQUIRE(node->axes_attribute == AXIS_DATUM && x->axes == (k->axes ^ AXIS_DATUM),
          "not a number of elements of the batch");
  REQUIRE(node->dims_mask >> x->shape.rank == 0, "masked dims out of range");
  for (int d = 0; d < x->shape.rank; d++)
    REQUIRE((node->dims_mask >> d & 1) == (d >= rest.rank), "masked dims are not trailing");
  REQUIRE(shapes_match(&rest, &k->shape), "one number of elements for each group is wanted");
  return NULL;
}

static const char *verify_over(const Graph *graph, const Node *node) {
  const Node *x = node->operands[0];
  unsigned axes = node->axes_attribute;
  if (node->op == IR_pick) return verify_members(graph, node, x, node);
  if (node->op == IR_place) return verify_members(graph, node, node, x);
  REQUIRE(axes != 0 && (axes & ~x->axes) == 0, "an axis is reduced that is not there");
  if (node->op != IR_sum_over) REQUIRE((axes & (axes - 1)) == 0, "a maximum over several axes");
  REQUIRE(shapes_match(&x->shape, &node->shape), "a reduction over axes changes the shape");
  return node->op == IR_top_mask_over ? verify_top_mask_over(node) : NULL;
}

static int place_of(const int *labels, int rank, int label) {
  for (int d = 0; d < rank; d++)
    if (labels[d] == label) return d;
  return -1;
}

/* What ir.h says of one operand's labels, given the other operand and the result. */
static const char *verify_labels(const Node *node, const Node *x, const int *labels, const Node *other,
                                 const int *labels_other) {
  for (int d = 0; d < x->shape.rank; d++) {
    int in_other = place_of(labels_other, other->shape.rank, labels[d]);
    int in_result = place_of(node->labels_out, node->shape.rank, labels[d]);
    double size = x->shape.dims[d].size;
    REQUIRE(labels[d] >= 0 && place_of(labels, d, labels[d]) < 0, "a label twice in one operand of contract");
    REQUIRE(in_other >= 0 || in_result >= 0, "a label of one operand alone is not in the result of contract");
    REQUIRE(in_other < 0 || other->shape.dims[in_other].size == size, "one label, two lengths");
    REQUIRE(in_result < 0 || node->shape.dims[in_result].size == size, "contract changes a dim");
  }
  return NULL;
}

static const char *verify_contract(const Node *node) {
  const Node *a = node->operands[0], *b = node->operands[1];
  REQUIRE((node->axes_attribute & ~(a->axes | b->axes)) == 0, "contract sums an axis that is not there");
  const char *problem = verify_labels(node, a, node->labels_a, b, node->labels_b);
  if (problem == NULL) problem = verify_labels(node, b, node->labels_b, a, node->labels_a);
  if (problem != NULL) return problem;
  for (int d = 0; d < node->shape.rank; d++) {
    int label = node->labels_out[d];
    REQUIRE(place_of(node->labels_out, d, label) < 0, "a label twice in the result of contract");
    REQUIRE(place_of(node->labels_a, a->shape.rank, label) >= 0 || place_of(node->labels_b, b->shape.rank, label) >= 0,
            "a label of the result is in no operand of contract");
  }
  return NULL;
}

static const char *verify_convolution(const Node *node) {
  const Node *a = node->operands[0], *b = node->operands[1];
  REQUIRE(node->stride >= 1 && node->padding >= 0, "a convolution without a stride, or with a negative padding");
  bool of_filters = node->op == IR_convolve_filters;
  const Shape *filters = of_filters ? &node->shape : &b->shape;
  const Shape *images = node->op == IR_convolve_transpose ? &node->shape : &a->shape;
  const Shape *features = of_filters ? &b->shape : node->op == IR_convolve ? &node->shape : &a->shape;
  REQUIRE(filters->rank == 4 && images->rank >= 3 && images->rank == features->rank, "rank of a convolution");
  for (int d = 0; d < images->rank - 3; d++)
    REQUIRE(images->dims[d].size == features->dims[d].size, "a convolution changes a leading dim");
  Convolution v = convolution_of(node);
  REQUIRE(filters->dims[1].size == (double)v.channels && features->dims[features->rank - 3].size == (double)v.count,
          "channels of a convolution that do not agree");
  REQUIRE((v.down - 1) * node->stride + v.rows == v.height + 2 * node->padding &&
              (v.across - 1) * node->stride + v.columns == v.width + 2 * node->padding,
          "a convolution that does not cover its image");
  if (of_filters)
    REQUIRE((node->axes_attribute & ~(a->axes | b->axes)) == 0, "convolve_filters sums an axis that is not there");
  return NULL;
}

static const char *verify_low_rank(const Node *node) {
  REQUIRE(low_rank_operands_agree(node->op, node->operands), "operands of a softmax of few factors that do not agree");
  unsigned axes = 0;
  for (int k = 0; k < node->operand_count; k++) axes |= node->operands[k]->axes;
  if (node->op == IR_low_rank_weights)
    REQUIRE(node->axes_attribute == axes, "low_rank_weights sums all axes away, and none that is not there");
  return NULL;
}

static const char *verify_matrix(const Node *node) {
  const Shape *x = &node->operands[0]->shape, *square = node->op == IR_embed_diagonal ? &node->shape : x;
  const Shape *line = node->op == IR_embed_diagonal ? x : &node->shape;
  REQUIRE(square->rank >= 2 && square->dims[square->rank - 1].size == square->dims[square->rank - 2].size,
          "a matrix that is not square");
  if (node->op == IR_lower_part) {
    REQUIRE(shapes_match(x, &node->shape), "lower_part changes the shape");
    return NULL;
  }
  Shape rest = shape_without(square, 1u << (square->rank - 1));
  if (node->op == IR_solve_triangular)
    REQUIRE(shapes_match(&node->operands[1]->shape, &rest), "a right-hand side that does not fit its matrix");
  REQUIRE(shapes_match(line, &rest), "a diagonal or solution of another length");
  return NULL;
}

static const char *verify_line(const Node *node) {
  REQUIRE(line_op(node->op) != NULL, "a line op that is not in its table");
  REQUIRE(line_operands_agree(node->op, node->operands), "lines that do not fit together");
  Shape shape = line_shape(node->op, node->operands, node->start);
  REQUIRE(shapes_match(&shape, &node->shape), "not the shape of what this op computes");
  return NULL;
}

static const char *verify_inner_noise(const Graph *graph, const Node *node) {
  const Node *inner = node->operands[0];
  const Signature *s = graph->signature;
  REQUIRE(shapes_same(&node->shape, &s->noises[node->index].shape), "inner_noise has not the declared shape");
  REQUIRE(inner->axes == 0 && inner->shape.rank == 0, "an inner step is not one number a step");
  REQUIRE(inner->facts.integer && inner->facts.low >= 0, "an inner step is not a whole number from 0 on");
  return NULL;
}

static const char *verify_graph(const Graph *, const Node *loop);

/* A leaf of a body is what the loop has for it. */
static const char *verify_body_leaf(const Node *leaf, const Node *loop) {
  const Graph *body = loop->body;
  if (leaf->op == IR_carried) {
    REQUIRE(leaf->index >= 0 && leaf->index < body->output_count, "a carried leaf that the loop does not carry");
    const Node *next = body->outputs[leaf->index].value;
    REQUIRE(shapes_match(&leaf->shape, &next->shape), "the shape of what a loop carries changes");
    REQUIRE(leaf->axes == next->axes, "the axes of what a loop carries change");
  }
  if (leaf->op == IR_captured) {
    REQUIRE(leaf->index >= 0 && leaf->index < loop->operand_count - body->output_count, "nothing is captured there");
    const Node *operand = loop->operands[body->output_count + leaf->index];
    REQUIRE(shapes_match(&leaf->shape, &operand->shape) && leaf->axes == operand->axes,
            "a captured leaf is not like what it stands for");
  }
  return NULL;
}

static const char *verify_repeat(const Graph *graph, const Node *node) {
  const Graph *body = node->body;
  REQUIRE(body->signature == graph->signature && body->samples == graph->samples, "a body of another program");
  REQUIRE(body->output_count >= 1 && body->output_count <= node->operand_count, "a loop that carries nothing");
  for (int i = 0; i < body->output_count; i++) {
    const Node *initial = node->operands[i], *next = body->outputs[i].value;
    REQUIRE(body->outputs[i].role == OUTPUT_NEXT, "a body with another output than next values");
    REQUIRE(shapes_match(&initial->shape, &next->shape) && initial->axes == next->axes,
            "an initial value is not like what becomes of it");
  }
  const char *problem = verify_graph(body, node);
  return problem != NULL ? arena_printf(graph->compilation, "in its body, %s", problem) : NULL;
}

static const char *verify_loop(const Graph *graph, const Node *node) {
  if (node->op == IR_repeat) return verify_repeat(graph, node);
  const Node *loop = node->operands[0];
  const Node *next = loop->body->outputs[node->index].value;
  REQUIRE(shapes_match(&node->shape, &next->shape), "a loop's result has another shape than what it carries");
  REQUIRE(((node->axes ^ loop->axes) & AXIS_DATUM) == 0, "a step value is taken from a loop over rows");
  return NULL;
}

static const char *verify_facts(const Facts *f) {
  REQUIRE(!isnan(f->low) && !isnan(f->high), "a bound is not a number");
  REQUIRE(f->low <= f->high, "the bounds leave no value");
  return NULL;
}

static const char *verify_op(const Graph *graph, const Node *node) {
  switch (op_table[node->op].kind) {
  case KIND_LEAF: return verify_leaf(graph, node);
  case KIND_MAP: return verify_map(node);
  case KIND_VIEW: return verify_view(node);
  case KIND_REDUCE: return verify_reduce(node);
  case KIND_OVER: return verify_over(graph, node);
  case KIND_PRODUCT: return verify_contract(node);
  case KIND_LOOP: return verify_loop(graph, node);
  case KIND_LINE: return verify_line(node);
  case KIND_OTHER:
    if (node->op == IR_inner_noise) return verify_inner_noise(graph, node);
    if (node->op == IR_low_rank_fit || node->op == IR_low_rank_weights) return verify_low_rank(node);
    return node->stride != 0 ? verify_convolution(node) : verify_matrix(node);
  }
  return "no such kind of op";
}

/* What a node's axes are read from. */
static const char *verify_reference(const Graph *graph, const Node *node) {
  if (node->op == IR_noise || node->op == IR_inner_noise)
    REQUIRE(node->index >= 0 && node->index < graph->signature->noise_count, "no such noise");
  if (node->op == IR_repeat) REQUIRE(node->body != NULL && node->rounds >= 1, "a loop without body or rounds");
  if (node->op == IR_repeat_result) {
    const Node *loop = node->operands[0];
    REQUIRE(loop->op == IR_repeat && node->index >= 0 && node->index < loop->body->output_count, "no result of a loop");
  }
  return NULL;
}

static const char *verify_node(const Graph *graph, int id) {
  const Node *node = graph->nodes[id];
  REQUIRE(node->id == id, "a node's id is not its position");
  REQUIRE((int)node->op >= 0 && node->op < OP_COUNT, "no such op");
  int operands = op_table[node->op].operands;
  REQUIRE(operands < 0 ? node->operand_count >= 1 : node->operand_count == operands, "wrong number of operands");
  for (int i = 0; i < node->operand_count; i++) {
    const Node *operand = node->operands[i];
    REQUIRE(operand->id >= 0 && operand->id < id && graph->nodes[operand->id] == operand,
            "an operand does not stand before its user");
  }
  REQUIRE(node->axes / AXIS_SUPPORT >> graph->support_count == 0, "an axis of unknown extent");
  const char *problem = verify_reference(graph, node);
  if (problem != NULL) return problem;
  REQUIRE(node->axes == node_axes(graph, node), "the axes are not the union of the operands'");
  problem = verify_shape(&node->shape);
  if (problem == NULL) problem = verify_op(graph, node);
  return problem == NULL ? verify_facts(&node->facts) : problem;
}

static const char *verify_output(const Graph *graph, const Output *output) {
  const Node *value = output->value;
  const Signature *s = graph->signature;
  REQUIRE(value != NULL && value->id < graph->count && graph->nodes[value->id] == value, "output not in the graph");
  bool row_state =
      output->role == OUTPUT_ROW_GRADIENT || output->role == OUTPUT_ROW_NEXT || output->role == OUTPUT_ROW_INITIAL;
  bool rows = output->role == OUTPUT_ROWS || row_state;
  REQUIRE(rows == ((value->axes & AXIS_DATUM) != 0), "an output is of a datum where it should be of a step, or not");
  if (!rows) REQUIRE(value->axes == 0, "a step output with an axis");
  if (output->role == OUTPUT_OBJECTIVE || output->role == OUTPUT_TERM || output->role == OUTPUT_VALUE)
    REQUIRE(value->shape.rank == 0, "an objective, term or record value is not a scalar");
  if (output->role == OUTPUT_STATE) {
    REQUIRE(output->index >= 0 && output->index < s->state_count, "no such state");
    REQUIRE(shapes_match(&value->shape, &s->states[output->index].shape), "a state changes its shape");
  }
  if (row_state) {
    REQUIRE(output->index >= 0 && output->index < s->row_state_count, "no such row state");
    REQUIRE(shapes_match(&value->shape, &s->row_states[output->index].shape), "not the shape of its row state");
    REQUIRE(value->axes == AXIS_DATUM, "a row state's output has an axis beside datum");
  }
  bool raw = output->role == OUTPUT_SOLVED || output->role == OUTPUT_GRADIENT || output->role == OUTPUT_INITIAL;
  if (raw || output->role == OUTPUT_EXPORT)
    REQUIRE(output->index >= 0 && output->index < s->parameter_count, "no such parameter");
  if (raw) REQUIRE(shapes_match(&value->shape, &s->parameters[output->index].shape), "not the shape of its parameter");
  return NULL;
}

static const char *verify_supports(const Graph *graph) {
  REQUIRE(graph->support_count <= MAX_SUPPORTS, "too many support axes");
  for (int v = 0; v < graph->support_count; v++) {
    const Node *weights = graph->supports[v].weights;
    if (weights == NULL) continue;
    REQUIRE(weights->id < graph->count && graph->nodes[weights->id] == weights, "weights that are not in the graph");
    REQUIRE(weights->axes == AXIS_DATUM && weights->shape.rank == 1 &&
                weights->shape.dims[0].size == graph->supports[v].extent.size,
            "weights that are not one for each datum and member");
  }
  return NULL;
}

/* Of a whole program, no output may depend on a placeholder; of a body, no sum over the batch may be part. */
static const char *verify_place(const Graph *graph, const Node *node, const Node *loop, bool *open) {
  bool placeholder = node->op == IR_carried || node->op == IR_round || node->op == IR_captured;
  open[node->id] = placeholder;
  for (int k = 0; k < node->operand_count; k++) open[node->id] |= open[node->operands[k]->id];
  if (loop == NULL) return NULL;
  bool sums = op_table[node->op].kind == KIND_OVER || node->op == IR_contract;
  REQUIRE(!sums || !(node->axes_attribute & AXIS_DATUM), "a loop reduces over the batch");
  REQUIRE((node->axes & AXIS_DATUM & ~loop->axes) == 0, "a loop without rows has a value of a row");
  (void)graph;
  return verify_body_leaf(node, loop);
}

/* loop: whose body the graph is; NULL: a whole program. */
static const char *verify_graph(const Graph *graph, const Node *loop) {
  bool *open = arena_array(graph->compilation, bool, graph->count + 1);
  REQUIRE(graph->samples >= 1, "no samples");
  const char *supports = verify_supports(graph);
  if (supports != NULL) return supports;
  for (int i = 0; i < graph->count; i++) {
    const char *problem = verify_node(graph, i);
    if (problem == NULL) problem = verify_place(graph, graph->nodes[i], loop, open);
    if (problem != NULL)
      return arena_printf(graph->compilation, "%%%d (%s): %s", i, op_table[graph->nodes[i]->op].name, problem);
  }
  for (int i = 0; i < graph->output_count && loop == NULL; i++) {
    const Output *output = &graph->outputs[i];
    const char *problem = verify_output(graph, output);
    if (problem == NULL && open[output->value->id]) problem = "depends on a placeholder of a loop";
    if (problem != NULL)
      return arena_printf(graph->compilation, "output %s %d: %s", output_role_names[output->role], i, problem);
  }
  return NULL;
}

const char *ir_verify(const Graph *graph) { return verify_graph(graph, NULL); }
