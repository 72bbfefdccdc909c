/* A declared distribution -> subjects (with the shapes and whole numbers of one variant), settings of its parameters,
 * and small programs over stand-in inputs that are interpreted at many points at once. */
#include "self_check_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- subjects -------------------------------------------------------------------------------------------------- */

static bool expr_names(const Expr *x, Name name) {
  if (!x) return false;
  if (x->kind == EXPR_NAME) return x->name == name;
  for (int i = 0; i < x->argument_count; i++)
    if (expr_names(x->arguments[i].value, name)) return true;
  return expr_names(x->a, name) || expr_names(x->b, name) || expr_names(x->c, name);
}

/* A parameter that a type's parentheses or brackets mention has to be a number. */
static bool type_names(const TypeExpr *type, Name name) {
  for (int i = 0; type && i < type->argument_count; i++)
    if (expr_names(type->arguments[i].value, name)) return true;
  for (int i = 0; type && i < type->dim_count; i++)
    if (expr_names(type->dims[i], name)) return true;
  return false;
}

static bool is_whole(const TypeExpr *type) {
  return type && (strcmp(type->name, "simplex") == 0 || strcmp(type->name, "category") == 0);
}

static bool is_subset(const TypeExpr *type) { return type && strcmp(type->name, "subset") == 0; }

/* Binds the names of dims that a type uses; the first of them has the variant's extent. */
static void bind_dims(Elaborator *e, const Expr *dim, int extent, Scope *scope, int *bound) {
  if (!dim || dim->kind != EXPR_NAME || scope_find(scope, dim->name)) return;
  scope_bind(e, scope, dim->name, value_dim(dim_name(e->c, dim->name, extent + (*bound)++)), dim->span);
}

static void bind_type(Elaborator *e, const TypeExpr *type, int extent, Scope *scope, int *bound) {
  int members = 0;
  if (is_subset(type)) /* so many of more */
    bind_dims(e, type->argument_count ? type->arguments[0].value : NULL, 2, scope, &members);
  for (int i = 0; type && i < type->dim_count; i++) bind_dims(e, type->dims[i], extent, scope, bound);
  for (int i = 0; is_whole(type) && i < type->argument_count; i++)
    bind_dims(e, type->arguments[i].value, extent, scope, bound);
}

static bool read_type(Elaborator *e, const TypeExpr *type, Support *support, Shape *shape) {
  *support = (Support){.name = "real", .facts = {.low = -INFINITY, .high = INFINITY, .finite = true}};
  *shape = (Shape){0};
  return !type || (read_support(e, type, support) && read_shape(e, type, shape));
}

static void read_atoms(Elaborator *e, const TypeExpr *type, Subject *s) {
  for (int i = 0; type && i < type->attribute_count; i++) {
    const Attribute *a = &type->attributes[i];
    if (strcmp(a->name, "atoms") != 0) continue;
    for (int k = 0; k < a->argument_count && s->atom_count < MAX_ATOMS; k++) {
      Value v = elaborate(e, a->arguments[k].value);
      if (v.kind == VALUE_NUMBER)
        s->atoms[s->atom_count++] = v.dim.size;
      else
        s->problem = "an atom that is not a number";
    }
  }
}

static bool read_slots(Elaborator *e, Subject *s, Scope *scope, int variant, const double *fixed) {
  static const double wholes[] = {4, 1, 9}, sizes[] = {2, 1, 3}; /* of a count; of a subset */
  static const double ends[] = {0, -2.3, 0.4};                   /* of interval(low, high), low first */
  const Formals *formals = &s->item->extra;
  const TypeExpr *event = s->item->formals.items[0].type;
  for (int i = 0; i < formals->count; i++) {
    Slot *slot = &s->slots[i];
    *slot = (Slot){.formal = &formals->items[i], .size = 1};
    slot->is_number = type_names(event, slot->formal->name) || slot->formal->is_dim;
    slot->number = (is_subset(event) ? sizes : wholes)[variant % 3];
    if (event && strcmp(event->name, "interval") == 0) slot->number = ends[variant % 3] + 1.7 * i;
    if (fixed && !isnan(fixed[i])) {
      slot->is_number = true;
      slot->number = fixed[i];
    }
    if (slot->is_number) scope_bind(e, scope, slot->formal->name, value_number(slot->number), slot->formal->span);
  }
  for (int i = 0; i < formals->count; i++) {
    Slot *slot = &s->slots[i];
    Value initial = slot->formal->initial ? elaborate(e, slot->formal->initial) : value_error();
    slot->usual = initial.kind == VALUE_NUMBER ? initial.dim.size : NAN;
    if (!slot->formal->is_dim && !read_type(e, slot->formal->type, &slot->support, &slot->shape)) return false;
    slot->size = shape_size(&slot->shape);
  }
  return true;
}

bool subject_open(Subject *s, Model *m, const Item *item, int variant, const double *fixed) {
  *s = (Subject){.model = m, .c = m->compilation, .item = item};
  if (item->extra.count > MAX_SLOTS || item->formals.count != 1) {
    s->problem = item->formals.count != 1 ? "an event of several variables" : "more than 16 parameters";
    return variant == 0;
  }
  Elaborator *e = builder_open(m).e;
  Scope *scope = scope_new(e, NULL);
  Frame frame = enter_callee(e, scope, false, item->name);
  const TypeExpr *event = item->formals.items[0].type;
  int bound = 0, extent = variant + (is_subset(event) ? 5 : is_whole(event) ? 2 : 1), errors = s->c->error_count;
  bool numbers = false;
  for (int i = 0; i < item->extra.count; i++) numbers |= type_names(event, item->extra.items[i].name);
  bool ok = true;
  for (int i = 0; is_subset(event) && i < event->dim_count; i++) bind_dims(e, event->dims[i], extent, scope, &bound);
  if (numbers) ok = read_slots(e, s, scope, variant, fixed); /* before the event, which mentions them */
  bind_type(e, event, extent, scope, &bound);
  for (int i = 0; i < item->extra.count; i++) bind_type(e, item->extra.items[i].type, extent, scope, &bound);
  if (ok && !numbers) ok = read_slots(e, s, scope, variant, fixed);
  ok = ok && read_type(e, event, &s->support, &s->event);
  if (ok) read_atoms(e, event, s);
  leave_callee(e, frame);
  s->slot_count = item->extra.count;
  s->event_size = shape_size(&s->event);
  s->density = item->has_block ? distribution_find_field(item, "log_pdf") : NULL;
  if (item->has_block && !s->density) {
    s->density = distribution_find_field(item, "log_kernel");
    s->is_kernel = s->density != NULL;
  }
  if (!ok && s->c->error_count == errors) s->problem = "its types cannot be read by themselves";
  return ok && variant < (numbers ? 3 : bound ? 2 : 1);
}

/* ---- settings -------------------------------------------------------------------------------------------------- */

static double uniform_of(struct spm_random *r) { return ((double)(spm_random_word(r) >> 11) + 0.5) * 0x1p-53; }

static double normal_of(struct spm_random *r) {
  return sqrt(-2 * log(uniform_of(r))) * cos(2 * acos(-1) * uniform_of(r));
}

/* One number inside the support. The first settings walk a ladder, so that small and large values always occur. */
static double number_of(const Facts *f, int setting, int place, struct spm_random *r) {
  static const double positives[3][3] = {{1, 1.3, 0.8}, {0.4, 2.2, 0.7}, {3, 0.35, 1.6}};
  static const double reals[3][3] = {{0, 0.6, 1.5}, {1.7, 2.4, 4.1}, {-2.3, -0.4, 0.9}};
  static const double units[3][3] = {{0.5, 0.35, 0.7}, {0.13, 0.62, 0.9}, {0.87, 0.21, 0.48}};
  bool ladder = setting < 3;
  double u = uniform_of(r), n = normal_of(r);
  if (isfinite(f->low) && isfinite(f->high)) {
    if (f->integer) return f->low + floor(u * (f->high - f->low + 1));
    return f->low + (f->high - f->low) * (ladder ? units[setting][place % 3] : 0.05 + 0.9 * u);
  }
  if (f->integer) return (isfinite(f->low) ? f->low : 0) + (double)((setting * 3 + place) % 7 + 1);
  if (isfinite(f->low)) return f->low + (ladder ? positives[setting][place % 3] : exp((2 * u - 1) * log(4)));
  if (isfinite(f->high)) return f->high - (ladder ? positives[setting][place % 3] : exp((2 * u - 1) * log(4)));
  return ladder ? reals[setting][place % 3] : 2 * n;
}

static void onto_simplex(double *values, long size, long last) {
  for (long start = 0; start + last <= size; start += last) {
    double sum = 0;
    for (long i = 0; i < last; i++) sum += values[start + i] = 0.1 + fabs(values[start + i]);
    for (long i = 0; i < last; i++) values[start + i] /= sum;
  }
}

static void onto_triangle(double *values, long size, long last) {
  for (long i = 0; i < size; i++) {
    long row = i / last % last, column = i % last;
    if (column > row)
      values[i] = 0;
    else if (column == row)
      values[i] = 0.3 + fabs(values[i]);
  }
}

/* A default is taken first, and always where nothing is declared of what the parameter may be. */
static bool takes_usual(const Slot *slot, int number) {
  return slot->size == 1 && !isnan(slot->usual) && (!slot->formal->type || number == 0);
}

static void fill_slot(const Slot *slot, int number, int place, struct spm_random *r, double *values) {
  if (takes_usual(slot, number)) {
    *values = slot->usual;
    return;
  }
  long last = slot->shape.rank ? (long)slot->shape.dims[slot->shape.rank - 1].size : 1;
  for (long i = 0; i < slot->size; i++) values[i] = number_of(&slot->support.facts, number, place + (int)i, r);
  if (slot->support.special == SPECIAL_SIMPLEX) onto_simplex(values, slot->size, last);
  if (slot->support.special == SPECIAL_LOWER_TRIANGULAR) onto_triangle(values, slot->size, last);
}

static bool is_free_real(const Slot *slot) {
  return !slot->is_number && slot->shape.rank == 0 && !isfinite(slot->support.facts.low) &&
         !isfinite(slot->support.facts.high);
}

void point_make(const Subject *s, int number, uint64_t seed, Point *setting) {
  struct spm_random random;
  spm_random_start(&random, seed, 0x5e1fu + (uint64_t)number);
  double last = -INFINITY;
  for (int i = 0; i < s->slot_count; i++) {
    const Slot *slot = &s->slots[i];
    setting->values[i] = arena_array(s->c, double, slot->size);
    if (slot->is_number)
      *setting->values[i] = slot->number;
    else
      fill_slot(slot, number, i, &random, setting->values[i]);
    /* Two unbounded numbers are often the ends of an interval, so they come in increasing order. */
    if (!is_free_real(slot) || takes_usual(slot, number)) continue;
    if (*setting->values[i] <= last) *setting->values[i] = last + 0.5 + uniform_of(&random);
    last = *setting->values[i];
  }
}

const char *point_text(const Subject *s, const Point *setting) {
  Text t = {.compilation = s->c};
  for (int i = 0; i < s->slot_count; i++) {
    text_append(&t, "%s%s = %s", i ? ", " : "", s->slots[i].formal->name, s->slots[i].size == 1 ? "" : "[");
    for (long k = 0; k < s->slots[i].size; k++) text_append(&t, "%s%.5g", k ? ", " : "", setting->values[i][k]);
    if (s->slots[i].size != 1) text_append(&t, "]");
  }
  return t.length ? t.bytes : "";
}

Name point_untyped_negative(const Subject *s, const Point *setting) {
  for (int i = 0; i < s->slot_count; i++)
    for (long k = 0; k < s->slots[i].size && !s->slots[i].formal->type; k++)
      if (setting->values[i][k] < 0) return s->slots[i].formal->name;
  return NULL;
}

/* ---- programs -------------------------------------------------------------------------------------------------- */

Builder builder_open(Model *m) {
  Model *scratch = arena_new(m->compilation, Model); /* with a signature of its own: these inputs are nobody's */
  *scratch = *m;
  scratch->signature = (Signature){0};
  scratch->sources = NULL;
  Elaborator *e = elaborator_create(scratch, PROGRAM_EVALUATE, 1);
  return (Builder){.e = e, .signature = &scratch->signature};
}

Value builder_input(Builder *b, Name name, const Shape *shape, const Facts *facts, Span span) {
  Signature *s = b->signature;
  s->data = arena_grow(b->e->c, s->data, s->data_count, sizeof *s->data);
  s->data[s->data_count] = (DataInput){.name = name, .shape = *shape, .span = span, .facts = *facts};
  return value_tensor(build_data(b->e->graph, s->data_count++), 0, span);
}

Value builder_event(Builder *b, const Subject *s) {
  const Formal *f = &s->item->formals.items[0];
  return builder_input(b, f->name, &s->event, &s->support.facts, f->span);
}

bool builder_distribution(Builder *b, const Subject *s, Value *d) {
  Elaborator *e = b->e;
  Value *values = arena_array(e->c, Value, s->slot_count);
  for (int i = 0; i < s->slot_count; i++) {
    const Slot *slot = &s->slots[i];
    values[i] = slot->is_number
                    ? value_number(slot->number)
                    : builder_input(b, slot->formal->name, &slot->shape, &slot->support.facts, slot->formal->span);
    values[i].span = slot->formal->span;
  }
  *d = (Value){.kind = VALUE_DISTRIBUTION,
               .family = (Item *)s->item,
               .elements = values,
               .count = s->slot_count,
               .span = s->item->name_span};
  if (s->item->has_block) return true;
  Scope *scope = scope_new(e, NULL); /* = other(...) */
  for (int i = 0; i < s->slot_count; i++) scope_bind(e, scope, s->slots[i].formal->name, values[i], values[i].span);
  Frame frame = enter_callee(e, scope, false, e->path);
  *d = elaborate(e, s->item->fields ? s->item->fields[0].value : s->item->expr);
  leave_callee(e, frame);
  return d->kind == VALUE_DISTRIBUTION;
}

Program *builder_close(Builder *b, Node **outputs, int count) {
  Compilation *c = b->e->c;
  for (int i = 0; i < count; i++) {
    Node *rows = outputs[i]->axes & AXIS_DATUM ? outputs[i] : build_spread(b->e->graph, outputs[i], AXIS_DATUM);
    graph_output(b->e->graph, OUTPUT_ROWS, intern(c, arena_printf(c, "value%d", i)), i, rows);
  }
  const char *violation = ir_verify(b->e->graph);
  if (violation) {
    error_at(c, "internal", b->e->model->span, "internal error in a self-check: %s", violation);
    return NULL;
  }
  Program *p = arena_new(c, Program);
  *p = (Program){.graph = simplify(b->e->graph), .input_count = b->signature->data_count, .output_count = count};
  return p;
}

enum { CHUNK = 2048 };

static void fill_columns(const Program *p, const Column *columns, long first, long rows, double **inputs) {
  for (int i = 0; i < p->input_count; i++) {
    long size = shape_size(&p->graph->signature->data[i].shape);
    for (long r = 0; r < rows; r++)
      memcpy(inputs[i] + r * size, columns[i].values + (columns[i].same ? 0 : (first + r) * size),
             sizeof(double) * (size_t)size);
  }
}

static bool run_chunk(const Program *p, double **inputs, long first, long rows, double **outputs) {
  Bindings b = {.rows = rows, .first_row = first, .data = (const double *const *)inputs, .seed = p->seed};
  b.settings[SETTING_ROWS_IN_BATCH] = b.settings[SETTING_TOTAL_ROWS] = (double)rows;
  Evaluation *found = interpret(p->graph, &b);
  bool ok = found && !found->problem;
  for (int i = 0; ok && i < p->output_count; i++) {
    const Node *node = p->graph->outputs[i].value;
    long size = shape_size(&node->shape);
    for (long r = 0; r < rows; r++)
      memcpy(outputs[i] + (first + r) * size, found->values[node->id] + (node->axes & AXIS_DATUM ? r * size : 0),
             sizeof(double) * (size_t)size);
  }
  if (found) evaluation_free(found, p->graph);
  return ok;
}

bool program_run(const Program *p, const Column *columns, long rows, double **outputs) {
  double *inputs[MAX_INPUTS] = {0};
  bool ok = p->input_count <= MAX_INPUTS;
  long chunk = rows < CHUNK ? rows : CHUNK;
  for (int i = 0; i < p->output_count; i++) {
    outputs[i] = malloc(sizeof(double) * (size_t)(rows * shape_size(&p->graph->outputs[i].value->shape) + 1));
    ok = ok && outputs[i];
  }
  for (int i = 0; ok && i < p->input_count; i++) {
    inputs[i] = malloc(sizeof(double) * (size_t)(chunk * shape_size(&p->graph->signature->data[i].shape) + 1));
    ok = inputs[i] != NULL;
  }
  for (long first = 0; ok && first < rows; first += chunk) {
    long now = rows - first < chunk ? rows - first : chunk;
    fill_columns(p, columns, first, now, inputs);
    ok = run_chunk(p, inputs, first, now, outputs);
  }
  for (int i = 0; i < p->input_count && i < MAX_INPUTS; i++) free(inputs[i]);
  for (int i = 0; !ok && i < p->output_count; i++) {
    free(outputs[i]);
    outputs[i] = NULL;
  }
  return ok;
}

Program *density_program(const Subject *s) {
  Builder b = builder_open(s->model);
  Value d, z = builder_event(&b, s);
  bool missing;
  if (!builder_distribution(&b, s, &d)) return NULL;
  Value v = distribution_field(&b.e[0], &d, s->is_kernel ? "log_kernel" : "log_pdf", &z, &s->event, s->item->name_span,
                               &missing);
  if (v.kind != VALUE_TENSOR) return NULL;
  return builder_close(&b, &v.node, 1);
}

int point_columns(const Subject *s, const Point *setting, Column *at) {
  int count = 0;
  for (int i = 0; i < s->slot_count; i++)
    if (!s->slots[i].is_number) at[count++] = (Column){setting->values[i], true};
  return count;
}

/* ---- draws ----------------------------------------------------------------------------------------------------- */

static void fill_noise(bool uniform, uint64_t seed, int stream, long rows, long size, double *out) {
  spm_noise_d(uniform ? SPM_UNIFORM : SPM_NORMAL, seed, (unsigned)stream, 0, 0, rows, 0, 0, size, out, size);
}

static bool can_draw(const Value *d) {
  if (d->combinator == COMBINE_NONE) return distribution_find_field(d->family, "sample") != NULL;
  for (int i = 0; i < d->count; i++)
    if (d->elements[i].kind != VALUE_DISTRIBUTION || !can_draw(&d->elements[i])) return false;
  return true;
}

/* Of `= other(...)`: as a model would draw it. */
static double *draw_derived(Builder *b, const Subject *s, const Value *d, const Column *columns, uint64_t seed,
                            long rows) {
  double *out = NULL;
  if (!can_draw(d)) return NULL;
  Value v = distribution_sample(b->e, d, s->item->formals.items[0].name, &s->event, AXIS_DATUM, s->item->name_span);
  if (v.kind != VALUE_TENSOR) return NULL;
  Program *p = builder_close(b, &v.node, 1);
  if (p) p->seed = seed;
  return p && program_run(p, columns, rows, &out) ? out : NULL;
}

double *draw_rows(const Subject *s, const Field *field, const Point *setting, uint64_t seed, double sharpness,
                  long rows) {
  Builder b = builder_open(s->model);
  Value d, arguments[MAX_SLOTS];
  Column columns[MAX_INPUTS];
  if (!builder_distribution(&b, s, &d)) return NULL;
  int count = point_columns(s, setting, columns);
  if (!s->item->has_block) return field ? NULL : draw_derived(&b, s, &d, columns, seed, rows);
  if (!field) field = distribution_find_field(d.family, "sample");
  if (!field || field->head.count + field->extra.count > MAX_SLOTS) return NULL;
  int total = field->head.count + field->extra.count;
  for (int i = 0; i < total; i++) {
    bool extra = i >= field->head.count;
    const Formal *f = extra ? &field->extra.items[i - field->head.count] : &field->head.items[i];
    Support support;
    Shape shape;
    if (!distribution_argument_shape(b.e, &d, f, &s->event, &support, &shape)) return NULL;
    long size = shape_size(&shape) * (extra ? 1 : rows);
    double *values = arena_array(s->c, double, size);
    if (!extra) fill_noise(support.special == SPECIAL_NOISE_UNIFORM, seed, i, rows, shape_size(&shape), values);
    for (long k = 0; extra && k < size; k++) {
      Value initial = f->initial ? elaborate(b.e, f->initial) : value_number(1);
      values[k] = sharpness * (initial.kind == VALUE_NUMBER ? initial.dim.size : 1);
    }
    arguments[i] = builder_input(&b, f->name, &shape, &support.facts, f->span);
    columns[count++] = (Column){values, extra};
  }
  Value v = distribution_field_at(b.e, &d, field, arguments, &s->event, field->span);
  if (v.kind != VALUE_TENSOR) return NULL;
  double *out = NULL;
  Program *p = builder_close(&b, &v.node, 1);
  return p && program_run(p, columns, rows, &out) ? out : NULL;
}
