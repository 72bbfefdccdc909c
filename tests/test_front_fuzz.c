/* Damaged specs: tokens of the corpus deleted, doubled, swapped, replaced. Whatever the file has become, the compiler
 * neither crashes nor hangs; a failure has at least one error, and a success leaves programs that verify. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scratch.h"
#include "spec.h"
#include "syntax.h"

enum { CASES = 1500, MAX_TOKENS = 4000, MAX_FILES = 256, SECONDS = 20 };

typedef struct Pieces {
  char *items[MAX_TOKENS];
  int count;
} Pieces;

static Pieces files[MAX_FILES];
static bool clean[MAX_FILES];
static int file_count;
static uint64_t seed;
static int right, syntax;

static uint64_t next_random(void) { /* splitmix64 */
  uint64_t z = (seed += 0x9e3779b97f4a7c15u);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}
static int below(int n) { return (int)(next_random() % (uint64_t)n); }

static bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Length of the token at text: a word or number, a string, or punctuation of one or two characters. */
static int token_length(const char *text) {
  int n = 0;
  if (*text == '"') {
    for (n = 1; text[n] && text[n] != '"';) n++;
    return text[n] ? n + 1 : n;
  }
  bool number = *text >= '0' && *text <= '9';
  while (is_word(text[n]) || (number && text[n] == '.' && is_word(text[n + 1])) ||
         (number && text[n] == '-' && text[n - 1] == 'e'))
    n++;
  if (n > 0) return n;
  bool two = strchr("<>=!.", *text) && (text[1] == '=' || (text[0] == '.' && text[1] == '.'));
  return two ? 2 : 1;
}

/* A base model is found wherever the damaged file lies. */
static char *with_directory(const char *string, int length, const char *directory) {
  char here[512], *token = malloc(2048);
  cr_assert(getcwd(here, sizeof here) && token);
  snprintf(token, 2048, "\"%s/%s/%.*s", here, directory, length - 1, string + 1);
  return token;
}

static void read_tokens(const char *directory, const char *name) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  char *text = read_text(path);
  cr_assert(text && file_count < MAX_FILES);
  Pieces *t = &files[file_count++];
  for (const char *at = text; *at;) {
    if (*at == '#') {
      while (*at && *at != '\n') at++;
      continue;
    }
    if (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r') {
      at++;
      continue;
    }
    int n = token_length(at);
    cr_assert(t->count < MAX_TOKENS);
    t->items[t->count++] = *at == '"' && strstr(at, ".spm") ? with_directory(at, n, directory) : strndup(at, (size_t)n);
    at += n;
  }
  free(text);
  Spec s = spec_open(path, NULL);
  clean[file_count - 1] = s.errors == 0;
  spec_close(&s);
}

static void read_directory(const char *directory) {
  struct dirent **entries;
  int count = scandir(directory, &entries, NULL, alphasort);
  for (int i = 0; i < count; i++) {
    const char *dot = strrchr(entries[i]->d_name, '.');
    if (dot && strcmp(dot, ".spm") == 0) read_tokens(directory, entries[i]->d_name);
    free(entries[i]);
  }
  if (count >= 0) free(entries);
}

static void remove_token(Pieces *t, int at) {
  memmove(&t->items[at], &t->items[at + 1], sizeof *t->items * (size_t)(--t->count - at));
}

static void insert_token(Pieces *t, int at, char *token) {
  if (t->count == MAX_TOKENS) return;
  memmove(&t->items[at + 1], &t->items[at], sizeof *t->items * (size_t)(t->count++ - at));
  t->items[at] = token;
}

static char *some_token(void) {
  const Pieces *t = &files[below(file_count)];
  return t->items[below(t->count)];
}

/* clang-format off */
static char *const expressions[] = {
    "0", "-1", "2.5", "1e9", "1e400", "z", "x", "K", "D", "q", "\"s\"", "batch", "training", "epoch", "[1, 2]",
    "sum(z)", "sum(x, over = batch)", "z'", "(x @ x)", "z[0]", "x[0 .. 2]", "kl(z)", "kl_each(z)", "log_lik(x)",
    "entropy(z)", "log_weight", "elbo", "normal(0, 1)", "laplace(z, 1)", "q.mu", "q(x).mu", "p(z)", "dense(x, 3)",
    "dense(z, D)", "batch_norm(x)", "residual(z, 2)", "(z > 0 ? z : 1)", "stop(z)",
    "running_mean(mean(z, over = batch))", "running_mean(z)", "softmax(z, over = K)", "logsumexp(z, over = sample)",
    "reshape(z, [K, 1])", "reshape(x, [2, D / 2])", "expand(z, D)", "expand(1, K, K)", "concat(z, x)", "cumsum(x)",
    "log_pdf(normal(0, 1), z)", "max(x, z)", "norm(x)", "normalize(x, over = D)", "outer(x, z)", "diag(z)",
    "identity(K)", "zeros(K)", "lower_part(outer(z, z))", "soft_threshold(z, 1)", "group_threshold(z, 0.5)",
    "uniform(0, 1)", "bernoulli(logits = z)", "bernoulli(prob = 0.5)", "log(0)", "(1 / 0)", "sqrt(-1)", "x^z",
    "x % 2", "mixture(0.5: normal(0, 1), 0.5: laplace(0, 1))", "mixture(z: normal(0, 1))",
    "joint(normal(0, 1), over = K)", "mixture(softmax(z): joint(normal(z, 1), over = K), over = K)",
    "mixture(x: normal(expand(0, D), 1), over = D)", "categorical(logits = z)", "categorical(prob = softmax(z))",
    "hardmax(z)", "index(z)", "argmax(x, over = D)", "category(K)", "clip(z, 0, 1)", "polygamma(1, z)",
    "mean(mean(z), over = [batch, sample])", "positive", "real", "simplex(K)", "lower_triangular",
};
/* clang-format on */

static char *some_expression(void) { return expressions[below((int)(sizeof expressions / sizeof *expressions))]; }

/* Words that begin or hold together a statement: changed less often than others, since little else is then reached. */
static bool is_reserved(const char *token) {
  for (int i = 0; reserved_word(i); i++)
    if (strcmp(token, reserved_word(i)) == 0) return true;
  return false;
}

static int class_of(const char *token) {
  if (is_reserved(token)) return 0;
  if (is_word(*token)) return *token <= '9' ? 1 : 2;
  return strchr("+-*/%@^<>", *token) ? 3 : 4;
}

/* A token of the same kind, of the same file mostly. */
static char *kin(const Pieces *t, const char *token) {
  for (int i = 0; i < 50; i++) {
    char *other = below(3) ? t->items[below(t->count)] : some_token();
    if (class_of(other) == class_of(token)) return other;
  }
  return some_token();
}

static void damage_tokens(Pieces *t, int at, int other) {
  char *token = t->items[at];
  switch (below(4)) {
  case 0: remove_token(t, at); break;
  case 1: insert_token(t, other, token); break;
  case 2:
    t->items[at] = t->items[other];
    t->items[other] = token;
    break;
  default: insert_token(t, at, some_token()); break;
  }
}

/* Neither declared nor called nor the name of an option or a field. */
static bool stands_for_value(const Pieces *t, int at) {
  bool word = class_of(t->items[at]) == 1 || class_of(t->items[at]) == 2, first = at == 0 || at + 1 == t->count;
  return word && !first && !strchr("(=:~;", *t->items[at + 1]) && !strchr(".:", *t->items[at - 1]) &&
         !is_reserved(t->items[at - 1]);
}

static void damage(Pieces *t) {
  int at = below(t->count), kind;
  if (below(8) == 0) {
    damage_tokens(t, at, below(t->count));
    return;
  }
  do kind = class_of(t->items[at = below(t->count)]);
  while (kind == 4 || (kind == 0 && below(10)));
  if (stands_for_value(t, at) && below(2))
    t->items[at] = some_expression();
  else
    t->items[at] = kin(t, t->items[at]);
}

static void examine(const char *path, const char *text) {
  alarm(SECONDS);
  Spec s = spec_open(path, NULL);
  char *messages = spec_messages(&s); /* printing must not crash either */
  cr_assert(!spec_says(&s, "internal"), "%s\n%s", text, messages);
  right += s.errors == 0;
  syntax += spec_says(&s, "syntax");
  if (!s.model) cr_assert(s.errors > 0, "failed without an error:\n%s", text);
  if (s.model && s.errors == 0 && !model_is_library(s.model))
    for (int program = 0; program < PROGRAM_COUNT; program++) {
      Graph *g = model_graph(s.model, (ProgramKind)program);
      cr_assert(s.c->error_count == 0, "an error only after check:\n%s", text);
      cr_assert(g || program != PROGRAM_TRAIN, "no train program:\n%s", text);
      const char *violation = g ? ir_verify(g) : NULL;
      cr_assert(violation == NULL, "%s: %s\n%s", program_names[program], violation, text);
    }
  free(messages);
  spec_close(&s);
  alarm(0);
}

Test(fuzz, damaged_specs_are_survived) {
  const char *cases = getenv("SPM_FUZZ"), *only = getenv("SPM_FUZZ_SEED");
  int count = cases ? atoi(cases) : CASES;
  static char text[200000];
  static Pieces t;
  read_directory("specs");
  read_directory("tests/corpus");
  scratch_make();
  for (int i = only ? atoi(only) : 0; i < (only ? atoi(only) + 1 : count); i++) {
    seed = (uint64_t)i * 7919;
    int pick = below(file_count);
    for (int k = 0; k < 100 && !clean[pick]; k++) pick = below(file_count); /* more is reached than the refusals */
    if (below(5) == 0) pick = below(file_count);
    t = files[pick];
    for (int n = 1 + below(2); n > 0 && t.count > 1; n--) damage(&t);
    size_t length = 0;
    for (int k = 0; k < t.count && length + strlen(t.items[k]) + 2 < sizeof text; k++)
      length += (size_t)sprintf(text + length, "%s%s", t.items[k], strchr(";{}", *t.items[k]) ? "\n" : " ");
    const char *path = scratch_write("damaged.spm", text, length);
    if (only)
      puts(text);
    else if (getenv("SPM_FUZZ_TRACE"))
      fprintf(stderr, "case %d\n", i);
    examine(path, text);
  }
  printf("%d damaged specs, of which %d are right all the same and %d are no sentences\n", count, right, syntax);
  scratch_remove();
}
