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
static long tiles_of(const struct spm_call *call) { return spm_larger(1, (call->rows + call->tile - 1) / call->tile); }

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

/* x * 0 is 0 for every finite x and NaN for the others; and bits that are set stay set, so the loop is a vector one. */
int spm_all_finite(const real *values, long count) {
  int broken = 0;
  for (long i = 0; i < count; i++) broken |= values[i] * 0 != 0;
  return !broken;
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

/* What the phase's functions see. */
static const struct spm_call *call_of(struct spm_run *run, const struct spm_phase *phase) {
  if (phase->domain == 0) return &run->call;
  if (run->domains[phase->domain].rows < 0) spm_find_members(run, phase->domain);
  return &run->domains[phase->domain];
}
#endif

/* ---- what a program is made of ------------------------------------------------------------------------------- */

/* Of a statistic: tile t takes in tile t + stride, for strides 1, 2, 4, ...; the result is tile 0's. */
static void combine_tiles(const struct spm_call *call, long width, const struct spm_statistic *s) {
  const long tiles = tiles_of(call);
  real *tile0 = call->partials + s->partial;
  for (long stride = 1; stride < tiles; stride *= 2)
    for (long t = 0; t + stride < tiles; t += 2 * stride) {
      real *into = tile0 + t * width;
      const real *other = into + stride * width;
#ifndef SPM_NO_MAXIMA
      if (s->combine == SPM_MAX)
        for (long i = 0; i < s->size; i++) into[i] = other[i] > into[i] || other[i] != other[i] ? other[i] : into[i];
      if (s->combine == SPM_MAX) continue;
#endif
      for (long i = 0; i < s->size; i++) into[i] += other[i];
    }
  memcpy(place(call, s->place, s->offset), tile0, sizeof(real) * (size_t)s->size);
}

#ifndef SPM_NO_UPDATES
/* broken: becomes the parameter, if its gradient is not finite and that of no earlier one is. */
static void update(const struct spm_run *run, int parameter, long at, const real *gradient, long count, int *broken) {
  const struct spm_optimizer *o = run->optimizer;
  const struct spm_training *s = o->stage;
  if (!spm_all_finite(gradient, count)) {
    if (*broken < 0 || parameter < *broken) *broken = parameter;
    return;
  }
#ifndef SPM_NO_ADAM
  if (strcmp(s->optimizer, "adam") == 0)
    spm_adam_update(run->parameters + at, o->first + at, o->second + at, gradient, count, o->updates + 1, run->lr,
                    s->beta1, s->beta2, s->epsilon, s->weight_decay);
#endif
#ifndef SPM_NO_SGD
  if (strcmp(s->optimizer, "sgd") == 0)
    spm_sgd_update(run->parameters + at, o->first ? o->first + at : NULL, gradient, count, run->lr, s->momentum,
                   s->weight_decay);
#endif
}
#endif

#ifndef SPM_NO_OTHER_RANGES
/* Is the range's parameter updated as soon as the range is made? */
static int updated_at_once(const struct spm_run *run, const struct spm_range *range) {
#ifndef SPM_ONE_THREAD
  if (run->optimizer && run->optimizer->unfused) return 0;
#endif
  return run->optimizer && range->parameter >= 0 && !run->model->parameters[range->parameter].fixed;
}
#endif

#ifndef SPM_NO_UPDATES
#ifdef SPM_PRODUCTS
static const real *row_values(const struct spm_call *call, long where) {
  return where < 0 ? call->data[-1 - where] : call->kept + call->capacity * where;
}

/* `count` elements of a range, of whole rows, from `from` on. */
static void multiply(const struct spm_call *call, const struct spm_range *range, long from, long count, real *out) {
  const long columns = range->right_size;
  spm_gemm(1, 0, count / columns, columns, call->rows, 1, row_values(call, range->left) + from / columns,
           range->left_size, row_values(call, range->right), columns, 0, out, columns);
}
#endif

#ifndef SPM_ONE_THREAD
/* A part of a range, and what it is the gradient of is updated while it is in cache. */
static void update_part(const struct spm_run *run, const struct spm_range *range, long unit, real *scratch,
                        int *broken) {
  const long from = unit * range->chunk;
  real *gradient = scratch + phase_scratch(run->program, run->call.tile);
  range->run(&run->call, scratch, unit, gradient);
  update(run, range->parameter, range->offset + from, gradient, smaller(range->size - from, range->chunk), broken);
}
#endif
#endif

#ifndef SPM_NO_OTHER_RANGES
static void make_part(const struct spm_run *run, const struct spm_range *range, long unit, real *scratch) {
  range->run(&run->call, scratch, unit, place(&run->call, range->place, range->offset) + unit * range->chunk);
}

/* The range that makes this parameter's gradient, or NULL. Without other ranges no range's gradient is an output. */
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
static void run_phase(struct spm_run *run, const struct spm_phase *phase) {
#ifdef SPM_NO_DOMAINS
  const struct spm_call *call = &run->call;
#else
  const struct spm_call *call = call_of(run, phase);
#endif
  const long units = phase->kind == SPM_ROW_PHASE ? tiles_of(call) : phase->kind == SPM_STEP_PHASE;
  for (long unit = 0; unit < units; unit++) phase->run(call, run->scratch, unit);
  for (int i = 0; i < phase->statistic_count; i++)
    combine_tiles(call, run->program->partial_size, &phase->statistics[i]);
#ifndef SPM_NO_OTHER_RANGES
  for (int i = 0; i < phase->range_count; i++)
    for (long unit = 0; !updated_at_once(run, &phase->ranges[i]) && unit < phase->ranges[i].units; unit++)
      make_part(run, &phase->ranges[i], unit, run->scratch);
#endif
}

#ifndef SPM_NO_UPDATES
/* Ranges that are updated at once stand in the last phase; each part is updated while it is in cache. */
static void run_updates(struct spm_run *run) {
  const struct spm_program *program = run->program;
  const struct spm_phase *last = &program->phases[program->phase_count - 1];
#ifndef SPM_TRAINER
  run->part = run->scratch + phase_scratch(program, run->call.tile);
#endif
  for (int i = 0; i < program->output_count; i++) {
    const struct spm_output *o = &program->outputs[i];
    if (o->role != SPM_GRADIENT_OF || run->model->parameters[o->index].fixed) continue;
#ifndef SPM_NO_OTHER_RANGES
    if (range_of(program, o->index)) continue;
#endif
    update(run, o->index, run->model->parameters[o->index].offset, spm_output_values(run, o), o->size, &run->broken);
  }
  for (int i = 0; i < last->range_count; i++) {
    const struct spm_range *range = &last->ranges[i];
#ifndef SPM_NO_OTHER_RANGES
    if (!updated_at_once(run, range)) continue;
#endif
    const struct spm_tensor *of = &run->model->parameters[range->parameter];
    for (long from = 0; from < of->size; from += range->chunk) {
      const long count = smaller(of->size - from, range->chunk);
#ifdef SPM_PRODUCTS
      multiply(&run->call, range, from, count, run->part);
#else
      range->run(&run->call, run->scratch, from / range->chunk, run->part);
#endif
      update(run, range->parameter, of->offset + from, run->part, count, &run->broken);
    }
  }
}
#endif
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
  struct spm_statistic part = *s;
  part.partial += unit * COMBINE_BLOCK;
  part.offset += unit * COMBINE_BLOCK;
  part.size = smaller(s->size - unit * COMBINE_BLOCK, COMBINE_BLOCK);
  combine_tiles(run->phase_call, run->program->partial_size, &part);
}

/* Parts to be made of a range now. */
static long range_units(const struct spm_run *run, const struct spm_range *range) {
  return updated_at_once(run, range) == run->at_once ? range->units : 0;
}

static void gradient_unit(void *context, long unit, int thread) {
  struct spm_run *run = context;
  const struct spm_range *range = run->phase->ranges;
  for (long units; unit >= (units = range_units(run, range)); range++) unit -= units;
  real *scratch = run->scratch + thread * run->scratch_size;
  if (run->at_once)
    update_part(run, range, unit, scratch, &run->found[thread]);
  else
    make_part(run, range, unit, scratch);
}

static void run_ranges(struct spm_run *run, const struct spm_phase *phase, int at_once) {
  long units = 0;
  run->phase = phase;
  run->at_once = at_once;
  for (int i = 0; i < phase->range_count; i++) units += range_units(run, &phase->ranges[i]);
  spm_spread(run, units, gradient_unit, run);
}

static void run_phase(struct spm_run *run, const struct spm_phase *phase) {
  const struct spm_call *call = run->phase_call = call_of(run, phase);
  long blocks = 0;
  run->phase = phase;
  if (phase->kind == SPM_STEP_PHASE) phase->run(call, run->scratch, 0);
  if (phase->kind == SPM_ROW_PHASE) spm_spread(run, tiles_of(call), tile_unit, run);
  for (int i = 0; i < phase->statistic_count; i++) blocks += divide_up(phase->statistics[i].size, COMBINE_BLOCK);
  spm_spread(run, blocks, combine_unit, run);
  run_ranges(run, phase, 0);
}

/* How a gradient output is cut into updates once all are made: as its range is, so that fused and unfused leave out the
 * same parts of a gradient that is not finite. 0: nothing is to be done for it. */
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
         &run->found[thread]);
}

/* Ranges that are updated at once stand in the last phase. */
static void run_updates(struct spm_run *run) {
  const struct spm_program *program = run->program;
  long units = 0;
  for (int t = 0; t < SPM_MAX_THREADS; t++) run->found[t] = -1;
  for (int i = 0; i < program->output_count; i++) {
    long chunk = update_chunk(run, &program->outputs[i]);
    if (chunk) units += divide_up(program->outputs[i].size, chunk);
  }
  spm_spread(run, units, update_unit, run);
  run_ranges(run, &program->phases[program->phase_count - 1], 1);
  for (int t = 0; t < SPM_MAX_THREADS; t++)
    if (run->found[t] >= 0 && (run->broken < 0 || run->found[t] < run->broken)) run->broken = run->found[t];
}
#endif

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

void spm_run_program(struct spm_run *run) {
  run->call.tile = spm_tile_rows(run->call.rows);
#ifndef SPM_NO_DOMAINS
  spm_place_domains(run);
#endif
#ifndef SPM_NO_STATES
  keep_state(run);
#endif
  for (int p = 0; p < run->program->phase_count; p++) run_phase(run, &run->program->phases[p]);
#ifndef SPM_NO_STATES
  store_state(run);
#endif
}

/* Are the objective and the gradients finite? A range is looked at when it is made. */
static int is_finite(struct spm_run *run) {
  for (int i = 0; i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
    if (output->role != SPM_OBJECTIVE && output->role != SPM_GRADIENT_OF) continue;
#ifndef SPM_NO_OTHER_RANGES
    if (output->role == SPM_GRADIENT_OF && range_of(run->program, output->index)) continue;
#endif
    if (spm_all_finite(spm_output_values(run, output), output->size)) continue;
    if (output->role == SPM_GRADIENT_OF) run->broken = output->index;
    return 0;
  }
  return 1;
}

#ifndef SPM_NO_RATES
int spm_is_rate(double lr) { return lr >= 0 && lr * 0 == 0; }

static int set_rate(struct spm_run *run) {
  const char *rate = run->optimizer->stage->rate;
  const struct spm_output *lr = rate ? spm_find_output(run->program, SPM_VALUE, rate) : NULL;
  if (lr) run->lr = (double)*spm_output_values(run, lr);
  return spm_is_rate(run->lr);
}
#endif

#ifndef SPM_NO_UPDATES
int spm_run_step(struct spm_run *run, const struct spm_optimizer *optimizer) {
  run->optimizer = optimizer;
  run->lr = optimizer->stage->lr;
  run->broken = -1;
  spm_run_program(run);
#ifndef SPM_NO_RATES
  const int sound = set_rate(run) && is_finite(run);
#else
  const int sound = is_finite(run);
#endif
  if (sound) run_updates(run);
#ifndef SPM_NO_STATES
  if (!sound) keep_state(run);
#endif
#ifndef SPM_NO_OTHER_RANGES
  run->optimizer = NULL;
#endif
  return !sound ? SPM_STEP_SKIPPED : run->broken < 0 ? SPM_STEP_UPDATED : SPM_STEP_PARTLY;
}
#endif

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
