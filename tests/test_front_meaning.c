/* What expressions mean: small specs through the front end and the interpreter against numbers worked out by hand. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "spec.h"

typedef struct Case {
  const char *expression;
  double value;
} Case;

static const double A[] = {1, 2, 3, 4, 5, 6}, v[] = {1, -2, 3}, w[] = {0.5, -1}, x[] = {1, 2, 3, -1, 0, 4};
static const Run run = {.rows = 2, .inputs = {{"A", A}, {"v", v}, {"w", w}, {"x", x}}, .epoch = 3, .step = 40};
#define PREAMBLE                                                                                                       \
  "model cases;\ndim D = 3;\ndim K = 2;\ndata x : real[D];\nparam A : real[D, K] init 1;\nparam v : real[D] init 1;\n" \
  "param w : real[K] init 1;\nobjective sum(v * x);\n"                                                                 \
  "layer scale(x : real[n]) { param s : real[n] init 3; return s * x; }\n"                                             \
  "function half(t) = t / 2;\nfunction total(t : real[m]) = sum(t);\nfunction weigh(t : real[m], u : real[m]) = "      \
  "sum(t * u);\n"                                                                                                      \
  "function shifted(t, offset = 10) { two = 2 * offset; return t + two; }\nnetwork net(x) { a = scale(x); b = "        \
  "scale(a); }\n"

/* All cases in one model: each is a metric, so that what is compared is the mean over the two rows. */
static void expect(const Case *cases, int count) {
  char text[20000] = PREAMBLE;
  for (int i = 0; i < count; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "metric m%d = %s;\n", i, cases[i].expression);
  Spec s = spec_right(text);
  for (int i = 0; i < count; i++) {
    char name[16];
    snprintf(name, sizeof name, "m%d", i);
    double found = spec_metric(&s, name, &run);
    cr_expect(fabs(found - cases[i].value) <= 1e-12 * (1 + fabs(cases[i].value)), "%s: %.17g, not %.17g",
              cases[i].expression, found, cases[i].value);
  }
  spec_close(&s);
}
#define EXPECT(...)                                                                                                    \
  do {                                                                                                                 \
    const Case cases[] = {__VA_ARGS__};                                                                                \
    expect(cases, (int)(sizeof cases / sizeof *cases));                                                                \
  } while (0)

Test(meaning, arithmetic) {
  EXPECT({"7 % 3", 1}, {"-7 % 3", 2}, {"-2^2", -4}, {"2^3^2", 512}, {"2^-1", 0.5}, {"7 / 2", 3.5}, {"1 - 2 - 3", -4},
         {"8 / 4 / 2", 1}, {"1 < 2 and not 0", 1}, {"2 <= 1 or 3 != 3", 0}, {"1 > 2 ? 5 : 2 > 1 ? 6 : 7", 6},
         {"D * K + D / 2", 7.5}, {"epoch + step / 10", 7}, {"min(epoch, 2)", 2}, {"rows_in_batch", 2},
         {"2 * pi", 2 * acos(-1)}, {"x[0] > 0 ? 1 : 2", 1.5}, {"sum(x > 1)", 1.5}, {"sum(x == 0)", 0.5},
         {"training ? 1 : 2", 2});
}

Test(meaning, functions_of_a_number) {
  EXPECT({"exp(w[0])", exp(0.5)}, {"log(v[2])", log(3)}, {"log1p(w[0])", log1p(0.5)}, {"expm1(w[0])", expm1(0.5)},
         {"sqrt(v[2])", sqrt(3)}, {"abs(v[1])", 2}, {"sign(v[1])", -1}, {"floor(w[0] - 1)", -1},
         {"tanh(w[0])", tanh(0.5)}, {"sigmoid(w[0])", 1 / (1 + exp(-0.5))}, {"softplus(w[0])", log1p(exp(0.5))},
         {"relu(v[1])", 0}, {"erf(w[0])", erf(0.5)}, {"lgamma(2 + v[2])", log(24)},
         {"digamma(v[0])", -0.57721566490153286}, {"polygamma(1, v[0])", acos(-1) * acos(-1) / 6},
         {"sin(w[0])", sin(0.5)}, {"cos(w[0])", cos(0.5)}, {"tan(w[0])", tan(0.5)}, {"swish(v[2])", 3 / (1 + exp(-3))},
         {"clip(v, -1, 2)[1]", -1}, {"clip(v, -1, 2)[2]", 2}, {"gelu(w[0])", 0.25 * (1 + erf(0.5 / sqrt(2)))},
         {"elu(v[1])", expm1(-2)}, {"elu(v[2])", 3}, {"elu(v[1], alpha = 2)", 2 * expm1(-2)},
         {"leaky_relu(v[1])", -0.02}, {"leaky_relu(v[1], slope = 0.1)", -0.2}, {"leaky_relu(v[2])", 3});
}

Test(meaning, broadcasting) {
  EXPECT({"sum(A + v)", 25}, {"sum(A * w)", -7.5}, {"(A * w)[1, 1]", -4}, {"(A - v)[1, 0]", 5},
         {"sum(A - sum(A, over = K))", -21}, {"(x * v)[2]", 10.5}, {"(2 * A)[2, 0]", 10},
         {"sum(expand(w, D) * A)", -7.5}, {"expand(w, D)[2, 1]", -1}, {"sum(max(A, v))", 21},
         {"sum(A > 2 ? A : v)", 18 + 2}, {"sum(A > 2 ? w : 0)", -1});
}

Test(meaning, products_and_transposes) {
  EXPECT({"(A @ w)[0]", -1.5}, {"(A' @ v)[0]", 10}, {"(v @ A)[1]", 12}, {"(A' @ A)[0, 1]", 44}, {"(A @ A')[0, 2]", 17},
         {"v @ v", 14}, {"(x @ A)[0]", 0.5 * (22 + 19)}, {"v @ A @ w", 5 - 12}, {"A'[1, 2]", 6}, {"A''[2, 1]", 6},
         {"dot(v, x)", 8.5}, {"outer(v, w)[2, 0]", 1.5}, {"outer(x, w)[1, 1]", -1}, {"diag(A' @ A)[1]", 56},
         {"diag(w)[1, 1]", -1}, {"diag(w)[0, 1]", 0}, {"lower_part(A' @ A)[0, 1]", 0}, {"lower_part(A' @ A)[1, 0]", 44},
         {"solve(A' @ A, w)[0]", 0.5 / 35}, {"solve(A' @ A, w)[1]", (-1 - 44 * 0.5 / 35) / 56},
         {"identity(K)[1, 1]", 1}, {"identity(K)[0, 1]", 0}, {"sum(zeros(D, K) + 1)", 6}, {"sum(ones(K))", 2});
}

Test(meaning, reductions) {
  EXPECT({"sum(A)", 21}, {"sum(A, over = K)[1]", 7}, {"sum(A, over = D)[0]", 9}, {"sum(A, over = [D, K])", 21},
         {"mean(A)", 3.5}, {"mean(A, over = D)[1]", 4}, {"max(A)", 6}, {"max(A, over = D)[0]", 5}, {"min(v)", -2},
         {"min(A, over = K)[2]", 5}, {"norm(v)", sqrt(14)}, {"norm(A, over = D)[0]", sqrt(35)},
         {"logsumexp(v)", log(exp(1) + exp(-2) + exp(3))}, {"logsumexp(A, over = K)[0]", log(exp(1) + exp(2))},
         {"logmeanexp(v)", log((exp(1) + exp(-2) + exp(3)) / 3)}, {"sum(x)", 4.5}, {"max(x)", 3.5});
}

Test(meaning, reductions_over_the_batch) {
  EXPECT({"mean(sum(x), over = batch)", 4.5}, {"sum(sum(x), over = batch)", 9}, {"max(sum(x), over = batch)", 6},
         {"min(x[0], over = batch)", -1}, {"sum(mean(x, over = batch)^2)", 13.25}, {"sum(x, over = [D, batch])", 9},
         {"mean(x, over = [D, batch])", 1.5}, {"sum(v, over = batch)[2]", 6}, {"mean(v, over = batch)[2]", 3},
         {"sum((x - mean(x, over = batch))^2)", 1 + 1 + 0.25}, {"logsumexp(x[0], over = batch)", log(exp(1) + exp(-1))},
         {"sum(1, over = batch)", 2});
}

Test(meaning, along_one_dim) {
  double s = exp(2) + exp(4) + exp(6), t = exp(1) + exp(-2) + exp(3);
  EXPECT({"softmax(v)[2]", exp(3) / t}, {"log_softmax(v)[0]", 1 - log(t)}, {"softmax(A, over = D)[2, 1]", exp(6) / s},
         {"sum(softmax(A))", 3}, {"normalize(A, over = D)[2, 0]", 5 / sqrt(35)}, {"normalize(v)[2]", 3 / sqrt(14)},
         {"normalize(A)[0, 0]", 1 / sqrt(91)}, {"clip_norm(v, 1)[0]", 1 / sqrt(14)}, {"clip_norm(v, 100)[2]", 3},
         {"cumsum(v)[2]", 2}, {"cumsum(A, over = D)[1, 1]", 6}, {"cumsum(A)[1, 1]", 7}, {"tail_sum(v)[1]", 1},
         {"tail_sum(A, over = D)[0, 0]", 9});
}

/* x: 1 2 3 | -1 0 4 */
Test(meaning, the_largest) {
  EXPECT({"top_k(v, 1)[2]", 3}, {"sum(top_k(v, 2))", 4}, {"top_k(v, 0)[2]", 0}, {"sum(top_k(v, 9))", 2},
         {"sum(top_k(x, 2))", 4.5}, {"top_k(x, 1)[2]", 3.5}, {"sum(top_k(A, 1))", 12},
         {"top_k(A, 1, over = D)[2, 0]", 5}, {"sum(top_k(A, 1, over = D))", 11},
         {"top_k(A, 2, over = [D, K])[2, 0]", 5}, {"sum(top_k(A, 2, over = [D, K]))", 11},
         {"top_mask(ones(D), 2)[1]", 1}, {"top_mask(ones(D), 2)[2]", 0},
         {"sum(top_k(x, 3, over = [batch, D]))", 0.5 * (4 + 3 + 2)},
         {"sum(top_k(x, 1, over = batch))", 0.5 * (1 + 2 + 4)}, {"top_k(x, 1, over = batch)[1]", 1},
         {"sum(top_mask(x * 0, 4, over = [batch, D]))", 2}, {"top_mask(x * 0, 4, over = [batch, D])[1]", 0.5},
         {"sum(top_k(x, 2 * rows_in_batch, over = [batch, D]))", 5}, {"sum(top_mask(x, max(x)))", 3});
}

Test(meaning, products_of_elements) {
  EXPECT({"prod(v)", -6}, {"prod(A)", 720}, {"prod(A, over = D)[1]", 48}, {"prod(A, over = K)[2]", 30}, {"prod(x)", 3},
         {"prod(2)", 2});
}

Test(meaning, shapes) {
  EXPECT({"concat(v, w)[4]", -1}, {"concat(A, A)[1, 2]", 3}, {"concat(x, v)[5]", 3}, {"reshape(A, [2, 3])[1, 0]", 4},
         {"reshape(A, 6)[4]", 5}, {"flatten(A)[4]", 5}, {"A[1 .. 3, 0][1]", 5}, {"A[2][1]", 6}, {"v[1 .. 3][0]", -2},
         {"sum(A[0 .. 2])", 10}, {"x[0]", 0}, {"A[D - 1, K - 1]", 6}, {"stop(v)[2]", 3});
}

Test(meaning, library_functions) {
  EXPECT({"soft_threshold(v, 1)[1]", -1}, {"soft_threshold(v, 1)[0]", 0},
         {"group_threshold(A, 1)[0, 1]", 2 * (1 - 1 / sqrt(5))}, {"sum(group_threshold(A, 100))", 0},
         {"folded_mean(0, 1)", sqrt(2 / acos(-1))}, {"straight_through(v > 0, v)[2]", 1}, {"gate(v, 2, 4)[2]", 1},
         {"half(v)[1]", -1}, {"total(A)[1]", 7}, {"total(v)", 2}, {"weigh(A, w)[1]", -2.5}, {"weigh(v, v)", 14},
         {"shifted(1)", 21}, {"shifted(1, offset = 1)", 3}, {"shifted(offset = 2, t = 1)", 5}, {"net.a[2]", 10.5},
         {"net.b[2]", 31.5}, {"net(v).b[2]", 27}, {"net(x = v).a[2]", 9}, {"net(A').a[1, 2]", 18});
}

Test(meaning, lets_and_schedules_stand_in_any_order) {
  Spec s = spec_right(
      PREAMBLE
      "metric a = late;\nlet late = early + 1;\nlet early = 2 * rate;\nschedule rate = max(0, 1 - epoch / 10);\n"
      "let n : positive = 3;\nlet wide : real[D, K] = w;\nmetric b = sum(wide);\n");
  cr_assert(fabs(spec_metric(&s, "a", &run) - 2.4) < 1e-12);
  cr_assert(fabs(spec_metric(&s, "b", &run) + 1.5) < 1e-12);
  spec_close(&s);
}

#define VAE                                                                                                            \
  "model vae;\ndim D = 3;\ndim K = 2;\ndata x : real[D];\nlatent z : real[K];\nprior z ~ normal(0, 1);\n"              \
  "encoder q(x) { mu = x[0 .. 2]; sd = exp(0.1 * mu); }\nposterior z ~ normal(q.mu, q.sd);\n"                          \
  "decoder p(z) { mean = reshape(concat(z, z[0 .. 1]), D); }\nlikelihood x ~ normal(p.mean, 1);\n"

/* KL(N(m, s) || N(0, 1)) of the model above at one row. */
static double kl_by_hand(const double *row) {
  double kl = 0;
  for (int k = 0; k < 2; k++) {
    double s = exp(0.1 * row[k]);
    kl += -log(s) + (s * s + row[k] * row[k]) / 2 - 0.5;
  }
  return kl;
}

Test(meaning, elbo_and_its_terms) {
  Spec s = spec_right(VAE "objective log_lik(x) - 4 * kl(z);\n");
  double kl = (kl_by_hand(x) + kl_by_hand(x + 3)) / 2;
  cr_assert(fabs(spec_metric(&s, "kl(z)", &run) - kl) < 1e-12);
  double elbo = spec_metric(&s, "elbo", &run),
         fit = *spec_output(&s, PROGRAM_EVALUATE, OUTPUT_TERM, "log_lik(x)", &run);
  double objective = *spec_output(&s, PROGRAM_EVALUATE, OUTPUT_OBJECTIVE, "objective", &run);
  cr_assert(fabs(elbo - (fit - kl)) < 1e-12);
  cr_assert(fabs(objective - (fit - 4 * kl)) < 1e-12);
  spec_close(&s);
}

Test(meaning, weights_do_not_reach_metrics) {
  Spec s = spec_right(VAE "schedule warm = min(1, epoch / 10);\nobjective elbo(kl_weight = warm);\n");
  double kl = (kl_by_hand(x) + kl_by_hand(x + 3)) / 2,
         term = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "kl(z)", &run);
  double objective = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run);
  double fit = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "log_lik(x)", &run);
  cr_assert(fabs(term - kl) < 1e-12);
  cr_assert(fabs(objective - (fit - 0.3 * kl)) < 1e-12);
  cr_assert(fabs(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_METRIC, "elbo", &run) - (fit - kl)) < 1e-12);
  cr_assert(fabs(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_VALUE, "warm", &run) - 0.3) < 1e-15);
  spec_close(&s);
}

Test(meaning, minimize_is_the_other_sign) {
  Spec s = spec_right(VAE "minimize sum(x^2) - 2 * sum(x);\n");
  double objective = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run);
  cr_assert(fabs(objective - (-0.5 * (14 + 17) + 9)) < 1e-12);
  spec_close(&s);
}

/* Rule 27: one value for each sample; log_lik and kl are their means, log_weight stays per sample. */
Test(meaning, samples) {
  Spec s = spec_right(VAE "objective logmeanexp(log_weight, over = sample);\ntrain { samples = 5; }\n"
                          "metric mean_draw = sum(z);\nmetric most = sum(max(z, over = sample));\nmetric iw = "
                          "logmeanexp(log_weight, over = sample);\n"
                          "metric each = mean(log_weight, over = sample);\nmetric count = sum(1, over = sample);\n");
  const Graph *g = model_graph(s.model, PROGRAM_EVALUATE);
  cr_assert(g->samples == 5);
  const Output *o = spec_find_output(&s, PROGRAM_EVALUATE, OUTPUT_METRIC, "mean_draw");
  cr_assert(o && o->value->axes == 0);
  const double *noise = NULL;
  for (int i = 0; i < g->count; i++)
    if (g->nodes[i]->op == IR_noise) noise = spec_values(&s, g, g->nodes[i], &run);
  cr_assert(noise != NULL);
  double total = 0, most = 0;
  for (int row = 0; row < 2; row++)
    for (int k = 0; k < 2; k++) {
      double best = -1e9;
      for (int i = 0; i < 5; i++) {
        double z = x[3 * row + k] + exp(0.1 * x[3 * row + k]) * noise[(row * 5 + i) * 2 + k];
        total += z / 10;
        if (z > best) best = z;
      }
      most += best / 2;
    }
  cr_assert(fabs(spec_metric(&s, "mean_draw", &run) - total) < 1e-12);
  cr_assert(fabs(spec_metric(&s, "most", &run) - most) < 1e-12);
  cr_assert(spec_metric(&s, "count", &run) == 5);
  cr_assert(spec_metric(&s, "iw", &run) > spec_metric(&s, "each", &run)); /* Jensen */
  spec_close(&s);
}

Test(meaning, free_bits) {
  Spec s = spec_right(VAE "objective log_lik(x) - sum(max(mean(kl_each(z), over = batch), 0.1));\n");
  double expected = 0;
  for (int k = 0; k < 2; k++) {
    double mean = 0;
    for (int row = 0; row < 2; row++) {
      double m = x[3 * row + k], sd = exp(0.1 * m);
      mean += (-log(sd) + (sd * sd + m * m) / 2 - 0.5) / 2;
    }
    expected += mean > 0.1 ? mean : 0.1;
  }
  double fit = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "log_lik(x)", &run),
         objective = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_OBJECTIVE, "objective", &run);
  cr_assert(fabs(objective - (fit - expected)) < 1e-12);
  spec_close(&s);
}

Test(meaning, batch_norm_in_training_and_evaluation) {
  Spec s = spec_right("model normed;\ndim D = 3;\ndata x : real[D];\nencoder q(x) { h = batch_norm(x); }\nobjective "
                      "sum(q.h^2) / 7;\nmetric first = q.h[0]^2;\n");
  const Signature *signature = model_signature(s.model);
  cr_assert(signature->state_count == 2, "%d states", signature->state_count);
  const double gain[] = {log(expm1(1)), log(expm1(1)), log(expm1(1))}, mean[] = {0.5, 0, 0}, variance[] = {4, 1, 1};
  Run with = {.rows = 2,
              .inputs = {{"x", x},
                         {"q.h.batch_norm.gain", gain},
                         {signature->states[0].name, mean},
                         {signature->states[1].name, variance}}};
  double train = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_METRIC, "first", &with),
         evaluated = spec_metric(&s, "first", &with);
  cr_assert(fabs(train - 1 / (1 + 1e-5)) < 1e-9, "%.17g", train); /* values 1, -1: mean 0, variance 1 */
  cr_assert(fabs(evaluated - 0.5 * (0.25 + 2.25) / (4 + 1e-5)) < 1e-9, "%.17g", evaluated);
  const double *next = spec_output(&s, PROGRAM_TRAIN, OUTPUT_STATE, signature->states[0].name, &with);
  cr_assert(fabs(next[0] - 0.99 * 0.5) < 1e-12 && fabs(next[1] - 0.01 * 1) < 1e-12 &&
            fabs(next[2] - 0.01 * 3.5) < 1e-12);
  next = spec_output(&s, PROGRAM_TRAIN, OUTPUT_STATE, signature->states[1].name, &with);
  cr_assert(fabs(next[0] - (0.99 * 4 + 0.01)) < 1e-12);
  spec_close(&s);
}

Test(meaning, layer_norm_of_each_row) {
  Spec s = spec_right("model normed;\ndim D = 3;\ndata x : real[D];\nencoder q(x) { h = layer_norm(x); }\nobjective "
                      "sum(q.h);\nmetric last = q.h[2];\n");
  const double one[] = {1, -2, 7}, gain[] = {1, 1, 3}, bias[] = {0, 0, 0.5};
  Run with = {.rows = 1, .inputs = {{"x", one}, {"q.h.layer_norm.gain", gain}, {"q.h.layer_norm.bias", bias}}};
  double wanted = 3 * (7 - 2) / sqrt((1 + 16 + 25) / 3. + 1e-5) + 0.5;
  cr_assert(fabs(spec_metric(&s, "last", &with) - wanted) < 1e-12);
  spec_close(&s);
}

Test(meaning, running_mean_is_the_value_before) {
  Spec s = spec_right(PREAMBLE "let seen = running_mean(mean(x[2], over = batch), decay = 0.9, start = 2);\nmetric now "
                               "= seen;\nmetric stage = training ? 1 : 0;\n");
  cr_assert(spec_metric(&s, "now", &run) == 2);
  cr_assert(fabs(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_STATE, "seen.running_mean", &run) - (0.9 * 2 + 0.1 * 3.5)) <
            1e-12);
  cr_assert(*spec_output(&s, PROGRAM_TRAIN, OUTPUT_METRIC, "stage", &run) == 1 && spec_metric(&s, "stage", &run) == 0);
  spec_close(&s);
}

Test(meaning, codes_and_reconstructions) {
  Spec s = spec_right(VAE);
  const double *codes = spec_output(&s, PROGRAM_ENCODE, OUTPUT_ROWS, "z", &run);
  cr_assert(codes[0] == 1 && codes[1] == 2 && codes[2] == -1 && codes[3] == 0); /* the posterior's mean */
  const Output *o = spec_find_output(&s, PROGRAM_RECONSTRUCT, OUTPUT_ROWS, "x");
  cr_assert(o && o->value->shape.rank == 1 && o->value->shape.dims[0].size == 3);
  spec_close(&s);
  s = spec_right("model point;\ndim D = 3;\ndata x : real[D];\nlatent z : real[D];\nposterior z = 2 * x;\nprior z ~ "
                 "laplace(0, 1);\nlikelihood x ~ normal(z, 1);\n");
  codes = spec_output(&s, PROGRAM_ENCODE, OUTPUT_ROWS, "z", &run);
  cr_assert(codes[2] == 6);
  double prior = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "log_prior(z)", &run);
  cr_assert(fabs(prior - (-0.5 * 2 * (6 + 5) - 3 * log(2))) < 1e-12);
  spec_close(&s);
}

/* Rule 9: what is said of a param counts 1 / rows a datum. */
Test(meaning, priors_of_params) {
  Spec s = spec_right("model m;\ndim D = 3;\ndata x : real[D];\nparam w : real[D] init 1;\nparam g : real init "
                      "0;\nparam m : real init 0.5;\nprior w ~ normal(0, 1);\n"
                      "prior g ~ normal(0, 1);\nposterior g ~ normal(m, 0.5);\nlikelihood x ~ normal(w + g, 1);\n");
  const Run two = {.rows = 2};
  double prior = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "log_prior(w)", &two),
         kl = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_TERM, "kl(g)", &two);
  cr_assert(fabs(prior - 0.5 * (-1.5 - 1.5 * log(2 * acos(-1)))) < 1e-12, "%.17g", prior);
  cr_assert(fabs(kl - 0.5 * (-log(0.5) + (0.25 + 0.25) / 2 - 0.5)) < 1e-12, "%.17g", kl);
  spec_close(&s);
}

Test(meaning, places_of_extremes) {
  EXPECT({"argmax(v)", 2}, {"argmax(A')[0]", 2}, {"argmax(-x)", 0}, {"hardmax(v)[2]", 1}, {"sum(hardmax(v))", 1},
         {"argmax(x)", 2});
}

Test(meaning, draws_are_shared_and_fresh_for_each_row) {
  Spec s = spec_right("model noisy;\ndim D = 3;\ndata x : real[D];\ndraw e : real[D] ~ normal(x, 0.5);\nobjective "
                      "sum(e * x);\nmetric zero = sum(e - e);\n"
                      "metric spread = sum((e - x)^2);\n");
  cr_assert(spec_metric(&s, "zero", &run) == 0);
  cr_assert(spec_metric(&s, "spread", &run) > 0);
  spec_close(&s);
}

/* The branches of `training` have layers of their own, under the same names in every program. */
Test(meaning, layers_in_branches_of_training) {
  Spec s = spec_right("model m;\ndata x : real[3];\ndata y : real[5];\n"
                      "let h = training ? dense(x, 2) : dense(y, 2);\nminimize sum(h^2);\n");
  const Signature *signature = model_signature(s.model);
  cr_assert(signature->parameter_count == 4, "%d parameters", signature->parameter_count);
  int first = spec_parameter(&s, "h.dense.W"), second = spec_parameter(&s, "h.dense2.W");
  cr_assert(first >= 0 && second >= 0);
  cr_expect(shape_size(&signature->parameters[first].shape) == 6);
  cr_expect(shape_size(&signature->parameters[second].shape) == 10);
  for (int program = 0; program < PROGRAM_COUNT; program++) model_graph(s.model, (ProgramKind)program);
  cr_assert(s.c->error_count == 0, "%s", spec_messages(&s));
  spec_close(&s);
}

Test(meaning, argmin_and_prox) {
  EXPECT({"argmin(v)", 1}, {"argmin(x)", 0}, {"argmin(A')[0] + argmin(-v)", 2},
         {"sum(prox(laplace(1, 2), v, 3))", 1 - 0.5 + 1.5}, {"prox(normal(1, 2), v, 3)[0]", 1});
}

/* The textbook's form, at values where it loses no digits; and a Dirichlet is a chain of betas, whose KL is taken by
 * quadrature. */
Test(meaning, kl_of_dirichlets) {
  EXPECT({"kl(dirichlet(v^2 + 1), dirichlet(abs(v) / 2)) - lgamma(17 + 0 * w[0]) + lgamma(3 + 0 * w[0])"
          " - sum(lgamma(abs(v) / 2) - lgamma(v^2 + 1))"
          " - dot(v^2 + 1 - abs(v) / 2, digamma(v^2 + 1) - digamma(17 + 0 * w[0]))",
          0},
         {"abs(kl(dirichlet(v^2 + 1), dirichlet(abs(v) / 2)) - kl(beta(2, 15), beta(0.5, 2.5))"
          " - kl(beta(5, 10), beta(1, 1.5))) < 1e-6",
          1},
         {"kl(dirichlet(v^2), dirichlet(v^2))", 0});
}
