/* SPDX-License-Identifier: MIT
 * worker/results/check_source.h - one layer of a checkpoint against the model that it was made of.
 * Private to this folder. */
#ifndef AWQ_WORKER_RESULTS_CHECK_SOURCE_H
#define AWQ_WORKER_RESULTS_CHECK_SOURCE_H

#include "worker/context.h"

/* layer -1: what is in no layer. Adds what is wrong to problems, counts to checks, distances to
 * linears, one for each of the layer. A tensor that is missing or not finite is passed over: that
 * is said elsewhere. */
awq_status awq_verify_source(awq_worker *worker, int64_t layer, awq_layer_checks *checks,
                             awq_linear_checks *linears, awq_problems *problems, awq_error *err);

#endif
