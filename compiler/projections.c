/* Projections: sparsemax(v) and entmax(v, alpha = 1.5), along the last dim or those that `over` names. */
#include "builtins.h"

#include <string.h>

/* The exponent, known before training; false after reporting. */
static bool read_alpha(Elaborator *e, const Expr *call, double *alpha) {
  const Argument *a = find_argument(call, "alpha");
  *alpha = 1.5;
  if (!a) return true;
  Value v = elaborate(e, a->value);
  if (v.kind == VALUE_ERROR) return false;
  if (v.kind == VALUE_NUMBER && v.dim.size > 1 && v.dim.size < 1e6) {
    *alpha = v.dim.size;
    return true;
  }
  Diagnostic *d =
      error_at(e->c, "argument", a->value->span,
               "`alpha` of entmax is a number above 1, known before training; this is %s", value_text(e->c, &v));
  help_with(d, "towards 1 entmax becomes softmax, and at 2 it is sparsemax");
  return false;
}

/* The dims to project along as one last dim, and back. */
static Value call_projection(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Over over;
  double alpha = 2;
  int back[MAX_RANK];
  Value v = as_tensor(e, a[0]);
  if (!over_of(e, call, &v, false, &over)) return value_error();
  if (over.axes || over.dims == 0) {
    Diagnostic *d = error_at(e->c, "over", call->span, "%s needs a dim to run along", call->name);
    help_with(d, "it runs along the last dim of its value, or those that `over` names");
    return value_error();
  }
  if (strcmp(call->name, "entmax") == 0 && !read_alpha(e, call, &alpha)) return value_error();
  unsigned taken = node_mask(&v, over.dims);
  Node *moved = move_to_end(e, v, taken, back).node;
  Shape line = moved->shape, lead;
  line.rank -= __builtin_popcount(taken) - 1;
  if (line.rank < moved->shape.rank) {
    double size = 1;
    for (int d = line.rank - 1; d < moved->shape.rank; d++) size *= moved->shape.dims[d].size;
    line.dims[line.rank - 1] = dim_number(size);
  }
  lead = line;
  lead.rank--;
  Node *operands[] = {build_reshape(e->graph, moved, &line), build_filled(e->graph, alpha, &lead)};
  Node *p = build_line(e->graph, alpha == 2 ? IR_sparsemax : IR_entmax, operands, 0);
  p = build_permute(e->graph, build_reshape(e->graph, p, &moved->shape), back);
  return value_tensor(named_as(e, p, &v.node->shape), v.mapped, call->span);
}

const BuiltinRow projection_functions[] = {
    {"sparsemax", call_projection, 1, 1, "over", TAKES_VALUES},
    {"entmax", call_projection, 1, 1, "alpha, over", TAKES_VALUES},
    {0},
};
