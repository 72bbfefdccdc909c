/* The tensor IR: one objective (or other program) as a graph of values. Requires nothing but base and dims.
 *
 * Every value has a shape (named dims of one datum) and a set of implicit axes: datum, sample, and support(v) for each
 * summed-out latent v. With no axes it is a constant or a per-step value. Axes broadcast implicitly: a result's axes
 * are the union of its operands' (minus those an OVER op or contract sums away, plus those spread adds). Shapes never
 * broadcast implicitly: elementwise operands have the result's shape exactly (expand makes them so).
 * Nodes are only appended, operands before users, so node order is a topological order. */
#ifndef SPM_IR_H
#define SPM_IR_H

#include "dims.h"

enum { MAX_RANK = 8, MOST_INNER_STEPS = 65536 };

typedef enum Op {
#define OP(name, operands, kind, derivative) IR_##name,
#include "ops.def"
#undef OP
  OP_COUNT
} Op;

typedef enum OpKind {
  KIND_LEAF,
  KIND_MAP,
  KIND_VIEW,
  KIND_REDUCE,
  KIND_OVER,
  KIND_PRODUCT,
  KIND_LOOP,
  KIND_LINE,
  KIND_OTHER
} OpKind;
typedef enum OpDerivative {
  DERIVATIVE_LEAF,
  DERIVATIVE_CLOSED,
  DERIVATIVE_ONCE,
  DERIVATIVE_NEVER,
  DERIVATIVE_ZERO
} OpDerivative;
typedef struct OpInfo {
  const char *name;
  int operands;
  OpKind kind;
  OpDerivative derivative;
} OpInfo;
extern const OpInfo op_table[OP_COUNT];

/* Implicit axes, as bits; bit i is axis number i. */
enum { AXIS_DATUM = 1, AXIS_SAMPLE = 2, AXIS_SUPPORT = 4 /* << number of the summed-out latent */ };
enum { MAX_SUPPORTS = 4, AXIS_COUNT = 2 + MAX_SUPPORTS };
enum { AXES_SUPPORT = ((1 << MAX_SUPPORTS) - 1) * AXIS_SUPPORT };

typedef struct Shape {
  int rank;
  Dim dims[MAX_RANK];
} Shape;
long shape_size(const Shape *); /* product of the dims; 1 for a scalar */

/* What is provable of every element (intervals, rule 35). NaN-freedom is part of `finite`. */
typedef struct Facts {
  double low, high; /* closed bounds; -INFINITY, INFINITY when unknown */
  bool above_low;   /* strictly above low */
  bool below_high;  /* strictly below high */
  bool integer;
  bool finite;    /* finite unless arithmetic overflows: inputs, their sums and products, bounded functions of them */
  bool pole_free; /* finite unless arithmetic or an exponential overflows; set by facts_of, for leaves too */
} Facts;

typedef struct Graph Graph;
typedef struct Node Node;
struct Node {
  int id; /* position in graph->nodes */
  Op op;
  int operand_count;
  Node **operands;
  Shape shape;
  unsigned axes;
  Facts facts;
  double number;           /* constant */
  const double *table;     /* table: its values, row-major */
  int index;               /* parameter, data, noise, setting, state, carried, captured, inner_noise, repeat_result */
  int map[MAX_RANK];       /* expand, permute */
  int dim;                 /* slice, pad, concat, cumsum */
  long start;              /* slice, pad; LINE ops whose m is no operand's length: m; low_rank_fit, low_rank_weights */
  bool reverse, exclusive; /* cumsum; reverse: solve_triangular of the transposed; spread: once, underivable */
  unsigned dims_mask;      /* sum, max_of, first_max_mask, top_mask_over */
  unsigned axes_attribute; /* sum_over, max_over, first_max_mask_over, top_mask_over, spread, contract, carried,
                              captured, convolve_filters, low_rank_weights */
  long stride, padding;    /* convolve and its two transposes: positions between places, zeros around an image */
  /* contract: a label (a small non-negative number) for each dim of a, of b and of the result. Every label of the
   * result is in a or b; a label of only one operand is in the result; no label twice in one list. */
  int labels_a[MAX_RANK], labels_b[MAX_RANK], labels_out[MAX_RANK];
  long rounds; /* repeat; at least 1 */
  Graph *body; /* repeat: its outputs are the next values; their shapes and axes are those of what is carried */
  Span span;   /* the spec text it came from */
  Name name;   /* the author's name for it, or NULL */
};

typedef enum SettingKind {
  SETTING_EPOCH,
  SETTING_STEP,
  SETTING_ROWS_IN_BATCH,
  SETTING_TOTAL_ROWS,
  SETTING_MORE_WHERE, /* what a row counts for beyond 1 in a stage that balances: where that is true, */
  SETTING_MORE_ELSE,  /* where it is false */
  SETTING_COUNT
} SettingKind;
extern const char *const setting_names[SETTING_COUNT];

typedef struct Parameter { /* raw storage; the constrained value is made from it by IR nodes */
  Name name;               /* "q.mu.dense.W" */
  Shape shape;
  Span span;
  bool fixed;        /* never updated by an optimiser */
  bool solved;       /* program "solve" finds it; raw: a mean over all training data */
  bool projected;    /* set back onto its constraint after each update (program "project") */
  bool constrained;  /* the raw value differs from the constrained one */
  const Facts *held; /* what its type says of a raw value that is kept within it; NULL: nothing is known */
} Parameter;

typedef struct DataInput {
  Name name;
  Shape shape;
  Span span;
  Facts facts; /* declared support */
  bool missing_ok;
  long categories; /* 0, or the length of the one-hot vectors that its labels become */
  long most;       /* 0, or how many ones a line may hold: subset(most) */
  long gathered;   /* 0, or how many rows of the file, drawn afresh each time, a datum has: along the first dim */
} DataInput;

typedef enum NoiseKind { NOISE_UNIFORM, NOISE_NORMAL } NoiseKind;
typedef struct Noise { /* drawn inside a phase, a pure function of (seed, stream; step, row, sample, inner step,
                          element) */
  Name name;           /* "z.e" */
  NoiseKind kind;
  unsigned stream; /* distinct for each draw; the same in every program */
  Shape shape;
  unsigned axes;
} Noise;

typedef struct State {
  Name name;
  Shape shape;
  double start;
} State;

/* A value that each row of the training data owns and keeps from one visit to the next: a `local` parameter (raw), the
 * position of a persistent chain. A program reads it by build_row_state; what becomes of it is said by the train
 * program's outputs: OUTPUT_ROW_GRADIENT, the optimiser updates it with moments of the row's own; OUTPUT_ROW_NEXT, the
 * program computes its next value itself; neither, the step holds it and a fit (fit.c) moves it. Its first value
 * is an OUTPUT_ROW_INITIAL of the program "initialise_rows"; rows that were not trained on begin there, too. */
typedef struct RowState {
  Name name;
  Shape shape;
  Span span;
  bool constrained; /* the raw value differs from the constrained one */
} RowState;

/* What initial values need of the training data, or of a file: worked out by the host before the program "initialise"
 * runs. ROWS: rows of the data, chosen at random, along the first dim; MEAN, MEDIAN: over all rows, element by element.
 */
typedef enum GivenKind { GIVEN_ROWS, GIVEN_MEAN, GIVEN_MEDIAN, GIVEN_FILE } GivenKind;
typedef struct Given {
  Name name; /* "rows(x)", for people */
  GivenKind kind;
  int data;         /* of the signature; -1: a file */
  const char *path; /* as the spec has it, seen from where the spec is; NULL: data */
  Shape shape;
  Span span;
  Facts facts;
} Given;

/* What all programs of one model share. */
typedef struct Signature {
  Parameter *parameters;
  int parameter_count;
  DataInput *data;
  int data_count;
  Noise *noises;
  int noise_count;
  State *states;
  int state_count;
  RowState *row_states;
  int row_state_count;
  Given *givens;
  int given_count;
} Signature;

typedef enum OutputRole {
  OUTPUT_OBJECTIVE, /* per-step scalar: the batch's mean objective, in nats a datum, maximised */
  OUTPUT_TERM,      /* per-step scalar: one additive term of the objective (mean over the batch), named */
  OUTPUT_METRIC,    /* per-step value: mean over the batch, named */
  OUTPUT_VALUE,     /* per-step scalar for the record: a schedule, a learning rate ("lr") */
  OUTPUT_GRADIENT,  /* index: adjoint of raw parameter `index` of MINUS the objective (a descent gradient) */
  OUTPUT_STATE,     /* index: the state's next value */
  OUTPUT_INITIAL,   /* index: raw initial value of a parameter */
  OUTPUT_EXPORT,    /* index: constrained value of a parameter */
  OUTPUT_SOLVED,    /* index: raw value of a solved parameter for this batch, to be averaged over all rows */
  OUTPUT_ROWS,      /* a row value (axes datum, or datum+sample) for the caller, named: codes, reconstructions */
  /* row values (axes datum) of row state `index`: */
  OUTPUT_ROW_GRADIENT, /* adjoint of MINUS the objective */
  OUTPUT_ROW_NEXT,     /* its value from this step on */
  OUTPUT_ROW_INITIAL,  /* raw initial value */
  OUTPUT_SUPPORT,      /* index of a support axis: its weights, for each row; made by the scheduler */
  OUTPUT_SHARE,        /* per-step scalar: of the rows, the share that the metric of this name is a mean of; the metric
                          itself is 0 on the others */
  OUTPUT_NEXT,         /* in the body of a loop alone: the next value of what is carried */
  OUTPUT_ROLE_COUNT
} OutputRole;
extern const char *const output_role_names[OUTPUT_ROLE_COUNT];

typedef struct Output {
  OutputRole role;
  Name name;
  int index;
  Node *value;
} Output;

/* The values that a summed-out latent may take. Whoever builds a sum over them sees to it that every addend carries the
 * member's weight, so that compiled programs may leave out, and do not compute, values with the axes datum and
 * support(v) where the weight is exactly 0: off the support. */
typedef struct SupportAxis {
  Name name;     /* of the latent */
  Dim extent;    /* members, on and off the support */
  Node *weights; /* [extent] with axes {datum}; NULL: every member is on the support of every datum */
  bool sparse;   /* most of the weights are expected to be 0 */
} SupportAxis;

struct Graph {
  Compilation *compilation;
  Signature *signature;
  Name name;   /* of the program: "train", "evaluate", ... */
  int samples; /* extent of the sample axis, >= 1 */
  SupportAxis supports[MAX_SUPPORTS];
  int support_count;
  Node **nodes;
  int count;
  Output *outputs;
  int output_count;
  struct NodeTable *table; /* finds equal nodes */
  Span current;            /* given to new nodes: build_at */
};

Graph *graph_create(Compilation *, Signature *, const char *name, int samples);
/* Every element is this number (a constant, expanded or spread or not). */
bool node_filled(const Node *, double *value);
/* What is provable of a node of these operands: their facts are read, the node's are not. */
Facts facts_of(const Graph *, const Node *);
/* An empty graph with the same signature and axes; weights of supports are not taken over. */
Graph *graph_create_like(const Graph *);
void graph_output(Graph *, OutputRole, Name, int index, Node *);
/* A new support axis; returns its number v. The weights are said when they are known, before anything has both axes. */
int graph_support(Graph *, Name, Dim extent);
void graph_support_weights(Graph *, int v, Node *weights);
/* Elements along axis number `axis` (of a batch of so many rows). */
long axis_extent(const Graph *, int axis, long rows);

/* Builders: each appends one node (or returns an existing or simpler one: equal nodes are shared, constants folded,
 * x + 0, x * 1, expand of nothing ... vanish) and computes shape, axes and facts. Operands must already agree
 * (asserted). Spans: a new node takes graph-wide "current span" set by build_at. */
void build_at(Graph *, Span);
Node *build_constant(Graph *, double);                           /* scalar */
Node *build_filled(Graph *, double, const Shape *);              /* expand of a constant */
Node *build_table(Graph *, const double *values, const Shape *); /* copied; never a scalar */
Node *build_parameter(Graph *, int index);
Node *build_data(Graph *, int index);
Node *build_noise(Graph *, int index);
Node *build_setting(Graph *, SettingKind);
Node *build_state(Graph *, int index);
Node *build_row_state(Graph *, int index);
Node *build_given(Graph *, int index);
Node *build_map1(Graph *, Op, Node *);
Node *build_map2(Graph *, Op, Node *, Node *);
Node *build_map3(Graph *, Op, Node *, Node *, Node *);
Node *build_expand(Graph *, Node *, const Shape *, const int *map);
Node *build_scalar_expand(Graph *, Node *scalar, const Shape *);
Node *build_reshape(Graph *, Node *, const Shape *);
Node *build_permute(Graph *, Node *, const int *map);
Node *build_slice(Graph *, Node *, int dim, long start, Dim extent);
Node *build_pad(Graph *, Node *, int dim, long start, Dim extent);
Node *build_concat(Graph *, Node **, int count, int dim, Dim extent);
Node *build_spread(Graph *, Node *, unsigned axes);
Node *build_stop(Graph *, Node *);
/* The same value as a node of its own (a spread over no axes), never shared and never looked through by the builders.
 * Whatever inner node will be differentiated with respect to must be wrapped in it before anything is built on it;
 * leaves need no wrapping. simplify drops it. */
Node *build_variable(Graph *, Node *);
/* The same value again, through which one derivative passes: what it passes on is underivable, a value whose derivative
 * is an error at its span. */
Node *build_once(Graph *, Node *);
Node *build_underivable(Graph *, Node *);
Node *build_sum(Graph *, Node *, unsigned dims_mask);
Node *build_max_of(Graph *, Node *, unsigned dims_mask);         /* permutes first if the dims are not trailing */
Node *build_first_max_mask(Graph *, Node *, unsigned dims_mask); /* dims must be trailing */
Node *build_cumsum(Graph *, Node *, int dim, bool reverse, bool exclusive);
Node *build_sum_over(Graph *, Node *, unsigned axes); /* axes the operand does not have are an internal error */
Node *build_max_over(Graph *, Node *, unsigned axis);
/* [n, ..] -> [..] with support axis v, of n members: what member m sees is element m of the first dim. */
Node *build_pick(Graph *, Node *, int v);
/* The reverse. Compiled programs leave 0 for what is off the support. */
Node *build_place(Graph *, Node *, int v);
Node *build_first_max_mask_over(Graph *, Node *, unsigned axis);
Node *build_top_mask_over(Graph *, Node *x, Node *k,
                          unsigned dims_mask);             /* dims trailing; k: of the dims before them */
Node *build_line(Graph *, Op, Node **operands, long most); /* a LINE op; most: m where it is no operand's length */
Node *build_contract(Graph *, Node *a, const int *labels_a, Node *b, const int *labels_b, int out_rank,
                     const int *labels_out, unsigned summed_axes);
Node *build_diagonal(Graph *, Node *);
Node *build_embed_diagonal(Graph *, Node *);
Node *build_lower_part(Graph *, Node *);
/* Images are [.., channel, row, column]. What the filters do not cover exactly is an internal error. */
Node *build_convolve(Graph *, Node *images, Node *filters, long stride, long padding);
Node *build_convolve_transpose(Graph *, Node *features, Node *filters, long stride, long padding);
/* Sums over leading dims and these axes; `shape` is that of the filters. */
Node *build_convolve_filters(Graph *, Node *images, Node *features, const Shape *shape, long stride, long padding,
                             unsigned summed_axes);
/* f [.., r], w [n, r], b [n], x [..]: categories from `first` on. */
enum { LOW_RANK_MOST = 32 }; /* factors */
Node *build_low_rank_fit(Graph *, Node *f, Node *w, Node *b, Node *x, long first);
Node *build_low_rank_weights(Graph *, Node *f, Node *w, Node *b, Node *x, Node *fit, Node *g, long first);
Node *build_solve_triangular(Graph *, Node *l, Node *b,
                             bool transposed); /* the same dims before l's last two and b's last */
/* Images, filters and features of a convolution or one of its transposes: three of operands and result. */
typedef struct Convolution {
  const Node *images, *filters, *features;
  long leading; /* images a datum and sample */
  long channels, height, width;
  long count, rows, columns; /* filters */
  long down, across;         /* features */
} Convolution;
Convolution convolution_of(const Node *);
/* A softmax of few factors: lines a datum and sample, factors, categories and the number of the first. */
typedef struct LowRank {
  long lines, rank, length, first;
} LowRank;
LowRank low_rank_of(const Node *);
/* The same op and attributes on other operands: how passes rebuild a node (also into another graph). */
Node *build_like(Graph *, const Node *, Node **operands);

/* Loops. The body is built like anything else, differentiate included, on placeholders: one for each value that goes
 * from round to round, and one for the round's number if it is asked for. What the body uses that depends on no
 * placeholder stays outside: it is computed once, before the loop. Plain noise in a body is such a value, the same in
 * every round; build_inner_noise(graph, noise, round) is drawn anew in each. */
typedef struct Repeat {
  long rounds; /* none: the results are the initial values */
  Node *round; /* build_round's, or NULL */
  int count;
  Node **carried; /* build_carried's */
  Node **initial; /* before the first round; of the placeholder's shape, its axes or fewer */
  Node **next;    /* after a round, in terms of the placeholders; likewise */
} Repeat;
/* A placeholder for a value with these axes. `facts` must hold of the initial value and, wherever they hold of the
 * placeholder, of the next one, its range provably; NULL: nothing is known (build_repeat finds out more by induction).
 * A leaf, so that inner gradients with respect to it need no
 * build_variable. */
Node *build_carried(Graph *, const Shape *, unsigned axes, const Facts *);
Node *build_round(Graph *); /* 0, 1, 2, ... */
/* Noise of the signature, drawn anew in each inner step: a step value, whole, at least 0 and below 2^16, such as
 * build_round's. build_noise draws that of inner step 0. */
Node *build_inner_noise(Graph *, int index, Node *inner_step);
/* NULL, or why there can be no such loop, for people: a body that reduces over the batch would need a pass over the
 * batch each round. Ask before build_repeat, which requires a loop without a problem. */
const char *repeat_problem(Graph *, const Repeat *);
/* results[i]: carried value i after the last round. A stopped value: no gradient passes. */
void build_repeat(Graph *, const Repeat *, Node **results);
/* The same by substitution, round after round: as much code as there are rounds, but it may reduce over the batch and
 * gradients pass. */
void build_unrolled(Graph *, const Repeat *, Node **results);

/* Prints "%12 q.mu [K] {datum} = contract(%3, %9) ..." a line a node, with the spec line it came from, then outputs. */
void ir_print(Text *, const Graph *);
/* Checks every invariant stated above; returns NULL or a description of the first violation (an internal error). */
const char *ir_verify(const Graph *);

/* differentiate: appends to `graph` the adjoints of scalar step value `of` (no axes) with respect to the given nodes.
 * adjoints[i] has exactly the shape and axes of with_respect_to[i]; a value that `of` does not depend on gets zeros.
 * The result can be differentiated again. */
void differentiate(Graph *, Node *of, Node **with_respect_to, int count, Node **adjoints);

/* simplify: a new graph with the same outputs: folding, common subexpressions, dead code, strength reduction,
 * stable forms (log(1 + exp(x)) -> softplus(x), log(sigmoid(x)) ...). Never changes a value beyond rounding. */
Graph *simplify(const Graph *);

/* The interpreter: the meaning of the IR, in double, straight from the definitions. */
typedef struct Bindings {
  long rows;                       /* rows of the batch */
  long first_row;                  /* number of the first row, for noise */
  const double *const *parameters; /* raw, by index */
  const double *const *data;       /* rows x size, by index */
  const double *const *states;
  const double *const *row_states; /* rows x size, by index */
  const double *const *givens;     /* by index; needed by initial values alone */
  double settings[SETTING_COUNT];  /* SETTING_ROWS_IN_BATCH must be rows */
  uint64_t seed;
  uint32_t step;
  /* Differences are taken with stopped values held at the base point: record fills held[id] for every stop and repeat,
   * replay uses them, and computes what the outputs need alone. NULL: neither. held has graph->count entries; those
   * that are NULL are made with malloc and are
   * the caller's to free. */
  double **held;
  bool replay;
} Bindings;
typedef struct Evaluation {
  double **values;     /* by node id: [datum][sample][shape], axes the node lacks left out */
  uint64_t branches;   /* a hash of every comparison, sign, floor, relu/abs/max/min/select decision taken */
  const char *problem; /* NULL, or why it could not be evaluated (memory) */
} Evaluation;
/* Allocates with malloc; free with evaluation_free. */
Evaluation *interpret(const Graph *, const Bindings *);
void evaluation_free(Evaluation *, const Graph *);
long node_extent(const Graph *, const Node *, long rows); /* elements including axes */

#endif
