/* A model with memory around it: a descriptor (model.h) -> parameters, state and work space, programs run on rows of
 * tables. What training, evaluation and the figures have in common. Floats only. */
#ifndef SPM_HOST_H
#define SPM_HOST_H

#include "data.h"
#include "driver.h"
#include "error.h"
#include "fit.h"
#include "row_state.h"

struct pool;
struct spm_block;
struct spm_selection;

struct spm_host {
  const struct spm_model *model;
  struct pool *pool;
  int threads;
  unsigned long long seed;
  long total_rows;  /* of the training data: what global terms are divided by */
  real weights[2];  /* of rows of a training batch, less 1: settings of programs */
  unsigned draw;    /* what gathered data are drawn by, besides the row: 0 in evaluation, 1 + the step in training */
  long epoch, step; /* what the loaded model was trained for: schedules of an evaluation see it */
  real *parameters, *state, *state_next;
  real *gradient, *first, *second; /* only with gradients; laid out like the parameters */
  /* work space, shared by all programs: whatever one leaves is gone when the next runs */
  real *values, *kept, *partials, *scratch;
  struct spm_sizes sizes;
  real **batch;               /* by data declaration: capacity x size */
  struct spm_row_memory rows; /* what the training data's rows own */
  real *best;       /* what spm_host_keep_best has put aside: parameters, state, then what the rows own; NULL: no room
                       was asked for */
  real **row_batch; /* by row state: capacity x size */
  real **given;     /* by given; NULL where a model has none */
  bool is_given;    /* they have been made */
  struct spm_fitter fitter; /* work space for what is fitted by L-BFGS */
  long capacity;
  struct spm_block *blocks; /* what all of these lie in */
  int block_count;
};

enum { SPM_EVALUATION_ROWS = 512 };

/* Rows of a data set; its tables, by data declaration of the model, of which a program may lack some. */
struct spm_rows {
  const struct spm_table *const *tables; /* NULL entries: not given */
  long count;
  bool owned;         /* the training data, whose rows own the host's row states */
  const long *chosen; /* their numbers in the tables; NULL: */
  long first;         /* they are the tables' rows first, first + 1, ... */
};

/* Room for training batches of `capacity` rows (0: no training) and evaluation. */
int spm_host_create(struct spm_host *host, const struct spm_model *model, long capacity, int threads,
                    unsigned long long seed, struct spm_error *error);
void spm_host_free(struct spm_host *host);

/* Works out what initial values need of the training data, and reads their files, which `directory` is put before. To
 * be called before spm_host_initialise; nothing is done for a model that needs nothing. */
int spm_host_give(struct spm_host *host, const struct spm_rows *rows, const char *directory, struct spm_error *error);

/* Parameters and state as a new run has them. */
int spm_host_initialise(struct spm_host *host, struct spm_error *error);

/* Memory for what `rows` rows own, of which nothing is set yet; a file without a name holds it where it is large.
 * Nothing is done for a model without row states. */
int spm_host_open_rows(struct spm_host *host, long rows, struct spm_error *error);
/* Their values as a new run has them. */
int spm_host_initialise_rows(struct spm_host *host, const struct spm_rows *rows, struct spm_error *error);
/* Room to put aside all that training changes; then to do so, and to have it back. */
int spm_host_open_best(struct spm_host *host, struct spm_error *error);
void spm_host_keep_best(struct spm_host *host);
void spm_host_take_best(struct spm_host *host);
/* As a stage of training begins: no moments. */
void spm_host_forget_moments(struct spm_host *host);
/* Constrained values of row state `index` for every row: rows x size. */
int spm_host_export_rows(struct spm_host *host, int index, real *out, struct spm_error *error);

/* The rows that a stage takes. `train`: they are to be trained on, in batches of the stage's; rows to validate are
 * never balanced. To be freed, even when it fails. */
int spm_host_select(struct spm_host *host, const struct spm_training *stage, const struct spm_rows *rows, bool train,
                    struct spm_selection *selection, struct spm_error *error);
void spm_host_selection_free(struct spm_selection *selection);

/* Fills the batch with `count` of the rows: order[0], order[1], ... or first, first + 1, ... */
int spm_host_gather(struct spm_host *host, const struct spm_rows *rows, const long *order, long first, long count,
                    struct spm_error *error);
/* The same of what programs read of the tables alone. */
int spm_host_gather_data(struct spm_host *host, const struct spm_rows *rows, long first, long count,
                         struct spm_error *error);
/* After a step of training on the gathered batch that was not skipped: what it leaves of its rows' states. Returns -1,
 * or the first row state of which a gradient was not finite. */
int spm_host_update_rows(struct spm_host *host, const struct spm_run *run, const long *order, long first,
                         const struct spm_optimizer *optimizer, double lr);

/* Puts the gathered batch's row states where the rows are remembered. */
void spm_host_scatter(struct spm_host *host, const long *order, long first, long count);
/* The gathered batch's row states begin anew; `step` and `first` are for draws. */
int spm_host_begin_rows(struct spm_host *host, long first, long count, unsigned step, struct spm_error *error);

/* A run of the program on the gathered batch. */
struct spm_run spm_host_run(struct spm_host *host, const struct spm_program *program, long rows);

/* Entries in a row of the file: a label becomes a vector when it is read, and gathered data have several rows. */
long spm_file_row(const struct spm_tensor *data);
/* How a table's numbers become this declaration's: a sum of enum spm_reading. */
unsigned spm_reading_of(const struct spm_tensor *data);

/* The outputs of a program that are numbers of a step: objective, terms, metrics and named values, an entry
 * each ("kl_each(z)[3]" where there are several). */
struct spm_columns {
  int count;
  char (*names)[112];
  int *roles;
  int shown; /* the columns for people; those behind them are shares, which spm_columns_finish divides by */
  const struct spm_program *program;
};
int spm_columns_create(struct spm_columns *columns, const struct spm_program *program, struct spm_error *error);
void spm_columns_free(struct spm_columns *columns);
void spm_columns_read(const struct spm_columns *columns, const struct spm_run *run, double *values);
/* A metric over some of the rows: its mean over all of them -> its mean over those, NaN if there are none. */
void spm_columns_finish(const struct spm_columns *columns, double *means);

/* Solved parameters: those of all these rows, by program "solve" at the posteriors as they are. Nothing is done for a
 * model without any. */
int spm_host_solve(struct spm_host *host, const struct spm_rows *rows, struct spm_error *error);

/* Means over a whole data set by the program of `columns`, each batch weighted by its rows; schedules see host->epoch
 * and host->step. */
int spm_host_evaluate(struct spm_host *host, const struct spm_rows *rows, const struct spm_columns *columns,
                      double *means, struct spm_error *error);
/* The same of each row, as a batch of its own: `values` holds rows x columns numbers. */
int spm_host_evaluate_each(struct spm_host *host, const struct spm_rows *rows, const struct spm_columns *columns,
                           double *values, struct spm_error *error);

#endif
