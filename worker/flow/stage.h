/* SPDX-License-Identifier: MIT
 * worker/flow/stage.h - one stage of a plan: load its layers, let all tiles flow through them, then
 * do what the command wants (docs/design.md 3.4 and 3.5): search the layers and publish or compare
 * them, or score what comes out. */
#ifndef AWQ_WORKER_FLOW_STAGE_H
#define AWQ_WORKER_FLOW_STAGE_H

#include "jobs/plan/plan.h"
#include "worker/context.h"

/* Stage `index` of a plan; done: by layer of the model. The worker's reader is at work on the plan,
 * and so are the helpers that the stage needs. */
awq_status awq_stage_run(awq_worker *worker, const awq_stage *stages, int64_t index,
                         const bool *done, awq_error *err);

#endif
