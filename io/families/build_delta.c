/* SPDX-License-Identifier: MIT
 * io/families/build_delta.c - a gated delta net: q, k and v, convolved over the tokens, move a
 * state by head, of which q reads; what it reads is normalized, with the same weights for all
 * heads, and gated by z. b and a say how much the state learns and forgets. */
#include "io/families/build.h"

static const char module[] = "linear_attn";

static awq_linear_spec *add(awq_layer_spec *layer, const char *name, int64_t out)
{
    int group = layer->half[AWQ_HALF_ATTENTION].group;
    return awq_build_linear(layer, AWQ_HALF_ATTENTION, group, out, "%s.%s", module, name);
}

/* Of each key head its q and k, then v and z of its value heads; and likewise b and a. */
static void add_fused(const awq_config *config, awq_layer_spec *layer)
{
    awq_attention_spec *attention = &layer->attention;
    const awq_delta_config *delta = &config->delta;
    int64_t times = delta->key_heads, each = delta->heads / times;
    int64_t key = delta->key_dim, value = each * delta->value_dim, period = 2 * (key + value);
    awq_linear_spec *all = add(layer, "in_proj_qkvz", times * period);
    awq_linear_spec *small = add(layer, "in_proj_ba", 2 * delta->heads);
    all->clipped = small->clipped = false;
    small->exempt = true;
    attention->q = awq_build_rows(layer, all, 0, key, period, times);
    attention->k = awq_build_rows(layer, all, key, key, period, times);
    attention->v = awq_build_rows(layer, all, 2 * key, value, period, times);
    attention->gate = awq_build_rows(layer, all, 2 * key + value, value, period, times);
    attention->delta.beta = awq_build_rows(layer, small, 0, each, 2 * each, times);
    attention->delta.a = awq_build_rows(layer, small, each, each, 2 * each, times);
}

static void add_apart(const awq_config *config, awq_layer_spec *layer)
{
    static const char fused[] = "in_proj_qkv and in_proj_z";
    awq_attention_spec *attention = &layer->attention;
    const awq_delta_config *delta = &config->delta;
    int64_t key = delta->key_heads * delta->key_dim, value = delta->heads * delta->value_dim;
    awq_linear_spec *qkv = add(layer, "in_proj_qkv", 2 * key + value);
    awq_linear_spec *z = add(layer, "in_proj_z", value);
    awq_linear_spec *b = add(layer, "in_proj_b", delta->heads);
    awq_linear_spec *a = add(layer, "in_proj_a", delta->heads);
    qkv->clipped = b->clipped = a->clipped = false;
    qkv->fused = z->fused = fused;
    b->exempt = a->exempt = true;
    attention->q = awq_build_rows(layer, qkv, 0, key, key, 1);
    attention->k = awq_build_rows(layer, qkv, key, key, key, 1);
    attention->v = awq_build_rows(layer, qkv, 2 * key, value, value, 1);
    attention->gate = awq_build_all_rows(layer, z);
    attention->delta.beta = awq_build_all_rows(layer, b);
    attention->delta.a = awq_build_all_rows(layer, a);
}

static void add_vectors(const awq_config *config, awq_layer_spec *layer)
{
    awq_attention_spec *attention = &layer->attention;
    const awq_delta_config *delta = &config->delta;
    int64_t channels = 2 * delta->key_heads * delta->key_dim + delta->heads * delta->value_dim;
    int convolution = awq_build_vector(layer, channels * delta->taps, "%s.conv1d.weight", module);
    layer->vector[convolution].rows = channels;
    layer->vector[convolution].middle = true;
    attention->delta.taps = delta->taps;
    attention->delta.convolution = convolution;
    attention->delta.rate = awq_build_vector(layer, delta->heads, "%s.A_log", module);
    attention->delta.step = awq_build_vector(layer, delta->heads, "%s.dt_bias", module);
    attention->o_norm =
        awq_build_norm(config, layer, "linear_attn.norm", delta->value_dim, delta->value_dim);
    layer->vector[layer->norm[attention->o_norm].weight].offset = false;
}

void awq_build_delta(const awq_config *config, awq_layer_spec *layer)
{
    awq_attention_spec *attention = &layer->attention;
    const awq_delta_config *delta = &config->delta;
    attention->kind = AWQ_ATTENTION_DELTA;
    attention->heads = delta->heads;
    attention->kv_heads = delta->key_heads;
    attention->head_dim = delta->key_dim;
    attention->value_dim = delta->value_dim;
    attention->window = 0;
    if (config->family->delta == AWQ_DELTA_FUSED)
        add_fused(config, layer);
    else
        add_apart(config, layer);
    add_vectors(config, layer);
    int group = awq_build_group(layer, -1, "", "o", delta->heads * delta->value_dim,
                                awq_build_by_norm(attention->o_norm));
    layer->group[group].run = delta->value_dim;
    layer->group[group].repeat = delta->heads;
    awq_build_o(config, layer, group, module);
}
