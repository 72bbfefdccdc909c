/* What initial values need of the training data or of files, for a model in a host: see given.h. */
#include "files.h"
#include "given.h"
#include "host.h"
#include "words.h"

#include <stdlib.h>
#include <string.h>

struct source_context {
  struct spm_host *host;
  const struct spm_rows *rows;
  struct spm_error *error;
};

static const real *read_rows(void *context, int data, const long *order, long first, long count) {
  struct source_context *c = context;
  if (!c->rows->tables[data]) {
    spm_fail(c->error, "%s: an initial value needs rows of %s, and there is no file for it", c->host->model->name,
             c->host->model->data[data].name);
    return NULL;
  }
  return spm_host_gather(c->host, c->rows, order, first, count, c->error) == 0 ? c->host->batch[data] : NULL;
}

static int make(struct source_context *c, int index) {
  struct spm_host *host = c->host;
  const struct spm_given *given = &host->model->givens[index];
  struct spm_given_source source = {c, c->rows->count, SPM_EVALUATION_ROWS, read_rows};
  switch (spm_given_make(host->model, index, &source, host->seed, host->given[index])) {
  case SPM_GIVEN_MADE: return 0;
  case SPM_GIVEN_TOO_FEW_ROWS:
    return spm_fail(c->error, "%s: %s wants %ld rows to start from, and the data have %ld", host->model->name,
                    given->name, given->shape[0], c->rows->count);
  case SPM_GIVEN_NO_MEMORY: return spm_fail(c->error, "%s: not enough memory for %s", host->model->name, given->name);
  }
  return -1; /* unreadable: the message is there */
}

static bool same_shape(const struct spm_table *table, const struct spm_given *given) {
  bool same = table->rank == given->rank;
  for (int d = 0; same && d < table->rank; d++) same = table->shape[d] == given->shape[d];
  return same;
}

static int read_file(struct spm_host *host, int index, const char *directory, struct spm_error *error) {
  const struct spm_given *given = &host->model->givens[index];
  struct spm_table table = {0};
  char *path = given->path[0] == '/' ? spm_path_join("", given->path) : spm_path_join(directory, given->path);
  if (!path) return spm_fail(error, "%s: not enough memory for %s", host->model->name, given->name);
  int status = spm_table_read(&table, path, error);
  if (status == 0 && !same_shape(&table, given))
    status = spm_fail(error, "%s: has the shape %s, and the initial value %s wants %s", path,
                      spm_shape(table.rank, table.shape).text, given->name, spm_shape(given->rank, given->shape).text);
  if (status == 0 && spm_table_rows_f(&table, NULL, 0, table.rows, SPM_AS_NUMBERS, host->given[index]) != 0)
    status = spm_fail(error, "%s: cannot be read", path);
  if (status == 0 && !spm_all_finite(host->given[index], given->size))
    status = spm_fail(error, "%s: holds numbers that are not finite, and is an initial value", path);
  spm_table_free(&table);
  free(path);
  return status;
}

int spm_host_give(struct spm_host *host, const struct spm_rows *rows, const char *directory, struct spm_error *error) {
  struct source_context context = {host, rows, error};
  int status = 0;
  for (int g = 0; g < host->model->given_count && status == 0; g++)
    status = host->model->givens[g].kind == SPM_GIVEN_FILE ? read_file(host, g, directory, error) : make(&context, g);
  host->is_given = status == 0;
  return status;
}
