/* Texts compiled into the program (build/embedded.c, made by embed.c): the .spm library and the pieces of C that
 * generated files are made of. Found by their path in the source tree: "compiler/library/distributions.spm". */
#ifndef SPM_EMBEDDED_H
#define SPM_EMBEDDED_H

#include <stddef.h>

typedef struct EmbeddedText {
  const char *path;
  const char *text; /* NUL-terminated */
  size_t length;
} EmbeddedText;

extern const EmbeddedText embedded_texts[]; /* sorted by path; ends with a path of NULL */

#endif
