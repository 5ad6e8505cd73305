/* SPDX-License-Identifier: MIT
 * worker/results/when.h - notes when a layer is worked on, for its record. */
#ifndef AWQ_WORKER_RESULTS_WHEN_H
#define AWQ_WORKER_RESULTS_WHEN_H

#include <unistd.h>

#include "io/core/clock.h"
#include "io/records/layer_record.h"

/* A span begins once; what is repeated, as for each tile, extends it. */
static inline void awq_span_begin(awq_layer_when *when, awq_span span)
{
    if (!when->begin[span]) when->begin[span] = awq_clock_wall_seconds();
}

static inline void awq_span_end(awq_layer_when *when, awq_span span)
{
    when->end[span] = awq_clock_wall_seconds();
}

/* `worker` from 1; the host is this one. */
static inline void awq_layer_when_set_worker(awq_layer_when *when, int worker)
{
    when->worker = worker;
    gethostname(when->host, sizeof when->host - 1);
}

#endif
