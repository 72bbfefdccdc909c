/* The meaning of convolve and its transposes: one sum over images, filters, channels and places,
 *   features[f, p, q]  images[c, p stride + i - padding, q stride + j - padding]  filters[f, c, i, j],
 * from which each makes the one factor that is its result of the other two. Outside an image there are zeros. */
#include <string.h>

#include "ir_parts.h"

typedef struct Arrays { /* of one image */
  const double *images, *filters, *features;
  double *out;
} Arrays;

/* Where the values of one place begin: an index along each axis, those that a node lacks do not move it. */
long offset_of_place(const Graph *graph, const Node *node, const long *place) {
  long index = 0;
  for (int axis = 0; axis < AXIS_COUNT; axis++)
    if (node->axes >> axis & 1) index = index * axis_extent(graph, axis, 0) + place[axis]; /* rows are outermost */
  return index * shape_size(&node->shape);
}

/* The next place along these axes; false after the last. */
bool next_place_along(const Graph *graph, unsigned axes, long rows, long *place) {
  for (int axis = AXIS_COUNT - 1; axis >= 0; axis--) {
    if (!(axes >> axis & 1)) continue;
    if (++place[axis] < axis_extent(graph, axis, rows)) return true;
    place[axis] = 0;
  }
  return false;
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
  long image = v.channels * v.height * v.width, feature = v.count * v.down * v.across, place[AXIS_COUNT] = {0};
  memset(out, 0, sizeof(double) * (size_t)node_extent(graph, node, rows));
  if (axes & AXIS_DATUM && rows == 0) return;
  do {
    const double *of_a = a + offset_of_place(graph, left, place), *of_b = b + offset_of_place(graph, right, place);
    double *to = out + offset_of_place(graph, node, place);
    for (long n = 0; n < v.leading; n++) {
      Arrays at = {of_a + n * image, of_b, NULL, to + n * feature};
      if (node->op == IR_convolve_transpose) at = (Arrays){NULL, of_b, of_a + n * feature, to + n * image};
      if (node->op == IR_convolve_filters) at = (Arrays){of_a + n * image, NULL, of_b + n * feature, to};
      one_image(node, &v, &at);
    }
  } while (next_place_along(graph, axes, rows, place));
}
