/* infer by langevin, by map: the latents climb the gradient of their log joint, all rows at once and each by itself.
 *   langevin   z + (step_size^2 / 2) gradient + noise step_size e,  e standard normal
 *   map        z + step_size gradient
 * and back onto the support of the latent's type where a step has left it (projected Langevin Monte Carlo: Bubeck,
 * Eldan and Lehec 2018). No gradient passes through what was found (LANGUAGE rules 20 and 27). */
#include "infer.h"

#include <math.h>
#include <string.h>

/* ---- what may be climbed --------------------------------------------------------------------------------------- */

bool check_climbable_prior(const Inference *in, int i, Node **z) {
  Elaborator *e = in->e;
  Value prior = prior_at(in, i, z);
  if (prior.kind != VALUE_DISTRIBUTION) return false;
  if (!has_density(&prior)) {
    report_no_density(e, &prior);
    return false;
  }
  if (!has_atoms(&prior)) return true;
  Diagnostic *d = error_at(e->c, "atoms", prior.span, "the prior of `%s` has atoms, and %s moves along a density",
                           in->latents[i]->name, in->method->name);
  note_at(d, in->span, "`%s` is inferred here", in->latents[i]->name);
  help_with(d, "take a prior with a narrow component in place of the atom, such as mixture(w: normal(0, 1), 1 - w: "
               "normal(0, 0.1))");
  return false;
}

/* ---- one step -------------------------------------------------------------------------------------------------- */

typedef struct Climb {
  Node *rate;  /* what the gradient is multiplied by */
  Node *noise; /* what the noise is multiplied by; NULL: none */
} Climb;

static Node *scaled(Graph *g, Node *scale, Node *v) {
  return build_map2(g, IR_mul, v, build_scalar_expand(g, scale, &v->shape));
}

static bool read_climb(const Inference *in, Climb *climb) {
  Graph *g = in->e->graph;
  bool langevin = strcmp(in->method->name, "langevin") == 0;
  Node *size = scalar_option(in, "step_size", langevin ? 0.05 : 0.01);
  if (!size) return false;
  *climb = (Climb){.rate = size};
  if (!langevin) return true;
  Node *noise = scalar_option(in, "noise", 1);
  if (!noise) return false;
  climb->rate = build_map2(g, IR_mul, build_map2(g, IR_mul, size, size), build_constant(g, 0.5));
  if (noise->op != IR_constant || noise->number != 0) climb->noise = build_map2(g, IR_mul, noise, size);
  return true;
}

/* One step of latent i; `round` numbers its noise. */
static Node *climbed(const Inference *in, const Climb *climb, int i, Node *z, Node *gradient, Node *round) {
  Elaborator *e = in->e;
  Graph *g = e->graph;
  Node *next = build_map2(g, IR_add, z, scaled(g, climb->rate, gradient));
  if (climb->noise) {
    const char *name = arena_printf(e->c, "%s.langevin", in->latents[i]->name);
    Node *noise = build_inner_noise(g, noise_index(e, name, NOISE_NORMAL, &in->shapes[i], in->axes), round);
    next = reflected(in, i, build_map2(g, IR_add, next, scaled(g, climb->noise, noise)));
  }
  return inside_support(in, i, next);
}

bool infer_by_gradient(Inference *in, Value *values) {
  if (option_of(in, "optimizer")) return infer_by_fit(in, values);
  Graph *g = in->e->graph;
  Node *start[MAX_INFERRED], *z[MAX_INFERRED], *gradients[MAX_INFERRED], *next[MAX_INFERRED], *found[MAX_INFERRED];
  Climb climb;
  int steps;
  if (!count_option(in, "steps", strcmp(in->method->name, "langevin") == 0 ? 30 : 100, MOST_STEPS, &steps))
    return false;
  if (!flag_option(in, "persistent", &in->persistent)) return false;
  if (!read_climb(in, &climb) || !start_values(in, start)) return false;
  build_at(g, in->span);
  for (int i = 0; i < in->count; i++) {
    Facts facts = in->supports[i].facts;
    facts.finite = false; /* nothing keeps a chain from running away */
    z[i] = build_carried(g, &in->shapes[i], in->axes, &facts);
  }
  for (int i = 0; i < in->count; i++)
    if (!check_climbable_prior(in, i, z)) return false;
  if (!density_gradient(in, JOINT, z, gradients)) return false;
  Node *round = climb.noise ? build_round(g) : NULL;
  for (int i = 0; i < in->count; i++) next[i] = climbed(in, &climb, i, z[i], gradients[i], round);
  Repeat loop = {.rounds = steps, .round = round, .count = in->count, .carried = z, .initial = start, .next = next};
  const char *problem = repeat_problem(g, &loop);
  if (problem) {
    error_at(in->e->c, "inference", in->span, "%s cannot be a loop: %s", in->method->name, problem);
    return false;
  }
  build_repeat(g, &loop, found);
  for (int i = 0; i < in->count; i++) {
    values[i] = value_tensor(found[i], 0, in->latents[i]->name_span);
    if (in->persistent) keep_chain(in, i, found[i]);
  }
  return true;
}
