/* A checked model -> one C99 file that needs nothing of ours: the contract (runtime/model.h), the pieces of the runtime
 * that the model mentions, the model's functions and descriptor, and on request a trainer (--main) or functions for a
 * host program (--lib). The runtime's own files are the source of all that is pasted: see pieces.h. */
#include "compiler.h"
#include "embedded.h"
#include "front.h"
#include "plan_internal.h"
#include "pieces.h"

#include <string.h>

static const char *embedded(const char *path) {
  for (const EmbeddedText *t = embedded_texts; t->path; t++)
    if (strcmp(t->path, path) == 0) return t->text;
  return "";
}

/* In the order they are pasted in. */
static const char *const kernel_files[] = {
    "runtime/vmath.h",          "runtime/special.h",        "runtime/kernels_reduce.c",   "runtime/kernels_fill.c",
    "runtime/kernels_layout.c", "runtime/kernels_select.c", "runtime/kernels_project.c",  "runtime/kernels_subset.c",
    "runtime/sparse.h",         "runtime/kernels_sparse.c", "runtime/kernels_low_rank.c", "runtime/philox.h",
    "runtime/kernels_noise.c",  "runtime/kernels_gemm.c",   "runtime/convolve.h",         "runtime/kernels_convolve.c"};
static const char *const driver_files[] = {"runtime/optim.h",
                                           "runtime/optim.c",
                                           "runtime/driver.h",
                                           "runtime/driver.c",
                                           "runtime/given.h",
                                           "runtime/given.c",
                                           "runtime/rng.h",
                                           "runtime/rng.c",
                                           "runtime/lbfgs.h",
                                           "runtime/lbfgs.c",
                                           "runtime/fit.h",
                                           "runtime/fit.c",
                                           "runtime/row_state.h",
                                           "runtime/row_state.c",
                                           "runtime/solved.h",
                                           "runtime/solved.c",
                                           "runtime/standalone/instance.h",
                                           "runtime/standalone/instance.c"};
static const char *const trainer_files[] = {
    "runtime/stage.h",           "runtime/selection.h",          "runtime/stage.c",
    "runtime/selection.c",       "runtime/standalone/trainer.h", "runtime/standalone/files.c",
    "runtime/standalone/saved.c"};
enum {
  TRAINER_FILES = sizeof trainer_files / sizeof *trainer_files,
  KERNEL_FILES = sizeof kernel_files / sizeof *kernel_files,
  DRIVER_FILES = sizeof driver_files / sizeof *driver_files
};

/* Without the promise that they leave errno alone no compiler makes vector instructions of them; -fno-math-errno would
 * say it of all functions, and no pragma does. */
static const char pure_roots[] =
    "\n#ifdef __GNUC__ /* they leave errno alone: else no compiler makes vectors of them */\n"
    "extern float sqrtf(float) __attribute__((const));\n"
    "extern double sqrt(double) __attribute__((const));\n"
    "#endif\n";

/* Products and sums are not to be contracted to fused ones, so that compilers agree; `cc -O3` alone would. */
static const char preamble[] = "#if defined __clang__\n"
                               "#pragma STDC FP_CONTRACT OFF\n"
                               "#elif defined __GNUC__ && !defined __TINYC__\n"
                               "#pragma GCC optimize(\"fp-contract=off\")\n"
                               "#endif\n"
                               "\n"
                               "#define SPM_IS_double 1 /* -DSPM_REAL=double */\n"
                               "#define SPM_JOIN(type) SPM_IS_##type\n"
                               "#define SPM_IS(type) SPM_JOIN(type)\n"
                               "#if SPM_IS(SPM_REAL) && !defined SPM_DOUBLE\n"
                               "#define SPM_DOUBLE\n"
                               "#endif\n";

/* --- what a model does without -------------------------------------------------------------------------------------
 * The runtime's files have `#ifndef NAME` around what only some models need; what this one does not need is not pasted,
 * nor is the condition. In the runtime itself none of the names is defined. */

typedef bool Lacks(const Model *, Plan *const *plans, int count);

static const Plan *find_plan(Plan *const *plans, int count, ProgramKind program) {
  for (int p = 0; p < count; p++)
    if (strcmp(plans[p]->name, program_names[program]) == 0) return plans[p];
  return NULL;
}

static bool always(const Model *m, Plan *const *plans, int count) {
  (void)m, (void)plans, (void)count;
  return true;
}

static bool lacks_states(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  return m->signature.state_count == 0;
}

static bool lacks_projections(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  for (int i = 0; i < m->signature.parameter_count; i++)
    if (m->signature.parameters[i].projected && !m->signature.parameters[i].fixed) return false;
  return true;
}

static bool trains_by(const Model *m, const char *optimizer) {
  for (int i = 0; i < m->training_count; i++)
    if (strcmp(m->trainings[i].optimizer, optimizer) == 0) return true;
  return false;
}

static bool lacks_stages(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  return m->training_count < 2;
}

static bool lacks_selections(const Model *m, Plan *const *plans, int count) {
  (void)m;
  return !find_plan(plans, count, PROGRAM_SELECT);
}

static bool lacks_balance(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  for (int i = 0; i < m->training_count; i++)
    if (m->trainings[i].balance) return false;
  return true;
}

static bool lacks_best(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  for (int i = 0; i < m->training_count; i++)
    if (m->trainings[i].keep) return false;
  return true;
}

static bool lacks_held(const Model *m, Plan *const *plans, int count) {
  return lacks_best(m, plans, count) && (m->training_count == 0 || m->trainings[0].valid == 0);
}

static bool lacks_gathered(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  for (int i = 0; i < m->signature.data_count; i++)
    if (m->signature.data[i].gathered > 0) return false;
  return true;
}

static bool lacks_adam(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  return !trains_by(m, "adam");
}

static bool lacks_sgd(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  return !trains_by(m, "sgd");
}

static bool lacks_lbfgs(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  return !trains_by(m, "lbfgs");
}

static bool lacks_updates(const Model *m, Plan *const *plans, int count) { /* by gradients, a step each */
  return lacks_adam(m, plans, count) && lacks_sgd(m, plans, count);
}

static bool lacks_row_states(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  return m->signature.row_state_count == 0;
}

static bool lacks_fits(const Model *m, Plan *const *plans, int count) {
  (void)m;
  return !find_plan(plans, count, PROGRAM_FIT) && !find_plan(plans, count, PROGRAM_FIT_NEW);
}

static bool lacks_fitter(const Model *m, Plan *const *plans, int count) {
  return lacks_fits(m, plans, count) && lacks_lbfgs(m, plans, count);
}

static bool lacks_solved(const Model *m, Plan *const *plans, int count) {
  (void)m;
  return !find_plan(plans, count, PROGRAM_SOLVE);
}

static bool lacks_unchanged(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  for (int i = 0; i < m->training_count; i++)
    if (m->trainings[i].unchanged > 0) return false;
  return true;
}

static bool lacks_patience(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  for (int i = 0; i < m->training_count; i++)
    if (m->trainings[i].patience > 0) return false;
  return true;
}

static bool lacks_maxima(const Model *m, Plan *const *plans, int count) {
  (void)m;
  return !has_maxima(plans, count);
}

static bool lacks_domains(const Model *m, Plan *const *plans, int count) {
  (void)m;
  for (int p = 0; p < count; p++)
    if (plans[p]->domain_count > 1) return false;
  return true;
}

static bool lacks_givens(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  return m->signature.given_count == 0;
}

/* Are all steps the driver's alone? */
static bool has_plain_steps(const Model *m, Plan *const *plans, int count) {
  return lacks_lbfgs(m, plans, count) && lacks_row_states(m, plans, count);
}

/* Are all ranges gradients of parameters that are trained? */
static bool lacks_other_ranges(const Model *m, Plan *const *plans, int count) {
  for (int p = 0; p < count; p++)
    for (int i = 0; i < plans[p]->phase_count; i++)
      for (int r = 0; r < plans[p]->phases[i].range_count; r++) {
        const int parameter = plans[p]->phases[i].ranges[r].parameter;
        if (parameter < 0 || m->signature.parameters[parameter].fixed) return false;
      }
  return lacks_fitter(m, plans, count) && !lacks_updates(m, plans, count);
}

/* Are all ranges products of row values, which the driver can make by itself? */
static bool has_products(const Model *m, Plan *const *plans, int count) {
  int ranges = 0;
  for (int p = 0; p < count; p++)
    for (int i = 0; i < plans[p]->phase_count; i++)
      for (int r = 0; r < plans[p]->phases[i].range_count; r++, ranges++)
        if (!range_is_product(&plans[p]->phases[i].ranges[r])) return false;
  return ranges > 0 && lacks_other_ranges(m, plans, count);
}

/* Do all initial values lie as the parameters do? */
static bool initial_in_place(const Model *m, Plan *const *plans, int count) {
  const Plan *plan = find_plan(plans, count, PROGRAM_INITIALISE);
  const long *offsets = parameter_offsets(m->compilation, &m->signature);
  int placed = 0;
  for (int i = 0; plan && i < plan->output_count; i++) {
    const PlanOutput *o = &plan->outputs[i];
    if (o->role == OUTPUT_INITIAL)
      placed += o->tensor->storage == STORE_VALUES && o->tensor->offset == offsets[o->index];
  }
  return plan && placed == m->signature.parameter_count && placed == plan->output_count &&
         plan->value_size >= offsets[m->signature.parameter_count];
}

static bool lacks_rates(const Model *m, Plan *const *plans, int count) { /* learning rates that are computed */
  (void)plans, (void)count;
  for (int i = 0; i < m->training_count; i++)
    if (m->trainings[i].rate) return false;
  return true;
}

static bool lacks_labels(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  for (int i = 0; i < m->signature.data_count; i++)
    if (m->signature.data[i].categories > 0) return false;
  return true;
}

static bool lacks_gaps(const Model *m, Plan *const *plans, int count) {
  (void)plans, (void)count;
  for (int i = 0; i < m->signature.data_count; i++)
    if (m->signature.data[i].missing_ok) return false;
  return true;
}

static const struct {
  const char *name;
  Lacks *lacks;
  bool trainer; /* in a trainer alone: a library's host may run any program */
} features[] = {
    {"SPM_PASTED", always, false},
    {"SPM_ONE_THREAD", always, false},
    {"SPM_TRAINER", always, true},
    {"SPM_NO_STATES", lacks_states, false},
    {"SPM_NO_PROJECTIONS", lacks_projections, false},
    {"SPM_NO_ADAM", lacks_adam, false},
    {"SPM_NO_SGD", lacks_sgd, false},
    {"SPM_NO_MAXIMA", lacks_maxima, true},
    {"SPM_NO_RATES", lacks_rates, false},
    {"SPM_PLAIN_STEPS", has_plain_steps, false},
    {"SPM_NO_OTHER_RANGES", lacks_other_ranges, true},
    {"SPM_PRODUCTS", has_products, true},
    {"SPM_INITIAL_IN_PLACE", initial_in_place, true},
    {"SPM_NO_DOMAINS", lacks_domains, false},
    {"SPM_NO_GIVENS", lacks_givens, false},
    {"SPM_NO_LABELS", lacks_labels, false},
    {"SPM_NO_GAPS", lacks_gaps, false},
    {"SPM_NO_LBFGS", lacks_lbfgs, false},
    {"SPM_NO_STAGES", lacks_stages, false},
    {"SPM_NO_SELECTIONS", lacks_selections, false},
    {"SPM_NO_BALANCE", lacks_balance, false},
    {"SPM_NO_BEST", lacks_best, false},
    {"SPM_NO_HELD", lacks_held, false},
    {"SPM_NO_GATHERED", lacks_gathered, false},
    {"SPM_NO_UPDATES", lacks_updates, false},
    {"SPM_NO_ROW_STATES", lacks_row_states, false},
    {"SPM_NO_FITS", lacks_fits, false},
    {"SPM_NO_FITTER", lacks_fitter, false},
    {"SPM_NO_SOLVED", lacks_solved, false},
    {"SPM_NO_UNCHANGED", lacks_unchanged, false},
    {"SPM_NO_PATIENCE", lacks_patience, false},
};
enum { FEATURES = sizeof features / sizeof *features };

typedef struct Sources { /* how the runtime's texts are read for one model */
  Compilation *compilation;
  const char *model;
  Decided decided[FEATURES], whole[FEATURES];
} Sources;

static Sources sources_of(const Model *m, Plan *const *plans, int count, bool trainer) {
  Sources s = {.compilation = m->compilation, .model = m->name};
  for (int i = 0; i < FEATURES; i++) {
    const bool asked = trainer || !features[i].trainer;
    s.decided[i] = (Decided){features[i].name, asked && features[i].lacks(m, plans, count)};
    s.whole[i] = (Decided){features[i].name, false};
  }
  return s;
}

static const char *replaced(Compilation *c, const char *text, const char *old, const char *new) {
  Text out = {.compilation = c};
  for (const char *found; (found = strstr(text, old)) != NULL; text = found + strlen(old))
    text_append(&out, "%.*s%s", (int)(found - text), text, new);
  text_append(&out, "%s", text);
  return out.bytes;
}

static const char *decided_source(const Sources *s, const char *path) {
  Compilation *c = s->compilation;
  const char *text = plain_kernel_names(c, replaced(c, embedded(path), "SPM_MODEL_NAME", s->model));
  return replaced(c, pieces_decide(c, text, s->decided, FEATURES), "VM_FUNCTION", "static inline");
}

static void add_files(Pieces *p, const Sources *s, const char *const *paths, int count) {
  Compilation *c = s->compilation;
  for (int i = 0; i < count; i++) {
    const char *text = decided_source(s, paths[i]);
    if (strcmp(paths[i], "runtime/kernels_gemm.c") == 0)
      text = arena_printf(c, "#ifdef SPM_NO_BLAS\n%s#else\n%s#endif\n", replaced(c, text, "gemm_plain", "gemm"),
                          decided_source(s, "runtime/standalone/gemm.c"));
    pieces_add(p, paths[i], text, false);
  }
}

/* The contract; a trainer's own has what its other texts mention. */
static void paste_contract(const Sources *s, bool whole, const Text *const *others, int count, Text *out) {
  Compilation *c = s->compilation;
  const char *text = embedded("runtime/model.h"), *end = strstr(text, "*/") + 2;
  Pieces *p = pieces_create(c);
  pieces_add(p, "runtime/model.h", pieces_decide(c, text, whole ? s->whole : s->decided, FEATURES), whole);
  for (int i = 0; i < count; i++) pieces_need(p, others[i]->length > 0 ? others[i]->bytes : "");
  text_append(out, "%.*s\n\n", (int)(end - text), text);
  Text pasted = {.compilation = c};
  pieces_paste(p, &pasted);
  for (; pasted.length > 1 && pasted.bytes[pasted.length - 2] == '\n'; pasted.length--) {
  }
  text_append(out, "%.*s", (int)pasted.length, pasted.bytes);
}

static unsigned programs_of(const Model *m, const Standalone *options) {
  const unsigned all = (1u << PROGRAM_COUNT) - 1;
  /* Parameters that come from a run need no initial values, least of all such as take data. */
  if (options->trained && m->signature.given_count > 0) return all & ~(1u << PROGRAM_INITIALISE);
  if (!options->main) return all;
  return 1u << PROGRAM_INITIALISE | 1u << PROGRAM_TRAIN | 1u << PROGRAM_EVALUATE | 1u << PROGRAM_PROJECT |
         1u << PROGRAM_INITIALISE_ROWS | 1u << PROGRAM_FIT | 1u << PROGRAM_FIT_NEW | 1u << PROGRAM_SOLVE |
         1u << PROGRAM_SELECT;
}

static void paste_kernels(const Sources *s, const char *body, const char *around, Text *includes_to, Text *out) {
  Pieces *kernels = pieces_create(s->compilation);
  add_files(kernels, s, kernel_files, KERNEL_FILES);
  pieces_need(kernels, body);
  pieces_need(kernels, around);
  pieces_includes(kernels, includes_to);
  text_append(out, "\n/* ---- mathematics and kernels ---- */\n\n");
  pieces_paste(kernels, out);
}

/* The driver, and one more file around it: a trainer's, or a library's, which is wanted whole. `out` gets them without
 * includes. */
static void paste_driver(const Model *m, const Sources *s, const char *path, bool trainer, Text *includes, Text *out) {
  Compilation *c = m->compilation;
  Pieces *p = pieces_create(c);
  const char *text = decided_source(s, path);
  add_files(p, s, driver_files, DRIVER_FILES);
  if (trainer) add_files(p, s, trainer_files, TRAINER_FILES);
  pieces_add(p, path, text, !trainer);
  pieces_need(p, trainer ? "main" : "");
  pieces_includes(p, includes);
  pieces_paste(p, out);
}

/* --- sizes as macros, for memory that is there when the program starts ------------------------------------------ */

static bool has_gradients(const Plan *plan) {
  for (int i = 0; i < plan->output_count; i++)
    if (plan->outputs[i].role == OUTPUT_GRADIENT) return true;
  return false;
}

static long largest_chunk(const Plan *plan) {
  long chunk = 0;
  for (int p = 0; p < plan->phase_count; p++)
    for (int r = 0; r < plan->phases[p].range_count; r++)
      if (plan->phases[p].ranges[r].chunk > chunk) chunk = plan->phases[p].ranges[r].chunk;
  return chunk;
}

/* max(max(0, a), b) ..., of `what` of each program; those with gradients count in training alone. */
static const char *largest(Compilation *c, Plan *const *plans, int count,
                           const char *(*what)(Compilation *, const Plan *)) {
  const char *text = "0";
  for (int i = 0; i < count; i++) {
    const char *size = what(c, plans[i]);
    if (strcmp(size, "0") == 0) continue;
    if (has_gradients(plans[i])) size = arena_printf(c, "(training) * (%s)", size);
    text = strcmp(text, "0") == 0 ? size : arena_printf(c, "SPM_LARGER(%s, %s)", text, size);
  }
  return text;
}

static const char *values_of(Compilation *c, const Plan *p) { return arena_printf(c, "%ld", p->value_size); }
static const char *kept_of(Compilation *c, const Plan *p) { return arena_printf(c, "%ld", p->kept_row); }
static const char *partials_of(Compilation *c, const Plan *p) { return arena_printf(c, "%ld", p->partial_size); }
static const char *scratch_of(Compilation *c, const Plan *p) {
  if (p->scratch_fixed == 0 && p->scratch_row == 0 && largest_chunk(p) == 0) return "0";
  return arena_printf(c, "SPM_PADDED(%ld + %ld * SPM_TILE(rows)) + %ld", p->scratch_fixed, p->scratch_row,
                      (largest_chunk(p) + PADDING - 1) / PADDING * PADDING);
}

static long project_values(const Signature *s, Plan *const *plans, int count) {
  bool projected = false;
  for (int i = 0; i < s->parameter_count; i++) projected |= s->parameters[i].projected && !s->parameters[i].fixed;
  const Plan *project = projected ? find_plan(plans, count, PROGRAM_PROJECT) : NULL;
  return project ? project->value_size : 0;
}

/* What each row owns of what the program fits. */
static long fitted_of(const Plan *p) {
  long size = 0;
  for (int i = 0; i < p->output_count; i++)
    if (p->outputs[i].role == OUTPUT_ROW_GRADIENT) size += p->outputs[i].tensor->size;
  return size;
}

static long trained_of(const Plan *p) {
  long size = 0;
  for (int i = 0; i < p->output_count; i++)
    if (p->outputs[i].role == OUTPUT_GRADIENT) size += p->outputs[i].tensor->size;
  return size;
}

/* The work space of one fit: its problems, how many variables they have, and the history that is kept. */
typedef struct FitSize {
  const char *problems, *variables;
  int history;
} FitSize;

static int fit_sizes(Model *m, Plan *const *plans, int count, FitSize *sizes) {
  Compilation *c = m->compilation;
  const Training *t = &m->trainings[0];
  const Plan *const fits[] = {find_plan(plans, count, PROGRAM_FIT), find_plan(plans, count, PROGRAM_FIT_NEW)};
  const InnerFit *const how[] = {&t->inner, &t->fit_new};
  int found = 0;
  for (int i = 0; i < 2; i++) {
    bool each = false;
    for (int o = 0; fits[i] && o < fits[i]->output_count; o++) each |= fits[i]->outputs[o].role == OUTPUT_ROWS;
    if (fits[i] && how[i]->steps > 0 && fitted_of(fits[i]) > 0)
      sizes[found++] =
          (FitSize){each ? "(rows)" : "1", arena_printf(c, "%ld * (rows)", fitted_of(fits[i])), (int)how[i]->history};
  }
  const Plan *train = find_plan(plans, count, PROGRAM_TRAIN);
  for (int i = 0; train && i < m->training_count; i++)
    if (strcmp(m->trainings[i].optimizer, "lbfgs") == 0)
      sizes[found++] = (FitSize){
          "(training)", arena_printf(c, "(training) * (%ld + %ld * (rows))", trained_of(train), fitted_of(train)),
          (int)m->trainings[i].fit.history};
  return found;
}

static const char *larger_of(Compilation *c, const char *a, const char *b) {
  return strcmp(a, "0") == 0 ? b : arena_printf(c, "SPM_LARGER(%s, %s)", a, b);
}

/* What rows of a batch own, and what they are fitted in. */
static void put_row_sizes(Model *m, Plan *const *plans, int count, Text *out) {
  Compilation *c = m->compilation;
  const Signature *s = &m->signature;
  FitSize *fits = arena_array(c, FitSize, 2 + m->training_count);
  const int n = fit_sizes(m, plans, count, fits);
  const char *problems = "0", *numbers = "0", *points = "0", *reals = "0";
  if (s->row_state_count + n == 0) return;
  text_append(out, " \\\n    + SPM_BYTES(%d * sizeof(real *))", s->row_state_count);
  for (int i = 0; i < s->row_state_count; i++)
    text_append(out, " + SPM_PADDED((rows) * %ld)", shape_size(&s->row_states[i].shape));
  for (int i = 0; i < n; i++) {
    problems = larger_of(c, problems, fits[i].problems);
    numbers = larger_of(c, numbers, arena_printf(c, "%d * %s", 2 * fits[i].history, fits[i].problems));
    points = larger_of(c, points, fits[i].variables);
    reals = larger_of(c, reals, arena_printf(c, "%d * %s", 4 + 2 * fits[i].history, fits[i].variables));
  }
  if (n == 0) return;
  text_append(
      out, " \\\n    + SPM_BYTES((size_t)(%s) * sizeof(struct spm_lbfgs)) + SPM_BYTES((size_t)(%s) * sizeof(double))",
      problems, numbers);
  text_append(out, " \\\n    + 2 * SPM_PADDED(%s) + SPM_PADDED(%s)", points, reals);
}

/* The same sums as spm_instance_reals. */
static void put_sizes(Model *m, Plan *const *plans, int count, Text *out) {
  Compilation *c = m->compilation;
  const Signature *s = &m->signature;
  long parameters = parameter_offsets(c, s)[s->parameter_count], states = state_offsets(c, s)[s->state_count];
  text_append(out,
              "\n/* ---- sizes ---- */\n\n"
              "#define SPM_LARGER(a, b) ((a) > (b) ? (a) : (b))\n"
              "#define SPM_PADDED(reals) (((size_t)(reals) + 15) / 16 * 16)\n"
              "#define SPM_BYTES(bytes) SPM_PADDED(((bytes) + sizeof(real) - 1) / sizeof(real))\n"
              "#define SPM_TILE(rows) ((rows) < 128 ? (rows) : 128)\n"
              "#define SPM_TILES(rows) (((rows) + 127) / 128)\n"
              "#define SPM_MODEL_BATCH %ld\n"
              "/* Reals that an instance needs for batches of up to so many rows; training: 1 or 0. */\n"
              "#define SPM_MODEL_REALS(rows, training)",
              m->trainings[0].batch > 0 ? m->trainings[0].batch : 128);
  text_append(out, " (%ld + 3 * (training) * SPM_PADDED(%ld) + (training) * SPM_PADDED(%ld) \\\n",
              parameters + 2 * states, parameters, project_values(s, plans, count));
  text_append(out, "    + SPM_PADDED(%s) \\\n", largest(c, plans, count, values_of));
  text_append(out, "    + SPM_PADDED((rows) * %s) \\\n", arena_printf(c, "(%s)", largest(c, plans, count, kept_of)));
  text_append(out, "    + SPM_PADDED(SPM_TILES(rows) * (%s)) \\\n", largest(c, plans, count, partials_of));
  text_append(out, "    + SPM_PADDED(%s)", largest(c, plans, count, scratch_of));
  put_row_sizes(m, plans, count, out);
  text_append(out, ")\n");
}

/* --- whole files ------------------------------------------------------------------------------------------------ */

/* A library's struct has the model's name, in C and in C++. */
static bool refuse_word(Model *m) {
  static const char *const words[] = {
      "alignas", "alignof", "and", "asm", "auto", "bool", "break", "case", "catch", "char", "class", "const",
      "constexpr", "continue", "decltype", "default", "delete", "do", "double", "else", "enum", "explicit", "export",
      "extern", "float", "for", "friend", "goto", "if", "inline", "int", "long", "mutable", "namespace", "new",
      "noexcept", "not", "nullptr", "operator", "or", "private", "protected", "public", "register", "restrict",
      "return", "short", "signed", "sizeof", "static", "struct", "switch", "template", "this", "throw", "try",
      "typedef", "typeid", "typename", "typeof", "union", "unsigned", "using", "virtual", "void", "volatile", "wchar_t",
      "while", "xor", "compl", "bitand", "bitor", "static_assert", "thread_local", "static_cast", "const_cast",
      "dynamic_cast", "reinterpret_cast",
      /* of headers that a host may include */
      "main", "real", "unix", "linux", "errno", "stdin", "stdout", "stderr", "exp", "log", "sin", "cos", "tan", "pow",
      "sqrt", "floor", "ceil", "round", "gamma", "abs", "div", "index", "signal", "time", "clock", "exit", "read",
      "write", "open", "close", "link", "select", "remove", "rename"};
  const size_t length = strlen(m->name);
  bool taken = strncmp(m->name, "spm_", 4) == 0 || (length > 2 && strcmp(m->name + length - 2, "_t") == 0) ||
               name_is_capital(m->name);
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) taken |= strcmp(words[i], m->name) == 0;
  if (!taken) return false;
  Diagnostic *d = error_at(m->compilation, "reserved-name", m->span,
                           "a library's struct and functions are called after the model, and `%s` is a word of C, of "
                           "C++, of their headers or of the library's own",
                           m->name);
  help_with(d, "give the model another name");
  return true;
}

static bool refuse_unpasted(Model *m, const Standalone *options) {
  const Signature *s = &m->signature;
  if (!options->library) return false;
  if (refuse_word(m)) return true;
  for (int i = 0; i < m->training_count; i++) {
    const Training *t = &m->trainings[i];
    if (!t->rows && !t->balance) continue;
    Diagnostic *d =
        error_at(m->compilation, "not-supported", t->span,
                 "a library cannot train with `%s`: its host chooses the rows", t->rows ? "rows" : "balance");
    help_with(d, "emit it with --main, or leave the setting out and hand it the rows that are meant");
    return true;
  }
  if (s->given_count == 0 || options->trained) return false;
  Diagnostic *d =
      error_at(m->compilation, "not-supported", s->givens[0].span,
               "a library cannot work out `%s`: its functions are handed no data to start from", s->givens[0].name);
  help_with(d, "emit it with --main, give the param another `init`, or emit a trained run");
  return true;
}

bool compile_standalone(Model *m, const Standalone *options, Text *out) {
  Compilation *c = m->compilation;
  if (refuse_unpasted(m, options)) return false;
  Text body = {.compilation = c}, around = body, kernels = body, includes = body, sizes = body;
  Plan *plans[PROGRAM_COUNT];
  int count = compile_plans(m, programs_of(m, options), plans);
  if (count < 0) return false;
  const Sources sources = sources_of(m, plans, count, options->main);
  const Unread unread = {.ranges = lacks_other_ranges(m, plans, count),
                         .initial = initial_in_place(m, plans, count),
                         .metrics = lacks_best(m, plans, count)};
  for (int p = 0; p < count && options->main; p++) trim_plan(c, plans[p], &unread);
  emit_model_body(&body, c, m->name, !options->main, options->main && has_products(m, plans, count), &m->signature,
                  plans, count, m->trainings, m->training_count);
  const char *model = plain_kernel_names(c, body.bytes);
  if (options->library) put_sizes(m, plans, count, &sizes);
  if (options->library) paste_driver(m, &sources, "runtime/standalone/library.c", false, &includes, &around);
  if (options->main) paste_driver(m, &sources, "runtime/standalone/main.c", true, &includes, &around);
  paste_kernels(&sources, model, around.length ? around.bytes : "", &includes, &kernels);
  text_append(out,
              "/* Model %s as one C99 file that needs nothing else. Written by spmc %s from its spec.\n"
              " * -DSPM_NO_BLAS: products in plain loops; -DSPM_REAL=double: double precision. */\n\n%s\n",
              m->name, SPM_VERSION, preamble);
  text_append(out, "%s%s\n", includes.length ? includes.bytes : "",
              includes.length && strstr(includes.bytes, "<math.h>") ? pure_roots : "");
  paste_contract(&sources, !options->main, (const Text *const[]){&kernels, &body, &around}, 3, out);
  text_append(out, "%s%s", kernels.bytes, model);
  if (sizes.length) text_append(out, "%s", sizes.bytes);
  if (around.length) text_append(out, "\n/* ---- the driver ---- */\n\n%s", around.bytes);
  return c->error_count == 0;
}

bool compile_header(Model *m, const Standalone *options, Text *out) {
  Compilation *c = m->compilation;
  Plan *plans[PROGRAM_COUNT];
  int count = compile_plans(m, programs_of(m, options), plans);
  if (count < 0) return false;
  const Sources sources = sources_of(m, plans, count, options->main);
  const char *text = decided_source(&sources, "runtime/standalone/library.h");
  const char *start = strstr(text, "/* ---- library"), *end = strstr(text, "/* ---- end");
  if (!start || !end) return false;
  text_append(out, "/* Model %s: what its emitted C file exports. Written by spmc %s. */\n", m->name, SPM_VERSION);
  text_append(out, "%.*s", (int)(start - text), text);
  list_exports(c, &m->signature, plans, count, out);
  if (options->library)
    text_append(out, "%s", strchr(start, '\n') + 2 - 1);
  else
    text_append(out, "%s", strchr(end, '\n') + 1);
  return c->error_count == 0;
}
