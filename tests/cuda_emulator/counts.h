/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/counts.h - what a device is asked to do, counted and not done: how a layer of
 * any size drives a GPU, without one and without its arithmetic.
 *
 * Kernels, products and copies are checked as always and then dropped, device memory is reserved
 * and never touched, and what comes to the host is made up by the test. A wait is counted where the
 * host would stand still: for work that it has not waited for before, or by a copy to memory that
 * is not page-locked. */
#ifndef AWQ_TESTS_CUDA_EMULATOR_COUNTS_H
#define AWQ_TESTS_CUDA_EMULATOR_COUNTS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of one verb. */
typedef struct emulator_count {
    const char *verb;
    int64_t calls, kernels, products, waits;
    uint64_t to_host, to_device; /* bytes */
} emulator_count;

enum { EMULATOR_VERBS = 128 };

/* What a verb's copy to the host brings: of `from`, which nothing has written to. */
typedef void emulator_fill(const char *verb, void *host, const void *from, size_t bytes);

/* From here on all is counted and nothing done: to be called before a device is opened. Returns the
 * CUDA backend, whose verbs are counted each by its name. */
const awq_backend *emulator_count_only(emulator_fill *fill);
/* Counts so far [*verbs], in the order of the table. */
const emulator_count *emulator_counts(int *verbs);

#ifdef __cplusplus
}
#endif

#endif
