/* IDX and .npy files -> rows of the data that a model declares, for an emitted trainer; and what its initial values
 * need of them. */
#include "trainer.h"

void *memory_of(long count, size_t each) {
  void *memory = calloc(count > 0 ? (size_t)count : 1, each);
  if (!memory) fail("not enough memory: %.0f MB are needed", (double)count * (double)each / 1e6);
  return memory;
}

struct file { /* an IDX or .npy file after its header */
  FILE *stream;
  const char *path;
  char kind;        /* of its numbers: 'u', 'i', 'f' */
  int width, big;   /* bytes of a number; whether the most significant one is first */
  long count, size; /* rows, and numbers in each */
};

uint64_t read_integer(const unsigned char *bytes, int width, int big) {
  uint64_t value = 0;
  for (int i = 0; i < width; i++) value = value << 8 | bytes[big ? i : width - 1 - i];
  return value;
}

static real number_of(const struct file *file, const unsigned char *bytes) {
  const uint64_t bits = read_integer(bytes, file->width, file->big), sign = (uint64_t)1 << (8 * file->width - 1);
  const uint32_t low = (uint32_t)bits;
  float single;
  double value;
  memcpy(&single, &low, sizeof single);
  memcpy(&value, &bits, sizeof value);
  if (file->kind == 'f') return file->width == 4 ? (real)single : (real)value;
  return file->kind == 'i' && bits & sign ? -(real)((~bits & (sign - 1)) + 1) : (real)bits;
}

static void read_header(const struct file *file, void *bytes, size_t count) {
  if (fread(bytes, 1, count, file->stream) != count) fail("%s: ends within its header", file->path);
}

static void read_idx(struct file *file, const unsigned char *magic) {
  static const char types[][3] = {"u1", "i1", "", "i2", "i4", "f4", "f8"}; /* 8, 9, ... in the third byte */
  unsigned char bytes[4];
  if (magic[2] < 8 || magic[2] > 14 || magic[2] == 10) return;
  file->kind = types[magic[2] - 8][0];
  file->width = types[magic[2] - 8][1] - '0';
  file->big = 1;
  for (int d = 0; d < magic[3] && file->size < 1L << 30; d++) {
    read_header(file, bytes, 4);
    *(d == 0 ? &file->count : &file->size) *= (long)read_integer(bytes, 4, 1);
  }
}

static void read_npy(struct file *file) {
  unsigned char bytes[8];
  char header[4096] = "", *type, *shape;
  read_header(file, bytes, 4); /* what is left of the magic, and the version */
  const int width = bytes[2] == 1 ? 2 : 4;
  read_header(file, bytes, (size_t)width);
  const size_t length = (size_t)read_integer(bytes, width, 0);
  if (length >= sizeof header) fail("%s: its header cannot be read", file->path);
  read_header(file, header, length);
  if (strstr(header, "'fortran_order': True")) fail("%s: is in Fortran's order; save it in C's", file->path);
  type = strstr(header, "'descr': '"), shape = strstr(header, "'shape': (");
  if (!type || !shape) return;
  file->big = type[10] == '>';
  file->kind = type[11] == 'b' ? 'u' : type[11];
  file->width = type[12] - '0';
  file->count = strtol(shape + 10, &shape, 10);
  while (*shape == ',' && strspn(shape + 1, " 0123456789") > 1)
    file->size = (long)((size_t)file->size * (size_t)strtol(shape + 1, &shape, 10));
}

static struct file open_file(const char *path) {
  struct file file = {.stream = fopen(path, "rb"), .path = path, .count = 1, .size = 1};
  unsigned char magic[4];
  if (!file.stream) fail("%s: cannot be opened", path);
  if (fread(magic, 1, 4, file.stream) != 4) fail("%s: is too short for an IDX or .npy file", path);
  if (magic[0] == 0x1f && magic[1] == 0x8b) fail("%s: is compressed; run gunzip first", path);
  if (magic[0] == 0 && magic[1] == 0) read_idx(&file, magic);
  if (memcmp(magic, "\x93NUM", 4) == 0) read_npy(&file);
  const char *widths = file.kind == 'f' ? "48" : file.kind == 'u' || file.kind == 'i' ? "1248" : "";
  if (file.width < 1 || !strchr(widths, '0' + file.width))
    fail("%s: neither IDX nor .npy, or of numbers that cannot be read", path);
  return file;
}

static void read_file(struct rows *rows, int index) {
  const struct spm_tensor *data = &MODEL->data[index];
  struct file file = open_file(rows->paths[index]);
  long size = data->size, places = 1; /* numbers in a row of the file; what each becomes */
#ifndef SPM_NO_GATHERED
  if (data->gathered > 0) size /= data->gathered;
#endif
#ifndef SPM_NO_LABELS
  if (data->categories > 0) size /= places = data->categories;
#endif
  if (file.size != size)
    fail("%s: has rows of %ld numbers, and %s%s wants %ld", file.path, file.size, data->name, data->dims, size);
  if (file.count < 1) fail("%s: has no rows", file.path);
  if (rows->count && rows->count != file.count)
    fail("%s: has %ld rows, and the data before it %ld", file.path, file.count, rows->count);
  rows->count = file.count;
  real *to = rows->values[index] = memory_of(file.count, (size_t)(size * places) * sizeof(real));
  unsigned char *row = memory_of(size, (size_t)file.width);
  for (long r = 0; r < file.count; r++) {
    if (fread(row, (size_t)file.width, (size_t)size, file.stream) != (size_t)size)
      fail("%s: ends within row %ld of %ld", file.path, r, file.count);
    for (long i = 0; i < size; i++, to += places) {
      *to = number_of(&file, row + i * file.width);
      if (data->unit && file.kind == 'u' && file.width == 1) *to /= 255;
#ifndef SPM_NO_GAPS
      if (data->missing_ok && file.kind != 'f' && *to == -1) *to = (real)NAN;
      if (data->missing_ok && *to != *to) { /* all of a label's vector */
        for (long k = 1; k < places; k++) to[k] = *to;
        continue;
      }
#endif
#ifndef SPM_NO_LABELS
      if (data->categories > 0) { /* a label becomes a one-hot vector */
        long label = (long)*to;
        if ((real)label != *to || label < 0 || label >= places)
          fail("%s: row %ld holds %g, which is no label of %s", file.path, r, (double)*to, data->name);
        *to = 0;
        to[label] = 1;
        continue;
      }
#endif
      if ((double)*to >= data->low && (double)*to <= data->high) continue;
      fail("%s: row %ld holds %g, and %s lies between %g and %g", file.path, r, (double)*to, data->name, data->low,
           data->high);
    }
  }
  free(row);
  fclose(file.stream);
}

void read_rows(struct rows *rows, int training) {
  for (int d = 0; d < MODEL->data_count; d++) {
#ifndef SPM_NO_GAPS
    if (!rows->paths[d] && MODEL->data[d].missing_ok) continue;
#endif
    if (rows->paths[d])
      read_file(rows, d);
    else if (training)
      fail("--data %s=FILE is missing", MODEL->data[d].name);
  }
  if (training && MODEL->data_count == 0) rows->count = 1;
}

#ifndef SPM_NO_GIVENS
/* ---- what initial values need -------------------------------------------------------------------------------- */

static const real *rows_of(void *context, int data, const long *order, long first, long count) {
  const struct rows *rows = context;
  (void)count; /* an order is of one row */
  return rows->values[data] + (order ? order[0] : first) * MODEL->data[data].size;
}

static void read_given(const struct spm_given *given, real *out) {
  struct file file = open_file(given->path);
  const long count = given->rank > 0 ? given->shape[0] : 1;
  unsigned char bytes[8];
  if (file.count != count || file.size * count != given->size)
    fail("%s: holds %ld x %ld numbers, and the initial value wants %ld x %ld", file.path, file.count, file.size, count,
         given->size / count);
  for (long i = 0; i < given->size; i++) {
    if (fread(bytes, 1, (size_t)file.width, file.stream) != (size_t)file.width)
      fail("%s: ends within its numbers", file.path);
    out[i] = number_of(&file, bytes);
  }
  fclose(file.stream);
}

const real *const *make_givens(const struct run *run) {
  struct spm_given_source source;
  real **givens = memory_of(MODEL->given_count + 1, sizeof *givens);
  source.context = (void *)&run->data;
  source.rows = source.most = run->data.count;
  source.read = rows_of;
  for (int g = 0; g < MODEL->given_count; g++) {
    const struct spm_given *given = &MODEL->givens[g];
    givens[g] = memory_of(given->size, sizeof(real));
    if (given->kind == SPM_GIVEN_FILE)
      read_given(given, givens[g]);
    else if (spm_given_make(MODEL, g, &source, (unsigned long long)run->seed, givens[g]) != SPM_GIVEN_MADE)
      fail("%s wants %ld rows to start from, and the data have %ld", given->name, given->shape[0], run->data.count);
  }
  return (const real *const *)givens;
}
#endif
