/* Declared distributions against themselves: a checked model (or library) -> errors at the fields that are wrong, and
 * a line for each declaration that says what was tested, how well it agreed, and what was not tested. */
#ifndef SPM_SELF_CHECK_H
#define SPM_SELF_CHECK_H

#include "compiler.h"

typedef struct SelfCheckOptions {
  uint64_t seed;
  bool shipped; /* the shipped library's declarations too, not the user's alone */
} SelfCheckOptions;

typedef struct SelfCheckLine {
  Span span; /* the declaration */
  const char *text;
} SelfCheckLine;

typedef struct SelfCheckReport {
  SelfCheckLine *lines;
  int count;
} SelfCheckReport;

/* Errors have the code "self-check" and stand at the field or rule that is wrong. */
void self_check(Model *, const SelfCheckOptions *, SelfCheckReport *);

#endif
