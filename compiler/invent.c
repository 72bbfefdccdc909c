/* invent: a dim without a value -> a small number that stands for it where there are no data, in check, explain and
 * diagnose. It is none that the author has written, nor next to one, so that a spec which is right for one size only
 * does not pass by accident; and what the author divides comes out whole. */
#include "dims.h"

enum { MOST = 4096 }; /* numbers above are no accident */

struct Literals {
  uint64_t written[MOST / 64];
  struct Division {
    Name name;
    long by;
  } * divisions;
  int division_count;
};

static struct Literals *literals_of(Compilation *c) {
  if (!c->literals) c->literals = arena_new(c, struct Literals);
  return c->literals;
}

static bool is_small_whole(double number) { return number >= 0 && number < MOST && number == (double)(long)number; }

void note_literal(Compilation *c, double number) {
  if (!is_small_whole(number)) return;
  long n = (long)number;
  literals_of(c)->written[n / 64] |= (uint64_t)1 << n % 64;
}

void note_division(Compilation *c, Name name, double by) {
  struct Literals *all = literals_of(c);
  if (!is_small_whole(by) || by < 2) return;
  all->divisions = arena_grow(c, all->divisions, all->division_count, sizeof *all->divisions);
  all->divisions[all->division_count++] = (struct Division){name, (long)by};
}

static bool is_written(const struct Literals *all, long n) {
  return n >= 0 && n < MOST && all->written[n / 64] >> n % 64 & 1;
}

/* ... or a length that is easily made of it. */
static bool is_near_a_literal(const struct Literals *all, long n) {
  return is_written(all, n - 1) || is_written(all, n) || is_written(all, n + 1) || is_written(all, 2 * n) ||
         (n % 2 == 0 && is_written(all, n / 2));
}

static bool is_prime(long n) {
  for (long i = 2; i * i <= n; i++)
    if (n % i == 0) return false;
  return n > 1;
}

static bool is_taken(long n, const double *taken, int count) {
  for (int i = 0; i < count; i++)
    if (taken[i] == (double)n) return true;
  return false;
}

/* By what the name is divided, all at once. */
static long common_multiple(const struct Literals *all, Name name) {
  long multiple = 1;
  for (int i = 0; i < all->division_count; i++) {
    const struct Division *d = &all->divisions[i];
    long next = multiple;
    if (d->name != name) continue;
    while (next % d->by != 0) next += multiple;
    if (next < MOST) multiple = next;
  }
  return multiple;
}

double dim_invent(Compilation *c, Name name, const double *taken, int count) {
  const struct Literals *all = literals_of(c);
  long multiple = common_multiple(all, name);
  for (long p = 3; p * multiple < 4 * MOST; p++) {
    long n = p * multiple;
    if (is_prime(p) && !is_near_a_literal(all, n) && !is_taken(n, taken, count)) return (double)n;
  }
  return (double)(3 * multiple); /* thousands of numbers are written */
}
