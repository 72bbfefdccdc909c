/* Draws of the library that are found by search, against distribution functions summed here; and the derivative of a
 * draw that may jump, against that of a moment in closed form. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "spec.h"

enum { PLACES = 105 }; /* e from -5.2 to 5.2: a chance of 1e-7, near the least of single precision */

static double log_choose(double n, double k) { return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1); }

/* The probability of k; trials 0: of a Poisson variable of this rate. */
static double chance(double trials, double of, double k) {
  if (trials == 0) return exp(k * log(of) - of - lgamma(k + 1));
  if (k > trials) return 0;
  return exp(log_choose(trials, k) + k * log(of) + (trials - k) * log1p(-of));
}

/* The count k at e is the first whose distribution function reaches that of a standard normal at e; where the two meet
 * within rounding either neighbour may be it. */
static void expect_quantiles(const char *call, double trials, double of) {
  char text[300];
  snprintf(text, sizeof text,
           "model q; data e : real; param s : real; minimize s^2 + 0 * sum(e);"
           "metric k = sum(%s, over = batch);",
           call);
  Spec s = spec_right(text);
  double below = 0, at = chance(trials, of, 0), k = 0;
  for (int i = 0; i < PLACES; i++) {
    double e = -5.2 + 0.1 * i, tail = 0.5 * erfc(e / sqrt(2));
    for (; below + at < 1 - tail && k < 1e6; k++) below += at, at = chance(trials, of, k + 1);
    Run run = {.rows = 1, .inputs = {{"e", &e}}};
    double found = spec_metric(&s, "k", &run);
    bool near = fabs(below + at - (1 - tail)) < 1e-7 || fabs(below - (1 - tail)) < 1e-7;
    cr_expect(near ? fabs(found - k) <= 1 : found == k, "%s at e = %g: %g, not %g", call, e, found, k);
  }
  spec_close(&s);
}

Test(library_draws, counts_are_those_of_the_quantile) {
  static const double rates[] = {1e-4, 0.3, 1, 5, 12, 80, 1500};
  static const double coins[][2] = {{1, 0.3}, {12, 0.001}, {12, 0.5}, {40, 0.95}, {1000, 0.3}, {1000, 0.999}};
  char call[100];
  for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
    snprintf(call, sizeof call, "poisson_quantile(e, %g)", rates[i]);
    expect_quantiles(call, 0, rates[i]);
  }
  for (size_t i = 0; i < sizeof coins / sizeof *coins; i++) {
    snprintf(call, sizeof call, "binomial_quantile(e, %g, %g)", coins[i][0], coins[i][1]);
    expect_quantiles(call, coins[i][0], coins[i][1]);
  }
}

/* At ends: no coin, none that can, all that must, and a rate of nothing. */
Test(library_draws, counts_at_the_ends) {
  static const char *const calls[][2] = {
      {"binomial_quantile(e, 0, 0.5)", "0"}, {"binomial_quantile(e, 7, 0)", "0"},
      {"binomial_quantile(e, 7, 1)", "7"},   {"poisson_quantile(e, 1e-38)", "0"},
      {"poisson_quantile(e, 0)", "0"},       {"poisson_quantile(e, 1e30) > 1e7", "1"}};
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    for (double e = -6; e <= 6; e += 3) {
      char text[300];
      snprintf(text, sizeof text, "model q; data e : real; param s : real; minimize s^2 + 0 * sum(e); metric k = %s;",
               calls[i][0]);
      Spec s = spec_right(text);
      Run run = {.rows = 1, .inputs = {{"e", &e}}};
      double found = spec_metric(&s, "k", &run);
      cr_expect(found == atof(calls[i][1]), "%s at %g: %g", calls[i][0], e, found);
      spec_close(&s);
    }
}

/* E z^2 = w (m^2 + s^2) + (1 - w) t^2, of which the draw's derivative must have the gradient on average: that in w is
 * the jump's alone. */
Test(library_draws, a_continuous_spike_moves_with_its_weight) {
  enum { ROWS = 40000 };
  static const double none[ROWS];
  static const char *const names[] = {"w", "m", "s", "t"};
  static const double at[] = {0.3, 0.8, 0.7, 0.2};
  const double wanted[] = {0.8 * 0.8 + 0.7 * 0.7 - 0.2 * 0.2, 2 * 0.3 * 0.8, 2 * 0.3 * 0.7, 2 * 0.7 * 0.2};
  Spec s =
      spec_right("model g; data x : real; draw z : real ~ spike_slab(clip(w, 0, 1), m, max(s, 0.01), max(t, 0.01));"
                 "param w : real; param m : real; param s : real; param t : real; minimize z^2 + 0 * x;");
  Run run = {.rows = ROWS, .inputs = {{"x", none}}};
  for (int i = 0; i < 4; i++) run.inputs[1 + i] = (Input){names[i], &at[i]};
  for (int i = 0; i < 4; i++) {
    double found = *spec_output(&s, PROGRAM_TRAIN, OUTPUT_GRADIENT, names[i], &run);
    cr_expect(fabs(found - wanted[i]) < 0.03, "%s: %g, not %g", names[i], found, wanted[i]);
  }
  spec_close(&s);
}
