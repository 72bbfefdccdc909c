/* The plainest driver of a compiled model: phases in order on one thread, tiles of any size, statistics combined by the
 * binary tree that model.h promises. What the real driver is compared with, and a way to try any tile. */
#ifndef SPM_REFERENCE_DRIVER_H
#define SPM_REFERENCE_DRIVER_H

#include "../compiler/ir.h"

struct spm_model;

typedef struct Outputs {
  int count;
  double **values; /* by output of the program; malloc'ed, free with outputs_free */
  long *sizes;
} Outputs;

/* Runs a program on these inputs. fused: ranges of parameters' gradients are made in memory of their own and copied, as
 * a driver does that updates right after them. The model must have been compiled for float (_f) or double (_d). */
Outputs reference_run_f(const struct spm_model *, const char *program, const Signature *, const Bindings *, long tile,
                        bool fused);
Outputs reference_run_d(const struct spm_model *, const char *program, const Signature *, const Bindings *, long tile,
                        bool fused);
void outputs_free(Outputs *);

#endif
