/* starts: initial values from data: rows(x), mean(x, over = batch), median(x, over = batch), and file("w.npy"). What
 * they need is entered in the signature as a `given`, which the host works out before the first step; here its shape is
 * found and its range known. Only the init of a param may ask for them. */
#include "builtins.h"

#include <string.h>

static bool in_init(Elaborator *e, const Expr *call) {
  if (e->initialising && e->starting) return true;
  Diagnostic *d = error_at(e->c, "init", call->span,
                           "`%s` gives a param its initial value and stands in its `init` alone", call->name);
  help_with(d, strcmp(call->name, "file") == 0   ? "for example param W : real[K, D] init file(\"w.npy\")"
               : strcmp(call->name, "rows") == 0 ? "for example param W : real[K, D] init rows(x)"
                                                 : "for example param b : real[D] init median(x, over = batch)");
  return false;
}

/* The data declaration that the first argument names, or NULL. */
static const Item *data_argument(Elaborator *e, const Expr *call) {
  const Expr *x = positional_count(call) > 0 ? call->arguments[0].value : NULL;
  if (!x || x->kind != EXPR_NAME || !e->model_visible || scope_find(e->scope, x->name)) return NULL;
  return model_find(e->model, ITEM_DATA, x->name);
}

static Value given_value(Elaborator *e, const Expr *call, const Given *given) {
  Signature *s = e->graph->signature;
  int index = 0;
  for (; index < s->given_count; index++) {
    const Given *other = &s->givens[index];
    bool same = other->kind == given->kind && other->data == given->data && other->span.start == given->span.start &&
                other->span.source == given->span.source;
    if (same) break;
  }
  if (index == s->given_count) {
    s->givens = arena_grow(e->c, s->givens, s->given_count, sizeof *s->givens);
    s->givens[s->given_count++] = *given;
  }
  place(e, call->span);
  return value_tensor(build_given(e->graph, index), 0, call->span);
}

static Given given_of(Elaborator *e, const Expr *call, GivenKind kind, int data) {
  Given given = {.name = intern(e->c, span_text(e->c, call->span)), .kind = kind, .data = data, .span = call->span};
  if (data >= 0) {
    given.facts = e->graph->signature->data[data].facts;
    given.facts.finite = true;
    given.facts.integer = given.facts.integer && kind == GIVEN_ROWS;
  }
  return given;
}

/* ---- statistics ------------------------------------------------------------------------------------------------ */

bool is_start_statistic(Elaborator *e, const Expr *call) {
  const Argument *over = find_argument(call, "over");
  bool named = strcmp(call->name, "mean") == 0 || strcmp(call->name, "median") == 0;
  return named && e->initialising && e->starting && over && over->value->kind == EXPR_NAME &&
         strcmp(over->value->name, "batch") == 0 && data_argument(e, call);
}

Value start_statistic(Elaborator *e, const Expr *call) {
  int data = data_index(e, data_argument(e, call));
  if (data < 0) return value_error();
  if (call->argument_count != 2) {
    error_at(e->c, "argument", call->span, "%s takes a name of data and over = batch here", call->name);
    return value_error();
  }
  Given given = given_of(e, call, strcmp(call->name, "mean") == 0 ? GIVEN_MEAN : GIVEN_MEDIAN, data);
  given.shape = e->graph->signature->data[data].shape;
  return given_value(e, call, &given);
}

static Value call_median(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)a, (void)count;
  if (!in_init(e, call)) return value_error();
  Diagnostic *d = error_at(e->c, "init", call->span, "`median` is that of data, over all rows");
  help_with(d, "for example median(x, over = batch)");
  return value_error();
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

/* The dim of the param that counts rows: the others are those of a row. */
static bool rows_dim(const Shape *wanted, const Shape *row, Dim *rows) {
  if (wanted->rank != row->rank + 1) return false;
  for (int out = 0; out < wanted->rank; out++) {
    bool fits = true;
    for (int d = 0; d < row->rank; d++) fits = fits && dim_agree(wanted->dims[d < out ? d : d + 1], row->dims[d]);
    *rows = wanted->dims[out];
    if (fits) return true;
  }
  return false;
}

static Value call_rows(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)a, (void)count;
  if (!in_init(e, call)) return value_error();
  const Item *item = data_argument(e, call);
  if (!item) {
    error_at(e->c, "init", call->arguments[0].value->span, "`rows` takes the name of data");
    return value_error();
  }
  int data = data_index(e, item);
  if (data < 0) return value_error();
  const Shape *row = &e->graph->signature->data[data].shape;
  Given given = given_of(e, call, GIVEN_ROWS, data);
  given.shape.rank = row->rank + 1;
  if (row->rank + 1 > MAX_RANK || !rows_dim(e->starting_shape, row, &given.shape.dims[0])) {
    Diagnostic *d = error_at(e->c, "init", call->span, "rows of `%s` have the shape %s, and the param has %s",
                             item->name, shape_text(e->c, row), shape_text(e->c, e->starting_shape));
    help_with(d,
              "a param whose rows are data has one dim more than a datum: [K, D] for data of shape [D], or [D, K] "
              "with rows(%s)'",
              item->name);
    return value_error();
  }
  memcpy(given.shape.dims + 1, row->dims, sizeof(Dim) * (size_t)row->rank);
  return given_value(e, call, &given);
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

/* Does the call stand directly in `call'`? */
static bool is_transposed(const Expr *init, const Expr *call) {
  if (!init) return false;
  if (init->kind == EXPR_TRANSPOSE && init->a == call) return true;
  bool found = false;
  const Expr *parts[] = {init->a, init->b, init->c};
  for (int i = 0; i < 3; i++) found = found || is_transposed(parts[i], call);
  for (int i = 0; i < init->argument_count; i++) found = found || is_transposed(init->arguments[i].value, call);
  for (int i = 0; i < init->element_count; i++) found = found || is_transposed(init->elements[i], call);
  return found;
}

static Value call_file(Elaborator *e, const Expr *call, Value *a, int count) {
  (void)a, (void)count;
  if (!in_init(e, call)) return value_error();
  Value path = elaborate(e, call->arguments[0].value);
  if (path.kind != VALUE_STRING) {
    if (path.kind != VALUE_ERROR)
      error_at(e->c, "argument", call->arguments[0].value->span,
               "`file` takes the name of a file in quotes, seen from "
               "where the spec is");
    return value_error();
  }
  Support support;
  Given given = given_of(e, call, GIVEN_FILE, -1);
  given.path = path.name;
  given.shape = *e->starting_shape;
  if (given.shape.rank == 2 && is_transposed(e->starting->init, call)) {
    given.shape.dims[0] = e->starting_shape->dims[1];
    given.shape.dims[1] = e->starting_shape->dims[0];
  }
  if (!read_support(e, e->starting->type, &support)) return value_error();
  given.facts = support.facts;
  given.facts.finite = true;
  return given_value(e, call, &given);
}

const BuiltinRow start_functions[] = {
    {"rows", call_rows, 1, 1, "", TAKES_DIMS},
    {"file", call_file, 1, 1, "", TAKES_DIMS},
    {"median", call_median, 1, 1, "over", TAKES_DIMS},
    {0},
};
