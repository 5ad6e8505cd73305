/* SPDX-License-Identifier: MIT
 * io/families/build_latent.c - multi-head latent attention: q, and k and v, are linears of narrow,
 * normalized vectors, which are linears of the layer's input; all heads' keys end in the same
 * rotated channels. An indexer, which chooses among many keys, reads what q and the layer read. */
#include "io/families/build.h"

static const char module[] = "self_attn";
static const char fused_inputs[] = "q_a_proj and kv_a_proj_with_mqa";

/* The norms of latent vectors have an epsilon of their own, in all models. */
static const float latent_eps = 1e-6f;

static awq_linear_spec *add(awq_layer_spec *layer, int group, const char *name, int64_t out)
{
    awq_linear_spec *linear =
        awq_build_linear(layer, AWQ_HALF_ATTENTION, group, out, "%s.%s", module, name);
    linear->clipped = false; /* q's, k's or both's */
    return linear;
}

/* The first `rank` outputs of a linear, normalized, and the group that reads them. */
static awq_latent_spec add_latent(const awq_config *config, awq_layer_spec *layer,
                                  const awq_linear_spec *linear, int64_t rank, const char *norm,
                                  const char *group)
{
    awq_latent_spec latent = {.rows = awq_build_rows(layer, linear, 0, rank, rank, 1)};
    latent.norm = awq_build_norm(config, layer, norm, rank, rank);
    layer->norm[latent.norm].eps = latent_eps;
    latent.group = awq_build_group(layer, -1, "", group, rank, awq_build_by_norm(latent.norm));
    return latent;
}

static void add_q(const awq_config *config, awq_layer_spec *layer, int input)
{
    awq_attention_spec *attention = &layer->attention;
    int64_t width = config->heads * config->head_dim, rank = config->latent.q_rank;
    if (!rank) {
        attention->q = awq_build_all_rows(layer, add(layer, input, "q_proj", width));
        return;
    }
    awq_linear_spec *down = add(layer, input, "q_a_proj", rank);
    down->bias = config->qkv_bias;
    down->fused = fused_inputs;
    attention->q_latent = add_latent(config, layer, down, rank, "self_attn.q_a_layernorm", "q_b");
    attention->q =
        awq_build_all_rows(layer, add(layer, attention->q_latent.group, "q_b_proj", width));
}

/* Each head's k, but for what all have in common, then its v. */
static void add_kv(const awq_config *config, awq_layer_spec *layer, int input)
{
    awq_attention_spec *attention = &layer->attention;
    int64_t rank = config->latent.kv_rank, rope = config->latent.rope, nope = config->latent.nope;
    int64_t value = config->value_dim, heads = config->heads;
    awq_linear_spec *down = add(layer, input, "kv_a_proj_with_mqa", rank + rope);
    down->bias = config->qkv_bias;
    down->fused = config->latent.q_rank ? fused_inputs : NULL;
    attention->kv_latent =
        add_latent(config, layer, down, rank, "self_attn.kv_a_layernorm", "kv_b");
    attention->shared_k = awq_build_rows(layer, down, rank, rope, rope, 1);
    awq_linear_spec *up =
        add(layer, attention->kv_latent.group, "kv_b_proj", heads * (nope + value));
    up->absorbed = true;
    attention->k = awq_build_rows(layer, up, 0, nope, nope + value, heads);
    attention->v = awq_build_rows(layer, up, nope, value, nope + value, heads);
}

/* It is not run: up to index_topk tokens it chooses all. */
static void add_indexer(const awq_config *config, awq_layer_spec *layer, int input)
{
    static const char *const names[] = {"indexer.wq_b", "indexer.wk", "indexer.weights_proj"};
    int64_t heads = config->latent.index_heads, dim = config->latent.index_dim;
    const int64_t out[] = {heads * dim, dim, heads};
    for (int i = 0; i < 3; i++)
        add(layer, i ? input : layer->attention.q_latent.group, names[i], out[i])->exempt = true;
    awq_build_vector(layer, dim, "%s.indexer.k_norm.weight", module);
    awq_build_vector(layer, dim, "%s.indexer.k_norm.bias", module);
}

void awq_build_latent(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    awq_attention_spec *attention = &layer->attention;
    int input = layer->half[AWQ_HALF_ATTENTION].group;
    attention->kind = AWQ_ATTENTION_LATENT;
    attention->rope_interleaved = config->latent.interleaved;
    add_q(config, layer, input);
    add_kv(config, layer, input);
    if (config->indexed[index]) add_indexer(config, layer, input);
    int group = awq_build_group(layer, -1, "", "o", config->heads * config->value_dim,
                                awq_build_by_rows(attention->v));
    layer->group[group].run = config->value_dim;
    awq_build_o(config, layer, group, module);
}
