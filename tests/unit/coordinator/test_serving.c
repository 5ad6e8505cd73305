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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_values_take_what_they_take),
        cmocka_unit_test(the_fewest_gpus_that_hold_it_are_found),
        cmocka_unit_test(what_does_not_divide_is_not_split),
    };
    return cmocka_run_group_tests_name("coordinator/serving", tests, NULL, NULL);
}
