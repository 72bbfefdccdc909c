/* Categories and numbers: hardmax, argmax, index and one_hot, and the two forms of an integer(a, b). As a value it is a
 * number; where a distribution over categories or one_hot wants it, it is its one-hot vector, whose mean it is. */
#include "builtins.h"

#include <math.h>
#include <string.h>

/* A vector along the last dim of `shape`, repeated along the others. */
static Node *expand_last(Elaborator *e, Node *vector, const Shape *shape) {
  int map[1] = {shape->rank - 1};
  return build_expand(e->graph, vector, shape, map);
}

/* first, first + 1, ... along the last dim of `shape`. */
static Node *consecutive(Elaborator *e, double first, const Shape *shape) {
  Shape last = {.rank = 1, .dims = {shape->dims[shape->rank - 1]}};
  Node *numbers = build_cumsum(e->graph, build_filled(e->graph, 1, &last), 0, false, true);
  if (first != 0) numbers = build_map2(e->graph, IR_add, numbers, build_filled(e->graph, first, &last));
  return expand_last(e, numbers, shape);
}

/* The mean of first, first + 1, ... under weights along the last dim. */
static Value mean_number(Elaborator *e, const Value *weights, double first, Span span) {
  const Shape *shape = &weights->node->shape;
  place(e, span);
  Node *product = build_map2(e->graph, IR_mul, weights->node, consecutive(e, first, shape));
  return value_tensor(build_sum(e->graph, product, 1u << (shape->rank - 1)), weights->mapped, span);
}

/* ---- integers -------------------------------------------------------------------------------------------------- */

void note_number(Elaborator *e, Node *number, Node *vector, const Support *support) {
  for (int i = 0; i < e->number_count; i++)
    if (e->numbers[i].number == number) return;
  e->numbers = arena_grow(e->c, e->numbers, e->number_count, sizeof *e->numbers);
  e->numbers[e->number_count++] =
      (NumberNode){.number = number, .vector = vector, .first = support->facts.low, .count = support->count};
}

bool hold_as_vector(Elaborator *e, const Value *d, Support *support, Shape *shape) {
  Support own, extended;
  if (strcmp(support->name, "integer") != 0 || d->kind != VALUE_DISTRIBUTION ||
      !distribution_support(e, d, &own, &extended) || own.special != SPECIAL_CATEGORY || shape->rank == MAX_RANK)
    return false;
  shape->dims[shape->rank++] = support->count;
  support->special = SPECIAL_CATEGORY;
  support->facts = own.facts;
  return true;
}

Value number_of_vector(Elaborator *e, Value vector, const Support *support, Span span) {
  if (vector.kind != VALUE_TENSOR) return vector;
  Value number = mean_number(e, &vector, support->facts.low, span);
  note_number(e, number.node, vector.node, support);
  return number;
}

static Node *one_hot_of(Elaborator *e, Node *number, double first, Dim count) {
  Shape shape = number->shape;
  int map[MAX_RANK];
  for (int i = 0; i < shape.rank; i++) map[i] = i;
  shape.dims[shape.rank++] = count;
  return build_map2(e->graph, IR_equal, build_expand(e->graph, number, &shape, map), consecutive(e, first, &shape));
}

Value vector_of_number(Elaborator *e, Value v, Span span) {
  if (v.kind == VALUE_ERROR) return v;
  NumberNode *known = NULL;
  for (int i = 0; v.kind == VALUE_TENSOR && i < e->number_count; i++)
    if (e->numbers[i].number == v.node) known = &e->numbers[i];
  if (!known) {
    Diagnostic *d = error_at(e->c, "one-hot", span,
                             "only data or a latent of the type integer(a, b) has a one-hot "
                             "vector; this is %s",
                             value_text(e->c, &v));
    help_with(d, "name the variable itself; a category(n) is its one-hot vector already");
    return value_error();
  }
  if (v.node->shape.rank == MAX_RANK) {
    error_at(e->c, "rank", span, "at most %d dims", MAX_RANK);
    return value_error();
  }
  place(e, span);
  if (!known->vector) known->vector = one_hot_of(e, known->number, known->first, known->count);
  return value_tensor(known->vector, v.mapped, span);
}

/* ---- functions ------------------------------------------------------------------------------------------------- */

static Value call_one_hot(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  return vector_of_number(e, a[0], call->span);
}

/* hardmax(x): one-hot of the first maximum along the last dim. No gradient. */
static Value call_hardmax(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Over over;
  Value v = as_tensor(e, a[0]);
  if (!over_of(e, call, &v, false, &over)) return value_error();
  Shape shape = visible_shape(&v);
  if (over.axes || shape.rank == 0 || over.dims != 1u << (shape.rank - 1)) {
    Diagnostic *d = error_at(e->c, "over", call->span, "%s runs along the last dim of its value, which is %s",
                             call->name, value_text(e->c, &v));
    help_with(d, "leave `over` out, or move the dim to the end first");
    return value_error();
  }
  return value_tensor(build_first_max_mask(e->graph, v.node, node_mask(&v, over.dims)), v.mapped, call->span);
}

/* argmax(x): the number, from 0, of the first maximum. */
static Value call_argmax(Elaborator *e, const Expr *call, Value *a, int count) {
  Value hot = call_hardmax(e, call, a, count);
  return hot.kind == VALUE_ERROR ? hot : mean_number(e, &hot, 0, call->span);
}

/* argmin(x): of the first minimum. */
static Value call_argmin(Elaborator *e, const Expr *call, Value *a, int count) {
  Value turned = apply1(e, IR_neg, as_tensor(e, a[0]), call->span);
  return turned.kind == VALUE_ERROR ? turned : call_argmax(e, call, &turned, count);
}

/* index(y): the number of the one in a one-hot vector. */
static Value call_index(Elaborator *e, const Expr *call, Value *a, int count) {
  Value number = call_argmax(e, call, a, count);
  for (int i = 0; number.kind == VALUE_TENSOR && i < e->soft_count; i++) {
    if (e->soft[i].is_index || e->soft[i].node != a[0].node) continue;
    Name latent = e->soft[i].latent;
    e->soft = arena_grow(e->c, e->soft, e->soft_count, sizeof *e->soft);
    e->soft[e->soft_count++] = (SoftNode){.node = number.node, .latent = latent, .is_index = true, .span = call->span};
    break;
  }
  return number;
}

/* ---- log probabilities ----------------------------------------------------------------------------------------- */

/* logits = w f + b, as `dense` of few factors makes them. */
typedef struct Factors {
  Node *f, *w, *b;
} Factors;

/* A product of w [n, r] with f [.., r] along r, and nothing else. */
static bool is_product(Elaborator *e, Node *node, Factors *of) {
  if (node->op != IR_contract || node->axes_attribute) return false;
  for (int side = 0; side < 2; side++) {
    Node *w = node->operands[side], *f = node->operands[1 - side];
    const int *of_w = side ? node->labels_b : node->labels_a, *of_f = side ? node->labels_a : node->labels_b;
    int last = node->shape.rank - 1;
    if (last < 0 || w->shape.rank != 2 || w->axes || f->shape.rank != last + 1) continue;
    int category = node->labels_out[last], at = of_w[0] == category ? 0 : 1;
    bool fits = of_w[at] == category && of_f[last] == of_w[1 - at];
    for (int d = 0; fits && d < last; d++) fits = of_f[d] == node->labels_out[d];
    if (!fits) continue;
    *of = (Factors){.f = f, .w = at == 0 ? w : build_permute(e->graph, w, (int[]){1, 0})};
    return true;
  }
  return false;
}

static bool is_of_factors(Elaborator *e, Node *logits, Factors *of) {
  for (int side = 0; logits->op == IR_add && side < 2; side++) {
    Node *b = logits->operands[side];
    if (b->op != IR_expand || b->operands[0]->shape.rank != 1 || b->map[0] != b->shape.rank - 1 || b->axes) continue;
    if (!is_product(e, logits->operands[1 - side], of)) continue;
    of->b = b->operands[0];
    return true;
  }
  if (!is_product(e, logits, of)) return false;
  Shape line = {.rank = 1, .dims = {logits->shape.dims[logits->shape.rank - 1]}};
  of->b = build_filled(e->graph, 0, &line);
  return true;
}

/* Of a few factors for many categories, where the categories are numbers: the logits need never be in memory. */
static bool is_low_rank(Elaborator *e, const Value *z, const Value *logits, Factors *of, const NumberNode **number) {
  if (z->kind != VALUE_TENSOR || logits->kind != VALUE_TENSOR || z->mapped != logits->mapped) return false;
  *number = NULL;
  for (int i = 0; i < e->number_count; i++)
    if (e->numbers[i].vector == z->node && !e->numbers[i].latent) *number = &e->numbers[i];
  if (!*number || !is_of_factors(e, logits->node, of)) return false;
  double rank = of->w->shape.dims[1].size;
  if (rank > LOW_RANK_MOST || 4 * rank > of->w->shape.dims[0].size) return false;
  const Shape *x = &(*number)->number->shape;
  if (x->rank + 1 != of->f->shape.rank) return false;
  for (int d = 0; d < x->rank; d++)
    if (x->dims[d].size != of->f->shape.dims[d].size) return false;
  return true;
}

/* category_log_pdf(z, logits) = dot(z, log_softmax(logits)) */
static Value call_category_log_pdf(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  Factors of;
  const NumberNode *number;
  if (!is_low_rank(e, &a[0], &a[1], &of, &number))
    return call_library(e, library_find(e->model, ITEM_FUNCTION, intern(e->c, "log_chance")), call);
  place(e, call->span);
  Node *fit = build_low_rank_fit(e->graph, of.f, of.w, of.b, number->number, (long)number->first);
  Node *first = build_slice(e->graph, fit, fit->shape.rank - 1, 0, dim_number(1));
  return value_tensor(named_as(e, build_reshape(e->graph, first, &number->number->shape), &number->number->shape),
                      a[0].mapped, call->span);
}

const BuiltinRow category_functions[] = {
    {"category_log_pdf", call_category_log_pdf, 2, 2, "", TAKES_VALUES},
    {"hardmax", call_hardmax, 1, 1, "over", TAKES_VALUES},
    {"argmax", call_argmax, 1, 1, "over", TAKES_VALUES},
    {"argmin", call_argmin, 1, 1, "over", TAKES_VALUES},
    {"index", call_index, 1, 1, "over", TAKES_VALUES},
    {"one_hot", call_one_hot, 1, 1, "", TAKES_VALUES},
    {0},
};
