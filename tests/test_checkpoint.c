/* Checkpoints: what is written is read back bit for bit; damaged files are refused in words; a failed write leaves the
 * earlier file as it was. */
#include "checkpoint.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

TestSuite(checkpoint, .init = scratch_make, .fini = scratch_remove);

static struct checkpoint checkpoint;
static struct spm_error error;

static const float weights[6] = {0.1f, -2, 3e-40f, 4, 5, 6};
static const double moments[1] = {1.0 / 3};
static const int64_t counters[2] = {1234567890123, -1};
static const unsigned char flags[3] = {1, 0, 255};
static const struct checkpoint_tensor tensors[] = {
    {"q.mu.dense.W", SPM_F32, 2, {2, 3}, weights}, {"flags", SPM_U8, 1, {3}, flags},
    {"moment", SPM_F64, 0, {0}, moments},          {"counters \"\xC3\xA9\"\n", SPM_I64, 1, {2}, counters},
    {"nothing", SPM_F32, 2, {0, 4}, NULL},
};
static const struct checkpoint_note notes[] = {{"format", "spmc 1"},
                                               {"spec", "model m;\n\tdim D = 3; # \"\\\" \x01 \xFF"}};

static const char *write_good(const char *name) {
  const char *path = scratch_path(name);
  int status = checkpoint_write(path, tensors, 5, notes, 2, &error);
  cr_assert(status == 0, "%s", error.message);
  return path;
}

Test(checkpoint, round_trip) {
  const char *path = write_good("a.safetensors");
  cr_assert(checkpoint_read(&checkpoint, path, &error) == 0, "%s", error.message);
  cr_assert(checkpoint.tensor_count == 5 && checkpoint.note_count == 2);
  for (int i = 0; i < 5; i++) {
    const struct checkpoint_tensor *read = &checkpoint.tensors[i], *written = &tensors[i];
    size_t bytes = checkpoint_tensor_count(written) * spm_element_size(written->element);
    cr_assert(strcmp(read->name, written->name) == 0, "the order changed: %s", read->name);
    cr_assert(read->element == written->element && read->rank == written->rank);
    for (int d = 0; d < read->rank; d++) cr_assert(read->shape[d] == written->shape[d]);
    cr_assert((uintptr_t)read->values % 16 == 0);
    cr_assert(bytes == 0 || memcmp(read->values, written->values, bytes) == 0, "%s", read->name);
  }
  cr_assert(strcmp(checkpoint_note(&checkpoint, "format"), "spmc 1") == 0);
  cr_assert(strcmp(checkpoint_note(&checkpoint, "spec"), "model m;\n\tdim D = 3; # \"\\\" \x01 \xEF\xBF\xBD") == 0);
  cr_assert(checkpoint_note(&checkpoint, "none") == NULL && checkpoint_tensor(&checkpoint, "none") == NULL);
  cr_assert(checkpoint_tensor(&checkpoint, "flags") == &checkpoint.tensors[1]);
  checkpoint_free(&checkpoint);
  checkpoint_free(&checkpoint);
}

Test(checkpoint, same_input_same_bytes) {
  size_t a_size, b_size;
  unsigned char *a = scratch_read(write_good("a"), &a_size), *b = scratch_read(write_good("b"), &b_size);
  cr_assert(a_size == b_size && memcmp(a, b, a_size) == 0);
  cr_assert(a[0] % 8 == 0 && a[8] == '{', "values are not aligned");
  cr_assert(scratch_count() == 2, "a temporary was left");
  free(a);
  free(b);
}

Test(checkpoint, no_tensors_and_no_notes) {
  const char *path = scratch_path("a");
  cr_assert(checkpoint_write(path, NULL, 0, NULL, 0, &error) == 0);
  cr_assert(checkpoint_read(&checkpoint, path, &error) == 0, "%s", error.message);
  cr_assert(checkpoint.tensor_count == 0 && checkpoint.note_count == 0);
  checkpoint_free(&checkpoint);
}

Test(checkpoint, expect_says_what_is_there) {
  const long shape[] = {2, 3}, other[] = {3, 2};
  cr_assert(checkpoint_read(&checkpoint, write_good("a"), &error) == 0);
  cr_assert(checkpoint_expect(&checkpoint, "a", "q.mu.dense.W", SPM_F32, 2, shape, &error) != NULL);
  cr_assert(checkpoint_expect(&checkpoint, "a", "q.mu.dense.W", SPM_F32, 2, other, &error) == NULL);
  cr_assert(strcmp(error.message, "a: tensor q.mu.dense.W is f32 of 2 x 3; f32 of 3 x 2 is wanted") == 0, "%s",
            error.message);
  cr_assert(checkpoint_expect(&checkpoint, "a", "q.mu.dense.W", SPM_F64, 2, shape, &error) == NULL);
  cr_assert(checkpoint_expect(&checkpoint, "a", "p", SPM_F64, 0, NULL, &error) == NULL);
  cr_assert(strstr(error.message, "no tensor called p") != NULL);
  checkpoint_free(&checkpoint);
}

static void expect_no_write(const char *path, const struct checkpoint_tensor *list, int count, const char *words) {
  strcpy(error.message, "(no message)");
  int status = checkpoint_write(path, list, count, NULL, 0, &error);
  cr_assert(status == -1, "%s was written", path);
  cr_assert(strstr(error.message, words) != NULL, "'%s' is not in: %s", words, error.message);
}

Test(checkpoint, writes_that_are_refused) {
  struct checkpoint_tensor bad[2] = {tensors[0], tensors[0]};
  expect_no_write(scratch_path("a"), bad, 2, "two tensors are called 'q.mu.dense.W'");
  bad[0].name = "__metadata__";
  expect_no_write(scratch_path("a"), bad, 1, "cannot be called");
  bad[0].name = "";
  expect_no_write(scratch_path("a"), bad, 1, "cannot be called");
  bad[0].name = "x", bad[0].shape[0] = -1;
  expect_no_write(scratch_path("a"), bad, 1, "shape -1 x 3");
  expect_no_write(scratch_path("none/a"), tensors, 5, "no such file");
  expect_no_write(scratch_directory, tensors, 5, "it is a directory");
  cr_assert(scratch_count() == 0);
  if (geteuid() != 0) { /* root may write anywhere */
    chmod(scratch_directory, 0500);
    expect_no_write(scratch_path("a"), tensors, 5, "permission denied");
    chmod(scratch_directory, 0700);
  }
}

/* A limit on the size of files stands for a full disk: root has none of its own. */
Test(checkpoint, a_failed_write_keeps_the_old_file) {
  static float large[100000];
  const struct checkpoint_tensor big[] = {{"large", SPM_F32, 1, {100000}, large}};
  const char *path = write_good("a");
  size_t before, after;
  unsigned char *old = scratch_read(path, &before);
  struct rlimit limit = {4096, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};
  signal(SIGXFSZ, SIG_IGN);
  cr_assert(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  expect_no_write(path, big, 1, "cannot write");
  setrlimit(RLIMIT_FSIZE, &none);
  unsigned char *now = scratch_read(path, &after);
  cr_assert(before == after && memcmp(old, now, before) == 0, "the old checkpoint changed");
  cr_assert(scratch_count() == 1, "the temporary was left");
  free(old);
  free(now);
}

static void expect_refusal(const char *path, const char *words) {
  strcpy(error.message, "(no message)");
  int status = checkpoint_read(&checkpoint, path, &error);
  cr_assert(status == -1, "%s was read", path);
  cr_assert(strstr(error.message, words) != NULL, "'%s' is not in: %s", words, error.message);
  cr_assert(strstr(error.message, scratch_directory) != NULL, "no file is named in: %s", error.message);
  cr_assert(checkpoint.tensors == NULL && checkpoint.values == NULL);
}

/* A file of this header and `size` bytes of values. */
static const char *write_header(const char *header, size_t size) {
  unsigned char bytes[2048] = {0};
  size_t length = strlen(header);
  for (int b = 0; b < 8; b++) bytes[b] = (unsigned char)(length >> 8 * b);
  memcpy(bytes + 8, header, length);
  return scratch_write("h", bytes, 8 + length + size);
}

Test(checkpoint, foreign_files_are_read) {
  const char *header = "{\"b\":{\"shape\":[1],\"data_offsets\":[1,5],\"dtype\":\"F32\"},"
                       "\"a\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[0,1]}}";
  cr_assert(checkpoint_read(&checkpoint, write_header(header, 5), &error) == 0, "%s", error.message);
  cr_assert((uintptr_t)checkpoint_tensor(&checkpoint, "b")->values % 16 == 0, "values of odd offsets are aligned");
  checkpoint_free(&checkpoint);
}

Test(checkpoint, files_that_are_refused) {
  static const struct {
    const char *header;
    size_t size;
    const char *words;
  } bad[] = {
      {"", 0, "no JSON"},
      {"[1]", 0, "no JSON object"},
      {"{\"a\":1}", 0, "type (none)"},
      {"{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, "type BF16"},
      {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "no shape"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "no pair"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "impossible shape"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "impossible shape"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4, "impossible shape"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "more than 8"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "needs 8 bytes, but its offsets hold 4"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, "truncated"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "lies outside"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "lies outside"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "after a gap"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, "1 bytes at its end"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
       "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}",
       6, "overlaps"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
       "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
       8, "duplicate"},
      {"{\"__metadata__\":{\"a\":1}}", 0, "is no text"},
      {"{\"__metadata__\":[]}", 0, "__metadata__ is no JSON object"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    expect_refusal(write_header(bad[i].header, bad[i].size), bad[i].words);
  expect_refusal(scratch_path("missing"), "no such file");
  expect_refusal(scratch_directory, "it is a directory");
  expect_refusal(scratch_write("short", "1234567", 7), "shorter than the 8 bytes");
  expect_refusal(scratch_write("huge", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10), "header claims");
  size_t size;
  unsigned char *bytes = scratch_read(write_good("a"), &size);
  expect_refusal(scratch_write("cut", bytes, size - 1), "truncated");
  free(bytes);
}

Test(checkpoint, damaged_bytes_never_crash) {
  size_t size;
  uint64_t seed = 7;
  unsigned char *good = scratch_read(write_good("good"), &size), *bytes = malloc(size);
  for (int round = 0; round < 3000; round++) {
    memcpy(bytes, good, size);
    const char *path = scratch_write("bad", bytes, scratch_damage(bytes, size, size - 51, &seed));
    error.message[0] = 0;
    if (checkpoint_read(&checkpoint, path, &error) == 0) {
      unsigned sum = 0;
      for (int i = 0; i < checkpoint.tensor_count; i++) {
        const struct checkpoint_tensor *tensor = &checkpoint.tensors[i];
        size_t count = checkpoint_tensor_count(tensor) * spm_element_size(tensor->element);
        for (size_t b = 0; b < count; b++) sum += ((const unsigned char *)tensor->values)[b];
      }
      cr_assert(sum < 1000000);
      checkpoint_free(&checkpoint);
    } else
      cr_assert(strlen(error.message) > strlen(path), "round %d: no message", round);
  }
  free(good);
  free(bytes);
}
