/* SPDX-License-Identifier: MIT */
#include "coordinator/commands/commands.h"
#include "io/core/log.h"

int awq_exit_failed(const awq_error *err)
{
    awq_report_error(err);
    if (err->status == AWQ_ERR_INTERRUPTED) return AWQ_EXIT_RESUMABLE;
    return err->status == AWQ_ERR_USAGE ? AWQ_EXIT_USAGE : AWQ_EXIT_FAILED;
}

int awq_exit_problems(const awq_problems *problems)
{
    awq_report_problems(problems);
    for (size_t i = 0; i < problems->count; i++)
        if (problems->items[i].status == AWQ_ERR_USAGE) return AWQ_EXIT_USAGE;
    return AWQ_EXIT_FAILED;
}
