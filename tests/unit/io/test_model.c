/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "io/model.h"
#include "scratch.h"

#define LLAMA                                                                                      \
    "{\"model_type\": \"llama\", \"hidden_size\": 64, \"intermediate_size\": 96,"                  \
    " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100"

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *config = json_loads(text, 0, &error);
    if (!config) fail_msg("%s: %s", error.text, text);
    return config;
}

static awq_model read_good(const char *text)
{
    awq_model model;
    awq_problems problems;
    awq_problems_init(&problems);
    json_t *config = parse(text);
    if (!awq_model_from_config(config, &model, &problems)) fail_msg("%s", problems.items[0].text);
    assert_int_equal(problems.count, 0);
    json_decref(config);
    return model;
}

/* A config with exactly one problem. */
static void expect_problem(const char *text, const char *part)
{
    awq_model model = {.layers = -7};
    awq_problems problems;
    awq_problems_init(&problems);
    json_t *config = parse(text);
    assert_false(awq_model_from_config(config, &model, &problems));
    assert_int_equal(model.layers, -7); /* untouched */
    if (problems.count != 1)
        for (size_t i = 0; i < problems.count; i++) print_error("%s\n", problems.items[i].text);
    assert_int_equal(problems.count, 1);
    assert_contains(problems.items[0].text, part);
    assert_contains(problems.items[0].text, "config.json");
    awq_problems_release(&problems);
    json_decref(config);
}

/* LLAMA with keys added (from the comma on). */
static const char *with(const char *extra)
{
    static char text[4096];
    snprintf(text, sizeof text, LLAMA "%s}", extra);
    return text;
}

static void silent_keys_get_the_defaults_of_transformers(void **state)
{
    (void)state;
    awq_model model = read_good(LLAMA "}");
    assert_int_equal(model.family, AWQ_LLAMA);
    assert_int_equal(model.kv_heads, 4);
    assert_int_equal(model.head_dim, 16);
    assert_int_equal(model.max_positions, 2048);
    assert_true(model.norm_eps == 1e-6f);
    assert_int_equal(model.rope.type, AWQ_ROPE_DEFAULT);
    assert_true(model.rope.theta == 10000);
    assert_int_equal(model.dtype, AWQ_BF16);
    assert_false(model.tied || model.qk_norm || model.quantized);
    assert_int_equal(model.sliding_window, 0);
    for (int i = 0; i < AWQ_DENSE_LINEARS; i++) assert_false(model.bias[i]);
}

static void llama_may_have_biases(void **state)
{
    (void)state;
    awq_model model = read_good(with(", \"attention_bias\": true, \"mlp_bias\": true"));
    for (int i = 0; i < AWQ_DENSE_LINEARS; i++) assert_true(model.bias[i]);
}

static void qwen2_has_biases_on_q_k_v(void **state)
{
    (void)state;
    awq_model model = read_good(
        "{\"model_type\": \"qwen2\", \"hidden_size\": 64, \"intermediate_size\": 96,"
        " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100,"
        " \"num_key_value_heads\": 2, \"use_sliding_window\": false, \"sliding_window\": 4096,"
        " \"tie_word_embeddings\": true, \"torch_dtype\": \"float32\"}");
    assert_true(model.bias[AWQ_Q] && model.bias[AWQ_K] && model.bias[AWQ_V]);
    assert_false(model.bias[AWQ_O] || model.bias[AWQ_GATE]);
    assert_true(model.tied);
    assert_int_equal(model.sliding_window, 0);
    assert_int_equal(model.dtype, AWQ_F32);
}

static void qwen3_has_norms_and_a_head_dim_of_128(void **state)
{
    (void)state;
    awq_model model =
        read_good("{\"model_type\": \"qwen3\", \"hidden_size\": 64, \"intermediate_size\": 96,"
                  " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100,"
                  " \"layer_types\": [\"full_attention\", \"full_attention\"]}");
    assert_true(model.qk_norm);
    assert_int_equal(model.head_dim, 128);
    assert_int_equal(awq_norm_elements(&model, AWQ_Q_NORM), 128);
    int64_t out, in;
    awq_linear_shape(&model, AWQ_O, &out, &in);
    assert_int_equal(out, 64);
    assert_int_equal(in, 512);
}

static void mistral_may_have_a_head_dim_and_a_window(void **state)
{
    (void)state;
    awq_model model =
        read_good("{\"model_type\": \"mistral\", \"hidden_size\": 60, \"intermediate_size\": 96,"
                  " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100,"
                  " \"head_dim\": 16, \"sliding_window\": 4096, \"attention_bias\": true}");
    assert_int_equal(model.head_dim, 16);
    assert_int_equal(model.sliding_window, 4096);
    assert_false(model.bias[AWQ_Q]);
    model = read_good("{\"model_type\": \"mistral\", \"hidden_size\": 64,"
                      " \"intermediate_size\": 96, \"num_hidden_layers\": 3,"
                      " \"num_attention_heads\": 4, \"vocab_size\": 100, \"head_dim\": null,"
                      " \"sliding_window\": null}");
    assert_int_equal(model.head_dim, 16);
    assert_int_equal(model.sliding_window, 0);
}

static void both_spellings_of_rope_are_read(void **state)
{
    (void)state;
    awq_model model =
        read_good(with(", \"rope_theta\": 500000, \"rope_scaling\": {\"rope_type\": \"llama3\","
                       " \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4.0,"
                       " \"original_max_position_embeddings\": 8192}"));
    assert_int_equal(model.rope.type, AWQ_ROPE_LLAMA3);
    assert_true(model.rope.theta == 500000 && model.rope.factor == 8);
    assert_true(model.rope.low_freq_factor == 1 && model.rope.high_freq_factor == 4);
    assert_true(model.rope.original_positions == 8192);
    model = read_good(with(", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}"));
    assert_int_equal(model.rope.type, AWQ_ROPE_LINEAR);
    assert_true(model.rope.factor == 2 && model.rope.theta == 10000);
    model = read_good(with(", \"rope_parameters\": {\"rope_type\": \"default\","
                           " \"rope_theta\": 1e6}, \"rope_scaling\": null"));
    assert_int_equal(model.rope.type, AWQ_ROPE_DEFAULT);
    assert_true(model.rope.theta == 1e6);
    model = read_good(with(", \"rope_parameters\": {\"rope_theta\": 1e6}"));
    assert_true(model.rope.theta == 1e6);
}

static void other_ropes_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const types[] = {"yarn", "dynamic", "longrope", "mrope"};
    for (size_t i = 0; i < 4; i++) {
        char extra[200];
        snprintf(extra, sizeof extra, ", \"rope_scaling\": {\"type\": \"%s\", \"factor\": 2}",
                 types[i]);
        expect_problem(with(extra), types[i]);
    }
    expect_problem(with(", \"rope_scaling\": {\"factor\": 2}"), "does not say one rope_type");
    expect_problem(with(", \"rope_scaling\": 3"), "'rope_scaling' is not an object");
    expect_problem(with(", \"rope_scaling\": {\"type\": \"linear\"}"), "'factor' must be");
    expect_problem(with(", \"rope_scaling\": {\"type\": \"linear\", \"factor\": \"2\"}"),
                   "'factor' is a string");
    expect_problem(with(", \"rope_scaling\": {\"type\": \"llama3\", \"factor\": 2,"
                        " \"low_freq_factor\": 4, \"high_freq_factor\": 4,"
                        " \"original_max_position_embeddings\": 64}"),
                   "high_freq_factor must be above");
    expect_problem(with(", \"rope_theta\": 0"), "'rope_theta' must be above zero");
    expect_problem(with(", \"partial_rotary_factor\": 0.5"), "partial_rotary_factor 0.5");
    expect_problem(with(", \"rope_parameters\": {\"full_attention\": {}}"),
                   "does not say one rope_type");
}

static void unknown_families_list_the_known_ones(void **state)
{
    (void)state;
    expect_problem("{\"model_type\": \"gpt2\"}", "model_type 'gpt2' is not supported; supported "
                                                 "are llama, mistral, qwen2, qwen3");
    expect_problem("{}", "'model_type' is missing");
}

static void sizes_must_be_there_and_fit(void **state)
{
    (void)state;
    expect_problem("{\"model_type\": \"llama\", \"intermediate_size\": 96,"
                   " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100}",
                   "key 'hidden_size' is missing");
    expect_problem("{\"model_type\": \"llama\", \"hidden_size\": 64, \"intermediate_size\": 0,"
                   " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100}",
                   "key 'intermediate_size' is 0, expected 1 to");
    expect_problem("{\"model_type\": \"llama\", \"hidden_size\": 64, \"intermediate_size\": 96,"
                   " \"num_hidden_layers\": -3, \"num_attention_heads\": 4, \"vocab_size\": 100}",
                   "key 'num_hidden_layers' is -3");
    expect_problem("{\"model_type\": \"llama\", \"hidden_size\": 64, \"intermediate_size\": 96,"
                   " \"num_hidden_layers\": 3, \"num_attention_heads\": \"4\","
                   " \"vocab_size\": 100}",
                   "'num_attention_heads' is a string");
    expect_problem(with(", \"num_key_value_heads\": 3"),
                   "num_attention_heads 4 is not a multiple of num_key_value_heads 3");
    expect_problem(with(", \"head_dim\": 15"), "head_dim 15 is odd");
    expect_problem(with(", \"head_dim\": 524288"), "too large");
    expect_problem("{\"model_type\": \"llama\", \"hidden_size\": 66, \"intermediate_size\": 96,"
                   " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100}",
                   "hidden_size 66 is not a multiple of num_attention_heads 4");
}

static void what_is_not_understood_is_refused(void **state)
{
    (void)state;
    expect_problem(with(", \"hidden_act\": \"gelu\""), "hidden_act 'gelu'");
    expect_problem(with(", \"torch_dtype\": \"float8\""), "dtype 'float8'");
    expect_problem(with(", \"rms_norm_eps\": 0"), "rms_norm_eps");
    expect_problem(with(", \"layer_types\": [\"full_attention\", \"sliding_attention\"]"),
                   "sliding_attention");
    expect_problem("{\"model_type\": \"qwen3\", \"hidden_size\": 64, \"intermediate_size\": 96,"
                   " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100,"
                   " \"use_sliding_window\": true}",
                   "use_sliding_window");
}

static void all_problems_are_listed_together(void **state)
{
    (void)state;
    awq_model model;
    awq_problems problems;
    awq_problems_init(&problems);
    json_t *config = parse("{\"model_type\": \"llama\", \"hidden_act\": \"gelu\"}");
    assert_false(awq_model_from_config(config, &model, &problems));
    assert_int_equal(problems.count, 6); /* five sizes and the activation */
    awq_problems_release(&problems);
    json_decref(config);
}

#define AWQ_KEYS ", \"quantization_config\": {\"quant_method\": \"awq\", \"bits\": 4"

static void awq_gemm_checkpoints_are_described(void **state)
{
    (void)state;
    awq_model model = read_good(with(AWQ_KEYS ", \"group_size\": 32, \"zero_point\": true,"
                                              " \"version\": \"GEMM\","
                                              " \"modules_to_not_convert\": [\"lm_head\"]}"));
    assert_true(model.quantized);
    assert_int_equal(model.quantization.bits, 4);
    assert_int_equal(model.quantization.group_size, 32);
    model = read_good(with(AWQ_KEYS ", \"group_size\": -1, \"modules_to_not_convert\": null}"));
    assert_int_equal(model.quantization.group_size, -1);
    model = read_good(with(", \"quantization_config\": null"));
    assert_false(model.quantized);
}

static void other_quantizations_are_refused(void **state)
{
    (void)state;
    expect_problem(with(", \"quantization_config\": {\"quant_method\": \"gptq\"}"), "'gptq'");
    expect_problem(with(", \"quantization_config\": []"), "is not an object");
    expect_problem(with(", \"quantization_config\": {\"quant_method\": \"awq\", \"bits\": 8,"
                        " \"group_size\": 32}"),
                   "holds 4 bits, not 8");
    expect_problem(with(AWQ_KEYS ", \"group_size\": 32, \"version\": \"marlin\"}"), "'marlin'");
    expect_problem(with(AWQ_KEYS ", \"group_size\": 32, \"zero_point\": false}"), "zero_point");
    expect_problem(with(AWQ_KEYS ", \"group_size\": 0}"), "group_size 0");
    expect_problem(with(AWQ_KEYS ", \"group_size\": 48}"), "group_size 48 does not divide");
    expect_problem(with(AWQ_KEYS ", \"group_size\": 32, \"modules_to_not_convert\": [7]}"),
                   "modules_to_not_convert '?'");
    expect_problem(with(AWQ_KEYS ", \"group_size\": 16, \"version\": \"gemv\"}"), "groups of 16");
    expect_problem(
        with(", \"head_dim\": 2, \"num_key_value_heads\": 1" AWQ_KEYS ", \"group_size\": -1}"),
        "'self_attn.k_proj' has 2 outputs");
}

#define PACKED_KEYS                                                                                \
    ", \"quantization_config\": {\"quant_method\": \"compressed-tensors\", \"ignore\": "           \
    "[\"lm_head\","                                                                                \
    " \"model.layers.1.mlp.up_proj\", \"re:.*lm_head\"], \"format\": \"pack-quantized\","          \
    " \"config_groups\": {\"group_0\": {\"targets\": [\"Linear\"], \"input_activations\": null,"   \
    " \"weights\": {\"num_bits\": 3, \"type\": \"int\""

static void compressed_tensors_are_described(void **state)
{
    (void)state;
    awq_model model = read_good(with(
        PACKED_KEYS ", \"strategy\": \"group\", \"group_size\": 32, \"symmetric\": false}}}}"));
    assert_int_equal(model.quantization.format, AWQ_FORMAT_COMPRESSED);
    assert_int_equal(model.quantization.bits, 3);
    assert_int_equal(model.quantization.group_size, 32);
    assert_false(model.quantization.symmetric);
    assert_true(awq_model_leaves(&model, 1, AWQ_UP));
    assert_false(awq_model_leaves(&model, 1, AWQ_GATE) || awq_model_leaves(&model, 0, AWQ_UP));
    assert_false(awq_model_leaves_all(&model, AWQ_UP));
    model = read_good(with(PACKED_KEYS ", \"strategy\": \"channel\"}}}}"));
    assert_int_equal(model.quantization.group_size, -1);
    assert_true(model.quantization.symmetric); /* the library's default */
}

static void other_compressed_tensors_are_refused(void **state)
{
    (void)state;
    expect_problem(with(PACKED_KEYS ", \"strategy\": \"tensor\"}}}}"), "weights strategy 'tensor'");
    expect_problem(with(PACKED_KEYS ", \"strategy\": \"channel\", \"actorder\": \"group\"}}}}"),
                   "actorder");
    expect_problem(with(PACKED_KEYS ", \"strategy\": \"group\", \"group_size\": 48}}}}"),
                   "group_size 48 does not divide");
    expect_problem(with(PACKED_KEYS ", \"strategy\": \"channel\"}},"
                                    " \"group_1\": {\"targets\": [\"Linear\"]}}}"),
                   "config_groups");
    expect_problem(with(", \"quantization_config\": {\"quant_method\": \"compressed-tensors\","
                        " \"format\": \"float-quantized\", \"config_groups\": {\"g\": {\"targets\":"
                        " [\"Linear\"], \"weights\": {\"strategy\": \"channel\"}}}}"),
                   "format 'float-quantized'");
    expect_problem(with(", \"quantization_config\": {\"quant_method\": \"compressed-tensors\","
                        " \"format\": \"pack-quantized\", \"ignore\": [\"re:.*mlp.*\"],"
                        " \"config_groups\": {\"g\": {\"targets\":"
                        " [\"Linear\"], \"weights\": {\"strategy\": \"channel\"}}}}"),
                   "ignore 're:.*mlp.*'");
    expect_problem(with(", \"quantization_config\": {\"quant_method\": \"compressed-tensors\","
                        " \"format\": \"pack-quantized\", \"config_groups\": {\"g\": {\"targets\":"
                        " [\"re:.*proj\"], \"weights\": {\"strategy\": \"channel\"}}}}"),
                   "'re:.*proj'");
    expect_problem(with(", \"quantization_config\": {\"quant_method\": \"compressed-tensors\","
                        " \"format\": \"pack-quantized\", \"config_groups\": {\"g\": {\"targets\":"
                        " [\"Linear\"], \"input_activations\": {\"num_bits\": 8},"
                        " \"weights\": {\"strategy\": \"channel\"}}}}"),
                   "activations");
}

static void linears_left_in_full_precision_are_found_by_part_of_their_name(void **state)
{
    (void)state;
    awq_model model = read_good(
        with(AWQ_KEYS ", \"group_size\": 32, \"version\": \"GEMV_FAST\","
                      " \"modules_to_not_convert\": [\"layers.2.self_attn\", \"down\"]}"));
    assert_int_equal(model.quantization.format, AWQ_FORMAT_GEMV_FAST);
    for (int64_t layer = 0; layer < 3; layer++)
        for (awq_linear linear = 0; linear < AWQ_DENSE_LINEARS; linear++)
            assert_int_equal(awq_model_packs(&model, layer, linear),
                             linear != AWQ_DOWN && (layer < 2 || linear > AWQ_O));
    assert_true(awq_model_leaves_all(&model, AWQ_DOWN));
}

static void names_are_those_of_the_checkpoint(void **state)
{
    (void)state;
    static const awq_model model;
    char name[AWQ_NAME_BYTES];
    assert_string_equal(awq_linear_tensor_name(name, &model, 7, AWQ_Q, "weight"),
                        "model.layers.7.self_attn.q_proj.weight");
    assert_string_equal(awq_linear_tensor_name(name, &model, 0, AWQ_DOWN, "qzeros"),
                        "model.layers.0.mlp.down_proj.qzeros");
    assert_string_equal(awq_norm_tensor_name(name, 79, AWQ_POST_NORM),
                        "model.layers.79.post_attention_layernorm.weight");
    assert_string_equal(awq_family_name(AWQ_QWEN3), "qwen3");
    assert_string_equal(awq_norm_name(AWQ_K_NORM), "self_attn.k_norm");
}

/* Llama-2 7B has 6,738,415,616 parameters. */
static void parameters_of_a_known_model(void **state)
{
    (void)state;
    awq_model model =
        read_good("{\"model_type\": \"llama\", \"hidden_size\": 4096, \"intermediate_size\": 11008,"
                  " \"num_hidden_layers\": 32, \"num_attention_heads\": 32,"
                  " \"vocab_size\": 32000}");
    assert_int_equal(awq_model_parameters(&model), 6738415616);
    model.tied = true;
    assert_int_equal(awq_model_parameters(&model), 6738415616 - 32000 * 4096);
    model.bias[AWQ_Q] = true;
    model.qk_norm = true;
    assert_int_equal(awq_model_layer_parameters(&model, 0), 202383360 + 4096 + 2 * 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silent_keys_get_the_defaults_of_transformers),
        cmocka_unit_test(llama_may_have_biases),
        cmocka_unit_test(qwen2_has_biases_on_q_k_v),
        cmocka_unit_test(qwen3_has_norms_and_a_head_dim_of_128),
        cmocka_unit_test(mistral_may_have_a_head_dim_and_a_window),
        cmocka_unit_test(both_spellings_of_rope_are_read),
        cmocka_unit_test(other_ropes_are_refused_by_name),
        cmocka_unit_test(unknown_families_list_the_known_ones),
        cmocka_unit_test(sizes_must_be_there_and_fit),
        cmocka_unit_test(what_is_not_understood_is_refused),
        cmocka_unit_test(all_problems_are_listed_together),
        cmocka_unit_test(awq_gemm_checkpoints_are_described),
        cmocka_unit_test(other_quantizations_are_refused),
        cmocka_unit_test(compressed_tensors_are_described),
        cmocka_unit_test(other_compressed_tensors_are_refused),
        cmocka_unit_test(linears_left_in_full_precision_are_found_by_part_of_their_name),
        cmocka_unit_test(names_are_those_of_the_checkpoint),
        cmocka_unit_test(parameters_of_a_known_model),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
