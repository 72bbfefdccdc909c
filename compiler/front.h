/* Inside of the front end: the Model that resolve makes, and the values elaboration computes with. What the statements
 * of a model mean is in statements.h.
 *
 * Elaboration walks syntax trees with an environment and appends IR nodes; library text (layers, functions,
 * distributions, rules) is walked the same way at each call. It is run once by check for its diagnostics, and once for
 * each program by derive. Types are facts of the values: shape in named dims, axes, interval (ir.h). */
#ifndef SPM_FRONT_H
#define SPM_FRONT_H

#include "ast.h"
#include "ir.h"
#include "options.h"

/* ---- resolve ------------------------------------------------------------------------------------------------- */

typedef struct Table { /* declarations by name, in order of declaration */
  Item **items;
  int count;
} Table;

typedef struct DimBinding {
  Name name;
  Dim dim;
  bool invented; /* until there are data */
} DimBinding;

struct Model {
  Compilation *compilation;
  Name name; /* NULL for a library */
  Span span;
  CompileOptions options;
  Table items;      /* all statements of the model after `from` and replacement */
  const File *also; /* of options.also, or NULL */
  Table library;    /* layers, functions, distributions, rules: the user's first, then the shipped ones */
  File **files;     /* in order of reading; the first is the user's own */
  int file_count;
  const char **open_paths; /* of files being read: `use` and `from` may not come back to one */
  int open_count;
  DimBinding *dims;
  int dim_count, dim_depth;
  Signature signature;
  struct ParameterSource *sources, *row_sources; /* parallel to the parameters, to the row states */
  Training *trainings;                           /* stages, in order: at least one */
  int training_count;
  int samples;
  Name *hidden; /* evaluate { hide = ...; } */
  int hidden_count;
  struct KlRecord *kl_records; /* filled with the notes */
  int kl_record_count;
  struct Acceptance { /* a value of which it could not be proved that it lies in the support asked for */
    Span span;
    Name formal, support;
    bool extended; /* it lies in the wider domain that the formal declares (LANGUAGE rule 14) */
  } * accepted;
  int accepted_count;
  struct QuadratureChoice *choices; /* rules already chosen: quadrature.c */
  int choice_count;
  struct NormaliserChoice *normalisers; /* likewise: normaliser.c */
  int normaliser_count;
  struct ExpectRecord { /* an expect(...) and what it was taken by: filled with the notes */
    Span span;
    const char *rules;
  } * expectations;
  int expectation_count;
  struct Estimator { /* how the gradient of a latent's expectation is estimated: filled with the notes */
    Name latent;
    const char *text;
  } * estimators;
  int estimator_count;
  const Item **used_rules; /* of expect */
  int used_rule_count;
  Text notes; /* how each term is computed: filled by derive of the train program */
  bool checked;
  Graph *graphs[PROGRAM_COUNT];
};

Model *resolve(Compilation *, const char *path, const CompileOptions *);
void bind_dim(Model *, const Item *);
Item *model_find(const Model *, ItemKind, Name);
Item *model_find_declaration(const Model *, Name); /* data latent param local draw let schedule */
Item *model_inference(const Model *, Name latent); /* the `infer` that names it, or NULL: infer.c */
bool is_point(const Model *, Name latent);         /* inferred, or its posterior is a value */
Item *library_find(const Model *, ItemKind, Name);
bool is_network(ItemKind);
const Override *find_override(const Model *, Name);

/* Elaborates every declaration once, for its diagnostics; check_generic those that only calls would reach. */
void check(Model *);
void check_generic(Model *);
/* Requires a checked model without errors. */
Graph *derive(Model *, ProgramKind);
bool has_objective(const Model *);
/* differentiate: appends the train program's adjoints of every parameter, as outputs. */
void add_gradients(const Model *, Graph *);
/* Reads the train blocks into model->trainings. */
void read_training(Model *);
/* Reports what a stage wants to keep the best of and evaluation does not report. */
void check_kept(const Model *, const Graph *evaluate);

/* ---- values -------------------------------------------------------------------------------------------------- */

typedef enum ValueKind {
  VALUE_ERROR,        /* already reported */
  VALUE_NUMBER,       /* a compile-time number or dim: dim */
  VALUE_TENSOR,       /* node */
  VALUE_STRING,       /* name */
  VALUE_LIST,         /* elements */
  VALUE_RECORD,       /* the fields of a network */
  VALUE_DISTRIBUTION, /* family with its parameters */
  VALUE_WORD          /* an option word: closed, all, ... */
} ValueKind;

typedef enum Combinator { COMBINE_NONE, COMBINE_MIXTURE, COMBINE_JOINT } Combinator;

typedef struct Value Value;
typedef struct Scope Scope;

struct Value {
  ValueKind kind;
  Dim dim;
  Node *node;
  unsigned mapped; /* TENSOR: which dims of the calls being mapped (elaborator's `context`) it carries, as its leading
                      dims; invisible to the callee */
  Name name;
  Value *elements; /* LIST; DISTRIBUTION: parameters, one for each formal after ';' */
  int count;
  Item *family;          /* DISTRIBUTION: its declaration; NULL for a combinator */
  Combinator combinator; /* DISTRIBUTION: elements are its components, weights a mixture's */
  Value *weights;
  Dim over; /* of a joint, or of a mixture with over_count */
  int over_count;
  Scope *record;
  Span span;
};

typedef struct Pending { /* a param of a block: made when it is first read */
  const Stmt *stmt;
  Scope *scope;
  const char *full_name;
  bool model_visible, busy, made;
  Value value;
} Pending;

typedef struct Binding {
  Name name;
  Value value;
  Pending *pending; /* or NULL */
  Span span;
} Binding;

struct Scope {
  Scope *parent;
  Binding *items;
  int count;
};

typedef struct Memo { /* a model-level name already evaluated in this program */
  Name name;
  ItemKind kind;
  Span span; /* where it was first used */
  bool busy;
  Value value;
} Memo;

typedef struct NetworkCall {
  Item *network;
  Value *arguments;
  int count;
  Value result;
} NetworkCall;

typedef struct LayerCount {
  const char *path;
  int count;
} LayerCount;

typedef struct ParameterSource { /* where a parameter or a local was declared: for its initial value */
  const TypeExpr *type;
  const Expr *init;
  Scope *scope; /* numbers bound where it stands in a layer */
  bool model_visible;
} ParameterSource;

typedef struct StateUpdate {
  int index;
  Node *next;
} StateUpdate;

/* A latent or data of the type integer(a, b): where a distribution over categories or one_hot(n) wants it, it is its
 * one-hot vector, relaxed or not (categories.c). */
typedef struct NumberNode {
  Node *number, *vector; /* vector: NULL until it is wanted (data) */
  double first;
  Dim count;
  Name latent; /* whose draw it is, or NULL */
} NumberNode;

/* A relaxed draw, or index() of one: no place for a gradient to pass, so an objective may not be made of it. */
typedef struct SoftNode {
  Node *node;
  Name latent;
  bool is_index;
  Span span;
} SoftNode;

/* A latent whose expectation is more than the value at its draw: it is summed out along a support axis, or
 * differentiated by the score function of its draw, or both (`by sum_and_sample`). */
typedef struct Summed {
  Name latent;
  int axis;      /* -1: none */
  Value weight;  /* with an axis: the probability of each member */
  Node *members; /* the latent's value */
  Node *score;   /* log probability of the draw, a variable; NULL: none */
  bool whole;    /* these are all the values it may have */
  Node *table;   /* with an axis: its members, one after the other */
} Summed;

typedef struct Callee { /* functions and layers being called */
  const Item *item;
  const struct Callee *caller;
} Callee;

typedef struct Elaborator {
  Model *model;
  Compilation *c;
  Graph *graph;
  ProgramKind program;
  bool training;
  bool generic;  /* in check_generic: dims are names with no numbers that mean anything */
  bool relaxing; /* draws of relaxed posteriors are the relaxed ones: in training, and for the relaxation gap */
  const struct ParameterSource *starting; /* whose init expression is walked, and the shape it is for; or NULL */
  const Shape *starting_shape;
  bool solving;      /* inside a solved param's own statistic: it stands for its stored value */
  bool initialising; /* inside an init expression: distributions are drawn, parameters mean their initial values */
  const char *path;  /* where parameters made now belong: "q.mu" */
  LayerCount *layers;
  int layer_count;
  Scope *scope;       /* innermost */
  bool model_visible; /* names of the model may be used (networks), or not (layers, functions, distributions) */
  int depth;
  const Callee *callees;
  Dim context[MAX_RANK]; /* dims over which the calls around are mapped */
  int context_count;
  Memo *memos;
  int memo_count;
  NetworkCall *calls;
  int call_count;
  StateUpdate *updates, *row_updates; /* of states, of row states */
  int update_count, row_update_count;
  Output *growths; /* of the steps by which latents are found, to be reported as metrics */
  int growth_count;
  const Item *inferring; /* the `infer` whose densities are being walked, or NULL */
  NumberNode *numbers;
  int number_count;
  SoftNode *soft;
  int soft_count;
  Summed *summed; /* in the order of drawing */
  int summed_count;
  Node **settled; /* expectations already taken: draws behind them ask for no more */
  int settled_count;
  Node *round;    /* of a loop that draws anew in each, or NULL */
  bool scoring;   /* expectations taken now are differentiated by scores, too: those of the objective */
  bool redrawing; /* the second draw of what is its own critic */
  Span site;      /* the author's call around shipped library text being walked: what IR nodes are said to come from */
  bool measuring; /* inside a metric: partly latent data are the data themselves (missing.c) */
  bool describe;  /* append to the model's notes how each KL is taken */
} Elaborator;

/* Nodes built from now on come from this span, or from the author's call if the span lies in the shipped library. */
void place(Elaborator *, Span);
Value value_error(void);
Value value_number(double);
Value value_dim(Dim);
Value value_tensor(Node *, unsigned mapped, Span);
bool value_is_numeric(const Value *); /* NUMBER or TENSOR */
/* NUMBER becomes a constant; anything else is an error at its span. NULL after an error. */
Node *value_node(Elaborator *, const Value *);
Shape visible_shape(const Value *);
Shape mapped_shape(const Value *);
/* "real[K, H]", for messages */
const char *shape_text(Compilation *, const Shape *);
const char *value_text(Compilation *, const Value *);

/* What a TypeExpr promises of each element; reports unknown types. */
typedef enum Special {
  SPECIAL_NONE,
  SPECIAL_SIMPLEX,
  SPECIAL_CATEGORY,
  SPECIAL_SUBSET,
  SPECIAL_LOWER_TRIANGULAR,
  SPECIAL_NOISE_UNIFORM,
  SPECIAL_NOISE_NORMAL
} Special;
typedef struct Support {
  Facts facts;
  Special special;
  Name name; /* "positive" */
  Dim count; /* of integer(a, b): how many values; of subset(n): n */
} Support;
bool read_support(Elaborator *, const TypeExpr *, Support *);
bool read_shape(Elaborator *, const TypeExpr *, Shape *); /* brackets, dims evaluated in scope */
/* Dims a type writes: those in brackets, then the length of a simplex(n) or category(n). */
int type_rank(const TypeExpr *);
/* Whole, at least 1, and at most 2^30; and a tensor of at most 2^36 numbers (reported at span otherwise). */
bool is_dim_size(double);
bool size_is_possible(Elaborator *, const Shape *, Span);
const Expr *type_dim(const TypeExpr *, int);
bool facts_within(const Facts *inner, const Facts *outer);
bool facts_disjoint(const Facts *, const Facts *);
const char *facts_text(Compilation *, const Facts *); /* "in (0, inf)" */
const char *lies_text(Compilation *, const Facts *);  /* "lies in (0, inf)", "is -1" */

/* Expands v to [dims of the context in `mapped`..., visible...]; map: visible dim -> target visible dim. */
Value expand_value(Elaborator *, Value v, unsigned mapped, const Shape *visible, const int *map);
/* Makes the values' shapes equal by rule 1 (dims of one are those of the other with some left out); mapped dims apart.
 * False after reporting at span. */
bool broadcast(Elaborator *, Value *values, int count, Span span, const char *what);
/* The same value whose dims, of the same sizes, are called by other names: shape's. The IR itself goes by sizes. */
Node *named_as(Elaborator *, Node *, const Shape *);
/* In how many ways (0, 1, 2 for more) the small one's dims are the big one's with some left out. */
int ways_to_fit(const Shape *small, const Shape *big);
/* expands value's visible dims to `shape` (its own dims in order, some left out) */
Value expand_to(Elaborator *, Value, const Shape *visible, Span);
Value apply1(Elaborator *, Op, Value, Span);
Value apply2(Elaborator *, Op, Value, Value, Span);
Value apply3(Elaborator *, Op, Value, Value, Value, Span);
/* number op number stays a number */
Value matmul(Elaborator *, Value, Value, Span);
Value transpose(Elaborator *, Value, Span);
/* The expectation under the posterior: the mean over the sample axis and the weighted sum over supports, as far as the
 * value has them. */
Value average_samples(Elaborator *, Value);
Value sum_all(Elaborator *, Value, Span);
Value mean_over_batch(Elaborator *, Value, Span);
Value log_mean_over_samples(Elaborator *, Value); /* functions.c: log of the mean of exp */

/* ---- elaborate ----------------------------------------------------------------------------------------------- */

Elaborator *elaborator_create(Model *, ProgramKind, int samples);
Value elaborate(Elaborator *, const Expr *);
/* evaluates to a dim (whole, >= 0), reporting otherwise */
bool elaborate_dim(Elaborator *, const Expr *, Dim *);
Value elaborate_call(Elaborator *, const Expr *); /* functions.c: built-ins, library, networks, distributions */
Value call_library(Elaborator *, Item *, const Expr *); /* layer or function */
Value call_network_by_name(Elaborator *, Item *, const Expr *call);
Value network_of_names(Elaborator *, Item *,
                       Span); /* q as in q.mu: arguments are the variables named like its formals */
/* blocks.c: a block's statements; the value of its `return`. The path of the next layer of this name, and a network's
 * layers counted from the start again. */
Value run_block(Elaborator *, const Block *);
const char *layer_path(Elaborator *, Name layer);
void restart_layer_counts(Elaborator *, const char *network);
Value model_value(Elaborator *, Item *, Span use); /* a model-level name: data, latent, param, let, ... */
Value make_parameter(Elaborator *, Name, const char *full_name, const TypeExpr *, const Expr *init, Span);
Value lookup(Elaborator *, Name, Span);
int data_index(Elaborator *, const Item *); /* in the signature, entered on first use; -1 after reporting */
void scope_bind(Elaborator *, Scope *, Name, Value, Span);
Scope *scope_new(Elaborator *, Scope *parent);
Binding *scope_find(Scope *, Name);
Value binding_value(Elaborator *, const Binding *);
/* A world in which latents have given values and everything else is evaluated anew (what does not depend on them comes
 * out as the same nodes): entering it returns what was evaluated outside, which leaving it brings back. */
typedef struct World {
  Memo *memos;
  int memo_count;
  NetworkCall *calls;
  int call_count;
  LayerCount *layers;
  int layer_count;
} World;
World world_enter(Elaborator *);
void world_set(Elaborator *, const Item *latent, Node *value, Span use);
void world_leave(Elaborator *, World outer);
/* arguments of a call in the callee's order; missing ones take their default or are an error */
bool bind_arguments(Elaborator *, const Expr *call, const Formals *, const Item *callee, Value *values);
/* Matches values to formals: binds the dim names of their types in the callee's scope, checks supports, and extends the
 * context by the leading dims the callee does not see (a layer acts on the last dims and is mapped over the others). */
bool map_arguments(Elaborator *, const Formal *const *, Value *, int count, bool untyped_is_scalar, Scope *callee,
                   Span);
bool check_support(Elaborator *, const Formal *, const Value *, Scope *callee, Span);
/* sums.c: numbers between bounds may make 1 together; what they make is said in words ("at most 0.4"). */
bool bounds_hold_one(Compilation *, double low, double high, const char **sum);
/* Vectors along a dim (of the visible shape) proved to be of the simplex, weights proved to sum to 1: true. Else they
 * become, wherever they are not, what is no number. */
bool guard_simplex(Elaborator *, Value *, int dim, Span);
bool guard_weights(Elaborator *, Value *weights, int count, Span);
void guard_argument(Elaborator *, const Formal *, Value *, Span); /* of the type simplex(n) */
/* For explain: what is accepted though it is not proved that it lies in the support. */
void accept_support(Elaborator *, Span, const Formal *, Name name, Name support);
/* Messages since `mark` that stand in the text of a callee: those in shipped text move to the call, all others say
 * which call they are about. */
void blame(Elaborator *, Diagnostic *const *mark, Span call, Name callee);
/* Leaves a mapped call: dims of the context from `context_count` on become visible again. */
Value unmap(Elaborator *, Value, int context_count);
/* What a callee may see is set by these: library text sees its own scope alone. */
typedef struct Frame {
  Scope *scope;
  Span site;
  bool model_visible;
  const char *path;
  int context_count;
} Frame;
Frame enter_callee(Elaborator *, Scope *, bool model_visible, const char *path);
void leave_callee(Elaborator *, Frame);
/* Remembers an author's call while library text is walked for it (until leave_callee). */
void enter_site(Elaborator *, Span call);
/* named option of a call, or NULL */
const Argument *find_argument(const Expr *call, const char *name);
int positional_count(const Expr *call);
/* Are all named arguments among these options ("over, alpha"), and, unless some may stand by place, all named? False
 * after reporting. `call` may be NULL. */
bool check_options(Elaborator *, const Expr *call, const char *options, bool by_place);

#endif
