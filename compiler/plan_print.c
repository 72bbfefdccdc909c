/* Plan printing and checking, for --dump=schedule and debug builds. Requires a placed plan. */
#include <string.h>

#include "plan_internal.h"

static const char *const phase_names[] = {"step", "rows", "gradient"};

static void print_extent(Text *text, Extent extent) {
  static const char *const variables[] = {"", "rows*", "part*"};
  text_append(text, "%s%ld", variables[extent.kind], extent.count);
}

static void print_access(Text *text, const Access *access, int dims) {
  if (access->tensor == NULL) {
    text_append(text, "%s", shortest_number(text->compilation, access->number));
    return;
  }
  text_append(text, "%s[%ld", access->tensor->name, access->offset);
  for (int d = 0; d < dims; d++) text_append(text, " +%ld", access->strides[d]);
  text_append(text, "]");
}

static void print_loop(Text *text, const Loop *loop) {
  static const char *const kinds[] = {"=", "+=", "max="};
  text_append(text, "    loop");
  for (int d = 0; d < loop->dim_count; d++) {
    text_append(text, d > 0 ? " x " : " ");
    print_extent(text, loop->extents[d]);
  }
  text_append(text, "\n");
  for (int i = 0; i < loop->instruction_count; i++) {
    const Instruction *instruction = &loop->instructions[i];
    text_append(text, "      $%d = ", i);
    if (instruction->op == OP_COUNT) {
      print_access(text, &instruction->load, loop->dim_count);
    } else {
      text_append(text, "%s", op_table[instruction->op].name);
      for (int k = 0; k < op_table[instruction->op].operands; k++) text_append(text, " $%d", instruction->operands[k]);
    }
    text_append(text, "%s\n", instruction->invariant ? "  (outside)" : "");
  }
  for (int i = 0; i < loop->store_count; i++) {
    text_append(text, "      ");
    print_access(text, &loop->stores[i].to, loop->dim_count);
    text_append(text, " %s $%d\n", kinds[loop->stores[i].kind], loop->stores[i].value);
  }
}

static void print_gemm(Text *text, const Gemm *g) {
  text_append(text, "    product");
  for (int l = 0; l < g->loop_count; l++) {
    text_append(text, g->accumulates[l] ? " sum " : " for ");
    print_extent(text, g->loops[l]);
  }
  text_append(text, " ");
  print_access(text, &g->c, g->loop_count);
  text_append(text, " %s ", g->adds || g->zeroes ? "+=" : "=");
  print_access(text, &g->a, g->loop_count);
  text_append(text, "%s @ ", g->transpose_a ? "'" : "");
  print_access(text, &g->b, g->loop_count);
  text_append(text, "%s  (", g->transpose_b ? "'" : "");
  print_extent(text, g->m);
  text_append(text, ", ");
  print_extent(text, g->n);
  text_append(text, ", ");
  print_extent(text, g->k);
  text_append(text, ")\n");
}

static void print_steps(Text *, const StepList *);

static void print_rounds(Text *text, const Rounds *rounds) {
  Text body = {.compilation = text->compilation};
  text_append(text, "    %ld rounds", rounds->count);
  if (rounds->number.tensor != NULL) text_append(text, " of number %s", rounds->number.tensor->name);
  text_append(text, "\n");
  print_steps(&body, rounds->body);
  text_indent(text, body.bytes, 2);
}

/* "to = what of a, b" */
static void print_made(Text *text, const Access *to, const char *what, const Access *of, int count, int loop_count) {
  text_append(text, "    ");
  print_access(text, to, loop_count);
  text_append(text, " = %s", what);
  for (int k = 0; k < count; k++) {
    text_append(text, k > 0 ? ", " : " ");
    print_access(text, &of[k], loop_count);
  }
}

static const char *name_of_op(const Text *text, Op op) {
  return arena_printf(text->compilation, "%s of", op_table[op].name);
}

static void print_along(Text *text, const Along *along) {
  text_append(text, "    %s = %s of %s along ", along->to.tensor->name, op_table[along->op].name,
              along->from.tensor->name);
  print_extent(text, along->extent);
  text_append(text, "\n");
}

static void print_solve(Text *text, const Solve *s) {
  const Access of[2] = {s->l, s->b};
  print_made(text, &s->to, s->transposed ? "solve of transposed" : "solve of", of, 2, s->loop_count);
  text_append(text, "\n");
}

static void print_low_rank(Text *text, const LowRankStep *l) {
  print_made(text, &l->to, name_of_op(text, l->op), l->operands, 1, l->loop_count);
  text_append(text, ", %ld factors, %ld categories\n", l->of.rank, l->of.length);
}

static void print_convolve(Text *text, const Convolve *v) {
  const Access of[2] = {v->a, v->b};
  print_made(text, &v->to, name_of_op(text, v->op), of, 2, v->loop_count);
  text_append(text, ", strips of %ld images, %ld lines\n", v->sizes[SPM_GROUP], v->sizes[SPM_LINES]);
}

static void print_line(Text *text, const Line *l) {
  print_made(text, &l->to, name_of_op(text, l->op), l->operands, l->operand_count, l->loop_count);
  text_append(text, "\n");
}

static void print_step(Text *text, const Step *step) {
  switch (step->kind) {
  case PLAN_LOOP: print_loop(text, &step->loop); break;
  case PLAN_GEMM: print_gemm(text, &step->gemm); break;
  case PLAN_ALONG: print_along(text, &step->along); break;
  case PLAN_SOLVE: print_solve(text, &step->solve); break;
  case PLAN_LOW_RANK: print_low_rank(text, &step->low_rank); break;
  case PLAN_CONVOLVE: print_convolve(text, &step->convolve); break;
  case PLAN_LINE: print_line(text, &step->line); break;
  case PLAN_TOP:
    text_append(text, "    %s = %s of %s, %s\n", step->top.to.tensor->name,
                step->top.search ? "last of the largest in all rows" : "mask of the largest", step->top.x.tensor->name,
                step->top.other.tensor->name);
    break;
  case PLAN_DRAW: text_append(text, "    draw %s\n", step->draw.to.tensor->name); break;
  case PLAN_GATHER:
  case PLAN_COLLECT:
    text_append(text, "    %s = %s of %s\n", step->members.to.tensor->name,
                step->kind == PLAN_GATHER ? "rows gathered" : "rows collected", step->members.from.tensor->name);
    break;
  case PLAN_CLEAR: text_append(text, "    clear %s\n", step->clear.to.tensor->name); break;
  case PLAN_ROUNDS: print_rounds(text, &step->rounds); break;
  }
}

static void print_steps(Text *text, const StepList *list) {
  for (int i = 0; i < list->count; i++) print_step(text, &list->steps[i]);
}

static void print_place(Text *text, const Tensor *tensor) {
  text_append(text, "%s+%ld", storage_names[tensor->storage], tensor->offset);
}

static void print_phase(Text *text, const Phase *phase, int number) {
  text_append(text, "  phase %d: %s, stage %d", number, phase_names[phase->kind], phase->stage);
  text_append(text, phase->domain > 0 ? ", domain %d\n" : "\n", phase->domain);
  print_steps(text, &phase->body);
  for (int i = 0; i < phase->statistic_count; i++) {
    const Statistic *s = &phase->statistics[i];
    text_append(text, "    statistic %s: %s over tiles -> ", s->result->name, s->maximum ? "max" : "sum");
    print_place(text, s->result);
    text_append(text, "\n");
  }
  for (int r = 0; r < phase->range_count; r++) {
    const Range *range = &phase->ranges[r];
    text_append(text, "    range %s: %ld units of %ld -> ", range->result->name, range->units, range->chunk);
    print_place(text, range->result);
    text_append(text, range->parameter >= 0 ? " (update may follow)\n" : "\n");
    print_steps(text, &range->body);
  }
}

void plan_print(Text *text, const Plan *plan) {
  text_append(text, "plan %s: values %ld, kept %ld a row, partials %ld a tile, scratch %ld + %ld a row\n", plan->name,
              plan->value_size, plan->kept_row, plan->partial_size, plan->scratch_fixed, plan->scratch_row);
  for (int t = 0; t < plan->tensor_count; t++) {
    const Tensor *tensor = plan->tensors[t];
    if (tensor->first_phase < 0) continue;
    text_append(text, "  %s: ", tensor->name);
    print_place(text, tensor);
    text_append(text, ", %ld%s", tensor->size, tensor->rows ? " a row" : "");
    if (tensor->in_place_of != NULL) text_append(text, ", in place of %s", tensor->in_place_of->name);
    text_append(text, "\n");
  }
  for (int p = 0; p < plan->phase_count; p++) print_phase(text, &plan->phases[p], p);
  for (int i = 0; i < plan->output_count; i++) {
    const PlanOutput *o = &plan->outputs[i];
    text_append(text, "  output %s %s: ", output_role_names[o->role], o->name != NULL ? o->name : "");
    print_place(text, o->tensor);
    text_append(text, "\n");
  }
}

/* --- checks --- */

static bool readable_before_written(Storage storage) {
  return storage == STORE_PARAMETER || storage == STORE_DATA || storage == STORE_STATE || storage == STORE_ROW_STATE ||
         storage == STORE_GIVEN || storage == STORE_SETTING || storage == STORE_TABLE;
}

typedef struct Check {
  const Plan *plan;
  bool *written;    /* by tensor */
  bool *taken_over; /* another value was written in its place */
  const char *problem;
} Check;

/* What lies in the same place is no longer there. */
static void note_written(Check *check, const Tensor *t) {
  check->written[t->id] = true;
  check->taken_over[t->id] = false;
  for (int o = 0; o < check->plan->tensor_count; o++) {
    const Tensor *other = check->plan->tensors[o];
    bool meets = other != t && other->storage == t->storage && other->domain == t->domain && check->written[o] &&
                 other->offset < t->offset + t->size && t->offset < other->offset + other->size &&
                 t->storage != STORE_RANGE;
    if (meets) check->taken_over[o] = true;
  }
}

static void check_steps(Check *, const StepList *);

/* Twice: what a round leaves behind must do for the next one. */
static void check_rounds(Check *check, const Rounds *rounds) {
  if (rounds->number.tensor != NULL) check->written[rounds->number.tensor->id] = true;
  check_steps(check, rounds->body);
  check_steps(check, rounds->body);
}

static void check_steps(Check *check, const StepList *list) {
  Compilation *c = check->plan->compilation;
  for (int i = 0; i < list->count; i++) {
    if (list->steps[i].kind == PLAN_ROUNDS) {
      check_rounds(check, &list->steps[i].rounds);
      continue;
    }
    Use *uses;
    int count = step_uses(c, &list->steps[i], &uses);
    for (int u = 0; u < count && check->problem == NULL; u++) {
      const Tensor *t = uses[u].access->tensor;
      if (uses[u].writes && readable_before_written(t->storage))
        check->problem = arena_printf(c, "%s of %s is written", t->name, check->plan->name);
      else if (!uses[u].writes && !readable_before_written(t->storage) &&
               (!check->written[t->id] || check->taken_over[t->id]))
        check->problem = arena_printf(c, "%s of %s is read before it is written, or after its memory was used again",
                                      t->name, check->plan->name);
    }
    for (int u = 0; u < count; u++)
      if (uses[u].writes) note_written(check, uses[u].access->tensor);
  }
}

/* Every value is written before it is read and is still there; outputs are where the caller looks for them. */
const char *plan_verify(const Plan *plan) {
  Check check = {.plan = plan};
  check.written = arena_array(plan->compilation, bool, plan->tensor_count);
  check.taken_over = arena_array(plan->compilation, bool, plan->tensor_count);
  for (int p = 0; p < plan->phase_count && check.problem == NULL; p++) {
    const Phase *phase = &plan->phases[p];
    check_steps(&check, &phase->body);
    for (int i = 0; i < phase->statistic_count; i++) note_written(&check, phase->statistics[i].result);
    for (int r = 0; r < phase->range_count; r++) {
      check_steps(&check, &phase->ranges[r].body);
      note_written(&check, phase->ranges[r].result);
    }
  }
  for (int i = 0; i < plan->output_count && check.problem == NULL; i++) {
    const Tensor *t = plan->outputs[i].tensor;
    bool place = t->storage == STORE_VALUES || t->storage == STORE_KEPT || t->storage == STORE_GRADIENT ||
                 t->storage == STORE_STATE_NEXT;
    if (!place || !check.written[t->id] || check.taken_over[t->id])
      check.problem =
          arena_printf(plan->compilation, "output %d of %s is not where the caller can read it", i, plan->name);
  }
  return check.problem;
}
