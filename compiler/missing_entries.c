/* missing_entries: a graph -> which entries of data that may be missing each value is made of, where no condition has
 * asked for those very entries. The entry that stands behind each place of a value is an affine function of the place,
 * which views change and elementwise ops keep; where entries meet (a sum, a product) only a condition on several of
 * them together can have asked, and what runs over the batch nobody can ask for. */
#include "front.h"

#include <string.h>

enum { MOST_PLACES = 8 };

typedef struct Places { /* entry = offset + the sum over dims of stride x place */
  int data;
  long offset, stride[MAX_RANK];
} Places;

typedef struct List {
  Places *items;
  int count;
} List;

typedef struct Entries {
  List reads;             /* entries that the value at a place may be made of, and that may be missing */
  List if_true, if_false; /* entries that are there where the value is not 0, where it is 0 */
  uint64_t mixed, lost;   /* data of which it is made in other ways: of several entries, of other rows */
  uint64_t whole;         /* data on several of whose entries together it depends whether they are there */
} Entries;

/* ---- lists ----------------------------------------------------------------------------------------------------- */

static uint64_t bit(int data) { return (uint64_t)1 << data; }

static uint64_t bits_of(List list) {
  uint64_t bits = 0;
  for (int i = 0; i < list.count; i++) bits |= bit(list.items[i].data);
  return bits;
}

static bool holds(List list, const Places *p) {
  for (int i = 0; i < list.count; i++)
    if (memcmp(&list.items[i], p, sizeof *p) == 0) return true;
  return false;
}

/* What finds no room goes to `rest`. */
static void add(Compilation *c, List *list, const Places *p, uint64_t *rest) {
  if (holds(*list, p)) return;
  if (list->count == MOST_PLACES) {
    *rest |= bit(p->data);
    return;
  }
  Places *items = arena_array(c, Places, list->count + 1);
  if (list->count) memcpy(items, list->items, sizeof *items * (size_t)list->count);
  items[list->count++] = *p;
  list->items = items;
}

static void add_all(Compilation *c, List *list, List more, uint64_t *rest) {
  if (list->count == 0)
    *list = more;
  else
    for (int i = 0; i < more.count; i++) add(c, list, &more.items[i], rest);
}

/* ---- places ---------------------------------------------------------------------------------------------------- */

static bool is_constant(const Places *p) {
  for (int d = 0; d < MAX_RANK; d++)
    if (p->stride[d]) return false;
  return true;
}

/* Row-major, the elements of a line (a category, a subset) being one entry. */
static Places places_of_data(int index, const DataInput *data) {
  Places p = {.data = index};
  int rank = data->shape.rank;
  bool line = data->categories > 0 || data->most > 0;
  long step = 1;
  for (int d = rank - 1 - line; d >= 0; d--) {
    if (data->shape.dims[d].size > 1) p.stride[d] = step;
    step *= (long)data->shape.dims[d].size;
  }
  return p;
}

/* Dims of one place say nothing; otherwise dims and strides without them. */
static int without_ones(const Shape *shape, const Places *p, double *size, long *stride) {
  int rank = 0;
  for (int d = 0; d < shape->rank; d++) {
    if (shape->dims[d].size == 1) continue;
    size[rank] = shape->dims[d].size;
    stride[rank++] = p->stride[d];
  }
  return rank;
}

static bool reshape_places(const Shape *from, const Shape *to, const Places *p, Places *out) {
  double size[MAX_RANK], other[MAX_RANK];
  long stride[MAX_RANK], none[MAX_RANK];
  int rank = without_ones(from, p, size, stride), wanted = without_ones(to, p, other, none);
  *out = (Places){.data = p->data, .offset = p->offset};
  bool same = rank == wanted && memcmp(size, other, sizeof *size * (size_t)rank) == 0;
  long step = rank > 0 ? stride[rank - 1] : 0;
  for (int d = to->rank - 1, k = rank - 1; same && d >= 0; d--)
    if (to->dims[d].size != 1) out->stride[d] = stride[k--];
  if (same) return true;
  for (int d = rank - 1; d >= 0; d--) { /* else it must be one run of entries, in order */
    if (stride[d] != step) return false;
    step *= (long)size[d];
  }
  step = stride[rank - 1];
  for (int d = to->rank - 1; d >= 0; d--) {
    if (to->dims[d].size != 1) out->stride[d] = step;
    step *= (long)to->dims[d].size;
  }
  return true;
}

static bool view_places(const Node *n, const Places *p, Places *out) {
  const Shape *from = &n->operands[0]->shape;
  if (n->op == IR_reshape) return reshape_places(from, &n->shape, p, out);
  *out = (Places){.data = p->data, .offset = p->offset};
  for (int d = 0; n->op == IR_expand && d < from->rank; d++) out->stride[n->map[d]] = p->stride[d];
  for (int d = 0; n->op == IR_permute && d < from->rank; d++) out->stride[d] = p->stride[n->map[d]];
  if (n->op == IR_expand || n->op == IR_permute) return true;
  *out = *p;
  if (n->op == IR_slice) out->offset += n->start * p->stride[n->dim];
  if (n->op == IR_slice && n->shape.dims[n->dim].size == 1) out->stride[n->dim] = 0;
  return n->op == IR_slice || n->op == IR_spread || n->op == IR_stop; /* else pad or concat */
}

/* Dims in the mask are gone, or their places have met. */
static bool reduce_places(const Node *n, const Places *p, Places *out) {
  const Shape *from = &n->operands[0]->shape;
  bool kept = n->shape.rank == from->rank;
  unsigned mask = n->op == IR_cumsum ? 1u << n->dim : n->dims_mask;
  *out = (Places){.data = p->data, .offset = p->offset};
  int rank = 0;
  for (int d = 0; d < from->rank; d++) {
    bool met = mask >> d & 1;
    if (met && p->stride[d]) return false;
    if (!met || kept) out->stride[rank++] = p->stride[d];
  }
  return true;
}

static bool contract_places(const Node *n, int operand, const Places *p, Places *out) {
  const int *labels = operand ? n->labels_b : n->labels_a;
  *out = (Places){.data = p->data, .offset = p->offset};
  for (int d = 0; d < n->operands[operand]->shape.rank; d++) {
    int to = 0;
    while (to < n->shape.rank && n->labels_out[to] != labels[d]) to++;
    if (to < n->shape.rank)
      out->stride[to] = p->stride[d];
    else if (p->stride[d])
      return false;
  }
  return true;
}

/* A support axis is no dim of the entries. */
static bool axis_places(const Node *n, const Places *p, Places *out) {
  *out = *p;
  if (n->op == IR_pick) {
    if (p->stride[0]) return false;
    memmove(out->stride, p->stride + 1, sizeof *p->stride * (MAX_RANK - 1));
    out->stride[MAX_RANK - 1] = 0;
  }
  if (n->op == IR_place) {
    memmove(out->stride + 1, p->stride, sizeof *p->stride * (MAX_RANK - 1));
    out->stride[0] = 0;
  }
  return true;
}

/* Which entries stand behind the places of n, given those behind an operand's. False: several behind one. */
static bool places_after(const Node *n, int operand, const Places *p, Places *out) {
  *out = *p;
  if (is_constant(p)) return true;
  int last = n->shape.rank - 1;
  switch (op_table[n->op].kind) {
  case KIND_LEAF:
  case KIND_MAP: return true;
  case KIND_VIEW: return view_places(n, p, out);
  case KIND_REDUCE: return reduce_places(n, p, out);
  case KIND_OVER: return axis_places(n, p, out);
  case KIND_PRODUCT: return contract_places(n, operand, p, out);
  case KIND_LINE:
    return n->op != IR_cholesky && last >= 0 && p->stride[last] == 0 &&
           n->operands[operand]->shape.rank == n->shape.rank;
  case KIND_LOOP:
  case KIND_OTHER: return false;
  }
  return false;
}

static List list_after(Compilation *c, const Node *n, int operand, List list, uint64_t *rest) {
  List out = {0};
  for (int i = 0; i < list.count; i++) {
    Places p;
    if (places_after(n, operand, &list.items[i], &p))
      add(c, &out, &p, rest);
    else
      *rest |= bit(list.items[i].data);
  }
  return out;
}

/* ---- ops ------------------------------------------------------------------------------------------------------- */

static bool meets_other_rows(const Node *n) {
  OpKind kind = op_table[n->op].kind;
  return (kind == KIND_OVER || kind == KIND_PRODUCT || kind == KIND_OTHER) && n->axes_attribute & AXIS_DATUM &&
         n->op != IR_pick && n->op != IR_place;
}

static uint64_t all_read(const Entries *x) { return bits_of(x->reads) | x->mixed | x->lost; }

/* An operand as it stands behind the places of n. */
static Entries operand_entries(Compilation *c, const Node *n, int operand, const Entries *below) {
  const Entries *x = &below[n->operands[operand]->id];
  Entries m = {.mixed = x->mixed, .lost = x->lost, .whole = x->whole};
  if (meets_other_rows(n)) return (Entries){.lost = all_read(x)};
  m.reads = list_after(c, n, operand, x->reads, &m.mixed);
  m.if_true = list_after(c, n, operand, x->if_true, &m.whole);
  m.if_false = list_after(c, n, operand, x->if_false, &m.whole);
  return m;
}

/* What of v is not asked for by a condition. */
static List not_asked(Compilation *c, List v, List there, uint64_t whole) {
  List out = {0};
  uint64_t none;
  for (int i = 0; i < v.count; i++)
    if (!holds(there, &v.items[i]) && !(whole & bit(v.items[i].data))) add(c, &out, &v.items[i], &none);
  return out;
}

static void add_entries(Compilation *c, Entries *m, const Entries *x) {
  add_all(c, &m->reads, x->reads, &m->mixed);
  m->mixed |= x->mixed;
  m->lost |= x->lost;
  m->whole |= x->whole;
}

/* A value made of conditions by arithmetic may say either of them. */
static void add_conditions(Compilation *c, Entries *m, const Entries *x) {
  List both = x->if_true;
  add_all(c, &both, x->if_false, &m->whole);
  add_all(c, &m->if_true, both, &m->whole);
  add_all(c, &m->if_false, both, &m->whole);
}

static Entries select_entries(Compilation *c, const Entries *of) {
  Entries m = of[0];
  for (int k = 1; k < 3; k++) {
    Entries branch = of[k];
    branch.reads = not_asked(c, branch.reads, k == 1 ? of[0].if_true : of[0].if_false, of[0].whole);
    branch.mixed &= ~of[0].whole;
    add_entries(c, &m, &branch);
    add_conditions(c, &m, &branch);
  }
  return m;
}

static Entries entries_of(Compilation *c, const Graph *g, const Node *n, const Entries *below) {
  Entries m = {0}, *of = arena_array(c, Entries, n->operand_count);
  for (int i = 0; i < n->operand_count; i++) of[i] = operand_entries(c, n, i, below);
  if (n->op == IR_data && g->signature->data[n->index].missing_ok && n->index < 64) {
    Places p = places_of_data(n->index, &g->signature->data[n->index]);
    add(c, &m.reads, &p, &m.mixed);
    return m;
  }
  if (n->op == IR_equal && n->operands[0] == n->operands[1]) /* a mask: NaN is not itself */
    return (Entries){.if_true = of[0].reads, .whole = of[0].mixed};
  if (n->op == IR_select) return select_entries(c, of);
  for (int i = 0; i < n->operand_count; i++) {
    add_entries(c, &m, &of[i]);
    if (n->op == IR_and || n->op == IR_mul)
      add_all(c, &m.if_true, of[i].if_true, &m.whole);
    else if (n->op == IR_or)
      add_all(c, &m.if_false, of[i].if_false, &m.whole);
    else if (op_table[n->op].kind == KIND_MAP && n->op != IR_not)
      add_conditions(c, &m, &of[i]);
    else {
      add_all(c, &m.if_true, of[i].if_true, &m.whole);
      add_all(c, &m.if_false, of[i].if_false, &m.whole);
    }
  }
  if (n->op == IR_not) m.if_true = of[0].if_false, m.if_false = of[0].if_true;
  return m;
}

MissingReads *find_missing_reads(Elaborator *e) {
  const Graph *g = e->graph;
  Entries *all = arena_array(e->c, Entries, g->count);
  MissingReads *reads = arena_array(e->c, MissingReads, g->count);
  for (int i = 0; i < g->count; i++) {
    all[i] = entries_of(e->c, g, g->nodes[i], all);
    reads[i] = (MissingReads){.data = all_read(&all[i]), .other_rows = all[i].lost};
  }
  return reads;
}
