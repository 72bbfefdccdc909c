/* The loop plan: a program as phases, each an ordered list of steps over planned memory. Made by schedule from a
 * simplified graph; rendered by emit as strips of kernel calls (libtcc) or plain fused loops (gcc, clang).
 * The contract it leads to is runtime/model.h. */
#ifndef SPM_PLAN_H
#define SPM_PLAN_H

#include "ir.h"
#include "options.h"

typedef struct Plan Plan; /* what it is made of: plan_internal.h, known to the back end alone */

/* schedule: phases, fusion, memory. Requires a verified, simplified graph with outputs. */
Plan *schedule(const Graph *);
void plan_print(Text *, const Plan *);
/* NULL, or the first value that is read before it is written, or after its memory was used again. */
const char *plan_verify(const Plan *);
/* NAN, M_PI, EOF: C's headers may have made a macro of such a name. */
bool name_is_capital(const char *name);

typedef enum Rendering { RENDER_STRIPS, RENDER_LOOPS } Rendering;

/* emit: the C text of a whole model: model.h, what it needs of vmath.h (loops only), kernel declarations, one function
 * a phase (and a range), the descriptor `spm_model_NAME`. C99, deterministic bytes. With RENDER_STRIPS the text is
 * meant for libtcc: no includes, calls to precompiled kernels. `-DSPM_DOUBLE` selects double. */
void emit(Text *, Compilation *, const char *model_name, const Signature *, Plan *const *plans, int plan_count,
          const Training *trainings, int training_count, Rendering);
/* Its functions and tables alone, as loops: what emit_standalone.c puts the rest around. products: ranges are told by
 * their operands (range_is_product), and have no functions. */
void emit_model_body(Text *, Compilation *, const char *model_name, bool exported, bool products, const Signature *,
                     Plan *const *plans, int plan_count, const Training *trainings, int training_count);

#endif
