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
enum { PROCESS_BYTES = 16 << 20, THREAD_BYTES = 8 << 20 };

static int threads_share(awq_neighbours neighbours)
{
    int threads = awq_cores_allowed() / neighbours.sharing;
    return threads > 0 ? threads : 1;
}

/* mpirun binds ranks to one core, or to one socket, unless told otherwise. */
static void warn_of_binding(const awq_device *device, awq_neighbours neighbours)
{
    int share = awq_cores_online() / neighbours.workers;
    if (neighbours.index || device->threads >= share || awq_cores_allowed() == awq_cores_online())
        return;
    char host[AWQ_HOST_BYTES] = "?";
    gethostname(host, sizeof host - 1);
    awq_report_warning("workers on %s are bound to %d of its %d cores each; 'mpirun --bind-to "
                       "none' gives them %d threads",
                       host, awq_cores_allowed(), awq_cores_online(), share);
}

static awq_status open_device(const awq_options *options, awq_neighbours neighbours,
                              awq_device **out, awq_error *err)
{
    const awq_backend *backend = awq_backend_find(options->backend);
    if (!backend)
        return awq_fail(err, AWQ_ERR_USAGE, "backend '%s' is not in this build; it has cpu",
                        options->backend);
    awq_device_options device = {.threads = (int)options->threads};
    if (!device.threads) device.threads = threads_share(neighbours);
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

/* Host copies of one layer's result: a code a weight; scale, zero point and limit a group. */
static uint64_t result_bytes(const awq_model *model, int64_t group_size)
{
    uint64_t weights = (uint64_t)awq_model_layer_parameters(model);
    return weights + (group_size > 0 ? 7 * weights / (uint64_t)group_size : 0);
}

static uint64_t budget_bytes(const awq_options *options, int neighbours)
{
    if (!options->device_memory.percent) return (uint64_t)options->device_memory.amount;
    return (uint64_t)((double)awq_memory_share(neighbours) * options->device_memory.amount / 100);
}

/* What the tokens of a job take. */
typedef struct token_counts {
    int64_t length, rows, all, checked; /* tokens: of a sequence, a tile, all tiles, a check */
} token_counts;

static token_counts count_tokens(const awq_options *options, const awq_tokens *tokens)
{
    int64_t sequences = awq_job_tile_sequences(options, tokens), length = tokens->length;
    return (token_counts){length, sequences * length, tokens->sequences * length,
                          awq_fold_check_sequences(sequences, length) * length};
}

/* A stage of a quantization (docs/design.md 3.4), at its peak: its first layer is quantized, the
 * others wait. Packing that layer takes less than its weights and statistics, which are gone. */
static void quantize_needs(const awq_options *options, const awq_model *model,
                           const token_counts *tokens, size_t compute_bytes, awq_hello *hello)
{
    awq_grid grid = {
        .bits = (int)options->bits, .group_size = options->group_size, .zero_point = true};
    hello->layer_bytes = awq_decoder_bytes(model, compute_bytes) + awq_statistics_bytes(model) +
                         hidden_bytes(model, tokens->checked);
    hello->fixed_bytes = awq_scratch_bytes(model, tokens->rows, tokens->length, compute_bytes) +
                         awq_quantize_bytes(model, &grid, compute_bytes) +
                         result_bytes(model, options->group_size) +
                         hidden_bytes(model, tokens->checked) + hidden_bytes(model, tokens->rows);
}

static void eval_needs(const awq_model *model, const token_counts *tokens, size_t compute_bytes,
                       int models, awq_hello *hello)
{
    uint64_t count = (uint64_t)models;
    hello->layer_bytes = count * awq_decoder_bytes(model, compute_bytes);
    hello->fixed_bytes = awq_scratch_bytes(model, tokens->rows, tokens->length, compute_bytes) +
                         count * awq_head_bytes(model, compute_bytes) +
                         count * hidden_bytes(model, tokens->rows);
}

/* With several stages: the boundary of the next one, all of it at worst, and a tile on its way. */
static uint64_t boundary_bytes(const awq_model *model, const token_counts *tokens)
{
    return hidden_bytes(model, tokens->all + tokens->rows);
}

/* Whether one worker holds all layers at once: then nothing is sent. */
static bool is_one_stage(const awq_options *options, const awq_model *model, int workers,
                         const awq_hello *hello)
{
    uint64_t whole = hello->fixed_bytes + (uint64_t)model->layers * hello->layer_bytes;
    return workers == 1 && whole <= hello->budget_bytes &&
           (!options->stage_layers || options->stage_layers >= model->layers);
}

/* hello->budget_bytes and threads are set. */
static void needs(const awq_options *options, const awq_model *model, const awq_tokens *tokens,
                  int models, int workers, size_t compute_bytes, awq_hello *hello)
{
    token_counts sizes = count_tokens(options, tokens);
    if (models)
        eval_needs(model, &sizes, compute_bytes, models, hello);
    else
        quantize_needs(options, model, &sizes, compute_bytes, hello);
    hello->fixed_bytes += PROCESS_BYTES + (uint64_t)hello->threads * THREAD_BYTES;
    if (!is_one_stage(options, model, workers, hello))
        hello->fixed_bytes += (models ? (uint64_t)models : 1) * boundary_bytes(model, &sizes);
}

awq_status awq_worker_needs(const awq_options *options, const awq_checkpoint *checkpoint,
                            const awq_tokens *tokens, awq_hello *out, awq_error *err)
{
    const awq_backend *backend = awq_backend_find(options->backend);
    if (!backend)
        return awq_fail(err, AWQ_ERR_USAGE, "backend '%s' is not in this build; it has cpu",
                        options->backend);
    *out = (awq_hello){.threads = options->threads ? options->threads : awq_cores_allowed()};
    snprintf(out->backend, sizeof out->backend, "%s", backend->name);
    out->budget_bytes = budget_bytes(options, 1);
    needs(options, awq_checkpoint_model(checkpoint), tokens, 0, (int)options->workers,
          backend->compute_bytes, out);
    return AWQ_OK;
}

static void say_hello(awq_worker *worker, int neighbours)
{
    int workers = awq_mail_size(worker->mail); /* and the coordinator, unless it is one rank */
    awq_hello hello = {.pid = getpid(), .threads = worker->device->threads};
    gethostname(hello.host, sizeof hello.host - 1);
    snprintf(hello.device, sizeof hello.device, "%s", worker->device->name);
    snprintf(hello.backend, sizeof hello.backend, "%s", worker->device->backend->name);
    hello.budget_bytes = budget_bytes(&worker->job.options, neighbours);
    needs(&worker->job.options, awq_checkpoint_model(worker->checkpoint[0]), &worker->tokens,
          worker->models, workers > 1 ? workers - 1 : 1, worker->device->backend->compute_bytes,
          &hello);
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
    awq_neighbours neighbours = awq_mail_neighbours(worker->mail);
    if (awq_job_from_text((const char *)letter->payload, letter->bytes, &worker->job, err))
        return err->status;
    worker->ready = true;
    awq_log_init(awq_mail_rank(worker->mail), worker->job.options.quiet     ? AWQ_LOG_QUIET
                                              : worker->job.options.verbose ? AWQ_LOG_VERBOSE
                                                                            : AWQ_LOG_INFO);
    if (open_inputs(worker, err) ||
        open_device(&worker->job.options, neighbours, &worker->device, err))
        return err->status;
    if (!worker->job.options.threads) warn_of_binding(worker->device, neighbours);
    say_hello(worker, neighbours.workers);
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
