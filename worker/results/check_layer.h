/* SPDX-License-Identifier: MIT
 * worker/results/check_layer.h - one layer of a finished checkpoint, looked at for `awqrun
 * verify`: crc32 against what was recorded, values that are finite, and the source. What is wrong
 * is sent to the coordinator; only what keeps it from being looked at is an error. */
#ifndef AWQ_WORKER_RESULTS_CHECK_LAYER_H
#define AWQ_WORKER_RESULTS_CHECK_LAYER_H

#include "layers/search/result.h"
#include "worker/context.h"

/* The checkpoint and what was recorded of it: a part of setting up. */
awq_status awq_verify_open(awq_worker *worker, awq_error *err);
void awq_verify_close(awq_worker *worker);

/* The VERIFY letter. layer -1: what is in no layer. */
awq_status awq_worker_verify(awq_worker *worker, int64_t layer, awq_error *err);
/* The layer that `verify --layer` makes again: compared with the checkpoint's where a quantization
 * would publish it. */
awq_status awq_verify_reproduced(awq_worker *worker, awq_quantized_layer *layer, awq_error *err);

/* A step of awq_worker_verify (check_source.c): the layer against the model that it was made of.
 * Adds what is wrong to problems, counts to checks, distances to linears, one for each of the
 * layer. A tensor that is missing or not finite is passed over: that is said elsewhere. */
awq_status awq_verify_source(awq_worker *worker, int64_t layer, awq_layer_checks *checks,
                             awq_linear_checks *linears, awq_problems *problems, awq_error *err);

#endif
