/* embed: text files named on the command line -> a C file on standard output that holds them, as numbers (string
 * literals have a length limit, and xxd is not everywhere). "runtime/model.h" becomes `const char embedded_model_h[]`,
 * and all of them stand in a table by path (embedded.h). A program of its own, run by the Makefile. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static void print_name(const char *path) {
  const char *slash = strrchr(path, '/');
  printf("embedded_");
  for (const char *at = slash ? slash + 1 : path; *at; at++) putchar(isalnum((unsigned char)*at) ? *at : '_');
}

static int embed_one(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return -1;
  printf("extern const char ");
  print_name(path);
  printf("[];\nconst char ");
  print_name(path);
  printf("[] = {");
  long length = 0;
  for (int byte = getc(file); byte != EOF; byte = getc(file), length++)
    printf("%s%d,", length % 24 == 0 ? "\n" : "", byte < 128 ? byte : byte - 256);
  printf("\n0};\n");
  int failed = ferror(file);
  fclose(file);
  return failed ? -1 : 0;
}

int main(int argc, char **argv) {
  printf("#include \"compiler/embedded.h\"\n");
  for (int i = 1; i < argc; i++) {
    if (embed_one(argv[i]) == 0) continue;
    perror(argv[i]);
    return 1;
  }
  printf("const EmbeddedText embedded_texts[] = {\n");
  for (int i = 1; i < argc; i++) {
    printf("{\"%s\", ", argv[i]);
    print_name(argv[i]);
    printf(", sizeof ");
    print_name(argv[i]);
    printf(" - 1},\n");
  }
  printf("{NULL, NULL, 0}};\n");
  return fflush(stdout) == 0 ? 0 : 1;
}
