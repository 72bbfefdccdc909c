/* A model's signature and plans -> what its header says in a comment, so that a host knows what to hand in and what to
 * ask for: data, parameters, what rows own, and the outputs of the programs that a host runs. */
#include "compiler.h"
#include "front.h"
#include "plan_internal.h"

#include <string.h>

/* "[H, D] = [400, 784]"; only the names where they say it all. */
static const char *sized(Compilation *c, const Shape *s) {
  const char *names = shape_text(c, s);
  if (s->rank == 0) return names;
  Text t = {.compilation = c};
  for (int i = 0; i < s->rank; i++) text_append(&t, "%s%ld", i ? ", " : "[", (long)s->dims[i].size);
  text_append(&t, "]");
  return strcmp(names, t.bytes) == 0 ? names : arena_printf(c, "%s = %s", names, t.bytes);
}

/* What an output is to a host; NULL: nothing. */
static const char *meaning(Compilation *c, const PlanOutput *o) {
  switch (o->role) {
  case OUTPUT_OBJECTIVE: return "what is maximised";
  case OUTPUT_TERM: return "a term of the objective";
  case OUTPUT_METRIC: return "a metric";
  case OUTPUT_SHARE: return NULL; /* is called like its metric, which is found first */
  case OUTPUT_VALUE: return "a schedule";
  case OUTPUT_ROWS:
    return arena_printf(c, "%s, for each row", o->tensor->node ? sized(c, &o->tensor->node->shape) : "numbers");
  case OUTPUT_GRADIENT:
  case OUTPUT_STATE:
  case OUTPUT_INITIAL:
  case OUTPUT_EXPORT:
  case OUTPUT_SOLVED:
  case OUTPUT_ROW_GRADIENT:
  case OUTPUT_ROW_NEXT:
  case OUTPUT_ROW_INITIAL:
  case OUTPUT_SUPPORT:
  case OUTPUT_NEXT:
  case OUTPUT_ROLE_COUNT: break;
  }
  return NULL;
}

static bool has_share(const Plan *plan, Name metric) {
  for (int i = 0; i < plan->output_count; i++)
    if (plan->outputs[i].role == OUTPUT_SHARE && plan->outputs[i].name == metric) return true;
  return false;
}

static void list_outputs(Compilation *c, const Plan *plan, const char *how, Text *out) {
  int listed = 0;
  for (int i = 0; i < plan->output_count; i++) {
    const PlanOutput *o = &plan->outputs[i];
    const char *what = meaning(c, o);
    if (!what) continue;
    if (listed++ == 0) text_append(out, "\n * Outputs of %s:", how);
    text_append(out, "\n *   %s : %s%s", o->name, what,
                o->role == OUTPUT_METRIC && has_share(plan, o->name) ? " of some rows, and 0 on the others" : "");
  }
}

void list_exports(Compilation *c, const Signature *s, Plan *const *plans, int count, Text *out) {
  static const struct {
    ProgramKind program;
    const char *how;
  } run[] = {{PROGRAM_TRAIN, "a step (\"train\"), one number each, for the batch"},
             {PROGRAM_EVALUATE, "\"evaluate\", one number each, for the batch"},
             {PROGRAM_MEASURE, "\"measure\", which also takes what is too slow for \"evaluate\""},
             {PROGRAM_ENCODE, "\"encode\""},
             {PROGRAM_RECONSTRUCT, "\"reconstruct\""},
             {PROGRAM_SAMPLE, "\"sample\""}};
  text_append(out, "/* Data, in the order of `data`:");
  for (int i = 0; i < s->data_count; i++)
    text_append(out, "\n *   %s : %s", s->data[i].name, sized(c, &s->data[i].shape));
  text_append(out, "\n * Parameters:");
  for (int i = 0; i < s->parameter_count; i++)
    text_append(out, "\n *   %s : %s", s->parameters[i].name, sized(c, &s->parameters[i].shape));
  if (s->row_state_count > 0) text_append(out, "\n * What each row owns:");
  for (int i = 0; i < s->row_state_count; i++)
    text_append(out, "\n *   %s : %s", s->row_states[i].name, sized(c, &s->row_states[i].shape));
  for (size_t r = 0; r < sizeof run / sizeof *run; r++)
    for (int p = 0; p < count; p++)
      if (strcmp(plans[p]->name, program_names[run[r].program]) == 0) list_outputs(c, plans[p], run[r].how, out);
  text_append(out, " */\n\n");
}
