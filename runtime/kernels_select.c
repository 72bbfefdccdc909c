/* The k largest of many numbers, without sorting them. A real's bits, read as a whole number with a sign, are in the
 * order of the reals once the negative ones are turned round; the k-th largest is then found bit by bit, each time by
 * counting how many lie above a candidate, which vectorises and takes the same time whatever the numbers are. NaN
 * counts as the largest, -0 as 0. Requires and leaves what kernels.h says. */
#include "kernels.h"

#include <stdint.h>
#include <string.h>

#ifdef SPM_DOUBLE
typedef int64_t ordered;
#define ORDER_MOST INT64_MAX
#define ORDER_LEAST INT64_MIN
#else
typedef int32_t ordered;
#define ORDER_MOST INT32_MAX
#define ORDER_LEAST INT32_MIN
#endif

enum { COUNTED = 4096 }; /* at once, in a counter as wide as the numbers */

static inline ordered order_of(real x) {
  ordered bits;
  x = x + 0; /* -0 is 0 */
  memcpy(&bits, &x, sizeof bits);
  return x != x ? ORDER_MOST : bits ^ ((bits < 0 ? -1 : 0) & ORDER_MOST);
}

static inline ordered key_at(const real *keys, long i) {
  ordered key;
  memcpy(&key, keys + i, sizeof key);
  return key;
}

/* How many lie above; `keys`: the numbers have been turned into keys already. */
static inline long count_above(long n, const real *in, int keys, ordered than) {
  long total = 0;
  for (long from = 0; from < n; from += COUNTED) {
    const long end = n - from < COUNTED ? n : from + COUNTED;
    ordered count = 0;
    for (long i = from; i < end; i++) count += (keys ? key_at(in, i) : order_of(in[i])) > than;
    total += count;
  }
  return total;
}

/* In all rows of a group: rows lie `stride` apart. */
static long group_above(long rows, long stride, long n, const real *in, int keys, ordered than) {
  long total = 0;
  if (keys) return count_above(n, in, 1, than);
  if (stride == n) return count_above(rows * n, in, 0, than);
  for (long row = 0; row < rows; row++) total += count_above(n, in + row * stride, 0, than);
  return total;
}

/* The middle of two, rounded down, without overflow. */
static ordered middle(ordered low, ordered high) { return (low & high) + ((low ^ high) >> 1); }

/* As a whole number from 0 to n. */
static long whole_count(real count, long n) {
  double rounded = (double)count + 0.5;
  return rounded >= (double)n ? n : rounded >= 1 ? (long)rounded : 0;
}

/* A key that at most k keys lie above, and how many do: all of these are taken and, of those equal to the key, as many
 * as are left. */
static ordered find_last(long rows, long stride, long n, const real *in, int keys, long k, long *above) {
  ordered low = ORDER_LEAST, high = ORDER_MOST; /* the k-th largest is between them */
  *above = 0;
  while (low < high && *above < k) {
    const ordered candidate = middle(low, high);
    const long count = group_above(rows, stride, n, in, keys, candidate);
    if (count > k) {
      low = candidate + 1;
    } else {
      high = candidate;
      *above = count;
    }
  }
  return high;
}

/* out holds the keys first. */
void SPM_K(top_mask)(long n, real *out, const real *in, const real *count) {
  const long k = whole_count(*count, n);
  long above, ties;
  for (long i = 0; i < n; i++) {
    const ordered key = order_of(in[i]);
    memcpy(out + i, &key, sizeof key);
  }
  const ordered last = find_last(1, n, n, out, 1, k, &above);
  ties = k - above;
  for (long i = 0; i < n; i++) {
    const ordered key = key_at(out, i);
    const int tied = key == last && ties > 0;
    ties -= tied;
    out[i] = (real)(key > last || tied);
  }
}

/* Where the last one of those equal to `key` is that is taken: row and place. */
static void find_place(long rows, long stride, long n, const real *in, ordered key, long ties, real *last) {
  for (long row = 0; row < rows; row++)
    for (long i = 0; i < n; i++) {
      if (order_of(in[row * stride + i]) != key || --ties > 0) continue;
      last[1] = (real)row, last[2] = (real)i;
      return;
    }
}

void SPM_K(last_taken)(long rows, long groups, long n, real *out, const real *in, const real *count) {
  for (long g = 0; g < groups; g++) {
    real *last = out + g * 3;
    const long k = whole_count(count[g], rows * n);
    long above;
    const ordered key = find_last(rows, groups * n, n, in + g * n, 0, k, &above);
    memcpy(last, &key, sizeof key);
    last[1] = -1, last[2] = 0; /* no ties */
    if (above < k) find_place(rows, groups * n, n, in + g * n, key, k - above, last);
  }
}

void SPM_K(mark_taken)(long rows, long first, long groups, long n, real *out, const real *in, const real *last) {
  for (long r = 0; r < rows; r++)
    for (long g = 0; g < groups; g++) {
      const real *from = in + (r * groups + g) * n, *end = last + g * 3;
      real *to = out + (r * groups + g) * n;
      const ordered key = key_at(end, 0);
      const long row = (long)end[1], place = (long)end[2];
      const long ties = first + r < row    ? n
                        : first + r == row ? place + 1
                                           : 0; /* the first so many of this row may be */
      for (long i = 0; i < n; i++) {
        const ordered own = order_of(from[i]);
        to[i] = (real)(own > key || (own == key && i < ties));
      }
    }
}
