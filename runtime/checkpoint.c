/* Checkpoints, writing and looking up: tensors and notes -> a safetensors file (8 bytes of header length, a JSON
 * header, the values end to end). Reading is in checkpoint_read.c. */
#include "checkpoint.h"
#include "files.h"
#include "words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* safetensors' own names for the types are those of enum spm_element. */
static const char *const dtypes[] = {
#define DTYPE(name, type, kind, text) #name,
    SPM_ELEMENTS(DTYPE)
#undef DTYPE
};

size_t checkpoint_tensor_count(const struct checkpoint_tensor *tensor) {
  size_t count = 1;
  for (int d = 0; d < tensor->rank; d++) count *= (size_t)tensor->shape[d];
  return count;
}

static size_t byte_count(const struct checkpoint_tensor *tensor) {
  return checkpoint_tensor_count(tensor) * spm_element_size(tensor->element);
}

static int compare_texts(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Two of the same name would make a file that no reader accepts. */
static int check_unique(const char *path, const char **names, int count, const char *what, struct spm_error *error) {
  qsort(names, (size_t)count, sizeof *names, compare_texts);
  for (int i = 1; i < count; i++)
    if (strcmp(names[i - 1], names[i]) == 0) return spm_fail(error, "%s: two %s are called '%s'", path, what, names[i]);
  return 0;
}

static int check_request(const char *path, const struct checkpoint_tensor *tensors, int tensor_count,
                         const struct checkpoint_note *notes, int note_count, struct spm_error *error) {
  const char **names = calloc((size_t)(tensor_count > note_count ? tensor_count : note_count) + 1, sizeof *names);
  if (!names) return spm_fail_system(error, path, "write", ENOMEM);
  int status = 0;
  size_t total = 0;
  for (int i = 0; i < tensor_count && status == 0; i++) {
    const struct checkpoint_tensor *tensor = &tensors[i];
    names[i] = tensor->name;
    if (!tensor->name[0] || strcmp(tensor->name, "__metadata__") == 0)
      status = spm_fail(error, "%s: a tensor cannot be called '%s'", path, tensor->name);
    else if (tensor->rank < 0 || tensor->rank > SPM_TABLE_RANK)
      status = spm_fail(error, "%s: tensor %s has %d dimensions", path, tensor->name, tensor->rank);
    size_t count = spm_element_size(tensor->element);
    for (int d = 0; status == 0 && d < tensor->rank; d++) {
      if (tensor->shape[d] < 0 || (tensor->shape[d] > 0 && count > SIZE_MAX / 4 / (size_t)tensor->shape[d]))
        status = spm_fail(error, "%s: tensor %s cannot have the shape %s", path, tensor->name,
                          spm_shape(tensor->rank, tensor->shape).text);
      else
        count *= (size_t)tensor->shape[d];
    }
    if (status == 0 && count > SIZE_MAX / 4 - total) status = spm_fail(error, "%s: the tensors are too large", path);
    total += count;
  }
  if (status == 0) status = check_unique(path, names, tensor_count, "tensors", error);
  for (int i = 0; i < note_count; i++) names[i] = notes[i].key;
  if (status == 0) status = check_unique(path, names, note_count, "notes", error);
  free(names);
  return status;
}

/* Where each tensor's values begin: wider elements first, otherwise in the order given. */
static size_t lay_out(const struct checkpoint_tensor *tensors, int count, size_t *offsets) {
  size_t offset = 0;
  for (size_t width = 8; width > 0; width /= 2)
    for (int i = 0; i < count; i++)
      if (spm_element_size(tensors[i].element) == width) {
        offsets[i] = offset;
        offset += byte_count(&tensors[i]);
      }
  return offset;
}

static void write_header(FILE *stream, const struct checkpoint_tensor *tensors, int tensor_count, const size_t *offsets,
                         const struct checkpoint_note *notes, int note_count) {
  const char *separator = "";
  fputc('{', stream);
  if (note_count > 0) {
    fputs("\"__metadata__\":{", stream);
    for (int i = 0; i < note_count; i++) {
      if (i) fputc(',', stream);
      spm_json_string(stream, notes[i].key);
      fputc(':', stream);
      spm_json_string(stream, notes[i].text);
    }
    fputc('}', stream);
    separator = ",";
  }
  for (int i = 0; i < tensor_count; i++, separator = ",") {
    const struct checkpoint_tensor *tensor = &tensors[i];
    fputs(separator, stream);
    spm_json_string(stream, tensor->name);
    fprintf(stream, ":{\"dtype\":\"%s\",\"shape\":[", dtypes[tensor->element]);
    for (int d = 0; d < tensor->rank; d++) fprintf(stream, "%s%ld", d ? "," : "", tensor->shape[d]);
    fprintf(stream, "],\"data_offsets\":[%zu,%zu]}", offsets[i], offsets[i] + byte_count(tensor));
  }
  fputc('}', stream);
}

/* safetensors is little-endian. */
static void write_values(FILE *stream, const struct checkpoint_tensor *tensor) {
  const uint16_t one = 1;
  unsigned char little;
  memcpy(&little, &one, 1);
  size_t size = spm_element_size(tensor->element), count = checkpoint_tensor_count(tensor);
  if (count == 0) return;
  if (little) {
    fwrite(tensor->values, size, count, stream);
    return;
  }
  for (size_t i = 0; i < count; i++)
    for (size_t b = size; b-- > 0;) fputc(((const unsigned char *)tensor->values)[i * size + b], stream);
}

static int write_file(const char *path, const char *header, size_t length, const struct checkpoint_tensor *tensors,
                      int count, struct spm_error *error) {
  struct spm_writer writer;
  if (spm_writer_open(&writer, path, error) != 0) return -1;
  size_t padded = (length + 7) / 8 * 8; /* blanks, so that the values begin at a multiple of eight */
  for (int b = 0; b < 8; b++) fputc((int)(padded >> 8 * b & 255), writer.stream);
  fwrite(header, 1, length, writer.stream);
  for (size_t i = length; i < padded; i++) fputc(' ', writer.stream);
  for (size_t width = 8; width > 0; width /= 2)
    for (int i = 0; i < count; i++)
      if (spm_element_size(tensors[i].element) == width) write_values(writer.stream, &tensors[i]);
  return spm_writer_commit(&writer, error); /* any failure to write shows here */
}

int checkpoint_write(const char *path, const struct checkpoint_tensor *tensors, int tensor_count,
                     const struct checkpoint_note *notes, int note_count, struct spm_error *error) {
  if (check_request(path, tensors, tensor_count, notes, note_count, error) != 0) return -1;
  size_t *offsets = calloc((size_t)tensor_count + 1, sizeof *offsets), length = 0;
  char *header = NULL;
  FILE *stream = offsets ? open_memstream(&header, &length) : NULL;
  int status = -1;
  if (stream) {
    lay_out(tensors, tensor_count, offsets);
    write_header(stream, tensors, tensor_count, offsets, notes, note_count);
    bool failed = ferror(stream) != 0;
    if (fclose(stream) == 0 && !failed)
      status = write_file(path, header, length, tensors, tensor_count, error);
    else
      spm_fail_system(error, path, "write", ENOMEM);
  } else
    spm_fail_system(error, path, "write", ENOMEM);
  free(header);
  free(offsets);
  return status;
}

const struct checkpoint_tensor *checkpoint_tensor(const struct checkpoint *checkpoint, const char *name) {
  for (int i = 0; i < checkpoint->tensor_count; i++)
    if (strcmp(checkpoint->tensors[i].name, name) == 0) return &checkpoint->tensors[i];
  return NULL;
}

const char *checkpoint_note(const struct checkpoint *checkpoint, const char *key) {
  for (int i = 0; i < checkpoint->note_count; i++)
    if (strcmp(checkpoint->notes[i].key, key) == 0) return checkpoint->notes[i].text;
  return NULL;
}

const struct checkpoint_tensor *checkpoint_expect(const struct checkpoint *checkpoint, const char *path,
                                                  const char *name, enum spm_element element, int rank,
                                                  const long *shape, struct spm_error *error) {
  const struct checkpoint_tensor *tensor = checkpoint_tensor(checkpoint, name);
  if (!tensor) {
    spm_fail(error, "%s: has no tensor called %s", path, name);
    return NULL;
  }
  bool same = tensor->element == element && tensor->rank == rank;
  for (int d = 0; same && d < rank; d++) same = tensor->shape[d] == shape[d];
  if (same) return tensor;
  spm_fail(error, "%s: tensor %s is %s of %s; %s of %s is wanted", path, name, spm_element_name(tensor->element),
           spm_shape(tensor->rank, tensor->shape).text, spm_element_name(element), spm_shape(rank, shape).text);
  return NULL;
}
