/* Streams: a file, gzip file or zip member -> its unpacked bytes, in order, once, with every early end explained. */
#include "stream.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_SIZE = 1 << 18, LARGEST_PIECE = 1 << 30 };

/* Deflate cannot expand by more than this (zlib's technical notes: 1032 to 1), so a header's claim can be refused
 * before any memory is taken for it. */
static uint64_t most_unpacked(uint64_t packed) {
  return packed > UINT64_MAX / 2048 ? UINT64_MAX / 2 : packed * 1032 + 1024;
}

static int inflate_start(struct spm_stream *stream, int window_bits, struct spm_error *error) {
  stream->buffer = malloc(BUFFER_SIZE);
  if (!stream->buffer || inflateInit2(&stream->z, window_bits) != Z_OK)
    return spm_fail_system(error, stream->path, "read", ENOMEM);
  stream->inflating = true;
  return 0;
}

int spm_stream_open(struct spm_stream *stream, const char *path, struct spm_error *error) {
  struct stat status;
  unsigned char magic[2];
  memset(stream, 0, sizeof *stream);
  stream->path = path;
  /* Not blocking: opening a pipe nobody writes to would wait for ever. */
  stream->file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (stream->file < 0) return spm_fail_system(error, path, "read", errno);
  if (fstat(stream->file, &status) != 0) {
    spm_fail_system(error, path, "read", errno);
  } else if (S_ISDIR(status.st_mode)) {
    spm_fail(error, "%s: is a directory where a data file is wanted", path);
  } else if (!S_ISREG(status.st_mode)) {
    spm_fail(error, "%s: is a pipe or a device; data are read from regular files", path);
  } else if (status.st_size == 0) {
    spm_fail(error, "%s: is empty (0 bytes)", path);
  } else {
    stream->file_size = stream->end = stream->total = (uint64_t)status.st_size;
    stream->total_known = true;
    if (stream->file_size < 2 || spm_stream_read_at(stream, 0, magic, 2, error) == 0) {
      if (stream->file_size < 2 || magic[0] != 0x1F || magic[1] != 0x8B) return 0;
      stream->coding = SPM_CODING_GZIP;
      stream->total = most_unpacked(stream->file_size);
      stream->total_known = false;
      if (inflate_start(stream, 15 + 16, error) == 0) return 0;
    }
  }
  spm_stream_close(stream);
  return -1;
}

int spm_stream_member(struct spm_stream *stream, uint64_t offset, uint64_t packed, uint64_t size,
                      enum spm_coding coding, uint32_t sum, struct spm_error *error) {
  stream->position = offset;
  stream->end = offset + packed;
  stream->produced = 0;
  stream->total = size;
  stream->total_known = true;
  stream->coding = coding;
  stream->check = true;
  stream->sum = (uint32_t)crc32(0, NULL, 0);
  stream->expected_sum = sum;
  if (coding == SPM_CODING_STORED && packed != size)
    return spm_fail(error, "%s: damaged zip archive: a stored member gives two different sizes", stream->path);
  if (size > most_unpacked(packed))
    return spm_fail(error, "%s: damaged zip archive: %s packed bytes cannot unpack to %s", stream->path,
                    spm_count((long long)packed).text, spm_count((long long)size).text);
  return coding == SPM_CODING_DEFLATE ? inflate_start(stream, -15, error) : 0;
}

int spm_stream_read_at(const struct spm_stream *stream, uint64_t offset, void *out, size_t size,
                       struct spm_error *error) {
  unsigned char *at = out;
  while (size > 0) {
    size_t piece = size < LARGEST_PIECE ? size : LARGEST_PIECE;
    ssize_t got = pread(stream->file, at, piece, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return spm_fail_system(error, stream->path, "read", errno);
    if (got == 0)
      return spm_fail(error, "%s: ends after %s bytes; it became shorter while it was read", stream->path,
                      spm_count((long long)offset).text);
    at += got;
    size -= (size_t)got;
    offset += (uint64_t)got;
  }
  return 0;
}

static int truncated(const struct spm_stream *stream, struct spm_error *error) {
  const char *packed = stream->coding == SPM_CODING_GZIP ? "gzip file" : "compressed member";
  if (stream->promised)
    return spm_fail(error,
                    "%s: truncated: the %s ends after %s bytes, which unpack to %s of the %s bytes its header promises",
                    stream->path, packed, spm_count((long long)stream->end).text,
                    spm_count((long long)stream->produced).text, spm_count((long long)stream->promised).text);
  return spm_fail(
      error, "%s: truncated: the %s ends after %s bytes, in the middle of its compressed data (%s bytes unpacked)",
      stream->path, packed, spm_count((long long)stream->end).text, spm_count((long long)stream->produced).text);
}

/* Fills the packed buffer when it is empty. 1: there is input, 0: none is left, -1: error. */
static int refill(struct spm_stream *stream, struct spm_error *error) {
  if (stream->z.avail_in > 0) return 1;
  uint64_t left = stream->end - stream->position;
  if (left == 0) return 0;
  size_t piece = left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE;
  if (spm_stream_read_at(stream, stream->position, stream->buffer, piece, error) != 0) return -1;
  stream->position += piece;
  stream->z.next_in = stream->buffer;
  stream->z.avail_in = (uInt)piece;
  return 1;
}

/* After a gzip member: another one may follow (pigz, cat a.gz b.gz); padding or anything else ends the data. */
static int next_gzip_member(struct spm_stream *stream, struct spm_error *error) {
  stream->ended = true;
  if (stream->coding != SPM_CODING_GZIP) return 0;
  int more = refill(stream, error);
  if (more <= 0) return more;
  if (stream->z.next_in[0] == 0x1F && inflateReset(&stream->z) == Z_OK) stream->ended = false;
  return 0;
}

/* Unpacks at most `size` bytes; returns how many (0: the end), or -1. */
static long unpack(struct spm_stream *stream, unsigned char *out, size_t size, struct spm_error *error) {
  size_t wanted = size < LARGEST_PIECE ? size : LARGEST_PIECE;
  stream->z.next_out = out;
  stream->z.avail_out = (uInt)wanted;
  while (stream->z.avail_out > 0 && !stream->ended) {
    int more = refill(stream, error);
    if (more < 0) return -1;
    uInt room = stream->z.avail_out;
    int status = inflate(&stream->z, Z_NO_FLUSH);
    stream->produced += room - stream->z.avail_out;
    if (status == Z_STREAM_END) {
      if (next_gzip_member(stream, error) < 0) return -1;
    } else if (status == Z_BUF_ERROR && more == 0) {
      return truncated(stream, error);
    } else if (status == Z_MEM_ERROR) {
      return spm_fail_system(error, stream->path, "read", ENOMEM);
    } else if (status != Z_OK) {
      return spm_fail(error, "%s: damaged compressed data near byte %s (%s)", stream->path,
                      spm_count((long long)(stream->position - stream->z.avail_in)).text,
                      stream->z.msg ? stream->z.msg : "unknown reason");
    }
  }
  return (long)(wanted - stream->z.avail_out);
}

long spm_stream_some(struct spm_stream *stream, void *out, size_t size, struct spm_error *error) {
  long got;
  if (stream->coding != SPM_CODING_STORED) {
    got = unpack(stream, out, size, error);
  } else {
    uint64_t left = stream->end - stream->position;
    got = (long)(size < left ? size : left);
    if (got > LARGEST_PIECE) got = LARGEST_PIECE;
    if (spm_stream_read_at(stream, stream->position, out, (size_t)got, error) != 0) return -1;
    stream->position += (uint64_t)got;
    stream->produced += (uint64_t)got;
  }
  if (stream->check && got > 0) stream->sum = (uint32_t)crc32(stream->sum, out, (uInt)got);
  return got;
}

int spm_stream_read(struct spm_stream *stream, void *out, size_t size, struct spm_error *error) {
  unsigned char *at = out;
  while (size > 0) {
    long got = spm_stream_some(stream, at, size, error);
    if (got < 0) return -1;
    if (got == 0 && stream->promised)
      return spm_fail(error, "%s: truncated: it holds %s of the %s bytes its header promises", stream->path,
                      spm_count((long long)stream->produced).text, spm_count((long long)stream->promised).text);
    if (got == 0)
      return spm_fail(error, "%s: truncated: it ends after %s bytes, inside its header", stream->path,
                      spm_count((long long)stream->produced).text);
    at += got;
    size -= (size_t)got;
  }
  return 0;
}

int spm_stream_finish(struct spm_stream *stream, struct spm_error *error) {
  unsigned char extra;
  long got = spm_stream_some(stream, &extra, 1, error);
  if (got < 0) return -1;
  if (got > 0)
    return spm_fail(error, "%s: holds more than the %s bytes its header promises", stream->path,
                    spm_count((long long)stream->promised).text);
  if (stream->check && stream->sum != stream->expected_sum)
    return spm_fail(error, "%s: damaged zip archive: the checksum does not agree", stream->path);
  return 0;
}

void spm_stream_close(struct spm_stream *stream) {
  if (stream->inflating) inflateEnd(&stream->z);
  free(stream->buffer);
  if (stream->file >= 0) close(stream->file);
  memset(stream, 0, sizeof *stream);
  stream->file = -1;
}
