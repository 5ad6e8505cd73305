/* SPDX-License-Identifier: MIT
 * coordinator/crew/assign.h - what each worker of a crew gets: its GPU, its layers, the plan. In
 * this order, once all have said hello. */
#ifndef AWQ_COORDINATOR_CREW_ASSIGN_H
#define AWQ_COORDINATOR_CREW_ASSIGN_H

#include "coordinator/crew/crew.h"
#include "jobs/plan/plan.h"

/* Hires the crew, and settles who computes on which GPU: two workers on one are refused, or with
 * --share-gpu given an even share each of the budget that --device-memory has as a percentage. Sets
 * crew->linked, whether tiles go from GPU to GPU; AWQ_ERR_INPUT where --transport nccl asks for
 * what some worker has not. */
awq_status awq_crew_hire(awq_crew *crew, const awq_job *job, awq_error *err);

/* How large stages of `layers` layers of the model may be. The worker with the least memory
 * decides: stages are the same for all. An error names it. */
awq_status awq_crew_shape(const awq_crew *crew, const awq_options *options, const awq_model *model,
                          int64_t layers, awq_plan_shape *out, awq_error *err);
/* What the workers' stages have in files of the run directory at once, at most. */
uint64_t awq_crew_file_bytes(const awq_crew *crew, const awq_plan *plan);
/* Sends the plan to all. `fingerprint` (NULL: none) is that of the run it belongs to. */
void awq_crew_send_plan(awq_crew *crew, const awq_plan *plan, const char *fingerprint);

#endif
