/* SPDX-License-Identifier: MIT
 * worker/results/shard.h - one output shard, assembled from layer records and the source
 * checkpoint. */
#ifndef AWQ_WORKER_RESULTS_SHARD_H
#define AWQ_WORKER_RESULTS_SHARD_H

#include "worker/context.h"

/* The SHARD letter. */
awq_status awq_worker_assemble(awq_worker *worker, int64_t shard, awq_error *err);

#endif
