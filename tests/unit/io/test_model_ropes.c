/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_ropes.c - which tables of rotary embedding a model has, from whichever
 * spelling, and which layers have which. What is in a table: tests/unit/layers/rope.c. */
#include <stdio.h>

#include "config_of.h"
#include "scratch.h"

static awq_model of(const char *family, const char *extra)
{
    return model_of(config_of(family, 64, extra));
}

static void expect_tables(const awq_model *model, const int queries[4])
{
    for (int64_t i = 0; i < 4; i++) {
        const awq_attention_spec *attention = &awq_model_layer(model, i)->attention;
        assert_int_equal(attention->q_rope, queries[i]);
        assert_int_equal(attention->k_rope, queries[i]);
    }
}

/* ---- two tables ---- */

static void layers_of_a_window_have_a_table_of_their_own(void **state)
{
    (void)state;
    awq_model model =
        of("gemma3_text", ", \"sliding_window_pattern\": 2, \"rope_theta\": 500000,"
                          " \"rope_local_base_freq\": 123, \"rope_scaling\": {\"rope_type\":"
                          " \"linear\", \"factor\": 8}");
    expect_tables(&model, (const int[]){1, 0, 1, 0});
    assert_int_equal(model.ropes, 2);
    assert_true(model.rope[0].theta == 500000 && model.rope[1].theta == 123);
    assert_int_equal(model.rope[0].type, AWQ_ROPE_LINEAR);
    assert_int_equal(model.rope[1].type, AWQ_ROPE_DEFAULT); /* whatever scales the others */
    assert_true(model.rope[0].dim == 16 && model.rope[1].dim == 16);
    awq_model_release(&model);
    model = of("gemma3_text", "");
    assert_true(model.rope[0].theta == 1e6 && model.rope[1].theta == 1e4);
    awq_model_release(&model);
}

/* Transformers 5. */
static void tables_may_be_listed_by_the_kind_of_layers(void **state)
{
    (void)state;
    awq_model model =
        of("gemma3_text",
           ", \"sliding_window_pattern\": 2, \"rope_parameters\": {\"full_attention\":"
           " {\"rope_type\": \"linear\", \"factor\": 4, \"rope_theta\": 7e5},"
           " \"sliding_attention\": {\"rope_type\": \"default\", \"rope_theta\": 321}}");
    assert_true(model.rope[0].theta == 7e5 && model.rope[1].theta == 321);
    assert_true(model.rope[0].factor == 4);
    assert_int_equal(model.rope[1].type, AWQ_ROPE_DEFAULT);
    awq_model_release(&model);
    expect_problem(config_of("gemma3_text", 64, ", \"rope_parameters\": {\"full_attention\": 3}"),
                   "'full_attention' is not an object");
    expect_problem(config_of("gemma3_text", 64, ", \"rope_local_base_freq\": -1"),
                   "'rope_local_base_freq' must be a number above zero");
    expect_problem(config_of("llama", 64, ", \"rope_local_base_freq\": 5"),
                   "key 'rope_local_base_freq' is not supported");
    expect_problem(config_of("cohere2", 64, ", \"rope_parameters\": {\"sliding_attention\": {}}"),
                   "does not say one rope_type");
}

/* Olmo 3's: yarn in layers without a window, the same base without it in the others. */
static void only_layers_without_a_window_are_scaled(void **state)
{
    (void)state;
    awq_model model =
        of("olmo3", ", \"max_position_embeddings\": 65536, \"rope_scaling\": {\"rope_type\":"
                    " \"yarn\", \"factor\": 8, \"original_max_position_embeddings\": 8192}");
    expect_tables(&model, (const int[]){1, 1, 1, 0});
    assert_int_equal(model.rope[0].type, AWQ_ROPE_YARN);
    assert_int_equal(model.rope[1].type, AWQ_ROPE_DEFAULT);
    assert_true(model.rope[0].theta == 5e5 && model.rope[1].theta == 5e5);
    awq_model_release(&model);
    model = of("olmo3", ", \"sliding_window\": null");
    assert_int_equal(model.ropes, 1);
    expect_tables(&model, (const int[]){0, 0, 0, 0});
    awq_model_release(&model);
}

/* ---- how much of a head ---- */

static void a_part_of_a_head_is_rotated_by_the_familys_or_the_configs_word(void **state)
{
    (void)state;
    static const struct {
        const char *family, *extra;
        int64_t dim;
    } parts[] = {
        {"stablelm", "", 4},
        {"nemotron", "", 8},
        {"glm4", "", 8},
        {"stablelm", ", \"partial_rotary_factor\": 0.5", 8},
        {"glm4", ", \"rope_parameters\": {\"rope_theta\": 1e4, \"partial_rotary_factor\": 0.75}",
         12},
        {"minimax_m2", ", \"num_local_experts\": 2, \"num_experts_per_tok\": 1, \"rotary_dim\": 4",
         4},
        {"llama", ", \"partial_rotary_factor\": 1.0", 16},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        awq_model model = of(parts[i].family, parts[i].extra);
        assert_int_equal(model.rope[0].dim, parts[i].dim);
        awq_model_release(&model);
    }
#define MINIMAX ", \"num_local_experts\": 2, \"num_experts_per_tok\": 1"
    expect_problem(config_of("minimax_m2", 64, MINIMAX ", \"rotary_dim\": 5"),
                   "RoPE cannot rotate 5 of a head's 16 channels");
    expect_problem(config_of("minimax_m2", 64, MINIMAX ", \"rotary_dim\": 17"),
                   "'rotary_dim' is 17, expected 1 to 16");
    expect_problem("{\"model_type\": \"stablelm\", \"hidden_size\": 64, \"head_dim\": 12" SIZES "}",
                   "RoPE cannot rotate 3 of a head's 12 channels"); /* a quarter */
    expect_problem("{\"model_type\": \"nemotron\", \"hidden_size\": 64, \"head_dim\": 2" SIZES "}",
                   "RoPE cannot rotate 1 of a head's 2 channels");
}

static void pairs_are_of_halves_or_of_neighbours(void **state)
{
    (void)state;
    static const char *const neighbours[] = {"glm", "glm4", "cohere", "cohere2", "ernie4_5"};
    static const char *const halves[] = {"llama", "stablelm", "olmo2", "seed_oss"};
    for (int i = 0; i < 5; i++) {
        awq_model model = of(neighbours[i], "");
        assert_true(awq_model_layer(&model, 0)->attention.rope_interleaved);
        awq_model_release(&model);
    }
    for (int i = 0; i < 4; i++) {
        awq_model model = of(halves[i], "");
        assert_false(awq_model_layer(&model, 0)->attention.rope_interleaved);
        awq_model_release(&model);
    }
}

/* ---- queries that grow ---- */

/* GptOssConfig's and Ministral3Config's rope_parameters. */
static void a_silent_config_means_its_classs_parameters(void **state)
{
    (void)state;
    awq_model model = of("gpt_oss", ", \"num_local_experts\": 4");
    assert_int_equal(model.rope[0].type, AWQ_ROPE_YARN);
    assert_true(model.rope[0].theta == 150000 && model.rope[0].factor == 32);
    assert_true(model.rope[0].original_positions == 4096);
    awq_model_release(&model);
    model = of("ministral3", "");
    assert_int_equal(model.rope[1].type, AWQ_ROPE_YARN);
    assert_true(model.rope[0].theta == 1e6 && model.rope[0].factor == 16);
    assert_true(model.rope[0].attention_factor == 1); /* mscale is mscale_all_dim */
    assert_true(model.rope[0].growth == 0 && model.rope[1].growth == 0.1);
    assert_true(model.rope[1].growth_span == 16384);
    awq_model_release(&model);
    model = of("gpt_oss", ", \"num_local_experts\": 4, \"rope_theta\": 5000, \"rope_scaling\":"
                          " {\"rope_type\": \"linear\", \"factor\": 2}");
    assert_int_equal(model.rope[0].type, AWQ_ROPE_LINEAR); /* one that speaks means what it says */
    assert_true(model.rope[0].theta == 5000);
    awq_model_release(&model);
}

static void temperature_is_of_layers_without_rope(void **state)
{
    (void)state;
    static const char llama4[] = ", \"num_local_experts\": 2";
    char off[96];
    awq_model model = of("llama4_text", llama4);
    for (int64_t i = 0; i < 4; i++) {
        const awq_attention_spec *attention = &awq_model_layer(&model, i)->attention;
        assert_int_equal(attention->q_rope, i == 3);
        assert_int_equal(attention->k_rope, i == 3 ? -1 : 0);
    }
    assert_int_equal(model.rope[1].type, AWQ_ROPE_STILL);
    assert_true(model.rope[1].growth == 0.1 && model.rope[1].growth_span == 8192);
    awq_model_release(&model);
    snprintf(off, sizeof off, "%s, \"attn_temperature_tuning\": false", llama4);
    model = of("llama4_text", off);
    assert_int_equal(awq_model_layer(&model, 3)->attention.q_rope, -1);
    assert_int_equal(model.ropes, 1);
    awq_model_release(&model);
    expect_problem(config_of("llama4_text", 64, ", \"num_local_experts\": 2, \"attn_scale\": -1"),
                   "attn_scale is not a number from 0 on");
    expect_problem(config_of("llama4_text", 64, ", \"num_local_experts\": 2, \"floor_scale\": 0"),
                   "'floor_scale' must be a number above zero");
    expect_problem(config_of("llama", 64, ", \"attn_temperature_tuning\": true"),
                   "key 'attn_temperature_tuning' is not supported");
}

/* ---- what is refused ---- */

#define SCALED(keys) ", \"rope_scaling\": {" keys "}"

static void parameters_of_scaled_ropes_must_be_numbers_that_fit(void **state)
{
    (void)state;
    static const struct {
        const char *family, *extra, *part;
    } wrong[] = {
        {"llama", SCALED("\"rope_type\": \"dynamic\""), "'factor' must be a number above zero"},
        {"llama", SCALED("\"rope_type\": \"dynamic\", \"factor\": -2"), "'factor' must be"},
        {"llama", SCALED("\"rope_type\": \"yarn\", \"factor\": \"4\""), "'factor' is a string"},
        {"llama", SCALED("\"rope_type\": \"yarn\", \"beta_fast\": -1"), "'beta_fast' must be"},
        {"llama", SCALED("\"rope_type\": \"yarn\", \"truncate\": 1"), "'truncate' is"},
        {"llama", SCALED("\"rope_type\": \"yarn\", \"attention_factor\": 1e300"), "float32"},
        {"llama", ", \"rope_theta\": 1" SCALED("\"rope_type\": \"yarn\""), "must be above one"},
        {"llama", SCALED("\"rope_type\": \"yarn\", \"llama_4_scaling_beta\": 0.1"),
         "a RoPE key that is not supported: llama_4_scaling_beta"},
        {"ministral3", SCALED("\"rope_type\": \"yarn\", \"llama_4_scaling_beta\": -1"),
         "llama_4_scaling_beta is not a number from 0 on"},
        {"hunyuan_v1_dense", SCALED("\"rope_type\": \"dynamic\", \"factor\": 1, \"alpha\": -1"),
         "'alpha' must be"},
        {"qwen3_vl_text", SCALED("\"rope_type\": \"mropes\""), "rope type 'mropes'"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_problem(config_of(wrong[i].family, 64, wrong[i].extra), wrong[i].part);
}

/* All three positions of a token are one in text. */
static void mrope_is_plain_for_text(void **state)
{
    (void)state;
    awq_model model =
        of("qwen2_5_vl_text", SCALED("\"type\": \"mrope\", \"mrope_section\": [2, 3, 3]"));
    assert_int_equal(model.rope[0].type, AWQ_ROPE_DEFAULT);
    awq_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_of_a_window_have_a_table_of_their_own),
        cmocka_unit_test(tables_may_be_listed_by_the_kind_of_layers),
        cmocka_unit_test(only_layers_without_a_window_are_scaled),
        cmocka_unit_test(a_part_of_a_head_is_rotated_by_the_familys_or_the_configs_word),
        cmocka_unit_test(pairs_are_of_halves_or_of_neighbours),
        cmocka_unit_test(a_silent_config_means_its_classs_parameters),
        cmocka_unit_test(temperature_is_of_layers_without_rope),
        cmocka_unit_test(parameters_of_scaled_ropes_must_be_numbers_that_fit),
        cmocka_unit_test(mrope_is_plain_for_text),
    };
    return cmocka_run_group_tests_name("model_ropes", tests, NULL, NULL);
}
