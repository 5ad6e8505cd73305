/* SPDX-License-Identifier: MIT
 * From the JOB letter to the HELLO: open the device, the model and the tokens. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/log.h"
#include "kernels/backend_list.h"
#include "layers/head.h"
#include "layers/quantize.h"
#include "worker/cores.h"
#include "worker/state.h"

/* The process itself: MPI, libraries, BLAS buffers of each thread. Measured by tests/bench. */
enum { PROCESS_BYTES = 64 << 20, BLAS_BYTES_PER_THREAD = 32 << 20, LETTERS_IN_FLIGHT = 4 };

static awq_status open_device(const awq_options *options, int neighbours, awq_device **out,
                              awq_error *err)
{
    const awq_backend *backend = awq_backend_find(options->backend);
    if (!backend)
        return awq_fail(err, AWQ_ERR_USAGE, "backend '%s' is not in this build; it has cpu",
                        options->backend);
    awq_device_options device = {.threads = (int)options->threads};
    if (!device.threads) device.threads = awq_cores_share(neighbours);
    return backend->open(&device, out, err);
}

/* Problems become one error: a worker can only meet them when files changed under the job. */
static awq_status open_model(const char *directory, awq_checkpoint **out, awq_error *err)
{
    awq_problems problems;
    awq_problems_init(&problems);
    *out = awq_checkpoint_open(directory, &problems);
    awq_status status = AWQ_OK;
    if (!*out) {
        *err = problems.items[0];
        status = err->status;
    }
    awq_problems_release(&problems);
    return status;
}

/* ---- what a worker needs ---- */

static uint64_t hidden_bytes(const awq_model *model, int64_t rows)
{
    return (uint64_t)(rows * model->hidden) * sizeof(float);
}

/* Host copies of one layer's result: codes, packed words, scales. */
static uint64_t result_bytes(const awq_model *model)
{
    uint64_t weights = (uint64_t)awq_model_layer_parameters(model);
    return weights + weights / 2 + weights / 8;
}

static uint64_t budget_bytes(const awq_options *options, int neighbours)
{
    if (!options->device_memory.percent) return (uint64_t)options->device_memory.amount;
    return (uint64_t)((double)awq_memory_share(neighbours) * options->device_memory.amount / 100);
}

/* A stage of a quantization (docs/design.md 3.4); `rows` are a tile's, `all` those of all tiles. */
static void quantize_needs(const awq_options *options, const awq_model *model, int64_t rows,
                           int64_t all, int64_t length, size_t compute_bytes, awq_hello *hello)
{
    awq_grid grid = {
        .bits = (int)options->bits, .group_size = options->group_size, .zero_point = true};
    hello->layer_bytes = awq_decoder_bytes(model, compute_bytes) + awq_statistics_bytes(model) +
                         hidden_bytes(model, rows);
    hello->fixed_bytes = awq_scratch_bytes(model, rows, length, compute_bytes) +
                         awq_quantize_bytes(model, &grid, compute_bytes) + result_bytes(model) +
                         3 * hidden_bytes(model, rows) + hidden_bytes(model, all);
}

static void eval_needs(const awq_model *model, int64_t rows, int64_t all, int64_t length,
                       size_t compute_bytes, int models, awq_hello *hello)
{
    uint64_t count = (uint64_t)models;
    hello->layer_bytes = count * awq_decoder_bytes(model, compute_bytes);
    hello->fixed_bytes = awq_scratch_bytes(model, rows, length, compute_bytes) +
                         result_bytes(model) + count * awq_head_bytes(model, compute_bytes) +
                         2 * count * hidden_bytes(model, rows) + count * hidden_bytes(model, all);
}

static void needs(const awq_options *options, const awq_model *model, const awq_tokens *tokens,
                  int models, size_t compute_bytes, int threads, awq_hello *hello)
{
    int64_t rows = awq_job_tile_sequences(options, tokens) * tokens->length;
    int64_t all = tokens->sequences * tokens->length;
    if (models)
        eval_needs(model, rows, all, tokens->length, compute_bytes, models, hello);
    else
        quantize_needs(options, model, rows, all, tokens->length, compute_bytes, hello);
    hello->fixed_bytes += PROCESS_BYTES + (uint64_t)threads * BLAS_BYTES_PER_THREAD;
}

awq_status awq_worker_needs(const awq_options *options, const awq_checkpoint *checkpoint,
                            const awq_tokens *tokens, awq_hello *out, awq_error *err)
{
    const awq_backend *backend = awq_backend_find(options->backend);
    if (!backend)
        return awq_fail(err, AWQ_ERR_USAGE, "backend '%s' is not in this build; it has cpu",
                        options->backend);
    *out = (awq_hello){.threads = options->threads ? options->threads : awq_cores_share(1)};
    snprintf(out->backend, sizeof out->backend, "%s", backend->name);
    out->budget_bytes = budget_bytes(options, 1);
    needs(options, awq_checkpoint_model(checkpoint), tokens, 0, backend->compute_bytes,
          (int)out->threads, out);
    return AWQ_OK;
}

static void say_hello(awq_worker *worker, int neighbours)
{
    awq_hello hello = {.pid = getpid(), .threads = worker->device->threads};
    gethostname(hello.host, sizeof hello.host - 1);
    snprintf(hello.device, sizeof hello.device, "%s", worker->device->name);
    snprintf(hello.backend, sizeof hello.backend, "%s", worker->device->backend->name);
    hello.budget_bytes = budget_bytes(&worker->job.options, neighbours);
    needs(&worker->job.options, awq_checkpoint_model(worker->checkpoint[0]), &worker->tokens,
          worker->models, worker->device->backend->compute_bytes, worker->device->threads, &hello);
    awq_mail_post(worker->mail, AWQ_COORDINATOR,
                  awq_letter_write(AWQ_LETTER_HELLO, 0, 0, &hello, sizeof hello));
}

/* ---- setup ---- */

static void boundary_done(void *context, int64_t layer)
{
    awq_worker *worker = context;
    awq_mail_post(worker->mail, AWQ_COORDINATOR,
                  awq_letter_create(AWQ_LETTER_BOUNDARY_DONE, layer, 0, 0));
}

static void boundary_failed(void *context, const awq_error *err)
{
    awq_worker_fail(context, err);
}

awq_status awq_worker_start_keeper(awq_worker *worker, awq_error *err)
{
    awq_keeper_options options = {
        .run = worker->job.run_directory,
        .fingerprint = worker->fingerprint,
        .shape = {.sequences = worker->tokens.sequences,
                  .tile_sequences = worker->tile_sequences,
                  .length = worker->tokens.length,
                  .hidden = awq_checkpoint_model(worker->checkpoint[0])->hidden},
        .done = boundary_done,
        .failed = boundary_failed,
        .context = worker,
    };
    return awq_keeper_start(&options, worker->to_keep, &worker->keeper, err);
}

static awq_status open_inputs(awq_worker *worker, awq_error *err)
{
    const awq_options *options = &worker->job.options;
    if (open_model(options->model, &worker->checkpoint[0], err)) return err->status;
    if (worker->job.command == AWQ_COMMAND_EVAL) worker->models = options->against ? 2 : 1;
    if (worker->models == 2 && open_model(options->against, &worker->checkpoint[1], err))
        return err->status;
    if (awq_tokens_read(options->tokens, options->sequences, &worker->tokens, err))
        return err->status;
    worker->tile_sequences = awq_job_tile_sequences(options, &worker->tokens);
    worker->tiles_in_job = awq_job_tiles(options, &worker->tokens);
    return AWQ_OK;
}

awq_status awq_worker_setup(awq_worker *worker, const awq_letter *letter, awq_error *err)
{
    int index, neighbours;
    awq_mail_neighbours(worker->mail, &index, &neighbours);
    if (awq_job_from_text((const char *)letter->payload, letter->bytes, &worker->job, err))
        return err->status;
    worker->ready = true;
    if (open_inputs(worker, err) ||
        open_device(&worker->job.options, neighbours, &worker->device, err))
        return err->status;
    awq_log(AWQ_LOG_VERBOSE, "worker ready device='%s'", worker->device->name);
    say_hello(worker, neighbours);
    return AWQ_OK;
}

void awq_worker_teardown(awq_worker *worker)
{
    awq_keeper_free(worker->keeper);
    if (worker->device) worker->device->backend->close(worker->device);
    awq_tokens_release(&worker->tokens);
    for (int i = 0; i < AWQ_MODELS; i++) awq_checkpoint_close(worker->checkpoint[i]);
    if (worker->ready) awq_options_release(&worker->job.options);
}
