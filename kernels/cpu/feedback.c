/* SPDX-License-Identifier: MIT
 * kernels/cpu/feedback.c - codes whose rounding errors make up for one another (docs/awq.md 2.9).
 *
 *   t_j = w_j + sum over i < j of e_i U_ij, q_j = the code of t_j, e_j = w_j - its value
 *
 * A block is some rows, which do not depend on others. It goes through the columns in blocks of
 * COLS: the sum over all earlier blocks is one sgemm; within, columns are rows of a transposed
 * tile, so that all of the block's rows are rounded at once: sums over earlier steps of STEP
 * columns by sgemm, within a step by plain loops. out in (in + STEP) flops. */
#include <string.h>

#include "kernels/cpu/blas.h"
#include "kernels/cpu/quantizer.h"
#include "kernels/cpu/verbs.h"

/* LD: a transposed column's place, so long that columns do not share cache sets. */
enum { FEEDBACK_ROWS = 128, FEEDBACK_COLS = 256, FEEDBACK_STEP = 32, FEEDBACK_LD = 144 };

typedef struct feedback_job {
    awq_device *device;
    uint8_t *codes;
    float *d;
    const float *folded, *factor;
    const int32_t *order;
    const uint16_t *scales;
    const uint8_t *zeros;
    awq_extent extent;
    const awq_grid *grid;
} feedback_job;

/* A thread's scratch: columns of the block [COLS, LD], transposed. */
typedef struct feedback_tile {
    float staged[FEEDBACK_ROWS * FEEDBACK_COLS]; /* [rows, cols]: not yet transposed */
    float w[FEEDBACK_COLS * FEEDBACK_LD];
    float t[FEEDBACK_COLS * FEEDBACK_LD];
    float e[FEEDBACK_COLS * FEEDBACK_LD];
    uint8_t codes[FEEDBACK_COLS * FEEDBACK_LD];
    float scale[FEEDBACK_ROWS], zero[FEEDBACK_ROWS];
    int64_t row, rows; /* of the weight */
    int64_t col, cols; /* in the order */
    int64_t group;     /* whose scales these are */
} feedback_tile;

AWQ_VECTORIZE static void add_scaled(float *restrict sum, const float *restrict x, float a,
                                     int64_t count)
{
    for (int64_t r = 0; r < count; r++) sum[r] += a * x[r];
}

/* One column: codes of t, and the errors that they leave in w. A target far outside the range is
 * cut before it is rounded, which changes no code and keeps round_even in its range. */
AWQ_VECTORIZE static void round_column(uint8_t *restrict codes, float *restrict e,
                                       const float *restrict t, const float *restrict w,
                                       const float *restrict scale, const float *restrict zero,
                                       float qmax, int64_t count)
{
    for (int64_t r = 0; r < count; r++) {
        float steps = round_even(clamp_between(t[r] / scale[r], -1024.0f, 1024.0f));
        float code = clamp_between(steps + zero[r], 0.0f, qmax);
        codes[r] = code_byte(code);
        e[r] = w[r] - (code - zero[r]) * scale[r];
    }
}

/* Scales and zeros of a group, for the tile's rows. */
static void load_group(const feedback_job *job, feedback_tile *tile, int64_t group)
{
    if (group == tile->group) return;
    int64_t groups = job->extent.in / job->grid->group_size;
    for (int64_t r = 0; r < tile->rows; r++) {
        int64_t at = (tile->row + r) * groups + group;
        tile->scale[r] = awq_float_from_f16(job->scales[at]);
        tile->zero[r] = (float)job->zeros[at];
    }
    tile->group = group;
}

/* The tile's weights, and what the columns before it ask of them. */
static void load_tile(const feedback_job *job, feedback_tile *tile)
{
    int64_t in = job->extent.in, rows = tile->rows, cols = tile->cols;
    for (int64_t r = 0; r < rows; r++) {
        const float *row = job->folded + (tile->row + r) * in;
        for (int64_t c = 0; c < cols; c++)
            tile->w[c * FEEDBACK_LD + r] = row[job->order[tile->col + c]];
    }
    memcpy(tile->t, tile->w, (size_t)(cols * FEEDBACK_LD) * sizeof *tile->t);
    if (!tile->col) return;
    cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)cols, (int)tile->col,
                   1.0f, job->d + tile->row * in, (int)in, job->factor + tile->col, (int)in, 0.0f,
                   tile->staged, (int)cols);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++)
            tile->t[c * FEEDBACK_LD + r] += tile->staged[r * cols + c];
}

static void round_step(const feedback_job *job, feedback_tile *tile, int64_t first)
{
    int64_t in = job->extent.in, rows = tile->rows;
    int64_t count = cpu_min(FEEDBACK_STEP, tile->cols - first);
    float qmax = (float)((1 << job->grid->bits) - 1);
    const float *factor = job->factor + tile->col * in + tile->col + first;
    if (first)
        cpu_blas.sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)count, (int)rows, (int)first,
                       1.0f, factor, (int)in, tile->e, FEEDBACK_LD, 1.0f,
                       tile->t + first * FEEDBACK_LD, FEEDBACK_LD);
    for (int64_t c = first; c < first + count; c++, factor++) { /* its column */
        int64_t at = c * FEEDBACK_LD;
        for (int64_t i = first; i < c; i++)
            add_scaled(tile->t + at, tile->e + i * FEEDBACK_LD, factor[i * in], rows);
        load_group(job, tile, job->order[tile->col + c] / job->grid->group_size);
        round_column(tile->codes + at, tile->e + at, tile->t + at, tile->w + at, tile->scale,
                     tile->zero, qmax, rows);
    }
}

/* The codes to where their columns belong; the errors for the columns to come. */
static void store_tile(const feedback_job *job, const feedback_tile *tile)
{
    const int32_t *order = job->order + tile->col;
    for (int64_t r = 0; r < tile->rows; r++) {
        int64_t row = (tile->row + r) * job->extent.in;
        float *d = job->d + row + tile->col;
        for (int64_t c = 0; c < tile->cols; c++) {
            d[c] = tile->e[c * FEEDBACK_LD + r];
            job->codes[row + order[c]] = tile->codes[c * FEEDBACK_LD + r];
        }
    }
}

static void feedback_block(void *context, int64_t block, int thread)
{
    const feedback_job *job = context;
    feedback_tile *tile = cpu_scratch(job->device, thread);
    tile->row = block * FEEDBACK_ROWS;
    tile->rows = cpu_min(FEEDBACK_ROWS, job->extent.out - tile->row);
    tile->group = -1;
    for (tile->col = 0; tile->col < job->extent.in; tile->col += FEEDBACK_COLS) {
        tile->cols = cpu_min(FEEDBACK_COLS, job->extent.in - tile->col);
        load_tile(job, tile);
        for (int64_t c = 0; c < tile->cols; c += FEEDBACK_STEP) round_step(job, tile, c);
        store_tile(job, tile);
    }
}

/* Until the end d has the errors themselves, in the order. */
void feedback_cpu(awq_device *device, uint8_t *codes, void *d, float *folded, const float *factor,
                  const int32_t *order, const uint16_t *scales, const uint8_t *zeros,
                  const float *s, awq_extent extent, const awq_grid *grid)
{
    feedback_job job = {device, codes, d, folded, factor, order, scales, zeros, extent, grid};
    if (!cpu_reserve(device, sizeof(feedback_tile), "feedback")) return;
    cpu_run(device, cpu_blocks(extent.out, FEEDBACK_ROWS), feedback_block, &job);
    coded_error_cpu(device, d, folded, codes, scales, zeros, s, extent, grid);
}
