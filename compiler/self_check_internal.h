/* What the files of the self-check share. A Subject is one declaration with the shapes its parameters and its event
 * have in one variant (two dims, binomial's n = 4); a Point gives its parameters values; a Program is a small graph
 * over stand-in inputs that is interpreted in double at many rows at once; a Mass is the density at one setting as
 * weighted points, found by quadrature or by summing. */
#ifndef SPM_SELF_CHECK_INTERNAL_H
#define SPM_SELF_CHECK_INTERNAL_H

#include "statements.h"
#include "self_check.h"

#include "runtime/model.h"
#include "runtime/rng.h"

enum { MAX_SLOTS = 16, MAX_INPUTS = 64, MAX_ATOMS = 8, SETTINGS = 6, MAX_COMPONENTS = 4 };

typedef struct Slot { /* a parameter */
  const Formal *formal;
  Support support;
  Shape shape;
  long size;
  bool is_number; /* part of a type or fixed by a rule's pattern: a number while the graph is built */
  double number;
  double usual; /* its default, or NAN */
} Slot;

typedef struct Subject {
  Model *model;
  Compilation *c;
  const Item *item;
  Slot slots[MAX_SLOTS];
  int slot_count;
  Shape event;
  long event_size;
  Support support;
  double atoms[MAX_ATOMS];
  int atom_count;
  const Field *density; /* log_pdf or log_kernel */
  bool is_kernel;
  const char *problem; /* why this declaration cannot be tested, or NULL */
} Subject;

/* variant: 0, 1, ...; false when there is no such variant. `fixed` may be NULL: for each parameter NAN or a number. */
bool subject_open(Subject *, Model *, const Item *, int variant, const double *fixed);

typedef struct Point {
  double *values[MAX_SLOTS];
} Point;
void point_make(const Subject *, int number, uint64_t seed, Point *);
const char *point_text(const Subject *, const Point *); /* "mean = 0.3, scale = 1.2" */
/* A parameter declared without a type, so that it may be any number, that is below 0 here; or NULL. */
Name point_untyped_negative(const Subject *, const Point *);

/* ---- programs ---------------------------------------------------------------------------------------------------- */

typedef struct Builder {
  Elaborator *e;
  Signature *signature;
} Builder;

typedef struct Program {
  Graph *graph;
  int input_count, output_count;
  uint64_t seed; /* of its noise, where it draws */
} Program;

typedef struct Column { /* of one input: a row a point, or one row for all */
  const double *values;
  bool same;
} Column;

Builder builder_open(Model *);
Value builder_input(Builder *, Name, const Shape *, const Facts *, Span);
/* The distribution of the subject, its parameters being new inputs in their order. */
bool builder_distribution(Builder *, const Subject *, Value *d);
Value builder_event(Builder *, const Subject *);
Program *builder_close(Builder *, Node **outputs, int count);
/* outputs[i]: rows x size of output i, made with malloc. False when memory is out. */
bool program_run(const Program *, const Column *columns, long rows, double **outputs);
/* log_pdf (or log_kernel) at an event, event first; NULL if it cannot be built. */
Program *density_program(const Subject *);
/* Columns of a subject's parameters that are inputs, from `at` on; returns how many. */
int point_columns(const Subject *, const Point *, Column *at);

/* ---- densities --------------------------------------------------------------------------------------------------- */

typedef enum MassKind { MASS_UNTESTED, MASS_SUM, MASS_LINE, MASS_PLANE } MassKind;

typedef struct Mass {
  MassKind kind;
  const char *reason; /* UNTESTED: why */
  long size, count;   /* of an event; of points */
  double *z, *weight, *log_f;
  long edge_count; /* LINE: P(coordinate <= edge), of the normalised density */
  double *edge, *below;
  double total, uncertainty; /* sum of weight x density */
  double wish_error[MAX_COMPONENTS],
      wish_size[MAX_COMPONENTS]; /* LINE: of what was wished for, and its absolute integral */
  double below_zero;             /* share of the mass there (LINE) */
  bool no_setting;               /* not a number at any point: these parameters mean nothing */
  bool has_bad;                  /* not finite at a point inside the support */
  double bad_z, bad_value;
} Mass;

/* What is integrated along with the density to full accuracy: E[z] and E[z^2] where a field declares them. */
typedef struct MassWish {
  bool entropy, mean, variance;
} MassWish;

void mass_make(const Subject *, const Program *density, const Point *, MassWish, Mass *);
void mass_free(Mass *);
/* E[g] of the normalised density; g by point. */
double mass_expect(const Mass *, const double *g);
/* log of the normalised density at given points (rows x size), malloc. */
double *mass_log_pdf(const Subject *, const Program *density, const Point *, const Mass *, const double *z, long rows);

/* Integral of components over a line by adaptive Gauss-Kronrod in t, z = anchor +- exp(t), so that tails, singular ends
 * and kinks at anchors are resolved. */
typedef struct Line {
  double low, high; /* support */
  double anchors[32];
  int anchor_count;
  int components;
  /* values[i * components + k]: component k of the integrand at z[i]; the first is the density itself. */
  bool (*evaluate)(void *context, const double *z, long count, double *values);
  void *context;
  /* found: */
  double total[MAX_COMPONENTS], absolute[MAX_COMPONENTS], error[MAX_COMPONENTS];
  long count;
  double *z, *weight; /* points of the last panels */
  long panel_count;
  double *panel_low, *panel_high, *panel_mass; /* sorted */
} Line;
bool line_integrate(Line *);
void line_free(Line *);
void line_anchors(Line *, const Subject *, const Point *);

/* ---- the tests ------------------------------------------------------------------------------------------------- */

/* What one kind of test found over all settings. */
typedef struct Tally {
  int tested, failed;
  double worst;
  const char *skipped; /* why it was not tested somewhere, or NULL */
  const char *number;  /* what the worst number is, or NULL: an error */
} Tally;

typedef enum Aspect {
  ASPECT_DENSITY,
  ASPECT_SAMPLE,
  ASPECT_RELAXED,
  ASPECT_ENTROPY,
  ASPECT_MEAN,
  ASPECT_VARIANCE,
  ASPECT_DERIVATIVES,
  ASPECT_PROX,
  ASPECT_COUNT
} Aspect;
extern const char *const aspect_names[ASPECT_COUNT];

typedef struct Testing { /* of one declaration */
  Model *model;
  Compilation *c;
  const Item *item;
  uint64_t seed;
  Tally tallies[ASPECT_COUNT];
  bool kernel;               /* its density is declared up to a factor */
  int settings, meaningless; /* settings at which the density is not a number anywhere */
  Name untyped;              /* a parameter without a type that was below 0 at one of these, or NULL */
} Testing;

/* Counts a comparison; the first failure of an aspect is reported by the caller (true: report it). */
bool tally(Testing *, Aspect, double error, double tolerance);
void tally_skip(Testing *, Aspect, const char *why);

void test_density(Testing *, const Subject *, const Program *density, const Point *, const Mass *);
/* self_check_many.c: the integral over events of more than two dims, and its standard error. */
bool integrate_many(const Subject *, const Program *density, const Point *, uint64_t seed, double *total,
                    double *error);
void test_sampler(Testing *, const Subject *, const Point *, const Mass *, int number);
void test_moments(Testing *, const Subject *, const Point *, const Mass *);
void test_derivatives(Testing *, const Subject *, const Point *, const Mass *);
void test_prox(Testing *, const Subject *, const Program *density, const Point *, const Mass *);
/* One `rule kl`: true if it could be tested; the report's line. */
const char *test_rule(Model *, const Item *rule, uint64_t seed);
const char *test_expect_rule(Model *, const Item *rule, uint64_t seed);
/* The family of a rule's pattern, and the numbers that it fixes, as in laplace(0, b); NAN elsewhere. */
bool read_pattern(Model *, const Expr *pattern, const Item **family, double *fixed);

/* Draws: rows x event, malloc; noise of `field`'s arguments by seed. NULL if there is no such field. sharpness: what
 * the field's own extra formals are multiplied by. */
double *draw_rows(const Subject *, const Field *, const Point *, uint64_t seed, double sharpness, long rows);

#endif
