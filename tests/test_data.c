/* Data files: what is written by hand or by us is read back exactly; what is damaged is refused in words. */
#include "data.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <math.h>
#include <sys/stat.h>
#include <zlib.h>

TestSuite(data, .init = scratch_make, .fini = scratch_remove);

static struct spm_table table;
static struct spm_error error;

/* An IDX file of u8, 3 rows of 2 x 2, with the values 0, 20, 40, ... and 255 at the end. */
static const unsigned char small_idx[] = {0, 0, 8, 3,  0,  0,  0,  3,   0,   0,   0,   2,   0,   0,
                                          0, 2, 0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 255};

static const char *write_gz(const char *name, const void *bytes, size_t size) {
  const char *path = scratch_path(name);
  gzFile file = gzopen(path, "wb");
  if (!file || gzwrite(file, bytes, (unsigned)size) != (int)size || gzclose(file) != Z_OK) abort();
  return path;
}

static size_t make_npy(unsigned char *out, int version, const char *header, const void *values, size_t size) {
  size_t length = strlen(header), at = 8;
  memcpy(out, "\x93NUMPY", 6);
  out[6] = (unsigned char)version;
  out[7] = 0;
  for (int b = 0; b < (version == 1 ? 2 : 4); b++) out[at++] = (unsigned char)(length >> 8 * b);
  memcpy(out + at, header, length);
  if (size) memcpy(out + at + length, values, size);
  return at + length + size;
}

static const char *write_npy(const char *name, int version, const char *header, const void *values, size_t size) {
  unsigned char bytes[4096];
  return scratch_write(name, bytes, make_npy(bytes, version, header, values, size));
}

static void put(unsigned char **at, uint64_t value, int size) {
  for (int b = 0; b < size; b++) *(*at)++ = (unsigned char)(value >> 8 * b);
}

struct entry {
  const char *name;
  const unsigned char *bytes;
  size_t size;
};

static size_t deflated(const struct entry *entry, unsigned char *out, size_t room) {
  z_stream z = {0};
  deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
  z.next_in = (unsigned char *)(uintptr_t)entry->bytes;
  z.avail_in = (unsigned)entry->size;
  z.next_out = out;
  z.avail_out = (unsigned)room;
  deflate(&z, Z_FINISH);
  deflateEnd(&z);
  return z.total_out;
}

/* A zip archive by hand; `large` writes its sizes in zip64 fields, as numpy may. */
static size_t make_zip(unsigned char *out, const struct entry *entries, int count, int method, int large) {
  unsigned char directory[1024], *listed = directory, *at = out, packed[4096];
  for (int i = 0; i < count; i++) {
    const struct entry *entry = &entries[i];
    size_t offset = (size_t)(at - out), name = strlen(entry->name);
    size_t size = method ? deflated(entry, packed, sizeof packed) : entry->size;
    uint64_t sum = crc32(0, entry->bytes, (unsigned)entry->size);
    put(&at, 0x04034b50, 4), put(&at, 20, 2), put(&at, 0, 2), put(&at, (uint64_t)method, 2), put(&at, 0, 4);
    put(&at, sum, 4), put(&at, size, 4), put(&at, entry->size, 4), put(&at, name, 2), put(&at, 0, 2);
    memcpy(at, entry->name, name);
    memcpy(at + name, method ? packed : entry->bytes, size);
    at += name + size;
    put(&listed, 0x02014b50, 4), put(&listed, 20, 2), put(&listed, 20, 2), put(&listed, 0, 2);
    put(&listed, (uint64_t)method, 2), put(&listed, 0, 4), put(&listed, sum, 4);
    put(&listed, large ? 0xFFFFFFFF : size, 4), put(&listed, large ? 0xFFFFFFFF : entry->size, 4);
    put(&listed, name, 2), put(&listed, large ? 20 : 0, 2), put(&listed, 0, 8), put(&listed, 0, 2);
    put(&listed, offset, 4);
    memcpy(listed, entry->name, name);
    listed += name;
    if (large) put(&listed, 1, 2), put(&listed, 16, 2), put(&listed, entry->size, 8), put(&listed, size, 8);
  }
  size_t start = (size_t)(at - out), length = (size_t)(listed - directory);
  memcpy(at, directory, length);
  at += length;
  put(&at, 0x06054b50, 4), put(&at, 0, 4), put(&at, (uint64_t)count, 2), put(&at, (uint64_t)count, 2);
  put(&at, length, 4), put(&at, start, 4), put(&at, 0, 2);
  return (size_t)(at - out);
}

/* Reads, and wants a refusal whose message names the file and holds `words`. */
static void expect_refusal(const char *path, const char *words) {
  strcpy(error.message, "(no message)");
  int status = spm_table_read(&table, path, &error);
  cr_assert(status == -1, "%s was read", path);
  cr_assert(strstr(error.message, words) != NULL, "'%s' is not in: %s", words, error.message);
  cr_assert(strstr(error.message, scratch_directory) != NULL, "no file is named in: %s", error.message);
  cr_assert(table.bytes == NULL && table.path == NULL);
}

static void expect_values(const char *path, const double *wanted, long count) {
  double values[64];
  int status = spm_table_read(&table, path, &error);
  cr_assert(status == 0, "%s", error.message);
  cr_assert(table.rows * table.row_size == count);
  cr_assert(spm_table_rows_d(&table, NULL, 0, table.rows, SPM_AS_NUMBERS, values) == 0);
  for (long i = 0; i < count; i++)
    cr_assert(values[i] == wanted[i] || (isnan(values[i]) && isnan(wanted[i])), "%s [%ld]: %g, not %g", path, i,
              values[i], wanted[i]);
  spm_table_free(&table);
}

Test(data, idx_plain_and_gz) {
  const double wanted[] = {0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 255};
  expect_values(scratch_write("a.idx", small_idx, sizeof small_idx), wanted, 12);
  expect_values(write_gz("suffixes_do_not_matter.npy", small_idx, sizeof small_idx), wanted, 12);
  cr_assert(spm_table_read(&table, scratch_path("a.idx"), &error) == 0);
  cr_assert(table.rank == 3 && table.shape[0] == 3 && table.shape[2] == 2 && table.element == SPM_U8);
  cr_assert(spm_table_fits(&table, 4, &error) == 0);
  cr_assert(spm_table_fits(&table, 5, &error) == -1);
  cr_assert(strstr(error.message, "2 x 2 = 4 entries, 5 are wanted") != NULL, "%s", error.message);
  spm_table_free(&table);
  spm_table_free(&table); /* twice is harmless */
}

Test(data, idx_numbers_are_big_endian) {
  const unsigned char shorts[] = {0, 0, 0x0B, 1, 0, 0, 0, 2, 0xFF, 0xFE, 0x01, 0x00};
  const unsigned char floats[] = {0, 0, 0x0D, 1, 0, 0, 0, 1, 0x3F, 0xC0, 0, 0};
  expect_values(scratch_write("s", shorts, sizeof shorts), (const double[]){-2, 256}, 2);
  expect_values(scratch_write("f", floats, sizeof floats), (const double[]){1.5}, 1);
}

Test(data, gz_of_two_members) {
  unsigned char bytes[1024];
  size_t first, second;
  unsigned char *a = scratch_read(write_gz("1.gz", small_idx, 20), &first);
  unsigned char *b = scratch_read(write_gz("2.gz", small_idx + 20, sizeof small_idx - 20), &second);
  memcpy(bytes, a, first);
  memcpy(bytes + first, b, second);
  const double wanted[] = {0, 20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 255};
  expect_values(scratch_write("both.gz", bytes, first + second), wanted, 12);
  free(a);
  free(b);
}

Test(data, npy_orders_versions_and_types) {
  const float f[] = {1, 2, 3, 4, 5, 6};
  const unsigned char big[] = {0x40, 0x09, 0x21, 0xFB, 0x54, 0x44, 0x2D, 0x18};
  const uint16_t half[] = {0x3C00, 0xC000, 0x7C00, 0x0001, 0x7E00};
  const double rows[] = {1, 2, 3, 4, 5, 6}, turned[] = {1, 3, 5, 2, 4, 6};
  for (int version = 1; version <= 3; version++)
    expect_values(write_npy("a", version, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", f, 24), rows,
                  6);
  expect_values(write_npy("b", 1, "{'shape': (2L, 3L), 'fortran_order': True, \"descr\": '<f4'}", f, 24), turned, 6);
  expect_values(write_npy("c", 1, "{'descr': '>f8', 'fortran_order': False, 'shape': ()}", big, 8),
                (const double[]){3.141592653589793}, 1);
  expect_values(write_npy("d", 1, "{'descr': '<f2', 'fortran_order': False, 'shape': (5,)}", half, 10),
                (const double[]){1, -2, INFINITY, ldexp(1, -24), NAN}, 5);
  expect_values(write_npy("e", 1, "{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}", "\0\1", 2),
                (const double[]){0, 1}, 2);
  expect_values(write_npy("f", 1, "{'descr': '<i8', 'fortran_order': False, 'shape': (1,)}", (const int64_t[]){-7}, 8),
                (const double[]){-7}, 1);
}

/* In three dims, against a transposition done one entry at a time. */
Test(data, fortran_order_of_rank_3) {
  static double stored[130 * 3 * 5];
  static float values[130 * 15];
  unsigned char *bytes = malloc(sizeof stored + 256);
  for (int r = 0; r < 130; r++)
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 5; j++) stored[r + 130 * (i + 3 * j)] = r * 100 + i * 10 + j;
  size_t size =
      make_npy(bytes, 1, "{'descr': '<f8', 'fortran_order': True, 'shape': (130, 3, 5)}", stored, sizeof stored);
  cr_assert(spm_table_read(&table, scratch_write("a", bytes, size), &error) == 0);
  cr_assert(spm_table_rows_f(&table, NULL, 0, 130, 0, values) == 0);
  for (int r = 0; r < 130; r++)
    for (int c = 0; c < 15; c++) cr_assert(values[r * 15 + c] == (float)(r * 100 + c / 5 * 10 + c % 5));
  spm_table_free(&table);
  free(bytes);
}

Test(data, npy_written_is_read_back) {
  const long shape[] = {2, 3};
  const double d[] = {0.1, -2, 3e300, INFINITY, 5, NAN};
  const char *path = scratch_path("a.npy");
  cr_assert(spm_npy_write(path, SPM_F64, 2, shape, d, &error) == 0);
  expect_values(path, d, 6);
  cr_assert(spm_npy_write(path, SPM_I64, 1, shape + 1, (const int64_t[]){1, -2, 3}, &error) == 0);
  expect_values(path, (const double[]){1, -2, 3}, 3);
  cr_assert(spm_npy_write(path, SPM_F32, 0, NULL, (const float[]){0.5f}, &error) == 0);
  expect_values(path, (const double[]){0.5}, 1);
  size_t size;
  unsigned char *bytes = scratch_read(path, &size);
  cr_assert((size - 4) % 64 == 0, "values begin at byte %zu", size - 4);
  cr_assert(scratch_count() == 1, "a temporary was left");
  free(bytes);
}

Test(data, npy_that_cannot_be_written) {
  char path[600];
  const char *file = scratch_write("file", "x", 1);
  snprintf(path, sizeof path, "%s/a.npy", file);
  cr_assert(spm_npy_write(path, SPM_F32, 0, NULL, "1234", &error) == -1);
  cr_assert(strstr(error.message, "not a directory") != NULL, "%s", error.message);
  cr_assert(spm_npy_write(scratch_path("none/a.npy"), SPM_F32, 0, NULL, "1234", &error) == -1);
  cr_assert(strstr(error.message, "no such file") != NULL, "%s", error.message);
  cr_assert(spm_npy_write(scratch_directory, SPM_F32, 0, NULL, "1234", &error) == -1);
  cr_assert(strstr(error.message, "it is a directory") != NULL, "%s", error.message);
  if (geteuid() != 0) { /* root may write anywhere */
    chmod(scratch_directory, 0500);
    cr_assert(spm_npy_write(scratch_path("a.npy"), SPM_F32, 0, NULL, "1234", &error) == -1);
    cr_assert(strstr(error.message, "permission denied") != NULL, "%s", error.message);
    chmod(scratch_directory, 0700);
  }
  cr_assert(scratch_count() == 1, "a temporary was left");
}

Test(data, npz_stored_deflated_and_zip64) {
  unsigned char x[256], y[256], zip[4096];
  const float a[] = {1, 2}, b[] = {7, 8, 9};
  struct entry entries[] = {
      {"x.npy", x, make_npy(x, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", a, 8)},
      {"y.npy", y, make_npy(y, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", b, 12)}};
  for (int method = 0; method <= 8; method += 8)
    for (int large = 0; large < 2; large++) {
      scratch_write("one.npz", zip, make_zip(zip, entries, 1, method, large));
      expect_values(scratch_path("one.npz"), (const double[]){1, 2}, 2);
      size_t size = make_zip(zip, entries, 2, method, large);
      scratch_write("two.npz", zip, size);
      expect_values(scratch_path("two.npz:y"), (const double[]){7, 8, 9}, 3);
      expect_refusal(scratch_path("two.npz"), "holds 2 arrays (x, y)");
      expect_refusal(scratch_path("two.npz:z"), "no array called 'z'; it holds x, y");
      expect_refusal(scratch_write("cut.npz", zip, size - 30), "zip archive");
      zip[14] ^= 1; /* the local header's copy of the checksum, which nobody reads */
      scratch_write("fine.npz", zip, size);
      expect_values(scratch_path("fine.npz:x"), (const double[]){1, 2}, 2);
    }
  expect_refusal(scratch_write("none.npz", zip, make_zip(zip, entries, 0, 0, 0)), "is empty");
  expect_refusal(scratch_write("method.npz", zip, make_zip(zip, entries, 1, 12, 0)), "by method 12");
}

static const char *write_text(const char *name, const char *text) { return scratch_write(name, text, strlen(text)); }

Test(data, csv) {
  expect_values(write_text("a.csv", "1,2.5\n-3,4e2\n"), (const double[]){1, 2.5, -3, 400}, 4);
  expect_values(write_text("names.csv", "\"x\";y\r\n\"1\"; 2\r\n3;4"), (const double[]){1, 2, 3, 4}, 4);
  expect_values(write_text("gaps.csv", "1\t\t3\nNA\tnan\t6\n"), (const double[]){1, NAN, 3, NAN, NAN, 6}, 6);
  expect_values(write_text("one.csv", "label\n3\n\n0\n\n"), (const double[]){3, NAN, 0, NAN}, 4);
  expect_values(write_text("end.csv", "1,2\n3,4\n\n\n"), (const double[]){1, 2, 3, 4}, 4);
  expect_values(write_gz("packed.csv.gz", "1,2\n3,4\n", 8), (const double[]){1, 2, 3, 4}, 4);
  expect_refusal(write_text("word.csv", "1,2\n3,four\n"), "line 2, column 2: `four` is not a number");
  expect_refusal(write_text("short.csv", "1,2\n3,4\n5\n"), "line 3 has 1, and the first one has 2");
  expect_refusal(write_text("names.csv", "a,b,c\n"), "holds no numbers");
  expect_values(write_text("blanks.txt", "# saved\n 1  2.5\n-3   4e2 \n"), (const double[]){1, 2.5, -3, 400}, 4);
  expect_values(write_text("named.txt", "a b\n1 2\n3 4\n"), (const double[]){1, 2, 3, 4}, 4);
  expect_values(write_text("label.txt", "my label\n1\n3\n"), (const double[]){1, 3}, 2);
  expect_values(write_text("mark.csv", "\xEF\xBB\xBFx,y\n1,2\n"), (const double[]){1, 2}, 2);
  expect_values(write_text("lines.csv", "\n\n1,2\n\n3,4\n"), (const double[]){1, 2, 3, 4}, 4);
  expect_refusal(write_text("numbered.csv", ",a,b\n0,1,2\n1,3,4\n"), "first column has no name");
  expect_refusal(write_text("rows.csv", "who,a\nann,1\n"),
                 "line 2, column 1: `ann` is not a number; rows have no names");
  expect_refusal(write_text("decimal.csv", "1,5;2\n3,5;4\n"), "line 2, column 1: `3,5` is not a number");
  static const char tensors[] =
      "\x71\0\0\0\0\0\0\0{\"codes\":{\"dtype\":\"I16\",\"shape\":[2,2],\"data_offsets\":[0,8]},"
      "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]}}"
      "\1\0\2\0\3\0\xff\xff\7\10\11";
  const char *both = scratch_write("both.safetensors", tensors, sizeof tensors - 1);
  char one[200];
  expect_refusal(both, "holds 2 tensors (codes, b); choose one");
  snprintf(one, sizeof one, "%s:codes", both);
  expect_values(one, (const double[]){1, 2, 3, -1}, 4);
  snprintf(one, sizeof one, "%s:b", both);
  expect_values(one, (const double[]){7, 8, 9}, 3);
  snprintf(one, sizeof one, "%s:c", both);
  expect_refusal(one, "no tensor called 'c'; it holds codes, b");
  expect_refusal(write_text("a.parquet", "PAR1...."), "looks like a Parquet file");
  expect_refusal(scratch_write("zero.csv", "1,2\n\0\n", 7), "bytes 0");
}

Test(data, refusals_of_files) {
  expect_refusal(scratch_path("missing"), "no such file");
  expect_refusal(scratch_directory, "is a directory");
  expect_refusal(scratch_write("empty", "", 0), "is empty");
  expect_refusal(scratch_write("short", "ab", 2), "too short");
  expect_refusal(scratch_write("text", "a model\nof text\n", 16), "line 2, column 1: `of text` is not a number");
  expect_refusal(scratch_write("png", "\x89PNG\r\n\x1a\n", 8), "PNG");
  expect_refusal(scratch_write("pickle", "\x80\4\x95\1\2", 5), "pickle");
  mkfifo(scratch_path("pipe"), 0600);
  expect_refusal(scratch_path("pipe"), "pipe");
  scratch_write("a.idx", small_idx, sizeof small_idx);
  expect_refusal(scratch_path("a.idx:key"), "is none");
  if (geteuid() != 0) {
    chmod(scratch_path("a.idx"), 0);
    expect_refusal(scratch_path("a.idx"), "permission denied");
  }
}

Test(data, refusals_of_idx) {
  unsigned char bytes[64] = {0};
  memcpy(bytes, small_idx, sizeof small_idx);
  expect_refusal(scratch_write("long", bytes, sizeof small_idx + 1), "longer than its header says");
  expect_refusal(scratch_write("short", bytes, sizeof small_idx - 1),
                 "12 values of u8 (3 x 2 x 2, 12 bytes), but 11 bytes");
  expect_refusal(scratch_write("header", bytes, 10), "inside its header");
  bytes[2] = 7;
  expect_refusal(scratch_write("type", bytes, sizeof small_idx), "unknown type 0x07");
  bytes[2] = 8, bytes[3] = 0;
  expect_refusal(scratch_write("rank", bytes, sizeof small_idx), "IDX of 0 dimensions");
  bytes[3] = 9;
  expect_refusal(scratch_write("rank", bytes, sizeof small_idx), "IDX of 9 dimensions");
  bytes[3] = 3, bytes[7] = 0;
  expect_refusal(scratch_write("none", bytes, sizeof small_idx), "holds no data");
  memset(bytes + 4, 0xFF, 12);
  expect_refusal(scratch_write("huge", bytes, sizeof small_idx), "too large");
  expect_refusal(write_gz("huge.gz", bytes, sizeof small_idx), "too large");
  memset(bytes + 4, 0, 12);
  bytes[5] = bytes[11] = bytes[15] = 100; /* 655 MB that 50 packed bytes cannot hold */
  expect_refusal(write_gz("bomb.gz", bytes, sizeof small_idx), "at most");
}

Test(data, refusals_of_gz) {
  static unsigned char raw[16 + 40000];
  uint64_t state = 1;
  const unsigned char header[] = {0, 0, 8, 2, 0, 0, 0, 100, 0, 0, 1, 144};
  memcpy(raw, header, sizeof header);
  for (size_t i = sizeof header; i < sizeof raw; i++) raw[i] = (unsigned char)(scratch_random(&state) & 15);
  size_t size;
  unsigned char *packed = scratch_read(write_gz("a.gz", raw, sizeof header + 40000), &size);
  expect_refusal(scratch_write("half.gz", packed, size / 2), "truncated: the gzip file ends after");
  cr_assert(strstr(error.message, "of the 40,012 bytes its header promises") != NULL, "%s", error.message);
  expect_refusal(scratch_write("sum.gz", packed, size - 3), "truncated");
  expect_refusal(scratch_write("start.gz", packed, 5), "truncated");
  packed[size - 6] ^= 1;
  expect_refusal(scratch_write("crc.gz", packed, size), "incorrect data check");
  packed[3] = 0xFF;
  expect_refusal(scratch_write("flags.gz", packed, size), "damaged compressed data");
  expect_refusal(write_gz("more.gz", raw, sizeof header + 40001), "holds more than the 40,012 bytes");
  expect_refusal(write_gz("less.gz", raw, sizeof header + 39999), "truncated: it holds 40,011 of the 40,012");
  free(packed);
}

Test(data, refusals_of_npy) {
  static const struct {
    const char *header, *words;
  } bad[] = {
      {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "pickle"},
      {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "complex"},
      {"{'descr': '<U2', 'fortran_order': False, 'shape': (1,)}", "texts"},
      {"{'descr': '<f16', 'fortran_order': False, 'shape': (1,)}", "type '<f16'"},
      {"{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1,)}", "type '<M8[s]'"},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "structured"},
      {"{'descr': '<f4', 'fortran_order': False}", "is missing"},
      {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", "neither True nor False"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "a number is wanted"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", "something follows"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3)}", "holds no data"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "too large"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", "too large"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", "more than 8 dimensions"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "2 values of f32 (2, 8 bytes), but 4 bytes"},
      {"{'descr': '<f4', 'shape': (1,), 'shape': (1,)}", "two shapes"},
      {"{'other': 1}", "an unknown key"},
      {"nonsense", "not a Python dictionary"},
      {"", "not a Python dictionary"},
      {"{'descr", "quote is not closed"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    expect_refusal(write_npy("a.npy", 1, bad[i].header, "\0\0\0\0", 4), bad[i].words);
  expect_refusal(write_npy("a.npy", 4, bad[0].header, "\0\0\0\0", 4), "version 4.0");
  expect_refusal(scratch_write("a.npy", "\x93NUMPY\2\0\xFF\xFF\xFF\x7F{", 13), "claims to be");
}

Test(data, rows_as_asked_for) {
  float f[12];
  double d[8];
  const long index[] = {2, 0, 2};
  cr_assert(spm_table_read(&table, scratch_write("a", small_idx, sizeof small_idx), &error) == 0);
  cr_assert(spm_table_rows_f(&table, index, 0, 3, SPM_AS_UNIT, f) == 0);
  cr_assert(f[3] == 1.0f && f[0] == 160.0f / 255.0f && f[4] == 0 && f[11] == 1.0f);
  cr_assert(spm_table_rows_d(&table, NULL, 1, 2, SPM_AS_UNIT, d) == 0);
  cr_assert(d[0] == 80.0 / 255.0 && d[7] == 1);
  cr_assert(spm_table_rows_f(&table, (const long[]){0, 3}, 0, 2, 0, f) == -1);
  cr_assert(spm_table_rows_f(&table, (const long[]){-1}, 0, 1, 0, f) == -1);
  cr_assert(spm_table_rows_f(&table, NULL, 2, 2, 0, f) == -1);
  cr_assert(spm_table_rows_f(&table, NULL, -1, 1, 0, f) == -1);
  cr_assert(spm_table_rows_f(&table, NULL, 3, 0, 0, f) == 0);
  spm_table_free(&table);
  write_npy("y", 1, "{'descr': '|i1', 'fortran_order': False, 'shape': (3,)}", "\1\xFF\2", 3);
  cr_assert(spm_table_read(&table, scratch_path("y"), &error) == 0);
  cr_assert(spm_table_rows_d(&table, NULL, 0, 3, SPM_AS_MISSING, d) == 0);
  cr_assert(d[0] == 1 && isnan(d[1]) && d[2] == 2);
  cr_assert(spm_table_rows_d(&table, NULL, 0, 3, SPM_AS_NUMBERS, d) == 0 && d[1] == -1);
  spm_table_free(&table);
}

Test(data, check_counts_and_places) {
  struct spm_check check;
  cr_assert(spm_table_read(&table, scratch_write("a", small_idx, sizeof small_idx), &error) == 0);
  spm_table_check(&table, 0, 1, false, SPM_AS_UNIT, &check);
  cr_assert(check.total == 12 && check.outside == 0 && check.first_row == -1 && check.largest == 1);
  spm_table_check(&table, 0, 1, false, SPM_AS_NUMBERS, &check);
  cr_assert(check.outside == 11 && check.largest == 255 && check.smallest == 0);
  cr_assert(check.first_row == 0 && check.first_column == 1 && check.first_value == 20);
  spm_table_check(&table, 0, 250, true, SPM_AS_NUMBERS, &check);
  cr_assert(check.outside == 1 && check.first_row == 2 && check.first_column == 3);
  spm_table_free(&table);
  const double values[] = {0.5, NAN, 2, -3, 1, INFINITY, -1, 1};
  write_npy("d", 1, "{'descr': '<f8', 'fortran_order': False, 'shape': (4, 2)}", values, sizeof values);
  cr_assert(spm_table_read(&table, scratch_path("d"), &error) == 0);
  spm_table_check(&table, 0, 1, true, SPM_AS_NUMBERS, &check);
  cr_assert(check.missing == 1 && check.outside == 4 && check.fractional == 1);
  cr_assert(check.smallest == -3 && isinf(check.largest) && check.first_row == 0 && check.first_column == 0);
  spm_table_check(&table, -INFINITY, INFINITY, false, SPM_AS_NUMBERS, &check);
  cr_assert(check.outside == 1 && check.first_row == 2 && check.first_column == 1, "an infinite value is no datum");
  spm_table_free(&table);
}

/* A large plain file is mapped; a sparse one costs nothing to make. */
Test(data, large_files_are_mapped) {
  const long rows = 70000000;
  char header[128];
  unsigned char start[256];
  double last;
  snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%ld,)}", rows);
  size_t length = make_npy(start, 1, header, NULL, 0);
  const char *path = scratch_write("large.npy", start, length);
  const float value = 2.5f;
  FILE *file = fopen(path, "r+b");
  fseek(file, (long)length + 4 * (rows - 1), SEEK_SET);
  fwrite(&value, 4, 1, file);
  fclose(file);
  cr_assert(spm_table_read(&table, path, &error) == 0, "%s", error.message);
  cr_assert(table.mapping != NULL);
  cr_assert(spm_table_rows_d(&table, NULL, rows - 1, 1, 0, &last) == 0 && last == 2.5);
  spm_table_free(&table);
}

/* Whatever is done to a file's bytes: a table whose numbers can all be read, or a message. */
static void fuzz(const char *name, const unsigned char *good, size_t size, size_t header, int rounds, uint64_t seed) {
  unsigned char *bytes = malloc(size);
  int accepted = 0;
  for (int round = 0; round < rounds; round++) {
    memcpy(bytes, good, size);
    const char *path = scratch_write(name, bytes, scratch_damage(bytes, size, header, &seed));
    error.message[0] = 0;
    if (spm_table_read(&table, path, &error) == 0) {
      struct spm_check check;
      spm_table_check(&table, 0, 1, true, SPM_AS_UNIT | SPM_AS_MISSING, &check);
      cr_assert(check.total == (long long)table.rows * table.row_size);
      spm_table_free(&table);
      accepted++;
    } else
      cr_assert(strlen(error.message) > strlen(path), "round %d: no message", round);
  }
  cr_assert(accepted < rounds);
  free(bytes);
}

Test(data, damaged_bytes_never_crash) {
  unsigned char npy[256], zip[2048];
  const double values[] = {1, 2, 3, 4, 5, 6};
  size_t packed, size;
  unsigned char *gz = scratch_read(write_gz("g", small_idx, sizeof small_idx), &packed);
  size = make_npy(npy, 1, "{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }\n", values, sizeof values);
  struct entry entry = {"x.npy", npy, size};
  fuzz("idx", small_idx, sizeof small_idx, 16, 800, 1);
  fuzz("npy", npy, size, size - sizeof values, 1000, 2);
  fuzz("gz", gz, packed, 10, 600, 3);
  size_t stored = make_zip(zip, &entry, 1, 0, 1);
  fuzz("zip", zip, stored, stored, 800, 4);
  size_t deflate_size = make_zip(zip, &entry, 1, 8, 0);
  fuzz("zip8", zip, deflate_size, deflate_size, 800, 5);
  free(gz);
}
