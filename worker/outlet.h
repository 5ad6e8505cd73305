/* SPDX-License-Identifier: MIT
 * worker/outlet.h - tiles on their way to the next worker's GPU, over a link (kernels/link.h).
 *
 * The compute thread copies a tile into one of a few slots on the device and goes on; a thread
 * announces it by a letter and sends it. Which worker is next is the same for all stages, so a
 * worker has one outlet at most. */
#ifndef AWQ_WORKER_OUTLET_H
#define AWQ_WORKER_OUTLET_H

#include "jobs/plan/plan.h"
#include "worker/worker.h"

typedef struct awq_outlet awq_outlet;

/* Starts the thread if any of this worker's stages sends to another worker; else *out is NULL. */
awq_status awq_outlet_start(awq_worker *worker, const awq_stage *stages, int64_t count,
                            awq_outlet **out, awq_error *err);
/* Takes a copy of tile `tile`, which enters `layer`: hidden (device, float32 [rows, hidden]), one
 * for each model. Waits for a slot. */
awq_status awq_outlet_put(awq_outlet *outlet, int64_t layer, int64_t tile, float *const *hidden,
                          awq_error *err);
/* Waits until all is sent, or the worker told to stop or wind down. NULL is fine. */
void awq_outlet_free(awq_outlet *outlet);

#endif
