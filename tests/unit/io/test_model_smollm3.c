/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_model_smollm3.c - layers without rotary embedding, windows where those are. */
#include <stdio.h>

#include "config_of.h"
#include "scratch.h"

static awq_model smollm3(const char *extra)
{
    return model_of(config_of("smollm3", 64, extra));
}

static void expect_rotated(const char *extra, const bool rotated[4])
{
    awq_model model = smollm3(extra);
    for (int64_t i = 0; i < 4; i++) {
        assert_int_equal(awq_model_layer(&model, i)->attention.q_rope, rotated[i] ? 0 : -1);
        assert_int_equal(model.kind_of[i], rotated[i] != rotated[0]);
    }
    awq_model_release(&model);
}

static void smollm3_rotates_three_layers_of_four_or_as_it_says(void **state)
{
    (void)state;
    expect_rotated("", (const bool[]){true, true, true, false});
    expect_rotated(", \"no_rope_layer_interval\": 2", (const bool[]){true, false, true, false});
    expect_rotated(", \"no_rope_layer_interval\": 1", (const bool[]){false, false, false, false});
    expect_rotated(", \"no_rope_layers\": null, \"no_rope_layer_interval\": 5",
                   (const bool[]){true, true, true, true});
    expect_rotated(", \"no_rope_layers\": [0, 1, 1, 0, 1], \"no_rope_layer_interval\": 2",
                   (const bool[]){false, true, true, false}); /* it may be longer */
}

#define WINDOW_ON ", \"use_sliding_window\": true, \"sliding_window\": 32"

static void smollm3s_windows_are_where_no_rotation_is_or_as_listed(void **state)
{
    (void)state;
    awq_model model = smollm3(WINDOW_ON ", \"no_rope_layers\": [1, 0, 0, 1]");
    expect_windows(&model, (const int64_t[]){0, 32, 32, 0});
    awq_model_release(&model);
    model = smollm3(WINDOW_ON ", \"no_rope_layers\": [1, 0, 1, 0], \"layer_types\":"
                              " [\"full_attention\", \"sliding_attention\","
                              " \"sliding_attention\", \"full_attention\"]");
    assert_int_equal(model.kinds, 4);
    assert_int_equal(awq_model_layer(&model, 2)->attention.window, 32);
    assert_int_equal(awq_model_layer(&model, 2)->attention.k_rope, 0);
    assert_int_equal(awq_model_layer(&model, 3)->attention.window, 0);
    awq_model_release(&model);
    static const char *const off[] = {"", ", \"sliding_window\": 32",
                                      ", \"use_sliding_window\": true"};
    for (int i = 0; i < 3; i++) {
        model = smollm3(off[i]);
        for (int64_t j = 0; j < 4; j++)
            assert_int_equal(awq_model_layer(&model, j)->attention.window, 0);
        awq_model_release(&model);
    }
}

static void silent_smollm3_gets_the_defaults_of_transformers(void **state)
{
    (void)state;
    awq_model model = smollm3("");
    assert_int_equal(model.max_positions, 32768);
    assert_true(model.rope[0].theta == 2e6);
    assert_true(model.norm_eps == 1e-6f);
    assert_true(model.tied);
    awq_model_release(&model);
}

static void what_smollm3_does_not_say_clearly_is_refused(void **state)
{
    (void)state;
    static const char *const lists[] = {"[1, 1, 1]", "[1, 1, 1, 2]", "[1, 1, 1, true]", "1"};
    for (int i = 0; i < 4; i++) {
        char extra[64];
        snprintf(extra, sizeof extra, ", \"no_rope_layers\": %s", lists[i]);
        expect_problem(config_of("smollm3", 64, extra), "no_rope_layers is not a list of a 0 or 1");
    }
    expect_problem(config_of("smollm3", 64, ", \"no_rope_layer_interval\": 0"),
                   "'no_rope_layer_interval' is 0");
    /* transformers' implementations of attention differ in what they do */
    expect_problem(config_of("smollm3", 64,
                             ", \"sliding_window\": 32, \"layer_types\": [\"full_attention\","
                             " \"sliding_attention\", \"full_attention\", \"full_attention\"]"),
                   "layer_types holds a type that is not supported: sliding_attention");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm3_rotates_three_layers_of_four_or_as_it_says),
        cmocka_unit_test(smollm3s_windows_are_where_no_rotation_is_or_as_listed),
        cmocka_unit_test(silent_smollm3_gets_the_defaults_of_transformers),
        cmocka_unit_test(what_smollm3_does_not_say_clearly_is_refused),
    };
    return cmocka_run_group_tests_name("model_smollm3", tests, NULL, NULL);
}
