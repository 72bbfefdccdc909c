/* For tests of the front end: a spec given as text or path -> checked model -> values of its programs by the
 * interpreter, bound to inputs by name. */
#ifndef SPM_TEST_SPEC_H
#define SPM_TEST_SPEC_H

#include "compiler/compiler.h"
#include "compiler/front.h"

typedef struct Input { /* values of a data declaration, a raw param, a state or a raw local (rows x size) */
  const char *name;
  const double *values;
} Input;

typedef struct Run {
  long rows;
  Input inputs[12]; /* those that are missing: params start at their initial values, data are zero, states at start */
  double epoch, step;
} Run;

typedef struct Spec {
  Compilation *c;
  Model *model; /* NULL where even that could not be made */
  int errors;
} Spec;

/* Reads and checks; dims without values are invented. Never fails: see errors. */
Spec spec_open(const char *path, const CompileOptions *);
/* The same for text, which is written to a file of the test's directory (scratch.h). */
Spec spec_text(const char *text, const CompileOptions *);
/* Text that must be right: prints the diagnostics and fails the test otherwise. */
Spec spec_right(const char *text);
void spec_close(Spec *);
/* The diagnostics as the command prints them, without colour; freed with free. */
char *spec_messages(const Spec *);
/* Has a diagnostic of this code. */
bool spec_says(const Spec *, const char *code);

/* All values of a node of any graph of the model, in the arena. */
const double *spec_values(Spec *, const Graph *, const Node *, const Run *);
/* The value of an output of a program, which must exist. */
const double *spec_output(Spec *, ProgramKind, OutputRole, const char *name, const Run *);
double spec_metric(Spec *, const char *name, const Run *);                         /* of the evaluate program */
const Output *spec_find_output(Spec *, ProgramKind, OutputRole, const char *name); /* or NULL */
int spec_parameter(const Spec *, const char *name);                                /* index, or -1 */
/* Raw initial value of a parameter. */
const double *spec_initial(Spec *, const char *name);
/* Text whose gradients agree with differences at so many elements of each tensor, and whose compiled code agrees with
 * the interpreter, in a finite objective and in gradients. */
void spec_expect_sound(const char *text, int elements);

/* Everything a text file holds, NUL-terminated, freed with free; NULL if there is none. */
char *read_text(const char *path);

#endif
