/* SPDX-License-Identifier: MIT
 * layers/statistics.h - what the search needs from the calibration tokens, per linear input:
 * sum|x| per channel and the Gram matrix X^T X (docs/awq.md 2.2).
 *
 * Linears that read the same input share one: there is one per scale group. Tiles are added in
 * tile order; that order is part of the result. */
#ifndef AWQ_LAYERS_STATISTICS_H
#define AWQ_LAYERS_STATISTICS_H

#include <stdint.h>

#include "io/layer_record.h"
#include "kernels/backend.h"

typedef struct awq_statistics {
    int64_t tokens;              /* that counted so far */
    double *abs_sum[AWQ_GROUPS]; /* device, [channels] */
    float *gram[AWQ_GROUPS];     /* device, [channels, channels] */
    void *arena;
} awq_statistics;

/* Channels of a scale group's input. */
int64_t awq_group_channels(const awq_model *model, awq_group group);
/* The linears that read a group's input: sets first and count in AWQ_LINEAR order. */
void awq_group_consumers(awq_group group, awq_linear *first, int *count);
/* The group whose input a linear reads. */
awq_group awq_linear_group(awq_linear linear);

uint64_t awq_statistics_bytes(const awq_model *model);
/* Zeroed. Release the result. */
awq_status awq_statistics_init(awq_device *device, const awq_model *model, awq_statistics *out,
                               awq_error *err);
void awq_statistics_release(awq_device *device, awq_statistics *statistics);

#endif
