/* A run directory: what a run was told -> config.json and model.spm, and back. */
#ifndef SPM_COMMAND_RUN_H
#define SPM_COMMAND_RUN_H

#include "command.h"

#include "runtime/report.h"

enum { MAX_SETTINGS = 160 };

typedef struct Settings { /* in the order they are shown and written */
  struct report_setting items[MAX_SETTINGS + 1];
  char texts[MAX_SETTINGS][96]; /* names that had to be made */
  char seed_text[24];
  int count;
} Settings;

void setting_text(Settings *, const char *name, const char *value, bool is_default);
void setting_whole(Settings *, const char *name, long long value, bool is_default);
void setting_number(Settings *, const char *name, double value, bool is_default);
void setting_flag(Settings *, const char *name, bool value, bool is_default);
/* Overrides and row shapes, under names that run_read finds again; a file without a name is for `only_data`. */
void settings_model(Settings *, const Arguments *, const DataSet *, const char *only_data);

/* Copies the spec and every file that it uses. Exit code, or -1 to go on. */
int run_copy_spec(const Arguments *, Compilation *, const char *directory);

/* Is what would be compiled now what the run in the directory was made of? Exit code, or -1 if it is. */
int run_same_model(const Arguments *, Compilation *, const char *directory);

typedef struct RunRecord { /* read back from config.json */
  Override overrides[MAX_OVERRIDES];
  DataShape shapes[MAX_FILES];
  char names[MAX_OVERRIDES + MAX_FILES][96];
  int override_count, shape_count;
  unsigned long long seed;
} RunRecord;
/* Exit code, or -1 to go on. */
int run_read(const Arguments *, const char *directory, RunRecord *);

#endif
