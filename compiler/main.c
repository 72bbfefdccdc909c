/* spmc: the command line. Finds the command, and leaves the rest to its file (command_*.c). */
#include "command.h"

#include "runtime/blas.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const Command commands[] = {
    {"train", OPTION_DATA | OPTION_TRAIN | OPTION_DUMP | OPTION_SEED | OPTION_THREADS | OPTION_OVERRIDE, "MODEL.spm",
     "compile a model and train it on data",
     "Compiles MODEL.spm, trains it on the given files and leaves everything in the run directory:\n"
     "  config.json  model.spm  metrics.jsonl  metrics.csv  checkpoints/  model.safetensors  figures/\n"
     "\n"
     "NAME=VALUE replaces the value of a dim, let or schedule that is a number. A `dim D;` without a\n"
     "value is read off the data. Files of bytes given for `unit` data are read as byte / 255.\n"
     "An interrupted run (Ctrl-C, or SIGTERM) finishes its step and writes a checkpoint; the same\n"
     "command with --resume goes on from there, to the very same bytes as if it had never been stopped.\n"
     "It must have the same spec and the same data, whatever their files are called now.\n"
     "\n"
     "  spmc train laplace_vae.spm --data x=train.idx.gz --test x=test.idx.gz --out run K=32",
     command_train},
    {"eval", OPTION_DATA | OPTION_JSON | OPTION_SEED | OPTION_THREADS | OPTION_EACH, "RUN",
     "evaluate a trained model on data",
     "Evaluates the model in a run directory on whole files: sums over all rows, divided by their\n"
     "number, in nats a datum. With --each every row is evaluated by itself: a line of FILE for each,\n"
     "and beside the means the 10th, 50th and 90th percentile over the rows.\n"
     "\n"
     "  spmc eval run --data x=t10k-images.idx.gz",
     command_eval},
    {"encode", OPTION_DATA | OPTION_ROWS | OPTION_ALSO | OPTION_SEED | OPTION_THREADS, "RUN", "write the codes of data as .npy",
     "Writes NAME.npy into a directory for each latent of the model in a run directory: the mean of its\n"
     "posterior where that is known, else its value, for every row of the files, in their order, as\n"
     "floats.\n"
     "\n"
     "  spmc encode run --data x=t10k-images.idx.gz --out codes --also sd=q.sd --also cost=kl_each(z)",
     command_encode},
    {"reconstruct", OPTION_DATA | OPTION_ROWS | OPTION_SEED | OPTION_THREADS, "RUN",
     "write what the model makes of data as .npy",
     "Writes NAME.npy into a directory for each data declaration with a likelihood that has a mean:\n"
     "that mean, at the codes of each row of the files, in their order, as floats.\n"
     "\n"
     "  spmc reconstruct run --data x=t10k-images.idx.gz --out reconstructions",
     command_reconstruct},
    {"sample", OPTION_DATA | OPTION_ROWS | OPTION_SAMPLE | OPTION_SEED | OPTION_THREADS, "RUN",
     "draw from a trained model's priors, as .npy",
     "Writes NAME.npy into a directory for each latent of the model in a run directory, drawn from\n"
     "its prior, and for each data declaration the mean of its likelihood there (a draw where it\n"
     "declares none), as floats. Only data that the model is conditioned on, a class for instance, need\n"
     "a file: there is a draw for each of its rows. Without --seed it is the run's own.\n"
     "\n"
     "  spmc sample run --rows 100 --seed 3 --out samples",
     command_sample},
    {"check", OPTION_DATA | OPTION_DUMP | OPTION_JSON | OPTION_SEED | OPTION_OVERRIDE, "MODEL.spm",
     "check a model, or a library, without running it",
     "Reads MODEL.spm and reports every problem found. Needs no data: dims without a value are given a\n"
     "small one, or the file's with --data.\n"
     "Distributions and KL rules that the file declares are tested against themselves: density, sampler,\n"
     "entropy, mean, variance, derivatives, prox. A line for each says what was tested and how well it\n"
     "agreed; --seed chooses other settings and draws.\n"
     "\n"
     "  spmc check laplace_vae.spm --dump=check",
     command_check},
    {"explain", OPTION_DATA | OPTION_JSON | OPTION_OVERRIDE | OPTION_BATCH, "MODEL.spm",
     "say how each term is computed, and what a step costs",
     "Lists every term of the objective with the rule its expectation or KL is taken by (and why),\n"
     "latents, shapes, parameters, programs, the work of training a datum and the memory of a step.\n"
     "Needs no data.\n"
     "\n"
     "  spmc explain laplace_vae.spm --batch 512",
     command_explain},
    {"diagnose", OPTION_JSON | OPTION_SEED | OPTION_DUMP | OPTION_OVERRIDE | OPTION_ELEMENTS, "MODEL.spm",
     "check the gradient of every named tensor against differences",
     "Compares the derived gradient of each parameter with central differences of the objective in double\n"
     "precision, on invented data of the declared support, and the compiled code with the interpreter.\n"
     "Elements whose differences cross a kink (the corner of a relu, a jump) are counted and left out.\n"
     "\n"
     "  spmc diagnose laplace_vae.spm --seed 3",
     command_diagnose},
    {"emit", OPTION_DATA | OPTION_EMIT | OPTION_OVERRIDE, "MODEL.spm",
     "write a model as one C file that needs nothing else",
     "Writes MODEL.spm as one self-contained C99 file: the contract, the kernels it uses and one\n"
     "function a phase. Dims without a value are read off --data.\n"
     "The C compiler's -DSPM_NO_BLAS makes products in plain loops, -DSPM_REAL=double a build in double\n"
     "precision. With --lib, -DSPM_STATIC -DSPM_BATCH_ROWS=8 takes all memory when the program starts\n"
     "(NAME_static in the header), and -DSPM_TRAINING=0 leaves what only training needs out of it.\n"
     "The directory of a run in place of MODEL.spm, with --lib, adds the run's parameters and NAME_trained,\n"
     "which gives them to an instance.\n"
     "\n"
     "  spmc emit laplace_vae.spm --main -o model.c\n"
     "  cc -O3 -march=native model.c -lopenblas -lm -o model\n"
     "  ./model --data x=train.npy --epochs 5",
     command_emit},
    {NULL, 0, NULL, NULL, NULL, NULL},
};

static void print_help(void) {
  printf("usage: spmc COMMAND [OPTION...] [ARGUMENT...]\n\n"
         "spmc compiles sparse latent-variable models, written as .spm specs, and trains them.\n\n"
         "commands:\n");
  for (const Command *command = commands; command->name; command++)
    printf("  %-11s %s\n", command->name, command->summary);
  printf("\nspmc COMMAND --help says more about one. spmc --version prints the version and the BLAS in use.\n\n"
         "Exit codes: 0 fine, 1 an error in the spec, the data or the run, 2 wrong use of the command line,\n"
         "3 an error inside spmc itself; 130 and 143 when a run was stopped by SIGINT or SIGTERM.\n"
         "NO_COLOR in the environment switches colours off.\n");
}

static int print_version(void) {
  char problem[512];
  int status = spm_blas_open(SPM_OPENBLAS, problem, sizeof problem);
  printf("spmc %s\n", SPM_VERSION);
  if (status == 0)
    printf("BLAS: %s\n", spm_blas_name());
  else
    printf("BLAS: none (%s); products run in plain loops, many times slower\n", problem);
  if (spm_blas_open(SPM_ONEDNN, problem, sizeof problem) == 0)
    printf("with --blas=onednn: %s\n", spm_blas_name());
  else
    printf("with --blas=onednn: none (%s)\n", problem);
  return EXIT_FINE;
}

static int unknown_command(const char *word) {
  Suggestion nearest = {.name = word};
  for (const Command *command = commands; command->name; command++) suggestion_consider(&nearest, command->name);
  fprintf(stderr, "spmc: there is no command `%s`", word);
  if (nearest.best) fprintf(stderr, "; did you mean `%s`?", nearest.best);
  fprintf(stderr, "\nspmc --help lists the commands.\n");
  return EXIT_USAGE;
}

static int run_command(const Command *command, int argc, char **argv) {
  Arguments arguments;
  int code = arguments_parse(command, argc, argv, &arguments);
  if (code >= 0) return code;
  code = command->run(&arguments);
  if (fflush(stdout) != 0 || ferror(stdout)) {
    fprintf(stderr, "spmc: the output could not be written\n");
    return EXIT_USER;
  }
  return code;
}

int main(int argc, char **argv) {
  const char *word = argc > 1 ? argv[1] : "--help";
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like any other */
  if (argc < 2) {
    print_help();
    return EXIT_USAGE;
  }
  /* `spmc help train` and `spmc train --help` are the same. */
  if (strcmp(word, "help") == 0 && argc > 2) {
    argv[1] = argv[2];
    argv[2] = (char *)"--help";
    word = argv[1];
  }
  if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
    print_help();
    return EXIT_FINE;
  }
  if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) return print_version();
  for (const Command *command = commands; command->name; command++)
    if (strcmp(command->name, word) == 0) return run_command(command, argc - 1, argv + 1);
  return unknown_command(word);
}
