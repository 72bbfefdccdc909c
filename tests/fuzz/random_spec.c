/* A number -> the text of a spec that is right by construction. See random_spec.h.
 *
 * Expressions are made from templates. A template says what it gives (a range of values, a rank) and holds text in
 * which `$` asks for something:
 *   $R $P $U $B      an expression of the same shape: real, positive, in the unit interval, 0 or 1
 *   $[..]R           the same of another shape: 0 1 2 are the result's own dims, e f two dims that it does not have
 *   $0 $1 $e $f      the name of that dim; $#0 its length; $-0 its length less one
 *   $L $F            a lower-triangular matrix over dim 0, and filters [2, 1, 2, 2] (params, declared on demand)
 *   $S               a number: the name of a schedule, or a literal
 * Values stay moderate, so that rounding stays small: what grows fast is applied to bounded operands. */
#include "random_spec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../random_graph.h"

enum { DIMS = 5, RANKS = 3, MAX_VARIABLES = 64, DEEPEST = 5 };

typedef enum Range { REAL, POSITIVE, UNIT, BINARY } Range;

typedef struct Shape_ {
  int rank, dims[RANKS];
} Dims;

typedef struct Variable {
  char name[24];
  Dims dims;
  Range range;
} Variable;

typedef struct Text_ {
  char *bytes;
  size_t length, room;
} Writing;

typedef struct Generator {
  Random random;
  Writing text;     /* statements so far */
  Writing declared; /* params declared on demand */
  int lengths[DIMS];
  Variable variables[MAX_VARIABLES];
  int variable_count;
  bool lower[DIMS];    /* the lower-triangular param over this dim is declared */
  bool filters;        /* and the filters */
  bool twice;          /* what stands here is differentiated twice */
  bool parameters;     /* may layers stand here? */
  bool constant;       /* nothing but params and numbers may stand here */
  int samples, fields; /* numbers of names */
} Generator;

static const char *const dim_names[DIMS] = {"A", "B", "C", "D", "E"};

static void write_text(Writing *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void write_text(Writing *w, const char *format, ...) {
  char piece[4096];
  va_list list;
  va_start(list, format);
  size_t length = (size_t)vsnprintf(piece, sizeof piece, format, list);
  va_end(list);
  if (w->length + length + 1 > w->room) {
    w->room = 2 * (w->length + length + 1);
    w->bytes = realloc(w->bytes, w->room);
  }
  memcpy(w->bytes + w->length, piece, length + 1);
  w->length += length;
}

static int below(Generator *g, int count) { return random_below(&g->random, count); }
static bool chance(Generator *g, int percent) { return below(g, 100) < percent; }

/* ---- expressions --------------------------------------------------------------------------------------------- */

typedef struct Template {
  Range range;
  int rank; /* -1: any */
  const char *text;
} Template;

static const Template templates[] = {
    /* elementwise */
    {REAL, -1, "($R + $R)"},
    {REAL, -1, "($R - $R)"},
    {REAL, -1, "($R * $R)"},
    {REAL, -1, "($R / (1 + $P))"},
    {REAL, -1, "(-$R)"},
    {REAL, -1, "sin($R)"},
    {REAL, -1, "cos($R)"},
    {REAL, -1, "tan(tanh($R))"},
    {REAL, -1, "tanh($R)"},
    {REAL, -1, "erf($R)"},
    {REAL, -1, "relu($R)"},
    {REAL, -1, "sign($R)"},
    {REAL, -1, "floor($R)"},
    {REAL, -1, "expm1(tanh($R))"},
    {REAL, -1, "log($P)"},
    {REAL, -1, "log1p($P)"},
    {REAL, -1, "lgamma($P)"},
    {REAL, -1, "digamma($P)"},
    {REAL, -1, "polygamma(2, 0.5 + $P)"},
    {REAL, -1, "stirling(1, 1 + $P)"},
    {REAL, -1, "swish($R)"},
    {REAL, -1, "soft_threshold($R, 0.2)"},
    {REAL, -1, "straight_through($R, $R)"},
    {REAL, -1, "max($R, $R)"},
    {REAL, -1, "min($R, $R)"},
    {REAL, -1, "clip($R, -1, 2)"},
    {REAL, -1, "($R % (0.5 + $P))"},
    {REAL, -1, "($B ? $R : $R)"},
    {REAL, -1, "(training ? $R : $R)"},
    {REAL, -1, "stop($R)"},
    {REAL, -1, "($S * $R)"},
    {REAL, -1, "(tanh($R)^2)"},
    {REAL, -1, "(tanh($R)^3)"},
    {POSITIVE, -1, "(0.3 + softplus($R))"},
    {POSITIVE, -1, "exp(tanh($R))"},
    {POSITIVE, -1, "sqrt(0.1 + $P)"},
    {POSITIVE, -1, "(0.2 + abs($R))"},
    {POSITIVE, -1, "(0.5 + $U)"},
    {POSITIVE, -1, "($P + $P)"},
    {POSITIVE, -1, "((1 + $U) ^ tanh($R))"},
    {POSITIVE, -1, "(1 / (0.2 + $P))"},
    {POSITIVE, -1, "polygamma(1, 0.5 + $P)"},
    {POSITIVE, -1, "exponential_integral(1, 0.5 + $P)"},
    {POSITIVE, -1, "(0.05 + gamma_quantile(0.1 + 0.8 * $U, 0.5 + $P))"},
    {POSITIVE, -1, "($B ? 1 + $U : $P)"},
    {UNIT, -1, "sigmoid($R)"},
    {UNIT, -1, "($U * $U)"},
    {UNIT, -1, "(1 - $U)"},
    {UNIT, -1, "(1 / (1 + $P))"},
    {UNIT, -1, "beta_quantile(0.1 + 0.8 * $U, 0.5 + $P, 0.5 + $P)"},
    {UNIT, -1, "clip($R, 0.05, 0.95)"},
    {BINARY, -1, "($R < $R)"},
    {BINARY, -1, "($R <= $R)"},
    {BINARY, -1, "($R > $R)"},
    {BINARY, -1, "(floor($R) == floor($R))"},
    {BINARY, -1, "(floor($R) != floor($R))"},
    {BINARY, -1, "($B and $B)"},
    {BINARY, -1, "($B or $B)"},
    {BINARY, -1, "(not $B)"},
    /* numbers */
    {REAL, 0, "sum($[e]R)"},
    {REAL, 0, "sum($[ef]R)"},
    {REAL, 0, "mean($[e]R)"},
    {REAL, 0, "max($[e]R)"},
    {REAL, 0, "min($[ef]R)"},
    {REAL, 0, "logsumexp($[e]R)"},
    {REAL, 0, "logmeanexp($[ef]R)"},
    {REAL, 0, "dot($[e]R, $[e]R)"},
    {REAL, 0, "argmax($[e]R)"},
    {REAL, 0, "($[e]R)[1]"},
    {REAL, 0, "kl(normal($R, $P), normal($R, $P))"},
    {REAL, 0, "kl(normal($R, $P), laplace(0, 1))"},
    {REAL, 0, "entropy(normal($R, $P))"},
    {REAL, 0, "log_pdf(laplace($R, $P), $R)"},
    {POSITIVE, 0, "norm(1 + $[e]R)"},
    {POSITIVE, 0, "(0.1 + norm($[ef]P))"},
    /* vectors */
    {REAL, 1, "sum($[0e]R, over = $e)"},
    {REAL, 1, "sum($[e0]R, over = $e)"},
    {REAL, 1, "mean($[0e]R, over = $e)"},
    {REAL, 1, "max($[0e]R, over = $e)"},
    {REAL, 1, "max($[e0]R, over = $e)"},
    {REAL, 1, "sum($[e0f]R, over = [$e, $f])"},
    {REAL, 1, "logsumexp($[0e]R, over = $e)"},
    {REAL, 1, "logmeanexp($[e0]R, over = $e)"},
    {REAL, 1, "($[0e]R @ $[e]R)"},
    {REAL, 1, "(($[e0]R)' @ $[e]R)"},
    {REAL, 1, "($[e0]R)[1]"},
    {REAL, 1, "($R + $[]R)"},
    {REAL, 1, "($[]R * $R)"},
    {REAL, 1, "cumsum($R)"},
    {REAL, 1, "tail_sum($R)"},
    {REAL, 1, "normalize($P)"},
    {REAL, 1, "clip_norm($R, 1.5)"},
    {REAL, 1, "group_threshold($P, 0.3)"},
    {REAL, 1, "log_softmax($R)"},
    {REAL, 1, "concat(($R)[0 .. 1], ($R)[1 .. $#0])"},
    {REAL, 1, "concat(($R)[0 .. $-0], ones(1))"},
    {REAL, 1, "(($R)[0 .. $#0])"},
    {REAL, 1, "solve($L, $R)"},
    {REAL, 1, "($L @ $R)"},
    {REAL, 1, "diag(outer($R, $R))"},
    {REAL, 1, "(diag($R) @ $R)"},
    {REAL, 1, "(lower_part(outer($R, $R)) @ $R)"},
    {REAL, 1, "(identity($0) @ $R)"},
    {REAL, 1, "argmax($[0e]R)"},
    {REAL, 1, "top_k($R, 1)"},
    {REAL, 1, "top_k($R, 2, over = $0)"},
    {BINARY, 1, "top_mask($R, 1)"},
    {UNIT, 1, "softmax($R)"},
    {BINARY, 1, "hardmax($R)"},
    {POSITIVE, 1, "(0.1 + norm($[0e]P, over = $e))"},
    {POSITIVE, 1, "($[]P * $P)"},
    /* images */
    {REAL, 0, "sum(convolve(expand($[ef]R, 1), $F))"},
    {REAL, 0, "mean(convolve(expand($[ef]R, 1), $F, padding = 1)^2)"},
    {REAL, 0, "sum(tanh(convolve_transpose(expand($[ef]R, 2), $F)))"},
    {REAL, 0, "max(convolve_transpose(expand($[ef]R, 2), $F, stride = 2))"},
    /* matrices */
    {REAL, 2, "top_k($R, 1)"},
    {REAL, 2, "top_k($R, 1, over = $0)"},
    {REAL, 2, "outer($[0]R, $[1]R)"},
    {REAL, 2, "($[0e]R @ $[e1]R)"},
    {REAL, 2, "(($[10]R)')"},
    {REAL, 2, "(($[e0]R)' @ $[e1]R)"},
    {REAL, 2, "($R + $[1]R)"},
    {REAL, 2, "($[0]R * $R)"},
    {REAL, 2, "expand($[1]R, $0)"},
    {REAL, 2, "reshape(flatten($[10]R), [$0, $1])"},
    {REAL, 2, "sum($[01e]R, over = $e)"},
    {REAL, 2, "max($[0e1]R, over = $e)"},
    {REAL, 2, "cumsum($R, over = $0)"},
    {REAL, 2, "tail_sum($R)"},
    {REAL, 2, "normalize($P, over = $0)"},
    {REAL, 2, "log_softmax($R, over = $0)"},
    {REAL, 2, "(diag($[0]R) @ $R)"},
    {UNIT, 2, "softmax($R)"},
    {UNIT, 2, "softmax($R, over = $0)"},
    {BINARY, 2, "hardmax($R)"},
    /* three dims */
    {REAL, 3, "($[01]R * $R)"},
    {REAL, 3, "($[12]R + $R)"},
    {REAL, 3, "expand($[12]R, $0)"},
    {REAL, 3, "cumsum($R, over = $1)"},
    {UNIT, 3, "softmax($R, over = $2)"},
};

/* Where layers may stand. */
static const Template layer_templates[] = {
    {REAL, 1, "dense($[e]R, $0)"},
    {REAL, 1, "relu(dense($[e]R, $0))"},
    {REAL, 1, "dense($[e]R, $0, bias = false)"},
    {REAL, 1, "residual($R, 3)"},
    {REAL, 1, "batch_norm($R)"},
    {REAL, 2, "dense($[0e]R, $1)"},
    {REAL, 1, "scaled($R, start = 1.5)"},
};

/* Where rows of the batch may be looked at together. */
static const Template batch_templates[] = {
    {REAL, -1, "($R - mean($R, over = batch))"},
    {REAL, -1, "max($R, over = batch)"},
    {REAL, -1, "($R - running_mean(mean($R, over = batch), decay = 0.9))"},
    {REAL, 0, "running_mean(max($R, over = batch), start = 1)"},
    {POSITIVE, 0, "(rows_in_batch / 4)"},
    {REAL, 1, "top_k($R + 0.1 * mean(x0), rows_in_batch, over = [batch, $0])"},
};

static void put_expression(Generator *g, Writing *out, Range range, Dims dims, int depth);

static bool has_dim(const Dims *dims, int dim) {
  for (int i = 0; i < dims->rank; i++)
    if (dims->dims[i] == dim) return true;
  return false;
}

static int other_dim(Generator *g, const Dims *dims, int avoid) {
  for (;;) {
    int dim = below(g, DIMS);
    if (!has_dim(dims, dim) && dim != avoid) return dim;
  }
}

static void put_ones(Writing *out, const Dims *dims) {
  for (int i = 0; i < dims->rank; i++) write_text(out, "%s%s", i ? ", " : " * ones(", dim_names[dims->dims[i]]);
  if (dims->rank) write_text(out, ")");
}

/* May the variable's dims be broadcast to these? */
static bool lies_in(const Dims *part, const Dims *whole) {
  int found = 0;
  for (int i = 0; i < whole->rank && found < part->rank; i++) found += whole->dims[i] == part->dims[found];
  return found == part->rank;
}

/* A variable, brought to this shape. */
static void put_variable(Generator *g, Writing *out, const Variable *v, Range range, const Dims *dims) {
  bool same = v->dims.rank == dims->rank && lies_in(&v->dims, dims), inside = lies_in(&v->dims, dims);
  bool reduced = !inside && v->dims.rank > 0;
  const char *name = reduced ? (range == BINARY ? "max" : chance(g, 70) ? "mean" : "logmeanexp") : "";
  if (reduced && strcmp(name, "logmeanexp") == 0 && v->range != REAL) name = "mean";
  if (same && range != BINARY)
    write_text(out, "%s", v->name);
  else
    write_text(out, "(%s%s%s%s", name, reduced ? "(" : "", v->name, reduced ? ")" : "");
  if (same && range != BINARY) return;
  if (!same) put_ones(out, dims);
  write_text(out, range == BINARY ? " > 0.4)" : ")");
}

/* Something to begin with: a variable, or a number. */
static void put_leaf(Generator *g, Writing *out, Range range, const Dims *dims) {
  static const char *const numbers[4][4] = {
      {"0.7", "-1.3", "2", "0.1"}, {"0.8", "1.7", "2.5", "0.4"}, {"0.3", "0.6", "0.5", "0.9"}, {"1", "0", "1", "0"}};
  for (int tries = 0; tries < 12 && g->variable_count > 0; tries++) {
    const Variable *v = &g->variables[below(g, g->variable_count)];
    if (range != REAL && range != BINARY && v->range != range) continue;
    if (tries < 6 && !(v->dims.rank == dims->rank && lies_in(&v->dims, dims))) continue;
    put_variable(g, out, v, range, dims);
    return;
  }
  write_text(out, "(%s", numbers[range][below(g, 4)]);
  put_ones(out, dims);
  write_text(out, ")");
}

static const char *lower_param(Generator *g, int dim) {
  static const char *const names[DIMS] = {"L_A", "L_B", "L_C", "L_D", "L_E"};
  if (!g->lower[dim])
    write_text(&g->declared, "param %s : lower_triangular[%s, %s] init identity(%s);\n", names[dim], dim_names[dim],
               dim_names[dim], dim_names[dim]);
  g->lower[dim] = true;
  return names[dim];
}

static const char *filter_param(Generator *g) {
  if (!g->filters) write_text(&g->declared, "param filters : real[2, 1, 2, 2] init normal(0, 0.5);\n");
  g->filters = true;
  return "filters";
}

typedef struct Filling { /* of one template */
  Dims dims;
  int extra[2]; /* dims e, f */
  int depth;
} Filling;

static int dim_of_letter(const Filling *f, char letter) {
  return letter == 'e' || letter == 'f' ? f->extra[letter - 'e'] : f->dims.dims[letter - '0'];
}

static Range range_of_letter(char letter) {
  return letter == 'R' ? REAL : letter == 'P' ? POSITIVE : letter == 'U' ? UNIT : BINARY;
}

/* What stands after a `$`; returns where the template goes on. */
static const char *fill(Generator *g, Writing *out, const Filling *f, const char *at) {
  Dims dims = f->dims;
  if (*at == '[') {
    for (dims.rank = 0, at++; *at != ']'; at++) dims.dims[dims.rank++] = dim_of_letter(f, *at);
    at++;
  }
  switch (*at) {
  case 'R':
  case 'P':
  case 'U':
  case 'B': put_expression(g, out, range_of_letter(*at), dims, f->depth - 1); return at + 1;
  case '#': write_text(out, "%d", g->lengths[dim_of_letter(f, at[1])]); return at + 2;
  case '-': write_text(out, "%d", g->lengths[dim_of_letter(f, at[1])] - 1); return at + 2;
  case 'L': write_text(out, "%s", lower_param(g, f->dims.dims[0])); return at + 1;
  case 'F': write_text(out, "%s", filter_param(g)); return at + 1;
  case 'S': write_text(out, "%s", g->constant || chance(g, 60) ? "0.5" : "warm"); return at + 1;
  default: write_text(out, "%s", dim_names[dim_of_letter(f, *at)]); return at + 1;
  }
}

static void put_template(Generator *g, Writing *out, const char *text, const Dims *dims, int depth) {
  Filling f = {.dims = *dims, .depth = depth};
  f.extra[0] = other_dim(g, dims, -1);
  f.extra[1] = other_dim(g, dims, f.extra[0]);
  for (const char *at = text; *at;) {
    if (*at == '$') {
      at = fill(g, out, &f, at + 1);
      continue;
    }
    write_text(out, "%c", *at++);
  }
}

static const char *some_template(Generator *g, const Template *table, int count, Range range, int rank) {
  int fitting[256], found = 0;
  for (int i = 0; i < count; i++) {
    if (table[i].range != range || (table[i].rank >= 0 && table[i].rank != rank)) continue;
    if (!g->twice || !strstr(table[i].text, "quantile")) fitting[found++] = i;
  }
  return found ? table[fitting[below(g, found)]].text : NULL;
}

#define SOME(table, range, rank) some_template(g, table, sizeof table / sizeof *table, range, rank)

static void put_expression(Generator *g, Writing *out, Range range, Dims dims, int depth) {
  const char *text = NULL;
  if (depth <= 0 || chance(g, 12)) {
    put_leaf(g, out, range, &dims);
    return;
  }
  if (g->parameters && chance(g, 15)) text = SOME(layer_templates, range, dims.rank);
  if (!text && g->parameters && chance(g, 7)) text = SOME(batch_templates, range, dims.rank);
  if (!text) text = SOME(templates, range, dims.rank);
  if (text)
    put_template(g, out, text, &dims, depth);
  else
    put_leaf(g, out, range, &dims);
}

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

/* ---- whole specs --------------------------------------------------------------------------------------------- */

static void put_objective(Generator *g, const Declared *latents, int latent_count, bool likelihood, bool relaxed) {
  static const Dims number = {.rank = 0};
  const char *z = latent_count ? latents[below(g, latent_count)].name : NULL;
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
    latents[i] = put_latent(&g, i);
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
