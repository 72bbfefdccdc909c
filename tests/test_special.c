/* Special functions as the interpreter has them, against tests/tables/special.txt (mpmath). */
#include "compiler/ir_parts.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static Op op_called(const char *name) {
  for (int op = 0; op < OP_COUNT; op++)
    if (strcmp(op_table[op].name, name) == 0) return (Op)op;
  cr_assert(false, "no op is called %s", name);
  return OP_COUNT;
}

/* The slopes of quantiles are differences of tails. */
static double tolerance_of(const char *name) { return strstr(name, "slope") ? 1e-9 : 1e-12; }

Test(special, values_are_those_of_mpmath) {
  FILE *file = fopen("tests/tables/special.txt", "r");
  char line[300];
  int count = 0;
  cr_assert(file != NULL);
  while (fgets(line, sizeof line, file)) {
    char name[40];
    double numbers[4];
    int read = sscanf(line, "%39s %lf %lf %lf %lf", name, &numbers[0], &numbers[1], &numbers[2], &numbers[3]) - 1;
    Op op = op_called(name);
    cr_assert(read == op_table[op].operands + 1, "%s", line);
    double wanted = numbers[read - 1], found = elementwise_value(op, numbers);
    cr_expect(fabs(found - wanted) <= tolerance_of(name) * fabs(wanted) + 1e-300, "%.17g, not %s", found, line);
    count++;
  }
  fclose(file);
  cr_expect(count > 150, "%d lines", count);
}
