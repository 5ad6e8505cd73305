/* SPDX-License-Identifier: MIT
 * kernels/cpu/pool.h - threads that share out numbered blocks of work.
 *
 * Which thread runs a block is left to chance, so a block's result must depend on its number
 * alone. A second caller waits until the first one's blocks are done. Blocks must not call
 * cpu_pool_run. */
#ifndef AWQ_KERNELS_CPU_POOL_H
#define AWQ_KERNELS_CPU_POOL_H

#include <stdint.h>

#include "io/core/error.h"

typedef struct cpu_pool cpu_pool;

/* thread: 0 .. threads - 1, for scratch memory; 0 is the caller. */
typedef void cpu_block(void *context, int64_t block, int thread);

/* threads counts the caller, so threads - 1 are started. Free the result. */
awq_status cpu_pool_create(int threads, cpu_pool **out, awq_error *err);
void cpu_pool_free(cpu_pool *pool);

/* Runs blocks 0 .. blocks - 1; returns when all are done. */
void cpu_pool_run(cpu_pool *pool, int64_t blocks, cpu_block *run, void *context);

#endif
