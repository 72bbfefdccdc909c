/* Data in safetensors files: the only tensor of one, or the one that a key names -> a table. */
#include "checkpoint.h"
#include "formats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Eight bytes that say how long the header is, and the header, which is a JSON object. */
bool spm_safetensors_begins(const struct spm_stream *stream) {
  unsigned char head[9];
  struct spm_error error;
  uint64_t length = 0;
  if (stream->coding != SPM_CODING_STORED || stream->file_size < sizeof head) return false;
  if (spm_stream_read_at(stream, 0, head, sizeof head, &error) != 0) return false;
  for (int b = 7; b >= 0; b--) length = length << 8 | head[b];
  return length <= stream->file_size - 8 && head[8] == '{';
}

/* "a, b, c", as many as fit. */
static void list_names(const struct checkpoint *file, char *out, size_t size) {
  size_t used = 0;
  out[0] = 0;
  for (int i = 0; i < file->tensor_count; i++) {
    int added = snprintf(out + used, size - used, "%s%.60s", i ? ", " : "", file->tensors[i].name);
    if (added < 0 || used + (size_t)added + 6 > size) {
      snprintf(out + used, size - used, "%s", size - used > 5 ? ", ..." : "");
      return;
    }
    used += (size_t)added;
  }
}

static const struct checkpoint_tensor *choose(const struct checkpoint *file, const char *path, const char *key,
                                              struct spm_error *error) {
  char names[200];
  if (!key && file->tensor_count == 1) return &file->tensors[0];
  for (int i = 0; key && i < file->tensor_count; i++)
    if (strcmp(file->tensors[i].name, key) == 0) return &file->tensors[i];
  list_names(file, names, sizeof names);
  if (key)
    spm_fail(error, "%s: has no tensor called '%s'; it holds %s", path, key, names[0] ? names : "none");
  else
    spm_fail(error, "%s: holds %d tensors (%s); choose one by writing %s:KEY", path, file->tensor_count, names, path);
  return NULL;
}

int spm_safetensors_read(struct spm_table *table, const char *path, const char *key, struct spm_error *error) {
  struct checkpoint file;
  if (checkpoint_read(&file, path, error) != 0) return -1;
  const struct checkpoint_tensor *tensor = choose(&file, path, key, error);
  int status = -1;
  if (tensor) {
    table->format = "safetensors";
    table->element = tensor->element;
    table->rank = tensor->rank;
    memcpy(table->shape, tensor->shape, sizeof table->shape);
    status = spm_table_measure(table, path, error);
  }
  if (status == 0) {
    table->bytes = malloc(table->byte_count);
    if (table->bytes)
      memcpy(table->bytes, tensor->values, table->byte_count);
    else
      status = spm_fail_system(error, path, "read", ENOMEM);
  }
  checkpoint_free(&file);
  return status;
}
