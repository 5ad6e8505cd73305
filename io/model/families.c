/* SPDX-License-Identifier: MIT */
#include "io/model/families.h"

#include <stdio.h>
#include <string.h>

static const awq_mixture mixtral = {.count_key = "num_local_experts",
                                    .every_layer = true,
                                    .module = "block_sparse_moe",
                                    .gate = "w1",
                                    .up = "w3",
                                    .down = "w2",
                                    .router_alias = "mlp.gate"};

static const awq_mixture qwen2_moe = {.count_key = "num_experts",
                                      .width_key = "moe_intermediate_size",
                                      .shared_width_key = "shared_expert_intermediate_size",
                                      .module = "mlp",
                                      .gate = "gate_proj",
                                      .up = "up_proj",
                                      .down = "down_proj"};

static const awq_mixture qwen3_moe = {.count_key = "num_experts",
                                      .width_key = "moe_intermediate_size",
                                      .module = "mlp",
                                      .gate = "gate_proj",
                                      .up = "up_proj",
                                      .down = "down_proj"};

static const awq_family families[] = {
    {.model_type = "llama",
     .sizes = {4096, 11008, 32, 32, 32, 32000},
     .max_positions = 2048,
     .keys = AWQ_KEY_ATTENTION_BIAS | AWQ_KEY_MLP_BIAS},
    {.model_type = "mistral",
     .sizes = {4096, 14336, 32, 32, 8, 32000},
     .max_positions = 131072,
     .window = 4096,
     .keys = AWQ_KEY_WINDOW},
    {.model_type = "qwen2",
     .sizes = {4096, 22016, 32, 32, 32, 151936},
     .max_positions = 32768,
     .qkv_bias = true,
     .keys = AWQ_KEY_WINDOW_SWITCH},
    {.model_type = "qwen3",
     .max_positions = 32768,
     .head_dim = 128,
     .qk_norm = true,
     .keys = AWQ_KEY_ATTENTION_BIAS | AWQ_KEY_WINDOW_SWITCH},
    {.model_type = "phi3",
     .max_positions = 4096,
     .original_positions = 4096,
     .norm_eps = 1e-5,
     .fused = true,
     .keys = AWQ_KEY_WINDOW | AWQ_KEY_PARTIAL_ROTARY},
    {.model_type = "gemma2",
     .max_positions = 8192,
     .head_dim = 256,
     .window = 4096,
     .tied = true,
     .norm_offset = true,
     .out_norms = true,
     .embedding_scaled = true,
     .activation = AWQ_GELU_TANH,
     .activation_key = "hidden_activation",
     .keys = AWQ_KEY_ATTENTION_BIAS | AWQ_KEY_WINDOW | AWQ_KEY_LAYER_TYPES | AWQ_KEY_SOFTCAPS |
             AWQ_KEY_QUERY_SCALAR},
    {.model_type = "granite",
     .max_positions = 2048,
     .keys = AWQ_KEY_ATTENTION_BIAS | AWQ_KEY_MLP_BIAS | AWQ_KEY_MULTIPLIERS},
    {.model_type = "smollm3",
     .max_positions = 32768,
     .rope_theta = 2e6,
     .tied = true,
     .keys = AWQ_KEY_ATTENTION_BIAS | AWQ_KEY_MLP_BIAS | AWQ_KEY_WINDOW | AWQ_KEY_WINDOW_SWITCH |
             AWQ_KEY_LAYER_TYPES | AWQ_KEY_NO_ROPE},
    {.model_type = "qwen2_vl",
     .also = {"qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"},
     .sizes = {8192, 29568, 80, 64, 8, 152064},
     .max_positions = 32768,
     .rope_theta = 1e6,
     .norm_eps = 1e-5,
     .qkv_bias = true,
     .keys = AWQ_KEY_WINDOW_SWITCH | AWQ_KEY_MROPE},
    {.model_type = "qwen3_vl_text",
     .sizes = {4096, 22016, 32, 32, 32, 151936},
     .max_positions = 128000,
     .head_dim = 128,
     .rope_theta = 5e6,
     .qk_norm = true,
     .keys = AWQ_KEY_ATTENTION_BIAS | AWQ_KEY_MROPE},
    {.model_type = "mixtral",
     .max_positions = 131072,
     .rope_theta = 1e6,
     .norm_eps = 1e-5,
     .keys = AWQ_KEY_WINDOW,
     .mixture = &mixtral},
    {.model_type = "qwen2_moe",
     .max_positions = 32768,
     .qkv_bias = true,
     .keys = AWQ_KEY_QKV_BIAS | AWQ_KEY_WINDOW_SWITCH,
     .mixture = &qwen2_moe},
    {.model_type = "qwen3_moe",
     .max_positions = 32768,
     .qk_norm = true,
     .keys = AWQ_KEY_ATTENTION_BIAS | AWQ_KEY_WINDOW_SWITCH,
     .mixture = &qwen3_moe},
};
enum { FAMILIES = sizeof families / sizeof *families };

static bool is_called(const awq_family *family, const char *model_type)
{
    if (!strcmp(family->model_type, model_type)) return true;
    for (int i = 0; i < AWQ_MAX_ALIASES && family->also[i]; i++)
        if (!strcmp(family->also[i], model_type)) return true;
    return false;
}

const awq_family *awq_family_find(const char *model_type)
{
    for (int i = 0; i < FAMILIES; i++)
        if (is_called(&families[i], model_type)) return &families[i];
    return NULL;
}

void awq_family_list(char *out, size_t bytes)
{
    size_t used = 0;
    for (int i = 0; i < FAMILIES && used < bytes; i++)
        used += (size_t)snprintf(out + used, bytes - used, "%s%s", i ? ", " : "",
                                 families[i].model_type);
}
