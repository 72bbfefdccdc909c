/* spmc train: a spec and data -> a run directory with a trained model. */
#include "command_run.h"
#include "statements.h"

#include "runtime/blas.h"
#include "runtime/files.h"
#include "runtime/saved.h"
#include "runtime/train.h"
#include "runtime/words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal;

static void note_signal(int number) { stop_signal = number; }

/* The first one ends the run in order; SA_RESETHAND lets a second one end it at once. */
static void watch_signals(void) {
  struct sigaction action = {.sa_handler = note_signal, .sa_flags = (int)SA_RESETHAND};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

typedef struct Run { /* one `spmc train` */
  const Arguments *a;
  Loaded loaded;
  DataSet data, valid, test;
  const struct spm_table **tables; /* three arrays of data_count: data, valid, test */
  struct spm_rows data_rows, valid_rows, test_rows;
  struct spm_training *trainings; /* the stages, with what the command line changed */
  int stage_count;
  struct spm_host host;
  struct spm_columns train_columns, evaluate_columns;
  struct train_state state;
  bool resumed, growth_told;
  char *checkpoint;
  int lock; /* of the run's directory, or -1 */
  struct report_progress progress;
  struct report_metrics metrics;
  const char **names; /* of the metrics' columns */
  double *row;        /* of the metrics */
} Run;

/* ---- settings ------------------------------------------------------------------------------------------------ */

/* Of a stage's block; of the only one, where there are no stages. */
static bool spec_sets(const Model *model, const char *stage, const char *setting) {
  for (int i = 0; i < model->items.count; i++) {
    const Item *item = model->items.items[i];
    if (item->kind != ITEM_TRAIN || strcmp(item->name ? item->name : "", stage) != 0) continue;
    for (int s = 0; s < item->setting_count; s++)
      if (strcmp(item->settings[s].name, setting) == 0) return true;
  }
  return false;
}

static unsigned long long draw_seed(void) {
  uint32_t seed; /* short enough to be read out and typed in */
  if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) seed = (uint32_t)getpid();
  return seed;
}

static void list_files(const Run *run, Settings *s) {
  char name[96];
  const struct {
    const char *kind;
    const DataSet *set;
  } sets[] = {{"data", &run->data}, {"valid", &run->valid}, {"test", &run->test}};
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < sets[k].set->count; i++) {
      snprintf(name, sizeof name, "%s%s%.60s", sets[k].kind, sets[k].set->files[i].name[0] ? " " : "",
               sets[k].set->files[i].name);
      setting_text(s, name, sets[k].set->files[i].path, false);
    }
}

/* "lr", or "NAME.lr" of a stage. */
static const char *of_stage(const Run *run, const struct spm_training *t, const char *setting) {
  return t->name[0] ? arena_printf(run->loaded.compilation, "%s.%s", t->name, setting) : setting;
}

static void list_optimizer(const Run *run, const struct spm_training *t, Settings *s) {
  bool adam = strcmp(t->optimizer, "adam") == 0, lbfgs = strcmp(t->optimizer, "lbfgs") == 0;
  bool optimizer = !spec_sets(run->loaded.model, t->name, "optimizer");
  setting_text(s, of_stage(run, t, "optimizer"), t->optimizer, optimizer);
  if (lbfgs) {
    setting_whole(s, of_stage(run, t, "iterations"), t->fit.steps, optimizer);
    setting_whole(s, of_stage(run, t, "history"), t->fit.history, optimizer);
    return;
  }
  if (t->rate)
    setting_text(s, of_stage(run, t, "lr"), "a schedule of the spec", false);
  else
    setting_number(s, of_stage(run, t, "lr"), t->lr, optimizer);
  if (adam) setting_number(s, of_stage(run, t, "beta1"), t->beta1, optimizer);
  if (adam) setting_number(s, of_stage(run, t, "beta2"), t->beta2, optimizer);
  if (adam) setting_number(s, of_stage(run, t, "epsilon"), t->epsilon, optimizer);
  if (!adam) setting_number(s, of_stage(run, t, "momentum"), t->momentum, optimizer);
  setting_number(s, of_stage(run, t, "weight_decay"), t->weight_decay, optimizer);
  const double clip = model_training(run->loaded.model)->clip;
  if (clip > 0) setting_number(s, of_stage(run, t, "clip"), clip, false);
}

static void list_stage(const Run *run, const struct spm_training *t, Settings *s) {
  const Arguments *a = run->a;
  const Model *model = run->loaded.model;
  list_optimizer(run, t, s);
  setting_whole(s, of_stage(run, t, "batch"), spm_most_batch_rows(t, run->data_rows.count),
                a->batch < 0 && !spec_sets(model, t->name, "batch"));
  setting_whole(s, of_stage(run, t, "epochs"), t->epochs, a->epochs < 0 && !spec_sets(model, t->name, "epochs"));
  if (t->steps > 0) setting_whole(s, of_stage(run, t, "steps"), t->steps, false);
  setting_flag(s, of_stage(run, t, "shuffle"), t->shuffle, !spec_sets(model, t->name, "shuffle"));
  if (t->keep) setting_text(s, of_stage(run, t, t->smallest ? "keep smallest" : "keep best"), t->keep, false);
  if (t->patience > 0) setting_whole(s, of_stage(run, t, "patience"), t->patience, false);
}

static void list_settings(const Run *run, Settings *s) {
  const Arguments *a = run->a;
  setting_text(s, "spec", a->target, false);
  setting_text(s, "model", run->loaded.descriptor->name, false);
  list_files(run, s);
  settings_model(s, a, &run->data, run->loaded.descriptor->data[0].name);
  for (int i = 0; i < run->stage_count; i++) list_stage(run, &run->trainings[i], s);
  snprintf(s->seed_text, sizeof s->seed_text, "%llu", run->host.seed);
  setting_text(s, "seed", s->seed_text, false);
  setting_whole(s, "rows", run->data_rows.count, false);
  if (run->valid_rows.count > 0) setting_whole(s, "validation rows", run->valid_rows.count, false);
  setting_whole(s, "threads", run->host.threads, a->threads < 0);
  setting_text(s, "blas", spm_blas_name(), a->blas < 0 && !run->resumed);
}

/* ---- what training tells ------------------------------------------------------------------------------------- */

static int shown_columns(const struct spm_columns *columns, const char **names, const double *values, double *shown) {
  int count = 0;
  for (int role = SPM_OBJECTIVE; role <= SPM_TERM; role++) /* the objective before its terms */
    for (int i = 0; i < columns->count && count < 8; i++) {
      if (columns->roles[i] != role) continue;
      names[count] = columns->names[i];
      shown[count++] = values[i];
    }
  return count;
}

/* The latent of a column step_growth(NAME), or "" of another. */
static const char *growing_latent(const char *column, size_t *length) {
  static const char prefix[] = "step_growth(";
  const char *name = strncmp(column, prefix, sizeof prefix - 1) == 0 ? column + sizeof prefix - 1 : "";
  *length = strcspn(name, ")");
  return name;
}

/* Steps of inference that grow are told of once: the numbers may stay finite, and the codes mean nothing. */
static void watch_growth(Run *run, const double *values) {
  for (int i = 0; i < run->train_columns.count && !run->growth_told; i++) {
    size_t length;
    const char *latent = growing_latent(run->train_columns.names[i], &length);
    if (length == 0 || values[i] <= 1) continue;
    report_progress_clear(&run->progress);
    fprintf(stderr,
            "spmc: warning: the steps by which `%.*s` is inferred grow instead of settling: they are too long; write "
            "`step_size = lipschitz` where the decoder is linear, or a smaller step_size\n",
            (int)length, latent);
    run->growth_told = true;
  }
}

static void on_step(void *context, const struct train_state *state, const double *values) {
  Run *run = context;
  watch_growth(run, values);
  const char *names[8];
  double shown[8];
  int count = shown_columns(&run->train_columns, names, values, shown);
  long batch = state->batch;
  report_progress_step(&run->progress, state->epoch, batch, names, shown, count);
}

/* What the curve shows: the ELBO where there is one, else the objective. */
static const char *curve_name(const struct spm_columns *columns) {
  const char *name = "objective";
  for (int i = 0; i < columns->count; i++) {
    if (strcmp(columns->names[i], "elbo") == 0) return "elbo";
    if (columns->roles[i] == SPM_OBJECTIVE) name = columns->names[i];
  }
  return name;
}

/* Of a model with relaxed posteriors: how far its ELBO is from that of hard draws, after an epoch; on the first rows
 * of the data where none are held back. */
static int gap_column(const struct spm_columns *columns) {
  for (int i = 0; i < columns->count; i++)
    if (strcmp(columns->names[i], "relaxation_gap") == 0) return i;
  return -1;
}

static int relaxation_gap(Run *run, const double *valid, double *gap, struct spm_error *error) {
  enum { GAP_ROWS = 1000 };
  int column = gap_column(&run->evaluate_columns);
  if (valid) {
    *gap = valid[column];
    return 0;
  }
  double *means = calloc((size_t)run->evaluate_columns.count, sizeof *means);
  if (!means) return spm_fail(error, "out of memory");
  struct spm_rows first = run->data_rows;
  if (first.count > GAP_ROWS) first.count = GAP_ROWS;
  int status = spm_host_evaluate(&run->host, &first, &run->evaluate_columns, means, error);
  *gap = means[column];
  free(means);
  return status;
}

static int on_epoch(void *context, const struct train_state *state, const double *means, const double *valid,
                    struct spm_error *error) {
  Run *run = context;
  const char *names[17];
  double shown[17];
  char valid_names[8][128];
  int count = shown_columns(&run->train_columns, names, means, shown);
  if (valid) {
    const char *plain[8];
    int more = shown_columns(&run->evaluate_columns, plain, valid, shown + count);
    for (int i = 0; i < more; i++) {
      snprintf(valid_names[i], sizeof *valid_names, "valid %s", plain[i]);
      names[count + i] = valid_names[i];
    }
    count += more;
  }
  double gap = 0;
  bool relaxed = gap_column(&run->evaluate_columns) >= 0;
  if (relaxed) {
    if (relaxation_gap(run, valid, &gap, error) != 0) return -1;
    names[count] = "relaxation_gap";
    shown[count++] = gap;
  }
  report_progress_epoch(&run->progress, state->epoch, names, shown, count);
  int column = run->stage_count > 1; /* the first is the stage's name */
  run->row[column++] = (double)state->epoch;
  run->row[column++] = (double)state->step;
  for (int i = 0; i < run->train_columns.shown; i++) run->row[column++] = means[i];
  for (int i = 0; valid && i < run->evaluate_columns.shown; i++) run->row[column++] = valid[i];
  if (relaxed && !valid) run->row[column++] = gap;
  return report_metrics_row(&run->metrics, run->row, error);
}

static void on_skipped(void *context, const struct train_state *state, const char *culprit) {
  Run *run = context;
  report_progress_clear(&run->progress);
  fprintf(stderr, "spmc: warning: step %ld was skipped: %s\n", state->step, culprit);
}

/* ---- stages of the command ----------------------------------------------------------------------------------- */

static int read_data(Run *run) {
  const Arguments *a = run->a;
  int code = dataset_read(a, a->data, a->data_count, &run->data);
  if (code < 0) code = dataset_read(a, a->valid, a->valid_count, &run->valid);
  if (code < 0) code = dataset_read(a, a->test, a->test_count, &run->test);
  return code;
}

static int compile(Run *run) {
  const Arguments *a = run->a;
  DataShape shapes[MAX_FILES];
  CompileOptions options = {.overrides = a->overrides, .override_count = a->override_count, .data = shapes};
  options.data_count = dataset_shapes(&run->data, shapes);
  options.invent_dims = a->dump_count > 0;
  int code = loaded_check(a, a->target, &options, &run->loaded);
  if (code >= 0) return code;
  if (model_is_library(run->loaded.model))
    return fail_user(a, "%s: holds no `model`: there is nothing to train", a->target);
  if (a->dump_count > 0) return (code = loaded_dump(a, &run->loaded)) >= 0 ? code : EXIT_FINE;
  return loaded_compile(a, &run->loaded, false);
}

static int bind(Run *run) {
  const Arguments *a = run->a;
  int count = run->loaded.descriptor->data_count;
  run->tables = calloc((size_t)(3 * count) + 1, sizeof *run->tables);
  if (!run->tables) return fail_user(a, "out of memory");
  int code = loaded_bind(a, &run->loaded, &run->data, "--data", run->tables, &run->data_rows);
  if (code < 0 && run->valid.count > 0)
    code = loaded_bind(a, &run->loaded, &run->valid, "--valid", run->tables + count, &run->valid_rows);
  if (code < 0 && run->test.count > 0)
    code = loaded_bind(a, &run->loaded, &run->test, "--test", run->tables + 2 * count, &run->test_rows);
  return code;
}

/* valid = N: the last rows of the data, unless validation rows have files of their own. */
static int hold_back(Run *run) {
  const Arguments *a = run->a;
  long held = run->loaded.descriptor->trainings[0].valid;
  for (int i = 0; i < run->stage_count; i++)
    if (run->trainings[i].keep && run->valid_rows.count == 0 && held == 0)
      return fail_user(a,
                       "%s: to keep the best %s there must be validation rows: write `valid = N;` beside `keep`, which "
                       "holds the last N rows of the data back, or give them by --valid %s=FILE",
                       a->target, run->trainings[i].keep, run->loaded.descriptor->data[0].name);
  if (held == 0 || run->valid_rows.count > 0) return -1;
  if (held >= run->data_rows.count)
    return fail_user(a, "%s: `valid = %ld` holds all of the %s rows of the data back: none is left to train on",
                     a->target, held, spm_count(run->data_rows.count).text);
  run->data_rows.count -= held;
  run->valid_rows = (struct spm_rows){.tables = run->data_rows.tables, .first = run->data_rows.count, .count = held};
  return -1;
}

static int choose_training(Run *run) {
  const Arguments *a = run->a;
  const struct spm_model *model = run->loaded.descriptor;
  if (model->training_count < 1) return fail_internal(a, "the model has no training");
  struct spm_error error;
  run->stage_count = model->training_count;
  run->trainings = calloc((size_t)run->stage_count, sizeof *run->trainings);
  if (!run->trainings) return fail_user(a, "out of memory");
  for (int i = 0; i < run->stage_count; i++) {
    run->trainings[i] = model->trainings[i];
    if (a->epochs >= 0) run->trainings[i].epochs = a->epochs;
    if (a->batch >= 0) run->trainings[i].batch = a->batch;
  }
  int code = hold_back(run);
  if (code >= 0) return code;
  const struct spm_program *train = spm_find_program(model, "train"), *evaluate = spm_find_program(model, "evaluate");
  if (!train || !evaluate) return fail_internal(a, "the model has no program to %s", train ? "evaluate" : "train");
  if (spm_columns_create(&run->train_columns, train, &error) != 0 ||
      spm_columns_create(&run->evaluate_columns, evaluate, &error) != 0 ||
      train_state_create(&run->state, run->train_columns.count, &error) != 0)
    return fail_user(a, "%s", error.message);
  return -1;
}

/* Other products have other last bits, and the run would not be the one it was. */
static int resume_blas(const Arguments *a, const char *of_run) {
  if (a->blas >= 0 && a->blas != spm_blas_of_name(of_run))
    return fail_user(a, "%s: the run's matrix products are from %s; to go on, they cannot be from another library",
                     a->out, of_run);
  int code = open_blas(a, of_run);
  if (code < 0 && strcmp(of_run, spm_blas_name()) != 0)
    fprintf(stderr,
            "spmc: warning: %s: the run's matrix products were from %s and are now from %s: last digits differ\n",
            a->out, of_run, spm_blas_name());
  return code;
}

/* Is there a checkpoint to go on from, and was it made with these data and this batch? Opens the BLAS that it wants. */
static int look_for_checkpoint(Run *run, unsigned long long *seed) {
  const Arguments *a = run->a;
  struct spm_error error;
  struct saved_run saved;
  char *directory = spm_path_join(a->out, "checkpoints");
  run->checkpoint = directory ? spm_path_join(directory, "last.safetensors") : NULL;
  free(directory);
  if (!run->checkpoint) return fail_user(a, "out of memory");
  if (!a->resume) return open_blas(a, NULL);
  if (access(run->checkpoint, F_OK) != 0) {
    fprintf(stderr, "spmc: warning: %s does not exist yet; the run begins from its start\n", run->checkpoint);
    return open_blas(a, NULL);
  }
  if (saved_read_run(run->checkpoint, &saved, &error) != 0) return fail_user(a, "%s", error.message);
  if (a->seed_given && a->seed != saved.seed)
    return fail_user(a, "%s: the run's seed is %llu, and --seed says %llu", a->out, saved.seed, a->seed);
  if (saved.rows != run->data_rows.count)
    return fail_user(a, "%s: the run was made on %s rows, and the data now have %s", a->out, spm_count(saved.rows).text,
                     spm_count(run->data_rows.count).text);
  long stage = saved.stage < run->stage_count ? saved.stage : 0;
  long batch = spm_most_batch_rows(&run->trainings[stage], run->data_rows.count);
  if (saved.batch != batch)
    return fail_user(a, "%s: the run's batches have %ld rows; to go on, they cannot have %ld", a->out, saved.batch,
                     batch);
  int code = run_same_model(a, run->loaded.compilation, a->out);
  if (code >= 0) return code;
  if (saved_check_data(run->checkpoint, run->loaded.descriptor, "data", &run->data_rows, &error) != 0 ||
      saved_check_data(run->checkpoint, run->loaded.descriptor, "valid", &run->valid_rows, &error) != 0)
    return fail_user(a, "%s: %s", a->out, error.message);
  *seed = saved.seed;
  run->resumed = true;
  return resume_blas(a, saved.blas);
}

static int open_directory(Run *run) {
  const Arguments *a = run->a;
  struct spm_error error;
  int found = report_directory_open(a->out, a->force, &error);
  if (found < 0)
    return fail_user(a, "%s%s", error.message,
                     strstr(error.message, "no run of ours") ? "; --force writes there all the same" : "");
  if (found == REPORT_DIRECTORY_OURS && !a->force && !a->resume)
    return fail_user(a, "%s: already holds a run; --resume goes on with it, --force begins anew", a->out);
  run->lock = report_directory_lock(a->out, &error);
  if (run->lock < 0 || (!run->resumed && report_directory_forget(a->out, &error) != 0))
    return fail_user(a, "%s", error.message);
  return -1;
}

/* "specs/" of "specs/model.spm", "" of "model.spm"; to be freed. */
static char *directory_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return strndup(path, slash ? (size_t)(slash + 1 - path) : 0);
}

static int create_host(Run *run, unsigned long long seed) {
  const Arguments *a = run->a;
  struct spm_error error;
  struct saved_run saved;
  long batch = 0;
  bool keeps = false;
  for (int i = 0; i < run->stage_count; i++) {
    long rows = spm_most_batch_rows(&run->trainings[i], run->data_rows.count);
    batch = rows > batch ? rows : batch;
    keeps |= run->trainings[i].keep != NULL;
  }
  if (spm_host_create(&run->host, run->loaded.descriptor, batch, command_threads(a), seed, &error) != 0)
    return fail_user(a, "%s", error.message);
  run->host.total_rows = run->data_rows.count;
  run->data_rows.owned = true;
  int status = spm_host_open_rows(&run->host, run->data_rows.count, &error);
  if (status == 0 && keeps) status = spm_host_open_best(&run->host, &error);
  if (status == 0 && run->resumed) status = saved_read(run->checkpoint, &run->host, &saved, &run->state, &error);
  if (status == 0 && !run->resumed) {
    char *directory = directory_of(a->target);
    status =
        directory ? spm_host_give(&run->host, &run->data_rows, directory, &error) : spm_fail(&error, "out of memory");
    free(directory);
  }
  if (status == 0 && !run->resumed) status = spm_host_initialise(&run->host, &error);
  if (status == 0 && !run->resumed) status = spm_host_initialise_rows(&run->host, &run->data_rows, &error);
  return status == 0 ? -1 : fail_user(a, "%s", error.message);
}

static int open_metrics(Run *run) {
  struct spm_error error;
  bool valid = run->valid_rows.count > 0, gap = !valid && gap_column(&run->evaluate_columns) >= 0;
  int stages = run->stage_count > 1, column = 0;
  int count = stages + 2 + run->train_columns.shown + (valid ? run->evaluate_columns.shown : gap);
  run->names = calloc((size_t)count, sizeof *run->names);
  run->row = calloc((size_t)count, sizeof *run->row);
  char(*valid_names)[128] =
      arena_allocate(run->loaded.compilation, sizeof *valid_names * (size_t)(run->evaluate_columns.shown + 1));
  if (!run->names || !run->row) return fail_user(run->a, "out of memory");
  if (stages) run->names[column++] = "stage";
  run->names[column++] = "epoch";
  run->names[column++] = "step";
  for (int i = 0; i < run->train_columns.shown; i++) run->names[column++] = run->train_columns.names[i];
  if (gap) run->names[column++] = "relaxation_gap";
  for (int i = 0; valid && i < run->evaluate_columns.shown; i++) {
    snprintf(valid_names[i], sizeof *valid_names, "valid.%s", run->evaluate_columns.names[i]);
    run->names[column++] = valid_names[i];
  }
  int status = report_metrics_open(&run->metrics, run->a->out, run->names, count,
                                   run->state.earlier_epochs + run->state.epoch, &error);
  return status == 0 ? -1 : fail_user(run->a, "%s", error.message);
}

static long parameter_count(const struct spm_model *model) {
  long count = 0;
  for (int p = 0; p < model->parameter_count; p++) count += model->parameters[p].size;
  return count;
}

static int open_run(Run *run) {
  const Arguments *a = run->a;
  struct spm_error error;
  unsigned long long seed = a->seed_given ? a->seed : draw_seed();
  /* What may still fail comes before the directory is made: nothing half-made is left behind. */
  int code = look_for_checkpoint(run, &seed);
  if (code < 0) code = create_host(run, seed);
  if (code < 0) code = open_directory(run);
  if (code >= 0) return code;
  Settings *settings = arena_new(run->loaded.compilation, Settings);
  list_settings(run, settings);
  if (report_config_write(a->out, SPM_VERSION, settings->items, settings->count, &error) != 0)
    return fail_user(a, "%s", error.message);
  if (!a->quiet) {
    report_config_print(stdout, settings->items, settings->count);
    printf("compiled in %s, %s parameters\n", spm_duration(run->loaded.compile_seconds).text,
           spm_count(parameter_count(run->loaded.descriptor)).text);
    const char *stage = run->stage_count > 1 ? run->trainings[run->state.stage].name : "";
    if (run->resumed)
      printf("resumed after epoch %ld, step %ld%s%s\n", run->state.epoch, run->state.step, stage[0] ? " of " : "",
             stage);
    fflush(stdout);
  }
  code = run_copy_spec(a, run->loaded.compilation, a->out);
  return code < 0 ? open_metrics(run) : code;
}

/* What a stage leaves behind, in words. */
static void report_stage(const Run *run, const struct spm_training *t) {
  const struct train_state *state = &run->state;
  if (run->a->quiet) return;
  if (state->unchanged)
    printf("ended after epoch %ld: the objective is that of %d epoch%s before\n", state->epoch, t->unchanged,
           t->unchanged == 1 ? "" : "s");
  else if (train_stalled(t->patience, state->epoch, state->best_epoch))
    printf("ended after epoch %ld: %s of the validation rows was not better for %ld epoch%s\n", state->epoch, t->keep,
           t->patience, t->patience == 1 ? "" : "s");
  if (t->keep && state->has_best)
    printf("kept epoch %ld, where %s of the validation rows is %s\n", state->best_epoch, t->keep,
           spm_number_short(t->smallest ? -state->best : state->best).text);
  else if (t->keep)
    printf("kept the parameters as they are: %s of the validation rows was a number after no epoch\n", t->keep);
  fflush(stdout);
}

static int train_rows(Run *run, const struct spm_training *t, const struct spm_selection *rows,
                      struct spm_error *error) {
  const Arguments *a = run->a;
  struct train_options options = {.training = *t,
                                  .data = run->data_rows,
                                  .valid = run->valid_rows,
                                  .selection = rows,
                                  .checkpoint = run->checkpoint,
                                  .train_columns = &run->train_columns,
                                  .valid_columns = &run->evaluate_columns,
                                  .stop = &stop_signal,
                                  .checkpoint_interval = 1};
  struct train_events events = {run, on_step, on_epoch, on_skipped};
  enum report_mode mode = a->quiet ? REPORT_QUIET : a->plain ? REPORT_PLAIN : REPORT_AUTO;
  long steps = (rows->epoch_rows + rows->batch - 1) / rows->batch, epochs = t->epochs;
  if (t->steps > 0 && (t->steps + steps - 1) / steps < epochs) epochs = (t->steps + steps - 1) / steps;
  report_progress_open(&run->progress, stdout, mode, epochs, steps, (double)rows->batch, run->state.epoch);
  run->metrics.stage = run->progress.stage = run->stage_count > 1 ? t->name : NULL;
  report_progress_start(&run->progress);
  int status = train_run(&run->host, &options, &run->state, &events, error);
  report_progress_close(&run->progress);
  if (status == TRAIN_FINISHED) report_stage(run, t);
  return status;
}

static int train_stage(Run *run, const struct spm_training *t, struct spm_error *error) {
  struct spm_selection rows = {0};
  int status = spm_host_select(&run->host, t, &run->data_rows, true, &rows, error);
  if (status == 0 && rows.numbers && !run->a->quiet)
    printf("%s%s%s rows%s%s%s\n", t->name, t->name[0] ? "  " : "", spm_count(rows.count).text,
           rows.balanced ? ", in equal shares: " : "", rows.balanced ? spm_count(rows.parts[0]).text : "",
           rows.balanced ? arena_printf(run->loaded.compilation, " and %s", spm_count(rows.parts[1]).text) : "");
  status = status == 0 ? train_rows(run, t, &rows, error) : TRAIN_FAILED;
  spm_host_selection_free(&rows);
  return status;
}

static int train(Run *run) {
  const Arguments *a = run->a;
  struct spm_error error, closing;
  int status = TRAIN_FINISHED;
  watch_signals();
  while (status == TRAIN_FINISHED) {
    status = train_stage(run, &run->trainings[run->state.stage], &error);
    if (status != TRAIN_FINISHED || run->state.stage + 1 == run->stage_count) break;
    train_next_stage(&run->host, &run->state);
  }
  if (report_metrics_close(&run->metrics, &closing) != 0 && status != TRAIN_FAILED)
    return fail_user(a, "%s", closing.message);
  if (status == TRAIN_FAILED) {
    int code = fail_user(a, "%s", error.message);
    if (run->state.in_a_row > 0) loaded_suggest_supports(&run->loaded);
    return code;
  }
  if (status == TRAIN_FINISHED) return -1;
  fprintf(stderr,
          "spmc: stopped by %s after step %ld%s%s; %s holds everything, and the same command with --resume goes on\n",
          stop_signal == SIGTERM ? "SIGTERM" : "SIGINT", run->state.step, run->stage_count > 1 ? " of " : "",
          run->trainings[run->state.stage].name, run->checkpoint);
  return 128 + stop_signal;
}

static int finish(Run *run) {
  const Arguments *a = run->a;
  struct spm_error error;
  struct saved_run saved = {.seed = run->host.seed,
                            .batch = spm_most_batch_rows(&run->trainings[run->state.stage], run->data_rows.count),
                            .rows = run->data_rows.count,
                            .stage = run->state.stage,
                            .data = &run->data_rows,
                            .valid = &run->valid_rows};
  char *path = spm_path_join(a->out, "model.safetensors");
  int status = path ? saved_write(path, &run->host, &saved, NULL, &error) : spm_fail(&error, "out of memory");
  free(path);
  if (status != 0) return fail_user(a, "%s", error.message);
  if (run->state.skipped > 0)
    fprintf(stderr, "spmc: warning: %ld of %ld steps were skipped\n", run->state.skipped,
            run->state.earlier_steps + run->state.step);
  const struct spm_rows *shown = run->test_rows.count > 0    ? &run->test_rows
                                 : run->valid_rows.count > 0 ? &run->valid_rows
                                                             : &run->data_rows;
  draw_figures(a, &run->loaded, &run->host, shown, a->out);
  draw_curve(a, a->out, curve_name(&run->evaluate_columns));
  if (run->test_rows.count == 0) return EXIT_FINE;
  double *means = calloc((size_t)run->evaluate_columns.count + 1, sizeof *means);
  if (!means) return fail_user(a, "out of memory");
  status = spm_host_evaluate(&run->host, &run->test_rows, &run->evaluate_columns, means, &error);
  if (status == 0) {
    printf("test (%s rows, seed %llu), nats a datum:\n", spm_count(run->test_rows.count).text, run->host.seed);
    print_results(&run->evaluate_columns, means);
  }
  free(means);
  return status == 0 ? EXIT_FINE : fail_user(a, "%s", error.message);
}

static void release(Run *run) {
  struct spm_error ignored;
  report_metrics_close(&run->metrics, &ignored);
  if (run->lock >= 0) close(run->lock);
  if (run->host.model) spm_host_free(&run->host);
  spm_columns_free(&run->train_columns);
  spm_columns_free(&run->evaluate_columns);
  train_state_free(&run->state);
  free(run->checkpoint);
  free(run->trainings);
  free(run->names);
  free(run->row);
  free(run->tables);
  dataset_free(&run->data);
  dataset_free(&run->valid);
  dataset_free(&run->test);
  loaded_free(&run->loaded);
}

int command_train(const Arguments *a) {
  Run *run = calloc(1, sizeof *run);
  if (!run) return fail_user(a, "out of memory");
  run->a = a;
  run->lock = -1;
  int code = read_data(run);
  if (code < 0) code = compile(run);
  if (code < 0) code = bind(run);
  if (code < 0) code = choose_training(run);
  if (code < 0) code = open_run(run);
  if (code < 0) code = train(run);
  if (code < 0) code = finish(run);
  release(run);
  free(run);
  return code;
}
