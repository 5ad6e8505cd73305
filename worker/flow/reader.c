/* SPDX-License-Identifier: MIT */
#include "worker/flow/reader.h"

#include <stdlib.h>

#include "io/core/clock.h"
#include "layers/forward/tensor_load.h"

/* What there is to read: a layer of a model; or layer ENDS, what passes through no layer. */
enum { ENDS = -1 };

typedef struct wanted {
    int model;
    int64_t layer;
    awq_layer_part part;
    bool embedding, head; /* of ENDS: what is looked at */
} wanted;

struct awq_reader {
    awq_worker *worker;
    awq_device *device; /* its own handle */
    wanted *order;      /* [count] */
    int64_t count;
    int64_t most;     /* layers that a stage holds */
    awq_lane *layers; /* awq_read by model and layer; done when a layer is given back */
    awq_lane *ends;   /* nothing but that they are in order */
    pthread_t thread;
    bool started;
};

/* ---- what is read, in which order ---- */

/* Of models that score the head is looked at when it is loaded. */
static awq_status make_order(awq_reader *reader, const awq_stage *stages, int64_t count,
                             awq_error *err)
{
    const awq_worker *worker = reader->worker;
    int models = worker->told.models;
    int64_t layers = awq_worker_model(worker, 0)->layers, most = 1;
    for (int64_t i = 0; i < count; i++) most += models * stages[i].count + 1;
    reader->order = calloc((size_t)most, sizeof *reader->order);
    if (!reader->order)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to read %lld layers", (long long)most);
    for (const awq_stage *stage = stages; stage < stages + count; stage++) {
        if (stage->worker != awq_worker_number(worker) - 1) continue;
        for (int m = 0; m < models; m++)
            for (int64_t i = 0; i < stage->count; i++)
                reader->order[reader->count++] =
                    (wanted){.model = m, .layer = stage->first + i, .part = stage->part};
        wanted ends = {.layer = ENDS,
                       .embedding = !stage->first && !stage->part.index,
                       .head = stage->first + stage->count == layers &&
                               awq_layer_part_is_last(stage->part) && !worker->purpose->scores};
        if (ends.embedding || ends.head) reader->order[reader->count++] = ends;
        if (models * stage->count > reader->most) reader->most = models * stage->count;
    }
    return AWQ_OK;
}

/* ---- the thread ---- */

/* The lane has room for a stage; the thread waits with one layer more in its hands. */
static awq_status read_layer(awq_reader *reader, const wanted *what, awq_error *err)
{
    awq_read read = {.begin = awq_clock_wall_seconds()};
    if (awq_decoder_load(reader->device, reader->worker->has.checkpoint[what->model], what->layer,
                         what->part, &read.decoder, err))
        return awq_error_wrap(err, "layer %lld", (long long)what->layer);
    read.end = awq_clock_wall_seconds();
    if (!awq_lane_put(reader->layers, what->model, what->layer, &read, err)) return AWQ_OK;
    awq_decoder_release(reader->device, &read.decoder);
    return err->status;
}

static bool is_in_front(awq_end end)
{
    return end == AWQ_EMBEDDING || end >= AWQ_INPUTS_TABLE;
}

static awq_status check_ends(const awq_reader *reader, const wanted *what, awq_error *err)
{
    for (int m = 0; m < reader->worker->told.models; m++) {
        const awq_checkpoint *checkpoint = reader->worker->has.checkpoint[m];
        const awq_model *model = awq_checkpoint_model(checkpoint);
        for (awq_end end = 0; end < AWQ_ENDS; end++)
            if ((is_in_front(end) ? what->embedding : what->head) && awq_model_stores(model, end) &&
                awq_tensor_check_finite(awq_checkpoint_end(checkpoint, end), err))
                return err->status;
    }
    return awq_lane_put(reader->ends, 0, 0, NULL, err);
}

static void *read_all(void *argument)
{
    awq_reader *reader = argument;
    awq_status status = AWQ_OK;
    awq_error err;
    for (int64_t i = 0; !status && i < reader->count; i++) {
        const wanted *what = &reader->order[i];
        status =
            what->layer == ENDS ? check_ends(reader, what, &err) : read_layer(reader, what, &err);
    }
    if (!status) awq_fail(&err, AWQ_ERR_INTERNAL, "a layer is taken that was not to be read");
    awq_lane_fail(reader->layers, &err);
    awq_lane_fail(reader->ends, &err);
    return NULL;
}

/* ---- for the compute thread ---- */

awq_status awq_reader_take(awq_reader *reader, int model, int64_t layer, awq_read *out,
                           awq_error *err)
{
    return awq_lane_take_numbered(reader->layers, model, layer, out, err);
}

awq_status awq_reader_check_ends(awq_reader *reader, awq_error *err)
{
    return awq_lane_take(reader->ends, NULL, err);
}

void awq_reader_give_back(awq_reader *reader, awq_decoder *decoder)
{
    if (!decoder->arena) return;
    awq_decoder_release(reader->worker->has.device, decoder);
    awq_lane_done(reader->layers);
}

/* ---- beginning and end ---- */

static awq_status open_reader(awq_reader *reader, awq_error *err)
{
    awq_worker *worker = reader->worker;
    awq_device_options options = worker->has.device_options;
    options.threads = 1;
    options.reads_only = true;
    reader->layers =
        awq_lane_create(worker->lanes, AWQ_UNTIL_DRAIN, (size_t)reader->most, sizeof(awq_read));
    reader->ends = awq_lane_create(worker->lanes, AWQ_UNTIL_DRAIN, 0, 0);
    if (!reader->layers || !reader->ends)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a reader");
    if (worker->has.device->backend->open(&options, &reader->device, err)) return err->status;
    reader->started = !pthread_create(&reader->thread, NULL, read_all, reader);
    if (reader->started) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INTERNAL, "cannot start the reader's thread");
}

awq_status awq_reader_start(awq_worker *worker, const awq_stage *stages, int64_t count,
                            awq_reader **out, awq_error *err)
{
    awq_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a reader");
    reader->worker = worker;
    if (make_order(reader, stages, count, err) || open_reader(reader, err)) {
        awq_reader_free(reader);
        return err->status;
    }
    *out = reader;
    return AWQ_OK;
}

void awq_reader_free(awq_reader *reader)
{
    awq_read read;
    if (!reader) return;
    if (reader->started) {
        awq_lane_end(reader->layers); /* it may have a layer in its hands */
        pthread_join(reader->thread, NULL);
    }
    while (awq_lane_drain(reader->layers, &read))
        awq_decoder_release(reader->device, &read.decoder);
    if (reader->device) reader->device->backend->close(reader->device);
    awq_lane_free(reader->layers);
    awq_lane_free(reader->ends);
    free(reader->order);
    free(reader);
}
