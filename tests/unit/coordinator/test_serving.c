/* SPDX-License-Identifier: MIT
 * Llama-3.1-70B's shapes; the bytes are worked out by hand. */
#include <stdio.h>

#include "coordinator/estimate/serving.h"
#include "tests/unit/io/model_of.h"
#include "tests/unit/io/scratch.h"

/* Its shapes but for what is given. */
static awq_model model_like_70b(int intermediate, int kv_heads)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"model_type\": \"llama\", \"num_hidden_layers\": 80, \"hidden_size\": 8192,"
             " \"num_attention_heads\": 64, \"head_dim\": 128, \"vocab_size\": 128256,"
             " \"max_position_embeddings\": 131072, \"intermediate_size\": %d,"
             " \"num_key_value_heads\": %d}",
             intermediate, kv_heads);
    return model_of(text);
}

static awq_model llama_70b(void)
{
    return model_like_70b(28672, 8);
}

static const uint64_t weights = 39800000000;

static awq_serving serve(const awq_model *model, int64_t group_size, int64_t context, int64_t batch)
{
    awq_quantization how = {.format = AWQ_FORMAT_GEMM, .bits = 4, .group_size = group_size};
    return awq_serving_make(model, weights, &how, context, batch);
}

static void keys_and_values_take_what_they_take(void **state)
{
    (void)state;
    awq_model model = llama_70b();
    awq_serving serving = serve(&model, 128, 0, 1);
    assert_int_equal(serving.context, 8192);
    assert_int_equal(serving.cache_bytes, 2684354560); /* 2 x 80 x 8 x 128 x 2 bytes a token */
    serving = serve(&model, 128, 1 << 20, 2);
    assert_int_equal(serving.context, 131072);
    assert_int_equal(serving.cache_bytes, 2684354560 * 32);
    awq_model_release(&model);
}

static void the_fewest_gpus_that_hold_it_are_found(void **state)
{
    (void)state;
    awq_model model = llama_70b();
    awq_serving serving = serve(&model, 128, 0, 1);
    assert_int_equal(awq_serving_gpus(&serving, 80e9), 1);
    assert_int_equal(awq_serving_gpus(&serving, 48e9), 2); /* one has room for 41.7 of 42.5 GB */
    assert_int_equal(awq_serving_gpus(&serving, 24e9), 4); /* two: 40.2 GB */
    assert_int_equal(awq_serving_gpus(&serving, 4e9), 0);
    awq_model_release(&model);
}

static void what_does_not_divide_is_not_split(void **state)
{
    (void)state;
    awq_model model = llama_70b();
    awq_serving serving = serve(&model, -1, 0, 1); /* one group a row */
    assert_int_equal(awq_serving_gpus(&serving, 80e9), 1);
    assert_int_equal(awq_serving_gpus(&serving, 48e9), 0);
    awq_model_release(&model);
    model = model_like_70b(29568, 8); /* Qwen2.5-72B: 231 groups of 128 */
    serving = serve(&model, 128, 0, 1);
    assert_int_equal(awq_serving_gpus(&serving, 48e9), 0);
    serving = serve(&model, 64, 0, 1); /* 462 groups */
    assert_int_equal(awq_serving_gpus(&serving, 48e9), 2);
    awq_model_release(&model);
    model = model_like_70b(29568, 1); /* repeated on each GPU */
    serving = serve(&model, 64, 131072, 8);
    assert_int_equal(serving.cache_bytes, 8ULL * 131072 * 2 * 80 * 128 * 2);
    assert_int_equal(awq_serving_gpus(&serving, 80e9), 2);
    awq_model_release(&model);
}

/* "Insights into DeepSeek-V3" (arXiv 2505.09343), table 1: 70.272 kB a token; on each GPU, since
 * what is kept belongs to all heads. */
static void latent_vectors_are_kept_once_on_each_gpu(void **state)
{
    (void)state;
    awq_model model = model_of(
        "{\"model_type\": \"deepseek_v3\", \"num_hidden_layers\": 61, \"hidden_size\": 7168,"
        " \"intermediate_size\": 18432, \"num_attention_heads\": 128, \"vocab_size\": 129280,"
        " \"num_key_value_heads\": 128, \"n_routed_experts\": 8, \"n_group\": 1,"
        " \"topk_group\": 1, \"n_shared_experts\": 1, \"num_experts_per_tok\": 8,"
        " \"moe_intermediate_size\": 2048, \"max_position_embeddings\": 163840}");
    awq_serving serving = serve(&model, 128, 1000, 1);
    assert_int_equal(serving.cache_bytes, 70272000);
    /* GPUs of 60 GB have room for 52.5 GB. 39.8 GB of weights and 11.2 GB fit one; 22.5 GB more do
     * not, nor fit two, of which each has all of it */
    serving = serve(&model, 128, 160000, 1);
    assert_int_equal(awq_serving_gpus(&serving, 60e9), 1);
    serving = serve(&model, 128, 160000, 3);
    assert_int_equal(awq_serving_gpus(&serving, 60e9), 4);
    awq_model_release(&model);
}

#define QWEN3_NEXT                                                                                 \
    "{\"model_type\": \"qwen3_next\", \"num_hidden_layers\": 48, \"hidden_size\": 2048,"           \
    " \"intermediate_size\": 5120, \"num_attention_heads\": 16, \"num_key_value_heads\": 2,"       \
    " \"vocab_size\": 151936, \"num_experts\": 8, \"num_experts_per_tok\": 8,"                     \
    " \"moe_intermediate_size\": 512, \"shared_expert_intermediate_size\": 512,"                   \
    " \"max_position_embeddings\": 262144}"

/* 36 of 48 layers keep 32 x 128 x 128 float32, and of 8192 channels three tokens in 16 bits (vLLM's
 * MambaStateShapeCalculator), however long the sequence is; 12 keep 2 x 2 x 256 elements a token.
 */
static void a_delta_net_keeps_as_much_of_any_sequence(void **state)
{
    (void)state;
    const uint64_t states = 36 * (32 * 128 * 128 * 4 + 8192 * 3 * 2), token = 12 * 2 * 2 * 256 * 2;
    awq_model model = model_of(QWEN3_NEXT);
    awq_serving serving = serve(&model, 128, 1, 1);
    assert_int_equal(serving.cache_bytes, states + token);
    serving = serve(&model, 128, 262144, 4);
    assert_int_equal(serving.cache_bytes, 4 * (states + 262144 * token));
    awq_model_release(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_values_take_what_they_take),
        cmocka_unit_test(the_fewest_gpus_that_hold_it_are_found),
        cmocka_unit_test(what_does_not_divide_is_not_split),
        cmocka_unit_test(latent_vectors_are_kept_once_on_each_gpu),
        cmocka_unit_test(a_delta_net_keeps_as_much_of_any_sequence),
    };
    return cmocka_run_group_tests_name("coordinator/serving", tests, NULL, NULL);
}
