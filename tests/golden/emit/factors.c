/* ---- program initialise ---- */

static void initialise_step_0(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  real *init_V_e = call->values, *init_W_e = call->values + 16; /* [D, K], [K, D] */
  spm_noise(SPM_NORMAL, call->seed, 3136157270, call->step, 0, 1, 0, 0, 8, init_V_e, 8);
  /* factors.spm:6: param V : real[D, K] init normal(0, 1); */
  spm_noise(SPM_NORMAL, call->seed, 1588659437, call->step, 0, 1, 0, 0, 8, init_W_e, 8);
}

/* ---- program train ---- */

/* factors.spm:9: posterior z ~ normal(W @ x, 0.5); */
static void train_rows_0_loop_1(long rows, real *restrict z, real *restrict add_45, real div_37, real *restrict sub_28) {
  for (long i = 0; i < rows * 2; i++) {
    const real add_45_3_ = add_45[i];
    const real add_10_ = (((add_45_3_ * add_45_3_) + ((real)0.25)) * ((real)0.5)) + ((real)0.6931471805599453);
    z[i] = add_45_3_ + (z[i] * ((real)0.5));
    sub_28[i] = add_10_ - ((real)0.5);
    add_45[i] = add_45_3_ * div_37;
  }
}

/* factors.spm:10: likelihood x ~ normal(V @ z, 1); */
static void train_rows_0_loop_2(long rows, const real *x, real *restrict sub_18, real div_38, real *restrict mul_42) {
  for (long i = 0; i < rows * 4; i++) {
    const real sub_2_ = x[i] - sub_18[i];
    sub_18[i] = ((sub_2_ * sub_2_) * ((real)(-0.5))) - ((real)0.9189385332046727);
    mul_42[i] = sub_2_ * div_38;
  }
}

/* factors.spm:9: posterior z ~ normal(W @ x, 0.5); */
static void train_rows_0_loop_3(long rows, real *restrict add_45, const real *contract_44) {
  for (long i = 0; i < rows * 2; i++)
    add_45[i] = add_45[i] + contract_44[i];
}

static void train_rows_0(const struct spm_call *call, real *scratch, long unit) {
  const long tile = call->tile, first = unit * tile, left = call->rows - first, rows = left < tile ? left : tile;
  const real *x = call->data[0] + first * 4, *W = call->parameters + 16; /* [rows, D], [K, D] */
  const real *V = call->parameters; /* [D, K] */
  real *add_45 = scratch, *z = scratch + tile * 2, *sub_28 = scratch + tile * 9; /* [rows, K], [rows, K], [rows, K] */
  real *sub_18 = scratch + tile * 4, *mul_42 = scratch + tile * 11; /* [rows, D], [rows, D] */
  real *sum_19 = scratch + tile * 8, *sum_29 = scratch + tile * 4; /* [rows], [rows] */
  real *contract_43_partial = call->partials + 32 + unit * 64; /* [D, K] */
  real *contract_44 = scratch + tile * 2; /* [rows, K] */
  real *contract_46_partial = call->partials + 48 + unit * 64; /* [K, D] */
  /* factors.spm:11: objective elbo; */
  const real rows_in_batch_1_ = call->settings[2];
  call->values[16] = (real)1 / rows_in_batch_1_;
  call->values[48] = ((real)(-1)) / rows_in_batch_1_;
  /* factors.spm:9: posterior z ~ normal(W @ x, 0.5); */
  spm_gemm(0, 1, rows, 2, 4, 1, x, 4, W, 4, 0, add_45, 2);
  spm_noise(SPM_NORMAL, call->seed, 3084969428, call->step, call->first_row + first, rows, 0, 0, 2, z, 2);
  train_rows_0_loop_1(rows, z, add_45, call->values[16], sub_28);
  /* factors.spm:10: likelihood x ~ normal(V @ z, 1); */
  spm_gemm(0, 1, rows, 4, 2, 1, z, 2, V, 2, 0, sub_18, 4);
  train_rows_0_loop_2(rows, x, sub_18, call->values[48], mul_42);
  /* factors.spm:11: objective elbo; */
  spm_reduce_sum(rows, 4, 1, sum_19, sub_18);
  spm_reduce_sum(rows, 2, 1, sum_29, sub_28);
  call->partials[unit * 64] = spm_sum(rows, sum_19);
  call->partials[16 + unit * 64] = spm_sum(rows, sum_29);
  /* factors.spm:10: likelihood x ~ normal(V @ z, 1); */
  spm_gemm(1, 0, 4, 2, rows, 1, mul_42, 4, z, 2, 0, contract_43_partial, 2);
  spm_gemm(0, 0, rows, 2, 4, 1, mul_42, 4, V, 2, 0, contract_44, 2);
  train_rows_0_loop_3(rows, add_45, contract_44);
  /* factors.spm:9: posterior z ~ normal(W @ x, 0.5); */
  spm_gemm(1, 0, 2, 4, rows, 1, add_45, 2, x, 4, 0, contract_46_partial, 4);
}

static void train_step_1(const struct spm_call *call, real *scratch, long unit) {
  (void)scratch, (void)unit;
  /* factors.spm:11: objective elbo; */
  const real rows_in_batch_1_ = call->settings[2];
  const real div_2_ = call->values[0] / rows_in_batch_1_;
  const real div_4_ = call->values[32] / rows_in_batch_1_;
  call->values[16] = div_2_;
  call->values[48] = div_4_;
  call->values[64] = div_2_ - div_4_;
}

/* ---- program evaluate ---- */

/* factors.spm:9: posterior z ~ normal(W @ x, 0.5); */
static void evaluate_rows_0_loop_1(long rows, real *restrict z, real *restrict sub_27) {
  for (long i = 0; i < rows * 2; i++) {
    const real sub_27_3_ = sub_27[i];
    const real add_10_ = (((sub_27_3_ * sub_27_3_) + ((real)0.25)) * ((real)0.5)) + ((real)0.6931471805599453);
    z[i] = sub_27_3_ + (z[i] * ((real)0.5));
    sub_27[i] = add_10_ - ((real)0.5);
  }
}

/* factors.spm:10: likelihood x ~ normal(V @ z, 1); */
static void evaluate_rows_0_loop_2(long rows, const real *x, real *restrict sub_17) {
  for (long i = 0; i < rows * 4; i++) {
    const real sub_2_ = x[i] - sub_17[i];
    sub_17[i] = ((sub_2_ * sub_2_) * ((real)(-0.5))) - ((real)0.9189385332046727);
  }
}

static void evaluate_rows_0(const struct spm_call *call, real *scratch, long unit) {
  const long tile = call->tile, first = unit * tile, left = call->rows - first, rows = left < tile ? left : tile;
  const real *x = call->data[0] + first * 4, *W = call->parameters + 16; /* [rows, D], [K, D] */
  const real *V = call->parameters; /* [D, K] */
  real *sub_27 = scratch, *z = scratch + tile * 2, *sub_17 = scratch + tile * 4; /* [rows, K], [rows, K], [rows, D] */
  real *sum_18 = scratch + tile * 2, *sum_28 = scratch + tile * 3; /* [rows], [rows] */
  /* factors.spm:9: posterior z ~ normal(W @ x, 0.5); */
  spm_gemm(0, 1, rows, 2, 4, 1, x, 4, W, 4, 0, sub_27, 2);
  spm_noise(SPM_NORMAL, call->seed, 3084969428, call->step, call->first_row + first, rows, 0, 0, 2, z, 2);
  evaluate_rows_0_loop_1(rows, z, sub_27);
  /* factors.spm:10: likelihood x ~ normal(V @ z, 1); */
  spm_gemm(0, 1, rows, 4, 2, 1, z, 2, V, 2, 0, sub_17, 4);
  evaluate_rows_0_loop_2(rows, x, sub_17);
  /* factors.spm:11: objective elbo; */
  spm_reduce_sum(rows, 4, 1, sum_18, sub_17);
  spm_reduce_sum(rows, 2, 1, sum_28, sub_27);
  call->partials[unit * 32] = spm_sum(rows, sum_18);
  call->partials[16 + unit * 32] = spm_sum(rows, sum_28);
}

