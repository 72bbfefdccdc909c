/* The command line: words -> a compiled model, a run, a table of results. Only main.c and the command files print to
 * the terminal or decide exit codes; everything under them is a library. */
#ifndef SPM_COMMAND_H
#define SPM_COMMAND_H

#include "compiler.h"

#include "runtime/data.h"
#include "runtime/error.h"

#include <argp.h>

enum { EXIT_FINE = 0, EXIT_USER = 1, EXIT_USAGE = 2, EXIT_INTERNAL = 3 };

enum { MAX_FILES = 32, MAX_OVERRIDES = 64, MAX_DUMPS = 8, MAX_ALSO = 32 };

typedef struct NamedFile { /* --data x=FILE */
  const char *name, *path;
} NamedFile;

typedef struct Arguments { /* of all commands; each accepts those it lists */
  const char *command;
  const char *target; /* MODEL.spm or RUN */
  NamedFile data[MAX_FILES], valid[MAX_FILES], test[MAX_FILES];
  int data_count, valid_count, test_count;
  Override overrides[MAX_OVERRIDES];
  int override_count;
  const char *dumps[MAX_DUMPS];
  int dump_count;
  const char *out;
  long epochs, batch, threads, elements, rows; /* -1: not given */
  int blas;                                    /* enum spm_blas; -1: not given */
  bool seed_given;
  unsigned long long seed;
  bool resume, force, json, quiet, plain;
  bool with_main, with_library; /* emit */
  const char *header;
  const char *each; /* eval */
  const char *also[MAX_ALSO]; /* encode: NAME=EXPRESSION */
  int also_count;
  bool color;       /* of messages, decided from --color, NO_COLOR and whether stderr is a terminal */
} Arguments;

/* Which options a command accepts (command_options.c). */
enum {
  OPTION_DATA = 1,
  OPTION_TRAIN = 2, /* --valid --test --out --epochs --batch --resume --force */
  OPTION_DUMP = 4,
  OPTION_JSON = 8,
  OPTION_SEED = 16,
  OPTION_THREADS = 32,  /* --threads --blas */
  OPTION_OVERRIDE = 64, /* NAME=VALUE */
  OPTION_ELEMENTS = 128,
  OPTION_BATCH = 256,
  OPTION_EMIT = 512,  /* --out FILE --main --lib --header */
  OPTION_ROWS = 1024, /* --out DIRECTORY */
  OPTION_EACH = 2048,
  OPTION_SAMPLE = 4096, /* --rows */
  OPTION_ALSO = 8192,
  OPTION_OUT = OPTION_TRAIN | OPTION_EMIT | OPTION_ROWS
};

typedef struct Command {
  const char *name;
  unsigned options;
  const char *arguments; /* "MODEL.spm", for --help */
  const char *summary;   /* one line */
  const char *help;      /* the rest of `spmc COMMAND --help` */
  int (*run)(const Arguments *);
} Command;
extern const Command commands[]; /* ends with a name of NULL */

/* Parses what stands after the command's name. Returns an exit code, or -1 to go on; *done: --help was answered. */
int arguments_parse(const Command *, int argc, char **argv, Arguments *);

int command_train(const Arguments *);
int command_eval(const Arguments *);
int command_encode(const Arguments *);
int command_reconstruct(const Arguments *);
int command_sample(const Arguments *);
int command_check(const Arguments *);
int command_diagnose(const Arguments *);
int command_explain(const Arguments *);
int command_emit(const Arguments *);

/* ---- messages (command_model.c) -------------------------------------------------------------------------------- */

/* "spmc: error: ..." on stderr; returns EXIT_USER. */
int fail_user(const Arguments *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* -1; or the exit code after saying that a file which is to be written is one that the command has read. */
int fail_if_read(const Arguments *, const Compilation *, const char *path);
/* "spmc: internal error: ..." and how to report it; returns EXIT_INTERNAL. */
int fail_internal(const Arguments *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What the compilation has to say and has not said yet; with --json an array on standard output. */
void print_diagnostics(const Arguments *, Compilation *);
/* Prints them and returns the exit code of a compilation with errors. */
int fail_diagnostics(const Arguments *, Compilation *);

/* ---- data (command_data.c) ------------------------------------------------------------------------------------- */

/* The files of one data set, read whole. */
typedef struct DataSet {
  const NamedFile *files;
  int count;
  struct spm_table tables[MAX_FILES];
} DataSet;

int dataset_read(const Arguments *, const NamedFile *files, int count, DataSet *); /* exit code or -1 */
void dataset_free(DataSet *);
/* Row shapes, for `dim D;`. */
int dataset_shapes(const DataSet *, DataShape *shapes);

/* ---- models (command_model.c) ---------------------------------------------------------------------------------- */

struct spm_model;
struct spm_host;
struct spm_rows;
typedef struct Loaded { /* a spec on its way to a callable */
  Compilation *compilation;
  Model *model;
  Jit *jit;
  const struct spm_model *descriptor;
  const bool *needed; /* data that must have a file; NULL: all but those that may be missing */
  double compile_seconds;
} Loaded;

/* Reads and checks the spec, printing what there is to say. Exit code, or -1 to go on. Frees nothing on failure:
 * loaded_free does. */
int loaded_check(const Arguments *, const char *path, const CompileOptions *, Loaded *);
int loaded_dump(const Arguments *, Loaded *);
int loaded_compile(const Arguments *, Loaded *, bool use_double);
/* A spec, with the data that are named, checked and handed on; then all is freed. The exit code. command_data.c */
int with_spec(const Arguments *, bool invent_dims, int (*finish)(const Arguments *, Loaded *));
/* Where values are not finite: what could not be proved of the values that distributions are given. */
void loaded_suggest_supports(const Loaded *);
void loaded_free(Loaded *);

/* Pairs a data set with the model's declarations (array of data_count tables, the caller's) and checks shapes, numbers
 * of rows and declared ranges, citing file and declaration. Exit code, or -1 to go on. */
int loaded_bind(const Arguments *, Loaded *, const DataSet *, const char *option, const struct spm_table **tables,
                struct spm_rows *rows);

int command_threads(const Arguments *); /* without --threads as many as there are processors for this process */
/* Before any thread runs. Without --blas that of a run that goes on (its name), else OpenBLAS, with a warning if there
 * is none. Exit code, or -1 to go on. */
int open_blas(const Arguments *, const char *of_run);

/* ---- results ----------------------------------------------------------------------------------------------------- */

struct spm_columns;
/* "  elbo   -243.12" for each column. */
void print_results(const struct spm_columns *, const double *means);
/* What a column's values are over the rows, one by one. */
enum { SPREAD_POINTS = 3 };
extern const double spread_points[SPREAD_POINTS]; /* which quantiles: .1, .5, .9 */
typedef struct Spread {
  double mean, at[SPREAD_POINTS];
} Spread;
void print_spreads(const struct spm_columns *, const Spread *);
void print_spreads_json(const struct spm_columns *, const Spread *, long rows, unsigned long long seed);
void print_results_json(const struct spm_columns *, const double *means, long rows, unsigned long long seed);
/* figures/ of a run: reconstructions of test rows, dictionaries of 2-D parameters. Problems are told, not fatal. */
void draw_figures(const Arguments *, Loaded *, struct spm_host *, const struct spm_rows *, const char *directory);
/* figures/NAME.png: a column of the run's metrics by epoch, with that of the validation rows. */
void draw_curve(const Arguments *, const char *directory, const char *name);

#endif
