/* Expressions of random specs, made from templates. A template says what it gives (a range of values, a rank) and holds
 * text in which `$` asks for something:
 *   $R $P $U $B      an expression of the same shape: real, positive, in the unit interval, 0 or 1
 *   $[..]R           the same of another shape: 0 1 2 are the result's own dims, e f two dims that it does not have
 *   $0 $1 $e $f      the name of that dim; $#0 its length; $-0 its length less one
 *   $L $F            a lower-triangular matrix over dim 0, and filters [2, 1, 2, 2] (params, declared on demand)
 *   $S               a number: the name of a schedule, or a literal
 * Values stay moderate, so that rounding stays small: what grows fast is applied to bounded operands. */
#include "generator.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const dim_names[DIMS] = {"A", "B", "C", "D", "E"};

void write_text(Writing *w, const char *format, ...) {
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

int below(Generator *g, int count) { return random_below(&g->random, count); }
bool chance(Generator *g, int percent) { return below(g, 100) < percent; }

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
    {POSITIVE, 0, "(0.1 + norm(1 + $[e]R))"},
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
    {REAL, 1, "(cholesky(identity($0) + outer(tanh($R), tanh($R)) / (2 * $#0)) @ $R)"},
    {UNIT, 1, "sparsemax($R)"},
    {UNIT, 1, "entmax($R, alpha = 1.5)"},
    {UNIT, 2, "sparsemax($R, over = $0)"},
    {UNIT, 2, "entmax($R, alpha = 1.3)"},
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

static bool has_dim(const Dims *dims, int dim) {
  for (int i = 0; i < dims->rank; i++)
    if (dims->dims[i] == dim) return true;
  return false;
}

int other_dim(Generator *g, const Dims *dims, int avoid) {
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

void put_template(Generator *g, Writing *out, const char *text, const Dims *dims, int depth) {
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

void put_expression(Generator *g, Writing *out, Range range, Dims dims, int depth) {
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
