/* SPDX-License-Identifier: MIT
 * kernels/cpu/quantize.c - codes, scales and zeros of Q of the folded weights, clamped to the range
 * that a clip leaves. Reads 4 bytes a weight, writes one. */
#include "kernels/cpu/quantizer.h"
#include "kernels/cpu/verbs.h"

typedef struct quantize_job {
    uint8_t *codes, *zeros;
    uint16_t *scales;
    const float *folded;
    const awq_clip *clip;
    awq_extent extent;
    const awq_grid *grid;
} quantize_job;

AWQ_VECTORIZE static void code_group(uint8_t *restrict codes, const float *restrict w,
                                     int64_t count, group_range range,
                                     const group_code *restrict group)
{
    const group_code code = *group;
    for (int64_t i = 0; i < count; i++)
        codes[i] = code_byte(value_code(clamp_between(w[i], -range.below, range.above), &code));
}

static void quantize_block(void *context, int64_t row, int thread)
{
    (void)thread;
    const quantize_job *job = context;
    const awq_clip *clip = job->clip;
    int64_t size = job->grid->group_size, groups = job->extent.in / size;
    for (int64_t i = 0; i < groups; i++) {
        int64_t group = row * groups + i; /* among all */
        group_range range = range_of(job->folded + group * size, size);
        if (clip) {
            const uint8_t *step = clip->steps + group;
            bool asymmetric = clip->shape == AWQ_CLIP_ASYMMETRIC;
            int below = asymmetric ? step[job->extent.out * groups] : 0;
            range = range_cut(range, clip->shape, *step, below);
        }
        group_code code = group_code_of(range, job->grid);
        code_group(job->codes + group * size, job->folded + group * size, size, range, &code);
        job->scales[group] = code.half;
        job->zeros[group] = code_byte(code.zero);
    }
}

void quantize_cpu(awq_device *device, uint8_t *codes, uint16_t *scales, uint8_t *zeros,
                  const float *folded, const awq_clip *clip, awq_extent extent,
                  const awq_grid *grid)
{
    quantize_job job = {codes, zeros, scales, folded, clip, extent, grid};
    cpu_run(device, extent.out, quantize_block, &job);
}
