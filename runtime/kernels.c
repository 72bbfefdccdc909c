/* Strip kernels: each op of elementwise.def on every combination of vector and scalar operands. See kernels.h. */
#include "kernels.h"
#include "vmath.h"
#include "special.h"

/* `out` may be an operand, so `restrict` would be a lie. What holds is that no iteration touches what another writes,
 * and these pragmas say just that. */
#ifdef __clang__
#define SPM_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#pragma clang diagnostic ignored "-Wpass-failed" /* loops around scalar code (digamma; libm in double) stay scalar */
#else
#define SPM_INDEPENDENT _Pragma("GCC ivdep")
#endif

/* How an operand is read: a vector's element in the loop, a scalar once before it (the result may overwrite it). */
#define SPM_BEFORE_v(x)
#define SPM_BEFORE_s(x) const real x = *x##_at;
#define SPM_WITHIN_v(x) const real x = x##_at[i];
#define SPM_WITHIN_s(x)

#define SPM_LOOP(n, statements)                                                                                        \
  SPM_INDEPENDENT                                                                                                      \
  for (long i = 0; i < n; i++) {                                                                                       \
    statements                                                                                                         \
  }

#define SPM_MAP_1(name, expression)                                                                                    \
  void SPM_K(name##_v)(long n, real *out, const real *a_at) { SPM_LOOP(n, SPM_WITHIN_v(a) out[i] = expression;) }

#define SPM_MAP_2_OF(name, expression, p, q)                                                                           \
  void SPM_K(name##_##p##q)(long n, real *out, const real *a_at, const real *b_at) {                                   \
    SPM_BEFORE_##p(a) SPM_BEFORE_##q(b) SPM_LOOP(n, SPM_WITHIN_##p(a) SPM_WITHIN_##q(b) out[i] = expression;)          \
  }
#define SPM_MAP_2(name, expression)                                                                                    \
  SPM_MAP_2_OF(name, expression, v, v) SPM_MAP_2_OF(name, expression, v, s) SPM_MAP_2_OF(name, expression, s, v)

#define SPM_MAP_3_OF(name, expression, p, q, r)                                                                        \
  void SPM_K(name##_##p##q##r)(long n, real *out, const real *a_at, const real *b_at, const real *c_at) {              \
    SPM_BEFORE_##p(a) SPM_BEFORE_##q(b) SPM_BEFORE_##r(c)                                                              \
        SPM_LOOP(n, SPM_WITHIN_##p(a) SPM_WITHIN_##q(b) SPM_WITHIN_##r(c) out[i] = expression;)                        \
  }
#define SPM_MAP_3(name, expression)                                                                                    \
  SPM_MAP_3_OF(name, expression, v, v, v)                                                                              \
  SPM_MAP_3_OF(name, expression, v, v, s)                                                                              \
  SPM_MAP_3_OF(name, expression, v, s, v)                                                                              \
  SPM_MAP_3_OF(name, expression, v, s, s)                                                                              \
  SPM_MAP_3_OF(name, expression, s, v, v)                                                                              \
  SPM_MAP_3_OF(name, expression, s, v, s)                                                                              \
  SPM_MAP_3_OF(name, expression, s, s, v)

#define X(name, arity, expression) SPM_MAP_##arity(name, expression)
#include "elementwise.def"
#undef X

/* A Bernoulli's log-likelihood and its adjoint want both, of the same logits; the compiler makes their exp(-|x|) one.
 * The same bits as each by itself; one of them may be in place. */
void SPM_K(softplus_and_sigmoid)(long n, real *softplus, real *sigmoid, const real *a) {
  SPM_LOOP(n, const real x = a[i]; softplus[i] = vm_softplus(x); sigmoid[i] = vm_sigmoid(x);)
}

/* A name in kernels.def that is not in elementwise.def, or was not defined above or in another file, does not link. */
#include "blas.h"
#include "rng.h"

#ifdef SPM_DOUBLE
#define SPM_SYMBOL(name) "spm_" #name "_d"
#else
#define SPM_SYMBOL(name) "spm_" #name "_f"
#endif
const struct spm_kernel_symbol SPM_K(kernel_symbols)[] = {
#define X(result, name, arguments) {SPM_SYMBOL(name), (void (*)(void))SPM_K(name)},
#include "kernels.def"
#undef X
    {0, 0}};
