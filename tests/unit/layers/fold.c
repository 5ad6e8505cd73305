/* SPDX-License-Identifier: MIT
 * tests/unit/layers/fold.c - folding that loses nothing, in layers of many shapes. */
#include <math.h>
#include <string.h>

#include "tests/unit/layers/check.h"
#include "tests/unit/layers/synthetic.h"

static synthetic s;

static int close_layer(void **state)
{
    (void)state;
    synthetic_close(&s);
    return 0;
}

/* A norm's weight is as it can be stored, and what it multiplies by times its group's scales is
 * what it multiplied by. */
static void check_norm(const awq_quantized_layer *layer, int norm, const float *original)
{
    const awq_vector_spec *spec = &s.spec->vector[norm];
    for (int64_t i = 0; i < s.model.hidden; i++) {
        float folded = layer->vector[norm][i], back;
        unsigned char stored[sizeof(float)];
        awq_narrow(stored, &folded, s.model.dtype, 1);
        awq_widen(&back, stored, s.model.dtype, 1);
        assert_true(back == folded);
        if (spec->offset) folded = 1 + folded;
        double product = (double)folded * (double)layer->record.group[spec->absorbs].scales[i];
        assert_true(fabs(product - (double)original[i]) <= 0x1p-23 * fabs((double)original[i]));
    }
}

/* Quantizes a layer of this shape: the folded layer is the layer, its norms are exact. */
static void check_folding(synthetic_shape shape)
{
    awq_error err;
    awq_quantized_layer layer;
    float original[AWQ_MAX_VECTORS][64];
    synthetic_open(&s, shape);
    for (int norm = 0; norm < s.spec->vectors; norm++)
        memcpy(original[norm], s.decoder.vector[norm],
               (size_t)s.spec->vector[norm].width * sizeof(float));
    must(synthetic_quantize(&s, &layer, &err));
    assert_true(layer.record.fold_error > 0 && layer.record.fold_error < 2e-6);
    int folded = 0;
    for (int norm = 0; norm < s.spec->vectors; norm++) {
        bool absorbs = s.spec->vector[norm].absorbs >= 0; /* those of heads and of outputs do not */
        assert_true((layer.vector[norm] != NULL) == absorbs);
        if (absorbs) check_norm(&layer, norm, original[norm]);
        folded += absorbs;
    }
    assert_int_equal(folded, 2);
    for (int linear = 0; linear < s.spec->linears; linear++)
        assert_true((layer.linear[linear].bias != NULL) == s.spec->linear[linear].bias);
    awq_quantized_layer_release(&layer);
}

static void folding_loses_nothing_in_a_llama(void **state)
{
    (void)state;
    check_folding((synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
}

static void folding_loses_nothing_without_grouped_queries(void **state)
{
    (void)state;
    check_folding((synthetic_shape){.dtype = AWQ_F16});
}

static void folding_loses_nothing_with_biases(void **state)
{
    (void)state;
    check_folding((synthetic_shape){.kv_heads = 2, .qkv_bias = true, .dtype = AWQ_BF16});
}

static void folding_loses_nothing_with_all_biases(void **state)
{
    (void)state;
    check_folding((synthetic_shape){.kv_heads = 1, .all_bias = true, .dtype = AWQ_F32});
}

static void folding_loses_nothing_with_head_norms(void **state)
{
    (void)state;
    check_folding((synthetic_shape){.kv_heads = 2, .qk_norm = true, .dtype = AWQ_BF16});
}

static void folding_loses_nothing_in_fused_linears(void **state)
{
    (void)state;
    check_folding((synthetic_shape){.kv_heads = 2, .fused = true, .dtype = AWQ_BF16});
    synthetic_close(&s);
    check_folding(
        (synthetic_shape){.kv_heads = 2, .fused = true, .all_bias = true, .dtype = AWQ_F16});
}

static void folding_loses_nothing_between_norms_that_add_one(void **state)
{
    (void)state;
    check_folding((synthetic_shape){.kv_heads = 2, .out_norms = true, .dtype = AWQ_BF16});
    synthetic_close(&s);
    check_folding((synthetic_shape){.kv_heads = 1, .out_norms = true, .dtype = AWQ_F32});
}

static void a_dead_norm_channel_keeps_scale_one(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
    s.decoder.vector[NORM_INPUT][7] = 0;
    synthetic_measure(&s);
    must(synthetic_quantize(&s, &layer, &err));
    assert_true(layer.vector[NORM_INPUT][7] == 0);
    assert_true(layer.record.group[GROUP_QKV].scales[7] == 1);
    awq_quantized_layer_release(&layer);
}

int main(void)
{
#define LAYER_TEST(name) cmocka_unit_test_teardown(name, close_layer)
    const struct CMUnitTest fold[] = {
        LAYER_TEST(folding_loses_nothing_in_a_llama),
        LAYER_TEST(folding_loses_nothing_without_grouped_queries),
        LAYER_TEST(folding_loses_nothing_with_biases),
        LAYER_TEST(folding_loses_nothing_with_all_biases),
        LAYER_TEST(folding_loses_nothing_with_head_norms),
        LAYER_TEST(folding_loses_nothing_in_fused_linears),
        LAYER_TEST(folding_loses_nothing_between_norms_that_add_one),
        LAYER_TEST(a_dead_norm_channel_keeps_scale_one),
    };
    return cmocka_run_group_tests(fold, NULL, NULL);
}
