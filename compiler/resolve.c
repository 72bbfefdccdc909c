/* resolve: a path -> Model. Reads the file, the models it is `from` and the shipped library, merges statements by
 * subject (a later file replaces, the rest adds), gives every dim its value, and refuses constructs whose meaning is
 * not built yet. Requires nothing; leaves a Model whose names are unique, or errors. */
#include "embedded.h"
#include "statements.h"

#include <string.h>

enum { MAX_FROM = 16 };

static void table_add(Compilation *c, Table *table, Item *item) {
  table->items = arena_grow(c, table->items, table->count, sizeof *table->items);
  table->items[table->count++] = item;
}

bool is_network(ItemKind kind) { return kind == ITEM_ENCODER || kind == ITEM_DECODER || kind == ITEM_NETWORK; }

static bool is_declaration(ItemKind kind) {
  return kind == ITEM_DIM || kind == ITEM_DATA || kind == ITEM_LATENT || kind == ITEM_PARAM || kind == ITEM_LOCAL ||
         kind == ITEM_DRAW || kind == ITEM_LET || kind == ITEM_SCHEDULE || is_network(kind);
}

static bool is_library_item(ItemKind kind) {
  return kind == ITEM_LAYER || kind == ITEM_FUNCTION || kind == ITEM_DISTRIBUTION || kind == ITEM_RULE;
}

Item *model_find(const Model *m, ItemKind kind, Name name) {
  for (int i = 0; i < m->items.count; i++)
    if (m->items.items[i]->kind == kind && m->items.items[i]->name == name) return m->items.items[i];
  return NULL;
}

Item *model_find_declaration(const Model *m, Name name) {
  for (int i = 0; i < m->items.count; i++) {
    Item *item = m->items.items[i];
    if (item->name == name && is_declaration(item->kind) && !is_network(item->kind) && item->kind != ITEM_DIM)
      return item;
  }
  return NULL;
}

Item *library_find(const Model *m, ItemKind kind, Name name) {
  for (int i = 0; i < m->library.count; i++)
    if (m->library.items[i]->kind == kind && m->library.items[i]->name == name) return m->library.items[i];
  return NULL;
}

const Override *find_override(const Model *m, Name name) {
  for (int i = 0; i < m->options.override_count; i++)
    if (strcmp(m->options.overrides[i].name, name) == 0) return &m->options.overrides[i];
  return NULL;
}

/* A posterior of it, or an `infer` that names it. */
static bool infers(const Item *item, Name latent) {
  bool found = item->kind == ITEM_POSTERIOR && item->name == latent;
  for (int i = 0; item->kind == ITEM_INFER && i < item->name_count; i++) found |= item->names[i] == latent;
  return found;
}

/* Two statements with the same subject cannot both stand. */
static bool same_subject(const Item *a, const Item *b) {
  if (b->kind == ITEM_POSTERIOR) return infers(a, b->name);
  if (b->kind == ITEM_INFER) {
    bool any = false;
    for (int i = 0; i < b->name_count; i++) any |= infers(a, b->names[i]);
    return any;
  }
  bool goal_a = a->kind == ITEM_OBJECTIVE || a->kind == ITEM_MINIMIZE;
  bool goal_b = b->kind == ITEM_OBJECTIVE || b->kind == ITEM_MINIMIZE;
  if (goal_a || goal_b) return goal_a && goal_b;
  if (is_declaration(a->kind) && is_declaration(b->kind)) return a->name == b->name;
  return a->kind == b->kind && a->name == b->name && a->kind != ITEM_USE && a->kind != ITEM_ALLOW &&
         a->kind != ITEM_MODEL;
}

static void remove_item(Table *table, int at) {
  memmove(&table->items[at], &table->items[at + 1], sizeof *table->items * (size_t)(table->count - at - 1));
  table->count--;
}

/* A name declared anew as another kind loses what other files said of it: its prior, posterior and likelihood. */
static void drop_statements_about(Model *m, const Item *item) {
  for (int i = m->items.count - 1; i >= 0; i--) {
    const Item *old = m->items.items[i];
    bool about = old->kind == ITEM_PRIOR || old->kind == ITEM_LIKELIHOOD;
    if (((about && old->name == item->name) || infers(old, item->name)) && old->span.source != item->span.source)
      remove_item(&m->items, i);
  }
}

static void report_twice(Compilation *c, const Item *old, const Item *item) {
  bool by_syntax_check = item->kind == ITEM_PRIOR || item->kind == ITEM_LIKELIHOOD || item->kind == ITEM_POSTERIOR ||
                         item->kind == ITEM_INFER || item->kind == ITEM_OBJECTIVE || item->kind == ITEM_MINIMIZE;
  if (by_syntax_check) return;
  const char *name = item->name ? arena_printf(c, " %s", item->name) : "";
  Diagnostic *d = error_at(c, "declared-twice", item->name ? item->name_span : item->span, "%s%s stands twice",
                           item_keyword(item->kind), name);
  if (item->name && old->kind != item->kind) d->message = arena_printf(c, "`%s` is declared twice", item->name);
  note_at(d, old->name ? old->name_span : old->span, "it stands here first%s",
          old->kind == item->kind ? "" : arena_printf(c, ", as a %s", item_keyword(old->kind)));
  help_with(d, old->kind == item->kind
                   ? "remove one of the two, or put a variant into a file of its own: `model NAME from \"FILE\";`"
                   : "call one of the two by another name");
}

/* Words with a meaning of their own, and columns that every run reports. */
static void refuse_name(Model *m, const Item *item) {
  static const char *const words[] = {"batch", "sample",        "epoch", "step",  "training",
                                      "pi",    "rows_in_batch", "true",  "false", NULL};
  static const char *const columns[] = {"objective", "elbo", "rows", "lr", NULL};
  bool reported = item->kind == ITEM_METRIC || item->kind == ITEM_SCHEDULE;
  for (int i = 0; item->name && (is_declaration(item->kind) || reported) && words[i]; i++)
    if (strcmp(item->name, words[i]) == 0) {
      error_at(m->compilation, "reserved-name", item->name_span, "`%s` has a meaning of its own and cannot be declared",
               item->name);
      return;
    }
  for (int i = 0; reported && columns[i]; i++)
    if (strcmp(item->name, columns[i]) == 0) {
      Diagnostic *d =
          error_at(m->compilation, "reserved-name", item->name_span, "every run reports `%s` of its own", item->name);
      help_with(d, "choose another name for this %s", item_keyword(item->kind));
    }
}

/* A variant's stages stand in the place of an unnamed `train`, and the other way round. */
static void drop_other_stages(Model *m, const Item *item) {
  for (int i = m->items.count - 1; i >= 0 && item->kind == ITEM_TRAIN; i--) {
    const Item *old = m->items.items[i];
    if (old->kind == ITEM_TRAIN && old->span.source != item->span.source && !old->name != !item->name)
      remove_item(&m->items, i);
  }
}

static void add_item(Model *m, Item *item) {
  refuse_name(m, item);
  drop_other_stages(m, item);
  for (int i = 0; i < m->items.count; i++) {
    Item *old = m->items.items[i];
    if (!same_subject(old, item)) continue;
    if (old->span.source == item->span.source) {
      report_twice(m->compilation, old, item);
      return;
    }
    m->items.items[i] = item;
    for (int k = m->items.count - 1; k > i; k--) /* `infer a, b` may stand for two posteriors */
      if (same_subject(m->items.items[k], item)) remove_item(&m->items, k);
    if (old->kind != item->kind && is_declaration(old->kind)) drop_statements_about(m, item);
    return;
  }
  table_add(m->compilation, &m->items, item);
}

static bool same_parameters(const Item *a, const Item *b) {
  if (a->extra.count != b->extra.count || a->formals.count != b->formals.count) return false;
  for (int i = 0; i < a->extra.count; i++)
    if (a->extra.items[i].name != b->extra.items[i].name) return false;
  const TypeExpr *first = a->formals.count ? a->formals.items[0].type : NULL,
                 *second = b->formals.count ? b->formals.items[0].type : NULL;
  return (first ? first->dim_count : 0) == (second ? second->dim_count : 0);
}

/* Distributions may share a name if their parameters differ; rules have no subject. */
static bool same_library_subject(const Item *a, const Item *b) {
  if (a->kind == ITEM_RULE || b->kind == ITEM_RULE || a->name != b->name) return false;
  if (a->kind != b->kind) return true;
  return a->kind != ITEM_DISTRIBUTION || same_parameters(a, b);
}

/* Later files go first: what they declare is found before what they build on. */
static void add_library_item(Model *m, Item *item, int *first) {
  for (int i = 0; i < m->library.count; i++) {
    const Item *old = m->library.items[i];
    if (old->span.source == item->span.source && same_library_subject(old, item)) {
      report_twice(m->compilation, old, item);
      return;
    }
  }
  table_add(m->compilation, &m->library, item);
  Item **items = m->library.items;
  memmove(&items[*first + 1], &items[*first], sizeof *items * (size_t)(m->library.count - 1 - *first));
  items[(*first)++] = item;
}

static const char *path_beside(Compilation *c, const char *path, const char *other) {
  const char *slash = strrchr(path, '/');
  if (other[0] == '/' || !slash) return other;
  return arena_printf(c, "%.*s/%s", (int)(slash - path), path, other);
}

static void read_file(Model *m, const char *path, Span from, int depth);

static void read_base(Model *m, const Item *item, int source, int depth) {
  Compilation *c = m->compilation;
  if (depth >= MAX_FROM) {
    Diagnostic *d = error_at(c, "from-cycle", item->path_span, "models are built on each other %d deep", MAX_FROM);
    help_with(d, "does a model stand on itself through a chain of `from`?");
    return;
  }
  const char *path = path_beside(c, c->sources[source].path, item->from_path);
  for (int i = 0; i < c->source_count; i++)
    if (c->sources[i].path && strcmp(c->sources[i].path, path) == 0) {
      error_at(c, "from-cycle", item->path_span, "`%s` is already being read: a model cannot stand on itself", path);
      return;
    }
  read_file(m, path, item->path_span, depth + 1);
}

/* The used file: beside the using one, else in a directory of the search path; reported if it is nowhere. */
static const char *find_used(Model *m, const Item *item, int source) {
  Compilation *c = m->compilation;
  const char *beside = path_beside(c, c->sources[source].path, item->from_path);
  FILE *file = fopen(beside, "r");
  for (const char *at = m->options.search_path; !file && at && *at && item->from_path[0] != '/';) {
    size_t n = strcspn(at, ":");
    const char *path = arena_printf(c, "%.*s/%s", (int)n, at, item->from_path);
    at += n + (at[n] == ':');
    file = n ? fopen(path, "r") : NULL;
    if (file) beside = path;
  }
  if (file) fclose(file);
  return beside; /* read_file says what is wrong with it */
}

/* Brings a library's declarations; one that several files use is read once. */
static void read_used(Model *m, const Item *item, int source, int depth) {
  Compilation *c = m->compilation;
  const char *path = find_used(m, item, source);
  for (int i = 0; i < m->open_count; i++)
    if (strcmp(m->open_paths[i], path) == 0) {
      error_at(c, "use-cycle", item->path_span, "`%s` uses itself, through what it uses", path);
      return;
    }
  for (int i = 0; i < m->file_count; i++)
    if (strcmp(c->sources[m->files[i]->source].path, path) == 0) return;
  int before = m->file_count;
  read_file(m, path, item->path_span, depth + 1);
  if (m->file_count == before) return;
  const File *file = m->files[before];
  for (int i = 0; i < file->count; i++) {
    ItemKind kind = file->items[i]->kind;
    if (is_library_item(kind) || kind == ITEM_USE || kind == ITEM_ALLOW || kind == ITEM_ERROR) continue;
    Diagnostic *d = error_at(c, "use-model", item->path_span,
                             "`%s` is no library: it holds more than layers, functions, distributions and rules", path);
    note_at(d, file->items[i]->span, "such as this");
    help_with(d, "a variant of a model says `model NAME from \"FILE\";`");
    return;
  }
}

static void read_items(Model *m, const File *file, int source, int depth) {
  Compilation *c = m->compilation;
  for (int i = 0; i < file->count; i++)
    if (file->items[i]->kind == ITEM_MODEL && file->items[i]->from_path) read_base(m, file->items[i], source, depth);
  for (int i = 0; i < file->count; i++)
    if (file->items[i]->kind == ITEM_USE) read_used(m, file->items[i], source, depth);
  int first = 0; /* of the library's items, behind those of this file */
  for (int i = 0; i < file->count; i++) {
    Item *item = file->items[i];
    if (item->kind == ITEM_ERROR) continue;
    if (item->kind == ITEM_MODEL) {
      m->name = item->name;
      m->span = item->span;
    } else if (item->kind == ITEM_ALLOW) {
      for (int k = 0; k < item->name_count; k++) {
        c->allowed = arena_grow(c, c->allowed, c->allowed_count, sizeof *c->allowed);
        c->allowed[c->allowed_count++] = item->names[k];
      }
    } else if (is_library_item(item->kind))
      add_library_item(m, item, &first);
    else if (item->kind != ITEM_USE)
      add_item(m, item);
  }
}

static void read_file(Model *m, const char *path, Span from, int depth) {
  Compilation *c = m->compilation;
  bool given = depth == 0 && m->options.text;
  int source = given ? source_text(c, path, m->options.text, from) : source_read(c, path, from);
  if (source < 0) return;
  File *file = parse(c, source);
  syntax_check(c, file);
  m->files = arena_grow(c, m->files, m->file_count, sizeof *m->files);
  m->files[m->file_count++] = file;
  m->open_paths = arena_grow(c, m->open_paths, m->open_count, sizeof *m->open_paths);
  m->open_paths[m->open_count++] = path;
  read_items(m, file, source, depth);
  m->open_count--;
}

static void read_shipped_library(Model *m) {
  Compilation *c = m->compilation;
  static const char folder[] = "compiler/library/";
  for (const EmbeddedText *t = embedded_texts; t->path; t++) {
    if (strncmp(t->path, folder, strlen(folder)) != 0) continue;
    int source = source_add(c, t->path + strlen(folder), t->text, t->length, true);
    File *file = parse(c, source);
    for (int i = 0; i < file->count; i++) table_add(c, &m->library, file->items[i]);
  }
}

/* ---- what is not built yet is refused by name ----------------------------------------------------------------- */

static void refuse(Compilation *c, Span span, const char *what, const char *instead) {
  Diagnostic *d = error_at(c, "not-supported", span, "%s is not supported yet", what);
  if (instead) help_with(d, "%s", instead);
}

static void refuse_block(Compilation *c, const Block *block) {
  for (int i = 0; i < block->count; i++) {
    const Stmt *s = block->items[i];
    if (s->kind == STMT_PARAM && s->is_local)
      refuse(c, s->span, "a `local` inside a block", "declare it among the statements of the model");
    if (s->kind == STMT_PARAM && type_attribute(s->type, "solved"))
      refuse(c, type_attribute(s->type, "solved")->span, "a solved param inside a block",
             "declare it among the statements of the model");
  }
}

static void refuse_unbuilt(Model *m) {
  Compilation *c = m->compilation;
  for (int i = 0; i < m->items.count; i++) {
    const Item *item = m->items.items[i];
    refuse_block(c, &item->block);
  }
  for (int i = 0; i < m->library.count; i++) refuse_block(c, &m->library.items[i]->block);
}

/* ---- dims ------------------------------------------------------------------------------------------------------ */

static const DataShape *shape_of_data(const Model *m, Name name) {
  for (int i = 0; i < m->options.data_count; i++)
    if (strcmp(m->options.data[i].name, name) == 0) return &m->options.data[i];
  return NULL;
}

/* `dim D;` takes the value that makes the first data declaration mentioning it alone fit its file. */
static double dim_from_data(const Model *m, Name dim, bool *found) {
  *found = false;
  for (int i = 0; i < m->items.count; i++) {
    const Item *item = m->items.items[i];
    const DataShape *shape = item->kind == ITEM_DATA ? shape_of_data(m, item->name) : NULL;
    if (!shape) continue;
    double total = 1;
    for (int k = 0; k < shape->rank; k++) total *= (double)shape->dims[k];
    int first = type_attribute(item->type, "gathered") != NULL; /* that one counts rows of the file */
    bool same_rank = item->type->dim_count - first == shape->rank;
    for (int k = first; k < item->type->dim_count; k++) {
      const Expr *e = item->type->dims[k];
      if (e->kind != EXPR_NAME || e->name != dim) continue;
      if (same_rank || item->type->dim_count - first == 1) {
        *found = true;
        return same_rank ? (double)shape->dims[k - first] : total;
      }
    }
  }
  return 0;
}

static bool dim_is_bound(const Model *m, Name name) {
  for (int i = 0; i < m->dim_count; i++)
    if (m->dims[i].name == name) return true;
  return false;
}

/* A name before a file that the model does not know; NULL: there is none. */
static const char *unknown_data(const Model *m) {
  for (int i = 0; i < m->options.data_count; i++) {
    const char *name = m->options.data[i].name;
    if (name[0] && !model_find(m, ITEM_DATA, intern(m->compilation, name))) return name;
  }
  return NULL;
}

static bool counts_classes(const Model *m, Name dim) {
  for (int i = 0; i < m->items.count; i++) {
    const TypeExpr *type = m->items.items[i]->kind == ITEM_DATA ? m->items.items[i]->type : NULL;
    const Expr *classes =
        type && strcmp(type->name, "category") == 0 && type->argument_count == 1 ? type->arguments[0].value : NULL;
    if (classes && classes->kind == EXPR_NAME && classes->name == dim) return true;
  }
  return false;
}

static void report_no_value(const Model *m, const Item *item) {
  Compilation *c = m->compilation;
  Diagnostic *d = error_at(c, "dim-value", item->name_span, "dim %s has no value", item->name);
  if (shape_of_data(m, ""))
    help_with(d, "say which data each file is for, as in --data NAME=FILE");
  else if (unknown_data(m))
    help_with(d, "the model has no data called `%s`, for which a file was given", unknown_data(m));
  else if (counts_classes(m, item->name))
    help_with(d, "a file of labels does not say how many classes there are: give it (`dim %s = 10;`, or %s=10)",
              item->name, item->name);
  else
    help_with(d,
              "give it one (`dim %s = 64;`), override it on the command line (%s=64), or give --data a file whose "
              "rows have that shape",
              item->name, item->name);
}

/* Called for each dim in turn, and by lookup where one dim is made of another that stands below it. */
void bind_dim(Model *m, const Item *item) {
  Compilation *c = m->compilation;
  if (dim_is_bound(m, item->name)) return;
  double value = 0;
  bool known = false, invented = false;
  const Override *override = find_override(m, item->name);
  if (override) {
    value = override->value;
    known = true;
  } else if (item->expr) {
    Elaborator *e = elaborator_create(m, PROGRAM_INITIALISE, 1);
    Dim dim = dim_number(1);
    if (++m->dim_depth > m->items.count)
      error_at(c, "cycle", item->name_span, "dim %s depends on itself", item->name);
    else if (!elaborate_dim(e, item->expr, &dim))
      dim = dim_number(1);
    m->dim_depth--;
    if (dim_is_bound(m, item->name)) return; /* a cycle: bound, and reported, on the way */
    value = dim.size;
    known = true;
  } else {
    value = dim_from_data(m, item->name, &known);
    if (!known && m->options.invent_dims) {
      double *taken = arena_array(c, double, m->dim_count);
      for (int i = 0; i < m->dim_count; i++) taken[i] = m->dims[i].dim.size;
      value = dim_invent(c, item->name, taken, m->dim_count);
      known = invented = true;
    }
  }
  if (!known) {
    report_no_value(m, item);
    value = 1;
  } else if (!is_dim_size(value)) {
    Diagnostic *d = error_at(c, "dim-value", item->name_span, "dim %s = %s is not a whole number from 1 to 2^30",
                             item->name, shortest_number(c, value));
    if (override) help_with(d, "it was set by %s=%s on the command line", item->name, shortest_number(c, value));
    value = 1;
  }
  m->dims = arena_grow(c, m->dims, m->dim_count, sizeof *m->dims);
  m->dims[m->dim_count++] = (DimBinding){item->name, dim_name(c, item->name, value), invented};
}

static void check_overrides(Model *m) {
  Compilation *c = m->compilation;
  for (int i = 0; i < m->options.override_count; i++) {
    Name name = intern(c, m->options.overrides[i].name);
    const Item *item = model_find(m, ITEM_DIM, name);
    if (!item) item = model_find(m, ITEM_LET, name);
    if (!item) item = model_find(m, ITEM_SCHEDULE, name);
    if (item) continue;
    Diagnostic *d = error_at(c, "override", m->span, "%s=... on the command line names no dim, let or schedule of %s%s",
                             name, m->name ? "model " : "this library", m->name ? m->name : "");
    Suggestion near = {.name = name};
    for (int k = 0; k < m->items.count; k++) {
      ItemKind kind = m->items.items[k]->kind;
      if (kind == ITEM_DIM || kind == ITEM_LET || kind == ITEM_SCHEDULE)
        suggestion_consider(&near, m->items.items[k]->name);
    }
    const Item *other = model_find_declaration(m, name);
    if (near.best)
      help_with(d, "did you mean %s?", near.best);
    else if (strcmp(name, "epochs") == 0 || strcmp(name, "batch") == 0 || strcmp(name, "seed") == 0)
      help_with(d, "it is an option: --%s=...", name);
    else if (other && other->kind == ITEM_PARAM)
      help_with(d, "`%s` is a param, found by training: for its start, write `let start = ...;` and `init start`",
                name);
    else
      help_with(d, "what a command line is to set has a name in the spec: `let %s = ...;`", name);
  }
}

/* What is asked for beside the latents: values, under names of their own. */
static void read_also(Model *m) {
  Compilation *c = m->compilation;
  Span nowhere = {0};
  int source = m->options.also ? source_text(c, "--also", m->options.also, nowhere) : -1;
  if (source < 0) return;
  File *file = parse(c, source);
  syntax_check(c, file);
  for (int i = 0; i < file->count; i++) {
    const Item *item = file->items[i];
    if (item->kind != ITEM_LET && item->kind != ITEM_ERROR)
      error_at(c, "also", item->span, "--also takes NAME=EXPRESSION, and no `%s`", item_keyword(item->kind));
    else if (item->kind == ITEM_LET && model_find(m, ITEM_LATENT, item->name))
      error_at(c, "also", item->name_span, "`%s` is a latent, and written already: take another name", item->name);
  }
  m->also = file;
}

/* The model outlives the caller's arrays: programs are derived when they are first asked for. */
static CompileOptions own_options(Compilation *c, const CompileOptions *options) {
  CompileOptions own = *options;
  Override *overrides = arena_array(c, Override, own.override_count);
  for (int i = 0; i < own.override_count; i++)
    overrides[i] = (Override){.name = intern(c, options->overrides[i].name), .value = options->overrides[i].value};
  DataShape *shapes = arena_array(c, DataShape, own.data_count);
  for (int i = 0; i < own.data_count; i++) {
    shapes[i] = options->data[i];
    shapes[i].name = intern(c, options->data[i].name);
  }
  own.overrides = overrides;
  own.data = shapes;
  return own;
}

Model *resolve(Compilation *c, const char *path, const CompileOptions *options) {
  Model *m = arena_new(c, Model);
  m->compilation = c;
  m->options = own_options(c, options);
  m->notes.compilation = c;
  Span nowhere = {0};
  read_file(m, path, nowhere, 0);
  if (c->error_count > 0) return m;
  read_shipped_library(m);
  read_also(m);
  if (!m->name && m->items.count > 0) {
    Diagnostic *d =
        error_at(c, "no-model", m->items.items[0]->span, "this statement needs a model, and the file names none");
    help_with(d, "begin the file with `model NAME;`; a library holds functions, layers, distributions and rules alone");
  }
  refuse_unbuilt(m);
  if (c->error_count > 0) return m;
  for (int i = 0; i < m->items.count; i++)
    if (m->items.items[i]->kind == ITEM_DIM) bind_dim(m, m->items.items[i]);
  check_overrides(m);
  return m;
}
