/* Random programs: a pool of values grows by random ops on random members. Operands are brought into an op's domain
 * first (logarithms get positive values), and whatever may have grown large is tamed, so that values and derivatives
 * stay moderate and differences are meaningful. */
#include "random_graph.h"

#include <math.h>

uint64_t random_bits(Random *random) {
  uint64_t x = random->state += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

int random_below(Random *random, int count) { return (int)(random_bits(random) % (uint64_t)count); }

double random_between(Random *random, double low, double high) {
  return low + (high - low) * (double)(random_bits(random) >> 11) * 0x1p-53;
}

enum { MAX_POOL = 128, MAX_ELEMENTS = 300, MAX_PARAMETERS = 5 };

typedef struct Generator {
  Compilation *c;
  Graph *graph;
  Random random;
  Dim dims[3];
  Node *pool[MAX_POOL];
  double bound[MAX_POOL]; /* rough bound of the pool member's magnitude */
  int count;
  int loops; /* whose body is being made */
} Generator;

/* --- the signature --- */

static Shape random_shape(Generator *g, int max_rank) {
  Shape shape = {.rank = random_below(&g->random, max_rank + 1)};
  for (int d = 0; d < shape.rank; d++) shape.dims[d] = g->dims[random_below(&g->random, 3)];
  return shape;
}

static Name numbered(Generator *g, const char *name, int number) {
  return intern(g->c, arena_printf(g->c, "%s%d", name, number));
}

static Signature *random_signature(Generator *g) {
  Signature *s = arena_new(g->c, Signature);
  s->parameter_count = 2 + random_below(&g->random, MAX_PARAMETERS - 2);
  s->parameters = arena_array(g->c, Parameter, s->parameter_count);
  for (int i = 0; i < s->parameter_count; i++)
    s->parameters[i] = (Parameter){.name = numbered(g, "w", i), .shape = random_shape(g, 2)};
  s->data_count = 2;
  s->data = arena_array(g->c, DataInput, 2);
  Facts unit = {.low = 0, .high = 1, .finite = true}, real = {.low = -INFINITY, .high = INFINITY, .finite = true};
  s->data[0] = (DataInput){.name = intern(g->c, "x"), .shape = random_shape(g, 2), .facts = unit};
  s->data[1] = (DataInput){.name = intern(g->c, "y"), .shape = random_shape(g, 1), .facts = real};
  const unsigned axes[] = {AXIS_DATUM | AXIS_SAMPLE, AXIS_DATUM, 0};
  s->noise_count = 3;
  s->noises = arena_array(g->c, Noise, 3);
  for (int i = 0; i < 3; i++)
    s->noises[i] = (Noise){.name = numbered(g, "e", i),
                           .kind = i == 0 ? NOISE_UNIFORM : NOISE_NORMAL,
                           .stream = (unsigned)i + 1,
                           .shape = random_shape(g, 2),
                           .axes = axes[i]};
  s->state_count = 1;
  s->states = arena_array(g->c, State, 1);
  s->states[0] = (State){.name = intern(g->c, "mean"), .shape = random_shape(g, 1), .start = 0.5};
  s->row_state_count = 1;
  s->row_states = arena_array(g->c, RowState, 1);
  s->row_states[0] = (RowState){.name = intern(g->c, "own"), .shape = random_shape(g, 1)};
  return s;
}

/* --- the pool --- */

static void add(Generator *g, Node *node, double bound) {
  if (g->count == MAX_POOL || shape_size(&node->shape) > MAX_ELEMENTS || node->shape.rank > 4) return;
  g->pool[g->count] = node;
  g->bound[g->count++] = bound;
}

static Node *filled(Generator *g, double value, const Node *like) {
  return build_filled(g->graph, value, &like->shape);
}

static Node *two(Generator *g, Op op, Node *a, Node *b) { return build_map2(g->graph, op, a, b); }

/* Into (-4, 4), smoothly. */
static Node *tame(Generator *g, Node *x) {
  Node *divisor = build_map1(g->graph, IR_abs, two(g, IR_mul, x, filled(g, 0.25, x)));
  if (random_below(&g->random, 3) == 0)
    return two(g, IR_mul, filled(g, 2, x), build_map1(g->graph, IR_tanh, two(g, IR_mul, x, filled(g, 0.5, x))));
  return two(g, IR_div, x, two(g, IR_add, filled(g, 1, divisor), divisor));
}

/* A member of the pool, the newer the likelier, tamed. */
static Node *pick(Generator *g) {
  int a = random_below(&g->random, g->count), b = random_below(&g->random, g->count), at = a > b ? a : b;
  return g->bound[at] > 4 ? tame(g, g->pool[at]) : g->pool[at];
}

static Node *positive(Generator *g, Node *x) {
  Node *soft =
      build_map1(g->graph, random_below(&g->random, 2) ? IR_softplus : IR_exp, two(g, IR_mul, x, filled(g, 0.5, x)));
  return two(g, IR_add, soft, filled(g, 0.5, soft));
}

/* A member with this shape, made so by expanding what its sums leave if need be. */
static Node *pick_shaped(Generator *g, const Shape *shape) {
  Node *x = pick(g);
  for (int tries = 0; tries < 6; tries++) {
    bool same = x->shape.rank == shape->rank;
    for (int d = 0; d < shape->rank && same; d++) same = x->shape.dims[d].size == shape->dims[d].size;
    if (same) return x;
    int map[MAX_RANK], found = 0;
    for (int d = 0; d < shape->rank && found < x->shape.rank; d++)
      if (x->shape.dims[found].size == shape->dims[d].size) map[found++] = d;
    if (found == x->shape.rank) return build_expand(g->graph, x, shape, map);
    if (tries < 5) x = pick(g);
  }
  double share = 1.0 / (double)shape_size(&x->shape);
  Node *sum = build_sum(g->graph, x, (1u << x->shape.rank) - 1);
  return build_scalar_expand(g->graph, two(g, IR_mul, sum, filled(g, share, sum)), shape);
}

static unsigned random_axes(Generator *g, unsigned of) {
  unsigned axes = 0;
  if (of & AXIS_DATUM && random_below(&g->random, 2)) axes |= AXIS_DATUM;
  if (of & AXIS_SAMPLE && random_below(&g->random, 2)) axes |= AXIS_SAMPLE;
  return axes;
}

/* --- one random op of each kind --- */

static void grow_unary(Generator *g, Op op) {
  Node *x = pick(g);
  if (op == IR_sqrt || op == IR_log || op == IR_log1p || op == IR_lgamma || op == IR_digamma) x = positive(g, x);
  if (op == IR_tan) x = two(g, IR_mul, x, filled(g, 0.25, x));
  if (op == IR_exp || op == IR_expm1) x = two(g, IR_mul, x, filled(g, 0.7, x));
  add(g, build_map1(g->graph, op, x), op == IR_lgamma || op == IR_exp ? 5 : op == IR_expm1 ? 5 : 4);
}

/* away from 0 and 1, where quantiles are steep */
static Node *probability(Generator *g, Node *x) {
  return build_map1(g->graph, IR_sigmoid, two(g, IR_mul, x, filled(g, 0.25, x)));
}

static void grow_binary(Generator *g, Op op) {
  Node *a = pick(g), *b = pick_shaped(g, &a->shape);
  bool ordered = op == IR_polygamma || op == IR_stirling || op == IR_exponential_integral;
  bool quantile = op == IR_gamma_quantile;
  if (op == IR_gamma_quantile_slope) return; /* comes of differentiating; cannot be differentiated itself */
  if (op == IR_div || op == IR_mod || ordered || quantile) b = positive(g, b);
  if (ordered) a = filled(g, 1 + random_below(&g->random, 3), b);
  if (quantile) a = probability(g, a);
  if (op == IR_pow) {
    a = positive(g, a);
    const double exponents[] = {3, 1.5, -0.5, 2, 0.5};
    b = random_below(&g->random, 2) ? filled(g, exponents[random_below(&g->random, 5)], a)
                                    : two(g, IR_mul, b, filled(g, 0.5, b));
  }
  bool bounded = op == IR_max || op == IR_min || (op >= IR_less && op <= IR_or);
  add(g, two(g, op, a, b), bounded ? 4 : 16);
}

static void grow_select(Generator *g) {
  Node *a = pick(g), *b = pick_shaped(g, &a->shape), *c = pick_shaped(g, &a->shape), *d = pick_shaped(g, &a->shape);
  add(g, build_map3(g->graph, IR_select, two(g, IR_less, c, d), a, b), 4);
}

/* An op of three operands: a condition or a probability, and the shapes of a beta distribution. */
static void grow_ternary(Generator *g, Op op) {
  if (op == IR_select) {
    grow_select(g);
    return;
  }
  Node *a = pick(g), *b = pick_shaped(g, &a->shape), *c = pick_shaped(g, &a->shape);
  if (op != IR_beta_quantile) return;
  add(g, build_map3(g->graph, op, probability(g, a), positive(g, b), positive(g, c)), 4);
}

static void grow_expand(Generator *g) {
  Node *x = pick(g);
  if (x->shape.rank >= 3) return;
  int new_dim = random_below(&g->random, x->shape.rank + 1), map[MAX_RANK];
  Shape shape = {.rank = x->shape.rank + 1};
  shape.dims[new_dim] = g->dims[random_below(&g->random, 3)];
  for (int d = 0; d < x->shape.rank; d++) {
    map[d] = d < new_dim ? d : d + 1;
    shape.dims[map[d]] = x->shape.dims[d];
  }
  if (shape_size(&shape) <= MAX_ELEMENTS) add(g, build_expand(g->graph, x, &shape, map), 4);
}

static void grow_reshape(Generator *g) {
  Node *x = pick(g);
  Shape flat = {.rank = 1, .dims = {dim_number((double)shape_size(&x->shape))}};
  Shape column = {.rank = 2, .dims = {flat.dims[0], dim_number(1)}};
  add(g, build_reshape(g->graph, x, random_below(&g->random, 2) ? &flat : &column), 4);
}

static void random_order(Generator *g, int *map, int count) {
  for (int d = 0; d < count; d++) map[d] = d;
  for (int d = count - 1; d > 0; d--) {
    int e = random_below(&g->random, d + 1), other = map[d];
    map[d] = map[e];
    map[e] = other;
  }
}

static void grow_along_dim(Generator *g, Op op) {
  Node *x = pick(g);
  if (x->shape.rank == 0) return;
  int dim = random_below(&g->random, x->shape.rank), extent = (int)x->shape.dims[dim].size;
  int start = random_below(&g->random, extent), map[MAX_RANK];
  if (op == IR_slice)
    add(g, build_slice(g->graph, x, dim, start, dim_number(1 + random_below(&g->random, extent - start))), 4);
  if (op == IR_pad)
    add(g, build_pad(g->graph, x, dim, start, dim_number(extent + start + random_below(&g->random, 2))), 4);
  if (op == IR_cumsum)
    add(g, build_cumsum(g->graph, x, dim, random_below(&g->random, 2), random_below(&g->random, 2)), 4.0 * extent);
  if (op == IR_concat) {
    Node *parts[] = {x, pick_shaped(g, &x->shape), x};
    int count = 2 + random_below(&g->random, 2);
    add(g, build_concat(g->graph, parts, count, dim, dim_number(count * extent)), 4);
  }
  if (op == IR_permute) {
    random_order(g, map, x->shape.rank);
    add(g, build_permute(g->graph, x, map), 4);
  }
}

static void grow_reduction(Generator *g, Op op) {
  Node *x = pick(g);
  int rank = x->shape.rank;
  if (rank == 0) return;
  unsigned mask = 1u + (unsigned)random_below(&g->random, (1 << rank) - 1);
  unsigned trailing = (1u << rank) - (1u << random_below(&g->random, rank));
  if (op == IR_sum) add(g, build_sum(g->graph, x, mask), 4.0 * (double)shape_size(&x->shape));
  if (op == IR_max_of) add(g, build_max_of(g->graph, x, mask), 4);
  if (op == IR_first_max_mask) add(g, build_first_max_mask(g->graph, x, trailing), 1);
}

static void grow_over(Generator *g, Op op) {
  Node *x = pick(g);
  unsigned axes = random_axes(g, x->axes);
  if (axes == 0) return;
  if (op == IR_sum_over) {
    add(g, build_sum_over(g->graph, x, axes), 100);
    return;
  }
  axes &= ~(axes - 1);
  if (op == IR_max_over)
    add(g, build_max_over(g->graph, x, axes), 4);
  else
    add(g, build_first_max_mask_over(g->graph, x, axes), 1);
}

/* How many to take of a line: a number, or one computed. */
static Node *random_count(Generator *g, const Shape *shape) {
  if (random_below(&g->random, 2)) return build_filled(g->graph, random_below(&g->random, 5), shape);
  Node *x = pick_shaped(g, shape);
  return build_map1(g->graph, IR_floor, two(g, IR_mul, build_map1(g->graph, IR_sigmoid, x), filled(g, 5, x)));
}

/* Relaxed, or hard ones, which have no gradient in keys. */
static void grow_picks(Generator *g, Op op, Node *keys, Node *a, Shape lead) {
  int most = 1 + random_below(&g->random, 4);
  bool hard = op == IR_picks_kl && random_below(&g->random, 3) == 0;
  Node *temperature = probability(g, pick_shaped(g, &lead));
  temperature = hard ? filled(g, 0, temperature) : two(g, IR_add, temperature, filled(g, 0.3, temperature));
  Shape gates = lead;
  gates.dims[gates.rank++] = dim_number(most);
  Node *b = tame(g, pick_shaped(g, op == IR_picks_kl ? &keys->shape : &gates));
  if (op == IR_picks_kl) /* slanted, for where a and b are alike there is nothing but rounding */
    b = two(g, IR_add, b, build_cumsum(g->graph, filled(g, 0.3, b), lead.rank, false, false));
  if (op == IR_picks_kl)
    add(g, build_line(g->graph, op, (Node *[]){keys, a, b, temperature}, most), 30);
  else
    add(g, build_line(g->graph, op, (Node *[]){keys, probability(g, b), temperature}, 0), 1);
}

static void grow_line(Generator *g, Op op) {
  Node *x = pick(g);
  if (x->shape.rank == 0) return;
  Shape lead = x->shape;
  lead.rank--;
  Node *y = pick_shaped(g, &x->shape);
  long most = 1 + random_below(&g->random, 1 + (int)x->shape.dims[lead.rank].size); /* sizes there are */
  Shape few = lead;
  few.dims[few.rank++] = dim_number(1 + random_below(&g->random, 4));
  if (op == IR_subset_moments) add(g, build_line(g->graph, op, (Node *[]){tame(g, x), tame(g, y)}, most), 30);
  if (op == IR_relaxed_subset || op == IR_picks_kl) grow_picks(g, op, tame(g, x), tame(g, y), lead);
  if (op == IR_subset_inclusion)
    add(g, build_line(g->graph, op, (Node *[]){tame(g, x), tame(g, pick_shaped(g, &few))}, 0), 4);
  if (op == IR_subset_draw) {
    Node *operands[] = {x, probability(g, y), random_count(g, &lead)};
    add(g, build_line(g->graph, op, operands, most), 1);
  }
  if (op == IR_top_mask) add(g, build_line(g->graph, op, (Node *[]){x, random_count(g, &lead)}, 0), 1);
  if (op == IR_cholesky) { /* of v v' + 3 */
    Shape line = {.rank = 1, .dims = {x->shape.dims[x->shape.rank - 1]}};
    Node *a = tame(g, pick_shaped(g, &line));
    Node *outer = build_contract(g->graph, a, (int[]){0}, a, (int[]){1}, 2, (int[]){0, 1}, 0);
    Node *sum = two(g, IR_add, outer, build_embed_diagonal(g->graph, filled(g, 3, a)));
    add(g, build_line(g->graph, op, (Node *[]){sum}, 0), 16);
  }
  if (op == IR_sparsemax) add(g, build_line(g->graph, op, &x, 0), 1);
  if (op == IR_top_k_members && x->shape.rank < 4)
    add(g, build_line(g->graph, op, &x, 1 + random_below(&g->random, 4)), 1);
  if (op == IR_sparsemap_members && x->shape.rank < 4) {
    Node *table = build_line(g->graph, op, (Node *[]){x, y}, random_below(&g->random, 4));
    Shape of_weights = table->shape;
    of_weights.rank--;
    Node *slope = build_line(g->graph, IR_sparsemap_slope, (Node *[]){table, tame(g, pick_shaped(g, &of_weights))}, 0);
    add(g, slope, 8);
  }
  if (op == IR_entmax) {
    const double alphas[] = {1.5, 1.25, 2.5};
    Node *alpha = build_filled(g->graph, alphas[random_below(&g->random, 3)], &lead);
    add(g, build_line(g->graph, op, (Node *[]){x, alpha}, 0), 1);
  }
}

static void grow_top_mask_over(Generator *g) {
  Node *x = pick(g);
  int rest = random_below(&g->random, x->shape.rank + 1);
  Shape lead = x->shape;
  lead.rank = rest;
  Node *count = random_count(g, &lead);
  if (!(x->axes & AXIS_DATUM) || count->axes & AXIS_DATUM) return;
  add(g, build_top_mask_over(g->graph, x, count, (1u << x->shape.rank) - (1u << rest)), 1);
}

static void grow_contract(Generator *g) {
  Node *a = pick(g), *b = pick(g);
  int labels_a[MAX_RANK], labels_b[MAX_RANK], all[2 * MAX_RANK], order[2 * MAX_RANK], out[MAX_RANK];
  int count = 0, rank = 0;
  bool shared[2 * MAX_RANK] = {0};
  if (a->shape.rank > 3 || b->shape.rank > 3) return;
  for (int d = 0; d < a->shape.rank; d++) labels_a[d] = all[count] = count, count++;
  for (int d = 0; d < b->shape.rank; d++) {
    int same = -1;
    for (int e = 0; e < a->shape.rank; e++)
      if (!shared[e] && a->shape.dims[e].size == b->shape.dims[d].size && random_below(&g->random, 4)) same = e;
    if (same >= 0) {
      labels_b[d] = same;
      shared[same] = true;
    } else {
      labels_b[d] = all[count] = count;
      count++;
    }
  }
  random_order(g, order, count);
  for (int i = 0; i < count; i++)
    if (!shared[order[i]] || random_below(&g->random, 3) == 0) out[rank++] = all[order[i]];
  if (rank > 4) return;
  Shape shape = {0};
  for (int i = 0; i < rank; i++) {
    for (int d = 0; d < a->shape.rank; d++)
      if (labels_a[d] == out[i]) shape.dims[i] = a->shape.dims[d];
    for (int d = 0; d < b->shape.rank; d++)
      if (labels_b[d] == out[i]) shape.dims[i] = b->shape.dims[d];
  }
  shape.rank = rank;
  if (shape_size(&shape) > MAX_ELEMENTS) return;
  unsigned summed = random_below(&g->random, 2) ? random_axes(g, a->axes | b->axes) : 0;
  add(g, build_contract(g->graph, a, labels_a, b, labels_b, rank, out, summed), 200);
}

/* Two members as images and filters, as features and filters, or as images and features. */
static void grow_convolution(Generator *g, Op op) {
  Random *random = &g->random;
  int stride = 1 + random_below(random, 2), padding = random_below(random, 2);
  int sizes[2][3], channels = 1 + random_below(random, 3), count = 1 + random_below(random, 3);
  for (int d = 0; d < 2; d++) { /* filter, features, image */
    sizes[d][0] = 1 + random_below(random, 3) + padding;
    sizes[d][1] = 1 + random_below(random, 3);
    sizes[d][2] = (sizes[d][1] - 1) * stride + sizes[d][0] - 2 * padding;
    if (sizes[d][2] < 1) return;
  }
  Shape filters = {.rank = 4}, images = {.rank = 3 + random_below(random, 2)}, features;
  filters.dims[0] = dim_number(count), filters.dims[1] = dim_number(channels);
  images.dims[0] = g->dims[0];
  features = images;
  images.dims[images.rank - 3] = dim_number(channels);
  features.dims[images.rank - 3] = dim_number(count);
  for (int d = 0; d < 2; d++) {
    filters.dims[2 + d] = dim_number(sizes[d][0]);
    features.dims[images.rank - 2 + d] = dim_number(sizes[d][1]);
    images.dims[images.rank - 2 + d] = dim_number(sizes[d][2]);
  }
  if (shape_size(&filters) > MAX_ELEMENTS || shape_size(&images) > MAX_ELEMENTS) return;
  Node *a = pick_shaped(g, op == IR_convolve_transpose ? &features : &images);
  Node *b = pick_shaped(g, op == IR_convolve_filters ? &features : &filters);
  if (op == IR_convolve) add(g, build_convolve(g->graph, a, b, stride, padding), 200);
  if (op == IR_convolve_transpose) add(g, build_convolve_transpose(g->graph, a, b, stride, padding), 200);
  if (op == IR_convolve_filters)
    add(g, build_convolve_filters(g->graph, a, b, &filters, stride, padding, random_axes(g, a->axes | b->axes)), 200);
}

static void grow_matrix(Generator *g, Op op) {
  Node *x = pick(g);
  if (x->shape.rank == 0 || x->shape.rank > 2) return;
  if (op == IR_embed_diagonal) {
    add(g, build_embed_diagonal(g->graph, x), 4);
    return;
  }
  Shape line = {.rank = 1, .dims = {x->shape.dims[x->shape.rank - 1]}};
  Node *a = pick_shaped(g, &line), *b = pick_shaped(g, &line);
  Node *outer = build_contract(g->graph, a, (int[]){0}, b, (int[]){1}, 2, (int[]){0, 1}, 0);
  if (op == IR_solve_triangular) { /* a diagonal away from 0 */
    Node *l = two(g, IR_add, two(g, IR_mul, tame(g, outer), filled(g, 0.25, outer)),
                  build_embed_diagonal(g->graph, filled(g, 3, a)));
    Node *side = pick_shaped(g, &line);
    add(g, build_solve_triangular(g->graph, l, side, random_below(&g->random, 2)), 16);
    return;
  }
  add(g, op == IR_diagonal ? build_diagonal(g->graph, outer) : build_lower_part(g->graph, outer), 16);
}

static void grow(Generator *);

/* Of the shape of x: something made of placeholders and of what was there before, which alone stays in the pool. */
static Node *grow_body(Generator *g, Node *x, Node *sum) {
  int before = g->count;
  add(g, x, 4);
  add(g, sum, 8);
  for (int steps = 1 + random_below(&g->random, 4); steps > 0; steps--) grow(g);
  Node *y = pick_shaped(g, &x->shape);
  g->count = before;
  return (y->axes & ~x->axes) == 0 ? y : x;
}

/* A few rounds of x = tame(x + its own gradient + noise + something) from a member of the pool, and of a sum of what it
 * was. What reduces over the batch is written out. */
static void grow_repeat(Generator *g, bool unrolled) {
  Graph *graph = g->graph;
  if (g->loops == 2) return;
  g->loops++;
  Node *start = pick(g), *other = pick_shaped(g, &start->shape), *round = build_round(graph), *gradient, *results[2];
  unsigned axes = start->axes | other->axes;
  Node *x = build_carried(graph, &start->shape, axes, NULL), *sum = build_carried(graph, &start->shape, axes, NULL);
  Node *energy = build_map1(graph, IR_sin, two(g, IR_mul, x, other));
  Node *all = build_sum(graph, energy, (1u << energy->shape.rank) - 1);
  differentiate(graph, build_sum_over(graph, all, all->axes), &x, 1, &gradient);
  Node *next = two(g, IR_add, x, two(g, IR_mul, gradient, filled(g, 0.3, x)));
  for (int i = 0; i < graph->signature->noise_count; i++) {
    const Noise *noise = &graph->signature->noises[i];
    Shape shape = noise->shape;
    if (shape.rank != 0 || (noise->axes & ~axes) != 0 || random_below(&g->random, 2)) continue;
    Node *drawn = build_scalar_expand(graph, build_inner_noise(graph, i, round), &x->shape);
    next = two(g, IR_add, next, two(g, IR_mul, drawn, filled(g, 0.2, drawn)));
  }
  next = tame(g, two(g, IR_add, next, two(g, IR_mul, build_scalar_expand(graph, round, &x->shape), filled(g, 0.1, x))));
  if (random_below(&g->random, 3) != 0)
    next = tame(g, two(g, IR_add, next, two(g, IR_mul, grow_body(g, x, sum), filled(g, 0.5, x))));
  bool swap = random_below(&g->random, 4) == 0;
  Repeat loop = {.rounds = random_below(&g->random, 4),
                 .round = round,
                 .count = 2,
                 .carried = (Node *[]){x, sum},
                 .initial = (Node *[]){start, filled(g, 0.5, start)},
                 .next = (Node *[]){next, swap ? x : two(g, IR_add, sum, two(g, IR_mul, x, filled(g, 0.25, x)))}};
  if (unrolled || repeat_problem(graph, &loop) != NULL)
    build_unrolled(graph, &loop, results);
  else
    build_repeat(graph, &loop, results);
  g->loops--;
  add(g, results[0], 4);
  add(g, results[1], 8);
}

static void grow(Generator *g) {
  Op op = (Op)random_below(&g->random, OP_COUNT);
  int more = random_below(&g->random, 10);
  if (more == 0) op = IR_contract;
  if (more == 1) op = IR_sum_over;
  OpKind kind = op_table[op].kind;
  if (kind == KIND_MAP && op_table[op].operands == 1) grow_unary(g, op);
  if (kind == KIND_MAP && op_table[op].operands == 2) grow_binary(g, op);
  if (kind == KIND_MAP && op_table[op].operands == 3) grow_ternary(g, op);
  if (op == IR_expand) grow_expand(g);
  if (op == IR_reshape) grow_reshape(g);
  if (op == IR_permute || op == IR_slice || op == IR_pad || op == IR_concat || op == IR_cumsum) grow_along_dim(g, op);
  if (op == IR_spread) add(g, build_spread(g->graph, pick(g), random_axes(g, AXIS_DATUM | AXIS_SAMPLE)), 4);
  if (op == IR_stop) add(g, build_stop(g->graph, pick(g)), 4);
  if (op == IR_sum || op == IR_max_of || op == IR_first_max_mask) grow_reduction(g, op);
  if (op == IR_top_mask_over)
    grow_top_mask_over(g);
  else if (kind == KIND_OVER)
    grow_over(g, op);
  if (kind == KIND_LINE) grow_line(g, op);
  if (kind == KIND_PRODUCT) grow_contract(g);
  bool convolution = op == IR_convolve || op == IR_convolve_transpose || op == IR_convolve_filters;
  if (convolution) grow_convolution(g, op);
  if (op == IR_inner_noise)
    add(g, build_inner_noise(g->graph, random_below(&g->random, 3), build_constant(g->graph, 3)), 4);
  if (op == IR_carried) grow_repeat(g, true);
  if (op == IR_round) grow_repeat(g, false);
  if (kind == KIND_OTHER && !convolution && op != IR_inner_noise) grow_matrix(g, op);
}

/* --- outputs --- */

/* The mean of all elements over the batch and the samples. */
static Node *mean_of_all(Generator *g, Node *x) {
  Graph *graph = g->graph;
  double count = (double)shape_size(&x->shape) * (x->axes & AXIS_SAMPLE ? graph->samples : 1);
  bool batch = x->axes & AXIS_DATUM;
  Node *sum = build_sum_over(graph, build_sum(graph, x, (1u << x->shape.rank) - 1), x->axes);
  sum = two(g, IR_div, sum, build_constant(graph, count));
  return batch ? two(g, IR_div, sum, build_setting(graph, SETTING_ROWS_IN_BATCH)) : sum;
}

static void add_outputs(Generator *g) {
  Graph *graph = g->graph;
  Compilation *c = g->c;
  Node *objective = build_constant(graph, 0), *term = objective, *rows = NULL;
  for (int i = g->count - 1; i >= 0; i--) {
    if (i < g->count - 4 && random_below(&g->random, 4) != 0) continue;
    Node *x = g->bound[i] > 4 ? tame(g, g->pool[i]) : g->pool[i];
    if (rows == NULL && x->axes & AXIS_DATUM) rows = x;
    term = mean_of_all(g, x);
    objective =
        two(g, IR_add, objective, two(g, IR_mul, term, build_constant(graph, random_between(&g->random, -1, 1))));
  }
  graph_output(graph, OUTPUT_OBJECTIVE, intern(c, "objective"), -1, objective);
  graph_output(graph, OUTPUT_TERM, intern(c, "term"), -1, term);
  graph_output(graph, OUTPUT_ROWS, intern(c, "rows"), -1, rows != NULL ? rows : build_data(graph, 0));
  Node *state = build_state(graph, 0), *scalar = build_scalar_expand(graph, term, &state->shape);
  Node *next =
      two(g, IR_add, two(g, IR_mul, state, filled(g, 0.9, state)), two(g, IR_mul, scalar, filled(g, 0.1, state)));
  graph_output(graph, OUTPUT_STATE, graph->signature->states[0].name, 0, next);
}

Graph *random_forward_graph(Compilation *c, uint64_t seed) {
  Generator g = {.c = c, .random = {seed * 0x2545f4914f6cdd1du + 1}};
  const char *names[] = {"A", "B", "C"};
  for (int d = 0; d < 3; d++) g.dims[d] = dim_name(c, intern(c, names[d]), 1 + random_below(&g.random, 5));
  Signature *s = random_signature(&g);
  g.graph = graph_create(c, s, "train", 1 + random_below(&g.random, 3));
  for (int i = 0; i < s->parameter_count; i++) add(&g, build_parameter(g.graph, i), 2);
  for (int i = 0; i < s->data_count; i++) add(&g, build_data(g.graph, i), 2);
  add(&g, build_row_state(g.graph, 0), 2);
  for (int i = 0; i < s->noise_count; i++) add(&g, build_noise(g.graph, i), 4);
  add(&g, build_state(g.graph, 0), 2);
  double values[MAX_ELEMENTS];
  Shape line = {.rank = 1, .dims = {g.dims[random_below(&g.random, 3)]}};
  for (int i = 0; i < shape_size(&line); i++) values[i] = random_between(&g.random, -2, 2);
  add(&g, build_table(g.graph, values, &line), 2);
  add(&g, build_setting(g.graph, (SettingKind)random_below(&g.random, SETTING_COUNT)), 100);
  int steps = 8 + random_below(&g.random, 32);
  for (int i = 0; i < steps; i++) grow(&g);
  add_outputs(&g);
  return g.graph;
}

Graph *random_graph(Compilation *c, uint64_t seed) {
  Graph *graph = random_forward_graph(c, seed);
  Node *leaves[MAX_PARAMETERS + 1], *adjoints[MAX_PARAMETERS + 1];
  const Signature *s = graph->signature;
  for (int i = 0; i < s->parameter_count; i++) leaves[i] = build_parameter(graph, i);
  leaves[s->parameter_count] = build_row_state(graph, 0);
  Node *loss = build_map1(graph, IR_neg, graph->outputs[0].value);
  differentiate(graph, loss, leaves, s->parameter_count + 1, adjoints);
  for (int i = 0; i < s->parameter_count; i++)
    graph_output(graph, OUTPUT_GRADIENT, s->parameters[i].name, i, adjoints[i]);
  graph_output(graph, OUTPUT_ROW_GRADIENT, s->row_states[0].name, 0, adjoints[s->parameter_count]);
  return graph;
}

/* --- inputs --- */

static double *random_values(Compilation *c, Random *random, long count, double low, double high) {
  double *values = arena_array(c, double, count);
  for (long i = 0; i < count; i++) values[i] = random_between(random, low, high);
  return values;
}

RandomInputs *random_inputs(Compilation *c, const Signature *s, uint64_t seed, long rows) {
  Random random = {seed};
  RandomInputs *inputs = arena_new(c, RandomInputs);
  inputs->parameters = arena_array(c, double *, s->parameter_count);
  inputs->data = arena_array(c, double *, s->data_count);
  inputs->states = arena_array(c, double *, s->state_count);
  inputs->row_states = arena_array(c, double *, s->row_state_count);
  for (int i = 0; i < s->parameter_count; i++)
    inputs->parameters[i] = random_values(c, &random, shape_size(&s->parameters[i].shape), -1.5, 1.5);
  for (int i = 0; i < s->data_count; i++) {
    double low = fmax(s->data[i].facts.low, -1.5), high = fmin(s->data[i].facts.high, 1.5);
    inputs->data[i] = random_values(c, &random, rows * shape_size(&s->data[i].shape), low, high);
  }
  for (int i = 0; i < s->state_count; i++)
    inputs->states[i] = random_values(c, &random, shape_size(&s->states[i].shape), -1.5, 1.5);
  for (int i = 0; i < s->row_state_count; i++)
    inputs->row_states[i] = random_values(c, &random, rows * shape_size(&s->row_states[i].shape), -1.5, 1.5);
  inputs->givens = arena_array(c, double *, s->given_count);
  for (int i = 0; i < s->given_count; i++)
    inputs->givens[i] = random_values(c, &random, shape_size(&s->givens[i].shape), -1.5, 1.5);
  inputs->bindings = (Bindings){.rows = rows,
                                .first_row = 3,
                                .parameters = (const double *const *)inputs->parameters,
                                .data = (const double *const *)inputs->data,
                                .states = (const double *const *)inputs->states,
                                .row_states = (const double *const *)inputs->row_states,
                                .givens = (const double *const *)inputs->givens,
                                .settings = {2, 7, (double)rows, 100},
                                .seed = seed,
                                .step = 5};
  return inputs;
}
