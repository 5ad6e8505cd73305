/* SPDX-License-Identifier: MIT */
#include "layers/search/result_memory.h"

#include <pthread.h>
#include <stdlib.h>

enum { PIECES = 2 };

struct awq_result_memory {
    awq_device *device;
    size_t bytes; /* of a piece */
    void *piece[PIECES];
    pthread_mutex_t mutex;
    bool taken[PIECES]; /* guarded by it */
};

awq_status awq_result_memory_create(awq_device *device, size_t bytes, awq_result_memory **out,
                                    awq_error *err)
{
    awq_result_memory *memory = calloc(1, sizeof *memory);
    if (!memory) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a layer's result");
    memory->device = device;
    memory->bytes = bytes;
    pthread_mutex_init(&memory->mutex, NULL);
    for (int i = 0; i < PIECES; i++)
        if (device->backend->alloc_host(device, bytes, "a layer's codes", &memory->piece[i], err)) {
            awq_result_memory_free(memory);
            return err->status;
        }
    *out = memory;
    return AWQ_OK;
}

void awq_result_memory_free(awq_result_memory *memory)
{
    if (!memory) return;
    for (int i = 0; i < PIECES; i++)
        memory->device->backend->release_host(memory->device, memory->piece[i]);
    pthread_mutex_destroy(&memory->mutex);
    free(memory);
}

awq_status awq_result_memory_take(awq_result_memory *memory, size_t bytes, void **out,
                                  awq_error *err)
{
    int found = -1;
    pthread_mutex_lock(&memory->mutex);
    for (int i = 0; found < 0 && i < PIECES; i++)
        if (!memory->taken[i]) found = i;
    if (found >= 0 && bytes <= memory->bytes) memory->taken[found] = true;
    pthread_mutex_unlock(&memory->mutex);
    if (bytes > memory->bytes)
        return awq_fail(err, AWQ_ERR_INTERNAL, "a layer's codes take %zu bytes, and %zu were meant",
                        bytes, memory->bytes);
    if (found < 0)
        return awq_fail(err, AWQ_ERR_INTERNAL, "a third layer is made while two are written");
    *out = memory->piece[found];
    return AWQ_OK;
}

void awq_result_memory_give(awq_result_memory *memory, void *piece)
{
    pthread_mutex_lock(&memory->mutex);
    for (int i = 0; i < PIECES; i++)
        if (memory->piece[i] == piece) memory->taken[i] = false;
    pthread_mutex_unlock(&memory->mutex);
}
