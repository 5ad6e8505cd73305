/* SPDX-License-Identifier: MIT
 * worker/gpus.c - the GPUs that the backends of this build find. */
#include <assert.h>
#include <string.h>

#include "kernels/backend.h"
#include "worker/worker.h"

static_assert(sizeof((awq_gpu *)0)->name == sizeof((awq_device_facts *)0)->name &&
                  sizeof((awq_gpu *)0)->driver == sizeof((awq_device_facts *)0)->driver,
              "both are the same facts");

static awq_gpu gpu_of(const awq_device_facts *facts)
{
    awq_gpu gpu = {
        .memory_bytes = facts->memory_bytes, .major = facts->major, .minor = facts->minor};
    memcpy(gpu.name, facts->name, sizeof gpu.name);
    memcpy(gpu.driver, facts->driver, sizeof gpu.driver);
    return gpu;
}

int awq_worker_gpus(awq_gpu *out, int most, awq_error *err)
{
    enum { MOST = 64 };
    awq_device_facts facts[MOST];
    for (const awq_backend *const *backend = awq_backends(); *backend; backend++) {
        if (!(*backend)->survey) continue;
        int count = (*backend)->survey(facts, most < MOST ? most : MOST, err);
        for (int i = 0; i < count && i < most && i < MOST; i++) out[i] = gpu_of(facts + i);
        return count;
    }
    awq_fail(err, AWQ_ERR_DEVICE, "this build has no CUDA backend; build it where nvcc is");
    return 0;
}
