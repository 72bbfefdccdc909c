/* sparse_supports: the members of sparse distributions over bit vectors, for the library's declarations of them: a
 * matrix of a line a member, its bits and then its weight; lines of weight 0 stand for nobody. */
#include "builtins.h"

#include <math.h>

enum { MOST_BITS = 512, MOST_MEMBERS = 4096 };
static const double NO_BUDGET = 1e30; /* the library's default */

/* A vector of scores of a size that fits; NULL after reporting. */
static Node *scores_of(Elaborator *e, const Expr *call, Value *v) {
  Node *node = value_node(e, v);
  if (!node) return NULL;
  Shape shape = visible_shape(v);
  if (shape.rank == 1 && shape.dims[0].size >= 1 && shape.dims[0].size <= MOST_BITS) return node;
  error_at(e->c, "shape", call->span, "the scores of bits are a vector of 1 to %d, not %s", MOST_BITS,
           value_text(e->c, v));
  return NULL;
}

/* A whole number known before training: where a family is walked without a call, its parameter stands for one. */
static bool whole(Elaborator *e, Value *v, double least, const char *what) {
  if (v->kind == VALUE_ERROR) return false;
  if (e->generic && v->kind == VALUE_TENSOR) *v = value_number(1);
  if (v->kind == VALUE_NUMBER && v->dim.size >= least && v->dim.size == floor(v->dim.size)) return true;
  Diagnostic *d =
      error_at(e->c, "argument", v->span, "%s is a whole number of at least %g, known before training; this is %s",
               what, least, value_text(e->c, v));
  if (v->kind == VALUE_TENSOR) help_with(d, "a `let` or a dim may hold it, and NAME=VALUE on the command line sets it");
  return false;
}

/* top_k_members(scores, k) */
static Value call_top_k_members(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Node *scores = scores_of(e, call, &a[0]);
  if (!scores || !whole(e, &a[1], 1, "the k of top_k_sparsemax")) return value_error();
  double k = a[1].dim.size, bits = scores->shape.dims[scores->shape.rank - 1].size;
  if (k > MOST_MEMBERS) {
    error_at(e->c, "argument", a[1].span, "the k of top_k_sparsemax is at most %d", MOST_MEMBERS);
    return value_error();
  }
  if (bits < 30 && k > pow(2, bits) && !e->generic) {
    Diagnostic *d =
        error_at(e->c, "argument", a[1].span, "k = %g, and there are but %g vectors of %g bits", k, pow(2, bits), bits);
    help_with(d, "with k = %g the weights are those of sparsemax over all of them", pow(2, bits));
    return value_error();
  }
  place(e, call->span);
  return value_tensor(build_line(e->graph, IR_top_k_members, &scores, (long)k), a[0].mapped, call->span);
}

/* sparsemap_members(scores, start, budget) */
static Value call_sparsemap_members(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Node *nodes[2] = {scores_of(e, call, &a[0]), scores_of(e, call, &a[1])};
  if (!nodes[0] || !nodes[1] || !whole(e, &a[2], 0, "the budget of sparsemap")) return value_error();
  double budget = a[2].dim.size, bits = nodes[0]->shape.dims[nodes[0]->shape.rank - 1].size;
  if (budget == NO_BUDGET) budget = bits;
  if (budget > bits && !e->generic) {
    Diagnostic *d = error_at(e->c, "argument", a[2].span, "a budget of %g bits, and there are but %g", budget, bits);
    help_with(d, "leave `budget` out where any number of bits may be set");
    return value_error();
  }
  place(e, call->span);
  return value_tensor(build_line(e->graph, IR_sparsemap_members, nodes, (long)budget), a[0].mapped | a[1].mapped,
                      call->span);
}

const BuiltinRow sparse_support_functions[] = {
    {"top_k_members", call_top_k_members, 2, 2, "", TAKES_VALUES},
    {"sparsemap_members", call_sparsemap_members, 3, 3, "", TAKES_VALUES},
    {0},
};
