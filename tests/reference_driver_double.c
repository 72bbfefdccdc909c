/* The reference driver for models compiled for double. */
#define SPM_DOUBLE
#include "reference_driver.c"
