/* Training: epochs of minibatches through program "train", checkpoints, and what to do when a number is not finite. */
#include "train.h"
#include "saved.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct training {
  struct spm_host *host;
  const struct train_options *options;
  struct train_state *state;
  const struct train_events *events;
  const struct spm_program *train, *project; /* project: NULL unless a parameter is projected */
  const struct spm_program *fit;             /* of row states before each step, or NULL */
  bool lbfgs;                                /* steps are those of fit.h */
  struct spm_optimizer optimizer;
  const struct spm_selection *rows; /* that the stage takes */
  struct spm_selection own;         /* where the caller has made none */
  struct spm_rows taken;            /* each of them once */
  struct spm_selection judging;     /* of the validation rows: `rows` holds for them, too */
  struct spm_rows judges;
  long batch, epoch_steps, total_steps;
  long *order; /* of the epoch's rows; NULL: as they stand */
  double *values, *means, *valid;
  int broken_rows; /* the row state of which a gradient was not finite in this step, or -1 */
  double last_checkpoint;
  long solved_at; /* step */
  int kept;       /* the column of `valid` of which the best is kept, or -1 */
};

/* ---- plan ---------------------------------------------------------------------------------------------------- */

int train_state_create(struct train_state *state, int columns, struct spm_error *error) {
  *state = (struct train_state){.count = columns};
  state->sums = calloc((size_t)columns + 1, sizeof *state->sums);
  return state->sums ? 0 : spm_fail_system(error, "training", "begin", ENOMEM);
}

void train_next_stage(struct spm_host *host, struct train_state *state) {
  spm_host_forget_moments(host);
  struct train_state next = {.stage = state->stage + 1,
                             .skipped = state->skipped,
                             .earlier_epochs = state->earlier_epochs + state->epoch,
                             .earlier_steps = state->earlier_steps + state->step,
                             .sums = state->sums,
                             .count = state->count};
  for (int i = 0; i < next.count; i++) next.sums[i] = 0;
  *state = next;
}

void train_state_free(struct train_state *state) {
  free(state->sums);
  *state = (struct train_state){0};
}

/* ---- one step ------------------------------------------------------------------------------------------------ */

/* No NaN has a sign that means anything. */
static double printed(double v) { return isnan(v) ? (double)NAN : v; }

/* The first thing that is not finite: a term before the objective that it is part of. */
static void name_culprit(const struct training *t, const struct spm_run *run, char *text, size_t size) {
  const struct spm_columns *columns = t->options->train_columns;
  for (int i = 0; i < columns->count; i++)
    if (columns->roles[i] == SPM_TERM && !isfinite(t->values[i])) {
      snprintf(text, size, "the term %s is %g", columns->names[i], printed(t->values[i]));
      return;
    }
  for (int i = 0; i < columns->count; i++)
    if (columns->roles[i] == SPM_OBJECTIVE && !isfinite(t->values[i])) {
      snprintf(text, size, "the objective is %g", printed(t->values[i]));
      return;
    }
  if (!spm_is_rate(run->lr)) {
    snprintf(text, size, "the learning rate is %g", printed(run->lr));
    return;
  }
  snprintf(text, size, "the gradient of %s is not finite",
           run->broken >= 0      ? t->host->model->parameters[run->broken].name
           : t->broken_rows >= 0 ? t->host->model->row_states[t->broken_rows].name
                                 : "a parameter");
}

static void add_to_sums(struct training *t, long rows) {
  struct train_state *state = t->state;
  for (int i = 0; i < state->count; i++) {
    if (t->options->train_columns->roles[i] == SPM_VALUE)
      state->sums[i] = t->values[i];
    else
      state->sums[i] += t->values[i] * (double)rows;
  }
  state->rows += (double)rows;
}

static int after_step(struct training *t, int status, const struct spm_run *run, struct spm_error *error) {
  struct train_state *state = t->state;
  struct spm_host *host = t->host;
  if (status != SPM_STEP_SKIPPED) {
    real *swap = host->state;
    host->state = host->state_next;
    host->state_next = swap;
    state->updates++;
  }
  state->step++;
  state->batch++;
  if (status == SPM_STEP_UPDATED) {
    state->in_a_row = 0;
    add_to_sums(t, run->call.rows);
    return 0;
  }
  char culprit[256];
  state->skipped++;
  state->in_a_row++;
  name_culprit(t, run, culprit, sizeof culprit);
  if (t->events->skipped) t->events->skipped(t->events->context, state, culprit);
  if (state->in_a_row < TRAIN_SKIPS_ALLOWED) return 0;
  const char *advice = !spm_is_rate(run->lr) ? "look at its schedule"
                       : state->updates > 0  ? "a lower learning rate may help"
                                             : "no step has been made yet, so it is so where the params begin: look at "
                                               "their `init`, and at what single precision leaves of small differences";
  return spm_fail(error, "training stopped at step %ld: %s, in %d steps one after the other; %s", state->step, culprit,
                  TRAIN_SKIPS_ALLOWED, advice);
}

/* Counts through all stages: none draws what another has drawn. */
static unsigned noise_step(const struct train_state *state) { return (unsigned)(state->earlier_steps + state->step); }

/* The batch's row states, moved with the parameters held, and remembered. */
static int fit_batch(struct training *t, const long *order, long first, long rows, struct spm_error *error) {
  struct spm_host *host = t->host;
  const struct spm_fit *fit = &host->model->fit;
  unsigned step = noise_step(t->state);
  host->epoch = t->state->epoch;
  host->step = t->state->step;
  if (fit->restart && spm_host_begin_rows(host, 0, rows, step, error) != 0) return -1;
  struct spm_run run = spm_host_run(host, t->fit, rows);
  run.call.step = step;
  spm_fit_rows(&host->fitter, &run, fit, host->row_batch);
  spm_host_scatter(host, order, first, rows);
  return 0;
}

static int run_step(struct training *t, struct spm_error *error) {
  struct spm_host *host = t->host;
  const struct spm_rows *data = &t->taken;
  long first = t->state->batch * t->batch, left = t->rows->epoch_rows - first, rows = left < t->batch ? left : t->batch;
  host->draw = noise_step(t->state) + 1;
  int status = spm_host_gather(host, data, t->order ? t->order + first : NULL, first, rows, error);
  host->draw = 0;
  if (status != 0) return -1;
  host->epoch = t->state->epoch;
  host->step = t->state->step;
  const long *order = t->order ? t->order + first : NULL;
  if (t->fit && fit_batch(t, order, first, rows, error) != 0) return -1;
  struct spm_run run = spm_host_run(host, t->train, rows);
  run.call.step = noise_step(t->state);
  t->optimizer.updates = t->state->updates;
  status = t->lbfgs ? spm_fit_step(&host->fitter, &run, &t->options->training.fit, host->parameters, host->row_batch)
                    : spm_run_step(&run, &t->optimizer);
  spm_columns_read(t->options->train_columns, &run, t->values);
  t->broken_rows = -1;
  if (t->lbfgs)
    spm_host_scatter(host, order, first, rows);
  else if (status != SPM_STEP_SKIPPED)
    t->broken_rows = spm_host_update_rows(host, &run, order, first, &t->optimizer, run.lr);
  if (t->broken_rows >= 0) status = SPM_STEP_PARTLY;
  if (t->project && status != SPM_STEP_SKIPPED) {
    struct spm_run project = spm_host_run(host, t->project, 0);
    spm_run_project(&project, host->parameters);
  }
  return after_step(t, status, &run, error);
}

/* ---- epochs -------------------------------------------------------------------------------------------------- */

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* What training inserts batch by batch, for all rows; once between two steps. */
static int solve(struct training *t, struct spm_error *error) {
  if (t->solved_at == t->state->step) return 0;
  if (spm_host_solve(t->host, &t->taken, error) != 0) return -1;
  t->solved_at = t->state->step;
  return 0;
}

static int write_checkpoint(struct training *t, bool always, struct spm_error *error) {
  double now = seconds_now();
  if (!t->options->checkpoint) return 0;
  if (!always && now - t->last_checkpoint < t->options->checkpoint_interval) return 0;
  t->host->epoch = t->state->epoch;
  t->host->step = t->state->step;
  if (solve(t, error) != 0) return -1;
  struct saved_run run = {.seed = t->host->seed,
                          .batch = spm_most_batch_rows(&t->options->training, t->options->data.count),
                          .rows = t->options->data.count,
                          .stage = t->state->stage,
                          .data = &t->options->data,
                          .valid = &t->options->valid};
  if (saved_write(t->options->checkpoint, t->host, &run, t->state, error) != 0) return -1;
  t->last_checkpoint = now;
  return 0;
}

static void take_means(struct training *t) {
  struct train_state *state = t->state;
  for (int i = 0; i < state->count; i++) {
    bool last = t->options->train_columns->roles[i] == SPM_VALUE;
    t->means[i] = last ? state->sums[i] : state->rows > 0 ? state->sums[i] / state->rows : (double)NAN;
    state->sums[i] = 0;
  }
  spm_columns_finish(t->options->train_columns, t->means);
  state->rows = 0;
}

static void note_objective(struct training *t) {
  struct train_state *state = t->state;
  const struct spm_columns *columns = t->options->train_columns;
  int column = 0;
  while (column < columns->count && columns->roles[column] != SPM_OBJECTIVE) column++;
  if (column < columns->count)
    state->unchanged = train_unchanged(state->recent, t->options->training.unchanged, state->epoch, t->means[column]);
}

/* keep = best(...): a value that is not a number is never the best. */
static void note_best(struct training *t, const double *valid) {
  struct train_state *state = t->state;
  if (t->kept < 0 || isnan(valid[t->kept])) return;
  double value = t->options->training.smallest ? -valid[t->kept] : valid[t->kept];
  if (state->has_best && value <= state->best) return;
  spm_host_keep_best(t->host);
  state->has_best = 1;
  state->best = value;
  state->best_epoch = state->epoch;
  state->best_step = state->step;
}

static void take_best(struct training *t) {
  if (!t->state->has_best) return;
  spm_host_take_best(t->host);
  t->host->epoch = t->state->best_epoch;
  t->host->step = t->state->best_step;
  t->solved_at = t->state->step; /* what was kept was solved when it was judged */
}

/* By what `stop` says. */
static bool has_ended(const struct training *t) {
  const struct train_state *state = t->state;
  return state->unchanged || train_stalled(t->options->training.patience, state->epoch, state->best_epoch);
}

static int finish_epoch(struct training *t, struct spm_error *error) {
  struct train_state *state = t->state;
  take_means(t);
  note_objective(t);
  t->host->epoch = ++state->epoch;
  t->host->step = state->step;
  state->batch = 0;
  double *valid = NULL;
  if (t->judges.count > 0) {
    valid = t->valid;
    if (solve(t, error) != 0) return -1;
    if (spm_host_evaluate(t->host, &t->judges, t->options->valid_columns, valid, error) != 0) return -1;
    note_best(t, valid);
  }
  if (t->events->epoch && t->events->epoch(t->events->context, state, t->means, valid, error) != 0) return -1;
  return write_checkpoint(t, has_ended(t) || state->step >= t->total_steps, error);
}

static bool should_stop(const struct training *t) { return t->options->stop && *t->options->stop; }

static int run_epoch(struct training *t, struct spm_error *error) {
  struct train_state *state = t->state;
  if (t->order)
    spm_selection_order(t->rows, t->options->training.shuffle, t->host->seed, state->earlier_epochs + state->epoch,
                        t->order);
  while (state->batch < t->epoch_steps && state->step < t->total_steps) {
    if (run_step(t, error) != 0) return TRAIN_FAILED;
    if (t->events->step) t->events->step(t->events->context, state, t->values);
    /* At the end of an epoch it is finished first: its row of metrics belongs to it. */
    if (should_stop(t) && state->batch < t->epoch_steps && state->step < t->total_steps)
      return write_checkpoint(t, true, error) == 0 ? TRAIN_INTERRUPTED : TRAIN_FAILED;
  }
  if (finish_epoch(t, error) != 0) return TRAIN_FAILED;
  if (!should_stop(t) || has_ended(t) || state->step >= t->total_steps) return TRAIN_FINISHED;
  return write_checkpoint(t, true, error) == 0 ? TRAIN_INTERRUPTED : TRAIN_FAILED;
}

/* ---- whole runs ---------------------------------------------------------------------------------------------- */

static int prepare_optimizer(struct training *t, struct spm_error *error) {
  const struct spm_training *s = &t->options->training;
  t->optimizer = (struct spm_optimizer){
      .stage = s, .first = t->host->first, .second = t->host->second, .unfused = t->options->unfused};
  t->lbfgs = strcmp(s->optimizer, "lbfgs") == 0;
  if (!t->lbfgs && strcmp(s->optimizer, "adam") != 0 && strcmp(s->optimizer, "sgd") != 0)
    return spm_fail(error, "%s: there is no optimizer called '%s'", t->host->model->name, s->optimizer);
  return 0;
}

static int prepare_best(struct training *t, struct spm_error *error) {
  const struct train_options *options = t->options;
  const char *keep = options->training.keep;
  t->kept = -1;
  if (!keep) return 0;
  for (int i = 0; options->valid.count > 0 && i < options->valid_columns->count && t->kept < 0; i++)
    if (strcmp(options->valid_columns->names[i], keep) == 0) t->kept = i;
  if (t->kept < 0)
    return spm_fail(error, "%s: to keep the best %s there must be validation rows that it is reported for",
                    t->host->model->name, keep);
  return t->host->best ? 0 : spm_host_open_best(t->host, error);
}

/* Which rows there are, in what batches; global terms are divided by their number. */
static int prepare_rows(struct training *t, struct spm_error *error) {
  const struct train_options *options = t->options;
  const struct spm_training *s = &options->training;
  t->rows = options->selection ? options->selection : &t->own;
  if (!options->selection && spm_host_select(t->host, s, &options->data, true, &t->own, error) != 0) return -1;
  const struct spm_selection *rows = t->rows;
  t->taken = options->data;
  t->taken.chosen = rows->numbers;
  t->taken.count = rows->count;
  t->batch = rows->batch;
  t->epoch_steps = (rows->epoch_rows + rows->batch - 1) / rows->batch;
  t->total_steps = s->epochs * t->epoch_steps;
  if (s->steps > 0 && s->steps < t->total_steps) t->total_steps = s->steps;
  if (strcmp(s->optimizer, "lbfgs") == 0 && t->epoch_steps > 1)
    return spm_fail(error, "%s: lbfgs takes all %ld rows in each step, and a batch has %ld", t->host->model->name,
                    rows->count, t->batch);
  if (rows->numbers) t->host->total_rows = rows->count;
  memcpy(t->host->weights, rows->weights, sizeof rows->weights);
  if (!s->shuffle && !rows->numbers) return 0;
  t->order = malloc(sizeof *t->order * (size_t)(rows->balanced ? 2 * rows->epoch_rows : rows->epoch_rows));
  return t->order ? 0 : spm_fail_system(error, t->host->model->name, "train", ENOMEM);
}

static int prepare_judges(struct training *t, struct spm_error *error) {
  t->judges = t->options->valid;
  if (t->judges.count == 0 || !t->options->training.selects) return 0;
  if (spm_host_select(t->host, &t->options->training, &t->options->valid, false, &t->judging, error) != 0) return -1;
  t->judges.chosen = t->judging.numbers;
  t->judges.count = t->judging.count;
  return 0;
}

static int prepare(struct training *t, struct spm_error *error) {
  const struct train_options *options = t->options;
  const struct spm_model *model = t->host->model;
  t->train = spm_find_program(model, "train");
  if (!t->train) return spm_fail(error, "%s: has no program \"train\"", model->name);
  for (int p = 0; p < model->parameter_count; p++)
    if (model->parameters[p].projected && !model->parameters[p].fixed) t->project = spm_find_program(model, "project");
  if (model->fit.steps > 0) t->fit = spm_find_program(model, "fit");
  t->values = calloc((size_t)t->state->count + 1, sizeof *t->values);
  t->means = calloc((size_t)t->state->count + 1, sizeof *t->means);
  t->valid = calloc((size_t)(options->valid_columns ? options->valid_columns->count : 0) + 1, sizeof *t->valid);
  if (!t->values || !t->means || !t->valid) return spm_fail_system(error, model->name, "train", ENOMEM);
  t->last_checkpoint = seconds_now();
  if (prepare_rows(t, error) != 0 || prepare_judges(t, error) != 0) return -1;
  return prepare_best(t, error) == 0 ? prepare_optimizer(t, error) : -1;
}

int train_run(struct spm_host *host, const struct train_options *options, struct train_state *state,
              const struct train_events *events, struct spm_error *error) {
  struct training t = {.solved_at = -1, .host = host, .options = options, .state = state, .events = events};
  long total_rows = host->total_rows;
  int status = prepare(&t, error);
  while (status == TRAIN_FINISHED && state->step < t.total_steps && !has_ended(&t)) status = run_epoch(&t, error);
  host->epoch = state->epoch;
  host->step = state->step;
  if (status == TRAIN_FINISHED) take_best(&t);
  if (status != TRAIN_FAILED && solve(&t, error) != 0) status = TRAIN_FAILED;
  host->total_rows = total_rows;
  memset(host->weights, 0, sizeof host->weights);
  spm_host_selection_free(&t.own);
  spm_host_selection_free(&t.judging);
  free(t.order);
  free(t.values);
  free(t.means);
  free(t.valid);
  return status;
}
