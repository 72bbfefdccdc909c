/* Views: where a node's elements lie. A VIEW op is strides on its operand's memory wherever strides can say it; the
 * rest is copied. Requires lowered nodes; all accesses run over (datum, sample, dims of the shape). */
#include <string.h>

#include "plan_internal.h"

Extent extent_fixed(long count) { return (Extent){.count = count, .kind = EXTENT_FIXED}; }

bool extent_is_one(Extent extent) { return extent.kind == EXTENT_FIXED && extent.count == 1; }

/* At most one of them is a number of rows, or a part. */
Extent extent_times(Extent a, Extent b) {
  return (Extent){.count = a.count * b.count, .kind = a.kind != EXTENT_FIXED ? a.kind : b.kind};
}

/* Members that are no rows: of a value that depends on no datum. */
static long members_along(const Scheduler *s, const Node *node, int v) {
  bool here = node->axes & (unsigned)AXIS_SUPPORT << v && !(node->axes & AXIS_DATUM);
  return here ? axis_extent(s->graph, DIM_MEMBER + v, 0) : 1;
}

int space_of(const Scheduler *s, const Node *node, Extent extents[PLAN_DIMS]) {
  extents[DIM_DATUM] = (Extent){.count = 1, .kind = node->axes & AXIS_DATUM ? EXTENT_ROWS : EXTENT_FIXED};
  extents[DIM_SAMPLE] = extent_fixed(node->axes & AXIS_SAMPLE ? s->graph->samples : 1);
  for (int v = 0; v < MAX_SUPPORTS; v++) extents[DIM_MEMBER + v] = extent_fixed(members_along(s, node, v));
  for (int d = 0; d < node->shape.rank; d++) extents[DIM_SHAPE + d] = extent_fixed((long)node->shape.dims[d].size);
  return DIM_SHAPE + node->shape.rank;
}

long value_size(const Scheduler *s, const Node *node) {
  long size = shape_size(&node->shape) * (node->axes & AXIS_SAMPLE ? s->graph->samples : 1);
  for (int v = 0; v < MAX_SUPPORTS; v++) size *= members_along(s, node, v);
  return size;
}

Access access_whole(const Scheduler *s, const Node *node, Tensor *tensor) {
  Access access = {.tensor = tensor};
  long stride = 1;
  for (int d = node->shape.rank - 1; d >= 0; d--) {
    access.strides[DIM_SHAPE + d] = stride;
    stride *= (long)node->shape.dims[d].size;
  }
  for (int v = MAX_SUPPORTS - 1; v >= 0; v--) {
    if (members_along(s, node, v) > 1) access.strides[DIM_MEMBER + v] = stride;
    stride *= members_along(s, node, v);
  }
  if (node->axes & AXIS_SAMPLE) access.strides[DIM_SAMPLE] = stride;
  if (node->axes & AXIS_DATUM) access.strides[DIM_DATUM] = value_size(s, node);
  return access;
}

bool access_is_whole(const Scheduler *s, const Node *node, const Access *access) {
  if (access->tensor == NULL || access->offset != 0 || access->tensor->size != value_size(s, node) ||
      access->tensor->rows != ((node->axes & AXIS_DATUM) != 0))
    return false;
  Access whole = access_whole(s, node, access->tensor);
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, node, extents);
  for (int d = 0; d < dims; d++)
    if (!extent_is_one(extents[d]) && whole.strides[d] != access->strides[d]) return false;
  return true;
}

/* Old dims are cut from the inside out into runs of new dims with the same number of elements. */
static bool reshape_view(const Shape *from, const Shape *to, const Access *operand, Access *view) {
  int old = from->rank - 1, new = to->rank - 1;
  while (new >= 0) {
    long stride = 0, run = 1, covered = 1; /* a run of old dims that can be walked with one stride */
    while (old >= 0 && run == 1) {         /* dims of extent 1 have no say */
      stride = operand->strides[DIM_SHAPE + old];
      run = (long)from->dims[old--].size;
    }
    while (new >= 0) {
      long extent = (long)to->dims[new].size;
      while (covered * extent > run) { /* needs more old dims */
        if (old < 0) return false;
        long more = (long)from->dims[old].size;
        if (more > 1 && operand->strides[DIM_SHAPE + old] != stride * run) return false;
        run *= more;
        old--;
      }
      view->strides[DIM_SHAPE + new] = stride * covered;
      covered *= extent;
      new --;
      if (covered == run) break;
    }
    if (covered != run) return false;
  }
  return true;
}

static void same_strides(const Node *x, const long *from, long *to) {
  for (int d = 0; d < x->shape.rank; d++) to[d] = from[d];
}

/* Members without rows are a dim of the shape on one side and of the axes on the other. */
static void view_members(const Node *node, const long *from, long *to, int rank) {
  int axis = __builtin_ctz(node->axes_attribute);
  if (node->op == IR_pick) to[axis] = from[DIM_SHAPE];
  for (int d = 0; d < rank - 1; d++) {
    if (node->op == IR_pick)
      to[DIM_SHAPE + d] = from[DIM_SHAPE + 1 + d];
    else
      to[DIM_SHAPE + 1 + d] = from[DIM_SHAPE + d];
  }
  if (node->op == IR_place) {
    to[DIM_SHAPE] = from[axis];
    to[axis] = 0;
  }
}

bool view_through(const Node *node, const Access *operand, Access *view) {
  if (crosses(node)) return false;
  if (node->op == IR_pick || node->op == IR_place) {
    *view = *operand;
    memset(view->strides + DIM_SHAPE, 0, sizeof(long) * (PLAN_DIMS - DIM_SHAPE));
    int rank = node->op == IR_pick ? node->operands[0]->shape.rank : node->shape.rank;
    view_members(node, operand->strides, view->strides, rank);
    return true;
  }
  if (op_table[node->op].kind != KIND_VIEW && node->op != IR_diagonal) return false;
  const Node *x = node->operands[0];
  *view = *operand;
  memset(view->strides + DIM_SHAPE, 0, sizeof(long) * (PLAN_DIMS - DIM_SHAPE));
  const long *from = operand->strides + DIM_SHAPE;
  long *to = view->strides + DIM_SHAPE;
  if (node->op == IR_reshape) return reshape_view(&x->shape, &node->shape, operand, view);
  if (node->op == IR_pad || node->op == IR_concat) return false;
  if (node->op == IR_expand) {
    for (int d = 0; d < x->shape.rank; d++) to[node->map[d]] = from[d];
  } else if (node->op == IR_permute) {
    for (int d = 0; d < x->shape.rank; d++) to[d] = from[node->map[d]];
  } else if (node->op == IR_slice) {
    same_strides(x, from, to);
    view->offset += node->start * from[node->dim];
  } else if (node->op == IR_diagonal) { /* one step down and one to the right */
    same_strides(node, from, to);
    to[node->shape.rank - 1] += from[node->shape.rank];
  } else { /* spread, stop */
    same_strides(x, from, to);
  }
  return true;
}

static bool runs_on(const Access *access, int d, const Extent *extents) {
  return access->strides[d] == access->strides[d + 1] * extents[d + 1].count;
}

static void drop_dim(Extent *extents, int *dim_count, int dim, Access **accesses, int access_count) {
  for (int d = dim; d + 1 < *dim_count; d++) {
    extents[d] = extents[d + 1];
    for (int i = 0; i < access_count; i++) accesses[i]->strides[d] = accesses[i]->strides[d + 1];
  }
  --*dim_count;
  for (int i = 0; i < access_count; i++) accesses[i]->strides[*dim_count] = 0;
}

int merge_dims(Extent *extents, int dim_count, Access **accesses, int access_count) {
  for (int d = dim_count - 1; d >= 0; d--)
    if (extent_is_one(extents[d])) drop_dim(extents, &dim_count, d, accesses, access_count);
  for (int d = dim_count - 2; d >= 0; d--) {
    bool all = extents[d + 1].kind == EXTENT_FIXED;
    for (int i = 0; i < access_count && all; i++) all = runs_on(accesses[i], d, extents);
    if (!all) continue;
    extents[d + 1] = extent_times(extents[d], extents[d + 1]);
    drop_dim(extents, &dim_count, d, accesses, access_count);
  }
  return dim_count;
}
