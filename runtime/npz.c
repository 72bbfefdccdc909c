/* .npz: a zip archive of .npy files and the name of one -> a stream of that member's bytes. Reads the central directory
 * at the end of the file (zip64 included), which alone has the true sizes. */
#include "formats.h"
#include "words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { END_SIZE = 22, END64_SIZE = 56, LOCATOR_SIZE = 20, ENTRY_SIZE = 46, LOCAL_SIZE = 30, LONGEST_COMMENT = 65535 };

static uint64_t number(const unsigned char *at, int size) {
  uint64_t value = 0;
  for (int i = size - 1; i >= 0; i--) value = value << 8 | at[i];
  return value;
}

struct directory {
  uint64_t offset, size;
  unsigned char *bytes;
};

struct member {
  const char *name;
  size_t length; /* without ".npy" */
  bool is_array; /* it had that */
  unsigned flags, method;
  uint32_t sum;
  uint64_t packed, unpacked, offset;
};

static int damaged(const struct spm_stream *stream, const char *what, struct spm_error *error) {
  return spm_fail(error, "%s: damaged or truncated zip archive: %s", stream->path, what);
}

/* Archives above 4 GiB: a second end record, found through a locator just before the first. */
static int find_directory64(const struct spm_stream *stream, uint64_t end, struct directory *directory,
                            struct spm_error *error) {
  unsigned char locator[LOCATOR_SIZE], record[END64_SIZE];
  if (end < LOCATOR_SIZE) return 0;
  if (spm_stream_read_at(stream, end - LOCATOR_SIZE, locator, LOCATOR_SIZE, error) != 0) return -1;
  if (memcmp(locator, "PK\6\7", 4) != 0) return 0;
  uint64_t offset = number(locator + 8, 8);
  if (offset > end - LOCATOR_SIZE || end - LOCATOR_SIZE - offset < END64_SIZE)
    return damaged(stream, "its zip64 end record lies outside the file", error);
  if (spm_stream_read_at(stream, offset, record, END64_SIZE, error) != 0) return -1;
  if (memcmp(record, "PK\6\6", 4) != 0) return damaged(stream, "its zip64 end record is missing", error);
  directory->size = number(record + 40, 8);
  directory->offset = number(record + 48, 8);
  return 0;
}

/* The end record stands before a comment of unknown length, so it is searched for from the end. */
static int find_directory(const struct spm_stream *stream, struct directory *directory, struct spm_error *error) {
  uint64_t tail = stream->file_size < END_SIZE + LONGEST_COMMENT ? stream->file_size : END_SIZE + LONGEST_COMMENT;
  uint64_t start = stream->file_size - tail, end = UINT64_MAX;
  unsigned char *bytes = malloc((size_t)tail);
  if (!bytes) return spm_fail_system(error, stream->path, "read", ENOMEM);
  int status = spm_stream_read_at(stream, start, bytes, (size_t)tail, error);
  for (uint64_t at = tail; status == 0 && at-- > 0 && end == UINT64_MAX;)
    if (tail - at >= END_SIZE && memcmp(bytes + at, "PK\5\6", 4) == 0) {
      end = start + at;
      directory->size = number(bytes + at + 12, 4);
      directory->offset = number(bytes + at + 16, 4);
    }
  free(bytes);
  if (status != 0) return -1;
  if (end == UINT64_MAX) return damaged(stream, "the directory at its end is missing", error);
  if (find_directory64(stream, end, directory, error) != 0) return -1;
  if (directory->offset > end || directory->size > end - directory->offset)
    return damaged(stream, "its directory lies outside the file", error);
  return 0;
}

/* Sizes that do not fit 32 bits stand in an extra field, in this order, each only if its short form is all ones. */
static void read_extra64(struct member *member, const unsigned char *extra, size_t length) {
  while (length >= 4) {
    size_t size = (size_t)number(extra + 2, 2), used = 0;
    if (size > length - 4) return;
    if (number(extra, 2) == 1) {
      uint64_t *fields[] = {&member->unpacked, &member->packed, &member->offset};
      for (int i = 0; i < 3; i++)
        if (*fields[i] == 0xFFFFFFFF && used + 8 <= size) {
          *fields[i] = number(extra + 4 + used, 8);
          used += 8;
        }
      return;
    }
    extra += 4 + size;
    length -= 4 + size;
  }
}

/* The entry at *at, which is moved to the next one. 1: an entry, 0: no more, -1: damaged. */
static int next_member(const struct directory *directory, uint64_t *at, struct member *member) {
  const unsigned char *entry = directory->bytes + *at;
  uint64_t left = directory->size - *at;
  if (left < 4 || memcmp(entry, "PK\1\2", 4) != 0) return left == 0 ? 0 : -1;
  if (left < ENTRY_SIZE) return -1;
  size_t name = (size_t)number(entry + 28, 2), extra = (size_t)number(entry + 30, 2);
  uint64_t size = ENTRY_SIZE + name + extra + number(entry + 32, 2);
  if (size > left) return -1;
  *member = (struct member){.name = (const char *)entry + ENTRY_SIZE,
                            .length = name,
                            .flags = (unsigned)number(entry + 8, 2),
                            .method = (unsigned)number(entry + 10, 2),
                            .sum = (uint32_t)number(entry + 16, 4),
                            .packed = number(entry + 20, 4),
                            .unpacked = number(entry + 24, 4),
                            .offset = number(entry + 42, 4)};
  read_extra64(member, entry + ENTRY_SIZE + name, extra);
  member->is_array = name > 4 && memcmp(member->name + name - 4, ".npy", 4) == 0;
  if (member->is_array) member->length -= 4;
  *at += size;
  return 1;
}

/* "x, y, z" for a message, as many as fit. */
static void list_members(const struct directory *directory, char *out, size_t size) {
  struct member member;
  uint64_t at = 0;
  size_t used = 0;
  out[0] = 0;
  while (next_member(directory, &at, &member) > 0) {
    int room = (int)(size - used), shown = member.length > 60 ? 60 : (int)member.length;
    int added = snprintf(out + used, (size_t)room, "%s%.*s", used ? ", " : "", shown, member.name);
    if (added < 0 || added >= room - 5) {
      snprintf(out + used, (size_t)room, "%s", room > 5 ? ", ..." : "");
      return;
    }
    used += (size_t)added;
  }
}

static int choose(const struct spm_stream *stream, const struct directory *directory, const char *key,
                  struct member *chosen, struct spm_error *error) {
  struct member member;
  uint64_t at = 0;
  char names[200];
  int count = 0, arrays = 0, found = 0, status;
  while ((status = next_member(directory, &at, &member)) > 0) {
    count++;
    arrays += member.is_array;
    if (key && (strlen(key) != member.length || memcmp(key, member.name, member.length) != 0)) continue;
    *chosen = member;
    found++;
  }
  if (status < 0) return damaged(stream, "an entry of its directory is cut", error);
  if (count == 0) return spm_fail(error, "%s: is empty: a .npz archive without arrays", stream->path);
  if (found == 1 && arrays > 0) return 0;
  list_members(directory, names, sizeof names);
  if (arrays == 0)
    return spm_fail(error, "%s: is a zip archive without .npy arrays (it holds %s); numpy.save writes what can be read",
                    stream->path, names);
  if (!key)
    return spm_fail(error, "%s: holds %d arrays (%s); choose one by writing %s:KEY", stream->path, count, names,
                    stream->path);
  if (found > 1) return damaged(stream, "two members have the same name", error);
  return spm_fail(error, "%s: has no array called '%s'; it holds %s", stream->path, key, names);
}

static int open_member(struct spm_stream *stream, const struct member *member, struct spm_error *error) {
  unsigned char local[LOCAL_SIZE];
  if (member->flags & 1) return spm_fail(error, "%s: the array is encrypted", stream->path);
  if (member->method != 0 && member->method != 8)
    return spm_fail(error, "%s: the array is compressed by method %u; stored (0) and deflated (8) can be read",
                    stream->path, member->method);
  if (member->offset > stream->file_size || stream->file_size - member->offset < LOCAL_SIZE)
    return damaged(stream, "the array lies outside the file", error);
  if (spm_stream_read_at(stream, member->offset, local, LOCAL_SIZE, error) != 0) return -1;
  if (memcmp(local, "PK\3\4", 4) != 0) return damaged(stream, "the array's own header is missing", error);
  uint64_t offset = member->offset + LOCAL_SIZE + number(local + 26, 2) + number(local + 28, 2);
  if (offset > stream->file_size || member->packed > stream->file_size - offset)
    return damaged(stream, "the array lies outside the file", error);
  return spm_stream_member(stream, offset, member->packed, member->unpacked,
                           member->method == 8 ? SPM_CODING_DEFLATE : SPM_CODING_STORED, member->sum, error);
}

int spm_npz_select(struct spm_stream *stream, const char *key, struct spm_error *error) {
  struct directory directory = {0};
  struct member member = {0};
  if (find_directory(stream, &directory, error) != 0) return -1;
  directory.bytes = malloc((size_t)directory.size + 1); /* no larger than the file */
  if (!directory.bytes) return spm_fail_system(error, stream->path, "read", ENOMEM);
  int status = spm_stream_read_at(stream, directory.offset, directory.bytes, (size_t)directory.size, error);
  if (status == 0) status = choose(stream, &directory, key, &member, error);
  if (status == 0) status = open_member(stream, &member, error);
  free(directory.bytes);
  return status;
}
