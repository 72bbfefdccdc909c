/* A path and options -> a checked model, its dumps, a callable; and how a command says that something is wrong. */
#include "command.h"
#include "front.h"

#include "runtime/blas.h"
#include "runtime/model.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int command_threads(const Arguments *a) {
  cpu_set_t set;
  if (a->threads > 0) return (int)a->threads;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* ---- messages ------------------------------------------------------------------------------------------------ */

static void say(const Arguments *a, const char *kind, const char *format, va_list list) {
  fflush(stdout);
  fprintf(stderr, a->color ? "spmc: \x1b[1;31m%s:\x1b[0m " : "spmc: %s: ", kind);
  vfprintf(stderr, format, list);
  fprintf(stderr, "\n");
}

int fail_user(const Arguments *a, const char *format, ...) {
  va_list list;
  va_start(list, format);
  say(a, "error", format, list);
  va_end(list);
  return EXIT_USER;
}

static bool is_same_file(const char *a, const char *b) {
  struct stat first, second;
  return stat(a, &first) == 0 && stat(b, &second) == 0 && S_ISREG(first.st_mode) && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

int fail_if_read(const Arguments *a, const Compilation *c, const char *path) {
  bool read = false;
  for (int i = 0; c && i < c->source_count; i++)
    read |= !c->sources[i].library && is_same_file(path, c->sources[i].path);
  for (int i = 0; i < a->data_count; i++) read |= is_same_file(path, a->data[i].path);
  return read ? fail_user(a, "%s: was read from, and would be overwritten; name another file", path) : -1;
}

int fail_internal(const Arguments *a, const char *format, ...) {
  va_list list;
  va_start(list, format);
  say(a, "internal error", format, list);
  va_end(list);
  fprintf(stderr,
          "This is a mistake in spmc, not in the spec. Please open an issue with the spec (%s and the files it uses),\n"
          "the whole command, this message, and what `spmc --version` prints.\n",
          a->target);
  return EXIT_INTERNAL;
}

int fail_diagnostics(const Arguments *a, Compilation *c) {
  const char *internal = NULL;
  for (const Diagnostic *d = c->first_diagnostic; d; d = d->next)
    if (d->severity == SEVERITY_ERROR && strcmp(d->code, "internal") == 0) internal = d->message;
  print_diagnostics(a, c);
  return internal ? fail_internal(a, "%s", internal) : EXIT_USER;
}

int open_blas(const Arguments *a, const char *of_run) {
  char problem[512];
  int library = a->blas >= 0 ? a->blas : of_run ? spm_blas_of_name(of_run) : SPM_OPENBLAS;
  if (library < 0) library = SPM_OPENBLAS; /* the run had none */
  int status = spm_blas_open((enum spm_blas)library, problem, sizeof problem);
  if (status != 0 && library != SPM_OPENBLAS) return fail_user(a, "%s", problem);
  if (status != 0 && !a->quiet)
    fprintf(stderr, "spmc: warning: %s; matrix products run in plain loops, many times slower\n", problem);
  return -1;
}

/* ---- compiling ----------------------------------------------------------------------------------------------- */

void print_diagnostics(const Arguments *a, Compilation *c) {
  fflush(stdout);
  if (a->json) {
    diagnostics_print_json(c, stdout);
    printf("\n");
  } else {
    diagnostics_print(c, stderr, a->color);
  }
  c->first_diagnostic = NULL;
  c->last_diagnostic = &c->first_diagnostic;
}

/* `--data FILE` without a name is for the only data declaration: which one that is, a first look at the spec tells. */
static void name_data(Compilation *c, const char *path, DataShape *shapes) {
  Compilation *look = compilation_create();
  CompileOptions first = {.search_path = getenv("SPMC_PATH"),
                          .invent_dims = true}; /* what is wrong with overrides is said later */
  Model *model = look ? compile_check(look, path, &first) : NULL;
  if (model && model_signature(model)->data_count == 1)
    shapes[0].name = intern(c, model_signature(model)->data[0].name);
  if (look) compilation_destroy(look);
}

int loaded_check(const Arguments *a, const char *path, const CompileOptions *options, Loaded *l) {
  double start = seconds_now();
  *l = (Loaded){.compilation = compilation_create()};
  Compilation *c = l->compilation;
  if (!c) return fail_user(a, "out of memory");
  CompileOptions named = *options; /* the model keeps these as long as it lives */
  DataShape *shapes = arena_array(c, DataShape, options->data_count);
  if (options->data_count > 0) memcpy(shapes, options->data, sizeof *shapes * (size_t)options->data_count);
  if (options->data_count == 1 && !shapes[0].name[0]) name_data(c, path, shapes);
  named.data = shapes;
  named.search_path = getenv("SPMC_PATH");
  l->model = compile_check(c, path, &named);
  l->compile_seconds = seconds_now() - start;
  if (c->error_count > 0) return fail_diagnostics(a, c);
  if (!a->json && path == a->target) print_diagnostics(a, c); /* of a run, warnings were said when it was made */
  if (!l->model) return fail_internal(a, "%s: no model and no error", path);
  return -1;
}

static int dump_stage(const Arguments *a, Loaded *l, const char *stage) {
  Text text = {.compilation = l->compilation};
  if (setjmp(l->compilation->failure)) return fail_user(a, "%s: out of memory", a->target);
  l->compilation->failure_set = true;
  bool known = compile_dump(l->model, stage, &text);
  l->compilation->failure_set = false;
  if (l->compilation->error_count > 0) return fail_diagnostics(a, l->compilation);
  if (!known) return fail_internal(a, "the stage `%s` leaves nothing to print", stage);
  fwrite(text.bytes, 1, text.length, stdout);
  return -1;
}

int loaded_dump(const Arguments *a, Loaded *l) {
  int code = -1;
  for (int i = 0; i < a->dump_count && code < 0; i++) code = dump_stage(a, l, a->dumps[i]);
  return code;
}

int loaded_compile(const Arguments *a, Loaded *l, bool use_double) {
  char message[1024] = "";
  double start = seconds_now();
  if (setjmp(l->compilation->failure)) return fail_user(a, "%s: out of memory", a->target);
  l->compilation->failure_set = true;
  l->jit = compile_jit(l->model, use_double, message, sizeof message);
  l->compilation->failure_set = false;
  l->compile_seconds += seconds_now() - start;
  if (l->compilation->error_count > 0) return fail_diagnostics(a, l->compilation);
  if (!l->jit) return fail_internal(a, "%s", message[0] ? message : "the model could not be compiled");
  l->descriptor = jit_model(l->jit);
  if (l->descriptor->abi != SPM_ABI)
    return fail_internal(a, "the compiled model has version %d of the contract, %d is wanted", l->descriptor->abi,
                         SPM_ABI);
  return -1;
}

void loaded_suggest_supports(const Loaded *l) {
  const Model *m = l->model;
  for (int i = 0; i < m->accepted_count; i++) {
    const struct Acceptance *accepted = &m->accepted[i];
    const Source *source = &l->compilation->sources[accepted->span.source];
    bool told = i > 0 && accepted->span.start == m->accepted[i - 1].span.start;
    int line = 0, column = 0;
    if (accepted->extended || told) continue;
    source_position(source, accepted->span.start, &line, &column);
    bool simplex = strcmp(accepted->support, "simplex") == 0;
    fprintf(stderr, "spmc: note: %s:%d: `%s` must be %s%s, which is not known of `%s`\n", source->path, line,
            accepted->formal, accepted->support, simplex ? ", without negative numbers and of sum 1" : "",
            span_text(l->compilation, accepted->span));
  }
}

void loaded_free(Loaded *l) {
  if (l->jit) jit_destroy(l->jit);
  if (l->compilation) compilation_destroy(l->compilation);
  *l = (Loaded){0};
}
