/* SPDX-License-Identifier: MIT
 * coordinator/estimate/estimate.h - how long a job will take, as far as that can be said
 * beforehand: its arithmetic at a rate that is assumed, low enough for old hardware. */
#ifndef AWQ_COORDINATOR_ESTIMATE_ESTIMATE_H
#define AWQ_COORDINATOR_ESTIMATE_ESTIMATE_H

#include <stdio.h>

#include "coordinator/check/check.h"
#include "jobs/mail/letters.h"
#include "jobs/plan/plan.h"

/* A budget of workers whose nodes are not known yet. */
#define AWQ_BUDGET_UNKNOWN UINT64_MAX

typedef struct awq_estimate {
    int64_t workers;
    int64_t cores;       /* of a worker; 0: it computes on a GPU */
    double rate;         /* FLOP/s of a worker, assumed */
    double storage_rate; /* bytes/s of all, assumed */
    double compute;      /* seconds */
    double storage;      /* seconds */
} awq_estimate;

/* The plan of the whole job, as if nothing were done. `needs` is what a worker would say of itself.
 * AWQ_ERR_MEMORY when its budget does not hold a layer. Release *out. */
awq_status awq_estimate_plan(const awq_options *options, const awq_inputs *inputs,
                             const awq_hello *needs, int64_t workers, awq_plan *out,
                             awq_error *err);
/* `cores` of each worker, where the backend is the CPU. */
awq_status awq_estimate_make(const awq_options *options, const awq_inputs *inputs,
                             const awq_hello *needs, const awq_plan *plan, int64_t workers,
                             int64_t cores, awq_estimate *out, awq_error *err);
void awq_estimate_print(FILE *file, const awq_estimate *estimate);

#endif
