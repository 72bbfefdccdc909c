/* A graph made wrong at one place, which the verifier must find, and right again. */
#ifndef SPM_TEST_BROKEN_GRAPH_H
#define SPM_TEST_BROKEN_GRAPH_H

#include <criterion/criterion.h>
#include <string.h>

#include "ir.h"

static inline void expect_problem(const Graph *g, const char *part) {
  const char *problem = ir_verify(g);
  cr_assert(problem != NULL && strstr(problem, part) != NULL, "\"%s\" should mention \"%s\"", problem, part);
}

/* `part` of what is said of the graph g while `place` holds `value`. */
#define BREAK(place, value, part)                                                                                      \
  do {                                                                                                                 \
    __typeof__(place) before = place;                                                                                  \
    place = value;                                                                                                     \
    expect_problem(g, part);                                                                                           \
    place = before;                                                                                                    \
    cr_assert(ir_verify(g) == NULL);                                                                                   \
  } while (0)

#endif
