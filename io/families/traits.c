/* SPDX-License-Identifier: MIT */
#include "io/families/traits.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "io/families/families.h"

/* Adds words to a list. */
static void add(char list[AWQ_TRAITS_BYTES], const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(list);
    used += (size_t)snprintf(list + used, AWQ_TRAITS_BYTES - used, "%s", used ? ", " : "");
    if (used >= AWQ_TRAITS_BYTES) return;
    va_start(arguments, format);
    vsnprintf(list + used, AWQ_TRAITS_BYTES - used, format, arguments);
    va_end(arguments);
}

static void add_if(char list[AWQ_TRAITS_BYTES], bool there, const char *words)
{
    if (there) add(list, "%s", words);
}

/* ---- norms ---- */

static void add_norms(const awq_family *family, char *list)
{
    static const char *const places[] = {[AWQ_PRE_NORM] = NULL,
                                         [AWQ_SANDWICH] = "norms before and behind each half",
                                         [AWQ_POST_NORM] = "norms behind each half only",
                                         [AWQ_PARALLEL] = "parallel halves"};
    static const char *const heads[] = {[AWQ_QK_NONE] = NULL,
                                        [AWQ_QK_HEAD] = "q/k norm by head",
                                        [AWQ_QK_WHOLE] = "q/k norm of all heads together",
                                        [AWQ_QK_EACH] = "q/k norm with weights of each head",
                                        [AWQ_QK_PIECES] =
                                            "q/k norm with weights of each head, a tensor each",
                                        [AWQ_QK_PLAIN] = "q/k norm without weights"};
    add(list, "%s%s%s", family->norm_centered ? "LayerNorm" : "RMSNorm",
        family->norm_offset ? " of 1 + w" : "", family->norm_bias ? " with bias" : "");
    if (places[family->block]) add(list, "%s", places[family->block]);
    add_if(list, family->keys & AWQ_KEY_PARALLEL, "(parallel halves)");
    if (heads[family->qk_norm])
        add(list, "%s%s%s%s", family->qk_norm_key ? "(" : "", heads[family->qk_norm],
            family->qk_norm_last ? " behind RoPE" : "", family->qk_norm_key ? ")" : "");
    add_if(list, family->v_norm, "v norm without weights");
}

/* ---- attention ---- */

static void add_rope(const awq_family *family, char *list)
{
    unsigned keys = family->keys;
    if (family->partial > 0) add(list, "RoPE of %g of a head", family->partial);
    add_if(list, keys & AWQ_KEY_PARTIAL_ROTARY && !(family->partial > 0), "(partial RoPE)");
    add_if(list, family->interleaved || (family->latent && family->latent->always_interleaved),
           "RoPE in pairs of neighbours");
    add_if(list, family->latent && !family->latent->always_interleaved,
           "(RoPE in pairs of neighbours)");
    add_if(list, keys & AWQ_KEY_LOCAL_ROPE, "RoPE of its own in windows");
    add_if(list, keys & AWQ_KEY_NO_ROPE, "layers without RoPE");
    add_if(list, family->rope_in_windows, "RoPE in windows only");
    add_if(list, keys & AWQ_KEY_MROPE, "mrope");
    add_if(list, family->original_positions, "(longrope)");
    add_if(list, keys & (AWQ_KEY_POSITION_SCALE | AWQ_KEY_TEMPERATURE),
           "(queries grow by position)");
}

static void add_window(const awq_family *family, char *list)
{
    unsigned keys = family->keys;
    bool by_layer = family->window_pattern || keys & (AWQ_KEY_WINDOW_LAYERS | AWQ_KEY_LAYER_TYPES);
    if (keys & AWQ_KEY_CHUNKS)
        add(list, "chunks in some layers");
    else if (family->window_pattern)
        add(list, "windows in some layers");
    else if (keys & AWQ_KEY_WINDOW)
        add(list, by_layer ? "(windows in some layers)" : "(window)");
}

static void add_biases(const awq_family *family, char *list)
{
    unsigned keys = family->keys, all = AWQ_KEY_USE_BIAS | AWQ_KEY_MLP_BIAS;
    bool attention = keys & (AWQ_KEY_ATTENTION_BIAS | AWQ_KEY_O_BIAS);
    if (family->bias)
        add(list, keys & AWQ_KEY_USE_BIAS ? "biases"
                  : keys & AWQ_KEY_O_BIAS ? "q/k/v biases"
                                          : "attention biases");
    else if (family->qkv_bias)
        add(list, "q/k/v biases");
    else if (keys & all)
        add(list, "(biases)");
    else if (attention)
        add(list, "(attention biases)");
    else
        add_if(list, keys & AWQ_KEY_QKV_BIAS, "(q/k/v biases)");
}

static void add_attention(const awq_family *family, char *list)
{
    const awq_names *names = family->names;
    if (family->latent)
        add(list, "latent attention%s", family->latent->index_heads ? " with an indexer" : "");
    add_if(list, family->delta, "gated delta nets and full attention");
    add_rope(family, list);
    add_window(family, list);
    add_if(list, family->full_head_dim, "other heads in layers without");
    add_if(list, family->full_head_dim, "(v made by k_proj)");
    add_if(list, family->full_head_dim, "(k and v of earlier layers)");
    add_biases(family, list);
    add_if(list, names && names->qkv, "fused q/k/v");
    add_if(list, family->sinks, "sinks");
    add_if(list, family->gated_q || (names && names->attention_gate), "gated attention");
    add_if(list, family->keys & AWQ_KEY_SOFTCAPS, "(capped logits)");
    add_if(list, family->keys & AWQ_KEY_CLAMP, "(clipped q/k/v)");
}

/* ---- MLPs ---- */

static void add_mlp(const awq_family *family, char *list)
{
    static const char *const activations[] = {[AWQ_SILU] = NULL,
                                              [AWQ_GELU_TANH] = "tanh's GELU",
                                              [AWQ_GELU] = "GELU",
                                              [AWQ_RELU2] = "squared ReLU",
                                              [AWQ_SWIGLU_OAI] = "swiglu-oai"};
    if (activations[family->activation]) add(list, "%s", activations[family->activation]);
    add_if(list, family->ungated, "ungated MLP");
    add_if(list, family->names && family->names->gate_up, "fused gate/up");
}

static void add_experts(const awq_mixture *mixture, char *list)
{
    static const char *const scores[] = {[AWQ_SCORE_SOFTMAX] = "softmax router",
                                         [AWQ_SCORE_SIGMOID] = "sigmoid router",
                                         [AWQ_SCORE_SPARSEMIXER] = "sparse mixer's router"};
    bool optional = mixture->shared_optional || mixture->shared_count_key;
    add_if(list, mixture->enabled_key, "(experts beside the MLP, with norms of their own)");
    add(list, "%s%s%s", scores[mixture->routing.score], mixture->router_bias ? " with bias" : "",
        mixture->correction ? " with correction" : "");
    add_if(list, mixture->routing.grouped, "(groups)");
    add_if(list, mixture->weighs_inputs, "experts' inputs weighed");
    add_if(list, mixture->expert_bias, "experts with bias");
    if (mixture->shared && !mixture->enabled_key)
        add(list, "%s%sshared expert%s", optional ? "(" : "", mixture->shared_gate ? "gated " : "",
            optional ? ")" : "");
    add_if(list, mixture->layers != AWQ_SPARSE_ALL, "(dense layers)");
}

/* ---- the ends ---- */

static void add_ends(const awq_family *family, char *list)
{
    unsigned keys = family->keys;
    add_if(list, family->layer_input, "(inputs of each layer)");
    add_if(list, family->scalar, "scaled layers");
    add_if(list, family->embedding_scaled, "scaled embedding");
    add_if(list, keys & AWQ_KEY_MUP, "(scaled embedding)");
    add_if(list, keys & AWQ_KEY_MULTIPLIERS, "(multipliers)");
    add_if(list, keys & AWQ_KEY_LOGIT_SCALE, "scaled logits");
    add_if(list, keys & AWQ_KEY_HEAD_BIAS, "(head with bias)");
}

static void add_kept(const awq_family *family, char *list)
{
    const awq_mixture *mixture = family->mixture;
    add(list, "norms");
    add_if(list, family->sinks, "sinks");
    add_if(list, family->delta, "convolutions, rates, b and a of the delta nets");
    add_if(list, family->latent, "kv_b_proj unless asked");
    add_if(list, family->latent && family->latent->index_heads, "indexers");
    add_if(list, mixture, "router");
    add_if(list, mixture && mixture->correction, "correction");
    add_if(list, mixture && mixture->shared && mixture->shared_gate, "shared expert's gate");
    add_if(list, family->scalar, "scalars of layers");
    add_if(list, family->layer_input, "what makes the inputs of each layer");
}

bool awq_traits_at(int index, awq_traits *out)
{
    const awq_family *family = awq_family_at(index);
    if (!family) return false;
    *out = (awq_traits){.model_type = family->model_type,
                        .also = family->also,
                        .most_also = AWQ_MAX_ALIASES,
                        .mixture = family->mixture};
    add_norms(family, out->text);
    add_attention(family, out->text);
    add_mlp(family, out->text);
    if (family->mixture) add_experts(family->mixture, out->text);
    add_ends(family, out->text);
    add_kept(family, out->kept);
    return true;
}
