/* See selection.h. */
#include "selection.h"
#include "rng.h"
#include "stage.h"

#include <stdio.h>

static long least(long a, long b) { return a < b ? a : b; }

long spm_most_batch_rows(const struct spm_training *stage, long rows) {
  if (!stage->balances) return train_batch_rows(stage->batch, rows);
  return stage->batch <= 0 ? 2 * rows : least(stage->batch, 2 * rows);
}

const struct spm_output *spm_selection_output(const struct spm_program *program, const struct spm_training *stage,
                                              const char *what) {
  char name[160];
  snprintf(name, sizeof name, "%s%s%s", stage->name, stage->name[0] ? "." : "", what);
  return spm_find_output(program, SPM_ROWS, name);
}

void spm_selection_answer(const struct spm_run *run, const struct spm_output *output, char *answer) {
  const real *values = spm_output_values(run, output);
  for (long r = 0; r < run->call.rows; r++) answer[r] = values[r] != 0;
}

/* Numbers of the rows for which `taken` holds and `part` is `wanted`, behind those there are. */
static long collect_rows(struct spm_selection *s, long first, long rows, const char *taken, const char *part,
                         char wanted) {
  long before = s->count;
  for (long r = 0; r < rows; r++)
    if (taken[r] && (part ? part[r] : 1) == wanted) s->numbers[s->count++] = first + r;
  return s->count - before;
}

static void measure_selection(struct spm_selection *s, const struct spm_training *stage) {
  s->batch = train_batch_rows(stage->batch, s->count);
  s->epoch_rows = s->count;
  if (!s->balanced) return;
  long larger = s->parts[0] > s->parts[1] ? s->parts[0] : s->parts[1];
  long half = stage->batch <= 0 ? larger : least(stage->batch / 2, larger);
  s->batch = 2 * half;
  s->epoch_rows = 2 * larger;
  for (int i = 0; i < 2; i++) s->weights[i] = (real)(2.0 * (double)s->parts[i] / (double)s->count - 1);
}

void spm_selection_all(struct spm_selection *s, const struct spm_training *stage, long rows) {
  *s = (struct spm_selection){.count = rows};
  measure_selection(s, stage);
}

void spm_selection_take(struct spm_selection *s, const struct spm_training *stage, long *numbers, long first, long rows,
                        const char *taken, const char *part) {
  *s = (struct spm_selection){.numbers = numbers, .balanced = part != NULL};
  s->parts[0] = collect_rows(s, first, rows, taken, part, 1);
  s->parts[1] = collect_rows(s, first, rows, taken, part, 0);
  measure_selection(s, stage);
}

int spm_selection_flaw(const struct spm_selection *s, const struct spm_training *stage, long rows, const char *kind,
                       char *text, size_t size) {
  const char *name = stage->name[0] ? stage->name : "train";
  if (s->count == 0) return snprintf(text, size, "`rows` of %s takes none of the %ld %s rows", name, rows, kind);
  if (s->balanced && (s->parts[0] == 0 || s->parts[1] == 0))
    return snprintf(text, size,
                    "`balance` of %s has nothing to balance: it is %s on each of the %ld rows that are trained on",
                    name, s->parts[1] == 0 ? "true" : "false", s->count);
  if (s->balanced && s->batch < 2)
    return snprintf(text, size, "`balance` of %s wants batches of at least 2 rows", name);
  return 0;
}

/* Places of a part's rows in its `pass`-th permutation of this epoch. */
static void permute_rows(long *places, long count, bool shuffle, unsigned long long seed, long epoch, long pass) {
  if (shuffle)
    spm_shuffle(places, count, seed ^ (unsigned long long)pass * 0xd6e8feb86659fd93u, epoch);
  else
    for (long i = 0; i < count; i++) places[i] = i;
}

/* Rows of one part at their places in the batches: in each, half of it, this part's before or behind the other's. */
static void deal_rows(const struct spm_selection *s, int part, bool shuffle, unsigned long long seed, long epoch,
                      long *order) {
  const long *numbers = s->numbers + (part == 0 ? 0 : s->parts[0]);
  long count = s->parts[part], half = s->batch / 2, all = s->epoch_rows / 2;
  long *places = order + s->epoch_rows; /* room behind the order */
  for (long i = 0; i < all; i++) {
    if (i % count == 0) permute_rows(places, count, shuffle, seed, epoch, 2 * (i / count) + part);
    long batch = i / half, rows = least(half, all - batch * half);
    order[2 * half * batch + (part == 0 ? 0 : rows) + i % half] = numbers[places[i % count]];
  }
}

void spm_selection_order(const struct spm_selection *s, bool shuffle, unsigned long long seed, long epoch,
                         long *order) {
  if (s->balanced) {
    deal_rows(s, 0, shuffle, seed, epoch, order);
    deal_rows(s, 1, shuffle, seed, epoch, order);
    return;
  }
  permute_rows(order, s->count, shuffle, seed, epoch, 0);
  for (long i = 0; s->numbers && i < s->count; i++) order[i] = s->numbers[order[i]];
}
