/* Which rows of a host's tables a stage of training takes: see selection.h. */
#include "host.h"
#include "selection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static long least(long a, long b) { return a < b ? a : b; }

/* "rows" or "balance" of the stage for each row. */
static int ask_rows(struct spm_host *host, const struct spm_training *stage, const char *what,
                    const struct spm_rows *rows, char *answer, struct spm_error *error) {
  const struct spm_program *program = spm_find_program(host->model, "select");
  const struct spm_output *output = program ? spm_selection_output(program, stage, what) : NULL;
  if (!output)
    return spm_fail(error, "%s: has no program \"select\" with %s of stage '%s'", host->model->name, what, stage->name);
  for (long first = 0; first < rows->count; first += SPM_EVALUATION_ROWS) {
    long count = least(SPM_EVALUATION_ROWS, rows->count - first);
    if (spm_host_gather_data(host, rows, first, count, error) != 0) return -1;
    struct spm_run run = spm_host_run(host, program, count);
    run.call.first_row = first;
    spm_run_program(&run);
    spm_selection_answer(&run, output, answer + first);
  }
  return 0;
}

int spm_host_select(struct spm_host *host, const struct spm_training *stage, const struct spm_rows *rows, bool train,
                    struct spm_selection *s, struct spm_error *error) {
  const bool balanced = train && stage->balances;
  spm_selection_all(s, stage, rows->count);
  if (!stage->selects && !balanced) return 0;
  size_t size = (size_t)rows->count;
  char *taken = malloc(size + 1), *part = malloc(size + 1), flaw[320];
  long *numbers = malloc(sizeof *numbers * (size + 1));
  int status = taken && part && numbers ? 0 : spm_fail_system(error, host->model->name, "select rows", ENOMEM);
  if (status == 0) memset(taken, 1, size);
  if (status == 0 && stage->selects) status = ask_rows(host, stage, "rows", rows, taken, error);
  if (status == 0 && balanced) status = ask_rows(host, stage, "balance", rows, part, error);
  s->numbers = numbers;
  if (status == 0) {
    spm_selection_take(s, stage, numbers, rows->first, rows->count, taken, balanced ? part : NULL);
    if (spm_selection_flaw(s, stage, rows->count, train ? "training" : "validation", flaw, sizeof flaw) != 0)
      status = spm_fail(error, "%s: %s", host->model->name, flaw);
  }
  free(taken);
  free(part);
  return status;
}

void spm_host_selection_free(struct spm_selection *s) {
  free(s->numbers);
  *s = (struct spm_selection){0};
}
