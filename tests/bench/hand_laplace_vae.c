/* One training step of specs/laplace_vae.spm as one would write it by hand: what bench_emit measures the emitted file
 * against. 784-400-{64,64}-400-784, closed-form KL of a normal from a Laplace prior, Adam. Whole batches go through
 * each product, bias and activation follow in one pass, and each weight's gradient is used by Adam in blocks that are
 * still in cache. Mathematics, noise and Adam are the runtime's, pasted from its headers; batches of up to MOST_ROWS
 * rows. Compiled by bench_emit as it compiles the emitted file: cc -O3 -march=native -shared. */
#include <math.h>
#include <string.h>

#include "runtime/kernels_noise.c"
#include "runtime/kernels_reduce.c"
#include "runtime/optim.c"
#include "runtime/vmath.h"

enum { D = 784, H = 400, K = 64, MOST_ROWS = 512, BLOCK_ROWS = 112 };
enum { SIZE = 2 * (H * D + K * H) + K * H + 2 * H + 2 * K + D };

/* W1 b1 Wm bm Ws bs W2 b2 W3 b3 */
enum {
  W1 = 0,
  B1 = W1 + H * D,
  WM = B1 + H,
  BM = WM + K * H,
  WS = BM + K,
  BS = WS + K * H,
  W2 = BS + K,
  B2 = W2 + H * K,
  W3 = B2 + H,
  B3 = W3 + D * H
};

static float w[SIZE], first[SIZE], second[SIZE];
static float h1[MOST_ROWS * H], mu[MOST_ROWS * K], log_s[MOST_ROWS * K], e[MOST_ROWS * K], z[MOST_ROWS * K];
static float h2[MOST_ROWS * H], logits[MOST_ROWS * D];
static float d_mu[MOST_ROWS * K], d_s[MOST_ROWS * K], d_z[MOST_ROWS * K], d_h1[MOST_ROWS * H], d_h2[MOST_ROWS * H];
static float terms[D], gradient[BLOCK_ROWS * D], bias_gradient[D];
static long updates;

void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                 int ldb, float beta, float *c, int ldc);

/* y [rows, m] = x [rows, n] W' */
static void forward(long rows, int m, int n, const float *x, const float *weights, float *y) {
  cblas_sgemm(101, 111, 112, (int)rows, m, n, 1, x, n, weights, n, 0, y, m);
}

/* dx [rows, n] (+)= dy [rows, m] W */
static void backward(long rows, int m, int n, const float *dy, const float *weights, float *dx, int adds) {
  cblas_sgemm(101, 111, 111, (int)rows, n, m, 1, dy, m, weights, n, (float)adds, dx, n);
}

static void adam_at(int at, const float *g, long count) {
  spm_adam_update(w + at, first + at, second + at, g, count, updates, 1e-3, 0.9, 0.999, 1e-8, 0);
}

/* W -= Adam(dy' x), b -= Adam(sum of dy) */
static void update_layer(long rows, int m, int n, const float *dy, const float *x, int weights, int bias) {
  for (int from = 0; from < m; from += BLOCK_ROWS) {
    int count = m - from < BLOCK_ROWS ? m - from : BLOCK_ROWS;
    cblas_sgemm(101, 112, 111, count, n, (int)rows, 1, dy + from, m, x, n, 0, gradient, n);
    adam_at(weights + from * n, gradient, (long)count * n);
  }
  memset(bias_gradient, 0, sizeof(float) * (size_t)m);
  for (long r = 0; r < rows; r++)
    for (int i = 0; i < m; i++) bias_gradient[i] += dy[r * m + i];
  adam_at(bias, bias_gradient, m);
}

static void hidden(long rows, float *restrict h, const float *restrict b) {
  for (long r = 0; r < rows; r++)
    for (int i = 0; i < H; i++) h[r * H + i] = vm_relu(h[r * H + i] + b[i]);
}

static void through_relu(long rows, const float *restrict h, float *restrict d) {
  for (long i = 0; i < rows * H; i++) d[i] = vm_select(h[i], d[i], 0);
}

/* z, the KL of one row, and its gradients in mu and log s. */
static void sample_row(float *restrict mean, float *restrict scale, const float *restrict noise, float *restrict code,
                       const float *restrict bm, const float *restrict bs, float *restrict dm, float *restrict ds,
                       float *restrict term, float weight) {
  for (int i = 0; i < K; i++) {
    float m = mean[i] + bm[i], log_scale = scale[i] + bs[i], s = vm_exp(log_scale), ratio = m / s;
    float density = vm_exp(-0.5f * ratio * ratio), tail = vm_erf(ratio * 0.70710678f);
    term[i] = s * 0.79788456f * density + m * tail + 0.69314718f - log_scale - 1.41893853f;
    code[i] = m + s * noise[i];
    dm[i] = weight * tail;
    ds[i] = weight * (s * 0.79788456f * density - 1);
    mean[i] = m;
    scale[i] = s;
  }
}

/* The log-likelihood of one row; logits become minus its gradient. */
static void output_row(float *restrict y, const float *restrict x, const float *restrict b, float *restrict term,
                       float weight) {
  for (int i = 0; i < D; i++) {
    float l = y[i] + b[i];
    term[i] = x[i] * l - vm_softplus(l);
    y[i] = weight * (vm_sigmoid(l) - x[i]);
  }
}

static void join(long rows, const float *restrict dz, const float *restrict scale, const float *restrict noise,
                 float *restrict dm, float *restrict ds) {
  for (long i = 0; i < rows * K; i++) {
    dm[i] += dz[i];
    ds[i] += dz[i] * noise[i] * scale[i];
  }
}

float *hand_parameters(void) { return w; }

/* The batch's mean elbo before the update. */
double hand_step(const float *x, long rows) {
  double elbo = 0;
  float weight = 1 / (float)rows;
  updates++;
  forward(rows, H, D, x, w + W1, h1);
  hidden(rows, h1, w + B1);
  forward(rows, K, H, h1, w + WM, mu);
  forward(rows, K, H, h1, w + WS, log_s);
  SPM_K(noise)(SPM_NORMAL, 1, 1, (unsigned)updates, 0, rows, 0, 0, K, e, K);
  for (long r = 0; r < rows; r++) {
    sample_row(mu + r * K, log_s + r * K, e + r * K, z + r * K, w + BM, w + BS, d_mu + r * K, d_s + r * K, terms,
               weight);
    elbo -= (double)SPM_K(sum)(K, terms);
  }
  forward(rows, H, K, z, w + W2, h2);
  hidden(rows, h2, w + B2);
  forward(rows, D, H, h2, w + W3, logits);
  for (long r = 0; r < rows; r++) {
    output_row(logits + r * D, x + r * D, w + B3, terms, weight);
    elbo += (double)SPM_K(sum)(D, terms);
  }
  backward(rows, D, H, logits, w + W3, d_h2, 0);
  through_relu(rows, h2, d_h2);
  backward(rows, H, K, d_h2, w + W2, d_z, 0);
  join(rows, d_z, log_s, e, d_mu, d_s);
  backward(rows, K, H, d_mu, w + WM, d_h1, 0);
  backward(rows, K, H, d_s, w + WS, d_h1, 1);
  through_relu(rows, h1, d_h1);
  update_layer(rows, D, H, logits, h2, W3, B3);
  update_layer(rows, H, K, d_h2, z, W2, B2);
  update_layer(rows, K, H, d_s, h1, WS, BS);
  update_layer(rows, K, H, d_mu, h1, WM, BM);
  update_layer(rows, H, D, d_h1, x, W1, B1);
  return elbo / (double)rows;
}
