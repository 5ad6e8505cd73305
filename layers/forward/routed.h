/* SPDX-License-Identifier: MIT
 * layers/forward/routed.h - what the experts of a layer read of the calibration tokens: the norm's
 * output of all rows, tile after tile, and which rows went to which expert.
 *
 * The statistics of an expert are made from it when they are needed (expert_statistics.h), since
 * those of all experts would take experts x hidden^2 floats, more than a GPU has. Host memory, or a
 * file. */
#ifndef AWQ_LAYERS_FORWARD_ROUTED_H
#define AWQ_LAYERS_FORWARD_ROUTED_H

#include <stdint.h>

#include "io/files/store.h"

/* Where rows are kept, and how many there will be at most. */
typedef struct awq_routed_room {
    const char *directory; /* NULL: in memory */
    int64_t rows;
} awq_routed_room;

/* Which rows of a tile go to which expert; host. */
typedef struct awq_routes {
    const int64_t *first; /* [experts + 1]: an expert's first in what follows */
    const int32_t *row;   /* [first[experts]], by expert, then row */
    const uint8_t *mask;  /* likewise, which of them count; NULL: all */
    const float *weight;  /* likewise, what an expert reads them multiplied by; NULL: 1 */
} awq_routes;

typedef struct awq_routed_tile {
    int64_t row; /* its first one, of all that are kept */
    awq_routes routes;
    void *lists; /* owned: what `routes` points into */
} awq_routed_tile;

typedef struct awq_routed {
    awq_store *store; /* [rows, hidden], compute type; NULL: a layer without experts */
    size_t row_bytes;
    int64_t room, rows;    /* of which so many are there */
    awq_routed_tile *tile; /* [tiles], owned */
    int64_t tiles;
} awq_routed;

/* Host bytes of the rows. */
static inline uint64_t awq_routed_bytes(int64_t rows, int64_t hidden, size_t compute_bytes)
{
    return (uint64_t)rows * (uint64_t)hidden * compute_bytes;
}

/* Release the result. */
awq_status awq_routed_init(const awq_routed_room *room, size_t row_bytes, awq_routed *out,
                           awq_error *err);
void awq_routed_release(awq_routed *routed);

/* Adds a tile: x [rows, hidden] on the host, compute type; everything is copied. */
awq_status awq_routed_add(awq_routed *routed, const void *x, int64_t rows, int64_t experts,
                          const awq_routes *routes, awq_error *err);

/* to [count, hidden] = the rows of a tile that went to an expert, in their order. */
awq_status awq_routed_gather(const awq_routed *routed, const awq_routed_tile *tile, int64_t expert,
                             void *to, awq_error *err);

#endif
