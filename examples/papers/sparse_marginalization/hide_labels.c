/* hide_labels KEEP LAST SEED <labels.idx >partly.idx: an IDX file of labels as bytes -> the same with all but KEEP of
 * them -1, as signed bytes. The last LAST ones, validation rows, keep theirs besides. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t next(uint64_t *state) { /* splitmix64 */
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

int main(int argc, char **argv) {
  unsigned char header[8];
  if (argc != 4) return fprintf(stderr, "usage: hide_labels KEEP LAST SEED <labels.idx >partly.idx\n"), 2;
  long keep = atol(argv[1]), last = atol(argv[2]);
  uint64_t state = (uint64_t)atoll(argv[3]);
  if (fread(header, 1, 8, stdin) != 8 || header[2] != 8 || header[3] != 1)
    return fprintf(stderr, "hide_labels: no IDX file of bytes with one label a row\n"), 1;
  long count = (long)header[4] << 24 | header[5] << 16 | header[6] << 8 | header[7], left = count - last;
  header[2] = 9; /* signed bytes */
  if (keep < 0 || last < 0 || keep > left) return fprintf(stderr, "hide_labels: not so many rows\n"), 1;
  fwrite(header, 1, 8, stdout);
  for (long i = 0; i < count; i++) { /* KEEP of the rows, each set of them as likely as any other */
    int label = getchar();
    if (label < 0 || label > 127) return fprintf(stderr, "hide_labels: label %ld is missing or too large\n", i), 1;
    int shown = i >= count - last || (long)(next(&state) % (uint64_t)left) < keep;
    if (i < count - last) keep -= shown, left--;
    putchar(shown ? label : 255);
  }
  return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
