/* SPDX-License-Identifier: MIT
 * kernels/cpu/dequantize.c - what codes stand for: (code - zero) * scale, and how far that is from
 * the weights they were made of. Reads 1 to 5 bytes a weight, writes 4. */
#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

typedef struct dequantize_job {
    float *to;
    const float *folded, *s; /* NULL: the weights themselves */
    const uint8_t *codes, *zeros;
    const uint16_t *scales;
    awq_extent extent;
    int64_t group_size;
} dequantize_job;

AWQ_INLINE float stored_value(uint8_t code, float zero, float scale)
{
    return ((float)code - zero) * scale;
}

AWQ_VECTORIZE static void value_group(float *restrict w, const uint8_t *restrict codes, float zero,
                                      float scale, int64_t count)
{
    for (int64_t i = 0; i < count; i++) w[i] = stored_value(codes[i], zero, scale);
}

AWQ_VECTORIZE static void coded_group(float *restrict d, const float *restrict folded,
                                      const float *restrict s, const uint8_t *restrict codes,
                                      float zero, float scale, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        d[i] = (folded[i] - stored_value(codes[i], zero, scale)) / s[i];
}

static void dequantize_block(void *context, int64_t row, int thread)
{
    (void)thread;
    const dequantize_job *job = context;
    int64_t size = job->group_size, groups = job->extent.in / size;
    for (int64_t i = 0; i < groups; i++) {
        int64_t group = row * groups + i, at = group * size;
        float zero = job->zeros[group], scale = awq_float_from_f16(job->scales[group]);
        if (job->folded)
            coded_group(job->to + at, job->folded + at, job->s + i * size, job->codes + at, zero,
                        scale, size);
        else
            value_group(job->to + at, job->codes + at, zero, scale, size);
    }
}

void coded_error_cpu(awq_device *device, void *d, const float *folded, const uint8_t *codes,
                     const uint16_t *scales, const uint8_t *zeros, const float *s,
                     awq_extent extent, const awq_grid *grid)
{
    dequantize_job job = {d, folded, s, codes, zeros, scales, extent, grid->group_size};
    cpu_run(device, extent.out, dequantize_block, &job);
}

void dequantize_cpu(awq_device *device, void *w, const uint8_t *codes, const uint16_t *scales,
                    const uint8_t *zeros, awq_extent extent, const awq_grid *grid)
{
    dequantize_job job = {w, NULL, NULL, codes, zeros, scales, extent, grid->group_size};
    cpu_run(device, extent.out, dequantize_block, &job);
}
