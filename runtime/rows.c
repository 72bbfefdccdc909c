/* Rows of a table: elements of any type -> float or double, in the order asked for; and whether they are what a model
 * declares. */
#include "data.h"

#include <math.h>
#include <string.h>

/* IEEE half to double, exactly. */
static double half_value(uint16_t bits) {
  int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double magnitude = exponent == 0    ? ldexp(fraction, -24)
                     : exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                                      : ldexp(1024 + fraction, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

/* memcpy, because a mapped file's elements need not be aligned; compilers make it one load. */
#define CONVERT_LOOP(REAL, TYPE, VALUE)                                                                                \
  for (long i = 0; i < count; i++) {                                                                                   \
    TYPE value;                                                                                                        \
    memcpy(&value, from + (size_t)i * sizeof value, sizeof value);                                                     \
    out[i] = (REAL)(VALUE);                                                                                            \
  }                                                                                                                    \
  break;

#define DEFINE_CONVERT(NAME, REAL)                                                                                     \
  static void NAME(enum spm_element element, const unsigned char *from, long count, REAL *out) {                       \
    switch (element) {                                                                                                 \
    case SPM_BOOL: CONVERT_LOOP(REAL, uint8_t, value != 0)                                                             \
    case SPM_U8: CONVERT_LOOP(REAL, uint8_t, value)                                                                    \
    case SPM_I8: CONVERT_LOOP(REAL, int8_t, value)                                                                     \
    case SPM_U16: CONVERT_LOOP(REAL, uint16_t, value)                                                                  \
    case SPM_I16: CONVERT_LOOP(REAL, int16_t, value)                                                                   \
    case SPM_U32: CONVERT_LOOP(REAL, uint32_t, value)                                                                  \
    case SPM_I32: CONVERT_LOOP(REAL, int32_t, value)                                                                   \
    case SPM_U64: CONVERT_LOOP(REAL, uint64_t, value)                                                                  \
    case SPM_I64: CONVERT_LOOP(REAL, int64_t, value)                                                                   \
    case SPM_F16: CONVERT_LOOP(REAL, uint16_t, half_value(value))                                                      \
    case SPM_F32: CONVERT_LOOP(REAL, float, value)                                                                     \
    case SPM_F64: CONVERT_LOOP(REAL, double, value)                                                                    \
    case SPM_ELEMENT_COUNT: break;                                                                                     \
    }                                                                                                                  \
  }

DEFINE_CONVERT(convert_f, float)
DEFINE_CONVERT(convert_d, double)

static bool has_missing_code(const struct spm_table *table, unsigned how) {
  return (how & SPM_AS_MISSING) && spm_element_kind(table->element) == 'i';
}

static bool rows_exist(const struct spm_table *table, const long *index, long first, long count) {
  if (!index) return first >= 0 && count >= 0 && count <= table->rows && first <= table->rows - count;
  for (long i = 0; i < count; i++)
    if (index[i] < 0 || index[i] >= table->rows) return false;
  return count >= 0;
}

/* Bytes of a `unit` go through a table of the 256 quotients, each rounded once. */
#define DEFINE_ROWS(NAME, CONVERT, REAL)                                                                               \
  int NAME(const struct spm_table *table, const long *index, long first, long count, unsigned how, REAL *out) {        \
    if (!rows_exist(table, index, first, count)) return -1;                                                            \
    size_t row_bytes = (size_t)table->row_size * spm_element_size(table->element);                                     \
    bool unit = (how & SPM_AS_UNIT) && table->element == SPM_U8;                                                       \
    bool missing = has_missing_code(table, how);                                                                       \
    REAL quotient[256];                                                                                                \
    for (int byte = 0; unit && byte < 256; byte++) quotient[byte] = (REAL)byte / (REAL)255;                            \
    for (long i = 0; i < count; i++, out += table->row_size) {                                                         \
      long row = index ? index[i] : first + i;                                                                         \
      const unsigned char *from = (const unsigned char *)table->bytes + (size_t)row * row_bytes;                       \
      if (unit)                                                                                                        \
        for (long j = 0; j < table->row_size; j++) out[j] = quotient[from[j]];                                         \
      else                                                                                                             \
        CONVERT(table->element, from, table->row_size, out);                                                           \
      for (long j = 0; missing && j < table->row_size; j++)                                                            \
        if (out[j] == -1) out[j] = (REAL)NAN;                                                                          \
    }                                                                                                                  \
    return 0;                                                                                                          \
  }

DEFINE_ROWS(spm_table_rows_f, convert_f, float)
DEFINE_ROWS(spm_table_rows_d, convert_d, double)

/* One block of values, at `place` in the table. Counts first; the place of the first offender only once. */
static void check_block(const struct spm_table *table, const double *values, long count, long long place, double low,
                        double high, bool whole, struct spm_check *check) {
  for (long i = 0; i < count; i++) {
    double value = values[i];
    if (value < check->smallest) check->smallest = value;
    if (value > check->largest) check->largest = value;
    bool inside = value >= low && value <= high && value - value == 0;
    if (inside && (!whole || value == floor(value))) continue;
    if (isnan(value)) {
      if (check->missing++ == 0) {
        check->missing_row = (long)((place + i) / table->row_size);
        check->missing_column = (long)((place + i) % table->row_size);
      }
      continue;
    }
    if (inside)
      check->fractional++;
    else
      check->outside++;
    if (check->first_row < 0) {
      check->first_row = (long)((place + i) / table->row_size);
      check->first_column = (long)((place + i) % table->row_size);
      check->first_value = value;
    }
  }
}

/* A file of bytes has 256 different values at most: count each, judge each once, and look for the place of the first
 * offender only if there is one. Three times as fast as judging every entry. */
static void check_bytes(const struct spm_table *table, double low, double high, bool whole, bool unit,
                        struct spm_check *check) {
  const unsigned char *bytes = table->bytes;
  long long counts[4][256] = {{0}}; /* four, because neighbours are often equal and would wait for each other */
  long long place = 0;
  bool bad[256] = {false};
  for (; place + 4 <= check->total; place += 4)
    for (int lane = 0; lane < 4; lane++) counts[lane][bytes[place + lane]]++;
  for (; place < check->total; place++) counts[0][bytes[place]]++;
  for (int byte = 0; byte < 256; byte++) {
    double value = unit ? byte / 255.0 : byte;
    long long count = counts[0][byte] + counts[1][byte] + counts[2][byte] + counts[3][byte];
    struct spm_check one = {.first_row = -1, .smallest = check->smallest, .largest = check->largest};
    if (!count) continue;
    check_block(table, &value, 1, 0, low, high, whole, &one);
    bad[byte] = one.first_row >= 0;
    check->smallest = one.smallest;
    check->largest = one.largest;
    check->outside += one.outside * count;
    check->fractional += one.fractional * count;
  }
  if (check->outside + check->fractional == 0) return;
  for (place = 0; !bad[bytes[place]];) place++;
  check->first_row = (long)(place / table->row_size);
  check->first_column = (long)(place % table->row_size);
  check->first_value = unit ? bytes[place] / 255.0 : bytes[place];
}

static void check_values(const struct spm_table *table, double low, double high, bool whole, bool missing,
                         struct spm_check *check) {
  enum { BLOCK = 1024 };
  double values[BLOCK];
  size_t size = spm_element_size(table->element);
  for (long long place = 0; place < check->total; place += BLOCK) {
    long count = check->total - place < BLOCK ? (long)(check->total - place) : BLOCK;
    convert_d(table->element, (const unsigned char *)table->bytes + (size_t)place * size, count, values);
    for (long i = 0; missing && i < count; i++)
      if (values[i] == -1) values[i] = (double)NAN;
    check_block(table, values, count, place, low, high, whole, check);
  }
}

void spm_table_check(const struct spm_table *table, double low, double high, bool whole, unsigned how,
                     struct spm_check *check) {
  memset(check, 0, sizeof *check);
  check->total = (long long)table->rows * table->row_size;
  check->first_row = check->first_column = check->missing_row = check->missing_column = -1;
  check->smallest = (double)INFINITY;
  check->largest = -(double)INFINITY;
  if (table->element == SPM_U8)
    check_bytes(table, low, high, whole, how & SPM_AS_UNIT, check);
  else
    check_values(table, low, high, whole, has_missing_code(table, how), check);
  if (check->smallest > check->largest) check->smallest = check->largest = 0;
}
