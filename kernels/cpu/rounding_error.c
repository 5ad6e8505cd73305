/* SPDX-License-Identifier: MIT
 * kernels/cpu/rounding_error.c - d = w - Q(w * s) / s, [out, in]: the search's inner loop.
 * Moves 8 bytes an element; two divisions each. */
#include "kernels/cpu/quantizer.h"
#include "kernels/cpu/verbs.h"

typedef struct rounding_job {
    float *d;
    const float *w, *s;
    awq_extent extent;
    const awq_grid *grid;
} rounding_job;

AWQ_VECTORIZE static void scale_group(float *restrict d, const float *restrict w,
                                      const float *restrict s, int64_t count)
{
    for (int64_t i = 0; i < count; i++) d[i] = w[i] * s[i];
}

AWQ_VECTORIZE static void rounding_group(float *restrict d, const float *restrict w,
                                         const float *restrict s, int64_t count,
                                         const group_code *restrict group)
{
    const group_code code = *group;
    for (int64_t i = 0; i < count; i++)
        d[i] = w[i] - code_value(value_code(d[i], &code), &code) / s[i];
}

static void rounding_block(void *context, int64_t row, int thread)
{
    (void)thread;
    const rounding_job *job = context;
    int64_t in = job->extent.in, size = job->grid->group_size;
    for (int64_t i = 0; i < in; i += size) {
        float *d = job->d + row * in + i;
        const float *w = job->w + row * in + i;
        scale_group(d, w, job->s + i, size);
        group_code code = group_code_of(range_of(d, size), job->grid);
        rounding_group(d, w, job->s + i, size, &code);
    }
}

void rounding_error_cpu(awq_device *device, void *d, const void *w, const float *s,
                        awq_extent extent, const awq_grid *grid)
{
    rounding_job job = {d, w, s, extent, grid};
    cpu_run(device, extent.out, rounding_block, &job);
}
