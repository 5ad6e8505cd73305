/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_families.c - families whose layers are not a llama's: phi3, gemma2,
 * smollm3; and keys that a family does not have. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/formats/quantization_config.h"
#include "model_of.h"
#include "scratch.h"

#define SIZES                                                                                      \
    ", \"intermediate_size\": 96, \"num_hidden_layers\": 4, \"num_attention_heads\": 4,"           \
    " \"num_key_value_heads\": 2, \"vocab_size\": 100"

enum { HEAD_DIM = 16, Q_ROWS = 64, KV_ROWS = 32, WIDE = 96 };

/* A config of heads of 16 channels, with keys added (from the comma on). */
static const char *config_of(const char *family, int hidden, const char *extra)
{
    static char text[4096];
    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"hidden_size\": %d, \"head_dim\": 16" SIZES "%s}", family,
             hidden, extra);
    return text;
}

static awq_model phi3(const char *extra)
{
    return model_of(config_of("phi3", 64, extra));
}

static awq_model gemma2(const char *extra)
{
    return model_of(config_of("gemma2", 64, extra));
}

/* A config with exactly one problem. */
static void expect_problem(const char *text, const char *part)
{
    awq_model model = {.layers = -7};
    awq_problems problems;
    awq_problems_init(&problems);
    json_t *config = json_loads(text, 0, NULL);
    assert_non_null(config);
    assert_false(awq_model_from_config(config, &model, &problems));
    assert_int_equal(model.layers, -7); /* untouched */
    assert_int_equal(problems.count, 1);
    assert_contains(problems.items[0].text, part);
    awq_problems_release(&problems);
    json_decref(config);
}

/* ---- phi3 ---- */

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
    assert_int_equal(attention->rope_dim, HEAD_DIM);
    assert_int_equal(model.rope.type, AWQ_ROPE_DEFAULT);
    assert_false(model.tied || model.norm_offset);
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
        assert_int_equal(model.rope.type, AWQ_ROPE_LONGROPE);
        assert_true(model.rope.original_positions == 4096);
        assert_true(fabs(model.rope.attention_factor - 1.190238) < 1e-6);
        assert_memory_equal(model.rope.short_factor, shorts, sizeof shorts);
        assert_memory_equal(model.rope.long_factor, longs, sizeof longs);
        awq_model_release(&model);
    }
    awq_model model = phi3(", \"max_position_embeddings\": 131072, \"rope_scaling\": {\"type\":"
                           " \"su\", \"factor\": 32, \"short_factor\": " EIGHT "}");
    assert_true(model.rope.original_positions == 4096); /* where silent */
    assert_true(fabs(model.rope.attention_factor - 1.190238) < 1e-6);
    awq_model_release(&model);
}

static void a_part_of_a_head_may_be_rotated(void **state)
{
    (void)state;
    awq_model model =
        phi3(", \"partial_rotary_factor\": 0.75" LENGTHS
             ", \"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": " SIX "}");
    const awq_attention_spec *attention = &awq_model_layer(&model, 0)->attention;
    assert_int_equal(attention->rope_dim, 12);
    assert_int_equal(attention->head_dim, HEAD_DIM);
    assert_true(attention->scale == 0.25f); /* of the whole head */
    assert_true(model.rope.long_factor[5] == 64.25);
    awq_model_release(&model);
    model = phi3(", \"rope_parameters\": {\"rope_theta\": 500, \"partial_rotary_factor\": 0.5}");
    assert_int_equal(awq_model_layer(&model, 0)->attention.rope_dim, 8);
    assert_true(model.rope.theta == 500);
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
                             ", \"rope_scaling\": {\"type\": \"su\","
                             " \"original_max_position_embeddings\": 64, \"short_factor\": " EIGHT
                             "}"),
                   "the RoPE scaling says another original_max_position_embeddings");
    expect_problem(config_of("phi3", 64,
                             LENGTHS
                             ", \"rope_scaling\": {\"type\": \"su\", \"attention_factor\": 0,"
                             " \"short_factor\": " EIGHT "}"),
                   "'attention_factor' must be a number above zero");
    expect_problem(config_of("phi3", 64, ", \"rope_scaling\": {\"type\": \"dynamic\"}"),
                   "rope type 'dynamic' is not supported; supported are default, linear, llama3, "
                   "longrope");
    expect_problem(config_of("llama", 64, ", \"rope_scaling\": {\"type\": \"su\"}"),
                   "rope type 'su' is not supported");
}

/* ---- gemma2 ---- */

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
    assert_int_equal(layer->norm[attention->norm].absorbs, GROUP_QKV);
    assert_int_equal(layer->norm[mlp->norm].absorbs, GROUP_GATE_UP);
    assert_int_equal(layer->group[GROUP_GATE_UP].producer.norm, mlp->norm);
    /* behind them is the residual */
    assert_int_equal(layer->norm[attention->out_norm].absorbs, -1);
    assert_int_equal(layer->norm[mlp->out_norm].absorbs, -1);
    for (int i = 0; i < 4; i++) assert_true(layer->norm[i].offset && layer->norm[i].width == 64);
    assert_true(model.norm_offset);
    awq_model_release(&model);
}

static void expect_windows(const awq_model *model, const int64_t windows[4])
{
    assert_int_equal(model->layers, 4);
    for (int64_t i = 0; i < 4; i++) {
        assert_int_equal(awq_model_layer(model, i)->attention.window, windows[i]);
        assert_int_equal(model->kind_of[i], windows[i] != windows[0]);
    }
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

/* ---- smollm3 ---- */

static awq_model smollm3(const char *extra)
{
    return model_of(config_of("smollm3", 64, extra));
}

static void expect_rotated(const char *extra, const bool rotated[4])
{
    awq_model model = smollm3(extra);
    for (int64_t i = 0; i < 4; i++) {
        assert_int_equal(awq_model_layer(&model, i)->attention.rope_dim, rotated[i] ? HEAD_DIM : 0);
        assert_int_equal(model.kind_of[i], rotated[i] != rotated[0]);
    }
    awq_model_release(&model);
}

static void smollm3_rotates_three_layers_of_four_or_as_it_says(void **state)
{
    (void)state;
    expect_rotated("", (const bool[]){true, true, true, false});
    expect_rotated(", \"no_rope_layer_interval\": 2", (const bool[]){true, false, true, false});
    expect_rotated(", \"no_rope_layer_interval\": 1", (const bool[]){false, false, false, false});
    expect_rotated(", \"no_rope_layers\": null, \"no_rope_layer_interval\": 5",
                   (const bool[]){true, true, true, true});
    expect_rotated(", \"no_rope_layers\": [0, 1, 1, 0, 1], \"no_rope_layer_interval\": 2",
                   (const bool[]){false, true, true, false}); /* it may be longer */
}

#define WINDOW_ON ", \"use_sliding_window\": true, \"sliding_window\": 32"

static void smollm3s_windows_are_where_no_rotation_is_or_as_listed(void **state)
{
    (void)state;
    awq_model model = smollm3(WINDOW_ON ", \"no_rope_layers\": [1, 0, 0, 1]");
    expect_windows(&model, (const int64_t[]){0, 32, 32, 0});
    awq_model_release(&model);
    model = smollm3(WINDOW_ON ", \"no_rope_layers\": [1, 0, 1, 0], \"layer_types\":"
                              " [\"full_attention\", \"sliding_attention\","
                              " \"sliding_attention\", \"full_attention\"]");
    assert_int_equal(model.kinds, 4);
    assert_int_equal(awq_model_layer(&model, 2)->attention.window, 32);
    assert_int_equal(awq_model_layer(&model, 2)->attention.rope_dim, HEAD_DIM);
    assert_int_equal(awq_model_layer(&model, 3)->attention.window, 0);
    awq_model_release(&model);
    static const char *const off[] = {"", ", \"sliding_window\": 32",
                                      ", \"use_sliding_window\": true"};
    for (int i = 0; i < 3; i++) {
        model = smollm3(off[i]);
        for (int64_t j = 0; j < 4; j++)
            assert_int_equal(awq_model_layer(&model, j)->attention.window, 0);
        awq_model_release(&model);
    }
}

static void silent_smollm3_gets_the_defaults_of_transformers(void **state)
{
    (void)state;
    awq_model model = smollm3("");
    assert_int_equal(model.max_positions, 32768);
    assert_true(model.rope.theta == 2e6);
    assert_true(model.norm_eps == 1e-6f);
    assert_true(model.tied);
    awq_model_release(&model);
}

static void what_smollm3_does_not_say_clearly_is_refused(void **state)
{
    (void)state;
    static const char *const lists[] = {"[1, 1, 1]", "[1, 1, 1, 2]", "[1, 1, 1, true]", "1"};
    for (int i = 0; i < 4; i++) {
        char extra[64];
        snprintf(extra, sizeof extra, ", \"no_rope_layers\": %s", lists[i]);
        expect_problem(config_of("smollm3", 64, extra), "no_rope_layers is not a list of a 0 or 1");
    }
    expect_problem(config_of("smollm3", 64, ", \"no_rope_layer_interval\": 0"),
                   "'no_rope_layer_interval' is 0");
    /* transformers' implementations of attention differ in what they do */
    expect_problem(config_of("smollm3", 64,
                             ", \"sliding_window\": 32, \"layer_types\": [\"full_attention\","
                             " \"sliding_attention\", \"full_attention\", \"full_attention\"]"),
                   "layer_types holds a type that is not supported: sliding_attention");
}

/* ---- numbers that are not numbers of float32 ---- */

static void factors_must_be_above_zero_in_float32(void **state)
{
    (void)state;
    static const struct {
        const char *family, *key;
    } cases[] = {{"granite", "attention_multiplier"},  {"granite", "embedding_multiplier"},
                 {"granite", "residual_multiplier"},   {"granite", "logits_scaling"},
                 {"gemma2", "attn_logit_softcapping"}, {"gemma2", "final_logit_softcapping"},
                 {"gemma2", "query_pre_attn_scalar"},  {"llama", "rope_theta"}};
    static const char *const values[] = {"0", "-1", "1e-60", "1e308"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int j = 0; j < 4; j++) {
            char extra[64], expected[80];
            snprintf(extra, sizeof extra, ", \"%s\": %s", cases[i].key, values[j]);
            snprintf(expected, sizeof expected, "key '%s' must be a number above zero%s",
                     cases[i].key, j < 2 ? "" : ", and one that float32 holds");
            expect_problem(config_of(cases[i].family, 64, extra), expected);
        }
    expect_problem(config_of("llama", 64, ", \"rms_norm_eps\": 1e-60"), "rms_norm_eps is not");
}

/* ---- keys of other families ---- */

static void keys_that_a_family_does_not_compute_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const keys[] = {"attn_logit_softcapping",
                                       "final_logit_softcapping",
                                       "query_pre_attn_scalar",
                                       "attention_chunk_size",
                                       "no_rope_layers",
                                       "no_rope_layer_interval",
                                       "attention_multiplier",
                                       "embedding_multiplier",
                                       "residual_multiplier",
                                       "logits_scaling",
                                       "clip_qkv",
                                       "n_group",
                                       "topk_group",
                                       "topk_method",
                                       "scoring_func",
                                       "n_shared_experts",
                                       "routed_scaling_factor",
                                       "moe_layer_freq",
                                       "first_k_dense_replace",
                                       "use_bidirectional_attention"};
    static const char *const families[] = {"llama", "phi3"};
    for (size_t i = 0; i < 2 * sizeof keys / sizeof *keys; i++) {
        char extra[64], expected[128];
        snprintf(extra, sizeof extra, ", \"%s\": 2", keys[i / 2]);
        snprintf(expected, sizeof expected, "key '%s' is not supported for model_type '%s'",
                 keys[i / 2], families[i % 2]);
        expect_problem(config_of(families[i % 2], 64, extra), expected);
    }
    expect_problem(config_of("gemma2", 64, ", \"logits_scaling\": 8"),
                   "key 'logits_scaling' is not supported for model_type 'gemma2'");
    expect_problem(config_of("qwen3_moe", 64,
                             ", \"num_experts\": 4, \"num_experts_per_tok\": 2,"
                             " \"moe_intermediate_size\": 32, \"n_group\": 2"),
                   "key 'n_group' is not supported for model_type 'qwen3_moe'");
    expect_problem(config_of("llama", 64, ", \"topk_method\": \"noaux_tc\""), "key 'topk_method'");
    expect_problem(config_of("llama", 64, ", \"use_bidirectional_attention\": true"),
                   "key 'use_bidirectional_attention'");
}

static void keys_that_say_nothing_are_not_refused(void **state)
{
    (void)state;
    awq_model model = model_of(
        config_of("llama", 64,
                  ", \"attn_logit_softcapping\": null, \"n_group\": null, \"clip_qkv\": null,"
                  " \"embedding_multiplier\": 1, \"residual_multiplier\": 1.0,"
                  " \"logits_scaling\": 1, \"use_bidirectional_attention\": false"));
    awq_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phi3_has_q_k_v_in_one_linear_and_gate_up_in_another),
        cmocka_unit_test(phi3s_scales_are_absorbed_by_some_rows_of_its_linears),
        cmocka_unit_test(phi3s_qkv_proj_is_not_clipped),
        cmocka_unit_test(silent_phi3_gets_the_defaults_of_transformers),
        cmocka_unit_test(longrope_has_a_factor_for_each_pair_of_channels),
        cmocka_unit_test(a_part_of_a_head_may_be_rotated),
        cmocka_unit_test(what_phi3_does_not_do_is_refused),
        cmocka_unit_test(gemma2_normalizes_what_its_halves_put_out),
        cmocka_unit_test(gemma2s_layers_are_of_two_kinds_in_turn_or_as_listed),
        cmocka_unit_test(a_list_of_layer_types_must_be_of_all_layers),
        cmocka_unit_test(gemma2_caps_its_logits),
        cmocka_unit_test(gemma2s_logits_are_scaled_by_the_query_scalar),
        cmocka_unit_test(silent_gemma2_gets_the_defaults_of_transformers),
        cmocka_unit_test(gemma2s_embedding_is_scaled_in_the_models_type),
        cmocka_unit_test(smollm3_rotates_three_layers_of_four_or_as_it_says),
        cmocka_unit_test(smollm3s_windows_are_where_no_rotation_is_or_as_listed),
        cmocka_unit_test(silent_smollm3_gets_the_defaults_of_transformers),
        cmocka_unit_test(what_smollm3_does_not_say_clearly_is_refused),
        cmocka_unit_test(factors_must_be_above_zero_in_float32),
        cmocka_unit_test(keys_that_a_family_does_not_compute_are_refused_by_name),
        cmocka_unit_test(keys_that_say_nothing_are_not_refused),
    };
    return cmocka_run_group_tests_name("model_families", tests, NULL, NULL);
}
