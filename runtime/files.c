/* Files: bytes written to a stdio stream -> a synced file under its final name, or no change at all. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void writer_release(struct spm_writer *writer) {
  free(writer->path);
  free(writer->temporary);
  memset(writer, 0, sizeof *writer);
}

/* mkstemp would make a file that only its owner may read; O_EXCL with 0666 leaves that to the umask. */
static int temporary_create(struct spm_writer *writer, struct spm_error *error) {
  size_t size = strlen(writer->path) + 64;
  writer->temporary = malloc(size);
  if (!writer->temporary) return spm_fail_system(error, writer->path, "write", ENOMEM);
  for (int attempt = 0; attempt < 1000; attempt++) {
    snprintf(writer->temporary, size, "%s.tmp-%ld-%d", writer->path, (long)getpid(), attempt);
    int file = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file >= 0) return file;
    if (errno != EEXIST) break;
  }
  return spm_fail_system(error, writer->path, "write", errno);
}

int spm_writer_open(struct spm_writer *writer, const char *path, struct spm_error *error) {
  struct stat status;
  memset(writer, 0, sizeof *writer);
  bool exists = stat(path, &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) return spm_fail_system(error, path, "write", EISDIR);
  writer->path = strdup(path);
  if (!writer->path) return spm_fail_system(error, path, "write", ENOMEM);
  int file;
  if (exists && !S_ISREG(status.st_mode)) { /* /dev/stdout, a pipe: renaming over it would replace it */
    file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) spm_fail_system(error, path, "write", errno);
  } else
    file = temporary_create(writer, error);
  if (file >= 0) {
    writer->stream = fdopen(file, "wb");
    if (writer->stream) return 0;
    spm_fail_system(error, path, "write", errno);
    close(file);
    if (writer->temporary) unlink(writer->temporary);
  }
  writer_release(writer);
  return -1;
}

/* Without this a rename may be lost in a power cut. Some file systems cannot sync a directory: not an error. */
static void directory_sync(const char *path) {
  char *directory = strdup(path);
  if (!directory) return;
  char *slash = strrchr(directory, '/');
  if (slash) slash[slash == directory ? 1 : 0] = 0;
  int file = open(slash ? directory : ".", O_RDONLY | O_CLOEXEC);
  if (file >= 0) {
    (void)fsync(file);
    close(file);
  }
  free(directory);
}

/* Why something could not be written a while ago: a disk that was full says so again. */
static int reason_of_failure(const struct spm_writer *writer) {
  static const char blanks[4096] = "";
  if (errno || !writer->temporary) return errno ? errno : EIO;
  return write(fileno(writer->stream), blanks, sizeof blanks) < 0 ? errno : EIO;
}

int spm_writer_commit(struct spm_writer *writer, struct spm_error *error) {
  int code = 0;
  errno = 0;
  if (fflush(writer->stream) != 0 || ferror(writer->stream)) code = reason_of_failure(writer);
  if (!code && writer->temporary && fsync(fileno(writer->stream)) != 0) code = errno;
  if (fclose(writer->stream) != 0 && !code) code = errno ? errno : EIO;
  writer->stream = NULL;
  if (!code && writer->temporary && rename(writer->temporary, writer->path) != 0) code = errno;
  if (code) {
    if (writer->temporary) unlink(writer->temporary);
    spm_fail_system(error, writer->path, "write", code);
  } else if (writer->temporary)
    directory_sync(writer->path);
  writer_release(writer);
  return code ? -1 : 0;
}

void spm_writer_abandon(struct spm_writer *writer) {
  if (writer->stream) fclose(writer->stream);
  if (writer->temporary) unlink(writer->temporary);
  writer_release(writer);
}

/* The directory that `path` lies in; NULL: it names none. */
static char *parent_of(const char *path) {
  size_t length = strlen(path);
  while (length > 0 && path[length - 1] == '/') length--;
  while (length > 0 && path[length - 1] != '/') length--;
  while (length > 0 && path[length - 1] == '/') length--;
  return length > 0 ? strndup(path, length) : NULL;
}

int spm_directory_make(const char *path, struct spm_error *error) {
  struct stat status;
  if (mkdir(path, 0777) == 0) return 0;
  int code = errno;
  char *parent = code == ENOENT ? parent_of(path) : NULL;
  if (parent && stat(parent, &status) != 0) { /* runs/wide/3: all of them are made */
    int made = spm_directory_make(parent, error);
    free(parent);
    if (made != 0 || mkdir(path, 0777) == 0) return made;
    return spm_fail_system(error, path, "make the directory", errno);
  }
  free(parent);
  if (code == EEXIST && stat(path, &status) == 0) {
    if (S_ISDIR(status.st_mode)) return 0;
    return spm_fail(error, "%s: cannot make a directory of this name: there is a file called so", path);
  }
  return spm_fail_system(error, path, "make the directory", code);
}

char *spm_path_join(const char *directory, const char *name) {
  size_t length = strlen(directory), size = length + strlen(name) + 2;
  char *path = malloc(size);
  if (path) snprintf(path, size, "%s%s%s", directory, length && directory[length - 1] != '/' ? "/" : "", name);
  return path;
}

/* The length of the valid UTF-8 character at `text`, 0 if there is none (overlong forms and surrogates included). */
static int utf8_length(const unsigned char *text) {
  unsigned char first = text[0];
  int length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  for (int i = 1; i < length; i++)
    if ((text[i] & 0xC0) != 0x80) return 0; /* a NUL ends here too */
  if ((first == 0xE0 && text[1] < 0xA0) || (first == 0xED && text[1] >= 0xA0)) return 0;
  if ((first == 0xF0 && text[1] < 0x90) || (first == 0xF4 && text[1] >= 0x90)) return 0;
  return length;
}

void spm_json_string(FILE *stream, const char *text) {
  fputc('"', stream);
  for (const unsigned char *at = (const unsigned char *)text; *at;) {
    int length = utf8_length(at);
    if (length == 0) {
      fputs("\\ufffd", stream);
      length = 1;
    } else if (*at == '"' || *at == '\\')
      fprintf(stream, "\\%c", *at);
    else if (*at == '\n')
      fputs("\\n", stream);
    else if (*at == '\t')
      fputs("\\t", stream);
    else if (*at < 0x20 || *at == 0x7F)
      fprintf(stream, "\\u%04x", *at);
    else
      fwrite(at, 1, (size_t)length, stream);
    at += length;
  }
  fputc('"', stream);
}

void spm_csv_name(FILE *stream, const char *name) {
  if (!strpbrk(name, ",\"\n\r")) {
    fputs(name, stream);
    return;
  }
  fputc('"', stream);
  for (; *name; name++) fprintf(stream, *name == '"' ? "\"\"" : "%c", *name);
  fputc('"', stream);
}
