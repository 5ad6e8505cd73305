/* SPDX-License-Identifier: MIT
 * jobs/plan/forecast.h - how long a plan takes when its parts take so long: for estimates
 * beforehand, and for the time that is left.
 *
 * A stage begins when its worker is free and the stage before it has passed its first tile on; its
 * tiles cannot end before those of the stage before it; its search follows. Searches of one worker
 * run beside the flow of others. */
#ifndef AWQ_JOBS_PLAN_FORECAST_H
#define AWQ_JOBS_PLAN_FORECAST_H

#include "jobs/plan/plan.h"

/* Seconds of one layer on one worker. */
typedef struct awq_pace {
    double flow;    /* all tiles through a layer that is to be quantized: forward and Gram */
    double forward; /* all tiles through a layer that is done */
    double search;  /* once the tiles are through: search, clip, pack */
} awq_pace;

/* From the first tile to the last layer; done[layers]: layers that are only run forward. 0 where a
 * plan has no stages; negative: no memory. */
double awq_forecast_seconds(const awq_plan *plan, const bool *done, int workers, int64_t tiles,
                            const awq_pace *pace);

#endif
