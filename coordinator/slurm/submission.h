/* SPDX-License-Identifier: MIT
 * coordinator/slurm/submission.h - OUT/.awqrun/submission.json: {"job", "submitted"}.
 *
 * Written by `awqrun submit` for `awqrun status`, which must find a job that has not started. */
#ifndef AWQ_COORDINATOR_SLURM_SUBMISSION_H
#define AWQ_COORDINATOR_SLURM_SUBMISSION_H

#include <stdbool.h>

#include "coordinator/slurm/slurm.h"
#include "io/core/error.h"

#define AWQ_SCRIPT_NAME "job.sbatch"

awq_status awq_submission_write(const char *run, const char *job, awq_error *err);

/* The SLURM job that works, or last worked, or will work in a run directory: the one submitted, or
 * the one that wrote `status` (may be NULL), whichever was later. `id` is "" when there is none. */
void awq_submission_find(const char *run, const json_t *status, char id[AWQ_SLURM_WORD_BYTES]);

#endif
