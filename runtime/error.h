/* Errors of the runtime: a failed call leaves one sentence in the caller's struct spm_error and returns -1.
 * Nothing here prints or ends the process; the program that called decides what to do. */
#ifndef SPM_ERROR_H
#define SPM_ERROR_H

struct spm_error {
  char message[512]; /* one line without a full stop; begins with the file or object it is about */
};

/* Words the message and returns -1, so that a caller can write `return spm_fail(error, ...)`. `error` may be NULL.
 * A message that is too long is cut with "..." at its end. */
int spm_fail(struct spm_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "PATH: cannot WHAT: why" from an errno value, with plainer words for the common ones. Returns -1. */
int spm_fail_system(struct spm_error *error, const char *path, const char *what, int code);

#endif
