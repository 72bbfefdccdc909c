/* The interpreter: the meaning of the IR, in double, straight from the definitions. Slow and obviously right; what
 * every back end is compared with. Requires a verified graph and bindings for all its leaves; leaves every node's
 * value, laid out [datum][sample][members][shape] without the axes a node
 * lacks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir_parts.h"
#include "runtime/model.h"
#include "runtime/rng.h"

typedef struct Run {
  const Graph *graph;
  const Bindings *bindings;
  Evaluation *evaluation;
  /* of a loop's body: what its leaves are, laid out like any other value */
  const Node *loop;
  double **carried; /* by index */
  double **outside; /* the values of the loop's operands */
  double round;
} Run;

long node_extent(const Graph *graph, const Node *node, long rows) {
  long extent = shape_size(&node->shape);
  for (int axis = 0; axis < AXIS_COUNT; axis++)
    if (node->axes >> axis & 1) extent *= axis_extent(graph, axis, rows);
  return extent;
}

/* An index along each axis: row, sample, member of each support; 0 along those that a node lacks. */
enum { ROW, SAMPLE, MEMBER };
typedef struct Place {
  long at[AXIS_COUNT];
} Place;

static long length_along(const Run *run, int axis) { return axis_extent(run->graph, axis, run->bindings->rows); }

/* Where the elements of one place of a node begin; axes it lacks do not move it. */
static long block_start(const Run *run, const Node *node, Place place) {
  long index = 0;
  for (int axis = 0; axis < AXIS_COUNT; axis++)
    if (node->axes >> axis & 1) index = index * length_along(run, axis) + place.at[axis];
  return index * shape_size(&node->shape);
}

static double *block(const Run *run, const Node *node, Place place) {
  return run->evaluation->values[node->id] + block_start(run, node, place);
}

/* The first place along these axes; false if there is none, in a batch without rows. */
static bool first_place(const Run *run, unsigned axes, Place *place) {
  *place = (Place){{0}};
  return !(axes & AXIS_DATUM) || run->bindings->rows > 0;
}

/* The next place along these axes; false after the last. */
static bool next_place(const Run *run, unsigned axes, Place *place) {
  for (int axis = AXIS_COUNT - 1; axis >= 0; axis--) {
    if (!(axes >> axis & 1)) continue;
    if (++place->at[axis] < length_along(run, axis)) return true;
    place->at[axis] = 0;
  }
  return false;
}

/* Takes a decision at an element of a node into the hash of all decisions. */
static void note_branch(Run *run, const Node *node, const double *element, double decision) {
  uint64_t bits, place = (uint64_t)(element - run->evaluation->values[node->id]), hash = run->evaluation->branches;
  memcpy(&bits, &decision, sizeof bits);
  hash = (hash ^ bits) * 0x9e3779b97f4a7c15u;
  hash = (hash ^ hash >> 29 ^ place) * 0xbf58476d1ce4e5b9u;
  run->evaluation->branches = hash ^ hash >> 32 ^ (uint64_t)node->id;
}

/* --- leaves --- */

/* Noise of one row and sample, exactly as compiled programs draw it; noise without rows is that of row 0. */
static void fill_noise(const Run *run, const Noise *noise, Place place, unsigned inner, double *out, long size) {
  const Bindings *at = run->bindings;
  long row = noise->axes & AXIS_DATUM ? at->first_row + place.at[ROW] : 0;
  unsigned sample = (unsigned)place.at[SAMPLE];
  for (int axis = MEMBER; axis < AXIS_COUNT; axis++) /* members draw as further samples do */
    if (noise->axes >> axis & 1) sample = sample * (unsigned)length_along(run, axis) + (unsigned)place.at[axis];
  switch (noise->kind) {
  case NOISE_UNIFORM:
    spm_noise_d(SPM_UNIFORM, at->seed, noise->stream, at->step, row, 1, sample, inner, size, out, size);
    break;
  case NOISE_NORMAL:
    spm_noise_d(SPM_NORMAL, at->seed, noise->stream, at->step, row, 1, sample, inner, size, out, size);
    break;
  }
}

static void interpret_inner_noise(Run *run, const Node *node, Place place) {
  const double *inner = block(run, node->operands[0], place);
  fill_noise(run, &run->graph->signature->noises[node->index], place, (unsigned)*inner, block(run, node, place),
             shape_size(&node->shape));
}

/* A leaf of a loop's body; outside of all loops nothing that is wanted depends on one, and it is 0. */
static const double *placeholder_values(const Run *run, const Node *node, Place place) {
  if (run->loop == NULL) return NULL;
  if (node->op == IR_round) return &run->round;
  if (node->op == IR_carried) return run->carried[node->index] + block_start(run, node, place);
  return run->outside[run->loop->body->output_count + node->index] + block_start(run, node, place);
}

static void interpret_leaf(Run *run, const Node *node, Place place) {
  const Bindings *bindings = run->bindings;
  long size = shape_size(&node->shape);
  double *out = block(run, node, place);
  const double *from = NULL;
  if (node->op == IR_constant) from = &node->number;
  if (node->op == IR_table) from = node->table;
  if (node->op == IR_setting) from = &bindings->settings[node->index];
  if (node->op == IR_parameter) from = bindings->parameters[node->index];
  if (node->op == IR_state) from = bindings->states[node->index];
  if (node->op == IR_data) from = bindings->data[node->index] + place.at[ROW] * size;
  if (node->op == IR_given && bindings->givens != NULL) from = bindings->givens[node->index];
  if (node->op == IR_row_state) from = bindings->row_states[node->index] + place.at[ROW] * size;
  if (node->op == IR_carried || node->op == IR_captured || node->op == IR_round)
    from = placeholder_values(run, node, place);
  if (from != NULL)
    memcpy(out, from, sizeof(double) * (size_t)size);
  else if (node->op == IR_noise)
    fill_noise(run, &run->graph->signature->noises[node->index], place, 0, out, size);
  else
    memset(out, 0, sizeof(double) * (size_t)size);
}

/* --- elementwise --- */

/* clang-format off */
#define OPS_SMOOTH \
  IR_neg: case IR_sqrt: case IR_exp: case IR_expm1: case IR_log: case IR_log1p: case IR_sin: case IR_cos: case IR_tan: \
  case IR_tanh: case IR_sigmoid: case IR_softplus: case IR_erf: case IR_lgamma: case IR_digamma: case IR_add: \
  case IR_sub: case IR_mul: case IR_div: case IR_pow: case IR_adjoint_times: case IR_polygamma: case IR_stirling: \
  case IR_exponential_integral: case IR_gamma_quantile: case IR_gamma_quantile_slope: case IR_beta_quantile: \
  case IR_beta_quantile_slope_a: case IR_beta_quantile_slope_b
/* clang-format on */

/* Which way an op went, where it has ways to go; its derivative changes only where this does. */
static double decision(Op op, const double *x, double value) {
  switch (op) {
  case IR_abs:
  case IR_relu: return (x[0] > 0) - (x[0] < 0);
  case IR_max: return x[0] >= x[1];
  case IR_min: return x[0] <= x[1];
  case IR_mod: return floor(x[0] / x[1]);
  case IR_select: return x[0] != 0;
  case IR_sign:
  case IR_floor:
  case IR_not:
  case OPS_COMPARISON: return value;
  case OPS_SMOOTH:
  case OPS_NOT_ELEMENTWISE: break;
  }
  return 0;
}

static void interpret_map(Run *run, const Node *node, Place place) {
  const double *from[3] = {0};
  double *out = block(run, node, place);
  for (int k = 0; k < node->operand_count; k++) from[k] = block(run, node->operands[k], place);
  long size = shape_size(&node->shape);
  for (long i = 0; i < size; i++) {
    double x[3] = {0};
    for (int k = 0; k < node->operand_count; k++) x[k] = from[k][i];
    out[i] = elementwise_value(node->op, x);
    double way = decision(node->op, x, out[i]);
    if (way != 0) note_branch(run, node, &out[i], way);
  }
}

/* --- views and what else works on one dim or on indices --- */

/* The index of an element in each dim. */
static void unravel(const Shape *shape, long position, long *index) {
  for (int d = shape->rank - 1; d >= 0; d--) {
    long extent = (long)shape->dims[d].size;
    index[d] = position % extent;
    position /= extent;
  }
}

static long ravel(const Shape *shape, const long *index) {
  long position = 0;
  for (int d = 0; d < shape->rank; d++) position = position * (long)shape->dims[d].size + index[d];
  return position;
}

/* Where element `index` of the result of a view comes from: an index into x, or false for a zero. */
static bool source_index(const Node *node, const Shape *x, const long *index, long *from) {
  int rank = node->shape.rank;
  for (int d = 0; d < x->rank; d++) from[d] = d < rank ? index[d] : 0;
  if (node->op == IR_expand)
    for (int d = 0; d < x->rank; d++) from[d] = index[node->map[d]];
  if (node->op == IR_permute)
    for (int d = 0; d < x->rank; d++) from[node->map[d]] = index[d];
  if (node->op == IR_slice) from[node->dim] += node->start;
  if (node->op == IR_pad) {
    from[node->dim] -= node->start;
    return from[node->dim] >= 0 && from[node->dim] < (long)x->dims[node->dim].size;
  }
  if (node->op == IR_diagonal) from[x->rank - 1] = index[rank - 1];
  if (node->op == IR_embed_diagonal) return index[rank - 1] == index[rank - 2];
  if (node->op == IR_lower_part) return index[rank - 1] <= index[rank - 2];
  return true;
}

static void interpret_view(Run *run, const Node *node, Place place) {
  const Shape *x_shape = &node->operands[0]->shape;
  const double *x = block(run, node->operands[0], place);
  double *out = block(run, node, place);
  long size = shape_size(&node->shape), index[MAX_RANK + 1], from[MAX_RANK + 1];
  if (node->op == IR_reshape || node->op == IR_spread || node->op == IR_stop) {
    memcpy(out, x, sizeof(double) * (size_t)size);
    return;
  }
  for (long i = 0; i < size; i++) {
    unravel(&node->shape, i, index);
    out[i] = source_index(node, x_shape, index, from) ? x[ravel(x_shape, from)] : 0;
  }
}

static void interpret_concat(Run *run, const Node *node, Place place) {
  double *out = block(run, node, place);
  long inner = 1, outer = 1, total = (long)node->shape.dims[node->dim].size, start = 0;
  for (int d = 0; d < node->shape.rank; d++) {
    if (d < node->dim) outer *= (long)node->shape.dims[d].size;
    if (d > node->dim) inner *= (long)node->shape.dims[d].size;
  }
  for (int k = 0; k < node->operand_count; k++) {
    const double *x = block(run, node->operands[k], place);
    long extent = (long)node->operands[k]->shape.dims[node->dim].size;
    for (long o = 0; o < outer; o++)
      memcpy(out + (o * total + start) * inner, x + o * extent * inner, sizeof(double) * (size_t)(extent * inner));
    start += extent;
  }
}

/* Row by row from the definition: forwards, or for the transposed backwards. */
static void interpret_solve(Run *run, const Node *node, Place place) {
  const double *l = block(run, node->operands[0], place), *b = block(run, node->operands[1], place);
  double *out = block(run, node, place);
  long n = (long)node->shape.dims[node->shape.rank - 1].size, matrices = shape_size(&node->shape) / n;
  for (long m = 0; m < matrices; m++, l += n * n, b += n, out += n)
    for (long step = 0; step < n; step++) {
      long i = node->reverse ? n - 1 - step : step;
      double rest = b[i];
      for (long before = 0; before < step; before++) {
        long k = node->reverse ? n - 1 - before : before;
        rest -= (node->reverse ? l[k * n + i] : l[i * n + k]) * out[k];
      }
      out[i] = rest / l[i * n + i];
    }
}

/* --- reductions within a datum --- */

static void interpret_sum(Run *run, const Node *node, Place place) {
  const Shape *x_shape = &node->operands[0]->shape;
  const double *x = block(run, node->operands[0], place);
  double *out = block(run, node, place);
  memset(out, 0, sizeof(double) * (size_t)shape_size(&node->shape));
  long index[MAX_RANK], kept[MAX_RANK], size = shape_size(x_shape);
  for (long i = 0; i < size; i++) {
    unravel(x_shape, i, index);
    int rank = 0;
    for (int d = 0; d < x_shape->rank; d++)
      if (!(node->dims_mask >> d & 1)) kept[rank++] = index[d];
    out[ravel(&node->shape, kept)] += x[i];
  }
}

/* Maximum over trailing dims, or a mask of the first one. */
static void interpret_max(Run *run, const Node *node, Place place) {
  const Node *operand = node->operands[0];
  const double *x = block(run, operand, place);
  double *out = block(run, node, place);
  Shape rest = shape_without(&operand->shape, node->dims_mask);
  long groups = shape_size(&rest), length = shape_size(&operand->shape) / groups;
  for (long g = 0; g < groups; g++) {
    long best = 0;
    for (long i = 1; i < length; i++)
      if (x[g * length + i] > x[g * length + best]) best = i;
    note_branch(run, node, out, (double)(g * length + best));
    if (node->op == IR_max_of)
      out[g] = x[g * length + best];
    else
      for (long i = 0; i < length; i++) out[g * length + i] = i == best;
  }
}

static void interpret_cumsum(Run *run, const Node *node, Place place) {
  const double *x = block(run, node->operands[0], place);
  double *out = block(run, node, place);
  long extent = (long)node->shape.dims[node->dim].size, inner = 1;
  for (int d = node->dim + 1; d < node->shape.rank; d++) inner *= (long)node->shape.dims[d].size;
  long lines = shape_size(&node->shape) / extent;
  for (long l = 0; l < lines; l++) {
    long start = l / inner * extent * inner + l % inner;
    double sum = 0;
    for (long k = 0; k < extent; k++) {
      long i = start + (node->reverse ? extent - 1 - k : k) * inner;
      if (node->exclusive) out[i] = sum;
      sum += x[i];
      if (!node->exclusive) out[i] = sum;
    }
  }
}

/* --- a kernel's line --- */

static void interpret_line(Run *run, const Node *node, Place place) {
  const LineOp *line = line_op(node->op);
  const double *from[LINE_OPERANDS] = {0}, *start[LINE_OPERANDS] = {0};
  long own[LINE_OPERANDS] = {0}, size = shape_size(&node->shape), length = 1;
  double *out = block(run, node, place);
  for (int d = 0; d < line->result_own_dims; d++) length *= (long)node->shape.dims[node->shape.rank - 1 - d].size;
  for (int k = 0; k < node->operand_count; k++) {
    start[k] = block(run, node->operands[k], place);
    own[k] = shape_size(&node->operands[k]->shape) / (size / length);
  }
  for (long l = 0; l < size / length; l++) {
    for (int k = 0; k < node->operand_count; k++) from[k] = start[k] + l * own[k];
    line_values(node, from, out + l * length);
    for (long i = l * length; i < (l + 1) * length; i++) /* what is chosen, or in the support */
      if (out[i] != 0) note_branch(run, node, &out[i], 1);
  }
}

/* --- along axes: loops over the operand's places; out accumulates --- */

static void interpret_sum_over(Run *run, const Node *node) {
  const Node *operand = node->operands[0];
  long size = shape_size(&node->shape);
  double *all = run->evaluation->values[node->id];
  memset(all, 0, sizeof(double) * (size_t)node_extent(run->graph, node, run->bindings->rows));
  Place place;
  for (bool more = first_place(run, operand->axes, &place); more; more = next_place(run, operand->axes, &place)) {
    const double *x = block(run, operand, place);
    double *out = block(run, node, place);
    for (long i = 0; i < size; i++) out[i] += x[i];
  }
}

/* pick and place: element m of the first dim is the value at member m. */
static void interpret_members(Run *run, const Node *node) {
  const Node *operand = node->operands[0], *with_axis = node->op == IR_pick ? node : operand;
  const Node *with_dim = node->op == IR_pick ? operand : node;
  long size = shape_size(&with_axis->shape);
  Place place;
  for (bool more = first_place(run, with_axis->axes, &place); more; more = next_place(run, with_axis->axes, &place)) {
    double *member = block(run, with_dim, place) + place.at[MEMBER + support_axis(node)] * size;
    double *value = block(run, with_axis, place);
    memcpy(node->op == IR_pick ? value : member, node->op == IR_pick ? member : value, sizeof(double) * (size_t)size);
  }
}

/* Maximum along one axis for one place off that axis, or a mask of the first one. */
static void interpret_max_along(Run *run, const Node *node, Place place) {
  const Node *operand = node->operands[0];
  int axis = __builtin_ctz(node->axes_attribute);
  long length = length_along(run, axis), size = shape_size(&node->shape);
  for (long i = 0; i < size; i++) {
    Place best = place, at = place;
    for (long k = 0; k < length; k++) {
      at.at[axis] = k;
      if (k == 0 || block(run, operand, at)[i] > block(run, operand, best)[i]) best = at;
    }
    note_branch(run, node, block(run, node, place) + i, (double)best.at[axis]);
    if (node->op == IR_max_over)
      block(run, node, place)[i] = block(run, operand, best)[i];
    else
      for (long k = 0; k < length; k++) {
        at.at[axis] = k;
        block(run, node, at)[i] = k == best.at[axis];
      }
  }
}

static void interpret_max_over(Run *run, const Node *node) {
  unsigned others = node->operands[0]->axes & ~node->axes_attribute;
  Place place;
  for (bool more = first_place(run, others, &place); more; more = next_place(run, others, &place))
    interpret_max_along(run, node, place);
}

/* The k largest of all rows, in each group of leading indices; among equals the first row's first. */
static void interpret_top_at(Run *run, const Node *node, Place place, double *gathered) {
  const Node *x = node->operands[0], *k = node->operands[1];
  Shape lead = shape_without(&x->shape, node->dims_mask);
  long rows = run->bindings->rows, groups = shape_size(&lead), n = shape_size(&x->shape) / groups;
  double *mask = gathered + rows * n;
  for (long g = 0; g < groups; g++) {
    for (place.at[ROW] = 0; place.at[ROW] < rows; place.at[ROW]++)
      memcpy(gathered + place.at[ROW] * n, block(run, x, place) + g * n, sizeof(double) * (size_t)n);
    mark_largest(rows * n, gathered, block(run, k, place)[g], mask);
    for (place.at[ROW] = 0; place.at[ROW] < rows; place.at[ROW]++)
      for (long i = 0; i < n; i++) {
        double *out = block(run, node, place) + g * n + i;
        *out = mask[place.at[ROW] * n + i];
        if (*out != 0) note_branch(run, node, out, 1);
      }
  }
}

static void interpret_top_over(Run *run, const Node *node) {
  unsigned others = node->axes & ~(unsigned)AXIS_DATUM;
  size_t size = (size_t)(run->bindings->rows * shape_size(&node->operands[0]->shape));
  double *gathered = malloc(sizeof(double) * (2 * size + 1));
  if (gathered == NULL) run->evaluation->problem = "out of memory";
  Place place;
  for (bool more = gathered != NULL && first_place(run, others, &place); more; more = next_place(run, others, &place))
    interpret_top_at(run, node, place, gathered);
  free(gathered);
}

/* --- stop: held while differences are taken --- */

static void hold(Run *run, const Node *node) {
  double **held = run->bindings->held;
  if (held == NULL) return;
  size_t bytes = sizeof(double) * (size_t)node_extent(run->graph, node, run->bindings->rows);
  double *value = run->evaluation->values[node->id];
  if (held[node->id] == NULL && !run->bindings->replay) held[node->id] = malloc(bytes > 0 ? bytes : 1);
  if (held[node->id] == NULL)
    run->evaluation->problem = "out of memory, or a stopped value was not recorded";
  else if (run->bindings->replay)
    memcpy(value, held[node->id], bytes);
  else
    memcpy(held[node->id], value, bytes);
}

/* --- place by place --- */

static void interpret_place(Run *run, const Node *node, Place place) {
  switch (op_table[node->op].kind) {
  case KIND_LEAF: interpret_leaf(run, node, place); break;
  case KIND_MAP: interpret_map(run, node, place); break;
  case KIND_VIEW:
    if (node->op == IR_concat)
      interpret_concat(run, node, place);
    else
      interpret_view(run, node, place);
    break;
  case KIND_LINE: interpret_line(run, node, place); break;
  case KIND_OTHER:
    if (node->op == IR_solve_triangular)
      interpret_solve(run, node, place);
    else if (node->op == IR_inner_noise)
      interpret_inner_noise(run, node, place);
    else
      interpret_view(run, node, place);
    break;
  case KIND_REDUCE:
    if (node->op == IR_sum)
      interpret_sum(run, node, place);
    else if (node->op == IR_cumsum)
      interpret_cumsum(run, node, place);
    else
      interpret_max(run, node, place);
    break;
  case KIND_OVER:
  case KIND_LOOP:
  case KIND_PRODUCT: break; /* not place by place */
  }
}

static void interpret_contract(Run *run, const Node *node) {
  const Node *a = node->operands[0], *b = node->operands[1];
  double **values = run->evaluation->values;
  contract_values(run->graph, node, run->bindings->rows, values[a->id], values[b->id], values[node->id]);
}

static void interpret_convolution(Run *run, const Node *node) {
  double **values = run->evaluation->values;
  convolution_values(run->graph, node, run->bindings->rows, values[node->operands[0]->id],
                     values[node->operands[1]->id], values[node->id]);
}

/* --- loops --- */

static void evaluate(Run *run);

/* One round: the next values of what is carried, in place of the old ones. */
static void interpret_round(Run *run, const Node *node, double **carried, double **outside, double round) {
  Bindings bindings = *run->bindings;
  Evaluation inner = {.branches = run->evaluation->branches};
  Run body = {node->body, &bindings, &inner, node, carried, outside, round};
  bindings.held = NULL; /* the loop is held as a whole */
  bindings.replay = false;
  evaluate(&body);
  for (int i = 0; i < node->body->output_count && inner.problem == NULL; i++) {
    const Node *next = node->body->outputs[i].value;
    size_t bytes = sizeof(double) * (size_t)node_extent(body.graph, next, bindings.rows);
    memcpy(carried[i], inner.values[next->id], bytes);
  }
  run->evaluation->branches = inner.branches;
  run->evaluation->problem = inner.problem;
  for (int i = 0; inner.values != NULL && i < node->body->count; i++) free(inner.values[i]);
  free(inner.values);
}

/* The carried values' elements end to end, for each place of the loop; `into`: into the loop's value, or out of it. */
static void move_carried(Run *run, const Node *node, const Node *like, int index, double *value, bool into) {
  long start = 0, size = shape_size(&like->shape);
  for (int i = 0; i < index; i++) start += shape_size(&node->body->outputs[i].value->shape);
  unsigned axes = into ? node->axes : like->axes;
  Place place;
  for (bool more = first_place(run, axes, &place); more; more = next_place(run, axes, &place)) {
    double *whole = block(run, node, place) + start, *part = value + block_start(run, like, place);
    memcpy(into ? whole : part, into ? part : whole, sizeof(double) * (size_t)size);
  }
}

static void interpret_repeat(Run *run, const Node *node) {
  int carried_count = node->body->output_count;
  double **outside = calloc((size_t)node->operand_count, sizeof *outside);
  double **carried = calloc((size_t)carried_count, sizeof *carried);
  bool memory = outside != NULL && carried != NULL;
  for (int i = 0; memory && i < node->operand_count; i++) outside[i] = run->evaluation->values[node->operands[i]->id];
  for (int i = 0; memory && i < carried_count; i++) {
    size_t bytes = sizeof(double) * (size_t)node_extent(run->graph, node->operands[i], run->bindings->rows);
    carried[i] = malloc(bytes > 0 ? bytes : 1);
    if (carried[i] != NULL) memcpy(carried[i], outside[i], bytes);
    memory = carried[i] != NULL;
  }
  if (!memory) run->evaluation->problem = "out of memory";
  for (long round = 0; round < node->rounds && run->evaluation->problem == NULL; round++)
    interpret_round(run, node, carried, outside, (double)round);
  for (int i = 0; memory && i < carried_count; i++)
    move_carried(run, node, node->body->outputs[i].value, i, carried[i], true);
  for (int i = 0; carried != NULL && i < carried_count; i++) free(carried[i]);
  free(carried);
  free(outside);
}

static void interpret_loop(Run *run, const Node *node) {
  if (node->op == IR_repeat_result)
    move_carried(run, node->operands[0], node, node->index, run->evaluation->values[node->id], false);
  else if (run->bindings->held == NULL || !run->bindings->replay)
    interpret_repeat(run, node);
}

/* --- all of it --- */

static void interpret_node(Run *run, const Node *node) {
  Place place;
  bool replayed = node->op == IR_stop && run->bindings->held != NULL && run->bindings->replay;
  if (replayed)
    ; /* its operand may not have been computed */
  else if (node->op == IR_sum_over)
    interpret_sum_over(run, node);
  else if (node->stride != 0)
    interpret_convolution(run, node);
  else if (node->op == IR_low_rank_fit || node->op == IR_low_rank_weights)
    low_rank_values(run->graph, node, run->bindings->rows, run->evaluation->values, run->evaluation->values[node->id]);
  else if (node->op == IR_pick || node->op == IR_place)
    interpret_members(run, node);
  else if (node->op == IR_top_mask_over)
    interpret_top_over(run, node);
  else if (op_table[node->op].kind == KIND_OVER)
    interpret_max_over(run, node);
  else if (node->op == IR_contract)
    interpret_contract(run, node);
  else if (op_table[node->op].kind == KIND_LOOP)
    interpret_loop(run, node);
  else
    for (bool more = first_place(run, node->axes, &place); more; more = next_place(run, node->axes, &place))
      interpret_place(run, node, place);
  if (node->op == IR_stop || node->op == IR_repeat) hold(run, node);
}

/* By id: what the outputs are made of. Stopped values that are held need nothing, and no branch taken on the way to
 * them counts. NULL if out of memory. */
static bool *nodes_to_replay(const Graph *graph, const Bindings *bindings) {
  bool *needed = calloc((size_t)graph->count + 1, sizeof *needed);
  for (int i = 0; needed != NULL && i < graph->output_count; i++) needed[graph->outputs[i].value->id] = true;
  for (int id = graph->count - 1; needed != NULL && id >= 0; id--) {
    const Node *node = graph->nodes[id];
    bool held = (node->op == IR_stop || node->op == IR_repeat) && bindings->held != NULL && bindings->held[id] != NULL;
    for (int k = 0; needed[id] && !held && k < node->operand_count; k++) needed[node->operands[k]->id] = true;
  }
  return needed;
}

/* Every node in order; what it finds wrong stands in the evaluation. */
static void evaluate(Run *run) {
  const Graph *graph = run->graph;
  Evaluation *evaluation = run->evaluation;
  bool replay = run->bindings->held != NULL && run->bindings->replay;
  bool *needed = replay ? nodes_to_replay(graph, run->bindings) : NULL;
  evaluation->values = calloc((size_t)graph->count + 1, sizeof *evaluation->values);
  if (replay && needed == NULL) evaluation->problem = "out of memory";
  for (int i = 0; i < graph->count && evaluation->values != NULL && evaluation->problem == NULL; i++) {
    if (needed != NULL && !needed[i]) continue;
    long extent = node_extent(graph, graph->nodes[i], run->bindings->rows);
    evaluation->values[i] = malloc(sizeof(double) * (size_t)(extent > 0 ? extent : 1));
    if (evaluation->values[i] == NULL)
      evaluation->problem = "out of memory";
    else
      interpret_node(run, graph->nodes[i]);
  }
  free(needed);
  if (evaluation->values == NULL) evaluation->problem = "out of memory";
}

Evaluation *interpret(const Graph *graph, const Bindings *bindings) {
  Evaluation *evaluation = calloc(1, sizeof *evaluation);
  if (evaluation == NULL) return NULL;
  evaluation->branches = 0xcbf29ce484222325u;
  Run run = {.graph = graph, .bindings = bindings, .evaluation = evaluation};
  evaluate(&run);
  return evaluation;
}

void evaluation_free(Evaluation *evaluation, const Graph *graph) {
  if (evaluation == NULL) return;
  for (int i = 0; evaluation->values != NULL && i < graph->count; i++) free(evaluation->values[i]);
  free(evaluation->values);
  free(evaluation);
}
