/* SPDX-License-Identifier: MIT
 * awqrun plan: the same checks as quantize, and what it would do, without doing it. */
#include <stdio.h>

#include "coordinator/commands.h"
#include "coordinator/plan_print.h"

static awq_status print_plan(const awq_call *call, const awq_inputs *inputs, awq_error *err)
{
    const awq_options *options = call->options;
    awq_hello needs;
    if (call->half->needs(options, inputs->model, &inputs->tokens, &needs, err)) return err->status;
    return awq_plan_print(stdout, options, inputs, &needs, options->workers, err);
}

int awq_command_plan(const awq_call *call)
{
    awq_inputs inputs;
    awq_problems problems;
    awq_out_state state = AWQ_OUT_FREE;
    awq_error err;
    int code = AWQ_EXIT_DONE;
    awq_problems_init(&problems);
    awq_check_inputs(call->options, &inputs, &problems);
    awq_check_quantizable(call->options, &inputs, &problems);
    if (call->options->out) awq_check_output(call->options, &inputs, &state, &problems);
    if (!problems.count && state == AWQ_OUT_COMPLETE)
        printf("output     %s is complete already\n", call->options->out);
    else if (!problems.count && state == AWQ_OUT_STARTED)
        printf("output     %s is begun, and this is the plan of the whole; awqrun status %s\n",
               call->options->out, call->options->out);
    if (problems.count)
        code = awq_exit_problems(&problems);
    else if (print_plan(call, &inputs, &err))
        code = awq_exit_failed(&err);
    awq_problems_release(&problems);
    awq_inputs_release(&inputs);
    return code;
}
