/* What a loop plan is made of. Known to the back end alone: schedule.c and the files beside it make it, plan_print.c
 * shows it, emit*.c render it. Everything lies in the compilation's arena.
 *
 * A plan's phases alternate  step 0, row 0, gradient 0, step 1, row 1, ...  with the empty ones left out; ranges that
 * nothing else reads (gradients of parameters) stand in one last gradient phase, so that their updates may follow.
 * A phase is a list of steps in order; a step is one fused loop nest, one matrix product, or one of the few others. */
#ifndef SPM_PLAN_INTERNAL_H
#define SPM_PLAN_INTERNAL_H

#include "../runtime/convolve.h"
#include "plan.h"

/* Dims of an iteration space: one for each axis, then a shape's, or the labels of a contraction. Dims of support axes
 * have the extent 1 where there is a datum axis: there members are rows (members.c). */
enum { PLAN_DIMS = 2 * MAX_RANK + AXIS_COUNT };
enum { DIM_DATUM, DIM_SAMPLE, DIM_MEMBER, DIM_SHAPE = AXIS_COUNT };
/* Elements a strip kernel is called with at once; and reals to which parameters and buffers are padded. */
enum { STRIP = 256, PADDING = 16 };

typedef enum Storage {
  STORE_PARAMETER,  /* index; read only */
  STORE_DATA,       /* index; read only, rows */
  STORE_STATE,      /* index; read only, before this step */
  STORE_ROW_STATE,  /* index; read only, rows, before this step */
  STORE_GIVEN,      /* index; read only */
  STORE_SETTING,    /* index; read only */
  STORE_TABLE,      /* a constant array of the text; read only */
  STORE_VALUES,     /* offset in call->values */
  STORE_FIXED,      /* offset in the fixed part of a thread's scratch: step values of one phase */
  STORE_TILE,       /* offset in the row part of a thread's scratch: row values of one phase */
  STORE_KEPT,       /* offset in call->kept */
  STORE_PARTIAL,    /* offset in a tile's partials */
  STORE_GRADIENT,   /* index of the parameter; offset is the parameter's */
  STORE_STATE_NEXT, /* index of the state; offset is the state's */
  STORE_RANGE,      /* what a gradient phase's range writes */
  STORE_COUNT
} Storage;
extern const char *const storage_names[STORE_COUNT];

/* A value in memory: [datum][sample][shape], row-major without gaps. */
typedef struct Tensor {
  int id;
  Name name; /* C identifier, unique in the plan */
  Storage storage;
  int index;
  long offset;
  long size; /* elements; of one row if `rows` */
  bool rows;
  int domain;                  /* of rows; 0: those of the batch */
  const Node *node;            /* whose value it is; may be NULL for a copy */
  int first_phase, last_phase; /* planned phases (numbers in Plan.phases) where it is written and last read */
  int first_step, last_step;   /* steps within those phases */
  struct Tensor *called_like;  /* in emitted loops: the one that takes its place and has its name, or NULL */
  struct Tensor *in_place_of;  /* shares the memory of this operand, which ends where this begins */
} Tensor;

/* How many times a loop runs: count, or count for each row of the tile (of the batch, in a gradient phase), or, for the
 * leading dim of a range, the part of it that the unit covers. */
typedef enum ExtentKind { EXTENT_FIXED, EXTENT_ROWS, EXTENT_PART } ExtentKind;
typedef struct Extent {
  long count;
  ExtentKind kind; /* ROWS and PART: times count */
} Extent;

/* Where a value's elements are: tensor (or a number when NULL) and strides over the dims of some iteration space. */
typedef struct Access {
  Tensor *tensor;
  double number;
  long offset;
  long strides[PLAN_DIMS];
} Access;

/* Instructions of a fused loop, in order; operands are earlier instructions. */
typedef struct Instruction {
  Op op; /* a MAP op, or OP_COUNT: load */
  int operands[3];
  Access load;
  bool invariant; /* the same everywhere in the innermost run */
  const Node *node;
} Instruction;

typedef enum StoreKind { STORE_SET, STORE_ADD, STORE_MAX } StoreKind;
typedef struct Store {
  int value; /* instruction */
  StoreKind kind;
  Access to;   /* ADD, MAX: stride 0 along the dims that are reduced; the loop fills the target first */
  Extent fill; /* how much of the target it fills */
} Store;

typedef struct Loop {
  int dim_count;
  Extent extents[PLAN_DIMS];
  Instruction *instructions;
  int instruction_count;
  Store *stores;
  int store_count;
} Loop;

/* c[loops][m, n] (+)= sum over k of a[loops][m, k] * b[loops][k, n] */
typedef struct Gemm {
  int loop_count;
  Extent loops[PLAN_DIMS];
  bool accumulates[PLAN_DIMS]; /* the loop is over a summed label */
  Extent m, n, k;
  bool transpose_a, transpose_b;
  long lda, ldb, ldc;
  Access a, b, c;      /* strides: of the loops */
  long part_a, part_b; /* in a range: how far a and b move on for each index of the result's leading dim */
  bool adds;           /* c is added to, not set */
  bool zeroes;         /* c is first set to 0 because a loop accumulates */
  Extent c_size;
} Gemm;

/* Values over [outer][extent][inner] in which the middle dim is special. */
typedef struct Along {
  Op op; /* cumsum, first_max_mask, lower_part, sum, max_of */
  bool reverse, exclusive;
  Extent outer, extent;
  long inner;
  Access from, to; /* whole tensors */
} Along;

/* to[loops][n] of l[loops][n, n] to = b[loops][n], or of l' to = b */
typedef struct Solve {
  int loop_count;
  Extent loops[PLAN_DIMS];
  long n;
  bool transposed;
  Access l, b, to; /* strides: of the loops */
} Solve;

/* A convolution or one of its transposes, for `images` that run on in memory. */
typedef struct Convolve {
  Op op;
  int loop_count;
  Extent loops[PLAN_DIMS];
  Extent images;
  long sizes[SPM_CONVOLVE_SIZES];
  Access to, a, b; /* strides: of the loops */
  Access work;     /* of one strip */
} Convolve;

/* A softmax of few factors, or the slopes of one in its weights, for `lines` that run on in memory. */
enum { LOW_RANK_OPERANDS = 6 };
typedef struct LowRankStep {
  Op op;
  int loop_count, operand_count;
  Extent loops[PLAN_DIMS];
  Extent lines;
  LowRank of;
  Access to, operands[LOW_RANK_OPERANDS]; /* strides: of the loops */
  Access work;
} LowRankStep;

/* A LINE op's kernel on [loops] lines: to of its operands; `room` is memory for it, or NULL. */
typedef struct Line {
  Op op;
  int loop_count, operand_count;
  Extent loops[PLAN_DIMS];
  long n, m;                    /* lengths the kernel is told */
  Access to, room, operands[5]; /* strides: of the loops */
} Line;

/* The k largest of the batch, x [rows][groups][n]: a search over all rows, or the mask of a tile's. */
typedef struct Top {
  bool search;
  long groups, n;
  Access x, other, to; /* other: how many; of the mask, what the search found */
} Top;

typedef struct Draw {
  int noise; /* -1: the row's number within the batch */
  Access to;
  Access inner; /* the inner step: a tensor of one element, or a number */
} Draw;

typedef struct Clear { /* zeros, before something is written into a part of it */
  Access to;
  Extent size;
} Clear;

/* Moves `size` elements at a time between rows of two domains, or rows of one and members without rows. The side with
 * fewer axes is at the row that belongs to a row of the other, and there at its members. */
typedef struct Members {
  Access from, to;                            /* without gaps */
  long size, repeats, from_repeat, to_repeat; /* repeats: samples, where members stand between them and the shape */
  long row;                                   /* elements of a row of the side with fewer axes */
  int domain;                                 /* of the side that is not the phase's; -1: it has no rows */
  int member_count;
  struct {
    int place; /* among the supports of the domain with more axes */
    long stride;
  } member[MAX_SUPPORTS];
} Members;

/* for (number = 0; number < count; number++) { body } */
typedef struct Rounds {
  long count;
  Access number; /* where each round's number is put; without a tensor if nobody asks */
  struct StepList *body;
} Rounds;

typedef enum StepKind {
  PLAN_LOOP,
  PLAN_GEMM,
  PLAN_ALONG,
  PLAN_SOLVE,
  PLAN_CONVOLVE,
  PLAN_LOW_RANK,
  PLAN_LINE,
  PLAN_TOP,
  PLAN_DRAW,
  PLAN_CLEAR,
  PLAN_GATHER,  /* into the rows of the phase */
  PLAN_COLLECT, /* adds up into the rows of the phase, or into a tile's partial */
  PLAN_ROUNDS
} StepKind;
typedef struct Step {
  StepKind kind;
  int domain;       /* of the rows it runs over, in a range */
  const Node *node; /* for the comment above it */
  union {
    Loop loop;
    Gemm gemm;
    Along along;
    Solve solve;
    Convolve convolve;
    LowRankStep low_rank;
    Line line;
    Top top;
    Draw draw;
    Clear clear;
    Members members;
    Rounds rounds;
  };
} Step;

typedef struct StepList {
  Step *steps;
  int count;
} StepList;

typedef enum PhaseKind { PHASE_STEP, PHASE_ROWS, PHASE_GRADIENT } PhaseKind;

typedef struct Statistic {
  Tensor *partial, *result;
  bool maximum;
} Statistic;

typedef struct Range {
  Tensor *result;
  int parameter; /* -1: not final */
  long units, chunk;
  long part; /* leading dim covered by one unit, and its whole extent */
  long leading;
  StepList body; /* products that write STORE_RANGE */
  Tensor *out;
  const Node *node;
} Range;

/* Is a statistic of one of the plans a maximum? */
bool has_maxima(struct Plan *const *plans, int count);
/* Is the range the transpose of one value of the batch's rows times another, both kept or data? */
bool range_is_product(const Range *);

typedef struct Phase {
  PhaseKind kind;
  int stage, domain; /* domain: of row phases */
  StepList body;     /* step and row phases */
  Statistic *statistics;
  int statistic_count;
  Range *ranges;
  int range_count;
} Phase;

typedef struct PlanOutput {
  OutputRole role;
  Name name;
  int index;
  Tensor *tensor;
} PlanOutput;

/* Rows with certain axes: AXIS_DATUM and some of supports. All it keeps lies in the batch's kept buffer: its kept rows,
 * who its rows belong to, and partials of its statistics. */
typedef struct Domain {
  unsigned axes;
  long members;        /* rows that a datum may have */
  long tile;           /* rows in a tile; 0: the batch's */
  long kept, kept_row; /* offset in the kept buffer, for each row of the batch; kept values of one row */
  long scratch_row;    /* of a tile's row */
} Domain;

struct Plan {
  Compilation *compilation;
  const Signature *signature;
  Name name;
  int samples;
  Phase *phases;
  int phase_count;
  Tensor **tensors;
  int tensor_count;
  struct TakenName *names; /* of tensors; a table by address, interned as they are */
  long name_count, name_capacity;
  PlanOutput *outputs;
  int output_count;
  Domain *domains; /* the first is the batch's own */
  int domain_count;
  long support_extents[MAX_SUPPORTS];
  long value_size, kept_row, partial_size;
  long scratch_step;               /* step values of one phase stand first in a thread's scratch */
  long scratch_fixed, scratch_row; /* with tiles of member rows; then a tile of the batch's */
};

/* Offsets of parameters and states in their blocks, each padded to PADDING; [count] is the whole block's length. */
long *parameter_offsets(Compilation *, const Signature *);
long *state_offsets(Compilation *, const Signature *);

/* --- shared among schedule.c, views.c, fuse.c, products.c, memory.c --- */

typedef struct Group Group; /* map nodes (and reductions of them) that become one loop */

/* What the scheduler knows of a node; [node->id]. */
typedef enum Treatment {
  TREAT_UNUSED,
  TREAT_LEAF,   /* parameter, data, state, setting: memory that is there */
  TREAT_NUMBER, /* constant */
  TREAT_VIEW,   /* strides on another value's memory */
  TREAT_FUSED,  /* in a group */
  TREAT_STEP,   /* steps of its own */
  TREAT_TERM,   /* a product that is part of a range */
  TREAT_RANGE   /* a product, or a sum of products, over the batch, made in ranges */
} Treatment;

typedef struct Info {
  Node *node;
  Treatment treatment;
  int stage;
  bool row;       /* has the datum axis */
  bool statistic; /* reduces over the batch, tile by tile */
  int use_count;
  int *users;
  bool is_output;
  Group *group;
  int level;       /* in fuse.c */
  Access view;     /* over datum, sample, shape; valid once placed */
  Tensor *tensor;  /* its own memory, or NULL */
  Tensor *partial; /* statistics */
  bool wanted_in_memory;
  bool tensor_read; /* a range's result: by some step, so that it cannot wait for the end */
  bool visited;
  Node **terms; /* of a range */
  int term_count;
  Tensor **carried; /* of a repeat: by index */
} Info;

struct Group {
  int id;
  int *members; /* node ids, increasing */
  int count;
  Group *merged_into;
  int stage, level;
  bool row;
};

typedef struct Scheduler {
  Compilation *compilation;
  const Graph *graph;
  Plan *plan;
  Node **nodes; /* lowered copies, in order; ids are positions */
  Info *infos;
  int count, capacity;
  Output *outputs; /* of lowered nodes */
  int output_count;
  Group **groups;
  int group_count;
  Node *weights[MAX_SUPPORTS]; /* lowered; NULL: every member is on the support */
  int stages;                  /* how many */
  int *marks;                  /* for searches; [node] */
  int mark;
  long *parameter_offset, *state_offset;
  /* of a loop's body, which has a scheduler of its own that writes the same plan */
  struct Scheduler *outer;
  const Node *loop;     /* lowered, of outer */
  Tensor *round_number; /* NULL: nobody asks for it */
  StepList *list;       /* all steps of the body */
  StepList *outer_list; /* where the loop will stand */
} Scheduler;

/* members.c */
unsigned row_axes(const Node *); /* datum and supports; 0 without datum */
int domain_of(const Plan *, const Node *);
/* Does it move values between domains, or between rows and members without rows? */
bool crosses(const Node *);
/* Appends a node to be lowered, and before it what gathers its operands into the domain of its rows. */
Node *lower_members(Scheduler *, Node *draft);
void member_steps(Scheduler *, const Node *, StepList *);
Node *lower_append(Scheduler *, const Node *like);

/* lower.c: graph -> s->nodes: dead nodes dropped, stops and permuted products folded, masks along the batch spelt out.
 */
void lower_graph(Scheduler *);

/* fuse.c: decides groups; every live MAP node gets one, and reductions that end a group join it. */
void fuse_nodes(Scheduler *);
Group *group_of(const Info *);
/* Dims of the operand's space (datum, sample, shape) that sum, max_of, sum_over, max_over take away; 0: none of them.
 */
unsigned reduced_dims(const Node *);

/* views.c */
int space_of(const Scheduler *, const Node *, Extent extents[PLAN_DIMS]); /* datum, sample, shape; the number of dims */
long value_size(const Scheduler *, const Node *);                         /* elements of one row, samples included */
/* Strides of a tensor without gaps holding this node's value. */
Access access_whole(const Scheduler *, const Node *, Tensor *);
/* The view of a VIEW node given that of its operand; false where strides cannot say it (a copy is needed). */
bool view_through(const Node *, const Access *operand, Access *view);
bool access_is_whole(const Scheduler *, const Node *, const Access *);
/* Dims that run on in every access become one; dims of extent 1 vanish. accesses: pointers to all of them. */
int merge_dims(Extent *extents, int dim_count, Access **accesses, int access_count);
Extent extent_times(Extent, Extent);
bool extent_is_one(Extent);
Extent extent_fixed(long);

/* loops.c: groups, copies, reductions, layout changes -> steps appended to the list */
void group_steps(Scheduler *, const Group *, StepList *);
void reduction_steps(Scheduler *, const Node *, StepList *);
void along_steps(Scheduler *, const Node *, StepList *); /* cumsum, masks of maxima, lower_part */
void solve_steps(Scheduler *, const Node *, StepList *);
/* lines.c */
double line_operations(const Line *); /* of one line */
void line_steps(Scheduler *, const Node *, StepList *);
void top_steps(Scheduler *, const Node *, StepList *);    /* top_mask_over, lowered */
void layout_steps(Scheduler *, const Node *, StepList *); /* pad, concat, embed_diagonal, and views that are copied */
void clear_step(Scheduler *, const Node *, StepList *);   /* zeros in the node's own memory */
void copy_step(Scheduler *, const Node *, Access from, Access to, const Extent *extents, int dim_count, StepList *);
/* to = sum of a * b over the space; `sums`: some dims have stride 0 in `to`. */
void product_loop(Scheduler *, const Node *, Access a, Access b, Access to, bool sums, const Extent *extents,
                  int dim_count, StepList *);
/* The operand in a tensor without gaps; a copy if it is not in one. */
Access whole_operand(Scheduler *, const Node *operand, StepList *);
/* Where the copy of an operand is made for a step of this list: once a step, not once a tile, if it has no rows. */
StepList *copy_list(Scheduler *, const Node *operand, StepList *list);
/* The steps of the row phase that makes an operand. */
StepList *row_list(Scheduler *, const Node *operand);
/* Where a node's own value is written: its tensor, or a tile's partial of it. */
Access result_access(Scheduler *, const Node *);
Extent result_extent(const Tensor *);

/* low_rank.c */
void low_rank_steps(Scheduler *, const Node *, StepList *);

/* convolutions.c */
void convolve_steps(Scheduler *, const Node *, StepList *);
void choose_strip(long *sizes); /* the last two of runtime/convolve.h, from the others */

/* products.c */
/* Over the batch, with a result that is worth cutting into ranges of its leading dim, and with operands that a matrix
 * product can read where they are. */
bool product_is_matrix_like(const Scheduler *, const Node *);
void product_steps(Scheduler *, const Node *, StepList *);
/* The leading dim of a matrix-like product's result. */
long product_leading(const Scheduler *, const Node *);
long product_part(long leading); /* how much of it a unit covers */
void product_part_step(Scheduler *, const Node *, Tensor *to, bool adds, StepList *);

/* repeats.c */
void repeat_steps(Scheduler *, const Node *, StepList *);
/* Memory for what a repeat carries. */
void place_repeat(Scheduler *, Info *);
/* The leaves of a body. */
void place_loop_leaf(Scheduler *, Info *);

/* schedule.c */
/* Nodes, groups and steps of a scheduler whose graph and list are set: a loop's body. */
void schedule_body(Scheduler *);
/* The tensor of its own that holds exactly this value, or NULL. */
Tensor *tensor_of_own(Scheduler *, const Node *);
Tensor *tensor_create(Scheduler *, const Node *, Storage, int index, bool rows, long size, const char *role);
Step *step_append(Compilation *, StepList *, StepKind, const Node *);
Access operand_access(Scheduler *, const Node *);

/* May the store write where the operand is read? Only if all is read exactly where it is written, and by no instruction
 * after the one whose value is stored. */
bool may_replace(const Loop *, const Store *, const Tensor *operand);

/* memory.c: uses of tensors -> storage lifetimes -> offsets. */
void place_memory(Scheduler *);
/* Every access of a step, those of a loop's body included. Returns how many; `writes` says which are written. */
typedef struct Use {
  Access *access;
  bool writes;
} Use;
int step_uses(Compilation *, Step *, Use **uses);

/* --- emit_trim.c --- */

/* Outputs that a trainer does not read: gradients that are updated as their range is made, initial values that lie as
 * the parameters do, and metrics, where nothing is chosen by them. */
typedef struct Unread {
  bool ranges, initial, metrics;
} Unread;
void trim_plan(Compilation *, Plan *, const Unread *);

/* --- emit_header.c --- */

/* The comment of a header: data, parameters, what rows own, outputs. */
void list_exports(Compilation *, const Signature *, Plan *const *, int count, Text *);

#endif
