/* SPDX-License-Identifier: MIT */
#include "worker/flow/hidden.h"

#include <stdlib.h>

#include "jobs/run/run_directory.h"
#include "layers/forward/head.h"
#include "worker/flow/port.h"

/* Unsent tiles that a stage may leave behind it before it waits. */
enum { MAX_UNSENT = 4 };

awq_status awq_source_open(awq_worker *worker, const awq_stage *stage, awq_source *out,
                           awq_error *err)
{
    const awq_told *told = &worker->told;
    char path[AWQ_PATH_BYTES];
    awq_boundary_shape shape = awq_tile_boundary(told, stage->first);
    *out = (awq_source){.worker = worker, .input = stage->input};
    if (stage->input != AWQ_INPUT_BOUNDARY) return AWQ_OK;
    out->staging = malloc(awq_tile_of(told, 0, 0).bytes);
    if (!out->staging)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to read a boundary; lower --tile-tokens");
    if (awq_run_boundary_path(path, told->job.run_directory, stage->first, err)) return err->status;
    return awq_boundary_open(path, &shape, told->fingerprint, &out->boundary, err);
}

void awq_source_close(awq_source *source)
{
    awq_boundary_close(source->boundary);
    free(source->staging);
}

static awq_status receive(awq_worker *worker, const awq_tile *tile, float *const *hidden,
                          awq_error *err)
{
    awq_device *device = worker->has.device;
    awq_letter *letter;
    bool taken = false;
    if (awq_lane_take_numbered(worker->inbox.tiles, tile->layer, tile->number, &letter, err))
        return err->status;
    awq_status status = AWQ_OK;
    if (letter->bytes != tile->all_bytes)
        status =
            awq_fail(err, AWQ_ERR_INTERNAL, "tile %lld has %llu bytes, not %zu",
                     (long long)tile->number, (unsigned long long)letter->bytes, tile->all_bytes);
    if (!status && worker->helpers.inlet)
        status = awq_inlet_take(worker->helpers.inlet, tile, hidden, &taken, err);
    for (int m = 0; !status && !taken && m < worker->told.models; m++)
        device->backend->upload(device, hidden[m], letter->payload + (size_t)m * tile->bytes,
                                tile->bytes);
    if (!status) status = device->backend->sync(device, err);
    awq_letter_free(letter);
    return status;
}

awq_status awq_source_read(awq_source *source, const awq_tile *tile, float *const *hidden,
                           awq_error *err)
{
    awq_worker *worker = source->worker;
    awq_device *device = worker->has.device;
    switch (source->input) {
    case AWQ_INPUT_EMBEDDING:
        for (int m = 0; m < worker->told.models; m++)
            if (awq_embed(device, worker->has.checkpoint[m], worker->told.tokens.ids + tile->row,
                          tile->rows, hidden[m], err))
                return err->status;
        return AWQ_OK;
    case AWQ_INPUT_STAGE:
        return receive(worker, tile, hidden, err);
    default:
        if (awq_boundary_read(source->boundary, tile->number, source->staging, err))
            return err->status;
        device->backend->upload(device, hidden[0], source->staging, tile->bytes);
        return device->backend->sync(device, err);
    }
}

awq_status awq_hidden_send(awq_worker *worker, const awq_stage *next, const awq_tile *tile,
                           float *const *hidden, awq_error *err)
{
    awq_device *device = worker->has.device;
    awq_tile sent = *tile;
    sent.layer = next->first;
    if (worker->helpers.outlet) return awq_outlet_put(worker->helpers.outlet, &sent, hidden, err);
    awq_letter *letter =
        awq_letter_create(AWQ_LETTER_TILE, sent.layer, sent.number, sent.all_bytes);
    if (!letter)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to send a tile; lower --tile-tokens");
    for (int m = 0; m < worker->told.models; m++) {
        if (device->backend->download(device, letter->payload + (size_t)m * sent.bytes, hidden[m],
                                      sent.bytes, err)) {
            awq_letter_free(letter);
            return err->status;
        }
    }
    awq_mail_wait_below(worker->mail, MAX_UNSENT);
    awq_mail_post(worker->mail, awq_mail_size(worker->mail) == 1 ? 0 : next->worker + 1, letter);
    return AWQ_OK;
}
