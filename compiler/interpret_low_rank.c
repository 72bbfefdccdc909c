/* The meaning of low_rank_fit and low_rank_weights: of logits = w f + b and a category x, log softmax(logits)[x] and
 * its slopes in f, and the sum over lines of g times those in w and b. Where x is no category all are 0. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir_parts.h"

/* softmax of a line's logits; returns the log of their sum of exponentials. */
static double softmax_of(const LowRank *of, const double *f, const double *w, const double *b, double *p) {
  double top = -INFINITY, sum = 0;
  for (long l = 0; l < of->length; l++) {
    p[l] = b[l];
    for (long r = 0; r < of->rank; r++) p[l] += w[l * of->rank + r] * f[r];
    top = fmax(top, p[l]);
  }
  for (long l = 0; l < of->length; l++) sum += exp(p[l] - top);
  for (long l = 0; l < of->length; l++) p[l] = exp(p[l] - top) / sum;
  return top + log(sum);
}

static long category_of(const LowRank *of, double x) {
  double place = x - (double)of->first;
  return place >= 0 && place < (double)of->length ? (long)place : -1;
}

static void fit_line(const LowRank *of, const double *f, const double *w, const double *b, double x, double *p,
                     double *out) {
  double log_sum = softmax_of(of, f, w, b, p);
  long category = category_of(of, x);
  for (long r = 0; r <= of->rank; r++) out[r] = 0;
  if (category < 0) return;
  out[0] = b[category] - log_sum;
  for (long r = 0; r < of->rank; r++) {
    out[0] += w[category * of->rank + r] * f[r];
    out[1 + r] = w[category * of->rank + r];
    for (long l = 0; l < of->length; l++) out[1 + r] -= p[l] * w[l * of->rank + r];
  }
}

static void add_weights(const LowRank *of, const double *f, const double *w, const double *b, double x, double g,
                        double *p, double *out) {
  long category = category_of(of, x);
  if (category < 0 || g == 0) return;
  softmax_of(of, f, w, b, p);
  for (long l = 0; l < of->length; l++)
    for (long r = 0; r <= of->rank; r++)
      out[l * (of->rank + 1) + r] += g * ((l == category) - p[l]) * (r < of->rank ? f[r] : 1);
}

void low_rank_values(const Graph *graph, const Node *node, long rows, double *const *values, double *out) {
  LowRank of = low_rank_of(node);
  bool sums = node->op == IR_low_rank_weights;
  double *p = malloc(sizeof *p * (size_t)of.length);
  const double *at[6] = {0}, *w = values[node->operands[1]->id], *b = values[node->operands[2]->id];
  long place[AXIS_COUNT] = {0}, size = node_extent(graph, node, rows);
  unsigned axes = 0;
  for (int k = 0; k < node->operand_count; k++) axes |= node->operands[k]->axes;
  for (long i = 0; i < size; i++) out[i] = p != NULL ? 0 : NAN;
  if ((axes & AXIS_DATUM && rows == 0) || p == NULL) return;
  do {
    for (int k = 0; k < node->operand_count; k++)
      at[k] = values[node->operands[k]->id] + offset_of_place(graph, node->operands[k], place);
    double *to = out + offset_of_place(graph, node, place);
    for (long i = 0; i < of.lines; i++)
      if (sums)
        add_weights(&of, at[0] + i * of.rank, w, b, at[3][i], at[5][i], p, to);
      else
        fit_line(&of, at[0] + i * of.rank, w, b, at[3][i], p, to + i * (of.rank + 1));
  } while (next_place_along(graph, axes, rows, place));
  free(p);
}
