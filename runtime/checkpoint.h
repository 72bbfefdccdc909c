/* Checkpoints: named tensors and notes (text under a key) <-> one safetensors file.
 * Our files are deterministic: notes and tensors stand in the order given, the data of wider elements first (so that
 * every tensor is aligned), and the same input gives the same bytes. Files by others are read as well, after every
 * offset, size, type and name in them has been checked. */
#ifndef SPM_CHECKPOINT_H
#define SPM_CHECKPOINT_H

#include "data.h"
#include "error.h"

struct checkpoint_tensor {
  const char *name;
  enum spm_element element; /* all of them can be written; ours are F32, F64, I64 and U8 */
  int rank;
  long shape[SPM_TABLE_RANK];
  const void *values; /* row-major, count = product of the shape; from a file: aligned for any element */
};

struct checkpoint_note {
  const char *key, *text;
};

struct checkpoint {
  int tensor_count, note_count;
  struct checkpoint_tensor *tensors; /* in the file's order */
  struct checkpoint_note *notes;     /* the file's __metadata__ */
  void *values;                      /* what all tensors point into */
};

/* Writes whole or not at all (files.h). Names must be unique, not empty and not "__metadata__". 0, or -1 with an error
 * and any earlier file of that name untouched. */
int checkpoint_write(const char *path, const struct checkpoint_tensor *tensors, int tensor_count,
                     const struct checkpoint_note *notes, int note_count, struct spm_error *error);

/* Reads all of a file. 0, or -1 with an error and an empty checkpoint, which may be freed. */
int checkpoint_read(struct checkpoint *checkpoint, const char *path, struct spm_error *error);
void checkpoint_free(struct checkpoint *checkpoint);

const struct checkpoint_tensor *checkpoint_tensor(const struct checkpoint *checkpoint, const char *name); /* or NULL */
const char *checkpoint_note(const struct checkpoint *checkpoint, const char *key);                        /* or NULL */
size_t checkpoint_tensor_count(const struct checkpoint_tensor *tensor); /* entries; 1 for rank 0 */

/* The tensor of this name, element and shape, or NULL and an error that says what is there instead ("has no tensor
 * called ...", "p.logits.dense.W is f32 of 784 x 64, f32 of 784 x 128 is wanted"). `path` is for the message. */
const struct checkpoint_tensor *checkpoint_expect(const struct checkpoint *checkpoint, const char *path,
                                                  const char *name, enum spm_element element, int rank,
                                                  const long *shape, struct spm_error *error);

#endif
