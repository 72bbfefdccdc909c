/* Special functions for the interpreter and constant folding: the one text of them that there is (runtime/special.h),
 * in double. tests/test_special.c holds it to values from elsewhere. Requires one of the ops below. */
#define SPM_DOUBLE
#include "../runtime/real.h"
#include "../runtime/vmath.h"
#include "../runtime/special.h"

#include "ir_parts.h"

double special_function(Op op, const double *x) {
  if (op == IR_stirling) return sp_stirling(x[0], x[1]);
  if (op == IR_exponential_integral) return sp_exponential_integral(x[0], x[1]);
  if (op == IR_gamma_quantile) return sp_gamma_quantile(x[0], x[1]);
  if (op == IR_gamma_quantile_slope) return sp_gamma_quantile_slope(x[0], x[1]);
  if (op == IR_beta_quantile) return sp_beta_quantile(x[0], x[1], x[2]);
  if (op == IR_beta_quantile_slope_a) return sp_beta_quantile_slope_a(x[0], x[1], x[2]);
  if (op == IR_beta_quantile_slope_b) return sp_beta_quantile_slope_b(x[0], x[1], x[2]);
  return NAN;
}
