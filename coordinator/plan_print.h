/* SPDX-License-Identifier: MIT
 * coordinator/plan_print.h - what a job would do, for people: `awqrun plan` and `submit`. */
#ifndef AWQ_COORDINATOR_PLAN_PRINT_H
#define AWQ_COORDINATOR_PLAN_PRINT_H

#include <stdio.h>

#include "coordinator/check.h"
#include "jobs/letters.h"

/* A budget of workers whose nodes are not known yet. */
#define AWQ_BUDGET_UNKNOWN UINT64_MAX

/* Model, tokens, stages on `workers` workers, memory, disk, network, arithmetic. `needs` is what a
 * worker would say of itself. AWQ_ERR_MEMORY when its budget does not hold a layer. */
awq_status awq_plan_print(FILE *file, const awq_options *options, const awq_inputs *inputs,
                          const awq_hello *needs, int64_t workers, awq_error *err);

#endif
