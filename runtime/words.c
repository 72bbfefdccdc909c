/* Words: counts, seconds, shapes and doubles -> short texts for people and files. */
#include "words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct spm_words spm_count(long long count) {
  struct spm_words words;
  char digits[32];
  unsigned long long magnitude = count < 0 ? 0ULL - (unsigned long long)count : (unsigned long long)count;
  int length = snprintf(digits, sizeof digits, "%llu", magnitude);
  char *out = words.text;
  if (count < 0) *out++ = '-';
  for (int i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0) *out++ = ',';
    *out++ = digits[i];
  }
  *out = 0;
  return words;
}

/* Two neighbouring units, the smaller one padded, so that a running line does not jump about. */
static void two_units(struct spm_words *words, double seconds, double unit, const char *large, double part,
                      const char *small, int width) {
  long long whole = llround(seconds / part), ratio = llround(unit / part);
  snprintf(words->text, sizeof words->text, "%d %s %0*d %s", (int)(whole / ratio), large, width, (int)(whole % ratio),
           small);
}

struct spm_words spm_duration(double seconds) {
  struct spm_words words;
  if (isnan(seconds) || seconds < 0 || seconds > 1e11)
    snprintf(words.text, sizeof words.text, "unknown");
  else if (seconds < 9.95e-3)
    snprintf(words.text, sizeof words.text, "%.2f ms", seconds * 1e3);
  else if (seconds < 0.9995)
    snprintf(words.text, sizeof words.text, "%.0f ms", seconds * 1e3);
  else if (seconds < 9.95)
    snprintf(words.text, sizeof words.text, "%.1f s", seconds);
  else if (seconds < 59.5)
    snprintf(words.text, sizeof words.text, "%.0f s", seconds);
  else if (seconds < 3599.5)
    two_units(&words, seconds, 60, "min", 1, "s", 1);
  else if (seconds < 86370)
    two_units(&words, seconds, 3600, "h", 60, "min", 2);
  else
    two_units(&words, seconds, 86400, "d", 3600, "h", 2);
  return words;
}

struct spm_words spm_shape(int rank, const long *shape) {
  struct spm_words words = {"a single number"};
  size_t length = 0;
  for (int i = 0; i < rank; i++) {
    int added = snprintf(words.text + length, sizeof words.text - length, "%s%ld", i ? " x " : "", shape[i]);
    if (added < 0 || (size_t)added >= sizeof words.text - length) {
      memcpy(words.text + sizeof words.text - 4, "...", 4);
      break;
    }
    length += (size_t)added;
  }
  return words;
}

struct spm_words spm_number(double value) {
  struct spm_words words;
  if (isnan(value))
    snprintf(words.text, sizeof words.text, "nan");
  else if (isinf(value))
    snprintf(words.text, sizeof words.text, value < 0 ? "-inf" : "inf");
  else if (value == floor(value) && fabs(value) < 1e15)
    snprintf(words.text, sizeof words.text, "%.0f", value + 0.0);
  else
    for (int digits = 1; digits <= 17; digits++) {
      snprintf(words.text, sizeof words.text, "%.*g", digits, value);
      if (strtod(words.text, NULL) == value) break;
    }
  return words;
}

struct spm_words spm_number_short(double value) {
  struct spm_words words;
  double size = fabs(value);
  if (!isfinite(value)) return spm_number(value);
  if (value == 0)
    snprintf(words.text, sizeof words.text, "0");
  else if (size < 1e-3 || size >= 1e7)
    snprintf(words.text, sizeof words.text, "%.2e", value);
  else if (size >= 1e4)
    return spm_count(llround(value));
  else
    snprintf(words.text, sizeof words.text, "%.*f", size >= 1000 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4, value);
  return words;
}
