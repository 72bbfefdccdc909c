/* A compiled model in double -> its objective and gradients at a point: what `diagnose` compares with the interpreter.
 */
#ifndef SPM_RUN_DOUBLE_H
#define SPM_RUN_DOUBLE_H

#include "ir.h"
struct spm_model;

/* Runs program "train" without updates on the bindings of the interpreter. gradients[p] has room for parameter p, those
 * behind them for row states, and is NULL where none is wanted. False when memory is out or there is no such program.
 */
bool run_double(const struct spm_model *, const Bindings *, double *objective, double *const *gradients);

#endif
