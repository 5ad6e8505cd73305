/* SPDX-License-Identifier: MIT
 * coordinator/estimate/plan_facts.h - what a job would do and take: `awqrun plan` and `submit`, as
 * text and as JSON. */
#ifndef AWQ_COORDINATOR_ESTIMATE_PLAN_FACTS_H
#define AWQ_COORDINATOR_ESTIMATE_PLAN_FACTS_H

#include "coordinator/estimate/estimate.h"
#include "coordinator/estimate/serving.h"

typedef struct awq_plan_facts {
    awq_sizing job;
    awq_plan plan;                /* owned */
    uint64_t worker_bytes;        /* what the fullest worker takes */
    uint64_t host_bytes;          /* beside a GPU: of its node's memory */
    uint64_t checkpoint_bytes;    /* that will be written */
    uint64_t run_bytes;           /* of the run directory beside it, at most */
    uint64_t free_bytes;          /* on the output's disk; 0: there is no --out */
    double network_bytes;         /* of hidden states between stages */
    double forward, gram, search; /* floating-point operations of all layers */
    awq_estimate estimate;
    awq_serving serving;
} awq_plan_facts;

/* AWQ_ERR_MEMORY when the budget in job->needs does not hold a layer. Release *out. */
awq_status awq_plan_facts_make(const awq_sizing *job, awq_plan_facts *out, awq_error *err);
void awq_plan_facts_release(awq_plan_facts *facts);

void awq_plan_facts_print(FILE *file, const awq_plan_facts *facts);
/* The same as an object (man awqrun has its fields); NULL: no memory. */
json_t *awq_plan_facts_json(const awq_plan_facts *facts);

#endif
