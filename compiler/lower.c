/* Lower: a graph -> the scheduler's own list of nodes, operands before users. Values nobody wants are left out, stops
 * are taken off, a permutation of a product becomes the product's own order of dims, and the mask of a maximum along
 * the batch is spelt out as two maxima, that of the k largest as a search and a comparison with what it found. Requires
 * a verified graph; leaves it as it was. */
#include <math.h>
#include <string.h>

#include "plan_internal.h"

Node *lower_append(Scheduler *s, const Node *like) {
  s->nodes = arena_grow(s->compilation, s->nodes, s->count, sizeof *s->nodes);
  Node *copy = arena_new(s->compilation, Node);
  *copy = *like;
  copy->id = s->count;
  s->nodes[s->count++] = copy;
  return copy;
}

/* A new node of the spec line that `like` came from. */
static Node *made(Scheduler *s, const Node *like, Op op, unsigned axes, int count, Node *const *operands) {
  Node *node = lower_append(
      s, &(Node){.op = op, .operand_count = count, .shape = like->shape, .axes = axes, .span = like->span});
  node->operands = arena_array(s->compilation, Node *, count);
  for (int i = 0; i < count; i++) node->operands[i] = operands[i];
  return node;
}

static Node *made_over_rows(Scheduler *s, const Node *like, Node *x) {
  Node *node = made(s, like, IR_max_over, x->axes & ~(unsigned)AXIS_DATUM, 1, &x);
  node->axes_attribute = AXIS_DATUM;
  return node;
}

/* A scalar leaf, repeated over the shape of `like`. */
static Node *made_filled(Scheduler *s, const Node *like, Node *scalar) {
  scalar->shape.rank = 0;
  return like->shape.rank == 0 ? scalar : made(s, like, IR_expand, scalar->axes, 1, &scalar);
}

/* 1 at the first row that holds the maximum: the largest -row among rows equal to the maximum is found first. */
static Node *lower_mask_over_rows(Scheduler *s, const Node *node, Node *x) {
  Node *top = made_over_rows(s, node, x);
  Node *is_top = made(s, node, IR_equal, x->axes, 2, (Node *[]){x, top});
  Node *number = made(s, node, IR_noise, AXIS_DATUM, 0, NULL); /* a draw without noise: the row's number */
  number->index = -1;
  Node *rows = made_filled(s, node, number);
  Node *key = made(s, node, IR_neg, AXIS_DATUM, 1, &rows);
  Node *lowest = made(s, node, IR_constant, 0, 0, NULL);
  lowest->number = -INFINITY;
  Node *none = made_filled(s, node, lowest);
  Node *candidate = made(s, node, IR_select, x->axes, 3, (Node *[]){is_top, key, none});
  Node *first = made_over_rows(s, node, candidate);
  return made(s, node, IR_equal, x->axes, 2, (Node *[]){key, first});
}

/* The k largest of the batch: first, in a step of its own over all rows, which is the last one taken; then in each row
 * what comes before it. `exclusive` tells the first of these from the second. */
static Node *lower_top_mask(Scheduler *s, const Node *node, Node *x, Node *k) {
  Node *last = made(s, node, IR_top_mask_over, x->axes & ~(unsigned)AXIS_DATUM, 2, (Node *[]){x, k});
  last->exclusive = true;
  last->shape = k->shape;
  last->shape.dims[last->shape.rank++] = dim_number(3); /* its order, its row, its place */
  last->dims_mask = node->dims_mask;
  Node *mask = made(s, node, IR_top_mask_over, x->axes, 2, (Node *[]){x, last});
  mask->dims_mask = node->dims_mask;
  return mask;
}

/* permute(contract): the same product with its result's labels in another order. */
static Node *lower_permuted_product(Scheduler *s, const Node *permute, const Node *product) {
  Node *node = lower_append(s, product);
  node->shape = permute->shape;
  node->name = permute->name != NULL ? permute->name : product->name;
  for (int d = 0; d < permute->shape.rank; d++) node->labels_out[d] = product->labels_out[permute->map[d]];
  return node;
}

static Node *lower_node(Scheduler *s, const Node *node, Node **lowered, const int *uses) {
  Node *first = node->operand_count > 0 ? lowered[node->operands[0]->id] : NULL;
  if (node->op == IR_stop) return first;
  if (node->op == IR_permute && first->op == IR_contract && uses[node->operands[0]->id] == 1)
    return lower_permuted_product(s, node, first);
  if (node->op == IR_first_max_mask_over && node->axes_attribute == AXIS_DATUM)
    return lower_mask_over_rows(s, node, first);
  if (node->op == IR_top_mask_over) return lower_top_mask(s, node, first, lowered[node->operands[1]->id]);
  Node draft = *node;
  draft.operands = arena_array(s->compilation, Node *, node->operand_count);
  for (int i = 0; i < node->operand_count; i++) draft.operands[i] = lowered[node->operands[i]->id];
  return lower_members(s, &draft);
}

/* What the weights of supports are made of comes first: rows of members are known only after them. */
static void lower_weights(Scheduler *s, Node **lowered, const int *uses) {
  const Graph *graph = s->graph;
  bool *needed = arena_array(s->compilation, bool, graph->count);
  for (int v = 0; v < graph->support_count; v++)
    if (graph->supports[v].weights != NULL) needed[graph->supports[v].weights->id] = true;
  for (int i = graph->count - 1; i >= 0; i--)
    for (int k = 0; needed[i] && k < graph->nodes[i]->operand_count; k++)
      needed[graph->nodes[i]->operands[k]->id] = true;
  for (int i = 0; i < graph->count; i++)
    if (needed[i]) lowered[i] = lower_node(s, graph->nodes[i], lowered, uses);
  for (int v = 0; v < graph->support_count; v++)
    if (graph->supports[v].weights != NULL) s->weights[v] = lowered[graph->supports[v].weights->id];
}

/* Weights that tell which rows of a domain there are leave the program as outputs do: the driver reads them. */
static void output_weights(Scheduler *s) {
  unsigned axes = 0;
  for (int d = 0; d < s->plan->domain_count; d++) axes |= s->plan->domains[d].axes;
  for (int v = 0; v < s->graph->support_count; v++) {
    s->plan->support_extents[v] = (long)s->graph->supports[v].extent.size;
    if (!(axes & (unsigned)AXIS_SUPPORT << v) || s->weights[v] == NULL) continue;
    s->outputs[s->output_count++] = (Output){OUTPUT_SUPPORT, s->graph->supports[v].name, v, s->weights[v]};
  }
}

void lower_graph(Scheduler *s) {
  const Graph *graph = s->graph;
  int *uses = arena_array(s->compilation, int, graph->count);
  Node **lowered = arena_array(s->compilation, Node *, graph->count);
  for (int i = 0; i < graph->output_count; i++) uses[graph->outputs[i].value->id]++;
  for (int i = graph->count - 1; i >= 0; i--)
    for (int k = 0; uses[i] > 0 && k < graph->nodes[i]->operand_count; k++) uses[graph->nodes[i]->operands[k]->id]++;
  lower_weights(s, lowered, uses);
  for (int i = 0; i < graph->count; i++)
    if (uses[i] > 0 && lowered[i] == NULL) lowered[i] = lower_node(s, graph->nodes[i], lowered, uses);
  s->outputs = arena_array(s->compilation, Output, graph->output_count + MAX_SUPPORTS);
  s->output_count = graph->output_count;
  for (int i = 0; i < graph->output_count; i++) {
    s->outputs[i] = graph->outputs[i];
    s->outputs[i].value = lowered[graph->outputs[i].value->id];
  }
  output_weights(s);
}
