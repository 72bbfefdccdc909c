/* Gradients against differences: a train graph with adjoints -> how far each named tensor's gradient is from central
 * differences of the objective, in double, by the interpreter. Prints nothing. */
#ifndef SPM_DIAGNOSE_H
#define SPM_DIAGNOSE_H

#include "ir.h"

typedef struct TensorReport {
  const Parameter *parameter; /* of a local: [rows, ...] */
  long size, tested, kinks;   /* kinks: elements whose differences cross one at every step size */
  double worst;               /* largest relative error */
  long worst_element;         /* -1: none was tested */
  double found, expected;     /* the gradient there, and the differences */
  double largest;             /* |gradient| anywhere in the tensor */
  double compiled; /* largest difference of compiled and interpreted gradient, over the tensor's size (rms) */
  bool has_gradient;
} TensorReport;

typedef struct Diagnosis {
  TensorReport *tensors;
  int count;
  double objective;
  double compiled_objective; /* as the compiled code has it */
  bool compiled;             /* compiled code was run as well */
  long rows;
  const char *problem; /* NULL, or why nothing could be found out */
} Diagnosis;

struct spm_model;
/* The first three are the model's simplified graphs, those of initial values NULL where there are none; compiled may be
 * NULL. Everything in the result belongs to the compilation. */
Diagnosis *diagnose(Compilation *, const Graph *train, const Graph *initialise, const Graph *initialise_rows,
                    const struct spm_model *compiled, uint64_t seed, int elements);

/* What counts as agreement. */
extern const double diagnose_tolerance, diagnose_compiled_tolerance;

#endif
