/* SPDX-License-Identifier: MIT
 * kernels/cpu/memory.c - device memory is host memory.
 *
 * Large arrays are asked for in huge pages: there are fewer to fault in, and sgemm misses the TLB
 * less. _DEFAULT_SOURCE: madvise and MADV_HUGEPAGE are Linux's own. */
#define _DEFAULT_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/cpu/verbs.h"

enum { HUGE_PAGE = 2 << 20, HUGE_LEAST = 8 * HUGE_PAGE };

awq_status alloc_cpu(awq_device *device, size_t bytes, const char *what, void **out, awq_error *err)
{
    (void)device;
    size_t alignment = bytes < HUGE_LEAST ? 64 : HUGE_PAGE;
    void *array = NULL;
    if (bytes <= SIZE_MAX - alignment)
        array = aligned_alloc(alignment, (bytes + alignment) & ~(alignment - 1));
    if (!array) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for %s: %zu bytes", what, bytes);
    if (alignment == HUGE_PAGE) madvise(array, bytes, MADV_HUGEPAGE); /* a wish, no more */
    *out = array;
    return AWQ_OK;
}

void release_cpu(awq_device *device, void *array)
{
    (void)device;
    free(array);
}

awq_status alloc_host_cpu(awq_device *device, size_t bytes, const char *what, void **out,
                          awq_error *err)
{
    return alloc_cpu(device, bytes, what, out, err);
}

void release_host_cpu(awq_device *device, void *memory)
{
    release_cpu(device, memory);
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

void upload_cpu(awq_device *device, void *to, const void *host, size_t bytes)
{
    copy_cpu(device, to, host, bytes);
}

void fetch_cpu(awq_device *device, void *host, const void *from, size_t bytes)
{
    if (bytes) copy_cpu(device, host, from, bytes); /* of nothing, NULL to NULL is fine */
}

void fetched_cpu(awq_device *device)
{
    (void)device;
}

awq_status sync_cpu(awq_device *device, awq_error *err)
{
    return cpu_status(device, err);
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
