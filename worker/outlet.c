/* SPDX-License-Identifier: MIT */
#include "worker/outlet.h"

#include <stdlib.h>

#include "worker/hidden.h"
#include "worker/port.h"

/* A slot's tile. */
typedef struct outgoing {
    int64_t layer, tile;
} outgoing;

struct awq_outlet {
    awq_port port;
    int64_t expected; /* tiles that this worker's stages send */

    /* under the port's mutex */
    outgoing slots[AWQ_PORT_SLOTS];
    int64_t put, sent; /* tiles so far; slots are used in turn */
    bool failed;
};

/* ---- the thread ---- */

static awq_status wait_for_tile(awq_outlet *outlet, awq_error *err)
{
    awq_port *port = &outlet->port;
    awq_status status = AWQ_OK;
    pthread_mutex_lock(&port->mutex);
    while (outlet->put == outlet->sent && !(status = awq_worker_check(port->worker, err)))
        awq_worker_wait(&port->changed, &port->mutex);
    pthread_mutex_unlock(&port->mutex);
    return status;
}

static awq_status send_next(awq_outlet *outlet, awq_error *err)
{
    awq_port *port = &outlet->port;
    int slot = (int)(outlet->sent % AWQ_PORT_SLOTS);
    outgoing tile = outlet->slots[slot];
    awq_mail_post(port->worker->mail, port->other + 1,
                  awq_letter_create(AWQ_LETTER_TILE, tile.layer, tile.tile, 0));
    if (awq_port_send(port, slot, tile.tile, err))
        return awq_error_wrap(err, "tile %lld of layer %lld", (long long)tile.tile,
                              (long long)tile.layer);
    pthread_mutex_lock(&port->mutex);
    outlet->sent++;
    pthread_cond_broadcast(&port->changed);
    pthread_mutex_unlock(&port->mutex);
    return AWQ_OK;
}

static awq_status send_all(awq_outlet *outlet, awq_error *err)
{
    awq_letter *letter = awq_queue_take(outlet->port.worker->link_ids);
    if (!letter) return AWQ_OK;
    awq_status status = awq_port_connect(
        &outlet->port, (const awq_link_id *)(const void *)letter->payload, AWQ_LINK_SENDS, err);
    awq_letter_free(letter);
    for (int64_t i = 0; !status && i < outlet->expected; i++)
        status = wait_for_tile(outlet, err) ? err->status : send_next(outlet, err);
    if (!status) awq_port_disconnect(&outlet->port);
    return status;
}

static void *run(void *argument)
{
    awq_outlet *outlet = argument;
    awq_error err;
    if (!send_all(outlet, &err)) return NULL;
    pthread_mutex_lock(&outlet->port.mutex);
    outlet->failed = true;
    pthread_cond_broadcast(&outlet->port.changed);
    pthread_mutex_unlock(&outlet->port.mutex);
    awq_port_fail(&outlet->port, &err);
    return NULL;
}

/* ---- for the compute thread ---- */

awq_status awq_outlet_start(awq_worker *worker, const awq_stage *stages, int64_t count,
                            awq_outlet **out, awq_error *err)
{
    int64_t expected;
    int other = awq_port_other(worker, AWQ_LINK_SENDS, stages, count, &expected);
    *out = NULL;
    if (other < 0) return AWQ_OK;
    awq_outlet *outlet = calloc(1, sizeof *outlet);
    if (!outlet) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to send tiles");
    awq_status status = awq_port_open(worker, other, &outlet->port, err);
    outlet->expected = expected;
    if (!status) status = awq_port_start(&outlet->port, run, outlet, err);
    if (status) {
        awq_port_close(&outlet->port);
        free(outlet);
        return status;
    }
    *out = outlet;
    return AWQ_OK;
}

static awq_status wait_for_slot(awq_outlet *outlet, awq_error *err)
{
    awq_port *port = &outlet->port;
    awq_status status = AWQ_OK;
    pthread_mutex_lock(&port->mutex);
    while (!(status = awq_worker_check(port->worker, err)) && !outlet->failed &&
           outlet->put - outlet->sent == AWQ_PORT_SLOTS)
        awq_worker_wait(&port->changed, &port->mutex);
    if (!status && outlet->failed) /* the thread has said why */
        status = awq_fail(err, AWQ_ERR_INTERRUPTED, "tiles cannot be sent");
    pthread_mutex_unlock(&port->mutex);
    return status;
}

awq_status awq_outlet_put(awq_outlet *outlet, int64_t layer, int64_t tile, float *const *hidden,
                          awq_error *err)
{
    awq_worker *worker = outlet->port.worker;
    const awq_backend *backend = worker->device->backend;
    int slot = (int)(outlet->put % AWQ_PORT_SLOTS), models = awq_worker_models(worker);
    size_t count = awq_hidden_count(worker, tile);
    if (wait_for_slot(outlet, err)) return err->status;
    for (int m = 0; m < models; m++)
        backend->copy(worker->device, outlet->port.slots[slot] + (size_t)m * count, hidden[m],
                      count * sizeof(float));
    if (backend->sync(worker->device, err)) return err->status;
    pthread_mutex_lock(&outlet->port.mutex);
    outlet->slots[slot] = (outgoing){layer, tile};
    outlet->put++;
    pthread_cond_broadcast(&outlet->port.changed);
    pthread_mutex_unlock(&outlet->port.mutex);
    return AWQ_OK;
}

void awq_outlet_free(awq_outlet *outlet)
{
    if (!outlet) return;
    pthread_join(outlet->port.thread, NULL);
    awq_port_close(&outlet->port);
    free(outlet);
}
