/* missing_entries: a graph -> which entries of data that may be missing each value is made of, where no condition has
 * asked for those very entries. The entries that stand behind each place of a value are an affine function of the
 * place, which views change and elementwise ops keep; a sum or a product puts several behind one place. What runs over
 * the batch nobody can ask for. A condition has asked for an entry if it comes out otherwise than its branch wants
 * wherever the entry is missing: each value is known with what is provable of it (facts.c) if an entry is not there,
 * where a mask is 0. */
#include "statements.h"

#include <math.h>
#include <string.h>

enum { MOST_PLACES = 8 };

/* Which entries: offset + the sum over dims of stride x place, and from there, in steps of `among`, so many. */
typedef struct Places {
  long data, offset, stride[MAX_RANK];
  struct {
    long stride, count;
  } among[MAX_RANK]; /* by stride, as few as it takes; count 0: no more of them */
} Places;

typedef struct List {
  Places *items;
  int count;
} List;

/* What is provable of a value if one of these entries is missing. */
typedef struct Without {
  Places entries;
  Facts facts;
} Without;

typedef struct Entries {
  List reads; /* entries that the value at a place may be made of, and that may be missing */
  Without *without;
  int without_count;
  uint64_t mixed, lost; /* data of which it is made in other ways: of entries in no order, of other rows */
} Entries;

/* ---- lists ----------------------------------------------------------------------------------------------------- */

static uint64_t bit(long data) { return (uint64_t)1 << data; }

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

/* ---- places ---------------------------------------------------------------------------------------------------- */

/* Entries that differ by `stride` come to stand behind one place. */
static bool add_among(Places *p, long stride, long count) {
  int k = 0, last = MAX_RANK - 1;
  if (stride == 0 || count == 1) return true;
  if (p->among[last].count) return false;
  while (p->among[k].count && p->among[k].stride < stride) k++;
  memmove(&p->among[k + 1], &p->among[k], sizeof *p->among * (size_t)(last - k));
  p->among[k].stride = stride;
  p->among[k].count = count;
  for (k = 0; k < last && p->among[k + 1].count;) { /* a run that the next one repeats without a gap is a longer run */
    if (p->among[k].stride * p->among[k].count != p->among[k + 1].stride) {
      k++;
      continue;
    }
    p->among[k].count *= p->among[k + 1].count;
    memmove(&p->among[k + 1], &p->among[k + 2], sizeof *p->among * (size_t)(last - k - 1));
    p->among[last].count = p->among[last].stride = 0;
  }
  return true;
}

static bool is_constant(const Places *p) {
  for (int d = 0; d < MAX_RANK; d++)
    if (p->stride[d]) return false;
  return true;
}

static bool is_line(const DataInput *data) { return data->categories > 0 || data->most > 0; }

/* Row-major, the elements of a line (a category, a subset) being one entry. */
static Places places_of_data(int index, const DataInput *data) {
  Places p = {.data = index};
  int rank = data->shape.rank;
  bool line = is_line(data);
  long step = 1;
  for (int d = rank - 1 - line; d >= 0; d--) {
    if (data->shape.dims[d].size > 1) p.stride[d] = step;
    step *= (long)data->shape.dims[d].size;
  }
  return p;
}

static void clear_strides(Places *out, const Places *p) {
  *out = *p;
  memset(out->stride, 0, sizeof out->stride);
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
  double size[MAX_RANK] = {0}, other[MAX_RANK] = {0};
  long stride[MAX_RANK], none[MAX_RANK];
  int rank = without_ones(from, p, size, stride), wanted = without_ones(to, p, other, none);
  clear_strides(out, p);
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
  clear_strides(out, p);
  for (int d = 0; n->op == IR_expand && d < from->rank; d++) out->stride[n->map[d]] = p->stride[d];
  for (int d = 0; n->op == IR_permute && d < from->rank; d++) out->stride[d] = p->stride[n->map[d]];
  if (n->op == IR_expand || n->op == IR_permute) return true;
  *out = *p;
  if (n->op == IR_slice) out->offset += n->start * p->stride[n->dim];
  if (n->op == IR_slice && n->shape.dims[n->dim].size == 1) out->stride[n->dim] = 0;
  return n->op == IR_slice || n->op == IR_spread || n->op == IR_stop; /* else pad or concat */
}

/* Dims in the mask are gone, or all that stood along them stands at each place. */
static bool reduce_places(const Node *n, const Places *p, Places *out) {
  const Shape *from = &n->operands[0]->shape;
  bool kept = n->shape.rank == from->rank;
  unsigned mask = n->op == IR_cumsum ? 1u << n->dim : n->dims_mask;
  int rank = 0;
  clear_strides(out, p);
  for (int d = 0; d < from->rank; d++) {
    bool met = mask >> d & 1;
    if (met && !add_among(out, p->stride[d], (long)from->dims[d].size)) return false;
    if (!met || kept) out->stride[rank++] = met ? 0 : p->stride[d];
  }
  return true;
}

static bool contract_places(const Node *n, int operand, const Places *p, Places *out) {
  const int *labels = operand ? n->labels_b : n->labels_a;
  const Shape *from = &n->operands[operand]->shape;
  clear_strides(out, p);
  for (int d = 0; d < from->rank; d++) {
    int to = 0;
    while (to < n->shape.rank && n->labels_out[to] != labels[d]) to++;
    if (to < n->shape.rank)
      out->stride[to] = p->stride[d];
    else if (!add_among(out, p->stride[d], (long)from->dims[d].size))
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

/* Which entries stand behind the places of n (at most), given those behind an operand's. False: in no order. */
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

static bool is_whole(const Graph *g, const Places *p) {
  const DataInput *data = &g->signature->data[p->data];
  long size = shape_size(&data->shape);
  if (is_line(data)) size /= (long)data->shape.dims[data->shape.rank - 1].size;
  return is_constant(p) && p->offset == 0 && (size == 1 || (p->among[0].stride == 1 && p->among[0].count == size));
}

/* ---- without an entry ------------------------------------------------------------------------------------------- */

static const Facts *find_without(const Entries *x, const Places *p) {
  for (int i = 0; i < x->without_count; i++)
    if (memcmp(&x->without[i].entries, p, sizeof *p) == 0) return &x->without[i].facts;
  return NULL;
}

static Facts facts_without(const Node *operand, const Entries *x, const Places *p) {
  const Facts *found = find_without(x, p);
  return found ? *found : operand->facts;
}

/* Nothing is kept that holds of the value in any case; what finds no room is not known. */
static void note_without(Compilation *c, Entries *m, const Node *n, const Places *p, Facts f) {
  if (find_without(m, p) || m->without_count == MOST_PLACES) return;
  if (f.low <= n->facts.low && f.high >= n->facts.high) return;
  m->without = arena_grow(c, m->without, m->without_count, sizeof *m->without);
  m->without[m->without_count++] = (Without){*p, f};
}

typedef enum Truth { NEVER, ALWAYS, SOMETIMES } Truth;

static Truth truth_of(Facts f) {
  if (f.low == 0 && f.high == 0) return NEVER;
  return f.low > 0 || f.high < 0 ? ALWAYS : SOMETIMES;
}

static Truth when(bool always, bool never) { return always ? ALWAYS : never ? NEVER : SOMETIMES; }

static Truth opposite(Truth t) { return t == SOMETIMES ? SOMETIMES : t == ALWAYS ? NEVER : ALWAYS; }

/* By the bounds of real arithmetic: conditions on masks are made of small whole numbers. */
static Truth truth_of_comparison(Op op, Facts a, Facts b) {
  Truth x = truth_of(a), y = truth_of(b);
  bool apart = a.high < b.low || b.high < a.low, same = a.low == a.high && b.low == b.high && a.low == b.low;
  if (op == IR_less) return when(a.high < b.low, a.low >= b.high);
  if (op == IR_less_equal) return when(a.high <= b.low, a.low > b.high);
  if (op == IR_equal) return when(same, apart);
  if (op == IR_not_equal) return when(apart, same);
  if (op == IR_and) return when(x == ALWAYS && y == ALWAYS, x == NEVER || y == NEVER);
  if (op == IR_or) return when(x == ALWAYS || y == ALWAYS, x == NEVER && y == NEVER);
  return op == IR_not ? opposite(x) : SOMETIMES;
}

static Facts facts_of_operands(const Graph *g, const Node *n, const Facts *facts) {
  Node operands[3], *pointers[3], copy = *n;
  for (int k = 0; k < n->operand_count; k++) {
    operands[k] = *n->operands[k];
    operands[k].facts = facts[k];
    pointers[k] = &operands[k > 0 && n->operands[k] == n->operands[0] ? 0 : k];
  }
  copy.operands = pointers;
  return facts_of(g, &copy);
}

static Facts elementwise_without(const Graph *g, const Node *n, const Facts *facts) {
  Truth t = truth_of_comparison(n->op, facts[0], facts[n->operand_count - 1]);
  if (t != SOMETIMES) return (Facts){.low = t == ALWAYS, .high = t == ALWAYS, .integer = true, .finite = true};
  if (n->op == IR_select && truth_of(facts[0]) != SOMETIMES) return facts[truth_of(facts[0]) == ALWAYS ? 1 : 2];
  return facts_of_operands(g, n, facts);
}

/* Of `count` elements one, or all that there are, are known as `without`. */
static Facts joined_without(const Node *n, Facts without, Facts any, double count, bool all) {
  Facts rest = all ? without : any;
  if (count == 1) return without;
  if (n->op == IR_max_of) return (Facts){.low = fmax(without.low, rest.low), .high = fmax(without.high, rest.high)};
  return (Facts){.low = without.low + (rest.low == 0 ? 0 : (count - 1) * rest.low),
                 .high = without.high + (rest.high == 0 ? 0 : (count - 1) * rest.high)};
}

/* Of a reduction or a product: what is provable of n, from what is of an operand. */
static void note_joined(Compilation *c, const Graph *g, const Node *n, int operand, const Without *w, Entries *m) {
  Places after;
  const Node *x = n->operands[operand];
  if (!places_after(n, operand, &w->entries, &after)) return;
  bool all = memcmp(after.among, w->entries.among, sizeof after.among) == 0;
  if (n->op == IR_sum || n->op == IR_max_of) {
    double count = (double)(shape_size(&x->shape) / shape_size(&n->shape));
    note_without(c, m, n, &after, joined_without(n, w->facts, x->facts, count, all));
  } else if (n->op == IR_contract && n->axes_attribute == 0) {
    Node product = {.op = IR_mul, .operand_count = 2, .operands = n->operands};
    Facts facts[2] = {n->operands[0]->facts, n->operands[1]->facts};
    Facts any = facts_of_operands(g, &product, facts);
    double count = 1;
    for (int d = 0; d < x->shape.rank; d++) {
      bool kept = false;
      for (int i = 0; i < n->shape.rank; i++) kept |= n->labels_out[i] == (operand ? n->labels_b : n->labels_a)[d];
      if (!kept) count *= x->shape.dims[d].size;
    }
    facts[operand] = w->facts;
    note_without(c, m, n, &after, joined_without(n, facts_of_operands(g, &product, facts), any, count, all));
  }
}

/* A mask: what may be missing is NaN, which is not itself. */
static bool is_mask(const Node *n) {
  const Node *x = n->operand_count == 2 ? n->operands[0] : n;
  if (n->op != IR_equal || n->operands[1] != x) return false;
  while (op_table[x->op].kind == KIND_VIEW) x = x->operands[0];
  return x->op == IR_data;
}

static void find_facts(Compilation *c, const Graph *g, const Node *n, const Entries *of, Entries *m) {
  OpKind kind = op_table[n->op].kind;
  for (int k = 0; k < n->operand_count; k++)
    for (int i = 0; i < of[k].without_count; i++) {
      const Without *w = &of[k].without[i];
      Places after;
      Facts facts[3];
      if (kind == KIND_MAP) {
        for (int o = 0; o < n->operand_count; o++) facts[o] = facts_without(n->operands[o], &of[o], &w->entries);
        note_without(c, m, n, &w->entries, elementwise_without(g, n, facts));
      } else if (kind == KIND_VIEW) {
        if (places_after(n, k, &w->entries, &after) && n->op != IR_pad && n->op != IR_concat)
          note_without(c, m, n, &after, w->facts);
      } else
        note_joined(c, g, n, k, w, m);
    }
}

/* ---- ops ------------------------------------------------------------------------------------------------------- */

static bool meets_other_rows(const Node *n) {
  OpKind kind = op_table[n->op].kind;
  return (kind == KIND_OVER || kind == KIND_PRODUCT || kind == KIND_OTHER) && n->axes_attribute & AXIS_DATUM &&
         n->op != IR_pick && n->op != IR_place;
}

static uint64_t all_read(const Entries *x) { return bits_of(x->reads) | x->mixed | x->lost; }

/* What is read of an operand, as it stands behind the places of n. */
static void add_reads(Compilation *c, const Node *n, int operand, const Entries *x, Entries *m) {
  if (meets_other_rows(n)) {
    m->lost |= all_read(x);
    return;
  }
  m->mixed |= x->mixed;
  m->lost |= x->lost;
  for (int i = 0; i < x->reads.count; i++) {
    Places p;
    if (places_after(n, operand, &x->reads.items[i], &p))
      add(c, &m->reads, &p, &m->mixed);
    else
      m->mixed |= bit(x->reads.items[i].data);
  }
}

/* What of a branch its condition, which chooses it by being true or not, has not asked for. */
static Entries not_asked(Compilation *c, const Graph *g, const Entries *branch, const Entries *condition,
                         bool if_true) {
  Entries out = *branch;
  for (int k = 0; k < condition->without_count; k++) {
    const Places *asked = &condition->without[k].entries;
    List left = {0};
    if (truth_of(condition->without[k].facts) != (if_true ? NEVER : ALWAYS)) continue;
    bool whole = is_whole(g, asked);
    for (int i = 0; i < out.reads.count; i++) {
      const Places *read = &out.reads.items[i];
      bool covered = memcmp(asked, read, sizeof *read) == 0 || (whole && asked->data == read->data);
      if (!covered) add(c, &left, read, &out.mixed);
    }
    out.reads = left;
    if (whole) out.mixed &= ~bit(asked->data);
  }
  return out;
}

static Entries entries_of(Compilation *c, const Graph *g, const Node *n, const Entries *below) {
  Entries m = {0}, *of = arena_array(c, Entries, n->operand_count);
  for (int k = 0; k < n->operand_count; k++) of[k] = below[n->operands[k]->id];
  if (n->op == IR_data && g->signature->data[n->index].missing_ok && n->index < 64) {
    Places p = places_of_data(n->index, &g->signature->data[n->index]);
    add(c, &m.reads, &p, &m.mixed);
  } else if (is_mask(n)) {
    for (int i = 0; i < of[0].reads.count; i++)
      note_without(c, &m, n, &of[0].reads.items[i], (Facts){.integer = true, .finite = true});
  } else {
    find_facts(c, g, n, of, &m);
    if (n->op == IR_select) {
      of[1] = not_asked(c, g, &of[1], &of[0], true);
      of[2] = not_asked(c, g, &of[2], &of[0], false);
    }
    for (int k = 0; k < n->operand_count; k++) add_reads(c, n, k, &of[k], &m);
  }
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
