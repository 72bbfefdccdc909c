/* Files written whole or not at all: a temporary in the same directory, synced, then renamed over the old one.
 * A reader, or a run that is killed, sees the old file or the new one and never half of one. */
#ifndef SPM_FILES_H
#define SPM_FILES_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct spm_writer {
  FILE *stream;    /* write here with stdio; errors are noticed at commit */
  char *path;      /* what it will be called */
  char *temporary; /* what it is called until then; NULL where `path` is a device or a pipe */
};

/* Opens a temporary beside `path`. 0, or -1 with an error and nothing left behind. */
int spm_writer_open(struct spm_writer *writer, const char *path, struct spm_error *error);
/* Flushes, syncs, renames, syncs the directory. On failure the temporary is removed. Releases `writer` either way. */
int spm_writer_commit(struct spm_writer *writer, struct spm_error *error);
/* Gives up: closes and removes the temporary. Does nothing after a commit. */
void spm_writer_abandon(struct spm_writer *writer);

/* Makes a directory and those above it; an existing one is fine, a file of that name is an error. */
int spm_directory_make(const char *path, struct spm_error *error);
/* "a/b" + "c" -> "a/b/c" in memory the caller frees; NULL when memory is out. */
char *spm_path_join(const char *directory, const char *name);

/* Text as a JSON string, with its quotes. Bytes that are not UTF-8 become U+FFFD, so the result is always valid JSON.
 */
void spm_json_string(FILE *stream, const char *text);
/* Text as a field of CSV: one that holds a comma or a quote is quoted (RFC 4180). */
void spm_csv_name(FILE *stream, const char *name);

#endif
