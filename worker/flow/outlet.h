/* SPDX-License-Identifier: MIT
 * worker/flow/outlet.h - tiles on their way to the next worker's GPU, over a link.
 *
 * The compute thread copies a tile into a slot on the device; a thread announces it by a
 * letter and sends it. */
#ifndef AWQ_WORKER_FLOW_OUTLET_H
#define AWQ_WORKER_FLOW_OUTLET_H

#include "worker/flow/port.h"

/* *out is NULL where none of this worker's stages sends to another worker. */
awq_status awq_outlet_open(awq_worker *worker, const awq_stage *stages, int64_t count,
                           awq_port **out, awq_error *err);
/* Takes a copy of a tile: hidden (device), one for each model. Waits for a slot. */
awq_status awq_outlet_put(awq_port *outlet, const awq_tile *tile, float *const *hidden,
                          awq_error *err);

#endif
