/* settings: the train blocks -> a Training each, with defaults for what they leave out; a model without any has one. A
 * learning rate that follows epoch or step is an expression of the train program (derive makes it an output), and so is
 * what a stage selects rows by, of the program "select". */
#include "statements.h"

#include <math.h>
#include <string.h>

static const Item *evaluate_block(const Model *m) {
  for (int i = 0; i < m->items.count; i++)
    if (m->items.items[i]->kind == ITEM_EVALUATE) return m->items.items[i];
  return NULL;
}

static const Item *train_block(const Model *m, int number) {
  for (int i = 0; i < m->items.count; i++)
    if (m->items.items[i]->kind == ITEM_TRAIN && number-- == 0) return m->items.items[i];
  return NULL;
}

/* "did you mean", or all there are. */
static void suggest(Diagnostic *d, const char *name, const char *const *known, const char *all) {
  Suggestion near = {.name = name};
  for (; *known; known++) suggestion_consider(&near, *known);
  if (near.best)
    help_with(d, "did you mean `%s`?", near.best);
  else
    help_with(d, "%s", all);
}

static bool setting_number(Elaborator *e, const Expr *x, const char *name, double low, double high, double *out) {
  Value v = elaborate(e, x);
  if (v.kind == VALUE_ERROR) return false;
  if (v.kind != VALUE_NUMBER) {
    error_at(e->c, "setting", x->span, "%s must be a number known before training", name);
    return false;
  }
  if (!(v.dim.size >= low && v.dim.size <= high)) {
    const char *value = shortest_number(e->c, v.dim.size);
    if (v.dim.size < low)
      error_at(e->c, "setting", x->span, "%s must be at least %s; this is %s", name, shortest_number(e->c, low), value);
    else
      error_at(e->c, "setting", x->span, "%s must be at most %s; this is %s", name, shortest_number(e->c, high), value);
    return false;
  }
  *out = v.dim.size;
  return true;
}

static bool read_flag(Elaborator *e, const Expr *x, const char *name) {
  bool yes = x->kind == EXPR_NAME && strcmp(x->name, "true") == 0,
       no = x->kind == EXPR_NAME && strcmp(x->name, "false") == 0;
  if (!yes && !no) error_at(e->c, "setting", x->span, "%s is true or false", name);
  return !no;
}

static void read_whole_within(Elaborator *e, const Expr *x, const char *name, double high, long *out) {
  double value;
  if (!setting_number(e, x, name, 1, high, &value)) return;
  if (value != floor(value))
    error_at(e->c, "setting", x->span, "%s must be a whole number", name);
  else
    *out = (long)value;
}

static void read_whole(Elaborator *e, const Expr *x, const char *name, long *out) {
  read_whole_within(e, x, name, 1e12, out);
}

static void read_betas(Elaborator *e, const Expr *x, Training *t) {
  if (x->kind != EXPR_LIST || x->element_count != 2) {
    error_at(e->c, "setting", x->span, "betas is a list of two numbers: betas = [0.9, 0.999]");
    return;
  }
  setting_number(e, x->elements[0], "betas[0]", 0, 0.9999999, &t->beta1);
  setting_number(e, x->elements[1], "betas[1]", 0, 0.9999999, &t->beta2);
}

typedef struct OptimizerOption {
  const char *name, *optimizer; /* NULL: of every optimizer */
  size_t offset;
  double high;
} OptimizerOption;

static const OptimizerOption optimizer_options[] = {
    {"lr", NULL, offsetof(Training, lr), 1e6},
    {"weight_decay", NULL, offsetof(Training, weight_decay), 1e6},
    {"clip", NULL, offsetof(Training, clip), 1e30},
    {"epsilon", "adam", offsetof(Training, epsilon), 1},
    {"momentum", "sgd", offsetof(Training, momentum), 1},
};

static void read_option(Elaborator *e, const Argument *a, Training *t) {
  Name name = a->name ? a->name : intern(e->c, "lr");
  if (strcmp(name, "betas") == 0 && strcmp(t->optimizer, "adam") == 0) {
    read_betas(e, a->value, t);
    return;
  }
  for (size_t i = 0; i < sizeof optimizer_options / sizeof *optimizer_options; i++) {
    const OptimizerOption *o = &optimizer_options[i];
    if (strcmp(o->name, name) != 0 || (o->optimizer && strcmp(o->optimizer, t->optimizer) != 0)) continue;
    if (strcmp(name, "lr") == 0) { /* may be a schedule */
      Value v = elaborate(e, a->value);
      if (v.kind == VALUE_ERROR) return;
      if (v.kind == VALUE_TENSOR && v.node->axes == 0 && v.node->shape.rank == 0) {
        t->lr_schedule = a->value;
        return;
      }
    }
    setting_number(e, a->value, name, 0, o->high, (double *)((char *)t + o->offset));
    return;
  }
  Diagnostic *d =
      error_at(e->c, "setting", a->name ? a->name_span : a->value->span, "%s has no setting `%s`", t->optimizer, name);
  help_with(d, strcmp(t->optimizer, "adam") == 0 ? "adam has lr, betas, epsilon, weight_decay, clip"
                                                 : "sgd has lr, momentum, weight_decay, clip");
}

/* lbfgs(steps, history), and restart = true where rows are visited again and again. */
static void read_fit(Elaborator *e, const Expr *x, bool restarts, InnerFit *fit) {
  static const char *const known[] = {"steps", "history", "restart", NULL};
  for (int i = 0; i < x->argument_count; i++) {
    const Argument *a = &x->arguments[i];
    if (a->name && strcmp(a->name, "steps") == 0)
      read_whole(e, a->value, "steps", &fit->steps);
    else if (a->name && strcmp(a->name, "history") == 0)
      read_whole_within(e, a->value, "history", 10000, &fit->history);
    else if (a->name && strcmp(a->name, "restart") == 0 && restarts)
      fit->restart = read_flag(e, a->value, "restart");
    else {
      Diagnostic *d = error_at(e->c, "setting", a->name ? a->name_span : a->value->span, "lbfgs has no setting `%s`",
                               a->name ? a->name : span_text(e->c, a->value->span));
      suggest(d, a->name ? a->name : "", known,
              restarts ? "lbfgs has steps, history, restart" : "lbfgs has steps, history");
    }
  }
}

static void read_optimizer(Elaborator *e, const Setting *s, Training *t, size_t offset) {
  (void)offset;
  const Expr *x = s->value;
  bool named = x->kind == EXPR_CALL || x->kind == EXPR_NAME;
  if (named && (strcmp(x->name, "adam") == 0 || strcmp(x->name, "sgd") == 0)) {
    t->optimizer = x->name;
    if (strcmp(x->name, "sgd") == 0) t->lr = 0.01;
    for (int i = 0; i < x->argument_count; i++) read_option(e, &x->arguments[i], t);
    return;
  }
  if (named && strcmp(x->name, "lbfgs") == 0) {
    t->optimizer = x->name;
    t->fit = (InnerFit){.steps = 20, .history = 20};
    read_fit(e, x, false, &t->fit);
    return;
  }
  static const char *const known[] = {"adam", "sgd", "lbfgs", NULL};
  const char *name = named ? x->name : span_text(e->c, x->span);
  Diagnostic *d =
      error_at(e->c, "setting", x->kind == EXPR_CALL ? x->name_span : x->span, "`%s` is no optimizer", name);
  suggest(d, name, known, "optimizers are adam(lr = 1e-3), sgd(lr = 0.1) and lbfgs(steps = 20)");
}

/* stop = unchanged(n), stop = patience(n) */
static void read_stop(Elaborator *e, const Setting *s, Training *t, size_t offset) {
  (void)offset;
  const Expr *x = s->value;
  bool call = x->kind == EXPR_CALL && x->argument_count == 1 && !x->arguments[0].name;
  if (call && strcmp(x->name, "unchanged") == 0)
    read_whole_within(e, x->arguments[0].value, "unchanged", 16, &t->unchanged);
  else if (call && strcmp(x->name, "patience") == 0) {
    read_whole(e, x->arguments[0].value, "patience", &t->patience);
    t->patience_span = x->span;
  } else {
    Diagnostic *d = error_at(e->c, "setting", x->span, "`stop` is unchanged(n) or patience(n)");
    help_with(d, "stop = unchanged(2): the objective equals that of 2 epochs before; `valid = N;  keep = best;  stop = "
                 "patience(5);`: no value to keep has been better for 5 epochs");
  }
}

/* keep = best (of the objective), best(NAME), best(NAME, smallest = true); whether there is such an output is seen when
 * there are outputs. */
static void read_keep(Elaborator *e, const Setting *s, Training *t, size_t offset) {
  (void)offset;
  const Expr *x = s->value;
  bool named = (x->kind == EXPR_CALL || x->kind == EXPR_NAME) && strcmp(x->name, "best") == 0;
  int count = x->kind == EXPR_CALL ? x->argument_count : 0;
  const Argument *what = count > 0 ? &x->arguments[0] : NULL, *how = count > 1 ? &x->arguments[1] : NULL;
  bool options = count <= 2 && (!what || !what->name) && (!how || (how->name && strcmp(how->name, "smallest") == 0));
  if (!named || !options || (x->kind == EXPR_CALL && count == 0)) {
    Diagnostic *d = error_at(e->c, "setting", x->span,
                             "`keep` is best(NAME) of what is reported for validation rows: the parameters at its "
                             "largest value stay");
    help_with(d, "for example keep = best(elbo), keep = best(error, smallest = true), or keep = best of the objective");
    return;
  }
  t->keep = intern(e->c, what ? span_text(e->c, what->value->span) : "objective");
  t->keep_span = what ? what->value->span : x->span;
  if (how) t->smallest = read_flag(e, how->value, "smallest");
}

typedef struct TrainSetting {
  const char *name;
  size_t offset; /* of whole numbers and flags in a Training */
  void (*read)(Elaborator *, const Setting *, Training *, size_t offset);
} TrainSetting;

static void read_count(Elaborator *e, const Setting *s, Training *t, size_t offset) {
  read_whole(e, s->value, s->name, (long *)((char *)t + offset));
}

static void read_batch(Elaborator *e, const Setting *s, Training *t, size_t offset) {
  if (s->value->kind == EXPR_NAME && strcmp(s->value->name, "all") == 0)
    t->batch = 0;
  else
    read_count(e, s, t, offset);
}

static void read_shuffle(Elaborator *e, const Setting *s, Training *t, size_t offset) {
  (void)offset;
  t->shuffle = read_flag(e, s->value, s->name);
}

static void read_expression(Elaborator *e, const Setting *s, Training *t, size_t offset) {
  (void)e;
  *(Expr **)((char *)t + offset) = s->value;
}

static void read_nothing(Elaborator *e, const Setting *s, Training *t, size_t offset) {
  (void)e, (void)s, (void)t, (void)offset;
}

static void refuse_setting(Elaborator *e, const Setting *s, Training *t, size_t offset) {
  (void)t, (void)offset;
  error_at(e->c, "not-supported", s->name_span, "the setting `%s` is not supported yet", s->name);
}

static const TrainSetting train_settings[] = {
    {"optimizer", 0, read_optimizer},
    {"batch", offsetof(Training, batch), read_batch},
    {"epochs", offsetof(Training, epochs), read_count},
    {"steps", offsetof(Training, steps), read_count},
    {"samples", 0, read_nothing}, /* count_samples */
    {"shuffle", 0, read_shuffle},
    {"stop", 0, read_stop},
    {"rows", offsetof(Training, rows), read_expression},
    {"balance", offsetof(Training, balance), read_expression},
    {"valid", offsetof(Training, valid), read_count},
    {"keep", 0, read_keep},
    {"shards", 0, refuse_setting},
};
enum { TRAIN_SETTINGS = sizeof train_settings / sizeof *train_settings };

/* What others call it, or where it is instead; NULL: nothing is known of it. */
static const char *setting_elsewhere(Elaborator *e, Name name) {
  static const char *const known[][2] = {
      {"batch_size", "it is `batch` here"},
      {"num_epochs", "it is `epochs` here"},
      {"max_epochs", "it is `epochs` here"},
      {"seed", "it is given on the command line: --seed=1"},
      {"threads", "it is given on the command line: --threads=4"},
      {"grad_clip", "it is the optimizer's: `optimizer = adam(clip = 1);`"},
      {"clip_norm", "it is the optimizer's: `optimizer = adam(clip = 1);`"},
      {"patience", "it is `valid = N;  keep = best;  stop = patience(5);` here"},
      {"early_stopping", "it is `valid = N;  keep = best;  stop = patience(5);` here"},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(name, known[i][0]) == 0) return known[i][1];
  for (size_t i = 0; i < sizeof optimizer_options / sizeof *optimizer_options; i++)
    if (strcmp(name, optimizer_options[i].name) == 0)
      return arena_printf(e->c, "it is the optimizer's: `optimizer = %s(%s = ...);`",
                          optimizer_options[i].optimizer ? optimizer_options[i].optimizer : "adam", name);
  return NULL;
}

static void report_unknown(Elaborator *e, const Setting *s, const char *block, const char *const *known) {
  Text all = {.compilation = e->c};
  for (int i = 0; known[i]; i++) text_append(&all, i == 0 ? "its settings are %s" : ", %s", known[i]);
  const char *elsewhere = strcmp(block, "train") == 0 ? setting_elsewhere(e, s->name) : NULL;
  Diagnostic *d = error_at(e->c, "setting", s->name_span, "`%s` has no setting `%s`", block, s->name);
  if (elsewhere)
    help_with(d, "%s", elsewhere);
  else
    suggest(d, s->name, known, all.bytes);
}

static void read_setting(Elaborator *e, const Setting *s, Training *t) {
  const char *known[TRAIN_SETTINGS + 1];
  int count = 0;
  for (int i = 0; i < TRAIN_SETTINGS; i++) {
    if (strcmp(s->name, train_settings[i].name) == 0) {
      train_settings[i].read(e, s, t, train_settings[i].offset);
      return;
    }
    if (train_settings[i].read != refuse_setting) known[count++] = train_settings[i].name;
  }
  known[count] = NULL;
  report_unknown(e, s, "train", known);
}

/* map(steps, optimizer = lbfgs(history), start): restarted at each visit. */
static void read_map_fit(Elaborator *e, const Expr *x, Training *t) {
  const Expr *optimizer = find_argument(x, "optimizer")->value;
  const Argument *steps = find_argument(x, "steps"), *size = find_argument(x, "step_size");
  bool named = optimizer->kind == EXPR_CALL || optimizer->kind == EXPR_NAME;
  t->inner = (InnerFit){.steps = 100, .history = 20};
  if (!named || strcmp(optimizer->name, "lbfgs") != 0) {
    Diagnostic *d = error_at(e->c, "setting", optimizer->span, "the optimizer of map is lbfgs");
    help_with(d, "for example map(steps = 100, optimizer = lbfgs(history = 20)); without it map takes gradient steps");
  } else
    read_fit(e, optimizer, false, &t->inner);
  if (steps) read_whole(e, steps->value, "steps", &t->inner.steps);
  if (size) error_at(e->c, "setting", size->name_span, "lbfgs finds its own step size");
  t->fit_new = t->inner;
  t->inner.restart = true;
}

/* The `infer` of locals, and how rows that were not trained on are fitted: by `evaluate { fit = ... }`, else likewise.
 */
static void read_inner_fits(Elaborator *e, const Item *evaluate, Training *t) {
  const Model *m = e->model;
  const Item *infer = local_inference(m);
  const Item *map = latent_fit(m);
  t->fit_new = (InnerFit){.steps = 100, .history = 20};
  if (map) read_map_fit(e, map->expr, t);
  if (infer && check_local_inference(e, infer)) {
    t->inner = t->fit_new;
    read_fit(e, infer->expr, true, &t->inner);
    t->fit_new = t->inner;
  }
  for (int i = 0; evaluate && i < evaluate->setting_count; i++) {
    const Setting *s = &evaluate->settings[i];
    if (strcmp(s->name, "hide") == 0) continue; /* read_hidden */
    if (strcmp(s->name, "fit") != 0) {
      report_unknown(e, s, "evaluate", (const char *const[]){"fit", "hide", NULL});
      continue;
    }
    bool lbfgs = (s->value->kind == EXPR_CALL || s->value->kind == EXPR_NAME) && strcmp(s->value->name, "lbfgs") == 0;
    if (!lbfgs) {
      Diagnostic *d = error_at(e->c, "setting", s->value->span, "new rows are fitted by lbfgs");
      help_with(d, "for example fit = lbfgs(steps = 100, history = 20)");
      continue;
    }
    read_fit(e, s->value, false, &t->fit_new);
  }
}

static void hide(Elaborator *e, const Expr *x) {
  Model *m = e->model;
  const Item *item = x->kind == EXPR_NAME ? model_find_declaration(m, x->name) : NULL;
  if (!item || !may_be_missing(item)) {
    Diagnostic *d = error_at(e->c, "setting", x->span, "`hide` names data that may be missing, and %s%s",
                             span_text(e->c, x->span), item ? " is not declared missing_ok" : " is none");
    if (item) note_at(d, item->name_span, "`%s` is declared here", item->name);
    help_with(d, "inference then sees all of it as missing, and metrics see its values: hide = y, or hide = [y, z]");
    return;
  }
  m->hidden = arena_grow(e->c, m->hidden, m->hidden_count, sizeof *m->hidden);
  m->hidden[m->hidden_count++] = item->name;
}

/* evaluate { hide = y; } */
static void read_hidden(Elaborator *e, const Item *evaluate) {
  e->model->hidden_count = 0;
  for (int i = 0; evaluate && i < evaluate->setting_count; i++) {
    const Setting *s = &evaluate->settings[i];
    if (strcmp(s->name, "hide") != 0) continue;
    if (s->value->kind != EXPR_LIST) hide(e, s->value);
    for (int k = 0; s->value->kind == EXPR_LIST && k < s->value->element_count; k++) hide(e, s->value->elements[k]);
  }
}

static void read_block(Elaborator *e, const Item *block, Training *t) {
  bool batch = false;
  t->span = block->span;
  t->name = block->name ? block->name : t->name;
  for (int i = 0; i < block->setting_count; i++) {
    read_setting(e, &block->settings[i], t);
    batch |= strcmp(block->settings[i].name, "batch") == 0 && t->batch > 0;
  }
  if (t->patience > 0 && !t->keep) {
    Diagnostic *d = error_at(e->c, "setting", t->patience_span,
                             "`patience` waits for a better value of what `keep` keeps the best of, and there is no "
                             "`keep`");
    help_with(d, "write `valid = N;  keep = best;` beside it, or best(NAME) of a term or a metric");
  }
  if (t->lr_schedule)
    t->rate = block->name ? intern(e->c, arena_printf(e->c, "%s.lr", block->name)) : intern(e->c, "lr");
  if (strcmp(t->optimizer, "lbfgs") != 0) return;
  if (batch) {
    Diagnostic *d = error_at(e->c, "setting", t->span, "lbfgs takes all rows in each step");
    help_with(d, "write `batch = all;`; batches are for adam and sgd");
  }
  t->batch = 0;
}

/* A stage may not train on rows by which another one is judged: what any holds back, all hold back. */
static void agree_on_valid(Elaborator *e, Training *stages, int count) {
  const Training *first = NULL;
  for (int i = 0; i < count; i++) {
    if (stages[i].valid == 0) continue;
    if (!first) first = &stages[i];
    if (stages[i].valid == first->valid) continue;
    Diagnostic *d = error_at(e->c, "setting", stages[i].span, "stages hold back different validation rows: %ld and %ld",
                             first->valid, stages[i].valid);
    help_with(d, "they are held back from all stages; write `valid` once, or the same number");
    return;
  }
  for (int i = 0; i < count && first; i++) stages[i].valid = first->valid;
}

/* One program trains all stages, and its gradients are clipped or not. */
static void agree_on_clip(Elaborator *e, const Training *stages, int count) {
  for (int i = 1; i < count; i++) {
    if (stages[i].clip == stages[0].clip) continue;
    Diagnostic *d = error_at(e->c, "setting", stages[i].span,
                             "stages clip their gradients by different norms: %g and %g (0: not at all)",
                             stages[0].clip, stages[i].clip);
    help_with(d, "write the same `clip` in all of them; lbfgs goes without");
    return;
  }
}

void read_training(Model *m) {
  Compilation *c = m->compilation;
  Elaborator *e = elaborator_create(m, PROGRAM_TRAIN, m->samples);
  const Training defaults = {.name = intern(c, ""),
                             .optimizer = intern(c, "adam"),
                             .lr = 1e-3,
                             .beta1 = 0.9,
                             .beta2 = 0.999,
                             .epsilon = 1e-8,
                             .batch = 128,
                             .epochs = 20,
                             .shuffle = true};
  int count = 0;
  while (train_block(m, count)) count++;
  m->training_count = count > 0 ? count : 1;
  m->trainings = arena_array(c, Training, m->training_count);
  m->trainings[0] = defaults;
  for (int i = 0; i < count; i++) {
    const Item *block = train_block(m, i);
    m->trainings[i] = defaults;
    read_block(e, block, &m->trainings[i]);
    if (block->name || count == 1) continue;
    Diagnostic *d = error_at(c, "setting", block->span, "a `train` block without a name is the only one");
    help_with(d, "name the stages: `train first { ... }`, `train second { ... }`");
  }
  agree_on_valid(e, m->trainings, m->training_count);
  agree_on_clip(e, m->trainings, m->training_count);
  read_inner_fits(e, evaluate_block(m), &m->trainings[0]);
  read_hidden(e, evaluate_block(m));
}

/* What is kept is the best of a number that evaluation reports. */
/* "elbo, kl(z), accuracy" */
static const char *names_of_numbers(const Model *m, const Graph *evaluate) {
  Text all = {.compilation = m->compilation};
  for (int o = 0; o < evaluate->output_count; o++) {
    const Output *output = &evaluate->outputs[o];
    bool reported = output->role == OUTPUT_TERM || output->role == OUTPUT_METRIC;
    if (reported && output->value->shape.rank == 0) text_append(&all, "%s%s", all.length ? ", " : "", output->name);
  }
  return all.length ? all.bytes : "no terms and no metrics";
}

void check_kept(const Model *m, const Graph *evaluate) {
  Compilation *c = m->compilation;
  for (int i = 0; i < m->training_count; i++) {
    const Training *t = &m->trainings[i];
    Suggestion near = {.name = t->keep};
    bool found = t->keep == NULL;
    for (int o = 0; o < evaluate->output_count && !found; o++) {
      const Output *output = &evaluate->outputs[o];
      if (output->value->shape.rank > 0) continue;
      found = output->name == t->keep;
      suggestion_consider(&near, output->name);
    }
    if (found) continue;
    Diagnostic *d =
        error_at(c, "setting", t->keep_span, "nothing called `%s` is reported for validation rows", t->keep);
    if (near.best)
      help_with(d, "did you mean `%s`?", near.best);
    else
      help_with(d, "what is reported are %s; `keep = best` alone is of the objective", names_of_numbers(m, evaluate));
  }
}

static void read_samples(Elaborator *e, const Expr *x, double *out) {
  double value = 1;
  if (!setting_number(e, x, "samples", 1, 1e6, &value)) return;
  if (value != floor(value))
    error_at(e->c, "setting", x->span, "samples = %s is not a whole number", shortest_number(e->c, value));
  else
    *out = value;
}

static void samples_in(Elaborator *e, const Expr *x, double *out) {
  if (!x) return;
  for (int i = 0; i < x->argument_count; i++) {
    bool bound = x->kind == EXPR_CALL && (strcmp(x->name, "elbo") == 0 || strcmp(x->name, "iwae") == 0);
    if (bound && x->arguments[i].name && strcmp(x->arguments[i].name, "samples") == 0)
      read_samples(e, x->arguments[i].value, out);
    else
      samples_in(e, x->arguments[i].value, out);
  }
  samples_in(e, x->a, out);
  samples_in(e, x->b, out);
  samples_in(e, x->c, out);
}

int count_samples(const Model *m) {
  Elaborator *e = elaborator_create((Model *)m, PROGRAM_TRAIN, 1);
  double samples = 1;
  const Item *block;
  for (int b = 0; (block = train_block(m, b)) != NULL; b++)
    for (int i = 0; i < block->setting_count; i++) {
      if (strcmp(block->settings[i].name, "samples") != 0) continue;
      double before = samples;
      read_samples(e, block->settings[i].value, &samples);
      if (before == 1 || before == samples) continue;
      Diagnostic *d =
          error_at(e->c, "setting", block->settings[i].name_span, "stages have different numbers of samples");
      help_with(d, "write `samples` once: it holds for all of them");
    }
  for (int i = 0; i < m->items.count; i++)
    if (m->items.items[i]->kind == ITEM_OBJECTIVE || m->items.items[i]->kind == ITEM_MINIMIZE ||
        m->items.items[i]->kind == ITEM_LET)
      samples_in(e, m->items.items[i]->expr, &samples);
  return (int)samples;
}
