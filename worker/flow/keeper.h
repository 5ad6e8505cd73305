/* SPDX-License-Identifier: MIT
 * worker/flow/keeper.h - the thread that writes boundaries to the run directory as tiles arrive.
 *
 * Several boundaries may be open at once. When one is complete it is published and `done` is
 * called; a failure ends the keeper and calls `failed`. Both are called on the keeper's thread. */
#ifndef AWQ_WORKER_FLOW_KEEPER_H
#define AWQ_WORKER_FLOW_KEEPER_H

#include "io/records/boundary.h"
#include "kernels/backend.h"
#include "worker/flow/lane.h"

typedef struct awq_keeper awq_keeper;

typedef struct awq_keeper_options {
    const char *run;                  /* the run directory; outlives the keeper */
    const char *fingerprint;          /* likewise */
    awq_boundary_shape shape;         /* its layer is set for each boundary */
    const awq_backend *backend;       /* of tiles that are lent on a device; NULL: none will be */
    const awq_device_options *device; /* that it is opened with, for the thread; outlives it */
    void (*done)(void *context, int64_t layer);
    void (*failed)(void *context, const awq_error *err);
    void *context;
} awq_keeper_options;

/* Starts the thread; it takes TILE letters (a: layer, b: tile; states as payload, or lent) from
 * `tiles` until that is closed or has ended. */
awq_status awq_keeper_start(const awq_keeper_options *options, awq_lane *tiles, awq_keeper **out,
                            awq_error *err);
/* Waits for the thread, whose lane must be; drops what is incomplete. NULL is fine. */
void awq_keeper_free(awq_keeper *keeper);

#endif
