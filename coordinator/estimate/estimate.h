/* SPDX-License-Identifier: MIT
 * coordinator/estimate/estimate.h - how long a job will take, as far as that can be said
 * beforehand: its arithmetic at a rate that is assumed, low enough for old hardware. */
#ifndef AWQ_COORDINATOR_ESTIMATE_ESTIMATE_H
#define AWQ_COORDINATOR_ESTIMATE_ESTIMATE_H

#include <stdio.h>

#include "coordinator/check/check.h"
#include "jobs/mail/letters.h"
#include "jobs/plan/plan.h"

/* A job, and the workers that it would run on. */
typedef struct awq_sizing {
    const awq_options *options; /* these three borrowed */
    const awq_inputs *inputs;
    const awq_hello *needs; /* what a worker would say of itself */
    int64_t workers;
    int64_t cores; /* of each, where the backend is the CPU */
} awq_sizing;

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

/* The plan of the whole job, as if nothing were done. AWQ_ERR_MEMORY when the budget in `needs`
 * does not hold a layer. Release *out. */
awq_status awq_estimate_plan(const awq_sizing *job, awq_plan *out, awq_error *err);
awq_status awq_estimate_make(const awq_sizing *job, const awq_plan *plan, awq_estimate *out,
                             awq_error *err);
void awq_estimate_print(FILE *file, const awq_estimate *estimate);

#endif
