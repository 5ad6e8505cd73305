/* SPDX-License-Identifier: MIT
 * io/records/boundary.h - the hidden states that enter a stage, all tiles, in a run directory's
 * boundaries/00040.h5.
 *
 * HDF5: /hidden float32 [sequences, length, hidden], chunked one tile (tile_sequences sequences) a
 * chunk, fletcher32 on; attributes on /: layer int64, tile_sequences int64, fingerprint string.
 * Written whole under a temporary name; a file that opens is complete. */
#ifndef AWQ_IO_RECORDS_BOUNDARY_H
#define AWQ_IO_RECORDS_BOUNDARY_H

#include <stdint.h>

#include "io/core/error.h"

typedef struct awq_boundary_shape {
    int64_t layer;          /* the layer that these states enter */
    int64_t sequences;      /* of all tiles */
    int64_t tile_sequences; /* a tile; the last one may be smaller */
    int64_t length;
    int64_t hidden;
} awq_boundary_shape;

typedef struct awq_boundary_writer awq_boundary_writer;

awq_status awq_boundary_create(const char *path, const awq_boundary_shape *shape,
                               const char *fingerprint, awq_boundary_writer **out, awq_error *err);
/* Tile `tile`, float32 [its sequences, length, hidden]; tiles may come in any order, once each. */
awq_status awq_boundary_write(awq_boundary_writer *writer, int64_t tile, const float *hidden,
                              awq_error *err);
/* Publishes; an error if tiles are missing. */
awq_status awq_boundary_commit(awq_boundary_writer *writer, awq_error *err);
/* Frees; removes what was not committed. NULL is fine. */
void awq_boundary_writer_free(awq_boundary_writer *writer);

typedef struct awq_boundary awq_boundary;

/* AWQ_ERR_CORRUPT when the file is not what `shape` and `fingerprint` say. */
awq_status awq_boundary_open(const char *path, const awq_boundary_shape *shape,
                             const char *fingerprint, awq_boundary **out, awq_error *err);
/* Reads one tile; AWQ_ERR_CORRUPT when its checksum is wrong. */
awq_status awq_boundary_read(awq_boundary *boundary, int64_t tile, float *hidden, awq_error *err);
void awq_boundary_close(awq_boundary *boundary);

#endif
