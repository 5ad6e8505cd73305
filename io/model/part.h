/* SPDX-License-Identifier: MIT
 * io/model/part.h - a part of a sparse layer: some of its experts, and what goes with them.
 *
 * A layer may be shared out over workers, in parts of consecutive experts, as evenly as can be. The
 * first part has the attention too, the last one what all tokens go through behind the experts. All
 * have the norms and the router, since each routes for itself. In the order of the parts linears
 * are in the layer's order, but for the router. */
#ifndef AWQ_IO_MODEL_PART_H
#define AWQ_IO_MODEL_PART_H

#include "io/model/layer.h"

typedef struct awq_layer_part {
    int32_t index;
    int32_t count; /* of the layer's parts; 0 or 1: it is whole */
} awq_layer_part;

static inline bool awq_layer_part_is_whole(awq_layer_part part)
{
    return part.count < 2;
}

static inline bool awq_layer_part_is_last(awq_layer_part part)
{
    return part.index + 1 >= part.count;
}

/* The first expert of a part; that of the next one is the end of this. */
static inline int64_t awq_layer_part_first_expert(const awq_layer_spec *layer, awq_layer_part part)
{
    return awq_layer_part_is_whole(part) ? 0
                                         : layer->mlps.routing.experts * part.index / part.count;
}

static inline int64_t awq_layer_part_end_expert(const awq_layer_spec *layer, awq_layer_part part)
{
    return awq_layer_part_is_whole(part)
               ? layer->mlps.routing.experts
               : layer->mlps.routing.experts * (part.index + 1) / part.count;
}

/* Parts that a layer can be in: 1 for a dense one, and where the MLPs' sum goes through a norm. */
int64_t awq_layer_part_most(const awq_layer_spec *layer);

/* What it holds; of a group, readers of its input. */
bool awq_layer_part_has_linear(const awq_layer_spec *layer, awq_layer_part part, int linear);
bool awq_layer_part_has_group(const awq_layer_spec *layer, awq_layer_part part, int group);
/* What is its to write down: what the last part has too is the last one's. */
bool awq_layer_part_owns_linear(const awq_layer_spec *layer, awq_layer_part part, int linear);
bool awq_layer_part_owns_group(const awq_layer_spec *layer, awq_layer_part part, int group);

#endif
