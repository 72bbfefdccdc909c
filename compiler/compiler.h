/* clang-format off */
/* The compiler as a library: every stage's one public function, in the order they run. compile.c is this page in code.
 *
 *   stage          function       requires                   leaves
 *   parse          parse          a source                   syntax tree (ast.h)
 *   resolve        resolve        a path                     Model: merged declarations, dims with values (front.h)
 *   check          check          a Model                    the same, every expression typed once; errors counted
 *   derive         derive         a checked Model, a program Graph: that program's values and outputs (ir.h)
 *   differentiate  differentiate  a Graph                    the same with adjoints (train program)
 *   simplify       simplify       a Graph                    an equal, smaller Graph
 *   schedule       schedule       a simplified Graph         Plan: phases, loops, memory (plan.h)
 *   emit           emit           Plans                      C text of one model
 *   jit            jit_compile    C text                     a callable struct spm_model (runtime/model.h)
 */
/* clang-format on */
#ifndef SPM_COMPILER_H
#define SPM_COMPILER_H

#include "ast.h"
#include "ir.h"
#include "jit.h"
#include "options.h"
#include "plan.h"

/* text -> checked model. NULL, or errors counted in the compilation, when the spec is wrong; a file that holds no
 * `model` is a library and is checked as one (model_is_library). */
Model *compile_check(Compilation *, const char *path, const CompileOptions *);
bool model_is_library(const Model *);
const char *model_name(const Model *);
const Signature *model_signature(const Model *);
const Training *model_training(const Model *);
/* Additive terms of the objective and how each expectation and KL is taken: lines for people. */
void model_describe(Text *, Model *);

/* A program's graph: derived, differentiated (train) and simplified. NULL if the model has no such program. */
Graph *model_graph(Model *, ProgramKind);
/* From now on its gradients are those of the objective, whatever `clip` says: they can be compared with differences. */
void model_unclip(Model *);
/* The same, scheduled. */
Plan *model_plan(Model *, ProgramKind);
/* checked model -> C text of all programs. */
bool compile_emit(Model *, Rendering, Text *);
/* The plans of these programs (bits by ProgramKind) that the model has; how many, or -1 with errors counted. */
int compile_plans(Model *, unsigned programs, Plan **plans);
/* checked model -> C that needs nothing else: the contract, the kernels used, the model; and what is asked for around.
 */
typedef struct Standalone {
  bool main;    /* a trainer */
  bool library; /* functions to train and run it with, in memory of the caller's */
  bool trained; /* which takes its parameters from a run (compile_trained) */
} Standalone;
bool compile_standalone(Model *, const Standalone *, Text *);
/* The C and C++ header of what compile_standalone writes. */
bool compile_header(Model *, const Standalone *, Text *);
/* The parameters in a run's model.safetensors -> constants behind what compile_standalone wrote for a library, and in
 * its header (which may be empty) the function that gives them to an instance. */
struct spm_error;
bool compile_trained(Model *, const char *path, Text *c, Text *header, struct spm_error *);
/* checked model -> callable. NULL with a message (an internal error) on failure. */
Jit *compile_jit(Model *, bool use_double, char *message, size_t message_size);
/* What leaves a stage, printed: ast, check, derive, differentiate, simplify, schedule, c, strips.
 * False if there is no such stage. */
bool compile_dump(Model *, const char *stage, Text *);
extern const char *const dump_stages[]; /* NULL-terminated */

#endif
