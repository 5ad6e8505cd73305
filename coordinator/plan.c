/* SPDX-License-Identifier: MIT
 * awqrun plan: the same checks as quantize, and what it would do, without doing it. */
#include <stdio.h>

#include "coordinator/check.h"
#include "coordinator/commands.h"
#include "io/log.h"
#include "jobs/format.h"
#include "jobs/job.h"
#include "jobs/plan.h"
#include "jobs/work.h"

static void print_model(const awq_options *options, const awq_inputs *inputs)
{
    const awq_model *model = awq_checkpoint_model(inputs->model);
    char parameters[32], bytes[32];
    awq_format_count(parameters, (double)awq_model_parameters(model));
    awq_format_bytes(bytes, (double)awq_checkpoint_bytes(inputs->model));
    printf("model      %s: %s, %s parameters, %lld layers, %s\n", options->model,
           awq_family_name(model->family), parameters, (long long)model->layers, bytes);
    int64_t tile = awq_job_tile_sequences(options, &inputs->tokens);
    printf("tokens     %s: %lld sequences of %lld, %lld tiles of %lld sequences\n", options->tokens,
           (long long)inputs->tokens.sequences, (long long)inputs->tokens.length,
           (long long)awq_job_tiles(options, &inputs->tokens), (long long)tile);
}

static void print_stages(const awq_plan *plan, int64_t workers)
{
    printf("stages     %lld of at most %lld layers, stage i on worker i mod %lld\n",
           (long long)plan->stage_count, (long long)plan->stage_layers, (long long)workers);
    for (int64_t i = 0; i < plan->stage_count; i++) {
        if (plan->stage_count > 16 && i == 8) {
            printf("  ...\n");
            i = plan->stage_count - 4;
        }
        const awq_stage *stage = &plan->stages[i];
        printf("  stage %-4lld layers %lld-%lld  worker %d\n", (long long)i,
               (long long)stage->first, (long long)(stage->first + stage->count - 1),
               stage->worker + 1);
    }
}

static void print_sizes(const awq_options *options, const awq_inputs *inputs,
                        const awq_hello *needs, const awq_plan *plan)
{
    const awq_model *model = awq_checkpoint_model(inputs->model);
    int64_t length = inputs->tokens.length, tokens = inputs->tokens.sequences * length;
    char text[3][32];
    uint64_t memory = needs->fixed_bytes + (uint64_t)plan->stage_layers * needs->layer_bytes;
    awq_format_bytes(text[0], (double)memory);
    awq_format_bytes(text[1], (double)needs->budget_bytes);
    printf("memory     %s for each worker, of %s (%s backend, %lld threads)\n", text[0], text[1],
           needs->backend, (long long)needs->threads);
    awq_format_bytes(text[0], (double)awq_output_bytes(options, inputs->model));
    int64_t boundaries = plan->stage_count - 1, at_once = 2 * options->workers;
    awq_format_bytes(text[1], (double)awq_run_bytes(options, inputs,
                                                    boundaries < at_once ? boundaries : at_once));
    printf("disk       %s for the checkpoint, %s beside it while the job runs\n", text[0], text[1]);
    awq_format_bytes(text[0], (double)(plan->stage_count - 1) * (double)tokens *
                                  (double)model->hidden * sizeof(float));
    printf("network    %s of hidden states between stages\n", text[0]);
    printf("arithmetic %.4g TFLOP: forward %.4g, Gram %.4g, search and clip %.4g\n",
           1e-12 * (double)model->layers *
               (awq_work_forward(model, tokens, length) + awq_work_gram(model, tokens) +
                awq_work_search(model, options)),
           1e-12 * (double)model->layers * awq_work_forward(model, tokens, length),
           1e-12 * (double)model->layers * awq_work_gram(model, tokens),
           1e-12 * (double)model->layers * awq_work_search(model, options));
}

static awq_status print_plan(const awq_call *call, const awq_inputs *inputs, awq_error *err)
{
    const awq_options *options = call->options;
    int64_t layers = awq_checkpoint_model(inputs->model)->layers, stage_layers;
    awq_hello needs;
    awq_plan plan;
    if (call->half->needs(options, inputs->model, &inputs->tokens, &needs, err) ||
        awq_plan_stage_layers(layers, (int)options->workers, options->stage_layers,
                              needs.budget_bytes, needs.layer_bytes, needs.fixed_bytes,
                              &stage_layers, err) ||
        awq_plan_create(layers, NULL, NULL, stage_layers, (int)options->workers, &plan, err))
        return err->status;
    print_model(options, inputs);
    print_stages(&plan, options->workers);
    print_sizes(options, inputs, &needs, &plan);
    awq_plan_release(&plan);
    return AWQ_OK;
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
