/* Data files: IDX, IDX.gz, .npy (v1 to v3), .npz and CSV -> a table of rows in memory, checked and handed out row by
 * row as float or double. Formats are told apart by content, never by a file's suffix. No function here prints, exits
 * or leaves anything behind on failure: each fills the caller's struct spm_error. */
#ifndef SPM_DATA_H
#define SPM_DATA_H

#include "error.h"
#include "words.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SPM_TABLE_RANK = 8 };

/* X(NAME, C type, numpy's kind, name for people). The half has no type in C11: it is held as its bits. */
#define SPM_ELEMENTS(X)                                                                                                \
  X(BOOL, uint8_t, 'b', "bool")                                                                                        \
  X(U8, uint8_t, 'u', "u8")                                                                                            \
  X(I8, int8_t, 'i', "i8")                                                                                             \
  X(U16, uint16_t, 'u', "u16")                                                                                         \
  X(I16, int16_t, 'i', "i16")                                                                                          \
  X(U32, uint32_t, 'u', "u32")                                                                                         \
  X(I32, int32_t, 'i', "i32")                                                                                          \
  X(U64, uint64_t, 'u', "u64")                                                                                         \
  X(I64, int64_t, 'i', "i64")                                                                                          \
  X(F16, uint16_t, 'f', "f16")                                                                                         \
  X(F32, float, 'f', "f32")                                                                                            \
  X(F64, double, 'f', "f64")

enum spm_element {
#define SPM_ELEMENT_ENUM(name, type, kind, text) SPM_##name,
  SPM_ELEMENTS(SPM_ELEMENT_ENUM)
#undef SPM_ELEMENT_ENUM
      SPM_ELEMENT_COUNT
};

size_t spm_element_size(enum spm_element element);
const char *spm_element_name(enum spm_element element);
char spm_element_kind(enum spm_element element);

struct spm_table {
  char *path;         /* as the user named it, a :KEY included */
  const char *format; /* "IDX", "npy", "npz", "CSV", for messages */
  enum spm_element element;
  int rank;                   /* 0: a single number, one row of one entry */
  long shape[SPM_TABLE_RANK]; /* shape[0] = rows */
  long rows, row_size;        /* entries in a row: the product of shape[1..]; row-major */
  void *bytes;                /* rows * row_size elements, in this machine's byte order; perhaps not aligned */
  size_t byte_count;
  void *mapping; /* where a large plain file is mapped instead of read; otherwise NULL */
  size_t mapping_size;
};

/* Reads "FILE" or "FILE.npz:KEY". Files that hold nothing (0 rows) are refused. 0, or -1 with an error; the table is
 * then empty, and freeing it does nothing. A plain file of 256 MiB or more, in row-major order and this machine's byte
 * order, is mapped, so that it may be larger than memory. */
int spm_table_read(struct spm_table *table, const char *name, struct spm_error *error);
void spm_table_free(struct spm_table *table);

/* How a file's numbers become the model's. */
enum spm_reading {
  SPM_AS_NUMBERS = 0,
  SPM_AS_UNIT = 1,    /* a file of u8 is read as byte / 255; no other file is changed */
  SPM_AS_MISSING = 2, /* -1 in a file of signed integers means "missing" and is read as NaN */
};

/* Copies `count` rows into out[count * row_size]. `index` lists the rows; with NULL they are first, first + 1, ...
 * `how` is a sum of enum spm_reading. -1, and nothing written, if a row does not exist. */
int spm_table_rows_f(const struct spm_table *table, const long *index, long first, long count, unsigned how,
                     float *out);
int spm_table_rows_d(const struct spm_table *table, const long *index, long first, long count, unsigned how,
                     double *out);

/* 0 if a row has `row_size` entries, whatever its shape (28 x 28 serves [784]); otherwise -1 and words for both. */
int spm_table_fits(const struct spm_table *table, long row_size, struct spm_error *error);

/* "10000 x 784 of u8, 1f0c2a90d3b85e47": what the table holds, wherever it lies; of large tables some parts stand for
 * all. NULL: "none". */
struct spm_words spm_table_identity(const struct spm_table *table);

/* What a check found; the caller words the message. A value is judged as it would be handed out (`how`). */
struct spm_check {
  long long total;                  /* values looked at */
  long long missing;                /* NaN; not counted below */
  long missing_row, missing_column; /* of the first one; -1: none */
  long long outside;                /* beyond [low, high], or infinite */
  long long fractional;             /* not whole, where whole numbers are wanted; not counted again if outside */
  double smallest, largest;         /* of all values that are not missing; 0 if there are none */
  long first_row, first_column;     /* of the first offender (outside or fractional), column within the row; -1: none */
  double first_value;
};
void spm_table_check(const struct spm_table *table, double low, double high, bool whole, unsigned how,
                     struct spm_check *check);

/* Writes a version 1.0 .npy file in C order, whole or not at all (see files.h). */
int spm_npy_write(const char *path, enum spm_element element, int rank, const long *shape, const void *values,
                  struct spm_error *error);

#endif
