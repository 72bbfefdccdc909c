/* mixtures: mixture(w: d, ...), mixture(w: d, over = C) and joint(d, over = K), distributions made of distributions.
 * A mixture over a dim C has components whose parameters carry C as their first dim beyond the event; a joint makes one
 * event of the dims it names. Their densities are those of the components, combined; a component of weight exactly 0
 * contributes nothing and has gradient 0 (LANGUAGE rule 13). */
#include "statements.h"

#include <math.h>
#include <string.h>

bool is_combinator(Name name) { return strcmp(name, "mixture") == 0 || strcmp(name, "joint") == 0; }

const char *distribution_name(const Value *d) {
  switch (d->combinator) {
  case COMBINE_NONE: return d->family->name;
  case COMBINE_MIXTURE: return "mixture";
  case COMBINE_JOINT: return "joint";
  }
  return "?";
}

int event_rank(const Value *d) {
  if (d->combinator == COMBINE_NONE) return family_event_rank(d->family);
  return event_rank(&d->elements[0]) + (d->combinator == COMBINE_JOINT ? 1 : 0);
}

int distribution_parameters(Elaborator *e, const Value *d, const Value ***out, int count) {
  for (int i = 0; i < d->count; i++) {
    if (d->combinator != COMBINE_NONE) count = distribution_parameters(e, &d->elements[i], out, count);
    const Value *own = d->combinator == COMBINE_NONE      ? &d->elements[i]
                       : d->combinator == COMBINE_MIXTURE ? &d->weights[i]
                                                          : NULL;
    if (!own) continue;
    *out = arena_grow(e->c, (void *)*out, count, sizeof **out);
    (*out)[count++] = own;
  }
  return count;
}

/* ---- making them ----------------------------------------------------------------------------------------------- */

static Value component(Elaborator *e, const Expr *x) {
  Value d = elaborate(e, x);
  if (d.kind == VALUE_ERROR || d.kind == VALUE_DISTRIBUTION) return d;
  error_at(e->c, "not-a-distribution", x->span, "a component must be a distribution; this is %s", value_text(e->c, &d));
  return value_error();
}

static bool check_weight(Elaborator *e, const Value *w, Span span) {
  Node *node = value_node(e, w);
  if (!node) return false;
  Facts unit = {.low = 0, .high = 1};
  if (!facts_disjoint(&node->facts, &unit)) return true;
  error_at(e->c, "support", span, "a weight of a mixture lies in [0, 1]; this %s", lies_text(e->c, &node->facts));
  return false;
}

/* Where the one weight of a mixture along a dim has that dim; -1: it is the same for all. */
static int dim_of_components(const Value *made) {
  Shape shape = visible_shape(&made->weights[0]);
  for (int d = 0; d < shape.rank; d++)
    if (dim_agree(shape.dims[d], made->over)) return d;
  return -1;
}

/* Weights that cannot make 1 together are a density of another mass, and so are those that do not. */
static bool check_sum(Elaborator *e, Value *made, Span span) {
  double low = 0, high = 0, times = made->over_count ? made->over.size : 1;
  const char *sum;
  for (int i = 0; i < made->count; i++) {
    Node *w = value_node(e, &made->weights[i]);
    if (!w) return false;
    low += times * fmax(w->facts.low, 0);
    high += times * fmin(w->facts.high, 1);
  }
  if (bounds_hold_one(e->c, low, high, &sum)) {
    bool proved = made->over_count ? guard_simplex(e, &made->weights[0], dim_of_components(made), span)
                                   : guard_weights(e, made->weights, made->count, span);
    if (!proved) accept_support(e, span, NULL, intern(e->c, "weights"), intern(e->c, "simplex"));
    return true;
  }
  Diagnostic *d = error_at(e->c, "support", span, "the weights of a mixture sum to 1; these sum to %s", sum);
  help_with(d,
            made->over_count ? "one weight stands for each of the %s components" : "the last one may be 1 - the others",
            dim_text(e->c, made->over));
  return false;
}

static Value make_joint(Elaborator *e, const Expr *call) {
  const Argument *over = find_argument(call, "over");
  Value d = value_error(),
        made = {
            .kind = VALUE_DISTRIBUTION, .combinator = COMBINE_JOINT, .span = call->span, .count = 1, .over_count = 1};
  if (call->argument_count != 2 || call->arguments[0].name || !over) {
    Diagnostic *x =
        error_at(e->c, "argument", call->span, "joint makes one event of a dim: it takes a distribution and `over`");
    help_with(x, "for example joint(normal(0, 1), over = K)");
    return value_error();
  }
  d = component(e, call->arguments[0].value);
  if (d.kind == VALUE_ERROR || !elaborate_dim(e, over->value, &made.over)) return value_error();
  made.elements = arena_new(e->c, Value);
  made.elements[0] = d;
  return made;
}

static Value make_mixture(Elaborator *e, const Expr *call) {
  const Argument *over = find_argument(call, "over");
  int count = call->argument_count - (over ? 1 : 0);
  Value made = {
      .kind = VALUE_DISTRIBUTION, .combinator = COMBINE_MIXTURE, .span = call->span, .over_count = over ? 1 : 0};
  made.elements = arena_array(e->c, Value, count);
  made.weights = arena_array(e->c, Value, count);
  for (int i = 0; i < call->argument_count; i++) {
    const Argument *a = &call->arguments[i];
    if (a == over) continue;
    if (!a->weight || (over && made.count == 1)) {
      Diagnostic *x =
          error_at(e->c, "argument", a->value->span,
                   a->weight ? "with `over` a mixture has one component" : "a component of a mixture needs its weight");
      help_with(x, "for example mixture(w: normal(0, 1), 1 - w: normal(0, 0.1)) or mixture(w: normal(m, s), over = C)");
      return value_error();
    }
    made.weights[made.count] = elaborate(e, a->weight);
    made.elements[made.count] = component(e, a->value);
    if (made.weights[made.count].kind == VALUE_ERROR || made.elements[made.count].kind == VALUE_ERROR)
      return value_error();
    if (!check_weight(e, &made.weights[made.count], a->weight->span)) return value_error();
    if (made.count > 0 && event_rank(&made.elements[made.count]) != event_rank(&made.elements[0])) {
      error_at(e->c, "shape", a->value->span, "the components of a mixture are over events of different dims");
      return value_error();
    }
    made.count++;
  }
  if (made.count == 0) {
    error_at(e->c, "argument", call->span, "a mixture needs components: mixture(w: normal(0, 1), ...)");
    return value_error();
  }
  if (over && !elaborate_dim(e, over->value, &made.over)) return value_error();
  if (!e->generic && !check_sum(e, &made, call->span)) return value_error();
  return made;
}

Value make_combinator(Elaborator *e, const Expr *call) {
  return strcmp(call->name, "joint") == 0 ? make_joint(e, call) : make_mixture(e, call);
}

/* ---- fields ---------------------------------------------------------------------------------------------------- */

static Shape lead_of(const Value *d, const Shape *shape) {
  Shape lead = *shape;
  lead.rank -= event_rank(d);
  if (lead.rank < 0) lead.rank = 0;
  return lead;
}

static Value log_weight(Elaborator *e, Value w, const Shape *shape, Span span) {
  Value zero = value_number(0);
  Value none = apply2(e, IR_equal, w, zero, span);
  Value safe = apply3(e, IR_select, none, value_number(1), w, span);
  return expand_to(e, apply3(e, IR_select, none, value_number(-1e30), apply1(e, IR_log, safe, span), span), shape,
                   span);
}

static Value as_node(Elaborator *e, Value v) {
  if (v.kind != VALUE_NUMBER) return v;
  return value_tensor(build_constant(e->graph, v.dim.size), 0, v.span);
}

/* log of the sum of exp of values of one shape; the largest is taken out, without gradient. */
static Value log_sum_exp(Elaborator *e, Value *terms, int count, Span span) {
  Value top = terms[0], sum = value_number(0);
  for (int i = 1; i < count; i++) top = apply2(e, IR_max, top, terms[i], span);
  top = as_node(e, top);
  top = value_tensor(build_stop(e->graph, top.node), top.mapped, span);
  for (int i = 0; i < count; i++)
    sum = apply2(e, IR_add, sum, apply1(e, IR_exp, apply2(e, IR_sub, terms[i], top, span), span), span);
  return apply2(e, IR_add, top, apply1(e, IR_log, sum, span), span);
}

static Value mixture_list_log_pdf(Elaborator *e, const Value *d, const Value *z, const Shape *shape, Span span,
                                  bool *missing) {
  Value *terms = arena_array(e->c, Value, d->count);
  Shape lead = lead_of(d, shape);
  for (int i = 0; i < d->count; i++) {
    Value density = distribution_field(e, &d->elements[i], "log_pdf", z, shape, span, missing);
    terms[i] = apply2(e, IR_add, log_weight(e, d->weights[i], &lead, span), density, span);
    if (terms[i].kind == VALUE_ERROR) return value_error();
  }
  return log_sum_exp(e, terms, d->count, span);
}

/* shape with the mixture's dim before it */
static Shape with_components(const Value *d, const Shape *shape) {
  Shape full = {.rank = 1, .dims = {d->over}};
  for (int i = 0; i < shape->rank && full.rank < MAX_RANK; i++) full.dims[full.rank++] = shape->dims[i];
  return full;
}

/* A value of `shape`, repeated along a new first dim. */
static Value repeat_first(Elaborator *e, Value v, const Shape *full) {
  int hidden = __builtin_popcount(v.mapped), map[MAX_RANK];
  Shape shape = mapped_shape(&v);
  for (int i = 0; i < full->rank && shape.rank < MAX_RANK; i++) shape.dims[shape.rank++] = full->dims[i];
  for (int i = 0; i < v.node->shape.rank; i++) map[i] = i < hidden ? i : i + 1;
  return value_tensor(build_expand(e->graph, v.node, &shape, map), v.mapped, v.span);
}

/* w of shape [C, ...] to [C, lead...]: its other dims are those of lead with some left out. */
static Value mixture_over_log_pdf(Elaborator *e, const Value *d, const Value *z, const Shape *shape, Span span,
                                  bool *missing) {
  if (shape->rank + 1 > MAX_RANK) {
    error_at(e->c, "rank", span, "a mixture over one more than %d dims", MAX_RANK - 1);
    return value_error();
  }
  Shape full = with_components(d, shape), own = lead_of(d, shape);
  Shape lead = with_components(d, &own);
  Value each = repeat_first(e, as_node(e, *z), &full);
  Value density = distribution_field(e, &d->elements[0], "log_pdf", &each, &full, span, missing);
  Value terms = apply2(e, IR_add, log_weight(e, d->weights[0], &lead, span), density, span);
  if (terms.kind != VALUE_TENSOR) return value_error();
  unsigned first = 1u << __builtin_popcount(terms.mapped);
  Node *top = build_stop(e->graph, build_max_of(e->graph, terms.node, first));
  Value largest = value_tensor(top, terms.mapped, span);
  Value shifted = apply2(e, IR_sub, terms, repeat_first(e, largest, &lead), span);
  Value parts = apply1(e, IR_exp, shifted, span);
  Value sum = value_tensor(build_sum(e->graph, parts.node, first), parts.mapped, span);
  return apply2(e, IR_add, largest, apply1(e, IR_log, sum, span), span);
}

static Value mixture_mean(Elaborator *e, const Value *d, const Shape *shape, Span span, bool *missing) {
  Value sum = value_number(0);
  if (d->over_count) {
    Shape full = with_components(d, shape);
    Value mean = distribution_field(e, &d->elements[0], "mean", NULL, &full, span, missing);
    if (*missing) return value_error();
    Value each = apply2(e, IR_mul, expand_to(e, d->weights[0], &full, span), mean, span);
    return each.kind == VALUE_ERROR
               ? each
               : value_tensor(build_sum(e->graph, each.node, 1u << __builtin_popcount(each.mapped)), each.mapped, span);
  }
  for (int i = 0; i < d->count; i++) {
    Value mean = distribution_field(e, &d->elements[i], "mean", NULL, shape, span, missing);
    if (*missing) return value_error();
    sum = apply2(e, IR_add, sum, apply2(e, IR_mul, d->weights[i], mean, span), span);
  }
  return expand_to(e, sum, shape, span);
}

static Value joint_field(Elaborator *e, const Value *d, const char *name, const Value *z, const Shape *shape, Span span,
                         bool *missing) {
  Value v = distribution_field(e, &d->elements[0], name, z, shape, span, missing);
  if (v.kind != VALUE_TENSOR || (strcmp(name, "log_pdf") != 0 && strcmp(name, "entropy") != 0)) return v;
  int last = v.node->shape.rank - 1; /* the innermost dim that is not the component's own event */
  return value_tensor(build_sum(e->graph, v.node, 1u << last), v.mapped, span);
}

Value combinator_field(Elaborator *e, const Value *d, const char *name, const Value *z, const Shape *shape, Span span,
                       bool *missing) {
  *missing = false;
  if (d->combinator == COMBINE_JOINT) return joint_field(e, d, name, z, shape, span, missing);
  if (strcmp(name, "log_pdf") == 0 && d->over_count) return mixture_over_log_pdf(e, d, z, shape, span, missing);
  if (strcmp(name, "log_pdf") == 0) return mixture_list_log_pdf(e, d, z, shape, span, missing);
  if (strcmp(name, "mean") == 0) return mixture_mean(e, d, shape, span, missing);
  *missing = true;
  return value_error();
}

/* ---- draws ----------------------------------------------------------------------------------------------------- */

/* One component is chosen by a uniform draw, through which no derivative in the weights passes. */
static Value mixture_sample(Elaborator *e, const Value *d, Name variable, const Shape *shape, unsigned axes,
                            Span span) {
  Shape lead = lead_of(d, shape);
  const char *name = arena_printf(e->c, "%s.component", variable);
  Value u = value_tensor(noise_node(e, noise_index(e, name, NOISE_UNIFORM, &lead, axes)), 0, span);
  Value drawn = value_error(), reached = value_number(0);
  for (int i = 0; i < d->count; i++) {
    Name part = intern(e->c, arena_printf(e->c, "%s.%d", variable, i));
    Value z = distribution_sample(e, &d->elements[i], part, shape, axes, span);
    if (z.kind == VALUE_ERROR) return z;
    if (i == 0) {
      drawn = z;
    } else {
      Value later = apply2(e, IR_less_equal, reached, u, span);
      int rank = shape->rank - lead.rank;
      Value chosen = rank ? expand_to(e, later, shape, span) : later;
      drawn = apply3(e, IR_select, chosen, z, drawn, span);
    }
    reached = apply2(e, IR_add, reached, d->weights[i], span);
  }
  return drawn;
}

/* [C, lead]: 1 for the component that a uniform draw u of shape `own` falls on. */
static Value fallen_on(Elaborator *e, const Value *weights, Value u, const Shape *lead, Span span) {
  Value w = expand_to(e, as_node(e, *weights), lead, span);
  if (w.kind != VALUE_TENSOR) return w;
  int first = __builtin_popcount(w.mapped);
  long count = (long)lead->dims[0].size;
  Shape line = {.rank = 1, .dims = {lead->dims[0]}};
  double *numbers = arena_array(e->c, double, count);
  for (long i = 0; i < count; i++) numbers[i] = (double)i + 1;
  Value before = value_tensor(build_cumsum(e->graph, w.node, first, false, true), w.mapped, span);
  Value reached = apply2(e, IR_less_equal, before, repeat_first(e, u, lead), span);
  if (reached.kind != VALUE_TENSOR) return reached;
  Value number = value_tensor(build_sum(e->graph, reached.node, 1u << first), reached.mapped, span);
  Node *table = count > 1 ? build_table(e->graph, numbers, &line) : build_filled(e->graph, 1, &line);
  Node *wide = build_expand(e->graph, table, lead, (int[]){0});
  return apply2(e, IR_equal, repeat_first(e, number, lead), value_tensor(wide, 0, span), span);
}

/* All components are drawn, and one of them is taken. */
static Value mixture_over_sample(Elaborator *e, const Value *d, Name variable, const Shape *shape, unsigned axes,
                                 Span span) {
  Shape full = with_components(d, shape), own = lead_of(d, shape), lead = with_components(d, &own);
  if (shape->rank + 1 > MAX_RANK) {
    error_at(e->c, "rank", span, "a mixture over one more than %d dims", MAX_RANK - 1);
    return value_error();
  }
  const char *name = arena_printf(e->c, "%s.component", variable);
  Value u = value_tensor(noise_node(e, noise_index(e, name, NOISE_UNIFORM, &own, axes)), 0, span);
  Value chosen = expand_to(e, fallen_on(e, &d->weights[0], u, &lead, span), &full, span);
  Value each = distribution_sample(e, &d->elements[0], variable, &full, axes, span);
  Value taken = apply3(e, IR_select, chosen, each, value_number(0), span);
  if (taken.kind != VALUE_TENSOR) return taken;
  Node *sum = build_sum(e->graph, taken.node, 1u << __builtin_popcount(taken.mapped));
  return value_tensor(sum, taken.mapped, span);
}

Value combinator_sample(Elaborator *e, const Value *d, Name variable, const Shape *shape, unsigned axes, Span span) {
  if (d->combinator == COMBINE_JOINT) return distribution_sample(e, &d->elements[0], variable, shape, axes, span);
  if (d->over_count) return mixture_over_sample(e, d, variable, shape, axes, span);
  return mixture_sample(e, d, variable, shape, axes, span);
}

bool combinator_fits(Elaborator *e, const Value *d, const Shape *shape, Span span, const char *variable) {
  if (d->combinator == COMBINE_MIXTURE) {
    for (int i = 0; i < d->count; i++)
      if (d->elements[i].combinator != COMBINE_NONE && !combinator_fits(e, &d->elements[i], shape, span, variable))
        return false;
    return true;
  }
  int at = shape->rank - event_rank(&d->elements[0]) - 1;
  if (at >= 0 && dim_agree(shape->dims[at], d->over)) return true;
  Diagnostic *x =
      error_at(e->c, "shape", span, "joint(..., over = %s) needs %s as the last dim of `%s`, which has shape %s",
               dim_text(e->c, d->over), dim_text(e->c, d->over), variable, shape_text(e->c, shape));
  help_with(x, "joint makes one event of a variable's innermost dim");
  return false;
}
