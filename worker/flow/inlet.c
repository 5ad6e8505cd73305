/* SPDX-License-Identifier: MIT */
#include "worker/flow/inlet.h"

/* ---- the thread ---- */

/* Receives a tile into a slot: an empty one, or the one that was filled first, as what it holds is
 * in host memory as well. Then the compute thread may take it, from the slot. Host memory, the
 * letter, is for the keeper and for a stage that comes late; no slot is filled again before it is
 * copied. */
static awq_status receive(awq_port *port, const awq_tile *tile, awq_letter *letter, awq_error *err)
{
    awq_worker *worker = port->worker;
    float *slot;
    if (!awq_lane_find(port->slots, AWQ_EMPTY, AWQ_EMPTY, &slot) &&
        awq_lane_take(port->slots, &slot, err))
        return err->status;
    if (awq_port_receive(port, slot, tile, err) ||
        awq_lane_put(port->slots, tile->layer, tile->number, &slot, err) ||
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
    if (port->device->backend->links->make_id(&id, err)) return err->status;
    awq_mail_post(worker->mail, port->other + 1,
                  awq_letter_write(AWQ_LETTER_LINK, 0, 0, &id, sizeof id));
    awq_status status = awq_port_connect(port, &id, AWQ_LINK_RECEIVES, err);
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

awq_status awq_inlet_open(awq_worker *worker, const awq_stage *stages, int64_t count,
                          awq_port **out, awq_error *err)
{
    return awq_port_open(worker, AWQ_LINK_RECEIVES, stages, count, receive_all, out, err);
}

/* ---- for the compute thread ---- */

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
    return awq_lane_put(inlet->slots, AWQ_EMPTY, AWQ_EMPTY, &slot, err);
}
