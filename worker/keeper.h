/* SPDX-License-Identifier: MIT
 * worker/keeper.h - the thread that writes boundaries to the run directory as tiles arrive.
 *
 * Several boundaries may be open at once. When one is complete it is published and `done` is
 * called; a failure ends the keeper and calls `failed`. Both are called on the keeper's thread. */
#ifndef AWQ_WORKER_KEEPER_H
#define AWQ_WORKER_KEEPER_H

#include "io/records/boundary.h"
#include "worker/queue.h"

typedef struct awq_keeper awq_keeper;

typedef struct awq_keeper_options {
    const char *run;          /* the run directory; copied */
    const char *fingerprint;  /* copied */
    awq_boundary_shape shape; /* its layer is set for each boundary */
    void (*done)(void *context, int64_t layer);
    void (*failed)(void *context, const awq_error *err);
    void *context;
} awq_keeper_options;

/* Starts the thread; it takes tile letters (a: layer, b: tile) from `queue` until that is closed.
 */
awq_status awq_keeper_start(const awq_keeper_options *options, awq_queue *queue, awq_keeper **out,
                            awq_error *err);
/* Waits for the thread, whose queue must be closed; drops what is incomplete. NULL is fine. */
void awq_keeper_free(awq_keeper *keeper);

#endif
