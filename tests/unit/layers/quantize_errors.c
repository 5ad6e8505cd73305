/* SPDX-License-Identifier: MIT
 * tests/unit/layers/quantize_errors.c - a layer that cannot be quantized says why, naming group,
 * linear, row and channel; and a watcher sees the work and can stop it. */
#include <math.h>
#include <string.h>

#include "layers/forward/extent.h"
#include "layers/forward/scratch.h"
#include "tests/unit/layers/check.h"
#include "tests/unit/layers/synthetic.h"

static synthetic s;

static int close_layer(void **state)
{
    (void)state;
    synthetic_close(&s);
    return 0;
}

/* ---- what can be wrong ---- */

static void expect(awq_status status, awq_status expected, const awq_error *err, const char *text)
{
    assert_int_equal(status, expected);
    if (!strstr(err->text, text)) fail_msg("'%s' does not say '%s'", err->text, text);
}

/* What the layer gave at first is another output. */
static bool spoil_output(void *context, awq_phase phase, double flops)
{
    (void)context;
    (void)flops;
    if (phase == AWQ_PHASE_SEARCH) s.scratch->untouched[100] += 3;
    return true;
}

static void another_output_is_not_blamed_on_a_group(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    awq_quantize_watch watch = {spoil_output, NULL};
    synthetic_open(&s, (synthetic_shape){.dtype = AWQ_BF16});
    expect(synthetic_watched(&s, &watch, &layer, &err), AWQ_ERR_NUMERIC, &err,
           "with no scales folded");
}

static void an_output_that_is_not_finite_is_named(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, (synthetic_shape){.dtype = AWQ_BF16});
    s.input[0] = INFINITY;
    expect(synthetic_quantize(&s, &layer, &err), AWQ_ERR_NUMERIC, &err,
           "not finite at token 0, channel 0");
}

static void an_overflowing_weight_is_named(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, (synthetic_shape){.dtype = AWQ_BF16});
    ((float *)s.decoder.weight[LINEAR_UP])[3 * s.model.hidden + 17] = 3e6f;
    expect(synthetic_quantize(&s, &layer, &err), AWQ_ERR_NUMERIC, &err,
           "up_proj.weight': the scale of row 3, group 1 overflows float16");
}

static void activations_that_are_not_finite_are_named(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, (synthetic_shape){.dtype = AWQ_BF16});
    s.statistics.abs_sum[GROUP_DOWN][9] = INFINITY;
    for (int64_t i = 0; i < s.spec->mlps.intermediate; i++)
        s.statistics.gram[GROUP_DOWN][i * s.spec->mlps.intermediate + 9] = INFINITY;
    expect(synthetic_quantize(&s, &layer, &err), AWQ_ERR_NUMERIC, &err,
           "down_proj: its calibration activations are not finite in channel 9");
}

static void squares_that_overflow_are_named(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, (synthetic_shape){.dtype = AWQ_BF16});
    s.statistics.gram[GROUP_DOWN][0] = INFINITY;
    expect(synthetic_quantize(&s, &layer, &err), AWQ_ERR_NUMERIC, &err,
           "down_proj: the squares of its calibration activations overflow float32");
}

static void impossible_requests_are_refused(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, (synthetic_shape){.dtype = AWQ_BF16});
    s.recipe.group_size = 32;
    expect(synthetic_quantize(&s, &layer, &err), AWQ_ERR_INPUT, &err,
           "group size 32 does not divide the 48 columns of 'q_proj'");
    s.recipe.group_size = 16;
    s.statistics.tokens = 0;
    expect(synthetic_quantize(&s, &layer, &err), AWQ_ERR_INPUT, &err, "no calibration token");
}

/* ---- progress ---- */

typedef struct progress {
    double flops[AWQ_PHASES];
    int calls, stop_after;
} progress;

static bool watch_step(void *context, awq_phase phase, double flops)
{
    progress *p = context;
    p->flops[phase] += flops;
    return ++p->calls != p->stop_after;
}

static void progress_counts_what_is_executed(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    progress p = {0};
    awq_quantize_watch watch = {watch_step, &p};
    synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
    s.recipe.search = AWQ_SEARCH_EXHAUSTIVE;
    must(synthetic_watched(&s, &watch, &layer, &err));
    double search = 0, clip = 0;
    for (int i = 0; i < DENSE_LINEARS; i++) {
        awq_extent extent = awq_linear_extent(&s.spec->linear[i]);
        search += 21.0 * (double)(extent.out * extent.in * extent.in);
        if (i != LINEAR_Q && i != LINEAR_K) clip += 20.0 * 16 * (double)(extent.out * extent.in);
    }
    assert_true(p.flops[AWQ_PHASE_SEARCH] == search);
    assert_true(p.flops[AWQ_PHASE_CLIP] == clip);
    assert_true(layer.record.seconds[AWQ_PHASE_SEARCH] > 0);
    awq_quantized_layer_release(&layer);
}

static void a_watcher_can_stop_the_work(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    for (int after = 1; after < 300; after += 37) {
        progress p = {.stop_after = after};
        awq_quantize_watch watch = {watch_step, &p};
        synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16});
        awq_status status = synthetic_watched(&s, &watch, &layer, &err);
        if (status)
            assert_int_equal(status, AWQ_ERR_INTERRUPTED);
        else
            awq_quantized_layer_release(&layer);
        assert_true(status || p.calls < after);
        if (after + 37 < 300) synthetic_close(&s);
    }
}

int main(void)
{
#define LAYER_TEST(name) cmocka_unit_test_teardown(name, close_layer)
    const struct CMUnitTest errors[] = {
        LAYER_TEST(another_output_is_not_blamed_on_a_group),
        LAYER_TEST(an_output_that_is_not_finite_is_named),
        LAYER_TEST(an_overflowing_weight_is_named),
        LAYER_TEST(activations_that_are_not_finite_are_named),
        LAYER_TEST(squares_that_overflow_are_named),
        LAYER_TEST(impossible_requests_are_refused),
        LAYER_TEST(progress_counts_what_is_executed),
        LAYER_TEST(a_watcher_can_stop_the_work),
    };
    return cmocka_run_group_tests(errors, NULL, NULL);
}
