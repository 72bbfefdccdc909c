/* Dims: lengths of tensor axes as polynomials in the author's dim names ("2 * D", "H / 4", "L + 1"), each with the
 * number it stands for today. Two dims agree exactly when their polynomials are the same; a bare number agrees with
 * any dim of that value; two different names never agree (LANGUAGE rule 1). */
#ifndef SPM_DIMS_H
#define SPM_DIMS_H

#include "base.h"

typedef struct Polynomial Polynomial; /* interned: equal polynomials are the same pointer */

typedef struct Dim {
  double size;              /* exact; whole wherever a dim is needed */
  const Polynomial *symbol; /* NULL for a bare number */
} Dim;

Dim dim_number(double value);
Dim dim_name(Compilation *, Name, double value);
/* The result is a bare number when both are; division by a bare number keeps the polynomial (with rational
 * coefficients), division by a polynomial gives a bare number. */
Dim dim_add(Compilation *, Dim, Dim);
Dim dim_subtract(Compilation *, Dim, Dim);
Dim dim_multiply(Compilation *, Dim, Dim);
Dim dim_divide(Compilation *, Dim, Dim);
bool dim_agree(Dim, Dim);
bool dim_same(Dim, Dim); /* the same polynomial, or the same bare number */
/* "D", "2 * D", "16" */
const char *dim_text(Compilation *, Dim);

/* invent.c: numbers that the author wrote, and names that they divide; the size of a dim that has none, which is not
 * one of those taken. */
void note_literal(Compilation *, double);
void note_division(Compilation *, Name, double by);
double dim_invent(Compilation *, Name, const double *taken, int count);

#endif
