/* Loops: placeholders, and what becomes of a body built on them. Requires a body whose next values have the shapes of
 * what is carried; leaves results that no placeholder is part of. */
#include <assert.h>
#include <math.h>

#include "ir_parts.h"

static const Facts nothing_known = {.low = -INFINITY, .high = INFINITY};
static const Facts number_of_round = {.low = 0, .high = 1e15, .integer = true, .finite = true};

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

static bool sums_over_batch(const Node *node) {
  return (op_table[node->op].kind == KIND_OVER || node->op == IR_contract) && node->axes_attribute & AXIS_DATUM;
}

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
  for (int id = 0; id < count; id++) needed[id] = needed[id] && depends[id];
  return needed;
}

static bool range_implies(const Facts *known, const Facts *said) {
  bool low = known->low > said->low || (known->low == said->low && (known->above_low || !said->above_low));
  bool high = known->high < said->high || (known->high == said->high && (known->below_high || !said->below_high));
  return low && high && known->integer >= said->integer;
}

static bool facts_imply(const Facts *known, const Facts *said) {
  return range_implies(known, said) && known->finite >= said->finite && known->pole_free >= said->pole_free;
}

const char *repeat_problem(Graph *graph, const Repeat *loop) {
  const bool *body = body_of(graph, loop);
  for (int id = 0; id < graph->count; id++) {
    const Node *node = graph->nodes[id];
    if (body[id] && sums_over_batch(node))
      return "what is done in each of its steps needs a sum or a maximum over the batch";
    if (body[id] && node->axes & AXES_SUPPORT) return "a latent that is summed out has a part in each of its steps";
    if (body[id] && node->op == IR_inner_noise && loop->rounds > MOST_INNER_STEPS)
      return arena_printf(graph->compilation, "noise is drawn in each of its steps, and they are more than %d",
                          MOST_INNER_STEPS);
  }
  for (int i = 0; i < loop->count; i++)
    if (!range_implies(&loop->initial[i]->facts, &loop->carried[i]->facts) ||
        !range_implies(&loop->next[i]->facts, &loop->carried[i]->facts))
      return arena_printf(graph->compilation, "what was said of carried value %d does not hold of what it becomes", i);
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

/* --- extraction: the body becomes a graph of its own --- */

typedef struct Extraction {
  Graph *graph, *body;
  const bool *inside; /* by id in graph */
  Node **images;      /* in the body, by id in graph */
  Node **captured;
  int captured_count;
} Extraction;

/* A value from outside. Constants come along, and so does what only repeats a value, so that rules see it. */
static Node *capture(Extraction *x, Node *node) {
  Node **image = &x->images[node->id];
  if (*image != NULL) return *image;
  if (node->op == IR_constant || node->op == IR_table) {
    *image = build_like(x->body, node, NULL);
  } else if (node->op == IR_expand || node_is_spread(node)) {
    Node *operand = capture(x, node->operands[0]);
    *image = build_like(x->body, node, &operand);
  } else {
    Node like = {.op = IR_captured, .index = x->captured_count, .shape = node->shape, .facts = node->facts};
    like.axes_attribute = node->axes;
    *image = build_placeholder(x->body, &like);
    x->captured = arena_grow(x->graph->compilation, x->captured, x->captured_count, sizeof *x->captured);
    x->captured[x->captured_count++] = node;
  }
  if ((*image)->name == NULL) (*image)->name = node->name;
  return *image;
}

static void place_placeholder(Extraction *x, const Node *placeholder, int index, const Facts *facts) {
  if (!x->inside[placeholder->id]) return;
  Node like = *placeholder;
  like.index = index;
  like.facts = *facts;
  x->images[placeholder->id] = build_placeholder(x->body, &like);
}

static void extract(Extraction *x, int count) {
  for (int id = 0; id < count; id++) {
    const Node *node = x->graph->nodes[id];
    if (!x->inside[id] || x->images[id] != NULL) continue;
    Node **operands = arena_array(x->graph->compilation, Node *, node->operand_count);
    for (int k = 0; k < node->operand_count; k++) operands[k] = capture(x, node->operands[k]);
    build_at(x->body, node->span);
    Node *image = x->images[id] = build_like(x->body, node, operands);
    if (image->name == NULL) image->name = node->name;
  }
}

Node *build_repeat_result(Graph *graph, Node *repeat, int index) {
  Node draft = draft_node(IR_repeat_result, &repeat, 1);
  draft.shape = repeat->body->outputs[index].value->shape;
  draft.index = index;
  return node_intern(graph, &draft);
}

Node *build_same_repeat(Graph *graph, const Node *repeat, Node **operands) {
  Node draft = draft_node(IR_repeat, operands, repeat->operand_count);
  draft.shape = repeat->shape;
  draft.body = repeat->body;
  draft.rounds = repeat->rounds;
  return node_intern(graph, &draft);
}

const Node *body_leaf(const Graph *body, Op op, int index) {
  for (int i = 0; i < body->count; i++)
    if (body->nodes[i]->op == op && body->nodes[i]->index == index) return body->nodes[i];
  return NULL;
}

static Node *repeat_node(Extraction *x, const Repeat *loop) {
  Graph *graph = x->graph;
  Node **operands = arena_array(graph->compilation, Node *, loop->count + x->captured_count);
  double size = 0;
  for (int i = 0; i < loop->count; i++) {
    operands[i] = build_with_axes(graph, loop->initial[i], loop->carried[i]->axes);
    size += (double)shape_size(&loop->carried[i]->shape);
  }
  for (int i = 0; i < x->captured_count; i++) operands[loop->count + i] = x->captured[i];
  Node like = {.operand_count = loop->count + x->captured_count, .body = x->body, .rounds = loop->rounds};
  like.shape = (Shape){.rank = 1, .dims = {dim_number(size)}};
  return build_same_repeat(graph, &like, operands);
}

static void extract_body(Extraction *x, const Repeat *loop, const Facts *assumed) {
  int count = x->graph->count;
  x->body = graph_create_like(x->graph);
  x->images = arena_array(x->graph->compilation, Node *, count);
  x->captured_count = 0;
  for (int i = 0; i < loop->count; i++) place_placeholder(x, loop->carried[i], i, &assumed[i]);
  if (loop->round != NULL) place_placeholder(x, loop->round, 0, &number_of_round);
  extract(x, count);
  for (int i = 0; i < loop->count; i++) {
    Node *next = build_with_axes(x->body, capture(x, loop->next[i]), loop->carried[i]->axes);
    graph_output(x->body, OUTPUT_NEXT, NULL, i, next);
  }
}

/* --- what is known of carried values --- */

/* From the strongest that may hold to the weakest: that of the initial value, finite, without a pole, what was said. */
typedef enum Assumption { AS_INITIAL, FINITE, POLE_FREE, AS_SAID } Assumption;

static Facts assumed_facts(const Repeat *loop, int i, Assumption assumption) {
  Facts said = loop->carried[i]->facts, initial = loop->initial[i]->facts;
  said.finite = said.finite || assumption <= FINITE;
  said.pole_free = said.pole_free || assumption <= POLE_FREE;
  return assumption == AS_INITIAL && facts_imply(&initial, &said) ? initial : said;
}

/* By induction: what holds of the initial values, and of the next ones where it holds of the old ones, holds in every
 * round. What turns out not to is weakened, and all is tried again. */
static void extract_with_facts(Extraction *x, const Repeat *loop) {
  Compilation *c = x->graph->compilation;
  Assumption *assumptions = arena_array(c, Assumption, loop->count);
  Facts *assumed = arena_array(c, Facts, loop->count);
  for (bool sound = false; !sound;) {
    for (int i = 0; i < loop->count; i++) assumed[i] = assumed_facts(loop, i, assumptions[i]);
    extract_body(x, loop, assumed);
    sound = true;
    for (int i = 0; i < loop->count; i++) {
      bool holds = facts_imply(&loop->initial[i]->facts, &assumed[i]) &&
                   facts_imply(&x->body->outputs[i].value->facts, &assumed[i]);
      if (holds || assumptions[i] == AS_SAID) continue;
      assumptions[i]++;
      sound = false;
    }
  }
}

/* --- the loop --- */

/* One loop. Where there are rows, what has none is carried for their sake alone and is no result. */
static void build_one_repeat(Graph *graph, const Repeat *loop, Node **results) {
  Extraction x = {.graph = graph, .inside = body_of(graph, loop)};
  extract_with_facts(&x, loop);
  Node *repeat = repeat_node(&x, loop);
  for (int i = 0; i < loop->count; i++)
    if (((repeat->axes ^ loop->carried[i]->axes) & AXIS_DATUM) == 0) results[i] = build_repeat_result(graph, repeat, i);
}

/* Those of the carried values that have the datum axis, or those that lack it. */
static Repeat part_of(Graph *graph, const Repeat *loop, bool rows, int *places) {
  Repeat part = {.rounds = loop->rounds, .round = loop->round};
  part.carried = arena_array(graph->compilation, Node *, loop->count);
  part.initial = arena_array(graph->compilation, Node *, loop->count);
  part.next = arena_array(graph->compilation, Node *, loop->count);
  for (int i = 0; i < loop->count; i++) {
    if (((loop->carried[i]->axes & AXIS_DATUM) != 0) != rows) continue;
    part.carried[part.count] = loop->carried[i];
    part.initial[part.count] = loop->initial[i];
    part.next[part.count] = loop->next[i];
    places[part.count++] = i;
  }
  return part;
}

/* What is carried for the whole step depends on nothing that is carried for a row, so it has a loop of its own, once a
 * step; the rows' loop carries it along where it needs it. */
void build_repeat(Graph *graph, const Repeat *loop, Node **results) {
  if (loop->rounds <= 0) {
    for (int i = 0; i < loop->count; i++)
      results[i] = build_stop(graph, build_with_axes(graph, loop->initial[i], loop->carried[i]->axes));
    return;
  }
  int *places = arena_array(graph->compilation, int, loop->count);
  Repeat of_step = part_of(graph, loop, false, places);
  build_one_repeat(graph, of_step.count == loop->count ? &of_step : loop, results);
  if (of_step.count == 0 || of_step.count == loop->count) return;
  Node **of_steps = arena_array(graph->compilation, Node *, of_step.count);
  build_one_repeat(graph, &of_step, of_steps);
  for (int i = 0; i < of_step.count; i++) results[places[i]] = of_steps[i];
}
