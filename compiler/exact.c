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
  Shape table = {.rank = 1, .dims = {dim_number((double)members)}};
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

int members_axis(Elaborator *e, const PosteriorDraw *p, Dim members, Node *weights) {
  Graph *g = e->graph;
  if (weights && (weights->axes & ~(unsigned)AXIS_DATUM)) weights = NULL;
  if (weights) weights = build_spread(g, weights, AXIS_DATUM & ~weights->axes);
  for (int v = 0; v < g->support_count; v++) /* the second walk of a program finds those of the first */
    if (g->supports[v].name == p->latent->name && g->supports[v].weights == weights &&
        g->supports[v].extent.size == members.size)
      return v;
  if (g->support_count == MAX_SUPPORTS) {
    error_at(e->c, "exact", p->d->span, "more than %d latents are summed out", MAX_SUPPORTS);
    return -1;
  }
  int v = graph_support(g, p->latent->name, members);
  if (weights) graph_support_weights(g, v, weights);
  return v;
}

Value member_probabilities(Elaborator *e, const PosteriorDraw *p, const MemberList *list) {
  bool missing;
  Span span = p->d->span;
  Shape line = {.rank = 1, .dims = {list->table->shape.dims[0]}}, table = list->table->shape;
  Value v;
  v = list->category ? distribution_field(e, p->d, "mean", NULL, p->shape, span, &missing) : value_error();
  if (list->category && !missing && v.kind == VALUE_TENSOR)
    return value_tensor(build_reshape(e->graph, v.node, &line), 0, span);
  Name name = intern(e->c, arena_printf(e->c, "%ld values", list->count)); /* no name of an author's */
  table.dims[0] = dim_name(e->c, name, (double)list->count);
  Value all = value_tensor(named_as(e, list->table, &table), 0, span);
  v = distribution_field(e, p->d, "log_pdf", &all, &table, span, &missing);
  if (missing) report_no_density(e, p->d);
  Node *log_p = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
  if (!log_p) return value_error();
  place(e, span);
  log_p = build_sum(e->graph, log_p, (1u << log_p->shape.rank) - 2);
  return value_tensor(build_map1(e->graph, IR_exp, log_p), 0, span);
}

static void describe_sum(Elaborator *e, const PosteriorDraw *p, long members, bool sparse) {
  const char *which = sparse ? ", those of probability 0 left out" : "";
  if (e->describe)
    note_estimator(e, p->latent->name, arena_printf(e->c, "exact sum over %ld values%s", members, which));
}

static Value add_summed(Elaborator *e, Name latent, int v, Value z, Value weight, Node *table, bool whole) {
  if (z.kind != VALUE_TENSOR || weight.kind != VALUE_TENSOR) return value_error();
  e->summed = arena_grow(e->c, e->summed, e->summed_count, sizeof *e->summed);
  e->summed[e->summed_count++] =
      (Summed){.latent = latent, .axis = v, .weight = weight, .members = z.node, .whole = whole, .table = table};
  return z;
}

/* A family with a field `members` lists what is not 0 of it, and is summed out without a method. */
static bool declares_members(const Value *d) {
  return d->kind == VALUE_DISTRIBUTION && d->combinator == COMBINE_NONE &&
         distribution_find_field(d->family, "members");
}

static bool members_fit(Elaborator *e, const PosteriorDraw *p) {
  Support support;
  const char *family = p->d->family->name;
  if (!read_support(e, p->latent->type, &support)) return false;
  if (!support.facts.integer) { /* of a mass to a density there is no KL */
    Diagnostic *x = error_at(e->c, "exact", p->d->span, "%s is a distribution over vectors of bits, and `%s` is %s",
                             family, p->latent->name, support.name);
    note_at(x, p->latent->name_span, "it is declared here");
    help_with(x, "declare it `latent %s : binary%s;`", p->latent->name, shape_text(e->c, p->shape));
    return false;
  }
  if (p->shape->rank != 1) {
    Diagnostic *x =
        error_at(e->c, "exact", p->d->span, "%s is summed out over the members of one vector, and `%s` is %s", family,
                 p->latent->name, shape_text(e->c, p->shape));
    help_with(x, "declare a latent for each vector, or one vector of all bits");
    return false;
  }
  return true;
}

/* A family that says which members there are, a line each, and their probabilities at the end of the lines. */
static Value draw_members(Elaborator *e, const PosteriorDraw *p) {
  Graph *g = e->graph;
  if (!members_fit(e, p)) return value_error();
  bool missing;
  Diagnostic *const *mark = e->c->last_diagnostic;
  Value members = distribution_field(e, p->d, "members", NULL, p->shape, p->d->span, &missing);
  blame(e, mark, p->d->span, p->d->family->name);
  if (members.kind != VALUE_TENSOR) return value_error();
  place(e, p->d->span);
  Dim count = members.node->shape.dims[0], width = p->shape->dims[0];
  Shape line = {.rank = 1, .dims = {count}}, table = {.rank = 2, .dims = {count, width}};
  Node *lines = build_spread(g, members.node, AXIS_DATUM);
  Node *bits = named_as(e, build_stop(g, build_slice(g, lines, 1, 0, width)), &table);
  Node *weights = build_reshape(g, build_slice(g, lines, 1, (long)width.size, dim_number(1)), &line);
  int v = members_axis(e, p, count, weights);
  if (v < 0) return value_error();
  describe_sum(e, p, (long)count.size, true);
  bool few = members.node->op == IR_top_k_members && (width.size >= 30 || count.size < pow(2, width.size));
  return add_summed(e, p->latent->name, v, value_tensor(build_pick(g, bits, v), 0, p->d->span),
                    value_tensor(build_pick(g, weights, v), 0, p->d->span), bits, !few);
}

Value draw_exact(Elaborator *e, const PosteriorDraw *p) {
  if (!check_options(e, p->posterior->by, "", false)) return value_error();
  if (declares_members(p->d)) return draw_members(e, p);
  MemberList list;
  if (!latent_members(e, p, &list)) return value_error();
  Graph *g = e->graph;
  Span span = p->d->span;
  Value probabilities = list.category ? member_probabilities(e, p, &list) : value_error(), weight;
  bool known = probabilities.kind == VALUE_TENSOR && !(probabilities.node->axes & ~(unsigned)AXIS_DATUM);
  int v = members_axis(e, p, dim_number((double)list.count), known ? probabilities.node : NULL);
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
  describe_sum(e, p, list.count, known);
  return add_summed(e, p->latent->name, v, z, weight, list.table, true);
}

Value log_density_of_member(Elaborator *e, Name latent, const Value *d, bool *known) {
  const Summed *s = declares_members(d) ? find_summed(e, latent) : NULL;
  *known = s != NULL;
  return s ? apply1(e, IR_log, s->weight, d->span) : value_error();
}

/* The weighted sum along one support axis. What is off the support may be anything, and counts nothing; a weight that
 * is not a number makes the sum none. */
Value sum_members(Elaborator *e, Value value, const Summed *s) {
  if (s->axis < 0 || value.kind != VALUE_TENSOR || !(value.node->axes & (unsigned)AXIS_SUPPORT << s->axis))
    return value;
  Value possible = apply2(e, IR_not_equal, s->weight, value_number(0), value.span);
  Value term = apply2(e, IR_mul, s->weight, value, value.span);
  term = apply3(e, IR_select, possible, term, value_number(0), value.span);
  if (term.kind != VALUE_TENSOR) return term;
  return value_tensor(build_sum_over(e->graph, term.node, (unsigned)AXIS_SUPPORT << s->axis), term.mapped, value.span);
}

/* What the argument is in inference: a metric sees data that are partly latent as they are. */
static const Node *in_inference(Elaborator *e, const Value *v, Span span) {
  if (v->kind != VALUE_TENSOR || v->node->op != IR_data) return v->kind == VALUE_TENSOR ? v->node : NULL;
  Item *item = model_find_declaration(e->model, e->graph->signature->data[v->node->index].name);
  Value inferred = is_partly_latent(e->model, item) ? model_value(e, item, span) : *v;
  return inferred.kind == VALUE_TENSOR ? inferred.node : NULL;
}

static const Summed *summed_argument(Elaborator *e, const Expr *call, const Value *z) {
  const Node *members = in_inference(e, z, call->span);
  for (int i = 0; members && i < e->summed_count; i++)
    if (e->summed[i].axis >= 0 && e->summed[i].members == members) return &e->summed[i];
  if (z->kind == VALUE_ERROR) return NULL;
  Diagnostic *x =
      error_at(e->c, "support-size", call->span, "%s is of a latent that is summed out, by its name", call->name);
  help_with(x, "a posterior `by exact` or `~ sparsemax(...)` is summed out");
  return NULL;
}

/* support_size(z): how many members of a summed-out latent have a probability that is not 0; one value a datum. */
static Value call_support_size(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  const Summed *s = summed_argument(e, call, &a[0]);
  if (!s) return value_error();
  Value on = apply2(e, IR_less, value_number(0), s->weight, call->span);
  if (on.kind != VALUE_TENSOR) return on;
  place(e, call->span);
  return value_tensor(build_sum_over(e->graph, on.node, (unsigned)AXIS_SUPPORT << s->axis), on.mapped, call->span);
}

/* certificate(z): 1 where the weights are known to be those over all values. Of the k best vectors they are if one of
 * these has none: all others have lower scores. */
static Value call_certificate(Elaborator *e, const Expr *call, Value *a, int count) {
  const Summed *s = summed_argument(e, call, &a[0]);
  if (!s) return value_error();
  double members = e->graph->supports[s->axis].extent.size;
  Value size = call_support_size(e, call, a, count);
  return apply2(e, IR_less, size, value_number(s->whole ? members + 1 : members), call->span);
}

const BuiltinRow support_functions[] = {{"support_size", call_support_size, 1, 1, "", TAKES_VALUES},
                                        {"certificate", call_certificate, 1, 1, "", TAKES_VALUES},
                                        {0}};
