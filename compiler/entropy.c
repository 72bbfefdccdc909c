/* entropy: expectations under Gaussian posteriors in closed form. With x ~ normal(f(z), noise) and f affine,
 * E (x - f(z))^2 is the residual at the posteriors' means and a trace; the Jacobian in it comes from the IR (affine.c).
 *
 *   log_lik = closed      E log p(x | z) at the noise as it is
 *   entropy_elbo          the ELBO with the noise and the priors' scales at their optimum for the batch, which are
 *                         statistics of it: a sum of entropies in training (Velychko et al. 2024)
 *   `solved` params       are that optimum in training; elsewhere what "solve" last found for all training data
 *                         (LANGUAGE rule 17). Their raw value is the mean statistic itself.
 */
#include "affine.h"
#include "statements.h"

#include <math.h>
#include <string.h>

/* ---- nodes ----------------------------------------------------------------------------------------------------- */

static Node *two(Elaborator *e, Op op, Node *a, Node *b) { return build_map2(e->graph, op, a, b); }

static Node *filled(Elaborator *e, double number, const Node *like) {
  return build_filled(e->graph, number, &like->shape);
}

static Node *times(Elaborator *e, double number, Node *x) { return two(e, IR_mul, filled(e, number, x), x); }

static Node *square(Elaborator *e, Node *x) { return two(e, IR_mul, x, x); }

static Node *total(Elaborator *e, Node *x) { return build_sum(e->graph, x, (1u << x->shape.rank) - 1); }

/* The number that all elements are, or NULL. */
static Node *scalar_behind(Node *x) {
  while (x->op == IR_expand && x->shape.rank > 0) x = x->operands[0];
  return x->shape.rank == 0 ? x : NULL;
}

static Node *batch_mean(Elaborator *e, Node *x, Span span) {
  Value v = mean_over_batch(e, value_tensor(x, 0, span), span);
  return v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
}

/* A function of the library at two values. */
static Value library_call(Elaborator *e, const char *name, Value a, Value b, Span span) {
  Scope *scope = scope_new(e, NULL);
  Expr names[2] = {{.kind = EXPR_NAME, .span = span, .name = intern(e->c, "first value")},
                   {.kind = EXPR_NAME, .span = span, .name = intern(e->c, "second value")}};
  Argument arguments[2] = {{.value = &names[0]}, {.value = &names[1]}};
  Expr call = {
      .kind = EXPR_CALL, .span = span, .name = intern(e->c, name), .arguments = arguments, .argument_count = 2};
  scope_bind(e, scope, names[0].name, a, span);
  scope_bind(e, scope, names[1].name, b, span);
  Frame frame = enter_callee(e, scope, false, e->path);
  Value result = elaborate(e, &call);
  leave_callee(e, frame);
  return result;
}

/* A parameter of a distribution by its name, or NULL. */
static const Value *parameter_named(const Value *d, const char *name) {
  for (int i = 0; d->family && i < d->count; i++)
    if (strcmp(d->family->extra.items[i].name, name) == 0) return &d->elements[i];
  return NULL;
}

/* ---- Gaussian posteriors --------------------------------------------------------------------------------------- */

typedef struct Factor { /* one latent */
  Item *latent;
  Shape shape;
  Value posterior;
  Node *mean, *variance, *deviation;
} Factor;

typedef struct Factors {
  Factor *items;
  int count;
  Span asked; /* where the closed form is asked for */
  const char *word;
} Factors;

/* "WORD needs ...": the one shape of all refusals here. */
static Diagnostic *refuse(Elaborator *e, const Factors *f, Span where, const char *needs) {
  Diagnostic *d = error_at(e->c, "closed-form", where.source ? where : f->asked, "%s needs %s", f->word, needs);
  if (where.source && where.start != f->asked.start) note_at(d, f->asked, "it is asked for here");
  return d;
}

/* The first node below that is a latent's draw, or NULL. */
static const Node *draw_below(Elaborator *e, const Node *value, Name *latent) {
  const Graph *g = e->graph;
  bool *needed = arena_array(e->c, bool, value->id + 1);
  needed[value->id] = true;
  for (int id = value->id; id >= 0; id--) {
    const Node *n = g->nodes[id];
    for (int k = 0; needed[id] && k < n->operand_count; k++) needed[n->operands[k]->id] = true;
    if (!needed[id] || n->op != IR_noise) continue;
    for (int i = 0; i < e->model->items.count; i++) {
      const Item *item = e->model->items.items[i];
      size_t length = item->kind == ITEM_LATENT ? strlen(item->name) : 0;
      const char *noise = g->signature->noises[n->index].name;
      if (length && strncmp(noise, item->name, length) == 0 && noise[length] == '.') {
        *latent = item->name;
        return n;
      }
    }
  }
  return NULL;
}

static bool read_factor(Elaborator *e, const Factors *f, Item *latent, Factor *out) {
  Item *statement = model_find(e->model, ITEM_POSTERIOR, latent->name);
  *out = (Factor){.latent = latent};
  if (!statement || statement->is_point) {
    refuse(e, f, statement ? statement->span : latent->name_span,
           arena_printf(e->c, "a normal posterior, and `%s` has %s", latent->name, statement ? "a point" : "none"));
    return false;
  }
  Value q = out->posterior = model_value(e, statement, f->asked);
  if (q.kind == VALUE_ERROR) return false;
  if (q.kind != VALUE_DISTRIBUTION || !q.family || strcmp(q.family->name, "normal") != 0) {
    refuse(e, f, statement->expr->span,
           arena_printf(e->c, "a normal posterior, and that of `%s` is %s", latent->name, distribution_name(&q)));
    return false;
  }
  if (!read_shape(e, latent->type, &out->shape)) return false;
  bool missing = false, none = false;
  Value mean = distribution_field(e, &q, "mean", NULL, &out->shape, f->asked, &missing);
  Value variance = distribution_field(e, &q, "variance", NULL, &out->shape, f->asked, &none);
  if (missing || none || mean.kind == VALUE_ERROR || variance.kind == VALUE_ERROR) return false;
  out->mean = value_node(e, &mean);
  out->variance = value_node(e, &variance);
  const Value *sd = parameter_named(&q, "sd");
  Value deviation = sd ? expand_to(e, *sd, &out->shape, f->asked) : apply1(e, IR_sqrt, variance, f->asked);
  out->deviation = deviation.kind == VALUE_ERROR ? NULL : value_node(e, &deviation);
  Name other;
  if (draw_below(e, out->mean, &other) || draw_below(e, out->variance, &other)) {
    refuse(e, f, statement->expr->span,
           arena_printf(e->c, "posteriors that do not depend on each other, and that of `%s` mentions `%s`",
                        latent->name, other));
    return false;
  }
  return out->deviation != NULL;
}

static bool read_factors(Elaborator *e, Factors *f) {
  const Model *m = e->model;
  f->items = arena_array(e->c, Factor, m->items.count);
  for (int i = 0; i < m->items.count; i++) {
    if (m->items.items[i]->kind != ITEM_LATENT) continue;
    if (!read_factor(e, f, m->items.items[i], &f->items[f->count])) return false;
    f->count++;
  }
  if (f->count > 0) return true;
  refuse(e, f, (Span){0}, "a latent");
  return false;
}

/* ---- the expected residual ------------------------------------------------------------------------------------- */

/* The likelihood's distribution with the latents at these values. Everything it mentions is evaluated anew; what does
 * not depend on a latent comes out as the same nodes. */
static Value likelihood_at(Elaborator *e, Item *likelihood, const Factors *f, Node *const *z) {
  World outer = world_enter(e);
  for (int i = 0; i < f->count; i++) world_set(e, f->items[i].latent, z[i], f->asked);
  Value d = model_value(e, likelihood, f->asked);
  world_leave(e, outer);
  return d;
}

static bool depends_on(Elaborator *e, const Node *value, Node *const *nodes, int count) {
  bool *needed = arena_array(e->c, bool, value->id + 1);
  needed[value->id] = true;
  for (int id = value->id; id >= 0; id--) {
    for (int i = 0; needed[id] && i < count; i++)
      if (e->graph->nodes[id] == nodes[i]) return true;
    for (int k = 0; needed[id] && k < e->graph->nodes[id]->operand_count; k++)
      needed[e->graph->nodes[id]->operands[k]->id] = true;
  }
  return false;
}

/* Sum over the datum of weight x E (J (z - mean))^2 for one posterior; `weight` NULL: 1. */
static Node *trace(Elaborator *e, const Factors *f, const Factor *factor, Node *jacobian, Node *weight) {
  Graph *g = e->graph;
  int own = factor->shape.rank, rank = jacobian->shape.rank;
  if (weight) {
    int map[MAX_RANK] = {0};
    for (int d = 0; d < weight->shape.rank; d++) map[d] = own + d;
    Node *root = build_map1(g, IR_sqrt, weight);
    jacobian = two(e, IR_mul, jacobian, build_expand(g, root, &jacobian->shape, map));
  }
  if (event_rank(&factor->posterior) == 0) {
    Node *gain = build_sum(g, square(e, jacobian), ((1u << rank) - 1) & ~((1u << own) - 1));
    return total(e, two(e, IR_mul, gain, factor->variance));
  }
  const Field *quadratic = distribution_find_field(factor->posterior.family, "quadratic");
  if (!quadratic || own != 1) {
    refuse(e, f, factor->posterior.span,
           arena_printf(e->c, "a posterior over one vector that declares `quadratic`, and that of `%s` is over %s",
                        factor->latent->name, shape_text(e->c, &factor->shape)));
    return NULL;
  }
  int a[MAX_RANK] = {0}, b[MAX_RANK] = {1}, out[2] = {0, 1};
  for (int d = 1; d < rank; d++) a[d] = b[d] = d + 1;
  Value gram = value_tensor(build_contract(g, jacobian, a, jacobian, b, 2, out, 0), 0, f->asked);
  Value v = distribution_field_at(e, &factor->posterior, quadratic, &gram, &factor->shape, f->asked);
  return v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
}

typedef struct Residual {
  Shape shape;      /* of the datum */
  Node *square;     /* E sum (x - f(z))^2, each element over its variance if whitened: one a datum */
  Node *log_volume; /* whitened: sum of log(2 pi variance) */
} Residual;

/* The likelihood at given latents, as what its expectation is made of. */
typedef struct Normal {
  Node *data, *mean, *variance;
} Normal;

static bool read_normal(Elaborator *e, const Factors *f, Item *likelihood, Node **z, Normal *out) {
  Value d = likelihood_at(e, likelihood, f, z);
  if (d.kind == VALUE_ERROR) return false;
  if (d.kind != VALUE_DISTRIBUTION || !d.family || strcmp(d.family->name, "normal") != 0 || event_rank(&d) > 0) {
    refuse(e, f, likelihood->expr->span,
           arena_printf(e->c, "a likelihood normal(mean, noise), and that of `%s` is %s", likelihood->name,
                        distribution_name(&d)));
    return false;
  }
  Item *variable = model_find_declaration(e->model, likelihood->name);
  if (may_be_missing(variable)) {
    refuse(e, f, variable->name_span,
           arena_printf(e->c, "all of the data, and entries of `%s` may be missing", variable->name));
    return false;
  }
  Value x = model_value(e, variable, f->asked);
  if (x.kind == VALUE_ERROR) return false;
  out->data = value_node(e, &x);
  bool missing;
  Value mean = distribution_field(e, &d, "mean", NULL, &out->data->shape, f->asked, &missing);
  Value variance = distribution_field(e, &d, "variance", NULL, &out->data->shape, f->asked, &missing);
  if (mean.kind == VALUE_ERROR || variance.kind == VALUE_ERROR) return false;
  out->mean = value_node(e, &mean);
  out->variance = value_node(e, &variance);
  if (!depends_on(e, out->variance, z, f->count)) return true;
  refuse(e, f, likelihood->expr->span, "a noise that does not depend on a latent");
  return false;
}

static bool expected_residual(Elaborator *e, const Factors *f, Item *likelihood, bool whitened, Residual *out) {
  Node **z = arena_array(e->c, Node *, f->count), **jacobians = arena_array(e->c, Node *, f->count);
  Normal normal;
  place(e, f->asked);
  for (int i = 0; i < f->count; i++) z[i] = build_variable(e->graph, f->items[i].mean);
  if (!read_normal(e, f, likelihood, z, &normal)) return false;
  Node *at = normal.mean, *noise = normal.variance;
  out->shape = normal.data->shape;
  const Node *obstacle = affine_jacobians(e->graph, at, z, f->count, jacobians);
  if (obstacle) {
    Diagnostic *x_is = refuse(e, f, obstacle->span,
                              arena_printf(e->c, "a mean of `%s` that is affine in the latents, and this (%s) is not",
                                           likelihood->name, op_table[obstacle->op].name));
    help_with(x_is,
              "use weights alone, such as `W @ z + b`, or take the expectation at draws: elbo(log_lik = monte_carlo)");
    return false;
  }
  place(e, f->asked);
  Node *number = whitened ? scalar_behind(noise) : NULL;
  Node *weight = whitened && !number ? two(e, IR_div, filled(e, 1, noise), noise) : NULL;
  Node *gap = square(e, two(e, IR_sub, normal.data, at));
  out->square = total(e, weight ? two(e, IR_mul, weight, gap) : gap);
  for (int i = 0; i < f->count; i++) {
    Node *more = trace(e, f, &f->items[i], jacobians[i], weight);
    if (!more) return false;
    out->square = two(e, IR_add, out->square, more);
  }
  if (!whitened) return true;
  double size = (double)shape_size(&out->shape);
  Node *log_noise = build_map1(e->graph, IR_log, number ? number : noise);
  if (number) out->square = two(e, IR_div, out->square, number);
  out->log_volume = number ? times(e, size, log_noise) : total(e, log_noise);
  out->log_volume = two(e, IR_add, out->log_volume, build_constant(e->graph, size * log(2 * M_PI)));
  return true;
}

Value closed_log_lik(Elaborator *e, Item *likelihood, Span span) {
  Factors f = {.asked = span, .word = "log_lik = closed"};
  Residual r;
  if (!read_factors(e, &f) || !expected_residual(e, &f, likelihood, true, &r)) return value_error();
  if (e->describe)
    text_append(&e->model->notes, "log_lik(%s): closed form, a mean affine in latents with normal posteriors\n",
                likelihood->name);
  return value_tensor(times(e, -0.5, two(e, IR_add, r.square, r.log_volume)), 0, span);
}

/* ---- solved params --------------------------------------------------------------------------------------------- */

/* What a solved param is: the second parameter of a statement's distribution. */
typedef enum Role { ROLE_NONE, ROLE_NOISE, ROLE_LAPLACE_SCALE, ROLE_NORMAL_SCALE } Role;

static bool is_second_argument(const Expr *x, const char *parameter, Name name) {
  for (int i = 0; i < x->argument_count; i++) {
    const Argument *a = &x->arguments[i];
    bool second = a->name ? strcmp(a->name, parameter) == 0 : i == 1;
    if (second) return a->value->kind == EXPR_NAME && a->value->name == name;
  }
  return false;
}

static Role role_in(const Item *item, Name name) {
  bool about = item->kind == ITEM_LIKELIHOOD || item->kind == ITEM_PRIOR;
  if (!about || item->expr->kind != EXPR_CALL) return ROLE_NONE;
  bool normal = strcmp(item->expr->name, "normal") == 0, laplace = strcmp(item->expr->name, "laplace") == 0;
  if (!(normal && is_second_argument(item->expr, "sd", name)) &&
      !(laplace && item->kind == ITEM_PRIOR && is_second_argument(item->expr, "scale", name)))
    return ROLE_NONE;
  return item->kind == ITEM_LIKELIHOOD ? ROLE_NOISE : laplace ? ROLE_LAPLACE_SCALE : ROLE_NORMAL_SCALE;
}

static Role role_of(const Model *m, Name name, Item **statement) {
  *statement = NULL;
  for (int i = 0; i < m->items.count; i++) {
    Role role = role_in(m->items.items[i], name);
    if (role == ROLE_NONE) continue;
    *statement = m->items.items[i];
    return role;
  }
  return ROLE_NONE;
}

bool solved_has_role(const Model *m, Name name) {
  Item *statement;
  return role_of(m, name, &statement) != ROLE_NONE;
}

static bool mentions_word(const Expr *x, const char *word) {
  if (!x) return false;
  if ((x->kind == EXPR_NAME || x->kind == EXPR_CALL) && strcmp(x->name, word) == 0) return true;
  for (int i = 0; i < x->argument_count; i++)
    if (mentions_word(x->arguments[i].value, word)) return true;
  return mentions_word(x->a, word) || mentions_word(x->b, word) || mentions_word(x->c, word);
}

static bool objective_says(const Model *m, bool (*says)(const Expr *)) {
  for (int i = 0; i < m->items.count; i++) {
    const Item *item = m->items.items[i];
    bool counts = item->kind == ITEM_OBJECTIVE || item->kind == ITEM_MINIMIZE || item->kind == ITEM_LET;
    if (counts && says(item->expr)) return true;
  }
  return false;
}

static bool says_entropy_elbo(const Expr *x) { return mentions_word(x, "entropy_elbo"); }
static bool says_closed_log_lik(const Expr *x) {
  if (!x) return false;
  for (int i = 0; i < x->argument_count; i++) {
    const Argument *a = &x->arguments[i];
    bool log_lik = a->name && (strcmp(a->name, "log_lik") == 0 ||
                               (strcmp(a->name, "method") == 0 && strcmp(x->name, "log_lik") == 0));
    if (log_lik && a->value->kind == EXPR_NAME && strcmp(a->value->name, "closed") == 0) return true;
    if (says_closed_log_lik(a->value)) return true;
  }
  return says_closed_log_lik(x->a) || says_closed_log_lik(x->b) || says_closed_log_lik(x->c);
}

bool log_lik_is_closed(const Model *m) {
  return objective_says(m, says_entropy_elbo) || objective_says(m, says_closed_log_lik);
}

/* A solved param stands where an optimum can be inserted, and is inserted. */
bool check_solved(Elaborator *e, Name name, Span declared) {
  Item *statement = NULL;
  if (role_of(e->model, name, &statement) == ROLE_NONE) {
    Diagnostic *d = error_at(e->c, "solved", declared, "the optimum of `%s` is not known in closed form", name);
    help_with(d, "a solved param is itself the noise of a normal likelihood, or the scale of a laplace(0, scale) or "
                 "normal(0, scale) prior");
    return false;
  }
  if (objective_says(e->model, says_entropy_elbo)) return true;
  Diagnostic *d =
      error_at(e->c, "solved", declared, "`%s` is solved, and the objective does not insert its optimum", name);
  help_with(d, "`objective entropy_elbo;` does; without `solved` the optimiser fits it");
  return false;
}

/* Mean over the elements of a datum that share an element of the param, and over the batch. */
static Node *shared_mean(Elaborator *e, Node *x, const Shape *parameter, Span span) {
  unsigned mask = 0;
  double count = 1;
  int kept = 0;
  for (int d = 0; d < x->shape.rank; d++) {
    if (kept < parameter->rank && dim_agree(parameter->dims[kept], x->shape.dims[d]))
      kept++;
    else {
      mask |= 1u << d;
      count *= x->shape.dims[d].size;
    }
  }
  Node *sum = mask ? build_sum(e->graph, x, mask) : x;
  return batch_mean(e, count == 1 ? sum : times(e, 1 / count, sum), span);
}

/* E |z| or E z^2 of each element. */
static Node *prior_moment(Elaborator *e, const Factor *factor, Role role, Span span) {
  if (role == ROLE_NORMAL_SCALE) return two(e, IR_add, square(e, factor->mean), factor->variance);
  Value v = library_call(e, "folded_mean", value_tensor(factor->mean, 0, span),
                         value_tensor(factor->deviation, 0, span), span);
  return v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
}

static const Factor *factor_of(const Factors *f, Name latent) {
  for (int i = 0; i < f->count; i++)
    if (f->items[i].latent->name == latent) return &f->items[i];
  return NULL;
}

Node *solved_statistic(Elaborator *e, Name name, const Shape *shape, Span span) {
  Item *statement;
  Role role = role_of(e->model, name, &statement);
  Factors f = {.asked = span, .word = "a solved param"};
  if (!read_factors(e, &f)) return NULL;
  if (role == ROLE_NOISE) {
    Residual r;
    bool solving = e->solving;
    if (shape->rank > 0) {
      refuse(e, &f, statement->expr->span,
             arena_printf(e->c, "one noise for all elements, and `%s` is %s", name, shape_text(e->c, shape)));
      return NULL;
    }
    e->solving = true; /* the residual does not depend on the noise, which must not ask for it again */
    bool fine = expected_residual(e, &f, statement, false, &r);
    e->solving = solving;
    return fine ? batch_mean(e, times(e, 1 / (double)shape_size(&r.shape), r.square), span) : NULL;
  }
  const Factor *factor = factor_of(&f, statement->name);
  Node *moment = factor ? prior_moment(e, factor, role, span) : NULL;
  return moment ? shared_mean(e, moment, shape, span) : NULL;
}

Value solved_from_statistic(Elaborator *e, Name name, Node *statistic, Span span) {
  Item *statement;
  bool root = role_of(e->model, name, &statement) != ROLE_LAPLACE_SCALE;
  return value_tensor(root ? build_map1(e->graph, IR_sqrt, statistic) : statistic, 0, span);
}

Value statistic_from_solved(Elaborator *e, Name name, Value v, Span span) {
  Item *statement;
  return role_of(e->model, name, &statement) == ROLE_LAPLACE_SCALE ? v : apply2(e, IR_mul, v, v, span);
}

/* ---- entropy_elbo ---------------------------------------------------------------------------------------------- */

static bool solved_argument(Elaborator *e, const Item *statement) {
  for (int i = 0; i < statement->expr->argument_count; i++) {
    const Expr *x = statement->expr->arguments[i].value;
    const Item *param = x->kind == EXPR_NAME ? model_find(e->model, ITEM_PARAM, x->name) : NULL;
    if (param && role_in(statement, param->name) != ROLE_NONE && type_attribute(param->type, "solved")) return true;
  }
  return false;
}

/* The prior is centred at 0 and its scale is solved. */
static bool check_prior(Elaborator *e, const Factors *f, Item *latent, Item **prior) {
  *prior = model_find(e->model, ITEM_PRIOR, latent->name);
  const Expr *x = *prior ? (*prior)->expr : NULL;
  bool family = x && x->kind == EXPR_CALL && (strcmp(x->name, "laplace") == 0 || strcmp(x->name, "normal") == 0);
  bool centred = false;
  if (family) {
    Value d = model_value(e, *prior, f->asked);
    const Value *mean = d.kind == VALUE_DISTRIBUTION ? parameter_named(&d, "mean") : NULL;
    if (d.kind == VALUE_ERROR) return false;
    centred = mean && mean->kind == VALUE_NUMBER && mean->dim.size == 0;
  }
  if (family && centred && solved_argument(e, *prior)) return true;
  Diagnostic *d = refuse(
      e, f, *prior ? (*prior)->expr->span : latent->name_span,
      arena_printf(e->c, "a prior laplace(0, scale) or normal(0, scale) of `%s` with a solved scale", latent->name));
  help_with(d, "for example `param scale : positive[...] solved;  prior %s ~ laplace(0, scale);`", latent->name);
  return false;
}

static Item *check_likelihood(Elaborator *e, const Factors *f) {
  Item *found = NULL;
  for (int i = 0; i < e->model->items.count; i++) {
    Item *item = e->model->items.items[i];
    if (item->kind != ITEM_LIKELIHOOD) continue;
    if (found) {
      note_at(refuse(e, f, item->span, "one likelihood"), found->span, "another is here");
      return NULL;
    }
    found = item;
  }
  if (found && solved_argument(e, found)) return found;
  Diagnostic *d =
      refuse(e, f, found ? found->expr->span : (Span){0}, "a likelihood normal(mean, noise) with a solved noise");
  help_with(d, "for example `param noise : positive solved;  likelihood x ~ normal(W @ z, noise);`");
  return NULL;
}

/* Of a family at its own scale: half log(2 pi e v), or log(2 e s), of each element; v is the mean square. */
static Node *entropy_at(Elaborator *e, Role role, Node *statistic) {
  Node *logarithm = build_map1(e->graph, IR_log, statistic);
  if (role == ROLE_LAPLACE_SCALE) return two(e, IR_add, logarithm, filled(e, 1 + log(2), statistic));
  return two(e, IR_add, times(e, 0.5, logarithm), filled(e, 0.5 * (1 + log(2 * M_PI)), statistic));
}

/* Minus the entropy of the batch's optimum: one a step. */
static Value log_at_optimum(Elaborator *e, const Item *statement, const Shape *event, Span span) {
  for (int i = 0; i < statement->expr->argument_count; i++) {
    const Expr *x = statement->expr->arguments[i].value;
    Role role = x->kind == EXPR_NAME ? role_in(statement, x->name) : ROLE_NONE;
    if (role == ROLE_NONE) continue;
    Value v = model_value(e, model_find(e->model, ITEM_PARAM, x->name), span);
    if (v.kind == VALUE_ERROR) return v;
    Node *value = value_node(e, &v);
    Node *statistic = role == ROLE_LAPLACE_SCALE ? value : square(e, value);
    double times_shared = (double)shape_size(event) / (double)shape_size(&value->shape);
    return value_tensor(times(e, -times_shared, total(e, entropy_at(e, role, statistic))), 0, span);
  }
  return value_error();
}

/* E log p(z) at the scale as it is: minus the cross entropy, which is the closed KL and the entropy. */
static Value log_prior_at(Elaborator *e, const Factor *factor, Item *prior, Span span) {
  Value p = model_value(e, prior, span);
  bool missing, none;
  Span rule;
  Value kl = closed_kl(e, &factor->posterior, &p, &factor->shape, span, &missing, &rule);
  Value entropy = distribution_field(e, &factor->posterior, "entropy", NULL, &factor->shape, span, &none);
  if (missing || none || kl.kind == VALUE_ERROR || entropy.kind == VALUE_ERROR) return value_error();
  Value sum = apply2(e, IR_add, sum_all(e, kl, span), sum_all(e, entropy, span), span);
  return apply1(e, IR_neg, sum, span);
}

static void put_term(Elaborator *e, Terms *terms, const char *word, Name name, Value value, Value weight, Span span) {
  value.span = span;
  terms->items = arena_grow(e->c, terms->items, terms->count, sizeof *terms->items);
  terms->items[terms->count++] = (Term){
      .name = intern(e->c, arena_printf(e->c, "%s(%s)", word, name)), .value = value, .weight = weight, .sign = 1};
}

typedef struct Weights {
  Value prior, likelihood, posterior;
} Weights;

static bool read_weights(Elaborator *e, const Expr *call, Weights *w) {
  *w = (Weights){value_number(1), value_number(1), value_number(1)};
  if (!check_options(e, call, "prior_weight, likelihood_weight, posterior_weight", false)) return false;
  for (int i = 0; call && i < call->argument_count; i++) {
    const Argument *a = &call->arguments[i];
    Value *weight = strcmp(a->name, "prior_weight") == 0        ? &w->prior
                    : strcmp(a->name, "likelihood_weight") == 0 ? &w->likelihood
                                                                : &w->posterior;
    *weight = elaborate(e, a->value);
    if (weight->kind == VALUE_ERROR) return false;
  }
  return true;
}

/* Penalties of params, as in `elbo`. */
static bool put_penalties(Elaborator *e, const Factors *f, Terms *terms) {
  for (int i = 0; i < e->model->items.count; i++) {
    const Item *item = e->model->items.items[i], *posterior = model_find(e->model, ITEM_POSTERIOR, item->name);
    if (item->kind != ITEM_PARAM || !model_find(e->model, ITEM_PRIOR, item->name)) continue;
    if (posterior) {
      refuse(e, f, posterior->span, arena_printf(e->c, "params without a posterior, and `%s` has one", item->name));
      return false;
    }
    Value v = average_samples(e, log_density_of(e, ITEM_PRIOR, item->name, f->asked));
    put_term(e, terms, "log_prior", item->name, v, value_number(1), f->asked);
  }
  return true;
}

bool entropy_terms(Elaborator *e, const Expr *call, Span span, Terms *terms) {
  Factors f = {.asked = span, .word = "entropy_elbo"};
  Weights w;
  Item **priors = arena_array(e->c, Item *, e->model->items.count);
  if (!read_weights(e, call, &w) || !read_factors(e, &f)) return false;
  Item *likelihood = check_likelihood(e, &f);
  if (!likelihood) return false;
  for (int i = 0; i < f.count; i++)
    if (!check_prior(e, &f, f.items[i].latent, &priors[i])) return false;
  Item *variable = model_find_declaration(e->model, likelihood->name);
  if (!variable) {
    model_value(e, likelihood, span); /* says so */
    return false;
  }
  Value x = model_value(e, variable, span);
  if (x.kind == VALUE_ERROR) return false;
  Shape shape = visible_shape(&x);
  Value log_lik = e->training ? log_at_optimum(e, likelihood, &shape, span) : closed_log_lik(e, likelihood, span);
  put_term(e, terms, "log_lik", likelihood->name, log_lik, w.likelihood, span);
  for (int i = 0; i < f.count; i++) {
    Value v = e->training ? log_at_optimum(e, priors[i], &f.items[i].shape, span)
                          : log_prior_at(e, &f.items[i], priors[i], span);
    put_term(e, terms, "log_prior", f.items[i].latent->name, v, w.prior, span);
  }
  for (int i = 0; i < f.count; i++) {
    bool missing;
    Value entropy = distribution_field(e, &f.items[i].posterior, "entropy", NULL, &f.items[i].shape, span, &missing);
    put_term(e, terms, "entropy", f.items[i].latent->name, sum_all(e, entropy, span), w.posterior, span);
  }
  if (!put_penalties(e, &f, terms)) return false;
  if (e->describe)
    text_append(&e->model->notes, "entropy_elbo: log_lik(%s) and the priors at their optimum for each batch\n",
                likelihood->name);
  return e->c->error_count == 0;
}
