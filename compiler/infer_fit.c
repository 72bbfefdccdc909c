/* infer by map(optimizer = lbfgs(...)): the latents are row states that the host moves to a maximum of each row's log
 * joint (runtime/fit.h), from `start` at each visit. Programs "fit" and "fit_new" are that log joint and its gradient;
 * every other program reads what was found. */
#include "infer.h"

#include <string.h>

static bool refuse_others(const Inference *in) {
  Elaborator *e = in->e;
  for (int i = 0; i < e->model->items.count; i++) {
    const Item *item = e->model->items.items[i];
    const Item *other = item->kind == ITEM_LOCAL ? item : NULL;
    if (item->kind == ITEM_INFER && item != in->statement && item->expr->kind == EXPR_CALL &&
        find_argument(item->expr, "optimizer"))
      other = item;
    if (!other) continue;
    Diagnostic *d = error_at(e->c, "not-supported", in->span, "a latent found by lbfgs beside %s is not supported yet",
                             other->kind == ITEM_LOCAL ? "a `local`" : "another that is");
    note_at(d, other->span, "it is declared here");
    help_with(d, other->kind == ITEM_LOCAL ? "without `optimizer` map takes gradient steps" : "infer them together");
    return false;
  }
  return true;
}

/* The program is the fit: the log joint of each row, and the gradient of minus it in the raw values. */
static bool output_fit(Inference *in, Node **z, Node **leaves) {
  Elaborator *e = in->e;
  Graph *g = e->graph;
  Node *gradients[MAX_INFERRED];
  if (!density_gradient(in, JOINT, z, gradients)) return false; /* for what it refuses */
  Node *joint = density_at(in, JOINT, z);
  if (!joint) return false;
  Value mean = average_samples(e, value_tensor(joint, 0, in->span));
  joint = value_node(e, &mean);
  differentiate(g, build_map1(g, IR_neg, build_sum_over(g, joint, joint->axes)), leaves, in->count, gradients);
  graph_output(g, OUTPUT_ROWS, intern(e->c, "objective"), -1, joint);
  for (int i = 0; i < in->count; i++)
    graph_output(g, OUTPUT_ROW_GRADIENT, in->latents[i]->name, leaves[i]->index, gradients[i]);
  return true;
}

bool infer_by_fit(Inference *in, Value *values) {
  Elaborator *e = in->e;
  Node *z[MAX_INFERRED], *leaves[MAX_INFERRED];
  if (!refuse_others(in)) return false;
  for (int i = 0; i < in->count; i++) {
    values[i] = make_local(e, in->latents[i], option_of(in, "start"));
    if (values[i].kind == VALUE_ERROR) return false;
    for (int s = 0; s < e->graph->signature->row_state_count; s++)
      if (e->graph->signature->row_states[s].name == in->latents[i]->name) leaves[i] = build_row_state(e->graph, s);
    z[i] = build_variable(e->graph, values[i].node);
  }
  for (int i = 0; i < in->count; i++)
    if (!check_climbable_prior(in, i, z)) return false;
  return (e->program != PROGRAM_FIT && e->program != PROGRAM_FIT_NEW) || output_fit(in, z, leaves);
}
