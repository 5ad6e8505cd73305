/* SPDX-License-Identifier: MIT
 * worker/flow/port.h - this worker's end of a link to another worker (kernels/link.h): a thread,
 * its own handle on the device, and slots there, a tile each. What outlet and inlet have in common.
 *
 * Which worker is next is the same for all stages, so a worker has one port of a kind at most. */
#ifndef AWQ_WORKER_FLOW_PORT_H
#define AWQ_WORKER_FLOW_PORT_H

#include "jobs/plan/plan.h"
#include "kernels/link.h"
#include "worker/flow/tile.h"

enum { AWQ_PORT_SLOTS = 3 };

struct awq_port {
    awq_worker *worker;
    awq_device *device; /* the thread's own handle */
    awq_link *link;
    int other;                     /* the worker at the other end, 0..workers-1 */
    int64_t expected;              /* tiles that go over the link, in all */
    double since;                  /* clock seconds: when it began to wait for the other end */
    float *memory[AWQ_PORT_SLOTS]; /* the slots: device, [models][rows, hidden] */
    awq_lane *slots;               /* float *, by the layer and tile that it holds */
    awq_lane *full;                /* of an outlet: awq_filled */
    awq_status (*run)(awq_port *port, awq_error *err);
    pthread_t thread;
    bool started;
};

/* The numbers of a slot that holds nothing. */
enum { AWQ_EMPTY = -1 };

/* A slot with a tile to be sent. */
typedef struct awq_filled {
    float *slot;
    awq_tile tile;
} awq_filled;

/* Starts a thread that does `run`, if any of this worker's stages sends to, or receives from,
 * another worker; else *out is NULL. What run fails with is reported, unless the worker was told to
 * stop or wind down, or is within two seconds: the other end may have been told first, and have
 * left. */
awq_status awq_port_open(awq_worker *worker, awq_link_end end, const awq_stage *stages,
                         int64_t count, awq_status (*run)(awq_port *port, awq_error *err),
                         awq_port **out, awq_error *err);
/* Waits until all went over the link, or the worker told to stop or wind down. NULL is fine. */
void awq_port_close(awq_port *port);

/* For `run`: they wait for the other end, at most --worker-timeout. */
awq_status awq_port_connect(awq_port *port, const awq_link_id *id, awq_link_end end,
                            awq_error *err);
awq_status awq_port_send(awq_port *port, const float *slot, const awq_tile *tile, awq_error *err);
awq_status awq_port_receive(awq_port *port, float *slot, const awq_tile *tile, awq_error *err);

#endif
