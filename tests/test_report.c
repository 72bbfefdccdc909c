/* What a run leaves behind and shows: directories that are refused, files that can be continued, lines that fit. */
#include "report.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <sys/stat.h>

TestSuite(report, .init = scratch_make, .fini = scratch_remove);

static struct spm_error error;

static void expect_text(const char *path, const char *wanted) {
  size_t size;
  char *text = (char *)scratch_read(path, &size);
  cr_assert(text != NULL && strcmp(text, wanted) == 0, "%s holds: %s", path, text ? text : "(nothing)");
  free(text);
}

Test(report, numbers_as_people_read_them) {
  cr_assert(strcmp(spm_count(47040000).text, "47,040,000") == 0);
  cr_assert(strcmp(spm_count(-1234).text, "-1,234") == 0 && strcmp(spm_count(999).text, "999") == 0);
  cr_assert(strcmp(spm_count(INT64_MIN).text, "-9,223,372,036,854,775,808") == 0);
  cr_assert(strcmp(spm_duration(72).text, "1 min 12 s") == 0 && strcmp(spm_duration(59.6).text, "1 min 0 s") == 0);
  cr_assert(strcmp(spm_duration(0.00034).text, "0.34 ms") == 0 && strcmp(spm_duration(8.21).text, "8.2 s") == 0);
  cr_assert(strcmp(spm_duration(7500).text, "2 h 05 min") == 0 &&
            strcmp(spm_duration(86400 * 3.0).text, "3 d 00 h") == 0);
  cr_assert(strcmp(spm_duration(NAN).text, "unknown") == 0 && strcmp(spm_duration(-1).text, "unknown") == 0);
  cr_assert(strcmp(spm_shape(3, (const long[]){60000, 28, 28}).text, "60000 x 28 x 28") == 0);
  cr_assert(strcmp(spm_number(0.1).text, "0.1") == 0 && strcmp(spm_number(1e-5).text, "1e-05") == 0);
  cr_assert(strtod(spm_number(1.0 / 3).text, NULL) == 1.0 / 3);
  cr_assert(strcmp(spm_number_short(-243.1234).text, "-243.12") == 0 && strcmp(spm_number_short(0).text, "0") == 0);
}

Test(report, directories) {
  const char *run = scratch_path("run");
  cr_assert(report_directory_open(run, false, &error) == REPORT_DIRECTORY_NEW, "%s", error.message);
  cr_assert(access(scratch_path("run/checkpoints"), F_OK) == 0 && access(scratch_path("run/figures"), F_OK) == 0);
  cr_assert(report_directory_open(run, false, &error) == -1, "not empty, and no config.json yet");
  cr_assert(strstr(error.message, "holds no run of ours") != NULL, "%s", error.message);
  cr_assert(report_config_write(run, "0.1", NULL, 0, &error) == 0, "%s", error.message);
  cr_assert(report_directory_open(run, false, &error) == REPORT_DIRECTORY_OURS, "%s", error.message);
  mkdir(scratch_path("other"), 0700);
  scratch_write("other/thesis.tex", "x", 1);
  cr_assert(report_directory_open(scratch_path("other"), false, &error) == -1);
  cr_assert(access(scratch_path("other/figures"), F_OK) != 0, "nothing may be written there");
  scratch_write("other/config.json", "{\"epochs\": 3}", 13);
  cr_assert(report_directory_open(scratch_path("other"), false, &error) == -1, "somebody else's config.json");
  cr_assert(report_directory_open(scratch_path("other"), true, &error) == REPORT_DIRECTORY_FOREIGN);
  cr_assert(access(scratch_path("other/thesis.tex"), F_OK) == 0, "nothing may be deleted");
  cr_assert(report_directory_open(scratch_write("file", "", 0), false, &error) == -1);
  cr_assert(strstr(error.message, "is a file") != NULL, "%s", error.message);
  cr_assert(report_directory_open(scratch_path("deep/down/run"), false, &error) == REPORT_DIRECTORY_NEW);
  cr_assert(access(scratch_path("deep/down/run/figures"), F_OK) == 0, "directories above it are made");
  cr_assert(report_directory_open("", false, &error) == -1);
}

Test(report, config) {
  const struct report_setting settings[] = {{.name = "spec", .kind = REPORT_TEXT, .text = "a \"b\".spm"},
                                            {.name = "lr", .kind = REPORT_NUMBER, .number = 1e-3, .is_default = true},
                                            {.name = "epochs", .kind = REPORT_WHOLE, .whole = 20, .is_default = true},
                                            {.name = "shuffle", .kind = REPORT_FLAG, .whole = 1},
                                            {.name = "clip", .kind = REPORT_NUMBER, .number = INFINITY}};
  cr_assert(report_config_write(scratch_directory, "0.1", settings, 5, &error) == 0, "%s", error.message);
  json_t *config = json_load_file(scratch_path("config.json"), 0, NULL);
  cr_assert(config != NULL);
  const json_t *values = json_object_get(config, "settings");
  cr_assert(strcmp(json_string_value(json_object_get(values, "spec")), "a \"b\".spm") == 0);
  cr_assert(json_real_value(json_object_get(values, "lr")) == 1e-3 &&
            json_integer_value(json_object_get(values, "epochs")) == 20);
  cr_assert(json_is_true(json_object_get(values, "shuffle")) && json_is_null(json_object_get(values, "clip")));
  cr_assert(json_array_size(json_object_get(config, "defaults")) == 2);
  json_decref(config);
  FILE *out = fopen(scratch_path("echo"), "w");
  report_config_print(out, settings + 1, 2);
  fclose(out);
  expect_text(scratch_path("echo"), "  lr     = 0.001 (default)\n  epochs = 20 (default)\n");
}

Test(report, metrics_are_continued_at_the_row_of_the_checkpoint) {
  const char *const names[] = {"epoch", "elbo", "kl(z), \"all\""}, *const others[] = {"epoch", "elbo", "kl"};
  struct report_metrics metrics;
  cr_assert(report_metrics_open(&metrics, scratch_directory, names, 3, 0, &error) == 0, "%s", error.message);
  for (int epoch = 1; epoch <= 3; epoch++)
    cr_assert(report_metrics_row(&metrics, (const double[]){epoch, -243.125 / epoch, epoch == 2 ? NAN : 1}, &error) ==
              0);
  cr_assert(report_metrics_close(&metrics, &error) == 0 && report_metrics_close(&metrics, &error) == 0);
  expect_text(scratch_path("metrics.csv"),
              "epoch,elbo,\"kl(z), \"\"all\"\"\"\n1,-243.125,1\n2,-121.5625,nan\n3,-81.04166666666667,1\n");
  scratch_write("metrics.jsonl", "a\nb\nc\nhalf a li", 15); /* killed while it wrote */
  cr_assert(report_metrics_open(&metrics, scratch_directory, names, 3, 2, &error) == 0, "%s", error.message);
  cr_assert(report_metrics_row(&metrics, (const double[]){3, INFINITY, 0.5}, &error) == 0);
  report_metrics_close(&metrics, NULL);
  expect_text(scratch_path("metrics.csv"),
              "epoch,elbo,\"kl(z), \"\"all\"\"\"\n1,-243.125,1\n2,-121.5625,nan\n3,inf,0.5\n");
  expect_text(scratch_path("metrics.jsonl"), "a\nb\n{\"epoch\": 3, \"elbo\": null, \"kl(z), \\\"all\\\"\": 0.5}\n");
  cr_assert(report_metrics_open(&metrics, scratch_directory, names, 3, 4, &error) == -1);
  cr_assert(strstr(error.message, "fewer rows") != NULL, "%s", error.message);
  cr_assert(report_metrics_open(&metrics, scratch_directory, others, 3, 2, &error) == -1);
  cr_assert(strstr(error.message, "columns are not") != NULL, "%s", error.message);
  cr_assert(report_metrics_open(&metrics, scratch_path("none"), names, 3, 0, &error) == -1);
}

static double test_time;
static double test_clock(void) { return test_time; }

/* Two epochs of 100 steps of 128 rows, an eighth of a second a step. */
static void show_run(enum report_mode mode, const char *path) {
  const char *const names[] = {"elbo", "kl"};
  const double values[] = {-243.1234, 23.5};
  struct report_progress progress;
  FILE *out = fopen(path, "w");
  report_progress_open(&progress, out, mode, 2, 100, 128, 0);
  progress.clock = test_clock;
  test_time = 1000;
  report_progress_start(&progress);
  for (long epoch = 0; epoch < 2; epoch++) {
    for (long step = 1; step <= 100; step++) {
      test_time += 0.125;
      report_progress_step(&progress, epoch, step, names, values, 2);
    }
    report_progress_epoch(&progress, epoch + 1, names, values, 2);
  }
  report_progress_close(&progress);
  fclose(out);
}

Test(report, plain_lines_now_and_then) {
  show_run(REPORT_AUTO, scratch_path("out"));
  expect_text(scratch_path("out"),
              "first step 125 ms, second 125 ms; 198 steps of 128 rows to go: about 25 s at this pace\n"
              "epoch 1/2  step  41/100  elbo -243.12  kl 23.50  1,024 rows/s  ETA 20 s\n"
              "epoch 1/2  step  81/100  elbo -243.12  kl 23.50  1,024 rows/s  ETA 15 s\n"
              "epoch 1/2  elbo -243.12  kl 23.50  12 s  ETA 12 s\n"
              "epoch 2/2  step  40/100  elbo -243.12  kl 23.50  1,024 rows/s  ETA 7.5 s\n"
              "epoch 2/2  step  80/100  elbo -243.12  kl 23.50  1,024 rows/s  ETA 2.5 s\n"
              "epoch 2/2  elbo -243.12  kl 23.50  12 s\n"
              "200 steps in 25 s\n");
}

/* A first step of 2 s is told of at once, a short one when the second has shown the pace. */
Test(report, a_long_first_step) {
  struct report_progress progress;
  FILE *out = fopen(scratch_path("out"), "w");
  report_progress_open(&progress, out, REPORT_AUTO, 1, 3, 8, 0);
  progress.clock = test_clock;
  report_progress_start(&progress);
  test_time += 2;
  report_progress_step(&progress, 0, 1, NULL, NULL, 0);
  test_time += 0.5;
  report_progress_step(&progress, 0, 2, NULL, NULL, 0);
  report_progress_close(&progress);
  fclose(out);
  expect_text(scratch_path("out"),
              "first step 2.0 s; 2 steps of 8 rows to go: about 4.0 s at this pace\n2 steps in 2.5 s\n");
}

Test(report, live_line_is_rewritten_and_cut) {
  size_t size;
  unsetenv("NO_COLOR");
  setenv("COLUMNS", "40", 1);
  show_run(REPORT_LIVE, scratch_path("out"));
  char *text = (char *)scratch_read(scratch_path("out"), &size);
  cr_assert(strstr(text, "\r\033[2mepoch 1/2  step   2/100  elbo -243.12  \033[0m\033[K") != NULL, "%s", text);
  cr_assert(strstr(text, "\r\033[Kepoch 1/2  elbo -243.12  kl 23.50  12 s  ETA 12 s\n") != NULL, "%s", text);
  free(text);
  setenv("NO_COLOR", "1", 1);
  show_run(REPORT_LIVE, scratch_path("out"));
  text = (char *)scratch_read(scratch_path("out"), &size);
  cr_assert(strstr(text, "\033[2m") == NULL && strstr(text, "\033[K") != NULL);
  free(text);
  show_run(REPORT_QUIET, scratch_path("out"));
  expect_text(scratch_path("out"), "");
}
