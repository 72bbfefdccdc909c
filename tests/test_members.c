/* Posteriors over bit vectors that list their members, top_k_sparsemax and sparsemap: against all vectors written out,
 * gradients against differences, compiled code against the interpreter, and what is computed for whom. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/diagnose.h"
#include "compiler/spm.h"
#include "compiler/run_double.h"
#include "spec.h"

/* --- products are counted: the program is linked with --wrap=spm_gemm_d --- */

void __real_spm_gemm_d(int, int, long, long, long, double, const double *, long, const double *, long, double, double *,
                       long);
void __wrap_spm_gemm_d(int, int, long, long, long, double, const double *, long, const double *, long, double, double *,
                       long);

enum { WIDE = 31 }; /* columns that only the decoder's first layer has */
static long rows_multiplied;

void __wrap_spm_gemm_d(int ta, int tb, long m, long n, long k, double alpha, const double *a, long lda, const double *b,
                       long ldb, double beta, double *c, long ldc) {
  if (n == WIDE && k == 5) rows_multiplied += m;
  __real_spm_gemm_d(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* --- models --- */

enum { BITS = 5, SEEN = 3, ALL = 1 << BITS, ROWS = 4 };

static const char *model_of(const char *posterior) {
  static char text[2000];
  snprintf(text, sizeof text,
           "model m; dim D = 12; dim K = 5; data x : binary[D]; latent z : binary[K];"
           "prior z ~ bernoulli(prob = 0.4); encoder q(x) { t = 2 * dense(tanh(dense(x, 7)), K); s = dense(x, K); }"
           "posterior z ~ %s; decoder p(z) { logits = dense(tanh(dense(z, 31)), D); }"
           "likelihood x ~ bernoulli(logits = p.logits); objective elbo; metric size = support_size(z);"
           "metric sure = certificate(z); metric one = sum(0 * z) + 1; metric h = entropy(z) + log_post(z);",
           posterior);
  return text;
}

static const char *const posteriors[] = {"top_k_sparsemax(q.t, k = 6)",
                                         "top_k_sparsemax(q.t, k = 1)",
                                         "top_k_sparsemax(q.t, k = 32)",
                                         "sparsemap(q.t)",
                                         "sparsemap(q.t, budget = 2)",
                                         "sparsemap(q.t, start = q.s)",
                                         "sparsemap(q.t, budget = 3, start = q.s)"};
enum { POSTERIORS = sizeof posteriors / sizeof *posteriors };

static double *random_bits(long count) {
  double *x = malloc(sizeof *x * (size_t)count);
  for (long i = 0; i < count; i++) x[i] = i * 7919 % 13 < 5;
  return x;
}

Test(members, gradients_and_compiled_code) {
  long tested = 0;
  for (int i = 0; i < POSTERIORS; i++) {
    Spec s = spec_right(model_of(posteriors[i]));
    char message[500];
    Jit *jit = compile_jit(s.model, true, message, sizeof message);
    cr_assert(jit != NULL, "%s", message);
    Diagnosis *d = diagnose(s.c, model_graph(s.model, PROGRAM_TRAIN), model_graph(s.model, PROGRAM_INITIALISE), NULL,
                            jit_model(jit), 3, 12);
    cr_assert(d->problem == NULL, "%s", d->problem);
    cr_expect(fabs(d->objective - d->compiled_objective) < 1e-12 * (1 + fabs(d->objective)), "%s: %.17g and %.17g",
              posteriors[i], d->objective, d->compiled_objective);
    for (int t = 0; t < d->count; t++) {
      const TensorReport *r = &d->tensors[t];
      tested += r->tested - r->kinks;
      cr_expect(r->worst <= diagnose_tolerance, "%s, %s: differences %g off", posteriors[i], r->parameter->name,
                r->worst);
      cr_expect(r->compiled <= diagnose_compiled_tolerance, "%s, %s: compiled %g off", posteriors[i],
                r->parameter->name, r->compiled);
    }
    jit_destroy(jit);
    spec_close(&s);
  }
  cr_expect(tested > 60 * POSTERIORS, "only %ld elements were compared", tested);
}

/* --- against all vectors --- */

static double score_of(int member, const double *t) {
  double sum = 0;
  for (int i = 0; i < BITS; i++) sum += (member >> i & 1) * t[i];
  return sum;
}

/* sparsemax of all scores, by trying every threshold that a support's size gives. */
static int all_weights(const double *t, double *p) {
  double sorted[ALL], sum = 0, threshold = 0;
  int support = 0;
  for (int m = 0; m < ALL; m++) sorted[m] = score_of(m, t);
  for (int i = 0; i < ALL; i++)
    for (int j = i + 1; j < ALL; j++)
      if (sorted[j] > sorted[i]) {
        double x = sorted[i];
        sorted[i] = sorted[j];
        sorted[j] = x;
      }
  for (int i = 0; i < ALL; i++) {
    sum += sorted[i];
    if (sorted[i] > (sum - 1) / (i + 1)) threshold = (sum - 1) / (i + 1);
  }
  for (int m = 0; m < ALL; m++) {
    p[m] = fmax(score_of(m, t) - threshold, 0);
    support += p[m] > 0;
  }
  return support;
}

/* sum over members of p (log p(x | z) + log p(z) - log p), x ~ normal(W z, 1), every bit of the prior a fair coin. */
static double elbo_of(const double *p, const double *w, const double *x) {
  double sum = 0;
  for (int m = 0; m < ALL; m++) {
    double log_lik = -0.5 * SEEN * log(2 * 3.14159265358979323846);
    for (int d = 0; d < SEEN; d++) {
      double error = x[d];
      for (int i = 0; i < BITS; i++) error -= w[d * BITS + i] * (m >> i & 1);
      log_lik -= error * error / 2;
    }
    if (p[m] > 0) sum += p[m] * (log_lik - BITS * log(2) - log(p[m]));
  }
  return sum;
}

Test(members, top_k_is_sparsemax_over_all_vectors_where_it_is_certified) {
  const double w[SEEN * BITS] = {0.3, -1, 0.2, 0.7, 1.1, -0.4, 0.6, 0.9, -0.2, 0.5, 1.3, 0.1, -0.8, 0.4, 0.2};
  const double x[SEEN] = {0.4, -0.9, 1.2};
  Spec s = spec_right("model m; data x : real[3]; latent z : binary[5]; param t : real[5] init 0;"
                      "param w : real[3, 5] init 0; prior z ~ bernoulli(prob = 0.5);"
                      "posterior z ~ top_k_sparsemax(t, k = 10); likelihood x ~ normal(w @ z, 1); objective elbo;"
                      "metric size = support_size(z); metric sure = certificate(z); metric rate = kl(z);"
                      "metric h = entropy(z);");
  int certified = 0, other = 0;
  for (int trial = 0; trial < 40; trial++) {
    double t[BITS], p[ALL];
    for (int i = 0; i < BITS; i++) t[i] = ((trial * 31 + i * 17) % 23 - 11) / (trial % 2 ? 9.0 : 40.0) + 1e-3 * i;
    int support = all_weights(t, p);
    Run run = {.rows = 1, .inputs = {{"t", t}, {"w", w}, {"x", x}}};
    bool sure = spec_metric(&s, "sure", &run) == 1;
    cr_expect(sure == (support < 10), "%d: a support of %d", trial, support);
    certified += sure;
    other += !sure;
    double elbo = spec_metric(&s, "elbo", &run), right = elbo_of(p, w, x), entropy = 0;
    if (!sure) continue;
    for (int m = 0; m < ALL; m++) entropy -= p[m] > 0 ? p[m] * log(p[m]) : 0;
    cr_expect(fabs(elbo - right) < 1e-12 * (1 + fabs(right)), "%d: %.15g, and %.15g over all", trial, elbo, right);
    cr_expect(spec_metric(&s, "size", &run) == support);
    cr_expect(fabs(spec_metric(&s, "h", &run) - entropy) < 1e-12);
    cr_expect(fabs(spec_metric(&s, "rate", &run) - (BITS * log(2) - entropy)) < 1e-12);
  }
  cr_expect(certified > 5 && other > 5, "%d certified, %d not", certified, other);
  spec_close(&s);
}

/* The chances of bits under SparseMAP are known; the objective is linear in the weights but for its entropy. */
Test(members, sparsemap_has_the_known_chances) {
  Spec s =
      spec_right("model m; data x : real[5]; latent z : binary[5]; param t : real[5] init 0; param s : real[5] init 0;"
                 "prior z ~ bernoulli(prob = 0.5); posterior z ~ sparsemap(t, start = s);"
                 "likelihood x ~ normal(z, 1); objective elbo; metric a = z[0]; metric b = z[3];"
                 "metric total = sum(0 * z) + 1; metric size = support_size(z); metric sure = certificate(z);");
  const double t[] = {0.3, -2, 5, -0.25, 0.1}, x[] = {0, 0, 0, 0, 0};
  for (int i = 0; i < ALL; i++) {
    double start[BITS];
    for (int b = 0; b < BITS; b++) start[b] = i >> b & 1 ? 1 : -1;
    Run run = {.rows = 1, .inputs = {{"t", t}, {"s", start}, {"x", x}}};
    cr_expect(fabs(spec_metric(&s, "a", &run) - 0.65) < 1e-8, "%.12g", spec_metric(&s, "a", &run));
    cr_expect(fabs(spec_metric(&s, "b", &run) - 0.375) < 1e-8, "%.12g", spec_metric(&s, "b", &run));
    cr_expect(fabs(spec_metric(&s, "total", &run) - 1) < 1e-12);
    cr_expect(spec_metric(&s, "size", &run) <= BITS + 1 && spec_metric(&s, "sure", &run) == 1);
  }
  spec_close(&s);
}

/* --- what is computed --- */

/* The decoder is multiplied with as many rows as there are members on the supports. */
Test(members, decoder_rows_are_those_of_the_support) {
  for (int i = 0; i < POSTERIORS; i++) {
    Spec s = spec_right(model_of(posteriors[i]));
    char message[500];
    Jit *jit = compile_jit(s.model, true, message, sizeof message);
    cr_assert(jit != NULL, "%s", message);
    double *x = random_bits(ROWS * 12), *values[20];
    Run run = {.rows = ROWS, .inputs = {{"x", x}}};
    double mean = spec_metric(&s, "size", &run), objective = 0;
    const Signature *signature = model_signature(s.model);
    const double *parameters[20], *data[] = {x};
    for (int p = 0; p < signature->parameter_count; p++) {
      parameters[p] = spec_initial(&s, signature->parameters[p].name);
      values[p] = calloc((size_t)shape_size(&signature->parameters[p].shape), sizeof(double));
    }
    Bindings b = {.rows = ROWS, .parameters = parameters, .data = data, .seed = 1};
    b.settings[SETTING_ROWS_IN_BATCH] = b.settings[SETTING_TOTAL_ROWS] = ROWS;
    rows_multiplied = 0;
    cr_assert(run_double(jit_model(jit), &b, &objective, values));
    cr_expect((double)rows_multiplied == mean * ROWS, "%s: %ld rows, a support of %g", posteriors[i], rows_multiplied,
              mean * ROWS);
    for (int p = 0; p < signature->parameter_count; p++) free(values[p]);
    free(x);
    jit_destroy(jit);
    spec_close(&s);
  }
}

/* Rows of members in several tiles, on one thread and on three: the same bytes. */
Test(members, threads_do_not_change_a_byte) {
  enum { MANY = 300 };
  static float x[MANY * 12], kept[2000];
  const float *const data[] = {x};
  char error[1000];
  for (int i = 0; i < MANY * 12; i++) x[i] = (float)(i * 7919 % 13 < 5);
  for (int i = 0; i < POSTERIORS; i++) {
    double objective[2];
    for (int threads = 1; threads <= 3; threads += 2) {
      spm_compiled *c = spm_compile(model_of(posteriors[i]), "m.spm", NULL, 0, error, sizeof error);
      cr_assert(c != NULL, "%s", error);
      spm_session *session = spm_session_create(c, MANY, threads, 1, error, sizeof error);
      cr_assert(spm_session_gradient(session, data, MANY, 0, &objective[threads / 2], error, sizeof error) == 0, "%s",
                error);
      long size = 0;
      const float *g = spm_session_gradient_of(session, "q.t.dense.W", &size);
      cr_assert(g != NULL && size <= 2000);
      if (threads == 1) memcpy(kept, g, sizeof *g * (size_t)size);
      cr_expect(memcmp(kept, g, sizeof *g * (size_t)size) == 0, "%s: the gradient depends on threads", posteriors[i]);
      spm_session_free(session);
      spm_compiled_free(c);
    }
    cr_expect(objective[0] == objective[1], "%.17g and %.17g", objective[0], objective[1]);
  }
}

/* Scores that are not numbers: neither a hang nor a number. */
Test(members, no_scores_no_objective) {
  const char *maps[] = {"top_k_sparsemax(t, k = 3)", "sparsemap(t)", "sparsemap(t, budget = 1)",
                        "sparsemap(s, start = t)"};
  for (int i = 0; i < 4; i++)
    for (int bad = 0; bad < 2; bad++) {
      char text[500];
      snprintf(text, sizeof text,
               "model m; data x : real[4]; latent z : binary[4]; param t : real[4] init 0; param s : real[4] init 0;"
               "prior z ~ bernoulli(prob = 0.5); posterior z ~ %s; likelihood x ~ normal(z, 1); objective elbo;",
               maps[i]);
      Spec s = spec_right(text);
      const double x[8] = {0}, t[] = {0.5, bad ? NAN : -INFINITY, 0.1, 0};
      Run run = {.rows = 2, .inputs = {{"t", t}, {"x", x}}};
      cr_expect(isnan(spec_metric(&s, "elbo", &run)), "%s: %g", maps[i], spec_metric(&s, "elbo", &run));
      spec_close(&s);
    }
}

/* The library's text under another name, in the model's own file. */
Test(members, a_copy_of_the_library_is_the_same) {
  static const char *const pairs[][2] = {
      {"top_k_sparsemax(t, k = 3)", "mine(t, k = 3)"},
      {"sparsemap(t)", "mine_too(t, t)"},
      {"sparsemap(t, start = s, budget = 1)", "mine_too(t, s, budget = 1)"},
  };
  static const double x[8] = {0, 1, 1, 0, 1, 0, 1, 1}, t[] = {0.5, -0.2, 0.1, 0.3};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    double elbo[2];
    for (int own = 0; own < 2; own++) {
      char text[900];
      snprintf(text, sizeof text,
               "model m; data x : real[4]; latent z : binary[4]; param t : real[4] init 0; param s : real[4] init 1;"
               "distribution mine(z : binary[d]; scores : real[d], k) { members = top_k_members(scores, k); }"
               "distribution mine_too(z : binary[d]; scores : real[d], start : real[d], budget = 1e30)"
               "{ members = sparsemap_members(scores, start, budget); }"
               "prior z ~ bernoulli(prob = 0.5); posterior z ~ %s; likelihood x ~ normal(z, 1); objective elbo;",
               pairs[i][own]);
      Spec s = spec_right(text);
      Run run = {.rows = 2, .inputs = {{"t", t}, {"x", x}}};
      elbo[own] = spec_metric(&s, "elbo", &run);
      spec_close(&s);
    }
    cr_expect(elbo[0] == elbo[1] && isfinite(elbo[0]), "%s: %g and %g", pairs[i][1], elbo[0], elbo[1]);
  }
}
