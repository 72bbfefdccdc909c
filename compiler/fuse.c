/* Fuse: elementwise nodes over one iteration space become groups, each later one loop; a reduction of a group's value
 * along whole runs joins as its end. Requires lowered nodes with stages and users; leaves every MAP node in a group.
 * A group is legal when nothing that one member needs from outside the group needs another member in turn. */
#include "plan_internal.h"

enum { MAX_MEMBERS = 96, MAX_CANDIDATES = 8, SHORT_RUN = 16, TYPICAL_ROWS = 64 };

Group *group_of(const Info *info) {
  Group *group = info->group;
  while (group != NULL && group->merged_into != NULL) group = group->merged_into;
  return group;
}

static bool is_map(const Node *node) { return op_table[node->op].kind == KIND_MAP; }

static bool same_space(const Scheduler *s, const Node *a, const Node *b) {
  const Info *info_a = &s->infos[a->id], *info_b = &s->infos[b->id];
  if (info_a->stage != info_b->stage || a->axes != b->axes || a->shape.rank != b->shape.rank) return false;
  for (int d = 0; d < a->shape.rank; d++)
    if (a->shape.dims[d].size != b->shape.dims[d].size) return false;
  return true;
}

/* A unit is a group, or a node that is in none. Its level is above those of all units that it needs. */
static int *level_of(Scheduler *s, int id) {
  Group *group = group_of(&s->infos[id]);
  return group != NULL ? &group->level : &s->infos[id].level;
}

static int members_of(Scheduler *s, int id, const int **members) {
  Info *info = &s->infos[id];
  const Group *group = group_of(info);
  *members = group != NULL ? group->members : &info->node->id;
  return group != NULL ? group->count : 1;
}

/* Lifts what needs this unit above it, as far as nodes have been looked at. */
static void lift_users(Scheduler *s, int id, int seen) {
  const int *members;
  int count = members_of(s, id, &members), level = *level_of(s, id);
  const Group *group = group_of(&s->infos[id]);
  for (int m = 0; m < count; m++) {
    const Info *member = &s->infos[members[m]];
    for (int u = 0; u < member->use_count && member->users[u] <= seen; u++) {
      int user = member->users[u];
      int *above = level_of(s, user);
      if ((group != NULL && group_of(&s->infos[user]) == group) || *above > level) continue;
      *above = level + 1;
      lift_users(s, user, seen);
    }
  }
}

static void set_level(Scheduler *s, const Node *node) {
  int *level = &s->infos[node->id].level;
  for (int k = 0; k < node->operand_count; k++) {
    int below = *level_of(s, node->operands[k]->id);
    if (below >= *level) *level = below + 1;
  }
}

/* Does a value depend on a member of one of two groups? Looks only above the lower of their levels, and marks what it
 * has seen with s->mark. */
static bool depends(Scheduler *s, int id, const Group *a, const Group *b, int level) {
  const Group *group = group_of(&s->infos[id]);
  if (group != NULL && (group == a || group == b)) return true;
  if (s->marks[id] == s->mark || *level_of(s, id) <= level) return false;
  const int *members;
  int count = members_of(s, id, &members);
  for (int i = 0; i < count; i++) s->marks[members[i]] = s->mark;
  for (int i = 0; i < count; i++) {
    const Node *member = s->nodes[members[i]];
    for (int k = 0; k < member->operand_count; k++) {
      int operand = member->operands[k]->id;
      if ((group == NULL || group_of(&s->infos[operand]) != group) && depends(s, operand, a, b, level)) return true;
    }
  }
  return false;
}

/* May the members of `from` stand in one loop with those of `into`? */
static bool operands_allow(Scheduler *s, const Group *from, const Group *into) {
  int level = from->level < into->level ? from->level : into->level;
  s->mark++;
  for (int i = 0; i < from->count; i++) {
    const Node *member = s->nodes[from->members[i]];
    for (int k = 0; k < member->operand_count; k++) {
      const Node *operand = member->operands[k];
      const Group *group = group_of(&s->infos[operand->id]);
      if (group == from || group == into) {
        if (!is_map(operand)) return false; /* a reduction is known only after the loop */
      } else if (depends(s, operand->id, from, into, level)) {
        return false;
      }
    }
  }
  return true;
}

static void merge(Scheduler *s, Group *from, Group *into) {
  int total = from->count + into->count;
  int *members = arena_array(s->compilation, int, total);
  for (int i = 0, a = 0, b = 0; i < total; i++) {
    bool first = b == into->count || (a < from->count && from->members[a] < into->members[b]);
    members[i] = first ? from->members[a++] : into->members[b++];
  }
  into->members = members;
  into->count = total;
  if (from->level > into->level) into->level = from->level;
  from->merged_into = into;
}

static const Node *first_map(const Scheduler *s, const Group *group) {
  return s->nodes[group->members[0]]; /* a reduction stands after what it reduces */
}

static void try_merge(Scheduler *s, int node, int other) {
  Group *from = group_of(&s->infos[node]), *into = group_of(&s->infos[other]);
  if (into == NULL || from == into || from->count + into->count > MAX_MEMBERS) return;
  if (!same_space(s, first_map(s, from), first_map(s, into))) return;
  if (!operands_allow(s, from, into) || !operands_allow(s, into, from)) return;
  merge(s, from, into);
  lift_users(s, node, node);
}

static Group *group_create(Scheduler *s, int member) {
  s->groups = arena_grow(s->compilation, s->groups, s->group_count, sizeof *s->groups);
  Group *group = arena_new(s->compilation, Group);
  group->id = s->group_count;
  group->members = arena_array(s->compilation, int, 1);
  group->members[0] = member;
  group->count = 1;
  group->stage = s->infos[member].stage;
  group->row = s->infos[member].row;
  group->level = s->infos[member].level;
  s->groups[s->group_count++] = group;
  return group;
}

/* First with what it is computed from, then with what is computed from the same. */
static void fuse_map(Scheduler *s, const Node *node) {
  Info *info = &s->infos[node->id];
  info->treatment = TREAT_FUSED;
  info->group = group_create(s, node->id);
  for (int k = 0; k < node->operand_count; k++)
    if (is_map(node->operands[k])) try_merge(s, node->id, node->operands[k]->id);
  for (int k = 0; k < node->operand_count; k++) {
    const Info *operand = &s->infos[node->operands[k]->id];
    if (operand->treatment == TREAT_NUMBER || operand->treatment == TREAT_VIEW) continue;
    int tried = 0;
    for (int u = operand->use_count - 1; u >= 0 && tried < MAX_CANDIDATES; u--) {
      if (operand->users[u] >= node->id || !is_map(s->nodes[operand->users[u]])) continue;
      try_merge(s, node->id, operand->users[u]);
      tried++;
    }
  }
}

/* Elements along which the innermost loop would run without a change between reduced and kept dims. */
static long innermost_run(const Scheduler *s, const Node *node, unsigned reduced) {
  Extent extents[PLAN_DIMS];
  int dims = space_of(s, node, extents), kind = -1;
  long run = 1;
  for (int d = dims - 1; d >= 0; d--) {
    if (extent_is_one(extents[d])) continue;
    int here = (int)(reduced >> d & 1);
    if (kind >= 0 && here != kind) break;
    kind = here;
    run *= extents[d].count * (extents[d].kind == EXTENT_ROWS ? TYPICAL_ROWS : 1);
  }
  return run;
}

static void fuse_reduction(Scheduler *s, const Node *node) {
  const Node *x = node->operands[0];
  Group *group = is_map(x) ? group_of(&s->infos[x->id]) : NULL;
  if (group == NULL || group->count >= MAX_MEMBERS) return;
  if (innermost_run(s, x, reduced_dims(node)) < SHORT_RUN) return;
  Info *info = &s->infos[node->id];
  info->treatment = TREAT_FUSED;
  info->group = group;
  int *members = arena_array(s->compilation, int, group->count + 1);
  for (int i = 0; i < group->count; i++) members[i] = group->members[i];
  members[group->count++] = node->id;
  group->members = members;
}

unsigned reduced_dims(const Node *node) {
  if (crosses(node)) return 0;
  unsigned mask = node->op == IR_sum || node->op == IR_max_of ? node->dims_mask << DIM_SHAPE : 0;
  if (node->op == IR_sum_over || node->op == IR_max_over) {
    if (node->axes_attribute & AXIS_DATUM) mask |= 1u << DIM_DATUM;
    if (node->axes_attribute & AXIS_SAMPLE) mask |= 1u << DIM_SAMPLE;
    mask |= node->axes_attribute & AXES_SUPPORT; /* dims of axes are numbered as the axes are */
  }
  return mask;
}

void fuse_nodes(Scheduler *s) {
  s->marks = arena_array(s->compilation, int, s->count);
  for (int i = 0; i < s->count; i++) {
    const Node *node = s->nodes[i];
    set_level(s, node);
    if (s->infos[i].treatment != TREAT_STEP) continue;
    if (is_map(node))
      fuse_map(s, node);
    else if (reduced_dims(node) != 0)
      fuse_reduction(s, node);
  }
}
