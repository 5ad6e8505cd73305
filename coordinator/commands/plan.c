/* SPDX-License-Identifier: MIT
 * awqrun plan: the same checks as quantize, and what it would do, without doing it. */
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/commands/commands.h"
#include "coordinator/estimate/plan_facts.h"
#include "jobs/options/job_file.h"
#include "worker/worker.h"

static awq_status print_json(const awq_plan_facts *facts, awq_error *err)
{
    json_t *object = awq_plan_facts_json(facts);
    char *text = object ? json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(object);
    if (!text) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the plan");
    puts(text);
    free(text);
    return AWQ_OK;
}

static awq_status print_plan(const awq_options *options, const awq_inputs *inputs, awq_error *err)
{
    awq_plan_facts facts;
    awq_hello needs;
    if (awq_worker_needs(options, inputs->model, &inputs->tokens, &needs, err) ||
        awq_plan_facts_make(
            &(awq_sizing){options, inputs, &needs, options->plan.workers, needs.threads}, &facts,
            err))
        return err->status;
    awq_status status = AWQ_OK;
    if (options->json)
        status = print_json(&facts, err);
    else
        awq_plan_facts_print(stdout, &facts);
    awq_plan_facts_release(&facts);
    return status;
}

/* What there is of the output already; JSON has the plan alone. */
static void print_state(const awq_options *options, awq_out_state state)
{
    if (options->json) return;
    if (state == AWQ_OUT_COMPLETE)
        printf("output     %s is complete already\n", options->out);
    else if (state == AWQ_OUT_STARTED)
        printf("output     %s is begun, and this is the plan of the whole; awqrun status %s\n",
               options->out, options->out);
}

static int print_job(const awq_options *options)
{
    awq_error err;
    return awq_job_file_print(stdout, options, &err) ? awq_exit_failed(&err) : AWQ_EXIT_DONE;
}

int awq_command_plan(const awq_call *call)
{
    const awq_options *options = call->options;
    awq_problems problems;
    awq_inputs inputs;
    awq_out_state state = AWQ_OUT_FREE;
    awq_error err;
    int code = AWQ_EXIT_DONE;
    if (options->plan.print_job) return print_job(options);
    awq_problems_init(&problems);
    awq_check_inputs(options, &inputs, &problems);
    awq_check_quantizable(options, &inputs, &problems);
    if (options->out) awq_check_output(options, &inputs, &state, &problems);
    if (problems.count) {
        code = awq_exit_problems(&problems);
    } else {
        print_state(options, state);
        if (print_plan(options, &inputs, &err)) code = awq_exit_failed(&err);
    }
    awq_problems_release(&problems);
    awq_inputs_release(&inputs);
    return code;
}
