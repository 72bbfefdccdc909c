/* What a run leaves behind and what it shows while it lasts: the run directory, config.json, metrics.jsonl and
 * metrics.csv, and the progress line. Measured values -> files and lines for people and programs. */
#ifndef SPM_REPORT_H
#define SPM_REPORT_H

#include "error.h"
#include "words.h"

#include <stdbool.h>
#include <stdio.h>

/* --- Run directory ------------------------------------------------------------------------------------------------ */

enum report_directory {
  REPORT_DIRECTORY_NEW = 0,    /* made now, or empty */
  REPORT_DIRECTORY_OURS = 1,   /* holds a run of ours: a config.json that says so */
  REPORT_DIRECTORY_FOREIGN = 2 /* holds something else, and `force` was given */
};

/* Makes RUN, RUN/checkpoints and RUN/figures. A path that is a file is refused; so is a directory that holds something
 * other than a run of ours, unless `force`. Nothing is deleted. Returns what was found, or -1 with an error. */
int report_directory_open(const char *path, bool force, struct spm_error *error);
/* One program at a time writes into a run. Until the file descriptor that is returned is closed, or the process ends,
 * others get an error, -1. */
int report_directory_lock(const char *path, struct spm_error *error);
/* A run begins anew: what an earlier one left there, and would pass for this one's if it were stopped, is deleted: the
 * model and the checkpoint. */
int report_directory_forget(const char *path, struct spm_error *error);

/* --- config.json -------------------------------------------------------------------------------------------------- */

enum report_kind { REPORT_TEXT, REPORT_NUMBER, REPORT_WHOLE, REPORT_FLAG };

struct report_setting {
  const char *name;
  enum report_kind kind;
  const char *text; /* REPORT_TEXT */
  double number;    /* REPORT_NUMBER; what is not finite is written as null */
  long long whole;  /* REPORT_WHOLE, and REPORT_FLAG: 0 or 1 */
  bool is_default;  /* listed under "defaults" as well */
};

/* RUN/config.json, whole or not at all: {"spmc": VERSION, "settings": {...in the order given...}, "defaults": [...]}.
 */
int report_config_write(const char *directory, const char *version, const struct report_setting *settings, int count,
                        struct spm_error *error);
/* "  epochs = 20 (default)" for each setting: the echo of a run. */
void report_config_print(FILE *out, const struct report_setting *settings, int count);

/* --- metrics.jsonl, metrics.csv --------------------------------------------------------------------------------- */

struct report_metrics {
  FILE *jsonl, *csv;
  char *directory;
  const char *stage; /* the caller's: what the first column says, in words, and not values[0]; NULL: it is a number */
  char **names;
  int count;
};

/* Opens both files with one column a name. `keep` rows of earlier files are kept and the rest is cut off: 0 begins
 * anew; a run resumed from the checkpoint of epoch n keeps n rows. It is an error if fewer are there or the columns
 * differ. */
int report_metrics_open(struct report_metrics *metrics, const char *directory, const char *const *names, int count,
                        long keep, struct spm_error *error);
/* One row in each, flushed. Numbers are the shortest that read back as the same double; a value that is not finite is
 * null in JSON and nan, inf or -inf in CSV. */
int report_metrics_row(struct report_metrics *metrics, const double *values, struct spm_error *error);
/* Closes both; -1 if the system reports a failure only now. Does nothing when closed already. */
int report_metrics_close(struct report_metrics *metrics, struct spm_error *error);

/* --- Progress ----------------------------------------------------------------------------------------------------- */

enum report_mode { REPORT_AUTO, REPORT_PLAIN, REPORT_LIVE, REPORT_QUIET };

struct report_progress {
  FILE *out;
  bool live, colour, quiet; /* live: one line rewritten in place; otherwise lines now and then */
  int width;                /* columns of the terminal */
  long epochs, steps;       /* in all, and in an epoch */
  double rows;              /* in a step */
  double (*clock)(void);    /* seconds; may be replaced by a test */
  double started, shown, epoch_started;
  double first_step, stepped; /* how long it took; when the last one ended, or -1: nobody knows */
  const char *stage; /* of several, or NULL: stands before the epoch */
  long first_epoch;  /* where this process began (a resumed run does not begin at 0) */
  long steps_done;   /* by this process */
  bool line_open;    /* an unfinished live line stands on the terminal */
};

/* REPORT_AUTO: live where `out` is a terminal that can rewrite a line (TERM is set and not "dumb"). Colours only where
 * live and NO_COLOR is not set. */
void report_progress_open(struct report_progress *progress, FILE *out, enum report_mode mode, long epochs, long steps,
                          double rows, long first_epoch);
/* Starts the clock, just before the first step. */
void report_progress_start(struct report_progress *progress);
/* After each step; epoch and step count completed ones in this epoch, from 0 and from 1. names[i] = values[i] are the
 * objective and its terms. Shows at most ten lines a second live, one in five seconds otherwise. After the first
 * steps of the process their time and the projected total are printed once. */
void report_progress_step(struct report_progress *progress, long epoch, long step, const char *const *names,
                          const double *values, int count);
/* After each epoch (the number of completed ones): a line that stays. */
void report_progress_epoch(struct report_progress *progress, long epochs_done, const char *const *names,
                           const double *values, int count);
/* Clears an unfinished live line, so that something else can be printed. */
void report_progress_clear(struct report_progress *progress);
/* Clears, and prints the whole time. */
void report_progress_close(struct report_progress *progress);

#endif
