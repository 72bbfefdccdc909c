/* Means of outputs -> tables and JSON on standard output; parameters and rows -> pictures of a run. */
#include "command.h"

#include "runtime/files.h"
#include "runtime/host.h"
#include "runtime/picture.h"
#include "runtime/words.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const double spread_points[SPREAD_POINTS] = {.1, .5, .9};

static int name_width(const struct spm_columns *columns) {
  int width = 0;
  for (int i = 0; i < columns->shown; i++)
    if ((int)strlen(columns->names[i]) > width) width = (int)strlen(columns->names[i]);
  return width;
}

void print_results(const struct spm_columns *columns, const double *means) {
  const int width = name_width(columns);
  for (int role = SPM_OBJECTIVE; role <= SPM_VALUE; role++) /* the objective, its terms, what else there is */
    for (int i = 0; i < columns->shown; i++)
      if (columns->roles[i] == role) printf("  %-*s  %s\n", width, columns->names[i], spm_number_short(means[i]).text);
}

void print_spreads(const struct spm_columns *columns, const Spread *spreads) {
  const int width = name_width(columns);
  printf("  %-*s  %10s", width, "", "mean");
  for (int q = 0; q < SPREAD_POINTS; q++) printf("  %9.0f%%", 100 * spread_points[q]);
  printf("\n");
  for (int role = SPM_OBJECTIVE; role <= SPM_VALUE; role++)
    for (int i = 0; i < columns->shown; i++) {
      if (columns->roles[i] != role) continue;
      printf("  %-*s  %10s", width, columns->names[i], spm_number_short(spreads[i].mean).text);
      for (int q = 0; q < SPREAD_POINTS; q++) printf("  %10s", spm_number_short(spreads[i].at[q]).text);
      printf("\n");
    }
}

static void print_json_field(int index, const char *name, double value) {
  if (index > 0) printf(", ");
  spm_json_string(stdout, name);
  printf(": %s", isfinite(value) ? spm_number(value).text : "null");
}

void print_results_json(const struct spm_columns *columns, const double *means, long rows, unsigned long long seed) {
  printf("{\"rows\": %ld, \"seed\": %llu, \"results\": {", rows, seed);
  for (int i = 0; i < columns->shown; i++) print_json_field(i, columns->names[i], means[i]);
  printf("}}\n");
}

void print_spreads_json(const struct spm_columns *columns, const Spread *spreads, long rows, unsigned long long seed) {
  printf("{\"rows\": %ld, \"seed\": %llu, \"results\": {", rows, seed);
  for (int i = 0; i < columns->shown; i++) print_json_field(i, columns->names[i], spreads[i].mean);
  printf("}, \"quantiles\": {");
  for (int q = 0; q < SPREAD_POINTS; q++) {
    printf("%s\"%s\": {", q > 0 ? ", " : "", spm_number(spread_points[q]).text);
    for (int i = 0; i < columns->shown; i++) print_json_field(i, columns->names[i], spreads[i].at[q]);
    printf("}");
  }
  printf("}}\n");
}

/* ---- pictures ------------------------------------------------------------------------------------------------ */

enum { SHOWN_ROWS = 10, SHOWN_UNITS = 100 };

static void write_picture(const Arguments *a, const char *directory, const char *name, struct picture *picture) {
  struct spm_error error;
  char *path = spm_path_join(directory, name);
  if (!path || picture_write(picture, path, &error) != 0) fail_user(a, "%s", path ? error.message : "out of memory");
  free(path);
}

/* The sides of a picture of `size` entries: as declared where the file had them, else a square. */
static bool picture_sides(const struct spm_tensor *data, const struct spm_table *table, int *height, int *width) {
  if (table && table->rank == 3 && table->shape[1] * table->shape[2] == data->size) {
    *height = (int)table->shape[1];
    *width = (int)table->shape[2];
    return true;
  }
  if (data->rank >= 2 && data->shape[data->rank - 2] * data->shape[data->rank - 1] == data->size) {
    *height = (int)data->shape[data->rank - 2];
    *width = (int)data->shape[data->rank - 1];
    return true;
  }
  int side = (int)lround(sqrt((double)data->size));
  *height = *width = side;
  return side >= 3 && (long)side * side == data->size;
}

static void draw_reconstruction(const Arguments *a, const char *directory, const struct spm_tensor *data,
                                const real *originals, const real *reconstructions, int count, int height, int width) {
  struct picture_strip strips[2] = {{"original", originals}, {"reconstruction", reconstructions}};
  float low = (float)data->low, high = (float)data->high;
  bool bounded = isfinite(data->low) && isfinite(data->high);
  struct picture_montage montage = {.title = data->name,
                                    .strips = strips,
                                    .strip_count = 2,
                                    .count = count,
                                    .tile_height = height,
                                    .tile_width = width,
                                    .channels = 1,
                                    .columns = count,
                                    .shades = bounded ? PICTURE_RANGE : PICTURE_SYMMETRIC,
                                    .low = bounded ? low : 0,
                                    .high = bounded ? high : 0};
  struct picture picture;
  struct spm_error error;
  if (picture_montage(&picture, &montage, &error) != 0) {
    fail_user(a, "%s", error.message);
    return;
  }
  write_picture(a, directory, "reconstructions.png", &picture);
  picture_free(&picture);
}

/* Rows of the data above what program "reconstruct" makes of them. */
static void draw_reconstructions(const Arguments *a, Loaded *l, struct spm_host *host, const struct spm_rows *rows,
                                 const char *directory) {
  const struct spm_program *program = spm_find_program(l->descriptor, "reconstruct");
  struct spm_error error;
  int count = rows->count < SHOWN_ROWS ? (int)rows->count : SHOWN_ROWS;
  if (!program) return;
  if (spm_host_gather(host, rows, NULL, 0, count, &error) != 0) return;
  struct spm_run run = spm_host_run(host, program, count);
  spm_run_program(&run);
  for (int d = 0; d < l->descriptor->data_count; d++) {
    const struct spm_tensor *data = &l->descriptor->data[d];
    const struct spm_output *output = spm_find_output(program, SPM_ROWS, data->name);
    int height, width;
    if (!output || output->size != data->size || !picture_sides(data, rows->tables[d], &height, &width)) continue;
    draw_reconstruction(a, directory, data, host->batch[d], spm_output_values(&run, output), count, height, width);
    return;
  }
}

/* A parameter with one dim as long as a row of data: each unit along the other one is a picture. */
static void draw_dictionary(const Arguments *a, const char *directory, const struct spm_tensor *parameter,
                            const real *values, int row_dim, int height, int width) {
  long pixels = parameter->shape[row_dim], units = parameter->shape[1 - row_dim];
  int shown = units < SHOWN_UNITS ? (int)units : SHOWN_UNITS;
  float *tiles = malloc(sizeof *tiles * (size_t)(shown * pixels));
  if (!tiles) return;
  for (int unit = 0; unit < shown; unit++)
    for (long pixel = 0; pixel < pixels; pixel++)
      tiles[unit * pixels + pixel] =
          (float)(row_dim == 0 ? values[pixel * units + unit] : values[unit * pixels + pixel]);
  char title[160];
  snprintf(title, sizeof title, "%.80s %.40s, %d of %ld units", parameter->name, parameter->dims, shown, units);
  struct picture_strip strip = {NULL, tiles};
  struct picture_montage montage = {.title = title,
                                    .strips = &strip,
                                    .strip_count = 1,
                                    .count = shown,
                                    .tile_height = height,
                                    .tile_width = width,
                                    .channels = 1,
                                    .shades = PICTURE_SYMMETRIC_EACH};
  struct picture picture;
  struct spm_error error;
  if (picture_montage(&picture, &montage, &error) == 0) {
    char name[160];
    snprintf(name, sizeof name, "dictionary-%.120s.png", parameter->name);
    write_picture(a, directory, name, &picture);
    picture_free(&picture);
  }
  free(tiles);
}

/* The constrained value where there is one of its own, else the raw one. */
static const real *parameter_value(const struct spm_run *run, const struct spm_host *host, int parameter) {
  for (int i = 0; run->program && i < run->program->output_count; i++) {
    const struct spm_output *output = &run->program->outputs[i];
    if (output->role == SPM_EXPORT_OF && output->index == parameter) return spm_output_values(run, output);
  }
  return host->parameters + host->model->parameters[parameter].offset;
}

static void draw_dictionaries(const Arguments *a, Loaded *l, struct spm_host *host, const struct spm_rows *rows,
                              const char *directory) {
  const struct spm_model *model = l->descriptor;
  const struct spm_program *program = spm_find_program(model, "export");
  struct spm_run run = {.program = NULL};
  if (program) {
    run = spm_host_run(host, program, 0);
    spm_run_program(&run);
  }
  for (int p = 0; p < model->parameter_count; p++) {
    const struct spm_tensor *parameter = &model->parameters[p];
    for (int d = 0, height, width; parameter->rank == 2 && d < model->data_count; d++) {
      int row_dim = parameter->shape[0] == model->data[d].size ? 0 : 1;
      if (parameter->shape[row_dim] != model->data[d].size) continue;
      if (!picture_sides(&model->data[d], rows->tables[d], &height, &width)) continue;
      draw_dictionary(a, directory, parameter, parameter_value(&run, host, p), row_dim, height, width);
      break;
    }
  }
}

void draw_figures(const Arguments *a, Loaded *l, struct spm_host *host, const struct spm_rows *rows,
                  const char *directory) {
  char *figures = spm_path_join(directory, "figures");
  if (!figures) return;
  draw_reconstructions(a, l, host, rows, figures);
  draw_dictionaries(a, l, host, rows, figures);
  free(figures);
}

/* ---- curves -------------------------------------------------------------------------------------------------- */

typedef struct Curve {
  double *epochs, *train, *valid; /* epochs: through all stages */
  long count;
  bool has_valid;
} Curve;

static double number_of(const json_t *row, const char *prefix, const char *name) {
  char key[128];
  snprintf(key, sizeof key, "%s%s", prefix, name);
  const json_t *value = json_object_get(row, key);
  return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* One line of metrics.jsonl: a run that was resumed has the earlier epochs there as well. */
static bool add_to_curve(Curve *curve, const json_t *row, const char *name) {
  double **columns[] = {&curve->epochs, &curve->train, &curve->valid};
  const double values[] = {(double)(curve->count + 1), number_of(row, "", name), number_of(row, "valid.", name)};
  for (int i = 0; i < 3; i++) {
    double *longer = realloc(*columns[i], sizeof *longer * (size_t)(curve->count + 1));
    if (!longer) return false;
    *columns[i] = longer;
    longer[curve->count] = values[i];
  }
  curve->has_valid = curve->has_valid || isfinite(values[2]);
  curve->count++;
  return true;
}

static void read_curve(Curve *curve, const char *directory, const char *name) {
  char *path = spm_path_join(directory, "metrics.jsonl"), *line = NULL;
  size_t size = 0;
  FILE *file = path ? fopen(path, "r") : NULL;
  free(path);
  while (file && getline(&line, &size, file) > 0) {
    json_t *row = json_loads(line, 0, NULL);
    bool sound = !row || add_to_curve(curve, row, name);
    json_decref(row);
    if (!sound) break;
  }
  free(line);
  if (file) fclose(file);
}

void draw_curve(const Arguments *a, const char *directory, const char *name) {
  Curve curve = {.count = 0};
  struct picture picture;
  struct spm_error error;
  char *figures = spm_path_join(directory, "figures");
  read_curve(&curve, directory, name);
  struct picture_series series[2] = {{"training", curve.epochs, curve.train, curve.count, false},
                                     {"validation", curve.epochs, curve.valid, curve.count, false}};
  struct picture_chart chart = {.title = name,
                                .x_label = "epoch",
                                .y_label = "nats a datum",
                                .series = series,
                                .series_count = curve.has_valid ? 2 : 1};
  if (figures && curve.count > 0 && picture_chart(&picture, &chart, &error) == 0) {
    char file[128];
    snprintf(file, sizeof file, "%.100s.png", name);
    write_picture(a, figures, file, &picture);
    picture_free(&picture);
  }
  free(curve.epochs);
  free(curve.train);
  free(curve.valid);
  free(figures);
}
