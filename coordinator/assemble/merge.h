/* SPDX-License-Identifier: MIT
 * coordinator/assemble/merge.h - from layer records to a checkpoint. Each file appears whole;
 * config.json is the last, so that a directory without it is not a checkpoint. */
#ifndef AWQ_COORDINATOR_ASSEMBLE_MERGE_H
#define AWQ_COORDINATOR_ASSEMBLE_MERGE_H

#include "coordinator/assemble/expert_tokens.h"
#include "coordinator/crew/run.h"
#include "jobs/run/output.h"

typedef struct awq_merged {
    awq_output output;
    double error, rounding;   /* relative errors of the linears, docs/awq.md 2.5, summed over the
                                 layers: as written, and of plain rounding */
    awq_expert_tokens tokens; /* owned */
} awq_merged;

/* Shards (by the workers), index, companions, statistics, and config.json. *merged is zeros before,
 * and to be released in any case. AWQ_ERR_CORRUPT when a record is not what was written. */
awq_status awq_run_merge(awq_run *run, awq_merged *merged, awq_error *err);
void awq_merged_release(awq_merged *merged);
/* Prints what was written, to stdout. */
void awq_run_summary(const awq_run *run, awq_merged *merged);

#endif
