/* SPDX-License-Identifier: MIT
 * kernels/cpu/rounding_error.c - d = w - Q(w * s) / s, for each s: the search's inner loop.
 * Moves 8 bytes an element; two divisions each. */
#include "kernels/cpu/quantizer.h"
#include "kernels/cpu/verbs.h"

typedef struct rounding_job {
    float *d;
    const float *w, *s;
    int64_t count; /* of s */
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

static void rounding_row(const rounding_job *job, int64_t candidate, int64_t row)
{
    int64_t in = job->extent.in, size = job->grid->group_size;
    float *d = job->d + (candidate * job->extent.out + row) * in;
    const float *w = job->w + row * in, *s = job->s + candidate * in;
    for (int64_t i = 0; i < in; i += size) {
        scale_group(d + i, w + i, s + i, size);
        group_code code = group_code_of(range_of(d + i, size), job->grid);
        rounding_group(d + i, w + i, s + i, size, &code);
    }
}

/* A row at all scales: it is read once. */
static void rounding_block(void *context, int64_t row, int thread)
{
    (void)thread;
    const rounding_job *job = context;
    for (int64_t i = 0; i < job->count; i++) rounding_row(job, i, row);
}

void rounding_error_cpu(awq_device *device, void *d, const void *w, const float *s, int64_t count,
                        awq_extent extent, const awq_grid *grid)
{
    rounding_job job = {d, w, s, count, extent, grid};
    cpu_run(device, extent.out, rounding_block, &job);
}
