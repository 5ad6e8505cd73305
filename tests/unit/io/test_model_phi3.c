/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_phi3.c - fused linears, longrope, a part of a head rotated. */
#include <math.h>
#include <stdio.h>

#include "config_of.h"
#include "scratch.h"

enum { Q_ROWS = 4 * HEAD_DIM, KV_ROWS = 2 * HEAD_DIM, WIDE = 96 };

static awq_model phi3(const char *extra)
{
    return model_of(config_of("phi3", 64, extra));
}

static void check_rows(const awq_rows *rows, int linear, int64_t first, int64_t count)
{
    assert_int_equal(rows->linear, linear);
    assert_int_equal(awq_rows_count(rows), count);
    for (int64_t i = 0; i < count; i++) assert_int_equal(awq_rows_at(rows, i), first + i);
}

static void phi3_has_q_k_v_in_one_linear_and_gate_up_in_another(void **state)
{
    (void)state;
    awq_model model = phi3("");
    assert_int_equal(model.kinds, 1);
    const awq_layer_spec *layer = awq_model_layer(&model, 3);
    int qkv = linear_named(layer, "qkv_proj"), gate_up = linear_named(layer, "gate_up_proj");
    assert_int_equal(layer->linears, 4);
    assert_string_equal(layer->linear[qkv].name, "self_attn.qkv_proj");
    assert_string_equal(layer->linear[gate_up].name, "mlp.gate_up_proj");
    assert_int_equal(layer->linear[qkv].out, Q_ROWS + 2 * KV_ROWS);
    assert_int_equal(layer->linear[gate_up].out, 2 * WIDE);
    check_rows(&layer->attention.q, qkv, 0, Q_ROWS);
    check_rows(&layer->attention.k, qkv, Q_ROWS, KV_ROWS);
    check_rows(&layer->attention.v, qkv, Q_ROWS + KV_ROWS, KV_ROWS);
    check_rows(&layer->mlps.mlp[0].gate, gate_up, 0, WIDE);
    check_rows(&layer->mlps.mlp[0].up, gate_up, WIDE, WIDE);
    awq_model_release(&model);
}

static void phi3s_scales_are_absorbed_by_some_rows_of_its_linears(void **state)
{
    (void)state;
    awq_model model = phi3("");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    int qkv = linear_named(layer, "qkv_proj"), gate_up = linear_named(layer, "gate_up_proj");
    assert_int_equal(layer->groups, DENSE_GROUPS);
    check_rows(&layer->group[GROUP_O].producer.rows, qkv, Q_ROWS + KV_ROWS, KV_ROWS);
    check_rows(&layer->group[GROUP_DOWN].producer.rows, gate_up, WIDE, WIDE);
    assert_int_equal(layer->group[GROUP_O].producer.by, AWQ_BY_ROWS);
    assert_int_equal(layer->group[GROUP_DOWN].producer.by, AWQ_BY_ROWS);
    assert_int_equal(layer->linear[qkv].absorbs, GROUP_O);
    assert_int_equal(layer->linear[gate_up].absorbs, GROUP_DOWN);
    assert_int_equal(awq_free_channels(&layer->group[GROUP_O]), KV_ROWS);
    assert_int_equal(layer->group[GROUP_QKV].count, 1);
    assert_int_equal(layer->group[GROUP_GATE_UP].count, 1);
    awq_model_release(&model);
}

/* It has q's and k's rows, which are not cut; gate's and up's may be. */
static void phi3s_qkv_proj_is_not_clipped(void **state)
{
    (void)state;
    awq_model model = phi3("");
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    for (int i = 0; i < layer->linears; i++)
        assert_int_equal(layer->linear[i].clipped, i != linear_named(layer, "qkv_proj"));
    awq_model_release(&model);
}

static void silent_phi3_gets_the_defaults_of_transformers(void **state)
{
    (void)state;
    awq_model model = phi3("");
    const awq_attention_spec *attention = &awq_model_layer(&model, 0)->attention;
    assert_string_equal(model.family, "phi3");
    assert_true(model.norm_eps == 1e-5f);
    assert_int_equal(model.max_positions, 4096);
    assert_int_equal(attention->window, 0);
    assert_int_equal(model.rope[attention->q_rope].dim, HEAD_DIM);
    assert_int_equal(model.rope[0].type, AWQ_ROPE_DEFAULT);
    assert_false(model.tied || model.final_norm.offset);
    awq_model_release(&model);
    model = phi3(", \"sliding_window\": 2047");
    for (int64_t i = 0; i < model.layers; i++)
        assert_int_equal(awq_model_layer(&model, i)->attention.window, 2047);
    awq_model_release(&model);
}

#define SIX     "[1, 1.25, 1.5, 2, 3, 4.5], \"long_factor\": [1, 2, 4, 8, 16, 64.25]"
#define EIGHT   "[1, 1.25, 1.5, 2, 3, 4.5, 5, 6], \"long_factor\": [1, 2, 4, 8, 16, 64.25, 65, 66]"
#define LENGTHS ", \"max_position_embeddings\": 131072, \"original_max_position_embeddings\": 4096"

/* Phi-3-mini-128k's lengths, of which transformers makes an attention factor of 1.190238. */
static void longrope_has_a_factor_for_each_pair_of_channels(void **state)
{
    (void)state;
    static const double shorts[] = {1, 1.25, 1.5, 2, 3, 4.5, 5, 6};
    static const double longs[] = {1, 2, 4, 8, 16, 64.25, 65, 66};
    static const char *const types[] = {"longrope", "su", "yarn"}; /* as it was called at first */
    for (int i = 0; i < 3; i++) {
        char extra[512];
        snprintf(extra, sizeof extra,
                 LENGTHS ", \"rope_scaling\": {\"type\": \"%s\", \"short_factor\": " EIGHT "}",
                 types[i]);
        awq_model model = phi3(extra);
        assert_int_equal(model.rope[0].type, AWQ_ROPE_LONGROPE);
        assert_true(model.rope[0].original_positions == 4096);
        assert_true(fabs(model.rope[0].attention_factor - 1.190238) < 1e-6);
        assert_memory_equal(model.rope[0].short_factor, shorts, sizeof shorts);
        assert_memory_equal(model.rope[0].long_factor, longs, sizeof longs);
        awq_model_release(&model);
    }
    awq_model model = phi3(", \"max_position_embeddings\": 131072, \"rope_scaling\": {\"type\":"
                           " \"su\", \"factor\": 32, \"short_factor\": " EIGHT "}");
    assert_true(model.rope[0].original_positions == 4096); /* where silent */
    assert_true(fabs(model.rope[0].attention_factor - 1.190238) < 1e-6);
    awq_model_release(&model);
}

/* Where the model says nothing, its RoPE scaling's own length is the one; and either table may have
 * a factor of its own. */
static void longropes_length_and_factors_may_be_its_own(void **state)
{
    (void)state;
    awq_model model =
        phi3(", \"max_position_embeddings\": 131072, \"rope_scaling\": {\"type\": \"longrope\","
             " \"original_max_position_embeddings\": 8192, \"short_mscale\": 1.25,"
             " \"long_mscale\": 1.5, \"short_factor\": " EIGHT "}");
    assert_true(model.rope[0].original_positions == 8192);
    assert_true(model.rope[0].attention_factor == 1.25);
    assert_true(model.rope[0].long_attention_factor == 1.5);
    awq_model_release(&model);
}

static void a_part_of_a_head_may_be_rotated(void **state)
{
    (void)state;
    awq_model model =
        phi3(", \"partial_rotary_factor\": 0.75" LENGTHS
             ", \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": " SIX "}");
    const awq_attention_spec *attention = &awq_model_layer(&model, 0)->attention;
    assert_int_equal(model.rope[0].dim, 12);
    assert_int_equal(attention->head_dim, HEAD_DIM);
    assert_true(attention->scale == 0.25f); /* of the whole head */
    assert_true(model.rope[0].long_factor[5] == 64.25);
    awq_model_release(&model);
    model = phi3(", \"rope_parameters\": {\"rope_theta\": 500, \"partial_rotary_factor\": 0.5}");
    assert_int_equal(model.rope[0].dim, 8);
    assert_true(model.rope[0].theta == 500);
    awq_model_release(&model);
}

static void what_phi3_does_not_do_is_refused(void **state)
{
    (void)state;
    static const char *const parts[] = {"0.2", "0", "1.5"}; /* 3 channels, none, too many */
    for (int i = 0; i < 3; i++) {
        char extra[64], expected[64];
        snprintf(extra, sizeof extra, ", \"partial_rotary_factor\": %s", parts[i]);
        snprintf(expected, sizeof expected, "partial_rotary_factor %s is not supported", parts[i]);
        expect_problem(config_of("phi3", 64, extra), expected);
    }
    expect_problem(config_of("phi3", 64,
                             ", \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1],"
                             " \"long_factor\": [1, 2, 3, 4, 5, 6, 7, 8]}"),
                   "'short_factor' must be a list of 8 numbers above zero");
    expect_problem(
        config_of("phi3", 64,
                  ", \"rope_scaling\": {\"type\": \"su\", \"short_factor\":"
                  " [1, 2, 3, 4, 5, 6, 7, 8], \"long_factor\": [1, 2, 3, 4, 0, 6, 7, 8]}"),
        "'long_factor' must be a list of 8 numbers above zero");
    expect_problem(
        config_of("phi3", 64,
                  LENGTHS
                  ", \"rope_scaling\": {\"type\": \"su\", \"factor\": 8, \"short_factor\": " EIGHT
                  "}"),
        "the RoPE factor is not max_position_embeddings / original_max_position_embeddings");
    expect_problem(config_of("phi3", 64,
                             LENGTHS
                             ", \"rope_scaling\": {\"type\": \"su\","
                             " \"original_max_position_embeddings\": 64, \"short_factor\": " EIGHT
                             "}"),
                   "the RoPE scaling says another original_max_position_embeddings");
    expect_problem(config_of("phi3", 64,
                             LENGTHS
                             ", \"rope_scaling\": {\"type\": \"su\", \"attention_factor\": 0,"
                             " \"short_factor\": " EIGHT "}"),
                   "'attention_factor' must be a number above zero");
    expect_problem(config_of("phi3", 64, ", \"rope_scaling\": {\"type\": \"mrope\"}"),
                   "rope type 'mrope' is not supported; supported are default, linear, dynamic, "
                   "llama3, longrope");
    expect_problem(config_of("llama", 64, ", \"rope_scaling\": {\"type\": \"su\"}"),
                   "rope type 'su' is not supported; supported are default, linear, dynamic, "
                   "llama3, yarn");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phi3_has_q_k_v_in_one_linear_and_gate_up_in_another),
        cmocka_unit_test(phi3s_scales_are_absorbed_by_some_rows_of_its_linears),
        cmocka_unit_test(phi3s_qkv_proj_is_not_clipped),
        cmocka_unit_test(silent_phi3_gets_the_defaults_of_transformers),
        cmocka_unit_test(longrope_has_a_factor_for_each_pair_of_channels),
        cmocka_unit_test(longropes_length_and_factors_may_be_its_own),
        cmocka_unit_test(a_part_of_a_head_may_be_rotated),
        cmocka_unit_test(what_phi3_does_not_do_is_refused),
    };
    return cmocka_run_group_tests_name("model_phi3", tests, NULL, NULL);
}
