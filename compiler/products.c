/* Products: contract -> matrix products with loops around them, or a plain loop of products and sums.
 *
 * Datum and sample are labels like the others. A label is of class batch (in a, b and the result), M (a and result),
 * N (b and result) or K (summed). Neighbouring labels of a class that run on in memory are one; one such run of each
 * class becomes the matrix product's dim, the rest are loops around it. Where no orientation fits an operand's layout
 * it is copied; where the result's does not fit, and where there is no matrix in it, a loop does it. Always right. */
#include <string.h>

#include "plan_internal.h"

enum { TYPICAL_ROWS = 64, PART_ROWS = 96, PART_ROUND = 16, SMALLEST_RANGE = 512 };

typedef enum Class { CLASS_BATCH, CLASS_M, CLASS_N, CLASS_K, CLASS_COUNT } Class;
typedef struct Label {
  int name; /* DIM_DATUM, DIM_SAMPLE, DIM_SHAPE + label */
  Class class;
  Extent extent;
  long a, b, c; /* strides, 0 where absent */
  bool in_a, in_b, in_c;
} Label;

typedef struct Product {
  Label labels[PLAN_DIMS]; /* those of the result in its order, then those summed */
  int count;
  Access a, b, c; /* without strides */
} Product;

static Label *label_find(Product *p, int name, Extent extent) {
  for (int i = 0; i < p->count; i++)
    if (p->labels[i].name == name) return &p->labels[i];
  p->labels[p->count] = (Label){.name = name, .extent = extent};
  return &p->labels[p->count++];
}

static void add_result(Scheduler *s, Product *p, const Node *node, Access c) {
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, node, extents);
  for (int d = 0; d < dims; d++) {
    if (d < DIM_SHAPE && !(node->axes >> d & 1)) continue;
    Label *label = label_find(p, d < DIM_SHAPE ? d : DIM_SHAPE + node->labels_out[d - DIM_SHAPE], extents[d]);
    label->in_c = true;
    label->c = c.strides[d];
  }
  p->c = c;
}

static void add_operand(Scheduler *s, Product *p, const Node *x, const int *labels, const Access *access, bool is_a) {
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, x, extents);
  for (int d = 0; d < dims; d++) {
    if (d < DIM_SHAPE && !(x->axes >> d & 1)) continue;
    Label *label = label_find(p, d < DIM_SHAPE ? d : DIM_SHAPE + labels[d - DIM_SHAPE], extents[d]);
    *(is_a ? &label->in_a : &label->in_b) = true;
    *(is_a ? &label->a : &label->b) = access->strides[d];
  }
  *(is_a ? &p->a : &p->b) = *access;
}

static Product describe(Scheduler *s, const Node *node, Access a, Access b, Access c) {
  Product p = {.count = 0};
  add_result(s, &p, node, c);
  add_operand(s, &p, node->operands[0], node->labels_a, &a, true);
  add_operand(s, &p, node->operands[1], node->labels_b, &b, false);
  int kept = 0;
  for (int i = 0; i < p.count; i++) {
    Label label = p.labels[i];
    if (extent_is_one(label.extent)) continue;
    label.class = !label.in_c ? CLASS_K : label.in_a && label.in_b ? CLASS_BATCH : label.in_a ? CLASS_M : CLASS_N;
    p.labels[kept++] = label;
  }
  p.count = kept;
  return p;
}

/* --- fitting a matrix product --- */

/* Neighbouring labels of one class as one label. */
static int runs_of(const Product *p, Class class, Label runs[PLAN_DIMS]) {
  int count = 0;
  for (int i = 0; i < p->count; i++) {
    const Label *label = &p->labels[i];
    if (label->class != class) continue;
    Label *last = count > 0 ? &runs[count - 1] : NULL;
    long extent = label->extent.count;
    if (last != NULL && label->extent.kind == EXTENT_FIXED && last->a == label->a * extent &&
        last->b == label->b * extent && last->c == label->c * extent) {
      last->extent = extent_times(last->extent, label->extent);
      last->a = label->a, last->b = label->b, last->c = label->c;
    } else {
      runs[count++] = *label;
    }
  }
  return count;
}

/* A matrix [rows, columns] as blas wants it: stored by rows, or transposed. */
static bool orient_as(long row_stride, Extent rows, long column_stride, Extent columns, long *leading) {
  if (!extent_is_one(columns) && column_stride != 1) return false;
  if (columns.kind == EXTENT_ROWS) return false;
  *leading = extent_is_one(rows) ? columns.count : row_stride;
  if (columns.kind == EXTENT_PART) return !extent_is_one(rows) && *leading >= 1; /* the stride is that of the whole */
  return *leading >= columns.count;
}

static bool orient(long row_stride, Extent rows, long column_stride, Extent columns, bool *transposed, long *leading) {
  *transposed = false;
  if (orient_as(row_stride, rows, column_stride, columns, leading)) return true;
  *transposed = true;
  return orient_as(column_stride, columns, row_stride, rows, leading);
}

static long typical(Extent extent) { return extent.count * (extent.kind == EXTENT_FIXED ? 1 : TYPICAL_ROWS); }

static const Label one = {.extent = {.count = 1, .kind = EXTENT_FIXED}};

/* The matrix product over one run of each class, if the layouts allow it. */
static bool fit_core(const Label *m, const Label *n, const Label *k, Gemm *gemm) {
  bool transposed;
  gemm->m = m->extent, gemm->n = n->extent, gemm->k = k->extent;
  return orient(m->a, m->extent, k->a, k->extent, &gemm->transpose_a, &gemm->lda) &&
         orient(k->b, k->extent, n->b, n->extent, &gemm->transpose_b, &gemm->ldb) &&
         orient(m->c, m->extent, n->c, n->extent, &transposed, &gemm->ldc) && !transposed;
}

static void add_loops(Gemm *gemm, const Label *runs, int count, int core, bool sums) {
  for (int i = 0; i < count; i++) {
    if (i == core) continue;
    int l = gemm->loop_count++;
    gemm->loops[l] = runs[i].extent;
    gemm->accumulates[l] = sums;
    gemm->a.strides[l] = runs[i].a;
    gemm->b.strides[l] = runs[i].b;
    gemm->c.strides[l] = runs[i].c;
    gemm->zeroes = gemm->zeroes || sums;
  }
}

typedef struct Fit {
  Gemm gemm;
  long size; /* of the matrix product: the larger the better; 0: none fits */
} Fit;

/* Tries every choice of runs. */
static void fit_product(const Product *p, Fit *best) {
  Label runs[CLASS_COUNT][PLAN_DIMS];
  int counts[CLASS_COUNT];
  for (int class = 0; class < CLASS_COUNT; class ++) counts[class] = runs_of(p, (Class) class, runs[class]);
  int choices[CLASS_COUNT];
  for (int class = 0; class < CLASS_COUNT; class ++) choices[class] = counts[class] > 0 ? counts[class] : 1;
  for (int m = 0; m < choices[CLASS_M]; m++)
    for (int n = 0; n < choices[CLASS_N]; n++)
      for (int k = 0; k < choices[CLASS_K]; k++) {
        Gemm gemm = {.a = p->a, .b = p->b, .c = p->c};
        const Label *run_m = counts[CLASS_M] > 0 ? &runs[CLASS_M][m] : &one;
        const Label *run_n = counts[CLASS_N] > 0 ? &runs[CLASS_N][n] : &one;
        const Label *run_k = counts[CLASS_K] > 0 ? &runs[CLASS_K][k] : &one;
        if (!fit_core(run_m, run_n, run_k, &gemm)) continue;
        long size = typical(gemm.m) * typical(gemm.n) * typical(gemm.k);
        if (size <= best->size) continue;
        memset(gemm.a.strides, 0, sizeof gemm.a.strides);
        memset(gemm.b.strides, 0, sizeof gemm.b.strides);
        memset(gemm.c.strides, 0, sizeof gemm.c.strides);
        add_loops(&gemm, runs[CLASS_BATCH], counts[CLASS_BATCH], -1, false);
        add_loops(&gemm, runs[CLASS_M], counts[CLASS_M], counts[CLASS_M] > 0 ? m : -1, false);
        add_loops(&gemm, runs[CLASS_N], counts[CLASS_N], counts[CLASS_N] > 0 ? n : -1, false);
        add_loops(&gemm, runs[CLASS_K], counts[CLASS_K], counts[CLASS_K] > 0 ? k : -1, true);
        *best = (Fit){.gemm = gemm, .size = size};
      }
}

/* c' = b' a' */
static Product swapped(const Product *p) {
  Product other = *p;
  other.a = p->b, other.b = p->a;
  for (int i = 0; i < p->count; i++) {
    Label *label = &other.labels[i];
    const Label *from = &p->labels[i];
    label->a = from->b, label->b = from->a;
    label->in_a = from->in_b, label->in_b = from->in_a;
    label->class = from->class == CLASS_M ? CLASS_N : from->class == CLASS_N ? CLASS_M : from->class;
  }
  return other;
}

/* Sets part_a and part_b as well. */
static void fit_either(const Product *p, Fit *best) {
  long before = best->size;
  fit_product(p, best);
  if (best->size == before) return;
  for (int i = 0; i < p->count; i++) {
    if (p->labels[i].extent.kind != EXTENT_PART) continue;
    best->gemm.part_a = p->labels[i].a;
    best->gemm.part_b = p->labels[i].b;
  }
}

static bool fit(const Product *p, Gemm *gemm) {
  if (p->a.tensor == NULL || p->b.tensor == NULL) return false;
  Fit best = {.size = 0};
  Product other = swapped(p);
  fit_either(p, &best);
  fit_either(&other, &best);
  if (best.size == 0) return false;
  *gemm = best.gemm;
  gemm->c_size = result_extent(p->c.tensor);
  return true;
}

static int classes_present(const Product *p) {
  int present = 0;
  for (int i = 0; i < p->count; i++) present |= 1 << p->labels[i].class;
  return present;
}

static bool has(int present, Class class) { return present >> class & 1; }

/* A matrix of each row's own times a vector: large enough that a call a row is cheaper than a loop. */
static bool is_large_matrix(const Product *p, Class side) {
  enum { LEAST_ELEMENTS = 2048 };
  long elements = 1;
  for (int i = 0; i < p->count; i++)
    if (p->labels[i].class == side || p->labels[i].class == CLASS_K) elements *= typical(p->labels[i].extent);
  return elements >= LEAST_ELEMENTS;
}

/* Is there a matrix in it at all? */
static bool wants_gemm(const Product *p) {
  int present = classes_present(p);
  if (!has(present, CLASS_K)) return false;
  if (has(present, CLASS_M) && has(present, CLASS_N)) return true;
  if (!has(present, CLASS_M) && !has(present, CLASS_N)) return false;
  return !has(present, CLASS_BATCH) || is_large_matrix(p, has(present, CLASS_M) ? CLASS_M : CLASS_N);
}

/* --- steps --- */

/* The operand's elements in the order of the labels, without gaps. */
static void copy_operand(Scheduler *s, Product *p, const Node *operand, bool is_a, StepList *list) {
  Access from = is_a ? p->a : p->b, to = {0};
  Extent extents[PLAN_DIMS];
  long size = 1;
  bool rows = false;
  memset(from.strides, 0, sizeof from.strides);
  for (int i = p->count - 1; i >= 0; i--) {
    Label *label = &p->labels[i];
    extents[i] = extent_fixed(1);
    if (!(is_a ? label->in_a : label->in_b)) continue;
    extents[i] = label->extent;
    from.strides[i] = is_a ? label->a : label->b;
    to.strides[i] = size;
    rows = rows || label->name == DIM_DATUM;
    if (label->name != DIM_DATUM) size *= label->extent.count;
  }
  for (int i = 0; i < p->count; i++) {
    Label *label = &p->labels[i];
    if (!(is_a ? label->in_a : label->in_b)) continue;
    if (label->name == DIM_DATUM) to.strides[i] = size;
    *(is_a ? &label->a : &label->b) = to.strides[i];
  }
  to.tensor = tensor_create(s, operand, rows ? STORE_TILE : STORE_FIXED, -1, rows, size, "copy");
  copy_step(s, operand, from, to, extents, p->count, list);
  *(is_a ? &p->a : &p->b) = to;
}

/* Datum must stand before all other labels for the copy's strides to be right. */
static void datum_first(Product *p) {
  for (int i = 1; i < p->count; i++) {
    if (p->labels[i].name != DIM_DATUM) continue;
    Label datum = p->labels[i];
    memmove(p->labels + 1, p->labels, sizeof(Label) * (size_t)i);
    p->labels[0] = datum;
  }
}

/* Copies are tried on a, on b, on both; what did not help is taken back. */
static bool fit_with_copies(Scheduler *s, const Node *node, Product *p, Gemm *gemm, StepList *list) {
  datum_first(p);
  if (fit(p, gemm)) return true;
  for (int which = 1; which <= 3; which++) {
    StepList *lists[2] = {copy_list(s, node->operands[0], list), copy_list(s, node->operands[1], list)};
    int counts[2] = {lists[0]->count, lists[1]->count}, tensors = s->plan->tensor_count;
    Product copied = *p;
    for (int o = 0; o < 2; o++)
      if (which >> o & 1) copy_operand(s, &copied, node->operands[o], o == 0, lists[o]);
    if (fit(&copied, gemm)) {
      *p = copied;
      return true;
    }
    for (int o = 0; o < 2; o++) lists[o]->count = counts[o];
    s->plan->tensor_count = tensors;
  }
  return false;
}

static void loop_steps(Scheduler *s, const Node *node, const Product *p, StepList *list) {
  Access a = p->a, b = p->b, c = p->c;
  Extent extents[PLAN_DIMS];
  bool sums = false;
  memset(a.strides, 0, sizeof a.strides);
  memset(b.strides, 0, sizeof b.strides);
  memset(c.strides, 0, sizeof c.strides);
  for (int i = 0; i < p->count; i++) {
    const Label *label = &p->labels[i];
    extents[i] = label->extent;
    a.strides[i] = label->a, b.strides[i] = label->b, c.strides[i] = label->c;
    sums = sums || !label->in_c;
  }
  product_loop(s, node, a, b, c, sums, extents, p->count, list);
}

void product_steps(Scheduler *s, const Node *node, StepList *list) {
  Product p = describe(s, node, operand_access(s, node->operands[0]), operand_access(s, node->operands[1]),
                       result_access(s, node));
  Gemm gemm;
  if (wants_gemm(&p) && fit_with_copies(s, node, &p, &gemm, list))
    step_append(s->compilation, list, PLAN_GEMM, node)->gemm = gemm;
  else
    loop_steps(s, node, &p, list);
}

/* --- ranges --- */

/* The result's first dim of more than one element becomes the part that a unit covers. */
static bool cut_leading(Product *p, long *leading) {
  for (int i = 0; i < p->count; i++) {
    if (!p->labels[i].in_c) continue;
    *leading = p->labels[i].extent.count;
    p->labels[i].extent = (Extent){.count = 1, .kind = EXTENT_PART};
    return true;
  }
  return false;
}

static bool fit_part(Scheduler *s, const Node *node, Access c, Gemm *gemm, long *leading) {
  Product p = describe(s, node, operand_access(s, node->operands[0]), operand_access(s, node->operands[1]), c);
  int present = classes_present(&p);
  if (!has(present, CLASS_M) || !has(present, CLASS_N) || !has(present, CLASS_K)) return false;
  return cut_leading(&p, leading) && fit(&p, gemm);
}

/* Would a range keep more of its operands than a row of members should? Then each tile adds up its own. */
static bool too_large_to_keep(const Scheduler *s, const Node *node) {
  enum { LARGEST_KEPT = 1 << 14 };
  return value_size(s, node->operands[0]) > LARGEST_KEPT || value_size(s, node->operands[1]) > LARGEST_KEPT;
}

bool product_is_matrix_like(const Scheduler *s, const Node *node) {
  if (node->op != IR_contract || !(node->axes_attribute & AXIS_DATUM) || shape_size(&node->shape) < SMALLEST_RANGE)
    return false;
  if (!(node->operands[0]->axes & node->operands[1]->axes & AXIS_DATUM)) return false;
  if (row_axes(node->operands[0]) & AXES_SUPPORT && too_large_to_keep(s, node)) return false;
  Scheduler trial = *s;
  Tensor out = {.size = value_size(s, node)};
  Gemm gemm;
  long leading;
  return fit_part(&trial, node, access_whole(s, node, &out), &gemm, &leading);
}

long product_leading(const Scheduler *s, const Node *node) {
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, node, extents);
  for (int d = DIM_SAMPLE; d < dims; d++)
    if (!extent_is_one(extents[d])) return extents[d].count;
  return 1;
}

long product_part(long leading) {
  long units = (leading + PART_ROWS / 2) / PART_ROWS;
  if (units < 1) units = 1;
  long part = (leading + units - 1) / units;
  return (part + PART_ROUND - 1) / PART_ROUND * PART_ROUND;
}

void product_part_step(Scheduler *s, const Node *node, Tensor *to, bool adds, StepList *list) {
  Gemm gemm;
  long leading;
  fit_part(s, node, access_whole(s, node, to), &gemm, &leading);
  gemm.adds = adds;
  step_append(s->compilation, list, PLAN_GEMM, node)->gemm = gemm;
}
