/* infer: `infer NAMES by METHOD(...)` -> the values of latents, found from the log joint alone, without a network that
 * computes them. The methods stand in the table below, each in a file of its own. A method walks the model's densities
 * in a world of its own, in which the latents are the values reached so far and everything else is evaluated anew;
 * what does not depend on the latents comes out as the same nodes. */
#include "infer.h"

#include <math.h>
#include <string.h>

static const InferenceMethod methods[] = {
    {"langevin", "steps, step_size, noise, start, persistent", false, infer_by_gradient},
    {"map", "steps, step_size, start, optimizer", false, infer_by_gradient},
    {"ista", "steps, step_size, threshold, start", true, infer_by_prox},
    {"fista", "steps, step_size, threshold, start", true, infer_by_prox},
};
enum { METHOD_COUNT = sizeof methods / sizeof *methods };

Item *model_inference(const Model *m, Name latent) {
  for (int i = 0; i < m->items.count; i++) {
    Item *item = m->items.items[i];
    for (int k = 0; item->kind == ITEM_INFER && k < item->name_count; k++)
      if (item->names[k] == latent) return item;
  }
  return NULL;
}

/* ---- options --------------------------------------------------------------------------------------------------- */

const Expr *option_of(const Inference *in, const char *name) {
  const Argument *a = find_argument(in->method, name);
  return a ? a->value : NULL;
}

bool count_option(const Inference *in, const char *name, int initial, int most, int *out) {
  const Expr *x = option_of(in, name);
  *out = initial;
  if (!x) return true;
  Value v = elaborate(in->e, x);
  if (v.kind == VALUE_ERROR) return false;
  double n = v.kind == VALUE_NUMBER ? v.dim.size : 0;
  if (n >= 1 && n <= most && n == floor(n)) {
    *out = (int)n;
    return true;
  }
  error_at(in->e->c, "argument", x->span, "`%s` must be a whole number from 1 to %d known before training; this is %s",
           name, most, v.kind == VALUE_NUMBER ? shortest_number(in->e->c, n) : value_text(in->e->c, &v));
  return false;
}

Node *scalar_option(const Inference *in, const char *name, double initial) {
  Elaborator *e = in->e;
  const Expr *x = option_of(in, name);
  if (!x) return build_constant(e->graph, initial);
  Value v = elaborate(e, x);
  if (v.kind == VALUE_ERROR) return NULL;
  Node *node = value_node(e, &v);
  if (!node) return NULL;
  if (node->shape.rank > 0) {
    error_at(e->c, "shape", x->span, "`%s` must be one number; this is %s", name, value_text(e->c, &v));
    return NULL;
  }
  if (node->facts.high < 0) {
    error_at(e->c, "support", x->span, "`%s` must not be negative; this %s", name, lies_text(e->c, &node->facts));
    return NULL;
  }
  return node;
}

bool option_is_word(const Inference *in, const char *name, const char *word) {
  const Expr *x = option_of(in, name);
  return x && x->kind == EXPR_NAME && strcmp(x->name, word) == 0;
}

bool flag_option(const Inference *in, const char *name, bool *out) {
  const Expr *x = option_of(in, name);
  *out = option_is_word(in, name, "true");
  if (!x || *out || option_is_word(in, name, "false")) return true;
  error_at(in->e->c, "argument", x->span, "`%s` is true or false", name);
  return false;
}

/* A beta density, say, is 0 at both edges of `unit`: there, too, values stay off them. */
static bool has_open_edges(const Facts *support) {
  return support->above_low || support->below_high || (isfinite(support->low) && isfinite(support->high));
}

Node *inside_support(const Inference *in, int i, Node *z) {
  Graph *g = in->e->graph;
  const Facts *support = &in->supports[i].facts;
  const double edge = !has_open_edges(support) ? 0 : isfinite(support->high) ? 1e-6 : 1e-8;
  const double low = support->low + edge, high = support->high - edge;
  if (isfinite(low)) z = build_map2(g, IR_max, z, build_filled(g, low, &z->shape));
  if (isfinite(high)) z = build_map2(g, IR_min, z, build_filled(g, high, &z->shape));
  return z;
}

/* 1 - |1 - 2 (t - floor(t))|: how far between two mirrors a way of t double lengths ends. */
static Node *between_mirrors(Graph *g, Node *t) {
  Node *one = build_filled(g, 1, &t->shape);
  Node *rest = build_map2(g, IR_sub, t, build_map1(g, IR_floor, t));
  Node *twice = build_map2(g, IR_add, rest, rest);
  return build_map2(g, IR_sub, one, build_map1(g, IR_abs, build_map2(g, IR_sub, one, twice)));
}

Node *reflected(const Inference *in, int i, Node *z) {
  Graph *g = in->e->graph;
  const Facts *support = &in->supports[i].facts;
  const bool below = isfinite(support->low), above = isfinite(support->high);
  if (!has_open_edges(support)) return z;
  Node *edge = build_filled(g, below ? support->low : support->high, &z->shape);
  Node *off = build_map2(g, IR_sub, z, edge);
  if (below && above) {
    const double width = support->high - support->low;
    off = between_mirrors(g, build_map2(g, IR_mul, off, build_filled(g, 0.5 / width, &z->shape)));
    return build_map2(g, IR_add, edge, build_map2(g, IR_mul, off, build_filled(g, width, &z->shape)));
  }
  return build_map2(g, below ? IR_add : IR_sub, edge, build_map1(g, IR_abs, off));
}

/* As a param of its type begins: at the edge a density may be 0, and its logarithm has no gradient to leave it by. */
static double default_start(const Facts *support) {
  if (isfinite(support->low) && isfinite(support->high)) return (support->low + support->high) / 2;
  double nearest = fmin(fmax(0, support->low), support->high);
  if (support->above_low && nearest == support->low) return nearest + 1;
  return support->below_high && nearest == support->high ? nearest - 1 : nearest;
}

static bool start_value(const Inference *in, int i, Node **out) {
  Elaborator *e = in->e;
  const Expr *x = option_of(in, "start");
  const Facts *facts = &in->supports[i].facts;
  Value v = x ? elaborate(e, x) : value_number(default_start(facts));
  Span span = x ? x->span : in->span;
  if (v.kind == VALUE_DISTRIBUTION)
    v = distribution_sample(e, &v, intern(e->c, arena_printf(e->c, "%s.start", in->latents[i]->name)), &in->shapes[i],
                            in->axes, span);
  v = expand_to(e, v, &in->shapes[i], span);
  if (v.kind == VALUE_ERROR) return false;
  if (facts_disjoint(&v.node->facts, facts)) {
    Diagnostic *d = error_at(e->c, "support", span, "`%s` is %s, but its start %s", in->latents[i]->name,
                             in->supports[i].name, lies_text(e->c, &v.node->facts));
    note_at(d, in->latents[i]->name_span, "`%s` is declared here", in->latents[i]->name);
    return false;
  }
  *out = inside_support(in, i, build_spread(e->graph, v.node, in->axes & ~v.node->axes));
  return true;
}

/* Where the row's own chain stands; its first value is `start`. */
static bool chain_value(const Inference *in, int i, Node **out) {
  Elaborator *e = in->e;
  if (in->axes & AXIS_SAMPLE) {
    error_at(e->c, "inference", in->span, "a row has one persistent chain, and this model takes %d samples of each row",
             e->graph->samples);
    return false;
  }
  int index = chain_index(e, in->latents[i], &in->shapes[i], option_of(in, "start"));
  *out = inside_support(in, i, build_row_state(e->graph, index));
  return true;
}

void keep_chain(const Inference *in, int i, Node *z) {
  Elaborator *e = in->e;
  int index = chain_index(e, in->latents[i], &in->shapes[i], option_of(in, "start"));
  e->row_updates = arena_grow(e->c, e->row_updates, e->row_update_count, sizeof *e->row_updates);
  e->row_updates[e->row_update_count++] = (StateUpdate){.index = index, .next = z};
}

bool start_values(const Inference *in, Node **z) {
  bool ok = true;
  for (int i = 0; i < in->count; i++) ok = (in->persistent ? chain_value : start_value)(in, i, &z[i]) && ok;
  return ok;
}

/* ---- a world in which the latents have given values ------------------------------------------------------------ */

typedef struct Outside {
  World world;
  StateUpdate *updates;
  int update_count;
  const Item *inferring;
  bool describe;
  int errors;
} Outside;

static Outside enter_world(const Inference *in, Node **z) {
  Elaborator *e = in->e;
  Outside outer = {.world = world_enter(e),
                   .updates = e->updates,
                   .update_count = e->update_count,
                   .inferring = e->inferring,
                   .describe = e->describe,
                   .errors = e->c->error_count};
  e->updates = NULL;
  e->update_count = 0;
  e->inferring = in->statement;
  e->describe = false;
  for (int i = 0; i < in->count; i++) world_set(e, in->latents[i], z[i], in->span);
  return outer;
}

/* What was found wrong is wrong outside as well, and has been said. */
static void leave_world(Elaborator *e, Outside outer) {
  Memo *memos = e->memos;
  int count = e->memo_count;
  bool failed = e->c->error_count > outer.errors;
  world_leave(e, outer.world);
  e->updates = outer.updates;
  e->update_count = outer.update_count;
  e->inferring = outer.inferring;
  e->describe = outer.describe;
  for (int i = 0; failed && i < count; i++) {
    bool known = memos[i].value.kind != VALUE_ERROR;
    for (int k = 0; k < e->memo_count && !known; k++)
      known = e->memos[k].name == memos[i].name && e->memos[k].kind == memos[i].kind;
    if (known) continue;
    e->memos = arena_grow(e->c, e->memos, e->memo_count, sizeof *e->memos);
    e->memos[e->memo_count++] = memos[i];
  }
}

/* ---- densities and their gradients ----------------------------------------------------------------------------- */

Node *density_at(const Inference *in, Density which, Node **z) {
  Elaborator *e = in->e;
  Outside outer = enter_world(in, z);
  Value sum = value_number(0);
  if (which & LIKELIHOODS) sum = apply2(e, IR_add, sum, sum_densities(e, ITEM_LIKELIHOOD, in->span), in->span);
  if (which & PRIORS) sum = apply2(e, IR_add, sum, sum_densities(e, ITEM_PRIOR, in->span), in->span);
  leave_world(e, outer);
  return sum.kind == VALUE_ERROR ? NULL : value_node(e, &sum);
}

Value prior_at(const Inference *in, int latent, Node **z) {
  Elaborator *e = in->e;
  Outside outer = enter_world(in, z);
  Value prior = statement_of(e, ITEM_PRIOR, in->latents[latent]->name, in->span);
  leave_world(e, outer);
  return prior;
}

/* Marks what depends on a latent, and returns the first such statistic of the batch. */
static const Node *batch_statistic(const Inference *in, const Node *density, Node **z) {
  const Graph *g = in->e->graph;
  bool *depends = arena_array(in->e->c, bool, g->count), *needed = arena_array(in->e->c, bool, g->count);
  needed[density->id] = true;
  for (int id = density->id; id >= 0; id--)
    for (int k = 0; needed[id] && k < g->nodes[id]->operand_count; k++) needed[g->nodes[id]->operands[k]->id] = true;
  for (int id = 0; id <= density->id; id++) {
    const Node *n = g->nodes[id];
    for (int i = 0; i < in->count; i++) depends[id] |= n == z[i];
    for (int k = 0; k < n->operand_count; k++) depends[id] |= depends[n->operands[k]->id];
    bool reduces = op_table[n->op].kind == KIND_OVER || n->op == IR_contract;
    if (needed[id] && depends[id] && reduces && n->axes_attribute & AXIS_DATUM) return n;
  }
  return NULL;
}

bool density_gradient(const Inference *in, Density which, Node **z, Node **gradients) {
  Elaborator *e = in->e;
  Node *density = density_at(in, which, z);
  if (!density) return false;
  if (density->axes & AXES_SUPPORT) {
    Diagnostic *d = error_at(e->c, "inference", in->span,
                             "the log joint of `%s` holds a latent that is summed out, and %s climbs one density a row",
                             in->latents[0]->name, in->method->name);
    help_with(d, "take the other latent's posterior `by relaxed(...)`");
    return false;
  }
  const Node *statistic = batch_statistic(in, density, z);
  if (statistic) {
    Diagnostic *d =
        error_at(e->c, "batch-statistic", statistic->span.source ? statistic->span : in->span,
                 "the log joint holds a statistic of the batch, and %s finds the latents of each row by itself",
                 in->method->name);
    note_at(d, in->span, "`%s` is inferred here", in->latents[0]->name);
    help_with(d, "take it of data alone, or infer `%s` with `posterior %s ~ ...`", in->latents[0]->name,
              in->latents[0]->name);
    return false;
  }
  build_at(e->graph, in->span);
  differentiate(e->graph, build_sum_over(e->graph, density, density->axes), z, in->count, gradients);
  return true;
}

/* ---- the statement --------------------------------------------------------------------------------------------- */

static const InferenceMethod *find_method(Elaborator *e, const Expr *x) {
  bool named = x->kind == EXPR_CALL || x->kind == EXPR_NAME;
  for (int i = 0; named && i < METHOD_COUNT; i++)
    if (strcmp(methods[i].name, x->name) == 0) return &methods[i];
  Diagnostic *d = error_at(e->c, "inference", x->kind == EXPR_CALL ? x->name_span : x->span,
                           "`%s` is no method of inference", named ? x->name : span_text(e->c, x->span));
  Suggestion near = {.name = named ? x->name : ""};
  Text all = {.compilation = e->c};
  for (int i = 0; i < METHOD_COUNT; i++) {
    suggestion_consider(&near, methods[i].name);
    text_append(&all, "%s%s", i ? ", " : "", methods[i].name);
  }
  if (near.best)
    help_with(d, "did you mean `%s`?", near.best);
  else
    help_with(d, "the methods are %s", all.bytes);
  return NULL;
}

static bool add_latent(Inference *in, int i) {
  Elaborator *e = in->e;
  Name name = in->statement->names[i];
  Item *latent = model_find_declaration(e->model, name);
  if (!latent || latent->kind != ITEM_LATENT) {
    Diagnostic *d = error_at(e->c, latent ? "statement" : "unknown-name", in->statement->name_spans[i],
                             latent ? "`infer` is of a latent, and `%s` is declared with `%s`"
                                    : "infer of `%s`, which is not declared",
                             name, latent ? item_keyword(latent->kind) : "");
    if (latent) note_at(d, latent->name_span, "`%s` is declared here", name);
    return false;
  }
  in->latents[i] = latent;
  Support *support = &in->supports[i];
  if (!read_support(e, latent->type, support) || !read_shape(e, latent->type, &in->shapes[i])) return false;
  if (support->facts.integer || support->special == SPECIAL_CATEGORY) {
    Diagnostic *d = error_at(e->c, "discrete", in->span, "%s moves `%s` along a gradient, and a %s value has none",
                             in->method->name, name, support->name);
    note_at(d, latent->name_span, "`%s` is declared here", name);
    help_with(d, "give it a posterior: `posterior %s ~ ...`", name);
    return false;
  }
  if (support->special != SPECIAL_NONE) {
    error_at(e->c, "not-supported", latent->type->span, "a latent of the type `%s` under %s is not supported yet",
             support->name, in->method->name);
    return false;
  }
  return true;
}

/* A list of values, one for each latent of the statement. */
Value infer_latents(Elaborator *e, Item *statement) {
  const Expr *x = statement->expr;
  const InferenceMethod *method = find_method(e, x);
  if (!method || !check_options(e, x, method->options, false)) return value_error();
  Inference in = {.e = e, .statement = statement, .method = x, .span = x->span, .count = statement->name_count};
  if (in.count > MAX_INFERRED || (method->one_latent && in.count > 1)) {
    error_at(e->c, "inference", statement->span, "%s infers at most %d latent%s at once", method->name,
             method->one_latent ? 1 : MAX_INFERRED, method->one_latent ? "" : "s");
    return value_error();
  }
  in.axes = AXIS_DATUM | (e->graph->samples > 1 ? (unsigned)AXIS_SAMPLE : 0u);
  for (int i = 0; i < in.count; i++)
    if (!add_latent(&in, i)) return value_error();
  Value list = {.kind = VALUE_LIST, .span = statement->span, .count = in.count};
  list.elements = arena_array(e->c, Value, in.count);
  return method->infer(&in, list.elements) ? list : value_error();
}

Value inferred_latent(Elaborator *e, Item *latent, Span span) {
  Item *statement = model_inference(e->model, latent->name);
  if (e->inferring && e->inferring != statement) {
    Diagnostic *d = error_at(e->c, "inference", e->inferring->span,
                             "the log joint of `%s` mentions `%s`, which is inferred by a statement of its own",
                             e->inferring->names[0], latent->name);
    note_at(d, statement->span, "here");
    help_with(d, "infer them together: `infer %s, %s by ...`", e->inferring->names[0], latent->name);
    return value_error();
  }
  Value all = model_value(e, statement, span);
  for (int i = 0; all.kind == VALUE_LIST && i < all.count; i++)
    if (statement->names[i] == latent->name) return all.elements[i];
  return value_error();
}
