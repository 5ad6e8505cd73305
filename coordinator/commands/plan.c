/* SPDX-License-Identifier: MIT
 * awqrun plan: the same checks as quantize, and what it would do, without doing it. */
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/commands/commands.h"
#include "coordinator/estimate/copied.h"
#include "coordinator/estimate/plan_facts.h"
#include "jobs/options/job_file.h"
#include "worker/worker.h"

/* Takes the object over; NULL: there was no memory for it. */
static awq_status print_json(json_t *object, awq_error *err)
{
    char *text = object ? json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(object);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the plan");
    puts(text);
    free(text);
    return AWQ_OK;
}

static awq_status print_copied(const awq_options *options, const awq_inputs *inputs, awq_error *err)
{
    if (options->json) return print_json(awq_copied_json(inputs->model, true), err);
    awq_copied_print_list(stdout, inputs->model);
    return AWQ_OK;
}

static awq_status print_plan(const awq_options *options, const awq_inputs *inputs, awq_error *err)
{
    awq_plan_facts facts;
    awq_hello needs;
    if (options->plan.copied) return print_copied(options, inputs, err);
    if (awq_worker_needs(options, inputs->model, &inputs->tokens, &needs, err) ||
        awq_plan_facts_make(
            &(awq_sizing){options, inputs, &needs, options->plan.workers, needs.threads}, &facts,
            err))
        return err->status;
    awq_status status = AWQ_OK;
    if (options->json)
        status = print_json(awq_plan_facts_json(&facts), err);
    else
        awq_plan_facts_print(stdout, &facts);
    awq_plan_facts_release(&facts);
    return status;
}

int awq_command_plan(const awq_call *call)
{
    const awq_options *options = call->options;
    awq_problems problems;
    awq_inputs inputs;
    awq_out_state state = AWQ_OUT_FREE;
    awq_error err;
    if (options->plan.print_job)
        return awq_job_file_print(stdout, options, &err) ? awq_exit_failed(&err) : AWQ_EXIT_DONE;
    awq_problems_init(&problems);
    awq_check_inputs(options, &inputs, &problems);
    awq_check_quantizable(options, &inputs, &problems);
    if (options->out) awq_check_output(options, &inputs, &state, &problems);
    bool words = !problems.count && !options->json && !options->plan.copied;
    if (words && state == AWQ_OUT_COMPLETE)
        printf("output     %s is complete already\n", options->out);
    else if (words && state == AWQ_OUT_STARTED)
        printf("output     %s is begun, and this is the plan of the whole; awqrun status %s\n",
               options->out, options->out);
    int code = problems.count                       ? awq_exit_problems(&problems)
               : print_plan(options, &inputs, &err) ? awq_exit_failed(&err)
                                                    : AWQ_EXIT_DONE;
    awq_problems_release(&problems);
    awq_inputs_release(&inputs);
    return code;
}
