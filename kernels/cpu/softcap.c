/* SPDX-License-Identifier: MIT
 * kernels/cpu/softcap.c - x = cap tanh(x / cap), and x *= factor, in place. Moves 8 bytes an
 * element. */
#include "kernels/cpu/tanh.h"
#include "kernels/cpu/verbs.h"

enum { EACH_BLOCK = 1 << 14 };

typedef struct each_job {
    float *x;
    float by; /* cap or factor */
    int64_t count;
    void (*change)(float *x, float by, int64_t count);
} each_job;

AWQ_VECTORIZE static void cap_values(float *x, float cap, int64_t count)
{
    for (int64_t i = 0; i < count; i++) x[i] = softcap_float(x[i], cap);
}

AWQ_VECTORIZE static void scale_values(float *x, float factor, int64_t count)
{
    for (int64_t i = 0; i < count; i++) x[i] *= factor;
}

static void each_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const each_job *job = context;
    int64_t begin = block * EACH_BLOCK;
    job->change(job->x + begin, job->by, cpu_min(EACH_BLOCK, job->count - begin));
}

void softcap_cpu(awq_device *device, float *x, float cap, size_t count)
{
    each_job job = {x, cap, (int64_t)count, cap_values};
    cpu_run(device, cpu_blocks(job.count, EACH_BLOCK), each_block, &job);
}

void scale_cpu(awq_device *device, float *x, float factor, size_t count)
{
    each_job job = {x, factor, (int64_t)count, scale_values};
    cpu_run(device, cpu_blocks(job.count, EACH_BLOCK), each_block, &job);
}
