/* See diagnose.h. Data are invented from their declared range, parameters start where the model says, shaken a little
 * so that nothing sits exactly on a symmetry or a kink. */
#include "diagnose.h"
#include "run_double.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, STEP_SIZES = 9 };
const double diagnose_tolerance = 1e-6, diagnose_compiled_tolerance = 1e-9;

typedef struct Prober {
  Compilation *c;
  const Graph *train, *objective; /* objective: train without its adjoints */
  const Node *value;              /* of the objective in `objective` */
  Bindings bindings;
  double **parameters, **data, **states, **row_states, **held;
  uint64_t random, branches;
} Prober;

/* ---- invention ----------------------------------------------------------------------------------------------- */

static uint64_t next_bits(Prober *p) { /* splitmix64 */
  uint64_t z = (p->random += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static double uniform(Prober *p) { return ((double)(next_bits(p) >> 11) + 0.5) / 9007199254740992.0; }

static double normal(Prober *p) {
  double radius = sqrt(-2 * log(uniform(p)));
  return radius * cos(6.283185307179586 * uniform(p));
}

static double invent(Prober *p, const Facts *facts) {
  bool below = isfinite(facts->low), above = isfinite(facts->high);
  if (facts->integer) {
    double low = below ? facts->low : above ? facts->high - 4 : -2, high = above ? facts->high : low + 4;
    return floor(low + (high - low + 1) * uniform(p));
  }
  if (below && above) return facts->low + (facts->high - facts->low) * uniform(p);
  if (below) return facts->low - log(uniform(p));
  if (above) return facts->high + log(uniform(p));
  return normal(p);
}

/* Every third value is missing: of a row of numbers some, of rows with one value one row. */
static void leave_gaps(const DataInput *data, double *values, long count) {
  long line = data->categories ? data->categories : data->most ? (long)data->shape.dims[data->shape.rank - 1].size : 1;
  for (long i = 0; i < count; i++)
    if (i / line % 3 == 1) values[i] = (double)NAN;
}

static void invent_data(Prober *p, const Signature *s) {
  p->data = arena_array(p->c, double *, s->data_count);
  for (int d = 0; d < s->data_count; d++) {
    long count = ROWS * shape_size(&s->data[d].shape);
    p->data[d] = arena_array(p->c, double, count);
    long n = s->data[d].categories;
    for (long i = 0; i < count; i++) p->data[d][i] = n ? 0 : invent(p, &s->data[d].facts);
    for (long i = 0; n && i < count; i += n) p->data[d][i + (long)(next_bits(p) % (uint64_t)n)] = 1;
    if (s->data[d].missing_ok) leave_gaps(&s->data[d], p->data[d], count);
  }
}

static const double *const *invent_givens(Prober *p, const Signature *s) {
  double **givens = arena_array(p->c, double *, s->given_count);
  for (int g = 0; g < s->given_count; g++) {
    long size = shape_size(&s->givens[g].shape);
    givens[g] = arena_array(p->c, double, size);
    for (long i = 0; i < size; i++) givens[g][i] = invent(p, &s->givens[g].facts);
  }
  return (const double *const *)givens;
}

static const Output *find_output(const Graph *g, OutputRole role, int index) {
  for (int i = 0; i < g->output_count; i++)
    if (g->outputs[i].role == role && (index < 0 || g->outputs[i].index == index)) return &g->outputs[i];
  return NULL;
}

static const char *make_parameters(Prober *p, const Signature *s, const Graph *initialise) {
  Bindings none = p->bindings;
  p->parameters = arena_array(p->c, double *, s->parameter_count);
  for (int i = 0; i < s->parameter_count; i++)
    p->parameters[i] = arena_array(p->c, double, shape_size(&s->parameters[i].shape));
  none.parameters = (const double *const *)p->parameters;
  none.givens = invent_givens(p, s);
  if (s->parameter_count == 0) return NULL; /* nothing to start, nothing to test */
  Evaluation *e = initialise ? interpret(initialise, &none) : NULL;
  if (!e) return "the model has no initial values";
  const char *problem = e->problem;
  for (int i = 0; i < s->parameter_count && !problem; i++) {
    const Output *output = find_output(initialise, OUTPUT_INITIAL, i);
    long size = shape_size(&s->parameters[i].shape);
    if (output) memcpy(p->parameters[i], e->values[output->value->id], sizeof(double) * (size_t)size);
    /* A projected parameter has to stay where its density and its uses are defined. */
    for (long k = 0; k < size && !s->parameters[i].projected && !s->parameters[i].fixed; k++)
      p->parameters[i][k] += 0.05 * normal(p);
  }
  evaluation_free(e, initialise);
  return problem;
}

static void make_states(Prober *p, const Signature *s) {
  p->states = arena_array(p->c, double *, s->state_count);
  for (int i = 0; i < s->state_count; i++) {
    long size = shape_size(&s->states[i].shape);
    p->states[i] = arena_array(p->c, double, size);
    for (long k = 0; k < size; k++) p->states[i][k] = s->states[i].start;
  }
}

/* Where a fresh row begins, shaken like parameters. */
static const char *make_row_states(Prober *p, const Signature *s, const Graph *initialise) {
  p->row_states = arena_array(p->c, double *, s->row_state_count);
  if (s->row_state_count == 0) return NULL;
  Evaluation *e = initialise ? interpret(initialise, &p->bindings) : NULL;
  if (!e) return "the model has no initial values of its locals";
  const char *problem = e->problem;
  for (int i = 0; i < s->row_state_count; i++) {
    const Output *output = find_output(initialise, OUTPUT_ROW_INITIAL, i);
    long count = ROWS * shape_size(&s->row_states[i].shape);
    p->row_states[i] = arena_array(p->c, double, count);
    if (output && !problem) memcpy(p->row_states[i], e->values[output->value->id], sizeof(double) * (size_t)count);
    for (long k = 0; k < count; k++) p->row_states[i][k] += 0.05 * normal(p);
  }
  evaluation_free(e, initialise);
  return problem;
}

/* ---- differences --------------------------------------------------------------------------------------------- */

static bool evaluate(Prober *p, bool replay, double *objective, uint64_t *branches) {
  Bindings bindings = p->bindings;
  bindings.held = p->held;
  bindings.replay = replay;
  Evaluation *e = interpret(p->objective, &bindings);
  bool fine = e && !e->problem;
  if (fine) *objective = p->value->op == IR_constant ? p->value->number : e->values[p->value->id][0];
  if (fine) *branches = e->branches;
  if (e) evaluation_free(e, p->objective);
  return fine;
}

typedef enum Probe { PROBE_FOUND, PROBE_KINK, PROBE_FAILED } Probe;

/* Sixth-order central differences at one step size. */
static Probe difference_at(Prober *p, double *element, double step, double *slope) {
  static const double weights[] = {45, -9, 1};
  double kept = *element, sum = 0;
  Probe result = PROBE_FOUND;
  for (int k = 1; k <= 3 && result == PROBE_FOUND; k++)
    for (int side = -1; side <= 1 && result == PROBE_FOUND; side += 2) {
      double objective = 0;
      uint64_t branches = 0;
      *element = kept + side * k * step;
      if (!evaluate(p, true, &objective, &branches))
        result = PROBE_FAILED;
      else if (branches != p->branches)
        result = PROBE_KINK;
      sum += side * weights[k - 1] * objective;
    }
  *element = kept;
  *slope = sum / (60 * step);
  return result;
}

/* Large steps first, since the rounding of the objective is divided by them; then smaller ones, until two in a row
 * agree or get no closer: the finer of the closest two counts. Steps that cross a kink do not. */
static Probe difference(Prober *p, double *element, double scale, double *slope, double *step) {
  double size = 0.128 * scale, last = NAN, closest = INFINITY;
  Probe result = PROBE_KINK;
  for (int i = 0; i < STEP_SIZES; i++) {
    double found;
    size /= 4;
    Probe probe = difference_at(p, element, size, &found);
    if (probe == PROBE_FAILED) return probe;
    if (probe == PROBE_KINK) continue;
    double apart = isnan(last) ? INFINITY : fabs(found - last);
    if (result == PROBE_KINK || apart < closest) {
      *slope = found;
      *step = size;
      closest = apart;
    } else
      break;
    result = PROBE_FOUND;
    if (apart <= 1e-8 * fabs(found)) break;
    last = found;
  }
  return result;
}

/* ---- one tensor ---------------------------------------------------------------------------------------------- */

static double root_mean_square(const double *values, long count) {
  double sum = 0;
  for (long i = 0; i < count; i++) sum += values[i] * values[i];
  return count > 0 ? sqrt(sum / (double)count) : 0;
}

/* Elements to test: all of a small tensor; of a large one the largest gradient and some at random. */
static long choose(Prober *p, const double *gradient, long size, int wanted, long *chosen) {
  long count = 0, largest = 0;
  if (size <= wanted) {
    for (; count < size; count++) chosen[count] = count;
    return count;
  }
  for (long i = 1; i < size; i++)
    if (fabs(gradient[i]) > fabs(gradient[largest])) largest = i;
  chosen[count++] = largest;
  while (count < wanted) {
    long element = (long)(next_bits(p) % (uint64_t)size);
    bool taken = false;
    for (long i = 0; i < count; i++) taken = taken || chosen[i] == element;
    if (!taken) chosen[count++] = element;
  }
  return count;
}

static bool test_tensor(Prober *p, TensorReport *report, double *values, const double *gradient, int elements,
                        double objective) {
  long *chosen = arena_array(p->c, long, elements);
  long count = choose(p, gradient, report->size, elements, chosen);
  double rms = root_mean_square(gradient, report->size), scale = root_mean_square(values, report->size);
  for (long i = 0; i < count; i++) {
    double slope, step, *element = &values[chosen[i]];
    Probe probe = difference(p, element, fmax(fmax(fabs(*element), scale), 0.1), &slope, &step);
    if (probe == PROBE_FAILED) return false;
    report->tested++;
    if (probe == PROBE_KINK) {
      report->kinks++;
      continue;
    }
    slope = -slope; /* gradients are of minus the objective */
    /* What rounding does to the differences; a gradient that drowns in it is held to it. */
    double noise = 1e-15 * (fabs(objective) + 1) / step;
    double size = fmax(fmax(fabs(gradient[chosen[i]]), 0.01 * rms), fmax(noise / diagnose_tolerance, 1e-12));
    double error = fabs(slope - gradient[chosen[i]]) / size;
    if (report->worst_element >= 0 && error <= report->worst) continue;
    if (isnan(error)) error = INFINITY;
    report->worst = error;
    report->worst_element = chosen[i];
    report->found = gradient[chosen[i]];
    report->expected = slope;
  }
  return true;
}

/* ---- compiled code ------------------------------------------------------------------------------------------- */

static void compare_compiled(Prober *p, Diagnosis *d, const struct spm_model *compiled, double *const *gradients) {
  double **found = arena_array(p->c, double *, d->count);
  for (int i = 0; i < d->count; i++)
    if (d->tensors[i].has_gradient) found[i] = arena_array(p->c, double, d->tensors[i].size);
  d->compiled = run_double(compiled, &p->bindings, &d->compiled_objective, found);
  /* A gradient that is zero but for rounding (a bias before batch_norm) has no size of its own to be measured in. */
  double largest = 0;
  for (int i = 0; i < d->count; i++)
    if (d->tensors[i].has_gradient) largest = fmax(largest, root_mean_square(gradients[i], d->tensors[i].size));
  for (int i = 0; i < d->count && d->compiled; i++) {
    TensorReport *report = &d->tensors[i];
    if (!report->has_gradient) continue;
    double rms = root_mean_square(gradients[i], report->size);
    for (long k = 0; k < report->size; k++) {
      double apart =
          fabs(found[i][k] - gradients[i][k]) / fmax(fmax(rms, fabs(gradients[i][k])), fmax(1e-6 * largest, 1e-12));
      if (!(apart <= report->compiled)) report->compiled = isnan(apart) ? INFINITY : apart;
    }
  }
}

/* ---- all ----------------------------------------------------------------------------------------------------- */

static const char *prepare(Prober *p, const Graph *initialise, const Graph *initialise_rows) {
  const Signature *s = p->train->signature;
  p->bindings.rows = ROWS;
  p->bindings.settings[SETTING_EPOCH] = 1;
  p->bindings.settings[SETTING_STEP] = 10;
  p->bindings.settings[SETTING_ROWS_IN_BATCH] = ROWS;
  p->bindings.settings[SETTING_TOTAL_ROWS] = 1000;
  invent_data(p, s);
  make_states(p, s);
  p->bindings.data = (const double *const *)p->data;
  p->bindings.states = (const double *const *)p->states;
  const char *problem = make_parameters(p, s, initialise);
  p->bindings.parameters = (const double *const *)p->parameters;
  if (!problem) problem = make_row_states(p, s, initialise_rows);
  p->bindings.row_states = (const double *const *)p->row_states;
  return problem;
}

/* The train graph with the objective as its only output: differences need no adjoints. */
static bool cut_objective(Prober *p) {
  const Output *objective = find_output(p->train, OUTPUT_OBJECTIVE, -1);
  if (!objective) return false;
  Graph alone = *p->train;
  alone.outputs = arena_new(p->c, Output);
  alone.outputs[0] = *objective;
  alone.output_count = 1;
  p->objective = simplify(&alone);
  p->value = p->objective->outputs[0].value;
  p->held = arena_array(p->c, double *, p->objective->count);
  return true;
}

/* A local is one tensor of all rows. */
static const Parameter *tensor_of(Prober *p, const Signature *s, int index) {
  if (index < s->parameter_count) return &s->parameters[index];
  const RowState *local = &s->row_states[index - s->parameter_count];
  Parameter *all = arena_new(p->c, Parameter);
  *all = (Parameter){.name = local->name, .shape = local->shape, .span = local->span};
  for (int d = all->shape.rank++; d > 0; d--) all->shape.dims[d] = all->shape.dims[d - 1];
  all->shape.dims[0] = dim_name(p->c, intern(p->c, "rows"), ROWS);
  return all;
}

static const Output *gradient_output(const Graph *g, int index) {
  int parameters = g->signature->parameter_count;
  return index < parameters ? find_output(g, OUTPUT_GRADIENT, index)
                            : find_output(g, OUTPUT_ROW_GRADIENT, index - parameters);
}

static double *tensor_values(Prober *p, int index) {
  int parameters = p->train->signature->parameter_count;
  return index < parameters ? p->parameters[index] : p->row_states[index - parameters];
}

static const char *gradients_of(Prober *p, Diagnosis *d, double **gradients) {
  const Signature *s = p->train->signature;
  Evaluation *e = interpret(p->train, &p->bindings);
  if (!e || e->problem) return e ? e->problem : "out of memory";
  for (int i = 0; i < d->count; i++) {
    TensorReport *report = &d->tensors[i];
    const Output *output = gradient_output(p->train, i);
    *report = (TensorReport){.parameter = tensor_of(p, s, i), .worst_element = -1};
    report->size = shape_size(&report->parameter->shape);
    gradients[i] = arena_array(p->c, double, report->size);
    if (!output) continue;
    report->has_gradient = true;
    memcpy(gradients[i], e->values[output->value->id], sizeof(double) * (size_t)report->size);
    for (long k = 0; k < report->size; k++) report->largest = fmax(report->largest, fabs(gradients[i][k]));
  }
  evaluation_free(e, p->train);
  return NULL;
}

Diagnosis *diagnose(Compilation *c, const Graph *train, const Graph *initialise, const Graph *initialise_rows,
                    const struct spm_model *compiled, uint64_t seed, int elements) {
  Prober p = {.c = c, .train = train, .random = seed ^ 0x5deece66du, .bindings = {.seed = seed, .step = 10}};
  Diagnosis *d = arena_new(c, Diagnosis);
  d->rows = ROWS;
  d->count = train->signature->parameter_count + train->signature->row_state_count;
  d->tensors = arena_array(c, TensorReport, d->count);
  double **gradients = arena_array(c, double *, d->count);
  d->problem = prepare(&p, initialise, initialise_rows);
  if (!d->problem && !cut_objective(&p)) d->problem = "the model has no objective";
  if (!d->problem) d->problem = gradients_of(&p, d, gradients);
  if (!d->problem && !evaluate(&p, false, &d->objective, &p.branches)) d->problem = "out of memory";
  if (!d->problem && !evaluate(&p, true, &d->objective, &p.branches)) d->problem = "out of memory";
  if (!d->problem && !isfinite(d->objective))
    d->problem = "the objective is not finite near the initial values (they are moved by about 0.05)";
  for (int i = 0; i < d->count && !d->problem; i++)
    if (d->tensors[i].has_gradient &&
        !test_tensor(&p, &d->tensors[i], tensor_values(&p, i), gradients[i], elements, d->objective))
      d->problem = "out of memory";
  if (!d->problem && compiled) compare_compiled(&p, d, compiled, gradients);
  for (int i = 0; p.objective && i < p.objective->count; i++) free(p.held[i]);
  return d;
}
