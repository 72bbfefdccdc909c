/* Prints a graph, a line a node: "%12 q.mu [K] {datum} = contract(%3 "ab", %9 "b" -> "a") ; file.spm:7", then the
 * outputs. Requires nothing but a well-formed graph; the text depends on the graph alone. */
#include "ir_parts.h"

static void print_shape(Text *text, const Shape *shape) {
  if (shape->rank == 0) return;
  text_append(text, " [");
  for (int d = 0; d < shape->rank; d++)
    text_append(text, d == 0 ? "%s" : ", %s", dim_text(text->compilation, shape->dims[d]));
  text_append(text, "]");
}

static void print_axes(Text *text, unsigned axes) {
  const char *separator = "";
  text_append(text, "{");
  if (axes & AXIS_DATUM) {
    text_append(text, "datum");
    separator = ", ";
  }
  if (axes & AXIS_SAMPLE) {
    text_append(text, "%ssample", separator);
    separator = ", ";
  }
  for (int v = 0; v < MAX_SUPPORTS; v++)
    if (axes & (unsigned)AXIS_SUPPORT << v) {
      text_append(text, "%ssupport(%d)", separator, v);
      separator = ", ";
    }
  text_append(text, "}");
}

static void print_leaf(Text *text, const Graph *graph, const Node *node) {
  const Signature *s = graph->signature;
  if (node->op == IR_constant) text_append(text, "%s", shortest_number(text->compilation, node->number));
  if (node->op == IR_table) {
    text_append(text, "table(");
    for (long i = 0; i < shape_size(&node->shape); i++)
      text_append(text, "%s%s", i > 0 ? ", " : "", shortest_number(text->compilation, node->table[i]));
    text_append(text, ")");
  }
  if (node->op == IR_parameter) text_append(text, "parameter %s", s->parameters[node->index].name);
  if (node->op == IR_data) text_append(text, "data %s", s->data[node->index].name);
  if (node->op == IR_noise) text_append(text, "noise %s", s->noises[node->index].name);
  if (node->op == IR_setting) text_append(text, "setting %s", setting_names[node->index]);
  if (node->op == IR_state) text_append(text, "state %s", s->states[node->index].name);
  if (node->op == IR_given) text_append(text, "given %s", s->givens[node->index].name);
  if (node->op == IR_row_state) text_append(text, "row_state %s", s->row_states[node->index].name);
  if (node->op == IR_carried) text_append(text, "carried %d", node->index);
  if (node->op == IR_captured) text_append(text, "captured %d", node->index);
  if (node->op == IR_round) text_append(text, "round %d", node->index);
}

static void print_labels(Text *text, const int *labels, int rank) {
  text_append(text, "\"");
  for (int d = 0; d < rank; d++) text_append(text, "%c", 'a' + labels[d]);
  text_append(text, "\"");
}

static void print_contract(Text *text, const Node *node) {
  const Node *a = node->operands[0], *b = node->operands[1];
  text_append(text, "contract(%%%d ", a->id);
  print_labels(text, node->labels_a, a->shape.rank);
  text_append(text, ", %%%d ", b->id);
  print_labels(text, node->labels_b, b->shape.rank);
  text_append(text, " -> ");
  print_labels(text, node->labels_out, node->shape.rank);
  if (node->axes_attribute != 0) {
    text_append(text, ", over ");
    print_axes(text, node->axes_attribute);
  }
  text_append(text, ")");
}

static void print_mask(Text *text, unsigned mask) {
  const char *separator = "";
  text_append(text, ", dims ");
  for (int d = 0; d < MAX_RANK; d++)
    if (mask >> d & 1) {
      text_append(text, "%s%d", separator, d);
      separator = " ";
    }
}

static void print_attributes(Text *text, const Graph *graph, const Node *node) {
  if (node->op == IR_expand || node->op == IR_permute) {
    text_append(text, ", map");
    for (int d = 0; d < node->operands[0]->shape.rank; d++) text_append(text, " %d", node->map[d]);
  }
  if (node->op == IR_slice || node->op == IR_pad) text_append(text, ", dim %d, start %ld", node->dim, node->start);
  if (node->op == IR_concat) text_append(text, ", dim %d", node->dim);
  if (node->op == IR_cumsum)
    text_append(text, ", dim %d%s%s", node->dim, node->reverse ? ", reverse" : "",
                node->exclusive ? ", exclusive" : "");
  if (node->op == IR_repeat) text_append(text, ", rounds %ld", node->rounds);
  if (node->op == IR_repeat_result) text_append(text, ", carried %d", node->index);
  if (node->op == IR_inner_noise) text_append(text, ", noise %s", graph->signature->noises[node->index].name);
  if (node->op == IR_solve_triangular && node->reverse) text_append(text, ", transposed");
  if (node->stride != 0) text_append(text, ", stride %ld, padding %ld", node->stride, node->padding);
  if (node->dims_mask != 0) print_mask(text, node->dims_mask);
  if (node->axes_attribute != 0) {
    text_append(text, ", ");
    print_axes(text, node->axes_attribute);
  }
}

static void print_place(Text *text, const Node *node) {
  const Compilation *c = text->compilation;
  if (node->span.source <= 0 || node->span.source >= c->source_count) return;
  int line, column;
  source_position(&c->sources[node->span.source], node->span.start, &line, &column);
  text_append(text, "  ; %s:%d", c->sources[node->span.source].path, line);
}

static void print_lines(Text *, const Graph *);

static void print_node(Text *text, const Graph *graph, const Node *node) {
  text_append(text, "%%%d", node->id);
  if (node->name != NULL) text_append(text, " %s", node->name);
  print_shape(text, &node->shape);
  if (node->axes != 0) {
    text_append(text, " ");
    print_axes(text, node->axes);
  }
  text_append(text, " = ");
  if (op_table[node->op].kind == KIND_LEAF) {
    print_leaf(text, graph, node);
  } else if (node->op == IR_contract) {
    print_contract(text, node);
  } else {
    text_append(text, "%s(", op_table[node->op].name);
    for (int i = 0; i < node->operand_count; i++) text_append(text, i == 0 ? "%%%d" : ", %%%d", node->operands[i]->id);
    print_attributes(text, graph, node);
    text_append(text, ")");
  }
  print_place(text, node);
  text_append(text, "\n");
  if (node->op != IR_repeat) return;
  Text body = {.compilation = text->compilation};
  print_lines(&body, node->body);
  text_indent(text, body.bytes, 4);
}

/* Nodes and outputs; a loop's body stands below it. */
static void print_lines(Text *text, const Graph *graph) {
  for (int i = 0; i < graph->count; i++) print_node(text, graph, graph->nodes[i]);
  for (int i = 0; i < graph->output_count; i++) {
    const Output *output = &graph->outputs[i];
    if (output->role == OUTPUT_NEXT)
      text_append(text, "next %d = %%%d\n", i, output->value->id);
    else
      text_append(text, "%s %s = %%%d\n", output_role_names[output->role], output->name != NULL ? output->name : "",
                  output->value->id);
  }
}

void ir_print(Text *text, const Graph *graph) {
  text_append(text, "program %s", graph->name);
  if (graph->samples != 1) text_append(text, ", %d samples", graph->samples);
  text_append(text, "\n");
  print_lines(text, graph);
}
