/* LINE ops: a kernel of its own on each vector along the last dim, or each matrix of the last two. This is their table:
 * builder, shapes, and what each computes, from its definition. Operands have the same dims in front of their own; axes
 * broadcast. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir_parts.h"

static const LineOp line_ops[] = {
    {IR_top_mask, {1, 0}, 1},
    {IR_cholesky, {2}, 2},
    {IR_sparsemax, {1}, 1},
    {IR_entmax, {1, 0}, 1},
};

const LineOp *line_op(Op op) {
  for (size_t i = 0; i < sizeof line_ops / sizeof *line_ops; i++)
    if (line_ops[i].op == op) return &line_ops[i];
  return NULL;
}

static double last_extent(const Node *node) { return node->shape.dims[node->shape.rank - 1].size; }

bool line_operands_agree(Op op, Node *const *operands) {
  const LineOp *line = line_op(op);
  int lead = operands[0]->shape.rank - line->own_dims[0];
  for (int k = 0; k < op_table[op].operands; k++) {
    if (operands[k]->shape.rank != lead + line->own_dims[k] || lead < 0) return false;
    for (int d = 0; d < lead; d++)
      if (operands[k]->shape.dims[d].size != operands[0]->shape.dims[d].size) return false;
  }
  return true;
}

Shape line_shape(Op op, Node *const *operands) {
  assert(line_operands_agree(op, operands));
  (void)op;
  return operands[0]->shape;
}

Node *build_line(Graph *graph, Op op, Node **operands) {
  int count = op_table[op].operands;
  unsigned axes = 0;
  Node *bare[LINE_OPERANDS];
  for (int k = 0; k < count; k++) {
    axes |= operands[k]->axes;
    bare[k] = node_is_spread(operands[k]) ? operands[k]->operands[0] : operands[k];
  }
  Node draft = draft_node(op, bare, count);
  draft.shape = line_shape(op, operands);
  return build_with_axes(graph, node_intern(graph, &draft), axes);
}

/* --- what they compute --- */

typedef struct Ranked {
  double value;
  long place;
} Ranked;

/* By size, then by place; NaN comes first. */
static int compare_ranked(const void *a, const void *b) {
  const Ranked *x = a, *y = b;
  bool x_first = isnan(x->value) ? !isnan(y->value) : x->value > y->value;
  bool y_first = isnan(y->value) ? !isnan(x->value) : y->value > x->value;
  if (x_first != y_first) return x_first ? -1 : 1;
  return x->place < y->place ? -1 : 1;
}

void mark_largest(long n, const double *x, double count, double *mask) {
  Ranked *ranked = malloc(sizeof *ranked * (size_t)n);
  for (long i = 0; i < n && ranked; i++) ranked[i] = (Ranked){x[i], i};
  if (ranked) qsort(ranked, (size_t)n, sizeof *ranked, compare_ranked);
  for (long i = 0; i < n; i++) mask[ranked ? ranked[i].place : i] = ranked ? (double)i + 0.5 <= count : NAN;
  free(ranked);
}

static void cholesky_values(long n, const double *a, double *l) {
  memset(l, 0, sizeof *l * (size_t)(n * n));
  for (long i = 0; i < n; i++)
    for (long j = 0; j <= i; j++) {
      double rest = a[i * n + j];
      for (long k = 0; k < j; k++) rest -= l[i * n + k] * l[j * n + k];
      l[i * n + j] = i != j ? rest / l[j * n + j] : rest > 0 ? sqrt(rest) : NAN;
    }
}

static int compare_descending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x < y) - (x > y);
}

/* Sorted, the support is the longest start that stays above its own threshold. */
static double sparsemax_threshold(long n, const double *x) {
  double *sorted = malloc(sizeof *sorted * (size_t)n), sum = 0, threshold = NAN;
  for (long i = 0; i < n && sorted; i++) sorted[i] = x[i];
  if (sorted) qsort(sorted, (size_t)n, sizeof *sorted, compare_descending);
  for (long i = 0; i < n && sorted; i++) {
    sum += sorted[i] - sorted[0];
    double next = sorted[0] + (sum - 1) / (double)(i + 1);
    if (i > 0 && sorted[i] <= next) break;
    threshold = next;
  }
  free(sorted);
  return threshold;
}

/* By halving an interval that holds the threshold, whose sum falls from at least 1 to 0. */
static double entmax_threshold(long n, const double *x, double alpha) {
  double top = x[0], power = 1 / (alpha - 1);
  for (long i = 1; i < n; i++) top = fmax(top, x[i]);
  double low = (alpha - 1) * top - 1, high = low + 1;
  for (int halving = 0; halving < 100; halving++) {
    double middle = 0.5 * (low + high), sum = 0;
    for (long i = 0; i < n; i++) sum += pow(fmax((alpha - 1) * x[i] - middle, 0), power);
    *(sum >= 1 ? &low : &high) = middle;
  }
  return low;
}

static void projection_values(Op op, long n, const double *x, double alpha, double *out) {
  double sum = 0;
  for (long i = 0; i < n; i++) sum += x[i];
  double threshold = op == IR_sparsemax ? sparsemax_threshold(n, x) : entmax_threshold(n, x, alpha);
  for (long i = 0; i < n; i++)
    out[i] = isnan(sum) ? NAN : pow(fmax((alpha - 1) * x[i] - threshold, 0), 1 / (alpha - 1));
}

void line_values(const Node *node, const double *const *operands, double *out) {
  long n = (long)last_extent(node->operands[0]);
  if (node->op == IR_top_mask) mark_largest(n, operands[0], operands[1][0], out);
  if (node->op == IR_cholesky) cholesky_values(n, operands[0], out);
  if (node->op == IR_sparsemax) projection_values(node->op, n, operands[0], 2, out);
  if (node->op == IR_entmax) projection_values(node->op, n, operands[0], operands[1][0], out);
}
