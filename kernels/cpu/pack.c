/* SPDX-License-Identifier: MIT
 * kernels/cpu/pack.c - codes as words, as they are stored: a word has the bits of all codes that
 * lie in it, the first and last of which may lie in its neighbours too. Reads a byte a code. */
#include "kernels/cpu/verbs.h"

typedef struct pack_job {
    uint32_t *words;
    const uint8_t *codes;
    int64_t in, row_words;
    int bits;
} pack_job;

/* The index-th word of a row. */
static uint32_t word_at(const uint8_t *codes, const pack_job *job, int64_t index)
{
    int64_t first = 32 * index, bits = job->bits; /* bit */
    uint32_t word = 0;
    for (int64_t i = first / bits; i < job->in && i * bits < first + 32; i++) {
        int64_t shift = i * bits - first;
        word |= shift < 0 ? (uint32_t)codes[i] >> -shift : (uint32_t)codes[i] << shift;
    }
    return word;
}

static void pack_row(void *context, int64_t row, int thread)
{
    (void)thread;
    const pack_job *job = context;
    for (int64_t i = 0; i < job->row_words; i++)
        job->words[row * job->row_words + i] = word_at(job->codes + row * job->in, job, i);
}

void pack_cpu(awq_device *device, uint32_t *words, const uint8_t *codes, awq_extent extent,
              int bits)
{
    pack_job job = {words, codes, extent.in, awq_words_count(extent.in, bits), bits};
    cpu_run(device, extent.out, pack_row, &job);
}
