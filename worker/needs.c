/* SPDX-License-Identifier: MIT */
#include "worker/needs.h"

#include <stdio.h>
#include <string.h>

#include "layers/fold/fold_check.h"
#include "layers/forward/head.h"
#include "layers/forward/states.h"
#include "layers/quantize/quantize.h"
#include "layers/search/work.h"
#include "worker/cores.h"
#include "worker/flow/port.h"

/* The process itself: MPI, libraries, BLAS buffers of each thread. Measured by tests/bench. */
enum { PROCESS_BYTES = 16 << 20, THREAD_BYTES = 8 << 20 };

/* With a GPU, on it: CUDA's context, cuBLAS's kernels and workspace (0.7 to 1.0 GB were seen on an
 * H200), beside the scratch of kernels/cuda. In the node's memory, an estimate: the libraries and
 * page-locked buffers. */
enum { GPU_PROCESS_BYTES = 1 << 30, GPU_HOST_BYTES = 1 << 29 };

int64_t awq_needs_kept_sequences(const awq_options *options, const awq_tokens *tokens)
{
    int64_t checked =
        awq_fold_check_sequences(awq_job_tile_sequences(options, tokens), tokens->length);
    int64_t scored = awq_job_objective_sequences(options, tokens);
    return scored > checked ? scored : checked;
}

/* What a layer's experts read of all tokens, and the lists of which of them did. */
static uint64_t inputs_bytes(const awq_model *model, int64_t tokens, size_t compute_bytes)
{
    const awq_mlps_spec *mlps = awq_model_experts(model);
    size_t choice = sizeof(int32_t) + sizeof(uint8_t);
    if (!mlps) return 0;
    return awq_routed_bytes(tokens, model->hidden, compute_bytes) +
           (uint64_t)(tokens * mlps->routing.active) * choice;
}

int64_t awq_needs_inputs_layers(const awq_options *options, const awq_model *model,
                                const awq_tokens *tokens, size_t compute_bytes)
{
    uint64_t bytes = inputs_bytes(model, tokens->sequences * tokens->length, compute_bytes);
    if (options->verify_layer >= 0) return 1; /* there is no run directory */
    return bytes ? (int64_t)((uint64_t)options->inputs_memory / bytes) : 0;
}

static uint64_t hidden_bytes(const awq_model *model, int64_t rows)
{
    return (uint64_t)(rows * model->residual) * sizeof(float);
}

uint64_t awq_needs_wanted_bytes(const awq_job_size *size)
{
    const awq_options *options = size->options;
    if (!options->device_memory.percent) return (uint64_t)options->device_memory.amount;
    uint64_t all = size->gpu_bytes ? size->gpu_bytes : awq_memory_share(size->workers_on_node);
    return (uint64_t)((double)all * options->device_memory.amount / 100);
}

/* What the tokens of a job take. */
typedef struct token_counts {
    awq_tile_size tile;
    int64_t rows, all, kept; /* tokens: of a tile, all tiles, kept */
} token_counts;

/* Host copies of so many weights quantized: a packed code a weight, or with --skip float32; scale
 * and zero point a group. */
static uint64_t result_bytes(const awq_options *options, uint64_t weights)
{
    int64_t group_size = options->recipe.group_size;
    return (options->skip ? 4 * weights : weights * (uint64_t)options->recipe.bits / 8) +
           (group_size > 0 ? 3 * weights / (uint64_t)group_size : 0);
}

/* What is kept in full precision without --skip: as codes that take as many bytes more. */
static uint64_t kept_codes(const awq_layer_spec *spec, int64_t bits)
{
    uint64_t weights = 0;
    for (int i = 0; i < spec->linears; i++)
        if (spec->linear[i].exempt || spec->linear[i].absorbed)
            weights += (uint64_t)(spec->linear[i].out * spec->linear[i].in);
    return (uint64_t)((32 + bits - 1) / bits - 1) * weights;
}

/* Of the largest layer that can be in at most so many parts, as codes of so many bits. */
static uint64_t layer_weights(const awq_model *model, int64_t bits, int64_t parts)
{
    uint64_t weights = 0;
    for (int kind = 0; kind < model->kinds; kind++) {
        const awq_layer_spec *spec = &model->kind[kind];
        uint64_t of_kind = (uint64_t)awq_layer_parameters(spec) + kept_codes(spec, bits);
        if (awq_layer_part_most(&model->kind[kind]) > parts) continue;
        if (of_kind > weights) weights = of_kind;
    }
    return weights;
}

/* What a part of a layer takes less, an expert that it lacks, and more: what the MLPs read, a tile
 * on the device and, where the worker before is ahead, all tiles here; and the last one has all of
 * the layer packed. */
static void count_parts(const awq_options *options, const awq_model *model,
                        const token_counts *tokens, size_t compute_bytes, awq_hello *hello)
{
    const awq_mlps_spec *mlps = awq_model_experts(model);
    if (!mlps || options->verify_layer >= 0) return; /* a layer that is reproduced is whole */
    uint64_t expert = 3 * (uint64_t)(model->hidden * mlps->intermediate);
    int64_t bits = options->recipe.bits;
    uint64_t most = layer_weights(model, bits, mlps->routing.experts);
    uint64_t whole = layer_weights(model, bits, 1);
    if (whole >= most) return; /* nothing is gained */
    hello->experts = mlps->routing.experts;
    hello->spare_experts = (int64_t)((most - whole) / expert);
    hello->expert_bytes[0] = expert * compute_bytes;
    hello->expert_host_bytes = 2 * result_bytes(options, expert);
    hello->part_bytes = hidden_bytes(model, tokens->rows + 2 * tokens->tile.checked);
    hello->part_host_bytes = hidden_bytes(model, tokens->all) + result_bytes(options, most);
}

/* A stage of a quantization (docs/design.md 3.4), at its peak: its first layer is quantized, the
 * others wait. Packing that layer takes less than its weights and statistics, which are gone. */
static void quantize_needs(const awq_options *options, const awq_model *model,
                           const token_counts *tokens, size_t compute_bytes, awq_hello *hello)
{
    hello->layer_bytes = awq_decoder_bytes(model, compute_bytes) + awq_statistics_bytes(model) +
                         hidden_bytes(model, tokens->kept);
    hello->fixed_bytes =
        awq_scratch_bytes(model, &tokens->tile, compute_bytes) +
        awq_quantize_bytes(model, &options->recipe, tokens->kept, tokens->rows, compute_bytes) +
        awq_embedding_bytes(model, compute_bytes) + hidden_bytes(model, tokens->rows);
    uint64_t largest = layer_weights(model, options->recipe.bits, INT64_MAX);
    hello->host_bytes = 2 * result_bytes(options, largest) + /* one is written, one is made */
                        awq_search_host_bytes(&options->recipe, model);
    hello->inputs_bytes = inputs_bytes(model, tokens->all, compute_bytes);
    count_parts(options, model, tokens, compute_bytes, hello);
}

static void eval_needs(const awq_model *model, const token_counts *tokens, size_t compute_bytes,
                       int models, awq_hello *hello)
{
    uint64_t count = (uint64_t)models;
    hello->layer_bytes = count * awq_decoder_bytes(model, compute_bytes);
    awq_tile_size tile = {.rows = tokens->rows, .length = tokens->tile.length};
    hello->fixed_bytes = awq_scratch_bytes(model, &tile, compute_bytes) +
                         count * awq_embedding_bytes(model, compute_bytes) +
                         count * awq_head_bytes(model, compute_bytes) +
                         count * hidden_bytes(model, tokens->rows);
}

/* Unless one worker holds all layers at once, so that nothing is sent, nor read ahead: a layer that
 * is read ahead; the slots of links; and of the next stage's input all tiles at worst, and one on
 * its way. What of them stays on a GPU takes no more than a stage leaves there (flow/shelf.h). */
static void add_next_stage(const awq_job_size *size, const token_counts *tokens,
                           size_t compute_bytes, awq_hello *hello)
{
    uint64_t models = size->models ? (uint64_t)size->models : 1;
    uint64_t whole = hello->fixed_bytes + hello->host_bytes +
                     (uint64_t)size->model->layers * (hello->layer_bytes + hello->inputs_bytes);
    int64_t wanted = size->options->stage_layers;
    if (size->workers == 1 && whole <= hello->budget_bytes &&
        (!wanted || wanted >= size->model->layers))
        return;
    hello->fixed_bytes += awq_decoder_bytes(size->model, compute_bytes);
    hello->expert_bytes[1] = hello->expert_bytes[0]; /* of the layer that is read ahead */
    if (size->gpu_bytes && size->workers > 1)
        hello->fixed_bytes += 2 * AWQ_PORT_SLOTS * models * hidden_bytes(size->model, tokens->rows);
    hello->host_bytes += models * hidden_bytes(size->model, tokens->all + tokens->rows);
}

void awq_needs_count(const awq_job_size *size, size_t compute_bytes, awq_hello *hello)
{
    int64_t sequences = awq_job_tile_sequences(size->options, size->tokens);
    int64_t length = size->tokens->length;
    token_counts tokens = {.tile = awq_checked_tile(sequences, length),
                           .rows = sequences * length,
                           .all = size->tokens->sequences * length,
                           .kept = awq_needs_kept_sequences(size->options, size->tokens) * length};
    if (size->models)
        eval_needs(size->model, &tokens, compute_bytes, size->models, hello);
    else
        quantize_needs(size->options, size->model, &tokens, compute_bytes, hello);
    hello->inputs_layers =
        awq_needs_inputs_layers(size->options, size->model, size->tokens, compute_bytes);
    /* What is free was asked with this process's context there, which fixed_bytes counts too: on a
     * GPU that others use the plan is some 0.5 GB too careful. */
    uint64_t wanted = awq_needs_wanted_bytes(size);
    hello->budget_bytes = size->gpu_free && size->gpu_free < wanted ? size->gpu_free : wanted;
    hello->host_bytes += PROCESS_BYTES + (uint64_t)hello->threads * THREAD_BYTES;
    if (size->gpu_bytes)
        hello->fixed_bytes += GPU_PROCESS_BYTES + awq_gpu_scratch_bytes(size->gpu_bytes);
    add_next_stage(size, &tokens, compute_bytes, hello);
    if (size->gpu_bytes) {
        hello->host_bytes += GPU_HOST_BYTES;
        hello->host_budget_bytes = awq_memory_share(size->workers_on_node);
        return;
    }
    hello->fixed_bytes += hello->host_bytes; /* it is all one memory */
    hello->host_bytes = 0;
    hello->expert_bytes[1] += hello->expert_host_bytes;
    hello->part_bytes += hello->part_host_bytes;
}

awq_status awq_needs_backend(const awq_options *options, const awq_backend **out, awq_error *why,
                             awq_error *err)
{
    *why = (awq_error){0};
    const awq_backend *const *best = awq_backends();
    bool chosen = strcmp(options->backend, "auto") != 0;
    while (!chosen && (*best)->survey && !(*best)->survey(NULL, 0, why)) best++;
    const awq_backend *backend = chosen ? awq_backend_find(options->backend) : *best;
    if (!backend)
        return awq_fail(err, AWQ_ERR_USAGE, "backend '%s' is not in this build; it has cpu%s",
                        options->backend, awq_backend_find("cuda") ? " and cuda" : "");
    *out = backend;
    return AWQ_OK;
}

const char *awq_worker_library(int index)
{
    for (const awq_backend *const *backend = awq_backends(); *backend; backend++) {
        int count = 0;
        for (const char *text; (text = (*backend)->library(count)); count++)
            if (count == index) return text;
        index -= count;
    }
    return NULL;
}

int awq_worker_gpus(awq_device_facts *out, int most, awq_error *err)
{
    for (const awq_backend *const *backend = awq_backends(); *backend; backend++)
        if ((*backend)->survey) return (*backend)->survey(out, most, err);
    awq_fail(err, AWQ_ERR_DEVICE, "this build has no CUDA backend; build it where nvcc is");
    return 0;
}

/* Of the first GPU here; where there is none, such as on a login node, what the options say. */
static awq_status gpu_bytes(const awq_backend *backend, const awq_options *options, uint64_t *out,
                            awq_error *err)
{
    awq_device_facts gpu;
    if (backend->survey(&gpu, 1, err))
        *out = gpu.memory_bytes;
    else if (!options->device_memory.percent)
        *out = (uint64_t)options->device_memory.amount;
    else
        return awq_fail(
            err, AWQ_ERR_USAGE,
            "how much memory is a percentage of a GPU's, and there is none to ask; give "
            "--device-memory in bytes, as in 80GB");
    return AWQ_OK;
}

awq_status awq_worker_needs(const awq_options *options, const awq_checkpoint *checkpoint,
                            const awq_tokens *tokens, awq_hello *out, awq_error *err)
{
    const awq_backend *backend = NULL;
    awq_error why;
    if (awq_needs_backend(options, &backend, &why, err)) return err->status;
    awq_job_size size = {.options = options,
                         .model = awq_checkpoint_model(checkpoint),
                         .tokens = tokens,
                         .workers = (int)options->plan.workers,
                         .workers_on_node = 1};
    if (backend->survey && gpu_bytes(backend, options, &size.gpu_bytes, err)) return err->status;
    *out = (awq_hello){.threads = options->threads ? options->threads : awq_cores_allowed()};
    snprintf(out->backend, sizeof out->backend, "%s", backend->name);
    awq_needs_count(&size, backend->compute_bytes, out);
    out->host_budget_bytes = 0; /* the workers may run elsewhere */
    return AWQ_OK;
}
