/* jit: C text -> callable descriptor, with libtcc in memory, or through a C compiler and dlopen. */
#ifndef SPM_JIT_H
#define SPM_JIT_H

#include "base.h"
struct spm_model;

typedef struct Jit Jit;
/* Compiles strips text with libtcc (no headers or libtcc1 on disk, own mapping made read+execute, one global lock, any
 * libtcc message is an internal error). use_double: defines SPM_DOUBLE and binds the _d kernels. NULL on failure, with
 * an explanation in message (size >= 512). */
Jit *jit_compile(const char *text, const char *model_name, bool use_double, char *message, size_t message_size);
/* The same text rendered as loops, through `compiler` ("gcc", "clang") with the given flags into a shared object in a
 * temporary directory, which is loaded and removed. */
Jit *jit_compile_with(const char *compiler, const char *flags, const char *text, const char *model_name,
                      bool use_double, char *message, size_t message_size);
const struct spm_model *jit_model(const Jit *);
void jit_destroy(Jit *);

#endif
