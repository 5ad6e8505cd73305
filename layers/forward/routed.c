/* SPDX-License-Identifier: MIT */
#include "layers/forward/routed.h"

#include <stdlib.h>
#include <string.h>

awq_status awq_routed_init(const awq_routed_room *room, size_t row_bytes, awq_routed *out,
                           awq_error *err)
{
    awq_routed routed = {.row_bytes = row_bytes, .room = room->rows};
    if (awq_store_create(room->directory, (uint64_t)room->rows * row_bytes, &routed.store, err))
        return awq_error_wrap(err, "what experts read, of which a lower --inputs-memory keeps less "
                                   "in memory");
    *out = routed;
    return AWQ_OK;
}

void awq_routed_release(awq_routed *routed)
{
    for (int64_t i = 0; i < routed->tiles; i++) free(routed->tile[i].lists);
    free(routed->tile);
    awq_store_free(routed->store);
    *routed = (awq_routed){0};
}

/* A copy of a tile's routes, in one piece. */
static awq_status copy_routes(const awq_routes *from, int64_t experts, awq_routed_tile *to,
                              awq_error *err)
{
    size_t choices = (size_t)from->first[experts], firsts = (size_t)experts + 1;
    size_t each = sizeof *from->row + sizeof *from->weight + 1;
    int64_t *first = malloc(firsts * sizeof *first + choices * each);
    if (!first) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the lists of experts' rows");
    int32_t *row = (int32_t *)(void *)(first + firsts);
    float *weight = (float *)(void *)(row + choices);
    uint8_t *mask = (uint8_t *)(weight + choices);
    memcpy(first, from->first, firsts * sizeof *first);
    memcpy(row, from->row, choices * sizeof *row);
    if (from->mask) memcpy(mask, from->mask, choices);
    if (from->weight) memcpy(weight, from->weight, choices * sizeof *weight);
    to->routes = (awq_routes){first, row, from->mask ? mask : NULL, from->weight ? weight : NULL};
    to->lists = first;
    return AWQ_OK;
}

awq_status awq_routed_add(awq_routed *routed, const void *x, int64_t rows, int64_t experts,
                          const awq_routes *routes, awq_error *err)
{
    size_t count = (size_t)routed->tiles + 1;
    awq_routed_tile added = {.row = routed->rows};
    if (routed->rows + rows > routed->room)
        return awq_fail(err, AWQ_ERR_INTERNAL, "%lld rows to keep, room for %lld",
                        (long long)(routed->rows + rows), (long long)routed->room);
    awq_routed_tile *tile = realloc(routed->tile, count * sizeof *tile);
    if (!tile) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the lists of experts' rows");
    routed->tile = tile;
    if (awq_store_write(routed->store, (uint64_t)added.row * routed->row_bytes, x,
                        (size_t)rows * routed->row_bytes, err))
        return awq_error_wrap(err, "what experts read, of which a higher --inputs-memory keeps "
                                   "more in memory");
    if (copy_routes(routes, experts, &added, err)) return err->status;
    routed->tile[routed->tiles++] = added;
    routed->rows += rows;
    return AWQ_OK;
}

awq_status awq_routed_gather(const awq_routed *routed, const awq_routed_tile *tile, int64_t expert,
                             void *to, awq_error *err)
{
    char *next = to;
    for (int64_t i = tile->routes.first[expert]; i < tile->routes.first[expert + 1]; i++) {
        uint64_t row = (uint64_t)(tile->row + tile->routes.row[i]);
        if (awq_store_read(routed->store, row * routed->row_bytes, next, routed->row_bytes, err))
            return err->status;
        next += routed->row_bytes;
    }
    return AWQ_OK;
}
