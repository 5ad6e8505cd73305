/* SPDX-License-Identifier: MIT */
#include "worker/inlet.h"

#include <stdlib.h>

#include "worker/hidden.h"
#include "worker/port.h"

/* What a slot holds; layer -1: nothing. */
typedef struct incoming {
    int64_t layer, tile;
    bool in_use; /* the compute thread is copying it */
} incoming;

struct awq_inlet {
    awq_port port; /* its mutex guards the slots */
    int64_t expected;
    incoming slots[AWQ_PORT_SLOTS];
    int oldest;
};

/* ---- the thread ---- */

static int find(const awq_inlet *inlet, int64_t layer, int64_t tile)
{
    for (int i = 0; i < AWQ_PORT_SLOTS; i++)
        if (inlet->slots[i].layer == layer && inlet->slots[i].tile == tile) return i;
    return -1;
}

/* The slot that was filled first, once the compute thread is not copying it: what it holds is in
 * host memory as well. */
static int empty_slot(awq_inlet *inlet)
{
    awq_port *port = &inlet->port;
    pthread_mutex_lock(&port->mutex);
    int slot = inlet->oldest;
    inlet->oldest = (slot + 1) % AWQ_PORT_SLOTS;
    while (inlet->slots[slot].in_use) awq_worker_wait(&port->changed, &port->mutex);
    inlet->slots[slot] = (incoming){.layer = -1};
    pthread_mutex_unlock(&port->mutex);
    return slot;
}

/* Now the compute thread may take the tile, from the slot. */
static awq_status offer(awq_inlet *inlet, int slot, awq_letter *tile, awq_error *err)
{
    pthread_mutex_lock(&inlet->port.mutex);
    inlet->slots[slot] = (incoming){.layer = tile->a, .tile = tile->b};
    pthread_mutex_unlock(&inlet->port.mutex);
    if (awq_queue_put(inlet->port.worker->tiles, awq_letter_share(tile))) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a tile that arrived");
}

/* Host memory has it too, for the keeper and for a stage that comes late. */
static awq_status copy_to_host(awq_inlet *inlet, int slot, awq_letter *tile, awq_error *err)
{
    awq_worker *worker = inlet->port.worker;
    awq_device *device = inlet->port.device;
    if (device->backend->download(device, tile->payload, inlet->port.slots[slot],
                                  (size_t)tile->bytes, err))
        return err->status;
    if (worker->job.command != AWQ_COMMAND_QUANTIZE) return AWQ_OK;
    if (awq_queue_put(worker->to_keep, awq_letter_share(tile))) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a tile that arrived");
}

static awq_status receive(awq_inlet *inlet, int64_t layer, int64_t number, awq_error *err)
{
    awq_letter *tile = awq_letter_create(AWQ_LETTER_TILE, layer, number,
                                         awq_port_bytes(inlet->port.worker, number));
    if (!tile) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a tile; lower --tile-tokens");
    int slot = empty_slot(inlet);
    awq_status status = awq_port_receive(&inlet->port, slot, number, err);
    if (!status) status = offer(inlet, slot, tile, err);
    if (!status) status = copy_to_host(inlet, slot, tile, err);
    awq_letter_free(tile);
    return status
               ? awq_error_wrap(err, "tile %lld of layer %lld", (long long)number, (long long)layer)
               : AWQ_OK;
}

static awq_status receive_all(awq_inlet *inlet, awq_error *err)
{
    awq_worker *worker = inlet->port.worker;
    awq_link_id id;
    if (inlet->port.device->backend->links->make_id(&id, err)) return err->status;
    awq_mail_post(worker->mail, inlet->port.other + 1,
                  awq_letter_write(AWQ_LETTER_LINK, 0, 0, &id, sizeof id));
    awq_status status = awq_port_connect(&inlet->port, &id, AWQ_LINK_RECEIVES, err);
    for (int64_t i = 0; !status && i < inlet->expected; i++) {
        awq_letter *announced = awq_queue_take(worker->announced);
        if (!announced) return AWQ_OK;
        status = receive(inlet, announced->a, announced->b, err);
        awq_letter_free(announced);
    }
    if (!status) awq_port_disconnect(&inlet->port);
    return status;
}

static void *run(void *argument)
{
    awq_inlet *inlet = argument;
    awq_error err;
    if (receive_all(inlet, &err)) awq_port_fail(&inlet->port, &err);
    return NULL;
}

/* ---- for the compute thread ---- */

awq_status awq_inlet_start(awq_worker *worker, const awq_stage *stages, int64_t count,
                           awq_inlet **out, awq_error *err)
{
    int64_t expected;
    int other = awq_port_other(worker, AWQ_LINK_RECEIVES, stages, count, &expected);
    *out = NULL;
    if (other < 0) return AWQ_OK;
    awq_inlet *inlet = calloc(1, sizeof *inlet);
    if (!inlet) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to receive tiles");
    inlet->expected = expected;
    for (int i = 0; i < AWQ_PORT_SLOTS; i++) inlet->slots[i].layer = -1;
    awq_status status = awq_port_open(worker, other, &inlet->port, err);
    if (!status) status = awq_port_start(&inlet->port, run, inlet, err);
    if (status) {
        awq_port_close(&inlet->port);
        free(inlet);
        return status;
    }
    *out = inlet;
    return AWQ_OK;
}

/* Whether a slot still has the tile; it is in use from then on. */
static int hold(awq_inlet *inlet, const awq_letter *letter)
{
    pthread_mutex_lock(&inlet->port.mutex);
    int slot = find(inlet, letter->a, letter->b);
    if (slot >= 0) inlet->slots[slot].in_use = true;
    pthread_mutex_unlock(&inlet->port.mutex);
    return slot;
}

static void let_go(awq_inlet *inlet, int slot)
{
    pthread_mutex_lock(&inlet->port.mutex);
    inlet->slots[slot].in_use = false;
    pthread_cond_broadcast(&inlet->port.changed);
    pthread_mutex_unlock(&inlet->port.mutex);
}

awq_status awq_inlet_take(awq_inlet *inlet, const awq_letter *letter, float *const *hidden,
                          bool *taken, awq_error *err)
{
    awq_worker *worker = inlet->port.worker;
    const awq_backend *backend = worker->device->backend;
    int slot = hold(inlet, letter), models = awq_worker_models(worker);
    size_t count = awq_hidden_count(worker, letter->b);
    *taken = slot >= 0;
    if (!*taken) return AWQ_OK;
    for (int m = 0; m < models; m++)
        backend->copy(worker->device, hidden[m], inlet->port.slots[slot] + (size_t)m * count,
                      count * sizeof(float));
    awq_status status = backend->sync(worker->device, err);
    let_go(inlet, slot);
    return status;
}

void awq_inlet_free(awq_inlet *inlet)
{
    if (!inlet) return;
    pthread_join(inlet->port.thread, NULL);
    awq_port_close(&inlet->port);
    free(inlet);
}
