/* SPDX-License-Identifier: MIT
 * layers/extent.h - a model's shapes as the kernels take them, and short names for messages. */
#ifndef AWQ_LAYERS_EXTENT_H
#define AWQ_LAYERS_EXTENT_H

#include <string.h>

#include "io/model.h"
#include "kernels/backend.h"

static inline awq_extent awq_linear_extent(const awq_model *model, awq_linear linear)
{
    awq_extent extent;
    awq_linear_shape(model, linear, &extent.out, &extent.in);
    return extent;
}

static inline int64_t awq_extent_elements(awq_extent extent)
{
    return extent.out * extent.in;
}

/* A grid's group size for rows of `in` weights: -1 is one group a row. */
static inline awq_grid awq_grid_resolve(awq_grid grid, int64_t in)
{
    if (grid.group_size < 0) grid.group_size = in;
    return grid;
}

#endif
