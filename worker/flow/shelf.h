/* SPDX-License-Identifier: MIT
 * worker/flow/shelf.h - room on the device for tiles that stay there: the next stage is this
 * worker's, too, and takes them from where they are. The keeper, which writes them to the run
 * directory, copies them to host memory by itself.
 *
 * There is as much room as the largest stage leaves of what the plan counts, for all tiles at most;
 * tiles that find none go through host memory, as those of other workers do. */
#ifndef AWQ_WORKER_FLOW_SHELF_H
#define AWQ_WORKER_FLOW_SHELF_H

#include "jobs/mail/letter.h"
#include "jobs/plan/plan.h"
#include "worker/context.h"

/* *out is NULL where no stage of this worker sends to itself. Free it after all letters that it
 * has lent to. */
awq_status awq_shelf_create(awq_worker *worker, const awq_stage *stages, int64_t count,
                            awq_shelf **out, awq_error *err);
/* A place for a tile: device, an array for each model, as large as a tile's. It is the caller's to
 * lend to a letter, whose last user gives it back. NULL: there is none (or no shelf). */
awq_loan *awq_shelf_take(awq_shelf *shelf);
/* NULL is fine. */
void awq_shelf_free(awq_shelf *shelf);

#endif
