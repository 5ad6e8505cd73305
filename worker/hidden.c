/* SPDX-License-Identifier: MIT */
#include "worker/hidden.h"

#include <stdlib.h>

#include "jobs/run/run_directory.h"
#include "layers/forward/head.h"

/* Unsent tiles that a stage may leave behind it before it waits. */
enum { MAX_UNSENT = 4 };

static awq_status open_boundary(awq_source *source, awq_error *err)
{
    awq_worker *worker = source->worker;
    char path[AWQ_PATH_BYTES];
    awq_boundary_shape shape = {.layer = source->stage->first,
                                .sequences = worker->tokens.sequences,
                                .tile_sequences = worker->tile_sequences,
                                .length = worker->tokens.length,
                                .hidden = awq_checkpoint_model(worker->checkpoint[0])->residual};
    source->staging = malloc(awq_hidden_count(worker, 0) * sizeof *source->staging);
    if (!source->staging)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to read a boundary; lower --tile-tokens");
    if (awq_run_boundary_path(path, worker->job.run_directory, shape.layer, err))
        return err->status;
    return awq_boundary_open(path, &shape, worker->fingerprint, &source->boundary, err);
}

awq_status awq_source_open(awq_worker *worker, const awq_stage *stage, awq_source *out,
                           awq_error *err)
{
    awq_source source = {.worker = worker, .stage = stage};
    if (stage->input == AWQ_INPUT_BOUNDARY && open_boundary(&source, err)) {
        awq_source_close(&source);
        return err->status;
    }
    *out = source;
    return AWQ_OK;
}

void awq_source_close(awq_source *source)
{
    awq_boundary_close(source->boundary);
    free(source->staging);
    *source = (awq_source){0};
}

static awq_status embed(awq_source *source, int64_t tile, float *const *hidden, awq_error *err)
{
    awq_worker *worker = source->worker;
    int64_t row = tile * worker->tile_sequences * worker->tokens.length;
    int64_t rows = awq_worker_tile_sequences(worker, tile) * worker->tokens.length;
    for (int i = 0; i < awq_worker_models(worker); i++)
        if (awq_embed(worker->device, worker->checkpoint[i], worker->tokens.ids + row, rows,
                      hidden[i], err))
            return err->status;
    return AWQ_OK;
}

static awq_status receive(awq_source *source, int64_t tile, float *const *hidden, awq_error *err)
{
    awq_worker *worker = source->worker;
    const awq_backend *backend = worker->device->backend;
    size_t bytes = awq_hidden_count(worker, tile) * sizeof(float);
    awq_letter *letter = awq_queue_take_numbered(worker->tiles, source->stage->first, tile);
    if (!letter) return awq_fail(err, AWQ_ERR_INTERRUPTED, "told to stop");
    awq_status status = AWQ_OK;
    bool taken = false;
    if (letter->bytes != bytes * (size_t)awq_worker_models(worker))
        status = awq_fail(err, AWQ_ERR_INTERNAL, "tile %lld has %llu bytes, not %zu",
                          (long long)tile, (unsigned long long)letter->bytes, bytes);
    if (!status && worker->inlet)
        status = awq_inlet_take(worker->inlet, letter, hidden, &taken, err);
    for (int i = 0; !status && !taken && i < awq_worker_models(worker); i++)
        backend->upload(worker->device, hidden[i], letter->payload + (size_t)i * bytes, bytes);
    if (!status) status = backend->sync(worker->device, err);
    awq_letter_free(letter);
    return status;
}

awq_status awq_source_read(awq_source *source, int64_t tile, float *const *hidden, awq_error *err)
{
    awq_worker *worker = source->worker;
    const awq_backend *backend = worker->device->backend;
    switch (source->stage->input) {
    case AWQ_INPUT_EMBEDDING:
        return embed(source, tile, hidden, err);
    case AWQ_INPUT_STAGE:
        return receive(source, tile, hidden, err);
    default:
        if (awq_boundary_read(source->boundary, tile, source->staging, err)) return err->status;
        backend->upload(worker->device, hidden[0], source->staging,
                        awq_hidden_count(worker, tile) * sizeof(float));
        return backend->sync(worker->device, err);
    }
}

awq_status awq_hidden_send(awq_worker *worker, const awq_stage *stage, int64_t tile,
                           float *const *hidden, awq_error *err)
{
    const awq_backend *backend = worker->device->backend;
    size_t bytes = awq_hidden_count(worker, tile) * sizeof(float);
    int models = awq_worker_models(worker);
    if (worker->outlet) return awq_outlet_put(worker->outlet, stage->first, tile, hidden, err);
    awq_letter *letter =
        awq_letter_create(AWQ_LETTER_TILE, stage->first, tile, bytes * (size_t)models);
    if (!letter)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to send a tile; lower --tile-tokens");
    for (int i = 0; i < models; i++) {
        if (backend->download(worker->device, letter->payload + (size_t)i * bytes, hidden[i], bytes,
                              err)) {
            awq_letter_free(letter);
            return err->status;
        }
    }
    int to = awq_mail_size(worker->mail) == 1 ? 0 : stage->worker + 1;
    awq_mail_wait_below(worker->mail, MAX_UNSENT);
    awq_mail_post(worker->mail, to, letter);
    return AWQ_OK;
}
