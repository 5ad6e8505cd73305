/* SPDX-License-Identifier: MIT
 * kernels/cpu/find_nonfinite.c - the first NaN or infinity: exponent bits all ones. */
#include "kernels/cpu/vectorize.h"
#include "kernels/cpu/verbs.h"

enum { FIND_BLOCK = 1 << 16 };

typedef struct find_job {
    const float *array;
    int64_t count;
    atomic_int_fast64_t first; /* least index found so far; count: none */
} find_job;

AWQ_INLINE uint32_t is_nonfinite(float x)
{
    return (awq_float_bits(x) & 0x7f800000u) == 0x7f800000u;
}

AWQ_VECTORIZE static uint32_t any_nonfinite(const float *x, int64_t count)
{
    uint32_t any = 0;
    for (int64_t i = 0; i < count; i++) any |= is_nonfinite(x[i]);
    return any;
}

static void find_block(void *context, int64_t block, int thread)
{
    (void)thread;
    find_job *job = context;
    int64_t begin = block * FIND_BLOCK, end = cpu_min(begin + FIND_BLOCK, job->count);
    if (!any_nonfinite(job->array + begin, end - begin)) return;
    while (!is_nonfinite(job->array[begin])) begin++;
    int_fast64_t least = atomic_load(&job->first);
    while (begin < least && !atomic_compare_exchange_weak(&job->first, &least, begin)) {
    }
}

awq_status find_nonfinite_cpu(awq_device *device, const void *array, size_t count, int64_t *index,
                              awq_error *err)
{
    find_job job = {.array = array, .count = (int64_t)count};
    atomic_init(&job.first, job.count);
    cpu_run(device, cpu_blocks(job.count, FIND_BLOCK), find_block, &job);
    if (cpu_status(device, err)) return err->status;
    int64_t first = (int64_t)atomic_load(&job.first);
    *index = first < job.count ? first : -1;
    return AWQ_OK;
}
