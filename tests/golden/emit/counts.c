/* ---- program initialise ---- */

/* counts.spm:5: param scale : positive[D] init 0.5; */
static void initialise_step_0_loop_1(real *restrict expand_1_output) {
  for (long i = 0; i < 3; i++)
    expand_1_output[i] = ((real)(-0.43275212956718856));
}

static void initialise_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  real *expand_1_output = call->values; /* [D] */
  initialise_step_0_loop_1(expand_1_output);
}

/* ---- program train ---- */

/* counts.spm:5: param scale : positive[D] init 0.5; */
static void train_step_0_loop_1(const real *scale, real mul_20, real *restrict scale_2, real *restrict log_9,
    real *restrict mul_22, real *restrict sigmoid_28) {
  for (long i = 0; i < 3; i++) {
    const real scale_0_ = scale[i];
    const real scale_1_ = vm_softplus(scale_0_);
    const real mul_3_ = scale_1_ * (real)2;
    scale_2[i] = scale_1_;
    log_9[i] = vm_log(mul_3_);
    mul_22[i] = ((real)1 / mul_3_) * mul_20;
    sigmoid_28[i] = vm_sigmoid(scale_0_);
  }
}

static void train_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)unit;
  const real *scale = call->parameters; /* [D] */
  real *scale_2 = call->values, *log_9 = call->values + 16, *mul_22 = call->values + 64; /* [D], [D], [D] */
  real *sigmoid_28 = call->values + 96; /* [D] */
  /* counts.spm:7: objective elbo; */
  const real rows_in_batch_1_ = call->settings[2];
  const real div_2_ = (real)1 / rows_in_batch_1_;
  call->values[48] = div_2_;
  scratch[0] = (rows_in_batch_1_ * div_2_) * (real)2;
  train_step_0_loop_1(scale, scratch[0], scale_2, log_9, mul_22, sigmoid_28);
}

/* counts.spm:6: likelihood x ~ laplace(0, scale); */
static void train_rows_1_loop_1(long rows, const real *x, const real *scale_2, const real *log_9,
    real *restrict sub_10, real *restrict div_23) {
  for (long i0 = 0; i0 < rows; i0++)
    for (long i = 0; i < 3; i++) {
      const real scale_2_3_ = scale_2[i];
      const real div_4_ = (-vm_abs(x[i0 * 3 + i])) / scale_2_3_;
      sub_10[i0 * 3 + i] = div_4_ - log_9[i];
      div_23[i0 * 3 + i] = div_4_ / scale_2_3_;
    }
}

static void train_rows_1(const struct spm_call *call, real *scratch, long unit) {
  const long tile = call->tile, first = unit * tile, left = call->rows - first, rows = left < tile ? left : tile;
  const real *x = call->data[0] + first * 3; /* [rows, D] */
  real *scale_2 = call->values, *log_9 = call->values + 16, *sub_10 = scratch + 16; /* [D], [D], [rows, D] */
  real *div_23 = scratch + 16 + tile * 4, *sum_11 = scratch + 16 + tile * 3; /* [rows, D], [rows] */
  real *sum_over_25_partial = call->partials + 16 + unit * 32; /* [D] */
  train_rows_1_loop_1(rows, x, scale_2, log_9, sub_10, div_23);
  /* counts.spm:7: objective elbo; */
  spm_reduce_sum(rows, 3, 1, sum_11, sub_10);
  call->partials[unit * 32] = spm_sum(rows, sum_11);
  /* counts.spm:6: likelihood x ~ laplace(0, scale); */
  spm_reduce_sum(1, rows, 3, sum_over_25_partial, div_23);
}

/* counts.spm:6: likelihood x ~ laplace(0, scale); */
static void train_step_2_loop_1(real div_16, const real *sum_over_25, const real *mul_22, const real *sigmoid_28,
    real *restrict scale_gradient) {
  for (long i = 0; i < 3; i++)
    scale_gradient[i] = (mul_22[i] + (div_16 * sum_over_25[i])) * sigmoid_28[i];
}

static void train_step_2(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  real *values = call->values;
  real *sum_over_25 = values + 80, *mul_22 = values + 64, *sigmoid_28 = values + 96; /* [D], [D], [D] */
  real *scale_gradient = call->gradient; /* [D] */
  /* counts.spm:7: objective elbo; */
  values[0] = values[32] / call->settings[2];
  train_step_2_loop_1(values[48], sum_over_25, mul_22, sigmoid_28, scale_gradient);
}

/* ---- program evaluate ---- */

/* counts.spm:5: param scale : positive[D] init 0.5; */
static void evaluate_step_0_loop_1(const real *scale, real *restrict scale_2, real *restrict log_9) {
  for (long i = 0; i < 3; i++) {
    const real scale_1_ = vm_softplus(scale[i]);
    scale_2[i] = scale_1_;
    log_9[i] = vm_log(scale_1_ * (real)2);
  }
}

static void evaluate_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  const real *scale = call->parameters; /* [D] */
  real *scale_2 = call->values, *log_9 = call->values + 16; /* [D], [D] */
  evaluate_step_0_loop_1(scale, scale_2, log_9);
}

/* counts.spm:6: likelihood x ~ laplace(0, scale); */
static void evaluate_rows_1_loop_1(long rows, const real *x, const real *scale_2, const real *log_9,
    real *restrict sub_10) {
  for (long i0 = 0; i0 < rows; i0++)
    for (long i = 0; i < 3; i++)
      sub_10[i0 * 3 + i] = ((-vm_abs(x[i0 * 3 + i])) / scale_2[i]) - log_9[i];
}

static void evaluate_rows_1(const struct spm_call *call, real *scratch, long unit) {
  const long tile = call->tile, first = unit * tile, left = call->rows - first, rows = left < tile ? left : tile;
  const real *x = call->data[0] + first * 3; /* [rows, D] */
  real *scale_2 = call->values, *log_9 = call->values + 16, *sub_10 = scratch; /* [D], [D], [rows, D] */
  real *sum_11 = scratch + tile * 3; /* [rows] */
  evaluate_rows_1_loop_1(rows, x, scale_2, log_9, sub_10);
  /* counts.spm:7: objective elbo; */
  spm_reduce_sum(rows, 3, 1, sum_11, sub_10);
  call->partials[unit * 16] = spm_sum(rows, sum_11);
}

static void evaluate_step_2(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  /* counts.spm:7: objective elbo; */
  call->values[0] = call->values[32] / call->settings[2];
}

