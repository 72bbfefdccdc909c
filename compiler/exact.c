/* exact: a discrete posterior `by exact` -> its values as members along an axis of their own, each with its
 * probability; and the expectation of whatever carries such an axis: the sum over the members, weighted. What mentions
 * the latent alone is computed once a member, what mentions the datum as well once a row and member (LANGUAGE rules 6,
 * 27); a member of probability 0 is left out by compiled programs (ir.h, SupportAxis). */
#include "builtins.h"

#include <math.h>
#include <string.h>

enum { MOST_MEMBERS = 4096 };

const Summed *find_summed(const Elaborator *e, Name latent) {
  for (int i = 0; i < e->summed_count; i++)
    if (e->summed[i].latent == latent && !e->summed[i].score) return &e->summed[i];
  return NULL;
}

/* How many values one element may take, and the first of them; 0: not finitely many. */
static double values_of_one(const Support *support, const Shape *shape, double *first) {
  *first = support->facts.low;
  if (support->special == SPECIAL_CATEGORY) return shape->dims[shape->rank - 1].size;
  if (support->special != SPECIAL_NONE || !support->facts.integer) return 0;
  double count = support->facts.high - support->facts.low + 1;
  return count <= MOST_MEMBERS ? count : 0;
}

/* Elements that vary on their own: a one-hot vector counts as one. */
static double elements_of(const Support *support, const Shape *shape) {
  double size = (double)shape_size(shape);
  return support->special == SPECIAL_CATEGORY ? size / shape->dims[shape->rank - 1].size : size;
}

/* All values, [members, shape]: the last element varies fastest. */
static Node *member_table(Elaborator *e, const Support *support, const Shape *shape, long members, double first) {
  Name name = intern(e->c, arena_printf(e->c, "%ld values", members)); /* no name of an author's */
  Shape table = {.rank = 1, .dims = {dim_name(e->c, name, (double)members)}};
  for (int d = 0; d < shape->rank; d++) table.dims[table.rank++] = shape->dims[d];
  bool category = support->special == SPECIAL_CATEGORY;
  long elements = (long)elements_of(support, shape), width = shape_size(shape) / elements;
  if (category && elements == 1) {
    Shape line = {.rank = 1, .dims = {table.dims[0]}};
    Node *identity = build_embed_diagonal(e->graph, build_filled(e->graph, 1, &line));
    return build_reshape(e->graph, identity, &table);
  }
  double *values = arena_array(e->c, double, shape_size(&table));
  double one = 0;
  long count = (long)values_of_one(support, shape, &one);
  for (long m = 0; m < members; m++)
    for (long i = elements - 1, rest = m; i >= 0; i--, rest /= count) {
      double *at = values + (m * elements + i) * width;
      if (category)
        at[rest % count] = 1;
      else
        *at = first + (double)(rest % count);
    }
  return build_table(e->graph, values, &table);
}

static bool count_members(Elaborator *e, const PosteriorDraw *p, const Support *support, long *members, double *first) {
  double count = values_of_one(support, p->shape, first), all = pow(count, elements_of(support, p->shape));
  if (count > 0 && all <= MOST_MEMBERS) {
    *members = (long)all;
    return true;
  }
  if (count == 0) {
    Diagnostic *x =
        error_at(e->c, "exact", p->d->span, "`%s` has no finite number of values to sum over", p->latent->name);
    note_at(x, p->latent->name_span, "it is declared here");
  } else {
    Diagnostic *x = error_at(e->c, "exact", p->d->span, "`%s` has %s values, and at most %d are summed over",
                             p->latent->name, shortest_number(e->c, all), MOST_MEMBERS);
    help_with(x, "a posterior of sparse support sums over fewer; `by score_function` or `by relaxed(...)` over none");
  }
  return false;
}

bool latent_members(Elaborator *e, const PosteriorDraw *p, MemberList *list) {
  Support support, extended;
  double first;
  if (!distribution_support(e, p->d, &support, &extended)) return false;
  if (!count_members(e, p, &support, &list->count, &first)) return false;
  place(e, p->d->span);
  list->table = member_table(e, &support, p->shape, list->count, first);
  list->category = support.special == SPECIAL_CATEGORY && shape_size(p->shape) == list->count;
  return true;
}

int members_axis(Elaborator *e, const PosteriorDraw *p, double members, Node *weights) {
  Graph *g = e->graph;
  if (weights && (weights->axes & ~(unsigned)AXIS_DATUM)) weights = NULL;
  if (weights) weights = build_spread(g, weights, AXIS_DATUM & ~weights->axes);
  for (int v = 0; v < g->support_count; v++) /* the second walk of a program finds those of the first */
    if (g->supports[v].name == p->latent->name && g->supports[v].weights == weights &&
        g->supports[v].extent.size == members)
      return v;
  if (g->support_count == MAX_SUPPORTS) {
    error_at(e->c, "exact", p->d->span, "more than %d latents are summed out", MAX_SUPPORTS);
    return -1;
  }
  int v = graph_support(g, p->latent->name, dim_number(members));
  if (weights) graph_support_weights(g, v, weights);
  return v;
}

Value member_probabilities(Elaborator *e, const PosteriorDraw *p, const MemberList *list) {
  bool missing;
  Span span = p->d->span;
  Value all = value_tensor(list->table, 0, span), v;
  Shape line = {.rank = 1, .dims = {list->table->shape.dims[0]}};
  v = list->category ? distribution_field(e, p->d, "mean", NULL, p->shape, span, &missing) : value_error();
  if (list->category && !missing && v.kind == VALUE_TENSOR)
    return value_tensor(build_reshape(e->graph, v.node, &line), 0, span);
  v = distribution_field(e, p->d, "log_pdf", &all, &list->table->shape, span, &missing);
  if (missing) report_no_density(e, p->d);
  Node *log_p = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
  if (!log_p) return value_error();
  place(e, span);
  log_p = build_sum(e->graph, log_p, (1u << log_p->shape.rank) - 2);
  return value_tensor(build_map1(e->graph, IR_exp, log_p), 0, span);
}

Value draw_exact(Elaborator *e, const PosteriorDraw *p) {
  MemberList list;
  if (!latent_members(e, p, &list)) return value_error();
  Graph *g = e->graph;
  Span span = p->d->span;
  Value probabilities = list.category ? member_probabilities(e, p, &list) : value_error(), weight;
  bool known = probabilities.kind == VALUE_TENSOR && !(probabilities.node->axes & ~(unsigned)AXIS_DATUM);
  int v = members_axis(e, p, (double)list.count, known ? probabilities.node : NULL);
  if (v < 0) return value_error();
  place(e, span);
  Value z = value_tensor(build_pick(g, list.table, v), 0, span);
  if (known) {
    weight = value_tensor(build_pick(g, g->supports[v].weights, v), 0, span);
  } else {
    bool missing;
    weight = distribution_field(e, p->d, "log_pdf", &z, p->shape, span, &missing);
    if (missing) report_no_density(e, p->d);
    weight = apply1(e, IR_exp, sum_all(e, weight, span), span);
  }
  if (weight.kind != VALUE_TENSOR) return value_error();
  const char *which = known ? ", those of probability 0 left out" : "";
  if (e->describe)
    note_estimator(e, p->latent->name, arena_printf(e->c, "exact sum over %ld values%s", list.count, which));
  e->summed = arena_grow(e->c, e->summed, e->summed_count, sizeof *e->summed);
  e->summed[e->summed_count++] = (Summed){.latent = p->latent->name, .axis = v, .weight = weight, .members = z.node};
  return z;
}

/* The weighted sum along one support axis. What is off the support may be anything, and counts nothing. */
Value sum_members(Elaborator *e, Value value, const Summed *s) {
  if (s->axis < 0 || value.kind != VALUE_TENSOR || !(value.node->axes & (unsigned)AXIS_SUPPORT << s->axis))
    return value;
  Value possible = apply2(e, IR_less, value_number(0), s->weight, value.span);
  Value term = apply2(e, IR_mul, s->weight, value, value.span);
  term = apply3(e, IR_select, possible, term, value_number(0), value.span);
  if (term.kind != VALUE_TENSOR) return term;
  return value_tensor(build_sum_over(e->graph, term.node, (unsigned)AXIS_SUPPORT << s->axis), term.mapped, value.span);
}

/* support_size(z): how many members of a summed-out latent have a probability that is not 0; one value a datum. */
static Value call_support_size(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  for (int i = 0; a[0].kind == VALUE_TENSOR && i < e->summed_count; i++) {
    const Summed *s = &e->summed[i];
    if (s->axis < 0 || s->members != a[0].node) continue;
    Value on = apply2(e, IR_less, value_number(0), s->weight, call->span);
    if (on.kind != VALUE_TENSOR) return on;
    place(e, call->span);
    return value_tensor(build_sum_over(e->graph, on.node, (unsigned)AXIS_SUPPORT << s->axis), on.mapped, call->span);
  }
  Diagnostic *x =
      error_at(e->c, "support-size", call->span, "support_size is of a latent that is summed out, by its name");
  help_with(x, "a posterior `by exact` or `~ sparsemax(...)` is summed out");
  return value_error();
}

const BuiltinRow support_functions[] = {{"support_size", call_support_size, 1, 1, "", true}, {0}};
