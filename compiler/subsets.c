/* Subsets: the functions that the library's distributions over them are written with. A size is a number known before
 * training, or a value whose largest number is known; one that is latent, and perhaps relaxed, opens soft gates. */
#include "builtins.h"
#include "kl.h"

#include <math.h>

enum { MOST_MEMBERS = 1 << 20 };

static const NumberNode *find_number(const Elaborator *e, const Node *node) {
  for (int i = 0; i < e->number_count; i++)
    if (e->numbers[i].number == node) return &e->numbers[i];
  return NULL;
}

Dim largest_number(Elaborator *e, const Node *node) {
  const NumberNode *known = find_number(e, node);
  double high = node->facts.high;
  if (!known) return dim_number(high >= 1 && high <= MOST_MEMBERS ? floor(high) : 0);
  if (known->first == 1) return known->count;
  Dim less = dim_number(fabs(known->first - 1));
  return known->first < 1 ? dim_subtract(e->c, known->count, less) : dim_add(e->c, known->count, less);
}

/* ---- how many: gates ------------------------------------------------------------------------------------------- */

/* [count, most]: 1 where the number in that place is at least l = 1, 2, ... */
static Node *reached(Elaborator *e, const NumberNode *known, Dim most) {
  Shape shape = {.rank = 2, .dims = {known->count, most}};
  long count = (long)known->count.size, columns = (long)most.size;
  double *values = arena_array(e->c, double, count *columns);
  for (long v = 0; v < count; v++)
    for (long l = 0; l < columns; l++) values[v * columns + l] = known->first + (double)v >= (double)(l + 1);
  return build_table(e->graph, values, &shape);
}

/* Chances of the values that a number may have -> of its being at least 1, 2, ... */
static Value gates_of(Elaborator *e, Value chances, const NumberNode *known, Dim most, Span span) {
  Node *a = chances.node;
  int rank = a->shape.rank, labels[MAX_RANK], out[MAX_RANK];
  place(e, span);
  if (known->first <= 1) { /* tail sums */
    Node *tails = build_cumsum(e->graph, a, rank - 1, true, false);
    return value_tensor(build_slice(e->graph, tails, rank - 1, 1 - (long)known->first, most), chances.mapped, span);
  }
  for (int d = 0; d < rank; d++) labels[d] = out[d] = d;
  out[rank - 1] = rank;
  Node *b = reached(e, known, most);
  return value_tensor(build_contract(e->graph, a, labels, b, (int[]){rank - 1, rank}, rank, out, 0), chances.mapped,
                      span);
}

/* 1 <= size, 2 <= size, ... of a number of which nothing else is known. */
static Value compared(Elaborator *e, Value size, Dim most, Span span) {
  Shape last = {.rank = 1, .dims = {most}}, shape = size.node->shape;
  int map[MAX_RANK], rank = shape.rank;
  shape.dims[shape.rank++] = most;
  for (int d = 0; d < rank; d++) map[d] = d;
  Node *places = build_cumsum(e->graph, build_filled(e->graph, 1, &last), 0, false, false);
  Node *wide = build_expand(e->graph, size.node, &shape, map);
  places = build_expand(e->graph, places, &shape, (int[]){rank});
  return value_tensor(build_map2(e->graph, IR_less_equal, places, wide), size.mapped, span);
}

/* at_least(size) or, with `expected`, the posterior's chances of it in place of a draw's, unless what follows in the
 * call depends on the draw. */
static Value gates(Elaborator *e, const Expr *call, Value *a, int count, bool expected) {
  Value size = a[0];
  Node *node = value_node(e, &size);
  if (!node) return value_error();
  Dim most = size.kind == VALUE_NUMBER ? size.dim : largest_number(e, node);
  if (!is_dim_size(most.size) || most.size > MOST_MEMBERS) {
    Diagnostic *d = error_at(e->c, "subset-size", size.span,
                             "the number of members must have an upper bound that is known before "
                             "training; this is %s",
                             value_text(e->c, &size));
    help_with(d, "declare it integer(a, b)");
    return value_error();
  }
  Shape line = {.rank = 1, .dims = {most}};
  if (size.kind == VALUE_NUMBER) return value_tensor(build_filled(e->graph, 1, &line), 0, call->span);
  const NumberNode *known = find_number(e, node);
  if (!known) return compared(e, size, most, call->span);
  NumberNode of = *known; /* the table may move */
  bool by_mean = expected && of.latent;
  for (int i = 1; by_mean && i < count; i++)
    by_mean = a[i].kind != VALUE_TENSOR || !depends_on_draw(e, a[i].node, of.latent);
  Value chances = by_mean ? posterior_mean(e, of.latent, call->span) : value_error();
  if (chances.kind == VALUE_TENSOR && !size.mapped) return gates_of(e, chances, &of, most, call->span);
  chances = vector_of_number(e, size, call->span);
  return chances.kind == VALUE_TENSOR ? gates_of(e, chances, &of, most, call->span) : value_error();
}

static Value call_at_least(Elaborator *e, const Expr *call, Value *a, int count) {
  return gates(e, call, a, count, false);
}

static Value call_expected_at_least(Elaborator *e, const Expr *call, Value *a, int count) {
  return gates(e, call, a, count, true);
}

/* ---- sums over subsets ----------------------------------------------------------------------------------------- */

/* The lines of a call: vectors and, where wanted, numbers, made to have the same mapped dims. False after reporting. */
static bool lines(Elaborator *e, const Expr *call, Value *a, const int *own, int count, Node **nodes,
                  unsigned *mapped) {
  *mapped = 0;
  for (int i = 0; i < count; i++) *mapped |= a[i].kind == VALUE_TENSOR ? a[i].mapped : 0;
  for (int i = 0; i < count; i++) {
    Shape shape = visible_shape(&a[i]);
    if (shape.rank != own[i]) {
      error_at(e->c, "shape", call->arguments[i].value->span, "%s takes a %s here, not %s", call->name,
               own[i] ? "vector" : "number", value_text(e->c, &a[i]));
      return false;
    }
    Value v = expand_value(e, as_tensor(e, a[i]), *mapped, &shape, (int[]){0});
    if (v.kind != VALUE_TENSOR) return false;
    nodes[i] = v.node;
  }
  return true;
}

static bool same_length(Elaborator *e, const Expr *call, const Value *a, int i) {
  Shape first = visible_shape(&a[0]), other = visible_shape(&a[i]);
  if (dim_agree(first.dims[0], other.dims[0])) return true;
  error_at(e->c, "shape", call->arguments[i].value->span, "%s and %s are of different lengths", value_text(e->c, &a[0]),
           value_text(e->c, &a[i]));
  return false;
}

/* subset_moments(a, c, most)[0]: log of the sum of exp(sum of a) over subsets of 0, 1, .. most; [1]: mean sums of c. */
static Value call_subset_moments(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Node *nodes[2];
  unsigned mapped;
  Dim most;
  if (!elaborate_dim(e, call->arguments[2].value, &most)) return value_error();
  if (!lines(e, call, a, (int[]){1, 1}, 2, nodes, &mapped) || !same_length(e, call, a, 1)) return value_error();
  if (nodes[0]->shape.rank == MAX_RANK) return value_error();
  Node *node = build_line(e->graph, IR_subset_moments, nodes, (long)most.size + 1);
  Shape shape = node->shape;
  shape.dims[shape.rank - 1] = dim_add(e->c, most, dim_number(1));
  return value_tensor(named_as(e, node, &shape), mapped, call->span);
}

static Value call_subset_inclusion(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Node *nodes[2];
  unsigned mapped;
  if (!lines(e, call, a, (int[]){1, 1}, 2, nodes, &mapped)) return value_error();
  return value_tensor(build_line(e->graph, IR_subset_inclusion, nodes, 0), mapped, call->span);
}

/* subset_draw(a, u, size, most) */
static Value call_subset_draw(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Node *nodes[3];
  unsigned mapped;
  Dim most;
  if (!elaborate_dim(e, call->arguments[3].value, &most)) return value_error();
  if (!lines(e, call, a, (int[]){1, 1, 0}, 3, nodes, &mapped) || !same_length(e, call, a, 1)) return value_error();
  return value_tensor(build_line(e->graph, IR_subset_draw, nodes, (long)most.size + 1), mapped, call->span);
}

/* ---- picks without replacement --------------------------------------------------------------------------------- */

/* relaxed_subset(keys, gates, temperature): 1 - the product over relaxed picks of 1 - gate * pick. */
static Value call_relaxed_subset(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Node *nodes[3];
  unsigned mapped;
  if (!lines(e, call, a, (int[]){1, 1, 0}, 3, nodes, &mapped)) return value_error();
  Node *node = build_line(e->graph, IR_relaxed_subset, nodes, 0);
  return value_tensor(named_as(e, node, &nodes[0]->shape), mapped, call->span);
}

/* picks_kl(keys, a, b, temperature, count): for each of so many picks, the KL of softmax(a + left) to softmax(b +
 * left), with the log of what those before it left. Temperature 0: each takes the largest of what is left. */
static Value call_picks_kl(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Node *nodes[4];
  unsigned mapped;
  Dim most;
  if (!elaborate_dim(e, call->arguments[4].value, &most)) return value_error();
  if (!lines(e, call, a, (int[]){1, 1, 1, 0}, 4, nodes, &mapped)) return value_error();
  if (!same_length(e, call, a, 1) || !same_length(e, call, a, 2)) return value_error();
  Node *node = build_line(e->graph, IR_picks_kl, nodes, (long)most.size);
  Shape shape = node->shape;
  shape.dims[shape.rank - 1] = most;
  return value_tensor(named_as(e, node, &shape), mapped, call->span);
}

const BuiltinRow subset_functions[] = {
    {"at_least", call_at_least, 1, 1, "", TAKES_VALUES},
    {"expected_at_least", call_expected_at_least, 1, 8, "", TAKES_VALUES},
    {"subset_moments", call_subset_moments, 3, 3, "", TAKES_VALUES},
    {"subset_inclusion", call_subset_inclusion, 2, 2, "", TAKES_VALUES},
    {"relaxed_subset", call_relaxed_subset, 3, 3, "", TAKES_VALUES},
    {"picks_kl", call_picks_kl, 5, 5, "", TAKES_VALUES},
    {"subset_draw", call_subset_draw, 4, 4, "", TAKES_VALUES},
    {0},
};
