/* The KL terms of the specs in specs/priors, by the rule each spec takes, against log q - log p at 1e5 draws: 1000 for
 * each of 100 invented rows, at the initial parameters. Dims of the data and of hidden layers are made small, for they
 * only decide where the posterior lies; the latents keep theirs. */
#include <criterion/criterion.h>
#include <glob.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scratch.h"
#include "spec.h"

enum {
  ROWS = 100,
  ROUNDS = 10,
  DRAWS = 100,
  WIDTH = 16,
  HIDDEN = 16
}; /* DRAWS at once, with ROUNDS seeds, for a row */

typedef struct Case {
  const char *spec, *latent, *term; /* term: as the evaluate program calls it */
  bool drawn;                       /* its rule is Monte Carlo already: equal, for the draws are the same */
} Case;

static const Case cases[] = {
    {"base", "z", "kl(z)", false},
    {"cauchy_vae", "z", "kl(z)", false},
    {"generalized_normal_vae", "z", "kl(z)", false},
    {"gumbel_vae", "z", "kl(z)", false},
    {"hierarchical_vae", "z1", "kl(z1)", true},
    {"hierarchical_vae", "z2", "kl(z2)", false},
    {"horseshoe_vae", "s", "kl(s)", false},
    {"horseshoe_vae", "e", "kl(e)", false},
    {"horseshoe_vae", "tau", "kl(tau)", false},
    {"logistic_vae", "z", "kl(z)", false},
    {"mixture_prior", "z", "kl(z)", true},
    {"own_prior", "z", "kl(z)", false},
    {"secant_coder", "z", "kl(z)", false},
    {"slash_vae", "z", "kl(z)", false},
    {"spike_slab_vae", "z", "kl(z)", false},
    {"student_t_vae", "z", "kl(z)", false},
};
enum { CASES = sizeof cases / sizeof *cases };

/* The spec with samples, and log q - log p at them as a metric (which averages them). */
static Spec open_drawn(const Case *k) {
  char here[400], text[1000];
  cr_assert(getcwd(here, sizeof here) != NULL);
  snprintf(text, sizeof text,
           "model drawn from \"%s/specs/priors/%s.spm\";\nmetric drawn = log_post(%s) - log_prior(%s);\n"
           "train { optimizer = adam(lr = 1e-3);  batch = 128;  samples = %d; }\n",
           here, k->spec, k->latent, k->latent, DRAWS);
  static const Override small[] = {{"D", WIDTH}, {"H", HIDDEN}};
  Spec s = spec_text(text, &(CompileOptions){.overrides = small, .override_count = 2});
  char *messages = spec_messages(&s);
  cr_assert(s.errors == 0, "%s: %s", k->spec, messages);
  free(messages);
  return s;
}

static double number_of(const Graph *g, const Evaluation *e, const char *name) {
  for (int i = 0; i < g->output_count; i++)
    if ((g->outputs[i].role == OUTPUT_METRIC || g->outputs[i].role == OUTPUT_TERM) &&
        strcmp(g->outputs[i].name, name) == 0)
      return *e->values[g->outputs[i].value->id];
  cr_assert(false, "no output %s", name);
  return NAN;
}

typedef struct Numbers {
  double rule, drawn;
} Numbers;

static Numbers evaluate_row(const Graph *g, const Case *k, const double *const *parameters, const double *row,
                            int number) {
  Bindings b = {.rows = 1, .first_row = number, .parameters = parameters, .data = &row, .seed = 7 + (uint64_t)number};
  b.settings[SETTING_ROWS_IN_BATCH] = b.settings[SETTING_TOTAL_ROWS] = 1;
  Evaluation *e = interpret(g, &b);
  cr_assert(e->problem == NULL, "%s", e->problem);
  Numbers found = {number_of(g, e, k->term), number_of(g, e, "drawn")};
  evaluation_free(e, g);
  if (k->drawn)
    cr_expect(fabs(found.rule - found.drawn) <= 1e-9 * (1 + fabs(found.rule)), "%s: %.15g for %.15g", k->spec,
              found.rule, found.drawn);
  return found;
}

typedef struct Sums {          /* over the rows */
  double difference, variance; /* of the rule from the mean over a row's draws, and of that mean */
  double squares;              /* of those differences */
} Sums;

/* A rule may depend on draws of other latents, so the difference is what is averaged and what varies. */
static void add_row(Sums *sums, const Graph *g, const Case *k, const double *const *parameters, const double *row,
                    int number) {
  double sum = 0, squares = 0;
  for (int i = 0; i < ROUNDS; i++) {
    Numbers n = evaluate_row(g, k, parameters, row, number * ROUNDS + i);
    sum += n.rule - n.drawn;
    squares += (n.rule - n.drawn) * (n.rule - n.drawn);
  }
  double mean = sum / ROUNDS;
  sums->difference += mean;
  sums->variance += (squares / ROUNDS - mean * mean) / (ROUNDS - 1);
  sums->squares += mean * mean;
}

/* The table says `drawn` of the terms that the compiler says it takes by Monte Carlo, and of no others. */
static void check_drawn(Spec *s, const Case *k) {
  Text text = {.compilation = s->c};
  model_describe(&text, s->model);
  char name[40];
  snprintf(name, sizeof name, "kl(%s): ", k->latent);
  const char *line = strstr(text.bytes, name), *end = line ? strchr(line, '\n') : NULL,
             *found = line ? strstr(line, "Monte Carlo") : NULL;
  cr_assert(line && end, "%s: nothing is said of kl(%s): %s", k->spec, k->latent, text.bytes);
  cr_expect((found && found < end) == k->drawn, "%s: %.*s", k->spec, (int)(end - line), line);
}

static Sums compare_rows(Spec *s, const Case *k) {
  const Signature *signature = model_signature(s->model);
  const Graph *g = model_graph(s->model, PROGRAM_EVALUATE);
  const double **parameters = arena_array(s->c, const double *, signature->parameter_count);
  for (int i = 0; i < signature->parameter_count; i++) parameters[i] = spec_initial(s, signature->parameters[i].name);
  cr_assert(signature->data_count == 1 && signature->state_count == 0);
  Sums sums = {0};
  uint64_t noise = 5;
  for (int r = 0; r < (k->drawn ? 1 : ROWS); r++) {
    double row[WIDTH];
    for (int i = 0; i < WIDTH; i++) row[i] = (double)(scratch_random(&noise) >> 11) * 0x1p-53;
    add_row(&sums, g, k, parameters, row, r);
  }
  return sums;
}

/* Of the sum of all differences, and of each row's: the sum of their squares is what chance makes it, up to four
 * standard deviations of a chi-square of ROWS degrees of freedom. */
static void compare(const Case *k) {
  Spec s = open_drawn(k);
  check_drawn(&s, k);
  Sums sums = compare_rows(&s, k);
  double errors = fabs(sums.difference) / sqrt(sums.variance), spread = sums.squares / sums.variance;
  if (getenv("SPM_SHOW"))
    fprintf(stderr,
            "%-24s %-4s apart %10.5f, standard error %8.5f: %5.2f of them; squares %5.2f of what chance makes\n",
            k->spec, k->latent, sums.difference / ROWS, sqrt(sums.variance) / ROWS, k->drawn ? 0 : errors,
            k->drawn ? 0 : spread);
  if (!k->drawn) {
    cr_expect(errors <= 4, "%s: kl(%s) is %g standard errors from the draws", k->spec, k->latent, errors);
    cr_expect(spread <= 1 + 4 * sqrt(2.0 / ROWS), "%s: the rows' squares are %g of what chance makes them", k->spec,
              spread);
  }
  spec_close(&s);
}

/* Four processes, so that it takes half the time. */
enum { PARTS = 4 };
static void compare_part(int part) {
  for (int i = part; i < CASES; i += PARTS) compare(&cases[i]);
}
Test(prior_kl, rules_against_draws_0) { compare_part(0); }
Test(prior_kl, rules_against_draws_1) { compare_part(1); }
Test(prior_kl, rules_against_draws_2) { compare_part(2); }
Test(prior_kl, rules_against_draws_3) { compare_part(3); }

/* A spec that is added is compared too: all but the floor, which has no latent. */
Test(prior_kl, every_spec_is_here) {
  glob_t found;
  cr_assert(glob("specs/priors/*.spm", 0, NULL, &found) == 0);
  for (size_t i = 0; i < found.gl_pathc; i++) {
    char name[200];
    snprintf(name, sizeof name, "%s", strrchr(found.gl_pathv[i], '/') + 1);
    *strrchr(name, '.') = 0;
    bool here = strcmp(name, "bernoulli_floor") == 0;
    for (int c = 0; c < CASES; c++) here = here || strcmp(cases[c].spec, name) == 0;
    cr_expect(here, "%s is not compared with draws", name);
  }
  globfree(&found);
}
