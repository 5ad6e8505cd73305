/* SPDX-License-Identifier: MIT
 * kernels/cpu/vectorize.h - how the hot loops become vector code on every x86-64.
 *
 * AWQ_VECTORIZE compiles a static function three times and picks one when the program starts; its
 * name must be its own in the whole folder (clang 14's resolvers are global). Each version gives
 * the same bits: no contraction, no reordering; sums run in AWQ_LANES lanes that the source spells
 * out. Loops whose output may be one of the inputs (never a shifted one) say AWQ_SAME_OR_APART. */
#ifndef AWQ_KERNELS_CPU_VECTORIZE_H
#define AWQ_KERNELS_CPU_VECTORIZE_H

#include <stdint.h>

#if defined(__x86_64__) && defined(__ELF__) && !defined(AWQ_SANITIZED)
#define AWQ_VECTORIZE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define AWQ_VECTORIZE
#endif

/* For what vectorized functions call: must dissolve into each version. */
#define AWQ_INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define AWQ_SAME_OR_APART _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define AWQ_SAME_OR_APART _Pragma("GCC ivdep")
#else
#define AWQ_SAME_OR_APART
#endif

enum { AWQ_LANES = 16 };

/* The lanes' sum, always in the same tree. Destroys them. */
AWQ_INLINE double lanes_sum(double lane[AWQ_LANES])
{
    for (int width = AWQ_LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) lane[i] += lane[i + width];
    return lane[0];
}

#endif
