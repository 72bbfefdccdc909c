/* spmc emit: a spec, or a trained run -> one C file that needs nothing of ours, and on request its header. */
#include "command_run.h"

#include "runtime/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int write_file(const Arguments *a, const char *path, const Text *text) {
  struct spm_error error;
  struct spm_writer writer;
  if (strcmp(path, "-") == 0) {
    fwrite(text->bytes, 1, text->length, stdout);
    return -1;
  }
  if (spm_writer_open(&writer, path, &error) != 0) return fail_user(a, "%s", error.message);
  fwrite(text->bytes, 1, text->length, writer.stream);
  return spm_writer_commit(&writer, &error) == 0 ? -1 : fail_user(a, "%s", error.message);
}

/* "build/first.c" -> build/first.pc, which says how to link build/libfirst.a. */
static int write_package(const Arguments *a, Loaded *l) {
  const char *slash = strrchr(a->out, '/'), *base = slash ? slash + 1 : a->out, *dot = strrchr(base, '.');
  const int length = (int)(dot ? dot - base : (long)strlen(base)), before = (int)(base - a->out);
  Text text = {.compilation = l->compilation};
  if (strcmp(a->out, "-") == 0) return -1;
  text_append(&text, "# cc -O3 -march=native -c %s && ar rcs lib%.*s.a %.*s.o\n", base, length, base, length, base);
  text_append(&text, "Name: %.*s\nDescription: model %s, emitted by spmc\nVersion: %s\n", length, base,
              model_name(l->model), SPM_VERSION);
  text_append(&text, "Cflags: -I${pcfiledir}\nLibs: -L${pcfiledir} -l%.*s -lopenblas -lm\n", length, base);
  return write_file(a, arena_printf(l->compilation, "%.*s%.*s.pc", before, a->out, length, base), &text);
}

/* Of a run: its parameters, too. */
static int add_trained(const Arguments *a, Loaded *l, Text *text, Text *header) {
  struct spm_error error = {"out of memory"};
  char *path = spm_path_join(a->target, "model.safetensors");
  bool done = path && compile_trained(l->model, path, text, header, &error);
  free(path);
  return done ? -1 : fail_user(a, "%s", error.message);
}

static int write_all(const Arguments *a, Loaded *l, bool trained) {
  const Standalone options = {.main = a->with_main, .library = a->with_library, .trained = trained};
  Text text = {.compilation = l->compilation}, header = {.compilation = l->compilation};
  if (setjmp(l->compilation->failure)) return fail_user(a, "%s: out of memory", a->target);
  l->compilation->failure_set = true;
  bool done = compile_standalone(l->model, &options, &text);
  if (done && a->header) done = compile_header(l->model, &options, &header);
  l->compilation->failure_set = false;
  if (!done) return fail_diagnostics(a, l->compilation);
  print_diagnostics(a, l->compilation);
  int code = trained ? add_trained(a, l, &text, &header) : -1;
  if (code < 0) code = write_file(a, a->out, &text);
  if (code < 0 && a->header) code = write_file(a, a->header, &header);
  if (code < 0 && a->with_library) code = write_package(a, l);
  return code >= 0 ? code : EXIT_FINE;
}

static bool is_directory(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static int write_loaded(const Arguments *a, Loaded *l, bool trained) {
  if (a->header && a->with_main)
    return fail_user(
        a, "--header: a trainer exports nothing that a header could tell of; take --lib, or leave out --main");
  if (model_is_library(l->model)) return fail_user(a, "%s: holds no `model`: there is nothing to emit", a->target);
  if (a->header && strcmp(a->header, a->out) == 0)
    return fail_user(a, "--header and -o both say %s: the C and its header are two files", a->out);
  int code = fail_if_read(a, l->compilation, a->out);
  if (code < 0 && a->header) code = fail_if_read(a, l->compilation, a->header);
  return code < 0 ? write_all(a, l, trained) : code;
}

/* The spec that a run keeps, with the values that it was made with. */
static int emit_run(const Arguments *a) {
  RunRecord record;
  Loaded loaded = {0};
  if (!a->with_library) return fail_user(a, "%s: a trained run goes into a library: --lib", a->target);
  if (a->override_count > 0 || a->data_count > 0)
    return fail_user(a, "%s: a trained run has its dims and values; --data and NAME=VALUE go with a spec", a->target);
  int code = run_read(a, a->target, &record);
  char *spec = spm_path_join(a->target, "model.spm");
  const CompileOptions options = {.overrides = record.overrides,
                                  .override_count = record.override_count,
                                  .data = record.shapes,
                                  .data_count = record.shape_count};
  if (code < 0) code = spec ? loaded_check(a, spec, &options, &loaded) : fail_user(a, "out of memory");
  if (code < 0) code = write_loaded(a, &loaded, true);
  loaded_free(&loaded);
  free(spec);
  return code;
}

static int write_untrained(const Arguments *a, Loaded *l) { return write_loaded(a, l, false); }

int command_emit(const Arguments *a) {
  return is_directory(a->target) ? emit_run(a) : with_spec(a, false, write_untrained);
}
