/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "io/core/dtype.h"
#include "scratch.h"

/* The value of a half by its definition, in double. */
static double half_value(uint32_t half)
{
    int exponent = (int)(half >> 10 & 0x1f);
    double mantissa = half & 0x3ff;
    double value = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return half & 0x8000 ? -value : value;
}

static bool is_half_nan(uint32_t half)
{
    return (half & 0x7c00) == 0x7c00 && (half & 0x3ff);
}

static void every_half_widens_to_its_value(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 65536; half++) {
        float value = awq_float_from_f16((uint16_t)half);
        if (is_half_nan(half))
            assert_true(isnan(value));
        else if ((half & 0x7c00) == 0x7c00)
            assert_true(isinf(value) && (value < 0) == (half >> 15 != 0));
        else
            assert_true((double)value == half_value(half));
    }
}

static void every_half_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 65536; half++) {
        uint16_t back = awq_f16_from_float(awq_float_from_f16((uint16_t)half));
        if (is_half_nan(half))
            assert_true(is_half_nan(back) && (back & 0x8000u) == (half & 0x8000u));
        else
            assert_int_equal(back, half);
    }
}

static void every_bfloat_survives_a_round_trip(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint16_t back = awq_bf16_from_float(awq_float_from_bf16((uint16_t)bits));
        bool nan = (bits & 0x7f80) == 0x7f80 && (bits & 0x7f);
        if (nan)
            assert_true((back & 0x7f80) == 0x7f80 && (back & 0x7f));
        else
            assert_int_equal(back, bits);
    }
}

/* Between neighbours the nearer wins, and the even one on a tie. */
static void narrowing_to_half_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x7bff; half++) {
        float low = awq_float_from_f16((uint16_t)half);
        float high = awq_float_from_f16((uint16_t)(half + 1));
        float middle = low + (high - low) / 2; /* exact */
        uint32_t even = half & 1 ? half + 1 : half;
        assert_int_equal(awq_f16_from_float(middle), even);
        assert_int_equal(awq_f16_from_float(nextafterf(middle, 0)), half);
        assert_int_equal(awq_f16_from_float(nextafterf(middle, INFINITY)), half + 1);
        assert_int_equal(awq_f16_from_float(-middle), even | 0x8000);
    }
    assert_int_equal(awq_f16_from_float(65504), 0x7bff);
    assert_int_equal(awq_f16_from_float(nextafterf(65520, 0)), 0x7bff);
    assert_int_equal(awq_f16_from_float(65520), 0x7c00);
    assert_int_equal(awq_f16_from_float(-INFINITY), 0xfc00);
    assert_int_equal(awq_f16_from_float(0x1p-26f), 0);
}

static void narrowing_to_bfloat_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7f7f; bits++) {
        uint32_t middle = bits << 16 | 0x8000;
        uint32_t even = bits & 1 ? bits + 1 : bits;
        assert_int_equal(awq_bf16_from_float(awq_float_from_bits(middle)), even);
        assert_int_equal(awq_bf16_from_float(awq_float_from_bits(middle - 1)), bits);
        assert_int_equal(awq_bf16_from_float(awq_float_from_bits(middle + 1)), bits + 1);
    }
    assert_int_equal(awq_bf16_from_float(3.4028234e38f), 0x7f80);
}

static void arrays_convert_unaligned(void **state)
{
    (void)state;
    static const awq_dtype dtypes[] = {AWQ_F32, AWQ_F16, AWQ_BF16};
    const float values[] = {0, 1, -2.5f, 1024, 0.125f};
    for (size_t d = 0; d < 3; d++) {
        unsigned char bytes[64];
        float back[5];
        awq_narrow(bytes + 1, values, dtypes[d], 5);
        awq_widen(back, bytes + 1, dtypes[d], 5);
        assert_memory_equal(back, values, sizeof values);
    }
}

static void names_and_sizes_agree(void **state)
{
    (void)state;
    awq_dtype dtype;
#define AWQ_CHECK(name, text, bytes)                                                               \
    assert_true(awq_dtype_parse(text, &dtype));                                                    \
    assert_int_equal(dtype, name);                                                                 \
    assert_string_equal(awq_dtype_name(name), text);                                               \
    assert_int_equal(awq_dtype_bytes(name), bytes);
    AWQ_DTYPE_LIST(AWQ_CHECK)
#undef AWQ_CHECK
    assert_false(awq_dtype_parse("bf16", &dtype));
    assert_true(awq_dtype_is_weight(AWQ_BF16));
    assert_false(awq_dtype_is_weight(AWQ_I32));
    assert_int_equal(awq_dtype_bytes((awq_dtype)99), 0);
    assert_string_equal(awq_dtype_name((awq_dtype)99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_widens_to_its_value),
        cmocka_unit_test(every_half_survives_a_round_trip),
        cmocka_unit_test(every_bfloat_survives_a_round_trip),
        cmocka_unit_test(narrowing_to_half_rounds_to_nearest_even),
        cmocka_unit_test(narrowing_to_bfloat_rounds_to_nearest_even),
        cmocka_unit_test(arrays_convert_unaligned),
        cmocka_unit_test(names_and_sizes_agree),
    };
    return cmocka_run_group_tests_name("dtype", tests, NULL, NULL);
}
