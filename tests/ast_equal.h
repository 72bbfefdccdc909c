/* Whether two syntax trees are equal, spans aside. */
#ifndef SPM_TEST_AST_EQUAL_H
#define SPM_TEST_AST_EQUAL_H

#include "ast.h"

bool ast_equal(const File *, const File *);

#endif
