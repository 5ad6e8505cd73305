/* SPDX-License-Identifier: MIT
 * coordinator/crew_plan.h - a plan and the crew that carries it out. */
#ifndef AWQ_COORDINATOR_CREW_PLAN_H
#define AWQ_COORDINATOR_CREW_PLAN_H

#include "coordinator/crew.h"
#include "jobs/plan/plan.h"

/* Layers that a stage of `layers` may hold. The worker with the least memory decides: stages are
 * the same for all. An error names it. */
awq_status awq_crew_stage_layers(const awq_crew *crew, const awq_options *options, int64_t layers,
                                 int64_t *out, awq_error *err);
/* Sends the plan to all. `fingerprint` (NULL: none) is that of the run it belongs to. */
void awq_crew_send_plan(awq_crew *crew, const awq_plan *plan, const char *fingerprint);

#endif
