/* SPDX-License-Identifier: MIT
 * io/families/build.c - from what config.json says to layers as data: their norms, and how the
 * halves stand to one another. Attention: build_attention.c and a file for each further kind; MLPs:
 * build_mlps.c. */
#include "io/families/build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- adding to a layer ---- */

int awq_build_vector(awq_layer_spec *layer, int64_t width, const char *format, ...)
{
    va_list arguments;
    awq_vector_spec *vector = &layer->vector[layer->vectors];
    *vector = (awq_vector_spec){.width = width, .absorbs = -1};
    va_start(arguments, format);
    vsnprintf(vector->name, sizeof vector->name, format, arguments);
    va_end(arguments);
    return layer->vectors++;
}

awq_producer awq_build_no_one(void)
{
    return (awq_producer){.by = AWQ_BY_NO_ONE, .norm = -1};
}

awq_producer awq_build_by_norm(int norm)
{
    if (norm < 0) return awq_build_no_one();
    return (awq_producer){.by = AWQ_BY_NORM, .norm = norm};
}

awq_producer awq_build_by_rows(awq_rows rows)
{
    return (awq_producer){.by = AWQ_BY_ROWS, .norm = -1, .rows = rows};
}

static void absorb(awq_layer_spec *layer, int vector, int group)
{
    if (vector >= 0) layer->vector[vector].absorbs = group;
}

int awq_build_group(awq_layer_spec *layer, int expert, const char *prefix, const char *name,
                    int64_t channels, awq_producer producer)
{
    int index = layer->groups++;
    awq_group_spec *group = &layer->group[index];
    *group = (awq_group_spec){
        .channels = channels, .producer = producer, .run = channels, .repeat = 1, .expert = expert};
    snprintf(group->name, sizeof group->name, "%.30s%s", prefix, name);
    if (producer.by == AWQ_BY_NORM) {
        absorb(layer, layer->norm[producer.norm].weight, index);
        absorb(layer, layer->norm[producer.norm].bias, index);
    }
    if (producer.by == AWQ_BY_ROWS) layer->linear[producer.rows.linear].absorbs = index;
    return index;
}

awq_linear_spec *awq_build_linear(awq_layer_spec *layer, awq_half half, int group, int64_t out,
                                  const char *format, ...)
{
    va_list arguments;
    awq_linear_spec *linear = &layer->linear[layer->linears++];
    *linear = (awq_linear_spec){.out = out,
                                .in = layer->group[group].channels,
                                .group = group,
                                .absorbs = -1,
                                .expert = -1,
                                .half = half,
                                .scale = 1,
                                .clipped = true};
    va_start(arguments, format);
    vsnprintf(linear->name, sizeof linear->name, format, arguments);
    va_end(arguments);
    return linear;
}

awq_rows awq_build_rows(const awq_layer_spec *layer, const awq_linear_spec *linear, int64_t first,
                        int64_t count, int64_t period, int64_t times)
{
    return (awq_rows){(int)(linear - layer->linear), first, count, period, times};
}

awq_rows awq_build_all_rows(const awq_layer_spec *layer, const awq_linear_spec *linear)
{
    return awq_build_rows(layer, linear, 0, linear->out, linear->out, 1);
}

/* ---- norms ---- */

const char *awq_build_name(const char *own, const char *usual)
{
    return own ? own : usual;
}

int awq_build_norm(const awq_config *config, awq_layer_spec *layer, const char *name, int64_t cols,
                   int64_t width)
{
    const awq_family *family = config->family;
    awq_norm_spec *norm = &layer->norm[layer->norms];
    *norm = (awq_norm_spec){
        .bias = -1, .cols = cols, .eps = config->norm_eps, .centered = family->norm_centered};
    norm->weight = awq_build_vector(layer, width, "%.50s.weight", name);
    layer->vector[norm->weight].offset = family->norm_offset;
    return layer->norms++;
}

int awq_build_plain_norm(const awq_config *config, awq_layer_spec *layer, int64_t cols)
{
    layer->norm[layer->norms] =
        (awq_norm_spec){.weight = -1, .bias = -1, .cols = cols, .eps = config->norm_eps};
    return layer->norms++;
}

/* One in front of or behind a half. */
static int add_half_norm(const awq_config *config, awq_layer_spec *layer, const char *name)
{
    int norm = awq_build_norm(config, layer, name, config->hidden, config->hidden);
    if (config->family->norm_bias)
        layer->norm[norm].bias = awq_build_vector(layer, config->hidden, "%.50s.bias", name);
    return norm;
}

/* What is in front of the MLPs; of a sparse layer whose experts have a norm of their own, that. */
static const char *mlp_norm_name(const awq_config *config, int64_t index, const char *usual)
{
    const awq_names *names = config->family->names;
    const awq_mixture *mixture = config->family->mixture;
    if (config->sparse[index] && mixture->apart) return mixture->apart->experts_in;
    return awq_build_name(names ? names->mlp_norm : NULL, usual);
}

static void add_norms(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    static const awq_names llama = {0};
    const awq_family *family = config->family;
    const awq_names *names = family->names ? family->names : &llama;
    awq_half_spec *attention = &layer->half[AWQ_HALF_ATTENTION], *mlp = &layer->half[AWQ_HALF_MLP];
    bool before = family->block != AWQ_POST_NORM;
    bool behind = family->block == AWQ_POST_NORM || family->block == AWQ_SANDWICH;
    const char *usual = behind ? "pre_feedforward_layernorm" : "post_attention_layernorm";
    attention->norm = attention->out_norm = mlp->norm = mlp->out_norm = -1;
    layer->parallel = config->parallel;
    if (before)
        attention->norm =
            add_half_norm(config, layer, awq_build_name(names->in_norm, "input_layernorm"));
    if (behind)
        attention->out_norm = add_half_norm(
            config, layer, awq_build_name(names->attention_norm, "post_attention_layernorm"));
    if (before && config->parallel)
        mlp->norm = attention->norm;
    else if (before)
        mlp->norm = add_half_norm(config, layer, mlp_norm_name(config, index, usual));
    if (behind)
        mlp->out_norm = add_half_norm(
            config, layer, awq_build_name(names->mlp_out_norm, "post_feedforward_layernorm"));
}

/* ---- behind the halves ---- */

/* Small ones that change every channel: kept in full precision, as routers are. */
static int add_exempt(awq_layer_spec *layer, int group, int64_t out, const char *name)
{
    awq_linear_spec *linear = awq_build_linear(layer, AWQ_HALF_MLP, group, out, "%s", name);
    linear->whole_name = true;
    linear->exempt = true;
    linear->clipped = false;
    return (int)(linear - layer->linear);
}

/* What the layer makes of what it is given beside hidden states, and the scalar of its output. */
static void add_last(const awq_config *config, awq_layer_spec *layer)
{
    const char *scalar = config->family->scalar;
    layer->input = (awq_layer_input_spec){-1, -1, -1};
    layer->scalar = scalar ? awq_build_vector(layer, 1, "%.60s", scalar) : -1;
    if (!config->layer_input) return;
    int group = awq_build_group(layer, -1, "", "layer_input", config->hidden, awq_build_no_one());
    layer->input.gate = add_exempt(layer, group, config->layer_input, "per_layer_input_gate");
    group =
        awq_build_group(layer, -1, "", "layer_input.out", config->layer_input, awq_build_no_one());
    layer->input.projection = add_exempt(layer, group, config->hidden, "per_layer_projection");
    layer->input.out_norm = add_half_norm(config, layer, "post_per_layer_input_norm");
}

/* ---- a layer ---- */

/* layer->reader: the linears by the group that they read. */
static void list_readers(awq_layer_spec *layer)
{
    int next = 0;
    for (int i = 0; i < layer->linears; i++) layer->group[layer->linear[i].group].count++;
    for (int i = 0; i < layer->groups; i++) {
        layer->group[i].first = next;
        next += layer->group[i].count;
        layer->group[i].count = 0;
    }
    for (int i = 0; i < layer->linears; i++) {
        awq_group_spec *group = &layer->group[layer->linear[i].group];
        layer->reader[group->first + group->count++] = i;
    }
}

/* Linears and groups of one attention, and of what stands beside MLPs, at most. */
enum { MOST_LINEARS = 8 + 4, MOST_GROUPS = 4 + 5 };

/* Room for all that the builders add. */
static bool allocate(awq_layer_spec *layer, int64_t mlps)
{
    size_t count = (size_t)mlps, linears = MOST_LINEARS + 3 * count;
    layer->linear = calloc(linears, sizeof *layer->linear);
    layer->reader = calloc(linears, sizeof *layer->reader);
    layer->group = calloc(MOST_GROUPS + count, sizeof *layer->group);
    layer->mlps.mlp = calloc(count, sizeof *layer->mlps.mlp);
    return layer->linear && layer->reader && layer->group && layer->mlps.mlp;
}

/* false: no memory; the layer is the caller's to release. */
static bool build_layer(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    awq_half_spec *mlp = &layer->half[AWQ_HALF_MLP];
    if (!allocate(layer, config->sparse[index] ? config->routing.experts + 1 : 1)) return false;
    add_norms(config, index, layer);
    awq_build_attention(config, index, layer);
    mlp->group = layer->half[AWQ_HALF_ATTENTION].group;
    if (mlp->norm < 0 || mlp->norm != layer->half[AWQ_HALF_ATTENTION].norm)
        mlp->group =
            awq_build_group(layer, -1, "", "gate_up", config->hidden, awq_build_by_norm(mlp->norm));
    awq_build_mlps(config, index, layer);
    add_last(config, layer);
    list_readers(layer);
    return true;
}

/* ---- the model ---- */

static void complain_of_linears(const awq_config_reader *reader, const awq_config *config)
{
    awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                     "'%s': %lld layers of %lld experts are more than %d linears, and not "
                     "supported",
                     reader->name, (long long)config->layers, (long long)config->routing.experts,
                     (int)AWQ_MAX_LINEARS);
}

/* The first layer of the same kind; the layer itself: it is the first. */
static int64_t first_alike(const awq_config *config, int64_t layer)
{
    int64_t first = 0;
    while (config->sparse[first] != config->sparse[layer] ||
           (config->sparse[layer] && config->active[first] != config->active[layer]) ||
           config->windowed[first] != config->windowed[layer] ||
           config->recurrent[first] != config->recurrent[layer] ||
           config->sharing[first] != config->sharing[layer] ||
           config->indexed[first] != config->indexed[layer] ||
           config->q_rope[first] != config->q_rope[layer] ||
           config->k_rope[first] != config->k_rope[layer])
        first++;
    return first;
}

void awq_model_build(const awq_config_reader *reader, const awq_config *config, awq_model *out)
{
    for (int64_t i = 0; i < config->layers; i++) {
        int64_t first = first_alike(config, i);
        out->kind_of[i] = first < i ? out->kind_of[first] : (uint8_t)out->kinds;
        if (first < i) continue;
        if (out->kinds == AWQ_MAX_KINDS) {
            awq_config_complain(reader, "its layers differ in more ways than are supported", "");
            return;
        }
        awq_layer_spec *layer = &out->kind[out->kinds++];
        if (!build_layer(config, i, layer)) {
            awq_config_complain(reader, "no memory for the description of its layers", "");
            return;
        }
        if (layer->linears > out->widest) out->widest = layer->linears;
    }
    if (config->layers * out->widest > AWQ_MAX_LINEARS) complain_of_linears(reader, config);
}
