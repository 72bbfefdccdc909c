/* spmc check: a spec -> every problem found in it, or the news that there are none, with what was tested of each
 * distribution it declares. */
#include "command.h"
#include "self_check.h"

#include "runtime/files.h"

#include <stdio.h>
#include <string.h>

static int report(const Arguments *a, Loaded *l) {
  Text terms = {.compilation = l->compilation};
  bool library = model_is_library(l->model);
  if (setjmp(l->compilation->failure)) return fail_user(a, "%s: out of memory", a->target);
  l->compilation->failure_set = true;
  if (!library) model_describe(&terms, l->model);
  SelfCheckReport tested = {0};
  if (l->compilation->error_count == 0)
    self_check(l->model, &(SelfCheckOptions){.seed = a->seed_given ? a->seed : 1}, &tested);
  /* in JSON what was tested is a note like any other message */
  for (int i = 0; a->json && i < tested.count; i++)
    note_report(l->compilation, "self-check", tested.lines[i].span, "%s", tested.lines[i].text);
  l->compilation->failure_set = false;
  if (l->compilation->error_count > 0) return fail_diagnostics(a, l->compilation);
  print_diagnostics(a, l->compilation);
  if (a->json || a->quiet) return EXIT_FINE;
  if (library)
    printf("%s: a library\n", a->target);
  else
    printf("%s: model %s\n", a->target, model_name(l->model));
  if (terms.length > 0) printf("%s%s", terms.bytes, terms.bytes[terms.length - 1] == '\n' ? "" : "\n");
  for (int i = 0; i < tested.count; i++) printf("  %s\n", tested.lines[i].text);
  printf("no problems found\n");
  return EXIT_FINE;
}

static int report_or_dump(const Arguments *a, Loaded *l) {
  if (a->dump_count == 0) return report(a, l);
  int code = loaded_dump(a, l);
  return code < 0 ? EXIT_FINE : code;
}

int command_check(const Arguments *a) { return with_spec(a, true, report_or_dump); }
