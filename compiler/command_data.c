/* --data NAME=FILE -> tables that are known to fit the model's declarations, or messages that cite both. */
#include "command.h"

#include "runtime/host.h"
#include "runtime/words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- files --------------------------------------------------------------------------------------------------- */

int dataset_read(const Arguments *a, const NamedFile *files, int count, DataSet *set) {
  struct spm_error error;
  set->files = files;
  for (set->count = 0; set->count < count; set->count++)
    if (spm_table_read(&set->tables[set->count], files[set->count].path, &error) != 0) {
      int code = fail_user(a, "%s", error.message);
      dataset_free(set);
      return code;
    }
  return -1;
}

void dataset_free(DataSet *set) {
  for (int i = 0; i < set->count; i++) spm_table_free(&set->tables[i]);
  set->count = 0;
}

int dataset_shapes(const DataSet *set, DataShape *shapes) {
  for (int i = 0; i < set->count; i++) {
    const struct spm_table *table = &set->tables[i];
    shapes[i] = (DataShape){.name = set->files[i].name, .rank = table->rank > 0 ? table->rank - 1 : 0};
    for (int d = 1; d < table->rank; d++) shapes[i].dims[d - 1] = table->shape[d];
  }
  return set->count;
}

int with_spec(const Arguments *a, bool invent_dims, int (*finish)(const Arguments *, Loaded *)) {
  DataSet data = {.count = 0};
  DataShape shapes[MAX_FILES];
  CompileOptions options = {
      .overrides = a->overrides, .override_count = a->override_count, .data = shapes, .invent_dims = invent_dims};
  Loaded loaded = {0};
  int code = dataset_read(a, a->data, a->data_count, &data);
  options.data_count = dataset_shapes(&data, shapes);
  if (code < 0) code = loaded_check(a, a->target, &options, &loaded);
  if (code < 0) code = finish(a, &loaded);
  loaded_free(&loaded);
  dataset_free(&data);
  return code;
}

/* ---- declarations -------------------------------------------------------------------------------------------- */

static int find_data(const struct spm_model *model, const char *name) {
  if (!name[0]) return model->data_count == 1 ? 0 : -1;
  for (int d = 0; d < model->data_count; d++)
    if (strcmp(model->data[d].name, name) == 0) return d;
  return -1;
}

static int unknown_data(const Arguments *a, const struct spm_model *model, const NamedFile *file) {
  Suggestion nearest = {.name = file->name};
  char names[256] = "";
  for (int d = 0; d < model->data_count; d++) {
    suggestion_consider(&nearest, model->data[d].name);
    snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", d ? ", " : "", model->data[d].name);
  }
  if (!file->name[0])
    return fail_user(a, "%s: say which data it is for, as in %s=%s (the model has %s)", file->path,
                     model->data_count ? model->data[0].name : "x", file->path, names[0] ? names : "no data");
  if (nearest.best)
    return fail_user(a, "%s: the model has no data called `%s`; did you mean `%s`?", file->path, file->name,
                     nearest.best);
  return fail_user(a, "%s: the model has no data called `%s` (it has %s)", file->path, file->name,
                   names[0] ? names : "none");
}

/* Where a data declaration stands in the spec. */
static Span declaration(const Loaded *l, int d) { return model_signature(l->model)->data[d].span; }

static void check_shape(Loaded *l, int d, const struct spm_table *table) {
  struct spm_error error;
  const struct spm_tensor *data = &l->descriptor->data[d];
  if (spm_table_fits(table, spm_file_row(data), &error) == 0) return;
  if (data->categories > 0) {
    Diagnostic *labels = error_at(l->compilation, "data-shape", declaration(l, d),
                                  "%s: the file of a category holds the number of its class, from 0", error.message);
    help_with(labels, "of one-hot vectors take the place of the largest, numpy.argmax(%s, axis=-1)", data->name);
    return;
  }
  Diagnostic *diagnostic =
      error_at(l->compilation, "data-shape", declaration(l, d), "%s by `%s`%s", error.message, data->name,
               data->rank > 1 ? arena_printf(l->compilation, ", %s", spm_shape(data->rank, data->shape).text) : "");
  help_with(diagnostic,
            "rows are read row-major wherever the counts of entries agree, so 28 x 28 serves [784]; a `dim D;` "
            "without a value is read off the data");
}

static const char *range_text(const struct spm_tensor *data, char *text, size_t size) {
  const char *whole = data->integer ? " whole" : "";
  if (isinf(data->low) && isinf(data->high))
    snprintf(text, size, "the%s numbers", whole);
  else if (isinf(data->high))
    snprintf(text, size, "the%s numbers from %s", whole, spm_number(data->low).text);
  else if (isinf(data->low))
    snprintf(text, size, "the%s numbers to %s", whole, spm_number(data->high).text);
  else
    snprintf(text, size, "[%s, %s]", spm_number(data->low).text, spm_number(data->high).text);
  return text;
}

/* What to do about values that are outside of what was declared, or no whole numbers. */
static void help_range(Diagnostic *d, const struct spm_tensor *data, const struct spm_check *found) {
  bool zero_to_one = data->low == 0 && data->high == 1, bytes = found->smallest >= 0 && found->largest <= 255;
  if (data->missing_ok && found->smallest == -1 && found->largest <= data->high)
    help_with(d, "-1 is a missing value in files of signed integers alone: in CSV leave the cell empty or write NA, "
                 "among floats write NaN");
  else if (data->categories > 0 && found->fractional == 0)
    help_with(d,
              found->smallest >= 1 && found->largest == data->high + 1
                  ? "labels are counted from 0: subtract 1"
                  : "labels are counted from 0, and %s is declared with %ld classes",
              data->name, data->categories);
  else if (isinf(found->first_value))
    help_with(d, "leave those rows out of the file, or fill them in");
  else if (zero_to_one && data->integer && bytes)
    help_with(d, "round it to 0 and 1 before, or declare it `%s : unit`: a bernoulli likelihood takes that, too",
              data->name);
  else if (zero_to_one && bytes)
    help_with(d, "files of unsigned bytes are divided by 255 for `unit` data; other files have to be scaled before");
  else if (zero_to_one)
    help_with(d, "scale it into [0, 1] before, or declare it `%s : real` with a likelihood such as normal", data->name);
  else
    help_with(d, "declare it as what it is, for instance `%s : real`, with a likelihood over that, such as normal",
              data->name);
}

static void check_values(Loaded *l, int d, const struct spm_table *table) {
  struct spm_tensor labels = l->descriptor->data[d];
  if (labels.categories) labels.high = (double)(labels.categories - 1);
  const struct spm_tensor *data = &labels;
  struct spm_check found;
  char range[160];
  spm_table_check(table, data->low, data->high, data->integer, spm_reading_of(data), &found);
  const char *total = NULL;
  struct spm_words total_words = spm_count(found.total);
  total = total_words.text;
  if (found.outside > 0) {
    bool above = found.largest > data->high, endless = isinf(data->low) && isinf(data->high);
    const char *outside =
        endless ? "are infinite"
                : arena_printf(l->compilation, "lie outside %s; the %s is %s", range_text(data, range, sizeof range),
                               above ? "largest" : "smallest", spm_number(above ? found.largest : found.smallest).text);
    Diagnostic *diagnostic = error_at(l->compilation, "data-range", declaration(l, d), "%s: %s of %s values of %s %s",
                                      table->path, spm_count(found.outside).text, total, data->name, outside);
    note_at(diagnostic, (Span){0}, "the first one is %s, in row %ld, entry %ld (counted from 0)",
            spm_number(found.first_value).text, found.first_row, found.first_column);
    help_range(diagnostic, data, &found);
  } else if (found.fractional > 0) {
    Diagnostic *diagnostic = error_at(
        l->compilation, "data-range", declaration(l, d),
        "%s: %s of %s values of %s are not whole numbers; the first is %s, in row %ld, entry %ld (counted from 0)",
        table->path, spm_count(found.fractional).text, total, data->name, spm_number(found.first_value).text,
        found.first_row, found.first_column);
    help_range(diagnostic, data, &found);
  }
  if (found.missing > 0 && !data->missing_ok) {
    Diagnostic *diagnostic =
        error_at(l->compilation, "data-missing", declaration(l, d), "%s: %s of %s values of %s are missing (NaN)",
                 table->path, spm_count(found.missing).text, total, data->name);
    note_at(diagnostic, (Span){0}, "the first one is in row %ld, entry %ld (counted from 0)", found.missing_row,
            found.missing_column);
    help_with(diagnostic, "declare %s missing_ok, leave those rows out of the file, or fill them in", data->name);
  }
}

/* Pictures that were meant to lie between 0 and 1 make a model of real numbers whose terms are tens of thousands. */
static void note_bytes(const Arguments *a, const struct spm_tensor *data, const struct spm_table *table) {
  if (a->quiet || a->json || table->element != SPM_U8 || spm_reading_of(data) & SPM_AS_UNIT) return;
  if (data->integer || data->categories > 0) return;
  fprintf(stderr, "spmc: note: %s holds bytes, which `%s` takes as 0 to 255; declared `unit` it would be byte / 255\n",
          table->path, data->name);
}

typedef struct Odd { /* lines that are not as they should be */
  long found, row, members;
} Odd;

static void note_odd(Odd *odd, long row, long members) {
  if (odd->found++ == 0) *odd = (Odd){1, row, members};
}

static const char *subsets_text(Loaded *l, const Odd *odd) {
  return odd->found == 1 ? "1 subset" : arena_printf(l->compilation, "%s subsets", spm_count(odd->found).text);
}

/* subset(most): lines of more ones than that, and such as are missing in part. */
static void check_members(Loaded *l, int d, const struct spm_table *table) {
  const DataInput *input = &model_signature(l->model)->data[d];
  if (input->most == 0) return;
  long line = (long)input->shape.dims[input->shape.rank - 1].size;
  Odd large = {0}, partly = {0};
  double *row = malloc(sizeof *row * (size_t)table->row_size);
  for (long r = 0; r < table->rows && row; r++) {
    if (spm_table_rows_d(table, NULL, r, 1, spm_reading_of(&l->descriptor->data[d]), row) != 0) break;
    for (long from = 0; from + line <= table->row_size; from += line) {
      long ones = 0, gaps = 0;
      for (long i = 0; i < line; i++) {
        gaps += isnan(row[from + i]) != 0;
        ones += row[from + i] != 0 && !isnan(row[from + i]);
      }
      if (ones > input->most) note_odd(&large, r, ones);
      if (gaps > 0 && gaps < line) note_odd(&partly, r, gaps);
    }
  }
  free(row);
  if (large.found > 0) {
    Diagnostic *diagnostic =
        error_at(l->compilation, "data-subset", declaration(l, d), "%s: %s of `%s` have more than %ld members",
                 table->path, subsets_text(l, &large), input->name, input->most);
    note_at(diagnostic, (Span){0}, "the first one has %ld, in row %ld (counted from 0)", large.members, large.row);
  }
  if (partly.found > 0) {
    Diagnostic *diagnostic =
        error_at(l->compilation, "data-missing", declaration(l, d), "%s: %s of `%s` are missing in part", table->path,
                 subsets_text(l, &partly), input->name);
    note_at(diagnostic, (Span){0}, "the first one in row %ld (counted from 0)", partly.row);
    help_with(diagnostic, "a subset is there as a whole, or missing as a whole");
  }
}

static int check_counts(const Arguments *a, const Loaded *l, const char *option, const struct spm_table **tables,
                        struct spm_rows *rows) {
  const struct spm_model *model = l->descriptor;
  int first = -1;
  for (int d = 0; d < model->data_count; d++) {
    if (!tables[d] && (model->data[d].missing_ok || (l->needed && !l->needed[d]))) continue; /* all of it is missing */
    if (!tables[d])
      return fail_user(a, "no file was given for the data `%s`: %s %s=FILE", model->data[d].name, option,
                       model->data[d].name);
    if (first < 0) first = d;
    if (tables[d]->rows != tables[first]->rows)
      return fail_user(a, "%s has %s rows and %s has %s: row i of both belongs to the same datum", tables[first]->path,
                       spm_count(tables[first]->rows).text, tables[d]->path, spm_count(tables[d]->rows).text);
  }
  if (first < 0 && model->data_count > 0)
    return fail_user(a, "no file was given, and `%s` cannot be missing in all rows: %s %s=FILE", model->data[0].name,
                     option, model->data[0].name);
  if (first < 0) return fail_user(a, "%s: the model declares no data", a->target);
  for (int d = 0; d < model->data_count && !a->quiet; d++)
    if (!tables[d] && !(l->needed && !l->needed[d]))
      fprintf(stderr, "spmc: note: no file was given for `%s` (%s %s=FILE): all of it is missing\n",
              model->data[d].name, option, model->data[d].name);
  rows->tables = tables;
  rows->count = tables[first]->rows;
  return -1;
}

int loaded_bind(const Arguments *a, Loaded *l, const DataSet *set, const char *option, const struct spm_table **tables,
                struct spm_rows *rows) {
  const struct spm_model *model = l->descriptor;
  for (int d = 0; d < model->data_count; d++) tables[d] = NULL;
  for (int i = 0; i < set->count; i++) {
    int d = find_data(model, set->files[i].name);
    if (d < 0) return unknown_data(a, model, &set->files[i]);
    if (tables[d])
      return fail_user(a, "%s and %s were both given for %s", tables[d]->path, set->files[i].path, model->data[d].name);
    tables[d] = &set->tables[i];
    int errors = l->compilation->error_count;
    check_shape(l, d, tables[d]);
    if (l->compilation->error_count == errors) check_values(l, d, tables[d]);
    if (l->compilation->error_count == errors) check_members(l, d, tables[d]);
    if (l->compilation->error_count == errors) note_bytes(a, &model->data[d], tables[d]);
  }
  if (l->compilation->error_count > 0) return fail_diagnostics(a, l->compilation);
  return check_counts(a, l, option, tables, rows);
}
