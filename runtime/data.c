/* Data: a name on the command line -> a table of rows in memory. Formats are in idx.c, npy.c, npz.c, csv.c and
 * tensors.c; handing out and checking rows is in rows.c. */
#include "data.h"
#include "formats.h"
#include "words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
  size_t size;
  char kind;
  const char *name;
} elements[] = {
#define ELEMENT_FACTS(name, type, kind, text) {sizeof(type), kind, text},
    SPM_ELEMENTS(ELEMENT_FACTS)
#undef ELEMENT_FACTS
};

size_t spm_element_size(enum spm_element element) { return elements[element].size; }
const char *spm_element_name(enum spm_element element) { return elements[element].name; }
char spm_element_kind(enum spm_element element) { return elements[element].kind; }

/* Of eight bytes at a time; a last word is filled up with its length. */
static uint64_t hash_bytes(uint64_t hash, const unsigned char *bytes, size_t count) {
  for (size_t i = 0; i < count; i += 8) {
    uint64_t word = count - i;
    memcpy(&word, bytes + i, count - i < 8 ? count - i : 8);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return hash;
}

struct spm_words spm_table_identity(const struct spm_table *table) {
  enum { WHOLE = 4 << 20, PARTS = 256, PART = 4096 };
  struct spm_words words = {"none"};
  if (!table) return words;
  uint64_t hash = 1;
  if (table->byte_count <= WHOLE)
    hash = hash_bytes(hash, table->bytes, table->byte_count);
  else
    for (size_t i = 0; i < PARTS; i++) /* the first and the last are among them */
      hash = hash_bytes(hash, (const unsigned char *)table->bytes + (table->byte_count - PART) / (PARTS - 1) * i, PART);
  const char *element = spm_element_name(table->element);
  snprintf(words.text, sizeof words.text, "%.36s of %.4s, %016llx", spm_shape(table->rank, table->shape).text, element,
           (unsigned long long)hash);
  return words;
}

/* From this size on a plain file is mapped. Below, reading is as fast, and a file that someone truncates while it is
 * in use cannot end the process by SIGBUS. */
static const size_t mapping_threshold = (size_t)256 << 20;

static bool machine_is_big_endian(void) {
  const uint16_t one = 1;
  unsigned char first;
  memcpy(&first, &one, 1);
  return first == 0;
}

static void swap_bytes(unsigned char *bytes, size_t byte_count, size_t size) {
  for (size_t i = 0; i < byte_count; i += size)
    for (size_t a = 0, b = size - 1; a < b; a++, b--) {
      unsigned char kept = bytes[i + a];
      bytes[i + a] = bytes[i + b];
      bytes[i + b] = kept;
    }
}

/* Column-major to row-major. The first index runs fastest in the source, so whole runs of it are read and dealt out
 * to that many rows: 64 rows at a time keep both sides in the cache. */
static void to_row_major(const struct spm_table *table, const unsigned char *from, unsigned char *to) {
  size_t size = spm_element_size(table->element), rows = (size_t)table->rows, row_size = (size_t)table->row_size;
  for (size_t first = 0; first < rows; first += 64) {
    size_t count = rows - first < 64 ? rows - first : 64;
    size_t index[SPM_TABLE_RANK] = {0}, source = 0; /* the column-major place of the row-major column */
    for (size_t column = 0; column < row_size; column++) {
      const unsigned char *run = from + (source * rows + first) * size;
      for (size_t row = 0; row < count; row++)
        memcpy(to + ((first + row) * row_size + column) * size, run + row * size, size);
      size_t step = row_size;
      for (int d = table->rank - 1; d >= 1; d--) { /* add one to the row-major index, last dim first */
        step /= (size_t)table->shape[d];
        source += step;
        if (++index[d] < (size_t)table->shape[d]) break;
        source -= step * (size_t)table->shape[d];
        index[d] = 0;
      }
    }
  }
}

int spm_table_measure(struct spm_table *table, const char *path, struct spm_error *error) {
  const long limit = INT64_MAX / 16 < (int64_t)(SIZE_MAX / 16) ? (long)(INT64_MAX / 16) : (long)(SIZE_MAX / 16);
  long count = 1;
  table->row_size = 1;
  for (int d = 0; d < table->rank; d++)
    if (table->shape[d] == 0)
      return spm_fail(error, "%s: holds no data: its shape is %s", path, spm_shape(table->rank, table->shape).text);
  for (int d = 0; d < table->rank; d++) {
    if (table->shape[d] < 0 || count > limit / table->shape[d])
      return spm_fail(error, "%s: damaged header: a shape of %s is too large", path,
                      spm_shape(table->rank, table->shape).text);
    count *= table->shape[d];
    if (d > 0) table->row_size *= table->shape[d];
  }
  table->rows = table->rank ? table->shape[0] : 1;
  table->byte_count = (size_t)count * spm_element_size(table->element);
  return 0;
}

/* The header's promise against the file's length, before any memory is taken. */
static int check_length(struct spm_table *table, struct spm_stream *stream, struct spm_error *error) {
  uint64_t needed = table->byte_count, there = stream->total > stream->produced ? stream->total - stream->produced : 0;
  stream->promised = stream->produced + needed;
  if (needed == there || (needed < there && !stream->total_known)) return 0;
  return spm_fail(error, "%s: %s: its header promises %s values of %s (%s, %s bytes), but %s%s bytes follow",
                  stream->path, needed > there ? "truncated, or a damaged header" : "longer than its header says",
                  spm_count((long long)(needed / spm_element_size(table->element))).text,
                  spm_element_name(table->element), spm_shape(table->rank, table->shape).text,
                  spm_count((long long)needed).text, stream->total_known ? "" : "at most ",
                  spm_count((long long)there).text);
}

static bool map_body(struct spm_table *table, const struct spm_stream *stream) {
  long page = sysconf(_SC_PAGESIZE);
  if (page <= 0) return false;
  uint64_t start = stream->position - stream->position % (uint64_t)page;
  size_t size = table->byte_count + (size_t)(stream->position - start);
  void *mapping = mmap(NULL, size, PROT_READ, MAP_PRIVATE, stream->file, (off_t)start);
  if (mapping == MAP_FAILED) return false;
  table->mapping = mapping;
  table->mapping_size = size;
  table->bytes = (unsigned char *)mapping + (stream->position - start);
  return true;
}

int spm_table_body(struct spm_table *table, struct spm_stream *stream, struct spm_layout layout,
                   struct spm_error *error) {
  if (spm_table_measure(table, stream->path, error) != 0 || check_length(table, stream, error) != 0) return -1;
  size_t size = spm_element_size(table->element);
  bool swap = size > 1 && layout.big_endian != machine_is_big_endian();
  bool turn = layout.column_major && table->rank > 1;
  if (!swap && !turn && stream->coding == SPM_CODING_STORED && table->byte_count >= mapping_threshold &&
      map_body(table, stream))
    return 0;
  table->bytes = malloc(table->byte_count);
  if (!table->bytes)
    return spm_fail(error, "%s: out of memory: %s bytes are needed", stream->path,
                    spm_count((long long)table->byte_count).text);
  if (spm_stream_read(stream, table->bytes, table->byte_count, error) != 0) return -1;
  if (spm_stream_finish(stream, error) != 0) return -1;
  if (swap) swap_bytes(table->bytes, table->byte_count, size);
  if (turn) {
    unsigned char *turned = malloc(table->byte_count);
    if (!turned) return spm_fail_system(error, stream->path, "turn its columns into rows", ENOMEM);
    to_row_major(table, table->bytes, turned);
    free(table->bytes);
    table->bytes = turned;
  }
  return 0;
}

/* What other programs write; NULL: it cannot be told. */
static const char *foreign_format(const unsigned char magic[4]) {
  static const struct {
    const char *magic, *what;
    int length;
  } others[] = {{"\x89PNG", "a PNG picture", 4},
                {"\x89HDF", "an HDF5 file", 4},
                {"PAR1", "a Parquet file", 4},
                {"\xFF\xFE", "UTF-16 text", 2},
                {"\x80\x02", "a Python pickle, which is never read", 2},
                {"\x80\x03", "a Python pickle, which is never read", 2},
                {"\x80\x04", "a Python pickle, which is never read", 2},
                {"\x80\x05", "a Python pickle, which is never read", 2}};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (memcmp(magic, others[i].magic, (size_t)others[i].length) == 0) return others[i].what;
  return NULL;
}

static int unknown_format(const struct spm_stream *stream, const unsigned char magic[4], struct spm_error *error) {
  const char *what = foreign_format(magic);
  return spm_fail(
      error,
      "%s: neither IDX nor .npy nor .npz nor safetensors nor CSV: it begins with the bytes %02x %02x %02x %02x%s%s%s",
      stream->path, magic[0], magic[1], magic[2], magic[3], what ? " (it looks like " : "", what ? what : "",
      what ? "); numpy.save writes what can be read" : "");
}

static int read_stream(struct spm_table *table, struct spm_stream *stream, const char *key, struct spm_error *error) {
  unsigned char magic[4];
  if (stream->total_known && stream->total < 4)
    return spm_fail(error, "%s: too short for a data file (%s bytes)", stream->path,
                    spm_count((long long)stream->total).text);
  if (spm_safetensors_begins(stream)) return spm_safetensors_read(table, stream->path, key, error);
  if (spm_stream_read(stream, magic, 4, error) != 0) return -1;
  bool zip = memcmp(magic, "PK\3\4", 4) == 0 || memcmp(magic, "PK\5\6", 4) == 0;
  if (zip && stream->coding == SPM_CODING_GZIP)
    return spm_fail(error, "%s: a .npz inside gzip cannot be read in place; unpack it with gunzip first", stream->path);
  if (key && !zip)
    return spm_fail(error, "%s: a key (:%s) selects an array of a .npz or safetensors file, and this is none",
                    stream->path, key);
  if (zip) {
    if (spm_npz_select(stream, key, error) != 0 || spm_stream_read(stream, magic, 4, error) != 0) return -1;
    if (memcmp(magic, "\x93NUM", 4) != 0)
      return spm_fail(error, "%s: the selected member is not a .npy array", stream->path);
  }
  if (memcmp(magic, "\x93NUM", 4) == 0) {
    if (spm_npy_read(table, stream, magic, error) != 0) return -1;
    if (zip) table->format = "npz";
    return 0;
  }
  if (foreign_format(magic)) return unknown_format(stream, magic, error);
  if (magic[0] == 0 && magic[1] == 0) return spm_idx_read(table, stream, magic, error);
  if (spm_csv_begins(magic)) return spm_csv_read(table, stream, magic, error);
  return unknown_format(stream, magic, error);
}

/* "a.npz:x" is the file "a.npz" and the key "x", unless a file is called "a.npz:x". The key may hold colons. */
static const char *split_key(char *path) {
  struct stat status;
  if (stat(path, &status) == 0) return NULL;
  for (char *colon = strchr(path, ':'); colon; colon = strchr(colon + 1, ':')) {
    *colon = 0;
    if (colon > path && stat(path, &status) == 0 && S_ISREG(status.st_mode)) return colon + 1;
    *colon = ':';
  }
  return NULL;
}

int spm_table_read(struct spm_table *table, const char *name, struct spm_error *error) {
  struct spm_stream stream;
  memset(table, 0, sizeof *table);
  char *path = strdup(name);
  table->path = strdup(name);
  int status = -1;
  if (!path || !table->path) {
    spm_fail_system(error, name, "read", ENOMEM);
  } else {
    const char *key = split_key(path);
    if (spm_stream_open(&stream, path, error) == 0) {
      status = read_stream(table, &stream, key, error);
      spm_stream_close(&stream);
    }
  }
  free(path);
  if (status != 0) spm_table_free(table);
  return status;
}

void spm_table_free(struct spm_table *table) {
  if (table->mapping)
    munmap(table->mapping, table->mapping_size);
  else
    free(table->bytes);
  free(table->path);
  memset(table, 0, sizeof *table);
}

int spm_table_fits(const struct spm_table *table, long row_size, struct spm_error *error) {
  if (table->row_size == row_size) return 0;
  if (table->rank < 2)
    return spm_fail(error, "%s: a row has one entry, %s are wanted", table->path, spm_count(row_size).text);
  return spm_fail(error, "%s: a row has %s%s%s entries, %s are wanted", table->path,
                  table->rank > 2 ? spm_shape(table->rank - 1, table->shape + 1).text : "",
                  table->rank > 2 ? " = " : "", spm_count(table->row_size).text, spm_count(row_size).text);
}
