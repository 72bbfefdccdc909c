/* explain: what a model computes and what that costs, as text for people or as JSON. batch: 0 for the model's own.
 * False after errors in the compilation. */
#ifndef SPM_EXPLAIN_H
#define SPM_EXPLAIN_H

#include "compiler.h"

bool explain(Text *, Model *, long batch);
bool explain_json(Text *, Model *, long batch);

#endif
