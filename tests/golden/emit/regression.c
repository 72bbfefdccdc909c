/* ---- program initialise ---- */

static void initialise_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  real *init_w_e = call->values; /* [D] */
  spm_noise(SPM_NORMAL, call->seed, 3241909389, call->step, 0, 1, 0, 0, 4, init_w_e, 4);
}

/* ---- program train ---- */

/* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
static void train_step_0_loop_1(const real *w, real *restrict abs_8, real *restrict mul_22) {
  for (long i = 0; i < 4; i++) {
    const real w_0_ = w[i];
    abs_8[i] = vm_abs(w_0_);
    mul_22[i] = vm_sign(w_0_) * ((real)0.1);
  }
}

static void train_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)unit;
  const real *w = call->parameters; /* [D] */
  real *abs_8 = scratch, *mul_22 = call->values + 64; /* [D], [D] */
  /* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
  const real rows_in_batch_1_ = call->settings[2];
  call->values[32] = (real)1 / rows_in_batch_1_;
  call->values[48] = ((real)(-1)) / rows_in_batch_1_;
  train_step_0_loop_1(w, abs_8, mul_22);
  scratch[16] = spm_sum(4, abs_8);
  call->values[0] = scratch[16] * ((real)0.1);
}

/* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
static void train_rows_1_loop_1(long rows, const real *w, const real *x, real *restrict mul_2) {
  for (long i0 = 0; i0 < rows; i0++)
    for (long i = 0; i < 4; i++)
      mul_2[i0 * 4 + i] = w[i] * x[i0 * 4 + i];
}

/* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
static void train_rows_1_loop_2(long rows, real *restrict add_26, const real *y, real div_18, real div_19,
    real *restrict sum_over_12_partial) {
  for (long i = 0; i < 1; i++) sum_over_12_partial[i] = 0;
  for (long block = 0; block < rows; block += 256) {
    const long end = rows - block < 256 ? rows : block + 256;
    real term_0[256];
    for (long i = block; i < end; i++) {
      const real add_26_0_ = add_26[i];
      const real y_1_ = y[i];
      term_0[i - block] = (add_26_0_ * y_1_) - vm_softplus(add_26_0_);
      add_26[i] = (div_18 * vm_sigmoid(add_26_0_)) + (y_1_ * div_19);
    }
    sum_over_12_partial[0] += spm_sum(end - block, term_0);
  }
}

/* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
static void train_rows_1_loop_3(long rows, const real *x, const real *add_26, real *restrict mul_28) {
  for (long i0 = 0; i0 < rows; i0++) {
    const real add_26_1_ = add_26[i0];
    for (long i = 0; i < 4; i++)
      mul_28[i0 * 4 + i] = x[i0 * 4 + i] * add_26_1_;
  }
}

static void train_rows_1(const struct spm_call *call, real *scratch, long unit) {
  const long tile = call->tile, first = unit * tile, left = call->rows - first, rows = left < tile ? left : tile;
  const real *w = call->parameters, *x = call->data[0] + first * 4; /* [D], [rows, D] */
  const real *y = call->data[1] + first; /* [rows] */
  real *mul_2 = scratch + 32, *add_26 = scratch + 32 + tile * 4; /* [rows, D], [rows] */
  real *mul_28 = scratch + 32, *sum_over_29_partial = call->partials + 16 + unit * 32; /* [rows, D], [D] */
  real *sum_over_12_partial = call->partials + unit * 32;
  train_rows_1_loop_1(rows, w, x, mul_2);
  /* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
  spm_reduce_sum(rows, 4, 1, add_26, mul_2);
  train_rows_1_loop_2(rows, add_26, y, call->values[32], call->values[48], sum_over_12_partial);
  train_rows_1_loop_3(rows, x, add_26, mul_28);
  spm_reduce_sum(1, rows, 4, sum_over_29_partial, mul_28);
}

/* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
static void train_step_2_loop_1(const real *mul_22, const real *sum_over_29, real *restrict w_gradient) {
  for (long i = 0; i < 4; i++)
    w_gradient[i] = mul_22[i] + sum_over_29[i];
}

static void train_step_2(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  real *values = call->values;
  real *mul_22 = values + 64, *sum_over_29 = values + 80, *w_gradient = call->gradient; /* [D], [D], [D] */
  /* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
  const real div_2_ = values[16] / call->settings[2];
  values[32] = div_2_;
  values[48] = div_2_ - values[0];
  train_step_2_loop_1(mul_22, sum_over_29, w_gradient);
}

/* ---- program evaluate ---- */

/* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
static void evaluate_step_0_loop_1(const real *w, real *restrict abs_8) {
  for (long i = 0; i < 4; i++)
    abs_8[i] = vm_abs(w[i]);
}

static void evaluate_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)unit;
  const real *w = call->parameters; /* [D] */
  real *abs_8 = scratch; /* [D] */
  evaluate_step_0_loop_1(w, abs_8);
  /* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
  scratch[16] = spm_sum(4, abs_8);
  call->values[0] = scratch[16] * ((real)0.1);
}

/* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
static void evaluate_rows_1_loop_1(long rows, const real *sum_3, const real *y, real *restrict sum_over_12_partial) {
  for (long i = 0; i < 1; i++) sum_over_12_partial[i] = 0;
  for (long block = 0; block < rows; block += 256) {
    const long end = rows - block < 256 ? rows : block + 256;
    real term_0[256];
    for (long i = block; i < end; i++) {
      const real sum_3_0_ = sum_3[i];
      term_0[i - block] = (sum_3_0_ * y[i]) - vm_softplus(sum_3_0_);
    }
    sum_over_12_partial[0] += spm_sum(end - block, term_0);
  }
}

static void evaluate_rows_1(const struct spm_call *call, real *scratch, long unit) {
  const long tile = call->tile, first = unit * tile, left = call->rows - first, rows = left < tile ? left : tile;
  const real *w = call->parameters, *x = call->data[0] + first * 4; /* [D], [rows, D] */
  const real *y = call->data[1] + first; /* [rows] */
  real *mul_2 = scratch + 32, *sum_3 = scratch + 32 + tile * 4; /* [rows, D], [rows] */
  real *sum_over_12_partial = call->partials + unit * 16;
  train_rows_1_loop_1(rows, w, x, mul_2);
  /* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
  spm_reduce_sum(rows, 4, 1, sum_3, mul_2);
  evaluate_rows_1_loop_1(rows, sum_3, y, sum_over_12_partial);
}

static void evaluate_step_2(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  /* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
  const real div_2_ = call->values[16] / call->settings[2];
  call->values[32] = div_2_;
  call->values[48] = div_2_ - call->values[0];
}

