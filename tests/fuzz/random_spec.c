/* A number -> the text of a spec that is right by construction. See random_spec.h; expressions: random_expression.c. */
#include "random_spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generator.h"

/* ---- declarations -------------------------------------------------------------------------------------------- */

static Dims some_dims(Generator *g, int most) {
  Dims dims = {.rank = below(g, most + 1)};
  for (int i = 0; i < dims.rank; i++) {
    Dims so_far = dims;
    so_far.rank = i;
    dims.dims[i] = other_dim(g, &so_far, -1);
  }
  return dims;
}

static void put_dims(Writing *out, const Dims *dims) {
  for (int i = 0; i < dims->rank; i++) write_text(out, "%s%s", i ? ", " : "[", dim_names[dims->dims[i]]);
  if (dims->rank) write_text(out, "]");
}

static void add_variable(Generator *g, const char *name, const Dims *dims, Range range) {
  if (g->variable_count == MAX_VARIABLES) return;
  Variable *v = &g->variables[g->variable_count++];
  snprintf(v->name, sizeof v->name, "%s", name);
  v->dims = *dims;
  v->range = range;
}

/* All different: a bare number, as slices and concat have it, must fit one of two dims. */
static void put_dims_declared(Generator *g) {
  const int first = below(g, DIMS), step = 1 + below(g, DIMS - 1);
  for (int i = 0; i < DIMS; i++) {
    g->lengths[i] = 2 + (first + i * step) % DIMS;
    if (chance(g, 8)) g->lengths[i] = 20 + 12 * i + below(g, 12);
    write_text(&g->text, "dim %s = %d;\n", dim_names[i], g->lengths[i]);
  }
}

typedef struct Family { /* a type that data or latents have, with distributions over it */
  Range range;
  const char *type;
  const char *distributions[12]; /* templates over the variable's shape; NULL ends */
} Family;

static const Family data_families[] = {
    {REAL,
     "real",
     {"normal($R, $P)", "normal(mean = $R, variance = $P)", "laplace($R, $P)", "student_t(3, $R, $P)",
      "logistic($R, $P)", "gumbel($R, $P)", "cauchy($R, $P)", "mixture(0.4: normal($R, $P), 0.6: laplace($R, $P))",
      "generalized_normal($R, $P, 1.5)"}},
    {POSITIVE,
     "positive",
     {"gamma(shape = $P, rate = $P)", "log_normal($R, $P)", "inverse_gamma(shape = $P, scale = $P)"}},
    {UNIT, "unit", {"bernoulli(logits = $R)", "bernoulli(prob = 0.1 + 0.8 * $U)"}},
    {BINARY, "binary", {"bernoulli(logits = $R)", "bernoulli(prob = 0.1 + 0.8 * $U)"}},
    {REAL, "count", {"poisson($P)", "negative_binomial(2, logits = $R)"}},
};

static const Family latent_families[] = {
    {REAL,
     "real",
     {"normal($R, $P)", "normal(mean = $R, variance = $P)", "laplace($R, $P)", "logistic($R, $P)", "gumbel($R, $P)"}},
    {POSITIVE, "positive", {"log_normal($R, $P)", "gamma(shape = 0.5 + $P, rate = 0.5 + $P)"}},
    {UNIT, "unit", {"beta(a = 0.5 + $P, b = 0.5 + $P)", "kumaraswamy(0.5 + $P, 0.5 + $P)", "logistic_normal($R, $P)"}},
    {BINARY,
     "binary",
     {"bernoulli(logits = $R) by relaxed(temperature = 0.6)",
      "bernoulli(logits = $R) by relaxed(temperature = 0.5 + warm, straight_through = true)"}},
};

static const Family priors[] = {
    {REAL,
     "",
     {"normal(0, 1)", "laplace(0, 1)", "student_t(4)", "cauchy(0, 1)", "normal($R, $P)", "logistic(0, 1)",
      "horseshoe(0.5)", "spike_slab(0.3, 0, 1, 0.1)", "mixture(0.9: normal(0, 0.1), 0.1: normal(0, 1))"}},
    {POSITIVE,
     "",
     {"gamma(shape = 2, rate = 1)", "log_normal(0, 1)", "half_cauchy(1)", "inverse_gamma(shape = 2, scale = 1)"}},
    {UNIT, "", {"beta(a = 2, b = 2)", "logistic_normal(0, 1)", "kumaraswamy(2, 2)"}},
    {BINARY, "", {"bernoulli(prob = 0.3)", "bernoulli(logits = 0.5)"}},
};

static const char *some_distribution(Generator *g, const Family *families, int count, Range range) {
  for (;;) {
    const Family *f = &families[below(g, count)];
    if (f->range != range) continue;
    int n = 0;
    while (n < 12 && f->distributions[n]) n++;
    return f->distributions[below(g, n)];
  }
}

static void put_distribution(Generator *g, const char *text, const Dims *dims, int depth) {
  put_template(g, &g->text, text, dims, depth);
}

enum { FAMILIES_OF_DATA = sizeof data_families / sizeof *data_families };
enum { FAMILIES_OF_LATENTS = sizeof latent_families / sizeof *latent_families };

typedef struct Declared {
  char name[16];
  Dims dims;
  const Family *family;
  bool enumerated; /* category or subset: summed out or relaxed by rules of its own */
} Declared;

static Declared put_data(Generator *g, int number) {
  Declared d = {.dims = some_dims(g, 2), .family = &data_families[below(g, FAMILIES_OF_DATA)]};
  if (number == 0) d.family = &data_families[0];
  snprintf(d.name, sizeof d.name, "x%d", number);
  write_text(&g->text, "data %s : %s", d.name, d.family->type);
  put_dims(&g->text, &d.dims);
  write_text(&g->text, ";\n");
  add_variable(g, d.name, &d.dims, d.family->range);
  return d;
}

static void put_params(Generator *g) {
  static const struct {
    Range range;
    const char *type, *rest[4];
  } kinds[] = {{REAL, "real", {"init normal(0, 1)", "init 0.3", "init uniform(-1, 1)", "fixed init 0.5"}},
               {POSITIVE, "positive", {"", "init 0.6", "init 2", "projected init 0.7"}},
               {UNIT, "unit", {"", "init 0.25", "init 0.5", "projected init 0.4"}},
               {REAL, "real", {"init laplace(0, 1)", "init normal(0, 0.1)", "init 1", "init -0.5"}}};
  for (int i = 1 + below(g, 4); i > 0; i--) {
    int kind = below(g, 4);
    Dims dims = some_dims(g, 2);
    char name[16];
    snprintf(name, sizeof name, "w%d", i);
    write_text(&g->text, "param %s : %s", name, kinds[kind].type);
    put_dims(&g->text, &dims);
    if (kind == 0 && dims.rank == 2 && chance(g, 50))
      write_text(&g->text, " unit_norm(over = %s)%s init normal(0, 1);\n", dim_names[dims.dims[below(g, 2)]],
                 chance(g, 50) ? " projected" : "");
    else if (kind == 0 && dims.rank == 1 && chance(g, 30))
      write_text(&g->text, " max_norm(0.8, over = %s) init normal(0, 1);\n", dim_names[dims.dims[0]]);
    else
      write_text(&g->text, " %s;\n", kinds[kind].rest[below(g, 4)]);
    add_variable(g, name, &dims, kinds[kind].range);
  }
}

/* A param that begins as the training data say. */
static void put_given_param(Generator *g, const Declared *x) {
  static const char *const starts[] = {"mean(%s, over = batch)", "median(%s, over = batch)",
                                       "0.1 + 0.5 * mean(%s, over = batch)", "rows(%s)"};
  const int start = below(g, 4);
  Dims dims = x->dims;
  if (start == 3) {
    dims = (Dims){1 + x->dims.rank, {other_dim(g, &x->dims, -1)}};
    memcpy(dims.dims + 1, x->dims.dims, sizeof(int) * (size_t)x->dims.rank);
  }
  write_text(&g->text, "param start : real");
  put_dims(&g->text, &dims);
  write_text(&g->text, " init ");
  write_text(&g->text, starts[start], x->name);
  write_text(&g->text, ";\n");
  add_variable(g, "start", &dims, REAL);
}

/* NAME = expression; in a network or, with `let` before it, outside. */
static void put_named(Generator *g, const char *before, const char *name, Range range, const Dims *dims, int depth) {
  write_text(&g->text, "%s%s = ", before, name);
  put_expression(g, &g->text, range, *dims, depth);
  write_text(&g->text, ";\n");
}

/* A network of what is there already; its fields are added as q0.f1 and so on. */
static void put_network(Generator *g, int number, const char *arguments) {
  int before = g->variable_count, count = 1 + below(g, 3);
  Variable fields[4];
  write_text(&g->text, "network q%d(%s) {\n", number, arguments);
  for (int i = 0; i < count; i++) {
    Dims dims = some_dims(g, 2);
    Range range = (Range)below(g, 3);
    snprintf(fields[i].name, sizeof fields[i].name, "f%d", g->fields++);
    put_named(g, "  ", fields[i].name, range, &dims, 1 + below(g, DEEPEST));
    add_variable(g, fields[i].name, &dims, range);
    fields[i].dims = dims;
    fields[i].range = range;
    if (range != REAL || chance(g, 50)) continue;
    write_text(&g->text, "  repeat %d%s {\n    step = ", 2 + below(g, 3), chance(g, 30) ? " untied" : "");
    put_expression(g, &g->text, REAL, dims, 2);
    write_text(&g->text, ";\n    %s = %s + tanh(step) / 3;\n  }\n", fields[i].name, fields[i].name);
  }
  write_text(&g->text, "}\n");
  g->variable_count = before;
  for (int i = 0; i < count; i++) {
    char name[64];
    snprintf(name, sizeof name, "q%d.%s", number, fields[i].name);
    add_variable(g, name, &fields[i].dims, fields[i].range);
  }
}

static void put_lets(Generator *g, int number) {
  for (int i = below(g, 3); i > 0; i--) {
    Dims dims = some_dims(g, 2);
    Range range = (Range)below(g, 4);
    char name[16];
    snprintf(name, sizeof name, "t%d_%d", number, i);
    put_named(g, "let ", name, range, &dims, 1 + below(g, DEEPEST));
    add_variable(g, name, &dims, range);
  }
}

static Declared put_latent(Generator *g, int number) {
  Declared d = {.dims = some_dims(g, 1), .family = &latent_families[chance(g, 60) ? 0 : below(g, FAMILIES_OF_LATENTS)]};
  snprintf(d.name, sizeof d.name, "z%d", number);
  write_text(&g->text, "latent %s : %s", d.name, d.family->type);
  put_dims(&g->text, &d.dims);
  write_text(&g->text, ";\nposterior %s ~ ", d.name);
  put_distribution(g, some_distribution(g, latent_families, FAMILIES_OF_LATENTS, d.family->range), &d.dims, 4);
  write_text(&g->text, ";\nprior %s ~ ", d.name);
  put_distribution(g, some_distribution(g, priors, sizeof priors / sizeof *priors, d.family->range), &d.dims, 2);
  write_text(&g->text, ";\n");
  return d;
}

/* A dim of few members. */
static int short_dim(Generator *g) {
  for (;;) {
    const int dim = below(g, DIMS);
    if (g->lengths[dim] > 2 && g->lengths[dim] < 12) return dim;
  }
}

/* A latent that is summed out over its values, or a relaxed choice of some of a dim. */
static Declared put_enumerated(Generator *g, int number) {
  static const struct {
    const char *type, *posterior, *prior;
  } kinds[] = {
      {"category(%s)", "sparsemax($R)", "categorical(prob = 1 / $#0)"},
      {"category(%s)", "entmax($R, alpha = 1.5)", "categorical(prob = 1 / $#0)"},
      {"category(%s)", "softmax($R)", "categorical(logits = $R)"},
      {"category(%s)", "categorical(logits = $R) by exact", "categorical(prob = 1 / $#0)"},
      {"binary[%s]", "top_k_sparsemax(2 * $R, k = 3)", "bernoulli(prob = 0.4)"},
      {"binary[%s]", "sparsemap(2 * $R, budget = 2)", "bernoulli(prob = 0.4)"},
      {"subset(2)[%s]", "gumbel_top_k(logits = $R, size = 2) by relaxed(temperature = 0.6)",
       "gumbel_top_k(logits = 0, size = 2)"},
      {"subset(2)[%s]", "gumbel_top_k(logits = $R, size = 2) by relaxed(temperature = 0.6, straight_through = true)",
       "gumbel_top_k(logits = 0, size = 2)"},
      {"subset(2)[%s]", "conditional_bernoulli(logits = $R, size = 2) by relaxed",
       "conditional_bernoulli(logits = $R, size = 2)"},
      {"subset(2)[%s]", "conditional_bernoulli(logits = $R, size = 2) by relaxed(straight_through = true)",
       "conditional_bernoulli(logits = 0, size = 2)"},
  };
  const int kind = below(g, sizeof kinds / sizeof *kinds);
  Declared d = {.dims = {1, {short_dim(g)}}, .family = &latent_families[FAMILIES_OF_LATENTS - 1], .enumerated = true};
  snprintf(d.name, sizeof d.name, "z%d", number);
  write_text(&g->text, "latent %s : ", d.name);
  write_text(&g->text, kinds[kind].type, dim_names[d.dims.dims[0]]);
  write_text(&g->text, ";\nposterior %s ~ ", d.name);
  put_distribution(g, kinds[kind].posterior, &d.dims, 3);
  write_text(&g->text, ";\nprior %s ~ ", d.name);
  put_distribution(g, kinds[kind].prior, &d.dims, 2);
  write_text(&g->text, ";\n");
  return d;
}

/* Data that are subsets, with their likelihood. */
static void put_tags(Generator *g) {
  const Dims dims = {1, {short_dim(g)}};
  write_text(&g->text, "data tags : subset(2)[%s];\nlet tag_count : integer(0, 2) = sum(tags);\n",
             dim_names[dims.dims[0]]);
  write_text(&g->text, "likelihood tags ~ ");
  put_distribution(g, "conditional_bernoulli(logits = $R, size = tag_count)", &dims, 3);
  write_text(&g->text, ";\n");
}

/* Data that are levels of a scale, under scores of few factors. */
static void put_levels(Generator *g) {
  static const Dims none = {.rank = 0};
  const Dims dims = {1, {other_dim(g, &none, -1)}};
  const int levels = 8 + below(g, 4);
  write_text(&g->text, "dim L = %d;\ndim R = 2;\ndata levels : integer(0, %d)[%s];\nlikelihood levels ~ ", levels,
             levels - 1, dim_names[dims.dims[0]]);
  put_distribution(g, "categorical(logits = dense(dense($[0e]R, R), L))", &dims, 3);
  write_text(&g->text, ";\n");
}

/* ---- whole specs --------------------------------------------------------------------------------------------- */

static void put_objective(Generator *g, const Declared *latents, int latent_count, bool likelihood, bool relaxed) {
  static const Dims number = {.rank = 0};
  const Declared *latent = latent_count ? &latents[below(g, latent_count)] : NULL;
  const char *z = latent && !latent->enumerated ? latent->name : NULL;
  if (!likelihood) {
    write_text(&g->text, "minimize ");
    put_expression(g, &g->text, REAL, number, DEEPEST);
    write_text(&g->text, " + ");
    put_expression(g, &g->text, POSITIVE, number, 3);
    for (int i = 0; i < latent_count; i++) write_text(&g->text, " + kl(%s)", latents[i].name);
    write_text(&g->text, ";\n");
    return;
  }
  int form = z ? below(g, 6) : 0;
  if (form == 3 && relaxed) form = 2; /* whose log density is that of the hard draw */
  switch (form) {
  case 0: write_text(&g->text, "objective elbo;\n"); break;
  case 1: write_text(&g->text, "objective elbo(kl_weight = warm);\n"); break;
  case 2: write_text(&g->text, "objective elbo(samples = 2);\n"); break;
  case 3: write_text(&g->text, "objective logmeanexp(log_weight, over = sample);\ntrain { samples = 3; }\n"); break;
  case 4: write_text(&g->text, "objective elbo - 0.1 * sum(max(mean(kl_each(%s), over = batch), 0.1));\n", z); break;
  default:
    write_text(&g->text, "objective elbo - 0.1 * ");
    put_expression(g, &g->text, REAL, number, 4);
    write_text(&g->text, ";\n");
  }
}

static void put_head(Generator *g, unsigned long long number) {
  write_text(&g->text, "# number %llu\nmodel fuzz;\nallow kl_monte_carlo;\n", number);
  put_dims_declared(g);
  write_text(&g->text, "schedule warm = min(1, (epoch + 1) / 10) * exp(-step / 1000);\n"
                       "layer scaled(v : real[n], start = 1) {\n  param gain : positive[n] init start;\n"
                       "  return gain * v;\n}\n");
}

/* A latent that is found for each row from the log joint, in place of a posterior. */
static void put_inference(Generator *g, const Declared *data) {
  static const char *const methods[] = {"map(steps = 3, step_size = 0.02)", "langevin(steps = 2, step_size = 0.05)",
                                        "ista(steps = 3, step_size = 0.02)", "fista(steps = 3, step_size = 0.02)"};
  const Dims dims = some_dims(g, 1);
  const int method = below(g, 4);
  g->twice = true;
  g->parameters = false;
  write_text(&g->text, "latent z : real");
  put_dims(&g->text, &dims);
  write_text(&g->text, ";\nprior z ~ %s;\n", method >= 2 || chance(g, 50) ? "laplace(0, 1)" : "normal(0, 1)");
  add_variable(g, "z", &dims, REAL);
  if (chance(g, 60)) put_network(g, 0, "z");
  write_text(&g->text, "likelihood %s ~ ", data->name);
  put_distribution(g, chance(g, 70) ? "normal($R + mean(z), $P)" : "student_t(4, $R + mean(z), $P)", &data->dims, 3);
  write_text(&g->text, ";\ninfer z by %s;\nmetric size = sum(abs(z));\n", methods[method]);
}

char *random_spec(unsigned long long number) {
  Generator g = {.random = {(number + 1) * 0x2545f4914f6cdd1du}, .parameters = true};
  Declared data[3], latents[3];
  int data_count = 1 + below(&g, 2), latent_count = below(&g, 3);
  bool relaxed = false;
  put_head(&g, number);
  for (int i = 0; i < data_count; i++) data[i] = put_data(&g, i);
  put_params(&g);
  if (chance(&g, 20)) put_given_param(&g, &data[0]);
  if (chance(&g, 15)) {
    static const Dims own = {.rank = 1, .dims = {2}};
    write_text(&g.text, "local own : real[C] init 0.3;\n");
    add_variable(&g, "own", &own, REAL);
  }
  if (chance(&g, 20)) {
    write_text(&g.text, "draw noise : real");
    put_dims(&g.text, &data[0].dims);
    write_text(&g.text, " ~ normal(x0, 0.3);\n");
    add_variable(&g, "noise", &data[0].dims, REAL);
  }
  if (chance(&g, 10)) {
    put_inference(&g, &data[0]);
    if (g.declared.length) write_text(&g.text, "%s", g.declared.bytes);
    free(g.declared.bytes);
    return g.text.bytes;
  }
  for (int i = 0; i < latent_count; i++) {
    put_lets(&g, i);
    if (chance(&g, 70)) put_network(&g, i, "");
    latents[i] = chance(&g, 30) ? put_enumerated(&g, i) : put_latent(&g, i);
    const Range range = latents[i].family->range;
    add_variable(&g, latents[i].name, &latents[i].dims, range == BINARY ? UNIT : range);
    relaxed = relaxed || range == BINARY;
  }
  put_lets(&g, 7);
  if (chance(&g, 60)) put_network(&g, 7, "");
  bool likelihood = chance(&g, 65);
  for (int i = 0; i < data_count && likelihood; i++) {
    write_text(&g.text, "likelihood %s ~ ", data[i].name);
    int n = 0;
    while (n < 12 && data[i].family->distributions[n]) n++;
    put_distribution(&g, data[i].family->distributions[below(&g, n)], &data[i].dims, 4);
    write_text(&g.text, ";\n");
  }
  if (likelihood && chance(&g, 10)) put_tags(&g);
  if (likelihood && chance(&g, 10)) put_levels(&g);
  put_objective(&g, latents, latent_count, likelihood, relaxed);
  for (int i = below(&g, 3); i > 0; i--) {
    char name[16];
    static const Dims single = {.rank = 0};
    snprintf(name, sizeof name, "m%d", i);
    put_named(&g, "metric ", name, REAL, &single, 3);
  }
  if (g.declared.length) write_text(&g.text, "%s", g.declared.bytes);
  free(g.declared.bytes);
  return g.text.bytes;
}
