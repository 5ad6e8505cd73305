/* SPDX-License-Identifier: MIT
 * kernels/cpu/quantize.c - codes, scales and zeros of Q(clamp(folded, -limit, limit)). Reads 4
 * bytes a weight, writes one. */
#include <math.h>

#include "kernels/cpu/quantizer.h"
#include "kernels/cpu/verbs.h"

typedef struct quantize_job {
    uint8_t *codes, *zeros;
    uint16_t *scales;
    const float *folded, *limit;
    awq_extent extent;
    const awq_grid *grid;
} quantize_job;

AWQ_VECTORIZE static void code_group(uint8_t *restrict codes, const float *restrict w,
                                     int64_t count, float limit, const group_code *restrict group)
{
    const group_code code = *group;
    for (int64_t i = 0; i < count; i++)
        codes[i] = code_byte(value_code(clamp_between(w[i], -limit, limit), &code));
}

static void quantize_block(void *context, int64_t row, int thread)
{
    (void)thread;
    const quantize_job *job = context;
    int64_t size = job->grid->group_size, groups = job->extent.in / size;
    for (int64_t i = 0; i < groups; i++) {
        int64_t group = row * groups + i;
        const float *w = job->folded + group * size;
        float limit = job->limit ? job->limit[group] : INFINITY;
        group_code code = group_code_of(range_clamped(range_of(w, size), limit), job->grid);
        code_group(job->codes + group * size, w, size, limit, &code);
        job->scales[group] = code.half;
        job->zeros[group] = code_byte(code.zero);
    }
}

void quantize_cpu(awq_device *device, uint8_t *codes, uint16_t *scales, uint8_t *zeros,
                  const float *folded, const float *limit, awq_extent extent, const awq_grid *grid)
{
    quantize_job job = {codes, zeros, scales, folded, limit, extent, grid};
    cpu_run(device, extent.out, quantize_block, &job);
}
