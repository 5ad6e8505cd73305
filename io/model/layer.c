/* SPDX-License-Identifier: MIT */
#include "io/model/layer.h"

#include <string.h>

const char *awq_linear_short_name(const awq_linear_spec *linear)
{
    return linear->whole_name ? linear->name : strchr(linear->name, '.') + 1;
}

const char *awq_linear_type(const awq_linear_spec *linear)
{
    bool whole = linear->whole_name && linear->expert < 0;
    return whole ? linear->name : strrchr(linear->name, '.') + 1;
}

int64_t awq_layer_parameters(const awq_layer_spec *layer)
{
    int64_t sum = 0;
    for (int i = 0; i < layer->linears; i++) {
        const awq_linear_spec *linear = &layer->linear[i];
        sum += linear->out * linear->in + (linear->bias ? linear->out : 0);
    }
    for (int i = 0; i < layer->vectors; i++) sum += layer->vector[i].width;
    return sum;
}
