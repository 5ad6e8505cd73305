/* SPDX-License-Identifier: MIT */
#include "model_of.h"

#include <stdio.h>
#include <string.h>

#include "io/formats/quantization_config.h"
#include "scratch.h"

awq_model model_of(const char *text)
{
    awq_model model;
    awq_problems problems;
    json_error_t error;
    awq_problems_init(&problems);
    json_t *config = json_loads(text, 0, &error);
    if (!config) fail_msg("%s: %s", error.text, text);
    if (!awq_model_from_config(config, &model, &problems)) fail_msg("%s", problems.items[0].text);
    assert_int_equal(problems.count, 0);
    json_decref(config);
    awq_problems_release(&problems);
    return model;
}

static int find_linear(const awq_layer_spec *layer, const char *short_name)
{
    for (int i = 0; i < layer->linears; i++)
        if (!strcmp(awq_linear_short_name(&layer->linear[i]), short_name)) return i;
    return -1;
}

static int find_group(const awq_layer_spec *layer, const char *name)
{
    for (int i = 0; i < layer->groups; i++)
        if (!strcmp(layer->group[i].name, name)) return i;
    return -1;
}

static int find_norm(const awq_layer_spec *layer, const char *name)
{
    char weight[AWQ_LAYER_NAME_BYTES];
    snprintf(weight, sizeof weight, "%.50s.weight", name);
    for (int i = 0; i < layer->norms; i++) {
        int vector = layer->norm[i].weight;
        if (vector >= 0 && !strcmp(layer->vector[vector].name, weight)) return i;
    }
    return -1;
}

static int found(int index, const char *what, const char *name)
{
    if (index < 0) fail_msg("the layer has no %s '%s'", what, name);
    return index;
}

int linear_named(const awq_layer_spec *layer, const char *short_name)
{
    return found(find_linear(layer, short_name), "linear", short_name);
}

int group_named(const awq_layer_spec *layer, const char *name)
{
    return found(find_group(layer, name), "scale group", name);
}

int norm_named(const awq_layer_spec *layer, const char *name)
{
    return found(find_norm(layer, name), "norm", name);
}

bool has_linear(const awq_layer_spec *layer, const char *short_name)
{
    return find_linear(layer, short_name) >= 0;
}

bool has_group(const awq_layer_spec *layer, const char *name)
{
    return find_group(layer, name) >= 0;
}
