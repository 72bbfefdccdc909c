/* A program's phases, a batch and memory -> values, gradients and updated parameters. See driver.h. */
#include "driver.h"
#include "optim.h"

#include <string.h>

enum { UPDATE_BLOCK = 4096, COMBINE_BLOCK = 4096 };
enum { SCRATCH_ROUND = 16 }; /* reals: cache lines of a thread's own, vector loads aligned */

static long smaller(long a, long b) { return a < b ? a : b; }
static long divide_up(long a, long b) { return (a + b - 1) / b; }
static long round_up(long a) { return divide_up(a, SCRATCH_ROUND) * SCRATCH_ROUND; }

/* ---- sizes --------------------------------------------------------------------------------------------------- */

/* A small batch is one tile of just its rows, so that a target with little memory needs no more. */
#ifdef SPM_ONE_THREAD
long spm_tile_rows(long rows) { return rows < 128 ? spm_larger(rows, 1) : 128; }
#else
long spm_tile_rows(long rows) { return rows < 64 ? spm_larger(rows, 1) : rows < 512 ? 64 : 128; }
#endif

/* A domain without rows has one tile all the same: its statistics are 0. */
static long tiles_of(const struct spm_call *call) { return spm_larger(1, divide_up(call->rows, call->tile)); }

static long phase_scratch(const struct spm_program *program, long tile) {
  return round_up(program->scratch_fixed + tile * program->scratch_row);
}

void spm_program_sizes(const struct spm_program *program, long capacity, struct spm_sizes *sizes) {
  long chunk = 0; /* of the largest range: room for one that is updated at once */
  long tiles = divide_up(capacity, spm_tile_rows(capacity));
#ifndef SPM_ONE_THREAD
  if (capacity >= 512) tiles = spm_larger(tiles, 8); /* as 511 rows have, which is 4 more than 512 have */
#endif
  for (int p = 0; p < program->phase_count; p++)
    for (int r = 0; r < program->phases[p].range_count; r++)
      chunk = spm_larger(chunk, program->phases[p].ranges[r].chunk);
  const long scratch = phase_scratch(program, spm_tile_rows(capacity)) + round_up(chunk);
  sizes->values = spm_larger(sizes->values, program->value_size);
  sizes->kept = spm_larger(sizes->kept, capacity * program->kept_row);
  sizes->partials = spm_larger(sizes->partials, tiles * program->partial_size);
  sizes->scratch = spm_larger(sizes->scratch, scratch);
}

/* ---- looking things up --------------------------------------------------------------------------------------- */

const struct spm_program *spm_find_program(const struct spm_model *model, const char *name) {
  for (int i = 0; i < model->program_count; i++)
    if (strcmp(model->programs[i].name, name) == 0) return &model->programs[i];
  return NULL;
}

const struct spm_output *spm_find_output(const struct spm_program *program, int role, const char *name) {
  for (int i = 0; i < program->output_count; i++) {
    const struct spm_output *output = &program->outputs[i];
    if (output->role == role && (!name || strcmp(output->name, name) == 0)) return output;
  }
  return NULL;
}

static real *place(const struct spm_call *call, int where, long offset) {
  real *const starts[] = {[SPM_VALUES] = call->values,
                          [SPM_GRADIENT] = call->gradient,
#ifndef SPM_NO_STATES
                          [SPM_STATE_NEXT] = call->state_next,
#endif
                          [SPM_KEPT] = call->kept};
  return starts[where] + (where == SPM_KEPT ? call->capacity * offset : offset);
}

const real *spm_output_values(const struct spm_run *run, const struct spm_output *output) {
  return place(&run->call, output->place, output->offset);
}

/* x * 0 is 0 for every finite x and NaN for the others, and separate sums let the loop be a vector one. */
int spm_all_finite(const real *values, long count) {
  real lanes[16] = {0};
  long i = 0;
  for (; i + 16 <= count; i += 16)
    for (int lane = 0; lane < 16; lane++) lanes[lane] += values[i + lane] * 0;
  for (; i < count; i++) lanes[0] += values[i] * 0;
  real sum = 0;
  for (int lane = 0; lane < 16; lane++) sum += lanes[lane];
  return sum == 0;
}

/* ---- rows of members ----------------------------------------------------------------------------------------- */

#ifndef SPM_NO_DOMAINS
void spm_place_domains(struct spm_run *run) {
  const struct spm_program *program = run->program;
  run->domains[0] = run->call;
  run->call.domains = run->domains[0].domains = run->domains;
  for (int d = 1; d < program->domain_count; d++) {
    const struct spm_domain *domain = &program->domains[d];
    struct spm_call *call = &run->domains[d];
    *call = run->domains[0];
    call->rows = -1; /* not known yet */
    call->capacity = domain->members * run->call.capacity;
    call->tile = domain->tile;
    call->kept = run->call.kept + run->call.capacity * domain->kept;
    /* An int takes no more room than a real. */
    int *lists = (int *)(void *)(call->kept + call->capacity * domain->kept_row);
    call->datum = lists;
    call->members = call->datum + call->capacity;
    call->links = call->members + domain->support_count * call->capacity;
    call->first = call->links + program->domain_count * call->capacity;
    long length = call->capacity * (1 + domain->support_count + program->domain_count) + 2 * run->call.capacity;
    call->partials = call->kept + call->capacity * domain->kept_row + length;
  }
}

/* The members of a latent on the support of one datum; all of them where there are no weights. */
static long support_of(const struct spm_run *run, int latent, long datum, int *members) {
  const struct spm_program *program = run->program;
  long count = 0, all = program->supports[latent];
  const real *weights = 0;
  for (int i = 0; i < program->output_count; i++)
    if (program->outputs[i].role == SPM_SUPPORT_OF && program->outputs[i].index == latent)
      weights = spm_output_values(run, &program->outputs[i]) + datum * all;
  for (long m = 0; m < all; m++)
    if (!weights || weights[m] != 0) members[count++] = (int)m;
  return count;
}

static int place_of_latent(const struct spm_domain *d, int latent) {
  for (int k = 0; k < d->support_count; k++)
    if (d->supports[k] == latent) return k;
  return -1;
}

static int is_part(const struct spm_domain *part, const struct spm_domain *whole) {
  for (int i = 0; i < part->support_count; i++)
    if (place_of_latent(whole, part->supports[i]) < 0) return 0;
  return 1;
}

/* The row of another domain that belongs to a row at these places among the members of its datum; -1: there is none. */
static int linked_row(const struct spm_run *run, int other, const struct spm_domain *d, long datum, const long *counts,
                      const long *place) {
  const struct spm_domain *o = &run->program->domains[other];
  long index = 0;
  if (run->domains[other].rows < 0 || !is_part(o, d)) return -1;
  for (int i = 0; i < o->support_count; i++) {
    int k = place_of_latent(d, o->supports[i]);
    index = index * counts[k] + place[k];
  }
  return (int)(run->domains[other].first[datum] + index);
}

/* Rows of one datum in a domain: all combinations of its members, the last latent's varying fastest. Returns how many.
 */
static long rows_of_datum(const struct spm_run *run, int domain, long datum, long row) {
  const struct spm_domain *d = &run->program->domains[domain];
  const struct spm_call *call = &run->domains[domain];
  int *lists[SPM_MAX_SUPPORTS];
  long counts[SPM_MAX_SUPPORTS], all = 1;
  for (int k = 0; k < d->support_count; k++) { /* each list where its combinations will be */
    lists[k] = (int *)call->members + k * call->capacity + row;
    counts[k] = support_of(run, d->supports[k], datum, lists[k]);
    all *= counts[k];
  }
  for (long r = all - 1; r >= 0; r--) { /* from the end: what is read stands at or before what is written */
    long place[SPM_MAX_SUPPORTS], rest = r;
    for (int k = d->support_count - 1; k >= 0; rest /= counts[k], k--) place[k] = rest % counts[k];
    for (int k = 0; k < d->support_count; k++) lists[k][r] = lists[k][place[k]];
    ((int *)call->datum)[row + r] = (int)datum;
    for (int other = 1; other < run->program->domain_count; other++)
      ((int *)call->links)[other * call->capacity + row + r] = linked_row(run, other, d, datum, counts, place);
  }
  return all;
}

void spm_find_members(struct spm_run *run, int domain) {
  const struct spm_domain *d = &run->program->domains[domain];
  struct spm_call *call = &run->domains[domain];
  long rows = 0;
  /* Domains of fewer latents first, since rows are linked to theirs. */
  for (int other = 1; other < run->program->domain_count; other++)
    if (other != domain && run->domains[other].rows < 0 && is_part(&run->program->domains[other], d))
      spm_find_members(run, other);
  for (long datum = 0; datum < run->call.rows; datum++) {
    ((int *)call->first)[datum] = (int)rows;
    rows += rows_of_datum(run, domain, datum, rows);
  }
  ((int *)call->first)[run->call.rows] = (int)rows;
  call->rows = rows;
}
#endif

/* ---- what a program is made of ------------------------------------------------------------------------------- */

/* Of a statistic: tile t takes in tile t + stride, for strides 1, 2, 4, ...; the result is tile 0's. */
static void combine_tiles(struct spm_run *run, const struct spm_statistic *s, long from, long count) {
  const long width = run->program->partial_size, tiles = tiles_of(run->phase_call);
  real *tile0 = run->phase_call->partials + s->partial + from;
  for (long stride = 1; stride < tiles; stride *= 2)
    for (long t = 0; t + stride < tiles; t += 2 * stride) {
      real *into = tile0 + t * width;
      const real *other = into + stride * width;
#ifndef SPM_NO_MAXIMA
      if (s->combine == SPM_MAX)
        for (long i = 0; i < count; i++) into[i] = other[i] > into[i] || other[i] != other[i] ? other[i] : into[i];
      if (s->combine == SPM_MAX) continue;
#endif
      for (long i = 0; i < count; i++) into[i] += other[i];
    }
  memcpy(place(run->phase_call, s->place, s->offset) + from, tile0, sizeof(real) * (size_t)count);
}

#ifndef SPM_NO_UPDATES
static void update(struct spm_run *run, int parameter, long offset, const real *gradient, long count, int thread) {
  const struct spm_optimizer *o = run->optimizer;
  const struct spm_training *s = o->stage;
  const double lr = run->outcomes[0].lr;
  real *values = run->parameters + offset;
  if (!spm_all_finite(gradient, count)) {
    struct spm_outcome *found = &run->outcomes[thread];
    if (found->parameter < 0 || parameter < found->parameter) found->parameter = parameter;
    found->status = SPM_STEP_PARTLY;
    return;
  }
#ifndef SPM_NO_ADAM
  if (strcmp(s->optimizer, "adam") == 0)
    spm_adam_update(values, o->first + offset, o->second + offset, gradient, count, o->updates + 1, lr, s->beta1,
                    s->beta2, s->epsilon, s->weight_decay);
#endif
#ifndef SPM_NO_SGD
  if (strcmp(s->optimizer, "sgd") == 0)
    spm_sgd_update(values, o->first ? o->first + offset : NULL, gradient, count, lr, s->momentum, s->weight_decay);
#endif
}
#endif

#ifndef SPM_NO_OTHER_RANGES
/* Is the range's parameter updated as soon as the range is made? */
static int updated_at_once(struct spm_run *run, const struct spm_range *range) {
#ifndef SPM_ONE_THREAD
  if (run->parameters && run->optimizer->unfused) return 0;
#endif
  return run->parameters && range->parameter >= 0 && !run->model->parameters[range->parameter].fixed;
}
#endif

/* A part of a range, and what it is the gradient of is updated while it is in cache. */
static void make_gradient(struct spm_run *run, const struct spm_range *range, long unit, int thread) {
  const long from = unit * range->chunk;
  real *scratch = run->scratch + thread * run->scratch_size;
#ifndef SPM_NO_OTHER_RANGES
  if (!updated_at_once(run, range)) {
    range->run(&run->call, scratch, unit, place(&run->call, range->place, range->offset) + from);
    return;
  }
#endif
#ifndef SPM_NO_UPDATES
  real *gradient = scratch + phase_scratch(run->program, run->call.tile);
  range->run(&run->call, scratch, unit, gradient);
  update(run, range->parameter, range->offset + from, gradient, smaller(range->size - from, range->chunk), thread);
#endif
}

#ifndef SPM_NO_OTHER_RANGES /* else no range's gradient is an output */
/* The range that makes this parameter's gradient, or NULL. */
static const struct spm_range *range_of(const struct spm_program *program, int parameter) {
  for (int p = 0; p < program->phase_count; p++)
    for (int r = 0; r < program->phases[p].range_count; r++)
      if (program->phases[p].ranges[r].parameter == parameter) return &program->phases[p].ranges[r];
  return NULL;
}
#endif

/* ---- phases -------------------------------------------------------------------------------------------------- */

void spm_spread(const struct spm_run *run, long units, spm_unit_function function, void *context) {
#ifdef SPM_ONE_THREAD
  (void)run;
#else
  if (run->workers.spread && units > 1) {
    run->workers.spread(run->workers.pool, units, function, context);
    return;
  }
#endif
  for (long unit = 0; unit < units; unit++) function(context, unit, 0);
}

#ifdef SPM_ONE_THREAD
static void run_updates(struct spm_run *run) {
  for (int i = 0; i < run->program->output_count; i++) {
    const struct spm_output *o = &run->program->outputs[i];
    if (o->role != SPM_GRADIENT_OF || run->model->parameters[o->index].fixed) continue;
#ifndef SPM_NO_OTHER_RANGES
    if (range_of(run->program, o->index)) continue;
#endif
    update(run, o->index, run->model->parameters[o->index].offset, spm_output_values(run, o), o->size, 0);
  }
}
#else
static void tile_unit(void *context, long unit, int thread) {
  struct spm_run *run = context;
  run->phase->run(run->phase_call, run->scratch + thread * run->scratch_size, unit);
}

static void combine_unit(void *context, long unit, int thread) {
  struct spm_run *run = context;
  const struct spm_statistic *s = run->phase->statistics;
  (void)thread;
  for (long blocks; unit >= (blocks = divide_up(s->size, COMBINE_BLOCK)); s++) unit -= blocks;
  const long from = unit * COMBINE_BLOCK;
  combine_tiles(run, s, from, smaller(s->size - from, COMBINE_BLOCK));
}

static void run_row_phase(struct spm_run *run, const struct spm_phase *phase) {
  long blocks = 0;
  run->phase = phase;
  spm_spread(run, tiles_of(run->phase_call), tile_unit, run);
  for (int i = 0; i < phase->statistic_count; i++) blocks += divide_up(phase->statistics[i].size, COMBINE_BLOCK);
  spm_spread(run, blocks, combine_unit, run);
}

static void gradient_unit(void *context, long unit, int thread) {
  struct spm_run *run = context;
  const struct spm_range *range = run->phase->ranges;
  for (; unit >= range->units; range++) unit -= range->units;
  make_gradient(run, range, unit, thread);
}

static void run_gradient_phase(struct spm_run *run, const struct spm_phase *phase) {
  long units = 0;
  run->phase = phase;
  for (int i = 0; i < phase->range_count; i++) units += phase->ranges[i].units;
  spm_spread(run, units, gradient_unit, run);
}

/* How a gradient output is cut into updates once all are made: as its range is, so that fused and unfused leave out the
 * same parts of a gradient that is not finite. 0: nothing is left to do for it. */
static long update_chunk(struct spm_run *run, const struct spm_output *output) {
  if (output->role != SPM_GRADIENT_OF || run->model->parameters[output->index].fixed) return 0;
  const struct spm_range *range = range_of(run->program, output->index);
  if (range && updated_at_once(run, range)) return 0;
  return range ? range->chunk : UPDATE_BLOCK;
}

static void update_unit(void *context, long unit, int thread) {
  struct spm_run *run = context;
  const struct spm_output *output = run->program->outputs;
  long chunk = 0;
  for (;; output++) {
    chunk = update_chunk(run, output);
    long units = chunk ? divide_up(output->size, chunk) : 0;
    if (unit < units) break;
    unit -= units;
  }
  long from = unit * chunk, offset = run->model->parameters[output->index].offset + from;
  update(run, output->index, offset, spm_output_values(run, output) + from, smaller(output->size - from, chunk),
         thread);
}

static void run_updates(struct spm_run *run) {
  const struct spm_program *program = run->program;
  long units = 0;
  for (int i = 0; i < program->output_count; i++) {
    long chunk = update_chunk(run, &program->outputs[i]);
    if (chunk) units += divide_up(program->outputs[i].size, chunk);
  }
  spm_spread(run, units, update_unit, run);
}
#endif

static void run_phase(struct spm_run *run, const struct spm_phase *phase) {
  run->phase_call = &run->call;
#ifndef SPM_NO_DOMAINS
  if (phase->domain > 0) {
    if (run->domains[phase->domain].rows < 0) spm_find_members(run, phase->domain);
    run->phase_call = &run->domains[phase->domain];
  }
#endif
  if (phase->kind == SPM_STEP_PHASE) phase->run(run->phase_call, run->scratch, 0);
#ifdef SPM_ONE_THREAD
  for (long t = 0; phase->kind == SPM_ROW_PHASE && t < tiles_of(run->phase_call); t++)
    phase->run(run->phase_call, run->scratch, t);
  for (int i = 0; i < phase->statistic_count; i++)
    combine_tiles(run, &phase->statistics[i], 0, phase->statistics[i].size);
  for (int i = 0; i < phase->range_count; i++)
    for (long unit = 0; unit < phase->ranges[i].units; unit++) make_gradient(run, &phase->ranges[i], unit, 0);
#else
  if (phase->kind == SPM_ROW_PHASE) run_row_phase(run, phase);
  if (phase->kind == SPM_GRADIENT_PHASE) run_gradient_phase(run, phase);
#endif
}

/* ---- whole programs ------------------------------------------------------------------------------------------ */

#ifndef SPM_NO_STATES
static void store_state(const struct spm_run *run) {
  for (int i = 0; i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
    if (output->role != SPM_STATE_OF) continue;
    const real *from = spm_output_values(run, output);
    real *to = run->call.state_next + run->model->states[output->index].offset;
    if (from != to) memcpy(to, from, sizeof(real) * (size_t)output->size);
  }
}

/* Nothing happened: the next state is this one. */
static void keep_state(const struct spm_run *run) {
  if (run->call.state_next && run->call.state && run->model->state_size > 0)
    memcpy(run->call.state_next, run->call.state, sizeof(real) * (size_t)run->model->state_size);
}
#endif

static void prepare(struct spm_run *run) {
  struct spm_call *call = &run->call;
  call->tile = spm_tile_rows(call->rows);
#ifndef SPM_NO_DOMAINS
  spm_place_domains(run);
#endif
#ifndef SPM_NO_STATES
  keep_state(run);
#endif
  /* Looked at before it may have been computed, so it must not be left over from the step before. */
  for (int i = 0; i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
#ifndef SPM_NO_OTHER_RANGES
    if (output->place == SPM_GRADIENT && range_of(run->program, output->index)) continue;
#endif
    if (output->place == SPM_VALUES || output->place == SPM_GRADIENT)
      memset(place(call, output->place, output->offset), 0, sizeof(real) * (size_t)output->size);
  }
}

void spm_run_program(struct spm_run *run) {
  run->parameters = NULL;
  prepare(run);
  for (int p = 0; p < run->program->phase_count; p++) run_phase(run, &run->program->phases[p]);
#ifndef SPM_NO_STATES
  store_state(run);
#endif
}

/* Are the objective and the gradients finite, as far as they are known? A range is looked at when it is made. */
static int finite_so_far(struct spm_run *run) {
  for (int i = 0; i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
    if (output->role != SPM_OBJECTIVE && output->role != SPM_GRADIENT_OF) continue;
#ifndef SPM_NO_OTHER_RANGES
    if (output->role == SPM_GRADIENT_OF && range_of(run->program, output->index)) continue;
#endif
    if (spm_all_finite(spm_output_values(run, output), output->size)) continue;
    if (output->role == SPM_GRADIENT_OF) run->outcomes[0].parameter = output->index;
    return 0;
  }
  return 1;
}

#ifndef SPM_NO_RATES
/* Is the rate one to step by? */
static int set_rate(struct spm_run *run) {
  const char *rate = run->optimizer->stage->rate;
  const struct spm_output *lr = rate ? spm_find_output(run->program, SPM_VALUE, rate) : NULL;
  if (lr) run->outcomes[0].lr = (double)*spm_output_values(run, lr);
  return run->outcomes[0].lr >= 0 && run->outcomes[0].lr * 0 == 0;
}
#endif

#ifndef SPM_ONE_THREAD
/* The first thread's outcome becomes that of all. */
static void join_outcomes(struct spm_run *run) {
  struct spm_outcome *all = run->outcomes;
  for (int t = 1; t < SPM_MAX_THREADS; t++) {
    if (run->outcomes[t].status != SPM_STEP_PARTLY) continue;
    if (all->status != SPM_STEP_PARTLY || run->outcomes[t].parameter < all->parameter)
      all->parameter = run->outcomes[t].parameter;
    all->status = SPM_STEP_PARTLY;
  }
}
#endif

struct spm_outcome spm_run_step(struct spm_run *run, real *parameters, const struct spm_optimizer *optimizer) {
  int looked = 0, sound = 1;
  run->parameters = parameters;
  run->optimizer = optimizer;
  for (int t = 0; t < SPM_MAX_THREADS; t++)
    run->outcomes[t] = (struct spm_outcome){SPM_STEP_UPDATED, -1, optimizer->stage->lr};
  prepare(run);
  for (int p = 0; p < run->program->phase_count; p++) {
    const struct spm_phase *phase = &run->program->phases[p];
#ifndef SPM_NO_RATES
    if (phase->kind == SPM_GRADIENT_PHASE && !looked) sound = set_rate(run);
#endif
    if (phase->kind == SPM_GRADIENT_PHASE && !looked++) sound = sound && finite_so_far(run); /* what follows stays */
    if (sound || phase->kind != SPM_GRADIENT_PHASE) run_phase(run, phase);
  }
#ifndef SPM_NO_RATES
  if (!looked) sound = set_rate(run);
#endif
  if (!sound || !finite_so_far(run)) { /* partly: ranges were updated, for better or worse */
    run->outcomes[0].status = sound && looked ? SPM_STEP_PARTLY : SPM_STEP_SKIPPED;
#ifndef SPM_ONE_THREAD
    if (optimizer->unfused) run->outcomes[0].status = SPM_STEP_SKIPPED;
#endif
#ifndef SPM_NO_STATES
    keep_state(run);
#endif
    return run->outcomes[0];
  }
#ifndef SPM_NO_STATES
  store_state(run);
#endif
  run_updates(run);
#ifndef SPM_ONE_THREAD
  join_outcomes(run);
#endif
  return run->outcomes[0];
}

void spm_store(const struct spm_run *run, int role, real *parameters) {
  for (int i = 0; i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
    if (output->role == role)
      memcpy(parameters + run->model->parameters[output->index].offset, spm_output_values(run, output),
             sizeof(real) * (size_t)output->size);
  }
}

void spm_run_project(struct spm_run *run, real *parameters) {
#ifndef SPM_NO_STATES
  run->call.state_next = 0; /* what the step before has put there is not to be lost */
#endif
  spm_run_program(run);
  spm_store(run, SPM_EXPORT_OF, parameters);
}
