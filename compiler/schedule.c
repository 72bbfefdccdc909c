/* Schedule: a simplified graph -> a plan: phases, each an ordered list of loops and products over planned memory.
 *
 * A value's stage is the number of reductions over the batch that stand before it: stage t is computed in step phase t
 * or row phase t, a sum over the batch of values of stage t is known from stage t + 1 on. Requires a verified graph;
 * leaves every tensor placed and every step in its phase. */
#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "plan_internal.h"

const char *const storage_names[STORE_COUNT] = {"parameter", "data",    "state",    "row_state",  "given",
                                                "setting",   "table",   "values",   "fixed",      "tile",
                                                "kept",      "partial", "gradient", "state_next", "range"};

/* --- names and tensors --- */

/* Names that generated functions use themselves, C's own and libm's: a spec may well call something `log` or `rows`. */
static const char *const taken_names[] = {
    "call",     "scratch",  "unit",       "rows",    "first",  "out",      "n",      "i",       "j",        "real",
    "part",     "from",     "count",      "end",     "block",  "top",      "sizes",  "strides", "auto",     "break",
    "case",     "char",     "const",      "do",      "else",   "double",   "float",  "for",     "goto",     "if",
    "int",      "long",     "return",     "short",   "signed", "static",   "switch", "union",   "void",     "while",
    "inline",   "enum",     "main",       "default", "struct", "register", "sizeof", "typedef", "volatile", "extern",
    "unsigned", "continue", "restrict",   "sin",     "cos",    "tan",      "asin",   "acos",    "atan",     "sinh",
    "cosh",     "tanh",     "exp",        "exp2",    "expm1",  "log",      "log2",   "log10",   "log1p",    "logb",
    "pow",      "sqrt",     "cbrt",       "hypot",   "erf",    "erfc",     "lgamma", "tgamma",  "floor",    "ceil",
    "round",    "trunc",    "fabs",       "fmod",    "fma",    "nan",      "fmax",   "fmin",    "fdim",     "rint",
    "gamma",    "y0",       "y1",         "j0",      "j1",     "jn",       "yn",     "abs",     "div",      "left",
    "tile",     "capacity", "parameters", "values",  "kept",   "partials", "asm",    "typeof",  "alignas",  "alignof",
    "bool",     "nullptr",  "constexpr",  "errno",   "stdin",  "stdout",   "stderr", "signgam", "linux",    "unix",
    "each",     NULL};
static const char *const taken_prefixes[] = {"strip_", "scalar_", "number_", "term_",        "gather_", "model_", "vm_",
                                             "sp_",    "spm_",    "static_", "thread_local", "typeof_", NULL};

static bool is_numbered(const char *name, const char *variable) {
  size_t length = strlen(variable);
  return strncmp(name, variable, length) == 0 && strspn(name + length, "0123456789") == strlen(name + length);
}

bool name_is_capital(const char *name) {
  size_t length = strlen(name);
  return length > 2 && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == length;
}

static bool name_is_internal(const char *name) {
  for (int i = 0; taken_names[i] != NULL; i++)
    if (strcmp(taken_names[i], name) == 0) return true;
  for (int i = 0; taken_prefixes[i] != NULL; i++)
    if (strncmp(taken_prefixes[i], name, strlen(taken_prefixes[i])) == 0) return true;
  return name_is_capital(name) || is_numbered(name, "i") || is_numbered(name, "round") || name[strlen(name) - 1] == '_';
}

typedef struct TakenName {
  Name name;
  int last; /* number of the last name made of it: h_2, h_3, ... */
} TakenName;

/* The entry of a name; one without a name if it is not taken. */
static TakenName *find_name(TakenName *names, long capacity, Name name) {
  unsigned long at = (unsigned long)name * 0x9e3779b97f4a7c15ul >> 32;
  for (;; at++) {
    TakenName *entry = &names[at % (unsigned long)capacity];
    if (entry->name == name || entry->name == NULL) return entry;
  }
}

static TakenName *take_name(Plan *plan, Name name) {
  if (2 * plan->name_count >= plan->name_capacity) {
    long capacity = plan->name_capacity ? 2 * plan->name_capacity : 64;
    TakenName *larger = arena_array(plan->compilation, TakenName, capacity);
    for (long i = 0; i < plan->name_capacity; i++)
      if (plan->names[i].name != NULL) *find_name(larger, capacity, plan->names[i].name) = plan->names[i];
    plan->names = larger;
    plan->name_capacity = capacity;
  }
  TakenName *entry = find_name(plan->names, plan->name_capacity, name);
  plan->name_count += entry->name == NULL;
  return entry;
}

/* As many as a long loop written out makes of one: each begins to count where the last one has ended. */
static Name unique_name(Scheduler *s, const char *wanted, const char *role) {
  char *text = arena_printf(s->compilation, "%s%s%s", wanted, role[0] != '\0' ? "_" : "", role);
  for (char *at = text; *at != '\0'; at++)
    if (!isalnum((unsigned char)*at)) *at = '_';
  if (!isalpha((unsigned char)text[0])) text = arena_printf(s->compilation, "v%s", text);
  if (name_is_internal(text)) text = arena_printf(s->compilation, "the_%s_value", text);
  Name base = intern(s->compilation, text), name = base;
  TakenName *first = take_name(s->plan, base), *entry = first;
  int number = first->name == NULL ? 1 : first->last;
  while (entry->name != NULL) {
    name = intern(s->compilation, arena_printf(s->compilation, "%s_%d", text, ++number));
    entry = take_name(s->plan, name);
  }
  *entry = (TakenName){name, 1};
  find_name(s->plan->names, s->plan->name_capacity, base)->last = number;
  return name;
}

Tensor *tensor_create(Scheduler *s, const Node *node, Storage storage, int index, bool rows, long size,
                      const char *role) {
  Plan *plan = s->plan;
  plan->tensors = arena_grow(s->compilation, plan->tensors, plan->tensor_count, sizeof *plan->tensors);
  Tensor *tensor = arena_new(s->compilation, Tensor);
  *tensor =
      (Tensor){.id = plan->tensor_count, .storage = storage, .index = index, .size = size, .rows = rows, .node = node};
  if (rows) tensor->domain = domain_of(plan, node);
  const char *wanted =
      node->name != NULL ? node->name : arena_printf(s->compilation, "%s_%d", op_table[node->op].name, node->id);
  if (storage == STORE_PARAMETER) wanted = s->graph->signature->parameters[index].name;
  if (storage == STORE_DATA) wanted = s->graph->signature->data[index].name;
  if (storage == STORE_STATE) wanted = s->graph->signature->states[index].name;
  if (storage == STORE_GIVEN) wanted = s->graph->signature->givens[index].name;
  if (storage == STORE_ROW_STATE) wanted = s->graph->signature->row_states[index].name;
  if (storage == STORE_SETTING) wanted = setting_names[index];
  if (node->op == IR_noise || node->op == IR_inner_noise)
    wanted = node->index < 0 ? "row_number" : s->graph->signature->noises[node->index].name;
  tensor->name = unique_name(s, wanted, role);
  plan->tensors[plan->tensor_count++] = tensor;
  return tensor;
}

static long *offsets_of(Compilation *c, int count, long (*size)(const Signature *, int), const Signature *signature) {
  long *offsets = arena_array(c, long, count + 1);
  for (int i = 0; i < count; i++) {
    long padded = (size(signature, i) + PADDING - 1) / PADDING * PADDING;
    offsets[i + 1] = offsets[i] + padded;
  }
  return offsets;
}

static long parameter_size(const Signature *signature, int index) {
  return shape_size(&signature->parameters[index].shape);
}

static long state_size(const Signature *signature, int index) { return shape_size(&signature->states[index].shape); }

long *parameter_offsets(Compilation *c, const Signature *signature) {
  return offsets_of(c, signature->parameter_count, parameter_size, signature);
}

long *state_offsets(Compilation *c, const Signature *signature) {
  return offsets_of(c, signature->state_count, state_size, signature);
}

Step *step_append(Compilation *c, StepList *list, StepKind kind, const Node *node) {
  list->steps = arena_grow(c, list->steps, list->count, sizeof *list->steps);
  Step *step = &list->steps[list->count++];
  memset(step, 0, sizeof *step);
  step->kind = kind;
  step->node = node;
  return step;
}

Access operand_access(Scheduler *s, const Node *node) { return s->infos[node->id].view; }

/* --- what becomes of each node --- */

static bool reduces_batch(const Node *node) {
  return (node->op == IR_sum_over || node->op == IR_max_over || node->op == IR_contract ||
          node->op == IR_convolve_filters || node->op == IR_low_rank_weights) &&
         (node->axes_attribute & AXIS_DATUM) != 0;
}

/* Reads all rows of a value at once: the whole batch's rows must be there, so it belongs to the next stage's step. */
static bool gathers_batch(const Node *node) { return node->op == IR_top_mask_over && node->exclusive; }

static void find_users(Scheduler *s) {
  for (int i = 0; i < s->count; i++)
    for (int k = 0; k < s->nodes[i]->operand_count; k++) s->infos[s->nodes[i]->operands[k]->id].use_count++;
  for (int i = 0; i < s->count; i++) {
    s->infos[i].users = arena_array(s->compilation, int, s->infos[i].use_count);
    s->infos[i].use_count = 0;
  }
  for (int i = 0; i < s->count; i++)
    for (int k = 0; k < s->nodes[i]->operand_count; k++) {
      Info *operand = &s->infos[s->nodes[i]->operands[k]->id];
      operand->users[operand->use_count++] = i;
    }
  for (int i = 0; i < s->output_count; i++) s->infos[s->outputs[i].value->id].is_output = true;
}

static void place_leaf(Scheduler *s, Info *info, Storage storage) {
  const Node *node = info->node;
  info->treatment = TREAT_LEAF;
  for (int t = 0; t < s->plan->tensor_count && info->tensor == NULL && storage != STORE_TABLE; t++)
    if (s->plan->tensors[t]->storage == storage && s->plan->tensors[t]->index == node->index)
      info->tensor = s->plan->tensors[t];
  if (info->tensor == NULL)
    info->tensor = tensor_create(s, node, storage, storage == STORE_TABLE ? node->id : node->index, info->row,
                                 value_size(s, node), "");
  if (storage == STORE_PARAMETER) info->tensor->offset = s->parameter_offset[node->index];
  if (storage == STORE_STATE) info->tensor->offset = s->state_offset[node->index];
  info->view = access_whole(s, node, info->tensor);
}

/* Memory of its own, should it turn out to need any. */
static void place_computed(Scheduler *s, Info *info) {
  const Node *node = info->node;
  long size = value_size(s, node);
  info->treatment = TREAT_STEP;
  info->statistic = reduces_batch(node);
  if (info->statistic && product_is_matrix_like(s, node)) {
    info->statistic = false;
    info->treatment = TREAT_RANGE;
    info->terms = arena_array(s->compilation, Node *, 1);
    info->terms[0] = info->node;
    info->term_count = 1;
  }
  bool later = info->statistic || info->treatment == TREAT_RANGE;
  Storage storage = info->row ? STORE_TILE : later ? STORE_VALUES : STORE_FIXED;
  info->tensor = tensor_create(s, node, storage, -1, info->row, size, "");
  if (info->statistic) info->partial = tensor_create(s, node, STORE_PARTIAL, -1, false, size, "partial");
  info->view = access_whole(s, node, info->tensor);
}

static void place_node(Scheduler *s, Info *info) {
  Node *node = info->node;
  switch (op_table[node->op].kind) {
  case KIND_LOOP:
    if (node->op == IR_repeat) {
      info->treatment = TREAT_STEP;
      place_repeat(s, info);
    } else {
      info->treatment = TREAT_STEP; /* the loop's; nothing is left to do */
      info->tensor = s->infos[node->operands[0]->id].carried[node->index];
      info->view = access_whole(s, node, info->tensor);
    }
    return;
  case KIND_LEAF:
    if (node->op == IR_carried || node->op == IR_captured || node->op == IR_round) {
      place_loop_leaf(s, info);
    } else if (node->op == IR_constant) {
      info->treatment = TREAT_NUMBER;
      info->view = (Access){.number = node->number};
    } else if (node->op == IR_noise) {
      place_computed(s, info);
    } else {
      place_leaf(s, info,
                 node->op == IR_parameter   ? STORE_PARAMETER
                 : node->op == IR_state     ? STORE_STATE
                 : node->op == IR_row_state ? STORE_ROW_STATE
                 : node->op == IR_given     ? STORE_GIVEN
                 : node->op == IR_setting   ? STORE_SETTING
                 : node->op == IR_table     ? STORE_TABLE
                                            : STORE_DATA);
    }
    return;
  case KIND_VIEW:
  case KIND_OTHER: {
    Access operand = operand_access(s, node->operands[0]);
    info->treatment = TREAT_VIEW;
    if (!view_through(node, &operand, &info->view)) place_computed(s, info);
    return;
  }
  case KIND_OVER:
    if (node->op == IR_pick || node->op == IR_place) {
      Access operand = operand_access(s, node->operands[0]);
      info->treatment = TREAT_VIEW;
      if (view_through(node, &operand, &info->view)) return;
    }
    place_computed(s, info);
    return;
  case KIND_MAP:
  case KIND_REDUCE:
  case KIND_LINE:
  case KIND_PRODUCT: place_computed(s, info); return;
  }
}

static int later(int a, int b) { return a > b ? a : b; }

static void analyse(Scheduler *s) {
  s->infos = arena_array(s->compilation, Info, s->count);
  for (int i = 0; i < s->count; i++) {
    Info *info = &s->infos[i];
    Node *node = info->node = s->nodes[i];
    info->row = (node->axes & AXIS_DATUM) != 0;
    for (int k = 0; k < node->operand_count; k++) {
      int stage = s->infos[node->operands[k]->id].stage;
      if (stage > info->stage) info->stage = stage;
    }
    for (int v = 0; v < MAX_SUPPORTS; v++) /* rows of members are known after their weights */
      if (row_axes(node) & (unsigned)AXIS_SUPPORT << v && s->weights[v] != NULL)
        info->stage = later(info->stage, s->infos[s->weights[v]->id].stage + 1);
    if (reduces_batch(node) || gathers_batch(node) || (crosses(node) && row_axes(node->operands[0]) != 0))
      info->stage++;
    if (info->stage >= s->stages) s->stages = info->stage + 1;
    place_node(s, info);
  }
  find_users(s);
}

/* What a permuted product left behind. */
static void drop_unused(Scheduler *s) {
  for (int i = 0; i < s->count; i++)
    if (s->infos[i].use_count == 0 && !s->infos[i].is_output) s->infos[i].treatment = TREAT_UNUSED;
}

static Info *base_of(Scheduler *s, const Node *value) {
  while (s->infos[value->id].treatment == TREAT_VIEW) value = value->operands[0];
  return &s->infos[value->id];
}

static bool is_private_range(const Info *info) {
  return info->treatment == TREAT_RANGE && info->use_count == 1 && !info->is_output;
}

/* A sum of products over the batch is one range: the second product adds to the first. */
static void join_ranges(Scheduler *s) {
  for (int i = 0; i < s->count; i++) {
    Info *info = &s->infos[i];
    if (info->node->op != IR_add || info->treatment != TREAT_STEP) continue;
    Info *a = &s->infos[info->node->operands[0]->id], *b = &s->infos[info->node->operands[1]->id];
    if (a == b || !is_private_range(a) || !is_private_range(b) || a->node->axes != b->node->axes) continue;
    info->treatment = TREAT_RANGE;
    info->tensor->storage = STORE_VALUES;
    info->term_count = a->term_count + b->term_count;
    info->terms = arena_array(s->compilation, Node *, info->term_count);
    memcpy(info->terms, a->terms, sizeof(Node *) * (size_t)a->term_count);
    memcpy(info->terms + a->term_count, b->terms, sizeof(Node *) * (size_t)b->term_count);
    a->treatment = b->treatment = TREAT_TERM;
  }
}

static void find_wanted(Scheduler *s) {
  for (int i = 0; i < s->count; i++) {
    Info *info = &s->infos[i];
    if (info->treatment == TREAT_STEP || info->treatment == TREAT_FUSED)
      for (int k = 0; k < info->node->operand_count; k++) base_of(s, info->node->operands[k])->tensor_read = true;
    info->wanted_in_memory = info->is_output;
    for (int u = 0; u < info->use_count; u++) {
      const Info *user = &s->infos[info->users[u]];
      if (info->group == NULL || group_of(user) != group_of(info)) info->wanted_in_memory = true;
    }
  }
}

/* --- phases --- */

/* A stage: its step phase, a row phase for each domain, its gradient phase. */
static int phases_a_stage(const Scheduler *s) { return s->plan->domain_count + 2; }

/* Phases are numbered before the empty ones are left out; the last one holds the ranges nothing else reads. */
static Phase *phase_at(Scheduler *s, int stage, PhaseKind kind, int domain) {
  int within = kind == PHASE_STEP ? 0 : kind == PHASE_ROWS ? 1 + domain : phases_a_stage(s) - 1;
  return &s->plan->phases[stage * phases_a_stage(s) + within];
}

StepList *row_list(Scheduler *s, const Node *operand) {
  return &phase_at(s, s->infos[operand->id].stage, PHASE_ROWS, domain_of(s->plan, operand))->body;
}

/* In a loop: what depends on no round is copied once, before it. */
static StepList *loop_copy_list(Scheduler *s, const Node *operand, StepList *list) {
  const Node *base = base_of(s, operand)->node;
  if (base->op != IR_captured) return list;
  const Node *outside = s->loop->operands[s->graph->output_count + base->index];
  if ((operand->axes ^ outside->axes) & AXIS_DATUM) return s->outer_list; /* repeated for each row */
  return copy_list(s->outer, outside, s->outer_list);
}

StepList *copy_list(Scheduler *s, const Node *operand, StepList *list) {
  if (s->outer != NULL) return loop_copy_list(s, operand, list);
  if (operand->axes & AXIS_DATUM) return list;
  return &phase_at(s, s->infos[operand->id].stage, PHASE_STEP, 0)->body;
}

static Phase *last_phase(Scheduler *s) { return &s->plan->phases[s->plan->phase_count - 1]; }

/* Whose rows a statistic or a range is taken over. */
static int reduced_domain(const Scheduler *s, const Node *node) {
  for (int k = 0; k < node->operand_count; k++)
    if (row_axes(node->operands[k]) != 0) return domain_of(s->plan, node->operands[k]);
  return 0;
}

static Phase *phase_of(Scheduler *s, const Info *info) {
  const Group *group = group_of(info);
  const Node *node = group != NULL ? s->nodes[group->members[0]] : info->node;
  if (group != NULL) return phase_at(s, group->stage, group->row ? PHASE_ROWS : PHASE_STEP, domain_of(s->plan, node));
  if (info->statistic) return phase_at(s, info->stage - 1, PHASE_ROWS, reduced_domain(s, node));
  return phase_at(s, info->stage, info->row ? PHASE_ROWS : PHASE_STEP, domain_of(s->plan, node));
}

static void add_statistic(Scheduler *s, Phase *phase, const Info *info) {
  phase->statistics = arena_grow(s->compilation, phase->statistics, phase->statistic_count, sizeof *phase->statistics);
  phase->statistics[phase->statistic_count++] =
      (Statistic){.partial = info->partial, .result = info->tensor, .maximum = info->node->op == IR_max_over};
}

static void draw_step(Scheduler *s, const Node *node, StepList *list) {
  Draw draw = {.noise = node->index, .to = result_access(s, node)};
  if (node->op == IR_inner_noise) draw.inner = operand_access(s, node->operands[0]);
  step_append(s->compilation, list, PLAN_DRAW, node)->draw = draw;
}

static void node_steps(Scheduler *s, const Node *node, StepList *list) {
  if (crosses(node)) {
    member_steps(s, node, list);
    return;
  }
  switch (op_table[node->op].kind) {
  case KIND_LOOP:
    if (node->op == IR_repeat) repeat_steps(s, node, list);
    return;
  case KIND_LEAF: draw_step(s, node, list); return;
  case KIND_PRODUCT: product_steps(s, node, list); return;
  case KIND_VIEW: layout_steps(s, node, list); return;
  case KIND_LINE: line_steps(s, node, list); return;
  case KIND_REDUCE:
  case KIND_OVER:
    if (node->op == IR_top_mask_over)
      top_steps(s, node, list);
    else if (reduced_dims(node) != 0)
      reduction_steps(s, node, list);
    else
      along_steps(s, node, list);
    return;
  case KIND_OTHER:
    if (node->op == IR_lower_part)
      along_steps(s, node, list);
    else if (node->op == IR_solve_triangular)
      solve_steps(s, node, list);
    else if (node->op == IR_low_rank_fit || node->op == IR_low_rank_weights)
      low_rank_steps(s, node, list);
    else if (node->stride != 0)
      convolve_steps(s, node, list);
    else if (node->op == IR_inner_noise)
      draw_step(s, node, list);
    else
      layout_steps(s, node, list);
    return;
  case KIND_MAP: return; /* always in a group */
  }
}

static void add_range(Scheduler *s, const Info *info) {
  bool alone = !info->tensor_read;
  Phase *phase = alone ? last_phase(s) : phase_at(s, info->stage - 1, PHASE_GRADIENT, 0);
  phase->ranges = arena_grow(s->compilation, phase->ranges, phase->range_count, sizeof *phase->ranges);
  Range *range = &phase->ranges[phase->range_count++];
  long leading = product_leading(s, info->node), part = product_part(leading);
  bool final = alone && info->tensor->storage == STORE_GRADIENT;
  *range = (Range){.result = info->tensor, .parameter = final ? info->tensor->index : -1, .node = info->node};
  range->part = part;
  range->leading = leading;
  range->units = (leading + part - 1) / part;
  range->chunk = part * (info->tensor->size / leading);
  range->out = tensor_create(s, info->node, STORE_RANGE, -1, false, info->tensor->size, "range");
  range->out->name = intern(s->compilation, "out"); /* the function's parameter */
  for (int t = 0; t < info->term_count; t++) {
    product_part_step(s, info->terms[t], range->out, t > 0, &range->body);
    range->body.steps[range->body.count - 1].domain = reduced_domain(s, info->terms[t]);
  }
}

/* Steps of a value after those of all it needs. */
static void visit(Scheduler *s, int id) {
  Info *info = &s->infos[id];
  if (info->visited) return;
  const Group *group = group_of(info);
  int count = group != NULL ? group->count : 1;
  for (int m = 0; m < count; m++) s->infos[group != NULL ? group->members[m] : id].visited = true;
  for (int m = 0; m < count; m++) {
    const Node *member = s->nodes[group != NULL ? group->members[m] : id];
    for (int k = 0; k < member->operand_count; k++) visit(s, member->operands[k]->id);
  }
  StepList *list = s->list != NULL ? s->list : &phase_of(s, info)->body;
  if (group != NULL) {
    group_steps(s, group, list);
    for (int m = 0; m < count; m++)
      if (s->infos[group->members[m]].statistic) add_statistic(s, phase_of(s, info), &s->infos[group->members[m]]);
  } else if (info->treatment == TREAT_STEP) {
    node_steps(s, info->node, list);
    if (info->statistic) add_statistic(s, phase_of(s, info), info);
  } else if (info->treatment == TREAT_RANGE) {
    add_range(s, info);
  }
}

static void create_phases(Scheduler *s) {
  Plan *plan = s->plan;
  plan->phase_count = s->stages * phases_a_stage(s) + 1;
  plan->phases = arena_array(s->compilation, Phase, plan->phase_count);
  for (int stage = 0; stage < s->stages; stage++) {
    *phase_at(s, stage, PHASE_STEP, 0) = (Phase){.kind = PHASE_STEP, .stage = stage};
    for (int domain = 0; domain < plan->domain_count; domain++)
      *phase_at(s, stage, PHASE_ROWS, domain) = (Phase){.kind = PHASE_ROWS, .stage = stage, .domain = domain};
    *phase_at(s, stage, PHASE_GRADIENT, 0) = (Phase){.kind = PHASE_GRADIENT, .stage = stage};
  }
  *last_phase(s) = (Phase){.kind = PHASE_GRADIENT, .stage = s->stages - 1};
}

static void drop_empty_phases(Plan *plan) {
  int kept = 0;
  for (int p = 0; p < plan->phase_count; p++)
    if (plan->phases[p].body.count > 0 || plan->phases[p].range_count > 0) plan->phases[kept++] = plan->phases[p];
  plan->phase_count = kept;
}

/* --- outputs --- */

/* The tensor of its own that holds exactly this value: reshapes move nothing. */
static Info *holder_of(Scheduler *s, const Node *value) {
  const Access *view = &s->infos[value->id].view;
  Info *info = base_of(s, value);
  bool computed = info->treatment == TREAT_STEP || info->treatment == TREAT_FUSED || info->treatment == TREAT_RANGE;
  return computed && access_is_whole(s, value, view) && view->tensor == info->tensor ? info : NULL;
}

Tensor *tensor_of_own(Scheduler *s, const Node *value) {
  const Info *holder = holder_of(s, value);
  return holder != NULL ? holder->tensor : NULL;
}

/* May this output's buffer be the value's own memory? Claims it if so. */
static bool claim(Scheduler *s, Info *holder, Storage storage, int index, long offset) {
  Tensor *tensor = holder->tensor;
  bool by_driver = holder->statistic || holder->treatment == TREAT_RANGE;
  if (tensor->storage == STORE_GRADIENT || tensor->storage == STORE_STATE_NEXT) return false;
  if (storage == STORE_STATE_NEXT && by_driver) return false;
  tensor->storage = storage;
  tensor->index = index;
  tensor->offset = offset;
  if (storage == STORE_GRADIENT) tensor->name = unique_name(s, s->graph->signature->parameters[index].name, "gradient");
  return true;
}

static bool needs_own_place(OutputRole role) { return role == OUTPUT_GRADIENT || role == OUTPUT_STATE; }

static Tensor *output_tensor(Scheduler *s, const Output *output) {
  Info *holder = holder_of(s, output->value);
  bool own = needs_own_place(output->role);
  bool gradient = output->role == OUTPUT_GRADIENT;
  Storage storage = gradient ? STORE_GRADIENT : STORE_STATE_NEXT;
  long offset = !own ? 0 : gradient ? s->parameter_offset[output->index] : s->state_offset[output->index];
  if (holder != NULL && (own ? claim(s, holder, storage, output->index, offset) : true)) return holder->tensor;
  bool rows = (output->value->axes & AXIS_DATUM) != 0;
  Tensor *tensor = tensor_create(s, output->value,
                                 rows  ? STORE_TILE
                                 : own ? storage
                                       : STORE_FIXED,
                                 output->index, rows, value_size(s, output->value), "output");
  tensor->offset = offset;
  return tensor;
}

/* Which outputs are copies, and where the others' values live: before steps are made, since those of a range depend
 * on it. */
static void plan_outputs(Scheduler *s) {
  Plan *plan = s->plan;
  plan->outputs = arena_array(s->compilation, PlanOutput, s->output_count);
  plan->output_count = s->output_count;
  for (int pass = 0; pass < 2; pass++) /* those with a place of their own first */
    for (int i = 0; i < s->output_count; i++) {
      const Output *output = &s->outputs[i];
      if (needs_own_place(output->role) != (pass == 0)) continue;
      Tensor *tensor = output_tensor(s, output);
      plan->outputs[i] = (PlanOutput){output->role, output->name, output->index, tensor};
    }
  for (int i = 0; i < s->output_count; i++) { /* a copy of a range is taken after it */
    Info *base = base_of(s, s->outputs[i].value);
    if (base->tensor != plan->outputs[i].tensor) base->tensor_read = true;
  }
}

static void copy_outputs(Scheduler *s) {
  for (int i = 0; i < s->output_count; i++) {
    const Node *value = s->outputs[i].value;
    Tensor *tensor = s->plan->outputs[i].tensor;
    if (s->infos[value->id].view.tensor == tensor) continue;
    bool rows = (value->axes & AXIS_DATUM) != 0;
    Extent extents[PLAN_DIMS];
    int dims = space_of(s, value, extents);
    Phase *phase = phase_at(s, s->infos[value->id].stage, rows ? PHASE_ROWS : PHASE_STEP, 0);
    copy_step(s, value, operand_access(s, value), access_whole(s, value, tensor), extents, dims, &phase->body);
  }
}

static void schedule_nodes(Scheduler *s) {
  lower_graph(s);
  analyse(s);
  drop_unused(s);
  join_ranges(s);
  fuse_nodes(s);
  find_wanted(s);
}

void schedule_body(Scheduler *s) {
  schedule_nodes(s);
  for (int i = 0; i < s->count; i++) visit(s, i);
}

Plan *schedule(const Graph *graph) {
  Compilation *c = graph->compilation;
  Scheduler *s = arena_new(c, Scheduler);
  *s = (Scheduler){.compilation = c, .graph = graph, .stages = 1};
  Plan *plan = s->plan = arena_new(c, Plan);
  plan->compilation = c;
  plan->signature = graph->signature;
  plan->name = graph->name;
  plan->samples = graph->samples;
  plan->domains = arena_grow(c, NULL, 0, sizeof *plan->domains);
  plan->domains[plan->domain_count++] = (Domain){.axes = AXIS_DATUM};
  s->parameter_offset = parameter_offsets(c, graph->signature);
  s->state_offset = state_offsets(c, graph->signature);
  schedule_nodes(s);
  create_phases(s);
  plan_outputs(s);
  for (int i = 0; i < s->count; i++) visit(s, i);
  copy_outputs(s);
  drop_empty_phases(plan);
  place_memory(s);
  return plan;
}
