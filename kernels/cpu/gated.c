/* SPDX-License-Identifier: MIT
 * kernels/cpu/gated.c - y = act(gate) * up. Moves 12 bytes an element.
 *
 * 0.5 x (1 + tanh(t)) is x / (1 + exp(-2t)): without the difference that loses bits where x is
 * below 0. */
#include "kernels/cpu/exp.h"
#include "kernels/cpu/verbs.h"

enum { GATED_BLOCK = 1 << 14 };

typedef struct gated_job {
    float *y;
    const float *gate, *up;
    int64_t count;
    awq_activation act;
} gated_job;

AWQ_VECTORIZE static void silu_mul(float *y, const float *gate, const float *up, int64_t count)
{
    AWQ_SAME_OR_APART
    for (int64_t i = 0; i < count; i++) y[i] = gate[i] / (1.0f + exp_float(-gate[i])) * up[i];
}

/* 2 sqrt(2/pi) (x + 0.044715 x^3) */
AWQ_INLINE float gelu_exponent(float x)
{
    return 1.5957691216f * (x + 0.044715f * x * x * x);
}

AWQ_VECTORIZE static void gelu_mul(float *y, const float *gate, const float *up, int64_t count)
{
    AWQ_SAME_OR_APART
    for (int64_t i = 0; i < count; i++)
        y[i] = gate[i] / (1.0f + exp_float(-gelu_exponent(gate[i]))) * up[i];
}

static void gated_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const gated_job *job = context;
    int64_t begin = block * GATED_BLOCK, count = cpu_min(GATED_BLOCK, job->count - begin);
    if (job->act == AWQ_SILU)
        silu_mul(job->y + begin, job->gate + begin, job->up + begin, count);
    else
        gelu_mul(job->y + begin, job->gate + begin, job->up + begin, count);
}

void gated_cpu(awq_device *device, void *y, const void *gate, const void *up, size_t count,
               awq_activation act)
{
    gated_job job = {y, gate, up, (int64_t)count, act};
    cpu_run(device, cpu_blocks(job.count, GATED_BLOCK), gated_block, &job);
}
