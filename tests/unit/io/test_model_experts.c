/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_experts.c - mixtures of experts as config.json describes them: which
 * layers are sparse, what their linears are called, how large they are. */
#include <stdio.h>
#include <string.h>

#include "io/formats/quantization_config.h"
#include "model_of.h"
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

static awq_model qwen2(const char *extra)
{
    char text[1024];
    snprintf(text, sizeof text, QWEN1_5_A2_7B, extra);
    return model_of(text);
}

/* Half the bytes of the published checkpoints in bfloat16 (metadata.total_size of their index). */
static void parameters_are_those_of_known_models(void **state)
{
    (void)state;
    awq_model mixtral = model_of(MIXTRAL_8X7B), qwen3 = model_of(QWEN3_30B), qwen = qwen2("");
    assert_int_equal(awq_model_parameters(&mixtral), 93405585408 / 2);
    assert_int_equal(awq_model_parameters(&qwen3), 61064245248 / 2);
    assert_int_equal(awq_model_parameters(&qwen), 28631568384 / 2);
    /* 12.9 B, 3.3 B and 2.7 B by their cards */
    assert_in_range(awq_model_active_parameters(&mixtral), 12850000000, 12950000000);
    assert_in_range(awq_model_active_parameters(&qwen3), 3250000000, 3400000000);
    assert_in_range(awq_model_active_parameters(&qwen), 2650000000, 2750000000);
    awq_model_release(&mixtral);
    awq_model_release(&qwen3);
    awq_model_release(&qwen);
}

static void dense_models_have_no_experts(void **state)
{
    (void)state;
    awq_model model =
        model_of("{\"model_type\": \"llama\", \"hidden_size\": 64, \"intermediate_size\": 96,"
                 " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100,"
                 " \"num_experts\": 8}");
    const awq_layer_spec *layer = awq_model_layer(&model, 2);
    assert_int_equal(model.kinds, 1);
    assert_int_equal(layer->linears, DENSE_LINEARS);
    assert_int_equal(layer->groups, DENSE_GROUPS);
    assert_int_equal(layer->mlps.routing.experts, 0);
    assert_true(layer->mlps.router == -1 && layer->mlps.shared_gate == -1);
    assert_null(awq_model_experts(&model));
    assert_int_equal(awq_model_active_parameters(&model), awq_model_parameters(&model));
    awq_model_release(&model);
}

/* Kinds are in the order of their first layers. */
static void sparse_layers_are_every_so_many_but_those_listed(void **state)
{
    (void)state;
    awq_model model = qwen2(", \"decoder_sparse_step\": 3, \"mlp_only_layers\": [5, 8]");
    assert_int_equal(model.kinds, 2);
    for (int64_t i = 0; i < model.layers; i++) {
        bool sparse = (i + 1) % 3 == 0 && i != 5 && i != 8;
        assert_int_equal(model.kind_of[i], sparse);
        assert_int_equal(awq_model_layer(&model, i)->mlps.routing.experts, sparse ? 60 : 0);
    }
    const awq_layer_spec *dense = awq_model_layer(&model, 0), *sparse = awq_model_layer(&model, 2);
    assert_true(has_linear(dense, "gate_proj") && !has_linear(sparse, "gate_proj"));
    assert_true(has_linear(sparse, "gate") && !has_linear(dense, "gate"));
    assert_true(has_linear(dense, "o_proj") && has_linear(sparse, "o_proj"));
    assert_true(has_group(dense, "down") && !has_group(sparse, "down"));
    assert_ptr_equal(awq_model_experts(&model), &sparse->mlps);
    assert_int_equal(model.widest, sparse->linears);
    awq_model_release(&model);
}

static void a_model_without_a_sparse_layer_is_dense(void **state)
{
    (void)state;
    awq_model model = qwen2(", \"decoder_sparse_step\": 25");
    assert_null(awq_model_experts(&model));
    assert_int_equal(model.kinds, 1);
    assert_int_equal(model.kind[0].linears, DENSE_LINEARS);
    awq_model_release(&model);
}

static void expect_linear(const awq_model *model, const char *short_name, const char *name,
                          int64_t out, int64_t in)
{
    char text[AWQ_NAME_BYTES];
    const awq_layer_spec *layer = awq_model_layer(model, 7);
    int linear = linear_named(layer, short_name);
    assert_string_equal(awq_linear_tensor_name(text, model, 7, linear, "weight"), name);
    assert_int_equal(layer->linear[linear].out, out);
    assert_int_equal(layer->linear[linear].in, in);
}

static void silent_mixtral_gets_the_defaults_of_transformers(void **state)
{
    (void)state;
    awq_model model = model_of(MIXTRAL_8X7B);
    assert_true(model.norm_eps == 1e-5f && model.rope[0].theta == 1e6);
    assert_int_equal(model.max_positions, 131072);
    assert_int_equal(awq_model_layer(&model, 0)->attention.window, 0);
    awq_model_release(&model);
}

static void linears_have_the_names_and_shapes_of_the_checkpoints(void **state)
{
    (void)state;
    awq_model mixtral = model_of(MIXTRAL_8X7B), model = qwen2("");
    awq_model dense = qwen2(", \"mlp_only_layers\": [7]");
    expect_linear(&mixtral, "experts.0.w1", "model.layers.7.block_sparse_moe.experts.0.w1.weight",
                  14336, 4096);
    expect_linear(&mixtral, "experts.7.w3", "model.layers.7.block_sparse_moe.experts.7.w3.weight",
                  14336, 4096);
    expect_linear(&mixtral, "experts.7.w2", "model.layers.7.block_sparse_moe.experts.7.w2.weight",
                  4096, 14336);
    expect_linear(&mixtral, "gate", "model.layers.7.block_sparse_moe.gate.weight", 8, 4096);
    expect_linear(&model, "experts.59.down_proj", "model.layers.7.mlp.experts.59.down_proj.weight",
                  2048, 1408);
    expect_linear(&model, "shared_expert.up_proj",
                  "model.layers.7.mlp.shared_expert.up_proj.weight", 5632, 2048);
    expect_linear(&model, "gate", "model.layers.7.mlp.gate.weight", 60, 2048);
    expect_linear(&model, "shared_expert_gate", "model.layers.7.mlp.shared_expert_gate.weight", 1,
                  2048);
    expect_linear(&dense, "gate_proj", "model.layers.7.mlp.gate_proj.weight", 5632, 2048);
    awq_model_release(&mixtral);
    awq_model_release(&model);
    awq_model_release(&dense);
}

/* gate, up and down of the experts and the shared one: what they are of, which is what the
 * checkpoint says before "gate_proj". */
static void check_mlp(const awq_layer_spec *layer, const char *of, int64_t channels)
{
    char name[AWQ_NAME_BYTES];
    int gate_up = group_named(layer, "gate_up");
    snprintf(name, sizeof name, "%s.gate_proj", of);
    assert_int_equal(layer->linear[linear_named(layer, name)].group, gate_up);
    snprintf(name, sizeof name, "%s.up_proj", of);
    const awq_linear_spec *up = &layer->linear[linear_named(layer, name)];
    snprintf(name, sizeof name, "%s.down", of);
    int down = group_named(layer, name);
    assert_int_equal(up->group, gate_up);
    assert_int_equal(up->absorbs, down);
    snprintf(name, sizeof name, "%s.down_proj", of);
    assert_int_equal(layer->linear[linear_named(layer, name)].group, down);
    assert_int_equal(layer->group[down].channels, channels);
}

static void groups_are_those_of_the_linears_that_read_the_same(void **state)
{
    (void)state;
    awq_model model = qwen2("");
    const awq_layer_spec *layer = awq_model_layer(&model, 3);
    for (int expert = 0; expert < 60; expert++) {
        char of[32];
        snprintf(of, sizeof of, "experts.%d", expert);
        check_mlp(layer, of, 1408);
    }
    check_mlp(layer, "shared_expert", 5632);
    static const char *const routers[] = {"gate", "shared_expert_gate"};
    for (int i = 0; i < 2; i++) {
        int linear = linear_named(layer, routers[i]);
        assert_true(layer->linear[linear].exempt);
        assert_int_equal(layer->linear[linear].group, group_named(layer, "gate_up"));
        assert_int_equal(layer->linear[linear].absorbs, -1);
        assert_true(awq_model_keeps(&model, 3, linear));
    }
    awq_model_release(&model);
}

static void any_linear_can_be_kept(void **state)
{
    (void)state;
    awq_model model = qwen2("");
    int linear = linear_named(awq_model_layer(&model, 23), "shared_expert.down_proj");
    awq_model_keep(&model, 23, linear);
    for (int64_t layer = 0; layer < model.layers; layer++)
        for (int i = 0; i < awq_model_layer(&model, layer)->linears; i++)
            if (!awq_model_layer(&model, layer)->linear[i].exempt)
                assert_int_equal(awq_model_keeps(&model, layer, i), layer == 23 && i == linear);
    awq_model_release(&model);
}

/* Of two kinds, in each layer of the second. */
static void what_all_layers_of_a_kind_keep_is_known(void **state)
{
    (void)state;
    awq_model model = qwen2(", \"decoder_sparse_step\": 2");
    const awq_layer_spec *sparse = awq_model_layer(&model, 1);
    int linear = linear_named(sparse, "experts.59.up_proj");
    assert_true(awq_model_keeps_all(&model, 1, sparse->mlps.router));
    for (int64_t layer = 1; layer < model.layers; layer += 2) {
        assert_false(awq_model_keeps_all(&model, 1, linear));
        awq_model_keep(&model, layer, linear);
    }
    assert_true(awq_model_keeps_all(&model, 1, linear));
    assert_false(awq_model_keeps_all(&model, 0, LINEAR_UP));
    awq_model_release(&model);
}

static void more_linears_than_can_be_counted_are_refused(void **state)
{
    (void)state;
    awq_model model = {.layers = -7};
    awq_problems problems;
    awq_problems_init(&problems);
    json_t *config = json_loads(
        "{\"model_type\": \"qwen3_moe\", \"hidden_size\": 64, \"intermediate_size\": 64,"
        " \"num_hidden_layers\": 200, \"num_attention_heads\": 4, \"num_experts\": 1024,"
        " \"num_experts_per_tok\": 8, \"moe_intermediate_size\": 32, \"vocab_size\": 100}",
        0, NULL);
    assert_false(awq_model_from_config(config, &model, &problems));
    assert_int_equal(problems.count, 1);
    assert_contains(problems.items[0].text, "200 layers of 1024 experts");
    assert_int_equal(model.layers, -7);
    awq_problems_release(&problems);
    json_decref(config);
}

static void biases_of_q_k_and_v_can_be_switched_off(void **state)
{
    (void)state;
    awq_model with = qwen2(""), without = qwen2(", \"qkv_bias\": false");
    for (int i = 0; i < with.kind[0].linears; i++) {
        assert_int_equal(with.kind[0].linear[i].bias, i <= LINEAR_V);
        assert_false(without.kind[0].linear[i].bias);
    }
    awq_model_release(&with);
    awq_model_release(&without);
}

static void silent_mixtral_turns_by_a_million(void **state)
{
    (void)state;
    awq_model model = model_of(MIXTRAL_8X7B);
    assert_true(model.rope[0].theta == 1e6);
    assert_true(awq_model_experts(&model)->routing.normalized);
    awq_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_those_of_known_models),
        cmocka_unit_test(dense_models_have_no_experts),
        cmocka_unit_test(sparse_layers_are_every_so_many_but_those_listed),
        cmocka_unit_test(a_model_without_a_sparse_layer_is_dense),
        cmocka_unit_test(silent_mixtral_gets_the_defaults_of_transformers),
        cmocka_unit_test(linears_have_the_names_and_shapes_of_the_checkpoints),
        cmocka_unit_test(groups_are_those_of_the_linears_that_read_the_same),
        cmocka_unit_test(any_linear_can_be_kept),
        cmocka_unit_test(what_all_layers_of_a_kind_keep_is_known),
        cmocka_unit_test(more_linears_than_can_be_counted_are_refused),
        cmocka_unit_test(biases_of_q_k_and_v_can_be_switched_off),
        cmocka_unit_test(silent_mixtral_turns_by_a_million),
    };
    return cmocka_run_group_tests_name("model_experts", tests, NULL, NULL);
}
