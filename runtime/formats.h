/* Between data.c and the formats it knows (idx.c, npy.c, npz.c, csv.c, tensors.c): a stream whose first four bytes were read -> a
 * table with its element type and shape -> its bytes. Nothing outside these files needs this header. */
#ifndef SPM_FORMATS_H
#define SPM_FORMATS_H

#include "data.h"
#include "stream.h"

/* Each sets format, element, shape and bytes of the table, or leaves an error. `magic` is what was read already. */
int spm_idx_read(struct spm_table *table, struct spm_stream *stream, const unsigned char magic[4],
                 struct spm_error *error);
int spm_npy_read(struct spm_table *table, struct spm_stream *stream, const unsigned char magic[4],
                 struct spm_error *error);
bool spm_csv_begins(const unsigned char magic[4]);
int spm_csv_read(struct spm_table *table, struct spm_stream *stream, const unsigned char magic[4],
                 struct spm_error *error);
bool spm_safetensors_begins(const struct spm_stream *stream);
int spm_safetensors_read(struct spm_table *table, const char *path, const char *key, struct spm_error *error);
/* Finds the member called `key` (NULL: the only one) and makes the stream deliver it. */
int spm_npz_select(struct spm_stream *stream, const char *key, struct spm_error *error);

struct spm_layout {
  bool big_endian;
  bool column_major; /* Fortran order */
};

/* Rows, row size and bytes from rank and shape; refuses what is empty or does not fit a long. */
int spm_table_measure(struct spm_table *table, const char *path, struct spm_error *error);
/* Everything after the header: checks the promised size against what the file can hold, reads it in one pass (or maps
 * it), and brings it into row-major order and this machine's byte order. */
int spm_table_body(struct spm_table *table, struct spm_stream *stream, struct spm_layout layout,
                   struct spm_error *error);

#endif
