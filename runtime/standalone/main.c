/* Pasted behind a model: a program that trains it. --data x=FILE --epochs N and so on: see usage(). */
#include "trainer.h"

/* ---- the best of a stage ---------------------------------------------------------------------------------------- */

#ifndef SPM_NO_BEST
/* Puts aside all that training changes, or takes it back. */
static void move_best(struct run *run, int back) {
  const struct spm_instance *i = &run->instance;
  real *best = run->best;
  const struct {
    real *values;
    long count;
  } parts[] = {
      {i->run.parameters, MODEL->parameter_size},
#ifndef SPM_NO_STATES
      {i->state, MODEL->state_size},
#endif
#ifndef SPM_NO_ROW_STATES
      {i->owned.values, i->owned.rows * MODEL->row_state_size},
#endif
  };
  for (size_t k = 0; k < sizeof parts / sizeof *parts; best += parts[k++].count)
    memcpy(back ? parts[k].values : best, back ? best : parts[k].values, sizeof(real) * (size_t)parts[k].count);
}

/* keep = best(...): a value that is not a number is never the best. */
static void note_best(struct run *run, double value) {
  if (run->stage.smallest) value = -value;
  if (!run->stage.keep || value != value || (run->has_best && value <= run->best_value)) return;
  move_best(run, 0);
  run->has_best = 1;
  run->best_value = value;
  run->best_epoch = run->instance.epoch;
  run->best_step = run->instance.step;
}

/* The mean of the output that the stage keeps the best of; of a metric over some of the rows, the mean over those. */
static double kept_value(const struct run *run, const struct spm_program *program, const double *sums, double rows) {
  double value = (double)NAN, share = 1;
  for (int i = 0; run->stage.keep && i < program->output_count; i++) {
    const struct spm_output *output = &program->outputs[i];
    if (output->place != SPM_VALUES || strcmp(output->name, run->stage.keep) != 0) continue;
    *(output->role == SPM_SHARE_OF ? &share : &value) = sums[i] / rows;
  }
  return share > 0 ? value / share : (double)NAN;
}
#endif

/* ---- training -------------------------------------------------------------------------------------------------- */

/* Numbers in a row of the data's file. */
static long row_size(const struct spm_tensor *data) {
#ifndef SPM_NO_GATHERED
  if (data->gathered > 0) return data->size / data->gathered;
#endif
  return data->size;
}

/* Of outputs that are more than a number the first one, which nobody asks for. */
static void add_outputs(const struct spm_run *run, double weight, double *sums) {
  for (int i = 0; i < run->program->output_count; i++)
    sums[i] += weight * (double)*spm_output_values(run, &run->program->outputs[i]);
}

static void print_outputs(const struct spm_program *program, const double *sums, double rows) {
  for (int i = 0; i < program->output_count; i++) {
    const struct spm_output *output = &program->outputs[i];
    if (output->size == 1 && (output->role == SPM_OBJECTIVE || output->role == SPM_TERM))
      printf("  %s %.9g", output->name, sums[i] / rows);
  }
  printf("\n");
  fflush(stdout);
}

#ifndef SPM_NO_SELECTIONS
/* Where the set's row of this number is. */
static long place_of_row(const struct rows *rows, long row) { return rows->chosen ? rows->chosen[row] : row; }
#endif

#ifndef SPM_NO_GATHERED
/* Rows that are drawn afresh for each datum. */
static void gather_drawn(const struct run *run, const struct rows *rows, int d, long first, long count) {
  const struct spm_tensor *data = &MODEL->data[d];
  const long size = row_size(data);
  long *drawn = memory_of(data->gathered, sizeof(long));
  real *to = run->rows[d];
  if (data->gathered > rows->count)
    fail("%s has %ld rows for each datum, and the file %ld", data->name, data->gathered, rows->count);
  for (long r = 0; r < count; r++) {
    spm_draw_distinct(drawn, data->gathered, rows->count, (uint64_t)run->seed, run->draw, first + r);
    for (long n = 0; n < data->gathered; n++, to += size) {
      long row = drawn[n];
#ifndef SPM_NO_SELECTIONS
      row = place_of_row(rows, row);
#endif
      memcpy(to, rows->values[d] + row * size, sizeof(real) * (size_t)size);
    }
  }
  free(drawn);
}
#endif

/* Puts rows order[first], ... of the files, or first, ... of the set, into the batch. */
static void gather(const struct run *run, const struct rows *rows, const long *order, long first, long count) {
  for (int d = 0; d < MODEL->data_count; d++) {
    const long size = MODEL->data[d].size;
#ifndef SPM_NO_GATHERED
    if (MODEL->data[d].gathered > 0) {
      gather_drawn(run, rows, d, first, count);
      continue;
    }
#endif
#ifndef SPM_NO_GAPS
    for (long i = 0; !rows->values[d] && i < count * size; i++) run->rows[d][i] = (real)NAN;
    if (!rows->values[d]) continue;
#endif
    for (long r = 0; r < count; r++) {
#ifndef SPM_NO_SELECTIONS
      const long row = order ? order[first + r] : place_of_row(rows, first + r);
#else
      const long row = order ? order[first + r] : first + r;
#endif
      memcpy(run->rows[d] + r * size, rows->values[d] + row * size, sizeof(real) * (size_t)size);
    }
  }
}

#ifndef SPM_NO_ROW_STATES
static void stop_unless_finite(int row_state) {
  if (row_state >= 0) fail("the initial value of %s is not finite", MODEL->row_states[row_state].name);
}

/* What the training data's rows own at the start of a run. */
static void begin_rows_of(struct run *run) {
  const struct rows *rows = &run->data;
  real *memory = memory_of((long)spm_instance_owned_reals(MODEL, rows->count, 1), sizeof(real));
  spm_instance_own(&run->instance, memory, rows->count, 1);
  for (long first = 0; first < rows->count; first += EVALUATION_ROWS) {
    long count = rows->count - first < EVALUATION_ROWS ? rows->count - first : EVALUATION_ROWS;
    gather(run, rows, NULL, first, count);
    stop_unless_finite(spm_instance_begin(&run->instance, first, count));
  }
}
#endif

#ifndef SPM_NO_SOLVED
/* Parameters that are known in closed form, of all the training data: what an evaluation and a checkpoint see. */
static void solve(struct run *run) {
  const struct rows *rows = &run->data;
  struct spm_instance *instance = &run->instance;
  const struct spm_program *program = spm_find_program(MODEL, "solve");
  double *sums = memory_of(MODEL->parameter_size, sizeof(double));
  for (long first = 0; first < rows->count; first += EVALUATION_ROWS) {
    long count = rows->count - first < EVALUATION_ROWS ? rows->count - first : EVALUATION_ROWS;
    gather(run, rows, NULL, first, count);
#ifndef SPM_NO_ROW_STATES
#ifndef SPM_NO_SELECTIONS
    spm_instance_visit(instance, rows->chosen ? rows->chosen + first : NULL, first, count);
#else
    spm_instance_visit(instance, NULL, first, count);
#endif
#endif
    struct spm_run *solving = spm_instance_run(instance, program, first, count);
    spm_run_program(solving);
    spm_solved_add(solving, sums);
  }
  int broken = spm_solved_set(MODEL, program, sums, rows->count, instance->run.parameters);
  if (broken >= 0) fail("the optimum of %s is not finite", MODEL->parameters[broken].name);
  free(sums);
}
#endif

static void evaluate(struct run *run, const struct rows *rows, const char *name) {
  const struct spm_program *program = spm_find_program(MODEL, "evaluate");
  double *sums = memory_of(program->output_count, sizeof(double));
  for (long first = 0; first < rows->count; first += EVALUATION_ROWS) {
    long count = rows->count - first < EVALUATION_ROWS ? rows->count - first : EVALUATION_ROWS;
    gather(run, rows, NULL, first, count);
#ifndef SPM_NO_ROW_STATES
    stop_unless_finite(spm_instance_fresh(&run->instance, first, count));
#endif
    spm_run_program(spm_instance_run(&run->instance, program, first, count));
    add_outputs(&run->instance.run, (double)count, sums);
  }
  printf("%s", name);
  print_outputs(program, sums, (double)rows->count);
#ifndef SPM_NO_BEST
  if (rows == &run->valid) note_best(run, kept_value(run, program, sums, (double)rows->count));
#endif
  free(sums);
}

#ifndef SPM_NO_UNCHANGED
static double objective_of(const struct spm_program *program, const double *sums) {
  int objective = 0;
  while (program->outputs[objective].role != SPM_OBJECTIVE) objective++;
  return sums[objective];
}
#endif

static int goes_on(const struct run *run) { return run->stage.steps <= 0 || run->instance.step < run->stage.steps; }

#ifndef SPM_NO_SELECTIONS
/* Numbers of the epoch's rows; NULL: they stand as they are. */
static const long *selected_order(struct run *run) {
  if (!run->stage.shuffle && !run->selection.numbers) return NULL;
  spm_selection_order(&run->selection, run->stage.shuffle, (uint64_t)run->seed,
                      run->earlier_epochs + run->instance.epoch, run->order);
  return run->order;
}
#endif

#ifndef SPM_NO_RATES
static void stop_without_rate(const struct run *run) {
  const double lr = run->instance.run.lr;
  if (run->skipped == TRAIN_SKIPS_ALLOWED && !spm_is_rate(lr))
    fail("%d steps one after the other had no learning rate, the last %g; look at its schedule", run->skipped, lr);
}
#endif

static void train_epoch(struct run *run) {
  struct spm_instance *instance = &run->instance;
  const struct spm_program *program = spm_find_program(MODEL, "train");
  double *sums = memory_of(program->output_count, sizeof(double)), seen = 0;
#ifndef SPM_NO_SELECTIONS
  const long batch = run->batch_rows, rows = run->selection.epoch_rows, steps = (rows + batch - 1) / batch;
  const long *order = selected_order(run);
#else
  const long batch = run->batch_rows, rows = run->data.count, steps = (rows + batch - 1) / batch;
  const long *order = run->stage.shuffle ? run->order : NULL; /* of the rows, or as they are */
  if (order) spm_shuffle(run->order, rows, (uint64_t)run->seed, run->earlier_epochs + instance->epoch);
#endif
  long done = 0;
  clock_t start = clock(), shown = start;
  for (; done < steps && goes_on(run); done++) {
    long first = done * batch, count = rows - first < batch ? rows - first : batch;
#ifndef SPM_NO_GATHERED
    run->draw = (unsigned)(instance->earlier_steps + instance->step) + 1;
#endif
    gather(run, &run->data, order, first, count);
#ifndef SPM_NO_GATHERED
    run->draw = 0;
#endif
#ifndef SPM_NO_ROW_STATES
    spm_instance_visit(instance, order ? order + first : NULL, first, count);
#endif
    const int status = spm_instance_step(instance, count);
    if (status == SPM_STEP_UPDATED) {
      add_outputs(&instance->run, (double)count, sums);
      seen += (double)count;
    }
    run->skipped = status == SPM_STEP_UPDATED ? 0 : run->skipped + 1;
#ifndef SPM_NO_RATES
    stop_without_rate(run);
#endif
    if (run->skipped == TRAIN_SKIPS_ALLOWED)
      fail("%d steps one after the other were not finite, the last in %s; a lower learning rate may help", run->skipped,
           instance->run.broken < 0 ? "the objective" : MODEL->parameters[instance->run.broken].name);
    if (clock() - shown > CLOCKS_PER_SEC) {
      fprintf(stderr, "epoch %ld: %ld of %ld steps\r", instance->epoch + 1, done + 1, steps);
      shown = clock();
    }
  }
#ifndef SPM_NO_UNCHANGED
  run->unchanged =
      train_unchanged(run->recent, run->stage.unchanged, instance->epoch, objective_of(program, sums) / seen);
#endif
  instance->epoch++;
  printf("epoch %ld  %.3f ms a step", instance->epoch,
         1e3 * (double)(clock() - start) / CLOCKS_PER_SEC / (double)(done > 0 ? done : 1));
  print_outputs(program, sums, seen);
  free(sums);
}

/* ---- stages of training --------------------------------------------------------------------------------------- */

#ifndef SPM_NO_SELECTIONS
/* "rows" or "balance" of the stage for each row. */
static void ask_rows(struct run *run, const struct rows *rows, const char *what, char *answer) {
  const struct spm_program *program = spm_find_program(MODEL, "select");
  const struct spm_output *output = spm_selection_output(program, &run->stage, what);
  for (long first = 0; first < rows->count; first += EVALUATION_ROWS) {
    long count = rows->count - first < EVALUATION_ROWS ? rows->count - first : EVALUATION_ROWS;
    gather(run, rows, NULL, first, count);
    struct spm_run *asked = spm_instance_run(&run->instance, program, first, count);
    spm_run_program(asked);
    spm_selection_answer(asked, output, answer + first);
  }
}

/* Leaves of the rows those that the stage takes; `kind`: rows to validate are never balanced. */
static void select_rows(struct run *run, struct rows *rows, const char *kind, long *numbers,
                        struct spm_selection *selection) {
  const struct spm_training *stage = &run->stage;
  const int balanced = stage->balances && rows == &run->data;
  rows->chosen = NULL;
  rows->count = rows->all;
  spm_selection_all(selection, stage, rows->count);
  if (rows->count == 0 || (!stage->selects && !balanced)) return;
  char *taken = memory_of(rows->count, 1), *part = memory_of(rows->count, 1), flaw[320];
  memset(taken, 1, (size_t)rows->count);
  if (stage->selects) ask_rows(run, rows, "rows", taken);
  if (balanced) ask_rows(run, rows, "balance", part);
  spm_selection_take(selection, stage, numbers, 0, rows->count, taken, balanced ? part : NULL);
  if (spm_selection_flaw(selection, stage, rows->count, kind, flaw, sizeof flaw) != 0) fail("%s", flaw);
  rows->chosen = numbers;
  rows->count = selection->count;
  free(taken);
  free(part);
}
#endif

/* The stage that the instance stands in and the command line in its place, the rows that it takes, in what batches. */
static void set_stage(struct run *run) {
  struct spm_training *stage = &run->stage;
  *stage = *run->instance.optimizer.stage;
  if (run->epochs >= 0) stage->epochs = run->epochs;
  if (run->steps > 0) stage->steps = run->steps;
  if (run->batch >= 0) stage->batch = run->batch;
#ifndef SPM_NO_SELECTIONS
  struct spm_selection valid;
  select_rows(run, &run->data, "training", run->taken_numbers, &run->selection);
  select_rows(run, &run->valid, "validation", run->valid_numbers, &valid);
  run->batch_rows = run->selection.batch;
#else
  run->batch_rows = train_batch_rows(stage->batch, run->data.count);
#endif
  run->instance.total_rows = run->data.count;
#ifndef SPM_NO_BALANCE
  memcpy(run->instance.weights, run->selection.weights, sizeof run->selection.weights);
#endif
#ifndef SPM_NO_LBFGS
  if (strcmp(stage->optimizer, "lbfgs") == 0 && run->batch_rows < run->data.count)
    fail("lbfgs takes all %ld rows in each step: --batch 0", run->data.count);
#endif
}

/* A run at its start, or where its checkpoint left it. */
static void open_run(struct run *run) {
  struct spm_instance *instance = &run->instance;
  run->data.all = run->data.count;
  instance->rows = EVALUATION_ROWS;
  for (int t = 0; t < MODEL->training_count; t++) { /* room for the largest batch of all stages */
#ifndef SPM_NO_BALANCE
    struct spm_training stage = MODEL->trainings[t];
    if (run->batch >= 0) stage.batch = run->batch;
    instance->rows = spm_larger(instance->rows, spm_most_batch_rows(&stage, run->data.count));
#else
    const long batch = run->batch >= 0 ? run->batch : MODEL->trainings[t].batch;
    instance->rows = spm_larger(instance->rows, train_batch_rows(batch, run->data.count));
#endif
  }
#ifndef SPM_NO_BALANCE
  run->order = memory_of(run->data.count, 4 * sizeof(long)); /* each part twice, and as much behind it */
#else
  run->order = memory_of(run->data.count, sizeof(long));
#endif
#ifndef SPM_NO_SELECTIONS
  run->valid.all = run->valid.count;
  run->taken_numbers = memory_of(run->data.count, sizeof(long));
  run->valid_numbers = memory_of(run->valid.count, sizeof(long));
#endif
  for (int d = 0; d < MODEL->data_count; d++)
    run->rows[d] = memory_of(instance->rows * MODEL->data[d].size, sizeof(real));
  instance->run.model = MODEL;
  instance->run.call.data = (const real *const *)run->rows;
  instance->run.call.seed = (unsigned long long)run->seed;
#ifndef SPM_NO_GIVENS
  instance->run.call.given = make_givens(run);
#endif
  spm_instance_open(instance, memory_of((long)spm_instance_place(instance, NULL), sizeof(real)));
#ifndef SPM_NO_ROW_STATES
  begin_rows_of(run);
#endif
#ifndef SPM_NO_BEST
  run->best =
      memory_of(MODEL->parameter_size + MODEL->state_size + run->data.count * MODEL->row_state_size, sizeof(real));
#endif
  set_stage(run);
  if (run->resume) read_checkpoint(run);
#ifndef SPM_NO_STAGES
  const long batch = run->batch_rows;
  set_stage(run);
  if (batch != run->batch_rows) fail("%s: was made with batches of %ld rows", run->resume, batch);
#endif
  if (run->save) try_checkpoint(run);
}

static void train_stage(struct run *run) {
  const struct spm_instance *instance = &run->instance;
#ifndef SPM_NO_UNCHANGED
  while (instance->epoch < run->stage.epochs && goes_on(run) && !run->unchanged) {
#else
  while (instance->epoch < run->stage.epochs && goes_on(run)) {
#endif
#ifndef SPM_NO_PATIENCE
    if (train_stalled(run->stage.patience, instance->epoch, run->has_best ? run->best_epoch : 0)) break;
#endif
    train_epoch(run);
#ifndef SPM_NO_SOLVED
    if (run->valid.count > 0 || run->save) solve(run);
#endif
    if (run->valid.count > 0) evaluate(run, &run->valid, "valid");
    if (run->save) write_checkpoint(run);
  }
#ifndef SPM_NO_BEST
  if (run->has_best) move_best(run, 1);
#endif
}

/* What memory there is at the end is the system's. */
static void train(struct run *run) {
  open_run(run);
  printf("%s: %ld rows, batches of %ld, %ld epochs, seed %ld\n", MODEL->name, run->data.count, run->batch_rows,
         run->stage.epochs, run->seed);
  train_stage(run);
#ifndef SPM_NO_STAGES
  while (run->instance.stage + 1 < MODEL->training_count) {
    run->earlier_epochs += run->instance.epoch;
#ifndef SPM_NO_UNCHANGED
    run->unchanged = 0;
#endif
#ifndef SPM_NO_BEST
    run->has_best = 0;
#endif
    spm_instance_next_stage(&run->instance);
    set_stage(run);
    printf("stage %s: %ld rows, batches of %ld, %ld epochs\n", run->stage.name, run->data.count, run->batch_rows,
           run->stage.epochs);
    train_stage(run);
  }
#endif
#ifndef SPM_NO_BEST
  if (run->has_best) {
    run->instance.epoch = run->best_epoch;
    run->instance.step = run->best_step;
    printf("kept epoch %ld\n", run->best_epoch);
  }
#endif
#ifndef SPM_NO_SOLVED
  if (run->test.count > 0) solve(run);
#endif
#ifndef SPM_NO_SELECTIONS
  run->instance.total_rows = run->data.all;
#endif
  if (run->test.count > 0) evaluate(run, &run->test, "test");
}

/* ---- the command line ------------------------------------------------------------------------------------------ */

static void usage(void) {
  printf("usage: %s --data NAME=FILE [OPTION...]\nData:", MODEL->name);
  for (int d = 0; d < MODEL->data_count; d++) printf(" %s%s", MODEL->data[d].name, MODEL->data[d].dims);
  printf("; files: IDX or .npy, not compressed.\n"
         "  --data, --valid, --test NAME=FILE   rows to train on, to evaluate on after each epoch, and at the end\n"
         "  --epochs N  --batch N (0: all)  --steps N (at most)  --seed N (default 1)\n"
         "  --save FILE   keep a checkpoint there (safetensors)   --resume FILE   go on from one\n");
  exit(0);
}

static void name_file(struct rows *rows, const char *text) {
  const size_t length = strcspn(text, "=");
  int d = 0;
  while (d < MODEL->data_count && (strncmp(MODEL->data[d].name, text, length) || MODEL->data[d].name[length])) d++;
  if (text[length] ? d == MODEL->data_count : MODEL->data_count != 1)
    fail("%s: NAME=FILE is wanted, with a name that the model has", text);
  rows->paths[text[length] ? d : 0] = text[length] ? text + length + 1 : text;
}

static long whole_number(const char *option, const char *text) {
  char *end;
  long value = strtol(text, &end, 10);
  if (end == text || *end || value < 0) fail("%s takes a whole number, not '%s'", option, text);
  return value;
}

#ifndef SPM_NO_HELD
/* valid = N: the last rows of the data, unless validation rows have files of their own. */
static void hold_back(struct run *run) {
  const long held = MODEL->trainings->valid;
  if (held > 0 && run->valid.count == 0) {
    if (held >= run->data.count)
      fail("%ld of the %ld rows of the data are held back: none is left", held, run->data.count);
    run->data.count -= held;
    run->valid = run->data;
    for (int d = 0; d < MODEL->data_count; d++)
      if (run->valid.values[d]) run->valid.values[d] += run->data.count * row_size(&MODEL->data[d]);
    run->valid.count = held;
  }
#ifndef SPM_NO_BEST
  for (int t = 0; t < MODEL->training_count; t++)
    if (MODEL->trainings[t].keep && run->valid.count == 0)
      fail("to keep the best %s there must be validation rows: --valid", MODEL->trainings[t].keep);
#endif
}
#endif

int main(int count, char **words) {
  static struct run run = {.seed = 1, .epochs = -1, .batch = -1, .steps = -1};
  static const struct {
    const char *name;
    struct rows *rows;
    long *number;
    const char **text;
  } known[] = {{"--data", &run.data, NULL, NULL},    {"--valid", &run.valid, NULL, NULL},
               {"--test", &run.test, NULL, NULL},    {"--epochs", NULL, &run.epochs, NULL},
               {"--batch", NULL, &run.batch, NULL},  {"--steps", NULL, &run.steps, NULL},
               {"--seed", NULL, &run.seed, NULL},    {"--save", NULL, NULL, &run.save},
               {"--resume", NULL, NULL, &run.resume}};
  size_t k;
  for (int i = 1; i < count; i += 2) {
    const char *word = words[i], *text = i + 1 < count ? words[i + 1] : NULL;
    if (strcmp(word, "--help") == 0) usage();
    for (k = 0; k < sizeof known / sizeof *known && strcmp(known[k].name, word) != 0;) k++;
    if (k == sizeof known / sizeof *known) fail("there is no option %s; --help lists them", word);
    if (!text) fail("%s is not complete; --help lists the options", word);
    if (known[k].rows) name_file(known[k].rows, text);
    if (known[k].number) *known[k].number = whole_number(word, text);
    if (known[k].text) *known[k].text = text;
  }
  read_rows(&run.data, 1);
  read_rows(&run.valid, 0);
  read_rows(&run.test, 0);
#ifndef SPM_NO_HELD
  hold_back(&run);
#endif
  train(&run);
  return 0;
}
