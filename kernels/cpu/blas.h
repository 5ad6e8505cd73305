/* SPDX-License-Identifier: MIT
 * kernels/cpu/blas.h - OpenBLAS, and which of its kernels compute.
 *
 * OpenBLAS has kernels ("cores") for many processors, which sum in different orders, and picks by
 * the processor's model. Of a model newer than itself it may know nothing: 0.3.21 then runs SSE3's,
 * four times slower than AVX-512's. So we choose, by what the processor can do and nothing else,
 * the least of all workers of a job: the same kernels, and so the same bytes, on each of them.
 *
 * OpenBLAS is told by OPENBLAS_CORETYPE, which it reads once, when it is loaded. So it is not
 * linked but loaded with the first device, and called through this table. A user's own
 * OPENBLAS_CORETYPE is left as it is. Whatever is chosen, what OpenBLAS then says that it runs is
 * the device's type, and part of a job's fingerprint. */
#ifndef AWQ_KERNELS_CPU_BLAS_H
#define AWQ_KERNELS_CPU_BLAS_H

#include <cblas.h>
#include <stddef.h>

#include "io/core/error.h"

/* awq_processor(): what a processor can do, more with each. */
enum { CPU_BASE = 1, CPU_AVX2, CPU_AVX512 };

/* X(member, function) */
#define CPU_BLAS_LIST(X)                                                                           \
    X(sgemm, cblas_sgemm)                                                                          \
    X(strsm, cblas_strsm)                                                                          \
    X(set_threads, openblas_set_num_threads)                                                       \
    X(core, openblas_get_corename)                                                                 \
    X(config, openblas_get_config)

typedef struct cpu_blas_table {
#define CPU_BLAS_MEMBER(member, function) __typeof__(function) *member;
    CPU_BLAS_LIST(CPU_BLAS_MEMBER)
#undef CPU_BLAS_MEMBER
} cpu_blas_table;

/* Whole once cpu_blas_load has succeeded; it is never unloaded. */
extern cpu_blas_table cpu_blas;

/* The kernels to run where every processor is of at least `level`; "": OpenBLAS's own choice.
 * `earlier` ends in the name of those that a job was begun with (awq_device.type; NULL or "": it
 * was not): they are kept where they can be. */
const char *cpu_blas_choose(int level, const char *earlier);

/* Loads it, once: what a later call asks for is not looked at. level 0: this processor's. One
 * thread a call: ours call it, on blocks that do not depend on them. */
awq_status cpu_blas_load(int level, const char *earlier, awq_error *err);

/* After loading. "0.3.21" */
void cpu_blas_version(char *out, size_t bytes);
/* A sentence if this processor could run better kernels than OpenBLAS now does, else "". */
const char *cpu_blas_warning(void);

#endif
