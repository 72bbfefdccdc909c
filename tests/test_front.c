/* The front end on whole files: every bad spec says exactly what is expected of it, every good one checks clean, the
 * manual's examples compile, and what resolve and parameters make of a model has the names and values promised.
 * SPM_GOLDEN=write rewrites the expected messages. */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "spec.h"

static bool ends_in(const char *name, const char *end) {
  size_t n = strlen(name), m = strlen(end);
  return n > m && strcmp(name + n - m, end) == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

/* Calls `each` on every .spm file of a directory, in order; how many there are. */
static int for_specs(const char *directory, void (*each)(const char *path)) {
  struct dirent **entries;
  int count = scandir(directory, &entries, NULL, by_name), specs = 0;
  for (int i = 0; i < count; i++) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, entries[i]->d_name);
    if (ends_in(path, ".spm")) {
      each(path);
      specs++;
    }
    free(entries[i]);
  }
  if (count >= 0) free(entries);
  return specs;
}

/* ---- bad specs -------------------------------------------------------------------------------------------------- */

static void expected_path(char *out, size_t size, const char *path) {
  snprintf(out, size, "%.*s.expected", (int)strlen(path) - 4, path);
}

static void says_what_is_expected(const char *path) {
  char other[512];
  expected_path(other, sizeof other, path);
  Spec s = spec_open(path, NULL);
  char *found = spec_messages(&s);
  cr_expect(s.errors > 0, "%s has no error", path);
  const char *golden = getenv("SPM_GOLDEN");
  if (golden && strcmp(golden, "write") == 0) {
    FILE *out = fopen(other, "w");
    cr_assert(out && fputs(found, out) >= 0 && fclose(out) == 0);
  }
  char *expected = read_text(other);
  cr_expect(expected != NULL, "%s is missing", other);
  if (expected) cr_expect(strcmp(expected, found) == 0, "%s says\n%s\nand not\n%s", path, found, expected);
  free(expected);
  free(found);
  spec_close(&s);
}

Test(front, bad_specs_say_what_is_expected) {
  int count = for_specs("tests/bad/semantic", says_what_is_expected);
  cr_assert(count >= 45, "%d", count);
}

/* ---- good specs ------------------------------------------------------------------------------------------------- */

static void programs_verify(Spec *s, const char *what) {
  for (int program = 0; program < PROGRAM_COUNT; program++) {
    Graph *g = model_graph(s->model, (ProgramKind)program);
    if (program == PROGRAM_TRAIN) cr_expect(g != NULL, "%s: nothing to train", what);
    if (!g) continue;
    const char *violation = ir_verify(g);
    cr_expect(violation == NULL, "%s, %s: %s", what, program_names[program], violation);
  }
}

static void checks_clean(const char *path) {
  Spec s = spec_open(path, NULL);
  char *messages = spec_messages(&s);
  cr_expect(*messages == 0, "%s", messages);
  if (s.errors == 0 && !model_is_library(s.model)) programs_verify(&s, path);
  free(messages);
  spec_close(&s);
}

Test(front, specs_check_clean) {
  cr_assert(for_specs("specs", checks_clean) >= 3);
  cr_assert(for_specs("specs/estimators", checks_clean) >= 11);
}

static int corpus_clean, corpus_refused;

/* The corpus holds the whole language: what is not built is refused by that name and nothing else is said. */
static void clean_or_not_supported(const char *path) {
  Spec s = spec_open(path, NULL);
  char *messages = spec_messages(&s);
  for (const Diagnostic *d = s.c->first_diagnostic; d; d = d->next)
    cr_expect(strcmp(d->code, "not-supported") == 0 || strcmp(d->code, "kl_monte_carlo") == 0, "%s", messages);
  if (s.errors == 0 && !model_is_library(s.model)) programs_verify(&s, path);
  corpus_clean += s.errors == 0;
  corpus_refused += s.errors > 0;
  free(messages);
  spec_close(&s);
}

Test(front, corpus_is_clean_or_refused_by_name) {
  int count = for_specs("tests/corpus", clean_or_not_supported);
  cr_assert(count > 50 && corpus_clean >= 7, "%d of %d are clean, %d refused", corpus_clean, count, corpus_refused);
  printf("corpus: %d clean, %d refused as not supported\n", corpus_clean, corpus_refused);
}

/* normal(mean, sd), student_t(dof, location = 0, scale = 1): as the manual's table writes it. */
static const char *signature_of(const Spec *s, const Item *family) {
  Text text = {.compilation = s->c};
  text_append(&text, "`%s(", family->name);
  for (int i = 0; i < family->extra.count; i++) {
    const Formal *f = &family->extra.items[i];
    text_append(&text, "%s%s", i ? ", " : "", f->name);
    if (f->initial) text_append(&text, " = %s", span_text(s->c, f->initial->span));
  }
  text_append(&text, ")`");
  return text.bytes;
}

Test(front, manual_lists_every_distribution) {
  char *text = read_text("specs/README.md");
  Spec s = spec_right("model m; data x : real; param c : real; minimize (x - c)^2;");
  int count = 0;
  cr_assert(text != NULL);
  for (int i = 0; i < s.model->library.count; i++) {
    const Item *item = s.model->library.items[i];
    const char *path = s.c->sources[item->span.source].path;
    if (item->kind != ITEM_DISTRIBUTION || !strstr(path, "distributions.spm")) continue;
    cr_expect(strstr(text, signature_of(&s, item)), "the manual does not list %s", signature_of(&s, item));
    count++;
  }
  cr_assert(count > 30, "%d distributions", count);
  spec_close(&s);
  free(text);
}

/* Every fenced block of the manual is a whole file. */
Test(front, examples_of_the_manual_compile) {
  char *text = read_text("specs/README.md");
  cr_assert(text != NULL);
  int count = 0;
  for (char *at = text; (at = strstr(at, "```spm\n"));) {
    at += strlen("```spm\n");
    char *end = strstr(at, "```");
    cr_assert(end != NULL);
    *end = 0;
    Spec s = spec_text(at, NULL);
    char *messages = spec_messages(&s);
    cr_expect(*messages == 0, "block %d\n%s\n%s", count + 1, at, messages);
    if (s.errors == 0 && !model_is_library(s.model)) programs_verify(&s, "a block of the manual");
    free(messages);
    spec_close(&s);
    count++;
    at = end + 1;
  }
  cr_assert(count >= 15, "%d blocks", count);
  free(text);
}

/* ---- parameters ------------------------------------------------------------------------------------------------- */

static void has_parameters(const char *text, const char *const *names, int count) {
  Spec s = spec_right(text);
  const Signature *signature = model_signature(s.model);
  for (int i = 0; i < count; i++) cr_expect(spec_parameter(&s, names[i]) >= 0, "there is no %s", names[i]);
  cr_expect(signature->parameter_count == count, "%d parameters, not %d", signature->parameter_count, count);
  for (int i = 0; i < signature->parameter_count && signature->parameter_count != count; i++)
    cr_log_warn("%s", signature->parameters[i].name);
  spec_close(&s);
}
#define HAS_PARAMETERS(text, ...)                                                                                      \
  do {                                                                                                                 \
    const char *const names[] = {__VA_ARGS__};                                                                         \
    has_parameters(text, names, (int)(sizeof names / sizeof *names));                                                  \
  } while (0)

Test(front, parameter_names) { /* LANGUAGE rule 15 */
  HAS_PARAMETERS(
      "model a;\ndim D = 4;\ndim K = 2;\ndata x : unit[D];\nlatent z : real[K];\nprior z ~ normal(0, 1);\n"
      "encoder q(x) { h = relu(dense(x, 5)); mu = dense(h, K); sd = exp(dense(h, K)); }\nposterior z ~ normal(q.mu, "
      "q.sd);\n"
      "decoder p(z) { logits = dense(relu(dense(z, 4)), D); }\nlikelihood x ~ bernoulli(logits = p.logits);\n",
      "q.h.dense.W", "q.h.dense.b", "q.mu.dense.W", "q.mu.dense.b", "q.sd.dense.W", "q.sd.dense.b", "p.logits.dense.W",
      "p.logits.dense.b", "p.logits.dense2.W", "p.logits.dense2.b");
  HAS_PARAMETERS("model b;\ndim D = 4;\ndata x : real[D];\nparam c : real init 2;\nencoder q(x) { param g : real[D] "
                 "init 1; a = dense(g * x, D, bias = false); "
                 "r = residual(a, 3); }\nobjective -sum((q.r - c * x)^2) - sum(q(x = 2 * x).a^2);\n",
                 "c", "q.g", "q.a.dense.W", "q.r.residual.dense.W", "q.r.residual.dense.b", "q.r.residual.dense2.W",
                 "q.r.residual.dense2.b");
  HAS_PARAMETERS("model c;\ndim D = 4;\ndata x : real[D];\nlet y = dense(dense(x, 2), D);\nlatent z : real[D];\nprior "
                 "z ~ normal(dense(x, D), 1);\n"
                 "posterior z ~ normal(dense(x, D), 1);\nlikelihood x ~ normal(dense(z, D), 1);\nmetric m = sum(y);\n",
                 "y.dense.W", "y.dense.b", "y.dense2.W", "y.dense2.b", "z.dense.W", "z.dense.b", "z.prior.dense.W",
                 "z.prior.dense.b", "x.likelihood.dense.W", "x.likelihood.dense.b");
}

Test(front, layers_are_counted_from_the_inside_out) {
  Spec s = spec_right("model a;\ndim D = 4;\ndata x : real[D];\nencoder q(x) { h = dense(relu(dense(x, 7)), 2); "
                      "}\nobjective sum(q.h);\n");
  const Signature *signature = model_signature(s.model);
  cr_assert(signature->parameters[spec_parameter(&s, "q.h.dense.W")].shape.dims[0].size == 7);
  cr_assert(signature->parameters[spec_parameter(&s, "q.h.dense2.W")].shape.dims[1].size == 7);
  spec_close(&s);
}

/* The value an exported (constrained) parameter has at its start. */
static const double *constrained_start(Spec *s, const char *name) {
  if (!model_signature(s->model)->parameters[spec_parameter(s, name)].constrained) return spec_initial(s, name);
  return spec_output(s, PROGRAM_EXPORT, OUTPUT_EXPORT, name, NULL);
}

/* An init outside the constraint is brought onto it; where the transform has no slope that is warned of. */
Test(front, constrained_params_start_on_their_constraint) {
  Spec s = spec_right("model a;\nparam p : positive[3] init -1 + 2 * cumsum(ones(3)) * 0.5;\nparam n : nonnegative;\n"
                      "param e : nonnegative projected;\ndata x : real;\nminimize x * (sum(p) + n + e);\n");
  cr_expect(constrained_start(&s, "p")[0] < 1e-20 && fabs(constrained_start(&s, "p")[2] - 2) < 1e-12);
  cr_expect(isfinite(spec_initial(&s, "p")[0]));
  cr_expect(fabs(constrained_start(&s, "n")[0] - 1) < 1e-12);
  cr_expect(spec_initial(&s, "e")[0] == 0 && !spec_says(&s, "flat_start"));
  Spec flat = spec_text("model a;\nparam n : nonnegative init 0;\ndata x : real;\nminimize x * n;\n", NULL);
  cr_expect(!flat.errors && spec_says(&flat, "flat_start"));
  spec_close(&flat);
  spec_close(&s);
}

Test(front, constrained_params_start_where_init_says) { /* rule 28 */
  Spec s = spec_right("model a;\ndim D = 3;\ndim K = 2;\ndata x : real[D];\nparam p : positive init 0.3;\nparam n : "
                      "nonnegative[K] init 2;\nparam u : unit init 0.25;\n"
                      "param s : simplex[D] init 1 / D;\nparam t : simplex(K);\nparam l : lower_triangular[K, K] init "
                      "2;\nparam one : positive;\n"
                      "param c : real[D, K] unit_norm(over = D) init 3;\nparam copy : real[K, D] init c';\nparam still "
                      ": positive projected init 0.5;\n"
                      "param f : positive fixed init 4;\nparam r : real[D, K] max_norm(1.5, over = D) init 3;\nparam "
                      "near : real[D] max_norm(9, over = D) init 1;\nobjective sum(r) + sum(near) + p + sum(n) + u + "
                      "sum(s) + sum(t) + sum(l) + one + sum(c) + sum(copy) + still + f + 0 * sum(x);\n");
  cr_expect(fabs(constrained_start(&s, "p")[0] - 0.3) < 1e-12 &&
            fabs(spec_initial(&s, "p")[0] - log(expm1(0.3))) < 1e-12);
  cr_expect(fabs(constrained_start(&s, "n")[1] - 2) < 1e-12);
  cr_expect(fabs(constrained_start(&s, "u")[0] - 0.25) < 1e-12 && fabs(spec_initial(&s, "u")[0] - log(1 / 3.)) < 1e-12);
  cr_expect(fabs(constrained_start(&s, "s")[2] - 1 / 3.) < 1e-12 && fabs(constrained_start(&s, "t")[1] - 0.5) < 1e-12);
  const double *lower = constrained_start(&s, "l");
  cr_expect(lower[0] == 2 && lower[1] == 0 && lower[2] == 2 && lower[3] == 2);
  cr_expect(fabs(constrained_start(&s, "one")[0] - 1) < 1e-12);
  for (int i = 0; i < 6; i++) {
    cr_expect(fabs(constrained_start(&s, "c")[i] - 1 / sqrt(3)) < 1e-12);
    cr_expect(fabs(spec_initial(&s, "c")[i] - 1 / sqrt(3)) < 1e-12, "a unit column starts with raw = constrained");
    cr_expect(fabs(spec_initial(&s, "copy")[i] - 1 / sqrt(3)) < 1e-12);
  }
  cr_expect(fabs(constrained_start(&s, "r")[0] - 1.5 / sqrt(3)) < 1e-12 && constrained_start(&s, "near")[2] == 1);
  cr_expect(spec_initial(&s, "still")[0] == 0.5 && spec_initial(&s, "f")[0] == 4);
  const double outside[] = {-3};
  Run run = {.rows = 1, .inputs = {{"still", outside}}};
  cr_expect(spec_output(&s, PROGRAM_PROJECT, OUTPUT_EXPORT, "still", &run)[0] > 0);
  cr_expect(spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "f") == NULL);
  cr_expect(spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, "c") != NULL);
  spec_close(&s);
}

Test(front, dense_starts_uniform_in_one_over_root_n) {
  Spec s =
      spec_right("model a;\ndim D = 25;\ndata x : real[D];\nencoder q(x) { h = dense(x, 40); }\nobjective sum(q.h);\n");
  const double *W = spec_initial(&s, "q.h.dense.W");
  double most = 0, mean = 0;
  for (int i = 0; i < 1000; i++) {
    if (fabs(W[i]) > most) most = fabs(W[i]);
    mean += W[i] / 1000;
  }
  cr_assert(most < 0.2 && most > 0.19 && fabs(mean) < 0.015);
  spec_close(&s);
}

/* ---- overrides, dims from data, variants ------------------------------------------------------------------------ */

#define SMALL                                                                                                          \
  "model a;\ndim D = 4;\ndim K = D / 2;\nlet beta = 3;\nschedule tau = 1 / (1 + epoch);\ndata x : "                    \
  "real[D];\nobjective beta * sum(x) * tau * K;\n"

Test(front, overrides) {
  const Override overrides[] = {{"D", 6}, {"beta", 0.5}, {"tau", 2}};
  CompileOptions options = {.overrides = overrides, .override_count = 3};
  Spec s = spec_text(SMALL, &options);
  cr_assert(s.errors == 0);
  cr_assert(model_signature(s.model)->data[0].shape.dims[0].size == 6);
  const double x[] = {1, 1, 1, 1, 1, 1};
  Run run = {.rows = 1, .inputs = {{"x", x}}, .epoch = 5};
  cr_assert(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run) == 0.5 * 6 * 2 * 3);
  spec_close(&s);
  const Override wrong[] = {{"betta", 1}};
  options = (CompileOptions){.overrides = wrong, .override_count = 1};
  s = spec_text(SMALL, &options);
  char *messages = spec_messages(&s);
  cr_assert(s.errors == 1 && spec_says(&s, "override") && strstr(messages, "did you mean beta?"), "%s", messages);
  free(messages);
  spec_close(&s);
  const Override half[] = {{"D", 2.5}};
  options = (CompileOptions){.overrides = half, .override_count = 1};
  s = spec_text(SMALL, &options);
  cr_assert(s.errors >= 1 && spec_says(&s, "dim-value"));
  spec_close(&s);
}

#define OPEN "model a;\ndim D;\ndim C;\ndata x : real[D];\ndata y : real[C, 2];\nobjective sum(x) + sum(y);\n"

Test(front, dims_are_read_off_the_data) {
  const DataShape data[] = {{.name = "x", .rank = 2, .dims = {28, 28}}, {.name = "y", .rank = 2, .dims = {5, 2}}};
  CompileOptions options = {.data = data, .data_count = 2};
  Spec s = spec_text(OPEN, &options);
  cr_assert(s.errors == 0);
  cr_assert(model_signature(s.model)->data[0].shape.dims[0].size == 784 &&
            model_signature(s.model)->data[1].shape.dims[0].size == 5);
  spec_close(&s);
  options = (CompileOptions){0};
  s = spec_text(OPEN, &options);
  cr_assert(s.errors == 2 && spec_says(&s, "dim-value"));
  spec_close(&s);
  s = spec_text(OPEN, NULL); /* invented */
  cr_assert(s.errors == 0);
  spec_close(&s);
}

static const char base_text[] =
    "model base;\ndim D = 4;\ndim K = 2;\ndata x : real[D];\nlatent z : real[K];\nprior z ~ normal(0, 1);\n"
    "function link(t) = t;\nencoder q(x) { mu = dense(x, K); }\nposterior z ~ normal(q.mu, 1);\nlikelihood x ~ "
    "normal(link(dense(z, D)), 1);\n"
    "objective elbo;\nmetric m = sum(z);\ntrain { batch = 7; epochs = 3; }\n";

/* A variant of base_text, both written beside each other. */
static Spec variant(const char *text) {
  scratch_make();
  scratch_write("base.spm", base_text, strlen(base_text));
  Spec s = spec_open(scratch_write("variant.spm", text, strlen(text)), NULL);
  scratch_remove();
  return s;
}

Test(front, variants_replace_and_add) { /* LANGUAGE construct 10 */
  Spec s = variant(
      "model v from \"base.spm\";\nprior z ~ laplace(0, 1);\nmetric extra = 1;\nmetric m = 2;\ntrain { batch = 9; }\n");
  cr_assert(s.errors == 0);
  cr_assert(strcmp(model_name(s.model), "v") == 0);
  cr_assert(spec_metric(&s, "extra", NULL) == 1 && spec_metric(&s, "m", NULL) == 2);
  cr_assert(model_training(s.model)->batch == 9 && model_training(s.model)->epochs == 20);
  Text notes = {.compilation = s.c};
  model_describe(&notes, s.model);
  cr_assert(strstr(notes.bytes, "normal || laplace, closed form"), "%s", notes.bytes);
  spec_close(&s);
  s = variant("model v from \"base.spm\";\nposterior z = q.mu;\nobjective log_lik(x) + log_prior(z);\n");
  cr_assert(s.errors == 0 && spec_find_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "log_prior(z)"));
  spec_close(&s);
}

Test(front, a_name_declared_anew_as_another_kind_drops_what_was_said_of_it) {
  Spec s = variant("model v from \"base.spm\";\nlet z = q.mu;\nobjective log_lik(x);\n");
  cr_assert(s.errors == 0);
  cr_assert(spec_find_output(&s, PROGRAM_ENCODE, OUTPUT_ROWS, "z") == NULL);
  spec_close(&s);
  s = variant("model v from \"base.spm\";\nprior x ~ normal(0, 1);\nlatent x : real[D];\nposterior x ~ normal(0, "
              "1);\ndata z : real[K];\nlikelihood z ~ normal(x[0 .. 2], 1);\n"
              "encoder q(z) { mu = z; }\n");
  char *messages = spec_messages(&s);
  cr_assert(s.errors == 0 || !spec_says(&s, "statement"), "%s", messages);
  free(messages);
  spec_close(&s);
}

Test(front, functions_of_a_variant_come_first) {
  Spec s =
      variant("model v from \"base.spm\";\nfunction link(t) = 0 * t + 5;\nmetric reconstruction = sum(link(x));\n");
  cr_assert(s.errors == 0);
  cr_assert(spec_metric(&s, "reconstruction", NULL) == 20);
  spec_close(&s);
}

/* A model that uses a library which uses another. */
Test(front, libraries_are_used) {
  static const char lower[] = "function twice(t) = 2 * t;\nfunction thrice(t) = 3 * t;\n",
                    upper[] = "use \"lower.spm\";\nfunction thrice(t) = twice(t) + t + 1;\n";
  static const char text[] = "model m;\nuse \"upper.spm\";\ndata x : real;\nobjective x;\nmetric a = twice(5);\nmetric "
                             "b = thrice(5);\nmetric c = swish(0);\nfunction swish(t) = t + 7;\n";
  scratch_make();
  scratch_write("lower.spm", lower, strlen(lower));
  scratch_write("upper.spm", upper, strlen(upper));
  Spec s = spec_open(scratch_write("m.spm", text, strlen(text)), NULL);
  scratch_remove();
  cr_assert(s.errors == 0);
  cr_expect(spec_metric(&s, "a", NULL) == 10 && spec_metric(&s, "b", NULL) == 16 && spec_metric(&s, "c", NULL) == 7);
  spec_close(&s);
}

Test(front, training_settings) {
  Spec s = spec_right("model a;\ndata x : real;\nobjective -x^2;\nlet rows = 32;\ntrain { optimizer = sgd(lr = 0.5, "
                      "momentum = 0.9, weight_decay = 1e-4); batch = 2 * rows; "
                      "steps = 100; shuffle = false; samples = 3; }\n");
  const Training *t = model_training(s.model);
  cr_assert(strcmp(t->optimizer, "sgd") == 0 && t->lr == 0.5 && t->momentum == 0.9 && t->weight_decay == 1e-4);
  cr_assert(t->batch == 64 && t->steps == 100 && !t->shuffle);
  spec_close(&s);
  s = spec_right("model a;\ndata x : real;\nobjective -x^2;\nschedule rate = 1e-3 / (1 + epoch);\ntrain { optimizer = "
                 "adam(lr = rate, betas = [0.8, 0.9]); batch = all; }\n");
  t = model_training(s.model);
  cr_assert(t->beta1 == 0.8 && t->beta2 == 0.9 && t->batch == 0);
  Run run = {.rows = 1, .epoch = 4};
  cr_assert(fabs(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_VALUE, "lr", &run) - 2e-4) < 1e-18);
  spec_close(&s);
}

Test(front, elbo_samples_set_the_sample_axis) {
  Spec s = spec_right("model a;\ndata x : real;\nlatent z : real;\nprior z ~ normal(0, 1);\nposterior z ~ normal(x, "
                      "1);\nlikelihood x ~ normal(z, 1);\nobjective elbo(samples = 6);\n");
  cr_assert(model_graph(s.model, PROGRAM_TRAIN)->samples == 6 && model_graph(s.model, PROGRAM_ENCODE)->samples == 1);
  spec_close(&s);
}
