/* SPDX-License-Identifier: MIT
 * layers/forward.h - inside the forward pass: what its two files share. */
#ifndef AWQ_LAYERS_FORWARD_H
#define AWQ_LAYERS_FORWARD_H

#include "layers/scratch.h"

typedef struct forward_pass {
    awq_device *device;
    const awq_backend *be;
    const awq_model *model;
    const awq_decoder *decoder;
    awq_scratch *scratch;
    const float *hidden; /* what the halves read */
    float *sum;          /* what they add to; may be `hidden` */
    int64_t sequences, rows;
    awq_statistics *statistics;
    const uint8_t *mask;
    double *seconds;
    double mark;
} forward_pass;

/* Some rows of a linear input: device, compute type [count, in]; mask [count], NULL: all count. */
typedef struct forward_rows {
    const void *x;
    const uint8_t *mask;
    int64_t count;
} forward_rows;

/* Adds an input to its group's statistics, if there are any. */
void awq_forward_gather(forward_pass *pass, awq_group group, const forward_rows *rows);
/* Adds an input to a Gram matrix of its own. */
void awq_forward_gram(forward_pass *pass, float *gram, const forward_rows *rows, int64_t channels);
/* y [count, out] = a linear of them. */
void awq_forward_linear(const forward_pass *pass, awq_linear which, void *y,
                        const forward_rows *rows);
/* sum [count, out] += a linear of them. */
void awq_forward_linear_add(const forward_pass *pass, awq_linear which, float *sum,
                            const forward_rows *rows);
/* scratch->gate = down's input of an MLP; into the statistics, too. */
void awq_forward_mlp(forward_pass *pass, int mlp, const forward_rows *rows);

/* What experts add to pass->sum for the rows that the post-attention norm puts out (experts.c). */
awq_status awq_forward_experts(forward_pass *pass, const forward_rows *rows, awq_error *err);

#endif
