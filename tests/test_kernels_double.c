/* test_kernels.c for double. */
#define SPM_DOUBLE
#include "test_kernels.c"
