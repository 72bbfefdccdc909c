/* IDX (the format of MNIST and its kin): 0 0 TYPE RANK, RANK big-endian sizes, then big-endian values in row-major
 * order -> a table. */
#include "formats.h"

int spm_idx_read(struct spm_table *table, struct spm_stream *stream, const unsigned char magic[4],
                 struct spm_error *error) {
  unsigned char sizes[4 * SPM_TABLE_RANK];
  table->format = "IDX";
  switch (magic[2]) {
  case 0x08: table->element = SPM_U8; break;
  case 0x09: table->element = SPM_I8; break;
  case 0x0B: table->element = SPM_I16; break;
  case 0x0C: table->element = SPM_I32; break;
  case 0x0D: table->element = SPM_F32; break;
  case 0x0E: table->element = SPM_F64; break;
  default:
    return spm_fail(error, "%s: neither IDX nor .npy nor .npz: it begins like IDX, but with the unknown type 0x%02x",
                    stream->path, magic[2]);
  }
  if (magic[3] == 0 || magic[3] > SPM_TABLE_RANK)
    return spm_fail(error, "%s: IDX of %d dimensions; 1 to %d can be read", stream->path, magic[3], SPM_TABLE_RANK);
  table->rank = magic[3];
  if (spm_stream_read(stream, sizes, 4 * (size_t)table->rank, error) != 0) return -1;
  for (int d = 0; d < table->rank; d++) {
    const unsigned char *at = sizes + 4 * d;
    table->shape[d] = (long)((uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3]);
  }
  return spm_table_body(table, stream, (struct spm_layout){.big_endian = true}, error);
}
