/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_delta.c - gated delta nets as config.json describes them: which layers,
 * which rows of which linears are q, k, v and the gates, what absorbs out_proj's scales. */
#include <stdio.h>
#include <string.h>

#include "config_of.h"
#include "scratch.h"

enum { LAYERS = 4, KEY_HEADS = 2, VALUE_HEADS = 4, KEY = 6, VALUE = 5, TAPS = 3 };
enum { KEYS = KEY_HEADS * KEY, VALUES = VALUE_HEADS * VALUE };

#define NET                                                                                        \
    ", \"linear_num_key_heads\": 2, \"linear_num_value_heads\": 4, \"linear_key_head_dim\": 6,"    \
    " \"linear_value_head_dim\": 5, \"linear_conv_kernel_dim\": 3, \"num_experts\": 4,"            \
    " \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32,"                                  \
    " \"shared_expert_intermediate_size\": 32"

static const char *const families[] = {"qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"};
enum { FUSED, DENSE, MIXTURE, FAMILIES };

static const char *with(const char *family, const char *more)
{
    static char text[2048];
    snprintf(text, sizeof text, "%s%s", NET, more);
    return config_of(family, 64, text);
}

static awq_model of(const char *family, const char *more)
{
    return model_of(with(family, more));
}

static void refuse(const char *family, const char *more, const char *part)
{
    expect_problem(with(family, more), part);
}

/* ---- which layers ---- */

static const struct {
    const char *keys, *kinds; /* delta net, full attention */
} layers[] = {
    {"", "DDDF"},
    {", \"full_attention_interval\": 2", "DFDF"},
    {", \"full_attention_interval\": 1", "FFFF"},
    {", \"full_attention_interval\": 5", "DDDD"},
    {", \"full_attention_interval\": 1, \"layer_types\": [\"full_attention\","
     " \"linear_attention\", \"linear_attention\", \"full_attention\"]",
     "FDDF"},
};

static void layers_are_delta_nets_but_each_fourth_or_as_listed(void **state)
{
    (void)state;
    for (int family = 0; family < FAMILIES; family++)
        for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
            awq_model model = of(families[family], layers[i].keys);
            for (int64_t j = 0; j < LAYERS; j++) {
                bool delta = awq_model_layer(&model, j)->attention.kind == AWQ_ATTENTION_DELTA;
                if (delta != (layers[i].kinds[j] == 'D'))
                    fail_msg("%s%s: layer %d", families[family], layers[i].keys, (int)j);
            }
            awq_model_release(&model);
        }
}

/* ---- linears ---- */

static void expect_linear(const awq_layer_spec *layer, const char *name, int64_t out, int64_t in,
                          const char *group)
{
    const awq_linear_spec *linear = &layer->linear[linear_named(layer, name)];
    if (linear->out != out || linear->in != in) fail_msg("%s: %ld x %ld", name, out, in);
    if (linear->group != group_named(layer, group)) fail_msg("%s reads not %s", name, group);
}

/* Rows that follow one another. */
static void expect_run(const awq_rows *rows, int64_t index, int64_t first, int64_t count)
{
    for (int64_t i = 0; i < count; i++) assert_int_equal(awq_rows_at(rows, index + i), first + i);
}

static void inputs_may_stand_apart(void **state)
{
    (void)state;
    awq_model model = of(families[DENSE], "");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const awq_attention_spec *attention = &layer->attention;
    expect_linear(layer, "in_proj_qkv", 2 * KEYS + VALUES, 64, "qkv");
    expect_linear(layer, "in_proj_z", VALUES, 64, "qkv");
    expect_linear(layer, "in_proj_b", VALUE_HEADS, 64, "qkv");
    expect_linear(layer, "in_proj_a", VALUE_HEADS, 64, "qkv");
    expect_linear(layer, "out_proj", 64, VALUES, "o");
    expect_run(&attention->q, 0, 0, KEYS);
    expect_run(&attention->k, 0, KEYS, KEYS);
    expect_run(&attention->v, 0, 2 * KEYS, VALUES);
    assert_int_equal(attention->gate.linear, linear_named(layer, "in_proj_z"));
    assert_int_equal(attention->delta.beta.linear, linear_named(layer, "in_proj_b"));
    assert_int_equal(attention->delta.a.linear, linear_named(layer, "in_proj_a"));
    awq_model_release(&model);
}

/* Qwen3NextGatedDeltaNet.fix_query_key_value_ordering of transformers: of each head of keys its q,
 * k, then v and z of its heads of values; and its b, then its a. */
static void inputs_may_be_one_linear_by_heads_of_keys(void **state)
{
    (void)state;
    enum { EACH = VALUE_HEADS / KEY_HEADS, PERIOD = 2 * KEY + 2 * EACH * VALUE };
    awq_model model = of(families[FUSED], "");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const awq_attention_spec *attention = &layer->attention;
    expect_linear(layer, "in_proj_qkvz", KEY_HEADS * PERIOD, 64, "qkv");
    expect_linear(layer, "in_proj_ba", 2 * VALUE_HEADS, 64, "qkv");
    for (int64_t head = 0; head < KEY_HEADS; head++) {
        int64_t first = head * PERIOD;
        expect_run(&attention->q, head * KEY, first, KEY);
        expect_run(&attention->k, head * KEY, first + KEY, KEY);
        expect_run(&attention->v, head * EACH * VALUE, first + 2 * KEY, EACH * VALUE);
        expect_run(&attention->gate, head * EACH * VALUE, first + 2 * KEY + EACH * VALUE,
                   EACH * VALUE);
        expect_run(&attention->delta.beta, head * EACH, 2 * head * EACH, EACH);
        expect_run(&attention->delta.a, head * EACH, (2 * head + 1) * EACH, EACH);
    }
    awq_model_release(&model);
}

static void what_says_how_much_is_learned_is_never_quantized(void **state)
{
    (void)state;
    static const char *const small[] = {"in_proj_ba", "in_proj_b", "in_proj_a"};
    for (int family = 0; family < FAMILIES; family++) {
        awq_model model = of(families[family], "");
        const awq_layer_spec *layer = awq_model_layer(&model, 0);
        int exempt = 0;
        for (int i = 0; i < 3; i++) {
            if (!has_linear(layer, small[i])) continue;
            int linear = linear_named(layer, small[i]);
            assert_true(layer->linear[linear].exempt && awq_model_keeps(&model, 0, linear));
            exempt++;
        }
        assert_int_equal(exempt, family == FUSED ? 1 : 2);
        int o = linear_named(layer, "out_proj");
        assert_false(awq_model_keeps(&model, 0, o));
        awq_model_release(&model);
    }
}

static void engines_load_qkv_and_z_as_one(void **state)
{
    (void)state;
    awq_model model = of(families[MIXTURE], "");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const char *fused = layer->linear[linear_named(layer, "in_proj_qkv")].fused;
    assert_string_equal(fused, "in_proj_qkv and in_proj_z");
    assert_ptr_equal(fused, layer->linear[linear_named(layer, "in_proj_z")].fused);
    assert_null(layer->linear[linear_named(layer, "in_proj_b")].fused);
    awq_model_release(&model);
}

/* ---- norms, vectors ---- */

/* Qwen3NextRMSNormGated multiplies by w, the other norms by 1 + w. */
static void the_gated_norm_absorbs_one_scale_for_all_heads(void **state)
{
    (void)state;
    for (int family = 0; family < FAMILIES; family++) {
        awq_model model = of(families[family], ", \"rms_norm_eps\": 1e-4");
        const awq_layer_spec *layer = awq_model_layer(&model, 0);
        const awq_norm_spec *norm = &layer->norm[norm_named(layer, "linear_attn.norm")];
        const awq_norm_spec *input = &layer->norm[norm_named(layer, "input_layernorm")];
        const awq_group_spec *o = &layer->group[group_named(layer, "o")];
        assert_int_equal(o->producer.by, AWQ_BY_NORM);
        assert_ptr_equal(&layer->norm[o->producer.norm], norm);
        assert_int_equal(awq_free_channels(o), VALUE);
        for (int64_t i = 0; i < VALUES; i++)
            assert_int_equal(awq_free_channel(o, i), i % VALUE); /* of its head */
        assert_true(norm->cols == VALUE && norm->eps == 1e-4f && !norm->centered);
        assert_false(layer->vector[norm->weight].offset);
        assert_true(layer->vector[input->weight].offset);
        assert_int_equal(layer->vector[norm->weight].width, VALUE);
        awq_model_release(&model);
    }
}

static void expect_vector(const awq_layer_spec *layer, int vector, const char *name, int64_t width,
                          int64_t rows)
{
    const awq_vector_spec *spec = &layer->vector[vector];
    assert_string_equal(spec->name, name);
    assert_int_equal(spec->width, width);
    assert_int_equal(spec->rows, rows);
    assert_int_equal(spec->middle, rows > 0);
    assert_int_equal(spec->absorbs, -1);
}

static void convolution_and_rates_are_kept(void **state)
{
    (void)state;
    awq_model model = of(families[DENSE], "");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const awq_delta_spec *delta = &layer->attention.delta;
    expect_vector(layer, delta->convolution, "linear_attn.conv1d.weight",
                  (2 * KEYS + VALUES) * TAPS, 2 * KEYS + VALUES);
    expect_vector(layer, delta->rate, "linear_attn.A_log", VALUE_HEADS, 0);
    expect_vector(layer, delta->step, "linear_attn.dt_bias", VALUE_HEADS, 0);
    assert_int_equal(delta->taps, TAPS);
    awq_model_release(&model);
}

/* ---- the other layers ---- */

static void full_attention_has_a_gate_of_each_head_in_q_proj(void **state)
{
    (void)state;
    awq_model model = of(families[DENSE], ", \"attention_bias\": true");
    const awq_layer_spec *layer = awq_model_layer(&model, 3);
    const awq_attention_spec *attention = &layer->attention;
    assert_int_equal(attention->kind, AWQ_ATTENTION_GROUPED);
    expect_linear(layer, "q_proj", 2 * 4 * HEAD_DIM, 64, "qkv");
    for (int64_t head = 0; head < 4; head++) {
        expect_run(&attention->q, head * HEAD_DIM, 2 * head * HEAD_DIM, HEAD_DIM);
        expect_run(&attention->gate, head * HEAD_DIM, (2 * head + 1) * HEAD_DIM, HEAD_DIM);
    }
    assert_int_equal(attention->gate.linear, linear_named(layer, "q_proj"));
    const awq_group_spec *o = &layer->group[group_named(layer, "o")];
    assert_int_equal(o->producer.by, AWQ_BY_ROWS); /* v: the gate lets its scales through */
    assert_int_equal(o->producer.rows.linear, linear_named(layer, "v_proj"));
    assert_int_equal(o->repeat, 2);
    assert_true(layer->vector[layer->norm[attention->q_norm].weight].offset);
    assert_true(layer->linear[linear_named(layer, "o_proj")].bias);
    assert_false(awq_model_layer(&model, 0)->linear[0].bias); /* delta nets have none */
    assert_int_equal(model.rope[0].dim, HEAD_DIM / 4);
    awq_model_release(&model);
}

static void silent_keys_mean_what_transformers_means(void **state)
{
    (void)state;
    awq_model next = of(families[FUSED], ""), moe = of(families[MIXTURE], "");
    awq_model undivided = of(families[FUSED], ", \"norm_topk_prob\": false");
    assert_true(next.norm_eps == 1e-6f && next.max_positions == 32768 && !next.tied);
    assert_true(awq_model_experts(&next)->routing.normalized);
    assert_true(awq_model_experts(&moe)->routing.normalized);
    assert_false(awq_model_experts(&undivided)->routing.normalized);
    awq_model_release(&next);
    awq_model_release(&moe);
    awq_model_release(&undivided);
    next = model_of(config_of("qwen3_5_text", 64, ""));
    const awq_attention_spec *attention = &awq_model_layer(&next, 0)->attention;
    assert_true(attention->heads == 32 && attention->kv_heads == 16);
    assert_true(attention->head_dim == 128 && attention->value_dim == 128);
    assert_int_equal(attention->delta.taps, 4);
    awq_model_release(&next);
}

/* ---- what is refused ---- */

static void what_cannot_be_built_is_refused_by_name(void **state)
{
    (void)state;
    refuse("qwen3_5_text", ", \"linear_num_value_heads\": 3", "is not a multiple of");
    refuse("qwen3_5_text", ", \"linear_num_key_heads\": 0", "'linear_num_key_heads' is 0");
    refuse("qwen3_5_text", ", \"linear_key_head_dim\": -6", "'linear_key_head_dim' is -6");
    refuse("qwen3_5_text", ", \"linear_value_head_dim\": 1048576", "times their channels are too");
    refuse("qwen3_5_text", ", \"linear_conv_kernel_dim\": 17", "expected 1 to 16");
    refuse("qwen3_5_text", ", \"linear_conv_kernel_dim\": 1.5", "'linear_conv_kernel_dim' is a");
    refuse("qwen3_5_text", ", \"full_attention_interval\": 0", "'full_attention_interval' is 0");
    refuse("qwen3_5_text", ", \"layer_types\": [\"linear_attention\"]", "a type for each layer");
    refuse("qwen3_5_text", ", \"layer_types\": \"linear_attention\"", "a type for each layer");
    refuse("qwen3_5_text",
           ", \"layer_types\": [\"linear_attention\", \"mamba\", \"full_attention\","
           " \"full_attention\"]",
           "layer_types holds a type that is not supported: mamba");
    refuse("qwen3_5_text", ", \"partial_rotary_factor\": 0.2", "partial_rotary_factor 0.2");
    refuse("qwen3_5_text", ", \"output_gate_type\": \"sigmoid\"", "output_gate_type 'sigmoid'");
    refuse("qwen3_5_moe_text", ", \"norm_topk_prob\": false", "norm_topk_prob");
    expect_problem(config_of("llama", 64, ", \"linear_num_value_heads\": 4"),
                   "key 'linear_num_value_heads'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_delta_nets_but_each_fourth_or_as_listed),
        cmocka_unit_test(inputs_may_stand_apart),
        cmocka_unit_test(inputs_may_be_one_linear_by_heads_of_keys),
        cmocka_unit_test(what_says_how_much_is_learned_is_never_quantized),
        cmocka_unit_test(engines_load_qkv_and_z_as_one),
        cmocka_unit_test(the_gated_norm_absorbs_one_scale_for_all_heads),
        cmocka_unit_test(convolution_and_rates_are_kept),
        cmocka_unit_test(full_attention_has_a_gate_of_each_head_in_q_proj),
        cmocka_unit_test(silent_keys_mean_what_transformers_means),
        cmocka_unit_test(what_cannot_be_built_is_refused_by_name),
    };
    return cmocka_run_group_tests_name("model_delta", tests, NULL, NULL);
}
