/* SPDX-License-Identifier: MIT */
#include "worker/flow/outlet.h"

/* The thread. */
static awq_status send_all(awq_port *port, awq_error *err)
{
    awq_worker *worker = port->worker;
    awq_letter *letter;
    if (awq_lane_take(worker->inbox.link_ids, &letter, err)) return err->status;
    awq_status status = awq_port_connect(port, (const awq_link_id *)(const void *)letter->payload,
                                         AWQ_LINK_SENDS, err);
    awq_letter_free(letter);
    for (int64_t i = 0; !status && i < port->expected; i++) {
        awq_filled filled;
        if (awq_lane_take(port->full, &filled, err)) return err->status;
        awq_mail_post(worker->mail, port->other + 1,
                      awq_letter_create(AWQ_LETTER_TILE, filled.tile.layer, filled.tile.number, 0));
        status = awq_port_send(port, filled.slot, &filled.tile, err);
        if (!status) status = awq_lane_put(port->slots, AWQ_EMPTY, AWQ_EMPTY, &filled.slot, err);
    }
    return status;
}

awq_status awq_outlet_open(awq_worker *worker, const awq_stage *stages, int64_t count,
                           awq_port **out, awq_error *err)
{
    return awq_port_open(worker, AWQ_LINK_SENDS, stages, count, send_all, out, err);
}

awq_status awq_outlet_put(awq_port *outlet, const awq_tile *tile, float *const *hidden,
                          awq_error *err)
{
    awq_device *device = outlet->worker->has.device;
    awq_filled filled = {.tile = *tile};
    if (awq_lane_take(outlet->slots, &filled.slot, err)) return err->status;
    for (int m = 0; m < outlet->worker->told.models; m++)
        device->backend->copy(device, filled.slot + (size_t)m * tile->floats, hidden[m],
                              tile->bytes);
    if (device->backend->sync(device, err)) return err->status;
    return awq_lane_put(outlet->full, tile->layer, tile->number, &filled, err);
}
