/* SPDX-License-Identifier: MIT
 * tests/unit/layers/feedback.c - a layer rounded with error feedback: every linear's error is
 * smaller, one factor serves all that read the same input, and damping grows where it must. */
#include <math.h>
#include <string.h>

#include "layers/forward/extent.h"
#include "tests/unit/layers/check.h"
#include "tests/unit/layers/synthetic.h"

static synthetic s;

static int close_layer(void **state)
{
    (void)state;
    synthetic_close(&s);
    return 0;
}

static const synthetic_shape grouped = {.kv_heads = 2, .dtype = AWQ_BF16};

/* A new layer, quantized; the synthetic stays open. */
static void quantize(awq_rounding rounding, awq_quantized_layer *layer)
{
    awq_error err;
    synthetic_open(&s, grouped);
    s.recipe.rounding = rounding;
    must(synthetic_quantize(&s, layer, &err));
}

static void assert_same_grid(const awq_quantized_linear *a, const awq_quantized_linear *b,
                             size_t groups)
{
    assert_memory_equal(a->scales, b->scales, groups * sizeof *a->scales);
    assert_memory_equal(a->zeros, b->zeros, groups);
}

static void every_linear_has_a_smaller_error(void **state)
{
    (void)state;
    awq_quantized_layer nearest, feedback;
    quantize(AWQ_ROUNDING_NEAREST, &nearest);
    synthetic_close(&s);
    quantize(AWQ_ROUNDING_FEEDBACK, &feedback);
    for (int i = 0; i < DENSE_LINEARS; i++) {
        const awq_linear_record *before = &nearest.record.linear[i];
        const awq_linear_record *after = &feedback.record.linear[i];
        assert_true(after->loss < 0.9 * before->loss);
        assert_true(before->damp == 0 && after->damp == 0.01);
        assert_true(before->loss_rounding == after->loss_rounding);
        assert_same_grid(&nearest.linear[i], &feedback.linear[i], (size_t)before->groups);
    }
    assert_true(feedback.record.fold_error < 2e-6);
    assert_true(feedback.record.seconds[AWQ_PHASE_FEEDBACK] > 0);
    awq_quantized_layer_release(&nearest);
    awq_quantized_layer_release(&feedback);
}

/* ---- what is asked of the device ---- */

static uint64_t allocated;
static int factorizations;

static awq_status counting_alloc(awq_device *device, size_t bytes, const char *what, void **out,
                                 awq_error *err)
{
    allocated += bytes;
    return awq_backend_find("cpu")->alloc(device, bytes, what, out, err);
}

static awq_status counting_factor(awq_device *device, float *factor, int32_t *order,
                                  const float *gram, const float *scales, int64_t in, double damp,
                                  bool *positive, awq_error *err)
{
    factorizations++;
    return awq_backend_find("cpu")->feedback_factor(device, factor, order, gram, scales, in, damp,
                                                    positive, err);
}

static void one_factor_serves_all_readers_of_an_input(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, grouped);
    awq_backend counting = *s.be;
    counting.alloc = counting_alloc;
    counting.feedback_factor = counting_factor;
    s.device->backend = &counting;
    s.recipe.rounding = AWQ_ROUNDING_FEEDBACK;
    must(synthetic_quantize(&s, &layer, &err));
    assert_int_equal(factorizations, DENSE_GROUPS);
    assert_int_equal(allocated, awq_quantize_bytes(&s.model, &s.recipe, 0, 0, 4));
    awq_quantized_layer_release(&layer);
    s.device->backend = s.be;
}

static void the_number_of_threads_changes_nothing(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer[3];
    for (int i = 0; i < 3; i++) {
        synthetic_open(&s, (synthetic_shape){.kv_heads = 2, .dtype = AWQ_BF16, .threads = i + 1});
        s.recipe.rounding = AWQ_ROUNDING_FEEDBACK;
        must(synthetic_quantize(&s, &layer[i], &err));
        for (int k = 0; k < DENSE_LINEARS; k++) {
            size_t weights = (size_t)awq_extent_elements(awq_linear_extent(&s.spec->linear[k]));
            assert_memory_equal(layer[0].linear[k].words, layer[i].linear[k].words, weights / 2);
        }
        if (i < 2) synthetic_close(&s);
    }
    for (int i = 0; i < 3; i++) awq_quantized_layer_release(&layer[i]);
}

/* ---- progress ---- */

typedef struct progress {
    double flops;
    bool stop;
} progress;

static bool watch_step(void *context, awq_phase phase, double flops)
{
    progress *p = context;
    if (phase != AWQ_PHASE_FEEDBACK) return true;
    p->flops += flops;
    return !p->stop;
}

static awq_status quantize_watched(progress *p, awq_quantized_layer *layer, awq_error *err)
{
    awq_quantize_watch watch = {watch_step, p};
    synthetic_open(&s, grouped);
    s.recipe.rounding = AWQ_ROUNDING_FEEDBACK;
    return synthetic_watched(&s, &watch, layer, err);
}

static void progress_counts_what_is_executed(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    progress p = {0};
    double expected = 0;
    must(quantize_watched(&p, &layer, &err));
    for (int i = 0; i < DENSE_LINEARS; i++) {
        awq_extent extent = awq_linear_extent(&s.spec->linear[i]);
        expected += (double)(extent.out * extent.in * extent.in);
    }
    for (int i = 0; i < DENSE_GROUPS; i++)
        expected += pow((double)s.spec->group[i].channels, 3) / 3;
    assert_true(fabs(p.flops / expected - 1) < 1e-12);
    awq_quantized_layer_release(&layer);
}

static void a_watcher_can_stop_it(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    progress p = {.stop = true};
    assert_int_equal(quantize_watched(&p, &layer, &err), AWQ_ERR_INTERRUPTED);
}

/* ---- damping ---- */

/* down's Gram matrix becomes the identity, but for columns 0 and 1, which go together by
 * `together`: beyond 1 it is not one of any activations. Without scales, H is it and the damping.
 */
static void spoil_down(float together)
{
    int64_t n = s.spec->mlps.intermediate;
    float *gram = s.statistics.gram[GROUP_DOWN];
    memset(gram, 0, (size_t)(n * n) * sizeof *gram);
    for (int64_t i = 0; i < n; i++) gram[i * n + i] = 1;
    gram[1] = gram[n] = together;
    s.recipe.alpha_steps = 0;
}

static double damp_of_down(float together, awq_quantized_layer *layer)
{
    awq_error err;
    synthetic_open(&s, grouped);
    s.recipe.rounding = AWQ_ROUNDING_FEEDBACK;
    spoil_down(together);
    must(synthetic_quantize(&s, layer, &err));
    assert_true(layer->record.linear[LINEAR_UP].damp == 0.01);
    return layer->record.linear[LINEAR_DOWN].damp;
}

static void damping_grows_until_the_matrix_is_positive_definite(void **state)
{
    (void)state;
    static const struct {
        float together;
        double damp;
    } cases[] = {{0.9f, 0.01}, {1.05f, 0.1}, {1.5f, 1}};
    for (int i = 0; i < 3; i++) {
        awq_quantized_layer layer;
        assert_true(damp_of_down(cases[i].together, &layer) == cases[i].damp);
        awq_quantized_layer_release(&layer);
        if (i < 2) synthetic_close(&s);
    }
}

static void what_no_damping_helps_is_rounded_to_nearest(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer feedback, nearest;
    assert_true(damp_of_down(2.5f, &feedback) == 0);
    synthetic_close(&s);
    synthetic_open(&s, grouped);
    spoil_down(2.5f);
    must(synthetic_quantize(&s, &nearest, &err));
    size_t weights = (size_t)awq_extent_elements(awq_linear_extent(&s.spec->linear[LINEAR_DOWN]));
    assert_memory_equal(feedback.linear[LINEAR_DOWN].words, nearest.linear[LINEAR_DOWN].words,
                        weights / 2);
    awq_quantized_layer_release(&feedback);
    awq_quantized_layer_release(&nearest);
}

static void an_input_that_is_always_zero_is_rounded_to_nearest(void **state)
{
    (void)state;
    awq_error err;
    awq_quantized_layer layer;
    synthetic_open(&s, grouped);
    s.recipe.rounding = AWQ_ROUNDING_FEEDBACK;
    int64_t n = s.spec->mlps.intermediate;
    memset(s.statistics.gram[GROUP_DOWN], 0, (size_t)(n * n) * sizeof(float));
    memset(s.statistics.abs_sum[GROUP_DOWN], 0, (size_t)n * sizeof(double));
    must(synthetic_quantize(&s, &layer, &err));
    assert_true(layer.record.linear[LINEAR_DOWN].damp == 0);
    assert_true(layer.record.linear[LINEAR_DOWN].loss == 0);
    awq_quantized_layer_release(&layer);
}

int main(void)
{
#define LAYER_TEST(name) cmocka_unit_test_teardown(name, close_layer)
    const struct CMUnitTest feedback[] = {
        LAYER_TEST(every_linear_has_a_smaller_error),
        LAYER_TEST(one_factor_serves_all_readers_of_an_input),
        LAYER_TEST(the_number_of_threads_changes_nothing),
        LAYER_TEST(progress_counts_what_is_executed),
        LAYER_TEST(a_watcher_can_stop_it),
        LAYER_TEST(damping_grows_until_the_matrix_is_positive_definite),
        LAYER_TEST(what_no_damping_helps_is_rounded_to_nearest),
        LAYER_TEST(an_input_that_is_always_zero_is_rounded_to_nearest),
    };
    return cmocka_run_group_tests(feedback, NULL, NULL);
}
