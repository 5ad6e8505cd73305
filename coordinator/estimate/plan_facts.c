/* SPDX-License-Identifier: MIT */
#include "coordinator/estimate/plan_facts.h"

#include <string.h>

#include "coordinator/estimate/copied.h"
#include "io/formats/format.h"
#include "jobs/options/amounts.h"
#include "jobs/plan/job.h"
#include "layers/quantize/cost.h"

/* Hidden states of all tokens that go from stage to stage: twice between parts of a layer. */
static double states_sent(const awq_plan *plan)
{
    double sum = 0;
    for (int64_t i = 1; i < plan->stage_count; i++) sum += plan->stages[i].part.index ? 2 : 1;
    return sum;
}

awq_status awq_plan_facts_make(const awq_sizing *job, awq_plan_facts *out, awq_error *err)
{
    const awq_options *options = job->options;
    const awq_inputs *inputs = job->inputs;
    const awq_model *model = awq_checkpoint_model(inputs->model);
    awq_plan_facts facts = {.job = *job};
    awq_error ignored;
    if (awq_estimate_plan(job, &facts.plan, err)) return err->status;
    if (awq_estimate_make(job, &facts.plan, &facts.estimate, err)) {
        awq_plan_release(&facts.plan);
        return err->status;
    }
    int64_t length = inputs->tokens.length, tokens = inputs->tokens.sequences * length;
    facts.needs = awq_plan_part_needs(job->needs, facts.plan.parts);
    facts.worker_bytes = awq_plan_stage_bytes(&facts.needs, facts.plan.stage_layers);
    facts.host_bytes = awq_plan_host_bytes(&facts.needs, facts.plan.stage_layers);
    facts.checkpoint_bytes = awq_output_bytes(options, inputs->model);
    facts.run_bytes = awq_run_bytes(
        options, inputs, awq_plan_boundaries(&facts.plan, job->workers, options->keep_run));
    facts.run_bytes +=
        (uint64_t)job->workers * awq_plan_file_bytes(job->needs, facts.plan.stage_layers);
    facts.network_bytes =
        states_sent(&facts.plan) * (double)tokens * (double)model->residual * sizeof(float);
    if (!options->out || awq_path_free_bytes(options->out, &facts.free_bytes, &ignored))
        facts.free_bytes = 0;
    double layers = (double)model->layers;
    int64_t scored = awq_job_objective_sequences(options, &inputs->tokens) * length;
    facts.forward = layers * awq_work_forward(model, tokens, length);
    facts.gram = layers * (awq_work_gram(model, tokens) + awq_work_experts(model, tokens));
    facts.search = layers * awq_work_search(model, &options->recipe, scored, length);
    awq_quantization how = awq_recipe_quantization(&options->recipe, model->dtype);
    facts.serving = awq_serving_make(model, facts.checkpoint_bytes, &how, options->plan.context,
                                     options->plan.batch);
    *out = facts;
    return AWQ_OK;
}

void awq_plan_facts_release(awq_plan_facts *facts)
{
    awq_plan_release(&facts->plan);
}

/* ---- as text ---- */

static void print_model(FILE *file, const awq_plan_facts *facts)
{
    const awq_inputs *inputs = facts->job.inputs;
    const awq_model *model = awq_checkpoint_model(inputs->model);
    char parameters[32], active[64] = "", bytes[32];
    awq_format_count(parameters, (double)awq_model_parameters(model));
    awq_format_bytes(bytes, (double)awq_checkpoint_bytes(inputs->model));
    if (awq_model_experts(model)) {
        char count[32];
        awq_format_count(count, (double)awq_model_active_parameters(model));
        snprintf(active, sizeof active, " (%s for each token)", count);
    }
    fprintf(file, "model      %s: %s%s%s, %s parameters%s, %lld layers, %s of %s\n",
            facts->job.options->model, model->unknown_type, *model->unknown_type ? ", as " : "",
            model->family, parameters, active, (long long)model->layers, bytes,
            awq_checkpoint_storage(inputs->model).text);
    int64_t tile = awq_job_tile_sequences(facts->job.options, &inputs->tokens);
    fprintf(file, "tokens     %s: %lld sequences of %lld, %lld tiles of %lld sequences\n",
            facts->job.options->tokens ? facts->job.options->tokens : "of the text",
            (long long)inputs->tokens.sequences, (long long)inputs->tokens.length,
            (long long)awq_job_tiles(facts->job.options, &inputs->tokens), (long long)tile);
}

static void print_part(FILE *file, const awq_plan_facts *facts, const awq_stage *stage)
{
    const awq_layer_spec *layer =
        awq_model_layer(awq_checkpoint_model(facts->job.inputs->model), stage->first);
    fprintf(file, ", experts %lld-%lld", (long long)awq_layer_part_first_expert(layer, stage->part),
            (long long)awq_layer_part_end_expert(layer, stage->part) - 1);
}

/* Tokens that an expert gets if all get as many, beside the channels that it reads. */
typedef struct expert_share {
    int64_t tokens, channels;
    int64_t sequences; /* that would give it a token for each channel */
} expert_share;

static bool find_share(const awq_plan_facts *facts, expert_share *out)
{
    const awq_model *model = awq_checkpoint_model(facts->job.inputs->model);
    const awq_mlps_spec *mlps = awq_model_experts(model);
    const awq_tokens *t = &facts->job.inputs->tokens;
    if (!mlps) return false;
    int64_t visits = t->length * mlps->routing.active; /* of experts, by one sequence */
    out->channels = mlps->intermediate > model->hidden ? mlps->intermediate : model->hidden;
    out->tokens = t->sequences * visits / mlps->routing.experts;
    out->sequences = (out->channels * mlps->routing.experts + visits - 1) / visits;
    return true;
}

static void print_experts(FILE *file, const awq_plan_facts *facts)
{
    expert_share share;
    if (!find_share(facts, &share)) return;
    fprintf(file, "experts    %lld tokens each in the mean, for %lld channels",
            (long long)share.tokens, (long long)share.channels);
    if (share.tokens < share.channels)
        fprintf(file, "; --sequences %lld would give as many", (long long)share.sequences);
    fprintf(file, "\n");
}

static json_t *experts_json(const awq_plan_facts *facts)
{
    expert_share share;
    if (!find_share(facts, &share)) return json_null();
    return json_pack("{s:I, s:I, s:I}", "mean_tokens", (json_int_t)share.tokens, "channels",
                     (json_int_t)share.channels, "sequences_for_as_many",
                     (json_int_t)share.sequences);
}

static void print_stages(FILE *file, const awq_plan_facts *facts)
{
    const awq_plan *plan = &facts->plan;
    fprintf(file, "stages     %lld of at most %lld layers, stage i on worker i mod %lld\n",
            (long long)plan->stage_count, (long long)plan->stage_layers,
            (long long)facts->job.workers);
    for (int64_t i = 0; i < plan->stage_count; i++) {
        if (plan->stage_count > 16 && i == 8) {
            fprintf(file, "  ...\n");
            i = plan->stage_count - 4;
        }
        const awq_stage *stage = &plan->stages[i];
        fprintf(file, "  stage %-4lld layers %lld-%lld", (long long)i, (long long)stage->first,
                (long long)(stage->first + stage->count - 1));
        if (!awq_layer_part_is_whole(stage->part)) print_part(file, facts, stage);
        fprintf(file, "  worker %d\n", stage->worker + 1);
    }
}

static void print_memory(FILE *file, const awq_plan_facts *facts)
{
    const awq_hello *needs = &facts->needs;
    char all[32], other[32];
    awq_format_bytes(all, (double)facts->worker_bytes);
    if (needs->budget_bytes == AWQ_BUDGET_UNKNOWN) {
        awq_format_bytes(other, (double)awq_plan_stage_bytes(needs, 1));
        fprintf(file, "memory     %s for each worker, at the very least %s (%s backend)\n", all,
                other, needs->backend);
    } else if (facts->host_bytes) {
        awq_format_bytes(other, (double)needs->budget_bytes);
        fprintf(file, "memory     %s for each worker, of %s (%s backend)", all, other,
                needs->backend);
        awq_format_bytes(other, (double)facts->host_bytes);
        fprintf(file, "; %s of its node's\n", other);
    } else {
        awq_format_bytes(other, (double)needs->budget_bytes);
        fprintf(file, "memory     %s for each worker, of %s (%s backend, %lld threads)\n", all,
                other, needs->backend, (long long)needs->threads);
    }
}

/* What experts read is kept until its layer is searched. */
static void print_inputs(FILE *file, const awq_plan_facts *facts)
{
    const awq_hello *needs = facts->job.needs;
    uint64_t files = awq_plan_file_bytes(needs, facts->plan.stage_layers);
    char in_memory[32], in_files[32];
    if (!needs->inputs_bytes) return;
    uint64_t all = (uint64_t)facts->plan.stage_layers * needs->inputs_bytes;
    awq_format_bytes(in_memory, (double)(all - files));
    awq_format_bytes(in_files, (double)files);
    fprintf(file, "           of that %s are what the experts of a stage read%s%s%s\n", in_memory,
            files ? "; " : "", files ? in_files : "",
            files ? " more are in the run directory" : "");
}

static void print_sizes(FILE *file, const awq_plan_facts *facts)
{
    char end[32], now[32], free_bytes[32], network[32];
    awq_format_bytes(end, (double)facts->checkpoint_bytes);
    awq_format_bytes(now, (double)facts->run_bytes);
    awq_format_bytes(free_bytes, (double)facts->free_bytes);
    awq_format_bytes(network, facts->network_bytes);
    fprintf(file, "disk       %s for the checkpoint, %s beside it while the job runs%s%s%s\n", end,
            now, facts->free_bytes ? ", of " : "", facts->free_bytes ? free_bytes : "",
            facts->free_bytes ? " free" : "");
    fprintf(file, "network    %s of hidden states between stages\n", network);
    fprintf(file, "arithmetic %.4g TFLOP: forward %.4g, Gram %.4g, search and clip %.4g\n",
            1e-12 * (facts->forward + facts->gram + facts->search), 1e-12 * facts->forward,
            1e-12 * facts->gram, 1e-12 * facts->search);
}

void awq_plan_facts_print(FILE *file, const awq_plan_facts *facts)
{
    print_model(file, facts);
    awq_copied_print(file, facts->job.inputs->model);
    print_experts(file, facts);
    print_stages(file, facts);
    print_memory(file, facts);
    print_inputs(file, facts);
    print_sizes(file, facts);
    awq_estimate_print(file, &facts->estimate);
    awq_serving_print(file, &facts->serving);
}

/* ---- as JSON ---- */

/* With the experts of a part of a layer. */
static json_t *stage_json(const awq_plan_facts *facts, const awq_stage *stage)
{
    const awq_layer_spec *layer =
        awq_model_layer(awq_checkpoint_model(facts->job.inputs->model), stage->first);
    json_t *object = json_pack("{s:I, s:I, s:i}", "first", (json_int_t)stage->first, "layers",
                               (json_int_t)stage->count, "worker", (int)stage->worker + 1);
    if (object && !awq_layer_part_is_whole(stage->part))
        json_object_set_new(
            object, "experts",
            json_pack("[I, I]", (json_int_t)awq_layer_part_first_expert(layer, stage->part),
                      (json_int_t)awq_layer_part_end_expert(layer, stage->part) - 1));
    return object;
}

static json_t *stages_json(const awq_plan_facts *facts)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < facts->plan.stage_count; i++)
        json_array_append_new(list, stage_json(facts, &facts->plan.stages[i]));
    return list;
}

static json_t *model_json(const awq_plan_facts *facts)
{
    const awq_model *model = awq_checkpoint_model(facts->job.inputs->model);
    json_t *object =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:s}", "path", facts->job.options->model, "family",
                  model->family, "parameters", (json_int_t)awq_model_parameters(model), "layers",
                  (json_int_t)model->layers, "bytes",
                  (json_int_t)awq_checkpoint_bytes(facts->job.inputs->model), "weights",
                  awq_checkpoint_storage(facts->job.inputs->model).text);
    if (object && *model->unknown_type)
        json_object_set_new(object, "unknown_model_type", json_string(model->unknown_type));
    if (object && awq_model_experts(model))
        json_object_set_new(object, "active_parameters",
                            json_integer((json_int_t)awq_model_active_parameters(model)));
    return object;
}

/* What a CPU worker computes in is the host's memory. */
static json_t *memory_json(const awq_plan_facts *facts)
{
    const awq_hello *needs = &facts->needs;
    bool on_cpu = !strcmp(needs->backend, "cpu");
    json_t *object =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "backend", needs->backend, "device_bytes",
                  (json_int_t)(on_cpu ? 0 : facts->worker_bytes), "host_bytes",
                  (json_int_t)(on_cpu ? facts->worker_bytes : facts->host_bytes), "layer_bytes",
                  (json_int_t)needs->layer_bytes, "fixed_bytes", (json_int_t)needs->fixed_bytes,
                  "inputs_bytes", (json_int_t)needs->inputs_bytes);
    if (object && needs->budget_bytes != AWQ_BUDGET_UNKNOWN)
        json_object_set_new(object, "budget_bytes", json_integer((json_int_t)needs->budget_bytes));
    return object;
}

static json_t *disk_json(const awq_plan_facts *facts)
{
    json_t *object =
        json_pack("{s:I, s:I}", "checkpoint_bytes", (json_int_t)facts->checkpoint_bytes,
                  "run_bytes", (json_int_t)facts->run_bytes);
    if (object && facts->free_bytes)
        json_object_set_new(object, "free_bytes", json_integer((json_int_t)facts->free_bytes));
    return object;
}

json_t *awq_plan_facts_json(const awq_plan_facts *facts)
{
    const awq_options *options = facts->job.options;
    const awq_tokens *t = &facts->job.inputs->tokens;
    const awq_estimate *e = &facts->estimate;
    json_t *tokens = json_pack("{s:s?, s:I, s:I, s:I}", "path", options->tokens, "sequences",
                               (json_int_t)t->sequences, "length", (json_int_t)t->length, "tiles",
                               (json_int_t)awq_job_tiles(options, t));
    json_t *estimate = json_pack("{s:f, s:f, s:f, s:f, s:f}", "seconds", e->compute + e->storage,
                                 "compute_seconds", e->compute, "storage_seconds", e->storage,
                                 "assumed_flops_of_a_worker", e->rate,
                                 "assumed_storage_bytes_per_second", e->storage_rate);
    return json_pack("{s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:f, s:{s:f, s:f, s:f}, s:o, s:o, s:o}",
                     "model", model_json(facts), "copied",
                     awq_copied_json(facts->job.inputs->model, false), "tokens", tokens, "workers",
                     (json_int_t)facts->job.workers, "stages", stages_json(facts), "memory",
                     memory_json(facts), "disk", disk_json(facts), "network_bytes",
                     facts->network_bytes, "flops", "forward", facts->forward, "gram", facts->gram,
                     "search", facts->search, "estimate", estimate, "serving",
                     awq_serving_json(&facts->serving), "experts", experts_json(facts));
}
