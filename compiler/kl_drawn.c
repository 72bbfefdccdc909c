/* A KL of hidden draws (LANGUAGE rule 30): a family may declare drawn_kl(u : uniform[..]; b, ...), its KL to another of
 * the family, with the parameters b, ..., along the draw that the noise u makes; and relaxed_kl, which also takes the
 * options of its relaxation, along the relaxed one. The draw's noise is that of the latent. */
#include "kl.h"

#include <string.h>

/* subset(size): both must be of the same size, or the KL is infinite. */
bool subset_sizes_agree(Elaborator *e, const KlPair *pair) {
  const Item *family = pair->q->family;
  if (!family || family != pair->p->family) return true;
  const TypeExpr *type = family->formals.items[0].type;
  if (!type || strcmp(type->name, "subset") != 0 || type->arguments[0].value->kind != EXPR_NAME) return true;
  for (int i = 0; i < pair->q->count; i++) {
    const Value *a = &pair->q->elements[i], *b = &pair->p->elements[i];
    if (family->extra.items[i].name != type->arguments[0].value->name) continue;
    bool same = a->kind == b->kind && (a->kind == VALUE_NUMBER ? a->dim.size == b->dim.size : a->node == b->node);
    if (same) return true;
    Diagnostic *d = error_at(e->c, "subset-size", b->span,
                             "posterior and prior are of subsets of different sizes, so that their KL is infinite");
    note_at(d, a->span, "this is the posterior's");
    help_with(d, "give both one `%s`", family->extra.items[i].name);
    return false;
  }
  return true;
}

/* The option of the posterior's `by relaxed(...)` of this name. */
static Value option_value(Elaborator *e, const KlPair *pair, const Formal *formal) {
  const Expr *value;
  if (is_relaxed_option(e->model, pair->latent, formal->name, &value)) {
    Frame frame = enter_callee(e, NULL, true, e->path);
    Value v = elaborate(e, value);
    leave_callee(e, frame);
    return v;
  }
  if (formal->initial) return elaborate(e, formal->initial);
  error_at(e->c, "argument", pair->span, "`relaxed_kl` of %s needs its %s, and `by relaxed` does not say it",
           pair->q->family->name, formal->name);
  return value_error();
}

bool kl_along_draw(Elaborator *e, KlPair *pair, Value *result) {
  const Value *q = pair->q, *p = pair->p;
  if (!pair->latent || q->combinator != COMBINE_NONE || p->combinator != COMBINE_NONE || q->family != p->family)
    return false;
  bool relaxed = e->relaxing && is_relaxed(e->model, pair->latent);
  const Field *field = distribution_find_field(q->family, relaxed ? "relaxed_kl" : "drawn_kl");
  const Field *sample = distribution_find_field(q->family, "sample");
  if (!field || !sample || field->head.count != sample->head.count || field->extra.count < p->count) return false;
  *result = value_error();
  const Item *latent = model_find_declaration(e->model, pair->latent);
  unsigned axes =
      (latent->kind != ITEM_PARAM ? AXIS_DATUM : 0u) | (e->graph->samples > 1 ? (unsigned)AXIS_SAMPLE : 0u);
  int count = field->head.count;
  Value *values = arena_array(e->c, Value, count + field->extra.count);
  if (!distribution_noise(e, q, sample, pair->latent, &pair->shape, axes, values)) return true;
  for (int i = 0; i < p->count; i++) values[count + i] = p->elements[i];
  for (int i = p->count; i < field->extra.count; i++) {
    values[count + i] = option_value(e, pair, &field->extra.items[i]);
    if (values[count + i].kind == VALUE_ERROR) return true;
  }
  pair->rule = field->name_span;
  pair->along_draw = true;
  *result = distribution_field_at(e, q, field, values, &pair->shape, pair->span);
  return true;
}
