/* SPDX-License-Identifier: MIT */
#include "worker/flow/port.h"

#include <stdlib.h>

#include "io/core/clock.h"

static const double told_seconds = 2;

/* The numbers of a slot that holds nothing. */
enum { EMPTY = -1 };

struct awq_port {
    awq_worker *worker;
    awq_device *device; /* the thread's own handle */
    const awq_links *links;
    awq_link *link;
    int other;                     /* the worker at the other end, 0..workers-1 */
    int64_t expected;              /* tiles that go over the link, in all */
    double since;                  /* clock seconds: when it began to wait for the other end */
    float *memory[AWQ_PORT_SLOTS]; /* the slots: device, [models][rows, hidden] */
    awq_lane *slots;               /* float *, by the layer and tile that it holds */
    awq_lane *full;                /* of an outlet: filled_slot */
    awq_status (*run)(awq_port *port, awq_error *err);
    pthread_t thread;
    bool started;
};

/* A slot with a tile to be sent. */
typedef struct filled_slot {
    float *slot;
    awq_tile tile;
} filled_slot;

/* ---- waiting for the other end, at most --worker-timeout ---- */

/* Asked by the link, which has nothing that could wake it: NCCL is polled. */
static awq_status ask(void *context, awq_error *err)
{
    awq_port *port = context;
    double timeout = port->worker->told.job.options.worker_timeout;
    if (awq_worker_check(port->worker, err)) return err->status;
    if (awq_clock_seconds() - port->since < timeout) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MPI,
                    "worker %d has not answered over NCCL for %.0f s; look at its node, then run "
                    "the same command again, or with --transport mpi",
                    port->other + 1, timeout);
}

static awq_patience patience_of(awq_port *port)
{
    port->since = awq_clock_seconds();
    return (awq_patience){ask, port};
}

static awq_status name_tile(const awq_tile *tile, awq_error *err)
{
    return awq_error_wrap(err, "tile %lld of layer %lld", (long long)tile->number,
                          (long long)tile->layer);
}

/* ---- the outlet's thread ---- */

static awq_status send_all(awq_port *port, awq_error *err)
{
    awq_worker *worker = port->worker;
    awq_letter *letter;
    if (awq_lane_take(worker->inbox.link_ids, &letter, err)) return err->status;
    const awq_link_id *id = (const awq_link_id *)(const void *)letter->payload;
    awq_patience patience = patience_of(port);
    awq_status status =
        port->links->open(port->device, id, AWQ_LINK_SENDS, &patience, &port->link, err);
    awq_letter_free(letter);
    for (int64_t i = 0; !status && i < port->expected; i++) {
        filled_slot filled;
        if (awq_lane_take(port->full, &filled, err)) return err->status;
        const awq_tile *tile = &filled.tile;
        awq_mail_post(worker->mail, port->other + 1,
                      awq_letter_create(AWQ_LETTER_TILE, tile->layer, tile->number, 0));
        patience = patience_of(port);
        if (port->links->send(port->link, filled.slot, tile->all_bytes, &patience, err))
            return name_tile(tile, err);
        status = awq_lane_put(port->slots, EMPTY, EMPTY, &filled.slot, err);
    }
    return status;
}

/* ---- the inlet's thread ---- */

/* Receives a tile into a slot: an empty one, or the one that was filled first, as what it holds is
 * in host memory as well. Then the compute thread may take it, from the slot. Host memory, the
 * letter, is for the keeper and for a stage that comes late; no slot is filled again before it is
 * copied. */
static awq_status receive(awq_port *port, const awq_tile *tile, awq_letter *letter, awq_error *err)
{
    awq_worker *worker = port->worker;
    float *slot;
    if (!awq_lane_find(port->slots, EMPTY, EMPTY, &slot) && awq_lane_take(port->slots, &slot, err))
        return err->status;
    awq_patience patience = patience_of(port);
    if (port->links->receive(port->link, slot, tile->all_bytes, &patience, err))
        return name_tile(tile, err);
    if (awq_lane_put(port->slots, tile->layer, tile->number, &slot, err) ||
        awq_worker_hand(worker->inbox.tiles, awq_letter_share(letter), err) ||
        port->device->backend->download(port->device, letter->payload, slot, tile->all_bytes, err))
        return err->status;
    if (!worker->purpose->keeps) return AWQ_OK;
    return awq_worker_hand(worker->inbox.to_keep, awq_letter_share(letter), err);
}

static awq_status receive_all(awq_port *port, awq_error *err)
{
    awq_worker *worker = port->worker;
    awq_link_id id;
    if (port->links->make_id(&id, err)) return err->status;
    awq_mail_post(worker->mail, port->other + 1,
                  awq_letter_write(AWQ_LETTER_LINK, 0, 0, &id, sizeof id));
    awq_patience patience = patience_of(port);
    awq_status status =
        port->links->open(port->device, &id, AWQ_LINK_RECEIVES, &patience, &port->link, err);
    for (int64_t i = 0; !status && i < port->expected; i++) {
        awq_letter *announced;
        if (awq_lane_take(worker->inbox.announced, &announced, err)) return err->status;
        awq_tile tile = awq_tile_of(&worker->told, announced->a, announced->b);
        awq_letter_free(announced);
        awq_letter *letter =
            awq_letter_create(AWQ_LETTER_TILE, tile.layer, tile.number, tile.all_bytes);
        status = letter
                     ? receive(port, &tile, letter, err)
                     : awq_fail(err, AWQ_ERR_MEMORY, "no memory for a tile; lower --tile-tokens");
        awq_letter_free(letter);
    }
    return status;
}

/* ---- beginning and end ---- */

static void *run(void *argument)
{
    awq_port *port = argument;
    awq_error err, lost;
    if (!port->run(port, &err)) { /* both ends leave */
        port->links->close(port->link, true);
        port->link = NULL;
        return NULL;
    }
    awq_fail(&lost, AWQ_ERR_INTERRUPTED, "tiles cannot be sent");
    awq_lane_fail(port->slots, &lost);
    if (!awq_lanes_wait(port->worker->lanes, told_seconds)) awq_worker_fail(port->worker, &err);
    return NULL;
}

/* The worker at the other end; -1: none but itself. */
static int find_other(awq_port *port, awq_link_end end, const awq_stage *stages, int64_t count)
{
    int self = awq_worker_number(port->worker) - 1, other = -1;
    for (int64_t i = 1; i < count; i++) {
        int from = stages[i - 1].worker, to = stages[i].worker;
        if (stages[i].input != AWQ_INPUT_STAGE || from == to || stages[i].part.index) continue;
        if (self != (end == AWQ_LINK_SENDS ? from : to)) continue;
        other = end == AWQ_LINK_SENDS ? to : from;
        port->expected += port->worker->told.tiles;
    }
    return other;
}

static awq_status start(awq_port *port, awq_error *err)
{
    awq_worker *worker = port->worker;
    const awq_backend *backend = worker->has.device->backend;
    awq_device_options options = worker->has.device_options;
    options.reads_only = true;
    port->links = backend->links;
    port->slots = awq_lane_create(worker->lanes, AWQ_UNTIL_DRAIN, 0, sizeof port->memory[0]);
    port->full = awq_lane_create(worker->lanes, AWQ_UNTIL_DRAIN, 0, sizeof(filled_slot));
    if (!port->slots || !port->full)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to send and receive tiles");
    if (backend->open(&options, &port->device, err)) return err->status;
    for (int i = 0; i < AWQ_PORT_SLOTS; i++)
        if (backend->alloc(port->device, awq_tile_of(&worker->told, 0, 0).all_bytes,
                           "hidden states on their way", (void **)&port->memory[i], err) ||
            awq_lane_put(port->slots, EMPTY, EMPTY, &port->memory[i], err))
            return err->status;
    if (backend->sync(port->device, err)) return err->status;
    port->started = !pthread_create(&port->thread, NULL, run, port);
    if (port->started) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INTERNAL, "cannot start the thread of a link");
}

awq_status awq_port_open(awq_worker *worker, awq_link_end end, const awq_stage *stages,
                         int64_t count, awq_port **out, awq_error *err)
{
    *out = NULL;
    awq_port *port = calloc(1, sizeof *port);
    if (!port) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to send and receive tiles");
    *port = (awq_port){.worker = worker, .run = end == AWQ_LINK_SENDS ? send_all : receive_all};
    port->other = find_other(port, end, stages, count);
    awq_status status = port->other < 0 ? AWQ_OK : start(port, err);
    if (port->started)
        *out = port;
    else
        awq_port_close(port);
    return status;
}

void awq_port_close(awq_port *port)
{
    if (!port) return;
    const awq_backend *backend = port->worker->has.device->backend;
    if (port->started) pthread_join(port->thread, NULL);
    if (port->link) port->links->close(port->link, false);
    for (int i = 0; port->device && i < AWQ_PORT_SLOTS; i++)
        backend->release(port->device, port->memory[i]);
    backend->close(port->device);
    awq_lane_free(port->slots);
    awq_lane_free(port->full);
    free(port);
}

/* ---- for the compute thread ---- */

awq_status awq_outlet_put(awq_port *outlet, const awq_tile *tile, float *const *hidden,
                          awq_error *err)
{
    awq_device *device = outlet->worker->has.device;
    filled_slot filled = {.tile = *tile};
    if (awq_lane_take(outlet->slots, &filled.slot, err)) return err->status;
    for (int m = 0; m < outlet->worker->told.models; m++)
        device->backend->copy(device, filled.slot + (size_t)m * tile->floats, hidden[m],
                              tile->bytes);
    if (device->backend->sync(device, err)) return err->status;
    return awq_lane_put(outlet->full, tile->layer, tile->number, &filled, err);
}

awq_status awq_inlet_take(awq_port *inlet, const awq_tile *tile, float *const *hidden, bool *taken,
                          awq_error *err)
{
    awq_device *device = inlet->worker->has.device;
    float *slot;
    *taken = awq_lane_find(inlet->slots, tile->layer, tile->number, &slot);
    if (!*taken) return AWQ_OK;
    for (int m = 0; m < inlet->worker->told.models; m++)
        device->backend->copy(device, hidden[m], slot + (size_t)m * tile->floats, tile->bytes);
    if (device->backend->sync(device, err)) return err->status;
    return awq_lane_put(inlet->slots, EMPTY, EMPTY, &slot, err);
}
