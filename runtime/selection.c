/* See selection.h. */
#include "selection.h"
#include "rng.h"
#include "train.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long least(long a, long b) { return a < b ? a : b; }

long spm_most_batch_rows(const struct spm_training *stage, long rows) {
  if (!stage->balances) return train_batch_rows(stage, rows);
  return stage->batch <= 0 ? 2 * rows : least(stage->batch, 2 * rows);
}

/* Output "rows" or "balance" of the stage for each row: is it nonzero? */
static int ask_rows(struct spm_host *host, const char *stage, const char *what, const struct spm_rows *rows,
                    char *answer, struct spm_error *error) {
  char name[160];
  snprintf(name, sizeof name, "%s%s%s", stage, stage[0] ? "." : "", what);
  const struct spm_program *program = spm_find_program(host->model, "select");
  const struct spm_output *output = program ? spm_find_output(program, SPM_ROWS, name) : NULL;
  if (!output) return spm_fail(error, "%s: has no program \"select\" with %s", host->model->name, name);
  for (long first = 0; first < rows->count; first += SPM_EVALUATION_ROWS) {
    long count = least(SPM_EVALUATION_ROWS, rows->count - first);
    if (spm_host_gather_data(host, rows, first, count, error) != 0) return -1;
    struct spm_run run = spm_host_run(host, program, count);
    run.call.first_row = first;
    spm_run_program(&run);
    const real *values = spm_output_values(&run, output);
    for (long r = 0; r < count; r++) answer[first + r] = values[r] != 0;
  }
  return 0;
}

/* Numbers of the rows for which `taken` holds and `part` is `wanted`, behind those there are. */
static long collect(struct spm_selection *s, const struct spm_rows *rows, const char *taken, const char *part,
                    char wanted) {
  long before = s->count;
  for (long r = 0; r < rows->count; r++)
    if (taken[r] && part[r] == wanted) s->numbers[s->count++] = rows->first + r;
  return s->count - before;
}

static void measure(struct spm_selection *s, const struct spm_training *stage) {
  s->batch = train_batch_rows(stage, s->count);
  s->epoch_rows = s->count;
  if (!s->balanced) return;
  long larger = s->parts[0] > s->parts[1] ? s->parts[0] : s->parts[1];
  long half = stage->batch <= 0 ? larger : least(stage->batch / 2, larger);
  s->batch = 2 * half;
  s->epoch_rows = 2 * larger;
  for (int i = 0; i < 2; i++) s->weights[i] = (real)(2.0 * (double)s->parts[i] / (double)s->count - 1);
}

static int refuse_empty(const struct spm_host *host, const struct spm_training *stage, const struct spm_selection *s,
                        const struct spm_rows *rows, bool train, struct spm_error *error) {
  const char *name = stage->name[0] ? stage->name : "train";
  if (s->count == 0)
    return spm_fail(error, "%s: `rows` of %s takes none of the %ld %s rows", host->model->name, name, rows->count,
                    train ? "training" : "validation");
  if (s->balanced && (s->parts[0] == 0 || s->parts[1] == 0))
    return spm_fail(error,
                    "%s: `balance` of %s has nothing to balance: it is %s on each of the %ld rows that are trained on",
                    host->model->name, name, s->parts[1] == 0 ? "true" : "false", s->count);
  if (s->balanced && s->batch < 2)
    return spm_fail(error, "%s: `balance` of %s wants batches of at least 2 rows", host->model->name, name);
  return 0;
}

int spm_select(struct spm_host *host, const struct spm_training *stage, const struct spm_rows *rows, bool train,
               struct spm_selection *s, struct spm_error *error) {
  *s = (struct spm_selection){.count = rows->count, .balanced = train && stage->balances};
  if (!stage->selects && !s->balanced) {
    measure(s, stage);
    return 0;
  }
  size_t size = (size_t)rows->count;
  char *taken = malloc(size + 1), *part = malloc(size + 1);
  s->numbers = malloc(sizeof *s->numbers * (size + 1));
  int status = taken && part && s->numbers ? 0 : spm_fail_system(error, host->model->name, "select rows", ENOMEM);
  s->count = 0;
  if (status == 0) memset(taken, 1, size);
  if (status == 0) memset(part, 1, size);
  if (status == 0 && stage->selects) status = ask_rows(host, stage->name, "rows", rows, taken, error);
  if (status == 0 && s->balanced) status = ask_rows(host, stage->name, "balance", rows, part, error);
  if (status == 0) {
    s->parts[0] = collect(s, rows, taken, part, 1);
    s->parts[1] = collect(s, rows, taken, part, 0);
    measure(s, stage);
    status = refuse_empty(host, stage, s, rows, train, error);
  }
  free(taken);
  free(part);
  return status;
}

void spm_selection_free(struct spm_selection *s) {
  free(s->numbers);
  *s = (struct spm_selection){0};
}

/* Places of a part's rows in its `pass`-th permutation of this epoch. */
static void permute(long *places, long count, bool shuffle, unsigned long long seed, long epoch, long pass) {
  if (shuffle)
    spm_shuffle(places, count, seed ^ (unsigned long long)pass * 0xd6e8feb86659fd93u, epoch);
  else
    for (long i = 0; i < count; i++) places[i] = i;
}

/* Rows of one part at their places in the batches: in each, half of it, this part's before or behind the other's. */
static void deal(const struct spm_selection *s, int part, bool shuffle, unsigned long long seed, long epoch,
                 long *order) {
  const long *numbers = s->numbers + (part == 0 ? 0 : s->parts[0]);
  long count = s->parts[part], half = s->batch / 2, all = s->epoch_rows / 2;
  long *places = order + s->epoch_rows; /* room behind the order */
  for (long i = 0; i < all; i++) {
    if (i % count == 0) permute(places, count, shuffle, seed, epoch, 2 * (i / count) + part);
    long batch = i / half, rows = least(half, all - batch * half);
    order[2 * half * batch + (part == 0 ? 0 : rows) + i % half] = numbers[places[i % count]];
  }
}

void spm_selection_order(const struct spm_selection *s, bool shuffle, unsigned long long seed, long epoch,
                         long *order) {
  if (s->balanced) {
    deal(s, 0, shuffle, seed, epoch, order);
    deal(s, 1, shuffle, seed, epoch, order);
    return;
  }
  permute(order, s->count, shuffle, seed, epoch, 0);
  for (long i = 0; s->numbers && i < s->count; i++) order[i] = s->numbers[order[i]];
}
