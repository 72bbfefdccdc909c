/* Numbers as people read them: counts with thousands separators, durations, sizes, shapes.
 * Each function returns its text by value; `spm_count(n).text` lives to the end of the full expression (C11 6.2.4p8),
 * which is just what a printf argument needs. Nothing is allocated and nothing is static. */
#ifndef SPM_WORDS_H
#define SPM_WORDS_H

struct spm_words {
  char text[64];
};

struct spm_words spm_count(long long count);   /* 47040000 -> "47,040,000" */
struct spm_words spm_duration(double seconds); /* "0.34 ms", "8.2 s", "1 min 12 s", "2 h 05 min", "3 d 04 h" */
struct spm_words spm_shape(int rank, const long *shape); /* "60000 x 28 x 28"; "a single number" for rank 0 */
struct spm_words spm_number(double value);               /* the shortest decimal that reads back as the same double */
struct spm_words spm_number_short(double value);         /* about five digits, for a person: "-243.12", "1.5e-07" */

#endif
