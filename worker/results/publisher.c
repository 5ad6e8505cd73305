/* SPDX-License-Identifier: MIT */
#include "worker/results/publisher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/core/clock.h"
#include "io/core/fault.h"
#include "io/records/parcel.h"
#include "jobs/run/run_directory.h"
#include "worker/results/packed_layer.h"
#include "worker/results/when.h"

struct awq_publisher {
    awq_worker *worker;
    awq_lane *layers; /* one at a time; done when it is durable */
    pthread_t thread;
};

typedef struct quantized {
    awq_quantized_layer layer;
    int to; /* the rank of the last part's worker */
} quantized;

/* ---- the thread ---- */

static awq_status write_tensors(const char *path, const awq_packed_layer *packed,
                                awq_layer_record *record, awq_error *err)
{
    awq_safetensors_writer *writer;
    if (awq_safetensors_create(path, packed->tensor, packed->count, &writer, err))
        return err->status;
    awq_status status = AWQ_OK;
    for (size_t i = 0; !status && i < packed->count; i++)
        status = awq_safetensors_append(writer, packed->data[i], packed->tensor[i].bytes, err);
    if (!status)
        status = awq_safetensors_commit(writer, &record->tensors_crc, &record->tensors_bytes, err);
    awq_safetensors_writer_free(writer);
    return status;
}

static awq_status pack(const awq_worker *worker, const awq_quantized_layer *layer,
                       awq_packed_layer *packed, awq_error *err)
{
    awq_quantization quantization = awq_recipe_quantization(&worker->told.job.options.recipe,
                                                            awq_worker_model(worker, 0)->dtype);
    /* the CPU backend's threads search the next layer meanwhile; beside a GPU they have nothing to
     * do */
    int threads = worker->has.device->threads ? 1 : worker->has.device_options.threads;
    return awq_pack_layer(worker->has.checkpoint[0], &quantization, layer, threads, packed, err);
}

/* What the other parts have sent to the last one: waits for it, part by part. */
static awq_status take_parts(const awq_worker *worker, awq_quantized_layer *layer,
                             awq_packed_layer *packed, awq_error *err)
{
    awq_layer_record *record = &layer->record;
    const awq_layer_spec *spec = awq_model_layer(awq_worker_model(worker, 0), record->layer);
    awq_status status = AWQ_OK;
    for (awq_layer_part part = {0, layer->part.count}; !status && part.index < layer->part.index;
         part.index++) {
        awq_letter *letter;
        uint64_t used;
        if (awq_lane_take_numbered(worker->inbox.packed, record->layer, part.index, &letter, err))
            return err->status;
        status =
            awq_record_parcel_read(record, spec, part, letter->payload, letter->bytes, &used, err);
        if (!status)
            status = awq_packed_layer_fill(packed, spec, part, letter->payload + used,
                                           letter->bytes - used, err);
        awq_letter_free(letter);
    }
    return status;
}

/* A durable layer record (io/records/layer_record.h): layers/NNNNN.safetensors, then .h5. */
static awq_status write_record(const awq_worker *worker, awq_quantized_layer *layer, awq_error *err)
{
    const awq_told *told = &worker->told;
    const char *run = told->job.run_directory;
    awq_layer_record *record = &layer->record;
    char tensors[AWQ_PATH_BYTES], statistics[AWQ_PATH_BYTES];
    if (awq_run_layer_path(tensors, run, record->layer, "safetensors", err) ||
        awq_run_layer_path(statistics, run, record->layer, "h5", err))
        return err->status;
    awq_packed_layer packed;
    double start = awq_clock_seconds();
    awq_span_begin(&record->when, AWQ_SPAN_WRITE);
    awq_status status = pack(worker, layer, &packed, err);
    if (!status) status = take_parts(worker, layer, &packed, err);
    if (!status) status = write_tensors(tensors, &packed, record, err);
    record->seconds[AWQ_PHASE_WRITE] += awq_clock_seconds() - start;
    awq_span_end(&record->when, AWQ_SPAN_WRITE);
    awq_packed_layer_release(&packed);
    AWQ_FAULT_POINT("record-before-statistics");
    return status ? status : awq_layer_record_write(statistics, record, told->fingerprint, err);
}

/* A part's share of the record and the tensors, to the last part's worker. */
static awq_status send_part(const awq_worker *worker, const quantized *made, awq_error *err)
{
    const awq_quantized_layer *layer = &made->layer;
    const awq_layer_record *record = &layer->record;
    const awq_layer_spec *spec = awq_model_layer(awq_worker_model(worker, 0), record->layer);
    awq_packed_layer packed;
    awq_status status = pack(worker, layer, &packed, err);
    uint64_t head = awq_record_parcel_write(record, spec, layer->part, NULL);
    awq_letter *letter = NULL;
    if (!status)
        letter = awq_letter_create(AWQ_LETTER_PACKED, record->layer, layer->part.index,
                                   head + awq_packed_layer_copy(&packed, NULL));
    if (letter) {
        awq_record_parcel_write(record, spec, layer->part, letter->payload);
        awq_packed_layer_copy(&packed, letter->payload + head);
        awq_mail_post(worker->mail, made->to, letter);
    }
    awq_packed_layer_release(&packed);
    if (status || letter) return status;
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory to send a part of a layer");
}

/* The mean alpha of the groups of each name, as many names as there is room for. */
static void take_alphas(awq_layer_summary *summary, const awq_layer_record *record)
{
    int count[AWQ_MOST_ALPHAS] = {0};
    for (int i = 0; i < record->groups; i++) {
        const awq_group_record *group = &record->group[i];
        const char *dot = strrchr(group->name, '.'), *name = dot ? dot + 1 : group->name;
        int64_t at = 0;
        while (at < summary->groups && strcmp(summary->group[at].name, name) != 0) at++;
        if (at == AWQ_MOST_ALPHAS) continue;
        awq_group_alpha *alpha = &summary->group[at];
        if (at == summary->groups) {
            summary->groups++;
            snprintf(alpha->name, sizeof alpha->name, "%.15s", name);
        }
        if (group->candidates <= 0 || group->chosen < 0) continue;
        alpha->alpha += group->alpha[group->chosen];
        count[at]++;
    }
    for (int64_t i = 0; i < summary->groups; i++)
        summary->group[i].alpha = count[i] ? summary->group[i].alpha / count[i] : -1;
}

static awq_status publish(const awq_worker *worker, quantized *made, awq_error *err)
{
    const awq_layer_record *record = &made->layer.record;
    bool last = awq_layer_part_is_last(made->layer.part);
    if (last ? write_record(worker, &made->layer, err) : send_part(worker, made, err))
        return awq_error_wrap(err, "layer %lld", (long long)record->layer);
    if (!last) return AWQ_OK;
    awq_layer_summary summary = {.relative_error = awq_layer_record_relative_error(record),
                                 .rounding_error = awq_layer_record_rounding_error(record)};
    take_alphas(&summary, record);
    for (int phase = 0; phase < AWQ_PHASES; phase++) summary.seconds += record->seconds[phase];
    awq_worker_tell(worker, awq_letter_write(AWQ_LETTER_LAYER_DONE, record->layer, 0, &summary,
                                             sizeof summary));
    return AWQ_OK;
}

static void *run(void *argument)
{
    awq_publisher *publisher = argument;
    quantized made;
    awq_error err;
    while (!awq_lane_take(publisher->layers, &made, &err)) {
        awq_status status = publish(publisher->worker, &made, &err);
        if (status) {
            /* told to stop while it waited for other parts: not an error of its own */
            if (status != AWQ_ERR_INTERRUPTED) awq_worker_fail(publisher->worker, &err);
            awq_fail(&err, AWQ_ERR_INTERRUPTED, "the layer before cannot be written");
            awq_lane_fail(publisher->layers, &err);
        }
        awq_quantized_layer_release(&made.layer);
        awq_lane_done(publisher->layers);
    }
    return NULL;
}

/* ---- for the compute thread ---- */

awq_status awq_publisher_start(awq_worker *worker, awq_publisher **out, awq_error *err)
{
    awq_publisher *publisher = calloc(1, sizeof *publisher);
    if (!publisher) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a publisher");
    publisher->worker = worker;
    publisher->layers = awq_lane_create(worker->lanes, AWQ_UNTIL_EMPTY, 1, sizeof(quantized));
    if (!publisher->layers || pthread_create(&publisher->thread, NULL, run, publisher)) {
        awq_lane_free(publisher->layers);
        free(publisher);
        return awq_fail(err, AWQ_ERR_INTERNAL, "cannot start the publisher's thread");
    }
    *out = publisher;
    return AWQ_OK;
}

awq_status awq_publisher_put(awq_publisher *publisher, awq_quantized_layer *layer, int to,
                             awq_error *err)
{
    quantized made = {*layer, to};
    if (awq_lane_put(publisher->layers, 0, 0, &made, err)) return err->status;
    awq_quantized_layer_init(layer);
    return AWQ_OK;
}

void awq_publisher_free(awq_publisher *publisher)
{
    if (!publisher) return;
    awq_lane_end(publisher->layers);
    pthread_join(publisher->thread, NULL);
    awq_lane_free(publisher->layers);
    free(publisher);
}
