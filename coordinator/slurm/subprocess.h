/* SPDX-License-Identifier: MIT
 * coordinator/slurm/subprocess.h - asking another program: what it prints, for a limited time. */
#ifndef AWQ_COORDINATOR_SLURM_SUBPROCESS_H
#define AWQ_COORDINATOR_SLURM_SUBPROCESS_H

#include <stdbool.h>

#include "io/core/error.h"

/* Runs argv (NULL at its end; argv[0] is looked for in PATH) and waits for it. *output is what it
 * printed, to be freed; *code its exit code, 128 + signal if one ended it. Its error messages go to
 * ours, or nowhere when `silent`. A program that is not there is an error, and so is one that takes
 * longer than `seconds`: it is killed. */
awq_status awq_subprocess(const char *const argv[], bool silent, double seconds, char **output,
                          int *code, awq_error *err);

#endif
