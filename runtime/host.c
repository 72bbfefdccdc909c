/* A descriptor -> memory of the right sizes, and programs run in it. See host.h. */
#include "host.h"
#include "pool.h"
#include "rng.h"
#include "solved.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGNMENT = 64, GATHER_ROWS = 64, HUGE_PAGE = 2 << 20, HOST_BLOCKS = 15, STAGGER = 5 * 1024 };

/* ---- memory -------------------------------------------------------------------------------------------------- */

struct spm_block {
  void *memory;
  size_t mapped; /* bytes of a mapping; 0: from the heap */
};

/* Fresh pages are zeros already, and huge ones save the step most of its page walks. The kernel is only asked: where it
 * has none, the pages are small. Each block begins a little further into its page: at equal offsets the streams of an
 * update would crowd into the same sets of the cache. */
static void *map_huge(const struct spm_host *host, size_t bytes, struct spm_block *block) {
  size_t mapped = (bytes + (size_t)host->block_count * STAGGER + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE + HUGE_PAGE;
  char *memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return NULL;
  *block = (struct spm_block){memory, mapped};
  char *aligned = memory + (HUGE_PAGE - (size_t)memory % HUGE_PAGE) % HUGE_PAGE;
#ifdef MADV_HUGEPAGE
  madvise(aligned, mapped - HUGE_PAGE, MADV_HUGEPAGE);
#endif
  return aligned + (size_t)host->block_count * STAGGER;
}

/* Zeroed and on a cache line; a length of 0 still gives memory, so that NULL means failure. */
static real *reals(struct spm_host *host, long count) {
  size_t bytes = ((size_t)count * sizeof(real) + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
  struct spm_block *block = &host->blocks[host->block_count];
  void *memory = bytes >= HUGE_PAGE ? map_huge(host, bytes, block) : aligned_alloc(ALIGNMENT, bytes);
  if (!memory) return NULL;
  host->block_count++;
  if (block->mapped) return memory;
  block->memory = memory;
  return memset(memory, 0, bytes);
}

static void free_blocks(struct spm_host *host) {
  for (int b = 0; b < host->block_count; b++) {
    if (host->blocks[b].mapped)
      munmap(host->blocks[b].memory, host->blocks[b].mapped);
    else
      free(host->blocks[b].memory);
  }
  free(host->blocks);
}

static int allocate_fitter(struct spm_host *host, long batch, struct spm_error *error) {
  const struct spm_model *model = host->model;
  struct spm_fitter *f = &host->fitter;
  struct spm_fitter_sizes need;
  spm_fitter_need(model, batch, SPM_EVALUATION_ROWS, batch > 0 ? model->training_count : 0, &need);
  if (need.problems == 0) return 0;
  f->problems = calloc(need.problems, sizeof *f->problems);
  f->numbers = calloc(need.numbers, sizeof *f->numbers);
  f->points = reals(host, (long)need.points);
  f->gradients = reals(host, (long)need.points);
  f->reals = reals(host, (long)need.reals);
  if (f->problems && f->numbers && f->points && f->gradients && f->reals) return 0;
  return spm_fail(error, "%s: not enough memory for L-BFGS (about %.0f MB; a shorter history needs less)", model->name,
                  (double)(sizeof(real) * (need.reals + 2 * need.points)) / 1e6);
}

static bool has_gradients(const struct spm_program *program) {
  return spm_find_output(program, SPM_GRADIENT_OF, NULL) != NULL;
}

static int allocate(struct spm_host *host, bool training, struct spm_error *error) {
  const struct spm_model *model = host->model;
  const struct spm_sizes *sizes = &host->sizes;
  host->blocks = calloc((size_t)(HOST_BLOCKS + model->data_count + model->row_state_count + model->given_count),
                        sizeof *host->blocks);
  bool sound = host->blocks && (host->parameters = reals(host, model->parameter_size)) &&
               (host->state = reals(host, model->state_size)) && (host->state_next = reals(host, model->state_size)) &&
               (host->values = reals(host, sizes->values)) && (host->kept = reals(host, sizes->kept)) &&
               (host->partials = reals(host, sizes->partials)) &&
               (host->scratch = reals(host, sizes->scratch * host->threads)) &&
               (host->gradient = reals(host, model->parameter_size));
  if (sound && training)
    sound = (host->first = reals(host, model->parameter_size)) && (host->second = reals(host, model->parameter_size));
  host->batch = calloc((size_t)model->data_count + 1, sizeof *host->batch);
  sound = sound && host->batch;
  for (int d = 0; sound && d < model->data_count; d++)
    sound = (host->batch[d] = reals(host, host->capacity * model->data[d].size)) != NULL;
  host->row_batch = calloc((size_t)model->row_state_count + 1, sizeof *host->row_batch);
  sound = sound && host->row_batch;
  for (int s = 0; sound && s < model->row_state_count; s++)
    sound = (host->row_batch[s] = reals(host, host->capacity * model->row_states[s].size)) != NULL;
  host->given = calloc((size_t)model->given_count + 1, sizeof *host->given);
  sound = sound && host->given;
  for (int g = 0; sound && g < model->given_count; g++)
    sound = (host->given[g] = reals(host, model->givens[g].size)) != NULL;
  if (sound) return 0;
  double bytes =
      (double)sizeof(real) * ((double)sizes->kept + (double)sizes->partials + 4.0 * (double)model->parameter_size);
  return spm_fail(error, "%s: not enough memory (about %.0f MB are needed; a smaller batch needs less)", model->name,
                  bytes / 1e6);
}

int spm_host_create(struct spm_host *host, const struct spm_model *model, long capacity, int threads,
                    unsigned long long seed, struct spm_error *error) {
  *host = (struct spm_host){.model = model, .seed = seed};
  host->threads = threads < 1 ? 1 : threads > SPM_MAX_THREADS ? SPM_MAX_THREADS : threads;
  host->capacity = spm_larger(capacity, SPM_EVALUATION_ROWS);
  for (int p = 0; p < model->program_count; p++) {
    const struct spm_program *program = &model->programs[p];
    bool trains = has_gradients(program);
    if (trains && capacity == 0) continue;
    bool training = trains || model->row_state_count > 0; /* training batches begin anew, and are fitted */
    const long rows = !program->uses_rows ? 0 : training ? host->capacity : SPM_EVALUATION_ROWS;
    spm_program_sizes(program, rows, &host->sizes);
  }
  host->pool = pool_create(host->threads);
  if (host->pool) host->threads = pool_threads(host->pool); /* perhaps fewer could be started */
  int status = host->pool ? allocate(host, capacity > 0, error) : spm_fail(error, "%s: not enough memory", model->name);
  if (status == 0) status = allocate_fitter(host, capacity, error);
  if (status != 0) spm_host_free(host);
  return status;
}

void spm_host_free(struct spm_host *host) {
  if (host->pool) pool_destroy(host->pool);
  free(host->fitter.problems);
  free(host->fitter.numbers);
  free(host->batch);
  free(host->row_batch);
  free(host->given);
  free_blocks(host);
  memset(host, 0, sizeof *host);
}

/* ---- programs ------------------------------------------------------------------------------------------------ */

static void spread_over_pool(void *pool, long units, spm_unit_function run, void *context) {
  pool_run(pool, units, run, context);
}

static struct spm_workers workers_of(struct spm_host *host) {
  return (struct spm_workers){host->threads, host->threads > 1 ? spread_over_pool : NULL, host->pool};
}

struct spm_run spm_host_run(struct spm_host *host, const struct spm_program *program, long rows) {
  struct spm_run run = {.model = host->model, .program = program};
  run.call = (struct spm_call){.parameters = host->parameters,
                               .data = (const real *const *)host->batch,
                               .state = host->state,
                               .row_state = (const real *const *)host->row_batch,
                               .given = (const real *const *)host->given,
                               .state_next = host->state_next,
                               .values = host->values,
                               .kept = host->kept,
                               .partials = host->partials,
                               .gradient = host->gradient,
                               .rows = rows,
                               .capacity = rows,
                               .seed = host->seed};
  run.call.settings[0] = (real)host->epoch;
  run.call.settings[1] = (real)host->step;
  run.call.settings[2] = (real)rows;
  run.call.settings[3] = (real)host->total_rows;
  run.call.settings[4] = host->weights[0];
  run.call.settings[5] = host->weights[1];
  run.scratch = host->scratch;
  run.scratch_size = host->sizes.scratch;
  run.parameters = host->parameters;
  run.workers = workers_of(host);
  return run;
}

int spm_host_initialise(struct spm_host *host, struct spm_error *error) {
  const struct spm_model *model = host->model;
  const struct spm_program *program = spm_find_program(model, "initialise");
  if (model->given_count > 0 && !host->is_given)
    return spm_fail(error, "%s: initial values need %s, and no data were there", model->name, model->givens[0].name);
  if (!program && model->parameter_count > 0) return spm_fail(error, "%s: has no program \"initialise\"", model->name);
  if (program) {
    struct spm_run run = spm_host_run(host, program, 0);
    spm_run_program(&run);
    for (int i = 0; i < program->output_count; i++) {
      const struct spm_output *output = &program->outputs[i];
      if (output->role != SPM_INITIAL_OF) continue;
      memcpy(host->parameters + model->parameters[output->index].offset, spm_output_values(&run, output),
             sizeof(real) * (size_t)output->size);
    }
  }
  for (int s = 0; s < model->state_count; s++)
    for (long i = 0; i < model->states[s].size; i++)
      host->state[model->states[s].offset + i] = (real)model->states[s].low;
  for (int p = 0; p < model->parameter_count; p++)
    if (!spm_all_finite(host->parameters + model->parameters[p].offset, model->parameters[p].size))
      return spm_fail(error, "%s: the initial value of %s is not finite", model->name, model->parameters[p].name);
  return 0;
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

unsigned spm_reading_of(const struct spm_tensor *data) {
  return (data->unit ? SPM_AS_UNIT : 0) | (data->missing_ok ? SPM_AS_MISSING : 0);
}

/* Labels stand in the last slots of where their one-hot vectors go; a vector never reaches a label not yet read. */
static void spread_labels(real *out, long labels, long categories) {
  const real *label = out + labels * (categories - 1);
  for (long i = 0; i < labels; i++) {
    bool missing = label[i] != label[i];
    long hot = missing ? -1 : (long)label[i];
    for (long k = 0; k < categories; k++) out[i * categories + k] = missing ? (real)NAN : k == hot ? 1 : 0;
  }
}

struct gather_context {
  struct spm_host *host;
  const struct spm_rows *rows;
  const long *order;
  long first, count, position; /* position: of the first in the set, or in the epoch */
  int failed[SPM_MAX_THREADS];
};

long spm_file_row(const struct spm_tensor *data) {
  return data->size / (data->categories ? data->categories : 1) / (data->gathered ? data->gathered : 1);
}

/* Gathered data: distinct rows of the set, by where and when they are drawn alone. */
static int gather_drawn(const struct gather_context *c, int d, long from, long count, real *out) {
  const struct spm_tensor *data = &c->host->model->data[d];
  long drawn[SPM_MAX_GATHERED], row = spm_file_row(data);
  int status = 0;
  for (long i = 0; i < count && status == 0; i++, out += data->gathered * row) {
    spm_draw_distinct(drawn, data->gathered, c->rows->count, c->host->seed, c->host->draw, c->position + from + i);
    for (long n = 0; n < data->gathered; n++)
      drawn[n] = c->rows->chosen ? c->rows->chosen[drawn[n]] : c->rows->first + drawn[n];
    status = spm_table_rows_f(c->rows->tables[d], drawn, 0, data->gathered, spm_reading_of(data), out);
  }
  return status;
}

static void gather_unit(void *context, long unit, int thread) {
  struct gather_context *c = context;
  long from = unit * GATHER_ROWS, count = c->count - from < GATHER_ROWS ? c->count - from : GATHER_ROWS;
  for (int d = 0; d < c->host->model->data_count; d++) {
    const struct spm_tensor *data = &c->host->model->data[d];
    real *out = c->host->batch[d] + from * data->size;
    if (!c->rows->tables[d]) { /* no file: all of it is missing */
      for (long i = 0; data->missing_ok && i < count * data->size; i++) out[i] = (real)NAN;
      continue;
    }
    long labels = data->categories ? count * data->size / data->categories : 0;
    real *read = out + labels * (data->categories - (labels > 0));
    int status = data->gathered ? gather_drawn(c, d, from, count, read)
                                : spm_table_rows_f(c->rows->tables[d], c->order ? c->order + from : NULL,
                                                   c->first + from, count, spm_reading_of(data), read);
    if (status != 0)
      c->failed[thread] = 1;
    else if (labels > 0)
      spread_labels(out, labels, data->categories);
  }
}

static int gather_data(struct spm_host *host, const struct spm_rows *rows, const long *order, long first, long count,
                       struct spm_error *error) {
  for (int d = 0; d < host->model->data_count; d++)
    if (host->model->data[d].gathered > rows->count)
      return spm_fail(error, "%s: each datum has %ld distinct rows of %s, and there are %ld to draw from",
                      host->model->name, host->model->data[d].gathered, host->model->data[d].name, rows->count);
  if (!order && rows->chosen) order = rows->chosen + first;
  struct gather_context context = {
      .host = host, .rows = rows, .order = order, .first = rows->first + first, .count = count, .position = first};
  long units = (count + GATHER_ROWS - 1) / GATHER_ROWS;
  if (host->threads > 1 && units > 1)
    pool_run(host->pool, units, gather_unit, &context);
  else
    for (long unit = 0; unit < units; unit++) gather_unit(&context, unit, 0);
  for (int thread = 0; thread < host->threads; thread++)
    if (context.failed[thread])
      return spm_fail(error, "%s: a row beyond the end of its file was asked for", host->model->name);
  return 0;
}

int spm_host_gather_data(struct spm_host *host, const struct spm_rows *rows, long first, long count,
                         struct spm_error *error) {
  return gather_data(host, rows, NULL, first, count, error);
}

/* ---- row states ---------------------------------------------------------------------------------------------- */

enum { ROWS_ON_DISK = 1 << 30, UPDATE_ROWS = 64 };

/* A file without a name: the kernel keeps in memory what is in use. Its blocks are asked for now: a disk that were full
 * later would end the program. */
static void *map_file(size_t bytes) {
  const char *folder = getenv("TMPDIR");
  char path[512];
  snprintf(path, sizeof path, "%s/spmc-rows-XXXXXX", folder && folder[0] ? folder : "/var/tmp");
  int file = mkstemp(path);
  if (file < 0) return NULL;
  unlink(path);
  void *memory = posix_fallocate(file, 0, (off_t)bytes) == 0
                     ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)
                     : MAP_FAILED;
  close(file);
  return memory == MAP_FAILED ? NULL : memory;
}

int spm_host_open_rows(struct spm_host *host, long rows, struct spm_error *error) {
  const struct spm_model *model = host->model;
  if (model->row_state_count == 0) return 0;
  bool moments = host->first && spm_rows_have_gradients(model);
  size_t count = (size_t)rows * (size_t)model->row_state_size, bytes = sizeof(real) * count * (moments ? 3 : 1);
  if (moments) bytes += sizeof(real) * (size_t)rows;
  real *memory = NULL;
  if (bytes >= ROWS_ON_DISK && (memory = map_file(bytes)) != NULL)
    host->blocks[host->block_count++] = (struct spm_block){memory, bytes};
  if (!memory) memory = reals(host, (long)(bytes / sizeof(real)));
  if (!memory)
    return spm_fail(error, "%s: not enough memory for what %ld rows own (about %.0f MB)", model->name, rows,
                    (double)bytes / 1e6);
  host->rows = (struct spm_row_memory){.rows = rows, .values = memory};
  if (!moments) return 0;
  host->rows.first = memory + count;
  host->rows.second = memory + 2 * count;
  host->rows.updates = memory + 3 * count;
  return 0;
}

static size_t row_reals(const struct spm_host *host) {
  return (size_t)host->rows.rows * (size_t)host->model->row_state_size;
}

int spm_host_open_best(struct spm_host *host, struct spm_error *error) {
  host->best = reals(host, host->model->parameter_size + host->model->state_size + (long)row_reals(host));
  return host->best ? 0 : spm_fail(error, "%s: not enough memory to keep the best parameters", host->model->name);
}

static void move_best(struct spm_host *host, bool back) {
  const struct spm_model *model = host->model;
  real *const places[] = {host->parameters, host->state, host->rows.values};
  const size_t sizes[] = {(size_t)model->parameter_size, (size_t)model->state_size, row_reals(host)};
  real *best = host->best;
  for (int i = 0; i < 3; best += sizes[i++])
    if (sizes[i] > 0) memcpy(back ? places[i] : best, back ? best : places[i], sizeof(real) * sizes[i]);
}

void spm_host_keep_best(struct spm_host *host) { move_best(host, false); }
void spm_host_take_best(struct spm_host *host) { move_best(host, true); }

void spm_host_forget_moments(struct spm_host *host) {
  size_t size = sizeof(real) * (size_t)host->model->parameter_size, rows = sizeof(real) * row_reals(host);
  if (host->first) memset(host->first, 0, size);
  if (host->second) memset(host->second, 0, size);
  if (!host->rows.first) return;
  memset(host->rows.first, 0, rows);
  memset(host->rows.second, 0, rows);
  memset(host->rows.updates, 0, sizeof(real) * (size_t)host->rows.rows);
}

/* Rows that nobody has fitted yet, in the gathered batch. */
int spm_host_begin_rows(struct spm_host *host, long first, long count, unsigned step, struct spm_error *error) {
  const struct spm_model *model = host->model;
  const struct spm_program *program = spm_find_program(model, "initialise_rows");
  if (!program) return spm_fail(error, "%s: has no program \"initialise_rows\"", model->name);
  struct spm_run run = spm_host_run(host, program, count);
  run.call.first_row = first;
  run.call.step = step;
  int broken = spm_rows_begin(&run, host->row_batch);
  return broken < 0 ? 0
                    : spm_fail(error, "%s: the initial value of %s is not finite", model->name,
                               model->row_states[broken].name);
}

int spm_host_initialise_rows(struct spm_host *host, const struct spm_rows *rows, struct spm_error *error) {
  for (long first = 0; first < rows->count && host->model->row_state_count > 0; first += SPM_EVALUATION_ROWS) {
    long count = rows->count - first < SPM_EVALUATION_ROWS ? rows->count - first : SPM_EVALUATION_ROWS;
    struct spm_row_numbers numbers = {NULL, first, count};
    if (gather_data(host, rows, NULL, first, count, error) != 0 ||
        spm_host_begin_rows(host, first, count, 0, error) != 0)
      return -1;
    spm_rows_scatter(host->model, &host->rows, &numbers, (const real *const *)host->row_batch);
  }
  return 0;
}

int spm_host_export_rows(struct spm_host *host, int index, real *out, struct spm_error *error) {
  const struct spm_tensor *state = &host->model->row_states[index];
  const struct spm_program *program = spm_find_program(host->model, "export_rows");
  const struct spm_output *output = program ? spm_find_output(program, SPM_ROWS, state->name) : NULL;
  if (!output) return spm_fail(error, "%s: has no program \"export_rows\" with %s", host->model->name, state->name);
  for (long first = 0; first < host->rows.rows; first += SPM_EVALUATION_ROWS) {
    long count = host->rows.rows - first < SPM_EVALUATION_ROWS ? host->rows.rows - first : SPM_EVALUATION_ROWS;
    struct spm_row_numbers numbers = {NULL, first, count};
    spm_rows_gather(host->model, &host->rows, &numbers, host->row_batch);
    struct spm_run run = spm_host_run(host, program, count);
    spm_run_program(&run);
    memcpy(out + first * state->size, spm_output_values(&run, output), sizeof(real) * (size_t)(count * state->size));
  }
  return 0;
}

/* Rows that own nothing yet. */
static int fit_new_rows(struct spm_host *host, long first, long count, struct spm_error *error) {
  const struct spm_program *program = spm_find_program(host->model, "fit_new");
  if (spm_host_begin_rows(host, first, count, 0, error) != 0) return -1;
  if (program) {
    struct spm_run run = spm_host_run(host, program, count);
    run.call.first_row = first;
    spm_fit_rows(&host->fitter, &run, &host->model->fit_new, host->row_batch);
  }
  return 0;
}

void spm_host_scatter(struct spm_host *host, const long *order, long first, long count) {
  struct spm_row_numbers numbers = {order, first, count};
  spm_rows_scatter(host->model, &host->rows, &numbers, (const real *const *)host->row_batch);
}

int spm_host_gather(struct spm_host *host, const struct spm_rows *rows, const long *order, long first, long count,
                    struct spm_error *error) {
  if (!order && rows->chosen) order = rows->chosen + first;
  if (gather_data(host, rows, order, first, count, error) != 0) return -1;
  if (host->model->row_state_count == 0) return 0;
  if (!rows->owned || host->rows.rows == 0) return fit_new_rows(host, first, count, error);
  struct spm_row_numbers numbers = {order, first, count};
  spm_rows_gather(host->model, &host->rows, &numbers, host->row_batch);
  return 0;
}

struct row_update {
  const struct spm_host *host;
  const struct spm_run *run;
  struct spm_row_numbers rows;
  const struct spm_optimizer *optimizer;
  double lr;
  int broken[SPM_MAX_THREADS]; /* 1 + row state; 0: none */
};

static void update_unit(void *context, long unit, int thread) {
  struct row_update *u = context;
  long from = unit * UPDATE_ROWS, count = u->rows.count - from < UPDATE_ROWS ? u->rows.count - from : UPDATE_ROWS;
  int broken = spm_rows_update(u->run, &u->host->rows, &u->rows, from, count, u->optimizer, u->lr);
  if (broken >= 0 && (u->broken[thread] == 0 || broken < u->broken[thread] - 1)) u->broken[thread] = broken + 1;
}

int spm_host_update_rows(struct spm_host *host, const struct spm_run *run, const long *order, long first,
                         const struct spm_optimizer *optimizer, double lr) {
  struct row_update u = {host, run, {order, first, run->call.rows}, optimizer, lr, {0}};
  int broken = -1;
  if (host->model->row_state_count == 0) return -1;
  pool_run(host->pool, (run->call.rows + UPDATE_ROWS - 1) / UPDATE_ROWS, update_unit, &u);
  for (int thread = 0; thread < host->threads; thread++)
    if (u.broken[thread] > 0 && (broken < 0 || u.broken[thread] - 1 < broken)) broken = u.broken[thread] - 1;
  return broken;
}

/* ---- columns ------------------------------------------------------------------------------------------------- */

static bool is_column(const struct spm_output *output) {
  return output->place == SPM_VALUES && (output->role == SPM_OBJECTIVE || output->role == SPM_TERM ||
                                         output->role == SPM_METRIC || output->role == SPM_VALUE);
}

static bool is_share(const struct spm_output *output) {
  return output->place == SPM_VALUES && output->role == SPM_SHARE_OF;
}

int spm_columns_create(struct spm_columns *columns, const struct spm_program *program, struct spm_error *error) {
  long count = 0;
  for (int i = 0; i < program->output_count; i++)
    if (is_column(&program->outputs[i]) || is_share(&program->outputs[i])) count += program->outputs[i].size;
  *columns = (struct spm_columns){.program = program};
  columns->names = calloc((size_t)count + 1, sizeof *columns->names);
  columns->roles = calloc((size_t)count + 1, sizeof *columns->roles);
  if (!columns->names || !columns->roles) {
    spm_columns_free(columns);
    return spm_fail_system(error, program->name, "list the outputs", ENOMEM);
  }
  for (int i = 0; i < program->output_count; i++) {
    const struct spm_output *output = &program->outputs[i];
    for (long e = 0; is_column(output) && e < output->size; e++) {
      const char *name = output->name && output->name[0] ? output->name : "objective";
      char *text = columns->names[columns->count];
      if (output->size == 1)
        snprintf(text, sizeof *columns->names, "%s", name);
      else
        snprintf(text, sizeof *columns->names, "%.80s[%ld]", name, e);
      columns->roles[columns->count++] = output->role;
    }
  }
  columns->shown = columns->count;
  for (int i = 0; i < program->output_count; i++) {
    if (!is_share(&program->outputs[i])) continue;
    snprintf(columns->names[columns->count], sizeof *columns->names, "%s", program->outputs[i].name);
    columns->roles[columns->count++] = SPM_SHARE_OF;
  }
  return 0;
}

void spm_columns_finish(const struct spm_columns *columns, double *means) {
  for (int share = columns->shown; share < columns->count; share++)
    for (int i = 0; i < columns->shown; i++)
      if (columns->roles[i] == SPM_METRIC && strcmp(columns->names[i], columns->names[share]) == 0)
        means[i] = means[share] > 0 ? means[i] / means[share] : (double)NAN;
}

void spm_columns_free(struct spm_columns *columns) {
  free(columns->names);
  free(columns->roles);
  memset(columns, 0, sizeof *columns);
}

void spm_columns_read(const struct spm_columns *columns, const struct spm_run *run, double *values) {
  for (int i = 0; i < columns->program->output_count; i++) {
    const struct spm_output *output = &columns->program->outputs[i];
    if (!is_column(output)) continue;
    const real *from = spm_output_values(run, output);
    for (long e = 0; e < output->size; e++) *values++ = (double)from[e];
  }
  for (int i = 0; i < columns->program->output_count; i++)
    if (is_share(&columns->program->outputs[i]))
      *values++ = (double)*spm_output_values(run, &columns->program->outputs[i]);
}

/* ---- evaluation ---------------------------------------------------------------------------------------------- */

/* The columns of `count` rows as a batch of their own. */
static int evaluate_batch(struct spm_host *host, const struct spm_rows *rows, const struct spm_columns *columns,
                          long first, long count, double *values, struct spm_error *error) {
  if (spm_host_gather(host, rows, NULL, first, count, error) != 0) return -1;
  struct spm_run run = spm_host_run(host, columns->program, count);
  run.call.first_row = first;
  spm_run_program(&run);
  spm_columns_read(columns, &run, values);
  return 0;
}

int spm_host_evaluate_each(struct spm_host *host, const struct spm_rows *rows, const struct spm_columns *columns,
                           double *values, struct spm_error *error) {
  for (long row = 0; row < rows->count; row++) {
    double *of_row = values + row * columns->count;
    if (evaluate_batch(host, rows, columns, row, 1, of_row, error) != 0) return -1;
    spm_columns_finish(columns, of_row);
  }
  return 0;
}

int spm_host_evaluate(struct spm_host *host, const struct spm_rows *rows, const struct spm_columns *columns,
                      double *means, struct spm_error *error) {
  double *values = calloc((size_t)columns->count + 1, sizeof *values);
  if (!values) return spm_fail_system(error, host->model->name, "evaluate", ENOMEM);
  for (int i = 0; i < columns->count; i++) means[i] = 0;
  int status = 0;
  for (long first = 0; first < rows->count && status == 0; first += SPM_EVALUATION_ROWS) {
    long count = rows->count - first < SPM_EVALUATION_ROWS ? rows->count - first : SPM_EVALUATION_ROWS;
    status = evaluate_batch(host, rows, columns, first, count, values, error);
    for (int i = 0; i < columns->count && status == 0; i++) means[i] += values[i] * (double)count;
  }
  for (int i = 0; i < columns->count; i++) means[i] /= (double)rows->count;
  spm_columns_finish(columns, means);
  free(values);
  return status;
}

/* ---- solved parameters --------------------------------------------------------------------------------------- */

int spm_host_solve(struct spm_host *host, const struct spm_rows *rows, struct spm_error *error) {
  const struct spm_model *model = host->model;
  const struct spm_program *program = spm_find_program(model, "solve");
  if (!program) return 0;
  double *sums = calloc((size_t)model->parameter_size + 1, sizeof *sums);
  int status = sums ? 0 : spm_fail_system(error, model->name, "solve", ENOMEM);
  for (long first = 0; first < rows->count && status == 0; first += SPM_EVALUATION_ROWS) {
    long count = rows->count - first < SPM_EVALUATION_ROWS ? rows->count - first : SPM_EVALUATION_ROWS;
    status = spm_host_gather(host, rows, NULL, first, count, error);
    if (status != 0) break;
    struct spm_run run = spm_host_run(host, program, count);
    run.call.first_row = first;
    spm_run_program(&run);
    spm_solved_add(&run, sums);
  }
  int broken = status == 0 ? spm_solved_set(model, program, sums, rows->count, host->parameters) : -1;
  if (broken >= 0)
    status = spm_fail(error, "%s: the optimum of %s is not finite", model->name, model->parameters[broken].name);
  free(sums);
  return status;
}
