/* SPDX-License-Identifier: MIT
 * io/families/build_attention.c - grouped-query attention: its linears and norms. */
#include <stdio.h>

#include "io/families/build.h"

static const char fused_qkv[] = "q_proj, k_proj and v_proj";

static const char *module_of(const awq_family *family)
{
    return awq_build_name(family->names ? family->names->attention : NULL, "self_attn");
}

static awq_rows add_qkv(const awq_config *config, awq_layer_spec *layer, int group,
                        const char *name, int64_t heads, bool clipped)
{
    awq_linear_spec *linear =
        awq_build_linear(layer, AWQ_HALF_ATTENTION, group, heads * layer->attention.head_dim,
                         "%.20s.%s", module_of(config->family), name);
    linear->bias = config->qkv_bias;
    linear->clipped = clipped;
    linear->fused = fused_qkv;
    return awq_build_all_rows(layer, linear);
}

/* As many rows as q's. */
static awq_rows add_attention_gate(const awq_config *config, awq_layer_spec *layer, int group,
                                   const char *name)
{
    awq_linear_spec *linear = awq_build_linear(layer, AWQ_HALF_ATTENTION, group,
                                               config->heads * layer->attention.head_dim,
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
    int64_t times = by_group ? attention->kv_heads : 1;
    int64_t q = attention->heads * attention->head_dim / times;
    int64_t kv = attention->kv_heads * attention->head_dim / times, period = q + 2 * kv;
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
    int64_t head = layer->attention.head_dim, all = heads * head;
    bool whole = config->qk_norm == AWQ_QK_WHOLE, pieces = config->qk_norm == AWQ_QK_PIECES;
    if (config->qk_norm == AWQ_QK_PLAIN) return awq_build_plain_norm(config, layer, head);
    snprintf(full, sizeof full, "%.20s.%.20s%s", module_of(config->family), name,
             pieces ? ".norms.%d" : "");
    int norm = awq_build_norm(config, layer, full, whole ? all : head,
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
        add_head_norm(config, layer, awq_build_name(names->q_norm, "q_norm"), config->heads);
    if (attention->k.linear >= 0)
        attention->k_norm = add_head_norm(config, layer, awq_build_name(names->k_norm, "k_norm"),
                                          attention->kv_heads);
}

/* q and, head by head behind it, its gate. */
static void add_gated_q(const awq_config *config, awq_layer_spec *layer, int group)
{
    awq_attention_spec *attention = &layer->attention;
    int64_t head = attention->head_dim;
    awq_rows both = add_qkv(config, layer, group, "q_proj", 2 * config->heads, false);
    const awq_linear_spec *linear = &layer->linear[both.linear];
    attention->q = awq_build_rows(layer, linear, 0, head, 2 * head, config->heads);
    attention->gate = awq_build_rows(layer, linear, head, head, 2 * head, config->heads);
}

static void add_kv(const awq_config *config, int64_t index, awq_layer_spec *layer, int group)
{
    awq_attention_spec *attention = &layer->attention;
    bool same = config->full_k_is_v && !config->windowed[index];
    attention->k = add_qkv(config, layer, group, "k_proj", attention->kv_heads, false);
    attention->v =
        same ? attention->k : add_qkv(config, layer, group, "v_proj", attention->kv_heads, true);
}

/* Older versions of transformers made k and v in all layers, and the hub's checkpoints have them.
 */
static const char *const unread_kv[] = {"self_attn.k_proj", "self_attn.v_proj", "self_attn.k_norm",
                                        "self_attn.v_norm", NULL};

static void add_inputs(const awq_config *config, int64_t index, awq_layer_spec *layer, int group)
{
    const awq_names *names = config->family->names;
    awq_attention_spec *attention = &layer->attention;
    if (names && names->qkv) {
        add_fused_qkv(config, layer, group, names->qkv, names->o != NULL);
    } else {
        if (config->family->gated_q)
            add_gated_q(config, layer, group);
        else
            attention->q = add_qkv(config, layer, group, "q_proj", config->heads, false);
        if (config->sharing[index] == AWQ_KV_TAKEN)
            layer->unread = unread_kv;
        else
            add_kv(config, index, layer, group);
    }
    if (names && names->attention_gate)
        attention->gate = add_attention_gate(config, layer, group, names->attention_gate);
}

void awq_build_o(const awq_config *config, awq_layer_spec *layer, int group, const char *module)
{
    const awq_names *names = config->family->names;
    bool recurrent = layer->attention.kind == AWQ_ATTENTION_DELTA;
    const char *usual = recurrent ? "out_proj" : "o_proj";
    awq_linear_spec *o =
        awq_build_linear(layer, AWQ_HALF_ATTENTION, group, config->hidden, "%.20s.%.20s", module,
                         awq_build_name(names ? names->o : NULL, usual));
    o->bias = config->o_bias && !recurrent;
    o->scale = config->residual_scale;
    layer->attention.o = (int)(o - layer->linear);
}

/* Whose rows can absorb what o's channels are scaled by: v's, if nothing that is not linear stands
 * between. */
static awq_producer o_producer(const awq_config *config, const awq_layer_spec *layer)
{
    bool linear = !(config->clamp > 0) && !config->family->v_norm && layer->attention.v.linear >= 0;
    return linear ? awq_build_by_rows(layer->attention.v) : awq_build_no_one();
}

static void add_linears(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    awq_attention_spec *attention = &layer->attention;
    add_inputs(config, index, layer, layer->half[AWQ_HALF_ATTENTION].group);
    int group = awq_build_group(layer, -1, "", "o", attention->heads * attention->head_dim,
                                o_producer(config, layer));
    layer->group[group].run = attention->head_dim;
    layer->group[group].repeat = attention->heads / attention->kv_heads;
    awq_build_o(config, layer, group, module_of(config->family));
}

static void add_grouped(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    awq_attention_spec *attention = &layer->attention;
    add_linears(config, index, layer);
    add_head_norms(config, index, layer);
    if (config->family->v_norm && attention->v.linear >= 0)
        attention->v_norm = awq_build_plain_norm(config, layer, attention->head_dim);
    if (config->family->sinks)
        layer->attention.sinks =
            awq_build_vector(layer, config->heads, "%.20s.sinks", module_of(config->family));
}

/* What all kinds have, and none of what one may have. */
static awq_attention_spec describe(const awq_config *config, int64_t index)
{
    const awq_rows none = {.linear = -1};
    bool windowed = config->windowed[index], latent = config->latent.kv_rank > 0;
    int64_t head_dim = windowed ? config->head_dim : config->full_head_dim;
    int plane = config->sharing[index] != AWQ_KV_OWN ? config->kv_plane[windowed] : -1;
    return (awq_attention_spec){.k = none,
                                .v = none,
                                .gate = none,
                                .q_norm = -1,
                                .k_norm = -1,
                                .v_norm = -1,
                                .o_norm = -1,
                                .norms_last = config->family->qk_norm_last,
                                .q_rope = config->q_rope[index],
                                .k_rope = config->k_rope[index],
                                .q_still = config->q_still,
                                .rope_interleaved = config->family->interleaved,
                                .k_plane = plane,
                                .v_plane = plane < 0 ? -1 : plane + 1,
                                .sinks = -1,
                                .heads = config->heads,
                                .kv_heads = windowed ? config->kv_heads : config->full_kv_heads,
                                .head_dim = head_dim,
                                .value_dim = latent ? config->value_dim : head_dim,
                                .q_latent.rows = none,
                                .kv_latent.rows = none,
                                .shared_k = none,
                                .delta = {-1, -1, -1, none, none, 0},
                                .window = windowed ? config->window : 0,
                                .chunked = windowed && config->family->keys & AWQ_KEY_CHUNKS,
                                .scale = config->scale,
                                .clamp = config->clamp,
                                .softcap = config->softcap};
}

void awq_build_attention(const awq_config *config, int64_t index, awq_layer_spec *layer)
{
    awq_half_spec *half = &layer->half[AWQ_HALF_ATTENTION];
    layer->attention = describe(config, index);
    half->group =
        awq_build_group(layer, -1, "", "qkv", config->hidden, awq_build_by_norm(half->norm));
    if (config->recurrent[index])
        awq_build_delta(config, layer);
    else if (config->latent.kv_rank)
        awq_build_latent(config, index, layer);
    else
        add_grouped(config, index, layer);
}
