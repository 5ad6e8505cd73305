/* SPDX-License-Identifier: MIT
 * layers/forward/statistics.h - what the search needs from the calibration tokens, per linear
 * input: sum|x| per channel and the Gram matrix X^T X (docs/awq.md 2.2).
 *
 * Linears that read the same input share one: there is one per scale group of all tokens. An expert
 * has its own, of the tokens that went there: its down, and a Gram matrix for its gate and up,
 * which share scales with all readers of the norm, but only their own tokens are in their loss.
 * Those are not here: what they are made of is (routed.h). Tiles are added in tile order; that
 * order is part of the result. */
#ifndef AWQ_LAYERS_FORWARD_STATISTICS_H
#define AWQ_LAYERS_FORWARD_STATISTICS_H

#include <stdint.h>

#include "io/model/part.h"
#include "io/records/layer_record.h"
#include "kernels/backend.h"
#include "layers/forward/routed.h"

typedef struct awq_statistics {
    const awq_layer_spec *spec;
    int64_t tokens;        /* that counted so far */
    int64_t *group_tokens; /* [groups]: of an expert's down, those that went there; else 0 */
    double **abs_sum;      /* [groups], device, [channels]; NULL: an expert's, another part's */
    float **gram;      /* [groups], device, of [channels, channels] (kernels/gram.h); likewise */
    awq_routed routed; /* what experts read */
    int32_t *choice;   /* host, [choice_rows, active]: the experts of the first rows; NULL: none */
    int64_t choice_rows;
    void *arena;
} awq_statistics;

/* Tokens that a group's input was measured on. */
int64_t awq_statistics_tokens(const awq_statistics *statistics, int group);

/* Device bytes of the layer that takes the most. */
uint64_t awq_statistics_bytes(const awq_model *model);
/* Of a part of a layer, zeroed. `room` is for what experts read, and not looked at in a layer
 * without them. Release the result. */
awq_status awq_statistics_init(awq_device *device, const awq_model *model, int64_t layer,
                               awq_layer_part part, const awq_routed_room *room,
                               awq_statistics *out, awq_error *err);
void awq_statistics_release(awq_device *device, awq_statistics *statistics);

#endif
