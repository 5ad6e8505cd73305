/* SPDX-License-Identifier: MIT */
#include "worker/flow/hidden.h"

#include <stdlib.h>

#include "jobs/run/run_directory.h"
#include "worker/flow/port.h"
#include "worker/flow/shelf.h"

/* Unsent tiles that a stage may leave behind it before it waits. */
enum { MAX_UNSENT = 4 };

static bool comes_from_a_part(const awq_stage *stage)
{
    return stage->part.index > 0;
}

static int arrays_of(const awq_worker *worker, const awq_stage *stage)
{
    enum { OF_A_PART = 2 };
    return comes_from_a_part(stage) ? OF_A_PART : worker->told.models;
}

static awq_status load_embeddings(awq_source *source, awq_error *err)
{
    const awq_worker *worker = source->worker;
    for (int m = 0; m < worker->told.models; m++)
        if (awq_embedding_load(worker->has.device, worker->has.checkpoint[m], &source->embedding[m],
                               err))
            return err->status;
    return AWQ_OK;
}

awq_status awq_source_open(awq_worker *worker, const awq_stage *stage, awq_source *out,
                           awq_error *err)
{
    const awq_told *told = &worker->told;
    char path[AWQ_PATH_BYTES];
    awq_boundary_shape shape = awq_tile_boundary(told, stage->first);
    *out =
        (awq_source){.worker = worker, .input = stage->input, .arrays = arrays_of(worker, stage)};
    out->linked = worker->helpers.inlet && !comes_from_a_part(stage);
    if (stage->input == AWQ_INPUT_EMBEDDING) return load_embeddings(out, err);
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
    for (int m = 0; m < AWQ_MODELS; m++) awq_embedding_free(source->embedding[m]);
    free(source->staging);
}

static awq_status receive(const awq_source *source, const awq_tile *tile, float *const *hidden,
                          awq_error *err)
{
    awq_worker *worker = source->worker;
    size_t expected = tile->bytes * (size_t)source->arrays;
    awq_device *device = worker->has.device;
    awq_letter *letter;
    bool taken = false;
    if (awq_lane_take_numbered(worker->inbox.tiles, tile->layer, tile->number, &letter, err))
        return err->status;
    awq_status status = AWQ_OK;
    if (!letter->loan && letter->bytes != expected)
        status = awq_fail(err, AWQ_ERR_INTERNAL, "tile %lld has %llu bytes, not %zu",
                          (long long)tile->number, (unsigned long long)letter->bytes, expected);
    if (!status && source->linked)
        status = awq_inlet_take(worker->helpers.inlet, tile, hidden, &taken, err);
    for (int m = 0; !status && !taken && m < source->arrays; m++)
        if (letter->loan)
            device->backend->copy(device, hidden[m], letter->loan->memory[m], tile->bytes);
        else
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
            if (awq_embed(source->embedding[m], worker->told.tokens.ids + tile->row, tile->rows,
                          hidden[m], err))
                return err->status;
        return AWQ_OK;
    case AWQ_INPUT_STAGE:
        return receive(source, tile, hidden, err);
    default:
        if (awq_boundary_read(source->boundary, tile->number, source->staging, err))
            return err->status;
        device->backend->upload(device, hidden[0], source->staging, tile->bytes);
        return device->backend->sync(device, err);
    }
}

/* Lends the arrays to a letter, for the stage and the keeper, and takes those of the place. */
static awq_status lend(awq_worker *worker, const awq_tile *tile, float **hidden, awq_loan *place,
                       awq_error *err)
{
    awq_device *device = worker->has.device;
    if (device->backend->sync(device, err)) return err->status;
    awq_letter *letter = awq_letter_create(AWQ_LETTER_TILE, tile->layer, tile->number, 0);
    if (!letter) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to send a tile");
    for (int m = 0; m < worker->told.models; m++) {
        float *empty = place->memory[m];
        place->memory[m] = hidden[m];
        hidden[m] = empty;
    }
    letter->loan = place;
    awq_status status = AWQ_OK;
    if (worker->purpose->keeps)
        status = awq_worker_hand(worker->inbox.to_keep, awq_letter_share(letter), err);
    if (!status) return awq_worker_hand(worker->inbox.tiles, letter, err);
    awq_letter_free(letter);
    return status;
}

awq_status awq_hidden_send(awq_worker *worker, const awq_stage *next, const awq_tile *tile,
                           float **hidden, awq_error *err)
{
    awq_device *device = worker->has.device;
    awq_tile sent = *tile;
    sent.layer = next->first;
    bool to_part = comes_from_a_part(next);
    int arrays = arrays_of(worker, next);
    bool stays = !to_part && next->worker == awq_worker_number(worker) - 1;
    awq_loan *place = stays ? awq_shelf_take(worker->has.shelf) : NULL;
    if (place) return lend(worker, &sent, hidden, place, err);
    if (worker->helpers.outlet && !to_part)
        return awq_outlet_put(worker->helpers.outlet, &sent, hidden, err);
    awq_letter *letter = awq_letter_create(to_part ? AWQ_LETTER_PART_TILE : AWQ_LETTER_TILE,
                                           sent.layer, sent.number, sent.bytes * (size_t)arrays);
    if (!letter)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to send a tile; lower --tile-tokens");
    for (int m = 0; m < arrays; m++) {
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
