/* Errors: a printf format and its arguments -> one bounded sentence in the caller's struct. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int spm_fail(struct spm_error *error, const char *format, ...) {
  if (!error) return -1;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(error->message, sizeof error->message, format, arguments);
  va_end(arguments);
  if (length < 0) snprintf(error->message, sizeof error->message, "an error whose message could not be worded");
  if (length >= (int)sizeof error->message) memcpy(error->message + sizeof error->message - 4, "...", 4);
  return -1;
}

int spm_fail_system(struct spm_error *error, const char *path, const char *what, int code) {
  const char *why = code == ENOENT    ? "there is no such file or directory"
                    : code == EACCES  ? "permission denied"
                    : code == EISDIR  ? "it is a directory"
                    : code == ENOTDIR ? "a part of the path is a file, not a directory"
                    : code == ENOSPC  ? "the disk is full"
                    : code == EROFS   ? "the file system is read-only"
                    : code == EFBIG   ? "the file is larger than the system allows"
                    : code == ENOMEM  ? "out of memory"
                                      : strerror(code);
  return spm_fail(error, "%s: cannot %s: %s", path, what, why);
}
