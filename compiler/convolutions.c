/* Convolutions: one of them, or a transpose -> one step that gathers places of images into columns, a strip of them at
 * a time, around a matrix product. Requires operands with their accesses; leaves a step in a list. How wide a strip is
 * depends on the shape alone: as many places as make a product worth its call, in columns that stay in a cache. */
#include <string.h>

#include "plan_internal.h"

enum { STRIP_PLACES = 256, STRIP_REALS = 1 << 17 };

static long at_least_one(long count) { return count < 1 ? 1 : count; }

static long smaller_of(long a, long b) { return a < b ? a : b; }

void choose_strip(long *sizes) {
  long places = sizes[SPM_DOWN] * sizes[SPM_ACROSS], room = STRIP_REALS / spm_convolve_depth(sizes);
  sizes[SPM_GROUP] = at_least_one(smaller_of(STRIP_PLACES, room) / places);
  sizes[SPM_LINES] = sizes[SPM_DOWN];
  if (sizes[SPM_GROUP] > 1 || places <= room) return;
  long most = at_least_one(room / sizes[SPM_ACROSS]), strips = (sizes[SPM_DOWN] + most - 1) / most;
  sizes[SPM_LINES] = (sizes[SPM_DOWN] + strips - 1) / strips; /* about equal */
}

static void set_sizes(Convolve *v, const Node *node) {
  Convolution of = convolution_of(node);
  long sizes[SPM_CONVOLVE_SIZES] = {
      [SPM_CHANNELS] = of.channels,  [SPM_HEIGHT] = of.height,        [SPM_WIDTH] = of.width, [SPM_FILTERS] = of.count,
      [SPM_WINDOW_HEIGHT] = of.rows, [SPM_WINDOW_WIDTH] = of.columns, [SPM_DOWN] = of.down,   [SPM_ACROSS] = of.across,
      [SPM_STRIDE] = node->stride,   [SPM_PADDING] = node->padding};
  choose_strip(sizes);
  memcpy(v->sizes, sizes, sizeof sizes);
}

/* The innermost loop becomes a number of images if they run on and share their filters. */
static void take_images(Convolve *v, bool sums) {
  const long *of = v->sizes;
  long image = of[SPM_CHANNELS] * of[SPM_HEIGHT] * of[SPM_WIDTH];
  long feature = of[SPM_FILTERS] * of[SPM_DOWN] * of[SPM_ACROSS];
  v->images = extent_fixed(1);
  if (v->loop_count == 0) return;
  int last = v->loop_count - 1;
  bool transposed = v->op == IR_convolve_transpose;
  long to = sums ? 0 : transposed ? image : feature, a = transposed ? feature : image, b = sums ? feature : 0;
  if (v->to.strides[last] != to || v->a.strides[last] != a || v->b.strides[last] != b) return;
  v->images = v->loops[last];
  v->loop_count = last;
}

/* Datum, sample and leading dims; an access that does not move along one has stride 0 there. */
static Access along_images(Access whole, int leading) {
  Access access = {.tensor = whole.tensor};
  for (int d = 0; d < DIM_SHAPE + leading; d++) access.strides[d] = whole.strides[d];
  return access;
}

void convolve_steps(Scheduler *s, const Node *node, StepList *list) {
  const Node *a = node->operands[0], *b = node->operands[1];
  bool sums = node->op == IR_convolve_filters;
  Convolve v = {.op = node->op};
  set_sizes(&v, node);
  int leading = a->shape.rank - 3;
  Extent spaces[2][PLAN_DIMS];
  space_of(s, a, spaces[0]);
  space_of(s, b, spaces[1]);
  for (int d = 0; d < DIM_SHAPE; d++) v.loops[d] = extent_is_one(spaces[0][d]) ? spaces[1][d] : spaces[0][d];
  for (int d = 0; d < leading; d++) v.loops[DIM_SHAPE + d] = spaces[0][DIM_SHAPE + d];
  v.a = along_images(whole_operand(s, a, list), leading);
  v.b = along_images(whole_operand(s, b, list), sums ? leading : 0);
  v.to = along_images(result_access(s, node), sums ? 0 : leading);
  Access *accesses[] = {&v.a, &v.b, &v.to};
  v.loop_count = merge_dims(v.loops, DIM_SHAPE + leading, accesses, 3);
  take_images(&v, sums);
  v.work = (Access){.tensor = tensor_create(s, node, STORE_FIXED, -1, false, spm_convolve_work(v.sizes), "strip")};
  if (sums) clear_step(s, node, list);
  step_append(s->compilation, list, PLAN_CONVOLVE, node)->convolve = v;
}
