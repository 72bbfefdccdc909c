/* What the statements of a model mean, of which one mentions the others: distributions, how latents are found, what may
 * be missing, the objective and its words, parameters and their initial values. Each function is of the file named
 * above it. */
#ifndef SPM_STATEMENTS_H
#define SPM_STATEMENTS_H

#include "front.h"

/* ---- distributions ------------------------------------------------------------------------------------------- */

bool is_family(const Model *, Name);
Value make_distribution(Elaborator *, const Expr *call);
/* Does a rule's pattern, as in normal(m, s), match d? Its names and d's parameters are appended as formals and values.
 */
bool match_distribution(Elaborator *, const Expr *pattern, const Value *d, Formal *, Value *, int *count);
bool expr_mentions(const Expr *, Name);
/* A rule's right side at values of its names. */
Value apply_rule(Elaborator *, const Item *rule, const Formal *, Value *, int count, Span);
/* The family that a rule's pattern, as in normal(m, s), speaks of (NULL after reporting), and the formal that one of
 * its arguments stands for. */
const Item *family_of_pattern(Elaborator *, const Expr *pattern);
const Formal *formal_of_pattern(const Item *family, const Expr *pattern, int argument);
/* Evaluates one field ("log_pdf", "entropy", "mean") at value z (NULL where the field does not mention it), mapped
 * elementwise over z's shape: one value an event. VALUE_ERROR after reporting; *missing set if there is no such field.
 */
Value distribution_field(Elaborator *, const Value *d, const char *field, const Value *z, const Shape *shape, Span,
                         bool *missing);
/* The declaration that a rule's pattern such as laplace(0, b) means, and which parameter each argument is (slots may be
 * NULL). */
Item *pattern_family(const Model *, const Expr *pattern, int *slots);
/* Fields with arguments of their own (sample, relaxed, prox) outside of a model: the field or NULL; what an argument
 * may be and its shape for events of this shape; the field at values of its head's and extra formals, in this order. */
const Field *distribution_find_field(const Item *family, const char *name);
/* The first `relaxed` field, or the next: they are told apart by their options. */
const Field *next_relaxed(const Item *family, const Field *after);
bool distribution_argument_shape(Elaborator *e, const Value *d, const Formal *argument, const Shape *shape, Support *,
                                 Shape *own);
Value distribution_field_at(Elaborator *e, const Value *d, const Field *, Value *arguments, const Shape *shape, Span);
/* A draw of the given shape; its noise is named after `variable` and has the given axes. */
bool can_be_drawn(const Value *d);
Value distribution_sample(Elaborator *, const Value *d, Name variable, const Shape *shape, unsigned axes, Span);
/* The values of a sampler's noise, named after `variable`. */
bool distribution_noise(Elaborator *, const Value *d, const Field *, Name variable, const Shape *, unsigned axes,
                        Value *out);
/* log q - log p, one value for each of the larger events: a joint density is one number for several of the other's. */
Value log_ratio(Elaborator *, const Value *q, Value log_q, const Value *p, Value log_p, Span);
/* The sampler's function of given noise (one value for each of its formals). */
Value distribution_transform(Elaborator *, const Value *d, Value *noise, const Shape *, Span);
/* The family's sampler is a function of one scalar noise. */
bool one_noise(const Item *family, NoiseKind *);
bool has_density(const Value *d); /* log_pdf or log_kernel */
bool has_atoms(const Value *d);
/* log of the integral of exp(log_kernel): normaliser.c */
Value log_normaliser(Elaborator *, const Value *d, const Shape *, Span);
/* Closed-form KL, one value an event; *missing set if there is no rule. rule_span: where the rule stands. */
Value closed_kl(Elaborator *, const Value *q, const Value *p, const Shape *shape, Span, bool *missing, Span *rule_span);
/* Checks a distribution against the variable it is for (supports, rule 2). */
bool check_distribution_for(Elaborator *, const Value *d, const Item *variable, const Support *, const Shape *,
                            const char *role);
bool distribution_support(Elaborator *, const Value *d, Support *, Support *extended);
int event_rank(const Value *d);
int family_event_rank(const Item *family);
/* Noise of the signature: in a loop that draws, its round's. */
Node *noise_node(Elaborator *, int index);
int noise_index(Elaborator *, const char *name, NoiseKind, const Shape *, unsigned axes);
int state_index(Elaborator *, const char *name, const Shape *, double start);
void update_state(Elaborator *, int index, Node *next); /* once a step */

/* ---- methods.c: posterior z ~ d by METHOD --------------------------------------------------------------------- */

typedef struct PosteriorDraw {
  const Item *posterior, *latent;
  const Value *d;
  const Shape *shape;
  unsigned axes;
} PosteriorDraw;
/* exact.c */
Value draw_exact(Elaborator *, const PosteriorDraw *);
/* The log density at the latent itself of a posterior whose family lists its members; *known: it is one. */
Value log_density_of_member(Elaborator *, Name latent, const Value *d, bool *known);
/* NULL unless it is summed out exactly. */
const Summed *find_summed(const Elaborator *, Name latent);
typedef struct MemberList { /* all values of a latent */
  long count;
  Node *table;   /* [count, shape] */
  bool category; /* the one-hot vectors of one category */
} MemberList;
bool latent_members(Elaborator *, const PosteriorDraw *, MemberList *);
Value member_probabilities(Elaborator *, const PosteriorDraw *, const MemberList *); /* [count] */
/* An axis of so many members; weights [members], or NULL. -1 after reporting. */
int members_axis(Elaborator *, const PosteriorDraw *, Dim members, Node *weights);
/* The weighted sum along the latent's axis, if the value has it. */
Value sum_members(Elaborator *, Value, const Summed *);

/* derive.c: a value of each row, times what the row counts for under `balance`. */
Value balanced(Elaborator *, Value, Span);
/* The objective's value in an elaborator's walk, which reports and outputs nothing; NULL after an error. */
Node *objective_value(Elaborator *);

/* score.c */
Value draw_score_function(Elaborator *, const PosteriorDraw *);
Value draw_sum_and_sample(Elaborator *, const PosteriorDraw *);
/* The expectation over latents that are more than a draw; over samples, the caller's mean. */
Value expect_latents(Elaborator *, Value);
void settle(Elaborator *, Node *); /* an expectation that has been taken */
/* The objective with what trains baselines and takes them off: of the same value. */
Node *add_baselines(Elaborator *, Node *objective);

/* What stands behind the `~` of a statement: of `sparsemax(scores)` and its like, the categorical distribution of these
 * probabilities. */
const Expr *posterior_expression(Elaborator *, const Item *statement);
/* What a latent's name means, for a posterior that fits its variable. */
Value posterior_draw(Elaborator *, const Item *posterior, const Item *latent, const Value *d, const Shape *,
                     unsigned axes, Span);
/* A discrete posterior and one with atoms say how they are differentiated. */
bool check_method(Elaborator *, const Item *posterior, const Value *d);
/* For explain: how the gradient of an expectation is taken. */
void note_estimator(Elaborator *, Name latent, const char *text);
bool is_relaxed(const Model *, Name latent);
bool is_point_where_known(const Model *,
                          Name latent);         /* partly latent: its posterior is taken together with what is known */
bool is_summed_out(const Model *, Name latent); /* exactly, or `by sum_and_sample` */
bool has_relaxed(const Model *);                /* some latent is */
bool node_depends_on(const Node *, const Node *on, bool *seen); /* seen: by id */
/* The objective may not depend on index() of a relaxed draw. */
bool check_soft_indices(Elaborator *, const Node *objective);

/* ---- missing.c -------------------------------------------------------------------------------------------------- */

bool may_be_missing(const Item *);                  /* data declared missing_ok */
bool is_partly_latent(const Model *, const Item *); /* and with a posterior */
bool is_latent(const Model *, const Item *);        /* at least partly */
/* 1 for each entry that is there; one for all of a category's or subset's last dim. */
Value observed_mask(Elaborator *, const Item *, Span);
/* The data with some value of their support where there is none: for densities that are then dropped. */
Value filled_data(Elaborator *, const Item *, Span);
/* `there` (one value an event) where data are observed. */
Value where_observed(Elaborator *, const Item *, Value there, Value elsewhere, Span);
/* The data's value where there is one, as d sees it, and z elsewhere. */
Value known_where_observed(Elaborator *, const Item *, const Value *d, Value z, Span);
/* A posterior over categories or coins whose probabilities are 0 and 1 where the value is known. False: not of such. */
bool posterior_where_missing(Elaborator *, const Item *, const Value *d, Value *both);
bool check_missing_ok(Elaborator *, const Item *);
bool check_entries_drop(Elaborator *, const Item *, const Value *d, const Support *);
/* missing_entries.c, of each node: data (bits by index) that it is made of without having asked whether they are there;
 * those of which it takes other rows. */
typedef struct MissingReads {
  uint64_t data, other_rows;
} MissingReads;
MissingReads *find_missing_reads(Elaborator *);
/* No NaN of missing data may reach an objective. */
bool check_missing_asked(Elaborator *, const Node *);
/* What a metric is the mean of: 1 for rows that have all the data it mentions, a number if it is of all rows. The
 * metric's value becomes 0 on the others. */
bool rows_of_metric(Elaborator *, Value *, Value *rows, Span);
/* In a metric: data, or a let that mentions them, that mean their own value and not inference's. */
bool is_measured(const Elaborator *, const Item *);

/* ---- categories.c ---------------------------------------------------------------------------------------------- */

/* Under a distribution over categories an integer(a, b) stands for its one-hot vector: true, and support and shape
 * become that vector's. */
bool hold_as_vector(Elaborator *, const Value *d, Support *, Shape *);
/* The number that a one-hot vector (or the mean of one) stands for, remembered with its vector. */
Value number_of_vector(Elaborator *, Value vector, const Support *, Span);
void note_number(Elaborator *, Node *number, Node *vector, const Support *);
/* The vector of a number; VALUE_ERROR after reporting. */
Value vector_of_number(Elaborator *, Value number, Span);

/* ---- subsets.c --------------------------------------------------------------------------------------------------- */

/* The most that a number can be, 0 if nothing is known. */
Dim largest_number(Elaborator *, const Node *);
/* The posterior's mean of a latent's vector form; VALUE_ERROR if it has none (nothing is reported). */
Value posterior_mean(Elaborator *, Name latent, Span);
bool is_relaxed_option(const Model *, Name latent, Name option, const Expr **value);

/* ---- mixtures.c ------------------------------------------------------------------------------------------------ */

bool is_combinator(Name);
Value make_combinator(Elaborator *, const Expr *call);
const char *distribution_name(const Value *d); /* "normal", "mixture" */
Value combinator_field(Elaborator *, const Value *d, const char *name, const Value *z, const Shape *, Span,
                       bool *missing);
Value combinator_sample(Elaborator *, const Value *d, Name variable, const Shape *, unsigned axes, Span);
bool combinator_fits(Elaborator *, const Value *d, const Shape *, Span, const char *variable);
/* Every parameter of a distribution, those of its components and their weights included; returns the new count. */
int distribution_parameters(Elaborator *, const Value *d, const Value ***out, int count);

/* ---- objective.c ------------------------------------------------------------------------------------------------- */

/* How a KL is taken: kl.c. Best first. */
typedef enum KlRule { KL_RULE_BEST, KL_RULE_CLOSED, KL_RULE_SUM, KL_RULE_QUADRATURE, KL_RULE_MONTE_CARLO } KlRule;
typedef struct KlMethod { /* what a spec demands */
  KlRule rule;
  int nodes; /* of quadrature(N); 0: the compiler's choice */
} KlMethod;
static const KlMethod KL_BEST = {KL_RULE_BEST, 0};
typedef struct KlRecord { /* what was done, for explain */
  Name latent;            /* NULL: of two distributions */
  Name posterior, prior;
  KlRule rule;
  bool forced;
  Span span, rule_span; /* rule_span: where a closed form stands */
  int nodes;
  double error; /* estimated; negative: not */
  const char *how, *why;
  bool along_draw;
} KlRecord;
/* KL(q || p) of a variable of this shape, one value an event, samples averaged; latent NULL: no Monte Carlo. */
Value resolve_kl(Elaborator *, Name latent, const Value *q, const Value *p, const Shape *, KlMethod, Span);
/* Exact over a finite support; *missing if it is not finite. */
Value entropy_by_sum(Elaborator *, const Value *q, const Shape *, Span, bool *missing);
const char *kl_rule_name(KlRule);
bool read_kl_method(Elaborator *, const Argument *, KlMethod *);
void report_no_density(Elaborator *, const Value *d);
/* A word that takes densities, where a likelihood's log_pdf is none (LANGUAGE rule 14). */
void warn_of_no_density(Elaborator *, const char *word, Span);

/* One additive term of the objective: sign x weight x value. The value is what is reported. */
typedef struct Term {
  Name name;
  Value value;  /* one value a datum, or a step value */
  Value weight; /* a number or a step value */
  double sign;
} Term;
typedef struct Terms {
  Term *items;
  int count;
} Terms;
bool is_objective_word(Name);
Value call_expect(Elaborator *, const Expr *call, Span); /* expectations.c */
/* `call` is NULL for a bare name. */
Value call_objective_word(Elaborator *, Name, const Expr *call, Span);
Value latent_draw(Elaborator *, Item *latent, Span);
/* A draw from its prior; a number as the one-hot vector that its distribution has it as. */
Value prior_draw(Elaborator *, const Item *latent, Name noise, unsigned axes, Span);
/* The statement about a variable, evaluated; an error that says what is missing. */
Value statement_of(Elaborator *, ItemKind, Name, Span);
/* Sum over statements of a kind of their log densities, one value for each row and sample. */
Value sum_densities(Elaborator *, ItemKind, Span);
Value log_density_of(Elaborator *, ItemKind, Name, Span); /* the one of a variable */
/* The distribution (or point) of a prior, posterior or likelihood statement, checked against its variable. */
Value statement_value(Elaborator *, Item *statement);
void objective_terms(Elaborator *, const Expr *, double sign, Terms *);
/* The unweighted terms of the ELBO. */
typedef struct ElboOptions {
  KlMethod kl;
  Value kl_weight;
  bool closed_log_lik;
  bool joint; /* the log joint: nothing is taken off for posteriors */
} ElboOptions;
ElboOptions elbo_defaults(const Model *);
/* Without a word about the objective it is the ELBO, unless some latent is a point (LANGUAGE rule 20). */
bool joint_by_default(const Model *);
void elbo_terms(Elaborator *, const ElboOptions *, Span, Terms *);
int count_samples(const Model *); /* samples = S of the train block or of elbo(...): extent of the sample axis */

/* log_marginal.c: `call` is NULL for a bare name. Metrics that mention it are taken by `spmc eval` alone. */
Value log_marginal(Elaborator *, const Expr *call, Span);
bool is_measured_only(const Expr *);
bool has_measured_only(const Model *);

/* ---- infer.c ----------------------------------------------------------------------------------------------------- */

/* The values of an `infer`'s latents, as a list; the value of one. */
Value infer_latents(Elaborator *, Item *statement);
Value inferred_latent(Elaborator *, Item *latent, Span);

/* ---- fit.c ------------------------------------------------------------------------------------------------------- */

/* The `infer` statement about locals, or NULL; does one name this local? */
Item *local_inference(const Model *);
bool check_local_inference(Elaborator *, const Item *infer);
bool is_inferred_local(const Model *, Name);
Item *latent_fit(const Model *); /* the `infer` of latents by map(optimizer = lbfgs(...)), or NULL */
bool has_fit(Elaborator *);      /* the program it is for has something to fit */
/* The objective and its gradient in the locals that program fits (train: those of `infer`; new rows: all). */
void derive_fit(Elaborator *, const Terms *, Span);

/* ---- starts.c ---------------------------------------------------------------------------------------------------- */

/* A call in an init expression that asks for a statistic of the data: mean or median of data, over = batch. */
bool is_start_statistic(Elaborator *, const Expr *call);
Value start_statistic(Elaborator *, const Expr *call);

/* ---- entropy.c ------------------------------------------------------------------------------------------------- */

/* E log p(x | z) of a normal likelihood with a mean affine in latents with normal posteriors: one value a datum. */
Value closed_log_lik(Elaborator *, Item *likelihood, Span);
/* The objective (or a let) takes the likelihood's expectation so: metrics do likewise. */
bool log_lik_is_closed(const Model *);
/* The terms of entropy_elbo(...); `call` is NULL for a bare name. False after reporting. */
bool entropy_terms(Elaborator *, const Expr *call, Span, Terms *);
/* `solved` params: is it a noise or scale whose optimum is known; is that optimum inserted (reported otherwise). */
bool solved_has_role(const Model *, Name);
bool check_solved(Elaborator *, Name, Span declared);
/* The mean statistic over the batch, of the param's shape; the param's value from it, and back. */
Node *solved_statistic(Elaborator *, Name, const Shape *, Span);
Value solved_from_statistic(Elaborator *, Name, Node *statistic, Span);
Value statistic_from_solved(Elaborator *, Name, Value, Span);

/* ---- parameters.c ---------------------------------------------------------------------------------------------- */
const Attribute *type_attribute(const TypeExpr *, const char *name); /* or NULL */
Value raw_initial_value(Elaborator *, int index);
Value projected_value(Elaborator *, int index);
Value exported_value(Elaborator *, int index);
/* The same of `local` parameters, and of latents that are found row by row: one value a datum, held by a row state;
 * `init` may be NULL. */
Value make_local(Elaborator *, const Item *, const Expr *init);
/* The row state that holds where a latent's persistent chain stands; `start` may be NULL. */
int chain_index(Elaborator *, const Item *latent, const Shape *, const Expr *start);
Value raw_initial_row(Elaborator *, int index);
Value exported_row(Elaborator *, int index);

#endif
