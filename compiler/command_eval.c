/* spmc eval: a run directory and data -> the objective, its terms and the metrics over all rows, or of each.
 * spmc encode, spmc reconstruct: the same -> what a program computes for each row, as .npy files.
 * spmc sample: a run directory, and data where the model is conditioned on some -> draws, as .npy files. */
#include "command_run.h"
#include "front.h"

#include "runtime/files.h"
#include "runtime/saved.h"
#include "runtime/words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Evaluating {
  const Arguments *a;
  RunRecord record;
  char *spec, *also;
  Loaded loaded;
  DataSet data;
  const struct spm_table **tables;
  struct spm_rows rows;
  struct spm_host host;
  struct spm_columns columns;
} Evaluating;

static bool is_sampling(const Arguments *a) { return strcmp(a->command, "sample") == 0; }

/* NAME=EXPRESSION, ... as the statements that they stand for. */
static const char *also_text(const Arguments *a, char **text) {
  size_t size = 1, used = 0;
  for (int i = 0; i < a->also_count; i++) size += strlen(a->also[i]) + sizeof "let ;\n";
  *text = a->also_count > 0 ? malloc(size) : NULL;
  for (int i = 0; *text && i < a->also_count; i++)
    used += (size_t)snprintf(*text + used, size - used, "let %s;\n", a->also[i]);
  return *text;
}

static int compile(Evaluating *e) {
  const Arguments *a = e->a;
  int code = run_read(a, a->target, &e->record);
  if (code >= 0) return code;
  e->spec = spm_path_join(a->target, "model.spm");
  if (!e->spec) return fail_user(a, "out of memory");
  CompileOptions options = {.overrides = e->record.overrides,
                            .override_count = e->record.override_count,
                            .data = e->record.shapes,
                            .data_count = e->record.shape_count,
                            .also = also_text(a, &e->also),
                            .sampling = is_sampling(a)};
  code = loaded_check(a, e->spec, &options, &e->loaded);
  if (code < 0) code = loaded_compile(a, &e->loaded, false);
  return code;
}

/* Data that what is drawn depends on; false: there are none. */
static bool say_what_is_needed(Evaluating *e) {
  const Graph *g = model_graph(e->loaded.model, PROGRAM_SAMPLE);
  bool *needed = arena_allocate(e->loaded.compilation, (size_t)e->loaded.descriptor->data_count + 1), any = false;
  bool *reached = arena_allocate(e->loaded.compilation, g ? (size_t)g->count + 1 : 1);
  for (int o = 0; g && o < g->output_count; o++) reached[g->outputs[o].value->id] = true;
  for (int id = g ? g->count - 1 : -1; id >= 0; id--) {
    const Node *n = g->nodes[id];
    if (!reached[id]) continue;
    if (n->op == IR_data && !g->signature->data[n->index].missing_ok) any = needed[n->index] = true;
    for (int k = 0; k < n->operand_count; k++) reached[n->operands[k]->id] = true;
  }
  e->loaded.needed = needed;
  return any;
}

static int bind(Evaluating *e) {
  const Arguments *a = e->a;
  int code = dataset_read(a, a->data, a->data_count, &e->data);
  if (code >= 0) return code;
  e->tables = calloc((size_t)e->loaded.descriptor->data_count + 1, sizeof *e->tables);
  if (!e->tables) return fail_user(a, "out of memory");
  if (is_sampling(a) && !say_what_is_needed(e) && a->data_count == 0) {
    e->rows = (struct spm_rows){.tables = e->tables, .count = a->rows > 0 ? a->rows : 64};
    return -1;
  }
  return loaded_bind(a, &e->loaded, &e->data, "--data", e->tables, &e->rows);
}

/* The finished model, or what there is of one that is still being trained. */
static int load(Evaluating *e) {
  const Arguments *a = e->a;
  struct spm_error error;
  struct saved_run saved;
  if (spm_host_create(&e->host, e->loaded.descriptor, 0, command_threads(a), 0, &error) != 0)
    return fail_user(a, "%s", error.message);
  char *path = spm_path_join(a->target, "model.safetensors");
  if (path && access(path, F_OK) != 0) {
    char *checkpoint = spm_path_join(a->target, "checkpoints/last.safetensors");
    if (checkpoint && access(checkpoint, F_OK) == 0) {
      if (!a->quiet) fprintf(stderr, "spmc: warning: %s is not there yet; evaluating %s\n", path, checkpoint);
      free(path);
      path = checkpoint;
    } else {
      free(checkpoint);
    }
  }
  int status = path ? saved_read(path, &e->host, &saved, NULL, &error) : spm_fail(&error, "out of memory");
  free(path);
  if (status != 0) return fail_user(a, "%s", error.message);
  e->host.seed = a->seed_given ? a->seed : saved.seed;
  e->host.total_rows = saved.rows;
  return -1;
}

/* ---- eval -------------------------------------------------------------------------------------------------------- */

/* A line for each row; a metric that the row has no value of is an empty field. */
static int write_each(const Evaluating *e, const double *values) {
  const struct spm_columns *columns = &e->columns;
  struct spm_error error;
  struct spm_writer writer;
  const int read = fail_if_read(e->a, e->loaded.compilation, e->a->each);
  if (read >= 0) return read;
  if (spm_writer_open(&writer, e->a->each, &error) != 0) return fail_user(e->a, "%s", error.message);
  for (int i = 0; i < columns->shown; i++) {
    if (i > 0) fputc(',', writer.stream);
    spm_csv_name(writer.stream, columns->names[i]);
  }
  fputc('\n', writer.stream);
  for (long row = 0; row < e->rows.count; row++)
    for (int i = 0; i < columns->shown; i++) {
      const double value = values[row * columns->count + i];
      if (!isnan(value)) fputs(spm_number(value).text, writer.stream);
      fputc(i + 1 < columns->shown ? ',' : '\n', writer.stream);
    }
  return spm_writer_commit(&writer, &error) == 0 ? -1 : fail_user(e->a, "%s", error.message);
}

/* Values of each row -> the column's distribution. A row where a metric has no value (NaN) does not count. `sorted`:
 * room for a number a row. */
static Spread spread_of(const Evaluating *e, const double *values, int column, double *sorted) {
  long count = 0;
  double sum = 0;
  for (long row = 0; row < e->rows.count; row++) {
    const double value = values[row * e->columns.count + column];
    if (isnan(value)) continue;
    sorted[count++] = value;
    sum += value;
  }
  if (count == 0) return (Spread){NAN, {NAN, NAN, NAN}};
  qsort(sorted, (size_t)count, sizeof *sorted, numbers_ascending);
  Spread spread = {.mean = sum / (double)count};
  for (int q = 0; q < SPREAD_POINTS; q++) spread.at[q] = sorted[(long)(spread_points[q] * (double)(count - 1) + 0.5)];
  return spread;
}

static int evaluate_each(Evaluating *e) {
  const Arguments *a = e->a;
  struct spm_error error;
  const size_t count = (size_t)e->columns.count, rows = (size_t)e->rows.count;
  double *values = calloc(count * rows + 1, sizeof *values), *sorted = calloc(rows + 1, sizeof *sorted);
  Spread *spreads = calloc(count + 1, sizeof *spreads);
  int code = -1;
  if (!values || !sorted || !spreads) code = fail_user(a, "out of memory");
  if (code < 0 && spm_host_evaluate_each(&e->host, &e->rows, &e->columns, values, &error) != 0)
    code = fail_user(a, "%s", error.message);
  if (code < 0) code = write_each(e, values);
  for (int i = 0; i < e->columns.shown && code < 0; i++) spreads[i] = spread_of(e, values, i, sorted);
  if (code < 0 && a->json) print_spreads_json(&e->columns, spreads, e->rows.count, e->host.seed);
  if (code < 0 && !a->json) {
    printf("%s (%s rows, seed %llu, each in %s), nats a datum:\n", a->target, spm_count(e->rows.count).text,
           e->host.seed, a->each);
    print_spreads(&e->columns, spreads);
  }
  free(values);
  free(sorted);
  free(spreads);
  return code < 0 ? EXIT_FINE : code;
}

static int evaluate(Evaluating *e) {
  const Arguments *a = e->a;
  struct spm_error error;
  const struct spm_program *program = spm_find_program(e->loaded.descriptor, "measure");
  if (!program) program = spm_find_program(e->loaded.descriptor, "evaluate");
  if (!program) return fail_internal(a, "the model has no program to evaluate");
  if (spm_columns_create(&e->columns, program, &error) != 0) return fail_user(a, "%s", error.message);
  if (a->each) return evaluate_each(e);
  double *means = calloc((size_t)e->columns.count + 1, sizeof *means);
  if (!means) return fail_user(a, "out of memory");
  int status = spm_host_evaluate(&e->host, &e->rows, &e->columns, means, &error);
  if (status == 0 && a->json) print_results_json(&e->columns, means, e->rows.count, e->host.seed);
  if (status == 0 && !a->json) {
    printf("%s (%s rows, seed %llu), nats a datum:\n", a->target, spm_count(e->rows.count).text, e->host.seed);
    print_results(&e->columns, means);
  }
  free(means);
  return status == 0 ? EXIT_FINE : fail_user(a, "%s", error.message);
}

/* ---- row values -------------------------------------------------------------------------------------------------- */

/* All rows of one output: rows x size. NULL with an error. */
static real *row_values(Evaluating *e, const struct spm_program *program, const struct spm_output *output,
                        struct spm_error *error) {
  const long total = e->rows.count;
  real *values = malloc(sizeof *values * (size_t)(total * output->size) + 1);
  if (!values) spm_fail(error, "out of memory");
  for (long first = 0; values && first < total; first += SPM_EVALUATION_ROWS) {
    long count = total - first < SPM_EVALUATION_ROWS ? total - first : SPM_EVALUATION_ROWS;
    if (spm_host_gather(&e->host, &e->rows, NULL, first, count, error) != 0) {
      free(values);
      return NULL;
    }
    struct spm_run run = spm_host_run(&e->host, program, count);
    run.call.first_row = first;
    spm_run_program(&run);
    memcpy(values + first * output->size, spm_output_values(&run, output),
           sizeof(real) * (size_t)(count * output->size));
  }
  return values;
}

static void warn_of_broken_rows(const Evaluating *e, const struct spm_output *output, const real *values) {
  long broken = 0;
  for (long row = 0; row < e->rows.count; row++) broken += !spm_all_finite(values + row * output->size, output->size);
  if (broken > 0)
    fprintf(stderr, "spmc: warning: %s: %s of %s rows hold values that are not finite\n", output->name,
            spm_count(broken).text, spm_count(e->rows.count).text);
}

/* The variable's declared shape behind the rows, where the descriptor knows it. */
static int write_rows(Evaluating *e, const struct spm_program *program, const struct spm_output *output) {
  const Arguments *a = e->a;
  struct spm_error error;
  real *values = row_values(e, program, output, &error);
  if (!values) return fail_user(a, "%s", error.message);
  warn_of_broken_rows(e, output, values);
  long shape[SPM_MAX_RANK + 1] = {e->rows.count, output->size};
  int rank = 2;
  for (int d = 0; d < e->loaded.descriptor->data_count; d++) {
    const struct spm_tensor *data = &e->loaded.descriptor->data[d];
    if (strcmp(data->name, output->name) != 0 || data->size != output->size) continue;
    rank = 1 + data->rank;
    for (int k = 0; k < data->rank; k++) shape[1 + k] = data->shape[k];
  }
  char file[160];
  snprintf(file, sizeof file, "%.150s.npy", output->name);
  char *path = spm_path_join(a->out, file);
  const int read = path ? fail_if_read(a, e->loaded.compilation, path) : -1;
  int status = read >= 0 ? 0
               : path    ? spm_npy_write(path, SPM_F32, rank, shape, values, &error)
                         : spm_fail(&error, "out of memory");
  if (status == 0 && read < 0 && !a->quiet)
    printf("%s  %s rows of %s numbers\n", path, spm_count(e->rows.count).text, spm_count(output->size).text);
  free(path);
  free(values);
  return status == 0 ? read : fail_user(a, "%s", error.message);
}

/* Data for which nothing can be written: to a reader of the folder they would just not be there. */
static void say_what_is_left_out(const Evaluating *e, const struct spm_program *program) {
  const Model *m = e->loaded.model;
  for (int i = 0; i < m->items.count; i++) {
    const Item *likelihood = m->items.items[i];
    if (likelihood->kind != ITEM_LIKELIHOOD || !model_find(m, ITEM_DATA, likelihood->name)) continue;
    if (program && spm_find_output(program, SPM_ROWS, likelihood->name)) continue;
    const char *d = likelihood->expr->kind == EXPR_CALL ? likelihood->expr->name : "the distribution";
    fprintf(stderr, "spmc: warning: `%s` is left out: %s, its likelihood, declares no mean%s\n", likelihood->name, d,
            is_sampling(e->a) ? " and no sampler" : "");
  }
}

static const char *why_nothing(const Arguments *a) {
  if (strcmp(a->command, "reconstruct") == 0)
    return "no data have a likelihood with a mean, such as `likelihood x ~ normal(W @ z, 1);`";
  return "it has no latents";
}

static int write_outputs(Evaluating *e) {
  const Arguments *a = e->a;
  struct spm_error error;
  const struct spm_program *program = spm_find_program(e->loaded.descriptor, a->command);
  if (strcmp(a->command, "encode") != 0) say_what_is_left_out(e, program);
  if (!program) return fail_user(a, "%s: the model has nothing to %s: %s", a->target, a->command, why_nothing(a));
  if (spm_directory_make(a->out, &error) != 0) return fail_user(a, "%s", error.message);
  int code = -1;
  for (int i = 0; i < program->output_count && code < 0; i++)
    if (program->outputs[i].role == SPM_ROWS) code = write_rows(e, program, &program->outputs[i]);
  return code < 0 ? EXIT_FINE : code;
}

/* ---- the commands ---------------------------------------------------------------------------------------------- */

static int with_run(const Arguments *a, int (*finish)(Evaluating *)) {
  Evaluating *e = calloc(1, sizeof *e);
  if (!e) return fail_user(a, "out of memory");
  e->a = a;
  int code = open_blas(a, NULL);
  if (code < 0) code = compile(e);
  if (code < 0) code = bind(e);
  if (code < 0) code = load(e);
  if (code < 0) code = finish(e);
  if (e->host.model) spm_host_free(&e->host);
  spm_columns_free(&e->columns);
  dataset_free(&e->data);
  free(e->tables);
  free(e->spec);
  free(e->also);
  loaded_free(&e->loaded);
  free(e);
  return code;
}

int command_eval(const Arguments *a) { return with_run(a, evaluate); }
int command_encode(const Arguments *a) { return with_run(a, write_outputs); }
int command_reconstruct(const Arguments *a) { return with_run(a, write_outputs); }
int command_sample(const Arguments *a) { return with_run(a, write_outputs); }
