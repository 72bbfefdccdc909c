/* ---- program initialise ---- */

static void initialise_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  real *init_w_e = call->values; /* [D] */
  spm_noise(SPM_NORMAL, call->seed, 3241909389, call->step, 0, 1, 0, 0, 4, init_w_e, 4);
}

/* ---- program train ---- */

/* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
static void train_step_0_loop_1(const real *restrict w, real *restrict abs_8, real *restrict mul_22) {
  for (long i = 0; i < 4; i++) {
    const real w_0_ = w[i];
    abs_8[i] = vm_abs(w_0_);
    mul_22[i] = vm_sign(w_0_) * ((real)0.1);
  }
}

static void train_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)unit;
  const real *rows_in_batch = call->settings + 2, *w = call->parameters; /* [], [D] */
  real *div_18 = call->values + 64, *div_19 = call->values + 80, *abs_8 = scratch; /* [], [], [D] */
  real *mul_22 = call->values + 96, *sum_9 = scratch + 16, *mul_11 = call->values; /* [D], [], [] */
  /* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
  const real rows_in_batch_1_ = rows_in_batch[0];
  div_18[0] = (real)1 / rows_in_batch_1_;
  div_19[0] = ((real)(-1)) / rows_in_batch_1_;
  train_step_0_loop_1(w, abs_8, mul_22);
  sum_9[0] = spm_sum(4, abs_8);
  mul_11[0] = sum_9[0] * ((real)0.1);
}

/* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
static void train_rows_1_loop_1(long rows, const real *restrict w, const real *restrict x, real *restrict mul_2) {
  for (long i0 = 0; i0 < rows; i0++)
    for (long i = 0; i < 4; i++)
      mul_2[i0 * 4 + i] = w[i] * x[i0 * 4 + i];
}

/* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
static void train_rows_1_loop_2(long rows, real *restrict add_26, const real *restrict y, real div_18, real div_19,
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
static void train_rows_1_loop_3(long rows, const real *restrict x, const real *restrict add_26, real *restrict mul_28) {
  for (long i0 = 0; i0 < rows; i0++) {
    const real add_26_1_ = add_26[i0];
    for (long i = 0; i < 4; i++)
      mul_28[i0 * 4 + i] = x[i0 * 4 + i] * add_26_1_;
  }
}

static void train_rows_1(const struct spm_call *call, real *scratch, long unit) {
  const long first = unit * call->tile, left = call->rows - first, rows = left < call->tile ? left : call->tile;
  const real *w = call->parameters, *x = call->data[0] + first * 4; /* [D], [rows, D] */
  const real *y = call->data[1] + first; /* [rows] */
  real *mul_2 = scratch + 32, *add_26 = scratch + 32 + call->tile * 4; /* [rows, D], [rows] */
  real *div_18 = call->values + 64, *div_19 = call->values + 80, *mul_28 = scratch + 32; /* [], [], [rows, D] */
  real *sum_over_12_partial = call->partials + unit * 32; /* [] */
  real *sum_over_29_partial = call->partials + 16 + unit * 32; /* [D] */
  train_rows_1_loop_1(rows, w, x, mul_2);
  /* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
  spm_reduce_sum(rows, 4, 1, add_26, mul_2);
  train_rows_1_loop_2(rows, add_26, y, div_18[0], div_19[0], sum_over_12_partial);
  train_rows_1_loop_3(rows, x, add_26, mul_28);
  spm_reduce_sum(1, rows, 4, sum_over_29_partial, mul_28);
}

/* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
static void train_step_2_loop_1(const real *restrict mul_22, const real *restrict sum_over_29,
    real *restrict w_gradient) {
  for (long i = 0; i < 4; i++)
    w_gradient[i] = mul_22[i] + sum_over_29[i];
}

static void train_step_2(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  real *values = call->values;
  const real *rows_in_batch = call->settings + 2; /* [] */
  real *sum_over_12 = values + 16, *mul_11 = values, *div_14 = values + 32; /* [], [], [] */
  real *sub_16 = values + 48, *mul_22 = values + 96, *sum_over_29 = values + 112; /* [], [D], [D] */
  real *w_gradient = call->gradient; /* [D] */
  /* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
  const real div_2_ = sum_over_12[0] / rows_in_batch[0];
  div_14[0] = div_2_;
  sub_16[0] = div_2_ - mul_11[0];
  train_step_2_loop_1(mul_22, sum_over_29, w_gradient);
}

/* ---- program evaluate ---- */

/* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
static void evaluate_step_0_loop_1(const real *restrict w, real *restrict abs_8) {
  for (long i = 0; i < 4; i++)
    abs_8[i] = vm_abs(w[i]);
}

static void evaluate_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)unit;
  const real *w = call->parameters; /* [D] */
  real *abs_8 = scratch, *sum_9 = scratch + 16, *mul_11 = call->values; /* [D], [], [] */
  evaluate_step_0_loop_1(w, abs_8);
  /* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
  sum_9[0] = spm_sum(4, abs_8);
  mul_11[0] = sum_9[0] * ((real)0.1);
}

/* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
static void evaluate_rows_1_loop_1(long rows, const real *restrict sum_3, const real *restrict y,
    real *restrict sum_over_12_partial) {
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
  const long first = unit * call->tile, left = call->rows - first, rows = left < call->tile ? left : call->tile;
  const real *w = call->parameters, *x = call->data[0] + first * 4; /* [D], [rows, D] */
  const real *y = call->data[1] + first; /* [rows] */
  real *mul_2 = scratch + 32, *sum_3 = scratch + 32 + call->tile * 4; /* [rows, D], [rows] */
  real *sum_over_12_partial = call->partials + unit * 16; /* [] */
  train_rows_1_loop_1(rows, w, x, mul_2);
  /* regression.spm:7: likelihood y ~ bernoulli(logits = sum(w * x)); */
  spm_reduce_sum(rows, 4, 1, sum_3, mul_2);
  evaluate_rows_1_loop_1(rows, sum_3, y, sum_over_12_partial);
}

static void evaluate_step_2(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  const real *rows_in_batch = call->settings + 2; /* [] */
  real *sum_over_12 = call->values + 16, *mul_11 = call->values, *div_14 = call->values + 32; /* [], [], [] */
  real *sub_15 = call->values + 48; /* [] */
  /* regression.spm:8: objective log_lik(y) - 0.1 * sum(abs(w)); */
  const real div_2_ = sum_over_12[0] / rows_in_batch[0];
  div_14[0] = div_2_;
  sub_15[0] = div_2_ - mul_11[0];
}

