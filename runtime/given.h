/* What initial values need of the training data: rows chosen at random, means, medians. Files are the caller's. */
#ifndef SPM_GIVEN_H
#define SPM_GIVEN_H

#include "model.h"

/* The training data. */
struct spm_given_source {
  void *context;
  long rows, most; /* rows there are, and the most asked for at once */
  /* `count` rows of a data declaration, order[0], order[1], ... or first, first + 1, ...; NULL: they cannot be had */
  const real *(*read)(void *context, int data, const long *order, long first, long count);
};

enum { SPM_GIVEN_MADE, SPM_GIVEN_TOO_FEW_ROWS, SPM_GIVEN_NO_MEMORY, SPM_GIVEN_UNREADABLE };

/* Makes one that is not a file's: model->givens[index].size reals. Missing entries do not count in a mean or a median.
 * Returns one of the above. Depends on model, data and seed alone. */
int spm_given_make(const struct spm_model *model, int index, const struct spm_given_source *source,
                   unsigned long long seed, real *out);

#endif
