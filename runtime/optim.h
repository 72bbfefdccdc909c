/* Parameter updates on a range of parameters. C99; pasted into emitted trainers. Each element is updated by itself, so
 * the bytes are the same however the range is split. Gradients are those of what is minimised. */
#ifndef SPM_OPTIM_H
#define SPM_OPTIM_H

#include "model.h"

#ifdef SPM_DOUBLE /* the same file is compiled for both types into one program */
#define spm_adam_update spm_adam_update_d
#define spm_sgd_update spm_sgd_update_d
#endif

/* Adam as PyTorch's: weight_decay adds to the gradient, epsilon to the root of the corrected second moment.
 * `update` counts from 1; first and second are zeros before. */
void spm_adam_update(real *values, real *first, real *second, const real *gradient, long count, long update, double lr,
                     double beta1, double beta2, double epsilon, double weight_decay);
/* values -= lr * velocity, velocity = momentum * velocity + gradient; `velocity` may be NULL without momentum. */
void spm_sgd_update(real *values, real *velocity, const real *gradient, long count, double lr, double momentum,
                    double weight_decay);

#endif
