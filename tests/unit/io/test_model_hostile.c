/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_hostile.c - any value under any key, in any family, is a model or a
 * problem. */
#include <float.h>
#include <stdio.h>
#include <string.h>

#include "config_of.h"
#include "io/families/families.h"
#include "io/formats/quantization_config.h"
#include "scratch.h"

/* Every key that is read; among the RoPE parameters too. */
static const char *const keys[] = {"activation",
                                   "alpha",
                                   "attention_bias",
                                   "attention_chunk_size",
                                   "attention_k_eq_v",
                                   "attention_multiplier",
                                   "attention_out_bias",
                                   "attn_logit_softcapping",
                                   "attn_scale",
                                   "attn_temperature_tuning",
                                   "beta_fast",
                                   "beta_slow",
                                   "bias",
                                   "clip_qkv",
                                   "decoder_sparse_step",
                                   "dtype",
                                   "embedding_multiplier",
                                   "enable_moe_block",
                                   "factor",
                                   "final_logit_softcapping",
                                   "first_k_dense_replace",
                                   "floor_scale",
                                   "full_attention",
                                   "full_attention_interval",
                                   "global_attn_every_n_layers",
                                   "global_head_dim",
                                   "head_dim",
                                   "hidden_act",
                                   "hidden_activation",
                                   "hidden_size",
                                   "hidden_size_per_layer_input",
                                   "index_head_dim",
                                   "index_n_heads",
                                   "index_skip_topk_offset",
                                   "index_topk",
                                   "index_topk_freq",
                                   "index_topk_pattern",
                                   "indexer_types",
                                   "interleave_moe_layer_step",
                                   "intermediate_size",
                                   "intermediate_size_mlp",
                                   "kv_lora_rank",
                                   "layer_norm_eps",
                                   "layer_types",
                                   "linear_conv_kernel_dim",
                                   "linear_key_head_dim",
                                   "linear_num_key_heads",
                                   "linear_num_value_heads",
                                   "linear_value_head_dim",
                                   "llama_4_scaling_beta",
                                   "lm_head_bias",
                                   "logit_scale",
                                   "logits_scaling",
                                   "long_factor",
                                   "long_mscale",
                                   "max_position_embeddings",
                                   "max_window_layers",
                                   "mlp_bias",
                                   "mlp_layer_types",
                                   "mlp_only_layers",
                                   "moe_intermediate_size",
                                   "moe_k",
                                   "moe_layer_end_index",
                                   "moe_layer_interval",
                                   "moe_layer_start_index",
                                   "moe_layers",
                                   "moe_num_experts",
                                   "moe_num_shared_experts",
                                   "moe_topk",
                                   "mscale",
                                   "mscale_all_dim",
                                   "mup_enabled",
                                   "n_group",
                                   "n_routed_experts",
                                   "n_shared_experts",
                                   "no_rope_layer_interval",
                                   "no_rope_layers",
                                   "norm_eps",
                                   "norm_epsilon",
                                   "norm_topk_prob",
                                   "num_attention_heads",
                                   "num_dense_layers",
                                   "num_experts",
                                   "num_experts_per_tok",
                                   "num_global_key_value_heads",
                                   "num_hidden_layers",
                                   "num_key_value_heads",
                                   "num_kv_shared_layers",
                                   "num_local_experts",
                                   "num_nextn_predict_layers",
                                   "num_shared_experts",
                                   "original_max_position_embeddings",
                                   "output_gate_type",
                                   "partial_rotary_factor",
                                   "per_layer_config",
                                   "q_lora_rank",
                                   "qk_layernorm",
                                   "qk_nope_head_dim",
                                   "qk_norm_type",
                                   "qk_rope_head_dim",
                                   "qkv_bias",
                                   "query_pre_attn_scalar",
                                   "residual_multiplier",
                                   "rms_norm_eps",
                                   "rope_interleave",
                                   "rope_local_base_freq",
                                   "rope_parameters",
                                   "rope_scaling",
                                   "rope_theta",
                                   "rope_type",
                                   "rotary_dim",
                                   "route_norm",
                                   "route_scale",
                                   "routed_scaling_factor",
                                   "router_jitter_noise",
                                   "router_scaling_factor",
                                   "score_func",
                                   "scoring_func",
                                   "shared_expert_intermediate_size",
                                   "shared_intermediate_size",
                                   "short_factor",
                                   "short_mscale",
                                   "sliding_attention",
                                   "sliding_window",
                                   "sliding_window_pattern",
                                   "swiglu_alpha",
                                   "swiglu_limit",
                                   "tie_word_embeddings",
                                   "top_k_experts",
                                   "topk_group",
                                   "topk_method",
                                   "torch_dtype",
                                   "truncate",
                                   "type",
                                   "use_bias",
                                   "use_bidirectional_attention",
                                   "use_double_wide_mlp",
                                   "use_parallel_residual",
                                   "use_qk_norm",
                                   "use_qkv_bias",
                                   "use_routing_bias",
                                   "use_sliding_window",
                                   "v_head_dim",
                                   "vocab_size",
                                   "vocab_size_per_layer_input"};
enum { KEYS = sizeof keys / sizeof *keys };

static const char *const values[] = {
    "null",
    "true",
    "false",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "17",
    "9223372036854775807",
    "-9223372036854775808",
    "4611686018427387905",
    "1e308",
    "-1e308",
    "1e-320",
    "0.5",
    "1.5",
    "1048576",
    "2147483647",
    "\"\"",
    "\"yarn\"",
    "\"dynamic\"",
    "\"longrope\"",
    "\"LLG\"",
    "\"\\u00e9\"",
    "[]",
    "[1]",
    "[-1, 2, 3, 4]",
    "[1, 1, 1, 1]",
    "[1, 2, 3, 4]",
    "[[]]",
    "[\"sparse\", \"dense\", \"sparse\", \"dense\"]",
    "[\"full_attention\", \"sliding_attention\", \"full_attention\", \"sliding_attention\"]",
    "[\"full\", \"shared\", \"full\", \"shared\"]",
    "[\"linear_attention\", \"full_attention\", \"linear_attention\", \"linear_attention\"]",
    "\"FSFF\"",
    "{}",
    "{\"rope_type\": \"yarn\"}",
    "{\"rope_type\": \"proportional\", \"partial_rotary_factor\": -1}",
    "{\"3\": {\"head_dim\": 4611686018427387905, \"num_key_value_heads\": 3}}",
    "{\"1\": [], \"3\": {\"head_dim\": 32}}",
    "{\"factor\": -1}"};
enum { VALUES = sizeof values / sizeof *values };

#define MIXTURE                                                                                    \
    ", \"num_experts_per_tok\": 2, \"moe_topk\": 2, \"moe_k\": 2, \"moe_intermediate_size\": 32,"  \
    " \"shared_expert_intermediate_size\": 32, \"intermediate_size_mlp\": 80"
#define GROUPS ", \"n_group\": 2, \"topk_group\": 1"
#define LATENT                                                                                     \
    ", \"num_key_value_heads\": 4, \"q_lora_rank\": 24, \"kv_lora_rank\": 12,"                     \
    " \"qk_nope_head_dim\": 8, \"qk_rope_head_dim\": 4, \"v_head_dim\": 6"
#define DELTA                                                                                      \
    ", \"linear_num_key_heads\": 2, \"linear_num_value_heads\": 4, \"linear_key_head_dim\": 6,"    \
    " \"linear_value_head_dim\": 5"

/* The keys that this family must say, and those that a small model of it does. */
static const char *own_keys(const awq_family *family)
{
    static char text[800];
    const awq_mixture *mixture = family->mixture;
    size_t used = 0;
    *text = '\0';
    if (mixture)
        used = (size_t)snprintf(text, sizeof text, MIXTURE ", \"%s\": 4", mixture->count_key);
    if (mixture && mixture->enabled_key)
        used += (size_t)snprintf(text + used, sizeof text - used, ", \"%s\": true",
                                 mixture->enabled_key);
    if (mixture && mixture->shared_count_key)
        used += (size_t)snprintf(text + used, sizeof text - used, ", \"%s\": 1",
                                 mixture->shared_count_key);
    if (mixture && mixture->routing.grouped)
        used += (size_t)snprintf(text + used, sizeof text - used, GROUPS);
    if (family->latent) snprintf(text + used, sizeof text - used, LATENT);
    if (family->delta) snprintf(text + used, sizeof text - used, DELTA);
    return text;
}

/* Either a whole model, or problems of one sentence that name the file. */
static bool try(const json_t *config)
{
    awq_model model = {.layers = -7};
    awq_problems problems;
    awq_problems_init(&problems);
    bool good = awq_model_from_config(config, &model, &problems);
    assert_int_equal(good, problems.count == 0);
    for (size_t i = 0; i < problems.count; i++)
        assert_contains(problems.items[i].text, "'config.json");
    if (!good) assert_int_equal(model.layers, -7);
    assert_true(!good || (model.residual >= model.hidden && model.planes <= AWQ_MAX_PLANES));
    for (int64_t i = 0; good && i < model.layers; i++) {
        const awq_attention_spec *attention = &awq_model_layer(&model, i)->attention;
        assert_true(attention->q_rope < model.ropes && attention->k_rope < model.ropes);
        assert_true(attention->q_still < model.ropes);
        assert_true(attention->scale > 0 && attention->scale <= FLT_MAX);
        assert_true(attention->k_plane < model.planes && attention->v_plane < model.planes);
        assert_true(model.kind_of[i] < model.kinds);
    }
    if (good) awq_model_release(&model);
    awq_problems_release(&problems);
    return good;
}

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *config = json_loads(text, JSON_DECODE_ANY, &error);
    if (!config) fail_msg("%s: %s", error.text, text);
    return config;
}

/* At top level, and among the RoPE parameters. */
static void try_each_value(json_t *config, const char *key)
{
    json_t *rope = json_object_get(config, "rope_scaling");
    json_t *const objects[] = {config, rope};
    for (int i = 0; i < 2; i++) {
        json_t *before = json_incref(json_object_get(objects[i], key));
        for (int j = 0; j < VALUES; j++) {
            json_object_set_new(objects[i], key, parse(values[j]));
            try(config);
        }
        json_object_del(objects[i], key);
        if (before) json_object_set_new(objects[i], key, before);
        if (!i && before == rope) return;
    }
}

static void any_value_of_any_key_is_a_model_or_a_problem(void **state)
{
    (void)state;
    static const char *const ropes[] = {"{\"rope_type\": \"default\"}",
                                        "{\"rope_type\": \"yarn\", \"factor\": 2}",
                                        "{\"rope_type\": \"dynamic\", \"factor\": 2}"};
    const awq_family *family;
    for (int i = 0; (family = awq_family_at(i)); i++) {
        json_t *config = parse(config_of(family->model_type, 64, own_keys(family)));
        if (!try(config)) fail_msg("the plain %s is refused", family->model_type);
        json_object_set_new(config, "rope_scaling", parse(ropes[i % 3]));
        for (int key = 0; key < KEYS; key++) try_each_value(config, keys[key]);
        json_decref(config);
    }
}

static void a_config_that_is_no_object_is_a_problem(void **state)
{
    (void)state;
    for (int i = 0; i < VALUES; i++) {
        json_t *config = parse(values[i]), *wrapper = parse("{\"model_type\": \"llava\"}");
        if (!json_is_object(config)) assert_false(try(config));
        json_object_set(wrapper, "text_config", config);
        assert_false(try(wrapper));
        json_object_set(wrapper, "model_type", config);
        assert_false(try(wrapper));
        json_decref(config);
        json_decref(wrapper);
    }
}

/* Room is for eight. */
static void layers_of_too_many_kinds_are_refused(void **state)
{
    (void)state;
    static const char shape[] =
        "{\"model_type\": \"hunyuan_v1_moe\", \"hidden_size\": 64, \"intermediate_size\": 32,"
        " \"num_hidden_layers\": %d, \"num_attention_heads\": 4, \"vocab_size\": 100,"
        " \"num_experts\": 16, \"moe_topk\": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}";
    char text[400];
    snprintf(text, sizeof text, shape, 8);
    awq_model model = model_of(text);
    assert_int_equal(model.kinds, 8);
    awq_model_release(&model);
    for (int layers = 9; layers <= 10; layers++) {
        snprintf(text, sizeof text, shape, layers);
        expect_problem(text, "its layers differ in more ways than are supported");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_value_of_any_key_is_a_model_or_a_problem),
        cmocka_unit_test(a_config_that_is_no_object_is_a_problem),
        cmocka_unit_test(layers_of_too_many_kinds_are_refused),
    };
    return cmocka_run_group_tests_name("model_hostile", tests, NULL, NULL);
}
