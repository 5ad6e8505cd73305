/* SPDX-License-Identifier: MIT
 * worker/flow/tile.h - a tile: some calibration sequences and their hidden states, on their way
 * through the layers. */
#ifndef AWQ_WORKER_FLOW_TILE_H
#define AWQ_WORKER_FLOW_TILE_H

#include "io/records/boundary.h"
#include "worker/context.h"

/* Made once where it comes into a flow, and passed on. Hidden states: float32 [rows, hidden],
 * and what travels with them (layers/forward/states.h). */
typedef struct awq_tile {
    int64_t layer;     /* that it enters */
    int64_t number;    /* among the job's tiles */
    int64_t first;     /* sequence, of the job's */
    int64_t sequences; /* in it */
    int64_t row;       /* first token, of the job's */
    int64_t rows;      /* tokens */
    size_t floats;     /* of one model's hidden states */
    size_t bytes;      /* of them */
    size_t all_bytes;  /* of all models', one after the other */
} awq_tile;

/* Number 0 has the most rows. */
static inline awq_tile awq_tile_of(const awq_told *told, int64_t layer, int64_t number)
{
    awq_tile tile = {.layer = layer, .number = number, .first = number * told->tile_sequences};
    int64_t left = told->tokens.sequences - tile.first;
    tile.sequences = left < told->tile_sequences ? left : told->tile_sequences;
    tile.row = tile.first * told->tokens.length;
    tile.rows = tile.sequences * told->tokens.length;
    tile.floats = (size_t)(tile.rows * told->hidden);
    tile.bytes = tile.floats * sizeof(float);
    tile.all_bytes = tile.bytes * (size_t)told->models;
    return tile;
}

/* Of the file that holds all tiles before a layer. */
static inline awq_boundary_shape awq_tile_boundary(const awq_told *told, int64_t layer)
{
    return (awq_boundary_shape){.layer = layer,
                                .sequences = told->tokens.sequences,
                                .tile_sequences = told->tile_sequences,
                                .length = told->tokens.length,
                                .hidden = told->hidden};
}

#endif
