/* SPDX-License-Identifier: MIT
 * kernels/cpu/sum_squares.c - the squared Frobenius norm of x [rows, cols]: each row's sum goes to
 * its own place, and the places are added in order. Reads 4 bytes an element. */
#include <stdlib.h>

#include "kernels/cpu/dot.h"
#include "kernels/cpu/verbs.h"

typedef struct squares_job {
    const float *x;
    int64_t cols;
    double *row; /* [rows] */
} squares_job;

static void squares_row(void *context, int64_t row, int thread)
{
    (void)thread;
    const squares_job *job = context;
    const float *x = job->x + row * job->cols;
    job->row[row] = cpu_dot(x, x, job->cols);
}

awq_status sum_squares_cpu(awq_device *device, const void *x, int64_t rows, int64_t cols,
                           double *sum, awq_error *err)
{
    squares_job job = {x, cols, NULL};
    if (cpu_status(device, err)) return err->status;
    job.row = malloc((size_t)rows * sizeof *job.row);
    if (!job.row) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for %lld sums", (long long)rows);
    cpu_run(device, rows, squares_row, &job);
    double total = 0;
    for (int64_t i = 0; i < rows; i++) total += job.row[i];
    free(job.row);
    *sum = total;
    return AWQ_OK;
}
