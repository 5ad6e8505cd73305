/* SPDX-License-Identifier: MIT
 * kernels/cpu/feedback_factor.c - H = U diag(p) U^T, U unit upper triangular: how an error in one
 * column is made up for in the others (docs/awq.md 2.9).
 *
 * A Cholesky factorization from the last row upwards, R R^T = H with R upper, in blocks: the
 * diagonal block by our own loops in float64, the panel above it by strsm, what is left of the
 * triangle by sgemm. At the end U = R with each column divided by its diagonal element.
 * in^3 / 3 flops. The summed dimension is cut into BLOCKs and added from the last to the first,
 * whatever the number of threads. */
#include <math.h>

#include "kernels/column_order.h"
#include "kernels/cpu/blas.h"
#include "kernels/cpu/triangle.h"
#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"
#include "kernels/gram.h"

enum { FACTOR_BLOCK = 256, FACTOR_UPDATE = 512 };

typedef struct factor_job {
    float *factor;
    const float *gram, *s;
    const int32_t *order;
    int64_t in;
    int64_t last; /* the diagonal block that has been factored */
} factor_job;

/* ---- H ---- */

static float scaled(const factor_job *job, int64_t i, int64_t j)
{
    return awq_gram_at(job->gram, job->in, i, j) / (job->s[i] * job->s[j]);
}

/* H's upper triangle, by whole blocks on the diagonal, without the damping. */
static void scale_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const factor_job *job = context;
    int64_t first = block * FACTOR_BLOCK, end = cpu_min(first + FACTOR_BLOCK, job->in);
    for (int64_t i = first; i < end; i++)
        for (int64_t j = first; j < job->in; j++)
            job->factor[i * job->in + j] = scaled(job, job->order[i], job->order[j]);
}

/* ---- factorization ---- */

/* row[l] -= a * column[l], l < count. */
AWQ_VECTORIZE static void subtract_scaled(double *restrict row, const double *restrict column,
                                          double a, int64_t count)
{
    for (int64_t l = 0; l < count; l++) row[l] -= a * column[l];
}

/* b [n, n], its upper triangle: R R^T = b, in place. False: a pivot is below `least`. */
static bool factor_dense(double *b, int64_t n, double least)
{
    double column[FACTOR_BLOCK];
    for (int64_t j = n - 1; j >= 0; j--) {
        if (!(b[j * n + j] >= least)) return false;
        double root = sqrt(b[j * n + j]);
        for (int64_t i = 0; i <= j; i++) column[i] = b[i * n + j] /= root;
        for (int64_t i = 0; i < j; i++)
            subtract_scaled(b + i * n + i, column + i, column[i], j - i);
    }
    return true;
}

/* The diagonal block `job->last`, by way of float64. */
static bool factor_diagonal(const factor_job *job, double *b, double least)
{
    int64_t first = job->last * FACTOR_BLOCK, n = cpu_min(FACTOR_BLOCK, job->in - first);
    float *block = job->factor + first * job->in + first;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) b[i * n + j] = (double)block[i * job->in + j];
    if (!factor_dense(b, n, least)) return false;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) block[i * job->in + j] = (float)b[i * n + j];
    return true;
}

/* A block of the panel above the diagonal block: R_ik = H_ik R_kk^-T. */
static void solve_block(void *context, int64_t i, int thread)
{
    (void)thread;
    const factor_job *job = context;
    int64_t in = job->in, first = job->last * FACTOR_BLOCK, n = cpu_min(FACTOR_BLOCK, in - first);
    cpu_blas.strsm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, FACTOR_BLOCK,
                   (int)n, 1.0f, job->factor + first * in + first, (int)in,
                   job->factor + i * FACTOR_BLOCK * in + first, (int)in);
}

/* A block of what is left: H_ij -= R_ik R_jk^T. */
static void update_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const factor_job *job = context;
    int64_t in = job->in, first = job->last * FACTOR_BLOCK, n = cpu_min(FACTOR_BLOCK, in - first);
    int64_t i, j;
    triangle_position(block, &i, &j);
    int64_t top = i * FACTOR_UPDATE, height = cpu_min(FACTOR_UPDATE, first - top);
    int64_t left = j * FACTOR_UPDATE, width = cpu_min(FACTOR_UPDATE, first - left);
    cpu_blas.sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)height, (int)width, (int)n, -1.0f,
                   job->factor + top * in + first, (int)in, job->factor + left * in + first,
                   (int)in, 1.0f, job->factor + top * in + left, (int)in);
}

static bool factorize(awq_device *device, factor_job *job, double *b, double least)
{
    for (job->last = cpu_blocks(job->in, FACTOR_BLOCK) - 1; job->last >= 0; job->last--) {
        if (!factor_diagonal(job, b, least)) return false;
        cpu_run(device, job->last, solve_block, job);
        int64_t side = cpu_blocks(job->last * FACTOR_BLOCK, FACTOR_UPDATE);
        cpu_run(device, triangle_blocks(side), update_block, job);
    }
    return true;
}

/* ---- U ---- */

AWQ_VECTORIZE static void divide_by_diagonal(float *restrict row, const float *restrict diagonal,
                                             int64_t count)
{
    for (int64_t j = 0; j < count; j++) row[j] /= diagonal[j];
}

typedef struct unit_job {
    float *factor;
    const float *diagonal; /* [in] of R */
    int64_t in;
} unit_job;

static void unit_row(void *context, int64_t i, int thread)
{
    (void)thread;
    const unit_job *job = context;
    divide_by_diagonal(job->factor + i * job->in + i, job->diagonal + i, job->in - i);
}

/* Scratch of the calling thread: the dense block, then the rank, later the diagonal. */
awq_status feedback_factor_cpu(awq_device *device, float *factor, int32_t *order, const float *gram,
                               const float *s, int64_t in, double damp, bool *positive,
                               awq_error *err)
{
    factor_job job = {factor, gram, s, order, in, 0};
    size_t dense = sizeof(double) * FACTOR_BLOCK * FACTOR_BLOCK;
    cpu_reserve(device, dense + sizeof(awq_ranked) * (size_t)in, "feedback_factor");
    if (cpu_status(device, err)) return err->status;
    double *b = cpu_scratch(device, 0);
    void *list = b + FACTOR_BLOCK * FACTOR_BLOCK;
    awq_ranked *rank = list;
    for (int64_t i = 0; i < in; i++) rank[i].diagonal = scaled(&job, i, i);
    double shift = damp * awq_column_order(rank, in, order);
    *positive = false;
    if (!(shift > 0 && isfinite(shift))) return AWQ_OK;
    cpu_run(device, cpu_blocks(in, FACTOR_BLOCK), scale_block, &job);
    for (int64_t i = 0; i < in; i++) factor[i * in + i] += (float)shift;
    *positive = factorize(device, &job, b, shift / 2);
    if (*positive) {
        float *diagonal = list;
        for (int64_t i = 0; i < in; i++) diagonal[i] = factor[i * in + i];
        unit_job unit = {factor, diagonal, in};
        cpu_run(device, in, unit_row, &unit);
    }
    return cpu_status(device, err);
}
