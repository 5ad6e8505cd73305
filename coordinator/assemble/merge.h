/* SPDX-License-Identifier: MIT
 * coordinator/assemble/merge.h - from layer records to a checkpoint. Each file appears whole;
 * config.json is the last, so that a directory without it is not a checkpoint. */
#ifndef AWQ_COORDINATOR_ASSEMBLE_MERGE_H
#define AWQ_COORDINATOR_ASSEMBLE_MERGE_H

#include "coordinator/crew/run.h"
#include "jobs/run/output.h"

/* Shards (by the workers), index, companions, statistics, and config.json. Release *output, which
 * is what was merged. */
awq_status awq_run_merge(awq_run *run, awq_output *output, awq_error *err);
/* Prints what was written, for stdout. */
awq_status awq_run_summary(const awq_run *run, const awq_output *output, awq_error *err);

#endif
