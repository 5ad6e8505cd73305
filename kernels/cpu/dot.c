/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/dot.h"

#include "kernels/cpu/vectorize.h"

AWQ_VECTORIZE static double dot_in_lanes(const float *a, const float *b, int64_t count)
{
    double lane[AWQ_LANES] = {0};
    int64_t i = 0;
    for (; i + AWQ_LANES <= count; i += AWQ_LANES)
        for (int l = 0; l < AWQ_LANES; l++) lane[l] += (double)a[i + l] * (double)b[i + l];
    for (int l = 0; i < count; i++, l++) lane[l] += (double)a[i] * (double)b[i];
    return lanes_sum(lane);
}

double cpu_dot(const float *a, const float *b, int64_t count)
{
    return dot_in_lanes(a, b, count);
}
