/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_experts.c - mixtures of experts as config.json describes them: which
 * layers are sparse, what their linears are called, how large they are. */
#include <stdio.h>
#include <string.h>

#include "io/model.h"
#include "scratch.h"

#define MIXTRAL_8X7B                                                                               \
    "{\"model_type\": \"mixtral\", \"hidden_size\": 4096, \"intermediate_size\": 14336,"           \
    " \"num_hidden_layers\": 32, \"num_attention_heads\": 32, \"num_key_value_heads\": 8,"         \
    " \"num_local_experts\": 8, \"num_experts_per_tok\": 2, \"vocab_size\": 32000}"
#define QWEN3_30B                                                                                  \
    "{\"model_type\": \"qwen3_moe\", \"hidden_size\": 2048, \"intermediate_size\": 6144,"          \
    " \"num_hidden_layers\": 48, \"num_attention_heads\": 32, \"num_key_value_heads\": 4,"         \
    " \"head_dim\": 128, \"num_experts\": 128, \"num_experts_per_tok\": 8,"                        \
    " \"moe_intermediate_size\": 768, \"norm_topk_prob\": true, \"vocab_size\": 151936}"
#define QWEN1_5_A2_7B                                                                              \
    "{\"model_type\": \"qwen2_moe\", \"hidden_size\": 2048, \"intermediate_size\": 5632,"          \
    " \"num_hidden_layers\": 24, \"num_attention_heads\": 16, \"num_key_value_heads\": 16,"        \
    " \"num_experts\": 60, \"num_experts_per_tok\": 4, \"moe_intermediate_size\": 1408,"           \
    " \"shared_expert_intermediate_size\": 5632, \"vocab_size\": 151936%s}"

static bool read_model(const char *text, awq_model *out, awq_problems *problems)
{
    json_error_t error;
    json_t *config = json_loads(text, 0, &error);
    if (!config) fail_msg("%s: %s", error.text, text);
    bool ok = awq_model_from_config(config, out, problems);
    json_decref(config);
    return ok;
}

static awq_model read_good(const char *text)
{
    awq_model model;
    awq_problems problems;
    awq_problems_init(&problems);
    if (!read_model(text, &model, &problems)) fail_msg("%s", problems.items[0].text);
    return model;
}

static awq_model qwen2(const char *extra)
{
    char text[1024];
    snprintf(text, sizeof text, QWEN1_5_A2_7B, extra);
    return read_good(text);
}

/* Half the bytes of the published checkpoints in bfloat16 (metadata.total_size of their index). */
static void parameters_are_those_of_known_models(void **state)
{
    (void)state;
    awq_model mixtral = read_good(MIXTRAL_8X7B), qwen3 = read_good(QWEN3_30B), qwen = qwen2("");
    assert_int_equal(awq_model_parameters(&mixtral), 93405585408 / 2);
    assert_int_equal(awq_model_parameters(&qwen3), 61064245248 / 2);
    assert_int_equal(awq_model_parameters(&qwen), 28631568384 / 2);
    /* 12.9 B, 3.3 B and 2.7 B by their cards */
    assert_in_range(awq_model_active_parameters(&mixtral), 12850000000, 12950000000);
    assert_in_range(awq_model_active_parameters(&qwen3), 3250000000, 3400000000);
    assert_in_range(awq_model_active_parameters(&qwen), 2650000000, 2750000000);
}

static void dense_models_have_no_experts(void **state)
{
    (void)state;
    awq_model model =
        read_good("{\"model_type\": \"llama\", \"hidden_size\": 64, \"intermediate_size\": 96,"
                  " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100,"
                  " \"num_experts\": 8}");
    assert_int_equal(awq_model_linears(&model), AWQ_DENSE_LINEARS);
    assert_int_equal(awq_model_groups(&model), AWQ_DENSE_GROUPS);
    assert_int_equal(awq_model_active_parameters(&model), awq_model_parameters(&model));
}

static void sparse_layers_are_every_so_many_but_those_listed(void **state)
{
    (void)state;
    awq_model model = qwen2(", \"decoder_sparse_step\": 3, \"mlp_only_layers\": [5, 8]");
    int64_t layer[2];
    for (int64_t i = 0; i < model.layers; i++)
        assert_int_equal(model.sparse[i], (i + 1) % 3 == 0 && i != 5 && i != 8);
    assert_int_equal(awq_model_sorts(&model, layer), 2);
    assert_int_equal(layer[0], 0);
    assert_int_equal(layer[1], 2);
    assert_true(awq_layer_has(&model, 0, AWQ_GATE) && !awq_layer_has(&model, 2, AWQ_GATE));
    awq_linear router = awq_model_linear(&model, AWQ_ROUTER);
    assert_true(awq_layer_has(&model, 2, router) && !awq_layer_has(&model, 0, router));
    assert_true(awq_layer_has(&model, 0, AWQ_O) && awq_layer_has(&model, 2, AWQ_O));
}

static void a_model_without_a_sparse_layer_is_dense(void **state)
{
    (void)state;
    awq_model model = qwen2(", \"decoder_sparse_step\": 25");
    assert_int_equal(model.experts.count, 0);
    assert_int_equal(awq_model_linears(&model), AWQ_DENSE_LINEARS);
}

static void expect_linear(const awq_model *model, awq_linear linear, const char *name, int64_t out,
                          int64_t in)
{
    char text[AWQ_NAME_BYTES];
    int64_t rows, columns;
    assert_string_equal(awq_linear_tensor_name(text, model, 7, linear, "weight"), name);
    awq_linear_shape(model, linear, &rows, &columns);
    assert_int_equal(rows, out);
    assert_int_equal(columns, in);
}

static void linears_have_the_names_and_shapes_of_the_checkpoints(void **state)
{
    (void)state;
    awq_model mixtral = read_good(MIXTRAL_8X7B), model = qwen2("");
    expect_linear(&mixtral, awq_mlp_linear(1, AWQ_GATE),
                  "model.layers.7.block_sparse_moe.experts.0.w1.weight", 14336, 4096);
    expect_linear(&mixtral, awq_mlp_linear(8, AWQ_UP),
                  "model.layers.7.block_sparse_moe.experts.7.w3.weight", 14336, 4096);
    expect_linear(&mixtral, awq_mlp_linear(8, AWQ_DOWN),
                  "model.layers.7.block_sparse_moe.experts.7.w2.weight", 4096, 14336);
    expect_linear(&mixtral, awq_model_linear(&mixtral, AWQ_ROUTER),
                  "model.layers.7.block_sparse_moe.gate.weight", 8, 4096);
    expect_linear(&model, awq_mlp_linear(60, AWQ_DOWN),
                  "model.layers.7.mlp.experts.59.down_proj.weight", 2048, 1408);
    expect_linear(&model, awq_mlp_linear(61, AWQ_UP),
                  "model.layers.7.mlp.shared_expert.up_proj.weight", 5632, 2048);
    expect_linear(&model, awq_model_linear(&model, AWQ_ROUTER), "model.layers.7.mlp.gate.weight",
                  60, 2048);
    expect_linear(&model, awq_model_linear(&model, AWQ_SHARED_GATE),
                  "model.layers.7.mlp.shared_expert_gate.weight", 1, 2048);
    expect_linear(&model, AWQ_GATE, "model.layers.7.mlp.gate_proj.weight", 5632, 2048);
}

static void groups_are_those_of_the_linears_that_read_the_same(void **state)
{
    (void)state;
    awq_model model = qwen2("");
    char name[AWQ_NAME_BYTES];
    for (int mlp = 1; mlp <= 61; mlp++) {
        assert_int_equal(awq_linear_group(&model, awq_mlp_linear(mlp, AWQ_GATE)),
                         AWQ_GROUP_GATE_UP);
        awq_group down = awq_linear_group(&model, awq_mlp_linear(mlp, AWQ_DOWN));
        assert_int_equal(down, awq_mlp_down_group(mlp));
        assert_int_equal(awq_linear_feeds(&model, awq_mlp_linear(mlp, AWQ_UP)), down);
        assert_int_equal(awq_group_channels(&model, down), mlp == 61 ? 5632 : 1408);
    }
    for (int kind = AWQ_ROUTER; kind <= AWQ_SHARED_GATE; kind++) {
        awq_linear linear = awq_model_linear(&model, (awq_kind)kind);
        assert_int_equal(awq_linear_kind(&model, linear), kind);
        assert_int_equal(awq_linear_group(&model, linear), AWQ_GROUP_GATE_UP);
        assert_int_equal(awq_linear_feeds(&model, linear), -1);
        assert_true(awq_model_leaves(&model, 3, linear));
    }
    assert_string_equal(awq_group_name(name, &model, awq_mlp_down_group(60)), "experts.59.down");
    assert_string_equal(awq_group_name(name, &model, awq_mlp_down_group(61)), "shared_expert.down");
}

static void any_linear_can_be_left(void **state)
{
    (void)state;
    awq_model model = qwen2("");
    awq_linear linear = awq_mlp_linear(61, AWQ_DOWN);
    awq_model_leave(&model, 23, linear);
    for (int64_t layer = 0; layer < model.layers; layer++)
        for (awq_linear i = AWQ_DENSE_LINEARS; i < awq_model_linears(&model); i++)
            if (awq_linear_kind(&model, i) < AWQ_ROUTER)
                assert_int_equal(awq_model_leaves(&model, layer, i), layer == 23 && i == linear);
}

static void more_linears_than_can_be_counted_are_refused(void **state)
{
    (void)state;
    awq_model model = {.layers = -7};
    awq_problems problems;
    awq_problems_init(&problems);
    assert_false(read_model(
        "{\"model_type\": \"qwen3_moe\", \"hidden_size\": 64, \"intermediate_size\": 64,"
        " \"num_hidden_layers\": 200, \"num_attention_heads\": 4, \"num_experts\": 1024,"
        " \"num_experts_per_tok\": 8, \"moe_intermediate_size\": 32, \"vocab_size\": 100}",
        &model, &problems));
    assert_int_equal(problems.count, 1);
    assert_contains(problems.items[0].text, "200 layers of 1024 experts");
    assert_int_equal(model.layers, -7);
    awq_problems_release(&problems);
}

static void biases_of_q_k_and_v_can_be_switched_off(void **state)
{
    (void)state;
    awq_model with = qwen2(""), without = qwen2(", \"qkv_bias\": false");
    assert_true(with.bias[AWQ_Q] && with.bias[AWQ_V] && !with.bias[AWQ_O] && !with.bias[AWQ_GATE]);
    assert_false(without.bias[AWQ_Q] || without.bias[AWQ_K] || without.bias[AWQ_V]);
}

static void silent_mixtral_turns_by_a_million(void **state)
{
    (void)state;
    awq_model model = read_good(MIXTRAL_8X7B);
    assert_true(model.rope.theta == 1e6);
    assert_true(model.experts.normalized);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_those_of_known_models),
        cmocka_unit_test(dense_models_have_no_experts),
        cmocka_unit_test(sparse_layers_are_every_so_many_but_those_listed),
        cmocka_unit_test(a_model_without_a_sparse_layer_is_dense),
        cmocka_unit_test(linears_have_the_names_and_shapes_of_the_checkpoints),
        cmocka_unit_test(groups_are_those_of_the_linears_that_read_the_same),
        cmocka_unit_test(any_linear_can_be_left),
        cmocka_unit_test(more_linears_than_can_be_counted_are_refused),
        cmocka_unit_test(biases_of_q_k_and_v_can_be_switched_off),
        cmocka_unit_test(silent_mixtral_turns_by_a_million),
    };
    return cmocka_run_group_tests_name("model_experts", tests, NULL, NULL);
}
