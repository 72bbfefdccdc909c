/* Selections: top_k(v, k) and top_mask(v, k), the k largest along dims of a value, or of the whole batch; and
 * prod(v). */
#include "builtins.h"

/* The value with the dims of the mask moved to its end, and how to move them back. */
Value move_to_end(Elaborator *e, Value v, unsigned mask, int *back) {
  int rank = v.node->shape.rank, map[MAX_RANK] = {0}, place = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int d = 0; d < rank; d++)
      if ((int)(mask >> d & 1) == pass) map[place++] = d;
  for (int d = 0; d < rank; d++) back[map[d]] = d;
  return value_tensor(build_permute(e->graph, v.node, map), v.mapped, v.span);
}

/* k for each group of v: a number, or a value of the dims that are not taken along. */
static Node *counts(Elaborator *e, const Expr *call, Value k, const Value *v, unsigned taken, bool of_batch) {
  Shape all = visible_shape(v), rest = {0};
  if (k.kind == VALUE_NUMBER && !(k.dim.size >= 0)) {
    error_at(e->c, "argument", k.span, "%s takes a number of values, not %s", call->name, value_text(e->c, &k));
    return NULL;
  }
  for (int i = 0; i < all.rank; i++)
    if (!(taken >> i & 1)) rest.dims[rest.rank++] = all.dims[i];
  Shape own = visible_shape(&k);
  if (own.rank > 0 && ways_to_fit(&own, &rest) != 1) {
    Diagnostic *d = error_at(e->c, "shape", call->arguments[1].value->span, "one number for each %s is wanted, not %s",
                             rest.rank ? shape_text(e->c, &rest) : "datum", value_text(e->c, &k));
    help_with(d, "the number may have the dims that are not in `over`, or none");
    return NULL;
  }
  if (of_batch && k.kind == VALUE_TENSOR && k.node->axes & AXIS_DATUM) {
    error_at(e->c, "over", call->arguments[1].value->span,
             "of the whole batch one number is taken, and this is one for each datum");
    return NULL;
  }
  Value wide = expand_value(e, expand_to(e, as_tensor(e, k), &rest, call->span), v->mapped, &rest,
                            (int[]){0, 1, 2, 3, 4, 5, 6, 7});
  return wide.kind == VALUE_TENSOR ? wide.node : NULL;
}

/* 1 for the k largest, else 0. */
static Value call_top_mask(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Over over;
  Value v = as_tensor(e, a[0]);
  if (!over_of(e, call, &v, false, &over)) return value_error();
  if (over.axes & AXIS_SAMPLE || (over.dims == 0 && over.axes == 0)) {
    Diagnostic *d = error_at(e->c, "over", call->span, "%s needs a dim to choose along", call->name);
    help_with(d, "it chooses along the last dim, those that `over` names, and `batch`");
    return value_error();
  }
  bool of_batch = over.axes & AXIS_DATUM;
  if (of_batch) v = average_samples(e, v);
  if (of_batch && !(v.node->axes & AXIS_DATUM)) {
    error_at(e->c, "over", call->span,
             "the value is the same for every datum: there is nothing to choose over `batch`");
    return value_error();
  }
  Node *k = counts(e, call, a[1], &v, over.dims, of_batch);
  if (!k) return value_error();
  int back[MAX_RANK];
  unsigned taken = node_mask(&v, over.dims);
  Value moved = move_to_end(e, v, taken, back);
  int rank = moved.node->shape.rank, lead = rank - __builtin_popcount(taken);
  Node *mask;
  if (of_batch) {
    mask = build_top_mask_over(e->graph, moved.node, k, (1u << rank) - (1u << lead));
  } else { /* the dims to choose along as one */
    Shape line = moved.node->shape;
    line.rank = lead + 1;
    for (int d = lead + 1; d < rank; d++) line.dims[lead].size *= moved.node->shape.dims[d].size;
    if (rank > lead + 1) line.dims[lead] = dim_number(line.dims[lead].size);
    mask = build_line(e->graph, IR_top_mask, (Node *[]){build_reshape(e->graph, moved.node, &line), k}, 0);
    mask = build_reshape(e->graph, mask, &moved.node->shape);
  }
  mask = named_as(e, build_permute(e->graph, mask, back), &v.node->shape);
  return value_tensor(mask, v.mapped, call->span);
}

/* v where it is among the k largest, else 0; which ones has no derivative. */
static Value call_top_k(Elaborator *e, const Expr *call, Value *a, int count) {
  Value mask = call_top_mask(e, call, a, count);
  if (mask.kind == VALUE_ERROR) return mask;
  return apply3(e, IR_select, mask, as_tensor(e, a[0]), value_number(0), call->span);
}

/* The product along a dim, which becomes 1 long, by halves: gradients pass zeros without a division. What is permuted
 * is multiplied as it lies. */
static Node *product_along(Elaborator *e, Node *x, int dim) {
  Node *odd = NULL;
  if (x->op == IR_permute) return build_permute(e->graph, product_along(e, x->operands[0], x->map[dim]), x->map);
  for (long n = (long)x->shape.dims[dim].size; n > 1; n /= 2) {
    if (n % 2) {
      Node *one = build_slice(e->graph, x, dim, n - 1, dim_number(1));
      odd = odd ? build_map2(e->graph, IR_mul, odd, one) : one;
    }
    Node *a = build_slice(e->graph, x, dim, 0, dim_number((double)(n / 2)));
    Node *b = build_slice(e->graph, x, dim, n / 2, dim_number((double)(n / 2)));
    x = build_map2(e->graph, IR_mul, a, b);
  }
  return odd ? build_map2(e->graph, IR_mul, x, odd) : x;
}

/* prod(v): of all elements, or along the dims of `over`. */
static Value call_prod(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Over over;
  Value v = as_tensor(e, a[0]);
  if (!over_of(e, call, &v, true, &over)) return value_error();
  if (over.axes) {
    error_at(e->c, "over", call->span, "prod multiplies along dims of its value, not over the batch or samples");
    return value_error();
  }
  unsigned mask = node_mask(&v, over.dims);
  Node *product = v.node;
  Shape kept = {0};
  for (int d = 0; d < v.node->shape.rank; d++) {
    if (mask >> d & 1)
      product = product_along(e, product, d);
    else
      kept.dims[kept.rank++] = v.node->shape.dims[d];
  }
  return value_tensor(named_as(e, build_reshape(e->graph, product, &kept), &kept), v.mapped, call->span);
}

const BuiltinRow selection_functions[] = {
    {"prod", call_prod, 1, 1, "over", TAKES_VALUES},
    {"top_k", call_top_k, 2, 2, "over", TAKES_VALUES},
    {"top_mask", call_top_mask, 2, 2, "over", TAKES_VALUES},
    {0},
};
