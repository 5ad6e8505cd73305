/* SPDX-License-Identifier: MIT
 * layers/forward/extent.h - a layer's shapes as the kernels take them. */
#ifndef AWQ_LAYERS_FORWARD_EXTENT_H
#define AWQ_LAYERS_FORWARD_EXTENT_H

#include "io/formats/format.h"
#include "io/model/recipe.h"
#include "kernels/backend.h"

static inline awq_extent awq_linear_extent(const awq_linear_spec *linear)
{
    return (awq_extent){linear->out, linear->in};
}

static inline int64_t awq_extent_elements(awq_extent extent)
{
    return extent.out * extent.in;
}

/* How a recipe rounds rows of `in` weights of a model. */
static inline awq_grid awq_recipe_grid(const awq_recipe *recipe, const awq_model *model, int64_t in)
{
    awq_quantization quantization = awq_recipe_quantization(recipe, model->dtype);
    return (awq_grid){.bits = quantization.bits,
                      .group_size = quantization.group_size < 0 ? in : quantization.group_size,
                      .zero_point = !quantization.symmetric,
                      .bf16_scales = quantization.scales == AWQ_BF16};
}

/* A grid's group size for rows of `in` weights: -1 is one group a row. */
static inline awq_grid awq_grid_resolve(awq_grid grid, int64_t in)
{
    if (grid.group_size < 0) grid.group_size = in;
    return grid;
}

#endif
