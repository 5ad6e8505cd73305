/* SPDX-License-Identifier: MIT */
#include "coordinator/estimate/estimate.h"

#include <string.h>

#include "jobs/options/amounts.h"
#include "jobs/plan/job.h"
#include "jobs/plan/plan.h"
#include "layers/quantize/cost.h"

static const double core_rate = 30e9, gpu_rate = 100e12; /* FLOP/s */
static const double storage_rate = 1e9;                  /* bytes/s, all nodes together */

awq_status awq_estimate_plan(const awq_sizing *job, awq_plan *out, awq_error *err)
{
    const awq_hello *needs = job->needs;
    int64_t layers = awq_checkpoint_model(job->inputs->model)->layers, stage_layers;
    int workers = (int)job->workers;
    if (awq_plan_stage_layers(layers, workers, job->options->stage_layers, needs, &stage_layers,
                              err))
        return err->status;
    return awq_plan_create(layers, NULL, NULL, stage_layers, workers, out, err);
}

awq_status awq_estimate_make(const awq_sizing *job, const awq_plan *plan, awq_estimate *out,
                             awq_error *err)
{
    const awq_options *options = job->options;
    const awq_inputs *inputs = job->inputs;
    const awq_model *model = awq_checkpoint_model(inputs->model);
    int64_t length = inputs->tokens.length, tokens = inputs->tokens.sequences * length;
    bool on_cpu = !strcmp(job->needs->backend, "cpu");
    awq_estimate e = {.workers = job->workers,
                      .cores = on_cpu ? job->cores : 0,
                      .rate = on_cpu ? core_rate * (double)job->cores : gpu_rate,
                      .storage_rate = storage_rate};
    double forward = awq_work_forward(model, tokens, length);
    int64_t scored = awq_job_objective_sequences(options, &inputs->tokens) * length;
    awq_pace pace = {.forward = forward / e.rate,
                     .flow = (forward + awq_work_gram(model, tokens)) / e.rate,
                     .search = (awq_work_search(model, &options->recipe, scored, length) +
                                awq_work_experts(model, tokens)) /
                               e.rate};
    e.compute = awq_plan_seconds(plan, plan->done, (int)job->workers,
                                 awq_job_tiles(options, &inputs->tokens), &pace);
    if (e.compute < 0)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to estimate the time of a job");
    double bytes = (double)awq_checkpoint_bytes(inputs->model) +
                   2 * (double)awq_output_bytes(options, inputs->model) +
                   (double)awq_run_bytes(options, inputs, 2);
    e.storage = bytes / storage_rate;
    *out = e;
    return AWQ_OK;
}

void awq_estimate_print(FILE *file, const awq_estimate *e)
{
    char compute[32], storage[32];
    awq_format_seconds(compute, e->compute);
    awq_format_seconds(storage, e->storage);
    fprintf(file, "estimate   %s of arithmetic, at %.3g TFLOP/s for each of %lld worker%s (assumed",
            compute, 1e-12 * e->rate, (long long)e->workers, e->workers == 1 ? "" : "s");
    if (e->cores)
        fprintf(file, ": %lld core%s at %.0f GFLOP/s", (long long)e->cores,
                e->cores == 1 ? "" : "s", 1e-9 * core_rate);
    fprintf(file, ");\n           %s of files, at %.0f GB/s (assumed)\n", storage,
            1e-9 * e->storage_rate);
}
