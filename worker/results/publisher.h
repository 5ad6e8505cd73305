/* SPDX-License-Identifier: MIT
 * worker/results/publisher.h - the thread that makes quantized layers durable.
 *
 * While it packs, writes and syncs one layer, the next one is searched. It has one layer at a time:
 * HELLO counts the result of two (worker/needs.h). */
#ifndef AWQ_WORKER_RESULTS_PUBLISHER_H
#define AWQ_WORKER_RESULTS_PUBLISHER_H

#include "layers/search/result.h"
#include "worker/context.h"

/* Starts the thread. The worker has its run directory's fingerprint, and outlives it. */
awq_status awq_publisher_start(awq_worker *worker, awq_publisher **out, awq_error *err);
/* Takes the layer over and leaves an empty one; of a part of one, `to` is the rank of the last
 * one's worker, who is sent what the others have, and makes all of it durable. Waits until the one
 * before it is durable. What goes wrong later is told to the coordinator, and the next put is
 * AWQ_ERR_INTERRUPTED. */
awq_status awq_publisher_put(awq_publisher *publisher, awq_quantized_layer *layer, int to,
                             awq_error *err);
/* Waits until all is durable. NULL is fine. */
void awq_publisher_free(awq_publisher *publisher);

#endif
