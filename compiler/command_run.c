/* Run directories: settings -> config.json, the spec -> model.spm, and both back for `eval`. See command_run.h. */
#include "command_run.h"

#include "runtime/files.h"
#include "runtime/words.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- settings ------------------------------------------------------------------------------------------------ */

static struct report_setting *next_setting(Settings *s, const char *name, bool is_default) {
  if (s->count == MAX_SETTINGS) return &s->items[MAX_SETTINGS]; /* a spare, never read: there is no room for more */
  snprintf(s->texts[s->count], sizeof *s->texts, "%s", name);
  struct report_setting *setting = &s->items[s->count];
  *setting = (struct report_setting){.name = s->texts[s->count++], .is_default = is_default};
  return setting;
}

void setting_text(Settings *s, const char *name, const char *value, bool is_default) {
  struct report_setting *setting = next_setting(s, name, is_default);
  setting->kind = REPORT_TEXT;
  setting->text = value;
}

void setting_whole(Settings *s, const char *name, long long value, bool is_default) {
  struct report_setting *setting = next_setting(s, name, is_default);
  setting->kind = REPORT_WHOLE;
  setting->whole = value;
}

void setting_number(Settings *s, const char *name, double value, bool is_default) {
  struct report_setting *setting = next_setting(s, name, is_default);
  setting->kind = REPORT_NUMBER;
  setting->number = value;
}

void setting_flag(Settings *s, const char *name, bool value, bool is_default) {
  struct report_setting *setting = next_setting(s, name, is_default);
  setting->kind = REPORT_FLAG;
  setting->whole = value;
}

void settings_model(Settings *s, const Arguments *a, const DataSet *data, const char *only_data) {
  char name[96];
  for (int i = 0; i < a->override_count; i++) {
    snprintf(name, sizeof name, "value %.80s", a->overrides[i].name);
    setting_number(s, name, a->overrides[i].value, false);
  }
  for (int i = 0; i < data->count; i++)
    for (int d = 1; d < data->tables[i].rank; d++) {
      snprintf(name, sizeof name, "row %.60s %d", data->files[i].name[0] ? data->files[i].name : only_data, d - 1);
      setting_whole(s, name, data->tables[i].shape[d], false);
    }
}

/* ---- the spec ------------------------------------------------------------------------------------------------ */

static int write_text(const char *path, const char *text, size_t length, struct spm_error *error) {
  struct spm_writer writer;
  if (spm_writer_open(&writer, path, error) != 0) return -1;
  fwrite(text, 1, length, writer.stream);
  return spm_writer_commit(&writer, error);
}

/* "specs/base.spm" seen from "specs/model.spm" is "base.spm"; NULL if it is not below the spec's directory. */
static const char *relative_path(const char *spec, const char *path) {
  const char *slash = strrchr(spec, '/');
  size_t directory = slash ? (size_t)(slash - spec + 1) : 0;
  if (strncmp(spec, path, directory) != 0) return NULL;
  return strchr(path + directory, '/') || path[directory] == '\0' ? NULL : path + directory;
}

int run_copy_spec(const Arguments *a, Compilation *c, const char *directory) {
  struct spm_error error;
  for (int i = 1; i < c->source_count; i++) {
    const Source *source = &c->sources[i];
    if (source->library) continue;
    bool main_spec = strcmp(source->path, a->target) == 0;
    const char *name = main_spec ? "model.spm" : relative_path(a->target, source->path);
    if (!name) {
      fprintf(stderr, "spmc: warning: %s is not beside %s and is not copied: `spmc eval` will need it where it is\n",
              source->path, a->target);
      continue;
    }
    char *path = spm_path_join(directory, name);
    int status =
        path ? write_text(path, source->text, (size_t)source->length, &error) : spm_fail(&error, "out of memory");
    free(path);
    if (status != 0) return fail_user(a, "%s", error.message);
  }
  return -1;
}

static bool same_text(const char *path, const Source *source) {
  FILE *file = fopen(path, "rb");
  bool same = file != NULL;
  for (int i = 0; same && i < source->length; i++) same = fgetc(file) == (unsigned char)source->text[i];
  same = same && fgetc(file) == EOF;
  if (file) fclose(file);
  return same;
}

static bool has_override(const Override *list, int count, const Override *wanted) {
  for (int i = 0; i < count; i++)
    if (strcmp(list[i].name, wanted->name) == 0 && list[i].value == wanted->value) return true;
  return false;
}

static bool same_overrides(const Arguments *a, const RunRecord *run) {
  bool same = a->override_count == run->override_count;
  for (int i = 0; same && i < a->override_count; i++)
    same = has_override(run->overrides, run->override_count, &a->overrides[i]);
  return same;
}

/* " K=3 beta=0.5", or " none". */
static const char *overrides_text(Compilation *c, const RunRecord *run) {
  Text text = {.compilation = c};
  for (int i = 0; i < run->override_count; i++)
    text_append(&text, " %s=%s", run->overrides[i].name, spm_number(run->overrides[i].value).text);
  return text.length ? text.bytes : " none";
}

int run_same_model(const Arguments *a, Compilation *c, const char *directory) {
  RunRecord *run = arena_new(c, RunRecord);
  int code = run_read(a, directory, run);
  if (code >= 0) return code;
  if (!same_overrides(a, run))
    return fail_user(a, "%s: the run was made with other NAME=VALUE settings; go on with its own:%s", directory,
                     overrides_text(c, run));
  for (int i = 1; i < c->source_count; i++) {
    const Source *source = &c->sources[i];
    const char *name = strcmp(source->path, a->target) == 0 ? "model.spm" : relative_path(a->target, source->path);
    if (source->library || !name) continue;
    char *path = spm_path_join(directory, name);
    bool same = path && same_text(path, source);
    if (!same)
      code = fail_user(
          a, "%s is not the spec of the run: %s holds that; go on with it, or begin anew in another directory",
          source->path, path ? path : directory);
    free(path);
    if (!same) return code;
  }
  return -1;
}

/* ---- reading back -------------------------------------------------------------------------------------------- */

static void read_setting(RunRecord *record, const char *key, const json_t *value) {
  char name[96];
  int dim;
  int used = record->override_count + record->shape_count;
  if (strncmp(key, "value ", 6) == 0 && json_is_number(value) && record->override_count < MAX_OVERRIDES) {
    snprintf(record->names[used], sizeof *record->names, "%s", key + 6);
    record->overrides[record->override_count++] = (Override){record->names[used], json_number_value(value)};
  } else if (sscanf(key, "row %60s %d", name, &dim) == 2 && json_is_integer(value) && dim >= 0 && dim < 8) {
    DataShape *shape = record->shape_count > 0 ? &record->shapes[record->shape_count - 1] : NULL;
    if (!shape || strcmp(shape->name, name) != 0) {
      if (record->shape_count == MAX_FILES) return;
      snprintf(record->names[used], sizeof *record->names, "%s", name);
      shape = &record->shapes[record->shape_count++];
      *shape = (DataShape){.name = record->names[used]};
    }
    shape->dims[dim] = (long)json_integer_value(value);
    if (shape->rank <= dim) shape->rank = dim + 1;
  }
}

int run_read(const Arguments *a, const char *directory, RunRecord *record) {
  char *path = spm_path_join(directory, "config.json");
  json_error_t problem;
  if (!path) return fail_user(a, "out of memory");
  *record = (RunRecord){.override_count = 0};
  FILE *file = fopen(path, "r");
  if (!file) {
    int code = errno == ENOENT && access(directory, F_OK) != 0
                   ? fail_user(a, "%s: there is no such directory", directory)
                   : fail_user(a,
                               "%s: is not the directory of a run, which `spmc train --out` leaves: config.json "
                               "cannot be read (%s)",
                               directory, strerror(errno));
    free(path);
    return code;
  }
  json_t *root = json_loadf(file, JSON_REJECT_DUPLICATES, &problem);
  fclose(file);
  json_t *settings = json_object_get(root, "settings");
  int code = -1;
  if (!json_is_object(settings))
    code = root ? fail_user(a, "%s: holds no settings", path)
                : fail_user(a, "%s:%d: %s", path, problem.line, problem.text);
  const char *key;
  json_t *value;
  json_object_foreach(settings, key, value) read_setting(record, key, value);
  json_decref(root);
  free(path);
  return code;
}
