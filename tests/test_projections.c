/* sparsemax and entmax in a spec: along the last dim, along another, along two; in a layer that is mapped. */
#include <criterion/criterion.h>
#include <math.h>

#include "spec.h"

Test(projections, values_along_dims) {
  Spec s =
      spec_right("model m; dim A = 2; dim B = 3; data x : real[A, B];\n"
                 "function scaled(v : real[n]) = sparsemax(2 * v);\n"
                 "let rows = sparsemax(x);  let columns = sparsemax(x, over = A);\n"
                 "let all = sparsemax(x, over = [A, B]);  let smooth = entmax(x);\n"
                 "let near = entmax(x, alpha = 2);  let soft = entmax(x, alpha = 1.0001);\n"
                 "minimize sum((rows - columns)^2) + sum(smooth^2) + sum(scaled(x)^2) + sum(all * x);\n"
                 "metric a = rows[0, 0];  metric b = columns[1, 2];  metric c = all[1, 2];  metric d = smooth[0, 0];\n"
                 "metric e = sum(abs(near - rows));  metric f = sum(abs(soft - softmax(x)));\n"
                 "metric g = scaled(x)[0, 1];  metric total = sum(smooth) + sum(all) + sum(columns);\n");
  double x[] = {0.2, 0.1, -3, 0, 0, 0.4};
  Run run = {.rows = 1, .inputs = {{"x", x}}};
  double t = ((0.1 + 0.05) - sqrt((0.1 + 0.05) * (0.1 + 0.05) - 2 * (0.1 * 0.1 + 0.05 * 0.05 - 1))) /
             2; /* (0.1 - t)^2 + (0.05 - t)^2 = 1 */
  cr_assert(fabs(spec_metric(&s, "a", &run) - 0.55) < 1e-12);
  cr_assert(fabs(spec_metric(&s, "b", &run) - 1) < 1e-12);
  cr_assert(fabs(spec_metric(&s, "c", &run) - (0.4 + (1 - 0.7) / 5)) < 1e-12);
  cr_assert(fabs(spec_metric(&s, "d", &run) - (0.1 - t) * (0.1 - t)) < 1e-12);
  cr_assert(spec_metric(&s, "e", &run) == 0);
  cr_assert(spec_metric(&s, "f", &run) < 1e-3);
  cr_assert(fabs(spec_metric(&s, "g", &run) - 0.4) < 1e-12);
  cr_assert(fabs(spec_metric(&s, "total", &run) - (2 + 1 + 3)) < 1e-12);
  spec_close(&s);
}
