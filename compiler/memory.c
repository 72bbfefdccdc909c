/* Memory: steps in order -> when each tensor lives -> which buffer it is in, and where. A value that a later phase
 * reads lives in `values` or `kept`, all others in a thread's scratch. Dead memory is used again, and an elementwise
 * result takes the place of an operand that ends with it. Requires phases with all their steps; leaves every tensor
 * placed. */
#include <string.h>

#include "plan_internal.h"

/* --- uses --- */

static void add_uses(Compilation *c, Use **uses, int *count, Use *more, int more_count) {
  for (int i = 0; i < more_count; i++) {
    *uses = arena_grow(c, *uses, *count, sizeof **uses);
    (*uses)[(*count)++] = more[i];
  }
}

static int uses_of_rounds(Compilation *c, Rounds *rounds, Use **uses) {
  int count = 0;
  Use number = {.access = &rounds->number, .writes = true}, *inner;
  *uses = NULL;
  if (rounds->number.tensor != NULL) add_uses(c, uses, &count, &number, 1);
  for (int i = 0; i < rounds->body->count; i++) {
    int inner_count = step_uses(c, &rounds->body->steps[i], &inner);
    add_uses(c, uses, &count, inner, inner_count);
  }
  return count;
}

static int uses_of_loop(Compilation *c, Loop *loop, Use **uses) {
  int count = 0;
  *uses = arena_array(c, Use, loop->instruction_count + loop->store_count);
  for (int i = 0; i < loop->instruction_count; i++)
    if (loop->instructions[i].op == OP_COUNT && loop->instructions[i].load.tensor != NULL)
      (*uses)[count++] = (Use){.access = &loop->instructions[i].load};
  for (int i = 0; i < loop->store_count; i++) (*uses)[count++] = (Use){.access = &loop->stores[i].to, .writes = true};
  return count;
}

/* What is read, and then what is written; a place without a tensor is not used. */
static int listed(Compilation *c, Use **uses, int reads, Access *const *read, int writes, Access *const *written) {
  int count = 0;
  *uses = arena_array(c, Use, reads + writes);
  for (int i = 0; i < reads; i++)
    if (read[i]->tensor != NULL) (*uses)[count++] = (Use){.access = read[i]};
  for (int i = 0; i < writes; i++)
    if (written[i]->tensor != NULL) (*uses)[count++] = (Use){.access = written[i], .writes = true};
  return count;
}

static int listed_operands(Compilation *c, Use **uses, Access *operands, int reads, int writes,
                           Access *const *written) {
  Access **read = arena_array(c, Access *, reads);
  for (int i = 0; i < reads; i++) read[i] = &operands[i];
  return listed(c, uses, reads, read, writes, written);
}

int step_uses(Compilation *c, Step *step, Use **uses) {
#define LIST(...)                                                                                                      \
  (Access *[]) { __VA_ARGS__ }
  switch (step->kind) {
  case PLAN_LOOP: return uses_of_loop(c, &step->loop, uses);
  case PLAN_GEMM: return listed(c, uses, 2, LIST(&step->gemm.a, &step->gemm.b), 1, LIST(&step->gemm.c));
  case PLAN_ALONG: return listed(c, uses, 1, LIST(&step->along.from), 1, LIST(&step->along.to));
  case PLAN_SOLVE: return listed(c, uses, 2, LIST(&step->solve.l, &step->solve.b), 1, LIST(&step->solve.to));
  case PLAN_LOW_RANK:
    return listed_operands(c, uses, step->low_rank.operands, step->low_rank.operand_count, 2,
                           LIST(&step->low_rank.work, &step->low_rank.to));
  case PLAN_CONVOLVE:
    return listed(c, uses, 2, LIST(&step->convolve.a, &step->convolve.b), 2,
                  LIST(&step->convolve.work, &step->convolve.to));
  case PLAN_LINE:
    return listed_operands(c, uses, step->line.operands, step->line.operand_count, 2,
                           LIST(&step->line.room, &step->line.to));
  case PLAN_TOP: return listed(c, uses, 2, LIST(&step->top.x, &step->top.other), 1, LIST(&step->top.to));
  case PLAN_DRAW: return listed(c, uses, 1, LIST(&step->draw.inner), 1, LIST(&step->draw.to));
  case PLAN_CLEAR: return listed(c, uses, 0, NULL, 1, LIST(&step->clear.to));
  case PLAN_GATHER:
  case PLAN_COLLECT: return listed(c, uses, 1, LIST(&step->members.from), 1, LIST(&step->members.to));
  case PLAN_ROUNDS: return uses_of_rounds(c, &step->rounds, uses);
  }
#undef LIST
  return 0;
}

static void note_use(Tensor *tensor, int phase, int step) {
  if (tensor->first_phase < 0) {
    tensor->first_phase = phase;
    tensor->first_step = step;
  }
  tensor->last_phase = phase;
  tensor->last_step = step;
}

static int note_rounds(Compilation *, Step *, int phase, int time);

/* Steps take one unit of time each, loops what their steps take and one before and after. Returns the time then. */
static int note_list(Compilation *c, const StepList *list, int phase, int time) {
  for (int i = 0; i < list->count; i++) {
    if (list->steps[i].kind == PLAN_ROUNDS) {
      time = note_rounds(c, &list->steps[i], phase, time);
      continue;
    }
    Use *uses;
    int count = step_uses(c, &list->steps[i], &uses);
    for (int u = 0; u < count; u++) note_use(uses[u].access->tensor, phase, time);
    time++;
  }
  return time;
}

/* What was there before the loop is there in every round. */
static int note_rounds(Compilation *c, Step *step, int phase, int time) {
  int begin = time++;
  if (step->rounds.number.tensor != NULL) note_use(step->rounds.number.tensor, phase, begin);
  time = note_list(c, step->rounds.body, phase, time);
  Use *uses;
  int count = step_uses(c, step, &uses);
  for (int u = 0; u < count; u++) {
    Tensor *tensor = uses[u].access->tensor;
    if (tensor->first_phase != phase || tensor->first_step <= begin) note_use(tensor, phase, time);
  }
  return time + 1;
}

static void note_all(Scheduler *s) {
  Plan *plan = s->plan;
  for (int t = 0; t < plan->tensor_count; t++) plan->tensors[t]->first_phase = -1;
  for (int p = 0; p < plan->phase_count; p++) {
    Phase *phase = &plan->phases[p];
    int end = note_list(s->compilation, &phase->body, p, 0);
    for (int i = 0; i < phase->statistic_count; i++) {
      note_use(phase->statistics[i].partial, p, end);
      note_use(phase->statistics[i].result, p, end);
    }
    for (int r = 0; r < phase->range_count; r++) {
      note_list(s->compilation, &phase->ranges[r].body, p, 0);
      note_use(phase->ranges[r].result, p, 0);
    }
  }
  /* What the caller reads afterwards lives to the end. */
  for (int i = 0; i < plan->output_count; i++) note_use(plan->outputs[i].tensor, plan->phase_count, 0);
}

/* --- in place --- */

static bool strides_equal(const Access *a, const Access *b, int dims) {
  return a->offset == b->offset && memcmp(a->strides, b->strides, sizeof(long) * (size_t)dims) == 0;
}

bool may_replace(const Loop *loop, const Store *store, const Tensor *operand) {
  int last_reader = -1;
  for (int i = 0; i < loop->instruction_count; i++) {
    const Instruction *load = &loop->instructions[i];
    if (load->op != OP_COUNT || load->load.tensor != operand) continue;
    if (!strides_equal(&load->load, &store->to, loop->dim_count)) return false;
    for (int j = i + 1; j < loop->instruction_count; j++)
      for (int k = 0; loop->instructions[j].op != OP_COUNT && k < op_table[loop->instructions[j].op].operands; k++)
        if (loop->instructions[j].operands[k] == i) last_reader = j;
    for (int j = 0; j < loop->store_count; j++)
      if (loop->stores[j].value == i) return false;
  }
  return last_reader >= 0 && last_reader <= store->value;
}

static bool is_scratch(const Tensor *tensor) { return tensor->storage == STORE_TILE || tensor->storage == STORE_FIXED; }

static void replace_in(Scheduler *s, const Loop *loop, int phase, int step) {
  Tensor **taken = arena_array(s->compilation, Tensor *, loop->store_count);
  int count = 0;
  for (int i = 0; i < loop->store_count; i++) {
    const Store *store = &loop->stores[i];
    Tensor *result = store->to.tensor;
    if (store->kind != STORE_SET || !is_scratch(result) || result->first_step != step) continue;
    for (int j = 0; j < loop->instruction_count && result->in_place_of == NULL; j++) {
      Tensor *operand = loop->instructions[j].op == OP_COUNT ? loop->instructions[j].load.tensor : NULL;
      bool free = operand != NULL && operand->storage == result->storage && operand->size == result->size &&
                  operand->last_phase == phase && operand->last_step == step && operand->first_step < step;
      for (int t = 0; t < count; t++) free = free && taken[t] != operand;
      if (!free || !may_replace(loop, store, operand)) continue;
      result->in_place_of = operand;
      taken[count++] = operand;
    }
  }
}

/* In all loops of a list; time as in note_list. */
static int replace_in_list(Scheduler *s, const StepList *list, int phase, int time) {
  for (int i = 0; i < list->count; i++) {
    const Step *step = &list->steps[i];
    if (step->kind == PLAN_ROUNDS) {
      time = replace_in_list(s, step->rounds.body, phase, time + 1) + 1;
      continue;
    }
    if (step->kind == PLAN_LOOP) replace_in(s, &step->loop, phase, time);
    time++;
  }
  return time;
}

/* --- offsets --- */

typedef struct Life {
  Tensor *tensor;
  long from, to; /* points in time, both included */
} Life;

/* Row storages are a multiple of the rows long anyway. */
static long room(const Tensor *tensor) {
  return tensor->rows ? tensor->size : (tensor->size + PADDING - 1) / PADDING * PADDING;
}

static bool overlap(const Life *a, const Life *b) { return a->from <= b->to && b->from <= a->to; }

/* First fit: the lowest offset that is free all through the tensor's life. Returns the length of the buffer. */
static long place_lives(Compilation *c, Life *lives, int count) {
  long length = 0;
  Life **near = arena_array(c, Life *, count);
  for (int i = 0; i < count; i++) {
    Tensor *tensor = lives[i].tensor;
    long need = room(tensor), offset = 0;
    int others = 0;
    for (int j = 0; j < i; j++) {
      if (!overlap(&lives[i], &lives[j])) continue;
      int at = others++; /* kept in order of offsets */
      for (; at > 0 && near[at - 1]->tensor->offset > lives[j].tensor->offset; at--) near[at] = near[at - 1];
      near[at] = &lives[j];
    }
    for (int j = 0; j < others; j++) {
      long end = near[j]->tensor->offset + room(near[j]->tensor);
      if (near[j]->tensor->offset >= offset + need) break;
      if (end > offset) offset = end;
    }
    tensor->offset = offset;
    if (offset + need > length) length = offset + need;
  }
  return length;
}

/* The tensors of one storage, of rows of one domain; time counts phases, or steps of one phase. */
static long place_storage(Scheduler *s, Storage storage, int phase, int domain) {
  Plan *plan = s->plan;
  Life *lives = arena_array(s->compilation, Life, plan->tensor_count);
  int count = 0;
  for (int t = 0; t < plan->tensor_count; t++) {
    Tensor *tensor = plan->tensors[t];
    if (tensor->storage != storage || tensor->first_phase < 0 || tensor->domain != domain) continue;
    if (phase >= 0 && (tensor->first_phase != phase || tensor->in_place_of != NULL)) continue;
    Life life = {.tensor = tensor, .from = tensor->first_phase, .to = tensor->last_phase};
    if (phase >= 0) life = (Life){.tensor = tensor, .from = tensor->first_step, .to = tensor->last_step};
    lives[count++] = life;
  }
  return place_lives(s->compilation, lives, count);
}

static Tensor *place_owner(Tensor *tensor) {
  while (tensor->in_place_of != NULL) tensor = tensor->in_place_of;
  return tensor;
}

/* The first of a chain of tensors in one place holds it for all of them. */
static void extend_owners(Plan *plan, int phase) {
  for (int t = 0; t < plan->tensor_count; t++) {
    Tensor *tensor = plan->tensors[t], *owner = place_owner(tensor);
    if (tensor->first_phase == phase && owner != tensor && tensor->last_step > owner->last_step)
      owner->last_step = tensor->last_step;
  }
}

static void promote(Plan *plan) {
  for (int t = 0; t < plan->tensor_count; t++) {
    Tensor *tensor = plan->tensors[t];
    if (tensor->first_phase < 0 || tensor->first_phase == tensor->last_phase) continue;
    if (tensor->storage == STORE_TILE) tensor->storage = STORE_KEPT;
    if (tensor->storage == STORE_FIXED) tensor->storage = STORE_VALUES;
  }
}

static long larger(long a, long b) { return a > b ? a : b; }

/* --- member rows --- */

enum { SMALLEST_TILE = 4, LARGEST_TILE = 128, TILE_REALS = 2 << 20 };

/* Rows in a tile: as many as fit into a cache, in powers of two. A function of shapes alone. */
static long tile_of(long scratch_row) {
  long tile = LARGEST_TILE;
  while (tile > SMALLEST_TILE && tile * scratch_row > TILE_REALS) tile /= 2;
  return tile;
}

/* What a domain adds to the kept buffer, for each row of the batch: kept rows; datum, members and links of each row,
 * and where a datum's rows begin; partials, one for each tile and one more. The driver cuts it up in this order. */
static long kept_of_domain(const Plan *plan, const Domain *d) {
  int supports = __builtin_popcount(d->axes & AXES_SUPPORT);
  long lists = d->members * (1 + supports + plan->domain_count) + 2;
  return d->members * d->kept_row + lists + ((d->members + d->tile - 1) / d->tile + 2) * plan->partial_size;
}

static void place_domains(Plan *plan) {
  for (int i = 0; i < plan->domain_count; i++) {
    Domain *d = &plan->domains[i];
    if (i == 0) {
      plan->kept_row = d->kept_row;
      plan->scratch_row = d->scratch_row;
      continue;
    }
    d->members = 1;
    for (int v = 0; v < MAX_SUPPORTS; v++)
      if (d->axes & (unsigned)AXIS_SUPPORT << v) d->members *= plan->support_extents[v];
    d->tile = tile_of(d->scratch_row);
    d->kept = plan->kept_row;
    plan->kept_row += kept_of_domain(plan, d);
    plan->scratch_fixed = larger(plan->scratch_fixed, plan->scratch_step + d->tile * d->scratch_row);
  }
}

void place_memory(Scheduler *s) {
  Plan *plan = s->plan;
  note_all(s);
  promote(plan);
  for (int p = 0; p < plan->phase_count; p++) {
    Domain *domain = &plan->domains[plan->phases[p].domain];
    replace_in_list(s, &plan->phases[p].body, p, 0);
    extend_owners(plan, p);
    domain->scratch_row = larger(domain->scratch_row, place_storage(s, STORE_TILE, p, plan->phases[p].domain));
    plan->scratch_step = larger(plan->scratch_step, place_storage(s, STORE_FIXED, p, 0));
  }
  for (int t = 0; t < plan->tensor_count; t++)
    if (plan->tensors[t]->in_place_of != NULL) plan->tensors[t]->offset = place_owner(plan->tensors[t])->offset;
  plan->value_size = place_storage(s, STORE_VALUES, -1, 0);
  plan->partial_size = place_storage(s, STORE_PARTIAL, -1, 0);
  for (int d = 0; d < plan->domain_count; d++) plan->domains[d].kept_row = place_storage(s, STORE_KEPT, -1, d);
  plan->scratch_fixed = plan->scratch_step;
  place_domains(plan);
}
