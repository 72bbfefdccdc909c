/* The thread pool. See pool.h.
 *
 * A ticket holds the number of the current job and its next unit in one atomic word. A thread reads the ticket, then
 * what the job is, and takes a unit by a compare-and-swap of the ticket: if the job has changed in between, the swap
 * fails and what was read is thrown away. So nobody waits for threads that are late or asleep, only for units that were
 * taken. */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

typedef void unit_function(void *argument, long unit, int thread);

/* Waiting before sleep: first busily, 50 to 150 microseconds; then, up to about a millisecond (a phase of one unit, the
 * next batch's rows), leaving the core to whoever else wants it; being woken takes 50 microseconds and more. */
enum { SPINS = 4000, YIELDS = 1000, PAUSES = 16 };
#define CLOSED UINT32_C(0xFFFFFFFF) /* as the next unit: none to take */

struct worker {
  struct pool *pool;
  pthread_t thread;
  int number;
};

struct pool {
  _Alignas(64) atomic_ullong ticket; /* job number << 32 | next unit */
  _Alignas(64) atomic_long done;     /* units of this job that are finished */
  _Alignas(64) atomic_long units;    /* the job; written only while the ticket is closed */
  _Atomic(unit_function *) run;
  _Atomic(void *) argument;
  atomic_int stop, sleepers;
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  int threads;
  struct worker *workers; /* threads - 1 of them */
};

static void pause_briefly(void) {
#if defined __x86_64__ || defined __i386__
  __builtin_ia32_pause();
#elif defined __aarch64__
  __asm__ volatile("yield");
#endif
}

static void leave_core(void) {
  sched_yield();
  for (int i = 0; i < PAUSES; i++) pause_briefly();
}

static int has_work(struct pool *pool) {
  return (long)(uint32_t)atomic_load(&pool->ticket) < atomic_load(&pool->units);
}

/* Takes and runs one unit; 0 if there is none. */
static int run_one(struct pool *pool, int thread) {
  unsigned long long ticket = atomic_load(&pool->ticket);
  for (;;) {
    long unit = (long)(uint32_t)ticket, units = atomic_load(&pool->units);
    unit_function *run = atomic_load(&pool->run);
    void *argument = atomic_load(&pool->argument);
    if (unit >= units) return 0;
    if (atomic_compare_exchange_weak(&pool->ticket, &ticket, ticket + 1)) {
      run(argument, unit, thread);
      atomic_fetch_add(&pool->done, 1);
      return 1;
    }
  }
}

/* The runner stores the ticket and then reads `sleepers`; a worker raises `sleepers` and then reads the ticket. One of
 * them sees the other, so no wake-up is lost. */
static void sleep_until_work(struct pool *pool) {
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(&pool->sleepers, 1);
  while (!has_work(pool) && !atomic_load(&pool->stop)) pthread_cond_wait(&pool->wake, &pool->mutex);
  atomic_fetch_sub(&pool->sleepers, 1);
  pthread_mutex_unlock(&pool->mutex);
}

static void wake_sleepers(struct pool *pool) {
  if (atomic_load(&pool->sleepers) == 0) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *argument) {
  struct worker *worker = argument;
  struct pool *pool = worker->pool;
  while (!atomic_load(&pool->stop)) {
    int spins = 0;
    while (run_one(pool, worker->number)) {
    }
    while (spins < SPINS + YIELDS && !has_work(pool) && !atomic_load(&pool->stop)) {
      if (spins++ < SPINS)
        pause_briefly();
      else
        leave_core();
    }
    if (spins == SPINS + YIELDS) sleep_until_work(pool);
  }
  return NULL;
}

struct pool *pool_create(int threads) {
  size_t size = (sizeof(struct pool) + 63) / 64 * 64;
  struct pool *pool = aligned_alloc(64, size);
  if (!pool) return NULL;
  atomic_init(&pool->ticket, CLOSED);
  atomic_init(&pool->done, 0);
  atomic_init(&pool->units, 0);
  atomic_init(&pool->run, NULL);
  atomic_init(&pool->argument, NULL);
  atomic_init(&pool->stop, 0);
  atomic_init(&pool->sleepers, 0);
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pool->threads = 1;
  pool->workers = threads > 1 ? calloc((size_t)threads - 1, sizeof *pool->workers) : NULL;
  if (threads > 1 && !pool->workers) {
    pool_destroy(pool);
    return NULL;
  }
  for (; pool->threads < threads; pool->threads++) {
    struct worker *worker = &pool->workers[pool->threads - 1];
    worker->pool = pool;
    worker->number = pool->threads;
    if (pthread_create(&worker->thread, NULL, work, worker) != 0) break;
  }
  return pool;
}

int pool_threads(const struct pool *pool) { return pool->threads; }

void pool_run(struct pool *pool, long units, unit_function *run, void *argument) {
  if (pool->threads == 1 || units == 1) {
    for (long unit = 0; unit < units; unit++) run(argument, unit, 0);
    return;
  }
  if (units <= 0) return;
  unsigned long long job = (atomic_load(&pool->ticket) >> 32) + 1;
  atomic_store(&pool->ticket, job << 32 | CLOSED); /* from here on no swap of an old ticket succeeds */
  atomic_store(&pool->done, 0);
  atomic_store(&pool->run, run);
  atomic_store(&pool->argument, argument);
  atomic_store(&pool->units, units);
  atomic_store(&pool->ticket, (job + 1) << 32);
  wake_sleepers(pool);
  while (run_one(pool, 0)) {
  }
  /* The rest is at work: a unit takes microseconds, unless the machine has fewer cores free than threads. */
  for (int spins = 0; atomic_load(&pool->done) < units; spins++) {
    if (spins < SPINS)
      pause_briefly();
    else
      sched_yield();
  }
}

void pool_destroy(struct pool *pool) {
  if (!pool) return;
  atomic_store(&pool->stop, 1);
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->mutex);
  for (int t = 1; t < pool->threads; t++) pthread_join(pool->workers[t - 1].thread, NULL);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->mutex);
  free(pool->workers);
  free(pool);
}
