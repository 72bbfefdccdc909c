/* The meaning of convolve and its transposes: one sum over images, filters, channels and places,
 *   features[f, p, q]  images[c, p stride + i - padding, q stride + j - padding]  filters[f, c, i, j],
 * from which each makes the one factor that is its result of the other two. Outside an image there are zeros. */
#include <string.h>

#include "ir_parts.h"

typedef struct Arrays { /* of one image */
  const double *images, *filters, *features;
  double *out;
} Arrays;

/* Where the values of one row and sample begin. */
static long offset_of(const Graph *graph, const Node *node, long row, long sample) {
  long size = shape_size(&node->shape), samples = node->axes & AXIS_SAMPLE ? graph->samples : 1;
  return ((node->axes & AXIS_DATUM ? row : 0) * samples + (node->axes & AXIS_SAMPLE ? sample : 0)) * size;
}

static void add_product(const Node *node, const Arrays *at, long image, long feature, long filter) {
  if (node->op == IR_convolve) at->out[feature] += at->images[image] * at->filters[filter];
  if (node->op == IR_convolve_transpose) at->out[image] += at->features[feature] * at->filters[filter];
  if (node->op == IR_convolve_filters) at->out[filter] += at->images[image] * at->features[feature];
}

/* All products of one filter, one channel and one place of the filter. */
static void along_places(const Node *node, const Convolution *v, const Arrays *at, long f, long c, long i, long j) {
  long filter = ((f * v->channels + c) * v->rows + i) * v->columns + j;
  for (long p = 0; p < v->down; p++)
    for (long q = 0; q < v->across; q++) {
      long y = p * node->stride + i - node->padding, x = q * node->stride + j - node->padding;
      if (y < 0 || y >= v->height || x < 0 || x >= v->width) continue;
      add_product(node, at, (c * v->height + y) * v->width + x, (f * v->down + p) * v->across + q, filter);
    }
}

static void one_image(const Node *node, const Convolution *v, const Arrays *at) {
  for (long f = 0; f < v->count; f++)
    for (long c = 0; c < v->channels; c++)
      for (long i = 0; i < v->rows; i++)
        for (long j = 0; j < v->columns; j++) along_places(node, v, at, f, c, i, j);
}

void convolution_values(const Graph *graph, const Node *node, long rows, const double *a, const double *b,
                        double *out) {
  Convolution v = convolution_of(node);
  const Node *left = node->operands[0], *right = node->operands[1];
  unsigned axes = left->axes | right->axes;
  long image = v.channels * v.height * v.width, feature = v.count * v.down * v.across;
  memset(out, 0, sizeof(double) * (size_t)node_extent(graph, node, rows));
  for (long row = 0; row < (axes & AXIS_DATUM ? rows : 1); row++)
    for (long sample = 0; sample < (axes & AXIS_SAMPLE ? graph->samples : 1); sample++)
      for (long n = 0; n < v.leading; n++) {
        const double *of_a = a + offset_of(graph, left, row, sample), *of_b = b + offset_of(graph, right, row, sample);
        double *to = out + offset_of(graph, node, row, sample);
        if (node->op == IR_convolve) one_image(node, &v, &(Arrays){of_a + n * image, of_b, NULL, to + n * feature});
        if (node->op == IR_convolve_transpose)
          one_image(node, &v, &(Arrays){NULL, of_b, of_a + n * feature, to + n * image});
        if (node->op == IR_convolve_filters)
          one_image(node, &v, &(Arrays){of_a + n * image, NULL, of_b + n * feature, to});
      }
}
