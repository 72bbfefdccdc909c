/* See tiny_model.h. */
#include "tiny_model.h"

#include <math.h>

enum { D = TINY_D, K = TINY_K };
/* parameters: W [D, K] at 0, b [K] (projected to [-1, 1]) at 16, s (raw; its value is exp(raw), unused) at 32, fixed f
 * at 48 */
enum { W = 0, B = 16, S = 32, F = 48, PARAMETERS = 64 };
/* values of "train" */
enum { LR, OBJECTIVE, SQUARES, LARGEST, NEXT, TRAIN_VALUES };
/* a tile's partials: sum of squares, gradient of b, largest |h|, sum of x */
enum { P_SQUARES = 0, P_BIAS = 1, P_LARGEST = 4, P_TOTAL = 5, PARTIALS = 6 };

static long tile_end(const struct spm_call *call, long unit) {
  long end = (unit + 1) * call->tile;
  return end < call->rows ? end : call->rows;
}

static void first_step(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch;
  (void)unit;
  call->values[LR] = (real)(0.05 / (1 + call->settings[0]));
}

static void rows_phase(const struct spm_call *call, real *scratch, long unit) {
  real *partial = call->partials + unit * PARTIALS;
  const real *x = call->data[0];
  (void)scratch;
  for (int i = 0; i < PARTIALS; i++) partial[i] = 0;
  for (long row = unit * call->tile; row < tile_end(call, unit); row++)
    for (int k = 0; k < K; k++) {
      real h = call->parameters[B + k] + call->parameters[F] * 0;
      for (int d = 0; d < D; d++) h += x[row * D + d] * call->parameters[W + d * K + k];
      real error = h - x[row * D + k];
      call->kept[row * K + k] = error;
      partial[P_SQUARES] += error * error;
      partial[P_BIAS + k] += error / (real)call->rows;
      real size = h < 0 ? -h : h;
      if ((row == unit * call->tile && k == 0) || size > partial[P_LARGEST]) partial[P_LARGEST] = size;
      partial[P_TOTAL] += x[row * D + k];
    }
}

static void second_step(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch;
  (void)unit;
  call->values[OBJECTIVE] = call->values[SQUARES] / (-2 * (real)call->rows);
  call->state_next[0] = (real)0.9 * call->state[0] + (real)0.1 * call->values[OBJECTIVE];
}

/* units of two rows of W; the last has one. A first setting of -1 makes the second unit's gradient infinite. */
static void gradient_of_w(const struct spm_call *call, real *scratch, long unit, real *out) {
  long first = unit * 2, last = first + 2 < D ? first + 2 : D;
  (void)scratch;
  for (long d = first; d < last; d++)
    for (int k = 0; k < K; k++) {
      real sum = 0;
      for (long row = 0; row < call->rows; row++) sum += call->data[0][row * D + d] * call->kept[row * K + k];
      out[(d - first) * K + k] = call->settings[0] < 0 && unit == 1 ? (real)INFINITY : sum / (real)call->rows;
    }
}

static void project_step(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch;
  (void)unit;
  for (int k = 0; k < K; k++) {
    real b = call->parameters[B + k];
    call->values[k] = b < -1 ? -1 : b > 1 ? 1 : b;
  }
}

static void initial_step(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch;
  (void)unit;
  for (int i = 0; i < D * K; i++) call->values[i] = (real)0.1 * (real)((i * 7 + (int)call->seed) % 11 - 5);
  for (int k = 0; k < K; k++) call->values[D * K + k] = (real)0.25 * (real)k;
  call->values[D * K + K] = (real)-0.5;
  call->values[D * K + K + 1] = 3;
}

static void export_step(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch;
  (void)unit;
  for (int i = 0; i < D * K; i++) call->values[i] = call->parameters[W + i];
  for (int k = 0; k < K; k++) call->values[D * K + k] = call->parameters[B + k];
  call->values[D * K + K] = (real)exp((double)call->parameters[S]);
  call->values[D * K + K + 1] = call->parameters[F];
}

static const struct spm_statistic statistics[] = {
    {P_SQUARES, 1, SPM_SUM, SPM_VALUES, SQUARES},
    {P_BIAS, K, SPM_SUM, SPM_GRADIENT, B},
    {P_LARGEST, 1, SPM_MAX, SPM_VALUES, LARGEST},
};
static const struct spm_range ranges[] = {{gradient_of_w, 3, 2 * K, D *K, 0, SPM_GRADIENT, W}};
static const struct spm_phase train_phases[] = {
    {SPM_STEP_PHASE, 0, first_step, 0, 0, 0, 0},
    {SPM_ROW_PHASE, 0, rows_phase, 3, statistics, 0, 0},
    {SPM_STEP_PHASE, 0, second_step, 0, 0, 0, 0},
    {SPM_GRADIENT_PHASE, 0, 0, 0, 0, 1, ranges},
};
static const struct spm_phase evaluate_phases[] = {
    {SPM_ROW_PHASE, 0, rows_phase, 1, statistics, 0, 0},
    {SPM_STEP_PHASE, 0, second_step, 0, 0, 0, 0},
};
static const struct spm_phase project_phases[] = {{SPM_STEP_PHASE, 0, project_step, 0, 0, 0, 0}};
static const struct spm_phase initial_phases[] = {{SPM_STEP_PHASE, 0, initial_step, 0, 0, 0, 0}};
static const struct spm_phase export_phases[] = {{SPM_STEP_PHASE, 0, export_step, 0, 0, 0, 0}};

static const struct spm_output train_outputs[] = {
    {"objective", SPM_OBJECTIVE, -1, SPM_VALUES, OBJECTIVE, 1},
    {"squares", SPM_TERM, -1, SPM_VALUES, SQUARES, 1},
    {"largest", SPM_METRIC, -1, SPM_VALUES, LARGEST, 1},
    {"lr", SPM_VALUE, -1, SPM_VALUES, LR, 1},
    {"W", SPM_GRADIENT_OF, 0, SPM_GRADIENT, W, D *K},
    {"b", SPM_GRADIENT_OF, 1, SPM_GRADIENT, B, K},
    {"mean", SPM_STATE_OF, 0, SPM_STATE_NEXT, 0, 1},
};
static const struct spm_output evaluate_outputs[] = {
    {"objective", SPM_OBJECTIVE, -1, SPM_VALUES, OBJECTIVE, 1},
    {"error", SPM_ROWS, -1, SPM_KEPT, 0, K},
};
static const struct spm_output project_outputs[] = {{"b", SPM_EXPORT_OF, 1, SPM_VALUES, 0, K}};
#define ALL_PARAMETERS(ROLE)                                                                                           \
  {                                                                                                                    \
    {"W", ROLE, 0, SPM_VALUES, 0, D * K}, {"b", ROLE, 1, SPM_VALUES, D * K, K},                                        \
        {"s", ROLE, 2, SPM_VALUES, D * K + K, 1}, {                                                                    \
      "f", ROLE, 3, SPM_VALUES, D *K + K + 1, 1                                                                        \
    }                                                                                                                  \
  }
static const struct spm_output initial_outputs[] = ALL_PARAMETERS(SPM_INITIAL_OF);
static const struct spm_output export_outputs[] = ALL_PARAMETERS(SPM_EXPORT_OF);

static const struct spm_program programs[] = {
    {"initialise", 1, initial_phases, 4, initial_outputs, 32, 0, 0, 0, 0, 0, 1, 0, {0}},
    {"train", 4, train_phases, 7, train_outputs, TRAIN_VALUES, K, PARTIALS, 4, 1, 1, 1, 0, {0}},
    {"evaluate", 2, evaluate_phases, 2, evaluate_outputs, TRAIN_VALUES, K, PARTIALS, 4, 1, 1, 1, 0, {0}},
    {"export", 1, export_phases, 4, export_outputs, 32, 0, 0, 0, 0, 0, 1, 0, {0}},
    {"project", 1, project_phases, 1, project_outputs, 16, 0, 0, 0, 0, 0, 1, 0, {0}},
};
static const struct spm_tensor parameters[] = {
    {.name = "W", .dims = "[D, K]", .rank = 2, .shape = {D, K}, .size = D * K, .offset = W},
    {.name = "b", .dims = "[K]", .rank = 1, .shape = {K}, .size = K, .offset = B, .projected = 1},
    {.name = "s", .dims = "", .size = 1, .offset = S, .constrained = 1},
    {.name = "f", .dims = "", .size = 1, .offset = F, .fixed = 1},
};
static const struct spm_tensor data[] = {
    {.name = "x", .dims = "[D]", .rank = 1, .shape = {D}, .size = D, .low = -INFINITY, .high = INFINITY}};
static const struct spm_tensor states[] = {{.name = "mean", .dims = "", .size = 1, .offset = 0, .low = 2}};
static const struct spm_training trainings[] = {
    {"", "adam", 0.01, 0.9, 0.999, 1e-8, 0, 0, 100, 3, 0, 1, {0}, 0, "lr", 0, 0, 0, 0, 0, 0}};

const struct spm_model tiny_model = {
    SPM_ABI, (int)sizeof(real), "tiny",    4,          1,  1, 0,   5,   1, parameters, data, states,
    0,       programs,          trainings, PARAMETERS, 16, 0, {0}, {0}, 0, 0};
