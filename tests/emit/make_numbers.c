/* make_numbers FILE ROWS SIZE [bits | labels]: a .npy file of floats between 0 and 1; bits: of zeros, and ones in a
 * fifth of all places; labels: of 0 to 9, three fifths of them missing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **words) {
  if (count < 4) return 2;
  FILE *file = fopen(words[1], "wb");
  long rows = atol(words[2]), size = atol(words[3]);
  unsigned long long state = 1;
  char header[128];
  if (!file) return 1;
  snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%ld, %ld), }", rows, size);
  fwrite("\x93NUMPY\x01\x00v\x00", 1, 10, file);
  fprintf(file, "%-117s\n", header);
  for (long i = 0; i < rows * size; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    float value = (float)(state >> 40) / 16777216.0f;
    value *= value; /* not alike in mean and middle */
    if (count > 4 && strcmp(words[4], "bits") == 0) value = value > 0.64f;
    if (count > 4 && strcmp(words[4], "labels") == 0) value = value > 0.36f ? (float)(i % 10) : NAN;
    fwrite(&value, sizeof value, 1, file);
  }
  return fclose(file) != 0;
}
