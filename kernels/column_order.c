/* SPDX-License-Identifier: MIT */
#include "kernels/column_order.h"

#include <math.h>
#include <stdlib.h>

static int compare_ranked(const void *a, const void *b)
{
    const awq_ranked *x = a, *y = b;
    if (x->diagonal != y->diagonal) return x->diagonal > y->diagonal ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

double awq_column_order(awq_ranked *rank, int64_t in, int32_t *order)
{
    double sum = 0;
    for (int64_t i = 0; i < in; i++) {
        rank[i].index = (int32_t)i;
        sum += (double)rank[i].diagonal;
    }
    if (isfinite(sum)) qsort(rank, (size_t)in, sizeof *rank, compare_ranked);
    for (int64_t i = 0; i < in; i++) order[i] = rank[i].index;
    return sum / (double)in;
}
