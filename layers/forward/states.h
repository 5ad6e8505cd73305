/* SPDX-License-Identifier: MIT
 * layers/forward/states.h - a tile's states: hidden states, and the planes that travel with them
 * (io/model/model.h); and how those that enter the first layer are made.
 *
 * States are float32 on the device, hidden states [rows, hidden] first, then each plane [rows,
 * width]: so verbs see plain matrices, and some of a tile's rows are some of each plane. */
#ifndef AWQ_LAYERS_FORWARD_STATES_H
#define AWQ_LAYERS_FORWARD_STATES_H

#include <stdint.h>

#include "io/checkpoint/checkpoint.h"
#include "kernels/backend.h"

/* Where the index-th plane of a kind begins in states of so many rows. */
static inline size_t awq_states_plane(const awq_model *model, int64_t rows, int plane,
                                      int64_t index)
{
    const awq_plane *kind = &model->plane[plane];
    return (size_t)(rows * (kind->first + index * kind->width));
}

/* to [rows, residual] = the first `rows` of the from_rows that `from` has. */
void awq_states_take(awq_device *device, const awq_model *model, float *to, int64_t rows,
                     const float *from, int64_t from_rows);

/* What makes the states that enter the first layer, on the device as far as it is not the
 * checkpoint's to look up. */
typedef struct awq_embedding awq_embedding;

uint64_t awq_embedding_bytes(const awq_model *model, size_t compute_bytes);
awq_status awq_embedding_load(awq_device *device, const awq_checkpoint *checkpoint,
                              awq_embedding **out, awq_error *err);
void awq_embedding_free(awq_embedding *embedding);

/* states [rows, residual] = those of ids (host, [rows], all below vocab: checked by the caller);
 * planes that a layer fills are zeros. */
awq_status awq_embed(const awq_embedding *embedding, const int32_t *ids, int64_t rows,
                     float *states, awq_error *err);

#endif
