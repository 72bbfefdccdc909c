/* quadrature_normal: KL(q || p) of a normal q -> IR over constant nodes in two pieces that meet at a point where p may
 * have a kink. Nodes stand still and only what q and p weigh there is differentiated, so that derivatives of every
 * order in q's parameters are exact at kinks and poles of p. */
#include "kl.h"

#include <math.h>

/* Two pieces that meet at the split point and end cutoff sds from m; if the split point lies outside, one is empty.
 * Each is split + b u^power at Legendre's u: a power of 2 crowds the nodes around a kink or pole. The piece that holds
 * m has `wide` nodes, the other one `narrow`. */
typedef struct NormalRule {
  int wide, narrow, power;
  double cutoff;
} NormalRule;

/* A density that falls like exp(-exp(z)) moves what counts far out: wide cutoffs. The last one is the reference. */
static const NormalRule ladder[] = {{17, 10, 1, 5.5}, {20, 12, 1, 6},    {26, 18, 2, 6},   {32, 20, 2, 7},
                                    {40, 26, 2, 7},   {48, 32, 2, 7},    {40, 26, 1, 9},   {64, 40, 2, 7},
                                    {48, 32, 1, 12},  {64, 48, 2, 12},   {96, 64, 2, 7},   {96, 72, 2, 12},
                                    {128, 96, 2, 7},  {160, 128, 2, 12}, {224, 176, 2, 15}};
enum { NORMAL_RULES = sizeof ladder / sizeof *ladder, MOST_NODES = 512 };
int normal_rule_count(void) { return NORMAL_RULES; }

Value stopped(Elaborator *e, Value v) {
  Node *node = v.kind == VALUE_ERROR ? NULL : value_node(e, &v);
  return node ? value_tensor(build_stop(e->graph, node), v.kind == VALUE_TENSOR ? v.mapped : 0, v.span) : v;
}

typedef struct Piece {
  int count, power;
  Value start, from; /* the split point, and the same in sds from m */
  Value length;      /* signed, in sds */
  Value width;       /* its size */
  Value sd;
  Value ratio, shift; /* from sds where the node stands to sds of q, which may move: 1 and 0 */
} Piece;

/* The integral of f, the log density, under q's bell. */
static bool piece_integral(Elaborator *e, const KlPair *pair, const Piece *piece, Value *out) {
  Span span = pair->span;
  NodeDim nodes;
  double u[MOST_NODES], weights[MOST_NODES];
  if (!node_dim(e, &pair->shape, piece->count, &nodes)) return false;
  legendre_rule(piece->count, u, weights);
  for (int i = 0; i < piece->count; i++) {
    weights[i] *= piece->power * pow(u[i], piece->power - 1) / sqrt(2 * M_PI);
    u[i] = pow(u[i], piece->power);
  }
  Value part = node_table(e, &nodes, u, span);
  Value t = apply2(e, IR_add, apply2(e, IR_mul, part, piece->length, span), piece->from, span);
  Value z = apply2(e, IR_add, apply2(e, IR_mul, part, apply2(e, IR_mul, piece->sd, piece->length, span), span),
                   piece->start, span);
  t = apply2(e, IR_add, apply2(e, IR_mul, t, piece->ratio, span), piece->shift, span);
  Value bell = apply1(e, IR_exp, apply2(e, IR_mul, apply2(e, IR_mul, t, t, span), value_number(-0.5), span), span);
  Value weight = apply2(e, IR_mul, node_table(e, &nodes, weights, span), bell, span);
  bool missing;
  Value f = distribution_field(e, pair->p, "log_pdf", &z, &nodes.shape, span, &missing);
  if (missing || f.kind == VALUE_ERROR) return false;
  Value sum = sum_nodes(e, &nodes, apply2(e, IR_mul, weight, f, span), span);
  *out = apply2(e, IR_mul, apply2(e, IR_mul, sum, piece->width, span), piece->ratio, span);
  return true;
}

static bool normal_integral(Elaborator *e, const KlPair *pair, const NormalRule *rule, int split, Value *out) {
  Span span = pair->span;
  const Value *mean = &pair->q->elements[0], *sd = &pair->q->elements[1];
  Value m = expand_to(e, stopped(e, *mean), &pair->shape, span), s = expand_to(e, stopped(e, *sd), &pair->shape, span);
  Value ratio = apply2(e, IR_div, s, *sd, span),
        shift = apply2(e, IR_div, apply2(e, IR_sub, m, *mean, span), *sd, span);
  Value kink = split < 0 ? value_number(0) : *split_value(pair->p, split), cutoff = value_number(rule->cutoff);
  /* The split point, held a little inside the cutoff; where it was held, `moved` is how far it had to move and the
   * piece behind it is empty, elsewhere it is exactly 0 and neither piece is: no node ever stands on a pole. */
  Value d = apply2(e, IR_sub, m, kink, span),
        reach = apply2(e, IR_mul, value_number(rule->cutoff * (1 - 0x1p-10)), s, span);
  Value above = apply1(e, IR_relu, apply2(e, IR_sub, d, reach, span), span);
  Value below = apply1(e, IR_relu, apply1(e, IR_neg, apply2(e, IR_add, d, reach, span), span), span);
  Value moved = apply2(e, IR_sub, above, below, span);
  Value from = apply2(e, IR_div, apply2(e, IR_sub, moved, d, span), s, span);
  Value toward = apply3(e, IR_select, apply2(e, IR_less, value_number(0), from, span), cutoff,
                        apply1(e, IR_neg, cutoff, span), span);
  Value held = apply2(e, IR_not_equal, moved, value_number(0), span);
  Value distance = apply1(e, IR_abs, from, span), start = apply2(e, IR_add, kink, moved, span);
  Value parts[2];
  for (int side = 0; side < 2; side++) {
    bool wide = side == 0;
    Value length = apply2(e, IR_sub, wide ? apply1(e, IR_neg, toward, span) : toward, from, span);
    Value width = apply2(e, wide ? IR_add : IR_sub, cutoff, distance, span);
    if (!wide) {
      length = apply3(e, IR_select, held, value_number(0), length, span);
      width = apply3(e, IR_select, held, value_number(0), width, span);
    }
    Piece piece = {.count = wide ? rule->wide : rule->narrow,
                   .power = rule->power,
                   .start = start,
                   .from = from,
                   .sd = s,
                   .length = length,
                   .width = width,
                   .ratio = ratio,
                   .shift = shift};
    if (!piece_integral(e, pair, &piece, &parts[side])) return false;
  }
  *out = apply2(e, IR_add, parts[0], parts[1], span);
  return true;
}

static NormalRule rule_of(int rule, int nodes) {
  if (!nodes) return ladder[rule];
  return (NormalRule){nodes - nodes * 2 / 5, nodes * 2 / 5, 2, fmax(nodes < 48 ? 6 : 7, ladder[rule].cutoff)};
}

bool normal_kl(Elaborator *e, const KlPair *pair, int rule, int split, int nodes, Value *kl) {
  NormalRule own = rule_of(rule, nodes);
  Value expected;
  bool none;
  if (!normal_integral(e, pair, &own, split, &expected)) return false;
  Value entropy = distribution_field(e, pair->q, "entropy", NULL, &pair->shape, pair->span, &none);
  *kl = apply1(e, IR_neg, apply2(e, IR_add, entropy, expected, pair->span), pair->span);
  return true;
}

int normal_nodes(int rule) { return ladder[rule].wide + ladder[rule].narrow; }

const char *normal_text(Elaborator *e, const KlPair *pair, int rule, int split, int nodes) {
  NormalRule own = rule_of(rule, nodes);
  const char *at = split < 0 ? "0" : arena_printf(e->c, "the prior's %s", split_name(pair->p, split));
  return arena_printf(e->c, "Gauss-Legendre split at %s%s, cut off at %s sd", at,
                      own.power > 1 ? " and crowded around it" : "", shortest_number(e->c, own.cutoff));
}
