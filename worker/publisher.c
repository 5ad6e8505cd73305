/* SPDX-License-Identifier: MIT */
#include "worker/publisher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/options/skip.h"
#include "worker/record.h"
#include "worker/state.h"

struct awq_publisher {
    awq_worker *worker;
    pthread_t thread;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    awq_quantized_layer layer; /* the thread's while `busy` */
    bool busy;
    bool closing;
    bool failed;
};

/* ---- the thread ---- */

/* The entry of groups of this name, which may be new; NULL: there is no room for it. */
static awq_group_alpha *alpha_of(awq_layer_summary *summary, const char *group)
{
    const char *dot = strrchr(group, '.'), *name = dot ? dot + 1 : group;
    int64_t i = 0;
    while (i < summary->groups && strcmp(summary->group[i].name, name) != 0) i++;
    if (i == AWQ_MOST_ALPHAS) return NULL;
    if (i == summary->groups) {
        summary->groups++;
        snprintf(summary->group[i].name, sizeof summary->group[i].name, "%.15s", name);
    }
    return &summary->group[i];
}

static void take_alphas(awq_layer_summary *summary, const awq_layer_record *record)
{
    int count[AWQ_MOST_ALPHAS] = {0};
    for (int i = 0; i < record->groups; i++) {
        const awq_group_record *group = &record->group[i];
        awq_group_alpha *alpha = alpha_of(summary, group->name);
        if (!alpha || group->candidates <= 0 || group->chosen < 0) continue;
        alpha->alpha += group->alpha[group->chosen];
        count[alpha - summary->group]++;
    }
    for (int64_t i = 0; i < summary->groups; i++)
        summary->group[i].alpha = count[i] ? summary->group[i].alpha / count[i] : -1;
}

static void tell_layer_done(const awq_worker *worker, const awq_layer_record *record)
{
    awq_layer_summary summary = {
        .relative_error = awq_layer_record_relative_error(record),
        .rounding_error = awq_layer_record_rounding_error(record),
    };
    take_alphas(&summary, record);
    for (int phase = 0; phase < AWQ_PHASES; phase++) summary.seconds += record->seconds[phase];
    awq_mail_post(
        worker->mail, AWQ_COORDINATOR,
        awq_letter_write(AWQ_LETTER_LAYER_DONE, record->layer, 0, &summary, sizeof summary));
}

static awq_status publish(awq_publisher *publisher, awq_error *err)
{
    awq_worker *worker = publisher->worker;
    awq_quantized_layer *layer = &publisher->layer;
    const awq_checkpoint *checkpoint = worker->checkpoint[0];
    awq_quantization quantization = awq_recipe_quantization(
        &worker->job.options.recipe, awq_checkpoint_model(checkpoint)->dtype);
    /* the CPU backend's threads search the next layer meanwhile; beside a GPU they have nothing to
     * do */
    int threads = worker->device->threads ? 1 : worker->device_options.threads;
    if (awq_record_publish(worker->job.run_directory, worker->fingerprint, checkpoint,
                           &quantization, threads, layer, err))
        return awq_error_wrap(err, "layer %lld", (long long)layer->record.layer);
    tell_layer_done(worker, &layer->record);
    return AWQ_OK;
}

/* Waits for a layer; false: there will be none. */
static bool wait_for_layer(awq_publisher *publisher)
{
    pthread_mutex_lock(&publisher->mutex);
    while (!publisher->busy && !publisher->closing)
        pthread_cond_wait(&publisher->changed, &publisher->mutex);
    bool more = publisher->busy;
    pthread_mutex_unlock(&publisher->mutex);
    return more;
}

static void *run(void *argument)
{
    awq_publisher *publisher = argument;
    while (wait_for_layer(publisher)) {
        awq_error err;
        bool failed = publish(publisher, &err);
        if (failed) awq_worker_fail(publisher->worker, &err);
        awq_quantized_layer_release(&publisher->layer);
        pthread_mutex_lock(&publisher->mutex);
        publisher->busy = false;
        publisher->failed = publisher->failed || failed;
        pthread_cond_broadcast(&publisher->changed);
        pthread_mutex_unlock(&publisher->mutex);
    }
    return NULL;
}

/* ---- for the compute thread ---- */

awq_status awq_publisher_start(awq_worker *worker, awq_publisher **out, awq_error *err)
{
    awq_publisher *publisher = calloc(1, sizeof *publisher);
    if (!publisher) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a publisher");
    publisher->worker = worker;
    pthread_mutex_init(&publisher->mutex, NULL);
    pthread_cond_init(&publisher->changed, NULL);
    if (pthread_create(&publisher->thread, NULL, run, publisher)) {
        free(publisher);
        return awq_fail(err, AWQ_ERR_INTERNAL, "cannot start the publisher's thread");
    }
    *out = publisher;
    return AWQ_OK;
}

awq_status awq_publisher_put(awq_publisher *publisher, awq_quantized_layer *layer, awq_error *err)
{
    awq_status status = AWQ_OK;
    pthread_mutex_lock(&publisher->mutex);
    while (publisher->busy) pthread_cond_wait(&publisher->changed, &publisher->mutex);
    if (publisher->failed) {
        status = awq_fail(err, AWQ_ERR_INTERRUPTED, "the layer before cannot be written");
    } else {
        publisher->layer = *layer;
        awq_quantized_layer_init(layer);
        publisher->busy = true;
        pthread_cond_broadcast(&publisher->changed);
    }
    pthread_mutex_unlock(&publisher->mutex);
    return status;
}

void awq_publisher_free(awq_publisher *publisher)
{
    if (!publisher) return;
    pthread_mutex_lock(&publisher->mutex);
    publisher->closing = true;
    pthread_cond_broadcast(&publisher->changed);
    pthread_mutex_unlock(&publisher->mutex);
    pthread_join(publisher->thread, NULL);
    pthread_cond_destroy(&publisher->changed);
    pthread_mutex_destroy(&publisher->mutex);
    free(publisher);
}
