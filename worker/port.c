/* SPDX-License-Identifier: MIT */
#include "worker/port.h"

#include "io/core/clock.h"
#include "worker/hidden.h"

static const double told_seconds = 2;

size_t awq_port_bytes(const awq_worker *worker, int64_t tile)
{
    return awq_hidden_count(worker, tile) * sizeof(float) * (size_t)awq_worker_models(worker);
}

int awq_port_other(const awq_worker *worker, awq_link_end end, const awq_stage *stages,
                   int64_t count, int64_t *tiles)
{
    int self = awq_worker_number(worker) - 1, other = -1;
    *tiles = 0;
    for (int64_t i = 1; i < count; i++) {
        int from = stages[i - 1].worker, to = stages[i].worker;
        if (stages[i].input != AWQ_INPUT_STAGE || from == to) continue;
        if (self != (end == AWQ_LINK_SENDS ? from : to)) continue;
        other = end == AWQ_LINK_SENDS ? to : from;
        *tiles += worker->tiles_in_job;
    }
    return other;
}

awq_status awq_port_open(awq_worker *worker, int other, awq_port *out, awq_error *err)
{
    const awq_backend *backend = worker->device->backend;
    awq_device_options options = worker->device_options;
    options.reads_only = true;
    *out = (awq_port){.worker = worker, .other = other};
    pthread_mutex_init(&out->mutex, NULL);
    pthread_cond_init(&out->changed, NULL);
    if (backend->open(&options, &out->device, err)) return err->status;
    for (int i = 0; i < AWQ_PORT_SLOTS; i++)
        if (backend->alloc(out->device, awq_port_bytes(worker, 0), "hidden states on their way",
                           (void **)&out->slots[i], err))
            return err->status;
    return backend->sync(out->device, err);
}

void awq_port_close(awq_port *port)
{
    const awq_backend *backend = port->worker->device->backend;
    if (port->link) backend->links->close(port->link, false);
    for (int i = 0; port->device && i < AWQ_PORT_SLOTS; i++)
        backend->release(port->device, port->slots[i]);
    backend->close(port->device);
    pthread_cond_destroy(&port->changed);
    pthread_mutex_destroy(&port->mutex);
}

awq_status awq_port_start(awq_port *port, void *(*run)(void *), void *context, awq_error *err)
{
    if (!pthread_create(&port->thread, NULL, run, context)) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INTERNAL, "cannot start the thread of a link");
}

static awq_status ask(void *context, awq_error *err)
{
    awq_port *port = context;
    double timeout = port->worker->job.options.worker_timeout;
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

void awq_port_disconnect(awq_port *port)
{
    port->device->backend->links->close(port->link, true);
    port->link = NULL;
}

awq_status awq_port_send(awq_port *port, int slot, int64_t tile, awq_error *err)
{
    awq_patience patience = patience_of(port);
    return port->device->backend->links->send(port->link, port->slots[slot],
                                              awq_port_bytes(port->worker, tile), &patience, err);
}

awq_status awq_port_receive(awq_port *port, int slot, int64_t tile, awq_error *err)
{
    awq_patience patience = patience_of(port);
    return port->device->backend->links->receive(
        port->link, port->slots[slot], awq_port_bytes(port->worker, tile), &patience, err);
}

void awq_port_fail(awq_port *port, const awq_error *err)
{
    double end = awq_clock_seconds() + told_seconds;
    awq_error told;
    bool stopping = false;
    pthread_mutex_lock(&port->mutex);
    while (!(stopping = awq_worker_check(port->worker, &told)) && awq_clock_seconds() < end)
        awq_worker_wait(&port->changed, &port->mutex);
    pthread_mutex_unlock(&port->mutex);
    if (!stopping) awq_worker_fail(port->worker, err);
}
