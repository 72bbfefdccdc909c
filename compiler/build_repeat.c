/* Loops: placeholders, and what becomes of a body built on them. Requires a body whose next values have the shapes of
 * what is carried; leaves results that no placeholder is part of. */
#include <assert.h>
#include <math.h>

#include "ir_parts.h"

static const Facts nothing_known = {.low = -INFINITY, .high = INFINITY};
static const Facts number_of_round = {.low = 0, .high = 1e9, .integer = true, .finite = true};

/* --- placeholders --- */

Node *build_placeholder(Graph *graph, const Node *like) {
  Node draft = draft_node(like->op, NULL, 0);
  draft.index = like->index;
  draft.shape = like->shape;
  draft.axes_attribute = like->axes_attribute;
  draft.facts = like->facts;
  return node_intern(graph, &draft);
}

/* Equal to no other: numbered by where it stands. */
static Node *new_placeholder(Graph *graph, Op op, const Shape *shape, unsigned axes, const Facts *facts) {
  Node like = {.op = op, .index = graph->count, .shape = *shape, .axes_attribute = axes, .facts = *facts};
  return build_placeholder(graph, &like);
}

Node *build_carried(Graph *graph, const Shape *shape, unsigned axes, const Facts *facts) {
  return new_placeholder(graph, IR_carried, shape, axes, facts != NULL ? facts : &nothing_known);
}

Node *build_round(Graph *graph) { return new_placeholder(graph, IR_round, &scalar_shape, 0, &number_of_round); }

Node *build_inner_noise(Graph *graph, int index, Node *inner_step) {
  const Signature *s = graph->signature;
  assert(index >= 0 && index < s->noise_count && inner_step->axes == 0 && inner_step->shape.rank == 0);
  if (node_is(inner_step, 0)) return build_noise(graph, index);
  Node draft = draft_node(IR_inner_noise, &inner_step, 1);
  draft.index = index;
  draft.shape = s->noises[index].shape;
  return node_intern(graph, &draft);
}

/* --- what depends on them --- */

/* By id: what must be made anew in each round to get the next values. */
static bool *body_of(Graph *graph, const Repeat *loop) {
  int count = graph->count;
  bool *depends = arena_array(graph->compilation, bool, count), *needed = arena_array(graph->compilation, bool, count);
  for (int i = 0; i < loop->count; i++) depends[loop->carried[i]->id] = needed[loop->next[i]->id] = true;
  if (loop->round != NULL) depends[loop->round->id] = true;
  for (int id = 0; id < count; id++)
    for (int k = 0; k < graph->nodes[id]->operand_count; k++) depends[id] |= depends[graph->nodes[id]->operands[k]->id];
  for (int id = count - 1; id >= 0; id--) {
    needed[id] = needed[id] && depends[id];
    for (int k = 0; needed[id] && k < graph->nodes[id]->operand_count; k++)
      needed[graph->nodes[id]->operands[k]->id] = true;
  }
  return needed;
}

const char *repeat_problem(Graph *graph, const Repeat *loop) {
  const bool *body = body_of(graph, loop);
  for (int id = 0; id < graph->count; id++) {
    const Node *node = graph->nodes[id];
    bool over = op_table[node->op].kind == KIND_OVER || node->op == IR_contract;
    if (body[id] && over && node->axes_attribute & AXIS_DATUM)
      return "what is done in each of its steps needs a sum or a maximum over the batch";
    if (body[id] && node->op == IR_inner_noise && loop->rounds > MOST_INNER_STEPS)
      return arena_printf(graph->compilation, "noise is drawn in each of its steps, and they are more than %d",
                          MOST_INNER_STEPS);
  }
  return NULL;
}

/* --- substitution --- */

/* One round: images of the body's nodes, those of the placeholders given. */
static void substitute(Graph *graph, const bool *body, int count, Node **images) {
  Span here = graph->current;
  for (int id = 0; id < count; id++) {
    const Node *node = graph->nodes[id];
    if (!body[id]) images[id] = graph->nodes[id];
    if (!body[id] || node->op == IR_carried || node->op == IR_round) continue;
    Node **operands = arena_array(graph->compilation, Node *, node->operand_count);
    for (int k = 0; k < node->operand_count; k++) operands[k] = images[node->operands[k]->id];
    build_at(graph, node->span);
    images[id] = build_like(graph, node, operands);
  }
  build_at(graph, here);
}

void build_unrolled(Graph *graph, const Repeat *loop, Node **results) {
  const bool *body = body_of(graph, loop);
  int count = graph->count;
  Node **images = arena_array(graph->compilation, Node *, count);
  Node **values = arena_array(graph->compilation, Node *, loop->count);
  for (int i = 0; i < loop->count; i++) values[i] = build_with_axes(graph, loop->initial[i], loop->carried[i]->axes);
  for (long round = 0; round < loop->rounds; round++) {
    for (int i = 0; i < loop->count; i++) images[loop->carried[i]->id] = values[i];
    if (loop->round != NULL) images[loop->round->id] = build_constant(graph, (double)round);
    substitute(graph, body, count, images);
    for (int i = 0; i < loop->count; i++)
      values[i] = build_with_axes(graph, images[loop->next[i]->id], loop->carried[i]->axes);
  }
  for (int i = 0; i < loop->count; i++) results[i] = values[i];
}

void build_repeat(Graph *graph, const Repeat *loop, Node **results) {
  assert(repeat_problem(graph, loop) == NULL);
  build_unrolled(graph, loop, results);
  for (int i = 0; i < loop->count; i++) results[i] = build_stop(graph, results[i]);
}
