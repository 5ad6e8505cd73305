/* SPDX-License-Identifier: MIT
 * worker/hidden.h - hidden states of one tile, on their way into and out of a stage. */
#ifndef AWQ_WORKER_HIDDEN_H
#define AWQ_WORKER_HIDDEN_H

#include "io/records/boundary.h"
#include "worker/state.h"

/* Where a stage's tiles come from. */
typedef struct awq_source {
    awq_worker *worker;
    const awq_stage *stage;
    awq_boundary *boundary; /* of a stage that starts from a file */
    float *staging;         /* one tile, host */
} awq_source;

awq_status awq_source_open(awq_worker *worker, const awq_stage *stage, awq_source *out,
                           awq_error *err);
/* hidden[m] (device, float32 [rows, hidden], one for each of the worker's models) = tile `tile`.
 * Waits for it when another stage makes it. */
awq_status awq_source_read(awq_source *source, int64_t tile, float *const *hidden, awq_error *err);
void awq_source_close(awq_source *source);

/* Sends a tile that enters `layer` to the worker of `stage`; waits only while several are unsent.
 */
awq_status awq_hidden_send(awq_worker *worker, const awq_stage *stage, int64_t tile,
                           float *const *hidden, awq_error *err);

/* Floats of one model's hidden states in a tile. */
static inline size_t awq_hidden_count(const awq_worker *worker, int64_t tile)
{
    return (size_t)(awq_worker_tile_sequences(worker, tile) * worker->tokens.length *
                    awq_checkpoint_model(worker->checkpoint[0])->residual);
}

#endif
