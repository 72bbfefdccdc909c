/* The number type of one build. Sources that are generic over `real` are compiled twice, plainly for float and with
 * -DSPM_DOUBLE for double; SPM_K gives a public name the suffix of its precision, so that both live in one program. */
#ifndef SPM_REAL_H
#define SPM_REAL_H

#ifdef SPM_DOUBLE
typedef double real;
#define SPM_K(name) spm_##name##_d
#else
typedef float real;
#define SPM_K(name) spm_##name##_f
#endif

#endif
