/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_gemma2.c - norms on outputs, windows by layer, soft caps, a scaled
 * embedding. */
#include <stdio.h>

#include "config_of.h"
#include "scratch.h"

static awq_model gemma2(const char *extra)
{
    return model_of(config_of("gemma2", 64, extra));
}

static void gemma2_normalizes_what_its_halves_put_out(void **state)
{
    (void)state;
    awq_model model = gemma2("");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const awq_half_spec *attention = &layer->half[AWQ_HALF_ATTENTION];
    const awq_half_spec *mlp = &layer->half[AWQ_HALF_MLP];
    assert_int_equal(layer->norms, 4);
    assert_int_equal(attention->norm, norm_named(layer, "input_layernorm"));
    assert_int_equal(attention->out_norm, norm_named(layer, "post_attention_layernorm"));
    assert_int_equal(mlp->norm, norm_named(layer, "pre_feedforward_layernorm"));
    assert_int_equal(mlp->out_norm, norm_named(layer, "post_feedforward_layernorm"));
    assert_int_equal(layer->vector[layer->norm[attention->norm].weight].absorbs, GROUP_QKV);
    assert_int_equal(layer->vector[layer->norm[mlp->norm].weight].absorbs, GROUP_GATE_UP);
    assert_int_equal(layer->group[GROUP_GATE_UP].producer.norm, mlp->norm);
    /* behind them is the residual */
    assert_int_equal(layer->vector[layer->norm[attention->out_norm].weight].absorbs, -1);
    assert_int_equal(layer->vector[layer->norm[mlp->out_norm].weight].absorbs, -1);
    for (int i = 0; i < 4; i++)
        assert_true(layer->vector[layer->norm[i].weight].offset &&
                    layer->vector[layer->norm[i].weight].width == 64);
    assert_true(model.final_norm.offset);
    awq_model_release(&model);
}

static void gemma2s_layers_are_of_two_kinds_in_turn_or_as_listed(void **state)
{
    (void)state;
    awq_model model = gemma2("");
    assert_int_equal(model.kinds, 2);
    expect_windows(&model, (const int64_t[]){4096, 0, 4096, 0});
    awq_model_release(&model);
    model = gemma2(", \"sliding_window\": 32, \"layer_types\": [\"full_attention\","
                   " \"full_attention\", \"sliding_attention\", \"full_attention\"]");
    assert_int_equal(model.kinds, 2);
    expect_windows(&model, (const int64_t[]){0, 0, 32, 0});
    awq_model_release(&model);
    model = gemma2(", \"layer_types\": [\"full_attention\", \"full_attention\","
                   " \"full_attention\", \"full_attention\"]");
    assert_int_equal(model.kinds, 1);
    expect_windows(&model, (const int64_t[]){0, 0, 0, 0});
    awq_model_release(&model);
}

static void a_list_of_layer_types_must_be_of_all_layers(void **state)
{
    (void)state;
    expect_problem(config_of("gemma2", 64, ", \"layer_types\": [\"full_attention\"]"),
                   "layer_types does not name a type for each layer");
    expect_problem(config_of("gemma2", 64,
                             ", \"layer_types\": [\"full_attention\", \"sliding_attention\","
                             " \"chunked_attention\", \"full_attention\"]"),
                   "layer_types holds a type that is not supported: chunked_attention");
}

static void gemma2_caps_its_logits(void **state)
{
    (void)state;
    awq_model model = gemma2("");
    assert_true(awq_model_layer(&model, 0)->attention.softcap == 50);
    assert_true(awq_model_layer(&model, 1)->attention.softcap == 50);
    assert_true(model.final_softcap == 30);
    awq_model_release(&model);
    model = gemma2(", \"attn_logit_softcapping\": 20.5, \"final_logit_softcapping\": 7");
    assert_true(awq_model_layer(&model, 0)->attention.softcap == 20.5f);
    assert_true(model.final_softcap == 7);
    awq_model_release(&model);
    model = gemma2(", \"attn_logit_softcapping\": null, \"final_logit_softcapping\": null");
    assert_true(awq_model_layer(&model, 0)->attention.softcap == 0);
    assert_true(model.final_softcap == 0);
    awq_model_release(&model);
    expect_problem(config_of("gemma2", 64, ", \"attn_logit_softcapping\": -1"),
                   "'attn_logit_softcapping' must be a number above zero");
}

/* Not of the head's width, which is 16 here. */
static void gemma2s_logits_are_scaled_by_the_query_scalar(void **state)
{
    (void)state;
    awq_model model = gemma2("");
    assert_true(awq_model_layer(&model, 0)->attention.scale == 1 / 16.0f);
    awq_model_release(&model);
    model = gemma2(", \"query_pre_attn_scalar\": 144");
    assert_true(awq_model_layer(&model, 1)->attention.scale == 1 / 12.0f);
    awq_model_release(&model);
}

static void silent_gemma2_gets_the_defaults_of_transformers(void **state)
{
    (void)state;
    awq_model model =
        model_of("{\"model_type\": \"gemma2\", \"hidden_size\": 64" SIZES "}"); /* no head_dim */
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    assert_string_equal(model.family, "gemma2");
    assert_int_equal(layer->attention.head_dim, 256);
    assert_int_equal(model.max_positions, 8192);
    assert_int_equal(layer->mlps.activation, AWQ_GELU_TANH);
    assert_true(model.norm_eps == 1e-6f);
    assert_true(model.tied);
    awq_model_release(&model);
    model = gemma2(", \"tie_word_embeddings\": false, \"hidden_act\": \"gelu\","
                   " \"hidden_activation\": \"gelu_pytorch_tanh\"");
    assert_false(model.tied);
    awq_model_release(&model);
    expect_problem(config_of("gemma2", 64, ", \"hidden_activation\": \"silu\""),
                   "hidden_activation 'silu' is not supported; supported is gelu_pytorch_tanh");
}

/* The root of 3584 is 59.8665.., which is rounded to the type that the model is stored in. */
static void gemma2s_embedding_is_scaled_in_the_models_type(void **state)
{
    (void)state;
    static const struct {
        const char *dtype;
        float scale;
    } cases[] = {{"bfloat16", 59.75f}, {"float16", 59.875f}, {"float32", 59.86651992f}};
    for (int i = 0; i < 3; i++) {
        char extra[64];
        snprintf(extra, sizeof extra, ", \"torch_dtype\": \"%s\"", cases[i].dtype);
        awq_model model = model_of(config_of("gemma2", 3584, extra));
        assert_true(model.embedding_scale == cases[i].scale);
        awq_model_release(&model);
    }
    awq_model model = model_of(config_of("phi3", 3584, ""));
    assert_true(model.embedding_scale == 1);
    awq_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemma2_normalizes_what_its_halves_put_out),
        cmocka_unit_test(gemma2s_layers_are_of_two_kinds_in_turn_or_as_listed),
        cmocka_unit_test(a_list_of_layer_types_must_be_of_all_layers),
        cmocka_unit_test(gemma2_caps_its_logits),
        cmocka_unit_test(gemma2s_logits_are_scaled_by_the_query_scalar),
        cmocka_unit_test(silent_gemma2_gets_the_defaults_of_transformers),
        cmocka_unit_test(gemma2s_embedding_is_scaled_in_the_models_type),
    };
    return cmocka_run_group_tests_name("model_gemma2", tests, NULL, NULL);
}
