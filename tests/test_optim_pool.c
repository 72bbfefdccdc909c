/* Optimisers against the textbook formulas, and the same bytes however a range is split; the thread pool: every unit
 * once, on threads that are its own, with what was written visible afterwards. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "optim.h"
#include "pool.h"

enum { N = 1003, STEPS = 25 };

static float gradient_at(int step, int i) { return sinf((float)(step * 31 + i * 7)) * (i % 10 == 0 ? 1e-4f : 1.0f); }

/* ---- optimisers ------------------------------------------------------------------------------------------------ */

/* torch.optim.Adam, single-tensor, in double. */
static void adam_reference(double *value, double *m, double *v, double g, int step, double lr, double decay) {
  const double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  g += decay * *value;
  *m = beta1 * *m + (1 - beta1) * g;
  *v = beta2 * *v + (1 - beta2) * g * g;
  *value -= lr / (1 - pow(beta1, step)) * *m / (sqrt(*v) / sqrt(1 - pow(beta2, step)) + epsilon);
}

Test(optim, adam_is_pytorchs) {
  for (int with_decay = 0; with_decay < 2; with_decay++) {
    static float value[N], first[N], second[N], gradient[N];
    static double wanted[N], m[N], v[N];
    double decay = with_decay ? 0.01 : 0;
    for (int i = 0; i < N; i++)
      wanted[i] = value[i] = (float)(i % 13) * 0.1f - 0.6f, first[i] = second[i] = 0, m[i] = v[i] = 0;
    for (int step = 1; step <= STEPS; step++) {
      for (int i = 0; i < N; i++) gradient[i] = gradient_at(step, i);
      spm_adam_update(value, first, second, gradient, N, step, 1e-2, 0.9, 0.999, 1e-8, decay);
      for (int i = 0; i < N; i++) adam_reference(&wanted[i], &m[i], &v[i], gradient[i], step, 1e-2, decay);
    }
    for (int i = 0; i < N; i++) cr_assert(fabs(value[i] - wanted[i]) < 2e-6, "%d: %g, not %g", i, value[i], wanted[i]);
  }
}

/* A gradient that is zero from some step on: the moments decay through the normal numbers and then are zero. */
Test(optim, adams_moments_do_not_stay_subnormal) {
  float value[N] = {0}, first[N], second[N], gradient[N] = {0};
  for (int i = 0; i < N; i++) first[i] = i % 2 ? 2e-38f : -2e-38f, second[i] = i % 3 ? 1.1755e-38f : 2e-38f;
  gradient[1] = NAN;
  spm_adam_update(value, first, second, gradient, N, 1000, 1e-3, 0.9, 0.999, 1e-8, 0);
  for (int i = 2; i < N; i++) {
    cr_assert(first[i] == 0.9f * (i % 2 ? 2e-38f : -2e-38f));
    cr_assert(i % 3 ? second[i] == 0 && !signbit(second[i]) : second[i] > 0);
  }
  cr_assert(isnan(first[1]) && isnan(second[1]), "what is not a number is not small");
  for (int step = 1001; step < 1020; step++)
    spm_adam_update(value, first, second, gradient, N, step, 1e-3, 0.9, 0.999, 1e-8, 0);
  for (int i = 2; i < N; i++) cr_assert(first[i] == 0);
}

Test(optim, sgd_is_pytorchs) {
  static float value[N], velocity[N], plain[N], gradient[N];
  static double wanted[N], buffer[N], wanted_plain[N];
  for (int i = 0; i < N; i++) wanted_plain[i] = plain[i] = value[i] = (float)i * 1e-3f, wanted[i] = value[i];
  for (int step = 1; step <= STEPS; step++) {
    for (int i = 0; i < N; i++) {
      gradient[i] = gradient_at(step, i);
      buffer[i] = 0.9 * buffer[i] + gradient[i] + 0.01 * wanted[i];
      wanted[i] -= 0.05 * buffer[i];
      wanted_plain[i] -= 0.05 * (gradient[i] + 0.01 * wanted_plain[i]);
    }
    spm_sgd_update(value, velocity, gradient, N, 0.05, 0.9, 0.01);
    spm_sgd_update(plain, NULL, gradient, N, 0.05, 0, 0.01);
  }
  for (int i = 0; i < N; i++) cr_assert(fabs(value[i] - wanted[i]) < 1e-5 && fabs(plain[i] - wanted_plain[i]) < 1e-5);
}

Test(optim, splits_give_the_same_bytes) {
  static float whole[3][N], parts[3][N], gradient[N];
  for (int i = 0; i < N; i++) {
    gradient[i] = gradient_at(1, i);
    for (int k = 0; k < 3; k++) whole[k][i] = parts[k][i] = fabsf(gradient_at(k + 2, i));
  }
  spm_adam_update(whole[0], whole[1], whole[2], gradient, N, 5, 1e-3, 0.9, 0.999, 1e-8, 0.1);
  for (long at = 0, length = 1; at < N; at += length, length = length * 2 + 1) {
    long count = N - at < length ? N - at : length;
    spm_adam_update(parts[0] + at, parts[1] + at, parts[2] + at, gradient + at, count, 5, 1e-3, 0.9, 0.999, 1e-8, 0.1);
  }
  cr_assert(memcmp(whole, parts, sizeof whole) == 0);
  spm_sgd_update(whole[0], whole[1], gradient, N, 1e-3, 0.9, 0.1);
  for (long at = 0; at < N; at += 17)
    spm_sgd_update(parts[0] + at, parts[1] + at, gradient + at, N - at < 17 ? N - at : 17, 1e-3, 0.9, 0.1);
  cr_assert(memcmp(whole, parts, sizeof whole) == 0);
}

/* ---- the pool -------------------------------------------------------------------------------------------------- */

enum { UNITS = 1000, THREADS = 4 };

struct tally {
  int runs[UNITS]; /* not atomic: each unit must run once, and be visible afterwards */
  atomic_int inside[THREADS];
  atomic_int broken;
  int threads;
};

static void count(void *argument, long unit, int thread) {
  struct tally *tally = argument;
  if (thread < 0 || thread >= tally->threads || unit < 0 || unit >= UNITS) {
    atomic_store(&tally->broken, 1);
    return;
  }
  if (atomic_fetch_add(&tally->inside[thread], 1) != 0) atomic_store(&tally->broken, 2);
  tally->runs[unit]++;
  atomic_fetch_sub(&tally->inside[thread], 1);
}

Test(pool, every_unit_runs_once) {
  for (int threads = 1; threads <= THREADS; threads++) {
    static struct tally tally;
    struct pool *pool = pool_create(threads);
    cr_assert(pool != NULL && pool_threads(pool) == threads);
    for (int round = 0; round < 2000; round++) {
      long units = round % 50 == 0 ? UNITS : round % 9;
      memset(&tally, 0, sizeof tally);
      tally.threads = threads;
      pool_run(pool, units, count, &tally);
      cr_assert(atomic_load(&tally.broken) == 0);
      for (long unit = 0; unit < UNITS; unit++) cr_assert(tally.runs[unit] == (unit < units), "%d threads", threads);
    }
    pool_destroy(pool);
  }
}

static void wait_a_little(void *argument, long unit, int thread) {
  struct timespec pause = {0, 200000};
  (void)unit;
  nanosleep(&pause, NULL);
  atomic_fetch_add((atomic_int *)argument + thread, 1);
}

Test(pool, threads_that_sleep_are_woken) {
  struct pool *pool = pool_create(2);
  struct timespec pause = {0, 20000000}; /* far longer than they spin */
  atomic_int runs[2] = {0};
  for (int round = 0; round < 5; round++) {
    nanosleep(&pause, NULL);
    pool_run(pool, 20, wait_a_little, runs);
  }
  cr_assert(atomic_load(&runs[0]) + atomic_load(&runs[1]) == 100);
  cr_assert(atomic_load(&runs[1]) > 0, "the second thread never worked");
  pool_destroy(pool);
}

Test(pool, can_be_destroyed_at_once_and_unused) {
  for (int round = 0; round < 50; round++) pool_destroy(pool_create(1 + round % 4));
  pool_destroy(NULL);
}
