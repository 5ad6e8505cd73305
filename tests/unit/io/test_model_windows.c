/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_windows.c - which layers see a window of the tokens before them, and
 * which are rotated. Four layers each. */
#include <stdio.h>

#include "config_of.h"
#include "scratch.h"

#define LLAMA4 ", \"num_local_experts\": 2, \"intermediate_size_mlp\": 80"

#define AFMOE                                                                                      \
    ", \"num_experts\": 4, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 32,"             \
    " \"num_shared_experts\": 1"

/* Windows, and rotated layers, each layer a digit: "1101". */
static void expect(const char *family, const char *extra, int64_t window, const char *windowed,
                   const char *rotated)
{
    awq_model model = model_of(config_of(family, 64, extra));
    for (int64_t i = 0; i < 4; i++) {
        const awq_attention_spec *attention = &awq_model_layer(&model, i)->attention;
        if (attention->window != (windowed[i] == '1' ? window : 0) ||
            (attention->k_rope >= 0) != (rotated[i] == '1'))
            fail_msg("%s%s: layer %d has a window of %d, RoPE %d", family, extra, (int)i,
                     (int)attention->window, attention->k_rope);
    }
    awq_model_release(&model);
}

static void a_pattern_is_a_number_or_letters(void **state)
{
    (void)state;
    expect("gemma3_text", "", 4096, "1111", "1111"); /* each sixth has none */
    expect("gemma3_text", ", \"sliding_window_pattern\": 2", 4096, "1010", "1111");
    expect("gemma2", "", 4096, "1010", "1111");
    expect("olmo3", ", \"sliding_window\": 8", 8, "1110", "1111");
    expect("exaone4", ", \"sliding_window_pattern\": \"LLG\"", 4096, "1101", "1101");
    expect("exaone4", ", \"sliding_window_pattern\": \"G\"", 4096, "0000", "0000");
    expect("exaone4", ", \"sliding_window_pattern\": 4", 4096, "1110", "1110");
    static const char *const wrong[] = {"\"\"", "\"LL\"", "\"LGL\"", "\"GLLL\"", "\"LLLX\""};
    for (int i = 0; i < 5; i++) {
        char extra[64];
        snprintf(extra, sizeof extra, ", \"sliding_window_pattern\": %s", wrong[i]);
        expect_problem(config_of("exaone4", 64, extra), "sliding_window_pattern is not supported");
    }
    expect_problem(config_of("exaone4", 64, ", \"sliding_window_pattern\": 0"),
                   "'sliding_window_pattern' is 0, expected 1 to");
    expect_problem(config_of("exaone4", 64, ", \"sliding_window_pattern\": [4]"),
                   "'sliding_window_pattern' is an array");
}

/* Without windows all layers are rotated: Exaone 4 of 1.2 B. */
static void only_layers_of_a_window_are_rotated_where_some_have_one(void **state)
{
    (void)state;
    expect("exaone4", ", \"sliding_window\": null, \"sliding_window_pattern\": null", 0, "0000",
           "1111");
    expect("cohere2", "", 4096, "1110", "1110");
    expect("cohere2", ", \"sliding_window\": null", 0, "0000", "1111");
    expect("cohere2",
           ", \"sliding_window\": 8, \"layer_types\": [\"full_attention\", \"sliding_attention\","
           " \"full_attention\", \"sliding_attention\"]",
           8, "0101", "0101");
}

#define ON ", \"use_sliding_window\": true, \"sliding_window\": 8"

static void the_first_layers_may_have_none(void **state)
{
    (void)state;
    expect("qwen2", ON ", \"max_window_layers\": 1", 8, "0111", "1111");
    expect("qwen2", ON ", \"max_window_layers\": 3", 8, "0001", "1111");
    expect("qwen2", ON, 8, "0000", "1111"); /* the first 28 where it is silent */
    expect("qwen2", ON ", \"max_window_layers\": 0", 8, "1111", "1111");
    expect("qwen3", ", \"sliding_window\": 8, \"max_window_layers\": 0", 8, "0000", "1111");
    expect("qwen3",
           ON ", \"max_window_layers\": 1, \"layer_types\": [\"sliding_attention\","
              " \"full_attention\", \"full_attention\", \"full_attention\"]",
           8, "1000", "1111");
    expect_problem(config_of("qwen2", 64, ON ", \"max_window_layers\": \"two\""),
                   "'max_window_layers' is a string");
}

/* Transformers' versions differ. */
static void windows_of_qwen2_moe_must_be_listed(void **state)
{
    (void)state;
    static const char keys[] = ON ", \"num_experts\": 2, \"num_experts_per_tok\": 1,"
                                  " \"moe_intermediate_size\": 32,"
                                  " \"shared_expert_intermediate_size\": 32";
    char listed[700];
    snprintf(listed, sizeof listed,
             "%s, \"layer_types\": [\"full_attention\","
             " \"sliding_attention\", \"sliding_attention\", \"full_attention\"]",
             keys);
    expect("qwen2_moe", listed, 8, "0110", "1111");
    expect_problem(config_of("qwen2_moe", 64, keys), "key 'layer_types' is missing");
}

static void windows_take_turns_with_none_in_mixtures_too(void **state)
{
    (void)state;
    expect("gpt_oss", ", \"num_local_experts\": 4", 128, "1010", "1111");
    expect("afmoe", AFMOE, 1024, "1110", "1110");
    expect("afmoe", AFMOE ", \"global_attn_every_n_layers\": 3, \"sliding_window\": 5", 5, "1101",
           "1101");
    expect("mixtral",
           ", \"num_local_experts\": 4, \"num_experts_per_tok\": 2,"
           " \"sliding_window\": 9",
           9, "1111", "1111");
}

/* Llama4TextConfig: rotated layers attend to chunks of 8192, or of what the config says. */
static void chunks_are_of_rotated_layers(void **state)
{
    (void)state;
    expect("llama4_text", LLAMA4 ", \"attention_chunk_size\": 16", 16, "1110", "1110");
    expect("llama4_text", LLAMA4 ", \"attention_chunk_size\": 16, \"no_rope_layers\": []", 16,
           "1110", "1110");
    expect("llama4_text", LLAMA4 ", \"attention_chunk_size\": 16, \"no_rope_layers\": [0, 1, 1, 0]",
           16, "0110", "0110");
    expect("llama4_text", LLAMA4 ", \"attention_chunk_size\": null", 0, "0000", "1110");
    expect("llama4_text",
           LLAMA4 ", \"attention_chunk_size\": 16, \"layer_types\": [\"full_attention\","
                  " \"chunked_attention\", \"full_attention\", \"chunked_attention\"]",
           16, "0101", "1110");
    awq_model model =
        model_of(config_of("llama4_text", 64, LLAMA4 ", \"attention_chunk_size\": 16"));
    assert_true(awq_model_layer(&model, 0)->attention.chunked);
    assert_false(awq_model_layer(&model, 3)->attention.chunked);
    awq_model_release(&model);
    model = model_of(config_of("mistral", 64, ""));
    assert_false(awq_model_layer(&model, 0)->attention.chunked);
    awq_model_release(&model);
    expect_problem(config_of("llama4_text", 64, LLAMA4 ", \"attention_chunk_size\": 0"),
                   "'attention_chunk_size' is 0");
}

/* ---- biases and factors of attention ---- */

/* q's, o's, gate's and down's, each a digit. */
static void expect_biases(const char *family, const char *extra, const char *biases)
{
    awq_model model = model_of(config_of(family, 64, extra));
    const awq_layer_spec *layer = awq_model_layer(&model, 0);
    const int linears[] = {layer->attention.q.linear, layer->attention.o,
                           layer->mlps.mlp[0].up.linear, layer->mlps.mlp[0].down};
    for (int i = 0; i < 4; i++)
        if (layer->linear[linears[i]].bias != (biases[i] == '1'))
            fail_msg("%s%s: bias of '%s'", family, extra, layer->linear[linears[i]].name);
    awq_model_release(&model);
}

static void biases_are_where_the_familys_keys_say(void **state)
{
    (void)state;
    expect_biases("glm4", "", "1000");
    expect_biases("glm4", ", \"attention_bias\": false", "0000");
    expect_biases("seed_oss", "", "1000");
    expect_biases("seed_oss", ", \"attention_out_bias\": true, \"mlp_bias\": true", "1111");
    expect_biases("starcoder2", "", "1111");
    expect_biases("starcoder2", ", \"use_bias\": false", "0000");
    expect_biases("stablelm", ", \"use_qkv_bias\": true", "1000");
    expect_biases("internlm", "", "1100");
    expect_biases("internlm", ", \"bias\": false", "0000");
    expect_biases("internlm2", ", \"bias\": true", "1100");
    expect_biases("internlm3", ", \"qkv_bias\": true", "1100");
    expect_biases("internlm3", ", \"bias\": true", "0011");
    expect_biases("ernie4_5", ", \"use_bias\": true", "1111");
    expect_biases("cohere", ", \"attention_bias\": true", "1100");
}

static void logits_are_multiplied_where_a_family_says_by_what(void **state)
{
    (void)state;
    awq_model model = model_of(config_of("cohere", 64, ""));
    assert_true(model.logits_scale == 0.0625f);
    awq_model_release(&model);
    model = model_of(config_of("cohere2", 64, ", \"logit_scale\": 0.5"));
    assert_true(model.logits_scale == 0.5f);
    awq_model_release(&model);
    expect_problem(config_of("llama", 64, ", \"logit_scale\": 0.5"), "key 'logit_scale'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_is_a_number_or_letters),
        cmocka_unit_test(only_layers_of_a_window_are_rotated_where_some_have_one),
        cmocka_unit_test(the_first_layers_may_have_none),
        cmocka_unit_test(windows_of_qwen2_moe_must_be_listed),
        cmocka_unit_test(windows_take_turns_with_none_in_mixtures_too),
        cmocka_unit_test(chunks_are_of_rotated_layers),
        cmocka_unit_test(biases_are_where_the_familys_keys_say),
        cmocka_unit_test(logits_are_multiplied_where_a_family_says_by_what),
    };
    return cmocka_run_group_tests_name("model_windows", tests, NULL, NULL);
}
