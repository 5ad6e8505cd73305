/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_gemma4.c - heads of layers without a window, keys and values that later
 * layers read, what each layer is given of a token, experts beside a dense MLP. Sizes where
 * config.json is silent are those of transformers 5.23's Gemma4TextConfig. */
#include <math.h>
#include <stdio.h>

#include "config_of.h"
#include "scratch.h"

#define BARE ", \"hidden_size_per_layer_input\": 0"
#define IN_TWO                                                                                     \
    ", \"layer_types\": [\"sliding_attention\", \"full_attention\", \"sliding_attention\","        \
    " \"full_attention\"]"
#define EXPERTS                                                                                    \
    ", \"enable_moe_block\": true, \"num_experts\": 6, \"top_k_experts\": 2,"                      \
    " \"moe_intermediate_size\": 32"

static const char *with(const char *keys, const char *more)
{
    static char text[2048];
    snprintf(text, sizeof text, "%s%s", keys, more);
    return config_of("gemma4_text", 64, text);
}

static awq_model gemma4(const char *more)
{
    return model_of(with(BARE, more));
}

/* ---- heads ---- */

static void expect_heads(const awq_layer_spec *layer, int64_t kv_heads, int64_t head_dim)
{
    const awq_attention_spec *attention = &layer->attention;
    assert_int_equal(attention->heads, 4);
    assert_int_equal(attention->kv_heads, kv_heads);
    assert_int_equal(attention->head_dim, head_dim);
    assert_int_equal(attention->value_dim, head_dim);
    assert_int_equal(layer->linear[linear_named(layer, "q_proj")].out, 4 * head_dim);
    assert_int_equal(layer->linear[linear_named(layer, "k_proj")].out, kv_heads * head_dim);
    assert_int_equal(layer->linear[linear_named(layer, "o_proj")].in, 4 * head_dim);
    assert_int_equal(layer->norm[norm_named(layer, "self_attn.q_norm")].cols, head_dim);
}

static void layers_without_a_window_have_heads_of_their_own(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        int64_t kv_heads, head_dim;
    } cases[] = {
        {"", 2, 512},
        {", \"global_head_dim\": 32", 2, 32},
        {", \"global_head_dim\": 32, \"num_global_key_value_heads\": 1", 2, 32},
        {", \"global_head_dim\": 32, \"num_global_key_value_heads\": 1,"
         " \"attention_k_eq_v\": true",
         1, 32},
        {", \"attention_k_eq_v\": true", 2, 512},
        {", \"per_layer_config\": {\"3\": {\"head_dim\": 32}}", 2, 32},
        {", \"per_layer_config\": {\"3\": {\"num_key_value_heads\": 4}}", 4, 16},
        {", \"per_layer_config\": {}", 2, 16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        awq_model model = gemma4(cases[i].keys);
        expect_windows(&model, (const int64_t[]){512, 512, 512, 0});
        expect_heads(awq_model_layer(&model, 0), 2, HEAD_DIM);
        expect_heads(awq_model_layer(&model, 3), cases[i].kv_heads, cases[i].head_dim);
        assert_int_equal(model.rope[0].dim, cases[i].head_dim);
        assert_int_equal(model.rope[1].dim, HEAD_DIM);
        awq_model_release(&model);
    }
}

static void the_last_layer_has_no_window_whatever_is_said_of_it(void **state)
{
    (void)state;
    awq_model model = gemma4(", \"layer_types\": [\"full_attention\", \"sliding_attention\","
                             " \"full_attention\", \"sliding_attention\"]");
    expect_windows(&model, (const int64_t[]){0, 512, 0, 0});
    awq_model_release(&model);
}

/* v's norm has no weight, and what is behind it is not linear in v. */
static void no_one_absorbs_the_scales_of_normalized_values(void **state)
{
    (void)state;
    awq_model model = gemma4(", \"attention_k_eq_v\": true");
    for (int64_t i = 0; i < 4; i++) {
        const awq_layer_spec *layer = awq_model_layer(&model, i);
        const awq_attention_spec *attention = &layer->attention;
        assert_int_equal(layer->group[group_named(layer, "o")].producer.by, AWQ_BY_NO_ONE);
        assert_int_equal(layer->norm[attention->v_norm].weight, -1);
        assert_int_equal(layer->norm[attention->v_norm].cols, attention->head_dim);
        assert_true(attention->scale == 1);
        assert_int_equal(has_linear(layer, "v_proj"), i < 3);
        assert_int_equal(attention->v.linear == attention->k.linear, i == 3);
        assert_int_equal(layer->vector[layer->scalar].width, 1);
    }
    awq_model_release(&model);
}

static void some_pairs_of_wide_heads_turn_by_nothing(void **state)
{
    (void)state;
    awq_model model = gemma4("");
    assert_int_equal(model.rope[0].type, AWQ_ROPE_PROPORTIONAL);
    assert_int_equal(model.rope[0].turning, 64); /* int(0.25 * 512 // 2) */
    assert_true(model.rope[0].theta == 1e6 && model.rope[0].factor == 1);
    assert_int_equal(model.rope[1].type, AWQ_ROPE_DEFAULT);
    assert_true(model.rope[1].theta == 1e4);
    assert_int_equal(awq_model_layer(&model, 3)->attention.q_rope, 0);
    assert_int_equal(awq_model_layer(&model, 0)->attention.q_rope, 1);
    awq_model_release(&model);
    model = gemma4(", \"global_head_dim\": 36, \"rope_parameters\": {\"full_attention\":"
                   " {\"rope_type\": \"proportional\", \"rope_theta\": 7.0, \"factor\": 2.0,"
                   " \"partial_rotary_factor\": 0.3}}");
    assert_int_equal(model.rope[0].turning, 5); /* int(0.3 * 36 // 2) */
    assert_true(model.rope[0].theta == 7 && model.rope[0].factor == 2);
    awq_model_release(&model);
}

/* ---- what travels ---- */

static void expect_planes(const awq_layer_spec *layer, int keys, bool takes)
{
    const awq_attention_spec *attention = &layer->attention;
    assert_int_equal(attention->k_plane, keys);
    assert_int_equal(attention->v_plane, keys < 0 ? -1 : keys + 1);
    assert_int_equal(attention->k.linear < 0, takes);
    assert_int_equal(attention->v.linear < 0, takes);
    assert_int_equal(has_linear(layer, "k_proj"), !takes);
    assert_int_equal(layer->unread != NULL, takes);
    assert_int_equal(layer->group[group_named(layer, "qkv")].count, takes ? 1 : 3);
    assert_int_equal(layer->mlps.intermediate, takes ? 192 : 96);
}

static void last_layers_read_keys_and_values_of_the_last_of_their_kind_before(void **state)
{
    (void)state;
    static const int64_t first[] = {64, 96, 128, 192};
    awq_model model = gemma4(IN_TWO ", \"global_head_dim\": 32, \"num_kv_shared_layers\": 2,"
                                    " \"use_double_wide_mlp\": true");
    assert_int_equal(model.kinds, 4);
    expect_planes(awq_model_layer(&model, 0), 0, false);
    expect_planes(awq_model_layer(&model, 1), 2, false);
    expect_planes(awq_model_layer(&model, 2), 0, true);
    expect_planes(awq_model_layer(&model, 3), 2, true);
    assert_int_equal(model.planes, 4);
    for (int plane = 0; plane < 4; plane++) {
        assert_int_equal(model.plane[plane].width, plane < 2 ? 2 * 16 : 2 * 32);
        assert_int_equal(model.plane[plane].count, 1);
        assert_int_equal(model.plane[plane].first, first[plane]);
    }
    assert_int_equal(model.residual, 64 + 2 * 32 + 2 * 64);
    awq_model_release(&model);
    model = gemma4(", \"use_double_wide_mlp\": true"); /* of layers that share */
    for (int64_t i = 0; i < 4; i++) expect_planes(awq_model_layer(&model, i), -1, false);
    assert_int_equal(model.residual, 64);
    awq_model_release(&model);
}

static void each_layer_is_given_a_plane_of_its_own(void **state)
{
    (void)state;
    static const struct {
        const char *keys;
        int64_t width, vocab;
    } cases[] = {
        {"", 256, 262144},
        {", \"hidden_size_per_layer_input\": 24, \"vocab_size_per_layer_input\": 101", 24, 101}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t rows, columns, width = cases[i].width;
        awq_model model = model_of(with("", cases[i].keys));
        const awq_layer_spec *layer = awq_model_layer(&model, 0);
        assert_int_equal(model.inputs.width, width);
        assert_int_equal(model.plane[model.inputs.plane].width, width);
        assert_int_equal(model.plane[model.inputs.plane].count, 4);
        assert_int_equal(model.residual, 64 + 4 * width);
        const awq_linear_spec *gate = &layer->linear[layer->input.gate];
        const awq_linear_spec *projection = &layer->linear[layer->input.projection];
        assert_true(gate->exempt && gate->out == width && gate->in == 64);
        assert_true(projection->exempt && projection->out == 64 && projection->in == width);
        assert_int_equal(layer->group[gate->group].producer.by, AWQ_BY_NO_ONE);
        assert_int_equal(layer->group[projection->group].producer.by, AWQ_BY_NO_ONE);
        awq_end_shape(&model, AWQ_INPUTS_TABLE, &rows, &columns);
        assert_true(rows == cases[i].vocab && columns == 4 * width);
        awq_end_shape(&model, AWQ_INPUTS_PROJECTION, &rows, &columns);
        assert_true(rows == 4 * width && columns == 64);
        awq_end_shape(&model, AWQ_INPUTS_NORM, &rows, &columns);
        assert_true(rows == width && columns == 0);
        assert_true(awq_model_stores(&model, AWQ_INPUTS_TABLE));
        awq_model_release(&model);
    }
    awq_model model = gemma4("");
    assert_int_equal(model.inputs.width, 0);
    assert_int_equal(awq_model_layer(&model, 0)->input.gate, -1);
    assert_false(awq_model_stores(&model, AWQ_INPUTS_TABLE));
    awq_model_release(&model);
}

/* The root of 200 is 14.142..; in bfloat16 14.125. */
static void rows_of_the_layers_table_are_scaled_in_the_models_type(void **state)
{
    (void)state;
    awq_model model = model_of(with("", ", \"hidden_size_per_layer_input\": 200"));
    assert_true(model.inputs.scale == 14.125f);
    awq_model_release(&model);
}

/* ---- experts ---- */

static void expect_producer(const awq_layer_spec *layer, const char *group, const char *norm,
                            int readers)
{
    const awq_group_spec *spec = &layer->group[group_named(layer, group)];
    assert_int_equal(spec->producer.by, AWQ_BY_NORM);
    assert_int_equal(spec->producer.norm, norm_named(layer, norm));
    assert_int_equal(spec->count, readers);
}

static void router_experts_and_dense_mlp_have_norms_of_their_own(void **state)
{
    (void)state;
    awq_model model = gemma4(EXPERTS);
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const awq_mlps_spec *mlps = &layer->mlps;
    expect_producer(layer, "gate_up", "pre_feedforward_layernorm_2", 2 * 6);
    expect_producer(layer, "mlp.gate_up", "pre_feedforward_layernorm", 2);
    assert_int_equal(mlps->shared_norm, norm_named(layer, "pre_feedforward_layernorm"));
    assert_int_equal(mlps->shared_out_norm, norm_named(layer, "post_feedforward_layernorm_1"));
    assert_int_equal(mlps->experts_out_norm, norm_named(layer, "post_feedforward_layernorm_2"));
    assert_int_equal(layer->half[AWQ_HALF_MLP].out_norm,
                     norm_named(layer, "post_feedforward_layernorm"));
    const awq_linear_spec *router = &layer->linear[mlps->router];
    assert_string_equal(router->name, "router.proj");
    assert_int_equal(layer->group[router->group].producer.by, AWQ_BY_NO_ONE);
    assert_int_equal(layer->group[router->group].count, 1);
    assert_true(router->scale == 0.125f); /* of 64 channels */
    assert_string_equal(layer->vector[layer->norm[mlps->router_norm].weight].name, "router.scale");
    assert_string_equal(layer->vector[mlps->expert_scale].name, "router.per_expert_scale");
    assert_int_equal(layer->vector[mlps->expert_scale].width, 6);
    assert_true(mlps->routing.normalized && mlps->routing.active == 2);
    assert_int_equal(mlps->shared, 96);
    const awq_linear_spec *up = &layer->linear[linear_named(layer, "experts.3.up_proj")];
    assert_string_equal(up->stack.name, "experts.gate_up_proj");
    assert_string_equal(awq_linear_type(up), "up_proj");
    assert_int_equal(layer->group[group_named(layer, "experts.3.down")].producer.rows.linear,
                     (int)(up - layer->linear));
    awq_model_release(&model);
}

static void without_the_block_no_layer_has_experts_whatever_else_is_said(void **state)
{
    (void)state;
    awq_model model = gemma4(", \"num_experts\": 6, \"top_k_experts\": null");
    assert_null(awq_model_experts(&model));
    assert_int_equal(awq_model_layer(&model, 0)->mlps.intermediate, 96);
    awq_model_release(&model);
}

/* ---- the other text model, and what is refused ---- */

static void
the_unified_ones_text_model_has_other_defaults_and_neither_inputs_nor_experts(void **state)
{
    (void)state;
    awq_model model =
        model_of("{\"model_type\": \"gemma4_unified_text\", \"hidden_size\": 64" SIZES "}");
    expect_windows(&model, (const int64_t[]){1024, 1024, 1024, 0});
    assert_int_equal(model.max_positions, 262144);
    assert_int_equal(awq_model_layer(&model, 0)->attention.head_dim, 256);
    assert_int_equal(model.inputs.width, 0);
    awq_model_release(&model);
    expect_problem(
        config_of("gemma4_unified_text", 64, ", \"hidden_size_per_layer_input\": 24"),
        "key 'hidden_size_per_layer_input' is not supported for model_type 'gemma4_unified_text'");
    expect_problem(config_of("gemma4_unified_text", 64, EXPERTS),
                   "key 'enable_moe_block' is not supported");
}

static void what_is_not_computed_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *part;
    } cases[] = {
        {", \"use_bidirectional_attention\": \"all\"",
         "a use_bidirectional_attention that is not supported: all"},
        {", \"attn_logit_softcapping\": 50", "key 'attn_logit_softcapping' is not supported"},
        {", \"global_head_dim\": 33", "have an odd number of channels"},
        {", \"global_head_dim\": 524288", "num_attention_heads times global_head_dim is too large"},
        {", \"attention_k_eq_v\": true, \"num_global_key_value_heads\": 3",
         "is not a multiple of the key-value heads of layers without a window"},
        {", \"per_layer_config\": {\"2\": {\"head_dim\": 32}}", "its layers of a kind differ"},
        {", \"per_layer_config\": {\"3\": {\"intermediate_size\": 32}}",
         "says what is not supported of layer 3"},
        {", \"per_layer_config\": {\"4\": {\"head_dim\": 32}}", "names what is no layer"},
        {", \"num_kv_shared_layers\": 4",
         "num_kv_shared_layers is not a number from 0 to that of the layers less one"},
        {", \"num_kv_shared_layers\": -1", "num_kv_shared_layers is not a number from 0"},
        {", \"num_kv_shared_layers\": 1", "there is no layer of a kind before those that share"},
        {", \"hidden_size_per_layer_input\": 8, \"vocab_size_per_layer_input\": 99",
         "vocab_size_per_layer_input is below vocab_size"},
        {", \"hidden_size_per_layer_input\": 1048576", "times num_hidden_layers is too large"},
        {EXPERTS ", \"num_experts\": null", "key 'num_experts' is missing"},
        {", \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"proportional\","
         " \"partial_rotary_factor\": 1.5}}",
         "partial_rotary_factor is not between 0 and 1"},
        {", \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\","
         " \"partial_rotary_factor\": 0.5}}",
         "partial_rotary_factor 0.5 is not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_problem(with(BARE, cases[i].keys), cases[i].part);
}

static void others_have_none_of_it(void **state)
{
    (void)state;
    static const char *const keys[] = {", \"global_head_dim\": 32",
                                       ", \"num_global_key_value_heads\": 1",
                                       ", \"per_layer_config\": {}",
                                       ", \"attention_k_eq_v\": true",
                                       ", \"num_kv_shared_layers\": 1",
                                       ", \"use_double_wide_mlp\": true",
                                       ", \"hidden_size_per_layer_input\": 8",
                                       ", \"enable_moe_block\": true"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        expect_problem(config_of("gemma3_text", 64, keys[i]),
                       "is not supported for model_type 'gemma3_text'");
}

int main(void)
{
    const struct CMUnitTest gemma4_models[] = {
        cmocka_unit_test(layers_without_a_window_have_heads_of_their_own),
        cmocka_unit_test(the_last_layer_has_no_window_whatever_is_said_of_it),
        cmocka_unit_test(no_one_absorbs_the_scales_of_normalized_values),
        cmocka_unit_test(some_pairs_of_wide_heads_turn_by_nothing),
        cmocka_unit_test(last_layers_read_keys_and_values_of_the_last_of_their_kind_before),
        cmocka_unit_test(each_layer_is_given_a_plane_of_its_own),
        cmocka_unit_test(rows_of_the_layers_table_are_scaled_in_the_models_type),
        cmocka_unit_test(router_experts_and_dense_mlp_have_norms_of_their_own),
        cmocka_unit_test(without_the_block_no_layer_has_experts_whatever_else_is_said),
        cmocka_unit_test(
            the_unified_ones_text_model_has_other_defaults_and_neither_inputs_nor_experts),
        cmocka_unit_test(what_is_not_computed_is_refused),
        cmocka_unit_test(others_have_none_of_it),
    };
    return cmocka_run_group_tests(gemma4_models, NULL, NULL);
}
