/* images: convolve(x, W) and convolve_transpose(x, W) of images [.., channel, row, column]. How many places a filter
 * has must come out whole, or the error shows the arithmetic in the author's names. */
#include "builtins.h"

#include <math.h>
#include <string.h>

/* An option that is a whole number known before training. */
static bool whole_option(Elaborator *e, const Expr *call, const char *name, long least, long *value) {
  const Argument *a = find_argument(call, name);
  if (!a) return true;
  Value v = elaborate(e, a->value);
  if (v.kind == VALUE_ERROR) return false;
  double size = v.kind == VALUE_NUMBER ? v.dim.size : -1;
  if (size >= (double)least && size == floor(size) && size < 1e6) {
    *value = (long)size;
    return true;
  }
  error_at(e->c, "argument", a->value->span,
           "`%s` of `%s` is a whole number known before training, at least %ld; this is %s", name, call->name, least,
           value_text(e->c, &v));
  return false;
}

static Dim last_dim(const Shape *shape, int from_end) { return shape->dims[shape->rank - from_end]; }

/* images [.., c, h, w] and filters [m, c, k, l]; convolve_transpose has [.., m, p, q] in the images' place. */
static bool shapes_fit(Elaborator *e, const Expr *call, const Value *x, const Value *w, bool transposed) {
  Shape images = visible_shape(x), filters = visible_shape(w);
  bool ranks = x->kind == VALUE_TENSOR && w->kind == VALUE_TENSOR && images.rank >= 3 && filters.rank == 4;
  const char *wanted =
      transposed ? "features [.., m, h, w] and filters [m, c, k, k]" : "images [.., c, h, w] and filters [m, c, k, k]";
  if (!ranks) {
    Diagnostic *d = error_at(e->c, "shape", call->span, "`%s` takes %s, not %s and %s", call->name, wanted,
                             value_text(e->c, x), value_text(e->c, w));
    help_with(d, "an image is [channel, row, column]: `reshape(v, [1, 28, 28])` makes one of 784 numbers");
    return false;
  }
  if (w->mapped) {
    error_at(e->c, "not-supported", call->span, "`%s` with other filters for each of several values is not supported",
             call->name);
    return false;
  }
  Dim have = last_dim(&images, 3), want = filters.dims[transposed ? 0 : 1];
  if (dim_agree(have, want)) return true;
  error_at(e->c, "shape", call->span, "`%s` takes %s: %s has %s channels, and the filters %s are for %s", call->name,
           wanted, shape_text(e->c, &images), dim_text(e->c, have), shape_text(e->c, &filters), dim_text(e->c, want));
  return false;
}

/* "H = 29" for what a name stands for; "" for a number. */
static const char *meaning(Elaborator *e, Dim dim) {
  if (!dim.symbol) return "";
  return arena_printf(e->c, "; %s is %s", dim_text(e->c, dim), shortest_number(e->c, dim.size));
}

/* Places along rows (1) or columns (2) of an image, or pixels along those of a transposed convolution. */
static bool comes_out(Elaborator *e, const Expr *call, const Shape *images, const Shape *filters, int along,
                      long stride, long padding) {
  Dim length = last_dim(images, 3 - along), window = filters->dims[1 + along];
  bool transposed = strcmp(call->name, "convolve_transpose") == 0;
  const char *size = dim_text(e->c, length), *kernel = dim_text(e->c, window), *what = along == 1 ? "rows" : "columns";
  double count = transposed ? (length.size - 1) * (double)stride + window.size - 2 * (double)padding
                            : (length.size + 2 * (double)padding - window.size) / (double)stride + 1;
  if (count >= 1 && count == floor(count)) return true;
  if (e->generic) return false; /* the dims stand for any numbers */
  const char *sum = transposed ? arena_printf(e->c, "(%s - 1) * %ld + %s - 2 * %ld", size, stride, kernel, padding)
                               : arena_printf(e->c, "(%s + 2 * %ld - %s) / %ld + 1", size, padding, kernel, stride);
  Diagnostic *d = error_at(e->c, "shape", call->span, "`%s` would have %s %s, %s%s%s", call->name,
                           shortest_number(e->c, count), what, sum, meaning(e, length), meaning(e, window));
  help_with(d,
            transposed
                ? "choose kernel, stride and padding so that (length - 1) * stride + kernel - 2 * padding is positive"
                : "choose kernel, stride and padding so that (length + 2 * padding - kernel) / stride is whole");
  return false;
}

/* bias [m]: one number a channel of the result, at each of its places. */
static Value add_bias(Elaborator *e, const Expr *call, Value y) {
  const Argument *a = find_argument(call, "bias");
  if (!a) return y;
  Value b = elaborate(e, a->value);
  if (b.kind == VALUE_ERROR) return b;
  Shape bias = visible_shape(&b), shape = visible_shape(&y);
  if (b.kind != VALUE_TENSOR || b.mapped || bias.rank != 1 || !dim_agree(bias.dims[0], last_dim(&shape, 3))) {
    error_at(e->c, "shape", a->value->span, "`bias` of `%s` is one number for each of %s channels; this is %s",
             call->name, dim_text(e->c, last_dim(&shape, 3)), value_text(e->c, &b));
    return value_error();
  }
  int map[] = {y.node->shape.rank - 3};
  Value all = value_tensor(build_expand(e->graph, b.node, &y.node->shape, map), y.mapped, call->span);
  return apply2(e, IR_add, y, all, call->span);
}

static Value call_convolve(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  bool transposed = strcmp(call->name, "convolve_transpose") == 0;
  long stride = 1, padding = 0;
  if (!whole_option(e, call, "stride", 1, &stride) || !whole_option(e, call, "padding", 0, &padding) ||
      !shapes_fit(e, call, &a[0], &a[1], transposed))
    return value_error();
  Shape images = visible_shape(&a[0]), filters = visible_shape(&a[1]);
  if (!comes_out(e, call, &images, &filters, 1, stride, padding) ||
      !comes_out(e, call, &images, &filters, 2, stride, padding))
    return value_error();
  Node *node =
      (transposed ? build_convolve_transpose : build_convolve)(e->graph, a[0].node, a[1].node, stride, padding);
  return add_bias(e, call, value_tensor(node, a[0].mapped, call->span));
}

const BuiltinRow image_functions[] = {
    {"convolve", call_convolve, 2, 2, "stride, padding, bias", TAKES_VALUES},
    {"convolve_transpose", call_convolve, 2, 2, "stride, padding, bias", TAKES_VALUES},
    {0},
};
