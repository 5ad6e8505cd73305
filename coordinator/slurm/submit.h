/* SPDX-License-Identifier: MIT
 * coordinator/slurm/submit.h - inside `awqrun submit` only: what is asked of SLURM, and the script.
 */
#ifndef AWQ_COORDINATOR_SLURM_SUBMIT_H
#define AWQ_COORDINATOR_SLURM_SUBMIT_H

#include "coordinator/estimate/estimate.h"

/* What to ask for, and why. */
typedef struct awq_request {
    int64_t nodes;
    int64_t workers_per_node;
    int64_t cpus_per_worker; /* 0: the whole node */
    double seconds;          /* time limit */
    double signal_seconds;   /* SIGUSR1 comes so long before it */
    int64_t cores;           /* of a worker: given, the partition's, or this machine's */
    double most;             /* seconds: the longest time limit that is proposed */
} awq_request;

/* Fills in what the user left out, from the estimate of the plan on so many nodes. `needs` is what
 * a worker would say of itself. A --time that is none is a problem of status AWQ_ERR_USAGE. */
awq_status awq_request_make(const awq_options *options, const awq_inputs *inputs,
                            const awq_hello *needs, awq_request *out, awq_problems *problems,
                            awq_error *err);
/* Nodes and time, and why. */
void awq_request_print(FILE *file, const awq_submit_options *asked, const awq_request *request);

/* Options that a line "#SBATCH --option=value" cannot hold are problems of status AWQ_ERR_USAGE. */
void awq_script_check(const awq_submit_options *options, awq_problems *problems);
/* The batch script: slurm/job.sbatch.in filled in. NULL: no memory. The caller frees. */
char *awq_script_make(const awq_options *options, const awq_request *request);

#endif
