/* Random well-typed specs (random_spec.c) through the whole compiler: every program's every output, as the interpreter
 * evaluates it before and after simplification, as libtcc's strips compute it, and as the emitted file does, compiled
 * by gcc and by tcc. All in double, so that they agree but for rounding.
 *
 * test_fuzz [FIRST COUNT [PROCESSES]]: without arguments a few dozen specs; `make fuzz` runs 2,000 and wants every op
 * reached. A spec that fails is left in fuzz-NUMBER.spm; one where rounding decides a comparison cannot fail by its
 * numbers and is counted. Prints how often each op was reached. */
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compiler/compiler.h"
#include "compiler/front.h"
#include "random_spec.h"
#include "runtime/model.h"

#include "../random_graph.h"
#include "../reference_driver.h"

enum { ROWS = 5, TILE = 2, FEW = 24, MANY = 2000, ENOUGH = 20 };
static const double tolerance = 1e-8;

enum { MOST_PROCESSES = 256 };

/* What a process finds out; shared with the one that started it. */
typedef struct Tally {
  long reached[OP_COUNT];
  int failures;
  int undecided;              /* specs that disagreed where rounding decides a comparison */
  unsigned long long current; /* the spec it is at */
} Tally;
static Tally *tally;

typedef struct Case {
  unsigned long long number;
  char *text;
  Compilation *c;
  Model *model;
  RandomInputs *inputs;
  bool failed, undecided;
  /* The program that is being looked at, if any, and whether rounding decides what comes out of it. */
  const Graph *graph;
  const Evaluation *evaluation;
  enum { NOT_ASKED, SOUND, TIED } rounding;
} Case;

static bool rounding_decides(Case *k);
static void fails(Case *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fails(Case *k, const char *format, ...) {
  char path[64];
  va_list list;
  if (k->graph && k->rounding == NOT_ASKED) k->rounding = rounding_decides(k) ? TIED : SOUND;
  if (k->graph && k->rounding == TIED) {
    if (!k->undecided) printf("spec %llu: undecided, a comparison of equals\n", k->number), tally->undecided++;
    k->undecided = true;
    return;
  }
  if (!k->failed) {
    snprintf(path, sizeof path, "fuzz-%llu.spm", k->number);
    FILE *out = fopen(path, "w");
    if (out) fputs(k->text, out), fclose(out);
    tally->failures++;
  }
  k->failed = true;
  printf("spec %llu: ", k->number);
  va_start(list, format);
  vprintf(format, list);
  va_end(list);
  printf("\n");
}

/* ---- inputs -------------------------------------------------------------------------------------------------- */

static double between(Random *r, double low, double high) { return random_between(r, low, high); }

static double some_value(Random *r, const Facts *facts) {
  bool below = isfinite(facts->low), above = isfinite(facts->high);
  double low = below ? facts->low : -2, high = above ? facts->high : low + 4;
  if (facts->integer) return low + random_below(r, (int)(high - low) + 1);
  return between(r, below ? low + 0.05 * (high - low) : low, above ? high - 0.05 * (high - low) : high);
}

/* Some ones in each line of data that are subsets. */
static void put_members(Case *k, Random *r) {
  const Signature *s = model_signature(k->model);
  for (int d = 0; d < s->data_count; d++) {
    const long most = s->data[d].most, size = shape_size(&s->data[d].shape);
    for (long row = 0; most && row < ROWS; row++)
      for (long i = random_below(r, (int)most + 1); i > 0; i--)
        k->inputs->data[d][row * size + random_below(r, (int)size)] = 1;
  }
}

/* Data within their declarations, states off their start, parameters off their initial values: nothing on a kink. */
static void make_inputs(Case *k) {
  const Signature *s = model_signature(k->model);
  Random r = {k->number + 77};
  k->inputs = random_inputs(k->c, s, k->number, ROWS);
  for (int d = 0; d < s->data_count; d++) {
    long size = ROWS * shape_size(&s->data[d].shape), n = s->data[d].categories;
    const long most = s->data[d].most;
    for (long i = 0; i < size; i++) k->inputs->data[d][i] = n || most ? 0 : some_value(&r, &s->data[d].facts);
    for (long i = 0; n && i < size; i += n) k->inputs->data[d][i + random_below(&r, (int)n)] = 1;
  }
  put_members(k, &r);
  for (int i = 0; i < s->state_count; i++)
    for (long e = 0; e < shape_size(&s->states[i].shape); e++)
      k->inputs->states[i][e] = s->states[i].start + between(&r, 0.1, 0.5);
  const Graph *start = model_graph(k->model, PROGRAM_INITIALISE);
  Evaluation *values = start ? interpret(start, &k->inputs->bindings) : NULL;
  for (int i = 0; values && i < start->output_count; i++) {
    const Output *o = &start->outputs[i];
    if (o->role != OUTPUT_INITIAL) continue;
    for (long e = 0; e < shape_size(&s->parameters[o->index].shape); e++)
      k->inputs->parameters[o->index][e] = values->values[o->value->id][e] + between(&r, -0.1, 0.1);
  }
  if (values) evaluation_free(values, start);
}

/* ---- comparisons --------------------------------------------------------------------------------------------- */

/* Relative to the largest number of the value; where one has an infinity or NaN, so must the other. */
static bool agree(const double *a, const double *b, long size, double *worst) {
  double largest = 1;
  *worst = 0;
  for (long i = 0; i < size; i++)
    if (isfinite(b[i])) largest = fmax(largest, fabs(b[i]));
  for (long i = 0; i < size; i++) {
    if ((isnan(a[i]) && isnan(b[i])) || a[i] == b[i]) continue;
    double off = fabs(a[i] - b[i]) / largest;
    if (!(off <= *worst)) *worst = off;
    if (isnan(off)) break;
  }
  return *worst <= tolerance;
}

/* Parameters, states and numbers of the data by a few roundings off. */
static void nudge_inputs(Case *k, Random *r) {
  const Signature *s = model_signature(k->model);
  for (int i = 0; i < s->parameter_count; i++)
    for (long e = 0; e < shape_size(&s->parameters[i].shape); e++)
      k->inputs->parameters[i][e] *= 1 + between(r, -1e-12, 1e-12);
  for (int i = 0; i < s->state_count; i++)
    for (long e = 0; e < shape_size(&s->states[i].shape); e++) k->inputs->states[i][e] *= 1 + between(r, -1e-12, 1e-12);
  for (int d = 0; d < s->data_count; d++)
    for (long e = 0; e < ROWS * shape_size(&s->data[d].shape); e++)
      if (!s->data[d].facts.integer) k->inputs->data[d][e] *= 1 + between(r, -1e-12, 1e-12);
}

/* The constants that are no whole numbers, too; back: as they were. */
static void nudge_constants(const Graph *g, Random *r, double *kept, bool back) {
  for (int i = 0; i < g->count; i++) {
    Node *node = g->nodes[i];
    if (node->op != IR_constant) continue;
    if (back) {
      node->number = kept[i];
    } else {
      kept[i] = node->number;
      if (node->number != floor(node->number)) node->number *= 1 + between(r, -1e-12, 1e-12);
    }
  }
}

/* Is there an output that moves far when inputs and constants move by next to nothing? Then equals are compared, as the
 * mean of equal numbers and one of them, the largest of equal numbers is asked for, or 5 is cut to a whole number: two
 * right ways of computing it may differ in what comes out, too. */
static bool rounding_decides(Case *k) {
  Random r = {k->number + 99};
  bool moved = false;
  double *constants = arena_array(k->c, double, k->graph->count);
  for (int round = 0; round < 32 && !moved; round++) {
    nudge_inputs(k, &r);
    nudge_constants(k->graph, &r, constants, false);
    Evaluation *e = interpret(k->graph, &k->inputs->bindings);
    for (int i = 0; i < k->graph->output_count && !moved; i++) {
      double worst;
      const Node *value = k->graph->outputs[i].value;
      moved =
          !agree(e->values[value->id], k->evaluation->values[value->id], node_extent(k->graph, value, ROWS), &worst);
    }
    evaluation_free(e, k->graph);
    nudge_constants(k->graph, &r, constants, true);
    make_inputs(k);
  }
  return moved;
}

static void count_ops(const Graph *g) {
  for (int i = 0; i < g->count; i++) {
    tally->reached[g->nodes[i]->op]++;
    if (g->nodes[i]->body) count_ops(g->nodes[i]->body);
  }
}

/* The graph before simplification gives the same. */
static void check_simplified(Case *k, ProgramKind program, const Graph *g, const Evaluation *e) {
  Graph *plain = derive(k->model, program);
  if (plain && program == PROGRAM_TRAIN) add_gradients(k->model, plain);
  if (!plain || plain->output_count != g->output_count) {
    fails(k, "%s: simplification changed the outputs", g->name);
    return;
  }
  Evaluation *before = interpret(plain, &k->inputs->bindings);
  for (int i = 0; i < g->output_count; i++) {
    double worst;
    const Node *a = plain->outputs[i].value, *b = g->outputs[i].value;
    if (!agree(before->values[a->id], e->values[b->id], node_extent(g, b, ROWS), &worst))
      fails(k, "%s: %s is %g apart before and after simplification", g->name, g->outputs[i].name, worst);
  }
  evaluation_free(before, plain);
}

static void check_program(Case *k, ProgramKind program, const Graph *g, Jit *const *jits, const char *const *how,
                          int count) {
  Evaluation *e = interpret(g, &k->inputs->bindings);
  k->graph = g, k->evaluation = e, k->rounding = NOT_ASKED;
  check_simplified(k, program, g, e);
  for (int j = 0; j < count; j++) {
    if (!jits[j]) continue;
    Outputs found = reference_run_d(jit_model(jits[j]), g->name, g->signature, &k->inputs->bindings, TILE, true);
    for (int i = 0; i < g->output_count; i++) {
      double worst;
      const Node *value = g->outputs[i].value;
      if (found.sizes[i] != node_extent(g, value, ROWS))
        fails(k, "%s by %s: %s has %ld numbers", g->name, how[j], g->outputs[i].name, found.sizes[i]);
      else if (!agree(found.values[i], e->values[value->id], found.sizes[i], &worst))
        fails(k, "%s by %s: %s is %g apart", g->name, how[j], g->outputs[i].name, worst);
    }
    outputs_free(&found);
  }
  evaluation_free(e, g);
  k->graph = NULL;
}

/* ---- one spec ------------------------------------------------------------------------------------------------ */

static bool have_tcc;
/* What most of the time goes into; a few specs are compiled without optimisation. */
static const char *gcc_flags = "-std=c99 -O0 -pedantic -Wall -Wextra -Wvla -Werror -DSPM_NO_BLAS";

static void check_model(Case *k) {
  static const char *const how[] = {"libtcc", "gcc", "tcc"};
  char message[2048] = "";
  Jit *jits[3] = {NULL};
  Text emitted = {.compilation = k->c};
  static const Standalone plain;
  make_inputs(k);
  jits[0] = compile_jit(k->model, true, message, sizeof message);
  if (!jits[0]) fails(k, "libtcc: %s", message);
  if (!compile_standalone(k->model, &plain, &emitted)) fails(k, "is not emitted");
  jits[1] = jit_compile_with("gcc", gcc_flags, emitted.bytes, model_name(k->model), true, message, sizeof message);
  if (!jits[1]) fails(k, "gcc: %s", message);
  if (have_tcc)
    jits[2] =
        jit_compile_with("tcc", "-DSPM_NO_BLAS", emitted.bytes, model_name(k->model), true, message, sizeof message);
  if (have_tcc && !jits[2]) fails(k, "tcc: %s", message);
  for (int program = 0; program < PROGRAM_COUNT; program++) {
    const Graph *g = model_graph(k->model, (ProgramKind)program);
    if (!g) continue;
    count_ops(g);
    check_program(k, (ProgramKind)program, g, jits, how, 3);
  }
  for (int j = 0; j < 3; j++) jit_destroy(jits[j]);
}

static void check_spec(unsigned long long number) {
  Case k = {.number = number, .text = random_spec(number), .c = compilation_create()};
  CompileOptions options = {.text = k.text};
  k.model = compile_check(k.c, "fuzz.spm", &options);
  if (k.c->error_count > 0 || !k.model) {
    fails(&k, "is refused:");
    diagnostics_print(k.c, stdout, false);
  } else if (setjmp(k.c->failure)) {
    fails(&k, "compilation failed");
  } else {
    k.c->failure_set = true;
    check_model(&k);
  }
  if (k.c->error_count > 0) diagnostics_print(k.c, stdout, false);
  compilation_destroy(k.c);
  free(k.text);
}

/* ---- many specs ---------------------------------------------------------------------------------------------- */

static void add_tally(Tally *all, const Tally *one) {
  for (int op = 0; op < OP_COUNT; op++) all->reached[op] += one->reached[op];
  all->failures += one->failures;
  all->undecided += one->undecided;
}

/* Every `processes`-th spec in each process; one that crashes loses the rest of its own. */
static void check_specs(unsigned long long first, int count, int processes, Tally *all) {
  pid_t children[MOST_PROCESSES];
  Tally *tallies =
      mmap(NULL, sizeof *tallies * (size_t)processes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (tallies == MAP_FAILED) exit(2);
  for (int p = 0; p < processes; p++) {
    children[p] = fork();
    if (children[p] < 0) exit(2);
    if (children[p] > 0) continue;
    tally = &tallies[p];
    for (int i = p; i < count; i += processes) {
      tally->current = first + (unsigned long long)i;
      check_spec(tally->current);
      fflush(stdout);
    }
    _exit(0);
  }
  for (int p = 0; p < processes; p++) {
    int status = 1;
    waitpid(children[p], &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      printf("spec %llu: ended its process (status %d)\n", tallies[p].current, status);
      tallies[p].failures++;
    }
    add_tally(all, &tallies[p]);
  }
  munmap(tallies, sizeof *tallies * (size_t)processes);
}

static int print_coverage(const Tally *all, int least) {
  int missing = 0;
  for (int op = 0; op < OP_COUNT; op++) {
    printf("%s%-24s%8ld", op % 3 ? "  " : "", op_table[op].name, all->reached[op]);
    if (op % 3 == 2) printf("\n");
    missing += all->reached[op] < least;
  }
  printf("\n");
  for (int op = 0; op < OP_COUNT; op++)
    if (all->reached[op] < least)
      printf("%s was reached %ld times, fewer than %d\n", op_table[op].name, all->reached[op], least);
  return missing;
}

int main(int count, char **words) {
  unsigned long long first = count > 1 ? strtoull(words[1], NULL, 10) : 1;
  int specs = count > 2 ? atoi(words[2]) : FEW, processes = count > 3 ? atoi(words[3]) : 1;
  if (processes < 1 || processes > MOST_PROCESSES) processes = 1;
  if (specs > FEW) gcc_flags = "-std=c99 -O1 -pedantic -Wall -Wextra -Wvla -Werror -DSPM_NO_BLAS";
  have_tcc = system("tcc -v >/dev/null 2>&1") == 0;
  Tally all = {.failures = 0};
  check_specs(first, specs, processes, &all);
  int missing = print_coverage(&all, specs >= MANY ? ENOUGH : 0);
  printf("%d specs, %d failed, %d undecided%s\n", specs, all.failures, all.undecided,
         have_tcc ? "" : "; tcc is not installed");
  /* A comparison of equals is rare, or the generator has become one of ties. */
  return all.failures > 0 || missing > 0 || all.undecided > 1 + specs / 100;
}
