/* SPDX-License-Identifier: MIT */
#include "layers/result_memory.h"

#include <pthread.h>
#include <stdlib.h>

enum { PIECES = 2 };

typedef struct memory_piece {
    void *base; /* NULL: none yet */
    size_t bytes;
    bool taken;
} memory_piece;

struct awq_result_memory {
    awq_device *device;
    pthread_mutex_t mutex; /* guards what follows; base and bytes change while none has the piece */
    memory_piece piece[PIECES];
};

awq_status awq_result_memory_create(awq_device *device, awq_result_memory **out, awq_error *err)
{
    awq_result_memory *memory = calloc(1, sizeof *memory);
    if (!memory) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a layer's result");
    memory->device = device;
    pthread_mutex_init(&memory->mutex, NULL);
    *out = memory;
    return AWQ_OK;
}

void awq_result_memory_free(awq_result_memory *memory)
{
    if (!memory) return;
    for (int i = 0; i < PIECES; i++)
        memory->device->backend->release_host(memory->device, memory->piece[i].base);
    pthread_mutex_destroy(&memory->mutex);
    free(memory);
}

/* One that is not taken, the largest; NULL: all are. */
static memory_piece *reserve(awq_result_memory *memory)
{
    memory_piece *found = NULL;
    pthread_mutex_lock(&memory->mutex);
    for (int i = 0; i < PIECES; i++)
        if (!memory->piece[i].taken && (!found || memory->piece[i].bytes > found->bytes))
            found = &memory->piece[i];
    if (found) found->taken = true;
    pthread_mutex_unlock(&memory->mutex);
    return found;
}

static awq_status grow(awq_result_memory *memory, memory_piece *piece, size_t bytes, awq_error *err)
{
    const awq_backend *be = memory->device->backend;
    be->release_host(memory->device, piece->base);
    *piece = (memory_piece){.taken = true};
    if (be->alloc_host(memory->device, bytes, "a layer's codes", &piece->base, err))
        return err->status;
    piece->bytes = bytes;
    return AWQ_OK;
}

awq_status awq_result_memory_take(awq_result_memory *memory, size_t bytes, void **out,
                                  awq_error *err)
{
    memory_piece *piece = reserve(memory);
    if (!piece)
        return awq_fail(err, AWQ_ERR_INTERNAL, "a third layer is made while two are written");
    if (piece->bytes < bytes && grow(memory, piece, bytes, err)) {
        awq_result_memory_give(memory, piece->base);
        return err->status;
    }
    *out = piece->base;
    return AWQ_OK;
}

void awq_result_memory_give(awq_result_memory *memory, void *base)
{
    pthread_mutex_lock(&memory->mutex);
    for (int i = 0; i < PIECES; i++)
        if (memory->piece[i].base == base) memory->piece[i].taken = false;
    pthread_mutex_unlock(&memory->mutex);
}
