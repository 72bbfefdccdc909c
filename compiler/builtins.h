/* Built-in functions: one row each in a table of its kind, all found through call_builtin (functions.c). */
#ifndef SPM_BUILTINS_H
#define SPM_BUILTINS_H

#include "statements.h"

/* Arguments are those by place, evaluated, in order. */
typedef Value (*Builtin)(Elaborator *, const Expr *call, Value *arguments, int count);

typedef enum Takes {               /* what stands by place */
                     TAKES_DIMS,   /* read by the function itself */
                     TAKES_VALUES, /* numbers and tensors */
                     TAKES_VALUE_AND_LIST,
                     TAKES_DISTRIBUTION_FIRST
} Takes;

typedef struct BuiltinRow {
  const char *name; /* NULL in the row that ends a table */
  Builtin function;
  int least, most;     /* positional arguments */
  const char *options; /* their names, ", " between them */
  Takes takes;
} BuiltinRow;

extern const BuiltinRow projection_functions[];     /* projections.c */
extern const BuiltinRow start_functions[];          /* starts.c */
extern const BuiltinRow image_functions[];          /* images.c */
extern const BuiltinRow category_functions[];       /* categories.c */
extern const BuiltinRow selection_functions[];      /* selections.c */
extern const BuiltinRow subset_functions[];         /* subsets.c */
extern const BuiltinRow support_functions[];        /* exact.c */
extern const BuiltinRow sparse_support_functions[]; /* sparse_supports.c */
extern const BuiltinRow missing_functions[];        /* missing.c */
extern const BuiltinRow proximal_functions[];       /* infer_prox.c */

const char *name_here(Name foreign); /* foreign_names.c; NULL: it is none that is known */

typedef struct Over { /* what `over` names */
  unsigned dims;      /* of the visible shape */
  unsigned axes;
} Over;
/* By default all dims, or the last. */
bool over_of(Elaborator *, const Expr *call, const Value *, bool all_by_default, Over *);
unsigned node_mask(const Value *, unsigned visible); /* the same dims of the node, hidden ones counted */
Value as_tensor(Elaborator *, Value);                /* a number becomes a constant */

/* The value with the visible dims of the mask (node_mask) moved to its end, and how to move them back. */
Value move_to_end(Elaborator *, Value, unsigned mask, int *back);

#endif
