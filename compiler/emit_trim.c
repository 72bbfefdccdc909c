/* Plans for a trainer -> the same without what only others need: outputs that nobody reads, and phases of a few
 * numbers. Requires placed plans of one model; leaves them so. */
#include <string.h>

#include "plan_internal.h"

/* --- outputs ------------------------------------------------------------------------------------------------------ */

static bool is_made_by_range(const Plan *plan, const PlanOutput *output) {
  for (int i = 0; i < plan->phase_count; i++)
    for (int r = 0; r < plan->phases[i].range_count; r++)
      if (output->role == OUTPUT_GRADIENT && plan->phases[i].ranges[r].parameter == output->index) return true;
  return false;
}

static void drop_outputs(Plan *plan, const Unread *unread) {
  int kept = 0;
  for (int i = 0; i < plan->output_count; i++) {
    const PlanOutput o = plan->outputs[i];
    if ((unread->ranges && is_made_by_range(plan, &o)) || (unread->initial && o.role == OUTPUT_INITIAL)) continue;
    if (unread->metrics && o.role == OUTPUT_METRIC) continue;
    plan->outputs[kept++] = o;
  }
  plan->output_count = kept;
}

/* --- numbers of settings alone ------------------------------------------------------------------------------------ */

/* Are these steps a few numbers made of settings? */
static bool is_of_settings(const StepList *list) {
  for (int i = 0; i < list->count; i++) {
    const Step *step = &list->steps[i];
    if (step->kind != PLAN_LOOP || step->loop.dim_count > 0) return false;
    for (int k = 0; k < step->loop.instruction_count; k++) {
      const Tensor *t = step->loop.instructions[k].op == OP_COUNT ? step->loop.instructions[k].load.tensor : NULL;
      bool own = t == NULL || t->storage == STORE_SETTING;
      for (int before = 0; before < i && !own; before++)
        for (int s = 0; s < list->steps[before].loop.store_count; s++)
          own = own || list->steps[before].loop.stores[s].to.tensor == t;
      if (!own) return false;
    }
  }
  return true;
}

/* A trainer's tiles follow one another, and are few: such numbers are made where they are used first, with each tile.
 */
static void join_phases(Compilation *c, Plan *plan) {
  for (int i = 0; i + 1 < plan->phase_count; i++) {
    Phase *phase = &plan->phases[i], *next = phase + 1;
    const int count = phase->body.count;
    if (phase->kind != PHASE_STEP || next->kind != PHASE_ROWS || next->domain != 0 || !is_of_settings(&phase->body))
      continue;
    Step *steps = arena_array(c, Step, count + next->body.count);
    memcpy(steps, phase->body.steps, sizeof *steps * (size_t)count);
    memcpy(steps + count, next->body.steps, sizeof *steps * (size_t)next->body.count);
    next->body = (StepList){steps, count + next->body.count};
    memmove(phase, next, sizeof *phase * (size_t)(plan->phase_count - i - 1));
    plan->phase_count--;
  }
}

void trim_plan(Compilation *c, Plan *plan, const Unread *unread) {
  drop_outputs(plan, unread);
  join_phases(c, plan);
}
