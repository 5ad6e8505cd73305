/* SPDX-License-Identifier: MIT
 * kernels/cpu/softcap.c - x = cap tanh(x / cap), in place. Moves 8 bytes an element. */
#include "kernels/cpu/tanh.h"
#include "kernels/cpu/verbs.h"

enum { SOFTCAP_BLOCK = 1 << 14 };

typedef struct softcap_job {
    float *x;
    float cap;
    int64_t count;
} softcap_job;

AWQ_VECTORIZE static void cap_values(float *x, float cap, int64_t count)
{
    for (int64_t i = 0; i < count; i++) x[i] = softcap_float(x[i], cap);
}

static void softcap_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const softcap_job *job = context;
    int64_t begin = block * SOFTCAP_BLOCK;
    cap_values(job->x + begin, job->cap, cpu_min(SOFTCAP_BLOCK, job->count - begin));
}

void softcap_cpu(awq_device *device, float *x, float cap, size_t count)
{
    softcap_job job = {x, cap, (int64_t)count};
    cpu_run(device, cpu_blocks(job.count, SOFTCAP_BLOCK), softcap_block, &job);
}
