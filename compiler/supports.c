/* A distribution and the variable that it stands for -> whether it fits: values, subset sizes, shapes of parameters and
 * events. Errors say what would. */
#include "distributions.h"

#include <string.h>

bool distribution_support(Elaborator *e, const Value *d, Support *support, Support *extended) {
  if (d->combinator != COMBINE_NONE) return distribution_support(e, &d->elements[0], support, extended);
  const TypeExpr *type = event_formal(d->family)->type;
  Scope *scope = scope_new(e, NULL);
  for (int i = 0; i < d->count; i++) /* as in enter_family */
    scope_bind(e, scope, d->family->extra.items[i].name, d->elements[i], d->elements[i].span);
  Frame frame = enter_callee(e, scope, false, e->path);
  TypeExpr real = {.name = intern(e->c, "real"), .span = d->family->span};
  bool ok = read_support(e, type ? type : &real, support);
  *extended = *support;
  for (int i = 0; ok && type && i < type->attribute_count; i++) {
    const Attribute *a = &type->attributes[i];
    if (strcmp(a->name, "extended") != 0 || a->argument_count != 1 || a->arguments[0].value->kind != EXPR_NAME)
      continue;
    TypeExpr wider = {.name = a->arguments[0].value->name, .span = a->span};
    ok = read_support(e, &wider, extended);
  }
  leave_callee(e, frame);
  return ok;
}

/* Rule 2: if any parameter is computed per datum, some parameter has the variable's full shape. */
static bool check_sharing(Elaborator *e, const Value *d, const Item *variable, const Shape *shape) {
  bool per_datum = false, full = shape->rank == 0;
  const Value *widest = NULL;
  for (int i = 0; i < d->count; i++) {
    if (d->elements[i].kind != VALUE_TENSOR) continue;
    Shape s = visible_shape(&d->elements[i]);
    if (d->elements[i].node->axes) {
      per_datum = true;
      if (!widest || s.rank > visible_shape(widest).rank) widest = &d->elements[i];
    }
    const TypeExpr *type = d->family->extra.items[i].type;
    full |= s.rank - (type ? type_rank(type) : 0) >= shape->rank - family_event_rank(d->family);
  }
  if (!per_datum || full) return true;
  Shape s = visible_shape(widest);
  Text dims = {.compilation = e->c};
  for (int i = 0; i < shape->rank - s.rank; i++) text_append(&dims, ", %s", dim_text(e->c, shape->dims[i]));
  Diagnostic *x = error_at(e->c, "shared-parameter", widest->span, "all of %s %s would share one parameter, %s",
                           variable->name, shape_text(e->c, shape), value_text(e->c, widest));
  note_at(x, variable->name_span, "%s is declared here", variable->name);
  help_with(x, "compute one for each element; if sharing is meant, write expand(%s%s)", span_text(e->c, widest->span),
            dims.bytes);
  return false;
}

/* Each parameter of a scalar family has the variable's dims, or some of them. */
static bool check_parameter_shapes(Elaborator *e, const Value *d, const Item *variable, const Shape *shape) {
  Shape lead = leading_shape(d->family, shape);
  for (int i = 0; i < d->count; i++) {
    const Value *v = &d->elements[i];
    const TypeExpr *type = d->family->extra.items[i].type;
    Shape s = visible_shape(v);
    if (s.rank == 0 || (type && type_rank(type) > 0)) continue;
    int ways = ways_to_fit(&s, &lead);
    if (ways == 1) continue;
    Diagnostic *x = error_at(e->c, "shape", v->span, "the %s of %s has shape %s, which %s the shape %s of %s",
                             d->family->extra.items[i].name, d->family->name, shape_text(e->c, &s),
                             ways ? "fits in two ways into" : "does not fit", shape_text(e->c, &lead), variable->name);
    note_at(x, variable->name_span, "%s is declared here", variable->name);
    return false;
  }
  return true;
}

/* The dims of an event's parameters are the variable's own. */
static bool check_event(Elaborator *e, const Value *d, const Shape *shape) {
  int context = e->context_count;
  bool fits = enter_family(e, d, NULL, NULL, NULL, shape, scope_new(e, NULL), d->span);
  e->context_count = context;
  return fits;
}

/* A simplex or a one-hot vector is more than its elements' range. */
static bool is_vector(Special s) { return s == SPECIAL_SIMPLEX || s == SPECIAL_CATEGORY || s == SPECIAL_SUBSET; }

static const char *range_text(Compilation *c, const Support *s, const Facts *facts) {
  return is_vector(s->special) ? "" : arena_printf(c, ", %s", facts_text(c, facts));
}

/* A subset has a known largest number of members, and no more than the variable may have. */
static bool check_members(Elaborator *e, const Value *d, const Item *variable, const Support *declared,
                          const Support *support) {
  if (support->special != SPECIAL_SUBSET) return true;
  if (support->count.size == 0) {
    Diagnostic *x = error_at(e->c, "subset-size", d->span,
                             "how many members a draw of %s has must have an upper bound that is known before training",
                             distribution_name(d));
    help_with(x, "declare the size integer(a, b)");
    return false;
  }
  if (support->count.size <= declared->count.size) return true;
  Diagnostic *x = error_at(e->c, "support", d->span, "%s is a subset of at most %s members, and here may have %s",
                           variable->name, dim_text(e->c, declared->count), dim_text(e->c, support->count));
  note_at(x, variable->name_span, "%s is declared here", variable->name);
  return false;
}

/* A posterior (or draw) must stay inside the variable's type; a prior and a likelihood must be densities over it. */
static bool check_values(Elaborator *e, const Value *d, const Item *variable, const Support *declared,
                         const char *role) {
  Support support, extended;
  if (!distribution_support(e, d, &support, &extended)) return false;
  const Facts *domain = strcmp(role, "likelihood") == 0 ? &extended.facts : &support.facts;
  const bool produced = strcmp(role, "posterior") == 0 || strcmp(role, "draw") == 0;
  const bool inside = facts_within(&declared->facts, domain), within = facts_within(&support.facts, &declared->facts);
  bool fits = produced ? within : strcmp(role, "prior") == 0 ? inside && within : inside;
  if (support.special != declared->special && (is_vector(support.special) || is_vector(declared->special)))
    fits = false;
  if (fits) return check_members(e, d, variable, declared, &support);
  Diagnostic *x = error_at(e->c, "support", d->span, "%s is %s%s, but %s is a distribution over %s values%s",
                           variable->name, declared->name, range_text(e->c, declared, &declared->facts),
                           distribution_name(d), support.name, range_text(e->c, &support, domain));
  note_at(x, variable->name_span, "%s is declared here", variable->name);
  help_with(x, "declare %s : %s%s, or take a distribution over %s values", variable->name, support.name,
            is_vector(support.special) ? "(n)" : "", declared->name);
  return false;
}

bool check_distribution_for(Elaborator *e, const Value *d, const Item *variable, const Support *declared,
                            const Shape *shape, const char *role) {
  if (!check_values(e, d, variable, declared, role)) return false;
  int rank = event_rank(d);
  if (shape->rank < rank) {
    Diagnostic *x = error_at(e->c, "shape", d->span, "%s is a distribution over events of %d dim%s; %s is %s",
                             distribution_name(d), rank, rank == 1 ? "" : "s", variable->name, shape_text(e->c, shape));
    note_at(x, variable->name_span, "%s is declared here", variable->name);
    return false;
  }
  if (d->combinator != COMBINE_NONE) return combinator_fits(e, d, shape, d->span, variable->name);
  if (d->over_count && !dim_agree(shape->dims[shape->rank - 1], d->over)) {
    Diagnostic *x = error_at(e->c, "shape", d->span, "an event of %s is the last dim of `%s`, which has shape %s",
                             distribution_name(d), variable->name, shape_text(e->c, shape));
    note_at(x, variable->name_span, "`%s` is declared here", variable->name);
    help_with(x, "declare `%s` with the dim %s last", variable->name, dim_text(e->c, d->over));
    return false;
  }
  return check_parameter_shapes(e, d, variable, shape) && check_sharing(e, d, variable, shape) &&
         (rank == 0 || check_event(e, d, shape));
}
