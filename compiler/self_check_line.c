/* An integrand over a support -> its integrals by adaptive 15-point Gauss-Kronrod in t, where z = anchor +- exp(t):
 * half lines, power-law tails and singular ends become smooth and short, kinks at anchors lie on ends of panels. All
 * panels of a round are evaluated together, because the integrand is an interpreted program. */
#include "self_check_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 15, MOST_PANELS = 3000, ROUNDS = 48 };

static const double kronrod_x[8] = {0.991455371120812639206854697526329, 0.949107912342758524526189684047851,
                                    0.864864423359769072789712788640926, 0.741531185599394439863864773280788,
                                    0.586087235467691130294144691258380, 0.405845151377397166906606412076961,
                                    0.207784955007898467600689403773245, 0};
static const double kronrod_w[8] = {0.022935322010529224963732008058970, 0.063092092629978553290700663189204,
                                    0.104790010322250183839876322541518, 0.140653259715525918745189590510238,
                                    0.169004726639267902826583426598550, 0.190350578064785409913256402421014,
                                    0.204432940075298892414161999234649, 0.209482141084727828012999174891714};
static const double gauss_w[8] = {0, 0.129484966168869693270611432679082, 0, 0.279705391489276667901467771423780,
                                  0, 0.381830050505118944950369775488975, 0, 0.417959183673469387755102040816327};

typedef struct Piece {            /* z = anchor + sign * exp(t) */
  double anchor, sign, low, high; /* of t */
  bool endless;
} Piece;

typedef struct Panel {
  int piece;
  double low, high;
  long next; /* the panel above it in its piece, or -1 */
  bool fresh;
  double sum[MAX_COMPONENTS], absolute[MAX_COMPONENTS], error[MAX_COMPONENTS];
  double first[MAX_COMPONENTS], largest[MAX_COMPONENTS]; /* |contribution per unit of t| at its first node, at any */
  double ends[MAX_COMPONENTS][4];                        /* contributions at its first two and last two nodes */
  double jump[MAX_COMPONENTS];                           /* error of a jump where it meets another */
} Panel;

typedef struct Work {
  Line *line;
  Piece pieces[80];
  int piece_count;
  Panel *panels;
  long count;
  double *z, *values;
} Work;

static double node_t(const Panel *p, int node) {
  double x = node < 7 ? -kronrod_x[node] : kronrod_x[14 - node];
  return 0.5 * (p->low + p->high) + 0.5 * (p->high - p->low) * x;
}

static double node_z(const Piece *piece, double t) { return piece->anchor + piece->sign * exp(t); }

/* ---- pieces and their first panels ----------------------------------------------------------------------------- */

static void add_panel(Work *w, int piece, double low, double high, long next) {
  if (w->count < MOST_PANELS && high > low)
    w->panels[w->count++] = (Panel){.piece = piece, .low = low, .high = high, .next = next, .fresh = true};
}

/* Panels of width 2 where numbers of ordinary size lie, wide ones towards the ends of what a double can hold. */
static void cover(Work *w, int piece) {
  const Piece *p = &w->pieces[piece];
  double at = p->low;
  while (at < p->high) {
    double width = at < -40 || at >= 40 ? 40 : 2, next = at + width;
    if (at < -40 && next > -40) next = -40;
    if (next > p->high - 0.25 * width) next = p->high;
    add_panel(w, piece, at, next, next < p->high ? w->count + 1 : -1);
    at = next;
  }
}

static void add_piece(Work *w, double anchor, double sign, double length) {
  Piece p = {.anchor = anchor, .sign = sign, .endless = !isfinite(length)};
  p.low = anchor == 0 ? -690 : log(fabs(anchor) * 4.5e-16);
  p.high = isfinite(length) ? log(length) : 600;
  if (w->piece_count == 80 || !(p.high > p.low)) return;
  w->pieces[w->piece_count] = p;
  cover(w, w->piece_count++);
}

static void make_pieces(Work *w) {
  Line *l = w->line;
  double a[36];
  int count = 0, kept = 0;
  for (int i = 0; i < l->anchor_count; i++)
    if (l->anchors[i] >= l->low && l->anchors[i] <= l->high) a[count++] = l->anchors[i];
  if (isfinite(l->low)) a[count++] = l->low;
  if (isfinite(l->high)) a[count++] = l->high;
  if (count == 0) a[count++] = 0;
  qsort(a, (size_t)count, sizeof *a, numbers_ascending);
  for (int i = 0; i < count; i++)
    if (kept == 0 || a[i] - a[kept - 1] > 1e-9 * (1 + fabs(a[i]))) a[kept++] = a[i];
  if (a[0] > l->low) add_piece(w, a[0], -1, INFINITY);
  for (int i = 0; i + 1 < kept; i++) {
    double half = 0.5 * (a[i + 1] - a[i]);
    add_piece(w, a[i], 1, half);
    add_piece(w, a[i + 1], -1, half);
  }
  if (a[kept - 1] < l->high) add_piece(w, a[kept - 1], 1, INFINITY);
}

/* ---- one round ------------------------------------------------------------------------------------------------- */

static void measure(Work *w, Panel *p, const double *values) {
  int components = w->line->components;
  double half = 0.5 * (p->high - p->low);
  for (int k = 0; k < components; k++) {
    double f[NODES], largest = 0, kronrod = 0, gauss = 0, absolute = 0, spread = 0;
    for (int i = 0; i < NODES; i++) {
      int j = i < 7 ? i : 14 - i;
      double v = values[i * components + k];
      f[i] = v == 0 ? 0 : v * exp(node_t(p, i));
      kronrod += kronrod_w[j] * f[i];
      gauss += gauss_w[j] * f[i];
      absolute += kronrod_w[j] * fabs(f[i]);
      largest = fmax(largest, fabs(f[i]));
    }
    for (int i = 0; i < NODES; i++) spread += kronrod_w[i < 7 ? i : 14 - i] * fabs(f[i] - 0.5 * kronrod);
    double error = half * fabs(kronrod - gauss);
    if (spread > 0 && isfinite(spread)) error = half * spread * fmin(1, pow(200 * fabs(kronrod - gauss) / spread, 1.5));
    p->sum[k] = half * kronrod;
    p->absolute[k] = half * absolute;
    p->error[k] = error;
    memcpy(p->ends[k], (double[]){f[0], f[1], f[NODES - 2], f[NODES - 1]}, sizeof p->ends[k]);
    p->first[k] = fabs(f[0]);
    p->largest[k] = largest;
  }
  p->fresh = false;
}

static bool evaluate_fresh(Work *w) {
  long points = 0;
  for (long i = 0; i < w->count; i++)
    for (int n = 0; w->panels[i].fresh && n < NODES; n++)
      w->z[points++] = node_z(&w->pieces[w->panels[i].piece], node_t(&w->panels[i], n));
  if (points == 0) return true;
  if (!w->line->evaluate(w->line->context, w->z, points, w->values)) return false;
  points = 0;
  for (long i = 0; i < w->count; i++)
    if (w->panels[i].fresh) {
      measure(w, &w->panels[i], w->values + points * w->line->components);
      points += NODES;
    }
  return true;
}

/* A jump between the last node of a panel and the first node of the next is seen by neither. What is smooth changes
 * less across that gap than between the nodes beside it, which lie five times as far apart. */
static void find_jumps(Work *w) {
  for (long i = 0; i < w->count; i++) memset(w->panels[i].jump, 0, sizeof w->panels[i].jump);
  for (long i = 0; i < w->count; i++) {
    Panel *a = &w->panels[i], *b = a->next >= 0 && a->next < w->count ? &w->panels[a->next] : NULL;
    for (int k = 0; b && k < w->line->components; k++) {
      double across = fabs(b->ends[k][0] - a->ends[k][3]);
      double beside = fabs(a->ends[k][3] - a->ends[k][2]) + fabs(b->ends[k][1] - b->ends[k][0]);
      if (!(across > beside)) continue;
      a->jump[k] = fmax(a->jump[k], across * (a->high - node_t(a, NODES - 1)));
      b->jump[k] = fmax(b->jump[k], across * (node_t(b, 0) - b->low));
    }
  }
}

static void add_up(Work *w) {
  Line *l = w->line;
  find_jumps(w);
  for (int k = 0; k < l->components; k++) {
    l->total[k] = l->absolute[k] = l->error[k] = 0;
    for (long i = 0; i < w->count; i++) {
      l->total[k] += w->panels[i].sum[k];
      l->absolute[k] += w->panels[i].absolute[k];
      l->error[k] += w->panels[i].error[k] + w->panels[i].jump[k];
    }
  }
}

/* Also where a panel holds more than a hundredth of the mass: the distribution function is known at their ends. */
static bool wants_split(const Work *w, const Panel *p) {
  const Line *l = w->line;
  if (p->high - p->low < 1e-9) return false;
  for (int k = 0; k < l->components; k++) {
    double scale = fmax(k ? 1e-3 : 0, l->absolute[k]);
    if (scale < 1e12 && p->error[k] + p->jump[k] > 1e-11 * scale) return true;
  }
  return l->absolute[0] < 1e12 && p->absolute[0] > 0.01 * l->absolute[0];
}

static bool split_round(Work *w) {
  long before = w->count;
  bool any = false;
  for (long i = 0; i < before; i++) {
    Panel p = w->panels[i];
    if (w->count >= MOST_PANELS || !wants_split(w, &p)) continue;
    double middle = 0.5 * (p.low + p.high);
    w->panels[i] = (Panel){.piece = p.piece, .low = p.low, .high = middle, .next = w->count, .fresh = true};
    add_panel(w, p.piece, middle, p.high, p.next);
    any = true;
  }
  return any;
}

/* The panel farthest out where the density is not yet below what a double holds. */
static const Panel *outermost(const Work *w, int piece) {
  const Panel *found = NULL;
  for (long i = 0; i < w->count; i++)
    if (w->panels[i].piece == piece && w->panels[i].absolute[0] > 0 && (!found || w->panels[i].high > found->high))
      found = &w->panels[i];
  return found;
}

/* What lies beyond the first and last node: no more than 20 times the integrand per unit of t there, for power laws
 * whose exponent is 0.05 or more; an integral that diverges slowly is seen by this too. */
static void add_ends(Work *w) {
  for (long i = 0; i < w->count; i++)
    for (int k = 0; k < w->line->components; k++)
      if (w->panels[i].low <= w->pieces[w->panels[i].piece].low) w->line->error[k] += 20 * w->panels[i].first[k];
  for (int piece = 0; piece < w->piece_count; piece++) {
    const Panel *last = w->pieces[piece].endless ? outermost(w, piece) : NULL;
    for (int k = 0; last && k < w->line->components; k++) w->line->error[k] += 20 * last->largest[k];
  }
}

static double panel_end(const Work *w, const Panel *p, bool upper) {
  const Piece *piece = &w->pieces[p->piece];
  bool outer = upper == (piece->sign > 0); /* the end away from the anchor */
  double t = outer ? p->high : p->low;
  if (!outer && p->low <= piece->low) return piece->anchor;
  return node_z(piece, t);
}

static int by_low(const void *a, const void *b) { return numbers_ascending(a, b); }

static bool hand_over(Work *w) {
  Line *l = w->line;
  l->count = w->count * NODES;
  l->panel_count = w->count;
  l->z = malloc(sizeof(double) * (size_t)l->count);
  l->weight = malloc(sizeof(double) * (size_t)l->count);
  l->panel_low = malloc(sizeof(double) * (size_t)w->count);
  l->panel_high = malloc(sizeof(double) * (size_t)w->count);
  l->panel_mass = malloc(sizeof(double) * (size_t)w->count);
  double(*order)[3] = malloc(sizeof *order * (size_t)w->count);
  if (!l->z || !l->weight || !l->panel_low || !l->panel_high || !l->panel_mass || !order) {
    free(order);
    return false;
  }
  for (long i = 0; i < w->count; i++) {
    const Panel *p = &w->panels[i];
    for (int n = 0; n < NODES; n++) {
      double t = node_t(p, n);
      l->z[i * NODES + n] = node_z(&w->pieces[p->piece], t);
      l->weight[i * NODES + n] = 0.5 * (p->high - p->low) * kronrod_w[n < 7 ? n : 14 - n] * exp(t);
    }
    order[i][0] = panel_end(w, p, false);
    order[i][1] = panel_end(w, p, true);
    order[i][2] = p->sum[0];
  }
  qsort(order, (size_t)w->count, sizeof *order, by_low);
  for (long i = 0; i < w->count; i++) {
    l->panel_low[i] = order[i][0];
    l->panel_high[i] = order[i][1];
    l->panel_mass[i] = order[i][2];
  }
  free(order);
  return true;
}

bool line_integrate(Line *l) {
  Work w = {.line = l};
  w.panels = malloc(sizeof *w.panels * MOST_PANELS);
  w.z = malloc(sizeof(double) * MOST_PANELS * NODES);
  w.values = malloc(sizeof(double) * MOST_PANELS * NODES * MAX_COMPONENTS);
  bool ok = w.panels && w.z && w.values;
  if (ok) make_pieces(&w);
  for (int round = 0; ok && round < ROUNDS; round++) {
    ok = evaluate_fresh(&w);
    add_up(&w);
    if (round + 1 == ROUNDS || !split_round(&w)) break;
  }
  if (ok) {
    ok = evaluate_fresh(&w);
    add_up(&w);
    add_ends(&w);
    ok = ok && hand_over(&w);
  }
  free(w.panels);
  free(w.z);
  free(w.values);
  return ok;
}

void line_free(Line *l) {
  free(l->z);
  free(l->weight);
  free(l->panel_low);
  free(l->panel_high);
  free(l->panel_mass);
  l->z = l->weight = l->panel_low = l->panel_high = l->panel_mass = NULL;
}

static void add_anchor(Line *l, double at) {
  if (isfinite(at) && l->anchor_count < 32) l->anchors[l->anchor_count++] = at;
}

/* Zero, atoms, and every parameter that could be a place. */
void line_anchors(Line *l, const Subject *s, const Point *setting) {
  l->low = s->support.facts.low;
  l->high = s->support.facts.high;
  add_anchor(l, 0);
  for (int i = 0; i < s->atom_count; i++) add_anchor(l, s->atoms[i]);
  for (int i = 0; i < s->slot_count; i++)
    for (long k = 0; s->event_size == 1 && s->slots[i].size <= 4 && k < s->slots[i].size; k++)
      add_anchor(l, setting->values[i][k]);
}
