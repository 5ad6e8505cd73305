/* SPDX-License-Identifier: MIT
 * coordinator/commands/eval_print.h - the result of `awqrun eval`, for people and for programs. */
#ifndef AWQ_COORDINATOR_COMMANDS_EVAL_PRINT_H
#define AWQ_COORDINATOR_COMMANDS_EVAL_PRINT_H

#include "io/core/error.h"
#include "io/records/score.h"

typedef struct awq_eval_result {
    const char *model;
    const char *against; /* NULL: not compared */
    int64_t length;      /* tokens of a window */
    const awq_score *score;
} awq_eval_result;

/* Both print on stdout. */
void awq_eval_print_text(const awq_eval_result *result);
awq_status awq_eval_print_json(const awq_eval_result *result, awq_error *err);

#endif
