/* What the files of the emitter share: one text under construction and what it has needed so far. */
#ifndef SPM_EMIT_INTERNAL_H
#define SPM_EMIT_INTERNAL_H

#include "plan_internal.h"

typedef struct Written { /* a phase's function */
  const char *form, *name;
} Written;

typedef struct Reused { /* a phase that has another one's function */
  const Phase *phase;
  const char *name;
} Reused;

typedef struct Emitter {
  Compilation *compilation;
  const char *model;
  bool exported; /* the descriptor is for others, too */
  bool maxima;   /* statistics say how they are combined: not all are sums */
  bool products; /* ranges have no functions: they are told by their operands */
  Rendering rendering;
  const Plan *plan;
  Text body;                     /* functions and tables; what they need is put before them at the end */
  Text functions;                /* loops: the functions of the phase that is being written */
  bool *kernels_used;            /* by position in kernel_table */
  bool vmath_used, special_used; /* special.h needs vmath.h */
  const char *function;          /* name of the one being written */
  int loop_number, block_count;
  const char *last_comment;
  struct LoopForms *forms; /* loops: those that are alike; see emit_shared.c */
  bool noting;             /* the first time, when they are noted */
  /* of the function being written */
  const Phase *phase;
  const Range *range;
  int rows_of;                 /* in a range: the domain whose rows the step runs over */
  int round_depth;             /* loops of rounds around the step */
  bool shortened[STORE_COUNT]; /* where its tensors lie has a short name of its own */
  double *numbers;             /* strips: constants that stand in memory */
  int number_count;
  Written *written;
  Reused *reused;
  int written_count, reused_count;
  const Node **tables; /* distinct constant arrays of the whole text */
  int table_count;
} Emitter;

typedef struct KernelText {
  const char *name, *result, *arguments;
} KernelText;
extern const KernelText kernel_table[]; /* ends with NULL */

void put_line(Text *, int indent, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "SPM_K(add_vv)", and its declaration will stand above. */
const char *kernel_name(Emitter *, const char *name);
/* A number as C: "2", "(real)0.1". */
const char *number_text(Emitter *, double value);
/* "rows * 3", "400", "count" */
const char *extent_text(Emitter *, Extent);
/* A tensor's element at an offset and loop variables: "h + 12 + i0 * 400"; NULL indices: none. `moved` is one more
 * summand, or "". */
const char *address_text(Emitter *, const Access *, int loops, const char *moved);
/* The author's line, "file.spm:7: let z = ...", without what would end a comment; or NULL. */
const char *spec_line(Emitter *, const Node *);
/* It above a step, unless it has just been said. */
void put_comment(Emitter *, Text *, int indent, const Node *);
/* A pointer to a constant in the function's frame (strips). */
const char *number_address(Emitter *, double value);

/* emit_shared.c. `text`: a function from behind its name's parenthesis on. */
struct LoopForms *loop_forms_create(Compilation *);
void loop_forms_note(Compilation *, struct LoopForms *, const char *text);
/* The arguments that a call needs before its own; its function's name, `fresh` if it has to be written, with the text
 * `shared`, which else is NULL. */
const char *loop_forms_call(Emitter *, const char *text, const char **name, const char **shared, const char *fresh);

/* Which of some names, interned, a name is; -1: none of them. */
typedef struct NameTable {
  const Name *names;
  int *indices; /* by slot, and one more: 0 where it is free */
  size_t size;
} NameTable;
NameTable name_table(Compilation *, const Name *, int count);
int name_index(const NameTable *, Name);

/* emit_repeats.c: statements that are alike become one loop over a table of what differs. */
typedef struct Spot { /* of a tensor: base + offset */
  Name name;
  const char *base, *shape;
  long offset;
} Spot;
void emit_repeats(Emitter *, Text *steps, const Spot *, int place_count);
/* Length of the number at `at`, "400" or "(real)0.5" or "(real)(-0.5)", and of the word; 0: there is none. */
size_t text_number_length(const char *at);
size_t text_word_length(const char *at);

/* The static array that holds these numbers: one for all programs that need them. */
const char *table_name(Emitter *, const Node *);
void emit_steps(Emitter *, Text *, const StepList *);
/* emit_functions.c: the functions of a phase of e->plan. */
void emit_phase(Emitter *, int number);

void emit_loop_strips(Emitter *, Text *, const Step *);
void emit_loop_plain(Emitter *, Text *, const Step *);

void emit_signature(Emitter *, const Signature *);
void emit_program(Emitter *, const Plan *);
void emit_model(Emitter *, const Signature *, Plan *const *plans, int plan_count, const Training *, int training_count);
const char *phase_function(Emitter *, const Plan *, int phase);
const char *range_function(Emitter *, const Plan *, int phase, int range);
const char *quoted_text(Emitter *, const char *text);

#endif
