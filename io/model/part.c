/* SPDX-License-Identifier: MIT */
#include "io/model/part.h"

int64_t awq_layer_part_most(const awq_layer_spec *layer)
{
    bool summed = layer->half[AWQ_HALF_MLP].out_norm < 0 && !layer->parallel;
    return layer->mlps.routing.experts && summed ? layer->mlps.routing.experts : 1;
}

bool awq_layer_part_has_linear(const awq_layer_spec *layer, awq_layer_part part, int linear)
{
    const awq_linear_spec *spec = &layer->linear[linear];
    if (awq_layer_part_is_whole(part) || linear == layer->mlps.router) return true;
    if (spec->half == AWQ_HALF_ATTENTION) return !part.index;
    if (spec->expert < 0) return awq_layer_part_is_last(part);
    return spec->expert >= awq_layer_part_first_expert(layer, part) &&
           spec->expert < awq_layer_part_end_expert(layer, part);
}

bool awq_layer_part_has_group(const awq_layer_spec *layer, awq_layer_part part, int group)
{
    for (int i = 0; i < layer->group[group].count; i++)
        if (awq_layer_part_has_linear(layer, part,
                                      awq_group_reader(layer, &layer->group[group], i)))
            return true;
    return false;
}

static awq_layer_part last_of(awq_layer_part part)
{
    return (awq_layer_part){part.count - 1, part.count};
}

bool awq_layer_part_owns_linear(const awq_layer_spec *layer, awq_layer_part part, int linear)
{
    return awq_layer_part_has_linear(layer, part, linear) &&
           (awq_layer_part_is_last(part) ||
            !awq_layer_part_has_linear(layer, last_of(part), linear));
}

bool awq_layer_part_owns_group(const awq_layer_spec *layer, awq_layer_part part, int group)
{
    return awq_layer_part_has_group(layer, part, group) &&
           (awq_layer_part_is_last(part) || !awq_layer_part_has_group(layer, last_of(part), group));
}
