/* The integral of a density over more than two dims: importance sampling by a product of Cauchy densities at the points
 * of a Kronecker sequence (Roberts 2018, "The unreasonable effectiveness of quasirandom sequences"), shifted at random
 * several times, so that the spread of the shifts says how far the result is to be trusted. */
#include "self_check_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHIFTS = 12, POINTS = 8192 };

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* The root of x^(n + 1) = x + 1. */
static double growth(long n) {
  double x = 1.5;
  for (int i = 0; i < 100; i++) x = pow(1 + x, 1.0 / (double)(n + 1));
  return x;
}

static const double *centre_of(const Subject *s, const Point *setting) {
  for (int i = 0; i < s->slot_count; i++)
    if (s->slots[i].size == s->event_size && s->slots[i].shape.rank == 1 && !isfinite(s->slots[i].support.facts.low))
      return setting->values[i];
  return NULL;
}

/* Points of one shift and the logarithms of what each weighs. */
static void place_points(const Subject *s, const double *centre, uint64_t *state, double *z, double *log_weight) {
  double base = growth(s->event_size), low = s->support.facts.low;
  memset(log_weight, 0, sizeof(double) * POINTS);
  for (long k = 0; k < s->event_size; k++) {
    double step = pow(base, -(double)(k + 1)), shift = (double)(next_random(state) >> 11) * 0x1p-53;
    for (long i = 0; i < POINTS; i++) {
      double u = fmod(shift + (double)(i + 1) * step, 1), t = tan(M_PI * (u - 0.5) * (1 - 1e-12));
      bool half = isfinite(low);
      z[i * s->event_size + k] = half ? low + fabs(t) : (centre ? centre[k] : 0) + t;
      log_weight[i] += log(M_PI) + log1p(t * t) - (half ? log(2) : 0);
    }
  }
}

bool integrate_many(const Subject *s, const Program *density, const Point *setting, uint64_t seed, double *total,
                    double *error) {
  double *z = malloc(sizeof(double) * (size_t)(POINTS * s->event_size)), log_weight[POINTS], sum = 0, squares = 0;
  bool ok = z != NULL;
  for (int shift = 0; ok && shift < SHIFTS; shift++) {
    double part = 0;
    place_points(s, centre_of(s, setting), &seed, z, log_weight);
    double *log_f = mass_log_pdf(s, density, setting, NULL, z, POINTS);
    for (long i = 0; log_f && i < POINTS; i++)
      if (!isnan(log_f[i])) part += exp(log_f[i] + log_weight[i]) / POINTS;
    ok = log_f != NULL;
    free(log_f);
    sum += part;
    squares += part * part;
  }
  free(z);
  *total = sum / SHIFTS;
  *error = sqrt(fmax(0, squares / SHIFTS - *total * *total) / (SHIFTS - 1));
  return ok;
}
