/* quadrature_pieces: KL(q || p) of any univariate q with a density -> IR over constant nodes, in z itself. The line is
 * cut at a centre of q, where q may have a kink, and at a point where p may have one; each part is integrated from its
 * ends, around which nodes crowd, so that kinks, poles and tails are met. Where densities jump or have a pole, at the
 * ends and at p's kink, nodes move with the parameters and are differentiated through; elsewhere they stand still, and
 * only what they weigh is differentiated: once, for a kink of q adds to its second derivative. */
#include "kl.h"

#include <math.h>
#include <string.h>

/* Each part has `count` nodes, at from + length x: x is u^power at Legendre's u, or, with power 0, exp(1 - exp(t)) at
 * Legendre's t. Parts end `near` sizes of q from its centre; with `far` nodes, tails are followed on from there in
 * equal steps of the logarithm. */
typedef struct PieceRule {
  int count, power, far;
  double near;
} PieceRule;

static const PieceRule ladder[] = {
    {8, 2, 0, 6},    {10, 2, 0, 6},   {10, 2, 0, 14},  {12, 2, 0, 14},  {14, 2, 0, 14},   {16, 2, 0, 14},
    {16, 3, 0, 14},  {16, 2, 10, 14}, {20, 2, 0, 14},  {20, 3, 0, 14},  {20, 3, 12, 14},  {24, 2, 0, 14},
    {24, 4, 0, 14},  {24, 2, 16, 14}, {28, 0, 0, 14},  {28, 3, 0, 14},  {32, 2, 0, 14},   {32, 3, 0, 14},
    {28, 0, 16, 14}, {32, 4, 0, 14},  {32, 3, 16, 14}, {40, 3, 0, 14},  {36, 0, 20, 14},  {48, 2, 0, 14},
    {48, 4, 20, 14}, {48, 0, 24, 14}, {64, 3, 0, 14},  {80, 0, 32, 14}, {128, 0, 48, 14}, {176, 0, 64, 20}};
enum { PIECE_RULES = sizeof ladder / sizeof *ladder, MOST_PIECES = 8, MOST_PIECE_NODES = 256 };
int piece_rule_count(void) { return PIECE_RULES; }

/* ---- where q lies ---------------------------------------------------------------------------------------------- */

static bool has_sampler(const Value *d) {
  const Field *field = d->family ? distribution_find_field(d->family, "sample") : NULL;
  for (int i = 0; field && i < field->head.count; i++)
    if (!field->head.items[i].type || field->head.items[i].type->dim_count > 0) return false;
  return field != NULL;
}

static bool has_moments(const Value *d) {
  return d->family && distribution_find_field(d->family, "mean") && distribution_find_field(d->family, "variance");
}

static bool has_end(const Location *location, int side) {
  return location->sampled_end[side] || isfinite(location->end[side]);
}

static void add_location(Location *locations, int *count, Location location, CentreKind centre, int centre_slot,
                         int scale_slot) {
  if (*count == MOST_LOCATIONS) return;
  location.centre = centre;
  location.centre_slot = centre_slot;
  location.scale_slot = scale_slot;
  locations[(*count)++] = location;
}

/* A place and a size of q: from its sampler, else its mean and variance, else from parameters. */
int find_locations(Elaborator *e, const KlPair *pair, const bool *sampled_end, Location *locations) {
  Support support, extended;
  int slots[MOST_SPLITS], count = 0, slot_count = 0, sizes[MOST_SPLITS], size_count = 0;
  Location location = {.scale_slot = -1};
  if (!distribution_support(e, pair->q, &support, &extended)) return 0;
  location.end[0] = -INFINITY, location.end[1] = INFINITY;
  if (support.facts.low < support.facts.high) /* not an interval that varies */
    location.end[0] = support.facts.low, location.end[1] = support.facts.high;
  for (int side = 0; side < 2; side++) location.sampled_end[side] = sampled_end[side] && !isfinite(location.end[side]);
  bool atoms = has_atoms(pair->q); /* its sampler and its moments say where they lie, and not the density */
  location.by_sampler = !atoms && has_sampler(pair->q);
  location.by_moments = !atoms && !location.by_sampler && has_moments(pair->q);
  bool line = !isfinite(location.end[0]) && !isfinite(location.end[1]);
  bool cut_off = location.sampled_end[0] || location.sampled_end[1];
  if (line && !cut_off) slot_count = free_slots(pair->q, false, slots, MOST_SPLITS);
  if (!location.by_sampler && !location.by_moments) size_count = free_slots(pair->q, true, sizes, MOST_SPLITS);
  for (int k = 0; k < (size_count ? size_count : 1); k++) {
    int size = size_count ? sizes[k] : -1;
    for (int i = 0; i < slot_count; i++) add_location(locations, &count, location, CENTRE_OF_Q, slots[i], size);
    if (location.by_sampler || location.by_moments) add_location(locations, &count, location, CENTRE_ITSELF, 0, size);
    if ((line || atoms) && slot_count == 0 && !location.by_sampler)
      add_location(locations, &count, location, CENTRE_ZERO, 0, size);
  }
  if (line) slot_count = free_slots(pair->p, false, slots, MOST_SPLITS);
  for (int i = 0; line && i < slot_count && location.by_sampler; i++)
    add_location(locations, &count, location, CENTRE_OF_P, slots[i], -1);
  return count;
}

/* The sampler at one value of every uniform noise and one of every normal noise. */
Value sample_at(Elaborator *e, const KlPair *pair, double uniform, double normal) {
  const Field *field = distribution_find_field(pair->q->family, "sample");
  Value *noise = arena_array(e->c, Value, field->head.count);
  for (int i = 0; i < field->head.count; i++) {
    bool is_uniform = strcmp(field->head.items[i].type->name, "uniform") == 0;
    noise[i] = value_number(is_uniform ? uniform : normal);
  }
  return distribution_transform(e, pair->q, noise, &pair->shape, pair->span);
}

Value sampled_size(Elaborator *e, const KlPair *pair) {
  static const double noise[2][2] = {{0.8, 0.8}, {0.3, -0.6}};
  Value middle = sample_at(e, pair, 0.5, 0), size = value_number(0);
  for (int i = 0; i < 2; i++) {
    Value step = apply2(e, IR_sub, sample_at(e, pair, noise[i][0], noise[i][1]), middle, pair->span);
    size = apply2(e, IR_add, size, apply1(e, IR_abs, step, pair->span), pair->span);
  }
  return size;
}

/* ---- one part -------------------------------------------------------------------------------------------------- */

typedef struct Part { /* from an end where something may happen, for a signed length */
  Value from, length;
  bool far; /* a tail, from that length on */
} Part;

typedef struct Line {
  Elaborator *e;
  const KlPair *pair;
  const Location *location;
  PieceRule rule;
  bool closed_entropy;
  Value size; /* a length that is not 0 */
} Line;

static Value op2(const Line *l, Op op, Value a, Value b) { return apply2(l->e, op, a, b, l->pair->span); }
static Value op1(const Line *l, Op op, Value a) { return apply1(l->e, op, a, l->pair->span); }

static const double crowding = 20, farthest = 16; /* logarithms of the smallest and the largest x */

static int part_rule(const PieceRule *rule, bool far, double *at, double *weights) {
  int count = far ? rule->far : rule->count;
  legendre_rule(count, at, weights);
  for (int i = 0; i < count; i++) {
    double u = at[i], t = log1p(crowding) * u, power = rule->power;
    if (far) {
      at[i] = exp(farthest * u);
      weights[i] *= farthest * at[i];
    } else if (rule->power == 0) {
      at[i] = exp(-expm1(t));
      weights[i] *= log1p(crowding) * exp(t) * at[i];
    } else {
      at[i] = pow(u, power);
      weights[i] *= power * pow(u, power - 1);
    }
  }
  return count;
}

/* Off the ends of an open support by one float. */
static Value inside(const Line *l, Value z) {
  double low = l->location->end[0], high = l->location->end[1];
  if (isfinite(low)) z = op2(l, IR_max, z, value_number(low + fmax(1.2e-38, fabs(low) * 1.2e-7)));
  if (isfinite(high)) z = op2(l, IR_min, z, value_number(high - fmax(1.2e-38, fabs(high) * 6e-8)));
  return z;
}

/* Adds the part's share of the mass and of E[log q - log p] (of E[-log p] where the entropy is known). */
static bool add_part(const Line *l, const Part *part, Value *mass, Value *sum) {
  Elaborator *e = l->e;
  Span span = l->pair->span;
  NodeDim nodes;
  double at[MOST_PIECE_NODES], weights[MOST_PIECE_NODES];
  bool missing_q, missing_p;
  if (!node_dim(e, &l->pair->shape, part_rule(&l->rule, part->far, at, weights), &nodes)) return false;
  /* A part of no length stands somewhere, and counts nothing: no node ever stands on a pole. */
  Value empty = apply2(e, IR_equal, part->length, value_number(0), span);
  Value length = apply3(e, IR_select, empty, l->size, part->length, span);
  Value z = op2(l, IR_add, op2(l, IR_mul, node_table(e, &nodes, at, span), length), part->from);
  z = inside(l, z);
  Value log_q = distribution_field(e, l->pair->q, "log_pdf", &z, &nodes.shape, span, &missing_q);
  Value log_p = distribution_field(e, l->pair->p, "log_pdf", &z, &nodes.shape, span, &missing_p);
  if (missing_q || missing_p || log_q.kind == VALUE_ERROR || log_p.kind == VALUE_ERROR) return false;
  Value density = op2(l, IR_mul, node_table(e, &nodes, weights, span), op1(l, IR_exp, log_q));
  Value ratio = l->closed_entropy ? op1(l, IR_neg, log_p) : op2(l, IR_sub, log_q, log_p);
  Value possible = op2(l, IR_less, value_number(0), density);
  Value term = apply3(e, IR_select, possible, op2(l, IR_mul, density, ratio), value_number(0), span);
  Value width = op1(l, IR_abs, part->length);
  *mass = op2(l, IR_add, *mass, op2(l, IR_mul, sum_nodes(e, &nodes, density, span), width));
  *sum = op2(l, IR_add, *sum, op2(l, IR_mul, sum_nodes(e, &nodes, term, span), width));
  return true;
}

/* ---- the parts ------------------------------------------------------------------------------------------------- */

static Value centre_of(const Line *l) {
  const Location *f = l->location;
  bool missing;
  switch (f->centre) {
  case CENTRE_OF_Q: return *split_value(l->pair->q, f->centre_slot);
  case CENTRE_OF_P: return *split_value(l->pair->p, f->centre_slot);
  case CENTRE_ZERO: return value_number(0);
  case CENTRE_ITSELF: break;
  }
  if (f->by_sampler) return sample_at(l->e, l->pair, 0.5, 0);
  return distribution_field(l->e, l->pair->q, "mean", NULL, &l->pair->shape, l->pair->span, &missing);
}

static Value size_of(const Line *l) {
  const Location *f = l->location;
  bool missing;
  if (f->by_sampler) return sampled_size(l->e, l->pair);
  if (f->by_moments) {
    Value v = distribution_field(l->e, l->pair->q, "variance", NULL, &l->pair->shape, l->pair->span, &missing);
    return op1(l, IR_sqrt, v);
  }
  return f->scale_slot < 0 ? value_number(1) : *split_value(l->pair->q, f->scale_slot);
}

/* The sampler at 0 or 1, which are no values of its noise: by the parabola through three that are. */
static Value sampled_end(const Line *l, int side) {
  static const double shares[3] = {3, -3, 1};
  Value sum = value_number(0);
  for (int i = 0; i < 3; i++) {
    double u = 0.002 * (i + 1);
    Value z = sample_at(l->e, l->pair, side ? 1 - u : u, 0);
    sum = op2(l, IR_add, sum, op2(l, IR_mul, z, value_number(shares[i])));
  }
  return sum;
}

static Value end_of(const Line *l, int side, Value middle) {
  const Location *f = l->location;
  Value reach = op2(l, IR_mul, l->size, value_number(side ? l->rule.near : -l->rule.near));
  Value far = op2(l, IR_add, middle, reach);
  if (!has_end(f, side)) return far;
  Value end = f->sampled_end[side] ? sampled_end(l, side) : value_number(f->end[side]);
  return op2(l, side ? IR_min : IR_max, far, end);
}

static Value halved(const Line *l, Value from, Value to) {
  return op2(l, IR_mul, op2(l, IR_sub, to, from), value_number(0.5));
}

/* Two halves, each from its own end; or one whole, from `a`. */
static int cut(const Line *l, Value a, Value b, bool both, Part *parts) {
  if (!both) {
    parts[0] = (Part){a, op2(l, IR_sub, b, a), false};
    return 1;
  }
  parts[0] = (Part){a, halved(l, a, b), false};
  parts[1] = (Part){b, halved(l, b, a), false};
  return 2;
}

static int cut_line(Line *l, int split, Part *parts) {
  const Shape *shape = &l->pair->shape;
  Span span = l->pair->span;
  Value kink = split < 0 ? value_number(0) : *split_value(l->pair->p, split);
  l->size = expand_to(l->e, stopped(l->e, size_of(l)), shape, span);
  Value centre = expand_to(l->e, stopped(l->e, centre_of(l)), shape, span);
  Value middle = l->location->centre == CENTRE_OF_P ? stopped(l->e, sample_at(l->e, l->pair, 0.5, 0)) : centre;
  Value low = end_of(l, 0, middle), high = end_of(l, 1, middle);
  /* Of equal ones the first moves: an end before a kink before a centre. */
  kink = op2(l, IR_min, high, op2(l, IR_max, low, kink));
  centre = op2(l, IR_min, high, op2(l, IR_max, low, centre));
  Value first = op2(l, IR_min, kink, centre), second = op2(l, IR_max, kink, centre);
  int count = cut(l, first, low, has_end(l->location, 0), parts);
  count += cut(l, first, second, true, parts + count);
  count += cut(l, second, high, has_end(l->location, 1), parts + count);
  for (int side = 0; side < 2 && l->rule.far; side++)
    if (!has_end(l->location, side)) parts[count++] = (Part){middle, op2(l, IR_sub, side ? high : low, middle), true};
  return count;
}

int piece_nodes(const Location *location, int rule) {
  int ends = has_end(location, 0) + has_end(location, 1);
  return (4 + ends) * ladder[rule].count + (2 - ends) * ladder[rule].far;
}

/* As many nodes as are asked for, at least two a part. */
static void share_nodes(PieceRule *rule, const Part *parts, int count, int nodes) {
  int tails = 0;
  for (int i = 0; i < count; i++) tails += parts[i].far;
  if (tails) rule->far = nodes / (2 * count) < 2 ? 2 : nodes / (2 * count);
  int each = (nodes - tails * rule->far) / (count - tails);
  rule->count = each < 2 ? 2 : each;
}

/* q with parameters that can be differentiated once. */
static Value once_derivable(Elaborator *e, const Value *q) {
  Value copy = *q;
  copy.elements = arena_array(e->c, Value, q->count);
  for (int i = 0; i < q->count; i++) {
    const Value *x = &q->elements[i];
    copy.elements[i] = *x;
    if (x->kind == VALUE_TENSOR) copy.elements[i].node = build_once(e->graph, x->node);
  }
  return copy;
}

bool pieces_kl(Elaborator *e, const KlPair *asked, const Location *location, int rule, int split, int nodes, Value *kl,
               Value *mass) {
  bool no_entropy;
  KlPair own = *asked, *pair = &own;
  place(e, asked->span);
  Value q = once_derivable(e, asked->q);
  own.q = &q;
  Value entropy = distribution_field(e, pair->q, "entropy", NULL, &pair->shape, pair->span, &no_entropy);
  Line l = {.e = e, .pair = pair, .location = location, .rule = ladder[rule], .closed_entropy = !no_entropy};
  Part parts[MOST_PIECES];
  int count = cut_line(&l, split, parts);
  if (nodes) share_nodes(&l.rule, parts, count, nodes);
  Value sum = *mass = value_number(0);
  for (int i = 0; i < count; i++)
    if (!add_part(&l, &parts[i], mass, &sum)) return false;
  if (!add_atoms(e, pair, !no_entropy, mass, &sum)) return false;
  /* Where floats are too coarse for z, all densities are off alike: in the quotient that cancels. */
  *kl = op2(&l, IR_div, sum, *mass);
  if (!no_entropy) *kl = op2(&l, IR_sub, *kl, entropy);
  return kl->kind != VALUE_ERROR;
}

const char *pieces_text(Elaborator *e, const KlPair *pair, const Location *location, int split) {
  const char *centre = location->centre == CENTRE_OF_Q
                           ? arena_printf(e->c, "the posterior's %s", split_name(pair->q, location->centre_slot))
                       : location->centre == CENTRE_OF_P
                           ? arena_printf(e->c, "the prior's %s", split_name(pair->p, location->centre_slot))
                       : location->centre == CENTRE_ITSELF
                           ? (location->by_sampler ? "the posterior's middle" : "the posterior's mean")
                           : "0";
  const char *kink = split < 0 ? "0" : arena_printf(e->c, "the prior's %s", split_name(pair->p, split));
  bool one = strcmp(centre, kink) == 0;
  return arena_printf(e->c, "Gauss-Legendre in parts that meet at %s%s%s and crowd around their ends", centre,
                      one ? "" : " and ", one ? "" : kink);
}
