/* SPDX-License-Identifier: MIT
 * worker/port.h - this worker's end of a link to another worker: its own handle on the device, and
 * slots there, a tile each. What outlet and inlet have in common; private to this folder. */
#ifndef AWQ_WORKER_PORT_H
#define AWQ_WORKER_PORT_H

#include "kernels/backend.h"
#include "worker/state.h"

enum { AWQ_PORT_SLOTS = 3 };

typedef struct awq_port {
    awq_worker *worker;
    int other; /* the worker at the other end, 0..workers-1 */
    awq_device *device;
    awq_link *link;
    double since;                 /* clock seconds: when it began to wait for the other end */
    float *slots[AWQ_PORT_SLOTS]; /* device, [models][rows, hidden] */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what its owner says */
    pthread_cond_t changed;
} awq_port;

/* The worker at the other end of what this worker's stages send, or receive; -1: none but itself.
 * *tiles: how many in all. */
int awq_port_other(const awq_worker *worker, awq_link_end end, const awq_stage *stages,
                   int64_t count, int64_t *tiles);

/* The handle and the slots; the link is not yet there. Close it in any case. */
awq_status awq_port_open(awq_worker *worker, int other, awq_port *out, awq_error *err);
void awq_port_close(awq_port *port);

/* Starts its thread. */
awq_status awq_port_start(awq_port *port, void *(*run)(void *), void *context, awq_error *err);

/* Waits for the other end, at most --worker-timeout; so do the transfers. */
awq_status awq_port_connect(awq_port *port, const awq_link_id *id, awq_link_end end,
                            awq_error *err);
/* All has been sent or received: both ends leave. */
void awq_port_disconnect(awq_port *port);
awq_status awq_port_send(awq_port *port, int slot, int64_t tile, awq_error *err);
awq_status awq_port_receive(awq_port *port, int slot, int64_t tile, awq_error *err);

/* Reports an error of the link, unless the worker was told to stop or wind down, or is within two
 * seconds: the other end may have been told first, and have left. */
void awq_port_fail(awq_port *port, const awq_error *err);

/* Bytes of a tile's hidden states, of all models. */
size_t awq_port_bytes(const awq_worker *worker, int64_t tile);

#endif
