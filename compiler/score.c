/* score: `posterior z ~ d by score_function(...)` and `by sum_and_sample(...)` -> a gradient past a draw that jumps.
 * An expectation v over draws of z becomes v + stop(v) (log q(z) - stop(log q(z))): the same value, whose derivative
 * holds the score function's (Williams 1992), and baselines are further addends of value 0. What a latent is rewarded
 * by is then the derivative of the objective in log q(z), whatever the objective does with the expectations. */
#include <math.h>
#include <string.h>

#include "kl.h"

typedef enum BaselineKind { BASELINE_RUNNING_MEAN, BASELINE_SELF_CRITIC, BASELINE_VALUE } BaselineKind;
typedef struct Baseline {
  BaselineKind kind;
  double decay;      /* of a running mean; 1: all steps count alike */
  const Expr *value; /* of a VALUE; NULL: 0 */
  Span span;
} Baseline;

/* ---- the options of `by` --------------------------------------------------------------------------------------- */

static bool is_word(const Expr *x, const char *word) { return x->kind == EXPR_NAME && strcmp(x->name, word) == 0; }

/* running_mean(decay = d); with a value to follow it is the function of that name. */
static bool read_decay(Elaborator *e, const Expr *call, Baseline *b) {
  for (int i = 0; i < call->argument_count; i++) {
    const Argument *a = &call->arguments[i];
    Value v = a->name && strcmp(a->name, "decay") == 0 ? elaborate(e, a->value) : value_error();
    if (v.kind == VALUE_NUMBER && v.dim.size >= 0 && v.dim.size < 1) {
      b->decay = v.dim.size;
      continue;
    }
    Diagnostic *x = error_at(e->c, "argument", a->value->span, "running_mean as a baseline takes a decay in [0, 1)");
    help_with(x, "for example running_mean(decay = 0.99); without it all steps count alike");
    return false;
  }
  return true;
}

static bool read_baseline(Elaborator *e, const Expr *by, Baseline *b) {
  const Argument *a = find_argument(by, "baseline");
  const Expr *x = a ? a->value : NULL;
  *b = (Baseline){.kind = BASELINE_RUNNING_MEAN, .decay = 1, .span = x ? x->span : by->span};
  if (!x || is_word(x, "running_mean")) return true;
  if (x->kind == EXPR_CALL && strcmp(x->name, "running_mean") == 0 && positional_count(x) == 0)
    return read_decay(e, x, b);
  b->kind = is_word(x, "self_critic") ? BASELINE_SELF_CRITIC : BASELINE_VALUE;
  b->value = is_word(x, "none") ? NULL : x;
  return true;
}

/* A line search asks for the gradient of the very value it sees. */
static bool check_optimiser(Elaborator *e, const PosteriorDraw *p) {
  bool fits = e->program == PROGRAM_FIT || e->program == PROGRAM_FIT_NEW;
  bool whole = false;
  for (int i = 0; e->program == PROGRAM_TRAIN && i < e->model->training_count; i++)
    whole |= strcmp(e->model->trainings[i].optimizer, "lbfgs") == 0;
  if (!fits && !whole) return true;
  Diagnostic *x = error_at(e->c, "estimator", p->posterior->by->span,
                           "`%s` estimates the gradient and lbfgs follows that of one value: they do not go together",
                           p->posterior->by->name);
  if (fits)
    help_with(x, "locals of rows that were not trained on are fitted by lbfgs: take `by relaxed(...)` or `by exact`");
  else
    help_with(x, "take the optimizer adam or sgd");
  return false;
}

/* ---- draws ----------------------------------------------------------------------------------------------------- */

/* Scores are of the train program's objective, not of the log joint that `infer` climbs, where the same draw is met
 * again; of the second draw, those that it is a baseline for alone. */
static bool is_scored(const Elaborator *e, const Baseline *b) {
  return e->program == PROGRAM_TRAIN && !e->inferring && (!e->redrawing || b->kind == BASELINE_SELF_CRITIC);
}

/* Remembers the log probability of a draw, in a node of its own, which the objective is differentiated in. */
static bool note_score(Elaborator *e, const PosteriorDraw *p, const Value *z, int axis, Value weight) {
  bool missing;
  Value score = distribution_field(e, p->d, "log_pdf", z, p->shape, p->d->span, &missing);
  if (missing) report_no_density(e, p->d);
  score = sum_all(e, score, p->d->span);
  Node *node = score.kind == VALUE_ERROR ? NULL : value_node(e, &score);
  if (!node) return false;
  e->summed = arena_grow(e->c, e->summed, e->summed_count, sizeof *e->summed);
  e->summed[e->summed_count++] = (Summed){.latent = p->latent->name,
                                          .axis = axis,
                                          .weight = weight,
                                          .members = z->node,
                                          .score = build_variable(e->graph, node)};
  return true;
}

/* A draw of its own where it is the second one. */
static Value draw_whole(Elaborator *e, const PosteriorDraw *p, const Baseline *b) {
  bool second = e->redrawing && b->kind == BASELINE_SELF_CRITIC;
  Name name = second ? intern(e->c, arena_printf(e->c, "%s.second", p->latent->name)) : p->latent->name;
  Value z = distribution_sample(e, p->d, name, p->shape, p->axes, p->d->span);
  if (z.kind != VALUE_TENSOR) return z;
  z.node = build_stop(e->graph, z.node);
  return is_scored(e, b) && !note_score(e, p, &z, -1, value_error()) ? value_error() : z;
}

Value draw_score_function(Elaborator *e, const PosteriorDraw *p) {
  const Expr *by = p->posterior->by;
  Baseline b;
  if (!check_options(e, by, "baseline", false) || !read_baseline(e, by, &b) || !check_optimiser(e, p))
    return value_error();
  return draw_whole(e, p, &b);
}

/* ---- sum and sample ------------------------------------------------------------------------------------------- */

/* The k likeliest values, each by its probability, and one draw of the rest (Liu et al. 2019). */
static bool read_count(Elaborator *e, const PosteriorDraw *p, long members, int *k) {
  const Expr *by = p->posterior->by;
  const Argument *a = find_argument(by, "k");
  Value v = a ? elaborate(e, a->value) : value_number(1);
  if (v.kind == VALUE_ERROR) return false;
  *k = v.kind == VALUE_NUMBER && v.dim.size == floor(v.dim.size) && fabs(v.dim.size) < 1e6 ? (int)v.dim.size : 0;
  if (*k >= 1 && *k < members) return true;
  Diagnostic *x = error_at(e->c, "argument", a ? a->value->span : by->span,
                           "k is how many of the %ld values of `%s` are summed: a whole number from 1 to %ld", members,
                           p->latent->name, members - 1);
  help_with(x, "`by exact` sums over all of them");
  return false;
}

/* [m] -> [1, m] */
static Node *as_row(Graph *g, Node *line) {
  Shape shape = {.rank = 2, .dims = {dim_number(1), line->shape.dims[0]}};
  return build_reshape(g, line, &shape);
}

/* Which values are taken, as one-hot rows [k + 1, members], and what each stands for, [k + 1]. */
static void choose_members(Elaborator *e, const PosteriorDraw *p, Node *probability, int k, Node **rows,
                           Node **weights) {
  Graph *g = e->graph;
  Shape line = probability->shape;
  Node *left = probability, *zero = build_filled(g, 0, &line), *taken = build_filled(g, -1, &line);
  Node **row = arena_array(e->c, Node *, k + 1), **weight = arena_array(e->c, Node *, k + 1);
  Shape one = {.rank = 1, .dims = {dim_number(1)}};
  for (int j = 0; j < k; j++) { /* a value taken is below any other */
    Node *best = build_first_max_mask(g, left, 1);
    left = build_map3(g, IR_select, best, taken, left);
    row[j] = as_row(g, best);
    weight[j] = build_reshape(g, build_sum(g, build_map2(g, IR_mul, best, probability), 1), &one);
  }
  Node *rest = build_map2(g, IR_max, left, zero);
  const char *name = arena_printf(e->c, "%s.rest", p->latent->name);
  Node *noise = noise_node(e, noise_index(e, name, NOISE_UNIFORM, &line, p->axes));
  Node *gumbel = build_map1(g, IR_log, build_map1(g, IR_neg, build_map1(g, IR_log, noise)));
  row[k] = as_row(g, build_first_max_mask(g, build_map2(g, IR_sub, build_map1(g, IR_log, rest), gumbel), 1));
  weight[k] = build_reshape(g, build_sum(g, rest, 1), &one);
  *rows = build_stop(g, build_concat(g, row, k + 1, 0, dim_number(k + 1)));
  *weights = build_stop(g, build_concat(g, weight, k + 1, 0, dim_number(k + 1)));
}

/* The members' values [k + 1, shape]: rows of the table of all values. */
static Node *member_values(Graph *g, Node *rows, const MemberList *all, const Shape *shape) {
  Node *table = all->table;
  int labels[MAX_RANK + 1], out[MAX_RANK + 1] = {0}, left[2] = {0, 1};
  for (int d = 0; d < table->shape.rank; d++) labels[d] = d + 1;
  for (int d = 1; d < table->shape.rank; d++) out[d] = d + 1;
  Shape full = {.rank = 1, .dims = {rows->shape.dims[0]}};
  for (int d = 0; d < shape->rank; d++) full.dims[full.rank++] = shape->dims[d];
  if (all->category) return build_reshape(g, rows, &full);
  return build_contract(g, rows, left, table, labels, table->shape.rank, out, 0);
}

Value draw_sum_and_sample(Elaborator *e, const PosteriorDraw *p) {
  const Expr *by = p->posterior->by;
  Baseline b;
  MemberList all;
  int k;
  if (!check_options(e, by, "k, baseline", false) || !read_baseline(e, by, &b) || !check_optimiser(e, p))
    return value_error();
  if (!latent_members(e, p, &all) || !read_count(e, p, all.count, &k)) return value_error();
  if (e->redrawing && b.kind == BASELINE_SELF_CRITIC) return draw_whole(e, p, &b);
  Graph *g = e->graph;
  Value probability = member_probabilities(e, p, &all);
  if (probability.kind != VALUE_TENSOR) return value_error();
  place(e, p->d->span);
  Node *rows, *weights;
  choose_members(e, p, probability.node, k, &rows, &weights);
  int v = members_axis(e, p, dim_number(k + 1), weights);
  if (v < 0) return value_error();
  Value z = value_tensor(build_pick(g, member_values(g, rows, &all, p->shape), v), 0, p->d->span);
  Value weight = value_tensor(build_pick(g, weights, v), 0, p->d->span);
  return note_score(e, p, &z, v, weight) ? z : value_error();
}

/* ---- expectations ---------------------------------------------------------------------------------------------- */

void settle(Elaborator *e, Node *node) {
  e->settled = arena_grow(e->c, e->settled, e->settled_count, sizeof *e->settled);
  e->settled[e->settled_count++] = node;
}

/* Is the value another one for each draw, of which the expectation has not been taken yet? */
static bool varies_with(Elaborator *e, const Node *v, const Summed *s) {
  if (s->axis >= 0) return v->axes & (unsigned)AXIS_SUPPORT << s->axis;
  bool *seen = arena_array(e->c, bool, e->graph->count);
  for (int i = 0; i < e->settled_count; i++) seen[e->settled[i]->id] = true;
  return search_noise_of(e, v, s->latent, seen);
}

/* log q(z) - stop(log q(z)) */
static Value surplus_of(Elaborator *e, const Summed *s, Span span) {
  place(e, span);
  return value_tensor(build_map2(e->graph, IR_sub, s->score, build_stop(e->graph, s->score)), 0, span);
}

/* What has fewer axes than the draws (a mean over samples inside a logarithm, say) is rewarded for all of them. */
static Value add_score(Elaborator *e, Value v, const Summed *s) {
  Value surplus = surplus_of(e, s, v.span);
  unsigned extra = surplus.node->axes & ~v.node->axes;
  if (extra) surplus.node = build_sum_over(e->graph, surplus.node, extra);
  Value reward = value_tensor(build_stop(e->graph, v.node), v.mapped, v.span);
  return apply2(e, IR_add, v, apply2(e, IR_mul, reward, surplus, v.span), v.span);
}

/* Latents drawn later may have weights and rewards that depend on earlier ones. */
Value expect_latents(Elaborator *e, Value v) {
  for (int i = e->summed_count - 1; i >= 0 && v.kind == VALUE_TENSOR; i--) {
    const Summed *s = &e->summed[i];
    if (s->score && e->scoring && !e->inferring && varies_with(e, v.node, s)) v = add_score(e, v, s);
    v = sum_members(e, v, s);
  }
  return v;
}

/* ---- baselines ------------------------------------------------------------------------------------------------- */

typedef struct Signal {
  const Summed *latent;
  const Item *posterior;
  Baseline baseline;
  Value surplus; /* its own members, if it has any, weighted */
  Node *reward;  /* the objective's derivative in the score: reward x weight / (rows x samples) */
  Node *critic;  /* the same of the second draw */
  Value drawn;   /* 1 on rows where the latent is not known, all of it */
  bool learns;   /* the baseline has parameters of its own */
} Signal;

static Value sum_everything(Elaborator *e, Value v) {
  if (v.kind != VALUE_TENSOR || !v.node->axes) return v;
  return value_tensor(build_sum_over(e->graph, v.node, v.node->axes), v.mapped, v.span);
}

/* As of a term of the objective: over members and samples, and the mean over rows. */
static Value plain_mean(Elaborator *e, Value v) {
  if (v.kind == VALUE_TENSOR) v = balanced(e, v, v.span);
  return mean_over_batch(e, v, v.span);
}

static Value drawn_rows(Elaborator *e, Name latent, unsigned axes, Span span) {
  const Item *item = model_find_declaration(e->model, latent);
  Node *every = build_spread(e->graph, build_constant(e->graph, 1), axes & AXIS_DATUM);
  if (item->kind != ITEM_DATA) return value_tensor(every, 0, span);
  Value there = observed_mask(e, item, span);
  if (there.kind == VALUE_ERROR) return there;
  double entries = (double)shape_size(&there.node->shape);
  return apply2(e, IR_less, sum_all(e, there, span), value_number(entries), span);
}

static Value stopped_node(Elaborator *e, Node *node, Span span) {
  return value_tensor(build_stop(e->graph, node), 0, span);
}

/* The mean of the rewards of all steps before this one; with a decay, at most about 1 / (1 - decay) of them. */
static Value running_baseline(Elaborator *e, const Signal *s) {
  Span span = s->baseline.span;
  const char *name = arena_printf(e->c, "%s.baseline", s->latent->latent);
  Shape scalar = {0};
  int index = state_index(e, name, &scalar, 0);
  Value state = value_tensor(build_state(e->graph, index), 0, span);
  Value sum = sum_everything(e, apply2(e, IR_mul, value_tensor(s->reward, 0, span), s->drawn, span));
  Value share = plain_mean(e, s->drawn), some = apply2(e, IR_less, value_number(0), share, span);
  Value step = value_tensor(build_setting(e->graph, SETTING_STEP), 0, span);
  Value rate = apply2(e, IR_div, value_number(1), apply2(e, IR_add, step, value_number(1), span), span);
  rate = apply2(e, IR_max, rate, value_number(1 - s->baseline.decay), span);
  Value off = apply2(e, IR_sub, apply2(e, IR_div, sum, share, span), state, span);
  Value next = apply2(e, IR_add, state, apply2(e, IR_mul, rate, off, span), span);
  next = apply3(e, IR_select, some, next, state, span);
  if (next.kind == VALUE_TENSOR) update_state(e, index, next.node);
  return plain_mean(e, apply2(e, IR_mul, state, s->surplus, span));
}

/* Of the second draw the reward has its weights already: those of latents that are summed out in both walks. One whose
 * members the second draws have moved, or that is drawn there, counts in the reward as its mean, and in what that is
 * taken off by its own weights. */
static Value critic_baseline(Elaborator *e, const Signal *s) {
  Span span = s->baseline.span;
  place(e, span);
  Node *critic = s->critic;
  unsigned moved = critic->axes & AXES_SUPPORT & ~s->surplus.node->axes;
  if (moved) critic = build_sum_over(e->graph, critic, moved);
  Value off = apply2(e, IR_mul, stopped_node(e, critic, span), s->surplus, span);
  for (int i = e->summed_count - 1; i >= 0; i--) {
    Summed above = e->summed[i];
    if (above.axis < 0 || critic->axes & (unsigned)AXIS_SUPPORT << above.axis) continue;
    if (above.weight.kind == VALUE_TENSOR) above.weight = stopped_node(e, above.weight.node, span);
    off = sum_members(e, off, &above);
  }
  return sum_everything(e, off);
}

static bool is_trained(const Node *node) { return node->op == IR_parameter || node->op == IR_row_state; }

static bool passes_derivatives(const Node *node) {
  return node->op != IR_repeat && op_table[node->op].derivative != DERIVATIVE_ZERO;
}

/* The value again, which moves its own parameters alone: where a value meets them that only the objective's lead to,
 * no derivative passes. A baseline that shares features with the model, or is weighted by it, learns from it and does
 * not move it. */
static Node *hold_model(Elaborator *e, const Node *objective, Node *value, bool *learns) {
  Graph *g = e->graph;
  int count = value->id + 1;
  bool *used = arena_array(e->c, bool, g->count), *needed = arena_array(e->c, bool, g->count);
  bool *own = arena_array(e->c, bool, g->count), *others = arena_array(e->c, bool, g->count);
  Node **held = arena_array(e->c, Node *, g->count);
  used[objective->id] = needed[value->id] = true;
  for (int id = objective->id; id >= 0; id--)
    for (int k = 0; used[id] && k < g->nodes[id]->operand_count; k++) used[g->nodes[id]->operands[k]->id] = true;
  for (int id = value->id; id >= 0; id--)
    for (int k = 0; needed[id] && passes_derivatives(g->nodes[id]) && k < g->nodes[id]->operand_count; k++)
      needed[g->nodes[id]->operands[k]->id] = true;
  for (int id = 0; id < count; id++) {
    Node *node = held[id] = g->nodes[id];
    if (!needed[id]) continue;
    own[id] = is_trained(node) && !used[id];
    others[id] = is_trained(node) && used[id];
    bool changed = false;
    Node **operands = arena_array(e->c, Node *, node->operand_count);
    for (int k = 0; passes_derivatives(node) && k < node->operand_count; k++) {
      own[id] |= own[node->operands[k]->id];
      others[id] |= others[node->operands[k]->id];
    }
    for (int k = 0; own[id] && k < node->operand_count; k++) {
      int from = node->operands[k]->id;
      operands[k] = others[from] && !own[from] ? build_stop(g, node->operands[k]) : held[from];
      changed |= operands[k] != node->operands[k];
    }
    if (changed) held[id] = build_like(g, node, operands);
  }
  *learns |= own[value->id];
  return own[value->id] || !others[value->id] ? held[value->id] : build_stop(g, value);
}

static Node *baseline_value(Elaborator *e, const Signal *s) {
  Name latent = s->latent->latent;
  e->path = arena_printf(e->c, "%s.baseline", latent);
  Value v = s->baseline.value ? elaborate(e, s->baseline.value) : value_number(0);
  e->path = "";
  Node *node = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
  if (!node) return NULL;
  Diagnostic *x;
  Span span = s->baseline.span;
  if (shape_size(&node->shape) != 1) {
    x = error_at(e->c, "shape", span, "a baseline is one number a datum; this is %s", value_text(e->c, &v));
    help_with(x, "for example the last layer of a network, dense(h, 1)");
    return NULL;
  }
  bool own = s->latent->axis >= 0 && node->axes & (unsigned)AXIS_SUPPORT << s->latent->axis;
  if (own || depends_on_draw(e, node, latent)) {
    x = error_at(e->c, "baseline", span,
                 "the baseline of `%s` depends on the draw it is for, and would bias the gradient", latent);
    help_with(x, "make it of the data, and of latents that are drawn before `%s`; self_critic takes another draw",
              latent);
    return NULL;
  }
  if (node->axes & ~(s->reward->axes & s->surplus.node->axes)) {
    x = error_at(e->c, "baseline", span, "the baseline of `%s` has one value for each %s, and its reward has not",
                 latent,
                 node->axes & ~s->surplus.node->axes & AXES_SUPPORT ? "value of a latent that is summed out" : "datum");
    help_with(x, "make it of the data, and of latents that `%s` is nested under", latent);
    return NULL;
  }
  Shape scalar = {0};
  return build_reshape(e->graph, node, &scalar);
}

/* A network: trained by its squared distance from the reward, E b^2 - 2 E b reward and what does not depend on it. */
static Value learned_baseline(Elaborator *e, Signal *s, const Node *objective, Value *distance) {
  Span span = s->baseline.span;
  Node *node = baseline_value(e, s);
  if (!node) return value_error();
  Value own = value_tensor(hold_model(e, objective, node, &s->learns), 0, span);
  Value counted = apply2(e, IR_mul, own, s->drawn, span);
  Value product = sum_everything(e, apply2(e, IR_mul, stopped_node(e, s->reward, span), counted, span));
  Value square = plain_mean(e, apply2(e, IR_mul, own, counted, span));
  *distance = apply2(e, IR_sub, square, apply2(e, IR_mul, value_number(2), product, span), span);
  if (distance->kind == VALUE_TENSOR) distance->node = hold_model(e, objective, distance->node, &s->learns);
  return plain_mean(e, apply2(e, IR_mul, stopped_node(e, own.node, span), s->surplus, span));
}

/* ---- for explain ----------------------------------------------------------------------------------------------- */

static const char *baseline_text(Elaborator *e, const Signal *s) {
  const Baseline *b = &s->baseline;
  switch (b->kind) {
  case BASELINE_RUNNING_MEAN:
    return b->decay == 1
               ? "the mean reward of all steps before"
               : arena_printf(e->c, "a running mean of the reward, decay %s", shortest_number(e->c, b->decay));
  case BASELINE_SELF_CRITIC: return "the reward of a second draw";
  case BASELINE_VALUE:
    if (!b->value) return "none";
    return arena_printf(e->c, "%s%s", span_text(e->c, b->value->span),
                        s->learns ? ", trained by its squared distance from the reward" : "");
  }
  return "";
}

static void describe(Elaborator *e, const Signal *s) {
  Graph *g = e->graph;
  Text text = {.compilation = e->c};
  const Summed *latent = s->latent;
  if (latent->axis >= 0) {
    long k = (long)g->supports[latent->axis].extent.size - 1;
    text_append(&text, "sum over the %ld likeliest value%s, and one draw of the rest", k, k == 1 ? "" : "s");
  } else {
    text_append(&text, "score function of one draw");
  }
  const char *sep = "; rewarded by ";
  for (int i = 0; i < g->output_count; i++) {
    const Output *o = &g->outputs[i];
    if (o->role != OUTPUT_TERM || !node_depends_on(o->value, latent->score, arena_array(e->c, bool, g->count)))
      continue;
    text_append(&text, "%s%s", sep, o->name);
    sep = ", ";
  }
  text_append(&text, "; baseline: %s", baseline_text(e, s));
  note_estimator(e, latent->latent, text.bytes);
}

/* ---- all of them together -------------------------------------------------------------------------------------- */

static const Summed *find_score(const Elaborator *e, Name latent) {
  for (int i = 0; i < e->summed_count; i++)
    if (e->summed[i].latent == latent && e->summed[i].score) return &e->summed[i];
  return NULL;
}

/* The same objective, walked again: latents that are their own critics are drawn anew, all of them at once, and all
 * other noise is the same. */
static bool second_draws(Elaborator *e, Signal *signals, int count) {
  int critics = 0;
  for (int i = 0; i < count; i++) critics += signals[i].baseline.kind == BASELINE_SELF_CRITIC;
  if (critics == 0) return true;
  Elaborator *other = elaborator_create(e->model, e->program, e->graph->samples);
  other->graph = e->graph;
  other->redrawing = true;
  Node *objective = objective_value(other);
  for (int i = 0; objective && i < count; i++) {
    const Summed *again = find_score(other, signals[i].latent->latent);
    if (signals[i].baseline.kind != BASELINE_SELF_CRITIC || !again) continue;
    Node *score = again->score;
    differentiate(e->graph, objective, &score, 1, &signals[i].critic);
  }
  return objective != NULL;
}

/* What is taken off the objective: 0, with a derivative. */
static Value baseline_term(Elaborator *e, const Node *objective, Signal *s) {
  Value off = value_number(0), distance = value_number(0);
  switch (s->baseline.kind) {
  case BASELINE_RUNNING_MEAN: off = running_baseline(e, s); break;
  case BASELINE_SELF_CRITIC:
    if (s->critic) off = critic_baseline(e, s);
    break;
  case BASELINE_VALUE:
    if (s->baseline.value) off = learned_baseline(e, s, objective, &distance);
    break;
  }
  if (distance.kind == VALUE_TENSOR)
    distance = apply2(e, IR_sub, distance, stopped_node(e, distance.node, distance.span), distance.span);
  return apply2(e, IR_add, off, distance, s->baseline.span);
}

Node *add_baselines(Elaborator *e, Node *objective) {
  int count = 0;
  Signal *signals = arena_array(e->c, Signal, e->summed_count);
  for (int i = 0; i < e->summed_count; i++) {
    Signal *s = &signals[count];
    *s = (Signal){.latent = &e->summed[i]};
    if (!s->latent->score) continue;
    s->posterior = model_find(e->model, ITEM_POSTERIOR, s->latent->latent);
    if (!read_baseline(e, s->posterior->by, &s->baseline)) return NULL;
    s->surplus = sum_members(e, surplus_of(e, s->latent, s->baseline.span), s->latent);
    Node *score = s->latent->score;
    differentiate(e->graph, objective, &score, 1, &s->reward);
    s->reward = build_stop(e->graph, s->reward);
    s->drawn = drawn_rows(e, s->latent->latent, score->axes, s->baseline.span);
    count++;
  }
  if (!second_draws(e, signals, count)) return NULL;
  Value total = value_tensor(objective, 0, e->model->span);
  for (int i = 0; i < count; i++) {
    total = apply2(e, IR_sub, total, baseline_term(e, objective, &signals[i]), signals[i].baseline.span);
    describe(e, &signals[i]);
  }
  return total.kind == VALUE_TENSOR ? total.node : NULL;
}
