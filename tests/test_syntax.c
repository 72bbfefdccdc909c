/* Syntax: every spec of the corpus parses, and its printed form to an equal tree; every wrong spec under bad/syntax
 * gets exactly the messages that stand in its .expected file (SPM_GOLDEN=write rewrites those); hostile text never
 * crashes. */
#include "ast_equal.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char corpus_folder[] = "tests/corpus", bad_folder[] = "tests/bad/syntax";

static Compilation *start(void) {
  Compilation *c = compilation_create();
  cr_assert(c != NULL);
  return c;
}

/* The paths of the specs of a folder, sorted; count in *count. */
static int compare_paths(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static char **specs(const char *folder, int *count) {
  static char *paths[512];
  *count = 0;
  DIR *directory = opendir(folder);
  cr_assert(directory != NULL, "run the tests in the repository's root");
  for (struct dirent *entry; (entry = readdir(directory)) && *count < 512;) {
    const char *ending = strrchr(entry->d_name, '.');
    if (!ending || strcmp(ending, ".spm") != 0) continue;
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    paths[(*count)++] = strdup(path);
  }
  closedir(directory);
  qsort(paths, (size_t)*count, sizeof *paths, compare_paths);
  return paths;
}

static char *shown(Compilation *c, bool json) {
  char *text = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&text, &length);
  if (json)
    diagnostics_print_json(c, out);
  else
    diagnostics_print(c, out, false);
  fclose(out);
  return text;
}

static File *parse_text(Compilation *c, const char *text, size_t length) {
  return parse(c, source_add(c, "text.spm", text, length, false));
}

/* The messages for a text, to be freed. */
static char *messages(const char *text) {
  Compilation *c = start();
  File *file = parse_text(c, text, strlen(text));
  syntax_check(c, file);
  char *said = shown(c, false);
  compilation_destroy(c);
  return said;
}

static void expect_message(const char *text, const char *part) {
  char *said = messages(text);
  cr_assert(strstr(said, part) != NULL, "`%s`\nshould say\n%s\nbut says\n%s", text, part, said);
  free(said);
}

/* ---- The corpus ------------------------------------------------------------------------------------------------ */

/* Parsed without a message, printed, parsed again: the same tree, and the same text when printed again. */
static void check_round_trip(Compilation *c, const File *file, const char *name) {
  Text once = {.compilation = c}, twice = {.compilation = c};
  ast_print(&once, file);
  File *again = parse_text(c, once.bytes ? once.bytes : "", once.length);
  cr_assert(c->error_count == 0, "%s, printed, does not parse:\n%s\n%s", name, once.bytes, shown(c, false));
  cr_assert(ast_equal(file, again), "%s, printed, is another tree:\n%s", name, once.bytes);
  ast_print(&twice, again);
  cr_assert(once.length == twice.length && (once.length == 0 || strcmp(once.bytes, twice.bytes) == 0), "%s", name);
}

Test(syntax, corpus_parses_and_prints) {
  int count;
  char **paths = specs(corpus_folder, &count);
  cr_assert(count > 40);
  for (int i = 0; i < count; i++) {
    Compilation *c = start();
    int source = source_read(c, paths[i], (Span){0, 0, 0});
    cr_assert(source > 0, "%s", paths[i]);
    File *file = parse(c, source);
    syntax_check(c, file);
    cr_assert(c->first_diagnostic == NULL, "%s", shown(c, false));
    cr_assert(file->count > 0);
    check_round_trip(c, file, paths[i]);
    compilation_destroy(c);
  }
}

Test(syntax, expressions_print_with_the_fewest_parentheses) {
  static const char *const pairs[][2] = {
      {"(a + b) + c", "a + b + c"},
      {"a + (b + c)", "a + (b + c)"},
      {"(a * b) @ c", "a * b @ c"},
      {"a * (b @ c)", "a * (b @ c)"},
      {"-(x^2)", "-x^2"},
      {"(-x)^2", "(-x)^2"},
      {"a^(b^c)", "a^b^c"},
      {"(a^b)^c", "(a^b)^c"},
      {"a^-b", "a^-b"},
      {"-(-a)", "--a"},
      {"(a ? b : c) ? d : e", "(a ? b : c) ? d : e"},
      {"a ? b : (c ? d : e)", "a ? b : c ? d : e"},
      {"a ? (b ? c : d) : e", "a ? b ? c : d : e"},
      {"not (a and b) or (c < d)", "not (a and b) or c < d"},
      {"(not a) == b", "(not a) == b"},
      {"(a < b) < c", "(a < b) < c"},
      {"(W')'", "W''"},
      {"(W @ z)'", "(W @ z)'"},
      {"(a.b)[1..n, 2]'", "a.b[1..n, 2]'"},
      {"f(x)[0].y", "f(x)[0].y"},
      {"[1, [2, 3]]", "[1, [2, 3]]"},
      {"f(a = b ? c : d, \"s\")", "f(a = b ? c : d, \"s\")"},
      {"mixture(a ? b : c: d, e: f)", "mixture(a ? b : c: d, e: f)"},
      {"(1).x", "(1).x"},
      {"1e-3 * 1000000 + 0.1", "0.001 * 1000000 + 0.1"},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    Compilation *c = start();
    const char *text = arena_printf(c, "let a = %s;", pairs[i][0]);
    File *file = parse_text(c, text, strlen(text));
    cr_assert(c->error_count == 0 && file->count == 1, "%s", shown(c, false));
    Text out = {.compilation = c};
    ast_print_expr(&out, file->items[0]->expr);
    cr_assert(strcmp(out.bytes, pairs[i][1]) == 0, "%s: %s", pairs[i][0], out.bytes);
    check_round_trip(c, file, pairs[i][0]);
    compilation_destroy(c);
  }
}

Test(syntax, spans_cover_what_the_author_wrote) {
  Compilation *c = start();
  const char *text = "# a comment\nlet total = (a + b) * f(x,\n  3)';\nencoder q(x : real[n]) { h = x; }\n";
  File *file = parse_text(c, text, strlen(text));
  cr_assert(c->error_count == 0 && file->count == 2);
  const Expr *product = file->items[0]->expr;
  cr_assert(strcmp(span_text(c, file->items[0]->span), "let total = (a + b) * f(x,\n  3)';") == 0);
  cr_assert(strcmp(span_text(c, file->items[0]->name_span), "total") == 0);
  cr_assert(strcmp(span_text(c, product->span), "(a + b) * f(x,\n  3)'") == 0);
  cr_assert(strcmp(span_text(c, product->a->span), "(a + b)") == 0);
  cr_assert(strcmp(span_text(c, product->b->a->name_span), "f") == 0);
  cr_assert(strcmp(span_text(c, file->items[1]->formals.items[0].type->span), "real[n]") == 0);
  cr_assert(strcmp(span_text(c, file->items[1]->block.items[0]->span), "h = x;") == 0);
  compilation_destroy(c);
}

Test(syntax, different_trees_are_not_equal) {
  static const char *const texts[] = {"let a = 1;",
                                      "let a = 2;",
                                      "let b = 1;",
                                      "let a : real = 1;",
                                      "metric a = 1;",
                                      "let a = 1; let a = 1;",
                                      "posterior a = 1;",
                                      "posterior a ~ 1;",
                                      "posterior a ~ 1 by 1;",
                                      "let a = -1;",
                                      "let a = [1];",
                                      "let a = x[1];",
                                      "let a = x[1..2];",
                                      "let a = f(1);",
                                      "let a = f(n = 1);",
                                      "let a = f(1: 1);",
                                      "distribution f(a; b) = 1;",
                                      "distribution f(a, b) = 1;",
                                      ""};
  int count = sizeof texts / sizeof *texts;
  Compilation *c = start();
  for (int i = 0; i < count; i++)
    for (int k = 0; k < count; k++) {
      File *a = parse_text(c, texts[i], strlen(texts[i])), *b = parse_text(c, texts[k], strlen(texts[k]));
      cr_assert(ast_equal(a, b) == (i == k), "%s and %s", texts[i], texts[k]);
    }
  cr_assert(c->error_count == 0);
  compilation_destroy(c);
}

/* ---- Messages -------------------------------------------------------------------------------------------------- */

static char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return strdup("");
  char *text = calloc(1, 1 << 20);
  size_t length = fread(text, 1, (1 << 20) - 1, file);
  text[length] = '\0';
  fclose(file);
  return text;
}

Test(syntax, messages_are_exactly_as_expected) {
  int count;
  char **paths = specs(bad_folder, &count);
  cr_assert(count >= 20);
  bool write = getenv("SPM_GOLDEN") && strcmp(getenv("SPM_GOLDEN"), "write") == 0;
  for (int i = 0; i < count; i++) {
    Compilation *c = start();
    int source = source_read(c, paths[i], (Span){0, 0, 0});
    cr_assert(source > 0, "%s", paths[i]);
    syntax_check(c, parse(c, source));
    cr_assert(c->error_count > 0, "%s has no error", paths[i]);
    char *said = shown(c, false), expected_path[1024];
    snprintf(expected_path, sizeof expected_path, "%.*s.expected", (int)(strlen(paths[i]) - 4), paths[i]);
    if (write) {
      FILE *file = fopen(expected_path, "wb");
      cr_assert(file != NULL);
      fputs(said, file);
      fclose(file);
    }
    char *expected = read_text(expected_path);
    cr_assert(strcmp(said, expected) == 0, "%s: expected\n%s\nbut got\n%s", paths[i], expected, said);
    free(said);
    free(expected);
    compilation_destroy(c);
  }
}

Test(syntax, errors_do_not_cascade) {
  static const struct {
    const char *text;
    int errors;
  } cases[] = {
      {"let a = ; let b = ; let c = 1; let d = ;", 3},
      {"encoder q(x) { a = ; b = 1; c = (; d = 1; } let e = ;", 3},
      {"encoder q(x { a = 1; b = 2; c = 3; }\nlet d = 1; let e = ;", 2},
      {"encoder q(x) a = 1; b = 2; c = 3; }\nlet d = 1; let e = ;", 2},
      {"encoder q(x) {\n  a = 1;\n  b = 2;\nlet d = 1;\nlet e = ;", 2},
      {"encoder q(x) {\n  repeat 3 {\n    b = 2;\nlet d = 1;\nlet e = ;", 2},
      {"train {\n  batch = 3\n  epochs = 4\n}\nlet d = 1", 3},
      {"train { batch = 3 epochs = 4 } let d = 1;", 2},
      {"let a = $ 1 + 2; let b = `3; let c = 4;", 2},
      {"let a = \"open; let b = 3;\nlet c = 4;", 1},
      {"encoder q(x) {\n  a = f(b, \"c);\n  d = e;\n}\nlet c = 4;", 1},
      {"distribution f(z real; a, b) { log_pdf = z; sample(u : uniform) = u; }\nlet a = 1;", 1},
      {"distribution f(z : real; a, b) { log_pdf z; sample(u uniform; t) = u; e = 1; }\nlet a = 1;", 2},
      {"} } } let a = 1;", 1},
      {"let a = {1, {2, 3}, 4}; let b = 3;", 1},
      {"let a = f(1, (2, [3; let b = 3;", 1},
      {"blah blah { x = 3; y = 4; } let b = ;", 2},
      {"param W : real[D K] init 3; param V : real[D,] init 3;", 2},
      {";;;;; let a = 1;", 1},
      {"prior z ~ normal(0, 1\nposterior z ~ normal(0, 1);\nobjective elbo", 2},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Compilation *c = start();
    parse_text(c, cases[i].text, strlen(cases[i].text));
    char *said = shown(c, false);
    cr_assert(c->error_count == cases[i].errors, "%s\nhas %d errors, not %d:\n%s", cases[i].text, c->error_count,
              cases[i].errors, said);
    free(said);
    compilation_destroy(c);
  }
}

Test(syntax, reading_goes_on_after_an_error) {
  Compilation *c = start();
  const char *text = "dim D = ;\ndata x : real[D];\nencoder q(x) { a = ; b = 2; }\nobjective elbo;\n";
  File *file = parse_text(c, text, strlen(text));
  cr_assert(c->error_count == 2);
  cr_assert(file->count == 4);
  cr_assert(file->items[0]->kind == ITEM_ERROR);
  cr_assert(file->items[1]->kind == ITEM_DATA);
  cr_assert(file->items[2]->kind == ITEM_ENCODER && file->items[2]->block.count == 2);
  cr_assert(file->items[2]->block.items[0]->kind == STMT_ERROR);
  cr_assert(file->items[3]->kind == ITEM_OBJECTIVE);
  compilation_destroy(c);
}

Test(syntax, after_twenty_errors_a_file_is_given_up) {
  Compilation *c = start();
  Text text = {.compilation = c};
  for (int i = 0; i < 1000; i++) text_append(&text, "let a = ;\n");
  parse_text(c, text.bytes, text.length);
  cr_assert(c->error_count == 20);
  char *said = shown(c, false);
  cr_assert(strstr(said, "note: these are 20 syntax errors; the rest of the file is not read\n") != NULL);
  free(said);
  compilation_destroy(c);
}

Test(syntax, every_word_is_reserved_everywhere) {
  static const char *const words[] = {
      "model",    "from",         "use",       "allow",    "dim",      "data",    "latent",     "param",
      "local",    "draw",         "let",       "schedule", "metric",   "prior",   "likelihood", "posterior",
      "by",       "infer",        "objective", "minimize", "encoder",  "decoder", "network",    "layer",
      "function", "distribution", "rule",      "train",    "evaluate", "init",    "repeat",     "return"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    char text[256], part[256];
    snprintf(part, sizeof part, "error[reserved-word]: `%s` is a reserved word and cannot be a name", words[i]);
    snprintf(text, sizeof text, "let %s = 3;", words[i]);
    expect_message(text, part);
    snprintf(text, sizeof text, "let a = f(b = %s);", words[i]);
    expect_message(text, part);
    snprintf(text, sizeof text, "train { epochs = 3; %s = 3; }", words[i]);
    expect_message(text, part);
    snprintf(text, sizeof text, "distribution d(z; a) { log_pdf = z; %s = 3; }", words[i]);
    expect_message(text, part);
  }
}

Test(syntax, numbers_stay_within_range) {
  expect_message("let a = 1e309;", "this number is too large");
  expect_message("let a = 1e-400;", "this number is too small to be told from 0");
  Compilation *c = start();
  const char *text = "let a = 0.1; let b = 1E+2; let c = 4.9e-324; let d = 000; let e = 1.7976931348623157e308;";
  static const double values[] = {0.1, 100, 4.9e-324, 0, 1.7976931348623157e308};
  File *file = parse_text(c, text, strlen(text));
  cr_assert(c->error_count == 0 && file->count == 5);
  for (int i = 0; i < 5; i++) cr_assert(file->items[i]->expr->number == values[i]);
  compilation_destroy(c);
}

/* ---- Hostile text ---------------------------------------------------------------------------------------------- */

static char *repeated(const char *start_text, const char *piece, int count, const char *end) {
  size_t length = strlen(piece);
  char *text = malloc(strlen(start_text) + length * (size_t)count + strlen(end) + 1), *at = text;
  at += sprintf(at, "%s", start_text);
  for (int i = 0; i < count; i++, at += length) memcpy(at, piece, length);
  strcpy(at, end);
  return text;
}

Test(syntax, deep_nesting_is_one_error, .timeout = 120) {
  static const struct {
    const char *start, *piece, *end;
  } bombs[] = {
      {"let a = ", "(", ""},
      {"let a = ", "-", ""},
      {"let a = ", "-", "1;"},
      {"let a = ", "[", ""},
      {"let a = ", "{", ""},
      {"", "(", ""},
      {"", "-", ""},
      {"", "[", ""},
      {"", "{", ""},
      {"let a = ", "not ", "1;"},
      {"let a = ", "f(", ""},
      {"let a = ", "a[", ""},
      {"let a = ", "1+", "1;"},
      {"let a = ", "2^", "1;"},
      {"let a = ", "a?b:", "1;"},
      {"let a = ", "a?", "1;"},
      {"let a = a", "'", ";"},
      {"let a = a", ".b", ";"},
      {"let a = a", "[1]", ";"},
      {"let a = a", " and a", ";"},
      {"data x : ", "f(g = ", ""},
      {"encoder q(x) ", "{", ""},
      {"encoder q(x) {", "repeat 2 {", ""},
      {"let a = ", "([{", ""},
      {"", "}", ""},
      {"", ")", ""},
      {"", "a ", ""},
      {"", "model ", ""},
      {"", "\"", ""},
      {"let a = 1", ", 1", ";"},
      {"", "$", ""},
  };
  for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
    char *text = repeated(bombs[i].start, bombs[i].piece, 1000000, bombs[i].end);
    Compilation *c = start();
    syntax_check(c, parse_text(c, text, strlen(text)));
    cr_assert(c->error_count == 1, "%s %s: %d errors", bombs[i].start, bombs[i].piece, c->error_count);
    char *said = shown(c, false);
    cr_assert(strlen(said) < 2000);
    free(said);
    free(text);
    compilation_destroy(c);
  }
}

Test(syntax, nesting_below_the_limit_is_read) {
  static const char *const pieces[][2] = {{"(", ")"}, {"f(", ")"}, {"[", "]"}};
  for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
    for (int depth = 199; depth <= 201; depth += 2) {
      char *open = repeated("let a = ", pieces[i][0], depth, "1"), *close = repeated("", pieces[i][1], depth, ";");
      char *text = repeated(open, close, 1, "");
      Compilation *c = start();
      syntax_check(c, parse_text(c, text, strlen(text)));
      cr_assert(c->error_count == (depth > 200), "%s %d deep", pieces[i][0], depth);
      compilation_destroy(c);
      free(open), free(close), free(text);
    }
}

static uint64_t random_state;

static unsigned random_below(unsigned limit) { /* splitmix64: the same cases on every machine */
  uint64_t x = random_state += UINT64_C(0x9E3779B97F4A7C15);
  x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
  return (unsigned)((x ^ (x >> 31)) % limit);
}

/* Deletes, doubles, moves, swaps or overwrites a few bytes; returns the new length. The buffer has room. */
static size_t mutate(char *text, size_t length) {
  static const char marks[] = ";,:=~?()[]{}+-*/%@^'.<>!\"#\n\t 0a_\x80\xCE\xBB\x01";
  for (unsigned n = 1 + random_below(4); n > 0 && length > 0; n--) {
    size_t at = random_below((unsigned)length), other = random_below((unsigned)length);
    size_t piece = 1 + random_below(random_below(4) == 0 ? 40 : 2);
    if (piece > length - at) piece = length - at;
    switch (random_below(5)) {
    case 0:
      memmove(text + at, text + at + piece, length - at - piece);
      length -= piece;
      break;
    case 1:
      memmove(text + at + piece, text + at, length - at);
      length += piece;
      break;
    case 2: {
      char byte = text[at];
      text[at] = text[other];
      text[other] = byte;
      break;
    }
    case 3: text[at] = marks[random_below(sizeof marks)]; break; /* its NUL as well */
    default: memmove(text + (other < length - piece ? other : length - piece), text + at, piece); break;
    }
  }
  return length;
}

/* Whatever happens, the text is either understood or an error has been reported. */
static void check_hostile(const char *text, size_t length) {
  Compilation *c = start();
  File *file = parse_text(c, text, length);
  syntax_check(c, file);
  free(shown(c, false));
  free(shown(c, true));
  cr_assert(c->error_count > 0 || c->first_diagnostic == NULL);
  cr_assert(c->error_count <= 200);
  bool whole = true;
  for (int i = 0; i < file->count; i++) whole &= file->items[i]->kind != ITEM_ERROR;
  cr_assert(whole || c->error_count > 0);
  if (c->error_count == 0) check_round_trip(c, file, "a changed spec");
  compilation_destroy(c);
}

Test(syntax, changed_specs_are_read_or_refused, .timeout = 300) {
  int count;
  char **paths = specs(corpus_folder, &count);
  for (int i = 0; i < 2500; i++) {
    random_state = (uint64_t)i;
    char *original = read_text(paths[random_below((unsigned)count)]);
    size_t length = strlen(original);
    char *text = malloc(length + 4096);
    memcpy(text, original, length);
    length = mutate(text, length);
    check_hostile(text, length);
    free(text);
    free(original);
  }
}

Test(syntax, every_prefix_of_a_spec_is_read_or_refused) {
  char *text = read_text("tests/corpus/semi_supervised_vae.spm");
  for (size_t length = 0; length <= strlen(text); length++) check_hostile(text, length);
  free(text);
}

/* ---- Base ------------------------------------------------------------------------------------------------------ */

static void expect_unreadable(const char *path, const char *message) {
  Compilation *c = start();
  cr_assert(source_read(c, path, (Span){0, 0, 0}) == -1);
  cr_assert(c->error_count == 1);
  cr_assert(strcmp(c->first_diagnostic->message, message) == 0, "%s", c->first_diagnostic->message);
  compilation_destroy(c);
}

static void write_bytes(const char *path, const char *bytes, size_t length) {
  FILE *file = fopen(path, "wb");
  cr_assert(file != NULL);
  fwrite(bytes, 1, length, file);
  fclose(file);
}

Test(syntax, files_that_are_no_specs) {
  expect_unreadable("tests", "`tests` is a directory, not a file");
  expect_unreadable("no/such.spm", "there is no file `no/such.spm`");
  char folder[] = "/tmp/spmc_syntax_XXXXXX";
  cr_assert(mkdtemp(folder) != NULL);
  cr_assert(chdir(folder) == 0);
  write_bytes("nul.spm", "model m;\nlet a\0b;", 17);
  expect_unreadable("nul.spm", "`nul.spm` is not a text file: it has a NUL byte in line 2");
  write_bytes("latin.spm", "# caf\xE9\n", 7);
  expect_unreadable("latin.spm", "`latin.spm` is not UTF-8: line 1 has the byte 0xE9");
  write_bytes("surrogate.spm", "\n\xED\xA0\x80", 4);
  expect_unreadable("surrogate.spm", "`surrogate.spm` is not UTF-8: line 2 has the byte 0xED");
  write_bytes("large.spm", "", 0);
  cr_assert(truncate("large.spm", 17 << 20) == 0);
  expect_unreadable("large.spm", "`large.spm` is too large for a spec: more than 16 MiB");
  write_bytes("empty.spm", "", 0);
  Compilation *c = start();
  int source = source_read(c, "empty.spm", (Span){0, 0, 0});
  cr_assert(source == 1);
  cr_assert(parse(c, source)->count == 0 && c->error_count == 0);
  compilation_destroy(c);
  for (int i = 0; i < 5; i++) {
    static const char *const made[] = {"nul.spm", "latin.spm", "surrogate.spm", "large.spm", "empty.spm"};
    unlink(made[i]);
  }
  cr_assert(chdir("/") == 0 && rmdir(folder) == 0);
}

Test(syntax, byte_order_mark_and_carriage_returns_are_skipped) {
  Compilation *c = start();
  const char *text = "\xEF\xBB\xBFmodel m;\r\nlet a = 1;\r\nlet b = ;\r\n";
  File *file = parse_text(c, text, strlen(text));
  cr_assert(file->count == 3 && c->error_count == 1);
  char *said = shown(c, false);
  cr_assert(strchr(said, '\r') == NULL);
  free(said);
  compilation_destroy(c);
}

Test(syntax, names_are_interned) {
  Compilation *c = start();
  Name first = intern(c, "x0");
  for (int i = 0; i < 5000; i++) intern(c, arena_printf(c, "x%d", i));
  cr_assert(intern(c, "x0") == first);
  cr_assert(intern_range(c, "x0y", 2) == first);
  cr_assert(intern(c, "") == intern_range(c, "zz", 0));
  cr_assert(intern(c, "x1") != intern(c, "x11"));
  compilation_destroy(c);
}

Test(syntax, arena_memory_is_zeroed_and_aligned) {
  Compilation *c = start();
  for (size_t size = 0; size < 300000; size = size * 3 / 2 + 1) {
    unsigned char *memory = arena_allocate(c, size);
    cr_assert((uintptr_t)memory % 16 == 0);
    for (size_t i = 0; i < size; i++) cr_assert(memory[i] == 0);
    memset(memory, 0xAA, size);
  }
  int *array = NULL;
  for (int i = 0; i < 10000; i++) {
    array = arena_grow(c, array, i, sizeof *array);
    array[i] = i;
  }
  for (int i = 0; i < 10000; i++) cr_assert(array[i] == i);
  compilation_destroy(c);
}

Test(syntax, exhausted_memory_comes_back_to_the_guard) {
  Compilation *c = start();
  volatile bool came_back = false;
  if (setjmp(c->failure)) {
    came_back = true;
  } else {
    c->failure_set = true;
    arena_allocate(c, SIZE_MAX);
  }
  cr_assert(came_back);
  compilation_destroy(c);
}

Test(syntax, numbers_are_shortest) {
  static const struct {
    double value;
    const char *text;
  } cases[] = {{0.1, "0.1"},
               {1e-5, "1e-05"},
               {100, "100"},
               {784, "784"},
               {1.0 / 3, "0.3333333333333333"},
               {INFINITY, "inf"},
               {-INFINITY, "-inf"},
               {-0.5, "-0.5"},
               {0, "0"},
               {-0.0, "-0"},
               {1e300, "1e+300"},
               {5e-324, "5e-324"},
               {0.1 + 0.2, "0.30000000000000004"}};
  Compilation *c = start();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    cr_assert(strcmp(shortest_number(c, cases[i].value), cases[i].text) == 0, "%s", shortest_number(c, cases[i].value));
  for (int i = 0; i < 20000; i++) {
    random_state = (uint64_t)i;
    union {
      uint64_t bits;
      double value;
    } any = {((uint64_t)random_below(UINT32_MAX) << 32) | random_below(UINT32_MAX)}, back;
    if (!isfinite(any.value)) continue;
    back.value = strtod(shortest_number(c, any.value), NULL);
    cr_assert(back.bits == any.bits);
  }
  compilation_destroy(c);
}

static const char *nearest(const char *name, const char *const *candidates) {
  Suggestion suggestion = {.name = name};
  for (; *candidates; candidates++) suggestion_consider(&suggestion, *candidates);
  return suggestion.best ? suggestion.best : "";
}

Test(syntax, suggestions) {
  static const char *const words[] = {"normal", "laplace", "sd", "scale", "sigma", "log_sigma", NULL};
  cr_assert(strcmp(nearest("nromal", words), "normal") == 0);
  cr_assert(strcmp(nearest("laplce", words), "laplace") == 0);
  cr_assert(strcmp(nearest("logsigma", words), "log_sigma") == 0);
  cr_assert(strcmp(nearest("x", words), "") == 0);
  cr_assert(strcmp(nearest("poisson", words), "") == 0);
  cr_assert(strcmp(nearest("normal", words), "") == 0); /* the same name is no advice */
}

Test(syntax, diagnostics_as_json) {
  Compilation *c = start();
  const char *text = "let a = \"\t\\\";\nlet b = 1;\n";
  int source = source_add(c, "m\"\\\x01.spm", text, strlen(text), false);
  Diagnostic *d = error_at(c, "shape", (Span){source, 8, 12}, "quote \" and \xFF");
  note_at(d, (Span){source, 14, 24}, "a note");
  help_with(d, "two\nlines");
  error_at(c, "file", (Span){0, 0, 0}, "nowhere");
  char *said = shown(c, true);
  const char *expected =
      "[\n  {\"code\": \"shape\", \"severity\": \"error\", \"file\": \"m\\\"\\\\\\u0001.spm\", \"line\": 1, "
      "\"column\": 9, "
      "\"end_line\": 1, \"end_column\": 13, \"message\": \"quote \\\" and \\ufffd\", \"help\": \"two\\nlines\", "
      "\"notes\": [{\"file\": \"m\\\"\\\\\\u0001.spm\", \"line\": 2, \"column\": 1, \"end_line\": 2, \"end_column\": "
      "11, "
      "\"message\": \"a note\"}]},\n"
      "  {\"code\": \"file\", \"severity\": \"error\", \"file\": null, \"line\": 0, \"column\": 0, \"end_line\": 0, "
      "\"end_column\": 0, \"message\": \"nowhere\", \"help\": null, \"notes\": []}\n]\n";
  cr_assert(strcmp(said, expected) == 0, "%s", said);
  free(said);
  compilation_destroy(c);
  c = start();
  said = shown(c, true);
  cr_assert(strcmp(said, "[]\n") == 0);
  free(said);
  compilation_destroy(c);
}

Test(syntax, warnings_can_be_silenced) {
  Compilation *c = start();
  c->allowed = arena_grow(c, c->allowed, c->allowed_count, sizeof *c->allowed);
  c->allowed[c->allowed_count++] = intern(c, "density");
  help_with(warning_at(c, "density", (Span){0, 0, 0}, "not shown"), "nor this");
  warning_at(c, "shared", (Span){0, 0, 0}, "shown");
  char *said = shown(c, false);
  cr_assert(strcmp(said, "warning[shared]: shown\n") == 0, "%s", said);
  cr_assert(c->error_count == 0);
  free(said);
  compilation_destroy(c);
}

Test(syntax, long_spans_and_long_lines_are_cut) {
  Compilation *c = start();
  Text text = {.compilation = c};
  for (int i = 0; i < 12; i++) text_append(&text, "  line %d\n", i);
  int source = source_add(c, "m.spm", text.bytes, text.length, false);
  error_at(c, "x", (Span){source, 2, (int)text.length - 1}, "long");
  char *said = shown(c, false);
  const char *expected =
      "m.spm:1:3: error[x]: long\n"
      "  1 |   line 0\n    |   ^^^^^^\n  2 |   line 1\n    |   ^^^^^^\n  3 |   line 2\n    |   ^^^^^^\n"
      "    | ...\n 12 |   line 11\n    |   ^^^^^^^\n";
  cr_assert(strcmp(said, expected) == 0, "%s", said);
  free(said);
  compilation_destroy(c);
  c = start();
  char *wide = repeated("let a = ", "1 + ", 150, "$ 2;");
  parse_text(c, wide, strlen(wide));
  said = shown(c, false);
  cr_assert(strlen(said) < 500, "%s", said);
  cr_assert(strstr(said, "...") != NULL);
  free(said);
  free(wide);
  compilation_destroy(c);
}
