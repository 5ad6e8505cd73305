/* SPDX-License-Identifier: MIT
 * kernels/cpu/vectorize.h - the hot loops of the CPU backend (io/core/vectorize.h): sums run in
 * AWQ_LANES lanes that the source spells out. Loops whose output may be one of the inputs (never a
 * shifted one) say AWQ_SAME_OR_APART. */
#ifndef AWQ_KERNELS_CPU_VECTORIZE_H
#define AWQ_KERNELS_CPU_VECTORIZE_H

#include <stdint.h>

#include "io/core/vectorize.h"

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
