/* spmc explain: a spec -> every term with its rule, shapes, parameters, work and memory. Needs no data. */
#include "command.h"
#include "explain.h"

#include <stdio.h>

static int report(const Arguments *a, Loaded *l) {
  Text text = {.compilation = l->compilation};
  if (model_is_library(l->model))
    return fail_user(a, "%s holds no model, so there is nothing to run and nothing to explain", a->target);
  if (setjmp(l->compilation->failure)) return fail_user(a, "%s: out of memory", a->target);
  l->compilation->failure_set = true;
  bool fine = a->json ? explain_json(&text, l->model, a->batch > 0 ? a->batch : 0)
                      : explain(&text, l->model, a->batch > 0 ? a->batch : 0);
  l->compilation->failure_set = false;
  if (!fine) return fail_diagnostics(a, l->compilation);
  fwrite(text.bytes, 1, text.length, stdout);
  return EXIT_FINE;
}

int command_explain(const Arguments *a) { return with_spec(a, true, report); }
