/* .npy, versions 1 to 3: a magic, the text of a Python dictionary (descr, fortran_order, shape), values -> a table, and
 * back. Only that one dictionary is understood; anything that would need Python to interpret it is refused. */
#include "files.h"
#include "formats.h"
#include "words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_HEADER = 1 << 20 };

struct header {
  const char *at; /* NUL-terminated; the cursor */
  const char *path;
  struct spm_error *error;
  char descr[32];
  bool has_descr, has_order, has_shape;
  struct spm_layout layout;
};

static int malformed(struct header *header, const char *what) {
  return spm_fail(header->error, "%s: damaged .npy header: %s", header->path, what);
}

static bool accept(struct header *header, char wanted) {
  while (*header->at == ' ' || *header->at == '\n' || *header->at == '\t' || *header->at == '\r') header->at++;
  if (*header->at != wanted) return false;
  header->at++;
  return true;
}

static bool accept_word(struct header *header, const char *word) {
  (void)accept(header, 0x7F); /* skips white space; DEL is never there */
  size_t length = strlen(word);
  if (strncmp(header->at, word, length) != 0) return false;
  header->at += length;
  return true;
}

/* 'text' or "text" of at most size - 1 characters. */
static int parse_text(struct header *header, char *out, size_t size) {
  char quote = accept(header, '\'') ? '\'' : accept(header, '"') ? '"' : 0;
  if (!quote) return malformed(header, "a quoted name is wanted");
  size_t length = 0;
  while (*header->at && *header->at != quote) {
    if (length + 1 >= size) return malformed(header, "a name in it is too long");
    out[length++] = *header->at++;
  }
  out[length] = 0;
  if (!*header->at) return malformed(header, "a quote is not closed");
  header->at++;
  return 0;
}

static int parse_shape(struct header *header, struct spm_table *table) {
  if (!accept(header, '(')) return malformed(header, "the shape is not a tuple");
  while (!accept(header, ')')) {
    if (table->rank == SPM_TABLE_RANK)
      return spm_fail(header->error, "%s: has more than %d dimensions", header->path, SPM_TABLE_RANK);
    if (*header->at < '0' || *header->at > '9') return malformed(header, "a number is wanted in the shape");
    long size = 0;
    for (; *header->at >= '0' && *header->at <= '9'; header->at++) {
      if (size > (INT64_MAX - 9) / 10) return malformed(header, "a number in the shape is too large");
      size = size * 10 + (*header->at - '0');
    }
    (void)accept(header, 'L'); /* written by Python 2 */
    table->shape[table->rank++] = size;
    if (accept(header, ',')) continue;
    if (!accept(header, ')')) return malformed(header, "the shape is not closed");
    break;
  }
  header->has_shape = true;
  return 0;
}

static int parse_entry(struct header *header, struct spm_table *table) {
  char key[32];
  if (parse_text(header, key, sizeof key) != 0) return -1;
  if (!accept(header, ':')) return malformed(header, "a colon is missing");
  if (strcmp(key, "descr") == 0) {
    if (accept(header, '['))
      return spm_fail(header->error, "%s: a structured array (named fields); plain numbers are wanted", header->path);
    header->has_descr = true;
    return parse_text(header, header->descr, sizeof header->descr);
  }
  if (strcmp(key, "fortran_order") == 0) {
    header->layout.column_major = accept_word(header, "True");
    header->has_order = header->layout.column_major || accept_word(header, "False");
    return header->has_order ? 0 : malformed(header, "fortran_order is neither True nor False");
  }
  if (strcmp(key, "shape") != 0) return malformed(header, "an unknown key");
  if (header->has_shape) return malformed(header, "two shapes");
  return parse_shape(header, table);
}

/* "<f4" and the like -> element and byte order. */
static int parse_descr(struct header *header, struct spm_table *table) {
  const char *descr = header->descr;
  char order = descr[0], kind = order ? descr[1] : 0;
  if (kind == 'O')
    return spm_fail(header->error,
                    "%s: an array of Python objects (a pickle), which is never read because a pickle can run any code; "
                    "save it as an array of numbers",
                    header->path);
  if (kind == 'c')
    return spm_fail(header->error, "%s: an array of complex numbers; real ones are wanted", header->path);
  if (kind == 'U' || kind == 'S')
    return spm_fail(header->error, "%s: an array of texts (%s); numbers are wanted", header->path, descr);
  if (strchr("<>|=", order) && kind && descr[2] >= '1' && descr[2] <= '8' && !descr[3])
    for (int i = 0; i < SPM_ELEMENT_COUNT; i++) {
      enum spm_element element = (enum spm_element)i;
      if (spm_element_kind(element) != kind || spm_element_size(element) != (size_t)(descr[2] - '0')) continue;
      table->element = element;
      header->layout.big_endian = order == '>';
      return 0;
    }
  return spm_fail(header->error,
                  "%s: elements of type '%s' cannot be read (bool, integers and floats of 1 to 8 bytes can)",
                  header->path, descr);
}

static int parse_header(struct header *header, struct spm_table *table) {
  if (!accept(header, '{')) return malformed(header, "it is not a Python dictionary");
  while (!accept(header, '}')) {
    if (parse_entry(header, table) != 0) return -1;
    if (accept(header, ',')) continue;
    if (!accept(header, '}')) return malformed(header, "a comma is missing");
    break;
  }
  if (accept(header, 0x7F) || *header->at) return malformed(header, "something follows the dictionary");
  if (!header->has_descr || !header->has_order || !header->has_shape)
    return malformed(header, "descr, fortran_order or shape is missing");
  return parse_descr(header, table);
}

int spm_npy_read(struct spm_table *table, struct spm_stream *stream, const unsigned char magic[4],
                 struct spm_error *error) {
  unsigned char start[4] = {magic[0]}, bytes[4] = {0};
  table->format = "npy";
  if (spm_stream_read(stream, start, 4, error) != 0) return -1;
  if (memcmp(start, "PY", 2) != 0) return spm_fail(error, "%s: damaged .npy header: its magic is cut", stream->path);
  if (start[2] < 1 || start[2] > 3)
    return spm_fail(error, "%s: .npy version %d.%d; 1 to 3 can be read", stream->path, start[2], start[3]);
  if (spm_stream_read(stream, bytes, start[2] == 1 ? 2 : 4, error) != 0) return -1;
  size_t length = (size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 24;
  if (length > LONGEST_HEADER || length > stream->total)
    return spm_fail(error, "%s: damaged .npy header: it claims to be %s bytes long", stream->path,
                    spm_count((long long)length).text);
  char *text = malloc(length + 1);
  if (!text) return spm_fail_system(error, stream->path, "read", ENOMEM);
  struct header header = {.at = text, .path = stream->path, .error = error};
  int status = spm_stream_read(stream, text, length, error);
  if (status == 0) {
    text[length] = 0;
    status = strlen(text) == length ? parse_header(&header, table) : malformed(&header, "a zero byte in its text");
  }
  free(text);
  return status == 0 ? spm_table_body(table, stream, header.layout, error) : -1;
}

/* The dictionary as numpy itself writes it, padded with blanks so that the values begin at a multiple of 64. */
static void write_header(FILE *stream, enum spm_element element, int rank, const long *shape) {
  const uint16_t one = 1;
  char text[512];
  unsigned char little;
  memcpy(&little, &one, 1);
  char order = spm_element_size(element) == 1 ? '|' : little ? '<' : '>';
  int length = snprintf(text, sizeof text, "{'descr': '%c%c%zu', 'fortran_order': False, 'shape': (", order,
                        spm_element_kind(element), spm_element_size(element));
  for (int d = 0; d < rank; d++)
    length += snprintf(text + length, sizeof text - (size_t)length, "%s%ld", d ? ", " : "", shape[d]);
  length += snprintf(text + length, sizeof text - (size_t)length, rank == 1 ? ",), }" : "), }");
  while ((10 + length + 1) % 64 != 0) text[length++] = ' ';
  text[length++] = '\n';
  fwrite("\x93NUMPY\1\0", 1, 8, stream);
  fputc(length & 255, stream);
  fputc(length >> 8, stream);
  fwrite(text, 1, (size_t)length, stream);
}

int spm_npy_write(const char *path, enum spm_element element, int rank, const long *shape, const void *values,
                  struct spm_error *error) {
  struct spm_writer writer;
  size_t count = 1;
  if (rank < 0 || rank > SPM_TABLE_RANK)
    return spm_fail(error, "%s: arrays of %d dimensions cannot be written", path, rank);
  for (int d = 0; d < rank; d++) {
    if (shape[d] < 0 || (shape[d] > 0 && count > SIZE_MAX / 16 / (size_t)shape[d]))
      return spm_fail(error, "%s: a shape of %s cannot be written", path, spm_shape(rank, shape).text);
    count *= (size_t)shape[d];
  }
  if (spm_writer_open(&writer, path, error) != 0) return -1;
  write_header(writer.stream, element, rank, shape);
  if (count) fwrite(values, spm_element_size(element), count, writer.stream); /* a failure shows at commit */
  return spm_writer_commit(&writer, error);
}
