/* SPDX-License-Identifier: MIT
 * worker/flow/port.h - tiles from GPU to GPU: this worker's ends of the links to the worker before
 * it and the one after it (kernels/link.h); not between parts of a layer: those send letters. Each
 * has a thread, its own handle on the device, and slots there, a tile each.
 *
 * The outlet: the compute thread copies a tile into a slot; the thread announces it by a letter and
 * sends it. The inlet: the thread receives each tile that a letter announces into a slot, tells the
 * compute thread, and copies it to host memory for the keeper. A stage that waits takes it from the
 * device. One that comes later, after a long search, may find that its slot was needed for others,
 * and takes the host's copy: receiving never waits for computing. */
#ifndef AWQ_WORKER_FLOW_PORT_H
#define AWQ_WORKER_FLOW_PORT_H

#include "jobs/plan/plan.h"
#include "kernels/link.h"
#include "worker/flow/tile.h"

enum { AWQ_PORT_SLOTS = 3 };

/* The outlet, which sends, or the inlet, which receives. *out is NULL where none of this worker's
 * stages sends to another worker, or takes its tiles from one. Which worker is next is the same for
 * all stages: one of a kind does. What its thread fails with is reported, unless the worker was
 * told to stop or drain, or is within two seconds: the other end may have been told first, and
 * have left. */
awq_status awq_port_open(awq_worker *worker, awq_link_end end, const awq_stage *stages,
                         int64_t count, awq_port **out, awq_error *err);
/* Waits until all went over the link, or the worker told to stop or drain. NULL is fine. */
void awq_port_close(awq_port *port);

/* Takes a copy of a tile: hidden (device), one for each model. Waits for a slot. */
awq_status awq_outlet_put(awq_port *outlet, const awq_tile *tile, float *const *hidden,
                          awq_error *err);
/* hidden (device), one for each model = a tile whose letter came from the worker's `tiles` lane.
 * *taken false: it is on the device no more, and all of it in the letter. */
awq_status awq_inlet_take(awq_port *inlet, const awq_tile *tile, float *const *hidden, bool *taken,
                          awq_error *err);

#endif
