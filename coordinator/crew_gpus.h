/* SPDX-License-Identifier: MIT
 * coordinator/crew_gpus.h - who computes on which GPU. */
#ifndef AWQ_COORDINATOR_CREW_GPUS_H
#define AWQ_COORDINATOR_CREW_GPUS_H

#include "coordinator/crew.h"

/* Once all have said hello: two workers on one GPU are refused, or with --share-gpu given an even
 * share each of the budget that --device-memory has as a percentage. */
awq_status awq_crew_share_gpus(awq_crew *crew, const awq_options *options, awq_error *err);

/* Sets crew->linked: whether tiles go from GPU to GPU. AWQ_ERR_INPUT where --transport nccl asks
 * for what some worker has not. */
awq_status awq_crew_choose_transport(awq_crew *crew, const awq_options *options, awq_error *err);

#endif
