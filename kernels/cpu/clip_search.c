/* SPDX-License-Identifier: MIT
 * kernels/cpu/clip_search.c - per row and group, the limit M_j = max|w| (1 - j/20), j = 0..9, that
 * minimises e^T G_gg e, e = (w - Q(clamp(w, -M_j, M_j))) / s (docs/awq.md 2.8: dividing e by s is
 * dividing G by s_i s_j, and needs no copy of G).
 *
 * A block is (group, some rows): its candidate errors [rows * 10, g] times G_gg by sgemm, then dot
 * products in float64. 20 out in g flops. Strictly smaller wins; a NaN never does. */
#include <cblas.h>
#include <math.h>

#include "kernels/cpu/dot.h"
#include "kernels/cpu/quantizer.h"
#include "kernels/cpu/verbs.h"

enum { CLIP_STEPS = 10, CLIP_ROWS = 64, CLIP_ROWS_LEAST = 16, CLIP_ELEMENTS = 1 << 13 };

typedef struct clip_job {
    awq_device *device;
    float *limit;
    const float *folded, *gram, *s;
    awq_extent extent;
    const awq_grid *grid;
    int64_t block_rows;
} clip_job;

static float clip_limit(float magnitude, int step)
{
    return magnitude * (1.0f - (float)step / 20.0f);
}

AWQ_VECTORIZE static void clip_group(float *restrict e, const float *restrict w,
                                     const float *restrict s, int64_t count, float limit,
                                     const group_code *restrict group)
{
    const group_code code = *group;
    for (int64_t i = 0; i < count; i++) {
        float clamped = clamp_between(w[i], -limit, limit);
        e[i] = (w[i] - code_value(value_code(clamped, &code), &code)) / s[i];
    }
}

/* The errors [CLIP_STEPS, g] of one row's group. */
static void candidate_errors(const clip_job *job, int64_t row, int64_t first, float *e)
{
    int64_t size = job->grid->group_size;
    const float *w = job->folded + row * job->extent.in + first;
    group_range range = range_of(w, size);
    for (int step = 0; step < CLIP_STEPS; step++) {
        float limit = clip_limit(range_magnitude(range), step);
        group_code code = group_code_of(range_clamped(range, limit), job->grid);
        clip_group(e + step * size, w, job->s + first, size, limit, &code);
    }
}

/* Which step has the least error; 0 if none is finite. */
static int best_step(const float *e, const float *ge, int64_t size)
{
    int best = 0;
    double least = INFINITY;
    for (int step = 0; step < CLIP_STEPS; step++) {
        double error = cpu_dot(e + step * size, ge + step * size, size);
        if (error < least) {
            least = error;
            best = step;
        }
    }
    return best;
}

static void clip_block(void *context, int64_t block, int thread)
{
    const clip_job *job = context;
    int64_t in = job->extent.in, size = job->grid->group_size, groups = in / size;
    int64_t group = block % groups, first = group * size;
    int64_t row = block / groups * job->block_rows;
    int64_t rows = cpu_min(job->block_rows, job->extent.out - row);
    float *e = cpu_scratch(job->device, thread), *ge = e + job->block_rows * CLIP_STEPS * size;
    for (int64_t r = 0; r < rows; r++)
        candidate_errors(job, row + r, first, e + r * CLIP_STEPS * size);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)(rows * CLIP_STEPS), (int)size,
                (int)size, 1.0f, e, (int)size, job->gram + first * in + first, (int)in, 0.0f, ge,
                (int)size);
    for (int64_t r = 0; r < rows; r++) {
        int step = best_step(e + r * CLIP_STEPS * size, ge + r * CLIP_STEPS * size, size);
        float magnitude = range_magnitude(range_of(job->folded + (row + r) * in + first, size));
        job->limit[(row + r) * groups + group] = step ? clip_limit(magnitude, step) : INFINITY;
    }
}

void clip_search_cpu(awq_device *device, float *limit, const float *folded, const float *gram,
                     const float *s, awq_extent extent, const awq_grid *grid)
{
    clip_job job = {device, limit, folded, gram, s, extent, grid, CLIP_ELEMENTS / grid->group_size};
    if (job.block_rows < CLIP_ROWS_LEAST) job.block_rows = CLIP_ROWS_LEAST;
    if (job.block_rows > CLIP_ROWS) job.block_rows = CLIP_ROWS;
    size_t elements = 2 * CLIP_STEPS * (size_t)(job.block_rows * grid->group_size);
    if (!cpu_reserve(device, elements * sizeof(float), "clip_search")) return;
    int64_t blocks = cpu_blocks(extent.out, job.block_rows) * (extent.in / grid->group_size);
    cpu_run(device, blocks, clip_block, &job);
}
