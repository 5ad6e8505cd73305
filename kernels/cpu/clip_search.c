/* SPDX-License-Identifier: MIT
 * kernels/cpu/clip_search.c - per row and group, the cut of the range that has the least e^T G_gg
 * e, e = (w - Q(w clamped to the cut range)) / s (docs/awq.md 2.8: dividing e by s is dividing G by
 * s_i s_j, and needs no copy of G).
 *
 * A sweep tries AWQ_CLIP_STEPS cuts of every group: both ends by the same step, or one end with the
 * other as it is best so far. A block is (group, some rows): its errors [rows * 10, g] times G_gg
 * by sgemm, then dot products in float64. 20 out in g flops a sweep. Strictly smaller wins; a NaN
 * never does. */
#include <math.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/dot.h"
#include "kernels/cpu/quantizer.h"
#include "kernels/cpu/verbs.h"
#include "kernels/gram.h"

enum { CLIP_ROWS = 64, CLIP_ROWS_LEAST = 16, CLIP_ELEMENTS = 1 << 13 };

/* The ends that a sweep moves. */
enum { SWEEP_BOTH, SWEEP_ABOVE, SWEEP_BELOW };

/* Of an asymmetric clip; all hundred pairs would take ten, two more of these gain nothing. */
static const int sweeps[] = {SWEEP_BOTH, SWEEP_ABOVE, SWEEP_BELOW};

enum { ASYMMETRIC_SWEEPS = sizeof sweeps / sizeof *sweeps };

typedef struct cut {
    int above, below; /* steps */
    double error;
} cut;

typedef struct clip_job {
    awq_device *device;
    const awq_clip *clip;
    const float *folded, *gram, *s;
    awq_extent extent;
    const awq_grid *grid;
    int64_t block_rows;
} clip_job;

/* Some rows of one group, and their best cuts so far. */
typedef struct clip_block {
    const clip_job *job;
    int64_t row, rows, group;
    float *e, *ge; /* [rows, AWQ_CLIP_STEPS, g] */
    cut best[CLIP_ROWS];
} clip_block;

AWQ_VECTORIZE static void clip_group(float *restrict e, const float *restrict w,
                                     const float *restrict s, int64_t count, group_range range,
                                     const group_code *restrict group)
{
    const group_code code = *group;
    for (int64_t i = 0; i < count; i++) {
        float clamped = clamp_between(w[i], -range.below, range.above);
        e[i] = (w[i] - code_value(value_code(clamped, &code), &code)) / s[i];
    }
}

static cut cut_tried(cut best, int sweep, int step)
{
    return (cut){.above = sweep == SWEEP_BELOW ? best.above : step,
                 .below = sweep == SWEEP_ABOVE ? best.below : step};
}

/* The errors [AWQ_CLIP_STEPS, g] of row r's group. */
static void cut_errors(const clip_block *block, int64_t r, int sweep)
{
    const clip_job *job = block->job;
    int64_t size = job->grid->group_size, first = block->group * size;
    const float *w = job->folded + (block->row + r) * job->extent.in + first;
    float *e = block->e + r * AWQ_CLIP_STEPS * size;
    group_range whole = range_of(w, size);
    for (int step = 0; step < AWQ_CLIP_STEPS; step++) {
        cut tried = cut_tried(block->best[r], sweep, step);
        group_range range = range_cut(whole, job->clip->shape, tried.above, tried.below);
        group_code code = group_code_of(range, job->grid);
        clip_group(e + step * size, w, job->s + first, size, range, &code);
    }
}

static void choose_cut(clip_block *block, int64_t r, int sweep)
{
    int64_t size = block->job->grid->group_size, first = r * AWQ_CLIP_STEPS * size;
    const cut before = block->best[r];
    for (int step = 0; step < AWQ_CLIP_STEPS; step++) {
        int64_t at = first + step * size;
        cut tried = cut_tried(before, sweep, step);
        tried.error = cpu_dot(block->e + at, block->ge + at, size);
        if (tried.error < block->best[r].error) block->best[r] = tried;
    }
}

/* The last column, and one more, of what a group has of the block column of `column`. */
static int64_t piece_end(const clip_block *block, int64_t column)
{
    int64_t size = block->job->grid->group_size, group_end = (block->group + 1) * size;
    return cpu_min((column / AWQ_GRAM_BLOCK + 1) * AWQ_GRAM_BLOCK, group_end);
}

/* ge += e G_jk of the group's columns from j and k on, j <= k, each in a block column; beyond the
 * diagonal the transpose too. What comes first to a piece of ge is not added. */
static void multiply_piece(const clip_block *block, int64_t j, int64_t k)
{
    const clip_job *job = block->job;
    int64_t in = job->extent.in, size = job->grid->group_size, first = block->group * size;
    int rows = (int)(block->rows * AWQ_CLIP_STEPS), height = (int)(piece_end(block, j) - j);
    int width = (int)(piece_end(block, k) - k), stride = (int)awq_gram_width(in, k);
    const float *gram = job->gram + awq_gram_index(in, j, k);
    cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, width, height, 1.0f,
                   block->e + j - first, (int)size, gram, stride, j == first ? 0.0f : 1.0f,
                   block->ge + k - first, (int)size);
    if (j < k)
        cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, height, width, 1.0f,
                       block->e + k - first, (int)size, gram, stride, 1.0f, block->ge + j - first,
                       (int)size);
}

static void run_sweep(clip_block *block, int sweep)
{
    int64_t size = block->job->grid->group_size, first = block->group * size, end = first + size;
    for (int64_t r = 0; r < block->rows; r++) cut_errors(block, r, sweep);
    for (int64_t j = first; j < end; j = piece_end(block, j))
        for (int64_t k = j; k < end; k = piece_end(block, k)) multiply_piece(block, j, k);
    for (int64_t r = 0; r < block->rows; r++) choose_cut(block, r, sweep);
}

static void run_block(void *context, int64_t index, int thread)
{
    const clip_job *job = context;
    bool asymmetric = job->clip->shape == AWQ_CLIP_ASYMMETRIC;
    int64_t size = job->grid->group_size, groups = job->extent.in / size;
    int64_t row = index / groups * job->block_rows;
    clip_block block = {.job = job,
                        .row = row,
                        .rows = cpu_min(job->block_rows, job->extent.out - row),
                        .group = index % groups,
                        .e = cpu_scratch(job->device, thread)};
    block.ge = block.e + job->block_rows * AWQ_CLIP_STEPS * size;
    for (int64_t r = 0; r < block.rows; r++) block.best[r] = (cut){.error = INFINITY};
    int count = asymmetric ? ASYMMETRIC_SWEEPS : 1;
    for (int i = 0; i < count; i++) run_sweep(&block, sweeps[i]);
    for (int64_t r = 0; r < block.rows; r++) {
        uint8_t *step = job->clip->steps + (row + r) * groups + block.group;
        *step = (uint8_t)block.best[r].above;
        if (asymmetric) step[job->extent.out * groups] = (uint8_t)block.best[r].below;
    }
}

void clip_search_cpu(awq_device *device, const awq_clip *clip, const float *folded,
                     const float *gram, const float *s, awq_extent extent, const awq_grid *grid)
{
    clip_job job = {device, clip, folded, gram, s, extent, grid, CLIP_ELEMENTS / grid->group_size};
    if (job.block_rows < CLIP_ROWS_LEAST) job.block_rows = CLIP_ROWS_LEAST;
    if (job.block_rows > CLIP_ROWS) job.block_rows = CLIP_ROWS;
    size_t elements = 2 * AWQ_CLIP_STEPS * (size_t)(job.block_rows * grid->group_size);
    if (!cpu_reserve(device, elements * sizeof(float), "clip_search")) return;
    int64_t blocks = cpu_blocks(extent.out, job.block_rows) * (extent.in / grid->group_size);
    cpu_run(device, blocks, run_block, &job);
}
