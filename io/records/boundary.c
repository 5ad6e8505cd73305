/* SPDX-License-Identifier: MIT */
#include "io/records/boundary.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "io/files/h5.h"

#define DATASET_NAME "hidden"
#define EXPECTED     "the hidden states that enter a layer"

enum { DIMS = 3 };

struct awq_boundary_writer {
    awq_h5_writer writer;
    hid_t dataset;
    awq_boundary_shape shape;
    int64_t left;  /* tiles */
    bool *written; /* [tiles] */
    bool broken;   /* a write failed: never publish */
};

struct awq_boundary {
    char *path;
    hid_t file;
    hid_t dataset;
    awq_boundary_shape shape;
};

static int64_t count_tiles(const awq_boundary_shape *shape)
{
    return (shape->sequences + shape->tile_sequences - 1) / shape->tile_sequences;
}

static uint64_t sequence_bytes(const awq_boundary_shape *shape)
{
    return (uint64_t)shape->length * (uint64_t)shape->hidden * sizeof(float);
}

/* Where a tile lies: its first sequence, and its sizes. */
static hsize_t tile_shape(const awq_boundary_shape *shape, int64_t tile, hsize_t out[DIMS])
{
    int64_t first = tile * shape->tile_sequences;
    int64_t left = shape->sequences - first;
    out[0] = (hsize_t)(left < shape->tile_sequences ? left : shape->tile_sequences);
    out[1] = (hsize_t)shape->length;
    out[2] = (hsize_t)shape->hidden;
    return (hsize_t)first;
}

static awq_status check_shape(const awq_boundary_shape *shape, const char *path, awq_error *err)
{
    if (shape->sequences < 1 || shape->tile_sequences < 1 || shape->length < 1 ||
        shape->hidden < 1 || shape->length > INT32_MAX || shape->hidden > INT32_MAX)
        return awq_fail(err, AWQ_ERR_INTERNAL, "'%s': a boundary without tokens", path);
    if ((uint64_t)shape->tile_sequences > UINT32_MAX / sequence_bytes(shape)) /* HDF5's limit */
        return awq_fail(err, AWQ_ERR_INPUT,
                        "'%s': a tile of hidden states is larger than 4 GiB; use smaller tiles",
                        path);
    return AWQ_OK;
}

static awq_status create_file(awq_boundary_writer *writer, const char *path,
                              const char *fingerprint, awq_error *err)
{
    const awq_boundary_shape *shape = &writer->shape;
    hsize_t all[DIMS] = {(hsize_t)shape->sequences, (hsize_t)shape->length, (hsize_t)shape->hidden};
    hsize_t chunk[DIMS];
    uint64_t needed = (uint64_t)shape->sequences * sequence_bytes(shape);
    if (awq_h5_writer_open(&writer->writer, path, false, needed, err)) return err->status;
    hid_t file = writer->writer.file;
    tile_shape(shape, 0, chunk);
    if (awq_h5_put_int64(file, "layer", shape->layer) &&
        awq_h5_put_int64(file, "tile_sequences", shape->tile_sequences) &&
        awq_h5_put_string(file, "fingerprint", fingerprint))
        writer->dataset =
            awq_h5_create_dataset(file, DATASET_NAME, H5T_IEEE_F32LE, DIMS, all, chunk);
    return writer->dataset >= 0 ? AWQ_OK : awq_h5_fail_write(err, path, needed);
}

awq_status awq_boundary_create(const char *path, const awq_boundary_shape *shape,
                               const char *fingerprint, awq_boundary_writer **out, awq_error *err)
{
    if (check_shape(shape, path, err)) return err->status;
    awq_boundary_writer *writer = calloc(1, sizeof *writer);
    if (!writer) return awq_fail(err, AWQ_ERR_MEMORY, "cannot write '%s': no memory", path);
    *writer = (awq_boundary_writer){
        .dataset = -1, .shape = *shape, .left = count_tiles(shape), .written = NULL};
    writer->written = calloc((size_t)writer->left, sizeof *writer->written);
    awq_status status;
    if (writer->written) {
        awq_h5_lock();
        status = create_file(writer, path, fingerprint, err);
        awq_h5_unlock();
    } else {
        status = awq_fail(err, AWQ_ERR_MEMORY, "cannot write '%s': no memory", path);
    }
    if (status)
        awq_boundary_writer_free(writer);
    else
        *out = writer;
    return status;
}

awq_status awq_boundary_write(awq_boundary_writer *writer, int64_t tile, const float *hidden,
                              awq_error *err)
{
    hsize_t shape[DIMS];
    const char *path = writer->writer.path;
    if (tile < 0 || tile >= count_tiles(&writer->shape) || writer->written[tile])
        return awq_fail(err, AWQ_ERR_INTERNAL, "'%s': tile %lld is written twice or outside", path,
                        (long long)tile);
    hsize_t first = tile_shape(&writer->shape, tile, shape);
    awq_status status = AWQ_OK;
    awq_h5_lock();
    if (!awq_h5_write_rows(writer->dataset, H5T_NATIVE_FLOAT, DIMS, first, shape, hidden))
        status = awq_h5_fail_write(err, path, writer->writer.needed);
    awq_h5_unlock();
    writer->broken |= status != AWQ_OK;
    writer->written[tile] = true;
    writer->left--;
    return status;
}

awq_status awq_boundary_commit(awq_boundary_writer *writer, awq_error *err)
{
    if (writer->left || writer->broken || !writer->writer.path)
        return awq_fail(err, AWQ_ERR_INTERNAL, "'%s': %lld tiles are missing, or failed",
                        writer->writer.path ? writer->writer.path : "a boundary",
                        (long long)writer->left);
    awq_h5_lock();
    bool ok = H5Dclose(writer->dataset) >= 0;
    writer->dataset = -1;
    awq_status status = awq_h5_writer_finish(&writer->writer, ok, err);
    awq_h5_unlock();
    return status;
}

void awq_boundary_writer_free(awq_boundary_writer *writer)
{
    if (!writer) return;
    awq_h5_lock();
    if (writer->dataset >= 0) H5Dclose(writer->dataset);
    awq_h5_writer_abandon(&writer->writer);
    awq_h5_unlock();
    free(writer->written);
    free(writer);
}

static awq_status open_file(awq_boundary *boundary, const char *fingerprint, awq_error *err)
{
    const awq_boundary_shape *shape = &boundary->shape;
    hsize_t found[DIMS];
    int64_t layer, tile_sequences;
    if (awq_h5_open(boundary->path, EXPECTED, &boundary->file, err)) return err->status;
    if (!awq_h5_string_is(boundary->file, "fingerprint", fingerprint))
        return awq_fail(err, AWQ_ERR_CORRUPT, "'%s' belongs to another job", boundary->path);
    boundary->dataset = H5Dopen2(boundary->file, DATASET_NAME, H5P_DEFAULT);
    if (boundary->dataset >= 0 && awq_h5_get_int64(boundary->file, "layer", &layer) &&
        layer == shape->layer &&
        awq_h5_get_int64(boundary->file, "tile_sequences", &tile_sequences) &&
        tile_sequences == shape->tile_sequences && awq_h5_shape(boundary->dataset, DIMS, found) &&
        found[0] == (hsize_t)shape->sequences && found[1] == (hsize_t)shape->length &&
        found[2] == (hsize_t)shape->hidden)
        return AWQ_OK;
    return awq_fail(err, AWQ_ERR_CORRUPT,
                    "'%s' does not hold the hidden states that enter layer %lld of this job",
                    boundary->path, (long long)shape->layer);
}

awq_status awq_boundary_open(const char *path, const awq_boundary_shape *shape,
                             const char *fingerprint, awq_boundary **out, awq_error *err)
{
    if (check_shape(shape, path, err)) return err->status;
    awq_boundary *boundary = calloc(1, sizeof *boundary);
    if (!boundary) return awq_fail(err, AWQ_ERR_MEMORY, "cannot read '%s': no memory", path);
    *boundary = (awq_boundary){.path = strdup(path), .file = -1, .dataset = -1, .shape = *shape};
    awq_status status;
    if (boundary->path) {
        awq_h5_lock();
        status = open_file(boundary, fingerprint, err);
        awq_h5_unlock();
    } else {
        status = awq_fail(err, AWQ_ERR_MEMORY, "cannot read '%s': no memory", path);
    }
    if (status)
        awq_boundary_close(boundary);
    else
        *out = boundary;
    return status;
}

awq_status awq_boundary_read(awq_boundary *boundary, int64_t tile, float *hidden, awq_error *err)
{
    hsize_t shape[DIMS];
    if (tile < 0 || tile >= count_tiles(&boundary->shape))
        return awq_fail(err, AWQ_ERR_INTERNAL, "'%s' has no tile %lld", boundary->path,
                        (long long)tile);
    hsize_t first = tile_shape(&boundary->shape, tile, shape);
    awq_status status = AWQ_OK;
    awq_h5_lock();
    if (!awq_h5_read_rows(boundary->dataset, H5T_NATIVE_FLOAT, DIMS, first, shape, hidden))
        status = awq_h5_fail_read(err, boundary->path);
    awq_h5_unlock();
    return status;
}

void awq_boundary_close(awq_boundary *boundary)
{
    if (!boundary) return;
    awq_h5_lock();
    if (boundary->dataset >= 0) H5Dclose(boundary->dataset);
    if (boundary->file >= 0) H5Fclose(boundary->file);
    awq_h5_unlock();
    free(boundary->path);
    free(boundary);
}
