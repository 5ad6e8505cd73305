/* SPDX-License-Identifier: MIT
 * worker/flow/hidden.h - hidden states of one tile, on their way into and out of a stage. */
#ifndef AWQ_WORKER_FLOW_HIDDEN_H
#define AWQ_WORKER_FLOW_HIDDEN_H

#include "jobs/plan/plan.h"
#include "layers/forward/states.h"
#include "worker/flow/tile.h"

/* Where a stage's tiles come from. */
typedef struct awq_source {
    awq_worker *worker;
    int input;              /* AWQ_INPUT_.. */
    int arrays;             /* that a tile comes with: one a model; of a part of a layer behind the
                               first two, the sum so far and what the MLPs read */
    bool linked;            /* it may come over the link */
    awq_boundary *boundary; /* of a stage that starts from a file */
    awq_embedding *embedding[AWQ_MODELS]; /* of one that starts from tokens */
    float *staging;                       /* one tile, host */
} awq_source;

/* Close it in any case. */
awq_status awq_source_open(awq_worker *worker, const awq_stage *stage, awq_source *out,
                           awq_error *err);
/* hidden[arrays] (device) = the tile's. Waits for it when another
 * stage makes it. */
awq_status awq_source_read(awq_source *source, const awq_tile *tile, float *const *hidden,
                           awq_error *err);
void awq_source_close(awq_source *source);

/* Sends a tile to the worker of the stage that it enters next; waits only while several are unsent.
 * Of one that stays on this device (worker/flow/shelf.h) the arrays go, and hidden[] is others of
 * their size. */
awq_status awq_hidden_send(awq_worker *worker, const awq_stage *next, const awq_tile *tile,
                           float **hidden, awq_error *err);

#endif
