/* bench_start [SPEC]: from starting `spmc train` to its first finished step, on a small file of random pixels.
 *
 * The clock runs from just before the program is started until its line "first step" has been read from a pipe; then
 * the program is ended. SPMC names the program (default build/spmc). Time for reading and checking the data is measured
 * here with the same functions and taken off. */
#include "bench.h"
#include "products.h"

#include "runtime/data.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { RUNS = 20, ROWS = 1024, SIZE = 784, LINES = 64 };

static char directory[] = "/tmp/spm-bench-XXXXXX";
static char data[64], out[64];

static void run_command(char *const *arguments) {
  pid_t child;
  if (posix_spawnp(&child, arguments[0], NULL, NULL, arguments, environ) == 0) waitpid(child, NULL, 0);
}

static void clean(void) { run_command((char *[]){"rm", "-rf", directory, NULL}); }

static void fail(const char *message) {
  fprintf(stderr, "bench_start: %s\n", message);
  clean();
  exit(1);
}

static void write_data(void) {
  static float pixels[ROWS * SIZE];
  struct spm_error error;
  long shape[] = {ROWS, SIZE};
  products_fill(pixels, ROWS * SIZE, 1, 1);
  if (spm_npy_write(data, SPM_F32, 2, shape, pixels, &error) != 0) fail(error.message);
}

static double read_data(void) {
  struct spm_table table;
  struct spm_check check;
  struct spm_error error;
  double start = bench_milliseconds();
  if (spm_table_read(&table, data, &error) != 0) fail(error.message);
  spm_table_check(&table, 0, 1, false, 0, &check);
  double spent = bench_milliseconds() - start;
  spm_table_free(&table);
  return spent;
}

/* Starts the program with its standard output in a pipe. */
static pid_t start(char *const *arguments, FILE **output) {
  int ends[2];
  pid_t child;
  posix_spawn_file_actions_t actions;
  if (pipe(ends) != 0) fail(strerror(errno));
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  int problem = posix_spawn(&child, arguments[0], &actions, NULL, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (problem != 0) fail(strerror(problem));
  if (!(*output = fdopen(ends[0], "r"))) fail(strerror(errno));
  return child;
}

/* The time to the first line with each of two beginnings. */
static void time_start(const char *program, const char *spec, double *compiled, double *stepped) {
  char option[80], line[512];
  snprintf(option, sizeof option, "x=%s", data);
  char *arguments[] = {(char *)program, "train", (char *)spec, "--data", option, "--seed", "1",
                       "--epochs",      "2",     "--out",      out,      NULL};
  FILE *output;
  *compiled = *stepped = 0;
  double began = bench_milliseconds();
  pid_t child = start(arguments, &output);
  while (*stepped == 0 && fgets(line, sizeof line, output)) {
    double now = bench_milliseconds() - began;
    if (strncmp(line, "compiled in", 11) == 0) *compiled = now;
    if (strncmp(line, "first step", 10) == 0) *stepped = now;
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  fclose(output);
  if (*stepped == 0) fail("the program ended before its first step");
  run_command((char *[]){"rm", "-rf", out, NULL});
}

int main(int argc, char **argv) {
  const char *program = getenv("SPMC") ? getenv("SPMC") : "build/spmc",
             *spec = argc > 1 ? argv[1] : "specs/laplace_vae.spm";
  double compiled[RUNS], stepped[RUNS], reading[RUNS];
  if (!mkdtemp(directory)) fail(strerror(errno));
  snprintf(data, sizeof data, "%s/data.npy", directory);
  snprintf(out, sizeof out, "%s/run", directory);
  write_data();
  time_start(program, spec, &compiled[0], &stepped[0]);
  double first = stepped[0];
  for (int i = 0; i < RUNS; i++) {
    time_start(program, spec, &compiled[i], &stepped[i]);
    reading[i] = read_data();
  }
  double read = bench_quantile(reading, RUNS, 0.5), median = bench_quantile(stepped, RUNS, 0.5);
  printf("from starting spmc train to its first finished step (%d rows, default threads), ms, median of %d\n", ROWS,
         RUNS);
  printf("  %-44s%9.1f   (the first time %.1f, fastest %.1f)\n", "whole", median, first,
         bench_quantile(stepped, RUNS, 0));
  printf("  %-44s%9.1f\n", "  until compiled and ready", bench_quantile(compiled, RUNS, 0.5));
  printf("  %-44s%9.1f\n", "  reading and checking the data", read);
  printf("  %-44s%9.1f   (wanted: below 50)\n", "without the data", median - read);
  clean();
  return 0;
}
