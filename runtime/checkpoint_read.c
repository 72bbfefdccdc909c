/* Checkpoints, reading: a safetensors file by anyone -> tensors and notes in memory, after everything it claims about
 * itself has been checked (lengths, types, shapes, offsets, gaps, overlaps, names). */
#include "checkpoint.h"
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The format's own limit: no honest header is longer. */
static const uint64_t longest_header = 100000000;

struct reader {
  const char *path;
  struct spm_error *error;
  int file;
  uint64_t values_at, value_bytes; /* in the file */
  struct range *ranges;            /* one a tensor, in the order of the header */
};

struct range {
  uint64_t begin, end; /* within the values */
  int tensor;
};

static int bad(const struct reader *reader, const char *what) {
  return spm_fail(reader->error, "%s: not a valid safetensors file: %s", reader->path, what);
}

static int read_bytes(const struct reader *reader, uint64_t offset, void *out, size_t size) {
  for (unsigned char *at = out; size > 0;) {
    ssize_t got = pread(reader->file, at, size < (1u << 30) ? size : (1u << 30), (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return spm_fail_system(reader->error, reader->path, "read", errno);
    if (got == 0) return bad(reader, "it became shorter while it was read");
    at += got;
    size -= (size_t)got;
    offset += (uint64_t)got;
  }
  return 0;
}

static int open_file(struct reader *reader, uint64_t *size) {
  struct stat status;
  reader->file = open(reader->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (reader->file < 0 || fstat(reader->file, &status) != 0)
    return spm_fail_system(reader->error, reader->path, "read", errno);
  if (S_ISDIR(status.st_mode)) return spm_fail_system(reader->error, reader->path, "read", EISDIR);
  if (!S_ISREG(status.st_mode)) return spm_fail(reader->error, "%s: is not a regular file", reader->path);
  *size = (uint64_t)status.st_size;
  return 0;
}

/* The header as JSON, or NULL and an error. */
static json_t *read_header(struct reader *reader) {
  unsigned char bytes[8];
  uint64_t size = 0, length = 0;
  if (open_file(reader, &size) != 0) return NULL;
  if (size < 8) return bad(reader, "it is shorter than the 8 bytes of its header's length"), NULL;
  if (read_bytes(reader, 0, bytes, 8) != 0) return NULL;
  for (int b = 7; b >= 0; b--) length = length << 8 | bytes[b];
  if (length > size - 8 || length > longest_header) {
    spm_fail(reader->error, "%s: not a valid safetensors file, or truncated: its header claims %s bytes, %s follow",
             reader->path, spm_count(length > INT64_MAX ? INT64_MAX : (long long)length).text,
             spm_count((long long)(size - 8)).text);
    return NULL;
  }
  reader->values_at = 8 + length;
  reader->value_bytes = size - 8 - length;
  char *text = malloc((size_t)length + 1);
  if (!text) return spm_fail_system(reader->error, reader->path, "read", ENOMEM), NULL;
  json_t *header = NULL;
  json_error_t problem;
  if (read_bytes(reader, 8, text, (size_t)length) == 0) {
    header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &problem);
    if (!header)
      spm_fail(reader->error, "%s: not a valid safetensors file: its header is no JSON: %s", reader->path,
               problem.text);
    else if (!json_is_object(header)) {
      bad(reader, "its header is no JSON object");
      json_decref(header);
      header = NULL;
    }
  }
  free(text);
  return header;
}

static int read_element(const struct reader *reader, const char *name, const json_t *dtype, enum spm_element *element) {
  static const char *const names[] = {
#define DTYPE(name, type, kind, text) #name,
      SPM_ELEMENTS(DTYPE)
#undef DTYPE
  };
  const char *text = json_string_value(dtype);
  for (int i = 0; text && i < SPM_ELEMENT_COUNT; i++)
    if (strcmp(names[i], text) == 0) {
      *element = (enum spm_element)i;
      return 0;
    }
  return spm_fail(reader->error, "%s: tensor %s has the type %s, which cannot be read; convert it to F32", reader->path,
                  name, text ? text : "(none)");
}

/* Shape and offsets of one tensor; both must say the same number of bytes. */
static int read_tensor(struct reader *reader, struct checkpoint_tensor *tensor, const json_t *entry,
                       struct range *range) {
  const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
  if (read_element(reader, tensor->name, json_object_get(entry, "dtype"), &tensor->element) != 0) return -1;
  uint64_t bytes = spm_element_size(tensor->element);
  if (!json_is_array(shape) || !json_is_array(offsets) || json_array_size(offsets) != 2)
    return spm_fail(reader->error, "%s: tensor %s has no shape or no pair of data_offsets", reader->path, tensor->name);
  if (json_array_size(shape) > SPM_TABLE_RANK)
    return spm_fail(reader->error, "%s: tensor %s has more than %d dimensions", reader->path, tensor->name,
                    SPM_TABLE_RANK);
  tensor->rank = (int)json_array_size(shape);
  for (int d = 0; d < tensor->rank; d++) {
    const json_t *size = json_array_get(shape, (size_t)d);
    long long value = json_integer_value(size);
    if (!json_is_integer(size) || value < 0 || (value > 0 && bytes > (uint64_t)INT64_MAX / (uint64_t)value))
      return spm_fail(reader->error, "%s: tensor %s has an impossible shape", reader->path, tensor->name);
    tensor->shape[d] = (long)value;
    bytes *= (uint64_t)value;
  }
  const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
  if (!json_is_integer(begin) || !json_is_integer(end) || json_integer_value(begin) < 0 ||
      json_integer_value(end) < json_integer_value(begin) || (uint64_t)json_integer_value(end) > reader->value_bytes)
    return spm_fail(reader->error, "%s: truncated or damaged: tensor %s lies outside the file's %s bytes of values",
                    reader->path, tensor->name, spm_count((long long)reader->value_bytes).text);
  range->begin = (uint64_t)json_integer_value(begin);
  range->end = (uint64_t)json_integer_value(end);
  if (range->end - range->begin == bytes) return 0;
  return spm_fail(reader->error, "%s: tensor %s of %s (%s) needs %s bytes, but its offsets hold %s", reader->path,
                  tensor->name, spm_element_name(tensor->element), spm_shape(tensor->rank, tensor->shape).text,
                  spm_count((long long)bytes).text, spm_count((long long)(range->end - range->begin)).text);
}

static int compare_ranges(const void *a, const void *b) {
  const struct range *left = a, *right = b;
  if (left->begin != right->begin) return left->begin < right->begin ? -1 : 1;
  if (left->end != right->end) return left->end < right->end ? -1 : 1; /* an empty tensor before its neighbour */
  return left->tensor - right->tensor;
}

/* The format allows neither gaps nor overlaps: bytes nobody owns could hide anything. */
static int check_cover(const struct reader *reader, const struct checkpoint *checkpoint) {
  uint64_t at = 0;
  qsort(reader->ranges, (size_t)checkpoint->tensor_count, sizeof *reader->ranges, compare_ranges);
  for (int i = 0; i < checkpoint->tensor_count; i++) {
    const struct range *range = &reader->ranges[i];
    if (range->begin != at)
      return spm_fail(reader->error, "%s: not a valid safetensors file: tensor %s %s", reader->path,
                      checkpoint->tensors[range->tensor].name,
                      range->begin < at ? "overlaps another one" : "stands after a gap");
    at = range->end;
  }
  if (at == reader->value_bytes) return 0;
  return spm_fail(reader->error, "%s: not a valid safetensors file: %s bytes at its end belong to no tensor",
                  reader->path, spm_count((long long)(reader->value_bytes - at)).text);
}

/* Each tensor begins at a multiple of 16 in memory, whatever its place in the file. */
static int read_values(struct reader *reader, struct checkpoint *checkpoint) {
  size_t total = 16;
  for (int i = 0; i < checkpoint->tensor_count; i++)
    total += (size_t)(reader->ranges[i].end - reader->ranges[i].begin + 15) / 16 * 16;
  unsigned char *at = checkpoint->values = malloc(total);
  if (!at) return spm_fail_system(reader->error, reader->path, "read", ENOMEM);
  const uint16_t one = 1;
  unsigned char little;
  memcpy(&little, &one, 1);
  for (int i = 0; i < checkpoint->tensor_count; i++) {
    const struct range *range = &reader->ranges[i];
    struct checkpoint_tensor *tensor = &checkpoint->tensors[range->tensor];
    size_t bytes = (size_t)(range->end - range->begin), size = spm_element_size(tensor->element);
    tensor->values = at;
    if (read_bytes(reader, reader->values_at + range->begin, at, bytes) != 0) return -1;
    for (size_t e = 0; !little && e < bytes; e += size)
      for (size_t a = e, b = e + size - 1; a < b; a++, b--) {
        unsigned char kept = at[a];
        at[a] = at[b];
        at[b] = kept;
      }
    at += (bytes + 15) / 16 * 16;
  }
  return 0;
}

static int read_notes(const struct reader *reader, struct checkpoint *checkpoint, json_t *notes) {
  const char *key;
  json_t *text;
  if (!json_is_object(notes)) return bad(reader, "its __metadata__ is no JSON object");
  checkpoint->notes = calloc(json_object_size(notes) + 1, sizeof *checkpoint->notes);
  if (!checkpoint->notes) return spm_fail_system(reader->error, reader->path, "read", ENOMEM);
  json_object_foreach(notes, key, text) {
    struct checkpoint_note *note = &checkpoint->notes[checkpoint->note_count++];
    if (!json_is_string(text)) return bad(reader, "an entry of its __metadata__ is no text");
    note->key = strdup(key);
    note->text = strdup(json_string_value(text));
    if (!note->key || !note->text) return spm_fail_system(reader->error, reader->path, "read", ENOMEM);
  }
  return 0;
}

static int read_tensors(struct reader *reader, struct checkpoint *checkpoint, json_t *header) {
  const char *key;
  json_t *entry;
  size_t count = json_object_size(header);
  checkpoint->tensors = calloc(count + 1, sizeof *checkpoint->tensors);
  reader->ranges = calloc(count + 1, sizeof *reader->ranges);
  if (!checkpoint->tensors || !reader->ranges) return spm_fail_system(reader->error, reader->path, "read", ENOMEM);
  json_object_foreach(header, key, entry) {
    if (strcmp(key, "__metadata__") == 0) {
      if (read_notes(reader, checkpoint, entry) != 0) return -1;
      continue;
    }
    int index = checkpoint->tensor_count++;
    reader->ranges[index].tensor = index;
    checkpoint->tensors[index].name = strdup(key);
    if (!checkpoint->tensors[index].name) return spm_fail_system(reader->error, reader->path, "read", ENOMEM);
    if (read_tensor(reader, &checkpoint->tensors[index], entry, &reader->ranges[index]) != 0) return -1;
  }
  if (check_cover(reader, checkpoint) != 0) return -1;
  return read_values(reader, checkpoint);
}

int checkpoint_read(struct checkpoint *checkpoint, const char *path, struct spm_error *error) {
  struct reader reader = {.path = path, .error = error, .file = -1};
  memset(checkpoint, 0, sizeof *checkpoint);
  json_t *header = read_header(&reader);
  int status = header ? read_tensors(&reader, checkpoint, header) : -1;
  json_decref(header);
  free(reader.ranges);
  if (reader.file >= 0) close(reader.file);
  if (status != 0) checkpoint_free(checkpoint);
  return status;
}

void checkpoint_free(struct checkpoint *checkpoint) {
  for (int i = 0; i < checkpoint->tensor_count; i++) free((void *)(uintptr_t)checkpoint->tensors[i].name);
  for (int i = 0; i < checkpoint->note_count; i++) {
    free((void *)(uintptr_t)checkpoint->notes[i].key);
    free((void *)(uintptr_t)checkpoint->notes[i].text);
  }
  free(checkpoint->tensors);
  free(checkpoint->notes);
  free(checkpoint->values);
  memset(checkpoint, 0, sizeof *checkpoint);
}
