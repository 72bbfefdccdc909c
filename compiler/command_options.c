/* Options: the words after a command's name -> struct Arguments, or a message and an exit code. */
#include "command.h"

#include "runtime/blas.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  KEY_VALID = 256,
  KEY_TEST,
  KEY_EPOCHS,
  KEY_BATCH,
  KEY_SEED,
  KEY_THREADS,
  KEY_BLAS,
  KEY_RESUME,
  KEY_FORCE,
  KEY_JSON,
  KEY_EACH,
  KEY_ALSO,
  KEY_ROWS,
  KEY_COLOR,
  KEY_DUMP,
  KEY_ELEMENTS,
  KEY_PLAIN,
  KEY_MAIN,
  KEY_LIBRARY,
  KEY_HEADER
};

/* What a command has to accept for an option to be offered; 0: all do. */
static const struct {
  struct argp_option option;
  unsigned needs;
} all_options[] = {
    {{"data", 'd', "NAME=FILE", 0,
      "rows of a data declaration: IDX, .npy, .npz, safetensors or CSV, also .gz; FILE:KEY is one array of several; "
      "NAME= may be left out if there is only one",
      1},
     OPTION_DATA},
    {{"valid", KEY_VALID, "NAME=FILE", 0, "evaluate on these rows after each epoch", 1}, OPTION_TRAIN},
    {{"test", KEY_TEST, "NAME=FILE", 0, "evaluate on these rows at the end", 1}, OPTION_TRAIN},
    {{"out", 'o', "RUN", 0, "directory for everything the run leaves behind", 2}, OPTION_TRAIN},
    {{"out", 'o', "DIRECTORY", 0, "where NAME.npy goes for each variable", 2}, OPTION_ROWS},
    {{"output", 'o', "FILE", 0, "the C file to write; - is standard output", 2}, OPTION_EMIT},
    {{"main", KEY_MAIN, NULL, 0, "add a program that trains the model", 2}, OPTION_EMIT},
    {{"lib", KEY_LIBRARY, NULL, 0, "add functions for a host program, and write FILE.pc beside it", 2}, OPTION_EMIT},
    {{"header", KEY_HEADER, "FILE", 0, "write a header for C and C++, too", 2}, OPTION_EMIT},
    {{"epochs", KEY_EPOCHS, "N", 0, "passes over the data", 2}, OPTION_TRAIN},
    {{"batch", KEY_BATCH, "N", 0, "rows in a step; 0: all", 2}, OPTION_TRAIN | OPTION_BATCH},
    {{"resume", KEY_RESUME, NULL, 0, "go on from the run's last checkpoint", 2}, OPTION_TRAIN},
    {{"force", KEY_FORCE, NULL, 0, "write into a directory that already holds a run, or something else", 2},
     OPTION_TRAIN},
    {{"each", KEY_EACH, "FILE", 0, "write the numbers of each row as CSV, and print their quantiles, too", 2},
     OPTION_EACH},
    {{"also", KEY_ALSO, "NAME=EXPRESSION", 0,
      "write what an expression of the spec's names is for each row, too: --also sd=q.sd; may be repeated", 2},
     OPTION_ALSO},
    {{"rows", KEY_ROWS, "N", 0, "how many to draw where no file says it (default 64)", 2}, OPTION_SAMPLE},
    {{"seed", KEY_SEED, "S", 0, "of all random numbers; drawn, shown and recorded if not given", 3}, OPTION_SEED},
    {{"threads", KEY_THREADS, "N", 0, "threads to use; any number gives the same bytes", 3}, OPTION_THREADS},
    {{"blas", KEY_BLAS, "LIBRARY", 0,
      "where matrix products come from: openblas, or onednn, a tenth faster after a slower start", 3},
     OPTION_THREADS},
    {{"elements", KEY_ELEMENTS, "N", 0, "elements of each tensor to test (default 12)", 3}, OPTION_ELEMENTS},
    {{"dump", KEY_DUMP, "STAGE", 0, "print what leaves a stage of the compiler, and do no more; may be repeated", 4},
     OPTION_DUMP},
    {{"json", KEY_JSON, NULL, 0, "results and messages for programs", 4}, OPTION_JSON},
    {{"quiet", 'q', NULL, 0, "print errors and results only", 5}, 0},
    {{"plain", KEY_PLAIN, NULL, 0, "no line that rewrites itself", 5}, OPTION_TRAIN},
    {{"color", KEY_COLOR, "WHEN", 0, "auto, always or never", 5}, 0},
};
enum { ALL_OPTIONS = sizeof all_options / sizeof *all_options };

typedef struct Parsing {
  const Command *command;
  Arguments *arguments;
  int code; /* exit code of the first problem, or -1 */
} Parsing;

static bool accepts(const Command *command, int option) {
  return all_options[option].needs == 0 || (command->options & all_options[option].needs);
}

static int usage_error(Parsing *p, const char *format, ...) {
  va_list list;
  if (p->code >= 0) return 0;
  fprintf(stderr, "spmc %s: ", p->command->name);
  va_start(list, format);
  vfprintf(stderr, format, list);
  va_end(list);
  fprintf(stderr, "\nspmc %s --help says more.\n", p->command->name);
  p->code = EXIT_USAGE;
  return 0;
}

/* ---- single values ------------------------------------------------------------------------------------------- */

static long read_long(Parsing *p, const char *option, const char *text, long least) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (end == text || *end || errno || value < least || value > 1000000000000)
    usage_error(p, "--%s takes a whole number of at least %ld, not `%s`", option, least, text);
  return value;
}

static void read_seed(Parsing *p, const char *text) {
  char *end;
  errno = 0;
  p->arguments->seed = strtoull(text, &end, 10);
  p->arguments->seed_given = true;
  if (text[0] < '0' || text[0] > '9' || *end || errno)
    usage_error(p, "--seed takes a whole number from 0 to 18446744073709551615, not `%s`", text);
}

static void read_file(Parsing *p, const char *option, char *text, NamedFile *files, int *count) {
  char *equals = strchr(text, '=');
  /* "x=FILE"; a '=' further on, after a slash or a dot, belongs to a path. */
  size_t word = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  bool named = equals && equals == text + word;
  const char *path = named ? equals + 1 : text;
  if (*count == MAX_FILES) {
    usage_error(p, "--%s was given more than %d times", option, MAX_FILES);
    return;
  }
  if (!path[0] || (named && word == 0)) {
    usage_error(p, "--%s takes NAME=FILE, not `%s`", option, text);
    return;
  }
  if (named) *equals = '\0';
  const char *name = named ? text : "";
  for (int i = 0; i < *count; i++)
    if (strcmp(files[i].name, name) == 0)
      usage_error(p, named ? "--%s was given twice for %s" : "--%s was given twice without a name%s", option,
                  named ? name : ": write --data NAME=FILE for each file");
  files[(*count)++] = (NamedFile){name, path};
}

static void read_override(Parsing *p, char *text, char *equals) {
  Arguments *a = p->arguments;
  char *end;
  errno = 0;
  double value = strtod(equals + 1, &end);
  if (end == equals + 1 || *end || errno || !isfinite(value)) {
    usage_error(p, "%s: a value on the command line is a number", text);
    return;
  }
  if (a->override_count == MAX_OVERRIDES) {
    usage_error(p, "more than %d values were given", MAX_OVERRIDES);
    return;
  }
  *equals = '\0';
  for (int i = 0; i < a->override_count; i++)
    if (strcmp(a->overrides[i].name, text) == 0) usage_error(p, "%s was given two values", text);
  a->overrides[a->override_count++] = (Override){text, value};
}

static void read_also(Parsing *p, const char *text) {
  Arguments *a = p->arguments;
  size_t word = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
  if (word == 0 || word > 60 || text[word] != '=' || !text[word + 1])
    usage_error(p, "--also takes NAME=EXPRESSION, not `%s`", text);
  else if (a->also_count == MAX_ALSO)
    usage_error(p, "--also was given more than %d times", MAX_ALSO);
  else
    a->also[a->also_count++] = text;
}

static void read_color(Parsing *p, const char *text) {
  if (strcmp(text, "always") == 0)
    p->arguments->color = true;
  else if (strcmp(text, "never") == 0)
    p->arguments->color = false;
  else if (strcmp(text, "auto") != 0)
    usage_error(p, "--color is auto, always or never, not `%s`", text);
}

static void read_blas(Parsing *p, const char *text) {
  p->arguments->blas = strchr(text, ' ') ? -1 : spm_blas_of_name(text);
  if (p->arguments->blas < 0) usage_error(p, "--blas is openblas or onednn, not `%s`", text);
}

static void read_dump(Parsing *p, const char *text) {
  Suggestion nearest = {.name = text};
  for (const char *const *stage = dump_stages; *stage; stage++) {
    suggestion_consider(&nearest, *stage);
    if (strcmp(*stage, text) != 0) continue;
    if (p->arguments->dump_count < MAX_DUMPS) p->arguments->dumps[p->arguments->dump_count++] = text;
    return;
  }
  char stages[256] = "";
  for (const char *const *stage = dump_stages; *stage; stage++)
    snprintf(stages + strlen(stages), sizeof stages - strlen(stages), "%s%s", stage == dump_stages ? "" : ", ", *stage);
  if (nearest.best)
    usage_error(p, "there is no stage `%s`; did you mean `%s`? Stages: %s", text, nearest.best, stages);
  else
    usage_error(p, "there is no stage `%s`. Stages: %s", text, stages);
}

static void read_word(Parsing *p, char *text) {
  char *equals = strchr(text, '=');
  if (equals && (p->command->options & OPTION_OVERRIDE) && p->arguments->target)
    read_override(p, text, equals);
  else if (p->arguments->target)
    usage_error(p, "one %s is enough: `%s` and `%s` were given", p->command->arguments, p->arguments->target, text);
  else
    p->arguments->target = text;
}

/* ---- argp ---------------------------------------------------------------------------------------------------- */

static error_t parse_option(int key, char *text, struct argp_state *state) {
  Parsing *p = state->input;
  Arguments *a = p->arguments;
  switch (key) {
  case 'd': read_file(p, "data", text, a->data, &a->data_count); break;
  case KEY_VALID: read_file(p, "valid", text, a->valid, &a->valid_count); break;
  case KEY_TEST: read_file(p, "test", text, a->test, &a->test_count); break;
  case 'o': a->out = text; break;
  case KEY_EPOCHS: a->epochs = read_long(p, "epochs", text, 1); break;
  case KEY_BATCH: a->batch = read_long(p, "batch", text, 0); break;
  case KEY_MAIN: a->with_main = true; break;
  case KEY_LIBRARY: a->with_library = true; break;
  case KEY_HEADER: a->header = text; break;
  case KEY_RESUME: a->resume = true; break;
  case KEY_FORCE: a->force = true; break;
  case KEY_SEED: read_seed(p, text); break;
  case KEY_THREADS: a->threads = read_long(p, "threads", text, 1); break;
  case KEY_BLAS: read_blas(p, text); break;
  case KEY_ELEMENTS: a->elements = read_long(p, "elements", text, 1); break;
  case KEY_DUMP: read_dump(p, text); break;
  case KEY_JSON: a->json = true; break;
  case KEY_EACH: a->each = text; break;
  case KEY_ALSO: read_also(p, text); break;
  case KEY_ROWS: a->rows = read_long(p, "rows", text, 1); break;
  case 'q': a->quiet = true; break;
  case KEY_PLAIN: a->plain = true; break;
  case KEY_COLOR: read_color(p, text); break;
  case ARGP_KEY_ARG: read_word(p, text); break;
  default: return ARGP_ERR_UNKNOWN;
  }
  return 0;
}

/* The option that `word` names: exactly, or as the beginning of one only. -1: none. */
static int find_option(const Command *command, const char *word, size_t length) {
  int found = -1, matches = 0;
  for (int i = 0; i < ALL_OPTIONS; i++) {
    const char *name = all_options[i].option.name;
    if (!accepts(command, i) || strncmp(name, word, length) != 0) continue;
    if (name[length] == '\0') return i;
    found = i;
    matches++;
  }
  return matches == 1 ? found : -1;
}

/* getopt's message for an unknown option has no suggestion, so they are looked at first. Text after an option that
 * wants some is skipped; "--" ends the options. */
static void check_options(Parsing *p, int argc, char **argv) {
  for (int i = 1; i < argc && p->code < 0; i++) {
    const char *word = argv[i];
    if (strcmp(word, "--") == 0) return;
    if (word[0] != '-' || !word[1]) continue;
    if (word[1] != '-') {
      bool known = strchr("?q", word[1]) || ((word[1] == 'd') && (p->command->options & OPTION_DATA)) ||
                   ((word[1] == 'o') && (p->command->options & OPTION_OUT));
      if (!known) usage_error(p, "there is no option `%s`", word);
      if ((word[1] == 'd' || word[1] == 'o') && !word[2]) i++;
      continue;
    }
    size_t length = strcspn(word + 2, "=");
    if (length > 0 && (strncmp(word + 2, "help", length) == 0 || strncmp(word + 2, "usage", length) == 0)) continue;
    int option = find_option(p->command, word + 2, length);
    if (option >= 0) {
      if (all_options[option].option.arg && !word[2 + length]) i++;
      continue;
    }
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)length, word + 2);
    Suggestion nearest = {.name = name};
    for (int o = 0; o < ALL_OPTIONS; o++)
      if (accepts(p->command, o)) suggestion_consider(&nearest, all_options[o].option.name);
    if (nearest.best)
      usage_error(p, "there is no option '--%s'; did you mean '--%s'?", name, nearest.best);
    else
      usage_error(p, "there is no option '--%s'", name);
  }
}

static void check_combination(Parsing *p) {
  Arguments *a = p->arguments;
  bool train = p->command->options & OPTION_TRAIN;
  if (!a->target) usage_error(p, "%s is missing", p->command->arguments);
  if (train && a->dump_count == 0 && !a->out) usage_error(p, "--out RUN is missing: where the run's files go");
  if (train && a->dump_count == 0 && a->data_count == 0) usage_error(p, "--data NAME=FILE is missing");
  bool rows = p->command->options & OPTION_ROWS;
  if (rows && !a->out) usage_error(p, "--out DIRECTORY is missing: where NAME.npy goes");
  bool draws = p->command->options & OPTION_SAMPLE;
  if (draws && a->rows >= 0 && a->data_count > 0)
    usage_error(p, "there are as many draws as the files have rows: --rows goes without --data");
  if ((rows || strcmp(p->command->name, "eval") == 0) && a->data_count == 0 && !draws)
    usage_error(p, "--data NAME=FILE is missing");
  bool emit = p->command->options & OPTION_EMIT;
  if (emit && !a->out) usage_error(p, "-o FILE is missing: where the C goes");
  if (emit && a->with_main && a->with_library)
    usage_error(p, "--main makes a program and --lib a part of one: give one of them");
  if (a->resume && a->force) usage_error(p, "--resume goes on with a run and --force begins it anew: give one of them");
}

int arguments_parse(const Command *command, int argc, char **argv, Arguments *arguments) {
  Parsing p = {command, arguments, -1};
  *arguments = (Arguments){
      .command = command->name, .epochs = -1, .batch = -1, .threads = -1, .elements = -1, .rows = -1, .blas = -1};
  const char *no_color = getenv("NO_COLOR");
  arguments->color = isatty(STDERR_FILENO) && !(no_color && no_color[0]);
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "-h") == 0) argv[i] = (char *)"--help"; /* argp knows -? only */
  check_options(&p, argc, argv);
  if (p.code >= 0) return p.code;
  struct argp_option offered[ALL_OPTIONS + 1] = {{0}};
  int count = 0;
  for (int i = 0; i < ALL_OPTIONS; i++)
    if (accepts(command, i)) offered[count++] = all_options[i].option;
  char usage[64], help[1536], name[64];
  bool overrides = command->options & OPTION_OVERRIDE;
  snprintf(usage, sizeof usage, "%s%s", command->arguments, overrides ? " [NAME=VALUE...]" : "");
  snprintf(help, sizeof help, "%s\v%s", command->summary, command->help);
  snprintf(name, sizeof name, "spmc %s", command->name);
  struct argp argp = {.options = offered, .parser = parse_option, .args_doc = usage, .doc = help};
  setenv("ARGP_HELP_FMT", "rmargin=100,opt-doc-col=26,no-dup-args-note", 0);
  argp_err_exit_status = EXIT_USAGE;
  argv[0] = name; /* what argp calls the program in its messages */
  if (argp_parse(&argp, argc, argv, 0, NULL, &p) != 0 && p.code < 0) return EXIT_USAGE;
  argv[0] = (char *)command->name;
  if (p.code < 0) check_combination(&p);
  return p.code;
}
