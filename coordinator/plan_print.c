/* SPDX-License-Identifier: MIT */
#include "coordinator/plan_print.h"

#include "jobs/format.h"
#include "jobs/job.h"
#include "jobs/plan.h"
#include "jobs/work.h"

static void print_model(FILE *file, const awq_options *options, const awq_inputs *inputs)
{
    const awq_model *model = awq_checkpoint_model(inputs->model);
    char parameters[32], bytes[32];
    awq_format_count(parameters, (double)awq_model_parameters(model));
    awq_format_bytes(bytes, (double)awq_checkpoint_bytes(inputs->model));
    fprintf(file, "model      %s: %s, %s parameters, %lld layers, %s\n", options->model,
            awq_family_name(model->family), parameters, (long long)model->layers, bytes);
    int64_t tile = awq_job_tile_sequences(options, &inputs->tokens);
    fprintf(file, "tokens     %s: %lld sequences of %lld, %lld tiles of %lld sequences\n",
            options->tokens ? options->tokens : "of the text", (long long)inputs->tokens.sequences,
            (long long)inputs->tokens.length, (long long)awq_job_tiles(options, &inputs->tokens),
            (long long)tile);
}

static void print_stages(FILE *file, const awq_plan *plan, int64_t workers)
{
    fprintf(file, "stages     %lld of at most %lld layers, stage i on worker i mod %lld\n",
            (long long)plan->stage_count, (long long)plan->stage_layers, (long long)workers);
    for (int64_t i = 0; i < plan->stage_count; i++) {
        if (plan->stage_count > 16 && i == 8) {
            fprintf(file, "  ...\n");
            i = plan->stage_count - 4;
        }
        const awq_stage *stage = &plan->stages[i];
        fprintf(file, "  stage %-4lld layers %lld-%lld  worker %d\n", (long long)i,
                (long long)stage->first, (long long)(stage->first + stage->count - 1),
                stage->worker + 1);
    }
}

static void print_sizes(FILE *file, const awq_options *options, const awq_inputs *inputs,
                        const awq_hello *needs, const awq_plan *plan, int64_t workers)
{
    const awq_model *model = awq_checkpoint_model(inputs->model);
    int64_t length = inputs->tokens.length, tokens = inputs->tokens.sequences * length;
    char text[2][32];
    uint64_t memory = needs->fixed_bytes + (uint64_t)plan->stage_layers * needs->layer_bytes;
    awq_format_bytes(text[0], (double)memory);
    if (needs->budget_bytes == AWQ_BUDGET_UNKNOWN) {
        awq_format_bytes(text[1], (double)(needs->fixed_bytes + needs->layer_bytes));
        fprintf(file, "memory     %s for each worker, at the very least %s (%s backend)\n", text[0],
                text[1], needs->backend);
    } else {
        awq_format_bytes(text[1], (double)needs->budget_bytes);
        fprintf(file, "memory     %s for each worker, of %s (%s backend, %lld threads)\n", text[0],
                text[1], needs->backend, (long long)needs->threads);
    }
    awq_format_bytes(text[0], (double)awq_output_bytes(options, inputs->model));
    int64_t boundaries = plan->stage_count - 1, at_once = 2 * workers;
    awq_format_bytes(text[1], (double)awq_run_bytes(options, inputs,
                                                    boundaries < at_once ? boundaries : at_once));
    fprintf(file, "disk       %s for the checkpoint, %s beside it while the job runs\n", text[0],
            text[1]);
    awq_format_bytes(text[0], (double)(plan->stage_count - 1) * (double)tokens *
                                  (double)model->hidden * sizeof(float));
    fprintf(file, "network    %s of hidden states between stages\n", text[0]);
    fprintf(file, "arithmetic %.4g TFLOP: forward %.4g, Gram %.4g, search and clip %.4g\n",
            1e-12 * (double)model->layers *
                (awq_work_forward(model, tokens, length) + awq_work_gram(model, tokens) +
                 awq_work_search(model, options)),
            1e-12 * (double)model->layers * awq_work_forward(model, tokens, length),
            1e-12 * (double)model->layers * awq_work_gram(model, tokens),
            1e-12 * (double)model->layers * awq_work_search(model, options));
}

awq_status awq_plan_print(FILE *file, const awq_options *options, const awq_inputs *inputs,
                          const awq_hello *needs, int64_t workers, awq_error *err)
{
    int64_t layers = awq_checkpoint_model(inputs->model)->layers, stage_layers;
    awq_plan plan;
    if (awq_plan_stage_layers(layers, (int)workers, options->stage_layers, needs->budget_bytes,
                              needs->layer_bytes, needs->fixed_bytes, &stage_layers, err) ||
        awq_plan_create(layers, NULL, NULL, stage_layers, (int)workers, &plan, err))
        return err->status;
    print_model(file, options, inputs);
    print_stages(file, &plan, workers);
    print_sizes(file, options, inputs, needs, &plan, workers);
    awq_plan_release(&plan);
    return AWQ_OK;
}
