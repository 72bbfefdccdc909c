/* The run directory: a path -> a directory that is surely ours; settings -> config.json; measured values -> one line of
 * metrics.jsonl and of metrics.csv an epoch. */
#include "report.h"
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* 1: empty, 0: not, -1: it cannot be read. */
static int directory_is_empty(const char *path, struct spm_error *error) {
  DIR *directory = opendir(path);
  if (!directory) return spm_fail_system(error, path, "read the directory", errno);
  int empty = 1;
  for (const struct dirent *entry; empty && (entry = readdir(directory));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) empty = 0;
  closedir(directory);
  return empty;
}

/* A run of ours has a config.json that is an object with the key "spmc". */
static bool is_ours(const char *path) {
  char *name = spm_path_join(path, "config.json");
  json_t *config = name ? json_load_file(name, 0, NULL) : NULL;
  bool ours = config && json_object_get(config, "spmc");
  json_decref(config);
  free(name);
  return ours;
}

static int make_inside(const char *directory, const char *name, struct spm_error *error) {
  char *path = spm_path_join(directory, name);
  int status = path ? spm_directory_make(path, error) : spm_fail_system(error, directory, "make", ENOMEM);
  free(path);
  return status;
}

int report_directory_open(const char *path, bool force, struct spm_error *error) {
  struct stat status;
  int found = REPORT_DIRECTORY_NEW;
  if (!path[0]) return spm_fail(error, "the run directory has no name");
  if (stat(path, &status) == 0) {
    if (!S_ISDIR(status.st_mode)) return spm_fail(error, "%s: is a file; a run needs a directory of its own", path);
    int empty = directory_is_empty(path, error);
    if (empty < 0) return -1;
    if (!empty) found = is_ours(path) ? REPORT_DIRECTORY_OURS : REPORT_DIRECTORY_FOREIGN;
    if (found == REPORT_DIRECTORY_FOREIGN && !force)
      return spm_fail(error, "%s: is not empty and holds no run of ours (no config.json of spmc); nothing was written",
                      path);
    if (access(path, W_OK | X_OK) != 0) return spm_fail_system(error, path, "write into the directory", errno);
  } else if (spm_directory_make(path, error) != 0)
    return -1;
  if (make_inside(path, "checkpoints", error) != 0 || make_inside(path, "figures", error) != 0) return -1;
  return found;
}

int report_directory_lock(const char *path, struct spm_error *error) {
  int file = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return spm_fail_system(error, path, "read the directory", errno);
  if (flock(file, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return file; /* some file systems know no locks */
  close(file);
  return spm_fail(error, "%s: another spmc is training into this directory", path);
}

static int forget(const char *directory, const char *name, struct spm_error *error) {
  char *path = spm_path_join(directory, name);
  if (!path) return spm_fail_system(error, directory, "write", ENOMEM);
  int status = unlink(path) == 0 || errno == ENOENT ? 0 : spm_fail_system(error, path, "delete", errno);
  free(path);
  return status;
}

int report_directory_forget(const char *path, struct spm_error *error) {
  if (forget(path, "model.safetensors", error) != 0) return -1;
  return forget(path, "checkpoints/last.safetensors", error);
}

static void write_setting(FILE *stream, const struct report_setting *setting) {
  switch (setting->kind) {
  case REPORT_TEXT: spm_json_string(stream, setting->text); break;
  case REPORT_NUMBER: fputs(isfinite(setting->number) ? spm_number(setting->number).text : "null", stream); break;
  case REPORT_WHOLE: fprintf(stream, "%lld", setting->whole); break;
  case REPORT_FLAG: fputs(setting->whole ? "true" : "false", stream); break;
  }
}

int report_config_write(const char *directory, const char *version, const struct report_setting *settings, int count,
                        struct spm_error *error) {
  struct spm_writer writer;
  char *path = spm_path_join(directory, "config.json");
  int status = path ? spm_writer_open(&writer, path, error) : spm_fail_system(error, directory, "write", ENOMEM);
  free(path);
  if (status != 0) return -1;
  FILE *stream = writer.stream;
  fputs("{\n  \"spmc\": ", stream);
  spm_json_string(stream, version);
  fputs(",\n  \"settings\": {", stream);
  for (int i = 0; i < count; i++) {
    fputs(i ? ",\n    " : "\n    ", stream);
    spm_json_string(stream, settings[i].name);
    fputs(": ", stream);
    write_setting(stream, &settings[i]);
  }
  fputs(count ? "\n  },\n  \"defaults\": [" : "},\n  \"defaults\": [", stream);
  const char *separator = "";
  for (int i = 0; i < count; i++) {
    if (!settings[i].is_default) continue;
    fputs(separator, stream);
    spm_json_string(stream, settings[i].name);
    separator = ", ";
  }
  fputs("]\n}\n", stream);
  return spm_writer_commit(&writer, error);
}

void report_config_print(FILE *out, const struct report_setting *settings, int count) {
  int width = 0;
  for (int i = 0; i < count; i++)
    if ((int)strlen(settings[i].name) > width) width = (int)strlen(settings[i].name);
  for (int i = 0; i < count; i++) {
    fprintf(out, "  %-*s = ", width, settings[i].name);
    if (settings[i].kind == REPORT_TEXT)
      fputs(settings[i].text, out);
    else if (settings[i].kind == REPORT_NUMBER)
      fputs(spm_number(settings[i].number).text, out);
    else
      write_setting(out, &settings[i]);
    fputs(settings[i].is_default ? " (default)\n" : "\n", out);
  }
}

/* --- Metrics ------------------------------------------------------------------------------------------------------ */

static char *csv_header(const struct report_metrics *metrics) {
  char *text = NULL;
  size_t size = 0;
  FILE *stream = open_memstream(&text, &size);
  if (!stream) return NULL;
  for (int i = 0; i < metrics->count; i++) {
    if (i) fputc(',', stream);
    spm_csv_name(stream, metrics->names[i]);
  }
  fputc('\n', stream);
  if (fclose(stream) == 0) return text;
  free(text);
  return NULL;
}

/* Where line `lines` of the file ends, or -1 if it has fewer. A last line without its newline was cut by a kill. */
static long end_of_lines(FILE *stream, long lines) {
  int character;
  rewind(stream);
  for (long place = 0; lines >= 0; place++) {
    if (lines == 0) return place;
    if ((character = fgetc(stream)) == EOF) return -1;
    if (character == '\n') lines--;
  }
  return -1;
}

/* Opens one file, cut after `lines` lines; `header` (or NULL) must be its first. */
static FILE *open_cut(const char *directory, const char *name, const char *header, long lines,
                      struct spm_error *error) {
  char *path = spm_path_join(directory, name);
  FILE *stream = path ? fopen(path, lines > 0 ? "r+" : "w") : NULL;
  int status = 0;
  if (!stream) {
    status = spm_fail_system(error, path ? path : directory, "write", path ? errno : ENOMEM);
  } else if (lines > 0) {
    for (const char *at = header; status == 0 && at && *at; at++)
      if (fgetc(stream) != (unsigned char)*at)
        status = spm_fail(error, "%s: cannot be continued: its columns are not those of this run", path);
    long end = status == 0 ? end_of_lines(stream, lines) : 0;
    if (end < 0)
      status = spm_fail(error, "%s: cannot be continued: it holds fewer rows than the run has done", path);
    else if (status == 0 &&
             (fflush(stream) != 0 || ftruncate(fileno(stream), end) != 0 || fseek(stream, end, SEEK_SET) != 0))
      status = spm_fail_system(error, path, "write", errno);
  }
  free(path);
  if (status == 0) return stream;
  if (stream) fclose(stream);
  return NULL;
}

int report_metrics_open(struct report_metrics *metrics, const char *directory, const char *const *names, int count,
                        long keep, struct spm_error *error) {
  memset(metrics, 0, sizeof *metrics);
  metrics->directory = strdup(directory);
  metrics->names = calloc((size_t)count + 1, sizeof *metrics->names);
  bool complete = metrics->directory && metrics->names;
  for (int i = 0; complete && i < count; i++, metrics->count++)
    complete = (metrics->names[i] = strdup(names[i])) != NULL;
  char *header = complete ? csv_header(metrics) : NULL;
  int status = header ? 0 : spm_fail_system(error, directory, "write", ENOMEM);
  if (status == 0) metrics->jsonl = open_cut(directory, "metrics.jsonl", NULL, keep, error);
  if (metrics->jsonl) metrics->csv = open_cut(directory, "metrics.csv", header, keep > 0 ? keep + 1 : 0, error);
  if (metrics->csv && keep <= 0 && (fputs(header, metrics->csv) < 0 || fflush(metrics->csv) != 0))
    status = spm_fail_system(error, directory, "write metrics.csv", errno);
  free(header);
  if (status == 0 && metrics->csv) return 0;
  report_metrics_close(metrics, NULL);
  return -1;
}

int report_metrics_row(struct report_metrics *metrics, const double *values, struct spm_error *error) {
  fputc('{', metrics->jsonl);
  for (int i = 0; i < metrics->count; i++) {
    if (i) fputs(", ", metrics->jsonl);
    spm_json_string(metrics->jsonl, metrics->names[i]);
    if (i == 0 && metrics->stage) {
      fputs(": ", metrics->jsonl);
      spm_json_string(metrics->jsonl, metrics->stage);
      spm_csv_name(metrics->csv, metrics->stage);
      continue;
    }
    fprintf(metrics->jsonl, ": %s", isfinite(values[i]) ? spm_number(values[i]).text : "null");
    fprintf(metrics->csv, "%s%s", i ? "," : "", spm_number(values[i]).text);
  }
  fputs("}\n", metrics->jsonl);
  fputc('\n', metrics->csv);
  errno = 0;
  bool failed = fflush(metrics->jsonl) != 0;
  if (fflush(metrics->csv) != 0) failed = true;
  if (failed || ferror(metrics->jsonl) || ferror(metrics->csv))
    return spm_fail_system(error, metrics->directory, "write the metrics", errno ? errno : EIO);
  return 0;
}

int report_metrics_close(struct report_metrics *metrics, struct spm_error *error) {
  int status = 0;
  if (metrics->jsonl && fclose(metrics->jsonl) != 0)
    status = spm_fail_system(error, metrics->directory, "write metrics.jsonl", errno);
  if (metrics->csv && fclose(metrics->csv) != 0)
    status = spm_fail_system(error, metrics->directory, "write metrics.csv", errno);
  for (int i = 0; i < metrics->count; i++) free(metrics->names[i]);
  free(metrics->names);
  free(metrics->directory);
  memset(metrics, 0, sizeof *metrics);
  return status;
}
