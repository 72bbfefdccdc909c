/* The meaning of contract: out[lo] = sum over labels and summed axes of a[la] * b[lb], as a nest of loops over labels
 * and axes with a stride for each of the three. The innermost loop runs along memory where it can. */
#include <string.h>

#include "ir_parts.h"

typedef struct Loop {
  long extent, stride_a, stride_b, stride_out;
} Loop;

enum { MAX_LOOPS = 2 * MAX_RANK + AXIS_COUNT };

typedef struct Nest {
  int count;
  Loop loops[MAX_LOOPS];
} Nest;

/* Elements from one index of dim d to the next. */
static long dim_stride(const Shape *shape, int d) {
  long stride = 1;
  for (int i = d + 1; i < shape->rank; i++) stride *= (long)shape->dims[i].size;
  return stride;
}

static long axis_stride(const Graph *graph, const Node *node, int axis) {
  if (!(node->axes >> axis & 1)) return 0;
  long stride = shape_size(&node->shape);
  for (int inner = axis + 1; inner < AXIS_COUNT; inner++)
    if (node->axes >> inner & 1) stride *= axis_extent(graph, inner, 0); /* rows are outermost */
  return stride;
}

static long label_stride(const Node *x, const int *labels, int label) {
  for (int d = 0; d < x->shape.rank; d++)
    if (labels[d] == label) return dim_stride(&x->shape, d);
  return 0;
}

static bool has_label(const Node *x, const int *labels, int label) {
  for (int d = 0; d < x->shape.rank; d++)
    if (labels[d] == label) return true;
  return false;
}

static void add_loop(Nest *nest, Loop loop) {
  if (loop.extent != 1) nest->loops[nest->count++] = loop;
}

static void add_label(Nest *nest, const Node *node, int label, long extent) {
  const Node *a = node->operands[0], *b = node->operands[1];
  add_loop(nest, (Loop){extent, label_stride(a, node->labels_a, label), label_stride(b, node->labels_b, label),
                        label_stride(node, node->labels_out, label)});
}

/* How well a loop does innermost: the number of arrays it walks along or stands still in. */
static int smoothness(const Loop *loop) {
  int smooth = 0;
  long strides[] = {loop->stride_a, loop->stride_b, loop->stride_out};
  for (int i = 0; i < 3; i++) smooth += strides[i] == 1 ? 2 : strides[i] == 0;
  return smooth;
}

static void order_loops(Nest *nest) {
  for (int i = 0; i + 1 < nest->count; i++) { /* the best one last, the others as they come */
    Loop *last = &nest->loops[nest->count - 1];
    if (smoothness(&nest->loops[i]) > smoothness(last)) {
      Loop other = *last;
      *last = nest->loops[i];
      nest->loops[i] = other;
    }
  }
}

static void innermost(const Loop *loop, const double *a, const double *b, double *out) {
  if (loop->stride_out == 0) {
    double sum = 0;
    for (long i = 0; i < loop->extent; i++) sum += a[i * loop->stride_a] * b[i * loop->stride_b];
    *out += sum;
  } else if (loop->stride_out == 1 && loop->stride_a == 0 && loop->stride_b == 1) {
    double factor = *a;
    for (long i = 0; i < loop->extent; i++) out[i] += factor * b[i];
  } else {
    for (long i = 0; i < loop->extent; i++) out[i * loop->stride_out] += a[i * loop->stride_a] * b[i * loop->stride_b];
  }
}

static void run_loops(const Loop *loop, int count, const double *a, const double *b, double *out) {
  if (count == 0) {
    *out += *a * *b;
  } else if (count == 1) {
    innermost(loop, a, b, out);
  } else {
    for (long i = 0; i < loop->extent; i++)
      run_loops(loop + 1, count - 1, a + i * loop->stride_a, b + i * loop->stride_b, out + i * loop->stride_out);
  }
}

void contract_values(const Graph *graph, const Node *node, long rows, const double *a, const double *b, double *out) {
  const Node *left = node->operands[0], *right = node->operands[1];
  Nest nest = {0};
  unsigned axes = left->axes | right->axes;
  for (int axis = 0; axis < AXIS_COUNT; axis++)
    if (axes >> axis & 1)
      add_loop(&nest, (Loop){axis_extent(graph, axis, rows), axis_stride(graph, left, axis),
                             axis_stride(graph, right, axis), axis_stride(graph, node, axis)});
  for (int d = 0; d < left->shape.rank; d++) add_label(&nest, node, node->labels_a[d], (long)left->shape.dims[d].size);
  for (int d = 0; d < right->shape.rank; d++)
    if (!has_label(left, node->labels_a, node->labels_b[d]))
      add_label(&nest, node, node->labels_b[d], (long)right->shape.dims[d].size);
  order_loops(&nest);
  memset(out, 0, sizeof(double) * (size_t)node_extent(graph, node, rows));
  run_loops(nest.loops, nest.count, a, b, out);
}
