/* SPDX-License-Identifier: MIT */
#include "worker/flow/keeper.h"

#include <pthread.h>
#include <stdlib.h>

#include "io/files/path.h"
#include "jobs/mail/letter.h"
#include "jobs/run/run_directory.h"

/* One boundary that is being written. */
typedef struct open_boundary {
    int64_t layer;
    int64_t tiles_left;
    awq_boundary_writer *writer;
    struct open_boundary *next;
} open_boundary;

struct awq_keeper {
    awq_keeper_options options;
    awq_lane *tiles;
    pthread_t thread;
    open_boundary *open;
    /* for tiles that are lent; from the first one on */
    awq_device *device; /* the thread's own handle */
    float *copy;        /* one tile, host, owned */
};

static open_boundary **find(awq_keeper *keeper, int64_t layer)
{
    open_boundary **link = &keeper->open;
    while (*link && (*link)->layer != layer) link = &(*link)->next;
    return link;
}

static awq_status begin(awq_keeper *keeper, int64_t layer, open_boundary **out, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    awq_boundary_shape shape = keeper->options.shape;
    shape.layer = layer;
    open_boundary *added = calloc(1, sizeof *added);
    if (!added) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to keep a boundary");
    if (awq_run_boundary_path(path, keeper->options.run, layer, err) ||
        awq_boundary_create(path, &shape, keeper->options.fingerprint, &added->writer, err)) {
        free(added);
        return err->status;
    }
    added->layer = layer;
    added->tiles_left = (shape.sequences + shape.tile_sequences - 1) / shape.tile_sequences;
    added->next = keeper->open;
    keeper->open = added;
    *out = added;
    return AWQ_OK;
}

static void drop(open_boundary **link)
{
    open_boundary *dropped = *link;
    *link = dropped->next;
    awq_boundary_writer_free(dropped->writer);
    free(dropped);
}

static awq_status prepare_to_copy(awq_keeper *keeper, size_t most, awq_error *err)
{
    awq_device_options options = *keeper->options.device;
    options.reads_only = true;
    if (!keeper->copy) keeper->copy = malloc(most);
    if (!keeper->copy) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to keep a boundary");
    return keeper->device ? AWQ_OK : keeper->options.backend->open(&options, &keeper->device, err);
}

/* A tile's states in host memory: the letter's, or a copy of what it lends, until the next. */
static awq_status states_of(awq_keeper *keeper, const awq_letter *tile, const float **out,
                            awq_error *err)
{
    const awq_boundary_shape *shape = &keeper->options.shape;
    *out = (const float *)(const void *)tile->payload;
    if (!tile->loan) return AWQ_OK;
    size_t sequence = (size_t)(shape->length * shape->hidden) * sizeof(float);
    int64_t left = shape->sequences - tile->b * shape->tile_sequences;
    size_t count = (size_t)(left < shape->tile_sequences ? left : shape->tile_sequences);
    if (prepare_to_copy(keeper, (size_t)shape->tile_sequences * sequence, err)) return err->status;
    *out = keeper->copy;
    return keeper->options.backend->download(keeper->device, keeper->copy, tile->loan->memory[0],
                                             count * sequence, err);
}

static awq_status keep(awq_keeper *keeper, const awq_letter *tile, awq_error *err)
{
    const float *states;
    open_boundary *boundary = *find(keeper, tile->a);
    if (!boundary && begin(keeper, tile->a, &boundary, err)) return err->status;
    if (states_of(keeper, tile, &states, err) ||
        awq_boundary_write(boundary->writer, tile->b, states, err))
        return err->status;
    if (--boundary->tiles_left) return AWQ_OK;
    if (awq_boundary_commit(boundary->writer, err)) return err->status;
    drop(find(keeper, tile->a));
    keeper->options.done(keeper->options.context, tile->a);
    return AWQ_OK;
}

static void *keep_all(void *argument)
{
    awq_keeper *keeper = argument;
    awq_error err;
    awq_letter *tile;
    bool failed = false;
    while (!awq_lane_take(keeper->tiles, &tile, &err)) {
        if (!failed && keep(keeper, tile, &err)) {
            failed = true;
            keeper->options.failed(keeper->options.context, &err);
        }
        awq_letter_free(tile);
    }
    return NULL;
}

awq_status awq_keeper_start(const awq_keeper_options *options, awq_lane *tiles, awq_keeper **out,
                            awq_error *err)
{
    awq_keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the boundary keeper");
    *keeper = (awq_keeper){.options = *options, .tiles = tiles};
    if (pthread_create(&keeper->thread, NULL, keep_all, keeper)) {
        free(keeper);
        return awq_fail(err, AWQ_ERR_INTERNAL, "cannot start the boundary keeper's thread");
    }
    *out = keeper;
    return AWQ_OK;
}

void awq_keeper_free(awq_keeper *keeper)
{
    if (!keeper) return;
    pthread_join(keeper->thread, NULL);
    while (keeper->open) drop(&keeper->open);
    if (keeper->device) keeper->options.backend->close(keeper->device);
    free(keeper->copy);
    free(keeper);
}
