/* SPDX-License-Identifier: MIT */
#include "worker/flow/shelf.h"

#include <stdlib.h>

#include "io/core/log.h"
#include "worker/flow/tile.h"

_Static_assert(sizeof(((awq_loan *)NULL)->memory) / sizeof(void *) == AWQ_MODELS, "one each");

struct awq_shelf {
    awq_device *device; /* the worker's */
    awq_loan *places;   /* [count], their memory owned */
    int64_t count;
};

static bool stays(const awq_worker *worker, const awq_stage *stages, int64_t i)
{
    int self = awq_worker_number(worker) - 1;
    return stages[i].input == AWQ_INPUT_STAGE && !stages[i].part.index &&
           stages[i].worker == self && stages[i - 1].worker == self;
}

/* What the plan's largest stage leaves on the device has room for so many tiles. Without a GPU all
 * that wait for the next stage are counted already, as they are in the node's memory anyway. */
static int64_t count_places(const awq_worker *worker, const awq_stage *stages, int64_t count)
{
    const awq_told *told = &worker->told;
    const awq_hello *needs = &worker->has.needs;
    int64_t largest = 0;
    bool any = false;
    for (int64_t i = 0; i < count; i++) {
        any |= i > 0 && stays(worker, stages, i);
        if (stages[i].count > largest) largest = stages[i].count;
    }
    if (!any || worker->has.device->threads) return any ? told->tiles : 0;
    uint64_t taken = awq_plan_stage_bytes(needs, largest);
    uint64_t left = needs->budget_bytes > taken ? needs->budget_bytes - taken : 0;
    uint64_t places = left / awq_tile_of(told, 0, 0).all_bytes;
    return places < (uint64_t)told->tiles ? (int64_t)places : told->tiles;
}

static awq_status fill(awq_shelf *shelf, const awq_told *told, int64_t places, awq_error *err)
{
    size_t bytes = awq_tile_of(told, 0, 0).bytes;
    shelf->places = calloc((size_t)places, sizeof *shelf->places);
    if (!shelf->places) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a shelf of tiles");
    while (shelf->count < places) {
        void **memory = shelf->places[shelf->count++].memory;
        for (int m = 0; m < told->models; m++)
            if (shelf->device->backend->alloc(shelf->device, bytes, "hidden states that wait",
                                              &memory[m], err))
                return err->status;
    }
    return AWQ_OK;
}

awq_status awq_shelf_create(awq_worker *worker, const awq_stage *stages, int64_t count,
                            awq_shelf **out, awq_error *err)
{
    int64_t places = count_places(worker, stages, count);
    *out = NULL;
    if (!places) return AWQ_OK;
    awq_shelf *shelf = calloc(1, sizeof *shelf);
    if (!shelf) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a shelf of tiles");
    shelf->device = worker->has.device;
    if (fill(shelf, &worker->told, places, err)) {
        awq_shelf_free(shelf);
        return err->status;
    }
    AWQ_LOG(AWQ_LOG_VERBOSE, "tiles between stages stay on the device", AWQ_WHOLE("places", places),
            AWQ_WHOLE("tiles", worker->told.tiles));
    *out = shelf;
    return AWQ_OK;
}

awq_loan *awq_shelf_take(awq_shelf *shelf)
{
    for (int64_t i = 0; shelf && i < shelf->count; i++)
        if (!atomic_exchange(&shelf->places[i].lent, true)) return &shelf->places[i];
    return NULL;
}

void awq_shelf_free(awq_shelf *shelf)
{
    if (!shelf) return;
    for (int64_t i = 0; i < shelf->count; i++)
        for (int m = 0; m < AWQ_MODELS; m++)
            shelf->device->backend->release(shelf->device, shelf->places[i].memory[m]);
    free(shelf->places);
    free(shelf);
}
