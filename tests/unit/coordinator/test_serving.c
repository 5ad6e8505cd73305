/* SPDX-License-Identifier: MIT
 * Llama-3.1-70B's shapes; the bytes are worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "coordinator/serving.h"

static awq_model llama_70b(void)
{
    return (awq_model){.layers = 80,
                       .hidden = 8192,
                       .intermediate = 28672,
                       .heads = 64,
                       .kv_heads = 8,
                       .head_dim = 128,
                       .vocab = 128256,
                       .max_positions = 131072};
}

static const uint64_t weights = 39800000000;

static void keys_and_values_take_what_they_take(void **state)
{
    (void)state;
    awq_model model = llama_70b();
    awq_serving serving = awq_serving_make(&model, weights, 128, 0, 1);
    assert_int_equal(serving.context, 8192);
    assert_int_equal(serving.cache_bytes, 2684354560); /* 2 x 80 x 8 x 128 x 2 bytes a token */
    serving = awq_serving_make(&model, weights, 128, 1 << 20, 2);
    assert_int_equal(serving.context, 131072);
    assert_int_equal(serving.cache_bytes, 2684354560 * 32);
}

static void the_fewest_gpus_that_hold_it_are_found(void **state)
{
    (void)state;
    awq_model model = llama_70b();
    awq_serving serving = awq_serving_make(&model, weights, 128, 0, 1);
    assert_int_equal(awq_serving_gpus(&serving, 80e9), 1);
    assert_int_equal(awq_serving_gpus(&serving, 48e9), 2); /* one has room for 41.7 of 42.5 GB */
    assert_int_equal(awq_serving_gpus(&serving, 24e9), 4); /* two: 40.2 GB */
    assert_int_equal(awq_serving_gpus(&serving, 4e9), 0);
}

static void what_does_not_divide_is_not_split(void **state)
{
    (void)state;
    awq_model model = llama_70b();
    awq_serving serving = awq_serving_make(&model, weights, -1, 0, 1); /* one group a row */
    assert_int_equal(awq_serving_gpus(&serving, 80e9), 1);
    assert_int_equal(awq_serving_gpus(&serving, 48e9), 0);
    model.intermediate = 29568; /* Qwen2.5-72B: 231 groups of 128 */
    serving = awq_serving_make(&model, weights, 128, 0, 1);
    assert_int_equal(awq_serving_gpus(&serving, 48e9), 0);
    serving = awq_serving_make(&model, weights, 64, 0, 1); /* 462 groups */
    assert_int_equal(awq_serving_gpus(&serving, 48e9), 2);
    model.kv_heads = 1; /* repeated on each GPU */
    serving = awq_serving_make(&model, weights, 64, 131072, 8);
    assert_int_equal(serving.cache_bytes, 8ULL * 131072 * 2 * 80 * 128 * 2);
    assert_int_equal(awq_serving_gpus(&serving, 80e9), 2);
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
