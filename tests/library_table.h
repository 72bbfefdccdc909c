/* tests/tables/distributions.txt, read: rows of one parameterisation of one family together. */
#ifndef SPM_TEST_LIBRARY_TABLE_H
#define SPM_TEST_LIBRARY_TABLE_H

enum { TABLE_PARAMETERS = 4, TABLE_ROWS = 200, TABLE_WIDEST = 9 };

typedef struct TableColumn {
  int width; /* numbers of one row: 1, 3 or 9 */
  double values[TABLE_ROWS * TABLE_WIDEST];
} TableColumn;

typedef struct TableFamily {
  char key[100]; /* "normal(mean,sd)" and how wide z is */
  char name[40];
  char names[TABLE_PARAMETERS][24];
  int parameter_count, rows;
  TableColumn parameters[TABLE_PARAMETERS], z, log_pdf, entropy, mean, variance; /* NaN where nothing is said */
} TableFamily;

/* Malloc'ed; *count families. Fails the test where the file cannot be read. */
TableFamily *table_read(int *count);

#endif
