/* Random well-typed specs, as text: what tests/fuzz/test_fuzz.c sends through the whole compiler. The same number gives
 * the same text. What the language can say stands in tables of templates in random_spec.c: a new construct is a line.
 */
#ifndef SPM_RANDOM_SPEC_H
#define SPM_RANDOM_SPEC_H

/* The spec of this number, a model `fuzz`; freed with free. */
char *random_spec(unsigned long long number);

#endif
