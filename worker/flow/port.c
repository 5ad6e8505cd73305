/* SPDX-License-Identifier: MIT */
#include "worker/flow/port.h"

#include <stdlib.h>

#include "io/core/clock.h"

static const double told_seconds = 2;

/* ---- waiting for the other end ---- */

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

awq_status awq_port_connect(awq_port *port, const awq_link_id *id, awq_link_end end, awq_error *err)
{
    awq_patience patience = patience_of(port);
    return port->device->backend->links->open(port->device, id, end, &patience, &port->link, err);
}

static awq_status name_tile(const awq_tile *tile, awq_error *err)
{
    return awq_error_wrap(err, "tile %lld of layer %lld", (long long)tile->number,
                          (long long)tile->layer);
}

awq_status awq_port_send(awq_port *port, const float *slot, const awq_tile *tile, awq_error *err)
{
    awq_patience patience = patience_of(port);
    awq_status status =
        port->device->backend->links->send(port->link, slot, tile->all_bytes, &patience, err);
    return status ? name_tile(tile, err) : AWQ_OK;
}

awq_status awq_port_receive(awq_port *port, float *slot, const awq_tile *tile, awq_error *err)
{
    awq_patience patience = patience_of(port);
    awq_status status =
        port->device->backend->links->receive(port->link, slot, tile->all_bytes, &patience, err);
    return status ? name_tile(tile, err) : AWQ_OK;
}

/* ---- the thread ---- */

static void *run(void *argument)
{
    awq_port *port = argument;
    awq_error err, lost;
    if (!port->run(port, &err)) { /* both ends leave */
        port->device->backend->links->close(port->link, true);
        port->link = NULL;
        return NULL;
    }
    awq_fail(&lost, AWQ_ERR_INTERRUPTED, "tiles cannot be sent");
    awq_lane_fail(port->slots, &lost);
    if (!awq_lanes_wait(port->worker->lanes, told_seconds)) awq_worker_fail(port->worker, &err);
    return NULL;
}

/* ---- beginning and end ---- */

/* The worker at the other end; -1: none but itself. */
static int find_other(awq_port *port, awq_link_end end, const awq_stage *stages, int64_t count)
{
    int self = awq_worker_number(port->worker) - 1, other = -1;
    for (int64_t i = 1; i < count; i++) {
        int from = stages[i - 1].worker, to = stages[i].worker;
        if (stages[i].input != AWQ_INPUT_STAGE || from == to) continue;
        if (self != (end == AWQ_LINK_SENDS ? from : to)) continue;
        other = end == AWQ_LINK_SENDS ? to : from;
        port->expected += port->worker->told.tiles;
    }
    return other;
}

static awq_status open_slots(awq_port *port, awq_error *err)
{
    awq_worker *worker = port->worker;
    const awq_backend *backend = worker->has.device->backend;
    awq_device_options options = worker->has.device_options;
    options.reads_only = true;
    port->slots = awq_lane_create(worker->lanes, AWQ_UNTIL_WIND_DOWN, 0, sizeof port->memory[0]);
    port->full = awq_lane_create(worker->lanes, AWQ_UNTIL_WIND_DOWN, 0, sizeof(awq_filled));
    if (!port->slots || !port->full)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to send and receive tiles");
    if (backend->open(&options, &port->device, err)) return err->status;
    for (int i = 0; i < AWQ_PORT_SLOTS; i++)
        if (backend->alloc(port->device, awq_tile_of(&worker->told, 0, 0).all_bytes,
                           "hidden states on their way", (void **)&port->memory[i], err) ||
            awq_lane_put(port->slots, AWQ_EMPTY, AWQ_EMPTY, &port->memory[i], err))
            return err->status;
    return backend->sync(port->device, err);
}

awq_status awq_port_open(awq_worker *worker, awq_link_end end, const awq_stage *stages,
                         int64_t count, awq_status (*does)(awq_port *port, awq_error *err),
                         awq_port **out, awq_error *err)
{
    *out = NULL;
    awq_port *port = calloc(1, sizeof *port);
    if (!port) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to send and receive tiles");
    *port = (awq_port){.worker = worker, .run = does};
    port->other = find_other(port, end, stages, count);
    awq_status status = port->other < 0 ? AWQ_OK : open_slots(port, err);
    if (!status && port->other >= 0) {
        port->started = !pthread_create(&port->thread, NULL, run, port);
        if (!port->started)
            status = awq_fail(err, AWQ_ERR_INTERNAL, "cannot start the thread of a link");
    }
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
    if (port->link) backend->links->close(port->link, false);
    for (int i = 0; port->device && i < AWQ_PORT_SLOTS; i++)
        backend->release(port->device, port->memory[i]);
    backend->close(port->device);
    awq_lane_free(port->slots);
    awq_lane_free(port->full);
    free(port);
}
