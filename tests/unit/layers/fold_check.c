/* SPDX-License-Identifier: MIT
 * tests/unit/layers/fold_check.c - the proof of the folding, on every backend that opens here: what
 * is right is exact in 16 bits too, so that one channel that is wrong shows. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "layers/forward/extent.h"
#include "layers/search/channel_means.h"
#include "tests/unit/layers/check.h"
#include "tests/unit/layers/synthetic.h"

/* What is done to a layer between folding and the check. */
typedef struct fault {
    int group;
    int64_t channel; /* whose scale the consumers take to be 1.1 times as large; -1: none */
    bool alone;      /* not those that are tied to it */
    bool not_folded; /* the consumers take the group's scales to be 1 */
    int reader;      /* that keeps its weight as it was; DENSE_LINEARS: none */
} fault;

static void spoil_scales(const synthetic *s, awq_quantized_layer *layer, const fault *f)
{
    awq_group_record *record = &layer->record.group[f->group];
    for (int64_t i = 0; i < record->channels; i++) {
        if (f->not_folded) record->scales[i] = 1;
        int64_t channel = f->alone ? i : awq_free_channel(&s->spec->group[f->group], i);
        if (channel == f->channel) record->scales[i] *= 1.1f;
    }
}

/* A layer that adds 2^power of what it did to the residual; 0 for NOTHING. */
enum { NOTHING = -1000 };

static void multiply(synthetic *s, int linear, int power)
{
    float *weight = s->original[linear];
    int64_t count = awq_extent_elements(awq_linear_extent(&s->spec->linear[linear]));
    for (int64_t i = 0; i < count; i++) {
        unsigned char stored[sizeof(float)];
        weight[i] = ldexpf(weight[i], power);
        awq_narrow(stored, &weight[i], s->device->compute, 1);
        awq_widen(&weight[i], stored, s->device->compute, 1);
    }
    s->be->load(s->device, s->decoder.weight[linear], weight, AWQ_F32, (size_t)count);
}

static void add_less(synthetic *s, int power)
{
    multiply(s, LINEAR_O, power);
    multiply(s, LINEAR_DOWN, power);
    synthetic_measure(s);
}

/* The steps of awq_quantize_layer, with a fault. */
static awq_status quantize_spoiled(synthetic *s, const fault *f, awq_error *out)
{
    awq_error err;
    awq_quantized_layer layer;
    awq_quantized_layer_init(&layer);
    awq_quantizer quantizer = {.device = s->device,
                               .model = &s->model,
                               .decoder = &s->decoder,
                               .statistics = &s->statistics,
                               .scratch = s->scratch,
                               .recipe = &s->recipe,
                               .out = &layer};
    must(awq_quantizer_open(&quantizer, &err));
    must(awq_fold_check_begin(&quantizer, &s->check, &err));
    for (int i = 0; i < s->spec->groups; i++) must(awq_search_group(&quantizer, i, &err));
    must(awq_fold_plan(&quantizer, &err));
    spoil_scales(s, &layer, f);
    for (int i = 0; i < s->spec->linears; i++) must(awq_quantize_linear(&quantizer, i, &err));
    if (f->reader < DENSE_LINEARS) {
        awq_extent extent = awq_linear_extent(&s->spec->linear[f->reader]);
        s->be->load(s->device, s->decoder.weight[f->reader], s->original[f->reader], AWQ_F32,
                    (size_t)awq_extent_elements(extent));
    }
    awq_status status = awq_fold_check_layer(&quantizer, &s->check, out);
    awq_quantizer_close(&quantizer);
    awq_quantized_layer_release(&layer);
    return status;
}

/* A search that is short: any scales will do. */
static void open_layer(synthetic *s, synthetic_shape shape)
{
    synthetic_open(s, shape);
    s->recipe.alpha_steps = 2;
    s->recipe.clip = AWQ_CLIP_OFF;
}

/* A fresh layer, that adds less, with the fault is refused, for its group. */
static void expect_found_in(synthetic_shape shape, int less, fault f)
{
    synthetic s;
    awq_error err;
    char expected[96];
    open_layer(&s, shape);
    if (less) add_less(&s, less);
    snprintf(expected, sizeof expected, "scale group '%s': folding changes the layer's output",
             s.spec->group[f.group].name);
    awq_status status = quantize_spoiled(&s, &f, &err);
    if (status != AWQ_ERR_NUMERIC || !strstr(err.text, expected))
        fail_msg("group %d, channel %d, 2^%d: %d, '%s'", (int)f.group, (int)f.channel, less,
                 (int)status, status ? err.text : "");
    synthetic_close(&s);
}

static void expect_found(synthetic_shape shape, fault f)
{
    expect_found_in(shape, 0, f);
}

static double fold_error(synthetic_shape shape)
{
    synthetic s;
    awq_error err;
    awq_quantized_layer layer;
    open_layer(&s, shape);
    must(synthetic_quantize(&s, &layer, &err));
    double error = layer.record.fold_error;
    awq_quantized_layer_release(&layer);
    synthetic_close(&s);
    return error;
}

/* In bfloat16 the layer is the same to the bit; in float16 but for subnormal numbers. */
static void check_right(synthetic_shape shape)
{
    double most = shape.compute == AWQ_F32 ? 2e-6 : shape.compute == AWQ_F16 ? 1e-7 : 0;
    assert_true(fold_error(shape) <= most);
    shape.all_bias = shape.qk_norm = true;
    assert_true(fold_error(shape) <= most);
    shape.kv_heads = 4;
    assert_true(fold_error(shape) <= most);
}

/* Layers that are not a llama's. */
static void check_others(synthetic_shape shape)
{
    double most = shape.compute == AWQ_F32 ? 2e-6 : shape.compute == AWQ_F16 ? 1e-7 : 0;
    for (int i = 0; i < 2; i++) {
        shape.fused = !i;
        shape.out_norms = i;
        assert_true(fold_error(shape) <= most);
    }
}

static void right_folds_are_exact(void **state)
{
    (void)state;
    synthetic_on_each(check_right);
    synthetic_on_each(check_others);
}

static void check_channels(synthetic_shape shape)
{
    for (int group = 0; group < DENSE_GROUPS; group++)
        for (int64_t channel = 0; channel < 32; channel += 25)
            expect_found(shape,
                         (fault){.group = group, .channel = channel, .reader = DENSE_LINEARS});
}

static void expect_channel(synthetic_shape shape, int group)
{
    expect_found(shape, (fault){.group = group, .channel = 25, .reader = DENSE_LINEARS});
}

/* Some rows of a linear absorb the one, norms that add 1 the other. */
static void check_channels_of_others(synthetic_shape shape)
{
    shape.fused = true;
    expect_channel(shape, GROUP_O);
    expect_channel(shape, GROUP_DOWN);
    shape.fused = false;
    shape.out_norms = true;
    expect_channel(shape, GROUP_QKV);
    expect_channel(shape, GROUP_GATE_UP);
}

static void a_channel_that_is_off_by_a_tenth_is_found(void **state)
{
    (void)state;
    synthetic_on_each(check_channels);
    synthetic_on_each(check_channels_of_others);
}

static void check_little(synthetic_shape shape)
{
    static const int less[] = {-6, -10, -12, -14, -17, -20, -23, NOTHING};
    for (size_t i = 0; i < sizeof less / sizeof *less; i++) {
        synthetic s;
        awq_error err;
        awq_quantized_layer layer;
        open_layer(&s, shape);
        add_less(&s, less[i]);
        must(synthetic_quantize(&s, &layer, &err));
        awq_quantized_layer_release(&layer);
        synthetic_close(&s);
    }
}

static void layers_that_add_little_are_right(void **state)
{
    (void)state;
    synthetic_on_each(check_little);
}

/* v's and up's weights are small, o's and down's as much larger. */
static void check_small_producers(synthetic_shape shape)
{
    for (int power = 4; power <= 12; power += 2) {
        synthetic s;
        awq_error err;
        awq_quantized_layer layer;
        open_layer(&s, shape);
        multiply(&s, LINEAR_V, -power);
        multiply(&s, LINEAR_UP, -power);
        multiply(&s, LINEAR_O, power);
        multiply(&s, LINEAR_DOWN, power);
        synthetic_measure(&s);
        must(synthetic_quantize(&s, &layer, &err));
        awq_quantized_layer_release(&layer);
        synthetic_close(&s);
    }
}

static void layers_of_small_weights_are_right(void **state)
{
    (void)state;
    synthetic_on_each(check_small_producers);
}

static void check_channels_of_little(synthetic_shape shape)
{
    for (int less = -10; less >= -20; less -= 5)
        for (int group = 0; group < DENSE_GROUPS; group++)
            expect_found_in(shape, less,
                            (fault){.group = group, .channel = 25, .reader = DENSE_LINEARS});
}

static void a_channel_that_is_off_is_found_in_a_layer_that_adds_little(void **state)
{
    (void)state;
    synthetic_on_each(check_channels_of_little);
}

static void check_groups(synthetic_shape shape)
{
    shape.all_bias = true;
    for (int group = 0; group < DENSE_GROUPS; group++)
        expect_found(
            shape,
            (fault){.group = group, .channel = -1, .not_folded = true, .reader = DENSE_LINEARS});
}

static void a_group_that_is_not_folded_is_found(void **state)
{
    (void)state;
    synthetic_on_each(check_groups);
}

/* Even where its group's scales are all 1: the factors are not. */
static void check_readers(synthetic_shape shape)
{
    synthetic s;
    for (int reader = 0; reader < DENSE_LINEARS; reader++) {
        awq_error err;
        fault f = {.channel = -1, .reader = reader};
        open_layer(&s, shape);
        f.group = s.spec->linear[f.reader].group;
        s.recipe.alpha_steps = 0;
        assert_int_equal(quantize_spoiled(&s, &f, &err), AWQ_ERR_NUMERIC);
        synthetic_close(&s);
    }
}

static void a_reader_that_is_no_consumer_is_found(void **state)
{
    (void)state;
    synthetic_on_each(check_readers);
}

/* One head's scale is not that of the head beside it, whose v row both read. */
static void check_tied(synthetic_shape shape)
{
    synthetic s;
    awq_error err;
    fault f = {.group = GROUP_O, .channel = 3, .alone = true, .reader = DENSE_LINEARS};
    open_layer(&s, shape);
    assert_int_equal(awq_free_channel(&s.spec->group[GROUP_O], 3),
                     awq_free_channel(&s.spec->group[GROUP_O], 19));
    assert_int_equal(quantize_spoiled(&s, &f, &err), AWQ_ERR_NUMERIC);
    synthetic_close(&s);
}

static void heads_that_are_not_tied_are_found(void **state)
{
    (void)state;
    synthetic_on_each(check_tied);
}

int main(void)
{
    const struct CMUnitTest fold_check[] = {
        cmocka_unit_test(right_folds_are_exact),
        cmocka_unit_test(a_channel_that_is_off_by_a_tenth_is_found),
        cmocka_unit_test(layers_that_add_little_are_right),
        cmocka_unit_test(layers_of_small_weights_are_right),
        cmocka_unit_test(a_channel_that_is_off_is_found_in_a_layer_that_adds_little),
        cmocka_unit_test(a_group_that_is_not_folded_is_found),
        cmocka_unit_test(a_reader_that_is_no_consumer_is_found),
        cmocka_unit_test(heads_that_are_not_tied_are_found),
    };
    return cmocka_run_group_tests(fold_check, NULL, NULL);
}
