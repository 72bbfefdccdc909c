/* Pieces: C source files of the runtime -> those of their top-level declarations that some text needs, for pasting. The
 * files are the one source: nothing in them is marked, they are cut at top level, and what a piece mentions it needs.
 */
#ifndef SPM_PIECES_H
#define SPM_PIECES_H

#include "base.h"

typedef struct Pieces Pieces;

Pieces *pieces_create(Compilation *);
/* Cuts a file. Files stand in the order they are to be pasted in: a piece may need what stands before it. `whole`: all
 * of the file is wanted, whoever mentions it. Names of a .c file are its own, but for functions that are not static. */
void pieces_add(Pieces *, const char *path, const char *text, bool whole);
/* Marks what this text mentions, and what that needs in turn. */
void pieces_need(Pieces *, const char *text);
/* The #include <...> lines of the files of which something is wanted, unless `out` has them. */
void pieces_includes(Pieces *, Text *);
/* The wanted pieces: functions made static, comments of prototypes moved to their definitions. */
void pieces_paste(Pieces *, Text *);
/* The text as a compiler reads it that knows of each of these names whether it is defined: without the lines that
 * `#ifdef NAME` or `#ifndef NAME` leaves out, and without these directives. Other conditions stay. */
typedef struct Decided {
  const char *name;
  bool defined;
} Decided;
const char *pieces_decide(Compilation *, const char *text, const Decided *, int count);
/* "SPM_K(sum)" becomes "spm_sum": in a file of its own a kernel has one precision and needs no other name. */
const char *plain_kernel_names(Compilation *, const char *text);

#endif
