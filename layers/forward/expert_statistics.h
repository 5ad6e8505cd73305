/* SPDX-License-Identifier: MIT
 * layers/forward/expert_statistics.h - the statistics of one expert, made from the rows that went
 * to it (routed.h): tile by tile in tile order, by the very calls that a pass of all tokens would
 * make, so that it does not show in the bytes when, or how often, they are made. */
#ifndef AWQ_LAYERS_FORWARD_EXPERT_STATISTICS_H
#define AWQ_LAYERS_FORWARD_EXPERT_STATISTICS_H

#include "layers/forward/arena.h"
#include "layers/forward/decoder.h"

/* Device arrays; Gram matrices as kernels/gram.h has them, not finished. */
typedef struct awq_expert_statistics {
    float *gram;      /* [hidden, hidden]: of what its gate and up read */
    double *abs_sum;  /* [width]: of what its down reads */
    float *down_gram; /* [width, width]: likewise */
} awq_expert_statistics;

/* Takes their places, for any layer of the model; nothing in a model without experts. */
void awq_expert_statistics_place(awq_arena *arena, const awq_model *model,
                                 awq_expert_statistics *to);

/* Makes those of an MLP that is an expert's. what: the layer, with its own weights, and statistics
 * that have seen all tiles; scratch is used. */
awq_status awq_expert_statistics_make(const awq_forward *what, const awq_mlp_spec *mlp,
                                      const awq_expert_statistics *to, awq_error *err);

/* Floating-point operations of a token that is one of theirs. */
double awq_expert_statistics_flops(const awq_layer_spec *layer, const awq_mlp_spec *mlp);

#endif
