/* SPDX-License-Identifier: MIT
 * kernels/cpu/squared_error.c - sum over the rows that count of (a - b)^2, in float64: lanes within
 * a row, rows in order within a block, blocks in order. Reads 8 bytes an element. */
#include <stdlib.h>

#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

enum { ERROR_ROWS = 64 };

typedef struct error_job {
    const float *a, *b;
    const uint8_t *mask;
    int64_t rows, cols;
    double *partial; /* [blocks] */
} error_job;

AWQ_VECTORIZE static double squared_difference(const float *a, const float *b, int64_t count)
{
    double lane[AWQ_LANES] = {0};
    int64_t i = 0;
    for (; i + AWQ_LANES <= count; i += AWQ_LANES)
        for (int l = 0; l < AWQ_LANES; l++) {
            double difference = (double)(a[i + l] - b[i + l]);
            lane[l] += difference * difference;
        }
    for (int l = 0; i < count; i++, l++) {
        double difference = (double)(a[i] - b[i]);
        lane[l] += difference * difference;
    }
    return lanes_sum(lane);
}

static void error_block(void *context, int64_t block, int thread)
{
    (void)thread;
    const error_job *job = context;
    int64_t first = block * ERROR_ROWS, end = cpu_min(first + ERROR_ROWS, job->rows);
    double sum = 0;
    for (int64_t row = first; row < end; row++)
        if (!job->mask || job->mask[row])
            sum +=
                squared_difference(job->a + row * job->cols, job->b + row * job->cols, job->cols);
    job->partial[block] = sum;
}

awq_status squared_error_cpu(awq_device *device, const float *a, const float *b,
                             const uint8_t *mask, int64_t rows, int64_t cols, double *sum,
                             awq_error *err)
{
    int64_t blocks = cpu_blocks(rows, ERROR_ROWS);
    error_job job = {a, b, mask, rows, cols, NULL};
    if (cpu_status(device, err)) return err->status;
    job.partial = malloc((size_t)(blocks + !blocks) * sizeof *job.partial);
    if (!job.partial)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for %lld sums", (long long)blocks);
    cpu_run(device, blocks, error_block, &job);
    double total = 0;
    for (int64_t i = 0; i < blocks; i++) total += job.partial[i];
    free(job.partial);
    *sum = total;
    return AWQ_OK;
}
