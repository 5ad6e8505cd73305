/* SPDX-License-Identifier: MIT
 * worker/flow/parts.h - what the parts of a layer, each on a worker of its own, tell each other
 * while it is searched (layers/search/exchange.h).
 *
 * A part finds the others by the plan, where their stages lie beside its own. All make the same
 * exchanges in the same order, which numbers their letters. The first is a vote: a layer is
 * searched by all of its parts or, after DRAIN, by none; who has agreed goes on to the end, so that
 * nobody waits for one that has left. */
#ifndef AWQ_WORKER_FLOW_PARTS_H
#define AWQ_WORKER_FLOW_PARTS_H

#include "jobs/plan/plan.h"
#include "layers/search/exchange.h"
#include "worker/context.h"

typedef struct awq_parts {
    awq_worker *worker;
    const awq_stage *stage; /* this part's */
    int64_t number;         /* of the exchange that is under way; 0: the vote */
    awq_exchange exchange;
} awq_parts;

/* Tells the other parts that this one will be searched, and hears it from them;
 * AWQ_ERR_INTERRUPTED: one will not be. *out must stay where it is. */
awq_status awq_parts_agree(awq_worker *worker, const awq_stage *stage, awq_parts *out,
                           awq_error *err);
/* Tells them that none of this worker's parts in the stages from `first` on will be, of layers that
 * are not done. */
void awq_parts_decline(awq_worker *worker, const awq_stage *stages, int64_t first, int64_t count,
                       const bool *done);

/* The rank of the worker of another part. */
int awq_parts_rank(const awq_stage *stage, int32_t part);

#endif
