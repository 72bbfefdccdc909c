/* What distributions.c and supports.c share: the parts of a declared family. */
#ifndef SPM_DISTRIBUTIONS_H
#define SPM_DISTRIBUTIONS_H

#include "statements.h"

/* Its variable, as declared: `z : positive[n]`. */
const Formal *event_formal(const Item *family);
/* The variable's shape without the dims of an event. */
Shape leading_shape(const Item *family, const Shape *);
/* Binds parameters (and the event, and noise) for one field. */
bool enter_family(Elaborator *, const Value *d, const Value *z, const Formals *noise, Value *noise_values,
                  const Shape *, Scope *, Span);

#endif
