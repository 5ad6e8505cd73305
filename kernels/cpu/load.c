/* SPDX-License-Identifier: MIT
 * kernels/cpu/load.c - a checkpoint's elements become float32. Reads 2 or 4 bytes an element,
 * writes 4; exact. */
#include <string.h>

#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

enum { LOAD_BLOCK = 1 << 16, LOAD_CHUNK = 256 };

typedef struct load_job {
    float *to;
    const unsigned char *from;
    awq_dtype dtype;
    int64_t count;
} load_job;

/* Half to float without branches: the product by 2^112 moves the exponent and is exact, for
 * subnormals too; infinity and NaN get the largest exponent. */
AWQ_INLINE float widen_half(uint16_t half)
{
    uint32_t magnitude = (uint32_t)(half & 0x7fffu) << 13;
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t moved = awq_float_bits(awq_float_from_bits(magnitude) * 0x1p112f);
    uint32_t special = magnitude | 0x7f800000u;
    return awq_float_from_bits(sign | (magnitude < 0x0f800000u ? moved : special));
}

AWQ_VECTORIZE static void load_f16(float *restrict to, const uint16_t *restrict from, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] = widen_half(from[i]);
}

AWQ_VECTORIZE static void load_bf16(float *restrict to, const uint16_t *restrict from,
                                    int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] = awq_float_from_bf16(from[i]);
}

static void load_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const load_job *job = context;
    int64_t begin = block * LOAD_BLOCK, end = cpu_min(begin + LOAD_BLOCK, job->count);
    if (job->dtype == AWQ_F32) {
        memcpy(job->to + begin, job->from + 4 * begin, (size_t)(end - begin) * 4);
        return;
    }
    for (int64_t i = begin; i < end; i += LOAD_CHUNK) {
        uint16_t half[LOAD_CHUNK]; /* the source may be unaligned */
        int64_t count = cpu_min(LOAD_CHUNK, end - i);
        memcpy(half, job->from + 2 * i, (size_t)count * 2);
        if (job->dtype == AWQ_BF16)
            load_bf16(job->to + i, half, count);
        else
            load_f16(job->to + i, half, count);
    }
}

void load_cpu(awq_device *device, void *to, const void *host, awq_dtype dtype, size_t count)
{
    load_job job = {to, host, dtype, (int64_t)count};
    cpu_run(device, cpu_blocks(job.count, LOAD_BLOCK), load_block, &job);
}
