/* SPDX-License-Identifier: MIT
 * Which input channels of a scale group stand out. A model has thousands of them: the page gets
 * their quantiles, and the largest by number. */
#include <math.h>
#include <stdlib.h>

#include "coordinator/report/report.h"

enum { LARGEST = 16 };

static const double quantiles[] = {0, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1};

typedef struct channel {
    float mean_abs;
    int64_t index;
} channel;

/* Descending; equal ones by number, so that the order does not depend on qsort. */
static int larger_first(const void *a, const void *b)
{
    const channel *x = a, *y = b;
    if (x->mean_abs != y->mean_abs) return x->mean_abs < y->mean_abs ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

/* "largest" is [index, mean|x|, scale, index, ...] */
static json_t *describe(const channel *sorted, const awq_group_record *group)
{
    json_t *marks = json_array(), *largest = json_array();
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        int64_t rank = (int64_t)ceil((1 - quantiles[i]) * (double)(group->channels - 1));
        json_array_append_new(marks, json_real((double)sorted[rank].mean_abs));
    }
    for (int64_t i = 0; i < group->channels && i < LARGEST; i++) {
        json_array_append_new(largest, json_integer(sorted[i].index));
        json_array_append_new(largest, json_real((double)sorted[i].mean_abs));
        json_array_append_new(largest, json_real((double)group->scales[sorted[i].index]));
    }
    return json_pack("{s:I, s:o, s:o}", "count", (json_int_t)group->channels, "quantiles", marks,
                     "largest", largest);
}

json_t *awq_report_channels(const awq_group_record *group)
{
    channel *sorted = calloc((size_t)group->channels + 1, sizeof *sorted);
    if (!sorted) return NULL;
    for (int64_t i = 0; i < group->channels; i++) sorted[i] = (channel){group->mean_abs[i], i};
    qsort(sorted, (size_t)group->channels, sizeof *sorted, larger_first);
    json_t *channels = group->channels ? describe(sorted, group) : json_object();
    free(sorted);
    return channels;
}
