/* SPDX-License-Identifier: MIT
 * worker/inlet.h - tiles that come from the worker before this one, over a link (kernels/link.h).
 *
 * A thread receives each tile that a letter announces into one of a few slots on the device, tells
 * the compute thread, and copies it to host memory for the keeper. A stage that waits takes it from
 * the device. One that comes later, after a long search, may find that its slot was needed for
 * others, and takes the host's copy: receiving never waits for computing. */
#ifndef AWQ_WORKER_INLET_H
#define AWQ_WORKER_INLET_H

#include "jobs/mail/mail.h"
#include "jobs/plan/plan.h"
#include "worker/worker.h"

typedef struct awq_inlet awq_inlet;

/* Starts the thread if any of this worker's stages takes its tiles from another worker; else *out
 * is NULL. */
awq_status awq_inlet_start(awq_worker *worker, const awq_stage *stages, int64_t count,
                           awq_inlet **out, awq_error *err);
/* hidden (device), one for each model = the tile of `letter`, which came from the worker's `tiles`
 * queue. *taken false: it is on the device no more, and all of it in the letter. */
awq_status awq_inlet_take(awq_inlet *inlet, const awq_letter *letter, float *const *hidden,
                          bool *taken, awq_error *err);
/* Waits until all is received, or the worker told to stop or wind down. NULL is fine. */
void awq_inlet_free(awq_inlet *inlet);

#endif
