/* A pool of threads for phases of many small units: units are handed out one by one from an atomic counter, and threads
 * that wait for work spin for a while before they sleep, since a training step of a millisecond has several phases. */
#ifndef SPM_POOL_H
#define SPM_POOL_H

struct pool;

/* threads >= 1, the caller's own included; with 1 everything runs inline. If some threads cannot be started, there are
 * fewer (pool_threads tells); NULL only without memory. */
struct pool *pool_create(int threads);
int pool_threads(const struct pool *pool);
/* Calls run(argument, unit, thread) once for each unit in 0 to units - 1, in any order, on any thread; thread <
 * threads, and no two calls at once have the same one. Returns when all are done; what they wrote is visible then. Not
 * to be called from within run, nor by two threads at once. At most 2^31 - 1 units. */
void pool_run(struct pool *pool, long units, void (*run)(void *argument, long unit, int thread), void *argument);
void pool_destroy(struct pool *pool); /* NULL is fine */

#endif
