/* A checked model -> one C99 file that needs nothing of ours: the contract (runtime/model.h), the pieces of the runtime
 * that the model mentions, the model's functions and descriptor, and on request a trainer (--main) or functions for a
 * host program (--lib). The runtime's own files are the source of all that is pasted: see pieces.h. */
#include "compiler.h"
#include "embedded.h"
#include "front.h"
#include "pieces.h"

#include <string.h>

static const char *embedded(const char *path) {
  for (const EmbeddedText *t = embedded_texts; t->path; t++)
    if (strcmp(t->path, path) == 0) return t->text;
  return "";
}

/* In the order they are pasted in. */
static const char *const kernel_files[] = {"runtime/vmath.h",          "runtime/kernels_reduce.c", "runtime/kernels_fill.c",
                                           "runtime/kernels_layout.c", "runtime/philox.h",         "runtime/kernels_noise.c",
                                           "runtime/kernels_gemm.c",   "runtime/standalone/gemm.c"};
static const char *const driver_files[] = {"runtime/optim.h",  "runtime/optim.c", "runtime/driver.h", "runtime/driver.c",
                                           "runtime/standalone/instance.h", "runtime/standalone/instance.c"};
enum { KERNEL_FILES = sizeof kernel_files / sizeof *kernel_files, DRIVER_FILES = sizeof driver_files / sizeof *driver_files };

/* Products and sums are not to be contracted to fused ones, so that compilers agree; and errno stands in the way of a
 * vector square root. `cc -O3` alone would do both. */
static const char preamble[] =
    "#if defined __clang__\n"
    "#pragma STDC FP_CONTRACT OFF\n"
    "#elif defined __GNUC__ && !defined __TINYC__\n"
    "#pragma GCC optimize(\"fp-contract=off\", \"no-math-errno\")\n"
    "#endif\n"
    "\n"
    "#ifdef SPM_REAL /* -DSPM_REAL=double */\n"
    "#define SPM_REAL_IS_double 1\n"
    "#define SPM_REAL_JOIN(type) SPM_REAL_IS_##type\n"
    "#define SPM_REAL_IS(type) SPM_REAL_JOIN(type)\n"
    "#if SPM_REAL_IS(SPM_REAL) && !defined SPM_DOUBLE\n"
    "#define SPM_DOUBLE\n"
    "#endif\n"
    "#endif\n";

static void add_files(Pieces *p, Compilation *c, const char *const *paths, int count) {
  for (int i = 0; i < count; i++) {
    const char *text = plain_kernel_names(c, embedded(paths[i]));
    if (strcmp(paths[i], "runtime/kernels_gemm.c") == 0) text = arena_printf(c, "#ifdef SPM_NO_BLAS\n%s#endif\n", text);
    pieces_add(p, paths[i], text, false);
  }
}

static unsigned programs_of(const Standalone *options) {
  if (!options->main) return (1u << PROGRAM_COUNT) - 1;
  return 1u << PROGRAM_INITIALISE | 1u << PROGRAM_TRAIN | 1u << PROGRAM_EVALUATE | 1u << PROGRAM_PROJECT;
}

/* "SPM_MODEL" stands for the model's name. */
static const char *with_model_name(Compilation *c, const char *text, const char *name) {
  Text out = {.compilation = c};
  for (const char *found; (found = strstr(text, "SPM_MODEL_NAME")) != NULL; text = found + strlen("SPM_MODEL_NAME"))
    text_append(&out, "%.*s%s", (int)(found - text), text, name);
  text_append(&out, "%s", text);
  return out.bytes;
}

static void paste_kernels(Model *m, const char *body, const char *around, Text *includes_to, Text *out) {
  Compilation *c = m->compilation;
  Pieces *kernels = pieces_create(c);
  add_files(kernels, c, kernel_files, KERNEL_FILES);
  pieces_need(kernels, body);
  pieces_need(kernels, around);
  pieces_includes(kernels, includes_to);
  text_append(out, "\n/* ---- mathematics and kernels ---- */\n\n");
  pieces_paste(kernels, out);
}

/* The driver, and the text of one more file around it that is wanted whole; `out` gets them without includes. */
static void paste_driver(Model *m, const char *path, bool shuffles, Text *includes, Text *out) {
  Compilation *c = m->compilation;
  Pieces *p = pieces_create(c);
  const char *text = with_model_name(c, embedded(path), m->name);
  add_files(p, c, driver_files, DRIVER_FILES);
  if (shuffles) add_files(p, c, (const char *const[]){"runtime/train.c"}, 1);
  pieces_add(p, path, text, true);
  pieces_need(p, "");
  pieces_includes(p, includes);
  pieces_paste(p, out);
}

bool compile_standalone(Model *m, const Standalone *options, Text *out) {
  Compilation *c = m->compilation;
  Text body = {.compilation = c}, around = {.compilation = c}, kernels = {.compilation = c}, includes = {.compilation = c};
  if (!compile_body(m, programs_of(options), &body)) return false;
  const char *model = plain_kernel_names(c, body.bytes);
  text_append(&around, "%s", "");
  if (options->library) paste_driver(m, "runtime/standalone/library.c", false, &includes, &around);
  if (options->main) paste_driver(m, "runtime/standalone/main.c", true, &includes, &around);
  paste_kernels(m, model, around.bytes, &includes, &kernels);
  text_append(out, "/* Model %s, from %s, written by spmc %s. */\n\n%s\n", m->name, m->signature.parameter_count >= 0 ? "its spec" : "",
              SPM_VERSION, preamble);
  text_append(out, "%s\n%s%s%s", includes.length ? includes.bytes : "", embedded("runtime/model.h"), kernels.bytes, model);
  if (around.length) text_append(out, "\n/* ---- the driver ---- */\n\n%s", around.bytes);
  return c->error_count == 0;
}

bool compile_header(Model *m, const Standalone *options, Text *out) {
  (void)options;
  (void)m;
  (void)out;
  return false;
}
