/* SPDX-License-Identifier: MIT
 * io/model/build.c - from what config.json says to layers as data: their norms, attention, and how
 * the halves stand to one another. MLPs: build_mlps.c. */
#include "io/model/build.h"

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

static const char *name_of(const char *own, const char *usual)
{
    return own ? own : usual;
}

/* A norm of the family's kind over `cols` channels, with weights for `width` of them. */
static int add_norm(const awq_family *family, awq_layer_spec *layer, const char *name, int64_t cols,
                    int64_t width)
{
    awq_norm_spec *norm = &layer->norm[layer->norms];
    *norm = (awq_norm_spec){.bias = -1, .cols = cols, .centered = family->norm_centered};
    norm->weight = awq_build_vector(layer, width, "%.50s.weight", name);
    layer->vector[norm->weight].offset = family->norm_offset;
    return layer->norms++;
}

/* One in front of or behind a half. */
static int add_half_norm(const awq_config *config, awq_layer_spec *layer, const char *name)
{
    int norm = add_norm(config->family, layer, name, config->hidden, config->hidden);
    if (config->family->norm_bias)
        layer->norm[norm].bias = awq_build_vector(layer, config->hidden, "%.50s.bias", name);
    return norm;
}

static void add_norms(const awq_config *config, awq_layer_spec *layer)
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
        attention->norm = add_half_norm(config, layer, name_of(names->in_norm, "input_layernorm"));
    if (behind)
        attention->out_norm = add_half_norm(
            config, layer, name_of(names->attention_norm, "post_attention_layernorm"));
    if (before && config->parallel)
        mlp->norm = attention->norm;
    else if (before)
        mlp->norm = add_half_norm(config, layer, name_of(names->mlp_norm, usual));
    if (behind)
        mlp->out_norm = add_half_norm(config, layer,
                                      name_of(names->mlp_out_norm, "post_feedforward_layernorm"));
}

/* ---- grouped-query attention ---- */

static const char fused_qkv[] = "q_proj, k_proj and v_proj";

static const char *module_of(const awq_family *family)
{
    return name_of(family->names ? family->names->attention : NULL, "self_attn");
}

static awq_rows add_qkv(const awq_config *config, awq_layer_spec *layer, int group,
                        const char *name, int64_t heads, bool clipped)
{
    awq_linear_spec *linear =
        awq_build_linear(layer, AWQ_HALF_ATTENTION, group, heads * config->head_dim, "%.20s.%s",
                         module_of(config->family), name);
    linear->bias = config->qkv_bias;
    linear->clipped = clipped;
    linear->fused = fused_qkv;
    return awq_build_all_rows(layer, linear);
}

/* As many rows as q's. */
static awq_rows add_attention_gate(const awq_config *config, awq_layer_spec *layer, int group,
                                   const char *name)
{
    awq_linear_spec *linear =
        awq_build_linear(layer, AWQ_HALF_ATTENTION, group, config->heads * config->head_dim,
                         "%.20s.%.20s", module_of(config->family), name);
    linear->whole_name = true; /* or it is the MLP's gate */
    return awq_build_all_rows(layer, linear);
}

/* One weight of q's rows, then k's, then v's; or, `by_group`, of those of each head of k and v with
 * its queries' in turn. It is not cut, since q and k are not. */
static void add_fused_qkv(const awq_config *config, awq_layer_spec *layer, int group,
                          const char *name, bool by_group)
{
    awq_attention_spec *attention = &layer->attention;
    int64_t times = by_group ? config->kv_heads : 1;
    int64_t q = config->heads * config->head_dim / times;
    int64_t kv = config->kv_heads * config->head_dim / times, period = q + 2 * kv;
    awq_linear_spec *linear = awq_build_linear(layer, AWQ_HALF_ATTENTION, group, times * period,
                                               "%.20s.%.20s", module_of(config->family), name);
    linear->bias = config->qkv_bias;
    linear->clipped = false;
    attention->q = awq_build_rows(layer, linear, 0, q, period, times);
    attention->k = awq_build_rows(layer, linear, q, kv, period, times);
    attention->v = awq_build_rows(layer, linear, q + kv, kv, period, times);
}

/* The norm of queries or keys of so many heads. */
static int add_head_norm(const awq_config *config, awq_layer_spec *layer, const char *name,
                         int64_t heads)
{
    char full[AWQ_LAYER_NAME_BYTES];
    int64_t head = config->head_dim, all = heads * head;
    bool whole = config->qk_norm == AWQ_QK_WHOLE, pieces = config->qk_norm == AWQ_QK_PIECES;
    if (config->qk_norm == AWQ_QK_PLAIN) {
        layer->norm[layer->norms] = (awq_norm_spec){.weight = -1, .bias = -1, .cols = head};
        return layer->norms++;
    }
    snprintf(full, sizeof full, "%.20s.%.20s%s", module_of(config->family), name,
             pieces ? ".norms.%d" : "");
    int norm = add_norm(config->family, layer, full, whole ? all : head,
                        config->qk_norm == AWQ_QK_HEAD ? head : all);
    awq_vector_spec *weight = &layer->vector[layer->norm[norm].weight];
    if (config->qk_norm == AWQ_QK_EACH) weight->rows = heads;
    if (pieces) weight->pieces = (int)heads;
    return norm;
}

/* Whether a layer's queries and keys are normalized: without weights, only where they are rotated.
 */
static bool has_head_norms(const awq_config *config, int64_t index)
{
    if (config->qk_norm == AWQ_QK_PLAIN) return config->rotated[index];
    return config->qk_norm != AWQ_QK_NONE;
}

static void add_head_norms(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    static const awq_names llama = {0};
    const awq_names *names = config->family->names ? config->family->names : &llama;
    awq_attention_spec *attention = &layer->attention;
    if (!has_head_norms(config, index)) return;
    attention->q_norm =
        add_head_norm(config, layer, name_of(names->q_norm, "q_norm"), config->heads);
    attention->k_norm =
        add_head_norm(config, layer, name_of(names->k_norm, "k_norm"), config->kv_heads);
}

static void add_linears(const awq_config *config, awq_layer_spec *layer)
{
    const awq_names *names = config->family->names;
    awq_attention_spec *attention = &layer->attention;
    int group = layer->half[AWQ_HALF_ATTENTION].group;
    if (names && names->qkv) {
        add_fused_qkv(config, layer, group, names->qkv, names->o != NULL);
    } else {
        attention->q = add_qkv(config, layer, group, "q_proj", config->heads, false);
        attention->k = add_qkv(config, layer, group, "k_proj", config->kv_heads, false);
        attention->v = add_qkv(config, layer, group, "v_proj", config->kv_heads, true);
    }
    if (names && names->attention_gate)
        attention->gate = add_attention_gate(config, layer, group, names->attention_gate);
    group =
        awq_build_group(layer, -1, "", "o", config->heads * config->head_dim,
                        config->clamp > 0 ? awq_build_no_one() : awq_build_by_rows(attention->v));
    layer->group[group].run = config->head_dim;
    layer->group[group].repeat = config->heads / config->kv_heads;
    awq_linear_spec *o =
        awq_build_linear(layer, AWQ_HALF_ATTENTION, group, config->hidden, "%.20s.%.20s",
                         module_of(config->family), name_of(names ? names->o : NULL, "o_proj"));
    o->bias = config->o_bias;
    o->scale = config->residual_scale;
    attention->o = (int)(o - layer->linear);
}

static void add_attention(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    awq_half_spec *half = &layer->half[AWQ_HALF_ATTENTION];
    bool windowed = config->windowed[index];
    layer->attention =
        (awq_attention_spec){.gate.linear = -1,
                             .q_norm = -1,
                             .k_norm = -1,
                             .norms_last = config->family->qk_norm_last,
                             .q_rope = config->q_rope[index],
                             .k_rope = config->k_rope[index],
                             .rope_interleaved = config->family->interleaved,
                             .sinks = -1,
                             .heads = config->heads,
                             .kv_heads = config->kv_heads,
                             .head_dim = config->head_dim,
                             .window = windowed ? config->window : 0,
                             .chunked = windowed && config->family->keys & AWQ_KEY_CHUNKS,
                             .scale = config->scale,
                             .clamp = config->clamp,
                             .softcap = config->softcap};
    half->group =
        awq_build_group(layer, -1, "", "qkv", config->hidden, awq_build_by_norm(half->norm));
    add_linears(config, layer);
    add_head_norms(config, index, layer);
    if (config->family->sinks)
        layer->attention.sinks =
            awq_build_vector(layer, config->heads, "%.20s.sinks", module_of(config->family));
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

/* Room for all that the builders add. */
static bool allocate(awq_layer_spec *layer, int64_t mlps)
{
    size_t count = (size_t)mlps, linears = 5 + 3 * count + 2;
    layer->linear = calloc(linears, sizeof *layer->linear);
    layer->reader = calloc(linears, sizeof *layer->reader);
    layer->group = calloc(3 + count, sizeof *layer->group);
    layer->mlps.mlp = calloc(count, sizeof *layer->mlps.mlp);
    return layer->linear && layer->reader && layer->group && layer->mlps.mlp;
}

/* false: no memory; the layer is the caller's to release. */
static bool build_layer(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    awq_half_spec *mlp = &layer->half[AWQ_HALF_MLP];
    if (!allocate(layer, config->sparse[index] ? config->routing.experts + 1 : 1)) return false;
    add_norms(config, layer);
    add_attention(config, index, layer);
    mlp->group = layer->half[AWQ_HALF_ATTENTION].group;
    if (mlp->norm < 0 || mlp->norm != layer->half[AWQ_HALF_ATTENTION].norm)
        mlp->group =
            awq_build_group(layer, -1, "", "gate_up", config->hidden, awq_build_by_norm(mlp->norm));
    awq_build_mlps(config, index, layer);
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
