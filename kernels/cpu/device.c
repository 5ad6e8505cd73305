/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/core/clock.h"
#include "kernels/backend_list.h"
#include "kernels/cpu/blas.h"
#include "kernels/cpu/verbs.h"

static cpu_device *cpu(awq_device *device)
{
    return (cpu_device *)device;
}

const char *library_cpu(int index)
{
    static char text[2][512]; /* one thread asks: awqrun version's */
    awq_error err;
    char version[32];
    if (index == 1) return *cpu_blas_warning() ? text[1] : NULL;
    if (index > 1) return NULL;
    if (cpu_blas_load(0, NULL, &err)) {
        snprintf(text[0], sizeof text[0], "OpenBLAS none: %.400s", err.text);
        return text[0];
    }
    cpu_blas_version(version, sizeof version);
    snprintf(text[0], sizeof text[0], "OpenBLAS %s, %s kernels", version, cpu_blas.core());
    snprintf(text[1], sizeof text[1], "warning %s", cpu_blas_warning());
    return text[0];
}

awq_status open_cpu(const awq_device_options *options, awq_device **out, awq_error *err)
{
    int threads = options->threads;
    if (threads < 1) return awq_fail(err, AWQ_ERR_USAGE, "%d CPU threads: at least 1", threads);
    if (cpu_blas_load(options->processor, options->earlier, err)) return err->status;
    cpu_device *device = calloc(1, sizeof *device);
    if (!device) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the CPU backend");
    if (cpu_pool_create(threads, &device->pool, err)) {
        free(device);
        return err->status;
    }
    device->base.backend = &awq_backend_cpu;
    device->base.threads = threads;
    device->base.compute = AWQ_F32;
    device->base.memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    snprintf(device->base.name, sizeof device->base.name, "CPU, %d thread%s", threads,
             threads == 1 ? "" : "s");
    char version[32];
    cpu_blas_version(version, sizeof version);
    snprintf(device->base.type, sizeof device->base.type, "OpenBLAS %s %s", version,
             cpu_blas.core());
    snprintf(device->base.warning, sizeof device->base.warning, "%s", cpu_blas_warning());
    *out = &device->base;
    return AWQ_OK;
}

void close_cpu(awq_device *device)
{
    if (!device) return;
    cpu_pool_free(cpu(device)->pool);
    free(cpu(device)->scratch);
    free(device);
}

void cpu_run(awq_device *device, int64_t blocks, cpu_block *run, void *context)
{
    if (atomic_load(&cpu(device)->failed)) return;
    cpu_pool_run(cpu(device)->pool, blocks, run, context);
}

bool cpu_reserve(awq_device *device, size_t bytes, const char *what)
{
    cpu_device *self = cpu(device);
    if (atomic_load(&self->failed)) return false;
    bytes = (bytes + 63) & ~(size_t)63;
    if (bytes <= self->scratch_bytes) return true;
    free(self->scratch);
    self->scratch_bytes = 0;
    self->scratch = aligned_alloc(64, bytes * (size_t)device->threads);
    if (!self->scratch) {
        cpu_lack(device, bytes * (size_t)device->threads, what);
        return false;
    }
    self->scratch_bytes = bytes;
    return true;
}

void cpu_lack(awq_device *device, size_t bytes, const char *what)
{
    cpu_device *self = cpu(device);
    if (atomic_load(&self->failed)) return;
    awq_fail(&self->error, AWQ_ERR_MEMORY, "no memory for the scratch of %s: %zu bytes", what,
             bytes);
    atomic_store(&self->failed, true);
}

void *cpu_scratch(awq_device *device, int thread)
{
    return cpu(device)->scratch + cpu(device)->scratch_bytes * (size_t)thread;
}

awq_status cpu_status(awq_device *device, awq_error *err)
{
    if (!atomic_load(&cpu(device)->failed)) return AWQ_OK;
    *err = cpu(device)->error;
    return err->status;
}

void lap_cpu(awq_device *device, double *seconds)
{
    double nobodys = 0;
    awq_clock_lap(&cpu(device)->mark, seconds ? seconds : &nobodys);
}

#define MEMBER(verb) .verb = verb##_cpu,
const awq_backend awq_backend_cpu = {
    .name = "cpu", .compute_bytes = sizeof(float), AWQ_VERB_LIST(MEMBER)};
#undef MEMBER
