/* SPDX-License-Identifier: MIT */
#include "worker/reader.h"

#include <stdlib.h>

#include "io/core/clock.h"
#include "layers/forward/tensor_load.h"
#include "worker/state.h"

/* What there is to read: a layer of a model; or layer ENDS, what passes through no layer. */
enum { ENDS = -1 };

typedef struct wanted {
    int model;
    int64_t layer;
    bool embedding, head; /* of ENDS: what is looked at */
} wanted;

struct awq_reader {
    awq_worker *worker;
    awq_device *device; /* its own handle */
    wanted *order;      /* [count] */
    awq_read *layers;   /* [count]: what became of them */
    int64_t count;
    pthread_t thread;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    int64_t read, taken; /* of the order */
    int64_t room;        /* layers that may still be read */
    bool stop;
    awq_error err; /* status AWQ_OK: none */
};

/* ---- what is read, in which order ---- */

/* Of eval's models the head is looked at when it is loaded. */
static void add_stage(awq_reader *reader, const awq_stage *stage, int64_t layers)
{
    int models = awq_worker_models(reader->worker);
    wanted ends = {.layer = ENDS,
                   .embedding = !stage->first,
                   .head = !reader->worker->models && stage->first + stage->count == layers};
    for (int m = 0; m < models; m++)
        for (int64_t i = 0; i < stage->count; i++)
            reader->order[reader->count++] = (wanted){.model = m, .layer = stage->first + i};
    if (ends.embedding || ends.head) reader->order[reader->count++] = ends;
    if (models * stage->count + 1 > reader->room) reader->room = models * stage->count + 1;
}

static awq_status make_order(awq_reader *reader, const awq_stage *stages, int64_t count,
                             awq_error *err)
{
    int self = awq_worker_number(reader->worker) - 1;
    int64_t layers = awq_checkpoint_model(reader->worker->checkpoint[0])->layers, most = 0;
    for (int64_t i = 0; i < count; i++)
        most += stages[i].count * awq_worker_models(reader->worker) + 1;
    reader->order = calloc((size_t)most + 1, sizeof *reader->order);
    reader->layers = calloc((size_t)most + 1, sizeof *reader->layers);
    if (!reader->order || !reader->layers)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to read %lld layers", (long long)most);
    for (int64_t i = 0; i < count; i++)
        if (stages[i].worker == self) add_stage(reader, &stages[i], layers);
    return AWQ_OK;
}

/* ---- the thread ---- */

/* Waits until there is room for another layer; false: told to stop. */
static bool wait_for_room(awq_reader *reader)
{
    pthread_mutex_lock(&reader->mutex);
    while (!reader->room && !reader->stop) pthread_cond_wait(&reader->changed, &reader->mutex);
    bool stop = reader->stop;
    reader->room -= !stop;
    pthread_mutex_unlock(&reader->mutex);
    return !stop;
}

static awq_status read_layer(awq_reader *reader, const wanted *what, awq_read *out, awq_error *err)
{
    out->begin = awq_clock_wall_seconds();
    awq_status status = awq_decoder_load(reader->device, reader->worker->checkpoint[what->model],
                                         what->layer, &out->decoder, err);
    out->end = awq_clock_wall_seconds();
    return status ? awq_error_wrap(err, "layer %lld", (long long)what->layer) : AWQ_OK;
}

static awq_status check_ends(const awq_reader *reader, const wanted *what, awq_error *err)
{
    for (int m = 0; m < awq_worker_models(reader->worker); m++) {
        const awq_checkpoint *checkpoint = reader->worker->checkpoint[m];
        if (what->embedding &&
            awq_tensor_check_finite(awq_checkpoint_find(checkpoint, AWQ_EMBEDDING_NAME), err))
            return err->status;
        if (!what->head) continue;
        if (awq_tensor_check_finite(awq_checkpoint_find(checkpoint, AWQ_FINAL_NORM_NAME), err))
            return err->status;
        if (!awq_checkpoint_model(checkpoint)->tied &&
            awq_tensor_check_finite(awq_checkpoint_head(checkpoint), err))
            return err->status;
    }
    return AWQ_OK;
}

static void tell(awq_reader *reader, awq_status status, const awq_error *err)
{
    pthread_mutex_lock(&reader->mutex);
    if (status)
        reader->err = *err;
    else
        reader->read++;
    pthread_cond_broadcast(&reader->changed);
    pthread_mutex_unlock(&reader->mutex);
}

static void *read_all(void *argument)
{
    awq_reader *reader = argument;
    awq_status status = AWQ_OK;
    for (int64_t i = 0; !status && i < reader->count; i++) {
        const wanted *what = &reader->order[i];
        awq_error err;
        if (what->layer == ENDS)
            status = check_ends(reader, what, &err);
        else if (wait_for_room(reader))
            status = read_layer(reader, what, &reader->layers[i], &err);
        else
            break;
        tell(reader, status, &err);
    }
    return NULL;
}

/* ---- for the compute thread ---- */

/* Until the first `count` of the order are read. */
static awq_status wait_for(awq_reader *reader, int64_t count, awq_error *err)
{
    awq_status status = AWQ_OK;
    pthread_mutex_lock(&reader->mutex);
    while (!status && reader->read < count) {
        if (reader->err.status) {
            *err = reader->err;
            status = err->status;
        } else if (!awq_worker_check(reader->worker, err)) {
            awq_worker_wait(&reader->changed, &reader->mutex);
        } else {
            status = err->status;
        }
    }
    pthread_mutex_unlock(&reader->mutex);
    return status;
}

awq_status awq_reader_take(awq_reader *reader, int64_t layer, awq_read *out, awq_error *err)
{
    int64_t index = reader->taken;
    if (index >= reader->count || reader->order[index].layer != layer)
        return awq_fail(err, AWQ_ERR_INTERNAL, "layer %lld is not the next one to be read",
                        (long long)layer);
    if (wait_for(reader, index + 1, err)) return err->status;
    *out = reader->layers[index];
    reader->taken++;
    return AWQ_OK;
}

awq_status awq_reader_check_ends(awq_reader *reader, awq_error *err)
{
    awq_read nothing;
    return awq_reader_take(reader, ENDS, &nothing, err);
}

void awq_reader_give_back(awq_reader *reader, awq_decoder *decoder)
{
    if (!decoder->arena) return;
    awq_decoder_release(reader->worker->device, decoder);
    pthread_mutex_lock(&reader->mutex);
    reader->room++;
    pthread_cond_broadcast(&reader->changed);
    pthread_mutex_unlock(&reader->mutex);
}

/* ---- beginning and end ---- */

static void release(awq_reader *reader)
{
    for (int64_t i = reader->taken; i < reader->read; i++)
        awq_decoder_release(reader->device, &reader->layers[i].decoder);
    if (reader->device) reader->device->backend->close(reader->device);
    pthread_cond_destroy(&reader->changed);
    pthread_mutex_destroy(&reader->mutex);
    free(reader->order);
    free(reader->layers);
    free(reader);
}

awq_status awq_reader_start(awq_worker *worker, const awq_stage *stages, int64_t count,
                            awq_reader **out, awq_error *err)
{
    awq_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a reader");
    reader->worker = worker;
    pthread_mutex_init(&reader->mutex, NULL);
    pthread_cond_init(&reader->changed, NULL);
    awq_status status = make_order(reader, stages, count, err);
    awq_device_options options = worker->device_options;
    options.threads = 1;
    options.reads_only = true;
    if (!status) status = worker->device->backend->open(&options, &reader->device, err);
    if (!status && pthread_create(&reader->thread, NULL, read_all, reader))
        status = awq_fail(err, AWQ_ERR_INTERNAL, "cannot start the reader's thread");
    if (status) {
        release(reader);
        return status;
    }
    *out = reader;
    return AWQ_OK;
}

void awq_reader_free(awq_reader *reader)
{
    if (!reader) return;
    pthread_mutex_lock(&reader->mutex);
    reader->stop = true;
    pthread_cond_broadcast(&reader->changed);
    pthread_mutex_unlock(&reader->mutex);
    pthread_join(reader->thread, NULL);
    release(reader);
}
