/* Central differences of an interpreted graph beside its gradients. */
#include "gradient_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const double *value_of(const Graph *graph, const Node *node, const RandomInputs *inputs) {
  Evaluation *evaluation = interpret(graph, &inputs->bindings);
  long extent = node_extent(graph, node, inputs->bindings.rows);
  double *copy = arena_array(graph->compilation, double, extent);
  memcpy(copy, evaluation->values[node->id], sizeof(double) * (size_t)extent);
  evaluation_free(evaluation, graph);
  return copy;
}

/* What `of` needs and nothing else: differences evaluate it often. */
static Graph *part_for(Graph *graph, Node *of) {
  Graph *part = graph_create_like(graph);
  Node **images = arena_array(graph->compilation, Node *, graph->count);
  bool *needed = arena_array(graph->compilation, bool, graph->count);
  needed[of->id] = true;
  for (int id = of->id; id >= 0; id--)
    for (int k = 0; needed[id] && k < graph->nodes[id]->operand_count; k++)
      needed[graph->nodes[id]->operands[k]->id] = true;
  for (int id = 0; id <= of->id; id++) {
    if (!needed[id]) continue;
    const Node *node = graph->nodes[id];
    Node **operands = arena_array(graph->compilation, Node *, node->operand_count);
    for (int k = 0; k < node->operand_count; k++) operands[k] = images[node->operands[k]->id];
    images[id] = build_like(part, node, operands);
  }
  graph_output(part, OUTPUT_VALUE, NULL, -1, images[of->id]);
  return part;
}

typedef struct Point {
  double value;
  uint64_t branches;
} Point;

static Point evaluate(const Graph *part, const Bindings *bindings) {
  Evaluation *evaluation = interpret(part, bindings);
  Point point = {evaluation->values[part->outputs[0].value->id][0], evaluation->branches};
  evaluation_free(evaluation, part);
  return point;
}

/* f(x + h) and f(x - h) along one element. */
static void compare(const Graph *part, Bindings *bindings, double *element, double gradient, GradientCheck *check) {
  const double h = 1e-5, at = *element;
  *element = at + h;
  Point above = evaluate(part, bindings);
  *element = at - h;
  Point below = evaluate(part, bindings);
  *element = at;
  if (above.branches != below.branches) {
    check->skipped++;
    return;
  }
  double difference = (above.value - below.value) / (2 * h);
  double error = fabs(difference - gradient) / (1 + fabs(difference) + fabs(gradient));
  if (!(error <= check->worst)) check->worst = error; /* NaN counts as worst, too */
  check->compared++;
}

GradientCheck gradient_check(Graph *graph, Node *of, const int *parameters, int count, RandomInputs *inputs) {
  GradientCheck check = {0};
  Node **leaves = arena_array(graph->compilation, Node *, count);
  Node **adjoints = arena_array(graph->compilation, Node *, count);
  for (int i = 0; i < count; i++) leaves[i] = build_parameter(graph, parameters[i]);
  Graph *part = part_for(graph, of);
  differentiate(graph, of, leaves, count, adjoints);
  Bindings bindings = inputs->bindings;
  bindings.held = calloc((size_t)part->count + 1, sizeof *bindings.held);
  evaluate(part, &bindings);
  bindings.replay = true;
  Evaluation *evaluation = interpret(graph, &inputs->bindings);
  for (int i = 0; i < count; i++)
    for (long k = 0; k < shape_size(&leaves[i]->shape); k++)
      compare(part, &bindings, &inputs->parameters[parameters[i]][k], evaluation->values[adjoints[i]->id][k], &check);
  evaluation_free(evaluation, graph);
  for (int id = 0; id < part->count; id++) free(bindings.held[id]);
  free(bindings.held);
  return check;
}
