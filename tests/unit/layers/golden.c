/* SPDX-License-Identifier: MIT
 * tests/unit/layers/golden.c - the whole arithmetic against an independent program's results on
 * the demo model: logits, perplexity, and how far quantized models are from the original. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/layers/check.h"
#include "tests/unit/layers/demo.h"

static demo d;
static demo_calibration calibration;

static int open_demo(void **state)
{
    (void)state;
    demo_open(&d, 2);
    demo_calibrate(&d, &calibration);
    return 0;
}

static int close_demo(void **state)
{
    (void)state;
    demo_calibration_release(&d, &calibration);
    demo_close(&d);
    return 0;
}

static void last_logits_of_the_first_window_are_golden(void **state)
{
    (void)state;
    awq_error err;
    float *logits = malloc((size_t)d.model->vocab * sizeof *logits);
    must(awq_head_logits(d.head, d.original + (d.length - 1) * d.model->hidden, logits, &err));
    for (int i = 0; i < 8; i++) {
        char path[64];
        snprintf(path, sizeof path, "logits_window0_last_position_first8_float64.%d", i);
        assert_true(fabs((double)logits[i] - demo_golden(path)) < 1e-3);
    }
    int64_t best = 0;
    for (int64_t i = 0; i < d.model->vocab; i++)
        if (logits[i] > logits[best]) best = i;
    assert_int_equal(best, (int64_t)demo_golden("logits_window0_last_position_argmax"));
    free(logits);
}

static void perplexity_is_golden(void **state)
{
    (void)state;
    awq_score_part score = demo_score(&d, d.original);
    double golden = demo_golden("fp32_ppl"), perplexity = exp(score.nll / (double)score.predicted);
    assert_int_equal(score.predicted, DEMO_EVAL * (d.length - 1));
    assert_int_equal(score.compared, DEMO_EVAL * d.length);
    assert_true(fabs(perplexity / golden - 1) < 1e-4);
    assert_true(fabs(score.kl) < 1e-9 * (double)score.compared);
    assert_true(score.nll == score.other_nll);
}

/* Mean KL of the model quantized by this recipe. */
static double quantized_kl(const awq_recipe *recipe)
{
    awq_decoder layers[DEMO_LAYERS];
    demo_load(&d, layers);
    for (int layer = 0; layer < DEMO_LAYERS; layer++) {
        awq_quantized_layer quantized;
        demo_quantize(&d, &calibration, &layers[layer], recipe, &quantized);
        demo_dequantize(&d, &layers[layer], &quantized, recipe);
        print_message("layer %d: folding %.1e, error %.4f, of rounding %.4f\n", layer,
                      quantized.record.fold_error,
                      awq_layer_record_relative_error(&quantized.record),
                      awq_layer_record_rounding_error(&quantized.record));
        awq_quantized_layer_release(&quantized);
    }
    float *hidden = demo_forward(&d, layers);
    awq_score_part score = demo_score(&d, hidden);
    d.be->release(d.device, hidden);
    demo_release(&d, layers);
    print_message("KL %.6f, perplexity %.6f\n", score.kl / (double)score.compared,
                  exp(score.nll / (double)score.predicted));
    return score.kl / (double)score.compared;
}

static void awq_is_as_good_as_golden(int64_t group_size, const char *path)
{
    awq_recipe recipe = awq_recipe_default();
    recipe.group_size = group_size;
    recipe.duo = AWQ_DUO_OFF;
    recipe.rounding = AWQ_ROUNDING_NEAREST;
    assert_true(quantized_kl(&recipe) <= 1.05 * demo_golden(path));
}

static void awq_with_groups_of_128_is_as_good_as_golden(void **state)
{
    (void)state;
    awq_is_as_good_as_golden(128, "reference_awq.g128.awqrun_rules.kl");
}

static void awq_with_groups_of_64_is_as_good_as_golden(void **state)
{
    (void)state;
    awq_is_as_good_as_golden(64, "reference_awq.g64.awqrun_rules.kl");
}

static void feedback_is_as_good_as_golden(int64_t group_size, const char *path)
{
    awq_recipe recipe = awq_recipe_default();
    recipe.group_size = group_size;
    recipe.rounding = AWQ_ROUNDING_FEEDBACK;
    assert_true(quantized_kl(&recipe) <= demo_golden(path));
}

static void feedback_with_groups_of_128_is_as_good_as_golden(void **state)
{
    (void)state;
    feedback_is_as_good_as_golden(128, "reference_awq.g128.awqrun_rules_feedback.kl");
}

static void feedback_with_groups_of_64_is_as_good_as_golden(void **state)
{
    (void)state;
    feedback_is_as_good_as_golden(64, "reference_awq.g64.awqrun_rules_feedback.kl");
}

static void rounding_is_golden(int64_t group_size, const char *path)
{
    awq_recipe recipe = awq_recipe_default();
    recipe.group_size = group_size;
    recipe.alpha_steps = 0;
    recipe.rounding = AWQ_ROUNDING_NEAREST;
    recipe.clip = AWQ_CLIP_OFF;
    assert_true(fabs(quantized_kl(&recipe) / demo_golden(path) - 1) < 0.02);
}

static void plain_rounding_with_groups_of_128_is_golden(void **state)
{
    (void)state;
    rounding_is_golden(128, "reference_awq.g128.rounding.kl");
}

static void plain_rounding_with_groups_of_64_is_golden(void **state)
{
    (void)state;
    rounding_is_golden(64, "reference_awq.g64.rounding.kl");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_logits_of_the_first_window_are_golden),
        cmocka_unit_test(perplexity_is_golden),
        cmocka_unit_test(plain_rounding_with_groups_of_128_is_golden),
        cmocka_unit_test(plain_rounding_with_groups_of_64_is_golden),
        cmocka_unit_test(awq_with_groups_of_128_is_as_good_as_golden),
        cmocka_unit_test(awq_with_groups_of_64_is_as_good_as_golden),
        cmocka_unit_test(feedback_with_groups_of_128_is_as_good_as_golden),
        cmocka_unit_test(feedback_with_groups_of_64_is_as_good_as_golden),
    };
    return cmocka_run_group_tests(tests, open_demo, close_demo);
}
