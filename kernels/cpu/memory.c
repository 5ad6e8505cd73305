/* SPDX-License-Identifier: MIT
 * kernels/cpu/memory.c - device memory is host memory. */
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/verbs.h"

awq_status alloc_cpu(awq_device *device, size_t bytes, const char *what, void **out, awq_error *err)
{
    (void)device;
    void *array = bytes <= SIZE_MAX - 64 ? aligned_alloc(64, (bytes + 64) & ~(size_t)63) : NULL;
    if (!array) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for %s: %zu bytes", what, bytes);
    *out = array;
    return AWQ_OK;
}

void release_cpu(awq_device *device, void *array)
{
    (void)device;
    free(array);
}

void zero_cpu(awq_device *device, void *array, size_t bytes)
{
    (void)device;
    memset(array, 0, bytes);
}

void copy_cpu(awq_device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    memcpy(to, from, bytes);
}

awq_status download_cpu(awq_device *device, void *host, const void *from, size_t bytes,
                        awq_error *err)
{
    if (cpu_status(device, err)) return err->status;
    memcpy(host, from, bytes);
    return AWQ_OK;
}

void narrow_cpu(awq_device *device, void *to, const float *from, size_t count)
{
    (void)device;
    memcpy(to, from, count * sizeof *from);
}
