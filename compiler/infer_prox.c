/* infer by ista, by fista: a gradient step on the likelihood alone, then the prior's own `prox`, unrolled and
 * differentiated through (LANGUAGE rules 27 and 31).
 *   ista    z <- prox(z + t gradient(z), t)
 *   fista   the same from a point ahead of z: z + (m - 1) / m' (z - z_before), m' = (1 + sqrt(1 + 4 m^2)) / 2
 * (Beck and Teboulle 2009). `threshold` stands in the place of t times what the prior's `pull` says.
 * And the function prox(d, v, t) of any distribution that declares one. */
#include "builtins.h"
#include "infer.h"

#include <math.h>
#include <string.h>

static const double DEFAULT_STEP = 0.1; /* where there is no lipschitz */

/* The distribution whose prox it is; a joint of independent elements has theirs. */
static const Value *proximal(const Value *prior) {
  while (prior->combinator == COMBINE_JOINT) prior = &prior->elements[0];
  return prior->combinator == COMBINE_NONE && distribution_find_field(prior->family, "prox") ? prior : NULL;
}

static bool reaches(const Node *node, const Node *leaf, bool *seen) {
  if (node == leaf) return true;
  if (seen[node->id]) return false;
  seen[node->id] = true;
  for (int i = 0; i < node->operand_count; i++)
    if (reaches(node->operands[i], leaf, seen)) return true;
  return false;
}

/* A prior that changes with the latent has no prox that its declaration could know of. */
static bool check_parameters(const Inference *in, const Value *prior, const Node *z) {
  Elaborator *e = in->e;
  const Value **parameters = NULL;
  int count = distribution_parameters(e, prior, &parameters, 0);
  bool *seen = arena_array(e->c, bool, e->graph->count);
  for (int i = 0; i < count; i++) {
    if (parameters[i]->kind != VALUE_TENSOR || !reaches(parameters[i]->node, z, seen)) continue;
    Diagnostic *d = error_at(e->c, "cycle", prior->span, "the prior of `%s` depends on `%s` itself",
                             in->latents[0]->name, in->latents[0]->name);
    note_at(d, in->span, "`%s` is inferred here", in->latents[0]->name);
    return false;
  }
  return true;
}

static void report_no_prox(const Inference *in, const Value *prior) {
  Elaborator *e = in->e;
  Diagnostic *d = error_at(e->c, "no-prox", prior->span, "%s declares no `prox`, and %s is made of the prior's",
                           distribution_name(prior), in->method->name);
  note_at(d, in->span, "`%s` is inferred here", in->latents[0]->name);
  if (prior->family && !e->c->sources[prior->family->span.source].library)
    help_with(d, "add `prox(v, t) = ...;` to its declaration: the z of the smallest (z - v)^2 / (2 t) - log_pdf(z)");
  else
    help_with(d, "infer `%s` by langevin or by map, or take a prior with a prox, such as laplace",
              in->latents[0]->name);
}

/* t, given a threshold: threshold / pull, pull being the slope of -log_pdf that prox takes off. */
static Value size_of_threshold(const Inference *in, const Value *prior) {
  Elaborator *e = in->e;
  const Expr *x = option_of(in, "threshold");
  if (!distribution_find_field(prior->family, "pull")) {
    Diagnostic *d = error_at(e->c, "no-pull", x->span, "%s declares no `pull`, so its prox has no threshold",
                             distribution_name(prior));
    help_with(d,
              "leave `threshold` out, or add `pull = ...;` beside `prox`: what prox(v, t) takes off |v| divided by t");
    return value_error();
  }
  bool missing;
  Value threshold = elaborate(e, x);
  Shape one = in->shapes[0];
  one.rank -= family_event_rank(prior->family);
  Value pull = distribution_field(e, prior, "pull", NULL, &in->shapes[0], x->span, &missing);
  if (threshold.kind == VALUE_ERROR || pull.kind == VALUE_ERROR) return value_error();
  return apply2(e, IR_div, expand_to(e, threshold, &one, x->span), pull, x->span);
}

/* By default lipschitz, where there is such a step. */
static Node *step_size(const Inference *in, Node **z) {
  Elaborator *e = in->e;
  if (option_is_word(in, "step_size", "lipschitz")) return lipschitz_step(in, z, 0);
  if (option_of(in, "step_size")) return scalar_option(in, "step_size", DEFAULT_STEP);
  Node *step = lipschitz_step(in, z, DEFAULT_STEP);
  if (step && e->describe)
    text_append(&e->model->notes, "infer %s: step_size = %s, by default\n", in->latents[0]->name,
                step->op == IR_constant ? arena_printf(e->c, "%g", step->number) : "lipschitz");
  return step;
}

static Node *squared_length(Graph *g, Node *move) {
  Node *sum = build_sum(g, build_map2(g, IR_mul, move, move), (1u << move->shape.rank) - 1);
  return build_sum_over(g, sum, sum->axes);
}

/* How long the last of so many steps is, by what all of them would be at the first's length. A step that is not too
 * long goes to a point whose own step is no longer than itself (the map is nonexpansive), so that this is below 1 /
 * steps, and with fista's momentum, which adds up to a quarter of the steps before, below 1 still; one that is too long
 * makes each step longer than the last by a factor. */
static void note_growth(const Inference *in, Node *first, Node *last, int steps) {
  Elaborator *e = in->e;
  Graph *g = e->graph;
  if (e->program != PROGRAM_TRAIN || steps < 3) return;
  Node *least = build_constant(g, 1e-30);
  Node *ratio = build_map2(g, IR_div, squared_length(g, last), build_map2(g, IR_max, squared_length(g, first), least));
  Node *growth = build_map2(g, IR_div, build_map1(g, IR_sqrt, ratio), build_constant(g, steps));
  e->growths = arena_grow(e->c, e->growths, e->growth_count, sizeof *e->growths);
  Name name = intern(e->c, arena_printf(e->c, "step_growth(%s)", in->latents[0]->name));
  e->growths[e->growth_count++] = (Output){.name = name, .index = -1, .value = growth};
}

/* prox(ahead + step gradient, size) */
static Node *proximal_step(const Inference *in, const Value *prior, Node *ahead, Node *step, Value size) {
  Elaborator *e = in->e;
  Graph *g = e->graph;
  Node *gradient;
  if (!density_gradient(in, LIKELIHOODS, &ahead, &gradient)) return NULL;
  Node *moved =
      build_map2(g, IR_add, ahead, build_map2(g, IR_mul, build_scalar_expand(g, step, &gradient->shape), gradient));
  Value arguments[2] = {value_tensor(moved, 0, in->span), size};
  const Field *prox = distribution_find_field(prior->family, "prox");
  Value v = distribution_field_at(e, prior, prox, arguments, &in->shapes[0], in->span);
  return v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
}

bool infer_by_prox(Inference *in, Value *values) {
  Graph *g = in->e->graph;
  int steps;
  Node *z;
  if (!count_option(in, "steps", 15, MOST_UNROLLED_STEPS, &steps) || !start_values(in, &z)) return false;
  Node *first = build_carried(g, &in->shapes[0], in->axes, &in->supports[0].facts); /* stands for any value of it */
  Value prior = prior_at(in, 0, &first);
  if (prior.kind != VALUE_DISTRIBUTION) return false;
  if (!check_parameters(in, &prior, first)) return false;
  const Value *own = proximal(&prior);
  if (!own) {
    report_no_prox(in, &prior);
    return false;
  }
  Node *step = step_size(in, &first);
  Value size = !step                        ? value_error()
               : option_of(in, "threshold") ? size_of_threshold(in, own)
                                            : value_tensor(step, 0, in->span);
  if (size.kind == VALUE_ERROR) return false;
  bool momentum = strcmp(in->method->name, "fista") == 0;
  double m = 1;
  Node *ahead = z, *first_move = NULL, *moved = NULL;
  for (int round = 0; round < steps; round++) {
    build_at(g, in->span);
    Node *next = proximal_step(in, own, build_variable(g, ahead), step, size);
    if (!next) return false;
    double after = (1 + sqrt(1 + 4 * m * m)) / 2;
    moved = build_map2(g, IR_sub, next, z);
    if (!first_move) first_move = moved;
    ahead = momentum ? build_map2(g, IR_add, next,
                                  build_map2(g, IR_mul, moved, build_filled(g, (m - 1) / after, &moved->shape)))
                     : next;
    z = next;
    m = after;
  }
  note_growth(in, first_move, moved, steps);
  values[0] = value_tensor(z, 0, in->latents[0]->name_span);
  return true;
}

/* ---- prox(d, v, t): the z of the smallest (z - v)^2 / (2 t) - log_pdf(z) --------------------------------------- */

static Value call_prox(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)count;
  if (a[0].kind != VALUE_DISTRIBUTION) {
    error_at(e->c, "not-a-distribution", call->arguments[0].value->span,
             "prox(d, v, t) needs a distribution first; this is %s", value_text(e->c, &a[0]));
    return value_error();
  }
  const Value *own = proximal(&a[0]);
  if (!own) {
    Diagnostic *d =
        error_at(e->c, "no-prox", call->arguments[0].value->span, "%s declares no `prox`", distribution_name(&a[0]));
    help_with(d, "laplace, normal, exponential, group_laplace and group_exponential do, and a declaration of your own "
                 "may: `prox(v, t) = ...;`");
    return value_error();
  }
  Value arguments[2] = {as_tensor(e, a[1]), as_tensor(e, a[2])};
  Shape shape = visible_shape(&arguments[0]);
  return distribution_field_at(e, own, distribution_find_field(own->family, "prox"), arguments, &shape, call->span);
}

const BuiltinRow proximal_functions[] = {{"prox", call_prox, 3, 3, "", TAKES_DISTRIBUTION_FIRST}, {0}};
