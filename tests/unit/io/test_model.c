/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "config_of.h"
#include "io/formats/quantization_config.h"
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

/* LLAMA with keys added (from the comma on). */
static const char *with(const char *extra)
{
    static char text[4096];
    snprintf(text, sizeof text, LLAMA "%s}", extra);
    return text;
}

/* All layers of a dense model are alike. */
static const awq_layer_spec *layer_of(const awq_model *model)
{
    assert_int_equal(model->kinds, 1);
    for (int64_t i = 0; i < model->layers; i++)
        assert_ptr_equal(awq_model_layer(model, i), &model->kind[0]);
    assert_int_equal(model->kind[0].linears, DENSE_LINEARS);
    return &model->kind[0];
}

static void expect_biases(const awq_model *model, int first, int last)
{
    for (int i = 0; i < DENSE_LINEARS; i++)
        assert_int_equal(layer_of(model)->linear[i].bias, i >= first && i <= last);
}

static void silent_keys_get_the_defaults_of_transformers(void **state)
{
    (void)state;
    awq_model model = model_of(LLAMA "}");
    const awq_attention_spec *attention = &layer_of(&model)->attention;
    assert_string_equal(model.family, "llama");
    assert_int_equal(attention->kv_heads, 4);
    assert_int_equal(attention->head_dim, 16);
    assert_int_equal(attention->q_rope, 0);
    assert_int_equal(attention->k_rope, 0);
    assert_int_equal(model.rope[0].dim, 16);
    assert_int_equal(model.max_positions, 2048);
    assert_true(model.norm_eps == 1e-6f);
    assert_int_equal(model.rope[0].type, AWQ_ROPE_DEFAULT);
    assert_true(model.rope[0].theta == 10000);
    assert_int_equal(model.dtype, AWQ_BF16);
    assert_false(model.tied || model.quantized || model.final_norm.offset);
    assert_true(attention->q_norm == -1 && attention->k_norm == -1);
    assert_int_equal(attention->window, 0);
    assert_true(attention->scale == 0.25f && attention->softcap == 0);
    assert_true(model.embedding_scale == 1 && model.final_softcap == 0);
    assert_int_equal(layer_of(&model)->mlps.activation, AWQ_SILU);
    for (int i = 0; i < DENSE_LINEARS; i++) assert_false(layer_of(&model)->linear[i].bias);
    awq_model_release(&model);
}

static void llama_may_have_biases(void **state)
{
    (void)state;
    awq_model model = model_of(with(", \"attention_bias\": true, \"mlp_bias\": true"));
    expect_biases(&model, LINEAR_Q, LINEAR_DOWN);
    awq_model_release(&model);
    model = model_of(with(", \"attention_bias\": true"));
    expect_biases(&model, LINEAR_Q, LINEAR_O);
    awq_model_release(&model);
    model = model_of(with(", \"mlp_bias\": true"));
    expect_biases(&model, LINEAR_GATE, LINEAR_DOWN);
    awq_model_release(&model);
}

static void qwen2_has_biases_on_q_k_v(void **state)
{
    (void)state;
    awq_model model = model_of(
        "{\"model_type\": \"qwen2\", \"hidden_size\": 64, \"intermediate_size\": 96,"
        " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100,"
        " \"num_key_value_heads\": 2, \"use_sliding_window\": false, \"sliding_window\": 4096,"
        " \"tie_word_embeddings\": true, \"torch_dtype\": \"float32\"}");
    expect_biases(&model, LINEAR_Q, LINEAR_V);
    assert_true(model.tied);
    assert_int_equal(layer_of(&model)->attention.window, 0);
    assert_int_equal(model.dtype, AWQ_F32);
    awq_model_release(&model);
}

static void qwen3_has_norms_and_a_head_dim_of_128(void **state)
{
    (void)state;
    awq_model model =
        model_of("{\"model_type\": \"qwen3\", \"hidden_size\": 64, \"intermediate_size\": 96,"
                 " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100,"
                 " \"layer_types\": [\"full_attention\", \"full_attention\"]}");
    const awq_layer_spec *layer = layer_of(&model);
    assert_int_equal(layer->attention.q_norm, norm_named(layer, "self_attn.q_norm"));
    assert_int_equal(layer->attention.k_norm, norm_named(layer, "self_attn.k_norm"));
    assert_int_equal(layer->attention.head_dim, 128);
    assert_int_equal(layer->vector[layer->norm[layer->attention.q_norm].weight].width, 128);
    assert_int_equal(layer->linear[LINEAR_O].out, 64);
    assert_int_equal(layer->linear[LINEAR_O].in, 512);
    awq_model_release(&model);
}

static void mistral_may_have_a_head_dim_and_a_window(void **state)
{
    (void)state;
    awq_model model =
        model_of("{\"model_type\": \"mistral\", \"hidden_size\": 60, \"intermediate_size\": 96,"
                 " \"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 100,"
                 " \"head_dim\": 16, \"sliding_window\": 4096, \"attention_bias\": true}");
    assert_int_equal(layer_of(&model)->attention.head_dim, 16);
    assert_int_equal(layer_of(&model)->attention.window, 4096);
    assert_false(layer_of(&model)->linear[LINEAR_Q].bias);
    awq_model_release(&model);
    model = model_of("{\"model_type\": \"mistral\", \"hidden_size\": 64,"
                     " \"intermediate_size\": 96, \"num_hidden_layers\": 3,"
                     " \"num_attention_heads\": 4, \"vocab_size\": 100, \"head_dim\": null,"
                     " \"sliding_window\": null}");
    assert_int_equal(layer_of(&model)->attention.head_dim, 16);
    assert_int_equal(layer_of(&model)->attention.window, 0);
    awq_model_release(&model);
    model = model_of("{\"model_type\": \"mistral\", \"hidden_size\": 64,"
                     " \"intermediate_size\": 96, \"num_hidden_layers\": 3,"
                     " \"num_attention_heads\": 4, \"vocab_size\": 100}");
    assert_int_equal(layer_of(&model)->attention.window, 4096); /* silence is not null */
    awq_model_release(&model);
}

static void unknown_families_are_refused_and_where_the_known_are_listed_is_said(void **state)
{
    (void)state;
    expect_problem("{\"model_type\": \"gpt2\"}",
                   "model_type 'gpt2' is not supported; 'awqrun version --models' lists what is");
    expect_problem("{}", "'model_type' is missing; 'awqrun version --models' lists what is");
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
    expect_problem(with(", \"layer_types\": \"full_attention\""), "layer_types is not a list");
    expect_problem(with(", \"hidden_act\": 3"), "key 'hidden_act' is a");
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
    awq_model model = model_of(with(AWQ_KEYS ", \"group_size\": 32, \"zero_point\": true,"
                                             " \"version\": \"GEMM\","
                                             " \"modules_to_not_convert\": [\"lm_head\"]}"));
    assert_true(model.quantized);
    assert_int_equal(model.quantization.bits, 4);
    assert_int_equal(model.quantization.group_size, 32);
    awq_model_release(&model);
    model = model_of(with(AWQ_KEYS ", \"group_size\": -1, \"modules_to_not_convert\": null}"));
    assert_int_equal(model.quantization.group_size, -1);
    awq_model_release(&model);
    model = model_of(with(", \"quantization_config\": null"));
    assert_false(model.quantized);
    awq_model_release(&model);
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
    awq_model model = model_of(with(
        PACKED_KEYS ", \"strategy\": \"group\", \"group_size\": 32, \"symmetric\": false}}}}"));
    assert_int_equal(model.quantization.format, AWQ_FORMAT_COMPRESSED);
    assert_int_equal(model.quantization.bits, 3);
    assert_int_equal(model.quantization.group_size, 32);
    assert_false(model.quantization.symmetric);
    assert_true(awq_model_keeps(&model, 1, LINEAR_UP));
    assert_false(awq_model_keeps(&model, 1, LINEAR_GATE) || awq_model_keeps(&model, 0, LINEAR_UP));
    assert_false(awq_model_keeps_all(&model, 0, LINEAR_UP));
    awq_model_release(&model);
    model = model_of(with(PACKED_KEYS ", \"strategy\": \"channel\"}}}}"));
    assert_int_equal(model.quantization.group_size, -1);
    assert_true(model.quantization.symmetric); /* the library's default */
    awq_model_release(&model);
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
                        " \"format\": \"int-quantized\", \"config_groups\": {\"g\": {\"targets\":"
                        " [\"Linear\"], \"weights\": {\"strategy\": \"channel\"}}}}"),
                   "format 'int-quantized'");
    expect_problem(with(", \"quantization_config\": {\"quant_method\": \"compressed-tensors\","
                        " \"format\": \"pack-quantized\", \"ignore\": [\"re:.*mlp(\"],"
                        " \"config_groups\": {\"g\": {\"targets\":"
                        " [\"Linear\"], \"weights\": {\"strategy\": \"channel\"}}}}"),
                   "ignore's regular expression '.*mlp('");
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

/* As compressed-tensors matches them: names of modules whole, expressions from the beginning. */
static void ignored_modules_are_found_by_name_and_by_expression(void **state)
{
    (void)state;
    awq_model model =
        model_of(with(", \"quantization_config\": {\"quant_method\": \"compressed-tensors\","
                      " \"format\": \"pack-quantized\", \"ignore\": [\"model.layers.0.self_attn\","
                      " \"model.layers.1.mlp.up\", \"re:.*layers\\\\.1\\\\..*down\","
                      " \"re:layers.0.mlp.*\"], \"config_groups\": {\"g\": {\"targets\":"
                      " [\"Linear\"], \"weights\": {\"strategy\": \"channel\"}}}}"));
    assert_true(awq_model_keeps(&model, 0, LINEAR_Q) && awq_model_keeps(&model, 0, LINEAR_O));
    assert_true(awq_model_keeps(&model, 1, LINEAR_DOWN));
    assert_false(awq_model_keeps(&model, 1, LINEAR_Q) || awq_model_keeps(&model, 1, LINEAR_UP));
    assert_false(awq_model_keeps(&model, 0, LINEAR_UP) || awq_model_keeps(&model, 0, LINEAR_DOWN));
    awq_model_release(&model);
}

/* Such a model stands for a full-precision one. */
static void small_floats_are_no_quantization(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        int64_t rows, cols;
    } cases[] = {
        {"\"quant_method\": \"fp8\", \"weight_block_size\": [128, 64]", 128, 64},
        {"\"quant_method\": \"fp8\", \"weight_block_size\": null", 0, 0},
        {"\"quant_method\": \"fbgemm_fp8\", \"modules_to_not_convert\": [\"lm_head\"]", 0, 0},
        {"\"quant_method\": \"mxfp4\"", 0, 0},
        {"\"quant_method\": \"compressed-tensors\", \"format\": \"float-quantized\","
         " \"config_groups\": {\"g\": {\"weights\": {\"type\": \"float\", \"num_bits\": 8,"
         " \"strategy\": \"block\", \"block_structure\": [32, 96]}}}",
         32, 96},
        {"\"quant_method\": \"compressed-tensors\", \"format\": \"mxfp4-pack-quantized\","
         " \"config_groups\": {\"g\": {\"weights\": {\"type\": \"float\", \"num_bits\": 4}}}",
         0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char keys[600];
        snprintf(keys, sizeof keys, ", \"quantization_config\": {%s}", cases[i].config);
        awq_model model = model_of(with(keys));
        assert_false(model.quantized);
        assert_false(awq_model_keeps(&model, 0, LINEAR_Q));
        assert_int_equal(model.block[0], cases[i].rows);
        assert_int_equal(model.block[1], cases[i].cols);
        awq_model_release(&model);
    }
}

static void linears_kept_in_full_precision_are_found_by_part_of_their_name(void **state)
{
    (void)state;
    awq_model model =
        model_of(with(AWQ_KEYS ", \"group_size\": 32, \"version\": \"GEMV_FAST\","
                               " \"modules_to_not_convert\": [\"layers.2.self_attn\", \"down\"]}"));
    assert_int_equal(model.quantization.format, AWQ_FORMAT_GEMV_FAST);
    for (int64_t layer = 0; layer < 3; layer++)
        for (int linear = 0; linear < layer_of(&model)->linears; linear++)
            assert_int_equal(awq_model_packs(&model, layer, linear),
                             linear != LINEAR_DOWN && (layer < 2 || linear > LINEAR_O));
    assert_true(awq_model_keeps_all(&model, 0, LINEAR_DOWN));
    awq_model_release(&model);
}

static void names_are_those_of_the_checkpoint(void **state)
{
    (void)state;
    char name[AWQ_NAME_BYTES];
    awq_model model =
        model_of("{\"model_type\": \"qwen3\", \"hidden_size\": 64, \"intermediate_size\": 96,"
                 " \"num_hidden_layers\": 80, \"num_attention_heads\": 4, \"vocab_size\": 100}");
    assert_string_equal(awq_linear_tensor_name(name, &model, 7, LINEAR_Q, "weight"),
                        "model.layers.7.self_attn.q_proj.weight");
    assert_string_equal(awq_linear_tensor_name(name, &model, 0, LINEAR_DOWN, "qzeros"),
                        "model.layers.0.mlp.down_proj.qzeros");
    assert_string_equal(awq_linear_full_name(name, &model, 7, LINEAR_Q),
                        "model.layers.7.self_attn.q_proj");
    assert_string_equal(awq_vector_tensor_name(name, &model, 79, NORM_POST, 0),
                        "model.layers.79.post_attention_layernorm.weight");
    assert_string_equal(awq_vector_tensor_name(name, &model, 79, NORM_K, 0),
                        "model.layers.79.self_attn.k_norm.weight");
    assert_string_equal(model.family, "qwen3");
    awq_model_release(&model);
}

/* Llama-2 7B has 6,738,415,616 parameters. */
static void parameters_of_a_known_model(void **state)
{
    (void)state;
    awq_model model =
        model_of("{\"model_type\": \"llama\", \"hidden_size\": 4096, \"intermediate_size\": 11008,"
                 " \"num_hidden_layers\": 32, \"num_attention_heads\": 32,"
                 " \"vocab_size\": 32000}");
    assert_int_equal(awq_model_parameters(&model), 6738415616);
    model.tied = true;
    assert_int_equal(awq_model_parameters(&model), 6738415616 - 32000 * 4096);
    assert_int_equal(awq_layer_parameters(layer_of(&model)), 202383360);
    awq_model_release(&model);
    model =
        model_of("{\"model_type\": \"qwen3\", \"hidden_size\": 4096, \"intermediate_size\": 11008,"
                 " \"num_hidden_layers\": 32, \"num_attention_heads\": 32,"
                 " \"vocab_size\": 32000, \"attention_bias\": true}");
    assert_int_equal(awq_layer_parameters(layer_of(&model)), 202383360 + 4 * 4096 + 2 * 128);
    awq_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silent_keys_get_the_defaults_of_transformers),
        cmocka_unit_test(llama_may_have_biases),
        cmocka_unit_test(qwen2_has_biases_on_q_k_v),
        cmocka_unit_test(qwen3_has_norms_and_a_head_dim_of_128),
        cmocka_unit_test(mistral_may_have_a_head_dim_and_a_window),
        cmocka_unit_test(unknown_families_are_refused_and_where_the_known_are_listed_is_said),
        cmocka_unit_test(sizes_must_be_there_and_fit),
        cmocka_unit_test(what_is_not_understood_is_refused),
        cmocka_unit_test(all_problems_are_listed_together),
        cmocka_unit_test(awq_gemm_checkpoints_are_described),
        cmocka_unit_test(other_quantizations_are_refused),
        cmocka_unit_test(compressed_tensors_are_described),
        cmocka_unit_test(other_compressed_tensors_are_refused),
        cmocka_unit_test(ignored_modules_are_found_by_name_and_by_expression),
        cmocka_unit_test(small_floats_are_no_quantization),
        cmocka_unit_test(linears_kept_in_full_precision_are_found_by_part_of_their_name),
        cmocka_unit_test(names_are_those_of_the_checkpoint),
        cmocka_unit_test(parameters_of_a_known_model),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
