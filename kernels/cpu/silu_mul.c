/* SPDX-License-Identifier: MIT
 * kernels/cpu/silu_mul.c - y = gate / (1 + exp(-gate)) * up. Moves 12 bytes an element. */
#include "kernels/cpu/exp.h"
#include "kernels/cpu/verbs.h"

enum { SILU_BLOCK = 1 << 14 };

typedef struct silu_job {
    float *y;
    const float *gate, *up;
    int64_t count;
} silu_job;

AWQ_VECTORIZE static void silu_mul(float *y, const float *gate, const float *up, int64_t count)
{
    AWQ_SAME_OR_APART
    for (int64_t i = 0; i < count; i++) y[i] = gate[i] / (1.0f + exp_float(-gate[i])) * up[i];
}

static void silu_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const silu_job *job = context;
    int64_t begin = block * SILU_BLOCK, count = cpu_min(SILU_BLOCK, job->count - begin);
    silu_mul(job->y + begin, job->gate + begin, job->up + begin, count);
}

void silu_mul_cpu(awq_device *device, void *y, const void *gate, const void *up, size_t count)
{
    silu_job job = {y, gate, up, (int64_t)count};
    cpu_run(device, cpu_blocks(job.count, SILU_BLOCK), silu_block, &job);
}
