/* See hand_graphs.h. */
#include "hand_graphs.h"

#include <math.h>

const char *const hand_graph_names[HAND_COUNT] = {"vae", "batch_norm", "free_bits", "unit_norm", "tied",
                                                  "max", "langevin",   "power",     "nested",    "convolution"};

enum { MAX_PARAMETERS = 12 };

typedef struct Builder {
  Compilation *c;
  Graph *graph;
  Signature *signature;
  Dim D, H, K;
  Shape code; /* [K] */
} Builder;

static const Shape scalar_shape = {0};

static Shape vector(Dim a) { return (Shape){.rank = 1, .dims = {a}}; }

static Shape matrix(Dim a, Dim b) { return (Shape){.rank = 2, .dims = {a, b}}; }

static Node *parameter(Builder *b, const char *name, Shape shape) {
  Signature *s = b->signature;
  s->parameters[s->parameter_count] = (Parameter){.name = intern(b->c, name), .shape = shape};
  return build_parameter(b->graph, s->parameter_count++);
}

static Node *two(Builder *b, Op op, Node *x, Node *y) { return build_map2(b->graph, op, x, y); }

static Node *by_number(Builder *b, Op op, Node *x, double number) {
  return two(b, op, x, build_filled(b->graph, number, &x->shape));
}

static Node *wide(Builder *b, Node *x, const Node *like) { /* a scalar over a vector's shape */
  return build_scalar_expand(b->graph, x, &like->shape);
}

static Node *rows(Builder *b) { return build_setting(b->graph, SETTING_ROWS_IN_BATCH); }

/* x [A] with W [A, B]; `turned`: W [B, A] */
static Node *product(Builder *b, Node *x, Node *w, bool turned) {
  int labels_x[] = {0}, labels_w[] = {turned ? 1 : 0, turned ? 0 : 1}, labels_out[] = {1};
  return build_contract(b->graph, x, labels_x, w, labels_w, 1, labels_out, 0);
}

static Node *dense(Builder *b, Node *x, const char *name, Dim out) {
  Node *w = parameter(b, arena_printf(b->c, "%s.W", name), matrix(x->shape.dims[0], out));
  Node *bias = parameter(b, arena_printf(b->c, "%s.b", name), vector(out));
  return two(b, IR_add, product(b, x, w, false), bias);
}

static Node *total(Builder *b, Node *x) { return build_sum(b->graph, x, (1u << x->shape.rank) - 1); }

/* The mean over all axes. */
static Node *mean_over_axes(Builder *b, Node *x) {
  Node *sum = build_sum_over(b->graph, x, x->axes);
  double samples = x->axes & AXIS_SAMPLE ? b->graph->samples : 1;
  Node *rows_wide = build_scalar_expand(b->graph, rows(b), &sum->shape);
  return two(b, IR_div, by_number(b, IR_div, sum, samples), rows_wide);
}

static Node *bernoulli(Builder *b, Node *x, Node *logits) {
  return total(b, two(b, IR_sub, two(b, IR_mul, x, logits), build_map1(b->graph, IR_softplus, logits)));
}

/* KL of normal(mu, exp(ls)) from laplace(0, 1)-like: log terms, a square and an absolute value, element by element. */
static Node *divergence(Builder *b, Node *mu, Node *log_sigma) {
  Node *variance = build_map1(b->graph, IR_exp, by_number(b, IR_mul, log_sigma, 2));
  Node *square = two(b, IR_add, two(b, IR_mul, mu, mu), variance);
  Node *gauss = by_number(b, IR_mul, two(b, IR_sub, square, by_number(b, IR_mul, log_sigma, 2)), 0.5);
  Node *ratio = two(b, IR_div, mu, build_map1(b->graph, IR_exp, log_sigma));
  return two(b, IR_add, by_number(b, IR_sub, gauss, 0.5),
             by_number(b, IR_mul, build_map1(b->graph, IR_erf, ratio), 0.1));
}

typedef struct Autoencoder {
  Node *x, *hidden, *mu, *log_sigma, *z, *divergence;
} Autoencoder;

static Autoencoder encode(Builder *b) {
  Autoencoder a = {.x = build_data(b->graph, 0)};
  a.hidden = build_map1(b->graph, IR_relu, dense(b, a.x, "q.h", b->H));
  a.mu = dense(b, a.hidden, "q.mu", b->K);
  a.log_sigma = dense(b, a.hidden, "q.log_sigma", b->K);
  Node *noise = build_noise(b->graph, 0);
  a.z = two(b, IR_add, a.mu, two(b, IR_mul, build_map1(b->graph, IR_exp, a.log_sigma), noise));
  a.divergence = divergence(b, a.mu, a.log_sigma);
  a.mu->name = intern(b->c, "q.mu");
  a.hidden->name = intern(b->c, "q.h");
  return a;
}

static Node *decode(Builder *b, Node *z) {
  Node *hidden = build_map1(b->graph, IR_relu, dense(b, z, "p.h", b->H));
  return dense(b, hidden, "p.logits", b->D);
}

static Node *vae(Builder *b) {
  Autoencoder a = encode(b);
  Node *likelihood = mean_over_axes(b, bernoulli(b, a.x, decode(b, a.z)));
  Node *kl = mean_over_axes(b, total(b, a.divergence));
  graph_output(b->graph, OUTPUT_TERM, intern(b->c, "kl"), -1, kl);
  graph_output(b->graph, OUTPUT_ROWS, intern(b->c, "codes"), -1, a.mu);
  graph_output(b->graph, OUTPUT_STATE, NULL, 0, by_number(b, IR_add, build_state(b->graph, 0), 1));
  return two(b, IR_sub, likelihood, kl);
}

static Node *free_bits(Builder *b) {
  Autoencoder a = encode(b);
  Node *likelihood = mean_over_axes(b, bernoulli(b, a.x, decode(b, a.z)));
  Node *kl = mean_over_axes(b, a.divergence); /* [K] */
  graph_output(b->graph, OUTPUT_METRIC, intern(b->c, "kl_each"), -1, kl);
  return two(b, IR_sub, likelihood, total(b, by_number(b, IR_max, kl, 0.4)));
}

static Node *normalised(Builder *b, Node *y) {
  Node *centred = two(b, IR_sub, y, mean_over_axes(b, y));
  Node *variance = mean_over_axes(b, two(b, IR_mul, centred, centred));
  Node *deviation = build_map1(b->graph, IR_sqrt, by_number(b, IR_add, variance, 1e-3));
  return two(b, IR_div, centred, deviation);
}

static Node *batch_norm(Builder *b) {
  Node *x = build_data(b->graph, 0);
  Node *hidden = build_map1(b->graph, IR_tanh, normalised(b, dense(b, x, "q.h", b->H)));
  Node *again = build_map1(b->graph, IR_tanh, normalised(b, dense(b, hidden, "q.z", b->K)));
  Node *running = by_number(b, IR_mul, build_state(b->graph, 0), 0.9);
  graph_output(b->graph, OUTPUT_STATE, NULL, 0, two(b, IR_add, running, mean_over_axes(b, total(b, again))));
  graph_output(b->graph, OUTPUT_ROWS, intern(b->c, "codes"), -1, again);
  return mean_over_axes(b, bernoulli(b, x, decode(b, again)));
}

static Node *unit_columns(Builder *b, Node *w) { /* [A, B], each of the B has length 1 */
  Node *square = build_sum(b->graph, two(b, IR_mul, w, w), 1);
  int map[] = {1};
  return two(b, IR_div, w, build_expand(b->graph, build_map1(b->graph, IR_sqrt, square), &w->shape, map));
}

static Node *unit_norm(Builder *b) {
  Autoencoder a = encode(b);
  Node *w = unit_columns(b, parameter(b, "p.W", matrix(b->D, b->K)));
  graph_output(b->graph, OUTPUT_EXPORT, intern(b->c, "p.W"), b->signature->parameter_count - 1, w);
  Node *error = two(b, IR_sub, a.x, product(b, a.z, w, true));
  Node *likelihood = mean_over_axes(b, total(b, two(b, IR_mul, error, error)));
  Node *prior = by_number(b, IR_mul, total(b, build_map1(b->graph, IR_abs, w)), 1e-3);
  return build_map1(b->graph, IR_neg,
                    two(b, IR_add, two(b, IR_add, likelihood, prior), mean_over_axes(b, total(b, a.divergence))));
}

static Node *tied(Builder *b) {
  Node *x = build_data(b->graph, 0), *w = parameter(b, "W", matrix(b->D, b->H));
  Node *hidden = build_map1(b->graph, IR_softplus, product(b, x, w, false));
  Node *error = two(b, IR_sub, x, product(b, hidden, w, true));
  return build_map1(b->graph, IR_neg, mean_over_axes(b, total(b, two(b, IR_mul, error, error))));
}

static Node *max_over_rows(Builder *b) {
  Autoencoder a = encode(b);
  Node *one = a.mu;
  Node *most = build_max_over(b->graph, one, AXIS_DATUM);
  Node *soft = build_sum_over(b->graph, build_map1(b->graph, IR_exp, two(b, IR_sub, one, most)), AXIS_DATUM);
  Node *log_sum = two(b, IR_add, build_map1(b->graph, IR_log, soft), build_map1(b->graph, IR_sin, most));
  Node *cut = two(b, IR_sub, a.z, wide(b, by_number(b, IR_mul, total(b, log_sum), 0.1), a.z));
  return mean_over_axes(b, bernoulli(b, a.x, decode(b, cut)));
}

/* Images of three channels, ten pixels wide: encoded and decoded with the same filters, and the inner gradient of an
 * energy in the image, so that the gradients of this are of the second order. */
static Node *convolution(Builder *b) {
  int height = (int)b->D.size / 30;
  Shape image = {.rank = 3, .dims = {dim_number(3), dim_number(height), dim_number(10)}};
  Shape filters = {.rank = 4, .dims = {dim_number(4), image.dims[0], dim_number(3), dim_number(4)}};
  Node *x = build_variable(b->graph, build_reshape(b->graph, build_data(b->graph, 0), &image)), *inner;
  Node *w = parameter(b, "W", filters);
  Node *features = build_map1(b->graph, IR_tanh, build_convolve(b->graph, x, w, 2, 1));
  Node *back = build_convolve_transpose(b->graph, features, w, 2, 1);
  Node *error = two(b, IR_sub, x, back);
  Node *energy = total(b, two(b, IR_mul, features, features));
  differentiate(b->graph, build_sum_over(b->graph, energy, AXIS_DATUM), &x, 1, &inner);
  graph_output(b->graph, OUTPUT_ROWS, intern(b->c, "force"), -1, inner);
  Node *both = two(b, IR_add, total(b, two(b, IR_mul, error, error)), total(b, two(b, IR_mul, inner, inner)));
  return build_map1(b->graph, IR_neg, mean_over_axes(b, both));
}

/* A decoder of weights that a loop's body and what follows the loop share. */
typedef struct Decoder {
  Node *hidden, *hidden_bias, *logits, *logits_bias;
} Decoder;

static Decoder make_decoder(Builder *b) {
  Decoder p = {.hidden = parameter(b, "p.h.W", matrix(b->K, b->H)), .hidden_bias = parameter(b, "p.h.b", vector(b->H))};
  p.logits = parameter(b, "p.logits.W", matrix(b->H, b->D));
  p.logits_bias = parameter(b, "p.logits.b", vector(b->D));
  return p;
}

static Node *log_joint(Builder *b, const Decoder *p, Node *x, Node *z) {
  Node *hidden = build_map1(b->graph, IR_relu, two(b, IR_add, product(b, z, p->hidden, false), p->hidden_bias));
  Node *logits = two(b, IR_add, product(b, hidden, p->logits, false), p->logits_bias);
  return two(b, IR_sub, bernoulli(b, x, logits), total(b, build_map1(b->graph, IR_abs, z)));
}

/* z + a (1 + round) / 2 * gradient + b * noise of the round, beside a running mean of z and a step size that decays. */
static Node *langevin(Builder *b) {
  enum { ROUNDS = 4 };
  Graph *graph = b->graph;
  Decoder p = make_decoder(b);
  Node *x = build_data(graph, 0), *round = build_round(graph), *start = build_noise(graph, 0), *gradient;
  Node *z = build_carried(graph, &start->shape, start->axes, NULL);
  Node *mean = build_carried(graph, &start->shape, start->axes, NULL);
  Node *size = build_carried(graph, &scalar_shape, 0, &(Facts){.low = 0, .high = 1, .finite = true});
  Node *joint = log_joint(b, &p, x, z);
  differentiate(graph, build_sum_over(graph, joint, joint->axes), &z, 1, &gradient);
  Node *step = wide(b, two(b, IR_mul, size, by_number(b, IR_add, by_number(b, IR_mul, round, 0.01), 0.02)), z);
  Node *noise = by_number(b, IR_mul, build_inner_noise(graph, 0, by_number(b, IR_add, round, 1)), 0.2);
  Node *next = two(b, IR_add, two(b, IR_add, z, two(b, IR_mul, gradient, step)), noise);
  Node *smooth = two(b, IR_add, by_number(b, IR_mul, mean, 0.5), by_number(b, IR_mul, z, 0.5));
  Node *results[3], *none = build_filled(graph, 0, &z->shape);
  Repeat loop = {.rounds = ROUNDS,
                 .round = round,
                 .count = 3,
                 .carried = (Node *[]){z, mean, size},
                 .initial = (Node *[]){start, none, build_constant(graph, 1)},
                 .next = (Node *[]){next, smooth, by_number(b, IR_mul, size, 0.9)}};
  build_repeat(graph, &loop, results);
  graph_output(graph, OUTPUT_METRIC, intern(b->c, "size"), -1, results[2]);
  if (results[1]->axes == AXIS_DATUM) graph_output(graph, OUTPUT_ROWS, intern(b->c, "codes"), -1, results[0]);
  return mean_over_axes(b, two(b, IR_add, log_joint(b, &p, x, results[0]), total(b, results[1])));
}

/* The decoder's columns are divided by the largest eigenvalue of W'W, found by power iterations. */
static Node *power(Builder *b) {
  enum { ROUNDS = 6 };
  Graph *graph = b->graph;
  Autoencoder a = encode(b);
  Node *w = parameter(b, "p.W", matrix(b->D, b->K)), *results[2];
  Shape line = vector(b->K);
  Node *u = build_carried(graph, &line, 0, NULL), *largest = build_carried(graph, &scalar_shape, 0, NULL);
  Node *v = product(b, product(b, u, w, true), w, false);
  Node *length = build_map1(graph, IR_sqrt, total(b, two(b, IR_mul, v, v)));
  Repeat loop = {.rounds = ROUNDS,
                 .count = 2,
                 .carried = (Node *[]){u, largest},
                 .initial = (Node *[]){build_filled(graph, 1, &line), build_constant(graph, 0)},
                 .next = (Node *[]){two(b, IR_div, v, wide(b, length, v)), length}};
  build_repeat(graph, &loop, results);
  Node *scaled = two(b, IR_div, w, wide(b, by_number(b, IR_add, results[1], 1), w));
  graph_output(graph, OUTPUT_METRIC, intern(b->c, "direction"), -1, results[0]);
  return two(b, IR_sub, mean_over_axes(b, bernoulli(b, a.x, product(b, a.z, scaled, true))),
             mean_over_axes(b, total(b, a.divergence)));
}

/* Outer rounds of two inner ones, between which u and v change places and one is divided by its length. What the loops
 * read from outside was kept of an earlier phase, is a statistic of the batch, or is transposed. */
static Node *nested(Builder *b) {
  enum { ROUNDS = 3, INNER = 2 };
  Graph *graph = b->graph;
  Node *x = build_data(graph, 0), *code = dense(b, x, "q.z", b->K), *inner_result, *results[2];
  Node *centred = two(b, IR_sub, code, mean_over_axes(b, code)), *w = parameter(b, "W", matrix(b->K, b->K));
  const Shape *shape = &centred->shape;
  Node *u = build_carried(graph, shape, AXIS_DATUM, NULL), *v = build_carried(graph, shape, AXIS_DATUM, NULL);
  Node *inner = build_carried(graph, shape, AXIS_DATUM, NULL), *round = build_round(graph);
  Node *pull = build_map1(graph, IR_tanh, two(b, IR_sub, product(b, centred, w, true), inner));
  Node *size = by_number(b, IR_mul, by_number(b, IR_add, round, 1), 0.25);
  Node *moved = two(b, IR_add, two(b, IR_add, inner, two(b, IR_mul, pull, wide(b, size, pull))),
                    product(b, by_number(b, IR_mul, v, 0.1), w, false));
  build_repeat(graph, &(Repeat){INNER, round, 1, &inner, &u, &moved}, &inner_result);
  Node *length = build_map1(graph, IR_sqrt, by_number(b, IR_add, total(b, two(b, IR_mul, v, v)), 1));
  Repeat loop = {.rounds = ROUNDS,
                 .count = 2,
                 .carried = (Node *[]){u, v},
                 .initial = (Node *[]){centred, build_filled(graph, 0.5, shape)},
                 .next = (Node *[]){two(b, IR_div, v, wide(b, length, v)), inner_result}};
  build_repeat(graph, &loop, results);
  graph_output(graph, OUTPUT_ROWS, intern(b->c, "codes"), -1, results[1]);
  Node *square = mean_over_axes(b, two(b, IR_mul, results[0], results[0])); /* so that the rest is of a later phase */
  Node *mixed = two(b, IR_add, results[0], two(b, IR_mul, two(b, IR_add, results[1], code), square));
  return mean_over_axes(b, bernoulli(b, x, dense(b, mixed, "p", b->D)));
}

static void add_gradients(Builder *b, Node *objective) {
  int count = b->signature->parameter_count;
  Node *leaves[MAX_PARAMETERS], *adjoints[MAX_PARAMETERS];
  for (int i = 0; i < count; i++) leaves[i] = build_parameter(b->graph, i);
  differentiate(b->graph, build_map1(b->graph, IR_neg, objective), leaves, count, adjoints);
  for (int i = 0; i < count; i++)
    graph_output(b->graph, OUTPUT_GRADIENT, b->signature->parameters[i].name, i, adjoints[i]);
}

Graph *hand_graph(Compilation *c, HandGraph which, int D, int H, int K, int samples) {
  Builder b = {.c = c};
  Dim dims[] = {dim_name(c, intern(c, "D"), D), dim_name(c, intern(c, "H"), H), dim_name(c, intern(c, "K"), K)};
  b.D = dims[0], b.H = dims[1], b.K = dims[2];
  Signature *s = b.signature = arena_new(c, Signature);
  s->parameters = arena_array(c, Parameter, MAX_PARAMETERS);
  s->data = arena_array(c, DataInput, 1);
  s->data[s->data_count++] =
      (DataInput){.name = intern(c, "x"), .shape = vector(b.D), .facts = {.low = 0, .high = 1, .finite = true}};
  s->noises = arena_array(c, Noise, 1);
  unsigned axes = AXIS_DATUM | (samples > 1 ? AXIS_SAMPLE : 0);
  s->noises[s->noise_count++] =
      (Noise){.name = intern(c, "z.e"), .kind = NOISE_NORMAL, .stream = 7, .shape = vector(b.K), .axes = axes};
  s->states = arena_array(c, State, 1);
  s->states[s->state_count++] = (State){.name = intern(c, "seen"), .start = 0.5};
  b.graph = graph_create(c, s, "train", samples);
  Node *(*const makers[HAND_COUNT])(Builder *) = {vae,           batch_norm, free_bits, unit_norm, tied,
                                                  max_over_rows, langevin,   power,     nested,    convolution};
  Node *objective = makers[which](&b);
  graph_output(b.graph, OUTPUT_OBJECTIVE, intern(c, "objective"), -1, objective);
  add_gradients(&b, objective);
  return simplify(b.graph);
}
