/* For tests that write files: a directory of their own under /tmp, and seeded noise for damaging them. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch_directory[64];

static inline void scratch_make(void) {
  strcpy(scratch_directory, "/tmp/spm-test-XXXXXX");
  if (!mkdtemp(scratch_directory)) abort();
}

/* Four levels are more than these tests make. */
static inline void scratch_empty(const char *path, int depth) {
  DIR *directory = opendir(path);
  for (struct dirent *entry; directory && (entry = readdir(directory));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    size_t size = strlen(path) + strlen(entry->d_name) + 2;
    char *inside = malloc(size);
    if (!inside) abort();
    snprintf(inside, size, "%s/%s", path, entry->d_name);
    if (unlink(inside) != 0 && depth < 3) scratch_empty(inside, depth + 1);
    free(inside);
  }
  if (directory) closedir(directory);
  rmdir(path);
}

static inline void scratch_remove(void) { scratch_empty(scratch_directory, 0); }

/* A path in the directory. Eight may be in use at once. */
static inline const char *scratch_path(const char *name) {
  static char paths[8][512];
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", scratch_directory, name);
  return path;
}

static inline const char *scratch_write(const char *name, const void *bytes, size_t size) {
  const char *path = scratch_path(name);
  FILE *file = fopen(path, "wb");
  if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) abort();
  return path;
}

/* The whole file; the caller frees it. */
static inline unsigned char *scratch_read(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  unsigned char *bytes = malloc(*size + 1);
  if (!bytes || fread(bytes, 1, *size, file) != *size) abort();
  bytes[*size] = 0;
  fclose(file);
  return bytes;
}

/* How many files there are: temporaries left behind would show. */
static inline int scratch_count(void) {
  DIR *directory = opendir(scratch_directory);
  int count = -2;
  while (directory && readdir(directory)) count++;
  if (directory) closedir(directory);
  return count;
}

static inline uint64_t scratch_random(uint64_t *state) { /* splitmix64 */
  uint64_t z = *state += 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

/* Damages 1 to 4 places, or cuts the end, of bytes[0 .. size); the early bytes most often. Returns the new size. */
static inline size_t scratch_damage(unsigned char *bytes, size_t size, size_t header, uint64_t *state) {
  static const unsigned char telling[] = {0, 1, 0x7F, 0x80, 0xFF, '0', '9', '-', ',', '}', '"', '\''};
  for (int changes = 1 + (int)(scratch_random(state) % 4); changes > 0; changes--) {
    size_t reach = scratch_random(state) % 4 ? header : size;
    size_t place = scratch_random(state) % reach;
    bytes[place] = scratch_random(state) % 2 ? (unsigned char)scratch_random(state)
                                             : telling[scratch_random(state) % sizeof telling];
  }
  return scratch_random(state) % 4 ? size : scratch_random(state) % (size + 1);
}

#endif
