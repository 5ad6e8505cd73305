/* SPDX-License-Identifier: MIT
 * kernels/cpu/squared_distance.c - the squared Frobenius norm of x - y [rows, cols]: each row's sum
 * goes to its own place, and the places are added in order. Reads 8 bytes an element. */
#include <stdlib.h>

#include "kernels/cpu/dot.h"
#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

typedef struct distance_job {
    const float *x, *y; /* y NULL: zeros */
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
    job->row[row] = job->y ? squared_differences(x, job->y + row * job->cols, job->cols)
                           : cpu_dot(x, x, job->cols);
}

awq_status squared_distance_cpu(awq_device *device, const void *x, const void *y, int64_t rows,
                                int64_t cols, double *sum, awq_error *err)
{
    distance_job job = {x, y, cols, NULL};
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
