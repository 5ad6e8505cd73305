/* SPDX-License-Identifier: MIT
 * Which tensor-parallel sizes load, worked out by hand from the engines' sources (docs/formats.md),
 * for the widths of published models. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/estimate/engines.h"
#include "tests/unit/io/model_of.h"
#include "tests/unit/io/scratch.h"

/* Qwen3-235B's shapes but for the width of an expert. */
static awq_model mixture_of(int width)
{
    char text[512];
    snprintf(
        text, sizeof text,
        "{\"model_type\": \"qwen3_moe\", \"num_hidden_layers\": 2, \"hidden_size\": 4096,"
        " \"num_attention_heads\": 64, \"num_key_value_heads\": 4, \"head_dim\": 128,"
        " \"vocab_size\": 1024, \"max_position_embeddings\": 1024, \"intermediate_size\": 8192,"
        " \"num_experts\": 4, \"num_experts_per_tok\": 2, \"moe_intermediate_size\": %d}",
        width);
    return model_of(text);
}

static awq_model dense_of(int width, int heads)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"model_type\": \"llama\", \"num_hidden_layers\": 2, \"hidden_size\": 8192,"
             " \"num_attention_heads\": %d, \"num_key_value_heads\": 8, \"head_dim\": 128,"
             " \"vocab_size\": 1024, \"max_position_embeddings\": 1024, \"intermediate_size\": %d}",
             heads, width);
    return model_of(text);
}

static awq_quantization by(awq_format format, int64_t group_size)
{
    return (awq_quantization){.format = format, .bits = 4, .group_size = group_size};
}

static const awq_format gemm = AWQ_FORMAT_GEMM, compressed = AWQ_FORMAT_COMPRESSED;

/* The whole sentence. */
static void says(const awq_model *model, awq_quantization how, const char *expected)
{
    char *text;
    size_t bytes;
    FILE *file = open_memstream(&text, &bytes);
    awq_engines_print(file, model, &how);
    fclose(file);
    assert_string_equal(text, expected);
    free(text);
}

static void experts_of_1536_load_on_8_gpus_as_awq_or_with_groups_of_64(void **state)
{
    (void)state;
    awq_model model = mixture_of(1536); /* shares: 768, 384, 192, 96 */
    says(&model, by(gemm, 128),
         "gemm at tensor parallel 1, 2, 4, 8 in vLLM, 1, 2, 4, 8, 16 in SGLang\n");
    says(&model, by(compressed, 128),
         "compressed-tensors at tensor parallel 1, 2, 4 in vLLM and SGLang; --group-size 64: "
         "1, 2, 4, 8 in vLLM and SGLang\n");
    says(&model, by(gemm, 64), "gemm at tensor parallel 1, 2, 4, 8, 16 in vLLM and SGLang\n");
    says(&model, by(compressed, 64),
         "compressed-tensors at tensor parallel 1, 2, 4, 8 in vLLM and SGLang\n");
    awq_model_release(&model);
}

static void experts_of_640_need_smaller_groups(void **state)
{
    (void)state;
    awq_model model = mixture_of(640); /* shares: 320, 160, 80, 40 */
    says(&model, by(gemm, 128), "gemm at tensor parallel 1, 2, 4 in vLLM and SGLang\n");
    says(&model, by(compressed, 128),
         "compressed-tensors at tensor parallel 1 in vLLM and SGLang; --group-size 32: "
         "1, 2, 4 in vLLM, 1, 2 in SGLang\n");
    says(&model, by(compressed, 64),
         "compressed-tensors at tensor parallel 1, 2 in vLLM and SGLang; --group-size 32: "
         "1, 2, 4 in vLLM, 1, 2 in SGLang\n");
    says(&model, by(compressed, 32),
         "compressed-tensors at tensor parallel 1, 2, 4 in vLLM, 1, 2 in SGLang\n");
    awq_model_release(&model);
}

static void a_dense_width_must_be_split_into_whole_groups_in_both_formats(void **state)
{
    (void)state;
    awq_model model = dense_of(29568, 64); /* Qwen2.5-72B: 231 x 128 */
    awq_quantization how = by(gemm, 128);
    says(&model, how,
         "gemm at tensor parallel 1 in vLLM and SGLang; --group-size 32: 1, "
         "2, 4 in vLLM and "
         "SGLang\n");
    says(&model, by(compressed, 64),
         "compressed-tensors at tensor parallel 1, 2 in vLLM and SGLang; --group-size 32: "
         "1, 2, 4 in vLLM, 1, 2 in SGLang\n");
    int down = linear_named(&model.kind[0], "down_proj");
    for (int64_t layer = 0; layer < model.layers; layer++) awq_model_keep(&model, layer, down);
    says(&model, how, "gemm at tensor parallel 1, 2, 4, 8, 16 in vLLM and SGLang\n");
    awq_model_release(&model);
}

static void heads_are_whole(void **state)
{
    (void)state;
    awq_model model = dense_of(28672, 40);
    says(&model, by(gemm, 128), "gemm at tensor parallel 1, 2, 4, 8 in vLLM and SGLang\n");
    awq_model_release(&model);
}

static void a_group_a_row_is_split_by_compressed_tensors_only(void **state)
{
    (void)state;
    awq_model model = dense_of(28672, 64);
    says(&model, by(compressed, -1),
         "compressed-tensors at tensor parallel 1, 2, 4, 8, 16 in vLLM and SGLang\n");
    says(&model, by(gemm, -1),
         "gemm at tensor parallel 1 in vLLM and SGLang; --group-size 128: "
         "1, 2, 4, 8, 16 in "
         "vLLM and SGLang\n");
    awq_model_release(&model);
}

static void other_layouts_and_3_bits_are_not_loaded(void **state)
{
    (void)state;
    awq_model model = dense_of(28672, 64);
    awq_quantization how = by(compressed, 128);
    how.bits = 3;
    says(&model, how, "compressed-tensors in neither vLLM nor SGLang\n");
    says(&model, by(AWQ_FORMAT_GEMV, 128), "gemv in neither vLLM nor SGLang\n");
    awq_model_release(&model);
}

/* DeepSeek-V3's widths, but for heads: each GPU has its own, and none is repeated. */
static void heads_of_latent_attention_are_shared_out_and_not_repeated(void **state)
{
    (void)state;
    static const struct {
        int heads;
        const char *sizes;
    } cases[] = {{128, "1, 2, 4, 8, 16"}, {20, "1, 2, 4"}}; /* V3's; GLM-4.7-Flash's */
    for (int i = 0; i < 2; i++) {
        char text[600], expected[100];
        snprintf(text, sizeof text,
                 "{\"model_type\": \"deepseek_v3\", \"num_hidden_layers\": 4,"
                 " \"hidden_size\": 7168, \"intermediate_size\": 18432, \"vocab_size\": 1024,"
                 " \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"n_group\": 1,"
                 " \"topk_group\": 1, \"n_routed_experts\": 4, \"n_shared_experts\": 1,"
                 " \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 2048}",
                 cases[i].heads, cases[i].heads);
        awq_model model = model_of(text);
        snprintf(expected, sizeof expected, "gemm at tensor parallel %s in vLLM and SGLang\n",
                 cases[i].sizes);
        says(&model, by(gemm, 128), expected);
        awq_model_release(&model);
    }
}

/* Qwen3.5-397B's layers: 16 heads of keys to share out, 2 of full attention to repeat; experts of
 * 1024: shares of 512, 256, 128, 64. */
static void a_delta_nets_heads_of_keys_are_shared_out(void **state)
{
    (void)state;
    static const char shape[] =
        "{\"model_type\": \"qwen3_5_moe_text\", \"num_hidden_layers\": 4, \"hidden_size\": 4096,"
        " \"num_attention_heads\": 32, \"num_key_value_heads\": 2, \"vocab_size\": 1024,"
        " \"linear_num_value_heads\": 64, \"linear_num_key_heads\": %d, \"num_experts\": 4,"
        " \"num_experts_per_tok\": 2, \"moe_intermediate_size\": 1024,"
        " \"shared_expert_intermediate_size\": 1024}";
    char text[600];
    snprintf(text, sizeof text, shape, 16);
    awq_model model = model_of(text);
    says(&model, by(compressed, 128),
         "compressed-tensors at tensor parallel 1, 2, 4, 8 in vLLM and SGLang\n");
    awq_model_release(&model);
    snprintf(text, sizeof text, shape, 4);
    model = model_of(text);
    says(&model, by(compressed, 128),
         "compressed-tensors at tensor parallel 1, 2, 4 in vLLM and SGLang\n");
    awq_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(experts_of_1536_load_on_8_gpus_as_awq_or_with_groups_of_64),
        cmocka_unit_test(experts_of_640_need_smaller_groups),
        cmocka_unit_test(a_dense_width_must_be_split_into_whole_groups_in_both_formats),
        cmocka_unit_test(heads_are_whole),
        cmocka_unit_test(a_group_a_row_is_split_by_compressed_tensors_only),
        cmocka_unit_test(other_layouts_and_3_bits_are_not_loaded),
        cmocka_unit_test(heads_of_latent_attention_are_shared_out_and_not_repeated),
        cmocka_unit_test(a_delta_nets_heads_of_keys_are_shared_out),
    };
    return cmocka_run_group_tests_name("coordinator/engines", tests, NULL, NULL);
}
