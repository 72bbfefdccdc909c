/* ---- program initialise ---- */

static void initialise_step_0_loop_1(real *restrict expand_1_output) {
  for (long i = 0; i < 3; i++)
    expand_1_output[i] = (real)0;
}

static void initialise_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  real *expand_1_output = call->values; /* [D] */
  initialise_step_0_loop_1(expand_1_output);
}

/* ---- program train ---- */

/* mean.spm:6: likelihood x ~ normal(m, 1); */
static void train_rows_0_loop_1(long rows, const real *x, const real *m, real *restrict sub_2, real *restrict sub_9) {
  for (long i0 = 0; i0 < rows; i0++)
    for (long i = 0; i < 3; i++) {
      const real sub_2_ = x[i0 * 3 + i] - m[i];
      sub_2[i0 * 3 + i] = sub_2_;
      sub_9[i0 * 3 + i] = ((sub_2_ * sub_2_) * ((real)(-0.5))) - ((real)0.9189385332046727);
    }
}

static void train_rows_0(const struct spm_call *call, real *scratch, long unit) {
  const long tile = call->tile, first = unit * tile, left = call->rows - first, rows = left < tile ? left : tile;
  const real *x = call->data[0] + first * 3, *m = call->parameters; /* [rows, D], [D] */
  real *sub_2 = scratch, *sub_9 = scratch + tile * 3, *sum_10 = scratch + tile * 6; /* [rows, D], [rows, D], [rows] */
  real *sum_over_17_partial = call->partials + 16 + unit * 32; /* [D] */
  /* mean.spm:7: objective elbo; */
  call->values[32] = ((real)(-1)) / call->settings[2];
  train_rows_0_loop_1(rows, x, m, sub_2, sub_9);
  spm_reduce_sum(rows, 3, 1, sum_10, sub_9);
  call->partials[unit * 32] = spm_sum(rows, sum_10);
  /* mean.spm:6: likelihood x ~ normal(m, 1); */
  spm_reduce_sum(1, rows, 3, sum_over_17_partial, sub_2);
}

/* mean.spm:6: likelihood x ~ normal(m, 1); */
static void train_step_1_loop_1(real div_15, const real *sum_over_17, real *restrict m_gradient) {
  for (long i = 0; i < 3; i++)
    m_gradient[i] = div_15 * sum_over_17[i];
}

static void train_step_1(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  real *sum_over_17 = call->values + 48, *m_gradient = call->gradient; /* [D], [D] */
  /* mean.spm:7: objective elbo; */
  call->values[16] = call->values[0] / call->settings[2];
  train_step_1_loop_1(call->values[32], sum_over_17, m_gradient);
}

/* ---- program evaluate ---- */

/* mean.spm:6: likelihood x ~ normal(m, 1); */
static void evaluate_rows_0_loop_1(long rows, const real *x, const real *m, real *restrict sub_9) {
  for (long i0 = 0; i0 < rows; i0++)
    for (long i = 0; i < 3; i++) {
      const real sub_2_ = x[i0 * 3 + i] - m[i];
      sub_9[i0 * 3 + i] = ((sub_2_ * sub_2_) * ((real)(-0.5))) - ((real)0.9189385332046727);
    }
}

static void evaluate_rows_0(const struct spm_call *call, real *scratch, long unit) {
  const long tile = call->tile, first = unit * tile, left = call->rows - first, rows = left < tile ? left : tile;
  const real *x = call->data[0] + first * 3, *m = call->parameters; /* [rows, D], [D] */
  real *sub_9 = scratch, *sum_10 = scratch + tile * 3; /* [rows, D], [rows] */
  evaluate_rows_0_loop_1(rows, x, m, sub_9);
  /* mean.spm:7: objective elbo; */
  spm_reduce_sum(rows, 3, 1, sum_10, sub_9);
  call->partials[unit * 16] = spm_sum(rows, sum_10);
}

static void evaluate_step_1(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  /* mean.spm:7: objective elbo; */
  call->values[16] = call->values[0] / call->settings[2];
}

