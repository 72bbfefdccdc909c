/* Solved parameters: what program "solve" finds batch by batch -> their values for all training data. */
#ifndef SPM_SOLVED_H
#define SPM_SOLVED_H

#include "driver.h"

/* Adds what a run of the program found, times its rows, to the sums, which are laid out like the parameters. */
void spm_solved_add(const struct spm_run *run, double *sums);
/* Sums over so many rows -> parameters. Returns -1, or the parameter whose value is not finite. */
int spm_solved_set(const struct spm_model *model, const struct spm_program *solve, const double *sums, long rows,
                   real *parameters);

#endif
