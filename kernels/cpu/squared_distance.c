/* SPDX-License-Identifier: MIT
 * kernels/cpu/squared_distance.c - the squared Frobenius norm of x - y [rows, cols], of all rows or
 * of those that count: each row's sum goes to its own place, and the places are added in order.
 * Reads 8 bytes an element. */
#include <stdlib.h>

#include "kernels/cpu/dot.h"
#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

typedef struct distance_job {
    const float *x, *y;  /* y NULL: zeros */
    const uint8_t *mask; /* NULL: all rows count */
    int64_t cols;
    double *row; /* [rows] */
} distance_job;

AWQ_VECTORIZE static double squared_differences(const float *x, const float *y, int64_t count)
{
    double lane[AWQ_LANES] = {0};
    int64_t i = 0;
    for (; i + AWQ_LANES <= count; i += AWQ_LANES)
        for (int l = 0; l < AWQ_LANES; l++) {
            double d = (double)(x[i + l] - y[i + l]);
            lane[l] += d * d;
        }
    for (int l = 0; i < count; i++, l++) {
        double d = (double)(x[i] - y[i]);
        lane[l] += d * d;
    }
    return lanes_sum(lane);
}

static void distance_row(void *context, int64_t row, int thread)
{
    (void)thread;
    const distance_job *job = context;
    const float *x = job->x + row * job->cols;
    if (job->mask && !job->mask[row])
        job->row[row] = 0;
    else
        job->row[row] = job->y ? squared_differences(x, job->y + row * job->cols, job->cols)
                               : cpu_dot(x, x, job->cols);
}

static awq_status run(awq_device *device, distance_job job, int64_t rows, double *sum,
                      awq_error *err)
{
    if (cpu_status(device, err)) return err->status;
    job.row = malloc((size_t)rows * sizeof *job.row);
    if (!job.row) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for %lld sums", (long long)rows);
    cpu_run(device, rows, distance_row, &job);
    double total = 0;
    for (int64_t i = 0; i < rows; i++) total += job.row[i];
    free(job.row);
    *sum = total;
    return AWQ_OK;
}

awq_status squared_distance_cpu(awq_device *device, const void *x, const void *y, int64_t rows,
                                int64_t cols, double *sum, awq_error *err)
{
    return run(device, (distance_job){x, y, NULL, cols, NULL}, rows, sum, err);
}

/* The compute type is float here, so that it is the same. */
awq_status squared_error_cpu(awq_device *device, const float *x, const float *y,
                             const uint8_t *mask, int64_t rows, int64_t cols, double *sum,
                             awq_error *err)
{
    return run(device, (distance_job){x, y, mask, cols, NULL}, rows, sum, err);
}
