/* The progress line: where a run stands -> one line rewritten in place on a terminal, or a plain line now and then
 * where the output is piped. */
#include "report.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double live_pause = 0.1, plain_pause = 5; /* seconds between lines */

static double monotonic(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int terminal_width(FILE *out) {
  struct winsize size;
  if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char *columns = getenv("COLUMNS");
  long width = columns ? strtol(columns, NULL, 10) : 0;
  return width >= 20 && width <= 1000 ? (int)width : 80;
}

void report_progress_open(struct report_progress *progress, FILE *out, enum report_mode mode, long epochs, long steps,
                          double rows, long first_epoch) {
  const char *terminal = getenv("TERM"), *no_colour = getenv("NO_COLOR");
  memset(progress, 0, sizeof *progress);
  progress->out = out;
  progress->quiet = mode == REPORT_QUIET;
  progress->live =
      mode == REPORT_LIVE || (mode == REPORT_AUTO && isatty(fileno(out)) && terminal && strcmp(terminal, "dumb") != 0);
  progress->colour = progress->live && !(no_colour && no_colour[0]);
  progress->width = progress->live ? terminal_width(out) : 0;
  progress->epochs = epochs;
  progress->steps = steps;
  progress->rows = rows;
  progress->first_epoch = first_epoch;
  progress->clock = monotonic;
  progress->started = progress->epoch_started = progress->stepped =
      -1; /* taken at the first call, so that a test's clock is used */
  progress->shown = -INFINITY;
}

/* A line under construction; what does not fit is dropped. */
struct line {
  char text[1024];
  size_t length;
};

static void add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct line *line, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int added = vsnprintf(line->text + line->length, sizeof line->text - line->length, format, arguments);
  va_end(arguments);
  if (added > 0) line->length += (size_t)added;
  if (line->length >= sizeof line->text) line->length = sizeof line->text - 1;
}

static void add_values(struct line *line, const char *const *names, const double *values, int count) {
  for (int i = 0; i < count; i++) add(line, "  %s %s", names[i], spm_number_short(values[i]).text);
}

static void add_stage(struct line *line, const struct report_progress *progress) {
  if (progress->stage) add(line, "%s  ", progress->stage);
}

static int digits(long number) { return (int)strlen(spm_count(number).text); }

static void start_clock(struct report_progress *progress, double now) {
  if (progress->started < 0) progress->started = progress->epoch_started = now;
}

void report_progress_start(struct report_progress *progress) { start_clock(progress, progress->clock()); }

/* Steps still to do, from the place reached. */
static double steps_left(const struct report_progress *progress, long epoch, long step) {
  return (double)(progress->epochs - epoch) * (double)progress->steps - (double)step;
}

void report_progress_clear(struct report_progress *progress) {
  if (!progress->line_open) return;
  fputs("\r\033[K", progress->out);
  fflush(progress->out);
  progress->line_open = false;
}

static void show(struct report_progress *progress, const struct line *line, bool stays) {
  int length = (int)line->length;
  if (!progress->live) {
    fprintf(progress->out, "%s\n", line->text);
  } else if (stays) {
    report_progress_clear(progress);
    fprintf(progress->out, "%s\n", line->text);
  } else { /* cut to one line: a wrapped one could not be rewritten */
    if (length > progress->width - 1) length = progress->width - 1;
    fprintf(progress->out, "\r%s%.*s%s\033[K", progress->colour ? "\033[2m" : "", length, line->text,
            progress->colour ? "\033[0m" : "");
    progress->line_open = true;
  }
  fflush(progress->out);
}

static const double long_step = 1; /* seconds; of a shorter first one much is spent on what happens once */

/* Printed once, so that one sees at once whether a run will take minutes or days: after a first step that is long, else
 * after the second, whose time is the pace. */
static void show_first_steps(struct report_progress *progress, double now, long epoch, long step) {
  double seconds = now - progress->stepped;
  if (progress->steps_done == 1) progress->first_step = seconds;
  bool is_long = progress->first_step >= long_step;
  if (progress->steps_done != (is_long ? 1 : 2) || steps_left(progress, epoch, step) < 1) return;
  struct line line = {.length = 0};
  add_stage(&line, progress);
  add(&line, "first step %s", spm_duration(progress->first_step).text);
  if (!is_long) add(&line, ", second %s", spm_duration(seconds).text);
  add(&line, "; %s steps of %s rows to go: about %s at this pace",
      spm_count(llround(steps_left(progress, epoch, step))).text, spm_count(llround(progress->rows)).text,
      spm_duration(seconds * steps_left(progress, epoch, step)).text);
  show(progress, &line, true);
}

void report_progress_step(struct report_progress *progress, long epoch, long step, const char *const *names,
                          const double *values, int count) {
  struct line line = {.length = 0};
  double now = progress->clock();
  bool first = progress->steps_done++ == 0;
  bool timed = progress->started >= 0; /* the clock runs since before this step */
  start_clock(progress, now);
  if (first && timed) progress->stepped = progress->started;
  if (!progress->quiet && progress->stepped >= 0) show_first_steps(progress, now, epoch, step);
  if (progress->stepped >= 0) progress->stepped = now;
  if (progress->quiet) return;
  if (first && !progress->live) progress->shown = now; /* the line above is enough for a while */
  if (now - progress->shown < (progress->live ? live_pause : plain_pause)) return;
  if (!progress->live && step == progress->steps) return; /* the epoch's own line comes next */
  progress->shown = now;
  add_stage(&line, progress);
  add(&line, "epoch %*s/%s  step %*s/%s", digits(progress->epochs), spm_count(epoch + 1).text,
      spm_count(progress->epochs).text, digits(progress->steps), spm_count(step).text, spm_count(progress->steps).text);
  add_values(&line, names, values, count);
  double spent = now - progress->started;
  if (spent > 0) {
    double pace = (double)progress->steps_done / spent;
    add(&line, "  %s rows/s  ETA %s", spm_count(llround(pace * progress->rows)).text,
        spm_duration(steps_left(progress, epoch, step) / pace).text);
  }
  show(progress, &line, false);
}

void report_progress_epoch(struct report_progress *progress, long epochs_done, const char *const *names,
                           const double *values, int count) {
  struct line line = {.length = 0};
  double now = progress->clock();
  start_clock(progress, now);
  double spent = now - progress->epoch_started, all = now - progress->started;
  progress->epoch_started = now;
  progress->shown = now;
  if (progress->quiet) return;
  add_stage(&line, progress);
  add(&line, "epoch %*s/%s", digits(progress->epochs), spm_count(epochs_done).text, spm_count(progress->epochs).text);
  add_values(&line, names, values, count);
  add(&line, "  %s", spm_duration(spent).text);
  long done = epochs_done - progress->first_epoch;
  if (epochs_done < progress->epochs && done > 0)
    add(&line, "  ETA %s", spm_duration(all / (double)done * (double)(progress->epochs - epochs_done)).text);
  show(progress, &line, true);
}

void report_progress_close(struct report_progress *progress) {
  report_progress_clear(progress);
  if (progress->quiet || progress->started < 0) return;
  fprintf(progress->out, "%s steps in %s\n", spm_count(progress->steps_done).text,
          spm_duration(progress->clock() - progress->started).text);
  fflush(progress->out);
}
