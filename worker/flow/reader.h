/* SPDX-License-Identifier: MIT
 * worker/flow/reader.h - the thread that reads a worker's layers before they are used.
 *
 * It has a handle of its own on the worker's device (on a GPU: its own stream and pinned buffers),
 * so that files are read and weights copied while other layers compute. It reads layers in the
 * order of their use, over all of the worker's stages, and holds at most as many as the largest
 * stage has and one more: HELLO counts that one (worker/needs.h). */
#ifndef AWQ_WORKER_FLOW_READER_H
#define AWQ_WORKER_FLOW_READER_H

#include "jobs/plan/plan.h"
#include "layers/forward/decoder.h"
#include "worker/context.h"

/* A layer that was read. */
typedef struct awq_read {
    awq_decoder decoder;
    double begin, end; /* wall clock, seconds since 1970 */
} awq_read;

/* Starts to read the layers of the stages that are this worker's: of each stage, those of its first
 * model, then those of its second. The worker has a device and outlives the reader. */
awq_status awq_reader_start(awq_worker *worker, const awq_stage *stages, int64_t count,
                            awq_reader **out, awq_error *err);
/* The next layer, which is this one of model `model`; waits for it. *out is the caller's, to be
 * given back. AWQ_ERR_INTERRUPTED when the worker is told to stop. */
awq_status awq_reader_take(awq_reader *reader, int model, int64_t layer, awq_read *out,
                           awq_error *err);
/* After the layers of a stage that has the model's first or last one: waits until what passes
 * through no layer (embedding; final norm, head) has been looked at; an error if it is not finite.
 */
awq_status awq_reader_check_ends(awq_reader *reader, awq_error *err);
/* Releases a layer's weights, on the worker's device: room for another one. */
void awq_reader_give_back(awq_reader *reader, awq_decoder *decoder);
/* Stops reading and releases what nobody took. NULL is fine. */
void awq_reader_free(awq_reader *reader);

#endif
