/* One pass over a file's bytes, unpacked on the way: plain, gzip, or a member of a zip archive (stored or deflated).
 * What is read goes straight into the reader's memory: no copy in between where the header gave the size. */
#ifndef SPM_STREAM_H
#define SPM_STREAM_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

enum spm_coding { SPM_CODING_STORED, SPM_CODING_GZIP, SPM_CODING_DEFLATE };

struct spm_stream {
  const char *path; /* for messages; the caller's */
  int file;
  enum spm_coding coding;
  uint64_t file_size;
  uint64_t position; /* in the file: the next packed byte */
  uint64_t end;      /* in the file: where this stream's packed bytes end */
  uint64_t produced; /* unpacked bytes handed out so far */
  uint64_t total;    /* unpacked bytes in all: exact if total_known, otherwise the most there can be */
  bool total_known;
  uint64_t promised; /* unpacked bytes in all as the format's header says (0: not known yet); for messages */
  bool ended;
  bool check; /* compare `sum` with `expected_sum` at the end (zip) */
  uint32_t sum, expected_sum;
  bool inflating; /* z is initialised */
  z_stream z;
  unsigned char *buffer; /* packed bytes */
};

/* Opens a regular file and looks whether it is gzip, by content. 0, or -1 with an error. */
int spm_stream_open(struct spm_stream *stream, const char *path, struct spm_error *error);
/* Restricts an open, plain stream to a range of the file, unpacked by `coding` to `size` bytes with CRC-32 `sum`. */
int spm_stream_member(struct spm_stream *stream, uint64_t offset, uint64_t packed, uint64_t size,
                      enum spm_coding coding, uint32_t sum, struct spm_error *error);
/* Reads exactly `size` bytes; an early end is an error that says how far it got. */
int spm_stream_read(struct spm_stream *stream, void *out, size_t size, struct spm_error *error);
/* Reads at most `size` bytes; how many, 0 at the end, -1 with an error. */
long spm_stream_some(struct spm_stream *stream, void *out, size_t size, struct spm_error *error);
/* 0 if nothing is left (checksums included), otherwise -1 with an error. */
int spm_stream_finish(struct spm_stream *stream, struct spm_error *error);
/* Reads at a place of the file itself, apart from the stream (a zip's directory). */
int spm_stream_read_at(const struct spm_stream *stream, uint64_t offset, void *out, size_t size,
                       struct spm_error *error);
void spm_stream_close(struct spm_stream *stream);

#endif
