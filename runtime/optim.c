/* Adam and gradient descent, one pass over memory. See optim.h. */
#include "optim.h"
#include "vmath.h"

#include <math.h>
#include <stdint.h>

/* A moment that only decays would end subnormal and stay there, since a tenth off the smallest number rounds to nothing
 * off; and a step with many of these takes times as long. By bits: compilers make a branch of `x < smallest ? 0 : x`,
 * and a loop with a branch is no vector loop. */
static inline real without_subnormal(real x) {
  return vm_real(vm_bits(x) & ~vm_mask(vm_abs(x) < vm_real(VM_SMALLEST)));
}

/* The four never overlap, and `restrict` on parameters is what makes compilers vectorise. */
void spm_adam_update(real *restrict values, real *restrict first, real *restrict second, const real *restrict gradient,
                     long count, long update, double lr, double beta1, double beta2, double epsilon,
                     double weight_decay) {
  /* In double, and 1 - beta before it is rounded: in float 1 - 0.999f is off by 5e-5 of itself. */
  const real step = (real)(lr / (1.0 - pow(beta1, (double)update)));
  const real root_correction = (real)(1.0 / sqrt(1.0 - pow(beta2, (double)update)));
  const real keep1 = (real)beta1, rest1 = (real)(1.0 - beta1), keep2 = (real)beta2, rest2 = (real)(1.0 - beta2);
  const real least = (real)epsilon, decay = (real)weight_decay;
  for (long i = 0; i < count; i++) {
    const real g = gradient[i] + decay * values[i];
    const real m = without_subnormal(keep1 * first[i] + rest1 * g);
    const real v = without_subnormal(keep2 * second[i] + rest2 * (g * g));
    first[i] = m;
    second[i] = v;
    values[i] = values[i] - step * (m / (vm_sqrt(v) * root_correction + least));
  }
}

static void descend(real *restrict values, const real *restrict gradient, long count, real lr, real weight_decay) {
  for (long i = 0; i < count; i++) values[i] = values[i] - lr * (gradient[i] + weight_decay * values[i]);
}

static void roll(real *restrict values, real *restrict velocity, const real *restrict gradient, long count, real lr,
                 real momentum, real weight_decay) {
  for (long i = 0; i < count; i++) {
    velocity[i] = momentum * velocity[i] + (gradient[i] + weight_decay * values[i]);
    values[i] = values[i] - lr * velocity[i];
  }
}

void spm_sgd_update(real *values, real *velocity, const real *gradient, long count, double lr, double momentum,
                    double weight_decay) {
  if (velocity)
    roll(values, velocity, gradient, count, (real)lr, (real)momentum, (real)weight_decay);
  else
    descend(values, gradient, count, (real)lr, (real)weight_decay);
}
