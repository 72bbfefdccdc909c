/* ---- program initialise ---- */

static void initialise_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  real *init_V_e = call->values, *init_W_e = call->values + 16; /* [D, K], [K, D] */
  spm_noise(SPM_NORMAL, call->seed, 3136157270, call->step, 0, 1, 0, 0, 12, init_V_e, 12);
  /* autoencoder.spm:6: param V : real[D, K] init normal(0, 1); */
  spm_noise(SPM_NORMAL, call->seed, 1588659437, call->step, 0, 1, 0, 0, 12, init_W_e, 12);
}

/* ---- program train ---- */

/* autoencoder.spm:7: let z = relu(W @ x); */
static void train_rows_0_loop_1(long rows, real *restrict less_37, real *restrict z) {
  for (long i = 0; i < rows * 3; i++) {
    const real less_37_0_ = less_37[i];
    z[i] = vm_relu(less_37_0_);
    less_37[i] = vm_truth((real)0 < less_37_0_);
  }
}

/* autoencoder.spm:8: likelihood x ~ normal(V @ z, 1); */
static void train_rows_0_loop_2(long rows, const real *x, real *restrict sub_15, real div_28, real *restrict mul_32) {
  for (long i = 0; i < rows * 4; i++) {
    const real sub_2_ = x[i] - sub_15[i];
    sub_15[i] = ((sub_2_ * sub_2_) * ((real)(-0.5))) - ((real)0.9189385332046727);
    mul_32[i] = sub_2_ * div_28;
  }
}

/* autoencoder.spm:8: likelihood x ~ normal(V @ z, 1); */
static void train_rows_0_loop_3(long rows, real mul_29, real *restrict select_38, const real *less_37) {
  for (long i = 0; i < rows * 3; i++)
    select_38[i] = vm_select(less_37[i], mul_29 + select_38[i], (real)0);
}

static void train_rows_0(const struct spm_call *call, real *scratch, long unit) {
  const long tile = call->tile, first = unit * tile, left = call->rows - first, rows = left < tile ? left : tile;
  const real *x = call->data[0] + first * 4, *W = call->parameters + 16; /* [rows, D], [K, D] */
  const real *V = call->parameters; /* [D, K] */
  real *less_37 = scratch, *z = scratch + tile * 3, *sum_16 = scratch + tile * 10; /* [rows, K], [rows, K], [rows] */
  real *sub_15 = scratch + tile * 6, *mul_32 = scratch + tile * 11; /* [rows, D], [rows, D] */
  real *sum_17 = scratch + tile * 6, *contract_33_partial = call->partials + 32 + unit * 64; /* [rows], [D, K] */
  real *select_38 = scratch + tile * 3; /* [rows, K] */
  real *contract_39_partial = call->partials + 48 + unit * 64; /* [K, D] */
  /* autoencoder.spm:9: objective log_lik(x) - 0.1 * sum(z); */
  const real rows_in_batch_1_ = call->settings[2];
  call->values[16] = ((real)(-1)) / rows_in_batch_1_;
  call->values[48] = ((real)1 / rows_in_batch_1_) * ((real)0.1);
  /* autoencoder.spm:7: let z = relu(W @ x); */
  spm_gemm(0, 1, rows, 3, 4, 1, x, 4, W, 4, 0, less_37, 3);
  train_rows_0_loop_1(rows, less_37, z);
  /* autoencoder.spm:8: likelihood x ~ normal(V @ z, 1); */
  spm_gemm(0, 1, rows, 4, 3, 1, z, 3, V, 3, 0, sub_15, 4);
  train_rows_0_loop_2(rows, x, sub_15, call->values[16], mul_32);
  /* autoencoder.spm:9: objective log_lik(x) - 0.1 * sum(z); */
  spm_reduce_sum(rows, 4, 1, sum_16, sub_15);
  spm_reduce_sum(rows, 3, 1, sum_17, z);
  call->partials[unit * 64] = spm_sum(rows, sum_16);
  call->partials[16 + unit * 64] = spm_sum(rows, sum_17);
  /* autoencoder.spm:8: likelihood x ~ normal(V @ z, 1); */
  spm_gemm(1, 0, 4, 3, rows, 1, mul_32, 4, z, 3, 0, contract_33_partial, 3);
  spm_gemm(0, 0, rows, 3, 4, 1, mul_32, 4, V, 3, 0, select_38, 3);
  train_rows_0_loop_3(rows, call->values[48], select_38, less_37);
  /* autoencoder.spm:7: let z = relu(W @ x); */
  spm_gemm(1, 0, 3, 4, rows, 1, select_38, 3, x, 4, 0, contract_39_partial, 4);
}

static void train_step_1(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  /* autoencoder.spm:9: objective log_lik(x) - 0.1 * sum(z); */
  const real rows_in_batch_1_ = call->settings[2];
  const real div_2_ = call->values[0] / rows_in_batch_1_;
  const real div_6_ = (call->values[32] * ((real)0.1)) / rows_in_batch_1_;
  call->values[16] = div_2_;
  call->values[48] = div_6_;
  call->values[64] = div_2_ - div_6_;
}

/* ---- program evaluate ---- */

/* autoencoder.spm:7: let z = relu(W @ x); */
static void evaluate_rows_0_loop_1(long rows, real *restrict z) {
  for (long i = 0; i < rows * 3; i++)
    z[i] = vm_relu(z[i]);
}

/* autoencoder.spm:8: likelihood x ~ normal(V @ z, 1); */
static void evaluate_rows_0_loop_2(long rows, const real *x, real *restrict sub_13) {
  for (long i = 0; i < rows * 4; i++) {
    const real sub_2_ = x[i] - sub_13[i];
    sub_13[i] = ((sub_2_ * sub_2_) * ((real)(-0.5))) - ((real)0.9189385332046727);
  }
}

static void evaluate_rows_0(const struct spm_call *call, real *scratch, long unit) {
  const long tile = call->tile, first = unit * tile, left = call->rows - first, rows = left < tile ? left : tile;
  const real *x = call->data[0] + first * 4, *W = call->parameters + 16; /* [rows, D], [K, D] */
  const real *V = call->parameters; /* [D, K] */
  real *z = scratch, *sub_13 = scratch + tile * 3, *sum_14 = scratch + tile * 7; /* [rows, K], [rows, D], [rows] */
  real *sum_15 = scratch + tile * 3; /* [rows] */
  /* autoencoder.spm:7: let z = relu(W @ x); */
  spm_gemm(0, 1, rows, 3, 4, 1, x, 4, W, 4, 0, z, 3);
  evaluate_rows_0_loop_1(rows, z);
  /* autoencoder.spm:8: likelihood x ~ normal(V @ z, 1); */
  spm_gemm(0, 1, rows, 4, 3, 1, z, 3, V, 3, 0, sub_13, 4);
  evaluate_rows_0_loop_2(rows, x, sub_13);
  /* autoencoder.spm:9: objective log_lik(x) - 0.1 * sum(z); */
  spm_reduce_sum(rows, 4, 1, sum_14, sub_13);
  spm_reduce_sum(rows, 3, 1, sum_15, z);
  call->partials[unit * 32] = spm_sum(rows, sum_14);
  call->partials[16 + unit * 32] = spm_sum(rows, sum_15);
}

