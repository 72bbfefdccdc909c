/* Reads the table of the distribution library: see library_table.h. */
#include "library_table.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FAMILIES = 60 };

/* All numbers of the text, whatever brackets stand around them; *end: where the reading stopped. */
static int read_numbers(const char *text, double *values, const char **end) {
  int count = 0, depth = 0;
  do {
    while (*text == ' ' || *text == '[' || *text == ';' || *text == ']') {
      depth += (*text == '[') - (*text == ']');
      text++;
      if (depth == 0 && text[-1] == ']') break;
    }
    if (depth == 0 && count > 0) break;
    char *after;
    values[count] = strtod(text, &after);
    if (after == text) break;
    count++;
    text = after;
  } while (depth > 0 && count < TABLE_WIDEST);
  while (*text == ']') text++;
  *end = text;
  return count;
}

typedef struct Line {
  TableFamily *family;
  double numbers[TABLE_PARAMETERS + 5][TABLE_WIDEST];
  int widths[TABLE_PARAMETERS + 5];
  char key[100], name[40], names[TABLE_PARAMETERS][24];
  int parameters;
} Line;

static void read_line(const char *text, Line *line) {
  const char *at = strchr(text, '(');
  *line = (Line){0};
  snprintf(line->name, sizeof line->name, "%.*s", (int)(at - text), text);
  for (at++; *at != ')' && *at != '|';) {
    while (*at == ' ' || *at == ',') at++;
    int n = (int)strcspn(at, " ="), p = line->parameters++;
    snprintf(line->names[p], sizeof line->names[p], "%.*s", n, at);
    at = strchr(at, '=') + 1;
    line->widths[p] = read_numbers(at, line->numbers[p], &at);
  }
  for (int i = 0; i < 5; i++) {
    at = strchr(at, '|');
    cr_assert(at != NULL, "%s", text);
    at++;
    int column = TABLE_PARAMETERS + i;
    line->widths[column] = read_numbers(at, line->numbers[column], &at);
  }
  snprintf(line->key, sizeof line->key, "%s(", line->name);
  for (int p = 0; p < line->parameters; p++)
    snprintf(line->key + strlen(line->key), sizeof line->key - strlen(line->key), "%s%s", p ? ", " : "",
             line->names[p]);
  snprintf(line->key + strlen(line->key), sizeof line->key - strlen(line->key), ")");
}

static void store(TableColumn *column, int row, const Line *line, int which, int width) {
  column->width = width;
  for (int k = 0; k < width; k++)
    column->values[row * width + k] = line->numbers[which][line->widths[which] == width ? k : 0];
}

TableFamily *table_read(int *count) {
  static char text[2000];
  TableFamily *families = calloc(MOST_FAMILIES, sizeof *families);
  FILE *file = fopen("tests/tables/distributions.txt", "r");
  cr_assert(file != NULL && families != NULL, "tests run in the folder that holds tests/");
  *count = 0;
  while (fgets(text, sizeof text, file)) {
    Line line;
    int f = 0;
    read_line(text, &line);
    while (f < *count && strcmp(families[f].key, line.key) != 0) f++;
    cr_assert(f < MOST_FAMILIES);
    TableFamily *family = &families[f];
    if (f == *count) {
      ++*count;
      strcpy(family->key, line.key);
      strcpy(family->name, line.name);
      memcpy(family->names, line.names, sizeof line.names);
      family->parameter_count = line.parameters;
    }
    cr_assert(family->rows < TABLE_ROWS);
    for (int p = 0; p < line.parameters; p++) store(&family->parameters[p], family->rows, &line, p, line.widths[p]);
    int z = line.widths[TABLE_PARAMETERS];
    store(&family->z, family->rows, &line, TABLE_PARAMETERS, z);
    store(&family->log_pdf, family->rows, &line, TABLE_PARAMETERS + 1, 1);
    store(&family->entropy, family->rows, &line, TABLE_PARAMETERS + 2, 1);
    store(&family->mean, family->rows, &line, TABLE_PARAMETERS + 3, z);
    store(&family->variance, family->rows, &line, TABLE_PARAMETERS + 4, z);
    family->rows++;
  }
  fclose(file);
  return families;
}
