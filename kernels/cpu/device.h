/* SPDX-License-Identifier: MIT
 * kernels/cpu/device.h - the CPU as a device: its threads, their scratch memory, its first error.
 *
 * Device memory is host memory and the compute type is float32, so `void *` of the table is
 * `float *` here. */
#ifndef AWQ_KERNELS_CPU_DEVICE_H
#define AWQ_KERNELS_CPU_DEVICE_H

#include <stdatomic.h>

#include "kernels/backend.h"
#include "kernels/cpu/pool.h"

typedef struct cpu_device {
    awq_device base;
    cpu_pool *pool;
    atomic_bool failed;
    awq_error error; /* the first failure; whole once `failed` is set */
    char *scratch;   /* base.threads pieces of scratch_bytes */
    size_t scratch_bytes;
    double mark; /* clock seconds of the last lap */
} cpu_device;

/* Runs blocks on the device's threads; does nothing after a failure. */
void cpu_run(awq_device *device, int64_t blocks, cpu_block *run, void *context);

/* Makes each thread's scratch at least `bytes`; false (and the device has failed): no memory. */
bool cpu_reserve(awq_device *device, size_t bytes, const char *what);
/* The device has failed: there were not so many bytes for a verb. */
void cpu_lack(awq_device *device, size_t bytes, const char *what);
/* A thread's scratch, 64-byte aligned. */
void *cpu_scratch(awq_device *device, int thread);

/* AWQ_OK, or the device's first error. */
awq_status cpu_status(awq_device *device, awq_error *err);

static inline int64_t cpu_blocks(int64_t count, int64_t block)
{
    return (count + block - 1) / block;
}

static inline int64_t cpu_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
