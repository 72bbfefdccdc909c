/* Softmaxes of few factors: the kernels against the definition, the op against the same density written at length,
 * gradients against differences and compiled code against the interpreter. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/diagnose.h"
#include "spec.h"

#define KERNELS(real, suffix)                                                                                          \
  void spm_low_rank_fit##suffix(long, long, long, long, real *, real *, const real *, const real *, const real *,      \
                                const real *);                                                                         \
  void spm_low_rank_weights##suffix(long, long, long, long, real *, real *, const real *, const real *, const real *,  \
                                    const real *, const real *, const real *);
KERNELS(float, _f)
KERNELS(double, _d)

enum { LINES = 11, MOST_RANK = 32, MOST = 300, WORK = 2 * (MOST_RANK + 1) * (MOST + 16) };

typedef struct Problem {
  long rank, length, first;
  double f[LINES * MOST_RANK], w[MOST * MOST_RANK], b[MOST], x[LINES], g[LINES];
  double fit[LINES * (MOST_RANK + 1)], slopes[MOST * (MOST_RANK + 1)];
} Problem;

static double uniform(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(*state >> 33) / 4294967296.0 - 0.25;
}

/* From the definition, in double. */
static void solve(Problem *p) {
  long columns = p->rank + 1;
  memset(p->slopes, 0, sizeof p->slopes);
  for (long i = 0; i < LINES; i++) {
    double logits[MOST], top = -INFINITY, sum = 0, *fit = p->fit + i * columns;
    long category = (long)p->x[i] - p->first;
    for (long l = 0; l < p->length; l++) {
      logits[l] = p->b[l];
      for (long r = 0; r < p->rank; r++) logits[l] += p->w[l * p->rank + r] * p->f[i * p->rank + r];
      top = fmax(top, logits[l]);
    }
    for (long l = 0; l < p->length; l++) sum += exp(logits[l] - top);
    fit[0] = logits[category] - top - log(sum);
    for (long r = 0; r < p->rank; r++) fit[1 + r] = p->w[category * p->rank + r];
    for (long l = 0; l < p->length; l++) {
      double chance = exp(logits[l] - top) / sum;
      for (long r = 0; r < columns; r++) {
        if (r < p->rank) fit[1 + r] -= chance * p->w[l * p->rank + r];
        p->slopes[l * columns + r] += p->g[i] * ((l == category) - chance) * (r < p->rank ? p->f[i * p->rank + r] : 1);
      }
    }
  }
}

static void invent(Problem *p, uint64_t seed, double scale) {
  uint64_t state = seed;
  for (int i = 0; i < LINES * MOST_RANK; i++) p->f[i] = scale * uniform(&state);
  for (int i = 0; i < MOST * MOST_RANK; i++) p->w[i] = uniform(&state);
  for (int i = 0; i < MOST; i++) p->b[i] = scale * uniform(&state);
  for (int i = 0; i < LINES; i++) p->x[i] = (double)(p->first + (long)(seed + 37 * (uint64_t)i) % p->length);
  for (int i = 0; i < LINES; i++) p->g[i] = i % 5 == 3 ? 0 : uniform(&state);
  /* what a float holds exactly, for both precisions */
  for (int i = 0; i < LINES * MOST_RANK; i++) p->f[i] = (float)p->f[i];
  for (int i = 0; i < MOST * MOST_RANK; i++) p->w[i] = (float)p->w[i];
  for (int i = 0; i < MOST; i++) p->b[i] = (float)p->b[i];
  for (int i = 0; i < LINES; i++) p->g[i] = (float)p->g[i];
}

#define RUN(real, suffix)                                                                                              \
  static void run##suffix(const Problem *p, double *fit_out, double *slopes_out) {                                     \
    static real f[LINES * MOST_RANK], w[MOST * MOST_RANK], b[MOST], x[LINES], g[LINES], work[WORK];                    \
    static real fit[LINES * (MOST_RANK + 1)], slopes[MOST * (MOST_RANK + 1)];                                          \
    for (int i = 0; i < LINES * MOST_RANK; i++) f[i] = (real)p->f[i];                                                  \
    for (int i = 0; i < MOST * MOST_RANK; i++) w[i] = (real)p->w[i];                                                   \
    for (int i = 0; i < MOST; i++) b[i] = (real)p->b[i];                                                               \
    for (int i = 0; i < LINES; i++) x[i] = (real)p->x[i], g[i] = (real)p->g[i];                                        \
    memset(slopes, 0, sizeof slopes);                                                                                  \
    spm_low_rank_fit##suffix(LINES, p->rank, p->length, p->first, fit, work, f, w, b, x);                              \
    spm_low_rank_weights##suffix(LINES, p->rank, p->length, p->first, slopes, work, f, w, b, x, fit, g);               \
    for (int i = 0; i < LINES * (MOST_RANK + 1); i++) fit_out[i] = fit[i];                                             \
    for (int i = 0; i < MOST * (MOST_RANK + 1); i++) slopes_out[i] = slopes[i];                                        \
  }
RUN(float, _f)
RUN(double, _d)

static Problem problem;
static double fit[LINES * (MOST_RANK + 1)], slopes[MOST * (MOST_RANK + 1)];

/* Scales at which the bound of the logits is near their largest, and far above it. */
Test(low_rank, kernels_follow_the_definition) {
  const long ranks[] = {1, 3, 5, 8, 32}, lengths[] = {2, 16, 17, 256, 300};
  const double scales[] = {0.1, 3, 300};
  for (int trial = 0; trial < 75; trial++) {
    problem.rank = ranks[trial % 5], problem.length = lengths[trial / 5 % 5], problem.first = trial % 3 - 1;
    double scale = scales[trial / 25], size = 1 + scale * scale / 100;
    invent(&problem, 1 + (uint64_t)trial, scale);
    solve(&problem);
    for (int real = 0; real < 2; real++) {
      (real ? run_d : run_f)(&problem, fit, slopes);
      double most = real ? 1e-12 : 3e-5;
      for (long i = 0; i < LINES * (problem.rank + 1); i++)
        cr_assert(fabs(fit[i] - problem.fit[i]) < most * size * (1 + fabs(problem.fit[i])), "trial %d: %g and %g",
                  trial, fit[i], problem.fit[i]);
      for (long i = 0; i < problem.length * (problem.rank + 1); i++)
        cr_assert(fabs(slopes[i] - problem.slopes[i]) < most * size * scale + most, "trial %d: %g and %g", trial,
                  slopes[i], problem.slopes[i]);
    }
  }
}

Test(low_rank, what_is_no_number_stays_none) {
  for (int where = 0; where < 3; where++) {
    problem.rank = 5, problem.length = 256, problem.first = 0;
    invent(&problem, 9, 1);
    if (where == 0) problem.f[7] = NAN;
    if (where == 1) problem.w[90] = NAN;
    if (where == 2) problem.b[3] = NAN;
    run_f(&problem, fit, slopes);
    cr_expect(isnan(fit[1 * 6]), "%d: %g", where, fit[6]);
    cr_expect(where > 0 || !isnan(fit[0]));
  }
}

Test(low_rank, lines_of_no_category_count_nothing) {
  problem.rank = 5, problem.length = 256, problem.first = 0;
  invent(&problem, 9, 1);
  problem.x[2] = -1, problem.x[4] = 256, problem.x[6] = NAN;
  run_f(&problem, fit, slopes);
  for (int i = 2; i <= 6; i += 2)
    for (int r = 0; r < 6; r++) cr_expect(fit[i * 6 + r] == 0);
  for (int i = 0; i < 256 * 6; i++) cr_expect(isfinite(slopes[i]));
}

/* --- in a spec --- */

static const char *spec_of(const char *logits, const char *posterior, const char *objective) {
  static char text[2000];
  snprintf(text, sizeof text,
           "model m; dim D = 7; dim L = 24; dim R = 3; dim K = 4; data x : integer(2, L + 1)[D]; latent z : %s;"
           "encoder q(x) { t = dense(tanh(dense(x / L, 5)), K); }"
           "decoder p(z) { f = reshape(dense(tanh(dense(z, 6)), D * R), [D, R]); logits = dense(f, L); }"
           "likelihood x ~ categorical(logits = %s); objective %s;",
           posterior, logits, objective);
  return text;
}

static const char bits[] = "binary[K]; prior z ~ bernoulli(prob = 0.5); posterior z ~ top_k_sparsemax(2 * q.t, k = 5)";
static const char normal[] = "real[K]; prior z ~ normal(0, 1); posterior z ~ normal(q.t, 0.3)";

Test(low_rank, the_same_as_written_at_length) {
  const double x[] = {2, 5, 25, 13, 7, 7, 20, 3, 4, 5, 6, 7, 8, 9};
  const char *posteriors[] = {bits, normal};
  for (int i = 0; i < 2; i++) {
    double value[2];
    for (int plain = 0; plain < 2; plain++) {
      Spec s = spec_right(spec_of(plain ? "1.0000000001 * p.logits" : "p.logits", posteriors[i], "elbo"));
      bool found = false;
      const Graph *g = model_graph(s.model, PROGRAM_TRAIN);
      for (int n = 0; n < g->count; n++) found |= g->nodes[n]->op == IR_low_rank_weights;
      cr_expect(found == !plain, "%d, %d", i, plain);
      Run run = {.rows = 2, .inputs = {{"x", x}}};
      value[plain] = spec_metric(&s, "elbo", &run);
      spec_close(&s);
    }
    cr_expect(fabs(value[0] - value[1]) < 1e-8, "%.15g and %.15g", value[0], value[1]);
  }
}

Test(low_rank, gradients_and_compiled_code) {
  const char *objectives[] = {"elbo", "elbo(samples = 3)"};
  for (int i = 0; i < 3; i++) {
    Spec s = spec_right(spec_of("p.logits", i == 0 ? bits : normal, objectives[i == 2]));
    char message[500];
    Jit *jit = compile_jit(s.model, true, message, sizeof message);
    cr_assert(jit != NULL, "%s", message);
    Diagnosis *d = diagnose(s.c, model_graph(s.model, PROGRAM_TRAIN), model_graph(s.model, PROGRAM_INITIALISE), NULL,
                            jit_model(jit), 1, 20);
    cr_assert(d->problem == NULL, "%s", d->problem);
    for (int t = 0; t < d->count; t++) {
      cr_expect(d->tensors[t].worst <= diagnose_tolerance, "%d, %s: differences %g off", i,
                d->tensors[t].parameter->name, d->tensors[t].worst);
      cr_expect(d->tensors[t].compiled <= diagnose_compiled_tolerance, "%d, %s: compiled %g off", i,
                d->tensors[t].parameter->name, d->tensors[t].compiled);
    }
    jit_destroy(jit);
    spec_close(&s);
  }
}
