/* SPDX-License-Identifier: MIT
 * worker/flow/inlet.h - tiles that come from the worker before this one, over a link.
 *
 * A thread receives each tile that a letter announces into a slot on the device, tells the compute
 * thread, and copies it to host memory for the keeper. A stage that waits takes it from the device.
 * One that comes later, after a long search, may find that its slot was needed for others, and
 * takes the host's copy: receiving never waits for computing. */
#ifndef AWQ_WORKER_FLOW_INLET_H
#define AWQ_WORKER_FLOW_INLET_H

#include "worker/flow/port.h"

/* *out is NULL where none of this worker's stages takes its tiles from another worker. */
awq_status awq_inlet_open(awq_worker *worker, const awq_stage *stages, int64_t count,
                          awq_port **out, awq_error *err);
/* hidden (device), one for each model = a tile whose letter came from the worker's `tiles` lane.
 * *taken false: it is on the device no more, and all of it in the letter. */
awq_status awq_inlet_take(awq_port *inlet, const awq_tile *tile, float *const *hidden, bool *taken,
                          awq_error *err);

#endif
